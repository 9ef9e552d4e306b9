//! Exports of the program as it is: of cameras whose pictures carry the time at which they were taken, killed on the way, read by others.

use std::path::Path;
use std::time::{Duration, Instant};

use media::WallTime;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Process, tool};
use crate::{Server, probe};

const RECORD: [(&str, &str); 2] = [("SIGHTLINE_RECORD_ENABLED", "true"), ("SIGHTLINE_RECORD_SEGMENT", "2s")];
/// A picture of 25 a second, in microseconds.
const PICTURE_US: i64 = 40_000;

/// Two cameras whose keyframes do not come together.
fn cameras(state: &Path) {
    let camera = |name: &str, gop: u32| {
        format!("[camera.{name}]\nsource = \"test\"\nsize = \"320x240\"\nfps = \"25\"\ngop = {gop}\n")
    };
    std::fs::write(state.join("sightline.toml"), camera("door", 25) + &camera("yard", 35)).unwrap();
}

/// What is recorded of a camera so far, in microseconds.
fn recorded(server: &Server, camera: &str) -> Option<(i64, i64)> {
    let (_, told) = server.ask("GET", &format!("/recordings?camera={camera}"), "");
    let run = told["recordings"].as_array()?.first()?;
    Some((micros(&run["start"]), micros(&run["end"])))
}

