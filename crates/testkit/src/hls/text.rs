//! Lists as text: tags, attributes, decimals and dates, each fault told and none fatal.

use super::Rule;

/// A fault in a text, not yet with its place and time.
pub(super) type Fault = (Rule, String);

/// One media list as it was written. What is absent is `None`, never a default.
#[derive(Clone, Debug, Default)]
pub(super) struct MediaList {
    pub(super) version: Option<u64>,
    pub(super) target_us: Option<i64>,
    pub(super) part_target_us: Option<i64>,
    pub(super) control: Option<Attributes>,
    pub(super) first_number: u64,
    pub(super) says_first_number: bool,
    pub(super) first_discontinuity: u64,
    pub(super) says_discontinuity: bool,
    pub(super) skipped: Option<u64>,
    pub(super) independent_segments: bool,
    pub(super) ended: bool,
    /// Whole segments, without those that were skipped.
    pub(super) segments: Vec<Segment>,
    /// What follows the last whole segment: parts of the next one, or nothing.
    pub(super) open: Segment,
    pub(super) hints: Vec<Attributes>,
    pub(super) reports: Vec<Attributes>,
}

impl MediaList {
    /// Whole segments and the open one where it has parts.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments
            .iter()
            .chain((!self.open.parts.is_empty()).then_some(&self.open))
    }

    /// Number of the newest whole segment plus one, and how many parts are there of the one with that number.
    pub(super) fn edge(&self) -> (u64, usize) {
        (self.open.number, self.open.parts.len())
    }

    pub(super) fn segments_us(&self) -> i64 {
        self.segments.iter().map(|segment| segment.duration_us).sum()
    }
}

/// A segment, whole or open.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) discontinuities: u64,
    /// Empty while it is open.
    pub(super) uri: String,
    pub(super) duration_us: i64,
    pub(super) parts: Vec<Part>,
    pub(super) discontinuity: bool,
    /// The header that applies, and whether its tag stands at this segment.
    pub(super) map: Option<String>,
    pub(super) map_here: bool,
    pub(super) date_us: Option<i64>,
    pub(super) gap: bool,
}

/// A partial segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) uri: String,
    pub(super) duration_us: i64,
    pub(super) independent: bool,
    pub(super) gap: bool,
}

/// An attribute list (§4.2), values without their quotes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Attributes(Vec<(String, String, bool)>);

impl Attributes {
    pub(super) fn parse(text: &str, faults: &mut Vec<Fault>) -> Self {
        let mut found = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let Some((name, after)) = rest.split_once('=') else {
                faults.push((Rule::Form, format!("an attribute without a value: {rest:?}")));
                break;
            };
            let (value, quoted, after) = if let Some(after) = after.strip_prefix('"') {
                let Some((value, after)) = after.split_once('"') else {
                    faults.push((Rule::Form, format!("a quote that does not end: {rest:?}")));
                    break;
                };
                (value, true, after)
            } else {
                let end = after.find(',').unwrap_or(after.len());
                (&after[..end], false, &after[end..])
            };
            let word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty()
                || !name.chars().all(word)
                || (value.is_empty() && !quoted)
                || value.contains(' ') && !quoted
            {
                faults.push((Rule::Form, format!("not an attribute: {name:?}={value:?}")));
            }
            if found.get(name).is_some() {
                faults.push((Rule::Form, format!("{name} twice in {text:?}")));
            }
            found.0.push((name.to_owned(), value.to_owned(), quoted));
            rest = match after.strip_prefix(',') {
                Some(more) if !more.is_empty() => more,
                None if after.is_empty() => "",
                _ => {
                    faults.push((Rule::Form, format!("not between attributes: {after:?}")));
                    ""
                }
            };
        }
        found
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, ..)| n == name)
            .map(|(_, value, _)| value.as_str())
    }

    /// The value of a quoted string; one without quotes is a fault.
    pub(super) fn quoted(&self, name: &str, faults: &mut Vec<Fault>) -> Option<String> {
        let (_, value, quoted) = self.0.iter().find(|(n, ..)| n == name)?;
        if !quoted {
            faults.push((Rule::Form, format!("{name}={value} has no quotes")));
        }
        Some(value.clone())
    }

    pub(super) fn yes(&self, name: &str) -> bool {
        self.get(name) == Some("YES")
    }

    /// A decimal number of seconds, in microseconds.
    pub(super) fn micros(&self, name: &str, faults: &mut Vec<Fault>) -> Option<i64> {
        let value = self.get(name)?;
        let micros = micros(value);
        if micros.is_none() {
            faults.push((Rule::Form, format!("{name}={value} is no decimal number")));
        }
        micros
    }

    pub(super) fn number(&self, name: &str, faults: &mut Vec<Fault>) -> Option<u64> {
        let value = self.get(name)?;
        let number = number(value);
        if number.is_none() {
            faults.push((Rule::Form, format!("{name}={value} is no whole number")));
        }
        number
    }
}

