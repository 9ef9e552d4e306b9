//! H.264 (ITU-T H.264) bitstreams.

use bytes::Bytes;

/// Parameter sets of an H.264 track and what they say.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Format {
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
