//! From a row of the index to an open file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use media::recording::{Found, Head, Header, MAX_HEAD_BYTES};

use super::Error;
use crate::record::archive::{self, Archive, Object};
use crate::record::index::{Reader, Segment, StorageId};
use crate::record::recorder::Recorder;
use crate::record::storage::{File as _, Place as _, Root, open_below};
use crate::record::strip::{self, Strip};
use crate::s3::Failed;

/// Where storages are.
pub(in crate::record) struct Places {
    storages: Vec<(StorageId, String)>,
    archive: Option<Arc<Archive>>,
}

impl Places {
    /// As the recorder told it last, else as the index knows it.
    pub(in crate::record) fn of(recorder: &Recorder, reader: &Reader) -> Result<Self, Error> {
        let mut storages = recorder.places();
        storages.extend(reader.storages()?);
        Ok(Self {
            storages,
            archive: None,
        })
    }

    /// And where what is archived is read.
    pub(super) fn and_archive(self, archive: Option<Arc<Archive>>) -> Self {
        Self { archive, ..self }
    }

    /// Storages that are not where they were.
    pub(in crate::record) fn away(&self) -> HashSet<StorageId> {
        let (mut looked, mut away) = (HashSet::new(), HashSet::new());
        for (uuid, path) in &self.storages {
            if looked.insert(*uuid)
                && !Root(PathBuf::from(path))
                    .look(None)
                    .is_ok_and(|(_, found)| found == *uuid)
            {
                away.insert(*uuid);
            }
        }
        away
    }

    pub(in crate::record) fn slot(&self, segment: &Segment) -> Result<Slot, Error> {
        let at = match segment.storage {
            archive::STORAGE => At::Archive(self.archive.clone(), segment.bytes),
            storage => {
                let place = self.storages.iter().find(|(uuid, _)| *uuid == storage);
                let (_, root) = place.ok_or_else(|| Error::File {
                    path: PathBuf::from(&segment.path),
                    error: io::Error::new(io::ErrorKind::NotFound, "its storage is not known"),
                })?;
                At::Folder(PathBuf::from(root))
            }
        };
        Ok(Slot {
            at,
            path: segment.path.clone(),
            file: None,
        })
    }

    /// The strip beside a file, where there is one that holds.
    pub(super) fn strip(&self, segment: &Segment) -> Option<Strip> {
        let slot = self.slot(segment).ok()?;
        let path = strip::beside(Path::new(&slot.path))?;
        let file = open_below(slot.root()?, path.to_str()?).ok()?;
        let mut bytes = Vec::new();
        file.take(strip::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
        Strip::read(&bytes).ok()
    }

    /// Opens a file of this machine, and looks that it is the one; what stands in front of its fragments.
    pub(super) fn open_head(&self, segment: &Segment) -> Result<(File, Vec<u8>), Error> {
        let slot = self.slot(segment)?;
        let (file, head, _) = slot.open_here(segment).map_err(|error| slot.error(error))?;
        Ok((file, head))
    }

    /// Opens a file, and looks that it is the one. Of what is archived the server is asked nothing.
    pub(in crate::record) fn open(&self, segment: &Segment) -> Result<(Opened, Header), Error> {
        let slot = self.slot(segment)?;
        let At::Archive(archive, _) = &slot.at else {
            let (file, _, header) = slot.open_here(segment).map_err(|error| slot.error(error))?;
            return Ok((Opened::Here(file), header));
        };
        let archive = archive.as_ref().ok_or(Error::Nothing)?;
        let object = slot.archived().ok_or(Error::Nothing)?.map_err(Error::Away)?;
        let header = archive.header(segment)?.ok_or(Error::Nothing)?;
        Ok((Opened::Archived(object), header))
    }
}

/// A file of a plan.
#[derive(Debug)]
pub(in crate::record) struct Slot {
    at: At,
    path: String,
    /// Where it is open.
    pub(in crate::record) file: Option<Opened>,
}

/// Where a file lies.
#[derive(Debug)]
enum At {
    Folder(PathBuf),
    /// With its length.
    Archive(Option<Arc<Archive>>, u64),
}

impl Slot {
    /// Opens it, where it is not open.
    pub(in crate::record) fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(match &self.at {
                At::Folder(root) => Opened::Here(open_below(root, &self.path)?),
                At::Archive(..) => {
                    let object = self.archived().ok_or(io::ErrorKind::NotFound)?;
                    Opened::Archived(object.map_err(io::Error::other)?)
                }
            });
        }
        Ok(())
    }

    /// Where it lies in the archive.
    pub(super) fn archived(&self) -> Option<Result<Object, Failed>> {
        match &self.at {
            At::Archive(Some(archive), bytes) => Some(archive.object(&self.path, *bytes)),
            At::Archive(None, _) | At::Folder(_) => None,
        }
    }

    fn root(&self) -> Option<&Path> {
        match &self.at {
            At::Folder(root) => Some(root),
            At::Archive(..) => None,
        }
    }

    /// With its head, and what that says to players.
    fn open_here(&self, segment: &Segment) -> io::Result<(File, Vec<u8>, Header)> {
        let file = open_below(self.root().ok_or(io::ErrorKind::NotFound)?, &self.path)?;
        let mut head = vec![0; (segment.head_bytes as usize).min(MAX_HEAD_BYTES)];
        let mut read = 0;
        while let Some(rest) = head.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(read as u64, rest)? {
                0 => break,
                count => read += count,
            }
        }
        let is_it =
            matches!(Head::read(&head), Found::Whole(found, at) if found.camera == segment.camera && at == head.len());
        let header = is_it.then(|| Header::read(&head).ok()).flatten();
        let other = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "it is another file than the one that was recorded",
            )
        };
        Ok((file, head, header.ok_or_else(other)?))
    }

    fn error(&self, error: io::Error) -> Error {
        let path = match &self.at {
            At::Folder(root) => root.join(&self.path),
            At::Archive(..) => PathBuf::from(&self.path),
        };
        Error::File { path, error }
    }
}

/// A file that is read.
#[derive(Debug)]
pub(in crate::record) enum Opened {
    /// Of this machine.
    Here(File),
    /// Of the archive.
    Archived(Object),
}

impl Opened {
    /// Reads from a place. 0: it ends there. Waits for the disk, or the archive.
    ///
    /// # Errors
    /// Of either.
    pub(in crate::record) fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Here(file) => file.read_at(at, into),
            Self::Archived(object) => object.read_at(at, into),
        }
    }
}
