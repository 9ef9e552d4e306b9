//! Limits, slowness, garbage and fuzz.

use super::*;

#[test]
fn the_first_request_has_a_deadline() {
    let mut pair = Pair::new();
    assert_eq!(pair.session.poll_timeout(), Some(pair.now + Duration::from_secs(10)));
    pair.wait(Duration::from_secs(9));
    assert!(!pair.is_closed());
    pair.wait(Duration::from_secs(1));
    assert_eq!(pair.log, ["Close: no request within 10 s of connecting"]);
}

#[test]
fn a_request_begun_has_a_deadline_however_it_drips() {
    let mut pair = Pair::new();
    pair.send("OPTIONS * RTSP/1.0\nCSeq: 1\n\n");
    for _ in 0..9 {
        pair.send_raw(b"O");
        pair.wait(Duration::from_secs(1));
    }
    assert!(!pair.is_closed());
    pair.send_raw(b"O");
    pair.wait(Duration::from_secs(1));
    assert_eq!(pair.log, ["Close: a request was begun but not completed within 10 s"]);
}

#[test]
fn a_body_that_does_not_come_has_a_deadline() {
    let mut pair = Pair::new();
    pair.send("ANNOUNCE rtsp://h/s RTSP/1.0\nCSeq: 1\nContent-Length: 10\n\nv=0");
    pair.wait(Duration::from_secs(10));
    assert!(pair.is_closed());
}

#[test]
fn blank_lines_keep_nobody_alive() {
    let mut pair = Pair::new();
    pair.send("OPTIONS * RTSP/1.0\nCSeq: 1\n\n");
    for _ in 0..59 {
        pair.wait(Duration::from_secs(1));
        pair.send("\n\n");
    }
    assert!(!pair.is_closed());
    pair.wait(Duration::from_secs(1));
    assert_eq!(pair.log, ["Close: no sign of life for 60 s"]);
}

#[rstest]
#[case::request_line(format!("OPTIONS rtsp://h/{} RTSP/1.0\r\n", "a".repeat(4100)), Some(414))]
#[case::endless_request_line("OPTIONS ".to_owned() + &"a".repeat(5000), Some(414))]
#[case::headers(format!("OPTIONS * RTSP/1.0\r\n{}", "a: b\r\n".repeat(65)), Some(400))]
#[case::header_bytes(format!("OPTIONS * RTSP/1.0\r\nA: {}", "b".repeat(17_000)), Some(400))]
#[case::body("ANNOUNCE rtsp://h/s RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 65537\r\n\r\n".to_owned(), Some(413))]
#[case::huge_body("ANNOUNCE rtsp://h/s RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(), Some(400))]
#[case::negative_body("ANNOUNCE rtsp://h/s RTSP/1.0\r\nContent-Length: -1\r\n\r\n".to_owned(), Some(400))]
#[case::two_lengths("ANNOUNCE rtsp://h/s RTSP/1.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(), Some(400))]
#[case::garbage("\u{1}".repeat(4097), None)]
#[case::http("GET / HTTP/1.1\r\n\r\n".to_owned(), None)]
#[case::ssh("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), None)]
#[case::tls("\u{16}\u{3}\u{1}\u{2}".to_owned(), None)]
fn limits_close_the_connection(#[case] bytes: String, #[case] expected: Option<u16>) {
    let mut pair = Pair::new();
    let response = pair.send_raw(bytes.as_bytes());
    assert!(pair.is_closed(), "{response}");
    assert_eq!((!response.is_empty()).then(|| status(&response)), expected);
    assert_eq!(pair.session.poll_timeout(), None);
    // Nothing more is read.
    assert_eq!(pair.send("OPTIONS * RTSP/1.0\nCSeq: 1\n\n"), "");
    assert_eq!(pair.log.len(), 1);
}

