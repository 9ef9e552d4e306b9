//! The hub between threads: every interleaving of its locks, tried by loom.
//!
//! Belongs here: that no reader sleeps through what it waits for. Does not belong here: what readers are given (tests/hub).
//!
//! ```text
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p sightline-media --test loom
//! ```
//!
//! A wake-up that gets lost leaves a thread waiting for ever, which loom reports as a deadlock.
#![cfg(loom)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use loom::future::block_on;
use loom::thread;
use media::hub::{EndReason, Event, Hub, Limits, Origin, Publisher, Publishing, Reader, Refused, Stream};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{
    Capture, CaptureSource, Format, Frame, MediaTime, StreamName, Timescale, Track, TrackIndex, WallTime, h264,
};

struct World {
    now: Instant,
    hub: Hub,
    name: StreamName,
    format: Arc<Format>,
    requests: Arc<AtomicUsize>,
}

impl World {
    fn new(now: Instant) -> Self {
        Self {
            now,
            hub: Hub::new(Limits::default()),
            name: StreamName::default_stream(),
            format: Arc::new(Format::H264(h264::Format::default())),
            requests: Arc::default(),
        }
    }

    fn publisher(&self) -> Publisher {
        let track = Track {
            index: TrackIndex(0),
            format: Arc::clone(&self.format),
            timescale: Timescale::VIDEO,
        };
        let info = SessionInfo {
            stream: self.name.clone(),
            role: Role::Publisher,
            protocol: "test",
            remote: None,
            agent: None,
            since: WallTime::from_unix_micros(0),
        };
        let requests = Arc::clone(&self.requests);
        let publishing = Publishing {
            stats: Arc::new(SessionStats::new(info)),
            origin: Origin::Remote,
            keyframe_requests: Some(Arc::new(move || {
                requests.fetch_add(1, SeqCst);
            })),
        };
        self.hub.publish(&self.name, vec![track], publishing, self.now).unwrap()
    }

    fn keyframe(&self, number: u8) -> Frame {
        Frame {
            track: TrackIndex(0),
            time: MediaTime::new(i64::from(number) * 3_000, Timescale::VIDEO),
            capture: Capture {
                at: WallTime::from_unix_micros(0),
                source: CaptureSource::Camera,
            },
            keyframe: true,
            format: Arc::clone(&self.format),
            data: Bytes::copy_from_slice(&[0, 0, 0, 2, 0x65, number]),
        }
    }

    fn stream(&self) -> Arc<Stream> {
        self.hub.stream(&self.name, self.now).unwrap()
    }

    fn join(&self) -> Reader {
        self.stream().join(self.now).unwrap()
    }
}

/// Waits for `count` frames and returns the number that each carries.
fn take(reader: &mut Reader, count: usize) -> Vec<u8> {
    let mut frames = Vec::new();
    while frames.len() < count {
        let event = block_on(reader.next(&mut frames));
        assert!(matches!(event, Event::Frames(_)), "{event:?}");
    }
    frames.iter().map(|entry| entry.frame.data[5]).collect()
}

/// At most three preemptions a run, unless `LOOM_MAX_PREEMPTIONS` says otherwise. Without any bound all pass as well, in 100 s of
/// CPU, nearly all of them in the test with three threads.
fn explore(test: impl Fn(World) + Send + Sync + 'static) {
    #[allow(clippy::disallowed_methods, reason = "an arbitrary zero; nothing depends on which")]
    let now = Instant::now();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(move || test(World::new(now)));
}

#[test]
fn a_reader_that_waits_is_woken_by_a_publish() {
    explore(|world| {
        let mut publisher = world.publisher();
        let mut reader = world.join();
        let frames = [world.keyframe(0), world.keyframe(1)];
        let now = world.now;
        let publishing = thread::spawn(move || {
            for frame in frames {
                publisher.publish(frame, now).unwrap();
            }
        });
        assert_eq!(take(&mut reader, 2), [0, 1]);
        publishing.join().unwrap();
    });
}

