//! Room: what is deleted, and what is not recorded where nothing may be.
//!
//! A file goes in steps, each of which may be the last: its row becomes garbage, durably; it is removed; its folder is made durable; its row goes. Where somebody
//! else does the first of them, the rest is done here all the same: only here it is known whether the disk of a row is there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use media::StreamName;

use super::super::index::{self, Change, SegmentId};
use super::super::queue::SinkId;
use super::super::recorder::KeepOne;
use super::super::report::{DELETED, LeftOut, Notice, State};
use super::super::retention::{self, Why};
use super::super::storage::{Place, Room, Storage as _, Volume as _};
use super::super::strip;
use super::stuck::Stuck;
use super::{AGAIN_EVERY, Disk, path_of, text_of};

/// What is being deleted.
#[derive(Debug, Default)]
pub(super) struct Deleting {
    /// Rows that are garbage, and whose files are to be removed.
    files: VecDeque<(index::Segment, Option<Why>)>,
    bytes: u64,
    /// Files that cannot be.
    pub(super) stuck: Stuck,
    /// Files that are removed from this folder, which is not yet durable.
    removed: Vec<SegmentId>,
    folder: Option<PathBuf>,
    /// What was deleted since it was told: files, and their bytes.
    untold: BTreeMap<usize, (u64, u64)>,
    /// Cameras that have too much, of which nothing may be deleted.
    over: BTreeSet<StreamName>,
}

impl Deleting {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn push(&mut self, row: index::Segment, why: Option<Why>) {
        self.bytes = self.bytes.saturating_add(row.bytes);
        self.files.push_back((row, why));
    }

    /// What is free when all of it is gone, for a disk that has so much free now.
    fn free_bytes(&self, room: Room) -> u64 {
        room.free_bytes
            .saturating_add(self.bytes)
            .saturating_add(self.stuck.bytes)
    }

    /// Its disk went away: the rows stay garbage until it is back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl<P: Place> Disk<P> {
    /// Whether a sink may begin a file. Looks what is to go: where there is too little room at once, else once a second at the most.
    pub(super) fn room_for(&mut self, sink: SinkId) -> Result<(), LeftOut> {
        let now = self.clocks.clock.now();
        if let Some(room) = self.room() {
            let is_short = self.deleting.free_bytes(room) < self.shared.keep().free.floor_bytes(room);
            if (is_short || self.due.room <= now) && !matches!(self.state, State::Paused { .. }) {
                self.make_room_in(room);
            }
        }
        let camera = self.writers.get(&sink).map(|writer| &writer.camera);
        let is_over = camera.is_some_and(|camera| self.deleting.over.contains(camera));
        match self.state {
            State::Paused { .. } => Err(LeftOut::Full),
            _ if is_over => Err(LeftOut::Full),
            _ => Ok(()),
        }
    }

    /// Marks what is to go, and pauses where too little may.
    pub(super) fn make_room(&mut self) {
        if let Some(room) = self.room() {
            self.make_room_in(room);
        }
    }

    fn room(&mut self) -> Option<Room> {
        let room = self.attached.as_ref()?.volume.room();
        room.map_err(|error| self.failing("how much room the disk has", &error))
            .ok()
    }

    fn make_room_in(&mut self, room: Room) {
        self.due.room = self.clocks.clock.now() + PLAN_EVERY;
        let mut planned = self.unlink_stuck().and_then(|()| self.plan(room));
        if let Ok(Some(_)) = planned {
            // What was recorded last may be all that can go, and is written by the index every ten seconds only.
            planned = self.index.flush().and_then(|()| self.plan(room));
        }
        let lacks = match planned {
            Ok(lacks) => lacks,
            Err(error) => {
                self.failing("what may be deleted", &error);
                // Nothing can be deleted without the index: what is there must do.
                let floor_bytes = self.shared.keep().free.floor_bytes(room);
                let lacks_bytes = floor_bytes.saturating_sub(room.free_bytes);
                (lacks_bytes > 0).then(|| format!("{error}; {lacks_bytes} bytes are lacking"))
            }
        };
        match lacks {
            Some(why) => self.pause(why),
            None if matches!(self.state, State::Paused { .. }) => self.set_state(State::Recording),
            None => {}
        }
    }

    /// The disk is full: all that may go goes at once.
    pub(super) fn make_room_now(&mut self) {
        self.make_room();
        self.unlink(usize::MAX);
    }

