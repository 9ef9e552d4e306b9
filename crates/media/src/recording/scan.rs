//! How far a file is whole: its bytes behind the head, in pieces of any size.

use super::keyframe::{self, PREFIX_BYTES};
use super::seal::{self, Sealer, Whole};
use super::table::Fragments;
use super::{MAX_FRAGMENT_BYTES, SEAL_BYTES, UUID_BOX_BYTES};

/// Why nothing behind this place counts. The end of the file in the middle of a fragment is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A box that is shorter than its own head, or longer than a fragment may be.
    #[error("a box that says it has {0} bytes")]
    Box(u32),
    /// A seal that is not that of the bytes in front of it.
    #[error("a fragment that is not what was sealed")]
    Seal,
}

/// Takes a file behind its head, and knows the last fragment that is whole.
#[derive(Debug, Default)]
pub struct Scanner {
    sealer: Sealer,
    fragment: crc32fast::Hasher,
    fragment_bytes: u64,
    /// How it begins, for its row in the table.
    prefix: Vec<u8>,
    table: Fragments,
    /// The beginning of a box, until it is known what it is.
    pending: Vec<u8>,
    /// Bytes of a box that still belong to the fragment.
    rest: u64,
    fault: Option<Fault>,
}

impl Scanner {
    /// At the first byte behind the head.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is whole of what was taken so far.
    pub fn whole(&self) -> &Whole {
        self.sealer.whole()
    }

    /// The table of what is whole, as [`super::Fragment`] told it. `None`: there are more than a table may have, or times that cannot be.
    pub fn table(&self) -> Option<&Fragments> {
        (self.table.len() == self.whole().fragments as usize).then_some(&self.table)
    }

    /// What was found where it ended, if not the end of the bytes.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Takes the next bytes. Returns whether more of them can matter.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let mut bytes = bytes;
        while !bytes.is_empty() && self.fault.is_none() {
            if self.rest > 0 {
                let now = usize::try_from(self.rest).map_or(bytes.len(), |rest| rest.min(bytes.len()));
                let (now, behind) = bytes.split_at(now);
                self.count(now);
                self.rest -= now.len() as u64;
                bytes = behind;
            } else {
                let wanted = self.wanted() - self.pending.len();
                let (now, behind) = bytes.split_at(wanted.min(bytes.len()));
                self.pending.extend_from_slice(now);
                bytes = behind;
                if self.pending.len() == self.wanted() {
                    self.fault = self.begin_box().err();
                }
            }
        }
        self.fault.is_none()
    }

    /// So much of a box is needed to go on: which it is, which `uuid`, and all of a seal.
    fn wanted(&self) -> usize {
        match self.pending.get(4..8) {
            None => 8,
            Some(b"uuid") if self.pending.len() < UUID_BOX_BYTES => UUID_BOX_BYTES,
            Some(b"uuid") if self.pending.get(8..UUID_BOX_BYTES) == Some(&seal::ID) => SEAL_BYTES,
            Some(_) => self.pending.len(),
        }
    }

    fn begin_box(&mut self) -> Result<(), Fault> {
        if self.pending.len() < self.wanted() {
            return Ok(());
        }
        let head = std::mem::take(&mut self.pending);
        let told = head.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length));
        if head.len() == SEAL_BYTES {
            let content = head.get(UUID_BOX_BYTES..).unwrap_or_default();
            let is_whole = usize::try_from(told) == Ok(SEAL_BYTES);
            let began_90k = self.whole().told.map_or(0, |told| told.end_90k);
            if !is_whole || !self.sealer.check(&self.fragment, self.fragment_bytes, content) {
                return Err(Fault::Seal);
            }
            self.list(began_90k);
            self.fragment = self.sealer.running().clone();
            self.fragment_bytes = 0;
            return Ok(());
        }
        let rest = u64::from(told).checked_sub(head.len() as u64);
        let rest = rest.filter(|rest| self.fragment_bytes + rest <= MAX_FRAGMENT_BYTES as u64);
        self.rest = rest.ok_or(Fault::Box(told))?;
        self.count(&head);
        Ok(())
    }

    /// Puts the fragment that was sealed into the table. Behind one that does not fit into it no other is: the table is short then.
    fn list(&mut self, began_90k: i64) {
        let ended_90k = self.whole().told.map_or(0, |told| told.end_90k);
        let duration_90k = u32::try_from(ended_90k.saturating_sub(began_90k));
        let keyframe = keyframe::begins(&std::mem::take(&mut self.prefix));
        if let (Ok(bytes), Ok(duration_90k)) = (usize::try_from(self.fragment_bytes), duration_90k)
            && self.table.len() + 1 == self.whole().fragments as usize
        {
            // What it refuses is missing from its length.
            let _ = self.table.push(bytes, duration_90k, keyframe);
        }
    }

    fn count(&mut self, bytes: &[u8]) {
        let wanted = PREFIX_BYTES.saturating_sub(self.prefix.len()).min(bytes.len());
        self.prefix.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
        self.fragment.update(bytes);
        self.fragment_bytes += bytes.len() as u64;
    }
}
