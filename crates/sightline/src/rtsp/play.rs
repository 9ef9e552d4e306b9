//! What a viewer's requests do: describing a stream, joining it, leaving it.
//!
//! Belongs here: the first picture's numbers and timestamps, the viewer's counters, its reports. Does not belong here: sending
//! frames ([`super::fanout`]).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use media::hub::{Event, Full, MAX_TRACKS, Stream, Viewing};
use media::stats::{GrantId, Role, SessionInfo, SessionStats};
use media::{Clock, Kind, StreamName, TrackIndex, WallTime};
use protocol::rtp::rtcp;
use protocol::rtsp::message::Status;
use protocol::rtsp::server::{Description, Refusal, RtpInfo, SetUpTransport};
use protocol::sdp;
use tokio::sync::{Notify, oneshot};

use super::Shared;
use super::fanout::{Fanout, Seat};
use super::forms::Forms;
use super::viewer::{Burst, End, Outlet, Place, Route, Tcp, Transport, Udp, Viewer};
use super::wire::Wire;
use crate::net;
use crate::source::{Missing, Trouble};

/// Bursts over UDP go out at this multiple of the stream's bitrate.
const BURST_SPEED: u64 = 4;
/// And not slower than this: a still picture's bitrate says nothing about the link.
const LEAST_BURST_BYTES_PER_SECOND: u64 = 1_000_000;
/// What the kernel may hold for a viewer besides what is on its way: half a second of 2 Mb/s, and more than most keyframes.
const UNSENT_BYTES: u32 = 128 << 10;
/// Frames of a burst that are looked at; the hub's own limits are below.
const MAX_BURST_FRAMES: usize = 4_096;

/// A track as it was set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetUp {
    /// Position in the description.
    pub(super) track: usize,
    pub(super) transport: SetUpTransport,
}

fn fanout(shared: &Shared, stream: &Arc<Stream>) -> Arc<Fanout> {
    stream.extension(|| {
        let forms = Forms::new(stream, shared.random);
        Fanout::new(forms, shared.settings.shards, shared.clock.clone())
    })
}

fn find(shared: &Shared, name: &StreamName) -> Result<Arc<Stream>, Refusal> {
    let found = shared.hub.stream(name, shared.clock.now());
    found.map_err(|not_found| Refusal::because(Status::NOT_FOUND, not_found.to_string()))
}

/// Why somebody does not get a stream, or where else it is.
fn refusal(missing: &Missing) -> Refusal {
    let why = missing.to_string();
    match missing {
        Missing::NotFound(_) => Refusal::because(Status::NOT_FOUND, why),
        Missing::Failed { trouble, .. } if *trouble == Trouble::NotThere => Refusal::because(Status::NOT_FOUND, why),
        Missing::Failed { .. } | Missing::Slow { .. } | Missing::Full { .. } => {
            Refusal::because(Status::UNAVAILABLE, why)
        }
        Missing::Elsewhere { to, .. } => Refusal::redirect(to),
    }
}

/// The answer to DESCRIBE.
pub(super) async fn describe(
    shared: &Shared,
    name: &StreamName,
    query: Option<&str>,
    address: IpAddr,
) -> Result<Description, Refusal> {
    let found = shared.streams.find_for(name, query).await;
    let stream = found.map_err(|missing| refusal(&missing))?;
    let tracks = stream.tracks();
    let described = sdp::tracks(&tracks);
    let session = sdp::Describe {
        name: name.as_str(),
        address,
        session_id: (shared.random)() >> 1,
    };
    Ok(Description {
        sdp: sdp::describe(&session, &described),
        controls: (0..described.len()).map(|track| format!("trackID={track}")).collect(),
    })
}

/// The synchronisation source that a track will be sent with.
pub(super) fn ssrc(shared: &Shared, name: &StreamName, track: usize) -> Option<u32> {
    let stream = find(shared, name).ok()?;
    let forms = fanout(shared, &stream).forms(&stream, shared.random);
    forms.ssrc(TrackIndex(u8::try_from(track).ok()?))
}

