//! Disks of recordings that are small, or taken away: recording goes on by deleting the oldest, pauses where nothing may be deleted, and writes nothing
//! beneath a mount point.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::tz::TimeZone;
use media::recording::Told;
use media::{Clock as _, StreamName, WallTime};
use sightline::clock::SystemClock;
use sightline::record::clock::{Span, unix_90k};
use sightline::record::index::{Ended, MAX_TIME_90K, Protected, Segment};
use sightline::record::recorder::{Clocks, Recorder, Settings};
use sightline::record::report::State;
use sightline::record::retention::Why;
use sightline::record::sink::{Begin, End, Piece, Sink};

use super::system;

/// `ftyp`, and a `moov` with nothing in it but room for a duration.
const INIT: &[u8] = b"\0\0\0\x10ftypiso5\0\0\0\0\0\0\0\x1cmoov\0\0\0\x14free\x01\0\0\0\0\0\0\0\0\0\0\0";
const MEGABYTE: usize = 1 << 20;
const FRAGMENTS: usize = 4;

/// A file system in a file of 64 MB, mounted; unmounted with its value.
pub(crate) struct Disk {
    folder: tempfile::TempDir,
    is_mounted: bool,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        system("mkfs.ext4", &format!("-q -m 0 {}", image.display()));
        std::fs::create_dir(folder.path().join("root")).unwrap();
        let mut disk = Self {
            folder,
            is_mounted: false,
        };
        disk.mount();
        disk
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub(crate) fn mount(&mut self) {
        let image = self.folder.path().join("image");
        system(
            "mount",
            &format!("-o loop {} {}", image.display(), self.root().display()),
        );
        self.is_mounted = true;
    }

    /// As when it is pulled out: what is open stays so.
    pub(crate) fn unmount(&mut self) {
        system("umount", &format!("--lazy {}", self.root().display()));
        self.is_mounted = false;
    }

    fn recorder(&self) -> Recorder {
        let settings = Settings::new(self.root(), self.folder.path().join("index.db"));
        Recorder::start(settings, clocks()).unwrap()
    }
}

fn clocks() -> Clocks {
    Clocks {
        clock: Arc::new(SystemClock),
        zone: || TimeZone::UTC,
        is_synchronised: || true,
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = Command::new("umount").arg("--lazy").arg(self.root()).status();
        }
    }
}

fn camera() -> StreamName {
    "house/door".parse().unwrap()
}

/// A file of 4 MB. Whether it was taken.
fn file(recorder: &Recorder, sink: &mut dyn Sink, start: WallTime) -> bool {
    let begin = Begin {
        init_segment: Bytes::from_static(INIT),
        start,
        first_shown_90k: 0,
        continues: false,
        clip: None,
    };
    if sink.begin(begin).is_err() {
        return false;
    }
    let taken = (1..=FRAGMENTS).all(|number| {
        let content = vec![number as u8; MEGABYTE];
        let bytes = [&(8 + content.len() as u32).to_be_bytes()[..], b"mdat", &content].concat();
        let piece = Piece {
            bytes: Bytes::from(bytes),
            duration_90k: 90_000,
            keyframe: true,
            told: Told {
                end_90k: number as i64 * 90_000,
                wall: start,
            },
        };
        sink.fragment(piece).is_ok()
    });
    let start_90k = unix_90k(start);
    sink.end(End {
        span: Span {
            start_90k,
            end_90k: start_90k + FRAGMENTS as i64 * 90_000,
            drift_90k: 0,
        },
        ended: (!taken).then_some(Ended::DiskSlow),
    });
    wait_for(
        || recorder.report().storages[0].queued_bytes == 0,
        "the queue is written",
    );
    taken
}

