//! Tracks of a stream and the formats they are in.
//!
//! Belongs here: what must be known of a track before its first frame. Does not belong here: how a format is parsed
//! ([`crate::h264`], [`crate::h265`], [`crate::audio`]) or described to a peer (SDP, fMP4).

use std::sync::Arc;

use crate::time::Timescale;
use crate::{audio, h264, h265};

/// Position of a track in its stream's list of tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackIndex(pub u8);

/// Picture or sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
}

/// Which codec a track is in. The list of all we carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// H.264 / AVC.
    H264,
    /// H.265 / HEVC.
    H265,
    /// AAC (MPEG-4 audio).
    Aac,
    /// Opus.
    Opus,
    /// G.711, A-law or µ-law.
    G711,
}

impl Codec {
    /// Picture or sound.
    pub fn kind(self) -> Kind {
        match self {
            Self::H264 | Self::H265 => Kind::Video,
            Self::Aac | Self::Opus | Self::G711 => Kind::Audio,
        }
    }

    /// The name people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
            Self::Aac => "AAC",
            Self::Opus => "Opus",
            Self::G711 => "G.711",
        }
    }
}

/// What a decoder must be told before the first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Parameter sets and what they say. `None` inside until the first ones were seen in the stream.
    H264(h264::Format),
    /// Parameter sets and what they say.
    H265(h265::Format),
    /// AudioSpecificConfig and what it says.
    Aac(audio::Aac),
    /// Channels.
    Opus(audio::Opus),
    /// Law, rate and channels.
    G711(audio::G711),
}

impl Format {
    /// The codec of this format.
    pub fn codec(&self) -> Codec {
        match self {
            Self::H264(_) => Codec::H264,
            Self::H265(_) => Codec::H265,
            Self::Aac(_) => Codec::Aac,
            Self::Opus(_) => Codec::Opus,
            Self::G711(_) => Codec::G711,
        }
    }

    /// Width and height in pixels as displayed (after cropping); `None` for audio and before the first parameter sets.
    pub fn dimensions(&self) -> Option<(u32, u32)> {
        match self {
            Self::H264(format) => format.dimensions(),
            Self::H265(format) => format.dimensions(),
            Self::Aac(_) | Self::Opus(_) | Self::G711(_) => None,
        }
    }
}

/// One track of a stream.
#[derive(Clone, Debug)]
pub struct Track {
    /// Its position, the same as in [`crate::Frame::track`].
    pub index: TrackIndex,
    /// The format at the moment of publishing. Later changes come with the frames.
    pub format: Arc<Format>,
    /// The clock its frames' times are counted in.
    pub timescale: Timescale,
}

impl Track {
    /// Picture or sound.
    pub fn kind(&self) -> Kind {
        self.format.codec().kind()
    }
}
