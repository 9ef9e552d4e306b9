//! A browser's side of a session: str0m, with an offer of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::Clock as _;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use testkit::clock::{SimClock, SystemClock};
use testkit::link::{Link, Quality};

use super::super::{Datagram, Outbox, Transport};
use super::{CLIENT, IDENTITY, SERVER};

/// One side of the connection, ours.
pub(super) trait Ours {
    fn receive(&mut self, datagram: Datagram<'_>, clock: &SimClock, out: &mut Outbox);
    fn handle_timeout(&mut self, clock: &SimClock, out: &mut Outbox);
    fn poll_timeout(&self) -> Instant;
}

/// A client and the way between it and us.
pub(super) struct World {
    pub(super) clock: SimClock,
    pub(super) rtc: Rtc,
    pub(super) events: Vec<(Instant, Event)>,
    up: Link,
    down: Link,
    timeout: Instant,
    pub(super) out: Outbox,
    pending: Option<SdpPendingOffer>,
    /// The largest datagram of ours.
    pub(super) largest: usize,
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

impl World {
    pub(super) fn new(down: Quality, seed: u64, rtp_mode: bool) -> Self {
        // str0m's sender reports are in the wall time of this machine.
        let clock = SimClock::at(SystemClock.wall());
        // As Chromium offers them, the second when a page asks for it.
        let mut extensions = ExtensionMap::standard();
        extensions.set(5, Extension::PlayoutDelay);
        extensions.set(12, Extension::AbsoluteCaptureTime);
        let mut rtc = RtcConfig::new()
            .set_extension_map(extensions)
            .set_crypto_provider(IDENTITY.crypto.clone())
            .set_rtp_mode(rtp_mode)
            .set_reordering_size_video(300)
            .set_stats_interval(Some(Duration::from_secs(1)))
            .build(clock.now());
        let ours = Candidate::host(address(CLIENT), "udp").expect("a candidate");
        rtc.add_local_candidate(ours);
        let up = Quality { loss: 0.0, ..down };
        Self {
            timeout: clock.now(),
            clock,
            rtc,
            events: Vec::new(),
            up: Link::new(up, seed),
            down: Link::new(down, seed + 1),
            out: Outbox::new(),
            pending: None,
            largest: 0,
        }
    }

    /// An offer of one picture and one sound.
    pub(super) fn offer(&mut self, direction: Direction) -> String {
        let mut api = self.rtc.sdp_api();
        api.add_media(MediaKind::Video, direction, None, None, None);
        api.add_media(MediaKind::Audio, direction, None, None, None);
        let (offer, pending) = api.apply().expect("an offer");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    pub(super) fn answer(&mut self, sdp: &str) {
        let answer = SdpAnswer::from_sdp_string(sdp).expect("an answer that str0m reads");
        let pending = self.pending.take().expect("offered before");
        self.rtc
            .sdp_api()
            .accept_answer(pending, answer)
            .expect("an answer that fits");
    }

    pub(super) fn set_quality(&mut self, down: Quality) {
        self.down.set_quality(down);
    }

    pub(super) fn set_up_quality(&mut self, up: Quality) {
        self.up.set_quality(up);
    }

    /// Puts what we sent on its way.
    pub(super) fn carry(&mut self) {
        let now = self.clock.now();
        for (batch, packet) in self.out.datagrams() {
            assert_eq!((batch.from, batch.to), (address(SERVER), address(CLIENT)));
            self.largest = self.largest.max(packet.len());
            self.down.send(Bytes::copy_from_slice(packet), now);
        }
        self.out.clear();
    }

    fn poll_client(&mut self) {
        loop {
            match self.rtc.poll_output().expect("the client goes on") {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
                Output::Transmit(transmit) => self
                    .up
                    .send(Bytes::copy_from_slice(&transmit.contents), self.clock.now()),
                Output::Event(event) => self.events.push((self.clock.now(), event)),
            }
        }
    }

    /// Lets time pass, with everything that happens in it.
    pub(super) fn run(&mut self, ours: &mut dyn Ours, time: Duration) {
        let end = self.clock.now() + time;
        loop {
            self.poll_client();
            self.carry();
            let arrivals = [self.up.next_arrival(), self.down.next_arrival()];
            let next = arrivals
                .into_iter()
                .flatten()
                .chain([self.timeout, ours.poll_timeout()])
                .min();
            let next = next.expect("one of four").max(self.clock.now()).min(end);
            self.clock.advance(next - self.clock.now());
            let now = self.clock.now();
            while let Some(datagram) = self.up.poll(now) {
                let datagram = Datagram {
                    transport: Transport::Udp,
                    from: address(CLIENT),
                    to: address(SERVER),
                    bytes: &datagram,
                };
                ours.receive(datagram, &self.clock, &mut self.out);
            }
            self.carry();
            while let Some(datagram) = self.down.poll(now) {
                let received = Receive::new(Protocol::Udp, address(SERVER), address(CLIENT), &datagram);
                let input = Input::Receive(now, received.expect("a datagram of ours"));
                self.rtc.handle_input(input).expect("the client takes it");
                self.poll_client();
            }
            if ours.poll_timeout() <= now {
                ours.handle_timeout(&self.clock, &mut self.out);
            }
            if self.timeout <= now {
                self.rtc.handle_input(Input::Timeout(now)).expect("the client goes on");
            }
            if now >= end {
                self.poll_client();
                self.carry();
                return;
            }
        }
    }
}
