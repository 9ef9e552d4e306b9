//! The pictures of a recording that are wanted, in their order.
//!
//! Belongs here: H.264 of MP4 and MPEG-TS decoded by our own decoder, anything else by a child FFmpeg; when each picture was captured. Does not belong here:
//! reading boxes and packets (`device::source::file`, [`media::demux`]), which file comes when ([`super::folder`]).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use device::decode::{self, Decoded, Decoder};
use device::last_words::LastWords;
use device::program::Program;
use device::source::file::Film;
use media::demux::{self, Demuxer, Sample};
use media::{Capture, CaptureSource, Format, Frame, MediaTime, Timescale, TrackIndex, WallTime};

use super::start::{self, Start};
use super::y4m;
use crate::frames::FFMPEG;
use crate::frames::form::{ClockWord, Shot};
use crate::frames::pace::{self, Choice, Rate};
use crate::shutdown::Shutdown;

/// Largest file of MPEG-TS that is read here; larger ones are left to FFmpeg. A minute at 8 Mb/s has 60 MB.
const MAX_TS_BYTES: u64 = 128 << 20;

/// Why there are no pictures. The texts are for people.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It lies with the file.
    File(String),
    /// It lies with this machine: another would have them.
    Machine(String),
}

impl From<String> for Why {
    fn from(why: String) -> Self {
        Self::File(why)
    }
}

impl From<&str> for Why {
    fn from(why: &str) -> Self {
        Self::File(why.to_owned())
    }
}

/// Why our own decoder gives none.
#[derive(Debug)]
enum Refusal {
    /// It is of a kind that FFmpeg reads and we do not: a container, a codec, a profile, a size.
    NotOurs(String),
    /// It is broken, or not finished. FFmpeg may make more of it, where there is one.
    Broken(String),
}

impl Refusal {
    fn why(&self) -> &str {
        match self {
            Self::NotOurs(why) | Self::Broken(why) => why,
        }
    }
}

/// The pictures of one file.
pub(super) struct Pictures {
    path: PathBuf,
    shutdown: Shutdown,
    start: Start,
    rate: Rate,
    from: Source,
    /// Pictures were given.
    any: bool,
    /// What was wrong behind the last picture.
    damage: Option<String>,
}

enum Source {
    Coded(Box<Coded>),
    Ffmpeg(Box<Ffmpeg>),
}

impl Pictures {
    /// Opens a file.
    ///
    /// # Errors
    /// Why there are no pictures in it.
    pub(super) fn open(path: &Path, rate: Rate, shutdown: &Shutdown) -> Result<Self, Why> {
        let start = start::of(path).map_err(|error| format!("cannot be read: {error}"))?;
        let from = match Coded::open(path, rate) {
            Ok(coded) => Source::Coded(Box::new(coded)),
            Err(refusal) => Source::Ffmpeg(Box::new(Ffmpeg::open(path, rate, &refusal)?)),
        };
        Ok(Self {
            path: path.to_owned(),
            shutdown: shutdown.clone(),
            start,
            rate,
            from,
            any: false,
            damage: None,
        })
    }

    /// The next picture that is wanted; `None` at the end, and where we are to end.
    ///
    /// # Errors
    /// Where there was none at all: why.
    pub(super) fn next(&mut self) -> Result<Option<Shot>, Why> {
        let next = match &mut self.from {
            Source::Coded(coded) => match coded.next(&self.start, &self.shutdown) {
                Err(refusal) if !self.any => {
                    let mut ffmpeg = Ffmpeg::open(&self.path, self.rate, &refusal)?;
                    let next = ffmpeg.next(&self.start, self.rate);
                    self.from = Source::Ffmpeg(Box::new(ffmpeg));
                    next
                }
                next => next.map_err(|refusal| refusal.why().to_owned()),
            },
            Source::Ffmpeg(ffmpeg) => ffmpeg.next(&self.start, self.rate),
        };
        match next {
            Ok(Some(shot)) => {
                self.any = true;
                Ok(Some(shot))
            }
            Ok(None) if self.any => Ok(None),
            Ok(None) => Err("there is no picture in it".into()),
            // What was cut off is good as far as it goes.
            Err(why) if self.any => {
                self.damage = Some(why);
                Ok(None)
            }
            Err(why) => Err(why.into()),
        }
    }

