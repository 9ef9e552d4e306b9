//! Who connects and plays while one process takes the place of another.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::process::ChildStdout;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use media::WallTime;
use media::stamp;

use super::Line;
use crate::support::{PATIENCE, Process, Server, tool, wall};

const SIZE: (u32, u32) = (640, 480);

/// Connects, asks, and is answered, again and again until told to stop. How often.
fn ask_again_and_again(port: u16, question: &str, answer: &str, stop: &AtomicBool, done: &AtomicUsize) {
    while !stop.load(Relaxed) {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("refused");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(question.as_bytes()).unwrap();
        let mut got = vec![0; answer.len()];
        let read = socket.read_exact(&mut got);
        assert!(
            read.is_ok() && got == answer.as_bytes(),
            "{read:?} {:?}",
            String::from_utf8_lossy(&got)
        );
        done.fetch_add(1, Relaxed);
    }
}

/// Sends datagrams again and again: where nobody has the port, the next one is refused.
fn send_again_and_again(port: u16, stop: &AtomicBool, done: &AtomicUsize) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    while !stop.load(Relaxed) {
        socket.send(b"\0\x01 no check that names a session").expect("refused");
        let nothing = socket.recv(&mut [0; 64]).unwrap_err();
        assert!(
            matches!(nothing.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{nothing}"
        );
        done.fetch_add(1, Relaxed);
    }
}

#[test]
fn nobody_is_refused() {
    const RTSP: (&str, &str) = ("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "RTSP/1.0 200 OK");
    const HTTP: (&str, &str) = ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200 OK");
    let mut line = Line::start(&["--open", "--source", "test"], &[]);
    let ports = ["rtsp_port", "http_port", "ice_port"].map(|name| line.port(name));
    let stop = &AtomicBool::new(false);
    let counts = [const { AtomicUsize::new(0) }; 3];
    let all_go_on = |counts: &[AtomicUsize; 3], threads: &[std::thread::ScopedJoinHandle<'_, ()>]| {
        let before = counts.each_ref().map(|count| count.load(Relaxed));
        let begun = Instant::now();
        while counts
            .iter()
            .zip(before)
            .any(|(count, before)| count.load(Relaxed) < before + 10)
        {
            assert!(!threads.iter().any(|thread| thread.is_finished()), "one was refused");
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    std::thread::scope(|scope| {
        // Also when the test fails.
        let _stop = Stop(stop);
        let [rtsp, http, datagrams] = &counts;
        let threads = [
            scope.spawn(move || ask_again_and_again(ports[0], RTSP.0, RTSP.1, stop, rtsp)),
            scope.spawn(move || ask_again_and_again(ports[1], HTTP.0, HTTP.1, stop, http)),
            scope.spawn(move || send_again_and_again(ports[2], stop, datagrams)),
        ];
        all_go_on(&counts, &threads);
        for _ in 0..2 {
            line.restart();
            all_go_on(&counts, &threads);
        }
    });
    assert_eq!(
        ["rtsp_port", "http_port", "ice_port"].map(|name| line.port(name)),
        ports
    );
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// FFmpeg, which writes grey pictures.
struct Player {
    process: Process,
    pictures: ChildStdout,
}

impl Player {
    fn start(options: &str, url: &str) -> Self {
        let mut command = tool("ffmpeg");
        command
            .args("-nostdin -v error".split(' '))
            .args(options.split_whitespace());
        command.args(["-i", url, "-an", "-fps_mode", "passthrough"]);
        command.args("-pix_fmt gray -f rawvideo -".split(' '));
        let mut process = Process::start(&mut command);
        let pictures = process.stdout();
        Self { process, pictures }
    }

    /// Whether there comes a picture that was taken after `time`, before the player ends.
    fn shows_picture_after(&mut self, time: WallTime) -> bool {
        let mut picture = vec![0; (SIZE.0 * SIZE.1) as usize];
        let begun = Instant::now();
        while self.pictures.read_exact(&mut picture).is_ok() {
            let reading = stamp::read(&picture, SIZE.0 as usize, SIZE.0, SIZE.1, wall());
            if reading.is_some_and(|reading| reading.time > time) {
                return true;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "old pictures alone: {:?}",
                self.process.said()
            );
        }
        false
    }
}

#[test]
fn players_get_pictures_of_the_new_process() {
    let mut line = Line::start(&["--open", "--source", "test"], &[]);
    let [rtsp, hls, webrtc] = ["rtsp_port", "hls_port", "webrtc_port"].map(|name| line.port(name));
    let rtsp_url = format!("rtsp://127.0.0.1:{rtsp}/zerolatency");
    // Our own server as the player by WHEP, and what FFmpeg gets from it.
    let source = format!("whep://127.0.0.1:{webrtc}/zerolatency/whep");
    let whep = Server::start_with(&["--open"], &[("SIGHTLINE_STREAM_DOOR_SOURCE", &source)]);
    let mut by_whep = Player::start("-rtsp_transport tcp", &whep.url("door"));
    let mut by_hls = Player::start("", &format!("http://127.0.0.1:{hls}/zerolatency/index.m3u8"));
    let mut by_rtsp = Player::start("-rtsp_transport tcp", &rtsp_url);
    let start = wall();
    for player in [&mut by_rtsp, &mut by_hls, &mut by_whep] {
        assert!(player.shows_picture_after(start), "{:?}", player.process.said());
    }
    for _ in 0..2 {
        line.restart();
        let ended = wall();
        // It has no other way than to begin anew; the others go on.
        assert!(!by_rtsp.shows_picture_after(ended));
        by_rtsp = Player::start("-rtsp_transport tcp", &rtsp_url);
        for player in [&mut by_rtsp, &mut by_hls, &mut by_whep] {
            assert!(player.shows_picture_after(ended), "{:?}", player.process.said());
        }
    }
}
