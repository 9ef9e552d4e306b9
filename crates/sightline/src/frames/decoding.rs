//! The thread that decodes: from frames to the pictures that are wanted.
//!
//! Belongs here: which of the frames are decoded, and which of the pictures are handed on. Does not belong here: how long they wait ([`super::queue`],
//! [`super::slot`]), what they become ([`super::form`]).

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use device::decode::{Decoded, Decoder, keyframe};
use media::hub::Entry;
use media::stats::Counter;
use media::{Clock, Format};

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
    trouble: Mutex<Option<String>>,
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
        }
    }

    /// Pictures that were wanted and that nobody got, or that might have been wanted and were not decoded, as time was short.
    pub(super) fn dropped(&self) -> u64 {
        self.slot.replaced() + self.outdated.get() + self.queue.left_out()
    }

    /// Why there was no picture lately, told once.
    pub(super) fn take_trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn trouble(&self, what: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
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
        choice: Choice::new(rate),
        last: None,
        publisher: None,
        told_h265: false,
        shared,
        clock,
    };
    std::thread::Builder::new()
        .name("decode".to_owned())
        .spawn(move || decoding.run())
}

struct Decoding {
    decoder: Decoder,
    choice: Choice,
    /// When a picture was handed on, or the first frame came.
    last: Option<Instant>,
    publisher: Option<u64>,
    told_h265: bool,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

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
    }

    fn frame(&mut self, entry: &Entry, waiting: usize) {
        if self.publisher.replace(entry.publisher) != Some(entry.publisher) {
            self.gap();
            self.choice.reset();
        }
        let mut frame = entry.frame.clone();
        let time_us = frame.time.as_micros();
        let wanted = match (self.choice.frame(frame.keyframe, time_us), &*frame.format) {
            // Of this there are keyframes alone.
            (_, Format::H265(_)) if frame.keyframe && self.choice.is_due(time_us) => pace::Frame::Alone,
            (_, Format::H265(_)) => pace::Frame::Skip,
            (wanted, _) => wanted,
        };
        let is_h265 = matches!(*frame.format, Format::H265(_));
        self.shared
            .is_thrifty
            .store(is_h265 || self.choice.is_thrifty(), Relaxed);
        if wanted == pace::Frame::Skip {
            return;
        }
        frame.capture = captured(&*self.clock, frame.capture, entry.published);
        if is_h265 {
            return self.h265(&frame, waiting);
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

    /// Keyframes alone: a child decodes each of them.
    fn h265(&mut self, frame: &media::Frame, waiting: usize) {
        if !std::mem::replace(&mut self.told_h265, true) {
            tracing::warn!("the stream is H.265: its keyframes alone are shown, by FFmpeg");
        }
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
        if !self.choice.is_due(time_us) {
            return;
        }
        let now = self.clock.now();
        let last = *self.last.get_or_insert(now);
        if waiting >= BEHIND && now.saturating_duration_since(last) < LONGEST_SILENCE {
            self.shared.outdated.add(1);
            return;
        }
        self.last = Some(now);
        self.choice.taken(time_us);
        self.shared.slot.put(Shot::new(decoded.picture, decoded.capture));
    }
}
