//! Publishers that follow each other.

use std::sync::Arc;
use std::time::Duration;

use media::hub::{EndReason, Limits, PublishError, Refused, State};
use media::{Format, MediaTime, Timescale, Track, TrackIndex, audio};
use testkit::stream::{Audio, Settings, Video};

use crate::world::{Seen, Terms, World};

/// Two hours between keyframes.
fn endless_gop() -> Settings {
    Settings {
        gop_frames: 216_000,
        ..Settings::default()
    }
}

#[test]
fn a_second_publisher_takes_over_at_its_first_keyframe() {
    let world = World::new();
    let mut first = world.feed(Settings::default(), Terms::remote().on_port(1));
    first.pictures(4);
    let mut viewer = world.join();
    assert_eq!(viewer.ids(), [0, 1, 2, 3]);
    let mut second = world.feed(Settings::default(), Terms::remote().on_port(2));
    second.video.next_frame(world.now_wall());
    assert!(second.publisher.is_waiting());
    for _ in 0..3 {
        second.picture().unwrap();
        first.picture().unwrap();
    }
    assert_eq!(viewer.ids(), [4, 5, 6], "the first goes on until then");
    assert_eq!(second.stats.frames_dropped.get(), 3);
    second.keyframe().unwrap();
    assert!(!second.publisher.is_waiting());
    let refused = first.picture().unwrap_err();
    assert_eq!(refused.to_string(), "192.0.2.1:2 (test) took over");
    assert_eq!(first.picture(), Err(refused));
    second.pictures(1);
    let got = viewer.frames();
    assert_eq!(got.iter().map(|entry| entry.id).collect::<Vec<_>>(), [7, 8]);
    assert!(got[0].frame.keyframe);
    drop(first);
    assert_eq!(
        world.stream().state(),
        State::Live,
        "the first is no longer its publisher"
    );
    assert_eq!(
        world.stream().publisher().unwrap().info.remote,
        Some(([192, 0, 2, 1], 2).into())
    );
}

#[test]
fn sound_alone_takes_over_at_once() {
    let world = World::new();
    let tracks = || vec![Audio::new(TrackIndex(0), 0).track()];
    let (mut first, _) = world.publisher(tracks(), &Terms::remote()).unwrap();
    let (mut second, _) = world.publisher(tracks(), &Terms::remote()).unwrap();
    let mut sound = Audio::new(TrackIndex(0), 0);
    first.publish(sound.next_frame(world.now_wall()), world.now()).unwrap();
    world.clock.advance_ms(20);
    second.publish(sound.next_frame(world.now_wall()), world.now()).unwrap();
    world.clock.advance_ms(20);
    assert!(first.publish(sound.next_frame(world.now_wall()), world.now()).is_err());
}

#[test]
fn a_publisher_that_waits_when_the_other_goes_has_the_stream_at_its_keyframe() {
    let world = World::new();
    let mut first = world.video();
    first.pictures(1);
    let mut viewer = world.join();
    viewer.drain();
    let mut second = world.video();
    second.video.next_frame(world.now_wall());
    first.publisher.close(world.now());
    let gone = world.now();
    world.clock.advance_ms(6_000);
    let deadline = Some(gone + Duration::from_secs(12));
    assert_eq!(
        world.hub.poll(world.now()),
        deadline,
        "it is held for the one that waits"
    );
    assert_eq!(world.hub.list().len(), 1);
    second.keyframe().unwrap();
    assert_eq!(viewer.ids(), [1]);
    let mut third = world.video();
    third.video.next_frame(world.now_wall());
    drop(third);
    second.publisher.close(world.now());
    world.clock.advance_ms(5_000);
    world.hub.poll(world.now());
    assert!(world.hub.list().is_empty(), "nobody waits any more");
}

