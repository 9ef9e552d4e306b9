//! FFmpeg as the source of a stream: it publishes by itself, or writes to its standard output.

use std::fs;
use std::time::{Duration, Instant};

use super::killing::{frames, viewer_of, wait_for_frames};
use super::sources::plays;
use super::support::{PATIENCE, Process, Server, counting_ffmpeg};

const SOURCE: &str = "SIGHTLINE_STREAM_DOOR_SOURCE";
const ON_DEMAND: (&str, &str) = ("SIGHTLINE_STREAM_DOOR_ON_DEMAND", "true");
const PICTURES: &str = "ffmpeg -nostdin -v error -re -f lavfi -i testsrc2=size=320x240:rate=15";
const PUBLISHED: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -g 15 -f rtsp -rtsp_transport tcp {output}";

/// The processes that a server has started.
fn children(server: &Server) -> Vec<u32> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", server.process.pid())).unwrap() {
        let text = fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
    }
    children
}

fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_program_that_publishes_is_a_source() {
    let command = format!("exec:{PICTURES} {PUBLISHED}");
    // The token is asked for here too, so the program needs the one that was made for it.
    let token = ("SIGHTLINE_TOKEN", "secret-of-the-house");
    let mut server = Server::start_with(&[], &[(SOURCE, &command), token, ("SIGHTLINE_LIMITS_HOLD", "1min")]);
    server.wait_for_event("source runs", "door");
    let [ffmpeg] = children(&server)[..] else {
        panic!("{:?}", children(&server))
    };
    let arguments = fs::read_to_string(format!("/proc/{ffmpeg}/cmdline")).unwrap();
    assert!(
        arguments.contains("rtsp://program:") && !arguments.contains(token.1),
        "{arguments}"
    );
    let environment = fs::read_to_string(format!("/proc/{ffmpeg}/environ")).unwrap();
    assert!(!environment.contains("SIGHTLINE_"), "{environment}");

    let mut command = counting_ffmpeg("tcp");
    let url = format!("rtsp://viewer:{}@127.0.0.1:{}/door", token.1, server.port);
    let mut viewer = Process::start(command.args(["-i", &url, "-f", "null", "-"]));
    viewer.collect_stdout();
    wait_for_frames(&mut viewer, 30);
    std::process::Command::new("kill")
        .args(["-9", &ffmpeg.to_string()])
        .status()
        .unwrap();
    server.wait_for_event("source failed", "door");
    let seen = frames(&viewer);
    wait_for_frames(&mut viewer, seen + 30);
    assert!(
        !server.process.said().join("\n").contains("rtsp://program:"),
        "no credential in the log"
    );

    let [ffmpeg] = children(&server)[..] else {
        panic!("{:?}", children(&server))
    };
    server.process.kill();
    until("it ends with us", || is_gone(ffmpeg));
}

#[test]
fn a_program_that_publishes_runs_on_demand() {
    let command = format!("exec:{PICTURES} {PUBLISHED}");
    let mut server = Server::start_with(&[], &[(SOURCE, &command), ON_DEMAND]);
    std::thread::sleep(Duration::from_millis(300));
    assert!(children(&server).is_empty());
    plays(&server.url("door")).unwrap();
    let running = children(&server);
    assert_eq!(running.len(), 1);
    server.wait_for_event("source stopped", "door");
    until("ended", || running.iter().all(|pid| is_gone(*pid)));
}

#[test]
fn what_a_program_writes_is_a_source() {
    for (codec, options) in [
        ("h264", "-c:v libx264 -preset ultrafast -tune zerolatency -g 15"),
        (
            "hevc",
            "-c:v libx265 -preset ultrafast -tune zerolatency -x265-params log-level=error:keyint=15:bframes=0",
        ),
    ] {
        let command = format!("exec:{PICTURES} {options} -f {codec} -");
        let server = Server::start_with(&[], &[(SOURCE, &command), ON_DEMAND]);
        let tracks = server.played("door", 1);
        assert!(matches!(&tracks[..], [track] if track.contains(codec)), "{tracks:#?}");
        let mut viewer = viewer_of(&server, "door", "tcp");
        wait_for_frames(&mut viewer, 30);
    }
}
