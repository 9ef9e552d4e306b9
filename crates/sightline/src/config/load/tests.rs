//! Files, variables and flags, right and wrong.

use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::config::units::Switch;

/// Loads a file with this text, these variables and these flags.
struct Given {
    folder: tempfile::TempDir,
    wanted: Wanted,
}

fn given() -> Given {
    let folder = tempfile::tempdir().unwrap();
    let wanted = Wanted {
        search_path: Some(vec![folder.path().join("sightline.toml")]),
        ..Wanted::default()
    };
    Given { folder, wanted }
}

impl Given {
    fn file(self, text: &str) -> Self {
        std::fs::write(self.folder.path().join("sightline.toml"), text).unwrap();
        self
    }

    fn variables(mut self, variables: &[(&str, &str)]) -> Self {
        self.wanted.environment = Environment::of(variables.iter().copied());
        self
    }

    fn flag(mut self, flag: &'static str, key: &'static str, value: &str) -> Self {
        let value = value.to_owned();
        self.wanted.flags.push(Flag { flag, key, value });
        self
    }

    fn load(&self) -> Loaded {
        load(&self.wanted).unwrap_or_else(|invalid| panic!("{invalid}"))
    }

    /// Problems, with the folder's name left out.
    fn problems(&self) -> Vec<String> {
        let Invalid { problems, .. } = load(&self.wanted).expect_err("nothing is wrong");
        let folder = format!("{}/", self.folder.path().display());
        problems
            .iter()
            .map(|problem| problem.to_string().replace(&folder, ""))
            .collect()
    }
}

#[test]
fn nothing_given_means_defaults() {
    let loaded = given().load();
    assert_eq!(loaded.settings, Settings::default());
    assert_eq!((loaded.file.clone(), loaded.given().count()), (None, 0));
    assert_eq!(loaded.camera_name(), StreamName::default_stream());
}

#[test]
fn later_wins_and_the_place_is_known() {
    let given = given()
        .file("[rtsp]\nport = 1\nrtp_port = 2\nrtcp_port = 3\nudp = false\n")
        .variables(&[("SIGHTLINE_RTSP_RTP_PORT", "20"), ("SIGHTLINE_RTSP_RTCP_PORT", "30")])
        .flag("--rtcp-port", "rtsp.rtcp_port", "300");
    let loaded = given.load();
    let rtsp = &loaded.settings.rtsp;
    assert_eq!(
        (rtsp.port, rtsp.rtp_port, rtsp.rtcp_port, rtsp.udp),
        (1, 20, 300, false)
    );
    let path = given.folder.path().join("sightline.toml");
    assert_eq!(loaded.file, Some(path.clone()));
    let in_file = Origin::File {
        path,
        line: 2,
        column: 8,
    };
    assert_eq!(loaded.origin("rtsp.port"), Some(&in_file));
    assert_eq!(loaded.origin("rtsp.rtcp_port"), Some(&Origin::Flag("--rtcp-port")));
    assert_eq!(
        loaded.origin("rtsp.rtp_port").unwrap().to_string(),
        "SIGHTLINE_RTSP_RTP_PORT (environment)"
    );
}

#[rstest]
#[case("source = \"exec:x\"\nstamp = \"on\"\nstamp_corner = \"top-left\"\n")]
#[case("source = \"test\"\nstamp = \"off\"\noverlay_corner = \"bottom-right\"\n")]
#[case("overlay_corner = \"bottom-right\"\n")]
fn one_corner_is_enough_for_what_is_drawn(#[case] camera: &str) {
    given().file(&format!("[camera.a]\n{camera}")).load();
}

