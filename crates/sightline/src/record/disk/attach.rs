//! A disk comes: what a crash left on it is looked through, and what the index does not know of it is found. A disk goes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use jiff::civil::Date;
use media::recording::Head;
use media::{MediaTime, StreamName, Timescale, WallTime};

use super::super::clock::unix_90k;
use super::super::index::{self, Change, Ended, MAX_PAGE, SegmentId, StorageId};
use super::super::report::{LeftOut, Notice, State};
use super::super::segment::{self, Recovered, Recovery};
use super::super::storage::{File, Place, Storage, Volume as _, is_of_file_system};
use super::super::strip;
use super::files::{completed, within_time};
use super::{Disk, FileOf, path_of};

/// A disk that is there.
pub(super) struct Attached<V: Storage> {
    pub(super) volume: V,
    pub(super) uuid: StorageId,
    /// Files that the index may not know are looked for.
    pub(super) adoption: Option<Adoption<V::File>>,
    /// Files that were made since.
    pub(super) made: BTreeSet<PathBuf>,
}

/// What is still to be looked through.
pub(super) struct Adoption<F> {
    /// Folders of days, the oldest first.
    folders: VecDeque<PathBuf>,
    /// Files of one of them.
    files: VecDeque<PathBuf>,
    /// One of them that is being read.
    reading: Option<(PathBuf, Recovery<F>)>,
    /// Paths of rows that are in no range of time.
    known: BTreeSet<String>,
    /// For what is found; none where nothing is to be.
    numbers: Range<i64>,
    found: Tally,
    /// Bytes that were read of them.
    bytes: u64,
    /// Something could not be read: it is looked for at the next start.
    has_failed: bool,
}

/// Which folders may hold files that the index does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// All: nothing of the storage is known, or not all of it was looked through the last time.
    All,
    /// The newest of each camera: the program was killed, or the power went.
    Newest,
    /// None: it was closed in order.
    None,
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
struct Tally {
    whole: u64,
    damaged: u64,
    removed: u64,
}

impl<P: Place> Disk<P> {
    /// Whether the disk is still there. Where it is not, nothing of it is used any more.
    pub(super) fn is_there(&mut self) -> bool {
        let Some(attached) = &self.attached else { return false };
        let why = match attached.volume.is_there() {
            Ok(true) => return true,
            Ok(false) => match self.place.look(None) {
                Err(absent) => absent.to_string(),
                Ok(_) => format!("{} is another disk than before", self.place.path().display()),
            },
            Err(error) => format!("{} cannot be read: {error}", self.place.path().display()),
        };
        self.end_all(LeftOut::Away);
        self.settle();
        self.attached = None;
        self.deleting.clear();
        // What comes may be another disk, and it may have been written elsewhere.
        self.found.was_clean = false;
        self.set_state(State::Away { why });
        self.due.again = self.clocks.clock.now() + super::AGAIN_EVERY;
        false
    }

    /// Looks for the disk.
    pub(super) fn attach(&mut self) {
        let told = match self.index.flush().and_then(|()| self.reader.storages()) {
            Ok(told) => told,
            Err(error) => return self.failing("the index of recordings", &error),
        };
        let text = self.text();
        // A folder that was a storage and is empty now is a mount point without its disk.
        let is_known = told.iter().any(|(_, path)| *path == text);
        let new = self.found.create.filter(|_| !is_known).map(|number| number());
        let (volume, uuid) = match self.place.look(new) {
            Ok(found) => found,
            Err(absent) => {
                return self.set_state(State::Away {
                    why: absent.to_string(),
                });
            }
        };
        let is_unknown = told.iter().all(|(known, _)| *known != uuid);
        let kept = match self.reader.adopting(&uuid) {
            Ok(kept) => kept,
            Err(error) => return self.failing("the index of recordings", &error),
        };
        self.attached = Some(Attached {
            volume,
            uuid,
            adoption: None,
            made: BTreeSet::new(),
        });
        let (known, found) = match self.recover_known(uuid) {
            Ok(recovered) => recovered,
            Err(error) => {
                // It is looked for again, and then all of this is done again.
                self.attached = None;
                self.deleting.clear();
                return self.failing("the index of recordings", &error);
            }
        };
        let look = match (self.found.is_new || is_unknown || kept.is_some(), self.found.was_clean) {
            (true, _) => Look::All,
            (false, true) => Look::None,
            (false, false) => Look::Newest,
        };
        let (folders, has_failed) = self.days(look);
        let numbers = match kept {
            Some(numbers) => numbers,
            None if folders.is_empty() && !has_failed => 0..0,
            None => {
                let numbers = self.index.keep_segments((self.found.random)());
                let first = Some(SegmentId(numbers.start));
                self.tell(Change::Adopting { storage: uuid, first });
                numbers
            }
        };
        self.tell(Change::Storage { uuid, path: text });
        if let Some(attached) = &mut self.attached {
            attached.adoption = Some(Adoption {
                folders,
                known,
                files: VecDeque::new(),
                reading: None,
                numbers,
                found,
                bytes: 0,
                has_failed,
            });
        }
        self.set_state(State::Recording);
    }

