//! Recordings for tests: real files with their index, made of frames as a recorder makes them.

use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use media::annexb::{ByteStream, Ending};
use media::recording::{Cutter, Fragment, Fragments, Head, Limits, Start, Told};
use media::{
    Capture, CaptureSource, Format, Frame, MediaTime, StreamName, Timescale, Track, TrackIndex, WallTime, h264,
};

use super::Library;
use crate::clock::SystemClock;
use crate::record::index::{Change, Index, Segment, SegmentId, State};
use crate::record::name;
use crate::record::recorder::{Clocks, Free, Keep, Recorder, Settings};
use crate::record::segment;
use crate::record::sink::{Begin, Piece, Sink};
use crate::record::storage::{Place as _, Root};

/// 2026-11-22 12:00 UTC.
pub(crate) const NOON_US: i64 = 1_795_348_800_000_000;
pub(crate) const NOON_90K: i64 = NOON_US / 100 * 9;
pub(crate) const STORAGE: [u8; 16] = [7; 16];

/// The row of a whole file of a kilobyte that need not be there.
pub(crate) fn row(id: SegmentId, camera: &str, span_90k: Range<i64>) -> Segment {
    Segment {
        id,
        camera: camera.parse().unwrap(),
        storage: STORAGE,
        path: format!("{}/2026-11-22/{}.mp4", camera.replace('/', "+"), id.0),
        run: 1,
        start_90k: span_90k.start,
        duration_90k: span_90k.end - span_90k.start,
        bytes: 1_000,
        head_bytes: 100,
        crc: 0,
        drift_90k: 0,
        state: State::Whole,
        ended: None,
        age_end_90k: 0,
        is_age_sure: true,
    }
}

/// A folder with recordings, their index, and the recorder of both, which records nothing by itself.
pub(crate) struct Made {
    pub(crate) index: Arc<Index>,
    pub(crate) recorder: Recorder,
    /// Removed last.
    pub(crate) folder: tempfile::TempDir,
}

