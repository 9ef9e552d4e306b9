//! Recordings over HTTP: which there are, playing and deleting them, what happened meanwhile (CONTRACT §7).
//!
//! Belongs here: what is asked for (camera, times, numbers), how answers look. Does not belong here: finding and opening ([`crate::record::library`]), lists of HLS
//! ([`protocol::hls::vod`]), which bytes a clip has ([`crate::record::play`]).
//!
//! **Numbers.** `CAMERA@NUMBER` is a file, `CAMERA@START-END` what is recorded between two instants, in microseconds of Unix time. So a number says whose recording it
//! is before anything is looked up, and who may not see that camera is told nothing.

mod events;
pub(in crate::http) mod exports;
mod list;
mod media;
mod mediamtx;
mod motion;
mod search;
mod stills;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use ::media::{StreamName, WallTime};
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use super::openapi::Parameter;
use super::paths::Params;
use super::peer::Peer;
use super::picture;
use super::place::Place;
use super::problem::Problem;
use super::routes::{Call, Route, Target, Verb, stream_name};
use super::{Shared, api};
use crate::auth::Action;
use crate::record::index::{self, MAX_TIME_90K, SegmentId};
use crate::record::library::{Error, Library};
use crate::record::service::{Recordings, Standing};
use crate::s3::Kind;

pub(super) use exports::ROUTES as EXPORTS;
pub(super) use mediamtx::ROUTES as MEDIAMTX;

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/api/v1/search",
        target: Target::Some {
            action: Action::View,
            handler: search::search,
        },
        about: Some(&search::SEARCH),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings",
        target: Target::Camera {
            action: Action::Replay,
            of: camera_of_query,
            handler: list::list,
        },
        about: Some(&list::LIST),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings/cameras",
        target: Target::Some {
            action: Action::Replay,
            handler: list::cameras,
        },
        about: Some(&list::CAMERAS),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/recordings/{recording}",
        target: Target::Camera {
            action: Action::Erase,
            of: camera_of_path,
            handler: list::delete,
        },
        about: Some(&list::DELETE),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings/{recording}/media",
        target: Target::Camera {
            action: Action::Replay,
            of: camera_of_path,
            handler: media::recording,
        },
        about: Some(&media::MEDIA),
    },
    // FFmpeg takes no piece of a list whose name does not end as media do.
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings/{recording}/media.mp4",
        target: Target::Camera {
            action: Action::Replay,
            of: camera_of_path,
            handler: media::recording,
        },
        about: Some(&media::MEDIA),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings/{name}/clip.mp4",
        target: Target::Stream {
            action: Action::Replay,
            handler: media::clip,
        },
        about: Some(&media::CLIP),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings/{name}/index.m3u8",
        target: Target::Stream {
            action: Action::Replay,
            handler: media::playlist,
        },
        about: Some(&media::LIST),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings/{name}/motion",
        target: Target::Stream {
            action: Action::Replay,
            handler: motion::intensity,
        },
        about: Some(&motion::INTENSITY),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings/{name}/frame.jpg",
        target: Target::Stream {
            action: Action::Replay,
            handler: stills::frame,
        },
        about: Some(&stills::FRAME),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings/{name}/strip.jpg",
        target: Target::Stream {
            action: Action::Replay,
            handler: stills::strip,
        },
        about: Some(&stills::STRIP),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings/{name}/strip.json",
        target: Target::Stream {
            action: Action::Replay,
            handler: stills::strip_json,
        },
        about: Some(&stills::STRIP_JSON),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings/protected",
        target: Target::Camera {
            action: Action::Replay,
            of: camera_of_query,
            handler: list::protected,
        },
        about: Some(&list::PROTECTED),
    },
    Route {
        verb: Verb::Put,
        path: "/api/v1/recordings/protected/{recording}",
        target: Target::Camera {
            action: Action::Operate,
            of: camera_of_path,
            handler: list::protect,
        },
        about: Some(&list::PROTECT),
    },
    Route {
        verb: Verb::Delete,
        path: "/api/v1/recordings/protected/{recording}",
        target: Target::Camera {
            action: Action::Operate,
            of: camera_of_path,
            handler: list::release,
        },
        about: Some(&list::RELEASE),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/recordings/events",
        target: Target::Camera {
            action: Action::Replay,
            of: camera_of_query,
            handler: events::list,
        },
        about: Some(&events::LIST),
    },
    Route {
        verb: Verb::Post,
        path: "/api/v1/recordings/events",
        target: Target::Some {
            action: Action::Operate,
            handler: events::tell,
        },
        about: Some(&events::TELL),
    },
];

