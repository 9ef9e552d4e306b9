//! From file, environment and flags to [`Settings`].
//!
//! Every value is checked by itself, so that all that is wrong is said at once and each with the place it stands at. Nothing is read
//! from the process here except files: the environment is an argument.

mod certificate;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use media::StreamName;
use serde::Deserialize;

use super::environment::Environment;
use super::file::{self, Entry};
use super::keys::{self, Key};
use super::mediamtx;
use super::problem::{Invalid, Origin, Problem};
use super::settings::{Camera, Settings};
use super::stream_key::StreamKey;
use super::stream_source::{EXEC, StreamSource, is_command, wrong_places};
use super::suggest;
use super::units::{Name, Source};
use super::webhook::{self, HookUrl};
use super::{account, destination, elsewhere, motion, record, upload};
use crate::secret::{REDACTED, redacted_url};

/// What settings are made from.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The file named on the command line.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
    /// Settings given as flags.
    pub flags: Vec<Flag>,
    /// Which camera flags and variables mean that name none. `None`: the only one in the file, else `zerolatency`.
    pub camera: Option<StreamName>,
    /// Where a file is looked for when none is named; `None`: the usual places.
    pub search_path: Option<Vec<PathBuf>>,
}

/// A setting given on the command line.
#[derive(Clone, PartialEq, Eq)]
pub struct Flag {
    /// As typed, `--rtsp-port`.
    pub flag: &'static str,
    /// Which setting, `rtsp.port`; `camera.*.size` is the one of the camera meant.
    pub key: &'static str,
    /// The text behind it.
    pub value: String,
}

impl fmt::Debug for Flag {
    // Values may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.flag, self.key)
    }
}

/// Settings and how they came about.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file they were read from.
    pub file: Option<PathBuf>,
    /// Which camera flags and variables mean that name none.
    pub camera: Option<StreamName>,
    /// What is odd but no reason to stop.
    pub notices: Vec<String>,
    given: Places,
    raw: Raw,
}

/// What [`Loaded`] was made from, with secrets as they are.
#[derive(Clone, Default)]
struct Raw {
    wanted: Wanted,
    text: String,
    values: toml::Table,
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raw")
    }
}

/// Each setting that was given, with all places that gave it; the last of them holds.
type Places = BTreeMap<String, Vec<Given>>;

/// One place that gives a setting.
#[derive(Clone, Debug)]
pub struct Given {
    /// Which.
    pub origin: Origin,
    /// The value as it may be shown, without secrets; `None` for a table, which has none of its own.
    pub shown: Option<String>,
}

impl Loaded {
    /// Where a setting was given; `None` for a default.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        origin(&self.given, key)
    }

    /// Every setting that was given, with its places; the last of them holds.
    pub fn given(&self) -> impl Iterator<Item = (&str, &[Given])> {
        self.given.iter().map(|(key, places)| (key.as_str(), places.as_slice()))
    }

    /// What it was made from, but for the file.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.raw.wanted
    }

    /// The text of the file; empty without one.
    pub(super) fn text(&self) -> &str {
        &self.raw.text
    }

    /// All values that were given, as they were, secrets too.
    pub(super) fn values(&self) -> &toml::Table {
        &self.raw.values
    }

    /// The same as a settings file of ours, passwords included. What is odd stands above it.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for notice in &self.notices {
            text.push_str(&format!("# {notice}\n"));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        // Tables of values that were read from text are written as text.
        text + &toml::to_string(&self.raw.values).unwrap_or_default()
    }

    /// The camera that flags and variables without a name mean.
    pub fn camera_name(&self) -> StreamName {
        self.camera.clone().unwrap_or_else(StreamName::default_stream)
    }

    /// Its settings; defaults when it has no table.
    pub fn camera(&self) -> Camera {
        let named = self.settings.camera.get(&Name(self.camera_name()));
        named.cloned().unwrap_or_default()
    }
}

/// Short names of some variables, and the setting each stands for.
const ALIASES: [(&str, &str); 5] = [
    ("SIGHTLINE_OPEN", "auth.open"),
    ("SIGHTLINE_TOKEN", "auth.token"),
    ("SIGHTLINE_SOURCE", "camera.*.source"),
    ("SIGHTLINE_STATE_DIR", "server.state_dir"),
    ("SIGHTLINE_LOG", "log.format"),
];
/// The variable that names the settings file, as `--config` does.
pub const FILE_VARIABLE: &str = "SIGHTLINE_CONFIG";
/// What all our variables start with.
const PREFIX: &str = "SIGHTLINE_";

