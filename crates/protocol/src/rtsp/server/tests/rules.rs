//! What is allowed when, and with which status the rest is refused.

use super::*;

#[rstest]
#[case::other_version("OPTIONS * RTSP/2.0\nCSeq: 1\n\n", 505)]
#[case::unreadable_version("OPTIONS * RTSP/x\nCSeq: 1\n\n", 400)]
#[case::no_version("OPTIONS *\nCSeq: 1\n\n", 400)]
#[case::no_cseq("OPTIONS * RTSP/1.0\n\n", 400)]
#[case::unknown_method("DANCE rtsp://h/s RTSP/1.0\nCSeq: 1\n\n", 501)]
#[case::server_method("REDIRECT rtsp://h/s RTSP/1.0\nCSeq: 1\n\n", 405)]
#[case::require(
    "DESCRIBE rtsp://h/s RTSP/1.0\nCSeq: 1\nRequire: www.onvif.org/ver20/backchannel\n\n",
    551
)]
#[case::no_url("DESCRIBE s RTSP/1.0\nCSeq: 1\n\n", 400)]
#[case::no_name("DESCRIBE rtsp://h:8554/ RTSP/1.0\nCSeq: 1\n\n", 404)]
#[case::traversal("DESCRIBE rtsp://h/../etc/passwd RTSP/1.0\nCSeq: 1\n\n", 400)]
#[case::encoded_traversal("DESCRIBE rtsp://h/%2e%2e/etc RTSP/1.0\nCSeq: 1\n\n", 400)]
#[case::nul("DESCRIBE rtsp://h/a%00b RTSP/1.0\nCSeq: 1\n\n", 400)]
#[case::backslash("DESCRIBE rtsp://h/a\\b RTSP/1.0\nCSeq: 1\n\n", 400)]
#[case::blank_in_url("DESCRIBE rtsp://h/a b RTSP/1.0\nCSeq: 1\n\n", 400)]
#[case::reserved_name("DESCRIBE rtsp://h/api/x RTSP/1.0\nCSeq: 1\n\n", 400)]
#[case::wants_html("DESCRIBE rtsp://h/s RTSP/1.0\nCSeq: 1\nAccept: text/html\n\n", 406)]
#[case::foreign_session("GET_PARAMETER rtsp://h/s RTSP/1.0\nCSeq: 1\nSession: 1\n\n", 454)]
#[case::foreign_session_teardown("TEARDOWN rtsp://h/s RTSP/1.0\nCSeq: 1\nSession: 1\n\n", 454)]
#[case::teardown_of_nothing("TEARDOWN rtsp://h/s RTSP/1.0\nCSeq: 1\n\n", 454)]
#[case::play_before_setup("PLAY rtsp://h/s RTSP/1.0\nCSeq: 1\n\n", 455)]
#[case::record_before_setup("RECORD rtsp://h/s RTSP/1.0\nCSeq: 1\n\n", 455)]
#[case::pause_before_setup("PAUSE rtsp://h/s RTSP/1.0\nCSeq: 1\n\n", 455)]
#[case::setup_of_all("SETUP rtsp://h/s RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP\n\n", 459)]
#[case::no_such_track("SETUP rtsp://h/s/trackID=2 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP\n\n", 404)]
#[case::no_transport("SETUP rtsp://h/s/trackID=0 RTSP/1.0\nCSeq: 1\n\n", 461)]
#[case::multicast(
    "SETUP rtsp://h/s/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP;multicast\n\n",
    461
)]
#[case::secure(
    "SETUP rtsp://h/s/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/SAVP;unicast;client_port=2-3\n\n",
    461
)]
#[case::no_ports("SETUP rtsp://h/s/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP;unicast\n\n", 461)]
#[case::record_unannounced(
    "SETUP rtsp://h/s/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP;interleaved=0-1;mode=record\n\n",
    455
)]
#[case::announce_html(
    "ANNOUNCE rtsp://h/s RTSP/1.0\nCSeq: 1\nContent-Type: text/html\nContent-Length: 1\n\nx",
    415
)]
#[case::announce_nothing("ANNOUNCE rtsp://h/s RTSP/1.0\nCSeq: 1\nContent-Type: application/sdp\n\n", 400)]
#[case::announce_no_tracks("ANNOUNCE rtsp://h/s RTSP/1.0\nCSeq: 1\nContent-Length: 4\n\nv=0\n", 400)]
#[case::set_something("SET_PARAMETER rtsp://h/s RTSP/1.0\nCSeq: 1\nContent-Length: 3\n\na:b", 451)]
#[case::set_nothing("SET_PARAMETER rtsp://h/s RTSP/1.0\nCSeq: 1\n\n", 200)]
#[case::get_something("GET_PARAMETER rtsp://h/s RTSP/1.0\nCSeq: 1\nContent-Length: 1\n\nx", 200)]
#[case::options_of_all("OPTIONS * RTSP/1.0\nCSeq: 1\n\n", 200)]
fn a_first_request(#[case] request: &str, #[case] expected: u16) {
    let mut pair = Pair::new();
    // No conversion of line ends here: bodies have the length they say.
    let response = pair.send_raw(request.as_bytes());
    assert_eq!(status(&response), expected, "{response}");
    assert!(!pair.is_closed());
    assert_eq!(
        header(&response, "CSeq").is_some(),
        request.contains("CSeq"),
        "{response}"
    );
    // The connection goes on.
    assert_eq!(status(&pair.send("OPTIONS * RTSP/1.0\nCSeq: 2\n\n")), 200);
}

