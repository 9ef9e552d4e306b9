//! Where the server fetches streams, and how that goes.

use media::StreamName;
use schemars::JsonSchema;
use serde::Serialize;

use super::streams::rfc3339;
use crate::auth::{Action, may};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::Operation;
use crate::http::routes::{Answer, Call, Seen};
use crate::source::{Report, State};

pub(super) const LIST: Operation = Operation::reads::<Sources>("Sources of streams that the server fetches");

#[derive(Serialize, JsonSchema)]
struct Sources {
    sources: Vec<Description>,
}

/// `GET /api/v1/sources`: those of streams that one may see; where they are, for those who steer the streams.
pub(super) fn list(call: Call, caller: Caller, seen: Seen) -> Answer {
    Box::pin(async move {
        let reports = call.shared.streams.reports();
        let told = reports.into_iter().filter(|report| seen.holds(&report.stream));
        let steers = |name: &StreamName| may(&caller.who, Action::Operate, name).is_allowed();
        let sources = told
            .map(|report| Description::new(&report, steers(&report.stream)))
            .collect();
        json(&Sources { sources })
    })
}

/// A source.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Source")]
struct Description {
    /// The name of its stream.
    stream: String,
    /// `idle`, `connecting`, `running`, `waiting` or `failed`.
    state: &'static str,
    /// Where it is asked, or is asked next; without credentials, as all URLs here. For whoever steers the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// All places, in the order they are tried. For whoever steers the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    urls: Option<Vec<String>>,
    on_demand: bool,
    /// How often it broke off since the program began.
    reconnects: u64,
    /// Attempts since it last ran, while it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// Since when it is asked or runs. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// When it is asked again, where it waits. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// What was wrong: in a few words, for whoever steers the stream in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Description {
    fn new(report: &Report, steers: bool) -> Self {
        let at = report.at.map(rfc3339);
        let (attempt, since, until) = match &report.state {
            State::Idle | State::Failed(_) => (None, None, None),
            State::Connecting { attempt, .. } => (Some(*attempt), at, None),
            State::Running { .. } => (None, at, None),
            State::Waiting { .. } => (None, None, at),
        };
        Self {
            stream: report.stream.to_string(),
            state: report.state.word(),
            url: report.places.get(report.place).filter(|_| steers).cloned(),
            urls: steers.then(|| report.places.clone()),
            on_demand: report.on_demand,
            reconnects: report.reconnects,
            attempt,
            since,
            until,
            why: report.state.why().map(|why| match steers {
                true => why.detail.to_string(),
                false => why.trouble.to_string(),
            }),
        }
    }
}
