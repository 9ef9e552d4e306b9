//! Reading what a request brings, up to a size and for a while.

use std::time::Duration;

use axum_core::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::problem::Problem;

/// The whole body.
///
/// # Errors
/// A problem with 413, 408 or 400.
pub(super) async fn read(body: Body, max_bytes: usize, patience: Duration) -> Result<Bytes, Problem> {
    let reading = Limited::new(body, max_bytes).collect();
    match tokio::time::timeout(patience, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The body is too large",
            format!("this path takes at most {max_bytes} bytes"),
            "send less",
        )),
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "body-broken",
            "The body is broken",
            "it ended before it was complete, or is not framed as its headers say",
            "send it again",
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "too-slow",
            "The body came too slowly",
            format!("it was not complete after {} s", patience.as_secs_f32()),
            "send it again",
        )),
    }
}
