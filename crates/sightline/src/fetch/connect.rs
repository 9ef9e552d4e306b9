//! One connection to one server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::outgoing::Outgoing;
use super::{CONNECT_TIMEOUT, FetchError, Origin};
use crate::trust::Verifier;

/// The head of an answer, and what is read at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// Lines in the head of an answer.
const MAX_HEADERS: usize = 100;

/// See the module. It ends when it is dropped.
pub(super) struct Connection {
    pub(super) origin: Origin,
    pub(super) sender: SendRequest<Outgoing>,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// For a request before.
    pub(super) is_used: bool,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(super) async fn open(
        origin: Origin,
        may_connect: fn(IpAddr) -> bool,
        verifier: Option<Verifier>,
    ) -> Result<Self, FetchError> {
        let socket = reach(&origin, may_connect).await?;
        let failed = |error| FetchError::Connect {
            address: origin.address(),
            error,
        };
        socket.set_nodelay(true).map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        let remote = socket.peer_addr().map_err(failed)?;
        let (sender, driver) = match verifier {
            None => shake_hands(&origin, TokioIo::new(socket)).await?,
            Some(verifier) => shake_hands(&origin, TokioIo::new(secure(&origin, socket, verifier).await?)).await?,
        };
        Ok(Self {
            origin,
            sender,
            local,
            remote,
            is_used: false,
            driver,
        })
    }

    /// The head of the answer.
    pub(super) async fn ask(
        &mut self,
        request: http::Request<Outgoing>,
    ) -> Result<http::Response<Incoming>, FetchError> {
        self.is_used = true;
        let asked = self.sender.send_request(request).await;
        asked.map_err(|error| broken(&self.origin.address(), &error))
    }
}

/// What is wrong with what a server says.
pub(super) fn broken(address: &str, error: &hyper::Error) -> FetchError {
    let mut why = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        why = format!("{why}: {cause}");
    }
    FetchError::Http {
        address: address.to_owned(),
        why,
    }
}

/// The first of its addresses that answers, of those that may be connected to.
async fn reach(origin: &Origin, may_connect: fn(IpAddr) -> bool) -> Result<TcpStream, FetchError> {
    let resolved = tokio::net::lookup_host((origin.host.as_str(), origin.port)).await;
    let resolved = resolved.map_err(|error| FetchError::Resolve {
        host: origin.host.clone(),
        error,
    })?;
    let mut failed = FetchError::Resolve {
        host: origin.host.clone(),
        error: io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
    };
    for candidate in resolved {
        // Here and nowhere else, so that what was looked at is what is connected to, whatever the name means the next time.
        if !may_connect(candidate.ip()) {
            failed = FetchError::Forbidden {
                host: origin.host.clone(),
                address: candidate.ip(),
            };
            continue;
        }
        let error = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(candidate)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        };
        failed = FetchError::Connect {
            address: origin.address(),
            error,
        };
    }
    Err(failed)
}

async fn secure(
    origin: &Origin,
    socket: TcpStream,
    verifier: Verifier,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, FetchError> {
    let failed = |why: String| FetchError::Tls {
        address: origin.address(),
        why,
    };
    let verifier = Arc::new(verifier);
    let config = verifier.config().map_err(failed)?;
    let name = ServerName::try_from(origin.host.clone()).map_err(|error| failed(error.to_string()))?;
    let shaken = TlsConnector::from(config).connect(name, socket).await;
    shaken.map_err(|error| match verifier.refused() {
        Some(fingerprint) => FetchError::Certificate {
            address: origin.address(),
            why: error.to_string(),
            fingerprint,
        },
        None => failed(error.to_string()),
    })
}

async fn shake_hands<T>(origin: &Origin, io: T) -> Result<(SendRequest<Outgoing>, AbortHandle), FetchError>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder.max_buf_size(BUFFER_BYTES).max_headers(MAX_HEADERS);
    let shaken = builder.handshake(io).await;
    let (sender, connection) = shaken.map_err(|error| broken(&origin.address(), &error))?;
    let driver = tokio::spawn(async move {
        // What goes wrong is told to who waits for an answer.
        let _ = connection.await;
    });
    Ok((sender, driver.abort_handle()))
}
