//! The people of the page: signing in, one's own account, users and roles, tokens and sessions, links.
//!
//! Belongs here: the routes and forms of them, what each refusal is as a problem. Does not belong here: what may change ([`crate::auth::people`]), where it is kept
//! ([`crate::state::control`]).

mod audit;
mod links;
mod own;
mod routes;
mod session;
mod users;

pub(in crate::http) use routes::ROUTES;

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use media::stats::GrantId;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rfc3339;
use crate::auth::people::{Owner, People, Refused, Session, Token};
use crate::auth::{Action, Hash, Object, Principal, Refusal, Streams, may, secrets};
use crate::http::Shared;
use crate::http::body;
use crate::http::peer::Peer;
use crate::http::problem::Problem;
use crate::http::routes::Call;
use crate::secret::Secret;
use crate::state::control::NotDone;

/// Longest body.
const MAX_BYTES: usize = 64 << 10;
const DAY_US: i64 = 86_400_000_000;

/// What a request brings, and what is left of it.
pub(super) struct Asked<T> {
    pub(super) shared: Arc<Shared>,
    peer: Peer,
    pub(super) parts: Parts,
    pub(super) wish: T,
}

/// Reads what a request brings. `example` is what people see who send something else.
async fn read<T: DeserializeOwned>(call: Call, example: &'static str) -> Result<Asked<T>, Problem> {
    let Call {
        shared, peer, request, ..
    } = call;
    let (parts, content) = request.into_parts();
    let patience = shared.settings.patience.body;
    let bytes = body::json(&parts.headers, content, (body::JSON, "an object"), MAX_BYTES, patience).await?;
    let wish = serde_json::from_slice(&bytes).map_err(|error| {
        // Of the message only the place where it might quote a password.
        let why = match error.classify() {
            serde_json::error::Category::Data => error.to_string(),
            _ => format!("no JSON at line {}, column {}", error.line(), error.column()),
        };
        bad(why, format!("send an object such as {example}"))
    })?;
    Ok(Asked {
        shared,
        peer,
        parts,
        wish,
    })
}

/// The same for somebody who was let in before the body was there, which takes ten seconds if they like: what let them in has to be good behind it, too, and
/// to allow this of the program still, where the route asks for that.
pub(super) async fn read_as<T: DeserializeOwned>(
    call: Call,
    who: &Principal,
    action: Option<Action>,
    example: &'static str,
) -> Result<Asked<T>, Problem> {
    let asked = read::<T>(call, example).await?;
    let who = asked.shared.auth.renewed(who, asked.shared.clock.wall());
    let may = |who: &Principal| action.is_none_or(|action| may(who, action, Object::Program).is_allowed());
    match who.as_ref().is_some_and(may) {
        true => Ok(asked),
        false => Err(Problem::refused(Refusal::Wrong, &asked.parts.headers)),
    }
}

fn bad(detail: impl Into<String>, next: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", "Not understood", detail, next)
}

fn not_there(what: &'static str, next: &'static str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not-there",
        "Not there",
        format!("there is no such {what}"),
        next,
    )
}

/// Why a change is not in force.
pub(in crate::http) fn not_done(error: &NotDone) -> Problem {
    let (status, code, title, next) = match error {
        NotDone::Refused(refused) => return refusal(refused),
        NotDone::Unreadable(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "accounts-unreadable",
            "The accounts cannot be read",
            "do as the log of the server says; the generated tokens and the accounts of the settings go on",
        ),
        NotDone::NoRoom | NotDone::Failed(_) | NotDone::Busy | NotDone::Closed => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not-kept",
            "It could not be written",
            "try again when that is mended; all is as it was",
        ),
    };
    Problem::new(status, code, title, error.to_string(), next)
}

fn refusal(refused: &Refused) -> Problem {
    let (status, code, title) = match refused {
        Refused::NameTaken(_) => (StatusCode::CONFLICT, "name-taken", "The name is taken"),
        Refused::NameWrong(_) => (StatusCode::BAD_REQUEST, "bad-name", "Not a name"),
        Refused::NoSuchUser | Refused::Gone => (StatusCode::NOT_FOUND, "not-there", "Not there"),
        Refused::NoSuchRole(_) => (StatusCode::BAD_REQUEST, "no-such-role", "No such role"),
        Refused::RoleFixed(_) => (StatusCode::CONFLICT, "role-fixed", "The role cannot be changed"),
        Refused::RoleInUse(_) => (StatusCode::CONFLICT, "role-in-use", "The role is in use"),
        Refused::LastAdmin(_) => (StatusCode::CONFLICT, "last-admin", "The last admin"),
        Refused::AdminOfSome | Refused::StreamsWrong(_) => {
            (StatusCode::BAD_REQUEST, "bad-streams", "Not these streams")
        }
        Refused::LinkSpent => (StatusCode::GONE, "link-spent", "The link is over"),
        Refused::ShareFull(_) => (StatusCode::CONFLICT, "share-full", "As many as may are watching"),
        Refused::Limit { .. } => (StatusCode::CONFLICT, "too-many", "As many as there may be"),
    };
    let detail = refused.to_string();
    let (detail, next) = detail.split_once("; ").unwrap_or((&detail, "nothing was changed"));
    Problem::new(status, code, title, detail, next)
}

