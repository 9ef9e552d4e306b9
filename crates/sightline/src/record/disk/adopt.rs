//! Files that the index does not know are looked for on a disk that came, and taken into it.
//!
//! Belongs here: one folder, one file, a part of one at a time, where nothing else is to be done. Does not belong here: which folders, and what is done when a disk comes ([`super::attach`]).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use media::recording::Head;
use media::{MediaTime, StreamName, Timescale, WallTime};

use super::super::index::{self, Change, Ended, MAX_PAGE, SegmentId};
use super::super::report::Notice;
use super::super::segment::{self, Recovered, Recovery};
use super::super::storage::{File, Place, Storage as _};
use super::super::strip;
use super::attach::{DAY_90K, camera_of, date_of, day_of, number_of};
use super::files::within_time;
use super::{Disk, FileOf};

/// What is still to be looked through.
pub(super) struct Adoption<F> {
    /// Folders of days, the oldest first.
    pub(super) folders: VecDeque<PathBuf>,
    /// Files of one of them.
    pub(super) files: VecDeque<PathBuf>,
    /// One of them that is being read.
    pub(super) reading: Option<(PathBuf, Recovery<F>)>,
    /// Paths of rows that are in no range of time.
    pub(super) known: BTreeSet<String>,
    /// For what is found; none where nothing is to be.
    pub(super) numbers: Range<i64>,
    pub(super) found: Tally,
    /// How far the time of ages was from the one that people see, in runs of the folder that is looked through, and whether it was sure; as far as rows tell.
    pub(super) ages: BTreeMap<(StreamName, u64), (i64, bool)>,
    /// Bytes that were read of them.
    pub(super) bytes: u64,
    /// Something could not be read: it is looked for at the next start.
    pub(super) has_failed: bool,
}

/// How far that has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::record) struct Looking {
    /// Folders of days that are left.
    pub(in crate::record) folders: u64,
    /// Files that the index did not know.
    pub(in crate::record) files: u64,
    /// Bytes of those that were read.
    pub(in crate::record) bytes: u64,
    /// Something could not be read, and was left out.
    pub(in crate::record) has_failed: bool,
}

impl<F: File> Adoption<F> {
    pub(super) fn progress(&self) -> Looking {
        let Tally {
            whole,
            damaged,
            removed,
        } = self.found;
        Looking {
            folders: self.folders.len() as u64,
            files: whole + damaged + removed,
            bytes: self.bytes,
            has_failed: self.has_failed,
        }
    }
}

/// What became of files.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) whole: u64,
    pub(super) damaged: u64,
    pub(super) removed: u64,
}

impl<P: Place> Disk<P> {
    /// Takes one more file into the index that it does not know, or looks through one more folder for such.
    pub(super) fn adopt_one(&mut self) {
        let Some(attached) = &mut self.attached else { return };
        let Some(mut adoption) = attached.adoption.take() else {
            return;
        };
        let done = if let Some((path, recovery)) = adoption.reading.take() {
            self.read_on(path, recovery, &mut adoption)
        } else if let Some(path) = adoption.files.pop_front() {
            self.begin_reading(&path, &mut adoption)
        } else if let Some(folder) = adoption.folders.pop_front() {
            self.unknown(&folder, &mut adoption)
                .map_err(|error| format!("{}: {error}", folder.display()))
        } else {
            return self.adopted(&adoption);
        };
        adoption.has_failed |= done.is_err();
        if let Some(attached) = &mut self.attached {
            attached.adoption = Some(adoption);
        }
        if let Err(why) = done {
            self.failing("looking through recordings", &why);
        }
    }

    /// All is looked through. What could not be read is looked for at the next start.
    fn adopted(&mut self, adoption: &Adoption<FileOf<P>>) {
        let Tally {
            whole,
            damaged,
            removed,
        } = adoption.found;
        if whole + damaged + removed > 0 {
            self.shared.notice(Notice::Recovered {
                whole,
                damaged,
                removed,
            });
        }
        let Some(attached) = &mut self.attached else { return };
        attached.made.clear();
        let storage = attached.uuid;
        if !adoption.has_failed {
            self.found.is_new = false;
            if adoption.numbers.end > 0 {
                self.tell(Change::Adopting { storage, first: None });
            }
        }
    }

