//! The text of the lists.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use media::{Kind, Track};

use super::Identity;
use super::lineup::{LeftOut, Lineup, NothingToPlay, codec_string};
use super::shelf::{Segment, Shelf};
use super::targets::Targets;

/// A list as it is sent. Shared by all who are sent it.
#[derive(Debug)]
pub struct Text {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Text {
    pub(super) fn new(text: String) -> Self {
        Self {
            plain: text.into(),
            gzip: OnceLock::new(),
        }
    }

    /// As it is.
    pub fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// Compressed (RFC 1952) by the first who asks.
    pub fn gzip(&self) -> &Bytes {
        self.gzip.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::with_capacity(self.plain.len() / 4), Compression::new(GZIP_LEVEL));
            // Writing to memory does not fail.
            let _ = encoder.write_all(&self.plain);
            encoder.finish().unwrap_or_default().into()
        })
    }
}

/// A list of names that all begin alike shrinks to a sixth at any level.
const GZIP_LEVEL: u32 = 1;

/// What a media list is made of.
#[derive(Clone, Copy)]
pub(super) struct Media<'a> {
    pub(super) shelf: &'a Shelf,
    pub(super) targets: &'a Targets,
    pub(super) identity: &'a Identity,
    pub(super) ended: bool,
    /// How far the other variant is.
    pub(super) other: Option<&'a Report>,
}

/// How far the media list of another variant is (EXT-X-RENDITION-REPORT).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its list, relative to this one.
    pub uri: &'static str,
    /// The newest part of it: of which segment it is, and its number there.
    pub last: (u64, u64),
}

impl Media<'_> {
    /// `delta`: without what the client has. Every URI carries `token`.
    pub(super) fn text(&self, delta: bool, token: Option<&str>) -> String {
        let mut out = String::with_capacity(8 << 10);
        let uris = Uris::new(self.identity, token);
        self.head(&mut out);
        let skipped = if delta { self.skippable() } else { 0 };
        if skipped > 0 {
            let _ = writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
        }
        let mut init = self.shelf.listed().take(skipped).last().map(|segment| segment.init);
        let mut left_us = self.shelf.listed().map(|segment| segment.duration_us).sum::<i64>()
            + self.shelf.open().map_or(0, |segment| segment.duration_us);
        for (index, segment) in self.shelf.listed().enumerate() {
            left_us -= segment.duration_us;
            if index < skipped {
                continue;
            }
            begin(segment, &mut init, &uris, &mut out);
            if left_us <= 3 * self.targets.target_us() {
                parts(segment, &uris, &mut out);
            }
            let _ = write!(out, "#EXTINF:{},\n{}", seconds(segment.duration_us), uris.start);
            let _ = writeln!(out, "{}.mp4{}", segment.number, uris.end);
        }
        if let Some(segment) = self.shelf.open() {
            begin(segment, &mut init, &uris, &mut out);
            parts(segment, &uris, &mut out);
        }
        if self.ended {
            out.push_str("#EXT-X-ENDLIST\n");
        } else {
            let (number, part) = self.shelf.edge();
            let Uris { start, end } = &uris;
            let _ = writeln!(
                out,
                "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{start}{number}.{part}.mp4{end}\""
            );
            if let Some(Report { uri, last: (msn, part) }) = self.other {
                let _ = writeln!(
                    out,
                    "#EXT-X-RENDITION-REPORT:URI=\"{uri}{end}\",LAST-MSN={msn},LAST-PART={part}"
                );
            }
        }
        out
    }

    fn head(&self, out: &mut String) {
        let Targets {
            part_us,
            seconds: target,
            skip_until_us,
            ..
        } = self.targets;
        let _ = write!(out, "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:{target}\n");
        let _ = write!(
            out,
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={}",
            seconds(3 * part_us)
        );
        if let Some(skip_until_us) = skip_until_us {
            let _ = write!(out, ",CAN-SKIP-UNTIL={}", seconds(*skip_until_us));
        }
        let _ = write!(out, "\n#EXT-X-PART-INF:PART-TARGET={}\n", seconds(*part_us));
        let (first, discontinuities) = (self.shelf.first_listed(), self.shelf.discontinuity_sequence());
        let _ = writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{first}");
        let _ = writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}");
    }

    /// Segments beyond the skip boundary, counted from the end of the last whole one (§6.2.5.1).
    fn skippable(&self) -> usize {
        let Some(until_us) = self.targets.skip_until_us.filter(|_| !self.ended) else {
            return 0;
        };
        let mut left_us: i64 = self.shelf.listed().map(|segment| segment.duration_us).sum();
        let beyond = self.shelf.listed().take_while(|segment| {
            left_us -= segment.duration_us;
            left_us >= until_us
        });
        beyond.count()
    }
}

/// How every URI of a list begins and ends.
struct Uris {
    start: String,
    end: String,
}

