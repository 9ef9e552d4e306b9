//! `sightline bench whep`: many WebRTC viewers of one server, each with its own ICE, DTLS and SRTP.
//!
//! Belongs here: viewers that put frames together and measure their age on arrival. Does not belong here: how many there are and when they
//! are measured (`super::crowd`), which servers are compared (`bench/`), what travels (`protocol::webrtc`).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use media::{CaptureSource, Clock};
use protocol::webrtc::{self, Datagram, Identity, Outbox, Transport};
use serde::Serialize;
use tokio::net::UdpSocket;
use url::Url;

use super::crowd::{self, CostPerUnit, Crowd, JOIN_LIMIT, Moment, NoProcess, Seen, ServerCost, Ticket, View};
use super::figures::Percentiles;
use super::http::{Client, joined};
use super::publish::{self, Publish};
use crate::random;
use crate::secret::Secret;

/// What to do.
#[derive(Clone)]
pub struct Plan {
    /// Where offers are posted.
    pub url: Url,
    /// Shown in the header `Authorization`.
    pub token: Option<Secret>,
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

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Viewers that played to the end.
    pub viewers: usize,
    /// Viewers that could not join, or were thrown out.
    pub failed: usize,
    /// What the first of them met.
    pub first_error: Option<String>,
    /// Seconds measured.
    pub seconds: f64,
    /// RTP packets delivered, all viewers together.
    pub packets: u64,
    /// Frames delivered.
    pub frames: u64,
    /// Of these, such as refer to one that did not come: what a player shows damaged, or not at all.
    pub damaged: u64,
    /// Packets lost on the way and not brought back.
    pub lost: u64,
    /// Megabits delivered per second.
    pub megabits_per_second: f64,
    /// Age of a frame when its last packet was there, by the time in the frame or beside it. `None` when none carries a time.
    pub latency: Option<Percentiles>,
    /// From the click to the first decodable picture: the offer, ICE, DTLS, first IDR.
    pub first_picture: Option<Percentiles>,
    /// The longest time that each viewer was without a new picture it could decode.
    pub longest_still: Option<Percentiles>,
    /// What the server cost.
    pub server: Option<ServerCost>,
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
    /// We have no certificate to show.
    #[error(transparent)]
    Identity(#[from] webrtc::NoCertificate),
    /// Every viewer failed.
    #[error("no viewer could play: {0}")]
    NoViewer(String),
}

/// A keyframe's burst, while the load is busy with others.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// No datagram is larger.
const MAX_DATAGRAM_BYTES: usize = 2_048;

/// Runs the plan. `progress` is told how many viewers have joined.
///
/// # Errors
/// [`Error`].
pub async fn run(plan: Plan, progress: impl Fn(usize)) -> Result<Report, Error> {
    let clock = Arc::clone(&plan.clock);
    let crowd = Crowd {
        viewers: plan.viewers,
        duration: plan.duration,
        pid: plan.pid,
        clock: &*clock,
    };
    crowd.check()?;
    let published = match plan.publish.clone() {
        Some(publish) => Some(publish.start().await?),
        None => None,
    };
    let identity = Arc::new(Identity::generate()?);
    let plan = Arc::new(plan);
    let seen = crowd
        .run(
            |ticket| view(Arc::clone(&plan), Arc::clone(&identity), ticket),
            progress,
        )
        .await;
    drop(published);
    if seen.viewers == 0 && plan.viewers > 0 {
        return Err(Error::NoViewer(seen.first_error.unwrap_or_default()));
    }
    Ok(Report::from(seen))
}

/// A session and its socket.
struct Session {
    client: webrtc::Client,
    socket: UdpSocket,
    local: SocketAddr,
    out: Outbox,
    clock: Arc<dyn Clock>,
    /// Where it is ended.
    place: Option<Url>,
}

async fn view(plan: Arc<Plan>, identity: Arc<Identity>, mut ticket: Ticket) -> Result<View, String> {
    let begun = plan.clock.now();
    let session = tokio::time::timeout(JOIN_LIMIT, Session::open(&plan, &identity)).await;
    let mut session = session.map_err(|_| "no answer in time".to_owned())??;
    let mut view = View::default();
    let mut start = None;
    let mut still = Still::default();
    loop {
        while let Some(received) = session.client.poll_frame() {
            if view.first_picture_us.is_none() && received.frame.keyframe {
                view.first_picture_us = Some(media::time::micros(plan.clock.now().saturating_duration_since(begun)));
                ticket.joined();
            }
            if start.is_some() {
                view.frames += 1;
                if session.client.is_damaged() {
                    view.damaged += 1;
                } else {
                    still.ends(plan.clock.now());
                }
                let capture = received.frame.capture;
                if matches!(capture.source, CaptureSource::Sei | CaptureSource::AbsCaptureTime) {
                    view.latency.add(plan.clock.wall().micros_since(capture.at));
                }
            }
        }
        if session.client.has_ended() {
            return Err("the session ended".to_owned());
        }
        let due = session.client.poll_timeout();
        tokio::select! {
            readable = session.socket.readable() => {
                readable.map_err(|error| error.to_string())?;
                session.receive();
            }
            () = tokio::time::sleep_until(due.into()) => session.handle_timeout(),
            moment = ticket.next() => match moment {
                Moment::Start => {
                    start = Some(session.client.stats());
                    still.ends(plan.clock.now());
                }
                Moment::End => break,
            },
        }
    }
    still.ends(plan.clock.now());
    view.longest_still_us = Some(media::time::micros(still.longest));
    let end = session.client.stats();
    session.close(&plan).await;
    if view.first_picture_us.is_none() {
        return Err("no keyframe came".to_owned());
    }
    let start = start.unwrap_or_default();
    view.units = end.packets.saturating_sub(start.packets);
    view.bytes = end.bytes.saturating_sub(start.bytes);
    view.lost = u64::try_from(end.lost.saturating_sub(start.lost)).unwrap_or(0);
    Ok(view)
}

/// How long there was no new picture, at the most.
#[derive(Default)]
struct Still {
    since: Option<Instant>,
    longest: Duration,
}

impl Still {
    /// Another picture, or the end.
    fn ends(&mut self, now: Instant) {
        if let Some(since) = self.since.replace(now) {
            self.longest = self.longest.max(now.saturating_duration_since(since));
        }
    }
}

impl Session {
    async fn open(plan: &Plan, identity: &Identity) -> Result<Self, String> {
        let mut http = Client::connect(&plan.url, plan.token.as_ref()).await?;
        let socket = socket(http.local().ip()).map_err(|error| format!("cannot open a UDP socket: {error}"))?;
        let local = socket.local_addr().map_err(|error| error.to_string())?;
        let (client, offer) = webrtc::Client::offer(identity, local, &mut random::bits, plan.clock.now());
        let answer = http
            .ask(Method::POST, &plan.url, "application/sdp", Bytes::from(offer))
            .await?;
        if answer.status != StatusCode::CREATED {
            return Err(answer.complaint(&plan.url));
        }
        let place = answer.place().and_then(|place| joined(&plan.url, place).ok());
        let sdp = std::str::from_utf8(&answer.body).map_err(|error| format!("the answer is no text: {error}"))?;
        let mut session = Self {
            client,
            socket,
            local,
            out: Outbox::new(),
            clock: Arc::clone(&plan.clock),
            place,
        };
        let answered = session.client.answer(sdp, plan.clock.now(), &mut session.out);
        answered.map_err(|error| error.to_string())?;
        session.send();
        Ok(session)
    }

