//! The disk is full: pictures go on, a change of settings is refused whole, the index of recordings waits; and all works when there is room again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sightline::record::index::{Change, Error, Index, MAX_TIME_90K, Segment, SegmentId, State};

use super::killing::{frames, viewer, wait_for_frames};
use super::support::{Server, publish_with_ffmpeg, tool};
use super::system;

/// A small disk, unmounted with its value.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn of(kilobytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        system(
            "mount",
            &format!("-t tmpfs -o size={kilobytes}k tmpfs {}", folder.path().display()),
        );
        Self { folder }
    }

    /// Another file system, in a file of a disk with room.
    fn of_ext4(megabytes: u64, image: &Path) -> Self {
        std::fs::File::create(image).unwrap().set_len(megabytes << 20).unwrap();
        // What is kept for root would be room for the test.
        system("mkfs.ext4", &format!("-q -F -m 0 {}", image.display()));
        let folder = tempfile::tempdir().unwrap();
        system(
            "mount",
            &format!("-o loop {} {}", image.display(), folder.path().display()),
        );
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Until nothing more fits.
    fn fill(&self) -> PathBuf {
        let path = self.path("filler");
        assert!(std::fs::write(&path, vec![1; 32 << 20]).is_err(), "it is not full");
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A server that has not ended yet may still use it.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

/// The status of a change of the log level, and the answer.
fn change(server: &Server, http_port: u16, level: &str) -> (String, String) {
    let output = tool("curl")
        .args(["--silent", "--write-out", "\n%{http_code}", "--request", "PATCH"])
        .args(["--header", "Content-Type: application/json"])
        .args(["--user", &format!("admin:{}", server.token("admin"))])
        .args(["--data", &format!("{{\"log\":{{\"level\":\"{level}\"}}}}")])
        .arg(format!("http://127.0.0.1:{http_port}/api/v1/config"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (text, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), text.to_owned())
}

#[test]
fn pictures_go_on_and_settings_stay_what_they_were() {
    let disk = Disk::of(64);
    let file = disk.path("sightline.toml");
    let comment = "# kept\n";
    std::fs::write(&file, comment).unwrap();
    let mut server = Server::start(&["--config", file.to_str().unwrap()]);
    let _publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
    let mut viewer = viewer(&server, "tcp");
    wait_for_frames(&mut viewer, 10);
    let http_port = server.port_of("http_port");

    let filler = disk.fill();
    let (status, answer) = change(&server, http_port, "warn");
    assert!(status == "409" && answer.contains("file-unusable"), "{status} {answer}");
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        comment,
        "the file is as it was"
    );
    assert_eq!(left_behind(disk.folder.path()), 0);
    let seen = frames(&viewer);
    wait_for_frames(&mut viewer, seen + 30);

    std::fs::remove_file(filler).unwrap();
    let (status, answer) = change(&server, http_port, "warn");
    assert_eq!(status, "200", "{answer}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("# kept") && text.contains("level = \"warn\""), "{text}");
}

/// A minute of a camera.
fn minute(number: i64) -> Change {
    let segment = Segment {
        id: SegmentId(number),
        camera: "cam".parse().unwrap(),
        storage: [1; 16],
        path: format!("cam/segment_{number}.mp4"),
        run: 1,
        start_90k: number * 60 * 90_000,
        duration_90k: 60 * 90_000,
        bytes: 15_000_000,
        head_bytes: 5_000,
        crc: 0,
        drift_90k: 0,
        state: State::Whole,
        ended: None,
        age_end_90k: 0,
        is_age_sure: true,
    };
    Change::Segment(segment, vec![5; 300])
}

/// What was told waits, nothing of it is written by half, whoever asks is answered with what there is; and it is written when there is room.
#[test]
fn the_index_of_recordings_waits_for_room() {
    let disk = Disk::of(2_048);
    let path = disk.path("recordings.db");
    // By itself it writes far less often than it is asked to, so what is written ends where it was asked.
    let index = Index::open(&path, Duration::from_secs(2)).unwrap().index;
    let path_of_storage = disk.folder.path().display().to_string();
    index
        .write(Change::Storage {
            uuid: [1; 16],
            path: path_of_storage,
        })
        .unwrap();
    index.flush().unwrap();
    let reader = index.reader().unwrap();
    let filler = disk.fill();
    let mut told = 0;
    let error = loop {
        for _ in 0..50 {
            told += 1;
            index.write(minute(told)).unwrap();
        }
        if let Err(error) = index.flush() {
            break error;
        }
        assert!(told < 10_000, "it is not full");
    };
    assert_eq!(error, Error::NoRoom { path });
    assert_eq!(index.health().failing, Some(error));
    let known = reader.usage().unwrap().first().map_or(0, |usage| usage.segments);
    assert!(known < told as u64 && known.is_multiple_of(50), "{known} of {told}");
    std::fs::remove_file(filler).unwrap();
    let begun = std::time::Instant::now();
    while index.health().failing.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it goes on by itself");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(reader.usage().unwrap()[0].segments, told as u64);
    let camera = "cam".parse().unwrap();
    assert_eq!(reader.runs(&camera, 0..MAX_TIME_90K, 0).unwrap().runs.len(), 1);
    assert!(reader.check(10).unwrap().is_empty());
    drop(reader);
    index.close().unwrap();
    // A file that was to be made on a full disk is another matter: nothing is opened, nothing thrown away.
    let filler = disk.fill();
    let other = disk.path("other.db");
    let error = Index::open(&other, Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::NoRoom { .. }), "{error}");
    std::fs::remove_file(filler).unwrap();
    assert!(Index::open(&other, Duration::from_secs(1)).unwrap().is_new);
}

const RECORDING_BYTES: usize = 64 << 10;

/// Recordings and their index fill one disk: the oldest are deleted all the same, and all goes on.
fn the_oldest_make_room(disk: &Disk) {
    let path = disk.path("recordings.db");
    let ballast = disk.path("recordings.db.ballast");
    let index = Index::open(&path, Duration::from_millis(100)).unwrap().index;
    assert_eq!(std::fs::metadata(&ballast).unwrap().len(), 4 << 20);
    index
        .write(Change::Storage {
            uuid: [1; 16],
            path: String::new(),
        })
        .unwrap();
    // Of somebody else, for now.
    let spare = disk.path("spare");
    std::fs::write(&spare, vec![1; 2 << 20]).unwrap();
    let file = |number: i64| disk.path(&format!("segment_{number}.mp4"));
    let mut told = 0;
    // As a recorder does: the file, then its row.
    while std::fs::write(file(told + 1), vec![1; RECORDING_BYTES]).is_ok() {
        told += 1;
        index.write(minute(told)).unwrap();
    }
    std::fs::remove_file(file(told + 1)).unwrap();
    std::fs::remove_file(spare).unwrap();
    index.flush().unwrap();
    assert!(told > 50, "{told}");
    // Others take the last of it, and rows are written into what there is until nothing goes.
    let filler = disk.fill();
    let mut rows = told;
    while index.flush().is_ok() {
        rows += 1;
        index.write(minute(rows)).unwrap();
    }
    assert!(matches!(index.health().failing, Some(Error::NoRoom { .. })));
    assert!(ballast.exists(), "rows of what is recorded can wait");

    let mut deleted = 0;
    for oldest in [1..20, 20..40] {
        let garbage = index.discard(oldest.clone().map(SegmentId).collect()).unwrap();
        assert_eq!(garbage.len() as i64, oldest.end - oldest.start);
        assert!(!ballast.exists());
        for segment in garbage {
            std::fs::remove_file(file(segment.id.0)).unwrap();
            index.write(Change::Gone(segment.id)).unwrap();
            deleted += 1;
        }
    }
    index.flush().unwrap();
    let reader = index.reader().unwrap();
    assert_eq!(reader.usage().unwrap()[0].segments as i64, rows - deleted);
    assert_eq!(reader.garbage(None).unwrap().items, []);
    assert!(reader.check(10).unwrap().is_empty());

    // There is room, and so the next time too.
    std::fs::remove_file(filler).unwrap();
    for number in 40..told {
        std::fs::remove_file(file(number)).unwrap();
    }
    index.write(Change::Carried { at_90k: 1 }).unwrap();
    index.flush().unwrap();
    assert_eq!(std::fs::metadata(&ballast).unwrap().len(), 4 << 20);
    drop(reader);
    index.close().unwrap();

    // A start on a full disk writes as well.
    let filler = disk.fill();
    let opened = Index::open(&path, Duration::from_secs(1)).unwrap();
    assert!(opened.was_clean && opened.aside.is_none() && !opened.is_new);
    assert_eq!(opened.index.discard(vec![SegmentId(50)]).unwrap().len(), 1);
    std::fs::remove_file(filler).unwrap();
}

#[test]
fn recordings_and_their_index_fill_one_disk_in_memory() {
    the_oldest_make_room(&Disk::of(16 << 10));
}

#[test]
fn recordings_and_their_index_fill_one_disk_of_ext4() {
    let images = tempfile::tempdir().unwrap();
    the_oldest_make_room(&Disk::of_ext4(16, &images.path().join("disk")));
}

/// Temporary files.
fn left_behind(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with('.')).count()
}
