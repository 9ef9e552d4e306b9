//! The page that plays and publishes, with what differs from request to request written into it.

use axum_core::response::Response;
use media::StreamName;
use serde::Serialize;
use serde_json::{Map, Value};

use super::root;
use crate::http::access::{self, Caller, Shown};
use crate::http::answer::{app, escaped};
use crate::http::assets;
use crate::http::routes::{Answer, Call, LIVE};

/// A screen of the dashboard; which one, its path says.
pub(super) fn dashboard(call: &Call, caller: &Caller) -> Response {
    // It stands where nothing is below `/live/` but streams are.
    filled_in(
        call,
        is_signed_in(caller),
        View::Dashboard,
        None,
        LIVE,
        preferences(call, caller),
    )
}

/// Plays the stream that the path names, whether it is there or not yet.
pub(super) fn watch(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move { of_stream(&call, &caller, View::Watch, &name) })
}

/// Publishes camera or screen of the browser under the name in the path.
pub(super) fn publish(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move { of_stream(&call, &caller, View::Publish, &name) })
}

/// What links of people lead to: the first account, an invitation, a share. Nothing of it depends on who asks, but whether this browser is
/// signed in, so that nobody loses a session without a word.
pub(super) fn entry(call: Call, view: View) -> Answer {
    Box::pin(async move {
        let signed_in = access::session(&call.shared, call.peer, call.request.headers()).is_some();
        filled_in(&call, signed_in, view, None, LIVE, None)
    })
}

fn of_stream(call: &Call, caller: &Caller, view: View, name: &StreamName) -> Response {
    // No name begins with the first part of that path.
    let streams_at = if call.request.uri().path().starts_with(LIVE) {
        LIVE
    } else {
        "/"
    };
    filled_in(
        call,
        is_signed_in(caller),
        view,
        Some(name),
        streams_at,
        preferences(call, caller),
    )
}

/// What one wants of the page, of an account that is kept here; null in what is not said.
fn preferences(call: &Call, caller: &Caller) -> Option<Preferences> {
    let grant = caller.who.grant().filter(|grant| grant.has_account())?;
    let people = call.shared.auth.everybody();
    let kept = people.preferences(grant.user?);
    let kept: Map<String, Value> = kept
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    // Written by whoever has the account: what is none of these words is as if nothing was said.
    let word = |name: &str, known: &[&'static str]| {
        let said = kept.get(name).and_then(Value::as_str)?;
        known.iter().copied().find(|word| *word == said)
    };
    Some(Preferences {
        theme: word("theme", &["dark", "light", "system"]),
        language: word("language", &["en", "vi"]),
        start: word("start", &["control", "wall", "timeline", "events"]),
        letters: kept.get("letters").and_then(Value::as_bool),
    })
}

/// Whether there is a session to end.
fn is_signed_in(caller: &Caller) -> bool {
    matches!(caller.shown, Shown::Cookie)
}

/// What the page is.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum View {
    Dashboard,
    Watch,
    Publish,
    FirstRun,
    Join,
    Shared,
}

/// As `web/src/config.ts` reads it.
#[derive(Serialize)]
struct Config<'a> {
    view: View,
    name: Option<&'a str>,
    /// From the page to where `/` is.
    root: &'a str,
    /// From there to the streams.
    streams: &'a str,
    signed_in: bool,
    https_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferences: Option<Preferences>,
}

/// Those of an account that the page has to know before it shows anything.
#[derive(Clone, Copy, Serialize)]
struct Preferences {
    theme: Option<&'static str>,
    language: Option<&'static str>,
    start: Option<&'static str>,
    letters: Option<bool>,
}

fn filled_in(
    call: &Call,
    signed_in: bool,
    view: View,
    name: Option<&StreamName>,
    streams_at: &str,
    preferences: Option<Preferences>,
) -> Response {
    let root = root(call.request.uri().path());
    let name = name.map(StreamName::as_str);
    let config = Config {
        view,
        name,
        root: &root,
        streams: streams_at.trim_start_matches('/'),
        signed_in,
        https_port: call.shared.ports.https,
        preferences,
    };
    // Before any script runs: nothing flashes.
    let theme = preferences.and_then(|own| own.theme).unwrap_or("dark");
    let language = preferences.and_then(|own| own.language).unwrap_or("en");
    let title = name.map_or_else(|| "Sightline".to_owned(), |name| format!("{name} · Sightline"));
    // Texts, numbers and a flag, which always become JSON. It ends where HTML sees the end of a script.
    let config = serde_json::to_string(&config)
        .unwrap_or_default()
        .replace('<', "\\u003c");
    let html = assets::page()
        .replace("\"./assets/", &format!("\"{root}assets/"))
        .replace(
            "<html lang=\"en\" data-theme=\"dark\">",
            &format!("<html lang=\"{language}\" data-theme=\"{theme}\">"),
        )
        .replace("{title}", &escaped(&title))
        .replace("{config}", &config);
    app(html)
}
