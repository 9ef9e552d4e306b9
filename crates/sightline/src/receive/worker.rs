//! The thread that decodes, measures and hands pictures on.
//!
//! Belongs here: from a received frame to a picture whose age is known. Does not belong here: the connection
//! ([`super::session`]), what is done with the picture.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use device::decode::{Decoded, Decoder};
use media::{Clock, Codec, Frame, Kind, WallTime, stamp};
use protocol::rtp::Received;

use super::Error;
use super::burst::{Burst, Coming};
use super::caption::Caption;
use super::report::{Collector, Source};
use super::save::Saver;
use crate::window::Screen;

/// Frames more than at the best moment so far that wait to be decoded: half a second at 30 fps. Beyond it the decoder cannot keep up,
/// and goes on at a keyframe.
const QUEUE_FRAMES: usize = 16;
/// Bytes that wait at the most: twice the burst that a server of ours gives by default. A burst waits whole, however many frames it has.
const QUEUE_BYTES: usize = 32 << 20;
/// How long after a burst pictures may still wait behind it without being measured: a delay that lasts is no matter of the burst.
const CATCH_UP: Duration = Duration::from_secs(1);
/// What a frame takes beside its data.
const FRAME_BYTES: usize = size_of::<Queued>();

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
    /// Frames that the decoder could not use.
    pub(super) lost: AtomicU64,
    /// What waits to be decoded.
    waiting_frames: AtomicUsize,
    waiting_bytes: AtomicUsize,
    /// Why there are no pictures, for people.
    pub(super) trouble: Mutex<Option<String>>,
}

/// The thread. Dropping it ends it, after the frame it is at.
pub(super) struct Worker {
    frames: Option<Sender<Queued>>,
    thread: Option<JoinHandle<Result<(), Error>>>,
    pub(super) shared: Arc<Shared>,
    /// A frame had to be left out: the next ones are of no use until a keyframe.
    broken: bool,
    burst: Burst,
    /// The fewest frames that waited since the burst, `None` before its end: one whose burst is still being decoded is not slow.
    fewest: Option<usize>,
    /// Frames left out.
    skipped: u64,
}

/// A frame on its way to the thread.
struct Queued {
    received: Received,
    coming: Coming,
}

impl Queued {
    fn bytes(&self) -> usize {
        self.received.frame.data.len() + FRAME_BYTES
    }
}

impl Worker {
    pub(super) fn start(sink: Sink, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (frames, queue) = channel();
        let shared = Arc::new(Shared::default());
        let work = Work::new(sink, clock, shared.clone());
        let thread = std::thread::Builder::new()
            .name("decode".to_owned())
            .spawn(move || work.run(&queue))?;
        Ok(Self {
            frames: Some(frames),
            thread: Some(thread),
            shared,
            broken: false,
            burst: Burst::default(),
            fewest: None,
            skipped: 0,
        })
    }

    /// A connection was made: what comes begins with a burst.
    pub(super) fn joined(&mut self) {
        self.burst = Burst::default();
        self.fewest = None;
    }

    /// Frames left out because the thread did not keep up.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Hands over a frame. Never waits. `false` when the thread has ended.
    pub(super) fn take(&mut self, mut received: Received) -> bool {
        let Some(frames) = &self.frames else { return false };
        let is_video = received.frame.format.codec().kind() == Kind::Video;
        let coming = if is_video {
            self.burst.take(received.frame.time, received.arrival.at)
        } else {
            Coming::Live
        };
        if self.broken {
            if !received.frame.keyframe {
                self.skipped += 1;
                return true;
            }
            received.discontinuity = true;
        }
        let queued = Queued { received, coming };
        let waiting = self.shared.waiting_frames.load(Relaxed);
        if is_video && coming == Coming::Live {
            self.fewest = Some(self.fewest.map_or(waiting, |fewest| fewest.min(waiting)));
        }
        let bytes = self.shared.waiting_bytes.load(Relaxed).saturating_add(queued.bytes());
        let is_slow = self.fewest.is_some_and(|fewest| waiting >= fewest + QUEUE_FRAMES);
        self.broken = is_slow || bytes > QUEUE_BYTES;
        if self.broken {
            self.skipped += 1;
            return true;
        }
        self.shared.waiting_frames.fetch_add(1, Relaxed);
        self.shared.waiting_bytes.fetch_add(queued.bytes(), Relaxed);
        frames.send(queued).is_ok()
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
    /// When the last picture of the burst came, while what came behind it waits for it.
    burst_until: Option<Instant>,
}

impl Work {
    fn new(sink: Sink, clock: Arc<dyn Clock>, shared: Arc<Shared>) -> Self {
        Self {
            decoder: Decoder::new(),
            reader: stamp::Reader::default(),
            clock,
            sink,
            shared,
            last_ready: None,
            interval_us: None,
            burst_until: None,
        }
    }

    fn run(mut self, queue: &Receiver<Queued>) -> Result<(), Error> {
        while let Ok(queued) = queue.recv() {
            self.shared.waiting_frames.fetch_sub(1, Relaxed);
            self.shared.waiting_bytes.fetch_sub(queued.bytes(), Relaxed);
            self.take(&queued)?;
        }
        match self.sink {
            Sink::File(saver) => saver.finish(),
            Sink::Nowhere | Sink::Screen(..) => Ok(()),
        }
    }

