//! Authorisation: when the driver is asked, with what, and what becomes of its answer.

use super::*;
use crate::rtsp::auth::choose;

fn challenge() -> Denied {
    Denied::Challenge(Challenge {
        realm: "Sightline".into(),
        digest: true,
        basic: true,
    })
}

/// Lets `viewer` in with `secret`, and whoever has the token `t`.
fn guard(event: &Event) -> Result<(), Denied> {
    let Event::Authorize { credentials, .. } = event else {
        panic!("{event:?}")
    };
    let right = match credentials {
        Credentials::None => false,
        Credentials::Basic { user, password } => user == "viewer" && password == "secret",
        Credentials::Digest(digest) => digest.user() == "viewer" && digest.verify("secret"),
        Credentials::Token(token) => token == "t",
    };
    if right { Ok(()) } else { Err(challenge()) }
}

fn guarded() -> Pair {
    Pair {
        guard: Some(guard),
        ..Pair::new()
    }
}

const DESCRIBE: &str = "DESCRIBE rtsp://h/s RTSP/1.0\nCSeq: 1\n\n";

fn with(request: &str, authorization: &str) -> String {
    request.replacen("\n\n", &format!("\nAuthorization: {authorization}\n\n"), 1)
}

fn challenges(response: &str) -> Vec<&str> {
    response
        .lines()
        .filter_map(|line| line.strip_prefix("WWW-Authenticate: "))
        .collect()
}

/// The answer to the n-th challenge of a 401.
fn answer(response: &str, which: usize, password: &str, method: &str, uri: &str) -> String {
    let challenge = challenges(response)[which];
    choose([challenge].into_iter())
        .unwrap()
        .header("viewer", password, method, uri, "cnonce")
}

#[rstest]
#[case::basic(0)]
#[case::sha256(1)]
#[case::md5(2)]
fn each_kind_of_login_works_and_is_asked_once(#[case] which: usize) {
    let mut pair = guarded();
    let refused = pair.send(DESCRIBE);
    assert_eq!(status(&refused), 401);
    assert_eq!(challenges(&refused).len(), 3, "{refused}");
    let header = answer(&refused, which, "secret", "DESCRIBE", "rtsp://h/s");
    assert_eq!(status(&pair.send(&with(DESCRIBE, &header))), 200);
    pair.log.clear();
    // VLC shows its credentials with the first request alone, FFmpeg with every one; the count of the nonce may stand still.
    let setup = "SETUP rtsp://h/s/trackID=0 RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n";
    assert_eq!(status(&pair.send(setup)), 200);
    assert_eq!(status(&pair.send(&with(setup, &header))), 200);
    assert!(
        pair.log.iter().all(|event| !event.starts_with("Authorize")),
        "{:?}",
        pair.log
    );
}

#[test]
fn another_stream_or_action_is_another_question() {
    let mut pair = guarded();
    let basic = "Basic dmlld2VyOnNlY3JldA==";
    assert_eq!(status(&pair.send(&with(DESCRIBE, basic))), 200);
    assert_eq!(status(&pair.send("DESCRIBE rtsp://h/other RTSP/1.0\nCSeq: 2\n\n")), 401);
    let announce = "ANNOUNCE rtsp://h/s RTSP/1.0\r\nCSeq: 3\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(status(&pair.send_raw(announce.as_bytes())), 401);
}

#[test]
fn a_token_in_the_url_is_shown_to_the_driver() {
    let mut pair = guarded();
    assert_eq!(
        status(&pair.send("DESCRIBE rtsp://h/s?token=wrong RTSP/1.0\nCSeq: 1\n\n")),
        401
    );
    assert_eq!(
        status(&pair.send("DESCRIBE rtsp://h/s?a=b&token=t RTSP/1.0\nCSeq: 2\n\n")),
        200
    );
    let setup = "SETUP rtsp://h/s/trackID=0 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n";
    assert_eq!(status(&pair.send(setup)), 200);
}

#[rstest]
#[case::wrong_password("wrong", "DESCRIBE", "rtsp://h/s")]
#[case::wrong_method("secret", "SETUP", "rtsp://h/s")]
#[case::wrong_uri("secret", "DESCRIBE", "rtsp://h/other")]
fn a_digest_that_does_not_fit_is_refused(#[case] password: &str, #[case] method: &str, #[case] uri: &str) {
    let mut pair = guarded();
    let refused = pair.send(DESCRIBE);
    let header = answer(&refused, 1, password, method, uri);
    let response = pair.send(&with(DESCRIBE, &header));
    assert_eq!(status(&response), 401);
    assert!(!response.contains("stale"), "{response}");
}

#[rstest]
#[case::without_host("/s")]
#[case::with_a_slash("rtsp://h/s/")]
#[case::of_a_track("rtsp://h/s/trackID=0")]
#[case::by_another_name("rtsp://10.0.0.1:8554/s?x=y")]
fn clients_word_the_digest_uri_in_their_own_way(#[case] uri: &str) {
    let mut pair = guarded();
    let refused = pair.send(DESCRIBE);
    let header = answer(&refused, 1, "secret", "DESCRIBE", uri);
    assert_eq!(status(&pair.send(&with(DESCRIBE, &header))), 200);
}

