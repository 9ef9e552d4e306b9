//! Each file held against the rows: those that no row names.
//!
//! Paths are compared by numbers of 64 bits with a key of this process: of four million one is taken for another by chance once in a million checks, and then one file is not
//! told.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use super::super::export::FOLDER as EXPORTS;
use super::super::index::{self, MAX_PATH_BYTES, PathOf, SegmentId, StorageId};
use super::super::segment::{Looking, is_leftover};
use super::super::storage::{LOCK, MARK, Storage as _, is_of_file_system, open_below};
use super::super::strip;
use super::{Check, Finding, Kind, MAX_HASHES, Unknown, is_fresh};

/// Some of the paths that rows name.
struct Known {
    hasher: RandomState,
    /// Of those whose number leaves this rest.
    part: u64,
    parts: u64,
    hashes: Vec<u64>,
}

impl Known {
    fn hash(&self, storage: &StorageId, path: &str) -> Option<u64> {
        let hash = self.hasher.hash_one((storage, path));
        (hash % self.parts == self.part).then_some(hash)
    }

    fn has(&self, hash: u64) -> bool {
        self.hashes.binary_search(&hash).is_ok()
    }
}

/// Where a file lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// In the folder of a day, where it is looked for.
    Day,
    /// Elsewhere.
    Other,
}

