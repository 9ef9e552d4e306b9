//! A restart by SIGUSR2 while a camera is recorded: what is missing between the two processes, and that all else is there.
//!
//! The camera is another server, whose pictures say when they were taken; the one that records fetches them, as from any camera on a network.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::check::check;
use super::exports::{curl, micros, rfc3339, taken};
use super::holdings::{Known, look, settled};
use super::probe;
use super::server::{Server, files};
use super::support::{Machine, PATIENCE, tool};

/// A picture of 25 a second, in microseconds.
const PICTURE_US: i64 = 40_000;
/// The old process ends, the new one begins and asks the camera, and waits for its next keyframe where that does not send the last one: it was recorded again 0.9 s after the signal, by a debug
/// build on two busy cores.
const LONGEST_GAP: Duration = Duration::from_secs(6);
const STOPPED: i64 = 1;

/// A process that a restart has started; killed with its value.
struct Successor(Pid);

impl Successor {
    fn is_alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.as_raw_nonzero()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// In order.
    fn end(&self) {
        kill_process(self.0, Signal::TERM).unwrap();
        let begun = Instant::now();
        while self.is_alive() {
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = kill_process(self.0, Signal::KILL);
        }
    }
}

/// Sends SIGUSR2, and waits until the new process listens and the old one is gone.
fn restart(server: &mut Server) -> Successor {
    server.process.signal(Signal::USR2);
    let pid = server.process.wait_for("the new process is prepared", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["event"] == "the new process is prepared").then(|| event["pid"].as_i64())?
    });
    let successor = Successor(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap());
    let begun = Instant::now();
    while server.process.is_running() || said(server, "\"listening\"") < 2 {
        assert!(
            begun.elapsed() < PATIENCE && successor.is_alive(),
            "{:#?}",
            server.process.said()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    successor
}

/// How many lines of the log have this.
fn said(server: &Server, text: &str) -> usize {
    server.process.said().iter().filter(|line| line.contains(text)).count()
}

/// What FFmpeg decodes of a list or a file by HTTP, in pictures; it complains of nothing.
fn played(server: &Server, path: &str) -> u64 {
    let mut command = tool("ffprobe");
    command.args("-v error -count_frames -select_streams v -show_entries stream=nb_read_frames -of csv=p=0".split(' '));
    command
        .arg("-headers")
        .arg(format!("Authorization: Bearer {}\r\n", server.token));
    command.arg(format!("http://127.0.0.1:{}{path}", server.http_port));
    let output = command.output().unwrap();
    let (told, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success() && complaint.is_empty(), "{path}: {complaint}");
    // A list has a line for each program.
    told.lines()
        .next()
        .unwrap()
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{path}: {told}"))
}

/// When the pictures of a file were taken, each of which FFmpeg decodes.
fn pictures(file: &Path) -> Vec<i64> {
    let times = taken(&std::fs::read(file).unwrap());
    assert_eq!(probe(file).0, times.len() as u64, "{}", file.display());
    times
}

#[test]
fn a_restart_ends_files_whole_and_goes_on_with_the_next() {
    let (state, camera_state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let of_camera = "[camera.door]\nsource = \"test\"\nsize = \"320x240\"\nfps = \"25\"\ngop = 25\n";
    std::fs::write(camera_state.path().join("sightline.toml"), of_camera).unwrap();
    let camera = Server::start(camera_state.path(), &[]);
    let source = format!("rtsp://127.0.0.1:{}/door", camera.rtsp_port);
    let settings = [
        ("SIGHTLINE_RECORD_ENABLED", "true"),
        ("SIGHTLINE_RECORD_SEGMENT", "4s"),
        ("SIGHTLINE_STREAM_DOOR_SOURCE", &source),
    ];
    let root = state.path().join("recordings");
    let mut server = Server::start(state.path(), &settings);
    server.wait_for_state("door", "recording");
    std::thread::sleep(Duration::from_secs(6));
    let machine = Machine::watch();
    let begun = Instant::now();
    let successor = restart(&mut server);
    server.wait_for_state("door", "recording");
    let (took, kept) = (begun.elapsed(), machine.kept());
    drop(machine);
    std::thread::sleep(Duration::from_secs(6));

    // While it records: two ranges, and what is between them.
    let (_, told) = server.ask("GET", "/recordings?camera=door", "");
    let ranges = told["recordings"].as_array().unwrap().clone();
    let [before, after] = &ranges[..] else { panic!("{told}") };
    let (start, end) = (micros(&before["start"]), micros(&before["end"]));
    let (again, until) = (micros(&after["start"]), micros(&after["end"]));
    // A clip ends in front of a gap; a list goes on behind it.
    let seam = format!("start={}&end={}", rfc3339(end - 2_000_000), rfc3339(again + 2_000_000));
    let clip = played(&server, &format!("/api/v1/recordings/door/clip.mp4?{seam}"));
    assert!((48..=76).contains(&clip), "two seconds, from a keyframe on: {clip}");
    let bytes = curl(&server, &format!("/api/v1/recordings/door/clip.mp4?{seam}"), &[]);
    let clip_ends = taken(&bytes).pop().unwrap();
    let list = format!(
        "/api/v1/recordings/door/index.m3u8?start={}&end={}",
        rfc3339(start),
        rfc3339(until)
    );
    let listed = played(&server, &list);
    let list = String::from_utf8(curl(&server, &list, &[])).unwrap();
    assert_eq!(list.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{list}");

    successor.end();
    let said_late = said(&server, "not on the disk in time") + said(&server, "looked through");
    assert_eq!(said_late, 0, "{:#?}", server.process.said());
    let rows = settled(state.path(), &root, || true);
    look(&mut Known::new(), &rows);
    assert_eq!(check(state.path(), &["--deep"]), (0, [].into()));
    let times: Vec<Vec<i64>> = files(&root).iter().map(|file| pictures(file)).collect();
    let index = rusqlite::Connection::open(state.path().join("recordings.sqlite")).unwrap();
    let mut ends = index
        .prepare("SELECT run, ended FROM segment ORDER BY start_90k")
        .unwrap();
    let ends: Vec<(i64, Option<i64>)> = ends
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    // Each run is told to its end, and nothing in it is missing.
    let seam = ends.iter().position(|(_, ended)| ended.is_some()).unwrap();
    assert_eq!(ends[seam].1, Some(STOPPED), "{ends:?}");
    assert!(ends[..=seam].iter().all(|(run, _)| *run == ends[0].0), "{ends:?}");
    assert!(
        ends[seam + 1..]
            .iter()
            .all(|(run, _)| *run == ends[seam + 1].0 && *run != ends[0].0),
        "{ends:?}"
    );
    assert!(seam >= 1 && ends.len() >= seam + 3, "{ends:?}");
    let (before, after) = (times[..=seam].concat(), times[seam + 1..].concat());
    for run in [&before, &after] {
        assert!(run.is_sorted_by(|one, next| one < next));
    }
    let last = before[before.len() - 1];
    assert_eq!(clip_ends, last, "the clip goes up to the seam");
    // What was listed was shown, but for what was recorded since.
    let all = before.len() + after.len();
    assert!(
        listed as usize >= before.len() + 25 && listed as usize <= all,
        "{listed} of {all}"
    );
    let gap_us = after[0] - last - PICTURE_US;
    println!("missing: {gap_us} µs; recorded again {took:?} after the signal; the machine kept {kept:?}");
    // Our cameras begin with the pictures since the last keyframe: those may be there twice.
    let longest = LONGEST_GAP + kept;
    assert!(
        (-1_000_000..=i64::try_from(longest.as_micros()).unwrap()).contains(&gap_us),
        "{gap_us} µs; the machine kept {kept:?}"
    );
    // The index tells the same.
    assert!((again - end - gap_us).abs() < 500_000, "{gap_us} µs: {ranges:?}");
    camera.end();
}
