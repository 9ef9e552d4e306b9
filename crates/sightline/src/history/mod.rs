//! What figures were: the last hour by seconds, a month by minutes, ten years by hours.
//!
//! Belongs here: the hour in memory ([`ring`]), figures in two bytes ([`pack`]), the file ([`store`]), the thread that has both, and questions to it. Does not belong
//! here: where figures come from ([`crate::feed`]), how they are asked for ([`crate::http`]).
//!
//! Written once a minute, all series in one transaction. At most a minute is lost by a kill.

pub mod pack;
pub mod ring;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::feed::sample::Sample;
use ring::{Ring, Series, Sum, Three};
use store::Store;

pub(crate) const MINUTE: i64 = 60;
pub(crate) const HOUR: i64 = 3_600;
/// Points of one answer.
pub const MOST_POINTS: i64 = 2_000;
/// Metrics of one question.
pub const MOST_METRICS: usize = 8;
/// Questions and seconds that wait for the thread, and how many of them may be questions: seconds are lost where there is no room.
const WAITING: usize = 64;
const MOST_ASKED: usize = 32;
/// For the last minute to be written.
const GOODBYE: Duration = Duration::from_millis(300);
/// What is kept where there is no file, besides the hour by seconds.
const IN_MEMORY_BYTES: u64 = 4 << 20;
/// 2026: a clock that shows less is not set.
const LEAST_S: i64 = 1_767_225_600;
/// A clock that goes on by more, or back, was set.
const STEP_S: i64 = 2;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Series of seconds at a time, the machine among them.
    pub series: usize,
    /// How long minutes are kept.
    pub minutes: Duration,
    /// How long hours are.
    pub hours: Duration,
    /// The file.
    pub max_bytes: u64,
}

/// What somebody wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Of which stream; `None`: of the machine.
    pub camera: Option<String>,
    /// Which figures, by their places in a sample; [`MOST_METRICS`].
    pub metrics: Vec<usize>,
    /// From when, in seconds of Unix time.
    pub from: i64,
    /// Until when.
    pub to: i64,
    /// How far apart, in seconds; coarser where there is not as much, or it were too many.
    pub step: i64,
}

/// What was.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The beginning of the first step.
    pub from: i64,
    /// How far apart, in seconds.
    pub step: i64,
    /// Of each metric each step; `None` where nothing is known.
    pub values: Vec<Vec<Option<Three>>>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More is asked than gets answered.
    #[error("more is asked of the history than gets answered")]
    Busy,
    /// Its file cannot be read, or it has ended.
    #[error("the history cannot be read; the log of this server says why")]
    Unreadable,
}

enum Word {
    Second(Arc<Sample>),
    Ask(Query, oneshot::Sender<Result<Answer, Error>>, Turn),
    End(oneshot::Sender<()>),
}

/// The history of a program: its thread ends with the last who holds this.
#[derive(Clone, Debug)]
pub struct History {
    tell: SyncSender<Word>,
    asked: Arc<AtomicUsize>,
}

/// Of a question that waits.
struct Turn(Arc<AtomicUsize>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl History {
    /// Begins to keep, in a thread of its own; the file is made when there is something to write.
    ///
    /// # Errors
    /// Where there is no thread.
    pub fn start(path: impl FnOnce() -> Option<PathBuf> + Send + 'static, limits: Limits) -> std::io::Result<Self> {
        let (tell, told) = sync_channel(WAITING);
        std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || run(path, limits, &told))?;
        Ok(Self {
            tell,
            asked: Arc::default(),
        })
    }

    /// A second was. Where the disk is so slow that too many wait, it is lost.
    pub fn second(&self, sample: Arc<Sample>) {
        let _ = self.tell.try_send(Word::Second(sample));
    }

    /// Asks.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ask(&self, query: Query) -> Result<Answer, Error> {
        let waiting = self.asked.fetch_add(1, Relaxed);
        let turn = Turn(Arc::clone(&self.asked));
        if waiting >= MOST_ASKED {
            return Err(Error::Busy);
        }
        let (answer, answered) = oneshot::channel();
        let asked = self.tell.try_send(Word::Ask(query, answer, turn));
        asked.map_err(|error| match error {
            TrySendError::Full(_) => Error::Busy,
            TrySendError::Disconnected(_) => Error::Unreadable,
        })?;
        answered.await.unwrap_or(Err(Error::Unreadable))
    }

    /// Writes what is known, and ends; no longer than that is worth waiting for.
    pub async fn end(&self) {
        let (done, ended) = oneshot::channel();
        if self.tell.try_send(Word::End(done)).is_ok() {
            let _ = tokio::time::timeout(GOODBYE, ended).await;
        }
    }
}

