//! The bytes of an access unit while its NAL units arrive.
//!
//! Belongs here: what an access unit is, its size limit, what may be wrong with one. Does not belong here: when it ends
//! ([`super::AccessUnits`]).

use std::sync::Arc;

use bytes::Bytes;

use super::push_length_prefixed;
use crate::time::WallTime;
use crate::track::Format;

/// Largest access unit that is carried, in bytes; all other limits of frames and NAL units follow from it. An all-intra 4K picture at
/// 800 Mb/s and 30 fps has 3.3 MB.
pub const MAX_ACCESS_UNIT_BYTES: usize = 8 << 20;

/// A complete access unit: what [`crate::Frame`] needs, but for its times.
#[derive(Clone, Debug)]
pub struct AccessUnit {
    /// NAL units as [`crate::Frame::data`] wants them.
    pub data: Bytes,
    /// Decoding may start here.
    pub keyframe: bool,
    /// Parameter sets from here on; the same `Arc` as that of the access unit before unless they changed.
    pub format: Arc<Format>,
    /// A picture that may be shown before one that was sent earlier: it has B slices and the stream does not rule reordering out.
    pub has_b: bool,
    /// Capture time from an SEI message of ours ([`crate::sei`]).
    pub capture: Option<WallTime>,
}

/// What tells that an access unit has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ending {
    /// The first NAL unit of the next one (H.264 §7.4.1.2.3, H.265 §7.4.2.4.4). Right for every stream; costs a frame of delay
    /// where nothing else tells.
    #[default]
    NextUnit,
    /// Its only slice: for encoders known to write one slice a picture. No delay. A stream that turns out to have more falls
    /// back to [`Ending::NextUnit`].
    OneSlice,
    /// `finish` alone, called by who knows from elsewhere: the marker bit and timestamp of RTP, a container, an encoder that
    /// returns one picture a call. No delay.
    Told,
}

/// Why an access unit was dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The access unit grew beyond the limit.
    #[error("an access unit of more than {MAX_ACCESS_UNIT_BYTES} bytes")]
    TooLarge,
    /// A parameter set that cannot be read. The access unit goes on without it.
    #[error("unusable parameter set: {0}")]
    ParameterSet(String),
    /// A keyframe came, and the parameter sets it refers to came neither with it nor before it.
    #[error("a keyframe without the parameter sets (SPS, PPS) that a decoder needs")]
    NoParameterSets,
    /// [`Ending::OneSlice`] was asked for, and a picture had a second slice: the picture before was delivered incomplete. From
    /// here on its ends are found by [`Ending::NextUnit`].
    #[error("a picture of several slices where one was promised")]
    SeveralSlices,
}

impl Fault {
    /// Nothing can be shown of the stream until its parameter sets are others.
    pub fn is_of_parameter_sets(&self) -> bool {
        matches!(self, Self::ParameterSet(_) | Self::NoParameterSets)
    }
}

/// Memory that is kept for the next access unit at most; pictures beyond it are rare, or their stream has other costs.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// An access unit under construction.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// Its memory is used again by the next one.
    data: Vec<u8>,
    /// A coded slice is in it.
    pub(crate) has_slice: bool,
    pub(crate) keyframe: bool,
    pub(crate) has_b: bool,
    pub(crate) capture: Option<WallTime>,
    /// It grew beyond the limit: what still comes of it is dropped.
    overflowed: bool,
}

impl Assembly {
    /// Appends a NAL unit. Reports the overflow once.
    pub(crate) fn push(&mut self, unit: &[u8]) -> Result<(), Fault> {
        if self.overflowed {
            return Ok(());
        }
        if self.data.len() + 4 + unit.len() > MAX_ACCESS_UNIT_BYTES {
            self.data = Vec::new();
            self.overflowed = true;
            return Err(Fault::TooLarge);
        }
        push_length_prefixed(unit, &mut self.data);
        Ok(())
    }

    /// Ends it and begins the next. `None` when there is no picture in it.
    pub(crate) fn finish(&mut self, format: &Arc<Format>) -> Option<AccessUnit> {
        let done = (self.has_slice && !self.overflowed).then(|| AccessUnit {
            // Copied out, so that what stays in the ring for seconds holds no byte more than it has.
            data: Bytes::copy_from_slice(&self.data),
            keyframe: self.keyframe,
            format: Arc::clone(format),
            has_b: self.has_b,
            capture: self.capture,
        });
        self.clear();
        done
    }

    /// Drops what is in it.
    pub(crate) fn clear(&mut self) {
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        if data.capacity() > MAX_KEPT_BYTES {
            data = Vec::new();
        }
        *self = Self {
            data,
            ..Self::default()
        };
    }
}
