//! The bytes of an access unit while its NAL units arrive. How an access unit ends is known to [`crate::h264::AccessUnits`]
//! and [`crate::h265::AccessUnits`].

use std::sync::Arc;

use bytes::Bytes;

use super::push_length_prefixed;
use crate::time::WallTime;
use crate::track::Format;

/// Largest access unit that is carried, in bytes. See [`super::MAX_UNIT_BYTES`].
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
    /// [`Ending::OneSlice`] was asked for, and a picture had a second slice: the picture before was delivered incomplete. From
    /// here on its ends are found by [`Ending::NextUnit`].
    #[error("a picture of several slices where one was promised")]
    SeveralSlices,
}

/// An access unit under construction.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
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
        let done = std::mem::take(self);
        if done.overflowed || !done.has_slice {
            return None;
        }
        let mut data = done.data;
        // Frames stay in the ring for seconds: a buffer that grew by doubling would hold twice their bytes there.
        if data.capacity() - data.len() > data.len() / 8 {
            data.shrink_to_fit();
        }
        Some(AccessUnit {
            data: Bytes::from(data),
            keyframe: done.keyframe,
            format: Arc::clone(format),
            has_b: done.has_b,
            capture: done.capture,
        })
    }
}
