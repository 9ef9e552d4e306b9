//! How much the way to one viewer carries.
//!
//! Belongs here: the estimate as a plain function of what was sent when and came when. Does not belong here: who says so ([`super::flight`],
//! [`crate::rtp::feedback`]), what follows from it ([`super::rendition`]).
//!
//! After draft-ietf-rmcat-gcc-02 (delay gradient, loss, a decrease to 0.85 of what gets through), changed where it counts on a pacer, since nothing here is paced:
//!
//! - The packets of a frame leave together. How late the **first** of them is shows what of the frames before still waits on the way, whatever the size
//!   of this one. The way is too narrow when that delay rises: by a straight line through the newest frames, by more than their scatter explains, and
//!   when none of the newest was without it. So neither jitter nor a single large keyframe lowers the estimate.
//! - The packets behind the first come as far apart as the narrowest place lets them: each frame of some packets is a probe, which a paced sender would
//!   have to make of padding. By it the estimate rises again, also while far less is sent than could be.
//! - Loss alone lowers nothing as long as nothing waits: sending less does not mend a way that loses at random, and costs picture. Unless a quarter is
//!   lost, as by a limit without a queue.

use std::collections::VecDeque;

/// A packet that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// By our clock.
    pub(super) sent_us: i64,
    /// By the receiver's.
    pub(super) arrived_us: i64,
    pub(super) bytes: u32,
}

/// What one feedback says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Observation {
    /// In the order in which they were sent.
    pub(super) arrivals: Vec<Arrival>,
    /// Packets that did not come …
    pub(super) lost: u32,
    /// … and those that were said to be lost before, and came after all.
    pub(super) found: u32,
}

/// Packets that were sent within this time left together.
const TOGETHER_US: i64 = 2_000;
/// Frames that the line is drawn through, and the fewest, and how old.
const POINTS: usize = 20;
const LEAST_POINTS: usize = 8;
const POINTS_US: i64 = 2_000_000;
/// None of so many of the newest was without delay.
const STANDING_POINTS: usize = 6;
/// A rise, or a standing delay, below this is none.
const LEAST_RISE_MS: f64 = 15.0;
/// Of `n` points that scatter by `s` a line rises by chance by `s · √(12 ∕ n)` over its length: this is three times that at the fewest points.
const SCATTER: f64 = 3.7;
/// Of six points that scatter so much the least lies this far below their middle.
const STANDING_SCATTER: f64 = 1.5;
/// Jitter between none and `j` takes one delay from the next by `j ∕ 3` in the mean, or less: six in a row are hardly ever above three times that.
/// Twenty points alone cannot tell: in 2 of 100 half minutes with 36 ms of jitter six late frames stood at the end of a line, by chance.
const STANDING_WANDER: f64 = 3.0;
/// Their wandering is that of so many frames, about.
const WANDER_FRAMES: f64 = 64.0;
/// The shortest delay is that of the last half minute to a minute: clocks run apart, ways change.
const BASE_US: i64 = 30_000_000;
/// What gets through is measured over this time.
const THROUGHPUT_US: i64 = 500_000;
/// What is left to let the queue run empty.
const DECREASE: f64 = 0.85;
/// In a second, while all is well.
const INCREASE: f64 = 1.08;
/// More than so much of what gets through is not believed without a probe.
const UNPROVED: f64 = 1.5;
/// Fewer packets are no probe; of so many probes the lowest counts.
const PROBE_PACKETS: u32 = 5;
const PROBES: usize = 2;
/// Closer together than this nobody tells the time of packets.
const LEAST_SPREAD_US: i64 = 1_000;
/// A rise that probes contradict counts when there is another within this time.
const DOUBT_US: i64 = 2_000_000;
/// How long nothing rises after a decrease.
const CALM_US: i64 = 1_000_000;
/// Loss is judged by so many packets and so much time, at least.
const LOSS_PACKETS: u32 = 30;
const LOSS_US: i64 = 1_000_000;
/// Above this it is congestion where packets wait, above that anywhere.
const LOSS: f64 = 0.10;
const HEAVY_LOSS: f64 = 0.25;
/// It is never less: nothing could be shown with that.
const LEAST_BPS: f64 = 20_000.0;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Estimator {
    bps: Option<f64>,
    updated_us: Option<i64>,
    lowered_us: Option<i64>,
    doubted_us: Option<i64>,
    group: Option<Group>,
    base: Base,
    /// When a frame was sent, and how long its first packet waited, in milliseconds.
    points: VecDeque<(i64, f64)>,
    wander: Wander,
    /// When frames had come, and their bytes.
    through: VecDeque<(i64, u32)>,
    probes: VecDeque<f64>,
    loss: Loss,
}

/// Packets that left together.
#[derive(Clone, Copy, Debug)]
struct Group {
    sent_us: i64,
    first_us: i64,
    last_us: i64,
    bytes: u32,
    first_bytes: u32,
    packets: u32,
}

