//! What MediaMTX tells below `/v3`, for tools that read it there: paths, RTSP and WebRTC sessions, HLS muxers; list and get, nothing that changes anything.
//!
//! Belongs here: the names and shapes of MediaMTX 1.20. Does not belong here: our own API (`super::api`), which says more. What we do not count is 0 or empty.

use std::sync::Arc;

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use media::audio::Law;
use media::hub::{State, Stream};
use media::stats::{Role, SessionStats};
use media::{Format, StreamName, Track, WallTime};
use serde::Serialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::access::Caller;
use super::answer;
use super::openapi::{Anything, Operation};
use super::problem::Problem;
use super::routes::{Answer, Call, Route, Target, Verb};
use crate::auth::Action;
use crate::camera;

/// Items of a page, if nothing else is asked for.
const USUAL: usize = 100;

/// A list, or one of it, for who administers: they hold everybody's address.
macro_rules! reading {
    ($path:literal, $about:literal, $handler:expr) => {
        Route {
            verb: Verb::Get,
            path: concat!("/v3/", $path),
            target: Target::Program {
                action: Action::Administer,
                handler: $handler,
            },
            about: Some(&like_mediamtx($about)),
        }
    };
    ($path:literal, $about:literal, stream $handler:expr) => {
        Route {
            verb: Verb::Get,
            path: concat!("/v3/", $path),
            target: Target::Stream {
                action: Action::Administer,
                handler: $handler,
            },
            about: Some(&like_mediamtx($about)),
        }
    };
}

const fn like_mediamtx(summary: &'static str) -> Operation {
    Operation {
        problems: &[400, 404],
        ..Operation::reads::<Anything>(summary)
    }
}

pub(super) const ROUTES: &[Route] = &[
    reading!("paths/list", "Streams, as MediaMTX lists them", |call, _| all(
        call, paths
    )),
    reading!("paths/get/{*name}", "One stream, as MediaMTX tells it", stream path),
    reading!(
        "rtspsessions/list",
        "RTSP sessions, as MediaMTX lists them",
        |call, _| all(call, rtsp_sessions)
    ),
    reading!(
        "rtspsessions/get/{id}",
        "One RTSP session, as MediaMTX tells it",
        |call, _| one(call, rtsp_sessions)
    ),
    reading!(
        "rtspssessions/list",
        "RTSPS sessions, as MediaMTX lists them",
        |call, _| all(call, rtsps_sessions)
    ),
    reading!(
        "rtspssessions/get/{id}",
        "One RTSPS session, as MediaMTX tells it",
        |call, _| one(call, rtsps_sessions)
    ),
    reading!(
        "webrtcsessions/list",
        "WebRTC sessions, as MediaMTX lists them",
        |call, _| all(call, webrtc_sessions)
    ),
    reading!(
        "webrtcsessions/get/{id}",
        "One WebRTC session, as MediaMTX tells it",
        |call, _| one(call, webrtc_sessions)
    ),
    reading!(
        "hlsmuxers/list",
        "Streams played by HLS, as MediaMTX lists them",
        |call, _| all(call, muxers)
    ),
    reading!("hlsmuxers/get/{*name}", "One stream played by HLS, as MediaMTX tells it", stream muxer),
];

/// A page of items.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    item_count: usize,
    page_count: usize,
    items: Vec<Value>,
}

fn all(call: Call, items: fn(&Call) -> Vec<Value>) -> Answer {
    Box::pin(async move {
        let (mut per_page, mut page) = (USUAL, 0_usize);
        let query = call.request.uri().query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            // Only digits, as far as 31 bits go.
            let number = value.parse::<u32>().ok().filter(|number| *number <= i32::MAX as u32);
            let number = number.and_then(|number| usize::try_from(number).ok());
            match (&*name, number) {
                ("itemsPerPage", Some(number @ 1..)) => per_page = number,
                ("page", Some(number)) => page = number,
                ("itemsPerPage" | "page", _) if !value.is_empty() => return bad_page(&name).into_response(),
                _ => {}
            }
        }
        let items = items(&call);
        answer::json(&List {
            item_count: items.len(),
            page_count: items.len().div_ceil(per_page),
            items: (items.into_iter())
                .skip(page.saturating_mul(per_page))
                .take(per_page)
                .collect(),
        })
    })
}

