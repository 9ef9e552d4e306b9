//! Credentials in memory, kept out of every log line.
//!
//! Belongs here: the type that every token and password travels in, and the rule how a URL is shown. Does not belong here:
//! who may do what ([`crate::auth`]), where tokens are kept ([`crate::state`]).

use std::fmt;

use subtle::ConstantTimeEq;

/// A token or password. `Debug` and `Display` show `[redacted]`; [`Secret::expose`] is the only way to the text, so that every place
/// that hands it out can be found by name.
#[derive(Clone, Default)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a credential.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The credential itself: for comparing, for a header to a peer, for a URL that a person is to copy. Never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is the same, in time that depends on the lengths alone.
    pub fn matches(&self, candidate: &str) -> bool {
        self.0.as_bytes().ct_eq(candidate.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Secret {}

/// What is shown in place of a credential.
const REDACTED: &str = "[redacted]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_of_itself() {
        let secret = Secret::new("canary-7f3a");
        assert_eq!(
            format!("{secret} {secret:?} {secret:#?}"),
            "[redacted] [redacted] [redacted]"
        );
    }

    #[test]
    fn matches_the_whole_text_only() {
        let secret = Secret::new("abc");
        assert!(secret.matches("abc"));
        for other in ["", "ab", "abcd", "abd", "ABC"] {
            assert!(!secret.matches(other), "{other}");
        }
    }
}
