//! `sightline bench rtsp`: many RTSP viewers of one server.
//!
//! Belongs here: a publisher with the time in every frame, viewers that measure each frame's age on arrival, what the server
//! costs meanwhile. Does not belong here: which servers are compared (`bench/`).

use std::fmt;
use std::time::Duration;

use media::stats::{Role, SessionInfo, SessionStats};
use media::{CaptureSource, StreamName};
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::figures::{Percentiles, Samples};
use super::process;
use super::source::{Generator, Load};
use crate::rtsp::client::{self, Player, Sender, Url};

/// What to do.
#[derive(Clone)]
pub struct Plan {
    /// The stream: where viewers look and where the generator publishes.
    pub url: Url,
    /// How many viewers.
    pub viewers: usize,
    /// How long to measure, after all have joined.
    pub duration: Duration,
    /// The stream to publish; `None`: one is there already.
    pub publish: Option<Load>,
    /// The server's process, if it runs on this machine and its cost is to be measured.
    pub pid: Option<u32>,
    /// How to connect.
    pub settings: client::Settings,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Viewers that played to the end.
    pub viewers: usize,
    /// Viewers that could not join, or were thrown out.
    pub failed: usize,
    /// What the first of them met.
    pub first_error: Option<String>,
    /// `TCP` or `UDP`.
    pub transport: &'static str,
    /// Seconds measured.
    pub seconds: f64,
    /// RTP packets delivered, all viewers together.
    pub packets: u64,
    /// Frames delivered.
    pub frames: u64,
    /// Packets lost on the way, by their sequence numbers.
    pub lost: u64,
    /// Megabits delivered per second.
    pub megabits_per_second: f64,
    /// Age of a frame when its last packet was there, by the time in the frame. `None` when no frame carries a time.
    pub latency: Option<Percentiles>,
    /// From the click to the first decodable picture: connecting, DESCRIBE, SETUP, PLAY, first IDR.
    pub first_picture: Option<Percentiles>,
    /// What the server cost.
    pub server: Option<ServerCost>,
}

