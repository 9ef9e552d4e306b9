//! Less of a stream, for viewers whose way does not carry all of it.
//!
//! Belongs here: the lower rendition of a stream and what each rendition needs ([`Thinning`], one a task), which frames one viewer is given ([`Given`]).
//! Does not belong here: which rendition is right (`protocol::webrtc::Decider`), sending ([`super::viewer`]).

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use media::hub::{Entry, Event, Reader, State, Stream};
use media::stats::SessionStats;
use media::{StreamName, Track, TrackIndex};
use protocol::webrtc::{Adjuster, Decider, Needs, Rendition};

use super::Service;
use super::fanout::Fanout;
use super::forms::Forms;
use super::service::is_reordered;
use super::trail::Trail;
use crate::source::lower::{fits, lower, video};

/// How often it is looked what a stream needs, and whether there is a lower one.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often while a lower one is being started.
const LOOK_SOON: Duration = Duration::from_millis(100);
/// How often a keyframe is asked for by one viewer.
const KEYFRAMES_EVERY: Duration = Duration::from_secs(1);

/// What less there is of one stream.
pub(super) struct Thinning {
    /// The stream's picture; none can be replaced where there is none.
    video: Option<Track>,
    name: Option<StreamName>,
    needs: Needs,
    looked: Option<Instant>,
    /// The lower one was asked for, and is not there yet.
    awaited: bool,
    low: Option<Low>,
}

/// A lower rendition.
struct Low {
    stream: Arc<Stream>,
    forms: Arc<Forms>,
    video: TrackIndex,
    /// While somebody is given it.
    reader: Option<Reader>,
}

impl Thinning {
    pub(super) fn new(stream: &Stream) -> Self {
        Self {
            video: video(&stream.tracks()).cloned(),
            name: lower(stream.name()),
            needs: Needs::default(),
            looked: None,
            awaited: false,
            low: None,
        }
    }

    /// What each rendition needs.
    pub(super) fn needs(&self) -> Needs {
        self.needs
    }

    /// The track in whose place pictures of the lower rendition go.
    pub(super) fn track(&self) -> Option<TrackIndex> {
        self.video.as_ref().map(|track| track.index)
    }

    /// Asks the lower rendition for a keyframe.
    pub(super) fn request_keyframe(&self, now: Instant) {
        if let Some(low) = &self.low {
            low.stream.request_keyframe(now);
        }
    }

    /// Looks what there is and what it needs, once a second. `short`: the way to one of the viewers does not carry the stream. A lower one that can be had is
    /// started then, and goes on for as long as that lasts.
    pub(super) fn look(
        &mut self,
        stream: &Stream,
        service: &Arc<Service>,
        now: Instant,
        short: impl FnOnce(Needs) -> bool,
    ) {
        let every = if self.awaited { LOOK_SOON } else { LOOK_AGAIN };
        if (self.looked).is_some_and(|at| now.saturating_duration_since(at) < every) {
            return;
        }
        self.looked = Some(now);
        // An encoder of ours that has one viewer takes less for it, with all that is to be seen.
        let wants = short(self.needs) && (self.low.is_some() || !self.needs.adjustable);
        let starts = self
            .name
            .as_ref()
            .is_some_and(|name| wants && service.streams.want(name));
        if self.low.as_ref().is_none_or(|low| low.stream.state() != State::Live) {
            self.low = self.find(service, now);
        }
        self.awaited = starts && self.low.is_none();
        let bps = |stream: &Stream| stream.pace(now).bits_per_second as u64;
        self.needs = Needs {
            full_bps: bps(stream),
            low_bps: self.low.as_ref().map(|low| bps(&low.stream)).filter(|bps| *bps > 0),
            adjustable: stream.viewers() == 1 && stream.publisher().is_some_and(|stats| stats.ceiling.is_tied()),
        };
    }

    fn find(&self, service: &Arc<Service>, now: Instant) -> Option<Low> {
        let stream = service.hub.stream(self.name.as_ref()?, now).ok()?;
        let tracks = stream.tracks();
        let video = video(&tracks).filter(|low| self.video.as_ref().is_some_and(|full| fits(full, low)))?;
        if stream.state() != State::Live || is_reordered(&stream, &tracks) {
            return None;
        }
        Some(Low {
            forms: Fanout::of(&stream, service).forms(&stream, service),
            video: video.index,
            reader: None,
            stream,
        })
    }

