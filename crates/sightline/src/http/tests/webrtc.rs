//! WHEP and WHIP up to the first datagram: what is answered to what (CONTRACT §3).

use rstest::rstest;

use super::*;

const PUBLISHER: &[(&str, &str)] = &[("authorization", "Bearer p-token"), ("content-type", "application/sdp")];
const VIEWER: &[(&str, &str)] = &[("authorization", "Bearer v-token"), ("content-type", "application/sdp")];
const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

/// As a browser's, shortened.
fn offer(direction: &str, codec: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:Yq7T\r\na=ice-pwd:8kZPcMVNBJLRNWKFRT0cFLtz\r\n\
         a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\n\
         a=setup:actpass\r\na=mid:0\r\na={direction}\r\na=rtcp-mux\r\na=rtpmap:96 {codec}/90000\r\n\
         a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n"
    )
}

impl World {
    /// Asks the WebRTC port from elsewhere.
    async fn signal(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        ask(&self.players, ELSEWHERE, method, path, headers, body).await
    }

    async fn watch(&self) -> Reply {
        self.signal(Method::POST, "/house/cam/whep", VIEWER, &offer("recvonly", "H264"))
            .await
    }
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_viewer_is_answered_and_ends_its_session() {
    let world = World::new();
    let _publisher = world.publish("house/cam", None);
    let reply = world.watch().await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
    assert_eq!(header(&reply, "content-type"), "application/sdp");
    assert_eq!(header(&reply, "accept-patch"), "application/trickle-ice-sdpfrag");
    assert_eq!(header(&reply, "access-control-allow-origin"), "*");
    assert_eq!(
        header(&reply, "access-control-expose-headers"),
        "Location, ETag, Link, Accept-Patch"
    );
    assert!(header(&reply, "etag").starts_with('"'));
    let location = header(&reply, "location");
    let secret = location.strip_prefix("/house/cam/whep/").unwrap();
    assert!(
        secret.len() == 32 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{secret}"
    );
    assert!(reply.text.contains("a=setup:passive\r\n") && reply.text.contains("a=ice-lite\r\n"));
    // Sound is not offered, which is said.
    assert!(reply.text.contains("a=x-sightline-left-out:G.711"), "{}", reply.text);

    // No credential: the URL is one. Of that session, that kind and that stream alone.
    for wrong in [
        format!("/house/cam/whip/{secret}"),
        format!("/other/whep/{secret}"),
        format!("/house/cam/whep/{secret}0"),
    ] {
        assert_eq!(
            world.signal(Method::DELETE, &wrong, &[], "").await.code(),
            "no-such-session",
            "{wrong}"
        );
    }
    let ended = world.signal(Method::DELETE, location, &[], "").await;
    assert_eq!(ended.status, StatusCode::OK);
    let again = world.signal(Method::DELETE, location, &[], "").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    let patched = world.signal(Method::PATCH, location, &[FRAGMENT], "a=mid:0").await;
    assert_eq!(patched.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_dashboards_port_has_it_below_live() {
    let world = World::new();
    let _publisher = world.publish("house/cam", None);
    let reply = ask(
        &world.dashboard,
        ELSEWHERE,
        Method::POST,
        "/live/house/cam/whep",
        VIEWER,
        &offer("recvonly", "H264"),
    )
    .await;
    assert!(
        header(&reply, "location").starts_with("/live/house/cam/whep/"),
        "{reply:?}"
    );
    let location = header(&reply, "location");
    let ended = ask(&world.dashboard, ELSEWHERE, Method::DELETE, location, &[], "").await;
    assert_eq!(ended.status, StatusCode::OK);
}

#[tokio::test]
async fn fragments_are_noted_and_start_ice_anew() {
    let world = World::new();
    let _publisher = world.publish("house/cam", None);
    let reply = world.watch().await;
    let (location, etag) = (header(&reply, "location"), header(&reply, "etag").to_owned());
    let same = "a=ice-ufrag:Yq7T\r\na=ice-pwd:8kZPcMVNBJLRNWKFRT0cFLtz\r\nm=audio 9 RTP/AVP 0\r\na=candidate:1 1 udp 1 10.0.0.1 5 typ host\r\n";
    let other = same.replace("Yq7T", "Zzzz");
    let patch = |headers: Vec<(&'static str, String)>, body: String| {
        let (world, location) = (&world, location.to_owned());
        async move {
            let mut all = vec![FRAGMENT];
            all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            world.signal(Method::PATCH, &location, &all, &body).await
        }
    };
    let noted = patch(vec![], same.to_owned()).await;
    assert_eq!((noted.status, noted.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(
        patch(vec![("if-match", etag.clone())], same.to_owned()).await.status,
        StatusCode::NO_CONTENT
    );
    let wrong = patch(vec![("if-match", "\"else\"".to_owned())], same.to_owned()).await;
    assert_eq!(
        (wrong.status, wrong.code()),
        (StatusCode::PRECONDITION_FAILED, "other-ice".to_owned())
    );
    let restarted = patch(vec![("if-match", "*".to_owned())], other.clone()).await;
    assert_eq!(restarted.status, StatusCode::OK, "{}", restarted.text);
    assert_eq!(header(&restarted, "content-type"), "application/trickle-ice-sdpfrag");
    assert!(
        restarted.text.contains("a=ice-ufrag:") && restarted.text.contains("a=candidate:"),
        "{}",
        restarted.text
    );
    let newer = header(&restarted, "etag").to_owned();
    assert_ne!(newer, etag);
    assert_eq!(
        patch(vec![("if-match", etag)], other.clone()).await.status,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(
        patch(vec![("if-match", newer)], other).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        patch(vec![], "nonsense".to_owned()).await.status,
        StatusCode::BAD_REQUEST
    );
    let untyped = world
        .signal(Method::PATCH, location, &[("content-type", "text/plain")], same)
        .await;
    assert_eq!(untyped.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[rstest]
#[case::no_stream("/other/whep", VIEWER, "H264", 404, "no-such-stream")]
#[case::no_codec("/house/cam/whep", VIEWER, "VP8", 400, "bad-offer")]
#[case::no_credential("/house/cam/whep", &[("content-type", "application/sdp")], "H264", 401, "credential-missing")]
#[case::publisher("/house/cam/whep", PUBLISHER, "H264", 403, "forbidden")]
#[case::viewer("/house/cam/whip", VIEWER, "H264", 403, "forbidden")]
#[case::no_type("/house/cam/whep", &[("authorization", "Bearer v-token")], "H264", 415, "wrong-type")]
#[case::json("/house/cam/whep", &[("authorization", "Bearer v-token"), ("content-type", "application/json")], "H264", 415, "wrong-type")]
#[case::not_accepted(
    "/house/cam/whep",
    &[("authorization", "Bearer v-token"), ("content-type", "application/sdp"), ("accept", "application/json")],
    "H264", 406, "not-acceptable"
)]
#[tokio::test]
async fn what_is_wrong_is_told(
    #[case] path: &str,
    #[case] headers: &[(&str, &str)],
    #[case] codec: &str,
    #[case] status: u16,
    #[case] code: &str,
) {
    let world = World::new();
    let _publisher = world.publish("house/cam", None);
    let reply = world
        .signal(Method::POST, path, headers, &offer("recvonly", codec))
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.code()),
        (status, code.to_owned()),
        "{}",
        reply.text
    );
    if code == "bad-offer" {
        assert!(reply.text.contains("the offer has VP8"), "{}", reply.text);
    }
}

#[tokio::test]
async fn rubbish_and_too_much_are_refused() {
    let world = World::new();
    let _publisher = world.publish("house/cam", None);
    for body in ["", "v=0", "rubbish", "{\"type\":\"offer\"}"] {
        let reply = world.signal(Method::POST, "/house/cam/whep", VIEWER, body).await;
        assert_eq!(
            (reply.status, reply.code()),
            (StatusCode::BAD_REQUEST, "bad-offer".to_owned()),
            "{body}"
        );
    }
    let large = offer("recvonly", "H264") + &"a=x\r\n".repeat(30_000);
    let reply = world.signal(Method::POST, "/house/cam/whep", VIEWER, &large).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn methods_that_are_none_and_what_is_accepted() {
    let world = World::new();
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::PATCH] {
        let reply = world.signal(method.clone(), "/house/cam/whep", VIEWER, "").await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(header(&reply, "allow"), "POST, OPTIONS");
    }
    for (path, name, accepted) in [
        ("/house/cam/whep", "accept-post", "application/sdp"),
        ("/house/cam/whip", "accept-post", "application/sdp"),
        ("/house/cam/whep/abc", "accept-patch", "application/trickle-ice-sdpfrag"),
    ] {
        let plain = world.signal(Method::OPTIONS, path, &[], "").await;
        assert_eq!(
            (plain.status, header(&plain, name)),
            (StatusCode::NO_CONTENT, accepted),
            "{path}"
        );
        let preflight = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "POST"),
        ];
        let asked = world.signal(Method::OPTIONS, path, &preflight, "").await;
        assert_eq!(asked.status, StatusCode::NO_CONTENT);
        assert!(
            header(&asked, "access-control-allow-headers").contains("If-Match"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn there_is_a_limit_and_room_again_after_it() {
    let world = World::with(Wishes {
        webrtc_sessions: 2,
        ..Wishes::default()
    });
    let _publisher = world.publish("house/cam", None);
    let first = world.watch().await;
    let other = world
        .signal(Method::POST, "/mine/whip", PUBLISHER, &offer("sendonly", "H264"))
        .await;
    assert_eq!(
        (first.status, other.status),
        (StatusCode::CREATED, StatusCode::CREATED),
        "{}",
        other.text
    );
    let full = world.watch().await;
    assert_eq!(
        (full.status, full.code()),
        (StatusCode::SERVICE_UNAVAILABLE, "full".to_owned())
    );
    assert_eq!(header(&full, "retry-after"), "5");
    assert_eq!(
        world
            .signal(Method::DELETE, header(&first, "location"), &[], "")
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(world.watch().await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_publisher_takes_a_name_and_gives_it_back() {
    let world = World::new();
    let reply = world
        .signal(Method::POST, "/mine/whip", PUBLISHER, &offer("sendonly", "H264"))
        .await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
    assert!(reply.text.contains("a=recvonly"), "{}", reply.text);
    let stream = world.hub.stream(&"mine".parse().unwrap(), world.clock.now()).unwrap();
    assert_eq!(stream.publisher().unwrap().info.protocol, "WebRTC");
    let ended = world.signal(Method::DELETE, header(&reply, "location"), &[], "").await;
    assert_eq!(ended.status, StatusCode::OK);
    // The task lets go of the stream right after its session is gone.
    let begun = std::time::Instant::now();
    while matches!(stream.state(), media::hub::State::Live) {
        assert!(begun.elapsed() < PATIENCE, "the stream is still published");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_stream_that_was_there_is_said_to_have_been() {
    let world = World::new();
    let publisher = world.publish("house/cam", None);
    drop(publisher);
    world.hub.end(&"house/cam".parse().unwrap());
    let reply = world.watch().await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert!(reply.text.contains("last seen"), "{}", reply.text);
}
