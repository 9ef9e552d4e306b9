//! Where streams are sent on to, as settings hold it: each kind of target, told by what its URL begins with.
//!
//! Another kind has its variant in [`ForwardUrl`] and in [`Destination`], its line in [`KINDS`], and what sends there in [`crate::forward`]; the
//! compiler names the rest. Does not belong here: where streams come from ([`super::stream_source`]), sending ([`crate::forward`]).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use media::StreamName;
use percent_encoding::percent_decode_str;
use protocol::rtsp::url::Url;
use regex::Captures;

use super::settings::Settings;
use super::stream_key::StreamKey;
use super::units::InvalidWord;
use super::url_template::{HttpUrl, RtspUrl};
use crate::secret::redacted_url;

/// Where a stream goes, with places for what an expression found. `Debug` and `Display` leave credentials out.
#[derive(Clone, PartialEq, Eq)]
pub enum ForwardUrl {
    /// Another RTSP server.
    Rtsp(RtspUrl),
    /// A server that takes it by WHIP.
    Whip(HttpUrl),
}

/// Where a stream goes, nothing left open. `Debug` and `Display` leave credentials out.
#[derive(Clone, PartialEq, Eq)]
pub enum Destination {
    /// Another RTSP server.
    Rtsp(Url),
    /// A server that takes it by WHIP, with the URL that it is asked by HTTP.
    Whip(url::Url),
}

/// Most destinations of one stream.
const MOST: usize = 8;

/// What is wrong with the destinations of a stream, for people.
pub(super) fn wrong(urls: &[ForwardUrl], key: &StreamKey, settings: &Settings) -> Vec<String> {
    let mut wrong = Vec::new();
    if urls.len() > MOST {
        wrong.push(format!("it holds {} URLs; give at most {MOST}", urls.len()));
    }
    if let StreamKey::Name(name) = key {
        let mut targets = urls.iter().filter_map(|url| url.filled(None).ok());
        if targets.any(|to| to.comes_back(name, settings)) {
            let message = "it sends the stream to itself; take that URL out, or give it another name at its end";
            wrong.push(message.to_owned());
        }
    }
    wrong
}

/// Makes a URL of its text.
type Read = fn(&str) -> Result<ForwardUrl, InvalidWord>;

/// What URLs begin with, and what they are.
const KINDS: [(&str, Read); 4] = [
    ("rtsp://", |text| text.parse().map(ForwardUrl::Rtsp)),
    ("rtsps://", |text| text.parse().map(ForwardUrl::Rtsp)),
    ("whip://", |text| HttpUrl::read(text, &WHIP).map(ForwardUrl::Whip)),
    ("whips://", |text| HttpUrl::read(text, &WHIP).map(ForwardUrl::Whip)),
];

/// As MediaMTX spells the other direction.
const WHIP: [(&str, &str); 2] = [("whip://", "http://"), ("whips://", "https://")];

impl Destination {
    /// Whether it is plain from the URL that a stream of this name would come back to it: at a port of ours, by an address that means this machine
    /// everywhere. Others are found out when the stream comes back ([`crate::forward::via`]).
    fn comes_back(&self, name: &StreamName, settings: &Settings) -> bool {
        let here = |host: &str| {
            let host = host.trim_matches(['[', ']']);
            let address: Option<IpAddr> = host.parse().ok();
            host.eq_ignore_ascii_case("localhost") || address.is_some_and(|a| a.is_loopback() || a.is_unspecified())
        };
        let is_name = |path: &str| {
            percent_decode_str(path.trim_matches('/'))
                .decode_utf8()
                .is_ok_and(|path| path == name.as_str())
        };
        match self {
            Self::Rtsp(url) => {
                let port = if url.tls {
                    settings.rtsp.rtsps_port
                } else {
                    settings.rtsp.port
                };
                here(&url.host) && url.port == port && is_name(url.path.split('?').next().unwrap_or_default())
            }
            Self::Whip(url) => {
                let ports = [settings.webrtc.port, settings.http.port, settings.http.https_port];
                let path = url.path().trim_start_matches("/live/");
                let endpoint = path.trim_end_matches('/').strip_suffix("/whip");
                let port = url.port_or_known_default();
                url.host_str().is_some_and(here)
                    && port.is_some_and(|port| ports.contains(&port))
                    && endpoint.is_some_and(is_name)
            }
        }
    }
}

