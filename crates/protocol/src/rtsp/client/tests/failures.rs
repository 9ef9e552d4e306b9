//! What goes wrong, what is tried, and what people are told.

use super::*;
use proptest::prelude::*;

const OK: &str = "RTSP/1.0 200 OK\nCSeq: {cseq}\n\n";
const DESCRIPTION: &str = "RTSP/1.0 200 OK\nCSeq: {cseq}\n\nv=0\nm=video\na=control:1\nm=audio\na=control:2\n";
const BASIC: &str = "RTSP/1.0 401 Unauthorized\nCSeq: {cseq}\nWWW-Authenticate: Basic realm=\"x\"\n\n";
const SET_UP: &str = "RTSP/1.0 200 OK\nCSeq: {cseq}\nSession: 1\n\n";
const URL: &str = "rtsp://u:secret@cam:8554/s";

fn digest(nonce: u32, more: &str) -> String {
    format!("RTSP/1.0 401 No\nCSeq: {{cseq}}\nWWW-Authenticate: Digest realm=\"x\", nonce=\"{nonce}\"{more}\n\n")
}

fn tell(peer: &mut Peer, answers: &[&str]) -> String {
    let mut output = peer.drive();
    for answer in answers {
        output = peer.reply(answer);
    }
    output
}

#[rstest]
#[case::wrong_password(&[OK, BASIC, BASIC], "wrong user or password for cam:8554")]
#[case::forbidden(&[OK, "RTSP/1.0 403 Not for you\nCSeq: {cseq}\n\n"], "cam:8554 does not allow this (Not for you); where that is about rights")]
#[case::not_found(&[OK, "RTSP/1.0 404 Stream Not Found\nCSeq: {cseq}\n\n"], "cam:8554 has no stream at /s (Stream Not Found)")]
#[case::unknown_login(&[OK, "RTSP/1.0 401 No\nCSeq: {cseq}\nWWW-Authenticate: NTLM\n\n"], "a kind we do not know (NTLM)")]
#[case::no_challenge(&[OK, "RTSP/1.0 401 No\nCSeq: {cseq}\n\n"], "a kind we do not know (nothing)")]
#[case::server_error(&[OK, "RTSP/1.0 503 Full\nCSeq: {cseq}\n\n"], "cam:8554 answered DESCRIBE with 503 Full")]
#[case::no_description(&[OK, OK], "answered DESCRIBE with something unusable: there is no description in it")]
#[case::no_tracks(&[OK, "RTSP/1.0 200 OK\nCSeq: {cseq}\n\nv=0\n"], "has no track that can be used here")]
#[case::http(&["HTTP/1.1 400 Bad Request\n\n"], "does not speak RTSP here: this is not RTSP but HTTP: it begins with \"HTTP/1.1 400")]
#[case::ssh(&["SSH-2.0-OpenSSH_9.2\n"], "not RTSP but SSH")]
#[case::redirect_to_tls(
    &[OK, "RTSP/1.0 301 Moved\nCSeq: {cseq}\nLocation: rtsps://cam/s\n\n"],
    "cam:8554 redirects to rtsps://cam/s, which is another scheme"
)]
#[case::redirect_to_http(
    &[OK, "RTSP/1.0 302 Moved\nCSeq: {cseq}\nLocation: http://cam/s\n\n"],
    "cam:8554 redirects to \"http://cam/s\", which is no use"
)]
#[case::redirect_nowhere(&[OK, "RTSP/1.0 302 Moved\nCSeq: {cseq}\n\n"], "cam:8554 redirects to \"\"")]
#[case::same_channels(
    &[OK, DESCRIPTION, "RTSP/1.0 200 OK\nCSeq: {cseq}\nSession: 1\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n",
      "RTSP/1.0 200 OK\nCSeq: {cseq}\nSession: 1\nTransport: RTP/AVP/TCP;interleaved=1-2\n\n"],
    "two tracks have the same interleaved channels"
)]
fn people_are_told(#[case] answers: &[&str], #[case] expected: &str) {
    let mut peer = Peer::new(URL);
    tell(&mut peer, answers);
    assert!(peer.failure().contains(expected), "{}", peer.failure());
    assert_eq!(peer.session.poll_timeout(), None);
    assert_eq!(peer.reply(OK), "", "nothing more is said");
}

