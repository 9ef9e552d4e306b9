//! The first picture where the publisher can be asked for one, and who asks.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use media::hub::Limits;
use testkit::stream::Settings;

use crate::world::{Feed, Terms, World};

/// A camera of ours with long GOPs, two seconds into one, and the count of requests it got.
fn camera(world: &World) -> (Feed, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let settings = Settings {
        gop_frames: 0,
        ..Settings::default()
    };
    let mut feed = world.feed(settings, Terms::local(false).asked_through(&requests));
    feed.pictures(61);
    (feed, requests)
}

#[test]
fn a_newcomer_asks_for_a_keyframe_and_starts_there() {
    let world = World::new();
    let (mut feed, requests) = camera(&world);
    let mut viewer = world.join();
    assert_eq!((viewer.reader.burst_frames(), requests.load(SeqCst)), (0, 1));
    feed.pictures(1);
    assert!(viewer.drain().is_empty());
    feed.keyframe().unwrap();
    assert_eq!(viewer.ids(), [62]);
}

#[test]
fn within_a_second_newcomers_share_that_keyframe() {
    let world = World::new();
    let (mut feed, requests) = camera(&world);
    let mut viewers = vec![world.join(), world.join()];
    assert_eq!(requests.load(SeqCst), 1);
    feed.keyframe().unwrap();
    feed.pictures(29);
    viewers.push(world.join());
    assert_eq!(viewers[2].reader.burst_frames(), 30);
    assert_eq!(requests.load(SeqCst), 1);
    for viewer in &mut viewers {
        assert_eq!(viewer.ids(), (61..91).collect::<Vec<_>>());
    }
    feed.pictures(2);
    let newcomer = world.join();
    assert_eq!((newcomer.reader.burst_frames(), requests.load(SeqCst)), (0, 2));
}

#[test]
fn a_publisher_that_does_not_answer_is_not_waited_for() {
    let world = World::new();
    let (mut feed, requests) = camera(&world);
    let first = world.join();
    assert_eq!(first.reader.burst_frames(), 0);
    feed.pictures(31);
    let second = world.join();
    assert_eq!(second.reader.burst_frames(), 92, "the old GOP instead");
    assert_eq!(requests.load(SeqCst), 2, "but it is asked again");
    feed.pictures(3);
    assert_eq!(world.join().reader.burst_frames(), 95);
    feed.keyframe().unwrap();
    feed.pictures(40);
    assert_eq!(
        world.join().reader.burst_frames(),
        0,
        "it answered, and is relied on again"
    );
}

#[test]
fn at_most_one_request_a_second_reaches_the_publisher_and_none_is_lost() {
    let world = World::new();
    let (mut feed, requests) = camera(&world);
    let stream = world.stream();
    for _ in 0..30 {
        stream.request_keyframe(world.now());
        feed.pictures(1);
    }
    assert_eq!(requests.load(SeqCst), 1, "30 wishes within one second");
    feed.pictures(1);
    assert_eq!(requests.load(SeqCst), 2, "the last of them, when the second is over");
    feed.pictures(90);
    assert_eq!(requests.load(SeqCst), 2);
    stream.request_keyframe(world.now());
    assert_eq!(requests.load(SeqCst), 3);
}

#[test]
fn a_request_goes_to_the_publisher_of_the_moment() {
    let world = World::new();
    let (feed, requests) = camera(&world);
    feed.publisher.close(world.now());
    world.stream().request_keyframe(world.now());
    assert_eq!(requests.load(SeqCst), 0, "nobody there");
    let others = Arc::new(AtomicUsize::new(0));
    let mut other = world.feed(Settings::default(), Terms::remote().asked_through(&others));
    other.pictures(1);
    world.stream().request_keyframe(world.now());
    assert_eq!((requests.load(SeqCst), others.load(SeqCst)), (0, 1));
}

