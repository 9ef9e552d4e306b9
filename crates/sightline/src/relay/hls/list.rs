//! The list of a folder of segments (RFC 8216), written and read again after a restart.
//!
//! Does not belong here: segments, files. The list of LL-HLS that a server makes is another ([`protocol::hls`]).
//!
//! It has no end: a relay that is started again goes on with it. The target duration stays what it was when the list was begun, as RFC 8216 §4.3.3.1 wants;
//! numbers never go back.

use std::collections::VecDeque;
use std::fmt::Write as _;

use media::WallTime;

/// Segments that are listed at the most: more than an hour of those of four seconds, in 40 KB that each player loads with each segment.
pub(super) const MAX_LISTED: usize = 1_000;
/// Target durations that stay listed at the least (§6.2.2).
pub(super) const LEAST_TARGETS: u64 = 3;
/// The longest list that is read: twice what is written.
const MAX_BYTES: usize = 512 << 10;

/// A segment as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// The name of its file.
    pub(super) name: String,
    pub(super) duration_us: i64,
    /// When its first picture was taken.
    pub(super) start: WallTime,
    /// What is in front of it is missing, or of another format.
    pub(super) discontinuity: bool,
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct List {
    /// `EXT-X-TARGETDURATION`, seconds; 0: nothing was listed yet.
    pub(super) target_s: u64,
    /// `EXT-X-MEDIA-SEQUENCE`: the number of the first.
    pub(super) first: u64,
    discontinuity_sequence: u64,
    pub(super) entries: VecDeque<Entry>,
}

impl List {
    /// Without segments; the first will have this number. `before`: what it takes the place of, whose segments are not listed any more.
    pub(super) fn begin(first: u64, before: Option<&Self>) -> Self {
        let gone = |list: &Self| {
            let marks = list.entries.iter().filter(|entry| entry.discontinuity).count();
            list.discontinuity_sequence.saturating_add(marks as u64)
        };
        Self {
            first,
            discontinuity_sequence: before.map_or(0, gone),
            ..Self::default()
        }
    }

    /// The number that the next segment has.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(self.entries.len() as u64)
    }

    /// Adds a segment; the first decides the target duration by `target_s`.
    pub(super) fn push(&mut self, entry: Entry, target_s: u64) {
        if self.target_s == 0 {
            self.target_s = target_s;
        }
        self.entries.push_back(entry);
    }

    /// Takes what is too old or too much from the front: beyond `window_us` of media, but for [`LEAST_TARGETS`].
    pub(super) fn trim(&mut self, window_us: i64) {
        let least_us = (self.target_s.saturating_mul(LEAST_TARGETS) as i64).saturating_mul(1_000_000);
        let window_us = window_us.max(least_us);
        let mut listed_us: i64 = self.entries.iter().map(|entry| entry.duration_us).sum();
        while let Some(front) = self.entries.front() {
            let rest_us = listed_us - front.duration_us;
            if rest_us < window_us && self.entries.len() <= MAX_LISTED {
                break;
            }
            listed_us = rest_us;
            self.drop_front();
        }
    }

    /// Takes all that have a number below this.
    pub(super) fn drop_below(&mut self, number: u64) {
        while self.first < number && !self.entries.is_empty() {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(front) = self.entries.pop_front() {
            self.first = self.first.saturating_add(1);
            self.discontinuity_sequence += u64::from(front.discontinuity);
        }
    }

    /// As it is served.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(256 + self.entries.len() * 64);
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}\n",
            self.target_s, self.first, self.discontinuity_sequence
        );
        for (at, entry) in self.entries.iter().enumerate() {
            if entry.discontinuity {
                text.push_str("#EXT-X-DISCONTINUITY\n");
            }
            if at == 0 || entry.discontinuity {
                let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", entry.start.to_rfc3339());
            }
            let (seconds, micros) = (entry.duration_us / 1_000_000, entry.duration_us % 1_000_000);
            let _ = write!(text, "#EXTINF:{seconds}.{micros:06},\n{}\n", entry.name);
        }
        text
    }

    /// One of ours; `None`: it is another, or was changed by somebody.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if text.len() > MAX_BYTES || lines.next() != Some("#EXTM3U") || lines.next() != Some("#EXT-X-VERSION:3") {
            return None;
        }
        let mut number = |tag: &str| -> Option<u64> { lines.next()?.strip_prefix(tag)?.parse().ok() };
        let mut list = Self {
            target_s: number("#EXT-X-TARGETDURATION:")?,
            first: number("#EXT-X-MEDIA-SEQUENCE:")?,
            discontinuity_sequence: number("#EXT-X-DISCONTINUITY-SEQUENCE:")?,
            entries: VecDeque::new(),
        };
        let mut discontinuity = false;
        let mut start: Option<WallTime> = None;
        while let Some(line) = lines.next() {
            if line == "#EXT-X-DISCONTINUITY" {
                discontinuity = true;
            } else if let Some(date) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
                let date: jiff::Timestamp = date.parse().ok()?;
                start = Some(WallTime::from_unix_micros(date.as_microsecond()));
            } else {
                let seconds = line.strip_prefix("#EXTINF:")?.strip_suffix(',')?;
                let duration_us = micros(seconds)?;
                let name = lines.next().filter(|name| is_name(name))?;
                list.entries.push_back(Entry {
                    name: name.to_owned(),
                    duration_us,
                    start: start?,
                    discontinuity: std::mem::take(&mut discontinuity),
                });
                start = start.map(|start| start.offset_micros(duration_us));
            }
        }
        let limit_us = i64::try_from(list.target_s)
            .ok()?
            .checked_mul(1_000_000)?
            .checked_add(499_999)?;
        let fits = list.entries.iter().all(|entry| entry.duration_us <= limit_us);
        (fits && list.target_s > 0 && list.entries.len() <= MAX_LISTED).then_some(list)
    }
}

