//! What a viewer is given when its way does not carry the stream.
//!
//! Belongs here: which rendition it gets, and when that changes, by the estimate and what each needs. Does not belong here: the estimate
//! ([`super::estimate`]), switching (the driver).
//!
//! Down goes at once: each moment of too much makes a queue that has to drain. Up goes when there has been room for a while; a rise that turns out to be too
//! much makes that while twice as long, so that a viewer does not go up and down for ever.

use std::time::{Duration, Instant};

pub use media::stats::Rendition;

/// What a rendition needs is not carried when the estimate is below this share of it: bitrates are means, and estimates are low rather than high.
const TOO_LITTLE: f64 = 0.9;
/// Room to go up: more than is needed, since the estimate is of this moment.
const ROOM: f64 = 1.2;
/// Another rendition has to be so much smaller to be worth it.
const WORTH: f64 = 0.8;
/// After a change the queue drains and the means adapt before the next one down.
const SETTLING: Duration = Duration::from_millis(2_500);
/// How long there has to be room, at first and at most.
const PATIENCE: Duration = Duration::from_millis(1_500);
const LONGEST_PATIENCE: Duration = Duration::from_secs(48);
/// Fewer pictures are for ways that stay too narrow. After an outage of some seconds the estimate is nothing, and the first pictures that come again
/// raise it within this time, as they could not if they were not sent.
const OUTAGE: Duration = Duration::from_millis(1_500);
/// Of the estimate an encoder is to take, and by how much that has to be another before it is told, and how often.
const SHARE: f64 = 0.9;
const WORTH_TELLING: f64 = 0.1;
const TELLING: Duration = Duration::from_secs(1);
/// Pictures with less are not worth looking at.
const LEAST_KBPS: u32 = 100;
/// Down again within this time after going up: that was too early.
const TRIAL: Duration = Duration::from_secs(10);

/// What each rendition needs, in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The stream as it is.
    pub full_bps: u64,
    /// The lower rendition, where there is one that the viewer can be given.
    pub low_bps: Option<u64>,
    /// The viewer is the only one, and the stream's encoder takes less where it is told to.
    pub adjustable: bool,
}

impl Needs {
    /// Whether a way with this estimate does not carry the stream as it is.
    pub fn is_short(&self, estimate_bps: u64) -> bool {
        (estimate_bps as f64) < self.full_bps as f64 * TOO_LITTLE
    }
}

/// Decides for one viewer.
#[derive(Debug)]
pub struct Decider {
    rendition: Rendition,
    changed: Option<Instant>,
    /// It went up the last time.
    rose: bool,
    /// Since when there is room for what.
    room: Option<(Rendition, Instant)>,
    /// Since when there is too little for anything else.
    short: Option<Instant>,
    patience: Duration,
}

impl Default for Decider {
    fn default() -> Self {
        Self {
            rendition: Rendition::Full,
            changed: None,
            rose: false,
            room: None,
            short: None,
            patience: PATIENCE,
        }
    }
}

impl Decider {
    /// What it is to be given from now on.
    pub fn decide(&mut self, estimate_bps: Option<u64>, needs: Needs, now: Instant) -> Rendition {
        let Some(estimate) = estimate_bps.filter(|_| needs.full_bps > 0) else {
            return self.rendition;
        };
        let best = |share: f64| best(estimate as f64 / share, needs);
        if self.rendition == Rendition::Low && needs.low_bps.is_none() {
            // It is gone.
            self.change(best(ROOM), now);
            return self.rendition;
        }
        let fits = best(TOO_LITTLE);
        if fits != Rendition::Fewer {
            self.short = None;
        } else if now.saturating_duration_since(*self.short.get_or_insert(now)) < OUTAGE {
            return self.rendition;
        }
        if fits.height() < self.rendition.height() {
            if !self.is_within(SETTLING, now) {
                if self.rose && self.is_within(TRIAL, now) {
                    self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
                }
                self.change(fits, now);
                self.rose = false;
            }
            return self.rendition;
        }
        if self.rose && !self.is_within(LONGEST_PATIENCE, now) {
            self.patience = PATIENCE;
        }
        let room = best(ROOM);
        if room.height() <= self.rendition.height() {
            self.room = None;
            return self.rendition;
        }
        let (_, since) = *self.room.get_or_insert((room, now));
        if now.saturating_duration_since(since) >= self.patience {
            self.change(room, now);
            self.rose = true;
        }
        self.rendition
    }

    fn is_within(&self, time: Duration, now: Instant) -> bool {
        self.changed.is_some_and(|at| now.saturating_duration_since(at) < time)
    }

