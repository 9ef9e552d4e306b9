//! From RTP timestamps to media time and capture time.
//!
//! Each track's timestamps begin at a random value and say nothing about the other tracks; sender reports tie them to the
//! sender's clock. Until the first one, a track's place is that of its arrival. Then the track whose report came first
//! leads: it is never moved for the sake of others, whose places are corrected to match it, small errors (drift between
//! the clocks of camera and microphone) by at most 2 % of the time that passes, larger ones (a first picture that was
//! cached for seconds) in one step forwards.
//!
//! Belongs here: one media clock for the tracks of a session. Does not belong here: which capture time is believed
//! ([`super::Receiver`]), one clock for the publishers of a stream ([`media::hub`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use media::time::micros;
use media::{MediaTime, Timescale, TrackIndex, WallTime};

use super::Arrival;
use crate::rtp::TimestampUnwrapper;

/// A timestamp that moves by this much more or less than time did is the start of a new timeline.
const RESTART_SECONDS: i64 = 10;
/// Errors beyond this are corrected in one step: at 2 % it would take ten seconds.
const STEP_MICROS: i64 = 200_000;
/// Errors below this are left: the precision of what others put into their reports.
const TOLERANCE_MICROS: i64 = 2_000;
/// Errors beyond this mean that the tracks' reports are not of one clock.
const UNRELATED_MICROS: i64 = 10_000_000;
/// How much of the time that passes a correction may use: one part in fifty.
const SLEW_DIVISOR: i64 = 50;

/// The common time of the tracks of one session: their media times are comparable because they share one of these.
#[derive(Clone, Debug, Default)]
pub struct Timeline(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    /// Arrival of the session's first packet: where media time is zero.
    origin: Option<Instant>,
    leader: Option<Leader>,
}

#[derive(Clone, Copy, Debug)]
struct Leader {
    track: TrackIndex,
    /// The sender's wall time, in microseconds, when media time is zero.
    epoch_micros: i64,
    /// How far the leader has to move forwards because another track cannot move backwards.
    owed_micros: i64,
}

