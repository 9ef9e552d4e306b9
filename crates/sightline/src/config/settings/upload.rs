//! Snapshots that are uploaded.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Transport;
use crate::config::record::Weekly;
use crate::config::seconds::Seconds;
use crate::config::stream_source::SourceList;
use crate::config::units::{Bytes, Name};
use crate::config::upload::UploadTarget;
use crate::rtsp::client::Fingerprint;

/// Snapshots of one camera, uploaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upload {
    /// The stream of this server that snapshots are taken of, for `up` and `serve`. A source on demand is fetched for each.
    #[schemars(example = &"door")]
    pub stream: Option<Name>,
    /// The camera, for `sightline upload`, such as "rtsp://user:password@10.0.0.4/h264", or a list, as in [stream.NAME].
    #[schemars(example = "rtsp://user:password@10.0.0.4/h264Preview_01_main")]
    pub source: Option<SourceList>,
    /// How media travels from the camera: "tcp" (in the RTSP connection), "udp", or "auto".
    pub source_transport: Transport,
    /// The SHA-256 of the certificate that a camera with rtsps:// shows, where it made that itself.
    #[schemars(example = &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    pub source_fingerprint: Option<Fingerprint>,
    /// Where they go: "s3://bucket/prefix", whose server and keys stand in [s3], or a folder. Each is PLACE/NAME/YYYY-MM-DD/snapshot_YYYYMMDDTHHMMSSZ.jpg, in UTC. Not
    /// changed by HTTP.
    #[schemars(example = "s3://bucket/cameras")]
    pub to: Option<UploadTarget>,
    /// How often, 1s to a day.
    pub every: Seconds,
    /// Times of the week at which they are taken, as the clock on the wall shows them, such as ["18:00-08:00", "sat,sun"]. Empty: always.
    pub schedule: Weekly,
    /// Delete what is older; 0: nothing. Counted is from the newest on, and no pause of more than a week counts for more than that, so a clock that is set deletes nothing
    /// at once.
    pub keep: Seconds,
    /// Delete the oldest where there are more; 0: nothing.
    pub keep_count: u64,
    /// How much may wait on the disk while it cannot be sent; beyond it the oldest go.
    pub spool: Bytes,
    /// The folder where it waits. Left out: uploads/NAME in the state folder. Not changed by HTTP.
    #[schemars(example = "/var/spool/sightline/door")]
    pub spool_dir: Option<PathBuf>,
    /// Pixels of a row at the most: a larger picture is made smaller. Left out: as the camera has it.
    #[schemars(example = 1_280)]
    #[schemars(range(min = 16, max = 8_192))]
    pub max_width: Option<u16>,
    /// Quality of the JPEG.
    #[schemars(range(min = 1, max = 100))]
    pub quality: u8,
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            stream: None,
            source: None,
            source_transport: Transport::default(),
            source_fingerprint: None,
            to: None,
            every: Seconds(Duration::from_secs(10)),
            schedule: Weekly::default(),
            keep: Seconds(Duration::ZERO),
            keep_count: 0,
            spool: Bytes(256 << 20),
            spool_dir: None,
            max_width: None,
            quality: 80,
        }
    }
}
