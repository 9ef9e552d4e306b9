//! The list of all keys, read from the definition.
//!
//! Belongs here: what the JSON Schema of [`Settings`] says about each key, in a form that loading, `--help` and the reference file
//! can walk. Does not belong here: a second list of anything.

use std::sync::OnceLock;

use serde_json::Value as Json;

use super::settings::Settings;

/// All sections, in the order of the definition.
pub fn sections() -> &'static [Section] {
    static SECTIONS: OnceLock<Vec<Section>> = OnceLock::new();
    SECTIONS.get_or_init(|| {
        let schema = schema();
        let sections = properties(&schema);
        sections.map(|(name, schema)| Section::read(name, schema)).collect()
    })
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
    pub name: String,
    /// What it is for, as one paragraph.
    pub doc: String,
    /// Its keys, in the order of the definition.
    pub keys: Vec<Key>,
    /// There is a table for each name, `[camera.NAME]`.
    pub named: bool,
}

impl Section {
    fn read(name: &str, schema: &Json) -> Self {
        let named = schema.get("additionalProperties").filter(|inner| inner.is_object());
        let keys = properties(named.unwrap_or(schema));
        Self {
            name: name.to_owned(),
            doc: text(schema, "description"),
            keys: keys.map(|(key, schema)| Key::read(name, key, schema)).collect(),
            named: named.is_some(),
        }
    }

    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }
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
    /// Its name within the section.
    pub name: String,
    /// What it does, as one paragraph.
    pub doc: String,
    /// Its value when nobody sets it; `None` when that is "not set".
    pub default: Option<Json>,
    /// A value it might have, where there is no default.
    pub example: Option<Json>,
    /// Which environment variable sets it; for a named section, the one of the default name.
    pub variable: String,
    kinds: Vec<String>,
    format: Option<String>,
    choices: Vec<String>,
    minimum: Option<f64>,
    maximum: Option<f64>,
}

impl Key {
    fn read(section: &str, name: &str, schema: &Json) -> Self {
        let kinds = match &schema["type"] {
            Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
            Json::String(kind) => vec![kind.clone()],
            // An enumeration whose variants are documented: one `const` each.
            _ => vec!["string".to_owned()],
        };
        let variants = |list: &Json| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.filter_map(|one| one.get("const").unwrap_or(one).as_str())
                .map(str::to_owned)
                .collect()
        };
        let choices = [&schema["oneOf"], &schema["enum"]].map(variants).concat();
        Self {
            name: name.to_owned(),
            doc: text(schema, "description"),
            default: schema.get("default").filter(|value| !value.is_null()).cloned(),
            example: schema["examples"].get(0).cloned(),
            variable: format!("SIGHTLINE_{section}_{name}").to_ascii_uppercase(),
            kinds,
            format: schema["format"].as_str().map(str::to_owned),
            choices,
            minimum: schema["minimum"].as_f64(),
            maximum: schema["maximum"].as_f64(),
        }
    }

    /// Whether it is a switch without a value on the command line.
    pub fn is_flag(&self) -> bool {
        self.is("boolean") && !self.is("string")
    }

    fn is(&self, kind: &str) -> bool {
        self.kinds.iter().any(|known| known == kind)
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
        match &self.format {
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

    /// Whether its value must not be shown.
    pub fn is_secret(&self) -> bool {
        self.format.as_deref() == Some("secret")
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

fn properties(schema: &Json) -> impl Iterator<Item = (&String, &Json)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// A text of the schema as one line.
fn text(schema: &Json, name: &str) -> String {
    let text = schema[name].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented_and_typed() {
        for section in sections() {
            assert!(!section.doc.is_empty(), "{}", section.name);
            assert!(
                !section.keys.is_empty(),
                "{} has no keys: only tables of keys are understood",
                section.name
            );
            for key in &section.keys {
                assert!(!key.doc.is_empty(), "{}.{}", section.name, key.name);
                assert!(!key.kinds.is_empty(), "{}.{}", section.name, key.name);
                assert!(
                    !key.is("object"),
                    "{}.{}: tables in tables are not understood",
                    section.name,
                    key.name
                );
            }
        }
    }

    #[test]
    fn reads_the_definition() {
        let port = key("rtsp.port").unwrap();
        assert_eq!(port.variable, "SIGHTLINE_RTSP_PORT");
        assert_eq!(port.default, Some(Json::from(8_554)));
        assert_eq!(port.expects(), "a whole number from 0 to 65535");
        assert!(port.in_range(&toml::Value::Integer(0)));
        assert!(!port.in_range(&toml::Value::Integer(65_536)));
        assert_eq!(key("log.format").unwrap().expects(), "one of \"human\", \"json\"");
        assert_eq!(key("camera.*.bitrate").unwrap().expects(), "a bitrate");
        assert_eq!(key("server.host").unwrap().expects(), "an address");
        assert_eq!(key("limits.memory").unwrap().expects(), "an amount of bytes");
        assert_eq!(key("camera.*.exposure").unwrap().default, None);
        assert_eq!(key("auth.open").unwrap().expects(), "true or false");
        assert!(key("rtsp.prot").is_none());
    }

    #[test]
    fn reads_words_by_the_type_of_the_key() {
        let value = |path: &str, text: &str| key(path).unwrap().value_of(text);
        assert_eq!(value("rtsp.port", "8554"), toml::Value::Integer(8_554));
        assert_eq!(value("rtsp.port", "x"), toml::Value::String("x".to_owned()));
        assert_eq!(value("auth.open", "1"), toml::Value::Boolean(true));
        assert_eq!(value("auth.open", "No"), toml::Value::Boolean(false));
        assert_eq!(value("auth.token", "1"), toml::Value::String("1".to_owned()));
        assert_eq!(value("receive.seconds", "2.5"), toml::Value::Float(2.5));
        let networks = value("auth.trusted_networks", "10.0.0.0/8, fd00::/8,");
        assert_eq!(networks, toml::Value::from(vec!["10.0.0.0/8", "fd00::/8"]));
    }
}
