//! What a media list says in the light of those before it, and of what was asked for.

use std::collections::BTreeMap;

use media::WallTime;

use super::alone::{ROUNDING_US, next_part, parts_us, sum_tolerance_us};
use super::group::{Claim, check_claims};
use super::text::{Fault, MediaList, Part, Segment};
use super::{Directives, Fetch, Rule, Settings, resolve};

/// By how much an answer may miss three target durations.
const BLOCK_TOLERANCE_US: i64 = 200_000;

/// Everything that one list ever said.
#[derive(Debug)]
pub(super) struct History {
    pub(super) key: String,
    pub(super) known: BTreeMap<u64, Known>,
    pub(super) last: Option<Shown>,
    pub(super) claims: Vec<Claim>,
    longest_us: i64,
    newest_segment_at: Option<WallTime>,
    newest_part_at: Option<WallTime>,
}

/// The newest list, a delta update filled up.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) list: MediaList,
    text: String,
    pub(super) answered: WallTime,
}

/// A segment and all parts it was ever listed with.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) segment: Segment,
    /// Its first part is known to be the first.
    pub(super) from_start: bool,
    /// Its parts are all known and were compared with its duration.
    summed: bool,
    first_seen: WallTime,
    parts_seen: Vec<WallTime>,
}

impl History {
    pub(super) fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            known: BTreeMap::new(),
            last: None,
            claims: Vec::new(),
            longest_us: 0,
            newest_segment_at: None,
            newest_part_at: None,
        }
    }

    pub(super) fn see(
        &mut self,
        mut list: MediaList,
        text: &str,
        directives: &Directives,
        fetch: &Fetch<'_>,
        settings: &Settings,
        faults: &mut Vec<Fault>,
    ) {
        self.check_delta(&list, directives, faults);
        self.fill_up(&mut list, faults);
        check_maps(&list, faults);
        check_claims(&mut self.claims, &list, fetch, faults);
        check_answer(&list, directives, fetch, faults);
        if let Some(last) = &self.last {
            if last.list.ended && last.text != text {
                faults.push((Rule::Ended, "changes after its end".to_owned()));
            }
            compare_heads(&last.list, &list, faults);
        }
        let before = self
            .last
            .as_ref()
            .map(|last| (last.list.edge(), last.answered, last.list.first_number));
        let overtaken = before.is_some_and(|(edge, _, first)| list.edge() < edge || list.first_number < first);
        if overtaken {
            // Asked for while a newer list was under way: says nothing of the order at the origin.
            if before.is_some_and(|(_, answered, _)| fetch.asked >= answered) {
                faults.push((
                    Rule::Older,
                    format!("ends at {:?}, an earlier answer did further on", list.edge()),
                ));
                if before.is_some_and(|(_, _, first)| list.first_number < first) {
                    faults.push((Rule::MediaSequence, "falls".to_owned()));
                }
            }
            self.learn(&list, fetch, faults);
            return;
        }
        self.check_hint(&list, settings, faults);
        self.check_removed_parts(&list, faults);
        self.check_late(&list, fetch, settings, faults);
        self.learn(&list, fetch, faults);
        self.longest_us = self.longest_us.max(list.segments_us());
        self.last = Some(Shown {
            list,
            text: text.to_owned(),
            answered: fetch.answered,
        });
    }

    fn check_delta(&self, list: &MediaList, directives: &Directives, faults: &mut Vec<Fault>) {
        let mut wrong = |what: String| faults.push((Rule::Delta, what));
        let until = list
            .control
            .as_ref()
            .and_then(|control| control.micros("CAN-SKIP-UNTIL", &mut Vec::new()));
        let Some(skipped) = list.skipped else {
            // What is wholly further than the skip boundary from the end of the last segment has to be skipped.
            let mut distance_us = list.segments_us();
            let must = list.segments.iter().take_while(|segment| {
                distance_us -= segment.duration_us;
                until.is_some_and(|until| distance_us > until)
            });
            let must = must.count();
            if directives.skip && !list.ended && must > 0 {
                wrong(format!(
                    "skips nothing, though asked to and {must} segments are beyond the boundary"
                ));
            }
            return;
        };
        if !directives.skip {
            wrong("skips without being asked to".to_owned());
        }
        if list.ended {
            wrong("skips and has ended".to_owned());
        }
        let last_skipped = self.known.get(&(list.first_number + skipped).saturating_sub(1));
        let to_start_us = last_skipped.map_or(0, |known| known.segment.duration_us) + list.segments_us();
        if skipped == 0 || until.is_some_and(|until| to_start_us <= until) {
            wrong(format!(
                "skips {skipped} segments, the last of them not beyond the skip boundary"
            ));
        }
    }

    /// Puts back what a delta update skipped, as players do.
    fn fill_up(&self, list: &mut MediaList, faults: &mut Vec<Fault>) {
        let Some(skipped) = list.skipped else { return };
        let numbers = list.first_number..list.first_number.saturating_add(skipped.min(100_000));
        let mut whole: Vec<Segment> = Vec::new();
        for number in numbers {
            let shown = self
                .last
                .as_ref()
                .and_then(|last| last.list.segments.iter().find(|s| s.number == number));
            match shown.or_else(|| self.known.get(&number).map(|known| &known.segment)) {
                Some(segment) => whole.push(segment.clone()),
                None => {
                    faults.push((Rule::Delta, format!("skips segment {number}, which was never listed")));
                    return;
                }
            }
        }
        let discontinuities = whole.iter().filter(|segment| segment.discontinuity).count() as u64;
        let map = whole.last().and_then(|segment| segment.map.clone());
        for segment in list.segments.iter_mut().chain([&mut list.open]) {
            segment.discontinuities += discontinuities;
            segment.map = segment.map.take().or_else(|| map.clone());
        }
        whole.append(&mut list.segments);
        list.segments = whole;
    }

    /// The first new part has to be the one that was hinted.
    fn check_hint(&self, list: &MediaList, settings: &Settings, faults: &mut Vec<Fault>) {
        let Some(last) = &self.last else { return };
        let Some(hint) = next_part(&last.list) else { return };
        let (number, index) = last.list.edge();
        let segment = |number: u64| list.all().find(|segment| segment.number == number);
        let known = self.known.get(&number).map_or(0, |known| known.segment.parts.len());
        // Parts that are no longer listed move the index.
        let next = match segment(number) {
            Some(now) => {
                let gone = known
                    .saturating_sub(now.parts.len())
                    .min(offset(&self.known, now).unwrap_or_default());
                match now.parts.get(index.saturating_sub(gone)) {
                    Some(part) => Some((now, part)),
                    None => segment(number + 1).and_then(|s| Some((s, s.parts.first()?))),
                }
            }
            None => return,
        };
        let Some((of, part)) = next else { return };
        if part.uri != hint && (settings.ours && !of.discontinuity) {
            let what = format!("hinted {hint}, then listed {} next, in segment {}", part.uri, of.number);
            faults.push((Rule::HintBroken, what));
        }
    }

    fn check_removed_parts(&self, list: &MediaList, faults: &mut Vec<Fault>) {
        let target_us = list.target_us.unwrap_or_default();
        let mut after_us = 0;
        let mut later_have = false;
        for segment in list.all().rev() {
            let (listed_us, whole) = (parts_us(segment), !segment.uri.is_empty());
            if let Some(known) = self.known.get(&segment.number) {
                let listed = segment.parts.len();
                let known_parts = &known.segment.parts;
                let gone = offset(&self.known, segment).unwrap_or(known_parts.len());
                let shown_before = self.last.as_ref().and_then(|last| {
                    let shown = last.list.all().find(|s| s.number == segment.number)?;
                    offset(&self.known, shown)
                });
                // The newest of the parts that went away with this list; all later ones of the segment are still there.
                let newly_gone = shown_before.is_some_and(|before| gone > before);
                let end_us = after_us + if listed == 0 { 0 } else { listed_us };
                if newly_gone && end_us <= 3 * target_us {
                    let what = format!(
                        "parts of segment {} are gone, {end_us} µs before the end",
                        segment.number
                    );
                    faults.push((Rule::PartsGoneTooSoon, what));
                }
                if !segment.parts.is_empty() && gone + listed < known_parts.len() {
                    let what = format!("the last parts of segment {} are gone before its first", segment.number);
                    faults.push((Rule::PartsGoneTooSoon, what));
                }
                if !segment.parts.is_empty()
                    && !later_have
                    && whole
                    && list.all().any(|s| {
                        s.number > segment.number
                            && self
                                .known
                                .get(&s.number)
                                .is_some_and(|known| !known.segment.parts.is_empty())
                    })
                {
                    let what = format!(
                        "parts of segment {} are listed, those of all later ones are gone",
                        segment.number
                    );
                    faults.push((Rule::PartsGoneTooSoon, what));
                }
            }
            // A list is free to drop the parts of a segment together: one more target duration.
            if !segment.parts.is_empty() && after_us > 4 * target_us {
                let what = format!(
                    "lists parts of segment {}, {after_us} µs before the end",
                    segment.number
                );
                faults.push((Rule::PartsKeptTooLong, what));
            }
            later_have |= !segment.parts.is_empty();
            after_us += segment.duration_us;
        }
    }

    fn check_late(&mut self, list: &MediaList, fetch: &Fetch<'_>, settings: &Settings, faults: &mut Vec<Fault>) {
        let before = self.last.as_ref().map(|last| last.list.edge());
        let (number, _) = list.edge();
        let mut check = |since: &mut Option<WallTime>, new: bool, limit_us: i64, what: &str| {
            let waited_us = since.map_or(0, |since| fetch.answered.micros_since(since));
            if settings.late_us.is_some_and(|late| waited_us > limit_us + late) && !list.ended {
                faults.push((Rule::Late, format!("no new {what} for {waited_us} µs")));
            }
            if new || since.is_none() {
                *since = Some(fetch.answered);
            }
        };
        let target_us = list.target_us.unwrap_or_default();
        let new_segment = before.is_none_or(|(before, _)| number > before);
        check(&mut self.newest_segment_at, new_segment, target_us * 3 / 2, "segment");
        if let Some(part_target_us) = list.part_target_us {
            let new_part = before.is_none_or(|before| list.edge() > before);
            check(&mut self.newest_part_at, new_part, part_target_us, "part");
        }
    }

    /// Compares segments and parts with what is known of them, and remembers the rest.
    fn learn(&mut self, list: &MediaList, fetch: &Fetch<'_>, faults: &mut Vec<Fault>) {
        let first_list = self.known.is_empty();
        let mut parts_before = false;
        for segment in list.all() {
            let at = fetch.answered;
            let whole = !segment.uri.is_empty();
            match self.known.get_mut(&segment.number) {
                Some(known) => known.learn(segment, at, faults),
                None => {
                    // Of the first segment with parts in the first list, older parts may be gone already.
                    let cut = first_list && !parts_before && whole;
                    let short = parts_us(segment) + sum_tolerance_us(segment) < segment.duration_us;
                    let known = Known {
                        segment: segment.clone(),
                        from_start: !(whole && segment.parts.is_empty() || cut && short),
                        summed: false,
                        first_seen: at,
                        parts_seen: vec![at; segment.parts.len()],
                    };
                    self.known.insert(segment.number, known);
                }
            }
            parts_before |= !segment.parts.is_empty();
            if let Some(known) = self.known.get_mut(&segment.number) {
                known.check_sum(faults);
            }
        }
    }

    pub(super) fn see_refusal(&self, directives: &Directives, fetch: &Fetch<'_>, faults: &mut Vec<Fault>) {
        let Some(last) = &self.last else { return };
        let target_us = last.list.target_us.unwrap_or_default();
        let waited_us = fetch.answered.micros_since(fetch.asked);
        let why = match fetch.status {
            400 if is_fair(directives, &last.list) => "what is near enough to wait for".to_owned(),
            503 if waited_us + BLOCK_TOLERANCE_US < 3 * target_us => format!("after {waited_us} µs"),
            500 | 502 | 504 => "by a fault of the server".to_owned(),
            _ => return,
        };
        faults.push((Rule::Refused, format!("answers {} {why}: {directives:?}", fetch.status)));
    }

    /// A part, segment or header that could not be had.
    pub(super) fn missing(&self, key: &str, status: u16, fetch: &Fetch<'_>, faults: &mut Vec<Fault>) {
        if matches!(status, 401 | 403 | 429) {
            return;
        }
        let Some(last) = &self.last else { return };
        let target_us = last.list.target_us.unwrap_or_default();
        let is = |uri: &str| !uri.is_empty() && resolve(&self.key, uri) == key;
        for known in self.known.values() {
            let segment = &known.segment;
            // Availability duration (§6.2.2); the header is needed as long as its segments.
            let until = known.first_seen.offset_micros(segment.duration_us + self.longest_us);
            let named = is(&segment.uri) || segment.map.as_deref().is_some_and(is);
            let part = segment
                .parts
                .iter()
                .zip(&known.parts_seen)
                .find(|(part, _)| is(&part.uri) && !part.gap);
            let until = match part {
                Some((_, seen)) => seen.offset_micros(3 * target_us),
                None if named && !segment.gap => until,
                None => continue,
            };
            if fetch.asked >= known.first_seen && fetch.asked <= until {
                let what = format!(
                    "answers {status}, though segment {} is or was just listed",
                    segment.number
                );
                faults.push((Rule::Unavailable, what));
                return;
            }
        }
    }
}

