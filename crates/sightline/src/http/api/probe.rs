//! Trying a camera out before it is saved.

use std::sync::Arc;
use std::time::Instant;

use axum_core::response::{IntoResponse as _, Response};
use device::source::Word;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use media::StreamName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credentials::{place, wrong};
use super::people::{Asked, read_as};
use super::{Track, rounded, since};
use crate::auth::Action;
use crate::config::settings::{Settings, Transport};
use crate::config::stream_key::StreamKey;
use crate::config::stream_source::Place;
use crate::config::units::Source;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::{Content, Operation};
use crate::http::picture::JPEG;
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call, Gone};
use crate::onvif::Account;
use crate::random;
use crate::rtsp::client::{Fingerprint, Trust};
use crate::secret::Secret;
use crate::source::probe::{self, AT_ONCE, Limits, Probed, Tools, Wish};
use crate::source::{Cause, Why};
use crate::state::credentials::{NotGiven, usable};

pub(super) const PROBE: Operation = Operation {
    body: Some(Content::json::<Question>()),
    problems: &[400, 403, 408, 413, 415, 429],
    ..Operation::reads::<Answered>("Try a camera out, within 12 seconds; nothing is saved")
};
pub(super) const PICTURE: Operation = Operation {
    problems: &[404],
    ..Operation::gives("The picture of a probe, for a minute", JPEG)
};

const EXAMPLE: &str =
    "{\"source\":\"rtsp://192.168.1.20/stream1\",\"account\":{\"user\":\"admin\",\"password\":\"…\"}}";
/// What a device of this machine may be named by.
const DEVICES: [&str; 3] = ["v4l2:", "libcamera", "test"];

/// What is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ProbeQuestion")]
struct Question {
    /// A URL as `source` of a stream has it, or `v4l2:/dev/video0`, `libcamera:0`, `test`.
    source: String,
    /// A login that is kept; it is shown to whom it is for alone.
    #[serde(default)]
    credential: Option<String>,
    /// A login that is not kept.
    #[serde(default)]
    account: Option<Shown>,
    /// As of a stream: `auto`, `tcp` or `udp`.
    #[serde(default)]
    source_transport: Transport,
    /// The certificate that is believed.
    #[serde(default)]
    source_fingerprint: Option<Fingerprint>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CameraAccount")]
struct Shown {
    user: String,
    #[serde(default)]
    password: String,
}

/// What came of it: one of `found` and `failed`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Probed")]
struct Answered {
    found: Option<Found>,
    failed: Option<Told>,
    /// What is worth knowing before it is saved.
    notes: Vec<Told>,
    took_ms: u64,
}

/// A cause and its way out. Programs go by the code.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Cause")]
pub(super) struct Told {
    code: &'static str,
    what: &'static str,
    way_out: &'static str,
    /// What exactly was said, without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// SHA-256 of the certificate that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

impl Told {
    pub(super) fn new(cause: Cause, detail: Option<String>) -> Self {
        Self {
            code: cause.code(),
            what: cause.what(),
            way_out: cause.way_out(),
            detail,
            fingerprint: None,
        }
    }

    fn of(why: &Why) -> Self {
        Self {
            fingerprint: why.fingerprint.map(|fingerprint| fingerprint.to_string()),
            ..Self::new(why.cause, Some(why.detail.to_string()))
        }
    }
}

/// A camera as it was seen for some seconds.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProbedCamera")]
struct Found {
    video: Track,
    sound: Option<Track>,
    /// Pictures a second, measured.
    fps: Option<f64>,
    /// Thousand bits a second, measured.
    bitrate_kbps: Option<f64>,
    /// From keyframe to keyframe; `null` where no second one came in `watched_seconds`.
    keyframe_seconds: Option<f64>,
    watched_seconds: f64,
    b_frames: bool,
    /// What its capture times are: `capture`, `sender` or `arrival`.
    capture: &'static str,
    /// Whether it has a lower rendition that comes with it; `null` where only ONVIF would say so.
    has_lower: Option<bool>,
    /// Below `/api/v1/`, for a minute.
    picture: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_picture: Option<String>,
}

/// What is probed.
enum Target {
    Network(Wish),
    Device(Word),
}

/// `POST /api/v1/probe`. It ends when whoever asked hangs up.
pub(super) fn probe(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let gone = call.request.extensions().get::<Gone>().cloned();
        let trail = call.trail.clone();
        let asked = read_as::<Question>(call, &caller.who, Some(Action::Administer), EXAMPLE).await;
        let Asked { shared, wish, .. } = match asked {
            Ok(asked) => asked,
            Err(problem) => return problem.into_response(),
        };
        trail.about(&crate::secret::redacted_url(&wish.source));
        let gone = async {
            match gone {
                Some(gone) => gone.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = answered(&shared, &wish) => answer.unwrap_or_else(Problem::into_response),
            // Nobody reads it.
            () = gone => StatusCode::NO_CONTENT.into_response(),
        }
    })
}

async fn answered(shared: &Shared, question: &Question) -> Result<Response, Problem> {
    let target = target(shared, question)?;
    let Some(_turn) = shared.probes.turn() else {
        return Err(busy(format!(
            "{AT_ONCE} cameras are tried out already, which is as many as are at a time"
        )));
    };
    let began = Instant::now();
    let notes = known(shared, &target);
    let probed = match target {
        Ok(Target::Network(wish)) => probe::probe(&wish, &tools(shared), Limits::default()).await,
        Ok(Target::Device(word)) => probe::probe_device(word, &tools(shared), Limits::default()).await,
        Err(why) => Err(why),
    };
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(json(&match probed {
        Ok(probed) => {
            let notes = notes
                .into_iter()
                .chain(probed.notes().into_iter().map(|note| Told::new(note, None)));
            Answered {
                notes: notes.collect(),
                found: Some(found(shared, probed)),
                failed: None,
                took_ms,
            }
        }
        Err(why) => Answered {
            found: None,
            failed: Some(Told::of(&why)),
            notes,
            took_ms,
        },
    }))
}

/// As many go on as may at a time.
pub(super) fn busy(why: String) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "probes-busy",
        "Too many at a time",
        why,
        "ask again when these are done: each takes 12 seconds at the most",
    )
    .with(RETRY_AFTER, HeaderValue::from(5))
}

