//! The disk of recordings stands still, is full or is taken away: whoever watches notices nothing, and what is recorded is whole.
//!
//! Belongs here: the program as it is, with cameras and viewers. Does not belong here: what the recorder makes of each of these (`recordings.rs`, and
//! the tests beside its code).

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use media::StreamName;
use serde_json::Value;
use testkit::stream::Settings;

use super::holdings::{Known, look, settled, tell_index};
use super::publisher::Cameras;
use super::recordings::Disk;
use super::server::Server;
use super::support::{Machine, PATIENCE};
use super::system;
use super::viewer::Viewer;

const FPS: u32 = 30;
const CAMERAS: usize = 2;
/// How long each part of a test is watched.
const WATCHED: Duration = Duration::from_secs(4);
/// A picture that waited for the disk would be older by more.
const OLDEST: Duration = Duration::from_secs(2);
/// How old a picture may be before anything is known of the machine.
const FIRST: Duration = Duration::from_secs(60);
/// One after the other: together they would be a load for a small machine.
static ALONE: Mutex<()> = Mutex::new(());
/// The numbers of recordings that have any time: 1970 to 2200, in microseconds.
const EVER: &str = "0-7258118400000000";

/// Cameras of 4 Mb/s each.
fn cameras() -> Vec<(StreamName, Settings)> {
    let settings = |number: usize| Settings {
        fps: FPS,
        gop_frames: 15,
        idr_bytes: 50_000,
        frame_bytes: 14_000,
        sei: true,
        seed: (number as u64) << 32,
        ..Settings::default()
    };
    (0..CAMERAS).map(|number| (name(number), settings(number))).collect()
}

fn name(number: usize) -> StreamName {
    format!("camera-{number}").parse().unwrap()
}

/// A server that records into this folder; its index lies elsewhere.
fn server(state: &Path, root: &Path) -> Server {
    let settings = [
        ("SIGHTLINE_RECORD_ENABLED", "true"),
        ("SIGHTLINE_RECORD_PATH", root.to_str().unwrap()),
        ("SIGHTLINE_RECORD_SEGMENT", "2s"),
    ];
    Server::start(state, &settings)
}

/// Of the ages: median, the 99th of a hundred, the oldest.
fn summary(ages: &[Duration]) -> [Duration; 3] {
    [ages[ages.len() / 2], ages[ages.len() * 99 / 100], ages[ages.len() - 1]]
}

/// Watches for a while. None of the pictures is left out, and none old beside those that were watched `before`, when the disk worked. How old the oldest is.
fn watch(viewer: &Viewer, cameras: &Cameras, what: &str, before: Duration) -> Duration {
    let machine = Machine::watch();
    let (seen, sent) = (viewer.seen(), cameras.sent().len());
    std::thread::sleep(WATCHED);
    let sent = cameras.sent().len() - sent;
    let ages = viewer.ages_since(seen);
    let kept = machine.kept();
    let [median, late, oldest] = summary(&ages);
    println!(
        "{what}: {} pictures, ages p50 {median:.1?}, p99 {late:.1?}, oldest {oldest:.1?}; the machine kept {kept:?}",
        ages.len()
    );
    let most = OLDEST + before + kept;
    assert!(oldest < most, "{what}: {oldest:?}; the machine kept {kept:?}");
    // What is on its way at either end.
    let late = most.as_secs() as usize * FPS as usize;
    assert!(ages.len() + late >= sent, "{what}: {} of {sent} pictures", ages.len());
    oldest
}

fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < 2 * PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How a camera is recorded.
fn recording(server: &Server, number: usize) -> Value {
    let (status, mut answer) = server.ask("GET", &format!("/streams/{}", name(number)), "");
    assert_eq!(status, 200, "{answer}");
    answer["recording"].take()
}

fn wait_for_all(server: &Server, state: &str) {
    for number in 0..CAMERAS {
        let what = format!("camera {number} is {state}");
        wait_for(&what, || (recording(server, number)["state"] == state).then_some(()));
    }
}

/// `fsfreeze`: whoever writes waits, as on a disk that does not answer. Thawed with its value.
struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    fn new(root: &'a Path) -> Self {
        system("fsfreeze", &format!("--freeze {}", root.display()));
        Self(root)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        system("fsfreeze", &format!("--unfreeze {}", self.0.display()));
    }
}

