//! LL-HLS over HTTP: lists, headers, parts and segments.
//!
//! Belongs here: paths, caching, compression, ranges. Does not belong here: what is in the lists ([`protocol::hls`]), when a stream is made
//! into parts ([`crate::hls`]).
//!
//! **Caching** (CONTRACT §4). Where everything is open, all may be kept by whoever stands in front of us: media for long, since its names
//! never come again, a list that was waited for as long as it may be asked for, any other for a moment. What is behind a credential is
//! `private`, and lists are not kept.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_core::body::Body;
use axum_core::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, IF_RANGE, RANGE,
    RETRY_AFTER, USER_AGENT, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use media::StreamName;
use media::hub::{State, Stream};
use media::stats::SessionStats;
use protocol::hls::{Query, Text, Variant};
use url::form_urlencoded;

use super::access::{Caller, Shown};
use super::openapi::{Operation, Parameter};
use super::problem::Problem;
use super::range::Range;
use super::routes::{Answer, Call, Route, Target, Verb};
use super::{Shared, answer};
use crate::auth::{Action, Principal, may};
use crate::hls::{Channel, Client, Error, LOW_OF_FULL, Unavailable};
use crate::source::Missing;
use crate::source::lower::{fits, lower, video};

pub(super) const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const MULTIVARIANT: Operation = Operation {
    problems: &[400, 404, 406, 503],
    ..Operation::gives("Multivariant list of LL-HLS", PLAYLIST)
};
const MEDIA_LIST: Operation = Operation {
    query: &[
        Parameter {
            name: "_HLS_msn",
            what: "wait for this segment",
            kind: "integer",
        },
        Parameter {
            name: "_HLS_part",
            what: "wait for this part of it",
            kind: "integer",
        },
        Parameter {
            name: "_HLS_skip",
            what: "YES: leave out what is old",
            kind: "string",
        },
    ],
    problems: &[400, 404, 503],
    ..Operation::gives("Media list of LL-HLS", PLAYLIST)
};
const MEDIA: Operation = Operation {
    problems: &[400, 404, 503],
    ..Operation::gives("Header, segment or part of LL-HLS, as the list names it", "video/mp4")
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/{+name}/index.m3u8",
        target: Target::Stream {
            action: Action::View,
            handler: multivariant,
        },
        about: Some(&MULTIVARIANT),
    },
    Route {
        verb: Verb::Get,
        path: "/{+name}/stream.m3u8",
        target: Target::Stream {
            action: Action::View,
            handler: list,
        },
        about: Some(&MEDIA_LIST),
    },
    Route {
        verb: Verb::Get,
        path: "/{+name}/{media}.mp4",
        target: Target::Stream {
            action: Action::View,
            handler: media,
        },
        about: Some(&MEDIA),
    },
];

/// What to do about a stream that is not there.
const PUBLISH: &str = "publish it, or look at GET /api/v1/streams on the dashboard's port for those there are";
/// The media list, relative to the multivariant list.
const LIST: &str = "stream.m3u8";
/// How long a lower rendition that is not there yet is waited for: a camera of ours gives it within some pictures.
const LOWER_WITHIN: Duration = Duration::from_millis(300);
/// How often it is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long media may be kept: its names never come again, and by then nobody asks for it any more.
const MEDIA_LIFE_S: u64 = 3_600;

/// `GET /NAME/index.m3u8`.
fn multivariant(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        if let Err(missing) = call.shared.streams.find_for(&name, call.request.uri().query()).await {
            return Problem::missing(&missing, PUBLISH).into_response();
        }
        let low = Lower::of(&call.shared, &caller.who, &name).await;
        let channel = match call.shared.hls.begin(&name, low.is_some()) {
            Ok(channel) => channel,
            Err(error) => return problem(&error).into_response(),
        };
        let token = token(call.request.uri(), &caller);
        let full = match channel.variant().await {
            Ok(full) => full,
            Err(unavailable) => return unavailable_answer(&unavailable),
        };
        let low = low.and_then(|low| low.variant(&call.shared, channel.stream(), &full));
        let low = low.filter(|(_, name)| call.shared.hls.begin(name, false).is_ok());
        let low = low.map(|(variant, _)| variant);
        let mut variants = vec![(&full, LIST)];
        variants.extend(low.as_ref().map(|low| (low, LOW_OF_FULL)));
        let text = Arc::new(protocol::hls::multivariant(&variants, token.as_deref()));
        list_answer(&call, &caller, &channel, &text, Life::Moment)
    })
}