#[rstest]
#[case::again("PLAY rtsp://h/s/ RTSP/1.0", 200)]
#[case::a_single_track("PLAY rtsp://h/s/trackID=0 RTSP/1.0", 460)]
#[case::another_stream("PLAY rtsp://h/other RTSP/1.0", 404)]
#[case::record("RECORD rtsp://h/s RTSP/1.0", 455)]
#[case::pause_a_track("PAUSE rtsp://h/s/trackID=1 RTSP/1.0", 460)]
#[case::teardown_a_track("TEARDOWN rtsp://h/s/trackID=1 RTSP/1.0", 460)]
#[case::setup("SETUP rtsp://h/s/trackID=0 RTSP/1.0\nTransport: RTP/AVP/TCP;interleaved=0-1", 455)]
#[case::setup_elsewhere(
    "SETUP rtsp://h/other/trackID=0 RTSP/1.0\nTransport: RTP/AVP/TCP;interleaved=0-1",
    455
)]
#[case::unsolicited_announce("ANNOUNCE rtsp://h/s RTSP/1.0\nContent-Length: 1", 455)]
#[case::describe("DESCRIBE rtsp://h/other RTSP/1.0", 200)]
#[case::wrong_session("PAUSE rtsp://h/s RTSP/1.0\nSession: 123", 454)]
#[case::empty_session("PAUSE rtsp://h/s RTSP/1.0\nSession: ", 454)]
fn while_playing(#[case] request: &str, #[case] expected: u16) {
    let mut pair = Pair::new();
    pair.play();
    let response = pair.send_raw(format!("{request}\nCSeq: 9\n\nx").as_bytes());
    assert_eq!(status(&response), expected, "{response}");
}

#[test]
fn what_is_refused_says_what_is_supported() {
    let setup = "SETUP rtsp://h/s/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP;multicast\n\n";
    for (interleaved, udp, expected) in [
        (
            true,
            true,
            "RTP/AVP/TCP;unicast;interleaved=0-1 and RTP/AVP;unicast;client_port",
        ),
        (
            true,
            false,
            "461 Unsupported Transport: RTP/AVP/TCP;unicast;interleaved=0-1 is supported",
        ),
        (
            false,
            true,
            "461 Unsupported Transport: RTP/AVP;unicast;client_port=5000-5001 is supported",
        ),
    ] {
        let config = Config {
            interleaved,
            udp,
            ..Config::default()
        };
        let response = Pair::with(config).send(setup);
        assert!(response.contains(expected), "{response}");
    }
}

#[test]
fn transports_of_one_session_are_not_mixed() {
    let mut pair = Pair::new();
    let setup =
        |track, transport| format!("SETUP rtsp://h/s/trackID={track} RTSP/1.0\nCSeq: 1\nTransport: {transport}\n\n");
    assert_eq!(status(&pair.send(&setup(0, "RTP/AVP/TCP;interleaved=0-1"))), 200);
    let response = pair.send(&setup(1, "RTP/AVP;client_port=6-7"));
    assert_eq!(status(&response), 461);
    assert!(response.contains("beside this session's other tracks"), "{response}");
    // The only track may change its mind.
    assert_eq!(status(&pair.send(&setup(0, "RTP/AVP;client_port=6-7"))), 200);
    assert_eq!(
        status(&pair.send(&setup(1, "RTP/AVP/TCP;interleaved=0-1,RTP/AVP;client_port=8-9"))),
        200
    );
}

#[test]
fn a_session_of_one_stream_takes_no_track_of_another() {
    let mut pair = Pair::new();
    let setup = |stream| {
        format!("SETUP rtsp://h/{stream}/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n")
    };
    assert_eq!(status(&pair.send(&setup("s"))), 200);
    assert_eq!(status(&pair.send(&setup("other"))), 459);
    assert_eq!(status(&pair.send("TEARDOWN rtsp://h/s RTSP/1.0\nCSeq: 2\n\n")), 200);
    assert_eq!(status(&pair.send(&setup("other"))), 200);
}

