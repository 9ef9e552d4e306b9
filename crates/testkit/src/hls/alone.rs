//! What one media list says about itself, whatever came before.

use super::text::{Attributes, Fault, MediaList, Segment};
use super::{Rule, Settings, token_of};

/// Half a unit of the last digit that somebody may have rounded away: durations are written to a millisecond or finer.
pub(super) const ROUNDING_US: i64 = 500;

pub(super) fn check(key: &str, list: &MediaList, settings: &Settings, faults: &mut Vec<Fault>) {
    version(list, faults);
    target(list, faults);
    parts(list, faults);
    control(list, settings, faults);
    hints(list, settings, faults);
    for segment in list.all() {
        independent(list, segment, faults);
    }
    dates(list, settings, faults);
    end(list, faults);
    if settings.ours {
        tokens(key, list, faults);
    }
}

fn version(list: &MediaList, faults: &mut Vec<Fault>) {
    let needed = if list.skipped.is_some() {
        9
    } else if list.all().any(|segment| segment.map.is_some()) {
        6
    } else {
        3
    };
    if list.version.unwrap_or(1) < needed {
        let says = list.version.map_or("none".to_owned(), |version| version.to_string());
        faults.push((Rule::Version, format!("says version {says}, uses what needs {needed}")));
    }
}

fn target(list: &MediaList, faults: &mut Vec<Fault>) {
    let Some(target_us) = list.target_us else {
        faults.push((Rule::TargetDuration, "says no target duration".to_owned()));
        return;
    };
    for segment in &list.segments {
        let rounded_us = (segment.duration_us + 500_000) / 1_000_000 * 1_000_000;
        if rounded_us > target_us || segment.duration_us <= 0 {
            faults.push((
                Rule::TargetDuration,
                format!("segment {} lasts {} µs", segment.number, segment.duration_us),
            ));
        }
    }
}

fn parts(list: &MediaList, faults: &mut Vec<Fault>) {
    let Some(target_us) = list.part_target_us else {
        if list.all().any(|segment| !segment.parts.is_empty()) {
            faults.push((Rule::PartTarget, "has parts and no #EXT-X-PART-INF".to_owned()));
        }
        return;
    };
    for segment in list.all() {
        for (index, part) in segment.parts.iter().enumerate() {
            let whom = || format!("part {} of segment {}", part.uri, segment.number);
            if part.duration_us > target_us || part.duration_us <= 0 {
                let what = format!("{} lasts {} µs, the target is {target_us}", whom(), part.duration_us);
                faults.push((Rule::PartTooLong, what));
            }
            // The last part of the open segment may turn out to be the last at all: a later list tells.
            let next = segment.parts.get(index + 1);
            let exempt = part.independent || part.gap || next.is_none_or(|next| next.gap);
            if !exempt && part.duration_us * 100 < target_us * 85 {
                let what = format!("{} lasts {} µs, the target is {target_us}", whom(), part.duration_us);
                faults.push((Rule::PartTooShort, what));
            }
        }
    }
}

fn control(list: &MediaList, settings: &Settings, faults: &mut Vec<Fault>) {
    let none = Attributes::default();
    let control = list.control.as_ref().unwrap_or(&none);
    let mut found = Vec::new();
    let hold_back = control.micros("PART-HOLD-BACK", &mut found);
    let skip_until = control.micros("CAN-SKIP-UNTIL", &mut found);
    let whole_hold_back = control.micros("HOLD-BACK", &mut found);
    let mut wrong = |what: String| found.push((Rule::ServerControl, what));
    if let Some(part_target_us) = list.part_target_us {
        let times = if settings.ours { 3 } else { 2 };
        match hold_back {
            None => wrong("has parts and no PART-HOLD-BACK".to_owned()),
            Some(us) if us + ROUNDING_US < times * part_target_us => {
                wrong(format!("PART-HOLD-BACK is {us} µs, part targets are {part_target_us}"));
            }
            Some(_) => {}
        }
        if settings.ours && !control.yes("CAN-BLOCK-RELOAD") {
            wrong("has parts and no CAN-BLOCK-RELOAD=YES".to_owned());
        }
    }
    let target_us = list.target_us.unwrap_or_default();
    if skip_until.is_some_and(|us| us < 6 * target_us) {
        wrong("CAN-SKIP-UNTIL is less than six target durations".to_owned());
    }
    if whole_hold_back.is_some_and(|us| us < 3 * target_us) {
        wrong("HOLD-BACK is less than three target durations".to_owned());
    }
    if list.skipped.is_some() && skip_until.is_none() {
        found.push((Rule::Delta, "skips without CAN-SKIP-UNTIL".to_owned()));
    }
    faults.extend(found);
}

