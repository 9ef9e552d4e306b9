//! Minutes of the same: a camera of ours, a publisher from elsewhere, viewers of both. Nothing may grow, lag or be lost.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::from_variable;
use super::killing::{frames, viewer, wait_for_frames};
use super::support::{Process, Server, publish_with_ffmpeg, reports, sightline};

/// Latency may differ by this between the beginning and the end: noise of a machine, not a queue that fills.
const MAX_DRIFT_MS: f64 = 50.0;
/// Memory that may come after the first minute.
const MAX_GROWTH_KIB: u64 = 2_048;

fn receiver(server: &Server, transport: &str) -> Process {
    let mut command = sightline();
    command.args([
        "receive",
        &server.url("zerolatency"),
        "--json",
        "--transport",
        transport,
    ]);
    let mut process = Process::start(&mut command);
    process.collect_stdout();
    process
}

fn median(reports: &[Value]) -> f64 {
    let mut values: Vec<f64> = reports
        .iter()
        .filter_map(|report| report["latency"]["p50_ms"].as_f64())
        .collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn minutes_of_the_same_change_nothing() {
    let minutes = from_variable("SOAK_MINUTES", 10).max(2);
    let mut server = Server::start(&["--source", "test"]);
    let _publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 60);
    let mut receivers = [receiver(&server, "tcp"), receiver(&server, "udp")];
    let mut elsewhere = [viewer(&server, "tcp"), viewer(&server, "udp")];
    for viewer in &mut elsewhere {
        wait_for_frames(viewer, 10);
    }
    let begun = Instant::now();
    let mut warm = None;
    while begun.elapsed() < Duration::from_secs(60) * minutes {
        std::thread::sleep(Duration::from_secs(5));
        for viewer in &mut elsewhere {
            let seen = frames(viewer);
            wait_for_frames(viewer, seen);
        }
        assert!(receivers.iter_mut().all(Process::is_running), "a receiver ended");
        if begun.elapsed() > Duration::from_secs(60) && warm.is_none() {
            warm = Some((server.process.resident_kib(), server.process.descriptors()));
        }
    }
    let (warm_kib, descriptors) = warm.unwrap();
    let grown = server.process.resident_kib().saturating_sub(warm_kib);
    assert!(
        grown < MAX_GROWTH_KIB,
        "memory grew by {grown} KiB in {} minutes",
        minutes - 1
    );
    assert_eq!(server.process.descriptors(), descriptors);
    for (receiver, transport) in receivers.iter().zip(["tcp", "udp"]) {
        let reports = reports(&receiver.said());
        assert!(
            reports.len() as f64 > 60.0 * f64::from(minutes) * 0.9,
            "{} reports",
            reports.len()
        );
        // The first seconds hold the start of everything.
        let (first, last) = (median(&reports[5..50]), median(&reports[reports.len() - 50..]));
        assert!(
            (last - first).abs() < MAX_DRIFT_MS,
            "{transport}: {first:.1} ms at first, {last:.1} ms at last"
        );
        let total = |key: &str| reports.iter().filter_map(|report| report[key].as_u64()).sum::<u64>();
        assert_eq!((total("packets_lost"), total("reconnections")), (0, 0), "{transport}");
    }
}
