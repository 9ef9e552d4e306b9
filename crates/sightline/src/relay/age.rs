//! How old files are, without trusting any clock.
//!
//! A clock that is set would make all files old at once. So the age of a file is what was recorded since: the steps from each file to the next, none counted
//! for more than a file lasts. Time in which nothing was recorded before this start does not count, time since does.

use std::time::Duration;

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
