//! From a row of the index to an open file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use media::StreamName;
use media::recording::{Found, Head, Header, MAX_HEAD_BYTES};

use super::Error;
use crate::record::archive::{self, Archive, Object};
use crate::record::index::{Reader, Segment, SegmentId, StorageId};
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
            archive::STORAGE => At::Archive,
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
            which: Which {
                camera: segment.camera.clone(),
                id: segment.id,
                start_90k: segment.start_90k,
                bytes: segment.bytes,
            },
            archive: self.archive.clone(),
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
        let went = match slot.root() {
            None => None,
            Some(_) => match slot.open_here(segment) {
                Ok((file, _, header)) => return Ok((Opened::Here(file), header)),
                Err(error) => Some(slot.went(&error).ok_or_else(|| slot.error(error))?),
            },
        };
        let archive = self.archive.as_ref().ok_or(Error::Nothing)?;
        let object = slot.archived_as(went.as_ref()).ok_or(Error::Nothing)?;
        let header = archive.header(went.as_ref().unwrap_or(segment))?;
        Ok((
            Opened::Archived(object.map_err(Error::Away)?),
            header.ok_or(Error::Nothing)?,
        ))
    }
}

/// A file of a plan.
#[derive(Debug)]
pub(in crate::record) struct Slot {
    at: At,
    path: String,
    which: Which,
    archive: Option<Arc<Archive>>,
    /// Where it is open.
    pub(in crate::record) file: Option<Opened>,
}

/// Where a file lies.
#[derive(Debug)]
enum At {
    Folder(PathBuf),
    Archive,
}

/// Which file it is, wherever it lies.
#[derive(Debug)]
struct Which {
    camera: StreamName,
    id: SegmentId,
    start_90k: i64,
    bytes: u64,
}

impl Slot {
    /// Opens it, where it is not open.
    pub(in crate::record) fn open(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let went = match self.root() {
            None => None,
            Some(root) => match open_below(root, &self.path) {
                Ok(file) => {
                    self.file = Some(Opened::Here(file));
                    return Ok(());
                }
                Err(error) => Some(self.went(&error).ok_or(error)?),
            },
        };
        let object = self.archived_as(went.as_ref()).ok_or(io::ErrorKind::NotFound)?;
        self.file = Some(Opened::Archived(object.map_err(archive::Away::told)?));
        Ok(())
    }

    /// Where it lies in the archive, as far as is known without asking.
    pub(super) fn archived(&self) -> Option<Result<Object, Failed>> {
        match (&self.at, &self.file) {
            (At::Archive, _) => self.archived_as(None),
            (At::Folder(_), Some(Opened::Archived(object))) => Some(Ok(object.again())),
            (At::Folder(_), _) => None,
        }
    }

    /// `went`: where it is not where it was.
    fn archived_as(&self, went: Option<&Segment>) -> Option<Result<Object, Failed>> {
        let path = went.map_or(&self.path, |went| &went.path);
        Some(self.archive.as_ref()?.object(path, self.which.bytes))
    }

    /// It was here when it was found, and went to the archive since. Waits for the catalogue.
    fn went(&self, error: &io::Error) -> Option<Segment> {
        let archive = self
            .archive
            .as_ref()
            .filter(|_| error.kind() == io::ErrorKind::NotFound)?;
        let (found, _) = archive.file(&self.which.camera, self.which.id).ok()??;
        ((found.start_90k, found.bytes) == (self.which.start_90k, self.which.bytes)).then_some(found)
    }

    fn root(&self) -> Option<&Path> {
        match &self.at {
            At::Folder(root) => Some(root),
            At::Archive => None,
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
            At::Archive => PathBuf::from(&self.path),
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
