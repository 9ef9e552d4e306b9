//! Streams that are sent on, to a server that comes and goes.

use std::time::Duration;

use rustix::process::Signal;

use super::support::{Process, Server, counting_ffmpeg, free_port};
use super::{Camera, events, relay, wait_until};

/// Pictures that do not compress.
const NOISE: &str = "640x480,noise=alls=60:allf=t";
/// Longer than anything that waits may last.
const ABSENCE: Duration = Duration::from_secs(15);
/// Less than half of what the camera gives in that time.
const GROWN_KIB: u64 = 16 << 10;

#[test]
fn a_server_that_is_away_gets_the_stream_when_it_comes() {
    // 2.5 MB a second.
    let camera = Camera::start(None, NOISE);
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let words = format!(
        "{}STREAM_MODE=republish\nOUTPUT_RTSP_URL=rtsp://127.0.0.1:{port}/camera1\n",
        camera.words()
    );
    let process = relay(folder.path(), &words);
    wait_until("the camera", &process, || !events(&process, "source runs").is_empty());
    let taken = |process: &Process| events(process, "the server takes the stream");
    for round in 1..=2 {
        // It was away before, and goes again, for longer than a group of pictures. After three seconds all has been had once: memory, threads, pictures.
        std::thread::sleep(Duration::from_secs(3));
        let before = process.resident_kib();
        std::thread::sleep(ABSENCE);
        let grown = process.resident_kib().saturating_sub(before);
        assert!(
            grown < GROWN_KIB,
            "{round}: what waits for it is bounded: {grown} KiB more"
        );
        let mut server = Server::start_with(&["--rtsp-port", &port.to_string()], &[]);
        server.wait_for_event("publisher began", "camera1");
        let mut command = counting_ffmpeg("tcp");
        command.args(["-i", &server.url("camera1"), "-frames:v", "20", "-f", "null", "-"]);
        let mut player = Process::start(&mut command);
        player.collect_stdout();
        let (status, said) = player.finish();
        assert!(status.success(), "{round}: {said:#?}");
        wait_until("what it missed", &process, || taken(&process).len() >= round);
        server.process.kill();
    }
    let missed = taken(&process)[1]["frames"].as_u64().unwrap();
    assert!(missed > 0, "{:?}", taken(&process));
    process.signal(Signal::TERM);
    let (status, said) = process.finish();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    assert!(!said.join("\n").contains("p@ss"), "{said:#?}");
}
