//! Reading what a request brings, up to a size and for a while.
//!
//! Belongs here: its length, its time, what it is said to be. Does not belong here: what is in it.

use std::time::Duration;

use axum_core::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;

use super::problem::Problem;

/// How much of a body that is too large is read all the same: whoever is still sending when the connection is closed may lose the answer (RFC 9112 §9.6), and a
/// proxy makes 502 of it.
const MAX_DISCARDED_BYTES: usize = 4 << 20;

/// What JSON is called.
pub(super) const JSON: &[&str] = &["application/json"];

/// The whole body of a request that is to bring JSON, and says so by one of these types. `takes`: what this path takes, for people.
///
/// # Errors
/// A problem with 415, or as [`read`].
pub(super) async fn json(
    headers: &HeaderMap,
    body: Body,
    (types, takes): (&[&str], &str),
    max_bytes: usize,
    patience: Duration,
) -> Result<Bytes, Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !types.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "wrong-type",
            "Unsupported media type",
            format!("this path takes {takes} as JSON"),
            "send it with `Content-Type: application/json`",
        ));
    }
    read(body, max_bytes, patience).await
}

/// The whole body.
///
/// # Errors
/// A problem with 413, 408 or 400.
pub(super) async fn read(body: Body, max_bytes: usize, patience: Duration) -> Result<Bytes, Problem> {
    let (mut kept, mut count) = (BytesMut::new(), 0);
    let reading = collect(body, max_bytes, &mut kept, &mut count);
    let read = tokio::time::timeout(patience, reading).await;
    match read {
        _ if count > max_bytes => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The body is too large",
            format!("this path takes at most {max_bytes} bytes"),
            "send less",
        )),
        Ok(Ok(())) => Ok(kept.freeze()),
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

async fn collect(
    mut body: Body,
    max_bytes: usize,
    kept: &mut BytesMut,
    count: &mut usize,
) -> Result<(), axum_core::Error> {
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        *count = count.saturating_add(data.len());
        if *count <= max_bytes {
            kept.extend_from_slice(&data);
        } else if *count > max_bytes.saturating_add(MAX_DISCARDED_BYTES) {
            break;
        }
    }
    Ok(())
}