fn wait_until_recorded(server: &Server, seconds: i64) -> (i64, i64) {
    let begun = Instant::now();
    loop {
        let both = ["door", "yard"].map(|camera| recorded(server, camera));
        if let [Some(door), Some(yard)] = both {
            let range = (door.0.max(yard.0), door.1.min(yard.1));
            if range.1 - range.0 >= seconds * 1_000_000 {
                return range;
            }
        }
        assert!(begun.elapsed() < 4 * PATIENCE, "{both:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

pub(crate) fn micros(time: &Value) -> i64 {
    let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    time.as_microsecond()
}

pub(crate) fn rfc3339(micros: i64) -> String {
    WallTime::from_unix_micros(micros).to_rfc3339()
}

fn order(server: &Server, wish: &Value) -> Vec<String> {
    let (status, answer) = server.ask("POST", "/exports", &wish.to_string());
    assert_eq!(status, 202, "{answer}");
    let exports = answer["exports"].as_array().unwrap();
    exports
        .iter()
        .map(|export| export["id"].as_str().unwrap().to_owned())
        .collect()
}

fn wait(server: &Server, id: &str) -> Value {
    let begun = Instant::now();
    loop {
        let (status, export) = server.ask("GET", &format!("/exports/{id}"), "");
        assert_eq!(status, 200, "{id}: {export}");
        match export["state"].as_str().unwrap() {
            "done" => return export,
            "failed" => panic!("{export}"),
            _ => assert!(begun.elapsed() < 4 * PATIENCE, "{export}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn curl(server: &Server, path: &str, more: &[&str]) -> Vec<u8> {
    let mut command = tool("curl");
    command
        .args(["-s", "-S", "-f", "--oauth2-bearer", &server.token])
        .args(more);
    let output = command
        .arg(format!("http://127.0.0.1:{}{path}", server.http_port))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{path}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// When the pictures were taken that bytes hold, in order: as the camera wrote it into them.
pub(crate) fn taken(bytes: &[u8]) -> Vec<i64> {
    let places = bytes
        .windows(16)
        .enumerate()
        .filter(|(_, window)| *window == media::sei::UUID);
    places
        .filter_map(|(at, _)| media::sei::read_h264(&bytes[at - 3..at + 28]))
        .map(WallTime::unix_micros)
        .collect()
}

#[test]
fn cameras_are_exported_in_step_to_the_frame() {
    let state = tempfile::tempdir().unwrap();
    cameras(state.path());
    let server = Server::start(state.path(), &RECORD);
    let (first, last) = wait_until_recorded(&server, 8);
    // Neither begins with a keyframe there.
    let (start, end) = (first + 2_310_000, last - 1_270_000);
    let wish = json!({"cameras": ["door", "yard"], "start": rfc3339(start), "end": rfc3339(end), "exact": true, "name": "who rang"});
    let ids = order(&server, &wish);
    let mut begins = Vec::new();
    for id in &ids {
        let export = wait(&server, id);
        let bytes = curl(&server, export["url"].as_str().unwrap(), &[]);
        assert_eq!(bytes.len() as u64, export["size_bytes"].as_u64().unwrap());
        let file = state.path().join("got.mp4");
        std::fs::write(&file, &bytes).unwrap();
        let (pictures, _, seconds) = probe(&file);
        let times = taken(&bytes);
        // Every picture of the range, those that were encoded again among them, and no other.
        assert_eq!(pictures, times.len() as u64, "{export}");
        assert!(times.is_sorted());
        assert!((times[0] - start).abs() <= PICTURE_US, "{} {export}", times[0] - start);
        let ends = times[times.len() - 1];
        assert!((0..=2 * PICTURE_US).contains(&(end - ends)), "{} {export}", end - ends);
        assert!((seconds - (end - start) as f64 / 1e6).abs() < 0.1, "{seconds} {export}");
        begins.push(times[0]);
        // Any range of it.
        let middle = curl(&server, export["url"].as_str().unwrap(), &["-r", "1000-1999"]);
        assert_eq!(middle, bytes[1_000..2_000]);
    }
    assert!((begins[0] - begins[1]).abs() <= PICTURE_US, "{begins:?}");
    let wish =
        json!({"camera": "door", "start": rfc3339(first), "end": rfc3339(last), "kind": "timelapse", "speed": 2});
    let export = wait(&server, &order(&server, &wish)[0]);
    let lasts = export["duration_ms"].as_i64().unwrap();
    assert!((lasts - (last - first) / 2_000).abs() < 1_100, "{export}");
    server.end();
}

/// What is in a list of HLS: when each piece begins, and which bytes of which URL it has.
fn pieces(list: &str) -> Vec<(i64, String, String)> {
    let (mut at, mut range, mut pieces) = (None, String::new(), Vec::new());
    for line in list.lines() {
        if let Some(time) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
            at = Some(micros(&Value::from(time)));
        } else if let Some(bytes) = line.strip_prefix("#EXT-X-BYTERANGE:") {
            let (count, from) = bytes.split_once('@').unwrap();
            let (count, from): (u64, u64) = (count.parse().unwrap(), from.parse().unwrap());
            range = format!("{from}-{}", from + count - 1);
        } else if !line.starts_with('#') {
            pieces.push((at.take().unwrap(), range.clone(), line.to_owned()));
        }
    }
    pieces
}

/// Players lay the lists of several cameras over each other by `EXT-X-PROGRAM-DATE-TIME`: so it has to be that of the first picture of each piece.
#[test]
fn lists_of_two_cameras_say_the_time_of_their_pictures() {
    let state = tempfile::tempdir().unwrap();
    cameras(state.path());
    let server = Server::start(state.path(), &RECORD);
    let (first, last) = wait_until_recorded(&server, 8);
    let (start, end) = (first + 1_500_000, last);
    for camera in ["door", "yard"] {
        let path = format!(
            "/api/v1/recordings/{camera}/index.m3u8?start={}&end={}",
            rfc3339(start),
            rfc3339(end)
        );
        let list = String::from_utf8(curl(&server, &path, &[])).unwrap();
        let pieces = pieces(&list);
        assert!(pieces.len() >= 2, "{list}");
        for (at, range, url) in &pieces {
            let url = format!("/api/v1/recordings/{camera}/{url}");
            let times = taken(&curl(&server, &url, &["-r", range]));
            let apart = at - times[0];
            assert!(apart.abs() <= PICTURE_US / 2, "{camera}: {apart} µs at {at}\n{list}");
        }
        // With the offset that the list begins at, that is where it was asked for.
        let offset = list.split("TIME-OFFSET=").nth(1).unwrap().split(',').next().unwrap();
        let offset: f64 = offset.parse().unwrap();
        let begins = pieces[0].0 + (offset * 1e6) as i64;
        assert!((begins - start).abs() <= PICTURE_US, "{camera}: {}", begins - start);
    }
    server.end();
}

/// Killed again and again while it makes exports: in the end all are there, whole, and nothing else.
#[test]
fn exports_survive_kills() {
    let state = tempfile::tempdir().unwrap();
    cameras(state.path());
    let mut server = Server::start(state.path(), &RECORD);
    let (first, last) = wait_until_recorded(&server, 6);
    let mut ids = Vec::new();
    for number in 0..12_i64 {
        let start = first + 10_000 * number;
        let wish = json!({"cameras": ["door", "yard"], "start": rfc3339(start), "end": rfc3339(last), "exact": number % 2 == 0});
        ids.extend(order(&server, &wish));
        if number % 4 == 3 {
            // At another instant each time.
            std::thread::sleep(Duration::from_millis(37 * number.unsigned_abs()));
            server.process.kill();
            server = Server::start(state.path(), &RECORD);
            let begun = Instant::now();
            while server.ask("GET", "/exports", "").0 != 200 {
                assert!(begun.elapsed() < PATIENCE);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    for id in &ids {
        let export = wait(&server, id);
        let file = state
            .path()
            .join("recordings/.exports")
            .join(export["name"].as_str().unwrap());
        assert_eq!(file.metadata().unwrap().len(), export["size_bytes"].as_u64().unwrap());
        let (pictures, ..) = probe(&file);
        let lasts_us = last - first;
        assert!(
            pictures as i64 >= lasts_us / PICTURE_US - 60,
            "{pictures} of {lasts_us} µs"
        );
    }
    let left = std::fs::read_dir(state.path().join("recordings/.exports"))
        .unwrap()
        .count();
    assert_eq!(left, 2 * ids.len());
    for id in &ids {
        assert_eq!(server.ask("DELETE", &format!("/exports/{id}"), "").0, 204);
    }
    let left = std::fs::read_dir(state.path().join("recordings/.exports"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
    server.end();
}

/// GStreamer, which goes by the tables in front, and VLC and Chromium (`tests/browser`) have their own ways with a file whose sample entry changes.
#[test]
fn gstreamer_plays_what_was_cut_to_the_frame() {
    let state = tempfile::tempdir().unwrap();
    cameras(state.path());
    let server = Server::start(state.path(), &RECORD);
    let (first, last) = wait_until_recorded(&server, 5);
    let wish = json!({"camera": "yard", "start": rfc3339(first + 510_000), "end": rfc3339(last), "exact": true});
    let export = wait(&server, &order(&server, &wish)[0]);
    let file = state
        .path()
        .join("recordings/.exports")
        .join(export["name"].as_str().unwrap());
    let (pictures, ..) = probe(&file);
    let folder = state.path().join("shown");
    std::fs::create_dir(&folder).unwrap();
    let mut player = tool("gst-launch-1.0");
    player
        .args(["-q", "filesrc"])
        .arg(format!("location={}", file.display()));
    player.args("! qtdemux ! h264parse ! avdec_h264 ! videoconvert ! pngenc ! multifilesink".split(' '));
    player.arg(format!("location={}/%05d.png", folder.display()));
    let (status, said) = Process::start(&mut player).finish();
    assert!(status.success(), "{said:?}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count() as u64, pictures);
    server.end();
}