/// A camera of ours whose own H.264 passes: nobody is made to wait for a keyframe that nobody can give.
#[test]
fn a_publisher_that_can_no_longer_be_asked_is_not_waited_for() {
    let world = World::new();
    let (mut feed, requests) = camera(&world);
    feed.publisher.set_keyframe_requests(None);
    assert_eq!(world.join().reader.burst_frames(), 61);
    world.stream().request_keyframe(world.now());
    assert_eq!(requests.load(SeqCst), 0);
    // Nor after a keyframe that happened to come within a second of a join.
    feed.keyframe().unwrap();
    feed.pictures(40);
    assert_eq!(world.join().reader.burst_frames(), 41);
    let asked = Arc::clone(&requests);
    feed.publisher.set_keyframe_requests(Some(Arc::new(move || {
        asked.fetch_add(1, SeqCst);
    })));
    assert_eq!((world.join().reader.burst_frames(), requests.load(SeqCst)), (0, 1));
}

#[test]
fn one_that_waits_to_take_over_changes_nothing_until_it_has() {
    let world = World::new();
    let (feed, requests) = camera(&world);
    feed.publisher.close(world.now());
    let others = Arc::new(AtomicUsize::new(0));
    let mut first = world.feed(Settings::default(), Terms::remote().asked_through(&others));
    first.pictures(1);
    let mut second = world.feed(Settings::default(), Terms::remote());
    let asked = Arc::clone(&requests);
    second.publisher.set_keyframe_requests(Some(Arc::new(move || {
        asked.fetch_add(1, SeqCst);
    })));
    world.stream().request_keyframe(world.now());
    assert_eq!((others.load(SeqCst), requests.load(SeqCst)), (1, 0));
    second.pictures(1);
    world.stream().request_keyframe(world.now());
    assert_eq!((others.load(SeqCst), requests.load(SeqCst)), (1, 1));
}

/// The callback runs outside the lock: it may use the stream.
#[test]
fn a_request_may_use_the_stream() {
    let world = World::new();
    let (feed, _) = camera(&world);
    drop(feed);
    let hub = world.hub.clone();
    let (name, clock) = (world.name.clone(), world.clock.clone());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let publishing = media::hub::Publishing {
        stats: Arc::new(world.stats(media::stats::Role::Publisher, 1)),
        origin: media::hub::Origin::Remote,
        keyframe_requests: Some(Arc::new(move || {
            let stream = hub.stream(&name, media::Clock::now(&clock)).unwrap();
            count.fetch_add(stream.tracks().len(), SeqCst);
        })),
    };
    let track = testkit::stream::Video::new(Settings::default()).track();
    let _publisher = world
        .hub
        .publish(&world.name, vec![track], publishing, world.now())
        .unwrap();
    world.stream().request_keyframe(world.now());
    assert_eq!(asked.load(SeqCst), 1);
}

#[test]
fn a_burst_over_its_limits_is_not_given() {
    let settings = Settings {
        gop_frames: 0,
        idr_bytes: 996,
        frame_bytes: 96,
        ..Settings::default()
    };
    let joined = |limits: Limits, pictures: usize| {
        let world = World::with(limits);
        let mut feed = world.feed(settings, Terms::remote());
        feed.pictures(pictures);
        let mut viewer = world.join();
        let burst = viewer.reader.burst_frames();
        assert_eq!(viewer.drain().len(), burst);
        feed.keyframe().unwrap();
        assert_eq!(viewer.frames().len(), 1, "it starts at the next keyframe, or goes on");
        burst
    };
    let bytes = Limits {
        burst_bytes: 1_000 + 40 * 100,
        ..Limits::default()
    };
    assert_eq!(joined(bytes, 41), 41);
    assert_eq!(joined(bytes, 42), 0);
    let time = Limits {
        burst_time: Duration::from_secs(1),
        ..Limits::default()
    };
    assert_eq!(joined(time, 31), 31);
    assert_eq!(joined(time, 32), 0);
    let nothing = Limits {
        burst_time: Duration::ZERO,
        ..Limits::default()
    };
    assert_eq!(joined(nothing, 1), 0);
}
