//! LL-HLS as players and caches see it.

use std::io::Read as _;

use bytes::Bytes;
use media::hub::Stream;

use super::*;
use crate::auth::Mode;

/// A stream that a test gives its pictures.
pub(super) struct Live {
    publisher: Publisher,
    video: Video,
    clock: Arc<dyn Clock>,
}

impl Live {
    pub(super) fn new(world: &World, name: &str) -> Self {
        Self::of(world, name, Video::new(testkit::stream::Settings::default()))
    }

    fn of(world: &World, name: &str, video: Video) -> Self {
        let name: StreamName = name.parse().unwrap();
        let publisher = publish(&world.hub, &name, vec![video.track()], &*world.clock);
        Self {
            publisher,
            video,
            clock: Arc::clone(&world.clock),
        }
    }

    pub(super) fn play(&mut self, frames: usize) {
        for _ in 0..frames {
            let frame = self.video.next_frame(self.clock.wall());
            self.publisher.publish(frame, self.clock.now()).unwrap();
        }
    }

    fn stream(&self) -> Arc<Stream> {
        Arc::clone(self.publisher.stream())
    }
}

pub(super) fn open() -> World {
    World::with(Wishes {
        mode: Mode::Open,
        ..Wishes::default()
    })
}

impl World {
    /// As a player elsewhere.
    async fn play(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        ask(&self.players, ELSEWHERE, Method::GET, path, headers, "").await
    }

    async fn bytes(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let local = "192.0.2.1:8888".parse().unwrap();
        let peer = Peer::new(ELSEWHERE.parse().unwrap(), local, false);
        let response = self.players.answer(peer, request).await;
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    }
}

/// Names of parts in a list, the newest last.
pub(super) fn parts(list: &str) -> Vec<String> {
    let uri = |line: &str| Some(line.split_once("URI=\"")?.1.split_once('"')?.0.to_owned());
    let lines = list.lines().filter(|line| line.starts_with("#EXT-X-PART:"));
    lines.filter_map(uri).collect()
}

fn hint(list: &str) -> String {
    let line = list
        .lines()
        .find(|line| line.starts_with("#EXT-X-PRELOAD-HINT:"))
        .unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

/// The directives that ask for what follows the list.
fn after(list: &str) -> String {
    let hint = hint(list);
    let (_, name) = hint.split_once('_').unwrap();
    let (msn, part) = name.trim_end_matches(".mp4").split_once('.').unwrap();
    format!("_HLS_msn={msn}&_HLS_part={part}")
}

#[tokio::test]
async fn the_first_viewer_has_a_list_at_once() {
    let world = open();
    let mut live = Live::new(&world, "house/door");
    live.play(70);
    let began = std::time::Instant::now();
    let index = world.play("/house/door/index.m3u8", &[]).await;
    let list = world.play("/house/door/stream.m3u8", &[]).await;
    let took = began.elapsed();
    assert_eq!(
        (index.status, list.status),
        (StatusCode::OK, StatusCode::OK),
        "{index:?} {list:?}"
    );
    assert_eq!(index.header("content-type"), "application/vnd.apple.mpegurl");
    assert!(index.text.ends_with("\nstream.m3u8\n"), "{}", index.text);
    // All that the hub has: 70 frames are 23 parts.
    assert_eq!(parts(&list.text).len(), 23, "{}", list.text);
    // News would be waited for three seconds.
    assert!(took < Duration::from_secs(2), "{took:?}");
    // The same on the dashboard's port.
    let live_twin = world
        .ask(ELSEWHERE, Method::GET, "/live/house/door/stream.m3u8", &[])
        .await;
    assert_eq!(live_twin.text, list.text);
    let part = &parts(&list.text)[22];
    let (status, headers, bytes) = world.bytes(Method::GET, &format!("/house/door/{part}"), &[]).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &"video/mp4".parse().unwrap())
    );
    assert!(bytes.len() > 7_000);
}

