//! Playing: files and clips as MP4, of which any range of bytes may be asked for, and lists of HLS.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::body::Body;
use axum_core::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use media::StreamName;
use protocol::hls::vod;
use tokio::task::JoinHandle;

use super::{Ask, END, Query, START, Which, bad_query, encoded, id, library, now, problem, wall};
use crate::http::access::Caller;
use crate::http::answer;
use crate::http::hls::{PLAYLIST, cache_control, takes_gzip, token};
use crate::http::openapi::{Operation, Parameter};
use crate::http::problem::Problem;
use crate::http::range::Range;
use crate::http::routes::{Answer, Call};
use crate::record::index::{self, MAX_SEGMENT_90K, MAX_TIME_90K, SegmentId};
use crate::record::library::{Library, Listed, MAX_LIST_90K, Media, Sending};

pub(super) const MP4: &str = "video/mp4";
pub(super) const MEDIA: Operation = Operation {
    query: &[Parameter {
        name: "begins",
        what: "Of a file: its decode times grow by so many ticks of 90 kHz, as lists of HLS ask for",
        kind: "integer",
    }],
    problems: &[400, 404, 416, 503],
    ..Operation::gives("A recording as MP4; ranges of it too", MP4)
};
pub(super) const CLIP: Operation = Operation {
    query: &[
        START,
        Parameter {
            name: "duration",
            what: "Seconds, a day at the most",
            kind: "number",
        },
        END,
    ],
    problems: &[400, 404, 416, 503],
    ..Operation::gives(
        "A clip as MP4: from the last keyframe in front of the start up to the end, or to the first gap",
        MP4,
    )
};
pub(super) const LIST: Operation = Operation {
    query: &[START, END],
    problems: &[400, 404, 503],
    ..Operation::gives("List of HLS, four hours of it at the most", PLAYLIST)
};

/// `GET /api/v1/recordings/ID/media`.
pub(super) fn recording(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let found = async {
            let library = library(&ask.shared)?;
            let (found, life_s) = match id(ask.params.get("recording"))?.which {
                Which::Range(range) => {
                    let life_s = life_s(&ask, range.end);
                    let found = library.clip(camera.clone(), range).await;
                    let is_all = found.as_ref().is_ok_and(|media| media.knows_all);
                    (found, life_s.filter(|_| is_all))
                }
                Which::File(number) => {
                    let begins = Query::of(&ask).number("begins", 0..MAX_BEGINS_90K + 1)?;
                    let found = library.file(camera.clone(), number, begins.unwrap_or(0)).await;
                    let is_whole = found.as_ref().is_ok_and(|media| !media.grows);
                    (found, is_whole.then_some(LIFE_S))
                }
            };
            let media = found.map_err(|error| problem(&error))?;
            Ok::<_, Problem>((media, life_s))
        };
        match found.await {
            Ok((media, life_s)) => sent(media, &camera, &ask.parts.headers, cache_control(&caller, life_s)),
            Err(problem) => problem.into_response(),
        }
    })
}

/// `GET /api/v1/recordings/CAMERA/clip.mp4?start=&duration=`.
pub(super) fn clip(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        clip_of(&ask, &caller, camera)
            .await
            .unwrap_or_else(Problem::into_response)
    })
}

/// A clip of what the query says.
pub(super) async fn clip_of(ask: &Ask, caller: &Caller, camera: StreamName) -> Result<Response, Problem> {
    let library = library(&ask.shared)?;
    let query = Query::of(ask);
    let start = query.instant("start")?.ok_or_else(|| bad_query("start is missing"))?;
    let end = match query.text("duration") {
        Some(text) => {
            start.saturating_add(seconds(&text).ok_or_else(|| bad_query("duration is no number of seconds"))?)
        }
        None => query
            .instant("end")?
            .ok_or_else(|| bad_query("duration is missing, and so is end"))?,
    };
    if end <= start {
        return Err(bad_query("the end is not behind the start"));
    }
    let media = library
        .clip(camera.clone(), start..end)
        .await
        .map_err(|error| problem(&error))?;
    let cached = cache_control(caller, life_s(ask, end).filter(|_| media.knows_all));
    Ok(sent(media, &camera, &ask.parts.headers, cached))
}

/// For how long a clip that ends then may be kept by whoever asked: one whose end may still be recorded is another a moment later.
pub(super) fn life_s(ask: &Ask, end_90k: i64) -> Option<u64> {
    let is_over = end_90k.saturating_add(LONGEST_FILE_90K) < now(&ask.shared);
    is_over.then_some(LIFE_S)
}

/// The longest file that settings allow, and a minute until it is in the index.
const LONGEST_FILE_90K: i64 = (3_600 + 60) * 90_000;

