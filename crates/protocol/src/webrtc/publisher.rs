//! A publisher: one WHIP session (RFC 9725).
//!
//! Belongs here: which of the offered tracks are received in which payload types, from packets to frames, asking for keyframes. Does not
//! belong here: order, loss and timing of packets ([`crate::rtp::Receiver`]), who may publish.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use media::audio::{G711, Opus};
use media::{Codec, Format, Kind, Track, TrackIndex, WallTime, h264, h265, time};
use str0m::Input;
use str0m::media::{KeyframeRequestKind, Mid};
use str0m::rtp::RtpPacket;

use super::answer::{ABS_CAPTURE_TIME, Accepted, MID, TRANSPORT_CC, Writing};
use super::codecs;
use super::offer::{OfferedCodec, SectionKind};
use super::peer::{self, Datagram, Happened, Peer};
use super::{Answered, Config, Credentials, Event, Moment, Offer, Outbox, Refusal, Transport};
use crate::rtp::rtcp::SenderInfo;
use crate::rtp::{
    Arrival, HEADER_BYTES, Header, Payload, Received, Receiver, ReceiverConfig, ReceiverStats, Reordering, Timeline,
    clock,
};

/// How long packets wait for one that is asked for again: a few round trips of a usual line. What is missing then is missing.
const RECOVERY_TIME: Duration = Duration::from_millis(150);
/// Between two requests for a keyframe of ours.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);
/// The identifier under which a receiver is handed the capture time, whatever the peer's was.
pub(super) const CAPTURE_TIME_ID: u8 = 1;
/// The level that we accept, 5.2: what we do not decode has no limit but those of frames.
const RECEIVED_LEVEL: u8 = 0x34;

/// A track that is received.
#[derive(Debug)]
struct Inlet {
    mid: Mid,
    kind: Kind,
    receiver: Receiver,
    /// The peer repeats what it is asked for under its own number, since no RTX was agreed on. str0m asks for nothing then, unless it is told to,
    /// which it cannot be before the source is known.
    ask_plainly: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Publisher {
    peer: Peer,
    inlets: Vec<Inlet>,
    tracks: Vec<Track>,
    events: VecDeque<Event>,
    keyframe_asked: Option<Instant>,
    /// From the first request on until a keyframe is there.
    keyframe_wanted: bool,
}

impl Publisher {
    /// Answers an offer with one picture and one sound at most.
    ///
    /// # Errors
    /// [`Refusal`], when nothing that is offered is carried.
    pub fn answer(
        offer: &Offer,
        config: &Config,
        random: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Result<Answered<Self>, Refusal> {
        let mut accepted: Vec<(Accepted<'_>, Mid)> = Vec::new();
        let mut left_out = Vec::new();
        for (section, position) in offer.sections.iter().zip(0_usize..) {
            if section.kind == SectionKind::Other || section.disabled || !section.direction.sends {
                continue;
            }
            let Some(codec) = codecs::to_receive(section).filter(|_| section.rtcp_mux) else {
                left_out.push(format!("{}: no codec that is carried", section.words[0]));
                continue;
            };
            let (mid, writable) = peer::mid(&section.mid, position);
            let beside = |(other, known): &(Accepted<'_>, Mid)| {
                offer.sections.get(other.section).is_some_and(|theirs| {
                    theirs.kind != section.kind && offer.bundled(&theirs.mid, &section.mid) && theirs.mid != section.mid
                }) && *known != mid
                    && other.codec.payload_type != codec.payload_type
            };
            if !accepted.iter().all(beside) {
                left_out.push(format!(
                    "{}: one of each kind is carried, in one bundle",
                    section.words[0]
                ));
                continue;
            }
            let wanted = [ABS_CAPTURE_TIME, TRANSPORT_CC, MID];
            let wanted = if writable { &wanted[..] } else { &wanted[..2] };
            accepted.push((
                Accepted {
                    section: position,
                    codec,
                    parameters: parameters(codec),
                    extensions: peer::agreed(&section.extensions, wanted, &accepted),
                    rtx: codec.rtx.is_some() && codec.nack,
                    sends: None,
                },
                mid,
            ));
        }
        if accepted.is_empty() {
            return Err(Refusal::NothingToReceive {
                offered: offer.offered(),
            });
        }
        let ours = Credentials::random(random);
        let mut peer = Peer::new(offer, &accepted, config, &ours, now)?;
        expect(&mut peer, offer, &accepted);
        let (tracks, inlets) = receivers(&accepted, random);
        let sections: Vec<_> = accepted.into_iter().map(|(accepted, _)| accepted).collect();
        let writing = Writing {
            offer,
            config,
            credentials: ours,
            session_id: random(),
            left_out,
        };
        let session = Self {
            peer,
            inlets,
            tracks,
            events: VecDeque::new(),
            keyframe_asked: None,
            keyframe_wanted: false,
        };
        Ok(writing.answered(session, &sections))
    }

    /// The tracks that come.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Takes a datagram in. `false` when it is not this session's.
    pub fn receive(&mut self, datagram: Datagram<'_>, now: Moment, out: &mut Outbox) -> bool {
        let taken = self.peer.receive(datagram, now.at, out);
        self.look_around(now, out);
        taken
    }

    /// To be called at [`Publisher::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Moment, out: &mut Outbox) {
        self.peer.handle_timeout(now.at, out);
        for inlet in &mut self.inlets {
            inlet.receiver.handle_timeout(now.at);
        }
        self.look_around(now, out);
    }

    /// When [`Publisher::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let receivers = self.inlets.iter().filter_map(|inlet| inlet.receiver.poll_timeout());
        receivers.fold(self.peer.poll_timeout(), Instant::min)
    }