#[tokio::test]
async fn who_asks_for_what_follows_waits_for_it() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let list = world.play("/cam/stream.m3u8", &[]).await.text;
    let (blocking, hinted) = (
        format!("/cam/stream.m3u8?{}", after(&list)),
        format!("/cam/{}", hint(&list)),
    );
    let waiting = async { tokio::join!(world.play(&blocking, &[]), world.bytes(Method::GET, &hinted, &[])) };
    let mut waiting = Box::pin(waiting);
    let waits = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(waits.is_err(), "nothing is new yet");
    live.play(2);
    let (reply, (status, _, bytes)) = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!((reply.status, status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(parts(&reply.text).last().unwrap(), &hint(&list));
    assert!(bytes.len() > 7_000);
}

#[tokio::test]
async fn what_is_open_may_be_kept_by_caches_and_what_is_not_by_nobody() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let list = world.play("/cam/stream.m3u8", &[]).await;
    let part = format!("/cam/{}", parts(&list.text)[0]);
    let control = async |world: &World, path: &str| {
        let (status, headers, _) = world.bytes(Method::GET, path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!headers.contains_key("set-cookie"));
        headers["cache-control"].to_str().unwrap().to_owned()
    };
    assert_eq!(control(&world, "/cam/index.m3u8").await, "public, max-age=1");
    assert_eq!(control(&world, "/cam/stream.m3u8").await, "public, max-age=1");
    assert_eq!(
        control(&world, "/cam/stream.m3u8?_HLS_msn=1").await,
        "public, max-age=6"
    );
    assert_eq!(control(&world, &part).await, "public, max-age=3600");

    let world = World::new();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let token = "?token=v-token";
    let list = world.play(&format!("/cam/stream.m3u8{token}"), &[]).await;
    let part = format!("/cam/{}", parts(&list.text)[0]);
    assert!(part.ends_with(token), "{part}");
    assert_eq!(
        control(&world, &format!("/cam/index.m3u8{token}")).await,
        "private, no-cache"
    );
    assert_eq!(
        control(&world, &format!("/cam/stream.m3u8{token}&_HLS_msn=1")).await,
        "private, no-cache"
    );
    assert_eq!(control(&world, &part).await, "private, max-age=3600");
    let index = world.play(&format!("/cam/index.m3u8{token}"), &[]).await;
    assert!(index.text.ends_with("\nstream.m3u8?token=v-token\n"), "{}", index.text);
    // With the header nothing of it gets into the list.
    let list = world
        .play("/cam/stream.m3u8", &[("authorization", "Bearer v-token")])
        .await;
    assert!(!list.text.contains("token"), "{}", list.text);
    for path in ["/cam/stream.m3u8", part.trim_end_matches(token)] {
        assert_eq!(world.play(path, &[]).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn lists_are_compressed_for_those_who_take_it() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let plain = world.play("/cam/stream.m3u8", &[]).await;
    assert_eq!(
        (plain.header("content-encoding"), plain.header("vary")),
        ("", "Accept-Encoding")
    );
    let gzip = [("accept-encoding", "gzip, br")];
    let (_, headers, bytes) = world.bytes(Method::GET, "/cam/stream.m3u8", &gzip).await;
    assert_eq!(
        (&headers["content-encoding"], &headers["vary"]),
        (&"gzip".parse().unwrap(), &"Accept-Encoding".parse().unwrap())
    );
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, plain.text);
    assert!(bytes.len() * 3 < text.len(), "{} of {}", bytes.len(), text.len());
}

#[tokio::test]
async fn ranges_and_heads_are_as_http_has_them() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let list = world.play("/cam/stream.m3u8", &[]).await.text;
    let segment = format!("/cam/{}", list.lines().find(|line| !line.starts_with('#')).unwrap());
    let (_, whole_headers, whole) = world.bytes(Method::GET, &segment, &[]).await;
    let first_part = format!("/cam/{}", parts(&list)[0]);
    let (_, _, part) = world.bytes(Method::GET, &first_part, &[]).await;
    // Over the seam of two parts.
    let (from, to) = (part.len() - 100, part.len() + 99);
    let range = format!("bytes={from}-{to}");
    let (status, headers, bytes) = world.bytes(Method::GET, &segment, &[("range", &range)]).await;
    assert_eq!(status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(headers["content-range"], format!("bytes {from}-{to}/{}", whole.len()));
    assert_eq!(bytes, whole[from..=to]);
    let (status, headers, bytes) = world
        .bytes(Method::GET, &segment, &[("range", "bytes=99999999-")])
        .await;
    assert_eq!((status, bytes.len()), (StatusCode::RANGE_NOT_SATISFIABLE, 0));
    assert_eq!(headers["content-range"], format!("bytes */{}", whole.len()));
    let conditional = [("range", "bytes=0-1"), ("if-range", "\"x\"")];
    assert_eq!(world.bytes(Method::GET, &segment, &conditional).await.0, StatusCode::OK);
    let (status, headers, bytes) = world.bytes(Method::HEAD, &segment, &[]).await;
    assert_eq!((status, bytes.len()), (StatusCode::OK, 0));
    assert_eq!(headers["content-length"], whole.len().to_string());
    assert_eq!(headers["cache-control"], whole_headers["cache-control"]);
    let (status, headers, _) = world.bytes(Method::HEAD, "/cam/stream.m3u8", &[]).await;
    assert_eq!(
        (status, headers["content-length"].to_str().unwrap()),
        (StatusCode::OK, &*list.len().to_string())
    );
}

#[tokio::test]
async fn what_cannot_be_had_is_said() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    for (path, status, code) in [
        ("/nothing/index.m3u8", StatusCode::NOT_FOUND, "no-such-stream"),
        ("/nothing/stream.m3u8", StatusCode::NOT_FOUND, "no-such-stream"),
        ("/nothing/x_1.mp4", StatusCode::NOT_FOUND, "no-such-media"),
        ("/cam/stream.m3u8?_HLS_part=1", StatusCode::BAD_REQUEST, "bad-directive"),
        ("/cam/stream.m3u8?_HLS_msn=x", StatusCode::BAD_REQUEST, "bad-directive"),
        (
            "/cam/stream.m3u8?_HLS_msn=99999999999",
            StatusCode::BAD_REQUEST,
            "bad-directive",
        ),
        ("/cam/x_1.mp4", StatusCode::NOT_FOUND, "no-such-media"),
        ("/cam/%FF.mp4", StatusCode::NOT_FOUND, "no-such-path"),
    ] {
        let reply = world.play(path, &[]).await;
        assert_eq!((reply.status, &*reply.code()), (status, code), "{path}");
        assert_eq!(reply.header("cache-control"), "no-store", "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{path}");
    }
    let audio = Audio::new(TrackIndex(0), 0);
    let name: StreamName = "phone".parse().unwrap();
    let publishing = Publishing {
        stats: live.stream().publisher().unwrap(),
        origin: Origin::Remote,
        keyframe_requests: None,
    };
    let _phone = world
        .hub
        .publish(&name, vec![audio.track()], publishing, world.clock.now())
        .unwrap();
    let reply = world.play("/phone/index.m3u8", &[]).await;
    assert_eq!(
        (reply.status, &*reply.code()),
        (StatusCode::NOT_ACCEPTABLE, "nothing-to-play")
    );
}

