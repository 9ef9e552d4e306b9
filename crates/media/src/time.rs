//! The three kinds of time, as three types that do not mix.
//!
//! - [`std::time::Instant`] measures intervals on this machine (timeouts, pacing).
//! - [`MediaTime`] is a position on a stream's own clock: ticks and the rate they are counted in.
//! - [`WallTime`] is UTC. The capture time of a picture is wall time, because it has to mean the same on two machines.
//!
//! Does not belong here: reading any of these clocks. [`Clock`] is the trait through which the program hands them down;
//! tests hand down a simulated one.

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Seconds between the NTP epoch (1900-01-01) and the Unix epoch (1970-01-01), RFC 5905 §6.
const NTP_UNIX_SECONDS: i64 = 2_208_988_800;

/// Ticks per second of a media clock, for example 90,000 for video over RTP (RFC 6184 §8.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// 90 kHz: the RTP clock of every video codec.
    pub const VIDEO: Self = Self(NonZeroU32::new(90_000).unwrap());
    /// 48 kHz: the RTP clock of Opus whatever its sampling rate (RFC 7587 §4.1).
    pub const OPUS: Self = Self(NonZeroU32::new(48_000).unwrap());
    /// 8 kHz: G.711 (RFC 3551 §4.5.14).
    pub const G711: Self = Self(NonZeroU32::new(8_000).unwrap());

    /// `None` when `hz` is zero.
    pub const fn new(hz: u32) -> Option<Self> {
        match NonZeroU32::new(hz) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// Ticks per second.
    pub const fn hz(self) -> u32 {
        self.0.get()
    }
}

/// A position on a stream's own clock.
///
/// Ticks are 64-bit: at 90 kHz they last three million years, so they never wrap here. The 32-bit wrap of RTP is undone
/// where RTP is read. Two media times are comparable when they come from the same stream, whatever their timescales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MediaTime {
    ticks: i64,
    scale: Timescale,
}

impl MediaTime {
    /// A position of `ticks` on a clock of `scale` ticks per second.
    pub const fn new(ticks: i64, scale: Timescale) -> Self {
        Self { ticks, scale }
    }

    /// Position in ticks of its own [`Timescale`].
    pub const fn ticks(self) -> i64 {
        self.ticks
    }

    /// The rate the ticks are counted in.
    pub const fn scale(self) -> Timescale {
        self.scale
    }

    /// The same position on another clock, rounded towards negative infinity. Saturates at the ends of `i64`.
    #[must_use]
    pub fn rescale(self, scale: Timescale) -> Self {
        let ticks = (i128::from(self.ticks) * i128::from(scale.hz())).div_euclid(i128::from(self.scale.hz()));
        Self {
            ticks: saturate(ticks),
            scale,
        }
    }

    /// Microseconds since the zero of this clock, rounded towards negative infinity. Saturates at the ends of `i64`.
    pub fn as_micros(self) -> i64 {
        saturate((i128::from(self.ticks) * 1_000_000).div_euclid(i128::from(self.scale.hz())))
    }

    /// Microseconds from `earlier` to `self`; negative when `earlier` is later. Saturates.
    pub fn micros_since(self, earlier: Self) -> i64 {
        self.as_micros().saturating_sub(earlier.as_micros())
    }

    /// `self` moved by `micros` (negative: backwards), rounded down to a whole tick. Saturates.
    #[must_use]
    pub fn offset_micros(self, micros: i64) -> Self {
        let moved = (i128::from(micros) * i128::from(self.scale.hz())).div_euclid(1_000_000);
        Self {
            ticks: saturate(i128::from(self.ticks) + moved),
            scale: self.scale,
        }
    }
}

/// UTC, in microseconds since the Unix epoch. Range: ±292,000 years, so arithmetic on real dates does not overflow;
/// what could still overflow saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime {
    unix_micros: i64,
}

