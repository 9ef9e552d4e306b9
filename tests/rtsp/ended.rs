//! Sessions that somebody else than their peer ends, by the API.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::killing::{frames, viewer_of, wait_for_frames};
use super::support::{PATIENCE, Process, Server, publish_with_ffmpeg, tool};

/// What the API says, and the status.
fn api(server: &Server, method: &str, path: &str) -> (u16, Value) {
    let url = format!("http://127.0.0.1:{}/api/v1/{path}", server.port_of("http_port"));
    let authorization = format!("Authorization: Bearer {}", server.token("admin"));
    let mut command = tool("curl");
    command.args(["--silent", "--max-time", "20", "--write-out", "\n%{http_code}"]);
    let output = command
        .args(["--request", method, "--header", &authorization, &url])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (
        status.parse().unwrap(),
        serde_json::from_str(body).unwrap_or(Value::Null),
    )
}

fn wait_for_end(process: &mut Process, who: &str) {
    let begun = Instant::now();
    while process.is_running() {
        assert!(begun.elapsed() < PATIENCE, "{who} goes on: {:?}", process.said().last());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_viewer_that_is_ended_goes_and_the_others_stay() {
    // However long FFmpeg takes to start.
    let mut server = Server::start_with(&[], &[("SIGHTLINE_LIMITS_HOLD", "1min")]);
    let mut publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 30);
    let mut viewers = Vec::new();
    for (count, transport) in ["tcp", "udp", "tcp"].into_iter().enumerate() {
        let mut viewer = viewer_of(&server, "cam", transport);
        wait_for_frames(&mut viewer, 10);
        server.wait_for_events("RTSP viewer joined", "cam", count + 1);
        viewers.push(viewer);
    }
    let (status, listed) = api(&server, "GET", "streams/cam/viewers");
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!((status, sessions.len()), (200, 3), "{listed}");
    let protocols: Vec<_> = sessions
        .iter()
        .map(|session| session["protocol"].as_str().unwrap())
        .collect();
    assert_eq!(
        protocols,
        ["RTSP/TCP", "RTSP/UDP", "RTSP/TCP"],
        "in the order in which they came"
    );
    for session in sessions {
        assert!(session["agent"].as_str().unwrap().starts_with("Lavf"), "{session}");
        assert!(
            session["remote"].as_str().unwrap().starts_with("127.0.0.1:"),
            "{session}"
        );
        assert_eq!(session["codecs"], serde_json::json!(["H.264"]));
        assert!(session["latency_ms"].as_f64() > Some(0.0), "{session}");
    }

    // By TCP and by UDP.
    for (gone, session) in sessions[..2].iter().enumerate() {
        let path = format!("viewers/{}", session["id"]);
        assert_eq!(api(&server, "DELETE", &path).0, 204);
        assert_eq!(api(&server, "DELETE", &path).0, 404, "it is gone when it is said to be");
        wait_for_end(&mut viewers[gone], "the viewer");
        let left = server.wait_for_events("RTSP viewer left", "cam", gone + 1);
        assert_eq!(left["reason"], "ended on request");
        assert_eq!(left["remote"], session["remote"]);
    }
    let said = server.events("is ended on request", "cam");
    assert_eq!((said.len(), said[0]["by"].as_str()), (2, Some("admin")), "{said:?}");
    let seen = frames(&viewers[2]);
    wait_for_frames(&mut viewers[2], seen + 30);

    let (_, listed) = api(&server, "GET", "publishers");
    let id = &listed["sessions"][0]["id"];
    assert_eq!(api(&server, "DELETE", &format!("publishers/{id}")).0, 204);
    wait_for_end(&mut publisher, "the publisher");
    let left = server.wait_for_events("RTSP publisher left", "cam", 1);
    assert_eq!(left["reason"], "ended on request");
    // Its viewers wait for the next.
    assert!(viewers[2].is_running());
    let _publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 30);
    let seen = frames(&viewers[2]);
    wait_for_frames(&mut viewers[2], seen + 30);
}
