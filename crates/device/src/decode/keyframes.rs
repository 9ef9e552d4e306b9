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
    /// Keyframes in a row of which it gave nothing and another FFmpeg did.
    misses: u32,
}

struct Stream {
    decoder: ffmpeg::Decoder,
    format: Arc<Format>,
    come: Receiver<Decoded>,
    /// How long the first is waited for yet.
    cold: Duration,
    /// It has given one.
    is_warm: bool,
    /// The longest that another one took.
    took: Option<Duration>,
}

/// How long the first picture is waited for: FFmpeg may come from a slow card.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// And others at the most: of damaged ones nothing comes.
const NEXT_WITHIN: Duration = Duration::from_secs(1);
/// So many times as long as those before, …
const TIMES_AS_LONG: u32 = 10;
/// … but not less.
const LEAST_WITHIN: Duration = Duration::from_millis(200);
/// So often it may miss one that is whole, as on a machine that is busy; then each keyframe gets an FFmpeg of its own.
const MOST_MISSES: u32 = 2;

impl Keyframes {
    /// `program`: where FFmpeg is, which is started with the first one that needs it.
    pub fn new(program: Option<PathBuf>) -> Self {
        Self {
            program,
            stream: None,
            misses: 0,
        }
    }

    /// The picture of the next. Blocks: 10 ms for 1080p, 100 ms for the first of H.265, 10 s at the most.
    ///
    /// # Errors
    /// As [`keyframe`].
    pub fn decode(&mut self, frame: &Frame, now: Instant) -> Result<Picture, StillError> {
        let is_outside = frame.keyframe && matches!(*frame.format, Format::H265(_));
        let (true, Some(program)) = (is_outside && self.misses < MOST_MISSES, &self.program) else {
            return keyframe(frame, self.program.as_deref());
        };
        self.stream.take_if(|stream| stream.format != frame.format);
        let new = || Stream::new(program.clone(), Arc::clone(&frame.format));
        let stream = self.stream.get_or_insert_with(new);
        if let Some(picture) = stream.decode(frame, now) {
            self.misses = 0;
            return Ok(picture);
        }
        // It may be this keyframe; one by itself says what is wrong with it.
        let alone = keyframe(frame, Some(program));
        self.misses += u32::from(alone.is_ok());
        if stream.decoder.has_ended() || self.misses == MOST_MISSES {
            self.stream = None;
        }
        alone
    }
}

impl Stream {
    fn new(program: PathBuf, format: Arc<Format>) -> Self {
        let (give, come) = mpsc::channel();
        let wanted = Wanted {
            program,
            longer_side: None,
        };
        // Whoever waited may have given up.
        let sink = Arc::new(move |decoded| drop(give.send(decoded)));
        Self {
            decoder: ffmpeg::Decoder::new(wanted, sink),
            format,
            come,
            cold: FIRST_WITHIN,
            is_warm: false,
            took: None,
        }
    }

    fn decode(&mut self, frame: &Frame, now: Instant) -> Option<Picture> {
        self.decoder.decode(frame, Use::Alone, now).ok()?;
        let within = match (self.is_warm, self.took) {
            (false, _) => self.cold.max(NEXT_WITHIN),
            (true, None) => NEXT_WITHIN,
            (true, Some(took)) => (took * TIMES_AS_LONG).clamp(LEAST_WITHIN, NEXT_WITHIN),
        };
        // In steps, which grow with what keeps the machine busy.
        let mut waited = STEP;
        while waited < within {
            match self.come.recv_timeout(STEP) {
                Ok(decoded) => {
                    let was_warm = std::mem::replace(&mut self.is_warm, true);
                    if decoded.time == frame.time {
                        self.took = self.took.max(was_warm.then_some(waited));
                        return Some(decoded.picture);
                    }
                    // Else it is that of one before, which was given up.
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => waited += STEP,
            }
            if self.decoder.has_ended() {
                return None;
            }
        }
        self.cold = self.cold.saturating_sub(waited);
        None
    }
}

/// How often it is looked whether FFmpeg is there still.
const STEP: Duration = Duration::from_millis(10);
