//! Lists of recordings (RFC 8216 §4.3.3.5): pieces of about six seconds of the files themselves, by their byte ranges.
//!
//! Belongs here: where a piece begins and ends, what stands in the list. Does not belong here: which files there are, at which URLs they are
//! served, that their decode times follow each other within a run (who serves them sees to that).
//!
//! - A piece is whole fragments of one file. It ends before the first fragment with a keyframe that comes [`PIECE_90K`] or more after its beginning, and before any that would make
//!   it longer than [`TARGET_S`]. So where files stay the same, so do pieces: a list that is asked for again has grown at its end, and nowhere else.
//! - Of a file that is being recorded the last piece is left out.
//! - A list is [`MAX_90K`] long at the most.
//! - `EXT-X-DISCONTINUITY` stands where something is missing or another run begins, and where a header has another length: other tracks, or other parameter
//!   sets. Each file brings its own `EXT-X-MAP` in any case.

use std::fmt::Write as _;

use media::WallTime;
use media::recording::{Fragments, Row};

use super::render::Text;

/// A file, or what of it is to be listed.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Where it is served, relative to the list, with its query.
    pub uri: &'a str,
    /// Bytes of its header, from its beginning on: what `EXT-X-MAP` names.
    pub header_bytes: u32,
    /// In front of its first fragment.
    pub head_bytes: u32,
    /// When its first picture was, in ticks of 90 kHz of Unix time.
    pub start_90k: i64,
    /// When it ended, likewise: where drift is pulled in, that is not quite what its fragments last.
    pub end_90k: i64,
    /// From when on it is to be listed, where that is not its beginning.
    pub from_90k: i64,
    /// All of its fragments.
    pub fragments: &'a Fragments,
    /// Files without a gap between them have the same.
    pub run: u64,
    /// It is being recorded: its last piece may become longer, and is not listed before it is whole.
    pub grows: bool,
}

/// Whether more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is complete.
    Vod,
    /// It grows at its end.
    Event,
}

/// A list of what is recorded in a range.
#[derive(Clone, Debug)]
pub struct List {
    from_90k: i64,
    until_90k: i64,
    body: String,
    /// Where the first piece begins.
    begins_90k: Option<i64>,
    before: Option<Before>,
    pieces: usize,
}

/// Of the file before.
#[derive(Clone, Copy, Debug)]
struct Before {
    run: u64,
    header_bytes: u32,
    end_90k: i64,
}

impl List {
    /// For these instants, in ticks of 90 kHz of Unix time; what is beyond [`MAX_90K`] is left out.
    pub fn new(range_90k: std::ops::Range<i64>) -> Self {
        Self {
            from_90k: range_90k.start,
            until_90k: range_90k.end.min(range_90k.start.saturating_add(MAX_90K)),
            body: String::with_capacity(16 << 10),
            begins_90k: None,
            before: None,
            pieces: 0,
        }
    }

    /// How many pieces there are so far.
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// The next file, by where it begins: what of it lies in the range, from the last keyframe on in front of it.
    pub fn file(&mut self, file: &File<'_>) {
        let since = |at_90k: i64| at_90k.saturating_sub(file.start_90k);
        let within = file
            .fragments
            .within(since(self.from_90k.max(file.from_90k))..since(self.until_90k));
        let mut rows: Vec<Row> = file.fragments.iter().skip(within.start).take(within.len()).collect();
        if file.grows && within.end == file.fragments.len() {
            let last = Pieces(&rows).last().map_or(0, <[Row]>::len);
            rows.truncate(rows.len().saturating_sub(last));
        }
        let Some(first) = rows.first() else { return };
        let begins_90k = file.start_90k.saturating_add(first.begins_90k.cast_signed());
        self.begins_90k.get_or_insert(begins_90k);
        if self.before.is_some_and(|before| !before.goes_on_with(file, begins_90k)) {
            self.body.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let _ = writeln!(
            self.body,
            "#EXT-X-MAP:URI=\"{}\",BYTERANGE=\"{}@0\"",
            file.uri, file.header_bytes
        );
        for piece in Pieces(&rows) {
            self.piece(file, piece);
        }
        let end_90k = match (rows.last(), within.end == file.fragments.len()) {
            (Some(last), false) => end_of(file, last),
            _ => file.end_90k,
        };
        self.before = Some(Before {
            run: file.run,
            header_bytes: file.header_bytes,
            end_90k,
        });
    }

    fn piece(&mut self, file: &File<'_>, rows: &[Row]) {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return;
        };
        let ticks: u64 = rows.iter().map(|row| u64::from(row.duration_90k)).sum();
        let begins_90k = file.start_90k.saturating_add(first.begins_90k.cast_signed());
        // With the seals between them, and without that behind the last.
        let bytes = last.at + u64::from(last.bytes) - first.at;
        let at = u64::from(file.head_bytes) + first.at;
        self.body.push_str("#EXT-X-PROGRAM-DATE-TIME:");
        wall(begins_90k).write_rfc3339(&mut self.body);
        let _ = write!(
            self.body,
            "\n#EXTINF:{},\n#EXT-X-BYTERANGE:{bytes}@{at}\n{}\n",
            seconds(ticks.cast_signed()),
            file.uri
        );
        self.pieces += 1;
    }

