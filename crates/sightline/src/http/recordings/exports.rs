//! Exports: ordering them, how far they are, their files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum_core::body::Body;
use axum_core::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use media::StreamName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::events::Time;
use super::media::{MP4, Read, Sent, What, ranged};
use super::{Ask, Query, bad_query, encoded, library, rfc3339};
use crate::auth::Action;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::api::rfc3339 as wall_time;
use crate::http::body;
use crate::http::hls::cache_control;
use crate::http::openapi::{Content, Operation, Parameter};
use crate::http::paths::Params;
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Route, Seen, Target, Verb, stream_name};
use crate::record::export::{self, Error, Export, Exports, Kind, MAX_CLIP_90K, MAX_TIMELAPSE_90K, RATES, SPEEDS, Wish};
use crate::record::library::CHUNK_BYTES;
use crate::record::name::Clip;
use crate::record::storage::File as _;

pub(in crate::http) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/api/v1/exports",
        target: Target::Some {
            action: Action::Operate,
            handler: order,
        },
        about: Some(&ORDER),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/exports",
        target: Target::Some {
            action: Action::Replay,
            handler: list,
        },
        about: Some(&LIST),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/exports/{export}",
        target: Target::Camera {
            action: Action::Replay,
            of: camera_of_path,
            handler: get,
        },
        about: Some(&GET),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/exports/{export}/media",
        target: Target::Camera {
            action: Action::Replay,
            of: camera_of_path,
            handler: media,
        },
        about: Some(&MEDIA),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/exports/{export}",
        target: Target::Camera {
            action: Action::Erase,
            of: camera_of_path,
            handler: delete,
        },
        about: Some(&DELETE),
    },
];

const ORDER: Operation = Operation {
    body: Some(Content::json::<Wanted>()),
    status: 202,
    problems: &[400, 404, 408, 409, 413, 415, 503],
    ..Operation::reads::<AllExports>("Make a file of a range of recordings, one a camera")
};
const LIST: Operation = Operation {
    problems: &[404, 503],
    ..Operation::reads::<AllExports>("Exports, those that wait and are being made among them")
};
const GET: Operation = Operation {
    problems: &[400, 404, 503],
    ..Operation::reads::<Told>("An export, and how far it is")
};
const MEDIA: Operation = Operation {
    query: &[Parameter {
        name: "download",
        what: "To be kept, not shown, where a browser asks",
        kind: "boolean",
    }],
    problems: &[400, 404, 409, 416, 503],
    ..Operation::gives("The file of an export that is done; ranges of it too", MP4)
};
const DELETE: Operation = Operation {
    problems: &[400, 404, 503],
    ..Operation::does("Delete an export, or end its being made", 204)
};

/// What is to be exported.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewExport")]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The camera: the name of its stream. Either this or `cameras`.
    #[serde(default)]
    camera: Option<String>,
    /// Several, 16 at the most: a file of each.
    #[serde(default)]
    cameras: Vec<String>,
    /// RFC 3339, or milliseconds of Unix time.
    start: Time,
    /// Likewise. Either this or `duration`.
    #[serde(default)]
    end: Option<Time>,
    /// Seconds.
    #[serde(default)]
    duration: Option<f64>,
    /// What the file is called, with or without `.mp4`: one name without folders, 200 bytes at the most. Left out: camera and local time.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    kind: Shown,
    /// From the very frame that is shown at the start to the last in front of the end: the pictures in front of the first keyframe are encoded again. Else it begins with the keyframe in front of
    /// the start.
    #[serde(default)]
    exact: bool,
    /// Of a time-lapse: how much faster, 2 to 10,000; 60 where it is not said.
    #[serde(default)]
    speed: Option<u32>,
    /// Of a time-lapse: pictures a second at the most, 1 to 60; 30 where it is not said.
    #[serde(default)]
    fps: Option<u32>,
}

/// What an export shows.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "ExportKind")]
#[serde(rename_all = "lowercase")]
enum Shown {
    /// What was recorded, as it was.
    #[default]
    Clip,
    /// Its keyframes, faster, without sound.
    Timelapse,
}

#[derive(Serialize, JsonSchema)]
struct AllExports {
    exports: Vec<Told>,
}

/// An export.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Export")]
struct Told {
    id: String,
    camera: String,
    /// The name of its file.
    name: String,
    kind: Shown,
    /// Of a time-lapse.
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fps: Option<u32>,
    exact: bool,
    /// What was asked for. RFC 3339.
    start: String,
    end: String,
    /// When it was asked for.
    created: String,
    /// `queued`, `running`, `done` or `failed`.
    state: &'static str,
    /// 0 to 100.
    percent: u8,
    /// Why it failed.
    reason: Option<String>,
    /// What is not as it was asked for, and why.
    note: Option<String>,
    /// When it is done.
    size_bytes: Option<u64>,
    /// How long it plays.
    duration_ms: Option<u64>,
    /// From the first picture to the last that it shows.
    covers: Option<Span>,
    /// What is missing in between: behind each what comes next follows at once.
    gaps: Vec<Span>,
    /// In a list of exports: gaps that are not told there, where GET of the one export does.
    more_gaps: usize,
    /// What is recorded and not in it, as it needs a file of its own.
    rest: Option<Rest>,
    /// Its file, when it is done.
    url: Option<String>,
}

