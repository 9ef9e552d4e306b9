//! The settings: what holds, and changes of it.

use std::sync::Arc;

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::request::Parts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use url::form_urlencoded;

use crate::config::live::{self, Diff, Edit, FileText, Refused, Step, View, Who, Why};
use crate::config::{Origin, keys};
use crate::http::access::Caller;
use crate::http::answer;
use crate::http::body;
use crate::http::openapi::{Anything, Content, Operation, Parameter};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};

/// RFC 7396 has a name of its own for what is merged.
const TYPES: &[&str] = &["application/json", "application/merge-patch+json"];
/// Longest body.
const MAX_BYTES: usize = 64 << 10;
/// Longest body with a file in it, which has 1 MiB at most: in JSON some signs are two.
const MAX_FILE_BYTES: usize = 2 << 20;
/// Most keys that are changed at once: the text of the file is read anew for each.
const MAX_STEPS: usize = 200;
/// The section of streams.
const STREAM: &str = "stream";

const DRY_RUN: &[Parameter] = &[Parameter {
    name: "dry_run",
    what: "only say what would change",
    kind: "boolean",
}];
pub(super) const SHOW: Operation = Operation::reads::<View>("The settings that hold, and where each was given");
pub(super) const CHANGE: Operation = changes("Change settings; null takes a key or a table out (RFC 7396)");
pub(super) const PUT_STREAM: Operation = changes("Set the table of a stream, or of an expression");
pub(super) const DELETE_STREAM: Operation = Operation {
    body: None,
    problems: &[400, 404, 409],
    ..changes("Take the table of a stream out of the settings")
};

pub(super) const SCHEMA: Operation = Operation::reads::<Anything>(
    "JSON Schema 2020-12 of the settings; keys have `x-takes`, `x-variable` and `x-by-hand` besides",
);
pub(super) const FILE: Operation = Operation {
    problems: &[409],
    ..Operation::reads::<FileText>("The settings file without secrets")
};
pub(super) const PUT_FILE: Operation = Operation {
    body: Some(Content::json::<NewFile>()),
    ..changes("Replace the text of the settings file; secrets are put back by their place")
};

const fn changes(summary: &'static str) -> Operation {
    Operation {
        query: DRY_RUN,
        body: Some(Content::json::<Anything>()),
        problems: &[400, 408, 409, 413, 415],
        ..Operation::reads::<Made>(summary)
    }
}

/// The text of the settings file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewSettingsFile")]
struct NewFile {
    /// All of it. What is shown in place of a secret stands for the secret that was there.
    text: String,
    /// Of the text that was changed, as `GET` told it.
    version: String,
}

/// What was changed, or would be.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Changes")]
struct Made {
    #[serde(flatten)]
    diff: Diff,
    dry_run: bool,
    /// The settings file.
    file: Option<String>,
}

/// `GET /api/v1/config`.
pub(super) fn show(call: Call, _: Caller) -> Answer {
    Box::pin(async move { answer::json(&call.shared.settings.live.view()) })
}

/// `GET /api/v1/config/schema`.
pub(super) fn schema(_: Call, _: Caller) -> Answer {
    Box::pin(async move { answer::json(live::schema()) })
}

/// `GET /api/v1/config/file`.
pub(super) fn file(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        // It reads from the disk.
        let live = Arc::clone(&call.shared.settings.live);
        match tokio::task::spawn_blocking(move || live.text()).await {
            Ok(Ok(file)) => answer::json(&file),
            Ok(Err(refused)) => refusal(&refused).into_response(),
            // A panic, which was reported already.
            Err(_) => Problem::bug().into_response(),
        }
    })
}

/// `PUT /api/v1/config/file`.
pub(super) fn put_file(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let who = who(&call, &caller);
        match read_bytes(call, MAX_FILE_BYTES).await {
            Ok((asked, bytes)) => match serde_json::from_slice(&bytes) {
                Ok(NewFile { text, version }) => make_edit(asked, Edit::File { text, version }, who).await,
                // Of the message only the place: it might quote a password.
                Err(error) => {
                    let why = format!(
                        "no text and version at line {}, column {}",
                        error.line(),
                        error.column()
                    );
                    let next = "send {\"text\":\"…\",\"version\":\"…\"}, as GET /api/v1/config/file has them";
                    Problem::new(StatusCode::BAD_REQUEST, "bad-settings", "Not settings", why, next).into_response()
                }
            },
            Err(problem) => problem.into_response(),
        }
    })
}

