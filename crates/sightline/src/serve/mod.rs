//! The server and the cameras of this machine in one process: what `up` and `serve` run.
//!
//! Belongs here: what is started in which order, and ended; the ports ([`sockets`]), what serves there ([`servers`]); what people are told about it ([`banner`]); what follows settings that
//! change ([`follow`]), what the service manager is told ([`systemd`]), how another process takes the place of this one ([`restart`]). Does not belong here: reading of
//! flags ([`crate::cli`]), a protocol.

mod banner;
mod follow;
mod front;
mod people;
mod recording;
pub(crate) mod restart;
mod servers;
mod sockets;
pub(crate) mod status;
mod systemd;
mod uploading;
mod urls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use device::camera::Status;
use media::hub::Hub;
use media::{Clock, StreamName};
use tokio::task::JoinHandle;

use crate::auth::authority::Elsewhere;
use crate::auth::{Auth, Rules};
use crate::camera::{self, Camera, Cameras, Lowers, Standby};
use crate::config::live::Live;
use crate::config::settings::{self, LogFormat, Settings};
use crate::config::stream_key::StreamKey;
use crate::config::{Environment, Loaded};
use crate::events::{Events, What};
use crate::forward::{self, Forwarder};
use crate::hls::Hls;
use crate::hooks::Hooks;
use crate::record::export::Exports;
use crate::shutdown::{self, End, Shutdown};
use crate::source::{self, Supervisor};
use crate::state::control::Control;
use crate::state::credentials::Credentials;
use crate::state::{self, Folder, Place};
use crate::tls::{self, Certificates};
use crate::trust::Trust;
use crate::webhooks::{self, Webhooks};
use crate::{http, log, machine, net, random};
use banner::{Banner, CameraLine};
use follow::{Limits, Services};
use restart::{Predecessor, Restart};
use servers::Making;
use sockets::{Ports, Sockets};

/// What to run.
pub struct Program {
    /// The settings.
    pub loaded: Loaded,
    /// The environment, which decides where the state is.
    pub environment: Environment,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where people look.
    pub log: log::Running,
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
    /// The files of the certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] tls::Unusable),
    /// A restore that was interrupted cannot be ended.
    #[error(transparent)]
    Restore(#[from] state::backup::Error),
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] state::Error),
    /// It was to take the place of another process.
    #[error("cannot take the place of the process before: {0}")]
    Turn(std::io::Error),
    /// Another process was to take its place.
    #[error("the new process ended before its turn, and this one has ended for it: start the program again")]
    NoSuccessor,
    /// The operating system refuses something that every program needs.
    #[error("{}", shutdown::refused(what, error))]
    System {
        /// What was tried.
        what: &'static str,
        /// What it says.
        error: std::io::Error,
    },
}

/// Runs until a signal comes. `predecessor`: the process whose place it takes.
///
/// # Errors
/// [`Error`].
pub(crate) fn run(program: &Program, mut predecessor: Option<Predecessor>) -> Result<(), Error> {
    net::raise_descriptor_limit();
    let handed = predecessor.as_mut().map(Predecessor::take_sockets);
    let mut listeners = net::Listeners::new(handed.unwrap_or_default());
    let sockets = Sockets::bind(program, &mut listeners)?;
    let in_use = use_state(program)?;
    let settings = &program.loaded.settings;
    let rules = Rules {
        elsewhere: Elsewhere::of(settings, None, &program.clock),
        ..follow::rules(settings, &state_place(program), &program.environment)?
    };
    let auth = Arc::new(Auth::of(rules));
    let control = people::control(program);
    // At the first start the folder is made by those two.
    let _in_use = in_use.map_or_else(|| use_state(program), |used| Ok(Some(used)))?;
    auth.heed(control.people(), Arc::clone(&program.clock));
    let certificates = certificates(program)?;
    let runtime = runtime()?;
    let signals = |error| Error::System {
        what: "handle signals",
        error,
    };
    let restart = {
        let _inside = runtime.enter();
        Restart::new(listeners.into_kept()).map_err(signals)?
    };
    let ended = runtime.block_on(async {
        let given = Given {
            sockets,
            auth,
            control: Arc::clone(&control),
            certificates,
            predecessor,
        };
        let work = |shutdown| serve(program, given, &restart, shutdown);
        shutdown::run_until(restart.prepare(), work).await
    });
    program.log.console.status("");
    // Tasks that did not end are not waited for.
    runtime.shutdown_background();
    control.close();
    let done = match ended {
        Ok(End::Done(done)) => done,
        Ok(End::Abandoned) => {
            tracing::warn!("not everything ended in time");
            Ok(())
        }
        Err(error) => Err(signals(error)),
    };
    match restart.finish() {
        true => done,
        false => Err(Error::NoSuccessor),
    }
}

