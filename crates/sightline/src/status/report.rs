//! What our own cameras say of themselves: once a second or as often as set, and at once when something changes.
//!
//! Belongs here: making a status of a camera's counters and the machine's figures, and when. Does not belong here: where it goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use device::camera;
use media::hub::Hub;
use media::{Clock, Kind};
use protocol::status::CameraStatus;

use super::Server;
use crate::camera::Camera;
use crate::machine::{Figures, Machine};

/// How often a camera is looked at for changes.
const LOOK: Duration = Duration::from_millis(100);
/// How often the machine is asked for its figures; they are rates of a second.
const FIGURES: Duration = Duration::from_secs(1);

/// Where statuses are made.
pub(crate) struct Reporter {
    cameras: Vec<Watched>,
    hub: Hub,
    machine: Machine,
    figures: Figures,
    figures_at: Option<Instant>,
    clock: Arc<dyn Clock>,
    interval: Duration,
}

struct Watched {
    camera: Arc<Camera>,
    /// When it is told of again, and what was told last.
    next: Option<(Instant, State)>,
}

/// What is told at once when it changes.
#[derive(Clone, Debug, PartialEq)]
struct State {
    connected: bool,
    error: String,
    /// Something moves; `None`: nobody looks.
    is_moving: Option<bool>,
}

impl Reporter {
    /// So many times a second, of each of these.
    pub(crate) fn new(cameras: &[Arc<Camera>], hub: Hub, clock: Arc<dyn Clock>, per_second: u32) -> Self {
        let watched = |camera: &Arc<Camera>| Watched {
            camera: Arc::clone(camera),
            next: None,
        };
        Self {
            cameras: cameras.iter().map(watched).collect(),
            hub,
            machine: Machine::default(),
            figures: Figures::default(),
            figures_at: None,
            clock,
            interval: Duration::from_secs(1) / per_second.max(1),
        }
    }

    /// Tells until it is dropped.
    pub(crate) async fn run(mut self, mut tell: impl FnMut(&Arc<Camera>, CameraStatus)) {
        let mut ticks = tokio::time::interval(self.interval.min(LOOK));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let now = self.clock.now();
            if !self.cameras.iter().any(|watched| watched.is_due(now)) {
                continue;
            }
            if self
                .figures_at
                .is_none_or(|at| now.saturating_duration_since(at) >= FIGURES)
            {
                self.figures = self.machine.figures(&*self.clock).await;
                self.figures_at = Some(now);
            }
            let now = self.clock.now();
            for watched in &mut self.cameras {
                if watched.is_due(now) {
                    let state = state(&watched.camera);
                    let status = status(&watched.camera, &state, &self.hub, &self.figures, now);
                    watched.told(state, now, self.interval);
                    tell(&watched.camera, status);
                }
            }
        }
    }
}

impl Watched {
    fn is_due(&self, now: Instant) -> bool {
        match &self.next {
            None => true,
            Some((at, told)) => now >= *at || *told != state(&self.camera),
        }
    }

    /// Who is told late now is not told late the next time, or dashboards would count fewer than were set.
    fn told(&mut self, state: State, now: Instant, interval: Duration) {
        let next = match &self.next {
            Some((at, _)) if now < *at => *at,
            Some((at, _)) => (*at + interval).max(now),
            None => now + interval,
        };
        self.next = Some((next, state));
    }
}

fn state(camera: &Camera) -> State {
    let (connected, error) = match camera.status() {
        None | Some(camera::Status::Starting { .. }) => (false, String::new()),
        Some(camera::Status::Running { .. }) => (true, String::new()),
        Some(camera::Status::Slate { error, .. }) => (false, error.to_string()),
        Some(camera::Status::Off) => (false, "switched off".to_owned()),
        Some(camera::Status::Ended { why }) => (false, why),
    };
    let is_moving = camera.motion().map(|now| now.is_moving);
    State {
        connected,
        error,
        is_moving,
    }
}

fn status(camera: &Camera, state: &State, hub: &Hub, figures: &Figures, now: Instant) -> CameraStatus {
    let counted = camera.handle().stats();
    let stream = hub.stream(&camera.name, now).ok();
    let size = stream.as_ref().and_then(|stream| {
        let tracks = stream.tracks();
        let video = tracks.iter().find(|track| track.kind() == Kind::Video)?;
        video.format.dimensions()
    });
    let newest = stream.and_then(|stream| stream.pace(now).newest_picture);
    let count = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
    let pixels = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
    let mib = |bytes: u64| i64::try_from(bytes >> 20).unwrap_or(i64::MAX);
    let memory = figures.memory;
    let motion = camera.motion();
    let percent = memory.map(|memory| 100.0 * memory.used_bytes as f64 / memory.total_bytes.max(1) as f64);
    CameraStatus {
        is_connected: state.connected,
        fps: rounded(counted.fps, 10.0),
        frames_sent: count(counted.encoded),
        frames_dropped: count(counted.dropped),
        cpu_percent: rounded(figures.cpu_percent.unwrap_or_default(), 10.0),
        memory_percent: rounded(percent.unwrap_or_default(), 10.0),
        memory_used_mb: memory.map_or(0, |memory| mib(memory.used_bytes)),
        memory_total_mb: memory.map_or(0, |memory| mib(memory.total_bytes)),
        network_mbps: rounded(figures.network.map_or(0.0, |network| network.sent_bits / 1e6), 1_000.0),
        latency_ms: i32::try_from(counted.latency_p50_us.div_ceil(1_000)).unwrap_or(i32::MAX),
        camera_name: camera.name.to_string(),
        brightness: camera.brightness().unwrap_or_default(),
        width: size.map_or(0, |(width, _)| pixels(width)),
        height: size.map_or(0, |(_, height)| pixels(height)),
        error_message: state.error.clone(),
        capture_time_us: newest.map_or(0, |newest| newest.frame.capture.at.unix_micros()),
        motion_detected: motion.map(|now| now.is_moving),
        motion_intensity: motion.map_or(0.0, |now| f32::from(now.intensity_permille) / 1_000.0),
    }
}

/// To so many parts of one: what people read.
fn rounded(value: f64, parts: f64) -> f32 {
    ((value * parts).round() / parts) as f32
}

impl Server {
    /// Takes cameras of this program in, and tells of them until it is dropped.
    pub(crate) async fn report(&self, cameras: &[Arc<Camera>], hub: Hub, per_second: u32) {
        for camera in cameras {
            self.cameras().insert(camera.name.clone(), Arc::downgrade(camera));
        }
        let reporter = Reporter::new(cameras, hub, Arc::clone(&self.clock), per_second);
        let tell = |camera: &Arc<Camera>, status: CameraStatus| {
            let told = self.room().said_local(camera.name.clone(), &status, self.clock.now());
            if let Err(why) = told {
                tracing::debug!(camera = %camera.name, why, "status not told");
            }
            self.sooner.notify_one();
        };
        reporter.run(tell).await;
    }
}
