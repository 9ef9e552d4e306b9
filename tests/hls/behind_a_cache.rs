//! What nginx makes of our lists and media, and who is kept from what it has.

use std::time::{Duration, Instant};

use crate::cache::{Cache, many_viewers};
use crate::origin::Connection;
use crate::support::{PATIENCE, Server};

#[test]
fn each_resource_is_asked_for_once_by_fifty_viewers() {
    many_viewers(50, Duration::from_secs(4));
}

/// What is behind a credential is kept by nobody.
#[test]
fn a_cache_keeps_nothing_that_needs_a_credential() {
    let mut server = Server::start_with(&["--source", "test", "--token", TOKEN], &[]);
    server.wait_for_event("camera runs", "zerolatency");
    let cache = Cache::start(&server);
    let mut connection = Connection::new(cache.port);
    let path = format!("/zerolatency/index.m3u8?token={TOKEN}");
    let begun = Instant::now();
    // Its first picture is still being encoded.
    while connection.get(&path).status != 200 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(connection.get(&path).status, 200);
    let stranger = connection.get("/zerolatency/index.m3u8");
    assert_eq!(stranger.status, 401, "{}", stranger.text());
    let list = connection.get(&format!("/zerolatency/stream.m3u8?token={TOKEN}"));
    let part = list
        .text()
        .lines()
        .find_map(|line| line.split_once("URI=\"")?.1.split('"').next());
    let part = format!("/zerolatency/{}", part.unwrap());
    assert_eq!([connection.get(&part).status, connection.get(&part).status], [200, 200]);
    let kept: Vec<_> = cache.answered().into_iter().filter(|answer| !answer.asked).collect();
    assert!(kept.is_empty(), "{}", kept[0].uri);
}

const TOKEN: &str = "a-token-for-the-cache";