/// What the server cost while measuring.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServerCost {
    /// Processor time per delivered packet, in microseconds.
    pub cpu_us_per_packet: f64,
    /// Share of one core, in percent.
    pub cpu_percent: f64,
    /// Resident memory with all viewers, in KiB.
    pub resident_kib: u64,
    /// What a viewer adds to it, in KiB.
    pub kib_per_viewer: f64,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server to be measured does not run.
    #[error(
        "there is no such process: {0}; `pidof sightline` says which there are, and without --pid only the viewers measure"
    )]
    NoProcess(u32),
    /// The generator has no stream.
    #[error("cannot make the test stream: {0}")]
    Generate(#[from] super::source::Error),
    /// The server does not take it.
    #[error("cannot publish the test stream: {0}")]
    Publish(#[from] client::Error),
    /// Every viewer failed.
    #[error("no viewer could play: {0}")]
    NoViewer(String),
}

/// Viewers that join at the same moment: each wave waits for the one before, so that joining does not measure the backlog
/// of connections.
const WAVE: usize = 20;
/// How long a viewer may take to join.
const JOIN_LIMIT: Duration = Duration::from_secs(15);
/// After the last has joined, before measuring: the server's bursts are over.
const SETTLE: Duration = Duration::from_millis(1_500);

/// Runs the plan. `progress` is told how many viewers have joined.
///
/// # Errors
/// [`Error`].
pub async fn run(plan: Plan, progress: impl Fn(usize)) -> Result<Report, Error> {
    if let Some(pid) = plan.pid.filter(|pid| !process::is_there(*pid)) {
        return Err(Error::NoProcess(pid));
    }
    let publishing = match plan.publish {
        Some(load) => Some(publish(&plan, load).await?),
        None => None,
    };
    let before = plan.pid.and_then(process::resident_bytes);
    let (phase, phases) = watch::channel(Phase::Joining);
    let mut viewers = JoinSet::new();
    let mut wave = Vec::with_capacity(WAVE);
    for number in 0..plan.viewers {
        let (joined, joins) = oneshot::channel();
        viewers.spawn(view(plan.clone(), phases.clone(), joined));
        wave.push(joins);
        if wave.len() == WAVE || number + 1 == plan.viewers {
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
    let (cpu, resident) = (
        plan.pid.and_then(process::cpu_time),
        plan.pid.and_then(process::resident_bytes),
    );
    let clock = plan.settings.clock.clone();
    let start = clock.now();
    phase.send_replace(Phase::Measuring);
    tokio::time::sleep(plan.duration).await;
    phase.send_replace(Phase::Over);
    let elapsed = clock.now().saturating_duration_since(start);
    let cpu_after = plan.pid.and_then(process::cpu_time);
    let mut total = Total::default();
    while let Some(result) = viewers.join_next().await {
        total.add(result.unwrap_or_else(|panic| Err(panic.to_string())));
    }
    drop(publishing);
    if total.viewers == 0 && plan.viewers > 0 {
        return Err(Error::NoViewer(total.first_error.unwrap_or_default()));
    }
    let server = match (cpu, cpu_after, before, resident) {
        (Some(cpu), Some(after), Some(before), Some(resident)) => {
            let used = after.saturating_sub(cpu);
            Some(ServerCost {
                cpu_us_per_packet: used.as_secs_f64() * 1e6 / total.packets.max(1) as f64,
                cpu_percent: used.as_secs_f64() * 100.0 / elapsed.as_secs_f64(),
                resident_kib: resident / 1_024,
                kib_per_viewer: resident.saturating_sub(before) as f64 / 1_024.0 / plan.viewers.max(1) as f64,
            })
        }
        _ => None,
    };
    Ok(total.report(elapsed, server))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Joining,
    Measuring,
    Over,
}

/// The generator and the task that sends it to the server; dropping ends both.
struct Published {
    _generator: Generator,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Published {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn publish(plan: &Plan, load: Load) -> Result<Published, Error> {
    let clock = plan.settings.clock.clone();
    let generator = Generator::start(load, clock.clone())?;
    let settings = client::Settings {
        transport: client::Transport::Tcp,
        ..plan.settings.clone()
    };
    let mut sender = Sender::connect(plan.url.clone(), "bench", generator.tracks(), settings).await?;
    let stats = SessionStats::new(SessionInfo {
        stream: StreamName::default_stream(),
        role: Role::Publisher,
        protocol: "bench",
        remote: None,
        agent: None,
        since: clock.wall(),
    });
    let reader = generator.reader(clock.now());
    let task = tokio::spawn(async move {
        let Some(mut reader) = reader else { return };
        if let Err(error) = sender.run(&mut reader, &stats).await {
            tracing::warn!(%error, "the test stream ended");
        }
    });
    // The server must have its first keyframe before the first viewer asks.
    tokio::time::sleep(SETTLE).await;
    Ok(Published {
        _generator: generator,
        task,
    })
}

/// One viewer's share of the report.
struct View {
    udp: bool,
    first_picture_us: Option<i64>,
    latency: Samples,
    frames: u64,
    packets: u64,
    bytes: u64,
    lost: u64,
}

async fn view(plan: Plan, mut phases: watch::Receiver<Phase>, joined: oneshot::Sender<()>) -> Result<View, String> {
    let clock = plan.settings.clock.clone();
    let begun = clock.now();
    let player = tokio::time::timeout(JOIN_LIMIT, Player::connect(plan.url, plan.settings)).await;
    let player = player
        .map_err(|_| "no picture in time".to_owned())
        .and_then(|player| player.map_err(|error| error.to_string()));
    let mut player = player?;
    let mut joined = Some(joined);
    let mut view = View {
        udp: player.is_udp(),
        first_picture_us: None,
        latency: Samples::default(),
        frames: 0,
        packets: 0,
        bytes: 0,
        lost: 0,
    };
    let mut start = None;
    loop {
        let received = tokio::select! {
            received = player.next() => received.map_err(|error| error.to_string())?,
            changed = phases.changed() => {
                if changed.is_err() || *phases.borrow() == Phase::Over {
                    break;
                }
                start = Some(totals(&player));
                continue;
            }
        };
        if view.first_picture_us.is_none() && received.frame.keyframe {
            view.first_picture_us = Some(media::time::micros(clock.now().saturating_duration_since(begun)));
            if let Some(joined) = joined.take() {
                let _ = joined.send(());
            }
        }
        if start.is_some() {
            view.frames += 1;
            if received.frame.capture.source == CaptureSource::Sei {
                view.latency.add(clock.wall().micros_since(received.frame.capture.at));
            }
        }
    }
    if view.first_picture_us.is_none() {
        return Err("connected, but no keyframe came".to_owned());
    }
    let (end, start) = (totals(&player), start.unwrap_or_default());
    view.packets = end.0.saturating_sub(start.0);
    view.bytes = end.1.saturating_sub(start.1);
    view.lost = end.2.saturating_sub(start.2);
    tokio::time::timeout(JOIN_LIMIT, player.close())
        .await
        .map_err(|_| "the server did not let go".to_owned())?;
    Ok(view)
}

/// Packets, bytes, packets lost.
fn totals(player: &Player) -> (u64, u64, u64) {
    player.stats().fold((0, 0, 0), |sum, track| {
        let now = track.received;
        (
            sum.0 + now.packets,
            sum.1 + now.bytes,
            sum.2 + u64::try_from(now.lost).unwrap_or(0),
        )
    })
}

#[derive(Default)]
struct Total {
    viewers: usize,
    failed: usize,
    first_error: Option<String>,
    udp: bool,
    latency: Samples,
    first_picture: Samples,
    frames: u64,
    packets: u64,
    bytes: u64,
    lost: u64,
}

impl Total {
    fn add(&mut self, view: Result<View, String>) {
        match view {
            Ok(view) => {
                self.viewers += 1;
                self.udp |= view.udp;
                self.latency.merge(&view.latency);
                if let Some(micros) = view.first_picture_us {
                    self.first_picture.add(micros);
                }
                self.frames += view.frames;
                self.packets += view.packets;
                self.bytes += view.bytes;
                self.lost += view.lost;
            }
            Err(error) => {
                self.failed += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }

    fn report(self, elapsed: Duration, server: Option<ServerCost>) -> Report {
        Report {
            viewers: self.viewers,
            failed: self.failed,
            first_error: self.first_error,
            transport: if self.udp { "UDP" } else { "TCP" },
            seconds: elapsed.as_secs_f64(),
            packets: self.packets,
            frames: self.frames,
            lost: self.lost,
            megabits_per_second: self.bytes as f64 * 8.0 / 1e6 / elapsed.as_secs_f64(),
            latency: self.latency.percentiles(),
            first_picture: self.first_picture.percentiles(),
            server,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "viewers        {} over {}, {} failed",
            self.viewers, self.transport, self.failed
        )?;
        if let Some(error) = &self.first_error {
            writeln!(f, "first failure  {error}")?;
        }
        let Self {
            packets,
            frames,
            lost,
            megabits_per_second: rate,
            seconds,
            ..
        } = self;
        writeln!(
            f,
            "delivered      {packets} packets, {frames} frames, {rate:.1} Mb/s in {seconds:.1} s; {lost} packets lost"
        )?;
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
        if let Some(server) = &self.server {
            write!(
                f,
                "server         {:.2} µs a packet, {:.1} % of a core, {} KiB resident, {:.1} KiB a viewer",
                server.cpu_us_per_packet, server.cpu_percent, server.resident_kib, server.kib_per_viewer
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::SystemClock;

    /// Answers every request up to PLAY, then closes the connection.
    async fn close_after_play(listener: TcpListener) {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else {
                return;
            };
            tokio::spawn(async move {
                let mut buffer = vec![0; 4_096];
                loop {
                    let Ok(read @ 1..) = socket.read(&mut buffer).await else {
                        return;
                    };
                    let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    let cseq = request
                        .lines()
                        .find(|line| line.starts_with("CSeq"))
                        .unwrap_or("CSeq: 1");
                    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
                               a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:trackID=0\r\n";
                    let (head, body) = match request.split(' ').next() {
                        Some("DESCRIBE") => ("Content-Type: application/sdp\r\n", sdp),
                        Some("SETUP") => ("Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", ""),
                        _ => ("Session: 1\r\n", ""),
                    };
                    let length = body.len();
                    let answer = format!("RTSP/1.0 200 OK\r\n{cseq}\r\n{head}Content-Length: {length}\r\n\r\n{body}");
                    if socket.write_all(answer.as_bytes()).await.is_err() || request.starts_with("PLAY") {
                        return;
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn viewers_that_are_thrown_out_before_their_first_picture_are_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtsp://{}/cam", listener.local_addr().unwrap());
        let server = tokio::spawn(close_after_play(listener));
        let plan = Plan {
            url: url.parse().unwrap(),
            viewers: 2,
            duration: Duration::from_millis(10),
            publish: None,
            pid: None,
            settings: client::Settings {
                transport: client::Transport::Tcp,
                login: None,
                connect_timeout: JOIN_LIMIT,
                clock: Arc::new(SystemClock),
                random: crate::random::bits,
            },
        };
        let ended = tokio::time::timeout(JOIN_LIMIT, run(plan, |_| {})).await;
        let error = ended.expect("it waits for who is gone").unwrap_err();
        assert!(matches!(error, Error::NoViewer(_)), "{error}");
        server.abort();
    }
}
