//! Which snapshots go, of those that are there.
//!
//! Belongs here: a list of seconds and what of it is too old or too many. Does not belong here: asking what is there, deleting ([`super::sending`]).
//!
//! Age is counted from the newest snapshot back, step by step, and a step of more than a week counts as one: so a machine whose clock was set, or did not know the
//! date, deletes a week's worth at the most, whatever year it believes in. Nothing is deleted while nothing new comes.

use std::collections::VecDeque;
use std::time::Duration;

/// The longest pause between two snapshots that counts: the longest there is by a schedule.
const LONGEST_STEP_S: i64 = 7 * 86_400;
/// As many are known at a time; the oldest, since those go first. Eight megabytes.
pub(super) const MOST: usize = 1_000_000;

/// What is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Keep {
    /// Zero: for ever.
    pub(super) age: Duration,
    /// Zero: all.
    pub(super) count: u64,
}

impl Keep {
    /// Whether anything is ever deleted.
    pub(super) fn deletes(self) -> bool {
        !self.age.is_zero() || self.count > 0
    }
}

/// The seconds of those that are there, in order.
#[derive(Debug, Default)]
pub(super) struct Present {
    seconds: VecDeque<i64>,
    /// The steps between them, as they count.
    age_s: i64,
    /// There are more than are known.
    pub(super) is_cut: bool,
}

impl Present {
    /// Those that were listed, in any order.
    pub(super) fn of(mut seconds: Vec<i64>) -> Self {
        seconds.sort_unstable();
        seconds.dedup();
        let is_cut = seconds.len() > MOST;
        seconds.truncate(MOST);
        let mut present = Self {
            is_cut,
            ..Self::default()
        };
        seconds.into_iter().for_each(|second| present.add(second));
        present
    }

    /// One more is there.
    pub(super) fn add(&mut self, second: i64) {
        match self.seconds.back() {
            Some(newest) if second <= *newest => {
                let at = self.seconds.partition_point(|known| *known < second);
                if self.seconds.get(at) != Some(&second) {
                    self.seconds.insert(at, second);
                    let pairs = self.seconds.iter().zip(self.seconds.iter().skip(1));
                    self.age_s = pairs.map(|(one, next)| step(*one, *next)).sum();
                }
            }
            Some(newest) => {
                self.age_s = self.age_s.saturating_add(step(*newest, second));
                self.seconds.push_back(second);
            }
            None => self.seconds.push_back(second),
        }
    }

    /// The next that is to go; [`Present::gone`] when it has. `sent`: the one that was sent last. What is dated behind it, since a clock was ahead once, counts for nothing.
    pub(super) fn surplus(&self, keep: Keep, sent: i64) -> Option<i64> {
        let oldest = *self.seconds.front()?;
        let known = self.seconds.partition_point(|second| *second <= sent);
        // The newest stays, whatever is set.
        if known < 2 {
            return None;
        }
        let behind = self.seconds.iter().skip(known - 1);
        let behind_s: i64 = behind
            .clone()
            .zip(behind.skip(1))
            .map(|(one, next)| step(*one, *next))
            .sum();
        let keep_s = i64::try_from(keep.age.as_secs()).unwrap_or(i64::MAX);
        let is_old = !keep.age.is_zero() && self.age_s.saturating_sub(behind_s) > keep_s;
        let is_one_too_many = keep.count > 0 && known as u64 > keep.count;
        (is_old || is_one_too_many).then_some(oldest)
    }

    /// The oldest is gone.
    pub(super) fn gone(&mut self) {
        let Some(oldest) = self.seconds.pop_front() else { return };
        if let Some(next) = self.seconds.front() {
            self.age_s = self.age_s.saturating_sub(step(oldest, *next));
        }
    }
}

