//! Links: the first admin's, invitations, shares.
//!
//! Each is `…/first-run#CODE`, `…/join#CODE` or `…/shared#CODE`: a fragment is in no log, and no preview of a messenger uses it up. The page
//! posts it.

use std::sync::Arc;

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use media::{StreamName, WallTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::own::{answered, done};
use super::session::who;
use super::{
    Asked, bad, hashed, not_done, not_there, read, read_as, read_id, rfc3339, shown_id, streams, with_cookies,
};
use crate::auth::people::{Change, Grant, GrantKind, Link, LinkKind, MAX_STREAMS, Sum};
use crate::auth::{Action, Hash, Identity, Object, Refusal, Streams, may, secrets};
use crate::config::stream_key::StreamKey;
use crate::http::Shared;
use crate::http::access::{self, Caller};
use crate::http::answer::json;
use crate::http::api::me::Me;
use crate::http::openapi::{Content, Operation};
use crate::http::peer::{self, Peer};
use crate::http::problem::Problem;
use crate::http::routes::{self, Answer, Call};
use crate::http::signing;
use crate::secret::Secret;

pub(super) const LIST: Operation = Operation::reads::<Vec<Shown>>("Links that are not used up");
pub(super) const INVITE: Operation = Operation {
    body: Some(Content::json::<Invitation>()),
    status: 201,
    problems: &[400, 408, 409, 413, 415, 503],
    ..Operation::reads::<Made>("Invite somebody: a link by which they make themselves an account, once")
};
pub(super) const REMOVE: Operation = Operation {
    problems: &[404, 503],
    ..Operation::does("Take a link back; what a share let in ends", 204)
};
pub(super) const ACCEPT: Operation = Operation {
    body: Some(Content::json::<Accepted>()),
    problems: &[400, 403, 408, 409, 410, 413, 415, 429, 503],
    ..Operation::reads::<Me>("Make oneself an account by a link, and sign in")
};
pub(super) const SHARE: Operation = Operation {
    body: Some(Content::json::<Share>()),
    status: 201,
    problems: &[400, 408, 409, 413, 415, 503],
    ..Operation::reads::<Made>("Share streams by a link")
};
pub(super) const OPEN: Operation = Operation {
    body: Some(Content::json::<Opened>()),
    problems: &[400, 401, 403, 408, 409, 410, 413, 415, 429, 503],
    ..Operation::reads::<Me>("Open a share: the answer sets the cookie of a session")
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Invitation {
    /// For the first admin, while there is none: thirty minutes. Where there is one, an invitation of an admin for as long.
    #[serde(default)]
    first_run: bool,
    /// `viewer`, unless said otherwise.
    #[serde(default)]
    role: Option<String>,
    /// Left out: all.
    #[serde(default)]
    streams: Option<Vec<String>>,
    /// 7, unless said otherwise; 30 at most.
    #[serde(default)]
    days: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AcceptedLink")]
struct Accepted {
    code: String,
    name: String,
    /// 10 to 128 characters.
    password: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewShare")]
struct Share {
    /// Names of streams.
    cameras: Vec<String>,
    /// 24, unless said otherwise; a year at most.
    #[serde(default)]
    hours: Option<u32>,
    /// How many may be let in at a time: 5, unless said otherwise; 100 at most.
    #[serde(default)]
    viewers: Option<u32>,
    /// Asked for besides, if there is one.
    #[serde(default)]
    password: Option<String>,
    /// What was recorded is shared, too.
    #[serde(default)]
    replay: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OpenedShare")]
struct Opened {
    code: String,
    #[serde(default)]
    password: String,
}

/// A link that was made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MadeLink")]
struct Made {
    /// It is not kept, and never shown again.
    code: String,
    /// The link, from the root of the page: `first-run#CODE`, `join#CODE`, `shared#CODE`.
    path: String,
    #[serde(flatten)]
    about: Shown,
}

/// A link, without its code.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Link")]
struct Shown {
    id: String,
    /// `first-run`, `invitation`, `share`.
    kind: &'static str,
    role: String,
    streams: Vec<String>,
    /// Who made it; null: with a token of the server.
    by: Option<String>,
    ends: String,
    /// How many may use it yet; of a share at a time.
    uses: u32,
    /// A password is asked for besides.
    password: bool,
}

impl Shown {
    fn new(shared: &Shared, link: &Link) -> Self {
        let people = shared.auth.everybody();
        let by = link.by.and_then(|by| people.user(by));
        Self {
            id: shown_id(link.id()),
            kind: link.kind.name(),
            role: link.role.to_string(),
            streams: super::users::named(&link.streams),
            by: by.map(|by| by.name.to_string()),
            ends: rfc3339(link.ends_at),
            uses: link.uses_left,
            password: link.hash.is_some(),
        }
    }
}

/// `GET /api/v1/invitations`.
pub(super) fn list(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let people = call.shared.auth.everybody();
        let mut shown: Vec<_> = people.links().map(|link| Shown::new(&call.shared, link)).collect();
        shown.sort_unstable_by(|one, other| one.ends.cmp(&other.ends).then(one.id.cmp(&other.id)));
        json(&shown)
    })
}

/// `POST /api/v1/invitations`.
pub(super) fn invite(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let made = async {
            let (administer, example) = (Some(Action::Administer), "{\"role\":\"viewer\",\"days\":7}");
            let Asked { shared, wish, .. } = read_as::<Invitation>(call, &caller.who, administer, example).await?;
            let life_us = match (wish.first_run, wish.days.unwrap_or(7)) {
                (true, _) => FIRST_RUN_US,
                (false, days @ 1..=30) => i64::from(days) * super::DAY_US,
                _ => return Err(bad("`days` is not from 1 to 30", "leave it out for 7 days")),
            };
            let kind = match wish.first_run && !shared.auth.everybody().has_admin() {
                true => LinkKind::FirstRun,
                false => LinkKind::Invitation,
            };
            let role = if wish.first_run {
                "admin"
            } else {
                wish.role.as_deref().unwrap_or("viewer")
            };
            let streams = if wish.first_run {
                vec![Streams::All]
            } else {
                streams(wish.streams)?
            };
            let ends_at = shared.clock.wall().offset_micros(life_us);
            make(&shared, &caller, (kind, role, streams), (ends_at, 1), None).await
        };
        made.await.unwrap_or_else(Problem::into_response)
    })
}

async fn make(
    shared: &Arc<Shared>,
    caller: &Caller,
    (kind, role, streams): (LinkKind, &str, Vec<Streams>),
    (ends_at, uses_left): (WallTime, u32),
    hash: Option<Arc<Hash>>,
) -> Result<Response, Problem> {
    let (code, sum) = secrets::code().map_err(|_| Problem::bug())?;
    let link = Link {
        sum,
        kind,
        role: role.into(),
        streams,
        by: caller.who.grant().and_then(|grant| grant.of),
        ends_at,
        uses_left,
        hash,
    };
    done(shared, Change::AddLink(Arc::new(link.clone()))).await?;
    let made = Made {
        path: format!("{}#{}", kind.page(), code.expose()),
        code: code.expose().to_owned(),
        about: Shown::new(shared, &link),
    };
    tracing::info!(kind = kind.name(), by = caller.who.name(), "a link was made");
    Ok((StatusCode::CREATED, json(&made)).into_response())
}

/// `DELETE /api/v1/invitations/ID`.
pub(super) fn remove(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let id = read_id(call.params.get("key"));
        let people = call.shared.auth.everybody();
        let Some(link) = people.links().find(|link| Some(link.id()) == id) else {
            return not_there("link", "GET /api/v1/invitations lists them").into_response();
        };
        answered(done(&call.shared, Change::RemoveLink(link.sum)).await)
    })
}

