//! Readers: where they start, what they are given, when they are moved on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use media::TrackIndex;
use media::hub::{Entry, Event, Limits, Position, Stream};
use testkit::stream::{Audio, Settings};

use crate::world::{Seen, Terms, Viewer, World, push_seen};

/// A GOP of two seconds.
fn long_gop() -> Settings {
    Settings {
        gop_frames: 60,
        ..Settings::default()
    }
}

/// Reads without a waker until there is nothing new.
fn read_all(stream: &Stream, position: &mut Position, max: usize) -> Vec<Seen> {
    let (mut seen, mut frames) = (Vec::new(), Vec::new());
    while let Some(event) = stream.read(position, max, &mut frames) {
        assert!(frames.len() <= max);
        push_seen(&mut seen, event, &mut frames);
    }
    seen
}

fn ids(seen: &[Seen]) -> Vec<u64> {
    seen.iter().map(|seen| seen.frame().id).collect()
}

/// What a replay gives now.
fn replayed(world: &World) -> Vec<u64> {
    let mut frames = Vec::new();
    world.stream().replay(world.now(), &mut frames).unwrap();
    frames.iter().map(|entry| entry.id).collect()
}

/// For HLS, which keeps more than the last GOP.
#[test]
fn a_replay_begins_with_all_there_is() {
    let world = World::new();
    let mut feed = world.feed(Settings::default(), Terms::remote());
    feed.pictures(35);
    assert_eq!(replayed(&world), (0..35).collect::<Vec<_>>());
    // Two seconds, and from a keyframe on.
    feed.pictures(100);
    assert_eq!(replayed(&world), (80..135).collect::<Vec<_>>());
    let mut frames = Vec::new();
    let mut viewer = Viewer::new(world.stream().replay(world.now(), &mut frames).unwrap());
    assert!(viewer.ids().is_empty());
    feed.pictures(3);
    assert_eq!(viewer.ids(), [135, 136, 137], "it goes on where the replay ended");
}

#[test]
fn a_replay_holds_a_whole_gop() {
    let world = World::new();
    let mut feed = world.feed(long_gop(), Terms::remote());
    for pictures in [61, 29, 29, 1, 119] {
        feed.pictures(pictures);
        let ids = replayed(&world);
        let end = ids[ids.len() - 1] + 1;
        assert_eq!(
            ids[0],
            (end - 1) / 60 * 60 - 60,
            "the GOP before the one that has begun"
        );
        assert_eq!(ids.len() as u64, end - ids[0]);
    }
    // Who reads live is not given what is old for that.
    let mut viewer = world.join();
    assert_eq!(viewer.ids()[0], 180);
}

#[test]
fn a_long_gop_is_not_kept() {
    let world = World::new();
    let mut feed = world.feed(
        Settings {
            gop_frames: 150,
            ..Settings::default()
        },
        Terms::remote(),
    );
    feed.pictures(150 + 70);
    assert_eq!(replayed(&world)[0], 150);
    let none = World::with(Limits {
        whole_gop: Duration::ZERO,
        ..Limits::default()
    });
    let mut feed = none.feed(long_gop(), Terms::remote());
    feed.pictures(60 + 31);
    assert_eq!(replayed(&none)[0], 60);
}

#[test]
fn the_distance_of_keyframes_is_that_of_one_publisher() {
    let world = World::new();
    let mut feed = world.feed(Settings::default(), Terms::remote());
    feed.pictures(10);
    assert_eq!(world.stream().keyframe_distance(), None, "one is not enough");
    feed.pictures(21);
    let near = |distance: Option<Duration>, ms: u64| {
        let distance = distance.unwrap();
        assert!(
            distance.abs_diff(Duration::from_millis(ms)) < Duration::from_millis(2),
            "{distance:?}"
        );
    };
    near(world.stream().keyframe_distance(), 333);
    // The longest of the last few: what is in between are scenes that change.
    feed.keyframe().unwrap();
    feed.pictures(9);
    near(world.stream().keyframe_distance(), 333);
    drop(feed);
    let mut feed = world.feed(long_gop(), Terms::remote().on_port(9));
    feed.pictures(1);
    assert_eq!(
        world.stream().keyframe_distance(),
        None,
        "nothing is known of the next one's"
    );
    feed.pictures(60);
    near(world.stream().keyframe_distance(), 2_000);
}