    /// What happened; call until `None` after each call that takes something in.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next frame; call until `None` after each call that takes something in.
    pub fn poll_frame(&mut self) -> Option<Received> {
        let polled = self
            .inlets
            .iter_mut()
            .find_map(|inlet| Some((inlet.kind, inlet.receiver.poll()?)));
        let (kind, received) = polled?;
        if kind == Kind::Video {
            // What refers to a picture that is missing shows damage until the next keyframe.
            self.keyframe_wanted = !received.frame.keyframe && (self.keyframe_wanted || received.discontinuity);
        }
        Some(received)
    }

    /// Asks for a keyframe, if the last request is long enough ago, and again until one comes: requests get lost like everything else.
    pub fn request_keyframe(&mut self, now: Moment, out: &mut Outbox) {
        self.keyframe_wanted = true;
        self.ask(now, out);
    }

    /// Where the publisher is, as far as is known.
    pub fn remote(&self) -> Option<(Transport, SocketAddr)> {
        self.peer.remote()
    }

    /// The peer's own name in ICE.
    pub fn remote_ufrag(&self) -> &str {
        self.peer.remote_ufrag()
    }

    /// Counters of all tracks together; jitter is the picture's.
    pub fn stats(&self) -> ReceiverStats {
        let mut sum = ReceiverStats::default();
        for inlet in &self.inlets {
            let stats = inlet.receiver.stats();
            sum.packets += stats.packets;
            sum.bytes += stats.bytes;
            sum.lost += stats.lost;
            sum.malformed += stats.malformed;
            sum.units_dropped += stats.units_dropped;
            sum.units += stats.units;
            if inlet.kind == Kind::Video || self.inlets.len() == 1 {
                sum.jitter_us = stats.jitter_us;
            }
        }
        sum
    }

    /// Starts ICE anew, and returns our new credentials.
    pub fn restart(&mut self, theirs: &Credentials, random: &mut dyn FnMut() -> u64) -> Credentials {
        let ours = Credentials::random(random);
        self.peer.restart(theirs, &ours);
        ours
    }

