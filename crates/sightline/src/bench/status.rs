//! Many dashboards on one status socket, and a camera that says how it is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use media::Clock;
use protocol::status::CameraStatus;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::process::{CostPerUnit, Meter, NoProcess, ServerCost};
use super::{Percentiles, Samples};
use crate::status::client::{self, Target};

/// What to do.
#[derive(Clone)]
pub struct Plan {
    /// The socket.
    pub target: Target,
    /// Dashboards that read.
    pub clients: usize,
    /// And that never do.
    pub silent: usize,
    /// How long to measure.
    pub duration: Duration,
    /// Process of the server on this machine.
    pub pid: Option<u32>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Dashboards that read.
    pub clients: usize,
    /// Statuses said.
    pub statuses: u64,
    /// Statuses heard by all clients, of those that could be.
    pub heard: u64,
    /// Share of those that could be heard and were not, in percent.
    pub lost_percent: f64,
    /// From the publisher's word to a dashboard's ear.
    pub delay: Option<Percentiles>,
    /// From `ping` to `pong` meanwhile.
    pub ping: Option<Percentiles>,
    /// What the server cost.
    pub server: Option<ServerCost>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server to be measured does not run.
    #[error(transparent)]
    NoProcess(#[from] NoProcess),
    /// A client is not let in.
    #[error("client {number} cannot connect: {why}; more need limits.status_clients, and `ulimit -n` on both sides")]
    Connect {
        /// From 1.
        number: usize,
        /// What the server or the system says.
        why: String,
    },
}

/// The camera that is spoken for.
const CAMERA: &str = "bench";
/// The server is quiet again after the last has come in.
const SETTLE: Duration = Duration::from_secs(1);
/// After the last word, for it to be heard.
const LAST: Duration = Duration::from_millis(500);
/// Between two pings.
const PING: Duration = Duration::from_millis(50);

type Socket = WebSocketStream<TcpStream>;

/// Runs the plan. `progress` is told how many clients are there.
///
/// # Errors
/// [`Error`].
pub async fn run(plan: Plan, progress: impl Fn(usize)) -> Result<Report, Error> {
    let mut meter = Meter::new(plan.pid)?;
    meter.empty();
    let (over, ends) = watch::channel(false);
    let mut listening = JoinSet::new();
    let mut silent = Vec::new();
    for number in 1..=plan.clients + plan.silent {
        let socket = connect(&plan, number).await?;
        if number <= plan.silent {
            silent.push(socket);
        } else {
            listening.spawn(listen(socket, Arc::clone(&plan.clock), ends.clone()));
        }
        progress(number);
    }
    let speaker = connect(&plan, plan.clients + plan.silent + 1).await?;
    let pinging = connect(&plan, plan.clients + plan.silent + 2).await?;
    tokio::time::sleep(SETTLE).await;
    meter.start();
    let began = plan.clock.now();
    let pings = tokio::spawn(ping(pinging, Arc::clone(&plan.clock), ends));
    let statuses = speak(speaker, &plan).await;
    tokio::time::sleep(LAST).await;
    let elapsed = plan.clock.now().saturating_duration_since(began);
    meter.stop();
    over.send_replace(true);
    let (mut heard, mut delay) = (0, Samples::default());
    while let Some(done) = listening.join_next().await {
        if let Ok((count, samples)) = done {
            heard += count;
            delay.merge(&samples);
        }
    }
    drop(silent);
    let all = statuses * plan.clients as u64;
    let server = meter.cost(plan.clients + plan.silent, elapsed, heard, CostPerUnit::Heard);
    Ok(Report {
        clients: plan.clients,
        statuses,
        heard,
        lost_percent: 100.0 * all.saturating_sub(heard) as f64 / all.max(1) as f64,
        delay: delay.percentiles(),
        ping: pings.await.ok().and_then(|samples| samples.percentiles()),
        server,
    })
}

async fn connect(plan: &Plan, number: usize) -> Result<Socket, Error> {
    let connected = client::connect(&plan.target).await;
    connected.map_err(|failure| Error::Connect {
        number,
        why: failure.to_string(),
    })
}

/// How many statuses of our camera it hears, and how late.
async fn listen(mut socket: Socket, clock: Arc<dyn Clock>, ends: watch::Receiver<bool>) -> (u64, Samples) {
    let (mut heard, mut delay) = (0, Samples::default());
    let mut ends = ends;
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = ends.wait_for(|over| *over) => return (heard, delay),
        };
        let Some(Ok(message)) = message else {
            return (heard, delay);
        };
        if let Message::Text(text) = message
            && let Some(said_us) = said_at(&text)
        {
            heard += 1;
            delay.add(clock.wall().unix_micros() - said_us);
        }
    }
}

/// When a status of our camera was said.
fn said_at(text: &str) -> Option<i64> {
    const NAME: &str = "\"capture_time_us\":";
    if !text.contains(&format!("\"camera\":\"{CAMERA}\"")) {
        return None;
    }
    let (_, rest) = text.split_once(NAME)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// As often as the plan says; how often it did.
async fn speak(mut socket: Socket, plan: &Plan) -> u64 {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / plan.target.per_second.max(1));
    let began = Instant::now();
    let mut said = 0;
    while began.elapsed() < plan.duration {
        ticks.tick().await;
        let status = CameraStatus {
            is_connected: true,
            fps: 29.97,
            frames_sent: i32::try_from(said).unwrap_or(i32::MAX),
            cpu_percent: 12.5,
            memory_percent: 40.5,
            memory_used_mb: 1_500,
            memory_total_mb: 3_800,
            network_mbps: 2.125,
            latency_ms: 12,
            camera_name: CAMERA.to_owned(),
            width: 640,
            height: 480,
            capture_time_us: plan.clock.wall().unix_micros(),
            ..CameraStatus::default()
        };
        if socket.send(Message::Binary(status.write().into())).await.is_err() {
            break;
        }
        said += 1;
    }
    said
}

async fn ping(mut socket: Socket, clock: Arc<dyn Clock>, ends: watch::Receiver<bool>) -> Samples {
    let mut samples = Samples::default();
    let mut ticks = tokio::time::interval(PING);
    while !*ends.borrow() {
        ticks.tick().await;
        let asked = clock.now();
        if socket.send(Message::Text(r#"{"type":"ping"}"#.into())).await.is_err() {
            break;
        }
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) if text.starts_with("{\"type\":\"pong\"") => break,
                Some(Ok(_)) => {}
                _ => return samples,
            }
        }
        samples.add(media::time::micros(clock.now().saturating_duration_since(asked)));
    }
    samples
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} clients, {} statuses, {} times heard, {:.2} % lost",
            self.clients, self.statuses, self.heard, self.lost_percent
        )?;
        for (what, figures) in [("delay", &self.delay), ("ping", &self.ping)] {
            if let Some(figures) = figures {
                let Percentiles {
                    p50_ms, p95_ms, p99_ms, ..
                } = figures;
                writeln!(
                    f,
                    "{what}: p50 {p50_ms:.1} p95 {p95_ms:.1} p99 {p99_ms:.1} max {:.1} ms",
                    figures.max_ms
                )?;
            }
        }
        self.server.map_or(Ok(()), |server| server.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_words_are_told_from_others() {
        let text =
            r#"{"type":"camera_metrics","camera":"bench","isConnected":true,"capture_time_us":1700000000000123}"#;
        assert_eq!(said_at(text), Some(1_700_000_000_000_123));
        assert_eq!(said_at(&text.replace("bench", "door")), None);
        assert_eq!(
            said_at(r#"{"type":"connection_status","camera":"bench","isConnected":true}"#),
            None
        );
    }
}
