//! How recordings are, for people and programs.

use media::{StreamName, WallTime};

use crate::record::camera::{Counts, Pause};
use crate::record::trigger::Mode;

/// How a stream is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which stream.
    pub stream: StreamName,
    /// In a word.
    pub state: State,
    /// When, by its settings.
    pub mode: Mode,
    /// Somebody started it.
    pub is_by_hand: bool,
    /// The name that somebody gave to a clip that is being recorded.
    pub file: Option<String>,
    /// Since when something is written without a gap.
    pub since: Option<WallTime>,
    /// Why nothing is written.
    pub paused: Option<Pause>,
    /// The same for people, who are not told where recordings are.
    pub reason: Option<&'static str>,
    /// Since the stream came.
    pub counts: Counts,
}

/// How a recording is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is not.
    Off,
    /// It is when the time comes, or something happens, or the stream has a keyframe.
    Waiting,
    /// A file is written.
    Recording,
    /// It is to be, and cannot for now.
    Paused,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Off, Self::Waiting, Self::Recording, Self::Paused];

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Waiting => "waiting",
            Self::Recording => "recording",
            Self::Paused => "paused",
        }
    }
}

impl Pause {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoRoom => "the disk is slow, full or away",
            Self::TooManyFiles => {
                "each keyframe of the stream comes with other parameter sets and wants a file of its own"
            }
            Self::Format => "the stream is in a format that MP4 files cannot hold, or does not say which",
            Self::Readers => "the stream is read as often as it may be; it is recorded when somebody else goes",
        }
    }
}

impl Report {
    pub(super) fn new(stream: StreamName) -> Self {
        Self {
            stream,
            state: State::Off,
            mode: Mode::Manual,
            is_by_hand: false,
            file: None,
            since: None,
            paused: None,
            reason: None,
            counts: Counts::default(),
        }
    }
}

/// Figures of all recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Streams by [`State::ALL`].
    pub streams: [usize; State::ALL.len()],
    /// What was written, and what was not.
    pub counts: Counts,
}

impl Totals {
    pub(super) fn with(mut self, report: &Report) -> Self {
        let at = State::ALL.iter().position(|state| *state == report.state);
        if let Some(count) = at.and_then(|at| self.streams.get_mut(at)) {
            *count += 1;
        }
        self.with_counts(report)
    }

    pub(super) fn with_counts(mut self, report: &Report) -> Self {
        self.counts = self.counts.plus(&report.counts);
        self
    }
}
