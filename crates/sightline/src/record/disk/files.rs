//! Files of cameras: begun, written, ended, each with its row.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::StreamName;
use media::recording::{Fragments, Head, Whole};

use super::super::clock::unix_90k;
use super::super::index::{self, Change, Ended, MAX_SEGMENT_90K, MAX_TIME_90K};
use super::super::name;
use super::super::queue::SinkId;
use super::super::report::{LeftOut, Notice};
use super::super::segment::{Failed, Segment, Step};
use super::super::sink::{Begin, End, Piece};
use super::super::storage::{File, Place, Storage as _};
use super::Disk;

/// What one sink writes.
#[derive(Debug)]
pub(super) struct Writer<F> {
    pub(super) camera: StreamName,
    open: Option<Open<F>>,
    /// What the next file goes on with, if it continues the last.
    run: Option<Run>,
    /// The last file, which its run may turn out to end with.
    last: Option<(index::Segment, Vec<u8>)>,
    /// Why the file that is being handed over is not written.
    refused: Option<(u64, LeftOut)>,
    /// No file is begun before that.
    held: Option<Instant>,
    pause: Duration,
    /// Files that were begun since then.
    begun: (Instant, u32),
}

#[derive(Debug)]
struct Open<F> {
    /// Which of the sink's.
    file: u64,
    segment: Segment<F>,
    row: index::Segment,
    number: u32,
    table: Fragments,
    first_shown_90k: u32,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    id: u64,
    /// Of its next file.
    number: u32,
    end_90k: i64,
}

impl<F: File> Writer<F> {
    /// Lets the system begin with what is not durable.
    pub(super) fn start_sync(&self) {
        let segment = self.open.as_ref().map(|open| &open.segment);
        if let Some(segment) = segment.filter(|segment| segment.has_news()) {
            segment.start_sync();
        }
    }

    pub(super) fn new(camera: StreamName, now: Instant) -> Self {
        Self {
            camera,
            open: None,
            run: None,
            last: None,
            refused: None,
            held: None,
            pause: FIRST_PAUSE,
            begun: (now, 0),
        }
    }

    /// Counts a file. Whether it is not one too many.
    fn may_begin(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.begun;
        if now.saturating_duration_since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= MAX_FILES_A_MINUTE
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether it writes this run, or may go on with it.
    pub(super) fn writes(&self, run: u64) -> bool {
        let open = self.open.as_ref().map(|open| open.row.run);
        open == Some(run) || self.run.is_some_and(|going_on| going_on.id == run)
    }

    /// Nothing is begun for a while, and longer each time.
    fn hold(&mut self, now: Instant) -> Instant {
        let until = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.held = Some(until);
        until
    }
}

impl<P: Place> Disk<P> {
    pub(super) fn begin(&mut self, sink: SinkId, file: u64, begin: &Begin) {
        self.finish(sink, None, Some(Ended::Stopped));
        if let Err(why) = self.try_begin(sink, file, begin) {
            self.queue.refuse(sink, file, why);
            if let Some(writer) = self.writers.get_mut(&sink) {
                writer.refused = Some((file, why));
            }
            self.end_run(sink, why.ended());
        }
    }

    fn try_begin(&mut self, sink: SinkId, file: u64, begin: &Begin) -> Result<(), LeftOut> {
        let now = self.clocks.now();
        let held = self.writers.get(&sink).and_then(|writer| writer.held);
        if held.is_some_and(|until| now.monotonic < until) {
            return Err(LeftOut::Failed);
        }
        // The index has as much to write as it takes.
        if !self.untold.is_empty() {
            return Err(LeftOut::Slow);
        }
        let writer = self.writers.get_mut(&sink);
        if writer.is_some_and(|writer| !writer.may_begin(now.monotonic)) {
            return Err(LeftOut::Slow);
        }
        if self.attached.is_none() || !self.is_there() {
            return Err(LeftOut::Away);
        }
        self.room_for(sink)?;
        match self.create(sink, file, begin) {
            Ok(()) => Ok(()),
            Err(failed) => {
                let is_full = is_full(&failed.error);
                self.failed(sink, &failed);
                Err(if is_full { LeftOut::Full } else { LeftOut::Failed })
            }
        }
    }

