//! A viewer: one WHEP session.
//!
//! Belongs here: what a viewer is sent and when, what its reports and requests mean. Does not belong here: which frames it is given
//! ([`media::hub`] and the driver), which tracks it gets ([`super::choice`]), packets ([`super::outlet`]), ICE and DTLS ([`super::channel`]).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::{Kind, Track, TrackIndex, time};

use super::answer::Writing;
use super::channel::{Channel, Happened};
use super::choice::{choose, describe, receives};
use super::estimate::Estimator;
use super::flight::Flight;
use super::form::Form;
use super::offer::SectionKind;
use super::outlet::{Outlet, Sending};
use super::peer::Datagram;
use super::playout::{Delay, Playout};
use super::rendition::Rendition;
use super::{Answered, Config, Credentials, Event, Moment, Offer, Outbox, Refusal, Report, Transport};
use crate::rtp::feedback::Arrivals;
use crate::rtp::rtcp::{self, Packet, ReportBlock};

/// How long after its beginning a viewer's reports say nothing about its way.
const SETTLING_TIME: Duration = Duration::from_secs(3);
/// How often sender reports go, and how soon after the first frame.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const FIRST_REPORT: Duration = Duration::from_millis(100);
/// They wait a little for the next frame, with which they go without waking anybody.
const REPORT_PATIENCE: Duration = Duration::from_millis(100);
/// Sender reports of which is remembered when they were sent: the viewer's name the one they answer.
const KEPT_REPORTS: usize = 4;
/// A viewer's clock is answered no more often than this: once is enough for all that it receives.
const TIME_INTERVAL: Duration = Duration::from_millis(100);
/// What its answer says of our delay, in 1/65,536 s: as little as there can be, since some read zero as that nothing came.
const AT_ONCE: u32 = 1;
/// Our name in RTCP, as the answer has it.
const CNAME: &str = "sightline";

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

