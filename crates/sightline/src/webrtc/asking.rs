//! A session that asked another server, on its UDP socket.
//!
//! Belongs here: what comes from the socket to the session and back. Does not belong here: how it is asked by HTTP, what its frames are for
//! ([`crate::source`], [`crate::bench`]), or where they come from ([`crate::forward`]).

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use media::Clock;
use protocol::webrtc::{Client, Datagram, Moment, Outbox, Transport, Viewer};

use super::sockets;
use crate::net::{Datagrams, Incoming};

/// Reads until others have their turn: half a megabyte or more.
const MAX_AT_ONCE: usize = 64;

thread_local! {
    /// Where datagrams are put that came joined. It is large, and nothing stays in it: sessions of a thread share it.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; Datagrams::MAX_BYTES].into());
}

/// A socket at the address by which the server is reached.
pub(crate) struct Socket {
    datagrams: Datagrams,
    incoming: Incoming,
    /// Where it is.
    pub(crate) local: SocketAddr,
}

impl Socket {
    /// `waiting_bytes`: what may wait in it, to be read while its task is busy with others, or to be sent
    /// by the network. What the system allows at most is enough for most.
    pub(crate) fn bind(local: IpAddr, waiting_bytes: usize) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind((local, 0))?;
        let options = socket2::SockRef::from(&socket);
        let _ = options.set_recv_buffer_size(waiting_bytes);
        let _ = options.set_send_buffer_size(waiting_bytes);
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let datagrams = Datagrams::new(socket)?;
        Ok(Self {
            incoming: datagrams.incoming(),
            datagrams,
            local,
        })
    }
}

/// A session that asked.
pub(crate) trait Asks {
    fn receive(&mut self, datagram: Datagram<'_>, now: Moment, out: &mut Outbox);
    fn handle_timeout(&mut self, now: Moment, out: &mut Outbox);
    fn close(&mut self, now: Moment, out: &mut Outbox);
}

impl Asks for Client {
    fn receive(&mut self, datagram: Datagram<'_>, now: Moment, out: &mut Outbox) {
        Self::receive(self, datagram, now, out);
    }

    fn handle_timeout(&mut self, now: Moment, out: &mut Outbox) {
        Self::handle_timeout(self, now, out);
    }

    fn close(&mut self, now: Moment, out: &mut Outbox) {
        Self::close(self, now.at, out);
    }
}

/// Our own publishing.
impl Asks for Viewer {
    fn receive(&mut self, datagram: Datagram<'_>, now: Moment, out: &mut Outbox) {
        Self::receive(self, datagram, now.at, out);
    }

    fn handle_timeout(&mut self, now: Moment, out: &mut Outbox) {
        Self::handle_timeout(self, now.at, out);
    }

    fn close(&mut self, now: Moment, out: &mut Outbox) {
        Self::close(self, now.at, out);
    }
}

/// The session with its socket.
pub(crate) struct Session<P> {
    pub(crate) peer: P,
    socket: Socket,
    out: Outbox,
    clock: Arc<dyn Clock>,
}

impl<P: Asks> Session<P> {
    /// Its first words wait for [`Session::handle_timeout`].
    pub(crate) fn new(peer: P, socket: Socket, clock: Arc<dyn Clock>) -> Self {
        Self {
            peer,
            socket,
            out: Outbox::new(),
            clock,
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment {
            at: self.clock.now(),
            wall: self.clock.wall(),
        }
    }

    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        self.socket.incoming.readable().await
    }

    /// What has come.
    pub(crate) fn receive(&mut self) {
        BUFFER.with_borrow_mut(|buffer| self.receive_into(buffer));
        self.send();
    }

    fn receive_into(&mut self, buffer: &mut [u8]) {
        for _ in 0..MAX_AT_ONCE {
            let Some(received) = self.socket.incoming.try_next(buffer) else {
                break;
            };
            let now = self.now();
            let joined = buffer.get(..received.bytes).unwrap_or_default();
            for bytes in joined.chunks(received.each) {
                let datagram = Datagram {
                    transport: Transport::Udp,
                    from: received.from,
                    to: self.socket.local,
                    bytes,
                };
                self.peer.receive(datagram, now, &mut self.out);
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self) {
        self.with(P::handle_timeout);
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self) {
        self.with(P::close);
    }

    /// Has it do something, and sends what comes of it.
    pub(crate) fn with<T>(&mut self, act: impl FnOnce(&mut P, Moment, &mut Outbox) -> T) -> T {
        let now = self.now();
        let done = act(&mut self.peer, now, &mut self.out);
        self.send();
        done
    }

    /// What is not taken at once is lost, as on any network.
    fn send(&mut self) {
        for batch in self.out.batches() {
            sockets::send(&self.socket.datagrams, &self.out, batch);
        }
        self.out.clear();
    }
}
