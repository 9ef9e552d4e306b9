//! A viewer: one WHEP session.
//!
//! Belongs here: which tracks it gets in which payload types, its packets' numbers and header extensions, what it says by RTCP. Does not
//! belong here: which frames it is given ([`media::hub`] and the driver).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use media::hub::MAX_TRACKS;
use media::{Codec, Format, Kind, Timescale, Track, TrackIndex, WallTime, time};
use str0m::Input;
use str0m::media::{MediaTime, Mid, Pt};
use str0m::rtp::{AbsCaptureTime, ExtensionValues, RtpWrite, Ssrc};

use super::answer::{ABS_CAPTURE_TIME, Accepted, PLAYOUT_DELAY, Writing};
use super::codecs;
use super::form::Form;
use super::offer::{OfferedCodec, Section, SectionKind};
use super::peer::{self, Datagram, Happened, Peer};
use super::playout::{Delay, Playout};
use super::{Answered, Config, Credentials, Event, Moment, Offer, Outbox, Refusal, Report, Transport};
use crate::rtp::clock;

/// Packets of a track that can be sent again, and for how long. What is kept is a reference to the form that all viewers share, and a header.
const RTX_PACKETS: usize = 128;
const RTX_TIME: Duration = Duration::from_secs(1);
/// Largest share of repeated bytes in a second: half. A still picture's stream is little more than its keyframes, and a lost one must come again.
const RTX_SHARE: f32 = 0.5;

/// How long after its beginning a viewer's reports say nothing about its way.
const SETTLING_TIME: Duration = Duration::from_secs(3);

/// What a viewer is to see.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The stream's tracks.
    pub tracks: &'a [Track],
    /// Its pictures are shown in another order than they are sent in ([`super::reorders`] over a group of pictures).
    pub reorders: bool,
    /// What the viewer wishes.
    pub playout: Playout,
}

/// What was sent of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// RTP packets.
    pub packets: usize,
    /// Bytes of their payloads.
    pub bytes: usize,
}

/// A track as this viewer gets it.
#[derive(Debug)]
struct Outlet {
    track: TrackIndex,
    mid: Mid,
    ssrc: Ssrc,
    payload_type: Pt,
    clock: Timescale,
    /// Extended, so that the encryption's counter goes on when the 16 bits come round.
    sequence: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Viewer {
    peer: Peer,
    outlets: Vec<Outlet>,
    delay: Delay,
    /// Since when.
    connected: Option<Instant>,
    events: VecDeque<Event>,
}

impl Viewer {
    /// Answers an offer with as many of the tracks as it has room for.
    ///
    /// # Errors
    /// [`Refusal`], when the picture, or all of a stream that is sound alone, could not be played.
    pub fn answer(
        offer: &Offer,
        view: View<'_>,
        config: &Config,
        random: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Result<Answered<Self>, Refusal> {
        let offered = || offer.offered();
        let has_picture = |track: &&Track| track.kind() == Kind::Video;
        let wants_picture = offer
            .sections
            .iter()
            .any(|section| section.kind == SectionKind::Video && receives(section));
        if view.reorders && wants_picture && view.tracks.iter().any(|track| has_picture(&track)) {
            return Err(Refusal::Reordered { offered: offered() });
        }
        let (accepted, outlets, left_out) = choose(offer, view.tracks, random);
        let got = |track: &Track| outlets.iter().any(|outlet| outlet.track == track.index);
        let picture_missing = wants_picture && view.tracks.iter().any(|track| has_picture(&track) && !got(track));
        let codec = view
            .tracks
            .iter()
            .find(has_picture)
            .or(view.tracks.first())
            .map(|track| track.format.codec());
        if let (true, Some(codec)) = (accepted.is_empty() || picture_missing, codec) {
            let has: Vec<_> = view.tracks.iter().map(|track| describe(&track.format)).collect();
            return Err(Refusal::NoCommonCodec {
                has: has.join(" and "),
                offered: offered(),
                codec,
            });
        }
        let ours = Credentials::random(random);
        let mut peer = Peer::new(offer, &accepted, config, &ours, now)?;
        for outlet in &outlets {
            let repeats = accepted
                .iter()
                .find(|(_, mid)| *mid == outlet.mid)
                .and_then(|(accepted, _)| accepted.sends?.1)
                .map(Ssrc::from);
            let mut direct = peer.rtc().direct_api();
            let stream = direct.declare_stream_tx(outlet.ssrc, repeats, outlet.mid, None);
            stream.set_rtx_cache(RTX_PACKETS, RTX_TIME, Some(RTX_SHARE));
        }
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
            outlets,
            delay: Delay::new(view.playout),
            connected: None,
            events: VecDeque::new(),
        };
        Ok(writing.answered(session, &sections))
    }

    /// Takes a datagram in. `false` when it is not this session's.
    pub fn receive(&mut self, datagram: Datagram<'_>, now: Instant, out: &mut Outbox) -> bool {
        let taken = self.peer.receive(datagram, now, out);
        self.look_around(now);
        taken
    }

