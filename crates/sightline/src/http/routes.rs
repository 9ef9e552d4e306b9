//! The table of routes, and the one way to their handlers.
//!
//! Belongs here: what a route is, who is let through to it, which routes each port has. Does not belong here: which route a request means
//! (`super::entrance`, `super::paths`), what a handler does.
//!
//! A [`Route`] cannot be made without its [`Target`], which says who may use it, and what a handler is given depends on that: only those
//! behind a check get a [`Caller`]. Nothing else leads to a handler: axum, whose router would, is forbidden (`deny.toml`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum_core::extract::Request;
use axum_core::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use media::StreamName;
use tokio::sync::watch;

use super::access::{self, Caller, Shown};
use super::notices::RefusedAccess;
use super::openapi::Operation;
use super::paths::Params;
use super::peer::{self, Peer};
use super::place::Place;
use super::problem::Problem;
use super::trail::Trail;
use super::{
    Shared, api, assets, challenge, hls, live, metrics, openapi, pages, rates, recordings, signing, socket, v3, webrtc,
};
use crate::auth::authority::{Protocol, Wants};
use crate::auth::people::Grant;
use crate::auth::{Action, Decision, Object, Principal, Refusal, Verdict, may};

/// What a port has.
#[derive(Clone, Copy)]
pub(super) struct Port {
    pub(super) tables: &'static [&'static [Route]],
    /// Where the routes below streams are.
    pub(super) streams_at: &'static str,
}

/// The dashboard's ports. Streams are below `/live/`, so that one port behind a proxy is enough for everything.
pub(super) const DASHBOARD: Port = Port {
    tables: &[
        pages::DASHBOARD,
        pages::ROUTES,
        assets::ROUTES,
        api::STREAM,
        api::ROUTES,
        api::people::ROUTES,
        recordings::ROUTES,
        recordings::EXPORTS,
        recordings::MEDIAMTX,
        v3::ROUTES,
        metrics::ROUTES,
        openapi::ROUTES,
        challenge::ROUTES,
        hls::ROUTES,
        webrtc::WHEP,
        webrtc::WHIP,
        socket::ROUTES,
        live::ROUTES,
    ],
    streams_at: LIVE,
};
/// The ports of HLS and WebRTC. Both have both: a page falls back from one to the other where it came from, with the cookie that it has.
pub(super) const PLAYERS: Port = Port {
    tables: &[
        pages::PLAYERS_HOME,
        pages::ROUTES,
        assets::ROUTES,
        api::STREAM,
        hls::ROUTES,
        webrtc::WHEP,
        webrtc::WHIP,
        socket::ROUTES,
        live::ROUTES,
    ],
    streams_at: "/",
};
pub(super) const LIVE: &str = "/live/";

/// What a handler gives.
pub(super) type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What does the work for somebody.
pub(super) type Handler = fn(Call, Caller) -> Answer;

/// One method at one path.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) verb: Verb,
    /// Written out, with parameters to the next slash or, as `{*name}`, to the end: `/api/v1/streams/{name}`. Or below a stream, whose name
    /// may hold slashes: `/{+name}/whep`.
    pub(super) path: &'static str,
    pub(super) target: Target,
    /// What the description of the API says of it; `None` for pages and what they are made of, and for what browsers ask by themselves.
    pub(super) about: Option<&'static Operation>,
}