/// `POST /api/v1/first-run` and `POST /api/v1/invitations/accept`.
pub(super) fn accept(call: Call) -> Answer {
    Box::pin(async move { account(call).await.unwrap_or_else(Problem::into_response) })
}

async fn account(call: Call) -> Result<Response, Problem> {
    let trail = call.trail.clone();
    let example = "{\"code\":\"…\",\"name\":\"anna\",\"password\":\"…\"}";
    let Asked {
        shared,
        peer,
        parts,
        wish,
    } = read::<Accepted>(call, example).await?;
    let headers = &parts.headers;
    own_page(headers)?;
    let (sum, now) = (Sum::of(wish.code.as_bytes()), shared.clock.wall());
    tried(&shared, peer, headers, || {
        shared.auth.everybody().usable(sum, now).map(drop)
    })?;
    let rules = shared.auth.rules();
    if rules.has_account_of(&wish.name) {
        return Err(super::refusal(&crate::auth::people::Refused::NameTaken(
            wish.name.into(),
        )));
    }
    let may_be = shared.auth.everybody().check_use(sum, &wish.name, now);
    may_be.map_err(|refused| super::refusal(&refused))?;
    let change = Change::UseLink {
        link: sum,
        name: wish.name.as_str().into(),
        hash: hashed(&shared, peer, headers, &Secret::new(wish.password), &wish.name)?,
        at: now,
    };
    let used = shared.settings.control.change(change).await;
    used.map_err(|error| not_done(&error))?;
    let user = shared.auth.everybody().named(&wish.name).map(|user| user.id);
    let user = user.ok_or_else(Problem::bug)?;
    tracing::info!(user = %wish.name, "an account was made by a link");
    trail.is(&wish.name);
    let identity = Identity::User(user);
    let cookies = signing::cookies(&shared, peer, headers, &identity, &wish.name).await?;
    Ok(with_cookies(json(&Me::new(&who(&shared, &identity))), cookies))
}

/// What a code leads to, with the brake of its address.
fn tried<T>(
    shared: &Arc<Shared>,
    peer: Peer,
    headers: &http::HeaderMap,
    find: impl FnOnce() -> Option<T>,
) -> Result<T, Problem> {
    let now = shared.clock.now();
    if let Err(refusal) = shared.auth.may_try(peer.remote, now) {
        return Err(Problem::refused(refusal, headers));
    }
    find().ok_or_else(|| {
        shared.auth.failed_to_show(peer.remote, now);
        routes::refused("/join", shared, peer, "a link that is none, or over".to_owned());
        super::refusal(&crate::auth::people::Refused::LinkSpent)
    })
}

