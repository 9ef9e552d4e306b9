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

/// A URL as it may be shown: user and password are left out, and so is the value of whatever its query names a credential, as
/// cameras have it; some of these have it in the path, of which the rest is left out then.
///
/// Works on text that is no valid URL too, since that is when error messages quote it: whatever stands between `//` and the last
/// `@` before the path counts as a credential. A raw password may hold a slash, so an `@` further on counts as well.
pub fn redacted_url(url: &str) -> String {
    let (scheme, rest) = match url.find("//").map(|at| url.split_at(at + 2)) {
        Some((scheme, rest)) if !scheme.contains('@') => (scheme, rest),
        _ => ("", url),
    };
    if let Some(shown) = without_rest(scheme) {
        return shown;
    }
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) if !query.contains('@') => (rest, Some(query)),
        _ => (rest, None),
    };
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => rest.to_owned(),
    };
    let rest = without_rest(&rest).unwrap_or(rest);
    let Some(query) = query else {
        return format!("{scheme}{rest}");
    };
    let is_plain = |name: &&str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let parameters: Vec<String> = parameters(query)
        .map(|(parameter, holds)| match (parameter.split_once('='), holds) {
            (_, false) => parameter.to_owned(),
            // What is no plain word may hold the value.
            (Some((name, _)), true) if is_plain(&name) => format!("{}=***", name.to_ascii_lowercase()),
            _ => "***=***".to_owned(),
        })
        .collect();
    format!("{scheme}{rest}?{}", parameters.join("&"))
}

/// A path up to the first credential in it. `None`: it holds none.
fn without_rest(path: &str) -> Option<String> {
    let mut begin = 0;
    for segment in path.split('/') {
        if holds_credential(segment) {
            let mut from = 0;
            let named = segment.match_indices('=').map(|(at, _)| {
                let name = from..at;
                from = at + 1;
                name
            });
            let is_raw = !segment.contains('%');
            let shown = named.filter(|_| is_raw).find(|name| {
                let name = segment.get(name.clone()).unwrap_or_default();
                tells(&name.to_lowercase())
            });
            let shown = shown.and_then(|name| segment.get(..name.end)).unwrap_or("***");
            return Some(format!("{}{shown}=***", path.get(..begin).unwrap_or_default()));
        }
        begin += segment.len() + 1;
    }
    None
}

/// A query as programs may be told it: without what names a credential in it, and without what a player of HLS adds. `None`: nothing is left, or it has
/// more than 1,024 bytes.
pub fn public_query(query: &str) -> Option<Box<str>> {
    if query.len() > MAX_QUERY_BYTES {
        return None;
    }
    let of_player = |parameter: &str| {
        let names = decoded(parameter);
        names.is_none_or(|text| parts(&text).any(|part| part.starts_with("_hls_")))
    };
    let public: Vec<&str> = parameters(query)
        .filter(|(parameter, holds)| !parameter.is_empty() && !holds && !of_player(parameter))
        .map(|(parameter, _)| parameter)
        .collect();
    (!public.is_empty()).then(|| public.join("&").into())
}

/// The parameters of a query, each with whether there is a credential in it.
fn parameters(query: &str) -> impl Iterator<Item = (&str, bool)> {
    let all = || query.split('&').enumerate();
    // A password may hold an ampersand: then it is that of all parameters from `//` to `@`.
    let holds = |parameter: &str, what: &str| decoded(parameter).is_some_and(|text| text.contains(what));
    let first = all().find(|(_, parameter)| holds(parameter, "//"));
    let last = all().filter(|(_, parameter)| holds(parameter, "@")).last();
    let login = first.zip(last).map(|((first, _), (last, _))| first..=last);
    all().map(move |(at, parameter)| {
        let is_login = login.as_ref().is_some_and(|login| login.contains(&at));
        (parameter, is_login || holds_credential(parameter))
    })
}

