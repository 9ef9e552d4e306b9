//! One RTSP connection: reading, answering, ending.
//!
//! Belongs here: the loop between socket and `protocol::rtsp::server::Session`, and who answers which event. Does not belong
//! here: what playing ([`super::play`]) and publishing ([`super::record`]) do to the hub.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::StreamName;
use media::stats::GrantId;
use protocol::rtp::Arrival;
use protocol::rtsp::auth::{Challenge, Credentials};
use protocol::rtsp::message::Status;
use protocol::rtsp::server::{self, ChannelKind, Denied, Event, Refusal, ServerPorts, SetUpTransport};
use tokio::sync::{Notify, watch};
use tokio::time::Instant as Deadline;

use super::Shared;
use super::notices::{RefusedAccess, RefusedRequest};
use super::play::{Peer, Playing, SetUp};
use super::record::Recording;
use super::told::Told;
use super::udp::{Datagram, Expecting, Port};
use super::viewer::End;
use super::wire::Wire;
use crate::auth::authority::{Protocol, Way};
use crate::auth::{self, Action, Presented, Verdict};
use crate::net;
use crate::secret::public_query;

/// Reads are made into one buffer per thread: a connection that waits holds none.
const READ_BYTES: usize = 64 * 1024;
/// Reads in a row before others have their turn.
const READS_PER_TURN: usize = 16;
/// The last answer must leave within this, then the connection is closed anyway.
const FAREWELL: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Serves one connection until it ends. The connection lies in the future once: what an asynchronous function is given, and what it keeps, it has twice.
pub(super) fn run(
    wire: Wire,
    remote: SocketAddr,
    as_event: Option<Box<Told>>,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send {
    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    // Without it a slow answer is no error, only slow.
    let _ = net::send_without_delay(wire.socket());
    let local = wire.local_addr().unwrap_or(remote);
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    let mut config = shared.settings.session.clone();
    // RTP beside the connection would not be encrypted.
    config.udp &= !wire.is_secure();
    let session = server::Session::new(config, (shared.random)(), shared.clock.now());
    let mut connection = Connection {
        wire: Arc::new(wire),
        remote,
        local,
        session,
        shared,
        grant: None,
        role: Role::Idle,
        tracks: Vec::new(),
        expecting: None,
        closing: None,
        told: Arc::new(Notify::new()),
        as_event,
    };
    async move { connection.serve(stop).await }
}

/// Why a connection ends, for the log.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("the peer closed the connection")]
    PeerClosed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Session(server::CloseReason),
    #[error("{0}")]
    Stream(String),
    #[error("the server stops")]
    Stopping,
    #[error("the peer ended the session (TEARDOWN)")]
    TearDown,
    #[error("the peer paused")]
    Paused,
    #[error("the peer begins anew")]
    Anew,
    #[error("ended on request")]
    Told,
}

enum Role {
    Idle,
    Described(StreamName),
    Viewer(Box<Playing>),
    Publisher(Box<Recording>),
}

struct Connection {
    wire: Arc<Wire>,
    remote: SocketAddr,
    local: SocketAddr,
    session: server::Session,
    shared: Arc<Shared>,
    /// By what it was let in, where that can end.
    grant: Option<GrantId>,
    role: Role,
    /// Tracks that are set up, by position.
    tracks: Vec<SetUp>,
    expecting: Option<Expecting>,
    closing: Option<Ending>,
    /// Somebody else than the peer ends it.
    told: Arc<Notify>,
    as_event: Option<Box<Told>>,
}

impl Connection {
    async fn serve(&mut self, mut stop: watch::Receiver<bool>) {
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let ending = loop {
            if let Err(error) = self.settle().await {
                break Ending::Io(error);
            }
            if let Some(ending) = self.closing.take() {
                break ending;
            }
            if let Some(at) = self
                .next_timeout()
                .filter(|&at| Deadline::from_std(at) != timer.deadline())
            {
                timer.as_mut().reset(at.into());
            }
            let timed = self.next_timeout().is_some();
            tokio::select! {
                ready = self.wire.readable() => {
                    if let Err(ending) = ready.map_err(Ending::Io).and_then(|()| self.read()) {
                        break ending;
                    }
                }
                () = &mut timer, if timed => self.handle_timeout(),
                datagram = receive(self.expecting.as_ref()) => self.take_datagram(&datagram),
                end = ended(&mut self.role) => break Ending::Stream(describe_end(end)),
                () = self.told.notified() => break Ending::Told,
                _ = stop.wait_for(|&stop| stop) => break Ending::Stopping,
            }
        };
        Box::pin(self.end(&ending)).await;
    }

