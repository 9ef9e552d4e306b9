//! The index of recordings: what there is of which camera and when, and in which file.
//!
//! Belongs here: the SQLite file with one row a segment, its tables and their migrations, the thread that writes it ([`Index`]), those who read it
//! ([`Reader`]). Does not belong here: the files of recordings ([`super::segment`]), which of them are deleted and when, what a fragment table holds (bytes,
//! here).
//!
//! - The files are what counts. Whatever the index does not know, they tell: so it is written every ten seconds and not at every segment, what a kill takes of
//!   it is found in them, and one that cannot be read is put aside and made anew. What people told, they do not know: protected ranges and events are taken over
//!   out of the one that lies aside, as far as they can be read.
//! - One connection writes, on a thread of its own, many changes in one transaction. Each [`Reader`] has a connection of its own, sees the last transaction
//!   that was whole, and waits for nobody.
//! - Four megabytes beside it (`NAME.ballast`) are given up where its disk is full, so that recordings can be deleted.
//! - Whoever asks is answered in pages; nothing loads a year.
//! - SQLite finds what is broken in the structure of its pages, not a bit that turned within a row. So what is read is taken with care: a name, a number or a
//!   length that cannot be is [`Error::Damaged`], never a panic.
//!
//! Times are Unix time in ticks of 90 kHz.

mod adopting;
mod ballast;
mod check;
mod error;
mod event;
mod intensity;
mod join;
mod moved;
mod oldest;
mod protect;
mod read;
mod schema;
mod search;
mod span;
mod takeover;
mod thread;
mod write;

use std::ops::Range;

use media::StreamName;

pub use check::{CameraDay, PathOf, Row, Rows};
pub use error::Error;
pub use intensity::{MAX_STEPS, Minute};
pub use join::{MAX_RUNS, Run, Runs};
pub use read::{CameraTimes, MAX_READERS, Reader, Usage};
pub use schema::{MAX_ASIDE, put_aside, was_put_aside};
pub use takeover::TakenOver;
pub use thread::{Health, Index, MAX_QUEUED_BYTES, NotTaken, Opened};

/// A segment: numbers grow in the order of recording, and none is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub i64);

/// An event. None is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub i64);

/// A protected range. None is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtectedId(pub i64);

/// The number of a storage folder: [`media::recording::Head::storage`].
pub type StorageId = [u8; 16];

/// How a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It is being written, or was when the program was killed.
    Open,
    /// All of it is whole.
    Whole,
    /// It is damaged in its middle, and stays as it is.
    Damaged,
    /// Its file is to be removed, or is removed already.
    Garbage,
}

impl State {
    /// Whether it is shown, played, counted and deleted by age.
    pub const fn is_kept(self) -> bool {
        matches!(self, Self::Whole | Self::Damaged)
    }

    const fn number(self) -> i64 {
        match self {
            Self::Open => 0,
            Self::Whole => 1,
            Self::Damaged => 2,
            Self::Garbage => 3,
        }
    }

    const fn of(number: i64) -> Option<Self> {
        Some(match number {
            0 => Self::Open,
            1 => Self::Whole,
            2 => Self::Damaged,
            3 => Self::Garbage,
            _ => return None,
        })
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// Nothing more was to be recorded: by schedule, by wish, after an event.
    Stopped,
    /// The stream ended or fell silent.
    StreamGone,
    /// The clock was set, or it and the stream's came apart.
    Clock,
    /// The disk took too long, and fragments were left out.
    DiskSlow,
    /// The disk refused to write.
    DiskFailed,
    /// The disk was full, and nothing might be deleted.
    DiskFull,
    /// The program was killed, or the power went.
    Killed,
}

impl Ended {
    const fn number(self) -> i64 {
        match self {
            Self::Stopped => 1,
            Self::StreamGone => 2,
            Self::Clock => 3,
            Self::DiskSlow => 4,
            Self::DiskFailed => 5,
            Self::DiskFull => 6,
            Self::Killed => 7,
        }
    }

    const fn of(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Stopped,
            2 => Self::StreamGone,
            3 => Self::Clock,
            4 => Self::DiskSlow,
            5 => Self::DiskFailed,
            6 => Self::DiskFull,
            7 => Self::Killed,
            _ => return None,
        })
    }
}

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// By [`Index::next_segment`].
    pub id: SegmentId,
    /// The stream.
    pub camera: StreamName,
    /// In which folder, told by [`Change::Storage`] before.
    pub storage: StorageId,
    /// Its path from there, at most [`MAX_PATH_BYTES`].
    pub path: String,
    /// Segments of a camera without a gap between them have the same: [`media::recording::Head::run`].
    pub run: u64,
    /// When its first picture was: from 0 to [`MAX_TIME_90K`].
    pub start_90k: i64,
    /// Up to [`MAX_SEGMENT_90K`]. One that is kept lasts a tick at least: what is shorter is written as that, so that it is found, and deleted some day.
    pub duration_90k: i64,
    /// Of the file.
    pub bytes: u64,
    /// In front of its first fragment.
    pub head_bytes: u32,
    /// [`media::recording::Whole::crc`].
    pub crc: u32,
    /// By how much wall time was ahead of its end.
    pub drift_90k: i64,
    /// How it is.
    pub state: State,
    /// Of the last one of a run: why there is none behind it.
    pub ended: Option<Ended>,
    /// Its end in the time that age is counted in, which is not the one that people see.
    pub age_end_90k: i64,
    /// That time was known to be right. Where it was not, it is set right by [`Change::Sure`].
    pub is_age_sure: bool,
}

impl Segment {
    /// When its last picture ended.
    pub fn end_90k(&self) -> i64 {
        self.start_90k.saturating_add(self.duration_90k)
    }
}