/// A viewer that plays, or is about to.
pub(super) struct Playing {
    name: StreamName,
    stream: Arc<Stream>,
    forms: Arc<Forms>,
    /// Until the answer to PLAY is written.
    viewer: Option<Box<Viewer>>,
    seat: Option<Seat>,
    id: u64,
    /// Frames go out on the connection itself: once seated, only the fan-out may write there.
    interleaved: bool,
    stats: Arc<SessionStats>,
    lost: Lost,
    ended: oneshot::Receiver<End>,
    _viewing: Viewing,
}

/// Packets lost so far by track, as the peer's newest report has it.
#[derive(Debug, Default)]
struct Lost([u64; MAX_TRACKS]);

impl Lost {
    /// How many are new. The figure of a report is a sum, which falls when late packets come after all.
    fn news(&mut self, track: TrackIndex, sum: i32) -> u64 {
        let Some(known) = self.0.get_mut(usize::from(track.0)) else {
            return 0;
        };
        let sum = u64::try_from(sum).unwrap_or(0);
        let new = sum.saturating_sub(*known);
        *known = sum.max(*known);
        new
    }
}

impl Playing {
    /// Finds the viewer's place in the stream and the numbers it begins with. Media flows after [`Playing::start`].
    pub(super) fn prepare(
        shared: &Shared,
        name: &StreamName,
        peer: &Peer,
        set_up: &[SetUp],
    ) -> Result<(Self, Vec<RtpInfo>), Refusal> {
        let stream = find(shared, name)?;
        let forms = fanout(shared, &stream).forms(&stream, shared.random);
        let (udp, remote) = (has_udp(set_up), peer.remote);
        let stats = peer.session(name, Role::Viewer, udp, &*shared.clock);
        let full = |full: Full| Refusal::because(Status::UNAVAILABLE, full.to_string());
        let viewing = stream.add_viewer(stats.clone()).map_err(full)?;
        let mut outlets = outlets(set_up, remote.ip());
        let now = shared.clock.now();
        let join = Join::new(&stream, &forms, &mut outlets, now);
        let (tell, ended) = oneshot::channel();
        let sockets = shared.sockets.as_ref().filter(|_| udp);
        let transport = sockets.map(|sockets| {
            Transport::Udp(Udp {
                sockets: sockets.clone(),
                not_before: None,
                burst_bytes_per_second: join.bytes_per_second,
            })
        });
        let rtp_info = join.rtp_info;
        let viewer = Viewer {
            // Replaced by the connection's own when it starts.
            transport: transport.unwrap_or(Transport::Waiting),
            outlets,
            burst: join.burst,
            place: Place::Behind(join.position),
            stats: stats.clone(),
            blocked_since: None,
            end: Some(tell),
            next_report: now,
            cname: Arc::from("sightline"),
        };
        tracing::info!(%remote, stream = %name, protocol = stats.info.protocol, burst_frames = join.frames, "RTSP viewer joined");
        let playing = Self {
            name: name.clone(),
            stream,
            forms,
            viewer: Some(Box::new(viewer)),
            seat: None,
            id: (shared.random)(),
            interleaved: !udp,
            stats,
            lost: Lost::default(),
            ended,
            _viewing: viewing,
        };
        Ok((playing, rtp_info))
    }

    /// The stream's name.
    pub(super) fn stream(&self) -> &StreamName {
        &self.name
    }

    /// Its counters.
    pub(super) fn stats(&self) -> &SessionStats {
        &self.stats
    }

    /// The fan-out has the write side.
    pub(super) fn is_seated(&self) -> bool {
        self.seat.is_some()
    }

