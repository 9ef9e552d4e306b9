//! What is deleted of recordings.
//!
//! Belongs here: which segments go, and why, as a function of what there is, what the settings allow and how much room the disks have. Does not belong
//! here: deleting, where it is written down what there is ([`Segments`] hands it over), what time it is ([`super::clock::Carried`]).
//!
//! What is protected never goes. The rest goes in the order in which it was recorded: what is too old; what a camera has too much; what all have too much;
//! what a disk wants free. Sizes never ask a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use media::WallTime;

/// A segment that is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its row. What was recorded later has a higher one.
    pub id: i64,
    /// Whose.
    pub camera: i64,
    /// In which folder of recordings.
    pub storage: i64,
    /// Of the file.
    pub bytes: u64,
    /// Its end, in the time that age is counted in ([`super::clock::Carried`]). Not the date that people see.
    pub ended: WallTime,
    /// Something happened in it.
    pub has_event: bool,
    /// It is never deleted.
    pub is_protected: bool,
}

/// Which segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Of one camera, by its row; `None`: of all.
    pub camera: Option<i64>,
    /// In these folders of recordings alone, by their rows.
    pub storages: &'a [i64],
    /// Those alone in which nothing happened.
    pub without_events: bool,
}

/// Where it is written down what there is: as many rows are read as are needed, of millions. The index is one
/// ([`Reader`](super::index::Reader)).
pub trait Segments {
    /// Why it cannot be read.
    type Error;

    /// Hands over what is in the scope, in the order of recording, until it is told to break. What is protected may be left out.
    ///
    /// # Errors
    /// It cannot be read.
    fn oldest(&self, scope: Scope<'_>, visit: &mut dyn FnMut(&Segment) -> ControlFlow<()>) -> Result<(), Self::Error>;
}

/// A camera, and what it may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Camera {
    /// Its row.
    pub id: i64,
    /// What it has, protected and all.
    pub bytes: u64,
    /// For how long; `None`: for ever.
    pub keep: Option<Duration>,
    /// For how long what has an event, if that is longer.
    pub keep_events: Option<Duration>,
    /// How much; `None`: no limit.
    pub quota_bytes: Option<u64>,
}

/// A folder of recordings that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Its row.
    pub id: i64,
    /// Free on its disk for this process, with what it is about to free.
    pub free_bytes: u64,
    /// What is to be free: [`floor_bytes`].
    pub floor_bytes: u64,
}

/// What there is, summed up.
#[derive(Clone, Copy, Debug)]
pub struct Usage<'a> {
    /// All cameras that have something.
    pub cameras: &'a [Camera],
    /// All storages that are there. What lies in another is not deleted.
    pub storages: &'a [Storage],
    /// How much all cameras may have; `None`: no limit.
    pub quota_bytes: Option<u64>,
}

/// Why a segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is older than its camera keeps.
    Age,
    /// Its camera has too much.
    CameraQuota,
    /// All cameras together have too much.
    Quota,
    /// Its disk has too little room.
    Room,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// These go, in this order. As many as [`MAX_DELETED`]: there may be more.
    pub delete: Vec<(Segment, Why)>,
    /// Cameras that have too much even then, and how much. Where no segment goes, what they have is protected or away, and they cannot be recorded.
    pub cameras_over_bytes: Vec<(i64, u64)>,
    /// What all have too much even then; likewise.
    pub over_bytes: u64,
    /// Storages with too little room even then, and how much they lack; likewise.
    pub storages_lack_bytes: Vec<(i64, u64)>,
}

/// What goes, as things are. `now`: [`super::clock::Carried::at`].
///
/// # Errors
/// What there is cannot be read.
pub fn plan<S: Segments>(segments: &S, usage: &Usage<'_>, now: WallTime) -> Result<Plan, S::Error> {
    let mut planning = Planning::new(segments, usage);
    let there: Vec<i64> = usage.storages.iter().map(|storage| storage.id).collect();
    let all = Scope {
        camera: None,
        storages: &there,
        without_events: false,
    };
    for camera in usage.cameras {
        planning.take_old(camera, &there, now)?;
    }
    for camera in usage.cameras {
        let scope = Scope {
            camera: Some(camera.id),
            ..all
        };
        planning.take_while(Why::CameraQuota, scope, |left| left.camera_over_bytes(camera) > 0)?;
    }
    planning.take_while(Why::Quota, all, |left| left.over_bytes(usage) > 0)?;
    for storage in usage.storages {
        let scope = Scope {
            storages: std::slice::from_ref(&storage.id),
            ..all
        };
        planning.take_while(Why::Room, scope, |left| left.lacks_bytes(storage) > 0)?;
    }
    Ok(planning.plan())
}

/// What is to be free on a disk of this size where the settings say nothing: a twentieth, at least 1 GiB, but never more than a quarter.
pub fn floor_bytes(disk_bytes: u64) -> u64 {
    (disk_bytes / 20).max(1 << 30).min(disk_bytes / 4)
}