/// Whether a parameter of a query or a part of a path holds a credential, or might: in a URL that is its value, behind what some read as the end of a
/// parameter, or encoded more often than anybody does it.
fn holds_credential(text: &str) -> bool {
    let Some(text) = decoded(text) else {
        return true;
    };
    let holds_login = || {
        let before = text.rsplit_once('@').map_or("", |(before, _)| before);
        before.contains(':') || before.contains("//")
    };
    // `user=admin_password=…`: all are names but what stands behind the last sign.
    let names_it = |part: &str| {
        part.rsplit_once('=')
            .is_some_and(|(names, _)| names.split('=').any(tells))
    };
    parts(&text).any(names_it) || holds_login()
}

/// What may have a name and a value of its own.
fn parts(decoded: &str) -> impl Iterator<Item = &str> {
    decoded.split(['&', ';', '?', '#'])
}

/// A text in lower case, of which nothing is percent-encoded any more. `None`: it still is after three times.
fn decoded(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..=MOST_ENCODED {
        let decoded = percent_encoding::percent_decode_str(&text)
            .decode_utf8_lossy()
            .into_owned();
        if decoded == text {
            return Some(text.to_lowercase());
        }
        text = decoded;
    }
    None
}

/// Whether a name in lower case is that of a credential.
fn tells(name: &str) -> bool {
    let is_key = |word: &str| WORDS.contains(&word) || ENDINGS.iter().any(|ending| word.ends_with(ending));
    TELLTALES.iter().any(|word| name.contains(word)) || name.split(|c: char| !c.is_alphanumeric()).any(is_key)
}

