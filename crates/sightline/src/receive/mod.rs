//! `sightline receive`: a stream, measured, shown or saved.
//!
//! Belongs here: playing for ever ([`session`]), decoding and measuring ([`worker`]), what is said about it ([`report`]), the
//! window ([`window`]), the file ([`save`]), the check of a connection ([`check`]). Does not belong here: RTSP
//! ([`crate::rtsp::client`]), reading the stamp (`media::stamp`), decoding (`device::decode`).

mod check;
mod keys;
mod report;
mod save;
mod session;
mod window;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use media::Clock;
use tokio::sync::watch;

use crate::rtsp::client::{self, Url};

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
    /// There is no window.
    #[error("cannot open a window: {0}; use --display-mode headless or save where there is no screen")]
    Window(String),
    /// The decoding thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Receives until `stop`, `q`, the end of the time, or the window is closed. To be called on the main thread, where windows
/// must live.
///
/// # Errors
/// [`Error`].
pub fn run(options: &Options, runtime: &tokio::runtime::Runtime, stop: watch::Receiver<bool>) -> Result<(), Error> {
    let (quit, quits) = watch::channel(false);
    let quit = Arc::new(quit);
    let _keys = keys::watch(quit.clone());
    runtime.spawn(forward(stop, quit.clone()));
    if let Some(duration) = options.duration {
        let quit = quit.clone();
        runtime.spawn(async move {
            tokio::time::sleep(duration).await;
            quit.send_replace(true);
        });
    }
    match &options.mode {
        Mode::Headless => {
            let sink = worker::Sink::Nowhere;
            runtime.block_on(session::run(options, sink, quits))
        }
        Mode::Save(path) => {
            let saver = save::Saver::create(path.clone(), options.client.clock.clone(), options.utc_offset_seconds)?;
            runtime.block_on(session::run(options, worker::Sink::File(Box::new(saver)), quits))
        }
        Mode::Display => window::run(options, runtime, &quit, quits),
    }
}

async fn forward(mut stop: watch::Receiver<bool>, quit: Arc<watch::Sender<bool>>) {
    let _ = stop.wait_for(|&stop| stop).await;
    quit.send_replace(true);
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
