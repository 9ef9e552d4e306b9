//! H.265 (ITU-T H.265) bitstreams.

use bytes::Bytes;

/// Parameter sets of an H.265 track and what they say.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Format {
    /// Video parameter sets, NAL units without start code.
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets, NAL units without start code, in the order seen; empty until the first was seen.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, likewise.
    pub pps: Vec<Bytes>,
}

impl Format {
    /// Width and height in pixels after cropping.
    pub fn dimensions(&self) -> Option<(u32, u32)> {
        None
    }
}
