//! One task per publisher: from its session's frames to the hub.
//!
//! Belongs here: publishing, asking for keyframes that viewers need, the publisher's counters. Does not belong here: packets (`protocol::webrtc`), who may
//! take over a stream (`media::hub`).

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::hub::Publisher;
use media::stats::SessionStats;
use media::{CaptureSource, StreamName};
use protocol::rtp::ReceiverStats;
use protocol::webrtc::{self, Datagram, Ended, Event, Outbox, Transport};
use tokio::sync::mpsc;

use super::sessions::{Arrived, Message, Registered};
use super::tcp::{Connection, Written};
use super::{Service, sockets};
use crate::log::notice::Losses;

/// Time between two looks at what was lost. Shorter, and the log would tell of the first packet alone.
const LOSS_INTERVAL: Duration = Duration::from_secs(5);
/// Connections that one session may come by; the oldest gives way.
const MAX_CONNECTIONS: usize = 4;

/// Why a publisher's task ends.
enum End {
    /// Its frames are not wanted any more.
    Refused(media::hub::Refused),
    /// It said goodbye by HTTP, or the program ends.
    Closed,
    /// The session ended.
    Session(Ended),
    /// A bug of ours.
    Panicked,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refused) => write!(f, "{refused}"),
            Self::Closed => write!(f, "ended on request"),
            Self::Session(ended) => write!(f, "{ended}"),
            Self::Panicked => write!(f, "a bug of ours"),
        }
    }
}

/// A publisher.
pub(super) struct Publishing {
    pub(super) session: webrtc::Publisher,
    pub(super) publisher: Publisher,
    pub(super) stats: Arc<SessionStats>,
    pub(super) registered: Registered,
    pub(super) stream: StreamName,
    pub(super) asker: IpAddr,
    pub(super) inbox: mpsc::Receiver<Message>,
    pub(super) service: Arc<Service>,
}

/// What a step leaves for the next.
#[derive(Default)]
struct Loose {
    out: Outbox,
    connections: Vec<(SocketAddr, Arc<Connection>)>,
    counted: ReceiverStats,
    connected: bool,
    losses: Losses,
    look_at_losses: Option<Instant>,
}