/// An encoder with intra refresh, or one that cannot be asked and has just begun a GOP of minutes.
#[test]
fn a_publisher_that_never_sends_a_keyframe_does_not_keep_a_dead_stream() {
    let world = World::new();
    let mut first = world.video();
    first.pictures(1);
    let mut viewer = world.join();
    viewer.drain();
    let mut second = world.feed(endless_gop(), Terms::remote().on_port(2));
    second.video.next_frame(world.now_wall());
    first.publisher.close(world.now());
    let gone = world.now();
    while world.now() + Duration::from_millis(50) < gone + Duration::from_secs(12) {
        second.picture().unwrap();
        world.hub.poll(world.now());
    }
    assert!(viewer.drain().is_empty(), "until then the keyframe may come");
    world.clock.advance_ms(50);
    assert_eq!(world.hub.poll(world.now()), None);
    assert!(matches!(viewer.drain()[..], [Seen::Ended(EndReason::PublisherGone)]));
    assert!(world.hub.stream(&world.name, world.now()).is_err());
    let refused = second.picture().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no keyframe came in time to take \"zerolatency\" over, which has ended since; publish again, and send keyframes more \
         often"
    );
    assert_eq!(second.keyframe(), Err(refused), "a refusal is final");
    world.video().pictures(1);
}

#[test]
fn a_publisher_that_comes_late_in_the_silence_of_another_has_its_time_too() {
    let world = World::new();
    let mut first = world.video();
    first.pictures(1);
    // Nothing comes of it any more, and its session is dropped for that after ten seconds.
    world.clock.advance_ms(9_000);
    let mut second = world.feed(endless_gop(), Terms::remote());
    second.video.next_frame(world.now_wall());
    world.clock.advance_ms(1_000);
    drop(first);
    world.clock.advance_ms(10_000);
    world.hub.poll(world.now());
    second.keyframe().unwrap();
    assert_eq!(world.stream().state(), State::Live);
}

#[test]
fn a_local_source_is_not_taken_over_unless_told_so() {
    let world = World::new();
    let mut camera = world.feed(Settings::default(), Terms::local(false));
    camera.pictures(1);
    let refused = world
        .try_feed(Settings::default(), &Terms::remote().on_port(9))
        .map(drop)
        .unwrap_err();
    assert!(matches!(refused, PublishError::Local { .. }));
    let refused = world
        .try_feed(Settings::default(), &Terms::local(true))
        .map(drop)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "\"zerolatency\" is 192.0.2.1:5000 (test), which is not taken over; publish under another name, or set takeover = \
         true on it"
    );
    drop(camera);
    let mut camera = world.feed(Settings::default(), Terms::local(true));
    camera.pictures(1);
    let mut other = world.video();
    other.keyframe().unwrap();
    assert!(matches!(camera.picture(), Err(Refused::Replaced { .. })));
}

#[test]
fn a_local_source_that_came_while_another_waited_is_not_taken_over() {
    let world = World::new();
    let mut first = world.video();
    first.pictures(1);
    let mut waiting = world.video();
    let mut camera = world.feed(Settings::default(), Terms::local(false));
    camera.keyframe().unwrap();
    let refused = waiting.keyframe().unwrap_err();
    assert!(matches!(refused, Refused::NotNow(PublishError::Local { .. })));
    world.clock.advance_ms(20_000);
    assert_eq!(waiting.keyframe(), Err(refused), "a refusal is final");
    camera.pictures(1);
}

#[test]
fn two_that_replace_each_other_three_times_in_ten_seconds_are_stopped() {
    let world = World::new();
    let mut feeds = vec![world.feed(Settings::default(), Terms::remote().on_port(1))];
    feeds[0].pictures(1);
    for port in 2..=4 {
        world.clock.advance_ms(2_000);
        let mut feed = world.feed(Settings::default(), Terms::remote().on_port(port));
        feed.keyframe().unwrap();
        assert!(feeds.last_mut().unwrap().picture().is_err());
        feeds.push(feed);
    }
    world.clock.advance_ms(2_000);
    let fifth = Terms::remote().on_port(5);
    let refused = world.try_feed(Settings::default(), &fifth).map(drop).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "\"zerolatency\" changed hands three times in ten seconds; 192.0.2.1:4 (test) keeps it and 192.0.2.1:5 (test) is \
         refused"
    );
    feeds[3].pictures(1);
    let mut camera = world.feed(Settings::default(), Terms::local(true));
    camera.keyframe().unwrap();
    assert!(feeds[3].picture().is_err(), "a source of our own is not held off");
    world.clock.advance_ms(10_000);
    world.feed(Settings::default(), fifth).keyframe().unwrap();
}

