//! The line that is kept up to date on a terminal while the program runs.

use std::fmt::Write as _;
use std::time::Duration;

use device::camera::{Snapshot, Status};
use media::StreamName;
use media::hub::Hub;

use crate::camera::Camera;
use crate::log::Console;

/// Time between two versions of the line.
const INTERVAL: Duration = Duration::from_secs(1);

/// Shows the line for ever; waits for ever where there is no terminal.
pub(crate) async fn show(console: &Console, hub: &Hub, cameras: &[Camera]) {
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
            describe(&mut text, camera, &now, kbps);
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

fn describe(text: &mut String, camera: &Camera, now: &Snapshot, kbps: u64) {
    let _ = match camera.status() {
        Some(Status::Slate { error, .. }) => write!(text, "{}: no picture, {}", camera.name, error.what),
        _ => write!(
            text,
            "{}: {:.1} fps, capture to encoded p50 {:.1} p95 {:.1} ms, {kbps} kb/s",
            camera.name,
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