    /// Handles events and writes answers until there is nothing left to do.
    async fn settle(&mut self) -> io::Result<()> {
        loop {
            let mut busy = false;
            while let Some(event) = self.session.poll() {
                busy = true;
                self.handle(event).await;
            }
            if let Some(refused) = self.session.take_refused() {
                let remote = self.remote;
                let notices = &self.shared.notices.requests;
                notices.happened(RefusedRequest { remote, refused }, self.shared.clock.now());
            }
            let output = self.session.take_output();
            if !output.is_empty() {
                busy = true;
                self.write(output).await?;
            }
            if !busy {
                return Ok(());
            }
        }
    }

    async fn write(&mut self, output: Bytes) -> io::Result<()> {
        let output = match &self.role {
            Role::Viewer(playing) => match playing.answer(output) {
                Some(output) => output,
                None => return Ok(()),
            },
            _ => output,
        };
        let limit = self.shared.settings.session.request_timeout;
        tokio::time::timeout(limit, self.wire.write_all(&output))
            .await
            .unwrap_or_else(|_| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the peer does not read its answers",
                ))
            })?;
        // The answer to PLAY went out first.
        if let Role::Viewer(playing) = &mut self.role
            && let Err(full) = playing.start(&self.shared, &self.wire)
        {
            self.closing = Some(Ending::Stream(full.to_string()));
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Ending> {
        for _ in 0..READS_PER_TURN {
            if let Role::Publisher(_) = self.role {
                net::acknowledge_quickly(self.wire.socket());
            }
            let now = self.shared.clock.now();
            let read = SCRATCH.with_borrow_mut(|buffer| match self.wire.try_read(buffer) {
                Ok(0) => Err(Ending::PeerClosed),
                Ok(length) => {
                    self.session.receive(buffer.get(..length).unwrap_or_default(), now);
                    Ok(length == buffer.len())
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(error.into()),
            })?;
            if !read {
                break;
            }
        }
        Ok(())
    }

    async fn handle(&mut self, event: Event) {
        let now = self.shared.clock.now();
        match event {
            Event::Authorize {
                action,
                stream,
                credentials,
            } => {
                let answer = Box::pin(self.authorize(action, &stream, &credentials)).await;
                self.session.authorized(answer, now);
            }
            Event::Describe { stream } => {
                let answer = Box::pin(super::play::describe(
                    &self.shared,
                    &stream,
                    self.session.query(),
                    self.local.ip(),
                ))
                .await;
                // Asked while media flows, it changes nothing.
                if answer.is_ok() && matches!(self.role, Role::Idle | Role::Described(_)) {
                    self.role = Role::Described(stream);
                }
                self.session.describe(answer, now);
            }
            Event::Announce { stream, sdp, via } => match Recording::announce(stream, &sdp, &via) {
                Ok((recording, announced)) => {
                    self.role = Role::Publisher(Box::new(recording));
                    self.session.announce(Ok(announced), now);
                }
                Err(refusal) => self.session.announce(Err(refusal), now),
            },
            Event::SetUp {
                track,
                transport,
                stream,
                ..
            } => {
                let answer = self.set_up(track, transport, stream);
                self.session.set_up(answer, now);
            }
            Event::Play { tracks } => self.play(&tracks),
            Event::Record { .. } => {
                let peer = self.peer();
                let Role::Publisher(recording) = &mut self.role else {
                    return self
                        .session
                        .record(Err(Refusal::new(Status::NOT_VALID_IN_THIS_STATE)), now);
                };
                let answer = recording.record(&self.shared, &peer, &self.tracks);
                self.session.record(answer, now);
            }
            Event::Data { track, kind, bytes } => self.take(track, kind, &bytes),
            Event::Pause => Box::pin(self.pause(&Ending::Paused)).await,
            Event::TearDown => {
                Box::pin(self.pause(&Ending::TearDown)).await;
                self.forget();
            }
            Event::Close { reason } => self.closing = Some(Ending::Session(reason)),
        }
    }

    /// Where somebody else decides, nothing more is read until that is known.
    async fn authorize(
        &mut self,
        action: server::Action,
        stream: &StreamName,
        credentials: &Credentials,
    ) -> Result<(), Denied> {
        let action = match action {
            server::Action::View => Action::View,
            server::Action::Publish => Action::Publish,
        };
        let now = self.shared.clock.now();
        let query = self.session.query_to_authorize();
        let way = Way {
            protocol: Protocol::Rtsp,
            query: &query,
            agent: self.session.agent().unwrap_or_default(),
            ..Way::of(self.remote.ip())
        };
        let ask = |presented: Presented<'_>| self.shared.auth.rtsp(&way, presented, action, stream, now);
        let verdict = match credentials {
            Credentials::None => ask(Presented::Nothing),
            Credentials::Basic { user, password } => ask(Presented::Basic { user, password }),
            Credentials::Digest(digest) => ask(Presented::Digest {
                user: digest.user(),
                verify: &|password| digest.verify(password),
            }),
            Credentials::Token(token) => ask(Presented::Token(token)),
        };
        let result = match verdict {
            Verdict::Known(known) => known,
            asking @ Verdict::Ask(_) => Box::pin(asking.settled()).await,
        };
        match result {
            Ok(who) => {
                self.grant = who.grant().map(|grant| grant.id);
                Ok(())
            }
            Err(refusal) => {
                if refusal != auth::Refusal::Missing {
                    let refused = RefusedAccess {
                        events: Arc::clone(self.shared.streams.events()),
                        remote: self.remote,
                        stream: stream.clone(),
                        reason: refusal.to_string(),
                    };
                    self.shared.notices.access.happened(refused, now);
                }
                Err(match refusal {
                    auth::Refusal::Forbidden(decision) => {
                        Denied::Refused(Refusal::because(Status::FORBIDDEN, decision.to_string()))
                    }
                    auth::Refusal::Braked { .. } | auth::Refusal::Busy { .. } | auth::Refusal::Away => {
                        Denied::Refused(Refusal::because(Status::UNAVAILABLE, refusal.to_string()))
                    }
                    auth::Refusal::Missing | auth::Refusal::Wrong | auth::Refusal::Token(_) => {
                        Denied::Challenge(Challenge {
                            realm: "sightline".to_owned(),
                            digest: self.shared.auth.knows_all_passwords(),
                            basic: true,
                        })
                    }
                })
            }
        }
    }

    fn set_up(&mut self, track: usize, transport: SetUpTransport, stream: StreamName) -> Result<ServerPorts, Refusal> {
        let ssrc = match &self.role {
            Role::Publisher(_) => None,
            _ => super::play::ssrc(&self.shared, &stream, track),
        };
        if matches!(self.role, Role::Idle) {
            self.role = Role::Described(stream);
        }
        let mut ports = ServerPorts {
            ssrc,
            ..ServerPorts::default()
        };
        if let SetUpTransport::Udp {
            client_rtp,
            client_rtcp,
        } = transport
        {
            let sockets = self
                .shared
                .sockets
                .as_ref()
                .ok_or_else(|| Refusal::new(Status::UNSUPPORTED_TRANSPORT))?;
            let expecting = self.expecting.get_or_insert_with(|| Expecting::new(sockets.clone()));
            let [rtp, rtcp] = [client_rtp, client_rtcp].map(|port| SocketAddr::new(self.remote.ip(), port));
            if !expecting.expect(track, rtp, rtcp) {
                let why = format!("ports {client_rtp} and {client_rtcp} of your address are in use by another session");
                return Err(Refusal::because(Status::UNSUPPORTED_TRANSPORT, why));
            }
            ports.rtp_rtcp = Some(sockets.ports());
        } else if let Some(expecting) = &mut self.expecting {
            expecting.forget(track);
        }
        self.tracks.retain(|known| known.track != track);
        self.tracks.push(SetUp { track, transport });
        Ok(ports)
    }

    fn peer(&self) -> Peer {
        Peer {
            remote: self.remote,
            agent: self.session.agent().map(Arc::from),
            query: self.session.query().and_then(public_query),
            grant: self.grant,
            is_secure: self.wire.is_secure(),
            told: Arc::clone(&self.told),
        }
    }

    fn play(&mut self, tracks: &[usize]) {
        let now = self.shared.clock.now();
        let stream = match &self.role {
            Role::Described(stream) => stream.clone(),
            Role::Viewer(playing) => playing.stream().clone(),
            Role::Idle | Role::Publisher(_) => {
                return self
                    .session
                    .play(Err(Refusal::new(Status::NOT_VALID_IN_THIS_STATE)), now);
            }
        };
        if matches!(&self.role, Role::Viewer(playing) if playing.is_seated()) {
            // A second PLAY of a live stream changes nothing.
            return self.session.play(Ok(&[]), now);
        }
        let peer = self.peer();
        let set_up: Vec<_> = self
            .tracks
            .iter()
            .filter(|known| tracks.contains(&known.track))
            .copied()
            .collect();
        match Playing::prepare(&self.shared, &stream, &peer, &set_up) {
            Ok((playing, rtp_info)) => {
                self.tell_left(&Ending::Anew);
                self.role = Role::Viewer(Box::new(playing));
                self.session.play(Ok(&rtp_info), now);
            }
            Err(refusal) => self.session.play(Err(refusal), now),
        }
    }

    /// Tells that a viewer or publisher is gone: once for each time that one joined or began.
    fn tell_left(&self, reason: &Ending) {
        let (who, stream, stats) = match &self.role {
            Role::Viewer(playing) => ("viewer", playing.stream(), Some(playing.stats())),
            Role::Publisher(recording) if recording.has_begun() => ("publisher", recording.stream(), recording.stats()),
            Role::Idle | Role::Described(_) | Role::Publisher(_) => return,
        };
        if let Some(stats) = stats {
            stats.farewell.say(reason);
        }
        tracing::info!(remote = %self.remote, %stream, %reason, "RTSP {who} left");
    }

    /// Takes the write side back from the fan-out, with what it had begun to write.
    async fn pause(&mut self, reason: &Ending) {
        self.tell_left(reason);
        let role = std::mem::replace(&mut self.role, Role::Idle);
        self.role = match role {
            Role::Viewer(playing) => {
                let stream = playing.stream().clone();
                let unfinished = playing.stop().await;
                if let Err(error) = tokio::time::timeout(FAREWELL, self.wire.write_all(&unfinished))
                    .await
                    .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
                {
                    self.closing = Some(Ending::Io(error));
                }
                Role::Described(stream)
            }
            Role::Publisher(mut recording) => {
                recording.pause(&self.shared);
                Role::Publisher(recording)
            }
            other => other,
        };
    }

    fn forget(&mut self) {
        self.role = Role::Idle;
        self.tracks.clear();
        self.expecting = None;
    }

    fn take(&mut self, track: usize, kind: ChannelKind, bytes: &[u8]) {
        let arrival = Arrival {
            at: self.shared.clock.now(),
            wall: self.shared.clock.wall(),
        };
        match &mut self.role {
            Role::Viewer(playing) => {
                if kind == ChannelKind::Rtcp {
                    playing.take_report(bytes, arrival.wall);
                }
            }
            Role::Publisher(recording) => {
                if let Err(refused) = recording.take(track, kind, bytes, arrival) {
                    self.closing = Some(Ending::Stream(refused.to_string()));
                }
            }
            Role::Idle | Role::Described(_) => {}
        }
    }

    fn take_datagram(&mut self, datagram: &Datagram) {
        self.session.keep_alive(self.shared.clock.now());
        let kind = match datagram.port {
            Port::Rtp => ChannelKind::Rtp,
            Port::Rtcp => ChannelKind::Rtcp,
        };
        self.take(datagram.track, kind, &datagram.bytes);
    }

    fn next_timeout(&self) -> Option<std::time::Instant> {
        let recording = match &self.role {
            Role::Publisher(recording) => recording.poll_timeout(),
            _ => None,
        };
        self.session.poll_timeout().into_iter().chain(recording).min()
    }

    fn handle_timeout(&mut self) {
        let now = self.shared.clock.now();
        self.session.handle_timeout(now);
        if let Role::Publisher(recording) = &mut self.role {
            let wall = self.shared.clock.wall();
            match recording.handle_timeout(
                Arrival { at: now, wall },
                &self.tracks,
                self.shared.sockets.as_deref(),
                self.remote,
            ) {
                Ok(reports) if !reports.is_empty() => {
                    // A publisher reads its reports or it does not; they are not worth waiting for. A part of one would break
                    // the stream of answers, but 100 bytes fit, or none of them do.
                    if let Ok(written) = self.wire.try_write(&reports)
                        && written < reports.len()
                    {
                        self.closing = Some(Ending::Io(io::ErrorKind::WriteZero.into()));
                    }
                }
                Ok(_) => {}
                Err(refused) => self.closing = Some(Ending::Stream(refused.to_string())),
            }
        }
    }

    async fn end(&mut self, ending: &Ending) {
        self.tell_left(ending);
        if let Some(event) = &mut self.as_event {
            event.because(ending);
        }
        tracing::debug!(remote = %self.remote, reason = %ending, "RTSP connection ended");
        if let Role::Viewer(playing) = std::mem::replace(&mut self.role, Role::Idle) {
            drop(playing);
        } else {
            let output = self.session.take_output();
            let _ = tokio::time::timeout(FAREWELL, self.wire.write_all(&output)).await;
        }
        self.wire.close();
    }
}

async fn receive(expecting: Option<&Expecting>) -> Datagram {
    match expecting {
        Some(expecting) => expecting.inbox().next().await,
        None => std::future::pending().await,
    }
}

async fn ended(role: &mut Role) -> End {
    match role {
        Role::Viewer(playing) => playing.ended().await,
        _ => std::future::pending().await,
    }
}

fn describe_end(end: End) -> String {
    match end {
        End::Stream(media::hub::EndReason::PublisherGone) => "the publisher is gone and did not come back",
        End::Stream(media::hub::EndReason::Stopped) => "the stream was stopped",
        End::TracksChanged => "the stream's tracks changed; the player must ask anew",
        End::Broken => "the connection broke",
        End::Stalled => "the player took nothing for 10 s",
        End::AnswersUnread => "the player sends requests and reads no answers",
        End::Panicked => "an error in this program, which the log has; please report it",
    }
    .to_owned()
}
