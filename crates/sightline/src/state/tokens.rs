//! The generated tokens: made at the first start, kept for good.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::folder::{Error, Folder};
use crate::auth::Tokens;
use crate::secret::Secret;

/// The file they are kept in. In the clear, since Digest is computed from the token itself, for any realm and algorithm.
const FILE: &str = "tokens.json";
/// 128 bits: 22 characters.
const TOKEN_BYTES: usize = 16;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    viewer: String,
    publisher: String,
    admin: String,
}

/// The tokens in this folder; new ones if it has none. The flag says whether they were made now.
///
/// # Errors
/// [`Error`]. A damaged file is never overwritten: URLs with its tokens are in use.
pub fn load_or_make(folder: &Folder) -> Result<(Tokens, bool), Error> {
    if let Some(bytes) = folder.read(FILE)? {
        return Ok((parse(folder, &bytes)?, false));
    }
    let _lock = folder.lock()?;
    // Somebody else may have made them while we waited.
    if let Some(bytes) = folder.read(FILE)? {
        return Ok((parse(folder, &bytes)?, false));
    }
    let stored = Stored {
        version: 1,
        viewer: random_token()?,
        publisher: random_token()?,
        admin: random_token()?,
    };
    let mut text = serde_json::to_string_pretty(&stored).unwrap_or_default();
    text.push('\n');
    folder.write(FILE, text.as_bytes())?;
    Ok((tokens(stored), true))
}

/// The tokens of a server of the same user on this machine, if it has any that this process may read. Makes nothing.
pub fn of_this_machine(path: &Path) -> Option<Tokens> {
    // Whatever stands in the way, this is the server's to complain about.
    let folder = Folder::existing(path)?;
    let bytes = folder.read(FILE).ok()??;
    parse(&folder, &bytes).ok()
}

fn parse(folder: &Folder, bytes: &[u8]) -> Result<Tokens, Error> {
    let damaged = |why: String| Error::Damaged {
        path: folder.path().join(FILE),
        why,
        remedy: "restore it, or delete it to get new tokens (URLs with the old ones stop working)",
    };
    // Of serde's message only the place: the rest may quote a token.
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| {
        damaged(format!(
            "it cannot be read at line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    if stored.version != 1 {
        return Err(damaged(format!(
            "its version is {}, this program knows 1",
            stored.version
        )));
    }
    let short = [&stored.viewer, &stored.publisher, &stored.admin]
        .iter()
        .any(|token| token.len() < 16 || token.chars().any(char::is_control));
    if short {
        return Err(damaged("a token in it is shorter than 16 characters".to_owned()));
    }
    Ok(tokens(stored))
}

fn tokens(stored: Stored) -> Tokens {
    Tokens {
        viewer: Secret::new(stored.viewer),
        publisher: Secret::new(stored.publisher),
        admin: Secret::new(stored.admin),
    }
}

/// None that begins with a hyphen: behind `--token` that is taken for another flag.
fn random_token() -> Result<String, Error> {
    loop {
        let mut bytes = [0_u8; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| Error::Random(error.to_string()))?;
        let token = URL_SAFE_NO_PAD.encode(bytes);
        if !token.starts_with('-') {
            return Ok(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn folder() -> (tempfile::TempDir, Folder) {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::open(base.path().join("state")).unwrap();
        (base, folder)
    }

    #[test]
    fn tokens_are_made_once_and_kept() {
        let (_base, folder) = folder();
        let (first, made) = load_or_make(&folder).unwrap();
        assert!(made);
        let (second, made) = load_or_make(&folder).unwrap();
        assert!(!made);
        assert_eq!(first, second);
        let all = [&first.viewer, &first.publisher, &first.admin].map(Secret::expose);
        assert!(all.iter().all(|token| token.len() == 22), "{all:?}");
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
        // Nothing in them needs escaping in a URL or a shell.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(all.iter().all(|token| token.chars().all(plain)));
    }

    /// One in 64 did, and `sightline top --token TOKEN` then ended with a word about flags.
    #[test]
    fn none_is_taken_for_a_flag() {
        for _ in 0..2_000 {
            let token = random_token().unwrap();
            assert!(!token.starts_with('-'), "{token}");
        }
    }

    #[test]
    fn those_of_this_machine_are_only_read() {
        let (base, folder) = folder();
        assert_eq!(of_this_machine(folder.path()), None);
        assert!(!folder.path().join(FILE).exists());
        let (made, _) = load_or_make(&folder).unwrap();
        assert_eq!(of_this_machine(folder.path()), Some(made));
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(of_this_machine(folder.path()), None);
        let nowhere = base.path().join("nowhere");
        assert_eq!(of_this_machine(&nowhere), None);
        assert!(!nowhere.exists());
    }

    #[test]
    fn two_that_start_at_once_agree() {
        let (_base, folder) = folder();
        let found: Vec<Tokens> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| load_or_make(&folder).unwrap().0))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found.iter().all(|tokens| *tokens == found[0]));
    }

    #[rstest]
    #[case("", "it cannot be read at line 1, column 0")]
    #[case("{\"version\":1,\"viewer\":\"canary", "it cannot be read at line 1, column 29")]
    #[case(
        "{\"version\":2,\"viewer\":\"\",\"publisher\":\"\",\"admin\":\"\"}",
        "its version is 2, this program knows 1"
    )]
    #[case(
        "{\"version\":1,\"viewer\":\"\",\"publisher\":\"\",\"admin\":\"\"}",
        "a token in it is shorter than 16 characters"
    )]
    fn a_damaged_file_is_left_alone(#[case] text: &str, #[case] why: &str) {
        let (_base, folder) = folder();
        folder.write(FILE, text.as_bytes()).unwrap();
        let error = load_or_make(&folder).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("canary"), "{error}");
        assert_eq!(folder.read(FILE).unwrap().unwrap(), text.as_bytes());
    }
}
