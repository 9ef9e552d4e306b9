//! Figures of a second, and what they are compared with.
//!
//! Belongs here: from counters to what they were in one second, a minute and an hour of each stream. Does not belong here: what is wrong ([`super::health`]),
//! who is told.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use device::camera::Status;
use media::hub::{State, Stream};
use media::stats::SessionStats;
use media::{CaptureSource, StreamName};
use protocol::status::CameraStatus;

use super::facts::{Disk, Hardware, System};
use super::health::{self, Known, Reason};
use super::sample::{Figures, Sample, UNKNOWN};
use super::world::{Seen, World, hardware};
use crate::machine;
use crate::record::report::{Report, State as Storage};
use crate::record::service;
use crate::source;

/// Seconds that are compared with.
const MINUTE: usize = 60;
/// Minutes of an hour, of which so many are needed to say what is usual.
const HOUR: usize = 60;
const ENOUGH_MINUTES: usize = 3;
/// What a camera said is of now for so long.
const SAID_LATELY: Duration = Duration::from_secs(5);
/// A second before that is older is of another time: nobody looked in between.
const GAP: Duration = Duration::from_secs(5);
/// An oldest recording that is younger says nothing about how fast a disk fills.
const LEAST_RECORDED_S: f64 = 3_600.0;
const GB: f64 = 1e9;
/// Streams that this machine will give may take so long after the start.
const BEGINNING: Duration = Duration::from_secs(10);

/// Between two seconds.
#[derive(Debug)]
pub(super) struct Sampler {
    streams: BTreeMap<StreamName, Track>,
    program: Option<(Instant, Duration)>,
    written: Option<(Instant, u64)>,
    hardware: Hardware,
    failing: Failing,
    pub(super) reasons: Arc<[Reason]>,
}

