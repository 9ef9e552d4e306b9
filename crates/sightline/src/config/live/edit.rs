//! Changing the text of a settings file so that everything else in it stays as it is.
//!
//! Belongs here: where in the text a value stands or goes. Does not belong here: whether it is right ([`super::super::load`]), which is asked of the
//! whole text afterwards.

use std::ops::Range;

use toml_edit::{Array, Document, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::super::keys;

/// What is to change. Values may be passwords: they are shown in tests alone.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub enum Edit {
    /// All of it: this is the text from now on, with secrets as they were shown.
    File {
        /// The text.
        text: String,
        /// Of the text that was shown.
        version: String,
    },
    /// These, one after the other; all or nothing.
    Steps(Vec<Step>),
}

/// One thing that is to change. A path is section, name of the table where the section has named ones, key.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub enum Step {
    /// A value.
    Set {
        /// Which key.
        path: Vec<String>,
        /// To what.
        value: toml::Value,
    },
    /// A key goes back to its default, or a named table goes.
    Remove {
        /// Which.
        path: Vec<String>,
    },
    /// A named table is there, whatever it holds.
    Add {
        /// Section and name.
        path: Vec<String>,
    },
    /// A named table has these values and no others.
    Table {
        /// Section and name.
        path: Vec<String>,
        /// Its values.
        values: toml::Table,
    },
}

impl Step {
    /// What it concerns.
    pub fn path(&self) -> &[String] {
        match self {
            Self::Set { path, .. } | Self::Remove { path } | Self::Add { path } | Self::Table { path, .. } => path,
        }
    }

    /// The text with this done. The error says why it cannot be.
    pub(super) fn done(&self, text: &str) -> Result<String, String> {
        match self {
            Self::Set { path, value } => set(text, path, value),
            Self::Remove { path } => remove(text, path),
            Self::Add { path } => with_table(text, path),
            Self::Table { path, values } => {
                let mut text = with_table(text, path)?;
                for key in keys_of(&text, path)? {
                    if !values.contains_key(&key) {
                        text = remove(&text, &[path.as_slice(), &[key]].concat())?;
                    }
                }
                for (key, value) in values {
                    let path = [path.as_slice(), std::slice::from_ref(key)].concat();
                    text = match value {
                        toml::Value::Table(values) if keys::is_inner_table(&path) => {
                            let values = values.clone();
                            Self::Table { path, values }.done(&text)?
                        }
                        value => set(&text, &path, value)?,
                    };
                }
                Ok(text)
            }
        }
    }
}

/// Sets a key. What stands around the old value, such as a comment behind it, stays.
fn set(text: &str, path: &[String], value: &toml::Value) -> Result<String, String> {
    let mut new = value_of(value)?;
    let Some((key, parents)) = path.split_last() else {
        return Err("this is no key".to_owned());
    };
    let text = with_table(text, parents)?;
    let mut document = parsed(&text)?;
    let table = table_at(&mut document, parents)?;
    match table.get_mut(key) {
        None => _ = table.insert(key, Item::Value(new)),
        Some(item) => {
            let Some(old) = item.as_value_mut() else {
                return Err("there is a table in its place".to_owned());
            };
            if is_same(old, value) {
                return Ok(text);
            }
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
    }
    Ok(document.to_string())
}

/// Makes a table if it is not there: at the end of the file, unless the table that it belongs into stands in one line.
fn with_table(text: &str, path: &[String]) -> Result<String, String> {
    let mut document = parsed(text)?;
    let mut item = Some(document.as_item());
    let mut inline = false;
    for name in path {
        inline |= item.is_some_and(Item::is_inline_table);
        item = item.and_then(|item| item.get(name));
    }
    let is_made_by_others = |table: &Table| table.is_implicit() && !table.is_dotted();
    if path.is_empty() || item.is_some_and(|item| !item.as_table().is_some_and(is_made_by_others)) {
        return Ok(text.to_owned());
    }
    if inline {
        table_at(&mut document, path)?;
        return Ok(document.to_string());
    }
    let names: Vec<String> = path.iter().map(|name| toml_edit::Key::new(name).to_string()).collect();
    let newline = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let blank = if text.is_empty() { "" } else { "\n" };
    Ok(format!("{text}{newline}{blank}[{}]\n", names.join(".")))
}

/// Whether a value of the file is this one.
fn is_same(old: &Value, new: &toml::Value) -> bool {
    match (old, new) {
        (Value::String(old), toml::Value::String(new)) => old.value() == new,
        (Value::Integer(old), toml::Value::Integer(new)) => old.value() == new,
        (Value::Float(old), toml::Value::Float(new)) => old.value() == new,
        (Value::Boolean(old), toml::Value::Boolean(new)) => old.value() == new,
        (Value::Array(old), toml::Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| is_same(old, new))
        }
        _ => false,
    }
}

