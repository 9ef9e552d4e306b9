//! What every answer looks like: JSON, pages, and the header fields that protect who reads them.

use axum_core::response::{IntoResponse as _, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::problem::Problem;

/// What a page may do: show what we send. No script, nothing from elsewhere, in nobody's frame. Images are for the icon: Chromium shows
/// that of our other pages where one names none, and calls it a violation of the page's policy.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// What the page may do that plays and publishes: run our scripts, which talk to where they came from, play and show what they put
/// together, and be installed.
const APP_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; \
     connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// For what is no page, should somebody look at it in a browser.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// JSON with status 200.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response(),
        // Keys that are no text, which ours are.
        Err(_) => Problem::bug().into_response(),
    }
}

/// A page.
pub(super) fn page(status: StatusCode, html: String) -> Response {
    (status, html_under(PAGE_POLICY), html).into_response()
}

/// The page that plays and publishes.
pub(super) fn app(html: String) -> Response {
    (html_under(APP_POLICY), html).into_response()
}

fn html_under(policy: &'static str) -> [(HeaderName, HeaderValue); 2] {
    [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
    ]
}

/// Sends the browser to another place, by GET.
pub(super) fn see(location: String) -> Response {
    match HeaderValue::try_from(location) {
        Ok(location) => (StatusCode::SEE_OTHER, [(http::header::LOCATION, location)]).into_response(),
        // Only what is safe in a URL is ever given.
        Err(_) => Problem::bug().into_response(),
    }
}

/// Header fields of an answer, with room for those that it is sent with: they find their place without moving each other.
pub(super) fn head() -> HeaderMap {
    HeaderMap::with_capacity(12)
}

/// Adds what every answer carries, where its handler did not say otherwise.
pub(super) fn protect(headers: &mut HeaderMap) {
    // Each checked while the program is built: read again for every answer they would cost more than their places.
    let usual: [(HeaderName, HeaderValue); 5] = [
        // Most is for one client and now; what may be kept says so.
        (CACHE_CONTROL, const { HeaderValue::from_static("no-store") }),
        (X_CONTENT_TYPE_OPTIONS, const { HeaderValue::from_static("nosniff") }),
        // URLs may carry a token.
        (REFERRER_POLICY, const { HeaderValue::from_static("no-referrer") }),
        (X_FRAME_OPTIONS, const { HeaderValue::from_static("DENY") }),
        (CONTENT_SECURITY_POLICY, const { HeaderValue::from_static(DATA_POLICY) }),
    ];
    for (name, value) in usual {
        headers.entry(name).or_insert(value);
    }
}

/// A text made safe to stand in HTML, also in an attribute's value.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_that_html_knows_is_left() {
        assert_eq!(
            super::escaped("<a href=\"x\" b='y'>&"),
            "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;"
        );
    }
}