fn bad_page(name: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad-page",
        "Not a part of a list",
        format!("\"{name}\" is not such a number"),
        "ask with ?itemsPerPage=100&page=0; pages are counted from 0",
    )
}

/// The session of a list whose `id` the path names.
fn one(call: Call, items: fn(&Call) -> Vec<Value>) -> Answer {
    Box::pin(async move {
        let id = call.params.get("id");
        let found = items(&call).into_iter().find(|item| item["id"] == id);
        found.map_or_else(|| not_found("session"), |item| answer::json(&item))
    })
}

fn not_found(what: &str) -> Response {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not-found",
        "Not found",
        format!("there is no such {what}"),
        "ask for the list in its place",
    )
    .into_response()
}

fn paths(call: &Call) -> Vec<Value> {
    let streams = call.shared.hub.list();
    streams.iter().map(|stream| described(call, stream)).collect()
}

fn path(call: Call, _: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        let stream = call.shared.hub.stream(&name, call.shared.clock.now());
        stream.map_or_else(|_| not_found("path"), |stream| answer::json(&described(&call, &stream)))
    })
}

fn described(call: &Call, stream: &Stream) -> Value {
    let publisher = stream.publisher();
    let publisher = publisher.filter(|stats| stats.info.protocol != camera::SLATE);
    let since = publisher.as_ref().map(|stats| rfc3339(stats.info.since));
    let tracks = stream.tracks();
    let (mut inbound, mut outbound, mut in_error) = (0_u64, 0_u64, 0_u64);
    for account in stream.books().accounts() {
        let totals = &account.totals;
        match account.role {
            Role::Publisher => {
                inbound = inbound.saturating_add(totals.bytes);
                in_error = in_error.saturating_add(totals.frames_dropped);
            }
            Role::Viewer => outbound = outbound.saturating_add(totals.bytes),
        }
    }
    let viewers = stream.sessions();
    let viewers = viewers.iter().filter(|stats| stats.info.role == Role::Viewer);
    let readers: Vec<Value> = viewers
        .map(|stats| json!({ "type": reader_type(stats.info.protocol, stats.leash.is_tied()), "id": uuid(stats.id.get()) }))
        .collect();
    let source = publisher.as_ref().map(|stats| source(stats));
    let is_set = call.shared.streams.source_of(stream.name()).is_some();
    let online = source.is_some() && stream.state() == State::Live;
    json!({
        "name": stream.name().as_str(),
        "confName": if is_set { stream.name().as_str() } else { "all_others" },
        "ready": true,
        "readyTime": since,
        "available": true,
        "availableTime": since,
        "online": online,
        "onlineTime": since.as_ref().filter(|_| online),
        "source": source,
        "tracks": tracks.iter().map(|track| label(&track.format)).collect::<Vec<_>>(),
        "tracks2": tracks.iter().map(track).collect::<Vec<_>>(),
        "readers": readers,
        "inboundBytes": inbound,
        "outboundBytes": outbound,
        "inboundFramesInError": in_error,
        "bytesReceived": inbound,
        "bytesSent": outbound,
    })
}

/// Sessions of their own have ids; what the server fetches or makes has none.
fn source(stats: &SessionStats) -> Value {
    let (kind, id) = source_of(stats.info.protocol, stats.leash.is_tied(), stats.id.get());
    json!({ "type": kind, "id": id })
}

/// What MediaMTX calls a publisher, and its id where it has one.
pub(crate) fn source_of(protocol: &str, is_steered: bool, session: u64) -> (&'static str, String) {
    match (protocol, is_steered) {
        (protocol, true) if protocol.starts_with("RTSP") => ("rtspSession", uuid(session)),
        (protocol, false) if protocol.starts_with("RTSP") => ("rtspSource", String::new()),
        (protocol, _) if protocol.starts_with("WebRTC") => ("webRTCSession", uuid(session)),
        _ => ("rpiCameraSource", String::new()),
    }
}

