//! Where streams are fetched from, as settings hold it: each kind of source, told by what its text begins with.
//!
//! Another kind has its variant in [`StreamSource`] and in [`Place`], its line in [`KINDS`], and what asks there in [`crate::source`]; the compiler
//! names the rest. Does not belong here: which names an expression means ([`super::stream_key`]), asking ([`crate::source`]).

use std::fmt;
use std::str::FromStr;

use media::StreamName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::rtsp::url::Url;
use regex::Captures;

use super::command::{Command, CommandTemplate};
use super::onvif_url::Device;
use super::settings::Stream;
use super::units::InvalidWord;
use super::url_template::{HttpUrl, RtspUrl};
use crate::onvif::Account;
use crate::secret::redacted_url;
use crate::state::credentials::Origin;

/// Where a stream comes from, with places for what an expression found. `Debug` and `Display` leave credentials out.
#[derive(Clone, PartialEq, Eq)]
pub enum StreamSource {
    /// Another RTSP server or camera.
    Rtsp(RtspUrl),
    /// A server that gives it by WHEP.
    Whep(HttpUrl),
    /// What a program gives.
    Exec(CommandTemplate),
    /// What a program publishes without being told where.
    Run(CommandTemplate),
    /// A list of HLS.
    Hls(HttpUrl),
    /// A camera that is asked by ONVIF.
    Onvif(HttpUrl),
}

/// Where a stream comes from, nothing left open. `Debug` and `Display` leave credentials out.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// Another RTSP server or camera.
    Rtsp(Url),
    /// A server that gives it by WHEP, with the URL that it is asked by HTTP.
    Whep(url::Url),
    /// What a program gives.
    Exec(Command),
    /// A list of HLS.
    Hls(url::Url),
    /// A camera that is asked by ONVIF.
    Onvif(Device),
    /// A camera of this machine, of whose pictures smaller ones are made. Not for settings to name.
    Lower(StreamName),
}

/// Where a stream comes from: one source, or several that are tried in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceList(pub Vec<StreamSource>);

/// Most sources of one stream.
pub const MOST: usize = 8;

/// What the schema calls the setting.
pub(super) const FORMAT: &str = "source of a stream, or a list of them";

/// Makes a source of its text.
type Read = fn(&str) -> Result<StreamSource, InvalidWord>;

/// What commands begin with.
pub const EXEC: &str = "exec:";
/// What commands of programs begin with that publish by themselves.
const RUN: &str = "run:";

/// What sources begin with, and what they are.
const KINDS: [(&str, Read); 10] = [
    ("rtsp://", |text| text.parse().map(StreamSource::Rtsp)),
    ("rtsps://", |text| text.parse().map(StreamSource::Rtsp)),
    ("whep://", |text| HttpUrl::read(text, &WHEP).map(StreamSource::Whep)),
    ("wheps://", |text| HttpUrl::read(text, &WHEP).map(StreamSource::Whep)),
    ("onvif://", |text| HttpUrl::read(text, &ONVIF).map(StreamSource::Onvif)),
    ("onvifs://", |text| HttpUrl::read(text, &ONVIF).map(StreamSource::Onvif)),
    (EXEC, |text| {
        let command = text.get(EXEC.len()..).unwrap_or_default();
        command.parse().map(StreamSource::Exec)
    }),
    (RUN, |text| {
        let command = text.get(RUN.len()..).unwrap_or_default();
        command.parse().map(StreamSource::Run)
    }),
    ("http://", |text| HttpUrl::read(text, &HLS).map(StreamSource::Hls)),
    ("https://", |text| HttpUrl::read(text, &HLS).map(StreamSource::Hls)),
];

/// Whatever is asked by HTTP without another name is a list of HLS.
const HLS: [(&str, &str); 2] = [("http://", "http://"), ("https://", "https://")];