    /// To be called at [`Viewer::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.peer.handle_timeout(now, out);
        self.look_around(now);
    }

    /// When [`Viewer::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        self.peer.poll_timeout()
    }

    /// What happened; call until `None` after each call that takes something in.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Where the viewer is, as far as is known.
    pub fn remote(&self) -> Option<(Transport, SocketAddr)> {
        self.peer.remote()
    }

    /// The peer's own name in ICE.
    pub fn remote_ufrag(&self) -> &str {
        self.peer.remote_ufrag()
    }

    /// The codecs that it gets.
    pub fn tracks(&self) -> impl Iterator<Item = TrackIndex> {
        self.outlets.iter().map(|outlet| outlet.track)
    }

    /// Sends the packets of one frame. Nothing is sent of a track that was left out, and before [`Event::Connected`].
    pub fn send(&mut self, track: TrackIndex, form: &Form, now: Moment, out: &mut Outbox) -> Sent {
        if self.connected.is_none() || self.peer.has_ended() {
            return Sent::default();
        }
        let Some(outlet) = self.outlets.iter_mut().find(|outlet| outlet.track == track) else {
            return Sent::default();
        };
        let extensions = extensions(form.capture.at, self.delay.values());
        let captured = captured(form.capture.at, now);
        let mut direct = self.peer.rtc().direct_api();
        let Some(stream) = direct.stream_tx(&outlet.ssrc) else {
            return Sent::default();
        };
        let mut sent = Sent::default();
        for payload in &form.payloads {
            let packet = RtpWrite::new(
                outlet.payload_type,
                outlet.sequence.into(),
                payload.timestamp,
                captured,
                std::sync::Arc::clone(&payload.bytes),
            );
            let packet = packet
                .marker(payload.marker)
                .ext_vals(extensions.clone())
                .nackable(true);
            stream.write_rtp(packet);
            outlet.sequence = outlet.sequence.wrapping_add(1);
            sent.packets += 1;
            sent.bytes += payload.bytes.len();
        }
        self.peer.advance(Input::Timeout(now.at), out);
        self.look_around(now.at);
        sent
    }

    /// Starts ICE anew, and returns our new credentials.
    pub fn restart(&mut self, theirs: &Credentials, random: &mut dyn FnMut() -> u64) -> Credentials {
        let ours = Credentials::random(random);
        self.peer.restart(theirs, &ours);
        ours
    }

    /// Says goodbye. [`Event::Ended`] follows.
    pub fn close(&mut self, now: Instant, out: &mut Outbox) {
        self.peer.close(now, out);
        self.look_around(now);
    }

    fn look_around(&mut self, now: Instant) {
        while let Some(happened) = self.peer.poll() {
            let event = match happened {
                Happened::Connected => {
                    self.connected = Some(now);
                    Some(Event::Connected)
                }
                Happened::Ended(why) => Some(Event::Ended(why)),
                Happened::Other(event) => self.understand(&event, now),
            };
            self.events.extend(event);
        }
    }

    fn understand(&mut self, event: &str0m::Event, now: Instant) -> Option<Event> {
        match event {
            str0m::Event::KeyframeRequest(_) => Some(Event::KeyframeWanted),
            str0m::Event::MediaEgressStats(stats) => {
                let remote = stats.remote.as_ref()?;
                let outlet = self.outlets.iter().find(|outlet| outlet.mid == stats.mid)?;
                let jitter_us = i64::from(remote.jitter).saturating_mul(1_000_000) / i64::from(outlet.clock.hz());
                // A burst of pictures that are older looks like jitter, which is forgotten after some packets.
                let settled = |since| now.saturating_duration_since(since) >= SETTLING_TIME;
                if self.connected.is_some_and(settled) {
                    self.delay.jitter(Duration::from_micros(jitter_us.unsigned_abs()), now);
                }
                Some(Event::Report(Report {
                    track: outlet.track,
                    lost: remote.packets_lost,
                    jitter_us,
                    round_trip_us: stats.rtt.map(time::micros),
                }))
            }
            _ => None,
        }
    }
}