/// What MediaMTX calls a viewer.
pub(crate) fn reader_type(protocol: &str, is_session: bool) -> &'static str {
    match protocol {
        protocol if protocol.starts_with("RTSP") && is_session => "rtspSession",
        protocol if protocol.starts_with("WebRTC") => "webRTCSession",
        "HLS" => "hlsSession",
        _ => "hidden",
    }
}

/// As MediaMTX names codecs.
fn label(format: &Format) -> &'static str {
    match format {
        Format::H264(_) => "H264",
        Format::H265(_) => "H265",
        Format::Aac(_) => "MPEG-4 Audio",
        Format::Opus(_) => "Opus",
        Format::G711(_) => "G711",
    }
}

fn track(track: &Track) -> Value {
    let (width, height) = track.format.dimensions().unwrap_or((0, 0));
    let picture = |profile: String, level: String| json!({ "width": width, "height": height, "profile": profile, "level": level });
    let properties = match &*track.format {
        Format::H264(format) => {
            let [profile, _, level] = format.profile_level_id().unwrap_or_default();
            picture(h264_profile(profile), tenths(level))
        }
        Format::H265(format) => {
            let known = format.profile_tier_level();
            let profile = known.map_or(0, |known| known.profile_idc());
            // `general_level_idc` counts thirtieths.
            let level = known.map_or(0, |known| known.level_idc() / 3);
            picture(h265_profile(profile), tenths(level))
        }
        Format::Aac(aac) => json!({ "sampleRate": aac.sample_rate_hz, "channelCount": aac.channels }),
        Format::Opus(opus) => json!({ "channelCount": opus.channels }),
        Format::G711(g711) => json!({
            "muLaw": g711.law == Law::Mu,
            "sampleRate": g711.sample_rate_hz,
            "channelCount": g711.channels,
        }),
    };
    json!({ "codec": label(&track.format), "codecProps": properties })
}

