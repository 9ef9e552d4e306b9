//! Recordings of a camera, written into a folder by a clock of their own.

use media::recording::Scanner;
use testkit::stream::Settings;

use super::*;
use crate::relay::tests::{Camera, changed_at, files, name, output};

const SECOND: Duration = Duration::from_secs(1);

fn recorder(folder: &Path, camera: &Camera, retention: Option<Duration>) -> Recorder {
    let output = output(folder, 2 * SECOND, retention);
    let mut recorder = Recorder::new(name(), output, Arc::clone(&camera.clock) as _, Arc::default());
    recorder.open();
    recorder.tracks(&camera.tracks());
    recorder
}

fn write(recorder: &mut Recorder, camera: &mut Camera, frames: usize) {
    for entry in camera.frames(frames) {
        recorder.frame(&entry);
    }
}

/// Fragments of a file, which is whole.
fn fragments(path: &Path) -> u32 {
    let bytes = fs::read(path).unwrap();
    let media::recording::Found::Whole(_, at) = media::recording::Head::read(&bytes) else {
        panic!("{}", path.display())
    };
    let mut scanner = Scanner::new();
    scanner.push(&bytes[at..]);
    assert_eq!(scanner.whole().bytes as usize, bytes.len() - at, "{}", path.display());
    scanner.whole().fragments
}

#[test]
fn files_follow_each_other_and_processed_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut recorder = recorder(folder.path(), &camera, None);
    write(&mut recorder, &mut camera, 200);
    recorder.gap();
    let names = files(folder.path());
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.iter().all(|name| is_recording(Path::new(name))), "{names:?}");
    assert!(folder.path().join(PROCESSED).is_dir());
    // Two seconds each, of fragments of two thirds.
    let fragments: Vec<u32> = names.iter().map(|name| fragments(&folder.path().join(name))).collect();
    assert_eq!(fragments[..3], [3, 3, 3], "{fragments:?}");
    assert_eq!(recorder.figures.files.get(), 4);
    assert_eq!(recorder.figures.left_out.get(), 0);
}

#[test]
fn what_a_kill_leaves_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut first = recorder(folder.path(), &camera, None);
    write(&mut first, &mut camera, 95);
    std::mem::forget(first);
    let torn = folder.path().join(files(folder.path()).pop().unwrap());
    let mut bytes = fs::read(&torn).unwrap();
    bytes.extend_from_slice(&[0, 0, 9, 9, b'm', b'o', b'o', b'f', 1, 2, 3]);
    fs::write(&torn, bytes).unwrap();
    fs::write(folder.path().join(".segment_20261122_191500.mp4.new"), "half").unwrap();
    fs::write(
        folder.path().join(PROCESSED).join("segment_20260101_000000.mp4"),
        "theirs",
    )
    .unwrap();
    let before = files(folder.path()).len();
    let mut second = recorder(folder.path(), &camera, None);
    assert_eq!(files(folder.path()).len(), before - 1, "what had no head yet is gone");
    assert!(fragments(&torn) > 0);
    write(&mut second, &mut camera, 70);
    second.gap();
    for name in files(folder.path()) {
        assert!(fragments(&folder.path().join(name)) > 0);
    }
    let theirs = fs::read(folder.path().join(PROCESSED).join("segment_20260101_000000.mp4")).unwrap();
    assert_eq!(theirs, b"theirs");
}

#[test]
fn other_parameter_sets_begin_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut recorder = recorder(folder.path(), &camera, None);
    write(&mut recorder, &mut camera, 30);
    camera.video.resize(320, 240);
    write(&mut recorder, &mut camera, 30);
    recorder.gap();
    assert_eq!(files(folder.path()).len(), 2);
    assert_eq!(recorder.figures.left_out.get(), 0);
}