/// See the module.
#[derive(Debug)]
pub struct Viewer {
    channel: Channel,
    outlets: Vec<Outlet>,
    delay: Delay,
    /// Since when.
    connected: Option<Instant>,
    events: VecDeque<Event>,
    /// When a frame was sent last, on both clocks: sender reports follow a clock that is set.
    clock: Option<Moment>,
    report_due: Option<Instant>,
    /// The middle of their NTP time, and when they were sent.
    reports: VecDeque<(u32, Instant)>,
    round_trip: Option<Duration>,
    /// When the viewer was told our delay last.
    time_answered: Option<Instant>,
    flight: Flight,
    estimator: Estimator,
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
        let channel = Channel::new(offer, config, &ours, now)?;
        let sections: Vec<_> = accepted.into_iter().map(|(accepted, _)| accepted).collect();
        let writing = Writing {
            offer,
            config,
            credentials: ours,
            session_id: random(),
            left_out,
        };
        let first = random() as u16;
        let session = Self::over(channel, outlets, view.playout, first, now);
        Ok(writing.answered(session, &sections))
    }

    /// Sends by this channel what these outlets are for. `first` is the number of the first packet that is told apart by it.
    pub(super) fn over(channel: Channel, outlets: Vec<Outlet>, playout: Playout, first: u16, now: Instant) -> Self {
        Self {
            channel,
            outlets,
            delay: Delay::new(playout),
            connected: None,
            events: VecDeque::new(),
            clock: None,
            report_due: None,
            reports: VecDeque::new(),
            round_trip: None,
            time_answered: None,
            flight: Flight::new(first, now),
            estimator: Estimator::default(),
        }
    }

    /// Takes a datagram in. `false` when it is not this session's.
    pub fn receive(&mut self, datagram: Datagram<'_>, now: Instant, out: &mut Outbox) -> bool {
        let taken = self.channel.receive(datagram, now, out);
        self.look_around(now, out);
        taken
    }

    /// To be called at [`Viewer::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.channel.handle_timeout(now, out);
        self.report_when_due(now, out);
        self.look_around(now, out);
    }

    /// When [`Viewer::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let due = self.report_due.and_then(|due| due.checked_add(REPORT_PATIENCE));
        due.map_or(self.channel.poll_timeout(), |due| due.min(self.channel.poll_timeout()))
    }

    /// What happened; call until `None` after each call that takes something in.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Where the viewer is, as far as is known.
    pub fn remote(&self) -> Option<(Transport, SocketAddr)> {
        self.channel.remote()
    }

    /// The peer's own name in ICE.
    pub fn remote_ufrag(&self) -> &str {
        self.channel.remote_ufrag()
    }

    /// The codecs that it gets.
    pub fn tracks(&self) -> impl Iterator<Item = TrackIndex> {
        self.outlets.iter().map(|outlet| outlet.track)
    }

    /// Sends the packets of one frame. Nothing is sent of a track that was left out, and before [`Event::Connected`].
    pub fn send(&mut self, track: TrackIndex, form: &Form, now: Moment, out: &mut Outbox) -> Sent {
        self.send_with((Rendition::Full, Duration::ZERO), track, form, now, out)
    }

    /// The same of a frame that waited so long for its turn, which its timestamp says. Its capture time is what it is.
    pub fn send_late(&mut self, late: Duration, track: TrackIndex, form: &Form, now: Moment, out: &mut Outbox) -> Sent {
        self.send_with((Rendition::Full, late), track, form, now, out)
    }

    /// The same of a picture of this rendition, in place of one of the track: of the lower one it is of another stream, with timestamps of its own.
    pub fn send_of(
        &mut self,
        rendition: Rendition,
        track: TrackIndex,
        form: &Form,
        now: Moment,
        out: &mut Outbox,
    ) -> Sent {
        self.send_with((rendition, Duration::ZERO), track, form, now, out)
    }

    fn send_with(
        &mut self,
        (rendition, late): (Rendition, Duration),
        track: TrackIndex,
        form: &Form,
        now: Moment,
        out: &mut Outbox,
    ) -> Sent {
        let outlet = self.outlets.iter_mut().find(|outlet| outlet.track == track);
        let (Some(outlet), Some((way, srtp))) = (outlet, self.channel.open()) else {
            return Sent::default();
        };
        let mut sending = Sending {
            srtp,
            way,
            playout: self.delay.values(),
            now: now.at,
            flight: &mut self.flight,
            out,
        };
        let sent = outlet.send(form, rendition, late, &mut sending);
        self.clock = Some(now);
        if self.report_due.is_none() {
            self.report_due = now.at.checked_add(FIRST_REPORT);
        }
        self.report_when_due(now.at, out);
        sent
    }

    /// Starts ICE anew, and returns our new credentials.
    pub fn restart(&mut self, theirs: &Credentials, random: &mut dyn FnMut() -> u64) -> Credentials {
        let ours = Credentials::random(random);
        self.channel.restart(theirs, &ours);
        ours
    }

    /// Says goodbye. [`Event::Ended`] follows.
    pub fn close(&mut self, now: Instant, out: &mut Outbox) {
        let sources: Vec<_> = self.outlets.iter().map(|outlet| outlet.ssrc).collect();
        if let Some(&first) = sources.first() {
            // What fails here would have been a courtesy.
            self.channel.send_rtcp(out, |bytes| {
                rtcp::write_receiver_report(first, &[], CNAME, bytes);
                rtcp::write_goodbye(sources, bytes);
            });
        }
        self.report_due = None;
        self.channel.close(out);
        self.look_around(now, out);
    }

    fn look_around(&mut self, now: Instant, out: &mut Outbox) {
        while let Some(happened) = self.channel.poll() {
            match happened {
                Happened::Connected => {
                    self.connected = Some(now);
                    self.events.push_back(Event::Connected);
                }
                Happened::Ended(why) => {
                    self.report_due = None;
                    self.events.push_back(Event::Ended(why));
                }
                Happened::Rtcp(packet) => self.understand(&packet, now, out),
            }
        }
    }

    fn understand(&mut self, packet: &[u8], now: Instant, out: &mut Outbox) {
        let mut keyframe_wanted = false;
        // What cannot be read is the viewer's own harm.
        for packet in rtcp::parse(packet).unwrap_or_default() {
            match packet {
                Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } => {
                    blocks.iter().for_each(|block| self.note(block, now));
                }
                Packet::Missing { ssrc, sequences } => keyframe_wanted |= self.repeat(ssrc, &sequences, now, out),
                Packet::ReferenceTime { ssrc, ntp } => self.answer_time(ssrc, ntp, now, out),
                Packet::KeyframeWanted => keyframe_wanted = true,
                Packet::Arrivals(arrivals) => self.estimate(&arrivals, now),
                // Who tells when packets come is judged by that.
                Packet::MaxBitrate { bits_per_second } if !self.is_numbered() => {
                    self.events.push_back(Event::Estimate { bits_per_second });
                }
                Packet::MaxBitrate { .. } | Packet::Name { .. } => {}
            }
        }
        if keyframe_wanted {
            self.events.push_back(Event::KeyframeWanted);
        }
    }

    fn is_numbered(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.extensions.are_numbered())
    }

    fn estimate(&mut self, arrivals: &Arrivals, now: Instant) {
        let Some(observation) = self.flight.understand(arrivals, now) else {
            return;
        };
        self.estimator.observe(&observation, self.flight.micros(now));
        let estimate = self.estimator.bits_per_second();
        self.events
            .extend(estimate.map(|bits_per_second| Event::Estimate { bits_per_second }));
    }

    /// What a viewer says of one source.
    fn note(&mut self, block: &ReportBlock, now: Instant) {
        let Some(outlet) = self.outlets.iter().find(|outlet| outlet.ssrc == block.ssrc) else {
            return;
        };
        let jitter_us = i64::from(block.jitter_ticks).saturating_mul(1_000_000) / i64::from(outlet.clock.hz());
        let answered = self.reports.iter().find(|(ntp, _)| *ntp == block.last_sender_report);
        if let Some((_, sent)) = answered {
            let held = u64::from(block.delay_since_last_sender_report) * 1_000_000 / 65_536;
            let away = now.saturating_duration_since(*sent);
            self.round_trip = away.checked_sub(Duration::from_micros(held)).or(self.round_trip);
        }
        // A burst of pictures that are older looks like jitter, which is forgotten after some packets.
        let settled = |since| now.saturating_duration_since(since) >= SETTLING_TIME;
        if self.connected.is_some_and(settled) {
            self.delay.jitter(Duration::from_micros(jitter_us.unsigned_abs()), now);
        }
        self.events.push_back(Event::Report(Report {
            track: outlet.track,
            lost: u64::try_from(block.lost).unwrap_or(0),
            jitter_us,
            round_trip_us: self.round_trip.map(time::micros),
        }));
    }

    /// Whether what is missing can only be made good by a keyframe.
    fn repeat(&mut self, ssrc: u32, sequences: &[u16], now: Instant, out: &mut Outbox) -> bool {
        let outlet = self.outlets.iter_mut().find(|outlet| outlet.ssrc == ssrc);
        if let (Some(outlet), Some((way, srtp))) = (outlet, self.channel.open()) {
            let mut sending = Sending {
                srtp,
                way,
                playout: self.delay.values(),
                now,
                flight: &mut self.flight,
                out,
            };
            return outlet.repeat(sequences, self.round_trip, &mut sending);
        }
        false
    }

    /// By our answer a viewer knows the round trip, and with it when to ask again for what it misses.
    fn answer_time(&mut self, theirs: u32, ntp: u64, now: Instant, out: &mut Outbox) {
        let just_now = |at| now.saturating_duration_since(at) < TIME_INTERVAL;
        let Some(ours) = self.outlets.first().map(|outlet| outlet.ssrc) else {
            return;
        };
        if self.time_answered.is_some_and(just_now) {
            return;
        }
        // One that is lost is asked for again.
        let answered = self.channel.send_rtcp(out, |bytes| {
            rtcp::write_receiver_report(ours, &[], CNAME, bytes);
            rtcp::write_reference_answer(ours, theirs, middle(ntp), AT_ONCE, bytes);
        });
        if answered {
            self.time_answered = Some(now);
        }
    }

    /// Sender reports of all that is sent, in one datagram.
    fn report_when_due(&mut self, now: Instant, out: &mut Outbox) {
        let (Some(due), Some(clock)) = (self.report_due, self.clock) else {
            return;
        };
        if due > now {
            return;
        }
        self.report_due = now.checked_add(REPORT_INTERVAL);
        for repeats in self.outlets.iter_mut().filter_map(|outlet| outlet.repeats.as_mut()) {
            repeats.forget(now);
        }
        let wall = clock
            .wall
            .offset_micros(time::micros(now.saturating_duration_since(clock.at)));
        let outlets = &self.outlets;
        let sent = self.channel.send_rtcp(out, |bytes| {
            for info in outlets.iter().filter_map(|outlet| outlet.report(wall)) {
                rtcp::write_sender_report(info, &[], CNAME, bytes);
            }
        });
        if sent {
            if self.reports.len() >= KEPT_REPORTS {
                self.reports.pop_front();
            }
            self.reports.push_back((middle(wall.to_ntp()), now));
        }
    }
}

/// What reports repeat of a time (RFC 3550 §6.4.1, RFC 3611 §4.5).
fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}
