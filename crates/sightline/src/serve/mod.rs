//! The server and the cameras of this machine in one process: what `up` and `serve` run.
//!
//! Belongs here: what is started in which order, and ended; what people are told about it ([`banner`]). Does not belong here: reading of
//! flags ([`crate::cli`]), a protocol.

mod banner;
pub(crate) mod status;
mod urls;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use device::camera::Status;
use jiff::tz::TimeZone;
use media::hub::Hub;
use media::{Clock, StreamName};

use crate::auth::{Auth, Mode};
use crate::camera::{self, Camera, Cameras, Standby};
use crate::config::settings::{self, LogFormat, Settings};
use crate::config::{Environment, Loaded};
use crate::log::Console;
use crate::shutdown::{self, End, Shutdown};
use crate::state::{self, Folder, Place};
use crate::{http, net, random, rtsp, status as socket, webrtc};
use banner::{Banner, CameraLine};

/// What to run.
pub struct Program {
    /// The settings.
    pub loaded: Loaded,
    /// The environment, which decides where the state is.
    pub environment: Environment,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where people look.
    pub console: Arc<Console>,
    /// When the process began, to tell how long the start took.
    pub began: Instant,
    /// Start a camera when none is configured.
    pub wants_camera: bool,
    /// Where the status socket is served besides, for old publishers.
    pub websocket_port: Option<u16>,
}

/// Why it could not start, or ended. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be had.
    #[error(transparent)]
    Listen(#[from] net::ListenError),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The operating system refuses something that every program needs.
    #[error("{}", shutdown::refused(what, error))]
    System {
        /// What was tried.
        what: &'static str,
        /// What it says.
        error: std::io::Error,
    },
}

/// Runs until a signal comes.
///
/// # Errors
/// [`Error`].
pub fn run(program: &Program) -> Result<(), Error> {
    net::raise_descriptor_limit();
    let sockets = Sockets::bind(program)?;
    let auth = Arc::new(authorities(program)?);
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let work = |shutdown| serve(program, sockets, auth, shutdown);
        shutdown::run(work).await
    });
    program.console.status("");
    // Tasks that did not end are not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(End::Done(done)) => done,
        Ok(End::Abandoned) => {
            tracing::warn!("not everything ended in time");
            Ok(())
        }
        Err(error) => Err(Error::System {
            what: "handle signals",
            error,
        }),
    }
}

/// All that is listened on.
struct Sockets {
    rtsp: std::net::TcpListener,
    rtp: Option<net::RtpPair>,
    http: http::Sockets,
    ice: webrtc::Sockets,
}

/// Where that is.
#[derive(Clone, Copy, Debug)]
struct Ports {
    rtsp: u16,
    http: http::Ports,
    /// UDP, and nearly always TCP.
    ice: u16,
}

impl Sockets {
    fn bind(program: &Program) -> Result<Self, net::ListenError> {
        let settings = &program.loaded.settings;
        let host = settings.server.host.map(|address| address.0);
        let listen = |port, setting| net::listen_tcp(host, port, setting);
        Ok(Self {
            rtsp: listen(settings.rtsp.port, "--rtsp-port")?,
            rtp: settings.rtsp.udp.then(|| rtp_ports(program)).transpose()?,
            http: http::Sockets {
                http: listen(settings.http.port, "--http-port")?,
                https: listen(settings.http.https_port, "--https-port")?,
                hls: listen(settings.hls.port, "--hls-port")?,
                webrtc: listen(settings.webrtc.port, "--webrtc-port")?,
                websocket: websocket_port(program)
                    .map(|port| listen(port, "WEBSOCKET_PORT"))
                    .transpose()?,
            },
            ice: ice_port(program)?,
        })
    }
}

/// The ICE port. Browsers learn it from the answer, so where nobody asked for a particular one and the usual one is taken, another does as well.
fn ice_port(program: &Program) -> Result<webrtc::Sockets, net::ListenError> {
    let settings = &program.loaded.settings;
    let host = settings.server.host.map(|address| address.0);
    let port = settings.webrtc.ice_port;
    match ice_sockets(host, port) {
        Err(error @ net::ListenError::InUse { .. }) if program.loaded.origin("webrtc.ice_port").is_none() => {
            let sockets = ice_sockets(host, 0)?;
            let ice_port = sockets.udp.local_addr().map_or(0, |address| address.port());
            tracing::warn!(reason = %error, ice_port, "WebRTC uses another port");
            Ok(sockets)
        }
        sockets => sockets,
    }
}