/// What was wrong with sources when they were asked last: one that is asked again is not well for that.
#[derive(Debug, Default)]
struct Failing(BTreeMap<StreamName, (&'static str, String)>);

/// A stream from second to second.
#[derive(Debug, Default)]
struct Track {
    at: Option<Instant>,
    session: u64,
    lost: u64,
    /// By the publisher's session.
    dropped: f64,
    /// By the camera's program, as it said last: since that began. Kept over gaps.
    at_camera: Option<f64>,
    /// By the same, since the publisher came.
    lost_there: f64,
    /// Pictures, and those left out, of each second.
    minute: VecDeque<(f64, f64)>,
    /// Pictures a second of each minute.
    hour: VecDeque<f64>,
    seconds: usize,
    pictures: f64,
}

/// What is to be expected of the stream of a camera of this machine: it shows a slate where there are no pictures, and that says nothing of what is usual.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Own {
    /// Pictures, as of any other.
    Pictures,
    /// A slate, because it was switched off, or has not begun.
    Slate,
    /// A slate, because of this.
    Failed(String),
}

impl Own {
    fn of(status: Option<&Status>) -> Self {
        match status {
            None | Some(Status::Running { .. }) => Self::Pictures,
            Some(Status::Starting { .. } | Status::Off) => Self::Slate,
            Some(Status::Slate { error, .. }) => Self::Failed(error.what.clone()),
            Some(Status::Ended { .. }) => Self::Failed("the camera ended by a bug of this program".to_owned()),
        }
    }
}

/// What a second came to.
pub(super) struct Second {
    pub(super) sample: Sample,
    pub(super) system: System,
}

impl Sampler {
    pub(super) fn new() -> Self {
        Self {
            streams: BTreeMap::new(),
            program: None,
            written: None,
            hardware: Hardware::default(),
            failing: Failing::default(),
            reasons: Arc::from([]),
        }
    }

    /// Looks once. To be called once a second. `seen`: of the look at streams just before.
    pub(super) async fn second(&mut self, world: &World, seen: &Seen, up: Duration) -> Second {
        let machine = world.machine.figures(&*world.clock).await;
        let (now, wall) = (world.clock.now(), world.clock.wall());
        if self.hardware.processors == 0 {
            self.hardware = hardware(machine.memory.map(|memory| memory.total_bytes));
        }
        let said: BTreeMap<StreamName, CameraStatus> = (world.status.known_cameras().into_iter())
            .filter(|(_, _, at)| now.saturating_duration_since(*at) <= SAID_LATELY)
            .map(|(name, status, _)| (name, status))
            .collect();
        let mut sample = Sample::empty(wall);
        let (mut known, mut viewers) = (BTreeMap::new(), 0);
        let streams = world.hub.list();
        self.streams
            .retain(|name, _| streams.iter().any(|stream| stream.name() == name));
        for stream in &streams {
            viewers += stream.viewers();
            let track = self.streams.entry(stream.name().clone()).or_default();
            let camera = world.status.own_camera(stream.name());
            let own = Own::of(camera.as_ref().and_then(|camera| camera.status()).as_ref());
            let mut figures = track.second(world, stream, said.get(stream.name()), &own, now);
            if let Some(camera) = camera.filter(|_| own == Own::Pictures) {
                let us = camera.handle().stats().latency_p50_us;
                figures[9] = if us > 0 { us as f64 / 1_000.0 } else { f64::NAN };
            }
            let is_live = matches!(stream.state(), State::Live);
            known.insert(
                stream.name().clone(),
                track.known(is_live, stream.keyframe_distance(), own),
            );
            sample.cameras.insert(stream.name().clone(), figures);
        }
        let reports = world.streams.reports();
        self.failing.note(&reports, &mut known);
        if up >= BEGINNING {
            are_offline(seen, &reports, &mut known);
        }
        are_paused(world, &mut known);
        let recorder = world.recordings.recorder().map(|recorder| recorder.report());
        let throttled = machine::is_throttled();
        sample.system = self.of_machine(&machine, recorder.as_ref(), now);
        sample.system[5] = throttled.map_or(f64::NAN, |is| f64::from(u8::from(is)));
        (sample.system[8], sample.system[9]) = (streams.len() as f64, viewers as f64);
        let troubles = recorder.as_ref().map(troubles).unwrap_or_default();
        self.reasons = health::health(&sample, &known, &troubles, &self.reasons).into();
        let disks = recorder.as_ref().map(|report| disks(report, wall.unix_micros()));
        Second {
            sample,
            system: System::new(
                up.as_secs(),
                disks.unwrap_or_default(),
                self.hardware.clone(),
                throttled,
            ),
        }
    }

    fn of_machine(&mut self, machine: &machine::Figures, recorder: Option<&Report>, now: Instant) -> Figures {
        let mut figures = UNKNOWN;
        let mut put = |at: usize, value: Option<f64>| {
            if let (Some(figure), Some(value)) = (figures.get_mut(at), value) {
                *figure = value;
            }
        };
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        put(0, machine.cpu_percent);
        if let Some(memory) = machine.memory {
            put(
                1,
                Some(100.0 * memory.used_bytes as f64 / memory.total_bytes.max(1) as f64),
            );
            put(12, Some(mib(memory.used_bytes)));
            put(13, Some(mib(memory.total_bytes)));
        }
        put(2, machine.network.map(|network| network.received_bits / 1e6));
        put(3, machine.network.map(|network| network.sent_bits / 1e6));
        put(4, machine.temperature_celsius);
        let usage = machine::usage();
        if let Some(time) = usage.processor_time {
            let before = self.program.replace((now, time));
            put(6, before.and_then(|before| percent(before, (now, time))));
        }
        put(7, usage.resident_bytes.map(mib));
        if let Some(report) = recorder {
            let free = report.storages.iter().map(|storage| storage.free_bytes).min();
            put(10, free.map(|bytes| bytes as f64 / GB));
            let bytes = report.counters.bytes;
            let before = self.written.replace((now, bytes));
            put(
                11,
                before.and_then(|(at, before)| {
                    let seconds = now.saturating_duration_since(at).as_secs_f64();
                    (seconds > 0.0).then(|| bytes.saturating_sub(before) as f64 * 8.0 / seconds / 1e6)
                }),
            );
        }
        figures
    }
}

/// Processor time in hundredths of one processor.
fn percent(before: (Instant, Duration), after: (Instant, Duration)) -> Option<f64> {
    let seconds = after.0.saturating_duration_since(before.0).as_secs_f64();
    let busy = after.1.saturating_sub(before.1).as_secs_f64();
    (seconds > 0.0).then(|| 100.0 * busy / seconds)
}

impl Failing {
    /// What sources say.
    fn note(&mut self, reports: &[source::Report], known: &mut BTreeMap<StreamName, Known>) {
        self.0
            .retain(|name, _| reports.iter().any(|report| report.stream == *name));
        for report in reports {
            let name = &report.stream;
            match (&report.state, report.state.why()) {
                (state, Some(why)) => {
                    self.0.insert(name.clone(), (state.word(), why.trouble.to_string()));
                }
                (source::State::Connecting { .. }, None) => {}
                (_, None) => {
                    self.0.remove(name);
                }
            }
        }
        for (name, why) in &self.0 {
            known.entry(name.clone()).or_default().source = Some(why.clone());
        }
    }
}

/// What is told as ended has nobody who publishes it, as long as it is told; but what has a source may be ended because nobody wants it.
fn are_offline(seen: &Seen, reports: &[source::Report], known: &mut BTreeMap<StreamName, Known>) {
    for name in seen.ended() {
        if !reports.iter().any(|report| report.stream == *name) {
            known.entry(name.clone()).or_default().is_live = Some(false);
        }
    }
}

/// What recordings say.
fn are_paused(world: &World, known: &mut BTreeMap<StreamName, Known>) {
    for (name, known) in known {
        if let Some(report) = world.recordings.report(name)
            && report.state == service::State::Paused
        {
            known.paused = report.reason.map(str::to_owned);
        }
    }
}

impl Track {
    fn second(
        &mut self,
        world: &World,
        stream: &Arc<Stream>,
        said: Option<&CameraStatus>,
        own: &Own,
        now: Instant,
    ) -> Figures {
        self.begin(now);
        let mut figures = UNKNOWN;
        let pace = stream.pace(now);
        let publisher = stream.publisher();
        figures[0] = pace.pictures_per_second;
        figures[1] = pace.bits_per_second / 1_000.0;
        figures[3] = stream.viewers() as f64;
        (figures[4], figures[5]) = latency(world, stream, now);
        if let Some(said) = said {
            figures[6] = f64::from(said.cpu_percent);
            figures[7] = f64::from(said.memory_percent);
            figures[8] = f64::from(said.network_mbps);
        }
        if let Some(motion) = world.motion.report(stream.name()) {
            figures[11] = f64::from(motion.now.intensity_permille) / 1_000.0;
        }
        if let Some(publisher) = &publisher {
            self.of_publisher(&mut figures, publisher, said);
        }
        if publisher.is_some() && *own == Own::Pictures {
            self.note(figures[0], figures[2]);
        }
        figures
    }

    /// What was counted while nobody looked is not of this second.
    fn begin(&mut self, now: Instant) {
        if (self.at).is_some_and(|at| now.saturating_duration_since(at) > GAP) {
            *self = Self::default();
        }
        self.at = Some(now);
    }

    /// What was counted since the second before. A publisher that is new has counted nothing yet.
    fn of_publisher(&mut self, figures: &mut Figures, publisher: &SessionStats, said: Option<&CameraStatus>) {
        let (dropped, lost) = (publisher.frames_dropped.get() as f64, publisher.packets_lost.get());
        let is_same = self.session == publisher.id.get();
        if !is_same {
            *self = Self {
                at: self.at,
                session: publisher.id.get(),
                hour: std::mem::take(&mut self.hour),
                ..Self::default()
            };
        }
        let there = said.map(|said| f64::from(said.frames_dropped.max(0)));
        let more = there
            .zip(self.at_camera)
            .map_or(0.0, |(now, before)| (now - before).max(0.0));
        self.at_camera = there.or(self.at_camera);
        self.lost_there += more;
        if is_same {
            figures[2] = (dropped - self.dropped).max(0.0) + more;
            figures[10] = lost.saturating_sub(self.lost) as f64;
        }
        (self.dropped, self.lost) = (dropped, lost);
        figures[12] = publisher.frames.get() as f64;
        figures[13] = dropped + self.lost_there;
    }

    fn note(&mut self, fps: f64, dropped: f64) {
        if self.minute.len() >= MINUTE {
            self.minute.pop_front();
        }
        self.minute
            .push_back((fps, if dropped.is_finite() { dropped } else { 0.0 }));
        (self.seconds, self.pictures) = (self.seconds + 1, self.pictures + fps);
        if self.seconds >= MINUTE {
            if self.hour.len() >= HOUR {
                self.hour.pop_front();
            }
            self.hour.push_back(self.pictures / self.seconds as f64);
            (self.seconds, self.pictures) = (0, 0.0);
        }
    }

    fn known(&self, is_live: bool, keyframes: Option<Duration>, own: Own) -> Known {
        let (has_pictures, failed) = match own {
            Own::Pictures => (true, None),
            Own::Slate => (false, None),
            Own::Failed(why) => (false, Some(("failed", why))),
        };
        let minute = (has_pictures && self.minute.len() >= MINUTE).then(|| {
            let sums = self.minute.iter();
            sums.fold((0.0, 0.0), |sum, second| (sum.0 + second.0, sum.1 + second.1))
        });
        let minutes = self.hour.len();
        Known {
            is_live: Some(is_live),
            source: failed,
            paused: None,
            minute,
            hour_fps: (has_pictures && minutes >= ENOUGH_MINUTES)
                .then(|| self.hour.iter().sum::<f64>() / minutes as f64),
            keyframes: keyframes.filter(|_| has_pictures),
        }
    }
}

/// How old frames were when they came, over the last second: on average and at most, where the time of their capture is known.
fn latency(world: &World, stream: &Stream, now: Instant) -> (f64, f64) {
    let Some(since) = now.checked_sub(Duration::from_secs(1)) else {
        return (f64::NAN, f64::NAN);
    };
    let wall = world.clock.wall_at(now);
    let (mut count, mut sum, mut most) = (0.0, 0.0, f64::NAN);
    for entry in stream.published_after(since) {
        let capture = entry.frame.capture;
        if capture.source == CaptureSource::Arrival {
            continue;
        }
        let ago_us = media::time::micros(now.saturating_duration_since(entry.published));
        let ms = wall.offset_micros(-ago_us).micros_since(capture.at) as f64 / 1_000.0;
        (count, sum, most) = (count + 1.0, sum + ms, most.max(ms));
    }
    (sum / count, most)
}

fn troubles(report: &Report) -> Vec<health::Disk> {
    let trouble = |state: &Storage| match state {
        Storage::Recording => None,
        Storage::Paused { .. } => Some(("disk-full", "there is no room for recordings")),
        Storage::Away { .. } => Some(("disk-away", "the disk of recordings is away")),
        Storage::InUse { .. } => Some(("disk-in-use", "another process records into the folder of recordings")),
        Storage::Failing { .. } => Some(("disk-failing", "the disk of recordings does not work")),
    };
    let storages = report.storages.iter();
    storages
        .map(|storage| health::Disk {
            trouble: trouble(&storage.state).map(|(code, text)| (code, text.to_owned())),
        })
        .collect()
}

fn disks(report: &Report, now_us: i64) -> Vec<Disk> {
    let several = report.storages.len() > 1;
    let storages = report.storages.iter().enumerate();
    storages
        .map(|(at, storage)| {
            // A tenth of a GB is no news; below that somebody has to hurry.
            let gb = |bytes: u64| (bytes as f64 / GB * 10.0).round() / 10.0;
            let recorded_s = storage
                .oldest_90k
                .map(|oldest| now_us as f64 / 1e6 - oldest as f64 / 90_000.0);
            let days = recorded_s.filter(|seconds| *seconds >= LEAST_RECORDED_S && storage.used_bytes > 0);
            let days = days.map(|seconds| storage.free_bytes as f64 * seconds / storage.used_bytes as f64 / 86_400.0);
            Disk {
                name: if several {
                    format!("recordings {}", at + 1)
                } else {
                    "recordings".to_owned()
                },
                free_gb: gb(storage.free_bytes),
                total_gb: gb(storage.total_bytes),
                days_left: days.map(|days| (days * 10.0).round() / 10.0),
                state: match storage.state {
                    Storage::Recording => "recording",
                    Storage::Paused { .. } => "paused",
                    Storage::Away { .. } => "away",
                    Storage::InUse { .. } => "in_use",
                    Storage::Failing { .. } => "failing",
                },
            }
        })
        .collect()
}
