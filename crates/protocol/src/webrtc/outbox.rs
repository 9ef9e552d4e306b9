//! Datagrams that sessions want sent, in runs of equal size.

use std::net::SocketAddr;

use super::Transport;
use super::channel::Way;
use crate::rtp::{PacketRanges, Run};

/// Datagrams on their way out, of one or many sessions. Lent to each call that may send; emptied by whoever has the sockets, who keeps it, so
/// that nothing is allocated for a packet.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    batches: Vec<Batch>,
    /// Room of batches that were sent.
    spare: Vec<PacketRanges>,
}

/// Datagrams from one address of ours to one of a peer.
#[derive(Clone, Debug)]
pub struct Batch {
    /// By what they go.
    pub transport: Transport,
    /// Our address, at which the peer expects them from.
    pub from: SocketAddr,
    /// The peer's.
    pub to: SocketAddr,
    ranges: PacketRanges,
}

impl Batch {
    /// Runs of datagrams of equal size, in order: what segmentation offload takes in one call.
    pub fn runs(&self) -> &[Run] {
        self.ranges.runs()
    }

    /// How many datagrams.
    pub fn len(&self) -> usize {
        self.runs().iter().map(Run::len).sum()
    }

    /// Never true for one that an outbox hands out.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl Outbox {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a datagram.
    pub(super) fn push(&mut self, transport: Transport, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.note(Way { transport, from, to }, start);
    }

    /// Appends what `write` appends to the buffer, in which the datagram begins where it is told. Nothing when it fails.
    pub(super) fn write<E>(
        &mut self,
        way: Way,
        write: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        let written = write(&mut self.bytes, start);
        match &written {
            Ok(()) => self.note(way, start),
            Err(_) => self.bytes.truncate(start),
        }
        written
    }

    /// From `start` on there is one more datagram.
    fn note(&mut self, way: Way, start: usize) {
        let Way { transport, from, to } = way;
        let end = self.bytes.len();
        let goes_on = |batch: &&mut Batch| (batch.transport, batch.from, batch.to) == (transport, from, to);
        if let Some(batch) = self.batches.last_mut().filter(goes_on) {
            batch.ranges.push(start, end);
            return;
        }
        let mut ranges = self.spare.pop().unwrap_or_else(|| PacketRanges::new(0));
        ranges.push(start, end);
        self.batches.push(Batch {
            transport,
            from,
            to,
            ranges,
        });
    }

    /// What waits, in order.
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// The bytes of a run.
    pub fn bytes(&self, run: &Run) -> &[u8] {
        self.bytes.get(run.range()).unwrap_or_default()
    }

    /// The datagrams of a batch, for whoever sends one at a time.
    pub fn datagrams_of<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = &'a [u8]> {
        let runs = batch.runs().iter();
        runs.flat_map(|run| self.bytes(run).chunks(run.packet_bytes()))
    }

    /// Those of all batches, and what each is a part of.
    #[cfg(test)]
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (&Batch, &[u8])> {
        let batches = self.batches.iter();
        batches.flat_map(|batch| self.datagrams_of(batch).map(move |bytes| (batch, bytes)))
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Forgets what was sent. Room for more than a usual frame is given back.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        for mut batch in self.batches.drain(..) {
            if self.spare.len() < KEPT_BATCHES {
                batch.ranges.clear();
                self.spare.push(batch.ranges);
            }
        }
    }
}

/// Room that is kept between frames.
const KEPT_BYTES: usize = 128 << 10;
/// Lists of runs that are: a turn is for one peer, at one or two addresses.
const KEPT_BATCHES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_datagrams_to_one_peer_are_one_run() {
        let (ours, a, b) = (
            "10.0.0.1:8189".parse().unwrap(),
            "10.0.0.2:1".parse().unwrap(),
            "10.0.0.2:2".parse().unwrap(),
        );
        let mut out = Outbox::new();
        for size in [100, 100, 40, 100] {
            out.push(Transport::Udp, ours, a, &vec![size as u8; size]);
        }
        out.push(Transport::Udp, ours, b, &[7; 100]);
        let sizes =
            |batch: &Batch| -> Vec<_> { batch.runs().iter().map(|run| (run.packet_bytes(), run.len())).collect() };
        let [first, second] = out.batches() else {
            panic!("{out:?}")
        };
        assert_eq!((sizes(first), first.len()), (vec![(100, 3), (100, 1)], 4));
        assert_eq!((sizes(second), second.to), (vec![(100, 1)], b));
        assert_eq!(out.bytes(&second.runs()[0]), [7; 100]);
        out.clear();
        assert!(out.is_empty());
    }

    #[test]
    fn a_large_burst_leaves_no_room_behind() {
        let here = "10.0.0.1:1".parse().unwrap();
        let mut out = Outbox::new();
        for _ in 0..1_000 {
            out.push(Transport::Udp, here, here, &[0; 1_200]);
        }
        out.clear();
        assert!(out.bytes.capacity() <= KEPT_BYTES);
    }
}