#[test]
fn everything_wrong_is_said_at_once_with_its_place() {
    let problems = given()
        .file(
            "[rtsp]
prot = 8554
port = 99999
rtp_port = \"x\"

[logg]
[auth]
trusted_networks = [\"10.0.0.0/8\", \"10.0.0.1/8\"]

[camera.zerolatency]
bitrate = \"800\"
gop = 0
overlay = \"maybe\"
encoder = \"x265\"
",
        )
        .variables(&[("SIGHTLINE_LIMITS_HOLD", "5")])
        .flag("--fps", "camera.*.fps", "fast")
        .problems();
    assert_eq!(
        problems,
        [
            "sightline.toml:2:1: rtsp.prot: there is no such key; did you mean rtsp.port?",
            "sightline.toml:3:8: rtsp.port: expected a whole number from 0 to 65535, found 99999",
            "sightline.toml:4:12: rtsp.rtp_port: expected a whole number from 0 to 65535, found \"x\"",
            "sightline.toml:6:2: logg: there is no such section; did you mean [log]?",
            "sightline.toml:8:20: auth.trusted_networks: 10.0.0.1/8 has bits set behind its prefix; did you mean 10.0.0.0/8 or 10.0.0.1?",
            "sightline.toml:11:11: camera.zerolatency.bitrate: \"800\" is less than 32k bits per second; did you mean 800k?",
            "sightline.toml:12:7: camera.zerolatency.gop: 0 is not a whole number from 1 to 600",
            "sightline.toml:13:11: camera.zerolatency.overlay: \"maybe\" is neither \"auto\", \"on\" nor \"off\"",
            "sightline.toml:14:11: camera.zerolatency.encoder: expected one of \"auto\", \"openh264\", \"libx264\", \"h264_v4l2m2m\", \"h264_nvenc\", \"h264_vaapi\", \"h264_qsv\", found \"x265\"",
            "SIGHTLINE_LIMITS_HOLD (environment): limits.hold: \"5\" has no unit; write a number and a unit, such as 40ms, 5s, 10min, 6h",
            "--fps: camera.zerolatency.fps: \"fast\" is not a frame rate; write pictures per second, from 1/60 to 480, like 30, 29.97 or 30000/1001",
        ]
    );
}

#[rstest]
#[case("rtsp = 1\n", "sightline.toml:1:1: rtsp: this is a section; write [rtsp]")]
#[case(
    "[limits]\nhold = 5\n",
    "sightline.toml:2:8: limits.hold: expected a time span such as \"5s\", found 5"
)]
#[case(
    "[limits]\nmemory = 100\n",
    "sightline.toml:2:10: limits.memory: expected an amount of bytes such as \"16MiB\", found 100"
)]
#[case(
    "[camera]\nsource = \"test\"\n",
    "sightline.toml:2:1: camera.source: it belongs to one of them; write [camera.NAME] above it"
)]
#[case(
    "[camera.\"../x\"]\n",
    "sightline.toml:1:9: camera.../x: the stream name has an empty part or one that starts with a dot; write it like \"house/front-door\""
)]
#[case(
    "[rtsp]\nport = \n",
    "sightline.toml:2:8: string values must be quoted, expected literal string"
)]
#[case("[rtsp]\nport = 1\nport = 2\n", "sightline.toml:3:1: duplicate key")]
#[case(
    "[rtsp]\nrtp_port = 9\nrtcp_port = 9\n",
    "sightline.toml:3:13: rtsp.rtcp_port: 9 is rtsp.rtp_port already; RTP and RTCP need a port each"
)]
#[case(
    "[camera.a]\nsource = \"test\"\noverlay_corner = \"bottom-right\"\n",
    "sightline.toml:3:18: camera.a.overlay_corner: overlay and stamp cover each other in one corner; choose another for one of them, or turn one off"
)]
#[case(
    "[camera.a]\nstamp = \"on\"\nstamp_corner = \"top-left\"\n",
    "sightline.toml:3:16: camera.a.stamp_corner: overlay and stamp cover each other in one corner; choose another for one of them, or turn one off"
)]
fn broken_files(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(given().file(text).problems(), [expected]);
}

#[test]
fn secrets_are_not_in_the_message() {
    let problems = given()
        .file("[auth]\ntoken = \"canary\\u0007\"\n[receive]\nurl = \"http://a:canary@host\"\n[publish]\nurl = 5\n")
        .problems();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(!problems.join("\n").contains("canary"), "{problems:?}");
}