    /// Why it ended before its end, where it did.
    pub(super) fn damage(&mut self) -> Option<String> {
        self.damage.take()
    }
}

/// H.264 that is decoded here.
struct Coded {
    frames: Frames,
    /// The first frame, which was read to see whether it can be decoded.
    first: Option<(Frame, Option<WallTime>)>,
    /// When the first picture is shown, on the file's clock.
    origin_us: Option<i64>,
    decoder: Decoder,
    choice: Choice,
    ready: VecDeque<Decoded>,
    is_at_end: bool,
    /// Why the newest frame gave no picture.
    error: Option<Refusal>,
}

enum Frames {
    Mp4(Box<Film>),
    Ts(std::vec::IntoIter<Sample>),
}

impl Frames {
    fn open(path: &Path) -> Result<Self, Refusal> {
        let unreadable = |error: io::Error| Refusal::Broken(format!("cannot be read: {error}"));
        let mut file = File::open(path).map_err(unreadable)?;
        if !is_ts(path) {
            if is_matroska(&mut file).map_err(unreadable)? {
                return Err(Refusal::NotOurs("it is Matroska".to_owned()));
            }
            let film = Film::open(file).map_err(Refusal::Broken)?;
            return Ok(Self::Mp4(Box::new(film)));
        }
        let bytes = file.metadata().map_err(unreadable)?.len();
        if bytes > MAX_TS_BYTES {
            let why = format!("it has {bytes} bytes; at most {MAX_TS_BYTES} are read here");
            return Err(Refusal::NotOurs(why));
        }
        let mut all = Vec::new();
        file.take(MAX_TS_BYTES).read_to_end(&mut all).map_err(unreadable)?;
        let samples = Demuxer::new().piece(&all).map_err(|error| match &error {
            demux::Error::NoTracks(_) | demux::Error::TooLarge { .. } => Refusal::NotOurs(error.to_string()),
            _ => Refusal::Broken(error.to_string()),
        })?;
        let is_video = |sample: &Sample| sample.kind() == media::Kind::Video;
        if !samples.is_empty() && !samples.iter().any(is_video) {
            // Of codecs that are not known the demuxer says nothing beside others.
            return Err(Refusal::NotOurs(
                "of what it holds only the sound is known here".to_owned(),
            ));
        }
        Ok(Self::Ts(samples.into_iter()))
    }

    /// The next frame, and when it was captured, where its bitstream says that.
    fn next(&mut self) -> Result<Option<(Frame, Option<WallTime>)>, Refusal> {
        let unknown = Capture {
            at: WallTime::from_unix_micros(0),
            source: CaptureSource::Arrival,
        };
        match self {
            Self::Mp4(film) => {
                let next = film.next().map_err(|why| match film.is_other_codec() {
                    true => Refusal::NotOurs(why),
                    false => Refusal::Broken(why),
                })?;
                Ok(next.map(|coded| {
                    let frame = Frame {
                        track: TrackIndex(0),
                        time: MediaTime::new(coded.present_ns / 1_000, MICROSECONDS),
                        capture: unknown,
                        keyframe: coded.unit.keyframe,
                        format: coded.unit.format,
                        data: coded.unit.data,
                    };
                    (frame, coded.unit.capture)
                }))
            }
            Self::Ts(samples) => {
                let sample = samples.find(|sample| sample.kind() == media::Kind::Video);
                Ok(sample.map(|sample| {
                    let captured = sample.capture;
                    (sample.into_frame(TrackIndex(0), unknown), captured)
                }))
            }
        }
    }
}

const MICROSECONDS: Timescale = Timescale::new(1_000_000).unwrap();

