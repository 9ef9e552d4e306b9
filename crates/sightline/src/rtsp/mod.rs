//! RTSP: the driver of `protocol::rtsp` on sockets, for serving and for asking others.
//!
//! Belongs here: accepting connections and reading them ([`connection`]), what a viewer's and a publisher's requests do to the
//! hub ([`play`], [`record`]), giving frames to viewers ([`fanout`]), the pair of UDP ports ([`udp`]), what the log says of refused
//! peers ([`notices`]). Does not belong here: the
//! rules of RTSP and RTP (`protocol`), who may do what ([`crate::auth`]).

pub mod client;
mod connection;
mod fanout;
mod forms;
mod notices;
mod play;
mod record;
#[cfg(test)]
mod tests;
mod udp;
mod viewer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use media::hub::Hub;
use media::{Clock, StreamName};
use protocol::rtsp::server;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::auth::Auth;
use crate::net::RtpPair;
use notices::Notices;
use udp::RtpSockets;

/// Settings of the server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections at a time; one more is closed at once.
    pub connections: usize,
    /// Rules and limits of a session.
    pub session: server::Config,
    /// Fan-out tasks per stream: as many as threads that run tasks.
    pub shards: usize,
    /// Streams that cameras and slates of this machine will give, if not at once.
    pub soon: Vec<StreamName>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 20_000,
            session: server::Config::default(),
            shards: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            soon: Vec::new(),
        }
    }
}

/// Wait after the operating system refused to accept: no descriptors are left, and trying at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every connection needs.
pub(crate) struct Shared {
    settings: Settings,
    hub: Hub,
    auth: Arc<Auth>,
    clock: Arc<dyn Clock>,
    sockets: Option<Arc<RtpSockets>>,
    random: fn() -> u64,
    open: AtomicUsize,
    notices: Notices,
}

/// Counts a connection as long as it lives.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// An RTSP server on sockets that are bound already.
pub struct Server {
    shared: Arc<Shared>,
    listener: TcpListener,
}

impl Server {
    /// `pair`: the ports for RTP over UDP; without them only interleaved transport is offered. `random` must be
    /// unpredictable: session ids and nonces come from it.
    ///
    /// # Errors
    /// When a socket cannot be used with the runtime, or has no segmentation state.
    pub fn new(
        listener: std::net::TcpListener,
        pair: Option<RtpPair>,
        mut settings: Settings,
        hub: Hub,
        auth: Arc<Auth>,
        clock: Arc<dyn Clock>,
        random: fn() -> u64,
    ) -> std::io::Result<Self> {
        settings.session.udp &= pair.is_some();
        let sockets = pair.map(RtpSockets::new).transpose()?.map(Arc::new);
        let listener = TcpListener::from_std(listener)?;
        let open = AtomicUsize::new(0);
        let shared = Arc::new(Shared {
            settings,
            hub,
            auth,
            clock,
            sockets,
            random,
            open,
            notices: Notices::default(),
        });
        Ok(Self { shared, listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` becomes true or its sender is gone; then all connections end.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let datagrams = self.shared.sockets.clone().map(|sockets| {
            tokio::spawn(async move {
                sockets.run().await;
            })
        });
        let connections = stop.clone();
        tokio::select! {
            () = self.accept(connections) => {}
            () = self.shared.notices.keep_telling(&*self.shared.clock) => {}
            _ = stop.wait_for(|&stop| stop) => {}
        }
        if let Some(datagrams) = datagrams {
            datagrams.abort();
        }
    }

    async fn accept(&self, stop: watch::Receiver<bool>) {
        loop {
            let (socket, remote) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    let now = self.shared.clock.now();
                    self.shared.notices.listening.failed(&error, now);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if self.shared.open.fetch_add(1, Relaxed) >= self.shared.settings.connections {
                self.shared.open.fetch_sub(1, Relaxed);
                let limit = self.shared.settings.connections;
                let now = self.shared.clock.now();
                self.shared.notices.listening.refused(remote, limit, now);
                continue;
            }
            let open = Open(self.shared.clone());
            let stop = stop.clone();
            tokio::spawn(async move {
                connection::run(socket, remote, open.0.clone(), stop).await;
                drop(open);
            });
        }
    }
}
