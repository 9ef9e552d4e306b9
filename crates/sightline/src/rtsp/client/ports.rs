//! The UDP ports of one track that we receive or send.
//!
//! Belongs here: a pair of free ports (even, odd; RFC 3550 §11) and what arrives on them from the server. Does not belong here:
//! the server's own pair ([`super::super::udp`]).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::udp::{Datagram, Port};

/// Pairs tried before giving up.
const ATTEMPTS: usize = 64;
/// Ports tried: the dynamic range of RFC 6335 §6.
const FIRST_PORT: u16 = 49_152;
/// Largest datagram taken in.
const MAX_DATAGRAM_BYTES: usize = 65_536;
/// Room for a burst of keyframes while the task waits for its turn.
const RECEIVE_BUFFER_BYTES: usize = 2 << 20;

/// A pair of sockets; what they receive goes to the inbox they were made with. Closed on drop.
pub(super) struct Ports {
    rtp: Arc<UdpSocket>,
    rtcp: Arc<UdpSocket>,
    tasks: [JoinHandle<()>; 2],
}

impl Ports {
    /// # Errors
    /// When no pair is free, or the operating system gives no socket.
    pub(super) fn bind(
        server: IpAddr,
        track: usize,
        inbox: &mpsc::Sender<Datagram>,
        random: fn() -> u64,
    ) -> io::Result<Self> {
        let [rtp, rtcp] = pair(server, random)?;
        let task =
            |port, socket: &Arc<UdpSocket>| tokio::spawn(receive(server, track, port, socket.clone(), inbox.clone()));
        let tasks = [task(Port::Rtp, &rtp), task(Port::Rtcp, &rtcp)];
        Ok(Self { rtp, rtcp, tasks })
    }

    /// Our ports, RTP first.
    pub(super) fn numbers(&self) -> Option<(u16, u16)> {
        Some((self.rtp.local_addr().ok()?.port(), self.rtcp.local_addr().ok()?.port()))
    }

    /// Sends one packet. What the operating system does not take is lost, as the network may lose it.
    pub(super) fn send(&self, port: Port, packet: &[u8], to: SocketAddr) {
        let socket = match port {
            Port::Rtp => &self.rtp,
            Port::Rtcp => &self.rtcp,
        };
        let _ = socket.try_send_to(packet, to);
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn pair(server: IpAddr, random: fn() -> u64) -> io::Result<[Arc<UdpSocket>; 2]> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let range = u64::from((u16::MAX - FIRST_PORT) / 2);
        let even = FIRST_PORT + 2 * (random() % range) as u16;
        match open(any, even).and_then(|rtp| Ok([rtp, open(any, even + 1)?])) {
            Ok(sockets) => return Ok(sockets.map(Arc::new)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open(any: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((any, port))?;
    socket.set_nonblocking(true)?;
    // A smaller buffer than wished for is no reason not to receive.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    UdpSocket::from_std(socket)
}

async fn receive(server: IpAddr, track: usize, port: Port, socket: Arc<UdpSocket>, inbox: mpsc::Sender<Datagram>) {
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        // An error here is an ICMP answer to something we sent.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if from.ip().to_canonical() != server.to_canonical() {
            continue;
        }
        let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        match inbox.try_send(Datagram { track, port, bytes }) {
            Err(mpsc::error::TrySendError::Closed(_)) => return,
            // A full inbox is loss, which the receiver sees in the sequence numbers.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
        }
    }
}