#[test]
fn the_query_is_that_of_the_stream_which_is_played() {
    let setup = |url: &str| format!("SETUP {url} RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n");
    let describe = |url: &str| format!("DESCRIBE {url} RTSP/1.0\nCSeq: 1\n\n");
    let too_long = format!("rtsp://h/b?{}", "x".repeat(1_025));
    for (requests, stream, expected) in [
        (
            vec![describe("rtsp://h/a?x=1"), setup("rtsp://h/a/trackID=0")],
            "a",
            Some("x=1"),
        ),
        (
            vec![describe("rtsp://h/a?x=1"), setup("rtsp://h/a/trackID=0?y=2")],
            "a",
            Some("y=2"),
        ),
        (
            vec![
                describe("rtsp://h/a?x=1"),
                describe("rtsp://h/b"),
                setup("rtsp://h/b/trackID=0"),
            ],
            "b",
            None,
        ),
        (
            vec![
                describe("rtsp://h/a?x=1"),
                describe("rtsp://h/a"),
                setup("rtsp://h/a/trackID=0"),
            ],
            "a",
            None,
        ),
        (
            vec![
                describe("rtsp://h/a?x=1"),
                describe(&too_long),
                setup("rtsp://h/b/trackID=0"),
            ],
            "b",
            None,
        ),
        (
            vec![describe("rtsp://h/a?x=1"), setup("rtsp://h/b/trackID=0")],
            "b",
            None,
        ),
        (
            vec![
                describe("rtsp://h/b?x=1"),
                setup("rtsp://h/b/trackID=0"),
                describe("rtsp://h/a?y=2"),
            ],
            "b",
            None,
        ),
    ] {
        let mut pair = Pair::new();
        for request in &requests {
            assert_eq!(status(&pair.send(request)), 200, "{request}");
        }
        let play = format!("PLAY rtsp://h/{stream} RTSP/1.0\nCSeq: 3\n\n");
        assert_eq!(status(&pair.send(&play)), 200, "{requests:?}");
        assert_eq!(pair.session.query(), expected, "{requests:?}");
    }
}

#[test]
fn what_is_announced_has_its_own_query() {
    let mut pair = Pair::new();
    let announce = |url: &str| format!("ANNOUNCE {url} RTSP/1.0\nCSeq: 1\nContent-Length: 4\n\nv=0\n");
    for (url, expected) in [("rtsp://h/a?x=1", Some("x=1")), ("rtsp://h/b", None)] {
        pair.send(&announce(url));
        assert_eq!(pair.session.query(), expected, "{url}");
    }
}

#[test]
fn a_part_of_the_tracks_may_be_played_by_the_track_url() {
    let mut pair = Pair::new();
    let setup = "SETUP rtsp://h/s/trackID=1 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n";
    assert_eq!(status(&pair.send(setup)), 200);
    let response = pair.send("PLAY rtsp://h/s/trackID=1 RTSP/1.0\nCSeq: 2\n\n");
    assert_eq!(
        header(&response, "RTP-Info"),
        Some("url=rtsp://h/s/trackID=1;seq=101;rtptime=90000")
    );
}

#[test]
fn the_only_track_needs_no_control() {
    let mut pair = Pair::new();
    pair.controls = vec!["trackID=0".into()];
    let setup = "SETUP rtsp://h/s RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n";
    assert_eq!(status(&pair.send(setup)), 200);
    assert_eq!(status(&pair.send("PLAY rtsp://h/s RTSP/1.0\nCSeq: 2\n\n")), 200);
}

#[test]
fn a_session_ends_and_another_begins_on_the_same_connection() {
    let mut pair = Pair::new();
    pair.play();
    let first = pair.session_id.clone();
    let teardown = format!("TEARDOWN rtsp://h/s RTSP/1.0\nCSeq: 9\nSession: {first}\n\n");
    assert_eq!(status(&pair.send(&teardown)), 200);
    assert_eq!(status(&pair.send(&teardown)), 454);
    pair.play();
    assert_ne!(pair.session_id, first);
}

#[test]
fn a_session_id_of_another_connection_is_nothing() {
    let mut owner = Pair::new();
    owner.play();
    let mut thief = Pair::new();
    // Even with a session of the very same seed, before one was set up here.
    for method in [
        "PLAY",
        "PAUSE",
        "TEARDOWN",
        "GET_PARAMETER",
        "SETUP",
        "OPTIONS",
        "RECORD",
    ] {
        let request = format!(
            "{method} rtsp://h/s/ RTSP/1.0\nCSeq: 1\nSession: {}\n\n",
            owner.session_id
        );
        assert_eq!(status(&thief.send(&request)), 454, "{method}");
    }
}