impl Known {
    fn learn(&mut self, now: &Segment, at: WallTime, faults: &mut Vec<Fault>) {
        let number = now.number;
        let known = &mut self.segment;
        let mut changed = |rule, what: String| faults.push((rule, format!("segment {number}: {what}")));
        if now.discontinuities != known.discontinuities {
            let what = format!(
                "had discontinuity number {}, now {}",
                known.discontinuities, now.discontinuities
            );
            changed(Rule::DiscontinuitySequence, what);
        }
        if !now.uri.is_empty() && !known.uri.is_empty() {
            if (&now.uri, now.duration_us, now.gap) != (&known.uri, known.duration_us, known.gap) {
                let what = format!(
                    "was {} of {} µs, is {} of {}",
                    known.uri, known.duration_us, now.uri, now.duration_us
                );
                changed(Rule::SegmentChanged, what);
            }
        } else if now.uri.is_empty() && !known.uri.is_empty() {
            // An overtaken answer, from when the segment was open.
        } else if !now.uri.is_empty() {
            known.uri.clone_from(&now.uri);
            known.duration_us = now.duration_us;
        }
        if known.date_us.is_some() && now.date_us.is_some() && known.date_us != now.date_us {
            changed(Rule::SegmentChanged, "has another date".to_owned());
        }
        if known.map.is_some() && now.map.is_some() && known.map != now.map {
            changed(Rule::SegmentChanged, "has another header".to_owned());
        }
        known.map = known.map.take().or_else(|| now.map.clone());
        known.date_us = known.date_us.or(now.date_us);
        self.learn_parts(&now.parts, at, faults);
    }

