//! The child, its pipes, and the threads at their ends.
//!
//! Belongs here: its command line, fragments into it, pictures and words out of it, its end. Nothing of a stranger's stream is in the command line.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::fmp4::{Run, Writer};
use media::{Frame, MediaTime, Timescale, Track, TrackIndex, annexb};

use super::inbox::{About, Inbox, Late, Sample};
use super::words::{Line, line};
use super::{Decoded, Error, Place, Sink, Use, Wanted, shown_size};
use crate::last_words::LastWords;
use crate::picture::Picture;
use crate::program::Program;

/// A running FFmpeg, and what it is given.
pub(super) struct Process {
    child: Child,
    /// Of the first frame.
    origin: MediaTime,
    newest: MediaTime,
}

/// FFmpeg and its threads. Dropping it ends them at once.
#[must_use = "FFmpeg ends with it"]
pub(super) struct Child {
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
}

/// What the threads share.
struct Shared {
    program: Mutex<Option<Program>>,
    /// Why it ended.
    ended: Mutex<Option<String>>,
    /// Nobody wants its pictures any more.
    is_dropped: AtomicBool,
}

/// All that its threads need.
struct Job {
    command: Command,
    size: (u32, u32),
    muxer: Muxer,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    sink: Sink,
}

impl Process {
    /// Starts it for a stream that begins with that frame, whose pictures have that size.
    pub(super) fn start(wanted: &Wanted, coded: (u32, u32), first: &Frame, sink: Sink) -> Result<Self, Error> {
        let size = shown_size(coded, wanted.longer_side);
        let inbox = Arc::new(Inbox::new());
        let shared = Arc::new(Shared {
            program: Mutex::default(),
            ended: Mutex::default(),
            is_dropped: AtomicBool::new(false),
        });
        let mut command = Command::new(&wanted.program);
        command.args(arguments(size)).stdout(Stdio::piped());
        // Its words are read by a program.
        command
            .env("AV_LOG_FORCE_NOCOLOR", "1")
            .env_remove("AV_LOG_FORCE_COLOR");
        let job = Job {
            command,
            size,
            muxer: Muxer::new(first)?,
            inbox: Arc::clone(&inbox),
            shared: Arc::clone(&shared),
            sink,
        };
        let refused = |error: io::Error| Error::Start {
            program: wanted.program.display().to_string(),
            why: error.to_string(),
        };
        // On Linux it ends with the thread that started it, so that is one of its own.
        let (tell, told) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("ffmpeg".to_owned());
        thread.spawn(move || job.run(&tell)).map_err(refused)?;
        told.recv()
            .unwrap_or_else(|_| Err(io::Error::other("its thread ended")))
            .map_err(refused)?;
        Ok(Self {
            child: Child { inbox, shared },
            origin: first.time,
            newest: first.time,
        })
    }

    /// Whether a frame may follow: times do not begin anew.
    pub(super) fn goes_on(&self, frame: &Frame) -> bool {
        let is_behind = |time: MediaTime| frame.time.micros_since(time) >= -BACK_MICROS;
        is_behind(self.newest) && is_behind(self.origin)
    }

    /// Hands a frame over. Where a keyframe takes the place of frames that waited too long, it begins as behind any other gap.
    pub(super) fn push(&mut self, frame: &Frame, is_for: Use, place: Place, holds_back: bool, now: Instant) -> Late {
        let left_out = if frame.keyframe {
            self.child.inbox.make_way(now)
        } else {
            0
        };
        let place = if left_out > 0 { Place::Before } else { place };
        if frame.time.micros_since(self.newest) > 0 {
            self.newest = frame.time;
        }
        let ticks = LEAD_TICKS.saturating_add(frame.time.micros_since(self.origin).saturating_mul(2));
        let wanted = |is_wanted: bool| MediaTime::new(ticks + i64::from(is_wanted), CLOCK);
        let about = About {
            time: frame.time,
            capture: frame.capture,
            keyframe: frame.keyframe,
        };
        let is_shown = is_for != Use::Reference;
        // With an end of the sequence in front of it a keyframe is as the first of a stream: one whose number is that of a picture before the gap is taken for the same one else.
        let begins = frame.keyframe && (place == Place::Before || is_for == Use::Alone);
        let mut sample = Sample {
            frame: Frame {
                track: TrackIndex(0),
                time: wanted(is_shown),
                data: if begins {
                    with_end(&frame.data)
                } else {
                    frame.data.clone()
                },
                ..frame.clone()
            },
            about: is_shown.then_some(about),
        };
        let first = sample.clone();
        // A picture that may be shown behind others is held back until a sequence begins, so it gets one that nobody wants.
        let second = (is_for == Use::Alone && holds_back).then(|| {
            sample.frame.time = MediaTime::new(ticks + 2, CLOCK);
            sample.about = None;
            sample
        });
        let late = self.child.inbox.push([Some(first), second].into_iter().flatten(), now);
        Late {
            frames: left_out + late.frames,
            ..late
        }
    }

