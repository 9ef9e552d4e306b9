//! A stream's frames as payloads of packets, made once for all viewers.

use std::sync::Arc;

use media::hub::{self, Entry, Render, Stream};
use media::{Kind, Track, TrackIndex};
use protocol::webrtc::{Form, Former};

/// Frames of all tracks whose payloads are kept: enough for shards that are a few frames apart.
const KEPT_FRAMES: usize = 8;

/// The shared payloads of one stream.
pub(super) struct Forms {
    tracks: Arc<[Track]>,
    formers: Arc<[Former]>,
    frames: hub::Forms<Making>,
}

/// Numbers are the sessions' own: nothing depends on the frames before.
struct Making(Arc<[Former]>);

impl Render for Making {
    type Output = Option<Form>;

    fn mark(&mut self, _: &Entry) -> u64 {
        0
    }

    fn render(&mut self, entry: &Entry, _: u64) -> Option<Form> {
        form(&self.0, entry)
    }
}

fn form(formers: &[Former], entry: &Entry) -> Option<Form> {
    let former = formers.get(usize::from(entry.frame.track.0))?;
    Some(former.form(&entry.frame))
}

impl Forms {
    /// Of the frames of `stream`, with the tracks that it has now.
    pub(super) fn new(stream: &Arc<Stream>, random: fn() -> u64) -> Self {
        let tracks = stream.tracks();
        let former = |track: &Track| Former::new(&track.format, random() as u32);
        let formers: Arc<[_]> = tracks.iter().map(former).collect();
        Self {
            frames: hub::Forms::new(stream, KEPT_FRAMES, Making(Arc::clone(&formers))),
            tracks,
            formers,
        }
    }

    /// Whether these are the tracks it was made for. Formats may have changed, codecs and clocks not.
    pub(super) fn fit(&self, tracks: &[Track]) -> bool {
        self.tracks.len() == tracks.len()
            && self.tracks.iter().zip(tracks).all(|(ours, theirs)| {
                ours.format.codec() == theirs.format.codec() && ours.timescale == theirs.timescale
            })
    }

    /// Pictures.
    pub(super) fn is_video(&self, track: TrackIndex) -> bool {
        self.tracks
            .get(usize::from(track.0))
            .is_some_and(|track| track.kind() == Kind::Video)
    }

    /// The payloads of a frame: shared while it is new, made apart when it is old. `None` for a track the stream did not have when it began.
    pub(super) fn of(&self, entry: &Entry) -> Option<Arc<Option<Form>>> {
        let shared = self.frames.get(entry);
        shared.or_else(|| Some(Arc::new(Some(form(&self.formers, entry)?))))
    }

    /// Lets go of all payloads, when nobody watches.
    pub(super) fn clear(&self) {
        self.frames.clear();
    }
}
