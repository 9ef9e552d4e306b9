//! Cameras before they are streams: their logins, and trying them out.

use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::auth::Mode;
use crate::source::tests::Camera;

const CANARY: &str = "canary-of-a-camera";

impl World {
    async fn administer(&self, method: Method, path: &str, body: &Value) -> Reply {
        let headers = [
            ("authorization", "Bearer a-token"),
            ("content-type", "application/json"),
        ];
        ask(
            &self.dashboard,
            ELSEWHERE,
            method,
            &format!("/api/v1/{path}"),
            &headers,
            &body.to_string(),
        )
        .await
    }

    async fn probe(&self, body: Value) -> Value {
        let reply = self.administer(Method::POST, "probe", &body).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        assert!(!reply.text.contains(CANARY), "{}", reply.text);
        reply.json()
    }
}

#[tokio::test]
async fn logins_are_written_and_never_read() {
    let world = World::new();
    let source = "rtsp://CAM.local/stream1";
    let new = json!({"name": "garden", "user": "admin", "password": CANARY, "source": source});
    let made = world.administer(Method::POST, "credentials", &new).await;
    let expected = json!({
        "name": "garden", "user": "admin", "used_by": [],
        "origin": {"scheme": "rtsp", "host": "cam.local", "port": 554},
    });
    assert_eq!((made.status, made.json()), (StatusCode::CREATED, expected.clone()));
    let again = world.administer(Method::POST, "credentials", &new).await;
    assert_eq!(
        (again.status, again.code().as_str()),
        (StatusCode::CONFLICT, "name-taken")
    );

    let table = json!({"stream": {"garden": {"source": source, "credential": "garden", "on_demand": true}}});
    let set = world.administer(Method::PATCH, "config", &table).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    let in_use = world
        .administer(Method::DELETE, "credentials/garden", &Value::Null)
        .await;
    assert_eq!(
        (in_use.status, in_use.code().as_str()),
        (StatusCode::CONFLICT, "credential-in-use")
    );
    let listed = world.administer(Method::GET, "credentials", &Value::Null).await;
    assert_eq!(listed.json()["credentials"][0]["used_by"], json!(["garden"]));

    let login = json!({"user": "viewer", "password": CANARY, "source": "rtsp://cam.local:8554/stream1"});
    let replaced = world.administer(Method::PUT, "credentials/garden", &login).await;
    assert_eq!(replaced.json()["origin"]["port"], 8_554, "{}", replaced.text);
    let unknown = world.administer(Method::PUT, "credentials/yard", &login).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);

    let shown = world.administer(Method::GET, "config", &Value::Null).await;
    for reply in [&made, &again, &set, &in_use, &listed, &replaced, &shown] {
        assert!(!reply.text.contains(CANARY), "{}", reply.text);
    }
    let gone = json!({"stream": {"garden": null}});
    assert_eq!(
        world.administer(Method::PATCH, "config", &gone).await.status,
        StatusCode::OK
    );
    let removed = world
        .administer(Method::DELETE, "credentials/garden", &Value::Null)
        .await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_cannot_be_a_login_or_a_camera_is_refused() {
    let world = World::new();
    let login = |source: &str| json!({"name": "a", "user": "u", "password": "p", "source": source});
    for (path, body, status, code) in [
        ("credentials", login("nonsense"), 400, "bad-source"),
        ("credentials", login("exec:touch /tmp/x"), 403, "programs-refused"),
        (
            "credentials",
            json!({"name": "a b", "user": "u", "password": "p", "source": "rtsp://c/"}),
            400,
            "bad-name",
        ),
        (
            "credentials",
            json!({"name": "a", "user": "", "password": "p", "source": "rtsp://c/"}),
            400,
            "bad-request",
        ),
        ("probe", json!({"source": "exec:touch /tmp/x"}), 403, "programs-refused"),
        ("probe", json!({"source": "run:touch /tmp/x"}), 403, "programs-refused"),
        ("probe", json!({"source": "file:/etc/passwd"}), 400, "bad-source"),
        (
            "probe",
            json!({"source": "rtsp://c/", "credential": "a", "account": {"user": "u"}}),
            400,
            "bad-request",
        ),
        ("discover", json!({"where": "everywhere"}), 400, "bad-request"),
    ] {
        let reply = world.administer(Method::POST, path, &body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (status, code),
            "{path} {body}: {}",
            reply.text
        );
    }
}

