//! From NAL units to access units, for both codecs.
//!
//! Belongs here: when an access unit is handed out, what of it is kept, what is said of the rest. Does not belong here: what a NAL
//! unit means, which [`crate::h264`] and [`crate::h265`] tell through [`Syntax`].

use std::fmt;
use std::sync::Arc;

use super::{AccessUnit, Assembly, Ending, Fault};
use crate::time::WallTime;
use crate::track;

/// Most different faults of one stream that are told of.
const MAX_FAULTS: usize = 8;

/// What a codec knows of its NAL units.
pub trait Syntax: fmt::Debug {
    /// Its parameter sets.
    type Format: Default;

    /// Starts with what is known of the track.
    fn new(format: Self::Format) -> Self;

    /// Whether a NAL unit that begins like this is the first of an access unit, when a slice came before it.
    fn begins(&self, head: &[u8]) -> bool;

    /// Reads a NAL unit. `ending` tells whether [`Syntax::begins`] will be asked.
    fn read(&mut self, unit: &[u8], ending: Ending) -> Content;

    /// The access unit has ended, or was dropped.
    fn ended(&mut self);

    /// Whether a decoder could start with the parameter sets there are.
    fn is_complete(&self) -> bool;

    /// A copy of the parameter sets.
    fn format(&self) -> track::Format;
}

/// What a NAL unit is to an access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Not carried.
    LeftOut,
    /// Not carried either, but noted: whether the format has changed by it, or why it cannot be used.
    ParameterSet(Result<bool, String>),
    /// With our capture time, if that is in it.
    Sei(Option<WallTime>),
    /// Coded picture.
    Slice(Slice),
}

/// What counts of a slice, or of a segment of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// It is known not to be the first of its picture.
    pub continues: bool,
    /// It is part of something other than the picture: an alpha plane.
    pub auxiliary: bool,
    /// Decoding may start here.
    pub keyframe: bool,
    /// It may be shown before a picture that was sent earlier.
    pub has_b: bool,
    /// Other parameter sets are in force from here on.
    pub new_format: bool,
}

/// Puts NAL units together to access units. [`crate::h264::AccessUnits`] and [`crate::h265::AccessUnits`] say what is left out of
/// them. Access units that come before the first usable parameter sets are dropped.
#[derive(Debug)]
pub struct AccessUnits<S> {
    syntax: S,
    shared: Arc<track::Format>,
    ending: Ending,
    assembly: Assembly,
    faults: Faults,
}

impl<S: Syntax> AccessUnits<S> {
    /// Starts with what is known of the track: `Format::default()` when nothing is.
    pub fn new(format: S::Format, ending: Ending) -> Self {
        let syntax = S::new(format);
        Self {
            shared: Arc::new(syntax.format()),
            syntax,
            ending,
            assembly: Assembly::default(),
            faults: Faults::default(),
        }
    }

    /// The parameter sets as they are now.
    pub fn format(&self) -> &Arc<track::Format> {
        &self.shared
    }

    /// Takes the next NAL unit, without start code. Returns the access unit that is complete by it: the one before, or, with
    /// [`Ending::OneSlice`], its own. What is wrong with a NAL unit shows in [`AccessUnits::take_fault`].
    pub fn push(&mut self, unit: &[u8]) -> Option<AccessUnit> {
        let before = self.announce(unit);
        match self.syntax.read(unit, self.ending) {
            Content::LeftOut => {}
            Content::ParameterSet(Ok(false)) => {}
            Content::ParameterSet(Ok(true)) => self.share(),
            Content::ParameterSet(Err(why)) => self.faults.note(Fault::ParameterSet(why)),
            Content::Sei(capture) => {
                self.assembly.capture = self.assembly.capture.or(capture);
                self.append(unit);
            }
            Content::Slice(slice) => self.slice(unit, slice),
        }
        if before.is_none() && self.ending == Ending::OneSlice && self.assembly.has_slice {
            return self.finish();
        }
        before
    }

    /// Takes the first bytes of a NAL unit that has not ended yet and returns the access unit that is known to be complete by them.
    /// Two bytes tell in nearly every stream, three in H.265. The NAL unit itself is pushed when it is whole.
    pub fn announce(&mut self, head: &[u8]) -> Option<AccessUnit> {
        if self.ending != Ending::Told && self.assembly.has_slice && self.syntax.begins(head) {
            self.finish()
        } else {
            None
        }
    }

    /// The access unit has ended, as is known from elsewhere: RTP's marker bit, the end of the stream, an encoder that returned.
    /// `None` when no picture was in it.
    pub fn finish(&mut self) -> Option<AccessUnit> {
        self.syntax.ended();
        let done = self.assembly.finish(&self.shared)?;
        if self.syntax.is_complete() {
            return Some(done);
        }
        if done.keyframe {
            self.faults.note(Fault::NoParameterSets);
        }
        None
    }

    /// What was wrong and was not told yet. Each is told once, however often it happens, and eight at the most.
    pub fn take_fault(&mut self) -> Option<Fault> {
        self.faults.take()
    }

    /// Drops what was collected, after a loss.
    pub fn reset(&mut self) {
        self.syntax.ended();
        self.assembly.clear();
    }

    fn slice(&mut self, unit: &[u8], slice: Slice) {
        if slice.new_format {
            self.share();
        }
        if self.ending == Ending::OneSlice && slice.continues {
            self.ending = Ending::NextUnit;
            self.reset();
            return self.faults.note(Fault::SeveralSlices);
        }
        self.assembly.has_slice |= !slice.auxiliary;
        self.assembly.keyframe |= slice.keyframe;
        self.assembly.has_b |= slice.has_b;
        self.append(unit);
    }

    fn append(&mut self, unit: &[u8]) {
        if let Err(fault) = self.assembly.push(unit) {
            self.faults.note(fault);
        }
    }

    /// Copies the format for the frames from here on.
    fn share(&mut self) {
        self.shared = Arc::new(self.syntax.format());
    }
}

/// The faults of a stream, each once: a parameter set that cannot be read comes again with every keyframe.
#[derive(Debug, Default)]
struct Faults {
    all: Vec<Fault>,
    told: usize,
}

impl Faults {
    fn note(&mut self, fault: Fault) {
        let explained = fault == Fault::NoParameterSets && self.all.iter().any(Fault::is_of_parameter_sets);
        if !explained && self.all.len() < MAX_FAULTS && !self.all.contains(&fault) {
            self.all.push(fault);
        }
    }

    fn take(&mut self) -> Option<Fault> {
        let fault = self.all.get(self.told)?.clone();
        self.told += 1;
        Some(fault)
    }
}
