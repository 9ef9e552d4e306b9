//! aiortc, an implementation that shares no code with browsers, through `tests/clients/webrtc.py`.

use std::path::Path;

use serde_json::Value;

use super::support::{Process, Server, test_tool};
use super::{described, endpoint};

fn client(what: &str, url: &str, seconds: &str, more: &[&str]) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/webrtc.py");
    let mut command = std::process::Command::new(test_tool("aiortc").join("bin/python"));
    command.arg(script).args([what, url, "--seconds", seconds]).args(more);
    let mut process = Process::start(&mut command);
    process.collect_stdout();
    process
}

fn event(process: &mut Process, name: &str) -> Value {
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
    let mut publisher = client("publish", &endpoint(&server, "aio", "whip"), "12", &[]);
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