impl Coded {
    /// An error where FFmpeg has to be asked.
    fn open(path: &Path, rate: Rate) -> Result<Self, Refusal> {
        let mut frames = Frames::open(path)?;
        let first = frames.next()?;
        let first = first.ok_or_else(|| Refusal::Broken("there is no picture in it".to_owned()))?;
        if !matches!(*first.0.format, Format::H264(_)) {
            let codec = first.0.format.codec().name();
            return Err(Refusal::NotOurs(format!("its pictures are {codec}")));
        }
        Ok(Self {
            frames,
            first: Some(first),
            origin_us: None,
            decoder: Decoder::new(),
            choice: Choice::new(rate),
            ready: VecDeque::new(),
            is_at_end: false,
            error: None,
        })
    }

    fn next(&mut self, start: &Start, shutdown: &Shutdown) -> Result<Option<Shot>, Refusal> {
        while !shutdown.is_requested() {
            while let Some(decoded) = self.ready.pop_front() {
                let time_us = decoded.time.as_micros();
                if self.choice.is_due(time_us) {
                    self.choice.taken(time_us);
                    self.error = None;
                    return Ok(Some(self.shot(decoded, start)));
                }
            }
            if self.is_at_end {
                return self.error.take().map_or(Ok(None), Err);
            }
            self.decode(start)?;
        }
        Ok(None)
    }

    /// The next frame.
    fn decode(&mut self, start: &Start) -> Result<(), Refusal> {
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => self.frames.next()?,
        };
        let Some((mut frame, captured)) = next else {
            self.is_at_end = true;
            self.decoder.flush();
            self.take();
            return Ok(());
        };
        let time_us = frame.time.as_micros();
        let origin_us = *self.origin_us.get_or_insert(time_us);
        frame.capture = match captured {
            Some(at) => Capture {
                at,
                source: CaptureSource::Sei,
            },
            None => Capture {
                at: start.at.offset_micros(time_us.saturating_sub(origin_us)),
                source: CaptureSource::Arrival,
            },
        };
        let wanted = self.choice.frame(frame.keyframe, time_us);
        if wanted == pace::Frame::Skip {
            return Ok(());
        }
        if let Err(error) = self.decoder.decode(&frame) {
            let why = error.to_string();
            self.error = Some(match error {
                decode::Error::Incomplete { .. } => Refusal::Broken(why),
                // Profiles that it does not know it refuses in many ways.
                _ => Refusal::NotOurs(why),
            });
        }
        if wanted == pace::Frame::Alone {
            self.decoder.discontinuity();
        }
        self.take();
        Ok(())
    }

    fn take(&mut self) {
        while let Some(decoded) = self.decoder.next() {
            self.ready.push_back(decoded);
        }
    }

    fn shot(&self, decoded: Decoded, start: &Start) -> Shot {
        let clock = match decoded.capture.source {
            CaptureSource::Sei => ClockWord::Camera,
            _ => start.clock,
        };
        Shot {
            picture: decoded.picture,
            captured: decoded.capture.at,
            clock,
        }
    }
}

fn is_ts(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    TS_ENDINGS.iter().any(|ts| ending.eq_ignore_ascii_case(ts))
}

/// Whether it begins as EBML does, the form of Matroska (RFC 8794, section 8.2.1).
fn is_matroska(file: &mut File) -> io::Result<bool> {
    let mut head = Vec::new();
    file.by_ref().take(4).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(head == [0x1a, 0x45, 0xdf, 0xa3])
}

/// How names of MPEG-TS end.
const TS_ENDINGS: [&str; 2] = ["ts", "m2ts"];

/// Everything else, through a child.
struct Ffmpeg {
    /// Killed when this is dropped.
    program: Program,
    reader: Option<y4m::Reader<BufReader<ChildStdout>>>,
    words: Option<JoinHandle<Option<String>>>,
    given: u64,
    file: PathBuf,
}