    /// Why it ended, if it has.
    pub(super) fn ended(&self) -> Option<String> {
        lock(&self.child.shared.ended).clone()
    }

    pub(super) fn stands_still(&self, now: Instant, patience: Duration) -> bool {
        self.child.inbox.stands_still(now, patience)
    }

    #[cfg(test)]
    pub(super) fn has_waiting(&self) -> bool {
        self.child.inbox.has_waiting()
    }

    /// There is nothing more for it: what it holds is shown, and it ends.
    pub(super) fn finish(self) -> Child {
        self.child.inbox.close();
        self.child
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.shared.is_dropped.store(true, Ordering::Relaxed);
        self.inbox.close();
        self.shared.kill();
    }
}

impl Shared {
    fn kill(&self) {
        if let Some(program) = &mut *lock(&self.program) {
            program.kill();
        }
    }

    /// The first reason is the one.
    fn end(&self, why: impl FnOnce() -> String) {
        lock(&self.ended).get_or_insert_with(why);
    }
}

impl Job {
    fn run(mut self, tell: &SyncSender<io::Result<()>>) {
        let started = Program::start_with_input(self.command).and_then(|mut program| {
            let pipes = (program.take_input(), program.take_output(), program.take_errors());
            let (Some(input), Some(output), Some(errors)) = pipes else {
                return Err(io::Error::other("its pipes are missing"));
            };
            Ok((program, input, output, errors))
        });
        let (program, input, output, errors) = match started {
            Ok(started) => started,
            Err(error) => {
                // Whoever asked waits.
                let _ = tell.send(Err(error));
                return;
            }
        };
        *lock(&self.shared.program) = Some(program);
        let (shared, inbox) = (&*self.shared, &*self.inbox);
        let (says, times) = mpsc::sync_channel(MOST_TIMES);
        let muxer = &mut self.muxer;
        let (size, sink) = (self.size, &self.sink);
        thread::scope(|scope| {
            let threads = [
                thread::Builder::new().spawn_scoped(scope, move || feed(inbox, muxer, input, shared)),
                thread::Builder::new().spawn_scoped(scope, move || listen(errors, &says, shared)),
            ];
            let failed = threads.iter().find_map(|thread| thread.as_ref().err());
            // Whoever asked may have gone.
            let _ = tell.send(failed.map_or(Ok(()), |error| Err(io::Error::other(error.to_string()))));
            if failed.is_none()
                && let Err(why) = show(output, times, size, &|at, picture| {
                    if let Some(about) = inbox.came(at)
                        && !shared.is_dropped.load(Ordering::Relaxed)
                    {
                        sink(about.with(picture));
                    }
                })
            {
                shared.end(|| why);
            }
            inbox.close();
            shared.kill();
        });
        // With its words, if there were some.
        shared.end(|| "it said nothing".to_owned());
        // It is reaped with it.
        *lock(&shared.program) = None;
    }
}

impl About {
    fn with(self, picture: Picture) -> Decoded {
        Decoded {
            picture,
            time: self.time,
            capture: self.capture,
            keyframe: self.keyframe,
        }
    }
}

/// Frames as fragments of MP4.
///
/// Their decode times grow by one, whatever those are at which they are shown: FFmpeg takes decode times in place of the others for ever once a picture came out in another order than its
/// time says (that of a server which makes up for what a viewer missed, say), unless they are the worse. By steps smaller than its own microseconds they are.
struct Muxer {
    writer: Writer,
    decoded: i64,
    number: u32,
}

impl Muxer {
    fn new(first: &Frame) -> Result<Self, Error> {
        let track = Track {
            index: TrackIndex(0),
            format: Arc::clone(&first.format),
            timescale: CLOCK,
        };
        Ok(Self {
            decoded: 0,
            writer: Writer::new(&[track], MediaTime::new(0, CLOCK))?,
            number: 0,
        })
    }

    fn fragment(&mut self, frame: Frame) -> Result<Bytes, media::fmp4::Error> {
        self.decoded += 1;
        let shown = frame.time.ticks();
        if shown.saturating_sub(self.decoded) > MOST_BETWEEN_TICKS {
            self.decoded = shown - MOST_BETWEEN_TICKS / 2;
        }
        let sample = media::fmp4::Sample {
            frame,
            decode_time: MediaTime::new(self.decoded, CLOCK),
        };
        self.number = self.number.wrapping_add(1);
        let run = Run {
            track: TrackIndex(0),
            samples: std::slice::from_ref(&sample),
            end: MediaTime::new(self.decoded + 1, CLOCK),
        };
        self.writer.fragment(self.number, &[run])
    }
}

