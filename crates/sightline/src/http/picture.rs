//! Single pictures over HTTP: what is asked of them, and how they are sent.
//!
//! Belongs here: width and quality of a query, header fields. Does not belong here: where pictures come from ([`crate::stills`], [`crate::record::library`]).

use axum_core::body::Body;
use axum_core::response::Response;
use bytes::Bytes;
use device::jpeg::Shape;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED,
    RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use media::WallTime;
use url::form_urlencoded;

use super::answer;
use super::openapi::Parameter;
use super::problem::Problem;

pub(super) const JPEG: &str = "image/jpeg";
pub(super) const WIDTH: Parameter = Parameter {
    name: "width",
    what: "Pixels of a row at the most, 16 to 8192; the picture is never made larger. Left out: as it is",
    kind: "integer",
};
pub(super) const QUALITY: Parameter = Parameter {
    name: "quality",
    what: "Of the JPEG, 1 to 100; 80 where it is left out",
    kind: "integer",
};

/// What a query says of a picture.
pub(super) fn shape(query: &str) -> Result<Shape, Problem> {
    let number = |name: &'static str, range: std::ops::RangeInclusive<u16>| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let Some((_, text)) = pairs.find(|(known, _)| known == name) else {
            return Ok(None);
        };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad-query",
                "Not a question that can be answered",
                format!("{name}={text:?} is no number from {least} to {most}"),
                "ask as GET /api/v1/openapi.json describes it",
            )
        })
    };
    let usual = Shape::default();
    Ok(Shape {
        max_width: number("width", 16..=8_192)?,
        quality: number("quality", 1..=100)?.map_or(usual.quality, |quality| quality as u8),
    })
}

/// A picture that is sent.
pub(super) struct Picture {
    pub(super) jpeg: Bytes,
    /// When it was captured.
    pub(super) at: WallTime,
    /// What else tells it from others of that instant.
    pub(super) mark: String,
    pub(super) cache: HeaderValue,
    /// Header fields of its own.
    pub(super) more: Vec<(HeaderName, String)>,
}

impl Picture {
    /// The answer; without the picture where it is known already.
    pub(super) fn answer(self, request: &HeaderMap) -> Response {
        let etag = format!("\"{}-{}\"", self.at.unix_micros(), self.mark);
        let known = request.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let is_known = known.is_some_and(|known| {
            let mut tags = known.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
            tags.any(|tag| tag == "*" || tag == etag)
        });
        let at = jiff::Timestamp::from_microsecond(self.at.unix_micros()).unwrap_or_default();
        let mut headers = answer::head();
        headers.insert(CONTENT_TYPE, const { HeaderValue::from_static(JPEG) });
        headers.insert(CACHE_CONTROL, self.cache);
        // Who opens it in a browser wants to see it.
        headers.insert(CONTENT_SECURITY_POLICY, const { HeaderValue::from_static(POLICY) });
        let fields = [
            (ETAG, etag),
            (LAST_MODIFIED, at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()),
            (CAPTURE_TIME, at.to_string()),
        ];
        for (name, text) in fields.into_iter().chain(self.more) {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
        let (status, body) = match is_known {
            true => (StatusCode::NOT_MODIFIED, Body::empty()),
            false => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(self.jpeg.len()));
                (StatusCode::OK, Body::from(self.jpeg))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// There is something, but no picture of it.
pub(super) fn none(detail: String) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no-picture",
        "There is no picture",
        detail,
        "do what is said there, or ask again in a moment",
    )
    .with(RETRY_AFTER, HeaderValue::from(2))
}

/// To the microsecond, RFC 3339: `Last-Modified` has seconds.
const CAPTURE_TIME: HeaderName = HeaderName::from_static("x-capture-time");
/// As every answer's, but that a browser may show it.
const POLICY: &str = "default-src 'none'; img-src 'self'; frame-ancestors 'none'";