/// `camera=` of a query.
const CAMERA: Parameter = Parameter {
    name: "camera",
    what: "The camera: the name of its stream",
    kind: "string",
};
const START: Parameter = Parameter {
    name: "start",
    what: "From when on: RFC 3339, or milliseconds of Unix time",
    kind: "string",
};
const END: Parameter = Parameter {
    name: "end",
    what: "Until when, likewise",
    kind: "string",
};

fn camera_of_query(_: &Params, query: &str) -> Result<StreamName, Problem> {
    stream_name(&Query(query).text("camera").unwrap_or_default())
}

fn camera_of_path(params: &Params, _: &str) -> Result<StreamName, Problem> {
    Ok(id(params.get("recording"))?.camera)
}

/// What a number means.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Id {
    camera: StreamName,
    which: Which,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    File(SegmentId),
    /// In ticks of 90 kHz of Unix time.
    Range(Range<i64>),
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (camera, which) = text.rsplit_once('@').ok_or(())?;
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<i64>().map_err(|_| ()),
            false => Err(()),
        };
        let which = match which.split_once('-') {
            None => Which::File(SegmentId(number(which)?)),
            Some((start, end)) => {
                let range = ticks(number(start)?)..ticks(number(end)?);
                let is_range = range.start < range.end && range.end <= MAX_TIME_90K;
                Which::Range(is_range.then_some(range).ok_or(())?)
            }
        };
        let camera = camera.parse().map_err(|_| ())?;
        Ok(Self { camera, which })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Which::File(SegmentId(number)) => write!(f, "{}@{number}", self.camera),
            Which::Range(range) => write!(f, "{}@{}-{}", self.camera, micros(range.start), micros(range.end)),
        }
    }
}

impl Id {
    fn range(camera: &StreamName, range: Range<i64>) -> Self {
        Self {
            camera: camera.clone(),
            which: Which::Range(range),
        }
    }

    /// As it stands in a path.
    fn encoded(&self) -> String {
        encoded(&self.to_string())
    }
}

fn id(text: &str) -> Result<Id, Problem> {
    text.parse().map_err(|()| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-recording",
            "Not the number of a recording",
            "a recording is CAMERA@NUMBER or CAMERA@START-END",
            "take one that GET /api/v1/recordings lists, with %2F for a slash",
        )
    })
}

/// Everything but what stands for itself in the names of streams and numbers.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'-')
    .remove(b'@');

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// What a query says.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn of(ask: &'a Ask) -> Self {
        Self(ask.parts.uri.query().unwrap_or_default())
    }

    fn text(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        let found = pairs
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned());
        found.filter(|text| !text.is_empty())
    }

    /// An instant, in ticks of 90 kHz of Unix time.
    fn instant(&self, name: &'static str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        instant(&text).map(Some).ok_or_else(|| {
            bad_query(format!(
                "{name}={text:?} is no time between 1970 and 9999: write it as 2026-11-22T19:15:00Z or in milliseconds of Unix time"
            ))
        })
    }

    fn number(&self, name: &'static str, range: Range<i64>) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        let wrong = || {
            bad_query(format!(
                "{name}={text:?} is no number from {} to {}",
                range.start,
                range.end - 1
            ))
        };
        number.map(Some).ok_or_else(wrong)
    }

    fn flag(&self, name: &str) -> bool {
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        pairs.any(|(known, value)| known == name && !matches!(&*value, "0" | "false"))
    }

    /// From `start` to `end`, with what is meant where they are not said.
    fn range(&self, usual: Range<i64>) -> Result<Range<i64>, Problem> {
        let range = self.instant("start")?.unwrap_or(usual.start)..self.instant("end")?.unwrap_or(usual.end);
        if range.start >= range.end {
            return Err(bad_query("the end is not behind the start"));
        }
        Ok(range)
    }
}

