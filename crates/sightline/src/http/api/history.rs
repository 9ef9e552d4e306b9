//! `GET /api/v1/history`: what figures were.

use axum_core::response::IntoResponse as _;
use http::StatusCode;
use media::{StreamName, WallTime};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use url::form_urlencoded;

use super::streams::rfc3339;
use crate::feed::sample::{KEPT, OF_STREAM, OF_SYSTEM};
use crate::history::{Answer as Kept, Error, MOST_METRICS, Query};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::{Operation, Parameter};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Seen, stream_name};

pub(super) const HISTORY: Operation = Operation {
    query: &[
        Parameter {
            name: "camera",
            what: "the name of a stream; without it the machine",
            kind: "string",
        },
        Parameter {
            name: "metric",
            what: "a figure of the live feed, such as `fps`; may be given several times, 8 at most",
            kind: "string",
        },
        Parameter {
            name: "from",
            what: "RFC 3339, or milliseconds of Unix time; an hour before `to` without it",
            kind: "string",
        },
        Parameter {
            name: "to",
            what: "likewise; now without it",
            kind: "string",
        },
        Parameter {
            name: "step",
            what: "milliseconds; made coarser where not as much is kept, or where there were more than 2,000",
            kind: "integer",
        },
    ],
    problems: &[400, 503],
    ..Operation::reads::<History>("What figures were")
};

/// What figures were.
#[derive(Serialize, JsonSchema)]
struct History {
    /// The beginning of the first step. RFC 3339.
    from: String,
    step_ms: i64,
    /// By metric.
    values: BTreeMap<&'static str, Values>,
}

/// A number for each step, null where nothing is known.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HistoryOfMetric")]
struct Values {
    mean: Vec<Option<f64>>,
    min: Vec<Option<f64>>,
    max: Vec<Option<f64>>,
}

/// `GET /api/v1/history`: of a stream for who may view it, of the machine for who may view some.
pub(super) fn history(call: Call, _: Caller, seen: Seen) -> Answer {
    Box::pin(async move {
        let now = call.shared.clock.wall();
        let (query, names) = match asked(&call, now) {
            Ok(asked) => asked,
            Err(problem) => return problem.into_response(),
        };
        if let Some(camera) = &query.camera {
            let demanded = stream_name(camera).and_then(|name: StreamName| {
                let headers = call.request.headers();
                seen.demand(&name, headers)
            });
            if let Err(problem) = demanded {
                return problem.into_response();
            }
        }
        let counts_hidden = query.camera.is_none() && !seen.holds_all();
        let Some(history) = &call.shared.settings.history else {
            return not_kept("history.enabled is false in the settings of this server").into_response();
        };
        match history.ask(query).await {
            Ok(kept) => json(&form(&kept, &names, counts_hidden)),
            Err(error @ (Error::Busy | Error::Unreadable)) => not_kept(&error.to_string()).into_response(),
        }
    })
}

fn not_kept(why: &str) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no-history",
        "There is no history",
        why,
        "ask again when that is mended",
    )
}

fn asked(call: &Call, now: WallTime) -> Result<(Query, Vec<&'static str>), Problem> {
    let wrong = |detail: String| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-history",
            "Not a question to the history",
            detail,
            "ask with ?camera=NAME&metric=fps&from=2026-11-23T10:00:00Z&to=2026-11-23T11:00:00Z&step=60000",
        )
    };
    let (mut camera, mut wanted, mut from, mut to, mut step) = (None, Vec::new(), None, None, 1_000);
    let query = call.request.uri().query().unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "camera" => camera = Some(value.into_owned()),
            "metric" => wanted.extend(value.split(',').map(str::to_owned)),
            "from" => from = Some(seconds(&value).ok_or_else(|| wrong(format!("from: {value:?} is no time")))?),
            "to" => to = Some(seconds(&value).ok_or_else(|| wrong(format!("to: {value:?} is no time")))?),
            "step" => {
                let asked = value.parse::<i64>().ok();
                let asked = asked.filter(|step| (1..=LONGEST_S * 1_000).contains(step));
                step = asked.ok_or_else(|| wrong(format!("step: {value:?} is no number of milliseconds")))?;
            }
            _ => {}
        }
    }
    let known = if camera.is_some() {
        &OF_STREAM[..KEPT]
    } else {
        &OF_SYSTEM[..KEPT]
    };
    if wanted.is_empty() || wanted.len() > MOST_METRICS {
        return Err(wrong(format!(
            "{} metrics are asked for; 1 to {MOST_METRICS} are told",
            wanted.len()
        )));
    }
    let mut metrics = Vec::new();
    for name in &wanted {
        let place = known.iter().position(|known| known == name);
        let unknown = || wrong(format!("{name:?} is no metric here; there are {}", known.join(", ")));
        metrics.push(place.ok_or_else(unknown)?);
    }
    let to = to.unwrap_or_else(|| now.unix_micros().div_euclid(1_000_000) + 1);
    let from = from.unwrap_or(to - 3_600);
    if from >= to || to - from > LONGEST_S {
        return Err(wrong(
            "from lies not before to, or more than a hundred years".to_owned(),
        ));
    }
    let names = metrics.iter().filter_map(|place| known.get(*place).copied()).collect();
    let step = (step + 999) / 1_000;
    Ok((
        Query {
            camera,
            metrics,
            from,
            to,
            step,
        },
        names,
    ))
}

/// A hundred years.
const LONGEST_S: i64 = 100 * 366 * 86_400;

fn seconds(text: &str) -> Option<i64> {
    let ms = match text.parse::<i64>() {
        Ok(ms) => ms,
        Err(_) => text.parse::<jiff::Timestamp>().ok()?.as_millisecond(),
    };
    // What RFC 3339 can say.
    (-62_000_000_000_000..253_000_000_000_000)
        .contains(&ms)
        .then(|| ms.div_euclid(1_000))
}

fn form(kept: &Kept, names: &[&'static str], counts_hidden: bool) -> History {
    let values = names.iter().zip(&kept.values).map(|(name, threes)| {
        let hidden = counts_hidden && ["streams", "viewers"].contains(name);
        let of = |at: usize| {
            let values = threes
                .iter()
                .map(|three| three.filter(|_| !hidden).and_then(|three| three.0.get(at).copied()));
            // Three digits are kept.
            values
                .map(|value| value.map(|value| (value * 1_000.0).round() / 1_000.0))
                .collect()
        };
        let values = Values {
            mean: of(1),
            min: of(0),
            max: of(2),
        };
        (*name, values)
    });
    History {
        from: rfc3339(WallTime::from_unix_micros(kept.from.saturating_mul(1_000_000))),
        step_ms: kept.step * 1_000,
        values: values.collect(),
    }
}