fn own_page(headers: &http::HeaderMap) -> Result<(), Problem> {
    match peer::is_from_another_site(headers) {
        true => Err(Problem::another_site()),
        false => Ok(()),
    }
}

/// `POST /api/v1/shares`.
pub(super) fn share(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        share_cameras(call, &caller)
            .await
            .unwrap_or_else(Problem::into_response)
    })
}

async fn share_cameras(call: Call, caller: &Caller) -> Result<Response, Problem> {
    let Asked {
        shared,
        peer,
        parts,
        wish,
    } = read_as::<Share>(call, &caller.who, None, "{\"cameras\":[\"door\"],\"hours\":24}").await?;
    let names: Vec<StreamName> = wish
        .cameras
        .iter()
        .map(|name| routes::stream_name(name))
        .collect::<Result<_, _>>()?;
    // Whoever steers a camera may share it, and nothing that they do not see themselves.
    let needed = [Action::Operate, Action::View, Action::Replay];
    for name in &names {
        for action in needed.iter().take(if wish.replay { 3 } else { 2 }) {
            let denied = may(&caller.who, *action, name);
            if !denied.is_allowed() {
                return Err(Problem::refused(Refusal::Forbidden(denied), &parts.headers));
            }
        }
    }
    let grant = caller.who.grant();
    let administers = may(&caller.who, Action::Administer, Object::Program).is_allowed();
    if !administers && grant.is_none_or(|grant| grant.of.is_none()) {
        // An account of the settings could be taken out of them, and nobody would know whose the share was.
        return Err(Problem::no_account());
    }
    let hours = wish.hours.unwrap_or(24);
    let viewers = wish.viewers.unwrap_or(5);
    if names.is_empty() || names.len() > MAX_STREAMS || !(1..=8_784).contains(&hours) || !(1..=100).contains(&viewers) {
        return Err(bad(
            "a share has 1 to 100 cameras, 1 to 8784 hours, 1 to 100 viewers",
            "send an object such as {\"cameras\":[\"door\"],\"hours\":24}",
        ));
    }
    let streams = names.into_iter().map(|name| Streams::Of(StreamKey::Name(name)));
    let ends_at = shared.clock.wall().offset_micros(i64::from(hours) * HOUR_US);
    // By a token, or a session that began with one: no longer than that.
    let is_by_token = |grant: &&Arc<Grant>| grant.kind == GrantKind::Token || grant.user != grant.of;
    let token_ends = grant.filter(is_by_token).and_then(|grant| grant.ends);
    let ends_at = token_ends.map_or(ends_at, |ends| ends.min(ends_at));
    let hash = wish
        .password
        .map(|password| hashed(&shared, peer, &parts.headers, &Secret::new(password), ""))
        .transpose()?;
    let rights = if wish.replay { "view,replay" } else { "view" };
    make(
        &shared,
        caller,
        (LinkKind::Share, rights, streams.collect()),
        (ends_at, viewers),
        hash,
    )
    .await
}

/// `POST /api/v1/shares/open`.
pub(super) fn open(call: Call) -> Answer {
    Box::pin(async move { open_share(call).await.unwrap_or_else(Problem::into_response) })
}

async fn open_share(call: Call) -> Result<Response, Problem> {
    let trail = call.trail.clone();
    let Asked {
        shared,
        peer,
        parts,
        wish,
    } = read::<Opened>(call, "{\"code\":\"…\"}").await?;
    let headers = &parts.headers;
    own_page(headers)?;
    let (sum, wall) = (Sum::of(wish.code.as_bytes()), shared.clock.wall());
    let people = shared.auth.everybody();
    let (link, grant) = tried(&shared, peer, headers, || {
        Some((people.share(sum, wall)?.clone(), people.by_sum(sum, None, wall)?))
    })?;
    let identity = Identity::Granted(Arc::new(grant));
    let owner = shared.auth.owner(&identity, sum);
    // Whoever has it open already is not one more.
    let own = access::session(&shared, peer, headers);
    let own = own.and_then(|own| people.session(own.sum, wall));
    if owner.is_some() && own.map(|own| &own.owner) == owner.as_ref() {
        return Ok(json(&Me::new(&who(&shared, &identity))));
    }
    if let Some(hash) = &link.hash {
        // The page learns so that it must ask for one; that is no guess.
        if wish.password.is_empty() {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "password-needed",
                "A password is needed",
                "this share asks for a password besides its code",
                "send it as `password`; whoever shared it knows it",
            ));
        }
        let shown = shared.auth.opens(hash, &wish.password, peer.remote, shared.clock.now());
        shown.map_err(|refusal| Problem::refused(refusal, headers))?;
    }
    let cookies = signing::cookies(&shared, peer, headers, &identity, "").await?;
    trail.is("share");
    trail.about(&shown_id(link.id()));
    Ok(with_cookies(json(&Me::new(&who(&shared, &identity))), cookies))
}

const HOUR_US: i64 = 3_600_000_000;
const FIRST_RUN_US: i64 = HOUR_US / 2;