/// The lower rendition of a stream that somebody begins to play.
struct Lower {
    name: StreamName,
    stream: Option<Arc<Stream>>,
}

impl Lower {
    /// One that is there, or can be had: that is started, and waited for as long as a first picture may be waited for.
    /// Who may not view it by its own name is not told of it.
    async fn of(shared: &Shared, who: &Principal, name: &StreamName) -> Option<Self> {
        let name = lower(name).filter(|name| may(who, Action::View, name).is_allowed())?;
        let there = || shared.streams.hub().stream(&name, shared.clock.now()).ok();
        let begun = shared.clock.now();
        let mut stream = there();
        if stream.is_none() {
            if !shared.streams.want(&name) {
                return None;
            }
            while stream.is_none() && shared.clock.now().saturating_duration_since(begun) < LOWER_WITHIN {
                tokio::time::sleep(LOOK_AGAIN).await;
                stream = there();
            }
        }
        Some(Self { name, stream })
    }

    /// What is said of it: what is known of it since it was played, else what its tracks tell. `None`: it is not there, or not of a kind with `full`.
    fn variant(self, shared: &Shared, full: &Stream, list: &Variant) -> Option<(Variant, StreamName)> {
        let stream = self.stream.as_ref()?;
        let (tracks, low_tracks) = (full.tracks(), stream.tracks());
        if stream.state() != State::Live || !fits(video(&tracks)?, video(&low_tracks)?) {
            return None;
        }
        if let Some(mut known) = shared.hls.played_variant(&self.name) {
            known.frames_per_second = no_more(known.frames_per_second, list.frames_per_second);
            return Some((known, self.name));
        }
        let pace = stream.pace(shared.clock.now());
        // One that has just begun shows less than it takes.
        let bits_per_second = (pace.bits_per_second as u64)
            .max(list.average_bits_per_second / 4)
            .max(1);
        // So few pictures tell nothing of how many there are in a second.
        let frames = Some(pace.pictures_per_second).filter(|_| stream.keyframe_distance().is_some());
        let frames = no_more(frames.or(list.frames_per_second), list.frames_per_second);
        let expected = Variant::expected(&low_tracks, bits_per_second, frames).ok()?;
        Some((expected, self.name))
    }
}

/// The rate of the lower one, which is at most that of the other: both are measured, and hls.js changes down to none that has more pictures.
fn no_more(low: Option<f64>, full: Option<f64>) -> Option<f64> {
    low.zip(full).map(|(low, full)| low.min(full))
}

/// `GET /NAME/stream.m3u8`.
fn list(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        let query = match Query::parse(call.request.uri().query().unwrap_or_default()) {
            Ok(query) => query,
            Err(error) => return bad_directive(&error.to_string()).into_response(),
        };
        let channel = match follow(&call.shared, &name).await {
            Ok(channel) => channel,
            Err(problem) => return problem.into_response(),
        };
        if let Some(other) = channel.wants(call.shared.clock.now()) {
            call.shared.streams.want(&other);
        }
        let token = token(call.request.uri(), &caller);
        let life = match query.msn {
            Some(_) => Life::WhileAsked,
            None => Life::Moment,
        };
        match channel.list(&query, token.as_deref()).await {
            Ok(text) => list_answer(&call, &caller, &channel, &text, life),
            Err(unavailable) => unavailable_answer(&unavailable),
        }
    })
}

/// The channel of a stream that somebody plays, perhaps after a pause in which its source was stopped.
async fn follow(shared: &Shared, name: &StreamName) -> Result<Arc<Channel>, Problem> {
    let followed = shared.hls.follow(name);
    if !matches!(followed, Err(Error::NotFound(_))) {
        return followed.map_err(|error| problem(&error));
    }
    let found = shared.streams.find(name).await;
    found.map_err(|missing| Problem::missing(&missing, PUBLISH))?;
    shared.hls.follow(name).map_err(|error| problem(&error))
}

