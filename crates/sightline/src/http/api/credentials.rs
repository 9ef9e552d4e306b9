//! Logins of cameras, kept apart from the settings: written and replaced, never read.

use std::sync::Arc;

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::people::{Asked, read_as};
use crate::auth::Action;
use crate::config::stream_source::{Place, StreamSource};
use crate::config::units::Name;
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::{Content, Operation};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};
use crate::onvif::Account;
use crate::secret::Secret;
use crate::state::credentials::{Credentials, NotKept, Origin, Shown};

pub(super) const LIST: Operation = Operation::reads::<List>("Logins of cameras: whose, for whom, and who uses them");
pub(super) const ADD: Operation = Operation {
    body: Some(Content::json::<New>()),
    status: 201,
    problems: &[400, 408, 409, 413, 415, 503],
    ..Operation::reads::<Described>("Keep a login for a camera")
};
pub(super) const REPLACE: Operation = Operation {
    body: Some(Content::json::<Login>()),
    problems: &[400, 404, 408, 413, 415, 503],
    ..Operation::reads::<Described>("Replace a login, also whom it is for")
};
pub(super) const REMOVE: Operation = Operation {
    problems: &[404, 409, 503],
    ..Operation::does("Forget a login that no stream uses", 204)
};

const EXAMPLE: &str =
    "{\"name\":\"garden\",\"user\":\"admin\",\"password\":\"…\",\"source\":\"rtsp://192.168.1.20/stream1\"}";

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Credentials")]
struct List {
    credentials: Vec<Described>,
}

/// A login, without its password.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Credential")]
struct Described {
    /// As `credential` of a stream names it.
    name: String,
    user: String,
    /// Whom it is for. No other is shown it.
    origin: Origin,
    /// The tables of streams that name it.
    used_by: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewCredential")]
struct New {
    name: String,
    user: String,
    password: String,
    /// A URL of the camera: its scheme, host and port are whom the login is for.
    source: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CredentialLogin")]
struct Login {
    user: String,
    password: String,
    /// As of a new one.
    source: String,
}

/// `GET /api/v1/credentials`.
pub(super) fn list(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let shared = &call.shared;
        let all = shared.streams.credentials().list().into_iter();
        json(&List {
            credentials: all.map(|shown| described(shared, shown)).collect(),
        })
    })
}

/// `POST /api/v1/credentials`.
pub(super) fn add(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let trail = call.trail.clone();
        let asked = read_as::<New>(call, &caller.who, Some(Action::Administer), EXAMPLE).await;
        let Asked { shared, wish, .. } = match asked {
            Ok(asked) => asked,
            Err(problem) => return problem.into_response(),
        };
        trail.about(&wish.name);
        trail.sets(&["user", "password", "source"]);
        let name = match wish.name.parse::<Name>() {
            Ok(name) => name.to_string(),
            Err(error) => return wrong("bad-name", error.to_string()).into_response(),
        };
        let login = Login {
            user: wish.user,
            password: wish.password,
            source: wish.source,
        };
        let kept = change(&shared, &login, name.clone(), |credentials, name, account, origin| {
            credentials.add(name, account, origin)
        });
        match kept.await {
            Ok(()) => (StatusCode::CREATED, found(&shared, &name)).into_response(),
            Err(problem) => problem.into_response(),
        }
    })
}

/// `PUT /api/v1/credentials/NAME`.
pub(super) fn replace(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let name = call.params.get("key").to_owned();
        let trail = call.trail.clone();
        let asked = read_as::<Login>(call, &caller.who, Some(Action::Administer), EXAMPLE).await;
        let Asked { shared, wish, .. } = match asked {
            Ok(asked) => asked,
            Err(problem) => return problem.into_response(),
        };
        trail.sets(&["user", "password", "source"]);
        let kept = change(&shared, &wish, name.clone(), |credentials, name, account, origin| {
            credentials.put(name, account, origin)
        });
        match kept.await {
            Ok(()) => found(&shared, &name),
            Err(problem) => problem.into_response(),
        }
    })
}