/// `PATCH /api/v1/config`: an object of sections with their keys (RFC 7396); null takes a key, or a table with a name, out of the file.
pub(super) fn change(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let who = who(&call, &caller);
        let (parts, sections) = match read(call).await {
            Ok(read) => read,
            Err(problem) => return problem.into_response(),
        };
        let mut steps = Vec::new();
        for (section, values) in &sections {
            let path = [section.clone()];
            let read = match keys::sections()
                .iter()
                .any(|known| known.name == *section && known.named)
            {
                true => tables(&path, values, &mut steps),
                false => keys(&path, values, &mut steps),
            };
            if let Err(problem) = read {
                return problem.into_response();
            }
        }
        make(parts, steps, who).await
    })
}

/// `PUT /api/v1/config/streams/NAME`: the table of a stream, or of the expression that the name is, has these keys and no others.
pub(super) fn put_stream(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let path = stream(&call);
        let who = who(&call, &caller);
        let (parts, table) = match read(call).await {
            Ok(read) => read,
            Err(problem) => return problem.into_response(),
        };
        let values = table.iter().map(|(key, value)| {
            let path = [path.as_slice(), std::slice::from_ref(key)].concat();
            Ok((key.clone(), toml_value(&path, value)?))
        });
        match values.collect::<Result<_, Problem>>() {
            Ok(values) => make(parts, vec![Step::Table { path, values }], who).await,
            Err(problem) => problem.into_response(),
        }
    })
}

/// `DELETE /api/v1/config/streams/NAME`.
pub(super) fn delete_stream(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let path = stream(&call);
        let who = who(&call, &caller);
        let view = call.shared.settings.live.view();
        let is_there = path
            .iter()
            .try_fold(&view.settings, |settings, name| settings.get(name));
        if is_there.is_none() {
            let problem = Problem::new(
                StatusCode::NOT_FOUND,
                "no-such-table",
                "No such table",
                format!(
                    "there is no table {:?} among the streams of the settings",
                    call.params.get("name")
                ),
                "GET /api/v1/config has them all",
            );
            return problem.into_response();
        }
        let parts = Asked::new(&call);
        make(parts, vec![Step::Remove { path }], who).await
    })
}

fn stream(call: &Call) -> Vec<String> {
    vec![STREAM.to_owned(), call.params.get("name").to_owned()]
}

/// For the log.
fn who(call: &Call, caller: &Caller) -> Who {
    Who::Caller(format!("{} at {}", caller.who.name(), call.peer.remote))
}

/// What a change needs of its request.
struct Asked {
    live: Arc<crate::config::live::Live>,
    dry_run: bool,
}

impl Asked {
    fn new(call: &Call) -> Self {
        Self {
            live: Arc::clone(&call.shared.settings.live),
            dry_run: is_dry_run(call.request.uri().query()),
        }
    }
}

/// `?dry_run`, `?dry_run=1`: it is said what would change.
fn is_dry_run(query: Option<&str>) -> bool {
    let mut parameters = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    parameters.any(|(name, value)| name == "dry_run" && !matches!(&*value, "0" | "false"))
}

/// The object that the request brings.
async fn read(call: Call) -> Result<(Asked, Map<String, Json>), Problem> {
    let (asked, bytes) = read_bytes(call, MAX_BYTES).await?;
    match serde_json::from_slice(&bytes) {
        Ok(Json::Object(object)) => Ok((asked, object)),
        Ok(_) => Err(not_settings("it is JSON, but no object")),
        Err(error) => Err(not_settings(&error.to_string())),
    }
}

async fn read_bytes(call: Call, limit: usize) -> Result<(Asked, bytes::Bytes), Problem> {
    let asked = Asked::new(&call);
    let patience = call.shared.settings.patience.body;
    let (Parts { headers, .. }, body) = call.request.into_parts();
    let bytes = body::json(&headers, body, (TYPES, "settings"), limit, patience).await?;
    Ok((asked, bytes))
}

fn not_settings(why: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "bad-settings",
        "Not settings",
        why,
        "send an object of sections, each an object of its keys, such as {\"log\":{\"level\":\"debug\"}}",
    )
}

