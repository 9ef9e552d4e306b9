//! `sightline publish` reports to another server, and does what it is told from there.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Process, free_port, sightline};
use crate::{Dashboard, Server, TOKEN, is, wait_for_event};

fn publisher(server: &Server, variables: &[(&str, String)], arguments: &[String]) -> Process {
    let mut command = sightline();
    let url = format!("rtsp://127.0.0.1:{}/door", server.port("rtsp"));
    command.args(["publish", "--source", "test", "--log", "json", "--token", TOKEN, &url]);
    command.args(arguments).current_dir(server.folder.path());
    command.envs(variables.iter().map(|(name, value)| (name, value.as_str())));
    Process::start(&mut command)
}

/// Waits until the publisher says that it did this.
fn done(process: &mut Process, command: &str) {
    process.wait_for(command, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["event"] == "done as the server asked" && event["command"] == command).then_some(())
    });
}

fn runs(value: &Value) -> Option<()> {
    (is(value, "camera_metrics") && value["camera"] == "door" && value["fps"].as_f64()? > 20.0).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_reports_where_the_seeds_variables_say() {
    let server = Server::start(&["serve"], &[]);
    let mut dashboard = Dashboard::open(&server.url("")).await;
    let port = server.port("http").to_string();
    let mut process = publisher(
        &server,
        &[("PI_VPN_IP", "127.0.0.1".to_owned()), ("WEBSOCKET_PORT", port)],
        &[],
    );
    dashboard.hear("the camera's figures", runs).await;
    let answer = dashboard.answer(r#"{"type":"request_keyframe","camera":"door"}"#).await;
    assert_eq!(answer["type"], "ack");
    done(&mut process, "request_keyframe");
    let answer = dashboard.answer(r#"{"type":"stop_stream","camera":"door"}"#).await;
    assert_eq!(answer["type"], "ack", "passed on");
    done(&mut process, "stop_stream");
    let off = |value: &Value| (value["camera"] == "door" && value["errorMessage"] == "switched off").then_some(());
    dashboard.hear("a camera that is off", off).await;
    let answer = dashboard
        .answer(r#"{"type":"set_brightness","camera":"door","brightness":5}"#)
        .await;
    assert_eq!(
        answer["type"], "ack",
        "passed on; the publisher says in its log that it cannot"
    );
    wait_for_event(&mut process, "not done, though the server asked");
    let answer = dashboard.answer(r#"{"type":"start_stream","camera":"door"}"#).await;
    assert_eq!(answer["type"], "ack", "passed on");
    let on = |value: &Value| (is(value, "connection_status") && value["isConnected"] == true).then_some(());
    dashboard.hear("a camera that is on again", on).await;
    // Killed, it is missed.
    let killed = Instant::now();
    process.kill();
    let gone = |value: &Value| (is(value, "connection_status") && value["isConnected"] == false).then_some(());
    dashboard.hear("the loss of the camera", gone).await;
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_is_told_again() {
    let port = free_port().to_string();
    let rtsp = free_port().to_string();
    let ports = [
        ("SIGHTLINE_HTTP_PORT", port.as_str()),
        ("SIGHTLINE_RTSP_PORT", rtsp.as_str()),
    ];
    let mut server = Server::start(&["serve"], &[]);
    let start = || {
        let mut command = sightline();
        command.args(["serve", "--log", "json", "--token", TOKEN, "--state-dir"]);
        command.arg(server.folder.path().join("again")).envs(ports);
        command
            .env("SIGHTLINE_RTSP_RTP_PORT", "0")
            .env("SIGHTLINE_RTSP_RTCP_PORT", "0");
        let mut process = Process::start(&mut command);
        process.collect_stdout();
        wait_for_event(&mut process, "listening");
        process
    };
    let mut other = start();
    // The stream goes to the one, the status to the other.
    let url = format!("ws://127.0.0.1:{port}");
    let mut process = publisher(&server, &[], &["--ws-url".to_owned(), url]);
    let address = format!("ws://127.0.0.1:{port}/ws/camera/?token={TOKEN}");
    Dashboard::open(&address).await.hear("the camera's figures", runs).await;
    // The camera may be told of before the other server has said that it takes its stream.
    wait_for_event(&mut process, "publishing");
    let publishing = process
        .said()
        .iter()
        .filter(|line| line.contains("\"publishing\""))
        .count();
    other.kill();
    let mut other = start();
    Dashboard::open(&address)
        .await
        .hear("the camera's figures again", runs)
        .await;
    let still = process
        .said()
        .iter()
        .filter(|line| line.contains("\"publishing\""))
        .count();
    assert_eq!((publishing, still), (1, 1), "the stream was not disturbed");
    assert!(process.is_running() && server.process.is_running() && other.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_socket_it_publishes_all_the_same() {
    let server = Server::start(&["serve"], &[]);
    let nowhere = free_port();
    let url = format!("ws://127.0.0.1:{nowhere}/ws/camera/");
    let mut process = publisher(&server, &[], &["--ws-url".to_owned(), url]);
    wait_for_event(&mut process, "publishing");
    let said = wait_for_event(&mut process, "the camera's status is not reported; trying again");
    assert!(said["reason"].as_str().unwrap().contains("refused"), "{said}");
}

/// RTSP is free on this machine, and so it seems to be with the status: the token is read where the server keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn beside_its_server_it_needs_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let start = |arguments: &[&str]| {
        let mut command = sightline();
        command.args(arguments).args(["--log", "json"]);
        Process::start(command.env("HOME", folder.path()).current_dir(folder.path()))
    };
    let mut server = start(&["serve", "--rtsp-port", "0"]);
    let listening = wait_for_event(&mut server, "listening");
    let (rtsp, http) = (&listening["rtsp_port"], &listening["http_port"]);
    let socket = format!("ws://127.0.0.1:{http}/ws/camera/");
    let url = format!("rtsp://127.0.0.1:{rtsp}/door");
    let mut publisher = start(&["publish", "--source", "test", "--ws-url", &socket, &url]);
    wait_for_event(&mut publisher, "publishing");
    let stored = std::fs::read(folder.path().join(".local/state/sightline/tokens.json")).unwrap();
    let tokens: Value = serde_json::from_slice(&stored).unwrap();
    let viewer = tokens["viewer"].as_str().unwrap();
    let mut dashboard = Dashboard::open(&format!("{socket}?token={viewer}")).await;
    dashboard.hear("the camera's figures", runs).await;
}
