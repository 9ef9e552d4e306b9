//! The fragments of a file as a table: where each is, how long it lasts, whether pictures can be decoded from it on.
//!
//! A fragment is two numbers of seven bits a byte, the lowest first, the highest bit saying that more follow (LEB128): its bytes; and its duration as the
//! difference to the one before, zigzag (0, −1, 1, −2 … are 0, 1, 2, 3 …), times two, plus one where it begins with a keyframe. That is four or five bytes a
//! fragment of a camera: 2 to 16 Mb/s have three for the bytes, and durations that hardly change one or two.

use std::ops::Range;

use super::{MAX_FRAGMENT_BYTES, SEAL_BYTES};

/// Fragments of a file at the most: four and a half hours of two a second.
pub const MAX_FRAGMENTS: usize = 1 << 15;
/// The longest table, in bytes.
pub const MAX_TABLE_BYTES: usize = MAX_FRAGMENTS * (LONGEST_LENGTH_BYTES + LONGEST_BITS as usize / BITS as usize);

/// Bits that a byte of a number has.
const BITS: u32 = 7;
/// Of a byte: more of its number follows.
const MORE: u8 = 1 << BITS;

/// A fragment in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it begins, in bytes behind the head of the file.
    pub at: u64,
    /// Its bytes, from 1 to [`MAX_FRAGMENT_BYTES`]. Its seal follows, which is not among them.
    pub bytes: u32,
    /// Where it begins, in ticks of 90 kHz since the first picture of the file.
    pub begins_90k: u64,
    /// How long it lasts, in ticks of 90 kHz.
    pub duration_90k: u32,
    /// It begins with a keyframe.
    pub keyframe: bool,
}

/// Why there is no such table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// It ends in the middle of a fragment.
    #[error("it ends in the middle of fragment {0}")]
    Torn(usize),
    /// A number that is longer than it may be, or than it need be.
    #[error("a number of fragment {0} that is none")]
    Number(usize),
    /// A fragment of no bytes, or of more than [`MAX_FRAGMENT_BYTES`].
    #[error("fragment {0} has {1} bytes; 1 to {MAX_FRAGMENT_BYTES} are written")]
    Bytes(usize, u64),
    /// A fragment whose duration is negative, or 2³² ticks or more.
    #[error("fragment {0} lasts {1} ticks of 90 kHz")]
    Duration(usize, i64),
    /// More than [`MAX_FRAGMENTS`].
    #[error("more than {MAX_FRAGMENTS} fragments")]
    TooMany,
}

/// The fragments of a file, in order, without gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragments {
    encoded: Vec<u8>,
    count: usize,
    bytes: u64,
    duration_90k: u64,
    last_duration_90k: u32,
}

impl Fragments {
    /// Of a file without any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what [`Fragments::as_bytes`] gave.
    ///
    /// # Errors
    /// [`BadTable`]: none of it is to be believed.
    pub fn read(encoded: &[u8]) -> Result<Self, BadTable> {
        let mut rest = encoded;
        let mut table = Self::default();
        while !rest.is_empty() {
            let number = table.count;
            let bytes = take(&mut rest, number)?;
            let word = take(&mut rest, number)?;
            let last = i64::from(table.last_duration_90k);
            let duration = last.saturating_add(from_zigzag(word >> 1));
            let duration_90k = u32::try_from(duration).map_err(|_| BadTable::Duration(number, duration))?;
            let bytes = u32::try_from(bytes).map_err(|_| BadTable::Bytes(number, bytes))?;
            table.count_in(bytes, duration_90k)?;
        }
        table.encoded = encoded.to_vec();
        Ok(table)
    }

    /// The next fragment: its bytes without its seal, its duration in ticks of 90 kHz, and whether it begins with a keyframe.
    ///
    /// # Errors
    /// [`BadTable`]: it is not in the table.
    pub fn push(&mut self, bytes: usize, duration_90k: u32, keyframe: bool) -> Result<(), BadTable> {
        let difference = i64::from(duration_90k) - i64::from(self.last_duration_90k);
        let bytes = u32::try_from(bytes).map_err(|_| BadTable::Bytes(self.count, bytes as u64))?;
        self.count_in(bytes, duration_90k)?;
        put(u64::from(bytes), &mut self.encoded);
        put(to_zigzag(difference) << 1 | u64::from(keyframe), &mut self.encoded);
        Ok(())
    }

