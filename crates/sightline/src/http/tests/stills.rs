//! Pictures of streams and recordings, as they are asked for.

use super::*;
use crate::record::library::made::{Made, NOON_90K, NOON_US, pictures};

const VIEWER: (&str, &str) = ("authorization", "Bearer v-token");

fn world(made: &Made) -> World {
    World::with(Wishes {
        library: Some(made.library()),
        clock: Arc::new(SimClock::at(WallTime::from_unix_micros(NOON_US + 86_400_000_000))),
        ..Wishes::default()
    })
}

/// Eight seconds of a keyframe each.
fn made() -> Made {
    let made = Made::new();
    let (track, frames) = pictures(8, 25, "320x180");
    made.record("house/door", NOON_90K, &[track], frames, Duration::from_secs(3));
    made
}

pub(super) async fn bytes(world: &World, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
    let request = headers.iter().fold(
        Request::get(path).header("host", "pi.local:8000"),
        |request, (name, value)| request.header(*name, *value),
    );
    let request = request.body(Body::empty()).unwrap();
    let peer = Peer::new(ELSEWHERE.parse().unwrap(), "192.0.2.1:8000".parse().unwrap(), false);
    let response = world.dashboard.answer(peer, request).await;
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_newest_picture_of_a_stream() {
    let world = World::new();
    let (track, frames) = pictures(2, 25, "320x180");
    let name: StreamName = "house/door".parse().unwrap();
    let mut publisher = publish(&world.hub, &name, vec![track], &*world.clock);
    for frame in frames.into_iter().take(30) {
        publisher.publish(frame, world.clock.now()).unwrap();
    }
    let path = "/api/v1/streams/house%2Fdoor/snapshot.jpg";
    let (status, headers, jpeg) = bytes(&world, path, &[VIEWER]).await;
    assert_eq!(
        (status, field(&headers, "content-type")),
        (StatusCode::OK, "image/jpeg")
    );
    let picture = device::jpeg::decode(&jpeg).unwrap();
    assert_eq!((picture.width(), picture.height()), (320, 180));
    assert_eq!(field(&headers, "x-capture-time"), "2026-11-22T12:00:01Z");
    assert_eq!(field(&headers, "last-modified"), "Sun, 22 Nov 2026 12:00:01 GMT");
    assert_eq!(field(&headers, "cache-control"), "private, max-age=1");
    let known = ("if-none-match", field(&headers, "etag"));
    let (status, _, body) = bytes(&world, path, &[VIEWER, known]).await;
    assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));

    let (_, small, jpeg) = bytes(&world, &format!("{path}?width=160&quality=50"), &[VIEWER]).await;
    assert_eq!(device::jpeg::decode(&jpeg).unwrap().width(), 160);
    assert_ne!(field(&small, "etag"), field(&headers, "etag"));
    assert_eq!(world.shared.settings.stills.totals().decoded, 1);
    for wrong in ["width=15", "width=8193", "width=x", "quality=0", "quality=101"] {
        let reply = world.get(&format!("{path}?{wrong}"), &[VIEWER]).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::BAD_REQUEST, "bad-query"),
            "{wrong}"
        );
    }
    let metrics = world.get("/metrics", &[VIEWER]).await.text;
    assert!(metrics.contains("sightline_stills_decoded_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn where_there_is_no_picture_it_says_why() {
    let world = World::new();
    let reply = world.get("/api/v1/streams/nothing/snapshot.jpg", &[VIEWER]).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (StatusCode::NOT_FOUND, "no-such-stream")
    );
    // The pictures of this one are none.
    let _publisher = world.publish("broken", None);
    let reply = world.get("/api/v1/streams/broken/snapshot.jpg", &[VIEWER]).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "no-picture")
    );
    assert!(reply.headers.contains_key("retry-after"));
    let mut sound = Audio::new(TrackIndex(0), 0);
    let mut publisher = publish(
        &world.hub,
        &"radio".parse().unwrap(),
        vec![sound.track()],
        &*world.clock,
    );
    publisher
        .publish(sound.next_frame(world.clock.wall()), world.clock.now())
        .unwrap();
    let reply = world.get("/api/v1/streams/radio/snapshot.jpg", &[VIEWER]).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (StatusCode::NOT_FOUND, "no-pictures")
    );
}