    /// Says goodbye. [`Event::Ended`] follows.
    pub fn close(&mut self, now: Moment, out: &mut Outbox) {
        self.peer.close(now.at, out);
        self.look_around(now, out);
    }

    fn look_around(&mut self, now: Moment, out: &mut Outbox) {
        while let Some(happened) = self.peer.poll() {
            match happened {
                Happened::Connected => self.events.push_back(Event::Connected),
                Happened::Ended(why) => self.events.push_back(Event::Ended(why)),
                Happened::Other(event) => self.understand(&event, now),
            }
        }
        if self.keyframe_wanted {
            self.ask(now, out);
        }
    }

    fn understand(&mut self, event: &str0m::Event, now: Moment) {
        let arrival = Arrival {
            at: now.at,
            wall: now.wall,
        };
        match event {
            str0m::Event::RtpPacket(packet) => {
                let payload_type = *packet.header.payload_type;
                let inlet = self
                    .inlets
                    .iter_mut()
                    .find(|inlet| inlet.receiver.payload_type() == payload_type);
                let Some(inlet) = inlet else { return };
                inlet.receiver.receive_rtp(&plain(packet), arrival);
                if inlet.ask_plainly
                    && let Some(stream) = self.peer.rtc().direct_api().stream_rx_by_mid(inlet.mid, None)
                {
                    stream.suppress_nack(false);
                    inlet.ask_plainly = false;
                }
            }
            str0m::Event::SenderFeedback(feedback) => {
                let inlet = self.inlets.iter_mut().find(|inlet| inlet.mid == feedback.mid);
                if let Some(inlet) = inlet {
                    let info = &feedback.sender_info;
                    let report = SenderInfo {
                        ssrc: *info.ssrc,
                        ntp: wall(info.ntp_time).to_ntp(),
                        rtp_timestamp: info.rtp_time.numer() as u32,
                        packets: info.sender_packet_count,
                        bytes: info.sender_octet_count,
                    };
                    inlet.receiver.receive_sender_report(report, arrival);
                }
            }
            _ => {}
        }
    }