#[test]
fn old_recordings_go_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Camera::new(Settings::default());
    let mut recorder = recorder(folder.path(), &camera, Some(20 * SECOND));
    for second in 0..30 {
        let name = format!("segment_20261122_1915{second:02}.mp4");
        fs::write(folder.path().join(&name), "").unwrap();
        changed_at(folder.path().join(name), 1_000 + 2 * second);
    }
    for other in [
        "segment_mine.mp4",
        "segment_20261122_191500.mp4.txt",
        "processed/segment_20261122_191500.mp4",
    ] {
        fs::write(folder.path().join(other), "").unwrap();
    }
    recorder.remove_old(camera.clock.now(), 20 * SECOND);
    let there = files(folder.path());
    assert_eq!(there.len(), 2 + 11, "{there:?}");
    assert!(folder.path().join("processed/segment_20261122_191500.mp4").exists());
    assert!(there.contains(&"segment_20261122_191529.mp4".to_owned()));
}

/// Files of an earlier process: one every two seconds, the newest then.
fn earlier(folder: &Path, count: u64, newest_s: u64) -> Vec<String> {
    let name = |number: u64| format!("segment_20250101_0000{number:02}.mp4");
    for number in 0..count {
        fs::write(folder.join(name(number)), "").unwrap();
        changed_at(folder.join(name(number)), newest_s - 2 * (count - 1 - number));
    }
    (0..count).map(name).collect()
}

/// Those of `names` that are there.
fn of_these<'a>(folder: &Path, names: &'a [String]) -> Vec<&'a String> {
    names.iter().filter(|name| folder.join(name).exists()).collect()
}

#[test]
fn a_machine_that_does_not_know_the_date_loses_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let keep = 20 * SECOND;
    let mut recorder = recorder(folder.path(), &camera, Some(keep));
    let wall_s = (camera.clock.wall().unix_micros() / 1_000_000).unsigned_abs();
    // As much as there may be, and a few that a process in 1970 wrote after it.
    let dated = earlier(folder.path(), 10, wall_s);
    let undated: Vec<String> = (0..3)
        .map(|number| format!("segment_19700101_0000{number:02}.mp4"))
        .collect();
    for (name, second) in undated.iter().zip([10, 12, 14]) {
        fs::write(folder.path().join(name), "").unwrap();
        changed_at(folder.path().join(name), second);
    }
    recorder.remove_old(camera.clock.now(), keep);
    assert_eq!(of_these(folder.path(), &dated).len(), 10);
    assert_eq!(of_these(folder.path(), &undated).len(), 3, "they may be new");
    // One by one, so that each file is finished at its time.
    (0..205).for_each(|_| write(&mut recorder, &mut camera, 1));
    let ours: Vec<String> = files(folder.path())
        .into_iter()
        .filter(|name| !dated.contains(name) && !undated.contains(name))
        .collect();
    assert!(ours.len() >= 4, "{ours:?}");
    // Their clock goes back, the open one's too.
    for (name, second) in ours.iter().zip([9, 5, 7, 1, 3]) {
        changed_at(folder.path().join(name), second);
    }
    recorder.remove_old(camera.clock.now(), keep);
    assert_eq!(of_these(folder.path(), &ours).len(), ours.len());
    assert!(of_these(folder.path(), &dated).len() < 10, "what is old goes");
    // By and by all goes but what is new.
    camera.clock.advance(keep - SECOND);
    recorder.remove_old(camera.clock.now(), keep);
    assert_eq!(
        files(folder.path()).len(),
        2,
        "one was finished just then, and one is open"
    );
    camera.clock.advance(keep);
    recorder.remove_old(camera.clock.now(), keep);
    assert_eq!(files(folder.path()).len(), 1, "the one that is open stays");
    write(&mut recorder, &mut camera, 30);
    recorder.gap();
    assert!(fragments(&folder.path().join(files(folder.path()).remove(0))) > 0);
}