/// `GET /NAME/FILE.mp4`: a header, a segment or a part.
fn media(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        let Some(channel) = call.shared.hls.existing(&name) else {
            return no_such_media().into_response();
        };
        let chunks = match channel.media(call.params.get("media")).await {
            Ok(chunks) => chunks,
            Err(unavailable) => return unavailable_answer(&unavailable),
        };
        let stats = match seen(&call, &channel) {
            Ok(stats) => stats,
            Err(full) => return full.into_response(),
        };
        let mut response = media_answer(chunks, call.request.headers());
        stats.bytes.add(response.body().size_hint().exact().unwrap_or_default());
        response
            .headers_mut()
            .insert(CACHE_CONTROL, cache_control(&caller, Some(MEDIA_LIFE_S)));
        response
    })
}

/// How long a list may be kept.
#[derive(Clone, Copy)]
enum Life {
    /// It is the newest there is.
    Moment,
    /// It answers a question that is asked once by everybody.
    WhileAsked,
}

fn list_answer(call: &Call, caller: &Caller, channel: &Channel, text: &Arc<Text>, life: Life) -> Response {
    let stats = match seen(call, channel) {
        Ok(stats) => stats,
        Err(full) => return full.into_response(),
    };
    let target_s = channel.target_duration().map_or(1, |target| target.as_secs());
    // As §6.2.6 and appendix B.1 of the draft advise: half a target duration, at least the second that can be said, or six of them.
    let life_s = match life {
        Life::Moment => (target_s / 2).max(1),
        Life::WhileAsked => 6 * target_s,
    };
    let open = caller.who.is_anyone();
    let compressed = takes_gzip(call.request.headers());
    let bytes = if compressed { text.gzip() } else { text.plain() };
    stats.bytes.add(bytes.len() as u64);
    let mut response = Response::new(Body::from(bytes.clone()));
    let mut headers = answer::head();
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static(PLAYLIST) });
    headers.insert(CACHE_CONTROL, cache_control(caller, open.then_some(life_s)));
    headers.insert(VARY, const { HeaderValue::from_static("Accept-Encoding") });
    if compressed {
        headers.insert(CONTENT_ENCODING, const { HeaderValue::from_static("gzip") });
    }
    *response.headers_mut() = headers;
    response
}

/// Counts who asks.
fn seen(call: &Call, channel: &Channel) -> Result<Arc<SessionStats>, Problem> {
    let agent = call.request.headers().get(USER_AGENT);
    let client = Client {
        address: call.peer.remote,
        agent: agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default(),
        query: call.request.uri().query().unwrap_or_default(),
    };
    let clock = &call.shared.clock;
    let seen = channel.clients().seen(client, clock.now(), clock.wall());
    seen.map_err(|full| problem(&full.into()))
}

/// The credential in the URL, as every URI of the list is to carry it.
pub(super) fn token(uri: &Uri, caller: &Caller) -> Option<String> {
    if caller.shown != Shown::Query {
        return None;
    }
    let query = uri.query().unwrap_or_default();
    let token = super::access::token_in(query)?;
    Some(form_urlencoded::byte_serialize(token.as_bytes()).collect())
}

pub(super) fn cache_control(caller: &Caller, life_s: Option<u64>) -> HeaderValue {
    let who = if caller.who.is_anyone() { "public" } else { "private" };
    let text = match life_s {
        Some(life_s) => format!("{who}, max-age={life_s}"),
        None => format!("{who}, no-cache"),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-store"))
}

/// RFC 9110 §12.5.3, as far as it concerns gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(ACCEPT_ENCODING).iter();
    let offers = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    offers.into_iter().any(|offer| {
        let (coding, weight) = offer.split_once(';').unwrap_or((offer, ""));
        let refused = weight.trim().strip_prefix("q=").and_then(|q| q.parse().ok()) == Some(0.0_f32);
        coding.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// All of it, or the range that is asked for (RFC 9110 §14.2).
fn media_answer(chunks: Vec<Bytes>, headers: &HeaderMap) -> Response {
    let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    // What is conditional on a version that we never named does not hold.
    let range = headers.get(RANGE).filter(|_| !headers.contains_key(IF_RANGE));
    let range = range.and_then(|range| Range::parse(range.to_str().ok()?, length));
    let (status, content_range, chunks) = match range {
        None => (StatusCode::OK, None, chunks),
        Some(Range::Outside) => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            Some(format!("bytes */{length}")),
            Vec::new(),
        ),
        Some(Range::Part { first, last }) => (
            StatusCode::PARTIAL_CONTENT,
            Some(format!("bytes {first}-{last}/{length}")),
            slice(chunks, first, last),
        ),
    };
    let mut response = Response::new(Body::new(Chunks::new(chunks)));
    *response.status_mut() = status;
    let mut headers = answer::head();
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static("video/mp4") });
    headers.insert(ACCEPT_RANGES, const { HeaderValue::from_static("bytes") });
    if let Some(range) = content_range.and_then(|range| HeaderValue::from_str(&range).ok()) {
        headers.insert(CONTENT_RANGE, range);
    }
    *response.headers_mut() = headers;
    response
}

