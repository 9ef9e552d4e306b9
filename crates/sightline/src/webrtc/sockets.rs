//! The ICE port by UDP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use protocol::webrtc::{Batch, Outbox, Transport};

use super::Service;
use super::sessions::Handed;
use crate::net::{Datagrams, Received};

/// How long nobody is woken while much comes that can wait. 150 viewers send 1,500 reports a second, and waking a thread for each was a quarter of all
/// that they cost. A packet that is asked for again, or a keyframe, comes so much later at most.
const REST: Duration = Duration::from_millis(4);
/// There is no rest so soon after something that cannot wait: a publisher's next picture, the next step of a handshake.
const HURRY: Duration = Duration::from_millis(100);
/// Datagrams until other tasks have their turn.
const MAX_AT_ONCE: usize = 64;

/// Receives until dropped.
pub(super) async fn receive(service: &Service) {
    let mut buffer = vec![0; Datagrams::MAX_BYTES];
    let mut incoming = service.udp.incoming();
    let mut pace = Pace::new(service.clock.now());
    loop {
        let mut read = 0;
        while read < MAX_AT_ONCE
            && let Some(received) = incoming.try_next(&mut buffer)
        {
            hand_over(service, received, &buffer, &mut pace);
            read += 1;
        }
        if read == MAX_AT_ONCE {
            tokio::task::yield_now().await;
        } else if pace.rests(service.clock.now()) || incoming.readable().await.is_err() {
            incoming.rest(REST).await;
        }
    }
}

fn hand_over(service: &Service, received: Received, buffer: &[u8], pace: &mut Pace) {
    let now = service.clock.now();
    let port = service.udp.port();
    let to = received.to.map(|address| SocketAddr::new(address, port));
    let to = to.unwrap_or_else(|| service.candidates.usual(received.from.ip()));
    let datagrams = buffer.get(..received.bytes).unwrap_or_default();
    for datagram in datagrams.chunks(received.each) {
        let ends = (Transport::Udp, received.from, to);
        // What is nobody's is not answered: a scan learns nothing.
        pace.note(service.sessions.hand_over(ends, datagram, None, now), now);
    }
}

/// When to rest.
struct Pace {
    /// When it was looked at last.
    since: Instant,
    /// What came since.
    came: u32,
    /// When something came that could not wait.
    urgent: Option<Instant>,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            came: 0,
            urgent: None,
        }
    }

    fn note(&mut self, handed: Handed, now: Instant) {
        self.came = self.came.saturating_add(1);
        if handed == Handed::Urgent {
            self.urgent = Some(now);
        }
    }

    /// All was read that had come. Whether several are to be expected within a rest, all of which can wait.
    fn rests(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        self.since = now;
        let often = REST.saturating_mul(std::mem::take(&mut self.came)) > passed.saturating_mul(2);
        let hurries = |at| now.saturating_duration_since(at) < HURRY;
        often && !self.urgent.is_some_and(hurries)
    }
}

/// Sends a batch by UDP, a run of equal datagrams in one call. Returns whether some could not be sent.
pub(super) fn send(socket: &Datagrams, out: &Outbox, batch: &Batch) -> bool {
    let mut dropped = false;
    for run in batch.runs() {
        dropped |= socket.send(out.bytes(run), run.packet_bytes(), batch.to, Some(batch.from.ip()));
    }
    dropped
}

#[cfg(test)]
mod tests {
    use media::Clock as _;
    use testkit::clock::SimClock;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn many_reports_wait_and_few_do_not() {
        let clock = SimClock::new();
        let mut pace = Pace::new(clock.now());
        let mut rests = |handed: &[Handed], after: Duration| {
            clock.advance(after);
            handed.iter().for_each(|handed| pace.note(*handed, clock.now()));
            pace.rests(clock.now())
        };
        assert!(!rests(&[Handed::Patient], 10 * MILLISECOND));
        assert!(!rests(&[Handed::Patient], 2 * MILLISECOND));
        assert!(rests(&[Handed::Patient], MILLISECOND));
        assert!(rests(&[Handed::Patient; 7], REST + MILLISECOND));
        assert!(!rests(&[Handed::Patient; 2], REST + MILLISECOND), "few");
        assert!(!rests(&[], Duration::ZERO), "nothing");
        assert!(
            rests(&[Handed::Nobodys; 7], MILLISECOND),
            "what is nobody's hurries nobody"
        );
    }

    #[test]
    fn nobody_rests_while_something_cannot_wait() {
        let clock = SimClock::new();
        let mut pace = Pace::new(clock.now());
        let mut rests = |urgent: bool| {
            clock.advance(MILLISECOND);
            (0..3).for_each(|_| pace.note(Handed::Patient, clock.now()));
            if urgent {
                pace.note(Handed::Urgent, clock.now());
            }
            pace.rests(clock.now())
        };
        assert!(rests(false) && !rests(true));
        assert!((1..100).all(|_| !rests(false)));
        assert!(rests(false));
    }
}
