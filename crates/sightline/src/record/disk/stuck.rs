//! Files that are to go and cannot be removed: their disk turned read-only, or fails.
//!
//! Belongs here: what is counted of them, when nothing more is marked for that, when they are tried again. Does not belong here: what is deleted, and in which
//! steps ([`super::room`]).
//!
//! Marking a file does not make room, removing it does. Where nothing can be removed, each look would find the same room lacking and mark more, until the index
//! knows nothing of what the disk still has.

use std::io;

use super::super::index;
use super::super::storage::{Place, Storage as _};
use super::{Disk, path_of};

/// What could not be removed since the disk came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stuck {
    /// What is marked and still there: to be counted as if it were free, as it was when it was marked.
    pub(super) bytes: u64,
    /// Files that failed since one could be removed.
    in_a_row: u32,
}

impl Stuck {
    /// A file could not be removed.
    pub(super) fn failed(&mut self, error: &io::Error, bytes: u64) {
        // It is this file's or its folder's, and says nothing of others.
        if error.kind() != io::ErrorKind::PermissionDenied {
            self.bytes = self.bytes.saturating_add(bytes);
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
    }

    /// A file was removed.
    pub(super) fn worked(&mut self) {
        self.in_a_row = 0;
    }

    /// Nothing more is marked: what the disk lacks then, if anything, in words.
    pub(super) fn lacks(self, lacks_bytes: u64) -> Option<Option<String>> {
        let why =
            || format!("the disk lacks {lacks_bytes} bytes of what is to be free, and files on it cannot be removed");
        (self.in_a_row >= MAX_IN_A_ROW).then(|| (lacks_bytes > 0).then(why))
    }
}

impl<P: Place> Disk<P> {
    /// Tries some of the files that could not be removed, and where one can be all of them.
    pub(super) fn unlink_stuck(&mut self) -> Result<(), index::Error> {
        let Some(attached) = &self.attached else { return Ok(()) };
        if self.deleting.stuck.in_a_row == 0 || !self.deleting.is_empty() {
            return Ok(());
        }
        let rows = self.reader.garbage(None)?.items;
        let own = rows.iter().filter(|row| row.storage == attached.uuid);
        // It was said before that they cannot be removed. What is gone already says nothing.
        let is_possible = own
            .filter_map(path_of)
            .map(|path| attached.volume.remove(&path))
            .filter(|removed| !matches!(removed, Err(error) if error.kind() == io::ErrorKind::NotFound))
            .take(MAX_IN_A_ROW as usize)
            .any(|removed| removed.is_ok());
        if !is_possible {
            return Ok(());
        }
        let uuid = attached.uuid;
        let rows = self.unsettled(uuid, |disk, behind| disk.reader.garbage(behind))?;
        self.deleting.stuck = Stuck::default();
        for row in rows {
            self.deleting.push(row, None);
        }
        Ok(())
    }
}

/// So many different files that fail, and none between them that does not, are no fault of theirs.
const MAX_IN_A_ROW: u32 = 8;