    /// The list.
    pub fn text(&self, kind: Kind) -> Text {
        let name = match kind {
            Kind::Vod => "VOD",
            Kind::Event => "EVENT",
        };
        let mut out = format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{TARGET_S}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:{name}\n"
        );
        // Players begin a list that grows at its end, and any at the keyframe in front of what was asked for.
        let offset_90k = self
            .begins_90k
            .map_or(0, |begins| self.from_90k.saturating_sub(begins).max(0));
        let _ = writeln!(out, "#EXT-X-START:TIME-OFFSET={},PRECISE=YES", seconds(offset_90k));
        out.push_str(&self.body);
        if kind == Kind::Vod {
            out.push_str("#EXT-X-ENDLIST\n");
        }
        Text::new(out)
    }
}

impl Before {
    fn goes_on_with(self, file: &File<'_>, begins_90k: i64) -> bool {
        let apart_90k = begins_90k.saturating_sub(self.end_90k).saturating_abs();
        self.run == file.run && self.header_bytes == file.header_bytes && apart_90k <= NEAR_90K
    }
}

fn end_of(file: &File<'_>, row: &Row) -> i64 {
    let ticks = row.begins_90k.saturating_add(u64::from(row.duration_90k));
    file.start_90k.saturating_add(ticks.cast_signed())
}

/// Fragments in pieces.
struct Pieces<'a>(&'a [Row]);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [Row];

    fn next(&mut self) -> Option<&'a [Row]> {
        let mut ticks = 0_u64;
        let ends_before = |row: &Row| {
            let with = ticks + u64::from(row.duration_90k);
            let ends = ticks > 0 && ((row.keyframe && ticks >= PIECE_90K) || with > u64::from(TARGET_S) * 90_000);
            ticks = with;
            ends
        };
        let count = self.0.iter().position(ends_before).unwrap_or(self.0.len());
        let (piece, rest) = self.0.split_at(count);
        self.0 = rest;
        (!piece.is_empty()).then_some(piece)
    }
}

fn wall(at_90k: i64) -> WallTime {
    // Of a tick that lies between two microseconds the later.
    let micros = (i128::from(at_90k) * 100 + 8).div_euclid(9);
    WallTime::from_unix_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

fn seconds(ticks: i64) -> String {
    super::render::seconds(i64::try_from(i128::from(ticks) * 100 / 9).unwrap_or(i64::MAX))
}

/// The longest list: four hours, 2,400 pieces.
pub const MAX_90K: i64 = 4 * 3_600 * 90_000;
/// A keyframe that comes so long after the beginning of a piece ends it.
const PIECE_90K: u64 = 11 * 45_000;
/// What lists say as target duration: the longest piece. Groups of pictures may be ten seconds long.
const TARGET_S: u32 = 12;
/// What is no further apart goes on: rounding of clocks.
const NEAR_90K: i64 = 900;

#[cfg(test)]
mod tests;
