//! Asking a publisher for a keyframe, not too often, and knowing whether it answers.
//!
//! Belongs here: when a request is made and what is thought of the publisher. Does not belong here: who wants a keyframe and
//! why.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Least time between two requests, the time in which a publisher has to answer one, and the age up to which a keyframe is
/// fresh. An encoder of ours answers within a frame, a browser within a round trip.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// Asks the publisher. Never called under a lock.
pub(super) type Request = Arc<dyn Fn() + Send + Sync>;

/// The state of asking one publisher.
#[derive(Default)]
pub(super) struct Keyframes {
    request: Option<Request>,
    wanted: bool,
    asked: Option<Instant>,
    /// None has come within [`INTERVAL`] of the last request.
    unanswered: bool,
    /// Nor of the one before.
    ignored: bool,
}

impl Keyframes {
    pub(super) fn new(request: Option<Request>) -> Self {
        Self {
            request,
            ..Self::default()
        }
    }

    /// From now on it is asked in this way, or cannot be asked. Gives back how it was, to be dropped outside the lock.
    #[must_use]
    pub(super) fn set_request(&mut self, request: Option<Request>) -> Option<Request> {
        self.wanted &= request.is_some();
        // What it did not answer it was asked in another state.
        (self.unanswered, self.ignored) = (false, false);
        std::mem::replace(&mut self.request, request)
    }

    /// Someone needs a keyframe. [`Keyframes::take_request`] follows at once or at the next frame.
    pub(super) fn want(&mut self) {
        self.wanted = self.request.is_some();
    }

    /// A keyframe was published. One that comes later than the interval came by itself, and is no answer.
    pub(super) fn came(&mut self, now: Instant) {
        self.wanted = false;
        if self.since_asked(now).is_some_and(|since| since <= INTERVAL) {
            (self.unanswered, self.ignored) = (false, false);
        }
    }

    /// The request to make now, if one is wanted and the last one is long enough ago.
    pub(super) fn take_request(&mut self, now: Instant) -> Option<Request> {
        if !self.wanted || self.since_asked(now).is_some_and(|since| since < INTERVAL) {
            return None;
        }
        self.wanted = false;
        let request = self.request.clone()?;
        self.asked = Some(now);
        self.ignored |= self.unanswered;
        self.unanswered = true;
        Some(request)
    }

    /// Asking brings a keyframe soon: the publisher takes requests and has not left one unanswered since the last it answered.
    pub(super) fn answers(&self, now: Instant) -> bool {
        let too_late = self.unanswered && self.since_asked(now).is_some_and(|since| since > INTERVAL);
        self.request.is_some() && !self.ignored && !too_late
    }

    fn since_asked(&self, now: Instant) -> Option<Duration> {
        self.asked.map(|asked| now.saturating_duration_since(asked))
    }
}

impl fmt::Debug for Keyframes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyframes")
            .field("wanted", &self.wanted)
            .field("asked", &self.asked)
            .field("answers", &(!self.unanswered && !self.ignored))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::hub::sim::Sim;

    use super::*;

    fn asking() -> Keyframes {
        Keyframes::new(Some(Arc::new(|| {})))
    }

    #[test]
    fn at_most_one_request_a_second_and_none_is_lost() {
        let (time, mut keyframes) = (Sim::new(), asking());
        keyframes.want();
        assert!(keyframes.take_request(time.ms(0)).is_some());
        keyframes.want();
        assert!(keyframes.take_request(time.ms(999)).is_none());
        assert!(keyframes.take_request(time.ms(1_000)).is_some());
        assert!(keyframes.take_request(time.ms(2_500)).is_none(), "nobody wants one");
    }

    #[test]
    fn a_keyframe_that_comes_by_itself_settles_the_wish() {
        let (time, mut keyframes) = (Sim::new(), asking());
        keyframes.want();
        keyframes.came(time.ms(10));
        assert!(keyframes.take_request(time.ms(20)).is_none());
    }

    #[test]
    fn a_publisher_that_does_not_answer_in_time_is_not_relied_on_until_it_does() {
        let (time, mut keyframes) = (Sim::new(), asking());
        assert!(keyframes.answers(time.ms(0)));
        keyframes.want();
        assert!(keyframes.take_request(time.ms(0)).is_some());
        assert!(keyframes.answers(time.ms(1_000)), "there is still time");
        assert!(!keyframes.answers(time.ms(1_001)));
        keyframes.came(time.ms(1_400));
        keyframes.want();
        assert!(keyframes.take_request(time.ms(1_500)).is_some());
        assert!(!keyframes.answers(time.ms(1_600)), "it ignored the one before");
        keyframes.came(time.ms(1_700));
        assert!(keyframes.answers(time.ms(1_800)));
    }

    #[test]
    fn without_a_way_to_ask_nothing_is_asked() {
        let (time, mut keyframes) = (Sim::new(), Keyframes::new(None));
        keyframes.want();
        assert!(keyframes.take_request(time.ms(0)).is_none());
        assert!(!keyframes.answers(time.ms(0)));
    }
}