#[test]
fn a_clock_that_was_ahead_loses_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let keep = 20 * SECOND;
    let mut recorder = recorder(folder.path(), &camera, Some(keep));
    let wall_s = (camera.clock.wall().unix_micros() / 1_000_000).unsigned_abs();
    // A month ahead, for longer than is kept; then it was set right.
    let ahead = earlier(folder.path(), 15, wall_s + 30 * 86_400);
    write(&mut recorder, &mut camera, 205);
    let ours: Vec<String> = files(folder.path())
        .into_iter()
        .filter(|name| !ahead.contains(name))
        .collect();
    for name in &ours {
        changed_at(folder.path().join(name), wall_s);
    }
    recorder.remove_old(camera.clock.now(), keep);
    assert_eq!(of_these(folder.path(), &ours).len(), ours.len());
    // The next process knows them by their times alone.
    recorder.gap();
    let mut next = self::recorder(folder.path(), &camera, Some(keep));
    next.remove_old(camera.clock.now(), keep);
    assert_eq!(of_these(folder.path(), &ours).len(), ours.len());
    camera.clock.advance(keep + SECOND);
    next.remove_old(camera.clock.now(), keep);
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn what_is_known_of_files_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Camera::new(Settings::default());
    let mut recorder = recorder(folder.path(), &camera, Some(SECOND));
    recorder.finished = (0..MOST_KNOWN)
        .map(|number| {
            (
                camera.clock.now(),
                PathBuf::from(format!("segment_20250101_000000_{number}.mp4")),
            )
        })
        .collect();
    camera.clock.advance(SECOND);
    recorder.remember(Path::new("segment_20250101_000000.mp4"));
    recorder.remember(Path::new("segment_20250101_000000.mp4"));
    assert_eq!(recorder.finished.len(), MOST_KNOWN);
}

#[test]
fn a_disk_that_is_taken_away_is_not_written_beneath() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("mnt");
    fs::create_dir(&folder).unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut recorder = recorder(&folder, &camera, None);
    // The folder is away.
    fs::rename(&folder, parent.path().join("away")).unwrap();
    recorder.storage = None;
    write(&mut recorder, &mut camera, 60);
    assert!(!folder.exists(), "it is not made");
    // What was beneath its disk is there in its place.
    fs::create_dir(&folder).unwrap();
    recorder.beneath = disk_of(&folder);
    write(&mut recorder, &mut camera, 300);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    assert!(recorder.figures.left_out.get() > 0);
    // It is back.
    recorder.beneath = None;
    write(&mut recorder, &mut camera, 1_000);
    recorder.gap();
    assert!(!files(&folder).is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn the_disk_beneath_is_that_of_a_folder_above() {
    assert_eq!(disk_beneath(Path::new("/proc/self")), disk_of(Path::new("/")));
    assert_eq!(disk_beneath(Path::new("/")), None);
}

#[test]
fn a_folder_that_fails_is_said_waited_for_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::new(Settings::default());
    let mut recorder = recorder(folder.path(), &camera, None);
    write(&mut recorder, &mut camera, 130);
    // What cannot be made: something else has its name until the head is durable.
    let stems = (0..6).map(|second| name::stem_of(camera.clock.wall().offset_micros(second * 1_000_000), &zone()));
    let in_the_way: Vec<PathBuf> = stems
        .map(|stem| folder.path().join(format!(".{stem}.mp4.new")))
        .collect();
    in_the_way.iter().for_each(|path| fs::create_dir(path).unwrap());
    write(&mut recorder, &mut camera, 150);
    let is_failing = |recorder: &Recorder| recorder.figures.is_failing.load(std::sync::atomic::Ordering::Relaxed);
    assert!(is_failing(&recorder) && recorder.figures.left_out.get() > 0);
    in_the_way.iter().for_each(|path| fs::remove_dir(path).unwrap());
    write(&mut recorder, &mut camera, 400);
    recorder.gap();
    assert!(!is_failing(&recorder));
    assert!(files(folder.path()).len() >= 4, "{:?}", files(folder.path()));
}