#[test]
fn frames_tell_which_publisher_they_are_from() {
    let world = World::new();
    let mut feed = world.video();
    feed.pictures(3);
    drop(feed);
    let mut feed = world.feed(Settings::default(), Terms::remote().on_port(9));
    feed.pictures(2);
    let mut frames = Vec::new();
    world.stream().replay(world.now(), &mut frames).unwrap();
    let publishers: Vec<_> = frames.iter().map(|entry| entry.publisher).collect();
    assert_eq!(publishers, [0, 0, 0, 1, 1]);
}

#[test]
fn a_newcomer_gets_everything_since_the_last_keyframe() {
    let world = World::new();
    let mut feed = world.feed(Settings::default(), Terms::remote().with_audio());
    feed.pictures(14);
    feed.sound().unwrap();
    feed.pictures(2);
    let mut viewer = world.join();
    assert_eq!(viewer.reader.burst_frames(), 7);
    let burst = viewer.frames();
    assert!(burst[0].frame.keyframe);
    assert_eq!(
        burst.iter().map(|entry| entry.id).collect::<Vec<_>>(),
        (10..17).collect::<Vec<_>>()
    );
    assert_eq!(
        burst[4].frame.track,
        TrackIndex(1),
        "sound since the keyframe is part of it"
    );
    feed.pictures(1);
    assert_eq!(viewer.ids(), [17]);
}

#[test]
fn a_stream_without_video_starts_live() {
    let world = World::new();
    let mut sound = Audio::new(TrackIndex(0), 0);
    let (mut publisher, _) = world.publisher(vec![sound.track()], &Terms::remote()).unwrap();
    let mut send = || {
        world.clock.advance_ms(20);
        publisher
            .publish(sound.next_frame(world.now_wall()), world.now())
            .unwrap();
    };
    (0..50).for_each(|_| send());
    let mut viewer = world.join();
    assert_eq!(viewer.reader.burst_frames(), 0);
    assert!(viewer.drain().is_empty());
    send();
    assert_eq!(viewer.ids(), [50]);
    (0..200).for_each(|_| send());
    let seen = viewer.drain();
    assert!(
        matches!(seen[0], Seen::Jumped(199)),
        "to the newest frame: {:?}",
        seen[0]
    );
    assert_eq!(ids(&seen[1..]), [250]);
}

#[test]
fn a_reader_is_woken_once_for_what_it_waits_for() {
    let world = World::new();
    let mut feed = world.video();
    let (mut viewer, mut idle) = (world.join(), world.join());
    assert!(viewer.drain().is_empty());
    assert!(
        viewer.drain().is_empty(),
        "waiting twice with one waker is waiting once"
    );
    feed.pictures(3);
    assert_eq!(viewer.wakes.count(), 1);
    assert_eq!(idle.wakes.count(), 0, "never waited");
    assert_eq!(viewer.ids(), [0, 1, 2]);
    feed.pictures(1);
    assert_eq!(viewer.wakes.count(), 2);
    assert_eq!(idle.ids(), [0, 1, 2, 3]);
}

#[test]
fn a_reader_that_is_dropped_is_not_woken_and_its_slot_is_used_again() {
    let world = World::new();
    let mut feed = world.video();
    let mut viewer = world.join();
    viewer.drain();
    let wakes = Arc::clone(&viewer.wakes);
    drop(viewer);
    assert_eq!(Arc::strong_count(&wakes), 1, "its waker is gone with it");
    let mut next = world.join();
    next.drain();
    feed.pictures(1);
    assert_eq!((wakes.count(), next.wakes.count()), (0, 1));
    assert_eq!(world.stream().readers(), 1);
}