#[rstest]
#[case::request_line(format!("OPTIONS rtsp://h/{} RTSP/1.0\r\nCSeq: 1\r\n\r\n", "a".repeat(4000)))]
#[case::headers(format!("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n{}\r\n", "a: b\r\n".repeat(63)))]
#[case::body(format!("GET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 65536\r\n\r\n{}", "a".repeat(65_536)))]
#[case::garbage(format!("{}OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "\u{1}".repeat(4096)))]
fn just_within_limits_is_served(#[case] bytes: String) {
    assert_eq!(status(&Pair::new().send_raw(bytes.as_bytes())), 200);
}

#[test]
fn an_interleaved_frame_has_a_limit_of_its_own() {
    let mut config = Config::default();
    config.wire.frame_bytes = 100;
    let mut pair = Pair::with(config);
    pair.play();
    pair.send_raw(&[b"$\0\0\x64".as_slice(), &[0x80; 100]].concat());
    assert_eq!(pair.data.len(), 1);
    pair.send_raw(b"$\0\0\x65");
    assert_eq!(
        pair.log.last().unwrap(),
        "Close: an interleaved frame is longer than 100 bytes"
    );
}

#[test]
fn requests_that_wait_are_bounded() {
    let mut pair = Pair::new();
    pair.hold = vec!["Authorize"];
    pair.send("DESCRIBE rtsp://h/s RTSP/1.0\nCSeq: 1\n\n");
    let options = "OPTIONS * RTSP/1.0\nCSeq: 1\n\n";
    pair.send(&options.repeat(16));
    assert!(!pair.is_closed());
    pair.send(options);
    assert_eq!(
        pair.log.last().unwrap(),
        "Close: more than 16 requests sent without waiting for an answer"
    );
    // The answer comes too late.
    pair.session.authorized(Ok(()), pair.now);
    assert_eq!(pair.send(options), "");
}

#[test]
fn tracks_are_bounded() {
    let config = Config {
        max_tracks: 2,
        ..Config::default()
    };
    let mut pair = Pair::with(config.clone());
    pair.controls = (0..3).map(|number| format!("trackID={number}")).collect();
    let mut setup = |track: u8| {
        let request =
            format!("SETUP rtsp://h/s/trackID={track} RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n");
        status(&pair.send(&request))
    };
    assert_eq!([setup(0), setup(1), setup(2), setup(1)], [200, 200, 403, 200]);

    let mut pair = Pair::with(config);
    let sdp = "v=0".to_owned() + &"\nm=a".repeat(3);
    let announce = format!(
        "ANNOUNCE rtsp://h/s RTSP/1.0\nCSeq: 1\nContent-Length: {}\n\n{sdp}",
        sdp.len()
    );
    let response = pair.send_raw(announce.as_bytes());
    assert!(
        response.starts_with("RTSP/1.0 400 The SDP has 3 tracks; 1 to 2 can be sent"),
        "{response}"
    );
    assert_eq!(pair.log.last().unwrap(), "TearDown");
}

#[test]
fn bytes_between_messages_are_skipped() {
    let mut pair = Pair::new();
    pair.play();
    // Half a frame's rest, then a frame that looks like RTP, one that does not, and a request.
    pair.send_raw(b"\x01\x02abc\xff$\0\0\x0c\x80\x60\0\x01\0\0\0\0\0\0\0\0");
    assert_eq!(pair.data.len(), 1);
    let response = pair.send_raw(b"\xfe$\0\0\x0c\x00OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n");
    assert_eq!(header(&response, "CSeq"), Some("9"));
    assert_eq!(pair.data.len(), 1);
}

#[test]
fn a_response_from_a_client_is_ignored() {
    let mut pair = Pair::new();
    assert_eq!(pair.send("RTSP/1.0 200 OK\nCSeq: 1\n\n"), "");
    assert!(!pair.is_closed());
}

