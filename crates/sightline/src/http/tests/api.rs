//! What the API says.

use super::*;

const VIEWER: &[(&str, &str)] = &[("authorization", "Bearer v-token")];
const ADMIN: &[(&str, &str)] = &[("authorization", "Bearer a-token")];

/// A world whose time stands still.
fn still() -> (World, SimClock) {
    let clock = SimClock::new();
    let world = World::with(Wishes {
        clock: Arc::new(clock.clone()),
        ..Wishes::default()
    });
    (world, clock)
}

fn pretty(reply: &Reply) -> String {
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (StatusCode::OK, "application/json"),
        "{reply:?}"
    );
    // A port that was free.
    let (before, rest) = reply.text.split_once("http://pi.local:").unwrap();
    let path = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let text = format!("{before}http://pi.local:PORT{path}");
    // Its order is that of the text, which is what people read.
    text.replace(",\"", ",\n\"").replace("{\"", "{\n\"")
}

#[tokio::test]
async fn streams_as_a_viewer_sees_them() {
    let (world, clock) = still();
    let empty = world.get("/api/v1/streams", VIEWER).await;
    assert_eq!(empty.text, "{\"streams\":[]}");
    let _publisher = world.publish("zerolatency", Some(&clock));
    insta::assert_snapshot!(pretty(&world.get("/api/v1/streams", VIEWER).await));
}

#[tokio::test]
async fn a_stream_as_its_operator_sees_it() {
    let (world, clock) = still();
    let _publisher = world.publish("house/door", Some(&clock));
    insta::assert_snapshot!(pretty(&world.get("/api/v1/streams/house%2Fdoor", ADMIN).await));
}

#[tokio::test]
async fn addresses_of_others_are_for_those_who_steer() {
    let (world, clock) = still();
    let _publisher = world.publish("door", Some(&clock));
    let seen = world.get("/api/v1/streams/door", VIEWER).await;
    assert!(
        !seen.text.contains("192.0.2.9") && !seen.text.contains("Lavf"),
        "{}",
        seen.text
    );
    assert!(seen.json().get("sessions").is_none());
}

#[tokio::test]
async fn a_publisher_that_is_gone_leaves_its_stream_held_and_then_nothing() {
    let (world, clock) = still();
    let publisher = world.publish("door", Some(&clock));
    publisher.close(clock.now());
    let held = world.get("/api/v1/streams/door", VIEWER).await.json();
    assert_eq!(
        (held["state"].as_str(), held["publisher"].is_null()),
        (Some("held"), true),
        "{held}"
    );
    clock.advance(Duration::from_secs(10));
    world.hub.poll(clock.now());
    let gone = world.get("/api/v1/streams/door", VIEWER).await;
    assert_eq!(gone.code(), "no-such-stream");
    assert!(
        gone.json()["detail"].as_str().unwrap().contains("last seen 10 s ago"),
        "{}",
        gone.text
    );
}

#[tokio::test]
async fn urls_name_the_host_that_the_client_used() {
    let (world, clock) = still();
    let _publisher = world.publish("door", Some(&clock));
    for (host, expected) in [
        ("192.168.1.5:8000", "rtsp://192.168.1.5:8554/door"),
        ("[fd00::1]:8000", "rtsp://[fd00::1]:8554/door"),
        ("cams.example", "rtsp://cams.example:8554/door"),
        ("\"><script>", "rtsp://192.0.2.1:8554/door"),
    ] {
        let mut request = Request::builder().uri("/api/v1/streams/door").header("host", host);
        request = request.header("authorization", "Bearer v-token");
        let mut request = request.body(Body::empty()).unwrap();
        let peer = Peer::new(ELSEWHERE.parse().unwrap(), "192.0.2.1:8000".parse().unwrap(), false);
        request.extensions_mut().insert(peer);
        let body = world.dashboard.clone().oneshot(request).await.unwrap().into_body();
        let bytes = body.collect().await.unwrap().to_bytes();
        let stream: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(stream["urls"]["rtsp"], expected);
    }
}

#[tokio::test]
async fn the_system_is_told() {
    let world = World::new();
    let _publisher = world.publish("door", None);
    let system = world.get("/api/v1/system", VIEWER).await.json();
    for field in [
        "cpu_percent",
        "memory_percent",
        "memory_used_mb",
        "memory_total_mb",
        "uptime_seconds",
    ] {
        assert!(system[field].is_number(), "{field}: {system}");
    }
    assert!(
        system.get("temperature_celsius").is_some() && system["network"]["sent_mbps"].is_number(),
        "{system}"
    );
    let program = &system["program"];
    assert_eq!(
        (program["streams"].as_u64(), program["viewers"].as_u64()),
        (Some(1), Some(1)),
        "{system}"
    );
    assert!(program["kept_bytes"].as_u64().unwrap() > 10_000, "{system}");
}

#[tokio::test]
async fn health_is_short() {
    let world = World::new();
    assert_eq!(world.get("/healthz", &[]).await.text, "{\"status\":\"ok\"}");
}