fn hints(list: &MediaList, settings: &Settings, faults: &mut Vec<Fault>) {
    let listed: Vec<&str> = list
        .all()
        .flat_map(|s| &s.parts)
        .map(|part| part.uri.as_str())
        .collect();
    let of_type = |kind: &str| list.hints.iter().filter(|hint| hint.get("TYPE") == Some(kind)).count();
    if of_type("PART") > 1 || of_type("MAP") > 1 {
        faults.push((Rule::Hint, "has two hints of one type".to_owned()));
    }
    if list.ended && !list.hints.is_empty() {
        faults.push((Rule::Hint, "has ended, and hints".to_owned()));
    }
    if let Some(uri) = next_part(list).filter(|uri| listed.contains(uri)) {
        faults.push((Rule::Hint, format!("hints {uri}, which is listed")));
    }
    if settings.ours && list.part_target_us.is_some() && !list.ended && of_type("PART") == 0 {
        faults.push((Rule::Hint, "is live and hints no part".to_owned()));
    }
}

/// The part that is hinted.
pub(super) fn next_part(list: &MediaList) -> Option<&str> {
    let hint = list.hints.iter().find(|hint| hint.get("TYPE") == Some("PART"))?;
    hint.get("URI")
}

fn independent(list: &MediaList, segment: &Segment, faults: &mut Vec<Fault>) {
    // Of a segment whose first parts are no longer listed, nothing can be said here.
    let from_start = segment.uri.is_empty() || parts_us(segment) + sum_tolerance_us(segment) >= segment.duration_us;
    if list.independent_segments && from_start && segment.parts.first().is_some_and(|part| !part.independent) {
        let what = format!("segment {} begins with a dependent part", segment.number);
        faults.push((Rule::IndependentSegments, what));
    }
    if segment.map.is_none() && list.skipped.is_none() {
        faults.push((Rule::Map, format!("no header applies to segment {}", segment.number)));
    }
    if segment.discontinuity && !segment.map_here {
        let what = format!(
            "no header is named behind the discontinuity at segment {}",
            segment.number
        );
        faults.push((Rule::Map, what));
    }
}

pub(super) fn parts_us(segment: &Segment) -> i64 {
    segment.parts.iter().map(|part| part.duration_us).sum()
}

/// By how much the parts of a segment may differ from it, each rounded by itself.
pub(super) fn sum_tolerance_us(segment: &Segment) -> i64 {
    ROUNDING_US * (segment.parts.len() as i64 + 2)
}

fn dates(list: &MediaList, settings: &Settings, faults: &mut Vec<Fault>) {
    let all: Vec<&Segment> = list.all().collect();
    for segment in &all {
        if settings.ours && segment.date_us.is_none() {
            faults.push((Rule::DateMissing, format!("segment {} has no date", segment.number)));
        }
    }
    for pair in all.windows(2) {
        let [one, two] = pair else { continue };
        let (Some(first), Some(second)) = (one.date_us, two.date_us) else {
            continue;
        };
        let off_us = second - first - one.duration_us;
        // Behind a discontinuity any later date will do; an overlap is at most a second and never whole (§6.2.1).
        let overlap_us = one.duration_us.min(1_000_000);
        let wrong = if two.discontinuity {
            off_us <= -overlap_us
        } else {
            off_us.abs() > settings.date_tolerance_us
        };
        if wrong {
            let what = format!("the date of segment {} is {off_us} µs off", two.number);
            faults.push((Rule::Date, what));
        }
    }
}

fn end(list: &MediaList, faults: &mut Vec<Fault>) {
    if list.ended && !list.open.parts.is_empty() {
        faults.push((Rule::Ended, "ends with parts that belong to no segment".to_owned()));
    }
}

fn tokens(key: &str, list: &MediaList, faults: &mut Vec<Fault>) {
    let token = token_of(key);
    let named = list.all().flat_map(|segment| {
        let uri = Some(segment.uri.as_str()).filter(|uri| !uri.is_empty());
        let parts = segment.parts.iter().map(|part| part.uri.as_str());
        uri.into_iter().chain(segment.map.as_deref()).chain(parts)
    });
    let told = list.hints.iter().chain(&list.reports).filter_map(|tag| tag.get("URI"));
    if let Some(uri) = named.chain(told).find(|uri| token_of(uri) != token) {
        let what = format!("was asked for with the token {token:?}, names {uri}");
        faults.push((Rule::Token, what));
    }
}
