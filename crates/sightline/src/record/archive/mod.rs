//! The archive: recordings that have their age go to S3, and then from this disk; and are played from there.
//!
//! Belongs here: which files go ([`choose`]), when what was sent counts as there ([`work`]), what is known of those that went ([`catalogue`]), making that anew ([`remake`]), reading
//! what lies there ([`reading`]). Does not belong here: how S3 is spoken ([`crate::s3`]), deleting files, which the thread of their disk does as for retention
//! ([`super::disk`]), which bytes are played ([`super::play`]).
//!
//! - One file at a time, the oldest first, in parts, no faster than is set: who watches live does not notice it.
//! - A file is deleted here when three things agree: its bytes have the checksum of the index; the server took each part by its SHA-256; and the object that it shows has
//!   the length of the file. Then the catalogue says that it is archived, durably, and only then the index is told to discard the file. Where the catalogue said so before, the
//!   server is asked once more.
//! - What is protected stays here and is not sent. What is damaged stays until retention takes it.
//! - A kill at any of these steps loses nothing: parts that the server has are not sent again, and a file that is complete there is not begun anew.

mod catalogue;
mod choose;
mod reading;
mod remake;
#[cfg(test)]
mod tests;
mod work;

use std::num::NonZeroU64;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::recording::{Fragments, Header};
use media::{Clock, StreamName};

use catalogue::Catalogue;
pub use catalogue::{Archived, Error, MAX_RANGES};
use reading::Door;
pub(in crate::record) use reading::{AWAY, Away, MAX_SENDING, Object};

use super::index::{Segment, SegmentId, StorageId};
use super::recorder::Recorder;
use crate::config::upload::S3Place;
use crate::s3::{Access, Bucket, Failed};
use crate::shutdown::Shutdown;

/// What is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where it is.
    pub place: S3Place,
    /// By whose leave.
    pub access: Access,
    /// How old a file is when it goes.
    pub after: Duration,
    /// How fast at the most.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// What the archive needs.
pub struct World {
    /// Where recordings are, once there are any.
    pub recorder: Box<dyn Fn() -> Option<Recorder> + Send + Sync>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable numbers.
    pub random: fn() -> u64,
    /// Where the catalogue is.
    pub catalogue: PathBuf,
}

/// The archive of a server.
pub struct Archive {
    world: World,
    catalogue: Mutex<Option<Arc<Catalogue>>>,
    /// Through which it is read, while one is set.
    door: Mutex<Option<Arc<Door>>>,
    report: Mutex<Report>,
    /// The file that is being sent, and whether it was deleted meanwhile.
    sending: Mutex<Option<(SegmentId, bool)>>,
    /// Why those who play cannot ask the catalogue, as the log says.
    told: Mutex<Option<Error>>,
}

/// How it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that went since the start.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why nothing goes.
    pub trouble: Option<String>,
}

