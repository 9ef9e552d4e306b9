//! Frames on their way to FFmpeg, and what is known of the pictures that it owes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::{Capture, Frame, MediaTime};

/// What is known of a picture before it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// As in [`Frame`].
    pub(super) time: MediaTime,
    /// As in [`Frame`].
    pub(super) capture: Capture,
    /// As in [`Frame`].
    pub(super) keyframe: bool,
}

/// A frame as FFmpeg gets it.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Its time is that by which FFmpeg knows it.
    pub(super) frame: Frame,
    /// Of one whose picture is wanted.
    pub(super) about: Option<About>,
}

/// What was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Late {
    /// How many frames.
    pub(super) frames: u64,
    /// That one, too: what follows is of no use before a keyframe.
    pub(super) is_broken: bool,
}

/// See the module.
pub(super) struct Inbox {
    inner: Mutex<Inner>,
    news: Condvar,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<(Sample, Instant)>,
    bytes: usize,
    /// Wanted of FFmpeg, by its clock, and the number of what was handed over then.
    owed: BTreeMap<i64, (About, u64)>,
    /// Frames that were taken out, …
    taken: u64,
    /// … of which the last is being written.
    is_writing: bool,
    /// Pictures that came.
    came: u64,
    /// How far it was in both, each when that was seen first.
    seen: [Option<(u64, Instant)>; 2],
    is_closed: bool,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            news: Condvar::new(),
        }
    }

    /// A keyframe comes, which needs nothing of what waits: that is left out where it has waited for too long. How many frames.
    pub(super) fn make_way(&self, now: Instant) -> u64 {
        let mut inner = self.lock();
        if !inner.front_waits(now, MOST_WAIT) {
            return 0;
        }
        inner.bytes = 0;
        std::mem::take(&mut inner.waiting).len() as u64
    }

    /// Puts frames into it that belong together. Never waits.
    pub(super) fn push(&self, samples: impl IntoIterator<Item = Sample>, now: Instant) -> Late {
        let mut inner = self.lock();
        if inner.waiting.len() >= MOST_FRAMES || inner.bytes >= MOST_BYTES {
            return Late {
                frames: 1,
                is_broken: true,
            };
        }
        for sample in samples {
            inner.bytes = inner.bytes.saturating_add(sample.frame.data.len());
            inner.waiting.push_back((sample, now));
        }
        drop(inner);
        self.news.notify_one();
        Late::default()
    }

    /// The next frame; `None` when there will be none.
    pub(super) fn take(&self) -> Option<Sample> {
        let nothing = |inner: &mut Inner| inner.waiting.is_empty() && !inner.is_closed;
        let mut inner = self.lock();
        inner.is_writing = false;
        let waited = self.news.wait_while(inner, nothing);
        let mut inner = waited.unwrap_or_else(PoisonError::into_inner);
        let (sample, _) = inner.waiting.pop_front()?;
        inner.bytes = inner.bytes.saturating_sub(sample.frame.data.len());
        inner.taken += 1;
        inner.is_writing = true;
        if let Some(about) = sample.about {
            let number = inner.taken;
            inner.owed.insert(sample.frame.time.ticks(), (about, number));
            while inner.owed.len() > MOST_OWED {
                inner.owed.pop_first();
            }
        }
        Some(sample)
    }

    /// A picture came, by FFmpeg's clock. What is shown before it does not come any more.
    pub(super) fn came(&self, at: i64) -> Option<About> {
        let mut inner = self.lock();
        inner.came += 1;
        let later = inner.owed.split_off(&at.saturating_add(1));
        let mut shown = std::mem::replace(&mut inner.owed, later);
        shown.remove(&at).map(|(about, _)| about)
    }

    /// Whether for so long nothing went in that waits, or nothing came out while several pictures are owed.
    pub(super) fn stands_still(&self, now: Instant, patience: Duration) -> bool {
        let mut inner = self.lock();
        let far = [inner.taken, inner.came];
        let mut stands = [false; 2];
        for ((far, seen), stands) in far.into_iter().zip(&mut inner.seen).zip(&mut stands) {
            let (known, since) = *seen.get_or_insert((far, now));
            if known != far {
                *seen = Some((far, now));
            } else {
                *stands = now.saturating_duration_since(since) >= patience;
            }
        }
        let [takes_nothing, gives_nothing] = stands;
        // One that is held back for others comes when enough of them have come, whenever that is. One alone may be damaged: of that nothing comes, and that is known when the next one does.
        let is_owed = |(_, number): &&(About, u64)| inner.taken.saturating_sub(*number) > MOST_HELD;
        let owes = inner.owed.values().filter(is_owed).nth(1).is_some();
        // While it does nothing it takes its time as it will.
        if !inner.is_writing && inner.waiting.is_empty() {
            inner.seen[0] = None;
        }
        if !owes {
            inner.seen[1] = None;
        }
        (takes_nothing && inner.seen[0].is_some()) || (gives_nothing && owes)
    }

    #[cfg(test)]
    pub(super) fn has_waiting(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// There will be no more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn front_waits(&self, now: Instant, patience: Duration) -> bool {
        let waits = |(_, pushed): &(Sample, Instant)| now.saturating_duration_since(*pushed) >= patience;
        self.waiting.front().is_some_and(waits)
    }
}