    fn ask(&mut self, now: Moment, out: &mut Outbox) {
        let recently = |at: Instant| now.at.saturating_duration_since(at) < KEYFRAME_INTERVAL;
        if self.peer.has_ended() || self.keyframe_asked.is_some_and(recently) {
            return;
        }
        let Some(mid) = self
            .inlets
            .iter()
            .find(|inlet| inlet.kind == Kind::Video)
            .map(|inlet| inlet.mid)
        else {
            self.keyframe_wanted = false;
            return;
        };
        let mut direct = self.peer.rtc().direct_api();
        let Some(stream) = direct.stream_rx_by_mid(mid, None) else {
            return;
        };
        stream.request_keyframe(KeyframeRequestKind::Pli);
        self.keyframe_asked = Some(now.at);
        self.peer.advance(Input::Timeout(now.at), out);
    }
}

/// Tells str0m which sources come in which section, as far as the offer says. Others are told apart by the section's name in their packets.
fn expect(peer: &mut Peer, offer: &Offer, accepted: &[(Accepted<'_>, Mid)]) {
    let mut direct = peer.rtc().direct_api();
    let mut known = vec![0];
    for (accepted, mid) in accepted {
        let Some(section) = offer.sections.get(accepted.section) else {
            continue;
        };
        if let Some(&(source, repeats)) = section.sources.first()
            && !known.contains(&source)
        {
            known.push(source);
            let repeats = repeats.filter(|repeats| accepted.rtx && !known.contains(repeats));
            known.extend(repeats);
            let stream = direct.expect_stream_rx(source.into(), repeats.map(Into::into), *mid, None);
            stream.suppress_nack(!accepted.rtx);
        }
    }
    if accepted
        .iter()
        .any(|(accepted, _)| accepted.extensions.iter().any(|(_, uri)| *uri == TRANSPORT_CC))
    {
        direct.enable_twcc_feedback();
    }
}

fn receivers(accepted: &[(Accepted<'_>, Mid)], random: &mut dyn FnMut() -> u64) -> (Vec<Track>, Vec<Inlet>) {
    let timeline = Timeline::default();
    let (mut tracks, mut inlets) = (Vec::new(), Vec::new());
    for ((accepted, mid), index) in accepted.iter().zip(0_u8..) {
        let Some(codec) = codecs::codec(accepted.codec) else {
            continue;
        };
        let format = Arc::new(format(codec, accepted.codec));
        let track = Track {
            index: TrackIndex(index),
            timescale: clock(&format),
            format: Arc::clone(&format),
        };
        let config = ReceiverConfig {
            track: track.index,
            payload: Payload::of(codec),
            payload_type: accepted.codec.payload_type,
            format,
            clock: track.timescale,
            reordering: Some(Reordering {
                wait: RECOVERY_TIME,
                ..Reordering::default()
            }),
            abs_capture_time: Some(CAPTURE_TIME_ID),
            ssrc: random() as u32,
            cname: Arc::from("sightline"),
            max_unit_bytes: crate::rtp::Depacketizer::DEFAULT_MAX_UNIT_BYTES,
        };
        inlets.push(Inlet {
            mid: *mid,
            kind: track.kind(),
            receiver: Receiver::new(config, timeline.clone()),
            ask_plainly: track.kind() == Kind::Video && accepted.codec.nack && !accepted.rtx,
        });
        tracks.push(track);
    }
    (tracks, inlets)
}

fn format(codec: Codec, offered: &OfferedCodec) -> Format {
    match codec {
        Codec::H264 => Format::H264(h264::Format::default()),
        Codec::H265 => Format::H265(h265::Format::default()),
        Codec::G711 => Format::G711(G711 {
            law: codecs::law(offered),
            sample_rate_hz: 8_000,
            channels: 1,
        }),
        // RFC 7587 §6.1: what is sent; decoders make stereo of either.
        Codec::Opus | Codec::Aac => Format::Opus(Opus {
            channels: if offered.parameter("sprop-stereo") == Some("0") {
                1
            } else {
                2
            },
        }),
    }
}

/// Our `a=fmtp`.
fn parameters(codec: &OfferedCodec) -> String {
    match codec.name.as_str() {
        "H264" => {
            let [profile, constraints, _] = codecs::profile_level_id(codec).unwrap_or([0x42, 0, 0x1f]);
            let mode = codec.parameter("packetization-mode").unwrap_or("0");
            format!(
                "level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile:02x}{constraints:02x}{RECEIVED_LEVEL:02x}"
            )
        }
        "OPUS" => "minptime=10;useinbandfec=1;stereo=1".to_owned(),
        _ => codec.parameters.clone(),
    }
}

/// The packet as it was before encryption, as far as receivers look at it.
pub(super) fn plain(packet: &RtpPacket) -> Vec<u8> {
    let header = Header {
        marker: packet.header.marker,
        payload_type: *packet.header.payload_type,
        sequence: packet.header.sequence_number,
        timestamp: packet.header.timestamp,
        ssrc: *packet.header.ssrc,
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 16 + packet.payload.len());
    bytes.extend_from_slice(&header.to_bytes());
    if let Some(captured) = packet.header.ext_vals.abs_capture_time {
        // One element of eight bytes in the one-byte form, filled up to twelve (RFC 8285 §4.2).
        if let Some(first) = bytes.first_mut() {
            *first |= 0x10;
        }
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 3, (CAPTURE_TIME_ID << 4) | 7]);
        bytes.extend_from_slice(&wall(captured.capture_time).to_ntp().to_be_bytes());
        bytes.extend_from_slice(&[0; 3]);
    }
    bytes.extend_from_slice(&packet.payload);
    bytes
}

fn wall(at: SystemTime) -> WallTime {
    let micros = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => time::micros(since),
        Err(before) => time::micros(before.duration()).saturating_neg(),
    };
    WallTime::from_unix_micros(micros)
}
