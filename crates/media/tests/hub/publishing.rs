//! One publisher: what is taken, what is dropped, what happens when it goes.

use std::time::Duration;

use media::hub::{EndReason, Limits, PublishError, Refused, State};
use media::{Track, TrackIndex};
use testkit::stream::{Audio, Settings, Video};

use crate::world::{Seen, Terms, World};

#[test]
fn what_a_publisher_sends_arrives_in_order_and_unchanged() {
    let world = World::new();
    let mut feed = world.feed(Settings::default(), Terms::remote().with_audio());
    let mut viewer = world.join();
    let mut sent = Vec::new();
    for _ in 0..25 {
        world.clock.advance_ms(33);
        let picture = feed.video.next_frame(world.now_wall());
        sent.push(picture.clone());
        feed.publish(picture).unwrap();
        let sound = feed.audio.as_mut().unwrap().next_frame(world.now_wall());
        sent.push(sound.clone());
        feed.publish(sound).unwrap();
    }
    let got = viewer.frames();
    assert_eq!(got.len(), sent.len());
    for (index, (got, sent)) in got.iter().zip(&sent).enumerate() {
        assert_eq!(got.id, index as u64);
        assert_eq!(
            got.frame.data.as_ptr(),
            sent.data.as_ptr(),
            "the bytes are shared, not copied"
        );
        assert_eq!((got.frame.time, got.frame.track), (sent.time, sent.track));
        assert_eq!(got.frame.capture, sent.capture);
    }
    assert_eq!((feed.stats.frames.get(), feed.stats.keyframes.get()), (50, 28));
    assert_eq!(feed.stats.frames_dropped.get(), 0);
}

#[test]
fn video_before_the_first_keyframe_is_dropped_and_counted() {
    let world = World::new();
    let mut feed = world.feed(Settings::default(), Terms::remote().with_audio());
    feed.video.next_frame(world.now_wall());
    let mut viewer = world.join();
    feed.pictures(3);
    feed.sound().unwrap();
    assert!(viewer.frames().is_empty(), "sound without picture is no start");
    feed.keyframe().unwrap();
    feed.sound().unwrap();
    let got = viewer.frames();
    assert_eq!(got.len(), 2);
    assert!(got[0].frame.keyframe);
    assert_eq!(feed.stats.frames_dropped.get(), 3);
}

#[test]
fn frames_of_tracks_that_were_not_announced_are_dropped() {
    let world = World::new();
    let mut feed = world.video();
    let mut stray = feed.video.next_frame(world.now_wall());
    stray.track = TrackIndex(7);
    feed.publish(stray).unwrap();
    let mut sound = Audio::new(TrackIndex(0), 0).next_frame(world.now_wall());
    feed.publish(sound.clone()).unwrap();
    sound.track = TrackIndex(255);
    feed.publish(sound).unwrap();
    assert_eq!(feed.stats.frames_dropped.get(), 3);
    assert_eq!(feed.stats.frames.get(), 0);
}

#[test]
fn a_frame_too_large_is_dropped_with_what_depends_on_it() {
    let limits = Limits {
        frame_bytes: 4_000,
        ..Limits::default()
    };
    let world = World::with(limits);
    let settings = Settings {
        idr_bytes: 3_996,
        frame_bytes: 1_000,
        ..Settings::default()
    };
    let mut feed = world.feed(settings, Terms::remote());
    feed.picture().unwrap();
    let mut large = Video::new(Settings {
        idr_bytes: 3_997,
        ..settings
    });
    feed.publish(large.next_frame(world.now_wall())).unwrap();
    assert_eq!(
        feed.stats.frames_dropped.get(),
        1,
        "4,001 bytes with its length; 4,000 were not too much"
    );
    feed.pictures(2);
    assert_eq!(feed.stats.frames_dropped.get(), 3);
    feed.keyframe().unwrap();
    assert_eq!(feed.stats.frames.get(), 2);
}

#[test]
fn lists_of_tracks_are_checked() {
    let world = World::new();
    let track = |index: u8| Track {
        index: TrackIndex(index),
        ..Video::new(Settings::default()).track()
    };
    let publish = |tracks: Vec<Track>| world.publisher(tracks, &Terms::remote()).map(drop);
    assert_eq!(publish(Vec::new()), Err(PublishError::TrackCount { count: 0 }));
    assert_eq!(
        publish((0..9).map(track).collect()),
        Err(PublishError::TrackCount { count: 9 })
    );
    let wrong = PublishError::TrackIndex {
        position: 1,
        index: TrackIndex(2),
    };
    assert_eq!(wrong.to_string(), "track 1 of the list says it is number 2");
    assert_eq!(publish(vec![track(0), track(2)]), Err(wrong));
    assert_eq!(publish((0..8).map(track).collect()), Ok(()));
}

#[test]
fn formats_change_in_mid_stream_without_an_event() {
    let world = World::new();
    let mut feed = world.video();
    let mut viewer = world.join();
    feed.pictures(3);
    let stream = world.stream();
    let before = stream.tracks();
    feed.video.resize(320, 240);
    feed.pictures(3);
    assert_eq!(before[0].format.dimensions(), Some((640, 480)));
    assert_eq!(stream.tracks()[0].format.dimensions(), Some((320, 240)));
    let widths: Vec<_> = viewer
        .frames()
        .iter()
        .map(|entry| entry.frame.format.dimensions().unwrap().0)
        .collect();
    assert_eq!(widths, [640, 640, 640, 320, 320, 320]);
    let after = stream.tracks();
    feed.pictures(1);
    assert!(
        std::ptr::eq(&*after, &*stream.tracks()),
        "the list is made anew for a new format only"
    );
}

