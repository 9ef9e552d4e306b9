//! What old scripts type goes on working.

use crate::support::{Process, free_port};
use crate::{port, run, start, stderr, wait_for_event};

/// Wrong use: exit code 2, and what to write instead.
#[test]
fn what_cannot_work_is_refused_with_what_does() {
    let folder = tempfile::tempdir().unwrap();
    let film = "rtsp://127.0.0.1:1/door --display-mode save --output";
    for (arguments, hint) in [
        ("http://127.0.0.1/door", "must begin with rtsp://,"),
        ("rtsp://::1:28554/door", "rtsp://[fd00::2]:8554/"),
        (&format!("{film} film.mkv"), "--output film.mp4"),
    ] {
        let words = ["receive"].into_iter().chain(arguments.split(' '));
        let output = run(folder.path(), &words.collect::<Vec<_>>());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        assert!(said.contains(hint), "{arguments}: {said}");
    }
    assert!(!folder.path().join("film.mkv").exists());
}

#[test]
fn flags_of_the_old_publisher_are_answered_with_a_notice() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "up",
        "--source",
        "test",
        "--log",
        "json",
        "--mediamtx-path",
        "/opt/mediamtx",
        "--ffmpeg-path",
        "ffmpeg",
    ];
    let mut process = start(folder.path(), &arguments, &[]);
    wait_for_event(
        &mut process,
        "--mediamtx-path is no longer needed: MediaMTX is not used",
    );
    wait_for_event(&mut process, "--ffmpeg-path is no longer needed: FFmpeg is not used");
    port(&mut process);
}

#[test]
fn what_is_recorded_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let records = |process: &mut Process| {
        process.wait_for("what is recorded", |line| {
            line.trim().strip_prefix("Records   ").map(str::to_owned)
        })
    };
    let mut process = start(folder.path(), &["up", "--source", "test"], &[]);
    assert_eq!(records(&mut process), "nothing; `--record` keeps a week of all streams");
    drop(process);
    let place = folder.path().join("kept");
    let arguments = ["up", "--source", "test", "--record", "--record-path"];
    let arguments = [&arguments[..], &[place.to_str().unwrap()]].concat();
    let mut process = start(folder.path(), &arguments, &[]);
    assert_eq!(
        records(&mut process),
        format!("all streams, kept 7d, in {}", place.display())
    );
    process.wait_for("recording begins", |line| {
        line.contains("recording begins").then_some(())
    });
    assert!(place.join("zerolatency").is_dir());
}

/// The number is the same by UDP and TCP.
#[test]
fn the_ice_port_is_the_one_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let chosen = free_port().to_string();
    let arguments = ["serve", "--log", "json", "--ice-port", &chosen];
    let mut process = start(folder.path(), &arguments, &[]);
    let listening = process.wait_for("listening", |line| line.contains("ice_port").then(|| line.to_owned()));
    assert!(listening.contains(&format!("\"ice_port\":{chosen}")), "{listening}");
    // Somebody asked for it, so it is that one or none.
    let mut second = start(folder.path(), &arguments, &[]);
    second.wait_for("why not", |line| {
        line.contains(&format!("UDP port {chosen} is in use")).then_some(())
    });
}

/// What the benchmark of first pictures does: one generator publishes, others come and go.
#[test]
fn the_load_generator_publishes_without_viewers() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["serve", "--log", "json"], &[]);
    let url = format!("rtsp://127.0.0.1:{}/load", port(&mut server));
    let output = run(
        folder.path(),
        &["bench", "rtsp", &url, "--publish", "--viewers", "0", "--seconds", "0.5"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    wait_for_event(&mut server, "RTSP publisher left");
}
