//! Keyframes one after the other, as filmstrips want them: of H.265 by one FFmpeg for all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use media::{Format, Frame};

use super::Decoded;
use super::ffmpeg::{self, Use, Wanted};
use super::still::{StillError, keyframe};
use crate::picture::Picture;

/// Decodes keyframes of one track, in order.
pub struct Keyframes {
    program: Option<PathBuf>,
    stream: Option<Stream>,
    /// It does not work: each gets one of its own.
    is_single: bool,
}

struct Stream {
    decoder: ffmpeg::Decoder,
    come: Receiver<Decoded>,
    /// It has given one.
    is_warm: bool,
}

/// How long the first picture is waited for: FFmpeg may come from a slow card.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// And others, of which damaged ones never come.
const NEXT_WITHIN: Duration = Duration::from_secs(1);

impl Keyframes {
    /// `program`: where FFmpeg is, which is started with the first one that needs it.
    pub fn new(program: Option<PathBuf>) -> Self {
        Self {
            program,
            stream: None,
            is_single: false,
        }
    }

    /// The picture of the next. Blocks: 10 ms for 1080p, 100 ms for the first of H.265, 10 s at the most.
    ///
    /// # Errors
    /// As [`keyframe`].
    pub fn decode(&mut self, frame: &Frame, now: Instant) -> Result<Picture, StillError> {
        let is_outside = frame.keyframe && matches!(*frame.format, Format::H265(_)) && !self.is_single;
        if let (true, Some(program)) = (is_outside, &self.program) {
            let stream = self.stream.get_or_insert_with(|| Stream::new(program.clone()));
            if let Some(picture) = stream.decode(frame, now) {
                return Ok(picture);
            }
            // It may be this keyframe; one by itself says what is wrong with it.
            self.stream = None;
            let alone = keyframe(frame, Some(program));
            self.is_single = alone.is_ok();
            return alone;
        }
        keyframe(frame, self.program.as_deref())
    }
}

impl Stream {
    fn new(program: PathBuf) -> Self {
        let (give, come) = mpsc::channel();
        let wanted = Wanted {
            program,
            longer_side: None,
        };
        // Whoever waited may have given up.
        let sink = Arc::new(move |decoded| drop(give.send(decoded)));
        Self {
            decoder: ffmpeg::Decoder::new(wanted, sink),
            come,
            is_warm: false,
        }
    }

    fn decode(&mut self, frame: &Frame, now: Instant) -> Option<Picture> {
        self.decoder.decode(frame, Use::Alone, now).ok()?;
        let within = if self.is_warm { NEXT_WITHIN } else { FIRST_WITHIN };
        let mut waited = Duration::ZERO;
        while waited < within {
            match self.come.recv_timeout(STEP) {
                Ok(decoded) => {
                    self.is_warm = true;
                    return (decoded.time == frame.time).then_some(decoded.picture);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => waited += STEP,
            }
            if self.decoder.has_ended() {
                return None;
            }
        }
        None
    }
}

/// How often it is looked whether FFmpeg is there still.
const STEP: Duration = Duration::from_millis(50);
