//! ICE of the side that looks for the way (RFC 8445): it checks the peer's addresses, and takes the first that answers.
//!
//! Belongs here: which address is asked when, which one is taken, when the peer was last heard of. Does not belong here: the lite side, which waits to be
//! found ([`super::ice`]), candidates of ours, which the offer names.
//!
//! One socket of ours, and of the peer what its answer names and from where it asks: relays and candidates that come later are left out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::crypto::CryptoProvider;
use str0m::ice::{StunMessage, TransId};

use super::super::peer::Datagram;
use super::super::{Credentials, Outbox, Transport};
use super::ice::{self, SILENCE, Way};

/// Addresses of a peer that are asked, those from which it asked us included.
const MAX_ADDRESSES: usize = 32;
/// Between the first questions to two addresses (RFC 8445 §14.2 has 50 ms, for many more of them).
const PACE: Duration = Duration::from_millis(20);
/// Until an address is asked again, at first and at most.
const ASK_AGAIN: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(400);
/// How often the way that is taken is asked whether it still is one: as browsers do, and well within the 30 s of RFC 7675.
const CONSENT: Duration = Duration::from_millis(2_500);
/// Questions to one address whose answers count.
const MAX_ASKED: usize = 4;
/// Larger than any question.
const QUESTION_BYTES: usize = 768;
/// Of an address from which the peer sees us and that no offer names (RFC 8445 §5.1.2.1, §7.1.1).
const PEER_REFLEXIVE: u32 = (110 << 24) | (0xffff << 8) | 255;

/// See the module.
#[derive(Debug)]
pub(super) struct Seeker {
    ours: Credentials,
    theirs: Credentials,
    local: SocketAddr,
    /// Decides when both sides want to be in control.
    tie_breaker: u64,
    addresses: Vec<Address>,
    /// Index of the one that is taken.
    taken: Option<usize>,
    heard: Option<Instant>,
}

#[derive(Debug)]
struct Address {
    at: SocketAddr,
    /// What was asked last, and whether that named it the way.
    asked: VecDeque<(TransId, bool)>,
    interval: Duration,
    due: Instant,
    /// It answered the question that named it the way.
    settled: bool,
}

impl Address {
    fn new(at: SocketAddr, due: Instant) -> Self {
        Self {
            at,
            asked: VecDeque::new(),
            interval: ASK_AGAIN,
            due,
            settled: false,
        }
    }
}

impl Seeker {
    /// Asks `theirs` at these addresses, from `local`.
    pub(super) fn new(
        (ours, theirs): (&Credentials, &Credentials),
        local: SocketAddr,
        addresses: &[SocketAddr],
        tie_breaker: u64,
        now: Instant,
    ) -> Self {
        let same_family = (addresses.iter()).filter(|address| address.is_ipv4() == local.is_ipv4());
        let addresses = same_family.take(MAX_ADDRESSES).zip(0_u32..).map(|(at, number)| {
            let due = now.checked_add(PACE.saturating_mul(number)).unwrap_or(now);
            Address::new(*at, due)
        });
        Self {
            ours: ours.clone(),
            theirs: theirs.clone(),
            local,
            tie_breaker,
            addresses: addresses.collect(),
            taken: None,
            heard: None,
        }
    }

    /// The way that is taken.
    pub(super) fn nominated(&self) -> Option<Way> {
        let taken = self.addresses.get(self.taken?)?;
        Some(Way {
            transport: Transport::Udp,
            from: self.local,
            to: taken.at,
        })
    }

    /// Where the peer is, as far as is known.
    pub(super) fn remote(&self) -> Option<(Transport, SocketAddr)> {
        let asked = || (self.addresses.first()).map(|address| (Transport::Udp, address.at));
        self.nominated().map(|way| (way.transport, way.to)).or_else(asked)
    }

    pub(super) fn remote_ufrag(&self) -> &str {
        &self.theirs.ufrag
    }

    /// Whether something came from where the peer is.
    pub(super) fn knows(&self, from: SocketAddr) -> bool {
        self.addresses.iter().any(|address| address.at == from)
    }

