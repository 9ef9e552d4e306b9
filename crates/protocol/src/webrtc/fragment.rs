//! Fragments of trickled candidates: `application/trickle-ice-sdpfrag` (RFC 8840).
//!
//! Belongs here: reading what a peer sends by PATCH, writing what it gets after an ICE restart. Does not belong here: candidates of the
//! peer: a lite agent never looks for it (RFC 8445 §2.5), it is found where its checks come from.

use super::offer::is_ice_word;
use super::{Candidate, Credentials, answer};

/// Most bytes that are read.
const MAX_BYTES: usize = 32 << 10;
/// Most lines.
const MAX_LINES: usize = 1_000;

/// What a peer sends by PATCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Other credentials than those of the session ask for an ICE restart.
    pub credentials: Option<Credentials>,
}

/// Why it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// Beyond a limit.
    #[error("the fragment has more than {limit} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
    /// No line of SDP in it.
    #[error("this is no fragment of a session description")]
    NotSdp,
    /// RFC 8839 §5.4.
    #[error("`a=ice-ufrag` and `a=ice-pwd` belong together, and are not such as ICE allows here")]
    Credentials,
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    /// [`FragmentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FragmentError> {
        let too_large = |what, limit| FragmentError::TooLarge { what, limit };
        if bytes.len() > MAX_BYTES {
            return Err(too_large("bytes", MAX_BYTES));
        }
        let text = String::from_utf8_lossy(bytes);
        let lines = text
            .split(['\r', '\n', '\0'])
            .map(str::trim_ascii)
            .filter(|line| !line.is_empty());
        let (mut ufrag, mut password, mut understood) = (None, None, false);
        for (line, number) in lines.zip(1..) {
            if number > MAX_LINES {
                return Err(too_large("lines", MAX_LINES));
            }
            understood |= line.starts_with("a=") || line.starts_with("m=");
            // Sections repeat them; they are the same in all.
            if let Some(value) = line.strip_prefix("a=ice-ufrag:") {
                ufrag.get_or_insert(value.trim().to_owned());
            } else if let Some(value) = line.strip_prefix("a=ice-pwd:") {
                password.get_or_insert(value.trim().to_owned());
            }
        }
        match (ufrag, password) {
            _ if !understood => Err(FragmentError::NotSdp),
            (None, None) => Ok(Self { credentials: None }),
            (Some(ufrag), Some(password)) if is_ice_word(&ufrag, 4) && is_ice_word(&password, 22) => Ok(Self {
                credentials: Some(Credentials { ufrag, password }),
            }),
            _ => Err(FragmentError::Credentials),
        }
    }

    /// What a peer is answered after a restart (RFC 9725 §4.4.2).
    pub fn answer(credentials: &Credentials, candidates: &[Candidate]) -> String {
        let mut text = String::new();
        answer::line(&mut text, "a=ice-lite");
        answer::credentials(&mut text, credentials);
        answer::candidates(&mut text, candidates);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "abcdefghijklmnopqrstuv";

    #[test]
    fn candidates_alone_ask_for_nothing() {
        let text =
            "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 10.0.0.1 5 typ host\r\na=end-of-candidates\r\n";
        assert_eq!(Fragment::parse(text.as_bytes()), Ok(Fragment { credentials: None }));
    }

    #[test]
    fn credentials_are_read_and_answered() {
        let ours = Credentials {
            ufrag: "user".to_owned(),
            password: PASSWORD.to_owned(),
        };
        let text = Fragment::answer(&ours, &[]);
        assert_eq!(Fragment::parse(text.as_bytes()).unwrap().credentials, Some(ours));
    }

    #[test]
    fn what_is_none_is_told() {
        let parse = |text: &str| Fragment::parse(text.as_bytes());
        assert_eq!(parse(""), Err(FragmentError::NotSdp));
        assert_eq!(parse("{\"candidate\":1}"), Err(FragmentError::NotSdp));
        assert_eq!(parse("a=ice-ufrag:user"), Err(FragmentError::Credentials));
        assert_eq!(parse("a=ice-ufrag:u\na=ice-pwd:p"), Err(FragmentError::Credentials));
        let lines = "a=x\n".repeat(MAX_LINES + 1);
        assert!(matches!(
            parse(&lines),
            Err(FragmentError::TooLarge { what: "lines", .. })
        ));
        let bytes = "a".repeat(MAX_BYTES + 1);
        assert!(matches!(
            parse(&bytes),
            Err(FragmentError::TooLarge { what: "bytes", .. })
        ));
    }
}