    fn take(&mut self, Queued { received, coming }: &Queued) -> Result<(), Error> {
        let frame = &received.frame;
        if frame.format.codec().kind() != Kind::Video {
            return Ok(());
        }
        let is_live = self.is_live(*coming, received.arrival.at);
        if !is_live {
            self.collector().burst(received.arrival.at);
        }
        if frame.format.codec() != Codec::H264 {
            self.undecodable(frame, is_live);
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
            self.measure(decoded, decode_us, is_live)?;
        }
        Ok(())
    }

    /// Neither of the burst nor one of those that wait behind it.
    fn is_live(&mut self, coming: Coming, at: Instant) -> bool {
        if coming != Coming::Live {
            self.burst_until = Some(at);
            return false;
        }
        let Some(burst) = self.burst_until else { return true };
        let has_had_time = at.saturating_duration_since(burst) >= CATCH_UP;
        if has_had_time || self.shared.waiting_frames.load(Relaxed) == 0 {
            self.burst_until = None;
        }
        has_had_time
    }

    fn measure(&mut self, decoded: Decoded, decode_us: i64, is_live: bool) -> Result<(), Error> {
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
        if is_live {
            self.collector().picture(age_us, source, decode_us);
        }
        let measured = Measured {
            decoded,
            ready,
            age_us,
            fps: is_live.then(|| self.rate(ready)).flatten(),
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
    fn undecodable(&self, frame: &Frame, is_live: bool) {
        let now = self.clock.wall();
        self.trouble(format!(
            "{} is measured on arrival, but not decoded here",
            frame.format.codec().name()
        ));
        self.shared.pictures.fetch_add(1, Relaxed);
        if is_live {
            let age_us = now.micros_since(frame.capture.at);
            self.collector().picture(age_us, Source::of(frame.capture.source), 0);
        }
    }

    fn collector(&self) -> MutexGuard<'_, Collector> {
        self.shared.collector.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Time between two live frames.
    const FRAME: Duration = Duration::from_millis(40);

    fn received(video: &mut Video, at: Instant) -> Received {
        let wall = WallTime::from_unix_micros(0);
        Received {
            frame: video.next_frame(wall),
            discontinuity: false,
            arrival: Arrival { at, wall },
        }
    }

    /// One whose thread does nothing.
    fn idle() -> (Worker, Receiver<Queued>) {
        let (frames, queue) = channel();
        let worker = Worker {
            frames: Some(frames),
            thread: None,
            shared: Arc::default(),
            broken: false,
            burst: Burst::default(),
            fewest: None,
            skipped: 0,
        };
        (worker, queue)
    }

    #[test]
    fn what_waits_behind_a_burst_is_not_measured_for_a_second() {
        let mut work = Work::new(Sink::Nowhere, Arc::new(crate::clock::SystemClock), Arc::default());
        let at = Instant::now();
        assert!(!work.is_live(Coming::Pressed, at));
        work.shared.waiting_frames.store(3, Relaxed);
        assert!(!work.is_live(Coming::Live, at + FRAME));
        assert!(work.is_live(Coming::Live, at + CATCH_UP));
        assert!(!work.is_live(Coming::Early, at), "a new connection");
        work.shared.waiting_frames.store(0, Relaxed);
        assert!(!work.is_live(Coming::Live, at + FRAME), "it may have waited");
        assert!(work.is_live(Coming::Live, at + FRAME));
    }

    #[test]
    fn a_burst_waits_whole_and_what_is_live_not_longer_than_half_a_second() {
        const BURST: usize = 360;
        let (mut worker, queue) = idle();
        let mut video = Video::new(Settings {
            gop_frames: 0,
            ..Settings::default()
        });
        let mut at = Instant::now();
        for _ in 0..BURST {
            assert!(worker.take(received(&mut video, at)));
        }
        assert_eq!((worker.skipped(), queue.try_iter().count()), (0, BURST));
        // Nobody said that they were taken out, so the burst is still waiting.
        for _ in 0..QUEUE_FRAMES + 5 {
            at += FRAME;
            assert!(worker.take(received(&mut video, at)));
        }
        assert_eq!((worker.skipped(), queue.try_iter().count()), (5, QUEUE_FRAMES));
    }

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let (mut worker, queue) = idle();
        let mut video = Video::new(Settings {
            gop_frames: 0,
            ..Settings::default()
        });
        let at = Instant::now();
        let mut bytes = 0;
        while worker.skipped() == 0 {
            let received = received(&mut video, at);
            bytes += received.frame.data.len() + FRAME_BYTES;
            assert!(worker.take(received));
            assert!(bytes < QUEUE_BYTES * 2);
        }
        let waiting: usize = queue.try_iter().map(|queued| queued.bytes()).sum();
        assert!((QUEUE_BYTES / 2..=QUEUE_BYTES).contains(&waiting), "{waiting}");
    }

    #[test]
    fn a_panic_of_the_thread_is_no_success() {
        let mut worker = Worker::start(Sink::Nowhere, Arc::new(Broken)).unwrap();
        let mut video = Video::new(Settings::default());
        assert!(worker.take(received(&mut video, crate::clock::SystemClock.now())));
        assert!(matches!(worker.finish(), Err(Error::Bug)));
    }
}
