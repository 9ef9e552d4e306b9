//! The machine's clocks.
//!
//! Belongs here: the one place where the program reads them. Everything else is handed `Arc<dyn Clock>` or a `now`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::tz::TimeZone;
use media::{Capture, CaptureSource, Clock, WallTime};

/// [`Clock`] over the operating system's monotonic and real-time clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> WallTime {
        let now = SystemTime::now();
        let micros = match now.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => media::time::micros(since),
            // A machine without a battery-backed clock may start before 1970.
            Err(before) => media::time::micros(before.duration()).saturating_neg(),
        };
        WallTime::from_unix_micros(micros)
    }
}

/// The wall time of an instant that may lie ahead.
pub fn wall_at(clock: &dyn Clock, at: Instant) -> WallTime {
    let (now, wall) = (clock.now(), clock.wall());
    let ahead = media::time::micros(at.saturating_duration_since(now));
    let ago = media::time::micros(now.saturating_duration_since(at));
    WallTime::from_unix_micros(wall.unix_micros().saturating_add(ahead).saturating_sub(ago))
}

/// When a picture was taken, by our clock: that of a camera may be in another year, and then it is when it came.
pub fn captured(clock: &dyn Clock, capture: Capture, published: Instant) -> Capture {
    let arrived = wall_at(clock, published);
    if (0..PLAUSIBLE_US).contains(&arrived.micros_since(capture.at)) {
        return capture;
    }
    Capture {
        at: arrived,
        source: CaptureSource::Arrival,
    }
}

/// Whether the system says that wall time is that of the world, by what systemd's time synchronisation leaves behind. Where something else does it, it is not known: then
/// recordings age by the time that the machine runs, and are kept the longer.
pub fn is_synchronised() -> bool {
    std::path::Path::new(SYNCHRONISED).exists()
}

/// The time zone of this machine. Where `TZ` does not name one, by the file that says so alone: jiff's own way lists the names of all zones first, a
/// quarter of what a start costs.
pub fn zone() -> TimeZone {
    static KNOWN: Mutex<Option<(Instant, TimeZone)>> = Mutex::new(None);
    let now = Instant::now();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((read, zone)) = &*known
        && now.saturating_duration_since(*read) < ZONE_HOLDS
    {
        return zone.clone();
    }
    let local = match std::env::var_os("TZ") {
        Some(_) => None,
        None => std::fs::read(LOCAL_TIME).ok(),
    };
    let zone = local.and_then(|data| TimeZone::tzif("Local", &data).ok());
    let zone = zone.unwrap_or_else(TimeZone::system);
    *known = Some((now, zone.clone()));
    zone
}

/// A capture time that is further from the arrival is that of a camera whose clock is wrong.
const PLAUSIBLE_US: i64 = 5_000_000;
/// Where a system says which time zone it is in, in the form of RFC 8536.
const LOCAL_TIME: &str = "/etc/localtime";
/// There once the clock was set by systemd-timesyncd(8) since the start of the machine.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
/// As long as jiff takes one to be right.
const ZONE_HOLDS: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_utc_of_this_century() {
        let year_2020 = WallTime::from_unix_micros(1_577_836_800_000_000);
        let year_2100 = WallTime::from_unix_micros(4_102_444_800_000_000);
        let now = SystemClock.wall();
        assert!(year_2020 < now && now < year_2100, "{now:?}");
    }

    #[test]
    fn the_zone_is_that_of_the_system() {
        let at = jiff::Timestamp::from_second(1_750_000_000).unwrap();
        for at in [at, at + Duration::from_secs(180 * 86_400)] {
            assert_eq!(zone().to_offset(at), TimeZone::system().to_offset(at));
        }
    }

    #[test]
    fn a_camera_in_another_year_is_dated_by_our_clock() {
        let clock = testkit::clock::SimClock::new();
        let (now, wall) = (clock.now(), clock.wall());
        let capture = Capture {
            at: wall.offset_micros(-30_000),
            source: CaptureSource::SenderReport,
        };
        assert_eq!(captured(&clock, capture, now), capture);
        for wrong in [WallTime::from_unix_micros(0), wall.offset_micros(1_000_000)] {
            let told = captured(&clock, Capture { at: wrong, ..capture }, now);
            assert_eq!((told.at, told.source), (wall, CaptureSource::Arrival));
        }
    }

    #[test]
    fn an_earlier_instant_has_an_earlier_wall_time() {
        let earlier = SystemClock.now();
        std::thread::sleep(std::time::Duration::from_millis(5));
        let age_us = SystemClock.wall().micros_since(SystemClock.wall_at(earlier));
        assert!((4_000..1_000_000).contains(&age_us), "{age_us}");
    }
}