    /// Makes garbage of what is to go. What is lacking then though nothing more may go, in words.
    fn plan(&mut self, room: Room) -> Result<Option<String>, index::Error> {
        let Some(attached) = &self.attached else {
            return Ok(None);
        };
        let keep = self.shared.keep();
        if self.shared.keeps_all() {
            let lacks_bytes = keep.free.floor_bytes(room).saturating_sub(room.free_bytes);
            return Ok((lacks_bytes > 0).then(|| {
                format!(
                    "the disk lacks {lacks_bytes} bytes of what is to be free, and nothing is deleted: the index of recordings was lost with what was protected; \
                     protect again what is to stay, and confirm that"
                )
            }));
        }
        let lacks_bytes = keep.free.floor_bytes(room).saturating_sub(room.free_bytes);
        if let Some(lacks) = self.deleting.stuck.lacks(lacks_bytes) {
            return Ok(lacks);
        }
        // Files that are not found yet may be older than all that are known: until then only what must go does.
        let is_adopting = attached.adoption.is_some();
        let mut used = self.reader.usage()?;
        // What lies on a disk that is away cannot go, and takes nothing of this one.
        used.retain(|usage| usage.storage == attached.uuid);
        let mut cameras: BTreeMap<i64, (&StreamName, u64)> = BTreeMap::new();
        for usage in &used {
            let (_, bytes) = cameras.entry(usage.camera_row).or_insert((&usage.camera, 0));
            *bytes = bytes.saturating_add(usage.bytes);
        }
        let names: BTreeMap<i64, StreamName> = cameras.iter().map(|(row, (name, _))| (*row, (*name).clone())).collect();
        let cameras: Vec<retention::Camera> = cameras
            .into_iter()
            .map(|(id, (name, bytes))| {
                let one = keep.cameras.get(name).unwrap_or(&keep.others);
                retention::Camera {
                    id,
                    bytes,
                    keep: one.keep,
                    keep_events: one.keep_events,
                    quota_bytes: (one.quota_bytes)
                        .filter(|_| !is_adopting)
                        .map(|quota| quota_of(one, quota)),
                }
            })
            .collect();
        let here = used.first();
        let storage = retention::Storage {
            // Where nothing of it is known, nothing of it can be deleted.
            id: here.map_or(-1, |usage| usage.storage_row),
            free_bytes: self.deleting.free_bytes(room),
            floor_bytes: keep.free.floor_bytes(room),
        };
        let usage = retention::Usage {
            cameras: &cameras,
            storages: &[storage],
            quota_bytes: keep.quota_total_bytes.filter(|_| !is_adopting).map(|quota| {
                let all = keep.cameras.values().chain([&keep.others]);
                match all.into_iter().any(|one| one.has_strips) {
                    true => strip::without_strips(quota),
                    false => quota,
                }
            }),
        };
        let now = self.carried.at(self.clocks.clock.now());
        let plan = retention::plan(&self.reader, &usage, now)?;
        let may_be_more = plan.delete.len() >= retention::MAX_DELETED;
        self.discard(&plan.delete)?;
        let over = plan.cameras_over_bytes.iter().filter_map(|(row, _)| names.get(row));
        self.deleting.over = over.filter(|_| !may_be_more).cloned().collect();
        if may_be_more {
            return Ok(None);
        }
        Ok(lacking(&plan))
    }

    fn discard(&mut self, planned: &[(retention::Segment, Why)]) -> Result<(), index::Error> {
        if planned.is_empty() {
            return Ok(());
        }
        let why: BTreeMap<i64, Why> = planned.iter().map(|(segment, why)| (segment.id, *why)).collect();
        let ids = planned.iter().map(|(segment, _)| SegmentId(segment.id)).collect();
        let mut garbage = self.index.discard(ids)?;
        // Each folder once, as each is to be made durable.
        garbage.sort_by(|one, other| one.path.cmp(&other.path));
        for row in garbage {
            let why = why.get(&row.id.0).copied();
            self.deleting.push(row, why);
        }
        Ok(())
    }

    /// Takes up what others made garbage. The index says what that is; so what is on its way already must be gone before, or it would be taken up twice.
    pub(super) fn take_up_garbage(&mut self) {
        let now = self.clocks.clock.now();
        if self.queue.take_garbage() {
            self.due.garbage = Some(now);
        }
        let is_due = self.due.garbage.is_some_and(|due| due <= now);
        if !is_due || !self.deleting.is_empty() {
            return;
        }
        if !self.is_there() {
            // When it comes, all garbage of it is looked for.
            self.due.garbage = None;
            return;
        }
        self.due.garbage = Some(now + AGAIN_EVERY);
        let Some(uuid) = self.attached.as_ref().map(|attached| attached.uuid) else {
            return;
        };
        self.tell_untold();
        if !self.untold.is_empty() {
            return;
        }
        let rows = self.index.flush().and_then(|()| self.garbage(uuid));
        match rows {
            Ok(mut rows) => {
                self.due.garbage = None;
                rows.sort_by(|one, other| one.path.cmp(&other.path));
                for row in rows {
                    self.deleting.push(row, None);
                }
            }
            Err(error) => self.failing("what is to be deleted", &error),
        }
    }

    /// Files that are open end, none is begun.
    fn pause(&mut self, why: String) {
        if !matches!(self.state, State::Paused { .. }) {
            self.due.again = self.clocks.clock.now() + AGAIN_EVERY;
        }
        self.set_state(State::Paused { why });
        self.end_all(LeftOut::Full);
    }

