//! HTTP: the dashboard's, the API's, the HLS and the WebRTC port, with and without TLS.
//!
//! Belongs here: listeners and connections with their limits (`listener`, `connection`), who asks through which proxy (`forwarded`, `peer`) and by which name (`hosts`, `place`), which route a request means (`entrance`, `paths`), the
//! one place where it becomes a principal and is let through to its handler (`routes`, `access`), how answers and problems look (`answer`, `problem`), the API (`api`), WebSockets (`socket`, `live`), its description for programs (`openapi`), what MediaMTX's clients read (`v3`), finding and playing of recordings (`recordings`), ranges of bytes (`range`), single pictures (`picture`), signing in and out (`signing`), how often somebody may ask (`rates`), the metrics (`metrics`), what the audit log says of requests (`trail`), the pages (`pages`) and the files of
//! the built one (`assets`). Does not belong here: who may do what ([`crate::auth`]), which certificate is shown ([`crate::tls`]), what a
//! protocol on top of HTTP says (`protocol`).
//!
//! Adding a route is one line in a table, which cannot be written without saying who may use it. axum, whose router knows no such rule, is forbidden (`deny.toml`).

mod access;
mod answer;
mod api;
mod assets;
mod body;
mod challenge;
mod connection;
mod entrance;
pub mod forwarded;
mod hls;
pub mod hosts;
mod listener;
mod live;
mod metrics;
mod notices;
mod openapi;
mod pages;
mod paths;
mod peer;
mod picture;
mod place;
mod problem;
mod range;
mod rates;
mod recordings;
mod routes;
mod signing;
mod socket;
#[cfg(test)]
mod tests;
mod timer;
mod trail;
mod v3;
mod webrtc;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use media::Clock;
use media::hub::Hub;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::auth::Auth;
use crate::config::live::{Adjustable, Live};
use crate::feed::{self, Feed};
use crate::forward::Forwarder;
use crate::history::History;
use crate::hls::Hls;
use crate::log;
use crate::machine::Machine;
use crate::motion::Detector;
use crate::net::Gate;
use crate::record::export::Exports;
use crate::record::library::Library;
use crate::record::service::Recordings;
use crate::shutdown::Shutdown;
use crate::source::Supervisor;
use crate::source::probe::Desk;
use crate::state::control::Control;
use crate::status;
use crate::stills::Stills;
use crate::tls::Certificates;
use crate::upload::Uploads;
use crate::webhooks::Webhooks;
pub(crate) use api::sight;
use entrance::{Cors, Entrance};
use forwarded::Trusted;
use hosts::Hosts;
use listener::Listener;
use notices::Notices;
use rates::Rates;
pub(crate) use v3::{reader_type, source_of, uuid};

/// Objects as the API has them, for the feed.
pub(crate) mod forms {
    pub(crate) use super::api::{Recording, Session, Track, since};
    pub(crate) use super::place::Place;
    pub(crate) use super::recordings::exports::form as export;
}

/// What the HTTP ports need to know.
pub struct Settings {
    /// Connections to all of them at a time; one more is closed at once.
    pub connections: Adjustable<usize>,
    /// How long peers may take.
    pub patience: Patience,
    /// Which proxies are believed.
    pub trusted: Adjustable<Arc<Trusted>>,
    /// The names that we go by.
    pub hosts: Adjustable<Arc<Hosts>>,
    /// The host that URLs name; `None`: the one that the client used.
    pub host: Option<String>,
    /// Where RTSP is served.
    pub rtsp_port: u16,
    /// How streams are cut for LL-HLS.
    pub hls: Adjustable<protocol::hls::Config>,
    /// What HTTPS shows.
    pub certificates: Arc<Certificates>,
    /// Where status sockets end.
    pub status: Arc<status::Server>,
    /// What sends streams on.
    pub forwards: Arc<Forwarder>,
    /// Who is told what happens.
    pub webhooks: Arc<Webhooks>,
    /// What records streams.
    pub recordings: Arc<Recordings>,
    /// What looks for motion.
    pub motion: Arc<Detector>,
    /// What uploads snapshots, where anything does.
    pub uploads: Option<Arc<Uploads>>,
    /// The settings that the API shows and changes.
    pub live: Arc<Live>,
    /// What newcomers come through.
    pub gate: Gate,
    /// What is recorded.
    pub library: Arc<Library>,
    /// What of it was made a file of its own.
    pub exports: Arc<Exports>,
    /// The newest pictures of streams.
    pub stills: Stills,
    /// The newest lines of the log.
    pub log: Arc<log::Ring>,
    /// The people that were made in the page.
    pub control: Arc<Control>,
    /// What figures were, where that is kept.
    pub history: Option<History>,
}

