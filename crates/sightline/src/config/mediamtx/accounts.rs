//! Who may do what by MediaMTX's file.
//!
//! Belongs here: what its accounts come to with ours. Never opens more than the file does: what cannot be said here keeps its door closed.

use std::collections::BTreeSet;

use super::yaml::{Node, Place, Value};
use super::{Given, Translator, values};
use crate::auth::Password;
use crate::config::units::Name;

/// Whoever shows nothing.
const ANY: &str = "any";

/// A user of the file.
struct User {
    place: Place,
    name: String,
    password: Option<Node>,
    /// From where; empty: from everywhere.
    ips: Vec<String>,
    /// Streams as we write them, with where that stands.
    view: Vec<(String, Place)>,
    publish: Vec<(String, Place)>,
    replay: Vec<(String, Place)>,
    administer: bool,
}

impl User {
    /// Whether all streams may be viewed and published.
    fn is_free(&self) -> bool {
        [&self.view, &self.publish]
            .iter()
            .all(|list| list.iter().any(|(streams, _)| streams == "*"))
    }

    fn is_anyone(&self) -> bool {
        self.name == ANY && self.password.is_none()
    }

    /// Whether all recordings may be played.
    fn replays(&self) -> bool {
        self.replay.iter().any(|(streams, _)| streams == "*")
    }

    fn may_something(&self) -> bool {
        !self.view.is_empty() || !self.publish.is_empty() || !self.replay.is_empty() || self.administer
    }
}

impl Translator<'_> {
    pub(super) fn accounts(&mut self, users: Option<&Given>, start: Place) {
        let Some(users) = users.filter(|users| !users.value.is_null()) else {
            let what = "without authInternalUsers everybody may watch, publish and play recordings, as with MediaMTX; to ask for tokens write `authInternalUsers: []`";
            self.note(start, "", what);
            return self.set(&["auth", "open"], toml::Value::Boolean(true), start);
        };
        let Value::List(list) = &users.value.value else {
            let message = values::expected("a list of users", &users.value);
            return self.problem(users.value.place, &users.name, &message);
        };
        let (mut trusted, mut tables) = (Vec::new(), BTreeSet::new());
        let (mut opened, mut replays) = (false, true);
        for user in list.iter().filter_map(user) {
            if user.is_anyone() && user.is_free() && user.ips.is_empty() {
                opened = true;
                self.set(&["auth", "open"], toml::Value::Boolean(true), user.place);
                if !user.replays() {
                    self.set(&["auth", "replay"], "accounts".into(), user.place);
                }
            } else if user.is_anyone() && user.is_free() {
                // Of all networks together: one that may not keeps those of the others closed.
                replays &= user.replays();
                trusted.extend(user.ips.iter().cloned().map(toml::Value::String));
            } else {
                self.account(&user, &mut tables);
            }
        }
        if !trusted.is_empty() {
            self.set(&["auth", "trusted_networks"], trusted.into(), users.value.place);
            // Where all is open anyway, that is said there.
            if replays && !opened {
                self.set(&["auth", "replay"], "trusted".into(), users.value.place);
            }
        }
    }

    /// One with rights of its own.
    fn account(&mut self, user: &User, tables: &mut BTreeSet<String>) {
        const KEY: &str = "authInternalUsers";
        let plays_or_publishes = !user.view.is_empty() || !user.publish.is_empty() || !user.replay.is_empty();
        if !user.may_something() || (user.is_anyone() && !plays_or_publishes) {
            // The API without a credential, as MediaMTX has it on this machine by default: a proxy makes all look like that.
            return;
        }
        let is_hashed = |text: &str| text.starts_with("sha256:") || text.starts_with("argon2:");
        let what = match &user.password {
            None if user.name != ANY => "without a password an account is nobody's here: it stays closed".to_owned(),
            _ if is_hashed(&user.name) => {
                "hashed names of users are not understood here: the account stays closed".to_owned()
            }
            Some(password) => match password.shown().parse::<Password>() {
                Ok(_) => String::new(),
                Err(error) => format!("{error}; the account stays closed until then"),
            },
            None => String::new(),
        };
        if !what.is_empty() {
            let place = user.password.as_ref().map_or(user.place, |password| password.place);
            return self.note(place, KEY, &what);
        }
        let is_name = user.name.parse::<Name>().is_ok() && !user.name.contains('/');
        let table = match is_name && !tables.contains(&user.name) {
            true => user.name.clone(),
            // Of more names than there are tables one is free.
            false => (1..=tables.len() + 1)
                .rev()
                .map(|number| format!("account{number}"))
                .find(|name| !tables.contains(name))
                .unwrap_or_default(),
        };
        tables.insert(table.clone());
        let at = |key: &str| ["user".to_owned(), table.clone(), key.to_owned()];
        let mut set = |key: &str, value: toml::Value, place| {
            let path = at(key);
            self.set(&[&*path[0], &*path[1], &*path[2]], value, place);
        };
        match &user.password {
            None => set("anyone", toml::Value::Boolean(true), user.place),
            Some(password) => set("password", toml::Value::String(password.shown()), password.place),
        }
        if table != user.name {
            set("name", toml::Value::String(user.name.clone()), user.place);
        }
        if !user.ips.is_empty() {
            let ips = user.ips.iter().cloned().map(toml::Value::String).collect::<Vec<_>>();
            set("networks", ips.into(), user.place);
        }
        if user.administer && user.password.is_some() {
            set("administer", toml::Value::Boolean(true), user.place);
        }
        // Always said, or it would be what may be viewed.
        for (key, list) in [
            ("view", &user.view),
            ("replay", &user.replay),
            ("publish", &user.publish),
        ] {
            let place = list.first().map_or(user.place, |(_, place)| *place);
            let list: Vec<_> = list
                .iter()
                .map(|(streams, _)| toml::Value::String(streams.clone()))
                .collect();
            if !list.is_empty() || (key == "replay" && !user.view.is_empty()) {
                set(key, list.into(), place);
            }
        }
    }
}

fn user(node: &Node) -> Option<User> {
    if !matches!(node.value, Value::Map(_)) {
        return None;
    }
    let mut user = User {
        place: node.place,
        name: node.get("user").map(Node::shown).unwrap_or_default(),
        password: (node.get("pass"))
            .filter(|pass| !pass.is_null() && pass.word() != Some(""))
            .cloned(),
        ips: node
            .get("ips")
            .filter(|ips| !ips.is_null())
            .and_then(values::list)
            .unwrap_or_default(),
        view: Vec::new(),
        publish: Vec::new(),
        replay: Vec::new(),
        administer: false,
    };
    let permissions = match node.get("permissions").map(|node| &node.value) {
        Some(Value::List(permissions)) => permissions.as_slice(),
        _ => &[],
    };
    for permission in permissions {
        let list = match permission.get("action").and_then(Node::word) {
            Some("read") => &mut user.view,
            Some("publish") => &mut user.publish,
            Some("playback") => &mut user.replay,
            Some("api") => {
                user.administer = true;
                continue;
            }
            _ => continue,
        };
        let path = permission
            .get("path")
            .filter(|path| !path.is_null() && path.word() != Some(""));
        match path {
            None => list.push(("*".to_owned(), permission.place)),
            // What is no name and no expression allows nothing, and is told with its line.
            Some(path) => list.push((path.shown(), path.place)),
        }
    }
    Some(user)
}
