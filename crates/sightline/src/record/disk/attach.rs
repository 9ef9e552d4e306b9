//! A disk comes: what a crash left on it is looked through, and what the index does not know of it is found. A disk goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use jiff::civil::{Date, date};
use media::{MediaTime, StreamName, Timescale, WallTime};

use super::super::clock::unix_90k;
use super::super::index::{self, Change, Ended, MAX_PAGE, SegmentId, StorageId};
use super::super::report::{LeftOut, Notice, State};
use super::super::segment::{self, Recovered};
use super::super::storage::{Place, Storage as _, Volume as _};
use super::files::{completed, within_time};
use super::{Disk, path_of};

/// A disk that is there.
#[derive(Debug)]
pub(super) struct Attached<V> {
    pub(super) volume: V,
    pub(super) uuid: StorageId,
    /// Files that the index may not know are looked for.
    pub(super) adoption: Option<Adoption>,
    /// Files that were made since.
    pub(super) made: BTreeSet<PathBuf>,
}

/// What is still to be looked through.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    /// Folders of days, the oldest first.
    folders: VecDeque<PathBuf>,
    /// Files of one of them.
    files: VecDeque<PathBuf>,
    /// Paths of rows that are in no range of time.
    known: BTreeSet<String>,
    found: Tally,
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
        self.tell(Change::Storage { uuid, path: text });
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
        let days = match (self.found.is_new || is_unknown, self.found.was_clean) {
            (true, _) => usize::MAX,
            (false, true) => 0,
            (false, false) => DAYS_AFTER_CRASH,
        };
        let folders = self.days(days);
        if let Some(attached) = &mut self.attached {
            attached.adoption = Some(Adoption {
                folders,
                files: VecDeque::new(),
                known,
                found,
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
            self.deleting.push(row, None);
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

    /// What is to be removed from a storage.
    pub(super) fn garbage(&self, uuid: StorageId) -> Result<Vec<index::Segment>, index::Error> {
        self.unsettled(uuid, |disk, behind| disk.reader.garbage(behind))
    }

    fn unsettled(
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

    /// The newest folders of days of each camera, the oldest of them first.
    fn days(&mut self, most: usize) -> VecDeque<PathBuf> {
        let Some(attached) = &self.attached else {
            return VecDeque::new();
        };
        if most == 0 {
            return VecDeque::new();
        }
        let mut found = Vec::new();
        let mut unread = Vec::new();
        let cameras = attached.volume.folders(Path::new(""));
        let cameras = cameras.unwrap_or_else(|error| {
            unread.push((PathBuf::new(), error));
            Vec::new()
        });
        for camera in cameras.into_iter().filter(|camera| camera_of(camera).is_some()) {
            match attached.volume.folders(&camera) {
                Ok(mut days) => {
                    days.retain(|day| date_of(day).is_some());
                    days.sort_unstable_by(|one, other| other.file_name().cmp(&one.file_name()));
                    days.truncate(most);
                    found.append(&mut days);
                }
                Err(error) => unread.push((camera, error)),
            }
        }
        for (folder, error) in unread {
            self.failing(&format!("looking through the folder {:?}", folder.display()), &error);
        }
        found.sort_by_key(|day| date_of(day));
        found.into()
    }

    /// Takes one more file into the index that it does not know, or looks through one more folder for such.
    pub(super) fn adopt_one(&mut self) {
        let Some(attached) = &mut self.attached else { return };
        let Some(mut adoption) = attached.adoption.take() else {
            return;
        };
        let done = if let Some(path) = adoption.files.pop_front() {
            self.adopt(&path, &mut adoption.found)
                .map_err(|error| format!("{}: {error}", path.display()))
        } else if let Some(folder) = adoption.folders.pop_front() {
            let unknown = self.unknown(&folder, &adoption.known);
            unknown
                .map(|files| adoption.files = files)
                .map_err(|error| format!("{}: {error}", folder.display()))
        } else {
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
            if let Some(attached) = &mut self.attached {
                attached.made.clear();
            }
            return;
        };
        if let Some(attached) = &mut self.attached {
            attached.adoption = Some(adoption);
        }
        // What cannot be read now is looked for at the next start.
        if let Err(why) = done {
            self.failing("looking through recordings", &why);
        }
    }

    /// The files of ours in a folder of which the index knows nothing, in order of time. What never got its name is removed.
    fn unknown(&self, folder: &Path, known: &BTreeSet<String>) -> Result<VecDeque<PathBuf>, String> {
        let text = |error: io::Error| error.to_string();
        let Some(attached) = &self.attached else {
            return Ok(VecDeque::new());
        };
        let (Some(camera), Some(day)) = (folder.parent().and_then(camera_of), date_of(folder)) else {
            return Ok(VecDeque::new());
        };
        match segment::sweep(&attached.volume, folder) {
            // It went with the last of its files that were to be deleted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
            swept => swept.map_err(text)?,
        };
        let mut told = self.paths(&camera, day).map_err(|error| error.to_string())?;
        // Asked last: what became garbage in between stands in both.
        let garbage = self.garbage(attached.uuid).map_err(|error| error.to_string())?;
        told.extend(garbage.into_iter().map(|row| row.path));
        let mut unknown = Vec::new();
        for path in attached.volume.list(folder).map_err(text)? {
            let Some(name) = path.to_str() else { continue };
            if told.contains(name) || known.contains(name) || attached.made.contains(&path) {
                continue;
            }
            if name.len() > index::MAX_PATH_BYTES {
                continue;
            }
            if let Some(head) = segment::identify(&attached.volume, &path).map_err(text)? {
                unknown.push((head.start, head.run, head.number, path));
            }
        }
        unknown.sort_unstable();
        Ok(unknown.into_iter().map(|(.., path)| path).collect())
    }

    /// What the index knows of a camera around a day, whatever the time zone was.
    fn paths(&self, camera: &StreamName, day: Date) -> Result<BTreeSet<String>, index::Error> {
        let days = (day - date(1970, 1, 1)).get_days();
        let from_90k = (i64::from(days) - 2) * DAY_90K;
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

    fn adopt(&mut self, path: &Path, tally: &mut Tally) -> io::Result<()> {
        let Some(attached) = &self.attached else { return Ok(()) };
        let recovered = segment::recover(&attached.volume, path)?;
        let (Recovered::Whole { head, .. } | Recovered::Damaged { head, .. }) = &recovered else {
            tally.removed += u64::from(recovered == Recovered::Removed);
            return Ok(());
        };
        let is_cut = matches!(recovered, Recovered::Whole { cut_bytes: 1.., .. });
        let row = index::Segment {
            id: self.index.next_segment(),
            camera: head.camera.clone(),
            storage: attached.uuid,
            path: path.to_string_lossy().into_owned(),
            run: head.run,
            start_90k: within_time(start_90k(head.start)),
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
        self.tell_recovered(row, recovered, tally);
        Ok(())
    }
}

/// To the nearest tick: heads have microseconds, and so a segment that began where another ended does again.
fn start_90k(start: WallTime) -> i64 {
    let tick = |us: i64| MediaTime::new(us, MICROSECONDS).rescale(Timescale::VIDEO).ticks();
    tick(start.unix_micros().saturating_add(HALF_TICK_US))
}

fn camera_of(folder: &Path) -> Option<StreamName> {
    let name = folder.file_name()?.to_str()?;
    StreamName::from_str(&name.replace('+', "/")).ok()
}

fn date_of(folder: &Path) -> Option<Date> {
    folder.file_name()?.to_str()?.parse().ok()
}

/// What a power cut can take of an index is what was told since its log was synchronised last: 4 MiB, hours of one camera.
const DAYS_AFTER_CRASH: usize = 3;
const DAY_90K: i64 = 86_400 * 90_000;
const HALF_TICK_US: i64 = 5;
const MICROSECONDS: Timescale = Timescale::new(1_000_000).unwrap();