#[test]
fn a_disk_that_stands_still_delays_nobody_who_watches() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let state = tempfile::tempdir().unwrap();
    let disk = Disk::new();
    let root = disk.root();
    let server = server(state.path(), &root);
    let cameras = Cameras::start(server.rtsp_port, &cameras());
    let viewer = Viewer::start(server.rtsp_port, "camera-0");
    wait_for_all(&server, "recording");
    let before = watch(&viewer, &cameras, "the disk works", FIRST);
    let frozen = Frozen::new(&root);
    watch(&viewer, &cameras, "the disk stands still", before);
    // Who comes now is served as well, and so is who asks.
    let another = Viewer::start(server.rtsp_port, "camera-1");
    let begun = Instant::now();
    let (status, answer) = server.ask("GET", "/recordings?camera=camera-0", "");
    assert_eq!(status, 200, "{answer}");
    assert!(begun.elapsed() < OLDEST * 5, "the answer took {:?}", begun.elapsed());
    // More than 8 MiB of a camera do not wait.
    let paused = wait_for("it is said", || {
        Some(recording(&server, 0)).filter(|told| told["state"] == "paused")
    });
    assert_eq!(paused["reason"], "the disk is slow, full or away");
    watch(&another, &cameras, "the queue is full", before);
    drop(frozen);
    wait_for_all(&server, "recording");
    watch(&viewer, &cameras, "the disk works again", before);
    drop((viewer, another, cameras));
    let rows = settled(state.path(), &root, || tell_index(&server));
    look(&mut Known::new(), &rows);
    server.end();
}

#[test]
fn a_disk_that_is_full_delays_nobody_who_watches() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let state = tempfile::tempdir().unwrap();
    let disk = Disk::new();
    let root = disk.root();
    let server = server(state.path(), &root);
    let cameras = Cameras::start(server.rtsp_port, &cameras());
    let viewer = Viewer::start(server.rtsp_port, "camera-0");
    wait_for_all(&server, "recording");
    let first = wait_for("a file is finished", || {
        tell_index(&server);
        let (_, answer) = server.ask("GET", "/recordings?camera=camera-0&files=1", "");
        Some(answer["recordings"][0]["id"].as_str()?.to_owned())
    });
    let before = watch(&viewer, &cameras, "there is room", FIRST);
    // The rest of it fills up the sooner.
    std::fs::write(root.join("of somebody else"), vec![1; 30 << 20]).unwrap();
    wait_for("the oldest makes room", || {
        let (_, answer) = server.ask("GET", "/recordings?camera=camera-0&files=1", "");
        let files = answer["recordings"].as_array()?.clone();
        files.iter().all(|file| file["id"] != *first).then_some(())
    });
    watch(&viewer, &cameras, "the oldest makes room", before);
    for number in 0..CAMERAS {
        let path = format!("/recordings/protected/{}@{EVER}", name(number));
        let (status, answer) = server.ask("PUT", &path, "");
        assert!((200..300).contains(&status), "{answer}");
    }
    wait_for_all(&server, "paused");
    assert_eq!(
        recording(&server, 0)["reason"],
        "the disk is full, and nothing may be deleted"
    );
    let said = server.process.said();
    assert!(
        said.iter()
            .any(|line| line.contains("recording waits for room") && line.contains("protected")),
        "{said:#?}"
    );
    let held = settled(state.path(), &root, || tell_index(&server));
    watch(&viewer, &cameras, "all is protected", before);
    let mut known = Known::new();
    let rows = settled(state.path(), &root, || tell_index(&server));
    look(&mut known, &rows);
    assert!(rows.keys().eq(held.keys()), "nothing is deleted, and nothing is begun");
    for number in 0..CAMERAS {
        let path = format!("/recordings/protected/{}@{EVER}", name(number));
        assert!((200..300).contains(&server.ask("DELETE", &path, "").0));
    }
    wait_for_all(&server, "recording");
    drop((viewer, cameras));
    let rows = settled(state.path(), &root, || tell_index(&server));
    look(&mut Known::new(), &rows);
    server.end();
}

#[test]
fn a_disk_that_is_taken_away_delays_nobody_who_watches() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let state = tempfile::tempdir().unwrap();
    let mut disk = Disk::new();
    let root = disk.root();
    let server = server(state.path(), &root);
    let cameras = Cameras::start(server.rtsp_port, &cameras());
    let viewer = Viewer::start(server.rtsp_port, "camera-0");
    wait_for_all(&server, "recording");
    let before = watch(&viewer, &cameras, "the disk is there", FIRST);
    disk.unmount();
    wait_for_all(&server, "paused");
    assert_eq!(recording(&server, 0)["reason"], "the folder of recordings is not there");
    watch(&viewer, &cameras, "the disk is away", before);
    assert_eq!(
        std::fs::read_dir(&root).unwrap().count(),
        0,
        "nothing is written beneath its mount point"
    );
    disk.mount();
    wait_for_all(&server, "recording");
    watch(&viewer, &cameras, "the disk is back", before);
    drop((viewer, cameras));
    let rows = settled(state.path(), &root, || tell_index(&server));
    look(&mut Known::new(), &rows);
    server.end();
}