/// By UDP and TCP. Where the system chooses it, the number that UDP got may be taken by TCP: then TCP has another, which answers tell.
fn ice_sockets(host: Option<IpAddr>, port: u16) -> Result<webrtc::Sockets, net::ListenError> {
    const SETTING: &str = "--ice-port";
    let udp = net::bind_udp(host, port, SETTING)?;
    let number = udp.local_addr().map_or(port, |address| address.port());
    let tcp = match net::listen_tcp(host, number, SETTING) {
        Err(net::ListenError::InUse { .. }) if port == 0 => net::listen_tcp(host, 0, SETTING)?,
        tcp => tcp?,
    };
    Ok(webrtc::Sockets { udp, tcp })
}

/// The port of `WEBSOCKET_PORT`, unless it has the status socket anyway.
fn websocket_port(program: &Program) -> Option<u16> {
    let settings = &program.loaded.settings;
    let have_it = [settings.http.port, settings.hls.port, settings.webrtc.port];
    program.websocket_port.filter(|port| !have_it.contains(port))
}

/// The ports for RTP over UDP. Players learn them when they set up a session, so where nobody asked for particular ones and the usual ones are
/// taken, others do as well.
fn rtp_ports(program: &Program) -> Result<net::RtpPair, net::ListenError> {
    const SETTINGS: &str = "rtsp.rtp_port and rtsp.rtcp_port; the system chooses both with SIGHTLINE_RTSP_RTP_PORT=0 SIGHTLINE_RTSP_RTCP_PORT=0";
    let settings = &program.loaded.settings;
    let host = settings.server.host.map(|address| address.0);
    let ports = [settings.rtsp.rtp_port, settings.rtsp.rtcp_port];
    let chosen = ["rtsp.rtp_port", "rtsp.rtcp_port"]
        .iter()
        .any(|key| program.loaded.origin(key).is_some());
    match net::bind_rtp_pair(host, ports, SETTINGS) {
        Err(error @ net::ListenError::InUse { .. }) if !chosen => {
            let pair = net::bind_rtp_pair(host, [0, 0], SETTINGS)?;
            let port = pair.rtp.local_addr().map_or(0, |address| address.port());
            tracing::warn!(reason = %error, rtp_port = port, "RTP over UDP uses other ports");
            Ok(pair)
        }
        pair => pair,
    }
}

/// As many threads as the machine has cores: none of our tasks blocks.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(cores).thread_name("io").enable_all().build();
    runtime.map_err(|error| Error::System {
        what: "start threads",
        error,
    })
}

async fn serve(program: &Program, sockets: Sockets, auth: Arc<Auth>, shutdown: Shutdown) -> Result<(), Error> {
    let settings = &program.loaded.settings;
    let clock = Arc::clone(&program.clock);
    let hub = Hub::new(settings.limits.for_hub());
    let wanted = wanted_cameras(program);
    let rtsp = rtsp::Server::new(
        sockets.rtsp,
        sockets.rtp,
        rtsp_settings(settings, &wanted),
        hub.clone(),
        Arc::clone(&auth),
        Arc::clone(&clock),
        random::bits,
    );
    let what = |what| move |error| Error::System { what, error };
    let rtsp = rtsp.map_err(what("serve RTSP"))?;
    let rtsp_port = rtsp.local_addr().map_err(what("serve RTSP"))?.port();
    let webrtc = webrtc::Service::new(
        sockets.ice,
        webrtc_settings(settings, &wanted),
        hub.clone(),
        Arc::clone(&clock),
        random::bits,
    );
    let webrtc = webrtc.map_err(what("serve WebRTC"))?;
    let sockets_of_status = socket::Server::new(settings.limits.status_clients, Arc::clone(&clock));
    let http = http::Server::new(
        sockets.http,
        http_settings(program, rtsp_port, Arc::clone(&sockets_of_status)),
        hub.clone(),
        Arc::clone(&auth),
        Arc::clone(&webrtc),
        Arc::clone(&clock),
    );
    let http = http.map_err(what("serve HTTP"))?;
    let ports = Ports {
        rtsp: rtsp_port,
        http: http.ports(),
        ice: webrtc.port(),
    };
    let serving = tokio::spawn(rtsp.run(shutdown.receiver()));
    let telling = tokio::spawn(Arc::clone(&sockets_of_status).run(shutdown.clone()));
    let answering = tokio::spawn(http.run(shutdown.clone()));
    let sending = tokio::spawn(webrtc.run(shutdown.clone()));
    report_start(program, ports, &auth);
    let tick = tokio::spawn(keep_time(hub.clone(), Arc::clone(&clock)));
    let zone = TimeZone::system();
    let standby = Standby::new(always_available(settings, &wanted), &hub, Arc::clone(&clock), zone);
    let standby = tokio::spawn(standby.run(shutdown.clone()));
    let mut cameras = Cameras::start(wanted, hub.clone(), Arc::clone(&clock));
    let done = tokio::select! {
        () = shutdown.requested() => Ok(()),
        done = watch_cameras(program, ports, &auth, &hub, &sockets_of_status, &mut cameras) => done,
    };
    tracing::info!("stopping");
    tick.abort();
    // First, or they would find their streams ended.
    cameras.stop();
    hub.end_all();
    cameras.end().await;
    if done.is_err() {
        // No signal came for them.
        serving.abort();
        answering.abort();
        sending.abort();
        telling.abort();
        standby.abort();
    }
    // They end with the same signal; a panic in them was reported already.
    let _ = (
        standby.await,
        serving.await,
        answering.await,
        sending.await,
        telling.await,
    );
    done
}

