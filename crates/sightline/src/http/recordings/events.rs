//! What happened in front of a camera, as it was told, and telling it.

use std::sync::Arc;

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use media::StreamName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Ask, CAMERA, END, Query, START, bad_query, instant, library, now, problem, rfc3339};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::body;
use crate::http::openapi::{Anything, Content, Operation, Parameter};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Seen, stream_name};
use crate::record::clock::from_unix_90k;
use crate::record::index::{self, EventId, MAX_DATA_BYTES, MAX_KIND_BYTES, MAX_SEGMENT_90K, MAX_TIME_90K};

pub(super) const LIST: Operation = Operation {
    query: &[
        CAMERA,
        START,
        END,
        Parameter {
            name: "kind",
            what: "Of this kind alone, such as motion",
            kind: "string",
        },
        Parameter {
            name: "after",
            what: "Those behind this one: as `next` has it",
            kind: "integer",
        },
    ],
    problems: &[400, 404, 503],
    ..Operation::reads::<Events>("What happened in front of a camera, by its beginning")
};
pub(super) const TELL: Operation = Operation {
    body: Some(Content::json::<Told>()),
    status: 201,
    problems: &[400, 404, 408, 409, 413, 415, 503],
    ..Operation::reads::<Event>("Tell that something happens, or did")
};

#[derive(Serialize, JsonSchema)]
struct Events {
    events: Vec<Event>,
    /// Where to ask for the rest; null: that is all.
    next: Option<String>,
}

/// Something that happened.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RecordingEvent")]
pub(super) struct Event {
    id: i64,
    camera: String,
    kind: String,
    /// RFC 3339.
    start: String,
    end: String,
    score: Option<f64>,
    /// What else was told of it.
    data: Value,
}

/// What is told.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewRecordingEvent")]
#[serde(deny_unknown_fields)]
struct Told {
    camera: String,
    /// Letters, digits, `.`, `_` and `-`, up to 64.
    kind: String,
    /// RFC 3339, or milliseconds of Unix time; now, where it is not said.
    #[serde(default)]
    start: Option<Time>,
    /// A day later at the most; the start, where it is not said.
    #[serde(default)]
    end: Option<Time>,
    #[serde(default)]
    score: Option<f64>,
    /// Whatever else is known of it, 4 KiB of JSON at the most.
    #[serde(default)]
    #[schemars(with = "Option<Anything>")]
    data: Option<Value>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Time {
    Ms(i64),
    Text(String),
}

impl Time {
    /// In ticks of 90 kHz of Unix time.
    pub(super) fn instant(self) -> Result<i64, Problem> {
        match self {
            Self::Ms(ms) => {
                instant(&ms.to_string()).ok_or_else(|| bad_query(format!("{ms} is no time between 1970 and 9999")))
            }
            Self::Text(text) => {
                instant(&text).ok_or_else(|| bad_query(format!("{text:?} is no time between 1970 and 9999")))
            }
        }
    }
}

impl From<index::Event> for Event {
    fn from(event: index::Event) -> Self {
        Self {
            id: event.id.0,
            camera: event.camera.to_string(),
            kind: event.kind,
            start: rfc3339(event.start_90k),
            end: rfc3339(event.end_90k),
            score: event.score,
            data: serde_json::from_str(&event.data).unwrap_or(Value::Null),
        }
    }
}

/// `GET /api/v1/recordings/events?camera=NAME`.
pub(super) fn list(call: Call, _: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move { listed(&ask, camera).await.unwrap_or_else(Problem::into_response) })
}

async fn listed(ask: &Ask, camera: StreamName) -> Result<Response, Problem> {
    let library = library(&ask.shared)?;
    let query = Query::of(ask);
    let range = query.range(0..MAX_TIME_90K)?;
    let kind = query.text("kind");
    let behind = query
        .number("after", 0..i64::MAX)?
        .map(|number| (range.start, EventId(number)));
    let page = library
        .events(camera.clone(), range.clone(), kind.clone(), behind)
        .await;
    let page = page.map_err(|error| problem(&error))?;
    let next = page.next.map(|(start, EventId(number))| {
        let kind = kind.map_or_else(String::new, |kind| format!("&kind={}", super::encoded(&kind)));
        format!(
            "/api/v1/recordings/events?camera={}&start={}&end={}&after={number}{kind}",
            super::encoded(camera.as_str()),
            rfc3339(start),
            rfc3339(range.end)
        )
    });
    let events = page.items.into_iter().map(Event::from).collect();
    Ok(json(&Events { events, next }))
}

/// `POST /api/v1/recordings/events`.
pub(super) fn tell(call: Call, _: Caller, seen: Seen) -> Answer {
    Box::pin(async move { told(call, &seen).await.unwrap_or_else(Problem::into_response) })
}

async fn told(call: Call, seen: &Seen) -> Result<Response, Problem> {
    let library = library(&call.shared)?;
    let shared = Arc::clone(&call.shared);
    let (now, patience) = (now(&call.shared), call.shared.settings.patience.body);
    let (parts, content) = call.request.into_parts();
    let takes = (body::JSON, "an event");
    let bytes = body::json(&parts.headers, content, takes, MAX_BYTES, patience).await?;
    let told: Told = serde_json::from_slice(&bytes).map_err(|error| bad_query(error.to_string()))?;
    let mut event = event_of(told, now)?;
    seen.demand(&event.camera, &parts.headers)?;
    // First what cannot be had later: an index may be slow, or broken.
    let range = from_unix_90k(event.start_90k)..from_unix_90k(event.end_90k);
    shared.settings.recordings.happens(&event.camera, range).await;
    event.id = library.tell(event.clone()).await.map_err(|error| problem(&error))?;
    let mut response = json(&Event::from(event));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn event_of(told: Told, now: i64) -> Result<index::Event, Problem> {
    let at = |time: Option<Time>, usual: i64| time.map_or(Ok(usual), Time::instant);
    let start_90k = at(told.start, now)?;
    let end_90k = at(told.end, start_90k)?;
    if !(start_90k..=start_90k.saturating_add(MAX_SEGMENT_90K)).contains(&end_90k) {
        return Err(bad_query(
            "the end is in front of the start, or more than a day behind it",
        ));
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if told.kind.is_empty() || told.kind.len() > MAX_KIND_BYTES || !told.kind.chars().all(is_word) {
        return Err(bad_query(
            "the kind of an event is 1 to 64 letters, digits, \".\", \"_\" and \"-\"",
        ));
    }
    let data = told.data.unwrap_or(Value::Null).to_string();
    if data.len() > MAX_DATA_BYTES {
        return Err(bad_query(format!(
            "the data of an event have {} bytes; at most {MAX_DATA_BYTES} are kept",
            data.len()
        )));
    }
    Ok(index::Event {
        id: EventId(0),
        camera: stream_name(&told.camera)?,
        kind: told.kind,
        start_90k,
        end_90k,
        score: told.score,
        data,
    })
}

/// The largest body.
const MAX_BYTES: usize = 8 << 10;
