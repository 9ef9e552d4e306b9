//! Publishers that die, viewers that stall.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::support::{Process, Server, publish_with_ffmpeg, tool};

/// A viewer that counts the frames it decodes.
fn viewer(server: &Server, transport: &str) -> Process {
    let mut command = tool("ffmpeg");
    command.args([
        "-nostdin",
        "-v",
        "error",
        "-progress",
        "pipe:1",
        "-rtsp_transport",
        transport,
    ]);
    command.args(["-i", &server.url("cam"), "-f", "null", "-"]);
    let mut process = Process::start(&mut command);
    process.collect_stdout();
    process
}

fn frames(viewer: &Process) -> u64 {
    let said = viewer.said();
    said.iter()
        .rev()
        .find_map(|line| line.strip_prefix("frame=")?.trim().parse().ok())
        .unwrap_or(0)
}

fn wait_for_frames(viewer: &mut Process, more_than: u64) {
    let begun = Instant::now();
    while frames(viewer) <= more_than {
        assert!(viewer.is_running(), "a viewer ended: {:?}", viewer.said());
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "a viewer sees nothing new: {:?}",
            viewer.said().last()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_publisher_killed_twenty_times_under_ten_viewers() {
    let mut server = Server::start(&[]);
    let mut publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
    let mut viewers: Vec<_> = (0..10)
        .map(|number| viewer(&server, if number < 8 { "tcp" } else { "udp" }))
        .collect();
    for viewer in &mut viewers {
        wait_for_frames(viewer, 10);
    }
    let mut before = None;
    for round in 0..20 {
        publisher.kill();
        let seen: Vec<_> = viewers.iter().map(frames).collect();
        publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
        for (viewer, seen) in viewers.iter_mut().zip(seen) {
            wait_for_frames(viewer, seen + 5);
        }
        if round == 4 {
            before = Some((server.process.descriptors(), server.process.resident_kib()));
        }
    }
    let (descriptors, resident) = before.unwrap();
    assert_eq!(
        server.process.descriptors(),
        descriptors,
        "descriptors after 5 and after 20 rounds"
    );
    let grown = server.process.resident_kib().saturating_sub(resident);
    assert!(grown < 4_096, "memory grew by {grown} KiB in 15 rounds");
    drop(publisher);
}

/// Talks RTSP by hand up to PLAY, then reads nothing.
fn stall(server: &Server) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    // Else the kernel takes minutes of this small stream before anybody notices.
    socket2::SockRef::from(&socket).set_recv_buffer_size(4_096).unwrap();
    let url = server.url("cam");
    let mut ask = |request: String| {
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 4_096];
        let length = socket.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let answer = ask(format!(
        "SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
    ));
    assert!(answer.starts_with("RTSP/1.0 200"), "{answer}");
    let session = answer.lines().find_map(|line| line.strip_prefix("Session: ")).unwrap();
    let session = session.split(';').next().unwrap().to_owned();
    socket
        .write_all(format!("PLAY {url} RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n").as_bytes())
        .unwrap();
    socket
}

#[test]
fn viewers_that_read_nothing_are_ended_and_disturb_nobody() {
    let mut server = Server::start(&[]);
    let _publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
    let mut good = viewer(&server, "tcp");
    wait_for_frames(&mut good, 10);
    let stalled: Vec<_> = (0..5).map(|_| stall(&server)).collect();
    let begun = Instant::now();
    let left = |server: &Server| {
        server
            .process
            .said()
            .iter()
            .filter(|line| line.contains("took nothing"))
            .count()
    };
    let mut seen = frames(&good);
    while left(&server) < stalled.len() {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{} of {} were ended",
            left(&server),
            stalled.len()
        );
        wait_for_frames(&mut good, seen);
        seen = frames(&good);
    }
}