    /// Completes files that were being written, and goes on deleting those that were to be. The paths of both.
    fn recover_known(&mut self, uuid: StorageId) -> Result<(BTreeSet<String>, Tally), index::Error> {
        let mut known = BTreeSet::new();
        let mut tally = Tally::default();
        for row in self.garbage(uuid)? {
            known.insert(row.path.clone());
            if self.found.removes {
                self.deleting.push(row, None);
            }
        }
        let rows = self.unsettled(uuid, |disk, behind| disk.reader.open_segments(behind))?;
        let mut last = BTreeMap::new();
        for row in &rows {
            let newest = last.entry((row.camera.clone(), row.run)).or_insert(row.id);
            *newest = row.id.max(*newest);
        }
        for row in rows {
            known.insert(row.path.clone());
            let is_last = last.get(&(row.camera.clone(), row.run)) == Some(&row.id);
            self.recover_row(row, is_last, &mut tally);
        }
        Ok((known, tally))
    }

    fn garbage_paths(&self, uuid: StorageId) -> Result<BTreeSet<String>, String> {
        let garbage = self.garbage(uuid).map_err(|error| error.to_string())?;
        Ok(garbage.into_iter().map(|row| row.path).collect())
    }

    /// What is to be removed from a storage.
    pub(super) fn garbage(&self, uuid: StorageId) -> Result<Vec<index::Segment>, index::Error> {
        self.unsettled(uuid, |disk, behind| disk.reader.garbage(behind))
    }

    pub(super) fn unsettled(
        &self,
        uuid: StorageId,
        ask: impl Fn(&Self, Option<SegmentId>) -> Result<index::Page<index::Segment, SegmentId>, index::Error>,
    ) -> Result<Vec<index::Segment>, index::Error> {
        let (mut rows, mut behind) = (Vec::new(), None);
        loop {
            let page = ask(self, behind)?;
            rows.extend(page.items.into_iter().filter(|row| row.storage == uuid));
            behind = page.next;
            if behind.is_none() {
                return Ok(rows);
            }
        }
    }

    /// Makes of a file that was being written what is whole of it.
    fn recover_row(&mut self, row: index::Segment, is_last: bool, tally: &mut Tally) {
        let (Some(attached), Some(path)) = (&self.attached, path_of(&row)) else {
            return;
        };
        let recovered = match segment::recover(&attached.volume, &path) {
            Ok(recovered) => recovered,
            // Its row stays open, and it is tried at the next start: one bad sector must not keep a disk from being used.
            Err(error) => return self.failing(&format!("looking through {}", path.display()), &error),
        };
        let row = index::Segment {
            ended: is_last.then_some(Ended::Killed),
            ..row
        };
        self.tell_recovered(row, recovered, tally);
    }

    fn tell_recovered(&mut self, row: index::Segment, recovered: Recovered, tally: &mut Tally) {
        let (head_bytes, whole, table, behind_bytes, state) = match recovered {
            Recovered::Whole {
                head_bytes,
                whole,
                table,
                ..
            } => (head_bytes, whole, table, 0, index::State::Whole),
            Recovered::Damaged {
                head_bytes,
                whole,
                table,
                behind_bytes,
                ..
            } => (head_bytes, whole, table, behind_bytes, index::State::Damaged),
            Recovered::Removed | Recovered::NotOurs => {
                tally.removed += 1;
                return self.tell(Change::Gone(row.id));
            }
        };
        match state {
            index::State::Damaged => tally.damaged += 1,
            _ => tally.whole += 1,
        }
        let row = index::Segment {
            head_bytes: u32::try_from(head_bytes).unwrap_or(u32::MAX),
            ..row
        };
        let (row, table) = completed(row, &table.unwrap_or_default(), &whole, None);
        let row = index::Segment {
            state,
            bytes: row.bytes.saturating_add(behind_bytes),
            age_end_90k: unix_90k(self.carried.at(self.clocks.clock.now())),
            is_age_sure: self.carried.is_sure(),
            ..row
        };
        self.tell(Change::Segment(row, table));
    }

