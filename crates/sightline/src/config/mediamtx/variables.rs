//! MediaMTX's variables, which win over its file: `MTX_RTSPADDRESS`, `MTX_PATHS_CAM_SOURCE`, `MTX_AUTHINTERNALUSERS_0_USER`.
//!
//! Belongs here: which value of the file each of them stands for. Does not belong here: what the value means ([`super::keys`]); our own variables
//! ([`crate::config::load`]), which win over these.

use super::keys::{self, GLOBAL, PATH};
use super::yaml::{Node, Place, Value};
use crate::config::environment::Environment;

/// What all of them start with.
pub(super) const PREFIX: &str = "MTX_";

/// Those that MediaMTX and we tell commands: they set nothing.
const TOLD: [&str; 10] = [
    "PATH",
    "QUERY",
    "SOURCE_TYPE",
    "SOURCE_ID",
    "READER_TYPE",
    "READER_ID",
    "CONN_TYPE",
    "CONN_ID",
    "SEGMENT_PATH",
    "SEGMENT_DURATION",
];
const USERS: &str = "authInternalUsers";
/// Most users, and permissions of one, that variables make: the number stands in the name.
const MOST: usize = 100;

/// Who may do what when nothing is said, which variables for single users change.
const USUAL_USERS: &str = "[{user: any, permissions: [{action: publish}, {action: read}, {action: playback}]}, \
    {user: any, ips: ['127.0.0.1', '::1'], permissions: [{action: api}, {action: metrics}, {action: pprof}]}]";

impl Place {
    /// Not in the file, but in the variable of this number.
    pub(super) fn of_variable(number: usize) -> Self {
        Self {
            line: 0,
            column: number,
        }
    }

    /// The number of the variable; `None` for what stands in the file.
    pub(super) fn variable(self) -> Option<usize> {
        (self.line == 0).then_some(self.column)
    }
}

/// Puts the variables over the keys of the file. Those that set nothing come back.
pub(super) fn overlay(root: &mut Vec<(Node, Node)>, environment: &Environment) -> Vec<String> {
    let mut idle = Vec::new();
    for (number, (variable, text)) in environment.starting_with(PREFIX).enumerate() {
        let name = variable.strip_prefix(PREFIX).unwrap_or(variable);
        let place = Place::of_variable(number);
        let value = word(text, place);
        if !(TOLD.contains(&name) || set(root, name, value)) {
            idle.push(variable.to_owned());
        }
    }
    idle
}

/// The variable of a number.
pub(super) fn name(environment: &Environment, number: usize) -> Option<&str> {
    environment.starting_with(PREFIX).nth(number).map(|(name, _)| name)
}

fn word(text: &str, place: Place) -> Node {
    let text = text.to_owned();
    Node {
        place,
        value: Value::Word { text, plain: true },
    }
}

fn set(root: &mut Vec<(Node, Node)>, name: &str, value: Node) -> bool {
    if let Some(key) = name.strip_prefix("PATHDEFAULTS_").and_then(|rest| known(PATH, rest)) {
        put(table(member(root, "pathDefaults", value.place)), key, value);
        return true;
    }
    if let Some(rest) = name.strip_prefix("PATHS_") {
        return in_path(root, rest, value);
    }
    if let Some(rest) = name.strip_prefix("AUTHINTERNALUSERS_") {
        return in_user(root, rest, value);
    }
    let key = known(GLOBAL, name).or_else(|| {
        // One of a list, of which we know nothing but that there is one.
        let (list, _) = name
            .split_once('_')
            .filter(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))?;
        known(GLOBAL, list)
    });
    key.map(|key| put(root, key, value)).is_some()
}