#[tokio::test]
async fn a_list_waits_through_the_hold_and_then_ends() {
    let clock = SimClock::new();
    let world = World::with(Wishes {
        mode: Mode::Open,
        clock: Arc::new(clock.clone()),
        ..Wishes::default()
    });
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let list = world.play("/cam/stream.m3u8", &[]).await.text;
    drop(live);
    let blocking = format!("/cam/stream.m3u8?{}", after(&list));
    let mut waiting = Box::pin(world.play(&blocking, &[]));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), &mut waiting)
            .await
            .is_err()
    );
    // A publisher that returns within the hold goes on behind a discontinuity.
    clock.advance(Duration::from_secs(3));
    let mut live = Live::new(&world, "cam");
    live.play(6);
    let reply = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!(
        reply.text.matches("#EXT-X-DISCONTINUITY\n").count(),
        1,
        "{}",
        reply.text
    );
    // One that does not ends it.
    drop(live);
    let blocking = format!(
        "/cam/stream.m3u8?{}",
        after(&world.play("/cam/stream.m3u8", &[]).await.text)
    );
    let mut waiting = Box::pin(world.play(&blocking, &[]));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), &mut waiting)
            .await
            .is_err()
    );
    clock.advance(Duration::from_secs(6));
    world.hub.poll(world.clock.now());
    let reply = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert!(reply.text.ends_with("#EXT-X-ENDLIST\n"), "{}", reply.text);
    // Those who were there are told so, newcomers that there is no such stream.
    assert!(
        world
            .play("/cam/stream.m3u8", &[])
            .await
            .text
            .ends_with("#EXT-X-ENDLIST\n")
    );
    let reply = world.play("/cam/index.m3u8", &[]).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert!(reply.text.contains("last seen"), "{}", reply.text);
    // Under the same name another stream may begin.
    let mut live = Live::new(&world, "cam");
    live.play(70);
    assert_eq!(world.play("/cam/index.m3u8", &[]).await.status, StatusCode::OK);
    assert!(!world.play("/cam/stream.m3u8", &[]).await.text.contains("ENDLIST"));
}

#[tokio::test]
async fn nothing_new_in_time_is_said_after_three_target_durations() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let list = world.play("/cam/stream.m3u8", &[]).await.text;
    let began = std::time::Instant::now();
    let reply = world.play(&format!("/cam/stream.m3u8?{}", after(&list)), &[]).await;
    assert_eq!(
        (reply.status, &*reply.code()),
        (StatusCode::SERVICE_UNAVAILABLE, "no-news")
    );
    assert_eq!(reply.header("retry-after"), "1");
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(3) && took < Duration::from_secs(6),
        "{took:?}"
    );
}