    fn now(&self) -> webrtc::Moment {
        webrtc::Moment {
            at: self.clock.now(),
            wall: self.clock.wall(),
        }
    }

    /// Everything that has come.
    fn receive(&mut self) {
        let mut buffer = [0; MAX_DATAGRAM_BYTES];
        while let Ok((size, from)) = self.socket.try_recv_from(&mut buffer) {
            let datagram = Datagram {
                transport: Transport::Udp,
                from,
                to: self.local,
                bytes: buffer.get(..size).unwrap_or_default(),
            };
            let now = self.now();
            self.client.receive(datagram, now, &mut self.out);
        }
        self.send();
    }

    fn handle_timeout(&mut self) {
        let now = self.now();
        self.client.handle_timeout(now, &mut self.out);
        self.send();
    }

    /// What is not taken at once is lost, as on any network.
    fn send(&mut self) {
        for batch in self.out.batches() {
            for run in batch.runs() {
                for packet in self.out.bytes(run).chunks(run.packet_bytes()) {
                    let _ = self.socket.try_send_to(packet, batch.to);
                }
            }
        }
        self.out.clear();
    }

    /// Leaves as a page does.
    async fn close(mut self, plan: &Plan) {
        self.client.close(self.clock.now(), &mut self.out);
        self.send();
        let Some(place) = self.place.take() else { return };
        let leaving = async {
            if let Ok(mut http) = Client::connect(&plan.url, plan.token.as_ref()).await {
                let _ = http.ask(Method::DELETE, &place, "", Bytes::new()).await;
            }
        };
        let _ = tokio::time::timeout(JOIN_LIMIT, leaving).await;
    }
}

/// A socket at the address by which the server is reached.
fn socket(local: std::net::IpAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((local, 0))?;
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

impl From<Seen> for Report {
    fn from(seen: Seen) -> Self {
        Self {
            viewers: seen.viewers,
            failed: seen.failed,
            seconds: seen.elapsed.as_secs_f64(),
            packets: seen.units,
            frames: seen.frames,
            damaged: seen.damaged,
            lost: seen.lost,
            megabits_per_second: seen.megabits_per_second(),
            latency: seen.latency.percentiles(),
            first_picture: seen.first_picture.percentiles(),
            longest_still: seen.longest_still.percentiles(),
            server: seen.cost(CostPerUnit::Packet),
            first_error: seen.first_error,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let viewers = (self.viewers, self.failed);
        crowd::write_viewers(f, viewers, "WebRTC", self.first_error.as_deref())?;
        let Self {
            packets,
            frames,
            damaged,
            lost,
            megabits_per_second: rate,
            seconds,
            ..
        } = self;
        writeln!(
            f,
            "delivered      {packets} packets, {frames} frames, {rate:.1} Mb/s in {seconds:.1} s; {lost} packets lost, {damaged} frames damaged"
        )?;
        crowd::write_latency(f, self.latency.as_ref())?;
        crowd::write_first_picture(f, self.first_picture.as_ref())?;
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
