//! From a request to a page of the feed ([`crate::feed`]), on every port: browsers send a cookie to the port alone from which their page came.

use std::sync::Arc;

use axum_core::response::IntoResponse as _;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode, Uri};
use url::form_urlencoded;

use super::Shared;
use super::access::{self, Caller};
use super::api::me::Me;
use super::forwarded;
use super::peer::Peer;
use super::place::Place;
use super::problem::Problem;
use super::routes::{Answer, Call, Route, Target, Verb};
use super::socket;
use crate::auth::{Action, Object, Principal, Refusal, may};
use crate::feed::{self, Page};

/// What one may do to be let in: one of these to something.
const ACTIONS: &[Action] = &[Action::View, Action::Publish];
/// Where stands who it is, and what the name of the cookie depends on.
const SHOWN: [HeaderName; 5] = [
    AUTHORIZATION,
    COOKIE,
    forwarded::USER,
    forwarded::GROUPS,
    forwarded::PREFIX,
];

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Get,
    path: "/api/v1/live",
    target: Target::Socket {
        actions: ACTIONS,
        handler: live,
    },
    about: None,
}];

/// What is told is asked for each key.
fn live(mut call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let handshake = match socket::handshake(&mut call) {
            Ok(handshake) => handshake,
            Err(problem) => return problem.into_response(),
        };
        let page = match open(&call, caller) {
            Ok(page) => page,
            Err(problem) => return problem.into_response(),
        };
        let stop = page.stop();
        handshake.switch(page, feed::SIZES, stop)
    })
}

fn open(call: &Call, caller: Caller) -> Result<Page, Problem> {
    let (shared, place) = (&call.shared, call.place());
    let query = call.request.uri().query().unwrap_or_default();
    let after = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "after");
    // What is no number of ours is as good as none.
    let after = after.and_then(|(_, id)| id.parse().ok());
    let again = again(call, place.clone(), caller.clone());
    let class = shared.feed.class(caller.who, &place, Me::text);
    let limit = shared.settings.live.now().limits.live_clients;
    shared.feed.open(class, after, again, limit).map_err(|full| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-pages",
            "Too many pages are open",
            full.to_string(),
            format!("try again later, or raise {}", full.setting()),
        )
        .with(RETRY_AFTER, HeaderValue::from_static("5"))
    })
}

/// Asks again by what was shown at the beginning, and nothing else of it.
fn again(call: &Call, place: Place, was: Caller) -> feed::Again {
    let (shared, peer): (Arc<Shared>, Peer) = (Arc::clone(&call.shared), call.peer);
    let uri: Uri = call.request.uri().clone();
    let headers: HeaderMap = (call.request.headers().iter())
        .filter(|(name, _)| SHOWN.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Box::new(
        move || match access::identify_again(&shared, peer, &headers, &uri, &was) {
            Ok(caller) if is_let_in(&caller.who) => {
                feed::Answer::Still(shared.feed.class(caller.who, &place, Me::text))
            }
            Err(Refusal::Busy { .. } | Refusal::Braked { .. } | Refusal::Away) => feed::Answer::Later,
            Ok(_) | Err(_) => feed::Answer::Ended,
        },
    )
}

fn is_let_in(who: &Principal) -> bool {
    let mut actions = ACTIONS.iter();
    actions.any(|action| may(who, *action, Object::Some).is_allowed())
}
