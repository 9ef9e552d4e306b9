//! Streams as JSON: who publishes, what it is made of, how it goes, where to play it.

use std::sync::Arc;
use std::time::Instant;

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use media::audio::{Aac, AudioSpecificConfig};
use media::hub::{NotFound, Pace, State, Stream};
use media::stats::{Role, SessionStats};
use media::{CaptureSource, Clock, Format, Kind, StreamName, WallTime};
use schemars::JsonSchema;
use serde::Serialize;

use super::recording::Recording;
use super::rounded;
use super::sessions::Session;
use crate::auth::{Action, Principal, may};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::Operation;
use crate::http::place::Place;
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Seen};
use crate::record::service::Recordings;
use crate::source::Supervisor;

pub(super) const LIST: Operation = Operation::reads::<Streams>("Streams that are there");
pub(super) const ONE: Operation = Operation {
    problems: &[400, 404],
    ..Operation::reads::<Description>("One stream")
};

#[derive(Serialize, JsonSchema)]
struct Streams {
    streams: Vec<Description>,
}

/// `GET /api/v1/streams`: those that one may see.
pub(super) fn list(call: Call, caller: Caller, seen: Seen) -> Answer {
    Box::pin(async move {
        let view = View::new(&call, &caller);
        let streams = call.shared.hub.list();
        let told = streams.iter().filter(|stream| seen.holds(stream.name()));
        let streams = told.map(|stream| view.stream(stream, Detail::Overview)).collect();
        json(&Streams { streams })
    })
}

/// `GET /api/v1/streams/NAME`: one, with its viewers for those who steer it.
pub(super) fn one(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        let view = View::new(&call, &caller);
        match call.shared.hub.stream(&name, view.now) {
            Ok(stream) => json(&view.stream(&stream, Detail::Whole)),
            Err(missing) => no_such_stream(&missing),
        }
    })
}

pub(super) fn no_such_stream(missing: &NotFound) -> Response {
    let problem = Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-stream",
        "No such stream",
        missing.to_string(),
        "GET /api/v1/streams lists those there are; a name with slashes is written with %2F",
    );
    problem.into_response()
}

/// How much is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Overview,
    Whole,
}

/// A stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Stream")]
struct Description {
    name: String,
    /// `live`, or `held`: the publisher is gone and may return.
    state: &'static str,
    publisher: Option<Session>,
    /// Where the server fetches it, without credentials; for whoever steers the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    tracks: Vec<Track>,
    width: Option<u32>,
    height: Option<u32>,
    /// Pictures a second, over the last two seconds.
    fps: f64,
    /// Thousand bits a second, over the last two seconds.
    bitrate_kbps: f64,
    /// How far keyframes are apart, the longest of the last few distances, in seconds; `null` before the second.
    keyframe_seconds: Option<f64>,
    viewers: usize,
    /// Of the newest picture.
    latency: Option<Latency>,
    /// How it is recorded; left out where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<Recording>,
    urls: Urls,
    /// The viewers one by one, for whoever steers the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<Vec<Session>>,
}

/// How old the newest picture was when the server could send it.
#[derive(Debug, Serialize, JsonSchema)]
struct Latency {
    to_server_ms: f64,
    /// What it is counted from: `capture`, `sender` or `arrival`.
    since: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Track {
    kind: &'static str,
    codec: &'static str,
    /// RFC 6381, as browsers take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    codec_string: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_rate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<u8>,
}

/// Where to play it.
#[derive(Debug, Serialize, JsonSchema)]
struct Urls {
    rtsp: String,
    hls: String,
}

/// What one caller sees at one time.
struct View<'a> {
    who: &'a Principal,
    now: Instant,
    clock: &'a dyn Clock,
    streams: &'a Supervisor,
    recordings: &'a Recordings,
    place: Place,
    rtsp_port: u16,
    hls_port: u16,
}