/// The hash of a new password, where it is one that may be. Computed within the budget of all hashes: whatever else could be wrong is to be looked at before.
fn hashed(
    shared: &Shared,
    peer: Peer,
    headers: &HeaderMap,
    password: &Secret,
    name: &str,
) -> Result<Arc<Hash>, Problem> {
    secrets::check_password(password.expose(), name).map_err(|weak| {
        let detail = weak.to_string();
        let (detail, next) = detail.split_once("; ").unwrap_or((&detail, "choose another"));
        Problem::new(
            StatusCode::BAD_REQUEST,
            "weak-password",
            "Not this password",
            detail,
            next,
        )
    })?;
    let may = shared.auth.may_hash(peer.remote, shared.clock.now());
    may.map_err(|refusal| Problem::refused(refusal, headers))?;
    secrets::hash(password.expose())
        .map(Arc::new)
        .map_err(|_| Problem::bug())
}

/// Streams as JSON names them; none are all.
fn streams(named: Option<Vec<String>>) -> Result<Vec<Streams>, Problem> {
    let Some(named) = named else {
        return Ok(vec![Streams::All]);
    };
    if named.is_empty() {
        return Err(bad(
            "`streams` is empty, so it would be of no use",
            "name streams or expressions (~^yard/), or leave it out for all",
        ));
    }
    let parsed = named.iter().map(|word| match word.as_str() {
        "all" => Ok(Streams::All),
        word => word.parse().map_err(|error: crate::config::units::InvalidWord| {
            bad(error.to_string(), "name streams or expressions (~^yard/)")
        }),
    });
    parsed.collect()
}

/// A grant as JSON has it: 16 hexadecimal digits, since numbers of JSON are not exact beyond 53 bits.
fn shown_id(id: GrantId) -> String {
    format!("{:016x}", id.0)
}

fn read_id(text: &str) -> Option<GrantId> {
    (text.len() == 16)
        .then(|| u64::from_str_radix(text, 16).ok().map(GrantId))
        .flatten()
}

/// Whose a session or token is.
fn owner_name(people: &People, owner: &Owner) -> String {
    match owner {
        Owner::User(user) => people
            .user(*user)
            .map_or_else(String::new, |user| user.name.to_string()),
        Owner::Credential(mark) => {
            let (kind, rest) = mark.split_once(':').unwrap_or(("", mark));
            let name = rest.rsplit_once(':').map_or("", |(name, _)| name);
            match kind {
                "grant" => "token or share".to_owned(),
                _ => name.to_owned(),
            }
        }
    }
}

/// A session, for who may end it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SignedInSession")]
struct ShownSession {
    id: String,
    /// Whose.
    user: String,
    /// It is the one that asks.
    current: bool,
    /// The address from which it began.
    remote: IpAddr,
    /// What the browser calls itself.
    agent: String,
    since: String,
    seen: String,
    ends: String,
    /// False: it ends with the program, for the disk was full when it began.
    kept: bool,
}

impl ShownSession {
    fn new(people: &People, session: &Session, current: Option<GrantId>) -> Self {
        Self {
            id: shown_id(session.id()),
            user: owner_name(people, &session.owner),
            current: current == Some(session.id()),
            remote: session.remote,
            agent: session.agent.to_string(),
            since: rfc3339(session.made_at),
            seen: rfc3339(session.seen_at()),
            ends: rfc3339(session.over_at()),
            kept: session.kept,
        }
    }
}

/// An API token, without itself.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ApiToken")]
struct ShownToken {
    id: String,
    /// Whose.
    user: String,
    name: String,
    /// What it may, as far as its owner may.
    rights: String,
    /// From where it counts; empty: from everywhere.
    networks: Vec<String>,
    since: String,
    ends: String,
    /// When it was used last; null: never.
    used: Option<String>,
}

impl ShownToken {
    fn new(people: &People, token: &Token) -> Self {
        let used = token.used_us.load(std::sync::atomic::Ordering::Relaxed);
        Self {
            id: shown_id(token.id()),
            user: owner_name(people, &Owner::User(token.user)),
            name: token.name.to_string(),
            rights: token.rights.to_string(),
            networks: token.networks.iter().map(ToString::to_string).collect(),
            since: rfc3339(token.made_at),
            ends: rfc3339(token.ends_at),
            used: (used > 0).then(|| rfc3339(media::WallTime::from_unix_micros(used))),
        }
    }
}

fn with_cookies(
    mut response: axum_core::response::Response,
    cookies: Vec<HeaderValue>,
) -> axum_core::response::Response {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