/// Whether this is a multivariant list and not a media list.
pub(super) fn is_multivariant(text: &str) -> bool {
    text.lines()
        .any(|line| line.starts_with("#EXT-X-STREAM-INF") || line.starts_with("#EXT-X-MEDIA:"))
}

/// Reads a media list.
pub(super) fn media(text: &str) -> (MediaList, Vec<Fault>) {
    let mut reader = Reader::default();
    opening(text, &mut reader.faults);
    for line in text.lines().skip(1) {
        reader.line(line);
    }
    reader.end()
}

/// What every list begins with (§4.1, §4.4.1.1).
pub(super) fn opening(text: &str, faults: &mut Vec<Fault>) {
    if text.lines().next() != Some("#EXTM3U") {
        faults.push((Rule::Form, "does not begin with #EXTM3U".to_owned()));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r')) {
        faults.push((Rule::Form, "holds control characters".to_owned()));
    }
    if !text.ends_with('\n') {
        faults.push((Rule::Form, "does not end with the end of a line".to_owned()));
    }
}

#[derive(Default)]
struct Reader {
    list: MediaList,
    faults: Vec<Fault>,
    seen: Vec<String>,
    map: Option<String>,
    extinf_us: Option<i64>,
    discontinuities: u64,
    next: Segment,
}