    fn learn_parts(&mut self, now: &[Part], at: WallTime, faults: &mut Vec<Fault>) {
        let Some(first) = now.first() else { return };
        let parts = &mut self.segment.parts;
        let Some(gone) = parts.iter().position(|part| part.uri == first.uri) else {
            let what = match parts.first() {
                Some(was) => format!(
                    "segment {}: began with {}, now {}",
                    self.segment.number, was.uri, first.uri
                ),
                // It may be that nobody asked while it was open.
                None if !self.from_start => return,
                None => {
                    parts.extend_from_slice(now);
                    self.parts_seen = vec![at; now.len()];
                    return;
                }
            };
            faults.push((Rule::PartChanged, what));
            return;
        };
        for (index, part) in (gone..).zip(now) {
            match parts.get(index) {
                Some(was) if was != part => {
                    faults.push((Rule::PartChanged, format!("was {was:?}, is {part:?}")));
                }
                Some(_) => {
                    if let Some(seen) = self.parts_seen.get_mut(index) {
                        *seen = at;
                    }
                }
                None => {
                    parts.push(part.clone());
                    self.parts_seen.push(at);
                }
            }
        }
    }

    fn check_sum(&mut self, faults: &mut Vec<Fault>) {
        let segment = &self.segment;
        if self.summed || segment.uri.is_empty() || !self.from_start || segment.parts.is_empty() {
            return;
        }
        self.summed = true;
        let off_us = parts_us(segment) - segment.duration_us;
        if off_us.abs() > sum_tolerance_us(segment) {
            let what = format!("parts of segment {} last {off_us} µs more than it", segment.number);
            faults.push((Rule::PartsSum, what));
        }
    }
}

