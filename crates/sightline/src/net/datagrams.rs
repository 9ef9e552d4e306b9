//! A UDP socket with segmentation offload in both directions, and addresses as people write them.
//!
//! Belongs here: what every protocol over UDP needs of its socket. Does not belong here: whose datagrams they are.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A socket that is bound already.
pub struct Datagrams {
    io: UdpSocket,
    state: UdpSocketState,
    /// Bound to both families: IPv4 peers are written `::ffff:a.b.c.d`.
    dual_stack: bool,
    port: u16,
}

/// Datagrams of one peer that came together.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// The peer.
    pub from: SocketAddr,
    /// The address of ours that they were sent to; `None` where the system does not tell.
    pub to: Option<IpAddr>,
    /// Bytes of all of them.
    pub bytes: usize,
    /// Bytes of each, but for the last, which may be shorter: the kernel joins them (UDP_GRO).
    pub each: usize,
}

impl Datagrams {
    /// Largest datagram, or joined ones.
    pub const MAX_BYTES: usize = 65_536;

    /// # Errors
    /// When the socket cannot be used with the runtime, or takes none of the options.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let address = socket.local_addr()?;
        Ok(Self {
            io: UdpSocket::from_std(socket)?,
            state,
            dual_stack: address.is_ipv6(),
            port: address.port(),
        })
    }

    /// Where it is bound.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends packets of `each` bytes, the last perhaps shorter, in as few calls as the system takes. `from`: the address of ours that the peer
    /// shall see. Returns whether some could not be sent: the system's buffer is full, which the peer sees as loss.
    pub fn send(&self, packets: &[u8], each: usize, to: SocketAddr, from: Option<IpAddr>) -> bool {
        let mut dropped = false;
        for chunk in packets.chunks(each.saturating_mul(self.state.max_gso_segments()).max(1)) {
            let transmit = Transmit {
                destination: SocketAddr::new(self.written(to.ip()), to.port()),
                ecn: None,
                contents: chunk,
                segment_size: (chunk.len() > each).then_some(each),
                // IPv4 has a control message of its own, also on a socket for both.
                src_ip: from,
            };
            let sent = self
                .io
                .try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), &transmit));
            dropped |= sent.is_err();
        }
        dropped
    }

    /// Waits for the next, which are written into `buffer`, of [`Datagrams::MAX_BYTES`].
    pub async fn receive(&self, buffer: &mut [u8]) -> Received {
        loop {
            let received = self.io.async_io(Interest::READABLE, || self.read(buffer)).await;
            // An error here is an ICMP answer to something sent earlier: it belongs to no one.
            if let Ok(received) = received {
                return received;
            }
        }
    }

    /// Waits until something may have come.
    ///
    /// # Errors
    /// When the runtime ends.
    pub async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// The next, if any have come; `buffer` as of [`Datagrams::receive`].
    pub fn try_receive(&self, buffer: &mut [u8]) -> Option<Received> {
        // An error is what an earlier datagram met on its way, as above: whoever waits for the socket is told at once that there is more.
        self.io.try_io(Interest::READABLE, || self.read(buffer)).ok()
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut meta = [RecvMeta::default()];
        self.state
            .recv((&self.io).into(), &mut [IoSliceMut::new(buffer)], &mut meta)?;
        let [meta] = meta;
        Ok(Received {
            from: SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port()),
            to: meta.dst_ip.map(|address| address.to_canonical()),
            bytes: meta.len,
            each: meta.stride.max(1),
        })
    }

    fn written(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(v4) if self.dual_stack => v4.to_ipv6_mapped().into(),
            _ => address,
        }
    }
}
