//! The stream's clock when the publisher's jumps.

use std::time::Duration;

use media::{Frame, MediaTime, Timescale};
use testkit::stream::Settings;

use crate::world::{Feed, Terms, Viewer, World};

fn start(world: &World) -> (Feed, Viewer) {
    let mut feed = world.feed(Settings::default(), Terms::remote().with_audio());
    let mut viewer = world.join();
    feed.pictures(5);
    feed.sound().unwrap();
    viewer.drain();
    (feed, viewer)
}

fn at(frame: Frame, ms: i64) -> Frame {
    let scale = frame.time.scale();
    Frame {
        time: MediaTime::new(ms * i64::from(scale.hz()) / 1_000, scale),
        ..frame
    }
}

/// Publishes a frame of the track that claims the time `ms`, `after_ms` later, and returns what the stream makes of it.
fn send(world: &World, feed: &mut Feed, viewer: &mut Viewer, sound: bool, after_ms: u64, ms: i64) -> Option<i64> {
    world.clock.advance_ms(after_ms);
    let frame = match sound {
        true => feed.audio.as_mut().unwrap().next_frame(world.now_wall()),
        false => feed.video.next_frame(world.now_wall()),
    };
    feed.publish(at(frame, ms)).unwrap();
    viewer
        .frames()
        .first()
        .map(|entry| entry.frame.time.as_micros() / 1_000)
}

#[test]
fn times_of_the_first_publisher_stay_as_they_are() {
    let world = World::new();
    let mut feed = world.feed(
        Settings {
            first_ticks: 123_456_789,
            ..Settings::default()
        },
        Terms::remote(),
    );
    let mut viewer = world.join();
    feed.pictures(3);
    let ticks: Vec<_> = viewer.frames().iter().map(|entry| entry.frame.time.ticks()).collect();
    assert_eq!(ticks, [123_456_789, 123_459_789, 123_462_789]);
}

#[test]
fn a_step_back_is_put_right_and_sound_follows() {
    let world = World::new();
    let (mut feed, mut viewer) = start(&world);
    let mut send = |sound, after, ms| send(&world, &mut feed, &mut viewer, sound, after, ms);
    assert_eq!(send(false, 20_000, 20_000), Some(20_000));
    assert_eq!(send(true, 0, 20_000), Some(20_000));
    assert_eq!(send(false, 40, 1_000), Some(20_040), "looped");
    assert_eq!(send(true, 20, 20_060), Some(20_060), "sound of the old round");
    assert_eq!(send(false, 20, 1_040), Some(20_080));
    assert_eq!(
        send(true, 0, 1_030),
        Some(20_070),
        "sound of the new round, in step though it came late"
    );
    assert_eq!(send(true, 20, 1_050), Some(20_090));
    assert_eq!(feed.stats.timestamp_jumps.get(), 2, "one on each track");
}

#[test]
fn a_step_forward_is_put_right_but_a_pause_is_none() {
    let world = World::new();
    let (mut feed, mut viewer) = start(&world);
    let stats = std::sync::Arc::clone(&feed.stats);
    let mut send = |sound, after, ms| send(&world, &mut feed, &mut viewer, sound, after, ms);
    assert_eq!(
        send(false, 60_000, 60_133),
        Some(60_133),
        "a minute of silence that is told"
    );
    assert_eq!(stats.timestamp_jumps.get(), 0);
    assert_eq!(send(false, 40, 3_600_000), Some(60_173));
    assert_eq!(send(false, 40, 3_600_040), Some(60_213));
    assert_eq!(stats.timestamp_jumps.get(), 1);
    assert_eq!(
        send(false, 60_000, 3_600_080),
        Some(120_213),
        "a minute of silence that is not"
    );
    assert_eq!(stats.timestamp_jumps.get(), 2);
    assert_eq!(send(false, 40, 3_609_080), Some(129_213), "nine seconds are believed");
    assert_eq!(stats.timestamp_jumps.get(), 2);
}

#[test]
fn reordered_pictures_are_no_jump_but_a_keyframe_in_the_past_is() {
    let world = World::new();
    let (mut feed, mut viewer) = start(&world);
    let stats = std::sync::Arc::clone(&feed.stats);
    let mut times = Vec::new();
    // Decoding order of a hierarchy of B-frames.
    for ms in [400, 280, 200, 240, 360, 560] {
        times.extend(send(&world, &mut feed, &mut viewer, false, 40, ms));
    }
    assert_eq!(times, [400, 280, 200, 240, 360, 560]);
    assert_eq!(stats.timestamp_jumps.get(), 0);
    feed.video.request_keyframe();
    assert_eq!(send(&world, &mut feed, &mut viewer, false, 40, 540), Some(600));
    assert_eq!(stats.timestamp_jumps.get(), 1);
}

#[test]
fn times_at_the_end_of_their_range_harm_nobody() {
    let world = World::new();
    let (mut feed, mut viewer) = start(&world);
    let mut last = i64::MIN;
    let most = (1 << 60) / 100 * 9;
    let ticks = [i64::MAX, most, -most, 0, i64::MIN, most - 1, 1 - most, 1];
    for (round, ticks) in ticks.into_iter().cycle().take(40).enumerate() {
        world.clock.advance(Duration::from_millis(40));
        let mut frame = feed.video.next_frame(world.now_wall());
        frame.time = MediaTime::new(ticks, Timescale::VIDEO);
        feed.publish(frame).unwrap();
        for entry in viewer.frames() {
            let us = entry.frame.time.as_micros();
            assert!(us > last, "round {round}: {us} after {last}");
            last = us;
        }
    }
    assert!((1_600_000..2_000_000).contains(&last), "{last}");
    assert!(feed.stats.frames_dropped.get() >= 10, "what no clock can show");
}
