//! A checker of LL-HLS: is told what was asked for and what was answered, and reports every rule that the answers break.
//!
//! Belongs here: the rules of draft-pantos-hls-rfc8216bis for live lists ([`Rule`] names their sections), what this project promises beyond
//! them, and what the bytes of parts and segments have to do with the lists that name them. Does not belong here: asking (whoever asks tells
//! [`Checker::see`]), clocks (each answer comes with its times), headers of HTTP, what players make of it.
//!
//! It keeps everything it was given, since a later list may contradict any earlier one: for minutes of a stream, not for days.

mod alone;
mod bytes;
mod group;
mod reload;
mod text;

use std::collections::BTreeMap;
use std::fmt;

use media::WallTime;

/// One request and what came of it, in the order of the answers.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a> {
    /// As it was asked for: path and query, directives (`_HLS_…`) included; scheme and host are left out of account.
    pub uri: &'a str,
    /// When it was asked.
    pub asked: WallTime,
    /// When the answer was complete.
    pub answered: WallTime,
    /// HTTP status.
    pub status: u16,
    /// Without content encoding.
    pub body: &'a [u8],
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which.
    pub rule: Rule,
    /// Where: path of the list, or of a part or segment.
    pub uri: String,
    /// When the answer that broke it came; `None` for what only the end of the check could tell.
    pub at: Option<WallTime>,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.uri, self.what, self.rule.basis())
    }
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])* $name:ident $basis:literal,)*) => {
        /// What can be broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[doc = $doc])* $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Section of the draft that it comes from, or "ours".
            pub const fn basis(self) -> &'static str {
                match self { $(Self::$name => $basis,)* }
            }
        }
    };
}

rules! {
    /// Syntax of the list, its tags and attributes.
    Form "§4.1, §4.2",
    /// A tag stands twice that may stand once.
    Once "§4.4.1, §4.4.3",
    /// Sequence numbers and skips come before the first segment.
    Order "§4.4.3.2, §4.4.3.3",
    /// The version covers what the list uses.
    Version "§8",
    /// The list says its target duration, and no segment, rounded to a second, is longer.
    TargetDuration "§4.4.3.1, §4.4.4.1",
    /// The target duration never changes.
    TargetChanged "§6.2.1",
    /// A list with parts says their target duration.
    PartTarget "§4.4.3.7",
    /// No part is longer than the target.
    PartTooLong "§4.4.4.9",
    /// A part is 85 % of the target or more, but for independent ones, the last of a segment, and gaps.
    PartTooShort "§4.4.4.9",
    /// The parts' target duration never changes.
    PartTargetChanged "§6.2.1",
    /// Parts of a whole segment last as long as it.
    PartsSum "§4.4.4.9",
    /// What applies to a segment stands before its first part.
    Placement "§4.4.4.9",
    /// Parts stay listed until they are three target durations away from the end.
    PartsGoneTooSoon "§6.2.2",
    /// Parts are not listed once their segment is three target durations away from the end.
    PartsKeptTooLong "§6.2.2",
    /// Hold-backs and limits are there and large enough, and there is blocking reload.
    ServerControl "§4.4.3.8; part hold back of three targets, blocking: ours",
    /// `EXT-X-SERVER-CONTROL` never changes.
    ServerControlChanged "§6.2.1",
    /// The media sequence grows with the segments removed, and never falls.
    MediaSequence "§6.2.2",
    /// A segment keeps its discontinuity sequence number.
    DiscontinuitySequence "§6.2.2",
    /// A segment never changes between two lists.
    SegmentChanged "§6.2.1",
    /// Nor does a part.
    PartChanged "§6.2.1",
    /// Who asks later never gets an older list.
    Older "§6.2.1",
    /// At least three target durations stay listed when segments are removed.
    TooFewListed "§6.2.2",
    /// A live list has no playlist type.
    LiveType "§6.2.2",
    /// New parts and segments come in time.
    Late "§6.2.1",
    /// One hint of a type, none after the end, none of what is listed; in a live list with parts there is one.
    Hint "§4.4.5.3, §6.2.6; that there is one: ours",
    /// What was hinted is the next part.
    HintBroken "ours (§6.2.6)",
    /// A delta update where it was asked for, with what it may skip.
    Delta "§6.2.5.1, §4.4.5.2",
    /// A blocking answer holds what was asked for.
    Blocked "§6.2.5.2",
    /// A request is refused only where it may be, and a block ends after three target durations.
    Refused "§6.2.5.2",
    /// Every other list of the group is reported, truthfully.
    Report "§4.4.5.4",
    /// A date for every segment, which never changes.
    DateMissing "ours",
    /// Dates go on as durations say.
    Date "§6.2.1",
    /// A header applies to every segment, another one only behind a discontinuity, and behind a discontinuity one is named.
    Map "§4.4.4.5, §6.2.1",
    /// Nothing changes after the end, and the last parts belong to a segment.
    Ended "§4.4.3.4",
    /// In a list that says so, every segment begins with an independent part.
    IndependentSegments "§4.4.2.1",
    /// Form of the multivariant list.
    Multivariant "§4.4.6",
    /// Lists of a group agree in target duration, server control, dates and discontinuities.
    Group "§6.2.4",
    /// What is listed can be had.
    Unavailable "§6.2.1, §6.2.2, §6.2.6",
    /// A list that was asked for with a token carries it on every URI, another one on none.
    Token "ours",
    /// Header, parts and segments are what they should be as ISO media files.
    Bytes "§3.1.2",
    /// A resource never changes.
    BytesChanged "§6.2.1",
    /// A segment is its parts.
    BytesOfParts "§3.2",
    /// The samples of a part or segment last as long as the list says.
    BytesDuration "§4.4.4.1, §4.4.4.9",
    /// `INDEPENDENT=YES` stands where the first sample of the picture is a sync sample.
    BytesIndependent "§4.4.4.9",
    /// Decode times go on from one part to the next.
    BytesTime "§6.2.1",
}