/// The shortest time on the way, of this half minute and of the one before.
#[derive(Debug, Default)]
struct Base {
    since_us: Option<i64>,
    least_us: [Option<i64>; 2],
}

impl Base {
    /// How much longer than the shortest this one was, in milliseconds.
    fn delay_ms(&mut self, way_us: i64, now_us: i64) -> f64 {
        let since = *self.since_us.get_or_insert(now_us);
        if now_us - since >= BASE_US {
            self.least_us = [None, self.least_us[0]];
            self.since_us = Some(now_us);
        }
        let least = self.least_us[0].map_or(way_us, |least| least.min(way_us));
        self.least_us[0] = Some(least);
        let base = self.least_us[1].map_or(least, |before| before.min(least));
        (way_us - base) as f64 / 1_000.0
    }
}

/// How far the delay of one frame is from that of the frame before, in the mean: what the way does when all is well.
#[derive(Debug, Default)]
struct Wander {
    before_ms: Option<f64>,
    mean_ms: f64,
    frames: f64,
}

impl Wander {
    fn note(&mut self, delay_ms: f64) {
        if let Some(before_ms) = self.before_ms.replace(delay_ms) {
            self.frames = (self.frames + 1.0).min(WANDER_FRAMES);
            self.mean_ms += ((delay_ms - before_ms).abs() - self.mean_ms) / self.frames;
        }
    }
}

#[derive(Debug, Default)]
struct Loss {
    since_us: Option<i64>,
    came: u32,
    lost: u32,
}

impl Loss {
    /// The share that was lost, each time enough is known.
    fn judge(&mut self, observation: &Observation, now_us: i64) -> Option<f64> {
        let since = *self.since_us.get_or_insert(now_us);
        self.came += observation.arrivals.len() as u32;
        self.lost = (self.lost + observation.lost).saturating_sub(observation.found);
        let packets = self.came + self.lost;
        if packets < LOSS_PACKETS || now_us - since < LOSS_US {
            return None;
        }
        let share = f64::from(self.lost) / f64::from(packets);
        *self = Self::default();
        Some(share)
    }
}

impl Estimator {
    /// Bits per second that the way carries, as far as is known.
    pub(super) fn bits_per_second(&self) -> Option<u64> {
        self.bps.map(|bps| bps as u64)
    }

    /// Takes in what a feedback says; `now_us` by our clock.
    pub(super) fn observe(&mut self, observation: &Observation, now_us: i64) {
        for arrival in &observation.arrivals {
            self.take(*arrival, now_us);
        }
        let lost = self.loss.judge(observation, now_us).unwrap_or(0.0);
        let line = self.line();
        let standing = self.stands(line.as_ref());
        let through = self.throughput();
        let too_much = lost > HEAVY_LOSS || (lost > LOSS && standing);
        let rises = standing && line.is_some_and(|line| line.rises());
        match through {
            Some(through) if too_much || (rises && !self.is_doubtful(through, now_us)) => {
                self.lower(through, now_us);
            }
            _ => self.raise(through, standing, now_us),
        }
    }

    fn take(&mut self, arrival: Arrival, now_us: i64) {
        let Arrival {
            sent_us,
            arrived_us,
            bytes,
        } = arrival;
        match &mut self.group {
            Some(group) if (sent_us - group.sent_us).abs() <= TOGETHER_US => {
                if arrived_us < group.first_us {
                    (group.first_us, group.first_bytes) = (arrived_us, bytes);
                }
                group.last_us = group.last_us.max(arrived_us);
                group.bytes = group.bytes.saturating_add(bytes);
                group.packets += 1;
            }
            // Late, and its group was looked at.
            Some(group) if sent_us < group.sent_us => {}
            group => {
                let next = Group {
                    sent_us,
                    first_us: arrived_us,
                    last_us: arrived_us,
                    bytes,
                    first_bytes: bytes,
                    packets: 1,
                };
                if let Some(done) = group.replace(next) {
                    self.note(done, now_us);
                }
            }
        }
    }

    fn note(&mut self, group: Group, now_us: i64) {
        let delay_ms = self.base.delay_ms(group.first_us - group.sent_us, now_us);
        self.wander.note(delay_ms);
        keep(&mut self.points, (group.sent_us, delay_ms), POINTS);
        while self
            .points
            .front()
            .is_some_and(|(sent_us, _)| group.sent_us - sent_us > POINTS_US)
        {
            self.points.pop_front();
        }
        self.through.push_back((group.last_us, group.bytes));
        while self.through.len() > 2
            && self
                .through
                .get(1)
                .is_some_and(|(at, _)| group.last_us - at > THROUGHPUT_US)
        {
            self.through.pop_front();
        }
        if group.packets >= PROBE_PACKETS {
            let spread_us = (group.last_us - group.first_us).max(LEAST_SPREAD_US);
            let bits = f64::from(group.bytes - group.first_bytes) * 8.0;
            keep(&mut self.probes, bits * 1e6 / spread_us as f64, PROBES);
        }
    }