/// Finds, checks and merges.
///
/// # Errors
/// [`Invalid`] with everything that is wrong.
pub fn load(wanted: &Wanted) -> Result<Loaded, Invalid> {
    let mut merge = Merge::default();
    let path = file::find(wanted);
    let text = path.as_ref().and_then(|path| match file::read(path) {
        Ok(text) => Some(text),
        Err(error) => {
            merge.problems.push(unreadable(path, &error));
            None
        }
    });
    merge.all(wanted, path.zip(text))
}

/// The same with this file and text.
///
/// # Errors
/// [`Invalid`] with everything that is wrong.
pub(super) fn load_text(wanted: &Wanted, path: &Path, text: &str) -> Result<Loaded, Invalid> {
    Merge::default().all(wanted, Some((path.to_owned(), text.to_owned())))
}

#[derive(Default)]
struct Merge {
    table: toml::Table,
    given: Places,
    problems: Vec<Problem>,
}

impl Merge {
    fn all(mut self, wanted: &Wanted, file: Option<(PathBuf, String)>) -> Result<Loaded, Invalid> {
        let mut notices = wanted.environment.notices().to_vec();
        if let Some((path, text)) = &file {
            self.file(path, text, &wanted.environment, &mut notices);
        }
        let camera = wanted.camera.clone().unwrap_or_else(|| self.only_camera());
        self.environment(&wanted.environment, &camera, &mut notices);
        for flag in &wanted.flags {
            let key = keys::key(flag.key);
            self.word(flag.key, key, &camera, &flag.value, Origin::Flag(flag.flag));
        }
        let settings = Settings::deserialize(toml::Value::Table(self.table.clone()));
        let mut problems = self.problems;
        let settings = settings.unwrap_or_else(|error| {
            // Each value was checked by itself; this is for what only the whole can show.
            if problems.is_empty() {
                problems.push(problem(None, "", error.message()));
            }
            Settings::default()
        });
        check_together(&settings, &self.given, &mut problems);
        if !problems.is_empty() {
            return Err(Invalid { problems, notices });
        }
        let (file, text) = file.unzip();
        Ok(Loaded {
            settings,
            file,
            camera: Some(camera),
            notices,
            given: self.given,
            raw: Raw {
                wanted: wanted.clone(),
                text: text.unwrap_or_default(),
                values: self.table,
            },
        })
    }

    fn file(&mut self, path: &Path, text: &str, environment: &Environment, notices: &mut Vec<String>) {
        let entries = if mediamtx::is_its(path) {
            mediamtx::entries(path, text, environment, &mut self.problems, notices)
        } else {
            file::entries(path, text, &mut self.problems)
        };
        for entry in entries {
            self.set(entry);
        }
        self.problems.sort_by_key(|problem| match problem.origin {
            Some(Origin::File { line, column, .. }) => (line, column),
            _ => (0, 0),
        });
    }

    /// The camera of the file if there is exactly one, else the default stream.
    fn only_camera(&self) -> StreamName {
        let cameras = self.table.get("camera").and_then(toml::Value::as_table);
        let mut names = cameras.into_iter().flat_map(toml::Table::keys);
        match (names.next().and_then(|name| name.parse().ok()), names.next()) {
            (Some(name), None) => name,
            _ => StreamName::default_stream(),
        }
    }