/// How many of its parts are no longer listed. `None`: all of them, or it is not known.
fn offset(known: &BTreeMap<u64, Known>, now: &Segment) -> Option<usize> {
    let first = now.parts.first()?;
    known
        .get(&now.number)?
        .segment
        .parts
        .iter()
        .position(|part| part.uri == first.uri)
}

fn compare_heads(before: &MediaList, now: &MediaList, faults: &mut Vec<Fault>) {
    let mut changed = |rule, what: String| faults.push((rule, what));
    if before.target_us != now.target_us {
        let what = format!("target duration was {:?} µs, is {:?}", before.target_us, now.target_us);
        changed(Rule::TargetChanged, what);
    }
    if before.part_target_us != now.part_target_us {
        let what = format!(
            "part target was {:?} µs, is {:?}",
            before.part_target_us, now.part_target_us
        );
        changed(Rule::PartTargetChanged, what);
    }
    if before.control != now.control {
        let what = format!("server control was {:?}, is {:?}", before.control, now.control);
        changed(Rule::ServerControlChanged, what);
    }
    let removed = now.first_number > before.first_number;
    if removed && !now.ended && now.segments_us() + ROUNDING_US < 3 * now.target_us.unwrap_or_default() {
        let what = format!("removed segments, {} µs are left", now.segments_us());
        changed(Rule::TooFewListed, what);
    }
    if now.first_number > before.edge().0 + 1_000 {
        let what = format!("jumps from {} to {}", before.first_number, now.first_number);
        changed(Rule::MediaSequence, what);
    }
    if now.first_discontinuity < before.first_discontinuity {
        changed(Rule::DiscontinuitySequence, "falls".to_owned());
    }
    let gone = before
        .segments
        .iter()
        .filter(|segment| segment.number < now.first_number);
    if gone.into_iter().any(|segment| segment.discontinuity) && !now.says_discontinuity {
        changed(
            Rule::DiscontinuitySequence,
            "is not said, though a discontinuity was removed".to_owned(),
        );
    }
    if now.first_number > 0 && !now.says_first_number {
        changed(Rule::MediaSequence, "is not said".to_owned());
    }
}