    fn change(&mut self, rendition: Rendition, now: Instant) {
        self.rendition = rendition;
        (self.changed, self.room) = (Some(now), None);
    }
}

/// What the encoder is told for the sake of its only viewer.
#[derive(Debug, Default)]
pub struct Adjuster {
    /// What it was told, and what it took before.
    told: Option<(u32, u64)>,
    at: Option<Instant>,
}

impl Adjuster {
    /// What it is to be told now, in kb/s, if anything: no more than that, or as much as it likes.
    pub fn decide(&mut self, estimate_bps: u64, needs: Needs, now: Instant) -> Option<Option<u32>> {
        let recently = self.at.is_some_and(|at| now.saturating_duration_since(at) < TELLING);
        let kbps = u32::try_from(estimate_bps / 1_000).unwrap_or(u32::MAX);
        let wanted = ((f64::from(kbps) * SHARE) as u32).max(LEAST_KBPS);
        let next = match self.told {
            Some(_) if recently => return None,
            Some((_, before)) if u64::from(wanted) * 1_000 >= before => None,
            Some((told, before)) => {
                let change = (f64::from(wanted) - f64::from(told)).abs() / f64::from(told);
                (change >= WORTH_TELLING).then_some((wanted, before))?.into()
            }
            None if needs.full_bps == 0 || estimate_bps as f64 / TOO_LITTLE >= needs.full_bps as f64 => return None,
            None => Some((wanted, needs.full_bps)),
        };
        (self.told, self.at) = (next, Some(now));
        Some(next.map(|(kbps, _)| kbps))
    }

    /// It is no longer for this viewer alone. Whether it has to be told.
    pub fn release(&mut self) -> bool {
        self.told.take().is_some()
    }
}

/// The best rendition that needs no more than this.
fn best(bps: f64, needs: Needs) -> Rendition {
    let worth = |low: &u64| (*low as f64) < needs.full_bps as f64 * WORTH;
    if needs.adjustable && needs.low_bps.is_none() && bps >= f64::from(LEAST_KBPS) * 1_000.0 {
        return Rendition::Full;
    }
    if needs.full_bps as f64 <= bps {
        return Rendition::Full;
    }
    match needs.low_bps.filter(worth) {
        Some(low) if low as f64 <= bps => Rendition::Low,
        _ => Rendition::Fewer,
    }
}

#[cfg(test)]
mod tests {
    use media::Clock as _;
    use proptest::prelude::*;
    use testkit::clock::SimClock;

    use super::Rendition::{Fewer, Full, Low};
    use super::*;

    const WITH_LOW: Needs = Needs {
        full_bps: 2_000_000,
        low_bps: Some(400_000),
        adjustable: false,
    };
    const ALONE: Needs = Needs {
        full_bps: 2_000_000,
        low_bps: None,
        adjustable: false,
    };
    const STEP: Duration = Duration::from_millis(100);

    struct World {
        clock: SimClock,
        decider: Decider,
        changes: usize,
        last: Rendition,
    }

    impl World {
        fn new() -> Self {
            Self {
                clock: SimClock::new(),
                decider: Decider::default(),
                changes: 0,
                last: Full,
            }
        }

        fn run(&mut self, seconds: f64, kbps: u64, needs: Needs) -> Rendition {
            for _ in 0..(seconds * 10.0) as usize {
                self.clock.advance(STEP);
                let next = self.decider.decide(Some(kbps * 1_000), needs, self.clock.now());
                self.changes += usize::from(next != self.last);
                self.last = next;
            }
            self.last
        }
    }

    #[test]
    fn down_at_once_and_up_when_there_was_room_for_a_while() {
        for (needs, less) in [(WITH_LOW, Low), (ALONE, Fewer)] {
            let mut world = World::new();
            assert_eq!(
                world.decider.decide(None, needs, world.clock.now()),
                Full,
                "nothing is known"
            );
            assert_eq!(world.run(10.0, 1_900, needs), Full, "nearly enough");
            let soon = if less == Low { 0.1 } else { 1.6 };
            assert_eq!(world.run(soon, 900, needs), less);
            assert_eq!(world.run(10.0, 2_100, needs), less, "just enough");
            assert_eq!(world.run(1.4, 2_500, needs), less);
            assert_eq!(world.run(0.3, 2_500, needs), Full);
        }
    }

