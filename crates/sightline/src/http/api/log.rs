//! `GET /api/v1/log`: the newest lines of the log.

use axum_core::response::IntoResponse as _;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use url::form_urlencoded;

use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::Operation;
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};

pub(super) const GET: Operation = Operation {
    problems: &[400],
    ..Operation::reads::<Lines>("The newest lines of the log")
};

/// Lines that are given unless it is said otherwise.
const USUAL: usize = 100;
/// Most lines of one answer.
const MOST: usize = 1_000;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogLines")]
struct Lines {
    /// The oldest first. Each an object with `timestamp` (RFC 3339, UTC), `level`, `event` and what belongs to it.
    lines: Vec<serde_json::Map<String, Value>>,
    /// What `from` is for those behind them.
    next: u64,
    /// How many in front of them are not kept any more.
    missed: u64,
}

/// Without `from`: the newest.
pub(super) fn get(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let (from, most) = match asked(call.request.uri().query().unwrap_or_default()) {
            Ok(asked) => asked,
            Err(problem) => return problem.into_response(),
        };
        let part = call.shared.settings.log.read(from, most);
        let line = |line: &std::sync::Arc<str>| serde_json::from_str(line).ok();
        json(&Lines {
            lines: part.lines.iter().filter_map(line).collect(),
            next: part.next,
            missed: part.missed,
        })
    })
}

fn asked(query: &str) -> Result<(Option<u64>, usize), Problem> {
    let (mut from, mut most) = (None, USUAL);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let number = || {
            value.parse::<u64>().map_err(|_| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    "bad-page",
                    "Not a part of a list",
                    format!("\"{name}\" is no whole number"),
                    "ask with ?limit=100 and ?from=N, where N is `next` of the answer before",
                )
            })
        };
        match &*name {
            "from" => from = Some(number()?),
            "limit" => most = usize::try_from(number()?).unwrap_or(MOST).clamp(1, MOST),
            _ => {}
        }
    }
    Ok((from, most))
}