    /// Finds the files of ours in a folder of which the index knows nothing, in order of time. What never got its name is removed. What cannot be read hides
    /// nothing else.
    fn unknown(&self, folder: &Path, adoption: &mut Adoption<FileOf<P>>) -> Result<(), String> {
        let Some(attached) = &self.attached else { return Ok(()) };
        let (Some(camera), Some(date)) = (folder.parent().and_then(camera_of), date_of(folder)) else {
            return Ok(());
        };
        let text = |error: io::Error| error.to_string();
        let swept = match segment::sweep(&attached.volume, folder) {
            // It went with the last of its files that were to be deleted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            swept => swept.map_err(text),
        };
        let of_folder = (camera, number_of(date));
        let mut told = BTreeMap::new();
        told.insert(
            of_folder.clone(),
            self.paths(&of_folder).map_err(|error| error.to_string())?,
        );
        // Asked last: what became garbage in between stands in both.
        let mut garbage = self.garbage_paths(attached.uuid)?;
        let mut unknown = Vec::new();
        let (mut unread, mut first) = (0_u32, None);
        for path in attached.volume.list(folder).map_err(text)? {
            let Some(name) = path.to_str().filter(|name| name.len() <= index::MAX_PATH_BYTES) else {
                continue;
            };
            let is_strip = path.extension().is_some_and(|extension| extension == strip::EXTENSION);
            let is_told = is_strip || told.values().any(|paths: &BTreeSet<String>| paths.contains(name));
            if is_told || garbage.contains(name) || adoption.known.contains(name) || attached.made.contains(&path) {
                continue;
            }
            let head = match segment::identify(&attached.volume, &path) {
                Ok(Some(head)) => head,
                Ok(None) => continue,
                Err(error) => {
                    unread += 1;
                    first.get_or_insert_with(|| format!("{name}: {error}"));
                    continue;
                }
            };
            // Its row is where its head says, whatever its folder is called by now.
            let started = self.started_90k(&head).map_err(|error| error.to_string())?;
            let of_head = (head.camera, day_of(started));
            if let Entry::Vacant(other) = told.entry(of_head) {
                let paths = self.paths(other.key()).map_err(|error| error.to_string())?;
                garbage = self.garbage_paths(attached.uuid)?;
                if other.insert(paths).contains(name) || garbage.contains(name) {
                    continue;
                }
            }
            unknown.push((head.start, head.run, head.number, path));
        }
        unknown.sort_unstable();
        adoption.ages.clear();
        adoption.files = unknown.into_iter().map(|(.., path)| path).collect();
        match first {
            Some(first) => Err(format!("{unread} files cannot be read, the first is {first}")),
            None => swept.map(drop),
        }
    }

    /// What the index knows of a camera around a day, whatever the time zone was.
    fn paths(&self, (camera, day): &(StreamName, i64)) -> Result<BTreeSet<String>, index::Error> {
        let from_90k = day.saturating_sub(2).saturating_mul(DAY_90K);
        let range_90k = from_90k..from_90k.saturating_add(5 * DAY_90K);
        let (mut found, mut behind) = (BTreeSet::new(), None);
        loop {
            let page = self.reader.segments(camera, range_90k.clone(), behind, MAX_PAGE)?;
            found.extend(page.items.into_iter().map(|row| row.path));
            behind = page.next;
            if behind.is_none() {
                return Ok(found);
            }
        }
    }

    /// When a file began: its head says so, but for what its run was moved by since.
    fn started_90k(&self, head: &Head) -> Result<i64, index::Error> {
        let moved_90k = self.reader.moved_90k(&head.camera, head.run)?;
        Ok(within_time(start_90k(head.start).saturating_add(moved_90k)))
    }

