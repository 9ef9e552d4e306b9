//! Who else decides by MediaMTX's file: `authMethod`, and what its authority is not asked about.
//!
//! Does not belong here: where the authority is, which are keys like others ([`super::keys`]). Never opens more than the file does.

use super::yaml::{Node, Place, Value};
use super::{Given, Translator, values};

impl Translator<'_> {
    /// Whether somebody else decides, so that accounts of the file do not. `was_asked`: the file has the key of old that means so.
    pub(super) fn elsewhere<'a>(&mut self, last: impl Fn(&str) -> Option<&'a Given>, was_asked: Option<Place>) -> bool {
        let given = last("authMethod").filter(|method| !method.value.is_null());
        let (method, place) = match (given.and_then(|method| method.value.word()), given, was_asked) {
            (Some("internal"), ..) | (None, None, None) => return false,
            (Some(method @ ("http" | "jwt")), Some(given), _) => (method, given.value.place),
            (None, None, Some(place)) => ("http", place),
            (_, Some(given), _) => {
                let message = values::expected("internal, http or jwt", &given.value);
                self.problem(given.value.place, &given.name, &message);
                return true;
            }
            (Some(_), None, _) => return true,
        };
        self.set(&["auth", "method"], method.into(), place);
        let serves_metrics = last("metrics").and_then(|metrics| metrics.value.truth()) == Some(true);
        let (name, table) = match method {
            "http" => ("authHTTPExclude", "http"),
            _ => ("authJWTExclude", "jwt"),
        };
        if let Some(exclude) = last(name).filter(|exclude| !exclude.value.is_null()) {
            self.exclude(exclude, table, serves_metrics);
        }
        true
    }

    fn exclude(&mut self, given: &Given, table: &str, serves_metrics: bool) {
        let Value::List(list) = &given.value.value else {
            let message = values::expected("a list of permissions", &given.value);
            return self.problem(given.value.place, &given.name, &message);
        };
        let mut all: Vec<toml::Value> = Vec::new();
        for entry in list {
            let path = entry.get("path").filter(|path| !path.is_null()).map(Node::shown);
            let path = path.filter(|path| !path.is_empty());
            match (entry.get("action").and_then(Node::word), path) {
                (Some(action @ ("read" | "publish" | "playback")), Some(path)) => {
                    all.push(format!("{action} {path}").into());
                }
                (Some(action @ ("read" | "publish" | "playback")), None) => all.push(action.into()),
                (Some("api"), _) => {
                    self.note(
                        entry.place,
                        &given.name,
                        "the API is not open to whoever comes: it is on the port of the dashboard here, and takes an account or a token of this server",
                    );
                    all.push("api".into());
                }
                (Some("metrics"), _) if serves_metrics => all.push("metrics".into()),
                (Some("metrics"), _) => self.note(
                    entry.place,
                    &given.name,
                    "metrics are not served by this file, and here they are: they take a token of this server",
                ),
                (Some("pprof"), _) => {}
                _ => {
                    let message = values::expected("an action (read, publish, playback, api, metrics, pprof)", entry);
                    self.problem(entry.place, &given.name, &message);
                }
            }
        }
        if !all.is_empty() {
            self.set(&["auth", table, "exclude"], all.into(), given.value.place);
        }
    }
}