impl WallTime {
    /// From microseconds since 1970-01-01T00:00:00Z.
    pub const fn from_unix_micros(unix_micros: i64) -> Self {
        Self { unix_micros }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn unix_micros(self) -> i64 {
        self.unix_micros
    }

    /// Microseconds from `earlier` to `self`; negative when the clocks disagree or went back.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.unix_micros.saturating_sub(earlier.unix_micros)
    }

    /// `self` moved by `micros` (negative: backwards).
    #[must_use]
    pub const fn offset_micros(self, micros: i64) -> Self {
        Self {
            unix_micros: self.unix_micros.saturating_add(micros),
        }
    }

    /// A time of day in UTC; `None` for what the Gregorian calendar does not have. Years from 0 to 9999, `second` to 60 (a leap second is the next one's first).
    pub fn from_utc(date: (i64, i64, i64), time: (i64, i64, i64)) -> Option<Self> {
        let ((year, month, day), (hour, minute, second)) = (date, time);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let is_date = (0..=9_999).contains(&year) && (1..=12).contains(&month) && (1..=last).contains(&day);
        if !is_date || !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
            return None;
        }
        // Years that begin in March, so that leap days are last.
        let (year, from_march) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * from_march + 2) / 5 + day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(Self::from_unix_micros(seconds * 1_000_000))
    }

    /// `2026-11-21T19:43:26.123Z`: RFC 3339 in UTC, milliseconds rounded down. Years from 0 to 9999, beyond which it is the nearest of those.
    pub fn to_rfc3339(self) -> String {
        let mut text = String::with_capacity(24);
        self.write_rfc3339(&mut text);
        text
    }

    /// [`WallTime::to_rfc3339`], behind what `out` has.
    pub fn write_rfc3339(self, out: &mut String) {
        const YEAR_0_MICROS: i64 = -62_167_219_200_000_000;
        const LAST_MICROS: i64 = 253_402_300_799_999_999;
        let micros = self.unix_micros.clamp(YEAR_0_MICROS, LAST_MICROS);
        let (days, millis) = (
            micros.div_euclid(86_400_000_000),
            micros.rem_euclid(86_400_000_000) / 1_000,
        );
        // Days since 0000-03-01: with the leap day last in its year, months follow a straight line.
        let days = days + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let (seconds, millis) = (millis / 1_000, millis % 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        // Into a string nothing fails.
        let _ = write!(
            out,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        );
    }

    /// The 64-bit NTP timestamp of RTCP sender reports (RFC 3550 §4): seconds since 1900 in the upper half, fraction in
    /// the lower. Wraps in 2036 as the format does; see [`WallTime::from_ntp`].
    pub const fn to_ntp(self) -> u64 {
        let seconds = self.unix_micros.div_euclid(1_000_000) + NTP_UNIX_SECONDS;
        let micros = self.unix_micros.rem_euclid(1_000_000) as u64;
        // Rounded up, so that `from_ntp`, which rounds down, gives back the same microsecond.
        let fraction = (micros << 32).div_ceil(1_000_000);
        ((seconds as u64) << 32) | fraction
    }

    /// Reads a 64-bit NTP timestamp. The era is chosen so that the result lies nearest to `near` (RFC 5905 §6), normally
    /// the time of arrival: the format cannot tell 1900 from 2036.
    pub fn from_ntp(ntp: u64, near: Self) -> Self {
        const ERA_MICROS: i128 = (1_i128 << 32) * 1_000_000;
        let seconds = i128::from(ntp >> 32) - i128::from(NTP_UNIX_SECONDS);
        let micros = seconds * 1_000_000 + ((i128::from(ntp & 0xffff_ffff) * 1_000_000) >> 32);
        let eras = (i128::from(near.unix_micros) - micros + ERA_MICROS / 2).div_euclid(ERA_MICROS);
        Self {
            unix_micros: saturate(micros + eras * ERA_MICROS),
        }
    }
}

/// Where the program gets the time from. Handed down; nothing below the `sightline` crate reads a clock by itself.
pub trait Clock: Send + Sync {
    /// Monotonic time of this machine.
    fn now(&self) -> Instant;
    /// UTC as this machine believes it to be.
    fn wall(&self) -> WallTime;

