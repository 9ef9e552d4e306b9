//! Packets that a viewer misses, sent again (RFC 4588).
//!
//! Belongs here: which packets are still there, which of them may be sent again now. Does not belong here: writing them ([`super::outlet`]).
//!
//! The payloads exist once for all viewers of a stream, in its forms; a viewer keeps from which number on it was sent which form. A packet is
//! never sent again as it was: the same number with another header extension would be the same nonce for other bytes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::form::Form;

/// How long what was sent can be sent again: what comes later than this is of no use.
const KEPT_TIME: Duration = Duration::from_secs(1);
/// Packets and frames that are kept at most. The bytes are shared, and as old as those of the viewer who got them last.
const KEPT_PACKETS: usize = 1_024;
const KEPT_FORMS: usize = 128;
/// A packet is sent again at most once in a round trip: until then nobody knows whether it came. As long as that is not measured, and at most.
const USUAL_ROUND_TRIP: Duration = Duration::from_millis(20);
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(250);
/// Packets of which is remembered when they were sent again. More than these are not sent in the longest round trip.
const RECENT: usize = 256;
/// Of a second's bytes at most half are repeated. Less would not do: a still picture's stream is little more than its keyframes, and a lost one must
/// come again.
const PERIOD: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Repeats {
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    /// Of the next packet that repeats another, extended.
    sequence: u64,
    /// What was sent, oldest first.
    past: VecDeque<Past>,
    /// Packets in it.
    packets: usize,
    /// Numbers that were sent again, and when, oldest first.
    recent: VecDeque<(u64, Instant)>,
    share: Share,
}

#[derive(Debug)]
struct Past {
    /// Number of its first packet.
    first: u64,
    form: Form,
    /// What was added to its timestamps.
    shift: u32,
    at: Instant,
}

impl Repeats {
    pub(super) fn new(ssrc: u32, payload_type: u8, sequence: u64) -> Self {
        Self {
            ssrc,
            payload_type,
            sequence,
            past: VecDeque::new(),
            packets: 0,
            recent: VecDeque::new(),
            share: Share::default(),
        }
    }

    /// These packets were sent, from the number `first` on.
    pub(super) fn note(&mut self, first: u64, form: &Form, shift: u32, bytes: usize, now: Instant) {
        self.share.turn(now);
        self.share.fresh[0] += bytes;
        self.packets += form.packets();
        let form = form.clone();
        self.past.push_back(Past {
            first,
            form,
            shift,
            at: now,
        });
        self.forget(now);
    }

    /// Lets go of what is too old or too much.
    pub(super) fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.past.front() {
            let age = now.saturating_duration_since(oldest.at);
            let fits = self.packets <= KEPT_PACKETS && self.past.len() <= KEPT_FORMS;
            if age < KEPT_TIME && fits {
                break;
            }
            self.packets -= oldest.form.packets();
            self.past.pop_front();
        }
        let is_old = |at: Instant| now.saturating_duration_since(at) >= LONGEST_ROUND_TRIP;
        while self.recent.front().is_some_and(|(_, at)| is_old(*at)) {
            self.recent.pop_front();
        }
    }

    /// The packet with this number, of those before `next`, what was added to its timestamp, and its place in its frame, when it may be sent again
    /// now. It then counts as sent.
    pub(super) fn take(
        &mut self,
        sequence: u16,
        next: u64,
        round_trip: Option<Duration>,
        now: Instant,
    ) -> Option<(Form, u32, usize)> {
        self.share.turn(now);
        self.forget(now);
        let number = extended(sequence, next)?;
        let after = self.past.partition_point(|past| past.first <= number);
        let past = self.past.get(after.checked_sub(1)?)?;
        let position = usize::try_from(number - past.first).ok()?;
        let bytes = past.form.payload(position)?.bytes.len();
        // A little less, since the viewer measures it too.
        let pause = round_trip.map_or(USUAL_ROUND_TRIP, |time| time.min(LONGEST_ROUND_TRIP)) * 3 / 4;
        let just_now = |(known, at): &(u64, Instant)| *known == number && now.saturating_duration_since(*at) < pause;
        if self.recent.len() >= RECENT || self.recent.iter().rev().any(just_now) || !self.share.allows(bytes) {
            return None;
        }
        let (form, shift) = (past.form.clone(), past.shift);
        self.share.repeated[0] += bytes;
        self.recent.push_back((number, now));
        Some((form, shift, position))
    }

    /// Whether the packet with this number, of those from `since` to `next`, was let go.
    pub(super) fn is_gone(&self, sequence: u16, since: u64, next: u64) -> bool {
        let oldest = self.past.front().map_or(next, |past| past.first);
        extended(sequence, next).is_some_and(|number| (since..oldest).contains(&number))
    }

    /// The number of the next packet that repeats another.
    pub(super) fn next_index(&mut self) -> u64 {
        let index = self.sequence;
        self.sequence += 1;
        index
    }
}

/// The number that ends in these sixteen bits, of those before `next`.
fn extended(sequence: u16, next: u64) -> Option<u64> {
    let newest = next.checked_sub(1)?;
    newest.checked_sub(u64::from((newest as u16).wrapping_sub(sequence)))
}

/// Bytes of this period and of the one before.
#[derive(Debug, Default)]
struct Share {
    since: Option<Instant>,
    fresh: [usize; 2],
    repeated: [usize; 2],
}

impl Share {
    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age < PERIOD {
            return;
        }
        let kept = if age < PERIOD * 2 { 1 } else { 0 };
        self.fresh = [0, self.fresh[0] * kept];
        self.repeated = [0, self.repeated[0] * kept];
        self.since = Some(now);
    }

    fn allows(&self, bytes: usize) -> bool {
        self.repeated.iter().sum::<usize>() + bytes <= self.fresh.iter().sum()
    }
}

#[cfg(test)]
mod tests;