    /// What came of the lower rendition, while it is `wanted`. `false` when it is there no more.
    pub(super) fn poll(
        &mut self,
        wanted: bool,
        now: Instant,
        cx: &mut Context<'_>,
        entries: &mut Vec<Arc<Entry>>,
    ) -> bool {
        let Some(low) = &mut self.low else { return !wanted };
        if !wanted {
            low.reader = None;
            return true;
        }
        if low.reader.is_none() {
            let Ok(mut reader) = low.stream.join(now) else {
                return false;
            };
            // What is there is older than what was seen: from the next keyframe on.
            reader.seek(low.stream.live());
            low.stream.request_keyframe(now);
            low.reader = Some(reader);
        }
        let Some(reader) = &mut low.reader else { return false };
        loop {
            match reader.poll_next(cx, entries) {
                Poll::Ready(Event::Frames(_) | Event::Jumped { .. }) => {}
                Poll::Ready(Event::Tracks(_) | Event::Ended(_)) => {
                    self.low = None;
                    self.needs.low_bps = None;
                    return false;
                }
                Poll::Pending => break,
            }
        }
        let video = low.video;
        entries.retain(|entry| entry.frame.track == video);
        true
    }

    /// The payloads of its frames.
    pub(super) fn forms(&self) -> Option<Arc<Forms>> {
        self.low.as_ref().map(|low| Arc::clone(&low.forms))
    }
}

/// What one viewer is given.
#[derive(Debug)]
pub(super) struct Given {
    decider: Decider,
    /// What it is to be given, from a keyframe of that on.
    wanted: Rendition,
    shown: Rendition,
    estimate_bps: Option<u64>,
    /// Of the stream itself, while it is given less of it.
    pub(super) trail: Trail,
    keyframe_asked: Option<Instant>,
    adjuster: Adjuster,
    lowered: Option<Lowered>,
}

/// An encoder that takes less for one viewer, for as long as this lives.
#[derive(Debug)]
struct Lowered(Arc<SessionStats>);

impl Drop for Lowered {
    fn drop(&mut self) {
        self.0.ceiling.set(None);
    }
}

impl Default for Given {
    fn default() -> Self {
        Self {
            decider: Decider::default(),
            wanted: Rendition::Full,
            shown: Rendition::Full,
            estimate_bps: None,
            trail: Trail::default(),
            keyframe_asked: None,
            adjuster: Adjuster::default(),
            lowered: None,
        }
    }
}

impl Given {
    pub(super) fn shown(&self) -> Rendition {
        self.shown
    }

    /// Whether frames of the lower rendition are for it.
    pub(super) fn has_use_of_low(&self) -> bool {
        self.wanted == Rendition::Low || self.shown == Rendition::Low
    }

    /// Whether it has use of less than the stream.
    pub(super) fn is_short(&self, needs: Needs) -> bool {
        self.wanted != Rendition::Full || self.estimate_bps.is_some_and(|estimate| needs.is_short(estimate))
    }

    /// By a new estimate.
    pub(super) fn decide(&mut self, estimate_bps: u64, needs: Needs, now: Instant) {
        self.estimate_bps = Some(estimate_bps);
        self.wanted = self.decider.decide(self.estimate_bps, needs, now);
        if self.wanted.height() < self.shown.height() {
            // What is too much ends now, and not with the next keyframe.
            self.shown = Rendition::Fewer;
        }
    }

    /// Tells the encoder what it may take, where this viewer is the only one.
    pub(super) fn adjust(&mut self, stream: &Stream, needs: Needs, now: Instant) {
        let publisher = stream
            .publisher()
            .filter(|_| needs.adjustable && needs.low_bps.is_none());
        let same = |lowered: &Lowered| {
            publisher
                .as_ref()
                .is_some_and(|publisher| Arc::ptr_eq(&lowered.0, publisher))
        };
        if self.lowered.as_ref().is_some_and(|lowered| !same(lowered)) {
            self.lowered = None;
            self.adjuster = Adjuster::default();
        }
        let (Some(publisher), Some(estimate_bps)) = (publisher, self.estimate_bps) else {
            return;
        };
        match self.adjuster.decide(estimate_bps, needs, now) {
            Some(Some(kbps)) if publisher.ceiling.set(Some(kbps)) => {
                tracing::debug!(stream = %stream.name(), kbps, "the encoder takes less for its only viewer");
                // One that is there already is the same.
                self.lowered.get_or_insert_with(|| Lowered(publisher));
            }
            Some(_) => self.lowered = None,
            None => {}
        }
    }

