//! Exports over HTTP: who may order, see and delete them, what is refused, their files.

use std::time::{Duration, Instant};

use super::*;
use crate::record::library::made::{Made, NOON_90K, NOON_US, pictures};

const VIEWER: (&str, &str) = ("authorization", "Bearer v-token");
const ADMIN: (&str, &str) = ("authorization", "Bearer a-token");
const JSON: (&str, &str) = ("content-type", "application/json");

/// Eight seconds of one camera from noon on, with its exports.
fn world() -> (World, Made) {
    let made = Made::new();
    let (track, frames) = pictures(8, 25, "160x120");
    made.record("house/door", NOON_90K, &[track], frames, Duration::from_secs(3));
    let recorder = made.recorder.clone();
    let clock: Arc<dyn Clock> = Arc::new(SimClock::at(WallTime::from_unix_micros(NOON_US + 86_400_000_000)));
    let hub = Hub::new(Limits::default());
    let events = crate::events::Events::new(&hub, Arc::clone(&clock));
    let world = World::with(Wishes {
        library: Some(made.library()),
        exports: Some(Exports::new(
            move || Some(recorder.clone()),
            None,
            events,
            Arc::clone(&clock),
            || jiff::tz::TimeZone::UTC,
        )),
        clock,
        ..Wishes::default()
    });
    (world, made)
}

async fn post(world: &World, who: (&str, &str), body: &str) -> Reply {
    ask(
        &world.dashboard,
        ELSEWHERE,
        Method::POST,
        "/api/v1/exports",
        &[who, JSON],
        body,
    )
    .await
}