    /// Sends an answer between frames; gives it back when the caller still has the write side.
    pub(super) fn answer(&self, answer: Bytes) -> Option<Bytes> {
        match &self.seat {
            Some(seat) if self.interleaved => {
                seat.answer(answer);
                None
            }
            _ => Some(answer),
        }
    }

    /// Hands the viewer, with the write side where frames go out there, to the fan-out. Once is enough.
    pub(super) fn start(&mut self, shared: &Shared, wire: &Arc<Wire>) -> Result<(), Full> {
        let Some(mut viewer) = self.viewer.take() else {
            return Ok(());
        };
        if matches!(viewer.transport, Transport::Waiting) {
            net::bound_unsent(wire.socket(), UNSENT_BYTES);
            viewer.transport = Transport::Tcp(Tcp::new(wire.clone()));
        }
        let seat = fanout(shared, &self.stream).join(&self.stream, &self.forms, self.id, viewer)?;
        self.seat = Some(seat);
        Ok(())
    }

    /// Takes the write side back, with what must still be written.
    pub(super) async fn stop(self: Box<Self>) -> Bytes {
        let Some(seat) = self.seat else { return Bytes::new() };
        let Some(viewer) = seat.leave().await else {
            return Bytes::new();
        };
        let Transport::Tcp(tcp) = viewer.transport else {
            return Bytes::new();
        };
        let mut rest = BytesMut::from(tcp.unfinished.as_ref());
        for answer in tcp.answers {
            rest.extend_from_slice(&answer);
        }
        rest.freeze()
    }

    /// Resolves when the fan-out lets the viewer go.
    pub(super) async fn ended(&mut self) -> End {
        match (&mut self.ended).await {
            Ok(end) => end,
            // The task ended by a panic, which is ours.
            Err(_) => End::Broken,
        }
    }

    /// A receiver report.
    pub(super) fn take_report(&mut self, bytes: &[u8], now: WallTime) {
        let Ok(packets) = rtcp::parse(bytes) else {
            self.stats.packets_malformed.add(1);
            return;
        };
        for packet in packets {
            let (rtcp::Packet::ReceiverReport { blocks, .. } | rtcp::Packet::SenderReport { blocks, .. }) = packet
            else {
                continue;
            };
            for block in blocks {
                let Some((track, packetizer)) = self.forms.by_ssrc(block.ssrc) else {
                    continue;
                };
                self.stats.packets_lost.add(self.lost.news(track, block.lost));
                let jitter_us = i64::from(block.jitter_ticks) * 1_000_000 / i64::from(packetizer.clock().hz());
                self.stats.jitter_us.set(jitter_us);
                if let Some(round_trip) = block.round_trip(now) {
                    self.stats.rtt_us.set(media::time::micros(round_trip));
                }
            }
        }
    }
}

/// Whoever plays or publishes.
pub(super) struct Peer {
    pub(super) remote: SocketAddr,
    pub(super) agent: Option<Arc<str>>,
    /// Of the URL, without credentials.
    pub(super) query: Option<Box<str>>,
    /// By what it was let in, where that can end.
    pub(super) grant: Option<GrantId>,
    /// By RTSPS.
    pub(super) is_secure: bool,
    /// Where it is told to end.
    pub(super) told: Arc<Notify>,
}

impl Peer {
    /// The counters of its session. Whoever sees them can end its connection.
    pub(super) fn session(&self, stream: &StreamName, role: Role, udp: bool, clock: &dyn Clock) -> Arc<SessionStats> {
        let stats = SessionStats::new(SessionInfo {
            stream: stream.clone(),
            role,
            protocol: match (self.is_secure, udp) {
                (true, _) => "RTSPS",
                (false, true) => "RTSP/UDP",
                (false, false) => "RTSP/TCP",
            },
            remote: Some(self.remote),
            agent: self.agent.clone(),
            since: clock.wall(),
        });
        if let Some(query) = &self.query {
            let _ = stats.query.set(query.clone());
        }
        if let Some(grant) = self.grant {
            let _ = stats.grant.set(grant);
        }
        let told = Arc::clone(&self.told);
        stats.leash.tie(move || {
            told.notify_one();
            true
        });
        Arc::new(stats)
    }
}