/// `4.000000` in microseconds.
fn micros(seconds: &str) -> Option<i64> {
    let (whole, part) = seconds.split_once('.')?;
    let is_number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_number(whole, 1..=6) || !is_number(part, 6..=6) {
        return None;
    }
    Some(whole.parse::<i64>().ok()? * 1_000_000 + part.parse::<i64>().ok()?)
}

/// Whether a segment of ours may be called so.
fn is_name(name: &str) -> bool {
    super::number_of(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(number: u64, duration_us: i64, discontinuity: bool) -> Entry {
        Entry {
            name: format!("segment_20261122_191500_{number}.ts"),
            duration_us,
            start: WallTime::from_unix_micros(1_790_000_000_000_000),
            discontinuity,
        }
    }

    #[test]
    fn the_list_as_it_is_served() {
        let mut list = List::begin(7, None);
        list.push(entry(7, 4_000_000, false), 4);
        list.push(entry(8, 3_966_667, true), 4);
        let date = "#EXT-X-PROGRAM-DATE-TIME:2026-09-21T14:13:20.000Z";
        let text = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n{date}\n#EXTINF:4.000000,\n\
             segment_20261122_191500_7.ts\n#EXT-X-DISCONTINUITY\n{date}\n#EXTINF:3.966667,\nsegment_20261122_191500_8.ts\n"
        );
        assert_eq!(list.text(), text);
        assert_eq!(list.next(), 9);
    }

    #[test]
    fn numbers_and_marks_go_on_when_segments_go() {
        let mut list = List::begin(0, None);
        for number in 0..1_500 {
            list.push(entry(number, 4_000_000, number % 100 == 50), 4);
            list.trim(i64::MAX);
        }
        assert_eq!((list.entries.len(), list.first, list.next()), (MAX_LISTED, 500, 1_500));
        assert_eq!(list.discontinuity_sequence, 5);
        list.trim(60_000_000);
        assert_eq!((list.entries.len(), list.next()), (15, 1_500));
        list.trim(0);
        assert_eq!(
            list.entries.len() as u64,
            LEAST_TARGETS,
            "players need three target durations"
        );
        list.drop_below(1_499);
        assert_eq!((list.entries.len(), list.first), (1, 1_499));
        assert_eq!(list.discontinuity_sequence, 15);
        list.push(entry(1_500, 4_000_000, true), 4);
        let other = List::begin(list.next(), Some(&list));
        assert_eq!(
            (other.first, other.discontinuity_sequence, other.target_s),
            (1_501, 16, 0)
        );
        list.drop_below(u64::MAX);
        assert_eq!(list.next(), 1_501);
    }

    #[test]
    fn lists_of_others_are_not_gone_on_with() {
        let mut list = List::begin(0, None);
        list.push(entry(0, 4_000_000, false), 4);
        let ours = list.text();
        assert!(List::read(&ours).is_some());
        for other in [
            String::new(),
            ours.replace("VERSION:3", "VERSION:6"),
            ours.replace("segment_", "../segment_"),
            ours.replace("4.000000", "5.000000"),
            ours.replace("TARGETDURATION:4", "TARGETDURATION:0"),
            format!("{ours}#EXT-X-ENDLIST\n"),
            format!("{ours}#EXTINF:4.000000,\n"),
            format!("{ours}{}", " ".repeat(MAX_BYTES)),
        ] {
            assert_eq!(List::read(&other), None, "{}", other.get(..400).unwrap_or(&other));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(first in 0_u64..1 << 40, durations in prop::collection::vec((1_i64..4_499_999, any::<bool>()), 0..50)) {
            let mut list = List::begin(first, None);
            list.target_s = 4;
            let mut start = WallTime::from_unix_micros(1_790_000_000_123_000);
            for (number, (duration_us, discontinuity)) in (first..).zip(durations) {
                // The times of all but those that are told follow from their durations.
                if discontinuity {
                    start = start.offset_micros(7_000);
                    start = WallTime::from_unix_micros(start.unix_micros() / 1_000 * 1_000);
                }
                list.push(Entry { start, ..entry(number, duration_us, discontinuity) }, 4);
                start = start.offset_micros(duration_us);
            }
            prop_assert_eq!(List::read(&list.text()), Some(list));
        }

        #[test]
        fn no_text_panics(text in "(#EXT|M3U|\n|[0-9.,:]|segment_|.){0,200}") {
            let _ = List::read(&text);
        }
    }
}
