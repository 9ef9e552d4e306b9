//! The connection of an RTSP client: plain, or by TLS.
//!
//! Belongs here: reading and writing without waiting, whichever of both it is; what TLS holds back. Does not belong here: what is read and
//! written ([`super::connection`], [`super::viewer`]), certificates ([`crate::tls`]).
//!
//! Two tasks use one connection: who asks reads it, and while it plays the fan-out writes. TLS has one state for both, behind a lock that is
//! held for one read or one write.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, BytesMut};
use rustls::ServerConnection;
use tokio::net::TcpStream;

/// Bytes that are sealed at once: one record (RFC 8446 §5.1). More would wait sealed where the connection takes no more, and could not be dropped.
const RECORD_BYTES: usize = 16 << 10;

/// A connection.
pub(super) struct Wire {
    socket: TcpStream,
    secure: Option<Mutex<Secure>>,
}

struct Secure {
    tls: ServerConnection,
    /// Sealed, and not taken by the operating system yet. It holds no memory while it is empty.
    sealed: BytesMut,
}

impl Wire {
    pub(super) fn plain(socket: TcpStream) -> Self {
        Self { socket, secure: None }
    }

    /// After the handshake.
    pub(super) fn secure(socket: TcpStream, tls: ServerConnection) -> Self {
        Self {
            socket,
            secure: Some(Mutex::new(Secure {
                tls,
                sealed: BytesMut::new(),
            })),
        }
    }

    /// For options of the operating system.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(super) fn is_secure(&self) -> bool {
        self.secure.is_some()
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Until there may be something to read.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.has_opened() {
            return Ok(());
        }
        self.socket.readable().await
    }

    /// Until something may be written.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// The same for a task that waits for several.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is found by the write that follows.
        self.socket.poll_write_ready(cx).map(drop)
    }

    /// Reads what is there: 0 at the end, [`io::ErrorKind::WouldBlock`] where nothing is.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(secure) = &self.secure else {
            return self.socket.try_read(buffer);
        };
        let mut secure = lock(secure);
        loop {
            match secure.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A peer that closes without saying so in TLS has closed nevertheless: RTSP has lengths.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if secure.tls.read_tls(&mut Unwaiting(&self.socket))? == 0 {
                return Ok(0);
            }
            let processed = secure.tls.process_new_packets();
            // Also the alert that says what is wrong.
            let _ = self.push(&mut secure);
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    /// Writes what the connection takes now; [`io::ErrorKind::WouldBlock`] where that is nothing. What was taken may wait sealed:
    /// [`Wire::sealed_bytes`].
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let Some(secure) = &self.secure else {
            return self.socket.try_write(bytes);
        };
        let mut secure = lock(secure);
        let mut taken = 0;
        for record in bytes.chunks(RECORD_BYTES) {
            if !self.push(&mut secure)? {
                break;
            }
            taken += secure.tls.writer().write(record)?;
        }
        self.push(&mut secure)?;
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Writes what waits sealed, as far as the connection takes it. Whether nothing is left.
    pub(super) fn try_flush(&self) -> io::Result<bool> {
        match &self.secure {
            None => Ok(true),
            Some(secure) => self.push(&mut lock(secure)),
        }
    }

    /// How much waits sealed: nothing else goes out before it.
    pub(super) fn sealed_bytes(&self) -> usize {
        self.secure.as_ref().map_or(0, |secure| lock(secure).sealed.len())
    }

    /// Writes all of it, however long that takes.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.try_write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if bytes.is_empty() && self.sealed_bytes() == 0 {
                return Ok(());
            }
            self.writable().await?;
        }
    }

    /// Says that nothing more comes (RFC 8446 §6.1). Whoever does not read it learns it from the connection.
    pub(super) fn close(&self) {
        if let Some(secure) = &self.secure {
            let mut secure = lock(secure);
            secure.tls.send_close_notify();
            let _ = self.push(&mut secure);
        }
    }

    /// Whether something was opened and not read yet, which the socket does not know.
    fn has_opened(&self) -> bool {
        let Some(secure) = &self.secure else { return false };
        let state = lock(secure).tls.process_new_packets();
        state.is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
    }

    /// Writes what is sealed. Whether all of it is with the operating system.
    fn push(&self, secure: &mut Secure) -> io::Result<bool> {
        let Secure { tls, sealed } = secure;
        while tls.wants_write() {
            tls.write_tls(&mut sealed.writer())?;
        }
        while !sealed.is_empty() {
            match self.socket.try_write(sealed) {
                Ok(written) => sealed.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        *sealed = BytesMut::new();
        Ok(true)
    }
}

fn lock(secure: &Mutex<Secure>) -> MutexGuard<'_, Secure> {
    secure.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A socket as the standard library's trait has it.
struct Unwaiting<'a>(&'a TcpStream);

impl io::Read for Unwaiting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}
