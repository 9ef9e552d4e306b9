//! The settings file: where it is looked for, and its values with the places they stand at.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::environment::Environment;
use super::keys::{Section, sections};
use super::problem::{Origin, Problem};
use super::suggest;
use super::units::Name;

/// Longest settings file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The places where a settings file is looked for when none is named, in order.
pub(super) fn search_path(environment: &Environment) -> Vec<PathBuf> {
    const IN_FOLDER: &str = "sightline/sightline.toml";
    let home = || Some(Path::new(environment.get("HOME")?).join(".config"));
    let user = environment.get("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    let user = user.map(|folder| folder.join(IN_FOLDER));
    [
        Some(PathBuf::from("sightline.toml")),
        user,
        Some(Path::new("/etc").join(IN_FOLDER)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

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
                .find(|section| section.name == *name.get_ref().as_ref())
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
            return self.problem(at, &section.name, message);
        };
        for (name, value) in tables {
            let at = name.span().start;
            let name = name.get_ref();
            if section.key(name).is_some() && !matches!(value.get_ref(), DeValue::Table(_)) {
                let message = format!("it belongs to one of them; write [{}.NAME] above it", section.name);
                self.problem(at, &format!("{}.{name}", section.name), message);
                continue;
            }
            match name.parse::<Name>() {
                Ok(_) => {
                    // A table without keys is a camera too.
                    self.entries.push(Entry {
                        path: vec![section.name.clone(), name.to_string()],
                        value: toml::Value::Table(toml::Table::new()),
                        origin: self.origin(at),
                    });
                    self.section(section, &[name], at, value);
                }
                Err(error) => self.problem(at, &format!("{}.{name}", section.name), error.to_string()),
            }
        }
    }

    fn section(&mut self, section: &Section, name: &[&str], at: usize, value: Spanned<DeValue<'_>>) {
        let parents = [&[section.name.as_str()], name].concat();
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
            if section.key(key.get_ref()).is_none() {
                self.problem(at, &path.join("."), suggest::unknown_key(Some(section), key.get_ref()));
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
