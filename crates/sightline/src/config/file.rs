//! The settings file: where it is looked for, and its values with the places they stand at.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::keys::{Section, sections};
use super::load::{FILE_VARIABLE, Wanted};
use super::problem::{Origin, Problem};
use super::stream_key::StreamKey;
use super::suggest;
use super::units::Name;
use crate::state;

/// Longest settings file, in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// The name of a settings file wherever it is looked for.
const NAME: &str = "sightline.toml";

/// The file that is meant: the named one, else the first of the usual places that is there.
pub(super) fn find(wanted: &Wanted) -> Option<PathBuf> {
    let variable = wanted.environment.get(FILE_VARIABLE).map(PathBuf::from);
    let named = wanted.file.clone().or(variable);
    named.or_else(|| search_path(wanted).into_iter().find(|path| path.is_file()))
}

/// The places where a settings file is looked for when none is named, in order.
fn search_path(wanted: &Wanted) -> Vec<PathBuf> {
    if let Some(places) = &wanted.search_path {
        return places.clone();
    }
    let environment = &wanted.environment;
    let in_folder = Path::new("sightline").join(NAME);
    let home = || Some(Path::new(environment.get("HOME")?).join(".config"));
    let user = environment.get("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    let user = user.map(|folder| folder.join(&in_folder));
    [
        Some(PathBuf::from(NAME)),
        user,
        Some(Path::new("/etc").join(in_folder)),
        in_state_folder(wanted),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Where a file is made when a change is to be kept and there is none: the last place of those that are looked at.
pub(super) fn new_place(wanted: &Wanted) -> Option<PathBuf> {
    match &wanted.search_path {
        Some(places) => places.last().cloned(),
        None => in_state_folder(wanted),
    }
}

/// In the state folder. Flags and variables alone can say where that is, since this is asked where there is no file.
fn in_state_folder(wanted: &Wanted) -> Option<PathBuf> {
    const KEY: &str = "server.state_dir";
    let flag = wanted.flags.iter().rev().find(|flag| flag.key == KEY);
    let flag = flag.map(|flag| flag.value.as_str());
    let mut variables = STATE_VARIABLES.iter().filter_map(|name| wanted.environment.get(name));
    let named = flag.or_else(|| variables.next()).map(PathBuf::from);
    let place = state::Place::of_process(named);
    let folder = state::default_place(&place, &wanted.environment).ok()?;
    Some(folder.join(NAME))
}

/// The variables that name the state folder, the first that is set counts.
const STATE_VARIABLES: [&str; 2] = ["SIGHTLINE_SERVER_STATE_DIR", "SIGHTLINE_STATE_DIR"];

/// Reads a file as text.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let length = std::fs::metadata(path)?.len();
    if length > MAX_BYTES {
        let message = format!("it is {length} bytes long, more than {MAX_BYTES}");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    std::fs::read_to_string(path)
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Entry {
    /// Section, name of the table where the section has named ones, key.
    pub(super) path: Vec<String>,
    pub(super) value: toml::Value,
    pub(super) origin: Origin,
}

/// All values of a file; what is no known key goes to the problems.
pub(super) fn entries(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut walk = Walk {
        path,
        text,
        problems,
        entries: Vec::new(),
    };
    match DeTable::parse(text) {
        Ok(table) => walk.file(table.into_inner()),
        Err(error) => {
            let origin = Some(walk.origin(error.span().map_or(0, |span| span.start)));
            let message = error.message().replace('\n', ", ");
            let key = String::new();
            walk.problems.push(Problem { origin, key, message });
        }
    }
    walk.entries
}

/// Whether a table may be called that. Streams may be meant by an expression.
fn check_name(section: &Section, name: &str) -> Result<(), String> {
    match section.name {
        "stream" => name.parse::<StreamKey>().map(drop).map_err(|error| error.to_string()),
        _ => name.parse::<Name>().map(drop).map_err(|error| error.to_string()),
    }
}

struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    problems: &'a mut Vec<Problem>,
    entries: Vec<Entry>,
}

impl Walk<'_> {
    fn file(&mut self, table: DeTable<'_>) {
        for (name, value) in table {
            let at = name.span().start;
            match sections()
                .iter()
                .find(|section| *section.name == *name.get_ref().as_ref())
            {
                None => {
                    let message = suggest::unknown_key(None, name.get_ref());
                    self.problem(at, name.get_ref(), message);
                }
                Some(section) if section.named => self.named(section, at, value),
                Some(section) => self.section(section, &[], at, value),
            }
        }
    }

    fn named(&mut self, section: &Section, at: usize, value: Spanned<DeValue<'_>>) {
        let DeValue::Table(tables) = value.into_inner() else {
            let message = format!("this is a section; write [{}.NAME]", section.name);
            return self.problem(at, section.name, message);
        };
        for (name, value) in tables {
            let at = name.span().start;
            let name = name.get_ref();
            if section.key(name).is_some() && !matches!(value.get_ref(), DeValue::Table(_)) {
                let message = format!("it belongs to one of them; write [{}.NAME] above it", section.name);
                self.problem(at, &format!("{}.{name}", section.name), message);
                continue;
            }
            match check_name(section, name) {
                Ok(()) => {
                    // A table without keys is a camera too.
                    self.entries.push(Entry {
                        path: vec![section.name.to_owned(), name.to_string()],
                        value: toml::Value::Table(toml::Table::new()),
                        origin: self.origin(at),
                    });
                    self.section(section, &[name], at, value);
                }
                Err(why) => self.problem(at, &format!("{}.{name}", section.name), why),
            }
        }
    }

    fn section(&mut self, section: &Section, name: &[&str], at: usize, value: Spanned<DeValue<'_>>) {
        let parents = [&[section.name], name].concat();
        let DeValue::Table(keys) = value.into_inner() else {
            let path = parents.join(".");
            return self.problem(at, &path, format!("this is a section; write [{path}]"));
        };
        for (key, value) in keys {
            let at = key.span().start;
            let path: Vec<String> = parents
                .iter()
                .copied()
                .chain([key.get_ref().as_ref()])
                .map(str::to_owned)
                .collect();
            // In a table within the section's.
            let inner = parents.get(if section.named { 2.. } else { 1.. }).unwrap_or_default();
            let within = [inner, &[key.get_ref().as_ref()]].concat().join(".");
            if section.has_table(&within) {
                let name = [name, &[key.get_ref().as_ref()]].concat();
                self.section(section, &name, at, value);
                continue;
            }
            if section.key(&within).is_none() {
                self.problem(at, &path.join("."), suggest::unknown_key(Some(section), &within));
                continue;
            }
            let value_at = value.span().start;
            match toml::Value::deserialize(ValueDeserializer::from(value)) {
                Ok(value) => {
                    let origin = self.origin(value_at);
                    self.entries.push(Entry { path, value, origin });
                }
                Err(error) => self.problem(value_at, &path.join("."), error.message().to_owned()),
            }
        }
    }

    fn problem(&mut self, at: usize, key: &str, message: String) {
        self.problems.push(Problem {
            origin: Some(self.origin(at)),
            key: key.to_owned(),
            message,
        });
    }

    /// Line and column of a byte offset.
    fn origin(&self, at: usize) -> Origin {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline.saturating_add(1));
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        Origin::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count().saturating_add(1),
            column: column.saturating_add(1),
        }
    }
}
