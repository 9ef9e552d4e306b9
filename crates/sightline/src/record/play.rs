//! What is played of recordings, as plans: which bytes of which files, and which are made anew.
//!
//! Belongs here: which fragments a clip is made of, where each byte of it comes from, so that its length is known and any range of it can be sent before anything is read.
//! Does not belong here: which files there are ([`super::index`]), opening them ([`super::library`]), boxes ([`media::recording::Header`]).
//!
//! - A clip begins with the last keyframe in front of its start, and ends with the fragment that holds its end: a second more at the most. It is a file like any
//!   other: a header of its own, fragments from time zero on, numbered from one, without seals.
//! - It ends where something is missing, and before a file that needs another header.
//! - A file for a list of HLS is the file itself, byte for byte at the same places, with its fragments put at a later time: so the files of a run follow each other.

mod once;

use std::io;
use std::ops::Range;

use bytes::Bytes;
use media::recording::{Entry, Fragments, Header, Row, SEAL_BYTES, moof_bytes};

pub use self::once::{Once, once};
use super::index::Segment;

/// What of a file a clip takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Which file of those that were given.
    pub file: usize,
    /// Which of its fragments.
    pub rows: Range<usize>,
    /// When the first of them begins.
    pub begins_90k: i64,
    /// When the last of them ends.
    pub ends_90k: i64,
}

/// Which fragments of these files, which are of one camera and in order, a clip of a range is made of: up to the first gap.
pub fn choose(files: &[(Segment, Fragments)], range_90k: Range<i64>) -> Vec<Chosen> {
    let mut chosen: Vec<Chosen> = Vec::new();
    let mut run = None;
    for (number, (segment, fragments)) in files.iter().enumerate() {
        let since = |at_90k: i64| at_90k.saturating_sub(segment.start_90k);
        let rows = fragments.within(since(range_90k.start)..since(range_90k.end));
        let (Some(first), Some(last)) = (
            fragments.iter().nth(rows.start),
            fragments.iter().nth(rows.end.saturating_sub(1)),
        ) else {
            continue;
        };
        if rows.is_empty() {
            continue;
        }
        let at = |ticks: u64| segment.start_90k.saturating_add(ticks.cast_signed());
        let begins_90k = at(first.begins_90k);
        // A file ends when it is told to, which drift may have pulled away from what its fragments last.
        let ends_90k = match rows.end == fragments.len() {
            true => segment.end_90k(),
            false => at(last.begins_90k + u64::from(last.duration_90k)),
        };
        let is_next = chosen.last().is_none_or(|before| {
            let apart_90k = begins_90k.saturating_sub(before.ends_90k).saturating_abs();
            run == Some(segment.run) && apart_90k <= NEAR_90K
        });
        if !is_next {
            break;
        }
        run = Some(segment.run);
        chosen.push(Chosen {
            file: number,
            rows,
            begins_90k,
            ends_90k,
        });
    }
    chosen
}

/// Bytes of files and bytes made anew, one behind the other.
#[derive(Clone, Debug)]
pub struct Plan {
    header: Header,
    parts: Vec<Part>,
    bytes: u64,
}

/// A stretch of a plan.
#[derive(Clone, Debug)]
struct Part {
    /// Where it ends in the plan.
    ends: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Made(Bytes),
    Copied { file: usize, from: u64, bytes: u64 },
    Fragments(Stretch),
}

/// Fragments of one file.
#[derive(Clone, Debug)]
struct Stretch {
    file: usize,
    head_bytes: u64,
    fragments: Fragments,
    rows: Range<usize>,
    by_90k: i64,
    /// Of the first; `None`: they keep theirs, and their seals.
    number: Option<u32>,
}

/// What a plan has at a place, all of it or a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub from: From,
    /// Which of its bytes.
    pub part: Range<u64>,
}

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// They were made anew.
    Made(Bytes),
    /// As they are in a file.
    File {
        /// Which of those that were given.
        file: usize,
        /// From there on.
        at: u64,
    },
    /// A fragment of a file, put at another time.
    Fragment {
        /// Which file.
        file: usize,
        /// Where it begins.
        at: u64,
        /// How long it is.
        bytes: u32,
        /// Its number in the plan; `None`: the one that it has.
        number: Option<u32>,
        /// So much later.
        by_90k: i64,
    },
}