async fn done(world: &World, id: &str) -> Value {
    let begun = Instant::now();
    loop {
        let reply = world
            .get(&format!("/api/v1/exports/{}", id.replace('/', "%2F")), &[VIEWER])
            .await;
        let export = reply.json();
        match export["state"].as_str() {
            Some("done" | "failed") => return export,
            _ => assert!(begun.elapsed() < Duration::from_secs(60), "{export}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_ordered_seen_sent_and_deleted() {
    let (world, _made) = world();
    let body =
        r#"{"camera":"house/door","start":"2026-11-22T12:00:02.2Z","duration":3.3,"exact":true,"name":"wer läutet"}"#;
    assert_eq!(post(&world, VIEWER, body).await.status, StatusCode::FORBIDDEN);
    let reply = post(&world, ADMIN, body).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    let ordered = reply.json()["exports"][0].clone();
    assert_eq!(ordered["id"], "house/door@1");
    assert!(matches!(ordered["state"].as_str(), Some("queued" | "running" | "done")));
    let export = done(&world, "house/door@1").await;
    assert_eq!(export["state"], "done", "{export}");
    assert_eq!(export["percent"], 100);
    assert_eq!(export["covers"]["start"], "2026-11-22T12:00:02.2Z");
    assert_eq!(export["duration_ms"], 83 * 40);
    assert_eq!(export["url"], "/api/v1/exports/house%2Fdoor@1/media");
    let listed = world.get("/api/v1/exports", &[VIEWER]).await.json();
    assert_eq!(listed["exports"], serde_json::json!([export]));
    // Whole, in part, as it is known.
    let url = export["url"].as_str().unwrap();
    let head = async |url: &str| world.ask(ELSEWHERE, Method::HEAD, url, &[VIEWER]).await;
    let whole = head(url).await;
    assert_eq!(whole.status, StatusCode::OK);
    assert_eq!(
        whole.headers["content-length"],
        export["size_bytes"].to_string().as_str()
    );
    assert_eq!(
        whole.headers["content-disposition"],
        "inline; filename=\"wer l_utet.mp4\"; filename*=UTF-8''wer%20l%C3%A4utet.mp4"
    );
    let part = world.get(url, &[VIEWER, ("range", "bytes=4-7")]).await;
    assert_eq!((part.status, &*part.text), (StatusCode::PARTIAL_CONTENT, "ftyp"));
    let etag = whole.headers["etag"].to_str().unwrap().to_owned();
    let known = world.get(url, &[VIEWER, ("if-none-match", &etag)]).await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    let kept = head(&format!("{url}?download=1")).await;
    assert!(
        kept.headers["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment;")
    );
    // Whoever may see another camera alone sees nothing of it, and is not told whether it is there.
    for (stream, status) in [("house/door", 200), ("yard", 403)] {
        world.with_account("anna", "of-one", stream);
        let who = "Bearer anna:of-one".to_owned();
        for path in [url, "/api/v1/exports/house%2Fdoor@1"] {
            let reply = world
                .ask(ELSEWHERE, Method::HEAD, path, &[("authorization", &who)])
                .await;
            assert_eq!(reply.status.as_u16(), status, "{path}");
        }
    }
    let delete = async |who| {
        let path = "/api/v1/exports/house%2Fdoor@1";
        world.ask(ELSEWHERE, Method::DELETE, path, &[who]).await.status.as_u16()
    };
    assert_eq!(
        [delete(VIEWER).await, delete(ADMIN).await, delete(ADMIN).await],
        [403, 204, 404]
    );
    assert_eq!(world.get(url, &[VIEWER]).await.code(), "no-such-export");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exported_is_refused() {
    let (world, _made) = world();
    let long = "x".repeat(201);
    for body in [
        "",
        "{}",
        r#"{"camera":"door","start":0}"#,
        r#"{"camera":"door","start":0,"duration":0}"#,
        r#"{"camera":"door","start":0,"duration":-1}"#,
        r#"{"camera":"door","start":0,"duration":86401}"#,
        r#"{"camera":"door","start":0,"duration":31622401,"kind":"timelapse"}"#,
        r#"{"camera":"door","start":0,"end":0}"#,
        r#"{"camera":"door","start":0,"end":5,"duration":1}"#,
        r#"{"camera":"door","start":"yesterday","duration":1}"#,
        r#"{"cameras":[],"start":0,"duration":1}"#,
        r#"{"cameras":["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q"],"start":0,"duration":1}"#,
        r#"{"camera":"door","start":0,"duration":1,"speed":60}"#,
        r#"{"camera":"door","start":0,"duration":1,"kind":"timelapse","speed":1}"#,
        r#"{"camera":"door","start":0,"duration":1,"kind":"timelapse","speed":10001}"#,
        r#"{"camera":"door","start":0,"duration":1,"kind":"timelapse","fps":61}"#,
        r#"{"camera":"door","start":0,"duration":1,"kind":"gif"}"#,
        r#"{"camera":"door","start":0,"duration":1,"name":"../x"}"#,
        r#"{"camera":"door","start":0,"duration":1,"name":".x"}"#,
        r#"{"camera":"door","start":0,"duration":1,"name":"nul"}"#,
        &format!(r#"{{"camera":"door","start":0,"duration":1,"name":"{long}"}}"#),
        r#"{"camera":"door","start":0,"duration":1,"more":1}"#,
    ] {
        let reply = post(&world, ADMIN, body).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::BAD_REQUEST, "bad-query"),
            "{body}"
        );
    }
    for path in [
        "/api/v1/exports/door",
        "/api/v1/exports/door@x/media",
        "/api/v1/exports/..%2Fdoor@1",
    ] {
        let reply = world.get(path, &[VIEWER]).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::BAD_REQUEST, "bad-export"),
            "{path}"
        );
    }
    assert_eq!(
        world.get("/api/v1/exports/door@1", &[VIEWER]).await.code(),
        "no-such-export"
    );
    // What is not recorded is told when it is looked for.
    let reply = post(
        &world,
        ADMIN,
        r#"{"cameras":["door","house/door"],"start":0,"duration":1}"#,
    )
    .await;
    assert_eq!(reply.json()["exports"].as_array().unwrap().len(), 2);
    let export = done(&world, "door@1").await;
    assert_eq!(export["state"], "failed");
    assert!(
        export["reason"].as_str().unwrap().contains("nothing is recorded"),
        "{export}"
    );
    assert_eq!(
        world.get("/api/v1/exports/door@1/media", &[VIEWER]).await.code(),
        "export-not-done"
    );
}

/// A clip that is sent as it is asked for takes a file that is gone for a gap, as an export does.
#[tokio::test(flavor = "multi_thread")]
async fn a_clip_goes_without_a_file_that_is_gone() {
    let (world, made) = world();
    let asked = async |start: u32| {
        let path = format!("/api/v1/recordings/house%2Fdoor/clip.mp4?start=2026-11-22T12:00:0{start}Z&duration=7");
        let reply = world.ask(ELSEWHERE, Method::HEAD, &path, &[VIEWER]).await;
        let name = reply.headers.get("content-disposition");
        (
            reply.status.as_u16(),
            name.map(|name| name.to_str().unwrap().to_owned()).unwrap_or_default(),
        )
    };
    let folder = made.root().join("house+door/2026-11-22");
    std::fs::remove_file(folder.join("segment_20261122_120000.mp4")).unwrap();
    let (status, name) = asked(1).await;
    assert_eq!(status, 200);
    let zone = jiff::tz::TimeZone::system();
    let begins = jiff::Timestamp::from_microsecond(NOON_US + 3_000_000)
        .unwrap()
        .to_zoned(zone);
    assert!(name.contains(&begins.strftime("%H%M%S").to_string()), "{name}");
    std::fs::remove_file(folder.join("segment_20261122_120006.mp4")).unwrap();
    assert_eq!(asked(4).await.0, 200);
    std::fs::remove_file(folder.join("segment_20261122_120003.mp4")).unwrap();
    assert_eq!(asked(1).await.0, 503);
}