/// Where archived files lie, in place of a folder of recordings: [`Segment::path`] is the name of the object.
pub(in crate::record) const STORAGE: StorageId = *b"sightline archiv";

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    /// Without a plan: what went before can be asked for.
    pub fn new(world: World) -> Arc<Self> {
        Arc::new(Self {
            world,
            catalogue: Mutex::default(),
            door: Mutex::default(),
            report: Mutex::default(),
            sending: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// What of a range is archived of a camera; ranges that are nearer to each other than `resolution_90k` are told as one. And where to ask for the rest. Waits for the disk.
    ///
    /// # Errors
    /// [`Error`].
    pub fn ranges(
        &self,
        camera: &StreamName,
        range_90k: &Range<i64>,
        resolution_90k: i64,
    ) -> Result<(Vec<Archived>, Option<i64>), Error> {
        self.asked_if_there(|catalogue| catalogue.ranges(camera, range_90k, resolution_90k))
    }

    /// The archived files of a camera that have a part in a range and can be played, by where they begin, up to `limit` of them. Waits for the disk.
    pub(super) fn files(
        &self,
        camera: &StreamName,
        range_90k: &Range<i64>,
        limit: usize,
    ) -> Result<Vec<(Segment, Fragments)>, Error> {
        self.asked_if_there(|catalogue| catalogue.files(camera, range_90k, limit))
    }

    /// One of them. Waits for the disk.
    pub(super) fn file(&self, camera: &StreamName, id: SegmentId) -> Result<Option<(Segment, Fragments)>, Error> {
        self.asked_if_there(|catalogue| catalogue.file(camera, id))
    }

    /// What stands in front of its fragments, as players need it. Waits for the disk.
    pub(super) fn header(&self, segment: &Segment) -> Result<Option<Header>, Error> {
        self.asked_if_there(|catalogue| catalogue.header(segment))
    }

    /// Files that were deleted here on request, with their beginnings: they are not played from the archive instead, nor is the one that is on its way. What lies in the bucket stays
    /// there. Waits for the disk.
    pub(super) fn forget(&self, camera: &StreamName, files: &[(SegmentId, i64)]) -> Result<(), Error> {
        if let Some((id, is_deleted)) = &mut *self.sending() {
            *is_deleted |= files.iter().any(|(deleted, _)| *deleted == *id);
        }
        self.asked_if_there(|catalogue| catalogue.remove(camera, files))
    }

    /// It, to be read. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// No archive is set.
    pub(super) fn object(&self, key: &str, bytes: u64) -> Result<Object, Failed> {
        let door = self.door().clone();
        let door = door.ok_or_else(reading::not_set);
        let door = door.inspect_err(|failed| tracing::warn!(key, "an archived recording cannot be read: {failed}"))?;
        Ok(Object::new(door, key, bytes))
    }

    /// How it goes.
    pub fn report(&self) -> Report {
        self.change_report().clone()
    }

    /// Why nothing is archived, where that is for a reason that no file is needed to see.
    pub fn say_trouble(&self, why: Option<String>) {
        self.change_report().trouble = why;
    }

    /// Archives by this plan until it is told to stop.
    ///
    /// # Errors
    /// What is set cannot be used.
    pub async fn run(self: Arc<Self>, plan: Plan, shutdown: Shutdown) -> Result<(), Failed> {
        let bucket = Bucket::new(&plan.access, &plan.place.bucket, plan.bytes_per_second)?;
        // Who plays something is not to wait for what is sent.
        let door = Door::new(Bucket::new(&plan.access, &plan.place.bucket, None)?);
        let _open = Open::new(&self, &door);
        self.say_trouble(None);
        tracing::info!(to = %plan.place, after_s = plan.after.as_secs(), "recordings are archived");
        let remaking = remake::Remake::new(Arc::clone(&self), plan.place.clone(), door);
        let work = work::Work::new(Arc::clone(&self), plan, bucket);
        tokio::select! {
            _ = async { tokio::join!(work.run(), remaking.run()) } => {}
            // What is under way goes on from its last part at the next start.
            () = shutdown.requested() => {}
        }
        Ok(())
    }

    /// Asks the catalogue on a thread that may wait for the disk.
    async fn asked<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&Catalogue) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let archive = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || archive.ask(ask));
        asked
            .await
            .unwrap_or_else(|error| Err(Error::other(&self.world.catalogue, &error)))
    }

    /// Where nothing ever was archived, there is no catalogue, and none is made.
    fn asked_if_there<T: Default>(&self, ask: impl FnOnce(&Catalogue) -> Result<T, Error>) -> Result<T, Error> {
        if self.known().is_none() && !self.world.catalogue.exists() {
            return Ok(T::default());
        }
        let asked = self.ask(ask);
        self.tell(asked.as_ref().err());
        asked
    }

    /// Says once what is wrong, and when it is over.
    fn tell(&self, error: Option<&Error>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref() == error {
            return;
        }
        match error {
            Some(error) => {
                tracing::error!("what is archived is neither listed nor played, and what is here is: {error}");
            }
            None => tracing::info!("what is archived is listed and played again"),
        }
        *told = error.cloned();
    }

    fn ask<T>(&self, ask: impl FnOnce(&Catalogue) -> Result<T, Error>) -> Result<T, Error> {
        let catalogue = self.open()?;
        let answer = ask(&catalogue);
        if let Err(error) = &answer
            && error.is_damage()
        {
            let mut known = self.known();
            // Others may have met the same.
            if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &catalogue)) {
                *known = None;
                self.put_aside(error)?;
            }
        }
        answer
    }

    fn open(&self) -> Result<Arc<Catalogue>, Error> {
        let mut known = self.known();
        if let Some(catalogue) = &*known {
            return Ok(Arc::clone(catalogue));
        }
        let opened = match Catalogue::open(&self.world.catalogue) {
            Err(error) if error.is_damage() => {
                self.put_aside(&error)?;
                Catalogue::open(&self.world.catalogue)?
            }
            opened => opened?,
        };
        Ok(Arc::clone(known.insert(Arc::new(opened))))
    }

    fn put_aside(&self, error: &Error) -> Result<(), Error> {
        let aside = Catalogue::put_aside(&self.world.catalogue)?;
        tracing::error!(aside = %aside.display(), "what is archived cannot be read, and is made anew of what lies in the bucket: {error}");
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Option<Arc<Catalogue>>> {
        self.catalogue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn door(&self) -> MutexGuard<'_, Option<Arc<Door>>> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sending(&self) -> MutexGuard<'_, Option<(SegmentId, bool)>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It can be read, as long as this is held.
struct Open<'a>(&'a Archive);

impl<'a> Open<'a> {
    fn new(archive: &'a Archive, door: &Arc<Door>) -> Self {
        *archive.door() = Some(Arc::clone(door));
        Self(archive)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        *self.0.door() = None;
    }
}