/// Seconds with a fraction, or as Go writes durations (`1h2m3.5s`), in ticks of 90 kHz.
fn seconds(text: &str) -> Option<i64> {
    let mut total = 0.0;
    let mut rest = text;
    if let Ok(seconds) = text.parse::<f64>() {
        (total, rest) = (seconds, "");
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let unit_s = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * unit_s;
        rest = behind;
    }
    // As far as 31 bits of seconds go; a tick at the least.
    (total > 0.0 && total <= f64::from(i32::MAX)).then_some(((total * 90_000.0).round() as i64).max(1))
}

/// All of it, the range that is asked for, or that it is known already.
fn sent(media: Media, camera: &StreamName, request: &HeaderMap, cache: HeaderValue) -> Response {
    let what = What {
        length: media.bytes(),
        etag: format!("\"{}\"", media.mark.as_str()),
        disposition: format!("inline; filename=\"{}\"", name(camera, &media)),
        cache,
    };
    ranged(what, request, |range| Body::new(Sent::new(media.sending(range))))
}

/// Something of which any range may be asked for.
pub(super) struct What {
    pub(super) length: u64,
    /// In quotes.
    pub(super) etag: String,
    /// `Content-Disposition`.
    pub(super) disposition: String,
    pub(super) cache: HeaderValue,
}

pub(super) fn ranged(what: What, request: &HeaderMap, body: impl FnOnce(std::ops::Range<u64>) -> Body) -> Response {
    let What {
        length,
        etag,
        disposition,
        cache,
    } = what;
    let text = |name| request.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let is_known = text(IF_NONE_MATCH).is_some_and(|known| {
        known == "*"
            || known
                .split(',')
                .any(|known| known.trim().trim_start_matches("W/") == etag)
    });
    // What is conditional on another version does not hold.
    let range = text(RANGE).filter(|_| text(IF_RANGE).is_none_or(|version| version == etag));
    let range = range.and_then(|range| Range::parse(range, length));
    let (status, content_range, range) = match range {
        _ if is_known => (StatusCode::NOT_MODIFIED, None, None),
        None => (StatusCode::OK, None, Some(0..length)),
        Some(Range::Outside) => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            Some(format!("bytes */{length}")),
            None,
        ),
        Some(Range::Part { first, last }) => (
            StatusCode::PARTIAL_CONTENT,
            Some(format!("bytes {first}-{last}/{length}")),
            Some(first..last + 1),
        ),
    };
    let body = range.map_or_else(Body::empty, body);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let mut headers = answer::head();
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static(MP4) });
    headers.insert(ACCEPT_RANGES, const { HeaderValue::from_static("bytes") });
    headers.insert(CACHE_CONTROL, cache);
    // Who opens it in a browser wants to see it.
    headers.insert(CONTENT_SECURITY_POLICY, const { HeaderValue::from_static(POLICY) });
    for (name, text) in [
        (ETAG, Some(etag)),
        (CONTENT_RANGE, content_range),
        (CONTENT_DISPOSITION, Some(disposition)),
    ] {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    }
    *response.headers_mut() = headers;
    response
}

/// What it is called where somebody keeps it: camera and local time, of letters, digits and signs that every file system takes.
fn name(camera: &StreamName, media: &Media) -> String {
    let at = jiff::Timestamp::from_microsecond(wall(media.range_90k.start).unix_micros()).unwrap_or_default();
    let local = at.to_zoned(jiff::tz::TimeZone::system());
    let camera = camera.as_str().replace(['/', '~'], "_");
    format!("{camera}_{}.mp4", local.strftime("%Y%m%d_%H%M%S"))
}

/// What is read a piece at a time, each on a thread that may wait.
pub(super) trait Read: Send + 'static {
    /// How much is left, in bytes.
    fn left(&self) -> u64;

    /// The next. Waits for the disk.
    fn read(&mut self) -> io::Result<Bytes>;
}

impl Read for Sending {
    fn left(&self) -> u64 {
        Self::left(self)
    }

    fn read(&mut self) -> io::Result<Bytes> {
        Self::read(self)
    }
}

/// What is sent, read a piece at a time on threads that may wait.
pub(super) struct Sent<R> {
    state: State<R>,
    left: u64,
}

enum State<R> {
    Idle(Box<R>),
    Reading(JoinHandle<(Box<R>, io::Result<Bytes>)>),
    Done,
}

impl<R: Read> Sent<R> {
    pub(super) fn new(sending: R) -> Self {
        Self {
            left: sending.left(),
            state: State::Idle(Box::new(sending)),
        }
    }
}