impl Made {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        Root(root.clone()).look(Some(STORAGE)).unwrap();
        let clocks = Clocks {
            clock: Arc::new(SystemClock),
            zone: || jiff::tz::TimeZone::UTC,
            is_synchronised: || false,
        };
        let settings = Settings {
            // Files are numbered from 1 on.
            random: || 0,
            ..Settings::new(root, folder.path().join("index.db"))
        };
        let recorder = Recorder::start(settings, clocks).unwrap();
        // However full the disk of a test is.
        recorder.keep(Keep {
            free: Free::Bytes(0),
            ..Keep::default()
        });
        let index = recorder.index().unwrap();
        Self {
            index,
            recorder,
            folder,
        }
    }

    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("root")
    }

    pub(crate) fn library(&self) -> Arc<Library> {
        let recorder = self.recorder.clone();
        Library::new(move || Some(recorder.clone()), None)
    }

    /// Records frames as one run that begins then, in files of so long.
    pub(crate) fn record(
        &self,
        camera: &str,
        start_90k: i64,
        tracks: &[Track],
        frames: impl IntoIterator<Item = Frame>,
        file: Duration,
    ) -> Vec<Segment> {
        let limits = Limits {
            file,
            ..Limits::default()
        };
        let mut cutter = Cutter::new(tracks, limits).unwrap();
        let mut fragments = Vec::new();
        for frame in frames {
            cutter.frame(frame, &mut fragments).unwrap();
        }
        cutter.interrupt(&mut fragments);
        assert_eq!(cutter.left_out(), 0);
        let (mut segments, mut at_90k) = (Vec::new(), start_90k);
        let run = start_90k.cast_unsigned();
        let mut files: Vec<Vec<Fragment>> = Vec::new();
        for fragment in fragments {
            if fragment.start.is_some() {
                files.push(Vec::new());
            }
            files.last_mut().unwrap().push(fragment);
        }
        for (number, fragments) in files.iter().enumerate() {
            let place = (camera.parse().unwrap(), run, number as u32, at_90k);
            let segment = self.write(place, fragments);
            at_90k = segment.end_90k();
            segments.push(segment);
        }
        self.index.flush().unwrap();
        segments
    }

    /// Hands a file to the recorder, of which so many seconds are written then, and which ends with what is given back.
    pub(crate) fn begin(&self, camera: &str, start_90k: i64, seconds: u32) -> Box<dyn Sink> {
        let (track, frames) = pictures(seconds, 25, "160x120");
        let mut cutter = Cutter::new(&[track], Limits::default()).unwrap();
        let mut fragments = Vec::new();
        for frame in frames {
            cutter.frame(frame, &mut fragments).unwrap();
        }
        cutter.interrupt(&mut fragments);
        let mut sink = self.recorder.sink(&camera.parse().unwrap());
        let start = WallTime::from_unix_micros(start_90k / 9 * 100);
        let written = self.recorder.report().counters.fragments + fragments.len() as u64;
        for fragment in fragments {
            if let Some(begin) = fragment.start {
                let begin = Begin {
                    init_segment: begin.init_segment,
                    start,
                    first_shown_90k: begin.first_shown_90k,
                    continues: false,
                    clip: None,
                };
                sink.begin(begin).unwrap();
            }
            let piece = Piece {
                bytes: fragment.bytes,
                duration_90k: fragment.duration_90k,
                keyframe: fragment.keyframe,
                told: Told {
                    end_90k: fragment.end_90k,
                    wall: start,
                },
            };
            sink.fragment(piece).unwrap();
        }
        while self.recorder.report().counters.fragments < written {
            std::thread::sleep(Duration::from_millis(5));
        }
        sink
    }

    fn write(&self, (camera, run, number, start_90k): (StreamName, u64, u32, i64), fragments: &[Fragment]) -> Segment {
        let Start {
            init_segment,
            first_shown_90k,
            ..
        } = fragments[0].start.as_ref().unwrap();
        let start = WallTime::from_unix_micros(start_90k / 9 * 100);
        let (storage, _) = Root(self.root()).look(Some(STORAGE)).unwrap();
        let head = Head {
            storage: STORAGE,
            camera: camera.clone(),
            run,
            number,
            start,
        };
        let zone = jiff::tz::TimeZone::UTC;
        let (path, mut file) = name::segments(&camera, start, &zone)
            .find_map(|path| {
                let made = segment::Segment::create(&storage, &path, &head, init_segment);
                made.ok().map(|file| (path, file))
            })
            .unwrap();
        let mut table = Fragments::new();
        for fragment in fragments {
            let told = Told {
                end_90k: fragment.end_90k,
                wall: start,
            };
            file.append(&fragment.bytes, &told).unwrap();
            table
                .push(fragment.bytes.len(), fragment.duration_90k, fragment.keyframe)
                .unwrap();
        }
        let (bytes, head_bytes) = (file.bytes(), file.head_bytes());
        let whole = file.finish(&storage, Some((&table, *first_shown_90k))).kept.unwrap();
        let segment = Segment {
            id: self.index.next_segment(),
            camera,
            storage: STORAGE,
            path: path.to_str().unwrap().to_owned(),
            run,
            start_90k,
            duration_90k: table.duration_90k().cast_signed(),
            bytes,
            head_bytes: head_bytes as u32,
            crc: whole.crc,
            drift_90k: 0,
            state: State::Whole,
            ended: None,
            age_end_90k: start_90k + table.duration_90k().cast_signed(),
            is_age_sure: true,
        };
        self.index
            .write(Change::Segment(segment.clone(), table.as_bytes().to_vec()))
            .unwrap();
        segment
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Before its folder goes.
        self.recorder.stop(Duration::from_secs(30));
    }
}

/// Pictures of a test pattern at 25 a second, a keyframe every `gop`, as FFmpeg encodes them.
pub(crate) fn pictures(seconds: u32, gop: u32, size: &str) -> (Track, Vec<Frame>) {
    let frames = 25 * seconds;
    let arguments = format!(
        "-v error -nostdin -f lavfi -i testsrc2=size={size}:rate=25 -frames:v {frames} -pix_fmt yuv420p -c:v libx264 -preset ultrafast -bf 0 -g {gop} -keyint_min {gop} -sc_threshold 0 -f h264 -"
    );
    let stream = ran("ffmpeg", &arguments);
    let mut bytes = ByteStream::new(h264::AccessUnits::new(h264::Format::default(), Ending::NextUnit));
    let mut units = Vec::new();
    bytes.push(&stream, |unit| units.push(unit));
    bytes.paused(|unit| units.push(unit));
    assert_eq!(units.len(), frames as usize);
    let format: Arc<Format> = Arc::clone(&units[0].format);
    let track = Track {
        index: TrackIndex(0),
        format,
        timescale: Timescale::VIDEO,
    };
    let frames = units.into_iter().zip(0_i64..).map(|(unit, number)| Frame {
        track: TrackIndex(0),
        time: MediaTime::new(777_000 + 3_600 * number, Timescale::VIDEO),
        capture: Capture {
            at: WallTime::from_unix_micros(NOON_US + 40_000 * number),
            source: CaptureSource::Camera,
        },
        keyframe: unit.keyframe,
        format: unit.format,
        data: unit.data,
    });
    (track, frames.collect())
}

/// What a program says that must succeed, in silence.
pub(crate) fn ran(program: &str, arguments: &str) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.is_empty(),
        "{program} {arguments}: {complaint}"
    );
    output.stdout
}
