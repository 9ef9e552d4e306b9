//! Whether a seal stands behind what is whole: then that is damaged, and not torn.

use super::{SEAL_BYTES, UUID_BOX_BYTES, seal};

/// Takes what stands behind the last fragment that is whole, and finds whether more of the file was ever sealed.
///
/// What a kill leaves of a fragment has no seal behind it: nothing is lost when it is cut off. Where a seal is, fragments behind the damage are whole, and
/// a length in front of it that is wrong must not hide them. So all places are looked at, not boxes alone.
#[derive(Debug)]
pub struct Search {
    /// Of the seal that is due.
    number: u32,
    /// Where `pending` begins, in bytes behind what is whole.
    at: u64,
    /// The end of what was taken, in which the beginning of a seal may stand.
    pub(super) pending: Vec<u8>,
}

impl Search {
    /// Behind so many whole fragments: [`super::Whole::fragments`], [`super::Whole::bytes`] behind the head.
    pub fn new(fragments: u32) -> Self {
        Self {
            number: fragments,
            at: 0,
            pending: Vec::new(),
        }
    }

    /// Takes the next bytes. Returns whether a seal is among them.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend_from_slice(bytes);
        let mut places = self.pending.windows(SEAL_BYTES).zip(self.at..);
        let found = places.any(|(bytes, at)| self.is_seal(bytes, at));
        let done = self.pending.len().saturating_sub(SEAL_BYTES - 1);
        self.pending.drain(..done);
        self.at += done as u64;
        found
    }

    /// A later seal: its box and its number. The one that is due, which may itself be what is damaged: two of its box, its number and its place.
    fn is_seal(&self, bytes: &[u8], at: u64) -> bool {
        let is_box = bytes.starts_with(&seal::BOX);
        let Some((number, fragment_bytes)) = bytes
            .get(UUID_BOX_BYTES..)
            .and_then(|mut content| seal::place(&mut content))
        else {
            return false;
        };
        // Zeros tell no place.
        let is_here = fragment_bytes == at && at > 0;
        match (is_box, number == self.number) {
            (true, false) => number > self.number || is_here,
            (true, true) => true,
            (false, is_due) => is_due && is_here,
        }
    }
}
