//! A disk in memory and an index in a file, stepped through without threads.

mod comes_and_goes;
mod dateless;
mod faults;
mod garbage;
mod room;
mod runs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::tz::TimeZone;
use media::recording::Told;
use media::{Clock as _, StreamName};
use testkit::clock::SimClock;
use tokio::sync::broadcast;

use super::super::clock::{Span, unix_90k};
use super::super::index::{Index, MAX_TIME_90K, Opened, Reader, Segment, State as RowState};
use super::super::queue::{Popped, Queue, QueueSink};
use super::super::recorder::{Clocks, Keep};
use super::super::report::Notice;
use super::super::segment::memory::Memory;
use super::super::sink::{Begin, End, Full, Piece, Sink as _};
use super::super::storage::{Absent, Place};
use super::*;

/// `ftyp`, and a `moov` with nothing in it but room for a duration.
const INIT: &[u8] = b"\0\0\0\x10ftypiso5\0\0\0\0\0\0\0\x1cmoov\0\0\0\x14free\x01\0\0\0\0\0\0\0\0\0\0\0";
const SECOND_90K: i64 = 90_000;

/// Where [`Memory`] lies.
#[derive(Debug)]
struct Slot {
    memory: Memory,
    uuid: StorageId,
    path: PathBuf,
}

impl Place for Slot {
    type Volume = Memory;