fn run(path: impl FnOnce() -> Option<PathBuf>, limits: Limits, told: &Receiver<Word>) {
    let mut path = Some(path);
    let mut keeper: Option<Keeper> = None;
    for word in told {
        // With the first word, so that a start waits for no disk.
        if let Some(path) = path.take() {
            keeper = open(path(), limits);
        }
        match (word, &mut keeper) {
            (Word::Second(sample), Some(keeper)) => keeper.second(&sample),
            // Whoever asked is gone.
            (Word::Ask(_, answer, _), _) if answer.is_closed() => {}
            (Word::Ask(query, answer, _turn), keeper) => {
                let found = keeper.as_mut().and_then(|keeper| {
                    let found = keeper.answer(&query);
                    found.map_err(|error| keeper.say(Err(error))).ok()
                });
                let found = found.ok_or(Error::Unreadable);
                // Whoever asked may be gone.
                let _ = answer.send(found);
            }
            (Word::End(done), keeper) => {
                if let Some(keeper) = keeper {
                    keeper.end_minute();
                }
                // Whoever waited may have no more patience.
                let _ = done.send(());
                return;
            }
            (Word::Second(_), None) => {}
        }
    }
    if let Some(keeper) = &mut keeper {
        keeper.end_minute();
    }
}

/// Where there is no file to be, or it cannot be had, some is kept in memory.
fn open(path: Option<PathBuf>, limits: Limits) -> Option<Keeper> {
    let file = path.and_then(|path| {
        let opened = Store::open(&path);
        opened
            .inspect_err(|error| tracing::warn!(reason = %error, "the history of figures cannot be written, and ends with the program"))
            .ok()
    });
    if let Some(store) = file {
        return Some(Keeper::new(store, limits));
    }
    let limits = Limits {
        max_bytes: limits.max_bytes.min(IN_MEMORY_BYTES),
        ..limits
    };
    Some(Keeper::new(Store::in_memory().ok()?, limits))
}

/// How many of the second there are in the first, what is left over being one more.
fn over(all: i64, each: i64) -> i64 {
    -(-all).div_euclid(each)
}

/// Ring and file together.
struct Keeper {
    ring: Ring,
    store: Store,
    limits: Limits,
    newest: Option<i64>,
    loaded: bool,
    /// It was said that there are too many.
    told: bool,
    /// Writing fails, which was said.
    failing: bool,
    /// Hours that are over and were not made of their seconds.
    unmade: BTreeSet<i64>,
    /// The hour in which the file was begun anew last.
    anew: Option<i64>,
}

impl Keeper {
    fn new(store: Store, limits: Limits) -> Self {
        Self {
            ring: Ring::default(),
            store,
            limits,
            newest: None,
            loaded: false,
            told: false,
            failing: false,
            unmade: BTreeSet::new(),
            anew: None,
        }
    }

    /// Takes a second in.
    fn second(&mut self, sample: &Sample) {
        let second = sample.at.unix_micros().div_euclid(1_000_000);
        if second < LEAST_S {
            return;
        }
        if !std::mem::replace(&mut self.loaded, true) {
            match self.store.load(&mut self.ring, second) {
                Ok(over) => self.unmade.extend(over),
                Err(error) => self.say(Err(error)),
            }
            self.make_hours();
        }
        if let Some(newest) = self.newest {
            let goes_on = (0..=STEP_S).contains(&(second - newest));
            if !goes_on || second.div_euclid(MINUTE) != newest.div_euclid(MINUTE) {
                self.end_minute();
            }
            let hour = newest.div_euclid(HOUR);
            if second.div_euclid(HOUR) != hour {
                self.unmade.insert(hour);
                self.make_hours();
                // What its seconds were is overwritten.
                self.unmade.retain(|hour| hour * HOUR > newest - 2 * HOUR);
                // A clock that is set wrong is no reason to delete what is older than it says.
                if goes_on {
                    let kept = self.store.retain(&self.ring, second, &self.unmade, &self.limits);
                    self.say(kept);
                }
                // What a clock that went back has not overwritten is still asked for when it is put right.
                if second > newest {
                    self.ring.forget_old(second);
                }
            }
        }
        self.newest = Some(second);
        self.ring.begin(second);
        self.ring.push(0, second, &sample.system);
        for (name, figures) in &sample.cameras {
            match self.series(name.as_str()) {
                Some(series) => self.ring.push(series, second, figures),
                None if !std::mem::replace(&mut self.told, true) => {
                    let most = self.limits.series;
                    tracing::warn!(stream = %name, most, "no history is kept of a stream: there are more than history.series");
                }
                None => {}
            }
        }
    }

    /// The number of a stream, where there is room for it.
    fn series(&mut self, name: &str) -> Option<Series> {
        let known = self.store.known(name);
        if known.is_some_and(|known| self.ring.series().any(|series| series == known)) {
            return known;
        }
        if self.ring.series().count() >= self.limits.series {
            return None;
        }
        match self.store.series(name) {
            Ok(series) => series,
            Err(error) => {
                self.say(Err(error));
                None
            }
        }
    }

    /// What is known of the newest minute is written.
    fn end_minute(&mut self) {
        if let Some(newest) = self.newest {
            let written = self.store.write(&self.ring, newest.div_euclid(MINUTE));
            self.say(written);
            self.make_hours();
        }
    }