impl Uris {
    fn new(identity: &Identity, token: Option<&str>) -> Self {
        Self {
            start: format!("{}_", identity.name),
            end: token.map_or_else(String::new, |token| format!("?token={token}")),
        }
    }
}

/// What applies to a segment, in front of its first part.
fn begin(segment: &Segment, init: &mut Option<u32>, uris: &Uris, out: &mut String) {
    let Uris { start, end } = uris;
    if segment.discontinuity {
        out.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if segment.discontinuity || *init != Some(segment.init) {
        let _ = writeln!(out, "#EXT-X-MAP:URI=\"{start}i{}.mp4{end}\"", segment.init);
        *init = Some(segment.init);
    }
    out.push_str("#EXT-X-PROGRAM-DATE-TIME:");
    segment.date.write_rfc3339(out);
    out.push('\n');
}

fn parts(segment: &Segment, uris: &Uris, out: &mut String) {
    let Uris { start, end } = uris;
    for (index, part) in segment.parts.iter().enumerate() {
        let (number, independent) = (segment.number, if part.independent { ",INDEPENDENT=YES" } else { "" });
        let _ = writeln!(
            out,
            "#EXT-X-PART:DURATION={},URI=\"{start}{number}.{index}.mp4{end}\"{independent}",
            seconds(part.duration_us)
        );
    }
}

/// What the multivariant list says of one variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// BANDWIDTH, the highest rate of a segment.
    pub bits_per_second: u64,
    /// AVERAGE-BANDWIDTH.
    pub average_bits_per_second: u64,
    /// As RFC 6381 has them.
    pub codecs: Vec<String>,
    /// Width and height.
    pub dimensions: Option<(u32, u32)>,
    /// Of pictures.
    pub frames_per_second: Option<f64>,
    /// Tracks that are not played.
    pub left_out: Vec<LeftOut>,
}

impl Variant {
    /// Of a stream with these tracks that nobody plays yet.
    ///
    /// # Errors
    /// [`NothingToPlay`].
    pub fn expected(
        tracks: &[Track],
        bits_per_second: u64,
        frames_per_second: Option<f64>,
    ) -> Result<Self, NothingToPlay> {
        let lineup = Lineup::new(tracks)?;
        let formats = [Some(&lineup.leading), lineup.sound.as_ref()];
        let formats = formats.into_iter().flatten().map(|track| &track.format);
        Ok(Self {
            bits_per_second,
            average_bits_per_second: bits_per_second,
            codecs: formats.filter_map(|format| codec_string(format)).collect(),
            dimensions: lineup.leading.format.dimensions(),
            frames_per_second: frames_per_second.filter(|_| lineup.leading.kind() == Kind::Video),
            left_out: Vec::new(),
        })
    }
}

/// The multivariant list, whose variants are the lists at these URIs.
pub fn multivariant(variants: &[(&Variant, &str)], token: Option<&str>) -> Text {
    let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:9\n");
    for track in variants.iter().flat_map(|(variant, _)| &variant.left_out) {
        let _ = writeln!(out, "# {track}");
    }
    let token = token.map_or_else(String::new, |token| format!("?token={token}"));
    for (variant, uri) in variants {
        let (peak, average) = (variant.bits_per_second, variant.average_bits_per_second);
        let _ = write!(out, "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average}");
        if !variant.codecs.is_empty() {
            let _ = write!(out, ",CODECS=\"{}\"", variant.codecs.join(","));
        }
        if let Some((width, height)) = variant.dimensions {
            let _ = write!(out, ",RESOLUTION={width}x{height}");
        }
        if let Some(rate) = variant.frames_per_second {
            let _ = write!(out, ",FRAME-RATE={rate:.3}");
        }
        let _ = writeln!(out, "\n{uri}{token}");
    }
    Text::new(out)
}

/// A decimal number of seconds, as short as it goes.
pub(super) fn seconds(micros: i64) -> String {
    let text = format!("{}.{:06}", micros.max(0) / 1_000_000, micros.max(0) % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::io::Read as _;

    #[rstest]
    #[case(0, "0")]
    #[case(1, "0.000001")]
    #[case(100_000, "0.1")]
    #[case(1_000_000, "1")]
    #[case(10_000_000, "10")]
    #[case(1_333_333, "1.333333")]
    fn durations(#[case] micros: i64, #[case] expected: &str) {
        assert_eq!(seconds(micros), expected);
    }

    #[test]
    fn gzip_is_the_same_text() {
        let text = Text::new("#EXTM3U\n".repeat(500));
        let mut read = String::new();
        flate2::read::GzDecoder::new(&text.gzip()[..])
            .read_to_string(&mut read)
            .unwrap();
        assert_eq!(read.as_bytes(), text.plain());
        assert!(text.gzip().len() < 100);
    }
}
