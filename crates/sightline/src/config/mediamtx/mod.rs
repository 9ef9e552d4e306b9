//! MediaMTX's own settings file, read as if it were ours.
//!
//! Belongs here: what each of its keys means here ([`keys`]), its values ([`values`]), paths and accounts ([`paths`], [`accounts`]), the file as a tree
//! ([`yaml`]), and its variables over it ([`variables`]). Does not belong here: checking what comes of it, which is the same as for our own file ([`super::load`]).
//!
//! Nothing is passed over in silence: what has no counterpart here is told with its line and with what to do instead, unless it stands at the value
//! that MediaMTX has without it. Older names of keys are understood, and the nested spelling (`hls: {listen: …}`) of old guides.

mod accounts;
mod certificate;
mod command;
mod elsewhere;
mod keys;
mod paths;
mod values;
mod variables;
mod yaml;

use std::path::Path;

use self::keys::{Key, Means};
use self::yaml::{Node, Place, Value};
use super::environment::{self, Environment};
use super::file::Entry;
use super::problem::{Origin, Problem};
use super::suggest;

/// Whether a file is MediaMTX's, by its name.
pub(super) fn is_its(path: &Path) -> bool {
    let extension = path.extension().and_then(std::ffi::OsStr::to_str);
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("yml") || extension.eq_ignore_ascii_case("yaml"))
}

/// Protocols that MediaMTX speaks unless its file says no, and that nobody has here.
const ABSENT: [(&str, &str); 3] = [("rtmp", "RTMP"), ("srt", "SRT"), ("moq", "MoQ")];
/// Whose keys old guides write into a table of their own.
const NESTED: [&str; 7] = ["rtsp", "rtmp", "hls", "webrtc", "srt", "api", "metrics"];

/// All values of a file that mean something here; what is wrong with it goes to the problems, what cannot be honoured to the notices.
pub(super) fn entries(
    path: &Path,
    text: &str,
    environment: &Environment,
    problems: &mut Vec<Problem>,
    notices: &mut Vec<String>,
) -> Vec<Entry> {
    let mut translator = Translator {
        path,
        environment,
        problems,
        notices,
        entries: Vec::new(),
        rtsp_port: RTSP_PORT,
        hosts: Vec::new(),
    };
    match yaml::parse(text) {
        Err(fault) => translator.problem(fault.place, "", &fault.message),
        Ok(None) => translator.file(Vec::new(), START),
        Ok(Some(root)) => match root.value {
            Value::Map(pairs) => translator.file(pairs, root.place),
            _ if root.is_null() => translator.file(Vec::new(), START),
            _ => translator.problem(root.place, "", "expected keys and values, as in `rtspAddress: :8554`"),
        },
    }
    translator.entries
}

/// Where RTSP is served unless the file says otherwise.
const RTSP_PORT: u16 = 8_554;
const START: Place = Place { line: 1, column: 1 };

struct Translator<'a> {
    path: &'a Path,
    environment: &'a Environment,
    problems: &'a mut Vec<Problem>,
    notices: &'a mut Vec<String>,
    entries: Vec<Entry>,
    /// Where RTSP is served.
    rtsp_port: u16,
    /// That addresses name, with the key.
    hosts: Vec<(String, Place)>,
}

/// A key of the file with its value.
struct Given {
    name: String,
    place: Place,
    value: Node,
}

