//! Where a source puts its frames: the hub, from the first keyframe on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use media::hub::{self, Hub, Origin, Publisher, Publishing, Refused};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{Clock, Frame, Kind, StreamName, Track};

use super::entry::Entry;
use super::{Ended, Trouble, Why};

/// Takes the frames of one attempt.
pub struct Sink {
    entry: Arc<Entry>,
    hub: Hub,
    clock: Arc<dyn Clock>,
    begun: Option<Begun>,
    keyframe_requests: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// From the tracks on.
struct Begun {
    tracks: Vec<Track>,
    stats: Arc<SessionStats>,
    /// From the first keyframe on.
    publisher: Option<Publisher>,
}

impl Sink {
    pub(super) fn new(entry: Arc<Entry>, hub: Hub, clock: Arc<dyn Clock>) -> Self {
        Self {
            entry,
            hub,
            clock,
            begun: None,
            keyframe_requests: None,
        }
    }

    /// The source can be asked for keyframes: to be called before the first frame.
    pub fn asks_for_keyframes(&mut self, requests: Arc<dyn Fn() + Send + Sync>) {
        self.keyframe_requests = Some(requests);
    }

    /// Whether there is a lower rendition where the stream comes from.
    pub(super) fn says_of_lower(&self, has_lower: bool) {
        self.entry.says_of_lower(has_lower);
    }

    /// Whether the source has said what it is made of.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// The stream.
    pub fn name(&self) -> &StreamName {
        self.entry.name()
    }

    /// What the source is made of. The stream is there with its first keyframe: by then the parameter sets are known that a description
    /// may leave out. The counters are the source's to keep.
    pub fn begin(
        &mut self,
        tracks: Vec<Track>,
        protocol: &'static str,
        remote: Option<SocketAddr>,
    ) -> Arc<SessionStats> {
        let stats = Arc::new(SessionStats::new(SessionInfo {
            stream: self.entry.name().clone(),
            role: Role::Publisher,
            protocol,
            remote,
            agent: None,
            since: self.clock.wall(),
        }));
        self.begun = Some(Begun {
            tracks,
            stats: Arc::clone(&stats),
            publisher: None,
        });
        stats
    }

    /// A frame of the source.
    ///
    /// # Errors
    /// When the stream is no longer the source's.
    pub fn take(&mut self, frame: Frame, now: Instant) -> Result<(), Why> {
        let Some(begun) = &mut self.begun else { return Ok(()) };
        let publisher = match &mut begun.publisher {
            Some(publisher) => publisher,
            none => {
                if !begins(&begun.tracks, &frame) {
                    return Ok(());
                }
                if let Some(track) = begun.tracks.get_mut(usize::from(frame.track.0)) {
                    track.format = Arc::clone(&frame.format);
                }
                let publishing = Publishing {
                    stats: Arc::clone(&begun.stats),
                    origin: Origin::Remote,
                    keyframe_requests: self.keyframe_requests.clone(),
                };
                let publisher = (self
                    .hub
                    .publish(self.entry.name(), begun.tracks.clone(), publishing, now))
                .map_err(|error| Why::new(Trouble::Occupied, error.to_string()))?;
                none.insert(publisher)
            }
        };
        let first = begun.stats.frames.get() == 0;
        publisher.publish(frame, now).map_err(|refused| why(&refused))?;
        if first && begun.stats.frames.get() > 0 {
            self.entry.runs(now);
        }
        Ok(())
    }

    /// Says why the stream is left.
    pub(super) fn say_farewell(&self, ended: &Ended) {
        if let Some(begun) = &self.begun {
            match ended {
                Ended::Stopped => begun.stats.farewell.say("nobody needs the source any more"),
                Ended::Failed(why) => begun.stats.farewell.say(&why.detail),
            }
        }
    }

    /// For sources that publish by themselves: whether somebody at that address has the stream now. It runs then.
    pub(super) fn is_published(&self, from: IpAddr) -> bool {
        let there = self.is_still_published(from);
        if there && !self.entry.is_running() {
            self.entry.runs(self.clock.now());
        }
        there
    }

    /// As [`Sink::is_published`], of one that is to end.
    pub(super) fn is_still_published(&self, from: IpAddr) -> bool {
        let stream = self.hub.stream(self.entry.name(), self.clock.now()).ok();
        let live = stream.filter(|stream| stream.state() == hub::State::Live && stream.newest_keyframe().is_some());
        let remote = live.and_then(|stream| stream.publisher()?.info.remote);
        remote.is_some_and(|remote| remote.ip().to_canonical() == from.to_canonical())
    }

    /// Leaves the stream: it is held for the source's return, or ended where it need not return.
    pub(super) fn close(self, for_good: bool) {
        let stream = match self.begun.and_then(|begun| begun.publisher) {
            Some(publisher) => {
                let stream = Arc::clone(publisher.stream());
                publisher.close(self.clock.now());
                stream
            }
            // It was published by another way, if at all.
            None => match self.hub.stream(self.entry.name(), self.clock.now()) {
                Ok(stream) => stream,
                Err(_) => return,
            },
        };
        if for_good && stream.publisher().is_none() && stream.viewers() == 0 {
            // Who comes next shall not be given pictures of old.
            self.hub.end(stream.name());
        }
    }
}

/// Whether a stream may begin with this frame.
fn begins(tracks: &[Track], frame: &Frame) -> bool {
    let video = tracks.iter().find(|track| track.kind() == Kind::Video);
    video.is_none_or(|video| video.index == frame.track && frame.keyframe)
}

fn why(refused: &Refused) -> Why {
    let trouble = match refused {
        Refused::Replaced { .. } | Refused::NotNow(_) => Trouble::Occupied,
        Refused::NoKeyframe { .. } | Refused::Stopped => Trouble::Ended,
    };
    Why::new(trouble, refused.to_string())
}
