//! URLs in settings: credentials in them are not shown, and there are places for what an expression found.
//!
//! Does not belong here: which names an expression means ([`super::stream_key`]), what is done with a URL ([`super::stream_source`]).

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::rtsp::url::{InvalidUrl, Url};
use regex::Captures;

use super::units::InvalidWord;
use crate::secret::redacted_url;

/// The text of a URL. `Debug` and `Display` leave credentials out.
///
/// In a table of an expression, `$1` to `$9` stand for its groups, `$0` for the whole name and `$$` for a dollar sign; elsewhere nothing does.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlTemplate(Box<str>);

/// An `rtsp://` or `rtsps://` URL.
#[derive(Clone, PartialEq, Eq)]
pub struct RtspUrl(UrlTemplate);

/// A URL of a server that is asked by HTTP, whatever its own schemes are called.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    url: UrlTemplate,
    /// The scheme as it is written, and as it is asked.
    scheme: (&'static str, &'static str),
}

/// RFC 3986 §2.3: what needs no encoding.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl UrlTemplate {
    /// Of this text, which nothing is known of yet.
    pub fn new(text: &str) -> Self {
        Self(text.trim().into())
    }

    /// The URL. In a table with a name (`None`) `$` is a character like others. What an expression found is percent-encoded; in the path,
    /// slashes stay what they are, and before it they do not, so that no name decides who is asked.
    pub fn filled(&self, captures: Option<&Captures<'_>>) -> String {
        let Some(captures) = captures else {
            return self.0.to_string();
        };
        self.fill(|number, in_path| {
            let text = captures.get(number).map_or("", |group| group.as_str());
            let encode = |part| utf8_percent_encode(part, ENCODED).to_string();
            if in_path {
                text.split('/').map(encode).collect::<Vec<_>>().join("/")
            } else {
                encode(text)
            }
        })
    }

    /// As it may look, to see whether it can be one at all: a group may be all of the host or of the port.
    pub fn sample(&self) -> String {
        self.fill(|_, _| "1".to_owned())
    }

    /// The highest number of a group that it has a place for.
    pub fn highest_group(&self) -> usize {
        let mut highest = 0;
        self.fill(|number, _| {
            highest = highest.max(number);
            String::new()
        });
        highest
    }

    fn fill(&self, mut group: impl FnMut(usize, bool) -> String) -> String {
        let authority = self.0.find("://").map_or(0, |at| at + 3);
        let mut filled = String::with_capacity(self.0.len());
        let mut in_path = false;
        let mut characters = self.0.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            in_path |= at >= authority && character == '/';
            let next = characters.peek().map(|&(_, next)| next).filter(|_| character == '$');
            match next.map(|next| (next, next.to_digit(10))) {
                Some(('$', _)) => filled.push('$'),
                Some((_, Some(number))) => filled.push_str(&group(number as usize, in_path)),
                _ => {
                    filled.push(character);
                    continue;
                }
            }
            characters.next();
        }
        filled
    }
}

impl fmt::Display for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted_url(&self.0))
    }
}

impl fmt::Debug for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl RtspUrl {
    /// See [`UrlTemplate::filled`].
    ///
    /// # Errors
    /// [`InvalidUrl`].
    pub fn filled(&self, captures: Option<&Captures<'_>>) -> Result<Url, InvalidUrl> {
        self.0.filled(captures).parse()
    }

    /// See [`UrlTemplate::highest_group`].
    pub fn highest_group(&self) -> usize {
        self.0.highest_group()
    }
}

impl HttpUrl {
    /// Reads one that begins with one of these schemes, each with the one that it is asked by.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str, schemes: &[(&'static str, &'static str)]) -> Result<Self, InvalidWord> {
        let url = UrlTemplate::new(text);
        let begins = |(scheme, _): &&(&'static str, &'static str)| {
            let start = url.0.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        let Some(scheme) = schemes.iter().find(begins).copied() else {
            let words: Vec<_> = schemes.iter().map(|(scheme, _)| *scheme).collect();
            return Err(InvalidWord::new(format!(
                "it does not begin with {}",
                words.join(" or ")
            )));
        };
        // Browsers read these, and so does the library that reads URLs; they move the place where the host ends, before which no name may decide.
        let rest = url.0.get(scheme.0.len()..).unwrap_or_default();
        if rest.starts_with(['/', '?', '#'])
            || rest.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control())
        {
            let message = "a host follows upon the two slashes, and no blank, backslash or control character is in it";
            return Err(InvalidWord::new(message.to_owned()));
        }
        let url = Self { url, scheme };
        url.asked(&url.url.sample())?;
        Ok(url)
    }

    /// See [`UrlTemplate::filled`].
    ///
    /// # Errors
    /// When what was found makes no URL.
    pub fn filled(&self, captures: Option<&Captures<'_>>) -> Result<url::Url, InvalidWord> {
        self.asked(&self.url.filled(captures))
    }

    /// See [`UrlTemplate::highest_group`].
    pub fn highest_group(&self) -> usize {
        self.url.highest_group()
    }

    fn asked(&self, text: &str) -> Result<url::Url, InvalidWord> {
        let rest = text.get(self.scheme.0.len()..).unwrap_or_default();
        let url = url::Url::parse(&format!("{}{rest}", self.scheme.1));
        url.map_err(|error| InvalidWord::new(format!("{} is no URL: {error}", redacted_url(text))))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl FromStr for RtspUrl {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let url = UrlTemplate::new(text);
        let sample: Result<Url, _> = url.sample().parse();
        sample.map_err(|error| InvalidWord::new(error.to_string()))?;
        Ok(Self(url))
    }
}

