//! The socket of `sightline up`, whose camera is in the same process.

use std::time::{Duration, Instant};

use crate::support::{Machine, free_port};
use crate::{Dashboard, Server, is};

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_is_told_of_the_camera() {
    let server = Server::start(&["up", "--source", "test"], &[]);
    let mut dashboard = Dashboard::open(&server.url("")).await;
    let metrics = dashboard
        .hear("figures of a camera that runs", |value| {
            let runs = is(value, "camera_metrics") && value["fps"].as_f64()? > 25.0;
            runs.then(|| value.clone())
        })
        .await;
    assert_eq!(
        (metrics["camera"].as_str(), metrics["isConnected"].as_bool()),
        (Some("zerolatency"), Some(true))
    );
    assert_eq!(
        (metrics["width"].as_u64(), metrics["height"].as_u64()),
        (Some(640), Some(480))
    );
    for figure in [
        "frames_sent",
        "memory_used_mb",
        "memory_total_mb",
        "memory_percent",
        "latency_ms",
    ] {
        assert!(metrics[figure].as_f64().unwrap() > 0.0, "{figure}: {metrics}");
    }
    let now_us = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_micros();
    let age_us = i128::try_from(now_us).unwrap() - i128::from(metrics["capture_time_us"].as_i64().unwrap());
    assert!((0..2_000_000).contains(&age_us), "{age_us}");
    // Once a second, unless something changes.
    let count = dashboard.count("camera_metrics", Duration::from_secs(3)).await;
    assert!((2..=4).contains(&count), "{count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_dashboards_count_messages_as_frames() {
    let server = Server::start(&["up", "--source", "test", "--status-rate", "30"], &[]);
    let mut dashboard = Dashboard::open(&server.url("")).await;
    dashboard
        .hear("a status", |value| is(value, "connection_status").then_some(()))
        .await;
    let (began, machine) = (Instant::now(), Machine::watch());
    let count = dashboard.count("connection_status", Duration::from_secs(4)).await as f64;
    let passed = began.elapsed().as_secs_f64();
    let kept = machine.kept().as_secs_f64().min(passed / 2.0);
    // What was due while the machine stood was left out, or is counted here although it was due before.
    let due = 25.0 * (passed - kept)..=33.0 * (passed + kept);
    assert!(
        due.contains(&count),
        "{count} in {passed} s, of which the machine kept {kept}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_done_or_honestly_refused() {
    let server = Server::start(&["up", "--source", "test"], &[]);
    let mut dashboard = Dashboard::open(&server.url("")).await;
    dashboard
        .hear("a camera that runs", |value| {
            (value["isConnected"] == true).then_some(())
        })
        .await;
    for command in [
        r#"{"type":"request_keyframe","camera":"zerolatency"}"#,
        r#"{"type":"set_bitrate_kbps","kbps":400}"#,
        r#"{"type":"set_overlay","on":false}"#,
        r#"{"type":"start_recording","camera":"zerolatency","filename":"recording_2025-10-06.mp4"}"#,
        r#"{"type":"stop_recording"}"#,
    ] {
        assert_eq!(dashboard.answer(command).await["type"], "ack", "{command}");
    }
    for (command, why) in [
        (
            r#"{"type":"start_recording","camera":"zerolatency","filename":"../../etc/passwd"}"#,
            "without folders",
        ),
        (r#"{"type":"stop_recording"}"#, "nobody started a recording"),
        (r#"{"type":"set_brightness","brightness":50}"#, "no brightness"),
        (
            r#"{"type":"request_keyframe","camera":"other"}"#,
            "no publisher of other",
        ),
    ] {
        let answer = dashboard.answer(command).await;
        let message = answer["message"].as_str().unwrap();
        assert!(
            answer["type"] == "error" && message.contains(why),
            "{command}: {answer}"
        );
    }
}

/// Closed, it has no pictures and says so; opened, it has them again.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_is_closed_and_opened() {
    let server = Server::start(&["up", "--source", "test"], &[]);
    let mut dashboard = Dashboard::open(&server.url("")).await;
    let connected = |wanted: bool| move |value: &serde_json::Value| (value["isConnected"] == wanted).then_some(());
    dashboard.hear("a camera that runs", connected(true)).await;
    assert_eq!(dashboard.answer(r#"{"type":"stop_stream"}"#).await["type"], "ack");
    let off = |value: &serde_json::Value| (value["errorMessage"] == "switched off").then_some(());
    dashboard.hear("a camera that is off", off).await;
    assert_eq!(dashboard.answer(r#"{"type":"start_stream"}"#).await["type"], "ack");
    dashboard.hear("a camera that runs again", connected(true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_port_measures_clocks() {
    let port = free_port().to_string();
    let server = Server::start(&["serve"], &[("WEBSOCKET_PORT", &port)]);
    assert_eq!(server.port("websocket").to_string(), port);
    for name in ["http", "hls", "webrtc", "websocket"] {
        let url = format!("ws://127.0.0.1:{}/ws/camera?token={}", server.port(name), crate::TOKEN);
        let mut page = Dashboard::open(&url).await;
        page.say(r#"{"type":"ping","client":12.5}"#).await;
        let pong = page
            .hear("a pong", |value| is(value, "pong").then(|| value.clone()))
            .await;
        assert_eq!(pong["client"], 12.5, "{name}");
        assert!(pong["server_us"].as_i64().unwrap() > 1_700_000_000_000_000);
    }
    // With a page open.
    let mut page = Dashboard::open(&server.url("")).await;
    server.process.signal(rustix::process::Signal::TERM);
    let ending = tokio::task::spawn_blocking(move || server.process.finish_within(Duration::from_millis(1_250)));
    assert_eq!(page.count("anything", crate::PATIENCE).await, 0);
    ending.await.unwrap();
}

#[test]
fn a_websocket_port_that_is_none_is_named() {
    let mut command = crate::sightline();
    let output = command.args(["serve"]).env("WEBSOCKET_PORT", "many").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("WEBSOCKET_PORT: \"many\" is not a port"), "{said}");
}
