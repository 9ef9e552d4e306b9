//! What the index does not know yet: files that are being written, and those whose row waits to be.
//!
//! Belongs here: such files with their fragments, as far as both are written. Does not belong here: writing them ([`super::disk`]), what is told of them
//! ([`super::library`]).
//!
//! A file is told to the index when it begins and when it is whole, and its row is written ten seconds later. Without this the last minute could not be played.
//! The index is right where it knows more: who asks both asks here first.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::StreamName;
use media::recording::Fragments;

use super::index::{Change, Segment, SegmentId, State, StorageId};
use super::sink::Piece;

/// See the module.
#[derive(Default)]
pub(super) struct Growing {
    files: Mutex<BTreeMap<SegmentId, File>>,
    /// Where storages are, as it was told last: at the beginning the index does not know that either.
    places: Mutex<BTreeMap<StorageId, String>>,
}

impl fmt::Debug for Growing {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_tuple("Growing")
            .field(&self.lock().len())
            .finish_non_exhaustive()
    }
}

struct File {
    segment: Segment,
    fragments: Fragments,
    /// When its row was told that has all of it.
    told: Option<Instant>,
}

impl File {
    /// There is something in it.
    fn is_found(&self) -> bool {
        self.segment.duration_90k > 0
    }
}

impl Growing {
    /// What the index is told.
    pub(super) fn tell(&self, change: &Change, now: Instant) {
        match change {
            Change::Segment(segment, table) => self.segment(segment, table, now),
            Change::Storage { uuid, path } => {
                let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
                places.insert(*uuid, path.clone());
            }
            Change::Gone(id) => {
                self.lock().remove(id);
            }
            Change::Moved { camera, run, by_90k } => {
                let mut files = self.lock();
                let moved = files.values_mut().map(|file| &mut file.segment);
                for segment in moved.filter(|segment| segment.run == *run && segment.camera == *camera) {
                    segment.start_90k = segment.start_90k.saturating_add(*by_90k);
                }
            }
            _ => {}
        }
    }

    fn segment(&self, segment: &Segment, table: &[u8], now: Instant) {
        let mut files = self.lock();
        if segment.state == State::Open {
            let file = File {
                segment: segment.clone(),
                fragments: Fragments::new(),
                told: None,
            };
            files.insert(segment.id, file);
        } else if let Some(file) = files.get_mut(&segment.id) {
            // What is found on a disk was never begun here: the index alone tells of it.
            file.segment = segment.clone();
            file.fragments = Fragments::read(table).unwrap_or_default();
            file.told.get_or_insert(now);
        }
    }

    /// A fragment was written, as the table of its file has it; behind it the file has so many bytes.
    pub(super) fn fragment(&self, id: SegmentId, piece: &Piece, file_bytes: u64) {
        let mut files = self.lock();
        let Some(file) = files.get_mut(&id) else { return };
        let taken = file
            .fragments
            .push(piece.bytes.len(), piece.duration_90k, piece.keyframe);
        // One that the table of its file did not take either ends the file.
        if taken.is_ok() {
            file.segment.duration_90k = file.fragments.duration_90k().cast_signed();
            file.segment.bytes = file_bytes;
        }
    }

    /// Forgets what the index has by now.
    pub(super) fn look(&self, now: Instant) {
        let is_new = |told: Instant| now.saturating_duration_since(told) < UNTIL_WRITTEN;
        self.lock().retain(|_, file| file.told.is_none_or(is_new));
    }

    /// Files of a camera that have a part in a range, by where they begin. Those that are being written are [`State::Open`], and last as long as they do so far.
    pub(super) fn of(&self, camera: &StreamName, range_90k: &Range<i64>) -> Vec<(Segment, Fragments)> {
        let files = self.lock();
        let is_asked_for = |file: &&File| {
            file.segment.camera == *camera
                && file.is_found()
                && file.segment.start_90k < range_90k.end
                && file.segment.end_90k() > range_90k.start
        };
        let found = files.values().filter(is_asked_for);
        let mut found: Vec<_> = found
            .map(|file| (file.segment.clone(), file.fragments.clone()))
            .collect();
        drop(files);
        found.sort_by_key(|(segment, _)| (segment.start_90k, segment.id));
        found
    }

    /// The file of a camera that has this number.
    pub(super) fn file(&self, camera: &StreamName, id: SegmentId) -> Option<(Segment, Fragments)> {
        let files = self.lock();
        let file = files
            .get(&id)
            .filter(|file| file.is_found() && file.segment.camera == *camera)?;
        Some((file.segment.clone(), file.fragments.clone()))
    }

    /// Where the storages are that were told.
    pub(super) fn places(&self) -> Vec<(StorageId, String)> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.iter().map(|(uuid, path)| (*uuid, path.clone())).collect()
    }

    /// Those of all cameras.
    pub(super) fn all(&self) -> Vec<Segment> {
        let files = self.lock();
        let files = files.values().filter(|file| file.is_found());
        files.map(|file| file.segment.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SegmentId, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until a row that was told is in the index, where that is asked every ten seconds and may fail a few times.
const UNTIL_WRITTEN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