    fn create(&mut self, sink: SinkId, file: u64, begin: &Begin) -> Result<(), Failed> {
        let (Some(attached), Some(writer)) = (&mut self.attached, self.writers.get_mut(&sink)) else {
            return Ok(());
        };
        let id = self.index.next_segment();
        let run = writer.run.take().filter(|_| begin.continues);
        let number = run.map_or(0, |run| run.number);
        let head = Head {
            storage: attached.uuid,
            camera: writer.camera.clone(),
            run: run.map_or(id.0.cast_unsigned(), |run| run.id),
            number,
            start: begin.start,
        };
        let zone = (self.clocks.zone)();
        let mut paths: Box<dyn Iterator<Item = PathBuf>> = match &begin.clip {
            Some(clip) => Box::new(name::clips(&writer.camera, begin.start, &zone, clip)),
            None => Box::new(name::segments(&writer.camera, begin.start, &zone)),
        };
        let segment = loop {
            let Some(path) = paths.next() else {
                let error = io::Error::new(io::ErrorKind::AlreadyExists, "all names are taken");
                let path = PathBuf::from(writer.camera.as_str());
                return Err(Failed {
                    step: Step::Create,
                    path,
                    error,
                });
            };
            // Making a file makes its folder durable, which a name that is taken is not worth. What cannot be told here is told there.
            if attached.volume.exists(&path).unwrap_or(false) {
                continue;
            }
            match Segment::create(&attached.volume, &path, &head, &begin.init_segment) {
                Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {}
                created => break created?,
            }
        };
        let start_90k = within_time(run.map_or_else(|| unix_90k(begin.start), |run| run.end_90k));
        // What it begins with was seen a while ago: pictures in front of an event, a fragment, what waited.
        let now = self.clocks.now();
        let waited_90k = unix_90k(now.wall).saturating_sub(start_90k).clamp(0, LONGEST_WAIT_90K);
        let row = index::Segment {
            id,
            camera: head.camera,
            storage: head.storage,
            path: segment.path().to_string_lossy().into_owned(),
            run: head.run,
            start_90k,
            duration_90k: 0,
            bytes: segment.bytes(),
            head_bytes: u32::try_from(segment.head_bytes()).unwrap_or(u32::MAX),
            crc: 0,
            drift_90k: 0,
            state: index::State::Open,
            ended: None,
            age_end_90k: unix_90k(self.carried.at(now.monotonic)).saturating_sub(waited_90k),
            is_age_sure: self.carried.is_sure(),
        };
        if run.is_none() {
            self.dateless.begin(&row.camera, row.run, begin.start);
        }
        if attached.adoption.is_some() {
            attached.made.insert(segment.path().to_owned());
        }
        self.counters.bytes += segment.head_bytes();
        writer.open = Some(Open {
            file,
            segment,
            row: row.clone(),
            number,
            table: Fragments::new(),
            first_shown_90k: begin.first_shown_90k,
        });
        self.tell(Change::Segment(row, Vec::new()));
        Ok(())
    }

    pub(super) fn piece(&mut self, sink: SinkId, file: u64, piece: &Piece) {
        let Some(writer) = self.writers.get_mut(&sink) else {
            return;
        };
        let Some(open) = writer.open.as_mut().filter(|open| open.file == file) else {
            let why = writer.refused.filter(|(refused, _)| *refused == file);
            let why = why.map_or(LeftOut::Failed, |(_, why)| why);
            self.queue.count_left_out(sink, why, 1);
            return;
        };
        let before = open.segment.bytes();
        let appended = open.segment.append(&piece.bytes, &piece.told).and_then(|()| {
            let listed = open.table.push(piece.bytes.len(), piece.duration_90k, piece.keyframe);
            listed.map_err(|error| Failed {
                step: Step::Append,
                path: open.segment.path().to_owned(),
                error: io::Error::new(io::ErrorKind::InvalidInput, error),
            })
        });
        self.counters.bytes += open.segment.bytes() - before;
        match appended {
            Ok(()) => {
                self.counters.fragments += 1;
                let growing = &self.shared.growing;
                growing.fragment(open.row.id, piece, open.segment.bytes());
            }
            Err(failed) => {
                self.queue.count_left_out(sink, reason(&failed.error), 1);
                self.give_up(sink, &failed);
            }
        }
    }

