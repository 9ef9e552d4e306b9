//! `sightline publish`: a stream of this machine to another server, for as long as the program runs.
//!
//! Belongs here: the camera and its way out in one process, connecting again and again, when to give up. Does not belong here: RTSP
//! ([`crate::rtsp::client`]), what a camera does ([`crate::camera`]).

mod backoff;

use std::sync::Arc;
use std::time::Duration;

use media::hub::{Hub, Stream};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{Clock, StreamName};
use protocol::rtsp::client::Error as Refused;

use crate::camera::Camera;
use crate::config::settings;
use crate::log::Console;
use crate::rtsp::client::{Error, Sender, Settings, Url};
use crate::serve::status;
use crate::shutdown::{self, End, Shutdown};
use backoff::Backoff;

/// A camera and where its stream goes.
pub struct Program {
    /// The camera.
    pub camera: settings::Camera,
    /// Its stream and where it goes.
    pub plan: Plan,
    /// Where people look.
    pub console: Arc<Console>,
}

/// Why publishing ended. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server will not have it.
    #[error(transparent)]
    Client(#[from] Error),
    /// The operating system refuses something that every program needs.
    #[error("cannot {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it says.
        error: std::io::Error,
    },
}

/// Runs camera and sender until a signal comes.
///
/// # Errors
/// [`Failure`].
pub fn run(program: &Program, runtime: &tokio::runtime::Runtime) -> Result<(), Failure> {
    let system = |what| move |error| Failure::System { what, error };
    let hub = Hub::new(media::hub::Limits::default());
    let camera = Camera::start(
        program.plan.stream.clone(),
        &program.camera,
        hub.clone(),
        Arc::clone(&program.plan.settings.clock),
        jiff::tz::TimeZone::system(),
    );
    let cameras = [camera.map_err(system("start a camera's threads"))?];
    let (hub, cameras) = (&hub, &cameras);
    let ended = runtime.block_on(shutdown::run(|shutdown| async move {
        tokio::select! {
            done = keep_sending(&program.plan, hub, &shutdown) => done,
            () = status::show(&program.console, hub, cameras) => Ok(()),
        }
    }));
    program.console.status("");
    match ended.map_err(system("handle signals"))? {
        End::Done(done) => Ok(done?),
        End::Abandoned => Ok(()),
    }
}

/// What to send where.
#[derive(Clone)]
pub struct Plan {
    /// The stream in our hub.
    pub stream: StreamName,
    /// Where it goes.
    pub url: Url,
    /// How to connect.
    pub settings: Settings,
}

/// How long to wait before looking again whether our own stream is there: a camera takes some 100 ms to give its first picture.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Sends until `shutdown`, through whatever happens to the server.
///
/// # Errors
/// When the very first attempt shows that no other will do better: a wrong password, no right to the stream.
pub async fn keep_sending(plan: &Plan, hub: &Hub, shutdown: &Shutdown) -> Result<(), Error> {
    tokio::select! {
        error = send_again_and_again(plan, hub) => Err(error),
        () = shutdown.requested() => Ok(()),
    }
}

async fn send_again_and_again(plan: &Plan, hub: &Hub) -> Error {
    let clock = &plan.settings.clock;
    let mut backoff = Backoff::default();
    let mut was_there = false;
    loop {
        let stream = our_stream(plan, hub, clock).await;
        let began = clock.now();
        let ended = send(plan, &stream, &mut was_there).await;
        let lasted = clock.now().saturating_duration_since(began);
        match ended {
            // Its format changed or the camera came back: announce it anew.
            Error::SourceEnded => backoff = Backoff::default(),
            error if !was_there && is_final(&error) => return error,
            error => {
                let wait = backoff.next(lasted);
                tracing::warn!(server = %plan.url.authority(), %error, retry_ms = wait.as_millis() as u64, "not publishing");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// Waits for our own stream.
async fn our_stream(plan: &Plan, hub: &Hub, clock: &Arc<dyn Clock>) -> Arc<Stream> {
    loop {
        if let Ok(stream) = hub.stream(&plan.stream, clock.now()) {
            return stream;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// One connection, from its beginning to its end.
async fn send(plan: &Plan, stream: &Arc<Stream>, was_there: &mut bool) -> Error {
    let clock = &plan.settings.clock;
    let tracks = stream.tracks();
    let mut sender = match Sender::connect(plan.url.clone(), plan.stream.as_str(), &tracks, plan.settings.clone()).await
    {
        Ok(sender) => sender,
        Err(error) => return error,
    };
    *was_there = true;
    tracing::info!(server = %plan.url.authority(), stream = %plan.stream, "publishing");
    let stats = Arc::new(SessionStats::new(SessionInfo {
        stream: plan.stream.clone(),
        role: Role::Viewer,
        protocol: "RTSP to another server",
        remote: None,
        agent: None,
        since: clock.wall(),
    }));
    let joined = stream
        .add_viewer(Arc::clone(&stats))
        .and_then(|viewing| Ok((viewing, stream.join(clock.now())?)));
    // The only viewers of a publisher's hub are this one and a preview.
    let Ok((_viewing, mut reader)) = joined else {
        return Error::SourceEnded;
    };
    match sender.run(&mut reader, &stats).await {
        Ok(()) => Error::Ended,
        Err(error) => error,
    }
}

/// Whether trying again cannot help before a person changed something.
fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::Tls { .. }
            | Error::NoTracks(_)
            | Error::Session(
                Refused::WrongLogin { .. }
                    | Refused::LoginNeeded { .. }
                    | Refused::UnknownLogin { .. }
                    | Refused::Forbidden { .. }
                    | Refused::Protocol { .. }
            )
    )
}

#[cfg(test)]
mod tests;
