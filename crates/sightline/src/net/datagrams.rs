//! A UDP socket with segmentation offload in both directions, and addresses as people write them.
//!
//! Belongs here: what every protocol over UDP needs of its socket. Does not belong here: whose datagrams they are.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;

/// A socket that is bound already. Cloning shares it.
#[derive(Clone)]
pub struct Datagrams {
    shared: Arc<Shared>,
}

struct Shared {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Bound to both families: IPv4 peers are written `::ffff:a.b.c.d`.
    dual_stack: bool,
    port: u16,
}

/// What comes to a socket. One at a time waits for it.
pub struct Incoming {
    datagrams: Datagrams,
    /// The same socket, while the runtime is woken by it.
    watched: Option<tokio::net::UdpSocket>,
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

    /// `socket` must not block.
    ///
    /// # Errors
    /// When the socket takes none of the options.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let address = socket.local_addr()?;
        Ok(Self {
            shared: Arc::new(Shared {
                socket,
                state,
                dual_stack: address.is_ipv6(),
                port: address.port(),
            }),
        })
    }

    /// Where it is bound.
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// Sends packets of `each` bytes, the last perhaps shorter, in as few calls as the system takes. `from`: the address of ours that the peer
    /// shall see. Returns whether some could not be sent: the system's buffer is full, which the peer sees as loss.
    pub fn send(&self, packets: &[u8], each: usize, to: SocketAddr, from: Option<IpAddr>) -> bool {
        let Shared { socket, state, .. } = &*self.shared;
        let mut dropped = false;
        for chunk in packets.chunks(each.saturating_mul(state.max_gso_segments()).max(1)) {
            let transmit = Transmit {
                destination: SocketAddr::new(self.written(to.ip()), to.port()),
                ecn: None,
                contents: chunk,
                segment_size: (chunk.len() > each).then_some(each),
                // IPv4 has a control message of its own, also on a socket for both.
                src_ip: from,
            };
            dropped |= state.try_send(socket.into(), &transmit).is_err();
        }
        dropped
    }

    /// What comes to it, for one who waits.
    pub fn incoming(&self) -> Incoming {
        Incoming {
            datagrams: self.clone(),
            watched: None,
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let Shared { socket, state, .. } = &*self.shared;
        let mut meta = [RecvMeta::default()];
        state.recv(socket.into(), &mut [IoSliceMut::new(buffer)], &mut meta)?;
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
            IpAddr::V4(v4) if self.shared.dual_stack => v4.to_ipv6_mapped().into(),
            _ => address,
        }
    }
}

impl Incoming {
    /// Waits until something may have come.
    ///
    /// # Errors
    /// When the socket cannot be used with the runtime, or that ends.
    pub async fn readable(&mut self) -> io::Result<()> {
        self.watch()?.readable().await
    }

    /// The next, if any have come, which are written into `buffer`, of [`Datagrams::MAX_BYTES`].
    pub fn try_next(&self, buffer: &mut [u8]) -> Option<Received> {
        let read = match &self.watched {
            Some(watched) => watched.try_io(Interest::READABLE, || self.datagrams.read(buffer)),
            None => self.datagrams.read(buffer),
        };
        // An error is the ICMP answer to something sent earlier: it belongs to no one. What has come besides is told of at once to whoever waits.
        read.ok()
    }

    /// Waits for the next, which are written as those of [`Incoming::try_next`].
    ///
    /// # Errors
    /// As [`Incoming::readable`].
    pub async fn next(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            if let Some(received) = self.try_next(buffer) {
                return Ok(received);
            }
            self.readable().await?;
        }
    }

    /// Wakes nobody for so long, whatever comes. It is there afterwards.
    pub async fn rest(&mut self, time: Duration) {
        self.watched = None;
        tokio::time::sleep(time).await;
    }

    fn watch(&mut self) -> io::Result<&tokio::net::UdpSocket> {
        match self.watched {
            Some(ref watched) => Ok(watched),
            ref mut none => {
                let socket = self.datagrams.shared.socket.try_clone()?;
                Ok(none.insert(tokio::net::UdpSocket::from_std(socket)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_during_a_rest_is_there_afterwards() {
        let open = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (socket, peer) = (open(), open());
        socket.set_nonblocking(true).unwrap();
        let here = socket.local_addr().unwrap();
        let say = |what: &[u8]| assert_eq!(peer.send_to(what, here).unwrap(), what.len());
        let mut incoming = Datagrams::new(socket).unwrap().incoming();
        let mut buffer = vec![0; Datagrams::MAX_BYTES];
        for _ in 0..2 {
            let (waited, ()) = tokio::join!(incoming.next(&mut buffer), async { say(b"one") });
            assert_eq!(waited.unwrap().bytes, 3);
            tokio::join!(incoming.rest(Duration::from_millis(20)), async { say(b"four") });
            assert_eq!(incoming.try_next(&mut buffer).unwrap().bytes, 4);
            assert!(incoming.try_next(&mut buffer).is_none());
        }
    }
}
