//! The time of what is recorded, whatever the clock of the machine does.
//!
//! Belongs here: when a picture was, and that a segment is never shorter than nothing ([`Anchor`]); the time in which age is counted ([`Carried`]); whether the
//! machine has a date at all ([`Date`]). Does not belong here: reading clocks, asking the system whether its own is synchronised, what is deleted for its age
//! ([`super::retention`]).
//!
//! Three clocks are asked. The stream's says how long a picture lasts, and never goes back. The monotonic one of the machine says how much time passed,
//! but for what it was switched off. Wall time alone has a date, and anybody may set it: it gives the date that people see, and nothing is as long or
//! as old as it says.

use std::time::{Duration, Instant};

use media::{MediaTime, Timescale, WallTime};

/// What the clocks of this machine say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// How much time passed.
    pub monotonic: Instant,
    /// Which date it is.
    pub wall: WallTime,
}

impl Now {
    /// By how much wall time was set since `earlier`, in microseconds; negative: back. Saturates.
    fn set_us_since(&self, earlier: &Self) -> i64 {
        let passed_us = passed_us(earlier.monotonic, self.monotonic);
        self.wall.micros_since(earlier.wall).saturating_sub(passed_us)
    }
}

/// What is said of a run's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is right within two seconds.
    Holds,
    /// The clock of the machine was set: the run is over, the next begins with an anchor of its own.
    Set {
        /// By how much, in microseconds; negative: back.
        by_us: i64,
    },
    /// The stream's clock and the machine's came apart, though nobody set one: the stream counts wrong by more than can be pulled in, or left time out.
    /// The run is over as well.
    Apart {
        /// By how much wall time is ahead of the run's, in microseconds.
        by_us: i64,
    },
}

/// When a segment was, as it is said in lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Unix time of its beginning, in ticks of 90 kHz: where the one before it in the run ended.
    pub start_90k: i64,
    /// Unix time of its end. Never before its beginning.
    pub end_90k: i64,
    /// By how much wall time was ahead of that end.
    pub drift_90k: i64,
}

/// From the time of a stream to Unix time, for one run. It is tied to wall time once, and then goes by the stream's clock, but for 500 ppm by which it is
/// drawn to wall time from segment to segment.
///
/// How far it is off is the least that was seen in a segment: a picture may come late, as networks are, but not before it was.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// Where this segment began, on the stream's clock and as it is told.
    media_90k: i64,
    start_90k: i64,
    /// What is still to be pulled in of the drift of the segments before.
    pull_90k: i64,
    /// By how much wall time was ahead in this segment, had nothing been pulled in: the least.
    ahead_90k: Option<i64>,
    seen: Now,
}

impl Anchor {
    /// A run begins with this picture, which is here now.
    pub fn new(media: MediaTime, now: Now) -> Self {
        Self {
            media_90k: ticks_90k(media),
            start_90k: unix_90k(now.wall),
            pull_90k: 0,
            ahead_90k: None,
            seen: now,
        }
    }

    /// When a picture of this segment was: Unix time in ticks of 90 kHz. The later on the stream's clock, the later here, or the same; what lies before the
    /// segment is at its beginning.
    pub fn at(&self, media: MediaTime) -> i64 {
        let elapsed_90k = self.elapsed_90k(media);
        let told_90k = elapsed_90k.saturating_add(self.pulled_90k(elapsed_90k));
        self.start_90k.saturating_add(told_90k)
    }

    /// Compares the clocks; to be called for each fragment, with where it ends, when it is there. That a clock was set is seen once.
    pub fn look(&mut self, media: MediaTime, now: Now) -> Said {
        let set_us = now.set_us_since(&self.seen);
        self.seen = now;
        if set_us.saturating_abs() > MOST_APART_US {
            return Said::Set { by_us: set_us };
        }
        let elapsed_90k = self.elapsed_90k(media);
        let ahead_90k = unix_90k(now.wall).saturating_sub(self.start_90k.saturating_add(elapsed_90k));
        self.ahead_90k = Some(self.ahead_90k.map_or(ahead_90k, |least| least.min(ahead_90k)));
        // Late may be the network's doing. Early is nobody's.
        match ahead_90k.saturating_sub(self.pulled_90k(elapsed_90k)) {
            early_90k if early_90k < -MOST_APART_90K => apart(early_90k),
            _ => Said::Holds,
        }
    }

    /// A segment ends here, and the next begins. Ends a run too.
    pub fn end_segment(&mut self, media: MediaTime) -> (Span, Said) {
        let pulled_90k = self.pulled_90k(self.elapsed_90k(media));
        let ahead_90k = self.ahead_90k.take().unwrap_or(self.pull_90k);
        let span = Span {
            start_90k: self.start_90k,
            end_90k: self.at(media),
            drift_90k: ahead_90k.saturating_sub(pulled_90k),
        };
        self.media_90k = ticks_90k(media);
        self.start_90k = span.end_90k;
        self.pull_90k = span.drift_90k;
        let is_apart = span.drift_90k.saturating_abs() > MOST_APART_90K;
        (span, if is_apart { apart(span.drift_90k) } else { Said::Holds })
    }

    fn elapsed_90k(&self, media: MediaTime) -> i64 {
        ticks_90k(media).saturating_sub(self.media_90k).max(0)
    }