    /// The table: what an index keeps.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all of them and their seals: the file ends so far behind its head.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How long they last together, in ticks of 90 kHz.
    pub fn duration_90k(&self) -> u64 {
        self.duration_90k
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Row> + '_ {
        let mut rest = self.encoded.as_slice();
        let (mut number, mut at, mut begins_90k, mut last) = (0, 0, 0, 0_i64);
        std::iter::from_fn(move || {
            let bytes = u32::try_from(take(&mut rest, number).ok()?).ok()?;
            let word = take(&mut rest, number).ok()?;
            last += from_zigzag(word >> 1);
            let row = Row {
                at,
                bytes,
                begins_90k,
                duration_90k: u32::try_from(last).ok()?,
                keyframe: word & 1 == 1,
            };
            number += 1;
            at += u64::from(bytes) + SEAL_BYTES as u64;
            begins_90k += u64::from(row.duration_90k);
            Some(row)
        })
    }

    /// Which of them have a part in these ticks of 90 kHz since the first picture of the file, with those in front of them back to a keyframe, for decoders
    /// to begin with.
    pub fn within(&self, range_90k: Range<i64>) -> Range<usize> {
        let (mut first, mut end, mut ends_90k) = (0, 0, i64::MIN);
        for (number, row) in self.iter().enumerate() {
            let begins_90k = row.begins_90k.cast_signed();
            if begins_90k >= range_90k.end {
                break;
            }
            if row.keyframe && begins_90k <= range_90k.start {
                first = number;
            }
            end = number + 1;
            ends_90k = begins_90k.saturating_add(i64::from(row.duration_90k));
        }
        if ends_90k <= range_90k.start { 0..0 } else { first..end }
    }

    /// Sums cannot overflow: a table has [`MAX_FRAGMENTS`] of less than 2³².
    fn count_in(&mut self, bytes: u32, duration_90k: u32) -> Result<(), BadTable> {
        if self.count == MAX_FRAGMENTS {
            return Err(BadTable::TooMany);
        }
        if bytes == 0 || bytes as usize > MAX_FRAGMENT_BYTES {
            return Err(BadTable::Bytes(self.count, u64::from(bytes)));
        }
        self.count += 1;
        self.bytes += u64::from(bytes) + SEAL_BYTES as u64;
        self.duration_90k += u64::from(duration_90k);
        self.last_duration_90k = duration_90k;
        Ok(())
    }
}

fn to_zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

fn from_zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= u64::from(MORE) {
        out.push(number as u8 | MORE);
        number >>= BITS;
    }
    out.push(number as u8);
}

/// Takes a number from the front: of fragment `of`, for the error.
fn take(rest: &mut &[u8], of: usize) -> Result<u64, BadTable> {
    let mut number = 0;
    for place in (0..LONGEST_BITS).step_by(BITS as usize) {
        let Some((byte, behind)) = rest.split_first() else {
            return Err(BadTable::Torn(of));
        };
        *rest = behind;
        number |= u64::from(byte & !MORE) << place;
        if byte & MORE == 0 {
            // One way to write each number.
            let is_shortest = *byte > 0 || place == 0;
            return if is_shortest {
                Ok(number)
            } else {
                Err(BadTable::Number(of))
            };
        }
    }
    Err(BadTable::Number(of))
}

