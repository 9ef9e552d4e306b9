//! Recordings of the program as it is: FFmpeg publishes, and reads what is on the disk.
//!
//! Does not belong here: faults of disks (`tests/faults`), what a recorder does on a simulated clock (beside the code).

#[path = "../rtsp/support.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the other tests' support is larger than what is needed here"
)]
mod support;

mod motion;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use server::{Server, files};
use support::{PATIENCE, tool};

/// What ffprobe counts in a file: pictures, frames of sound, seconds.
fn probe(file: &Path) -> (u64, u64, f64) {
    let mut command = tool("ffprobe");
    command.args("-v error -count_frames -show_streams -show_format -of json".split(' '));
    let output = command.arg(file).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}: {}",
        file.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    let probed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let frames = |kind: &str| {
        let streams = probed["streams"].as_array().unwrap();
        let stream = streams.iter().find(|stream| stream["codec_type"] == kind);
        stream.map_or(0, |stream| stream["nb_read_frames"].as_str().unwrap().parse().unwrap())
    };
    let seconds = probed["format"]["duration"].as_str().unwrap().parse().unwrap();
    (frames("video"), frames("audio"), seconds)
}

#[test]
fn every_stream_is_recorded_in_files_that_are_whole_with_all_that_was_published() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(
        state.path(),
        &[("SIGHTLINE_RECORD_ENABLED", "true"), ("SIGHTLINE_RECORD_SEGMENT", "4s")],
    );
    let (status, _) = server.publish("house/door", 10).finish();
    assert!(status.success());
    server.end();
    let files = files(&state.path().join("recordings/house+door"));
    assert_eq!(files.len(), 3, "{files:?}");
    let probed: Vec<_> = files.iter().map(|file| probe(file)).collect();
    let pictures: u64 = probed.iter().map(|(pictures, ..)| pictures).sum();
    let sound: u64 = probed.iter().map(|(_, sound, _)| sound).sum();
    let seconds: f64 = probed.iter().map(|(.., seconds)| seconds).sum();
    assert_eq!(pictures, 300, "{probed:?}");
    // 1,024 samples of 48,000 a second; what lies before the first picture is left out.
    assert!((460..=470).contains(&sound), "{probed:?}");
    assert!((9.9..10.2).contains(&seconds), "{probed:?}");
    for (_, _, seconds) in probed.iter().take(2) {
        assert!((3.95..4.1).contains(seconds), "{probed:?}");
    }
}

#[test]
fn after_a_kill_the_file_is_cut_to_what_is_whole_and_recording_goes_on() {
    let state = tempfile::tempdir().unwrap();
    let settings = [("SIGHTLINE_RECORD_ENABLED", "true")];
    let mut server = Server::start(state.path(), &settings);
    let publisher = server.publish("door", 60);
    server.wait_for_state("door", "recording");
    std::thread::sleep(Duration::from_secs(4));
    server.process.kill();
    drop(publisher);
    let server = Server::start(state.path(), &settings);
    let publisher = server.publish("door", 60);
    server.wait_for_state("door", "recording");
    std::thread::sleep(Duration::from_secs(2));
    server.end();
    drop(publisher);
    let files = files(&state.path().join("recordings/door"));
    assert_eq!(files.len(), 2, "{files:?}");
    let (pictures, sound, seconds) = probe(&files[0]);
    // Four seconds, but for a fragment and what the machine takes for itself.
    assert!(
        pictures >= 60 && sound >= 90 && seconds > 2.0,
        "{pictures} {sound} {seconds}"
    );
    assert!(probe(&files[1]).0 > 0);
    let index = rusqlite::Connection::open(state.path().join("recordings.sqlite")).unwrap();
    let known = index.query_row("SELECT count(*) FROM segment", [], |row| row.get::<_, i64>(0));
    assert_eq!(known, Ok(2), "the index has both");
}

#[test]
fn a_clip_is_started_and_ended_by_hand_and_nothing_else_is_recorded() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::start(state.path(), &[]);
    let publisher = server.publish("door", 60);
    let path = "/streams/door/recording";
    let begun = Instant::now();
    while server.ask("GET", "/streams/door", "").0 != 200 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
    for name in [
        "../door.mp4",
        "a/b.mp4",
        "C:\\\\x",
        "nul",
        ".mp4",
        "\\u202egpj.mp4",
        "x\\u0000",
    ] {
        let (status, answer) = server.ask("POST", path, &format!("{{\"filename\":\"{name}\"}}"));
        assert_eq!(status, 400, "{name}: {answer}");
    }
    assert_eq!(server.ask("DELETE", path, "").0, 404);
    assert_eq!(server.ask("POST", "/streams/cellar/recording", "").0, 404);
    let wish = "{\"filename\":\"who rang.mp4\"}";
    let (status, answer) = server.ask("POST", path, wish);
    assert_eq!(
        (status, &answer["filename"]),
        (200, &Value::from("who rang.mp4")),
        "{answer}"
    );
    assert_eq!(server.ask("POST", path, wish).0, 409);
    server.wait_for_state("door", "recording");
    std::thread::sleep(Duration::from_secs(2));
    let (status, answer) = server.ask("DELETE", path, "");
    assert_eq!((status, &answer["by_hand"]), (200, &Value::Bool(false)), "{answer}");
    server.end();
    drop(publisher);
    let files = files(state.path());
    let [file] = &files[..] else { panic!("{files:?}") };
    assert_eq!(file.file_name().unwrap(), "who rang.mp4");
    let (pictures, sound, seconds) = probe(file);
    assert!(
        pictures >= 45 && sound >= 60 && seconds > 1.5,
        "{pictures} {sound} {seconds}"
    );
}

#[test]
fn eight_cameras_lose_a_fragment_each_by_each_of_twenty_kills() {
    killing::rounds(20);
}
