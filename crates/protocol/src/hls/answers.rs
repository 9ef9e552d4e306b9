//! From questions to answers: which list or file it is, and whether it is there.

use std::sync::Arc;

use bytes::Bytes;

use super::lineup::codec_string;
use super::muxer::{Muxer, bits_per_second};
use super::part::Epoch;
use super::query::{File, Query};
use super::render::{Media, Report, Text, Variant};

/// What a request for a list gets.
#[derive(Clone, Debug)]
pub enum List {
    /// The newest list.
    Ready(Arc<Text>),
    /// What is asked for is not there yet: ask again when [`Muxer::push`] says that something is new.
    Wait,
    /// It asks for what is too far ahead, and is a bad one (§6.2.5.2).
    Refused(&'static str),
}

/// What a request for media gets.
#[derive(Clone, Debug)]
pub enum Resource {
    /// One after the other.
    Ready(Vec<Bytes>),
    /// The part that the list hints at: ask again when something is new.
    Wait,
    /// There is no such file, or no longer.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    Delta,
}

impl Muxer {
    /// The media list, for a client that may have shown a `token`.
    pub fn list(&mut self, query: &Query, token: Option<&str>) -> List {
        if !self.appear() {
            return List::Wait;
        }
        if let Some(msn) = query.msn
            && !self.ended
        {
            match self.is_there(msn, query.part) {
                Ok(true) => {}
                Ok(false) => return List::Wait,
                Err(why) => return List::Refused(why),
            }
        }
        let kind = if query.skip { Kind::Delta } else { Kind::Whole };
        self.text(kind, token).map_or(List::Wait, List::Ready)
    }

    /// What the multivariant list says of this stream; `None`: ask again when something is new.
    pub fn variant(&mut self) -> Option<Variant> {
        if !self.appear() {
            return None;
        }
        let is_heard = self.epoch.as_ref().is_none_or(Epoch::has_sound);
        let sound = self.lineup.sound.as_ref().filter(|_| is_heard);
        let formats = [Some(&self.lineup.leading), sound];
        let formats = formats.into_iter().flatten().map(|track| &track.format);
        let (bytes, micros) = (self.shelf.listed()).fold((0, 1), |(bytes, micros), segment| {
            (
                bytes + segment.bytes as u64,
                micros + segment.duration_us.max(0).cast_unsigned(),
            )
        });
        let average = bits_per_second(bytes, micros);
        let video = self.lineup.leading.kind() == media::Kind::Video;
        let interval_us = self.interval_us().filter(|_| video);
        Some(Variant {
            bits_per_second: self.peak_bits_per_second.max(average),
            average_bits_per_second: average,
            codecs: formats.filter_map(|format| codec_string(format)).collect(),
            dimensions: self.lineup.leading.format.dimensions(),
            frames_per_second: interval_us.map(|micros| 1_000_000.0 / micros as f64),
            left_out: self.lineup.left_out.clone(),
        })
    }

    /// The newest part: of which segment it is, and its number there.
    pub fn last_part(&self) -> Option<(u64, u64)> {
        let (number, parts) = self.shelf.edge();
        if let Some(last) = parts.checked_sub(1) {
            return Some((number, last));
        }
        let number = self.shelf.last()?;
        let parts = self.shelf.segment(number)?.parts.len() as u64;
        Some((number, parts.checked_sub(1)?))
    }

    /// Tells how far the list of another variant is, for lists that are rendered from now on.
    pub fn report(&mut self, other: Option<Report>) {
        self.other = other;
    }

    /// Media by its name, without the ending.
    pub fn resource(&self, name: &str) -> Resource {
        let Some(file) = File::parse(name, &self.identity) else {
            return Resource::Gone;
        };
        let found = match file {
            File::Init(number) => self.shelf.init(number).map(|bytes| vec![bytes.clone()]),
            File::Segment(number) => {
                let parts = self.shelf.segment(number).map(|segment| &segment.parts);
                parts.map(|parts| parts.iter().map(|part| part.bytes.clone()).collect())
            }
            File::Part(number, index) => {
                let hinted = (number, u64::from(index)) == self.shelf.edge();
                if hinted && !self.ended && self.shelf.last().is_some() {
                    return Resource::Wait;
                }
                self.shelf.part(number, index).map(|part| vec![part.bytes.clone()])
            }
        };
        found.map_or(Resource::Gone, Resource::Ready)
    }

    /// Whether there is a list. It begins with a whole segment, without which players do not begin; where keyframes are far apart, that is
    /// what there is of it.
    fn appear(&mut self) -> bool {
        if self.shelf.last().is_none() && self.shelf.open().is_some_and(|segment| segment.parts.len() >= 3) {
            self.shelf.end_before_last_part(self.keep_rules());
            let last_us = self.shelf.open().map_or(0, |segment| segment.duration_us);
            self.segment_start_us = self.chain_end_us.map(|end_us| end_us - last_us);
        }
        self.shelf.last().is_some()
    }

    /// Whether this part, or this whole segment, is listed, or was.
    fn is_there(&self, msn: u64, part: Option<u64>) -> Result<bool, &'static str> {
        let (next, parts) = self.shelf.edge();
        let last = next.saturating_sub(1);
        if msn > last.saturating_add(2) {
            return Err("_HLS_msn is more than two segments ahead of the last one");
        }
        let Some(part) = part else {
            return Ok(self.shelf.last().is_some_and(|whole| msn <= whole));
        };
        let limit = self.targets.map_or(3, |targets| targets.advance_limit());
        if msn < next {
            // Past its end it means the first part of the next.
            let open = self.shelf.open().filter(|open| open.number == msn);
            let segment = open.or_else(|| self.shelf.segment(msn));
            let count = segment.map(|segment| segment.parts.len() as u64);
            return Ok(count.is_none_or(|count| part < count) || msn.saturating_add(1) < next || parts > 0);
        }
        let ahead = if msn == next {
            part.saturating_add(1).saturating_sub(parts)
        } else {
            part
        };
        if ahead > limit {
            return Err("_HLS_part is more than three seconds ahead of the last part");
        }
        Ok(msn == next && part < parts)
    }

    /// What was rendered since the last part.
    fn cached(&self, kind: Kind, token: Option<&str>) -> Option<Arc<Text>> {
        let mut texts = self.texts.iter();
        let found = texts.find(|(known, carries, _)| *known == kind && carries.as_deref() == token);
        found.map(|(_, _, text)| Arc::clone(text))
    }

    fn keep(&mut self, kind: Kind, token: Option<&str>, text: String) -> Arc<Text> {
        let text = Arc::new(Text::new(text));
        if self.texts.len() < MAX_TEXTS {
            self.texts.push((kind, token.map(str::to_owned), Arc::clone(&text)));
        }
        text
    }

    fn text(&mut self, kind: Kind, token: Option<&str>) -> Option<Arc<Text>> {
        if let Some(text) = self.cached(kind, token) {
            return Some(text);
        }
        let media = Media {
            shelf: &self.shelf,
            targets: self.targets.as_ref()?,
            identity: &self.identity,
            ended: self.ended,
            other: self.other.as_ref(),
        };
        let text = media.text(kind == Kind::Delta, token);
        Some(self.keep(kind, token, text))
    }
}

/// Renderings of one list that are kept: whole and delta, for a few tokens.
const MAX_TEXTS: usize = 24;