/// Another header only behind a discontinuity; in what a delta update left, one that came from before it.
fn check_maps(list: &MediaList, faults: &mut Vec<Fault>) {
    let all: Vec<&Segment> = list.all().collect();
    for pair in all.windows(2) {
        let [one, two] = pair else { continue };
        if one.map != two.map && two.map.is_some() && !two.discontinuity {
            let what = format!("another header from segment {} on, without a discontinuity", two.number);
            faults.push((Rule::Map, what));
        }
    }
}

/// Whether the answer is what was asked for.
fn check_answer(list: &MediaList, directives: &Directives, fetch: &Fetch<'_>, faults: &mut Vec<Fault>) {
    let Some(msn) = directives.msn else {
        if directives.part.is_some() {
            faults.push((Rule::Refused, "answers to a part without a segment".to_owned()));
        }
        return;
    };
    if list.ended {
        return;
    }
    let waited_us = fetch.answered.micros_since(fetch.asked);
    if waited_us > 3 * list.target_us.unwrap_or_default() + BLOCK_TOLERANCE_US {
        faults.push((Rule::Refused, format!("blocks for {waited_us} µs")));
    }
    let (Some(msn), part) = (msn, directives.part.flatten()) else {
        return;
    };
    let (open, parts) = list.edge();
    let holds = match part {
        None => open > msn,
        Some(part) if msn == open => parts as u64 > part,
        Some(part) if msn + 1 == open => {
            // Past the end of its segment means the first part of the next.
            let of = list.segments.last().map_or(0, |segment| segment.parts.len());
            (of as u64) > part || parts > 0
        }
        Some(_) => msn < open,
    };
    if !holds {
        let what = format!("was asked for {msn} part {part:?}, ends before part {parts} of {open}");
        faults.push((Rule::Blocked, what));
    }
}

/// Whether a request has to be answered or waited for, whatever has come since `newest`.
fn is_fair(directives: &Directives, newest: &MediaList) -> bool {
    let (open, parts) = newest.edge();
    let limit = match newest.part_target_us {
        Some(us) if (1..1_000_000).contains(&us) => 3_000_000 / us as u64,
        _ => 3,
    };
    match (directives.msn, directives.part) {
        (None, None) => true,
        (Some(Some(msn)), None) => msn <= open + 1,
        (Some(Some(msn)), Some(Some(part))) => msn < open || msn == open && part < parts as u64 + limit,
        _ => false,
    }
}
