//! The table of routes, and the one way to their handlers.
//!
//! Belongs here: what a route is, who is let through to it, which routes each port has, what happens beside the routes. Does not belong
//! here: what a handler does.
//!
//! A [`Route`] cannot be made without its [`Target`], which says who may use it, and what a handler is given depends on that: only those
//! behind a check get a [`Caller`]. No router is made anywhere else (`clippy.toml`).

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use media::StreamName;
use tower_http::catch_panic::CatchPanicLayer;

use super::access::{self, Caller, Shown};
use super::notices::RefusedAccess;
use super::peer::{self, Peer};
use super::problem::Problem;
use super::{Shared, answer, api, pages};
use crate::auth::{Action, Decision, Object, Principal, Refusal, may};

/// The dashboard's ports.
pub(super) const DASHBOARD: &[&[Route]] = &[pages::ROUTES, api::ROUTES];
/// The ports of HLS and WebRTC.
pub(super) const PLAYERS: &[&[Route]] = &[pages::ROUTES];

/// What a handler gives.
pub(super) type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// One method at one path.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) verb: Verb,
    /// As the router takes it, `/api/v1/streams/{name}`.
    pub(super) path: &'static str,
    pub(super) target: Target,
}

/// The methods that routes may have. HEAD comes with GET, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
}

/// Who may use a route, and what does the work.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// Everybody, for a reason that has to be written down.
    Public {
        /// For who reads the table.
        #[allow(dead_code, reason = "written down for people, and checked by a test")]
        why: &'static str,
        handler: fn(Call) -> Answer,
    },
    /// Whoever may do this to the program. Others are shown where to sign in, not an error.
    Page {
        action: Action,
        handler: fn(Call, Caller) -> Answer,
    },
    /// Whoever may do this to the program.
    Program {
        action: Action,
        handler: fn(Call, Caller) -> Answer,
    },
    /// Whoever may do this to the stream that the path names, `{name}`.
    Stream {
        action: Action,
        handler: fn(Call, Caller, StreamName) -> Answer,
    },
}

/// A request on its way to a handler.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    pub(super) request: Request,
}

impl Call {
    /// The host by which the client knows us.
    pub(super) fn host(&self) -> String {
        let settings = &self.shared.settings;
        let used = || self.peer.host(self.request.uri(), self.request.headers());
        settings.host.clone().unwrap_or_else(used)
    }
}

/// Whether pages of other sites may read answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cors {
    /// They may not.
    None,
    /// All may, but never with cookies: players and WHEP snippets stand on people's own pages (CONTRACT §3, §4).
    Everybody,
}

/// The router of these tables.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where routers are made, from tables alone"
)]
pub(super) fn router(tables: &[&'static [Route]], cors: Cors, shared: &Arc<Shared>) -> Router {
    let routes = tables.iter().copied().flatten();
    let router = routes.fold(Router::new(), |router, route| {
        let shared = Arc::clone(shared);
        let pass = move |request: Request| pass(route, Arc::clone(&shared), request);
        router.route(route.path, on(route.verb.filter(), pass))
    });
    let counting = Arc::clone(shared);
    let on_panic = move |_: Box<dyn Any + Send>| {
        counting.panicked();
        Problem::bug().into_response()
    };
    router
        .fallback(move |request: Request| beside(cors, request, Problem::no_such_path))
        .method_not_allowed_fallback(move |request: Request| beside(cors, request, Problem::wrong_method))
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(axum::middleware::map_response(move |response: Response| {
            shared_with(cors, response)
        }))
        .layer(axum::middleware::map_response(answer::protected))
}

impl Verb {
    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
        }
    }
}

