//! `GET /api/v1/streams/NAME/snapshot.jpg`: the newest keyframe of a stream.

use axum_core::response::{IntoResponse as _, Response};
use http::request::Parts;
use media::StreamName;

use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::hls::cache_control;
use crate::http::openapi::Operation;
use crate::http::picture::{self, JPEG, Picture};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};
use crate::stills::NoStill;

pub(super) const SNAPSHOT: Operation = Operation {
    query: &[picture::WIDTH, picture::QUALITY],
    problems: &[400, 404, 503],
    ..Operation::gives(
        "The newest keyframe of a stream as JPEG; a source on demand is started",
        JPEG,
    )
};

pub(super) fn snapshot(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        let (parts, _) = call.request.into_parts();
        let answer = newest(&call.shared, &parts, &caller, &name).await;
        answer.unwrap_or_else(Problem::into_response)
    })
}

async fn newest(shared: &Shared, asked: &Parts, caller: &Caller, name: &StreamName) -> Result<Response, Problem> {
    let query = asked.uri.query().unwrap_or_default();
    let shape = picture::shape(query)?;
    let found = shared.streams.find_for(name, Some(query)).await;
    let stream = found.map_err(|missing| Problem::missing(&missing, PUBLISH))?;
    let still = shared.settings.stills.live(&stream, shape).await;
    let still = still.map_err(|none| match none {
        NoStill::NoPictures => Problem::new(
            http::StatusCode::NOT_FOUND,
            "no-pictures",
            "The stream has no pictures",
            none.to_string(),
            "ask for one that has; GET /api/v1/streams lists their tracks",
        ),
        other => picture::none(other.to_string()),
    })?;
    let picture = Picture {
        jpeg: still.jpeg,
        at: still.wall,
        mark: format!("{}x{}q{}", still.size.0, still.size.1, shape.quality),
        // Within a second there is rarely a newer one, and a wall asks every other.
        cache: cache_control(caller, Some(1)),
        more: Vec::new(),
    };
    Ok(picture.answer(&asked.headers))
}

/// What to do about a stream that is not there.
const PUBLISH: &str = "publish it, or look at GET /api/v1/streams for those there are";