#[test]
fn a_refusal_of_credentials_without_a_challenge_is_a_wrong_password() {
    let mut peer = Peer::new(URL);
    tell(&mut peer, &[OK, BASIC, "RTSP/1.0 401 Unauthorized\nCSeq: {cseq}\n\n"]);
    assert!(
        peer.failure().starts_with("wrong user or password"),
        "{}",
        peer.failure()
    );
}

#[rstest]
#[case(true)]
#[case(false)]
fn what_came_in_place_of_rtsp_is_shown(#[case] closed: bool) {
    let mut peer = Peer::new(URL);
    peer.drive();
    peer.session
        .receive(b"<!DOCTYPE HTML>\n<html><body>No</body>", peer.now);
    peer.drive();
    if closed {
        peer.session.disconnected(peer.now);
    }
    peer.wait(Duration::from_secs(10));
    let expected =
        "cam:8554 does not speak RTSP here: this is not RTSP but something else: it begins with \"<!DOCTYPE HTML>";
    assert!(peer.failure().starts_with(expected), "{}", peer.failure());
}

#[test]
fn without_a_login_one_is_asked_for() {
    let mut peer = Peer::new("rtsp://cam:8554/s");
    tell(&mut peer, &[OK, BASIC]);
    let expected =
        "cam:8554 wants a user and password; give them in the URL, like rtsp://USER:PASSWORD@cam:8554/…, or as a token";
    assert_eq!(peer.failure(), expected);
}

#[test]
fn settings_win_over_the_url() {
    let config = Config {
        login: Some(Login {
            user: "other".into(),
            password: "12345".into(),
        }),
        ..Config::default()
    };
    let mut peer = Peer::with(URL, Mode::Play, config);
    let output = tell(&mut peer, &[OK, BASIC]);
    assert!(output.contains("Authorization: Basic b3RoZXI6MTIzNDU="), "{output}");
}

#[test]
fn a_wrong_password_is_tried_once() {
    let mut peer = Peer::new(URL);
    // A camera that gives a new nonce each time, as many do, without calling the old one stale.
    let output = tell(&mut peer, &[OK, &digest(1, "")]);
    assert!(output.contains("nonce=\"1\""), "{output}");
    assert_eq!(peer.reply(&digest(2, "")), "");
    assert!(
        peer.failure().starts_with("wrong user or password"),
        "{}",
        peer.failure()
    );
}

#[test]
fn a_stale_nonce_is_no_wrong_password_but_has_a_bound() {
    let mut peer = Peer::new(URL);
    tell(&mut peer, &[OK, &digest(1, "")]);
    assert!(peer.reply(&digest(2, ", stale=true")).contains("nonce=\"2\""));
    assert!(peer.reply(&digest(3, ", stale=true")).contains("nonce=\"3\""));
    assert_eq!(peer.reply(&digest(4, ", stale=true")), "");
    assert!(
        peer.failure().starts_with("wrong user or password"),
        "{}",
        peer.failure()
    );
}

#[test]
fn a_new_nonce_after_a_success_is_answered() {
    let mut peer = Peer::new(URL);
    tell(&mut peer, &[OK, &digest(1, ""), DESCRIPTION]);
    let output = peer.reply(&digest(2, ""));
    assert!(
        output.starts_with("SETUP") && output.contains("nonce=\"2\""),
        "{output}"
    );
    assert!(peer.reply(SET_UP).starts_with("SETUP"));
}

#[test]
fn a_server_that_asks_for_a_login_on_a_new_connection_gets_it() {
    let mut peer = Peer::new(URL);
    tell(&mut peer, &[OK, &digest(1, "")]);
    peer.session.disconnected(peer.now);
    peer.drive();
    assert!(peer.reply(&digest(2, "")).contains("nonce=\"2\""));
    // But not for ever.
    for _ in 0..2 {
        peer.session.disconnected(peer.now);
        peer.drive();
    }
    assert_eq!(
        peer.failure(),
        "cam:8554 closed the connection during OPTIONS; the log of that server should say why"
    );
}

