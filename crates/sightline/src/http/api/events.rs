//! What happens, as server-sent events (WHATWG HTML §9.2): one long answer, which ends with the program.
//!
//! Belongs here: who is told what, how it is written. Does not belong here: what happens ([`crate::events`]).

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum_core::body::Body;
use axum_core::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use media::StreamName;
use tokio::sync::watch;
use url::form_urlencoded;

use crate::auth::people::People;
use crate::auth::{Action, Object, Principal, Refusal, may};
use crate::events::{Event, Heard, Kind, Listener, OF_CONNECTIONS, Sight};
use crate::http::Shared;
use crate::http::access::{self, Caller};
use crate::http::openapi::{Operation, Parameter};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Seen};

/// Silence after which something is sent, so that proxies in between do not take the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client waits before it comes again.
const RETRY_MS: u32 = 2_000;
/// Most names and kinds that one may ask for.
const MOST_ASKED: usize = 100;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// nginx would keep back what is said until it has a page of it.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) const LISTEN: Operation = Operation {
    query: &[
        Parameter {
            name: "stream",
            what: "Events of this stream alone; may be given several times",
            kind: "string",
        },
        Parameter {
            name: "kind",
            what: "Events of this kind alone, `viewer.left` or all of `viewer`; may be given several times",
            kind: "string",
        },
    ],
    problems: &[400, 503],
    ..Operation::gives(
        "What happens, as server-sent events: an answer that ends with the program",
        "text/event-stream",
    )
};

/// `GET /api/v1/events`.
pub(super) fn listen(call: Call, caller: Caller, _: Seen) -> Answer {
    Box::pin(async move {
        match Hearing::new(&call, caller) {
            Ok(hearing) => hearing.answer(),
            Err(problem) => problem.into_response(),
        }
    })
}

/// Somebody who listens.
struct Hearing {
    listener: Listener,
    wish: Wish,
    who: Principal,
    /// Asks again by what was shown at the beginning.
    again: Box<dyn Fn() -> Result<Caller, Refusal> + Send>,
    changes: Option<watch::Receiver<Arc<People>>>,
    begun: bool,
    _seat: Seat,
}

/// What somebody wants to hear. Nothing named: all.
struct Wish {
    streams: Vec<StreamName>,
    kinds: Vec<Kind>,
}

/// Counts one who listens.
struct Seat(Arc<Shared>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Relaxed);
    }
}

impl Seat {
    fn take(shared: &Arc<Shared>) -> Result<Self, Problem> {
        let limit = shared.settings.live.now().limits.event_listeners;
        let seat = Self(Arc::clone(shared));
        if shared.listeners.fetch_add(1, Relaxed) < limit {
            return Ok(seat);
        }
        Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-listeners",
            "Too many listen",
            format!("{limit} listen to events already, which is the limit"),
            "come again later, or raise limits.event_listeners",
        )
        .with(RETRY_AFTER, HeaderValue::from(5)))
    }
}

impl Wish {
    fn asked(query: &str) -> Result<Self, Problem> {
        let wrong = |detail: String| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad-filter",
                "Not a filter of events",
                detail,
                "ask with ?stream=NAME and ?kind=viewer.left or ?kind=viewer, each as often as there are names",
            )
        };
        let mut wish = Self {
            streams: Vec::new(),
            kinds: Vec::new(),
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "stream" => {
                    let name = value.parse::<StreamName>().map_err(|error| wrong(error.to_string()))?;
                    wish.streams.push(name);
                }
                "kind" => {
                    let kinds = Kind::meant(&value).map_err(|error| wrong(error.to_string()))?;
                    wish.kinds.extend(kinds);
                }
                _ => {}
            }
            if wish.streams.len().max(wish.kinds.len()) > MOST_ASKED {
                return Err(wrong(format!("at most {MOST_ASKED} names are taken")));
            }
        }
        Ok(wish)
    }

    fn takes(&self, event: &Event) -> bool {
        let named = |stream| self.streams.contains(stream);
        (self.streams.is_empty() || event.what.stream().is_some_and(named))
            && (self.kinds.is_empty() || self.kinds.contains(&event.what.kind()))
    }
}

impl Hearing {
    fn new(call: &Call, caller: Caller) -> Result<Self, Problem> {
        let wish = Wish::asked(call.request.uri().query().unwrap_or_default())?;
        let seat = Seat::take(&call.shared)?;
        Ok(Self {
            listener: call.shared.streams.events().listen(last_heard(call.request.headers())),
            wish,
            again: again(call, caller.clone()),
            who: caller.who,
            changes: call.shared.auth.changes(),
            begun: false,
            _seat: seat,
        })
    }

