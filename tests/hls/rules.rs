//! Lists and media of real streams against the draft, through everything that may happen to a publisher.

use std::time::{Duration, Instant};

use crate::client::Player;
use crate::origin::{Connection, camera, port};
use crate::support::{PATIENCE, Server, h264_of_ffmpeg, publish_encoded_with_ffmpeg, publish_with_ffmpeg};

#[test]
fn a_camera_of_ours() {
    let server = camera(&[]);
    let mut player = Player::start(port(&server), "zerolatency");
    player.look_for(Duration::from_secs(8));
    assert_eq!(player.complaints(), [""; 0]);
}

#[test]
fn parts_and_segments_as_the_seeds_have_them() {
    let server = camera(&[
        ("SIGHTLINE_HLS_PART_DURATION", "40ms"),
        ("SIGHTLINE_HLS_SEGMENT_DURATION", "200ms"),
        ("SIGHTLINE_HLS_SEGMENT_COUNT", "3"),
    ]);
    let mut player = Player::start(port(&server), "zerolatency");
    player.look_for(Duration::from_secs(6));
    // A picture and a little.
    let targets = ["PART-TARGET=0.034", "PART-TARGET=0.035", "PART-TARGET=0.036"];
    assert!(
        targets.iter().any(|target| player.list.contains(target)),
        "{}",
        player.list
    );
    assert_eq!(player.complaints(), [""; 0]);
}

#[test]
fn ffmpeg_publishing_pictures_and_sound() {
    let mut server = Server::start(&["--open"]);
    let options = format!(
        "-f lavfi -i sine=frequency=440:sample_rate=48000 {} -c:a aac",
        h264_of_ffmpeg(30)
    );
    let _publisher = publish_encoded_with_ffmpeg(&mut server, "house/door", "tcp", &options);
    let mut player = Player::start(port(&server), "house/door");
    player.look_for(Duration::from_secs(6));
    assert_eq!(player.complaints(), [""; 0]);
}

/// Whoever waits is not disturbed, and goes on behind a discontinuity; when nobody returns, the list ends.
#[test]
fn a_publisher_goes_and_returns_and_goes() {
    // Longer than FFmpeg takes to start on a busy machine.
    let mut server = Server::start_with(&["--open"], &[("SIGHTLINE_LIMITS_HOLD", "10s")]);
    let publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 10);
    let mut player = Player::start(port(&server), "cam");
    player.look_for(Duration::from_secs(3));
    drop(publisher);
    // Blocks through the hold, and answers when the next one is there.
    let returning = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        let publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 10);
        (server, publisher)
    });
    let away = Instant::now();
    while !player.list.contains("#EXT-X-DISCONTINUITY\n") {
        assert_ne!(player.look_for_news(), Some(false), "it ended");
        assert!(away.elapsed() < PATIENCE, "nobody returned");
    }
    let (server, publisher) = returning.join().unwrap();
    player.look_for(Duration::from_secs(3));
    drop(publisher);
    let gone = Instant::now();
    // A request may be answered 503 in between, as the hold is longer than three target durations; a player asks again.
    let mut connection = Connection::new(port(&server));
    let list = loop {
        let reply = connection.get("/cam/stream.m3u8");
        if reply.status == 200 && reply.text().ends_with("#EXT-X-ENDLIST\n") {
            break reply.text().to_owned();
        }
        assert!(gone.elapsed() < PATIENCE, "{}", reply.text());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(gone.elapsed() >= Duration::from_secs(9), "only when the hold is over");
    assert!(!list.contains("PRELOAD-HINT"), "{list}");
    let reply = connection.get("/cam/index.m3u8");
    assert!(
        reply.status == 404 && reply.text().contains("last seen"),
        "{}",
        reply.text()
    );
    assert_eq!(player.complaints(), [""; 0]);
}