    fn environment(&mut self, environment: &Environment, camera: &StreamName, notices: &mut Vec<String>) {
        for (name, value) in environment.starting_with(PREFIX) {
            let from = environment
                .from(name)
                .cloned()
                .unwrap_or(super::environment::From::Process);
            let origin = |from| Origin::Variable {
                name: name.to_owned(),
                from,
            };
            let overruled = environment.overruled(name);
            let overruled = overruled.map(|(value, from)| (value, origin(from.clone())));
            let origin = origin(from);
            let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, path)| *path);
            if let Some(path) = alias {
                // The full name of the same setting wins over its short one.
                let key = keys::key(path);
                if key.is_none_or(|key| environment.get(key.variable).is_none()) {
                    self.overruled(path, key, camera, overruled);
                    self.word(path, key, camera, value, origin);
                }
            } else if let Some((path, key)) = self.variable(name, camera) {
                self.overruled(&path, Some(key), camera, overruled);
                self.word(&path, Some(key), camera, value, origin);
            } else if name != FILE_VARIABLE {
                // Not an error: variables are inherited, and the next version may know it.
                let hint = suggest::unknown_variable(name).map(|near| format!("; did you mean {near}?"));
                notices.push(format!("{origin} sets nothing here{}", hint.unwrap_or_default()));
            }
        }
    }

    /// The setting a variable means: `SIGHTLINE_RTSP_PORT`, `SIGHTLINE_CAMERA_SIZE`, `SIGHTLINE_CAMERA_FRONT_DOOR_SIZE`.
    fn variable(&self, name: &str, camera: &StreamName) -> Option<(String, &'static Key)> {
        for section in keys::sections() {
            let prefix = format!("{PREFIX}{}_", section.name.to_ascii_uppercase());
            let Some(rest) = name.strip_prefix(&prefix) else {
                continue;
            };
            let is = |key: &&Key, rest: &str| key.name.replace('.', "_").eq_ignore_ascii_case(rest);
            let exact = section.keys.iter().find(|key| is(key, rest));
            if let Some(key) = exact {
                let camera = if section.named {
                    format!("{camera}.")
                } else {
                    String::new()
                };
                return Some((format!("{}.{camera}{}", section.name, key.name), key));
            }
            let split = |key: &&Key| {
                let suffix = format!("_{}", key.name.to_ascii_uppercase().replace('.', "_"));
                rest.strip_suffix(&suffix).filter(|name| !name.is_empty())
            };
            if section.named
                && let Some((key, name)) = section.keys.iter().find_map(|key| Some((key, split(&key)?)))
            {
                return Some((
                    format!("{}.{}.{}", section.name, self.table_name(section.name, name), key.name),
                    key,
                ));
            }
        }
        None
    }

    /// The table whose name is spelt so in a variable: one of the file, else the name in lower case.
    fn table_name(&self, section: &str, spelt: &str) -> String {
        let tables = self.table.get(section).and_then(toml::Value::as_table);
        let spell = |name: &str| {
            name.to_ascii_uppercase()
                .replace(|c: char| !c.is_ascii_alphanumeric(), "_")
        };
        let mut names = tables.into_iter().flat_map(toml::Table::keys);
        let known = names.find(|name| spell(name) == spelt);
        known.cloned().unwrap_or_else(|| spelt.to_ascii_lowercase())
    }

    /// A value given as text.
    fn word(&mut self, path: &str, key: Option<&Key>, camera: &StreamName, text: &str, origin: Origin) {
        let Some(key) = key else {
            return self
                .problems
                .push(problem(Some(origin), path, "there is no such setting"));
        };
        let path = full_path(path, key, camera);
        let value = key.value_of(text);
        self.set(Entry { path, value, origin });
    }

    /// Remembers a value that another of the same name wins over. It counts for nothing, so it may be wrong.
    fn overruled(&mut self, path: &str, key: Option<&Key>, camera: &StreamName, given: Option<(&str, Origin)>) {
        if let (Some(key), Some((text, origin))) = (key, given) {
            let shown = shown(Some(key), &key.value_of(text));
            let places = self.given.entry(full_path(path, key, camera).join("."));
            places.or_default().push(Given { origin, shown });
        }
    }

    /// Checks one value by itself and puts it over what was there.
    fn set(&mut self, entry: Entry) {
        let Entry { path, value, origin } = entry;
        let dotted = path.join(".");
        if let Err(message) = check(&path, &value) {
            return self.problems.push(problem(Some(origin), &dotted, &message));
        }
        let shown = shown(key_of(&path), &value);
        insert(&mut self.table, &path, value);
        self.given.entry(dotted).or_default().push(Given { origin, shown });
    }
}