/// As MediaMTX spells them.
const WHEP: [(&str, &str); 2] = [("whep://", "http://"), ("wheps://", "https://")];

/// By HTTP, or by HTTPS.
const ONVIF: [(&str, &str); 2] = [("onvif://", "http://"), ("onvifs://", "https://")];

impl Place {
    /// The machine that is asked, spelt alike by each kind of place: in lower case, an IPv6 address without brackets. `None` where that is this one.
    pub fn host(&self) -> Option<String> {
        let host = match self {
            Self::Rtsp(url) => url.host.as_str(),
            Self::Whep(url) | Self::Hls(url) => url.host_str()?,
            Self::Onvif(device) => device.service.host_str()?,
            Self::Exec(_) | Self::Lower(_) => return None,
        };
        let host = host.trim_matches(['[', ']']);
        let address = host.parse::<std::net::IpAddr>();
        Some(address.map_or_else(|_| host.to_ascii_lowercase(), |address| address.to_string()))
    }
}

impl Place {
    /// Whom a login for it is for; `None` where nobody is asked by network.
    pub fn origin(&self) -> Option<Origin> {
        let (scheme, port) = match self {
            Self::Rtsp(url) => (if url.tls { "rtsps" } else { "rtsp" }, Some(url.port)),
            Self::Whep(url) => (
                if is_secure(url) { "wheps" } else { "whep" },
                url.port_or_known_default(),
            ),
            Self::Hls(url) => (url.scheme(), url.port_or_known_default()),
            Self::Onvif(device) => (
                if is_secure(&device.service) { "onvifs" } else { "onvif" },
                device.service.port_or_known_default(),
            ),
            Self::Exec(_) | Self::Lower(_) => return None,
        };
        Some(Origin {
            scheme: scheme.to_owned(),
            host: self.host()?,
            port: port?,
        })
    }

    /// Whether its URL has a user itself.
    pub fn has_login(&self) -> bool {
        match self {
            Self::Rtsp(url) => url.user.is_some(),
            Self::Whep(url) | Self::Hls(url) => !url.username().is_empty() || url.password().is_some(),
            Self::Onvif(device) => device.account.is_some(),
            Self::Exec(_) | Self::Lower(_) => false,
        }
    }

    /// The same place, where this login is shown.
    #[must_use]
    pub fn with_login(mut self, account: &Account) -> Self {
        match &mut self {
            Self::Rtsp(url) => {
                url.user = Some(account.user.clone());
                url.password = Some(account.password.expose().to_owned());
            }
            // Neither fails for a URL with a host.
            Self::Whep(url) | Self::Hls(url) => {
                let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
                let _ = url.set_username(&encoded(&account.user));
                let _ = url.set_password(Some(&encoded(account.password.expose())));
            }
            Self::Onvif(device) => device.account = Some(account.clone()),
            Self::Exec(_) | Self::Lower(_) => {}
        }
        self
    }
}

fn is_secure(url: &url::Url) -> bool {
    url.scheme() == "https"
}

impl StreamSource {
    /// The place of a table with a name (`None`), where `$` is a character like others, or of a table with an expression that found this.
    ///
    /// # Errors
    /// When what was found makes nothing that can be asked.
    pub fn filled(&self, captures: Option<&Captures<'_>>) -> Result<Place, InvalidWord> {
        match self {
            Self::Rtsp(url) => {
                let url = url.filled(captures);
                url.map(Place::Rtsp)
                    .map_err(|error| InvalidWord::new(error.to_string()))
            }
            Self::Whep(url) => url.filled(captures).map(Place::Whep),
            Self::Exec(command) => command.filled(captures).map(Place::Exec),
            Self::Run(command) => command.filled(captures).map(|command| Place::Exec(command.by_itself())),
            Self::Hls(url) => url.filled(captures).map(Place::Hls),
            Self::Onvif(url) => url.filled(captures).and_then(Device::read).map(Place::Onvif),
        }
    }