/// How strictly is measured.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What the project promises beyond the draft, too.
    pub ours: bool,
    /// By how much two dates may differ from what the durations between them say.
    pub date_tolerance_us: i64,
    /// By how much listed durations may differ from those of the samples: a frame.
    pub frame_us: i64,
    /// How much later than the draft allows a new part or segment may be seen; `None`: do not look (nobody asks all the time).
    pub late_us: Option<i64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ours: true,
            date_tolerance_us: 100_000,
            frame_us: 34_000,
            late_us: None,
        }
    }
}

/// Holds what was answered so far.
#[derive(Debug, Default)]
pub struct Checker {
    settings: Settings,
    lists: BTreeMap<String, reload::History>,
    group: Option<group::Group>,
    resources: BTreeMap<String, Vec<u8>>,
    complaints: Vec<Complaint>,
}

impl Checker {
    /// One that has seen nothing.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// The next answer. A path that ends in `.m3u8` is a list, any other a header, part or segment.
    pub fn see(&mut self, fetch: &Fetch<'_>) {
        let (key, directives) = split_directives(fetch.uri);
        if !path_of(&key).ends_with(".m3u8") {
            self.see_resource(&key, fetch);
            return;
        }
        let mut faults = Vec::new();
        if fetch.status != 200 {
            self.see_refusal(&key, &directives, fetch, &mut faults);
        } else if let Ok(text) = std::str::from_utf8(fetch.body) {
            if text::is_multivariant(text) {
                let group = group::Group::read(&key, text, &self.settings, &mut faults);
                if let Some(before) = &self.group
                    && before.key == group.key
                {
                    before.compare(&group, &mut faults);
                }
                self.group = Some(group);
            } else {
                self.see_media(&key, &directives, text, fetch, &mut faults);
            }
        } else {
            faults.push((Rule::Form, "is not UTF-8".to_owned()));
        }
        self.complain(&key, Some(fetch.answered), faults);
    }

    /// What was broken so far, in the order in which it was noticed.
    pub fn complaints(&self) -> &[Complaint] {
        &self.complaints
    }

