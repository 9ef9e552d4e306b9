//! One access unit and what is known about it.
//!
//! Belongs here: the frame that every publisher makes and every reader gets. Does not belong here: packets of any
//! protocol, raw pictures, the ring that holds frames ([`crate::hub`]).

use std::sync::Arc;

use bytes::Bytes;

use crate::time::{MediaTime, WallTime};
use crate::track::{Format, TrackIndex};

/// One access unit: a coded picture with everything that belongs to its instant, or one packet of coded audio.
///
/// Cheap to clone: the bytes and the format are shared.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Which track of the stream it belongs to.
    pub track: TrackIndex,
    /// Presentation time on the track's clock. Frames of a track come in decoding order; with B-frames this is not
    /// monotonic.
    pub time: MediaTime,
    /// When the picture left the sensor, and how we know.
    pub capture: Capture,
    /// Decoding may start here: IDR or, in H.265, any IRAP picture. Always true for audio.
    pub keyframe: bool,
    /// What a decoder needs to know from this frame on. The same `Arc` as the frame before unless it changed.
    pub format: Arc<Format>,
    /// H.264 and H.265: NAL units, each behind its length in four bytes, big endian (ISO/IEC 14496-15 §5.3.2), without
    /// parameter sets (they are in [`Frame::format`]), access unit delimiters and filler. Kept this way because fMP4 takes it
    /// as it is and finding a NAL unit costs no scan; see [`crate::annexb::nal_units`]. Audio: one raw codec frame.
    pub data: Bytes,
}

/// When a picture was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Wall time.
    pub at: WallTime,
    /// How that time was come by.
    pub source: CaptureSource,
}

/// Where a capture time comes from, most trusted first. It decides what a latency figure may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaptureSource {
    /// Our own camera: the driver's timestamp, or the moment our source made the picture. "Glass to glass".
    Camera,
    /// SEI message written by a Sightline camera elsewhere ([`crate::sei`]). "Glass to glass".
    Sei,
    /// The `abs-capture-time` RTP header extension. "Glass to glass".
    AbsCaptureTime,
    /// RTCP sender report, which says when the sender sent. "Since sender".
    SenderReport,
    /// Nothing better than the time it reached us. "Since arrival".
    Arrival,
}
