//! What was recorded twice, told once: a recording that was started by hand while all is recorded anyway.
//!
//! Belongs here: which files show a time that another shows as well. Does not belong here: times that came twice since a clock was set back, of which each shows
//! something else.

use std::ops::Range;

use super::NEAR_90K;
use crate::record::index::{Segment, State};

/// A file that is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// Which of those that were given.
    pub file: usize,
    /// From when on: what is in front of it another shows.
    pub from_90k: i64,
}

/// A stretch that is shown, and what time it really was.
struct Shown {
    run: u64,
    range_90k: Range<i64>,
    apart_90k: i64,
}

/// Which of these files of a camera, by where they begin, show everything once from an instant on. Of two recordings of the same time that is the one that was begun first, for as
/// long as it goes on, in the order in which they are shown: so what was told of one that grows stays so.
pub fn once<'a>(files: impl Iterator<Item = &'a Segment>, since_90k: i64) -> Vec<Once> {
    let files: Vec<&Segment> = files.collect();
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|file| files.get(*file).map(|segment| (segment.run, *file)));
    let (mut shown, mut found): (Vec<Shown>, Vec<Once>) = (Vec::new(), Vec::new());
    for file in order {
        let Some(segment) = files.get(file) else { continue };
        let end_90k = match segment.state {
            // It goes on.
            State::Open => i64::MAX,
            _ => segment.end_90k(),
        };
        let is_same =
            |other: &&Shown| other.run != segment.run && other.apart_90k.abs_diff(apart_90k(segment)) <= SAME_90K;
        let shown_until_90k = |at_90k: i64| {
            let others = shown.iter().filter(is_same);
            let others = others.filter(|other| other.range_90k.contains(&at_90k));
            others.map(|other| other.range_90k.end).max()
        };
        let mut from_90k = segment.start_90k;
        let mut until_90k = shown_until_90k(segment.start_90k.max(since_90k));
        // Where one ends another may go on.
        while let Some(end_90k) = until_90k {
            from_90k = end_90k;
            until_90k = shown_until_90k(end_90k);
        }
        if from_90k >= end_90k {
            continue;
        }
        found.push(Once { file, from_90k });
        let goes_on = |last: &&mut Shown| {
            last.run == segment.run && segment.start_90k <= last.range_90k.end.saturating_add(NEAR_90K)
        };
        match shown.last_mut().filter(goes_on) {
            Some(last) => last.range_90k.end = last.range_90k.end.max(end_90k),
            None => shown.push(Shown {
                run: segment.run,
                range_90k: from_90k..end_90k,
                apart_90k: apart_90k(segment),
            }),
        }
    }
    found.sort_by_key(|once| (once.from_90k, once.file));
    found
}

/// How far the time that people see is from the one that no clock sets: where it is the same for two files, so is what they show.
fn apart_90k(segment: &Segment) -> i64 {
    // That of a file that is being written is of its beginning.
    let at_90k = match segment.state {
        State::Open => segment.start_90k,
        _ => segment.end_90k(),
    };
    segment.age_end_90k.saturating_sub(at_90k)
}

/// A clock that is set by more begins another run; a file may be ended so much later than its last picture.
const SAME_90K: u64 = 2 * 90_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::index::SegmentId;
    use rstest::rstest;

    /// Run, from, until (seconds), by how much the clock was set before.
    type Short = (u64, i64, i64, i64);

    fn segment((run, from_s, until_s, set_s): Short) -> Segment {
        let grows = until_s == i64::MAX;
        let end_s = if grows { from_s + 5 } else { until_s };
        Segment {
            id: SegmentId(0),
            camera: "door".parse().unwrap(),
            storage: [0; 16],
            path: String::new(),
            run,
            start_90k: from_s * 90_000,
            duration_90k: (end_s - from_s) * 90_000,
            bytes: 1,
            head_bytes: 1,
            crc: 0,
            drift_90k: 0,
            state: if grows { State::Open } else { State::Whole },
            ended: None,
            // Told a moment after its last picture.
            age_end_90k: (1_000_000 + set_s + if grows { from_s } else { end_s }) * 90_000 + 30_000,
            is_age_sure: true,
        }
    }

    const GROWS: i64 = i64::MAX;

    #[rstest]
    #[case::one_after_the_other(&[(1, 0, 60, 0), (1, 60, 120, 0), (2, 200, 260, 0)], &[(0, 0), (1, 60), (2, 200)])]
    #[case::by_hand_meanwhile(&[(1, 0, 60, 0), (2, 20, 50, 0), (1, 60, 120, 0)], &[(0, 0), (2, 60)])]
    #[case::across_its_files(&[(1, 0, 60, 0), (2, 20, 110, 0), (1, 60, 120, 0)], &[(0, 0), (2, 60)])]
    #[case::it_goes_on_alone(&[(1, 0, 60, 0), (2, 20, 500, 0), (1, 60, 120, 0)], &[(0, 0), (2, 60), (1, 120)])]
    #[case::both_grow(&[(1, 0, 60, 0), (2, 20, GROWS, 0), (1, 60, GROWS, 0)], &[(0, 0), (2, 60)])]
    #[case::by_hand_first(&[(1, 0, 90, 0), (2, 20, 80, 0), (2, 80, 140, 0)], &[(0, 0), (2, 90)])]
    #[case::the_clock_was_set_back(&[(1, 0, 60, 0), (2, 20, 80, 40)], &[(0, 0), (1, 20)])]
    #[case::a_part_of_it_was_deleted(&[(1, 0, 60, 0), (2, 70, 80, 0), (1, 120, 180, 0)], &[(0, 0), (1, 70), (2, 120)])]
    #[case::three_at_a_time(&[(1, 0, 60, 0), (2, 30, 100, 0), (3, 40, 120, 0)], &[(0, 0), (1, 60), (2, 100)])]
    #[case::nothing(&[], &[])]
    fn each_time_is_shown_once(#[case] files: &[Short], #[case] expected: &[(usize, i64)]) {
        let files: Vec<Segment> = files.iter().copied().map(segment).collect();
        let found: Vec<(usize, i64)> = once(files.iter(), i64::MIN)
            .into_iter()
            .map(|once| (once.file, once.from_90k / 90_000))
            .collect();
        assert_eq!(found, expected);
    }

    /// The file in front of what is asked for is not among them, and yet the one that goes on with it was begun first.
    #[test]
    fn from_the_middle_of_both() {
        let files = [(2, 20, 110, 0), (1, 60, 120, 0)].map(segment);
        let expected = Once {
            file: 1,
            from_90k: 60 * 90_000,
        };
        assert_eq!(once(files.iter(), 60 * 90_000), [expected]);
        assert_eq!(once(files.iter(), i64::MIN).len(), 2);
    }
}
