//! Accounts as settings hold them.
//!
//! Does not belong here: what they may do ([`crate::auth`]).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::load::Wrong;
use super::settings::{Settings, User};
use super::stream_key::StreamKey;
use super::units::{InvalidWord, Name};
use crate::auth::{Account, Action, Actions, Hash, Password, Rights, Role, Share, Streams};
use crate::secret::{REDACTED, Secret};

/// Most accounts: each is looked at for each login.
pub const MOST: usize = 200;
/// Most entries of a list of streams.
const MOST_STREAMS: usize = 100;

/// All streams.
const ALL: &str = "*";
const SHA256: &str = "sha256:";
const ARGON2: &str = "argon2:";

/// The accounts that settings have.
pub fn accounts(users: &BTreeMap<Name, User>) -> Vec<Account> {
    let account = |(table, user): (&Name, &User)| Account {
        name: user.name.as_deref().unwrap_or(table.0.as_str()).into(),
        password: user.password.clone().filter(|_| !user.anyone),
        networks: user.networks.clone(),
        rights: rights(user),
    };
    users.iter().map(account).collect()
}

fn rights(user: &User) -> Rights {
    let all = || vec![Streams::All];
    let role = user.role.map(|role| Share {
        actions: role.actions(),
        streams: user.streams.clone().unwrap_or_else(all),
    });
    let administers = user.administer.then(|| Share {
        actions: Actions::of(&[Action::Operate, Action::Erase, Action::Administer]),
        streams: all(),
    });
    let written = [
        (Action::View, &user.view),
        (Action::Replay, user.replay.as_ref().unwrap_or(&user.view)),
        (Action::Publish, &user.publish),
        (Action::Operate, &user.operate),
        (Action::Erase, &user.erase),
    ];
    let written = written.map(|(action, streams)| Share {
        actions: Actions::of(&[action]),
        streams: streams.clone(),
    });
    let written = written.into_iter().filter(|share| !share.streams.is_empty());
    Rights::any(role.into_iter().chain(administers).chain(written))
}

/// What their tables can get wrong as a whole: key and message.
pub(super) fn wrong(settings: &Settings) -> Vec<Wrong> {
    let mut all = Vec::new();
    let mut add = |name: &Name, key: &str, message: &str| all.push((format!("user.{name}.{key}"), message.to_owned()));
    for (index, (name, user)) in settings.user.iter().enumerate() {
        if index == MOST {
            add(
                name,
                "password",
                "there are more than 200 accounts; give several people one",
            );
        }
        match (&user.password, user.anyone) {
            (None, false) => add(
                name,
                "password",
                "it has none; add one, or write anyone = true for all who show none",
            ),
            (Some(_), true) => add(
                name,
                "anyone",
                "it has a password, which nobody would be asked for; leave one of them out",
            ),
            _ => {}
        }
        let steers = [
            ("administer", user.administer),
            ("operate", !user.operate.is_empty()),
            ("erase", !user.erase.is_empty()),
            (
                "role",
                user.role
                    .is_some_and(|role| matches!(role, Role::Admin | Role::Operator)),
            ),
        ];
        for (key, _) in steers.into_iter().filter(|(_, given)| user.anyone && *given) {
            add(
                name,
                key,
                "nothing is steered, deleted or set by whoever comes; give that to an account with a password",
            );
        }
        if user.streams.is_some() && user.role.is_none() {
            add(
                name,
                "streams",
                "it says for which streams the role is, and there is none; add role = \"viewer\", or write the streams to view, replay, publish, operate or erase",
            );
        }
        let lists = [
            ("streams", user.streams.as_ref()),
            ("view", Some(&user.view)),
            ("replay", user.replay.as_ref()),
            ("publish", Some(&user.publish)),
            ("operate", Some(&user.operate)),
            ("erase", Some(&user.erase)),
        ];
        for (key, list) in lists {
            if list.is_some_and(|list| list.len() > MOST_STREAMS) {
                add(
                    name,
                    key,
                    "it holds more than 100 streams; an expression (\"~^yard/\") means many",
                );
            }
        }
    }
    all
}