#[test]
fn a_publisher_that_returns_again_and_again_takes_over_from_our_own_each_time() {
    let world = World::new();
    for _ in 0..6 {
        let mut slate = world.feed(Settings::default(), Terms::stand_in());
        slate.keyframe().unwrap();
        world.clock.advance_ms(300);
        let mut publisher = world.video();
        publisher.keyframe().unwrap();
        assert!(slate.picture().is_err());
        world.clock.advance_ms(300);
    }
}

#[test]
fn a_silent_publisher_has_its_stream_again_from_a_stand_in() {
    let world = World::new();
    let mut publisher = world.feed(Settings::default(), Terms::remote().with_audio());
    publisher.pictures(4);
    let mut viewer = world.join();
    viewer.drain();
    for _ in 0..5 {
        let mut slate = world.feed(Settings::default(), Terms::stand_in().with_audio());
        slate.keyframe().unwrap();
        world.clock.advance_ms(200);
        slate.picture().unwrap();
        assert_eq!(viewer.frames().len(), 2, "the stand-in is seen");
        let dropped = publisher.stats.frames_dropped.get();
        publisher.picture().unwrap();
        assert!(publisher.publisher.is_waiting());
        assert_eq!(publisher.stats.frames_dropped.get(), dropped + 1);
        slate.picture().unwrap();
        viewer.drain();
        publisher.keyframe().unwrap();
        assert!(slate.picture().is_err());
        let got = viewer.frames();
        assert!(got.len() == 1 && got[0].frame.keyframe);
    }
    let mut slate = world.feed(Settings::default(), Terms::stand_in().with_audio());
    slate.keyframe().unwrap();
    publisher.keyframe().unwrap();
    assert!(!publisher.publisher.is_waiting(), "a keyframe takes over at once");
}

#[test]
fn who_comes_from_a_stand_in_takes_over_from_whom_it_stood_in_for_as_well() {
    let world = World::new();
    let mut silent = world.feed(Settings::default(), Terms::remote().on_port(1));
    silent.pictures(1);
    let mut slate = world.feed(Settings::default(), Terms::stand_in());
    slate.keyframe().unwrap();
    let mut second = world.feed(Settings::default(), Terms::remote().on_port(2));
    second.keyframe().unwrap();
    let refused = silent.picture().unwrap_err();
    assert_eq!(refused.to_string(), "192.0.2.1:2 (test) took over");
    drop(slate);
    drop(silent);
    assert_eq!(world.stream().state(), State::Live);
}

#[test]
fn one_that_waited_is_refused_when_the_name_changed_hands_too_often_meanwhile() {
    let world = World::new();
    let mut first = world.video();
    first.pictures(1);
    let mut waiting = world.video();
    let mut others: Vec<_> = (0..3).map(|_| world.video()).collect();
    for other in &mut others {
        other.keyframe().unwrap();
    }
    assert!(matches!(
        waiting.keyframe(),
        Err(Refused::NotNow(PublishError::Flapping { .. }))
    ));
    others[2].pictures(1);
}

#[test]
fn publishers_that_wait_are_limited() {
    let world = World::with(Limits {
        waiting_publishers: 2,
        ..Limits::default()
    });
    let mut first = world.video();
    first.pictures(1);
    let waiting = [world.video(), world.video()];
    let refused = world
        .try_feed(Settings::default(), &Terms::remote())
        .map(drop)
        .unwrap_err();
    assert!(matches!(refused, PublishError::TooManyPublishers { limit: 2, .. }));
    drop(waiting);
    let mut third = world.video();
    let _fourth = world.video();
    third.keyframe().unwrap();
    let _fifth = world.video();
}

