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

mod check;
mod exports;
mod holdings;
mod killing;
mod motion;
mod publisher;
mod restart;
mod server;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use server::{Server, files, files_called};
use support::{PATIENCE, tool};

/// How alike two pictures are that FFmpeg reads, the second being the first of those behind so many seconds of a file; in dB.
fn psnr(picture: &Path, file: &Path, at_s: &str) -> f64 {
    let mut command = tool("ffmpeg");
    command
        .args(["-nostdin", "-i"])
        .arg(picture)
        .args(["-ss", at_s, "-i"])
        .arg(file);
    let graph = "[0:v]scale=320:240:in_range=pc:out_range=tv,format=yuv420p[a];[1:v]format=yuv420p[b];[a][b]psnr";
    command.args(["-lavfi", graph, "-frames:v", "1", "-f", "null", "-"]);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let average = told
        .split("average:")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    average
        .and_then(|average| average.parse().ok())
        .unwrap_or_else(|| panic!("{told}"))
}

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
fn pictures_of_what_is_live_and_recorded_and_strips_that_go_with_their_files() {
    let state = tempfile::tempdir().unwrap();
    let record = [("ENABLED", "true"), ("SEGMENT", "2s"), ("FILMSTRIP", "true")];
    let record = record.map(|(key, value)| (format!("SIGHTLINE_RECORD_{key}"), value));
    let record: Vec<(&str, &str)> = record.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let server = Server::start(state.path(), &record);
    // A strip is no more than a 32nd of its file, so there have to be some bytes.
    let publisher = server.publish_from("testsrc=size=320x240:rate=30,noise=alls=20:allf=t", "door", 60);
    server.wait_for_state("door", "recording");
    let picture = state.path().join("a.jpg");
    let get = |path: &str| {
        let begun = Instant::now();
        let mut command = tool("curl");
        command
            .args(["-s", "-w", "%{http_code}", "--oauth2-bearer", &server.token, "-o"])
            .arg(&picture);
        let output = command
            .arg(format!("http://127.0.0.1:{}/api/v1{path}", server.http_port))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{path}");
        begun.elapsed()
    };
    let took = get("/streams/door/snapshot.jpg?width=160");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(probe_size(&picture), "160x120");

    // A strip beside each of three files.
    let (folder, begun) = (state.path().join("recordings/door"), Instant::now());
    while files_called(&folder, "strip").len() < 3 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", files(&folder));
        std::thread::sleep(Duration::from_millis(50));
    }
    let listed = loop {
        let (status, listed) = server.ask("GET", "/recordings?camera=door&files=1&start=0", "");
        if status == 200 && listed["recordings"].as_array().is_some_and(|files| files.len() >= 3) {
            break listed;
        }
        assert!(begun.elapsed() < PATIENCE, "{listed}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let (first, third) = (&listed["recordings"][0], &listed["recordings"][2]);
    let start = first["start"].as_str().unwrap();
    get(&format!("/recordings/door/frame.jpg?at={start}&quality=95"));
    let psnr = psnr(&picture, &files(&folder)[0], "0");
    assert!(psnr > 30.0, "{psnr} dB");
    let range = format!("start={start}&end={}", third["end"].as_str().unwrap());
    let (status, strip) = server.ask("GET", &format!("/recordings/door/strip.json?{range}"), "");
    assert_eq!(
        (status, &strip["kept"], &strip["tiles"][0]["at"]),
        (200, &true.into(), &start.into()),
        "{strip}"
    );

    let before = files(&folder);
    let (status, answer) = server.ask("DELETE", &format!("/recordings/{}", first["id"].as_str().unwrap()), "");
    assert!(status < 300, "{answer}");
    let strip = before[0].with_extension("strip");
    while before[0].exists() || strip.exists() {
        assert!(begun.elapsed() < PATIENCE * 2, "it is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    server.end();
    drop(publisher);
    // None without its file.
    for strip in files_called(&folder, "strip") {
        assert!(strip.with_extension("mp4").exists(), "{}", strip.display());
    }
}

/// What ffprobe says of a picture.
fn probe_size(picture: &Path) -> String {
    let mut command = tool("ffprobe");
    command.args("-v error -show_entries stream=width,height -of csv=p=0:s=x".split(' '));
    let output = command.arg(picture).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
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
