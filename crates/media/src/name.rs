//! The name of a stream, validated once, used everywhere.
//!
//! Belongs here: the one type through which a name enters from a URL, a command line or a file. Everything that builds a
//! path or URL from a name may rely on what is checked here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// First parts that mean something else on the HTTP ports.
const RESERVED_FIRST: [&str; 6] = ["api", "ws", "metrics", "healthz", "assets", "live"];
/// Last parts that mean something else below a stream's URL.
const RESERVED_LAST: [&str; 6] = ["whep", "whip", "publish", "mjpeg", "index.m3u8", "snapshot.jpg"];
/// Longest name in bytes: with a date and a file name behind it, it stays below the 255 of common file systems per part
/// and far below the 4,096 of a path.
const MAX_BYTES: usize = 200;

/// A stream's name: parts of `A–Z a–z 0–9 . _ ~ -` separated by single slashes, 1 to 200 bytes, no part `.` or `..` or
/// starting with a dot, first and last part not reserved for our own URLs.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

/// Why a name was refused. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing there.
    #[error("the stream name is empty; give one, such as \"zerolatency\"")]
    Empty,
    /// Longer than 200 bytes.
    #[error("the stream name is {0} bytes long, at most {MAX_BYTES} are allowed")]
    TooLong(usize),
    /// A character that may not stand in a name.
    #[error(
        "the stream name holds {0:?}; allowed are letters, digits, \".\", \"_\", \"~\", \"-\" and \"/\" between parts"
    )]
    Character(char),
    /// Two slashes in a row, one at the start or the end, or a part that starts with a dot.
    #[error("the stream name has an empty part or one that starts with a dot; write it like \"house/front-door\"")]
    Part,
    /// A word of our own URLs.
    #[error("a stream name cannot start or end with \"{0}\", which is part of Sightline's own URLs; choose another")]
    Reserved(&'static str),
}

impl StreamName {
    /// The default stream: `zerolatency`.
    pub fn default_stream() -> Self {
        Self(Arc::from("zerolatency"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(InvalidName::TooLong(text.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-' | '/');
        if let Some(bad) = text.chars().find(|&c| !allowed(c)) {
            return Err(InvalidName::Character(bad));
        }
        if text.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            return Err(InvalidName::Part);
        }
        let first = text.split('/').next().unwrap_or_default();
        let last = text.rsplit('/').next().unwrap_or_default();
        if let Some(word) = RESERVED_FIRST.into_iter().find(|&word| word == first) {
            return Err(InvalidName::Reserved(word));
        }
        if let Some(word) = RESERVED_LAST.into_iter().find(|&word| word == last) {
            return Err(InvalidName::Reserved(word));
        }
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("zerolatency")]
    #[case("house/front-door")]
    #[case("a.b_c~d-1")]
    #[case("apis/whepx")]
    fn accepts(#[case] name: &str) {
        assert_eq!(name.parse::<StreamName>().unwrap().as_str(), name);
    }

    #[rstest]
    #[case("", InvalidName::Empty)]
    #[case("a b", InvalidName::Character(' '))]
    #[case("a\\b", InvalidName::Character('\\'))]
    #[case("a\0", InvalidName::Character('\0'))]
    #[case("%2e%2e", InvalidName::Character('%'))]
    #[case("/a", InvalidName::Part)]
    #[case("a/", InvalidName::Part)]
    #[case("a//b", InvalidName::Part)]
    #[case("../etc", InvalidName::Part)]
    #[case("a/..", InvalidName::Part)]
    #[case("api/x", InvalidName::Reserved("api"))]
    #[case("x/whep", InvalidName::Reserved("whep"))]
    #[case("live", InvalidName::Reserved("live"))]
    fn refuses(#[case] name: &str, #[case] why: InvalidName) {
        assert_eq!(name.parse::<StreamName>().unwrap_err(), why);
    }

    #[test]
    fn length_limit_is_exact() {
        assert!("a".repeat(MAX_BYTES).parse::<StreamName>().is_ok());
        assert_eq!(
            "a".repeat(MAX_BYTES + 1).parse::<StreamName>(),
            Err(InvalidName::TooLong(MAX_BYTES + 1))
        );
    }

    proptest! {
        #[test]
        fn never_leaves_a_folder(name in ".{0,220}") {
            if let Ok(name) = name.parse::<StreamName>() {
                let path = std::path::Path::new(name.as_str());
                prop_assert!(path.is_relative());
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