/// What is there before anything runs.
struct Given {
    sockets: Sockets,
    auth: Arc<Auth>,
    control: Arc<Control>,
    certificates: Arc<Certificates>,
    predecessor: Option<Predecessor>,
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

async fn serve(program: &Program, given: Given, restart: &Restart, shutdown: Shutdown) -> Result<(), Error> {
    let Given {
        sockets,
        auth,
        control,
        certificates,
        predecessor,
    } = given;
    let settings = &program.loaded.settings;
    let live = Live::new(program.loaded.clone());
    let clock = Arc::clone(&program.clock);
    let hub = Hub::new(settings.limits.for_hub(machine::memory_share()));
    let wanted = wanted_cameras(program);
    let lowers = Arc::new(Lowers::new(&wanted));
    let streams = streams(program, &hub, &wanted, Arc::clone(&lowers), &shutdown);
    let forwards = forwards(program, &hub, &shutdown);
    let webhooks = webhooks(program, &streams, &shutdown);
    let (recordings, archive, exports) = recording::recordings(program, &streams, &shutdown);
    let uploads = uploading::uploads(program, &streams, &shutdown);
    let making = Making {
        program,
        streams: &streams,
        forwards: &forwards,
        webhooks: &webhooks,
        recordings: &recordings,
        exports: &exports,
        shutdown: &shutdown,
        archive: &archive,
        uploads: &uploads,
        auth: &auth,
        control: &control,
        certificates: &certificates,
        live: &live,
        limits: Limits::new(settings),
        gate: restart.gate(),
    };
    let (servers, services) = making.servers(sockets)?;
    let ports = servers.ports;
    publish_here(settings, &streams, &auth, ports.rtsp);
    let events = Arc::clone(streams.events());
    let hooks = Hooks::new(Arc::clone(&live), hub.clone(), Arc::clone(&clock), ports.rtsp);
    let hls = servers.http.hls();
    if !is_our_turn(predecessor, &control, &shutdown).await? {
        return Ok(());
    }
    let ending = people::end_what_ended(Arc::clone(&auth), hub.clone(), Arc::clone(&clock), shutdown.clone());
    let tasks = [
        tokio::spawn(servers.rtsp.run(shutdown.receiver())),
        tokio::spawn(Arc::clone(&services.status).run(shutdown.clone())),
        tokio::spawn(servers.http.run(shutdown.clone())),
        tokio::spawn(Arc::clone(&services.webrtc).run(shutdown.clone())),
        tokio::spawn(standby(&live, wanted.clone(), &hub, Arc::clone(&clock)).run(shutdown.clone())),
        tokio::spawn(hooks.run(events.listen(None))),
        tokio::spawn(Arc::clone(&streams).run()),
        tokio::spawn(Arc::clone(&forwards).run()),
        tokio::spawn(Arc::clone(&webhooks).run()),
        tokio::spawn(Arc::clone(&recordings).run()),
        tokio::spawn(Arc::clone(&services.motion).run()),
        tokio::spawn(Arc::clone(&uploads).run()),
        tokio::spawn(ending),
        tokio::spawn(systemd::keep_awake(shutdown.clone())),
        tokio::spawn(certificates.run(shutdown.clone())),
    ];
    systemd::tell_ready();
    restart.serves();
    report_start(program, ports, &auth);
    begin(program, &live, &services, exports);
    let tick = tokio::spawn(keep_time(hub.clone(), Arc::clone(&clock)));
    let mut cameras = Cameras::start(wanted, lowers, hub.clone(), Arc::clone(&clock));
    let done = tokio::select! {
        () = shutdown.requested() => Ok(()),
        () = follow::follow(program, &live, &services, shutdown.clone()) => Ok(()),
        never = uploading::follow(program, &live, &uploads, &archive, &shutdown) => match never {},
        done = watch_cameras(program, ports, &auth, &hub, &services, &mut cameras) => done,
    };
    say_goodbye(restart, &hls, &events);
    tick.abort();
    end(&hub, &events, &services, cameras, tasks, shutdown.is_requested()).await;
    done
}

/// Waits until the process before has made room; false: it goes on, and this one ends.
async fn is_our_turn(predecessor: Option<Predecessor>, control: &Control, shutdown: &Shutdown) -> Result<bool, Error> {
    let Some(predecessor) = predecessor else {
        return Ok(true);
    };
    if !predecessor.turn(shutdown).await.map_err(Error::Turn)? {
        return Ok(false);
    }
    // It may have changed them since they were read here.
    if let Err(error) = control.read_again().await {
        tracing::warn!("the accounts could not be read again: {error}");
    }
    Ok(true)
}

/// Where programs that give streams reach us.
fn publish_here(settings: &Settings, streams: &Supervisor, auth: &Arc<Auth>, port: u16) {
    let host = settings
        .server
        .host
        .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| own_address(address.0));
    streams.publish_at(SocketAddr::new(host, port), Arc::clone(auth));
}

