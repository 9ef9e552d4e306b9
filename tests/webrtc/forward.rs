//! Streams that the server sends on by WHIP, to another server of ours and to aiortc, which shares no code with it; and such as come back, by RTSP too.

use super::aiortc::{client, event};
use super::described;
use super::support::{Process, Server, free_port, publish_encoded_with_ffmpeg};

pub(super) const CODECS: &str =
    "-f lavfi -i sine=frequency=440 -c:v libx264 -preset ultrafast -tune zerolatency -g 15 -c:a libopus -b:a 64k";
const WITH_B_FRAMES: &str = "-c:v libx264 -preset ultrafast -bf 2 -g 15";

/// A server that sends `door` on to there.
pub(super) fn sending(to: &str, codecs: &str) -> (Server, Process) {
    let mut server = Server::start_with(
        &[],
        &[("SIGHTLINE_STREAM_DOOR_FORWARD", to), ("SIGHTLINE_OPEN", "true")],
    );
    let publisher = publish_encoded_with_ffmpeg(&mut server, "door", "tcp", codecs);
    (server, publisher)
}

fn why(server: &mut Server) -> String {
    server.wait_for_event("stream is not sent on", "door");
    let event = server.events("stream is not sent on", "door").swap_remove(0);
    event["reason"].as_str().unwrap().to_owned()
}

#[test]
fn to_a_server_of_ours_with_a_token_and_again_after_a_restart() {
    let port = free_port().to_string();
    let mut taking = Server::start(&["--webrtc-port", &port]);
    let token = taking.token("publisher");
    let url = format!("whip://127.0.0.1:{port}/copy/whip?token={token}");
    let (mut server, _publisher) = sending(&url, CODECS);
    server.wait_for_event("stream is sent on", "door");
    taking.wait_for_event("WebRTC publisher began", "copy");
    assert!(
        !server.process.said().join("").contains(&token),
        "the token is in the log"
    );
    taking.process.kill();
    drop(taking);
    server.wait_for_event("stream is not sent on", "door");
    let mut again = Server::start_with(&["--webrtc-port", &port], &[("SIGHTLINE_OPEN", "true")]);
    again.wait_for_event("WebRTC publisher began", "copy");
    let tracks = again.played("copy", 1);
    assert!(
        tracks.len() == 2 && tracks.iter().any(|line| line.contains("opus")),
        "{tracks:#?}"
    );
}

#[test]
fn to_aiortc_by_a_redirect_and_it_is_told_of_the_end() {
    let port = free_port().to_string();
    let mut taking = client("take", &port, "60", &["--token", "secret"]);
    event(&mut taking, "listening");
    let url = format!("whip://127.0.0.1:{port}/moved?token=secret");
    let (server, publisher) = sending(&url, CODECS);
    let first = event(&mut taking, "frame");
    assert_eq!((&first["width"], &first["height"]), (&320.into(), &240.into()));
    std::thread::sleep(std::time::Duration::from_secs(3));
    drop(publisher);
    assert_eq!(event(&mut taking, "deleted")["path"], "/sessions/1");
    let end = event(&mut taking, "end");
    assert!(
        end["frames"].as_u64() > Some(30) && end["audio"].as_u64() > Some(50),
        "{end}"
    );
    drop(server);
}

#[test]
fn what_is_not_taken_is_told() {
    for (refuses, path, says) in [
        ("picture", "cam/whip", "the server does not take H.264 (avc1."),
        ("all", "cam/whip", "took longer than 5s to answer"),
        (
            "token",
            "cam/whip",
            "does not accept user and password or token of the URL",
        ),
    ] {
        let port = free_port().to_string();
        let more = match refuses {
            "token" => ["--token", "secret"],
            refuses => ["--refuse", refuses],
        };
        let mut taking = client("take", &port, "60", &more);
        event(&mut taking, "listening");
        let (mut server, _publisher) = sending(&format!("whip://127.0.0.1:{port}/{path}"), CODECS);
        let said = why(&mut server);
        assert!(said.contains(says), "{refuses}: {said}");
    }
}

#[test]
fn pictures_in_another_order_are_not_sent() {
    let taking = Server::start_with(&[], &[("SIGHTLINE_OPEN", "true")]);
    let url = format!("whip://127.0.0.1:{}/copy/whip", taking.port_of("webrtc_port"));
    let (mut server, _publisher) = sending(&url, WITH_B_FRAMES);
    let said = why(&mut server);
    assert!(said.starts_with("the stream has B-frames"), "{said}");
    // That there are some shows after the first pictures, which may have begun a session.
    assert!(described(&taking, "copy")["publisher"].is_null());
}

/// Two servers that send the same stream to each other.
fn in_a_circle(scheme: &str, port_flag: &str, end: &str) {
    let ports = [free_port(), free_port()];
    let [mut first, mut second] = [0, 1].map(|at| {
        let to = format!("{scheme}://127.0.0.1:{}/door{end}", ports[1 - at]);
        let variables = [
            ("SIGHTLINE_STREAM_DOOR_FORWARD", to.as_str()),
            ("SIGHTLINE_OPEN", "true"),
        ];
        Server::start_with(&[port_flag, &ports[at].to_string()], &variables)
    });
    let _publisher = publish_encoded_with_ffmpeg(&mut first, "door", "tcp", CODECS);
    first.wait_for_event("stream is sent on", "door");
    let said = why(&mut second);
    assert!(said.contains("508") && said.contains("in a circle"), "{said}");
    // It goes on where it goes.
    second.played("door", 2);
    assert_eq!(first.events("publisher began", "door").len(), 1);
    assert_eq!(described(&first, "door")["publisher"]["protocol"], "RTSP/TCP");
    assert!(
        second.events("stream is not sent on", "door").len() < 3,
        "asked again and again"
    );
}

#[test]
fn a_circle_by_rtsp_is_refused() {
    in_a_circle("rtsp", "--rtsp-port", "");
}

#[test]
fn a_circle_by_whip_is_refused() {
    in_a_circle("whip", "--webrtc-port", "/whip");
}