pub(super) fn h264_profile(profile_idc: u8) -> String {
    match profile_idc {
        66 => "Baseline".to_owned(),
        77 => "Main".to_owned(),
        88 => "Extended".to_owned(),
        100 => "High".to_owned(),
        110 => "High 10".to_owned(),
        122 => "High 4:2:2".to_owned(),
        244 => "High 4:4:4 Predictive".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn h265_profile(profile_idc: u8) -> String {
    match profile_idc {
        1 => "Main".to_owned(),
        2 => "Main 10".to_owned(),
        3 => "Main Still Picture".to_owned(),
        4 => "Range Extensions".to_owned(),
        other => other.to_string(),
    }
}

/// `4` or `4.1`.
pub(super) fn tenths(level: u8) -> String {
    match (level / 10, level % 10) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

/// The sessions of protocols that begin so, in the order in which they came.
fn sessions(call: &Call, protocol: &str) -> Vec<Arc<SessionStats>> {
    let streams = call.shared.hub.list();
    let all = streams.iter().flat_map(|stream| stream.sessions());
    let mut sessions: Vec<_> = all
        .filter(|stats| stats.info.protocol.starts_with(protocol) && stats.leash.is_tied())
        .collect();
    sessions.sort_unstable_by_key(|stats| stats.id.get());
    sessions
}

/// What RTSP and WebRTC sessions have in common.
fn session(stats: &SessionStats) -> serde_json::Map<String, Value> {
    let info = &stats.info;
    let publishes = info.role == Role::Publisher;
    let inbound = |value: u64| if publishes { value } else { 0 };
    let outbound = |value: u64| if publishes { 0 } else { value };
    // In ticks of 90 kHz, in which RTP counts the time of pictures.
    let jitter = if publishes {
        stats.jitter_us.get() as f64 * 0.09
    } else {
        0.0
    };
    let (bytes, packets, lost) = (stats.bytes.get(), stats.packets.get(), stats.packets_lost.get());
    let value = json!({
        "id": uuid(stats.id.get()),
        "created": rfc3339(info.since),
        "remoteAddr": info.remote.map(|remote| remote.to_string()).unwrap_or_default(),
        "state": if publishes { "publish" } else { "read" },
        "path": info.stream.as_str(),
        "query": stats.query.get().map(|query| &**query).unwrap_or_default(),
        "user": "",
        "userAgent": info.agent.as_deref().unwrap_or_default(),
        "inboundBytes": inbound(bytes),
        "inboundRTPPackets": inbound(packets),
        "inboundRTPPacketsLost": inbound(lost),
        "inboundRTPPacketsJitter": jitter,
        "inboundRTCPPackets": 0,
        "outboundBytes": outbound(bytes),
        "outboundRTPPackets": outbound(packets),
        "outboundRTCPPackets": 0,
        "bytesReceived": inbound(bytes),
        "bytesSent": outbound(bytes),
        "rtpPacketsReceived": inbound(packets),
        "rtpPacketsSent": outbound(packets),
        "rtpPacketsLost": inbound(lost),
        "rtpPacketsJitter": jitter,
        "rtcpPacketsReceived": 0,
        "rtcpPacketsSent": 0,
    });
    match value {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    }
}

fn rtsp_sessions(call: &Call) -> Vec<Value> {
    by_rtsp(call, "RTSP/")
}

fn rtsps_sessions(call: &Call) -> Vec<Value> {
    by_rtsp(call, "RTSPS")
}

fn by_rtsp(call: &Call, protocol: &str) -> Vec<Value> {
    let described = |stats: &Arc<SessionStats>| {
        let mut fields = session(stats);
        let publishes = stats.info.role == Role::Publisher;
        let malformed = if publishes { stats.packets_malformed.get() } else { 0 };
        let viewers = |value: u64| if publishes { 0 } else { value };
        let transport = if stats.info.protocol == "RTSP/UDP" {
            "UDP"
        } else {
            "TCP"
        };
        fields.extend([
            ("transport".to_owned(), transport.into()),
            ("profile".to_owned(), "AVP".into()),
            ("conns".to_owned(), json!([])),
            ("inboundRTPPacketsInError".to_owned(), malformed.into()),
            ("inboundRTCPPacketsInError".to_owned(), 0.into()),
            (
                "outboundRTPPacketsReportedLost".to_owned(),
                viewers(stats.packets_lost.get()).into(),
            ),
            (
                "outboundRTPPacketsDiscarded".to_owned(),
                viewers(stats.frames_dropped.get()).into(),
            ),
            ("rtpPacketsInError".to_owned(), malformed.into()),
            ("rtcpPacketsInError".to_owned(), 0.into()),
        ]);
        Value::Object(fields)
    };
    sessions(call, protocol).iter().map(described).collect()
}

fn webrtc_sessions(call: &Call) -> Vec<Value> {
    let described = |stats: &Arc<SessionStats>| {
        let mut fields = session(stats);
        let discarded = match stats.info.role {
            Role::Publisher => 0,
            Role::Viewer => stats.frames_dropped.get(),
        };
        fields.extend([
            ("peerConnectionEstablished".to_owned(), true.into()),
            ("localCandidate".to_owned(), "".into()),
            ("remoteCandidate".to_owned(), "".into()),
            ("outboundFramesDiscarded".to_owned(), discarded.into()),
        ]);
        Value::Object(fields)
    };
    sessions(call, "WebRTC").iter().map(described).collect()
}

fn muxers(call: &Call) -> Vec<Value> {
    let clock = &call.shared.clock;
    let played = call.shared.hls.played();
    let described = played.iter().map(|channel| {
        let (began, asked) = channel.times();
        let books = channel.stream().books();
        let of_hls = books.accounts().iter().filter(|account| account.protocol == "HLS");
        let bytes: u64 = of_hls.map(|account| account.totals.bytes).sum();
        json!({
            "path": channel.name().as_str(),
            "created": rfc3339(clock.wall_at(began)),
            "lastRequest": rfc3339(clock.wall_at(asked)),
            "outboundBytes": bytes,
            "outboundFramesDiscarded": 0,
            "bytesSent": bytes,
        })
    });
    described.collect()
}

fn muxer(call: Call, _: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        let found = muxers(&call).into_iter().find(|muxer| muxer["path"] == name.as_str());
        found.map_or_else(|| not_found("muxer"), |muxer| answer::json(&muxer))
    })
}

/// The session's number in the form that tools expect.
pub(crate) fn uuid(session: u64) -> String {
    format!("00000000-0000-4000-8000-{session:012x}")
}

fn rfc3339(at: WallTime) -> String {
    super::api::rfc3339(at)
}
