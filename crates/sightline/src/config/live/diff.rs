//! What a change of settings is, key by key, and when it takes effect.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize as _, Serialize};
use serde_json::Value as Json;

use super::super::keys::{self, Key};
use super::super::load::{Loaded, insert, key_of, masked};
use super::super::settings::Settings;

/// When a changed setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Takes {
    /// At once.
    Now,
    /// For sessions and streams that begin from then on.
    NextSession,
    /// When the program is started the next time.
    Restart,
}

impl Takes {
    /// Of a key by its path: section, name of the table where there are named ones, key.
    pub fn of(path: &[String]) -> Self {
        let (section, key) = match path {
            [section, .., key] => (section.as_str(), key.as_str()),
            _ => return Self::Restart,
        };
        match (section, key) {
            ("stream", "run_on_start" | "run_on_start_restart") => Self::Now,
            ("stream" | "server", key) if key.starts_with("run_on_") => Self::NextSession,
            ("record", "path" | "sync_interval") => Self::Restart,
            ("auth" | "user" | "stream" | "webhook" | "record" | "motion" | "proxy", _)
            | ("log", "level")
            | ("http", "hosts")
            | (
                "limits",
                "streams" | "memory" | "connections" | "http_connections" | "webrtc_sessions" | "status_clients"
                | "event_listeners" | "live_clients" | "requests",
            ) => Self::Now,
            ("limits", _)
            | ("webrtc", "additional_hosts")
            | ("hls", "part_duration" | "segment_duration" | "segment_count") => Self::NextSession,
            _ => Self::Restart,
        }
    }
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "now",
            Self::NextSession => "for what begins from now on",
            Self::Restart => "at the next start",
        })
    }
}

/// One setting that is another than before.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "SettingChange")]
pub struct Change {
    /// Which, such as `stream.door.always_available`; `stream.door` for the table itself.
    pub key: String,
    /// What it was, without secrets; `None` where nothing was set and there is no default.
    pub from: Option<Json>,
    /// What it becomes.
    pub to: Option<Json>,
    /// When.
    pub takes: Takes,
}

/// All that is another than before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "SettingChanges")]
pub struct Diff {
    /// By key.
    pub changed: Vec<Change>,
}

impl Diff {
    /// From one to the other.
    pub fn between(from: &Loaded, to: &Loaded) -> Self {
        let (from, to) = (from.values(), to.values());
        let paths: BTreeSet<Vec<String>> = paths(from).chain(paths(to)).collect();
        let changed = paths.into_iter().filter_map(|path| {
            let (before, after) = (at(from, &path), at(to, &path));
            if before == after || (!is_table(&path) && means(&path, before) == means(&path, after)) {
                return None;
            }
            Some(Change {
                key: path.join("."),
                from: shown(&path, before),
                to: shown(&path, after),
                takes: Takes::of(&path),
            })
        });
        Self {
            changed: changed.collect(),
        }
    }

    /// Whether nothing is another.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }
}

/// The paths of all values, and of all named tables.
pub(super) fn paths(values: &toml::Table) -> impl Iterator<Item = Vec<String>> {
    values.iter().flat_map(|(section, value)| {
        let named = is_named(section);
        let inner = value.as_table().into_iter().flatten();
        inner.flat_map(move |(name, value)| {
            let path = vec![section.clone(), name.clone()];
            let keys = value.as_table().filter(|_| named).into_iter().flatten();
            let keys: Vec<_> = keys
                .flat_map(|(key, value)| {
                    let path = [path.as_slice(), std::slice::from_ref(key)].concat();
                    match value.as_table().filter(|_| keys::is_inner_table(&path)) {
                        None => vec![path],
                        Some(table) => (table.keys())
                            .map(|key| [path.as_slice(), std::slice::from_ref(key)].concat())
                            .collect(),
                    }
                })
                .collect();
            std::iter::once(path).chain(keys)
        })
    })
}

fn is_named(section: &str) -> bool {
    keys::sections()
        .iter()
        .any(|known| known.name == section && known.named)
}

/// Whether the path is that of a named table.
fn is_table(path: &[String]) -> bool {
    matches!(path, [section, _] if is_named(section))
}

/// The value at a path. That of a named table is the table without its values, which have paths of their own.
pub(super) fn at<'a>(values: &'a toml::Table, path: &[String]) -> Option<&'a toml::Value> {
    static EMPTY: std::sync::LazyLock<toml::Value> =
        std::sync::LazyLock::new(|| toml::Value::Table(toml::Table::new()));
    let (first, rest) = path.split_first()?;
    let found = rest
        .iter()
        .try_fold(values.get(first)?, |value, name| value.get(name))?;
    Some(if found.is_table() { &EMPTY } else { found })
}

/// What the definition makes of one value: "1m" and "60s" are the same.
fn means(path: &[String], value: Option<&toml::Value>) -> Option<Settings> {
    let mut table = toml::Table::new();
    if let [section, name, _, ..] = path {
        insert(
            &mut table,
            &[section.clone(), name.clone()],
            toml::Value::Table(toml::Table::new()),
        );
    }
    if let Some(value) = value {
        insert(&mut table, path, value.clone());
    }
    Settings::deserialize(toml::Value::Table(table)).ok()
}

/// A value as it may be shown; that which holds where none is given.
pub(super) fn shown(path: &[String], value: Option<&toml::Value>) -> Option<Json> {
    let key = key_of(path).filter(|_| !is_table(path));
    match value {
        Some(value) => serde_json::to_value(masked(key, value)).ok(),
        None => key.and_then(|key: &Key| key.default_value()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_named_here_exist() {
        for path in [
            "log.level",
            "auth.token",
            "http.hosts",
            "limits.streams",
            "limits.memory",
            "limits.connections",
            "limits.http_connections",
            "limits.webrtc_sessions",
            "limits.status_clients",
            "webrtc.additional_hosts",
            "hls.part_duration",
            "hls.segment_duration",
            "hls.segment_count",
            "record.path",
            "record.sync_interval",
        ] {
            assert!(keys::key(path).is_some(), "{path}");
        }
    }

    #[test]
    fn everything_else_takes_effect_at_the_next_start() {
        let takes = |path: &str| Takes::of(&path.split('.').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(takes("log.level"), Takes::Now);
        assert_eq!(takes("stream.door"), Takes::Now);
        assert_eq!(takes("stream.door.always_available"), Takes::Now);
        assert_eq!(takes("webhook.alerts.url"), Takes::Now);
        assert_eq!(takes("record.mode"), Takes::Now);
        assert_eq!(takes("stream.door.record.keep"), Takes::Now);
        assert_eq!(takes("motion.enabled"), Takes::Now);
        assert_eq!(takes("stream.door.motion.mask"), Takes::Now);
        assert_eq!(takes("record.path"), Takes::Restart);
        assert_eq!(takes("limits.viewers"), Takes::NextSession);
        assert_eq!(takes("limits.http_connections"), Takes::Now);
        assert_eq!(takes("hls.port"), Takes::Restart);
        assert_eq!(takes("rtsp.port"), Takes::Restart);
        assert_eq!(takes("server.state_dir"), Takes::Restart);
    }
}
