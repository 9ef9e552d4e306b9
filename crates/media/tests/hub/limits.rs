//! What a hub holds at most.

use std::time::Duration;

use media::hub::{Limits, PublishError};
use testkit::stream::{Settings, Video};

use crate::world::{Feed, Seen, Terms, World};

fn endless_gop() -> Settings {
    Settings {
        gop_frames: 0,
        ..Settings::default()
    }
}

/// What a frame of this many bytes counts for.
const OVERHEAD: usize = 192;

#[test]
fn streams_are_limited() {
    let mut world = World::with(Limits {
        streams: 2,
        ..Limits::default()
    });
    let _first = world.video();
    world.name = "second".parse().unwrap();
    let second = world.video();
    world.name = "third".parse().unwrap();
    let refused = world
        .try_feed(Settings::default(), &Terms::remote())
        .map(drop)
        .unwrap_err();
    assert_eq!(refused, PublishError::TooManyStreams { limit: 2 });
    second.publisher.close(world.now());
    assert!(
        world.try_feed(Settings::default(), &Terms::remote()).is_err(),
        "one that is held counts"
    );
    world.clock.advance_ms(5_000);
    world.hub.poll(world.now());
    let _third = world.video();
}

#[test]
fn readers_are_limited() {
    let world = World::with(Limits {
        readers_per_stream: 2,
        ..Limits::default()
    });
    let _feed = world.video();
    let stream = world.stream();
    let first = stream.join(world.now()).unwrap();
    let _second = stream.join(world.now()).unwrap();
    let full = stream.join(world.now()).unwrap_err();
    assert_eq!(full.to_string(), "the stream has 2 readers already, which is the limit");
    drop(first);
    stream.join(world.now()).unwrap();
}

#[test]
fn what_is_remembered_is_limited() {
    let mut world = World::with(Limits {
        remembered: 3,
        ..Limits::default()
    });
    let seen = |world: &World, name: &str| {
        let name = name.parse().unwrap();
        world.hub.stream(&name, world.now()).unwrap_err().last_seen.is_some()
    };
    for name in ["a", "b", "a", "c", "d"] {
        world.name = name.parse().unwrap();
        let mut feed = world.video();
        feed.pictures(1);
        world.hub.end_all();
        let ended = world.hub.stream(&world.name, world.now()).unwrap_err();
        assert_eq!(ended.last_seen, Some(Duration::ZERO), "the last time, not the first");
    }
    assert!(!seen(&world, "b"), "the oldest gave way");
    assert!(["a", "c", "d"].into_iter().all(|name| seen(&world, name)));
    world.name = "silent".parse().unwrap();
    let _feed = world.video();
    world.hub.end_all();
    assert!(!seen(&world, "silent"), "it never had a frame");
    assert!(seen(&world, "a"));
}

#[test]
fn a_ring_is_bounded_in_bytes_even_within_a_gop() {
    let limit = 50 * (2_404 + OVERHEAD);
    let world = World::with(Limits {
        ring_bytes: limit,
        ..Limits::default()
    });
    let mut feed = world.feed(endless_gop(), Terms::remote());
    let stream = world.stream();
    let mut slow = world.join();
    for _ in 0..200 {
        feed.pictures(1);
        assert!(stream.ring_bytes() <= limit);
        assert_eq!(world.hub.ring_bytes(), stream.ring_bytes());
    }
    assert_eq!(stream.ring_bytes(), limit, "it is used");
    assert_eq!(world.join().reader.burst_frames(), 0, "the keyframe is out");
    assert!(slow.drain().is_empty());
    feed.keyframe().unwrap();
    assert_eq!(
        slow.ids(),
        [200],
        "a newcomer that waits for its first keyframe jumps over nothing"
    );
}

#[test]
fn a_frame_larger_than_the_ring_is_held_alone() {
    let world = World::with(Limits {
        ring_bytes: 1_000,
        ..Limits::default()
    });
    let mut feed = world.video();
    let mut viewer = world.join();
    feed.pictures(1);
    assert_eq!(world.stream().ring_bytes(), 12_004 + OVERHEAD);
    assert_eq!(viewer.ids(), [0]);
    feed.pictures(1);
    assert_eq!(viewer.ids(), [1]);
    assert_eq!(world.stream().ring_bytes(), 2_404 + OVERHEAD);
}