impl ForwardUrl {
    /// The destination of a table with a name (`None`), where `$` is a character like others, or of a table with an expression that found this.
    ///
    /// # Errors
    /// When what was found makes nothing that can be reached.
    pub fn filled(&self, captures: Option<&Captures<'_>>) -> Result<Destination, InvalidWord> {
        match self {
            Self::Rtsp(url) => {
                let url = url.filled(captures).map(Destination::Rtsp);
                url.map_err(|error| InvalidWord::new(error.to_string()))
            }
            Self::Whip(url) => url.filled(captures).map(Destination::Whip),
        }
    }

    /// The highest number of a group that it has a place for.
    pub fn highest_group(&self) -> usize {
        match self {
            Self::Rtsp(url) => url.highest_group(),
            Self::Whip(url) => url.highest_group(),
        }
    }
}

impl FromStr for ForwardUrl {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let text = text.trim();
        let begins = |word: &str| {
            text.get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        match KINDS.iter().find(|(word, _)| begins(word)) {
            Some((_, read)) => read(text),
            None => {
                let words = KINDS.map(|(word, _)| word).join(", ");
                let message = format!(
                    "where a stream is sent on to begins with one of {words}; write it like rtsp://192.168.1.20:8554/garden"
                );
                Err(InvalidWord::new(message))
            }
        }
    }
}

impl fmt::Display for ForwardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtsp(url) => url.fmt(f),
            Self::Whip(url) => url.fmt(f),
        }
    }
}

impl fmt::Debug for ForwardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The URL itself leaves out user and password, not a token in its query.
            Self::Rtsp(url) => f.write_str(&redacted_url(&url.to_string())),
            Self::Whip(url) => f.write_str(&redacted_url(&url.as_str().replacen("http", "whip", 1))),
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_holds_no_credentials() {
        let url: ForwardUrl = "rtsps://u:canary@10.0.0.5/garden?token=canary".parse().unwrap();
        let destination = url.filled(None).unwrap();
        let shown = format!("{url} {url:?} {destination} {destination:?}");
        assert!(
            !shown.contains("canary") && shown.contains("10.0.0.5/garden"),
            "{shown}"
        );
    }

    #[test]
    fn whip_is_asked_by_http_and_shown_as_it_is_written() {
        let url: ForwardUrl = "whips://u:canary@10.0.0.5/garden/whip?token=canary".parse().unwrap();
        let Destination::Whip(asked) = url.filled(None).unwrap() else {
            panic!("{url}");
        };
        assert_eq!(asked.as_str(), "https://u:canary@10.0.0.5/garden/whip?token=canary");
        let shown = format!("{url} {:?}", Destination::Whip(asked));
        assert!(
            !shown.contains("canary") && shown.matches("whips://").count() == 2,
            "{shown}"
        );
        assert!("whip://".parse::<ForwardUrl>().is_err());
    }

    #[test]
    fn a_stream_that_is_sent_to_itself_is_known_by_its_url() {
        let settings = Settings::default();
        let comes_back = |text: &str| {
            let url: ForwardUrl = text.parse().unwrap();
            url.filled(None)
                .unwrap()
                .comes_back(&"a-b/garden".parse().unwrap(), &settings)
        };
        for text in [
            "rtsp://u:p@127.0.0.1:8554/a%2Db/garden?x=1",
            "rtsp://LOCALHOST/a%2Db/garden/",
            "rtsps://[::1]:8322/a%2Db/garden",
            "whip://localhost:8889/a%2Db/garden/whip",
            "whips://127.0.0.1:8443/live/a%2Db/garden/whip",
        ] {
            // 554 is where RTSP is without a port, and not ours.
            assert_eq!(comes_back(text), !text.contains("LOCALHOST"), "{text}");
        }
        for text in [
            "rtsp://127.0.0.1:8554/copy",
            "rtsp://127.0.0.1:9554/a%2Db/garden",
            "rtsp://10.0.0.5:8554/a%2Db/garden",
            "whip://localhost:8889/copy/whip",
            "whip://10.0.0.5:8889/a%2Db/garden/whip",
        ] {
            assert!(!comes_back(text), "{text}");
        }
    }

    #[test]
    fn other_schemes_are_refused_with_those_that_are_known() {
        let error = "rtmp://a/b".parse::<ForwardUrl>().unwrap_err().to_string();
        assert!(error.contains("rtsp://, rtsps://"), "{error}");
        assert!("rtsp://:0/".parse::<ForwardUrl>().is_err());
    }
}