#[test]
fn cameras_by_file_variable_and_flag() {
    let file =
        "[camera.\"house/front-door\"]\nsource = \"v4l2:/dev/video0\"\nfps = 29.97\noverlay = false\n[camera.b]\n";
    let loaded = given()
        .file(file)
        .variables(&[
            ("SIGHTLINE_CAMERA_HOUSE_FRONT_DOOR_SIZE", "1280x720"),
            ("SIGHTLINE_CAMERA_OTHER_SOURCE", "test"),
            ("SIGHTLINE_CAMERA_BITRATE", "2M"),
        ])
        .flag("--size", "camera.*.size", "320x240")
        .load();
    let camera = |name: &str| &loaded.settings.camera[&name.parse::<Name>().unwrap()];
    let door = camera("house/front-door");
    assert_eq!(
        (door.size.to_string().as_str(), door.overlay),
        ("1280x720", Switch::Off)
    );
    assert_eq!(door.fps.to_string(), "30000/1001");
    assert_eq!(camera("b"), &Camera::default());
    assert_eq!(camera("other").source.to_string(), "test");
    // Two cameras in the file: flags and variables without a name mean the default stream.
    let default = camera("zerolatency");
    assert_eq!(
        (default.size.to_string().as_str(), default.bitrate.unwrap().kbps()),
        ("320x240", 2_000)
    );
}

#[test]
fn a_single_camera_is_the_one_meant() {
    let given = given()
        .file("[camera.door]\nsource = \"test\"\n")
        .flag("--size", "camera.*.size", "320x240");
    let loaded = given.load();
    assert_eq!(loaded.camera_name().as_str(), "door");
    assert_eq!(
        (loaded.camera().source.to_string().as_str(), loaded.camera().size.width),
        ("test", 320)
    );
    assert_eq!(loaded.settings.camera.len(), 1);
}

#[test]
fn short_variables_and_their_full_names() {
    let loaded = given()
        .variables(&[
            ("SIGHTLINE_OPEN", "1"),
            ("SIGHTLINE_TOKEN", "short"),
            ("SIGHTLINE_AUTH_TOKEN", "full"),
            ("SIGHTLINE_SOURCE", "test"),
            ("SIGHTLINE_LOG", "json"),
            ("SIGHTLINE_LIMITS_HOLD", "2s"),
            ("SIGHTLINE_AUTH_TRUSTED_NETWORKS", "10.9.0.0/24, fd00::/8"),
        ])
        .load();
    let auth = &loaded.settings.auth;
    assert!(auth.open);
    assert_eq!(auth.token.as_ref().unwrap().expose(), "full");
    assert_eq!(auth.trusted_networks.len(), 2);
    assert_eq!(loaded.camera().source.to_string(), "test");
    assert_eq!(loaded.settings.limits.hold.0, Duration::from_secs(2));
}

#[test]
fn unknown_variables_are_a_notice() {
    let loaded = given()
        .variables(&[("SIGHTLINE_RTSP_PROT", "1"), ("SIGHTLINE_CONFIG", "")])
        .load();
    assert_eq!(
        loaded.notices,
        ["SIGHTLINE_RTSP_PROT (environment) sets nothing here; did you mean SIGHTLINE_RTSP_PORT?"]
    );
}

#[test]
fn a_named_file_must_be_there() {
    let mut given = given();
    given.wanted.file = Some(given.folder.path().join("nothing.toml"));
    assert_eq!(
        given.problems(),
        ["nothing.toml: there is no such file; `sightline config init FILE` writes one"]
    );
}

#[test]
fn the_file_can_be_named_by_a_variable() {
    let given = given().file("[rtsp]\nport = 5\n");
    let path = given.folder.path().join("other.toml");
    std::fs::write(&path, "[rtsp]\nport = 6\n").unwrap();
    let given = given.variables(&[("SIGHTLINE_CONFIG", path.to_str().unwrap())]);
    assert_eq!(given.load().settings.rtsp.port, 6);
}