#[test]
fn the_driver_can_refuse_with_a_reason() {
    let mut pair = Pair::new();
    pair.hold = vec!["Describe"];
    pair.send("DESCRIBE rtsp://h/s RTSP/1.0\nCSeq: 1\n\n");
    let why = Refusal::because(Status::NOT_FOUND, "No stream s; last seen 3 min ago\r\nEvil: 1");
    pair.session.describe(Err(why), pair.now);
    let response = pair.drive();
    assert!(
        response.starts_with("RTSP/1.0 404 No stream s; last seen 3 min ago??Evil: 1\nCSeq: 1\n"),
        "{response}"
    );
}

#[test]
fn answers_that_were_not_asked_for_are_ignored() {
    let mut pair = Pair::new();
    let now = pair.now;
    pair.session.authorized(Ok(()), now);
    pair.session.play(Ok(&[]), now);
    pair.session.set_up(Ok(ServerPorts::default()), now);
    pair.session.record(Ok(()), now);
    pair.session.announce(Err(Refusal::new(Status::FORBIDDEN)), now);
    pair.session.describe(Err(Refusal::new(Status::FORBIDDEN)), now);
    assert_eq!(pair.drive(), "");
    pair.play();
}

#[test]
fn frames_flow_while_a_request_waits() {
    let mut pair = Pair::new();
    pair.play();
    pair.hold = vec!["Authorize"];
    assert_eq!(
        pair.send("DESCRIBE rtsp://h/other RTSP/1.0\nCSeq: 4\n\nOPTIONS * RTSP/1.0\nCSeq: 5\n\n"),
        ""
    );
    assert_eq!(pair.send_raw(b"$\x03\x00\x02ab$\x00\x00\x01c$\x09\x00\x01x"), "");
    let expected = [
        (1, ChannelKind::Rtcp, b"ab".to_vec()),
        (0, ChannelKind::Rtp, b"c".to_vec()),
    ];
    assert_eq!(pair.data, expected);
    pair.session
        .authorized(Err(Denied::Refused(Refusal::new(Status::FORBIDDEN))), pair.now);
    let responses = pair.drive();
    let cseqs: Vec<&str> = responses.lines().filter(|line| line.starts_with("CSeq")).collect();
    assert_eq!(cseqs, ["CSeq: 4", "CSeq: 5"]);
}

#[test]
fn times_out_without_a_sign_of_life_over_udp() {
    let mut pair = Pair::new();
    let setup = "SETUP rtsp://h/s/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP;client_port=6-7\n\n";
    assert_eq!(status(&pair.send(setup)), 200);
    assert_eq!(status(&pair.send("PLAY rtsp://h/s RTSP/1.0\nCSeq: 2\n\n")), 200);
    let second = Duration::from_secs(1);
    pair.wait(59 * second);
    pair.session.keep_alive(pair.now);
    assert_eq!(pair.session.poll_timeout(), Some(pair.now + 60 * second));
    pair.wait(59 * second);
    assert_eq!(
        status(&pair.send("GET_PARAMETER rtsp://h/s RTSP/1.0\nCSeq: 3\n\n")),
        200
    );
    pair.wait(59 * second);
    assert!(!pair.is_closed());
    pair.wait(second);
    assert_eq!(pair.log.last().unwrap(), "Close: no sign of life for 60 s");
    assert_eq!(pair.session.poll_timeout(), None);
}

#[test]
fn a_viewer_in_the_connection_may_be_quiet_but_not_when_paused() {
    let mut pair = Pair::new();
    pair.play();
    assert_eq!(pair.session.poll_timeout(), None);
    pair.wait(Duration::from_secs(86_400));
    assert!(!pair.is_closed());
    assert_eq!(status(&pair.send("PAUSE rtsp://h/s RTSP/1.0\nCSeq: 4\n\n")), 200);
    pair.wait(Duration::from_secs(60));
    assert!(pair.is_closed());
}

#[test]
fn a_publisher_in_the_connection_lives_by_its_frames() {
    let mut pair = Pair::new();
    let announce = "ANNOUNCE rtsp://h/s RTSP/1.0\nCSeq: 1\nContent-Length: 33\n\nv=0\nm=video\na=control:streamid=0\n";
    assert_eq!(status(&pair.send_raw(announce.as_bytes())), 200);
    let setup = "SETUP rtsp://h/s/streamid=0 RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP/TCP;interleaved=0-1;mode=record\n\n";
    assert_eq!(status(&pair.send(setup)), 200);
    assert_eq!(status(&pair.send("RECORD rtsp://h/s RTSP/1.0\nCSeq: 3\n\n")), 200);
    pair.wait(Duration::from_secs(59));
    pair.send_raw(b"$\0\0\x01x");
    pair.wait(Duration::from_secs(59));
    // A channel that nobody set up is no sign of life.
    pair.send_raw(b"$\x07\0\x01x");
    assert!(!pair.is_closed());
    pair.wait(Duration::from_secs(1));
    assert!(pair.is_closed());
}
