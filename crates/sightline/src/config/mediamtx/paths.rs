//! MediaMTX's paths as our streams.
//!
//! Belongs here: names and expressions, what a path takes from `pathDefaults`, sources, the Raspberry Pi's camera.

use std::time::Duration;

use super::keys::{self, Means};
use super::yaml::{Node, Place, Value};
use super::{Given, Translator, command, values};
use crate::config::stream_key::StreamKey;
use crate::config::units::Span;

/// Our expression for `all_others`: found in every name, and behind all others in the order of the alphabet, in which they are tried.
const ALL_OTHERS: &str = "~z{0}^.*$";

/// Where MediaMTX records to, and where it does without being told.
const RECORD_PATH: &str = "recordPath";
const USUAL_RECORD_PATH: &str = "./recordings/%path/%Y-%m-%d_%H-%M-%S-%f";

/// How long files are in MediaMTX, and how long they are there without being told.
const RECORD_SEGMENT: &str = "recordSegmentDuration";
const USUAL_RECORD_SEGMENT: &str = "1h";
/// How long they may be here: what `record.segment` takes.
const SHORTEST_SEGMENT: Duration = Duration::from_secs(2);
const LONGEST_SEGMENT: Duration = Duration::from_secs(3_600);

/// A path with what it takes from the defaults.
struct PathOf<'a> {
    /// As our tables are called.
    name: String,
    place: Place,
    own: &'a [Given],
    defaults: &'a [Given],
}

impl PathOf<'_> {
    fn get(&self, key: &str) -> Option<&Given> {
        let last = |given: &'_ [Given]| {
            given
                .iter()
                .rposition(|given| given.name == key && !given.value.is_null())
        };
        last(self.own)
            .and_then(|at| self.own.get(at))
            .or_else(|| last(self.defaults).and_then(|at| self.defaults.get(at)))
    }

    fn word(&self, key: &str) -> Option<&str> {
        self.get(key)?.value.word()
    }
}