fn wait_for(mut is_so: impl FnMut() -> bool, what: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn state(recorder: &Recorder) -> State {
    recorder.report().storages[0].state.clone()
}

fn rows(recorder: &Recorder) -> Vec<Segment> {
    recorder.index().unwrap().flush().unwrap();
    let reader = recorder.reader().unwrap();
    reader.segments(&camera(), 0..MAX_TIME_90K, None, 1_000).unwrap().items
}

fn bytes_beneath(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let bytes = entries.map(|entry| match entry.metadata().unwrap() {
        found if found.is_dir() => bytes_beneath(&entry.path()),
        found => found.len(),
    });
    bytes.sum()
}

/// A second after the other, so that files follow each other as they would.
fn seconds() -> impl Iterator<Item = WallTime> {
    let first = SystemClock.wall();
    (0..).map(move |number| first.offset_micros(number * 5_000_000))
}

#[test]
fn a_disk_of_recordings_that_is_full_holds_the_newest() {
    let disk = Disk::new();
    let recorder = disk.recorder();
    assert_eq!(state(&recorder), State::Recording);
    let mut sink = recorder.sink(&camera());
    let mut starts = seconds();
    for number in 0..50 {
        let taken = file(&recorder, &mut *sink, starts.next().unwrap());
        assert!(taken, "file {number}: {:?}", recorder.report());
    }
    let report = recorder.report();
    let there = rows(&recorder);
    let at = sightline::record::report::DELETED
        .iter()
        .position(|why| *why == Why::Room)
        .unwrap();
    assert!(there.len() >= 5 && there.len() < 15, "{}", there.len());
    wait_for(
        || there.len() as u64 + recorder.report().counters.deleted[at] >= 50,
        "what goes is deleted",
    );
    assert_eq!((report.counters.left_out, report.counters.failures), ([0; 5], 0));
    assert!(there.iter().all(|row| row.ended.is_none()), "each is whole");

    // All of it is protected, and so is what comes.
    let protected = recorder.protect(Protected {
        camera: camera(),
        range_90k: 0..MAX_TIME_90K,
        why: "a test".to_owned(),
    });
    let protected = protected.unwrap();
    // Until now the oldest may have gone.
    let there = rows(&recorder);
    let mut notices = recorder.notices();
    wait_for(
        || {
            file(&recorder, &mut *sink, starts.next().unwrap());
            matches!(state(&recorder), State::Paused { .. })
        },
        "it pauses",
    );
    let State::Paused { why } = state(&recorder) else {
        panic!()
    };
    assert!(why.contains("protected") && why.contains("lacks"), "{why}");
    let said = std::iter::from_fn(|| notices.try_recv().ok()).any(|notice| format!("{notice:?}").contains("Paused"));
    assert!(said, "it says so");
    let kept = rows(&recorder);
    assert!(!file(&recorder, &mut *sink, starts.next().unwrap()));
    assert_eq!(rows(&recorder), kept, "nothing is deleted");
    assert!(there.iter().all(|row| kept.iter().any(|kept| kept.id == row.id)));

    assert!(recorder.release(protected).unwrap());
    wait_for(|| state(&recorder) == State::Recording, "it goes on");
    assert!(file(&recorder, &mut *sink, starts.next().unwrap()));
    drop(sink);
    assert!(recorder.stop(Duration::from_secs(30)));
    // Files and rows are of one mind.
    let recorder = disk.recorder();
    let told: u64 = rows(&recorder).iter().map(|row| row.bytes).sum();
    let own = [sightline::record::storage::MARK, sightline::record::storage::LOCK];
    let own_bytes: u64 = own
        .map(|name| std::fs::metadata(disk.root().join(name)).unwrap().len())
        .iter()
        .sum();
    assert_eq!(bytes_beneath(&disk.root()), told + own_bytes);
    assert!(recorder.stop(Duration::from_secs(30)));
}

#[test]
fn nothing_is_recorded_beneath_a_mount_point() {
    let mut disk = Disk::new();
    let recorder = disk.recorder();
    let mut sink = recorder.sink(&camera());
    let mut starts = seconds();
    assert!(file(&recorder, &mut *sink, starts.next().unwrap()));
    wait_for(|| rows(&recorder).len() == 1, "it is recorded");
    disk.unmount();
    wait_for(
        || {
            file(&recorder, &mut *sink, starts.next().unwrap());
            matches!(state(&recorder), State::Away { .. })
        },
        "it is missed",
    );
    assert!(!file(&recorder, &mut *sink, starts.next().unwrap()));
    assert_eq!(std::fs::read_dir(disk.root()).unwrap().count(), 0);
    let known = rows(&recorder);
    assert!(!known.is_empty());
    // Nor at a start, though it may make folders.
    drop(sink);
    assert!(recorder.stop(Duration::from_secs(30)));
    let recorder = disk.recorder();
    assert!(matches!(state(&recorder), State::Away { .. }));
    assert_eq!(std::fs::read_dir(disk.root()).unwrap().count(), 0);
    assert_eq!(rows(&recorder), known, "no row is dropped");

    disk.mount();
    wait_for(|| state(&recorder) == State::Recording, "it is back");
    let mut sink = recorder.sink(&camera());
    assert!(file(&recorder, &mut *sink, starts.next().unwrap()));
    wait_for(|| rows(&recorder).len() == known.len() + 1, "it goes on");
    for row in rows(&recorder) {
        assert_eq!(std::fs::metadata(disk.root().join(&row.path)).unwrap().len(), row.bytes);
    }
    drop(sink);
    assert!(recorder.stop(Duration::from_secs(30)));
}

/// A backup that replaces a state would take the disk with it that is mounted there: nothing is moved, whatever lies on the disk.
#[test]
fn a_disk_in_a_state_folder_is_not_put_aside() {
    use sightline::state::backup::{self, Error};
    let mut disk = Disk::new();
    let state = disk.folder.path().join("state");
    std::fs::create_dir_all(state.join("media/disk")).unwrap();
    std::fs::write(state.join("tokens.json"), "of now").unwrap();
    let tar = disk.folder.path().join("backup.tar");
    backup::write(&state, &tar, "1.2.3", SystemClock.wall()).unwrap();
    disk.unmount();
    let image = disk.folder.path().join("image").display().to_string();
    let own = disk.folder.path().join("elsewhere");
    std::fs::create_dir(&own).unwrap();
    // A disk, and a folder of the same disk.
    for source in [format!("-o loop {image}"), format!("--bind {}", own.display())] {
        system("mount", &format!("{source} {}", state.join("media/disk").display()));
        let refused = backup::restore(&state, &tar, true);
        system("umount", &state.join("media/disk").display().to_string());
        match refused {
            Err(Error::Holds { path, folder, .. }) => {
                assert_eq!((path, folder), (state.join("media/disk"), state.join("media")));
            }
            other => panic!("{source}: {other:?}"),
        }
        assert_eq!(std::fs::read_to_string(state.join("tokens.json")).unwrap(), "of now");
    }
    backup::restore(&state, &tar, true).unwrap();
}

/// What can be read alone is shown: it is nobody else's, though nothing in it can be locked anew.
#[test]
fn a_disk_that_turned_read_only_is_no_disk_of_another_server() {
    let disk = Disk::new();
    let recorder = disk.recorder();
    let mut sink = recorder.sink(&camera());
    assert!(file(&recorder, &mut *sink, SystemClock.wall()));
    wait_for(|| rows(&recorder).len() == 1, "it is recorded");
    drop(sink);
    assert!(recorder.stop(Duration::from_secs(30)));
    system("mount", &format!("-o remount,ro {}", disk.root().display()));
    let recorder = disk.recorder();
    assert!(
        matches!(state(&recorder), State::Recording | State::Failing { .. }),
        "{:?}",
        state(&recorder)
    );
    assert_eq!(rows(&recorder).len(), 1);
    assert!(recorder.stop(Duration::from_secs(30)));
}

/// A file that cannot be read is said, and a rebuild is over even so: the next one begins anew, and a start does not look through all again.
#[test]
fn an_index_is_made_anew_without_what_cannot_be_read() {
    use sightline::record::check::{self, What};
    let disk = Disk::new();
    let recorder = disk.recorder();
    let mut sink = recorder.sink(&camera());
    for start in seconds().take(3) {
        assert!(file(&recorder, &mut *sink, start));
    }
    drop(sink);
    wait_for(|| rows(&recorder).len() == 3, "it is recorded");
    let first = disk.root().join(&rows(&recorder)[0].path).display().to_string();
    assert!(recorder.stop(Duration::from_secs(30)));
    let what = What {
        root: disk.root(),
        index: disk.folder.path().join("index.db"),
        deep: false,
    };
    // Nothing of it can be changed, so it cannot be opened as recordings are.
    system("chattr", &format!("+i {first}"));
    for _ in 0..2 {
        let (rebuilt, _) = check::rebuild(&what, &clocks(), &mut Silent).unwrap();
        assert!(!rebuilt.went_on && rebuilt.aside.is_some(), "{rebuilt:?}");
        let [why] = &rebuilt.done.failed[..] else {
            panic!("{rebuilt:?}")
        };
        assert!(why.contains("1 files cannot be read"), "{why}");
    }
    system("chattr", &format!("-i {first}"));
    let (held, plan, summary) = check::plan(&what, &mut Silent).unwrap();
    assert_eq!((plan.files, summary.differences()), (1, 1), "{summary:?}");
    let (done, summary) = check::repair(&what, held, &plan, &clocks(), &mut Silent).unwrap();
    assert_eq!(
        (done.failed.len(), summary.differences()),
        (0, 0),
        "{done:?} {summary:?}"
    );
    let recorder = disk.recorder();
    assert_eq!(rows(&recorder).len(), 3);
    assert!(recorder.stop(Duration::from_secs(30)));
}

/// Who is told nothing.
struct Silent;

impl sightline::record::check::Listener for Silent {
    fn finding(&mut self, _: &sightline::record::check::Finding) {}

    fn progress(&mut self, _: &sightline::record::check::Progress) {}
}
