//! Our own viewing: a session in which the offer is ours (WHEP's other side).
//!
//! Belongs here: offering to receive ([`Asking`]), which of it a server gives, its tracks put together again. Does not belong here: what a server
//! does ([`super::Viewer`]), from packets to frames ([`super::inlets`]), HTTP, sockets.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Codec, Kind, Track, TrackIndex};
use str0m::media::Mid;

use super::answer::{ABS_CAPTURE_TIME, Accepted, MID, TRANSPORT_CC};
use super::codecs;
use super::inlets::Inlets;
use super::offer::{OfferedCodec, SectionKind};
use super::offering;
use super::peer::{self, Datagram, Ended, Happened, Peer};
use super::publisher::expect;
use super::{Credentials, Identity, Moment, OfferError, Outbox, Refusal};
use crate::rtp::{Received, ReceiverStats};

/// How long packets wait for one that was asked for again: while the round trip is not known str0m asks three times in this time.
const RECOVERY_TIME: Duration = Duration::from_millis(300);
/// Between two requests for a keyframe.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(250);
/// How long a track is waited for, from the first packet of any on. There are servers that promise sound which never comes.
const DECIDE_TIME: Duration = Duration::from_millis(500);

/// What of a stream is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Its picture alone, in H.264.
    Picture,
    /// Picture and sound in all that is carried.
    Everything,
}