/// What is left while a plan is made.
#[derive(Debug)]
struct Left {
    cameras: BTreeMap<i64, u64>,
    all: u64,
    /// What is freed of each storage that is there.
    freed: BTreeMap<i64, u64>,
}

impl Left {
    fn camera_over_bytes(&self, camera: &Camera) -> u64 {
        let bytes = self.cameras.get(&camera.id).copied().unwrap_or_default();
        camera.quota_bytes.map_or(0, |quota| bytes.saturating_sub(quota))
    }

    fn over_bytes(&self, usage: &Usage<'_>) -> u64 {
        usage.quota_bytes.map_or(0, |quota| self.all.saturating_sub(quota))
    }

    fn lacks_bytes(&self, storage: &Storage) -> u64 {
        let freed = self.freed.get(&storage.id).copied().unwrap_or_default();
        let free = storage.free_bytes.saturating_add(freed);
        storage.floor_bytes.saturating_sub(free)
    }

    fn without(&mut self, segment: &Segment) {
        if let Some(bytes) = self.cameras.get_mut(&segment.camera) {
            *bytes = bytes.saturating_sub(segment.bytes);
        }
        self.all = self.all.saturating_sub(segment.bytes);
        if let Some(freed) = self.freed.get_mut(&segment.storage) {
            *freed = freed.saturating_add(segment.bytes);
        }
    }
}

struct Planning<'a, S> {
    segments: &'a S,
    usage: &'a Usage<'a>,
    left: Left,
    gone: BTreeSet<i64>,
    delete: Vec<(Segment, Why)>,
}

impl<'a, S: Segments> Planning<'a, S> {
    fn new(segments: &'a S, usage: &'a Usage<'a>) -> Self {
        let cameras: BTreeMap<i64, u64> = usage.cameras.iter().map(|camera| (camera.id, camera.bytes)).collect();
        Self {
            segments,
            usage,
            left: Left {
                all: cameras.values().fold(0, |all, bytes| all.saturating_add(*bytes)),
                cameras,
                freed: usage.storages.iter().map(|storage| (storage.id, 0)).collect(),
            },
            gone: BTreeSet::new(),
            delete: Vec::new(),
        }
    }

    /// Takes what is too old. What has events is kept as long as the rest or longer: so all of it that goes stands in front of the first that stays, of whatever
    /// kind; and behind what stays for its events go those without alone.
    fn take_old(&mut self, camera: &Camera, there: &[i64], now: WallTime) -> Result<(), S::Error> {
        let Some(keep) = camera.keep else { return Ok(()) };
        let keep_events = camera.keep_events.map(|events| events.max(keep));
        let is_old = |_: &Left, segment: &Segment| {
            let keep = if segment.has_event { keep_events } else { Some(keep) };
            keep.is_some_and(|keep| now.micros_since(segment.ended) > media::time::micros(keep))
        };
        let scope = Scope {
            camera: Some(camera.id),
            storages: there,
            without_events: true,
        };
        if keep_events.is_some() {
            let both = Scope {
                without_events: false,
                ..scope
            };
            self.take(Why::Age, both, is_old)?;
        }
        self.take(Why::Age, scope, is_old)
    }

    /// Takes from the oldest on while there is too much.
    fn take_while(&mut self, why: Why, scope: Scope<'_>, is_over: impl Fn(&Left) -> bool) -> Result<(), S::Error> {
        if !is_over(&self.left) {
            return Ok(());
        }
        self.take(why, scope, |left, _| is_over(left))
    }

    /// Takes from the oldest on what goes, until one would not.
    fn take(&mut self, why: Why, scope: Scope<'_>, goes: impl Fn(&Left, &Segment) -> bool) -> Result<(), S::Error> {
        let Self {
            segments,
            left,
            gone,
            delete,
            ..
        } = self;
        segments.oldest(scope, &mut |segment| {
            if segment.is_protected || gone.contains(&segment.id) {
                return ControlFlow::Continue(());
            }
            if delete.len() >= MAX_DELETED || !goes(left, segment) {
                return ControlFlow::Break(());
            }
            left.without(segment);
            gone.insert(segment.id);
            delete.push((*segment, why));
            ControlFlow::Continue(())
        })
    }

    fn plan(self) -> Plan {
        let (usage, left) = (self.usage, &self.left);
        let cameras = usage.cameras.iter();
        let cameras = cameras.map(|camera| (camera.id, left.camera_over_bytes(camera)));
        let storages = usage.storages.iter();
        let storages = storages.map(|storage| (storage.id, left.lacks_bytes(storage)));
        Plan {
            cameras_over_bytes: cameras.filter(|(_, bytes)| *bytes > 0).collect(),
            over_bytes: left.over_bytes(usage),
            storages_lack_bytes: storages.filter(|(_, bytes)| *bytes > 0).collect(),
            delete: self.delete,
        }
    }
}

/// What one plan deletes: what five seconds have time for at a hundred files a second, so that a disk that is emptied still records.
pub const MAX_DELETED: usize = 500;

#[cfg(test)]
mod tests;
