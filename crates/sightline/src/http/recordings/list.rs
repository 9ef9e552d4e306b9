//! Which recordings there are: ranges with gaps, or files; deleting and protecting them.

use std::ops::Range;
use std::sync::Arc;

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use media::StreamName;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Ask, CAMERA, END, Id, Query, START, Which, id, library, ms, problem, rfc3339};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::{Operation, Parameter};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Seen};
use crate::record::archive::Archived;
use crate::record::index::{Ended, MAX_TIME_90K, Protected, Segment, SegmentId, State};
use crate::record::library::{Error, Library};

pub(super) const LIST: Operation = Operation {
    query: &[
        CAMERA,
        START,
        END,
        Parameter {
            name: "resolution_ms",
            what: "Gaps that are shorter are not told: how long a pixel of a timeline is",
            kind: "integer",
        },
        Parameter {
            name: "files",
            what: "The files one by one, in place of ranges without a gap",
            kind: "boolean",
        },
        Parameter {
            name: "after",
            what: "Of files those behind this one: as `next` has it",
            kind: "integer",
        },
    ],
    problems: &[400, 404, 503],
    ..Operation::reads::<Recordings>("What is recorded of a camera")
};
pub(super) const CAMERAS: Operation = Operation {
    problems: &[404, 503],
    ..Operation::reads::<Cameras>("Cameras that have recordings")
};
pub(super) const DELETE: Operation = Operation {
    problems: &[400, 404, 409, 503],
    ..Operation::reads::<Deleted>(
        "Delete a file, or the files that lie in a range, at most 1,000 at a time. What lies in the archive stays there",
    )
};
pub(super) const PROTECTED: Operation = Operation {
    query: &[CAMERA],
    problems: &[400, 404, 503],
    ..Operation::reads::<AllProtected>("Ranges of a camera that are never deleted")
};
pub(super) const PROTECT: Operation = Operation {
    query: &[Parameter {
        name: "why",
        what: "For people",
        kind: "string",
    }],
    problems: &[400, 404, 409, 503],
    ..Operation::does("Protect a recording from being deleted", 204)
};
pub(super) const RELEASE: Operation = Operation {
    problems: &[400, 404, 503],
    ..Operation::does("End the protection of exactly this recording", 204)
};

#[derive(Serialize, JsonSchema)]
struct Recordings {
    recordings: Vec<Recording>,
    /// What went to the archive. It is played from there where it is not here any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    archived: Vec<ArchivedRange>,
    /// What went to the archive is not known now; the log of the server says why.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    archive_unknown: bool,
    /// Where to ask for the rest; null: that is all.
    next: Option<String>,
}

/// What is archived without a gap.
#[derive(Debug, Serialize, JsonSchema)]
struct ArchivedRange {
    id: String,
    /// RFC 3339.
    start: String,
    end: String,
    duration_ms: i64,
    size_bytes: u64,
    files: u64,
    /// It as MP4; ranges for a day at the most.
    url: String,
    /// It as a list of HLS, for four hours at the most.
    hls: String,
}

impl ArchivedRange {
    fn new(camera: &StreamName, archived: Archived) -> Self {
        let range = archived.range_90k;
        let id = Id::range(camera, range.clone());
        Self {
            id: id.to_string(),
            start: rfc3339(range.start),
            end: rfc3339(range.end),
            duration_ms: ms(range.end.saturating_sub(range.start)),
            size_bytes: archived.bytes,
            files: archived.files,
            url: format!("/api/v1/recordings/{}/media", id.encoded()),
            hls: hls(camera, &range),
        }
    }
}

/// The list of a range.
fn hls(camera: &StreamName, range: &Range<i64>) -> String {
    format!(
        "/api/v1/recordings/{}/index.m3u8?start={}&end={}",
        super::encoded(camera.as_str()),
        rfc3339(range.start),
        rfc3339(range.end)
    )
}

/// What is recorded without a gap, or a file.
#[derive(Debug, Serialize, JsonSchema)]
struct Recording {
    id: String,
    camera: String,
    /// RFC 3339.
    start: String,
    end: String,
    duration_ms: i64,
    /// Without gaps that were not told.
    recorded_ms: i64,
    size_bytes: u64,
    /// It as MP4; ranges for a day at the most.
    url: String,
    /// It as a list of HLS, for four hours at the most; of ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    hls: Option<String>,
    /// Why nothing comes behind it, where that is known: `stopped`, `stream-gone`, `clock`, `disk-slow`, `disk-failed`, `disk-full` or `killed`.
    ended: Option<&'static str>,
    /// Something else was recorded at a part of the same time: the clock was set back.
    overlaps: bool,
    /// It is being recorded: of files alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    growing: bool,
}

/// `GET /api/v1/recordings?camera=NAME`.
pub(super) fn list(call: Call, _: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move { listed(&ask, &camera).await.unwrap_or_else(Problem::into_response) })
}

