//! The list of all keys, read from the definition.
//!
//! Belongs here: what the JSON Schema of [`Settings`] says about each key, in a form that loading, `--help` and the reference file
//! can walk. Does not belong here: a second list of anything.
//!
//! What the schema says is read by a test, which holds it against `keys.in`: reading it at each start had been two thirds of what was done before the first port was open.

use serde_json::Value as Json;

use super::settings::Settings;

/// All sections, in the order of the definition.
pub fn sections() -> &'static [Section] {
    SECTIONS
}

/// The JSON Schema (2020-12) of the settings file.
pub fn schema() -> Json {
    let generator = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    generator.into_root_schema_for::<Settings>().to_value()
}

/// A table of the file.
#[derive(Debug)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// What it is for, as one paragraph.
    pub doc: &'static str,
    /// Its keys, in the order of the definition.
    pub keys: &'static [Key],
    /// There is a table for each name, `[camera.NAME]`.
    pub named: bool,
}

impl Section {
    /// The key of that name; of a table within the section's, `record.mode`.
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Whether there is a table of that name within the section's.
    pub fn has_table(&self, name: &str) -> bool {
        let is_of = |key: &Key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        self.keys.iter().any(is_of)
    }
}

/// Whether a path is that of a table within one that has a name: `stream.door.record`.
pub fn is_inner_table(path: &[String]) -> bool {
    let [section, _, table] = path else { return false };
    let mut named = sections().iter().filter(|known| known.named);
    named.any(|known| known.name == section && known.has_table(table))
}

/// The key of a path like `rtsp.port` or `camera.*.size`.
pub fn key(path: &str) -> Option<&'static Key> {
    let (section, rest) = path.split_once('.')?;
    let section = sections().iter().find(|known| known.name == section)?;
    section.key(rest.strip_prefix("*.").unwrap_or(rest))
}

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its name within the section; with that of its table where there is one in between.
    pub name: &'static str,
    /// What it does, as one paragraph.
    pub doc: &'static str,
    /// Its value when nobody sets it, as JSON; `None` when that is "not set".
    pub default: Option<&'static str>,
    /// A value it might have, where there is no default; as JSON.
    pub example: Option<&'static str>,
    /// Which environment variable sets it; for a named section, the one of the default name.
    pub variable: &'static str,
    kinds: &'static [&'static str],
    format: Option<&'static str>,
    choices: &'static [&'static str],
    minimum: Option<f64>,
    maximum: Option<f64>,
}

impl Key {
    /// Its value when nobody sets it.
    pub fn default_value(&self) -> Option<Json> {
        serde_json::from_str(self.default?).ok()
    }

    /// Whether it is a switch without a value on the command line.
    pub fn is_flag(&self) -> bool {
        self.is("boolean") && !self.is("string")
    }

    fn is(&self, kind: &str) -> bool {
        self.kinds.contains(&kind)
    }

    /// What a value must be, for people.
    pub fn expects(&self) -> String {
        if !self.choices.is_empty() {
            let quoted: Vec<String> = self.choices.iter().map(|choice| format!("{choice:?}")).collect();
            return format!("one of {}", quoted.join(", "));
        }
        let range = match (self.minimum, self.maximum) {
            (Some(minimum), Some(maximum)) => format!(" from {minimum} to {maximum}"),
            _ => String::new(),
        };
        match self.format {
            Some(format) if self.is("string") => {
                let article = if format.starts_with(['a', 'e', 'i', 'o', 'u']) {
                    "an"
                } else {
                    "a"
                };
                format!("{article} {format}")
            }
            _ if self.is("boolean") => "true or false".to_owned(),
            _ if self.is("integer") => format!("a whole number{range}"),
            _ if self.is("number") => format!("a number{range}"),
            _ if self.is("array") => "a list such as [\"one\", \"two\"]".to_owned(),
            _ => "a text in quotes".to_owned(),
        }
    }

    /// Whether it is written as a text of a type of ours, such as a time span.
    pub fn is_word(&self) -> bool {
        self.is("string") && self.format.is_some()
    }

    /// Whether it is a URL of which the server alone is shown.
    pub fn is_webhook(&self) -> bool {
        self.format == Some(super::webhook::FORMAT)
    }

    /// Whether it says where a stream comes from.
    pub fn is_source(&self) -> bool {
        self.format == Some(super::stream_source::FORMAT)
    }

    /// Whether it must not be shown.
    pub fn is_secret(&self) -> bool {
        // What a program is given may hold passwords.
        matches!(self.format, Some("secret" | "command"))
    }

    /// Whether a number lies in the range of this key. Other values always do.
    pub fn in_range(&self, value: &toml::Value) -> bool {
        let number = match value {
            // Exact up to 2^53, far beyond any range here.
            toml::Value::Integer(number) => *number as f64,
            toml::Value::Float(number) => *number,
            _ => return true,
        };
        // Not a number lies in no range.
        self.minimum.is_none_or(|minimum| number >= minimum) && self.maximum.is_none_or(|maximum| number <= maximum)
    }

    /// Reads what stands in an environment variable or behind a flag: lists are separated by commas, switches take
    /// `1`, `true`, `yes`, `on` and their opposites. What does not fit comes back as text, for the definition to refuse.
    pub fn value_of(&self, text: &str) -> toml::Value {
        let as_text = || toml::Value::String(text.to_owned());
        if self.is("string") {
            return as_text();
        }
        if self.is("array") {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            return toml::Value::Array(items.map(|item| toml::Value::String(item.to_owned())).collect());
        }
        let trimmed = text.trim();
        if self.is("boolean") {
            return match trimmed.to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => toml::Value::Boolean(true),
                "0" | "false" | "no" | "off" => toml::Value::Boolean(false),
                _ => as_text(),
            };
        }
        let number = trimmed.parse().map(toml::Value::Integer).ok();
        let number = number.or_else(|| {
            trimmed
                .parse()
                .map(toml::Value::Float)
                .ok()
                .filter(|_| self.is("number"))
        });
        number.unwrap_or_else(as_text)
    }
}

/// A line a key. The test below says how to renew it.
static SECTIONS: &[Section] = &include!("keys.in");

#[cfg(test)]
mod tests;