/// The methods that routes may have. HEAD comes with GET, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Options,
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
    /// Whoever may do this to the program, or to some streams. Others are shown where to sign in, not an error.
    Page {
        action: Action,
        of: Object<'static>,
        handler: fn(Call, Caller) -> Answer,
    },
    /// Whoever is let in, by whatever. Others are shown where to sign in.
    KnownPage { handler: Handler },
    /// Whoever may do this to the stream that the path names. Others are shown where to sign in.
    StreamPage {
        action: Action,
        handler: fn(Call, Caller, StreamName) -> Answer,
    },
    /// Whoever may do this to the program.
    Program {
        action: Action,
        handler: fn(Call, Caller) -> Answer,
    },
    /// Whoever may view the program, or was given its figures alone.
    Metrics { handler: fn(Call, Caller) -> Answer },
    /// Whoever may do this to at least one stream. The answer holds of those alone which [`Seen`] has.
    Some {
        action: Action,
        handler: fn(Call, Caller, Seen) -> Answer,
    },
    /// Whoever is let in, by whatever.
    Known { handler: Handler },
    /// Whoever signed in with an account, here or in the settings; never a token, which could make others.
    Account {
        handler: fn(Call, Caller, Arc<Grant>) -> Answer,
    },
    /// A WebSocket, for whoever may do one of these to at least one stream. What is said on it is checked there.
    Socket {
        actions: &'static [Action],
        handler: fn(Call, Caller) -> Answer,
    },
    /// Whoever may do this to the stream that the path names, `{name}` or `{+name}`.
    Stream {
        action: Action,
        handler: fn(Call, Caller, StreamName) -> Answer,
    },
    /// Whoever may do this to the camera that the request names otherwise, which `of` finds.
    Camera {
        action: Action,
        of: fn(&Params, &str) -> Result<StreamName, Problem>,
        handler: fn(Call, Caller, StreamName) -> Answer,
    },
}

/// A request on its way to a handler.
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    /// What stands in the path where the route has parameters.
    pub(super) params: Params,
    pub(super) request: Request,
    /// What the audit log will say of it.
    pub(super) trail: Trail,
}

impl Call {
    /// Where the client finds us.
    pub(super) fn place(&self) -> Place {
        let (uri, headers) = (self.request.uri(), self.request.headers());
        let used = || self.peer.host(uri, headers);
        let host = self.shared.settings.host.clone().unwrap_or_else(used);
        match self.peer.base(uri, headers) {
            Some(base) => Place::behind(host, base, self.peer.streams_at()),
            None => Place::direct(host),
        }
    }
}

impl Verb {
    pub(super) fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
            Self::Options => Method::OPTIONS,
        }
    }

    /// HEAD is GET.
    pub(super) fn takes(self, method: &Method) -> bool {
        self.method() == *method || (self == Self::Get && *method == Method::HEAD)
    }
}

/// To the handler, for who may.
pub(super) async fn pass(
    route: &'static Route,
    shared: &Arc<Shared>,
    peer: Peer,
    params: Params,
    request: Request,
) -> Response {
    let trail = Trail::of(&params);
    if !is_audited(route) {
        return pass_on(route, shared, peer, params, request, &trail).await;
    }
    let shared = Arc::clone(shared);
    let here = watch::Sender::new(());
    let mut request = request;
    request.extensions_mut().insert(Gone(here.subscribe()));
    // Whoever hangs up meanwhile drops this future, but not what it began: that has its line all the same.
    let done = tokio::spawn(async move {
        let response = pass_on(route, &shared, peer, params, request, &trail).await;
        trail.write(route, &shared, peer, response.status()).await;
        response
    });
    let done = done.await;
    drop(here);
    match done {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The program ends.
            Err(_) => Problem::bug().into_response(),
        },
    }
}

/// Tells when whoever asked has hung up: for what takes long and changes nothing.
#[derive(Clone)]
pub(super) struct Gone(watch::Receiver<()>);

impl Gone {
    /// Waits for that.
    pub(super) async fn wait(mut self) {
        // Nothing is ever sent.
        while self.0.changed().await.is_ok() {}
    }
}

/// Whatever changes something has a line in the audit log, but for media, which have their own words in the log.
fn is_audited(route: &Route) -> bool {
    !matches!(route.verb, Verb::Get | Verb::Options) && !route.path.starts_with("/{+name}/")
}