    /// Folders of days, the oldest of them first, and whether some may be missing.
    fn days(&mut self, look: Look) -> (VecDeque<PathBuf>, bool) {
        let Some(attached) = self.attached.as_ref().filter(|_| look != Look::None) else {
            return (VecDeque::new(), false);
        };
        // All folders of a camera of which nothing is known, or it cannot be said.
        let known = self.reader.cameras().unwrap_or_default().into_iter();
        let newest: BTreeMap<StreamName, i64> = known
            .filter(|_| look == Look::Newest)
            .map(|camera| (camera.camera, day_of(camera.newest_90k)))
            .collect();
        let mut found = Vec::new();
        let mut unread = Vec::new();
        let cameras = attached.volume.folders(Path::new(""));
        let cameras = cameras.unwrap_or_else(|error| {
            unread.push((PathBuf::new(), error));
            Vec::new()
        });
        for camera in cameras {
            let Some(name) = camera_of(&camera) else { continue };
            match attached.volume.folders(&camera) {
                Ok(mut days) => {
                    days.retain(|day| date_of(day).is_some());
                    days.sort_unstable_by(|one, other| other.file_name().cmp(&one.file_name()));
                    let newest = newest.get(&name).copied().unwrap_or(i64::MIN);
                    let is_new =
                        |day: &Path| date_of(day).is_some_and(|date| number_of(date) >= newest.saturating_sub(2));
                    // Some at the least: the newest row may be of a clock that was ahead by years.
                    let some = days.iter().take_while(|day| is_new(day)).count();
                    days.truncate(some.max(DAYS_AFTER_CRASH));
                    found.append(&mut days);
                }
                Err(error) => unread.push((camera, error)),
            }
        }
        let has_failed = !unread.is_empty();
        for (folder, error) in unread {
            self.failing(&format!("looking through the folder {:?}", folder.display()), &error);
        }
        found.sort_by_key(|day| date_of(day));
        (found.into(), has_failed)
    }

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
        self.tell_recovered(row, recovered, &mut adoption.found);
        Ok(())
    }
}

/// To the nearest tick: heads have microseconds, and so a segment that began where another ended does again.
fn start_90k(start: WallTime) -> i64 {
    let tick = |us: i64| MediaTime::new(us, MICROSECONDS).rescale(Timescale::VIDEO).ticks();
    tick(start.unix_micros().saturating_add(HALF_TICK_US))
}

fn camera_of(folder: &Path) -> Option<StreamName> {
    let name = folder.file_name().filter(|name| !is_of_file_system(name))?.to_str()?;
    StreamName::from_str(&name.replace('+', "/")).ok()
}

fn date_of(folder: &Path) -> Option<Date> {
    folder.file_name()?.to_str()?.parse().ok()
}

/// How many days after 1970 that is.
fn number_of(date: Date) -> i64 {
    i64::from((date - jiff::civil::date(1970, 1, 1)).get_days())
}

/// On which of these days that is, of UTC.
fn day_of(at_90k: i64) -> i64 {
    at_90k.div_euclid(DAY_90K)
}

/// At the least. What a power cut can take of an index is what was told since its log was synchronised last: 4 MiB, hours of one camera; so the days since its
/// newest row are looked through, and two before for the time zone.
const DAYS_AFTER_CRASH: usize = 3;
/// Read at a time of a file that the index does not know: 10 ms of a hard disk.
const STEP_BYTES: usize = 1 << 20;
const DAY_90K: i64 = 86_400 * 90_000;
const HALF_TICK_US: i64 = 5;
const MICROSECONDS: Timescale = Timescale::new(1_000_000).unwrap();
