//! The settings in force, as they may be shown.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::super::keys::{self, Section};
use super::super::load::{Given, Loaded};
use super::diff::{Diff, at, shown};

/// All settings, without secrets.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Settings")]
pub struct View {
    /// The settings file; `None`: there is none yet.
    pub file: Option<String>,
    /// Section by section what holds, in the form in which changes are asked for; null where nothing is set and there is no default.
    pub settings: Json,
    /// Where each setting was given that is no default.
    pub origins: BTreeMap<String, String>,
    /// What was changed and takes effect at the next start.
    pub waiting: Diff,
    /// Why nothing can be changed here, such as that the file belongs to somebody else; null: it can.
    pub read_only: Option<String>,
}

impl View {
    pub(super) fn new(loaded: &Loaded, waiting: Diff, read_only: Option<String>) -> Self {
        let sections = keys::sections().iter();
        let settings = sections.map(|section| (section.name.to_owned(), section_of(section, loaded.values())));
        let origin = |places: &[Given]| places.last().map(|given| given.origin.to_string());
        let origins = loaded
            .given()
            .filter_map(|(key, places)| Some((key.to_owned(), origin(places)?)));
        Self {
            file: loaded.file.as_ref().map(|path| path.display().to_string()),
            settings: Json::Object(settings.collect()),
            origins: origins.collect(),
            waiting,
            read_only,
        }
    }
}

fn section_of(section: &Section, values: &toml::Table) -> Json {
    if !section.named {
        return keys_of(section, &[section.name.to_owned()], values);
    }
    let tables = values.get(section.name).and_then(toml::Value::as_table);
    let names = tables.into_iter().flat_map(toml::Table::keys);
    let tables = names.map(|name| {
        let path = [section.name.to_owned(), name.clone()];
        (name.clone(), keys_of(section, &path, values))
    });
    Json::Object(tables.collect())
}

fn keys_of(section: &Section, path: &[String], values: &toml::Table) -> Json {
    let mut keys = Map::new();
    for key in section.keys {
        let within = key.name.split('.').map(str::to_owned);
        let path: Vec<String> = path.iter().cloned().chain(within).collect();
        let value = shown(&path, at(values, &path)).unwrap_or(Json::Null);
        match key.name.split_once('.') {
            None => _ = keys.insert(key.name.to_owned(), value),
            Some((table, name)) => {
                let table = keys.entry(table).or_insert_with(|| Json::Object(Map::new()));
                if let Json::Object(table) = table {
                    table.insert(name.to_owned(), value);
                }
            }
        }
    }
    Json::Object(keys)
}