/// Dropping the last reference to a task drops its reader, which takes the stream's lock: never inside it.
#[test]
fn a_waker_may_own_another_reader_of_the_same_stream() {
    struct Owning(std::sync::Mutex<Option<media::hub::Reader>>);
    impl std::task::Wake for Owning {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().take();
        }
    }
    let world = World::new();
    let mut feed = world.video();
    let owning = || {
        let reader = world.stream().join(world.now()).unwrap();
        std::task::Waker::from(Arc::new(Owning(std::sync::Mutex::new(Some(reader)))))
    };
    let mut viewer = world.join();
    let mut frames = Vec::new();
    for _ in 0..2 {
        // The second replaces the first, which is the last to hold its reader.
        let waker = owning();
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(viewer.reader.poll_next(&mut cx, &mut frames).is_pending());
    }
    assert_eq!(world.stream().readers(), 2);
    feed.pictures(1);
    assert_eq!(world.stream().readers(), 1);
    let waker = owning();
    assert!(matches!(viewer.poll(), Poll::Ready(Event::Frames(1))));
    assert!(
        viewer
            .reader
            .poll_next(&mut std::task::Context::from_waker(&waker), &mut frames)
            .is_pending()
    );
    drop(waker);
    drop(viewer);
    assert_eq!(world.stream().readers(), 0);
}

/// A viewer's task that looks into the hub where it is woken: a publisher that returns wakes it outside the hub's lock too.
#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "a deadlock in a thread of its own does not keep the test from failing"
)]
fn a_waker_may_ask_the_hub_when_a_publisher_returns() {
    struct Asking {
        hub: media::hub::Hub,
        name: media::StreamName,
        at: std::time::Instant,
        found: std::sync::mpsc::Sender<bool>,
    }
    impl std::task::Wake for Asking {
        fn wake(self: Arc<Self>) {
            self.found.send(self.hub.stream(&self.name, self.at).is_ok()).unwrap();
        }
    }
    let world = World::new();
    let mut feed = world.video();
    feed.pictures(1);
    let mut viewer = world.join();
    viewer.drain();
    feed.publisher.close(world.now());
    let (found, answer) = std::sync::mpsc::channel();
    let waker = std::task::Waker::from(Arc::new(Asking {
        hub: world.hub.clone(),
        name: world.name.clone(),
        at: world.now(),
        found,
    }));
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(viewer.reader.poll_next(&mut cx, &mut Vec::new()).is_pending());
    std::thread::spawn(move || drop(world.video()));
    assert_eq!(answer.recv_timeout(Duration::from_secs(10)), Ok(true));
}

#[test]
fn one_poll_hands_out_64_frames_at_most() {
    let world = World::new();
    let mut feed = world.feed(long_gop(), Terms::remote().with_audio());
    let mut viewer = world.join();
    for _ in 0..50 {
        feed.picture().unwrap();
        feed.sound().unwrap();
    }
    assert!(matches!(viewer.poll(), Poll::Ready(Event::Frames(64))));
    assert!(matches!(viewer.poll(), Poll::Ready(Event::Frames(36))));
    assert!(viewer.poll().is_pending());
}

#[test]
fn one_that_falls_behind_jumps_to_the_newest_keyframe() {
    let world = World::new();
    let mut feed = world.video();
    let (mut prompt, mut slow) = (world.join(), world.join());
    feed.pictures(5);
    prompt.drain();
    slow.drain();
    for _ in 0..60 {
        feed.pictures(1);
        assert_eq!(prompt.ids().len(), 1);
    }
    // Ids 5 to 64 are unread: 1.97 s, not yet too much.
    let mut position = slow.reader.position();
    assert_eq!(read_all(&world.stream(), &mut position, 100).len(), 60);
    feed.pictures(2);
    let seen = slow.drain();
    assert!(matches!(seen[0], Seen::Jumped(55)), "{:?}", seen[0]);
    assert_eq!(ids(&seen[1..]), (60..67).collect::<Vec<_>>());
    assert!(seen[1].frame().frame.keyframe);
    assert_eq!(prompt.ids(), [65, 66]);
}