impl Plan {
    /// A clip of what was chosen, as far as one header serves: `headers` are those of the files that were chosen, as many as are known. `None`: nothing was.
    pub fn clip(files: &[(Segment, Fragments)], chosen: &[Chosen], headers: &[Header]) -> Option<(Self, Range<i64>)> {
        let header = headers.first()?;
        let fitting = headers.iter().take_while(|other| header.covers(other)).count();
        let (mut entries, mut parts) = (Vec::new(), Vec::new());
        let (mut ticks, mut bytes) = (0_i64, 0_u64);
        let mut range_90k: Option<Range<i64>> = None;
        for chosen in chosen.iter().take(fitting) {
            let (segment, fragments) = files.get(chosen.file)?;
            let stretch = Stretch {
                file: chosen.file,
                head_bytes: u64::from(segment.head_bytes),
                fragments: fragments.clone(),
                rows: chosen.rows.clone(),
                by_90k: 0,
                number: Some(u32::try_from(entries.len()).unwrap_or(u32::MAX).saturating_add(1)),
            };
            let first_90k = stretch.rows().next()?.begins_90k.cast_signed();
            let by_90k = ticks.saturating_sub(first_90k);
            for row in stretch.rows() {
                ticks = ticks.saturating_add(i64::from(row.duration_90k));
                bytes += u64::from(row.bytes);
                entries.push(Entry {
                    bytes: row.bytes,
                    duration_90k: row.duration_90k,
                    keyframe: row.keyframe,
                });
            }
            parts.push((bytes, Stretch { by_90k, ..stretch }));
            let begins_90k = range_90k.map_or(chosen.begins_90k, |range| range.start);
            range_90k = Some(begins_90k..chosen.ends_90k);
        }
        let head = Bytes::from(header.write(&entries));
        let head_bytes = head.len() as u64;
        let made = Part {
            ends: head_bytes,
            what: What::Made(head),
        };
        let fragments = parts.into_iter().map(|(ends, stretch)| Part {
            ends: head_bytes + ends,
            what: What::Fragments(stretch),
        });
        let plan = Self {
            header: header.clone(),
            parts: std::iter::once(made).chain(fragments).collect(),
            bytes: head_bytes + bytes,
        };
        Some((plan, range_90k?))
    }

    /// A file as it is, the only one that is given, with its fragments so much later where that is asked for.
    pub fn file(segment: &Segment, fragments: &Fragments, header: Header, by_90k: i64) -> Self {
        let head_bytes = u64::from(segment.head_bytes);
        let copied = |from: u64, until: u64| Part {
            ends: until,
            what: What::Copied {
                file: 0,
                from,
                bytes: until.saturating_sub(from),
            },
        };
        let known = head_bytes + fragments.bytes();
        if by_90k == 0 || fragments.is_empty() || known > segment.bytes {
            return Self {
                header,
                parts: vec![copied(0, segment.bytes)],
                bytes: segment.bytes,
            };
        }
        let stretch = Stretch {
            file: 0,
            head_bytes,
            fragments: fragments.clone(),
            rows: 0..fragments.len(),
            by_90k,
            number: None,
        };
        let moved = Part {
            ends: known,
            what: What::Fragments(stretch),
        };
        Self {
            header,
            parts: vec![copied(0, head_bytes), moved, copied(known, segment.bytes)],
            bytes: segment.bytes,
        }
    }

