//! Which streams a table of settings is for: one by its name, or many by an expression.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use media::StreamName;
use media::name::InvalidName;
use regex::{Captures, Regex, RegexBuilder};

/// The key of a table: a name, or `~` and a regular expression.
///
/// Sorted: names first, then expressions by their text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamKey {
    /// One stream.
    Name(StreamName),
    /// All whose name it finds.
    Expression(Expression),
}

/// A regular expression, anchored by its author. As long and as large as it takes to say which cameras are meant, not larger.
#[derive(Clone)]
pub struct Expression {
    text: Box<str>,
    regex: Regex,
}

/// Why a key is none, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not a name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Not an expression.
    #[error("the expression behind \"~\" cannot be used: {0}")]
    Expression(String),
}

/// Longest expression.
const MAX_BYTES: usize = 1_000;
/// What an expression may take of memory when it is made ready: `\d{1,3}` takes some 10 KB.
const MAX_COMPILED_BYTES: usize = 1 << 20;

impl FromStr for StreamKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::within(text, MAX_COMPILED_BYTES)
    }
}

impl StreamKey {
    /// The same where others than who writes the settings write it: an expression may take so much memory when it is made ready.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn within(text: &str, compiled_bytes: usize) -> Result<Self, InvalidKey> {
        let Some(expression) = text.strip_prefix('~') else {
            return Ok(Self::Name(text.parse()?));
        };
        if expression.len() > MAX_BYTES {
            let why = format!("it is {} bytes long, at most {MAX_BYTES} are allowed", expression.len());
            return Err(InvalidKey::Expression(why));
        }
        let mut builder = RegexBuilder::new(expression);
        let builder = builder.size_limit(compiled_bytes).dfa_size_limit(compiled_bytes);
        match builder.build() {
            Ok(regex) => Ok(Self::Expression(Expression {
                text: expression.into(),
                regex,
            })),
            Err(regex::Error::CompiledTooBig(_)) => Err(InvalidKey::Expression(
                "it takes too much memory; write its repetitions smaller".to_owned(),
            )),
            Err(error) => {
                // The last line says what, those above show where.
                let error = error.to_string();
                let what = error.lines().last().unwrap_or_default();
                Err(InvalidKey::Expression(what.trim_start_matches("error: ").to_owned()))
            }
        }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Expression(expression) => write!(f, "~{}", expression.text),
        }
    }
}

impl Expression {
    /// What it finds in a name.
    pub fn captures<'a>(&self, name: &'a StreamName) -> Option<Captures<'a>> {
        self.regex.captures(name.as_str())
    }

    /// The number of its last group.
    pub fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl PartialOrd for Expression {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Expression {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

/// What is set for a stream: the table of its name, else of the first expression that finds it, with what it found.
pub fn look_up<'a, 'n, T>(
    tables: &'a BTreeMap<StreamKey, T>,
    name: &'n StreamName,
) -> Option<(&'a T, Option<Captures<'n>>)> {
    if let Some(table) = tables.get(&StreamKey::Name(name.clone())) {
        return Some((table, None));
    }
    tables.iter().find_map(|(key, table)| match key {
        StreamKey::Name(_) => None,
        StreamKey::Expression(expression) => Some((table, Some(expression.captures(name)?))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> StreamKey {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_wins_over_expressions_and_the_first_of_these_wins() {
        let keys = ["~^a", "door", "~^b", "~^(.+)$"];
        let tables: BTreeMap<_, _> = keys.iter().map(|text| (key(text), *text)).collect();
        let found = |name: &str| {
            let name = name.parse().unwrap();
            look_up(&tables, &name).map(|(table, captures)| (*table, captures.is_some()))
        };
        assert_eq!(found("door"), Some(("door", false)));
        // By their text: "^(" stands before "^a".
        assert_eq!(found("attic"), Some(("~^(.+)$", true)));
        let tables: BTreeMap<_, _> = [(key("~^floor(\\d+)/(.+)$"), ())].into();
        let name = "floor3/cam/1".parse().unwrap();
        let (_, captures) = look_up(&tables, &name).unwrap();
        assert_eq!(captures.unwrap().get(2).unwrap().as_str(), "cam/1");
        assert!(look_up(&tables, &"floor/cam".parse().unwrap()).is_none());
    }

    #[test]
    fn what_is_no_key_says_why() {
        let why = |text: &str| text.parse::<StreamKey>().unwrap_err().to_string();
        assert_eq!(why("~(a"), "the expression behind \"~\" cannot be used: unclosed group");
        assert!(why("~\\w{1000}{1000}").ends_with("it takes too much memory; write its repetitions smaller"));
        assert!(why(&format!("~{}", "a".repeat(1_001))).contains("1001 bytes long"));
        assert!(format!("~{}", "a".repeat(1_000)).parse::<StreamKey>().is_ok());
        assert!(why("a b").contains("the stream name holds"));
    }
}
