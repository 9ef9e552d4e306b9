//! A stream's frames as RTP packets, rendered once for all viewers that share them.
//!
//! Belongs here: the numbers (SSRC, sequence, timestamps) that the viewers of one stream share, and a frame's packets in each
//! framing that somebody asked for. Does not belong here: which frames are numbered and kept (`media::hub::Forms`), which viewer
//! gets what ([`super::fanout`]), how a packet is cut (`protocol::rtp`).
//!
//! Every viewer counts its own next sequence number. It may take the shared rendering of a frame exactly when that rendering
//! begins at its number; so a viewer that lags, or joined in the middle, is in step again when it is level. One that jumped never
//! is: its numbers must stay gapless, so its frames are rendered for it alone.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use media::hub::{self, Entry, Render, Stream};
use media::{Frame, Track, TrackIndex};
use protocol::rtp::{Framing, PacketRanges, Packetizer, PacketizerConfig};
use protocol::sdp;

/// Frames of all tracks whose renderings are kept: enough for shards that are a few frames apart.
const KEPT_FRAMES: usize = 8;
/// Framings that always have room in a frame, whoever came before: see [`usual`].
const USUAL_FRAMINGS: usize = 3;
/// Renderings kept of one frame in other framings: each interleaved channel that a client chose is one.
const OTHER_FRAMINGS: usize = 5;

/// A frame's packets in one framing.
#[derive(Debug)]
pub(crate) struct Rendering {
    framing: Framing,
    /// All packets, with their framing.
    pub(crate) bytes: Bytes,
    /// Where they are.
    pub(crate) ranges: PacketRanges,
}

/// A frame's packets with the numbers that viewers share: each framing rendered by the first who asks.
#[derive(Debug)]
pub(crate) struct Packets {
    sequence: u16,
    /// In the places that [`usual`] gives them.
    usual: [OnceLock<Rendering>; USUAL_FRAMINGS],
    /// Filled from the front.
    others: [OnceLock<Rendering>; OTHER_FRAMINGS],
}

/// The place of a framing that nearly all clients choose: datagrams, the channel of a track that is set up first, and of one
/// that is set up after all before it. Clients with odd channels could otherwise take the shared rendering from everybody else.
fn usual(framing: Framing, track: TrackIndex) -> Option<usize> {
    match framing {
        Framing::Datagram => Some(0),
        Framing::Interleaved { channel: 0 } => Some(1),
        Framing::Interleaved { channel } if u16::from(channel) == 2 * u16::from(track.0) => Some(2),
        Framing::Interleaved { .. } => None,
    }
}

impl Packets {
    /// Sequence number of the first packet.
    pub(crate) fn sequence(&self) -> u16 {
        self.sequence
    }

    /// The packets in this framing. `frame` and `packetizer` are those the numbers were given for. `None` for an unusual
    /// framing, when as many others as are kept were asked for first.
    pub(crate) fn rendering(&self, packetizer: &Packetizer, frame: &Frame, framing: Framing) -> Option<&Rendering> {
        let render = || {
            let mut bytes = Vec::new();
            let timestamp = packetizer.timestamp(frame.time);
            let ranges = packetizer.render(frame, self.sequence, timestamp, framing, &mut bytes);
            Rendering {
                framing,
                bytes: bytes.into(),
                ranges,
            }
        };
        if let Some(place) = usual(framing, frame.track) {
            return self.usual.get(place).map(|slot| slot.get_or_init(render));
        }
        let mut others = self.others.iter().map(|slot| slot.get_or_init(render));
        others.find(|rendering| rendering.framing == framing)
    }
}

/// Numbers every frame, in order.
struct Numbers {
    packetizers: Arc<[Packetizer]>,
    /// Next sequence number by track.
    next: Vec<u16>,
}

impl Render for Numbers {
    type Output = Packets;