/// What is in the name of a parameter whose value is a credential, wherever.
const TELLTALES: [&str; 8] = [
    "token",
    "pass",
    "pwd",
    "secret",
    "auth",
    "jwt",
    "signature",
    "credential",
];
/// Words of such a name.
const WORDS: [&str; 2] = ["sig", "pin"];
/// Ends of words of such a name: `streamkey`, `userpw`, `loginpas`. Numbered ones, `key1`, are often no credentials.
const ENDINGS: [&str; 3] = ["key", "pw", "pas"];
/// How often what is read may be percent-encoded: a URL in a URL in a URL.
const MOST_ENCODED: usize = 3;

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

    /// What is a name of a credential, in front, within or behind.
    const NAMES: [&str; 34] = [
        "token",
        "auth_key",
        "secret_key",
        "secret_access_key",
        "token_id",
        "pass_phrase",
        "password_1",
        "passwd",
        "user_pwd",
        "loginpas",
        "access_key",
        "accessKey",
        "private_key",
        "stream_key",
        "streamkey",
        "key",
        "key_2",
        "api-key",
        "x-api-key",
        "api.key",
        "apikey",
        "x[key]",
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "credentials",
        "jwt",
        "jwt_x",
        "sig",
        "x_sig",
        "pw",
        "user.pw",
        "pin",
        "door-pin",
    ];

    #[test]
    fn names_of_credentials_are_known_wherever_the_telling_word_stands() {
        for name in NAMES {
            assert_eq!(public_query(&format!("{name}=canary")), None, "{name}");
            let url = redacted_url(&format!("http://h/a?x=1&{name}=canary"));
            assert!(!url.contains("canary") && url.starts_with("http://h/a?x=1&"), "{url}");
            let path = redacted_url(&format!("rtsp://h/user=admin_{name}=canary_channel=1"));
            assert!(!path.contains("canary"), "{path}");
        }
        for query in [
            "key1=val1&key2=val2",
            "signal=3&pinned=1&design=a",
            "cut=100%25&x=%zz",
            "mail=a@b.example",
            "from=https://cam/a?x=1",
            "mode=auth",
        ] {
            assert_eq!(public_query(query).as_deref(), Some(query));
            let url = format!("http://h/a?{query}");
            assert!(query.contains('@') || redacted_url(&url) == url, "{url}");
        }
    }

    #[rstest::rstest]
    #[case("from=https://cam/a?token=canary")]
    #[case("from=https%3A%2F%2Fcam%2Fa%3Ftoken%3Dcanary")]
    #[case("a=1%26token=canary")]
    #[case("a=1#token=canary")]
    #[case("from=rtsp%253A%252F%252Fme%253Acanary%254010.0.0.4")]
    #[case("from=me:canary@10.0.0.4/a")]
    #[case("%2525252574oken=canary")]
    fn what_is_nested_or_encoded_again_is_left_out_whole(#[case] query: &str) {
        assert_eq!(public_query(query), None);
        assert_eq!(
            public_query(&format!("b=2&{query}&c=3")).as_deref(),
            Some("b=2&c=3"),
            "the others stay"
        );
        let url = redacted_url(&format!("http://h/a?b=2&{query}&c=3"));
        assert!(!url.contains("canary"), "{url}");
    }

    #[test]
    fn a_login_with_a_raw_ampersand_is_left_out() {
        assert_eq!(
            public_query("a=1&from=rtsp://me:can&ary@h/a&b=2").as_deref(),
            Some("a=1&b=2")
        );
    }

    fn encoded(text: &str, which: u64) -> String {
        let byte = |(at, byte): (usize, u8)| match byte == b'%' || which >> (at % 64) & 1 == 1 {
            true => format!("%{byte:02X}"),
            false => char::from(byte).to_string(),
        };
        text.bytes().enumerate().map(byte).collect()
    }

    fn decoded_often(text: &str) -> String {
        (0..8).fold(text.to_owned(), |text, _| {
            percent_encoding::percent_decode_str(&text)
                .decode_utf8_lossy()
                .into_owned()
        })
    }

    proptest::proptest! {
        /// Under whatever name, however often encoded, wherever nested.
        #[test]
        fn a_canary_never_comes_out(
            name in proptest::sample::select(&NAMES[..]),
            is_upper in proptest::bool::ANY,
            form in proptest::sample::select(&[
                "NAME=canary",
                "a=1&NAME=canary&b=2",
                "a=1;NAME=canary;b=2",
                "a=1#NAME=canary",
                "a=1?NAME=canary",
                "from=https://cam/a?NAME=canary",
                "from=https://cam/a?x=1&NAME=canary",
                "from=https://cam/user=admin_NAME=canary_channel=1.sdp",
                "from=rtsp://me:canary@cam/a",
                "a[NAME]=canary",
            ][..]),
            layers in proptest::collection::vec(proptest::num::u64::ANY, 0..6),
        ) {
            let name = if is_upper { name.to_ascii_uppercase() } else { name.to_owned() };
            let text = layers.into_iter().fold(form.replace("NAME", &name), |text, which| encoded(&text, which));
            let told = public_query(&format!("x=1&{text}&y=2"));
            proptest::prop_assert!(told.as_deref().is_none_or(|told| !decoded_often(told).contains("canary")), "{told:?}");
            for url in [format!("http://h:80/a/b?x=1&{text}&y=2"), format!("rtsp://h/{text}/b"), format!("h/a#{text}")] {
                let shown = redacted_url(&url);
                proptest::prop_assert!(!decoded_often(&shown).contains("canary"), "{url} {shown}");
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = (public_query(&text), redacted_url(&text));
        }
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
    #[case(
        "http://host/a?secret_key=canary&jwt=canary&x=1",
        "http://host/a?secret_key=***&jwt=***&x=1"
    )]
    #[case("http://host/a?apikey=canary", "http://host/a?apikey=***")]
    #[case("http://host/a?%74oken=canary", "http://host/a?***=***")]
    #[case("http://host/a?from=https://cam/a?token=canary&x=1", "http://host/a?from=***&x=1")]
    #[case("rtsp://host/a/%70ass%3Dcanary/b", "rtsp://host/a/***=***")]
    #[case("--token=canary//canary", "--token=***")]
    #[case("viewer:canary@host//a", "***@host//a")]
    #[case(
        "rtsp://auth-key.example:8554/key/trackID=0",
        "rtsp://auth-key.example:8554/key/trackID=0"
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
