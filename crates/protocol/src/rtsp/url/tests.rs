use super::*;
use proptest::prelude::*;
use rstest::rstest;

#[rstest]
#[case("rtsp://cam/s", None, "cam", 554, "/s")]
#[case("RTSP://cam:8554", None, "cam", 8554, "/")]
#[case("rtsps://cam", None, "cam", 322, "/")]
#[case("rtsp://cam:/x?y=z", None, "cam", 554, "/x?y=z")]
#[case("rtsp://cam?y=z", None, "cam", 554, "/?y=z")]
#[case("rtsp://[fe80::1]:8554/a", None, "fe80::1", 8554, "/a")]
#[case("rtsp://[::1]/a", None, "::1", 554, "/a")]
#[case("rtsp://u:p@cam/s", Some(("u", "p")), "cam", 554, "/s")]
#[case("rtsp://admin@cam/s", Some(("admin", "")), "cam", 554, "/s")]
#[case("rtsp://admin:p%40ss%3A%2F@cam/s", Some(("admin", "p@ss:/")), "cam", 554, "/s")]
#[case("rtsp://admin:p@ss#1:x@cam:88/s", Some(("admin", "p@ss#1:x")), "cam", 88, "/s")]
#[case("rtsp://admin:a/b@cam:88/s", Some(("admin", "a/b")), "cam", 88, "/s")]
#[case("rtsp://admin:100%@cam/s", Some(("admin", "100%")), "cam", 554, "/s")]
#[case("rtsp://admin:?a@cam/s", Some(("admin", "?a")), "cam", 554, "/s")]
fn reads(
    #[case] text: &str,
    #[case] login: Option<(&str, &str)>,
    #[case] host: &str,
    #[case] port: u16,
    #[case] path: &str,
) {
    let url: Url = text.parse().unwrap();
    assert_eq!(url.user.as_deref().zip(url.password.as_deref()), login);
    assert_eq!((url.host.as_str(), url.port, url.path.as_str()), (host, port, path));
    assert!(!url.to_string().contains('@'), "{url}");
    let again: Url = url.to_string().parse().unwrap();
    assert_eq!((again.host, again.port, again.path), (url.host, url.port, url.path));
}

#[test]
fn debug_shows_no_secret() {
    let url: Url = "rtsp://u:canary@cam/s?token=canary".parse().unwrap();
    assert_eq!(format!("{url:?}"), "rtsp://cam/s");
}

#[rstest]
#[case("http://cam/s", InvalidUrl::Scheme)]
#[case("cam", InvalidUrl::Scheme)]
#[case("rtsp://", InvalidUrl::Host)]
#[case("rtsp:///s", InvalidUrl::Host)]
#[case("rtsp://u:p@/s", InvalidUrl::Host)]
#[case("rtsp://cam:99999/s", InvalidUrl::Port)]
#[case("rtsp://cam:0/s", InvalidUrl::Port)]
#[case("rtsp://cam:http/s", InvalidUrl::Port)]
#[case("rtsp://cam/a b", InvalidUrl::Character(' '))]
fn refuses(#[case] text: &str, #[case] why: InvalidUrl) {
    assert_eq!(text.parse::<Url>(), Err(why));
}

#[rstest]
#[case("rtsp://h/s/", Some("trackID=1"), "rtsp://h/s/trackID=1")]
#[case("rtsp://h/s", Some("trackID=1"), "rtsp://h/s/trackID=1")]
#[case("rtsp://h/s/", Some("/trackID=1"), "rtsp://h/s/trackID=1")]
#[case("rtsp://h/s", Some("*"), "rtsp://h/s")]
#[case("rtsp://h/s", None, "rtsp://h/s")]
#[case("rtsp://h/s", Some("rtsp://other/t"), "rtsp://other/t")]
#[case("rtsp://h/s", Some("?ctype=video"), "rtsp://h/s?ctype=video")]
#[case("rtsp://h/s", Some(" my track "), "rtsp://h/s/my%20track")]
#[case(
    "rtsp://h/cam?channel=1&subtype=0/",
    Some("trackID=0"),
    "rtsp://h/cam?channel=1&subtype=0/trackID=0"
)]
fn controls_are_resolved_as_text(#[case] base: &str, #[case] control: Option<&str>, #[case] url: &str) {
    assert_eq!(resolve_control(base, control), url);
}

#[rstest]
#[case(Some("rtsp://h/base/"), None, "rtsp://h/base/")]
#[case(Some("/base/"), None, "rtsp://cam:8554/base/")]
#[case(Some("nonsense"), Some("rtsp://h/loc"), "rtsp://h/loc")]
#[case(Some("rtsp://"), None, "rtsp://cam:8554/s?a=b")]
#[case(None, None, "rtsp://cam:8554/s?a=b")]
fn bases(#[case] base: Option<&str>, #[case] location: Option<&str>, #[case] expected: &str) {
    let asked: Url = "rtsp://u:p@cam:8554/s?a=b".parse().unwrap();
    assert_eq!(control_base(&asked, base, location), expected);
}