    /// How long it is.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The files that a range of it is read from.
    pub fn files(&self, range: Range<u64>) -> impl Iterator<Item = usize> + '_ {
        let from = self.parts.partition_point(|part| part.ends <= range.start);
        let begins = |index: usize| self.parts.get(index.wrapping_sub(1)).map_or(0, |before| before.ends);
        let parts = self.parts.iter().enumerate().skip(from);
        let mut files: Vec<usize> = parts
            .take_while(|(index, _)| begins(*index) < range.end)
            .filter_map(|(_, part)| match &part.what {
                What::Made(_) => None,
                What::Copied { file, .. } => Some(*file),
                What::Fragments(stretch) => Some(stretch.file),
            })
            .collect();
        files.dedup();
        files.into_iter()
    }

    /// What stands in a range of it, in order.
    pub fn bytes(&self, range: Range<u64>) -> impl Iterator<Item = Piece> + '_ {
        let from = self.parts.partition_point(|part| part.ends <= range.start);
        let mut begins = self.parts.get(from.wrapping_sub(1)).map_or(0, |before| before.ends);
        let parts = self.parts.iter().skip(from).map(move |part| {
            let at = begins;
            begins = part.ends;
            (at, part)
        });
        let until = range.end;
        let pieces = parts
            .take_while(move |(at, _)| *at < until)
            .flat_map(|(at, part)| part.what.pieces(at));
        let cut = pieces.map_while(move |(at, bytes, from)| {
            let part = range.start.max(at)..range.end.min(at + bytes);
            (at < range.end).then(|| {
                (part.start < part.end).then(|| Piece {
                    from,
                    part: part.start - at..part.end - at,
                })
            })
        });
        cut.flatten()
    }

    /// Reads a range of it behind what `out` has.
    ///
    /// # Errors
    /// Of the files; [`io::ErrorKind::InvalidData`] where one does not hold what the plan was made of.
    pub fn read(&self, range: Range<u64>, files: &impl Files, out: &mut Vec<u8>) -> io::Result<()> {
        for Piece { from, part } in self.bytes(range) {
            match from {
                From::Made(bytes) => {
                    let part = usize::try_from(part.start).ok().zip(usize::try_from(part.end).ok());
                    let part = part.and_then(|(start, end)| bytes.get(start..end));
                    out.extend_from_slice(part.unwrap_or_default());
                }
                From::File { file, at } => append(files, file, at + part.start, part.end - part.start, out)?,
                From::Fragment {
                    file,
                    at,
                    number,
                    by_90k,
                    ..
                } => {
                    self.fragment(files, (file, at), (number, by_90k), part, out)?;
                }
            }
        }
        Ok(())
    }

    /// Mostly one call: its beginning is changed where it stands in what was read.
    fn fragment(
        &self,
        files: &impl Files,
        (file, at): (usize, u64),
        (number, by_90k): (Option<u32>, i64),
        part: Range<u64>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut begin = Vec::with_capacity(8);
        let behind = out.len();
        let is_begun = part.start == 0;
        if is_begun {
            append(files, file, at, part.end, out)?;
            begin.extend_from_slice(out.get(behind..).unwrap_or_default().get(..8).unwrap_or_default());
        }
        if begin.is_empty() {
            append(files, file, at, 8, &mut begin)?;
        }
        let moof = moof_bytes(&begin).ok_or_else(|| not_as_planned("there is no fragment where one was recorded"))?;
        let shifted = |bytes: &mut [u8]| {
            let shifted = self.header.shift(bytes, number, by_90k);
            shifted.map_err(|error| not_as_planned(&error.to_string()))
        };
        if is_begun && part.end >= moof as u64 {
            return shifted(out.get_mut(behind..behind + moof).unwrap_or_default());
        }
        out.truncate(behind);
        let mut bytes = Vec::new();
        if part.start < moof as u64 {
            append(files, file, at, moof as u64, &mut bytes)?;
            shifted(&mut bytes)?;
            let until = part.end.min(moof as u64) as usize;
            out.extend_from_slice(bytes.get(part.start as usize..until).unwrap_or_default());
        }
        let from = part.start.max(moof as u64);
        append(files, file, at + from, part.end.saturating_sub(from), out)
    }
}

impl What {
    /// Each piece with its place and its length.
    fn pieces(&self, at: u64) -> Box<dyn Iterator<Item = (u64, u64, From)> + '_> {
        match self {
            Self::Made(bytes) => Box::new(std::iter::once((at, bytes.len() as u64, From::Made(bytes.clone())))),
            Self::Copied { file, from, bytes } => {
                let from = From::File { file: *file, at: *from };
                Box::new(std::iter::once((at, *bytes, from)))
            }
            Self::Fragments(stretch) => Box::new(stretch.pieces(at)),
        }
    }
}

impl Stretch {
    fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.fragments.iter().skip(self.rows.start).take(self.rows.len())
    }

    fn pieces(&self, at: u64) -> impl Iterator<Item = (u64, u64, From)> + '_ {
        let mut begins = at;
        self.rows().zip(0..).flat_map(move |(row, index)| {
            let (at, file) = (self.head_bytes + row.at, self.file);
            let fragment = From::Fragment {
                file,
                at,
                bytes: row.bytes,
                number: self.number.map(|first| first.saturating_add(index)),
                by_90k: self.by_90k,
            };
            let bytes = u64::from(row.bytes);
            let seal = From::File { file, at: at + bytes };
            let here = begins;
            let sealed = self.number.is_none().then_some((here + bytes, SEAL_BYTES as u64, seal));
            begins = here + bytes + sealed.as_ref().map_or(0, |_| SEAL_BYTES as u64);
            std::iter::once((here, bytes, fragment)).chain(sealed)
        })
    }
}

/// Open files, by their numbers.
pub trait Files {
    /// Reads from a place of one of them. 0: it ends there.
    ///
    /// # Errors
    /// Of the system.
    fn read_at(&self, file: usize, at: u64, into: &mut [u8]) -> io::Result<usize>;
}

/// Reads so many bytes behind what is there.
fn append(files: &impl Files, file: usize, at: u64, bytes: u64, out: &mut Vec<u8>) -> io::Result<()> {
    let begin = out.len();
    let bytes = usize::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    out.resize(begin + bytes, 0);
    let (mut read, mut rest) = (0_u64, out.get_mut(begin..).unwrap_or_default());
    while !rest.is_empty() {
        match files.read_at(file, at + read, rest) {
            Ok(0) => return Err(not_as_planned("a file is shorter than what was recorded")),
            Ok(count) => {
                read += count as u64;
                rest = rest.get_mut(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn not_as_planned(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// What is no further apart goes on: rounding of clocks, 10 ms.
const NEAR_90K: i64 = 900;

#[cfg(test)]
mod tests;