async fn listed(ask: &Ask, camera: &StreamName) -> Result<Response, Problem> {
    let library = library(&ask.shared)?;
    let query = Query::of(ask);
    let range = query.range(0..MAX_TIME_90K)?;
    if query.flag("files") {
        return files(&library, camera, range, query.number("after", 0..i64::MAX)?).await;
    }
    let resolution_ms = query.number("resolution_ms", 0..MAX_RESOLUTION_MS)?.unwrap_or(0);
    let runs = library.runs(camera.clone(), range.clone(), 90 * resolution_ms).await;
    let runs = runs.map_err(|error| problem(&error))?;
    // Those behind the end of this answer come with the next.
    let until = range.start..runs.next_90k.unwrap_or(range.end);
    let archived = library.archived(camera.clone(), until, 90 * resolution_ms).await;
    let (archived, next_archived, archive_unknown) = match archived {
        Ok((archived, next)) => (archived, next, false),
        Err(Error::Archive(_)) => (Vec::new(), None, true),
        Err(error) => return Err(problem(&error)),
    };
    let next_90k = [runs.next_90k, next_archived].into_iter().flatten().min();
    let told = runs
        .runs
        .into_iter()
        .filter(|run| next_90k.is_none_or(|next| run.start_90k < next));
    let recordings = told.map(|run| {
        let range = run.start_90k..run.end_90k;
        Recording {
            recorded_ms: ms(run.recorded_90k),
            hls: Some(hls(camera, &range)),
            ended: run.ended.map(word),
            overlaps: run.overlaps,
            ..Recording::new(&Id::range(camera, range.clone()), &range, run.bytes)
        }
    });
    let recordings = recordings.collect();
    let archived = archived
        .into_iter()
        .map(|archived| ArchivedRange::new(camera, archived))
        .collect();
    let next = next_90k.map(|next| asked_again(camera, next..range.end, &format!("&resolution_ms={resolution_ms}")));
    Ok(json(&Recordings {
        recordings,
        archived,
        archive_unknown,
        next,
    }))
}

/// `after`: behind the file of this number, which begins where the range does.
async fn files(
    library: &Arc<Library>,
    camera: &StreamName,
    range: Range<i64>,
    after: Option<i64>,
) -> Result<Response, Problem> {
    let behind = after.map(|number| (range.start, SegmentId(number)));
    let listed = library.segments(camera.clone(), range.clone(), behind).await;
    let page = listed.map_err(|error| problem(&error))?;
    let recording = |segment: &Segment| {
        let id = Id {
            camera: camera.clone(),
            which: Which::File(segment.id),
        };
        let recording = Recording::new(&id, &(segment.start_90k..segment.end_90k()), segment.bytes);
        Recording {
            ended: segment.ended.map(word),
            growing: segment.state == State::Open,
            ..recording
        }
    };
    let recordings: Vec<_> = page.items.iter().map(recording).collect();
    let next = page
        .next
        .map(|(start, SegmentId(number))| asked_again(camera, start..range.end, &format!("&files=1&after={number}")));
    Ok(json(&Recordings {
        recordings,
        archived: Vec::new(),
        archive_unknown: false,
        next,
    }))
}

fn asked_again(camera: &StreamName, range: Range<i64>, more: &str) -> String {
    format!(
        "/api/v1/recordings?camera={}&start={}&end={}{more}",
        super::encoded(camera.as_str()),
        rfc3339(range.start),
        rfc3339(range.end)
    )
}

impl Recording {
    fn new(id: &Id, range: &Range<i64>, bytes: u64) -> Self {
        let duration_ms = ms(range.end.saturating_sub(range.start));
        Self {
            id: id.to_string(),
            camera: id.camera.to_string(),
            start: rfc3339(range.start),
            end: rfc3339(range.end),
            duration_ms,
            recorded_ms: duration_ms,
            size_bytes: bytes,
            url: format!("/api/v1/recordings/{}/media", id.encoded()),
            hls: None,
            ended: None,
            overlaps: false,
            growing: false,
        }
    }
}

fn word(ended: Ended) -> &'static str {
    match ended {
        Ended::Stopped => "stopped",
        Ended::StreamGone => "stream-gone",
        Ended::Clock => "clock",
        Ended::DiskSlow => "disk-slow",
        Ended::DiskFailed => "disk-failed",
        Ended::DiskFull => "disk-full",
        Ended::Killed => "killed",
    }
}

#[derive(Serialize, JsonSchema)]
struct Cameras {
    cameras: Vec<Camera>,
}

/// Of when a camera has recordings.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RecordedCamera")]
struct Camera {
    camera: String,
    oldest: String,
    newest: String,
}

