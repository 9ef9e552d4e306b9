//! What people are told while it runs: a line on the terminal, the same in the log once in a while, and what a camera wants that refuses us.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use media::hub::Hub;
use media::{Clock, StreamName};

use super::plan::Account;
use super::{Error, Relayed};
use crate::forward::{self, Forwarder};
use crate::log::Console;
use crate::source::{State, Supervisor, Trouble};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// How often the log is told how it goes.
const TELL: Duration = Duration::from_secs(300);

/// What is looked at.
pub(super) struct Watched<'a> {
    pub(super) hub: &'a Hub,
    pub(super) clock: &'a dyn Clock,
    pub(super) console: &'a Console,
    pub(super) relayed: &'a [Relayed],
    pub(super) sources: &'a Supervisor,
    pub(super) targets: &'a Forwarder,
}

/// Tells for ever. Ends when a thread has ended that should not.
pub(super) async fn watch(watched: &Watched<'_>) -> Result<(), Error> {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut refused: HashMap<StreamName, Instant> = HashMap::new();
    let mut left_out: HashMap<(StreamName, &'static str), u64> = HashMap::new();
    let mut sent: HashMap<(StreamName, String), Sent> = HashMap::new();
    let mut tell_at = watched.clock.now() + TELL;
    loop {
        ticks.tick().await;
        let now = watched.clock.now();
        if watched
            .relayed
            .iter()
            .flat_map(|relayed| &relayed.working)
            .any(|working| working.has_ended())
        {
            return Err(Error::Bug);
        }
        tell_refusals(watched, &mut refused, now);
        tell_left_out(watched, &mut left_out);
        let told = watched.relayed.iter().map(|relayed| Told::of(relayed, watched, now));
        let told: Vec<Told> = told.collect();
        told.iter().for_each(|told| told.tell_returns(&mut sent));
        let lines: Vec<String> = told.iter().map(Told::line).collect();
        watched.console.status(&lines.join("   "));
        if now >= tell_at {
            tell_at = now + TELL;
            told.iter().for_each(Told::log);
        }
    }
}

/// A camera that does not take its account.
fn tell_refusals(watched: &Watched<'_>, refused: &mut HashMap<StreamName, Instant>, now: Instant) {
    for report in watched.sources.reports() {
        let State::Waiting { until, why } = &report.state else {
            continue;
        };
        let is_refused = why.trouble == Trouble::Login;
        if !is_refused && why.trouble != Trouble::LoginNeeded {
            continue;
        }
        let before = refused.insert(report.stream.clone(), *until);
        // Who was shown none is asked twice a minute: once is enough.
        if before == Some(*until) || (!is_refused && before.is_some()) {
            continue;
        }
        let relayed = watched
            .relayed
            .iter()
            .find(|relayed| relayed.camera.name == report.stream);
        let account = relayed.map(|relayed| relayed.camera.account);
        let what = match (is_refused, account) {
            (true, Some(Account::Words(_))) => "the camera does not take CAMERA_USERNAME and CAMERA_PASSWORD",
            (true, _) => "the camera does not take the account in its URL",
            (false, Some(Account::Words(false))) => {
                "the camera wants an account: set CAMERA_USERNAME and CAMERA_PASSWORD"
            }
            (false, _) => "the camera wants an account, or a login of a kind that is not known here",
        };
        let reason = &why.detail;
        let retry_s = until.saturating_duration_since(now).as_secs();
        match is_refused {
            true => {
                tracing::error!(camera = %report.stream, %reason, retry_s, "{what}; it is asked again seldom, so that it does not lock the account");
            }
            false => tracing::error!(camera = %report.stream, %reason, retry_s, "{what}"),
        }
    }
}

/// Frames that had no room, since the disk is slow.
fn tell_left_out(watched: &Watched<'_>, told: &mut HashMap<(StreamName, &'static str), u64>) {
    for relayed in watched.relayed {
        for working in &relayed.working {
            let frames = working.queue.left_out();
            let before = told.entry((relayed.camera.name.clone(), working.what)).or_default();
            if frames > *before {
                let news = frames - *before;
                *before = frames;
                tracing::warn!(camera = %relayed.camera.name, what = working.what, frames = news, "the disk is too slow: frames are left out");
            }
        }
    }
}

/// How one camera is.
struct Told {
    name: StreamName,
    /// `running`, and what else there is.
    source: &'static str,
    fps: f64,
    kbps: u64,
    targets: Vec<Target>,
    written: Vec<Written>,
}

/// What was seen of a target last.
#[derive(Default)]
struct Sent {
    since: Option<Instant>,
    not_sent: u64,
}

struct Target {
    to: String,
    state: &'static str,
    /// Since when it takes the stream.
    since: Option<Instant>,
    /// Frames of the camera that it was not given.
    not_sent: u64,
}

