//! What follows the settings while the program runs.
//!
//! Belongs here: for each part that can change, who is told. Does not belong here: how settings change ([`crate::config::live`]), what a setting does.

use std::sync::Arc;
#[cfg(unix)]
use std::time::Duration;

use crate::auth::authority::Elsewhere;
use crate::auth::{Auth, Mode, Replay, Rules, Tokens};
use crate::config::Environment;
use crate::config::account::accounts;
#[cfg(unix)]
use crate::config::live::Who;
use crate::config::live::{self, Adjustable, Live};
use crate::config::settings::Settings;
use crate::forward::Forwarder;
use crate::http::forwarded::Trusted;
use crate::http::hosts::Hosts;
use crate::motion::Detector;
use crate::record::service::Recordings;
use crate::shutdown::Shutdown;
use crate::source::Supervisor;
use crate::state::{self, Folder, Place};
use crate::webhooks::Webhooks;
use crate::{machine, status, webrtc};

use super::{Error, Program, front, state_place};

/// What runs and is told.
pub(super) struct Services {
    pub(super) auth: Arc<Auth>,
    pub(super) streams: Arc<Supervisor>,
    pub(super) forwards: Arc<Forwarder>,
    pub(super) webhooks: Arc<Webhooks>,
    pub(super) recordings: Arc<Recordings>,
    pub(super) motion: Arc<Detector>,
    pub(super) webrtc: Arc<webrtc::Service>,
    pub(super) status: Arc<status::Server>,
    pub(super) limits: Limits,
}

/// Follows the settings until the program ends. Comes back earlier when the terminal is gone on which it runs.
pub(super) async fn follow(program: &Program, live: &Arc<Live>, services: &Services, shutdown: Shutdown) {
    let watching = live::watch(Arc::clone(live), Arc::clone(&program.clock), shutdown);
    let following = async {
        tokio::join!(
            watching,
            levels(program, live),
            authorities(program, live, &services.auth),
            tables(live, services),
            webhooks(live, &services.webhooks),
            recordings(live, &services.recordings),
            motion(live, &services.motion),
            newcomers(live, services),
            hosts(live, &services.webrtc),
            names(live, &services.limits.hosts),
            proxies(live, &services.limits.trusted)
        )
    };
    tokio::select! {
        _ = following => {}
        () = hang_ups(live) => {}
    }
}

/// SIGHUP has two meanings: a terminal was closed, which ends what runs on it, or somebody wants the settings to be read at once. Comes back at the former.
#[cfg(unix)]
async fn hang_ups(live: &Arc<Live>) {
    use tokio::signal::unix::{SignalKind, signal};
    /// Whoever closes a terminal may send the signal first.
    const CLOSING: Duration = Duration::from_millis(100);

    let of_terminal = on_terminal();
    let mut signals = match signal(SignalKind::hangup()) {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP does not make the settings be read again");
            return std::future::pending().await;
        }
    };
    while signals.recv().await.is_some() {
        if of_terminal {
            tokio::time::sleep(CLOSING).await;
            if !on_terminal() {
                return;
            }
        }
        live::reread(live, Who::Signal).await;
    }
}

#[cfg(not(unix))]
async fn hang_ups(_: &Arc<Live>) {
    std::future::pending().await
}

/// Whether there is somebody at a terminal. One that was closed is none any more.
#[cfg(unix)]
fn on_terminal() -> bool {
    use std::io::IsTerminal as _;
    std::io::stdin().is_terminal() || std::io::stdout().is_terminal() || std::io::stderr().is_terminal()
}

async fn levels(program: &Program, live: &Live) {
    let mut levels = live.part(|settings| settings.log.level.clone());
    loop {
        program.log.dial.set(&levels.changed().await);
    }
}

/// What is limited where connections and channels begin, and who is believed there.
pub(super) struct Limits {
    pub(super) rtsp: Adjustable<usize>,
    pub(super) http: Adjustable<usize>,
    pub(super) hls: Adjustable<protocol::hls::Config>,
    pub(super) trusted: Adjustable<Arc<Trusted>>,
    pub(super) hosts: Adjustable<Arc<Hosts>>,
}

impl Limits {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            rtsp: Adjustable::new(settings.limits.connections),
            http: Adjustable::new(settings.limits.http_connections),
            hls: Adjustable::new(settings.hls.for_muxer(&settings.limits)),
            trusted: Adjustable::new(Arc::new(front::trusted(&settings.proxy))),
            hosts: Adjustable::new(Arc::new(front::hosts(settings))),
        }
    }
}

/// Limits count for whoever comes from now on.
async fn newcomers(live: &Live, services: &Services) {
    let mut parts = live.part(|settings| (settings.limits.clone(), settings.hls.for_muxer(&settings.limits)));
    loop {
        let (limits, hls) = parts.changed().await;
        services
            .streams
            .hub()
            .set_limits(limits.for_hub(machine::memory_share()));
        services.limits.rtsp.set(limits.connections);
        services.limits.http.set(limits.http_connections);
        services.limits.hls.set(hls);
        services.webrtc.set_sessions(limits.webrtc_sessions);
        services.status.set_clients(limits.status_clients);
    }
}

async fn hosts(live: &Live, webrtc: &webrtc::Service) {
    let mut hosts = live.part(|settings| settings.webrtc.additional_hosts.clone());
    loop {
        webrtc.set_additional_hosts(&hosts.changed().await);
    }
}

