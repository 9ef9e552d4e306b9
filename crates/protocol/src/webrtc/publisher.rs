//! A publisher: one WHIP session (RFC 9725).
//!
//! Belongs here: which of the offered tracks are received in which payload types. Does not belong here: from packets to frames
//! ([`super::inlets`]), who may publish.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::{Track, TrackIndex};
use str0m::media::Mid;

use super::answer::{ABS_CAPTURE_TIME, Accepted, MID, TRANSPORT_CC, Writing};
use super::codecs;
use super::inlets::Inlets;
use super::offer::{OfferedCodec, SectionKind};
use super::peer::{self, Datagram, Happened, Peer};
use super::{Answered, Config, Credentials, Event, Moment, Offer, Outbox, Refusal, Transport};
use crate::rtp::{Received, ReceiverStats};

/// How long packets wait for one that is asked for again: a few round trips of a usual line. What is missing then is missing.
const RECOVERY_TIME: Duration = Duration::from_millis(150);
/// Between two requests for a keyframe of ours.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);
/// The level that we accept, 5.2: what we do not decode has no limit but those of frames.
const RECEIVED_LEVEL: u8 = 0x34;

/// See the module.
#[derive(Debug)]
pub struct Publisher {
    peer: Peer,
    inlets: Inlets,
    tracks: Vec<Track>,
    events: VecDeque<Event>,
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
        self.inlets.handle_timeout(now.at);
        self.look_around(now, out);
    }

    /// When [`Publisher::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let inlets = self.inlets.poll_timeout();
        inlets.map_or(self.peer.poll_timeout(), |at| at.min(self.peer.poll_timeout()))
    }

    /// What happened; call until `None` after each call that takes something in.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next frame; call until `None` after each call that takes something in.
    pub fn poll_frame(&mut self) -> Option<Received> {
        self.inlets.poll_frame()
    }

    /// Asks for a keyframe, if the last request is long enough ago, and again until one comes: requests get lost like everything else.
    pub fn request_keyframe(&mut self, now: Moment, out: &mut Outbox) {
        self.inlets.want_keyframe();
        self.inlets.ask(&mut self.peer, now, out);
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
        self.inlets.stats()
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
                Happened::Other(event) => self.inlets.understand(&mut self.peer, &event, now),
            }
        }
        self.inlets.ask(&mut self.peer, now, out);
    }
}

/// Tells str0m which sources come in which section, as far as the offer says. Others are told apart by the section's name in their packets.
pub(super) fn expect(peer: &mut Peer, offer: &Offer, accepted: &[(Accepted<'_>, Mid)]) {
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

fn receivers(accepted: &[(Accepted<'_>, Mid)], random: &mut dyn FnMut() -> u64) -> (Vec<Track>, Inlets) {
    let mut inlets = Inlets::new(RECOVERY_TIME, KEYFRAME_INTERVAL);
    let tracks = accepted.iter().zip(0_u8..).filter_map(|((accepted, mid), index)| {
        let ask_plainly = accepted.codec.nack && !accepted.rtx;
        inlets.open(TrackIndex(index), accepted.codec, *mid, ask_plainly, random() as u32)
    });
    (tracks.collect(), inlets)
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
