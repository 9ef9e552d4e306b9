//! WebRTC: the driver of `protocol::webrtc` on sockets.
//!
//! Belongs here: the ICE port by UDP ([`sockets`]) and TCP ([`tcp`]), which session a datagram is for ([`sessions`]), viewers and the frames they are
//! given ([`fanout`], [`viewer`], [`forms`], [`thinning`]), publishers ([`publish`]), what requests by HTTP do to sessions ([`service`]). Does not belong
//! here: HTTP itself ([`crate::http`]), the rules of ICE, DTLS, RTP (`protocol`), who may do what ([`crate::auth`]).

pub(crate) mod asking;
mod candidates;
pub(crate) mod exchange;
mod fanout;
mod forms;
mod publish;
mod service;
mod sessions;
mod sockets;
mod tcp;
#[cfg(test)]
mod tests;
mod thinning;
mod trail;
mod viewer;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use media::Clock;
use media::hub::Hub;
use protocol::webrtc::{Identity, Moment, NoCertificate};
use tokio::net::TcpListener;

use crate::log::notice::{self, Listening};
use crate::net::{Datagrams, Gate};
use crate::shutdown::Shutdown;
use crate::source::Supervisor;
use candidates::Candidates;
pub(crate) use service::{Asked, Created, Patched, Refused, Which, is_reordered};
use sessions::Sessions;

/// Settings of the driver.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Sessions at a time, viewers and publishers together; one more is asked to come again.
    pub sessions: usize,
    /// Fan-out tasks per stream: as many as threads that run tasks.
    pub shards: usize,
    /// Where it listens; `None`: everywhere.
    pub host: Option<IpAddr>,
    /// Names and addresses at which peers reach this machine besides those of its interfaces.
    pub additional_hosts: Vec<String>,
    /// What newcomers by TCP come through.
    pub gate: Gate,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sessions: 1_000,
            shards: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            host: None,
            additional_hosts: Vec::new(),
            gate: Gate::default(),
        }
    }
}

/// The ICE port, bound already: the same number by UDP and TCP.
#[derive(Debug)]
pub struct Sockets {
    /// Media.
    pub udp: std::net::UdpSocket,
    /// Media of those who cannot send by UDP.
    pub tcp: std::net::TcpListener,
}

/// The sessions of a program.
pub struct Service {
    settings: Settings,
    hub: Hub,
    streams: Arc<Supervisor>,
    clock: Arc<dyn Clock>,
    random: fn() -> u64,
    identity: OnceLock<Result<Arc<Identity>, NoCertificate>>,
    udp: Datagrams,
    tcp: TcpListener,
    candidates: Candidates,
    sessions: Arc<Sessions>,
    listening: Listening,
}

impl Service {
    /// `streams` knows where those are that are not there. `random` must be unpredictable: the names of sessions come from it.
    ///
    /// # Errors
    /// When a socket cannot be used with the runtime.
    pub fn new(
        sockets: Sockets,
        settings: Settings,
        streams: Arc<Supervisor>,
        clock: Arc<dyn Clock>,
        random: fn() -> u64,
    ) -> io::Result<Arc<Self>> {
        let udp = Datagrams::new(sockets.udp)?;
        let tcp = TcpListener::from_std(sockets.tcp)?;
        Ok(Arc::new(Self {
            candidates: Candidates::new(&settings, udp.port(), tcp.local_addr()?.port()),
            sessions: Arc::new(Sessions::new(settings.sessions)),
            listening: Listening::new("WebRTC"),
            identity: OnceLock::new(),
            settings,
            hub: streams.hub().clone(),
            streams,
            clock,
            random,
            udp,
            tcp,
        }))
    }

    /// Tells of connections what was held back, until dropped.
    async fn keep_telling(&self) {
        loop {
            tokio::time::sleep(notice::INTERVAL).await;
            self.listening.tell_rest(self.clock.now());
        }
    }

    /// So many sessions from now on. Those that are there stay.
    pub fn set_sessions(&self, limit: usize) {
        self.sessions.set_limit(limit);
    }

    /// These are told to who comes from now on, beside the addresses of this machine.
    pub fn set_additional_hosts(&self, hosts: &[String]) {
        self.candidates.set_hosts(hosts);
    }

    /// The number of the UDP port.
    pub fn port(&self) -> u16 {
        self.udp.port()
    }

    /// Serves until it is time to end. Sessions end with their streams.
    pub async fn run(self: Arc<Self>, stop: Shutdown) {
        tokio::select! {
            () = sockets::receive(&self) => {}
            () = tcp::accept(&self) => {}
            () = self.candidates.keep_resolving() => {}
            () = self.keep_telling() => {}
            () = stop.requested() => {}
        }
        self.sessions.end_all();
    }

    /// Made when the first peer comes: it costs the start nothing.
    fn identity(&self) -> Result<Arc<Identity>, NoCertificate> {
        self.identity.get_or_init(|| Identity::generate().map(Arc::new)).clone()
    }

    fn now(&self) -> Moment {
        Moment {
            at: self.clock.now(),
            wall: self.clock.wall(),
        }
    }
}
