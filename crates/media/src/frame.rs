//! One access unit and what is known about it.
//!
//! Belongs here: the frame that every publisher makes and every reader gets. Does not belong here: packets of any
//! protocol, raw pictures, the ring that holds frames ([`crate::hub`]).

use std::sync::Arc;

use bytes::Bytes;

use crate::time::{MediaTime, WallTime};
use crate::track::{Format, TrackIndex};
use crate::{annexb, h264, h265};

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

impl Frame {
    /// No other picture refers to it, by what its units say of themselves: whoever leaves it out sees all others as they are.
    pub fn is_disposable(&self) -> bool {
        let mut slices = annexb::nal_units(&self.data).filter_map(|unit| match &*self.format {
            Format::H264(_) => h264::is_disposable(unit),
            Format::H265(format) => h265::is_disposable(unit, format.temporal_layers().map_or(1, |(layers, _)| layers)),
            Format::Aac(_) | Format::Opus(_) | Format::G711(_) => None,
        });
        slices.next() == Some(true) && slices.all(|disposable| disposable)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MediaTime, Timescale, annexb, h264};

    /// By all of its slices, and there is one.
    #[test]
    fn a_frame_is_disposable_when_all_its_slices_are() {
        let frame = |units: &[&[u8]]| {
            let mut data = Vec::new();
            units
                .iter()
                .for_each(|unit| annexb::push_length_prefixed(unit, &mut data));
            Frame {
                track: TrackIndex(0),
                time: MediaTime::new(0, Timescale::VIDEO),
                capture: Capture {
                    at: WallTime::from_unix_micros(0),
                    source: CaptureSource::Arrival,
                },
                keyframe: false,
                format: Arc::new(Format::H264(h264::Format::default())),
                data: data.into(),
            }
        };
        let (sei, referred, nobody): (&[u8], &[u8], &[u8]) = (&[0x06, 1], &[0x41, 1], &[0x01, 1]);
        assert!(frame(&[sei, nobody]).is_disposable() && frame(&[nobody, nobody]).is_disposable());
        for other in [&[][..], &[sei], &[referred], &[nobody, referred], &[sei, referred]] {
            assert!(!frame(other).is_disposable(), "{other:?}");
        }
    }
}
