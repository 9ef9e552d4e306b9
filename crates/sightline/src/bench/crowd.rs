//! Many viewers at once, whatever the protocol.
//!
//! Belongs here: joining in waves, the moments at which measuring starts and ends, what the server costs in between. Does not belong here:
//! what a viewer does.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use media::Clock;
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::figures::{Percentiles, Samples};
use super::process;

/// How many, for how long.
pub(super) struct Crowd<'a> {
    pub(super) viewers: usize,
    /// To measure, after all have joined.
    pub(super) duration: Duration,
    /// The server's process, if it runs on this machine and its cost is to be measured.
    pub(super) pid: Option<u32>,
    pub(super) clock: &'a dyn Clock,
}

/// The server to be measured does not run.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no such process: {0}; `pidof sightline` says which there are, and without --pid only the viewers measure"
)]
pub struct NoProcess(pub u32);

/// Viewers that join at the same moment: each wave waits for the one before, so that joining does not measure the backlog
/// of connections.
const WAVE: usize = 20;
/// How long a viewer may take to join, or to leave.
pub(super) const JOIN_LIMIT: Duration = Duration::from_secs(15);
/// After the last has joined, before measuring: the server's bursts are over.
pub(super) const SETTLE: Duration = Duration::from_millis(1_500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Joining,
    Measuring,
    Over,
}

/// What a viewer is told, and what it tells.
pub(super) struct Ticket {
    phases: watch::Receiver<Phase>,
    joined: Option<oneshot::Sender<()>>,
}

/// What changed for a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// What comes from now on is measured.
    Start,
    /// It is over.
    End,
}

impl Ticket {
    /// It has its first picture.
    pub(super) fn joined(&mut self) {
        if let Some(joined) = self.joined.take() {
            let _ = joined.send(());
        }
    }

    /// The next change. Can be dropped and asked again.
    pub(super) async fn next(&mut self) -> Moment {
        if self.phases.changed().await.is_err() {
            return Moment::End;
        }
        match *self.phases.borrow_and_update() {
            Phase::Measuring => Moment::Start,
            Phase::Joining | Phase::Over => Moment::End,
        }
    }
}

/// What one viewer saw while it was measured.
#[derive(Default)]
pub(super) struct View {
    pub(super) first_picture_us: Option<i64>,
    /// Age of what came, when it was there.
    pub(super) latency: Samples,
    pub(super) frames: u64,
    /// Of these, such as refer to one that did not come.
    pub(super) damaged: u64,
    /// The longest time without a picture that could be decoded. `None` where that is not measured.
    pub(super) longest_still_us: Option<i64>,
    /// Packets or requests: what the server's cost is told by.
    pub(super) units: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
}

/// What all of them saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) viewers: usize,
    pub(super) failed: usize,
    pub(super) first_error: Option<String>,
    pub(super) latency: Samples,
    pub(super) first_picture: Samples,
    pub(super) longest_still: Samples,
    pub(super) frames: u64,
    pub(super) damaged: u64,
    pub(super) units: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    pub(super) elapsed: Duration,
    server: Option<Used>,
}

struct Used {
    cpu: Duration,
    resident_bytes: u64,
    added_bytes: u64,
}

/// What the server cost while measuring.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServerCost {
    /// Processor time per delivered packet or request, in microseconds.
    #[serde(flatten)]
    pub cpu_us: CostPerUnit,
    /// Share of one core, in percent.
    pub cpu_percent: f64,
    /// Resident memory with all viewers, in KiB.
    pub resident_kib: u64,
    /// What a viewer adds to it, in KiB.
    pub kib_per_viewer: f64,
}

/// By what a protocol's cost is told.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum CostPerUnit {
    /// RTP.
    #[serde(rename = "cpu_us_per_packet")]
    Packet(f64),
    /// HTTP.
    #[serde(rename = "cpu_us_per_request")]
    Request(f64),
}