impl Publishing {
    /// Until it ends, whoever ends it.
    pub(super) async fn run(mut self) {
        let mut loose = Loose::default();
        let end = loop {
            let due = self.session.poll_timeout();
            let wait = due.saturating_duration_since(self.service.clock.now());
            let message = tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => Some(message),
                    None => break End::Closed,
                },
                () = tokio::time::sleep(wait) => None,
            };
            // A panic is a bug of ours, and this publisher's end alone.
            let step = catch_unwind(AssertUnwindSafe(|| self.step(message, &mut loose)));
            match step.unwrap_or(Err(End::Panicked)) {
                Ok(()) => {}
                Err(end) => break end,
            }
        };
        self.tell_left(&end, loose.connected);
        if !matches!(end, End::Panicked) {
            let now = self.service.now();
            let goodbye = catch_unwind(AssertUnwindSafe(|| self.session.close(now, &mut loose.out)));
            if goodbye.is_ok() {
                self.deliver(&mut loose);
            }
        }
        self.publisher.close(self.service.clock.now());
    }

    fn step(&mut self, message: Option<Message>, loose: &mut Loose) -> Result<(), End> {
        let now = self.service.now();
        match message {
            None => self.session.handle_timeout(now, &mut loose.out),
            Some(Message::Datagram(arrived)) => self.receive(arrived, loose),
            Some(Message::KeyframeWanted) => self.session.request_keyframe(now, &mut loose.out),
            Some(Message::Restart { theirs, ours, .. }) => {
                let credentials = self.session.restart(&theirs, &mut self.service.random.clone());
                self.registered.restarted(&credentials.ufrag, &theirs.ufrag);
                // Whoever asked may be gone.
                let _ = ours.send(credentials);
            }
            Some(Message::Close { .. }) => return Err(End::Closed),
            Some(Message::Join(_)) => {}
        }
        self.deliver(loose);
        self.publish(loose)?;
        self.tell_losses(now.at, loose);
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Connected => self.begin(loose),
                Event::Ended(ended) => return Err(End::Session(ended)),
                _ => {}
            }
        }
        Ok(())
    }

    fn receive(&mut self, arrived: Arrived, loose: &mut Loose) {
        let now = self.service.now();
        if let Some(connection) = arrived.connection
            && !loose.connections.iter().any(|(from, _)| *from == arrived.from)
        {
            if loose.connections.len() >= MAX_CONNECTIONS {
                loose.connections.remove(0);
            }
            loose.connections.push((arrived.from, connection));
        }
        let datagram = Datagram {
            transport: arrived.transport,
            from: arrived.from,
            to: arrived.to,
            bytes: &arrived.bytes,
        };
        if self.session.receive(datagram, now, &mut loose.out) {
            self.registered.heard(arrived.transport, arrived.from, now.at);
        }
    }

    fn begin(&mut self, loose: &mut Loose) {
        loose.connected = true;
        let codecs: Vec<_> = self
            .session
            .tracks()
            .iter()
            .map(|track| track.format.codec().name())
            .collect();
        tracing::info!(
            remote = self.session.remote().map(|(_, remote)| tracing::field::display(remote)),
            stream = %self.stream,
            protocol = self.stats.info.protocol,
            codecs = codecs.join(", "),
            "WebRTC publisher began"
        );
    }

    fn publish(&mut self, loose: &mut Loose) -> Result<(), End> {
        while let Some(received) = self.session.poll_frame() {
            let capture = received.frame.capture;
            let latency_us = received.arrival.wall.micros_since(capture.at);
            self.publisher
                .publish(received.frame, received.arrival.at)
                .map_err(End::Refused)?;
            self.stats.latency_us.set(latency_us);
            if capture.source != CaptureSource::Arrival {
                self.stats.delays.note(latency_us);
            }
        }
        let now = self.session.stats();
        let before = std::mem::replace(&mut loose.counted, now);
        self.stats.packets.add(now.packets.saturating_sub(before.packets));
        self.stats.bytes.add(now.bytes.saturating_sub(before.bytes));
        self.stats
            .packets_malformed
            .add(now.malformed.saturating_sub(before.malformed));
        self.stats
            .frames_dropped
            .add(now.units_dropped.saturating_sub(before.units_dropped));
        // Counts down when a packet that was given up comes after all; what was reported stays.
        let lost = u64::try_from(now.lost.saturating_sub(before.lost)).unwrap_or(0);
        self.stats.packets_lost.add(lost);
        loose.counted.lost = now.lost.max(before.lost);
        self.stats.jitter_us.set(now.jitter_us);
        Ok(())
    }

    /// What is lost between publisher and server no viewer gets back: whoever runs the server should know.
    fn tell_losses(&self, now: Instant, loose: &mut Loose) {
        if loose.look_at_losses.is_some_and(|at| now < at) {
            return;
        }
        loose.look_at_losses = now.checked_add(LOSS_INTERVAL);
        if let Some(packets) = loose.losses.news(self.stats.packets_lost.get(), now) {
            tracing::warn!(
                remote = self.session.remote().map(|(_, remote)| tracing::field::display(remote)),
                stream = %self.stream,
                packets,
                frames_dropped = self.stats.frames_dropped.get(),
                "WebRTC publisher: packets are lost on the way here and did not come when asked for again, so pictures break until the next keyframe; \
                 let it send less, or give it a better network"
            );
        }
    }

    fn deliver(&self, loose: &mut Loose) {
        for batch in loose.out.batches() {
            match batch.transport {
                // What is lost is asked for again, or said again.
                Transport::Udp => drop(sockets::send(&self.service.udp, &loose.out, batch)),
                Transport::Tcp => {
                    if let Some((_, connection)) = loose.connections.iter().find(|(from, _)| *from == batch.to)
                        && connection.send(&loose.out, batch) == Written::Waits
                    {
                        // Little is sent to a publisher: the next little takes it along.
                        connection.flush();
                    }
                }
            }
        }
        loose.out.clear();
    }

    fn tell_left(&self, end: &End, connected: bool) {
        self.stats.farewell.say(end);
        let remote = self.session.remote().map(|(_, remote)| tracing::field::display(remote));
        if matches!(end, End::Panicked) {
            tracing::error!(stream = %self.stream, "a WebRTC publisher ended by a panic; please report the text above");
        }
        if connected {
            tracing::info!(remote, stream = %self.stream, reason = %end, "WebRTC publisher left");
        } else {
            tracing::warn!(asker = %self.asker, remote, stream = %self.stream, reason = %end, "WebRTC publisher did not get through");
        }
    }
}
