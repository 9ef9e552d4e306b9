//! Publishers and viewers, one by one, and ending them.

use std::sync::Arc;
use std::time::Duration;

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use media::StreamName;
use media::hub::Stream;
use media::stats::{Role, SessionStats};
use schemars::JsonSchema;
use serde::Serialize;
use url::form_urlencoded;

use super::rounded;
use super::streams::{no_such_stream, rfc3339};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::{Operation, Parameter};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Seen};

/// Sessions of one answer, if nothing else is asked for, and at most.
const USUAL: usize = 100;
const MOST: usize = 1_000;
/// How long it is waited for a session to be gone that was told to end.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

const PARTS: &[Parameter] = &[
    Parameter {
        name: "limit",
        what: "how many at most, 1 to 1,000; 100 without it",
        kind: "integer",
    },
    Parameter {
        name: "after",
        what: "`next` of the answer before",
        kind: "integer",
    },
];
pub(super) const VIEWERS: Operation = parts("Viewers of all streams");
pub(super) const PUBLISHERS: Operation = parts("Publishers of all streams");
pub(super) const OF_STREAM: Operation = Operation {
    problems: &[400, 404],
    ..parts("Viewers of one stream")
};
pub(super) const END_VIEWER: Operation = ends("End a viewer");
pub(super) const END_PUBLISHER: Operation = ends("End a publisher");

const fn parts(summary: &'static str) -> Operation {
    Operation {
        query: PARTS,
        problems: &[400],
        ..Operation::reads::<Page>(summary)
    }
}

const fn ends(summary: &'static str) -> Operation {
    Operation {
        problems: &[404, 409, 503],
        ..Operation::does(summary, 204)
    }
}

/// A publisher or a viewer.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Session {
    id: u64,
    role: &'static str,
    protocol: &'static str,
    /// RFC 3339.
    since: String,
    /// For whoever steers the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    /// For whoever steers the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    bytes: u64,
    packets: u64,
    frames: u64,
    keyframes: u64,
    frames_dropped: u64,
    jumps: u64,
    packets_lost: u64,
    packets_malformed: u64,
    timestamp_jumps: u64,
    jitter_ms: f64,
    rtt_ms: f64,
    /// What the way to a viewer carries, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate_kbps: Option<i64>,
    /// What it is given of the stream, where that follows from the estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    rendition: Option<&'static str>,
    /// What a viewer's connection has not taken yet.
    waiting_bytes: i64,
    /// Of a publisher from capture to arrival, of a viewer from arrival to its socket.
    latency_ms: f64,
}

impl Session {
    pub(crate) fn new(stats: &SessionStats, whole: bool) -> Self {
        let info = &stats.info;
        let estimate_kbps = Some(stats.estimate_bps.get() / 1_000).filter(|kbps| *kbps > 0);
        let ms = |micros: i64| rounded(micros as f64 / 1_000.0, 3);
        Self {
            id: stats.id.get(),
            role: word(info.role),
            protocol: info.protocol,
            since: rfc3339(info.since),
            remote: info.remote.filter(|_| whole).map(|remote| remote.to_string()),
            agent: info.agent.as_deref().filter(|_| whole).map(str::to_owned),
            bytes: stats.bytes.get(),
            packets: stats.packets.get(),
            frames: stats.frames.get(),
            keyframes: stats.keyframes.get(),
            frames_dropped: stats.frames_dropped.get(),
            jumps: stats.jumps.get(),
            packets_lost: stats.packets_lost.get(),
            packets_malformed: stats.packets_malformed.get(),
            timestamp_jumps: stats.timestamp_jumps.get(),
            jitter_ms: ms(stats.jitter_us.get()),
            rtt_ms: ms(stats.rtt_us.get()),
            estimate_kbps,
            rendition: estimate_kbps.map(|_| stats.rendition().word()),
            waiting_bytes: stats.waiting_bytes.get(),
            latency_ms: ms(stats.latency_us.get()),
        }
    }
}

/// One of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ListedSession")]
struct Listed {
    stream: String,
    /// Those of the stream.
    codecs: Vec<&'static str>,
    #[serde(flatten)]
    session: Session,
}

/// A part of all there are, in the order in which they came.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Sessions")]
struct Page {
    sessions: Vec<Listed>,
    /// How many there are in all.
    total: usize,
    /// What `after` is for the next part, if there is more.
    next: Option<u64>,
}

/// `GET /api/v1/viewers`.
pub(super) fn viewers(call: Call, _: Caller, seen: Seen) -> Answer {
    Box::pin(async move { listed(&call, Role::Viewer, &steered(&call, &seen)) })
}

/// `GET /api/v1/publishers`.
pub(super) fn publishers(call: Call, _: Caller, seen: Seen) -> Answer {
    Box::pin(async move { listed(&call, Role::Publisher, &steered(&call, &seen)) })
}

