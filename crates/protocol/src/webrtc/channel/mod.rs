//! The way to one viewer: ICE, the DTLS handshake and the keys for what travels.
//!
//! Belongs here: what a datagram is for, the order in which a session comes about, its end. Does not belong here: what is sent to a viewer
//! ([`super::viewer`]), publishers, which are driven through str0m as a whole ([`super::peer`]).
//!
//! str0m's parts are used one by one: its STUN messages and its DTLS. Its sessions queue, pace and copy each packet, which costs three times what sealing
//! it does; here a packet is written once, into the buffer that is sent.

mod handshake;
mod ice;
mod seek;
mod srtp;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::crypto::CryptoProvider;

use self::handshake::{Handshake, Told};
use self::ice::Lite;
pub(super) use self::ice::Way;
use self::seek::Seeker;
pub(super) use self::srtp::Srtp;
use super::offer::Setup;
use super::peer::{CONNECT_TIME, Datagram, Ended, is_rtcp};
use super::{Config, Credentials, Identity, Offer, Outbox, Refusal, Transport};

/// Datagrams of the handshake that wait for a way to be nominated. More than these are lost; DTLS sends them again.
const MAX_WAITING: usize = 8;
/// Longer than what has ended is kept.
const LONG: Duration = Duration::from_secs(86_400);

/// What happened that a viewer has to know.
#[derive(Debug)]
pub(super) enum Happened {
    /// ICE and DTLS are through.
    Connected,
    /// A compound packet of RTCP, opened.
    Rtcp(Vec<u8>),
    Ended(Ended),
}

/// Who looks for the way.
#[derive(Debug)]
enum Ice {
    /// The peer, whose offer it was.
    Found(Lite),
    /// We.
    Seeking(Seeker),
}

impl Ice {
    fn nominated(&self) -> Option<Way> {
        match self {
            Self::Found(lite) => lite.nominated(),
            Self::Seeking(seeker) => seeker.nominated(),
        }
    }

    fn remote(&self) -> Option<(Transport, SocketAddr)> {
        match self {
            Self::Found(lite) => lite.remote(),
            Self::Seeking(seeker) => seeker.remote(),
        }
    }

    fn remote_ufrag(&self) -> &str {
        match self {
            Self::Found(lite) => lite.remote_ufrag(),
            Self::Seeking(seeker) => seeker.remote_ufrag(),
        }
    }

    fn knows(&self, from: SocketAddr) -> bool {
        match self {
            Self::Found(lite) => lite.knows(from),
            Self::Seeking(seeker) => seeker.knows(from),
        }
    }

