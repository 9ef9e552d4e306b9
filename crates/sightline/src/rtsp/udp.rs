//! The server's pair of UDP ports for RTP and RTCP.
//!
//! Belongs here: sending a frame's packets with segmentation offload, and handing what arrives to the connection it belongs
//! to. Does not belong here: which frames go out, what RTCP says.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use protocol::rtp::PacketRanges;
use tokio::sync::Notify;

use crate::net::{Datagrams, RtpPair};

/// Datagrams that wait for a connection's task, 1.2 KB each: half a second of 8 Mb/s. What comes beyond is dropped, as the
/// network would.
const QUEUE_DATAGRAMS: usize = 512;
/// Until a socket is waited for again that the system has no room to watch.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Media or reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Port {
    Rtp,
    Rtcp,
}

/// A datagram from a peer that is expected.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// Position of the track in its session.
    pub(crate) track: usize,
    pub(crate) port: Port,
    pub(crate) bytes: Bytes,
}

type Key = (Port, SocketAddr);
/// Who gets what comes from where: position of the track, and its connection's inbox.
type Expected = HashMap<Key, (usize, Arc<Inbox>)>;

/// Datagrams for one connection. Not a channel of tokio's: that holds 2 KB for each viewer, whose one report in five seconds
/// seldom waits here at all.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<VecDeque<Datagram>>,
    came: Notify,
}

impl Inbox {
    /// The next one, in the order of arrival. Nothing is taken when the future is dropped.
    pub(crate) async fn next(&self) -> Datagram {
        loop {
            if let Some(datagram) = self.waiting().pop_front() {
                return datagram;
            }
            self.came.notified().await;
        }
    }

