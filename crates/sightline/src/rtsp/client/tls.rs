//! TLS between a client's session and its socket.
//!
//! Belongs here: bytes of TLS made of bytes of RTSP and back. Does not belong here: sockets ([`super::link`]), whose certificate is believed
//! ([`crate::trust`]).

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use bytes::BytesMut;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::{Error, Settings, Url};
use crate::trust::Verifier;

/// A connection by TLS.
pub(super) struct Secure {
    connection: ClientConnection,
    verifier: Arc<Verifier>,
    address: String,
    /// See [`Settings::fingerprint_setting`].
    setting: &'static str,
}

impl Secure {
    /// Nothing is sent yet: [`Secure::take_output`] has the first message.
    pub(super) fn new(url: &Url, settings: &Settings) -> Result<Self, Error> {
        let address = format!("{}:{}", url.host, url.port);
        let failed = |why: String| Error::Tls {
            address: address.clone(),
            why,
        };
        let verifier = Arc::new(Verifier::new(settings.trust.clone()).map_err(&failed)?);
        let config = verifier.config().map_err(&failed)?;
        let name = ServerName::try_from(url.host.clone()).map_err(|error| failed(error.to_string()))?;
        let connection = ClientConnection::new(config, name);
        Ok(Self {
            connection: connection.map_err(|error| failed(error.to_string()))?,
            verifier,
            address,
            setting: settings.fingerprint_setting,
        })
    }

    /// Whether the handshake still goes on.
    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Takes what came from the socket, and gives what is in it.
    pub(super) fn receive(&mut self, mut bytes: &[u8], mut plain: impl FnMut(&[u8])) -> Result<(), Error> {
        while !bytes.is_empty() {
            // Never more than it has room for, so nothing is lost.
            self.connection.read_tls(&mut bytes)?;
            let state = self
                .connection
                .process_new_packets()
                .map_err(|error| self.why(&error))?;
            let mut left = state.plaintext_bytes_to_read();
            let mut chunk = [0; 16 * 1024];
            while left > 0 {
                let length = self.connection.reader().read(&mut chunk)?;
                plain(chunk.get(..length).unwrap_or_default());
                left = left.saturating_sub(length.max(1));
            }
        }
        Ok(())
    }

    /// Puts what is to be sent, and what TLS itself has to say, behind `output`.
    pub(super) fn send(&mut self, plain: &[u8], output: &mut BytesMut) -> Result<(), Error> {
        // In parts, since it buffers only so much.
        for part in plain.chunks(16 * 1024) {
            self.connection.writer().write_all(part)?;
            self.take_output(output)?;
        }
        self.take_output(output)
    }

    /// What TLS itself has to say.
    pub(super) fn take_output(&mut self, output: &mut BytesMut) -> Result<(), Error> {
        struct Behind<'a>(&'a mut BytesMut);
        impl io::Write for Behind<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.extend_from_slice(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Behind(output))?;
        }
        Ok(())
    }

    fn why(&self, error: &rustls::Error) -> Error {
        let address = self.address.clone();
        match self.verifier.refused() {
            Some(fingerprint) => Error::Certificate {
                address,
                why: error.to_string(),
                fingerprint,
                setting: self.setting,
            },
            None => Error::Tls {
                address,
                why: error.to_string(),
            },
        }
    }
}