#[tokio::test]
async fn a_camera_is_tried_out_and_nothing_is_saved() {
    let camera = Camera::start(0, Mode::Single(Secret::new(CANARY)));
    let world = World::new();
    let source = format!("rtsp://127.0.0.1:{}/cam", camera.port);
    let needed = world.probe(json!({"source": source})).await;
    assert_eq!(needed["failed"]["code"], "login-needed", "{needed}");
    let wrong = json!({"source": source, "account": {"user": "viewer", "password": "wrong"}});
    let wrong = world.probe(wrong).await;
    assert_eq!(wrong["failed"]["code"], "login-wrong", "{wrong}");
    let account = json!({"user": "viewer", "password": CANARY});
    let missing = json!({"source": format!("{source}2"), "account": account});
    assert_eq!(world.probe(missing).await["failed"]["code"], "no-such-path");

    let right = world.probe(json!({"source": source, "account": account})).await;
    let found = &right["found"];
    assert_eq!(
        (&found["video"]["codec"], &found["sound"]),
        (&json!("H.264"), &Value::Null),
        "{right}"
    );
    // A keyframe each tenth.
    assert!((20.0..40.0).contains(&found["fps"].as_f64().unwrap()), "{right}");
    assert!(
        (0.2..0.6).contains(&found["keyframe_seconds"].as_f64().unwrap()),
        "{right}"
    );
    assert!(world.hub.list().is_empty() && !world.state.path().join("sightline.toml").exists());
    // Whoever closes it is told: no viewer is left behind.
    let until = std::time::Instant::now() + PATIENCE;
    let viewers = || {
        camera
            .hub
            .stream(&"cam".parse().unwrap(), SystemClock.now())
            .map_or(0, |stream| stream.viewers())
    };
    while viewers() > 0 {
        assert!(std::time::Instant::now() < until, "the camera is left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_login_that_is_kept_is_for_one_camera() {
    let camera = Camera::start(0, Mode::Single(Secret::new(CANARY)));
    let world = World::new();
    let source = format!("rtsp://127.0.0.1:{}/cam", camera.port);
    let new = json!({"name": "garden", "user": "viewer", "password": CANARY, "source": source});
    assert_eq!(
        world.administer(Method::POST, "credentials", &new).await.status,
        StatusCode::CREATED
    );
    let found = world.probe(json!({"source": source, "credential": "garden"})).await;
    assert_eq!(found["failed"], Value::Null, "{found}");
    // Whoever listens elsewhere is not even connected to.
    let thief = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("rtsp://127.0.0.1:{}/cam", thief.local_addr().unwrap().port());
    let refused = world.probe(json!({"source": elsewhere, "credential": "garden"})).await;
    assert_eq!(refused["failed"]["code"], "credential-elsewhere", "{refused}");
    let unknown = world.probe(json!({"source": source, "credential": "yard"})).await;
    assert_eq!(unknown["failed"]["code"], "credential-unknown", "{unknown}");
    let connected = tokio::time::timeout(Duration::from_millis(100), thief.accept()).await;
    assert!(connected.is_err());
    // Saved, it plays by its login; moved, it is not asked.
    let table = |source: &str| json!({"stream": {"garden": {"source": source, "credential": "garden"}}});
    for (source, wanted) in [
        (&source, "\"running\""),
        (&elsewhere, "is not shown to rtsp://127.0.0.1"),
    ] {
        let set = world.administer(Method::PATCH, "config", &table(source)).await;
        assert_eq!(set.status, StatusCode::OK, "{}", set.text);
        world.shared.streams.set(&world.shared.settings.live.now().stream);
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let told = world.administer(Method::GET, "sources", &Value::Null).await;
            assert!(!told.text.contains(CANARY), "{}", told.text);
            let told = &told.json()["sources"][0];
            // Of the one before, until it is gone.
            if told.to_string().contains(wanted) && told["url"] == **source {
                break;
            }
            assert!(std::time::Instant::now() < until, "{told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let connected = tokio::time::timeout(Duration::from_millis(100), thief.accept()).await;
    assert!(connected.is_err());
}

/// One that takes connections and says nothing.
async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = format!("rtsp://127.0.0.1:{}/cam", listener.local_addr().unwrap().port());
    (listener, source)
}

#[tokio::test]
async fn two_are_tried_at_a_time_and_whoever_hangs_up_makes_room() {
    let world = Arc::new(World::new());
    let (listener, source) = silent().await;
    let asking = || {
        let (world, source) = (Arc::clone(&world), source.clone());
        tokio::spawn(async move { world.probe(json!({"source": source})).await })
    };
    let (one, _other) = (asking(), asking());
    let _connections = [listener.accept().await.unwrap(), listener.accept().await.unwrap()];
    let third = world
        .administer(Method::POST, "probe", &json!({"source": source}))
        .await;
    assert_eq!(
        (third.status, third.code().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "probes-busy")
    );
    assert!(third.header("retry-after").parse::<u32>().is_ok());
    one.abort();
    let until = std::time::Instant::now() + PATIENCE;
    while world.shared.probes.turn().is_none() {
        assert!(
            std::time::Instant::now() < until,
            "the turn of who hung up is free again"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_device_of_this_machine_is_tried_out_too() {
    let world = World::new();
    let missing = world.probe(json!({"source": "v4l2:/dev/video-of-nobody"})).await;
    assert_eq!(missing["failed"]["code"], "device-missing", "{missing}");
    let test = world.probe(json!({"source": "test"})).await;
    assert_eq!(test["found"]["video"]["width"], 640, "{test}");
    let picture = format!("/api/v1/{}", test["found"]["picture"].as_str().unwrap());
    let (status, headers, jpeg) = super::stills::bytes(&world, &picture, &[("authorization", "Bearer a-token")]).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &"image/jpeg".parse().unwrap())
    );
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.len() <= crate::source::probe::PICTURE_BYTES);
    let viewer = [("authorization", "Bearer v-token")];
    assert_eq!(world.get(&picture, &viewer).await.status, StatusCode::FORBIDDEN);
    let gone = format!("/api/v1/probe/{}/picture.jpg", "0".repeat(32));
    assert_eq!(
        world.get(&gone, &[("authorization", "Bearer a-token")]).await.code(),
        "not-there"
    );
}
