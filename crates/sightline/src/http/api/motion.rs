//! Who looks for motion in which stream, and what moves.

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::motion::Mode;
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::Operation;
use crate::http::routes::{Answer, Call, Seen};
use crate::motion::{By, Report};

pub(super) const LIST: Operation = Operation::reads::<Motions>("Streams in which motion is looked for, and what moves");

#[derive(Serialize, JsonSchema)]
struct Motions {
    motion: Vec<Motion>,
}

/// Motion in one stream.
#[derive(Serialize, JsonSchema)]
struct Motion {
    stream: String,
    /// `waiting` (there is nothing to look at yet), `looking`, `behind` (not as often as is wanted: the machine is too slow) or `unable`.
    state: &'static str,
    /// Why it is unable or behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Who looks: `server`, which decodes the stream, its `camera`, or its `publisher`.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    /// `full` or `thrifty`, where the server decodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    /// Something moves.
    moving: bool,
    /// How much at the newest look: a part of what is looked at, 0 to 1.
    intensity: f32,
    /// Pictures that the server looked at since the stream came, …
    looks: u64,
    /// … frames that it decoded for them, …
    decoded: u64,
    /// … that it could not decode, …
    failures: u64,
    /// … and that it left out since it was behind.
    late: u64,
}

/// `GET /api/v1/motion`.
pub(super) fn list(call: Call, _: Caller, seen: Seen) -> Answer {
    Box::pin(async move {
        let reports = call.shared.settings.motion.reports();
        let told = reports.iter().filter(|report| seen.holds(&report.stream));
        json(&Motions {
            motion: told.map(Motion::new).collect(),
        })
    })
}

impl Motion {
    fn new(report: &Report) -> Self {
        Self {
            stream: report.stream.to_string(),
            state: report.state.word(),
            why: report.why.as_deref().map(str::to_owned),
            by: report.by.map(By::word),
            mode: (report.by == Some(By::Server)).then_some(report.mode),
            moving: report.now.is_moving,
            intensity: f32::from(report.now.intensity_permille) / 1_000.0,
            looks: report.counts.looks,
            decoded: report.counts.decoded,
            failures: report.counts.failures,
            late: report.counts.late,
        }
    }
}
