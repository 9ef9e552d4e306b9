//! RTSP: the driver of `protocol::rtsp` on sockets, for serving and for asking others.
//!
//! Belongs here: accepting connections and reading them ([`connection`]), what a viewer's and a publisher's requests do to the
//! hub ([`play`], [`record`]), giving frames to viewers ([`fanout`]), connections as events ([`told`]), connections by TLS ([`wire`]), the pair of UDP ports ([`udp`]),
//! what the log says of refused peers ([`notices`]). Does not belong here: the rules of RTSP and RTP (`protocol`), who may do what
//! ([`crate::auth`]), which certificate is shown ([`crate::tls`]).

pub mod client;
mod connection;
mod fanout;
mod forms;
mod notices;
mod play;
mod record;
#[cfg(test)]
mod tests;
mod told;
mod udp;
mod viewer;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use media::Clock;
use media::hub::Hub;
use protocol::rtsp::server;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::auth::Auth;
use crate::config::live::Adjustable;
use crate::net::{Gate, RtpPair};
use crate::source::Supervisor;
use crate::tls::{Certificates, Inside};
use notices::Notices;
use told::{Openings, Told};
use udp::RtpSockets;
use wire::Wire;

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections at a time; one more is closed at once.
    pub connections: Adjustable<usize>,
    /// Rules and limits of a session.
    pub session: server::Config,
    /// Fan-out tasks per stream: as many as threads that run tasks.
    pub shards: usize,
    /// What newcomers come through.
    pub gate: Gate,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: Adjustable::new(20_000),
            session: server::Config::default(),
            shards: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            gate: Gate::default(),
        }
    }
}

/// Wait after the operating system refused to accept: no descriptors are left, and trying at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a peer may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Where RTSP is served, on sockets that are bound already.
pub struct Sockets {
    /// RTSP.
    pub tcp: std::net::TcpListener,
    /// RTSPS, and what it shows.
    pub tls: Option<(std::net::TcpListener, Arc<Certificates>)>,
    /// RTP over UDP. Without them only interleaved transport is offered.
    pub rtp: Option<RtpPair>,
}

/// What every connection needs.
pub(crate) struct Shared {
    settings: Settings,
    hub: Hub,
    streams: Arc<Supervisor>,
    auth: Arc<Auth>,
    clock: Arc<dyn Clock>,
    sockets: Option<Arc<RtpSockets>>,
    random: fn() -> u64,
    open: AtomicUsize,
    notices: Notices,
    openings: Openings,
}

/// Counts a connection as long as it lives.
struct Open(Arc<Shared>);

impl Open {
    fn told(&self, protocol: &'static str, remote: SocketAddr) -> Option<Box<Told>> {
        let shared = &self.0;
        let events = shared.streams.events();
        shared.openings.opened(events, protocol, remote, &*shared.clock)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// An RTSP server on sockets that are bound already.
pub struct Server {
    shared: Arc<Shared>,
    listener: TcpListener,
    secure: Option<(TcpListener, Arc<Certificates>)>,
}

impl Server {
    /// `streams` knows where those are that are not there. `random` must be unpredictable: session ids and nonces come from it.
    ///
    /// # Errors
    /// When a socket cannot be used with the runtime, or has no segmentation state.
    pub fn new(
        sockets: Sockets,
        mut settings: Settings,
        streams: Arc<Supervisor>,
        auth: Arc<Auth>,
        clock: Arc<dyn Clock>,
        random: fn() -> u64,
    ) -> std::io::Result<Self> {
        let Sockets { tcp, tls, rtp } = sockets;
        settings.session.udp &= rtp.is_some();
        let sockets = rtp.map(RtpSockets::new).transpose()?.map(Arc::new);
        let listener = TcpListener::from_std(tcp)?;
        let listening =
            |(socket, certificates)| Ok::<_, std::io::Error>((TcpListener::from_std(socket)?, certificates));
        let secure = tls.map(listening).transpose()?;
        let open = AtomicUsize::new(0);
        let shared = Arc::new(Shared {
            settings,
            hub: streams.hub().clone(),
            streams,
            auth,
            clock,
            sockets,
            random,
            open,
            notices: Notices::default(),
            openings: Openings::default(),
        });
        Ok(Self {
            shared,
            listener,
            secure,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where it listens for RTSPS.
    pub fn secure_port(&self) -> Option<u16> {
        let (listener, _) = self.secure.as_ref()?;
        listener.local_addr().ok().map(|address| address.port())
    }

    /// Serves until `stop` becomes true or its sender is gone; then all connections end.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let datagrams = self.shared.sockets.clone().map(|sockets| {
            tokio::spawn(async move {
                sockets.run().await;
            })
        });
        let secure = async {
            match &self.secure {
                Some((listener, certificates)) => self.accept(listener, Some(certificates), &stop).await,
                None => std::future::pending().await,
            }
        };
        let mut stopped = stop.clone();
        tokio::select! {
            () = self.accept(&self.listener, None, &stop) => {}
            () = secure => {}
            () = self.shared.notices.keep_telling(&*self.shared.clock, &self.shared.openings) => {}
            _ = stopped.wait_for(|&stop| stop) => {}
        }
        if let Some(datagrams) = datagrams {
            datagrams.abort();
        }
    }

    async fn accept(&self, listener: &TcpListener, secure: Option<&Arc<Certificates>>, stop: &watch::Receiver<bool>) {
        loop {
            let (socket, remote) = match self.shared.settings.gate.accept(listener).await {
                Ok(accepted) => accepted,
                Err(error) => {
                    let now = self.shared.clock.now();
                    self.shared.notices.listening.failed(&error, now);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let limit = self.shared.settings.connections.get();
            if self.shared.open.fetch_add(1, Relaxed) >= limit {
                self.shared.open.fetch_sub(1, Relaxed);
                let now = self.shared.clock.now();
                self.shared.notices.listening.refused(remote, limit, now);
                continue;
            }
            let open = Open(self.shared.clone());
            tokio::spawn(connected(socket, remote, secure.cloned(), open, stop.clone()));
        }
    }
}

/// Serves who came, by TLS where there are certificates. As large as this is what every connection holds, whatever it does.
async fn connected(
    socket: TcpStream,
    remote: SocketAddr,
    secure: Option<Arc<Certificates>>,
    open: Open,
    mut stop: watch::Receiver<bool>,
) {
    let protocol = if secure.is_some() { "RTSPS" } else { "RTSP" };
    let wire = match secure {
        None => Some(Wire::plain(socket)),
        Some(certificates) => tokio::select! {
            // Apart, or each connection would hold the memory of a handshake for as long as it lasts.
            wire = Box::pin(shake_hands(socket, remote, &certificates)) => wire,
            _ = stop.wait_for(|&stop| stop) => None,
        },
    };
    if let Some(wire) = wire {
        let told = open.told(protocol, remote);
        connection::run(wire, remote, told, open.0.clone(), stop).await;
    }
}

/// `None` where no TLS came of it: the peer knows why, and strangers are not worth a line each.
async fn shake_hands(socket: TcpStream, remote: SocketAddr, certificates: &Certificates) -> Option<Wire> {
    let config = certificates.config(Inside::Rtsp).await?;
    let _ = crate::net::send_without_delay(&socket);
    let accepted = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(socket)).await;
    let accepted = accepted.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    match accepted {
        Ok(stream) => {
            let (socket, tls) = stream.into_inner();
            Some(Wire::secure(socket, tls))
        }
        Err(error) => {
            tracing::debug!(%remote, reason = %error, "RTSPS: no TLS came of it");
            None
        }
    }
}