#[test]
fn an_idle_session_is_small() {
    let mut pair = Pair::new();
    pair.play();
    pair.send_raw(b"$\x01\0\x04abcd");
    assert!(size_of::<Session>() < 1536, "{}", size_of::<Session>());
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![
        Just("OPTIONS"),
        Just("DESCRIBE"),
        Just("ANNOUNCE"),
        Just("SETUP"),
        Just("PLAY"),
        Just("PAUSE"),
        Just("RECORD"),
        Just("TEARDOWN"),
        Just("GET_PARAMETER"),
        Just("SET_PARAMETER"),
        Just("NONSENSE"),
    ];
    let uri = prop_oneof![
        Just("*".to_owned()),
        Just("rtsp://h/s".to_owned()),
        "rtsp://h/s/trackID=[0-3]",
        "rtsp://h/[a-z/?=]{0,8}",
        ".{0,12}",
    ];
    let header = prop_oneof![
        "Transport: RTP/AVP/TCP;interleaved=[0-9]{1,3}-[0-9]{1,3}",
        "Transport: RTP/AVP;client_port=[0-9]{1,5}(-[0-9]{1,5})?",
        "Session: [a-f0-9]{0,8}",
        "Authorization: (Basic|Digest) [ -~]{0,40}",
        "Content-Length: [0-9]{1,2}",
        "[ -~]{0,30}",
    ];
    let text = (method, uri, proptest::collection::vec(header, 0..4)).prop_map(|(method, uri, headers)| {
        format!("{method} {uri} RTSP/1.0\r\nCSeq: 1\r\n{}\r\n\r\n", headers.join("\r\n")).into_bytes()
    });
    let frame = (0_u8..8, proptest::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(channel, data)| [&[b'$', channel, 0, data.len() as u8], data.as_slice()].concat());
    prop_oneof![4 => text, 2 => frame, 1 => proptest::collection::vec(any::<u8>(), 0..30)]
}

/// Everything that comes of the bytes when they are cut at the given places.
fn run(bytes: &[u8], cuts: &[usize]) -> (String, Vec<String>, Vec<Data>) {
    let mut pair = Pair::new();
    let mut output = String::new();
    let mut rest = bytes;
    for &cut in cuts {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        output += &pair.send_raw(piece);
        rest = after;
    }
    output += &pair.send_raw(rest);
    (output, pair.log, pair.data)
}

proptest! {
    #[test]
    fn any_bytes_cut_anywhere_give_the_same(
        messages in proptest::collection::vec(message(), 1..8), cuts in proptest::collection::vec(0_usize..60, 0..12),
    ) {
        let bytes = messages.concat();
        let whole = run(&bytes, &[]);
        prop_assert_eq!(&run(&bytes, &cuts), &whole);
        prop_assert_eq!(&run(&bytes, &vec![1; bytes.len()]), &whole);
    }

    #[test]
    fn answers_at_odd_times_do_no_harm(
        messages in proptest::collection::vec((message(), 0_u8..8, 0_u64..20), 1..20),
    ) {
        let mut pair = Pair::new();
        pair.hold = vec!["Authorize", "Describe", "Announce", "SetUp", "Play", "Record"];
        for (bytes, answer, seconds) in messages {
            pair.send_raw(&bytes);
            pair.wait(Duration::from_secs(seconds));
            let now = pair.now;
            let session = &mut pair.session;
            match answer {
                0 => session.authorized(Ok(()), now),
                1 => session.describe(Ok(Description { sdp: String::new(), controls: vec!["trackID=0".into()] }), now),
                2 => session.announce(Ok(Announced { controls: vec![String::new()] }), now),
                3 => session.set_up(Ok(ServerPorts::default()), now),
                4 => session.play(Ok(&[]), now),
                5 => session.record(Ok(()), now),
                6 => session.authorized(Err(Denied::Refused(Refusal::new(Status::FORBIDDEN))), now),
                _ => session.keep_alive(now),
            }
            pair.drive();
        }
        let closed = pair.log.iter().filter(|event| event.starts_with("Close")).count();
        prop_assert!(closed <= 1);
        let session = &pair.session;
        let must_wake = closed == 0 && session.waiting.is_none() && session.media.is_none();
        prop_assert!(!must_wake || session.poll_timeout().is_some());
        prop_assert!(closed == 0 || session.poll_timeout().is_none());
    }
}