#[tokio::test]
async fn viewers_are_addresses_and_programs() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let stream = live.stream();
    for _ in 0..3 {
        world.play("/cam/index.m3u8", &[("user-agent", "Firefox")]).await;
        world.play("/cam/stream.m3u8", &[("user-agent", "Firefox")]).await;
    }
    assert_eq!(stream.viewers(), 1);
    world.play("/cam/stream.m3u8", &[("user-agent", "VLC")]).await;
    ask(
        &world.players,
        "192.0.2.8:1",
        Method::GET,
        "/cam/stream.m3u8",
        &[("user-agent", "VLC")],
        "",
    )
    .await;
    assert_eq!(stream.viewers(), 3);
    let sessions = stream.sessions();
    let vlc = sessions
        .iter()
        .find(|session| session.info.agent.as_deref() == Some("VLC"))
        .unwrap();
    assert_eq!(vlc.info.protocol, "HLS");
    assert!(vlc.bytes.get() > 1_000);
    // Somebody who makes up programs is not more than some of them.
    for number in 0..100 {
        world
            .play("/cam/stream.m3u8", &[("user-agent", &format!("made up {number}"))])
            .await;
    }
    assert!(stream.viewers() <= 17, "{}", stream.viewers());
}

#[tokio::test]
async fn a_lower_rendition_is_a_second_variant_for_as_long_as_it_is_there() {
    let world = open();
    let mut full = Live::new(&world, "cam");
    full.play(70);
    let variants = async |path: &str| {
        let reply = world.play(path, &[]).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let uris = reply.text.lines().filter(|line| !line.starts_with('#'));
        (uris.map(str::to_owned).collect::<Vec<_>>(), reply.text)
    };
    assert_eq!(variants("/cam/index.m3u8").await.0, ["stream.m3u8"]);
    let mut low = Live::of(
        &world,
        "cam/low",
        Video::new(testkit::stream::Settings {
            width: 320,
            height: 240,
            idr_bytes: 2_000,
            frame_bytes: 500,
            first_ticks: 77_777,
            ..testkit::stream::Settings::default()
        }),
    );
    low.play(70);
    let (uris, list) = variants("/cam/index.m3u8").await;
    assert_eq!(uris, ["stream.m3u8", "low/stream.m3u8"]);
    let streams: Vec<_> = list.lines().filter(|line| line.contains("STREAM-INF")).collect();
    for (line, size) in streams.iter().zip(["640x480", "320x240"]) {
        for word in [
            "BANDWIDTH=",
            "AVERAGE-BANDWIDTH=",
            "CODECS=\"avc1.",
            "FRAME-RATE=",
            size,
        ] {
            assert!(line.contains(word), "{word} in {line}");
        }
    }
    // It is no lower rendition of the lower rendition.
    assert_eq!(variants("/cam/low/index.m3u8").await.0, ["stream.m3u8"]);
    // Played now, what it takes is known.
    let (_, list) = variants("/cam/index.m3u8").await;
    let bandwidth = |line: &str| -> u64 {
        let number = line.split_once("BANDWIDTH=").unwrap().1;
        number.split(',').next().unwrap().parse().unwrap()
    };
    let [full_bps, low_bps] =
        [0, 1].map(|n| bandwidth(list.lines().filter(|line| line.contains("STREAM-INF")).nth(n).unwrap()));
    assert!(low_bps * 3 < full_bps, "{low_bps} {full_bps}");
    // Each tells how far the other is.
    let report = async |path: &str| {
        let list = world.play(path, &[]).await.text;
        let line = list.lines().find(|line| line.starts_with("#EXT-X-RENDITION-REPORT:"));
        line.map(str::to_owned)
    };
    full.play(4);
    low.play(4);
    tokio::time::sleep(Duration::from_millis(50)).await;
    full.play(4);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let of_low = report("/cam/stream.m3u8").await.unwrap();
    assert!(of_low.contains("URI=\"low/stream.m3u8\",LAST-MSN="), "{of_low}");
    let of_full = report("/cam/low/stream.m3u8").await.unwrap();
    assert!(of_full.contains("URI=\"../stream.m3u8\",LAST-MSN="), "{of_full}");
    // Without it all is as before.
    world.hub.end(&"cam/low".parse().unwrap());
    tokio::time::sleep(Duration::from_millis(100)).await;
    full.play(4);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(variants("/cam/index.m3u8").await.0, ["stream.m3u8"]);
    assert_eq!(report("/cam/stream.m3u8").await, None);
}