#[test]
fn other_tracks_are_told_before_their_frames() {
    let world = World::new();
    let mut first = world.video();
    first.pictures(2);
    let (mut prompt, mut late) = (world.join(), world.join());
    assert_eq!(prompt.ids(), [0, 1]);
    let mut second = world.feed(Settings::default(), Terms::remote().with_audio());
    assert!(prompt.drain().is_empty(), "not before it takes over");
    assert_eq!(world.stream().tracks().len(), 1);
    second.keyframe().unwrap();
    second.sound().unwrap();
    assert_eq!(world.stream().tracks().len(), 2);
    let seen = prompt.drain();
    assert!(
        matches!(seen[..], [Seen::Tracks(2), Seen::Frame(_), Seen::Frame(_)]),
        "{seen:?}"
    );
    let seen = late.drain();
    assert!(matches!(
        seen[..],
        [
            Seen::Frame(_),
            Seen::Frame(_),
            Seen::Tracks(2),
            Seen::Frame(_),
            Seen::Frame(_)
        ]
    ));
    assert_eq!(seen[3].frame().lineup(), seen[1].frame().lineup() + 1);
    assert_eq!(world.join().ids(), [2, 3], "nobody starts with the old tracks");
}

#[test]
fn a_newcomer_between_tracks_and_first_frame_waits_for_the_frame() {
    let world = World::new();
    let mut first = world.video();
    first.pictures(5);
    first.publisher.close(world.now());
    let mut second = world.feed(Settings::default(), Terms::remote().with_audio());
    let mut viewer = world.join();
    assert_eq!(viewer.reader.burst_frames(), 0);
    assert!(viewer.drain().is_empty());
    second.pictures(1);
    assert_eq!(viewer.ids(), [5]);
}

#[test]
fn the_same_tracks_in_another_format_are_no_event() {
    let world = World::new();
    let mut first = world.video();
    first.pictures(1);
    let mut viewer = world.join();
    let mut second = world.feed(
        Settings {
            width: 1280,
            height: 720,
            ..Settings::default()
        },
        Terms::remote(),
    );
    second.keyframe().unwrap();
    assert_eq!(viewer.ids(), [0, 1]);
    assert_eq!(world.stream().tracks()[0].format.dimensions(), Some((1280, 720)));
}

#[test]
fn another_clock_rate_is_other_tracks() {
    let world = World::new();
    let track = |sample_rate_hz| {
        let format = Format::G711(audio::G711 {
            law: audio::Law::A,
            sample_rate_hz,
            channels: 1,
        });
        Track {
            index: TrackIndex(0),
            format: Arc::new(format),
            timescale: Timescale::new(sample_rate_hz).unwrap(),
        }
    };
    let (first, _) = world.publisher(vec![track(8_000)], &Terms::remote()).unwrap();
    let mut viewer = world.join();
    first.close(world.now());
    let (mut second, _) = world.publisher(vec![track(16_000)], &Terms::remote()).unwrap();
    let mut sound = Audio::new(TrackIndex(0), 0).next_frame(world.now_wall());
    sound.format = Arc::clone(&track(16_000).format);
    sound.time = MediaTime::new(0, track(16_000).timescale);
    second.publish(sound, world.now()).unwrap();
    let seen = viewer.drain();
    assert!(matches!(seen[..], [Seen::Tracks(1), Seen::Frame(_)]), "{seen:?}");
}

#[test]
fn media_time_goes_on_across_publishers_with_sound_in_step() {
    let world = World::new();
    let mut first = world.feed(
        Settings {
            first_ticks: 4_000_000_000,
            ..Settings::default()
        },
        Terms {
            audio_ticks: 355_555_555,
            ..Terms::remote().with_audio()
        },
    );
    let mut viewer = world.join();
    first.pictures(10);
    first.sound().unwrap();
    let last = viewer.frames();
    let last_us = last.iter().map(|entry| entry.frame.time.as_micros()).max().unwrap();
    first.publisher.close(world.now());
    world.clock.advance_ms(2_500);
    let mut second = world.feed(
        Settings {
            first_ticks: 77,
            ..Settings::default()
        },
        // 100 ms later than the picture on the same clock.
        Terms {
            audio_ticks: 800 + 7,
            ..Terms::remote().with_audio()
        },
    );
    second.picture().unwrap();
    second.sound().unwrap();
    second.pictures(1);
    let got = viewer.frames();
    let us = |index: usize| got[index].frame.time.as_micros();
    let passed = us(0) - last_us;
    assert!((passed - 2_533_333).abs() <= 100, "{passed} µs on the stream's clock");
    assert!(
        (us(1) - us(0) - 100_000).abs() <= 200,
        "one offset for all tracks: {}",
        us(1) - us(0)
    );
    assert_eq!(
        got[2].frame.time.ticks() - got[0].frame.time.ticks(),
        3_000,
        "and steps are not touched"
    );
    assert_eq!(got[0].frame.time.scale(), Timescale::VIDEO);
    assert_eq!(got[1].frame.time.scale(), Timescale::G711);
    assert_eq!(second.stats.timestamp_jumps.get(), 0);
}

