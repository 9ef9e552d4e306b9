//! The estimate on simulated ways: bursts of packets down, feedback up.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media::Clock as _;
use proptest::prelude::*;
use testkit::clock::SimClock;
use testkit::link::{Link, Quality};

use super::super::flight::Flight;
use super::*;
use crate::rtp::feedback::Arrivals;
use crate::rtp::rtcp::{self, Packet};

const PACKET_BYTES: usize = 1_200;
const FRAME: Duration = Duration::from_micros(33_333);
const FEEDBACK: Duration = Duration::from_millis(100);
/// Packets of somebody else's.
const FOREIGN: u8 = 0xff;

/// A sender of pictures, a receiver that reports, and the way between them.
struct World {
    clock: SimClock,
    began: Instant,
    flight: Flight,
    estimator: Estimator,
    down: Link,
    up: Link,
    /// Of the stream, and of what competes with it.
    kbps: u64,
    competing_kbps: u64,
    /// A keyframe is so much of other frames.
    keyframe: usize,
    gop: u64,
    frame: u64,
    next_frame: Instant,
    next_feedback: Instant,
    next_foreign: Instant,
    /// Numbers that came since the feedback before, and when.
    came: Vec<(u16, i64)>,
    expected: u16,
    /// The least since it was asked last.
    least: Option<u64>,
}

impl World {
    fn new(quality: Quality, kbps: u64, seed: u64) -> Self {
        let clock = SimClock::new();
        let now = clock.now();
        let up = Quality {
            delay: quality.delay,
            ..Quality::default()
        };
        Self {
            began: now,
            flight: Flight::new(65_000, now),
            estimator: Estimator::default(),
            down: Link::new(quality, seed),
            up: Link::new(up, seed + 1),
            kbps,
            competing_kbps: 0,
            keyframe: 5,
            gop: 60,
            frame: 0,
            next_frame: now,
            next_feedback: now + FEEDBACK,
            next_foreign: now,
            came: Vec::new(),
            expected: 65_000,
            least: None,
            clock,
        }
    }

    fn send_frame(&mut self, now: Instant) {
        let mean = self.kbps as f64 * 1_000.0 / 8.0 * FRAME.as_secs_f64();
        // So that a group of pictures has the mean as well.
        let small = mean * self.gop as f64 / (self.gop - 1 + self.keyframe as u64) as f64;
        let is_keyframe = self.frame.is_multiple_of(self.gop);
        let mut left = if is_keyframe {
            small * self.keyframe as f64
        } else {
            small
        } as usize;
        self.frame += 1;
        while left > 0 {
            let bytes = left.clamp(60, PACKET_BYTES);
            left = left.saturating_sub(bytes);
            let number = self.flight.send(bytes, now);
            let mut packet = vec![0; bytes];
            packet[1..3].copy_from_slice(&number.to_be_bytes());
            self.down.send(packet, now);
        }
        self.next_frame += FRAME;
    }

    fn send_feedback(&mut self, now: Instant) {
        self.next_feedback += FEEDBACK;
        let Some(&(newest, _)) = self
            .came
            .iter()
            .max_by_key(|(number, _)| number.wrapping_sub(self.expected) as i16)
        else {
            return;
        };
        let count = newest.wrapping_sub(self.expected).wrapping_add(1);
        if count > 5_000 {
            return;
        }
        let mut times_us = vec![None; usize::from(count)];
        for (number, at) in self.came.drain(..) {
            if let Some(time) = times_us.get_mut(usize::from(number.wrapping_sub(self.expected))) {
                *time = Some(at);
            }
        }
        let mut bytes = Vec::new();
        let arrivals = Arrivals {
            first: self.expected,
            times_us,
        };
        arrivals.write(1, 0, &mut bytes);
        self.expected = newest.wrapping_add(1);
        self.up.send(bytes, now);
    }

