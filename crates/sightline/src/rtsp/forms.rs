//! A stream's frames as RTP packets, rendered once for all viewers that share them.
//!
//! Belongs here: the numbers (SSRC, sequence, timestamps) that the viewers of one stream share, and the last few frames in
//! each framing somebody asked for. Does not belong here: which viewer gets what ([`super::fanout`]), how a packet is cut
//! (`protocol::rtp`).
//!
//! Every viewer counts its own next sequence number. It may take the shared rendering of a frame exactly when that rendering
//! begins at its number; so a viewer that lags, or joined in the middle, falls back into step by itself, and one that jumped
//! (whose numbers must stay gapless) never does and is served from a renumbered copy.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use media::hub::Entry;
use media::{Track, TrackIndex};
use protocol::rtp::{Framing, PacketRanges, Packetizer, PacketizerConfig};
use protocol::sdp;

/// Renderings kept per framing: enough for shards that are a frame or two apart.
const KEPT_FORMS: usize = 4;
/// Framings kept: each interleaved channel that a client chose is one. Beyond it the one not asked for longest goes.
const KEPT_FRAMINGS: usize = 8;
/// Starting numbers remembered, in frames; beyond it a viewer that lags is served from copies until it is level again.
const KEPT_STARTS: usize = 256;

/// One frame as packets with certain numbers.
#[derive(Debug)]
pub(crate) struct Form {
    /// The frame's id in the hub.
    pub(crate) id: u64,
    /// Sequence number of the first packet.
    pub(crate) sequence: u16,
    /// All packets, with their framing.
    pub(crate) bytes: Bytes,
    /// Where they are.
    pub(crate) ranges: PacketRanges,
}

impl Form {
    /// The sequence number behind the last packet.
    pub(crate) fn next_sequence(&self) -> u16 {
        self.sequence.wrapping_add(self.ranges.len())
    }
}

/// The shared numbers and renderings of one stream.
pub(crate) struct Forms {
    tracks: Vec<Track>,
    packetizers: Vec<Packetizer>,
    shared: Mutex<Shared>,
}

struct Shared {
    /// Next sequence number per track.
    next: Vec<u16>,
    /// The first frame not numbered yet.
    next_id: u64,
    /// Where the newest frames begin, by ascending id.
    starts: VecDeque<FrameStart>,
    /// Most recently used last.
    rendered: Vec<(Framing, VecDeque<Arc<Form>>)>,
}

#[derive(Clone, Copy)]
struct FrameStart {
    id: u64,
    track: TrackIndex,
    sequence: u16,
}

impl Forms {
    /// `random` yields the unpredictable starting values that RFC 3550 §5.1 asks for.
    pub(crate) fn new(tracks: &[Track], mut random: impl FnMut() -> u64) -> Self {
        let packetizers: Vec<_> = sdp::tracks(tracks)
            .iter()
            .map(|track| {
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
            })
            .collect();
        let next = packetizers
            .iter()
            .map(|packetizer| packetizer.config().first_sequence)
            .collect();
        Self {
            tracks: tracks.to_vec(),
            packetizers,
            shared: Mutex::new(Shared {
                next,
                next_id: 0,
                starts: VecDeque::new(),
                rendered: Vec::new(),
            }),
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

    /// The shared rendering of a frame. `None` when the frame is older than what is kept, or not of a known track.
    pub(crate) fn shared(&self, entry: &Entry, framing: Framing) -> Option<Arc<Form>> {
        let packetizer = self.packetizer(entry.frame.track)?;
        let mut shared = self.lock();
        let rendered = shared.framing(framing);
        if let Some(form) = rendered.iter().rev().find(|form| form.id == entry.id) {
            return Some(form.clone());
        }
        let sequence = shared.number(entry, packetizer)?;
        let mut bytes = Vec::new();
        let timestamp = packetizer.timestamp(entry.frame.time);
        let ranges = packetizer.render(&entry.frame, sequence, timestamp, framing, &mut bytes);
        let form = Arc::new(Form {
            id: entry.id,
            sequence,
            bytes: bytes.into(),
            ranges,
        });
        let rendered = shared.framing(framing);
        if rendered.len() == KEPT_FORMS {
            rendered.pop_front();
        }
        rendered.push_back(form.clone());
        Some(form)
    }

    /// Counts a frame that no viewer takes in its shared form right now, so that those who are late find it counted.
    pub(crate) fn pass(&self, entry: &Entry) {
        if let Some(packetizer) = self.packetizer(entry.frame.track) {
            self.lock().number(entry, packetizer);
        }
    }

    /// Sequence number of each track with which a viewer must begin to be in step once it has been sent the frames of
    /// `track` in `backlog`: the newest frames of the stream in order, up to but without the id `live`.
    pub(crate) fn start_numbers(&self, backlog: &[Arc<Entry>], track: TrackIndex, live: u64) -> Vec<u16> {
        let mut shared = self.lock();
        // Nobody took frames for a while: the numbers go on from here. Whoever is still behind that gap keeps numbers of its own.
        let first = backlog.first().map_or(live, |entry| entry.id);
        shared.next_id = shared.next_id.max(first);
        for entry in backlog {
            if let Some(packetizer) = self.packetizer(entry.frame.track) {
                shared.number(entry, packetizer);
            }
        }
        let mut numbers = shared.numbers_at(live);
        if let (Some(number), Some(packetizer)) = (numbers.get_mut(usize::from(track.0)), self.packetizer(track)) {
            for entry in backlog.iter().filter(|entry| entry.frame.track == track) {
                *number = number.wrapping_sub(packetizer.packet_count(&entry.frame));
            }
        }
        numbers
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panic while rendering left at worst one frame unrendered; the numbers are written last.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The shared sequence number at which a frame begins, assigned now if the frame was not counted yet. `None` when it
    /// is older than what is remembered.
    fn number(&mut self, entry: &Entry, packetizer: &Packetizer) -> Option<u16> {
        if entry.id < self.next_id {
            let at = self.starts.binary_search_by_key(&entry.id, |start| start.id).ok()?;
            return self.starts.get(at).map(|start| start.sequence);
        }
        let next = self.next.get_mut(usize::from(entry.frame.track.0))?;
        let sequence = *next;
        *next = sequence.wrapping_add(packetizer.packet_count(&entry.frame));
        self.next_id = entry.id.saturating_add(1);
        if self.starts.len() == KEPT_STARTS {
            self.starts.pop_front();
        }
        self.starts.push_back(FrameStart {
            id: entry.id,
            track: entry.frame.track,
            sequence,
        });
        Some(sequence)
    }

    /// Per track, the number of the first packet at or after the frame `live`.
    fn numbers_at(&self, live: u64) -> Vec<u16> {
        let mut numbers = self.next.clone();
        for start in self.starts.iter().rev().take_while(|start| start.id >= live) {
            if let Some(number) = numbers.get_mut(usize::from(start.track.0)) {
                *number = start.sequence;
            }
        }
        numbers
    }

    fn framing(&mut self, framing: Framing) -> &mut VecDeque<Arc<Form>> {
        let at = self.rendered.iter().position(|(known, _)| *known == framing);
        let used = match at {
            Some(at) => self.rendered.remove(at),
            None => {
                if self.rendered.len() == KEPT_FRAMINGS {
                    self.rendered.remove(0);
                }
                (framing, VecDeque::with_capacity(KEPT_FORMS))
            }
        };
        self.rendered.push(used);
        let last = self.rendered.len() - 1;
        &mut self.rendered[last].1
    }
}