impl FromStr for Password {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let wrong = |message: &str| Err(InvalidWord::new(message.to_owned()));
        if let Some(hash) = text.strip_prefix(SHA256) {
            let hash = STANDARD.decode(hash).ok().and_then(|hash| hash.try_into().ok());
            return match hash {
                Some(hash) => Ok(Self::Sha256(hash)),
                None => wrong(
                    "behind sha256: stands the base64 of 32 bytes: `printf %s PASSWORD | openssl dgst -sha256 -binary | openssl base64`",
                ),
            };
        }
        if let Some(hash) = text.strip_prefix(ARGON2) {
            return Hash::read(hash).map_or_else(wrong, |hash| Ok(Self::Argon2(Arc::new(hash))));
        }
        match text.is_empty() {
            true => wrong("a password is not empty"),
            false => Ok(Self::Plain(Secret::new(text))),
        }
    }
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl FromStr for Streams {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        match text {
            ALL => Ok(Self::All),
            _ => text
                .parse()
                .map(Self::Of)
                .map_err(|error: super::stream_key::InvalidKey| InvalidWord::new(error.to_string())),
        }
    }
}

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str(ALL),
            Self::Of(key) => StreamKey::fmt(key, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Wanted, load};
    use rstest::rstest;

    fn said(text: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sightline.toml");
        std::fs::write(&file, text).unwrap();
        let wanted = Wanted {
            file: Some(file),
            environment: Environment::default(),
            ..Wanted::default()
        };
        let loaded = load(&wanted).map_err(|invalid| invalid.problems[0].to_string())?;
        Ok(loaded
            .given()
            .map(|(key, given)| format!("{key}={:?}", given[0].shown))
            .collect())
    }

    #[rstest]
    #[case("[user.a]\nview = [\"*\"]", "user.a.password: it has none")]
    #[case("[user.a]\nanyone = true\npassword = \"canary\"", "user.a.anyone: it has a password")]
    #[case("[user.a]\nanyone = true\nadminister = true", "user.a.administer")]
    #[case("[user.a]\nanyone = true\nrole = \"operator\"", "user.a.role: nothing is steered")]
    #[case("[user.a]\nanyone = true\nerase = [\"*\"]", "user.a.erase: nothing is steered")]
    #[case(
        "[user.a]\npassword = \"canary\"\nstreams = [\"door\"]",
        "user.a.streams: it says for which"
    )]
    #[case(
        "[user.a]\npassword = \"canary\"\nrole = \"boss\"",
        "write admin, operator, publisher or viewer"
    )]
    #[case("[user.a]\npassword = \"sha256:canary\"", "base64 of 32 bytes")]
    #[case("[user.a]\npassword = \"argon2:$canary\"", "behind argon2: stands $argon2id$v=19$")]
    #[case(
        "[user.a]\npassword = \"argon2:$argon2id$v=19$m=65536,t=3,p=1$c2FsdHNhbHQ$canary\"",
        "behind argon2: stands"
    )]
    #[case("[user.a]\npassword = \"\"", "not empty")]
    #[case("[user.a]\npassword = \"canary\"\nview = [\"a b\"]", "holds ' '")]
    #[case("[user.a]\npassword = \"canary\"\nview = [\"~(\"]", "cannot be used")]
    #[case("[user.a]\npassword = \"canary\"\nnetworks = [\"x\"]", "not an IP address")]
    fn what_is_wrong_is_told_without_the_password(#[case] text: &str, #[case] expected: &str) {
        let error = said(text).unwrap_err();
        assert!(error.contains(expected) && !error.contains("canary"), "{error}");
    }

    #[rstest]
    #[case("role = \"viewer\"", "viewer *")]
    #[case("role = \"operator\"\nstreams = [\"door\", \"~^yard/\"]", "operator door ~^yard/")]
    #[case("role = \"viewer\"\nstreams = []", "nothing")]
    #[case("view = [\"door\"]", "view door ; replay door")]
    #[case("view = [\"door\"]\nreplay = []", "view door")]
    #[case(
        "role = \"publisher\"\noperate = [\"door\"]\nerase = [\"*\"]",
        "publisher * ; operate door ; erase *"
    )]
    #[case("administer = true", "operate,erase,administer *")]
    fn what_a_table_gives(#[case] text: &str, #[case] expected: &str) {
        let settings: Settings = toml::from_str(&format!("[user.a]\npassword = \"p\"\n{text}")).unwrap();
        assert!(wrong(&settings).is_empty());
        assert_eq!(accounts(&settings.user)[0].rights.to_string(), expected);
    }

    #[test]
    fn accounts_and_their_streams_are_limited() {
        let many = |count: usize| {
            (0..count)
                .map(|n| format!("[user.u{n}]\npassword = \"p\"\n"))
                .collect::<String>()
        };
        assert!(said(&many(MOST)).is_ok() && said(&many(MOST + 1)).is_err());
        let streams = |count| format!("[user.a]\npassword = \"p\"\nview = {:?}\n", vec!["x"; count]);
        assert!(said(&streams(MOST_STREAMS)).is_ok() && said(&streams(MOST_STREAMS + 1)).is_err());
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = said("[user.a]\npassword = \"canary\"").unwrap();
        assert!(shown.contains("[redacted]") && !shown.contains("canary"), "{shown}");
    }
}