/// How long peers may take. Whoever takes longer is disconnected.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the headers of a request, counted from the connection or the end of the request before: so it is also how long a connection
    /// may idle.
    pub headers: Duration,
    /// For the body of a request.
    pub body: Duration,
    /// For the TLS handshake, and for the first request over HTTP/2.
    pub handshake: Duration,
    /// Without taking anything of an answer.
    pub answer: Duration,
    /// For requests that are being answered when the program ends.
    pub end: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(10),
            body: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            end: Duration::from_millis(500),
        }
    }
}

/// Sockets that are bound already.
#[derive(Debug)]
pub struct Sockets {
    /// Dashboard and API.
    pub http: std::net::TcpListener,
    /// The same over TLS.
    pub https: std::net::TcpListener,
    /// LL-HLS.
    pub hls: std::net::TcpListener,
    /// WebRTC's signalling.
    pub webrtc: std::net::TcpListener,
    /// The dashboard's routes once more, where old publishers look for the status socket.
    pub websocket: Option<std::net::TcpListener>,
}

/// Where each of them listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Dashboard and API.
    pub http: u16,
    /// The same over TLS.
    pub https: u16,
    /// LL-HLS.
    pub hls: u16,
    /// WebRTC's signalling.
    pub webrtc: u16,
    /// The dashboard's once more.
    pub websocket: Option<u16>,
}

/// What every request may need.
struct Shared {
    settings: Settings,
    ports: Ports,
    hub: Hub,
    streams: Arc<Supervisor>,
    hls: Arc<Hls>,
    auth: Arc<Auth>,
    webrtc: Arc<crate::webrtc::Service>,
    clock: Arc<dyn Clock>,
    began: Instant,
    machine: Arc<Machine>,
    /// Where cameras are tried out.
    probes: Desk,
    feed: Arc<Feed>,
    open: AtomicUsize,
    /// Who listens to events.
    listeners: AtomicUsize,
    /// It is time to end.
    ending: AtomicBool,
    panics: AtomicU64,
    /// How long a wrong password took to be known as one, at the most.
    slowest_us: AtomicU64,
    notices: Notices,
    rates: Rates,
}

impl Shared {
    /// A handler panicked, which is a bug of ours.
    fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
        tracing::error!("an HTTP request ended by a bug of ours; please report the text above");
    }
}

/// Each second into the history, until the program ends.
async fn keep(feed: Arc<Feed>, history: History, stop: Shutdown) {
    let _wanted = feed.want_samples();
    let mut samples = feed.samples();
    loop {
        tokio::select! {
            changed = samples.changed() => if changed.is_err() { break },
            () = stop.requested() => break,
        }
        let newest = Arc::clone(&samples.borrow_and_update());
        history.second(newest);
    }
    history.end().await;
}

/// The HTTP ports of a program.
pub struct Server {
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
}