    /// What is pulled in so far into the segment: always less than the time that passed, so nothing goes back.
    fn pulled_90k(&self, elapsed_90k: i64) -> i64 {
        let most_90k = elapsed_90k / PULL_ONE_IN;
        self.pull_90k.clamp(-most_90k, most_90k)
    }
}

/// Whether the machine knows which date it is. One without a battery says 1970, or when its system was made, until it is told.
#[derive(Clone, Copy, Debug)]
pub struct Date {
    seen: Now,
}

impl Date {
    /// As it is now.
    pub fn new(now: Now) -> Self {
        Self { seen: now }
    }

    /// Compares the clocks; to be called every few seconds. The machine got its date just now: by so many microseconds what it said before was off.
    pub fn look(&mut self, now: Now) -> Option<i64> {
        let set_us = now.set_us_since(&self.seen);
        let before = std::mem::replace(&mut self.seen, now);
        let is_got = !is_date(before.wall) && is_date(now.wall) && set_us > MOST_APART_US;
        is_got.then_some(set_us)
    }
}

/// Whether it can be a date, and not that of a machine without one.
pub fn is_date(wall: WallTime) -> bool {
    wall >= FIRST_DATE
}

/// The time in which age is counted. It goes by the monotonic clock, and takes a date from wall time only when the system said for ten minutes that this is
/// synchronised, and nobody set it.
///
/// Where a row was written while that was not so, the date in it may be off by as much as the machine was switched off, or by anything if it never had one. So rows hold
/// this time at their end beside the one that people see, and whether it was sure; and when it becomes sure, rows that are not move with it
/// ([`Moved`]). A row's age is then never more than is true: what was not counted is what the machine was off. A machine whose
/// clock nothing synchronises counts the time that it runs.
#[derive(Clone, Debug)]
pub struct Carried {
    at: WallTime,
    seen: Now,
    synchronised_since: Option<Instant>,
    is_sure: bool,
}

/// The time in which age is counted was set: what is added to the rows that are not sure, which are sure then. To be kept in one transaction with
/// [`Carried::at`], or a kill between them makes rows older than they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Microseconds; negative: back.
    pub by_us: i64,
}

impl Carried {
    /// Goes on where it was `kept` last; without that, from wall time.
    pub fn new(kept: Option<WallTime>, now: Now) -> Self {
        Self {
            at: kept.unwrap_or(now.wall),
            seen: now,
            synchronised_since: None,
            is_sure: false,
        }
    }

    /// The time. To be kept wherever it is to go on from after a restart; if that is older, everything is younger by as much.
    pub fn at(&self, monotonic: Instant) -> WallTime {
        self.at.offset_micros(passed_us(self.seen.monotonic, monotonic))
    }

    /// It is the date: what is recorded now keeps its time.
    pub fn is_sure(&self) -> bool {
        self.is_sure
    }

    /// Compares the clocks; to be called every few seconds, and before a row is written. `is_synchronised`: as the system says of wall time (`adjtimex`).
    #[must_use = "rows that are not sure move with it"]
    pub fn look(&mut self, now: Now, is_synchronised: bool) -> Option<Moved> {
        let at = self.at(now.monotonic);
        let set_us = now.set_us_since(&self.seen);
        (self.at, self.seen) = (at, now);
        if !is_synchronised || set_us.saturating_abs() > MOST_APART_US {
            (self.synchronised_since, self.is_sure) = (None, false);
        }
        if !is_synchronised {
            return None;
        }
        let since = *self.synchronised_since.get_or_insert(now.monotonic);
        if now.monotonic.saturating_duration_since(since) < SURE_AFTER {
            return None;
        }
        self.at = now.wall;
        let moved = Moved {
            by_us: now.wall.micros_since(at),
        };
        (!std::mem::replace(&mut self.is_sure, true)).then_some(moved)
    }
}

/// Unix time in ticks of 90 kHz, rounded down. Saturates.
pub fn unix_90k(wall: WallTime) -> i64 {
    MediaTime::new(wall.unix_micros(), MICROSECONDS)
        .rescale(Timescale::VIDEO)
        .ticks()
}

/// What [`unix_90k`] was given, rounded down. Saturates.
pub fn from_unix_90k(at_90k: i64) -> WallTime {
    WallTime::from_unix_micros(MediaTime::new(at_90k, Timescale::VIDEO).as_micros())
}

fn ticks_90k(media: MediaTime) -> i64 {
    media.rescale(Timescale::VIDEO).ticks()
}

fn passed_us(from: Instant, to: Instant) -> i64 {
    media::time::micros(to.saturating_duration_since(from))
}

fn apart(by_90k: i64) -> Said {
    Said::Apart {
        by_us: MediaTime::new(by_90k, Timescale::VIDEO).as_micros(),
    }
}

/// What a run's time is off at the most, and what wall time is set by without that it counts: clocks of networks do as much.
const MOST_APART_US: i64 = 2_000_000;
const MOST_APART_90K: i64 = 180_000;
/// 500 ppm: what clocks of computers are slewed by, and nobody sees.
const PULL_ONE_IN: i64 = 2_000;
/// As long a system must have said that its clock is synchronised.
const SURE_AFTER: Duration = Duration::from_secs(600);
/// 2026-01-01T00:00:00Z: this program did not exist before. A machine without a battery says 1970, or when its system was made.
const FIRST_DATE: WallTime = WallTime::from_unix_micros(1_767_225_600_000_000);
const MICROSECONDS: Timescale = Timescale::new(1_000_000).unwrap();

#[cfg(test)]
mod tests;