/// How long recordings may take to reach the disk: less than the program has for its end.
const RECORDED_WITHIN: Duration = Duration::from_millis(500);

/// For good, unless another process takes the place of this one.
fn say_goodbye(restart: &Restart, hls: &Hls, events: &Events) {
    tracing::info!("stopping");
    events.tell(What::ProgramEnding);
    if restart.is_under_way() {
        hls.move_on();
    } else {
        restart.give_up();
        systemd::tell_stopping();
    }
}

/// What the settings want of all that runs now.
fn begin(program: &Program, live: &Live, services: &Services, exports: Arc<Exports>) {
    let settings = &program.loaded.settings;
    let events = services.streams.events();
    live.tell_to(Arc::clone(events));
    services.webhooks.set(&settings.webhook);
    events.tell(What::ProgramStarted);
    services.streams.set(&settings.stream);
    services.forwards.set(&settings.stream);
    services.recordings.set(&settings.record, &settings.stream);
    services.motion.set(&settings.motion, &settings.stream);
    recording::open_what_is_there(program, &services.recordings, exports);
}

/// Ends everything. Tasks that a signal has told to end are waited for; without one they are broken off.
async fn end(
    hub: &Hub,
    events: &Events,
    services: &Services,
    cameras: Cameras,
    tasks: impl IntoIterator<Item = JoinHandle<()>>,
    told: bool,
) {
    // Before the index is closed.
    services.motion.end().await;
    // Before their streams end.
    services.recordings.end_files().await;
    let ending = async {
        // First, or they would find their streams ended.
        cameras.stop();
        hub.end_all();
        cameras.end().await;
        // Who listens by HTTP is waited for.
        events.end();
        for task in tasks {
            if !told {
                task.abort();
            }
            // A panic in it was reported already.
            let _ = task.await;
        }
    };
    tokio::join!(services.recordings.close(RECORDED_WITHIN), ending);
}

/// Tells people about the cameras as soon as they are there, and keeps them informed until the program ends.
async fn watch_cameras(
    program: &Program,
    ports: Ports,
    auth: &Auth,
    hub: &Hub,
    services: &Services,
    cameras: &mut Cameras,
) -> Result<(), Error> {
    let started = cameras.started().await;
    let running = started.map_err(|error| Error::System {
        what: "start a camera's threads",
        error,
    })?;
    let rate = program.loaded.settings.status.rate;
    services.motion.cameras(&running);
    let telling = services.status.report(&running, hub.clone(), rate);
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
    status::show(&program.log.console, hub, running).await;
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
    let names = wished.filter_map(|(key, _)| match key {
        StreamKey::Name(name) => Some(name.clone()),
        StreamKey::Expression(_) => None,
    });
    names
        .filter(|name| cameras.iter().all(|(camera, _)| camera != name))
        .collect()
}

fn standby(live: &Live, cameras: Vec<camera::Wanted>, hub: &Hub, clock: Arc<dyn Clock>) -> Standby {
    let names = live.part(move |settings| always_available(settings, &cameras));
    Standby::new(names, hub, clock, crate::clock::zone())
}

