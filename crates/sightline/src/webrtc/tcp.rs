//! The ICE port by TCP: datagrams in frames of two bytes of length (RFC 4571), on connections that peers open (RFC 6544).
//!
//! Belongs here: reading frames, and writing them without waiting. Does not belong here: whose frames they are ([`super::sessions`]).

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use protocol::webrtc::{Batch, Outbox, Transport, stun_username};
use tokio::net::TcpStream;

use super::Service;
use super::sessions::Handed;
use crate::net;

/// What a connection may keep of what it could not send at once: a keyframe and the little that is sent while it waits.
const MAX_WAITING_BYTES: usize = 512 << 10;
/// What the kernel may keep besides what is on its way; see RTSP.
const UNSENT_BYTES: u32 = 128 << 10;
/// Wait after the operating system refused to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A connection over which nothing comes for this long is closed: checks come every few seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a stranger has to name its session.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// Connections for each session that there may be: a browser tries several addresses at a time.
const CONNECTIONS_EACH: usize = 2;
/// Largest frame that is read: a datagram that a peer sends is no larger than an Ethernet frame.
const MAX_FRAME_BYTES: usize = 4_096;

/// The write side of a connection.
pub(super) struct Connection {
    socket: TcpStream,
    waiting: Mutex<BytesMut>,
}

/// The peer takes no more, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// All of it is with the operating system.
    Done,
    /// The rest is kept; what is sent next waits behind it.
    Waits,
    /// The connection is broken, or so far behind that what was to be sent was dropped.
    Lost,
}

impl Connection {
    /// Sends a batch in frames, with one write.
    pub(super) fn send(&self, out: &Outbox, batch: &Batch) -> Written {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiting.len();
        if before > MAX_WAITING_BYTES {
            return Written::Lost;
        }
        for datagram in out.datagrams_of(batch) {
            let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
            waiting.extend_from_slice(&length.to_be_bytes());
            waiting.extend_from_slice(datagram);
        }
        if before > 0 {
            return Written::Waits;
        }
        self.write(&mut waiting)
    }

    /// Goes on with what waits.
    pub(super) fn flush(&self) -> Written {
        self.write(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether something waits.
    pub(super) fn is_blocked(&self) -> bool {
        !self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether it takes more, registering for when it does.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_write_ready(cx).map(drop)
    }

    fn write(&self, waiting: &mut BytesMut) -> Written {
        while !waiting.is_empty() {
            match self.socket.try_write(waiting) {
                Ok(written) => waiting.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Waits,
                Err(_) => return Written::Lost,
            }
        }
        // A burst's room is given back.
        *waiting = BytesMut::new();
        Written::Done
    }
}

/// Accepts until dropped.
pub(super) async fn accept(service: &Arc<Service>) {
    let open = Arc::new(AtomicUsize::new(0));
    let most = service.sessions.limit().saturating_mul(CONNECTIONS_EACH);
    loop {
        let (socket, from) = match service.settings.gate.accept(&service.tcp).await {
            Ok(accepted) => accepted,
            Err(error) => {
                service.listening.failed(&error, service.clock.now());
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if open.fetch_add(1, Relaxed) >= most {
            open.fetch_sub(1, Relaxed);
            service.listening.refused(from, most, service.clock.now());
            continue;
        }
        let counted = Counted(Arc::clone(&open));
        let service = Arc::clone(service);
        tokio::spawn(async move {
            let _counted = counted;
            read(&service, socket, from).await;
        });
    }
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Reads frames until the connection ends, or is nobody's.
async fn read(service: &Service, socket: TcpStream, from: SocketAddr) {
    let Ok(local) = socket.local_addr() else { return };
    // What fails here costs a little latency.
    let _ = net::send_without_delay(&socket);
    net::bound_unsent(&socket, UNSENT_BYTES);
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let ends = (Transport::Tcp, canonical(from), canonical(local));
    let connection = Arc::new(Connection {
        socket,
        waiting: Mutex::default(),
    });
    let mut buffer = BytesMut::new();
    let mut introduced = false;
    loop {
        let patience = if introduced { SILENCE } else { INTRODUCTION };
        let readable = tokio::time::timeout(patience, connection.socket.readable()).await;
        if !matches!(readable, Ok(Ok(()))) {
            return;
        }
        buffer.reserve(MAX_FRAME_BYTES);
        match connection.socket.try_read_buf(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        }
        while let Some(frame) = frame(&mut buffer) {
            let Ok(frame) = frame else { return };
            let handed = service
                .sessions
                .hand_over(ends, &frame, Some(&connection), service.clock.now());
            // The first is a check that names its session.
            if !introduced && (handed == Handed::Nobodys || stun_username(&frame).is_none()) {
                return;
            }
            introduced = true;
        }
    }
}

/// A frame too large to be one of ours.
struct TooLarge;

/// The next frame, once it is all there.
fn frame(buffer: &mut BytesMut) -> Option<Result<BytesMut, TooLarge>> {
    let length = usize::from(u16::from_be_bytes(*buffer.first_chunk::<2>()?));
    if length > MAX_FRAME_BYTES {
        return Some(Err(TooLarge));
    }
    if buffer.len() < 2 + length {
        return None;
    }
    buffer.advance(2);
    Some(Ok(buffer.split_to(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_wherever_the_pieces_end() {
        let stream = [0, 3, 1, 2, 3, 0, 0, 0, 1, 9];
        for cut in 0..stream.len() {
            let mut buffer = BytesMut::from(&stream[..cut]);
            let mut frames = Vec::new();
            let mut take = |buffer: &mut BytesMut| {
                while let Some(Ok(found)) = frame(buffer) {
                    frames.push(found.to_vec());
                }
            };
            take(&mut buffer);
            buffer.extend_from_slice(&stream[cut..]);
            take(&mut buffer);
            assert_eq!(frames, [vec![1, 2, 3], vec![], vec![9]], "cut at {cut}");
        }
        let mut buffer = BytesMut::from(&[0xff, 0xff][..]);
        assert!(matches!(frame(&mut buffer), Some(Err(TooLarge))));
    }
}
