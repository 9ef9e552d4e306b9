//! The line that is kept up to date on a terminal while the program runs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use device::camera::{Snapshot, Status};
use media::StreamName;
use media::hub::Hub;

use crate::camera::Camera;
use crate::log::Console;

/// Time between two versions of the line.
const INTERVAL: Duration = Duration::from_secs(1);

/// Shows the line for ever; waits for ever where there is no terminal.
pub(crate) async fn show(console: &Console, hub: &Hub, cameras: &[Arc<Camera>]) {
    if !console.is_terminal() {
        return std::future::pending().await;
    }
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut bytes_before = vec![0; cameras.len()];
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let mut text = String::new();
        for (camera, before) in cameras.iter().zip(&mut bytes_before) {
            let now = camera.handle().stats();
            let kbps = now.bytes.saturating_sub(*before) * 8 / 1_000;
            *before = now.bytes;
            if !text.is_empty() {
                text.push_str("   ");
            }
            describe(&mut text, &camera.name, camera.status().as_ref(), &now, kbps);
        }
        let streams = hub.list();
        let viewers = streams.iter().map(|stream| stream.viewers()).sum();
        let is_ours = |name: &StreamName| cameras.iter().any(|camera| camera.name == *name);
        let others = streams.iter().filter(|stream| !is_ours(stream.name())).count();
        if others > 0 || cameras.is_empty() {
            // Writing to a String does not fail.
            let _ = write!(text, "   {}", counted(others, "stream"));
        }
        let _ = write!(text, "   {}", counted(viewers, "viewer"));
        console.status(text.trim_start());
    }
}

fn describe(text: &mut String, name: &StreamName, status: Option<&Status>, now: &Snapshot, kbps: u64) {
    let _ = match status {
        None | Some(Status::Starting { .. }) => write!(text, "{name}: starting"),
        Some(Status::Off) => write!(text, "{name}: switched off"),
        Some(Status::Slate { error, .. }) => write!(text, "{name}: no picture, {}", error.what),
        Some(Status::Ended { why }) => write!(text, "{name}: ended by a bug of ours, {why}"),
        Some(Status::Running { .. }) => write!(
            text,
            "{name}: {:.1} fps, capture to encoded p50 {:.1} p95 {:.1} ms, {kbps} kb/s",
            now.fps,
            now.latency_p50_us as f64 / 1_000.0,
            now.latency_p95_us as f64 / 1_000.0,
        ),
    };
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_camera_that_runs_has_figures() {
        let source = || "test pattern".to_owned();
        let error =
            device::source::Error::retryable("no camera at /dev/video0", "there is no such device", "plug it in");
        let now = Snapshot {
            fps: 29.97,
            latency_p50_us: 1_500,
            latency_p95_us: 2_000,
            ..Snapshot::default()
        };
        for (status, expected) in [
            (None, "zerolatency: starting"),
            (Some(Status::Starting { source: source() }), "zerolatency: starting"),
            (
                Some(Status::Running {
                    source: source(),
                    encoder: "openh264".to_owned(),
                    passing: false,
                }),
                "zerolatency: 30.0 fps, capture to encoded p50 1.5 p95 2.0 ms, 800 kb/s",
            ),
            (
                Some(Status::Slate {
                    error,
                    retry_in: Duration::ZERO,
                }),
                "zerolatency: no picture, no camera at /dev/video0",
            ),
            (
                Some(Status::Ended {
                    why: "index out of bounds".to_owned(),
                }),
                "zerolatency: ended by a bug of ours, index out of bounds",
            ),
        ] {
            let mut text = String::new();
            describe(&mut text, &StreamName::default_stream(), status.as_ref(), &now, 800);
            assert_eq!(text, expected);
        }
    }
}