    fn mark(&mut self, entry: &Entry) -> u64 {
        let track = usize::from(entry.frame.track.0);
        let (Some(packetizer), Some(next)) = (self.packetizers.get(track), self.next.get_mut(track)) else {
            return 0;
        };
        let first = *next;
        *next = first.wrapping_add(packetizer.packet_count(&entry.frame));
        u64::from(first)
    }

    fn render(&mut self, _: &Entry, mark: u64) -> Packets {
        Packets {
            sequence: mark as u16,
            usual: Default::default(),
            others: Default::default(),
        }
    }
}

/// The shared numbers and renderings of one stream.
pub(crate) struct Forms {
    tracks: Arc<[Track]>,
    packetizers: Arc<[Packetizer]>,
    frames: hub::Forms<Numbers>,
}

/// A packetizer for each track. `random` yields the unpredictable starting values that RFC 3550 §5.1 asks for.
pub(crate) fn packetizers(tracks: &[Track], mut random: impl FnMut() -> u64) -> Vec<Packetizer> {
    let described = sdp::tracks(tracks);
    let packetizer = |track: &sdp::Track<'_>| {
        let (numbers, ssrc) = (random(), random());
        Packetizer::new(
            track.format,
            PacketizerConfig {
                payload_type: track.payload_type,
                ssrc: ssrc as u32,
                first_sequence: numbers as u16,
                timestamp_offset: (numbers >> 32) as u32,
                max_packet_bytes: PacketizerConfig::DEFAULT_MAX_PACKET_BYTES,
            },
        )
    };
    described.iter().map(packetizer).collect()
}

impl Forms {
    /// Of the frames of `stream`, with the tracks that it has now.
    pub(crate) fn new(stream: &Arc<Stream>, random: impl FnMut() -> u64) -> Self {
        let tracks = stream.tracks();
        let packetizers: Arc<[_]> = packetizers(&tracks, random).into();
        let numbers = Numbers {
            packetizers: packetizers.clone(),
            next: packetizers
                .iter()
                .map(|packetizer| packetizer.config().first_sequence)
                .collect(),
        };
        Self {
            tracks,
            packetizers,
            frames: hub::Forms::new(stream, KEPT_FRAMES, numbers),
        }
    }

    /// Whether these are the tracks it was made for. Formats may have changed, codecs and clocks not.
    pub(crate) fn fit(&self, tracks: &[Track]) -> bool {
        self.tracks.len() == tracks.len()
            && self.tracks.iter().zip(tracks).all(|(ours, theirs)| {
                ours.format.codec() == theirs.format.codec() && ours.timescale == theirs.timescale
            })
    }

    /// The synchronisation source of a track.
    pub(crate) fn ssrc(&self, track: TrackIndex) -> Option<u32> {
        Some(self.packetizer(track)?.config().ssrc)
    }

    /// The track with this synchronisation source, and how it is cut.
    pub(crate) fn by_ssrc(&self, ssrc: u32) -> Option<(TrackIndex, &Packetizer)> {
        let mut tracks = (0_u8..).map(TrackIndex).zip(&*self.packetizers);
        tracks.find(|(_, packetizer)| packetizer.config().ssrc == ssrc)
    }

    /// How a track is cut; `None` for a track the stream did not have when it began.
    pub(crate) fn packetizer(&self, track: TrackIndex) -> Option<&Packetizer> {
        self.packetizers.get(usize::from(track.0))
    }

    /// The shared packets of a frame. `None` when it is older than what is kept: [`Forms::sequence`] still knows its number.
    pub(crate) fn packets(&self, entry: &Entry) -> Option<Arc<Packets>> {
        self.frames.get(entry)
    }

    /// The shared number of a frame's first packet. `None` when it left the ring before anybody asked for it or a later one.
    pub(crate) fn sequence(&self, entry: &Entry) -> Option<u16> {
        self.frames.mark(entry).map(|mark| mark as u16)
    }

    /// Lets go of all renderings, when nobody watches. The numbers go on.
    pub(crate) fn clear(&self) {
        self.frames.clear();
    }
}

#[cfg(test)]
mod tests;