    /// When the peer counts as gone, once it was heard of.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        self.heard?.checked_add(SILENCE)
    }

    /// When [`Seeker::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.taken {
            Some(taken) => self.addresses.get(taken).map(|address| address.due),
            None => self.addresses.iter().map(|address| address.due).min(),
        }
    }

    pub(super) fn handle_timeout(&mut self, crypto: &CryptoProvider, now: Instant, out: &mut Outbox) {
        for at in 0..self.addresses.len() {
            let is_due = self.addresses.get(at).is_some_and(|address| address.due <= now);
            if is_due && self.taken.is_none_or(|taken| taken == at) {
                self.ask(at, crypto, now, out);
            }
        }
    }

    /// Takes a check of the peer, or its answer to ours. `false` when it is none for this session.
    pub(super) fn receive(
        &mut self,
        datagram: Datagram<'_>,
        crypto: &CryptoProvider,
        now: Instant,
        out: &mut Outbox,
    ) -> bool {
        let Ok(message) = StunMessage::parse(datagram.bytes) else {
            return false;
        };
        if message.is_binding_request() {
            return self.answer(&message, datagram, crypto, now, out);
        }
        let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let found = (self.addresses.iter()).position(|address| address.at == datagram.from);
        let Some((at, address)) = found.and_then(|at| Some((at, self.addresses.get_mut(at)?))) else {
            return false;
        };
        let asked = address.asked.iter().find(|(id, _)| *id == message.trans_id()).copied();
        let Some((_, named)) = asked.filter(|_| message.verify(self.theirs.password.as_bytes(), hmac)) else {
            return false;
        };
        if !message.is_successful_binding_response() {
            return true;
        }
        self.heard = Some(now);
        if named && self.taken == Some(at) {
            address.settled = true;
            address.due = now.checked_add(CONSENT).unwrap_or(now);
        }
        if self.taken.is_none() {
            self.taken = Some(at);
            address.interval = ASK_AGAIN;
            // The peer is told at once which way is taken.
            self.ask(at, crypto, now, out);
        }
        true
    }

    fn answer(
        &mut self,
        check: &StunMessage<'_>,
        datagram: Datagram<'_>,
        crypto: &CryptoProvider,
        now: Instant,
        out: &mut Outbox,
    ) -> bool {
        let Some(agrees) = ice::answer(check, datagram, (&self.ours, &self.theirs), true, crypto, out) else {
            return false;
        };
        if agrees {
            self.heard = Some(now);
            match self.addresses.iter().position(|known| known.at == datagram.from) {
                Some(at) => {
                    // Its way to us is open, so ours to it may be by now.
                    let searching = self.taken.is_none();
                    let known = self.addresses.get_mut(at).filter(|_| searching);
                    known.into_iter().for_each(|known| known.due = now);
                }
                None if self.addresses.len() < MAX_ADDRESSES => self.addresses.push(Address::new(datagram.from, now)),
                None => {}
            }
        }
        true
    }

    fn ask(&mut self, at: usize, crypto: &CryptoProvider, now: Instant, out: &mut Outbox) {
        let names = self.taken == Some(at);
        let Some(address) = self.addresses.get_mut(at) else {
            return;
        };
        let id = TransId::new();
        let username = format!("{}:{}", self.theirs.ufrag, self.ours.ufrag);
        let question = StunMessage::binding_request(&username, id, true, self.tie_breaker, PEER_REFLEXIVE, names);
        let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let mut bytes = [0; QUESTION_BYTES];
        let written = question.to_bytes(Some(self.theirs.password.as_bytes()), &mut bytes, hmac);
        if let Some(question) = written.ok().and_then(|written| bytes.get(..written)) {
            out.push(Transport::Udp, self.local, address.at, question);
        }
        if address.asked.len() >= MAX_ASKED {
            address.asked.pop_front();
        }
        address.asked.push_back((id, names));
        let wait = if address.settled { CONSENT } else { address.interval };
        address.due = now.checked_add(wait).unwrap_or(now);
        address.interval = (address.interval * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests;