/// From when to when. RFC 3339.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ExportSpan")]
struct Span {
    start: String,
    end: String,
}

/// Where another export can go on.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ExportRest")]
struct Rest {
    start: String,
    why: String,
}

impl From<&Range<i64>> for Span {
    fn from(range_90k: &Range<i64>) -> Self {
        Self {
            start: rfc3339(range_90k.start),
            end: rfc3339(range_90k.end),
        }
    }
}

impl From<&Export> for Told {
    fn from(export: &Export) -> Self {
        let is_done = export.state == export::State::Done;
        let (kind, speed, fps) = match export.kind {
            Kind::Clip => (Shown::Clip, None, None),
            Kind::Timelapse { speed, fps } => (Shown::Timelapse, Some(speed), Some(fps)),
        };
        Self {
            id: export.id(),
            camera: export.camera.to_string(),
            name: export.file.clone(),
            kind,
            speed,
            fps,
            exact: export.is_exact,
            start: rfc3339(export.asked_90k.start),
            end: rfc3339(export.asked_90k.end),
            created: wall_time(::media::WallTime::from_unix_micros(export.made_us)),
            state: export.state.word(),
            percent: export.percent,
            reason: export.reason.clone(),
            note: export.note.clone(),
            size_bytes: is_done.then_some(export.bytes),
            duration_ms: is_done.then_some(export.plays_90k / 90),
            covers: export.covers_90k.as_ref().map(Span::from),
            gaps: export.gaps_90k.iter().map(Span::from).collect(),
            more_gaps: export.more_gaps,
            rest: export.rest.as_ref().map(|rest| Rest {
                start: rfc3339(rest.from_90k),
                why: rest.why.clone(),
            }),
            url: is_done.then(|| format!("/api/v1/exports/{}/media", encoded(&export.id()))),
        }
    }
}

/// An export as a list tells it, as JSON.
pub(crate) fn form(export: &Export) -> String {
    // Texts and numbers alone: nothing that could fail.
    serde_json::to_string(&Told::from(export)).unwrap_or_default()
}

