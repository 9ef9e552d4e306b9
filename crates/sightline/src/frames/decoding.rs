//! The thread that decodes: from frames to the pictures that are wanted.
//!
//! Belongs here: which of the frames are decoded, and which of the pictures are handed on. Does not belong here: how long they wait ([`super::queue`],
//! [`super::slot`]), what they become ([`super::form`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use device::decode::{Decoded, Decoder, ffmpeg, keyframe};
use media::hub::Entry;
use media::stats::Counter;
use media::{Clock, Format, Frame};

use super::form::Shot;
use super::pace::{self, Choice, Rate};
use super::queue::{Item, Queue, Taken};
use super::slot::Slot;
use crate::clock::captured;

/// What the threads share.
pub(super) struct Shared {
    /// Frames to be decoded.
    pub(super) queue: Queue,
    /// The newest picture.
    pub(super) slot: Slot<Shot>,
    /// Pictures that were decoded.
    pub(super) decoded: Counter,
    /// Pictures that were wanted, but older than others that were there already.
    pub(super) outdated: Counter,
    /// Keyframes alone are decoded.
    pub(super) is_thrifty: AtomicBool,
    /// The newest, and whether it was told.
    trouble: Mutex<Option<(String, bool)>>,
    /// Why there will be none before a person changes something.
    refusal: OnceLock<String>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            queue: Queue::new(),
            slot: Slot::new(),
            decoded: Counter::default(),
            outdated: Counter::default(),
            is_thrifty: AtomicBool::new(false),
            trouble: Mutex::new(None),
            refusal: OnceLock::new(),
        }
    }

    /// Pictures that were wanted and that nobody got, or that might have been wanted and were not decoded, as time was short.
    pub(super) fn dropped(&self) -> u64 {
        self.slot.replaced() + self.outdated.get() + self.queue.left_out()
    }

    /// Why there was no picture lately, told once.
    pub(super) fn take_trouble(&self) -> Option<String> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, was_told) = trouble.as_mut()?;
        (!std::mem::replace(was_told, true)).then(|| text.clone())
    }

    /// The same, told or not.
    pub(super) fn last_trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map(|(text, _)| text.clone())
    }

    pub(super) fn trouble(&self, what: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some((what, false));
    }

    /// Why there will be no picture.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.get().cloned()
    }

    fn put(&self, decoded: Decoded) {
        self.slot.put(Shot::new(decoded.picture, decoded.capture));
    }
}

/// The program that decodes what we do not, as it is found.
pub(crate) const FFMPEG: &str = "ffmpeg";
/// How often the thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(500);
/// So many frames wait at the most where the machine keeps up: behind others there are newer pictures.
const BEHIND: usize = 2;
/// Where it does not keep up, pictures that are out of date are better than none.
const LONGEST_SILENCE: Duration = Duration::from_millis(500);

/// Starts it. It ends when the queue is closed.
///
/// # Errors
/// Of the system, which has no thread to give.
pub(super) fn start(rate: Rate, shared: Arc<Shared>, clock: Arc<dyn Clock>) -> io::Result<JoinHandle<()>> {
    let decoding = Decoding {
        decoder: Decoder::new(),
        rate,
        choice: Choice::new(rate),
        last: None,
        publisher: None,
        outside: Outside::None,
        shared,
        clock,
    };
    std::thread::Builder::new()
        .name("decode".to_owned())
        .spawn(move || decoding.run())
}

struct Decoding {
    decoder: Decoder,
    rate: Rate,
    choice: Choice,
    /// When a picture was handed on, or the first frame came.
    last: Option<Instant>,
    publisher: Option<u64>,
    outside: Outside,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

/// Who decodes H.265.
enum Outside {
    /// Nobody, as there was none.
    None,
    /// One FFmpeg for the stream; how often that failed before there was a picture.
    Stream(Box<ffmpeg::Decoder>, u32),
    /// One for each keyframe.
    Keyframes,
}

/// So often it is tried to have the stream decoded as it comes.
const MOST_FAILURES: u32 = 2;

impl Decoding {
    fn run(mut self) {
        loop {
            match self.shared.queue.take(LOOK) {
                Taken::Item(Item::Frame(entry, waiting)) => self.frame(&entry, waiting),
                Taken::Item(Item::Gap) => self.gap(),
                Taken::Nothing => {}
                Taken::Closed => break,
            }
        }
        self.shared.slot.close();
    }

    fn gap(&mut self) {
        self.decoder.discontinuity();
        while self.decoder.next().is_some() {}
        if let Outside::Stream(decoder, _) = &mut self.outside {
            decoder.discontinuity();
        }
    }