/// Tells people about the cameras as soon as they are there, and keeps them informed until the program ends.
async fn watch_cameras(
    program: &Program,
    ports: Ports,
    auth: &Auth,
    hub: &Hub,
    sockets_of_status: &socket::Server,
    cameras: &mut Cameras,
) -> Result<(), Error> {
    let started = cameras.started().await;
    let running = started.map_err(|error| Error::System {
        what: "start a camera's threads",
        error,
    })?;
    let rate = program.loaded.settings.status.rate;
    let telling = sockets_of_status.report(&running, hub.clone(), rate);
    let showing = show_cameras(program, ports, auth, hub, &running);
    tokio::join!(telling, showing);
    Ok(())
}

/// To whoever looks at the terminal.
async fn show_cameras(program: &Program, ports: Ports, auth: &Auth, hub: &Hub, running: &[Arc<Camera>]) {
    if program.loaded.settings.log.format == LogFormat::Human {
        settle(running).await;
        let lines = running.iter().map(|camera| CameraLine::new(camera)).collect();
        Banner::new(program, ports, auth, lines).print();
    }
    status::show(&program.console, hub, running).await;
}

/// Waits until each camera has a picture or a reason why not: a USB camera takes some 300 ms.
async fn settle(cameras: &[Arc<Camera>]) {
    const PATIENCE: Duration = Duration::from_secs(2);
    const LOOK_AGAIN: Duration = Duration::from_millis(10);
    let is_settled = |camera: &Arc<Camera>| !matches!(camera.status(), None | Some(Status::Starting { .. }));
    let all_settled = async {
        while !cameras.iter().all(is_settled) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, all_settled).await;
}

/// The cameras of the settings; with none there and one wanted, the first that is found.
fn wanted_cameras(program: &Program) -> Vec<camera::Wanted> {
    let settings = &program.loaded.settings;
    let named = settings
        .camera
        .iter()
        .map(|(name, camera)| (name.0.clone(), camera.clone()));
    let mut wanted: Vec<_> = named.collect();
    if wanted.is_empty() && program.wants_camera {
        wanted.push((StreamName::default_stream(), settings::Camera::default()));
    }
    wanted
}

/// Streams that show a slate while nobody publishes them. A camera has one of its own.
fn always_available(settings: &Settings, cameras: &[camera::Wanted]) -> Vec<StreamName> {
    let wished = settings.stream.iter().filter(|(_, stream)| stream.always_available);
    let names = wished.map(|(name, _)| name.0.clone());
    names
        .filter(|name| cameras.iter().all(|(camera, _)| camera != name))
        .collect()
}

fn rtsp_settings(settings: &Settings, cameras: &[camera::Wanted]) -> rtsp::Settings {
    let soon = cameras.iter().map(|(name, _)| name.clone());
    let mut rtsp = rtsp::Settings {
        connections: settings.limits.connections,
        soon: soon.chain(always_available(settings, cameras)).collect(),
        ..rtsp::Settings::default()
    };
    rtsp.session.udp = settings.rtsp.udp;
    rtsp.session.session_timeout = settings.rtsp.timeout.0;
    rtsp
}

