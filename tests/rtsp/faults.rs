//! Publishers that die, viewers that stall.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::killing::{self, frames, viewer, wait_for_frames};
use super::support::{Server, publish_with_ffmpeg};

#[test]
fn a_publisher_killed_twenty_times_under_ten_viewers() {
    killing::rounds(20);
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
