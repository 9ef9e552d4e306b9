//! Snapshots of a stream, at their times.
//!
//! Belongs here: when one is due ([`Due`]), of which picture it is, making a JPEG of it. Does not belong here: where it waits and goes ([`super::sending`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use device::decode::keyframe;
use device::jpeg::{self, Shape};
use jiff::Timestamp;
use media::hub::{Entry, Stream};
use media::{Clock, WallTime};

use super::plan::Plan;
use super::{Shared, World};
use crate::record::trigger::Schedule;
use crate::shutdown::Shutdown;
use crate::stills;

/// How long the first keyframe of a stream that just began is waited for.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often a source on demand is told that it is needed, where snapshots follow each other closely: it would end ten seconds after each.
const NEED_EVERY: Duration = Duration::from_secs(4);
/// Where they are further apart it is fetched for each.
const CLOSE: Duration = Duration::from_secs(30);
/// A clock that was set back by more than this gives seconds again.
const SET_BACK_S: i64 = 5;

/// Which moment is next: whole multiples of the interval, as the clock on the wall shows them in UTC, so that snapshots of several cameras belong together.
#[derive(Debug)]
pub(super) struct Due {
    every_us: i64,
    /// The number of the last moment.
    last: Option<i64>,
}

impl Due {
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every_us: media::time::micros(every).max(1),
            last: None,
        }
    }

    /// How long it is to the next; zero: it is now, and counts as taken.
    pub(super) fn wait(&mut self, now: WallTime) -> Duration {
        let us = now.unix_micros();
        let moment = us.div_euclid(self.every_us);
        // The first is taken at once: whoever starts it wants to see that it goes.
        if self.last.is_none_or(|last| moment > last || moment < last - 1) {
            self.last = Some(moment);
            return Duration::ZERO;
        }
        // One that the clock went back over is not taken twice.
        let next = self.last.unwrap_or(moment).max(moment).saturating_add(1);
        let until_us = next.saturating_mul(self.every_us).saturating_sub(us);
        Duration::from_micros(until_us.unsigned_abs().max(1_000))
    }
}

/// Whether snapshots are taken then.
pub(super) fn is_time(schedule: Option<&Schedule>, wall: WallTime, zone: &jiff::tz::TimeZone) -> bool {
    let at = Timestamp::from_microsecond(wall.unix_micros()).unwrap_or_default();
    schedule.is_none_or(|schedule| schedule.contains(zone.to_datetime(at)))
}

/// Takes snapshots until it is told to stop.
pub(super) struct Taking {
    pub(super) plan: Arc<Plan>,
    pub(super) world: Arc<World>,
    pub(super) shared: Arc<Shared>,
    /// The second and the frame of the last.
    pub(super) last: Option<(i64, (u64, u64))>,
    /// What was wrong, and when it began.
    pub(super) trouble: Option<(String, Instant)>,
}

impl Taking {
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let mut due = Due::new(self.plan.every);
        loop {
            let clock = &self.world.clock;
            let is_time = is_time(self.plan.schedule.as_ref(), clock.wall(), &(self.world.zone)());
            let wait = due.wait(clock.wall());
            if wait.is_zero() {
                if is_time {
                    tokio::select! {
                        () = self.take() => {}
                        () = shutdown.requested() => return,
                    }
                }
                continue;
            }
            let mut wait = wait.min(Duration::from_secs(60));
            if is_time && self.plan.every <= CLOSE {
                self.world.streams.need(&self.plan.stream);
                wait = wait.min(NEED_EVERY);
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.requested() => return,
            }
        }
    }

    async fn take(&mut self) {
        match self.picture().await {
            Ok(None) => {}
            Ok(Some((second, jpeg))) => {
                if let Some((_, since)) = self.trouble.take() {
                    let lasted_s = self.world.clock.now().saturating_duration_since(since).as_secs();
                    tracing::info!(upload = %self.plan.name, lasted_s, "snapshots are taken again");
                }
                self.shared.add(second, jpeg).await;
            }
            Err(why) => {
                self.shared.missed();
                // The same again is no news.
                if self.trouble.as_ref().is_none_or(|(told, _)| *told != why) {
                    tracing::warn!(upload = %self.plan.name, stream = %self.plan.stream, "no snapshot: {why}");
                    let since = self
                        .trouble
                        .take()
                        .map_or_else(|| self.world.clock.now(), |(_, since)| since);
                    self.trouble = Some((why, since));
                }
            }
        }
    }

    /// The newest keyframe as JPEG, and its second; `None`: it was taken already.
    async fn picture(&mut self) -> Result<Option<(i64, Vec<u8>)>, String> {
        let found = self.world.streams.find(&self.plan.stream).await;
        let stream = found.map_err(|missing| missing.to_string())?;
        let clock = &self.world.clock;
        let entry = newest(&stream, &**clock)
            .await
            .ok_or("its stream has no pictures, or none that stand alone")?;
        let number = (entry.publisher, entry.id);
        let ago = media::time::micros(clock.now().saturating_duration_since(entry.published));
        let second = clock.wall().unix_micros().saturating_sub(ago).div_euclid(1_000_000);
        if let Some((last, known)) = self.last {
            // Within a second there is one name.
            if number == known || (last - SET_BACK_S..=last).contains(&second) {
                stream.request_keyframe(clock.now());
                return Ok(None);
            }
        }
        let (width, quality) = (self.plan.max_width, self.plan.quality);
        let made = tokio::task::spawn_blocking(move || picture(&entry, width, quality));
        let jpeg = made.await.map_err(|error| error.to_string())??;
        self.last = Some((second, number));
        // So that the next is not older than need be.
        if self.plan.every > Duration::from_secs(1) {
            stream.request_keyframe(clock.now());
        }
        Ok(Some((second, jpeg)))
    }
}

