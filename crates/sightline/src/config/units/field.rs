//! Names of header fields.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;

use super::{InvalidWord, invalid};

/// The name of a header field, as it was written.
#[derive(Clone, Debug)]
pub struct Field {
    text: Box<str>,
    name: HeaderName,
}

impl Field {
    /// Who signed in at a proxy, as most call it.
    pub(in crate::config) fn user() -> Self {
        Self {
            text: "X-Forwarded-User".into(),
            name: HeaderName::from_static("x-forwarded-user"),
        }
    }

    /// That one's groups.
    pub(in crate::config) fn groups() -> Self {
        Self {
            text: "X-Forwarded-Groups".into(),
            name: HeaderName::from_static("x-forwarded-groups"),
        }
    }

    /// As it is looked for.
    pub fn name(&self) -> HeaderName {
        self.name.clone()
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl FromStr for Field {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let name = HeaderName::try_from(text);
        let name = name.map_err(|_| {
            invalid(format!(
                "{text:?} is not the name of a header field such as X-Forwarded-User"
            ))
        })?;
        Ok(Self {
            text: text.into(),
            name,
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