    pub(super) fn end(&mut self, sink: SinkId, file: u64, end: Option<&End>, left_out: Option<LeftOut>) {
        let is_open = self
            .writers
            .get(&sink)
            .is_some_and(|writer| writer.open.as_ref().is_some_and(|open| open.file == file));
        if !is_open {
            return;
        }
        let cut = left_out.map(LeftOut::ended);
        self.finish(sink, end, cut.or_else(|| end.is_none().then_some(Ended::Stopped)));
    }

    pub(super) fn sync_one(&mut self, sink: SinkId) {
        let begun = self.clocks.clock.now();
        let Some(writer) = self.writers.get_mut(&sink) else {
            return;
        };
        let Some(open) = &mut writer.open else { return };
        if !open.segment.has_news() {
            return;
        }
        let synchronised = open.segment.sync();
        self.count_sync(begun);
        match synchronised {
            Ok(()) => self.works(),
            Err(failed) => self.give_up(sink, &failed),
        }
    }

    fn count_sync(&mut self, begun: Instant) {
        let taken = self.clocks.clock.now().saturating_duration_since(begun);
        self.counters.syncs += 1;
        self.counters.sync_time += taken;
        self.counters.sync_longest = self.counters.sync_longest.max(taken);
    }

    /// What comes of the file that is open is left out.
    pub(super) fn refuse_rest(&mut self, sink: SinkId, why: LeftOut) {
        let Some(writer) = self.writers.get_mut(&sink) else {
            return;
        };
        if let Some(open) = &writer.open {
            writer.refused = Some((open.file, why));
            self.queue.refuse(sink, open.file, why);
        }
    }

    /// A file cannot be written any more: it ends where it is durable, and its run with it.
    fn give_up(&mut self, sink: SinkId, failed: &Failed) {
        let why = reason(&failed.error);
        self.refuse_rest(sink, why);
        self.failed(sink, failed);
        self.finish(sink, None, Some(why.ended()));
        if why == LeftOut::Full {
            self.make_room_now();
        }
    }

    /// Says that something failed, and begins no file of this camera for a while.
    fn failed(&mut self, sink: SinkId, failed: &Failed) {
        let now = self.clocks.clock.now();
        let is_full = is_full(&failed.error);
        self.failing("recording", failed);
        // A file that fails and then cannot be ended either fails once.
        let is_held = |writer: &Writer<_>| writer.held.is_some_and(|until| now < until);
        if let Some(writer) = self.writers.get_mut(&sink).filter(|writer| !is_held(writer)) {
            // Where it is full, room was made by now, or recording pauses.
            let until = if is_full { now + FIRST_PAUSE } else { writer.hold(now) };
            let why = if is_full { LeftOut::Full } else { LeftOut::Failed };
            self.queue.hold(sink, Some((until, why)));
        }
    }

    /// Ends the file of a sink, if it has one. `cut`: why it ends before its time, or why nobody said that it is complete.
    pub(super) fn finish(&mut self, sink: SinkId, end: Option<&End>, cut: Option<Ended>) {
        let (Some(attached), Some(writer)) = (&self.attached, self.writers.get_mut(&sink)) else {
            return;
        };
        let Some(open) = writer.open.take() else { return };
        let begun = self.clocks.clock.now();
        let content = Some((&open.table, open.first_shown_90k));
        let finished = open.segment.finish(&attached.volume, content);
        self.count_sync(begun);
        self.counters.lost += u64::from(finished.lost_fragments);
        // What could not be completed is whole even so.
        let failed = finished.failed.filter(|failed| failed.step != Step::Complete);
        let failed_for = failed.as_ref().map(|failed| reason(&failed.error).ended());
        let cut = cut.or(failed_for);
        let Some(whole) = finished.kept else {
            self.tell(Change::Gone(open.row.id));
            self.after(sink, failed.as_ref(), None, cut);
            return;
        };
        let age_end_90k = unix_90k(self.carried.at(self.clocks.clock.now()));
        let (mut row, table) = completed(open.row, &open.table, &whole, end.filter(|_| cut.is_none()));
        row.ended = cut.or(end.and_then(|end| end.ended));
        row.age_end_90k = age_end_90k;
        row.is_age_sure = self.carried.is_sure();
        self.tell(Change::Segment(row.clone(), table.clone()));
        self.counters.segments += 1;
        self.shared.notice(Notice::Finished {
            camera: row.camera.clone(),
            id: row.id,
            path: PathBuf::from(&row.path),
            start_90k: row.start_90k,
            duration_90k: row.duration_90k,
            bytes: row.bytes,
            head_bytes: row.head_bytes,
            fragments: Arc::new(Fragments::read(&table).unwrap_or_default()),
        });
        let run = Run {
            id: row.run,
            number: open.number.saturating_add(1),
            end_90k: row.end_90k(),
        };
        let ended = row.ended;
        if let Some(writer) = self.writers.get_mut(&sink) {
            writer.last = Some((row, table));
        }
        self.after(sink, failed.as_ref(), Some(run), ended);
    }

