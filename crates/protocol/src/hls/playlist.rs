//! Reading the lists of other servers (RFC 8216, draft-pantos-hls-rfc8216bis): what of them a server needs that fetches a live stream.
//!
//! Belongs here: lists of variants and of segments, with limits. Does not belong here: which variant is taken and when a list is asked for
//! again, writing lists ([`super::Muxer`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use media::WallTime;

/// Most bytes of a list that are read: a day of segments of two seconds has some 4 MB.
pub const MAX_BYTES: usize = 8 << 20;
/// Most segments or variants.
const MAX_ENTRIES: usize = 100_000;
/// Most parts: they are listed for three target durations.
const MAX_PARTS: usize = 10_000;
/// Groups of sound of one list.
const MAX_GROUPS: usize = 100;
/// Longest URI.
const MAX_URI_BYTES: usize = 8_192;
/// Longest segment or target duration that is believed, in seconds.
const MAX_SECONDS: f64 = 3_600.0;

/// Why a text is no list that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaylistError {
    /// §4.3.1.1.
    #[error("it is no list of HLS: its first line is not #EXTM3U")]
    NotPlaylist,
    /// Beyond a limit.
    #[error("it has more than {limit} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
    /// A line that cannot be read.
    #[error("line {line} cannot be read: {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// There is nothing in it.
    #[error("it names neither variants nor segments")]
    Empty,
}

/// A list.
#[derive(Clone, Debug, PartialEq)]
pub enum Playlist {
    /// Of variants of one stream.
    Variants(Vec<Variant>),
    /// Of segments.
    Media(Media),
}

/// One of several ways to have a stream (`EXT-X-STREAM-INF`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variant {
    /// Its list.
    pub uri: String,
    /// `BANDWIDTH`.
    pub bits_per_second: u64,
    /// `CODECS`, such as `avc1.42c01f,mp4a.40.2`; empty where it is not said.
    pub codecs: String,
    /// The list of its sound, where that is apart: of the renditions of its `AUDIO` group the one that players take by themselves (`EXT-X-MEDIA`).
    pub sound: Option<Arc<str>>,
}

/// A list of segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Media {
    /// `EXT-X-TARGETDURATION`.
    pub target: Duration,
    /// Oldest first, numbered from `EXT-X-MEDIA-SEQUENCE` on.
    pub segments: Vec<Segment>,
    /// `EXT-X-ENDLIST`: nothing follows.
    pub ended: bool,
    /// Parts of the newest segments, and of the one that is not complete (`EXT-X-PART`), oldest first.
    pub parts: Vec<Part>,
    /// The part that follows, which may be asked for before it is there (`EXT-X-PRELOAD-HINT`). One whose end is not known is left out.
    pub hint: Option<Part>,
    /// The list of a segment that is not there yet may be asked for (`CAN-BLOCK-RELOAD`).
    pub can_block: bool,
}

/// A part of a segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// Its number in its segment, from 0.
    pub index: u64,
    /// Decoding may start with it (`INDEPENDENT`).
    pub independent: bool,
    /// What is said of it, as of a segment; the number is its segment's.
    pub piece: Segment,
}

/// One segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// Its number.
    pub sequence: u64,
    /// Where it is.
    pub uri: String,
    /// `EXTINF`.
    pub duration: Duration,
    /// Which bytes of the resource it is.
    pub range: Option<Range>,
    /// Its header (`EXT-X-MAP`).
    pub map: Option<Arc<Map>>,
    /// It does not follow from the one before.
    pub discontinuity: bool,
    /// When its first picture was captured (`EXT-X-PROGRAM-DATE-TIME`, of this segment alone).
    pub date: Option<WallTime>,
    /// There is nothing to fetch (`EXT-X-GAP`).
    pub gap: bool,
    /// How it is encrypted (`EXT-X-KEY`), if it is.
    pub encrypted: Option<Arc<str>>,
}

/// Bytes of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// From where.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// The header of segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// Where it is.
    pub uri: String,
    /// Which bytes of the resource.
    pub range: Option<Range>,
}