    #[test]
    fn the_lower_one_gives_way_to_fewer_pictures_and_comes_back_first() {
        let mut world = World::new();
        assert_eq!(world.run(1.6, 200, WITH_LOW), Fewer);
        assert_eq!(world.run(4.0, 500, WITH_LOW), Low);
        assert_eq!(world.run(3.5, 300, WITH_LOW), Fewer);
        world.run(4.0, 500, WITH_LOW);
        assert_eq!(world.run(0.1, 500, ALONE), Fewer, "it is gone");
        let hardly_lower = Needs {
            low_bps: Some(1_900_000),
            ..WITH_LOW
        };
        assert_eq!(World::new().run(2.0, 1_750, hardly_lower), Fewer, "not worth it");
    }

    /// Nothing got through for a while, and the first pictures after it say that all is well.
    #[test]
    fn an_outage_costs_no_pictures_afterwards() {
        let mut world = World::new();
        for needs in [ALONE, WITH_LOW] {
            assert_eq!(world.run(5.0, 5_000, needs), Full);
            assert_eq!(world.run(1.4, 10, needs), Full);
            assert_eq!(world.run(5.0, 5_000, needs), Full);
        }
        assert_eq!(world.changes, 0);
    }

    /// One that is told of room each time and finds none: fewer and fewer trials.
    #[test]
    fn it_does_not_flap() {
        let mut world = World::new();
        for _ in 0..600 {
            let kbps = if world.last == Full { 900 } else { 5_000 };
            world.run(1.0, kbps, WITH_LOW);
        }
        assert!(
            (10..60).contains(&world.changes),
            "{} changes in ten minutes",
            world.changes
        );
        // After a while of good behaviour that is forgotten.
        world.run(120.0, 5_000, WITH_LOW);
        assert_eq!(world.last, Full);
        world.run(1.0, 900, WITH_LOW);
        assert_eq!(world.run(3.5, 5_000, WITH_LOW), Full);
    }

    #[test]
    fn an_encoder_of_ours_takes_less_for_its_only_viewer_and_all_again() {
        let clock = SimClock::new();
        let mut adjuster = Adjuster::default();
        let mut told = |kbps: u64, full_kbps: u64| {
            clock.advance(Duration::from_secs(1));
            let needs = Needs {
                full_bps: full_kbps * 1_000,
                low_bps: None,
                adjustable: true,
            };
            adjuster.decide(kbps * 1_000, needs, clock.now())
        };
        assert_eq!(told(1_900, 2_000), None);
        assert_eq!(told(1_000, 2_000), Some(Some(900)));
        assert_eq!(told(1_050, 900), None, "not worth telling");
        assert_eq!(told(40, 900), Some(Some(100)), "as little as it can be");
        assert_eq!(told(1_500, 100), Some(Some(1_350)));
        assert_eq!(told(2_300, 1_350), Some(None), "what it took before is there");
        assert_eq!(told(2_300, 2_000), None);
        assert!(!adjuster.release());
        let needs = Needs {
            full_bps: 2_000_000,
            low_bps: None,
            adjustable: true,
        };
        assert_eq!(Decider::default().decide(Some(500_000), needs, clock.now()), Full);
        let mut decider = Decider::default();
        decider.decide(Some(50_000), needs, clock.now());
        clock.advance(OUTAGE);
        assert_eq!(decider.decide(Some(50_000), needs, clock.now()), Fewer);
    }

    #[test]
    fn a_stream_without_frames_decides_nothing() {
        let nothing = Needs::default();
        assert_eq!(World::new().run(5.0, 10, nothing), Full);
    }

    proptest! {
        /// Whatever comes: changes keep their distance, down and up, and what is given is there.
        #[test]
        fn changes_keep_their_distance(steps in proptest::collection::vec((0_u64..4_000, 0_u64..3_000, proptest::option::of(0_u64..3_000)), 1..400)) {
            let (clock, mut decider) = (SimClock::new(), Decider::default());
            let (mut last, mut changed) = (Full, None::<Instant>);
            for (kbps, full, low) in steps {
                clock.advance(STEP);
                let needs = Needs { full_bps: full * 1_000, low_bps: low.map(|low| low * 1_000), adjustable: false };
                let next = decider.decide(Some(kbps * 1_000), needs, clock.now());
                prop_assert!(next != Low || low.is_some() || full == 0);
                if next != last && last != Low {
                    let apart = changed.map(|at| clock.now().duration_since(at));
                    let least = if next.height() < last.height() { SETTLING } else { PATIENCE };
                    prop_assert!(apart.is_none_or(|apart| apart >= least), "{last:?} to {next:?} after {apart:?}");
                }
                if next != last {
                    (last, changed) = (next, Some(clock.now()));
                }
            }
        }
    }
}