#[test]
fn one_past_the_newest_keyframe_waits_for_the_next_which_is_asked_for() {
    let requests = Arc::<AtomicUsize>::default();
    let world = World::new();
    let settings = Settings {
        gop_frames: 0,
        ..Settings::default()
    };
    let mut feed = world.feed(settings, Terms::remote().asked_through(&requests));
    let mut viewer = world.join();
    feed.pictures(10);
    viewer.drain();
    assert_eq!(requests.load(SeqCst), 1, "by the newcomer");
    feed.pictures(65);
    assert!(viewer.drain().is_empty(), "nothing is given until a keyframe comes");
    assert!(viewer.reader.position().is_waiting());
    assert_eq!(viewer.wakes.count(), 1);
    feed.pictures(3);
    assert_eq!(requests.load(SeqCst), 2);
    assert!(viewer.drain().is_empty());
    feed.keyframe().unwrap();
    feed.pictures(1);
    let seen = viewer.drain();
    assert!(matches!(seen[0], Seen::Jumped(68)), "all it missed: {:?}", seen[0]);
    assert_eq!(ids(&seen[1..]), [78, 79]);
}

#[test]
fn seconds_delivered_at_once_make_nobody_late() {
    let world = World::new();
    let mut feed = world.feed(long_gop(), Terms::remote());
    let mut viewer = world.join();
    feed.pictures(1);
    viewer.drain();
    for _ in 0..150 {
        let frame = feed.video.next_frame(world.now_wall());
        feed.publish(frame).unwrap();
    }
    assert_eq!(viewer.ids(), (1..=150).collect::<Vec<_>>());
}

#[test]
fn a_burst_older_than_the_lag_is_read_to_its_end() {
    let world = World::new();
    let settings = Settings {
        gop_frames: 0,
        ..Settings::default()
    };
    let mut feed = world.feed(settings, Terms::remote());
    feed.pictures(240);
    let mut viewer = world.join();
    assert_eq!(viewer.reader.burst_frames(), 240);
    for start in (0..192).step_by(64) {
        assert!(matches!(viewer.poll(), Poll::Ready(Event::Frames(64))), "from {start}");
        feed.pictures(4);
    }
    assert!(viewer.poll().is_ready());
    assert_eq!(viewer.ids(), [], "then it is live");
    feed.pictures(70);
    assert!(viewer.drain().is_empty(), "and held to the limit like everyone");
    feed.keyframe().unwrap();
    assert!(matches!(viewer.drain()[0], Seen::Jumped(70)));
}

#[test]
fn a_newcomer_still_in_its_burst_goes_on_at_a_newer_keyframe() {
    let world = World::new();
    let settings = Settings {
        gop_frames: 0,
        ..Settings::default()
    };
    let mut feed = world.feed(settings, Terms::remote());
    feed.pictures(150);
    let mut viewer = world.join();
    assert!(matches!(viewer.poll(), Poll::Ready(Event::Frames(64))));
    feed.keyframe().unwrap();
    let seen = viewer.drain();
    assert!(matches!(seen[0], Seen::Jumped(86)), "{:?}", seen[0]);
    assert_eq!(ids(&seen[1..]), [150]);
}

#[test]
fn one_that_lags_at_the_newest_keyframe_itself_loses_nothing() {
    let world = World::new();
    let mut feed = world.feed(long_gop(), Terms::remote());
    let mut viewer = world.join();
    feed.pictures(60);
    viewer.drain();
    feed.video = testkit::stream::Video::new(Settings {
        gop_frames: 0,
        first_ticks: 60 * 3_000,
        ..Settings::default()
    });
    feed.pictures(75);
    assert_eq!(viewer.ids(), (60..135).collect::<Vec<_>>());
}

#[test]
fn a_jump_into_a_long_gop_is_a_burst_like_a_newcomers() {
    let world = World::new();
    let settings = Settings {
        gop_frames: 0,
        ..Settings::default()
    };
    let mut feed = world.feed(settings, Terms::remote());
    let mut viewer = world.join();
    feed.pictures(10);
    viewer.drain();
    feed.pictures(50);
    feed.keyframe().unwrap();
    feed.pictures(199);
    let seen = viewer.drain();
    assert!(matches!(seen[0], Seen::Jumped(50)), "{:?}", seen[0]);
    assert_eq!(ids(&seen[1..]), (60..260).collect::<Vec<_>>(), "read to its end");
}

