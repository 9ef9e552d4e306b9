//! Which tracks of a stream HLS players take.

use std::fmt;

use media::audio::AudioSpecificConfig;
use media::{Codec, Format, Kind, Track, TrackIndex};

/// A track that is not played, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub track: TrackIndex,
    /// In which codec it is.
    pub codec: Codec,
    /// Why, for people.
    pub why: &'static str,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.codec.kind() {
            Kind::Video => "picture",
            Kind::Audio => "sound",
        };
        write!(f, "{} {kind} is left out: {}", self.codec.name(), self.why)
    }
}

/// A stream of which nothing can be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no track of this stream can be played by HLS, which takes H.264, H.265, AAC and Opus; it has {}", names(.0))]
pub struct NothingToPlay(pub Vec<Codec>);

/// The tracks that are played.
#[derive(Clone, Debug)]
pub(super) struct Lineup {
    /// The first picture, or sound where there is no picture. Parts and segments are cut at its frames.
    pub(super) leading: Track,
    /// The first sound that plays, beside a picture.
    pub(super) sound: Option<Track>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Lineup {
    pub(super) fn new(tracks: &[Track]) -> Result<Self, NothingToPlay> {
        let plays = |codec| !matches!(codec, Codec::G711);
        let first = |kind| {
            let mut all = tracks.iter();
            all.find(|track| track.kind() == kind && plays(track.format.codec()))
                .cloned()
        };
        let (picture, sound) = (first(Kind::Video), first(Kind::Audio));
        let Some(leading) = picture.clone().or_else(|| sound.clone()) else {
            return Err(NothingToPlay(tracks.iter().map(|track| track.format.codec()).collect()));
        };
        let sound = picture.and(sound);
        let taken = |track: &Track| {
            track.index == leading.index || sound.as_ref().is_some_and(|sound| sound.index == track.index)
        };
        let left_out = tracks.iter().filter(|track| !taken(track)).map(|track| {
            let codec = track.format.codec();
            let why = if plays(codec) {
                "the stream has another before it"
            } else {
                "HLS players do not take it; publish AAC or Opus"
            };
            LeftOut {
                track: track.index,
                codec,
                why,
            }
        });
        Ok(Self {
            left_out: left_out.collect(),
            leading,
            sound,
        })
    }
}

/// As `CODECS` takes it (RFC 6381).
pub(super) fn codec_string(format: &Format) -> Option<String> {
    match format {
        Format::H264(format) => format.codec_string(),
        Format::H265(format) => format.codec_string(),
        Format::Aac(aac) => Some(AudioSpecificConfig::parse(&aac.config).ok()?.codec_string()),
        Format::Opus(_) => Some("opus".to_owned()),
        Format::G711(_) => None,
    }
}

/// How long a frame of sound lasts, in ticks of its clock, where its format or its first byte tells.
pub(super) fn sound_ticks(format: &Format, frame: &[u8]) -> Option<i64> {
    match format {
        Format::Aac(aac) => {
            let says = AudioSpecificConfig::parse(&aac.config).ok()?;
            Some(i64::from(says.frame_samples()))
        }
        Format::Opus(_) => opus_ticks(frame),
        Format::H264(_) | Format::H265(_) | Format::G711(_) => None,
    }
}

/// RFC 6716 §3.1: the TOC byte, and the count of frames behind it in packets of code 3. At 48 kHz.
fn opus_ticks(packet: &[u8]) -> Option<i64> {
    let toc = *packet.first()?;
    let samples = match (toc >> 3, toc >> 3 & 3) {
        (0..=11, size) => [480, 960, 1_920, 2_880].get(usize::from(size)).copied()?,
        (12..=15, size) => [480, 960].get(usize::from(size & 1)).copied()?,
        (_, size) => [120, 240, 480, 960].get(usize::from(size)).copied()?,
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => i64::from(packet.get(1)? & 0x3f),
    };
    Some(samples * frames)
}

fn names(codecs: &[Codec]) -> String {
    let names: Vec<_> = codecs.iter().map(|codec| codec.name()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[0x00], Some(480))] // SILK, 10 ms
    #[case(&[0x18], Some(2_880))] // SILK, 60 ms
    #[case(&[0x68], Some(960))] // hybrid, 20 ms
    #[case(&[0xf8], Some(960))] // CELT, 20 ms
    #[case(&[0xe0], Some(120))] // CELT, 2.5 ms
    #[case(&[0xf9], Some(1_920))]
    #[case(&[0xfb, 0x03], Some(2_880))]
    #[case(&[0xfb], None)]
    #[case(&[], None)]
    fn opus_packets_tell_how_long_they_last(#[case] packet: &[u8], #[case] ticks: Option<i64>) {
        assert_eq!(opus_ticks(packet), ticks);
    }
}
