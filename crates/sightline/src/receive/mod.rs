//! `sightline receive`: a stream, measured, shown or saved.
//!
//! Belongs here: playing for ever ([`session`]), decoding and measuring ([`worker`]), what is live ([`burst`]), what is said about it ([`report`], [`caption`]), the
//! file ([`save`]), the check of a connection ([`check`]). Does not belong here: RTSP ([`crate::rtsp::client`]), reading the stamp
//! (`media::stamp`), decoding (`device::decode`), the window ([`crate::window`]).

mod burst;
mod caption;
mod check;
mod report;
mod save;
mod session;
mod worker;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use media::Clock;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinError;

use crate::keys;
use crate::rtsp::client::{self, Url};
use crate::shutdown::{self, Shutdown};
use crate::window::{self, Window};
use caption::Caption;
use worker::Sink;

pub use check::{Connection, test_connection};
pub use report::{Second, Source};

/// What happens to the pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are measured.
    Headless,
    /// They are shown in a window, with the receiver's lines.
    Display,
    /// They are written to an MP4 file, with the receiver's lines.
    Save(PathBuf),
}

/// What to receive, and how.
#[derive(Clone)]
pub struct Options {
    /// The stream.
    pub url: Url,
    /// How to connect.
    pub client: client::Settings,
    /// What happens to the pictures.
    pub mode: Mode,
    /// End after this long.
    pub duration: Option<Duration>,
    /// Measurements as JSON lines.
    pub json: bool,
    /// Of the zone in which times of day are shown, east positive.
    pub utc_offset_seconds: i32,
}

/// Why receiving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The time was over and there was no picture.
    #[error("no picture was received from {url}: {why}")]
    NoPicture {
        /// Where from.
        url: String,
        /// The last that went wrong.
        why: String,
    },
    /// Trying again will not help.
    #[error(transparent)]
    Refused(client::Error),
    /// The file cannot be written.
    #[error("cannot write {}: {why}; choose another file with --output", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// The file is there already.
    #[error("{} exists already and is left as it is; choose another name with --output", .0.display())]
    Exists(PathBuf),
    /// The figures cannot be written.
    #[error("cannot write to standard output: {0}; make room where it goes, or send it elsewhere")]
    Output(io::Error),
    /// There is no window.
    #[error("{0}; start it within a desktop (over ssh: ssh -X), or use --display-mode headless or save")]
    Window(window::Error),
    /// The operating system refuses something that every program needs.
    #[error("{}", shutdown::refused(what, error))]
    System {
        /// What was tried.
        what: &'static str,
        /// What it says.
        error: io::Error,
    },
    /// A panic, which is a bug of ours.
    #[error("it ended by a bug of ours; please report what it said before this line")]
    Bug,
}

/// Receives until a signal, `q`, the end of the time, or the window is closed. To be called on the main thread, where windows
/// must live.
///
/// # Errors
/// [`Error`].
pub fn run(options: &Options, runtime: &Runtime) -> Result<(), Error> {
    let (quit, quits) = watch::channel(false);
    let quit = Arc::new(quit);
    let keys = keys::watch(runtime, quit.clone());
    let signals = shutdown::on_signal(runtime, keys.restore());
    let stop = signals.map_err(system("handle signals"))?;
    runtime.spawn(forward(stop.clone(), quit.clone()));
    if let Some(duration) = options.duration {
        let quit = quit.clone();
        runtime.spawn(async move {
            tokio::time::sleep(duration).await;
            quit.send_replace(true);
        });
    }
    let done = match &options.mode {
        Mode::Headless => runtime.block_on(session::run(options, Sink::Nowhere, quits)),
        Mode::Save(path) => {
            let saver = save::Saver::create(path.clone(), options.client.clock.clone(), options.utc_offset_seconds)?;
            runtime.block_on(session::run(options, Sink::File(Box::new(saver)), quits))
        }
        Mode::Display => display(options, runtime, &quit, quits),
    };
    match done {
        // Whoever ends it before the first picture got what they asked for.
        Err(Error::NoPicture { .. }) if stop.is_requested() => Ok(()),
        done => done,
    }
}

fn display(
    options: &Options,
    runtime: &Runtime,
    quit: &watch::Sender<bool>,
    quits: watch::Receiver<bool>,
) -> Result<(), Error> {
    let window = Window::new().map_err(Error::Window)?;
    let caption = Box::new(Caption::new(options.utc_offset_seconds));
    let sink = Sink::Screen(window.screen(), caption);
    let title = format!("Sightline: {:?}", options.url);
    let options = options.clone();
    let session = async move { session::run(&options, sink, quits).await };
    let (shown, received) = window.run_beside(title, runtime, session, || _ = quit.send_replace(true));
    shown.map_err(Error::Window).and(joined(received))
}

/// What became of a task. A panic in it is no success.
fn joined(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    ended.unwrap_or(Err(Error::Bug))
}

async fn forward(stop: Shutdown, quit: Arc<watch::Sender<bool>>) {
    stop.requested().await;
    quit.send_replace(true);
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::System { what, error }
}

/// The time of day in `clock`'s words, for names of files.
pub fn default_file_name(clock: &dyn Clock, zone: &jiff::tz::TimeZone) -> PathBuf {
    let now = jiff::Timestamp::from_microsecond(clock.wall().unix_micros()).unwrap_or_default();
    PathBuf::from(
        now.to_zoned(zone.clone())
            .strftime("recording_%Y%m%d_%H%M%S.mp4")
            .to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_no_success() {
        let ended = tokio::spawn(async { panic!("a bug") }).await;
        assert!(matches!(joined(ended), Err(Error::Bug)));
        let ended = tokio::spawn(async { Ok(()) }).await;
        assert!(joined(ended).is_ok());
    }
}
