//! What MediaMTX's playback answers, for tools that ask it there: `/list` and `/get`.
//!
//! Belongs here: the names and shapes of MediaMTX 1.20. Does not belong here: our own API (`super`), which says more. MediaMTX has a port of its own for them; here
//! they are on that of the API. A clip of ours is one file in either format: fragmented, with its length and its index in front.

use axum_core::response::{IntoResponse as _, Response};
use media::StreamName;
use schemars::JsonSchema;
use serde::Serialize;
use url::form_urlencoded;

use super::{Ask, END, Query, START, bad_query, library, media as clips, problem, rfc3339};
use crate::auth::Action;
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::{Operation, Parameter};
use crate::http::paths::Params;
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Route, Target, Verb, stream_name};
use crate::record::index::MAX_TIME_90K;
use crate::record::library::Error;

const PATH: Parameter = Parameter {
    name: "path",
    what: "The camera: the name of its stream",
    kind: "string",
};

pub(in crate::http) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/list",
        target: Target::Camera {
            action: Action::Replay,
            of: path,
            handler: list,
        },
        about: Some(&Operation {
            query: &[PATH, START, END],
            problems: &[400, 404, 503],
            ..Operation::reads::<Vec<Stretch>>("What is recorded, as MediaMTX lists it")
        }),
    },
    Route {
        verb: Verb::Get,
        path: "/get",
        target: Target::Camera {
            action: Action::Replay,
            of: path,
            handler: get,
        },
        about: Some(&Operation {
            query: &[
                PATH,
                START,
                Parameter {
                    name: "duration",
                    what: "Seconds, a day at the most",
                    kind: "number",
                },
                Parameter {
                    name: "format",
                    what: "fmp4 or mp4, which are the same here",
                    kind: "string",
                },
            ],
            problems: &[400, 404, 416, 503],
            ..Operation::gives("A clip, as MediaMTX serves it", clips::MP4)
        }),
    },
];

fn path(_: &Params, query: &str) -> Result<StreamName, Problem> {
    stream_name(&Query(query).text("path").unwrap_or_default())
}

/// What is recorded without a gap.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MediamtxRecording")]
struct Stretch {
    start: String,
    /// Seconds.
    duration: f64,
    url: String,
}

fn list(call: Call, _: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move { listed(&ask, camera).await.unwrap_or_else(Problem::into_response) })
}

async fn listed(ask: &Ask, camera: StreamName) -> Result<Response, Problem> {
    let library = library(&ask.shared)?;
    let range = Query::of(ask).range(0..MAX_TIME_90K)?;
    let runs = library.runs(camera.clone(), range, 0).await;
    let runs = runs.map_err(|error| problem(&error))?;
    // So does MediaMTX, whose clients know it.
    if runs.runs.is_empty() {
        return Err(problem(&Error::Nothing));
    }
    let (scheme, port) = match ask.peer.is_secure() {
        true => ("https", ask.shared.ports.https),
        false => ("http", ask.shared.ports.http),
    };
    let direct = || format!("{scheme}://{}:{port}", ask.place.host());
    let base = ask.place.base().map_or_else(direct, str::to_owned);
    let stretches = runs.runs.iter().map(|run| {
        let start = rfc3339(run.start_90k);
        let duration = run.end_90k.saturating_sub(run.start_90k) as f64 / 90_000.0;
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("duration", &duration.to_string())
            .append_pair("path", camera.as_str())
            .append_pair("start", &start)
            .finish();
        Stretch {
            url: format!("{base}/get?{query}"),
            start,
            duration,
        }
    });
    Ok(json(&stretches.collect::<Vec<_>>()))
}

fn get(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let format = Query::of(&ask).text("format");
        if !matches!(format.as_deref(), None | Some("fmp4" | "mp4")) {
            return bad_query("format is fmp4 or mp4").into_response();
        }
        clips::clip_of(&ask, &caller, camera)
            .await
            .unwrap_or_else(Problem::into_response)
    })
}