/// Asks on a thread that may wait for the disk.
async fn asked<T: Send + 'static>(
    shared: &Arc<Shared>,
    ask: impl FnOnce(&Arc<Exports>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Problem> {
    // Whether anything is recorded, and why not, is said as for recordings.
    library(shared)?;
    let exports = Arc::clone(&shared.settings.exports);
    let turn = exports.turn().await.map_err(|error| problem(&error))?;
    // The thread has the turn: whoever asked may be gone.
    let asked = tokio::task::spawn_blocking(move || (ask(&exports), turn).0);
    let answer = asked.await.unwrap_or(Err(Error::Off));
    answer.map_err(|error| problem(&error))
}

/// `POST /api/v1/exports`.
fn order(call: Call, caller: Caller, seen: Seen) -> Answer {
    Box::pin(async move {
        ordered(call, &caller, &seen)
            .await
            .unwrap_or_else(Problem::into_response)
    })
}

async fn ordered(call: Call, caller: &Caller, seen: &Seen) -> Result<Response, Problem> {
    let (shared, asker) = (Arc::clone(&call.shared), call.peer.remote);
    let wanted = read(call).await?;
    let wishes = wishes(wanted, caller.who.name())?;
    for wish in &wishes {
        if !seen.holds(&wish.camera) {
            return Err(problem(&Error::Nothing));
        }
    }
    let made = asked(&shared, move |exports| {
        let mut made = Vec::new();
        for wish in wishes {
            match exports.order(wish) {
                Ok(export) => made.push(export),
                Err(error) => {
                    // All or none: whoever asks for cameras in step has no use for some of them.
                    for export in &made {
                        exports.delete(&export.camera, export.number)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(made)
    });
    let made: Vec<Export> = made.await?;
    for export in &made {
        tracing::info!(stream = %export.camera, id = export.id(), file = export.file, by = caller.who.name(), %asker, "an export is asked for");
    }
    let mut response = json(&AllExports {
        exports: made.iter().map(Told::from).collect(),
    });
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

async fn read(call: Call) -> Result<Wanted, Problem> {
    let patience = call.shared.settings.patience.body;
    let (parts, content) = call.request.into_parts();
    let takes = (body::JSON, "what is to be exported");
    let bytes = body::json(&parts.headers, content, takes, MAX_BYTES, patience).await?;
    serde_json::from_slice(&bytes).map_err(|error| bad_query(error.to_string()))
}

fn wishes(wanted: Wanted, by: &str) -> Result<Vec<Wish>, Problem> {
    let cameras: Vec<String> = wanted.camera.into_iter().chain(wanted.cameras).collect();
    if cameras.is_empty() || cameras.len() > MAX_CAMERAS {
        return Err(bad_query(format!(
            "{} cameras are named; one is to be, or up to {MAX_CAMERAS} of them",
            cameras.len()
        )));
    }
    let start = wanted.start.instant()?;
    let end = match (wanted.end, wanted.duration) {
        (Some(end), None) => end.instant()?,
        (None, Some(seconds)) if seconds > 0.0 && seconds <= LONGEST_S => {
            start.saturating_add((seconds * 90_000.0).round() as i64)
        }
        (None, Some(_)) => return Err(bad_query("duration is no number of seconds from 0 to a year")),
        _ => return Err(bad_query("either end or duration is to be said")),
    };
    let kind = kind(wanted.kind, wanted.speed, wanted.fps)?;
    let (limit, words) = match kind {
        Kind::Clip => (MAX_CLIP_90K, "a day; a time-lapse may have a year"),
        Kind::Timelapse { .. } => (MAX_TIMELAPSE_90K, "366 days"),
    };
    if end <= start {
        return Err(bad_query("the end is not behind the start"));
    }
    if end.saturating_sub(start) > limit {
        return Err(bad_query(format!("the longest range of one export is {words}")));
    }
    let name = wanted.name.as_deref().map(str::parse::<Clip>).transpose();
    let name = name.map_err(|error| bad_query(error.to_string()))?;
    let wish = |camera: String| {
        Ok(Wish {
            camera: stream_name(&camera)?,
            range_90k: start..end,
            name: name.clone(),
            kind,
            is_exact: wanted.exact,
            by: by.to_owned(),
        })
    };
    cameras.into_iter().map(wish).collect()
}

fn kind(shown: Shown, speed: Option<u32>, fps: Option<u32>) -> Result<Kind, Problem> {
    let within = |what: &str, value: u32, range: Range<u32>| match range.contains(&value) {
        true => Ok(value),
        false => Err(bad_query(format!(
            "{what} is {value}; {} to {} can be had",
            range.start,
            range.end - 1
        ))),
    };
    match shown {
        Shown::Timelapse => Ok(Kind::Timelapse {
            speed: within("speed", speed.unwrap_or(USUAL_SPEED), SPEEDS)?,
            fps: within("fps", fps.unwrap_or(USUAL_FPS), RATES)?,
        }),
        Shown::Clip if speed.is_some() || fps.is_some() => Err(bad_query(
            "speed and fps are of a time-lapse: say kind as \"timelapse\"",
        )),
        Shown::Clip => Ok(Kind::Clip),
    }
}

/// `GET /api/v1/exports`: those of cameras whose recordings one may play.
fn list(call: Call, _: Caller, seen: Seen) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        match asked(&ask.shared, |exports| exports.list()).await {
            Ok(all) => {
                let told = all.iter().filter(|export| seen.holds(&export.camera));
                json(&AllExports {
                    exports: told.map(Told::from).collect(),
                })
            }
            Err(problem) => problem.into_response(),
        }
    })
}

/// `GET /api/v1/exports/ID`.
fn get(call: Call, _: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let got = async {
            let (_, number) = id(ask.params.get("export"))?;
            asked(&ask.shared, move |exports| exports.get(&camera, number)).await
        };
        match got.await {
            Ok(export) => json(&Told::from(&export)),
            Err(problem) => problem.into_response(),
        }
    })
}

/// `GET /api/v1/exports/ID/media`.
fn media(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let opened = async {
            let (_, number) = id(ask.params.get("export"))?;
            let permit = library(&ask.shared)?.may_send();
            let permit = permit.map_err(|error| super::problem(&error))?;
            let (file, export) = asked(&ask.shared, move |exports| exports.open(&camera, number)).await?;
            Ok::<_, Problem>((file, export, permit))
        };
        let (file, export, permit) = match opened.await {
            Ok(opened) => opened,
            Err(problem) => return problem.into_response(),
        };
        let shown = match Query::of(&ask).flag("download") {
            true => "attachment",
            false => "inline",
        };
        let what = What {
            length: export.bytes,
            etag: format!("\"{}-{}-{}\"", export.number, export.made_us, export.bytes),
            disposition: format!("{shown}; {}", named(&export.file)),
            cache: cache_control(&caller, Some(LIFE_S)),
        };
        ranged(what, &ask.parts.headers, |range| {
            Body::new(Sent::new(Reading {
                file,
                left: range,
                _permit: permit,
            }))
        })
    })
}

