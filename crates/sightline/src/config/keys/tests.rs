//! The list against the definition, and what it says.

use std::fmt::Write as _;

use super::*;

/// To renew it: `RENEW=1 cargo test -p sightline --lib config::keys`.
#[test]
fn the_list_is_that_of_the_definition() {
    let defined = list(&schema());
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/keys.in"), &defined).unwrap();
        return;
    }
    assert_eq!(
        include_str!("../keys.in"),
        defined,
        "settings changed: RENEW=1 cargo test -p sightline --lib config::keys"
    );
}

fn list(schema: &Json) -> String {
    let mut list = String::from("[\n");
    for (name, schema) in properties(schema) {
        let named = schema.get("additionalProperties").filter(|inner| inner.is_object());
        let (is_named, doc) = (named.is_some(), text(schema, "description"));
        let _ = writeln!(
            list,
            "Section {{ name: {name:?}, named: {is_named}, doc: {doc:?}, keys: &["
        );
        for (key, schema) in properties(named.unwrap_or(schema)) {
            if !schema["properties"].is_object() {
                list.push_str(&line(name, key, schema));
            }
            for (inner, schema) in properties(schema) {
                list.push_str(&line(name, &format!("{key}.{inner}"), schema));
            }
        }
        list.push_str("] },\n");
    }
    list.push_str("]\n");
    list
}

fn line(section: &str, name: &str, schema: &Json) -> String {
    let kinds = match &schema["type"] {
        Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).collect(),
        Json::String(kind) => vec![kind.as_str()],
        // An enumeration whose variants are documented: one `const` each.
        _ => vec!["string"],
    };
    let variants = |list: &Json| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(|one| one.get("const").unwrap_or(one).as_str())
            .map(str::to_owned)
            .collect()
    };
    let choices = [&schema["oneOf"], &schema["enum"]].map(variants).concat();
    let default = schema
        .get("default")
        .filter(|value| !value.is_null())
        .map(Json::to_string);
    let example = schema["examples"].get(0).map(Json::to_string);
    let variable = format!("SIGHTLINE_{section}_{name}")
        .to_ascii_uppercase()
        .replace('.', "_");
    let (format, minimum, maximum) = (
        schema["format"].as_str(),
        schema["minimum"].as_f64(),
        schema["maximum"].as_f64(),
    );
    let doc = text(schema, "description");
    format!(
        "    Key {{ name: {name:?}, variable: {variable:?}, kinds: &{kinds:?}, format: {format:?}, choices: &{choices:?}, minimum: {minimum:?}, \
         maximum: {maximum:?}, default: {default:?}, example: {example:?}, doc: {doc:?} }},\n"
    )
}

fn properties(schema: &Json) -> impl Iterator<Item = (&String, &Json)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// A text of the schema as one line.
fn text(schema: &Json, name: &str) -> String {
    let text = schema[name].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_key_is_documented_and_typed() {
    for section in sections() {
        assert!(!section.doc.is_empty(), "{}", section.name);
        assert!(
            !section.keys.is_empty(),
            "{} has no keys: only tables of keys are understood",
            section.name
        );
        for key in section.keys {
            assert!(!key.doc.is_empty(), "{}.{}", section.name, key.name);
            assert!(!key.kinds.is_empty(), "{}.{}", section.name, key.name);
            assert!(
                !key.is("object"),
                "{}.{}: tables in tables in tables are not understood",
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
    assert_eq!(port.default_value(), Some(Json::from(8_554)));
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