impl Playlist {
    /// Reads a list.
    ///
    /// # Errors
    /// [`PlaylistError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PlaylistError> {
        within("bytes", bytes.len(), MAX_BYTES)?;
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut lines = (1..).zip(text.lines().map(str::trim));
        if !lines.next().is_some_and(|(_, first)| first.starts_with("#EXTM3U")) {
            return Err(PlaylistError::NotPlaylist);
        }
        let mut reading = Reading::default();
        for (number, line) in lines {
            let wrong = |what| PlaylistError::Line { line: number, what };
            if let Some(tag) = line.strip_prefix("#EXT") {
                let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
                reading.tag(name, value).map_err(wrong)?;
            } else if !line.is_empty() && !line.starts_with('#') {
                if line.len() > MAX_URI_BYTES {
                    return Err(wrong("the URI is too long"));
                }
                reading.uri(line).map_err(wrong)?;
                within(
                    "entries",
                    reading.variants.len() + reading.media.segments.len(),
                    MAX_ENTRIES,
                )?;
            }
        }
        reading.finish()
    }
}

fn within(what: &'static str, actual: usize, limit: usize) -> Result<(), PlaylistError> {
    if actual > limit {
        return Err(PlaylistError::TooLarge { what, limit });
    }
    Ok(())
}

/// A list while it is read.
#[derive(Default)]
struct Reading {
    media: Media,
    /// With the groups of their sound.
    variants: Vec<(Variant, Option<String>)>,
    /// Of each group of sound the best rendition so far: how good, and its list, where it has one of its own.
    sounds: HashMap<String, (u8, Option<Arc<str>>)>,
    /// `EXT-X-STREAM-INF` before its URI.
    variant: Option<(Variant, Option<String>)>,
    /// What is said of the next segment.
    next: Segment,
    has_duration: bool,
    /// A range without offset begins where the one before ended, if that was of the same resource.
    range_given: Option<(u64, Option<u64>)>,
    map: Option<Arc<Map>>,
    encrypted: Option<Arc<str>>,
    sequence: u64,
    /// Of the parts of the next segment: how many there were, and how long together.
    parts: (u64, Duration),
    /// When the next segment begins by the date of the one before: of one that is not complete some servers do not say it.
    follows: Option<WallTime>,
}

