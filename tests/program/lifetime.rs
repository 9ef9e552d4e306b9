//! How it ends, and what stands in a JSON log from the beginning to the end.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::{port, start, wait_for_event};

/// Runs until the signal, and checks what every end has in common.
fn ends_on(signal: Signal, arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), arguments, &[]);
    port(&mut process);
    // As `timeout` does: to the process, and to its group.
    crate::signal(&process, signal);
    crate::signal(&process, signal);
    let asked = Instant::now();
    let (status, lines) = process.finish();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.contains("not everything ended")),
        "{lines:?}"
    );
    assert!(
        asked.elapsed() < Duration::from_millis(1_500),
        "took {:?}",
        asked.elapsed()
    );
    for line in &lines {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        for field in ["timestamp", "level", "event"] {
            assert!(event[field].is_string(), "{field} is missing in {line}");
        }
        let time = event["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>();
        assert!(time.is_ok(), "{line}");
    }
}

#[test]
fn ctrl_c_ends_it_within_a_second() {
    ends_on(Signal::INT, &["up", "--source", "test", "--log", "json"]);
}

#[test]
fn so_does_a_service_manager() {
    ends_on(Signal::TERM, &["serve", "--source", "test", "--log", "json"]);
}

#[test]
fn with_viewers_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["up", "--source", "test", "--log", "json"], &[]);
    let url = format!("rtsp://localhost:{}/zerolatency", port(&mut server));
    let mut receivers: Vec<_> = ["tcp", "udp"]
        .iter()
        .map(|transport| {
            let arguments = ["receive", &url, "--log", "json", "--transport", transport];
            let mut command = crate::support::sightline();
            let mut process = crate::support::Process::start(command.args(arguments).current_dir(folder.path()));
            wait_for_event(&mut process, "receiving");
            process
        })
        .collect();
    crate::signal(&server, Signal::INT);
    let asked = Instant::now();
    let (status, lines) = server.finish();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert!(
        asked.elapsed() < Duration::from_millis(1_500),
        "took {:?}",
        asked.elapsed()
    );
    for receiver in &mut receivers {
        // It waits for the server to come back, and ends when told to.
        assert!(receiver.is_running());
        crate::signal(receiver, Signal::TERM);
    }
    for receiver in receivers {
        let (status, lines) = receiver.finish();
        assert_eq!(status.code(), Some(0), "{lines:?}");
    }
}
