//! aiortc, an implementation that shares no code with browsers, through `tests/clients/webrtc.py`.

use std::path::Path;

use serde_json::Value;

use super::support::{Process, Server, test_tool};
use super::{described, endpoint};

pub(super) fn client(what: &str, url: &str, seconds: &str, more: &[&str]) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/webrtc.py");
    let mut command = std::process::Command::new(test_tool("aiortc").join("bin/python"));
    command.arg(script).args([what, url, "--seconds", seconds]).args(more);
    let mut process = Process::start(&mut command);
    process.collect_stdout();
    process
}

pub(super) fn event(process: &mut Process, name: &str) -> Value {
    process.wait_for(name, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["event"] == name).then_some(event)
    })
}

#[test]
fn plays_with_a_token() {
    let server = Server::start(&["--source", "test", "--token", "secret"]);
    let url = endpoint(&server, "zerolatency", "whep");
    let mut viewer = client("view", &url, "3", &["--token", "secret"]);
    let first = event(&mut viewer, "frame");
    assert_eq!((&first["width"], &first["height"]), (&640.into(), &480.into()));
    let end = event(&mut viewer, "end");
    assert!(end["frames"].as_u64() > Some(45), "{end}");
    assert_eq!(
        (&end["state"], &end["deleted"]),
        (&"connected".into(), &200.into()),
        "{end}"
    );
    let mut stranger = client("view", &url, "3", &[]);
    stranger.wait_for("its refusal", |line| line.contains("HTTP Error 401").then_some(()));
}

#[test]
fn publishes_to_a_viewer_of_its_own_kind() {
    let mut server = Server::start(&["--open"]);
    let mut publisher = client("publish", &endpoint(&server, "aio", "whip"), "20", &[]);
    server.wait_for_event("WebRTC publisher began", "aio");
    let mut viewer = client("view", &endpoint(&server, "aio", "whep"), "4", &[]);
    let end = event(&mut viewer, "end");
    assert!(
        end["frames"].as_u64() > Some(60) && end["audio"].as_u64() > Some(100),
        "{end}"
    );
    let stream = described(&server, "aio");
    // From its sender reports.
    assert_eq!(stream["latency"]["since"], "sender", "{stream}");
    let end = event(&mut publisher, "end");
    assert_eq!(end["deleted"], 200, "{end}");
    server.wait_for_event("WebRTC publisher left", "aio");
}

#[test]
fn ends_when_somebody_else_ends_it() {
    let mut server = Server::start(&["--source", "test", "--token", "secret"]);
    let url = endpoint(&server, "zerolatency", "whep");
    let mut viewers = ["60", "60"].map(|seconds| client("view", &url, seconds, &["--token", "secret"]));
    for viewer in &mut viewers {
        event(viewer, "frame");
    }
    server.wait_for_events("WebRTC viewer joined", "zerolatency", 2);
    let port = server.port_of("http_port");
    let api = |method: &str, path: &str| {
        let url = format!("http://127.0.0.1:{port}/api/v1/viewers{path}?token=secret");
        let curl = ["--silent", "--max-time", "20", "--request", method, &url];
        String::from_utf8(super::support::tool("curl").args(curl).output().unwrap().stdout).unwrap()
    };
    let listed: Value = serde_json::from_str(&api("GET", "")).unwrap();
    assert_eq!(listed["total"], 2, "{listed}");
    let session = &listed["sessions"][0];
    assert_eq!(
        (&session["protocol"], session["id"].is_u64()),
        (&"WebRTC".into(), true),
        "{session}"
    );
    assert_eq!(api("DELETE", &format!("/{}", session["id"])), "");
    let left = server.wait_for_events("WebRTC viewer left", "zerolatency", 1);
    assert_eq!(
        (&left["reason"], &left["remote"]),
        (&"ended on request".into(), &session["remote"])
    );
    // DTLS tells its peer, and the other one's nothing.
    let closed = |viewer: &Process| viewer.said().iter().any(|line| line.contains("\"closed\""));
    let begun = std::time::Instant::now();
    while !viewers.iter().any(closed) {
        assert!(begun.elapsed() < super::support::PATIENCE, "{:?}", viewers[0].said());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(viewers.iter().filter(|viewer| closed(viewer)).count(), 1);
    let listed: Value = serde_json::from_str(&api("GET", "")).unwrap();
    assert_eq!(listed["total"], 1, "{listed}");
}