impl Reading {
    fn tag(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "INF" => {
                let seconds = value.split(',').next().unwrap_or_default();
                self.next.duration = seconds_of(seconds).ok_or("a duration is no number")?;
                self.has_duration = true;
            }
            "-X-TARGETDURATION" => {
                self.media.target = seconds_of(value).ok_or("the target duration is no number")?;
            }
            // §4.3.3.2
            "-X-MEDIA-SEQUENCE" if !self.media.segments.is_empty() => {
                return Err("the number of the first segment stands behind it");
            }
            "-X-MEDIA-SEQUENCE" => self.sequence = value.trim().parse().map_err(|_| "a number is none")?,
            "-X-DISCONTINUITY" => (self.next.discontinuity, self.follows) = (true, None),
            "-X-GAP" => self.next.gap = true,
            "-X-ENDLIST" => self.media.ended = true,
            "-X-BYTERANGE" => self.range_given = Some(range(value).ok_or("a byte range is none")?),
            "-X-PROGRAM-DATE-TIME" => self.next.date = date(value.trim()),
            "-X-MAP" => {
                let uri = attribute(value, "URI").ok_or("a header has no URI")?;
                within_uri(&uri)?;
                let range = attribute(value, "BYTERANGE").map(|text| range(&text).ok_or("a byte range is none"));
                let range = range.transpose()?.map(|(length, offset)| Range {
                    offset: offset.unwrap_or(0),
                    length,
                });
                self.map = Some(Arc::new(Map { uri, range }));
            }
            "-X-KEY" => {
                let method = attribute(value, "METHOD").unwrap_or_default();
                self.encrypted = (method != "NONE").then(|| method.chars().take(40).collect::<String>().into());
            }
            "-X-PART" => self.part(value)?,
            "-X-PRELOAD-HINT" => self.hint(value)?,
            "-X-MEDIA" => self.rendition(value)?,
            "-X-SERVER-CONTROL" => {
                self.media.can_block = attribute(value, "CAN-BLOCK-RELOAD").as_deref() == Some("YES");
            }
            "-X-STREAM-INF" => {
                let number = attribute(value, "BANDWIDTH").and_then(|bits| bits.parse().ok());
                let variant = Variant {
                    uri: String::new(),
                    bits_per_second: number.unwrap_or(0),
                    codecs: attribute(value, "CODECS")
                        .unwrap_or_default()
                        .chars()
                        .take(200)
                        .collect(),
                    sound: None,
                };
                self.variant = Some((variant, attribute(value, "AUDIO")));
            }
            _ => {}
        }
        Ok(())
    }

    /// §4.4.6.1
    fn rendition(&mut self, value: &str) -> Result<(), &'static str> {
        let is_said = |name| attribute(value, name).as_deref() == Some("YES");
        if attribute(value, "TYPE").as_deref() != Some("AUDIO") {
            return Ok(());
        }
        let group = attribute(value, "GROUP-ID").ok_or("a rendition has no group")?;
        let uri = attribute(value, "URI");
        within_uri(uri.as_deref().unwrap_or_default())?;
        within_uri(&group)?;
        let rank = match (is_said("DEFAULT"), is_said("AUTOSELECT")) {
            (true, _) => 3,
            (false, true) => 2,
            (false, false) => 1,
        };
        let best = self.sounds.entry(group).or_default();
        if rank > best.0 {
            *best = (rank, uri.map(Arc::from));
        }
        if self.sounds.len() > MAX_GROUPS {
            return Err("there are too many groups of sound");
        }
        Ok(())
    }

    /// §4.4.5.3
    fn hint(&mut self, value: &str) -> Result<(), &'static str> {
        if attribute(value, "TYPE").as_deref() != Some("PART") {
            return Ok(());
        }
        let uri = attribute(value, "URI").ok_or("a hint has no URI")?;
        within_uri(&uri)?;
        let number = |name| match attribute(value, name).map(|text| text.parse::<u64>()) {
            Some(number) => number.map(Some).map_err(|_| "a byte range is none"),
            None => Ok(None),
        };
        let range = match (number("BYTERANGE-START")?, number("BYTERANGE-LENGTH")?) {
            (None, None) => None,
            (offset, Some(length)) => Some(Range {
                offset: offset.unwrap_or(0),
                length,
            }),
            (Some(_), None) => return Ok(()),
        };
        self.media.hint = Some(Part {
            index: self.parts.0,
            independent: false,
            piece: Segment {
                sequence: self.sequence.saturating_add(self.media.segments.len() as u64),
                uri,
                range,
                map: self.map.clone(),
                encrypted: self.encrypted.clone(),
                ..Segment::default()
            },
        });
        Ok(())
    }

    fn part(&mut self, value: &str) -> Result<(), &'static str> {
        self.media.hint = None;
        let is_said = |name| attribute(value, name).as_deref() == Some("YES");
        let uri = attribute(value, "URI").ok_or("a part has no URI")?;
        within_uri(&uri)?;
        let duration = attribute(value, "DURATION").and_then(|text| seconds_of(&text));
        let duration = duration.ok_or("the duration of a part is no number")?;
        let given = attribute(value, "BYTERANGE").map(|text| range(&text).ok_or("a byte range is none"));
        let before = self.media.parts.last().map(|part| &part.piece);
        let range = given
            .transpose()?
            .map(|(length, offset)| ranged(length, offset, &uri, before));
        let (index, behind) = self.parts;
        let micros = i64::try_from(behind.as_micros()).unwrap_or(i64::MAX);
        self.parts = (index.saturating_add(1), behind.saturating_add(duration));
        self.media.parts.push(Part {
            index,
            independent: is_said("INDEPENDENT"),
            piece: Segment {
                sequence: self.sequence.saturating_add(self.media.segments.len() as u64),
                uri,
                duration,
                range,
                map: self.map.clone(),
                discontinuity: self.next.discontinuity && index == 0,
                date: self.next.date.or(self.follows).map(|date| date.offset_micros(micros)),
                gap: is_said("GAP"),
                encrypted: self.encrypted.clone(),
            },
        });
        if self.media.parts.len() > MAX_PARTS {
            return Err("there are too many parts");
        }
        Ok(())
    }

    fn uri(&mut self, uri: &str) -> Result<(), &'static str> {
        self.media.hint = None;
        if let Some((mut variant, group)) = self.variant.take() {
            uri.clone_into(&mut variant.uri);
            self.variants.push((variant, group));
            return Ok(());
        }
        if !std::mem::take(&mut self.has_duration) {
            return Err("there is no #EXTINF for it");
        }
        let mut segment = std::mem::take(&mut self.next);
        let before = self.media.segments.last();
        let range = self.range_given.take();
        let range = range.map(|(length, offset)| ranged(length, offset, uri, before));
        self.parts = <_>::default();
        let micros = i64::try_from(segment.duration.as_micros()).unwrap_or(i64::MAX);
        self.follows = segment.date.or(self.follows).map(|date| date.offset_micros(micros));
        uri.clone_into(&mut segment.uri);
        segment.sequence = self.sequence.saturating_add(self.media.segments.len() as u64);
        segment.range = range;
        segment.map.clone_from(&self.map);
        segment.encrypted.clone_from(&self.encrypted);
        self.media.segments.push(segment);
        Ok(())
    }

    fn finish(mut self) -> Result<Playlist, PlaylistError> {
        if !self.variants.is_empty() {
            let variants = self.variants.into_iter().map(|(variant, group)| {
                let sound = group.and_then(|group| self.sounds.get(&group)?.1.clone());
                Variant { sound, ..variant }
            });
            return Ok(Playlist::Variants(variants.collect()));
        }
        if self.media.segments.is_empty() && self.media.target.is_zero() {
            return Err(PlaylistError::Empty);
        }
        if self.media.target.is_zero() {
            let longest = self.media.segments.iter().map(|segment| segment.duration).max();
            self.media.target = longest.unwrap_or_default();
        }
        Ok(Playlist::Media(self.media))
    }
}