fn webrtc_settings(settings: &Settings, cameras: &[camera::Wanted]) -> webrtc::Settings {
    let soon = cameras.iter().map(|(name, _)| name.clone());
    webrtc::Settings {
        sessions: settings.limits.webrtc_sessions,
        host: settings.server.host.map(|address| address.0),
        additional_hosts: settings.webrtc.additional_hosts.clone(),
        soon: soon.chain(always_available(settings, cameras)).collect(),
        ..webrtc::Settings::default()
    }
}

fn http_settings(program: &Program, rtsp_port: u16, status: Arc<socket::Server>) -> http::Settings {
    let settings = &program.loaded.settings;
    let environment = program.environment.clone();
    let place = state_place(program);
    http::Settings {
        connections: settings.limits.http_connections,
        patience: http::Patience::default(),
        host: urls::named_host(&settings.server, &program.environment),
        rtsp_port,
        hls: settings.hls.for_muxer(&settings.limits),
        folder: Arc::new(move || Folder::open(state::default_place(&place, &environment)?)),
        status,
        names: net::names_of_this_machine,
    }
}

fn state_place(program: &Program) -> Place {
    Place {
        named: program.loaded.settings.server.state_dir.clone(),
        root: state::is_root(),
    }
}

/// Ends streams whose publisher did not come back.
async fn keep_time(hub: Hub, clock: Arc<dyn Clock>) {
    /// The hub wants to be asked at least once a second.
    const MOST: Duration = Duration::from_secs(1);
    loop {
        let now = clock.now();
        let next = hub.poll(now).map_or(MOST, |next| next.saturating_duration_since(now));
        tokio::time::sleep(next.min(MOST)).await;
    }
}

/// Who may do what, by settings and generated tokens.
fn authorities(program: &Program) -> Result<Auth, Error> {
    let auth = &program.loaded.settings.auth;
    let mode = if let Some(token) = &auth.token {
        Mode::Single(token.clone())
    } else if auth.open {
        Mode::Open
    } else {
        let folder = Folder::open(state::default_place(&state_place(program), &program.environment)?)?;
        let (tokens, made) = state::load_or_make(&folder)?;
        if made {
            tracing::info!(folder = %folder.path().display(), "tokens made and kept");
        }
        Mode::Tokens(tokens)
    };
    Ok(Auth::new(mode, auth.trusted_networks.clone()))
}

/// What the log says of the start.
fn report_start(program: &Program, ports: Ports, auth: &Auth) {
    warn_of_openness(auth);
    let start = program.clock.now().saturating_duration_since(program.began);
    let start_us = u64::try_from(start.as_micros()).unwrap_or(u64::MAX);
    let file = program.loaded.file.as_ref().map(|path| path.display().to_string());
    let (version, config) = (env!("CARGO_PKG_VERSION"), file.as_deref());
    let (
        rtsp_port,
        http::Ports {
            http,
            https,
            hls,
            webrtc,
            websocket,
        },
    ) = (ports.rtsp, ports.http);
    macro_rules! listening {
        ($level:ident) => {
            tracing::$level!(
                version,
                rtsp_port,
                http_port = http,
                https_port = https,
                hls_port = hls,
                webrtc_port = webrtc,
                ice_port = ports.ice,
                websocket_port = websocket,
                config,
                start_us,
                "listening"
            )
        };
    }
    // People read it in the banner.
    match program.loaded.settings.log.format {
        LogFormat::Json => listening!(info),
        LogFormat::Human => listening!(debug),
    }
}

/// Said at every start, in whatever form the log has.
fn warn_of_openness(auth: &Auth) {
    match auth.mode() {
        Mode::Open => tracing::warn!("everything is open: everyone who reaches this machine may view and publish"),
        Mode::Single(_) if !auth.trusted_networks().is_empty() => {
            tracing::warn!("auth.trusted_networks has no effect beside a token of your own");
        }
        Mode::Tokens(_) if !auth.trusted_networks().is_empty() => {
            let networks: Vec<String> = auth.trusted_networks().iter().map(ToString::to_string).collect();
            tracing::warn!(
                networks = networks.join(", "),
                "no credential is asked for in trusted networks"
            );
        }
        _ => {}
    }
}