/// Something that happened in front of a camera, or was told by somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// By [`Index::next_event`].
    pub id: EventId,
    /// The stream.
    pub camera: StreamName,
    /// Such as `motion`: at most [`MAX_KIND_BYTES`].
    pub kind: String,
    /// From 0 to [`MAX_TIME_90K`].
    pub start_90k: i64,
    /// At most [`MAX_SEGMENT_90K`] later.
    pub end_90k: i64,
    /// How much of it, where its kind has such a measure; finite.
    pub score: Option<f64>,
    /// Whatever else is known, for those who told it: at most [`MAX_DATA_BYTES`].
    pub data: String,
}

/// What is never deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// The stream.
    pub camera: StreamName,
    /// All segments that have a part in it.
    pub range_90k: Range<i64>,
    /// For people: at most [`MAX_DATA_BYTES`].
    pub why: String,
}

/// Something that is to stand in the index. Told twice it is the same as told once, but for [`Change::Moved`] and [`Change::Sure`].
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A folder, or that it is somewhere else now.
    Storage {
        /// Which.
        uuid: StorageId,
        /// Where, for people: at most [`MAX_PATH_BYTES`].
        path: String,
    },
    /// A segment as it is now, open, whole or damaged, with its table of fragments where it has one (at most [`MAX_FRAGMENTS_BYTES`]). It takes the place of what was told of the
    /// same [`SegmentId`]. Garbage is what [`Index::discard`] makes.
    Segment(Segment, Vec<u8>),
    /// The file of a segment is no longer there.
    Gone(SegmentId),
    /// A run was at another time: the clock had no date. Its segments are moved, and with them events and protected ranges that lie in it. What touches it and
    /// reaches beyond stays, and is at the new time as well, as far as it touches.
    Moved {
        /// The stream.
        camera: StreamName,
        /// Which run.
        run: u64,
        /// By so much; negative: to earlier.
        by_90k: i64,
    },
    /// An event as it is now. Of more than [`MAX_EVENTS`] the oldest go.
    Event(Event),
    /// A storage is looked through for files that are not known, at the next start too; told before [`Change::Storage`], so that no kill comes in between.
    Adopting {
        /// Which.
        storage: StorageId,
        /// The first of the numbers that were kept for them ([`Index::keep_segments`]); `None`: it was looked through to its end.
        first: Option<SegmentId>,
    },
    /// What moved in a minute: of each second the most that was told. Of more than [`MAX_INTENSITIES`] minutes those that were told first go.
    Intensity {
        /// The stream.
        camera: StreamName,
        /// Which minute of Unix time.
        minute: i64,
        /// Its seconds.
        seconds: Minute,
    },
    /// How far the time has come that age is counted in.
    Carried {
        /// The time.
        at_90k: i64,
    },
    /// That time was set right, and with it the rows that were written before it was, however many.
    Sure {
        /// The time, as it is now.
        at_90k: i64,
        /// By so much; negative: back.
        by_90k: i64,
    },
}

impl Change {
    /// What it takes of the memory of the queue.
    fn bytes(&self) -> usize {
        let own = size_of::<Self>();
        own + match self {
            Self::Storage { path, .. } => path.len(),
            Self::Segment(segment, fragments) => segment.path.len() + fragments.len(),
            Self::Event(event) => event.kind.len() + event.data.len(),
            Self::Intensity { .. }
            | Self::Gone(_)
            | Self::Moved { .. }
            | Self::Adopting { .. }
            | Self::Carried { .. }
            | Self::Sure { .. } => 0,
        }
    }
}

/// One answer of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T, C> {
    /// At most [`MAX_PAGE`].
    pub items: Vec<T>,
    /// What to ask behind for the rest.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// Where there are as many as were asked for there may be more, behind the last.
    fn of(items: Vec<T>, limit: usize, behind: impl FnOnce(&T) -> C) -> Self {
        let next = items.last().filter(|_| items.len() == limit).map(behind);
        Self { items, next }
    }
}

/// The longest segment and the longest event: a day.
pub const MAX_SEGMENT_90K: i64 = DAY_90K;
/// The last time that can be said: 22:00 on 30 December 9999, behind which a date would have a year of five digits somewhere on Earth.
pub const MAX_TIME_90K: i64 = 253_402_207_200 * 90_000;
/// The longest path of a segment, in bytes.
pub const MAX_PATH_BYTES: usize = 512;
/// The longest table of fragments, in bytes: any that there can be. An hour in fragments of half a second takes 36 KB.
pub const MAX_FRAGMENTS_BYTES: usize = media::recording::MAX_TABLE_BYTES;
/// The longest name of a kind of events, in bytes.
pub const MAX_KIND_BYTES: usize = 64;
/// The longest text of an event or a protected range, in bytes.
pub const MAX_DATA_BYTES: usize = 4 << 10;
/// Rows in one answer.
pub const MAX_PAGE: usize = 1_000;
/// Events that are kept, of all cameras together: 150 MB of short ones.
pub const MAX_EVENTS: i64 = 1_000_000;
/// Minutes in which something moved that are kept, of all cameras together: four years of one, 200 MB.
pub const MAX_INTENSITIES: i64 = 2_000_000;
/// Protected ranges, of all cameras together.
pub const MAX_PROTECTED: usize = 10_000;
/// Cameras that have something here. One that has nothing any more is forgotten at the next start.
pub const MAX_CAMERAS: usize = 10_000;
/// Storage folders.
pub const MAX_STORAGES: usize = 100;

const DAY_90K: i64 = 86_400 * 90_000;

/// On which day of UTC that is.
fn day(at_90k: i64) -> i64 {
    at_90k.div_euclid(DAY_90K)
}

#[cfg(test)]
mod tests;