/// A name as RFC 6266 has it: what browsers of today read, and one that all do.
fn named(file: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '_' | '-' | '(' | ')');
    let plain: String = file.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!(
        "filename=\"{plain}\"; filename*=UTF-8''{}",
        encoded(file).replace('@', "%40")
    )
}

/// `DELETE /api/v1/exports/ID`.
fn delete(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let deleted = async {
            let (_, number) = id(ask.params.get("export"))?;
            asked(&ask.shared, move |exports| exports.delete(&camera, number)).await
        };
        match deleted.await {
            Ok(export) => {
                let (by, asker) = (caller.who.name(), ask.peer.remote);
                tracing::info!(stream = %export.camera, id = export.id(), file = export.file, by, %asker, "an export is deleted on request");
                StatusCode::NO_CONTENT.into_response()
            }
            Err(problem) => problem.into_response(),
        }
    })
}

/// A file that is read in order.
struct Reading {
    file: File,
    left: Range<u64>,
    _permit: OwnedSemaphorePermit,
}

impl Read for Reading {
    fn left(&self) -> u64 {
        self.left.end.saturating_sub(self.left.start)
    }

    fn read(&mut self) -> io::Result<Bytes> {
        let mut out = vec![0; Read::left(self).min(CHUNK_BYTES) as usize];
        let count = self.file.read_at(self.left.start, &mut out)?;
        if count == 0 && !out.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.truncate(count);
        self.left.start += count as u64;
        Ok(Bytes::from(out))
    }
}

fn camera_of_path(params: &Params, _: &str) -> Result<StreamName, Problem> {
    Ok(id(params.get("export"))?.0)
}

/// `CAMERA@NUMBER`: whose it is can be told before it is looked up.
fn id(text: &str) -> Result<(StreamName, u64), Problem> {
    let read = || {
        let (camera, number) = text.rsplit_once('@')?;
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        Some((camera.parse().ok()?, is_number.then(|| number.parse().ok())??))
    };
    read().ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-export",
            "Not the number of an export",
            "an export is CAMERA@NUMBER",
            "take one that GET /api/v1/exports lists, with %2F for a slash",
        )
    })
}

fn problem(error: &Error) -> Problem {
    let text = error.to_string();
    let new = |status, code, title, text: &str, next: &str| Problem::new(status, code, title, text, next);
    match error {
        Error::Nothing => new(
            StatusCode::NOT_FOUND,
            "no-such-export",
            "No such export",
            &text,
            "GET /api/v1/exports lists what there is",
        ),
        Error::NotDone(_) => new(
            StatusCode::CONFLICT,
            "export-not-done",
            "Not finished",
            &text,
            "GET /api/v1/exports/ID says how far it is, and why one failed",
        ),
        Error::TooMany { .. } | Error::Full { .. } => new(
            StatusCode::CONFLICT,
            "limit-reached",
            "There may be no more",
            &text,
            "delete some first",
        ),
        Error::Off | Error::Away | Error::Busy | Error::Disk(_) => new(
            StatusCode::SERVICE_UNAVAILABLE,
            "exports-unusable",
            "Exports cannot be used",
            &text,
            "see that the disk of recordings is there, and has room; then ask again",
        )
        .with(RETRY_AFTER, HeaderValue::from(10)),
    }
}

/// The longest body.
const MAX_BYTES: usize = 8 << 10;
const MAX_CAMERAS: usize = 16;
const LONGEST_S: f64 = 366.0 * 86_400.0;
const USUAL_SPEED: u32 = 60;
const USUAL_FPS: u32 = 30;
/// An export does not change; for how long it may be kept by whoever asked.
const LIFE_S: u64 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("door@1", Some(("door", 1)))]
    #[case("house/door@18446744073709551615", Some(("house/door", u64::MAX)))]
    #[case("door@18446744073709551616", None)]
    #[case("door@", None)]
    #[case("door", None)]
    #[case("door@+1", None)]
    #[case("../door@1", None)]
    fn numbers(#[case] text: &str, #[case] expected: Option<(&str, u64)>) {
        let expected = expected.map(|(camera, number)| (camera.parse().unwrap(), number));
        assert_eq!(id(text).ok(), expected);
    }

    #[test]
    fn names_pass_headers() {
        assert_eq!(
            named("wer läutet; \"x\".mp4"),
            "filename=\"wer l_utet_ _x_.mp4\"; filename*=UTF-8''wer%20l%C3%A4utet%3B%20%22x%22.mp4"
        );
        assert!(HeaderValue::from_str(&named("\u{1f6a8}.mp4")).is_ok());
    }
}