/// Which sections get which tracks, what is sent in them, and what is left out.
fn choose<'a>(
    offer: &'a Offer,
    tracks: &[Track],
    random: &mut dyn FnMut() -> u64,
) -> (Vec<(Accepted<'a>, Mid)>, Vec<Outlet>, Vec<String>) {
    let mut accepted: Vec<(Accepted<'_>, Mid)> = Vec::new();
    let mut outlets: Vec<Outlet> = Vec::new();
    let mut left_out = Vec::new();
    for track in tracks.iter().take(MAX_TRACKS) {
        let name = track.format.codec().name();
        if let Some(why) = codecs::never(&track.format) {
            left_out.push(format!("{name}: {why}"));
            continue;
        }
        let sections = offer.sections.iter().zip(0_usize..);
        let found = sections.into_iter().find_map(|(section, position)| {
            let codec = fitting(offer, section, position, &accepted, track)?;
            Some((section, position, codec))
        });
        let Some((section, position, codec)) = found else {
            left_out.push(format!("{name}: the offer has no room for it"));
            continue;
        };
        let (mid, _) = peer::mid(&section.mid, position);
        let rtx = codec.rtx.is_some() && codec.nack && section.kind == SectionKind::Video;
        let (source, repeats) = sources(&outlets, random);
        let extensions = peer::agreed(&section.extensions, &[PLAYOUT_DELAY, ABS_CAPTURE_TIME], &accepted);
        accepted.push((
            Accepted {
                section: position,
                codec,
                parameters: parameters(&track.format, codec),
                extensions,
                rtx,
                sends: Some((source, rtx.then_some(repeats))),
            },
            mid,
        ));
        outlets.push(Outlet {
            track: track.index,
            mid,
            ssrc: source.into(),
            payload_type: codec.payload_type.into(),
            clock: clock(&track.format),
            // The encryption's counter begins at zero: the first number leaves room before it comes round.
            sequence: random() & 0x7fff,
        });
    }
    (accepted, outlets, left_out)
}

/// The payload type for a track, of a section that is free for it.
fn fitting<'a>(
    offer: &Offer,
    section: &'a Section,
    position: usize,
    accepted: &[(Accepted<'_>, Mid)],
    track: &Track,
) -> Option<&'a OfferedCodec> {
    let kind = match track.kind() {
        Kind::Video => SectionKind::Video,
        Kind::Audio => SectionKind::Audio,
    };
    if section.kind != kind || !receives(section) {
        return None;
    }
    let codec = codecs::to_send(section, &track.format)?;
    let fits_beside = |(other, mid): &(Accepted<'_>, Mid)| {
        let Some(theirs) = offer.sections.get(other.section) else {
            return false;
        };
        let shared = other.section != position && offer.bundled(&theirs.mid, &section.mid) && theirs.mid != section.mid;
        shared && *mid != peer::mid(&section.mid, position).0 && other.codec.payload_type != codec.payload_type
    };
    accepted.iter().all(fits_beside).then_some(codec)
}

fn receives(section: &Section) -> bool {
    section.direction.receives && section.rtcp_mux && !section.disabled
}

/// Two sources that are neither zero nor anybody else's of this session.
fn sources(outlets: &[Outlet], random: &mut dyn FnMut() -> u64) -> (u32, u32) {
    let known: Vec<u32> = outlets.iter().map(|outlet| *outlet.ssrc).collect();
    // Even ones are sources, odd ones repeat: no two of a session are ever the same.
    let mut source = (random() as u32) & !1;
    while source == 0 || known.contains(&source) {
        source = source.wrapping_add(2);
    }
    (source, source | 1)
}

/// Our `a=fmtp`: the profile as offered, which is how the peer finds its own line again, and the stream's level.
fn parameters(format: &Format, codec: &OfferedCodec) -> String {
    match format {
        Format::H264(h264) => {
            let [profile, constraints, level] = codecs::profile_level_id(codec).unwrap_or([0x42, 0, 0x1f]);
            let level = h264.profile_level_id().map_or(level, |[_, _, own]| own);
            format!(
                "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile:02x}{constraints:02x}{level:02x}"
            )
        }
        Format::H265(_) => codec.parameters.clone(),
        Format::Opus(opus) if opus.channels > 1 => "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1".to_owned(),
        Format::Opus(_) => "minptime=10;useinbandfec=1".to_owned(),
        Format::Aac(_) | Format::G711(_) => String::new(),
    }
}

/// A format, for people.
fn describe(format: &Format) -> String {
    match format {
        Format::H264(h264) => h264
            .codec_string()
            .map_or("H.264".to_owned(), |string| format!("H.264 ({string})")),
        Format::H265(h265) => h265
            .codec_string()
            .map_or("H.265".to_owned(), |string| format!("H.265 ({string})")),
        Format::Aac(_) | Format::Opus(_) | Format::G711(_) => Codec::name(format.codec()).to_owned(),
    }
}

/// Header extensions of all packets of a frame, the same in each, so that packets of equal payloads are equal in size. str0m writes those
/// that were agreed on.
fn extensions(captured: WallTime, (least, most): (u16, u16)) -> ExtensionValues {
    ExtensionValues {
        play_delay_min: Some(MediaTime::from_hundredths(u64::from(least))),
        play_delay_max: Some(MediaTime::from_hundredths(u64::from(most))),
        abs_capture_time: system_time(captured).map(|capture_time| AbsCaptureTime {
            capture_time,
            clock_offset: None,
        }),
        ..ExtensionValues::default()
    }
}

fn system_time(wall: WallTime) -> Option<SystemTime> {
    let micros = u64::try_from(wall.unix_micros()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros))
}

/// When a picture was captured, on the clock of intervals: sender reports go by it. Never later than now, which str0m could not report.
fn captured(capture: WallTime, now: Moment) -> Instant {
    let age = u64::try_from(now.wall.micros_since(capture)).unwrap_or(0);
    now.at.checked_sub(Duration::from_micros(age)).unwrap_or(now.at)
}
