//! ICE of a lite agent (RFC 8445 §2.5): checks are answered, and the peer says which way is taken.
//!
//! Belongs here: answering the peer's checks, which way it nominated, when it was last heard of. Does not belong here: candidates, which the answer
//! names ([`super::super::answer`]), what travels on the way.
//!
//! The operating system tells with each datagram at which of our addresses it came, so every address of ours serves, also one that came up after
//! the start or that a container does not know of.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::crypto::CryptoProvider;
use str0m::ice::StunMessage;

use super::super::peer::Datagram;
use super::super::{Credentials, Outbox, Transport};

/// A peer that was silent for so long is gone: consent runs out after 30 s (RFC 7675), and browsers check every few seconds.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// A nominated way that was silent for so long gives way to another that is nominated, be it a worse one: browsers check theirs every 2.5 s.
const STALE: Duration = Duration::from_secs(3);
/// Ways of one peer that are remembered. The one that was silent for longest makes room.
const MAX_PATHS: usize = 16;
/// Larger than any answer to a check.
const ANSWER_BYTES: usize = 256;

/// From an address of ours to one of the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::webrtc) struct Way {
    pub(in crate::webrtc) transport: Transport,
    pub(in crate::webrtc) from: SocketAddr,
    pub(in crate::webrtc) to: SocketAddr,
}

/// A way by which a check came.
#[derive(Clone, Copy, Debug)]
struct Path {
    way: Way,
    /// As the peer has it: all our addresses are equal to us.
    priority: u32,
    heard: Instant,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lite {
    ours: Credentials,
    theirs: Credentials,
    paths: Vec<Path>,
    nominated: Option<Path>,
    heard: Option<Instant>,
}

impl Lite {
    pub(super) fn new(ours: &Credentials, theirs: &Credentials) -> Self {
        Self {
            ours: ours.clone(),
            theirs: theirs.clone(),
            paths: Vec::new(),
            nominated: None,
            heard: None,
        }
    }

    /// The way that the peer nominated.
    pub(super) fn nominated(&self) -> Option<Way> {
        self.nominated.map(|path| path.way)
    }

    /// Where the peer is, as far as is known.
    pub(super) fn remote(&self) -> Option<(Transport, SocketAddr)> {
        let newest = || self.paths.iter().max_by_key(|path| path.heard);
        let path = self.nominated.as_ref().or_else(newest)?;
        Some((path.way.transport, path.way.to))
    }

    pub(super) fn remote_ufrag(&self) -> &str {
        &self.theirs.ufrag
    }

    /// Something other than a check came: is it from where checks came?
    pub(super) fn knows(&self, from: SocketAddr) -> bool {
        let is_from = |path: &Path| path.way.to == from;
        self.nominated.as_ref().is_some_and(is_from) || self.paths.iter().any(is_from)
    }

    /// When the peer counts as gone, once it was heard of.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        self.heard?.checked_add(SILENCE)
    }

    /// Starts anew: only checks with the new credentials count, from wherever they come. What was nominated before is sent to until one of those
    /// nominates (RFC 8445 §9).
    pub(super) fn restart(&mut self, theirs: &Credentials, ours: &Credentials) {
        self.ours.clone_from(ours);
        self.theirs.clone_from(theirs);
        self.paths.clear();
    }

    /// Answers a check. `false` when it is none for this session.
    pub(super) fn receive(
        &mut self,
        datagram: Datagram<'_>,
        crypto: &CryptoProvider,
        now: Instant,
        out: &mut Outbox,
    ) -> bool {
        let Ok(check) = StunMessage::parse(datagram.bytes) else {
            return false;
        };
        let Some(agrees) = answer(&check, datagram, (&self.ours, &self.theirs), false, crypto, out) else {
            return false;
        };
        if agrees {
            self.heard = Some(now);
            let path = Path {
                way: Way {
                    transport: datagram.transport,
                    from: datagram.to,
                    to: datagram.from,
                },
                priority: check.prio().unwrap_or(0),
                heard: now,
            };
            self.note(path, check.use_candidate());
        }
        true
    }

    fn note(&mut self, path: Path, nominates: bool) {
        match self.paths.iter_mut().find(|known| known.way == path.way) {
            Some(known) => *known = path,
            None => {
                if self.paths.len() >= MAX_PATHS {
                    let oldest = self.paths.iter().enumerate().min_by_key(|(_, path)| path.heard);
                    let oldest = oldest.map_or(0, |(at, _)| at);
                    self.paths.swap_remove(oldest);
                }
                self.paths.push(path);
            }
        }
        let Some(current) = &mut self.nominated else {
            self.nominated = nominates.then_some(path);
            return;
        };
        if current.way == path.way {
            *current = path;
            return;
        }
        // Peers may nominate all ways at once (RFC 8445 appendix B.6): of those the best is taken, but none that they left.
        let left = !self.paths.iter().any(|known| known.way == current.way)
            || path.heard.saturating_duration_since(current.heard) >= STALE;
        // The same socket of the peer behind a router that gave it another port.
        let rebound = path.priority == current.priority
            && (path.way.transport, path.way.from) == (current.way.transport, current.way.from)
            && path.way.to.ip() == current.way.to.ip();
        if nominates && (left || rebound || path.priority > current.priority) {
            *current = path;
        }
    }
}

/// Answers a check with our and the peer's credentials: whether both sides agree on who controls. `None` when it is none for this session.
pub(super) fn answer(
    check: &StunMessage<'_>,
    datagram: Datagram<'_>,
    (ours, theirs): (&Credentials, &Credentials),
    we_control: bool,
    crypto: &CryptoProvider,
    out: &mut Outbox,
) -> Option<bool> {
    let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
    let names = Some((ours.ufrag.as_str(), theirs.ufrag.as_str()));
    let password = ours.password.as_bytes();
    if !check.is_binding_request() || check.split_username() != names || !check.verify(password, hmac) {
        return None;
    }
    // A lite agent never controls, and who made the offer always does, so a peer that thinks otherwise is told (RFC 8445 §7.3.1.1).
    let agrees = if we_control {
        check.ice_controlling().is_none()
    } else {
        check.ice_controlled().is_none()
    };
    let answer = if agrees {
        StunMessage::binding_reply(check.trans_id(), datagram.from)
    } else {
        StunMessage::binding_role_conflict_reply(check.trans_id())
    };
    let mut bytes = [0; ANSWER_BYTES];
    let written = answer.to_bytes(Some(password), &mut bytes, hmac);
    if let Some(answer) = written.ok().and_then(|written| bytes.get(..written)) {
        out.push(datagram.transport, datagram.to, datagram.from, answer);
    }
    Some(agrees)
}

#[cfg(test)]
mod tests;