    /// Ends all files where they are, for a reason of the disk.
    pub(super) fn end_all(&mut self, why: LeftOut) {
        let open = self.writers.iter().filter(|(_, writer)| writer.is_open());
        let sinks: Vec<SinkId> = open.map(|(sink, _)| *sink).collect();
        for sink in sinks {
            self.refuse_rest(sink, why);
            self.finish(sink, None, Some(why.ended()));
        }
    }

    /// Removes so many of the files that are to go.
    pub(super) fn unlink(&mut self, most: usize) {
        for _ in 0..most {
            let Some((row, why)) = self.deleting.files.pop_front() else {
                break;
            };
            self.deleting.bytes = self.deleting.bytes.saturating_sub(row.bytes);
            // What no row of ours can say is left alone, and its row stays garbage.
            let Some(path) = path_of(&row) else { continue };
            self.unlink_one(&row, &path, why);
        }
        if self.deleting.files.is_empty() {
            self.settle();
        }
    }

    fn unlink_one(&mut self, row: &index::Segment, path: &Path, why: Option<Why>) {
        let folder = path.parent().unwrap_or(Path::new(""));
        if self.deleting.folder.as_deref() != Some(folder) {
            self.settle();
        }
        let Some(attached) = &self.attached else { return };
        match attached.volume.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // Its row stays garbage, and is tried again.
                self.deleting.stuck.failed(&error, row.bytes);
                return self.failing(&format!("deleting {}", path.display()), &error);
            }
            Ok(()) => self.deleting.stuck.worked(),
            Err(_) => {}
        }
        // Behind it, never in front: see `filmstrip`. A kill in between leaves the row, and this is done again.
        let removed = strip::beside(path).map(|beside| attached.volume.remove(&beside));
        match removed {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                return self.failing(&format!("deleting the filmstrip of {}", path.display()), &error);
            }
            _ => {}
        }
        self.deleting.folder = Some(folder.to_owned());
        self.deleting.removed.push(row.id);
        let Some(why) = why else { return };
        self.counters.count_deleted(why);
        let at = DELETED.iter().position(|known| *known == why).unwrap_or_default();
        let (files, bytes) = self.deleting.untold.entry(at).or_default();
        *files += 1;
        *bytes = bytes.saturating_add(row.bytes);
    }

    /// Makes durable that files are not there, and then says so.
    pub(super) fn settle(&mut self) {
        let removed = std::mem::take(&mut self.deleting.removed);
        if let (Some(folder), Some(attached)) = (self.deleting.folder.take(), &self.attached) {
            match attached.volume.sync_folder(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return self.failing(&format!("deleting in {}", folder.display()), &error);
                }
                _ => {}
            }
            // It goes with its last file; while there is another it cannot.
            let _ = attached.volume.remove_folder(&folder);
        }
        for id in removed {
            self.tell(Change::Gone(id));
        }
        for (at, (files, bytes)) in std::mem::take(&mut self.deleting.untold) {
            if let Some(why) = DELETED.get(at).copied() {
                self.shared.notice(Notice::Deleted { why, files, bytes });
            }
        }
    }

    /// Puts into the report how much there is.
    pub(super) fn say(&mut self) {
        let path = self.place.path().to_owned();
        let uuid = self.attached.as_ref().map(|attached| attached.uuid);
        let room = self.attached.as_ref().and_then(|attached| attached.volume.room().ok());
        let used = self.reader.usage().unwrap_or_default();
        let used = used
            .iter()
            .filter(|usage| Some(usage.storage) == uuid)
            .map(|usage| usage.bytes);
        let cameras = self.reader.cameras().unwrap_or_default();
        let oldest_90k = cameras.iter().map(|camera| camera.oldest_90k).min();
        let room = room.unwrap_or_default();
        let mut told = self.shared.lock();
        let storage = &mut told.0;
        storage.path = path;
        storage.free_bytes = room.free_bytes;
        storage.total_bytes = room.total_bytes;
        storage.used_bytes = used.fold(0, u64::saturating_add);
        storage.oldest_90k = oldest_90k;
    }

    /// How the storage is called in the index.
    pub(super) fn text(&self) -> String {
        text_of(self.place.path())
    }
}

/// What of a quota is for segments.
fn quota_of(one: &KeepOne, quota_bytes: u64) -> u64 {
    match one.has_strips {
        true => strip::without_strips(quota_bytes),
        false => quota_bytes,
    }
}

/// What a plan cannot do, in words. What one camera has too much is that camera's alone.
fn lacking(plan: &retention::Plan) -> Option<String> {
    let kept = "all that is left is protected, or being written";
    if plan.over_bytes > 0 {
        return Some(format!(
            "recordings take {} bytes more than `quota_total`, and {kept}",
            plan.over_bytes
        ));
    }
    let (_, lacks) = plan.storages_lack_bytes.first()?;
    Some(format!(
        "the disk lacks {lacks} bytes of what is to be free, and {kept}"
    ))
}

/// What may go is looked for again for another file.
const PLAN_EVERY: Duration = Duration::from_secs(1);