fn bad_query(detail: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad-query",
        "Not a question that can be answered",
        detail,
        "ask as GET /api/v1/openapi.json describes it",
    )
}

/// RFC 3339, or milliseconds of Unix time, as ticks of 90 kHz.
fn instant(text: &str) -> Option<i64> {
    let micros = match text.parse::<i64>() {
        Ok(ms) => ms.checked_mul(1_000)?,
        Err(_) => text.parse::<jiff::Timestamp>().ok()?.as_microsecond(),
    };
    Some(ticks(micros)).filter(|ticks| (0..=MAX_TIME_90K).contains(ticks))
}

/// Of microseconds, as those of [`micros`] came from.
fn ticks(micros: i64) -> i64 {
    let ticks = (i128::from(micros) * 9).div_euclid(100);
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

/// The first microsecond that is not in front of it: who asks with it means the same tick.
fn micros(ticks: i64) -> i64 {
    let micros = (i128::from(ticks) * 100 + 8).div_euclid(9);
    i64::try_from(micros).unwrap_or(i64::MAX)
}

fn wall(ticks: i64) -> WallTime {
    WallTime::from_unix_micros(micros(ticks))
}

fn rfc3339(ticks: i64) -> String {
    api::rfc3339(wall(ticks))
}

/// Duration in milliseconds.
fn ms(ticks: i64) -> i64 {
    ticks.div_euclid(90)
}

/// A request without its body, which only one thread may look at.
struct Ask {
    shared: Arc<Shared>,
    peer: Peer,
    params: Params,
    place: Place,
    parts: Parts,
}

impl From<Call> for Ask {
    fn from(call: Call) -> Self {
        let place = call.place();
        Self {
            shared: call.shared,
            peer: call.peer,
            params: call.params,
            place,
            parts: call.request.into_parts().0,
        }
    }
}

/// What is recorded, if anything is.
fn library(shared: &Shared) -> Result<Arc<Library>, Problem> {
    let library = &shared.settings.library;
    match library.is_there() {
        true => Ok(Arc::clone(library)),
        false => Err(no_library(&shared.settings.recordings)),
    }
}

/// Why nothing can be asked. What exactly failed names folders, and is not for everybody.
fn no_library(recordings: &Recordings) -> Problem {
    let later = |code: &'static str, title: &'static str, detail: &str, next: &str, seconds: u16| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, title, detail, next)
            .with(RETRY_AFTER, HeaderValue::from(seconds))
    };
    match recordings.standing() {
        Standing::Starting => later(
            "recording-starting",
            "Recordings are being opened",
            "the index is opened, and what was not completed the last time is looked through",
            "ask again in a moment",
            1,
        ),
        Standing::Failed => later(
            "recording-failed",
            "Recordings cannot be opened",
            "the recorder could not be started; the log of this server says why",
            "mend what is said there; it is tried again every ten seconds",
            10,
        ),
        Standing::There => problem(&Error::Ending),
        Standing::Unneeded if recordings.are_wanted() => later(
            "recording-not-begun",
            "Nothing is recorded yet",
            "no stream that is to be recorded has been there yet",
            "publish one, or see at GET /api/v1/sources why a source is not fetched",
            10,
        ),
        Standing::Unneeded => Problem::new(
            StatusCode::NOT_FOUND,
            "recording-off",
            "Nothing is recorded",
            "this server does not record",
            "set record.enabled = true in the settings, or for one stream in [stream.NAME.record]",
        ),
    }
}

/// Now, in ticks of 90 kHz of Unix time.
fn now(shared: &Shared) -> i64 {
    ticks(shared.clock.wall().unix_micros()).clamp(0, MAX_TIME_90K)
}

