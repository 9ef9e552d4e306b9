//! What a source counts of its session, for API, metrics and log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::stats::SessionStats;
use media::{Capture, CaptureSource, WallTime};
use protocol::rtp::ReceiverStats;

use super::Sink;
use crate::log::notice::Losses;

/// How often it is said what is lost.
const TELL_LOSSES: Duration = Duration::from_secs(5);

/// Keeps the counters of a session by those of its receivers.
pub(super) struct Counting {
    stats: Arc<SessionStats>,
    counted: ReceiverStats,
    losses: Losses,
    tell_at: Instant,
    /// What can be done about losses, behind the words that tell them.
    way_out: &'static str,
}

impl Counting {
    pub(super) fn new(stats: Arc<SessionStats>, now: Instant, way_out: &'static str) -> Self {
        Self {
            stats,
            counted: ReceiverStats::default(),
            losses: Losses::default(),
            tell_at: now + TELL_LOSSES,
            way_out,
        }
    }

    /// `sum`: of all receivers.
    pub(super) fn count(&mut self, sum: ReceiverStats, capture: Capture, arrival: WallTime) {
        let latency_us = arrival.micros_since(capture.at);
        if capture.source != CaptureSource::Arrival {
            self.stats.delays.note(latency_us);
        }
        let (stats, before) = (&self.stats, self.counted);
        stats.packets.add(sum.packets.saturating_sub(before.packets));
        stats.bytes.add(sum.bytes.saturating_sub(before.bytes));
        // Counts down when a packet that was given up comes after all; what was reported stays.
        stats
            .packets_lost
            .add(u64::try_from(sum.lost.saturating_sub(before.lost)).unwrap_or(0));
        stats
            .packets_malformed
            .add(sum.malformed.saturating_sub(before.malformed));
        stats
            .frames_dropped
            .add(sum.units_dropped.saturating_sub(before.units_dropped));
        stats.jitter_us.set(sum.jitter_us);
        stats.latency_us.set(latency_us);
        self.counted = ReceiverStats {
            lost: sum.lost.max(before.lost),
            ..sum
        };
    }

    pub(super) fn tell_losses(&mut self, sink: &Sink, now: Instant) {
        if now < self.tell_at {
            return;
        }
        self.tell_at = now + TELL_LOSSES;
        if let Some(packets) = self.losses.news(self.stats.packets_lost.get(), now) {
            tracing::warn!(
                stream = %sink.name(),
                packets,
                "source: packets are lost on the way here, so pictures break until the next keyframe{}", self.way_out
            );
        }
    }
}
