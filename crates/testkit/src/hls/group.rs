//! Lists that belong together: the multivariant list, rendition reports, what the lists of a group have in common.

use std::collections::BTreeMap;

use media::WallTime;

use super::reload::History;
use super::text::{self, Attributes, Fault, MediaList};
use super::{Fetch, Rule, Settings, resolve, token_of};

/// By how much a report may be older than what the other list had shown: lists are rendered when their own part is there.
const STALE_PARTS: usize = 2;

/// A multivariant list.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: String,
    /// The media lists it names, resolved, in order.
    children: Vec<String>,
    tags: Vec<String>,
}

impl Group {
    pub(super) fn read(key: &str, text: &str, settings: &Settings, faults: &mut Vec<Fault>) -> Self {
        text::opening(text, faults);
        let mut group = Self {
            key: key.to_owned(),
            children: Vec::new(),
            tags: Vec::new(),
        };
        let (mut audio_groups, mut wanted) = (Vec::new(), Vec::new());
        let mut names: Vec<(String, String)> = Vec::new();
        let mut variant = false;
        for line in text.lines().skip(1).filter(|line| !line.is_empty()) {
            let mut wrong = |what: String| faults.push((Rule::Multivariant, what));
            if variant && line.starts_with('#') {
                wrong(format!("no URI behind #EXT-X-STREAM-INF but {line}"));
            }
            if !line.starts_with('#') {
                if !variant {
                    wrong(format!("{line} without #EXT-X-STREAM-INF"));
                }
                variant = false;
                group.child(line);
                continue;
            }
            group.tags.push(line.to_owned());
            if let Some(value) = line.strip_prefix("#EXT-X-STREAM-INF:") {
                variant = true;
                let attributes = Attributes::parse(value, faults);
                check_variant(&attributes, settings, faults);
                wanted.extend(attributes.quoted("AUDIO", faults));
            } else if let Some(value) = line.strip_prefix("#EXT-X-MEDIA:") {
                let attributes = Attributes::parse(value, faults);
                let id = attributes.quoted("GROUP-ID", faults).unwrap_or_default();
                let name = attributes.quoted("NAME", faults).unwrap_or_default();
                if attributes.get("TYPE") == Some("AUDIO") {
                    audio_groups.push(id.clone());
                }
                check_rendition(&attributes, (&id, &name), &names, faults);
                names.push((id, name));
                if let Some(uri) = attributes.quoted("URI", faults) {
                    group.child(&uri);
                }
            } else if [
                "#EXTINF",
                "#EXT-X-TARGETDURATION",
                "#EXT-X-PART",
                "#EXT-X-MEDIA-SEQUENCE",
                "#EXT-X-MAP",
            ]
            .iter()
            .any(|tag| line.starts_with(tag))
            {
                wrong(format!("{line} belongs into a media list"));
            }
        }
        if variant {
            faults.push((
                Rule::Multivariant,
                "ends without the URI of its last variant".to_owned(),
            ));
        }
        if let Some(missing) = wanted.iter().find(|id| !audio_groups.contains(id)) {
            faults.push((Rule::Multivariant, format!("no #EXT-X-MEDIA is of the group {missing}")));
        }
        if settings.ours
            && let Some(uri) = group.children.iter().find(|uri| token_of(uri) != token_of(key))
        {
            faults.push((Rule::Token, format!("was asked for as {key}, names {uri}")));
        }
        group
    }

    fn child(&mut self, uri: &str) {
        let uri = resolve(&self.key, uri);
        if !self.children.contains(&uri) {
            self.children.push(uri);
        }
    }

    /// Other variants are another presentation: only the bitrates may be told better later.
    pub(super) fn compare(&self, now: &Self, faults: &mut Vec<Fault>) {
        if self.children.iter().any(|child| !now.children.contains(child)) {
            let what = format!("named {:?}, now {:?}", self.children, now.children);
            faults.push((Rule::Multivariant, what));
        }
    }

    /// What the lists have in common (§6.2.4).
    pub(super) fn check_lists(&self, lists: &BTreeMap<String, History>, faults: &mut Vec<Fault>) {
        let seen: Vec<(&String, &History, &MediaList)> = self
            .children
            .iter()
            .filter_map(|key| {
                let history = lists.get(key)?;
                Some((key, history, &history.last.as_ref()?.list))
            })
            .collect();
        let Some(((_, first, one), rest)) = seen.split_first() else {
            return;
        };
        for (key, other, list) in rest {
            let mut wrong = |what: String| faults.push((Rule::Group, format!("{key} {what}")));
            if list.target_us != one.target_us {
                wrong("has another target duration".to_owned());
            }
            if list.control != one.control {
                wrong("has another server control".to_owned());
            }
            let dated = |list: &MediaList| list.all().any(|segment| segment.date_us.is_some());
            if dated(list) != dated(one) {
                wrong("has dates where the other has none".to_owned());
            }
            for (number, known) in &other.known {
                let twin = first.known.get(number).map(|twin| &twin.segment);
                let Some(twin) = twin else { continue };
                if twin.discontinuities != known.segment.discontinuities {
                    wrong(format!("counts discontinuities otherwise at segment {number}"));
                }
            }
        }
    }
}