impl Timeline {
    fn with<T>(&self, act: impl FnOnce(&mut Shared) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A sender report's pair of times.
#[derive(Clone, Copy, Debug)]
pub(super) struct SenderTime {
    pub(super) wall: WallTime,
    pub(super) rtp_timestamp: u32,
}

impl SenderTime {
    /// The sender's wall time of a timestamp up to some hours away.
    pub(super) fn wall_of(self, rtp_timestamp: u32, clock: Timescale) -> WallTime {
        let ticks = rtp_timestamp.wrapping_sub(self.rtp_timestamp) as i32;
        self.wall
            .offset_micros(MediaTime::new(i64::from(ticks), clock).as_micros())
    }
}

/// One track's way from timestamps to media time.
#[derive(Debug)]
pub(super) struct TrackTime {
    timeline: Timeline,
    track: TrackIndex,
    clock: Timescale,
    unwrapper: TimestampUnwrapper,
    /// Media time minus unwrapped timestamp; `None` before the first unit.
    offset_ticks: Option<i64>,
    /// What is still to be added to it.
    correction_ticks: i64,
    /// Media time, in ticks, and arrival of the newest unit.
    last: Option<(i64, Instant)>,
    sender: Option<SenderTime>,
}

impl TrackTime {
    pub(super) fn new(timeline: Timeline, track: TrackIndex, clock: Timescale) -> Self {
        Self {
            timeline,
            track,
            clock,
            unwrapper: TimestampUnwrapper::default(),
            offset_ticks: None,
            correction_ticks: 0,
            last: None,
            sender: None,
        }
    }

    /// Another source sends from here on: media time goes on, its timestamps begin anew.
    pub(super) fn restart(&mut self) {
        self.unwrapper = TimestampUnwrapper::default();
        self.offset_ticks = None;
        self.correction_ticks = 0;
        self.sender = None;
    }

    /// The newest sender report's times.
    pub(super) fn sender(&self) -> Option<SenderTime> {
        self.sender
    }

    /// The media time of a unit, and whether the track's time was moved by a jump.
    pub(super) fn media_time(&mut self, rtp_timestamp: u32, at: Instant) -> (MediaTime, bool) {
        let before = self.unwrapper.last();
        let mut timestamp = self.unwrapper.unwrap(rtp_timestamp);
        let mut jumped = false;
        if let (Some(before), Some((_, last_at))) = (before, self.last) {
            let step = timestamp - before;
            let passed = self.ticks(micros(at.saturating_duration_since(last_at)));
            let second = i64::from(self.clock.hz());
            if (step - passed).abs() > RESTART_SECONDS * second && step.abs() > second {
                self.restart();
                timestamp = self.unwrapper.unwrap(rtp_timestamp);
            }
        }
        let offset = match self.offset_ticks {
            Some(offset) => {
                let offset = offset.saturating_add(self.correct(at, &mut jumped));
                self.offset_ticks = Some(offset);
                offset
            }
            None => {
                jumped = self.last.is_some();
                let offset = self.anchor(timestamp, rtp_timestamp, at);
                self.offset_ticks = Some(offset);
                // A report that came before the first packet counts from here on.
                if let Some(report) = self.sender {
                    self.sender_report(report);
                }
                offset
            }
        };
        let media = timestamp.saturating_add(offset);
        self.last = Some((media, at));
        (MediaTime::new(media, self.clock), jumped)
    }

    /// A sender report came.
    pub(super) fn sender_report(&mut self, report: SenderTime) {
        self.sender = Some(report);
        let Some(offset) = self.offset_ticks else { return };
        let timestamp = self.unwrapper.peek(report.rtp_timestamp);
        let media = MediaTime::new(timestamp.saturating_add(offset), self.clock).as_micros();
        let epoch_micros = report.wall.unix_micros().saturating_sub(media);
        let track = self.track;
        let ahead = self.timeline.with(|shared| match &mut shared.leader {
            Some(leader) if leader.track != track => {
                let ahead = leader.epoch_micros.saturating_sub(epoch_micros);
                if (STEP_MICROS..=UNRELATED_MICROS).contains(&ahead) {
                    // Nobody moves backwards, so the leader moves forwards.
                    leader.owed_micros = ahead;
                    return 0;
                }
                ahead
            }
            leader => {
                let owed_micros = leader.map_or(0, |leader| leader.owed_micros);
                *leader = Some(Leader {
                    track,
                    epoch_micros,
                    owed_micros,
                });
                0
            }
        });
        self.correction_ticks = match ahead.saturating_abs() {
            TOLERANCE_MICROS..=UNRELATED_MICROS => -self.ticks(ahead),
            _ => 0,
        };
    }

    /// Where a track begins, or begins again.
    fn anchor(&self, timestamp: i64, rtp_timestamp: u32, at: Instant) -> i64 {
        let media = match self.last {
            // At least one tick on: two pictures never have one time.
            Some((media, last_at)) => media + self.ticks(micros(at.saturating_duration_since(last_at))).max(1),
            None => self.timeline.with(|shared| {
                let origin = *shared.origin.get_or_insert(at);
                let arrival = micros(at.saturating_duration_since(origin));
                let by_report = shared.leader.zip(self.sender).map(|(leader, sender)| {
                    sender
                        .wall_of(rtp_timestamp, self.clock)
                        .unix_micros()
                        .saturating_sub(leader.epoch_micros)
                });
                let related = by_report.filter(|by_report| by_report.abs_diff(arrival) <= UNRELATED_MICROS as u64);
                self.ticks(related.unwrap_or(arrival))
            }),
        };
        media.saturating_sub(timestamp)
    }

    /// What of the correction is due now, in ticks.
    fn correct(&mut self, at: Instant, jumped: &mut bool) -> i64 {
        let track = self.track;
        let owed = self.timeline.with(|shared| match &mut shared.leader {
            Some(leader) if leader.track == track && leader.owed_micros > 0 => {
                let owed = std::mem::take(&mut leader.owed_micros);
                leader.epoch_micros = leader.epoch_micros.saturating_sub(owed);
                owed
            }
            _ => 0,
        });
        if owed > 0 {
            *jumped = true;
            return self.ticks(owed);
        }
        if self.correction_ticks == 0 {
            return 0;
        }
        let whole = self.correction_ticks;
        if whole > self.ticks(STEP_MICROS) {
            self.correction_ticks = 0;
            *jumped = true;
            return whole;
        }
        let passed = self
            .last
            .map_or(0, |(_, last_at)| micros(at.saturating_duration_since(last_at)));
        let most = self.ticks(passed) / SLEW_DIVISOR;
        let now = whole.clamp(-most, most);
        self.correction_ticks -= now;
        now
    }

    fn ticks(&self, micros: i64) -> i64 {
        MediaTime::new(0, self.clock).offset_micros(micros).ticks()
    }
}

/// The arrival that belongs to each of the two newest timestamps: a unit is handed out when its last packet or the first of
/// the next unit comes.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    newest: Option<(u32, Arrival)>,
    before: Option<(u32, Arrival)>,
}

impl Arrivals {
    /// A packet came. The first of its timestamp counts.
    pub(super) fn note(&mut self, rtp_timestamp: u32, arrival: Arrival) {
        if self.newest.is_none_or(|(newest, _)| newest != rtp_timestamp) {
            self.before = self.newest.replace((rtp_timestamp, arrival));
        }
    }

    /// When the first packet of this timestamp came; that of the newest packet if it is none of the two.
    pub(super) fn of(&self, rtp_timestamp: u32) -> Option<Arrival> {
        let known = [self.newest, self.before].into_iter().flatten();
        let mut known = known.filter(|(timestamp, _)| *timestamp == rtp_timestamp);
        known.next().or(self.newest).map(|(_, arrival)| arrival)
    }
}

#[cfg(test)]
mod tests;
