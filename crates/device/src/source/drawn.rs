//! Sources that draw their pictures themselves.
//!
//! Belongs here: when each picture is due, and handing it over. Does not belong here: what is on it ([`super::test_pattern`],
//! [`super::slate`]).

use std::thread;
use std::time::{Duration, Instant};

use media::CaptureSource;

use super::{Captured, Description, Error, Kind, Opening, Source, Taken};
use crate::picture::{FrameRate, Picture};

/// Pictures of the size and at the rate that are wanted, drawn when they are due.
pub(crate) struct Drawn<D> {
    description: Description,
    with: Opening,
    pacer: Pacer,
    draw: D,
}

impl<D: FnMut(&mut Picture, Duration)> Drawn<D> {
    /// `draw` gets an old picture to draw over, and the time since the first.
    pub(crate) fn new(name: &str, with: &Opening, draw: D) -> Self {
        let wanted = with.wanted;
        Self {
            description: Description {
                text: format!("{name}, {}×{}@{}", wanted.width, wanted.height, wanted.fps),
                kind: Kind::Raw,
                width: wanted.width,
                height: wanted.height,
                fps: wanted.fps,
            },
            pacer: Pacer::new(wanted.fps, with.clock.now()),
            with: with.clone(),
            draw,
        }
    }
}

impl<D: FnMut(&mut Picture, Duration) + Send> Source for Drawn<D> {
    fn description(&self) -> &Description {
        &self.description
    }

    fn next(&mut self, timeout: Duration) -> Result<Option<Captured>, Error> {
        let wait = self.pacer.due().saturating_duration_since(self.with.clock.now());
        if wait > timeout {
            thread::sleep(timeout);
            return Ok(None);
        }
        thread::sleep(wait);
        let at = self.with.clock.now();
        self.pacer.taken(at);
        let Some(mut picture) = self.with.pool.take(self.description.width, self.description.height) else {
            return Ok(None);
        };
        (self.draw)(&mut picture, at.saturating_duration_since(self.pacer.start));
        let source = CaptureSource::Camera;
        Ok(Some(Captured::Picture {
            picture,
            taken: Taken { at, source },
        }))
    }
}

/// When pictures are due: at absolute times from a start, so that lateness of one never adds to the next.
struct Pacer {
    start: Instant,
    fps: FrameRate,
    next: u64,
}

impl Pacer {
    /// The first picture is due at `start`.
    fn new(fps: FrameRate, start: Instant) -> Self {
        Self { start, fps, next: 0 }
    }

    /// When the next picture is due.
    fn due(&self) -> Instant {
        self.start + self.fps.due(self.next)
    }

    /// The picture that was due has been taken at `now`. Pictures whose whole interval has passed are left out, never
    /// delivered in a burst.
    fn taken(&mut self, now: Instant) {
        self.next += 1;
        let since_start = now.saturating_duration_since(self.start);
        let interval = self.fps.interval();
        if since_start > self.fps.due(self.next) + interval {
            let behind = (since_start - self.fps.due(self.next)).as_nanos() / interval.as_nanos().max(1);
            self.next += u64::try_from(behind).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pacing_keeps_its_phase_whatever_the_lateness() {
        #[expect(clippy::disallowed_methods, reason = "any instant does")]
        let start = Instant::now();
        let fps = FrameRate::whole(30);
        let mut pacer = Pacer::new(fps, start);
        for n in 0..1_000_u64 {
            assert_eq!(pacer.due(), start + fps.due(n));
            // Up to 20 ms late each time.
            pacer.taken(pacer.due() + Duration::from_micros(n * 7_919 % 20_000));
        }
    }

    #[test]
    fn a_long_stall_leaves_pictures_out_instead_of_bursting() {
        #[expect(clippy::disallowed_methods, reason = "any instant does")]
        let start = Instant::now();
        let fps = FrameRate::whole(30);
        let mut pacer = Pacer::new(fps, start);
        let late = start + Duration::from_millis(1_010);
        pacer.taken(late);
        assert!(pacer.due() + fps.interval() > late, "more than one picture is overdue");
        assert!(pacer.due() <= late + fps.interval(), "waits longer than an interval");
        let phase = pacer.due().duration_since(start).as_nanos() % fps.interval().as_nanos();
        assert!(phase < 100, "the phase is lost: {phase} ns");
    }
}