    fn silent_at(&self) -> Option<Instant> {
        match self {
            Self::Found(lite) => lite.silent_at(),
            Self::Seeking(seeker) => seeker.silent_at(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Found(_) => None,
            Self::Seeking(seeker) => seeker.poll_timeout(),
        }
    }

    fn handle_timeout(&mut self, crypto: &CryptoProvider, now: Instant, out: &mut Outbox) {
        match self {
            Self::Found(_) => {}
            Self::Seeking(seeker) => seeker.handle_timeout(crypto, now, out),
        }
    }

    fn receive(&mut self, datagram: Datagram<'_>, crypto: &CryptoProvider, now: Instant, out: &mut Outbox) -> bool {
        match self {
            Self::Found(lite) => lite.receive(datagram, crypto, now, out),
            Self::Seeking(seeker) => seeker.receive(datagram, crypto, now, out),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Channel {
    identity: Arc<Identity>,
    ice: Ice,
    handshake: Handshake,
    /// From when the handshake is through.
    srtp: Option<Box<Srtp>>,
    waiting: VecDeque<Box<[u8]>>,
    happened: VecDeque<Happened>,
    /// Until the session has come about.
    deadline: Option<Instant>,
    ended: bool,
    /// When nothing is due any more.
    never: Instant,
}

impl Channel {
    /// Ready for the peer's first datagram.
    pub(super) fn new(offer: &Offer, config: &Config, ours: &Credentials, now: Instant) -> Result<Self, Refusal> {
        let ice = Ice::Found(Lite::new(ours, &offer.credentials));
        Self::over(ice, offer, &config.identity, now)
    }

    /// The way to a peer whose answer to our offer this is. `local` is where we are, and `tie_breaker` decides when both want to be in control.
    pub(super) fn answered(
        answer: &Offer,
        identity: &Arc<Identity>,
        (ours, local): (&Credentials, SocketAddr),
        tie_breaker: u64,
        now: Instant,
    ) -> Result<Self, Refusal> {
        let credentials = (ours, &answer.credentials);
        let seeker = Seeker::new(credentials, local, &answer.candidates, tie_breaker, now);
        Self::over(Ice::Seeking(seeker), answer, identity, now)
    }

    fn over(ice: Ice, theirs: &Offer, identity: &Arc<Identity>, now: Instant) -> Result<Self, Refusal> {
        let active = theirs.setup == Setup::Passive;
        let handshake = Handshake::new(identity, theirs.fingerprint, active, now);
        Ok(Self {
            identity: Arc::clone(identity),
            ice,
            handshake: handshake.map_err(Refusal::Setup)?,
            srtp: None,
            waiting: VecDeque::new(),
            happened: VecDeque::new(),
            deadline: now.checked_add(CONNECT_TIME),
            ended: false,
            never: now.checked_add(LONG).unwrap_or(now),
        })
    }

    /// Where the peer is, as far as is known.
    pub(super) fn remote(&self) -> Option<(Transport, SocketAddr)> {
        self.ice.remote()
    }

    pub(super) fn remote_ufrag(&self) -> &str {
        self.ice.remote_ufrag()
    }

    /// The way and the keys for what is sent; `None` before the session has come about, and after its end.
    pub(super) fn open(&self) -> Option<(Way, &Srtp)> {
        let way = self.ice.nominated()?;
        let srtp = self.srtp.as_deref().filter(|_| !self.ended)?;
        Some((way, srtp))
    }

    /// Sends the compound packet of RTCP that `write` appends. Whether it could: not before the session has come about, nor after its end.
    pub(super) fn send_rtcp(&mut self, out: &mut Outbox, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let (Some(way), Some(srtp)) = (self.ice.nominated(), self.srtp.as_mut().filter(|_| !self.ended)) else {
            return false;
        };
        let written = out.write(way, |bytes, start| {
            write(bytes);
            srtp.seal_rtcp(bytes, start)
        });
        written.is_ok()
    }

    /// Takes a datagram in. `false` when it is not this session's.
    pub(super) fn receive(&mut self, datagram: Datagram<'_>, now: Instant, out: &mut Outbox) -> bool {
        let first = datagram.bytes.first().copied().unwrap_or(u8::MAX);
        if self.ended {
            return false;
        }
        // RFC 7983.
        match first {
            0..=3 => {
                let taken = self.ice.receive(datagram, &self.identity.crypto, now, out);
                if taken {
                    self.send_waiting(out);
                }
                taken
            }
            20..=63 if self.ice.knows(datagram.from) => {
                let step = |handshake: &mut Handshake, identity: &Identity, told: &mut dyn FnMut(Told)| {
                    handshake.receive(datagram.bytes, now, identity, told)
                };
                self.shake_hands(step, out);
                true
            }
            128..=191 if self.ice.knows(datagram.from) => {
                let srtp = self.srtp.as_mut().filter(|_| is_rtcp(datagram.bytes));
                let opened = srtp.and_then(|srtp| srtp.open_rtcp(datagram.bytes));
                self.happened.extend(opened.map(Happened::Rtcp));
                true
            }
            _ => false,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        if self.ended {
            return;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return self.end(Ended::NotConnected);
        }
        if self.lost_at().is_some_and(|at| at <= now) {
            return self.end(Ended::Lost);
        }
        self.ice.handle_timeout(&self.identity.crypto, now, out);
        let step = |handshake: &mut Handshake, identity: &Identity, told: &mut dyn FnMut(Told)| {
            handshake.handle_timeout(now, identity, told)
        };
        self.shake_hands(step, out);
    }

    /// When [`Channel::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        if self.ended {
            return self.never;
        }
        let others = [self.deadline, self.lost_at(), self.ice.poll_timeout()];
        let others = others.into_iter().flatten();
        others.fold(self.handshake.poll_timeout(), Instant::min)
    }

    pub(super) fn poll(&mut self) -> Option<Happened> {
        self.happened.pop_front()
    }

    /// Starts ICE anew, as who made the offer asks for it.
    pub(super) fn restart(&mut self, theirs: &Credentials, ours: &Credentials) {
        if let Ice::Found(lite) = &mut self.ice {
            lite.restart(theirs, ours);
        }
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, out: &mut Outbox) {
        if !self.ended {
            self.say_goodbye(out);
            self.end(Ended::Closed);
        }
    }

    fn say_goodbye(&mut self, out: &mut Outbox) {
        let waiting = &mut self.waiting;
        self.handshake.close(&self.identity, &mut |told| {
            if let Told::Datagram(datagram) = told {
                wait(waiting, datagram);
            }
        });
        self.send_waiting(out);
    }

    /// When a silent peer counts as gone. Before the session has come about, its deadline counts.
    fn lost_at(&self) -> Option<Instant> {
        self.ice.silent_at().filter(|_| self.deadline.is_none())
    }

    /// One step of the handshake, and what follows from it.
    fn shake_hands(
        &mut self,
        step: impl FnOnce(&mut Handshake, &Identity, &mut dyn FnMut(Told)) -> Result<(), String>,
        out: &mut Outbox,
    ) {
        let mut keys = None;
        let mut left = false;
        let waiting = &mut self.waiting;
        let done = step(&mut self.handshake, &self.identity, &mut |told| match told {
            Told::Datagram(datagram) => wait(waiting, datagram),
            Told::Connected(srtp) => keys = Some(srtp),
            Told::Left => left = true,
        });
        self.send_waiting(out);
        if let Err(why) = done {
            return self.end(Ended::Broken(why));
        }
        if let Some(keys) = keys {
            self.srtp = Some(keys);
            self.deadline = None;
            self.happened.push_back(Happened::Connected);
        }
        if left {
            // The peer waits for ours (RFC 5246 §7.2.1).
            self.say_goodbye(out);
            self.end(Ended::Left);
        }
    }

    /// Datagrams of the handshake go once there is a way, and in order.
    fn send_waiting(&mut self, out: &mut Outbox) {
        let Some(way) = self.ice.nominated() else { return };
        for datagram in self.waiting.drain(..) {
            out.push(way.transport, way.from, way.to, &datagram);
        }
    }

    fn end(&mut self, why: Ended) {
        if !self.ended {
            self.ended = true;
            self.happened.push_back(Happened::Ended(why));
        }
    }
}

fn wait(waiting: &mut VecDeque<Box<[u8]>>, datagram: Box<[u8]>) {
    if waiting.len() < MAX_WAITING {
        waiting.push_back(datagram);
    }
}
