//! Starting and stopping recordings by hand, and how a stream is recorded.

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use media::StreamName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::streams::rfc3339;
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::body;
use crate::http::openapi::{Content, Operation};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};
use crate::record::service::{Refused, Report, State};

/// Longest body.
const MAX_BYTES: usize = 4 << 10;

pub(super) const START: Operation = Operation {
    body: Some(Content::json::<Wish>()),
    problems: &[400, 404, 408, 409, 413, 503],
    ..Operation::reads::<Recording>("Start a recording of a stream by hand")
};
pub(super) const STOP: Operation = Operation {
    problems: &[400, 404, 503],
    ..Operation::reads::<Recording>("End what was started by hand")
};

/// What is recorded. Nothing need be sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "RecordingWish")]
struct Wish {
    /// The name of a file of its own, such as "who rang.mp4": one name without folders, 200 bytes at the most. Left out or null: files as others.
    filename: Option<String>,
}

/// How a stream is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Recording {
    /// `recording`, `waiting` (for the time, for something to happen, for a keyframe), `paused` (it is to be and cannot) or `off`.
    state: &'static str,
    /// When by the settings: `continuous`, `schedule`, `events` or `manual`.
    mode: &'static str,
    /// Somebody started it.
    by_hand: bool,
    /// The name of the file of its own that is being recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<String>,
    /// Since when it is recorded without a gap, by the settings or without a name. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Why it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Recording {
    pub(crate) fn new(report: &Report) -> Self {
        Self {
            state: report.state.word(),
            mode: report.mode.name(),
            by_hand: report.is_by_hand,
            filename: report.file.clone(),
            since: report.since.map(rfc3339),
            reason: report.reason.filter(|_| report.state == State::Paused),
        }
    }
}

/// `POST /api/v1/streams/NAME/recording`.
pub(super) fn start(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        let shared = std::sync::Arc::clone(&call.shared);
        let asker = call.peer.remote;
        let wish = match read(call).await {
            Ok(wish) => wish,
            Err(problem) => return problem.into_response(),
        };
        match shared.settings.recordings.start(&name, wish.filename.as_deref()).await {
            Ok(report) => {
                tracing::info!(stream = %name, by = caller.who.name(), %asker, "a recording is started on request");
                json(&Recording::new(&report))
            }
            Err(refused) => refusal(&refused),
        }
    })
}

/// `DELETE /api/v1/streams/NAME/recording`.
pub(super) fn stop(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        match call.shared.settings.recordings.stop(&name).await {
            Ok(report) => {
                let asker = call.peer.remote;
                tracing::info!(stream = %name, by = caller.who.name(), %asker, "a recording is ended on request");
                json(&Recording::new(&report))
            }
            Err(refused) => refusal(&refused),
        }
    })
}

/// What the request brings; nothing is a wish too.
async fn read(call: Call) -> Result<Wish, Problem> {
    let patience = call.shared.settings.patience.body;
    let bytes = body::read(call.request.into_body(), MAX_BYTES, patience).await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(Wish::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-recording",
            "Not what is to be recorded",
            error.to_string(),
            "send nothing, or an object such as {\"filename\":\"who rang.mp4\"}",
        )
    })
}

fn refusal(refused: &Refused) -> Response {
    let (status, code, title, next) = match refused {
        Refused::Missing(_) => (
            StatusCode::NOT_FOUND,
            "no-such-stream",
            "No such stream",
            "GET /api/v1/streams lists those there are; a name with slashes is written with %2F",
        ),
        Refused::Name(_) => (
            StatusCode::BAD_REQUEST,
            "bad-filename",
            "No name for a file",
            "choose another name, or leave it out",
        ),
        Refused::ClipIsOpen(_) => (
            StatusCode::CONFLICT,
            "recording-already",
            "Another recording is not finished",
            "DELETE this path ends it",
        ),
        Refused::NotStarted { .. } => (
            StatusCode::NOT_FOUND,
            "not-recording",
            "Nothing to end",
            "POST to this path starts a recording",
        ),
        Refused::NoPlace | Refused::TooMany(_) | Refused::Ending => (
            StatusCode::SERVICE_UNAVAILABLE,
            "cannot-record",
            "Nothing can be recorded",
            "ask again when that is mended",
        ),
    };
    Problem::new(status, code, title, refused.to_string(), next).into_response()
}
