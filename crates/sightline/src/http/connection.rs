//! One connection: TLS, HTTP/1.1 or HTTP/2, its limits and its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum_core::body::Body;
use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Shared;
use super::entrance::Entrance;
use super::peer::Peer;
use super::timer::HeadTimer;
use crate::net;
use crate::shutdown::{self, Shutdown};
use crate::tls::{self, Inside};

/// Largest head of a request, in bytes: more is 431. A cookie, a token and what browsers say of themselves are 2 KiB.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Most header fields of a request.
const MAX_HEADERS: usize = 100;
/// Requests of one connection that are answered side by side, by HTTP/2.
const MAX_STREAMS: u32 = 100;
/// What a peer may send ahead of being read, by HTTP/2, for one request and for all of a connection.
const WINDOW_BYTES: [u32; 2] = [64 << 10, 256 << 10];

/// Serves a connection until it ends, or it is time to end.
pub(super) async fn run(
    socket: TcpStream,
    remote: SocketAddr,
    entrance: Arc<Entrance>,
    secure: bool,
    shared: &Arc<Shared>,
    stop: &Shutdown,
) {
    let patience = &shared.settings.patience;
    // What fails here fails on the next read.
    let _ = net::send_without_delay(&socket);
    net::bound_unsent_time(&socket, patience.answer);
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let peer = Peer::new(remote, local, secure);
    let serve = Serve {
        entrance,
        peer,
        shared,
        stop,
    };
    if !secure {
        return serve.http1(socket).await;
    }
    let handshake = tokio::time::timeout(patience.handshake, accept_tls(socket, shared));
    let socket = tokio::select! {
        done = handshake => done.ok().flatten(),
        () = stop.requested() => None,
    };
    let Some(socket) = socket else {
        return;
    };
    match socket.get_ref().1.alpn_protocol() {
        protocol if tls::is_challenge(protocol) => {}
        Some(b"h2") => serve.http2(socket).await,
        _ => serve.http1(socket).await,
    }
}

async fn accept_tls(socket: TcpStream, shared: &Shared) -> Option<TlsStream<TcpStream>> {
    let config = shared.settings.certificates.config(Inside::Http).await?;
    // Browsers that do not trust the certificate end it like this, and say so to people themselves.
    TlsAcceptor::from(config).accept(socket).await.ok()
}

struct Serve<'a> {
    entrance: Arc<Entrance>,
    peer: Peer,
    shared: &'a Arc<Shared>,
    stop: &'a Shutdown,
}

impl Serve<'_> {
    /// Without asking whether it might be HTTP/2: nobody speaks that without TLS, and looking would have to be limited in time as well.
    async fn http1(self, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (entrance, peer) = (self.entrance, self.peer);
        let service = service_fn(move |request| answer(Arc::clone(&entrance), peer, request));
        let connection = http1::Builder::new()
            .timer(HeadTimer::default())
            .header_read_timeout(self.shared.settings.patience.headers)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades();
        until_stopped(connection, |it| it.graceful_shutdown(), self.shared, self.stop).await;
    }

    async fn http2(self, socket: TlsStream<TcpStream>) {
        let (entrance, peer) = (self.entrance, self.peer);
        let asked = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&asked);
        let service = service_fn(move |request| {
            asks.store(true, Relaxed);
            answer(Arc::clone(&entrance), peer, request)
        });
        let patience = self.shared.settings.patience;
        let [stream_bytes, connection_bytes] = WINDOW_BYTES;
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            // Also finds out that a peer is gone, which idle connections by HTTP/1 are not kept for.
            .keep_alive_interval(patience.answer)
            .keep_alive_timeout(patience.handshake)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .initial_stream_window_size(stream_bytes)
            .initial_connection_window_size(connection_bytes)
            .serve_connection(TokioIo::new(socket), service);
        let connection = until_stopped(connection, |it| it.graceful_shutdown(), self.shared, self.stop);
        // The library waits for the peer's first word for ever.
        let silent = async {
            tokio::time::sleep(patience.handshake).await;
            if asked.load(Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = connection => {}
            () = silent => {}
        }
    }
}

/// Drives a connection. When it is time to end, requests at hand are answered, for a while.
async fn until_stopped<C: Future>(connection: C, end: fn(Pin<&mut C>), shared: &Shared, stop: &Shutdown) {
    let mut connection = pin!(connection);
    tokio::select! {
        // How it ended is the peer's affair: it went away, or did not keep to the protocol or the limits.
        _ = connection.as_mut() => return,
        () = stop.requested() => {}
    }
    end(connection.as_mut());
    tokio::select! {
        _ = connection => {}
        () = shutdown::lived(shared.settings.patience.end) => {}
    }
}

async fn answer(entrance: Arc<Entrance>, peer: Peer, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    // Most bring nothing, which needs no memory.
    let request = request.map(|body| match body.is_end_stream() {
        true => Body::empty(),
        false => Body::new(body),
    });
    Ok(entrance.answer(peer, request).await)
}