/// Where there is no offset it is behind the piece before, if that is of the same resource.
fn ranged(length: u64, offset: Option<u64>, uri: &str, before: Option<&Segment>) -> Range {
    let continued = before
        .filter(|before| before.uri == uri)
        .and_then(|before| before.range);
    let offset = offset.or_else(|| continued.map(|before| before.offset.saturating_add(before.length)));
    Range {
        offset: offset.unwrap_or(0),
        length,
    }
}

fn within_uri(uri: &str) -> Result<(), &'static str> {
    if uri.len() > MAX_URI_BYTES {
        return Err("the URI is too long");
    }
    Ok(())
}

fn seconds_of(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    let seconds = (0.0..=MAX_SECONDS).contains(&seconds).then_some(seconds)?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// `length[@offset]`.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (length, offset) = text
        .trim()
        .split_once('@')
        .map_or((text.trim(), None), |(length, offset)| (length, Some(offset)));
    let offset = offset.map(str::parse).transpose().ok()?;
    Some((length.parse().ok()?, offset))
}

/// The value of an attribute (§4.2), without its quotes.
fn attribute(list: &str, name: &str) -> Option<String> {
    let mut rest = list;
    while !rest.is_empty() {
        let (key, behind) = rest.split_once('=')?;
        let (value, next) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => behind.split_at(behind.find(',').unwrap_or(behind.len())),
        };
        if key.trim().trim_start_matches(',').trim() == name {
            return Some(value.to_owned());
        }
        rest = next.trim_start().trim_start_matches(',');
    }
    None
}

/// `2026-11-22T06:40:00.123+01:00` (ISO 8601 as RFC 3339 and as FFmpeg writes it: `+0100`).
fn date(text: &str) -> Option<WallTime> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok().filter(|number| *number >= 0);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let local = WallTime::from_utc((year, month, day), (hour, minute, second))?;
    let mut rest = text.get(19..)?;
    let mut micros = 0;
    if let Some(behind) = rest.strip_prefix('.') {
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        for (at, digit) in behind.bytes().take(digits.min(6)).enumerate() {
            micros += i64::from(digit - b'0') * 10_i64.pow(5 - at as u32);
        }
        rest = behind.get(digits..)?;
    }
    let sign = match rest.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => 0,
    };
    let zone: String = rest.chars().filter(char::is_ascii_digit).collect();
    let zone_minutes = match (sign, zone.len()) {
        (0, _) => 0,
        (_, 4) => zone.get(..2)?.parse::<i64>().ok()? * 60 + zone.get(2..)?.parse::<i64>().ok()?,
        (_, 2) => zone.parse::<i64>().ok()? * 60,
        _ => return None,
    };
    Some(local.offset_micros(micros - sign * zone_minutes * 60_000_000))
}

#[cfg(test)]
mod tests;
