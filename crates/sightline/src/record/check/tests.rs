//! Recordings and an index on a real disk, damaged by hand.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use media::recording::{Fragments, Head, Told};
use media::{StreamName, WallTime};
use rusqlite::Connection;

use super::super::index::{
    Change, Event, EventId, Index, MAX_TIME_90K, Protected, Reader as IndexReader, Segment as Row, SegmentId, State,
};
use super::super::name;
use super::super::recorder::Clocks;
use super::super::segment::Segment;
use super::super::storage::{LOCK, Volume as _};
use super::*;
use crate::clock::SystemClock;

/// `ftyp`, and a `moov` with nothing in it but room for a duration.
const INIT: &[u8] = b"\0\0\0\x10ftypiso5\0\0\0\0\0\0\0\x1cmoov\0\0\0\x14free\x01\0\0\0\0\0\0\0\0\0\0\0";
const STORAGE: StorageId = [7; 16];
/// 2026-11-22 12:00 UTC.
const NOON_US: i64 = 1_795_348_800_000_000;
const NOON_90K: i64 = NOON_US / 100 * 9;
const FRAGMENTS: i64 = 5;

/// What was told.
#[derive(Default)]
struct Heard(Vec<Finding>);

impl Listener for Heard {
    fn finding(&mut self, finding: &Finding) {
        self.0.push(finding.clone());
    }

    fn progress(&mut self, _: &Progress) {}
}

struct Rig {
    folder: tempfile::TempDir,
}

impl Rig {
    /// Three files of a camera, meeting, and one of another.
    fn new() -> Self {
        let rig = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let (volume, _) = Root(rig.root()).look(Some(STORAGE)).unwrap();
        let index = rig.open();
        index
            .write(Change::Storage {
                uuid: STORAGE,
                path: rig.root().display().to_string(),
            })
            .unwrap();
        for (camera, files) in [("house/door", 3), ("yard", 1)] {
            for number in 0..files {
                record(&volume, &index, camera, number);
            }
        }
        index.close().unwrap();
        rig
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("recordings")
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("recordings.sqlite")
    }

    fn open(&self) -> Index {
        Index::open(&self.index(), Duration::from_secs(3_600)).unwrap().index
    }

    fn what(&self, deep: bool) -> What {
        What {
            root: self.root(),
            index: self.index(),
            deep,
        }
    }

    /// What a check finds, and how often.
    fn found(&self, deep: bool) -> BTreeMap<Kind, u64> {
        let mut heard = Heard::default();
        let summary = check(&self.what(deep), &mut heard).unwrap();
        let told: u64 = summary.found.values().sum();
        assert_eq!(told, heard.0.len() as u64, "{:?}", heard.0);
        summary.found
    }

