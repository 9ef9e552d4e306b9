//! Reading what exports are made of: one file after the other, and the tables of fragments.

use std::io;

use media::recording::{Run, moof_bytes, runs};

use super::write::Stop;
use crate::record::library::opening::{Opened, Slot};

/// Files that are read one after the other: one is open.
#[derive(Debug, Default)]
pub(super) struct Files {
    slots: Vec<Slot>,
    open: Option<usize>,
}

impl Files {
    pub(super) fn push(&mut self, slot: Slot) -> usize {
        self.slots.push(slot);
        self.slots.len() - 1
    }

    /// Reads exactly as much as there is room for.
    ///
    /// # Errors
    /// Of the system; [`io::ErrorKind::UnexpectedEof`] where the file is shorter.
    pub(super) fn read(&mut self, file: usize, at: u64, into: &mut [u8]) -> io::Result<()> {
        if let Some(before) = self.open.replace(file).filter(|before| *before != file)
            && let Some(slot) = self.slots.get_mut(before)
        {
            slot.file = None;
        }
        let slot = self.slots.get_mut(file).ok_or(io::ErrorKind::NotFound)?;
        slot.open()?;
        read(slot.file.as_ref().ok_or(io::ErrorKind::NotFound)?, at, into)
    }
}

fn read(file: &Opened, at: u64, into: &mut [u8]) -> io::Result<()> {
    let mut read = 0;
    while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(at + read as u64, rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The runs of a fragment, which lie in it.
pub(super) fn read_runs(file: &Opened, at: u64, bytes: u32) -> Result<Vec<Run>, Stop> {
    let damaged = |why: &str| Stop::Disk(io::Error::new(io::ErrorKind::InvalidData, why));
    // Long enough for most.
    let mut moof = vec![0; (bytes as usize).min(FIRST_BYTES)];
    read(file, at, &mut moof)?;
    let length = moof_bytes(&moof).ok_or_else(|| damaged("there is no fragment where one was recorded"))?;
    if length > bytes as usize {
        return Err(damaged("a fragment is longer than it was recorded"));
    }
    if length > moof.len() {
        moof.resize(length, 0);
        read(file, at, &mut moof)?;
    }
    let runs = runs(&moof).map_err(|error| damaged(&error.to_string()))?;
    let is_inside = |run: &Run| {
        let ends = run
            .samples
            .iter()
            .try_fold(run.at, |at, sample| at.checked_add(sample.bytes));
        let is_sound = run.decode <= MAX_DECODE && run.samples.iter().all(|sample| sample.bytes > 0);
        is_sound && ends.is_some_and(|end| end <= bytes)
    };
    match runs.iter().all(is_inside) {
        true => Ok(runs),
        false => Err(damaged("a fragment tells of more than it holds")),
    }
}

/// What is read of a fragment at first.
const FIRST_BYTES: usize = 4 << 10;
/// No decode time of ours comes near: 1,000 years of 90 kHz.
const MAX_DECODE: u64 = 1 << 52;