impl<'a> View<'a> {
    fn new(call: &'a Call, caller: &'a Caller) -> Self {
        Self {
            who: &caller.who,
            now: call.shared.clock.now(),
            clock: &*call.shared.clock,
            streams: &call.shared.streams,
            recordings: &call.shared.settings.recordings,
            place: call.place(),
            rtsp_port: call.shared.settings.rtsp_port,
            hls_port: call.shared.ports.hls,
        }
    }

    fn stream(&self, stream: &Stream, detail: Detail) -> Description {
        let steers = may(self.who, Action::Operate, stream.name()).is_allowed();
        let tracks = stream.tracks();
        let size = tracks.iter().find_map(|track| track.format.dimensions());
        let pace = stream.pace(self.now);
        let session = |stats: &Arc<SessionStats>| Session::new(stats, steers);
        let viewers = || {
            let all = stream.sessions();
            all.iter()
                .filter(|stats| stats.info.role == Role::Viewer)
                .map(session)
                .collect()
        };
        Description {
            name: stream.name().to_string(),
            state: match stream.state() {
                State::Live => "live",
                State::Held { .. } => "held",
                State::Ended(_) => "ended",
            },
            publisher: stream.publisher().as_ref().map(session),
            source: self.streams.source_of(stream.name()).filter(|_| steers),
            tracks: tracks.iter().map(|track| Track::new(&track.format)).collect(),
            width: size.map(|(width, _)| width),
            height: size.map(|(_, height)| height),
            fps: rounded(pace.pictures_per_second, 2),
            bitrate_kbps: rounded(pace.bits_per_second / 1_000.0, 1),
            keyframe_seconds: (stream.keyframe_distance()).map(|distance| rounded(distance.as_secs_f64(), 2)),
            viewers: stream.viewers(),
            latency: self.latency(&pace),
            recording: self.recordings.report(stream.name()).as_ref().map(Recording::new),
            urls: Urls {
                rtsp: self.place.rtsp(self.rtsp_port, stream.name()),
                hls: self.place.hls(self.hls_port, stream.name()),
            },
            sessions: (steers && detail == Detail::Whole).then(viewers),
        }
    }

    fn latency(&self, pace: &Pace) -> Option<Latency> {
        let newest = pace.newest_picture.as_ref()?;
        let capture = newest.frame.capture;
        let age_us = self.clock.wall_at(newest.published).micros_since(capture.at);
        Some(Latency {
            to_server_ms: rounded(age_us as f64 / 1_000.0, 1),
            since: since(capture.source),
        })
    }
}

/// What a latency is counted from.
pub(crate) fn since(source: CaptureSource) -> &'static str {
    match source {
        CaptureSource::Camera | CaptureSource::Sei | CaptureSource::AbsCaptureTime => "capture",
        CaptureSource::SenderReport => "sender",
        CaptureSource::Arrival => "arrival",
    }
}

impl Track {
    pub(crate) fn new(format: &Format) -> Self {
        let codec = format.codec();
        let size = format.dimensions();
        let (codec_string, sample_rate, channels) = match format {
            Format::H264(format) => (format.codec_string(), None, None),
            Format::H265(format) => (format.codec_string(), None, None),
            Format::Aac(aac) => (aac_string(aac), Some(aac.sample_rate_hz), Some(aac.channels)),
            Format::Opus(opus) => (Some("opus".to_owned()), Some(48_000), Some(opus.channels)),
            Format::G711(g711) => (None, Some(g711.sample_rate_hz), Some(g711.channels)),
        };
        Self {
            kind: match codec.kind() {
                Kind::Video => "video",
                Kind::Audio => "audio",
            },
            codec: codec.name(),
            codec_string,
            width: size.map(|(width, _)| width),
            height: size.map(|(_, height)| height),
            sample_rate,
            channels,
        }
    }
}

fn aac_string(aac: &Aac) -> Option<String> {
    let config = AudioSpecificConfig::parse(&aac.config).ok()?;
    Some(config.codec_string())
}

pub(in crate::http) fn rfc3339(at: WallTime) -> String {
    jiff::Timestamp::from_microsecond(at.unix_micros())
        .unwrap_or_default()
        .to_string()
}