    /// Whether a program runs for it.
    pub fn runs_a_program(&self) -> bool {
        matches!(self, Self::Exec(_) | Self::Run(_))
    }

    /// The highest number of a group that it has a place for.
    pub fn highest_group(&self) -> usize {
        match self {
            Self::Rtsp(url) => url.highest_group(),
            Self::Whep(url) | Self::Hls(url) | Self::Onvif(url) => url.highest_group(),
            Self::Exec(command) | Self::Run(command) => command.highest_group(),
        }
    }
}

/// Whether a text would be read as a command.
pub(super) fn is_command(text: &str) -> bool {
    [EXEC, RUN].iter().any(|word| begins(text.trim(), word))
}

fn begins(text: &str, word: &str) -> bool {
    text.get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

impl FromStr for StreamSource {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let text = text.trim();
        match KINDS.iter().find(|(word, _)| begins(text, word)) {
            Some((_, read)) => read(text),
            None => {
                let words = KINDS.map(|(word, _)| word).join(", ");
                let message =
                    format!("a source begins with one of {words}; write it like rtsp://192.168.1.20:554/stream1");
                Err(InvalidWord::new(message))
            }
        }
    }
}

impl fmt::Display for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtsp(url) => url.fmt(f),
            Self::Whep(url) | Self::Hls(url) | Self::Onvif(url) => url.fmt(f),
            Self::Exec(command) => command.fmt(f),
            Self::Run(command) => command.show_as("run", f),
        }
    }
}

impl fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The URL itself leaves out user and password, not a token in its query.
            Self::Rtsp(url) => f.write_str(&redacted_url(&url.to_string())),
            Self::Hls(url) => f.write_str(&redacted_url(url.as_str())),
            Self::Whep(url) => f.write_str(&redacted_url(&url.as_str().replacen("http", "whep", 1))),
            Self::Exec(command) => command.fmt(f),
            Self::Onvif(device) => device.fmt(f),
            Self::Lower(camera) => write!(f, "the camera {camera}, smaller"),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for SourceList {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => serializer.collect_str(one),
            several => serializer.collect_seq(several),
        }
    }
}

impl<'de> serde::Deserialize<'de> for SourceList {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> serde::de::Visitor<'de> for OneOrMany {
            type Value = SourceList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a source such as \"rtsp://10.0.0.4/h264\", or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SourceList, E> {
                text.parse().map(|url| SourceList(vec![url])).map_err(E::custom)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<SourceList, A::Error> {
                let mut urls = Vec::new();
                while let Some(url) = list.next_element::<StreamSource>()? {
                    urls.push(url);
                }
                if urls.is_empty() || urls.len() > MOST {
                    let message = format!("it holds {} sources; give 1 to {MOST}", urls.len());
                    return Err(serde::de::Error::custom(message));
                }
                Ok(SourceList(urls))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl schemars::JsonSchema for SourceList {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "source URLs".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "array"], "items": { "type": "string" }, "format": FORMAT })
    }
}

