//! WHIP (RFC 9725) and WHEP: sessions of WebRTC asked for by HTTP (CONTRACT §3).
//!
//! Belongs here: what a request must look like, and what its answers are. Does not belong here: the sessions themselves ([`crate::webrtc`]).
//!
//! A session's URL holds 128 random bits and needs no further credential: whoever was answered it may change and end it.

use std::sync::Arc;

use axum_core::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};
use media::StreamName;
use protocol::webrtc::Fragment;
use url::form_urlencoded;

use super::access::Caller;
use super::body;
use super::openapi::{Content, Operation};
use super::problem::Problem;
use super::routes::{Answer, Call, Route, Target, Verb};
use crate::auth::Action;
use crate::forward::via;
use crate::webrtc::{Asked, Created, Patched, Refused, Which};

/// Largest offer; more is 413.
const MAX_OFFER_BYTES: usize = 128 << 10;
/// Largest fragment.
const MAX_FRAGMENT_BYTES: usize = 32 << 10;
/// When somebody who found no room may come again.
const RETRY_AFTER_S: u16 = 5;
/// Longest `User-Agent` that is kept.
const MAX_AGENT_BYTES: usize = 128;
const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Why sessions are for everybody.
const SECRET: &str = "whoever knows a session's URL was answered it, and it cannot be guessed";
/// Why what is accepted is for everybody.
const ACCEPTS: &str = "it says in which form offers come, the same for every name";

const WATCH: Operation = Operation {
    body: Some(Content::text(SDP)),
    status: 201,
    problems: &[400, 404, 406, 413, 415, 503],
    ..Operation::gives("Watch by WebRTC (WHEP): an offer, answered", SDP)
};
const PUBLISH: Operation = Operation {
    problems: &[400, 406, 409, 413, 415, 503, 508],
    summary: "Publish by WebRTC (WHIP, RFC 9725): an offer, answered",
    ..WATCH
};
const TRICKLE: Operation = Operation {
    body: Some(Content::text(FRAGMENT)),
    problems: &[400, 404, 412, 413, 415],
    ..Operation::does("Candidates, or an ICE restart (RFC 8840), of a session", 204)
};
const LEAVE: Operation = Operation {
    problems: &[404],
    ..Operation::does("End a session", 200)
};

macro_rules! session_routes {
    ($endpoint:literal, $about:expr, $action:expr, $post:expr, $which:expr) => {
        [
            Route {
                verb: Verb::Post,
                path: concat!("/{+name}/", $endpoint),
                target: Target::Stream {
                    action: $action,
                    handler: $post,
                },
                about: Some(&$about),
            },
            Route {
                verb: Verb::Options,
                path: concat!("/{+name}/", $endpoint),
                target: Target::Public {
                    why: ACCEPTS,
                    handler: options,
                },
                about: None,
            },
            Route {
                verb: Verb::Patch,
                path: concat!("/{+name}/", $endpoint, "/{session}"),
                target: Target::Public {
                    why: SECRET,
                    handler: |call| patch(call, $which),
                },
                about: Some(&TRICKLE),
            },
            Route {
                verb: Verb::Delete,
                path: concat!("/{+name}/", $endpoint, "/{session}"),
                target: Target::Public {
                    why: SECRET,
                    handler: |call| delete(call, $which),
                },
                about: Some(&LEAVE),
            },
            Route {
                verb: Verb::Options,
                path: concat!("/{+name}/", $endpoint, "/{session}"),
                target: Target::Public {
                    why: ACCEPTS,
                    handler: options,
                },
                about: None,
            },
        ]
    };
}

pub(super) const WHEP: &[Route] = &session_routes!("whep", WATCH, Action::View, view, Which::Viewer);
pub(super) const WHIP: &[Route] = &session_routes!("whip", PUBLISH, Action::Publish, publish, Which::Publisher);

/// `POST /NAME/whep`.
fn view(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        let made = async {
            let (call, asked) = asked(call, &caller, Action::View, name).await?;
            let created = call.webrtc.view(asked).await;
            created
                .map(|created| call.created(created))
                .map_err(|refused| problem(&refused))
        };
        made.await.unwrap_or_else(Problem::into_response)
    })
}

/// `POST /NAME/whip`.
fn publish(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        let made = async {
            let (call, asked) = asked(call, &caller, Action::Publish, name).await?;
            let (remote, stream) = (asked.remote, asked.stream.clone());
            let created = call.webrtc.publish(asked);
            created.map(|created| call.created(created)).map_err(|refused| {
                tracing::warn!(%remote, %stream, reason = %refused, "WebRTC publisher refused");
                problem(&refused)
            })
        };
        made.await.unwrap_or_else(Problem::into_response)
    })
}

/// `OPTIONS` of an endpoint or a session.
fn options(call: Call) -> Answer {
    Box::pin(async move {
        let accepts = match call.params.get("session") {
            "" => [(ACCEPT_POST, HeaderValue::from_static(SDP))],
            _ => [(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT))],
        };
        (StatusCode::NO_CONTENT, accepts).into_response()
    })
}

