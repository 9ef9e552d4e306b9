//! Finding cameras and what happened by words, for the field of the page.
//!
//! Belongs here: which words mean which camera, and whom what is told. Does not belong here: instants (`2026-11-22 14:00`), which the page reads by the clock
//! of its user.

use std::collections::BTreeSet;

use axum_core::response::{IntoResponse as _, Response};
use media::StreamName;
use schemars::JsonSchema;
use serde::Serialize;

use super::events::Event;
use super::{Ask, Query, bad_query, library, problem};
use crate::auth::{Action, Principal, may};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::{Operation, Parameter};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Seen};

pub(super) const SEARCH: Operation = Operation {
    query: &[Parameter {
        name: "q",
        what: "Words, 64 characters at the most: each is part of the camera's name, or of the kind or the data of what happened",
        kind: "string",
    }],
    problems: &[400],
    ..Operation::reads::<Found>("Cameras by name, and what happened by kind and data: 20 of each, the newest first")
};

const MAX_CHARACTERS: usize = 64;
const MOST: usize = 20;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SearchAnswer")]
struct Found {
    /// Those that are there, or have recordings, by name.
    cameras: Vec<String>,
    /// Of the newest 20,000 of all cameras; where recordings cannot be asked, nothing.
    events: Vec<Event>,
}

/// `GET /api/v1/search?q=WORDS`.
pub(super) fn search(call: Call, caller: Caller, seen: Seen) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let found = found(&ask, &caller.who, &seen).await;
        found.unwrap_or_else(Problem::into_response)
    })
}

async fn found(ask: &Ask, who: &Principal, seen: &Seen) -> Result<Response, Problem> {
    let text = Query::of(ask).text("q").unwrap_or_default().to_lowercase();
    if text.chars().count() > MAX_CHARACTERS {
        return Err(bad_query("q has more than 64 characters"));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() {
        return Err(bad_query("q has no word to look for"));
    }
    // Where nothing was ever recorded, cameras are found all the same.
    let library = library(&ask.shared).ok();
    let recorded = match &library {
        Some(library) => library.cameras().await.map_err(|error| problem(&error))?,
        None => Vec::new(),
    };
    let recorded: BTreeSet<StreamName> = recorded.into_iter().map(|times| times.camera).collect();
    let replayed = |name: &&StreamName| may(who, Action::Replay, *name).is_allowed();
    let wanted: Vec<_> = (recorded.iter().filter(replayed))
        .filter_map(|name| Some((name.clone(), left(&words, name)?)))
        .collect();
    let there = ask.shared.hub.list();
    let viewed = there.iter().map(|stream| stream.name()).filter(|name| seen.holds(name));
    let cameras: BTreeSet<&StreamName> = viewed.chain(recorded.iter().filter(replayed)).collect();
    let cameras = cameras.into_iter().filter(|name| left(&words, name).is_none());
    let cameras = cameras.take(MOST).map(ToString::to_string).collect();
    let events = match library {
        Some(library) if !wanted.is_empty() => library.search(wanted, MOST).await.map_err(|error| problem(&error))?,
        _ => Vec::new(),
    };
    let events = events.into_iter().map(Event::from).collect();
    Ok(json(&Found { cameras, events }))
}

/// The words that are no part of a camera's name, and so are to be looked for in what happened in front of it. Nothing: all are, and the camera is meant.
fn left(words: &[&str], name: &StreamName) -> Option<Vec<String>> {
    let name = name.as_str().to_lowercase();
    let left: Vec<String> = (words.iter().filter(|word| !name.contains(**word)))
        .map(|word| (*word).to_owned())
        .collect();
    (!left.is_empty()).then_some(left)
}