#[test]
fn what_tables_of_streams_get_wrong() {
    let text = "[camera.yard]\n[stream.yard]\nsource = \"rtsp://a/1\"\nredirect = \"rtsp://b/2\"\n[stream.door]\non_demand = true\n\
                [stream.\"~^(a)\"]\nsource = \"rtsp://h/$2\"\nalways_available = true\n[stream.\"~(\"]\n[stream.hall]\nsource = [\"rtsp://u:canary@/x\"]\n";
    let problems = given().file(text).problems();
    assert!(
        problems.iter().all(|problem| !problem.contains("canary")),
        "{problems:#?}"
    );
    let expected = [
        ("stream.~(", "unclosed group"),
        ("stream.hall.source", "the URL has no host"),
        ("stream.door.on_demand", "there is no source to be started"),
        ("stream.yard.source", "a camera of this machine has that name already"),
        ("stream.yard.redirect", "leave one of them out"),
        (
            "stream.~^(a).source",
            "$2 stands for nothing: the expression has 1 groups",
        ),
        ("stream.~^(a).always_available", "give those tables of their own"),
    ];
    for (key, message) in expected {
        let is_told = |problem: &String| problem.contains(key) && problem.contains(message);
        assert!(problems.iter().any(is_told), "{key} {message}: {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn passwords_of_sources_are_not_shown() {
    let text = "[stream.door]\nsource = [\"rtsp://u:canary@a/1?password=canary\", \"rtsp://b/2\"]\n";
    let variables = [("SIGHTLINE_STREAM_HALL_SOURCE", "rtsp://u:canary@c/3")];
    let loaded = given().file(text).variables(&variables).load();
    let given: Vec<_> = loaded.given().map(|given| format!("{given:?}")).collect();
    let given = given.join("\n");
    assert!(!given.contains("canary"), "{given}");
    assert!(
        given.contains("rtsp://***@a/1?password=***") && given.contains("rtsp://***@c/3"),
        "{given}"
    );
    assert!(!format!("{:?}", loaded.settings).contains("canary"));
}

#[test]
fn a_certificate_is_asked_for_once_and_by_those_who_agree() {
    let refused = |text: &str| given().file(text).problems().join("\n");
    let asks = "[acme]\ndomains = [\"cam.example.org\"]\n";
    assert!(
        refused(asks).contains("set acme.agree_to_terms = true"),
        "{}",
        refused(asks)
    );
    let agrees = format!("{asks}agree_to_terms = true\n");
    given().file(&agrees).load();
    let both = format!("{agrees}[tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n");
    assert!(refused(&both).contains("leave out one of them"), "{}", refused(&both));
    let half = "[tls]\nkey = \"a.key\"\n";
    assert!(refused(half).contains("set tls.certificate, too"), "{}", refused(half));
    for (line, why) in [
        ("email = \"mailto:me@example.org\"", "no address of mail"),
        ("directory = \"http://ca.house/\"", "write it like https://"),
        ("domains = [\"*.example.org\"]", "name each of them"),
        (
            "challenge = \"dns-01\"",
            "expected one of \"auto\", \"tls-alpn-01\", \"http-01\"",
        ),
    ] {
        let said = refused(&format!("[acme]\n{line}\n"));
        assert!(said.contains(why), "{line}: {said}");
    }
    let names: Vec<String> = (0..101).map(|n| format!("\"n{n}.example.org\"")).collect();
    let many = format!("[acme]\nagree_to_terms = true\ndomains = [{}]\n", names.join(", "));
    assert!(refused(&many).contains("give at most 100"), "{}", refused(&many));
    let variables = [
        ("SIGHTLINE_ACME_DOMAINS", "a.example.org, B.example.org"),
        ("SIGHTLINE_ACME_AGREE_TO_TERMS", "1"),
    ];
    let domains = given().variables(&variables).load().settings.acme.domains;
    assert_eq!(
        domains.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["a.example.org", "b.example.org"]
    );
}
