//! Many viewers at once, whatever the protocol.
//!
//! Belongs here: joining in waves, the moments at which measuring starts and ends, the stream that is published for them, the report. Does not
//! belong here: what a viewer does.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use media::Clock;
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::figures::{Percentiles, Samples};
use super::process::{CostPerUnit, Meter, NoProcess, ServerCost};
use super::publish::{self, Publish};

/// How many, for how long.
#[derive(Clone)]
pub struct Crowd {
    /// How many viewers.
    pub viewers: usize,
    /// How long to measure, after all have joined.
    pub duration: Duration,
    /// The stream to publish; `None`: one is there already.
    pub publish: Option<Publish>,
    /// The server's process, if it runs on this machine and its cost is to be measured.
    pub pid: Option<u32>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server to be measured does not run.
    #[error(transparent)]
    NoProcess(#[from] NoProcess),
    /// There is no stream.
    #[error(transparent)]
    Publish(#[from] publish::Error),
    /// Every viewer failed.
    #[error("no viewer could play: {0}")]
    NoViewer(String),
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How media travelled: `TCP`, `UDP`, `WebRTC` or `LL-HLS`.
    pub transport: &'static str,
    /// Viewers that played to the end.
    pub viewers: usize,
    /// Viewers that could not join, or were thrown out.
    pub failed: usize,
    /// What the first of them met.
    pub first_error: Option<String>,
    /// Seconds measured.
    pub seconds: f64,
    /// What came, all viewers together.
    #[serde(flatten)]
    pub delivered: Delivered,
    /// Packets lost on the way and not brought back, by their sequence numbers; parts that were listed but gone, or never listed.
    pub lost: u64,
    /// Frames that refer to one that did not come: what a player shows damaged, or not at all. `None` where that is not looked at.
    pub damaged: Option<u64>,
    /// Megabits delivered per second.
    pub megabits_per_second: f64,
    /// Age of a frame, or of the newest one of a part, when all of it was there, by the time in it. `None` when none carries a time.
    pub latency: Option<Percentiles>,
    /// From the click to the first decodable picture.
    pub first_picture: Option<Percentiles>,
    /// The longest time that each viewer was without a new picture it could decode. `None` where that is not looked at.
    pub longest_still: Option<Percentiles>,
    /// What the server cost.
    pub server: Option<ServerCost>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum Delivered {
    /// By RTP.
    Packets {
        /// RTP packets.
        packets: u64,
        /// And the frames in them.
        frames: u64,
    },
    /// By HTTP.
    Requests {
        /// Requests answered: lists and parts.
        requests: u64,
        /// Those for parts.
        parts: u64,
    },
}

/// Of which kind the viewers are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// How media travels.
    pub(super) transport: &'static str,
    /// Whether requests are counted, and not packets.
    pub(super) by_requests: bool,
}

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
struct Seen {
    viewers: usize,
    failed: usize,
    first_error: Option<String>,
    latency: Samples,
    first_picture: Samples,
    longest_still: Samples,
    frames: u64,
    damaged: u64,
    units: u64,
    bytes: u64,
    lost: u64,
}

impl Crowd {
    /// Publishes if that is wanted, and lets them all view. `progress` is told how many have joined.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn run<F>(
        &self,
        kind: Kind,
        view: impl Fn(Ticket) -> F,
        progress: impl Fn(usize),
    ) -> Result<Report, Error>
    where
        F: Future<Output = Result<View, String>> + Send + 'static,
    {
        let mut meter = Meter::new(self.pid)?;
        let published = match self.publish.clone() {
            Some(publish) => Some(publish.start().await?),
            None => None,
        };
        meter.empty();
        let (phase, phases) = watch::channel(Phase::Joining);
        let mut viewers = self.join(&phases, view, progress).await;
        tokio::time::sleep(SETTLE).await;
        meter.start();
        let start = self.clock.now();
        phase.send_replace(Phase::Measuring);
        tokio::time::sleep(self.duration).await;
        phase.send_replace(Phase::Over);
        let elapsed = self.clock.now().saturating_duration_since(start);
        meter.stop();
        let mut seen = Seen::default();
        while let Some(result) = viewers.join_next().await {
            seen.add(result.unwrap_or_else(|panic| Err(panic.to_string())));
        }
        drop(published);
        if seen.viewers == 0 && self.viewers > 0 {
            return Err(Error::NoViewer(seen.first_error.unwrap_or_default()));
        }
        let cost = if kind.by_requests {
            CostPerUnit::Request
        } else {
            CostPerUnit::Packet
        };
        let server = meter.cost(self.viewers, elapsed, seen.units, cost);
        Ok(seen.report(kind, elapsed, server))
    }

    /// Starts them wave by wave.
    async fn join<F>(
        &self,
        phases: &watch::Receiver<Phase>,
        view: impl Fn(Ticket) -> F,
        progress: impl Fn(usize),
    ) -> JoinSet<Result<View, String>>
    where
        F: Future<Output = Result<View, String>> + Send + 'static,
    {
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
        viewers
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

    fn report(self, kind: Kind, elapsed: Duration, server: Option<ServerCost>) -> Report {
        let (units, frames) = (self.units, self.frames);
        let longest_still = self.longest_still.percentiles();
        Report {
            transport: kind.transport,
            viewers: self.viewers,
            failed: self.failed,
            first_error: self.first_error,
            seconds: elapsed.as_secs_f64(),
            delivered: if kind.by_requests {
                Delivered::Requests {
                    requests: units,
                    parts: frames,
                }
            } else {
                Delivered::Packets { packets: units, frames }
            },
            lost: self.lost,
            damaged: longest_still.map(|_| self.damaged),
            megabits_per_second: self.bytes as f64 * 8.0 / 1e6 / elapsed.as_secs_f64(),
            latency: self.latency.percentiles(),
            first_picture: self.first_picture.percentiles(),
            longest_still,
            server,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            transport,
            viewers,
            failed,
            lost,
            seconds,
            megabits_per_second: rate,
            ..
        } = self;
        writeln!(f, "viewers        {viewers} over {transport}, {failed} failed")?;
        if let Some(error) = &self.first_error {
            writeln!(f, "first failure  {error}")?;
        }
        let (counted, unit) = match self.delivered {
            Delivered::Packets { packets, frames } => (format!("{packets} packets, {frames} frames"), "packets"),
            Delivered::Requests { requests, parts } => (format!("{requests} requests, {parts} parts"), "parts"),
        };
        write!(
            f,
            "delivered      {counted}, {rate:.1} Mb/s in {seconds:.1} s; {lost} {unit} lost"
        )?;
        match self.damaged {
            Some(damaged) => writeln!(f, ", {damaged} frames damaged")?,
            None => writeln!(f)?,
        }
        match &self.latency {
            Some(age) => writeln!(
                f,
                "latency        p50 {:.2}  p95 {:.2}  p99 {:.2}  max {:.2} ms",
                age.p50_ms, age.p95_ms, age.p99_ms, age.max_ms
            )?,
            None => writeln!(f, "latency        unknown: no frame carries its capture time")?,
        }
        if let Some(first) = &self.first_picture {
            writeln!(
                f,
                "first picture  p50 {:.1}  p95 {:.1}  max {:.1} ms",
                first.p50_ms, first.p95_ms, first.max_ms
            )?;
        }
        if let Some(still) = &self.longest_still {
            writeln!(
                f,
                "longest still  p50 {:.0}  p95 {:.0}  max {:.0} ms",
                still.p50_ms, still.p95_ms, still.max_ms
            )?;
        }
        self.server.map_or(Ok(()), |server| server.fmt(f))
    }
}
