use super::*;
use crate::config::stream_source::Place;
use proptest::prelude::*;

const RECORD: [(&str, &str); 2] = [(MODE, "record"), (FOLDER, "/x")];

fn read(words: &[(&str, &str)]) -> Result<Camera, Vec<String>> {
    camera(&Environment::of(words.iter().copied()), None).unwrap()
}

fn places(camera: &Camera) -> Vec<Place> {
    let list = camera.stream.source.clone().unwrap();
    list.0.iter().map(|source| source.filled(None).unwrap()).collect()
}

#[test]
fn the_three_modes_of_the_guide() {
    let account = [(IP, "192.168.1.141"), (USER, "admin"), (PASSWORD, "password")];
    let target = (TARGET, "rtsp://your-server.local:8554/camera1");
    let republish = read(&[&account[..], &[(MODE, "republish"), target]].concat()).unwrap();
    assert_eq!(republish.stream.forward.len(), 1);
    assert_eq!((&republish.hls, &republish.record), (&None, &None));
    assert_eq!(
        places(&republish)[0].to_string(),
        "rtsp://192.168.1.141/h264Preview_01_main"
    );
    assert_eq!(places(&republish).len(), PATHS.len() + ONVIF_PORTS.len());
    assert_eq!(republish.account, Account::Words(true));

    let hls = read(&[
        (IP, "192.168.1.141"),
        (MODE, "hls"),
        (FOLDER, "/var/www/html/camera1"),
        (SEGMENT, "4"),
    ])
    .unwrap();
    let output = hls.hls.unwrap();
    assert_eq!(
        (output.folder.to_str(), output.segment.as_secs()),
        (Some("/var/www/html/camera1"), 4)
    );
    assert_eq!(output.retention.map(|keep| keep.as_secs()), Some(6 * 3_600));
    assert_eq!(hls.account, Account::Words(false));

    let record = [
        (IP, "cam.local:8554"),
        (MODE, "RECORD"),
        (FOLDER, "/mnt/storage/camera1"),
        (SEGMENT, "60"),
        (PATH, "/ch0?a=b"),
    ];
    let record = read(&record).unwrap();
    let output = record.record.clone().unwrap();
    assert_eq!((output.segment.as_secs(), output.retention), (60, None));
    assert_eq!(places(&record).len(), 1);
    assert_eq!(places(&record)[0].to_string(), "rtsp://cam.local:8554/ch0?a=b");
}

#[test]
fn every_word_that_is_wrong_is_named() {
    for (words, name) in [
        (&[(IP, "10.0.0.4")][..], MODE),
        (&[(IP, "10.0.0.4"), (MODE, "film")], MODE),
        (&[(MODE, "record"), (FOLDER, "/x")], IP),
        (&[(IP, "http://10.0.0.4/"), (MODE, "record"), (FOLDER, "/x")], IP),
        (&[(IP, "admin:canary@10.0.0.4"), (MODE, "record"), (FOLDER, "/x")], IP),
        (
            &[(IP, "rtsp://admin:canary@10.0.0.4/1"), (MODE, "record"), (FOLDER, "/x")],
            IP,
        ),
        (&[(IP, "admin:canary"), (MODE, "record"), (FOLDER, "/x")], IP),
        (
            &[
                (URL, "http://admin:canary@10.0.0.4/1"),
                (MODE, "record"),
                (FOLDER, "/x"),
            ],
            URL,
        ),
        (&[(IP, "10.0.0.4"), (MODE, "hls")], FOLDER),
        (&[(IP, "10.0.0.4"), (MODE, "republish")], TARGET),
        (&[(IP, "10.0.0.4"), (MODE, "republish"), (TARGET, "rtmp://a/b")], TARGET),
        (
            &[(IP, "10.0.0.4"), (MODE, "record"), (FOLDER, "/x"), (SEGMENT, "soon")],
            SEGMENT,
        ),
        (
            &[(IP, "10.0.0.4"), (MODE, "record"), (FOLDER, "/x"), (SEGMENT, "0")],
            SEGMENT,
        ),
        (
            &[(IP, "10.0.0.4"), (MODE, "record"), (FOLDER, "/x"), (RETENTION, "late")],
            RETENTION,
        ),
        (
            &[(IP, "10.0.0.4"), (MODE, "record"), (FOLDER, "/x"), (PASSWORD, "canary")],
            USER,
        ),
        (&[(URL, "10.0.0.4/x"), (MODE, "record"), (FOLDER, "/x")], URL),
    ] {
        let wrong = read(words).unwrap_err();
        assert!(wrong.len() == 1 && wrong[0].starts_with(name), "{name}: {wrong:?}");
        assert!(!wrong[0].contains("canary"));
    }
    // All at once.
    let wrong = read(&[(MODE, "film"), (SEGMENT, "soon")]).unwrap_err();
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert!(
        camera(&Environment::of([(FOLDER, "/x")]), None).is_none(),
        "of somebody else"
    );
}