    fn after(&mut self, sink: SinkId, failed: Option<&Failed>, run: Option<Run>, ended: Option<Ended>) {
        let is_disk = matches!(ended, Some(Ended::DiskFailed | Ended::DiskFull));
        match failed {
            Some(failed) => self.failed(sink, failed),
            None if is_disk => {}
            None => self.works(),
        }
        let Some(writer) = self.writers.get_mut(&sink) else {
            return;
        };
        writer.run = run.filter(|_| ended.is_none());
        if failed.is_none() && run.is_some() && ended.is_none() {
            (writer.held, writer.pause) = (None, FIRST_PAUSE);
        }
        if let Some(why) = ended {
            if run.is_some() {
                writer.last = None;
            }
            let camera = writer.camera.clone();
            self.shared.notice(Notice::Ended { camera, why });
        }
    }

    /// Nothing follows on the last file of a sink, though it said that something would.
    pub(super) fn end_run(&mut self, sink: SinkId, why: Ended) {
        let Some(writer) = self.writers.get_mut(&sink) else {
            return;
        };
        writer.run = None;
        let Some((mut row, table)) = writer.last.take() else {
            return;
        };
        let camera = row.camera.clone();
        row.ended = Some(why);
        self.tell(Change::Segment(row, table));
        self.shared.notice(Notice::Ended { camera, why });
    }
}

/// The row of a file that is complete, and its table.
pub(in crate::record) fn completed(
    row: index::Segment,
    table: &Fragments,
    whole: &Whole,
    end: Option<&End>,
) -> (index::Segment, Vec<u8>) {
    let mut kept = Fragments::new();
    let rows = table.iter().take(whole.fragments as usize);
    // They were in a table before.
    let is_listed = rows
        .map(|row| kept.push(row.bytes as usize, row.duration_90k, row.keyframe))
        .all(|row| row.is_ok());
    let is_all = is_listed && kept.len() == whole.fragments as usize;
    let told_90k = whole.told.map_or(0, |told| told.end_90k);
    let listed_90k = i64::try_from(kept.duration_90k()).unwrap_or(i64::MAX);
    let media_90k = if is_all { listed_90k } else { told_90k };
    let start_90k = within_time(end.map_or(row.start_90k, |end| end.span.start_90k));
    let duration_90k = end.map_or(media_90k, |end| end.span.end_90k.saturating_sub(end.span.start_90k));
    let row = index::Segment {
        start_90k,
        duration_90k: duration_90k.clamp(1, MAX_SEGMENT_90K),
        bytes: u64::from(row.head_bytes) + whole.bytes,
        crc: whole.crc,
        drift_90k: end.map_or(0, |end| end.span.drift_90k),
        state: index::State::Whole,
        ..row
    };
    let table = if is_all && kept.as_bytes().len() <= index::MAX_FRAGMENTS_BYTES {
        kept.as_bytes().to_vec()
    } else {
        Vec::new()
    };
    (row, table)
}

/// As near as the index can say.
pub(super) fn within_time(at_90k: i64) -> i64 {
    at_90k.clamp(0, MAX_TIME_90K - MAX_SEGMENT_90K)
}

fn reason(error: &io::Error) -> LeftOut {
    if is_full(error) { LeftOut::Full } else { LeftOut::Failed }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Files that one sink may begin in a minute. A publisher that changes its format with each keyframe would begin one with each, and a file takes as long as
/// thirty fragments: three folders, two files and their names are made durable.
pub(super) const MAX_FILES_A_MINUTE: u32 = 120;
const MINUTE: Duration = Duration::from_secs(60);
/// From the first picture of a file to its row, at the most: the longest pre-roll, the longest queue, and some. Clocks that are further apart say nothing of it.
const LONGEST_WAIT_90K: i64 = 5 * 60 * 90_000;
/// Until another file of a camera is begun whose last one failed; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
