//! gortsplib, the RTSP library of Go servers and tools, through a small client of ours (`tests/clients/gortsplib`).

use std::process::Command;

use serde_json::Value;

use super::support::{Process, Server, not_taken, publish_with_ffmpeg, test_tool, tool};

fn client(arguments: &[&str]) -> Vec<Value> {
    let mut process = Process::start(Command::new(test_tool("gortsplib")).args(arguments));
    process.collect_stdout();
    let (status, said) = process.finish();
    assert!(status.success(), "{said:?}");
    said.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn end(events: &[Value]) -> &Value {
    events
        .iter()
        .find(|event| event["event"] == "end")
        .unwrap_or_else(|| panic!("no end: {events:?}"))
}

#[test]
fn plays_over_tcp_and_udp_without_loss() {
    let mut server = Server::start(&[]);
    let _publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 30);
    for transport in ["tcp", "udp"] {
        let before = not_taken();
        let events = client(&["play", "-transport", transport, "-seconds", "3", &server.url("cam")]);
        let end = end(&events);
        assert!(end["units"].as_u64().unwrap() >= 60, "over {transport}: {end}");
        assert!(end["keys"].as_u64().unwrap() >= 2, "over {transport}: {end}");
        // But what a busy machine did not let it take in time, which there is by UDP alone.
        let missed = if transport == "udp" { not_taken() - before } else { 0 };
        assert!(
            end["lost"].as_u64().unwrap() <= missed,
            "over {transport}, {missed} not taken: {end}"
        );
        assert_eq!(end["faults"], 0, "over {transport}: {end}");
        let first = events.iter().find(|event| event["event"] == "unit").unwrap();
        assert_eq!(first["key"], true, "the first access unit is not a keyframe");
    }
}

#[test]
fn publishes_over_tcp_and_udp() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.h264");
    let mut command = tool("ffmpeg");
    command.args([
        "-nostdin",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=320x240:rate=30:duration=2",
    ]);
    command.args([
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "libx264",
        "-profile:v",
        "baseline",
        "-g",
        "30",
    ]);
    let (status, said) = Process::start(command.arg(&file)).finish();
    assert!(status.success(), "{said:?}");
    for transport in ["tcp", "udp"] {
        let mut server = Server::start(&[]);
        let url = server.url("cam");
        let file = file.to_str().unwrap();
        let arguments = [
            "publish",
            "-transport",
            transport,
            "-seconds",
            "20",
            "-fps",
            "30",
            "-file",
            file,
            &url,
        ];
        let _publisher = Process::start(Command::new(test_tool("gortsplib")).args(arguments));
        server.wait_for_event("publisher began", "cam");
        let events = client(&["play", "-transport", "tcp", "-seconds", "2", &url]);
        assert!(
            end(&events)["units"].as_u64().unwrap() >= 40,
            "over {transport}: {}",
            end(&events)
        );
    }
}