    fn frame(&mut self, entry: &Entry, waiting: usize) {
        if self.publisher.replace(entry.publisher) != Some(entry.publisher) {
            self.gap();
            self.choice.reset();
        }
        let mut frame = entry.frame.clone();
        let time_us = frame.time.as_micros();
        let is_h265 = matches!(*frame.format, Format::H265(_));
        let is_single = is_h265 && matches!(self.outside, Outside::Keyframes);
        let wanted = match self.choice.frame(frame.keyframe, time_us) {
            _ if is_single && frame.keyframe && self.choice.is_due(time_us) => pace::Frame::Alone,
            _ if is_single => pace::Frame::Skip,
            wanted => wanted,
        };
        self.shared
            .is_thrifty
            .store(is_single || self.choice.is_thrifty(), Relaxed);
        if wanted == pace::Frame::Skip {
            return;
        }
        frame.capture = captured(&*self.clock, frame.capture, entry.published);
        match is_h265 {
            true if is_single => return self.single(&frame, waiting),
            true => return self.h265(&frame, wanted, waiting),
            false => {}
        }
        if let Err(error) = self.decoder.decode(&frame) {
            self.shared.trouble(error.to_string());
        }
        if wanted == pace::Frame::Alone {
            // Of a stream that reorders it would wait for the next.
            self.decoder.discontinuity();
        }
        while let Some(decoded) = self.decoder.next() {
            self.picture(decoded, waiting);
        }
    }

    /// An FFmpeg decodes the stream as it comes, and its pictures come by themselves: which of them are wanted is said before, unless they come in another order than their frames. Then
    /// it is chosen of the pictures.
    fn h265(&mut self, frame: &Frame, wanted: pace::Frame, waiting: usize) {
        let time_us = frame.time.as_micros();
        let reorders = matches!(&*frame.format, Format::H265(format) if format.max_reorder_frames() != Some(0));
        let is_due =
            (reorders && wanted == pace::Frame::Decode || self.choice.is_due(time_us)) && !self.is_outdated(waiting);
        let is_for = match (wanted, is_due) {
            (pace::Frame::Alone, true) => ffmpeg::Use::Alone,
            (pace::Frame::Alone, false) => return,
            (_, true) => ffmpeg::Use::Shown,
            (_, false) if frame.is_disposable() => return,
            (_, false) => ffmpeg::Use::Reference,
        };
        if matches!(self.outside, Outside::None) {
            tracing::info!("the stream is H.265: FFmpeg decodes it");
            self.outside = Outside::Stream(Box::new(decoder(&self.shared, self.rate)), 0);
        }
        let Outside::Stream(decoder, failures) = &mut self.outside else {
            return;
        };
        let (before, now) = (decoder.stats(), self.clock.now());
        let done = decoder.decode(frame, is_for, now);
        let after = decoder.stats();
        self.shared.outdated.add(after.late - before.late);
        if is_for != ffmpeg::Use::Reference && after.taken > before.taken {
            self.last = Some(now);
            self.choice.taken(time_us);
        }
        let Err(error) = done else { return };
        if self.shared.decoded.get() == 0 {
            *failures += 1;
        }
        if let ffmpeg::Error::Start { .. } = &error {
            // Whoever runs this has to do something about it.
            let _ = self.shared.refusal.set(error.to_string());
        } else if *failures >= MOST_FAILURES {
            tracing::warn!(reason = %error, "FFmpeg does not decode the stream as it comes: its keyframes alone are shown, each by an FFmpeg of its own");
            self.outside = Outside::Keyframes;
        }
        self.shared.trouble(error.to_string());
    }

    /// Keyframes alone: a child decodes each of them.
    fn single(&mut self, frame: &Frame, waiting: usize) {
        match keyframe(frame, Some(Path::new(FFMPEG))) {
            Ok(picture) => self.picture(
                Decoded {
                    picture,
                    time: frame.time,
                    capture: frame.capture,
                    keyframe: true,
                },
                waiting,
            ),
            Err(error) => self.shared.trouble(error.to_string()),
        }
    }

    fn picture(&mut self, decoded: Decoded, waiting: usize) {
        self.shared.decoded.add(1);
        let time_us = decoded.time.as_micros();
        if !self.choice.is_due(time_us) || self.is_outdated(waiting) {
            return;
        }
        self.last = Some(self.clock.now());
        self.choice.taken(time_us);
        self.shared.put(decoded);
    }

    /// Whether newer ones wait behind a picture that is wanted.
    fn is_outdated(&mut self, waiting: usize) -> bool {
        let now = self.clock.now();
        let last = *self.last.get_or_insert(now);
        let is_outdated = waiting >= BEHIND && now.saturating_duration_since(last) < LONGEST_SILENCE;
        self.shared.outdated.add(u64::from(is_outdated));
        is_outdated
    }
}

/// Its pictures go to whoever takes the newest, as many as are wanted: those that were chosen before, and of all others as many as that.
fn decoder(shared: &Arc<Shared>, rate: Rate) -> ffmpeg::Decoder {
    let wanted = ffmpeg::Wanted {
        program: PathBuf::from(FFMPEG),
        longer_side: None,
    };
    let shared = Arc::clone(shared);
    let choice = Mutex::new(Choice::new(rate));
    let sink = move |decoded: Decoded| {
        shared.decoded.add(1);
        let time_us = decoded.time.as_micros();
        let mut choice = choice.lock().unwrap_or_else(PoisonError::into_inner);
        if choice.is_due(time_us) {
            choice.taken(time_us);
            shared.put(decoded);
        }
    };
    ffmpeg::Decoder::new(wanted, Arc::new(sink))
}
