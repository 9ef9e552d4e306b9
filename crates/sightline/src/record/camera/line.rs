//! One recording of a camera: when, and what is written.

use jiff::tz::TimeZone;

use super::held::{Come, Held};
use super::writing::Writing;
use crate::record::clock::Now;
use crate::record::index::Ended;
use crate::record::trigger::{Input, Machine, Wanted};

/// One of the recordings of a camera: what the settings say, or a clip.
pub(super) struct Line {
    pub(super) machine: Machine,
    pub(super) writing: Writing,
    /// The first frame that it was not given, so that none is in two files of it.
    next: u64,
    is_on: bool,
}

impl Line {
    pub(super) fn new(machine: Machine, writing: Writing) -> Self {
        Self {
            machine,
            writing,
            next: 0,
            is_on: false,
        }
    }

    /// Something happens. Says whether a keyframe is wanted: it begins, and has none.
    pub(super) fn input(&mut self, input: Input, now: Now, zone: &TimeZone, held: &Held) -> bool {
        match self.machine.input(input, now, zone) {
            Wanted::Nothing => false,
            Wanted::From(from) => {
                self.is_on = true;
                let begin = held.begin(from, self.next);
                if let Some(begin) = begin {
                    held.from(begin).for_each(|come| self.frame(come));
                }
                begin.is_none()
            }
            Wanted::Stop => {
                self.is_on = false;
                self.writing.stop();
                false
            }
        }
    }

    /// The next frame; one that was given already is not taken again.
    pub(super) fn frame(&mut self, come: &Come) {
        if self.is_on && come.number >= self.next {
            self.next = come.number.saturating_add(1);
            self.writing.frame(come.frame.clone(), come.came);
        }
    }

    /// Whether frames are wanted.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// The program ends, or the recording is not to be any more.
    pub(super) fn end(&mut self) {
        self.is_on = false;
        self.writing.interrupt(Ended::Stopped);
    }
}