async fn pass_on(
    route: &'static Route,
    shared: &Arc<Shared>,
    peer: Peer,
    params: Params,
    request: Request,
    trail: &Trail,
) -> Response {
    let (parts, body) = request.into_parts();
    let gate = Gate {
        route,
        shared,
        peer,
        trail,
    };
    let call = |parts, params| Call {
        shared: Arc::clone(shared),
        peer,
        params,
        request: Request::from_parts(parts, body),
        trail: trail.clone(),
    };
    match route.target {
        Target::Public { handler, .. } => handler(call(parts, params)).await,
        Target::Page { action, of, handler } => match gate.enter(action, of, &parts).await {
            Ok(caller) => handler(call(parts, params), caller).await,
            Err(problem) => signing::in_place_of(&problem, &parts.headers, parts.uri.path()),
        },
        Target::Program { action, handler } => match gate.enter(action, Object::Program, &parts).await {
            Ok(caller) => handler(call(parts, params), caller).await,
            Err(problem) => problem.into_response(),
        },
        Target::Metrics { handler } => match gate.enter(Action::View, Object::Metrics, &parts).await {
            Ok(caller) => handler(call(parts, params), caller).await,
            Err(problem) => problem.into_response(),
        },
        Target::Some { action, handler } => match gate.enter(action, Object::Some, &parts).await {
            Ok(caller) => {
                let seen = Seen {
                    who: caller.who.clone(),
                    action,
                };
                handler(call(parts, params), caller, seen).await
            }
            Err(problem) => problem.into_response(),
        },
        Target::KnownPage { handler } => match gate.enter_known(&parts).await {
            Ok(caller) => handler(call(parts, params), caller).await,
            Err(problem) => signing::in_place_of(&problem, &parts.headers, parts.uri.path()),
        },
        Target::Known { handler } => match gate.enter_known(&parts).await {
            Ok(caller) => handler(call(parts, params), caller).await,
            Err(problem) => problem.into_response(),
        },
        Target::Account { handler } => match gate.enter_account(&parts).await {
            Ok((caller, grant)) => handler(call(parts, params), caller, grant).await,
            Err(problem) => problem.into_response(),
        },
        Target::Socket { actions, handler } => match gate.enter_socket(actions, &parts).await {
            Ok(caller) => handler(call(parts, params), caller).await,
            Err(problem) => problem.into_response(),
        },
        Target::StreamPage { action, handler } => match gate.enter_stream(action, &params, &parts).await {
            Ok((caller, name)) => handler(call(parts, params), caller, name).await,
            Err(problem) => signing::in_place_of(&problem, &parts.headers, parts.uri.path()),
        },
        Target::Stream { action, handler } => match gate.enter_stream(action, &params, &parts).await {
            Ok((caller, name)) => handler(call(parts, params), caller, name).await,
            Err(problem) => problem.into_response(),
        },
        Target::Camera { action, of, handler } => {
            let named = of(&params, parts.uri.query().unwrap_or_default());
            match gate.enter_named(action, named, &parts).await {
                Ok((caller, name)) => handler(call(parts, params), caller, name).await,
                Err(problem) => problem.into_response(),
            }
        }
    }
}

/// Whoever showed nothing is asked to.
fn forbidden(caller: &Caller, denied: Decision) -> Refusal {
    match caller.who.is_nobody() {
        true => Refusal::Missing,
        false => Refusal::Forbidden(denied),
    }
}

/// In front of a route.
struct Gate<'a> {
    route: &'static Route,
    shared: &'a Shared,
    peer: Peer,
    trail: &'a Trail,
}

