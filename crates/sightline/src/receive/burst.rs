//! The burst at the beginning of a connection: pictures since the last keyframe, which a server gives a newcomer at once.
//!
//! Belongs here: telling them from what is live. They are old by no fault of the way, and come faster than they were taken: neither the
//! frame rate nor the latency of a stream is told by them. Does not belong here: what is done with either.

use std::time::Instant;

use media::MediaTime;

/// Frames closer than this at the beginning are pressed together: no camera takes 500 pictures a second.
const PRESSED_MICROS: i64 = 2_000;

/// How a picture came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coming {
    /// First of all, or of a burst whose times are pressed together, as ours are, so that players do not stay behind: its time says nothing.
    Pressed,
    /// Of a burst with true times, as other servers give it: in less than half the time it was taken in.
    Early,
    /// As it was taken.
    Live,
}

/// Follows the pictures of one connection, in the order of their coming.
#[derive(Debug, Default)]
pub(super) struct Burst {
    last: Option<(MediaTime, Instant)>,
    is_over: bool,
}

impl Burst {
    /// How the picture of `time` came, which arrived `at`. Once one was live, all are.
    pub(super) fn take(&mut self, time: MediaTime, at: Instant) -> Coming {
        if self.is_over {
            return Coming::Live;
        }
        let Some((last_time, last_at)) = self.last.replace((time, at)) else {
            return Coming::Pressed;
        };
        let step = time.micros_since(last_time).abs();
        if step < PRESSED_MICROS {
            return Coming::Pressed;
        }
        if media::time::micros(at.saturating_duration_since(last_at)) * 2 < step {
            return Coming::Early;
        }
        self.is_over = true;
        Coming::Live
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use Coming::{Early, Live, Pressed};
    use media::Timescale;

    use super::*;

    /// Pictures by milliseconds since the one before: by its time, and by its coming.
    fn comings(steps: &[(i64, u64)]) -> Vec<Coming> {
        let (mut burst, mut ticks, mut at) = (Burst::default(), 0, Instant::now());
        let steps = steps.iter().map(|&(taken_ms, came_ms)| {
            ticks += taken_ms * 90;
            at += Duration::from_millis(came_ms);
            burst.take(MediaTime::new(ticks, Timescale::VIDEO), at)
        });
        steps.collect()
    }

    #[test]
    fn a_pressed_burst_is_known_however_slowly_it_comes() {
        let paced = comings(&[(0, 0), (1, 10), (1, 10), (33, 40), (33, 5)]);
        assert_eq!(paced, [Pressed, Pressed, Pressed, Live, Live]);
    }

    #[test]
    fn a_burst_with_true_times_is_known_by_its_haste() {
        let hasty = comings(&[(0, 0), (33, 1), (33, 1), (33, 20), (33, 33)]);
        assert_eq!(hasty, [Pressed, Early, Early, Live, Live]);
    }

    #[test]
    fn without_a_burst_all_but_the_first_is_live() {
        assert_eq!(comings(&[(0, 0), (33, 33), (33, 1)]), [Pressed, Live, Live]);
    }
}