/// What of these lies between two bytes, both included.
fn slice(chunks: Vec<Bytes>, first: u64, last: u64) -> Vec<Bytes> {
    let mut begins = 0;
    let mut cut = Vec::new();
    for chunk in chunks {
        let ends = begins + chunk.len() as u64;
        let (from, to) = (first.max(begins), (last + 1).min(ends));
        if from < to {
            cut.push(chunk.slice((from - begins) as usize..(to - begins) as usize));
        }
        begins = ends;
    }
    cut
}

/// Shared buffers one after the other, none of them copied.
struct Chunks {
    chunks: VecDeque<Bytes>,
    left: u64,
}

impl Chunks {
    fn new(chunks: Vec<Bytes>) -> Self {
        Self {
            left: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            chunks: chunks.into(),
        }
    }
}

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.chunks.pop_front();
        self.left -= next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn problem(error: &Error) -> Problem {
    match error {
        Error::NotFound(missing) => Problem::missing(&Missing::NotFound(missing.clone()), PUBLISH),
        Error::NothingToPlay(why) => Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "nothing-to-play",
            "Nothing that HLS can play",
            why.to_string(),
            "play it by RTSP, or publish it in H.264 or H.265, AAC or Opus",
        ),
        Error::Full(full) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-viewers",
            "Too many viewers",
            full.to_string(),
            "try again later; limits.viewers sets how many there may be",
        )
        .with(RETRY_AFTER, HeaderValue::from(5)),
    }
}

fn unavailable_answer(unavailable: &Unavailable) -> Response {
    let problem = match unavailable {
        Unavailable::Refused(why) => bad_directive(why),
        Unavailable::Gone => no_such_media(),
        Unavailable::TooLate => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-news",
            "Nothing new in time",
            "no picture came for three target durations",
            "ask again: the list goes on when the publisher does",
        )
        .with(RETRY_AFTER, HeaderValue::from(1)),
        Unavailable::Moved => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "restarting",
            "The server restarts",
            "the stream goes on in a moment",
            "ask again",
        )
        .with(RETRY_AFTER, HeaderValue::from(1)),
    };
    problem.into_response()
}

fn bad_directive(why: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad-directive",
        "Not a directive that can be followed",
        why,
        "ask for the list without directives, then for what follows its last part",
    )
}

fn no_such_media() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-media",
        "No such part or segment",
        "it is not there, or no longer",
        "ask for the list again, which names those there are",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, 0)]
    #[case(2, 9)]
    #[case(3, 5)]
    #[case(4, 6)]
    fn slices(#[case] first: u64, #[case] last: u64) {
        let chunks = vec![
            Bytes::from_static(b"0123"),
            Bytes::from_static(b"456"),
            Bytes::from_static(b"789"),
        ];
        assert_eq!(
            slice(chunks, first, last).concat(),
            b"0123456789"[first as usize..=last as usize]
        );
    }

    #[rstest]
    #[case("gzip", true)]
    #[case("gzip, deflate, br, zstd", true)]
    #[case("br;q=1.0, GZIP;q=0.5", true)]
    #[case("gzip;q=0", false)]
    #[case("identity", false)]
    #[case("", false)]
    fn gzip_is_for_those_who_take_it(#[case] value: &'static str, #[case] takes: bool) {
        let headers = [(ACCEPT_ENCODING, HeaderValue::from_static(value))]
            .into_iter()
            .collect();
        assert_eq!(takes_gzip(&headers), takes);
    }
}