    fn answer(self) -> Response {
        let words = stream::unfold(self, |mut hearing| async {
            let word = hearing.next().await?;
            Some((Ok::<_, Infallible>(Bytes::from(word)), hearing))
        });
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
        ];
        (headers, Body::from_stream(words)).into_response()
    }

    /// As whom it is let in now. `None`: not any more.
    fn renew(&mut self) -> Option<()> {
        match (self.again)() {
            Ok(caller) if may(&caller.who, Action::View, Object::Some).is_allowed() => self.who = caller.who,
            // What it showed is not looked at just now.
            Err(Refusal::Busy { .. } | Refusal::Braked { .. }) => {}
            Ok(_) | Err(_) => return None,
        }
        Some(())
    }

    /// What is said next. `None`: nothing any more.
    async fn next(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.begun, true) {
            // At once, so that the client knows that it is heard.
            return Some(format!("retry: {RETRY_MS}\nid: {}\n\n", self.listener.position()));
        }
        let quiet = tokio::time::sleep(HEARTBEAT);
        tokio::pin!(quiet);
        loop {
            let heard = tokio::select! {
                heard = self.listener.next() => heard,
                () = changed(&mut self.changes) => {
                    self.renew()?;
                    continue;
                }
                // With the place it has come to: what it did not want to hear it has not missed.
                () = &mut quiet => {
                    self.renew()?;
                    return Some(format!(": still here\nid: {}\n\n", self.listener.position()));
                }
            };
            match heard {
                Heard::Ended => return None,
                Heard::MissedConnections(_) if !self.hears_connections() => {}
                Heard::Missed(count) | Heard::MissedConnections(count) => {
                    return Some(format!("event: missed\ndata: {{\"missed\":{count}}}\n\n"));
                }
                Heard::Event(event) => {
                    if self.wish.takes(&event) {
                        self.renew()?;
                    }
                    if let Some(word) = self.word(&event) {
                        return Some(word);
                    }
                }
            }
        }
    }

    fn hears_connections(&self) -> bool {
        let Wish { streams, kinds } = &self.wish;
        let wants = streams.is_empty() && (kinds.is_empty() || OF_CONNECTIONS.iter().any(|kind| kinds.contains(kind)));
        wants && may(&self.who, Action::Administer, Object::Program).is_allowed()
    }

    fn word(&self, event: &Event) -> Option<String> {
        if !self.wish.takes(event) {
            return None;
        }
        let text = serde_json::to_string(&event.form(sight(&self.who, event)?)).ok()?;
        let mut word = String::with_capacity(text.len() + 40);
        // JSON has no line breaks of its own.
        let _ = write!(word, "id: {}\ndata: {text}\n\n", event.id);
        Some(word)
    }
}

fn again(call: &Call, was: Caller) -> Box<dyn Fn() -> Result<Caller, Refusal> + Send> {
    let (shared, peer) = (Arc::clone(&call.shared), call.peer);
    let (headers, uri) = (call.request.headers().clone(), call.request.uri().clone());
    Box::new(move || access::identify_again(&shared, peer, &headers, &uri, &was))
}

/// People of the page changed, and so perhaps what somebody may hear.
async fn changed(changes: &mut Option<watch::Receiver<Arc<People>>>) {
    let told = match changes {
        Some(changes) => changes.changed().await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending::<()>().await;
    }
}

/// How much of an event somebody is told.
pub(crate) fn sight(who: &Principal, event: &Event) -> Option<Sight> {
    let object = event.what.stream().map_or(Object::Program, Object::Stream);
    let may = |action| may(who, action, object).is_allowed();
    let needs = match event.what.kind() {
        Kind::SettingsChanged
        | Kind::SettingsRefused
        | Kind::LoginRefused
        | Kind::ConnectionOpened
        | Kind::ConnectionClosed => Action::Administer,
        Kind::ExportStarted | Kind::ExportProgress | Kind::ExportEnded => Action::Replay,
        _ => Action::View,
    };
    may(needs).then(|| match may(Action::Operate) {
        true => Sight::Whole,
        false => Sight::NoPeers,
    })
}

/// The event after which the client has heard nothing. What is no number of ours is as good as none.
fn last_heard(headers: &HeaderMap) -> Option<u64> {
    headers.get(LAST_EVENT_ID)?.to_str().ok()?.trim().parse().ok()
}