impl Translator<'_> {
    fn file(&mut self, mut pairs: Vec<(Node, Node)>, place: Place) {
        for name in variables::overlay(&mut pairs, self.environment) {
            self.notices.push(format!("{} sets nothing here", self.variable(&name)));
        }
        let given = flat(&pairs);
        for given in &given {
            self.global(given);
        }
        let last = |name: &str| given.iter().rev().find(|given| given.name == name);
        let was_asked = pairs
            .iter()
            .find(|(key, url)| key.shown() == keys::EXTERNAL && !url.is_null());
        let is_decided = self.elsewhere(last, was_asked.map(|(key, _)| key.place));
        if !is_decided {
            self.accounts(last("authInternalUsers"), place);
        }
        self.certificates(&given);
        if let Some(Ok((_, port))) = last("rtspAddress").map(|given| values::address(&given.value)) {
            self.rtsp_port = port;
        }
        self.paths(last("pathDefaults"), last("paths"));
        self.host();
        let absent: Vec<_> = ABSENT
            .iter()
            .filter(|(key, _)| last(key).is_none())
            .map(|(_, name)| *name)
            .collect();
        if !absent.is_empty() {
            let what = format!(
                "not served here, and on in MediaMTX unless its file says no: {}",
                absent.join(", ")
            );
            self.note(place, "", &what);
        }
    }

    /// A key outside of paths.
    fn global(&mut self, given: &Given) {
        match keys::GLOBAL.iter().find(|key| key.name == given.name) {
            Some(key) => self.key(key, given, &[]),
            None => self.unknown(given, keys::GLOBAL),
        }
    }

    fn unknown(&mut self, given: &Given, known: &[Key]) {
        let near = suggest::nearest(&given.name, known.iter().map(|key| key.name));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let name = &given.name;
        self.note(
            given.place,
            name,
            &format!("there is no such key, in MediaMTX neither{hint}"),
        );
    }

    /// One key as the table has it. `parents` is where a key of a path belongs.
    fn key(&mut self, key: &Key, given: &Given, parents: &[&str]) {
        match &key.means {
            Means::Elsewhere => {}
            Means::Sets(ours, convert) => {
                // What MediaMTX does without being told is nobody's wish: our own default is better where it differs (parts of 200 ms).
                if given.value.is_null() || values::is_usual(&given.value, key.usual) {
                    return;
                }
                match convert(&given.value) {
                    Ok(value) => self.set(&[parents, ours].concat(), value, given.value.place),
                    Err(message) => self.problem(given.value.place, &given.name, &message),
                }
            }
            Means::Listens(ours) => self.listens(ours, given),
            Means::Nothing(why) => {
                if !values::is_usual(&given.value, key.usual) {
                    let shown = if key.secret {
                        "…".to_owned()
                    } else {
                        given.value.shown()
                    };
                    self.note(given.place, &given.name, &format!("{shown} is not honoured: {why}"));
                }
            }
        }
    }

    /// An address: our setting takes its port, and all share one host.
    fn listens(&mut self, ours: &[&str], given: &Given) {
        if given.value.is_null() || given.value.word() == Some("") {
            return;
        }
        match values::address(&given.value) {
            Ok((host, port)) => {
                self.set(ours, toml::Value::Integer(port.into()), given.value.place);
                if let Some(host) = host {
                    self.hosts.push((host, given.value.place));
                }
            }
            Err(message) => self.problem(given.value.place, &given.name, &message),
        }
    }

    fn host(&mut self) {
        let hosts = std::mem::take(&mut self.hosts);
        let Some((first, place)) = hosts.first() else { return };
        if let Some((other, place)) = hosts.iter().find(|(host, _)| host != first) {
            let why = format!("{other} is not honoured: all ports listen on one address here, and {first} comes first");
            self.note(*place, "", &why);
        }
        self.set(&["server", "host"], toml::Value::String(first.clone()), *place);
    }

    fn set(&mut self, path: &[&str], value: toml::Value, place: Place) {
        self.entries.push(Entry {
            path: path.iter().map(|&part| part.to_owned()).collect(),
            value,
            origin: self.origin(place),
        });
    }

    fn note(&mut self, place: Place, key: &str, what: &str) {
        let problem = Problem {
            origin: Some(self.origin(place)),
            key: key.to_owned(),
            message: what.to_owned(),
        };
        self.notices.push(problem.to_string());
    }

    fn problem(&mut self, place: Place, key: &str, message: &str) {
        self.problems.push(Problem {
            origin: Some(self.origin(place)),
            key: key.to_owned(),
            message: message.to_owned(),
        });
    }

    fn variable(&self, name: &str) -> Origin {
        let from = self.environment.from(name).cloned();
        Origin::Variable {
            name: name.to_owned(),
            from: from.unwrap_or(environment::From::Process),
        }
    }

    fn origin(&self, place: Place) -> Origin {
        let variable = place
            .variable()
            .and_then(|number| variables::name(self.environment, number));
        if let Some(name) = variable {
            return self.variable(name);
        }
        Origin::File {
            path: self.path.to_owned(),
            line: place.line,
            column: place.column,
        }
    }
}

/// The keys by their names of today, those in nested tables too.
fn flat(pairs: &[(Node, Node)]) -> Vec<Given> {
    let mut all = Vec::new();
    for (key, value) in pairs {
        let name = key.shown();
        match &value.value {
            Value::Map(inner) if NESTED.contains(&name.as_str()) => {
                all.extend(inner.iter().map(|(key, value)| Given {
                    name: nested(&name, &key.shown()),
                    place: key.place,
                    value: value.clone(),
                }));
            }
            _ => all.push(given(&name, key.place, value)),
        }
    }
    all
}

/// Under its name of today, and what was said by its opposite the right way round.
fn given(name: &str, place: Place, value: &Node) -> Given {
    let mut value = value.clone();
    let opposite = ["rtsp", "rtmp", "hls", "webrtc"]
        .into_iter()
        .find(|protocol| name == format!("{protocol}Disable"));
    if let (Some(_), Some(off)) = (opposite, value.truth()) {
        let text = if off { "no" } else { "yes" }.to_owned();
        value.value = Value::Word { text, plain: true };
    }
    Given {
        name: opposite.unwrap_or_else(|| keys::name_of_today(name)).to_owned(),
        place,
        value,
    }
}

/// `listen` in the table `hls` is `hlsAddress`.
fn nested(table: &str, key: &str) -> String {
    let known = |name: &str| keys::GLOBAL.iter().any(|key| key.name == name);
    let mut initial = key.chars();
    let capital = initial.next().map(|first| first.to_ascii_uppercase());
    let name = match key {
        "enabled" | "enable" => return table.to_owned(),
        "listen" => format!("{table}Address"),
        "protocols" => format!("{table}Transports"),
        "allowOrigin" => format!("{table}AllowOrigins"),
        _ if known(keys::name_of_today(key)) => keys::name_of_today(key).to_owned(),
        _ => capital.map_or_else(String::new, |capital| format!("{table}{capital}{}", initial.as_str())),
    };
    if known(&name) {
        name
    } else {
        keys::name_of_today(key).to_owned()
    }
}

#[cfg(test)]
mod tests;