#[test]
fn readers_wait_while_the_publisher_is_away_and_go_on_when_it_returns() {
    let world = World::new();
    let mut feed = world.video();
    feed.pictures(5);
    let mut viewer = world.join();
    assert_eq!(viewer.ids(), [0, 1, 2, 3, 4]);
    let gone = world.now();
    feed.publisher.close(gone);
    assert_eq!(world.stream().state(), State::Held { since: gone });
    assert_eq!(world.hub.poll(world.now()), Some(gone + Duration::from_secs(5)));
    world.clock.advance_ms(4_900);
    assert_eq!(world.hub.poll(world.now()), Some(gone + Duration::from_secs(5)));
    assert!(viewer.drain().is_empty());
    let mut newcomer = world.join();
    assert_eq!(newcomer.ids(), [0, 1, 2, 3, 4], "the last GOP is there at once");

    let mut feed = world.video();
    assert_eq!(world.stream().state(), State::Live);
    feed.pictures(2);
    assert_eq!(viewer.ids(), [5, 6]);
    assert_eq!(newcomer.ids(), [5, 6]);
    assert_eq!(world.hub.poll(world.now()), None);
}

#[test]
fn after_the_hold_readers_end_and_the_name_says_when_it_was_last_seen() {
    let world = World::new();
    let unknown = world.hub.stream(&world.name, world.now()).unwrap_err();
    assert_eq!(unknown.to_string(), "no stream \"zerolatency\" is published");

    let mut feed = world.video();
    feed.pictures(2);
    let mut viewer = world.join();
    let stream = world.stream();
    feed.publisher.close(world.now());
    viewer.drain();
    world.clock.advance_ms(5_000);
    let gone = world.hub.stream(&world.name, world.now()).unwrap_err();
    assert_eq!(
        gone.last_seen,
        Some(Duration::from_secs(5)),
        "also before anybody polled"
    );
    assert_eq!(world.hub.poll(world.now()), None);
    assert_eq!(viewer.wakes.count(), 1);
    assert!(matches!(viewer.drain()[..], [Seen::Ended(EndReason::PublisherGone)]));
    assert_eq!(stream.state(), State::Ended(EndReason::PublisherGone));
    world.clock.advance_ms(7_000);
    let gone = world.hub.stream(&world.name, world.now()).unwrap_err();
    assert_eq!(
        gone.to_string(),
        "\"zerolatency\" is not published now; last seen 12 s ago"
    );
    assert!(world.hub.list().is_empty());

    world.video().pictures(1);
    assert!(
        matches!(viewer.drain()[..], [Seen::Ended(_)]),
        "another stream of the same name"
    );
    assert!(!std::sync::Arc::ptr_eq(&stream, &world.stream()));
}

#[test]
fn what_is_left_is_read_before_the_end() {
    let world = World::new();
    let mut feed = world.video();
    let mut viewer = world.join();
    feed.pictures(2);
    feed.publisher.close(world.now());
    world.clock.advance_ms(5_000);
    world.hub.poll(world.now());
    let seen = viewer.drain();
    assert_eq!(seen.len(), 3);
    assert!(matches!(seen[2], Seen::Ended(EndReason::PublisherGone)));
}

#[test]
fn a_publisher_that_is_dropped_went_at_its_last_frame() {
    let world = World::new();
    let mut feed = world.video();
    feed.pictures(1);
    let last = world.now();
    world.clock.advance_ms(3_000);
    drop(feed);
    assert_eq!(world.hub.poll(world.now()), Some(last + Duration::from_secs(5)));
    world.clock.advance_ms(2_000);
    world.hub.poll(world.now());
    assert!(world.hub.list().is_empty());
}

#[test]
fn a_stream_that_is_ended_is_over_for_publisher_and_readers() {
    let world = World::new();
    let mut feed = world.video();
    let mut viewer = world.join();
    feed.pictures(1);
    world.hub.end(&world.name);
    assert_eq!(feed.picture(), Err(Refused::Stopped));
    assert_eq!(feed.picture(), Err(Refused::Stopped));
    let seen = viewer.drain();
    assert!(matches!(seen[..], [Seen::Frame(_), Seen::Ended(EndReason::Stopped)]));
    let mut feed = world.video();
    feed.pictures(1);
    let mut viewer = world.join();
    viewer.drain();
    world.hub.end_all();
    assert!(matches!(viewer.drain()[..], [Seen::Ended(EndReason::Stopped)]));
}

#[test]
fn streams_are_listed_by_name_and_found_by_it() {
    let mut world = World::new();
    let mut feeds = Vec::new();
    for name in ["c", "a", "b/x"] {
        world.name = name.parse().unwrap();
        feeds.push(world.video());
    }
    let names: Vec<_> = world
        .hub
        .list()
        .iter()
        .map(|stream| stream.name().to_string())
        .collect();
    assert_eq!(names, ["a", "b/x", "c"]);
    feeds[1].pictures(1);
    assert_eq!(
        world
            .hub
            .stream(&"a".parse().unwrap(), world.now())
            .unwrap()
            .last_frame(),
        Some(world.now())
    );
    assert_eq!(world.stream().last_frame(), None);
}