fn keys_of(text: &str, path: &[String]) -> Result<Vec<String>, String> {
    let mut document = parsed(text)?;
    let table = table_at(&mut document, path)?;
    Ok(table.iter().map(|(key, _)| key.to_owned()).collect())
}

fn parsed(text: &str) -> Result<DocumentMut, String> {
    text.parse()
        .map_err(|error: toml_edit::TomlError| error.message().to_owned())
}

/// The table at a path; what is missing of it in a table of one line is made.
fn table_at<'a>(document: &'a mut DocumentMut, path: &[String]) -> Result<&'a mut dyn TableLike, String> {
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for name in path {
        let made = || Item::Value(Value::InlineTable(InlineTable::new()));
        let item = table.entry(name).or_insert_with(made);
        table = item
            .as_table_like_mut()
            .ok_or_else(|| format!("{} is not a table in the file", path.join(".")))?;
    }
    Ok(table)
}

fn value_of(value: &toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Array(items) => Value::Array(items.iter().map(value_of).collect::<Result<Array, String>>()?),
        toml::Value::Datetime(_) | toml::Value::Table(_) => return Err("no setting is a date or a table".to_owned()),
    })
}

/// Removes a key or a named table, if it is there. A key goes with its line, a table with all lines from its header to its last key; comments in front
/// of either stay, since they may speak of what comes next.
fn remove(text: &str, path: &[String]) -> Result<String, String> {
    let document = Document::parse(text).map_err(|error| error.message().to_owned())?;
    let (Some(lines), in_line) = lines_of(document.as_table(), path) else {
        return Ok(text.to_owned());
    };
    if in_line {
        return remove_in_line(text, path);
    }
    // From the last, so that those in front stay where they are.
    let mut text = text.to_owned();
    let mut lines = lines;
    lines.sort_unstable_by_key(|range| std::cmp::Reverse(range.start));
    for range in lines {
        let start = text.get(..range.start).and_then(|before| before.rfind('\n'));
        let start = start.map_or(0, |newline| newline.saturating_add(1));
        let end = text.get(range.end..).and_then(|after| after.find('\n'));
        let end = end.map_or(text.len(), |newline| {
            range.end.saturating_add(newline).saturating_add(1)
        });
        if !text.is_char_boundary(start) || !text.is_char_boundary(end) || start > end {
            return Err("its place in the file was not found".to_owned());
        }
        text.replace_range(start..end, "");
    }
    Ok(text)
}

/// Where the text of a key or table is, and whether that is part of a line with other things. `None`: it is not there.
fn lines_of(root: &Table, path: &[String]) -> (Option<Vec<Range<usize>>>, bool) {
    let mut table: &dyn TableLike = root;
    let mut in_line = false;
    let Some((last, parents)) = path.split_last() else {
        return (None, false);
    };
    for name in parents {
        let Some(item) = table.get(name) else {
            return (None, false);
        };
        in_line |= item.is_inline_table();
        let Some(inner) = item.as_table_like() else {
            return (None, false);
        };
        table = inner;
    }
    let Some((key, item)) = table.get_key_value(last) else {
        return (None, false);
    };
    let mut lines = Vec::new();
    add_lines(key.span(), item, &mut lines);
    (Some(lines), in_line)
}