    /// What gets through, in bits per second.
    fn throughput(&self) -> Option<f64> {
        let (&(first_us, first_bytes), &(last_us, _)) = (self.through.front()?, self.through.back()?);
        let bytes: u32 = self.through.iter().map(|(_, bytes)| bytes).sum();
        let passed_us = last_us - first_us;
        (passed_us >= THROUGHPUT_US / 2).then(|| f64::from(bytes - first_bytes) * 8e6 / passed_us as f64)
    }

    /// The least delay of the newest frames, in milliseconds.
    fn standing_ms(&self) -> f64 {
        if self.points.len() < STANDING_POINTS {
            return 0.0;
        }
        let newest = self.points.iter().rev().take(STANDING_POINTS);
        newest.map(|(_, delay_ms)| *delay_ms).fold(f64::INFINITY, f64::min)
    }

    /// All of the newest frames were delayed.
    fn stands(&self, line: Option<&Line>) -> bool {
        let scatter_ms = line.map_or(0.0, |line| line.scatter_ms);
        let by_chance_ms = (scatter_ms * STANDING_SCATTER).max(self.wander.mean_ms * STANDING_WANDER);
        self.standing_ms() > LEAST_RISE_MS.max(by_chance_ms)
    }

    /// The straight line through the points that is nearest to all.
    fn line(&self) -> Option<Line> {
        let count = self.points.len();
        if count < LEAST_POINTS {
            return None;
        }
        let origin = self.points.front()?.0;
        let length = self.points.back()?.0 - origin;
        let each = || self.points.iter().map(|&(at, delay)| ((at - origin) as f64, delay));
        let count = count as f64;
        let (x_mean, y_mean) = each().fold((0.0, 0.0), |(x, y), (at, delay)| (x + at / count, y + delay / count));
        let (xx, xy) = each().fold((0.0, 0.0), |(xx, xy), (at, delay)| {
            let x = at - x_mean;
            (xx + x * x, xy + x * (delay - y_mean))
        });
        let slope = if xx > 0.0 { xy / xx } else { return None };
        let off = |(at, delay): (f64, f64)| (delay - y_mean - slope * (at - x_mean)).powi(2);
        Some(Line {
            rise_ms: slope * length as f64,
            scatter_ms: (each().map(off).sum::<f64>() / count).sqrt(),
        })
    }

    /// Probes say that there is room: something else was in the way, for a moment or for good.
    fn is_doubtful(&mut self, through: f64, now_us: i64) -> bool {
        let contradicted = self
            .probed()
            .is_some_and(|probed| probed * DECREASE > through * UNPROVED);
        let again = self.doubted_us.is_some_and(|at| now_us - at <= DOUBT_US);
        if !contradicted || again {
            return false;
        }
        self.doubted_us = Some(now_us);
        // So that the next rise is another.
        self.points.clear();
        true
    }

    /// The lowest of the newest probes.
    fn probed(&self) -> Option<f64> {
        let all = self.probes.len() >= PROBES;
        all.then(|| self.probes.iter().copied().fold(f64::INFINITY, f64::min))
    }

    fn lower(&mut self, through: f64, now_us: i64) {
        let wanted = (through * DECREASE).max(LEAST_BPS);
        self.bps = Some(self.bps.map_or(wanted, |bps| bps.min(wanted)));
        (self.lowered_us, self.updated_us) = (Some(now_us), Some(now_us));
        self.points.clear();
        self.probes.clear();
    }

    fn raise(&mut self, through: Option<f64>, standing: bool, now_us: i64) {
        let passed_us = self.updated_us.map_or(0, |at| now_us - at).clamp(0, 1_000_000);
        self.updated_us = Some(now_us);
        let calm = self.lowered_us.is_none_or(|at| now_us - at >= CALM_US);
        if !calm || standing {
            return;
        }
        let probed = self.probed().map(|probed| probed * DECREASE);
        let most = probed.or(through.map(|through| through * UNPROVED));
        let (Some(bps), Some(most)) = (self.bps, most) else {
            self.bps = self.bps.or(most);
            return;
        };
        let grown = bps * INCREASE.powf(passed_us as f64 / 1e6);
        // What is proved is believed at once, and nothing above it.
        self.bps = Some(probed.unwrap_or(grown.min(most)).max(bps));
    }
}

/// See [`Estimator::line`].
struct Line {
    /// From its first point to its last.
    rise_ms: f64,
    /// How far points are from it.
    scatter_ms: f64,
}

impl Line {
    /// By more than chance.
    fn rises(&self) -> bool {
        self.rise_ms > LEAST_RISE_MS.max(self.scatter_ms * SCATTER)
    }
}

fn keep<T>(newest: &mut VecDeque<T>, value: T, most: usize) {
    if newest.len() >= most {
        newest.pop_front();
    }
    newest.push_back(value);
}

#[cfg(test)]
mod tests;