/// `CAM_SOURCE`: the name of a path, and that of its key, which is the longest that fits.
fn in_path(root: &mut Vec<(Node, Node)>, rest: &str, value: Node) -> bool {
    let parts = rest
        .match_indices('_')
        .map(|(at, _)| (rest.get(..at), rest.get(at + 1..)));
    let found = parts.filter_map(|(name, key)| Some((name.filter(|name| !name.is_empty())?, known(PATH, key?)?)));
    let Some((spelt, key)) = found.into_iter().next() else {
        return false;
    };
    let paths = table(member(root, "paths", value.place));
    let spell = |name: &str| {
        name.to_ascii_uppercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "_")
    };
    let in_file = paths
        .iter()
        .map(|(name, _)| name.shown())
        .find(|name| spell(name) == spelt);
    let name = in_file.unwrap_or_else(|| spelt.to_ascii_lowercase());
    let place = value.place;
    put(table(member(paths, &name, place)), key, value);
    true
}

/// `0_USER`, `0_PERMISSIONS_1_ACTION`.
fn in_user(root: &mut Vec<(Node, Node)>, rest: &str, value: Node) -> bool {
    let place = value.place;
    let is_said = root
        .iter()
        .any(|(key, value)| key.word() == Some(USERS) && !value.is_null());
    if !is_said && let Ok(Some(mut usual)) = super::yaml::parse(USUAL_USERS) {
        usual.place = place;
        put(root, USERS, usual);
    }
    let users = member(root, USERS, place);
    let Some((user, key)) = item(users, rest, place) else {
        return false;
    };
    match key {
        "USER" | "PASS" | "IPS" => put(table(user), &key.to_ascii_lowercase(), value),
        _ => {
            let Some(rest) = key.strip_prefix("PERMISSIONS_") else {
                return false;
            };
            let permissions = member(table(user), "permissions", place);
            match item(permissions, rest, place) {
                Some((permission, key @ ("ACTION" | "PATH"))) => {
                    put(table(permission), &key.to_ascii_lowercase(), value);
                }
                _ => return false,
            }
        }
    }
    true
}

/// The item of a list that `0_REST` means, and the rest. One more than there are is made.
fn item<'a, 'b>(list: &'a mut Node, rest: &'b str, place: Place) -> Option<(&'a mut Node, &'b str)> {
    let (number, rest) = rest.split_once('_')?;
    let number: usize = number.parse().ok().filter(|number| *number < MOST)?;
    if !matches!(list.value, Value::List(_)) {
        list.value = Value::List(Vec::new());
    }
    let Value::List(items) = &mut list.value else {
        return None;
    };
    if number == items.len() {
        items.push(Node {
            place,
            value: Value::Map(Vec::new()),
        });
    }
    Some((items.get_mut(number)?, rest))
}

/// The key that is spelt so, under the name that it has now.
fn known(keys: &'static [keys::Key], spelt: &str) -> Option<&'static str> {
    let is = |name: &str| name.to_ascii_uppercase() == spelt;
    let now = keys.iter().find(|key| is(key.name)).map(|key| key.name);
    now.or_else(|| {
        let old = keys::RENAMED.iter().find(|(old, _)| is(old)).map(|(_, new)| *new)?;
        keys.iter().find(|key| key.name == old).map(|key| key.name)
    })
}

/// In place of whatever stood under that name, older ones too.
fn put(pairs: &mut Vec<(Node, Node)>, key: &str, value: Node) {
    pairs.retain(|(name, _)| name.word().is_none_or(|name| keys::name_of_today(name) != key));
    pairs.push((word(key, value.place), value));
}

/// What stands under a name, made where there is nothing.
fn member<'a>(pairs: &'a mut Vec<(Node, Node)>, key: &str, place: Place) -> &'a mut Node {
    let at = pairs
        .iter()
        .rposition(|(name, _)| name.shown() == key)
        .unwrap_or_else(|| {
            pairs.push((word(key, place), word("", place)));
            pairs.len() - 1
        });
    &mut pairs[at].1
}

/// The pairs of a node, which is made a table where it says nothing.
fn table(node: &mut Node) -> &mut Vec<(Node, Node)> {
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Vec::new());
    }
    match &mut node.value {
        Value::Map(pairs) => pairs,
        // It was made one.
        Value::Word { .. } | Value::List(_) => unreachable!(),
    }
}
