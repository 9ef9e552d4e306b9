//! What was decoded and written for somebody, as long as it serves others.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use device::jpeg::Shape;
use device::picture::Picture;
use media::WallTime;
use media::hub::{Entry, Stream};

use super::{NoStill, Still};

/// Of several streams, the newest of each.
#[derive(Default)]
pub(super) struct Cache {
    kept: Vec<Kept>,
    is_swept: bool,
}

struct Kept {
    /// Held weakly: neither a stream that ended nor its frames stay because somebody looked at it.
    stream: Weak<Stream>,
    keyframe: Weak<Entry>,
    wall: WallTime,
    made: Instant,
    used: Instant,
    picture: Result<Arc<Picture>, NoStill>,
    stills: Vec<(Shape, Still)>,
}

impl Kept {
    fn bytes(&self) -> usize {
        let picture = self.picture.as_ref().map_or(0, |picture| picture.as_bytes().len());
        let stills: usize = self.stills.iter().map(|(_, still)| still.jpeg.len()).sum();
        picture + stills
    }

    /// It is new enough, or there is none that is newer.
    fn holds(&self, stream: &Arc<Stream>, now: Instant) -> bool {
        let newest = || stream.newest_keyframe();
        now.saturating_duration_since(self.made) < SERVES
            || newest().is_some_and(|newest| std::ptr::eq(self.keyframe.as_ptr(), Arc::as_ptr(&newest)))
    }
}

impl Cache {
    /// A still that is there, or why there can be none.
    pub(super) fn still(&mut self, stream: &Arc<Stream>, shape: Shape, now: Instant) -> Option<Result<Still, NoStill>> {
        let kept = self.kept(stream, now)?;
        match &kept.picture {
            Err(why) => Some(Err(why.clone())),
            Ok(_) => {
                let found = kept.stills.iter().find(|(known, _)| *known == shape);
                found.map(|(_, still)| Ok(still.clone()))
            }
        }
    }

    /// The decoded picture, and when it was captured.
    pub(super) fn picture(&mut self, stream: &Arc<Stream>, now: Instant) -> Option<(Arc<Picture>, WallTime)> {
        let kept = self.kept(stream, now)?;
        Some((Arc::clone(kept.picture.as_ref().ok()?), kept.wall))
    }

    fn kept(&mut self, stream: &Arc<Stream>, now: Instant) -> Option<&mut Kept> {
        let is_it = |kept: &&mut Kept| std::ptr::eq(kept.stream.as_ptr(), Arc::as_ptr(stream));
        let kept = self.kept.iter_mut().find(is_it)?;
        if !kept.holds(stream, now) {
            return None;
        }
        kept.used = now;
        Some(kept)
    }

    /// What became of a keyframe.
    pub(super) fn put(
        &mut self,
        stream: &Arc<Stream>,
        keyframe: &Arc<Entry>,
        picture: Result<Arc<Picture>, NoStill>,
        now: Instant,
    ) {
        self.kept
            .retain(|kept| !std::ptr::eq(kept.stream.as_ptr(), Arc::as_ptr(stream)));
        self.kept.push(Kept {
            stream: Arc::downgrade(stream),
            keyframe: Arc::downgrade(keyframe),
            wall: keyframe.frame.capture.at,
            made: now,
            used: now,
            picture,
            stills: Vec::new(),
        });
        self.make_room();
    }

    /// One was written of that picture.
    pub(super) fn put_still(&mut self, picture: &Arc<Picture>, shape: Shape, still: &Still) {
        let is_it = |kept: &&mut Kept| matches!(&kept.picture, Ok(known) if Arc::ptr_eq(known, picture));
        if let Some(kept) = self.kept.iter_mut().find(is_it) {
            if kept.stills.len() == MAX_SHAPES {
                kept.stills.remove(0);
            }
            kept.stills.push((shape, still.clone()));
        }
        self.make_room();
    }

    /// Whoever asked least recently goes first; the last that asked stays, however large.
    fn make_room(&mut self) {
        while self.kept.len() > 1 && (self.kept.len() > MAX_STREAMS || self.bytes() > MAX_BYTES) {
            let oldest = self.kept.iter().enumerate().min_by_key(|(_, kept)| kept.used);
            let Some((at, _)) = oldest else { return };
            self.kept.remove(at);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.kept.iter().map(Kept::bytes).sum()
    }

    /// Whether somebody has to begin to sweep.
    pub(super) fn begins_to_be_swept(&mut self) -> bool {
        !std::mem::replace(&mut self.is_swept, true)
    }

    /// Lets go of what nobody asked for in a while. Whether there is something left that will have to go.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        self.kept
            .retain(|kept| now.saturating_duration_since(kept.used) < KEEP && kept.stream.strong_count() > 0);
        self.is_swept = !self.kept.is_empty();
        self.is_swept
    }
}

/// How long a picture serves although there is a newer keyframe.
const SERVES: Duration = Duration::from_secs(2);
/// How long what nobody asks for is kept.
pub(super) const KEEP: Duration = Duration::from_secs(10);
/// Pictures and stills together; 12 MB is one of 4096×2304.
pub(super) const MAX_BYTES: usize = 32 << 20;
/// Streams.
pub(super) const MAX_STREAMS: usize = 256;
/// Stills of a picture.
pub(super) const MAX_SHAPES: usize = 8;
