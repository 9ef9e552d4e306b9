//! Streams that the server fetches: another server is the camera, FFmpeg the viewer.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use super::killing::{frames, viewer_of, wait_for_frames};
use super::support::{PATIENCE, Process, Server, free_port, publish_with_ffmpeg, tool};

/// The stream that is fetched.
const STREAM: &str = "door";
const SOURCE: &str = "SIGHTLINE_STREAM_DOOR_SOURCE";

/// A server with the stream `cam`, on a free port or on this one.
pub(crate) fn camera(port: Option<u16>, variables: &[(&str, &str)]) -> (Server, Process) {
    let port = port.map(|port| port.to_string());
    let port: Vec<&str> = port.iter().flat_map(|port| ["--rtsp-port", port]).collect();
    let mut server = Server::start_with(&port, variables);
    let publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
    (server, publisher)
}

/// FFmpeg over HTTP or RTSP, until it has decoded a second of pictures; what it said where that failed.
pub(crate) fn plays(url: &str) -> Result<(), String> {
    let mut command = tool("ffmpeg");
    command.args([
        "-nostdin",
        "-v",
        "error",
        "-i",
        url,
        "-frames:v",
        "20",
        "-f",
        "null",
        "-",
    ]);
    let (status, said) = Process::start(&mut command).finish();
    if status.success() { Ok(()) } else { Err(said.join("\n")) }
}

#[test]
fn viewers_stay_when_a_camera_is_killed_and_comes_back() {
    for transport in ["tcp", "udp"] {
        let port = free_port();
        let (mut server, publisher) = camera(Some(port), &[]);
        let mut fetching = Server::start_with(
            &[],
            &[
                (SOURCE, &server.url("cam")),
                ("SIGHTLINE_STREAM_DOOR_SOURCE_TRANSPORT", transport),
                ("SIGHTLINE_LIMITS_HOLD", "1min"),
            ],
        );
        let mut viewer = viewer_of(&fetching, STREAM, "tcp");
        wait_for_frames(&mut viewer, 30);
        server.process.kill();
        drop((server, publisher));
        fetching.wait_for_event("source failed", STREAM);
        let seen = frames(&viewer);
        let _camera = camera(Some(port), &[]);
        wait_for_frames(&mut viewer, seen + 30);
        fetching.wait_for_events("source runs", STREAM, 2);
        assert_eq!(
            fetching.events("RTSP viewer joined", STREAM).len(),
            1,
            "it came back, over {transport}"
        );
    }
}

#[test]
fn a_source_runs_on_demand_whoever_asks() {
    let (camera, _publisher) = camera(None, &[]);
    let token = ("SIGHTLINE_OPEN", "true");
    let url = camera.url("cam");
    let on_demand = ("SIGHTLINE_STREAM_DOOR_ON_DEMAND", "true");
    // By RTSP and by HLS, each from nothing.
    let mut fetching = Server::start_with(&[], &[(SOURCE, &url), on_demand, token]);
    assert!(camera.events("RTSP viewer joined", "cam").is_empty());
    plays(&fetching.url(STREAM)).unwrap();
    assert_eq!(camera.events("RTSP viewer joined", "cam").len(), 1);
    let left = Instant::now();
    fetching.wait_for_event("source stopped", STREAM);
    assert!(left.elapsed() > Duration::from_secs(8), "{:?}", left.elapsed());
    let hls_port = fetching.port_of("hls_port");
    plays(&format!("http://127.0.0.1:{hls_port}/{STREAM}/index.m3u8")).unwrap();
    fetching.wait_for_events("source runs", STREAM, 2);
}

#[test]
fn digest_is_answered_and_a_wrong_password_told_clearly() {
    let (camera, _publisher) = {
        let mut server = Server::start_with(&["--token", "s3cret-canary"], &[]);
        let url = server.url("cam").replace("rtsp://", "rtsp://admin:s3cret-canary@");
        let mut command = tool("ffmpeg");
        command.args("-nostdin -v warning -re -f lavfi -i testsrc=size=320x240:rate=30 -pix_fmt yuv420p".split(' '));
        command.args("-c:v libx264 -preset ultrafast -tune zerolatency -g 15 -f rtsp -rtsp_transport tcp".split(' '));
        let publisher = Process::start(command.arg(url));
        server.wait_for_event("publisher began", "cam");
        (server, publisher)
    };
    let url = |password: &str| {
        camera
            .url("cam")
            .replace("rtsp://", &format!("rtsp://viewer:{password}@"))
    };
    let right = Server::start_with(&[], &[(SOURCE, &url("s3cret-canary"))]);
    plays(&right.url(STREAM)).unwrap();
    let mut wrong = Server::start_with(&[], &[(SOURCE, &url("wr0ng-canary"))]);
    let why = wrong.wait_for_events("source failed", STREAM, 1);
    let reason = why["reason"].as_str().unwrap();
    assert!(reason.starts_with("wrong user or password for 127.0.0.1"), "{why}");
    let told = plays(&wrong.url(STREAM)).unwrap_err();
    assert!(told.contains("503"), "{told}");
    for server in [&right, &wrong] {
        let said = server.process.said().join("\n");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn the_next_source_when_the_first_is_not_there() {
    let (camera, _publisher) = camera(None, &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sightline.toml");
    let nothing = camera.url("nothing");
    let there = camera.url("cam");
    let expression = camera.url("$1");
    let text = format!(
        "[stream.door]\nsource = [\"{nothing}\", \"{there}\"]\n[stream.\"~^all/(.+)$\"]\nsource = \"{expression}\"\n[stream.away]\nredirect = \"{there}\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let fetching = Server::start(&["--config", file.to_str().unwrap()]);
    plays(&fetching.url(STREAM)).unwrap();
    let failed = fetching.events("source failed", STREAM);
    assert!(
        failed[0]["reason"]
            .as_str()
            .unwrap()
            .contains("has no stream at /nothing"),
        "{failed:?}"
    );
    // An expression, and a name that its source does not have.
    plays(&fetching.url("all/cam")).unwrap();
    let told = plays(&fetching.url("all/nothing")).unwrap_err();
    assert!(told.contains("404"), "{told}");
    // FFmpeg follows.
    plays(&fetching.url("away")).unwrap();
    assert!(describe(fetching.port, "away").contains(&format!("\r\nLocation: {there}\r\n")));
}

/// What DESCRIBE is answered with.
fn describe(port: u16, stream: &str) -> String {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("DESCRIBE rtsp://127.0.0.1:{port}/{stream} RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    while !answer.contains("\r\n\r\n") {
        let mut bytes = [0; 2_048];
        let length = socket.read(&mut bytes).unwrap();
        assert!(length > 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    answer
}