impl Crowd<'_> {
    /// # Errors
    /// [`NoProcess`].
    pub(super) fn check(&self) -> Result<(), NoProcess> {
        match self.pid.filter(|pid| !process::is_there(*pid)) {
            Some(pid) => Err(NoProcess(pid)),
            None => Ok(()),
        }
    }

    /// Lets them all view. `progress` is told how many have joined.
    pub(super) async fn run<F>(&self, view: impl Fn(Ticket) -> F, progress: impl Fn(usize)) -> Seen
    where
        F: Future<Output = Result<View, String>> + Send + 'static,
    {
        let before = self.pid.and_then(process::resident_bytes);
        let (phase, phases) = watch::channel(Phase::Joining);
        let mut viewers = JoinSet::new();
        let mut wave = Vec::with_capacity(WAVE);
        for number in 0..self.viewers {
            let (joined, joins) = oneshot::channel();
            viewers.spawn(view(Ticket {
                phases: phases.clone(),
                joined: Some(joined),
            }));
            wave.push(joins);
            if wave.len() == WAVE || number + 1 == self.viewers {
                // One that failed has dropped its end.
                let joining = async {
                    for joined in wave.drain(..) {
                        let _ = joined.await;
                    }
                };
                let _ = tokio::time::timeout(JOIN_LIMIT, joining).await;
                wave.clear();
                progress(number + 1);
            }
        }
        tokio::time::sleep(SETTLE).await;
        let cpu = self.pid.and_then(process::cpu_time);
        let resident = self.pid.and_then(process::resident_bytes);
        let start: Instant = self.clock.now();
        phase.send_replace(Phase::Measuring);
        tokio::time::sleep(self.duration).await;
        phase.send_replace(Phase::Over);
        let elapsed = self.clock.now().saturating_duration_since(start);
        let cpu_after = self.pid.and_then(process::cpu_time);
        let mut seen = Seen {
            elapsed,
            ..Seen::default()
        };
        while let Some(result) = viewers.join_next().await {
            seen.add(result.unwrap_or_else(|panic| Err(panic.to_string())));
        }
        if let (Some(cpu), Some(after), Some(before), Some(resident)) = (cpu, cpu_after, before, resident) {
            seen.server = Some(Used {
                cpu: after.saturating_sub(cpu),
                resident_bytes: resident,
                added_bytes: resident.saturating_sub(before) / self.viewers.max(1) as u64,
            });
        }
        seen
    }
}

impl Seen {
    fn add(&mut self, view: Result<View, String>) {
        match view {
            Ok(view) => {
                self.viewers += 1;
                self.latency.merge(&view.latency);
                if let Some(micros) = view.first_picture_us {
                    self.first_picture.add(micros);
                }
                if let Some(micros) = view.longest_still_us {
                    self.longest_still.add(micros);
                }
                self.frames += view.frames;
                self.damaged += view.damaged;
                self.units += view.units;
                self.bytes += view.bytes;
                self.lost += view.lost;
            }
            Err(error) => {
                self.failed += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }

    /// `unit` says what was counted.
    pub(super) fn cost(&self, unit: impl Fn(f64) -> CostPerUnit) -> Option<ServerCost> {
        let used = self.server.as_ref()?;
        Some(ServerCost {
            cpu_us: unit(used.cpu.as_secs_f64() * 1e6 / self.units.max(1) as f64),
            cpu_percent: used.cpu.as_secs_f64() * 100.0 / self.elapsed.as_secs_f64(),
            resident_kib: used.resident_bytes / 1_024,
            kib_per_viewer: used.added_bytes as f64 / 1_024.0,
        })
    }

    pub(super) fn megabits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / 1e6 / self.elapsed.as_secs_f64()
    }
}

impl fmt::Display for ServerCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (micros, unit) = match self.cpu_us {
            CostPerUnit::Packet(micros) => (micros, "packet"),
            CostPerUnit::Request(micros) => (micros, "request"),
        };
        write!(
            f,
            "server         {micros:.2} µs a {unit}, {:.1} % of a core, {} KiB resident, {:.1} KiB a viewer",
            self.cpu_percent, self.resident_kib, self.kib_per_viewer
        )
    }
}

/// A line of a report.
pub(super) fn write_latency(f: &mut fmt::Formatter<'_>, latency: Option<&Percentiles>) -> fmt::Result {
    match latency {
        Some(age) => writeln!(
            f,
            "latency        p50 {:.2}  p95 {:.2}  p99 {:.2}  max {:.2} ms",
            age.p50_ms, age.p95_ms, age.p99_ms, age.max_ms
        ),
        None => writeln!(f, "latency        unknown: no frame carries its capture time"),
    }
}

/// Another.
pub(super) fn write_first_picture(f: &mut fmt::Formatter<'_>, first: Option<&Percentiles>) -> fmt::Result {
    let Some(first) = first else { return Ok(()) };
    writeln!(
        f,
        "first picture  p50 {:.1}  p95 {:.1}  max {:.1} ms",
        first.p50_ms, first.p95_ms, first.max_ms
    )
}

/// The first lines.
pub(super) fn write_viewers(
    f: &mut fmt::Formatter<'_>,
    seen: (usize, usize),
    by: &str,
    error: Option<&str>,
) -> fmt::Result {
    let (viewers, failed) = seen;
    writeln!(f, "viewers        {viewers} over {by}, {failed} failed")?;
    match error {
        Some(error) => writeln!(f, "first failure  {error}"),
        None => Ok(()),
    }
}