/// The path of a key in words; `*` stands for the camera meant.
fn full_path(path: &str, key: &Key, camera: &StreamName) -> Vec<String> {
    let (section, rest) = path.split_once('.').unwrap_or((path, ""));
    // The name between section and key may hold dots.
    let name = rest.strip_suffix(&key.name).map(|name| name.trim_end_matches('.'));
    let name = name.filter(|name| !name.is_empty());
    let name = name.map(|name| if name == "*" { camera.as_str() } else { name });
    let path = [Some(section), name].into_iter().flatten().chain(key.name.split('.'));
    path.map(str::to_owned).collect()
}

/// The key of a path that may have a name in its middle, and a table in a table.
pub(super) fn key_of(path: &[String]) -> Option<&'static Key> {
    let (section, rest) = path.split_first()?;
    let section = keys::sections().iter().find(|known| known.name == section)?;
    let key = if section.named { rest.get(1..)? } else { rest };
    section.key(&key.join("."))
}

fn origin<'a>(given: &'a Places, key: &str) -> Option<&'a Origin> {
    given.get(key)?.last().map(|given| &given.origin)
}

/// A value for people; `None` for a table, which has none of its own.
fn shown(key: Option<&Key>, value: &toml::Value) -> Option<String> {
    match masked(key, value) {
        toml::Value::Table(_) => None,
        _ if key.is_some_and(Key::is_secret) => Some(REDACTED.to_owned()),
        masked => Some(masked.to_string()),
    }
}

/// A value without what must not be shown. What stands in a URL, a command's too, may be a password.
pub(super) fn masked(key: Option<&Key>, value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::Table(_) => value.clone(),
        _ if key.is_some_and(Key::is_secret) => toml::Value::String(REDACTED.to_owned()),
        // Of a stream's command the program alone; what cannot be read is refused elsewhere.
        toml::Value::String(text) if key.is_some_and(Key::is_source) && is_command(text) => {
            let source: Option<StreamSource> = text.parse().ok();
            toml::Value::String(source.map_or_else(|| EXEC.to_owned(), |source| source.to_string()))
        }
        toml::Value::String(text) if key.is_some_and(Key::is_webhook) => {
            let url: Option<HookUrl> = text.parse().ok();
            toml::Value::String(url.map_or_else(|| REDACTED.to_owned(), |url| url.to_string()))
        }
        toml::Value::String(text) if text.contains("//") => toml::Value::String(redacted_url(text)),
        toml::Value::Array(items) => toml::Value::Array(items.iter().map(|item| masked(key, item)).collect()),
        _ => value.clone(),
    }
}

/// Whether the definition takes this value at this path.
fn check(path: &[String], value: &toml::Value) -> Result<(), String> {
    let key = key_of(path);
    let mut table = toml::Table::new();
    insert(&mut table, path, value.clone());
    let secret = key.is_some_and(Key::is_secret);
    match Settings::deserialize(toml::Value::Table(table)) {
        Err(error) => Err(explain(key, value, error.message(), secret)),
        Ok(_) => match key {
            Some(key) if !key.in_range(value) => Err(format!("{value} is not {}", key.expects())),
            _ => Ok(()),
        },
    }
}

/// What is wrong with a value, in words. The definition's own types explain themselves; what serde says of plain ones is put into ours.
fn explain(key: Option<&Key>, value: &toml::Value, message: &str, secret: bool) -> String {
    let first_line = message.lines().next().unwrap_or_default();
    let by_serde = ["invalid type", "invalid value", "unknown variant"];
    match key {
        Some(key) if by_serde.iter().any(|start| first_line.starts_with(start)) => {
            let found = match value {
                _ if secret => value.type_str().to_owned(),
                toml::Value::Table(_) => "a table".to_owned(),
                toml::Value::Array(_) => "a list".to_owned(),
                other => other.to_string(),
            };
            // Our own types say more, with an example.
            let own = first_line.split_once(", expected ").filter(|_| key.is_word());
            let expects = own.map_or_else(|| key.expects(), |(_, expects)| expects.to_owned());
            format!("expected {expects}, found {found}")
        }
        _ => first_line.to_owned(),
    }
}