/// `PATCH` of a session: trickled candidates, or a restart of ICE.
fn patch(call: Call, which: Which) -> Answer {
    Box::pin(async move {
        let patched = async {
            let (name, session) = (
                call.params.get("name").to_owned(),
                call.params.get("session").to_owned(),
            );
            let webrtc = Arc::clone(&call.shared.webrtc);
            if !webrtc.is_there(which, &name, &session) {
                return Err(no_such_session());
            }
            has_type(call.request.headers(), FRAGMENT)?;
            let if_match = text(call.request.headers(), IF_MATCH).map(str::to_owned);
            let (remote, patience) = (call.peer.remote, call.shared.settings.patience.body);
            let body = body::read(call.request.into_body(), MAX_FRAGMENT_BYTES, patience).await?;
            let fragment = Fragment::parse(&body).map_err(|error| bad(error.to_string()))?;
            match webrtc
                .patch(which, (&name, &session), fragment, if_match.as_deref(), remote)
                .await
            {
                Patched::Gone => Err(no_such_session()),
                Patched::Outdated => Err(Problem::new(
                    StatusCode::PRECONDITION_FAILED,
                    "other-ice",
                    "Another ICE session",
                    "If-Match names an ICE session that was replaced",
                    "send the candidates of the one that the newest ETag names, or begin anew",
                )),
                Patched::Noted => Ok(StatusCode::NO_CONTENT.into_response()),
                Patched::Restarted { fragment, etag } => {
                    let headers = [(CONTENT_TYPE, HeaderValue::from_static(FRAGMENT)), (ETAG, value(&etag))];
                    Ok((StatusCode::OK, headers, fragment).into_response())
                }
            }
        };
        patched.await.unwrap_or_else(Problem::into_response)
    })
}

/// `DELETE` of a session.
fn delete(call: Call, which: Which) -> Answer {
    Box::pin(async move {
        let (name, session) = (call.params.get("name"), call.params.get("session"));
        if call.shared.webrtc.end(which, name, session).await {
            return StatusCode::OK.into_response();
        }
        no_such_session().into_response()
    })
}

/// What is left of a request when its offer is read.
struct Asking {
    webrtc: Arc<crate::webrtc::Service>,
    path: String,
}

impl Asking {
    fn created(&self, created: Created) -> Response {
        let location = format!("{}/{}", self.path, created.secret);
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static(SDP)),
            (LOCATION, value(&location)),
            (ETAG, value(&created.etag)),
            (ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT)),
        ];
        (StatusCode::CREATED, headers, created.sdp).into_response()
    }
}

/// Reads an offer.
async fn asked(call: Call, caller: &Caller, action: Action, stream: StreamName) -> Result<(Asking, Asked), Problem> {
    let headers = call.request.headers();
    has_type(headers, SDP)?;
    if !accepts(headers, SDP) {
        return Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "not-acceptable",
            "Nothing that is accepted",
            format!("the answer is {SDP}, which the header Accept leaves out"),
            format!("send Accept: {SDP}, or none"),
        ));
    }
    let agent = text(headers, USER_AGENT).map(|agent| {
        let end = agent
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .take_while(|end| *end <= MAX_AGENT_BYTES)
            .last();
        Arc::from(&agent[..end.unwrap_or(0)])
    });
    let uri = call.request.uri();
    let mut query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let at_once = query.any(|(key, value)| key == "latency" && value == "min");
    let query = uri.query().map(Box::from);
    let came_through = via::of_headers(headers);
    let asking = Asking {
        webrtc: Arc::clone(&call.shared.webrtc),
        path: format!("{}{}", call.peer.prefix(headers), uri.path()),
    };
    let (remote, patience) = (call.peer.remote, call.shared.settings.patience.body);
    let offer = body::read(call.request.into_body(), MAX_OFFER_BYTES, patience).await?;
    let asked = Asked {
        grant: caller.who.leash(action, &stream),
        stream,
        offer,
        remote,
        agent,
        query,
        at_once,
        came_through,
    };
    Ok((asking, asked))
}

fn problem(refused: &Refused) -> Problem {
    let detail = refused.to_string();
    match refused {
        Refused::NoStream(missing) => Problem::missing(
            missing,
            "GET /api/v1/streams on the dashboard's port lists those there are; one that is not there may come, so ask again",
        ),
        Refused::Offer(_) => bad(detail),
        Refused::Full { .. } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "full",
            "No room for another session",
            detail,
            "come again later, or let the administrator raise limits.webrtc_sessions",
        )
        .with(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S)),
        Refused::Circle(_) => Problem::new(
            StatusCode::LOOP_DETECTED,
            "circle",
            "The stream goes around in a circle",
            detail,
            "take this server out of the setting forward of the one that sends it, or send it under another name",
        ),
        Refused::Publish(_) => Problem::new(
            StatusCode::CONFLICT,
            "not-taken-over",
            "The stream cannot be published now",
            detail,
            "publish under another name, or end the other publisher",
        ),
    }
}

fn bad(detail: String) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad-offer",
        "The offer cannot be answered",
        detail,
        "send what RTCPeerConnection.createOffer gives, as it is",
    )
}

fn no_such_session() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-session",
        "No such session",
        "the session has ended, or never was",
        "begin a new one with POST",
    )
}

/// What the body is said to be.
fn has_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Problem> {
    let given = text(headers, CONTENT_TYPE).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "wrong-type",
        "Not what this path takes",
        format!("the header Content-Type is not {wanted}"),
        format!("send Content-Type: {wanted}"),
    ))
}

/// Whether an answer of this type is accepted; without the header everything is (RFC 9110 §12.5.1). Weights are not looked at, but for zero.
fn accepts(headers: &HeaderMap, ours: &str) -> bool {
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .peekable();
    if ranges.peek().is_none() {
        return true;
    }
    ranges.flat_map(|ranges| ranges.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
            weight.is_some_and(|weight| weight <= 0.0)
        });
        !refused && (essence == "*/*" || essence == "application/*" || essence.eq_ignore_ascii_case(ours))
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Paths of requests and our own words, all of them visible ASCII.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