/// `GET /api/v1/recordings/cameras`: those whose recordings one may play.
pub(super) fn cameras(call: Call, _: Caller, seen: Seen) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let asked = async { library(&ask.shared)?.cameras().await.map_err(|error| problem(&error)) };
        match asked.await {
            Ok(cameras) => {
                let told = cameras.into_iter().filter(|times| seen.holds(&times.camera));
                let camera = |times: crate::record::index::CameraTimes| Camera {
                    camera: times.camera.to_string(),
                    oldest: rfc3339(times.oldest_90k),
                    newest: rfc3339(times.newest_90k),
                };
                json(&Cameras {
                    cameras: told.map(camera).collect(),
                })
            }
            Err(problem) => problem.into_response(),
        }
    })
}

#[derive(Serialize, JsonSchema)]
struct Deleted {
    /// Files that are marked: none of them is found or played any more, and each is removed from its disk at once, or when that is there again.
    marked: usize,
}

/// `DELETE /api/v1/recordings/ID`.
pub(super) fn delete(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let deleting = async {
            let library = library(&ask.shared)?;
            let range = range_of(&library, &ask, &camera).await?;
            let marked = library.delete(camera.clone(), range.clone()).await;
            let marked = marked.map_err(|error| problem(&error))?;
            let (by, asker) = (caller.who.name(), ask.peer.remote);
            let (start, end) = (rfc3339(range.start), rfc3339(range.end));
            tracing::info!(stream = %camera, start, end, files = marked, by, %asker, "recordings are deleted on request");
            Ok::<_, Problem>(marked)
        };
        match deleting.await {
            Ok(marked) => json(&Deleted { marked }),
            Err(problem) => problem.into_response(),
        }
    })
}

/// When what the path names was recorded.
async fn range_of(library: &Arc<Library>, ask: &Ask, camera: &StreamName) -> Result<Range<i64>, Problem> {
    match id(ask.params.get("recording"))?.which {
        Which::Range(range) => Ok(range),
        Which::File(number) => {
            let segment = segment(library, camera, number).await?;
            Ok(segment.start_90k..segment.end_90k())
        }
    }
}

async fn segment(library: &Arc<Library>, camera: &StreamName, id: SegmentId) -> Result<Segment, Problem> {
    let found = library.segment(camera.clone(), id).await;
    found.map_err(|error: Error| problem(&error))
}

#[derive(Serialize, JsonSchema)]
struct AllProtected {
    protected: Vec<Kept>,
}

/// A range that is never deleted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProtectedRecording")]
struct Kept {
    id: String,
    camera: String,
    start: String,
    end: String,
    why: String,
}

/// `GET /api/v1/recordings/protected?camera=NAME`.
pub(super) fn protected(call: Call, _: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let asked = async {
            library(&ask.shared)?
                .protected(camera)
                .await
                .map_err(|error| problem(&error))
        };
        match asked.await {
            Ok(all) => {
                let kept = |(_, protected): (_, Protected)| Kept {
                    id: Id::range(&protected.camera, protected.range_90k.clone()).to_string(),
                    camera: protected.camera.to_string(),
                    start: rfc3339(protected.range_90k.start),
                    end: rfc3339(protected.range_90k.end),
                    why: protected.why,
                };
                json(&AllProtected {
                    protected: all.into_iter().map(kept).collect(),
                })
            }
            Err(problem) => problem.into_response(),
        }
    })
}

/// `PUT /api/v1/recordings/protected/ID`. What is protected already stays so.
pub(super) fn protect(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let protecting = async {
            let library = library(&ask.shared)?;
            let range_90k = range_of(&library, &ask, &camera).await?;
            let why = Query::of(&ask).text("why").unwrap_or_default();
            let protected = Protected { camera, range_90k, why };
            let done = library.protect(protected.clone()).await;
            done.map_err(|error| problem(&error))?;
            let (by, asker) = (caller.who.name(), ask.peer.remote);
            let (start, end) = (rfc3339(protected.range_90k.start), rfc3339(protected.range_90k.end));
            tracing::info!(stream = %protected.camera, start, end, by, %asker, "recordings are protected on request");
            Ok::<_, Problem>(())
        };
        match protecting.await {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(problem) => problem.into_response(),
        }
    })
}

/// `DELETE /api/v1/recordings/protected/ID`.
pub(super) fn release(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let releasing = async {
            let library = library(&ask.shared)?;
            let range = range_of(&library, &ask, &camera).await?;
            let released = library.release(camera.clone(), range.clone()).await;
            let released = released.map_err(|error| problem(&error))?;
            if released {
                let (by, asker) = (caller.who.name(), ask.peer.remote);
                let (start, end) = (rfc3339(range.start), rfc3339(range.end));
                tracing::info!(stream = %camera, start, end, by, %asker, "a protection of recordings is ended on request");
            }
            released.then_some(()).ok_or_else(|| {
                Problem::new(
                    StatusCode::NOT_FOUND,
                    "not-protected",
                    "Not protected",
                    "no protection is of exactly this range",
                    "GET /api/v1/recordings/protected?camera=NAME lists what is protected",
                )
            })
        };
        match releasing.await {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(problem) => problem.into_response(),
        }
    })
}

/// A gap of a year.
const MAX_RESOLUTION_MS: i64 = 366 * 86_400_000;
