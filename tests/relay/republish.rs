//! Streams that are sent on, to a server that comes and goes.

use std::time::Duration;

use rustix::process::Signal;

use super::support::{Process, Server, counting_ffmpeg, free_port};
use super::{Camera, events, relay, wait_until};

#[test]
fn a_server_that_is_away_gets_the_stream_when_it_comes() {
    let camera = Camera::start(None, "320x240");
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
        // It was away before, and goes again, for longer than a group of pictures.
        std::thread::sleep(Duration::from_secs(3));
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
    assert!(
        process.resident_kib() < 256 << 10,
        "what waits for it is bounded: {} KiB",
        process.resident_kib()
    );
    process.signal(Signal::TERM);
    let (status, said) = process.finish();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    assert!(!said.join("\n").contains("p@ss"), "{said:#?}");
}