impl<R: Read> HttpBody for Sent<R> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::Idle(_) if self.left == 0 => return Poll::Ready(None),
                State::Idle(mut sending) => {
                    let reading = tokio::task::spawn_blocking(move || {
                        let read = sending.read();
                        (sending, read)
                    });
                    self.state = State::Reading(reading);
                }
                State::Reading(mut reading) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(context) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let (sending, read) = read.map_err(io::Error::other)?;
                    let bytes =
                        read.inspect_err(|error| tracing::warn!("a recording could not be read on: {error}"))?;
                    self.left = self.left.saturating_sub(bytes.len() as u64);
                    self.state = State::Idle(sending);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// `GET /api/v1/recordings/CAMERA/index.m3u8?start=&end=`.
pub(super) fn playlist(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let made = async {
            let library = library(&ask.shared)?;
            let query = Query::of(&ask);
            let start = query.instant("start")?.ok_or_else(|| bad_query("start is missing"))?;
            let range = query.range(start..MAX_TIME_90K)?;
            let range = range.start..range.end.min(range.start.saturating_add(MAX_LIST_90K));
            let listed = library.listed(camera.clone(), range.clone()).await;
            let listed = listed.map_err(|error| problem(&error))?;
            let token = token(&ask.parts.uri, &caller).map_or_else(String::new, |token| format!("&token={token}"));
            let kind = match listed.grows || range.end > now(&ask.shared) {
                true => vod::Kind::Event,
                false => vod::Kind::Vod,
            };
            let list = list(&camera, range, &listed, &token);
            // Players take no list without a piece.
            match list.pieces() {
                0 => Err(problem(&crate::record::library::Error::Nothing)),
                _ => Ok(list.text(kind)),
            }
        };
        match made.await {
            Ok(text) => playlist_answer(&text, &ask.parts.headers),
            Err(problem) => problem.into_response(),
        }
    })
}

fn playlist_answer(text: &protocol::hls::Text, request: &HeaderMap) -> Response {
    let compressed = takes_gzip(request);
    let bytes = if compressed { text.gzip() } else { text.plain() };
    let mut response = Response::new(Body::from(bytes.clone()));
    let mut headers = answer::head();
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static(PLAYLIST) });
    headers.insert(VARY, const { HeaderValue::from_static("Accept-Encoding") });
    if compressed {
        headers.insert(CONTENT_ENCODING, const { HeaderValue::from_static("gzip") });
    }
    *response.headers_mut() = headers;
    response
}

/// The files follow each other in their decode times: each is asked for with what the files in front of it last. So they do behind a gap, too: FFmpeg, which takes
/// no notice of `EXT-X-DISCONTINUITY`, left out pictures where times went back by eight seconds.
fn list(camera: &StreamName, range: std::ops::Range<i64>, listed: &Listed, token: &str) -> vod::List {
    let mut list = vod::List::new(range);
    let camera = encoded(camera.as_str());
    let mut begins = 0_i64;
    for (segment, fragments, from_90k) in &listed.files {
        let SegmentId(number) = segment.id;
        list.file(&vod::File {
            uri: &format!("../{camera}@{number}/media.mp4?begins={begins}{token}"),
            header_bytes: Library::header_bytes(segment),
            head_bytes: segment.head_bytes,
            start_90k: segment.start_90k,
            end_90k: segment.end_90k(),
            from_90k: *from_90k,
            fragments,
            run: segment.run,
            grows: segment.state == index::State::Open,
        });
        begins = begins.saturating_add(fragments.duration_90k().cast_signed());
    }
    list
}

/// How long media may be kept: a file never changes, and is shown an hour longer than it is there.
pub(super) const LIFE_S: u64 = 3_600;
/// As every answer's, but that a browser may show it.
const POLICY: &str = "default-src 'none'; media-src 'self'; frame-ancestors 'none'";
/// What a file may be asked to begin at: behind a list, whose first and last file may be a day long.
const MAX_BEGINS_90K: i64 = MAX_LIST_90K + 2 * MAX_SEGMENT_90K;

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("10", Some(900_000))]
    #[case("0.5", Some(45_000))]
    #[case("1h2m3.5s", Some(3_723 * 90_000 + 45_000))]
    #[case("500ms", Some(45_000))]
    #[case("1m", Some(60 * 90_000))]
    #[case("0.0000001", Some(1))]
    #[case("0", None)]
    #[case("-1", None)]
    #[case("inf", None)]
    #[case("nan", None)]
    #[case("1e300", None)]
    #[case("1d", None)]
    #[case("s", None)]
    #[case("5h3", None)]
    fn durations(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(seconds(text), expected);
    }
}