/// Whether any of them travels beside the connection.
pub(super) fn has_udp(set_up: &[SetUp]) -> bool {
    set_up
        .iter()
        .any(|track| matches!(track.transport, SetUpTransport::Udp { .. }))
}

fn outlets(set_up: &[SetUp], peer: IpAddr) -> Vec<Outlet> {
    let outlet = |known: &SetUp| {
        let route = match known.transport {
            SetUpTransport::Interleaved { rtp, rtcp } => Route::Channels { rtp, rtcp },
            SetUpTransport::Udp {
                client_rtp,
                client_rtcp,
            } => Route::Addresses {
                rtp: SocketAddr::new(peer, client_rtp),
                rtcp: SocketAddr::new(peer, client_rtcp),
            },
        };
        let track = TrackIndex(u8::try_from(known.track).ok()?);
        Some(Outlet {
            track,
            route,
            sequence: None,
            packets: 0,
            bytes: 0,
        })
    };
    let mut outlets: Vec<_> = set_up.iter().filter_map(outlet).collect();
    outlets.sort_by_key(|outlet| outlet.track);
    outlets
}

/// Where and how a viewer begins.
struct Join {
    position: media::hub::Position,
    burst: Option<Burst>,
    frames: usize,
    rtp_info: Vec<RtpInfo>,
    bytes_per_second: u64,
}

impl Join {
    /// Gives the outlet of pictures its first sequence number where that is known already: when some are there to begin with. Else
    /// the first frame decides, and nothing is promised; as for sound, which begins live.
    fn new(stream: &Stream, forms: &Forms, outlets: &mut [Outlet], now: std::time::Instant) -> Self {
        let start = stream.start(now);
        let mut join = Self {
            position: start.position,
            burst: None,
            frames: start.burst_frames,
            rtp_info: Vec::new(),
            bytes_per_second: LEAST_BURST_BYTES_PER_SECOND,
        };
        let video = (stream.tracks().iter())
            .find(|track| track.kind() == Kind::Video)
            .map(|track| track.index);
        let (Some(video), false) = (video, start.burst_frames == 0) else {
            return join;
        };
        let mut backlog = Vec::new();
        let mut position = start.position;
        let most = start.burst_frames.min(MAX_BURST_FRAMES);
        if !matches!(stream.read(&mut position, most, &mut backlog), Some(Event::Frames(_))) {
            return join;
        }
        let picture = backlog.iter().find(|entry| entry.frame.track == video);
        if let Some(outlet) = outlets.iter_mut().find(|outlet| outlet.track == video) {
            outlet.sequence = picture.and_then(|entry| forms.sequence(entry));
        }
        join.burst = Burst::new(forms, &backlog, video);
        if let (Some(first), Some(last)) = (backlog.first(), backlog.last()) {
            let bytes: u64 = backlog.iter().map(|entry| entry.frame.data.len() as u64).sum();
            let micros = media::time::micros(last.published.saturating_duration_since(first.published)).max(1);
            let rate = bytes.saturating_mul(1_000_000) / micros.unsigned_abs();
            join.bytes_per_second = rate.saturating_mul(BURST_SPEED).max(LEAST_BURST_BYTES_PER_SECOND);
        }
        // Only the track whose first packet is known: a player that is promised a number for the other would wait for it.
        if let (Some(burst), Some(outlet)) = (&join.burst, outlets.iter().find(|outlet| outlet.track == video))
            && let Some(sequence) = outlet.sequence
        {
            join.rtp_info.push(RtpInfo {
                track: usize::from(video.0),
                sequence,
                rtp_time: burst.timestamp(),
            });
        }
        join
    }
}
