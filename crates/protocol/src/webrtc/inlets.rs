//! The tracks that a session receives: from packets to frames, and asking for keyframes.
//!
//! Belongs here: what receiving sessions of both sides share, a publisher's and our own viewing. Does not belong here: order, loss and timing of
//! packets ([`crate::rtp::Receiver`]), what was agreed on ([`super::publisher`], [`super::client`]).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use media::audio::{G711, Opus};
use media::{Codec, Format, Kind, Track, TrackIndex, WallTime, h264, h265, time};
use str0m::Input;
use str0m::media::{KeyframeRequestKind, Mid};
use str0m::rtp::RtpPacket;

use super::codecs;
use super::offer::OfferedCodec;
use super::peer::Peer;
use super::{Moment, Outbox};
use crate::rtp::rtcp::SenderInfo;
use crate::rtp::{
    Arrival, Depacketizer, HEADER_BYTES, Header, Payload, Received, Receiver, ReceiverConfig, ReceiverStats,
    Reordering, Timeline, clock,
};

/// The identifier under which a receiver is handed the capture time, whatever the peer's was.
const CAPTURE_TIME_ID: u8 = 1;

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
pub(super) struct Inlets {
    list: Vec<Inlet>,
    timeline: Timeline,
    /// How long packets wait for one that is asked for again. What is missing then is missing.
    recovery: Duration,
    /// Between two requests for a keyframe.
    keyframe_interval: Duration,
    keyframe_asked: Option<Instant>,
    /// From the first request on until a keyframe is there.
    keyframe_wanted: bool,
}

impl Inlets {
    pub(super) fn new(recovery: Duration, keyframe_interval: Duration) -> Self {
        Self {
            list: Vec::new(),
            timeline: Timeline::default(),
            recovery,
            keyframe_interval,
            keyframe_asked: None,
            keyframe_wanted: false,
        }
    }

    /// One more track: what comes in this payload type. `None` for a codec that is not carried.
    pub(super) fn open(
        &mut self,
        index: TrackIndex,
        offered: &OfferedCodec,
        mid: Mid,
        ask_plainly: bool,
        ssrc: u32,
    ) -> Option<Track> {
        let codec = codecs::codec(offered)?;
        let format = Arc::new(format(codec, offered));
        let track = Track {
            index,
            timescale: clock(&format),
            format: Arc::clone(&format),
        };
        let config = ReceiverConfig {
            track: track.index,
            payload: Payload::of(codec),
            payload_type: offered.payload_type,
            format,
            clock: track.timescale,
            reordering: Some(Reordering {
                wait: self.recovery,
                ..Reordering::default()
            }),
            abs_capture_time: Some(CAPTURE_TIME_ID),
            ssrc,
            cname: Arc::from("sightline"),
            max_unit_bytes: Depacketizer::DEFAULT_MAX_UNIT_BYTES,
        };
        self.list.push(Inlet {
            mid,
            kind: track.kind(),
            receiver: Receiver::new(config, self.timeline.clone()),
            ask_plainly: ask_plainly && track.kind() == Kind::Video,
        });
        Some(track)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for inlet in &mut self.list {
            inlet.receiver.handle_timeout(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.list.iter().filter_map(|inlet| inlet.receiver.poll_timeout()).min()
    }

    /// The next frame; call until `None` after each call that takes something in.
    pub(super) fn poll_frame(&mut self) -> Option<Received> {
        let mut polled = self.list.iter_mut();
        let (kind, received) = polled.find_map(|inlet| Some((inlet.kind, inlet.receiver.poll()?)))?;
        if kind == Kind::Video {
            // What refers to a picture that is missing shows damage until the next keyframe.
            self.keyframe_wanted = !received.frame.keyframe && (self.keyframe_wanted || received.discontinuity);
        }
        Some(received)
    }

    /// Counters of all tracks together; jitter is the picture's.
    pub(super) fn stats(&self) -> ReceiverStats {
        let mut sum = ReceiverStats::default();
        for inlet in &self.list {
            let stats = inlet.receiver.stats();
            sum.packets += stats.packets;
            sum.bytes += stats.bytes;
            sum.lost += stats.lost;
            sum.malformed += stats.malformed;
            sum.units_dropped += stats.units_dropped;
            sum.units += stats.units;
            if inlet.kind == Kind::Video || self.list.len() == 1 {
                sum.jitter_us = stats.jitter_us;
            }
        }
        sum
    }

    /// Takes in what str0m says of what the peer sends.
    pub(super) fn understand(&mut self, peer: &mut Peer, event: &str0m::Event, now: Moment) {
        let arrival = Arrival {
            at: now.at,
            wall: now.wall,
        };
        match event {
            str0m::Event::RtpPacket(packet) => {
                let payload_type = *packet.header.payload_type;
                let mut list = self.list.iter_mut();
                let Some(inlet) = list.find(|inlet| inlet.receiver.payload_type() == payload_type) else {
                    return;
                };
                inlet.receiver.receive_rtp(&plain(packet), arrival);
                if inlet.ask_plainly
                    && let Some(stream) = peer.rtc().direct_api().stream_rx_by_mid(inlet.mid, None)
                {
                    stream.suppress_nack(false);
                    inlet.ask_plainly = false;
                }
            }
            str0m::Event::SenderFeedback(feedback) => {
                let inlet = self.list.iter_mut().find(|inlet| inlet.mid == feedback.mid);
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

    /// From now on until one is there.
    pub(super) fn want_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// A picture is missing, and no keyframe came since.
    pub(super) fn is_damaged(&self) -> bool {
        self.keyframe_wanted
    }

    /// For a keyframe, while one is wanted, if the last request is long enough ago: requests get lost like everything else.
    pub(super) fn ask(&mut self, peer: &mut Peer, now: Moment, out: &mut Outbox) {
        let recently = |at: Instant| now.at.saturating_duration_since(at) < self.keyframe_interval;
        if !self.keyframe_wanted || peer.has_ended() || self.keyframe_asked.is_some_and(recently) {
            return;
        }
        let Some(mid) = (self.list.iter()).find_map(|inlet| (inlet.kind == Kind::Video).then_some(inlet.mid)) else {
            self.keyframe_wanted = false;
            return;
        };
        let mut direct = peer.rtc().direct_api();
        let Some(stream) = direct.stream_rx_by_mid(mid, None) else {
            return;
        };
        stream.request_keyframe(KeyframeRequestKind::Pli);
        self.keyframe_asked = Some(now.at);
        peer.advance(Input::Timeout(now.at), out);
    }
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

/// The packet as it was before encryption, as far as receivers look at it.
fn plain(packet: &RtpPacket) -> Vec<u8> {
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
