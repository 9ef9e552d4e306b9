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
        let request = request.body(Body::empty()).unwrap();
        let peer = Peer::new(ELSEWHERE.parse().unwrap(), "192.0.2.1:8000".parse().unwrap(), false);
        let body = world.dashboard.answer(peer, request).await.into_body();
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

#[tokio::test]
async fn sources_tell_where_they_are_to_those_alone_who_steer() {
    let world = World::new();
    // Bound, and let go again: nobody answers there.
    let closed = net::listen_tcp(Some(Ipv4Addr::LOCALHOST.into()), 0, "").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let table = format!("source = \"rtsp://admin:canary@127.0.0.1:{port}/cam?pwd=canary\"");
    let settings = [("door".parse().unwrap(), toml::from_str(&table).unwrap())].into();
    world.shared.streams.set(&settings);
    let name: StreamName = "door".parse().unwrap();
    let found = world.shared.streams.find(&name);
    let reply = world.get("/api/v1/sources", ADMIN).await;
    assert_eq!(reply.json()["sources"][0]["stream"], "door", "{reply:?}");
    assert!(
        tokio::time::timeout(Duration::from_millis(500), found).await.is_err(),
        "it waits"
    );
    let state = |reply: &Reply| reply.json()["sources"][0].clone();
    let admin = loop {
        let reply = world.get("/api/v1/sources", ADMIN).await;
        if state(&reply)["state"] == "waiting" {
            break reply;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(!admin.text.contains("canary"), "{}", admin.text);
    let admin = state(&admin);
    let shown = format!("rtsp://127.0.0.1:{port}/cam?pwd=***");
    assert_eq!(
        (admin["url"].as_str(), admin["urls"][0].as_str()),
        (Some(&*shown), Some(&*shown))
    );
    assert!(
        admin["why"]
            .as_str()
            .unwrap()
            .starts_with("cannot connect to 127.0.0.1"),
        "{admin}"
    );
    assert!(admin["until"].is_string() && admin["on_demand"] == false, "{admin}");
    let viewer = world.get("/api/v1/sources", VIEWER).await;
    assert!(!viewer.text.contains("127.0.0.1"), "{}", viewer.text);
    assert!(state(&viewer)["why"].is_null() || state(&viewer)["why"] == "its source cannot be reached");
}

#[tokio::test]
async fn forwards_tell_where_streams_go_to_those_who_steer() {
    let world = World::new();
    let closed = net::listen_tcp(Some(Ipv4Addr::LOCALHOST.into()), 0, "").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let table = format!("forward = [\"rtsp://u:canary@127.0.0.1:{port}/copy?token=canary\"]");
    let settings = [("door".parse().unwrap(), toml::from_str(&table).unwrap())].into();
    let forwards = &world.shared.settings.forwards;
    forwards.set(&settings);
    tokio::spawn(Arc::clone(forwards).run());
    let idle = world.get("/api/v1/forwards", ADMIN).await;
    let shown = format!("rtsp://127.0.0.1:{port}/copy?token=***");
    assert_eq!(
        idle.json(),
        serde_json::json!({ "forwards": [{
            "stream": "door", "url": shown, "state": "idle", "bytes": 0, "frames": 0, "frames_dropped": 0, "jumps": 0
        }] })
    );
    assert_eq!(
        world.get("/api/v1/forwards", VIEWER).await.status,
        StatusCode::FORBIDDEN
    );
    let _publisher = world.publish("door", None);
    let waiting = loop {
        let reply = world.get("/api/v1/forwards", ADMIN).await;
        if reply.json()["forwards"][0]["state"] == "waiting" {
            break reply;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(!waiting.text.contains("canary"), "{}", waiting.text);
    let waiting = waiting.json()["forwards"][0].clone();
    assert!(
        waiting["why"]
            .as_str()
            .unwrap()
            .starts_with("cannot connect to 127.0.0.1")
            && waiting["until"].is_string(),
        "{waiting}"
    );
    let metrics = world.get("/metrics", ADMIN).await.text;
    assert!(
        metrics.contains("sightline_forwards{state=\"waiting\"} 1\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn it_is_ready_from_the_first_picture_to_the_end() {
    let world = World::with(Wishes {
        soon: vec!["door".parse().unwrap()],
        ..Wishes::default()
    });
    let starting = world.get("/readyz", &[]).await;
    assert_eq!(
        (starting.status, starting.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "not-ready")
    );
    assert!(
        starting.text.contains("\\\"door\\\"") && starting.header("retry-after") == "1",
        "{starting:?}"
    );
    let _publisher = world.publish("door", None);
    assert_eq!(world.get("/readyz", &[]).await.text, "{\"status\":\"ready\"}");
    world.end().await;
    let ending = world.get("/readyz", &[]).await;
    assert!(
        ending.status == StatusCode::SERVICE_UNAVAILABLE && ending.text.contains("ends"),
        "{ending:?}"
    );
    assert_eq!(world.get("/healthz", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn sessions_are_listed_in_parts() {
    let world = World::new();
    let _publishers = ["a", "b", "c"].map(|name| world.publish(name, None));
    let part = |path: &'static str| {
        let world = &world;
        async move { world.get(path, ADMIN).await.json() }
    };
    let ids = |page: &Value| {
        let sessions = page["sessions"].as_array().unwrap().iter();
        sessions
            .map(|session| session["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let all = part("/api/v1/viewers").await;
    assert_eq!(
        (ids(&all), &all["total"], all["next"].is_null()),
        (vec![2, 4, 6], &3.into(), true)
    );
    let first = &all["sessions"][0];
    assert_eq!(
        (first["stream"].as_str(), first["role"].as_str()),
        (Some("a"), Some("viewer")),
        "{first}"
    );
    assert_eq!(first["codecs"], serde_json::json!(["H.264", "G.711"]));
    assert_eq!(first["remote"], "192.0.2.9:6001");
    let begin = part("/api/v1/viewers?limit=2").await;
    assert_eq!((ids(&begin), &begin["next"]), (vec![2, 4], &4.into()));
    let rest = part("/api/v1/viewers?limit=2&after=4").await;
    assert_eq!((ids(&rest), rest["next"].is_null()), (vec![6], true));
    assert_eq!(ids(&part("/api/v1/publishers?limit=0").await), [1], "one at least");
    assert_eq!(ids(&part("/api/v1/streams/b/viewers").await), [4]);
    assert_eq!(
        world.get("/api/v1/streams/x/viewers", ADMIN).await.code(),
        "no-such-stream"
    );
    for wrong in ["limit=x", "after=-1"] {
        assert_eq!(
            world.get(&format!("/api/v1/viewers?{wrong}"), ADMIN).await.code(),
            "bad-page"
        );
    }
}

#[tokio::test]
async fn a_session_is_told_to_end_and_waited_for() {
    let world = World::new();
    let _publisher = world.publish("door", None);
    let stream = world.hub.stream(&"door".parse().unwrap(), world.clock.now()).unwrap();
    let delete = |path: &'static str| world.ask(ELSEWHERE, Method::DELETE, path, ADMIN);
    for (path, code) in [
        ("/api/v1/viewers/99", "no-such-session"),
        ("/api/v1/viewers/x", "no-such-session"),
        ("/api/v1/viewers/0", "no-such-session"),
        // It publishes.
        ("/api/v1/viewers/1", "no-such-session"),
        ("/api/v1/publishers/1", "no-session"),
    ] {
        assert_eq!(delete(path).await.code(), code, "{path}");
    }
    let add = |leash: bool| {
        let stats = Arc::new(SessionStats::new(SessionInfo {
            stream: "door".parse().unwrap(),
            role: SessionRole::Viewer,
            protocol: "test",
            remote: None,
            agent: None,
            since: world.clock.wall(),
        }));
        let viewing = Arc::new(Mutex::new(Some(stream.add_viewer(Arc::clone(&stats)).unwrap())));
        let ends = Arc::clone(&viewing);
        stats.leash.tie(move || leash && ends.lock().unwrap().take().is_some());
        (stats, viewing)
    };
    let (ends, _third) = add(true);
    let (busy, _fourth) = add(false);
    assert_eq!((ends.id.get(), busy.id.get()), (3, 4));
    assert_eq!(delete("/api/v1/viewers/3").await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete("/api/v1/viewers/3").await.code(), "no-such-session");
    assert_eq!(delete("/api/v1/viewers/4").await.code(), "not-now");
    assert_eq!(stream.viewers(), 2);
}
