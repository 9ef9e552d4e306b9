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

/// A URL as it may be shown: user and password are left out, and so is the value of whatever its query calls a token or a password, as
/// cameras have it; some of these have it in the path, of which the rest is left out then.
///
/// Works on text that is no valid URL too, since that is when error messages quote it: whatever stands between `//` and the last
/// `@` before the path counts as a credential. A raw password may hold a slash, so an `@` further on counts as well.
pub fn redacted_url(url: &str) -> String {
    let (scheme, rest) = url.split_at(url.find("//").map_or(0, |at| at + 2));
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) if !query.contains('@') => (rest, Some(query)),
        _ => (rest, None),
    };
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => rest.to_owned(),
    };
    let rest = match rest.match_indices('=').find(|&(at, _)| tells(&rest, at)) {
        Some((at, _)) => format!("{}=***", rest.split_at(at).0),
        None => rest,
    };
    let Some(query) = query else {
        return format!("{scheme}{rest}");
    };
    let parameters: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if tells(name, name.len()) => format!("{}=***", name.to_ascii_lowercase()),
            _ => parameter.to_owned(),
        })
        .collect();
    format!("{scheme}{rest}?{}", parameters.join("&"))
}

/// A query as programs may be told it: without what names a credential in it, and without what a player of HLS adds. `None`: nothing is left, or it has
/// more than 1,024 bytes.
pub fn public_query(query: &str) -> Option<Box<str>> {
    if query.len() > MAX_QUERY_BYTES {
        return None;
    }
    let is_public = |parameter: &&str| {
        // Some read a query in parts at semicolons.
        parameter.split(';').all(|part| {
            let decoded = percent_encoding::percent_decode_str(part)
                .decode_utf8_lossy()
                .to_ascii_lowercase();
            let name = decoded.split('=').next().unwrap_or_default();
            let holds_login = decoded.contains("//") && decoded.contains('@');
            !(tells(name, name.len()) || KEYS.contains(&name) || holds_login || name.starts_with("_hls_"))
        })
    };
    let public: Vec<&str> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .filter(is_public)
        .collect();
    (!public.is_empty()).then(|| public.join("&").into())
}

/// Whether what ends there names a credential.
fn tells(text: &str, end: usize) -> bool {
    let name = text.get(..end).unwrap_or_default();
    let name = name
        .rsplit(['/', '&', '_', ';', '?'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    TELLTALES.iter().any(|word| name.contains(word))
}

/// What is in the name of a parameter whose value is a credential.
const TELLTALES: [&str; 5] = ["token", "pass", "pwd", "secret", "auth"];

/// Whole names of parameters that are credentials, too.
const KEYS: [&str; 7] = ["key", "apikey", "api_key", "jwt", "sig", "signature", "credential"];

/// Of queries that are told.
const MAX_QUERY_BYTES: usize = 1_024;

/// What is shown in place of a credential.
pub(crate) const REDACTED: &str = "[redacted]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_told_without_credentials() {
        let told = |query: &str| public_query(query).map(String::from);
        assert_eq!(told("a=1&token=canary&b=2").as_deref(), Some("a=1&b=2"));
        assert_eq!(told("key1=val1&key2=val2").as_deref(), Some("key1=val1&key2=val2"));
        for query in [
            "",
            "&",
            "token=canary",
            "%74oken=canary",
            "X-Amz-Security-TOKEN=canary",
            "a=1;pass=canary",
            "jwt=canary&key=canary&user_password=canary&&authkey=canary",
            "from=rtsp://me:canary@10.0.0.4/a",
            "from=rtsp%3A%2F%2Fme%3Acanary%4010.0.0.4",
            "_HLS_msn=5&_HLS_part=1",
        ] {
            assert_eq!(told(query), None, "{query}");
        }
        assert!(told(&"a".repeat(MAX_QUERY_BYTES)).is_some());
        assert_eq!(told(&"a".repeat(MAX_QUERY_BYTES + 1)), None);
    }

    #[test]
    fn shows_nothing_of_itself() {
        let secret = Secret::new("canary-7f3a");
        assert_eq!(
            format!("{secret} {secret:?} {secret:#?}"),
            "[redacted] [redacted] [redacted]"
        );
    }

    #[rstest::rstest]
    #[case("rtsp://host:8554/zerolatency", "rtsp://host:8554/zerolatency")]
    #[case("rtsp://viewer:canary@host:8554/a/b", "rtsp://***@host:8554/a/b")]
    #[case("rtsp://viewer:can@ary@host/a", "rtsp://***@host/a")]
    #[case("rtsp://viewer:can/a?ry@host/a", "rtsp://***@host/a")]
    #[case("viewer:canary@host", "***@host")]
    #[case("http://host/a?token=canary&x=1", "http://host/a?token=***&x=1")]
    #[case("http://viewer:canary@host/a?x=1&Token=canary", "http://***@host/a?x=1&token=***")]
    #[case(
        "rtsp://host/a?user=admin&passwd=canary&x=1",
        "rtsp://host/a?user=admin&passwd=***&x=1"
    )]
    #[case(
        "rtsp://host/user=admin_password=canary_channel=1.sdp",
        "rtsp://host/user=admin_password=***"
    )]
    #[case("rtsp://host/cam/realmonitor?channel=1", "rtsp://host/cam/realmonitor?channel=1")]
    fn urls_are_shown_without_credentials(#[case] url: &str, #[case] shown: &str) {
        assert_eq!(redacted_url(url), shown);
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