/// The newest keyframe; one that is about to come is waited for.
async fn newest(stream: &Arc<Stream>, clock: &dyn Clock) -> Option<Arc<Entry>> {
    let begun = clock.now();
    loop {
        if let Some(entry) = stream.newest_keyframe() {
            return Some(entry);
        }
        if clock.now().saturating_duration_since(begun) >= FIRST_WITHIN {
            return None;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn picture(entry: &Entry, max_width: Option<u16>, quality: u8) -> Result<Vec<u8>, String> {
    let picture = keyframe(&entry.frame, stills::ffmpeg().as_deref()).map_err(|error| error.to_string())?;
    jpeg::encode(&picture, Shape { max_width, quality }).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use testkit::clock::SimClock;

    fn seconds(clock: &SimClock, due: &mut Due, for_ms: u64) -> Vec<i64> {
        let (mut taken, end) = (Vec::new(), clock.elapsed() + Duration::from_millis(for_ms));
        while clock.elapsed() < end {
            match due.wait(clock.wall()) {
                Duration::ZERO => taken.push(clock.wall().unix_micros() / 1_000_000),
                wait => {
                    clock.advance(wait);
                }
            }
        }
        taken
    }

    #[test]
    fn snapshots_are_taken_at_whole_multiples() {
        let clock = SimClock::at(WallTime::from_unix_micros(1_003_400_000));
        let mut due = Due::new(Duration::from_secs(10));
        assert_eq!(seconds(&clock, &mut due, 40_000), [1_003, 1_010, 1_020, 1_030, 1_040]);
    }

    #[test]
    fn a_clock_that_is_set_neither_stops_nor_repeats_them() {
        let clock = SimClock::at(WallTime::from_unix_micros(1_000_000_000));
        let mut due = Due::new(Duration::from_secs(10));
        assert_eq!(seconds(&clock, &mut due, 15_000), [1_000, 1_010]);
        // Pulled back over a moment that was taken, as by NTP.
        clock.step_wall(-6_000_000);
        assert_eq!(seconds(&clock, &mut due, 15_000), [1_020]);
        clock.step_wall(-500_000_000);
        assert_eq!(seconds(&clock, &mut due, 15_000).len(), 2, "by far: it goes on at once");
        clock.step_wall(3_600_000_000);
        assert_eq!(seconds(&clock, &mut due, 15_000).len(), 2);
    }

    #[test]
    fn the_schedule_is_that_of_the_wall() {
        let times = ["mon-fri 18:00-08:00".parse().unwrap(), "sat,sun".parse().unwrap()];
        let schedule = Schedule::new(&times);
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let at = |day, hour| WallTime::from_utc((2026, 11, day), (hour, 0, 0)).unwrap();
        // 23 November 2026 is a Monday; an hour later there.
        for (day, hour, expected) in [
            (23, 16, false),
            (23, 17, true),
            (24, 6, true),
            (24, 7, false),
            (28, 11, true),
        ] {
            assert_eq!(is_time(Some(&schedule), at(day, hour), &zone), expected, "{day} {hour}");
        }
        assert!(is_time(None, at(23, 11), &zone));
    }
}
