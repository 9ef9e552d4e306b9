//! How old files are, without trusting any clock.
//!
//! A clock that is set would make all files old at once. So the age of a file is what was recorded since: the steps from each file to the next, none counted
//! for more than a file lasts. Time in which nothing was recorded before this start does not count, time since does.
//!
//! That is for files of which nothing but the time of their last change is known. It tells their order as long as one clock told it: so those of a clock that
//! was plainly another stand apart ([`by_clock`]).

use std::time::Duration;

use media::WallTime;

/// A machine that does not know the date says 1970, or when its system was made. 2020-01-01, in microseconds since 1970.
const DATED_US: i64 = 1_577_836_800_000_000;
/// What is further ahead was told by a clock that has been set back since.
const AHEAD_US: i64 = 24 * 3_600 * 1_000_000;

/// Which clock told a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Undated,
    Dated,
    Ahead,
}

impl Told {
    fn of(changed_us: i64, now: WallTime) -> Self {
        if changed_us < DATED_US {
            Self::Undated
        } else if changed_us > now.unix_micros().saturating_add(AHEAD_US) {
            Self::Ahead
        } else {
            Self::Dated
        }
    }
}

/// Files with the times of their last change in microseconds, oldest first, by the clock that told them: one that knew no date, the right one, one that was
/// ahead. What one says tells nothing of the age of files of another.
pub(super) fn by_clock<T>(files: &[(i64, T)], now: WallTime) -> impl Iterator<Item = &[(i64, T)]> {
    files.chunk_by(move |(one, _), (other, _)| Told::of(*one, now) == Told::of(*other, now))
}

/// How many files may go, of these times of their last change in microseconds, oldest first. `idle`: since the newest. `step`: what lies between two files
/// at the most. None goes that is not older than `keep`.
pub(super) fn expired(changed_us: &[i64], idle: Duration, step: Duration, keep: Duration) -> usize {
    let mut age = idle;
    for (at, &changed) in changed_us.iter().enumerate().rev() {
        if age > keep {
            return at + 1;
        }
        let before = at.checked_sub(1).and_then(|before| changed_us.get(before));
        let since = before.map_or(0, |&before| changed.saturating_sub(before).max(0));
        age = age.saturating_add(Duration::from_micros(since.unsigned_abs()).min(step));
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn every_minute(count: i64) -> Vec<i64> {
        (0..count).map(|minute| minute * 60_000_000).collect()
    }

    #[test]
    fn what_was_recorded_since_counts() {
        let files = every_minute(100);
        assert_eq!(
            expired(&files, Duration::ZERO, 2 * MINUTE, HOUR),
            39,
            "60 minutes stay, and the one that is just as old"
        );
        assert_eq!(expired(&files, 10 * MINUTE, 2 * MINUTE, HOUR), 49);
        assert_eq!(expired(&files, 2 * HOUR, 2 * MINUTE, HOUR), 100);
        assert_eq!(expired(&[], HOUR, MINUTE, Duration::ZERO), 0);
    }

    #[test]
    fn a_clock_that_is_set_deletes_nothing() {
        let mut files = every_minute(30);
        // It was 1970, and is not any more.
        files.extend((0..30).map(|minute| 1_790_000_000_000_000 + minute * 60_000_000));
        assert_eq!(expired(&files, Duration::ZERO, 2 * MINUTE, HOUR + MINUTE), 0);
        // Set back.
        files.extend(every_minute(1));
        assert_eq!(expired(&files, Duration::ZERO, 2 * MINUTE, HOUR + MINUTE), 0);
    }

    #[test]
    fn files_of_another_clock_stand_apart() {
        let now = WallTime::from_unix_micros(1_790_000_000_000_000);
        let at = |us: i64| (us, ());
        let files = [
            0,
            60_000_000,
            1_789_000_000_000_000,
            1_790_000_000_000_000,
            1_800_000_000_000_000,
        ]
        .map(at);
        let parts: Vec<usize> = by_clock(&files, now).map(<[_]>::len).collect();
        assert_eq!(parts, [2, 2, 1]);
        assert_eq!(by_clock::<()>(&[], now).count(), 0);
        // A clock that starts in 1970: all with a date is ahead of it, and in order.
        let parts: Vec<usize> = by_clock(&files, WallTime::from_unix_micros(0))
            .map(<[_]>::len)
            .collect();
        assert_eq!(parts, [2, 3]);
    }

    proptest! {
        #[test]
        fn whatever_the_times_no_file_goes_before_as_much_was_recorded(
            files in prop::collection::vec(any::<i64>(), 0..200), idle_s in 0_u64..10_000, keep_s in 0_u64..10_000,
        ) {
            let (idle, keep) = (Duration::from_secs(idle_s), Duration::from_secs(keep_s));
            let gone = expired(&files, idle, MINUTE, keep);
            prop_assert!(gone <= files.len());
            if gone > 0 {
                let most = MINUTE * u32::try_from(files.len() - gone).unwrap();
                prop_assert!(idle + most > keep);
            }
        }
    }
}