    /// The wall time that belonged to a past monotonic instant, assuming both clocks ran alike since.
    fn wall_at(&self, instant: Instant) -> WallTime {
        let age = self.now().saturating_duration_since(instant);
        self.wall().offset_micros(-micros(age))
    }
}

/// A duration in whole microseconds, saturating.
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rescale_rounds_down_on_both_sides_of_zero() {
        let one_third = MediaTime::new(-1, Timescale::VIDEO).rescale(Timescale::G711);
        assert_eq!(one_third.ticks(), -1);
        assert_eq!(MediaTime::new(1, Timescale::VIDEO).rescale(Timescale::G711).ticks(), 0);
    }

    #[test]
    fn ntp_of_a_known_date() {
        // 2024-01-01T00:00:00.5Z
        let time = WallTime::from_unix_micros(1_704_067_200_500_000);
        assert_eq!(time.to_ntp() >> 32, 1_704_067_200 + 2_208_988_800);
        assert_eq!(time.to_ntp() & 0xffff_ffff, 0x8000_0000);
    }

    #[test]
    fn dates_as_text() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_704_067_200_500_999, "2024-01-01T00:00:00.500Z"),
            (1_709_164_799_999_999, "2024-02-28T23:59:59.999Z"),
            (1_709_164_800_000_000, "2024-02-29T00:00:00.000Z"),
            (951_868_800_000_000, "2000-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(WallTime::from_unix_micros(micros).to_rfc3339(), text);
        }
    }

    #[test]
    fn what_no_calendar_has_is_no_time() {
        for (date, time) in [
            ((2026, 2, 29), (0, 0, 0)),
            ((1900, 2, 29), (0, 0, 0)),
            ((2026, 4, 31), (0, 0, 0)),
            ((2026, 0, 1), (0, 0, 0)),
            ((2026, 13, 1), (0, 0, 0)),
            ((2026, 1, 0), (0, 0, 0)),
            ((-1, 1, 1), (0, 0, 0)),
            ((10_000, 1, 1), (0, 0, 0)),
            ((2026, 1, 1), (24, 0, 0)),
            ((2026, 1, 1), (0, 60, 0)),
            ((2026, 1, 1), (0, 0, 61)),
            ((i64::MAX, i64::MIN, i64::MAX), (i64::MIN, i64::MAX, i64::MIN)),
        ] {
            assert_eq!(WallTime::from_utc(date, time), None, "{date:?} {time:?}");
        }
        assert!(WallTime::from_utc((2000, 2, 29), (23, 59, 60)).is_some());
    }

    #[test]
    fn ntp_survives_the_era_change_of_2036() {
        let time = WallTime::from_unix_micros(2_100_000_000_123_456);
        let near = time.offset_micros(-5_000_000);
        assert_eq!(WallTime::from_ntp(time.to_ntp(), near), time);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in -62_167_219_200_i64..=253_402_300_799) {
            let time = WallTime::from_unix_micros(seconds * 1_000_000);
            let text = time.to_rfc3339();
            let number = |from: usize, to: usize| text[from..to].parse().unwrap();
            let date = (number(0, 4), number(5, 7), number(8, 10));
            prop_assert_eq!(WallTime::from_utc(date, (number(11, 13), number(14, 16), number(17, 19))), Some(time));
        }

        #[test]
        fn ntp_round_trip(unix_micros in 0_i64..4_000_000_000_000_000, skew in -1_000_000_000_i64..1_000_000_000) {
            let time = WallTime::from_unix_micros(unix_micros);
            prop_assert_eq!(WallTime::from_ntp(time.to_ntp(), time.offset_micros(skew)), time);
        }

        #[test]
        fn media_time_arithmetic_never_panics(ticks: i64, hz in 1_u32.., micros: i64) {
            let scale = Timescale::new(hz).unwrap();
            let time = MediaTime::new(ticks, scale);
            let _ = (time.as_micros(), time.rescale(Timescale::VIDEO), time.offset_micros(micros));
            prop_assert_eq!(time.rescale(scale), time);
        }
    }
}