/// `GET /api/v1/streams/NAME/viewers`.
pub(super) fn of_stream(call: Call, _: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        match call.shared.hub.stream(&name, call.shared.clock.now()) {
            Ok(stream) => listed(&call, Role::Viewer, &[stream]),
            Err(missing) => no_such_stream(&missing),
        }
    })
}

/// `DELETE /api/v1/viewers/ID`.
pub(super) fn end_viewer(call: Call, caller: Caller, seen: Seen) -> Answer {
    Box::pin(end(call, caller, seen, Role::Viewer))
}

/// `DELETE /api/v1/publishers/ID`.
pub(super) fn end_publisher(call: Call, caller: Caller, seen: Seen) -> Answer {
    Box::pin(end(call, caller, seen, Role::Publisher))
}

/// The streams that somebody may steer.
fn steered(call: &Call, seen: &Seen) -> Vec<Arc<Stream>> {
    let mut streams = call.shared.hub.list();
    streams.retain(|stream| seen.holds(stream.name()));
    streams
}

fn of_role(stream: &Stream, role: Role) -> impl Iterator<Item = Arc<SessionStats>> {
    let sessions = stream.sessions();
    sessions.into_iter().filter(move |stats| stats.info.role == role)
}

fn listed(call: &Call, role: Role, streams: &[Arc<Stream>]) -> Response {
    let part = match Part::asked(call) {
        Ok(part) => part,
        Err(problem) => return problem.into_response(),
    };
    let mut all: Vec<_> = streams
        .iter()
        .flat_map(|stream| of_role(stream, role).map(move |stats| (stats, stream)))
        .collect();
    all.sort_unstable_by_key(|(stats, _)| stats.id.get());
    let total = all.len();
    let mut rest = all.iter().filter(|(stats, _)| stats.id.get() > part.after);
    let sessions: Vec<Listed> = (rest.by_ref().take(part.limit))
        .map(|(stats, stream)| Listed {
            stream: stream.name().to_string(),
            codecs: stream
                .tracks()
                .iter()
                .map(|track| track.format.codec().name())
                .collect(),
            session: Session::new(stats, true),
        })
        .collect();
    let last = sessions.last().map(|listed| listed.session.id);
    let next = rest.next().and(last);
    json(&Page { sessions, total, next })
}

/// Which part of a list is asked for.
struct Part {
    after: u64,
    limit: usize,
}

impl Part {
    fn asked(call: &Call) -> Result<Self, Problem> {
        let mut part = Self { after: 0, limit: USUAL };
        let query = call.request.uri().query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let number = || {
                value.parse::<u64>().map_err(|_| {
                    Problem::new(
                        StatusCode::BAD_REQUEST,
                        "bad-page",
                        "Not a part of a list",
                        format!("\"{name}\" is no whole number"),
                        "ask with ?limit=100 and ?after=ID, where ID is `next` of the answer before",
                    )
                })
            };
            match &*name {
                "after" => part.after = number()?,
                "limit" => part.limit = usize::try_from(number()?).unwrap_or(MOST).clamp(1, MOST),
                _ => {}
            }
        }
        Ok(part)
    }
}

async fn end(call: Call, caller: Caller, seen: Seen, role: Role) -> Response {
    let id: u64 = call.params.get("id").parse().unwrap_or(0);
    let streams = steered(&call, &seen);
    let find = |stream: &Stream| of_role(stream, role).find(|stats| stats.id.get() == id);
    let found = streams.iter().find_map(|stream| Some((stream, find(stream)?)));
    let Some((stream, stats)) = found else {
        return Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-session",
            "No such session",
            "there is no session with this id",
            "GET /api/v1/viewers and /api/v1/publishers list those there are",
        )
        .into_response();
    };
    if let Err(problem) = tell(&stats) {
        return problem.into_response();
    }
    let info = &stats.info;
    tracing::info!(
        session = id,
        remote = info.remote.map(tracing::field::display),
        stream = %info.stream,
        by = caller.who.name(),
        asker = %call.peer.remote,
        "a {} is ended on request",
        word(role)
    );
    // Until it is gone, so that what is asked next is answered so.
    let gone = async {
        while find(stream).is_some() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let _ = tokio::time::timeout(GONE_WITHIN, gone).await;
    StatusCode::NO_CONTENT.into_response()
}

/// Tells a session to end.
fn tell(stats: &SessionStats) -> Result<(), Problem> {
    if stats.leash.is_tied() {
        stats.farewell.say("ended on request");
    }
    match stats.leash.pull() {
        Some(true) => Ok(()),
        Some(false) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-now",
            "Too busy to end it",
            "the session has more to do than it gets done",
            "ask again",
        )),
        None => Err(Problem::new(
            StatusCode::CONFLICT,
            "no-session",
            "Nothing to end",
            format!("{} has no session that could be ended", stats.info.protocol),
            "viewers by HLS ask for one file after the other; cameras and sources of this server are steered by its settings",
        )),
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Publisher => "publisher",
        Role::Viewer => "viewer",
    }
}
