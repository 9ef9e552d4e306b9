//! What is said to a certificate authority: for which names, and where it is asked.
//!
//! Belongs here: the two types as settings hold them. Does not belong here: asking ([`crate::tls`]).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

use crate::secret::redacted_url;

/// A name in the DNS, in lower case, as certificates hold it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Domain(String);

/// Why it is none, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDomain {
    /// An address.
    #[error("{0:?} is an address; certificates are asked for names, such as \"cam.example.org\"")]
    Address(String),
    /// A wildcard.
    #[error(
        "{0:?} stands for many names, which takes records in the DNS that this program cannot make; name each of them"
    )]
    Wildcard(String),
    /// Anything else.
    #[error("{0:?} is no name of the DNS; write one like \"cam.example.org\", without https:// and port")]
    Other(String),
}

impl Domain {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = InvalidDomain;

    fn from_str(text: &str) -> Result<Self, InvalidDomain> {
        if text.contains('*') {
            return Err(InvalidDomain::Wildcard(text.to_owned()));
        }
        if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return Err(InvalidDomain::Address(text.to_owned()));
        }
        let other = || InvalidDomain::Other(text.to_owned());
        // Names of other alphabets become what the DNS has for them.
        let Host::Domain(name) = Host::parse(text).map_err(|_| other())? else {
            return Err(InvalidDomain::Address(text.to_owned()));
        };
        let name = name.trim_end_matches('.').to_owned();
        let is_label = |label: &str| {
            let inside = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            (1..=63).contains(&label.len()) && inside && !label.starts_with('-') && !label.ends_with('-')
        };
        let is_name = name.contains('.') && name.len() <= 253 && name.split('.').all(is_label);
        is_name.then_some(Self(name)).ok_or_else(other)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a certificate authority says how it is asked (RFC 8555 §7.1.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Directory(Url);

/// Why it is none, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not where a certificate authority is asked; write it like https://ca.example/acme/acme/directory")]
pub struct InvalidDirectory(String);

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

impl Directory {
    /// As a URL.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl Default for Directory {
    #[expect(clippy::expect_used, reason = "a constant, read in a test")]
    fn default() -> Self {
        LETS_ENCRYPT.parse().expect("the URL of Let's Encrypt is one")
    }
}

impl FromStr for Directory {
    type Err = InvalidDirectory;

    fn from_str(text: &str) -> Result<Self, InvalidDirectory> {
        let invalid = || InvalidDirectory(redacted_url(text));
        let url: Url = text.parse().map_err(|_| invalid())?;
        // RFC 8555 §6.1: by TLS alone; who asks is known by a key, not by a password.
        let usable = url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none();
        usable.then_some(Self(url)).ok_or_else(invalid)
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let read = |text: &str| text.parse::<Domain>().map(|domain| domain.to_string());
        assert_eq!(read("cam.example.org").as_deref(), Ok("cam.example.org"));
        assert_eq!(read("CAM.Example.org.").as_deref(), Ok("cam.example.org"));
        assert_eq!(
            read("kamera.bücher.example").as_deref(),
            Ok("kamera.xn--bcher-kva.example")
        );
        assert!(matches!(read("*.example.org"), Err(InvalidDomain::Wildcard(_))));
        for address in ["192.168.1.5", "fd00::1", "[fd00::1]"] {
            assert!(matches!(read(address), Err(InvalidDomain::Address(_))), "{address}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for other in [
            "",
            "localhost",
            "https://cam.example.org",
            "cam.example.org:443",
            "a b.c",
            "a_b.example",
            "-a.example",
            "a..b",
            &long,
        ] {
            assert!(
                matches!(read(other), Err(InvalidDomain::Other(_))),
                "{other}: {:?}",
                read(other)
            );
        }
    }

    #[test]
    fn directories() {
        assert_eq!(Directory::default().to_string(), LETS_ENCRYPT);
        assert!("https://ca.house:9000/acme/acme/directory".parse::<Directory>().is_ok());
        for wrong in ["http://ca.house/directory", "ca.house", "https://me:canary@ca.house/"] {
            let error = wrong.parse::<Directory>().unwrap_err().to_string();
            assert!(!error.contains("canary") && error.contains("write it like"), "{error}");
        }
    }
}