impl Server {
    /// `streams` knows where those are that are not there.
    ///
    /// # Errors
    /// When a socket cannot be used with the runtime.
    pub fn new(
        sockets: Sockets,
        settings: Settings,
        streams: Arc<Supervisor>,
        auth: Arc<Auth>,
        webrtc: Arc<crate::webrtc::Service>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let port = |socket: &std::net::TcpListener| socket.local_addr().map(|address: SocketAddr| address.port());
        let ports = Ports {
            http: port(&sockets.http)?,
            https: port(&sockets.https)?,
            hls: port(&sockets.hls)?,
            webrtc: port(&sockets.webrtc)?,
            websocket: sockets.websocket.as_ref().map(port).transpose()?,
        };
        let hub = streams.hub().clone();
        let machine = Arc::new(Machine::default());
        let world = feed::World {
            hub: hub.clone(),
            streams: Arc::clone(&streams),
            recordings: Arc::clone(&settings.recordings),
            exports: Arc::clone(&settings.exports),
            motion: Arc::clone(&settings.motion),
            status: Arc::clone(&settings.status),
            machine: Arc::clone(&machine),
            clock: Arc::clone(&clock),
        };
        let places = feed::facts::Places {
            rtsp: settings.rtsp_port,
            hls: ports.hls,
            webrtc: ports.webrtc,
        };
        let feed = Feed::new(world, Arc::clone(&auth), places);
        let shared = Arc::new(Shared {
            ports,
            hls: Hls::new(hub.clone(), Arc::clone(&clock), settings.hls.clone()),
            hub,
            streams,
            auth,
            webrtc,
            began: clock.now(),
            clock,
            machine,
            probes: Desk::default(),
            feed,
            open: AtomicUsize::new(0),
            listeners: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            panics: AtomicU64::new(0),
            slowest_us: AtomicU64::new(0),
            notices: Notices::default(),
            rates: Rates::default(),
            settings,
        });
        let dashboard = Arc::new(Entrance::new(routes::DASHBOARD, Cors::Live, &shared));
        // Players of other sites may play what is open, and read why not.
        let players = Arc::new(Entrance::new(routes::PLAYERS, Cors::Everybody, &shared));
        let listener = |socket, entrance: &Arc<Entrance>, secure| {
            TcpListener::from_std(socket).map(|socket| Listener {
                socket,
                entrance: Arc::clone(entrance),
                secure,
            })
        };
        let mut listeners = vec![
            listener(sockets.http, &dashboard, false)?,
            listener(sockets.https, &dashboard, true)?,
            listener(sockets.hls, &players, false)?,
            listener(sockets.webrtc, &players, false)?,
        ];
        if let Some(socket) = sockets.websocket {
            listeners.push(listener(socket, &dashboard, false)?);
        }
        Ok(Self { shared, listeners })
    }

    /// The streams that are played by HLS.
    pub fn hls(&self) -> Arc<Hls> {
        Arc::clone(&self.shared.hls)
    }

    /// What the page knows.
    pub fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.shared.feed)
    }

    /// Where they listen.
    pub fn ports(&self) -> Ports {
        self.shared.ports
    }

    /// Serves until it is time to end, and then until the requests at hand are answered, but not for long.
    pub async fn run(self, stop: Shutdown) {
        // Nothing is ever sent: it closes when the last connection has let go.
        let (open, mut ended) = mpsc::channel(1);
        for listener in self.listeners {
            let (shared, stop, open) = (Arc::clone(&self.shared), stop.clone(), open.clone());
            tokio::spawn(listener.run(shared, stop, open));
        }
        drop(open);
        tokio::spawn(Arc::clone(&self.shared.feed).run(stop.clone()));
        let history = self.shared.settings.history.clone();
        let keeping = history.map(|history| tokio::spawn(keep(Arc::clone(&self.shared.feed), history, stop.clone())));
        tokio::select! {
            () = self.shared.notices.keep_telling(&*self.shared.clock, &self.shared.settings.control) => {}
            () = stop.requested() => {}
        }
        self.shared.ending.store(true, Relaxed);
        let most = self.shared.settings.patience.end.saturating_mul(2);
        let _ = tokio::time::timeout(most, ended.recv()).await;
        if let Some(keeping) = keeping {
            // A panic in it was reported already.
            let _ = keeping.await;
        }
    }
}