/// What the time between two that follow each other counts for.
fn step(one: i64, next: i64) -> i64 {
    next.saturating_sub(one).clamp(0, LONGEST_STEP_S)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 86_400;

    fn all_gone(present: &mut Present, keep: Keep) -> Vec<i64> {
        let mut gone = Vec::new();
        while let Some(second) = present.surplus(keep, i64::MAX) {
            gone.push(second);
            present.gone();
        }
        gone
    }

    /// A clock was a year ahead once: what was sent then takes nothing away with it.
    #[test]
    fn what_is_dated_in_the_future_counts_for_nothing() {
        let now = 20_000 * DAY;
        let mut present = Present::of(vec![now - 60, now, now + 365 * DAY, now + 366 * DAY]);
        assert_eq!(present.surplus(days(3), now), None);
        let two = Keep {
            age: Duration::ZERO,
            count: 2,
        };
        assert_eq!(present.surplus(two, now), None);
        present.add(now + 60);
        assert_eq!(present.surplus(days(3), now + 60), None);
        assert_eq!(present.surplus(two, now + 60), Some(now - 60));
    }

    fn days(days: u64) -> Keep {
        Keep {
            age: Duration::from_secs(days * DAY as u64),
            count: 0,
        }
    }

    #[test]
    fn what_is_old_goes_and_the_newest_stays() {
        let mut present = Present::of((0..10).rev().map(|day| day * DAY).collect());
        assert_eq!(
            all_gone(&mut present, days(3)),
            (0..6).map(|day| day * DAY).collect::<Vec<_>>()
        );
        present.add(10 * DAY);
        assert_eq!(all_gone(&mut present, days(3)), [6 * DAY]);
        let second = Keep {
            age: Duration::from_secs(1),
            count: 1,
        };
        assert_eq!(all_gone(&mut present, second).len(), 3);
        assert_eq!(present.seconds, [10 * DAY]);
        assert_eq!(all_gone(&mut present, Keep::default()), [0; 0]);
    }

    #[test]
    fn a_clock_that_is_set_deletes_a_week_at_the_most() {
        let mut present = Present::of((0..30).map(|day| day * DAY).collect());
        present.add(4_000 * DAY);
        assert_eq!(all_gone(&mut present, days(30)).len(), 6, "36 days, as they count");
        // Back again: what was taken in that year is the newest, and goes when as much has come behind it.
        present.add(31 * DAY);
        assert_eq!(all_gone(&mut present, days(60)).len(), 0);
    }

    #[test]
    fn the_same_second_is_there_once() {
        let mut present = Present::of(vec![5, 5, 1]);
        present.add(5);
        present.add(3);
        assert_eq!((present.seconds.len(), present.age_s), (3, 4));
    }

    #[test]
    fn no_more_are_known_than_there_is_room_for() {
        let present = Present::of((0..MOST as i64 + 5).collect());
        assert!(present.is_cut && present.seconds.len() == MOST);
        assert_eq!(
            present.surplus(
                Keep {
                    count: 10,
                    ..Keep::default()
                },
                i64::MAX
            ),
            Some(0),
            "the oldest are known"
        );
    }

    proptest! {
        #[test]
        fn never_more_than_is_to_stay(
            seconds in proptest::collection::vec(0_i64..10_000, 0..60), more in proptest::collection::vec(0_i64..20_000, 0..20),
            age in 0_u64..5_000, count in 0_u64..20,
        ) {
            let keep = Keep { age: Duration::from_secs(age), count };
            let mut present = Present::of(seconds);
            for second in more {
                present.add(second);
                let before = present.seconds.clone();
                let gone = all_gone(&mut present, keep);
                // The oldest, in order, and no other.
                prop_assert!(before.iter().take(gone.len()).eq(gone.iter()));
                prop_assert!(!present.seconds.is_empty());
                prop_assert!(count == 0 || present.seconds.len() as u64 <= count.max(1));
                let (oldest, newest) = (present.seconds[0], *present.seconds.back().unwrap());
                prop_assert!(age == 0 || newest - oldest <= age as i64);
                prop_assert_eq!(present.age_s, newest - oldest);
                // No more than needed.
                if let Some(last) = gone.last() {
                    let too_many = count > 0 && present.seconds.len() as u64 + 1 > count;
                    prop_assert!(too_many || (age > 0 && newest - last > age as i64));
                }
            }
        }
    }
}