/// Why a server's answer is of no use. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// It cannot be read.
    #[error("the server's answer cannot be used: {0}")]
    Unreadable(#[from] OfferError),
    /// It does not fit the offer.
    #[error("the server's answer gives nothing that was asked for: {0}")]
    Nothing(String),
    /// The session could not be set up.
    #[error("the server's answer cannot be used: {0}")]
    Setup(#[from] Refusal),
}

/// From the offer until it is answered.
#[derive(Debug)]
pub struct Asking {
    identity: Arc<Identity>,
    local: SocketAddr,
    ours: Credentials,
    wanted: Wanted,
}

impl Asking {
    /// The offer of a session. `local` is where datagrams to it arrive.
    pub fn offer(
        identity: &Arc<Identity>,
        local: SocketAddr,
        wanted: Wanted,
        random: &mut dyn FnMut() -> u64,
    ) -> (Self, String) {
        let asking = Self {
            identity: Arc::clone(identity),
            local,
            ours: Credentials::random(random),
            wanted,
        };
        let sdp = asking.written(random());
        (asking, sdp)
    }

    /// What the server answered, which was asked at `server`. Where it names that address among its own, the others are not tried: they may
    /// be gone tomorrow (tunnels, containers), or be somebody else's here.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn answered(
        self,
        sdp: &[u8],
        server: Option<IpAddr>,
        random: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Result<Client, AnswerError> {
        let answer = offering::answer(sdp, server)?;
        let mut accepted: Vec<(Accepted<'_>, Mid)> = Vec::new();
        let mut sections = Vec::new();
        for (section, at) in answer.sections.iter().zip(0_usize..) {
            let Some(place) = self.places().iter().find(|place| place.mid == section.mid) else {
                continue;
            };
            if section.disabled || !section.direction.sends || !section.rtcp_mux || section.kind != place.kind {
                continue;
            }
            // Servers list what they may send and what they do not, so each of them gets its receiver when it is seen.
            let ours = |codec: &&OfferedCodec| place.codecs.iter().any(|offered| offered.fits(codec));
            let codecs: Vec<OfferedCodec> = section.codecs.iter().filter(ours).cloned().collect();
            let (mid, _) = peer::mid(&section.mid, at);
            for codec in section.codecs.iter().filter(ours) {
                accepted.push((
                    Accepted {
                        section: at,
                        codec,
                        parameters: String::new(),
                        extensions: peer::agreed(&section.extensions, &EXTENSIONS.map(|(_, uri)| uri), &accepted),
                        rtx: codec.rtx.is_some() && codec.nack,
                        sends: None,
                    },
                    mid,
                ));
            }
            if !codecs.is_empty() && !sections.iter().any(|known: &Section| known.mid == mid) {
                sections.push(Section {
                    mid,
                    codecs,
                    track: None,
                });
            }
        }
        if sections.is_empty() {
            return Err(AnswerError::Nothing(answer.offered()));
        }
        let mut peer = Peer::answered(&answer, &accepted, &self.identity, (&self.ours, self.local), now)?;
        accepted.dedup_by_key(|(accepted, _)| accepted.section);
        expect(&mut peer, &answer, &accepted);
        Ok(Client {
            peer,
            sections,
            inlets: Inlets::new(RECOVERY_TIME, KEYFRAME_INTERVAL),
            // Our sources in reports of receivers, which str0m writes itself.
            ssrc: random() as u32,
            first_packet: None,
            first_picture: None,
            begun: false,
            connected: false,
            decided: false,
            ended: None,
        })
    }

    fn places(&self) -> &'static [Place] {
        match self.wanted {
            Wanted::Picture => &[PICTURE],
            Wanted::Everything => &EVERYTHING,
        }
    }

    fn written(&self, session_id: u64) -> String {
        let mut sdp = String::with_capacity(4_096);
        // Writing into memory does not fail.
        let _ = self.write(&mut sdp, session_id >> 1);
        sdp
    }

    fn write(&self, sdp: &mut String, session_id: u64) -> std::fmt::Result {
        let mids: Vec<_> = self.places().iter().map(|place| place.mid).collect();
        offering::head(sdp, session_id, &mids);
        let transport = offering::Transport {
            identity: &self.identity,
            ours: &self.ours,
            local: self.local,
        };
        for place in self.places() {
            let numbers = place
                .codecs
                .iter()
                .flat_map(|codec| [Some(codec.payload_type), codec.rtx()]);
            transport.write(sdp, (place.kind, place.mid), numbers.flatten());
            for (id, uri) in EXTENSIONS {
                write!(sdp, "a=extmap:{id} {uri}\r\n")?;
            }
            write!(sdp, "a=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n")?;
            for codec in place.codecs {
                codec.write(sdp)?;
            }
        }
        Ok(())
    }
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    peer: Peer,
    /// One a track, in their order.
    sections: Vec<Section>,
    inlets: Inlets,
    ssrc: u32,
    first_packet: Option<Instant>,
    first_picture: Option<Instant>,
    /// A picture came.
    begun: bool,
    connected: bool,
    /// Which tracks there are.
    decided: bool,
    ended: Option<Ended>,
}

/// A track that the server gives.
#[derive(Debug)]
struct Section {
    mid: Mid,
    /// What it may be in.
    codecs: Vec<OfferedCodec>,
    /// Once it is known in what.
    track: Option<Track>,
}

impl Client {
    /// The tracks that come, once it is known which, and in which codec each of them is. No frame before that.
    pub fn tracks(&self) -> Option<Vec<Track>> {
        let mut tracks: Vec<Track> = self
            .sections
            .iter()
            .filter_map(|section| section.track.clone())
            .collect();
        tracks.sort_by_key(|track| track.index);
        self.decided.then_some(tracks)
    }

    /// Takes a datagram in. `false` when it is not this session's.
    pub fn receive(&mut self, datagram: Datagram<'_>, now: Moment, out: &mut Outbox) -> bool {
        let taken = self.peer.receive(datagram, now.at, out);
        self.look_around(now, out);
        taken
    }

    /// To be called at once, and then at [`Client::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Moment, out: &mut Outbox) {
        self.peer.handle_timeout(now.at, out);
        self.inlets.handle_timeout(now.at);
        self.look_around(now, out);
    }

    /// When [`Client::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let decide = (self.first_packet.filter(|_| !self.decided)).and_then(|at| at.checked_add(DECIDE_TIME));
        let timeouts = [self.inlets.poll_timeout(), decide];
        timeouts
            .into_iter()
            .flatten()
            .fold(self.peer.poll_timeout(), Instant::min)
    }

    /// The next frame; call until `None` after each call that takes something in.
    pub fn poll_frame(&mut self) -> Option<Received> {
        if !self.decided {
            return None;
        }
        let received = self.inlets.poll_frame()?;
        self.begun |= received.frame.format.codec().kind() == Kind::Video;
        Some(received)
    }

    /// ICE and DTLS are through.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Where the server is, as far as is known.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.peer.remote().map(|(_, address)| address)
    }

    /// Whether what came last shows damage: a picture before it is missing, and no keyframe came since.
    pub fn is_damaged(&self) -> bool {
        self.inlets.is_damaged()
    }

    /// Nothing comes any more.
    pub fn has_ended(&self) -> bool {
        self.peer.has_ended()
    }

    /// Why not.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// For a keyframe, at once and until one is there.
    pub fn request_keyframe(&mut self, now: Moment, out: &mut Outbox) {
        self.inlets.want_keyframe();
        self.inlets.ask(&mut self.peer, now, out);
    }

    /// What came so far.
    pub fn stats(&self) -> ReceiverStats {
        self.inlets.stats()
    }

    /// Says goodbye.
    pub fn close(&mut self, now: Instant, out: &mut Outbox) {
        self.peer.close(now, out);
    }

    fn look_around(&mut self, now: Moment, out: &mut Outbox) {
        while let Some(happened) = self.peer.poll() {
            match happened {
                Happened::Connected => self.connected = true,
                Happened::Ended(why) => self.ended = Some(why),
                Happened::Other(event) => {
                    if let str0m::Event::RtpPacket(packet) = &*event {
                        self.decide_by(*packet.header.payload_type, now.at);
                    }
                    self.inlets.understand(&mut self.peer, &event, now);
                }
            }
        }
        let recently = |at: Instant| now.at.saturating_duration_since(at) < KEYFRAME_INTERVAL;
        // Packets of pictures whose keyframe did not come: its first packet was overtaken, and what is before the first that is seen is nobody's.
        if !self.begun && self.first_picture.is_some_and(|at| !recently(at)) {
            self.inlets.want_keyframe();
        }
        self.inlets.ask(&mut self.peer, now, out);
        let is_late = (self.first_packet).is_some_and(|at| now.at.saturating_duration_since(at) >= DECIDE_TIME);
        self.decided |= is_late || self.sections.iter().all(|section| section.track.is_some());
    }

    /// A packet says in what its track is.
    fn decide_by(&mut self, payload_type: u8, now: Instant) {
        self.first_packet.get_or_insert(now);
        let of = |section: &Section| {
            section
                .codecs
                .iter()
                .position(|codec| codec.payload_type == payload_type)
        };
        let found = (0_u8..)
            .zip(&self.sections)
            .find_map(|(at, section)| Some((at, of(section)?)));
        let Some((at, codec)) = found else { return };
        if self.decided {
            return;
        }
        self.open(at, codec);
        let is_picture = |section: &Section| section.track.as_ref().is_some_and(|track| track.kind() == Kind::Video);
        if self.sections.get(usize::from(at)).is_some_and(is_picture) {
            self.first_picture.get_or_insert(now);
        }
    }

    fn open(&mut self, at: u8, codec: usize) {
        let index = self.sections.iter().filter(|section| section.track.is_some()).count() as u8;
        let Some(section) = self.sections.get_mut(usize::from(at)) else {
            return;
        };
        if let Some(codec) = section.codecs.get(codec)
            && section.track.is_none()
        {
            let ask_plainly = codec.nack && codec.rtx.is_none();
            let ssrc = self.ssrc.wrapping_add(u32::from(at));
            section.track = self
                .inlets
                .open(TrackIndex(index), codec, section.mid, ask_plainly, ssrc);
        }
    }
}