    /// What could not be made of seconds before is tried again.
    fn make_hours(&mut self) {
        for hour in self.unmade.clone() {
            let made = self.store.make(&self.ring, hour);
            if made.is_ok() {
                self.unmade.remove(&hour);
            }
            self.say(made);
        }
    }

    fn say(&mut self, done: rusqlite::Result<()>) {
        match done {
            // At most once an hour: where the disk damages what it is given, that would go on and on.
            Err(error) if store::says_damaged(&error) && self.anew != Some(self.hour()) => {
                self.anew = Some(self.hour());
                if let Err(why) = self.store.begin_anew(&error.to_string()) {
                    tracing::warn!(reason = %why, "the history of figures cannot be begun anew, and ends with the program");
                }
            }
            Ok(()) => self.failing = false,
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                tracing::warn!(reason = %error, "the history of figures is not written; it is tried again each minute");
            }
            Err(_) => {}
        }
    }

    fn hour(&self) -> i64 {
        self.newest.map_or(0, |newest| newest.div_euclid(HOUR))
    }

    /// What was.
    fn answer(&self, query: &Query) -> rusqlite::Result<Answer> {
        let span = (query.to - query.from).max(1);
        let newest = self.newest.unwrap_or(query.to);
        let least = query.step.max(1).max(over(span, MOST_POINTS));
        let unit = if least < MINUTE && query.from > newest - HOUR {
            1
        } else if least < HOUR
            && query.from >= newest - i64::try_from(self.limits.minutes.as_secs()).unwrap_or(i64::MAX)
        {
            MINUTE
        } else {
            HOUR
        };
        let mut step = over(least, unit) * unit;
        let mut from = query.from.div_euclid(step) * step;
        // The first and the last step may be of both ends a part.
        if over(query.to - from, step) > MOST_POINTS {
            step += unit;
            from = query.from.div_euclid(step) * step;
        }
        let series = match &query.camera {
            None => Some(0),
            Some(name) => self.store.known(name),
        };
        let places = usize::try_from(over(query.to - from, step)).unwrap_or(0);
        let mut sums = vec![vec![Sum::default(); places]; query.metrics.len()];
        let put = |metric: usize, at: i64, three: Three| {
            let place = usize::try_from((at - from).div_euclid(step)).ok();
            let sum = sums
                .get_mut(metric)
                .zip(place)
                .and_then(|(sums, place)| sums.get_mut(place));
            if let Some(sum) = sum {
                sum.add(three);
            }
        };
        if let Some(series) = series {
            let kept = i64::try_from(self.limits.hours.as_secs()).unwrap_or(i64::MAX);
            // A hundred years may be asked for: what can be there is looked for, and nothing else.
            let range = from.max(newest.saturating_sub(kept))..query.to.min(newest + 1);
            self.read(series, &query.metrics, range, unit, put)?;
        }
        let values = sums.iter().map(|sums| sums.iter().map(Sum::three).collect());
        let values = values.collect();
        Ok(Answer { from, step, values })
    }

    /// Each second, minute or hour of which something is known, by the place of the metric among those.
    fn read(
        &self,
        series: Series,
        metrics: &[usize],
        range: Range<i64>,
        unit: i64,
        mut put: impl FnMut(usize, i64, Three),
    ) -> rusqlite::Result<()> {
        if unit == 1 {
            for second in range {
                for (place, metric) in metrics.iter().enumerate() {
                    put(place, second, Three([self.ring.get(series, *metric, second); 3]));
                }
            }
            return Ok(());
        }
        // The hour that is not over is in memory alone.
        let now = self.newest.map_or(i64::MAX, |newest| newest.div_euclid(HOUR));
        let oldest = [
            self.store.oldest(unit == MINUTE)?,
            self.unmade.first().copied(),
            Some(now),
        ];
        let oldest = oldest.into_iter().flatten().min().unwrap_or(now);
        let hours = oldest.max(range.start.div_euclid(HOUR))..=(range.end - 1).div_euclid(HOUR);
        for hour in hours {
            let begin = hour * HOUR;
            if hour == now || self.unmade.contains(&hour) {
                for at in (begin..begin + HOUR).step_by(usize::try_from(unit).unwrap_or(1)) {
                    for (place, metric) in metrics.iter().enumerate().filter(|_| range.contains(&at)) {
                        if let Some(three) = self.ring.three(series, *metric, at..at + unit) {
                            put(place, at, three);
                        }
                    }
                }
                continue;
            }
            let made = match unit {
                MINUTE => self.store.minutes(series, hour)?,
                _ => self.store.hour(series, hour)?,
            };
            for (place, metric) in metrics.iter().enumerate() {
                for (at, three) in (begin..)
                    .step_by(usize::try_from(unit).unwrap_or(1))
                    .zip(made.of(*metric))
                {
                    // Of an hour a part is all that is known.
                    if unit != MINUTE || range.contains(&at) {
                        put(place, at, three);
                    }
                }
            }
        }
        Ok(())
    }
}