/// What is wrong with where a stream comes from or goes. `groups`: of the expression; `None` in a table with a name.
pub(super) fn wrong_places(stream: &Stream, groups: Option<usize>) -> Vec<(&'static str, String)> {
    let sources = stream.source.iter().flat_map(|list| &list.0).map(|source| {
        let filled = source.filled(None).map(drop).map_err(|error| error.to_string());
        ("source", filled, source.highest_group())
    });
    let redirect = stream.redirect.iter().map(|url| {
        let filled = url.filled(None).map(drop).map_err(|error| error.to_string());
        ("redirect", filled, url.highest_group())
    });
    let forward = stream.forward.iter().map(|url| {
        let filled = url.filled(None).map(drop).map_err(|error| error.to_string());
        ("forward", filled, url.highest_group())
    });
    let wrong = |(key, filled, highest): (_, Result<(), String>, usize)| match groups {
        None => Some((key, filled.err()?)),
        Some(groups) if highest > groups => Some((
            key,
            format!("${highest} stands for nothing: the expression has {groups} groups; $$ is a dollar sign"),
        )),
        Some(_) => None,
    };
    sources.chain(redirect).chain(forward).filter_map(wrong).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("rtsp://CAM.local:8554/1", "onvif://cam.local/")]
    #[case("rtsp://[fd00::4]/1", "onvif://[fd00::4]:8000/")]
    #[case("rtsp://[FD00:0:0::4]:8554/1", "http://[fd00::4]/1.m3u8")]
    #[case("rtsps://10.0.0.4/1", "wheps://10.0.0.4/1")]
    fn a_machine_is_one_however_it_is_spelt(#[case] one: &str, #[case] other: &str) {
        let host = |text: &str| text.parse::<StreamSource>().unwrap().filled(None).unwrap().host();
        assert!(host(one).is_some());
        assert_eq!(host(one), host(other));
        assert_ne!(host(one), host("rtsp://10.0.0.5/1"));
    }

    #[rstest]
    #[case("rtsp://CAM.local/1", "rtsp://cam.local:554")]
    #[case("rtsps://10.0.0.4:8322/1", "rtsps://10.0.0.4:8322")]
    #[case("wheps://h/door/whep", "wheps://h:443")]
    #[case("onvif://[FD00:0::4]/", "onvif://[fd00::4]:80")]
    #[case("https://h:8443/1.m3u8", "https://h:8443")]
    fn a_login_is_for_scheme_host_and_port(#[case] text: &str, #[case] origin: &str) {
        let place = text.parse::<StreamSource>().unwrap().filled(None).unwrap();
        assert_eq!(place.origin().unwrap().to_string(), origin);
        let account = Account {
            user: "a@b".to_owned(),
            password: crate::secret::Secret::new("p/:@%41"),
        };
        assert!(!place.has_login());
        let place = place.with_login(&account);
        assert!(place.has_login() && !format!("{place} {place:?}").contains("p/"));
        assert_eq!(place.origin().unwrap().to_string(), origin);
        let shown = match &place {
            Place::Rtsp(url) => (url.user.clone().unwrap(), url.password.clone().unwrap()),
            Place::Whep(url) | Place::Hls(url) => {
                let text = |text: &str| {
                    percent_encoding::percent_decode_str(text)
                        .decode_utf8_lossy()
                        .into_owned()
                };
                (text(url.username()), text(url.password().unwrap()))
            }
            Place::Onvif(device) => {
                let account = device.account.clone().unwrap();
                (account.user, account.password.expose().to_owned())
            }
            Place::Exec(_) | Place::Lower(_) => unreachable!(),
        };
        assert_eq!(shown, ("a@b".to_owned(), "p/:@%41".to_owned()));
    }

    #[rstest]
    #[case("\"RTSP://a/1\"", Ok(1))]
    #[case("[\"rtsp://a/1\", \"rtsps://b/2\"]", Ok(2))]
    #[case("[]", Err("it holds 0 sources; give 1 to 8"))]
    #[case(
        "\"ftp://a/1\"",
        Err(
            "a source begins with one of rtsp://, rtsps://, whep://, wheps://, onvif://, onvifs://, exec:, run:, http://, https://; write it like rtsp://192.168.1.20:554/stream1"
        )
    )]
    #[case(
        "1",
        Err("invalid type: integer `1`, expected a source such as \"rtsp://10.0.0.4/h264\", or a list of them")
    )]
    fn one_or_many(#[case] json: &str, #[case] expected: Result<usize, &str>) {
        let list = serde_json::from_str::<SourceList>(json).map(|list| list.0.len());
        let list = list.map_err(|error| error.to_string().split(" at line").next().unwrap().to_owned());
        assert_eq!(list, expected.map_err(str::to_owned));
    }
}