impl Gate<'_> {
    /// Who asks, if they may do this, and if it is themselves who ask.
    async fn enter(&self, action: Action, object: Object<'_>, request: &Parts) -> Result<Caller, Problem> {
        let headers = &request.headers;
        let caller = self.identify(request, Wants::Do(action, object)).await?;
        if let denied @ Decision::Deny { .. } = may(&caller.who, action, object) {
            self.tell(denied.to_string());
            return Err(Problem::refused(forbidden(&caller, denied), headers));
        }
        // What a browser adds by itself, cookie or address, says nothing about who wrote the page that asks.
        let by_itself = !matches!(caller.shown, Shown::Header | Shown::Query);
        let changes = match action {
            // Players of other sites POST to view.
            Action::View | Action::Replay => caller.shown != Shown::Nothing && self.route.verb != Verb::Get,
            // Where all is open, that is for all pages too.
            Action::Publish => !caller.who.is_anyone(),
            Action::Operate | Action::Erase | Action::Administer => self.route.verb != Verb::Get,
        };
        if by_itself && changes {
            self.refuse_other_sites(headers)?;
        }
        Ok(caller)
    }

    /// For a socket, on which anything may be said later: what a browser adds by itself opens it for our own pages alone, but where all is
    /// open to everybody.
    async fn enter_socket(&self, actions: &[Action], request: &Parts) -> Result<Caller, Problem> {
        let caller = self.identify(request, Wants::Who).await?;
        let decisions: Vec<Decision> = actions
            .iter()
            .map(|action| may(&caller.who, *action, Object::Some))
            .collect();
        if let (false, Some(denied)) = (decisions.contains(&Decision::Allow), decisions.first()) {
            self.tell(denied.to_string());
            return Err(Problem::refused(forbidden(&caller, *denied), &request.headers));
        }
        if !matches!(caller.shown, Shown::Header | Shown::Query) && !caller.who.is_anyone() {
            self.refuse_other_sites(&request.headers)?;
        }
        Ok(caller)
    }

    /// Whoever is let in.
    async fn enter_known(&self, request: &Parts) -> Result<Caller, Problem> {
        let caller = self.identify(request, Wants::Who).await?;
        if !matches!(caller.shown, Shown::Header | Shown::Query) && self.route.verb != Verb::Get {
            self.refuse_other_sites(&request.headers)?;
        }
        Ok(caller)
    }

    /// Whoever signed in with an account.
    async fn enter_account(&self, request: &Parts) -> Result<(Caller, Arc<Grant>), Problem> {
        let caller = self.enter_known(request).await?;
        let grant = caller.who.grant().filter(|grant| grant.has_account()).cloned();
        match grant {
            Some(grant) => Ok((caller, grant)),
            None => {
                self.tell("it has no account".to_owned());
                Err(Problem::no_account())
            }
        }
    }

    /// Who it is. Where somebody else decides, that is waited for; where nobody does, nothing is.
    async fn identify(&self, request: &Parts, wants: Wants<'_>) -> Result<Caller, Problem> {
        if self.peer.is_unproven() {
            self.tell("the proxy in front names a user, and does not show the secret of proxy.secret_file".to_owned());
        }
        let (verdict, shown) = access::identify(self.shared, self.peer, request, self.protocol(), wants);
        let known = match verdict {
            Verdict::Known(known) => known,
            asking @ Verdict::Ask(_) => Box::pin(asking.settled()).await,
        };
        let known = known.map(|who| Caller { who, shown });
        if rates::are_counted(self.route) && !self.has_turn(known.as_ref().ok()) {
            return Err(Problem::too_many_requests());
        }
        if let (Ok(caller), true) = (&known, self.route.verb != Verb::Get) {
            self.trail.saw(&caller.who);
        }
        let known = known.map_err(|refusal| {
            // Whoever shows nothing has not been told yet that it must.
            if refusal != Refusal::Missing {
                self.tell(refusal.to_string());
            }
            Problem::refused(refusal, &request.headers)
        });
        known.and_then(|caller| self.by_a_name_of_ours(caller, wants, request))
    }

    /// Whether it is not too often that this one asks.
    fn has_turn(&self, caller: Option<&Caller>) -> bool {
        let shared = self.shared;
        let (per_second, now) = (shared.settings.live.now().limits.requests, shared.clock.now());
        let who = caller.map(|caller| &caller.who);
        shared.rates.take(who, self.peer.remote, per_second, now)
    }

    /// Whoever is let in by address alone may be sent by a page of a site that gave its name our address (DNS rebinding). Not where pages of other sites may do
    /// the same under their own name.
    fn by_a_name_of_ours(&self, caller: Caller, wants: Wants<'_>, request: &Parts) -> Result<Caller, Problem> {
        // Somebody else may have let it in for its address, too, and nothing else was there to let it in for.
        if !caller.who.is_by_address() && caller.shown != Shown::Nothing {
            return Ok(caller);
        }
        let (uri, headers) = (&request.uri, &request.headers);
        let Some(host) = self.peer.named_host(uri, headers) else {
            return Ok(caller);
        };
        // WHEP is a POST.
        let plays = matches!(wants, Wants::Do(Action::View | Action::Replay, _));
        let reads = plays || (self.route.verb == Verb::Get && !matches!(self.route.target, Target::Socket { .. }));
        let is_for_all = self.peer.streams_at() != LIVE || uri.path().starts_with(LIVE);
        let is_ours = || !self.peer.is_by_another_name() && self.shared.settings.hosts.get().have(&host);
        if (is_for_all && (reads || caller.who.is_anyone())) || is_ours() {
            return Ok(caller);
        }
        self.tell(format!("by the name {host:?}, which is not known to be ours"));
        Err(Problem::not_our_name(&host))
    }

    /// As MediaMTX calls it.
    fn protocol(&self) -> Protocol {
        let of_webrtc = ["/{+name}/whep", "/{+name}/whip"];
        match of_webrtc.iter().any(|path| self.route.path.starts_with(path)) {
            true => Protocol::Webrtc,
            false => Protocol::Hls,
        }
    }

    fn refuse_other_sites(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if peer::is_from_another_site(headers) {
            self.tell("requested by a page of another site".to_owned());
            return Err(Problem::another_site());
        }
        Ok(())
    }

    /// The same for the stream that the path names.
    async fn enter_stream(
        &self,
        action: Action,
        params: &Params,
        request: &Parts,
    ) -> Result<(Caller, StreamName), Problem> {
        self.enter_named(action, stream_name(params.get("name")), request).await
    }

    /// The same for a stream that is named otherwise.
    async fn enter_named(
        &self,
        action: Action,
        named: Result<StreamName, Problem>,
        request: &Parts,
    ) -> Result<(Caller, StreamName), Problem> {
        match named {
            Ok(name) => Ok((self.enter(action, Object::Stream(&name), request).await?, name)),
            // Whether a name is one is told to those alone who may ask at all.
            Err(problem) => self.enter(action, Object::Some, request).await.and(Err(problem)),
        }
    }

    fn tell(&self, reason: String) {
        refused(self.route.path, self.shared, self.peer, reason);
    }
}

