//! Streams that the server fetches by WHEP: another server is the camera, FFmpeg the viewer.

use serde_json::Value;

use super::described;
use super::support::{Process, Server, free_port, publish_encoded_with_ffmpeg};

const STREAM: &str = "door";
const SOURCE: &str = "SIGHTLINE_STREAM_DOOR_SOURCE";
const CODECS: &str =
    "-f lavfi -i sine=frequency=440 -c:v libx264 -preset ultrafast -tune zerolatency -g 15 -c:a libopus -b:a 64k";

/// A server with the stream `cam`, picture and sound, on free ports or on these.
fn camera(variables: &[(&str, &str)], ports: &[&str]) -> (Server, Process) {
    let mut server = Server::start_with(ports, variables);
    let publisher = publish_encoded_with_ffmpeg(&mut server, "cam", "tcp", CODECS);
    (server, publisher)
}

fn url(server: &Server, rest: &str) -> String {
    format!("whep://127.0.0.1:{}/{rest}", server.port_of("webrtc_port"))
}

#[test]
fn picture_and_sound_are_fetched_with_a_token_and_again_after_a_restart() {
    let port = free_port().to_string();
    let ports = ["--webrtc-port", port.as_str()];
    let (mut camera_server, publisher) = camera(&[], &ports);
    let token = camera_server.token("viewer");
    let source = url(&camera_server, &format!("cam/whep?token={token}"));
    let variables = [
        (SOURCE, source.as_str()),
        ("SIGHTLINE_LIMITS_HOLD", "1min"),
        ("SIGHTLINE_OPEN", "true"),
    ];
    let mut fetching = Server::start_with(&[], &variables);
    fetching.wait_for_event("source runs", STREAM);
    let tracks = fetching.played(STREAM, 1);
    assert!(
        tracks.len() == 2 && tracks.iter().any(|line| line.contains("opus")),
        "{tracks:#?}"
    );
    let stream = described(&fetching, STREAM);
    assert_eq!(stream["publisher"]["protocol"], Value::from("WebRTC"), "{stream}");
    // As the server between has it from the sender.
    assert_eq!(stream["latency"]["since"], Value::from("capture"), "{stream}");
    assert!(
        !fetching.process.said().join("").contains(&token),
        "the token is in the log"
    );
    camera_server.process.kill();
    drop((camera_server, publisher));
    fetching.wait_for_event("source failed", STREAM);
    // Its tokens are new, so it is let in from here as it is.
    let _camera = camera(&[("SIGHTLINE_OPEN", "true")], &ports);
    fetching.wait_for_events("source runs", STREAM, 2);
    fetching.played(STREAM, 1);
}

#[test]
fn what_a_server_refuses_is_told() {
    let (mut camera, _publisher) = camera(&[], &[]);
    let token = camera.token("viewer");
    for (path, reason) in [
        ("cam/whep", "does not accept user and password or token"),
        ("cam/whep?token=wrong", "does not accept user and password or token"),
        (&format!("other/whep?token={token}"), "has no such stream"),
        (&format!("cam/?token={token}"), "does not give it by WHEP"),
    ] {
        let source = url(&camera, path);
        let mut fetching = Server::start_with(&[], &[(SOURCE, &source)]);
        let event = {
            fetching.wait_for_event("source failed", STREAM);
            fetching.events("source failed", STREAM).swap_remove(0)
        };
        let said = event["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{path}: {said}");
    }
    assert!(camera.process.is_running());
}

/// The server is told when nobody watches any more.
#[test]
fn on_demand_it_is_left_as_a_page_leaves() {
    let (mut camera, _publisher) = camera(&[("SIGHTLINE_OPEN", "true")], &[]);
    let source = url(&camera, "cam/whep");
    let variables = [(SOURCE, source.as_str()), ("SIGHTLINE_STREAM_DOOR_ON_DEMAND", "true")];
    let mut fetching = Server::start_with(&[], &variables);
    assert!(camera.events("WebRTC viewer joined", "cam").is_empty());
    fetching.played(STREAM, 1);
    fetching.wait_for_event("source stopped", STREAM);
    camera.wait_for_event("WebRTC viewer left", "cam");
    let left = camera.events("WebRTC viewer left", "cam").swap_remove(0);
    assert!(
        left["reason"] == "the peer left" || left["reason"] == "ended on request",
        "{left}"
    );
}
