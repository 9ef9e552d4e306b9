//! What is said of recording: how it is, and what happened.
//!
//! Belongs here: what people, events and metrics are told. Does not belong here: texts of log lines, the names of metrics.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use media::StreamName;
use media::recording::Fragments;

use super::index::{self, Ended, SegmentId};
use super::retention;

/// How recording is.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each folder of recordings.
    pub storages: Vec<StorageReport>,
    /// What was done since the start.
    pub counters: Counters,
    /// An index was lost, and with it maybe what was protected: nothing is deleted until a person has looked
    /// ([`super::recorder::Recorder::confirm_protection`]).
    pub keeps_all: bool,
    /// How the index is written.
    pub index: index::Health,
}

/// How a folder of recordings is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageReport {
    /// Where it is looked for.
    pub path: PathBuf,
    /// Whether it is recorded there.
    pub state: State,
    /// Of its disk: free for this process. 0 while it is away, as the others are.
    pub free_bytes: u64,
    /// Of its disk, in all.
    pub total_bytes: u64,
    /// What is recorded there, but for the files that are being written.
    pub used_bytes: u64,
    /// What waits to be written.
    pub queued_bytes: u64,
    /// Where the oldest recording begins, in Unix time in ticks of 90 kHz.
    pub oldest_90k: Option<i64>,
}

/// Whether it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is, or could be.
    Recording,
    /// There is no room, and nothing may be deleted. It goes on by itself when there is.
    Paused {
        /// What is lacking, and why nothing goes.
        why: String,
    },
    /// The folder is not there, or another disk is in its place. Nothing is written there; it goes on by itself when it is back.
    Away {
        /// What was found instead.
        why: String,
    },
    /// Another process records into it. Nothing is written there; it goes on by itself when that has ended.
    InUse {
        /// Which folder, and what to do.
        why: String,
    },
    /// The last thing that was to be written or read there failed. It is tried again.
    Failing {
        /// What, and what the system says.
        why: String,
    },
}

/// Why fragments are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// The disk is slow, that of recordings or that of their index: more waits than may. Or a camera begins more files than a disk has time for.
    Slow,
    /// The disk refused to write.
    Failed,
    /// There is no room, and nothing may be deleted.
    Full,
    /// The folder is not there, or another process records into it.
    Away,
    /// The recorder was stopped.
    Stopped,
}

impl LeftOut {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Slow, Self::Failed, Self::Full, Self::Away, Self::Stopped];

    /// What a run ends with that they are missing from.
    pub const fn ended(self) -> Ended {
        match self {
            Self::Slow => Ended::DiskSlow,
            Self::Failed | Self::Away => Ended::DiskFailed,
            Self::Full => Ended::DiskFull,
            Self::Stopped => Ended::Stopped,
        }
    }

    /// Its name in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Failed => "failed",
            Self::Full => "full",
            Self::Away => "away",
            Self::Stopped => "stopped",
        }
    }
}

/// What was done since the start. Nothing of it goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Fragments that were written.
    pub fragments: u64,
    /// Bytes that were, heads and seals among them.
    pub bytes: u64,
    /// Fragments that were not, by why: [`LeftOut::ALL`] is the order.
    pub left_out: [u64; LeftOut::ALL.len()],
    /// Fragments that were written and could not be made durable.
    pub lost: u64,
    /// Files that were finished.
    pub segments: u64,
    /// Files that were deleted, by why: [`DELETED`] is the order.
    pub deleted: [u64; DELETED.len()],
    /// How often files were made durable, each on its own.
    pub syncs: u64,
    /// How long that took, all together.
    pub sync_time: Duration,
    /// The longest of them.
    pub sync_longest: Duration,
    /// Writing or reading that failed.
    pub failures: u64,
}

/// Why files are deleted, in the order in which they are counted.
pub const DELETED: [retention::Why; 4] = [
    retention::Why::Age,
    retention::Why::CameraQuota,
    retention::Why::Quota,
    retention::Why::Room,
];

impl Counters {
    pub(super) fn count_left_out(&mut self, why: LeftOut, fragments: u64) {
        let at = LeftOut::ALL.iter().position(|known| *known == why);
        if let Some(count) = at.and_then(|at| self.left_out.get_mut(at)) {
            *count += fragments;
        }
    }

    pub(super) fn count_deleted(&mut self, why: retention::Why) {
        let at = DELETED.iter().position(|known| *known == why);
        if let Some(count) = at.and_then(|at| self.deleted.get_mut(at)) {
            *count += 1;
        }
    }
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A file is finished.
    Finished {
        /// Whose.
        camera: StreamName,
        /// Its row.
        id: SegmentId,
        /// From the folder of recordings on.
        path: PathBuf,
        /// When, in Unix time in ticks of 90 kHz.
        start_90k: i64,
        /// How long.
        duration_90k: i64,
        /// How large.
        bytes: u64,
        /// How much of that stands in front of its fragments.
        head_bytes: u32,
        /// Where those are.
        fragments: Arc<Fragments>,
    },
    /// A run ended: nothing comes behind its last file.
    Ended {
        /// Whose.
        camera: StreamName,
        /// Why.
        why: Ended,
    },
    /// Fragments were left out. Told every five seconds at the most.
    LeftOut {
        /// Whose.
        camera: StreamName,
        /// Why.
        why: LeftOut,
        /// How many since it was told last.
        fragments: u64,
    },
    /// Something could not be written or read.
    Failed {
        /// Whose file it was, if one's.
        camera: Option<StreamName>,
        /// What, and what the system says.
        why: String,
    },
    /// How a folder of recordings is has changed.
    State {
        /// Which.
        path: PathBuf,
        /// How it is now.
        state: State,
    },
    /// Files were deleted.
    Deleted {
        /// Why.
        why: retention::Why,
        /// How many.
        files: u64,
        /// What they had.
        bytes: u64,
    },
    /// What a crash had left was looked through.
    Recovered {
        /// Files that are complete now.
        whole: u64,
        /// Files that are damaged, and stay as they are.
        damaged: u64,
        /// Files without a whole fragment, which were removed.
        removed: u64,
    },
}