/// `DELETE /api/v1/credentials/NAME`.
pub(super) fn remove(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let name = call.params.get("key").to_owned();
        let shared = call.shared;
        let users = used_by(&shared, &name);
        if !users.is_empty() {
            let problem = Problem::new(
                StatusCode::CONFLICT,
                "credential-in-use",
                "The login is in use",
                format!("{} would be asked without it", users.join(", ")),
                "take `credential` out of their tables, or the tables themselves, first",
            );
            return problem.into_response();
        }
        let credentials = shared.streams.credentials();
        // It writes to the disk.
        let removed = tokio::task::spawn_blocking(move || credentials.remove(&name)).await;
        match removed {
            Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
            Ok(Err(error)) => not_kept(&error).into_response(),
            // A panic, which was reported already.
            Err(_) => Problem::bug().into_response(),
        }
    })
}

async fn change(
    shared: &Shared,
    login: &Login,
    name: String,
    keep: fn(&Credentials, &str, &Account, Origin) -> Result<(), NotKept>,
) -> Result<(), Problem> {
    let place = place(&login.source)?;
    let origin = place.origin();
    let origin = origin.ok_or_else(|| wrong("bad-source", "it names no camera that is asked by network"))?;
    let account = Account {
        user: login.user.clone(),
        password: Secret::new(login.password.clone()),
    };
    let credentials = shared.streams.credentials();
    // It writes to the disk.
    let kept = tokio::task::spawn_blocking(move || keep(&credentials, &name, &account, origin)).await;
    match kept {
        Ok(kept) => kept.map_err(|error| not_kept(&error)),
        // A panic, which was reported already.
        Err(_) => Err(Problem::bug()),
    }
}

/// What a text names that is asked by network, as a table with a name would have it. Programs are refused, as in settings.
pub(super) fn place(text: &str) -> Result<Place, Problem> {
    let read = text.parse::<StreamSource>();
    // The text may hold a password, and so may what is said of it: both go back to who sent it, and nowhere else.
    let source = read.map_err(|error| wrong("bad-source", error.to_string()))?;
    if source.runs_a_program() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "programs-refused",
            "Programs are not taken by HTTP",
            "exec: and run: have programs run here, which whoever has the admin's token shall not be able to",
            "write it into the settings file by hand",
        ));
    }
    let place = source.filled(None);
    place.map_err(|error| wrong("bad-source", error.to_string()))
}

pub(super) fn wrong(code: &'static str, why: impl Into<String>) -> Problem {
    let next = format!("send an object such as {EXAMPLE}");
    Problem::new(StatusCode::BAD_REQUEST, code, "Not understood", why, next)
}

fn not_kept(error: &NotKept) -> Problem {
    let (status, code, title, next) = match error {
        NotKept::Taken(_) => (
            StatusCode::CONFLICT,
            "name-taken",
            "The name is taken",
            "choose another, or replace that one with PUT",
        ),
        NotKept::Unknown(_) => (
            StatusCode::NOT_FOUND,
            "not-there",
            "Not there",
            "GET /api/v1/credentials lists those there are",
        ),
        NotKept::Full => (
            StatusCode::CONFLICT,
            "too-many",
            "Too many",
            "remove some that are not used",
        ),
        NotKept::Invalid(_) => (
            StatusCode::BAD_REQUEST,
            "bad-request",
            "Not understood",
            "give what the camera's own page takes",
        ),
        NotKept::Folder(_) | NotKept::NoPlace(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not-kept",
            "It could not be written",
            "try again when that is mended; all is as it was",
        ),
    };
    Problem::new(status, code, title, error.to_string(), next)
}

fn found(shared: &Shared, name: &str) -> Response {
    let all = shared.streams.credentials().list();
    match all.into_iter().find(|shown| shown.name == name) {
        Some(shown) => json(&described(shared, shown)),
        // Somebody else removed it in between.
        None => not_kept(&NotKept::Unknown(name.to_owned())).into_response(),
    }
}

fn described(shared: &Shared, shown: Shown) -> Described {
    Described {
        used_by: used_by(shared, &shown.name),
        name: shown.name,
        user: shown.user,
        origin: shown.origin,
    }
}

fn used_by(shared: &Shared, name: &str) -> Vec<String> {
    let settings = Arc::clone(&shared.settings.live.now());
    let tables = settings.stream.iter();
    let named = tables.filter(|(_, stream)| {
        stream
            .credential
            .as_ref()
            .is_some_and(|known| known.to_string() == name)
    });
    named.map(|(key, _)| key.to_string()).collect()
}
