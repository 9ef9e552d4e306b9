//! Our own viewing: a session in which the offer is ours (WHEP's other side).
//!
//! Belongs here: offering to receive H.264, the packets of one picture track put together again. Does not belong here: what a server does
//! ([`super::Viewer`]), HTTP, sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Codec, Format, Timescale, TrackIndex, h264};
use str0m::Input;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid};

use super::peer::{Datagram, Happened, Peer};
use super::publisher::{CAPTURE_TIME_ID, plain};
use super::{Identity, Moment, Outbox};
use crate::rtp::{
    Arrival, Depacketizer, Payload, Received, Receiver, ReceiverConfig, ReceiverStats, Reordering, Timeline,
};

/// How long packets wait for one that was asked for again: while the round trip is not known str0m asks three times in this time.
const RECOVERY_TIME: Duration = Duration::from_millis(300);
/// Between two requests for a keyframe.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(250);

/// Why a server's answer is of no use. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It cannot be read, or does not fit the offer.
    #[error("the server's answer cannot be used: {0}")]
    Unusable(String),
    /// The session takes no second one.
    #[error("the server has answered already")]
    Twice,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    peer: Peer,
    video: Mid,
    pending: Option<SdpPendingOffer>,
    receiver: Option<Receiver>,
    /// Our source in reports of the receiver, which str0m writes itself.
    ssrc: u32,
    /// Until one is there: requests get lost like everything else.
    keyframe_wanted: bool,
    keyframe_asked: Option<Instant>,
    first_packet: Option<Instant>,
    /// A frame came.
    begun: bool,
    connected: bool,
}

impl Client {
    /// A session and its offer. `local` is where datagrams to it arrive.
    pub fn offer(
        identity: &Identity,
        local: SocketAddr,
        random: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> (Self, String) {
        let mut peer = Peer::offering(identity, local, now);
        let mut api = peer.rtc().sdp_api();
        let video = api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (sdp, pending) = match api.apply() {
            Some((offer, pending)) => (offer.to_sdp_string(), Some(pending)),
            None => (String::new(), None),
        };
        let client = Self {
            peer,
            video,
            pending,
            receiver: None,
            ssrc: random() as u32,
            keyframe_wanted: false,
            keyframe_asked: None,
            first_packet: None,
            begun: false,
            connected: false,
        };
        (client, sdp)
    }

    /// What the server answered.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn answer(&mut self, sdp: &str, now: Instant, out: &mut Outbox) -> Result<(), AnswerError> {
        let unusable = |error: &dyn std::fmt::Display| AnswerError::Unusable(error.to_string());
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|error| unusable(&error))?;
        let pending = self.pending.take().ok_or(AnswerError::Twice)?;
        let accepted = self.peer.rtc().sdp_api().accept_answer(pending, answer);
        accepted.map_err(|error| unusable(&error))?;
        self.peer.advance(Input::Timeout(now), out);
        Ok(())
    }

    /// Takes a datagram in. `false` when it is not this session's.
    pub fn receive(&mut self, datagram: Datagram<'_>, now: Moment, out: &mut Outbox) -> bool {
        let taken = self.peer.receive(datagram, now.at, out);
        self.ask(now.at, out);
        self.look_around(now);
        taken
    }

    /// To be called at [`Client::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Moment, out: &mut Outbox) {
        self.peer.handle_timeout(now.at, out);
        if let Some(receiver) = &mut self.receiver {
            receiver.handle_timeout(now.at);
        }
        self.ask(now.at, out);
        self.look_around(now);
    }

    /// When [`Client::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let receiver = self.receiver.as_ref().and_then(Receiver::poll_timeout);
        receiver.map_or(self.peer.poll_timeout(), |at| at.min(self.peer.poll_timeout()))
    }

    /// The next frame; call until `None` after each call that takes something in.
    pub fn poll_frame(&mut self) -> Option<Received> {
        let received = self.receiver.as_mut()?.poll()?;
        // What refers to a picture that is missing shows damage until the next keyframe.
        self.keyframe_wanted = !received.frame.keyframe && (self.keyframe_wanted || received.discontinuity);
        self.begun = true;
        Some(received)
    }

    /// ICE and DTLS are through.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether what came last shows damage: a picture before it is missing, and no keyframe came since.
    pub fn is_damaged(&self) -> bool {
        self.keyframe_wanted
    }

    /// Nothing comes any more.
    pub fn has_ended(&self) -> bool {
        self.peer.has_ended()
    }

    /// What came so far.
    pub fn stats(&self) -> ReceiverStats {
        self.receiver.as_ref().map(Receiver::stats).unwrap_or_default()
    }

    /// Says goodbye.
    pub fn close(&mut self, now: Instant, out: &mut Outbox) {
        self.peer.close(now, out);
    }

    /// For a keyframe, while one is wanted.
    fn ask(&mut self, now: Instant, out: &mut Outbox) {
        let recently = |at: Instant| now.saturating_duration_since(at) < KEYFRAME_INTERVAL;
        // Packets of pictures whose keyframe did not come: its first packet was overtaken, and what is before the first that is seen is nobody's.
        self.keyframe_wanted |= !self.begun && self.first_packet.is_some_and(|at| !recently(at));
        if !self.keyframe_wanted || self.peer.has_ended() || self.keyframe_asked.is_some_and(recently) {
            return;
        }
        if let Some(stream) = self.peer.rtc().direct_api().stream_rx_by_mid(self.video, None) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
            self.keyframe_asked = Some(now);
            self.peer.advance(Input::Timeout(now), out);
        }
    }

    fn look_around(&mut self, now: Moment) {
        while let Some(happened) = self.peer.poll() {
            match happened {
                Happened::Connected => self.connected = true,
                Happened::Ended(_) => {}
                Happened::Other(event) => {
                    if let str0m::Event::RtpPacket(packet) = &*event {
                        let payload_type = *packet.header.payload_type;
                        self.first_packet.get_or_insert(now.at);
                        let receiver = self.receiver.get_or_insert_with(|| receiver(payload_type, self.ssrc));
                        let arrival = Arrival {
                            at: now.at,
                            wall: now.wall,
                        };
                        receiver.receive_rtp(&plain(packet), arrival);
                    }
                }
            }
        }
    }
}

/// Only H.264 was offered, so whatever comes is that; which of its payload types the server chose shows in the first packet.
fn receiver(payload_type: u8, ssrc: u32) -> Receiver {
    let config = ReceiverConfig {
        track: TrackIndex(0),
        payload: Payload::of(Codec::H264),
        payload_type,
        format: Arc::new(Format::H264(h264::Format::default())),
        clock: Timescale::VIDEO,
        reordering: Some(Reordering {
            wait: RECOVERY_TIME,
            ..Reordering::default()
        }),
        abs_capture_time: Some(CAPTURE_TIME_ID),
        ssrc,
        cname: Arc::from("sightline"),
        max_unit_bytes: Depacketizer::DEFAULT_MAX_UNIT_BYTES,
    };
    Receiver::new(config, Timeline::default())
}