impl Translator<'_> {
    pub(super) fn paths(&mut self, defaults: Option<&Given>, paths: Option<&Given>) {
        let defaults = defaults
            .map(|defaults| self.keys_of(&defaults.value))
            .unwrap_or_default();
        for given in &defaults {
            self.told(given);
            if given.name == RECORD_PATH {
                self.record_path(given);
            }
        }
        let Some(paths) = paths.filter(|paths| !paths.value.is_null()) else {
            return;
        };
        let Value::Map(pairs) = &paths.value.value else {
            let message = values::expected("names and what they are", &paths.value);
            return self.problem(paths.value.place, &paths.name, &message);
        };
        for (name, value) in pairs {
            let own = self.keys_of(value);
            for given in &own {
                self.told(given);
                if given.name == RECORD_PATH && !given.value.is_null() {
                    self.note(
                        given.place,
                        RECORD_PATH,
                        "it is not honoured in a single path: all recordings are in one folder, [record] path",
                    );
                }
            }
            let path = PathOf {
                name: match name.shown().as_str() {
                    "all" | "all_others" => ALL_OTHERS.to_owned(),
                    name => name.to_owned(),
                },
                place: name.place,
                own: &own,
                defaults: &defaults,
            };
            match path.name.parse::<StreamKey>() {
                Ok(_) => self.path(&path),
                Err(error) => self.problem(path.place, &format!("paths.{}", path.name), &error.to_string()),
            }
        }
    }

    /// What stands before the name of the stream is our folder of recordings; what the files in it are called is ours to say.
    fn record_path(&mut self, given: &Given) {
        let Some(text) = given.value.word().filter(|text| *text != USUAL_RECORD_PATH) else {
            return;
        };
        match text.split_once("/%path").map(|(folder, _)| folder) {
            Some(folder) if !folder.is_empty() && !folder.contains('%') => {
                let folder = toml::Value::String(folder.to_owned());
                self.set(&["record", "path"], folder, given.value.place);
            }
            _ => self.note(
                given.place,
                RECORD_PATH,
                "it is not honoured: recordings are in a folder for each stream and day below [record] path; set that",
            ),
        }
    }

    fn keys_of(&mut self, node: &Node) -> Vec<Given> {
        let pairs = match &node.value {
            Value::Map(pairs) => pairs.as_slice(),
            _ if node.is_null() => &[],
            _ => {
                self.problem(node.place, "paths", &values::expected("keys and values", node));
                &[]
            }
        };
        let given = |(key, value): &(Node, Node)| super::given(&key.shown(), key.place, value);
        pairs.iter().map(given).collect()
    }

    /// What cannot be honoured is told where it stands, once.
    fn told(&mut self, given: &Given) {
        match keys::PATH.iter().find(|key| key.name == given.name) {
            Some(key) if matches!(key.means, Means::Nothing(_)) => self.key(key, given, &[]),
            Some(_) => {}
            None => self.unknown(given, keys::PATH),
        }
    }

    fn path(&mut self, path: &PathOf<'_>) {
        let source = path.word("source").unwrap_or("publisher").to_owned();
        if source == "rpiCamera" {
            return self.pi(path);
        }
        let place = path.get("source").map_or(path.place, |given| given.value.place);
        let parents = ["stream", &path.name];
        let fetched = match source.as_str() {
            "publisher" => self.on_demand(path),
            "redirect" => {
                if let Some(to) = path.get("sourceRedirect") {
                    self.set(
                        &[&parents[..], &["redirect"]].concat(),
                        toml::Value::String(to.value.shown()),
                        to.value.place,
                    );
                }
                false
            }
            url if FETCHED.iter().any(|scheme| url.starts_with(scheme)) => {
                let mut url = with_groups(url, &path.name);
                if let Some(token) = path
                    .word("whepBearerToken")
                    .filter(|token| url.starts_with("whep") && !token.is_empty())
                {
                    let token = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
                    url = format!("{url}{}token={token}", if url.contains('?') { '&' } else { '?' });
                }
                let url = toml::Value::String(url);
                self.set(&[&parents[..], &["source"]].concat(), url, place);
                true
            }
            other => {
                let scheme = other.split_once("://").map_or(other, |(scheme, _)| scheme);
                self.note(place, "source", &format!("{scheme} is not fetched here: sources are fetched by RTSP, WHEP and HLS; FFmpeg can fetch it and publish it by RTSP"));
                false
            }
        };
        for key in keys::PATH {
            // What is about fetching means nothing for a stream that is published.
            let about_fetching = ["sourceOnDemand", "sourceFingerprint", "rtspTransport"];
            let is_meant = match key.name {
                "runOnInit" | "runOnInitRestart" => self.is_of_one_name(path, key.name),
                name => fetched || !about_fetching.contains(&name),
            };
            if let (Means::Sets(..), Some(given), true) = (&key.means, path.get(key.name), is_meant) {
                self.key(key, given, &parents);
            }
        }
        self.record_segment(path, &parents);
    }

    /// A length of files that is none here becomes the nearest that is, which is told where it concerns a path that is recorded. Of one that is not, it says
    /// how long files are that somebody begins by hand.
    fn record_segment(&mut self, path: &PathOf<'_>, parents: &[&str]) {
        let Some(given) = path.get(RECORD_SEGMENT) else { return };
        if values::is_usual(&given.value, USUAL_RECORD_SEGMENT) {
            return;
        }
        let is_recorded = path.get("record").and_then(|record| record.value.truth()) == Some(true);
        let (place, shown) = (given.value.place, given.value.shown());
        let wanted = match values::length(&given.value) {
            Ok(wanted) => wanted,
            Err(message) if is_recorded => return self.problem(place, RECORD_SEGMENT, &message),
            Err(_) => return,
        };
        let taken = wanted.clamp(SHORTEST_SEGMENT, LONGEST_SEGMENT);
        if taken != wanted && is_recorded {
            let (least, most, taken) = (Span(SHORTEST_SEGMENT), Span(LONGEST_SEGMENT), Span(taken));
            let why = format!("{shown} is not honoured: a file lasts from {least} to {most} here; it is {taken}");
            self.note_once(given.place, RECORD_SEGMENT, &why);
        }
        self.set(
            &[parents, &["record", "segment"]].concat(),
            values::span_of(taken),
            place,
        );
    }

    /// What stands in the defaults concerns many paths, and is told of one.
    fn note_once(&mut self, place: Place, key: &str, what: &str) {
        self.note(place, key, what);
        if let Some((last, before)) = self.notices.split_last()
            && before.contains(last)
        {
            self.notices.pop();
        }
    }

    /// A command that publishes the stream when somebody wants it is a source of ours. Whether there is one.
    fn on_demand(&mut self, path: &PathOf<'_>) -> bool {
        let Some(given) = path.get("runOnDemand").filter(|given| given.value.word() != Some("")) else {
            return false;
        };
        let parents = ["stream", &path.name];
        let source = command::source(&given.value.shown(), &path.name, self.rtsp_port);
        let place = given.value.place;
        self.set(
            &[&parents[..], &["source"]].concat(),
            toml::Value::String(source),
            place,
        );
        self.set(
            &[&parents[..], &["on_demand"]].concat(),
            toml::Value::Boolean(true),
            place,
        );
        // What is there for sources that are fetched means nothing for it.
        false
    }

    /// Whether a key that needs a name has one; told else, where it stands in the path itself.
    fn is_of_one_name(&mut self, path: &PathOf<'_>, key: &str) -> bool {
        let is_expression = path.name.starts_with('~');
        let own = path
            .own
            .iter()
            .find(|given| given.name == key && !given.value.is_null());
        if let Some(given) = own.filter(|_| is_expression) {
            self.note(
                given.place,
                key,
                "it is not honoured here: it belongs to one name, and an expression means many",
            );
        }
        !is_expression
    }

    /// The Raspberry Pi's camera is one of ours.
    fn pi(&mut self, path: &PathOf<'_>) {
        if path.name.starts_with('~') {
            return self.note(
                path.place,
                "source",
                "the Raspberry Pi's camera is not honoured here: it belongs to one name",
            );
        }
        let word = |key: &str, usual: &str| path.word(key).unwrap_or(usual).to_owned();
        let bits = word("rpiCameraBitrate", "5000000");
        let settings = [
            ("source", format!("libcamera:{}", word("rpiCameraCamID", "0"))),
            (
                "size",
                format!("{}x{}", word("rpiCameraWidth", "1920"), word("rpiCameraHeight", "1080")),
            ),
            ("fps", word("rpiCameraFPS", "30")),
            ("bitrate", bits),
        ];
        for (key, value) in settings {
            self.set(&["camera", &path.name, key], toml::Value::String(value), path.place);
        }
        if let Some(Ok(gop)) = path.get("rpiCameraIDRPeriod").map(|given| values::number(&given.value)) {
            self.set(&["camera", &path.name, "gop"], gop, path.place);
        }
        // Ours is turned by default.
        let turned = path.get("rpiCameraVFlip").and_then(|given| given.value.truth()) == Some(true);
        let switch = if turned { "on" } else { "off" };
        self.set(
            &["camera", &path.name, "vflip"],
            toml::Value::String(switch.to_owned()),
            path.place,
        );
    }
}

/// Places for groups as we write them; where there are none, a dollar sign is one.
fn with_groups(url: &str, name: &str) -> String {
    if !name.starts_with('~') {
        return url.replace("$MTX_PATH", name);
    }
    let mut ours = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, behind)) = rest.split_once('$') {
        ours.push_str(before);
        rest = behind;
        if let Some(behind) = behind.strip_prefix("MTX_PATH") {
            ours.push_str("$0");
            rest = behind;
        } else if let Some(behind) = behind
            .strip_prefix('G')
            .filter(|behind| behind.starts_with(|c: char| c.is_ascii_digit()))
        {
            ours.push('$');
            rest = behind;
        } else {
            ours.push_str("$$");
        }
    }
    ours + rest
}

/// What sources that are fetched begin with, here as there.
const FETCHED: [&str; 6] = ["rtsp://", "rtsps://", "whep://", "wheps://", "http://", "https://"];