    fn sql(&self, sql: &str) {
        let connection = Connection::open(self.index()).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    fn path(&self, number: usize) -> PathBuf {
        let mut files: Vec<_> = self.files().into_keys().filter(|path| path.ends_with(".mp4")).collect();
        files.sort();
        self.root().join(&files[number])
    }

    /// All files below the folder of recordings, but for the one that is locked.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let kind = fs::symlink_metadata(&path).unwrap();
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() && !path.ends_with(LOCK) {
                    let name = path.strip_prefix(self.root()).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    fn rows(&self) -> Vec<Row> {
        let reader = IndexReader::of_file(&self.index()).unwrap();
        let mut rows = Vec::new();
        for camera in reader.cameras().unwrap() {
            rows.extend(
                reader
                    .segments(&camera.camera, 0..MAX_TIME_90K, None, 1_000)
                    .unwrap()
                    .items,
            );
        }
        rows
    }

    /// Mends what is found, and says what is left.
    fn repair(&self, deep: bool) -> (Plan, Done, Summary) {
        let what = self.what(deep);
        let (held, plan, _) = plan(&what, &mut Heard::default()).unwrap();
        let (done, summary) = repair(&what, held, &plan, &clocks(), &mut Heard::default()).unwrap();
        (plan, done, summary)
    }
}

fn clocks() -> Clocks {
    Clocks {
        clock: Arc::new(SystemClock),
        zone: || jiff::tz::TimeZone::UTC,
        is_synchronised: || false,
    }
}

fn record(volume: &System, index: &Index, camera: &str, number: i64) {
    let camera: StreamName = camera.parse().unwrap();
    let start_90k = NOON_90K + number * FRAGMENTS * 90_000;
    let start = WallTime::from_unix_micros(start_90k / 9 * 100);
    let head = Head {
        storage: STORAGE,
        camera: camera.clone(),
        run: 1,
        number: number as u32,
        start,
    };
    let zone = jiff::tz::TimeZone::UTC;
    let path = name::segments(&camera, start, &zone).next().unwrap();
    let mut file = Segment::create(volume, &path, &head, INIT).unwrap();
    let mut table = Fragments::new();
    for number in 1..=FRAGMENTS {
        let content = vec![number as u8; 300];
        let bytes = [&(8 + content.len() as u32).to_be_bytes()[..], b"mdat", &content].concat();
        let end_90k = 90_000 * number;
        file.append(&bytes, &Told { end_90k, wall: start }).unwrap();
        table.push(bytes.len(), 90_000, false).unwrap();
    }
    let (bytes, head_bytes) = (file.bytes(), file.head_bytes());
    let whole = file.finish(volume, Some((&table, 0))).kept.unwrap();
    let row = Row {
        id: index.next_segment(),
        camera,
        storage: STORAGE,
        path: path.to_str().unwrap().to_owned(),
        run: 1,
        start_90k,
        duration_90k: FRAGMENTS * 90_000,
        bytes,
        head_bytes: head_bytes as u32,
        crc: whole.crc,
        drift_90k: 0,
        state: State::Whole,
        ended: None,
        age_end_90k: start_90k,
        is_age_sure: true,
    };
    index.write(Change::Segment(row, table.as_bytes().to_vec())).unwrap();
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    let at = usize::try_from(at).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_agrees_is_told_so() {
    let rig = Rig::new();
    for deep in [false, true] {
        let mut heard = Heard::default();
        let summary = check(&rig.what(deep), &mut heard).unwrap();
        assert_eq!(
            (summary.rows, summary.files, summary.differences()),
            (4, 4, 0),
            "{:?}",
            heard.0
        );
        assert_eq!(summary.bytes_read > 0, deep);
        assert!(summary.not_compared.is_empty() && summary.server.is_none());
        let storage = &summary.storages[0];
        assert_eq!((storage.rows, storage.number.as_str()), (4, "07".repeat(16).as_str()));
    }
    let (plan, done, _) = rig.repair(true);
    assert!(plan.is_empty() && done == Done::default(), "{plan:?}");
}

/// What is done, how, and what is found of it.
type Damage<'a> = (&'a str, fn(&Rig), &'a [(Kind, u64)]);

/// Each is found, and mended without touching a recording; then all agrees.
#[test]
fn each_difference_is_found_and_mended() {
    let cases: [Damage<'_>; 20] = [
        (
            "removed",
            |rig| fs::remove_file(rig.path(1)).unwrap(),
            &[(Kind::FileMissing, 1)],
        ),
        (
            "copied",
            |rig| assert!(fs::copy(rig.path(0), rig.path(0).with_file_name("once more.mp4")).unwrap() > 0),
            &[(Kind::FileUnknown, 1)],
        ),
        (
            "renamed",
            |rig| fs::rename(rig.path(0), rig.path(0).with_file_name("other.mp4")).unwrap(),
            &[(Kind::FileMissing, 1), (Kind::FileUnknown, 1)],
        ),
        (
            "cut",
            |rig| {
                fs::File::options()
                    .write(true)
                    .open(rig.path(0))
                    .unwrap()
                    .set_len(5_700)
                    .unwrap();
            },
            &[(Kind::Length, 1)],
        ),
        (
            "cut to its head",
            |rig| {
                fs::File::options()
                    .write(true)
                    .open(rig.path(0))
                    .unwrap()
                    .set_len(4_700)
                    .unwrap();
            },
            &[(Kind::Length, 1)],
        ),
        (
            "cut to nothing",
            |rig| fs::write(rig.path(0), "").unwrap(),
            &[(Kind::OtherFile, 1)],
        ),
        (
            "longer",
            |rig| {
                fs::File::options()
                    .append(true)
                    .open(rig.path(0))
                    .unwrap()
                    .write_all(&[0; 999])
                    .unwrap();
            },
            &[(Kind::Length, 1)],
        ),
        (
            "a bit turned",
            |rig| flip(&rig.path(0), 5_400),
            &[(Kind::FileDamaged, 1)],
        ),
        (
            "another's",
            |rig| assert!(fs::copy(rig.path(3), rig.path(0)).unwrap() > 0),
            &[(Kind::OtherFile, 1)],
        ),
        (
            "no camera",
            |rig| rig.sql("UPDATE segment SET camera = 99 WHERE id = 2"),
            &[(Kind::RowBroken, 1), (Kind::Ranges, 1)],
        ),
        (
            "no state",
            |rig| rig.sql("UPDATE segment SET state = 9 WHERE id = 2"),
            &[(Kind::RowBroken, 1), (Kind::Ranges, 1)],
        ),
        (
            "path out",
            |rig| rig.sql("UPDATE segment SET path = '../../' || path WHERE id = 2"),
            &[(Kind::PathBroken, 1), (Kind::FileUnknown, 1)],
        ),
        (
            "told twice",
            |rig| {
                rig.sql("INSERT INTO segment SELECT 9, camera, storage, run, start_90k + 86400 * 90000, duration_90k, bytes, head_bytes, crc, drift_90k, state, ended, path, age_end_90k, age, has_event FROM segment WHERE id = 2");
            },
            &[(Kind::RowTwice, 1), (Kind::Table, 1), (Kind::Ranges, 1)],
        ),
        (
            "other bytes",
            |rig| rig.sql("UPDATE segment SET bytes = bytes + 1 WHERE id = 2"),
            &[(Kind::Length, 1), (Kind::Ranges, 1)],
        ),
        ("no ranges", |rig| rig.sql("DELETE FROM span"), &[(Kind::Ranges, 2)]),
        (
            "a range too many",
            |rig| {
                rig.sql("INSERT INTO span SELECT camera, start_90k + 86400 * 90000, run, end_90k, storage, first, bytes, segments, ended, plain_90k, is_held FROM span WHERE camera = 1");
            },
            &[(Kind::Ranges, 1)],
        ),
        (
            "other sums",
            |rig| rig.sql("UPDATE usage SET bytes = bytes + 1"),
            &[(Kind::Sums, 1)],
        ),
        (
            "other checksum",
            |rig| rig.sql("UPDATE segment SET crc = 1 WHERE id = 2"),
            &[(Kind::Checksum, 1)],
        ),
        (
            "no table",
            |rig| rig.sql("DELETE FROM fragments WHERE segment = 2"),
            &[(Kind::Table, 1)],
        ),
        (
            "left open",
            |rig| rig.sql("UPDATE segment SET state = 0 WHERE id = 2"),
            &[(Kind::Unfinished, 1), (Kind::Ranges, 1)],
        ),
    ];
    for (what, damage, expected) in cases {
        let rig = Rig::new();
        damage(&rig);
        assert_eq!(rig.found(true), expected.iter().copied().collect(), "{what}");
        let before = rig.files();
        let (_, done, summary) = rig.repair(true);
        assert!(done.failed.is_empty(), "{what}: {:?}", done.failed);
        assert_eq!(summary.differences(), 0, "{what}: {:?}", summary.found);
        assert!(rig.files() == before, "{what}: a recording was changed");
        let left = rig.found(true);
        let is_known = |kind: &Kind| *kind == Kind::KnownDamage;
        assert!(left.keys().all(is_known), "{what}: {left:?}");
    }
}

/// What is whole of a file that was cut plays on, and one that is damaged is known to be.
#[test]
fn what_is_whole_stays_in_the_index() {
    let rig = Rig::new();
    let end = fs::metadata(rig.path(0)).unwrap().len();
    fs::File::options()
        .write(true)
        .open(rig.path(0))
        .unwrap()
        .set_len(end - 100)
        .unwrap();
    let at = fs::read(rig.path(1)).unwrap().len() as u64 - 500;
    flip(&rig.path(1), at);
    rig.repair(true);
    let rows = rig.rows();
    let of = |number: usize| {
        let path = rig
            .path(number)
            .strip_prefix(rig.root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        rows.iter().find(|row| row.path == path).unwrap()
    };
    assert_eq!(
        (of(0).state, of(0).duration_90k, of(0).bytes),
        (State::Whole, 4 * 90_000, end - 100)
    );
    assert_eq!((of(1).state, of(1).duration_90k), (State::Damaged, 3 * 90_000));
    assert_eq!(rig.found(false), [(Kind::KnownDamage, 1)].into());
}

/// Wherever a bit turns behind the head, the deep check says which file.
#[test]
fn every_bit_that_turned_is_found() {
    let rig = Rig::new();
    let path = rig.path(0);
    let sound = fs::read(&path).unwrap();
    let head = rig.rows()[0].head_bytes as usize;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..100 {
        let at = random.usize(head..sound.len());
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << random.u8(0..8);
        fs::write(&path, bytes).unwrap();
        let mut heard = Heard::default();
        check(&rig.what(true), &mut heard).unwrap();
        assert_eq!(heard.0.len(), 1, "{at}: {:?}", heard.0);
        assert!(path.ends_with(&heard.0[0].path), "{at}");
    }
}

/// Whatever else lies there is no recording, or none that can be looked for: it is left alone.
#[test]
fn what_is_not_ours_is_left_alone() {
    let rig = Rig::new();
    let recorded = rig.path(0);
    let day = recorded.parent().unwrap().to_owned();
    fs::write(day.join("notes.txt"), "mine").unwrap();
    fs::write(day.join("empty.mp4"), "").unwrap();
    fs::write(day.join("half.mp4.part"), "of somebody").unwrap();
    fs::write(day.join("n".repeat(255)), "long").unwrap();
    fs::write(day.join("torn.mp4"), &fs::read(&recorded).unwrap()[..20]).unwrap();
    fs::create_dir_all(rig.root().join("lost+found/2026-11-22")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/dev/zero", day.join("zero.mp4")).unwrap();
        std::os::unix::fs::symlink("/", rig.root().join("all")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            day.join("pipe.mp4"),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
    }
    fs::copy(&recorded, rig.root().join("copy.mp4")).unwrap();
    fs::create_dir(day.with_file_name("holiday")).unwrap();
    fs::copy(&recorded, day.with_file_name("holiday/copy.mp4")).unwrap();
    let before = rig.files();
    assert_eq!(rig.found(true), [(Kind::Misplaced, 2)].into());
    let (plan, ..) = rig.repair(true);
    assert!(plan.is_empty(), "{plan:?}");
    assert!(rig.files() == before);
}

#[test]
fn the_beginning_of_a_file_is_swept() {
    let rig = Rig::new();
    let day = rig.path(0).parent().unwrap().to_owned();
    fs::write(
        day.join(".segment_20261122_120000.mp4.new"),
        &fs::read(rig.path(0)).unwrap()[..4_700],
    )
    .unwrap();
    assert_eq!(rig.found(false), [(Kind::Leftover, 1)].into());
    rig.repair(false);
    assert_eq!(rig.found(true), BTreeMap::new());
}

/// A row of a link that leads elsewhere: nothing is read through it, and its row stays.
#[cfg(unix)]
#[test]
fn a_recording_behind_a_link_is_not_read() {
    let rig = Rig::new();
    let path = rig.path(0);
    let elsewhere = rig.folder.path().join("elsewhere.mp4");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(rig.found(true), [(Kind::Unreadable, 1)].into());
    let (plan, _, summary) = rig.repair(true);
    assert!(plan.is_empty() && plan.left == 1, "{plan:?}");
    assert_eq!((summary.differences(), rig.rows().len()), (1, 4));
}

#[test]
fn a_disk_that_is_away_is_told_and_its_rows_stay() {
    let rig = Rig::new();
    let away = rig.folder.path().join("away");
    fs::rename(rig.root(), &away).unwrap();
    for is_mount_point in [false, true] {
        if is_mount_point {
            fs::create_dir(rig.root()).unwrap();
        }
        let summary = check(&rig.what(true), &mut Heard::default()).unwrap();
        assert_eq!((summary.differences(), summary.rows), (0, 4));
        assert!(
            summary.not_compared[0].starts_with("4 rows of files on "),
            "{:?}",
            summary.not_compared
        );
        assert!(matches!(
            plan(&rig.what(false), &mut Heard::default()),
            Err(Unmendable::Away(_))
        ));
        assert!(matches!(
            rebuild(&rig.what(false), &clocks(), &mut Heard::default()),
            Err(Unmendable::Away(_))
        ));
    }
    fs::remove_dir(rig.root()).unwrap();
    // Another disk under the same path: what lies there is not ours to compare with these rows.
    Root(rig.root()).look(Some([8; 16])).unwrap();
    let summary = check(&rig.what(true), &mut Heard::default()).unwrap();
    assert_eq!(
        (summary.differences(), summary.not_compared.len()),
        (0, 1),
        "{summary:?}"
    );
    let (_, done, _) = rig.repair(false);
    assert_eq!((done, rig.rows().len()), (Done::default(), 4));
    fs::remove_dir_all(rig.root()).unwrap();
    fs::rename(away, rig.root()).unwrap();
    assert_eq!(rig.found(true), BTreeMap::new());
}

/// However many rows there are, some are compared at a time.
#[test]
fn in_parts_the_same_is_found() {
    let rig = Rig::new();
    fs::copy(rig.path(0), rig.path(0).with_file_name("once more.mp4")).unwrap();
    rig.sql("UPDATE segment SET path = (SELECT path FROM segment WHERE id = 1) WHERE id = 3");
    let find = |parts: u64| {
        let mut heard = Heard::default();
        let what = rig.what(false);
        let mut check = Check {
            what: &what,
            reader: IndexReader::of_file(&rig.index()).unwrap(),
            here: Vec::new(),
            beside: Beside::Server(None),
            unknown: Vec::new(),
            summary: Summary::default(),
            listener: &mut heard,
        };
        check.storages().unwrap();
        check.files_in(parts).unwrap();
        let mut found: Vec<_> = heard
            .0
            .into_iter()
            .map(|finding| (finding.kind, finding.path))
            .collect();
        found.sort();
        found
    };
    let whole = find(1);
    assert_eq!(whole.len(), 3, "{whole:?}");
    for parts in 2..9 {
        assert_eq!(find(parts), whole, "{parts}");
    }
}

/// What a server writes, or has not told its index yet, is no difference; it is left running.
#[test]
fn beside_a_server_what_is_being_written_is_no_difference() {
    let rig = Rig::new();
    rig.sql("UPDATE segment SET state = 0 WHERE id = 3; DELETE FROM span WHERE camera = 1");
    rig.open().mend(&[(1, NOON_90K / 90_000 / 86_400)], true).unwrap();
    rig.sql("UPDATE meta SET value = 1 WHERE key = 'clean'");
    fs::copy(rig.path(0), rig.path(0).with_file_name("just now.mp4")).unwrap();
    assert_eq!(rig.found(false), [(Kind::Unfinished, 1), (Kind::FileUnknown, 1)].into());
    let lock = Lock::take(&rig.index(), Duration::ZERO).unwrap();
    let summary = check(&rig.what(true), &mut Heard::default()).unwrap();
    assert_eq!(
        summary.server,
        Some(Server {
            process: Some(std::process::id())
        })
    );
    assert_eq!(
        (summary.differences(), summary.being_written),
        (0, 2),
        "{:?}",
        summary.found
    );
    let refused = plan(&rig.what(false), &mut Heard::default()).unwrap_err();
    assert!(matches!(refused, Unmendable::InUse(_)), "{refused}");
    let refused = rebuild(&rig.what(false), &clocks(), &mut Heard::default()).unwrap_err();
    assert!(matches!(refused, Unmendable::InUse(_)), "{refused}");
    drop(lock);
    rig.repair(false);
    assert_eq!(rig.found(true), BTreeMap::new());
}

/// Something happens at a step of a check.
struct Meanwhile<F: FnMut()> {
    step: &'static str,
    happens: Option<F>,
    heard: Heard,
}

impl<F: FnMut()> Listener for Meanwhile<F> {
    fn finding(&mut self, finding: &Finding) {
        self.heard.finding(finding);
    }

    fn progress(&mut self, progress: &Progress) {
        if progress.step == self.step
            && let Some(mut happens) = self.happens.take()
        {
            happens();
        }
    }
}

fn checked_while(rig: &Rig, step: &'static str, happens: impl FnMut()) -> Summary {
    let mut listener = Meanwhile {
        step,
        happens: Some(happens),
        heard: Heard::default(),
    };
    let summary = check(&rig.what(false), &mut listener).unwrap();
    assert!(listener.happens.is_none(), "{step} is no step");
    assert_eq!(summary.differences(), 0, "{:?}", listener.heard.0);
    summary
}

/// Says of a file that nobody wrote it lately.
fn make_old(path: &Path) {
    let then = SystemTime::now() - 2 * FRESH;
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(then)
        .unwrap();
}

/// A check that began before a server did: what that one writes and deletes from then on differs from nothing.
#[test]
fn a_server_that_begins_meanwhile_makes_no_differences() {
    let rig = Rig::new();
    let mut lock = None;
    let summary = checked_while(&rig, "reading the index", || {
        lock = Some(Lock::take(&rig.index(), Duration::ZERO).unwrap());
        rig.sql("UPDATE segment SET state = 0 WHERE id = 3; DELETE FROM span WHERE camera = 1");
        rig.open().mend(&[(1, NOON_90K / 90_000 / 86_400)], true).unwrap();
        fs::copy(rig.path(0), rig.path(0).with_file_name("just now.mp4")).unwrap();
    });
    assert_eq!((summary.being_written, summary.server.is_some()), (2, true));
    drop(lock);
    // It was there for a moment, and deleted what is oldest.
    let rig = Rig::new();
    let path = rig.path(2);
    checked_while(&rig, "comparing rows with files", || {
        fs::remove_file(&path).unwrap();
        rig.sql("DELETE FROM segment WHERE id = 3");
    });
}

/// What is found gets lower numbers than what is recorded; it is looked for wherever it is.
#[test]
fn a_file_that_a_server_takes_into_the_index_meanwhile_is_known() {
    let rig = Rig::new();
    rig.sql("CREATE TABLE kept AS SELECT * FROM segment WHERE id = 1; DELETE FROM segment WHERE id = 1");
    rig.open().mend(&[(1, NOON_90K / 90_000 / 86_400)], true).unwrap();
    make_old(&rig.path(0));
    assert_eq!(rig.found(false), [(Kind::FileUnknown, 1)].into());
    let _lock = Lock::take(&rig.index(), Duration::ZERO).unwrap();
    make_old(&Lock::path_of(&rig.index()));
    assert_eq!(
        rig.found(false),
        [(Kind::FileUnknown, 1)].into(),
        "it is nobody's by now"
    );
    checked_while(&rig, "looking for files without a row", || {
        rig.sql("INSERT INTO segment SELECT * FROM kept");
    });
    rig.sql("DELETE FROM segment WHERE id = 1");
    // Or it removes what is of no use.
    let path = rig.path(0);
    checked_while(&rig, "looking for files without a row", || {
        fs::remove_file(&path).unwrap();
    });
}

/// A server that has just begun looks through the disk before it tells anybody.
#[test]
fn beside_a_server_that_has_just_begun_unknown_files_are_its_own() {
    let rig = Rig::new();
    fs::copy(rig.path(0), rig.path(0).with_file_name("once more.mp4")).unwrap();
    make_old(&rig.path(0).with_file_name("once more.mp4"));
    let _lock = Lock::take(&rig.index(), Duration::ZERO).unwrap();
    let summary = check(&rig.what(false), &mut Heard::default()).unwrap();
    assert_eq!((summary.differences(), summary.being_adopted), (0, 1));
}

/// One with a state folder of its own records here: what it writes is not told to this index, and nothing is mended meanwhile.
#[test]
fn beside_a_server_with_another_index_nothing_is_mended() {
    let rig = Rig::new();
    let (volume, _) = Root(rig.root()).look(None).unwrap();
    let claim = volume.claim(Duration::ZERO).unwrap();
    let summary = check(&rig.what(false), &mut Heard::default()).unwrap();
    assert_eq!(summary.server, Some(Server { process: None }));
    let before = figures(&rig.rows());
    let refused = [
        plan(&rig.what(false), &mut Heard::default()).map(drop).unwrap_err(),
        rebuild(&rig.what(false), &clocks(), &mut Heard::default())
            .map(drop)
            .unwrap_err(),
    ];
    for refused in refused {
        assert!(
            matches!(&refused, Unmendable::Away(why) if why.contains("already")),
            "{refused}"
        );
    }
    drop(claim);
    assert_eq!(figures(&rig.rows()), before);
    rig.repair(false);
}

/// Ours, and no recordings.
#[test]
fn filmstrips_and_exports_are_no_files_of_others() {
    let rig = Rig::new();
    fs::write(rig.path(0).with_extension("strip"), "tiles").unwrap();
    fs::create_dir(rig.root().join(".exports")).unwrap();
    for name in ["1.mp4", ".1.json"] {
        fs::write(rig.root().join(".exports").join(name), "an export").unwrap();
    }
    let summary = check(&rig.what(true), &mut Heard::default()).unwrap();
    assert_eq!((summary.differences(), summary.other_files), (0, 0));
    // The first is an export by now.
    fs::write(rig.path(1).with_file_name("notes.txt"), "of somebody").unwrap();
    let summary = check(&rig.what(true), &mut Heard::default()).unwrap();
    assert_eq!((summary.differences(), summary.other_files), (0, 1));
}

#[test]
fn nothing_to_check_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let what = What {
        root: folder.path().join("recordings"),
        index: folder.path().join("recordings.sqlite"),
        deep: false,
    };
    let error = check(&what, &mut Heard::default()).unwrap_err();
    assert!(matches!(error, Error::Nothing { .. }), "{error}");
    let rig = Rig::new();
    fs::remove_file(rig.index()).unwrap();
    let error = check(&rig.what(false), &mut Heard::default()).unwrap_err();
    assert!(matches!(error, Error::NoIndex { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
    fs::write(rig.index(), "no database").unwrap();
    let error = check(&rig.what(false), &mut Heard::default()).unwrap_err();
    assert!(matches!(error, Error::Index(index::Error::Damaged { .. })), "{error}");
}

fn told(rig: &Rig) {
    let index = rig.open();
    let camera: StreamName = "yard".parse().unwrap();
    let range_90k = NOON_90K..NOON_90K + 90_000;
    let why = "kept".to_owned();
    index
        .protect(Protected {
            camera: camera.clone(),
            range_90k: range_90k.clone(),
            why,
        })
        .unwrap();
    let event = Event {
        id: EventId(1),
        camera,
        kind: "bell".to_owned(),
        start_90k: range_90k.start,
        end_90k: range_90k.end,
        score: None,
        data: String::new(),
    };
    index.write(Change::Event(event)).unwrap();
    index.close().unwrap();
}

fn figures(rows: &[Row]) -> Vec<(String, i64, i64, u64, u32, u64)> {
    let figures = |row: &Row| {
        (
            row.path.clone(),
            row.start_90k,
            row.duration_90k,
            row.bytes,
            row.crc,
            row.run,
        )
    };
    let mut figures: Vec<_> = rows.iter().map(figures).collect();
    figures.sort();
    figures
}

#[test]
fn an_index_is_made_anew_with_what_people_told() {
    let rig = Rig::new();
    told(&rig);
    let before = (figures(&rig.rows()), rig.files());
    let (rebuilt, summary) = rebuild(&rig.what(false), &clocks(), &mut Heard::default()).unwrap();
    assert_eq!(summary.differences(), 0, "{:?}", summary.found);
    let taken = rebuilt.taken_over.unwrap();
    assert_eq!((taken.events, taken.protected, rebuilt.has_all_told), (1, 1, true));
    assert!(rebuilt.aside.is_some_and(|aside| aside.exists()));
    assert!((figures(&rig.rows()), rig.files()) == before);
    assert_eq!(rig.found(true), BTreeMap::new());
    let reader = IndexReader::of_file(&rig.index()).unwrap();
    assert_eq!(reader.protected(None, None).unwrap().items.len(), 1);
}

/// It was killed when some files were found: the next call goes on, and puts nothing more aside.
#[test]
fn a_rebuild_that_was_interrupted_goes_on() {
    let rig = Rig::new();
    told(&rig);
    let before = figures(&rig.rows());
    super::super::index::put_aside(&rig.index()).unwrap();
    let index = rig.open();
    let first = SegmentId(index.keep_segments(0).start);
    index
        .write(Change::Adopting {
            storage: STORAGE,
            first: Some(first),
        })
        .unwrap();
    index.close().unwrap();
    let (rebuilt, summary) = rebuild(&rig.what(false), &clocks(), &mut Heard::default()).unwrap();
    assert_eq!((rebuilt.went_on, rebuilt.aside, summary.differences()), (true, None, 0));
    assert_eq!(figures(&rig.rows()), before);
    assert_eq!(
        IndexReader::of_file(&rig.index())
            .unwrap()
            .protected(None, None)
            .unwrap()
            .items
            .len(),
        1
    );
    // All of it is there by now: the next one begins anew.
    let (rebuilt, _) = rebuild(&rig.what(false), &clocks(), &mut Heard::default()).unwrap();
    assert!(!rebuilt.went_on && rebuilt.aside.is_some());
    assert_eq!(figures(&rig.rows()), before);
}

/// SQLite sees it: rows are not compared, nothing is mended in place, and a rebuild helps.
#[test]
fn an_index_that_is_damaged_is_made_anew() {
    let rig = Rig::new();
    let before = figures(&rig.rows());
    let mut bytes = fs::read(rig.index()).unwrap();
    let pages = bytes.len() / 4_096;
    let mut seen = 0;
    for page in 2..pages {
        bytes[page * 4_096..][..4_096].fill(0xA5);
        fs::write(rig.index(), &bytes).unwrap();
        let found = match check(&rig.what(false), &mut Heard::default()) {
            Ok(summary) => summary.found.contains_key(&Kind::IndexDamaged),
            Err(error) => {
                assert!(matches!(error, Error::Index(_)), "{error}");
                true
            }
        };
        seen += u32::from(found);
    }
    assert!(seen > 0);
    assert!(plan(&rig.what(false), &mut Heard::default()).is_err());
    let (_, summary) = rebuild(&rig.what(false), &clocks(), &mut Heard::default()).unwrap();
    assert_eq!(summary.differences(), 0, "{:?}", summary.found);
    assert_eq!(figures(&rig.rows()), before);
}

/// What was to be removed stays until a server does it; a repair removes nothing.
#[test]
fn what_is_to_be_removed_is_not_removed_by_a_repair() {
    let rig = Rig::new();
    let index = rig.open();
    assert_eq!(index.discard(vec![SegmentId(1)]).unwrap().len(), 1);
    index.close().unwrap();
    fs::copy(rig.path(1), rig.path(1).with_file_name("once more.mp4")).unwrap();
    assert_eq!(rig.found(false), [(Kind::ToRemove, 1), (Kind::FileUnknown, 1)].into());
    let before = rig.files();
    rig.repair(false);
    assert!(rig.files() == before);
    assert_eq!(rig.found(true), [(Kind::ToRemove, 1)].into());
}
