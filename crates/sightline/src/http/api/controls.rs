//! Steering a camera: opening and closing it, keyframe, bitrate, overlay, brightness.
//!
//! Does not belong here: what a camera does of it ([`crate::status`]), recording (`super::recording`).

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use media::StreamName;
use protocol::status::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::body;
use crate::http::openapi::{Content, Operation};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};
use crate::status::Controls;

/// Longest body.
const MAX_BYTES: usize = 4 << 10;

pub(super) const GET: Operation = Operation {
    problems: &[400, 404],
    ..Operation::reads::<Described>("What can be asked of a camera, and how it is set")
};
pub(super) const PUT: Operation = Operation {
    body: Some(Content::json::<Wish>()),
    problems: &[400, 404, 408, 409, 413, 415],
    ..Operation::reads::<Done>("Steer a camera")
};

/// How a camera is set. What is `null` is not known, or cannot be set.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CameraControls")]
struct Described {
    /// Who does what is asked: `server` (its own camera), or `publisher` (it is told, and does of it what it can).
    by: &'static str,
    /// What may be asked for: `running`, `keyframe`, `kbps`, `overlay`, `brightness`.
    can: Vec<&'static str>,
    /// The camera is open.
    running: Option<bool>,
    /// Of what is encoded, kb/s.
    kbps: Option<u32>,
    /// Lines are drawn into the picture.
    overlay: Option<bool>,
    /// As it was set last, as the camera counts it.
    brightness: Option<i32>,
}

/// What is wanted of a camera. What is left out stays as it is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ControlsWish")]
struct Wish {
    /// Open it, or close it: then its light is off, and viewers see a slate.
    running: Option<bool>,
    /// `true`: the next picture shall be a keyframe.
    keyframe: Option<bool>,
    /// Of what is encoded, kb/s.
    kbps: Option<i32>,
    /// Draw lines into the picture, or do not.
    overlay: Option<bool>,
    /// As the camera counts it.
    brightness: Option<i32>,
}

/// What came of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ControlsDone")]
struct Done {
    results: Vec<Outcome>,
}

/// What came of one wish.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ControlOutcome")]
struct Outcome {
    /// Which, as in the request.
    control: &'static str,
    /// It was done, or passed on to the publisher.
    done: bool,
    /// What comes of it, or why not. For people.
    message: String,
}

impl Wish {
    fn commands(&self) -> Vec<(&'static str, Command)> {
        let running = self.running.map(|on| match on {
            true => Command::StartStream(true),
            false => Command::StopStream(true),
        });
        let all = [
            ("running", running),
            ("kbps", self.kbps.map(Command::SetBitrateKbps)),
            ("overlay", self.overlay.map(Command::SetOverlay)),
            ("brightness", self.brightness.map(Command::Brightness)),
            ("keyframe", self.keyframe.map(Command::RequestKeyframe)),
        ];
        let given = |(name, command): (&'static str, Option<Command>)| Some((name, command?));
        all.into_iter().filter_map(given).collect()
    }
}

/// `GET /api/v1/streams/NAME/controls`.
pub(super) fn get(call: Call, _: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        match call.shared.settings.status.controls(&name) {
            Some(controls) => json(&described(&controls)),
            None => nobody(&name),
        }
    })
}

fn described(controls: &Controls) -> Described {
    match *controls {
        Controls::OfPublisher => Described {
            by: "publisher",
            can: vec!["running", "keyframe", "kbps", "overlay", "brightness"],
            running: None,
            kbps: None,
            overlay: None,
            brightness: None,
        },
        Controls::Own {
            running,
            kbps,
            overlay,
            has_brightness,
            brightness,
        } => {
            let can = [
                ("running", true),
                ("keyframe", kbps.is_some()),
                ("kbps", kbps.is_some()),
                ("overlay", overlay.is_some()),
                ("brightness", has_brightness),
            ];
            Described {
                by: "server",
                can: can.iter().filter(|(_, can)| *can).map(|(name, _)| *name).collect(),
                running: Some(running),
                kbps,
                overlay,
                brightness,
            }
        }
    }
}

/// `PUT /api/v1/streams/NAME/controls`.
pub(super) fn put(call: Call, caller: Caller, name: StreamName) -> Answer {
    Box::pin(async move {
        let (shared, asker) = (std::sync::Arc::clone(&call.shared), call.peer.remote);
        let wish = match read(call).await {
            Ok(wish) => wish,
            Err(problem) => return problem.into_response(),
        };
        let status = &shared.settings.status;
        if status.controls(&name).is_none() {
            return nobody(&name);
        }
        let results = wish.commands().into_iter().map(|(control, command)| {
            let done = status.steer(&name, &command);
            if done.is_ok() {
                tracing::info!(stream = %name, control, by = caller.who.name(), %asker, "steered on request");
            }
            Outcome {
                control,
                done: done.is_ok(),
                message: done.unwrap_or_else(|why| why),
            }
        });
        let results: Vec<Outcome> = results.collect();
        match results.iter().find(|outcome| !outcome.done) {
            // What was one wish has one answer; of several each has its own.
            Some(refused) if results.len() == 1 => not_done(refused),
            _ => json(&Done { results }),
        }
    })
}

async fn read(call: Call) -> Result<Wish, Problem> {
    let patience = call.shared.settings.patience.body;
    let (parts, content) = call.request.into_parts();
    let takes = (body::JSON, "what is wanted of the camera");
    let bytes = body::json(&parts.headers, content, takes, MAX_BYTES, patience).await?;
    let wish: Wish = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    match wish.commands().is_empty() {
        true => Err(wrong("nothing is asked for".to_owned())),
        false => Ok(wish),
    }
}

fn wrong(detail: String) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad-controls",
        "Nothing that can be asked of a camera",
        detail,
        "send an object such as {\"kbps\":2000} or {\"running\":false}",
    )
}

fn not_done(outcome: &Outcome) -> Response {
    Problem::new(
        StatusCode::CONFLICT,
        "cannot-steer",
        "The camera does not do that",
        outcome.message.clone(),
        "GET this path says what may be asked for",
    )
    .into_response()
}

fn nobody(name: &StreamName) -> Response {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-camera",
        "Nobody can be told",
        format!("no camera of this server is called {name}, and no publisher of it is at the status socket"),
        "cameras of this server, `sightline publish` and programs that say how they are on /ws/camera/ can be steered; others at the camera itself",
    )
    .into_response()
}
