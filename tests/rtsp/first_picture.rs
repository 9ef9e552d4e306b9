//! The first picture is there at once, whoever makes the keyframes.

use std::time::{Duration, Instant};

use super::support::{Process, Server, sightline, tool};

/// Milliseconds to the first picture, as our receiver finds; without those that the machine kept.
fn first_picture_ms(url: &str) -> f64 {
    let mut command = sightline();
    let mut process = Process::start(command.args(["receive", url, "--test-connection", "--json"]));
    process.collect_stdout();
    let (status, said, kept) = process.finish_kept();
    assert!(status.success(), "{said:?}");
    let found = said
        .iter()
        .find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    found.unwrap()["first_picture_ms"].as_f64().unwrap() - kept.as_secs_f64() * 1_000.0
}

/// Nobody can be asked for a keyframe of a recording: who joins gets the pictures since the last one.
#[test]
fn in_the_middle_of_a_long_gop_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.mp4");
    let mut command = tool("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-f", "lavfi"]);
    command.args(["-i", "testsrc=size=320x240:rate=30:duration=20", "-pix_fmt", "yuv420p"]);
    // A keyframe every ten seconds.
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "300"]);
    command.args(["-keyint_min", "300", "-sc_threshold", "0"]);
    let (status, said) = Process::start(command.arg(&film)).finish();
    assert!(status.success(), "{said:?}");

    let mut server = Server::start(&["--source", &format!("file:{}", film.display())]);
    server.wait_for_event("camera runs", "zerolatency");
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(4));
    for viewer in 1..=2 {
        let first_ms = first_picture_ms(&server.url("zerolatency"));
        let burst = server.wait_for_events("viewer joined", "zerolatency", viewer)["burst_frames"].as_u64();
        println!("viewer {viewer}: first picture after {first_ms:.0} ms, {burst:?} frames at once");
        assert!(burst >= Some(100), "viewer {viewer}: {burst:?} frames at once");
        assert!(
            first_ms < 1_000.0,
            "viewer {viewer}: first picture after {first_ms:.0} ms"
        );
    }
    // Else they may have met the next keyframe.
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
}
