//! What people see who come with a browser: where to sign in, and what there is.
//!
//! Belongs here: pages made of text alone, without a script. Does not belong here: the player and the dashboard, which are written for
//! themselves (docs/design/browser.md).

use std::future::ready;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use media::hub::State;
use url::form_urlencoded;

use super::access::{self, Caller, Shown};
use super::answer::{escaped, json, page, see};
use super::body;
use super::problem::Problem;
use super::routes::{self, Answer, Call, Route, Target, Verb, sees};
use crate::auth::{Action, Presented, Principal, Session};
use crate::secret::Secret;

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/",
        target: Target::Page {
            action: Action::View,
            handler: home,
        },
    },
    Route {
        verb: Verb::Post,
        path: "/sign-in",
        target: Target::Public {
            why: "this is where a credential is shown",
            handler: take_credential,
        },
    },
    Route {
        verb: Verb::Post,
        path: "/sign-out",
        target: Target::Public {
            why: "it only asks the browser to forget",
            handler: sign_out,
        },
    },
    Route {
        verb: Verb::Get,
        path: "/assets/pages.css",
        target: Target::Public {
            why: "the sign-in page needs it, and it says nothing",
            handler: style,
        },
    },
    Route {
        verb: Verb::Get,
        path: "/healthz",
        target: Target::Public {
            why: "supervisors have no credential, and learn nothing but that we answer",
            handler: health,
        },
    },
];

/// Where to sign in, in place of a page that is not shown. Without a credential that is no error: nobody has been asked for one yet.
pub(super) fn sign_in(problem: &Problem) -> Response {
    if problem.is_missing_credential() {
        return page(StatusCode::OK, SIGN_IN.replace("{word}", ""));
    }
    let word = format!("<p role=\"alert\">{}</p>", escaped(&problem.sentence()));
    let mut response = page(problem.status(), SIGN_IN.replace("{word}", &word));
    response.headers_mut().extend(problem.headers().clone());
    response
}

/// The streams, as far as one may see them.
fn home(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let secure = call.peer.is_secure(call.request.headers());
        let wall = call.shared.clock.wall();
        let cookie = match (&caller.who, caller.shown) {
            (Principal::Known(role), Shown::Query) => access::cookie(&call.shared, Session::new(*role, wall), secure),
            (_, Shown::Cookie(session)) if session.is_stale(wall) => {
                access::cookie(&call.shared, Session::new(session.role, wall), secure)
            }
            _ => None,
        };
        // The token in the URL would stay in the browser's history and in bookmarks.
        let mut response = match (caller.shown, &cookie) {
            (Shown::Query, Some(_)) => see("./"),
            _ => page(StatusCode::OK, home_page(&call, &caller)),
        };
        if let Some(cookie) = cookie {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    })
}

fn home_page(call: &Call, caller: &Caller) -> String {
    let host = call.host();
    let rtsp_port = call.shared.settings.rtsp_port;
    let streams = call.shared.hub.list();
    let rows = streams
        .iter()
        .filter(|stream| sees(&caller.who, stream.name()))
        .map(|stream| {
            let url = format!("rtsp://{host}:{rtsp_port}/{}", stream.name());
            let state = match stream.state() {
                State::Live => "live",
                State::Held { .. } => "waiting for its publisher",
                State::Ended(_) => "over",
            };
            let (name, url) = (escaped(stream.name().as_str()), escaped(&url));
            format!("<li><b>{name}</b> <span>{state}</span><code>{url}</code></li>")
        });
    let rows: String = rows.collect();
    let rows = if rows.is_empty() {
        "<li>No stream is published now.</li>".to_owned()
    } else {
        rows
    };
    let sign_out = match caller.shown {
        Shown::Cookie(_) => "<form method=\"post\" action=\"sign-out\"><button>Sign out</button></form>",
        _ => "",
    };
    HOME.replace("{rows}", &rows).replace("{sign-out}", sign_out)
}

/// What the sign-in page sends.
fn take_credential(call: Call) -> Answer {
    Box::pin(async move {
        let secure = call.peer.is_secure(call.request.headers());
        let (parts, form) = call.request.into_parts();
        let token = match token_of_form(&parts.headers, form, call.shared.settings.patience.body).await {
            Ok(token) => token,
            Err(problem) => return problem.into_response(),
        };
        let now = call.shared.clock.now();
        let known = call
            .shared
            .auth
            .http(call.peer.remote, Presented::Token(token.expose()), None, now);
        match known {
            Ok(Principal::Known(role)) => {
                let session = Session::new(role, call.shared.clock.wall());
                let mut response = see("./");
                if let Some(cookie) = access::cookie(&call.shared, session, secure) {
                    response.headers_mut().append(SET_COOKIE, cookie);
                }
                response
            }
            // Nobody needs a credential here.
            Ok(Principal::Near | Principal::Anyone) => see("./"),
            Err(refusal) => {
                routes::refused("/sign-in", &call.shared, call.peer, refusal.to_string());
                sign_in(&Problem::refused(refusal, &parts.headers))
            }
        }
    })
}

/// The token in what the sign-in page sent.
async fn token_of_form(headers: &HeaderMap, form: Body, patience: Duration) -> Result<Secret, Problem> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "wrong-type",
            "Unsupported media type",
            "this path takes what the form of the sign-in page sends",
            "programs need not sign in: they show the token in the header Authorization",
        ));
    }
    let form = body::read(form, MAX_FORM_BYTES, patience).await?;
    let token = form_urlencoded::parse(&form).find(|(name, _)| name == "token");
    Ok(token.map_or_else(Secret::default, |(_, token)| Secret::new(token.trim())))
}

fn sign_out(call: Call) -> Answer {
    Box::pin(async move {
        let mut response = see("./");
        if let Some(cookie) = access::no_cookie(call.peer.is_secure(call.request.headers())) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    })
}

fn style(_: Call) -> Answer {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    ];
    Box::pin(ready((headers, STYLE).into_response()))
}

fn health(_: Call) -> Answer {
    Box::pin(ready(json(&serde_json::json!({ "status": "ok" }))))
}

/// A token is a few dozen bytes; what people choose themselves may be longer.
const MAX_FORM_BYTES: usize = 4 << 10;

const SIGN_IN: &str = include_str!("sign_in.html");
const HOME: &str = include_str!("home.html");
const STYLE: &str = include_str!("pages.css");