    /// A full inbox is loss, which the receiver sees in the sequence numbers.
    fn put(&self, datagram: Datagram) {
        let mut waiting = self.waiting();
        if waiting.len() < QUEUE_DATAGRAMS {
            waiting.push_back(datagram);
        }
        drop(waiting);
        self.came.notify_one();
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Datagram>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both sockets, and who expects datagrams from where.
pub(crate) struct RtpSockets {
    rtp: Datagrams,
    rtcp: Datagrams,
    expected: Mutex<Expected>,
}

/// Keeps a peer's addresses expected, two for each of its tracks; dropping it ends that.
pub(crate) struct Expecting {
    sockets: Arc<RtpSockets>,
    /// By track. A session has a few.
    keys: Vec<(usize, [Key; 2])>,
    inbox: Arc<Inbox>,
}

impl RtpSockets {
    /// # Errors
    /// As the operating system says.
    pub(crate) fn new(pair: RtpPair) -> io::Result<Self> {
        Ok(Self {
            rtp: Datagrams::new(pair.rtp)?,
            rtcp: Datagrams::new(pair.rtcp)?,
            expected: Mutex::default(),
        })
    }

    /// The ports, RTP first.
    pub(crate) fn ports(&self) -> (u16, u16) {
        (self.rtp.port(), self.rtcp.port())
    }

    /// Sends the packets of a frame, a run of equal ones per system call. Returns whether some could not be sent: the
    /// operating system's buffer is full, which the viewer sees as loss.
    pub(crate) fn send(&self, bytes: &[u8], ranges: &PacketRanges, destination: SocketAddr) -> bool {
        let mut dropped = false;
        for run in ranges.runs() {
            let packets = bytes.get(run.range()).unwrap_or_default();
            dropped |= self.rtp.send(packets, run.packet_bytes(), destination, None);
        }
        dropped
    }

    /// Sends one RTCP packet. One that is lost is followed by the next in a few seconds.
    pub(crate) fn send_report(&self, packet: &[u8], destination: SocketAddr) {
        let _ = self.rtcp.send(packet, packet.len(), destination, None);
    }

    /// Receives on both ports until the task is dropped.
    pub(crate) async fn run(&self) {
        tokio::join!(self.receive(Port::Rtp), self.receive(Port::Rtcp));
    }

    async fn receive(&self, port: Port) {
        let socket = match port {
            Port::Rtp => &self.rtp,
            Port::Rtcp => &self.rtcp,
        };
        let mut incoming = socket.incoming();
        let mut buffer = vec![0; Datagrams::MAX_BYTES];
        loop {
            let Ok(received) = incoming.next(&mut buffer).await else {
                incoming.rest(TRY_AGAIN).await;
                continue;
            };
            let datagrams = buffer.get(..received.bytes).unwrap_or_default();
            self.hand_over(port, received.from, datagrams, received.each);
        }
    }

    /// `datagrams`: one or more of `stride` bytes each, the last perhaps shorter, as the kernel joins them (UDP_GRO).
    fn hand_over(&self, port: Port, from: SocketAddr, datagrams: &[u8], stride: usize) {
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((track, inbox)) = expected.get(&(port, from)) else {
            return;
        };
        for bytes in datagrams.chunks(stride.max(1)) {
            let bytes = Bytes::copy_from_slice(bytes);
            inbox.put(Datagram {
                track: *track,
                port,
                bytes,
            });
        }
    }
}

impl Expecting {
    /// Nothing expected yet.
    pub(crate) fn new(sockets: Arc<RtpSockets>) -> Self {
        Self {
            sockets,
            keys: Vec::new(),
            inbox: Arc::default(),
        }
    }

    /// Where the datagrams come out.
    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Expects datagrams of a track from these ports of the peer, and no longer from those of its SETUP before. `false`, and nothing
    /// changed, when another session expects from one of them.
    pub(crate) fn expect(&mut self, track: usize, rtp: SocketAddr, rtcp: SocketAddr) -> bool {
        let mut expected = self.sockets.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = [(Port::Rtp, rtp), (Port::Rtcp, rtcp)];
        let taken = |key: &Key| {
            expected
                .get(key)
                .is_some_and(|(_, inbox)| !Arc::ptr_eq(inbox, &self.inbox))
        };
        if keys.iter().any(taken) {
            return false;
        }
        take_out(&mut self.keys, &mut expected, track);
        for key in keys {
            expected.insert(key, (track, self.inbox.clone()));
        }
        self.keys.push((track, keys));
        true
    }

    /// The track does not travel by UDP any more.
    pub(crate) fn forget(&mut self, track: usize) {
        let mut expected = self.sockets.expected.lock().unwrap_or_else(PoisonError::into_inner);
        take_out(&mut self.keys, &mut expected, track);
    }
}

fn take_out(keys: &mut Vec<(usize, [Key; 2])>, expected: &mut Expected, track: usize) {
    let Some(at) = keys.iter().position(|(known, _)| *known == track) else {
        return;
    };
    for key in keys.swap_remove(at).1 {
        // Another track of the same session may have asked for the same ports since.
        if expected.get(&key).is_some_and(|(of, _)| *of == track) {
            expected.remove(&key);
        }
    }
}

impl Drop for Expecting {
    fn drop(&mut self) {
        let mut expected = self.sockets.expected.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&(track, _)) = self.keys.last() {
            take_out(&mut self.keys, &mut expected, track);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn sockets() -> Arc<RtpSockets> {
        let localhost = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let pair = crate::net::bind_rtp_pair(localhost, [0, 0], "rtsp.rtp_port").unwrap();
        Arc::new(RtpSockets::new(pair).unwrap())
    }

    fn expected(sockets: &RtpSockets) -> usize {
        sockets.expected.lock().unwrap().len()
    }

    fn ports(rtp: u16) -> (SocketAddr, SocketAddr) {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        (at(rtp), at(rtp + 1))
    }

    #[tokio::test]
    async fn two_addresses_a_track_are_expected_however_often_it_is_set_up() {
        let sockets = sockets();
        let mut expecting = Expecting::new(sockets.clone());
        for round in 0..1_000 {
            for track in 0..2 {
                let (rtp, rtcp) = ports(10_000 + 4 * round + 2 * track);
                assert!(expecting.expect(usize::from(track), rtp, rtcp));
            }
        }
        assert_eq!((expected(&sockets), expecting.keys.len()), (4, 2));
        let mut other = Expecting::new(sockets.clone());
        let (rtp, rtcp) = ports(10_000);
        assert!(other.expect(0, rtp, rtcp), "held for a SETUP that was replaced");
        expecting.forget(0);
        assert_eq!(expected(&sockets), 4);
        drop(expecting);
        assert_eq!(expected(&sockets), 2);
    }

    #[tokio::test]
    async fn ports_of_another_session_are_refused_and_change_nothing() {
        let sockets = sockets();
        let mut one = Expecting::new(sockets.clone());
        let mut two = Expecting::new(sockets.clone());
        let ((a, b), (c, d)) = (ports(20_000), ports(30_000));
        assert!(one.expect(0, a, b) && two.expect(0, c, d));
        assert!(!two.expect(0, a, b));
        assert_eq!(expected(&sockets), 4);
        // Tracks of one session may share ports; the last one has them.
        assert!(two.expect(1, c, d));
        two.forget(0);
        assert_eq!(expected(&sockets), 4);
        drop(two);
        assert_eq!(expected(&sockets), 2);
    }

    #[tokio::test]
    async fn what_nobody_takes_out_is_bounded_and_in_order() {
        let sockets = sockets();
        let mut expecting = Expecting::new(sockets.clone());
        let (rtp, rtcp) = ports(20_000);
        assert!(expecting.expect(3, rtp, rtcp));
        // As the kernel joins them: many of two bytes, the last of one.
        let sent: Vec<u8> = (0..=u8::MAX).flat_map(|number| [number, 0]).chain([7]).collect();
        for _ in 0..QUEUE_DATAGRAMS {
            sockets.hand_over(Port::Rtp, rtp, &sent, 2);
        }
        assert_eq!(expecting.inbox().waiting().len(), QUEUE_DATAGRAMS);
        for number in 0..=u8::MAX {
            let datagram = expecting.inbox().next().await;
            assert_eq!((datagram.track, datagram.port), (3, Port::Rtp));
            assert_eq!(datagram.bytes[..], [number, 0]);
        }
        assert_eq!(expecting.inbox().next().await.bytes[..], [7]);
        // One that comes while its connection waits wakes it.
        expecting.inbox().waiting().clear();
        let (datagram, ()) = tokio::join!(expecting.inbox().next(), async {
            tokio::task::yield_now().await;
            sockets.hand_over(Port::Rtcp, rtcp, &[1, 2, 3], 1_200);
        });
        assert_eq!((datagram.port, datagram.bytes.len()), (Port::Rtcp, 3));
    }
}
