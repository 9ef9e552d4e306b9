//! Loss and jitter of one source, and the report about it (RFC 3550 A.3, A.8, §6.4.1).
//!
//! Belongs here: what a receiver report says. Does not belong here: which packets are missing and waited for ([`super::reorder`]), when
//! reports are sent.

use std::time::{Duration, Instant};

use media::Timescale;
use media::time::micros;

use crate::rtp::rtcp::ReportBlock;

/// A jump of transit time beyond this is a new timeline of the sender, not jitter.
const MAX_TRANSIT_STEP_SECONDS: i64 = 10;

/// Counts the packets of one source since its (re)start.
#[derive(Debug, Default)]
pub(super) struct Reception {
    first: Option<i64>,
    highest: i64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    transit: Option<i64>,
    /// Scaled by 16, as in A.8.
    jitter_16: i64,
    epoch: Option<Instant>,
}

impl Reception {
    /// A packet that is no duplicate came.
    pub(super) fn packet(&mut self, number: i64, timestamp: u32, at: Instant, clock: Timescale) {
        if self.first.is_none() {
            self.first = Some(number);
            self.highest = number;
        }
        self.highest = self.highest.max(number);
        self.received += 1;
        let epoch = *self.epoch.get_or_insert(at);
        let elapsed = micros(at.saturating_duration_since(epoch));
        let arrival = ticks(elapsed, clock);
        // Both wrap alike; the difference of two transits is what counts.
        let transit = i64::from((arrival as u32).wrapping_sub(timestamp) as i32);
        let before = self.transit.replace(transit).unwrap_or(transit);
        let step = i64::from((transit.wrapping_sub(before)) as i32).abs();
        if step <= MAX_TRANSIT_STEP_SECONDS * i64::from(clock.hz()) {
            self.jitter_16 += step - ((self.jitter_16 + 8) >> 4);
        }
    }

    fn expected(&self) -> u64 {
        let first = self.first.unwrap_or(self.highest + 1);
        u64::try_from(self.highest - first + 1).unwrap_or(0)
    }

    /// Packets that did not come so far; negative when more came than were expected.
    pub(super) fn lost(&self) -> i64 {
        i64::try_from(self.expected()).unwrap_or(i64::MAX) - i64::try_from(self.received).unwrap_or(i64::MAX)
    }

    /// Interarrival jitter in microseconds.
    pub(super) fn jitter_us(&self, clock: Timescale) -> i64 {
        (self.jitter_16 >> 4).saturating_mul(1_000_000) / i64::from(clock.hz())
    }

    /// The report on what came since the one before. `sender_report`: the middle bits of the last one's NTP time, and its
    /// age.
    pub(super) fn report(&mut self, ssrc: u32, sender_report: Option<(u32, Duration)>) -> ReportBlock {
        let expected = self.expected();
        let expected_interval = expected.saturating_sub(self.expected_before);
        let received_interval = self.received.saturating_sub(self.received_before);
        self.expected_before = expected;
        self.received_before = self.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction_lost = (lost_interval * 256)
            .checked_div(expected_interval)
            .unwrap_or(0)
            .min(255);
        let (last_sender_report, delay) = sender_report.unwrap_or_default();
        ReportBlock {
            ssrc,
            fraction_lost: u8::try_from(fraction_lost).unwrap_or(u8::MAX),
            lost: self.lost().clamp(-(1 << 23), (1 << 23) - 1) as i32,
            highest_sequence: self.highest as u32,
            jitter_ticks: u32::try_from(self.jitter_16 >> 4).unwrap_or(0),
            last_sender_report,
            delay_since_last_sender_report: u32::try_from(delay.as_micros() * 65_536 / 1_000_000).unwrap_or(u32::MAX),
        }
    }
}

fn ticks(micros: i64, clock: Timescale) -> i64 {
    let ticks = i128::from(micros) * i128::from(clock.hz()) / 1_000_000;
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn base() -> Instant {
        Instant::now()
    }

    #[test]
    fn loss_is_counted_per_interval_and_in_total() {
        let base = base();
        let mut reception = Reception::default();
        for number in (100..200).filter(|number| number % 4 != 3) {
            reception.packet(number, 0, base, Timescale::VIDEO);
        }
        // 199 was lost at the very end and is not known to be missing yet.
        let block = reception.report(7, None);
        assert_eq!((block.lost, block.fraction_lost), (24, (24 * 256 / 99) as u8));
        assert_eq!(block.highest_sequence, 198);
        for number in 199..299 {
            reception.packet(number, 0, base, Timescale::VIDEO);
        }
        let block = reception.report(7, Some((0xabcd, Duration::from_millis(500))));
        assert_eq!((block.lost, block.fraction_lost), (24, 0));
        assert_eq!(
            (block.last_sender_report, block.delay_since_last_sender_report),
            (0xabcd, 32_768)
        );
    }

    #[test]
    fn jitter_follows_the_formula_of_a8() {
        let base = base();
        let mut reception = Reception::default();
        // Every second packet is 10 ms late: transit changes by 900 ticks each time, so the jitter tends to 900.
        for number in 0..200_u32 {
            let late = u64::from(number % 2) * 10_000;
            let at = base + Duration::from_micros(u64::from(number) * 33_333 + late);
            reception.packet(i64::from(number), number * 3000, at, Timescale::VIDEO);
        }
        let jitter_us = reception.jitter_us(Timescale::VIDEO);
        assert!((9_800..=10_100).contains(&jitter_us), "{jitter_us}");
    }

    #[test]
    fn steady_packets_have_no_jitter_across_the_wrap() {
        let base = base();
        let mut reception = Reception::default();
        for number in 0..100_u32 {
            let at = base + Duration::from_millis(u64::from(number) * 20);
            let timestamp = (u32::MAX - 9_000).wrapping_add(number * 1800);
            reception.packet(i64::from(number), timestamp, at, Timescale::VIDEO);
        }
        assert_eq!(reception.jitter_us(Timescale::VIDEO), 0);
    }
}
