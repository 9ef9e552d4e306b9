//! `sightline bench whep`: many WebRTC viewers of one server, each with its own ICE, DTLS and SRTP.
//!
//! Belongs here: viewers that put frames together and measure their age on arrival. Does not belong here: how many there are and when they
//! are measured (`super::crowd`), which servers are compared (`bench/`), what travels (`protocol::webrtc`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use media::{CaptureSource, Clock};
use protocol::webrtc::{self, Datagram, Identity, Outbox, Transport};
use tokio::net::UdpSocket;
use url::Url;

use super::crowd::{self, Crowd, JOIN_LIMIT, Kind, Moment, Report, Ticket, View};
use super::http::{Client, Target, joined};
use crate::random;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As with any viewers.
    #[error(transparent)]
    Crowd(#[from] crowd::Error),
    /// We have no certificate to show.
    #[error(transparent)]
    Identity(#[from] webrtc::NoCertificate),
}

/// A keyframe's burst, while the load is busy with others.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// No datagram is larger.
const MAX_DATAGRAM_BYTES: usize = 2_048;

/// `progress` is told how many viewers have joined.
///
/// # Errors
/// [`Error`].
pub async fn run(target: Target, crowd: Crowd, progress: impl Fn(usize)) -> Result<Report, Error> {
    const KIND: Kind = Kind {
        transport: "WebRTC",
        by_requests: false,
    };
    let given = Arc::new(Given {
        target,
        identity: Identity::generate()?,
        clock: Arc::clone(&crowd.clock),
    });
    Ok(crowd
        .run(KIND, |ticket| view(Arc::clone(&given), ticket), progress)
        .await?)
}

/// What all viewers share.
struct Given {
    target: Target,
    identity: Identity,
    clock: Arc<dyn Clock>,
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

async fn view(given: Arc<Given>, mut ticket: Ticket) -> Result<View, String> {
    let begun = given.clock.now();
    let session = tokio::time::timeout(JOIN_LIMIT, Session::open(&given)).await;
    let mut session = session.map_err(|_| "no answer in time".to_owned())??;
    let mut view = View::default();
    let mut start = None;
    let mut still = Still::default();
    loop {
        while let Some(received) = session.client.poll_frame() {
            if view.first_picture_us.is_none() && received.frame.keyframe {
                view.first_picture_us = Some(media::time::micros(given.clock.now().saturating_duration_since(begun)));
                ticket.joined();
            }
            if start.is_some() {
                view.frames += 1;
                if session.client.is_damaged() {
                    view.damaged += 1;
                } else {
                    still.ends(given.clock.now());
                }
                let capture = received.frame.capture;
                if matches!(capture.source, CaptureSource::Sei | CaptureSource::AbsCaptureTime) {
                    view.latency.add(given.clock.wall().micros_since(capture.at));
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
                    still.ends(given.clock.now());
                }
                Moment::End => break,
            },
        }
    }
    still.ends(given.clock.now());
    view.longest_still_us = Some(media::time::micros(still.longest));
    let end = session.client.stats();
    session.close(&given.target).await;
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
    async fn open(given: &Given) -> Result<Self, String> {
        let url = &given.target.url;
        let mut http = Client::connect(&given.target).await?;
        let socket = socket(http.local().ip()).map_err(|error| format!("cannot open a UDP socket: {error}"))?;
        let local = socket.local_addr().map_err(|error| error.to_string())?;
        let (client, offer) = webrtc::Client::offer(&given.identity, local, &mut random::bits, given.clock.now());
        let answer = http
            .ask(Method::POST, url, "application/sdp", Bytes::from(offer))
            .await?;
        if answer.status != StatusCode::CREATED {
            return Err(answer.complaint(url));
        }
        let place = answer.place().and_then(|place| joined(url, place).ok());
        let sdp = std::str::from_utf8(&answer.body).map_err(|error| format!("the answer is no text: {error}"))?;
        let mut session = Self {
            client,
            socket,
            local,
            out: Outbox::new(),
            clock: Arc::clone(&given.clock),
            place,
        };
        let answered = session.client.answer(sdp, given.clock.now(), &mut session.out);
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
    async fn close(mut self, target: &Target) {
        self.client.close(self.clock.now(), &mut self.out);
        self.send();
        let Some(place) = self.place.take() else { return };
        let leaving = async {
            if let Ok(mut http) = Client::connect(target).await {
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