    /// Compares the bytes with the lists, and lists with each other, and gives everything that was broken.
    pub fn finish(mut self) -> Vec<Complaint> {
        let mut found = Vec::new();
        for (key, history) in &self.lists {
            let mut faults = Vec::new();
            bytes::check(history, &self.resources, &self.settings, &mut faults);
            found.push((key.clone(), faults));
        }
        if let Some(group) = &self.group {
            let mut faults = Vec::new();
            group.check_lists(&self.lists, &mut faults);
            found.push((group.key.clone(), faults));
        }
        for (key, faults) in found {
            self.complain(&key, None, faults);
        }
        self.complaints
    }

    fn complain(&mut self, uri: &str, at: Option<WallTime>, faults: Vec<text::Fault>) {
        self.complaints.extend(faults.into_iter().map(|(rule, what)| Complaint {
            rule,
            uri: uri.to_owned(),
            at,
            what,
        }));
    }

    fn see_media(
        &mut self,
        key: &str,
        directives: &Directives,
        text: &str,
        fetch: &Fetch<'_>,
        faults: &mut Vec<text::Fault>,
    ) {
        let (list, found) = text::media(text);
        faults.extend(found);
        alone::check(key, &list, &self.settings, faults);
        let history = self
            .lists
            .entry(key.to_owned())
            .or_insert_with(|| reload::History::new(key));
        history.see(list, text, directives, fetch, &self.settings, faults);
        group::check_reports(key, fetch, self.group.as_ref(), &mut self.lists, &self.settings, faults);
    }

    fn see_refusal(&mut self, key: &str, directives: &Directives, fetch: &Fetch<'_>, faults: &mut Vec<text::Fault>) {
        if let Some(history) = self.lists.get(key) {
            history.see_refusal(directives, fetch, faults);
        }
    }

    fn see_resource(&mut self, key: &str, fetch: &Fetch<'_>) {
        let mut faults = Vec::new();
        match fetch.status {
            200 => {
                let before = self.resources.insert(key.to_owned(), fetch.body.to_vec());
                if before.is_some_and(|before| before != fetch.body) {
                    faults.push((Rule::BytesChanged, "holds other bytes than before".to_owned()));
                }
            }
            status => {
                for history in self.lists.values() {
                    history.missing(key, status, fetch, &mut faults);
                }
            }
        }
        self.complain(key, Some(fetch.answered), faults);
    }
}

/// The delivery directives of a request (§6.2.5). What is no number is told apart from what is absent.
#[derive(Clone, Debug, Default, PartialEq)]
struct Directives {
    msn: Option<Option<u64>>,
    part: Option<Option<u64>>,
    skip: bool,
}

/// A URI without directives, and those.
fn split_directives(uri: &str) -> (String, Directives) {
    let uri = without_host(uri);
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut directives = Directives::default();
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "_HLS_msn" => directives.msn = Some(text::number(value)),
            "_HLS_part" => directives.part = Some(text::number(value)),
            "_HLS_skip" => directives.skip = matches!(value, "YES" | "v2"),
            _ => rest.push(pair),
        }
    }
    let query = if rest.is_empty() {
        String::new()
    } else {
        format!("?{}", rest.join("&"))
    };
    (format!("{path}{query}"), directives)
}

fn without_host(uri: &str) -> &str {
    match uri.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => uri,
    }
}

fn path_of(key: &str) -> &str {
    key.split_once('?').map_or(key, |(path, _)| path)
}

/// Value of `token` in the query.
fn token_of(uri: &str) -> Option<&str> {
    let (_, query) = uri.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// What a list at `base` means by `uri` (RFC 3986 §5.2), without host.
fn resolve(base: &str, uri: &str) -> String {
    if uri.contains("://") || uri.starts_with('/') {
        return without_host(uri).to_owned();
    }
    let (relative, query) = uri
        .split_once('?')
        .map_or((uri, None), |(path, query)| (path, Some(query)));
    let mut parts: Vec<&str> = path_of(base).split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    query.map_or(path.clone(), |query| format!("{path}?{query}"))
}

#[cfg(test)]
mod tests;
