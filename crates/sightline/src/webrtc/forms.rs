//! A stream's frames as payloads of packets, made once for all viewers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use media::hub::{self, Entry, Render, Stream};
use media::{Kind, Track, TrackIndex};
use protocol::webrtc::{Form, Former, WeakForm};

/// Frames of all tracks whose payloads are kept: enough for shards that are a few frames apart.
const KEPT_FRAMES: usize = 8;
/// Older ones that are found again while a viewer has them: two seconds at 60 a second with sound, of which newcomers get copies at once.
const FOUND_AGAIN: usize = 256;

/// The shared payloads of one stream.
pub(super) struct Forms {
    tracks: Arc<[Track]>,
    formers: Arc<[Former]>,
    frames: hub::Forms<Making>,
    old: Mutex<Old>,
}

/// Payloads of older frames, by id, of those that viewers keep to send again. 150 viewers who came at once had 45 MB of them when each had its own.
#[derive(Default)]
struct Old(BTreeMap<u64, WeakForm>);

impl Old {
    fn get_or_make(&mut self, id: u64, make: impl FnOnce() -> Option<Form>) -> Option<Form> {
        if let Some(form) = self.0.get(&id).and_then(WeakForm::upgrade) {
            return Some(form);
        }
        let form = make()?;
        self.0.insert(id, form.downgrade());
        if self.0.len() > FOUND_AGAIN {
            self.0.pop_first();
        }
        Some(form)
    }
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
            old: Mutex::default(),
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

    /// The payloads of a frame: made once while it is new, or while anybody has them. `None` for a track the stream did not have when it began.
    pub(super) fn of(&self, entry: &Entry) -> Option<Arc<Option<Form>>> {
        if let Some(shared) = self.frames.get(entry) {
            return Some(shared);
        }
        // Who comes at the same time as another waits for what that one makes instead of making it again.
        let mut old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        let form = old.get_or_make(entry.id, || form(&self.formers, entry))?;
        Some(Arc::new(Some(form)))
    }

    /// Lets go of all payloads, when nobody watches.
    pub(super) fn clear(&self) {
        self.frames.clear();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::{Capture, CaptureSource, Format, Frame, MediaTime, Timescale, WallTime, h264};

    use super::*;

    fn form() -> Option<Form> {
        let format = Format::H264(h264::Format::default());
        let frame = Frame {
            track: TrackIndex(0),
            time: MediaTime::new(0, Timescale::VIDEO),
            capture: Capture {
                at: WallTime::from_unix_micros(0),
                source: CaptureSource::Arrival,
            },
            keyframe: true,
            format: Arc::new(format.clone()),
            data: Bytes::from_static(&[0, 0, 0, 2, 0x65, 0x88]),
        };
        Some(Former::new(&format, 0).form(&frame))
    }

    #[test]
    fn an_old_frame_is_made_once_while_anybody_has_it() {
        let (mut old, mut made) = (Old::default(), 0);
        let mut get = |old: &mut Old| {
            old.get_or_make(7, || {
                made += 1;
                form()
            })
        };
        let kept = [get(&mut old), get(&mut old)];
        drop(kept);
        get(&mut old);
        assert_eq!(made, 2);
    }

    #[test]
    fn what_is_found_again_has_a_limit() {
        let mut old = Old::default();
        let kept: Vec<_> = (0..2 * FOUND_AGAIN as u64)
            .map(|id| old.get_or_make(id, form))
            .collect();
        assert_eq!((kept.len(), old.0.len()), (2 * FOUND_AGAIN, FOUND_AGAIN));
    }
}
