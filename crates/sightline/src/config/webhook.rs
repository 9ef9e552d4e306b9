//! Webhooks as settings hold them: where events go, which they are, and what signs them.
//!
//! Does not belong here: telling anybody anything ([`crate::webhooks`]).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Position, Url};

use super::load::Wrong;
use super::settings::Settings;
use super::units::InvalidWord;
use crate::events::Kind;
use crate::fetch::public;
use crate::secret::Secret;

/// Most webhooks.
pub const MOST: usize = 64;
/// The format of its key in the definition.
pub(super) const FORMAT: &str = "webhook URL";
/// What stands for all behind the host, which is a credential with many services.
pub(super) const HIDDEN: &str = "/***";

/// Where events are POSTed. `Debug` and `Display` show scheme, host and port alone.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl(Url);

/// Kinds of events by a word: `viewer.left`, `viewer`, `viewer.*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventWord {
    text: Box<str>,
    kinds: Vec<Kind>,
}

/// What events are signed with, `whsec_…` (Standard Webhooks 1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningSecret(Secret);

impl HookUrl {
    /// All of it.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Whether it names an address that is none of the public internet. A name says nothing until it is looked up.
    fn is_private_address(&self) -> bool {
        match self.0.host() {
            Some(url::Host::Ipv4(address)) => !public(address.into()),
            Some(url::Host::Ipv6(address)) => !public(address.into()),
            _ => false,
        }
    }
}

impl FromStr for HookUrl {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let url = text.trim().parse().ok().filter(|url: &Url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
        });
        // Nothing of it is quoted: all behind the host may be a credential.
        let message = "no URL of a web server; write one like https://example.com/hooks/camera";
        url.map(Self).ok_or_else(|| InvalidWord::new(message.to_owned()))
    }
}

impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.0[Position::BeforeHost..Position::BeforePath];
        write!(f, "{}://{host}{HIDDEN}", self.0.scheme())
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl EventWord {
    /// Whether events of this kind are meant.
    pub fn means(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

impl FromStr for EventWord {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let text = text.trim();
        let kinds = match text {
            "*" => Ok(Kind::ALL.to_vec()),
            _ => Kind::meant(text.strip_suffix(".*").unwrap_or(text)),
        };
        Ok(Self {
            text: text.into(),
            kinds: kinds.map_err(|unknown| InvalidWord::new(unknown.to_string()))?,
        })
    }
}

impl fmt::Display for EventWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl SigningSecret {
    /// The bytes of the key.
    pub fn key(&self) -> Vec<u8> {
        decoded(self.0.expose()).unwrap_or_default()
    }
}

impl FromStr for SigningSecret {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let text = text.trim();
        match decoded(text) {
            Some(_) => Ok(Self(Secret::new(text))),
            None => {
                let message = "no secret of a webhook: it is whsec_ and the base64 of 24 to 64 bytes; `echo whsec_$(openssl rand -base64 32)` makes one";
                Err(InvalidWord::new(message.to_owned()))
            }
        }
    }
}

impl fmt::Display for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

/// What the tables of webhooks can get wrong as a whole: key and message.
pub(super) fn wrong(settings: &Settings) -> Vec<Wrong> {
    let mut all = Vec::new();
    let mut add = |name: &str, key: &str, message: String| all.push((format!("webhook.{name}.{key}"), message));
    for (index, (name, hook)) in settings.webhook.iter().enumerate() {
        let name = name.0.as_str();
        if index == MOST {
            add(
                name,
                "url",
                format!("there are more than {MOST} webhooks; one server can pass events on to others"),
            );
        }
        match &hook.url {
            None => add(name, "url", "it does not say who is told; add one".to_owned()),
            Some(url) if url.is_private_address() && !hook.allow_private => {
                let message = "it is on this machine or in its networks; where that is meant, set allow_private = true in the settings file";
                add(name, "url", message.to_owned());
            }
            Some(_) => {}
        }
        if hook.secret.is_some() && hook.secret_file.is_some() {
            add(
                name,
                "secret_file",
                "there is a secret already; leave one of them out".to_owned(),
            );
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn of_a_url_the_server_alone_is_shown() {
        let url: HookUrl = "https://me:canary@example.com:444/canary/x?canary=canary#canary"
            .parse()
            .unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "https://example.com:444/*** https://example.com:444/***"
        );
        assert_eq!(url.expose().path(), "/canary/x");
    }

    #[rstest]
    #[case("")]
    #[case("canary")]
    #[case("ftp://canary")]
    #[case("https://")]
    #[case("rtsp://canary/a")]
    fn what_is_no_web_server_is_refused_unquoted(#[case] text: &str) {
        let error = text.parse::<HookUrl>().unwrap_err().to_string();
        assert!(!error.contains("canary"), "{error}");
    }

    #[rstest]
    #[case("viewer.left", &[Kind::ViewerLeft])]
    #[case("viewer", &[Kind::ViewerJoined, Kind::ViewerLeft])]
    #[case(" stream.* ", &[Kind::StreamAvailable, Kind::StreamUnavailable])]
    #[case("*", &Kind::ALL)]
    fn words_for_events(#[case] word: &str, #[case] kinds: &[Kind]) {
        let word: EventWord = word.parse().unwrap();
        for kind in Kind::ALL {
            assert_eq!(word.means(kind), kinds.contains(&kind), "{kind}");
        }
        assert!("viewer.gone".parse::<EventWord>().is_err() && ".*".parse::<EventWord>().is_err());
    }

    #[test]
    fn secrets_have_their_form_and_are_not_shown() {
        let secret: SigningSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        assert_eq!(secret.key().len(), 24);
        assert_eq!(format!("{secret} {secret:?}").matches("MfK").count(), 0);
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes])).parse::<SigningSecret>();
        assert!(of(64).is_ok() && of(23).is_err() && of(65).is_err());
        for text in ["canary", "whsec_canary!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            let error = text.parse::<SigningSecret>().unwrap_err().to_string();
            assert!(!error.contains(text), "{error}");
        }
    }
}
