//! From the bytes of a pipe to access units.
//!
//! Belongs here: what the two steps, NAL units and access units, owe each other when the writer pauses. Does not belong here: either
//! step.

use super::{AccessUnit, AccessUnits, Splitter, Syntax};

/// Turns an Annex B byte stream that arrives in any pieces into access units, each as early as it can be known to be whole.
///
/// From the bytes alone that is when the first bytes of the next access unit arrive: one frame late for a live source that pauses between
/// frames. Its reader, who sees the pause, calls [`ByteStream::paused`], and the delay is that of noticing.
#[derive(Debug)]
pub struct ByteStream<U> {
    splitter: Splitter,
    units: U,
}

impl<S: Syntax> ByteStream<AccessUnits<S>> {
    /// A stream whose access units `units` puts together.
    pub fn new(units: AccessUnits<S>) -> Self {
        Self {
            splitter: Splitter::default(),
            units,
        }
    }

    /// Takes the next bytes and calls `done` for each access unit that they complete.
    pub fn push(&mut self, bytes: &[u8], mut done: impl FnMut(AccessUnit)) {
        let Self { splitter, units } = self;
        splitter.push(bytes, |unit| {
            if let Some(whole) = units.push(unit) {
                done(whole);
            }
        });
        if let Some(whole) = units.announce(splitter.pending()) {
            done(whole);
        }
    }

    /// The writer is known to have written whole access units and to wait now (nothing came for a while though it was due to send,
    /// or it has said so, or the stream has ended): what is there is complete. A wrong guess costs one picture: it shows in
    /// [`Splitter::torn`] when it cut a NAL unit, and when it fell between slices, as an access unit whose first slice does not begin a
    /// picture ([`h264::SliceHeader::first_mb`]).
    pub fn paused(&mut self, mut done: impl FnMut(AccessUnit)) {
        let Self { splitter, units } = self;
        splitter.flush(|unit| {
            if let Some(whole) = units.push(unit) {
                done(whole);
            }
        });
        if let Some(whole) = units.finish() {
            done(whole);
        }
    }

    /// The splitter, for its counters.
    pub fn splitter(&self) -> &Splitter {
        &self.splitter
    }

    /// The access unit builder.
    pub fn units(&mut self) -> &mut AccessUnits<S> {
        &mut self.units
    }
}
