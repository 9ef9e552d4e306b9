//! What people see who come with a browser: where to sign in, and what there is.
//!
//! Belongs here: pages made of text alone, and, in `app`, what the server writes into the page that plays and
//! publishes. Does not belong here: that page itself (`web/`), and its files (`super::assets`).

mod app;

use std::future::ready;
use std::sync::atomic::Ordering::Relaxed;

use axum_core::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use media::hub::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::access::{Caller, Shown};
use super::answer::{escaped, json, page, see};
use super::assets;
use super::openapi::Operation;
use super::problem::Problem;
use super::routes::{Answer, Call, Route, Target, Verb, sees};
use super::signing;
use crate::auth::{Action, Identity, Object};

/// Where streams are listed on the dashboard's ports: the player.
const HEALTH: Operation = Operation::reads::<Health>("Whether the program answers");
const READINESS: Operation = Operation {
    problems: &[503],
    ..Operation::reads::<Health>("Whether its cameras have pictures")
};

/// The screens of the dashboard. Which one it is, the page knows by its path; who may open it, this table says.
pub(super) const DASHBOARD: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/",
        target: Target::Page {
            action: Action::View,
            of: Object::Some,
            handler: |call, caller| home(call, caller, app::dashboard),
        },
        about: None,
    },
    screen("/wall", Action::View, Object::Some),
    screen("/wall/{layout}", Action::View, Object::Some),
    screen("/timeline", Action::Replay, Object::Some),
    screen("/events", Action::Replay, Object::Some),
    screen("/exports", Action::Replay, Object::Some),
    screen("/cameras", Action::Operate, Object::Some),
    screen("/cameras/add", Action::Administer, Object::Program),
    screen("/inspector", Action::Operate, Object::Some),
    screen("/system", Action::Operate, Object::Program),
    // One's own is for whoever is let in; the rest of it asks the API, which is for admins.
    own("/settings"),
    own("/settings/me"),
    screen("/settings/{*part}", Action::Administer, Object::Program),
    entry("/first-run", |call| app::entry(call, app::View::FirstRun)),
    entry("/join", |call| app::entry(call, app::View::Join)),
    entry("/shared", |call| app::entry(call, app::View::Shared)),
];

const fn screen(path: &'static str, action: Action, of: Object<'static>) -> Route {
    Route {
        verb: Verb::Get,
        path,
        target: Target::Page {
            action,
            of,
            handler: |call, caller| Box::pin(ready(app::dashboard(&call, &caller))),
        },
        about: None,
    }
}

const fn own(path: &'static str) -> Route {
    Route {
        verb: Verb::Get,
        path,
        target: Target::KnownPage {
            handler: |call, caller| Box::pin(ready(app::dashboard(&call, &caller))),
        },
        about: None,
    }
}

/// What the links of people lead to.
const fn entry(path: &'static str, handler: fn(Call) -> Answer) -> Route {
    Route {
        verb: Verb::Get,
        path,
        target: Target::Public {
            why: "whoever has a link has no account yet; it says nothing, and the code of the link stays in the browser",
            handler,
        },
        about: None,
    }
}

/// On the ports of HLS and WebRTC: a list that leads to the players.
pub(super) const PLAYERS_HOME: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/",
    target: Target::Page {
        action: Action::View,
        of: Object::Some,
        handler: |call, caller| home(call, caller, list),
    },
    about: None,
}];

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/{+name}/",
        target: Target::StreamPage {
            action: Action::View,
            handler: app::watch,
        },
        about: None,
    },
    Route {
        verb: Verb::Get,
        path: "/{+name}/publish",
        target: Target::StreamPage {
            action: Action::Publish,
            handler: app::publish,
        },
        about: None,
    },
    Route {
        verb: Verb::Post,
        path: "/sign-in",
        target: Target::Public {
            why: "this is where a credential is shown",
            handler: signing::take_form,
        },
        about: None,
    },
    Route {
        verb: Verb::Post,
        path: "/sign-out",
        target: Target::Public {
            why: "it only asks the browser to forget",
            handler: signing::sign_out,
        },
        about: None,
    },
    Route {
        verb: Verb::Get,
        path: "/assets/pages.css",
        target: Target::Public {
            why: "the sign-in page needs it, and it says nothing",
            handler: style,
        },
        about: None,
    },
    Route {
        verb: Verb::Get,
        path: "/healthz",
        target: Target::Public {
            why: "supervisors have no credential, and learn nothing but that we answer",
            handler: health,
        },
        about: Some(&HEALTH),
    },
    Route {
        verb: Verb::Get,
        path: "/readyz",
        target: Target::Public {
            why: "supervisors have no credential, and learn nothing but whether to send people here",
            handler: readiness,
        },
        about: Some(&READINESS),
    },
];