#[test]
fn a_connection_that_is_announced_to_close_is_made_anew() {
    let mut peer = Peer::new(URL);
    let answer = BASIC.replace("\n\n", "\nConnection: Close\n\n");
    let output = tell(&mut peer, &[OK, &answer]);
    assert_eq!(peer.log, ["Reconnect to rtsp://cam:8554/s"]);
    assert!(
        output.starts_with("OPTIONS") && output.contains("Authorization: Basic"),
        "{output}"
    );
}

#[test]
fn redirects_are_bounded_and_lose_the_login_at_another_host() {
    let mut peer = Peer::new(URL);
    let redirect = |to: &str| format!("RTSP/1.0 302 Found\nCSeq: {{cseq}}\nLocation: {to}\n\n");
    tell(&mut peer, &[OK, &redirect("/t"), BASIC]);
    assert_eq!(peer.log, ["Reconnect to rtsp://cam:8554/t"]);
    assert!(peer.reply(OK).contains("Authorization"));
    // Only another port, but nobody knows who listens there.
    let output = tell(&mut peer, &[&redirect("rtsp://cam:9554/t"), OK, BASIC]);
    assert_eq!(output, "");
    assert!(
        peer.failure().contains("wants a user and password"),
        "{}",
        peer.failure()
    );

    let mut peer = Peer::new(URL);
    peer.drive();
    for number in 0..4 {
        peer.reply(&redirect(&format!("rtsp://u:12345@cam:8554/{number}")));
    }
    assert_eq!(
        peer.failure(),
        "cam:8554 redirects again after 3 times, now to rtsp://cam:8554/3; ask for the stream's present address"
    );
}

#[test]
fn a_redirect_may_bring_its_own_login() {
    let mut peer = Peer::new(URL);
    let output = tell(
        &mut peer,
        &[
            "RTSP/1.0 301 Moved\nCSeq: {cseq}\nLocation: rtsp://a:12345@b/t\n\n",
            OK,
            BASIC,
        ],
    );
    assert!(output.contains("Authorization: Basic YToxMjM0NQ=="), "{output}");
}

const REFUSED: &str = "RTSP/1.0 461 Unsupported Transport\nCSeq: {cseq}\n\n";

#[rstest]
#[case(Transport::Auto, "TCP and UDP", "turn one of them on there", &["TCP", "UDP"])]
#[case(Transport::AutoUdpFirst, "TCP and UDP", "turn one of them on there", &["UDP", "TCP"])]
#[case(Transport::Tcp, "TCP", "try transport udp or auto", &["TCP"])]
#[case(Transport::Udp, "UDP", "try transport tcp or auto", &["UDP"])]
fn transports_are_tried_in_order(
    #[case] transport: Transport,
    #[case] tried: &str,
    #[case] then: &str,
    #[case] order: &[&str],
) {
    let config = Config {
        transport,
        ..Config::default()
    };
    let mut peer = Peer::with(URL, Mode::Play, config);
    let mut output = tell(&mut peer, &[OK, DESCRIPTION]);
    for expected in order {
        assert!(
            output.contains(&format!("Transport: RTP/AVP/{expected};unicast")),
            "{output}"
        );
        output = peer.reply(REFUSED);
    }
    let expected = format!("cam:8554 refuses RTP over {tried} (Unsupported Transport); {then}");
    assert_eq!(peer.failure(), expected);
}

#[test]
fn a_transport_refused_half_way_begins_anew() {
    let mut peer = Peer::new(URL);
    let output = tell(&mut peer, &[OK, DESCRIPTION, SET_UP, REFUSED, OK, DESCRIPTION]);
    assert!(
        peer.log.contains(&"Reconnect to rtsp://cam:8554/s".to_owned()),
        "{:?}",
        peer.log
    );
    assert!(
        output.contains("RTP/AVP/UDP") && !output.contains("Session"),
        "{output}"
    );
}

