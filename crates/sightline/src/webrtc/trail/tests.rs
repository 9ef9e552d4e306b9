//! A trail in simulated time: a camera, the hub, and a way of so many bits per second.

use bytes::Bytes;
use media::hub::{Event, Hub, Limits, Publisher, Stream};
use media::{Clock as _, Frame};
use std::sync::Arc;
use testkit::clock::SimClock;
use testkit::publishing::publish;
use testkit::stream::{Settings, Video};

use super::*;

const FPS: u64 = 30;
/// 24 kB and 59 times 8 kB: 2 Mb/s, a keyframe every two seconds.
fn camera() -> Video {
    Video::new(Settings {
        fps: FPS as u32,
        gop_frames: 60,
        idr_bytes: 24_000,
        frame_bytes: 8_000,
        ..Settings::default()
    })
}

struct World {
    clock: SimClock,
    publisher: Publisher,
    stream: Arc<Stream>,
    video: Video,
    trail: Trail,
    bps: u64,
    /// Every second picture is one that nobody refers to.
    layered: bool,
    made: u64,
    missed: u64,
    /// Number, whether it is a keyframe, and how late it was sent.
    sent: Vec<(u64, bool, Duration)>,
}

impl World {
    fn new(bps: u64, layered: bool) -> Self {
        let (clock, hub, video) = (SimClock::new(), Hub::new(Limits::default()), camera());
        let name = "cam".parse().unwrap();
        let publisher = publish(&hub, &name, vec![video.track()], &clock);
        Self {
            stream: hub.stream(&name, clock.now()).unwrap(),
            clock,
            publisher,
            video,
            trail: Trail::default(),
            bps,
            layered,
            made: 0,
            missed: 0,
            sent: Vec::new(),
        }
    }

    fn next(&mut self) -> Frame {
        let frame = self.video.next_frame(self.clock.wall());
        let number = self.made;
        self.made += 1;
        if frame.keyframe || !self.layered || number.is_multiple_of(2) {
            return frame;
        }
        let mut data = frame.data.to_vec();
        // nal_ref_idc of its only unit.
        data[4] &= 0x1f;
        Frame {
            data: Bytes::from(data),
            ..frame
        }
    }

    fn run(&mut self, seconds: u64) {
        let mut position = self.stream.live();
        for _ in 0..seconds * FPS {
            let frame = self.next();
            self.publisher.publish(frame, self.clock.now()).unwrap();
            let mut entries = Vec::new();
            self.stream.read(&mut position, 1, &mut entries);
            for entry in entries {
                assert!(!self.trail.has_passed(&entry));
                self.missed += self.trail.hand(&entry);
            }
            let next = self.clock.now() + Duration::from_micros(self.video.interval_us());
            self.follow();
            while let Some(due) = self.trail.due().filter(|due| *due < next) {
                self.clock.advance(due.saturating_duration_since(self.clock.now()));
                self.follow();
            }
            self.clock.advance(next.saturating_duration_since(self.clock.now()));
        }
    }

    fn follow(&mut self) {
        let (now, mut entries) = (self.clock.now(), Vec::new());
        while let Some(position) = self.trail.ready(now) {
            let Some(Event::Frames(_)) = self.stream.read(position, 1, &mut entries) else {
                self.trail.level();
                return;
            };
            for entry in entries.drain(..) {
                if self.trail.leaves_out(entry.frame.is_disposable()) {
                    self.missed += 1;
                    continue;
                }
                self.trail.send(&entry, self.bps, now);
                let late = now.saturating_duration_since(entry.published);
                self.sent.push((entry.id, entry.frame.keyframe, late));
            }
        }
    }

    fn latest(&self) -> Duration {
        self.sent.iter().map(|(.., late)| *late).max().unwrap()
    }

    /// Nothing is missing that one of those sent refers to, all are counted, and keyframes are no later than by one picture.
    fn check(&self) {
        for pair in self.sent.windows(2) {
            let [(before, ..), (id, keyframe, late)] = pair else {
                continue;
            };
            let gap = id - before;
            assert!(
                *keyframe || gap == 1 || (self.layered && gap == 2),
                "{id} after {before}"
            );
            assert!(
                !keyframe || *late < Duration::from_millis(100),
                "a keyframe {late:?} late"
            );
        }
        let waiting = self.trail.waiting;
        assert_eq!(self.sent.len() as u64 + self.missed + waiting, self.made);
    }
}

#[test]
fn half_of_the_pictures_come_where_half_gets_through() {
    let mut world = World::new(1_000_000, false);
    world.run(10);
    world.check();
    let (pictures, latest) = (world.sent.len(), world.latest());
    assert!((145..160).contains(&pictures), "{pictures} in ten seconds");
    assert!(latest < Duration::from_millis(1_100), "{latest:?} late");
    assert_eq!(world.sent.iter().filter(|(_, keyframe, _)| *keyframe).count(), 5);
}

#[test]
fn pictures_that_nobody_refers_to_are_left_out_first() {
    let mut world = World::new(1_250_000, true);
    world.run(10);
    world.check();
    let (pictures, latest) = (world.sent.len(), world.latest());
    assert!((150..200).contains(&pictures), "{pictures} in ten seconds");
    assert!(latest < Duration::from_millis(200), "{latest:?} late");
}

#[test]
fn all_come_where_all_get_through() {
    let mut world = World::new(4_000_000, false);
    world.run(4);
    world.check();
    assert_eq!((world.sent.len(), world.missed), (120, 0));
    assert!(world.trail.due().is_none(), "nothing waits");
}

/// One keyframe takes as long as there is to the next but one.
#[test]
fn keyframes_alone_come_no_faster_than_they_get_through() {
    let mut world = World::new(48_000, false);
    world.run(20);
    let keyframes: Vec<_> = world.sent.iter().map(|(id, keyframe, _)| (*id, *keyframe)).collect();
    assert_eq!(
        keyframes,
        [(0, true), (120, true), (240, true), (360, true), (480, true)]
    );
}

#[test]
fn a_keyframe_is_wanted_where_pictures_lag_and_not_too_often() {
    let wanted = |bps| {
        let mut world = World::new(bps, false);
        let mut wanted = 0;
        for _ in 0..20 {
            world.run(1);
            wanted += usize::from(world.trail.wants_keyframe(world.clock.now()));
        }
        wanted
    };
    assert!(World::new(1_000_000, false).trail.wants_keyframe(SimClock::new().now()));
    assert_eq!(wanted(4_000_000), 0);
    assert!(wanted(1_000_000) >= 8);
    assert_eq!(wanted(96_000), 0, "a keyframe takes two seconds, which is all there is");
}