    fn run(&mut self, seconds: u64) {
        let end = self.clock.now() + Duration::from_secs(seconds);
        self.least = None;
        while self.clock.now() < end {
            let arrivals = [self.down.next_arrival(), self.up.next_arrival()];
            let foreign = (self.competing_kbps > 0).then_some(self.next_foreign);
            let next = [self.next_frame, self.next_feedback]
                .into_iter()
                .chain(arrivals.into_iter().flatten())
                .chain(foreign);
            let next = next.min().unwrap().min(end);
            self.clock.advance(next.saturating_duration_since(self.clock.now()));
            let now = self.clock.now();
            while let Some(packet) = self.down.poll(now) {
                if packet[0] != FOREIGN {
                    // The receiver's clock begins elsewhere.
                    let at_us = now.duration_since(self.began).as_micros() as i64 / 250 * 250 + 7_000_000;
                    self.came.push((u16::from_be_bytes([packet[1], packet[2]]), at_us));
                }
            }
            while let Some(bytes) = self.up.poll(now) {
                self.understand(&bytes, now);
            }
            if foreign.is_some_and(|at| at <= now) {
                let every = PACKET_BYTES as f64 * 8.0 / (self.competing_kbps as f64 * 1_000.0);
                self.next_foreign = now + Duration::from_secs_f64(every);
                self.down.send(vec![FOREIGN; PACKET_BYTES], now);
            }
            if self.next_frame <= now {
                self.send_frame(now);
            }
            if self.next_feedback <= now {
                self.send_feedback(now);
            }
        }
    }

    fn understand(&mut self, bytes: &Bytes, now: Instant) {
        for packet in rtcp::parse(bytes).unwrap() {
            let Packet::Arrivals(arrivals) = packet else { continue };
            let now_us = self.flight.micros(now);
            if let Some(observation) = self.flight.understand(&arrivals, now) {
                self.estimator.observe(&observation, now_us);
            }
        }
        let kbps = self.kbps();
        self.least = Some(self.least.map_or(kbps, |least| least.min(kbps)));
    }

    fn kbps(&self) -> u64 {
        self.estimator.bits_per_second().map_or(u64::MAX, |bps| bps / 1_000)
    }
}

fn narrow(kbps: u64) -> Quality {
    Quality {
        delay: Duration::from_millis(25),
        rate_bps: Some(kbps * 1_000),
        queue_bytes: 64 << 10,
        ..Quality::default()
    }
}

#[test]
fn a_way_that_narrows_is_noticed_within_a_second_and_one_that_widens_as_well() {
    let mut world = World::new(narrow(8_000), 2_000, 1);
    world.run(5);
    assert!(world.kbps() > 2_500, "{}", world.kbps());
    world.down.set_quality(narrow(1_000));
    world.run(1);
    assert!((500..1_000).contains(&world.kbps()), "{}", world.kbps());
    // What follows from it: less is sent.
    world.kbps = 400;
    world.run(5);
    assert!((500..1_000).contains(&world.kbps()), "{}", world.kbps());
    world.down.set_quality(narrow(6_000));
    // By three keyframes, which are probes.
    world.run(7);
    assert!((3_000..6_000).contains(&world.kbps()), "{}", world.kbps());
}

#[test]
fn what_loses_at_random_is_not_too_narrow() {
    for (loss, seed) in [(0.02, 2), (0.05, 3), (0.10, 4)] {
        let quality = Quality { loss, ..narrow(20_000) };
        let mut world = World::new(quality, 2_000, seed);
        world.run(60);
        assert!(world.least > Some(2_500), "{:?} at {loss}", world.least);
    }
}

#[test]
fn a_limit_without_a_queue_is_noticed_by_its_loss() {
    let quality = Quality {
        queue_bytes: 4_800,
        ..narrow(1_000)
    };
    let mut world = World::new(quality, 2_000, 5);
    world.run(4);
    assert!(world.kbps() < 1_100, "{}", world.kbps());
}

