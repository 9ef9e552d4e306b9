//! No descriptors are left: who is there stays, who comes waits or is refused, and all is well when some are free again.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::killing::{frames, viewer, wait_for_frames};
use super::support::{PATIENCE, Server, publish_with_ffmpeg, tool, with_settings_of_its_own};

/// Enough for the program itself, a publisher and some viewers.
const DESCRIPTORS: usize = 100;

#[test]
fn who_is_there_stays_and_who_comes_is_served_when_some_are_free() {
    let mut command = with_settings_of_its_own(tool("prlimit"));
    command.args([
        &format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}"),
        env!("CARGO_BIN_EXE_sightline"),
    ]);
    let mut server = Server::start_by(command, &[], &[]);
    let _publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
    let mut there = viewer(&server, "tcp");
    wait_for_frames(&mut there, 10);

    let crowd: Vec<_> = (0..DESCRIPTORS * 2)
        .map(|_| TcpStream::connect(("127.0.0.1", server.port)).unwrap())
        .collect();
    let begun = Instant::now();
    while server.process.descriptors() < DESCRIPTORS {
        assert!(begun.elapsed() < PATIENCE, "{} are open", server.process.descriptors());
        std::thread::sleep(Duration::from_millis(10));
    }
    // Nobody notices but those who come.
    let seen = frames(&there);
    wait_for_frames(&mut there, seen + 60);
    assert!(server.process.is_running());

    drop(crowd);
    let mut comes = viewer(&server, "tcp");
    wait_for_frames(&mut comes, 10);
    let seen = frames(&there);
    wait_for_frames(&mut there, seen + 10);
}
