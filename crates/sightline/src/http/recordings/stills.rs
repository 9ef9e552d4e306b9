//! Pictures of recordings: that of an instant, and small ones of a range side by side.

use axum_core::response::{IntoResponse as _, Response};
use http::HeaderName;
use media::StreamName;
use schemars::JsonSchema;
use serde::Serialize;

use super::media::{LIFE_S, life_s};
use super::{Ask, END, Query, START, bad_query, encoded, library, ms, problem, rfc3339, wall};
use crate::http::access::Caller;
use crate::http::answer;
use crate::http::hls::{cache_control, token};
use crate::http::openapi::{Operation, Parameter};
use crate::http::picture::{self, JPEG, Picture};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};
use crate::record::library::{AskedStrip, ShownStrip};
use crate::record::strip::MAX_TILES;

pub(super) const FRAME: Operation = Operation {
    query: &[
        Parameter {
            name: "at",
            what: "The instant: RFC 3339, or milliseconds of Unix time",
            kind: "string",
        },
        picture::WIDTH,
        picture::QUALITY,
    ],
    problems: &[400, 404, 503],
    ..Operation::gives("The picture that was shown at an instant, as JPEG", JPEG)
};
pub(super) const STRIP: Operation = Operation {
    query: &[
        START,
        END,
        Parameter {
            name: "width",
            what: "Pixels of a row of each picture at the most, 16 to 320; 160 where it is left out",
            kind: "integer",
        },
        Parameter {
            name: "tiles",
            what: "Pictures at the most, 1 to 120; 60 where it is left out",
            kind: "integer",
        },
    ],
    problems: &[400, 404, 503],
    ..Operation::gives(
        "Small pictures of a range, an hour at the most, side by side in one JPEG; X-Tile-Size, X-Tile-Columns and X-Tile-Times say where each is and when, X-Tiles-Left-Out of how many files they are missing",
        JPEG,
    )
};
pub(super) const STRIP_JSON: Operation = Operation {
    query: STRIP.query,
    problems: &[400, 404, 503],
    ..Operation::reads::<Index>("Where each picture of such a strip is, and when")
};

/// Where the pictures of a strip are.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Filmstrip")]
pub(super) struct Index {
    /// The strip, as JPEG.
    url: String,
    /// Pixels of a row of each picture.
    width: u16,
    /// And rows.
    height: u16,
    /// It was finished beforehand; else it was made when it was asked for.
    kept: bool,
    /// The pictures, in order.
    tiles: Vec<Tile>,
    /// Files whose pictures are missing. Not there: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<Missing>,
}

/// A file whose pictures are missing.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FilmstripLeftOut")]
struct Missing {
    /// When the first that is missing would be shown. RFC 3339.
    at: String,
    /// Why, for people.
    why: String,
}

/// One of them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FilmstripTile")]
struct Tile {
    /// When it is shown. RFC 3339.
    at: String,
    /// Its left edge in the strip, in pixels.
    x: u32,
    /// Its upper edge.
    y: u32,
}

/// `GET /api/v1/recordings/CAMERA/frame.jpg?at=`.
pub(super) fn frame(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let answer = frame_of(&ask, &caller, camera).await;
        answer.unwrap_or_else(Problem::into_response)
    })
}

async fn frame_of(ask: &Ask, caller: &Caller, camera: StreamName) -> Result<Response, Problem> {
    let library = library(&ask.shared)?;
    let at_90k = Query::of(ask)
        .instant("at")?
        .ok_or_else(|| bad_query("at is missing"))?;
    let shape = picture::shape(ask.parts.uri.query().unwrap_or_default())?;
    let shown = library
        .shown(camera, at_90k, shape)
        .await
        .map_err(|error| problem(&error))?;
    let exactness = if shown.is_exact { "exact" } else { "keyframe" };
    let picture = Picture {
        jpeg: shown.jpeg.into(),
        at: wall(shown.at_90k),
        mark: format!("{}x{}q{}{exactness}", shown.size.0, shown.size.1, shape.quality),
        // What is recorded never changes.
        cache: cache_control(caller, Some(LIFE_S)),
        more: vec![(const { HeaderName::from_static("x-picture") }, exactness.to_owned())],
    };
    Ok(picture.answer(&ask.parts.headers))
}

/// `GET /api/v1/recordings/CAMERA/strip.jpg?start=&end=`.
pub(super) fn strip(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let answer = strip_of(&ask, camera).await;
        answer.map_or_else(Problem::into_response, |(shown, asked)| {
            jpeg(&ask, &caller, shown, &asked)
        })
    })
}