struct Written {
    what: &'static str,
    newest: String,
    files: u64,
    left_out: u64,
    is_failing: bool,
}

impl Told {
    fn of(relayed: &Relayed, watched: &Watched<'_>, now: Instant) -> Self {
        let name = &relayed.camera.name;
        let pace = watched
            .hub
            .stream(name, now)
            .map(|stream| stream.pace(now))
            .unwrap_or_default();
        let reports = watched.sources.reports();
        let source = reports.iter().find(|report| report.stream == *name);
        let taken = relayed.frames.get();
        let target = |report: forward::Report| Target {
            state: report.state.word(),
            since: match report.state {
                forward::State::Running { since } => Some(since),
                _ => None,
            },
            not_sent: taken.saturating_sub(report.totals.frames),
            to: report.to,
        };
        let targets = watched
            .targets
            .reports()
            .into_iter()
            .filter(|report| report.stream == *name);
        let written = relayed.working.iter().map(|working| Written {
            what: working.what,
            newest: working.figures.newest().display().to_string(),
            files: working.figures.files.get(),
            left_out: working.figures.left_out.get() + working.queue.left_out(),
            is_failing: working.figures.is_failing.load(Relaxed),
        });
        Self {
            name: name.clone(),
            source: source.map_or("idle", |report| report.state.word()),
            fps: pace.pictures_per_second,
            kbps: (pace.bits_per_second / 1_000.0) as u64,
            targets: targets.map(target).collect(),
            written: written.collect(),
        }
    }

    /// A server that takes the stream, or takes it again, and what it missed.
    fn tell_returns(&self, sent: &mut HashMap<(StreamName, String), Sent>) {
        for target in &self.targets {
            let Some(since) = target.since else { continue };
            let last = sent.entry((self.name.clone(), target.to.clone())).or_default();
            if last.since.replace(since) != Some(since) {
                let frames = target.not_sent.saturating_sub(last.not_sent);
                tracing::info!(camera = %self.name, to = target.to, frames, "the server takes the stream; so many frames were not sent before");
            }
            last.not_sent = target.not_sent;
        }
    }

    /// For a terminal.
    fn line(&self) -> String {
        let mut text = format!("{}: ", self.name);
        // Writing to a String does not fail.
        let _ = match self.source {
            "running" => write!(text, "{:.1} fps, {} kb/s", self.fps, self.kbps),
            other => write!(text, "camera {other}"),
        };
        for target in &self.targets {
            let _ = match target.state {
                "running" => write!(text, ", sent to {}", target.to),
                other => write!(text, ", {other} to {}, {} frames not sent", target.to, target.not_sent),
            };
        }
        for written in &self.written {
            let _ = match written.is_failing {
                true => write!(text, ", {} FAILS", written.what),
                false => write!(text, ", {} {}", written.what, written.newest),
            };
            if written.left_out > 0 {
                let _ = write!(text, " ({} left out)", written.left_out);
            }
        }
        text
    }

    fn log(&self) {
        let (camera, fps, kbps) = (&self.name, self.fps, self.kbps);
        tracing::info!(%camera, source = self.source, fps, kbps, "relay");
        for target in &self.targets {
            tracing::info!(%camera, to = target.to, state = target.state, not_sent = target.not_sent, "relay sends");
        }
        for written in &self.written {
            let Written {
                what,
                newest,
                files,
                left_out,
                ..
            } = written;
            tracing::info!(%camera, what, newest, files, left_out, "relay writes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_goes_and_what_does_not() {
        let told = Told {
            name: "door".parse().unwrap(),
            source: "running",
            fps: 25.0,
            kbps: 2_000,
            targets: vec![
                Target {
                    to: "rtsp://a/1".to_owned(),
                    state: "running",
                    since: None,
                    not_sent: 3,
                },
                Target {
                    to: "rtsp://b/2".to_owned(),
                    state: "waiting",
                    since: None,
                    not_sent: 250,
                },
            ],
            written: vec![
                Written {
                    what: "hls",
                    newest: "segment_20261122_191500_7.ts".to_owned(),
                    files: 7,
                    left_out: 0,
                    is_failing: false,
                },
                Written {
                    what: "record",
                    newest: String::new(),
                    files: 0,
                    left_out: 12,
                    is_failing: true,
                },
            ],
        };
        assert_eq!(
            told.line(),
            "door: 25.0 fps, 2000 kb/s, sent to rtsp://a/1, waiting to rtsp://b/2, 250 frames not sent, hls segment_20261122_191500_7.ts, record FAILS (12 left out)"
        );
        let away = Told {
            source: "waiting",
            targets: Vec::new(),
            written: Vec::new(),
            ..told
        };
        assert_eq!(away.line(), "door: camera waiting");
    }
}
