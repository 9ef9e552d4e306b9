//! A disk comes: what a crash left on it is looked through, and it is known where to look for what the index does not know ([`super::adopt`]). A disk goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use jiff::civil::Date;
use media::StreamName;

use super::super::clock::unix_90k;
use super::super::index::{self, Change, Ended, SegmentId, StorageId};
use super::super::report::{LeftOut, State};
use super::super::segment::{self, Recovered};
use super::super::storage::{Absent, Claim, Place, Storage, Volume as _, is_of_file_system};
use super::adopt::{Adoption, Tally};
use super::files::completed;
use super::{Disk, path_of};

/// A disk that is there.
pub(super) struct Attached<V: Storage> {
    pub(super) volume: V,
    /// Nobody else records there.
    _claim: Claim,
    pub(super) uuid: StorageId,
    /// Files that the index may not know are looked for.
    pub(super) adoption: Option<Adoption<V::File>>,
    /// Files that were made since.
    pub(super) made: BTreeSet<PathBuf>,
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
        let within = std::mem::take(&mut self.found.claim_within);
        let claimed = self
            .place
            .look(new)
            .and_then(|(volume, uuid)| Ok((volume.claim(within)?, volume, uuid)));
        let (claim, volume, uuid) = match claimed {
            Ok(found) => found,
            Err(absent) => {
                // Who has it records there.
                self.found.was_clean &= !matches!(absent, Absent::InUse { .. });
                return self.set_state(without(&absent));
            }
        };
        let is_unknown = told.iter().all(|(known, _)| *known != uuid);
        let kept = match self.reader.adopting(&uuid) {
            Ok(kept) => kept,
            Err(error) => return self.failing("the index of recordings", &error),
        };
        self.attached = Some(Attached {
            volume,
            _claim: claim,
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
            None if folders.is_empty() && !has_failed => self.none_kept(),
            None => {
                // What keeps this index apart from one that was lost is needed once.
                let random = std::mem::replace(&mut self.found.random, || 0);
                let numbers = self.index.keep_segments(random());
                let first = Some(SegmentId(numbers.start));
                self.tell(Change::Adopting { storage: uuid, first });
                numbers
            }
        };
        self.tell(Change::Storage { uuid, path: text });
        // What is looked up while files are taken in is there then, and whoever checks knows that they are. What cannot be written now waits, and is told by the health of the index.
        let _ = self.index.flush();
        if let Some(attached) = &mut self.attached {
            attached.adoption = Some(Adoption {
                folders,
                known,
                files: VecDeque::new(),
                reading: None,
                numbers,
                found,
                ages: BTreeMap::new(),
                bytes: 0,
                has_failed,
            });
        }
        self.set_state(State::Recording);
    }

    /// No numbers, for there are no files. Some of an index that is lost may lie in the archive, where players ask for them by number.
    fn none_kept(&mut self) -> std::ops::Range<i64> {
        if self.found.is_new
            && let Err(error) = self.index.skip_segments((self.found.random)())
        {
            self.failing("the index of recordings", &error);
        }
        0..0
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

    pub(super) fn garbage_paths(&self, uuid: StorageId) -> Result<BTreeSet<String>, String> {
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
        // That of its beginning.
        let age = (row.age_end_90k.saturating_sub(row.start_90k), row.is_age_sure);
        self.tell_recovered(row, recovered, Some(age), tally);
    }

    /// `age`: how far the time of ages was from the one that people see when it was recorded, and whether it was sure. Where nobody knows, it is as old as this moment: no date is to be
    /// believed.
    pub(super) fn tell_recovered(
        &mut self,
        row: index::Segment,
        recovered: Recovered,
        age: Option<(i64, bool)>,
        tally: &mut Tally,
    ) {
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
        let now_90k = unix_90k(self.carried.at(self.clocks.clock.now()));
        let (age_end_90k, is_age_sure) = match age {
            // A kill sets that time back by as much as was not kept of it.
            Some((apart_90k, is_sure)) => {
                let latest_90k = now_90k.saturating_add(UNKEPT_90K);
                (row.end_90k().saturating_add(apart_90k).min(latest_90k), is_sure)
            }
            None => (now_90k, self.carried.is_sure()),
        };
        let row = index::Segment {
            state,
            bytes: row.bytes.saturating_add(behind_bytes),
            age_end_90k,
            is_age_sure,
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
}

/// How a folder is that cannot be used.
fn without(absent: &Absent) -> State {
    let why = absent.to_string();
    match absent {
        Absent::InUse { .. } => State::InUse { why },
        _ => State::Away { why },
    }
}

pub(super) fn camera_of(folder: &Path) -> Option<StreamName> {
    let name = folder.file_name().filter(|name| !is_of_file_system(name))?.to_str()?;
    StreamName::from_str(&name.replace('+', "/")).ok()
}

pub(super) fn date_of(folder: &Path) -> Option<Date> {
    folder.file_name()?.to_str()?.parse().ok()
}

/// How many days after 1970 that is.
pub(super) fn number_of(date: Date) -> i64 {
    i64::from((date - jiff::civil::date(1970, 1, 1)).get_days())
}

/// On which of these days that is, of UTC.
pub(super) fn day_of(at_90k: i64) -> i64 {
    at_90k.div_euclid(DAY_90K)
}

/// At the least. What a power cut can take of an index is what was told since its log was synchronised last: 4 MiB, hours of one camera; so the days since its
/// newest row are looked through, and two before for the time zone.
const DAYS_AFTER_CRASH: usize = 3;
/// How far the time of ages is set back by a kill at the most.
const UNKEPT_90K: i64 = super::CARRIED_EVERY.as_secs().cast_signed() * 90_000;
pub(super) const DAY_90K: i64 = 86_400 * 90_000;