fn tools(shared: &Shared) -> Tools {
    Tools {
        clock: Arc::clone(&shared.clock),
        random: random::bits,
        stills: shared.settings.stills.clone(),
    }
}

/// `Ok(Err(_))`: nobody is to be asked, for a reason that is an answer.
fn target(shared: &Shared, question: &Question) -> Result<Result<Target, Why>, Problem> {
    let text = question.source.trim();
    if DEVICES.iter().any(|word| text.starts_with(word)) {
        let word = text.parse::<Word>();
        let word = word.map_err(|error| wrong("bad-source", error.to_string()))?;
        return Ok(Ok(Target::Device(word)));
    }
    let mut place = place(text)?;
    let origin = place.origin();
    let account = match (&question.credential, &question.account) {
        (Some(_), Some(_)) => {
            return Err(wrong(
                "bad-request",
                "it has a credential and an account; give one of them",
            ));
        }
        (None, None) => None,
        (None, Some(account)) => Some(Account {
            user: account.user.clone(),
            password: Secret::new(account.password.clone()),
        }),
        (Some(name), None) => {
            let given = match &origin {
                Some(origin) => shared.streams.credentials().for_source(name, origin),
                None => Err(NotGiven::Unknown(name.clone())),
            };
            match given {
                Ok(account) => Some(account),
                Err(not_given) => return Ok(Err(Why::withheld(&not_given))),
            }
        }
    };
    if let Some(account) = &account {
        usable(account).map_err(|why| wrong("bad-request", why))?;
        place = place.with_login(account);
    }
    let trust = question.source_fingerprint.map_or(Trust::System, Trust::Fingerprint);
    Ok(Ok(Target::Network(Wish {
        place,
        transport: question.source_transport,
        trust,
    })))
}

/// Which streams of the settings it is already.
fn known(shared: &Shared, target: &Result<Target, Why>) -> Vec<Told> {
    let settings = shared.settings.live.now();
    let names = match target {
        Ok(Target::Network(wish)) => fetching(&settings, |place| is_same(place, &wish.place)),
        Ok(Target::Device(word)) => capturing(&settings, |known| known == word),
        Err(_) => Vec::new(),
    };
    match names.is_empty() {
        true => Vec::new(),
        false => vec![Told::new(Cause::Known, Some(names.join(", ")))],
    }
}

fn is_same(one: &Place, other: &Place) -> bool {
    let shown = |place: &Place| place.to_string().replacen("***@", "", 1);
    shown(one) == shown(other)
}

/// Streams of the settings that are fetched from such a place.
pub(super) fn fetching(settings: &Settings, is: impl Fn(&Place) -> bool) -> Vec<String> {
    let tables = settings.stream.iter().filter_map(|(key, stream)| match key {
        StreamKey::Name(name) => Some((name, stream.source.as_ref()?)),
        StreamKey::Expression(_) => None,
    });
    let from = tables.filter(|(_, list)| {
        let places = list.0.iter().filter_map(|source| source.filled(None).ok());
        places.into_iter().any(|place| is(&place))
    });
    from.map(|(name, _): (&StreamName, _)| name.to_string()).collect()
}

/// Cameras of the settings with such a source.
pub(super) fn capturing(settings: &Settings, is: impl Fn(&Word) -> bool) -> Vec<String> {
    let cameras = settings.camera.iter();
    let of = cameras.filter(|(_, camera)| matches!(&camera.source, Source::Word(word) if is(word)));
    of.map(|(name, _)| name.to_string()).collect()
}

fn found(shared: &Shared, probed: Probed) -> Found {
    let (picture, no_picture) = match probed.picture {
        Ok(jpeg) => {
            let (one, other) = (random::bits(), random::bits());
            let id = format!("{one:016x}{other:016x}");
            let path = format!("probe/{id}/picture.jpg");
            shared.probes.keep(id, jpeg);
            (Some(path), None)
        }
        Err(why) => (None, Some(why)),
    };
    Found {
        video: Track::new(&probed.video),
        sound: probed.sound.map(|format| Track::new(&format)),
        fps: probed.fps.map(|fps| rounded(fps, 2)),
        bitrate_kbps: probed.kbps.map(|kbps| rounded(kbps, 1)),
        keyframe_seconds: probed.keyframe_s.map(|seconds| rounded(seconds, 2)),
        watched_seconds: rounded(probed.watched_s, 2),
        b_frames: probed.b_frames,
        capture: since(probed.capture),
        has_lower: probed.has_lower,
        picture,
        no_picture,
    }
}

/// `GET /api/v1/probe/ID/picture.jpg`.
pub(super) fn picture(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        match call.shared.probes.picture(call.params.get("key")) {
            Some(jpeg) => {
                let kind = [(http::header::CONTENT_TYPE, const { HeaderValue::from_static(JPEG) })];
                (kind, axum_core::body::Body::from(jpeg)).into_response()
            }
            None => Problem::new(
                StatusCode::NOT_FOUND,
                "not-there",
                "Not there",
                "there is no such picture; they are kept for a minute",
                "try the camera out again",
            )
            .into_response(),
        }
    })
}
