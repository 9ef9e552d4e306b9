//! Where streams are sent on to, and how that goes.

use schemars::JsonSchema;
use serde::Serialize;

use super::streams::rfc3339;
use crate::forward::{Report, State};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::Operation;
use crate::http::routes::{Answer, Call, Seen};

pub(super) const LIST: Operation = Operation::reads::<Forwards>("Where streams are sent on to");

#[derive(Serialize, JsonSchema)]
struct Forwards {
    forwards: Vec<Description>,
}

/// `GET /api/v1/forwards`: those of streams that one may steer.
pub(super) fn list(call: Call, _: Caller, seen: Seen) -> Answer {
    Box::pin(async move {
        let reports = call.shared.settings.forwards.reports();
        let steered = (reports.iter())
            .filter(|report| seen.holds(&report.stream))
            .map(Description::new);
        json(&Forwards {
            forwards: steered.collect(),
        })
    })
}

/// One target of one stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Forward")]
struct Description {
    /// The name of the stream.
    stream: String,
    /// Where it goes, without credentials.
    url: String,
    /// `idle` (the stream is not there), `connecting`, `running` or `waiting`.
    state: &'static str,
    /// Attempts since it last ran, while it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// Since when it is asked or runs. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// When it is asked again, where it waits. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Sent since the target was set, over all connections.
    bytes: u64,
    frames: u64,
    /// Frames that were left out because the target was too slow, …
    frames_dropped: u64,
    /// … and how often that was.
    jumps: u64,
}

impl Description {
    fn new(report: &Report) -> Self {
        let at = report.at.map(rfc3339);
        let (attempt, since, until, why) = match &report.state {
            State::Idle => (None, None, None, None),
            State::Connecting { attempt, .. } => (Some(*attempt), at, None, None),
            State::Running { .. } => (None, at, None, None),
            State::Waiting { why, .. } => (None, None, at, Some(why.detail.to_string())),
        };
        Self {
            stream: report.stream.to_string(),
            url: report.to.clone(),
            state: report.state.word(),
            attempt,
            since,
            until,
            why,
            bytes: report.totals.bytes,
            frames: report.totals.frames,
            frames_dropped: report.totals.frames_dropped,
            jumps: report.totals.jumps,
        }
    }
}
