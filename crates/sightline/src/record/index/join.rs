//! From spans to what is told of a range: without what no timeline could show, and never too much of it.

use std::collections::HashMap;
use std::ops::Range;

use super::Ended;

/// What is recorded without a gap, or with gaps that are shorter than was asked for; as far as it lies in the range that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its number; of several that were joined, the first one's.
    pub run: u64,
    /// Where it begins.
    pub start_90k: i64,
    /// Where it ends.
    pub end_90k: i64,
    /// So much of it is recorded: all, but for gaps that were joined.
    pub recorded_90k: i64,
    /// Of its files. Where the range cuts a day's part of it, in proportion.
    pub bytes: u64,
    /// Why it ended there. `None`: it goes on behind the range, is being recorded, or its end was deleted.
    pub ended: Option<Ended>,
    /// Something else was recorded at a part of the same time: the clock was set back.
    pub overlaps: bool,
}

/// What is recorded in a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// By where they begin, at most [`MAX_RUNS`].
    pub runs: Vec<Run>,
    /// All is told up to there, and this is where to go on.
    pub next_90k: Option<i64>,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) run: u64,
    pub(super) start_90k: i64,
    pub(super) end_90k: i64,
    pub(super) bytes: u64,
    pub(super) ended: Option<Ended>,
}

/// Takes spans in the order of their beginnings.
#[derive(Debug)]
pub(super) struct Joined {
    range_90k: Range<i64>,
    resolution_90k: i64,
    runs: Vec<Run>,
    /// Where the newest part of each run is in `runs`; of use where nothing but the run itself is joined.
    of_run: HashMap<u64, usize>,
    /// Which one ends last.
    last: Option<usize>,
    seen: usize,
    next_90k: Option<i64>,
}

impl Joined {
    /// `resolution_90k`: gaps that are shorter are not told. 0: all are, and each run by itself.
    pub(super) fn new(range_90k: Range<i64>, resolution_90k: i64) -> Self {
        Self {
            range_90k,
            resolution_90k,
            runs: Vec::new(),
            of_run: HashMap::new(),
            last: None,
            seen: 0,
            next_90k: None,
        }
    }

    /// Whether another may follow.
    pub(super) fn push(&mut self, span: &Span) -> bool {
        self.seen += 1;
        let Some(run) = cut(whole(span), &self.range_90k) else {
            return true;
        };
        // Where the last one of them ends that was told so far.
        let told_90k = self.last.and_then(|last| self.runs.get(last)).map(|run| run.end_90k);
        let overlaps = told_90k.is_some_and(|end| run.start_90k < end);
        let into = match self.resolution_90k {
            0 => (self.of_run.get(&run.run).copied())
                .filter(|at| self.runs.get(*at).is_some_and(|known| known.end_90k == run.start_90k)),
            resolution => self
                .last
                .filter(|_| told_90k.is_some_and(|end| run.start_90k.saturating_sub(end) < resolution)),
        };
        let is_full = into.is_none() && self.runs.len() == MAX_RUNS;
        if (is_full || self.seen > MAX_SPANS) && run.start_90k > self.range_90k.start {
            self.next_90k = Some(run.start_90k);
            return false;
        }
        if is_full {
            // So many at one instant cannot be told in pages of time: the rest of them is left out.
            return true;
        }
        if overlaps && let Some(other) = self.last.and_then(|last| self.runs.get_mut(last)) {
            other.overlaps = true;
        }
        let at = self.add(run, into, overlaps);
        let end_90k = self.runs.get(at).map(|run| run.end_90k);
        if end_90k >= told_90k {
            self.last = Some(at);
        }
        true
    }

    fn add(&mut self, mut run: Run, into: Option<usize>, overlaps: bool) -> usize {
        run.overlaps = overlaps;
        if let Some((at, known)) = into.and_then(|at| Some((at, self.runs.get_mut(at)?))) {
            // What was recorded twice counts once.
            let new_90k = run.end_90k.saturating_sub(known.end_90k.max(run.start_90k)).max(0);
            known.recorded_90k = known.recorded_90k.saturating_add(new_90k);
            known.bytes = known.bytes.saturating_add(run.bytes);
            if run.end_90k >= known.end_90k {
                (known.end_90k, known.ended) = (run.end_90k, run.ended);
            }
            known.overlaps |= overlaps;
            return at;
        }
        let at = self.runs.len();
        if self.resolution_90k == 0 {
            self.of_run.insert(run.run, at);
        }
        self.runs.push(run);
        at
    }

    /// What is told.
    pub(super) fn finish(self) -> Runs {
        let Some(next_90k) = self.next_90k else {
            return Runs {
                runs: self.runs,
                next_90k: None,
            };
        };
        let range_90k = i64::MIN..next_90k;
        Runs {
            runs: self.runs.into_iter().filter_map(|run| cut(run, &range_90k)).collect(),
            next_90k: Some(next_90k),
        }
    }
}

fn whole(span: &Span) -> Run {
    Run {
        run: span.run,
        start_90k: span.start_90k,
        end_90k: span.end_90k,
        recorded_90k: span.end_90k.saturating_sub(span.start_90k),
        bytes: span.bytes,
        ended: span.ended,
        overlaps: false,
    }
}

/// What of it lies in a range.
fn cut(mut run: Run, range_90k: &Range<i64>) -> Option<Run> {
    let (start_90k, end_90k) = (run.start_90k.max(range_90k.start), run.end_90k.min(range_90k.end));
    if start_90k >= end_90k {
        return None;
    }
    let (all, left) = (
        run.end_90k.saturating_sub(run.start_90k),
        end_90k.saturating_sub(start_90k),
    );
    if left < all {
        let share =
            |value: u64| (u128::from(value) * u128::from(left.unsigned_abs()) / u128::from(all.unsigned_abs())) as u64;
        run.bytes = share(run.bytes);
        run.recorded_90k = i64::try_from(share(run.recorded_90k.unsigned_abs())).unwrap_or(left);
    }
    if end_90k < run.end_90k {
        run.ended = None;
    }
    (run.start_90k, run.end_90k) = (start_90k, end_90k);
    Some(run)
}

/// What is told at once.
pub const MAX_RUNS: usize = 10_000;
/// How many spans are looked at for one answer. A year of a camera that records by motion has some 100,000.
const MAX_SPANS: usize = 200_000;