#[test]
fn a_ring_is_bounded_in_frames() {
    let world = World::with(Limits {
        ring_frames: 20,
        ..Limits::default()
    });
    let mut feed = world.feed(endless_gop(), Terms::remote());
    let mut viewer = world.join();
    feed.pictures(1);
    viewer.drain();
    feed.pictures(20);
    assert_eq!(viewer.ids().len(), 20);
    feed.pictures(21);
    assert!(viewer.drain().is_empty(), "one of 21 is gone, and no keyframe is left");
    feed.keyframe().unwrap();
    assert!(matches!(viewer.drain()[0], Seen::Jumped(21)));
}

#[test]
fn a_ring_is_bounded_in_media_time() {
    let world = World::with(Limits {
        ring_time: Duration::from_secs(1),
        ..Limits::default()
    });
    let mut feed = world.feed(endless_gop(), Terms::remote());
    let mut viewer = world.join();
    feed.pictures(1);
    viewer.drain();
    feed.pictures(31);
    assert_eq!(viewer.ids().len(), 31, "31 frames span a second");
    feed.pictures(32);
    assert!(viewer.drain().is_empty());
    // Also when the publisher hands over more at once.
    for _ in 0..100 {
        let frame = feed.video.next_frame(world.now_wall());
        feed.publish(frame).unwrap();
    }
    assert_eq!(world.stream().ring_bytes(), 31 * (2_404 + OVERHEAD));
}

#[test]
fn what_no_reader_could_be_given_is_let_go() {
    let world = World::new();
    let mut feed = world.video();
    feed.pictures(600);
    let held = world.stream().ring_bytes() / (2_404 + OVERHEAD);
    assert!((60..110).contains(&held), "two seconds, not twenty: {held}");
    let sound = testkit::stream::Audio::new(media::TrackIndex(0), 0);
    drop((feed, sound));
}

#[test]
fn all_streams_together_are_bounded_by_equal_shares() {
    let total = 400 * (2_404 + OVERHEAD);
    let mut world = World::with(Limits {
        total_bytes: Some(total),
        ..Limits::default()
    });
    let mut feeds: Vec<Feed> = Vec::new();
    for name in ["large", "larger", "small", "smaller"] {
        world.name = name.parse().unwrap();
        feeds.push(world.feed(endless_gop(), Terms::remote()));
    }
    for feed in &mut feeds[2..] {
        feed.pictures(30);
    }
    for _ in 0..300 {
        feeds[0].pictures(1);
        feeds[1].pictures(1);
    }
    let held: Vec<_> = ["large", "larger", "small", "smaller"]
        .into_iter()
        .map(|name| {
            world
                .hub
                .stream(&name.parse().unwrap(), world.now())
                .unwrap()
                .ring_bytes()
        })
        .collect();
    assert_eq!(held.iter().sum::<usize>(), world.hub.ring_bytes());
    assert!(
        world.hub.ring_bytes() <= total + 2 * (12_004 + OVERHEAD),
        "{}",
        world.hub.ring_bytes()
    );
    let small = 30 * (2_404 + OVERHEAD) + 9_600;
    assert_eq!(held[2..], [small, small], "who is below its share loses nothing");
    assert!(held[0] > total / 5 && held[1] > total / 5, "{held:?}");
    drop(feeds);
    world.hub.end_all();
    assert_eq!(world.hub.ring_bytes(), 0);
}

#[test]
fn default_limits_let_a_camera_through_whole() {
    let world = World::new();
    // 4K at 20 Mb/s with a GOP of ten seconds.
    let settings = Settings {
        gop_frames: 300,
        idr_bytes: 400_000,
        frame_bytes: 82_000,
        fps: 30,
        width: 3840,
        height: 2160,
        ..Settings::default()
    };
    let mut feed = world.feed(settings, Terms::remote());
    let frame = feed.video.next_frame(world.now_wall());
    feed.publish(frame).unwrap();
    let template = Video::new(settings).next_frame(world.now_wall());
    let mut small = feed.video.next_frame(world.now_wall());
    assert!(template.data.len() > small.data.len());
    for number in 1..190_i64 {
        world.clock.advance_ms(33);
        small.time = media::MediaTime::new(number * 3_000, media::Timescale::VIDEO);
        feed.publish(small.clone()).unwrap();
    }
    assert_eq!(world.join().reader.burst_frames(), 190);
}
