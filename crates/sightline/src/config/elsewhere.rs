//! Who else decides about media, as settings hold it.
//!
//! Belongs here: the types of these settings, and what they can get wrong together. Does not belong here: asking anybody ([`crate::auth::authority`]).

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::load::Wrong;
use super::settings::{AuthMethod, Settings};
use super::units::InvalidWord;
use crate::auth::authority::permission;
use crate::secret::redacted_url;

impl AuthMethod {
    const ALL: [Self; 3] = [Self::Own, Self::Jwt, Self::Http];

    fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Jwt => "jwt",
            Self::Http => "http",
        }
    }
}

impl FromStr for AuthMethod {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let found = Self::ALL.into_iter().find(|method| method.name() == text);
        found.ok_or_else(|| InvalidWord::new("write \"own\", \"jwt\" or \"http\"".to_owned()))
    }
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where an authority is asked, by http:// or https://. `Debug` and `Display` show no credential of it.
#[derive(Clone, PartialEq, Eq)]
pub struct AskedUrl(Url);

impl AskedUrl {
    /// All of it.
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl FromStr for AskedUrl {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let url = text.trim().parse().ok().filter(|url: &Url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
        });
        // Nothing of it is quoted: it may hold a password.
        let message = "no URL of a web server; write one like https://example.com/auth";
        url.map(Self).ok_or_else(|| InvalidWord::new(message.to_owned()))
    }
}

impl fmt::Display for AskedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted_url(self.0.as_str()))
    }
}

impl fmt::Debug for AskedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What these settings can get wrong together: key and message.
pub(super) fn wrong(settings: &Settings) -> Vec<Wrong> {
    let auth = &settings.auth;
    let mut all = Vec::new();
    let mut add = |key: &str, message: &str| all.push((format!("auth.{key}"), message.to_owned()));
    match auth.method {
        AuthMethod::Own => return Vec::new(),
        AuthMethod::Jwt if auth.jwt.jwks.is_none() => {
            add(
                "method",
                "auth.jwt.jwks is missing: the URL of the keys that tokens are signed with",
            );
        }
        AuthMethod::Http if auth.http.url.is_none() => {
            add("method", "auth.http.url is missing: the URL that is asked");
        }
        AuthMethod::Jwt | AuthMethod::Http => {}
    }
    if auth.open {
        add(
            "open",
            "it opens everything, and auth.method has somebody asked who may do what; leave one of them out",
        );
    }
    if auth.jwt.claim.is_empty() {
        add("jwt.claim", "it is empty; \"mediamtx_permissions\" is usual");
    }
    let lists = [("jwt.exclude", &auth.jwt.exclude), ("http.exclude", &auth.http.exclude)];
    for (key, list) in lists {
        if list.len() > permission::MOST {
            add(
                key,
                "it holds more than 200 entries; an expression (\"read ~^yard/\") means many streams",
            );
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("method = \"jwt\"", "auth.method: auth.jwt.jwks is missing")]
    #[case("method = \"http\"", "auth.method: auth.http.url is missing")]
    #[case("method = \"ldap\"", "write \"own\", \"jwt\" or \"http\"")]
    #[case(
        "open = true\nmethod = \"http\"\nhttp.url = \"http://h/\"",
        "auth.open: it opens everything"
    )]
    #[case(
        "method = \"jwt\"\njwt = { jwks = \"http://h/\", claim = \"\" }",
        "auth.jwt.claim: it is empty"
    )]
    #[case("http.url = \"ftp://canary@h/\"", "no URL of a web server")]
    #[case("http.exclude = [\"watch\"]", "\"watch\" is no action")]
    #[case("http.exclude = [\"api door\"]", "api is not of a stream")]
    #[case("http.exclude = [\"read ~(\"]", "cannot be used")]
    fn what_is_wrong_is_told(#[case] text: &str, #[case] expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sightline.toml");
        std::fs::write(&file, format!("[auth]\n{text}\n")).unwrap();
        let wanted = crate::config::Wanted {
            file: Some(file),
            environment: crate::config::Environment::default(),
            ..crate::config::Wanted::default()
        };
        let error = crate::config::load(&wanted).unwrap_err().problems[0].to_string();
        assert!(error.contains(expected) && !error.contains("canary"), "{error}");
    }

    #[test]
    fn passwords_in_urls_are_not_shown() {
        let url: AskedUrl = "https://me:canary@auth.example/ask?key=canary".parse().unwrap();
        assert!(!format!("{url} {url:?}").contains("canary"), "{url}");
        assert_eq!(url.expose().password(), Some("canary"));
    }
}
