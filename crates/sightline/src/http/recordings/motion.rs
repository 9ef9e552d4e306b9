//! How much moved in front of a camera, for the timeline.

use axum_core::response::{IntoResponse as _, Response};
use media::StreamName;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Ask, END, Query, START, bad_query, library, ms, now, problem, rfc3339};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::{Operation, Parameter};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};
use crate::record::index::MAX_STEPS;

pub(super) const INTENSITY: Operation = Operation {
    query: &[
        START,
        END,
        Parameter {
            name: "resolution_ms",
            what: "How long a step is; without it, and where there would be more than 2,000, as long as makes 2,000 of them. A second at the least",
            kind: "integer",
        },
    ],
    problems: &[400, 404, 503],
    ..Operation::reads::<Intensity>(
        "How much moved in front of a camera, step by step; of the last hour where no range is said, of 31 days at the most",
    )
};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MotionIntensity")]
struct Intensity {
    camera: String,
    /// RFC 3339.
    start: String,
    end: String,
    /// How long a step is; the last may be shorter.
    resolution_ms: i64,
    /// The most of each step: 0 is nothing, 255 all of the picture; in between the square root of how much of it, so that little is told apart from less.
    intensity: Vec<u8>,
}

/// `GET /api/v1/recordings/CAMERA/motion`.
pub(super) fn intensity(call: Call, _: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move { told(&ask, camera).await.unwrap_or_else(Problem::into_response) })
}

async fn told(ask: &Ask, camera: StreamName) -> Result<Response, Problem> {
    let library = library(&ask.shared)?;
    let query = Query::of(ask);
    let now = now(&ask.shared);
    let range = query.range(now.saturating_sub(HOUR_90K).max(0)..now.max(1))?;
    let length_90k = range.end.saturating_sub(range.start);
    if length_90k > LONGEST_90K {
        return Err(bad_query("the range is longer than 31 days"));
    }
    let asked_ms = query.number("resolution_ms", 1..LONGEST_90K / 90 + 1)?.unwrap_or(1);
    let least_90k = (length_90k + MAX_STEPS as i64 - 1) / MAX_STEPS as i64;
    let step_90k = (asked_ms * 90).max(least_90k).max(SECOND_90K);
    // Of whole milliseconds, as it is told.
    let step_90k = (step_90k + 89) / 90 * 90;
    let steps = library.intensity(camera.clone(), range.clone(), step_90k).await;
    Ok(json(&Intensity {
        camera: camera.to_string(),
        start: rfc3339(range.start),
        end: rfc3339(range.end),
        resolution_ms: ms(step_90k),
        intensity: steps.map_err(|error| problem(&error))?,
    }))
}

const SECOND_90K: i64 = 90_000;
const HOUR_90K: i64 = 3_600 * SECOND_90K;
/// What can be asked for at once: 45,000 rows.
const LONGEST_90K: i64 = 31 * 24 * HOUR_90K;
