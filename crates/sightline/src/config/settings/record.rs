//! What is recorded.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::record::{FreeSpace, Weekly};
use crate::config::units::{Bitrate, Bytes, Span};
use crate::config::upload::S3Place;
use crate::record::trigger::Mode;

/// Recordings on a disk of this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Record {
    /// Record every stream while it is there, but the lower ones of cameras (NAME/low). [stream.NAME] says otherwise of one, by record.enabled. Whatever is
    /// set, a recording can be started by hand, by API and status socket.
    pub enabled: bool,
    /// The folder of recordings; a folder a stream and day is made in it. Left out: recordings in the state folder. Not changed by HTTP.
    #[schemars(example = "/mnt/disk/recordings")]
    pub path: Option<PathBuf>,
    /// When: "continuous", "schedule" (at the times of the schedule), "events" (while something happens, as POST
    /// /api/v1/recordings/events tells it; at the times of the schedule where there is one) or
    /// "manual" (only when somebody says so, which counts in all modes).
    pub mode: Mode,
    /// Times of the week as the clock on the wall shows them, such as ["mon-fri 08:00-18:00", "sat,sun", "22:00-06:00"].
    pub schedule: Weekly,
    /// How long a file is, 2s to 1h; it ends at the next keyframe.
    pub segment: Span,
    /// What is recorded before an event, at most 60s; up to 16 MiB of it.
    pub pre_roll: Span,
    /// What is recorded after an event, at most 1h.
    pub post_roll: Span,
    /// How long recordings are kept; then the oldest are deleted. 0s: for ever.
    pub keep: Span,
    /// How long those are kept in which something happened, where that is longer than keep. 0s: for ever.
    pub keep_events: Span,
    /// How much a stream may have on the disk; beyond it its oldest are deleted. 0B: no limit.
    pub quota: Bytes,
    /// How much all streams may have together. 0B: no limit.
    pub quota_total: Bytes,
    /// What stays free on the disk, as a part of it, such as "10%", or an amount, such as "20GiB": the oldest recordings are deleted for it. The usual 5%
    /// are at least 1 GiB, where that is no more than a quarter of the disk.
    pub free: FreeSpace,
    /// How often recordings are made durable, 1s to 1min: what a power cut takes at the most. A crash of the program takes a second of them.
    pub sync_interval: Span,
    /// Record sound too.
    pub audio: bool,
    /// Make small pictures of what was recorded, for looking through it fast, beside each file: at most a hundredth of a processor core a stream and a 33rd of its
    /// quota. Without it they are made when somebody asks for them.
    pub filmstrip: bool,
    /// Where recordings go when they are old enough, such as "s3://bucket/recordings": then they are deleted here. The server and the keys of S3 stand in [s3]. What is
    /// protected stays. Left out: nowhere. Not changed by HTTP.
    #[schemars(example = "s3://bucket/recordings")]
    pub archive: Option<S3Place>,
    /// How old a recording is when it goes to the archive. What keep or a quota takes before is not archived.
    pub archive_after: Span,
    /// How fast recordings go to the archive at the most, so that viewers have the rest of the line: bits per second.
    pub archive_rate: Bitrate,
}

impl Default for Record {
    fn default() -> Self {
        let seconds = |seconds| Span(Duration::from_secs(seconds));
        Self {
            enabled: false,
            path: None,
            mode: Mode::Continuous,
            schedule: Weekly::default(),
            segment: seconds(60),
            pre_roll: seconds(5),
            post_roll: seconds(10),
            keep: seconds(7 * 86_400),
            keep_events: seconds(30 * 86_400),
            quota: Bytes(0),
            quota_total: Bytes(0),
            free: FreeSpace::Percent(5),
            sync_interval: seconds(5),
            audio: true,
            filmstrip: false,
            archive: None,
            archive_after: seconds(86_400),
            archive_rate: Bitrate::from_kbps(16_000),
        }
    }
}

/// What is recorded of one stream. What is left out is as in [record].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RecordOfStream {
    /// Record it, or not. true: a source that is fetched on demand is fetched for the recording too. Left out: as in [record], while the stream is there for
    /// others.
    #[schemars(example = true)]
    pub enabled: Option<bool>,
    /// When, as in [record], and so are the others.
    #[schemars(example = &"events")]
    pub mode: Option<Mode>,
    /// Times of the week.
    #[schemars(example = ["mon-fri 08:00-18:00"])]
    pub schedule: Option<Weekly>,
    /// How long a file is.
    #[schemars(example = "5min")]
    pub segment: Option<Span>,
    /// What is recorded before an event.
    #[schemars(example = "5s")]
    pub pre_roll: Option<Span>,
    /// What is recorded after an event.
    #[schemars(example = "10s")]
    pub post_roll: Option<Span>,
    /// How long recordings are kept.
    #[schemars(example = "7d")]
    pub keep: Option<Span>,
    /// How long those are kept in which something happened.
    #[schemars(example = "30d")]
    pub keep_events: Option<Span>,
    /// How much it may have on the disk.
    #[schemars(example = "100GiB")]
    pub quota: Option<Bytes>,
    /// Record sound too.
    #[schemars(example = false)]
    pub audio: Option<bool>,
    /// Make small pictures of what was recorded beforehand.
    #[schemars(example = true)]
    pub filmstrip: Option<bool>,
}

impl RecordOfStream {
    pub(super) fn says_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Record {
    /// The same for a stream of which the settings say this besides.
    pub fn of_stream(&self, own: &RecordOfStream) -> Self {
        Self {
            enabled: own.enabled.unwrap_or(self.enabled),
            path: self.path.clone(),
            mode: own.mode.unwrap_or(self.mode),
            schedule: own.schedule.clone().unwrap_or_else(|| self.schedule.clone()),
            segment: own.segment.unwrap_or(self.segment),
            pre_roll: own.pre_roll.unwrap_or(self.pre_roll),
            post_roll: own.post_roll.unwrap_or(self.post_roll),
            keep: own.keep.unwrap_or(self.keep),
            keep_events: own.keep_events.unwrap_or(self.keep_events),
            quota: own.quota.unwrap_or(self.quota),
            audio: own.audio.unwrap_or(self.audio),
            filmstrip: own.filmstrip.unwrap_or(self.filmstrip),
            quota_total: self.quota_total,
            free: self.free,
            sync_interval: self.sync_interval,
            archive: self.archive.clone(),
            archive_after: self.archive_after,
            archive_rate: self.archive_rate,
        }
    }
}
