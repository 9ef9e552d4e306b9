//! What is sent: a plan and its files, read a piece at a time.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::opening::Slot;
use super::{CHUNK_BYTES, Error};
use crate::record::archive;
use crate::record::index::Segment;
use crate::record::play::{self, Plan};

/// What tells versions of an answer apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    pub(super) fn of<'a>(segments: impl Iterator<Item = &'a Segment>, range_90k: &Range<i64>, bytes: u64) -> Self {
        use sha2::{Digest as _, Sha256};
        let mut sum = Sha256::new();
        for number in [range_90k.start.cast_unsigned(), range_90k.end.cast_unsigned(), bytes] {
            sum.update(number.to_be_bytes());
        }
        for segment in segments {
            sum.update(segment.id.0.to_be_bytes());
            sum.update(segment.crc.to_be_bytes());
            sum.update(segment.bytes.to_be_bytes());
        }
        let hex = sum
            .finalize()
            .iter()
            .take(12)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self(hex)
    }

    /// As `ETag` has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Something that can be sent, whole or in part.
#[derive(Debug)]
pub struct Media {
    plan: Plan,
    slots: Vec<Slot>,
    /// What tells versions of it apart.
    pub mark: Mark,
    /// What it shows, in ticks of 90 kHz of Unix time.
    pub range_90k: Range<i64>,
    /// It is being recorded: there is more of it a moment later.
    pub grows: bool,
    /// All that there is of its range was known. False: what is archived could not be asked for, and there may be more another time.
    pub knows_all: bool,
    permit: OwnedSemaphorePermit,
    /// Of what lies in the archive.
    place: Option<OwnedSemaphorePermit>,
}

impl Media {
    pub(super) fn new(
        plan: Plan,
        slots: Vec<Slot>,
        mark: Mark,
        range_90k: Range<i64>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            plan,
            slots,
            mark,
            range_90k,
            grows: false,
            knows_all: true,
            permit,
            place: None,
        }
    }

    pub(super) fn growing(self, grows: bool) -> Self {
        Self { grows, ..self }
    }

    pub(super) fn knowing_all(self, knows_all: bool) -> Self {
        Self { knows_all, ..self }
    }

    /// Where some of it lies in the archive, takes a place among those who send from there, and asks whether the first such file is there: once a part of an answer is sent no fault
    /// can be told any more.
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Busy`].
    pub(super) async fn looked_at(mut self) -> Result<Self, Error> {
        let mut files = self.plan.files(0..self.plan.len());
        let first = files.find_map(|file| self.slots.get(file)?.archived());
        drop(files);
        let Some(object) = first.transpose().map_err(Error::Away)? else {
            return Ok(self);
        };
        self.place = Some(object.place().ok_or(Error::Busy {
            what: "archived recordings that are sent",
            limit: archive::MAX_SENDING,
        })?);
        let looked = object.look().await;
        looked.map_err(|failed| {
            tracing::warn!("an archived recording cannot be played: {failed}");
            Error::Away(failed)
        })?;
        Ok(self)
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.plan.len()
    }

    /// Sends a range of it: what is not needed for it is closed.
    pub fn sending(mut self, range: Range<u64>) -> Sending {
        let wanted: Vec<usize> = self.plan.files(range.clone()).collect();
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if !wanted.contains(&number) {
                slot.file = None;
            }
        }
        Sending {
            plan: self.plan,
            slots: self.slots,
            left: range,
            _permits: (self.permit, self.place),
        }
    }
}

/// A range on its way.
#[derive(Debug)]
pub struct Sending {
    plan: Plan,
    slots: Vec<Slot>,
    left: Range<u64>,
    _permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl Sending {
    /// How much is left to be sent, in bytes.
    pub fn left(&self) -> u64 {
        self.left.end.saturating_sub(self.left.start)
    }

    /// The next bytes, at most [`CHUNK_BYTES`], on a thread that may wait for the disk, or the archive. Empty: that is all.
    ///
    /// # Errors
    /// Of the disk: nothing more comes.
    pub fn read(&mut self) -> io::Result<Bytes> {
        let end = self.left.end.min(self.left.start.saturating_add(CHUNK_BYTES));
        let range = self.left.start..end;
        let files: Vec<usize> = self.plan.files(range.clone()).collect();
        for number in &files {
            if let Some(slot) = self.slots.get_mut(*number) {
                slot.open()?;
            }
        }
        // Those in front of them were sent.
        let first = files.first().copied().unwrap_or(0);
        for slot in self.slots.iter_mut().take(first) {
            slot.file = None;
        }
        let mut out = Vec::with_capacity((range.end - range.start) as usize);
        self.plan.read(range, &OfPlan(&self.slots), &mut out)?;
        self.left.start = end;
        Ok(Bytes::from(out))
    }
}

struct OfPlan<'a>(&'a [Slot]);

impl play::Files for OfPlan<'_> {
    fn read_at(&self, file: usize, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = self.0.get(file).and_then(|slot| slot.file.as_ref());
        file.ok_or(io::ErrorKind::NotFound)?.read_at(at, into)
    }
}