    fn look(&mut self, _: Option<StorageId>) -> Result<(Memory, StorageId), Absent> {
        use super::super::storage::Volume as _;
        match self.memory.is_there() {
            Ok(true) => Ok((self.memory.clone(), self.uuid)),
            Ok(false) => Err(Absent::Missing(self.path.clone())),
            Err(error) => Err(Absent::Failed {
                path: self.path.clone(),
                error,
            }),
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

struct Rig {
    memory: Memory,
    clock: SimClock,
    disk: Disk<Slot>,
    queue: Queue,
    index: Arc<Index>,
    shared: Arc<Shared>,
    notices: broadcast::Receiver<Notice>,
    folder: tempfile::TempDir,
}

/// Others each time, and the same in each run of a test.
fn random() -> u64 {
    thread_local!(static STATE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
    STATE.with(|state| {
        state.set(state.get() + 1_000_003);
        state.get()
    })
}

fn camera(name: &str) -> StreamName {
    name.parse().unwrap()
}

impl Rig {
    fn new() -> Self {
        Self::on(Memory::default(), tempfile::tempdir().unwrap(), SimClock::new())
    }

    /// With what is in this memory, and in this folder of an index.
    fn on(memory: Memory, folder: tempfile::TempDir, clock: SimClock) -> Self {
        let opened = Index::open(&folder.path().join("index.db"), Duration::from_secs(3_600)).unwrap();
        let Opened {
            index,
            is_new,
            was_clean,
            ..
        } = opened;
        let index = Arc::new(index);
        let queue = Queue::new(Arc::new(clock.clone()));
        let path = PathBuf::from("/recordings");
        let shared = Arc::new(Shared::new(&path));
        let notices = shared.notices();
        let place = Slot {
            memory: memory.clone(),
            uuid: [7; 16],
            path,
        };
        let found = Found {
            is_new,
            was_clean,
            create: None,
            sync: Duration::from_secs(5),
            removes: true,
            random,
            claim_within: Duration::ZERO,
        };
        let clocks = Clocks {
            clock: Arc::new(clock.clone()),
            zone: || TimeZone::UTC,
            is_synchronised: || true,
        };
        let disk = Disk::new(
            place,
            found,
            clocks,
            queue.clone(),
            Arc::clone(&index),
            Arc::clone(&shared),
        )
        .unwrap();
        Self {
            memory,
            clock,
            disk,
            queue,
            index,
            shared,
            notices,
            folder,
        }
    }

    /// Does all that waits.
    fn work(&mut self) {
        while let Popped::Job(job) = self.queue.pop(Duration::ZERO) {
            self.disk.job(job);
            self.disk.tick();
        }
        self.disk.tick();
        while self.disk.has_more() {
            self.disk.tick();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.work();
    }

    fn reader(&self) -> Reader {
        self.index.flush().unwrap();
        self.index.reader().unwrap()
    }

    /// What the index says of a camera, in order.
    fn rows(&self, name: &str) -> Vec<Segment> {
        rows(&self.reader(), name)
    }

    fn state(&self) -> State {
        self.shared.told().0.state
    }

    fn notices(&mut self) -> Vec<Notice> {
        let mut seen = Vec::new();
        while let Ok(notice) = self.notices.try_recv() {
            seen.push(notice);
        }
        seen
    }

    /// The process ends here; another starts with what it left. `knows`: the index was written before.
    fn restart(self, knows: bool) -> Self {
        if knows {
            self.index.flush().unwrap();
        }
        let folder = copy(self.folder.path());
        self.memory.next_process();
        let (memory, clock) = (self.memory.clone(), self.clock.clone());
        drop(self);
        Self::on(memory, folder, clock)
    }
}

impl Rig {
    /// It is stopped in order, and started again.
    fn start_again(self) -> Self {
        let Self {
            memory,
            clock,
            mut disk,
            queue,
            index,
            folder,
            ..
        } = self;
        queue.close();
        disk.stop();
        // With the last who holds it the index is closed.
        drop((disk, index));
        memory.next_process();
        Self::on(memory, folder, clock)
    }

    /// Another process starts with the files alone.
    fn without_index(self) -> Self {
        self.memory.next_process();
        let (memory, clock) = (self.memory.clone(), self.clock.clone());
        drop(self);
        Self::on(memory, tempfile::tempdir().unwrap(), clock)
    }

    /// A file of a camera, while nothing else is done.
    fn record_beside(&mut self, name: &str) {
        let mut source = Source::new(self, name);
        source.begin().unwrap();
        source.fragment().unwrap();
        source.end(Some(Ended::Stopped));
        drop(source);
        while let Popped::Job(job) = self.queue.pop(Duration::ZERO) {
            self.disk.job(job);
        }
    }
}

/// The index as it lies on its disk now, without what was not written.
fn copy(from: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

fn rows(reader: &Reader, name: &str) -> Vec<Segment> {
    reader
        .segments(&camera(name), 0..MAX_TIME_90K, None, 1_000)
        .unwrap()
        .items
}

/// A camera that sends a fragment a second.
struct Source {
    sink: QueueSink,
    clock: SimClock,
    /// Where its run is.
    at_90k: Option<i64>,
    number: i64,
    bytes: usize,
}

impl Source {
    fn new(rig: &Rig, name: &str) -> Self {
        Self {
            sink: rig.queue.sink(&camera(name)),
            clock: rig.clock.clone(),
            at_90k: None,
            number: 0,
            bytes: 100,
        }
    }

    fn begin(&mut self) -> Result<(), Full> {
        let wall = self.clock.wall();
        let start_90k = self.at_90k.unwrap_or_else(|| unix_90k(wall));
        let continues = self.at_90k.is_some();
        self.number = 0;
        let begun = self.sink.begin(Begin {
            init_segment: Bytes::from_static(INIT),
            start: from_unix_90k(start_90k),
            first_shown_90k: 0,
            continues,
            clip: None,
        });
        self.at_90k = begun.is_ok().then_some(start_90k);
        begun
    }

    fn fragment(&mut self) -> Result<(), Full> {
        self.number += 1;
        let content = vec![self.number as u8; self.bytes];
        let bytes = [&(8 + content.len() as u32).to_be_bytes()[..], b"mdat", &content].concat();
        self.sink.fragment(Piece {
            bytes: Bytes::from(bytes),
            duration_90k: SECOND_90K as u32,
            keyframe: true,
            told: Told {
                end_90k: self.number * SECOND_90K,
                wall: self.clock.wall(),
            },
        })
    }

    fn end(&mut self, ended: Option<Ended>) {
        let start_90k = self.at_90k.unwrap_or_default();
        let end_90k = start_90k + self.number * SECOND_90K;
        self.sink.end(End {
            span: Span {
                start_90k,
                end_90k,
                drift_90k: 0,
            },
            ended,
        });
        self.at_90k = ended.is_none().then_some(end_90k);
    }

    /// A file of so many fragments, a second each, while the disk works.
    fn file(&mut self, rig: &mut Rig, fragments: usize) -> Result<(), Full> {
        let mut done = self.begin();
        rig.work();
        for _ in 0..fragments {
            rig.pass(Duration::from_secs(1));
            if done.is_ok() {
                done = self.fragment();
                rig.work();
            }
        }
        self.end(done.is_err().then_some(Ended::DiskSlow));
        rig.work();
        done
    }
}

/// Files on the disk, but for their beginnings that have no name yet.
fn files(memory: &Memory) -> Vec<(String, Vec<u8>)> {
    let files = memory.files().into_iter();
    files
        .map(|(path, bytes)| (path.to_string_lossy().into_owned(), bytes))
        .collect()
}

/// Rows and files are of one mind, and nothing is left open.
fn assert_agrees(rig: &Rig, what: &str) {
    let reader = rig.reader();
    assert!(reader.open_segments(None).unwrap().items.is_empty(), "{what}: open");
    assert!(reader.garbage(None).unwrap().items.is_empty(), "{what}: garbage");
    let mut told: Vec<(String, u64)> = Vec::new();
    for camera in reader.cameras().unwrap() {
        for row in rows(&reader, camera.camera.as_str()) {
            assert_eq!(row.state, RowState::Whole, "{what}: {row:?}");
            told.push((row.path, row.bytes));
        }
    }
    told.sort_unstable();
    let there: Vec<(String, u64)> = files(&rig.memory)
        .into_iter()
        .map(|(path, bytes)| (path, bytes.len() as u64))
        .collect();
    assert_eq!(told, there, "{what}");
}

/// Of an index that is lost with its disk, files may lie in the archive, which players ask for by number.
#[test]
fn a_new_index_does_not_begin_with_the_numbers_of_another() {
    let ids: Vec<i64> = (0..2)
        .map(|_| {
            let mut rig = Rig::new();
            rig.work();
            // It is killed before it has recorded anything.
            rig = rig.restart(false);
            rig.work();
            rig.record_beside("door");
            rig.rows("door").first().unwrap().id.0
        })
        .collect();
    assert!(ids[0] > 1_000_000 && ids[1] > ids[0], "{ids:?}");
}