#[test]
fn accounts_and_tokens_stand_in_urls_that_have_none() {
    let account = [(USER, "admin"), (PASSWORD, "p@ss/w#rd")];
    let url = |url| [&RECORD[..], &account, &[(URL, url)]].concat();
    let given = read(&url("rtsp://10.0.0.4/x")).unwrap();
    let Place::Rtsp(place) = &places(&given)[0] else {
        panic!()
    };
    assert_eq!(place.password.as_deref(), Some("p@ss/w#rd"));
    let own = read(&url("rtsp://me:mine@10.0.0.4/x")).unwrap();
    let Place::Rtsp(place) = &places(&own)[0] else { panic!() };
    assert_eq!(place.password.as_deref(), Some("mine"));
    for own in [
        "rtsp://me:pa/ss@10.0.0.4/x",
        "rtsp://me:mine@10.0.0.4/x",
        "whip://me:mine@h/x",
    ] {
        assert_eq!(with_login(own, "other", "another"), own);
    }
    assert_eq!(with_login("rtsp://h:8554/a@b", "u", "p"), "rtsp://u:p@h:8554/a@b");

    let words = [
        (IP, "10.0.0.4"),
        (MODE, "republish"),
        (TARGET, "rtsp://10.0.0.5:8554/camera1"),
    ];
    let shown = camera(&Environment::of(words), Some(&Secret::new("t0ken")))
        .unwrap()
        .unwrap();
    let crate::config::destination::Destination::Rtsp(to) = shown.stream.forward[0].filled(None).unwrap() else {
        panic!()
    };
    assert_eq!(
        (to.user.as_deref(), to.password.as_deref()),
        (Some("publisher"), Some("t0ken"))
    );
}

#[test]
fn comments_behind_values_are_none_of_them() {
    let words = [
        (MODE, "record"),
        (FOLDER, "/x"),
        (IP, "10.0.0.4"),
        (SEGMENT, "60  # 1-minute segments"),
    ];
    let account = [(USER, "admin"), (PASSWORD, "a #b")];
    let camera = read(&[&words[..], &account].concat()).unwrap();
    assert_eq!(camera.record.as_ref().unwrap().segment.as_secs(), 60);
    let Place::Rtsp(place) = &places(&camera)[0] else {
        panic!()
    };
    assert_eq!(place.password.as_deref(), Some("a #b"), "a password may hold anything");
}

#[test]
fn addresses_of_all_kinds() {
    for (ip, place) in [
        ("fd00::4", "rtsp://[fd00::4]:554/x"),
        ("[fd00::4]:8554", "rtsp://[fd00::4]:8554/x"),
        ("10.0.0.4", "rtsp://10.0.0.4:554/x"),
    ] {
        let camera = read(&[&RECORD[..], &[(IP, ip), (PATH, "x")]].concat()).unwrap();
        assert_eq!(
            places(&camera)[0].to_string().replace(":554/", "/"),
            place.replace(":554/", "/")
        );
    }
}

proptest! {
    #[test]
    fn a_password_may_hold_any_character(password in "[^\0\r\n]{1,30}") {
        prop_assume!(!password.is_empty());
        let words = [&RECORD[..], &[(IP, "10.0.0.4"), (USER, "admin"), (PASSWORD, &password)]].concat();
        let camera = read(&words).unwrap();
        for place in places(&camera) {
            let found = match &place {
                Place::Rtsp(url) => url.password.clone().unwrap_or_default(),
                Place::Onvif(device) => device.account.as_ref().unwrap().password.expose().to_owned(),
                other => panic!("{other}"),
            };
            prop_assert_eq!(&found, &password);
        }
    }

    #[test]
    fn no_words_panic(ip in ".{0,30}", path in ".{0,30}", time in ".{0,10}") {
        let _ = read(&[&RECORD[..], &[(IP, &ip), (PATH, &path), (SEGMENT, &time)]].concat());
    }
}