/// The tables of a section where each has a name.
fn tables(path: &[String], values: &Json, steps: &mut Vec<Step>) -> Result<(), Problem> {
    let Json::Object(tables) = values else {
        return Err(not_settings(&format!("{} is no object of tables", path.join("."))));
    };
    for (name, table) in tables {
        let path = [path, std::slice::from_ref(name)].concat();
        match table {
            Json::Null => steps.push(Step::Remove { path }),
            table => {
                steps.push(Step::Add { path: path.clone() });
                keys(&path, table, steps)?;
            }
        }
    }
    Ok(())
}

/// The keys of a table.
fn keys(path: &[String], values: &Json, steps: &mut Vec<Step>) -> Result<(), Problem> {
    let Json::Object(values) = values else {
        return Err(not_settings(&format!("{} is no object of keys", path.join("."))));
    };
    for (key, value) in values {
        let path = [path, std::slice::from_ref(key)].concat();
        if value.is_object() && keys::is_inner_table(&path) {
            keys(&path, value, steps)?;
            continue;
        }
        steps.push(match value {
            Json::Null => Step::Remove { path },
            value => {
                let value = toml_value(&path, value)?;
                Step::Set { path, value }
            }
        });
    }
    Ok(())
}

fn toml_value(path: &[String], value: &Json) -> Result<toml::Value, Problem> {
    // Null within a list, and whole numbers beyond 64 bits, are nothing in TOML.
    toml::Value::try_from(value).map_err(|error| not_settings(&format!("{}: {error}", path.join("."))))
}

/// Makes the changes, or says what they would be.
async fn make(asked: Asked, steps: Vec<Step>, who: Who) -> Response {
    if steps.len() > MAX_STEPS {
        return not_settings(&format!("it changes more than {MAX_STEPS} keys at once")).into_response();
    }
    make_edit(asked, Edit::Steps(steps), who).await
}

async fn make_edit(asked: Asked, edit: Edit, who: Who) -> Response {
    // It writes to the disk.
    let done = tokio::task::spawn_blocking(move || {
        let live = asked.live;
        let diff = match asked.dry_run {
            true => live.propose(&edit)?,
            false => live.apply(&edit, &who)?,
        };
        let (dry_run, file) = (asked.dry_run, live.view().file);
        Ok(Made { diff, dry_run, file })
    });
    match done.await {
        Ok(Ok(made)) => answer::json(&made),
        Ok(Err(refused)) => refusal(&refused).into_response(),
        // A panic, which was reported already.
        Err(_) => Problem::bug().into_response(),
    }
}

fn refusal(refused: &Refused) -> Problem {
    let (status, code, title, next) = match refused.why {
        Why::Invalid => (
            StatusCode::BAD_REQUEST,
            "bad-settings",
            "The settings would be wrong",
            "mend what `problems` lists; nothing was changed",
        ),
        Why::Held => (
            StatusCode::CONFLICT,
            "held-elsewhere",
            "Held by a variable or flag",
            "change it where `problems` says it is set; nothing was changed",
        ),
        Why::Program => (
            StatusCode::FORBIDDEN,
            "programs-refused",
            "Programs are not taken by HTTP",
            "change the settings file by hand; nothing was changed",
        ),
        Why::Reach => (
            StatusCode::FORBIDDEN,
            "reach-refused",
            "Private addresses and files are not taken by HTTP",
            "change the settings file by hand; nothing was changed",
        ),
        Why::Changed => (
            StatusCode::CONFLICT,
            "file-changed",
            "The settings file is another by now",
            "read it again with GET /api/v1/config/file; nothing was changed",
        ),
        Why::File => (
            StatusCode::CONFLICT,
            "file-unusable",
            "The settings file cannot be changed",
            "mend it as `problems` says; nothing was changed",
        ),
    };
    let problems: Vec<Json> = refused
        .problems
        .iter()
        .map(|problem| {
            let line = match &problem.origin {
                Some(Origin::File { line, .. }) => Some(*line),
                _ => None,
            };
            let origin = problem.origin.as_ref().map(ToString::to_string);
            json!({ "key": problem.key, "message": problem.message, "origin": origin, "line": line })
        })
        .collect();
    Problem::new(status, code, title, refused.to_string(), next).because(Json::Array(problems))
}