#[test]
fn large_keyframes_alone_do_not_lower_it() {
    let mut world = World::new(narrow(3_500), 2_000, 6);
    world.keyframe = 15;
    world.run(60);
    assert!(world.least > Some(2_000), "{:?}", world.least);
}

/// Somebody takes more and more of the way: what is left is found, and when that one has gone all of it again.
#[test]
fn what_somebody_else_takes_is_not_there() {
    let mut world = World::new(narrow(4_000), 2_000, 7);
    world.run(5);
    assert!(world.kbps() > 2_200, "{}", world.kbps());
    (world.competing_kbps, world.next_foreign) = (3_000, world.clock.now());
    world.run(3);
    assert!(world.kbps() < 1_800, "{}", world.kbps());
    world.kbps = 600;
    world.run(3);
    world.competing_kbps = 0;
    world.run(10);
    assert!(world.kbps() > 2_400, "{}", world.kbps());
}

/// Feedback that is lost delays what follows from it and does no harm.
#[test]
fn lost_feedback_is_no_bad_news() {
    let mut world = World::new(narrow(8_000), 2_000, 8);
    world.up.set_quality(Quality {
        loss: 0.3,
        delay: Duration::from_millis(25),
        ..Quality::default()
    });
    world.run(30);
    assert!(world.least > Some(2_500), "{:?}", world.least);
    world.down.set_quality(narrow(1_000));
    world.run(3);
    assert!(world.kbps() < 1_000, "{}", world.kbps());
}

#[test]
fn what_is_kept_has_a_limit() {
    let mut estimator = Estimator::default();
    for at in 0..100_000 {
        let arrival = Arrival {
            sent_us: at * 5_000,
            arrived_us: at * 5_000,
            bytes: 100,
        };
        let observation = Observation {
            arrivals: vec![arrival],
            ..Observation::default()
        };
        estimator.observe(&observation, at * 5_000);
    }
    assert!(estimator.points.len() <= POINTS && estimator.probes.len() <= PROBES);
    assert!(
        estimator.through.len() <= (THROUGHPUT_US / 5_000) as usize + 2,
        "{}",
        estimator.through.len()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn jitter_and_reordering_do_not_lower_it(jitter_ms in 0_u64..40, reorder in 0.0..0.2_f64, seed in 0..u64::MAX / 2) {
        let quality = Quality {
            jitter: Duration::from_millis(jitter_ms),
            reorder,
            reorder_by: Duration::from_millis(15),
            ..narrow(10_000)
        };
        let mut world = World::new(quality, 2_000, seed);
        world.run(3);
        world.run(27);
        prop_assert!(world.least > Some(2_000), "{:?}", world.least);
    }

    #[test]
    fn any_narrow_way_is_found(capacity in 300_u64..1_700, seed in 0..u64::MAX / 2) {
        let mut world = World::new(narrow(10_000), 2_000, seed);
        world.run(3);
        world.down.set_quality(narrow(capacity));
        world.run(4);
        prop_assert!(world.kbps() < capacity, "{} of {capacity}", world.kbps());
        prop_assert!(world.kbps() > capacity / 4, "{} of {capacity}", world.kbps());
    }

    /// Whatever a receiver says.
    #[test]
    fn nonsense_is_borne(
        times in proptest::collection::vec((any::<i64>(), any::<i64>(), any::<u16>()), 0..100),
        lost: u16, found: u16,
    ) {
        let mut estimator = Estimator::default();
        for (at, chunk) in times.chunks(5).enumerate() {
            let arrivals = chunk.iter().map(|(sent_us, arrived_us, bytes)| Arrival {
                sent_us: sent_us % (1 << 45),
                arrived_us: arrived_us % (1 << 45),
                bytes: (*bytes).into(),
            });
            let observation = Observation { arrivals: arrivals.collect(), lost: lost.into(), found: found.into() };
            estimator.observe(&observation, at as i64 * 700_000);
        }
    }
}