impl fmt::Display for RtspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RtspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;
    use rstest::rstest;

    fn filled(expression: &str, name: &str, url: &str) -> String {
        let captures = Regex::new(expression).unwrap();
        let captures = captures.captures(name).unwrap();
        let url = url.parse::<RtspUrl>().unwrap().filled(Some(&captures));
        url.map_or_else(|error| error.to_string(), |url| url.to_string())
    }

    #[rstest]
    #[case("rtsp://10.0.$1.2/$2", "rtsp://10.0.3.2/hall/left")]
    #[case("rtsp://10.0.0.2/?n=$0&q=$9", "rtsp://10.0.0.2/?n=floor3/hall/left&q=")]
    #[case("rtsp://10.0.0.2/a$$1", "rtsp://10.0.0.2/a$1")]
    #[case("rtsp://10.0.0.2/a$", "rtsp://10.0.0.2/a$")]
    fn groups_stand_in_for_numbers(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(filled("^floor(\\d+)/(.+)$", "floor3/hall/left", url), expected);
    }

    #[test]
    fn a_group_cannot_end_the_host() {
        let url = filled("^(.+)$", "evil.example/x", "rtsp://$1.cameras.example/live");
        assert_eq!(url, "rtsp://evil.example%2Fx.cameras.example/live");
    }

    /// Found by fuzzing: more slashes, tabs and backslashes are read over on the way to the host, and what a name put behind them became a part of it.
    #[rstest]
    #[case("https:////cameras$1/live.m3u8")]
    #[case("https://\\cameras$1/live.m3u8")]
    #[case("https://\t/cameras$1/live.m3u8")]
    #[case("https://cam\neras$1/live.m3u8")]
    #[case("https://?$1")]
    #[case("https://#$1")]
    #[case("https://")]
    fn the_host_stands_where_it_seems_to(#[case] url: &str) {
        assert!(HttpUrl::read(url, &[("https://", "https://")]).is_err(), "{url}");
    }

    proptest! {
        #[test]
        fn whatever_the_name_the_server_asked_is_in_the_domain(name in "[A-Za-z0-9._~/-]{1,40}") {
            let captures = Regex::new("^(.+)$").unwrap();
            let captures = captures.captures(&name).unwrap();
            let url: RtspUrl = "rtsp://u:p@$1.cameras.example:554/$1".parse().unwrap();
            if let Ok(url) = url.filled(Some(&captures)) {
                prop_assert!(url.host.ends_with(".cameras.example"));
                prop_assert_eq!((url.port, url.user.as_deref()), (554, Some("u")));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = text.parse::<RtspUrl>().map(|url| url.highest_group());
            let _ = format!("rtsp://{text}").parse::<RtspUrl>();
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        for text in [
            "rtsp://admin:canary@10.0.0.4/h264",
            "rtsp://10.0.0.4/h264?user=admin&password=canary",
            "rtsp://10.0.0.4/user=admin_password=canary_channel=1.sdp?real_stream",
        ] {
            let url: RtspUrl = text.parse().unwrap();
            let shown = format!("{url} {url:?}");
            assert!(!shown.contains("canary") && shown.contains("10.0.0.4"), "{shown}");
        }
        let error = "rtsp://admin:canary@:0/x".parse::<RtspUrl>().unwrap_err().to_string();
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn urls_of_http_are_asked_by_it_whatever_they_are_called() {
        const SCHEMES: [(&str, &str); 2] = [("whep://", "http://"), ("wheps://", "https://")];
        let url = HttpUrl::read("WHEPS://u:canary@h.example/$1/whep?token=canary", &SCHEMES).unwrap();
        assert_eq!(url.highest_group(), 1);
        let captures = Regex::new("^(.+)$").unwrap();
        let captures = captures.captures("a b/c").unwrap();
        let filled = url.filled(Some(&captures)).unwrap();
        assert_eq!(filled.as_str(), "https://u:canary@h.example/a%20b/c/whep?token=canary");
        assert!(!format!("{url} {url:?}").contains("canary"));
        for wrong in ["http://h/x", "whep://", "whep://u:canary@:1:2/"] {
            let error = HttpUrl::read(wrong, &SCHEMES).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_dollar_in_a_password_is_kept_where_there_are_no_groups() {
        let url: RtspUrl = "rtsp://u:pa$1$$@h/x".parse().unwrap();
        assert_eq!(url.filled(None).unwrap().password.as_deref(), Some("pa$1$$"));
    }
}
