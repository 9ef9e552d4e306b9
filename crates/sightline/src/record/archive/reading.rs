//! Reading what is archived: ranges of objects, as those of a file are read.
//!
//! Belongs here: how much is read ahead, how many ask at a time, how long they wait. Does not belong here: which ranges are wanted ([`crate::record::play`]).
//!
//! - A megabyte at a time, since each question costs a way there and back; two such pieces of an object are kept at the most. [`MAX_SENDING`] answers are made of
//!   them at a time.
//! - Who reads waits on a thread of its own, as for a disk; the question itself is a task of the runtime, which ends with the program.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::s3::{Bucket, Failed, Kind};

/// Questions at a time.
pub(super) const MAX_GETS: usize = 8;
/// Answers that are sent of what is archived at a time: some 48 MiB of memory.
pub(in crate::record) const MAX_SENDING: usize = 16;
/// What is read at a time.
pub(super) const AHEAD_BYTES: u64 = 1 << 20;
/// What is read of what lies in front of that: how a fragment begins.
const BEHIND_BYTES: u64 = 64 << 10;
/// Pieces of an object that are kept.
const MAX_PIECES: usize = 2;
/// How long an answer may take, with the wait for the turn.
const WITHIN: Duration = Duration::from_secs(10);

/// What viewers are told. What it is, with the name of the bucket and the words of its server, is in the log.
pub(in crate::record) const AWAY: &str =
    "it is archived, and the archive does not give it now; the log of the server says why";

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", AWAY)]
pub(in crate::record) struct Away(#[source] Failed);

impl Away {
    /// It is in the log then.
    pub(in crate::record) fn told(failed: Failed) -> io::Error {
        tracing::warn!("an archived recording cannot be read: {failed}");
        let kind = match failed.kind {
            Kind::Missing => io::ErrorKind::NotFound,
            Kind::Passing | Kind::Lasting | Kind::Unfit => io::ErrorKind::Other,
        };
        io::Error::new(kind, Self(failed))
    }
}

/// A bucket that is read.
pub(super) struct Door {
    pub(super) bucket: Bucket,
    runtime: Handle,
    gets: Semaphore,
    places: Arc<Semaphore>,
    within: Duration,
}

/// No archive is set, so nobody knows where its server is.
pub(super) fn not_set() -> Failed {
    Failed {
        kind: Kind::Lasting,
        detail: "no archive is set any more: set record.archive as it was".to_owned(),
    }
}

impl Door {
    /// Within the runtime whose tasks ask.
    pub(super) fn new(bucket: Bucket) -> Arc<Self> {
        Self::patient(bucket, WITHIN)
    }

    fn patient(bucket: Bucket, within: Duration) -> Arc<Self> {
        Arc::new(Self {
            bucket,
            runtime: Handle::current(),
            gets: Semaphore::new(MAX_GETS),
            places: Arc::new(Semaphore::new(MAX_SENDING)),
            within,
        })
    }

    /// In its turn, and in time.
    pub(super) async fn within<T>(&self, ask: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        let asked = tokio::time::timeout(self.within, async {
            // It is never closed.
            let _turn = self.gets.acquire().await;
            ask.await
        });
        asked.await.unwrap_or_else(|_| {
            Err(Failed {
                kind: Kind::Passing,
                detail: format!("the archive gave no answer within {} s", self.within.as_secs_f32()),
            })
        })
    }

    /// Reads a range. Waits for it.
    fn read(self: &Arc<Self>, key: &str, range: Range<u64>) -> io::Result<Bytes> {
        let (to, from) = sync_channel(1);
        let (door, key) = (Arc::clone(self), key.to_owned());
        self.runtime.spawn(async move {
            let read = door.within(door.bucket.read(&key, range)).await;
            // Nobody may wait for it any more.
            let _ = to.send(read.map_err(|failed| named(failed, &key)));
        });
        match from.recv_timeout(2 * self.within) {
            Ok(read) => read.map_err(Away::told),
            Err(RecvTimeoutError::Timeout) => Err(Away::told(Failed {
                kind: Kind::Passing,
                detail: "nobody asked the archive in time".to_owned(),
            })),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the program ends")),
        }
    }
}

/// An archived file.
pub(in crate::record) struct Object {
    door: Arc<Door>,
    key: String,
    bytes: u64,
    read: Mutex<Read>,
}

/// What was read of it.
#[derive(Default)]
struct Read {
    /// The newest last.
    pieces: Vec<(u64, Bytes)>,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Object {
    pub(super) fn new(door: Arc<Door>, key: &str, bytes: u64) -> Self {
        Self {
            door,
            key: key.to_owned(),
            bytes,
            read: Mutex::default(),
        }
    }

    /// The same, of which nothing was read.
    pub(in crate::record) fn again(&self) -> Self {
        Self::new(Arc::clone(&self.door), &self.key, self.bytes)
    }

    /// To send what is archived: for as long as it is held. `None`: [`MAX_SENDING`] do already.
    pub(in crate::record) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.door.places).try_acquire_owned().ok()
    }

    /// Whether it is there as it was archived, so that it can be said before anything is sent of it.
    ///
    /// # Errors
    /// [`Failed`].
    pub(in crate::record) async fn look(&self) -> Result<(), Failed> {
        let found = self.door.within(self.door.bucket.head(&self.key)).await?;
        let lasting = |detail| {
            Err(Failed {
                kind: Kind::Lasting,
                detail,
            })
        };
        match found {
            Some(found) if found.bytes == self.bytes => Ok(()),
            Some(found) => lasting(format!(
                "{} in the bucket is another than was archived: {} bytes of {}",
                self.key, found.bytes, self.bytes
            )),
            None => lasting(format!("{} is not in the bucket any more", self.key)),
        }
    }

    /// Reads from a place. 0: it ends there. Waits for the server, on a thread that may.
    ///
    /// # Errors
    /// What the server did wrong.
    pub(in crate::record) fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        if at >= self.bytes || into.is_empty() {
            return Ok(0);
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = read.copy(at, into) {
            return Ok(count);
        }
        let is_behind = read.pieces.last().is_some_and(|(known, _)| at < *known);
        let bytes = match is_behind && into.len() as u64 <= BEHIND_BYTES {
            true => BEHIND_BYTES,
            false => AHEAD_BYTES,
        };
        if read.pieces.len() == MAX_PIECES {
            read.pieces.remove(0);
        }
        let range = at..self.bytes.min(at.saturating_add(bytes));
        let wanted = range.end - range.start;
        let piece = self.door.read(&self.key, range)?;
        if piece.len() as u64 != wanted {
            return Err(Away::told(Failed {
                kind: Kind::Unfit,
                detail: format!("{} in the bucket is shorter than what was archived", self.key),
            }));
        }
        // What is read on from is the newest, and what lies in front of it is not.
        let place = if is_behind { 0 } else { read.pieces.len() };
        read.pieces.insert(place, (at, piece));
        read.copy(at, into).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Read {
    /// As much as one piece has from there on.
    fn copy(&self, at: u64, into: &mut [u8]) -> Option<usize> {
        self.pieces.iter().find_map(|(from, piece)| {
            let skip = usize::try_from(at.checked_sub(*from)?).ok()?;
            let known = piece.get(skip..).filter(|known| !known.is_empty())?;
            let count = known.len().min(into.len());
            into.get_mut(..count)?.copy_from_slice(known.get(..count)?);
            Some(count)
        })
    }
}

fn named(failed: Failed, key: &str) -> Failed {
    match failed.kind {
        Kind::Missing => Failed {
            detail: format!("{key} is not in the bucket any more"),
            ..failed
        },
        _ => failed,
    }
}

#[cfg(test)]
mod tests;
