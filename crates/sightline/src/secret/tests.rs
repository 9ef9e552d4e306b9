//! What is shown of URLs and queries.

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
