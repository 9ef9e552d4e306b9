//! The thread that decodes, measures and hands pictures on.
//!
//! Belongs here: from a received frame to a picture whose age is known. Does not belong here: the connection
//! ([`super::session`]), what is done with the picture.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use device::decode::{Decoded, Decoder};
use media::{Clock, Codec, Frame, WallTime, stamp};
use protocol::rtp::Received;

use super::Error;
use super::caption::Caption;
use super::report::{Collector, Source};
use super::save::Saver;
use crate::window::Screen;

/// Frames that wait to be decoded: half a second at 30 fps. Beyond it the decoder cannot keep up, and goes on at a keyframe.
const QUEUE_FRAMES: usize = 16;

/// Where decoded pictures go.
pub(super) enum Sink {
    /// They were measured; that is all.
    Nowhere,
    /// To the window, with the receiver's lines.
    Screen(Screen, Box<Caption>),
    /// To the file.
    File(Box<Saver>),
}

/// A decoded picture and its age.
pub(super) struct Measured {
    pub(super) decoded: Decoded,
    /// When it was ready.
    pub(super) ready: WallTime,
    pub(super) age_us: i64,
    /// Smoothed rate of pictures.
    pub(super) fps: Option<f64>,
}

/// What the thread counts, for the report.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) collector: Mutex<Collector>,
    pub(super) pictures: AtomicU64,
    pub(super) lost: AtomicU64,
    /// Why there are no pictures, for people.
    pub(super) trouble: Mutex<Option<String>>,
}

/// The thread. Dropping it ends it, after the frame it is at.
pub(super) struct Worker {
    frames: Option<SyncSender<Received>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
    pub(super) shared: Arc<Shared>,
    /// A frame had to be left out: the next ones are of no use until a keyframe.
    broken: bool,
}

impl Worker {
    pub(super) fn start(sink: Sink, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (frames, queue) = sync_channel(QUEUE_FRAMES);
        let shared = Arc::new(Shared::default());
        let work = Work {
            decoder: Decoder::new(),
            reader: stamp::Reader::default(),
            clock,
            sink,
            shared: shared.clone(),
            last_ready: None,
            interval_us: None,
        };
        let thread = std::thread::Builder::new()
            .name("decode".to_owned())
            .spawn(move || work.run(&queue))?;
        Ok(Self {
            frames: Some(frames),
            thread: Some(thread),
            shared,
            broken: false,
        })
    }

    /// Hands over a frame. Never waits. `false` when the thread has ended.
    pub(super) fn take(&mut self, mut received: Received) -> bool {
        let Some(frames) = &self.frames else { return false };
        if self.broken {
            if !received.frame.keyframe {
                self.shared.lost.fetch_add(1, Relaxed);
                return true;
            }
            received.discontinuity = true;
            self.broken = false;
        }
        match frames.try_send(received) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.broken = true;
                self.shared.lost.fetch_add(1, Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// Ends the thread and says how it went.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.frames = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            // What it was is reported by the panic hook; what was saved is complete up to the last fragment.
            Some(Err(_)) => Err(Error::Bug),
            None => Ok(()),
        }
    }
}

struct Work {
    decoder: Decoder,
    reader: stamp::Reader,
    clock: Arc<dyn Clock>,
    sink: Sink,
    shared: Arc<Shared>,
    last_ready: Option<WallTime>,
    interval_us: Option<f64>,
}

impl Work {
    fn run(mut self, queue: &Receiver<Received>) -> Result<(), Error> {
        while let Ok(received) = queue.recv() {
            self.take(&received)?;
        }
        match self.sink {
            Sink::File(saver) => saver.finish(),
            Sink::Nowhere | Sink::Screen(..) => Ok(()),
        }
    }

    fn take(&mut self, received: &Received) -> Result<(), Error> {
        let frame = &received.frame;
        if frame.format.codec() != Codec::H264 {
            if frame.format.codec().kind() == media::Kind::Video {
                self.undecodable(frame);
            }
            return Ok(());
        }
        if received.discontinuity {
            self.decoder.discontinuity();
        }
        let begun = self.clock.now();
        if let Err(error) = self.decoder.decode(frame) {
            self.shared.lost.fetch_add(1, Relaxed);
            self.trouble(error.to_string());
        }
        while let Some(decoded) = self.decoder.next() {
            let decode_us = media::time::micros(self.clock.now().saturating_duration_since(begun));
            self.measure(decoded, decode_us)?;
        }
        Ok(())
    }

    fn measure(&mut self, decoded: Decoded, decode_us: i64) -> Result<(), Error> {
        let ready = self.clock.wall();
        let picture = &decoded.picture;
        let [luma, ..] = picture.planes();
        let (width, height) = (picture.width(), picture.height());
        let found = self.reader.read(luma, width as usize, width, height, ready);
        let (captured, source) = match found {
            Some(reading) => (reading.time, Source::Stamp),
            None => (decoded.capture.at, Source::of(decoded.capture.source)),
        };
        let age_us = ready.micros_since(captured);
        self.shared.pictures.fetch_add(1, Relaxed);
        self.shared
            .collector
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .picture(age_us, source, decode_us);
        let measured = Measured {
            decoded,
            ready,
            age_us,
            fps: self.rate(ready),
        };
        match &mut self.sink {
            Sink::Nowhere => Ok(()),
            Sink::Screen(screen, caption) => {
                screen.show(caption.draw(measured));
                Ok(())
            }
            Sink::File(saver) => saver.write(measured),
        }
    }

    /// Pictures without a decoder of ours still tell their age at arrival.
    fn undecodable(&mut self, frame: &Frame) {
        let now = self.clock.wall();
        self.trouble(format!(
            "{} is measured on arrival, but not decoded here",
            frame.format.codec().name()
        ));
        self.shared.pictures.fetch_add(1, Relaxed);
        let mut collector = self.shared.collector.lock().unwrap_or_else(PoisonError::into_inner);
        collector.picture(now.micros_since(frame.capture.at), Source::of(frame.capture.source), 0);
    }

    fn rate(&mut self, ready: WallTime) -> Option<f64> {
        let last = self.last_ready.replace(ready)?;
        let interval = ready.micros_since(last).max(1) as f64;
        // A second's worth of smoothing at 30 fps.
        let smoothed = self
            .interval_us
            .map_or(interval, |before| before + (interval - before) / 16.0);
        self.interval_us = Some(smoothed);
        Some(1e6 / smoothed)
    }

    fn trouble(&self, what: String) {
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }
}

#[cfg(test)]
mod tests {
    use protocol::rtp::Arrival;
    use testkit::stream::{Settings, Video};

    use super::*;

    struct Broken;

    impl Clock for Broken {
        fn now(&self) -> std::time::Instant {
            panic!("a bug")
        }

        fn wall(&self) -> WallTime {
            panic!("a bug")
        }
    }

    #[test]
    fn a_panic_of_the_thread_is_no_success() {
        let mut worker = Worker::start(Sink::Nowhere, Arc::new(Broken)).unwrap();
        let wall = WallTime::from_unix_micros(0);
        let received = Received {
            frame: Video::new(Settings::default()).next_frame(wall),
            discontinuity: false,
            arrival: Arrival {
                at: crate::clock::SystemClock.now(),
                wall,
            },
        };
        assert!(worker.take(received));
        assert!(matches!(worker.finish(), Err(Error::Bug)));
    }
}