/// A section of our offers.
struct Place {
    mid: &'static str,
    kind: SectionKind,
    codecs: &'static [Offering],
}

/// A payload type of our offers; that which repeats its packets is one higher.
struct Offering {
    payload_type: u8,
    codec: Codec,
    encoding: &'static str,
    parameters: &'static str,
}

impl Offering {
    fn rtx(&self) -> Option<u8> {
        (self.codec.kind() == Kind::Video).then_some(self.payload_type + 1)
    }

    fn fits(&self, answered: &OfferedCodec) -> bool {
        answered.payload_type == self.payload_type && codecs::codec(answered) == Some(self.codec)
    }

    fn write(&self, sdp: &mut String) -> std::fmt::Result {
        let Self {
            payload_type: number,
            encoding,
            parameters,
            ..
        } = self;
        write!(sdp, "a=rtpmap:{number} {encoding}\r\n")?;
        if !parameters.is_empty() {
            write!(sdp, "a=fmtp:{number} {parameters}\r\n")?;
        }
        write!(sdp, "a=rtcp-fb:{number} transport-cc\r\n")?;
        if let Some(rtx) = self.rtx() {
            for feedback in ["ccm fir", "nack", "nack pli"] {
                write!(sdp, "a=rtcp-fb:{number} {feedback}\r\n")?;
            }
            write!(sdp, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={number}\r\n")?;
        }
        Ok(())
    }
}

/// As browsers number them.
const EXTENSIONS: [(u8, &str); 3] = [(3, TRANSPORT_CC), (4, MID), (13, ABS_CAPTURE_TIME)];

const fn h264(payload_type: u8, parameters: &'static str) -> Offering {
    Offering {
        payload_type,
        codec: Codec::H264,
        encoding: "H264/90000",
        parameters,
    }
}

const fn coded(payload_type: u8, codec: Codec, encoding: &'static str, parameters: &'static str) -> Offering {
    Offering {
        payload_type,
        codec,
        encoding,
        parameters,
    }
}

/// Profiles as browsers list them, since there are servers that want the same text; H.264 first.
const VIDEO: [Offering; 7] = [
    h264(
        96,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ),
    h264(
        98,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
    ),
    h264(
        100,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
    ),
    h264(
        102,
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f",
    ),
    h264(
        104,
        "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f",
    ),
    coded(
        106,
        Codec::H265,
        "H265/90000",
        "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST",
    ),
    coded(
        108,
        Codec::H265,
        "H265/90000",
        "level-id=180;profile-id=2;tier-flag=0;tx-mode=SRST",
    ),
];

const PICTURE: Place = Place {
    mid: "0",
    kind: SectionKind::Video,
    codecs: VIDEO.split_at(5).0,
};

const EVERYTHING: [Place; 2] = [
    Place {
        codecs: &VIDEO,
        ..PICTURE
    },
    Place {
        mid: "1",
        kind: SectionKind::Audio,
        codecs: &[
            coded(111, Codec::Opus, "opus/48000/2", "minptime=10;useinbandfec=1;stereo=1"),
            coded(0, Codec::G711, "PCMU/8000", ""),
            coded(8, Codec::G711, "PCMA/8000", ""),
        ],
    },
];