#[test]
fn an_answer_with_another_transport_is_a_refusal() {
    let mut peer = Peer::new(URL);
    let udp = "RTSP/1.0 200 OK\nCSeq: {cseq}\nSession: 1\nTransport: RTP/AVP;unicast;server_port=1-2\n\n";
    let output = tell(&mut peer, &[OK, DESCRIPTION, udp, OK, DESCRIPTION]);
    assert!(
        output.contains("RTP/AVP/UDP;unicast;client_port=50000-50001"),
        "{output}"
    );
    // Asked for UDP, a server that wants the connection gets its way.
    let tcp = "RTSP/1.0 200 OK\nCSeq: {cseq}\nSession: 1\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\n\n";
    peer.reply(tcp);
    assert!(
        peer.log
            .iter()
            .any(|event| event.contains("Interleaved { rtp: 0, rtcp: 1 }")),
        "{:?}",
        peer.log
    );
}

#[rstest]
#[case::udp(Transport::Udp, false)]
#[case::any(Transport::AutoUdpFirst, true)]
fn a_publisher_that_is_told_no_ports_does_not_send_into_the_void(#[case] transport: Transport, #[case] goes_on: bool) {
    let mode = Mode::Publish {
        sdp: "v=0\nm=video 0 RTP/AVP 96\n".to_owned(),
        controls: vec!["trackID=0".to_owned()],
        via: None,
    };
    let config = Config {
        transport,
        ..Config::default()
    };
    let mut peer = Peer::with(URL, mode, config);
    let no_ports = "RTSP/1.0 200 OK\nCSeq: {cseq}\nSession: 1\nTransport: RTP/AVP;unicast;client_port=50000-50001\n\n";
    tell(&mut peer, &[OK, OK, no_ports]);
    assert!(
        !peer.log.iter().any(|event| event.starts_with("SetUp")),
        "{:?}",
        peer.log
    );
    if goes_on {
        let output = tell(&mut peer, &[OK, OK]);
        assert!(output.contains("RTP/AVP/TCP"), "{output}");
    } else {
        assert_eq!(
            peer.failure(),
            "cam:8554 refuses RTP over UDP (it names no port to send to); try transport tcp or auto"
        );
    }
}

#[test]
fn without_local_ports_the_connection_is_used() {
    let config = Config {
        transport: Transport::AutoUdpFirst,
        ..Config::default()
    };
    let mut peer = Peer::with(URL, Mode::Play, config);
    peer.can_bind = false;
    let output = tell(&mut peer, &[OK, DESCRIPTION]);
    assert!(output.contains("RTP/AVP/TCP"), "{output}");
}

#[rstest]
#[case(0, "OPTIONS")]
#[case(1, "DESCRIBE")]
#[case(2, "SETUP")]
#[case(4, "PLAY")]
fn silence_is_named_with_its_step(#[case] answers: usize, #[case] step: &str) {
    let mut peer = Peer::new(URL);
    tell(&mut peer, &[OK, DESCRIPTION, SET_UP, SET_UP][..answers]);
    assert_eq!(peer.session.poll_timeout(), Some(peer.now + Duration::from_secs(10)));
    peer.wait(Duration::from_secs(9));
    peer.wait(Duration::from_secs(1));
    let expected = format!("cam:8554 did not answer {step} within 10 s; check that it is reachable and not overloaded");
    assert_eq!(peer.failure(), expected);
}

#[rstest]
#[case(0, "OPTIONS")]
#[case(2, "SETUP")]
#[case(5, "PLAY")]
fn a_closed_connection_is_named_with_its_step(#[case] answers: usize, #[case] step: &str) {
    let mut peer = Peer::new(URL);
    tell(&mut peer, &[OK, DESCRIPTION, SET_UP, SET_UP, SET_UP][..answers]);
    peer.session.disconnected(peer.now);
    peer.drive();
    assert_eq!(
        peer.failure(),
        format!("cam:8554 closed the connection during {step}; the log of that server should say why")
    );
}