impl Check<'_> {
    pub(super) fn files(&mut self) -> Result<(), index::Error> {
        let parts = self.reader.count()?.div_ceil(MAX_HASHES as u64).max(1);
        self.files_in(parts)
    }

    pub(super) fn files_in(&mut self, parts: u64) -> Result<(), index::Error> {
        // One key for all parts, or a path would be in several or in none.
        let hasher = RandomState::new();
        for part in 0..parts {
            let mut known = Known {
                hasher: hasher.clone(),
                part,
                parts,
                hashes: Vec::new(),
            };
            self.learn(&mut known)?;
            for here in 0..self.here.len() {
                self.storage(here, &known)?;
            }
        }
        self.tell_unknown()
    }

    /// Reads what paths there are, and finds those that two rows have.
    fn learn(&mut self, known: &mut Known) -> Result<(), index::Error> {
        self.each_path(known, |known, _, _, hash| known.hashes.push(hash))?;
        known.hashes.sort_unstable();
        let twice: HashMap<u64, Option<SegmentId>> = known
            .hashes
            .windows(2)
            .filter(|pair| pair.first() == pair.last())
            .take(MAX_TWICE)
            .filter_map(|pair| Some((*pair.first()?, None)))
            .collect();
        if !twice.is_empty() {
            let mut twice = twice;
            let mut found = Vec::new();
            self.each_path(known, |_, id, path, hash| match twice.get_mut(&hash) {
                Some(first @ None) => *first = Some(id),
                Some(Some(first)) => found.push((id, path.to_owned(), *first)),
                None => {}
            })?;
            for (id, path, first) in found {
                let why = format!("row {} has the same file", first.0);
                self.found(&Finding::new(Kind::RowTwice, Some(id), path, why));
            }
        }
        Ok(())
    }

    fn each_path(
        &mut self,
        known: &mut Known,
        mut take: impl FnMut(&mut Known, SegmentId, &str, u64),
    ) -> Result<(), index::Error> {
        self.each_row(|row| {
            if let Some(hash) = known.hash(&row.storage, &row.path) {
                take(known, row.id, &row.path, hash);
            }
        })
    }

    fn each_row(&self, mut take: impl FnMut(PathOf)) -> Result<(), index::Error> {
        let mut behind = i64::MIN;
        loop {
            let page = self.reader.paths(behind)?;
            let is_last = page.len() < index::MAX_PAGE;
            for row in page {
                behind = behind.max(row.id.0);
                take(row);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn storage(&mut self, here: usize, known: &Known) -> Result<(), index::Error> {
        let root = Path::new("");
        self.folder(here, root, Level::Other, known)?;
        for camera in self.folders(here, root) {
            if camera
                .file_name()
                .is_none_or(|name| is_of_file_system(name) || name == EXPORTS)
            {
                continue;
            }
            self.folder(here, &camera, Level::Other, known)?;
            for day in self.folders(here, &camera) {
                let is_day = day
                    .file_name()
                    .and_then(OsStr::to_str)
                    .is_some_and(|name| name.parse::<jiff::civil::Date>().is_ok());
                let level = if is_day { Level::Day } else { Level::Other };
                self.folder(here, &day, level, known)?;
            }
        }
        Ok(())
    }

    fn folders(&mut self, here: usize, folder: &Path) -> Vec<PathBuf> {
        let Some(storage) = self.here.get(here) else {
            return Vec::new();
        };
        match storage.volume.folders(folder) {
            Ok(mut folders) => {
                folders.sort_unstable();
                folders
            }
            Err(error) => {
                self.unread(folder, &error);
                Vec::new()
            }
        }
    }

    fn unread(&mut self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            // Its last recording went meanwhile.
            return;
        }
        self.found(&Finding::new(
            Kind::Unreadable,
            None,
            path.display().to_string(),
            error.to_string(),
        ));
    }

    fn folder(&mut self, here: usize, folder: &Path, level: Level, known: &Known) -> Result<(), index::Error> {
        let Some(storage) = self.here.get(here) else {
            return Ok(());
        };
        let (uuid, root) = (storage.uuid, storage.path.clone());
        let mut files = match storage.volume.list(folder) {
            Ok(files) => files,
            Err(error) => {
                self.unread(folder, &error);
                return Ok(());
            }
        };
        files.sort_unstable();
        for path in files {
            // It goes with its recording, and can be made again.
            if level == Level::Day && path.extension().is_some_and(|extension| extension == strip::EXTENSION) {
                continue;
            }
            let text = path.to_string_lossy().into_owned();
            let Some(hash) = known.hash(&uuid, &text) else { continue };
            if known.has(hash) {
                continue;
            }
            match self.unknown(&root, &path, &text, level) {
                Some(finding) if finding.kind == Kind::FileUnknown => {
                    let (storage, place) = (uuid, root.join(&path));
                    self.unknown.push(Unknown {
                        storage,
                        place,
                        finding,
                    });
                    if self.unknown.len() >= MAX_UNKNOWN {
                        self.tell_unknown()?;
                    }
                }
                Some(finding) => self.found(&finding),
                None => {}
            }
        }
        self.progress("looking for files without a row", self.summary.files, None);
        Ok(())
    }

    /// What a file is that no row names; `None`: nothing to be told.
    fn unknown(&mut self, root: &Path, path: &Path, text: &str, level: Level) -> Option<Finding> {
        if is_leftover(path) {
            let is_new = is_fresh(std::fs::symlink_metadata(root.join(path)).and_then(|file| file.modified()));
            let is_left = level == Level::Day && !(is_new && self.is_beside_server()) && root.join(path).exists();
            let why = "the program ended while it was begun; nothing is in it";
            return is_left.then(|| Finding::new(Kind::Leftover, None, text, why));
        }
        let opened = open_below(root, text).and_then(|file| {
            let modified = file.metadata()?.modified();
            Ok((modified, Looking::<File>::begin(file)?))
        });
        let (modified, looking) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return Some(Finding::new(Kind::Unreadable, None, text, error.to_string())),
        };
        let Some(looking) = looking else {
            self.summary.other_files += u64::from(![MARK, LOCK].contains(&text));
            return None;
        };
        self.summary.files += 1;
        if is_fresh(modified) && self.is_beside_server() {
            self.summary.being_written += 1;
            return None;
        }
        let is_nameable = path.to_str().is_some_and(|name| name.len() <= MAX_PATH_BYTES);
        let camera = &looking.head().camera;
        Some(match (level, is_nameable) {
            (Level::Day, true) => Finding::new(Kind::FileUnknown, None, text, format!("a recording of {camera}")),
            (Level::Day, false) => Finding::new(Kind::Misplaced, None, text, "no row can hold such a name"),
            (Level::Other, _) => {
                let why = format!("a recording of {camera}; only CAMERA/YYYY-MM-DD is looked through");
                Finding::new(Kind::Misplaced, None, text, why)
            }
        })
    }

    /// Looks once more through all rows: a server that takes files in gives them lower numbers than those that it records, so a row may have come anywhere; and what it deletes is no
    /// longer there.
    fn tell_unknown(&mut self) -> Result<(), index::Error> {
        let unknown = std::mem::take(&mut self.unknown);
        if unknown.is_empty() {
            return Ok(());
        }
        // Asked before: that it is looked through ends behind the rows of what was found.
        let mut adopting = Vec::new();
        if self.is_beside_server() {
            for here in &self.here {
                if self.reader.adopting(&here.uuid)?.is_some() {
                    adopting.push(here.uuid);
                }
            }
        }
        let named = |unknown: &Unknown| (unknown.storage, unknown.finding.path.clone());
        let mut rest: HashSet<(StorageId, String)> = unknown.iter().map(named).collect();
        self.each_row(|row| {
            rest.remove(&(row.storage, row.path));
        })?;
        let is_starting = self.has_just_begun();
        for unknown in &unknown {
            let is_rest = rest.contains(&named(unknown));
            if !is_rest || std::fs::symlink_metadata(&unknown.place).is_err() {
                continue;
            }
            match is_starting || adopting.contains(&unknown.storage) {
                true => self.summary.being_adopted += 1,
                false => self.found(&unknown.finding),
            }
        }
        Ok(())
    }
}

/// Files of two rows that are told at the most.
const MAX_TWICE: usize = 100_000;
/// Files that no row names, for which all rows are looked through once more: a few megabytes.
const MAX_UNKNOWN: usize = 10_000;