/// Five bytes: the difference of two durations and its flag have 34 bits.
const LONGEST_BITS: u32 = 5 * BITS;
/// What [`MAX_FRAGMENT_BYTES`] takes.
const LONGEST_LENGTH_BYTES: usize = (usize::BITS - MAX_FRAGMENT_BYTES.leading_zeros()).div_ceil(BITS) as usize;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn table(rows: impl IntoIterator<Item = (usize, u32, bool)>) -> Fragments {
        let mut table = Fragments::new();
        for (bytes, duration_90k, keyframe) in rows {
            table.push(bytes, duration_90k, keyframe).unwrap();
        }
        table
    }

    /// The form on disk: it must be read for as long as there are recordings.
    #[test]
    fn a_table_is_these_bytes() {
        let table = table([(250_000, 90_000, true), (1, 90_000, false), (127, 89_999, true)]);
        assert_eq!(
            table.as_bytes(),
            [
                0x90, 0xa1, 0x0f, // 250,000
                0xc1, 0xfc, 0x15, // 90,000 more than 0 is 180,000, a keyframe
                0x01, 0x00, // 1, as long as the one before, none
                0x7f, 0x03, // 127, a tick less is 1, a keyframe
            ]
        );
        let row = |at, bytes, begins_90k, duration_90k, keyframe| Row {
            at,
            bytes,
            begins_90k,
            duration_90k,
            keyframe,
        };
        let rows: Vec<Row> = table.iter().collect();
        assert_eq!(
            rows,
            [
                row(0, 250_000, 0, 90_000, true),
                row(250_052, 1, 90_000, 90_000, false),
                row(250_105, 127, 180_000, 89_999, true),
            ]
        );
        assert_eq!((table.bytes(), table.duration_90k()), (250_128 + 3 * 52, 269_999));
    }

    /// What the design reckons with: a year of eight cameras is 250 million of them.
    #[test]
    fn a_fragment_is_five_bytes() {
        // A second each, of a clock that is read in milliseconds.
        let rows = (0..60_u32).map(|second| (230_000 + 997 * second as usize, 89_955 + 90 * (second % 2), true));
        assert!(table(rows).as_bytes().len() <= 5 * 60 + 2);
    }

    #[rstest]
    #[case::torn(&[5], BadTable::Torn(0))]
    #[case::torn_in_a_number(&[5, 0, 0x80], BadTable::Torn(1))]
    #[case::a_number_that_could_be_shorter(&[0x85, 0], BadTable::Number(0))]
    #[case::a_number_without_end(&[0xff; 40], BadTable::Number(0))]
    #[case::no_bytes(&[0, 0], BadTable::Bytes(0, 0))]
    #[case::too_many_bytes(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0], BadTable::Bytes(0, 0xffff_ffff))]
    #[case::a_negative_duration(&[5, 4, 5, 6], BadTable::Duration(1, -1))]
    fn what_is_no_table(#[case] bytes: &[u8], #[case] why: BadTable) {
        assert_eq!(Fragments::read(bytes), Err(why));
    }

    #[test]
    fn a_table_has_limits() {
        // Durations that are as far from each other as they can be.
        let duration_90k = |number: usize| if number.is_multiple_of(2) { u32::MAX } else { 0 };
        let mut full = table((0..MAX_FRAGMENTS).map(|number| (MAX_FRAGMENT_BYTES, duration_90k(number), true)));
        let bytes = full.as_bytes().to_vec();
        assert_eq!(bytes.len(), MAX_TABLE_BYTES);
        assert_eq!(Fragments::read(&bytes).as_ref(), Ok(&full));
        assert_eq!(full.push(1, 1, true), Err(BadTable::TooMany));
        assert_eq!(full.as_bytes(), bytes);
        assert_eq!(Fragments::read(&[&bytes[..], &[1, 0]].concat()), Err(BadTable::TooMany));
        let mut table = Fragments::new();
        let large = MAX_FRAGMENT_BYTES + 1;
        assert_eq!(table.push(large, 1, true), Err(BadTable::Bytes(0, large as u64)));
        assert_eq!(table.push(0, 1, true), Err(BadTable::Bytes(0, 0)));
        assert!(table.is_empty() && table.as_bytes().is_empty());
    }

    proptest! {
        #[test]
        fn a_table_is_read_as_it_was_written(
            rows in proptest::collection::vec((1..=MAX_FRAGMENT_BYTES, any::<u32>(), any::<bool>()), 0..100),
        ) {
            let table = table(rows.iter().copied());
            let again = Fragments::read(table.as_bytes());
            prop_assert_eq!(again.as_ref(), Ok(&table));
            let read: Vec<_> = table.iter().map(|row| (row.bytes as usize, row.duration_90k, row.keyframe)).collect();
            prop_assert_eq!(read, rows);
            let end = table.iter().last().map_or((0, 0), |row| {
                (row.at + u64::from(row.bytes) + SEAL_BYTES as u64, row.begins_90k + u64::from(row.duration_90k))
            });
            prop_assert_eq!(end, (table.bytes(), table.duration_90k()));
        }

        /// Whatever an index gives back: a table that would be written like this, or none.
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(table) = Fragments::read(&bytes) {
                prop_assert_eq!(table.iter().count(), table.len());
                let mut again = Fragments::new();
                for row in table.iter() {
                    again.push(row.bytes as usize, row.duration_90k, row.keyframe).unwrap();
                }
                prop_assert_eq!(again.as_bytes(), bytes);
            }
        }
    }
}