#[test]
fn twenty_publishers_killed_in_turn_lose_no_reader() {
    let world = World::new();
    let mut viewers: Vec<_> = Vec::new();
    let mut times = Vec::new();
    for round in 0..20 {
        let mut feed = world.feed(Settings::default(), Terms::remote().with_audio());
        if round == 0 {
            viewers = (0..10).map(|_| world.join()).collect();
        }
        for _ in 0..15 {
            feed.picture().unwrap();
            feed.sound().unwrap();
        }
        for viewer in &mut viewers {
            let got = viewer.frames();
            assert_eq!(got.len(), 30, "round {round}");
            times.push(got[0].frame.time.as_micros());
        }
        if round % 2 == 0 {
            drop(feed);
        } else {
            feed.publisher.close(world.now());
        }
        world.clock.advance(Duration::from_millis(1_700));
        world.hub.poll(world.now());
    }
    assert!(times.is_sorted());
    let passed = times[times.len() - 1] - times[0];
    assert!((passed - 19 * 2_200_000).abs() < 19 * 100, "{passed}");
    assert!(world.hub.ring_bytes() < 200_000);
    let stream = world.stream();
    assert_eq!(stream.readers(), 10);
    drop(viewers);
    assert_eq!(stream.readers(), 0);
}

#[test]
fn sound_that_overlaps_is_dropped_and_the_clock_never_steps_back() {
    let world = World::new();
    let mut first = world.feed(Settings::default(), Terms::remote().with_audio());
    let mut viewer = world.join();
    first.pictures(1);
    // Sound runs 200 ms ahead of the picture.
    for _ in 0..12 {
        first.sound().unwrap();
    }
    let mut second = world.feed(
        Settings {
            first_ticks: 90_000,
            ..Settings::default()
        },
        Terms {
            // 100 ms behind its picture.
            audio_ticks: 7_200,
            ..Terms::remote().with_audio()
        },
    );
    second.keyframe().unwrap();
    for _ in 0..10 {
        second.sound().unwrap();
    }
    assert_eq!(second.stats.frames_dropped.get(), 4);
    let got = viewer.frames();
    for track in [TrackIndex(0), TrackIndex(1)] {
        let times: Vec<_> = (got.iter().filter(|entry| entry.frame.track == track))
            .map(|entry| entry.frame.time.as_micros())
            .collect();
        assert!(times.is_sorted_by(|a, b| a < b), "{track:?}: {times:?}");
    }
}

#[test]
fn several_video_tracks_each_begin_with_a_keyframe() {
    let world = World::new();
    let settings = |track| Settings {
        track: TrackIndex(track),
        ..Settings::default()
    };
    let (mut main, mut side) = (Video::new(settings(0)), Video::new(settings(1)));
    let (mut publisher, stats) = world
        .publisher(vec![main.track(), side.track()], &Terms::remote())
        .unwrap();
    for _ in 0..3 {
        publisher
            .publish(main.next_frame(world.now_wall()), world.now())
            .unwrap();
        publisher
            .publish(side.next_frame(world.now_wall()), world.now())
            .unwrap();
    }
    main.request_keyframe();
    publisher
        .publish(main.next_frame(world.now_wall()), world.now())
        .unwrap();
    publisher
        .publish(side.next_frame(world.now_wall()), world.now())
        .unwrap();
    let mut viewer = world.join();
    side.request_keyframe();
    publisher
        .publish(main.next_frame(world.now_wall()), world.now())
        .unwrap();
    publisher
        .publish(side.next_frame(world.now_wall()), world.now())
        .unwrap();
    assert_eq!(viewer.ids(), [6, 8, 9], "7 cannot be decoded without what was before");
    assert_eq!(stats.frames_dropped.get(), 0);
}
