//! From a request to the route that it means, and from the route's answer to what is sent.
//!
//! Belongs here: what each port does with every request, what happens beside the routes, what pages of other sites may read. Does not
//! belong here: who is let through (`super::routes`), how a path is read (`super::paths`).
//!
//! In place of a router of axum's, whose layers each box and move request and answer: they took 22,000 instructions of the 51,000 that
//! a list of LL-HLS took (`docs/design/performance.md` §6).

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum_core::body::Body;
use axum_core::extract::Request;
use axum_core::response::{IntoResponse as _, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CONTENT_LENGTH,
    LOCATION,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper::body::Body as _;

use super::forwarded::Forwarded;
use super::paths::{Below, Named, Pattern};
use super::peer::Peer;
use super::problem::Problem;
use super::routes::{LIVE, Port, Route, Verb, pass};
use super::{Shared, answer};

/// Whether pages of other sites may read answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cors {
    /// They may not, but below `/live/`.
    Live,
    /// All may, but never with cookies: players and WHEP snippets stand on people's own pages (CONTRACT §3, §4).
    Everybody,
}

impl Cors {
    /// Whether pages of other sites may read what is at this path.
    fn opens(self, path: &str) -> bool {
        self == Self::Everybody || path.starts_with(LIVE)
    }
}

/// What a port does with requests.
pub(super) struct Entrance {
    shared: Arc<Shared>,
    named: Named,
    below: Below,
    streams_at: &'static str,
    cors: Cors,
}

impl Entrance {
    pub(super) fn new(port: Port, cors: Cors, shared: &Arc<Shared>) -> Self {
        let routes = || port.tables.iter().copied().flatten();
        Self {
            shared: Arc::clone(shared),
            named: Named::new(routes()),
            below: Below::new(routes()),
            streams_at: port.streams_at,
            cors,
        }
    }

    /// The answer to a request, whatever becomes of it.
    pub(super) async fn answer(&self, peer: Peer, mut request: Request) -> Response {
        let peer = self.client(peer, &mut request);
        let open = self.cors.opens(request.uri().path());
        let is_head = *request.method() == Method::HEAD;
        let mut response = match caught(self.find_and_pass(peer, request)).await {
            Ok(response) => response,
            Err(_) => {
                self.shared.panicked();
                Problem::bug().into_response()
            }
        };
        if is_head {
            response = without_body(response);
        }
        let headers = response.headers_mut();
        if open {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, const { HeaderValue::from_static("*") });
            let exposed = const { HeaderValue::from_static("Location, ETag, Link, Accept-Patch") };
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        answer::protect(headers);
        response
    }

    /// Who asks, through whatever proxies that are trusted; from here on the request is as if there were none.
    fn client(&self, peer: Peer, request: &mut Request) -> Peer {
        let trusted = self.shared.settings.trusted.get();
        match Forwarded::of(&trusted, peer.remote, request.headers()) {
            Some(said) => {
                // A page that was given our address writes what it likes into the other fields, and not into this one.
                let came_by = peer.named_host(request.uri(), request.headers());
                let is_ours = came_by.is_none_or(|name| self.shared.settings.hosts.get().have(&name));
                said.settle(request.headers_mut());
                peer.at(self.streams_at).behind(&said, is_ours)
            }
            None => peer.at(self.streams_at),
        }
    }

    async fn find_and_pass(&self, peer: Peer, request: Request) -> Response {
        let (method, path) = (request.method(), request.uri().path());
        let named = path.strip_prefix('/').and_then(|path| self.named.find(path));
        let below = path.strip_prefix(self.streams_at).unwrap_or_default();
        let Some((pattern, params)) = named.or_else(|| self.below.find(below)) else {
            if matches!(*method, Method::GET | Method::HEAD) && self.below.lacks_slash(below) {
                return with_slash(below, request.uri().query());
            }
            return self.beside(&request, Problem::no_such_path);
        };
        let Some(route) = pattern.routes.iter().find(|route| route.verb.takes(method)) else {
            let mut response = self.beside(&request, Problem::wrong_method);
            response.headers_mut().insert(ALLOW, allowed(pattern));
            return response;
        };
        let preflight = self.asks_for_others(&request);
        let mut response = pass(route, &self.shared, peer, params, request).await;
        if preflight {
            response.headers_mut().extend(preflight_headers());
        }
        response
    }

    /// Beside all routes: browsers ask before they let pages of other sites do more than read (Fetch §4.8); else there is a problem.
    fn beside(&self, request: &Request, problem: fn() -> Problem) -> Response {
        if self.asks_for_others(request) {
            return (StatusCode::NO_CONTENT, preflight_headers()).into_response();
        }
        problem().into_response()
    }

    /// Whether a browser asks what pages of other sites may do, and they may.
    fn asks_for_others(&self, request: &Request) -> bool {
        let asks =
            *request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        asks && self.cors.opens(request.uri().path())
    }
}

/// What a future gives, or with what it panicked: a bug of ours ends its request alone.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    // What was half done when it panicked belonged to the request, which is given up.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// The methods that a path takes, for `Allow` (RFC 9110 §10.2.1).
fn allowed(pattern: &Pattern) -> HeaderValue {
    let names = pattern.routes.iter().flat_map(|route: &&Route| match route.verb {
        Verb::Get => vec![Method::GET, Method::HEAD],
        verb => vec![verb.method()],
    });
    let names: Vec<_> = names.map(|method| method.to_string()).collect();
    // Names of methods are words.
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

/// To the same path as a folder, so that what its page asks for is below it. Relative, for there may be a proxy in front.
fn with_slash(path: &str, query: Option<&str>) -> Response {
    let last = path.rsplit('/').next().unwrap_or_default();
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let location = HeaderValue::from_str(&format!("./{last}/{query}"));
    match location {
        Ok(location) => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response(),
        Err(_) => Problem::no_such_path().into_response(),
    }
}

/// The answer to HEAD: all but the body.
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(parts, Body::empty())
}

fn preflight_headers() -> HeaderMap {
    let says = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PATCH, DELETE, OPTIONS"),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, If-Match, Range",
        ),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    says.into_iter()
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .collect()
}