async fn names(live: &Live, ours: &Adjustable<Arc<Hosts>>) {
    let names = |settings: &Settings| {
        let (http, webrtc) = (settings.http.hosts.clone(), settings.webrtc.additional_hosts.clone());
        (http, webrtc, settings.server.advertise.clone())
    };
    let mut parts = live.part(names);
    loop {
        parts.changed().await;
        let settings = live.now();
        let made = tokio::task::spawn_blocking(move || front::hosts(&settings)).await;
        // A panic in it was reported already.
        if let Ok(made) = made {
            ours.set(Arc::new(made));
        }
    }
}

async fn proxies(live: &Live, trusted: &Adjustable<Arc<Trusted>>) {
    let mut parts = live.part(|settings| settings.proxy.clone());
    loop {
        let proxy = parts.changed().await;
        let made = tokio::task::spawn_blocking(move || front::trusted(&proxy)).await;
        if let Ok(made) = made {
            trusted.set(Arc::new(made));
        }
    }
}

async fn tables(live: &Live, services: &Services) {
    let mut tables = live.part(|settings| settings.stream.clone());
    let mut logins = services.streams.credentials().changes();
    loop {
        let tables = tokio::select! {
            tables = tables.changed() => tables,
            // Sources that name another login by now are asked anew.
            Ok(()) = logins.changed() => live.now().stream.clone(),
        };
        services.streams.set(&tables);
        services.forwards.set(&tables);
    }
}

async fn recordings(live: &Live, recordings: &Arc<Recordings>) {
    let mut tables = live.part(|settings| (settings.record.clone(), settings.stream.clone()));
    loop {
        let (record, streams) = tables.changed().await;
        recordings.set(&record, &streams);
    }
}

async fn motion(live: &Live, motion: &Detector) {
    let mut tables = live.part(|settings| (settings.motion.clone(), settings.stream.clone()));
    loop {
        let (of_all, streams) = tables.changed().await;
        motion.set(&of_all, &streams);
    }
}

async fn webhooks(live: &Live, webhooks: &Arc<Webhooks>) {
    let mut tables = live.part(|settings| settings.webhook.clone());
    loop {
        webhooks.set(&tables.changed().await);
    }
}

async fn authorities(program: &Program, live: &Live, auth: &Auth) {
    let mut wishes = live.part(|settings| (settings.auth.clone(), settings.user.clone()));
    loop {
        let (auth_wish, users) = wishes.changed().await;
        let wish = Settings {
            auth: auth_wish,
            user: users,
            ..Settings::default()
        };
        let (place, environment) = (state_place(program), program.environment.clone());
        let (clock, before) = (Arc::clone(&program.clock), auth.rules());
        // It may have to write new tokens.
        let made = tokio::task::spawn_blocking(move || {
            let elsewhere = Elsewhere::of(&wish, before.elsewhere.as_ref(), &clock);
            rules(&wish, &place, &environment).map(|rules| Rules { elsewhere, ..rules })
        });
        let made = made.await;
        match made {
            Ok(Ok(rules)) => {
                auth.set_rules(rules);
                warn_of_openness(auth);
            }
            Ok(Err(error)) => tracing::error!(%error, "credentials stay as they were"),
            // A panic in it was reported already.
            Err(_) => {}
        }
    }
}

/// Who may do what, by settings and generated tokens, whoever else decides.
pub(super) fn rules(settings: &Settings, place: &Place, environment: &Environment) -> Result<Rules, Error> {
    let auth = &settings.auth;
    let tokens = || -> Result<Tokens, Error> {
        let folder = Folder::open(state::default_place(place, environment)?)?;
        let (tokens, made) = state::load_or_make(&folder)?;
        if made {
            tracing::info!(folder = %folder.path().display(), "tokens made and kept");
        }
        Ok(tokens)
    };
    let (mode, beside) = match &auth.token {
        Some(token) => (Mode::Single(token.clone()), None),
        // What is open needs no tokens: where none can be kept, all that is not open stays closed.
        None if auth.open => (Mode::Open, tokens().ok()),
        None => (Mode::Tokens(tokens()?), None),
    };
    Ok(Rules {
        mode,
        beside,
        replay: auth.replay,
        trusted_networks: auth.trusted_networks.clone(),
        accounts: accounts(&settings.user),
        elsewhere: None,
    })
}

/// Said at every start, in whatever form the log has.
pub(super) fn warn_of_openness(auth: &Auth) {
    let rules = auth.rules();
    let mut accounts = rules.accounts.iter();
    match &rules.mode {
        Mode::Single(_) if !rules.accounts.is_empty() => {
            tracing::warn!("accounts have no effect beside a token of your own");
        }
        _ => {}
    }
    if matches!(rules.mode, Mode::Tokens(_)) && accounts.any(|account| account.password.is_none()) {
        tracing::warn!("some streams are open to whoever shows no credential, by an account with anyone = true");
    }
    match &rules.mode {
        Mode::Open => {
            let recordings = match rules.replay {
                Replay::Accounts => "",
                Replay::WhereOpen | Replay::Trusted => ", and play recordings",
            };
            tracing::warn!("everything is open: everyone who reaches this machine may view and publish{recordings}");
        }
        Mode::Single(_) if !rules.trusted_networks.is_empty() => {
            tracing::warn!("auth.trusted_networks has no effect beside a token of your own");
        }
        Mode::Tokens(_) if !rules.trusted_networks.is_empty() => {
            let networks: Vec<String> = rules.trusted_networks.iter().map(ToString::to_string).collect();
            tracing::warn!(
                networks = networks.join(", "),
                "no credential is asked for in trusted networks"
            );
        }
        _ => {}
    }
}