fn problem(error: &Error) -> Problem {
    let busy = |problem: Problem| problem.with(RETRY_AFTER, HeaderValue::from(1));
    match error {
        Error::Index(index::Error::NotSound) => {
            bad_query("a time, a number or the length of a text is beyond what is kept")
        }
        Error::Index(index::Error::Limit { .. }) => Problem::new(
            StatusCode::CONFLICT,
            "limit-reached",
            "There may be no more",
            error.to_string(),
            "remove some first",
        ),
        Error::Index(_) | Error::Archive(_) => busy(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "index-unusable",
            "The index of recordings cannot be used",
            error.to_string(),
            "do what is said there, then ask again",
        )),
        Error::Nothing => Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-recording",
            "No such recording",
            "nothing is recorded there, or no longer",
            "GET /api/v1/recordings?camera=NAME lists what there is",
        ),
        Error::File { .. } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "recording-unreadable",
            "The recording cannot be read",
            // Where it lies is not for everybody.
            match error {
                Error::File { error, .. } => error.to_string(),
                _ => String::new(),
            },
            "see that its disk is there; `sightline record check` compares the index with the files",
        ),
        Error::Busy { .. } => busy(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-downloads",
            "Too many at a time",
            error.to_string(),
            "ask again in a moment",
        )),
        Error::TooLong { .. } => Problem::new(
            StatusCode::BAD_REQUEST,
            "too-long",
            "Too much at once",
            error.to_string(),
            "ask for less at a time",
        ),
        Error::Growing => busy(Problem::new(
            StatusCode::CONFLICT,
            "being-recorded",
            "It is being recorded",
            "what is being recorded is deleted when its file is whole",
            "ask again in a minute, or end the recording first",
        )),
        Error::Away(failed) => away(failed.kind),
        Error::NoPicture(why) => picture::none(why.clone()),
        Error::Protected => Problem::new(
            StatusCode::CONFLICT,
            "protected",
            "Protected recordings stay",
            "a part of it is protected, and nothing of it was deleted",
            "GET /api/v1/recordings/protected?camera=NAME lists what is; DELETE ends a protection",
        ),
        Error::Ending => busy(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "restarting",
            "The server restarts",
            error.to_string(),
            "ask again",
        )),
    }
}

/// Where the archive lies, and what it says, is not for everybody.
fn away(kind: Kind) -> Problem {
    let detail = match kind {
        Kind::Passing => "it is archived, and the archive does not answer",
        Kind::Lasting | Kind::Missing | Kind::Unfit => "it is archived, and the archive does not give it",
    };
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "archive-unreachable",
        "The archive cannot be read",
        detail,
        "ask again later; the log of the server says what is wrong",
    )
    .with(RETRY_AFTER, HeaderValue::from(10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("2026-11-22T19:15:00Z", Some(1_795_374_900 * 90_000))]
    #[case("2026-11-22T20:15:00.5+01:00", Some(1_795_374_900 * 90_000 + 45_000))]
    #[case("1795374900500", Some(1_795_374_900 * 90_000 + 45_000))]
    #[case("0", Some(0))]
    #[case("-1", None)]
    #[case("2026-11-22", None)]
    #[case("99999999999999999", None)]
    #[case("9223372036854775807", None)]
    #[case("yesterday", None)]
    fn instants(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(instant(text), expected);
    }

    #[rstest]
    #[case("")]
    #[case("door")]
    #[case("door@")]
    #[case("door@-")]
    #[case("door@+5")]
    #[case("door@5-4")]
    #[case("door@5-5")]
    #[case("door@1-99999999999999999999")]
    #[case("do or@5")]
    #[case("@5")]
    #[case("door@5@")]
    fn what_is_no_recording(#[case] text: &str) {
        assert!(text.parse::<Id>().is_err());
    }

    proptest! {
        /// Nothing is lost between what is told and what is asked with it.
        #[test]
        fn what_is_told_is_understood(start in 0..MAX_TIME_90K, length in 1_i64..1_000_000_000_000) {
            let end = (start + length).min(MAX_TIME_90K);
            prop_assert_eq!(instant(&rfc3339(start)), Some(start));
            let told = Id::range(&"house/door".parse().unwrap(), start..end.max(start + 1).min(MAX_TIME_90K));
            if start < MAX_TIME_90K - 1 {
                prop_assert_eq!(told.to_string().parse::<Id>().ok(), Some(told.clone()));
                prop_assert_eq!(told.encoded().starts_with("house%2Fdoor@"), true);
            }
        }
    }
}