#[test]
fn keepalives_go_out_at_half_the_timeout_in_a_form_the_server_knows() {
    let mut peer = Peer::play("rtsp://cam/s");
    assert_eq!(peer.wait(Duration::from_secs(29)), "");
    assert!(
        peer.wait(Duration::from_secs(1))
            .starts_with("GET_PARAMETER rtsp://cam/s RTSP/1.0\n")
    );
    peer.reply("RTSP/1.0 551 Option not supported\nCSeq: {cseq}\n\n");
    assert!(
        peer.wait(Duration::from_secs(30))
            .starts_with("OPTIONS rtsp://cam/s RTSP/1.0\n")
    );
    peer.reply("RTSP/1.0 454 Session Not Found\nCSeq: {cseq}\n\n");
    assert_eq!(
        peer.failure(),
        "cam answered keepalive with 454 Session Not Found; the log of that server should say why"
    );
}

#[test]
fn a_short_timeout_is_kept() {
    let mut peer = Peer::new(URL);
    let set_up = SET_UP.replace("Session: 1", "Session: 1;timeout=10");
    tell(&mut peer, &[OK, DESCRIPTION, &set_up, &set_up, OK]);
    assert!(peer.wait(Duration::from_secs(5)).starts_with("OPTIONS"));
}

#[test]
fn an_unanswered_keepalive_matters_only_in_silence() {
    let mut peer = Peer::play("rtsp://cam/s");
    for _ in 0..5 {
        assert_ne!(peer.wait(Duration::from_secs(30)), "");
        peer.now += Duration::from_secs(1);
        peer.session.receive(b"$\x00\x00\x01x", peer.now);
        peer.drive();
        peer.now -= Duration::from_secs(1);
    }
    assert_ne!(peer.wait(Duration::from_secs(30)), "");
    assert_eq!(peer.wait(Duration::from_secs(30)), "");
    assert!(
        peer.failure().starts_with("cam did not answer keepalive within 30 s"),
        "{}",
        peer.failure()
    );
}

#[test]
fn an_unanswered_keepalive_does_not_matter_over_udp() {
    let config = Config {
        transport: Transport::Udp,
        ..Config::default()
    };
    let mut peer = Peer::with(URL, Mode::Play, config);
    let set_up = "RTSP/1.0 200 OK\nCSeq: {cseq}\nSession: 1\n\n";
    tell(&mut peer, &[OK, DESCRIPTION, set_up, set_up, OK]);
    for _ in 0..10 {
        assert_ne!(peer.wait(Duration::from_secs(30)), "");
    }
}

#[test]
fn an_old_nonce_in_a_keepalive_is_renewed_at_once() {
    let mut peer = Peer::new(URL);
    tell(&mut peer, &[OK, &digest(1, ""), DESCRIPTION, SET_UP, SET_UP, OK]);
    peer.wait(Duration::from_secs(30));
    let output = peer.reply(&digest(2, ", stale=true"));
    assert!(
        output.starts_with("OPTIONS") && output.contains("nonce=\"2\""),
        "{output}"
    );
    // Not in a loop.
    assert_eq!(peer.reply(&digest(3, ", stale=true")), "");
    assert!(peer.wait(Duration::from_secs(30)).starts_with("OPTIONS"));
}

#[test]
fn leaving_waits_a_second_for_the_answer() {
    let mut peer = Peer::play("rtsp://cam/s");
    peer.session.tear_down(peer.now);
    assert!(peer.drive().starts_with("TEARDOWN rtsp://cam/s RTSP/1.0\n"));
    peer.wait(Duration::from_secs(1));
    assert_eq!(peer.log.last().unwrap(), "Closed");

    let mut peer = Peer::play("rtsp://cam/s");
    peer.session.tear_down(peer.now);
    peer.session.disconnected(peer.now);
    peer.drive();
    assert_eq!(peer.log.last().unwrap(), "Closed");

    let mut peer = Peer::new("rtsp://cam/s");
    peer.drive();
    peer.session.tear_down(peer.now);
    assert_eq!(peer.drive(), "", "there is no session to end");
    assert_eq!(peer.log, ["Closed"]);
}