#[test]
fn every_reader_that_waits_is_woken() {
    explore(|world| {
        let mut publisher = world.publisher();
        let readers = [world.join(), world.join()];
        let frame = world.keyframe(7);
        let waiting = readers.map(|mut reader| thread::spawn(move || assert_eq!(take(&mut reader, 1), [7])));
        publisher.publish(frame, world.now).unwrap();
        waiting.into_iter().for_each(|waiting| waiting.join().unwrap());
    });
}

#[test]
fn a_reader_that_leaves_takes_nobody_elses_wake_up_along() {
    explore(|world| {
        let mut publisher = world.publisher();
        let (leaving, mut staying) = (world.join(), world.join());
        let frame = world.keyframe(7);
        let now = world.now;
        let stream = world.stream();
        let publishing = thread::spawn(move || publisher.publish(frame, now).unwrap());
        // The slot that is freed is taken again at once.
        let leaving = thread::spawn(move || {
            drop(leaving);
            let mut next = stream.join(now).unwrap();
            assert_eq!(take(&mut next, 1), [7]);
        });
        assert_eq!(take(&mut staying, 1), [7]);
        publishing.join().unwrap();
        leaving.join().unwrap();
    });
}

#[test]
fn a_reader_that_waits_is_woken_by_the_end() {
    explore(|world| {
        let publisher = world.publisher();
        let mut reader = world.join();
        let (hub, now) = (world.hub.clone(), world.now);
        let ending = thread::spawn(move || {
            publisher.close(now);
            hub.poll(now + Duration::from_secs(5));
        });
        let event = block_on(reader.next(&mut Vec::new()));
        assert!(matches!(event, Event::Ended(EndReason::PublisherGone)), "{event:?}");
        ending.join().unwrap();
    });
}

#[test]
fn publishers_that_race_for_a_stream_lose_and_repeat_nothing() {
    explore(|world| {
        let mut first = world.publisher();
        first.publish(world.keyframe(0), world.now).unwrap();
        let mut second = world.publisher();
        let mut reader = world.join();
        let (frame, now) = (world.keyframe(2), world.now);
        let taking_over = thread::spawn(move || {
            second.publish(frame, now).unwrap();
            second
        });
        let kept = match first.publish(world.keyframe(1), now) {
            Ok(()) => vec![0, 1, 2],
            Err(Refused::Replaced { .. }) => vec![0, 2],
            Err(other) => panic!("{other}"),
        };
        assert_eq!(take(&mut reader, kept.len()), kept);
        drop(taking_over.join().unwrap());
    });
}

#[test]
fn a_publisher_that_comes_back_races_with_the_end_of_the_hold() {
    explore(|world| {
        let first = world.publisher();
        first.close(world.now);
        let mut reader = world.join();
        let hub = world.hub.clone();
        let over = world.now + Duration::from_secs(5);
        let polling = thread::spawn(move || {
            hub.poll(over);
        });
        let mut second = world.publisher();
        let published = second.publish(world.keyframe(3), world.now);
        polling.join().unwrap();
        let mut frames = Vec::new();
        let event = block_on(reader.next(&mut frames));
        let same = Arc::ptr_eq(reader.stream(), second.stream());
        match event {
            Event::Frames(1) => assert!(same && published.is_ok()),
            Event::Ended(EndReason::PublisherGone) => assert!(!same && published.is_ok()),
            other => panic!("{other:?}, {published:?}"),
        }
    });
}

#[test]
fn of_two_wishes_at_a_time_one_reaches_the_publisher() {
    explore(|world| {
        let _publisher = world.publisher();
        let (stream, now) = (world.stream(), world.now);
        let other = Arc::clone(&stream);
        let asking = thread::spawn(move || other.request_keyframe(now));
        stream.request_keyframe(now);
        asking.join().unwrap();
        assert_eq!(world.requests.load(SeqCst), 1);
    });
}