#[test]
fn a_header_captured_on_another_connection_is_stale() {
    let mut owner = guarded();
    let refused = owner.send(DESCRIBE);
    let header = answer(&refused, 1, "secret", "DESCRIBE", "rtsp://h/s");
    assert_eq!(status(&owner.send(&with(DESCRIBE, &header))), 200);

    let mut thief = Pair {
        session: Session::new(Config::default(), 8, base()),
        ..guarded()
    };
    let response = thief.send(&with(DESCRIBE, &header));
    assert_eq!(status(&response), 401);
    assert!(response.contains("stale=TRUE"), "{response}");
    assert!(
        thief.log.iter().any(|event| event.contains("credentials: None")),
        "{:?}",
        thief.log
    );
}

#[test]
fn an_old_nonce_is_stale_and_the_new_one_works() {
    let mut pair = guarded();
    let refused = pair.send(DESCRIBE);
    let header = answer(&refused, 1, "secret", "DESCRIBE", "rtsp://h/s");
    for _ in 0..6 {
        pair.wait(Duration::from_secs(55));
        pair.send("OPTIONS * RTSP/1.0\nCSeq: 1\n\n");
    }
    let response = pair.send(&with(DESCRIBE, &header));
    assert_eq!(status(&response), 401);
    assert!(challenges(&response)[1].contains("stale=TRUE"), "{response}");
    let header = answer(&response, 1, "secret", "DESCRIBE", "rtsp://h/s");
    assert_eq!(status(&pair.send(&with(DESCRIBE, &header))), 200);
}

#[test]
fn a_nonce_count_counts_once() {
    let mut pair = guarded();
    let refused = pair.send(DESCRIBE);
    let header = answer(&refused, 2, "secret", "DESCRIBE", "rtsp://h/s");
    assert_eq!(status(&pair.send(&with(DESCRIBE, &header))), 200);
    // Granted for `s`; for another stream the same count is a replay.
    let other = DESCRIBE.replace("/s ", "/s2 ");
    let response = pair.send(&with(&other, &header));
    assert!(response.contains("stale=TRUE"), "{response}");
}

#[test]
fn a_nonce_of_another_realm_is_stale() {
    let mut pair = guarded();
    let refused = pair
        .send(DESCRIBE)
        .replace("realm=\"Sightline\"", "realm=\"Elsewhere\"");
    let header = answer(&refused, 1, "secret", "DESCRIBE", "rtsp://h/s");
    assert!(pair.send(&with(DESCRIBE, &header)).contains("stale=TRUE"));
}

#[test]
fn qop_can_be_left_out() {
    let mut pair = Pair {
        guard: Some(guard),
        ..Pair::with(Config {
            digest_qop: false,
            ..Config::default()
        })
    };
    let refused = pair.send(DESCRIBE);
    assert!(!refused.contains("qop"), "{refused}");
    let header = answer(&refused, 2, "secret", "DESCRIBE", "rtsp://h/s");
    assert!(!header.contains("nc="), "{header}");
    assert_eq!(status(&pair.send(&with(DESCRIBE, &header))), 200);
}

#[test]
fn guessing_ends_the_connection() {
    let mut pair = guarded();
    for _ in 0..20 {
        // Asking without credentials is no guess.
        pair.send(DESCRIBE);
    }
    for _ in 0..Config::default().max_failed_logins {
        assert!(!pair.is_closed());
        assert_eq!(status(&pair.send(&with(DESCRIBE, "Basic dmlld2VyOmd1ZXNz"))), 401);
    }
    assert_eq!(pair.log.last().unwrap(), "Close: 8 logins refused on this connection");
    assert_eq!(pair.send(DESCRIBE), "");
}

#[test]
fn a_session_belongs_to_its_claimant() {
    let mut pair = guarded();
    let basic = |login: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(login))
    };
    let setup = "SETUP rtsp://h/s/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP;interleaved=0-1\n\n";
    assert_eq!(status(&pair.send(&with(setup, &basic("viewer:secret")))), 200);
    let play = format!("PLAY rtsp://h/s RTSP/1.0\nCSeq: 2\nSession: {}\n\n", pair.session_id);
    assert_eq!(status(&pair.send(&with(&play, &basic("other:secret")))), 454);
    assert_eq!(
        status(&pair.send(&with(&play.replace("/s ", "/s?token=t "), &basic("other:x")))),
        454
    );
    assert_eq!(status(&pair.send(&play.replace("/s ", "/s?token=t "))), 454);
    assert_eq!(status(&pair.send(&with(&play, &basic("viewer:secret")))), 200);
}

#[test]
fn grants_are_bounded() {
    let mut pair = Pair::new();
    for number in 0..50 {
        pair.send(&format!("DESCRIBE rtsp://h/s{number} RTSP/1.0\nCSeq: 1\n\n"));
    }
    assert_eq!(pair.session.grants.len(), 8);
}

#[test]
fn a_refusal_of_another_kind_passes_through() {
    let mut pair = Pair::new();
    pair.guard = Some(|_| {
        Err(Denied::Refused(Refusal::because(
            Status::UNAVAILABLE,
            "Too many logins at once",
        )))
    });
    let response = pair.send(DESCRIBE);
    assert!(
        response.starts_with("RTSP/1.0 503 Too many logins at once\n"),
        "{response}"
    );
}