/// Where streams are found, and their sources.
fn streams(
    program: &Program,
    hub: &Hub,
    cameras: &[camera::Wanted],
    lowers: Arc<Lowers>,
    shutdown: &Shutdown,
) -> Arc<Supervisor> {
    let soon = cameras.iter().map(|(name, _)| name.clone());
    let world = source::World {
        hub: hub.clone(),
        events: Events::new(hub, Arc::clone(&program.clock)),
        clock: Arc::clone(&program.clock),
        random: random::bits,
        soon: soon
            .chain(always_available(&program.loaded.settings, cameras))
            .collect(),
        lowers,
    };
    let streams = Supervisor::new(world, shutdown.clone());
    streams.keep_credentials(Arc::new(credentials(program)));
    streams
}

/// Logins of cameras. Where they cannot be read, sources that name one are not asked, and all else goes on.
fn credentials(program: &Program) -> Credentials {
    let place = state::default_place(&state_place(program), &program.environment);
    let opened = place.and_then(Folder::open).and_then(Credentials::open);
    opened.unwrap_or_else(|error| {
        let error = error.to_string();
        tracing::error!("sources are not given the logins that are kept for them: {error}");
        Credentials::none(error)
    })
}

/// How we reach ourselves where we listen there.
fn own_address(listening: IpAddr) -> IpAddr {
    match listening {
        IpAddr::V4(all) if all.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(all) if all.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        one => one,
    }
}

/// What sends streams on.
fn forwards(program: &Program, hub: &Hub, shutdown: &Shutdown) -> Arc<Forwarder> {
    let world = forward::World {
        hub: hub.clone(),
        clock: Arc::clone(&program.clock),
        random: random::bits,
    };
    Forwarder::new(world, shutdown.clone())
}

/// Who is told what happens.
fn webhooks(program: &Program, streams: &Supervisor, shutdown: &Shutdown) -> Arc<Webhooks> {
    let world = webhooks::World {
        events: Arc::clone(streams.events()),
        clock: Arc::clone(&program.clock),
        random: random::bits,
        pace: webhooks::Pace::default(),
    };
    Webhooks::new(world, shutdown.clone())
}

/// What HTTPS and RTSPS show.
fn certificates(program: &Program) -> Result<Arc<Certificates>, tls::Unusable> {
    let clock = Arc::clone(&program.clock);
    let settings = &program.loaded.settings;
    if let (Some(certificate), Some(key)) = (settings.tls.certificate.clone(), settings.tls.key.clone()) {
        return Certificates::from_files(tls::Files { certificate, key }, clock);
    }
    let (environment, place) = (program.environment.clone(), state_place(program));
    let folder = Arc::new(move || Folder::open(state::default_place(&place, &environment)?));
    let names = net::names_of_this_machine;
    let Some(wish) = wish(&settings.acme)? else {
        return Ok(Certificates::own(folder, names, clock));
    };
    Ok(Certificates::issued(wish, folder, names, clock, random::bits))
}

/// What a certificate authority is asked for; `None`: nothing.
fn wish(acme: &settings::Acme) -> Result<Option<tls::Wish>, tls::Unusable> {
    if acme.domains.is_empty() {
        return Ok(None);
    }
    let roots = acme.root.as_deref().map(tls::certificates_of).transpose()?;
    Ok(Some(tls::Wish {
        domains: acme.domains.iter().map(ToString::to_string).collect(),
        email: acme.email.clone(),
        directory: acme.directory.url().clone(),
        trust: roots.map_or(Trust::System, |roots| Trust::Roots(roots.into())),
        challenge: acme.challenge,
    }))
}

/// Ends a restore that was interrupted, and keeps another from beginning while the guard lives. A folder that is not there yet holds nothing.
fn use_state(program: &Program) -> Result<Option<state::InUse>, Error> {
    let place = state::default_place(&state_place(program), &program.environment).ok();
    let Some(folder) = place.and_then(|place| Folder::existing(&place)) else {
        return Ok(None);
    };
    if state::backup::finish(folder.path())? {
        tracing::warn!(folder = %folder.path().display(), "a restore of this folder had been interrupted, and is complete now");
    }
    match folder.use_it() {
        // What cannot be written there, whoever needs it says.
        Err(state::Error::File { .. }) => Ok(None),
        used => Ok(Some(used?)),
    }
}

fn state_place(program: &Program) -> Place {
    Place::of_process(program.loaded.settings.server.state_dir.clone())
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

/// What the log says of the start.
fn report_start(program: &Program, ports: Ports, auth: &Auth) {
    follow::warn_of_openness(auth);
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
                rtsps_port = ports.rtsps,
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