fn check_variant(attributes: &Attributes, settings: &Settings, faults: &mut Vec<Fault>) {
    let mut found = Vec::new();
    if attributes.number("BANDWIDTH", &mut found).is_none_or(|bits| bits == 0) {
        found.push((Rule::Multivariant, "#EXT-X-STREAM-INF without BANDWIDTH".to_owned()));
    }
    let codecs = attributes.quoted("CODECS", &mut found);
    if settings.ours && codecs.as_ref().is_none_or(String::is_empty) {
        found.push((Rule::Multivariant, "#EXT-X-STREAM-INF without CODECS".to_owned()));
    }
    let video = codecs.is_some_and(|codecs| ["avc", "hvc", "hev"].iter().any(|codec| codecs.contains(codec)));
    let size = attributes.get("RESOLUTION").map(|size| size.split_once('x'));
    let is_size = |size: Option<(&str, &str)>| {
        size.is_some_and(|(w, h)| text::number(w).is_some_and(|w| w > 0) && text::number(h).is_some_and(|h| h > 0))
    };
    if size.is_some_and(|size| !is_size(size)) || settings.ours && video && size.is_none() {
        found.push((
            Rule::Multivariant,
            "#EXT-X-STREAM-INF of a picture without RESOLUTION".to_owned(),
        ));
    }
    faults.extend(found);
}

fn check_rendition(attributes: &Attributes, is: (&str, &str), others: &[(String, String)], faults: &mut Vec<Fault>) {
    let mut wrong = |what: &str| faults.push((Rule::Multivariant, format!("#EXT-X-MEDIA {what}: {is:?}")));
    if !matches!(
        attributes.get("TYPE"),
        Some("AUDIO" | "VIDEO" | "SUBTITLES" | "CLOSED-CAPTIONS")
    ) {
        wrong("without a TYPE");
    }
    if is.0.is_empty() || is.1.is_empty() {
        wrong("without GROUP-ID or NAME");
    }
    if others.iter().any(|(id, name)| (id.as_str(), name.as_str()) == is) {
        wrong("twice with one name");
    }
    if attributes.yes("DEFAULT") && attributes.get("AUTOSELECT").is_some_and(|value| value != "YES") {
        wrong("is the default and not AUTOSELECT=YES");
    }
}

/// Rendition reports of the list at `key` against what the others have shown.
pub(super) fn check_reports(
    key: &str,
    fetch: &Fetch<'_>,
    group: Option<&Group>,
    lists: &mut BTreeMap<String, History>,
    settings: &Settings,
    faults: &mut Vec<Fault>,
) {
    let Some(list) = lists.get(key).and_then(|history| Some(&history.last.as_ref()?.list)) else {
        return;
    };
    let mut wrong = |what: String| faults.push((Rule::Report, what));
    let (mut reported, mut claims) = (Vec::new(), Vec::new());
    for report in &list.reports {
        let mut found = Vec::new();
        let uri = report.quoted("URI", &mut found).map(|uri| resolve(key, &uri));
        let number = report.number("LAST-MSN", &mut found);
        let part = report.number("LAST-PART", &mut found);
        let (Some(uri), Some(number), []) = (uri, number, found.as_slice()) else {
            wrong(format!("a report without URI or LAST-MSN: {report:?}"));
            continue;
        };
        if uri == key {
            wrong("reports itself".to_owned());
        }
        if group.is_some_and(|group| !group.children.contains(&uri)) {
            wrong(format!("reports {uri}, which is in no multivariant list"));
        }
        reported.push(uri.clone());
        let Some(other) = lists.get(&uri).and_then(|history| history.last.as_ref()) else {
            continue;
        };
        if other.list.part_target_us.is_some() && part.is_none() {
            wrong(format!("reports {uri} without LAST-PART, which has parts"));
            continue;
        }
        // The last whole segment, or the open one where it has parts: its number and the index of its last part.
        let shown = last_part(&other.list);
        let said = (number, part.unwrap_or_default());
        let behind = distance(said, shown, &other.list);
        if other.answered <= fetch.asked && behind > STALE_PARTS {
            wrong(format!("says {said:?} of {uri}, which had shown {shown:?} before"));
        }
        claims.push((
            uri,
            Claim {
                said,
                at: fetch.answered,
            },
        ));
    }
    if let Some(group) = group.filter(|group| settings.ours && group.children.iter().any(|child| child == key)) {
        let missing = group
            .children
            .iter()
            .find(|child| *child != key && !reported.contains(child));
        if let Some(missing) = missing.filter(|_| !list.ended) {
            wrong(format!("does not report {missing}"));
        }
    }
    for (uri, claim) in claims {
        if let Some(history) = lists.get_mut(&uri) {
            history.claims.push(claim);
        }
    }
}

/// What a report said of a list: whoever asks that list afterwards has to find it there.
#[derive(Debug)]
pub(super) struct Claim {
    said: (u64, u64),
    at: WallTime,
}

/// Compares what others said of a list with the list, which was asked for after that.
pub(super) fn check_claims(claims: &mut Vec<Claim>, list: &MediaList, fetch: &Fetch<'_>, faults: &mut Vec<Fault>) {
    let shown = last_part(list);
    for claim in claims.extract_if(.., |claim| claim.at <= fetch.asked) {
        if claim.said > shown && !list.ended {
            let what = format!("ends at {shown:?}, another list had reported {:?}", claim.said);
            faults.push((Rule::Report, what));
        }
    }
}

fn last_part(list: &MediaList) -> (u64, u64) {
    let last = list.all().next_back();
    last.map_or((0, 0), |segment| {
        (segment.number, segment.parts.len().saturating_sub(1) as u64)
    })
}

/// How many parts `said` is behind `shown`; none when it is not.
fn distance(said: (u64, u64), shown: (u64, u64), list: &MediaList) -> usize {
    if said >= shown {
        return 0;
    }
    let between: usize = list
        .all()
        .filter(|segment| (said.0..shown.0).contains(&segment.number))
        .map(|segment| segment.parts.len())
        .sum();
    (between as u64 + shown.1).saturating_sub(said.1) as usize
}