pub(super) fn insert(table: &mut toml::Table, path: &[String], value: toml::Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [section, rest @ ..] => {
            let inner = table
                .entry(section.clone())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// A key and what is wrong with it.
pub(super) type Wrong = (String, String);

/// What only several settings together can get wrong.
fn check_together(settings: &Settings, given: &Places, problems: &mut Vec<Problem>) {
    let rtsp = &settings.rtsp;
    if rtsp.udp && rtsp.rtp_port == rtsp.rtcp_port && rtsp.rtp_port != 0 {
        let origin = origin(given, "rtsp.rtcp_port").or_else(|| origin(given, "rtsp.rtp_port"));
        let message = format!(
            "{} is rtsp.rtp_port already; RTP and RTCP need a port each",
            rtsp.rtcp_port
        );
        problems.push(problem(origin.cloned(), "rtsp.rtcp_port", &message));
    }
    certificate::check(settings, given, problems);
    check_streams(settings, given, problems);
    let wrong = [
        webhook::wrong(settings),
        account::wrong(settings),
        elsewhere::wrong(settings),
        record::wrong(settings),
        motion::wrong(settings),
        upload::wrong(settings),
    ];
    for (key, message) in wrong.into_iter().flatten() {
        problems.push(problem(origin(given, &key).cloned(), &key, &message));
    }
    for (name, camera) in &settings.camera {
        let source = match &camera.source {
            Source::Auto => None,
            Source::Word(word) => Some(word),
        };
        let (lines, stamp) = camera.drawn(source);
        if lines && stamp && camera.overlay_corner == camera.stamp_corner {
            let key = |key: &str| format!("camera.{}.{key}", name.0);
            let corners = [key("overlay_corner"), key("stamp_corner")];
            let first = corners.iter().find(|key| origin(given, key).is_some());
            let key = first.unwrap_or(&corners[0]);
            let message =
                "overlay and stamp cover each other in one corner; choose another for one of them, or turn one off";
            problems.push(problem(origin(given, key).cloned(), key, message));
        }
    }
}

/// What the tables of streams can get wrong.
fn check_streams(settings: &Settings, given: &Places, problems: &mut Vec<Problem>) {
    for (name, stream) in &settings.stream {
        let mut wrong = |key: &str, message: String| {
            let key = format!("stream.{name}.{key}");
            problems.push(problem(origin(given, &key).cloned(), &key, &message));
        };
        let groups = match name {
            StreamKey::Name(_) => None,
            StreamKey::Expression(expression) => Some(expression.groups()),
        };
        for (key, message) in wrong_places(stream, groups) {
            wrong(key, message);
        }
        for message in destination::wrong(&stream.forward, name, settings) {
            wrong("forward", message);
        }
        match name {
            StreamKey::Name(name) => {
                if stream.source.is_some() && settings.camera.contains_key(&Name(name.clone())) {
                    let message = "a camera of this machine has that name already; give one of them another";
                    wrong("source", message.to_owned());
                }
            }
            StreamKey::Expression(_) => {
                if stream.run_on_start.is_some() {
                    let message = "an expression does not say which streams there are; give those tables of their own";
                    wrong("run_on_start", message.to_owned());
                }
                if stream.always_available {
                    let message = "an expression does not say which streams there are; give those tables of their own";
                    wrong("always_available", message.to_owned());
                }
            }
        }
        if stream.source.is_some() && stream.redirect.is_some() {
            let message =
                "a stream is either fetched (source) or asked for elsewhere (redirect); leave one of them out";
            wrong("redirect", message.to_owned());
        }
        if stream.on_demand && stream.source.is_none() {
            wrong("on_demand", "there is no source to be started; add one".to_owned());
        }
    }
}

pub(super) fn problem(origin: Option<Origin>, key: &str, message: &str) -> Problem {
    Problem {
        origin,
        key: key.to_owned(),
        message: message.to_owned(),
    }
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let message = match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file; `sightline config init FILE` writes one".to_owned(),
        std::io::ErrorKind::IsADirectory => "this is a folder; name the settings file in it".to_owned(),
        std::io::ErrorKind::PermissionDenied => {
            "this user may not read the settings file; make it readable (chmod, chown), or name another".to_owned()
        }
        std::io::ErrorKind::InvalidData => {
            "the settings file is not text in UTF-8; save it as such, or begin anew with `sightline config init FILE`"
                .to_owned()
        }
        _ => format!("the settings file cannot be read: {error}; mend that, or name another"),
    };
    problem(None, &path.display().to_string(), &message)
}

#[cfg(test)]
mod tests;