fn controls(list: &[&str]) -> Vec<String> {
    list.iter().map(|&control| control.to_owned()).collect()
}

#[rstest]
#[case("rtsp://h:8554/house/door/trackID=1", Track::Index(1))]
#[case("rtsp://h:8554/house/door//trackID=1/", Track::Index(1))]
#[case("rtsp://h:8554//house/door/trackID=1", Track::Index(1))]
#[case("rtsp://h:8554/house/door/streamid=1", Track::Index(1))]
#[case("rtsp://h:8554/house/door/trackID=1?token=x", Track::Index(1))]
#[case("rtsp://h:8554/house/door?token=x/trackID=1", Track::Index(1))]
#[case("rtsp://h:8554/house/door/?token=x/trackID=1/", Track::Index(1))]
#[case("rtsp://h:8554/house/door?token=x&a=b/trackID=1", Track::Index(1))]
#[case("/house/door/trackID=1", Track::Index(1))]
#[case("rtsp://u:p@h/house/door/trackID=1", Track::Index(1))]
#[case("rtsp://h:8554/house%2Fdoor/trackID%3D1", Track::Index(1))]
#[case("rtsp://h:8554/house/door/", Track::Aggregate)]
#[case("rtsp://h:8554/house/door?token=x", Track::Aggregate)]
#[case("rtsp://h:8554/house/door/trackID=2", Track::Unknown("trackID=2".into()))]
#[case("rtsp://h:8554/house/door/trackID=99999999999999999999", Track::Unknown("trackID=99999999999999999999".into()))]
fn a_server_finds_stream_and_track(#[case] uri: &str, #[case] track: Track) {
    let target = Target::parse(uri).unwrap();
    assert_eq!(target.path, "house/door");
    assert_eq!(
        target.track("house/door", &controls(&["trackID=0", "trackID=1"])),
        track
    );
}

#[rstest]
#[case("rtsp://h/s/video", Track::Index(0))]
#[case("rtsp://h/s/track2", Track::Index(1))]
#[case("rtsp://h/s/mediaUUID=ab-3", Track::Index(2))]
#[case("rtsp://h/s/stream=3", Track::Index(3))]
#[case("rtsp://h/s/other", Track::Unknown("other".into()))]
fn announced_controls_may_be_anything(#[case] uri: &str, #[case] track: Track) {
    let known = controls(&["video", "track2", "mediaUUID=ab-3", "rtsp://else/s/stream=3?x=y"]);
    assert_eq!(Target::parse(uri).unwrap().track("s", &known), track);
}

#[test]
fn a_longer_name_is_another_stream() {
    let target = Target::parse("rtsp://h/house/door2/trackID=0").unwrap();
    assert_eq!(target.below("house/door"), None);
    assert_eq!(target.below("house"), Some("door2"));
    let known = controls(&["trackID=0"]);
    assert_eq!(target.track("house/door", &known), Track::Unknown("house/door2".into()));
    assert_eq!(target.track("house", &known), Track::Unknown("door2/trackID=0".into()));
}

#[rstest]
#[case("rtsp://h/s?token=a%2Fb", Some("a/b"))]
#[case("rtsp://h/s?x=y&token=ab&z", Some("ab"))]
#[case("rtsp://h/s?token=ab/trackID=0", Some("ab"))]
#[case("rtsp://h/s/trackID=0?token=ab", Some("ab"))]
#[case("rtsp://h/s?token=", None)]
#[case("rtsp://h/s?mytoken=a", None)]
#[case("rtsp://h/s?jwt=a.b.c", Some("a.b.c"))]
#[case("rtsp://h/s?jwt=old&token=new", Some("new"))]
fn tokens(#[case] uri: &str, #[case] token: Option<&str>) {
    assert_eq!(Target::parse(uri).unwrap().token().as_deref(), token);
}

#[test]
fn a_star_or_a_word_is_no_target() {
    assert_eq!(Target::parse("*"), None);
    assert_eq!(Target::parse("http://h/s"), None);
    assert_eq!(Target::parse(""), None);
}

proptest! {
    #[test]
    fn never_panics(text in ".{0,80}", other in ".{0,40}", at in "rtsps?://[a:@/?%\\[\\]0-9=&]{0,40}") {
        for text in [&text, &at] {
            if let Ok(url) = text.parse::<Url>() {
                let again: Url = url.to_string().parse().unwrap();
                prop_assert!(url.is_same_server(&again), "{url} {again}");
                let whole: Url = url.with_login().parse().unwrap();
                prop_assert!(whole.is_same_server(&url) && whole.path == url.path && whole.user == url.user);
                prop_assert_eq!(whole.password.unwrap_or_default(), url.password.clone().unwrap_or_default());
                control_base(&url, Some(&other), Some(&at));
            }
            if let Some(target) = Target::parse(text) {
                target.token();
                target.track(&other, &[other.clone(), text.clone()]);
                target.track("", std::slice::from_ref(&other));
            }
            resolve_control(text, Some(&other));
            percent_decode(text);
        }
    }
}