#[tokio::test]
async fn the_picture_of_an_instant() {
    let made = made();
    let world = world(&made);
    let path = "/api/v1/recordings/house%2Fdoor/frame.jpg";
    let (status, headers, jpeg) = bytes(&world, &format!("{path}?at=2026-11-22T12:00:02.05Z"), &[VIEWER]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(device::jpeg::decode(&jpeg).unwrap().width(), 320);
    assert_eq!(field(&headers, "x-capture-time"), "2026-11-22T12:00:02.04Z");
    assert_eq!(field(&headers, "x-picture"), "exact");
    assert_eq!(field(&headers, "cache-control"), "private, max-age=3600");
    for (query, status, code) in [
        ("", StatusCode::BAD_REQUEST, "bad-query"),
        ("?at=yesterday", StatusCode::BAD_REQUEST, "bad-query"),
        ("?at=0&width=7", StatusCode::BAD_REQUEST, "bad-query"),
        ("?at=0", StatusCode::NOT_FOUND, "no-such-recording"),
    ] {
        let reply = world.get(&format!("{path}{query}"), &[VIEWER]).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{query}");
    }
}

#[tokio::test]
async fn a_strip_and_where_its_pictures_are() {
    let made = made();
    let world = world(&made);
    let range = "start=2026-11-22T12:00:00Z&end=2026-11-22T12:01:00Z";
    let path = format!("/api/v1/recordings/house%2Fdoor/strip.jpg?{range}&width=64");
    let (status, headers, jpeg) = bytes(&world, &path, &[VIEWER]).await;
    assert_eq!(status, StatusCode::OK);
    let sheet = device::jpeg::decode(&jpeg).unwrap();
    assert_eq!((sheet.width(), sheet.height()), (8 * 64, 36));
    assert_eq!(field(&headers, "x-capture-time"), "2026-11-22T12:00:00Z");
    assert_eq!(
        (field(&headers, "x-tile-size"), field(&headers, "x-tile-columns")),
        ("64x36", "8")
    );
    assert_eq!(field(&headers, "x-tile-times"), "0,1000,2000,3000,4000,5000,6000,7000");

    let index = world
        .get(&path.replace("strip.jpg", "strip.json"), &[VIEWER])
        .await
        .json();
    assert_eq!(
        (&index["width"], &index["height"], &index["kept"]),
        (&64.into(), &36.into(), &false.into())
    );
    let tiles = index["tiles"].as_array().unwrap();
    assert_eq!(tiles.len(), 8);
    assert_eq!(
        tiles[3],
        serde_json::json!({ "at": "2026-11-22T12:00:03Z", "x": 192, "y": 0 })
    );
    let (status, _, same) = bytes(&world, index["url"].as_str().unwrap(), &[VIEWER]).await;
    assert_eq!((status, same), (StatusCode::OK, jpeg));
    for (query, status, code) in [
        ("", StatusCode::BAD_REQUEST, "bad-query"),
        ("?start=1000&end=1000", StatusCode::BAD_REQUEST, "bad-query"),
        ("?start=1000&width=321", StatusCode::BAD_REQUEST, "bad-query"),
        ("?start=1000&tiles=121", StatusCode::BAD_REQUEST, "bad-query"),
        ("?start=1000&end=3601001", StatusCode::BAD_REQUEST, "too-long"),
        ("?start=1000", StatusCode::NOT_FOUND, "no-such-recording"),
    ] {
        for kind in ["jpg", "json"] {
            let path = format!("/api/v1/recordings/house%2Fdoor/strip.{kind}{query}");
            let reply = world.get(&path, &[VIEWER]).await;
            assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path}");
        }
    }
}
