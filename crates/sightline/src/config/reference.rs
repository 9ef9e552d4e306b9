//! What is generated from the definition: the commented file and the JSON Schema.

use std::fmt::Write as _;

use super::keys::{Key, Section, schema, sections};

/// Longest line of the commented file.
const WIDTH: usize = 100;

/// A settings file that explains itself: every key with its documentation, default and variable. All values are commented out, so it
/// changes nothing as it is.
pub fn commented_file() -> String {
    let mut file = String::from(
        "# Settings of Sightline.
#
# Every line that sets something is commented out and shows the default: remove the # and change it. Later wins: defaults,
# this file, environment variables (a .env file in the working directory too), flags. Where it is looked for: --config FILE,
# SIGHTLINE_CONFIG, ./sightline.toml, $XDG_CONFIG_HOME/sightline/sightline.toml (~/.config/…), /etc/sightline/sightline.toml,
# sightline.toml in the state folder.
# `sightline config check` says what is wrong with it and what it changes.
",
    );
    for section in sections() {
        write_section(&mut file, section);
    }
    file.truncate(file.trim_end().len());
    file.push('\n');
    file
}

/// The JSON Schema, for editors.
pub fn json_schema() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}

fn write_section(file: &mut String, section: &Section) {
    if !file.ends_with("\n\n") {
        file.push('\n');
    }
    write_comment(file, section.doc);
    let name = if section.named { ".zerolatency" } else { "" };
    // A table that is not there and an empty one are the same, except for cameras: an empty table is a camera.
    let comment = if section.named { "#" } else { "" };
    let _ = writeln!(file, "{comment}[{}{name}]", section.name);
    for key in section.keys {
        write_key(file, key);
    }
}

fn write_key(file: &mut String, key: &Key) {
    write_comment(file, key.doc);
    let _ = writeln!(file, "# {} · {}", sentence(&key.expects()), key.variable);
    // JSON's text of strings, numbers, booleans and lists of them is TOML too.
    match (&key.default, &key.example) {
        (Some(default), _) => _ = writeln!(file, "#{} = {default}", key.name),
        (None, Some(example)) => _ = writeln!(file, "# Not set. For example:\n#{} = {example}", key.name),
        (None, None) => _ = writeln!(file, "# Not set."),
    }
    file.push('\n');
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

fn write_comment(file: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(file, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(file, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    /// The file with every value in force.
    fn uncommented() -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
            _ => line.to_owned(),
        };
        commented_file().lines().map(line).collect::<Vec<_>>().join("\n")
    }

    /// `docs/reference/` shows what the program prints. To renew it: `sightline config init > docs/reference/sightline.toml` and
    /// `sightline config schema > docs/reference/sightline.schema.json`.
    #[test]
    fn the_committed_reference_is_what_the_program_prints() {
        let committed = include_str!("../../../../docs/reference/sightline.toml");
        assert_eq!(committed, commented_file());
        let committed = include_str!("../../../../docs/reference/sightline.schema.json");
        assert_eq!(committed, json_schema());
    }

    #[test]
    fn the_file_as_it_is_changes_nothing() {
        let settings: Settings = toml::from_str(&commented_file()).unwrap();
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn every_value_in_the_file_is_the_default() {
        let text = uncommented();
        let settings: Settings = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let shown = serde_json::to_value(&settings).unwrap();
        for section in sections() {
            let table = if section.named {
                &shown[section.name]["zerolatency"]
            } else {
                &shown[section.name]
            };
            for key in section.keys {
                if let Some(default) = &key.default_value() {
                    let pointer = format!("/{}", key.name.replace('.', "/"));
                    let value = table.pointer(&pointer);
                    assert_eq!(value, Some(default), "{}.{}", section.name, key.name);
                } else {
                    assert!(key.example.is_some(), "{}.{} needs an example", section.name, key.name);
                }
            }
        }
    }

    #[test]
    fn lines_are_short() {
        for line in commented_file().lines() {
            assert!(line.chars().count() <= 130, "{line}");
        }
    }
}