    fn begin_reading(&mut self, path: &Path, adoption: &mut Adoption<FileOf<P>>) -> Result<(), String> {
        let Some(attached) = &self.attached else { return Ok(()) };
        let begun = Recovery::begin(&attached.volume, path);
        match begun.map_err(|error| format!("{}: {error}", path.display()))? {
            Some(recovery) => self.read_on(path.to_owned(), recovery, adoption),
            None => Ok(()),
        }
    }

    /// A file that the index does not know, a part of it at a time: fragments wait no longer than that takes.
    fn read_on(
        &mut self,
        path: PathBuf,
        mut recovery: Recovery<FileOf<P>>,
        adoption: &mut Adoption<FileOf<P>>,
    ) -> Result<(), String> {
        let Some(attached) = &self.attached else { return Ok(()) };
        let before = recovery.at();
        let step = recovery.step(&attached.volume, STEP_BYTES);
        adoption.bytes += recovery.at().saturating_sub(before);
        match step.map_err(|error| format!("{}: {error}", path.display()))? {
            None => adoption.reading = Some((path, recovery)),
            Some(recovered) => self.adopt(&path, recovered, adoption)?,
        }
        Ok(())
    }

    fn adopt(&mut self, path: &Path, recovered: Recovered, adoption: &mut Adoption<FileOf<P>>) -> Result<(), String> {
        let Some(attached) = &self.attached else { return Ok(()) };
        let (Recovered::Whole { head, .. } | Recovered::Damaged { head, .. }) = &recovered else {
            adoption.found.removed += u64::from(recovered == Recovered::Removed);
            return Ok(());
        };
        let started = self.started_90k(head).map_err(|error| error.to_string())?;
        let is_cut = matches!(recovered, Recovered::Whole { cut_bytes: 1.., .. });
        let row = index::Segment {
            id: adoption
                .numbers
                .next()
                .map_or_else(|| self.index.next_segment(), SegmentId),
            camera: head.camera.clone(),
            storage: attached.uuid,
            path: path.to_string_lossy().into_owned(),
            run: head.run,
            start_90k: started,
            duration_90k: 0,
            bytes: 0,
            head_bytes: 0,
            crc: 0,
            drift_90k: 0,
            state: index::State::Open,
            ended: is_cut.then_some(Ended::Killed),
            age_end_90k: 0,
            is_age_sure: false,
        };
        let of_run = (row.camera.clone(), row.run);
        let age = match adoption.ages.get(&of_run) {
            Some(age) => Some(*age),
            None => self.age_before(&row).map_err(|error| error.to_string())?,
        };
        if let Some(age) = age {
            adoption.ages.insert(of_run, age);
        }
        self.tell_recovered(row, recovered, age, &mut adoption.found);
        Ok(())
    }

    /// Where the index has what a run recorded just before: how far the time of ages was from the one that people see, and whether it was sure.
    fn age_before(&self, row: &index::Segment) -> Result<Option<(i64, bool)>, index::Error> {
        let range_90k = row.start_90k.saturating_sub(MEETS_90K)..row.start_90k.saturating_add(1);
        let page = self.reader.segments(&row.camera, range_90k, None, MAX_PAGE)?;
        let before = page.items.into_iter().filter(|known| known.run == row.run);
        let before = before.max_by_key(|known| known.start_90k);
        Ok(before.map(|known| (known.age_end_90k.saturating_sub(known.end_90k()), known.is_age_sure)))
    }
}

/// To the nearest tick: heads have microseconds, and so a segment that began where another ended does again.
fn start_90k(start: WallTime) -> i64 {
    let tick = |us: i64| MediaTime::new(us, MICROSECONDS).rescale(Timescale::VIDEO).ticks();
    tick(start.unix_micros().saturating_add(HALF_TICK_US))
}

/// Read at a time of a file that the index does not know: 10 ms of a hard disk.
const STEP_BYTES: usize = 1 << 20;
/// How far apart files of a run are in the index at the most that follow each other, of which one was not finished in order: see `Clocks` in the design of the recorder.
const MEETS_90K: i64 = 2 * 90_000;
const HALF_TICK_US: i64 = 5;
const MICROSECONDS: Timescale = Timescale::new(1_000_000).unwrap();
