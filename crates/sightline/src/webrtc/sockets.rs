//! The ICE port by UDP.

use std::net::SocketAddr;

use protocol::webrtc::{Batch, Outbox, Transport};

use super::Service;
use crate::net::Datagrams;

/// Receives until dropped.
pub(super) async fn receive(service: &Service) {
    let mut buffer = vec![0; Datagrams::MAX_BYTES];
    loop {
        let received = service.udp.receive(&mut buffer).await;
        let now = service.clock.now();
        let port = service.udp.port();
        let to = received.to.map(|address| SocketAddr::new(address, port));
        let to = to.unwrap_or_else(|| service.candidates.usual(received.from.ip()));
        let datagrams = buffer.get(..received.bytes).unwrap_or_default();
        for datagram in datagrams.chunks(received.each) {
            // What is nobody's is not answered: a scan learns nothing.
            service
                .sessions
                .hand_over((Transport::Udp, received.from, to), datagram, None, now);
        }
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
