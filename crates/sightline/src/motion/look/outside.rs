//! Pictures of H.265, which an FFmpeg beside us decodes for as long as the stream is looked at.
//!
//! Belongs here: what of the stream it gets, its pictures until somebody looks. Does not belong here: FFmpeg itself ([`device::decode::ffmpeg`]).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use device::decode::Decoded;
use device::decode::ffmpeg::{Decoder, Error, Stats, Use, Wanted};
use device::motion::Grey;
use media::{Frame, MediaTime, WallTime};

use super::OFTEN_MICROS;

/// See the module.
pub(super) struct Outside {
    program: PathBuf,
    decoder: Decoder,
    come: Arc<Mutex<VecDeque<Decoded>>>,
    /// The newest whose picture is wanted.
    wanted: Option<MediaTime>,
    /// What is counted already.
    told: Stats,
}

/// Pictures that wait for somebody who looks: of half a minute.
const MOST_COME: usize = 150;

impl Outside {
    /// By the FFmpeg at that path, which is started with the first keyframe.
    pub(super) fn new(program: PathBuf) -> Self {
        let (decoder, come) = begun(&program);
        Self {
            program,
            decoder,
            come,
            wanted: None,
            told: Stats::default(),
        }
    }

    /// Nothing before this has to do with what follows.
    pub(super) fn begin_anew(&mut self) {
        (self.decoder, self.come) = begun(&self.program);
        (self.wanted, self.told) = (None, Stats::default());
    }

    /// Frames are missing in front of the next.
    pub(super) fn discontinuity(&mut self) {
        self.decoder.discontinuity();
    }

    /// Takes a frame that came at that time. `is_alone`: of what follows nothing is taken before the next keyframe.
    pub(super) fn take(&mut self, frame: &Frame, wall: WallTime, is_alone: bool, now: Instant) -> Result<(), Error> {
        let is_soon = |before: MediaTime| (0..OFTEN_MICROS).contains(&frame.time.micros_since(before));
        let is_for = match (self.wanted.is_some_and(is_soon), is_alone) {
            (true, true) => return Ok(()),
            (true, false) => Use::Reference,
            (false, true) => Use::Alone,
            (false, false) => Use::Shown,
        };
        // It comes out with its picture.
        let mut frame = frame.clone();
        frame.capture.at = wall;
        let taken = self.decoder.stats().taken;
        self.decoder.decode(&frame, is_for, now)?;
        if is_for != Use::Reference && self.decoder.stats().taken > taken {
            self.wanted = Some(frame.time);
        }
        Ok(())
    }

    /// How many frames it took and left out since the last question.
    pub(super) fn news(&mut self) -> (u64, u64) {
        let now = self.decoder.stats();
        let before = std::mem::replace(&mut self.told, now);
        (
            now.taken.saturating_sub(before.taken),
            now.late.saturating_sub(before.late),
        )
    }

    /// What came since.
    pub(super) fn come(&self) -> VecDeque<Decoded> {
        std::mem::take(&mut *self.come.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn begun(program: &std::path::Path) -> (Decoder, Arc<Mutex<VecDeque<Decoded>>>) {
    let come: Arc<Mutex<VecDeque<Decoded>>> = Arc::default();
    let to = Arc::clone(&come);
    let sink = move |decoded: Decoded| {
        let mut come = to.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody looks: the stream stands still, or the machine is too slow.
        if come.len() >= MOST_COME {
            come.pop_front();
        }
        come.push_back(decoded);
    };
    let wanted = Wanted {
        program: program.to_owned(),
        longer_side: Some(Grey::MAX_SIDE),
    };
    (Decoder::new(wanted, Arc::new(sink)), come)
}