/// Writes what waits, until there is nothing more; then it has a while to end.
fn feed(inbox: &Inbox, muxer: &mut Muxer, mut input: ChildStdin, shared: &Shared) {
    let mut write = || -> io::Result<()> {
        input.write_all(muxer.writer.init_segment())?;
        while let Some(sample) = inbox.take() {
            let fragment = muxer.fragment(sample.frame).map_err(io::Error::other)?;
            input.write_all(&fragment)?;
        }
        Ok(())
    };
    match write() {
        // It ended, and says why by its other pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => shared.end(|| format!("nothing can be written to it: {error}")),
        Ok(()) => {}
    }
    drop(input);
    for _ in 0..END_STEPS {
        if lock(&shared.program).as_ref().is_none_or(Program::has_exited) {
            return;
        }
        thread::sleep(END_STEP);
    }
    shared.kill();
}

/// Reads its words until they end.
fn listen(errors: ChildStderr, times: &SyncSender<Option<i64>>, shared: &Shared) {
    let (mut reader, mut text) = (BufReader::new(errors), Vec::new());
    let mut words = LastWords::default();
    loop {
        text.clear();
        match reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut text) {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
        let text = String::from_utf8_lossy(&text);
        match line(text.trim_end()) {
            // Whoever wants to know holds the other end: with its pictures this fails, and the pipe is read to its end all the same.
            Line::Picture(at) => drop(times.send(at)),
            Line::Clock(1, hz) if hz == CLOCK.hz() => {}
            Line::Clock(one, hz) => {
                shared.end(|| format!("its clock has {hz}/{one} ticks a second and not {}", CLOCK.hz()));
                shared.kill();
            }
            Line::Trouble(text) => {
                words.push(text.as_bytes(), |_| true);
                words.push(b"\n", |_| true);
            }
            Line::Other => {}
        }
    }
    if let Some(quoted) = words.quote() {
        shared.end(|| quoted);
    }
}

/// Reads pictures until they end, each with its time. Then nobody takes times any more, however many are told.
#[expect(
    clippy::needless_pass_by_value,
    reason = "whoever tells times waits as long as this is there"
)]
fn show(
    mut output: ChildStdout,
    times: Receiver<Option<i64>>,
    (width, height): (u32, u32),
    sink: &dyn Fn(i64, Picture),
) -> Result<(), String> {
    let black = || Picture::black(width, height).ok_or_else(|| format!("no picture has {width}×{height} pixels"));
    loop {
        let mut picture = black()?;
        for plane in picture.planes_mut() {
            if output.read_exact(plane).is_err() {
                // Why, it says by its other pipe.
                return Ok(());
            }
        }
        // It was said before the picture was written.
        match times.recv_timeout(WORDS_WITHIN) {
            Ok(Some(at)) => sink(at, picture),
            Ok(None) => {}
            Err(_) => return Err("it does not say when its pictures are shown".to_owned()),
        }
    }
}

/// Its pictures are what a [`Picture`] is, whatever depth, sampling, range and colours the stream has.
fn arguments((width, height): (u32, u32)) -> Vec<String> {
    let filters = format!(
        "select=mod(pts\\,2),scale={width}:{height}:flags=area:out_color_matrix=bt601:out_range=tv,showinfo=checksum=0"
    );
    // Nothing is collected before it begins: what the stream is stands in its header. One thread: with more a picture waits until others are there for them.
    let words = "-hide_banner -nostats -v level+info -probesize 32 -analyzeduration 0 -fpsprobesize 0 -threads 1 -copyts -f mp4 -i pipe:0 -map 0:v:0 -vf";
    let behind = "-vsync passthrough -pix_fmt yuv420p -threads 1 -flush_packets 1 -f rawvideo pipe:1";
    words
        .split(' ')
        .chain([&*filters])
        .chain(behind.split(' '))
        .map(str::to_owned)
        .collect()
}

/// With an end of sequence in front (H.265 §7.3.2.6, type 36).
fn with_end(data: &Bytes) -> Bytes {
    let mut all = Vec::with_capacity(data.len() + 6);
    annexb::push_length_prefixed(&[36 << 1, 1], &mut all);
    all.extend_from_slice(data);
    all.into()
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// FFmpeg's: half a microsecond, as the lowest bit says whether the picture is wanted.
const CLOCK: Timescale = Timescale::new(2_000_000).unwrap();
/// Where it begins: decode times are in front of those at which pictures are shown.
const LEAD_TICKS: i64 = 2 * 2_000_000;
/// Between decoding and showing, which has 32 bits in MP4: nine minutes.
const MOST_BETWEEN_TICKS: i64 = 1 << 30;
/// So far back in time go pictures that were reordered; beyond, times begin anew.
const BACK_MICROS: i64 = 2_000_000;
/// Pictures that it may say something of before they are read.
const MOST_TIMES: usize = 256;
/// Longest line that is read in one.
const MAX_LINE_BYTES: u64 = 1_024;
/// How long the words of a picture may take once that is there.
const WORDS_WITHIN: Duration = Duration::from_secs(2);
/// How long it may take to end once there is nothing more for it: 3 s.
const END_STEP: Duration = Duration::from_millis(20);
const END_STEPS: u32 = 150;