/// From a page to where `/` is, as a relative reference: a proxy may have put it all below a path of its own.
pub(super) fn root(page_path: &str) -> String {
    match page_path.matches('/').count() {
        0 | 1 => "./".to_owned(),
        slashes => "../".repeat(slashes - 1),
    }
}

/// Whether this is the path of a page of ours below `/`, which somebody may be sent to.
pub(super) fn is_place(path: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-' | '/' | '%');
    let odd = |part: &str| part.starts_with('.');
    path.len() <= MAX_PLACE_BYTES && path.chars().all(fits) && !path.starts_with('/') && !path.split('/').any(odd)
}

/// The page at `/`, and the session that goes with it.
fn home(call: Call, caller: Caller, show: fn(&Call, &Caller) -> Response) -> Answer {
    Box::pin(async move {
        if caller.shown != Shown::Query {
            return show(&call, &caller);
        }
        // The token in the URL would stay in the browser's history and in bookmarks.
        let (headers, identity) = (call.request.headers().clone(), Identity::of(&caller.who));
        let people = call.shared.auth.everybody();
        match signing::begin(&call.shared, call.peer, &headers, &identity, &people).await {
            Ok(Some(cookie)) => {
                let mut response = see("./".to_owned());
                response.headers_mut().append(SET_COOKIE, cookie);
                response
            }
            Ok(None) => show(&call, &caller),
            Err(problem) => problem.into_response(),
        }
    })
}

/// The streams, as far as one may see them.
fn list(call: &Call, caller: &Caller) -> Response {
    let place = call.place();
    let rtsp_port = call.shared.settings.rtsp_port;
    let streams = call.shared.hub.list();
    let rows = streams
        .iter()
        .filter(|stream| sees(&caller.who, stream.name()))
        .map(|stream| {
            let url = place.rtsp(rtsp_port, stream.name());
            let state = match stream.state() {
                State::Live => "live",
                State::Held { .. } => "waiting for its publisher",
                State::Ended(_) => "over",
            };
            let (name, url) = (escaped(stream.name().as_str()), escaped(&url));
            format!("<li><a href=\"{name}/\">{name}</a> <span>{state}</span><code>{url}</code></li>")
        });
    let rows: String = rows.collect();
    let rows = if rows.is_empty() {
        "<li>No stream is published now.</li>".to_owned()
    } else {
        rows
    };
    let sign_out = match caller.shown {
        Shown::Cookie => "<form method=\"post\" action=\"sign-out\"><button>Sign out</button></form>",
        _ => "",
    };
    let html = HOME
        .replace("{icon}", &assets::icon())
        .replace("{rows}", &rows)
        .replace("{sign-out}", sign_out);
    page(StatusCode::OK, html)
}

fn style(_: Call) -> Answer {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    ];
    Box::pin(ready((headers, STYLE).into_response()))
}

/// How it is.
#[derive(Serialize, JsonSchema)]
struct Health {
    /// `ok`, or `ready`.
    status: &'static str,
}

fn health(_: Call) -> Answer {
    Box::pin(ready(json(&Health { status: "ok" })))
}

/// Whether people should be sent here: not before the program's own cameras or slates gave their first picture, and not when it ends.
fn readiness(call: Call) -> Answer {
    Box::pin(async move {
        let why = match call.shared.streams.awaited().next() {
            _ if call.shared.ending.load(Relaxed) => "the program ends".to_owned(),
            Some(name) => format!("\"{name}\" of this machine has no picture yet"),
            None => return json(&Health { status: "ready" }),
        };
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "Not ready",
            why,
            "ask again in a second",
        );
        problem.with(RETRY_AFTER, HeaderValue::from_static("1")).into_response()
    })
}

/// A stream's name and what is around it, percent-encoded at the worst.
const MAX_PLACE_BYTES: usize = 700;

const HOME: &str = include_str!("home.html");
const STYLE: &str = include_str!("pages.css");