/// To the handler, for who may.
async fn pass(route: &'static Route, shared: Arc<Shared>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(peer) = parts.extensions.get::<Peer>().copied() else {
        return Problem::bug().into_response();
    };
    let gate = Gate {
        route,
        shared: &shared,
        peer,
    };
    let call = |parts| Call {
        shared: Arc::clone(&shared),
        peer,
        request: Request::from_parts(parts, body),
    };
    match route.target {
        Target::Public { handler, .. } => handler(call(parts)).await,
        Target::Page { action, handler } => match gate.enter(action, Object::Program, &parts) {
            Ok(caller) => handler(call(parts), caller).await,
            Err(problem) => pages::sign_in(&problem),
        },
        Target::Program { action, handler } => match gate.enter(action, Object::Program, &parts) {
            Ok(caller) => handler(call(parts), caller).await,
            Err(problem) => problem.into_response(),
        },
        Target::Stream { action, handler } => {
            let name = stream_name(&mut parts).await;
            // Whether a name is one is told to those alone who may ask at all.
            let object = name.as_ref().map_or(Object::Program, Object::Stream);
            match (gate.enter(action, object, &parts), name) {
                (Ok(caller), Ok(name)) => handler(call(parts), caller, name).await,
                (Err(problem), _) | (Ok(_), Err(problem)) => problem.into_response(),
            }
        }
    }
}

/// In front of a route.
struct Gate<'a> {
    route: &'static Route,
    shared: &'a Shared,
    peer: Peer,
}

impl Gate<'_> {
    /// Who asks, if they may do this, and if it is themselves who ask.
    fn enter(&self, action: Action, object: Object<'_>, request: &Parts) -> Result<Caller, Problem> {
        let headers = &request.headers;
        let caller = access::identify(self.shared, self.peer, request).map_err(|refusal| {
            // Whoever shows nothing has not been told yet that it must.
            if refusal != Refusal::Missing {
                self.tell(refusal.to_string());
            }
            Problem::refused(refusal, headers)
        })?;
        if let denied @ Decision::Deny { .. } = may(&caller.who, action, object) {
            self.tell(denied.to_string());
            return Err(Problem::refused(Refusal::Forbidden(denied), headers));
        }
        // What a browser adds by itself, cookie or address, says nothing about who wrote the page that asks.
        let by_itself = !matches!(caller.shown, Shown::Header | Shown::Query);
        if by_itself && self.route.verb != Verb::Get && peer::is_from_another_site(headers) {
            self.tell("requested by a page of another site".to_owned());
            return Err(Problem::another_site());
        }
        Ok(caller)
    }

    fn tell(&self, reason: String) {
        refused(self.route.path, self.shared, self.peer, reason);
    }
}

/// Tells the log. `route` is the path as the table has it.
pub(super) fn refused(route: &'static str, shared: &Shared, peer: Peer, reason: String) {
    let word = RefusedAccess {
        remote: peer.remote,
        route,
        reason,
    };
    shared.notices.access.happened(word, shared.clock.now());
}

/// The stream that the path names, slashes in it percent-encoded.
async fn stream_name(parts: &mut Parts) -> Result<StreamName, Problem> {
    let bad = |why: String| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-name",
            "Not the name of a stream",
            why,
            "write it as GET /api/v1/streams lists it, with %2F for a slash",
        )
    };
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|error| bad(error.to_string()))?;
    let name = params.iter().find_map(|(key, value)| (key == "name").then_some(value));
    name.unwrap_or_default()
        .parse()
        .map_err(|error: media::name::InvalidName| bad(error.to_string()))
}

/// Beside all routes: browsers ask before they let pages of other sites do more than read (Fetch §4.8); else there is a problem.
async fn beside(cors: Cors, request: Request, problem: fn() -> Problem) -> Response {
    let asks = request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if cors == Cors::None || !asks {
        return problem().into_response();
    }
    let says = [
        (
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE, OPTIONS"),
        ),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Authorization, Content-Type, If-Match, Range"),
        ),
        (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
    ];
    (StatusCode::NO_CONTENT, says).into_response()
}

/// Lets other sites read an answer, where they may.
async fn shared_with(cors: Cors, mut response: Response) -> Response {
    if cors == Cors::Everybody {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let exposed = HeaderValue::from_static("Location, ETag, Link, Accept-Patch");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}

/// Whether somebody may see an object that a list holds.
pub(super) fn sees(who: &Principal, name: &StreamName) -> bool {
    may(who, Action::View, name).is_allowed()
}