/// Of a key from there to the end of its value; of a table from its header to its last key. Tables within it may stand anywhere, and have lines of their own.
fn add_lines(key: Option<Range<usize>>, item: &Item, lines: &mut Vec<Range<usize>>) {
    match item {
        Item::Value(value) => {
            // A table in one line of dotted keys has no place of its own.
            if let (Some(key), Some(value)) = (key, value.span()) {
                lines.push(key.start..value.end);
            }
        }
        Item::Table(table) => {
            let mut own = Vec::new();
            for (name, item) in table {
                let has_header = item.as_table().is_some_and(|table| !table.is_dotted());
                let place = if has_header { &mut *lines } else { &mut own };
                add_lines(table.key(name).and_then(toml_edit::Key::span), item, place);
            }
            let header = Some(table).filter(|table| !table.is_dotted() && !table.is_implicit());
            match header.and_then(Table::span) {
                Some(header) => {
                    let end = own.iter().map(|leaf| leaf.end).chain([header.end]).max();
                    lines.push(header.start..end.unwrap_or(header.end));
                }
                None => lines.append(&mut own),
            }
        }
        Item::None | Item::ArrayOfTables(_) => {}
    }
}

fn remove_in_line(text: &str, path: &[String]) -> Result<String, String> {
    let mut document = parsed(text)?;
    if let Some((last, parents)) = path.split_last() {
        table_at(&mut document, parents)?.remove(last);
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(dotted: &str) -> Vec<String> {
        dotted.split('.').map(str::to_owned).collect()
    }

    #[track_caller]
    fn check_set(before: &str, key: &str, value: impl Into<toml::Value>, after: &str) {
        let step = Step::Set {
            path: path(key),
            value: value.into(),
        };
        assert_eq!(step.done(before).unwrap(), after);
    }

    #[track_caller]
    fn check_remove(before: &str, key: &str, after: &str) {
        assert_eq!(Step::Remove { path: path(key) }.done(before).unwrap(), after);
    }

    #[test]
    fn a_value_is_replaced_in_its_place() {
        check_set(
            "# top\n[rtsp] # RTSP\n  port = 1   # why\nudp = true\n",
            "rtsp.port",
            2,
            "# top\n[rtsp] # RTSP\n  port = 2   # why\nudp = true\n",
        );
        check_set(
            "networks = [ # ours\n  \"a\", # home\n]\n",
            "networks",
            vec!["a"],
            "networks = [ # ours\n  \"a\", # home\n]\n",
        );
        check_set(
            "networks = [ \"a\" ] # ours\n",
            "networks",
            vec!["b"],
            "networks = [\"b\"] # ours\n",
        );
        check_set("rtsp.port = 1 # why\n", "rtsp.port", 2, "rtsp.port = 2 # why\n");
        check_set(
            "rtsp = { port = 1, udp = true }",
            "rtsp.port",
            2,
            "rtsp = { port = 2, udp = true }\n",
        );
    }

    #[test]
    fn what_is_missing_is_added_at_the_end_of_its_table() {
        check_set("", "log.level", "debug", "[log]\nlevel = \"debug\"\n");
        check_set(
            "[log]\nformat = \"json\"\n\n# about HTTP\n[http]\nport = 1\n",
            "log.level",
            "debug",
            "[log]\nformat = \"json\"\nlevel = \"debug\"\n\n# about HTTP\n[http]\nport = 1\n",
        );
        check_set(
            "[stream.a]\n\n[log]\nlevel = \"info\"\n# the end\n",
            "stream.b.always_available",
            true,
            "[stream.a]\n\n[log]\nlevel = \"info\"\n# the end\n\n[stream.b]\nalways_available = true\n",
        );
        check_set(
            "stream.a.always_available = true",
            "stream.b c.always_available",
            true,
            "stream.a.always_available = true\n\n[stream.\"b c\"]\nalways_available = true\n",
        );
        check_set(
            "stream.a.always_available = true\n",
            "stream.a.x",
            true,
            "stream.a.always_available = true\nstream.a.x = true\n",
        );
        check_set(
            "stream = { a = {} }\n",
            "stream.b.always_available",
            true,
            "stream = { a = {} , b = { always_available = true } }\n",
        );
    }

    #[test]
    fn a_key_goes_with_its_line_and_comments_around_it_stay() {
        check_remove(
            "[rtsp]\n# about the port\nport = 1 # why\n\n# about UDP\nudp = true\n",
            "rtsp.port",
            "[rtsp]\n# about the port\n\n# about UDP\nudp = true\n",
        );
        check_remove(
            "[auth]\ntrusted_networks = [\n  \"10.0.0.0/8\", # home\n]\nopen = true",
            "auth.trusted_networks",
            "[auth]\nopen = true",
        );
        check_remove("[rtsp]\nport = 1", "rtsp.port", "[rtsp]\n");
        check_remove("rtsp.port = 1\nrtsp.udp = true\n", "rtsp.port", "rtsp.udp = true\n");
        check_remove(
            "rtsp = { port = 1, udp = true }\n",
            "rtsp.port",
            "rtsp = { udp = true }\n",
        );
        check_remove("[rtsp]\nport = 1\n", "rtsp.udp", "[rtsp]\nport = 1\n");
    }

    #[test]
    fn a_table_goes_from_its_header_to_its_last_key() {
        check_remove(
            "[log]\nlevel = \"info\"\n#format = \"json\"\n\n# the door\n[stream.door] # old\n# never dark\nalways_available = true\n# end\n\n[http]\nport = 1\n",
            "stream.door",
            "[log]\nlevel = \"info\"\n#format = \"json\"\n\n# the door\n# end\n\n[http]\nport = 1\n",
        );
        check_remove("[stream.door]\n[stream.yard]\n", "stream.door", "[stream.yard]\n");
        check_remove(
            "stream.door.always_available = true # one\nrtsp.port = 1\n",
            "stream.door",
            "rtsp.port = 1\n",
        );
        check_remove(
            "[stream]\ndoor = { always_available = true }\nyard = {}\n",
            "stream.door",
            "[stream]\nyard = {}\n",
        );
    }

    #[test]
    fn a_table_within_a_table_goes_with_it_and_nothing_between_them() {
        check_remove(
            "[stream.door]\non_demand = true\n\n[log]\nlevel = \"info\"\n\n[stream.door.record]\nenabled = true\n[http]\nport = 1\n",
            "stream.door",
            "\n[log]\nlevel = \"info\"\n\n[http]\nport = 1\n",
        );
        check_remove(
            "[stream.door.record]\nenabled = true\n[http]\nport = 1\n",
            "stream.door",
            "[http]\nport = 1\n",
        );
    }

    #[test]
    fn a_table_within_a_table_is_replaced_key_by_key() {
        let record = toml::Table::from_iter([("mode".to_owned(), "events".into())]);
        let step = |values| Step::Table {
            path: path("stream.door"),
            values,
        };
        let values = toml::Table::from_iter([("record".to_owned(), record.into())]);
        assert_eq!(
            step(values.clone())
                .done("[stream.door]\non_demand = true\n[stream.door.record]\n# ours\nenabled = true\nmode = \"manual\" # why\n")
                .unwrap(),
            "[stream.door]\n[stream.door.record]\n# ours\nmode = \"events\" # why\n"
        );
        assert_eq!(
            step(values).done("").unwrap(),
            "[stream.door]\n\n[stream.door.record]\nmode = \"events\"\n"
        );
        assert_eq!(
            step(toml::Table::new())
                .done("[stream.door]\n[stream.door.record]\nenabled = true\n")
                .unwrap(),
            "[stream.door]\n"
        );
    }

    #[test]
    fn a_table_is_replaced_key_by_key() {
        let values = toml::Table::from_iter([("size".to_owned(), "1x1".into()), ("gop".to_owned(), 5.into())]);
        let step = Step::Table {
            path: path("camera.door"),
            values,
        };
        assert_eq!(
            step.done("[camera.door] # of the house\n# wide\nsize = \"2x2\" # why\nfps = 5\n")
                .unwrap(),
            "[camera.door] # of the house\n# wide\nsize = \"1x1\" # why\ngop = 5\n"
        );
        let empty = Step::Table {
            path: path("stream.door"),
            values: toml::Table::new(),
        };
        assert_eq!(empty.done("# new\n").unwrap(), "# new\n\n[stream.door]\n");
    }

    #[test]
    fn what_cannot_be_is_said() {
        let set = |text: &str, key: &str| {
            let value = 1.into();
            Step::Set { path: path(key), value }.done(text).unwrap_err()
        };
        assert_eq!(set("rtsp = 1", "rtsp.port"), "rtsp is not a table in the file");
        assert_eq!(set("[rtsp.port]", "rtsp.port"), "there is a table in its place");
        assert!(!set("[rtsp", "rtsp.port").is_empty());
    }
}
