//! From a row of the index to an open file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use media::recording::{Found, Head, Header, MAX_HEAD_BYTES};

use super::Error;
use crate::record::index::{Reader, Segment, StorageId};
use crate::record::recorder::Recorder;
use crate::record::storage::{File as _, open_below};
use crate::record::strip::{self, Strip};

/// Where storages are.
pub(in crate::record) struct Places(Vec<(StorageId, String)>);

impl Places {
    /// As the recorder told it last, else as the index knows it.
    pub(in crate::record) fn of(recorder: &Recorder, reader: &Reader) -> Result<Self, Error> {
        let mut places = recorder.places();
        places.extend(reader.storages()?);
        Ok(Self(places))
    }

    pub(in crate::record) fn slot(&self, segment: &Segment) -> Result<Slot, Error> {
        let place = self.0.iter().find(|(uuid, _)| *uuid == segment.storage);
        let (_, root) = place.ok_or_else(|| Error::File {
            path: PathBuf::from(&segment.path),
            error: io::Error::new(io::ErrorKind::NotFound, "its storage is not known"),
        })?;
        Ok(Slot {
            root: PathBuf::from(root),
            path: segment.path.clone(),
            file: None,
        })
    }

    /// The strip beside a file, where there is one that holds.
    pub(super) fn strip(&self, segment: &Segment) -> Option<Strip> {
        let slot = self.slot(segment).ok()?;
        let path = strip::beside(Path::new(&slot.path))?;
        let file = open_below(&slot.root, path.to_str()?).ok()?;
        let mut bytes = Vec::new();
        file.take(strip::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
        Strip::read(&bytes).ok()
    }

    /// Opens a file, and looks that it is the one; what stands in front of its fragments.
    pub(super) fn open_head(&self, segment: &Segment) -> Result<(File, Vec<u8>), Error> {
        let (file, _) = self.open(segment)?;
        let mut head = vec![0; (segment.head_bytes as usize).min(MAX_HEAD_BYTES)];
        let read = strip::read_exactly(&file, 0, &mut head);
        let slot = self.slot(segment)?;
        read.map_err(|error| Error::File {
            path: slot.root.join(&slot.path),
            error,
        })?;
        Ok((file, head))
    }

    /// Opens a file, and looks that it is the one.
    pub(in crate::record) fn open(&self, segment: &Segment) -> Result<(File, Header), Error> {
        let slot = self.slot(segment)?;
        let opened = open_below(&slot.root, &slot.path).and_then(|file| {
            let mut head = vec![0; (segment.head_bytes as usize).min(MAX_HEAD_BYTES)];
            let mut read = 0;
            while let Some(rest) = head.get_mut(read..).filter(|rest| !rest.is_empty()) {
                match file.read_at(read as u64, rest)? {
                    0 => break,
                    count => read += count,
                }
            }
            let is_it = matches!(Head::read(&head), Found::Whole(found, at) if found.camera == segment.camera && at == head.len());
            let header = is_it.then(|| Header::read(&head).ok()).flatten();
            let other = || io::Error::new(io::ErrorKind::InvalidData, "it is another file than the one that was recorded");
            Ok((file, header.ok_or_else(other)?))
        });
        opened.map_err(|error| Error::File {
            path: slot.root.join(&slot.path),
            error,
        })
    }
}

/// A file of a plan.
#[derive(Debug)]
pub(in crate::record) struct Slot {
    root: PathBuf,
    path: String,
    /// Where it is open.
    pub(in crate::record) file: Option<File>,
}

impl Slot {
    /// Opens it, where it is not open.
    pub(in crate::record) fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(open_below(&self.root, &self.path)?);
        }
        Ok(())
    }
}
