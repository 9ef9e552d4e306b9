//! When a camera is recorded.
//!
//! Belongs here: what begins and ends a recording: the settings, times of the week ([`Schedule`]), events with what was before and comes after them,
//! people. Does not belong here: frames and where they are kept until they are wanted, what an event is, files. A clip with a name of its own is another
//! machine beside this one.
//!
//! A machine without I/O: it is told what happens and what the clocks say, and says from when on frames are wanted and from when on no longer. Ranges
//! follow each other: the next begins where the last ended at the earliest, so that no frame is recorded twice.

mod schedule;

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::clock::Now;
pub use schedule::{InvalidTimes, Schedule, Times};

/// What a camera is recorded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Always.
    Continuous,
    /// At the times of the schedule.
    Schedule,
    /// While something happens; where there is a schedule, only what happens at its times.
    Events,
    /// When somebody says so. In the other modes too.
    Manual,
}

/// No mode has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mode of recording; there are continuous, schedule, events and manual")]
pub struct UnknownMode(String);

impl Mode {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Continuous => "continuous",
            Self::Schedule => "schedule",
            Self::Events => "events",
            Self::Manual => "manual",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let all = [Self::Continuous, Self::Schedule, Self::Events, Self::Manual];
        let mut meant = all.into_iter().filter(|mode| mode.name() == text.trim());
        meant.next().ok_or_else(|| UnknownMode(text.to_owned()))
    }
}

/// What a machine goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// For what.
    pub mode: Mode,
    /// Empty: no times.
    pub schedule: Schedule,
    /// What is recorded before an event, at the most; 60 s are the longest.
    pub pre_roll: Duration,
    /// What is recorded after an event, without another.
    pub post_roll: Duration,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passes.
    Nothing,
    /// Somebody wants a recording from now on.
    Start,
    /// It is enough. Does not end what is recorded for another reason.
    Stop,
    /// An event. What goes on is told again while it does, so that none has an end which could get lost.
    Event {
        /// Since when. It may be told late: what is still there of it is recorded.
        began: Instant,
        /// Until when as far as is known, an hour ahead at the most.
        until: Instant,
    },
}

/// What is wanted from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What was wanted before.
    Nothing,
    /// All frames since then, which is now or before, and those that come: from the keyframe on that it needs.
    From(Instant),
    /// No more frames.
    Stop,
}

/// One camera's.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: Settings,
    is_started: bool,
    event_until: Option<Instant>,
    is_recording: bool,
    /// Where the last range ended.
    ended: Option<Instant>,
    /// The latest that it was told.
    latest: Option<Instant>,
}

impl Machine {
    /// Not recording yet, whatever the settings say: it is to be told the time.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            is_started: false,
            event_until: None,
            is_recording: false,
            ended: None,
            latest: None,
        }
    }

    /// Other settings hold from the next input on. What somebody started goes on.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Whether frames are wanted.
    pub fn is_recording(&self) -> bool {
        self.is_recording
    }

    /// Whether somebody started it and did not stop it.
    pub fn is_started(&self) -> bool {
        self.is_started
    }

    /// Something happens. `zone`: where the schedule holds.
    pub fn input(&mut self, input: Input, now: Now, zone: &TimeZone) -> Wanted {
        // What was not said has not happened: a range whose end nobody asked for in time goes on to here.
        let at = self.latest.map_or(now.monotonic, |latest| latest.max(now.monotonic));
        self.latest = Some(at);
        let is_scheduled = self.is_scheduled(now, zone);
        let mut from = at;
        match input {
            Input::Nothing => {}
            Input::Start => self.is_started = true,
            Input::Stop => self.is_started = false,
            Input::Event { began, until } => {
                if self.settings.mode == Mode::Events && (is_scheduled || self.settings.schedule.is_empty()) {
                    from = self.event(at, began, until);
                }
            }
        }
        self.event_until = self
            .event_until
            .filter(|until| *until > at && self.settings.mode == Mode::Events);
        let is_wanted = self.is_started
            || self.event_until.is_some()
            || self.settings.mode == Mode::Continuous
            || (self.settings.mode == Mode::Schedule && is_scheduled);
        match (self.is_recording, is_wanted) {
            (false, true) => {
                self.is_recording = true;
                Wanted::From(self.ended.map_or(from, |ended| ended.max(from)))
            }
            (true, false) => {
                self.is_recording = false;
                self.ended = Some(at);
                Wanted::Stop
            }
            (false, false) | (true, true) => Wanted::Nothing,
        }
    }

    /// In how long it is to be told the time at the latest. `None`: it waits for what happens.
    pub fn wakes_in(&self, now: Now) -> Option<Duration> {
        let event = self
            .event_until
            .map(|until| until.saturating_duration_since(now.monotonic));
        // To the next minute of the wall clock, so that one that is set is seen by then.
        let into_minute_us = now.wall.unix_micros().rem_euclid(MINUTE_US);
        let minute = Duration::from_micros(MINUTE_US.abs_diff(into_minute_us));
        let minute = (self.settings.mode == Mode::Schedule).then_some(minute);
        event.into_iter().chain(minute).min()
    }

    /// Takes an event; returns from when on it wants frames.
    fn event(&mut self, at: Instant, began: Instant, until: Instant) -> Instant {
        let until = later(until.min(later(at, LONGEST_AHEAD)), self.settings.post_roll);
        // One that is told when it is long over is worth a look at what is in memory.
        let until = until.max(later(at, LEAST_AFTER));
        self.event_until = Some(self.event_until.map_or(until, |known| known.max(until)));
        let back = at
            .saturating_duration_since(began)
            .saturating_add(self.settings.pre_roll);
        at.checked_sub(back.min(LONGEST_BACK)).unwrap_or(at)
    }

    fn is_scheduled(&self, now: Now, zone: &TimeZone) -> bool {
        let at = Timestamp::from_microsecond(now.wall.unix_micros()).unwrap_or_default();
        self.settings.schedule.contains(zone.to_datetime(at))
    }
}

fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by).unwrap_or(at)
}

/// What is kept in memory at the longest.
const LONGEST_BACK: Duration = Duration::from_secs(60);
/// What an event can want ahead without being told again.
const LONGEST_AHEAD: Duration = Duration::from_secs(3_600);
const LEAST_AFTER: Duration = Duration::from_secs(1);
const MINUTE_US: i64 = 60_000_000;

#[cfg(test)]
mod tests;