#[test]
fn who_is_behind_is_judged_by_media_time_too() {
    let world = World::new();
    let mut feed = world.video();
    let mut viewer = world.join();
    feed.pictures(1);
    viewer.drain();
    // Ten times slower than real time.
    for _ in 0..30 {
        world.clock.advance_ms(300);
        feed.pictures(1);
    }
    assert_eq!(viewer.ids(), (1..=30).collect::<Vec<_>>());
}

#[test]
fn positions_read_without_a_waker_and_meet_the_live_reader() {
    let world = World::new();
    let mut feed = world.feed(long_gop(), Terms::remote());
    feed.pictures(30);
    let mut live = world.join();
    live.drain();
    let stream = world.stream();
    let start = stream.start(world.now());
    assert_eq!((start.burst_frames, start.position.next_id()), (30, 0));
    let mut position = start.position;
    let mut frames = Vec::new();
    assert!(matches!(
        stream.read(&mut position, 7, &mut frames),
        Some(Event::Frames(7))
    ));
    assert!(matches!(
        stream.read(&mut position, 7, &mut frames),
        Some(Event::Frames(7))
    ));
    assert_eq!(frames.len(), 14, "appended");
    read_all(&stream, &mut position, 7);
    assert_eq!(position.next_id(), live.reader.position().next_id());
    feed.pictures(2);
    assert_eq!(ids(&read_all(&stream, &mut position, 7)), live.ids());
}

#[test]
fn a_live_position_takes_whatever_comes() {
    let world = World::new();
    let mut feed = world.video();
    feed.pictures(5);
    let mut viewer = world.join();
    viewer.reader.seek(world.stream().live());
    assert!(viewer.drain().is_empty());
    feed.pictures(3);
    assert_eq!(viewer.ids(), [5, 6, 7], "keyframe or not");
}

#[test]
fn positions_are_made_from_entries_and_a_reader_can_be_moved() {
    let world = World::new();
    let mut feed = world.video();
    let mut viewer = world.join();
    feed.pictures(8);
    let frames: Vec<Arc<Entry>> = viewer.frames();
    viewer.reader.seek(Position::after(&frames[5]));
    assert_eq!(viewer.ids(), [6, 7]);
    viewer.reader.seek(Position::at(&frames[2]));
    assert_eq!(viewer.ids(), [2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_newcomer_before_the_first_keyframe_waits_for_it() {
    let world = World::new();
    let mut feed = world.feed(Settings::default(), Terms::remote().with_audio());
    let mut viewer = world.join();
    feed.sound().unwrap();
    assert!(viewer.drain().is_empty());
    feed.pictures(1);
    feed.sound().unwrap();
    assert_eq!(viewer.ids(), [1, 2]);
}

#[test]
fn a_newcomer_that_comes_late_to_its_first_keyframe_misses_nothing_within_the_lag() {
    let world = World::new();
    let mut feed = world.video();
    let (mut late, mut later) = (world.join(), world.join());
    feed.pictures(35);
    assert_eq!(late.ids(), (0..35).collect::<Vec<_>>());
    feed.pictures(40);
    assert_eq!(later.ids(), (20..75).collect::<Vec<_>>());
}

#[test]
fn a_snapshot_takes_the_newest_keyframe() {
    let world = World::new();
    let mut feed = world.video();
    assert!(world.stream().newest_keyframe().is_none());
    feed.pictures(25);
    let entry = world.stream().newest_keyframe().unwrap();
    assert!(entry.id == 20 && entry.frame.keyframe);
    assert_eq!(world.now() - entry.published, Duration::from_micros(33_333) * 4);
}

#[test]
fn limits_are_those_of_the_hub() {
    let limits = Limits {
        lag: Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::with(limits);
    let mut feed = world.video();
    assert_eq!(world.stream().limits(), &limits);
    let mut viewer = world.join();
    feed.pictures(1);
    viewer.drain();
    feed.pictures(15);
    assert!(matches!(viewer.drain()[0], Seen::Jumped(9)));
}