#[test]
fn a_late_answer_is_not_taken_for_the_next() {
    let mut peer = Peer::new(URL);
    tell(&mut peer, &[OK]);
    assert_eq!(peer.reply("RTSP/1.0 404 Not Found\nCSeq: 1\n\n"), "");
    assert!(peer.log.is_empty(), "{:?}", peer.log);
    assert!(peer.reply(DESCRIPTION).starts_with("SETUP"));
}

#[test]
fn garbage_has_a_limit() {
    let mut peer = Peer::play("rtsp://cam/s");
    for _ in 0..65 {
        peer.session.receive(&[1; 4096], peer.now);
        peer.drive();
    }
    assert!(
        peer.failure().contains("more than 262144 bytes between messages"),
        "{}",
        peer.failure()
    );
}

#[test]
fn tracks_have_a_limit() {
    let mut peer = Peer::new(URL);
    let description = format!("RTSP/1.0 200 OK\nCSeq: {{cseq}}\n\nv=0{}", "\nm=video".repeat(9));
    tell(&mut peer, &[OK, &description]);
    assert!(
        peer.failure().contains("has no track that can be used here"),
        "{}",
        peer.failure()
    );
}

fn answer() -> impl Strategy<Value = String> {
    let status = prop_oneof![
        6 => Just(200), 1 => Just(401), 1 => Just(461), 1 => Just(302), 1 => Just(404), 1 => Just(100), 1 => Just(454),
    ];
    let header = prop_oneof![
        "Session: [a-z0-9]{0,4}(;timeout=[0-9]{0,3})?",
        "Transport: RTP/AVP(/TCP)?(;interleaved=[0-9]{1,3})?;server_port=[0-9]{1,5}",
        "WWW-Authenticate: (Digest|Basic) (realm=a)?(, nonce=[a-c])?(, stale=true)?",
        "Location: (rtsp://[a-c]/|/)[a-z]{0,2}",
        "RTP-Info: url=[a-z0-9]{0,3};seq=[0-9]{0,6}",
        "Content-Base: [ -~]{0,20}",
        "Connection: close",
        "[ -~]{0,20}",
    ];
    let body = prop_oneof![
        Just(""),
        Just("v=0\na=control:*\nm=video\nm=audio\na=control:x\n"),
        Just("v=0\n")
    ];
    (status, proptest::collection::vec(header, 0..4), body).prop_map(|(status, headers, body)| {
        format!("RTSP/1.0 {status} x\nCSeq: {{cseq}}\n{}\n\n{body}", headers.join("\n"))
    })
}

proptest! {
    #[test]
    fn any_server_is_survived(
        answers in proptest::collection::vec((answer(), 0_u8..8, 0_u64..12), 1..25), udp: bool, send: bool,
        junk in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let transport = if udp { Transport::AutoUdpFirst } else { Transport::Auto };
        let mode = if send { publish() } else { Mode::Play };
        let mut peer = Peer::with(URL, mode, Config { transport, ..Config::default() });
        peer.drive();
        for (answer, what, seconds) in answers {
            match what {
                0 => { peer.session.disconnected(peer.now); }
                1 => { peer.session.receive(&junk, peer.now); }
                2 => { peer.session.tear_down(peer.now); }
                _ => { peer.reply(&answer); }
            }
            peer.wait(Duration::from_secs(seconds));
        }
        let ends = peer.log.iter().filter(|event| event.starts_with("Failed") || *event == "Closed").count();
        prop_assert!(ends <= 1, "{:?}", peer.log);
        let reconnects = peer.log.iter().filter(|event| event.starts_with("Reconnect")).count();
        prop_assert!(reconnects <= 3 + 2, "{:?}", peer.log);
        // Whatever it waits for, it ends by itself.
        for _ in 0..4 {
            peer.wait(Duration::from_secs(60));
        }
        let flowing = matches!(peer.session.state, super::super::session::State::Flowing);
        prop_assert!(flowing || peer.session.poll_timeout().is_none());
    }
}
