//! What `sightline relay` does with one camera.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Transport;
use crate::config::destination::ForwardUrl;
use crate::config::seconds::{Seconds, SegmentTime};
use crate::config::stream_source::SourceList;
use crate::rtsp::client::Fingerprint;

/// What `sightline relay` does with one camera.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Relay {
    /// The camera, such as "rtsp://user:password@10.0.0.4/h264", one that is asked by ONVIF ("onvif://user:password@10.0.0.4/"), or a list of them, as in
    /// [stream.NAME].
    #[schemars(example = "rtsp://user:password@10.0.0.4/h264Preview_01_main")]
    pub source: Option<SourceList>,
    /// How media travels from the camera: "tcp" (in the RTSP connection), "udp", or "auto": as "tcp", but over UDP where the camera refuses that.
    pub source_transport: Transport,
    /// The SHA-256 of the certificate that a camera with rtsps:// shows, where it made that itself.
    #[schemars(example = &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    pub source_fingerprint: Option<Fingerprint>,
    /// Servers that the stream is sent on to, such as ["rtsp://user:password@10.0.0.5:8554/garden", "whip://10.0.0.6:8889/garden/whip"], at most eight.
    pub republish: Vec<ForwardUrl>,
    /// The SHA-256 of the certificate that servers with rtsps:// or whips:// show to which the stream is sent on.
    #[schemars(example = &"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    pub republish_fingerprint: Option<Fingerprint>,
    /// Folder for stream.m3u8 and its segments, for any web server to hand out. One of its own.
    #[schemars(example = "/var/www/html/garden")]
    pub hls_dir: Option<PathBuf>,
    /// Folder for recordings, segment_YYYYMMDD_HHMMSS.mp4. One of its own. `processed` in it is made and never touched.
    #[schemars(example = "/mnt/storage/garden")]
    pub record_dir: Option<PathBuf>,
    /// How long a file lasts, in seconds or with a unit, from 1 s to an hour; it begins at a keyframe, of HLS also between two that are more than twice that
    /// apart. Left out: 4 s for HLS, 60 s for recordings.
    #[schemars(example = "60s")]
    pub segment: Option<SegmentTime>,
    /// Files older than this are removed, in seconds or with a unit; 0: none ever. Left out: 6h for HLS, none ever for recordings. Counted is what was
    /// recorded since, not what the clock says.
    #[schemars(example = "7d")]
    pub retention: Option<Seconds>,
}