/// `GET /api/v1/recordings/CAMERA/strip.json?start=&end=`.
pub(super) fn strip_json(call: Call, caller: Caller, camera: StreamName) -> Answer {
    let ask = Ask::from(call);
    Box::pin(async move {
        let answer = strip_of(&ask, camera.clone()).await;
        answer.map_or_else(Problem::into_response, |(shown, asked)| {
            let mut response = answer::json(&index(&ask, &caller, &camera, &shown, &asked));
            let cached = cache_control(&caller, strip_life_s(&ask, &shown, &asked));
            response.headers_mut().insert(http::header::CACHE_CONTROL, cached);
            response
        })
    })
}

async fn strip_of(ask: &Ask, camera: StreamName) -> Result<(ShownStrip, AskedStrip), Problem> {
    let library = library(&ask.shared)?;
    let query = Query::of(ask);
    let start = query.instant("start")?.ok_or_else(|| bad_query("start is missing"))?;
    let range_90k = query.range(start..start.saturating_add(MINUTE_90K))?;
    let width = query.number("width", 16..321)?.map_or(160, |width| width as u16);
    let tiles = query
        .number("tiles", 1..MAX_TILES as i64 + 1)?
        .map_or(60, |tiles| tiles as usize);
    let asked = AskedStrip {
        range_90k,
        width,
        tiles,
    };
    let shown = library.strip(camera, asked.clone()).await;
    shown.map(|shown| (shown, asked)).map_err(|error| problem(&error))
}

/// A file that could not be read may be there a moment later.
fn strip_life_s(ask: &Ask, shown: &ShownStrip, asked: &AskedStrip) -> Option<u64> {
    life_s(ask, asked.range_90k.end).filter(|_| shown.left_out.is_empty())
}

fn jpeg(ask: &Ask, caller: &Caller, shown: ShownStrip, asked: &AskedStrip) -> Response {
    let life_s = strip_life_s(ask, &shown, asked);
    let left_out = shown.left_out.len();
    let strip = shown.strip;
    let first_90k = shown.at_90k.first().copied().unwrap_or(asked.range_90k.start);
    // Of those that a range of an hour has, some 500 bytes.
    let times = shown.at_90k.iter().map(|at| ms(at - first_90k).to_string());
    let times: Vec<String> = times.collect();
    let mut more = vec![
        (
            const { HeaderName::from_static("x-tile-size") },
            format!("{}x{}", strip.width, strip.height),
        ),
        (
            const { HeaderName::from_static("x-tile-columns") },
            strip.columns().to_string(),
        ),
        (const { HeaderName::from_static("x-tile-times") }, times.join(",")),
    ];
    if left_out > 0 {
        let name = const { HeaderName::from_static("x-tiles-left-out") };
        more.push((name, left_out.to_string()));
    }
    let picture = Picture {
        mark: format!("{}x{}q{:08x}", strip.width, strip.height, crc32fast::hash(&strip.jpeg)),
        jpeg: strip.jpeg,
        at: wall(first_90k),
        cache: cache_control(caller, life_s),
        more,
    };
    picture.answer(&ask.parts.headers)
}

fn index(ask: &Ask, caller: &Caller, camera: &StreamName, shown: &ShownStrip, asked: &AskedStrip) -> Index {
    let (width, height) = (shown.strip.width, shown.strip.height);
    let columns = shown.strip.columns();
    let tiles = (0_u32..).zip(&shown.at_90k).map(|(number, at)| Tile {
        at: rfc3339(*at),
        x: number % columns * u32::from(width),
        y: number / columns * u32::from(height),
    });
    let left_out = shown.left_out.iter().map(|left_out| Missing {
        at: rfc3339(left_out.at_90k),
        why: left_out.why.clone(),
    });
    let token = token(&ask.parts.uri, caller).map_or_else(String::new, |token| format!("&token={token}"));
    let (start, end) = (rfc3339(asked.range_90k.start), rfc3339(asked.range_90k.end));
    Index {
        url: format!(
            "/api/v1/recordings/{}/strip.jpg?start={start}&end={end}&width={}&tiles={}{token}",
            encoded(camera.as_str()),
            asked.width,
            asked.tiles
        ),
        width,
        height,
        kept: shown.is_kept,
        tiles: tiles.collect(),
        left_out: left_out.collect(),
    }
}

/// What is meant where no end is said.
const MINUTE_90K: i64 = 60 * 90_000;