/// Tells the log. `route` is the path as the table has it.
pub(super) fn refused(route: &'static str, shared: &Shared, peer: Peer, reason: String) {
    let word = RefusedAccess {
        events: Arc::clone(shared.streams.events()),
        remote: peer.remote,
        route,
        reason,
    };
    shared.notices.access.happened(word, shared.clock.now());
}

/// The stream of this name.
pub(super) fn stream_name(text: &str) -> Result<StreamName, Problem> {
    text.parse().map_err(|error: media::name::InvalidName| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-name",
            "Not the name of a stream",
            error.to_string(),
            "write it as GET /api/v1/streams lists it, with %2F for a slash in the paths of the API",
        )
    })
}

/// Of which streams somebody is told who was let in because of some.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    who: Principal,
    action: Action,
}

impl Seen {
    /// Whether this one is among them.
    pub(super) fn holds(&self, name: &StreamName) -> bool {
        may(&self.who, self.action, name).is_allowed()
    }

    /// Whether all are.
    pub(super) fn holds_all(&self) -> bool {
        may(&self.who, self.action, Object::Program).is_allowed()
    }

    /// For a stream that the request names where no route could see it.
    ///
    /// # Errors
    /// What is answered to whoever may not do this to it.
    pub(super) fn demand(&self, name: &StreamName, headers: &HeaderMap) -> Result<(), Problem> {
        match may(&self.who, self.action, name) {
            Decision::Allow => Ok(()),
            denied => Err(Problem::refused(Refusal::Forbidden(denied), headers)),
        }
    }
}

/// Whether somebody may view a stream that is told of among others.
pub(super) fn sees(who: &Principal, name: &StreamName) -> bool {
    may(who, Action::View, name).is_allowed()
}