impl Reader {
    fn fault(&mut self, rule: Rule, what: impl Into<String>) {
        self.faults.push((rule, what.into()));
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        if line.trim() != line {
            self.fault(Rule::Form, format!("white space around {line:?}"));
        }
        let Some(tag) = line.strip_prefix("#EXT") else {
            if !line.starts_with('#') {
                self.uri(line);
            }
            return;
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        let once = [
            "-X-VERSION",
            "-X-TARGETDURATION",
            "-X-MEDIA-SEQUENCE",
            "-X-DISCONTINUITY-SEQUENCE",
            "-X-PART-INF",
            "-X-SERVER-CONTROL",
            "-X-SKIP",
            "-X-ENDLIST",
            "-X-PLAYLIST-TYPE",
            "-X-INDEPENDENT-SEGMENTS",
        ];
        if once.contains(&name) {
            if self.seen.iter().any(|seen| seen == name) {
                self.fault(Rule::Once, format!("#EXT{name} twice"));
            }
            self.seen.push(name.to_owned());
        }
        match name {
            "INF" | "-X-DISCONTINUITY" | "-X-MAP" | "-X-PROGRAM-DATE-TIME" | "-X-GAP" | "-X-PART" => {
                self.of_segment(name, value);
            }
            _ => self.of_list(name, value),
        }
    }

    fn of_list(&mut self, name: &str, value: &str) {
        let begun = self.list.skipped.is_some() || !self.list.segments.is_empty() || self.next != Segment::default();
        match name {
            "-X-VERSION" => self.list.version = self.number(name, value),
            "-X-TARGETDURATION" => self.list.target_us = self.number(name, value).map(|s| s as i64 * 1_000_000),
            "-X-MEDIA-SEQUENCE" | "-X-DISCONTINUITY-SEQUENCE" if begun => {
                self.fault(Rule::Order, format!("#EXT{name} behind the first segment"));
            }
            "-X-MEDIA-SEQUENCE" => {
                self.list.says_first_number = true;
                self.list.first_number = self.number(name, value).unwrap_or_default();
            }
            "-X-DISCONTINUITY-SEQUENCE" => {
                self.list.says_discontinuity = true;
                self.list.first_discontinuity = self.number(name, value).unwrap_or_default();
            }
            "-X-PART-INF" => {
                let attributes = Attributes::parse(value, &mut self.faults);
                self.list.part_target_us = attributes.micros("PART-TARGET", &mut self.faults);
                if self.list.part_target_us.is_none() {
                    self.fault(Rule::PartTarget, "#EXT-X-PART-INF without PART-TARGET");
                }
            }
            "-X-SERVER-CONTROL" => self.list.control = Some(Attributes::parse(value, &mut self.faults)),
            "-X-SKIP" => {
                let attributes = Attributes::parse(value, &mut self.faults);
                self.list.skipped = attributes.number("SKIPPED-SEGMENTS", &mut self.faults);
                if self.list.skipped.is_none() {
                    self.fault(Rule::Form, "#EXT-X-SKIP without SKIPPED-SEGMENTS");
                }
                if begun {
                    self.fault(Rule::Order, "#EXT-X-SKIP behind a segment");
                }
            }
            "-X-ENDLIST" => self.list.ended = true,
            "-X-INDEPENDENT-SEGMENTS" => self.list.independent_segments = true,
            "-X-PLAYLIST-TYPE" => self.fault(Rule::LiveType, format!("a live list says #EXT-X-PLAYLIST-TYPE:{value}")),
            "-X-PRELOAD-HINT" => {
                let attributes = Attributes::parse(value, &mut self.faults);
                if attributes.get("TYPE").is_none() || attributes.quoted("URI", &mut self.faults).is_none() {
                    self.fault(Rule::Form, format!("#EXT-X-PRELOAD-HINT without TYPE or URI: {value}"));
                }
                self.list.hints.push(attributes);
            }
            "-X-RENDITION-REPORT" => {
                let attributes = Attributes::parse(value, &mut self.faults);
                self.list.reports.push(attributes);
            }
            "-X-START" | "-X-DATERANGE" | "-X-DEFINE" | "-X-BITRATE" => {}
            _ => self.fault(
                Rule::Form,
                format!("#EXT{name} is no tag of a media list that we write"),
            ),
        }
    }

    fn of_segment(&mut self, name: &str, value: &str) {
        let before_parts = matches!(name, "-X-DISCONTINUITY" | "-X-MAP" | "-X-PROGRAM-DATE-TIME");
        if before_parts && (!self.next.parts.is_empty() || self.extinf_us.is_some()) {
            self.fault(
                Rule::Placement,
                format!("#EXT{name} behind the first part of its segment"),
            );
        }
        match name {
            "INF" => {
                let (duration, _title) = value.split_once(',').unwrap_or((value, ""));
                if !value.contains(',') {
                    self.fault(Rule::Form, format!("#EXTINF:{value} without a comma"));
                }
                if self.extinf_us.is_some() {
                    self.fault(Rule::Form, "two #EXTINF for one segment");
                }
                self.extinf_us = micros(duration);
                if self.extinf_us.is_none() {
                    self.fault(Rule::Form, format!("#EXTINF:{value} is no duration"));
                }
            }
            "-X-DISCONTINUITY" => {
                self.next.discontinuity = true;
                self.discontinuities += 1;
            }
            "-X-MAP" => {
                let attributes = Attributes::parse(value, &mut self.faults);
                self.map = attributes.quoted("URI", &mut self.faults);
                self.next.map_here = true;
                if self.map.is_none() {
                    self.fault(Rule::Map, "#EXT-X-MAP without URI");
                }
            }
            "-X-PROGRAM-DATE-TIME" => {
                self.next.date_us = date(value);
                if self.next.date_us.is_none() {
                    self.fault(Rule::Form, format!("{value} is no date with a time and a zone"));
                }
            }
            "-X-GAP" => self.next.gap = true,
            _ => self.part(value),
        }
    }

    fn part(&mut self, value: &str) {
        if self.extinf_us.is_some() {
            self.fault(Rule::Placement, "#EXT-X-PART between #EXTINF and its URI");
        }
        let attributes = Attributes::parse(value, &mut self.faults);
        let uri = attributes.quoted("URI", &mut self.faults);
        let duration_us = attributes.micros("DURATION", &mut self.faults);
        let (Some(uri), Some(duration_us)) = (uri, duration_us) else {
            self.fault(Rule::Form, format!("#EXT-X-PART without URI or DURATION: {value}"));
            return;
        };
        let (independent, gap) = (attributes.yes("INDEPENDENT"), attributes.yes("GAP"));
        self.next.parts.push(Part {
            uri,
            duration_us,
            independent,
            gap,
        });
    }

    fn uri(&mut self, line: &str) {
        let Some(duration_us) = self.extinf_us.take() else {
            self.fault(Rule::Form, format!("{line:?} without #EXTINF"));
            return;
        };
        self.close(line.to_owned(), duration_us);
    }

    fn close(&mut self, uri: String, duration_us: i64) {
        let mut segment = self.take(uri);
        segment.duration_us = duration_us;
        self.list.segments.push(segment);
    }

    fn take(&mut self, uri: String) -> Segment {
        let skipped = self.list.skipped.unwrap_or_default();
        Segment {
            number: self
                .list
                .first_number
                .saturating_add(skipped)
                .saturating_add(self.list.segments.len() as u64),
            discontinuities: self.list.first_discontinuity.saturating_add(self.discontinuities),
            uri,
            map: self.map.clone(),
            ..std::mem::take(&mut self.next)
        }
    }

    fn end(mut self) -> (MediaList, Vec<Fault>) {
        if self.extinf_us.is_some() {
            self.fault(Rule::Form, "#EXTINF without a URI");
        }
        self.list.open = self.take(String::new());
        self.list.open.duration_us = self.list.open.parts.iter().map(|part| part.duration_us).sum();
        (self.list, self.faults)
    }

    fn number(&mut self, name: &str, value: &str) -> Option<u64> {
        let number = number(value);
        if number.is_none() {
            self.fault(Rule::Form, format!("#EXT{name}:{value} is no whole number"));
        }
        number
    }
}

/// A decimal integer (§4.2): digits alone.
pub(super) fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// A decimal number of seconds in microseconds, what is finer rounded.
pub(super) fn micros(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 12 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10_i64.pow(fraction.len() as u32);
    let fraction = (i128::from(fraction.parse::<i64>().ok()?) * 1_000_000 + i128::from(scale / 2)) / i128::from(scale);
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(fraction as i64)
}

/// A date as ISO 8601 has it, in microseconds since 1970. A zone has to be there.
pub(super) fn date(text: &str) -> Option<i64> {
    let (day, time) = text.split_once('T')?;
    let (time, zone_minutes) = if let Some(time) = time.strip_suffix('Z') {
        (time, 0)
    } else {
        let at = time.rfind(['+', '-'])?;
        let (hours, minutes) = (time.get(at + 1..at + 3)?, time.get(time.len().checked_sub(2)?..)?);
        let minutes: i64 = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
        (
            &time[..at],
            if time[at..].starts_with('-') { -minutes } else { minutes },
        )
    };
    let mut numbers = day.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let (hour, rest) = time.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    // Days since 1970 in the Gregorian calendar, years beginning in March so that the leap day is last.
    let (y, m) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468;
    let minutes = (days * 24 + hour) * 60 + minute - zone_minutes;
    Some(minutes * 60_000_000 + micros(second)?)
}