/// Frames that wait at the most: twenty seconds of what a stream begins with, as its newest picture needs all since the keyframe.
pub(super) const MOST_FRAMES: usize = 600;
/// And bytes.
const MOST_BYTES: usize = 32 << 20;
/// When a keyframe comes, what waited for so long is left out.
pub(super) const MOST_WAIT: Duration = Duration::from_secs(1);
/// Pictures that are owed at the most: those of which nothing came go when later ones come.
const MOST_OWED: usize = 256;
/// max_dec_pic_buffering is at most 16 (H.265 §A.4.2); and some.
const MOST_HELD: u64 = 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use media::{CaptureSource, Clock as _, Format, Timescale, TrackIndex, WallTime, h265};

    use super::*;
    use testkit::clock::SimClock;

    fn sample(ticks: i64, bytes: usize, is_wanted: bool) -> Sample {
        let time = MediaTime::new(ticks, Timescale::VIDEO);
        let capture = Capture {
            at: WallTime::from_unix_micros(0),
            source: CaptureSource::Arrival,
        };
        let about = About {
            time,
            capture,
            keyframe: false,
        };
        Sample {
            frame: Frame {
                track: TrackIndex(0),
                time,
                capture,
                keyframe: false,
                format: Arc::new(Format::H265(h265::Format::default())),
                data: Bytes::from(vec![0; bytes]),
            },
            about: is_wanted.then_some(about),
        }
    }

    #[test]
    fn what_waits_is_bounded_in_frames_and_bytes() {
        let now = SimClock::new().now();
        for (bytes, most) in [(1, MOST_FRAMES), (1 << 20, MOST_BYTES >> 20)] {
            let inbox = Inbox::new();
            for n in 0..most {
                assert_eq!(inbox.push([sample(n as i64, bytes, true)], now), Late::default());
            }
            let late = Late {
                frames: 1,
                is_broken: true,
            };
            assert_eq!(inbox.push([sample(-1, bytes, true)], now), late);
            let mut taken = 0;
            inbox.close();
            while inbox.take().is_some() {
                taken += 1;
            }
            assert_eq!(taken, most);
            assert!(inbox.lock().owed.len() <= MOST_OWED);
        }
    }

    #[test]
    fn a_keyframe_takes_the_place_of_what_waits_too_long() {
        let (clock, inbox) = (SimClock::new(), Inbox::new());
        for n in 0..10 {
            inbox.push([sample(n, 1, true)], clock.now());
        }
        clock.advance(MOST_WAIT - Duration::from_millis(1));
        assert_eq!(inbox.make_way(clock.now()), 0);
        inbox.push([sample(10, 1, true)], clock.now());
        clock.advance_ms(1);
        assert_eq!((inbox.make_way(clock.now()), inbox.lock().bytes), (11, 0));
        inbox.push([sample(11, 1, true)], clock.now());
        assert_eq!(inbox.take().unwrap().frame.time.ticks(), 11);
    }

    #[test]
    fn what_is_owed_is_known_by_its_time() {
        let (clock, inbox) = (SimClock::new(), Inbox::new());
        for n in 0..5 {
            inbox.push([sample(n, 1, n != 3)], clock.now());
        }
        (0..5).for_each(|_| drop(inbox.take()));
        assert_eq!(inbox.came(1).map(|about| about.time.ticks()), Some(1));
        // What should have come before does not any more, and what nobody wants is nobody's.
        assert_eq!((inbox.came(0), inbox.came(3), inbox.came(7)), (None, None, None));
        assert!(inbox.lock().owed.is_empty());
    }

    #[test]
    fn one_that_holds_pictures_back_does_not_stand_still() {
        const PATIENCE: Duration = Duration::from_secs(10);
        let (clock, inbox) = (SimClock::new(), Inbox::new());
        let stands = |after: Duration| {
            clock.advance(after);
            inbox.stands_still(clock.now(), PATIENCE)
        };
        inbox.push([sample(0, 1, true), sample(1, 1, true)], clock.now());
        assert!(!stands(PATIENCE), "nobody looked before");
        assert!(!stands(PATIENCE / 2) && stands(PATIENCE / 2), "it is not even taken");
        inbox.take().unwrap();
        assert!(!stands(PATIENCE), "it was taken");
        assert!(stands(PATIENCE), "it is written for so long");
        inbox.take().unwrap();
        inbox.push([sample(2, 1, false)], clock.now());
        // It was all written: who takes waits for more.
        inbox.take().unwrap();
        inbox.lock().is_writing = false;
        assert!(
            !stands(PATIENCE) && !stands(6 * PATIENCE),
            "the next may come in a minute"
        );
        for n in 3..=MOST_HELD as i64 + 3 {
            inbox.push([sample(n, 1, false)], clock.now());
            inbox.take().unwrap();
        }
        inbox.lock().is_writing = false;
        assert!(!stands(Duration::ZERO) && stands(PATIENCE));
        assert!(inbox.came(0).is_some());
        // It may be damaged, and the next that is wanted come in a minute.
        assert!(!stands(PATIENCE) && !stands(6 * PATIENCE));
        assert!(inbox.came(1).is_some());
        assert!(!stands(PATIENCE));
    }
}