    /// Whether a keyframe is to be asked for: it waits for one, or what it is given lags.
    pub(super) fn wants_keyframe(&mut self, now: Instant) -> bool {
        let recently = |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < KEYFRAMES_EVERY);
        let of_use = self.shown == Rendition::Low || self.trail.wants_keyframe(now);
        let wanted = of_use && self.wanted != Rendition::Low && !recently(self.keyframe_asked);
        if wanted {
            self.keyframe_asked = Some(now);
        }
        wanted
    }

    /// The lower rendition is gone.
    pub(super) fn lose_low(&mut self, needs: Needs, now: Instant) {
        if self.has_use_of_low() {
            self.shown = Rendition::Fewer;
            self.wanted = self.decider.decide(self.estimate_bps, needs, now);
        }
    }

    /// Whether it gets this picture of the stream itself, with all the others.
    pub(super) fn takes(&mut self, keyframe: bool) -> bool {
        if self.wanted == Rendition::Full && keyframe {
            self.shown = Rendition::Full;
        }
        self.shown == Rendition::Full
    }

    /// Whether it gets as many pictures of the stream itself as get through.
    pub(super) fn follows(&self) -> bool {
        self.shown == Rendition::Fewer
    }

    /// Whether it gets this picture of them. Until there is one of the lower rendition it gets keyframes alone: the queue is to drain.
    pub(super) fn follows_to(&self, keyframe: bool) -> bool {
        self.follows() && (keyframe || self.wanted != Rendition::Low)
    }

    /// It has had all that was handed out.
    pub(super) fn level(&mut self) {
        self.trail.level();
        if self.follows() && self.wanted == Rendition::Full {
            self.shown = Rendition::Full;
        }
    }

    /// What its way carries.
    pub(super) fn estimate_bps(&self) -> u64 {
        self.estimate_bps.unwrap_or(u64::MAX)
    }

    /// Whether it gets this picture of the lower rendition.
    pub(super) fn takes_low(&mut self, keyframe: bool) -> bool {
        if self.wanted == Rendition::Low && keyframe {
            self.shown = Rendition::Low;
            self.trail.leave();
        }
        self.shown == Rendition::Low
    }
}

#[cfg(test)]
mod tests {
    use media::Clock as _;

    use super::*;
    use crate::clock::SystemClock;

    const NEEDS: Needs = Needs {
        full_bps: 2_000_000,
        low_bps: Some(300_000),
        adjustable: false,
    };

    #[test]
    fn each_change_begins_with_a_keyframe_of_what_is_changed_to() {
        let now = SystemClock.now();
        let mut given = Given::default();
        assert!(given.takes(false));
        given.decide(900_000, NEEDS, now);
        assert!(given.has_use_of_low());
        assert!(!given.takes(false), "what is too much ends at once");
        assert!(!given.takes_low(false), "there is nothing that it could refer to");
        assert!(
            !given.takes(true) && given.follows_to(true) && !given.follows_to(false),
            "keyframes of the stream until there is one of the other"
        );
        assert!(given.takes_low(true) && given.takes_low(false));
        assert!(!given.takes(true));
        for after in [0, 5, 10] {
            given.decide(5_000_000, NEEDS, now + Duration::from_secs(after));
        }
        assert!(
            !given.takes(false) && given.takes_low(false),
            "until there is a keyframe"
        );
        assert!(given.takes(true) && given.takes(false));
        assert!(!given.takes_low(true) && !given.has_use_of_low());
    }

    #[test]
    fn all_pictures_come_again_with_a_keyframe_or_when_it_has_had_those_before() {
        for by_keyframe in [true, false] {
            let begun = SystemClock.now();
            let mut given = Given::default();
            let alone = Needs { low_bps: None, ..NEEDS };
            given.decide(400_000, alone, begun);
            assert_eq!(given.shown(), Rendition::Full, "it may be the end of an outage");
            given.decide(400_000, alone, begun + Duration::from_secs(2));
            assert!(!given.takes(false) && !given.takes(true) && given.follows_to(false));
            given.level();
            assert!(given.follows(), "there is no room for all");
            for after in [5, 10, 15] {
                given.decide(5_000_000, alone, begun + Duration::from_secs(after));
            }
            assert!(!given.takes(false) && given.follows());
            if by_keyframe {
                assert!(given.takes(true));
            } else {
                given.level();
            }
            assert!(given.takes(false) && !given.follows());
        }
    }

    #[test]
    fn a_lower_rendition_that_is_gone_leaves_fewer_pictures() {
        let now = SystemClock.now();
        let mut given = Given::default();
        given.decide(900_000, NEEDS, now);
        assert!(given.takes_low(true));
        given.lose_low(Needs { low_bps: None, ..NEEDS }, now);
        assert_eq!((given.shown(), given.has_use_of_low()), (Rendition::Fewer, false));
    }
}