impl Ffmpeg {
    /// `refusal`: why it is asked.
    fn open(path: &Path, rate: Rate, refusal: &Refusal) -> Result<Self, Why> {
        let why = refusal.why();
        let mut command = Command::new(FFMPEG);
        command.args(["-nostdin", "-hide_banner", "-v", "error", "-threads", "2"]);
        // What a file says about others is not followed: it may be a list of names.
        command.args(["-protocol_whitelist", "file", "-f", container(path), "-i"]);
        let mut url = std::ffi::OsString::from("file:");
        url.push(path);
        command.arg(url).args(["-map", "0:v:0", "-an", "-sn", "-dn", "-vf"]);
        command
            .arg(filter(rate))
            .args(["-vsync", "passthrough", "-pix_fmt", "yuv420p"]);
        command.args(["-f", "yuv4mpegpipe", "pipe:1"]).stdout(Stdio::piped());
        let cannot = |error: io::Error| match refusal {
            // What one would make of it is nothing to wait for.
            Refusal::Broken(why) if error.kind() == io::ErrorKind::NotFound => Why::File(why.clone()),
            _ => Why::Machine(format!(
                "{why}, which FFmpeg decodes, and that cannot be started: {error}; install it (Debian, Ubuntu: apt install ffmpeg)"
            )),
        };
        let mut program = Program::start(command).map_err(cannot)?;
        let errors = program.take_errors();
        let words = thread::Builder::new().name("ffmpeg".to_owned()).spawn(move || {
            let (mut words, mut buffer) = (LastWords::default(), [0; 4_096]);
            let mut errors = errors?;
            while let Ok(count @ 1..) = errors.read(&mut buffer) {
                words.push(buffer.get(..count).unwrap_or_default(), |_| true);
            }
            words.quote()
        });
        let mut opened = Self {
            program,
            reader: None,
            words: words.ok(),
            given: 0,
            file: path.to_owned(),
        };
        let output = opened.program.take_output().ok_or("its pipes are missing")?;
        match y4m::Reader::open(BufReader::with_capacity(1 << 16, output)) {
            Ok(Some(reader)) => opened.reader = Some(reader),
            Ok(None) => return Err(said_nothing(opened.last_words(), why)),
            Err(error) => return Err(format!("what FFmpeg gives: {error}").into()),
        }
        Ok(opened)
    }

    fn next(&mut self, start: &Start, rate: Rate) -> Result<Option<Shot>, String> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        let next = reader.next();
        let picture = match next {
            Ok(Some(picture)) => picture,
            Ok(None) => {
                self.reader = None;
                return match self.last_words() {
                    // Of a file that is whole it says little, and its pictures are there.
                    Some(words) => Err(words),
                    None => Ok(None),
                };
            }
            Err(error) => return Err(format!("what FFmpeg gives: {error}")),
        };
        let behind = match rate {
            Rate::PerSecond(rate) => (self.given as f64 * 1e6 / rate) as i64,
            Rate::All | Rate::Keyframes => 0,
        };
        self.given += 1;
        Ok(Some(Shot {
            picture,
            captured: start.at.offset_micros(behind),
            clock: start.clock,
        }))
    }

    /// What it said, when it has ended.
    fn last_words(&mut self) -> Option<String> {
        self.program.kill();
        let words = self.words.take()?.join().ok().flatten()?;
        // The path is known.
        let file = self.file.to_string_lossy();
        Some(words.replace(&format!("file:{file}: "), "").replace(&*file, "it"))
    }
}

/// Why nothing came of FFmpeg.
fn said_nothing(words: Option<String>, why: &str) -> Why {
    match words {
        // What the dynamic linker says of a program that is half installed.
        Some(words) if words.contains("shared librar") => {
            Why::Machine(format!("FFmpeg cannot run: {words}; install it anew"))
        }
        Some(words) => Why::File(words),
        None => Why::File(why.to_owned()),
    }
}

/// FFmpeg's name of what the file is, so that it guesses nothing.
fn container(path: &Path) -> &'static str {
    let ending = path.extension().unwrap_or_default();
    if is_ts(path) {
        "mpegts"
    } else if ending.eq_ignore_ascii_case("mkv") {
        "matroska"
    } else {
        "mov"
    }
}

/// Pictures at multiples of the interval behind the first, of an even size and limited range.
fn filter(rate: Rate) -> String {
    let every = match rate {
        Rate::PerSecond(rate) => format!("fps=fps={rate}:round=up:eof_action=pass,"),
        Rate::All | Rate::Keyframes => String::new(),
    };
    format!("setpts=PTS-STARTPTS,{every}scale=trunc(iw/2)*2:trunc(ih/2)*2:out_color_matrix=bt601:out_range=tv")
}
