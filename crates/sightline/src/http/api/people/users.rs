//! Users, roles, and what all of them were let in by: for admins.

use std::sync::Arc;

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::own::{MadeToken, NewToken, answered, done, make_token};
use super::{Asked, ShownSession, ShownToken, bad, hashed, not_there, read_as, read_id, refusal, rfc3339, streams};
use crate::auth::people::{Change, Owner, User};
use crate::auth::{Action, Rights, Role, Streams};
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::api::me::{Right, told};
use crate::http::openapi::{Content, Operation};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};
use crate::secret::Secret;

pub(super) const LIST: Operation = Operation::reads::<Vec<Shown>>("Users, those of the settings too");
pub(super) const ADD: Operation = Operation {
    body: Some(Content::json::<New>()),
    status: 201,
    problems: &[400, 408, 409, 413, 415, 503],
    ..Operation::reads::<Shown>("Add a user")
};
pub(super) const CHANGE: Operation = Operation {
    body: Some(Content::json::<Altered>()),
    problems: &[400, 404, 408, 409, 413, 415, 503],
    ..Operation::reads::<Shown>("Change a user: role, streams, password, whether it is let in")
};
pub(super) const REMOVE: Operation = Operation {
    problems: &[404, 409, 503],
    ..Operation::does("Remove a user with all that is theirs; what let them in ends", 204)
};
pub(super) const ADD_TOKEN: Operation = Operation {
    body: Some(Content::json::<NewToken>()),
    status: 201,
    problems: &[400, 404, 408, 409, 413, 415, 503],
    ..Operation::reads::<MadeToken>("Make an API token for a user; it is shown once")
};
pub(super) const ROLES: Operation = Operation::reads::<Vec<ShownRole>>("Roles, and what they may do");
pub(super) const SET_ROLE: Operation = Operation {
    body: Some(Content::json::<NewRole>()),
    problems: &[400, 408, 409, 413, 415, 503],
    ..Operation::reads::<ShownRole>("Make a role, or change one that was made")
};
pub(super) const REMOVE_ROLE: Operation = Operation {
    problems: &[400, 404, 409, 503],
    ..Operation::does("Remove a role that nobody has", 204)
};
pub(super) const SESSIONS: Operation = Operation::reads::<Vec<ShownSession>>("Sessions of all users");
pub(super) const END_SESSION: Operation = Operation {
    problems: &[404, 503],
    ..Operation::does("End a session", 204)
};
pub(super) const TOKENS: Operation = Operation::reads::<Vec<ShownToken>>("API tokens of all users");
pub(super) const REVOKE: Operation = Operation {
    problems: &[404, 503],
    ..Operation::does("Revoke an API token; what it let in ends", 204)
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewUser")]
struct New {
    name: String,
    /// 10 to 128 characters.
    password: String,
    /// `admin`, `operator`, `publisher`, `viewer`, or one that was made.
    role: String,
    /// Names of streams, or expressions such as `~^yard/`. Left out: all.
    #[serde(default)]
    streams: Option<Vec<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChangedUser")]
struct Altered {
    #[serde(default)]
    role: Option<String>,
    /// `["all"]`: all.
    #[serde(default)]
    streams: Option<Vec<String>>,
    /// True: not let in, and whatever let them in ends.
    #[serde(default)]
    disabled: Option<bool>,
    /// 10 to 128 characters. Their sessions end.
    #[serde(default)]
    password: Option<String>,
}

/// Somebody with an account.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserAccount")]
struct Shown {
    name: String,
    /// Null: an account of the settings with rights of its own.
    role: Option<String>,
    streams: Vec<String>,
    rights: Vec<Right>,
    disabled: bool,
    /// It stands in the settings, and is changed there.
    in_file: bool,
    since: Option<String>,
    sessions: usize,
    tokens: usize,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewRole {
    /// Such as `view,replay door ; operate ~^yard/`.
    rights: String,
}

/// A role.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RoleRights")]
struct ShownRole {
    name: String,
    /// As text, to be changed and sent back.
    rights: String,
    may: Vec<Right>,
    /// One of the four that there always are.
    fixed: bool,
    users: usize,
}

/// `GET /api/v1/users`.
pub(super) fn list(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let people = call.shared.auth.everybody();
        let rules = call.shared.auth.rules();
        let mut all: Vec<Shown> = people.users().map(|user| shown(&call.shared, user)).collect();
        let in_file = rules.accounts.iter().filter(|account| account.password.is_some());
        all.extend(in_file.map(|account| {
            Shown {
                name: account.name.to_string(),
                role: Role::ALL
                    .into_iter()
                    .find(|role| *role.rights() == account.rights)
                    .map(|role| role.name().to_owned()),
                streams: Vec::new(),
                rights: told(&account.rights),
                disabled: false,
                in_file: true,
                since: None,
                sessions: 0,
                tokens: 0,
            }
        }));
        all.sort_by_key(|user| user.name.to_lowercase());
        json(&all)
    })
}

fn shown(shared: &Shared, user: &User) -> Shown {
    let people = shared.auth.everybody();
    let owner = Owner::User(user.id);
    Shown {
        name: user.name.to_string(),
        role: Some(user.role.to_string()),
        streams: named(&user.streams),
        rights: told(&user.rights),
        disabled: user.disabled,
        in_file: false,
        since: Some(rfc3339(user.made_at)),
        sessions: people.sessions().filter(|it| it.owner == owner).count(),
        tokens: people.tokens().filter(|it| it.user == user.id).count(),
    }
}

pub(super) fn named(streams: &[Streams]) -> Vec<String> {
    let named = streams.iter().map(|streams| match streams {
        Streams::All => "all".to_owned(),
        streams => streams.to_string(),
    });
    named.collect()
}

/// `POST /api/v1/users`.
pub(super) fn add(call: Call, caller: Caller) -> Answer {
    Box::pin(async move { add_user(call, &caller).await.unwrap_or_else(Problem::into_response) })
}

async fn add_user(call: Call, caller: &Caller) -> Result<Response, Problem> {
    let trail = call.trail.clone();
    let example = "{\"name\":\"anna\",\"password\":\"…\",\"role\":\"viewer\",\"streams\":[\"door\"]}";
    let Asked {
        shared,
        peer,
        parts,
        wish,
    } = read_as::<New>(call, &caller.who, ADMINISTER, example).await?;
    trail.about(&wish.name);
    let in_file = shared.auth.rules();
    if in_file.has_account_of(&wish.name) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "name-taken",
            "The name is taken",
            "an account of the settings is called so, and counts more",
            "choose another name",
        ));
    }
    let (role, streams): (Box<str>, _) = (wish.role.into(), streams(wish.streams)?);
    let change = |hash| Change::AddUser {
        name: wish.name.as_str().into(),
        hash,
        role: role.clone(),
        streams: streams.clone(),
        at: shared.clock.wall(),
    };
    let may_be = shared.auth.everybody().check(&change(None));
    may_be.map_err(|refused| refusal(&refused))?;
    let password = Secret::new(wish.password.as_str());
    let hash = hashed(&shared, peer, &parts.headers, &password, &wish.name)?;
    done(&shared, change(Some(hash))).await?;
    tracing::info!(user = %wish.name, by = caller.who.name(), "a user was added");
    let people = shared.auth.everybody();
    let user = people.named(&wish.name).ok_or_else(Problem::bug)?;
    Ok((StatusCode::CREATED, json(&shown(&shared, user))).into_response())
}

/// The user that the path names.
fn user(call: &Call) -> Result<Arc<User>, Problem> {
    user_named(&call.shared, call.params.get("user"))
}

fn user_named(shared: &Shared, name: &str) -> Result<Arc<User>, Problem> {
    let user = shared.auth.everybody().named(name).cloned();
    user.ok_or_else(|| {
        not_there(
            "user",
            "GET /api/v1/users lists them; those of the settings are changed there",
        )
    })
}

/// `PATCH /api/v1/users/NAME`.
pub(super) fn change(call: Call, caller: Caller) -> Answer {
    Box::pin(async move { change_user(call, &caller).await.unwrap_or_else(Problem::into_response) })
}

async fn change_user(call: Call, caller: &Caller) -> Result<Response, Problem> {
    let (name, trail) = (call.params.get("user").to_owned(), call.trail.clone());
    let Asked {
        shared,
        peer,
        parts,
        wish,
    } = read_as::<Altered>(call, &caller.who, ADMINISTER, "{\"role\":\"operator\"}").await?;
    // Behind the body: what is not set stays as it is then.
    let user = user_named(&shared, &name)?;
    let set = [
        ("role", wish.role.is_some()),
        ("streams", wish.streams.is_some()),
        ("disabled", wish.disabled.is_some()),
        ("password", wish.password.is_some()),
    ];
    let set: Vec<&str> = set.iter().filter(|(_, is_set)| *is_set).map(|(key, _)| *key).collect();
    trail.sets(&set);
    let hash = wish
        .password
        .map(|password| hashed(&shared, peer, &parts.headers, &Secret::new(password), &user.name))
        .transpose()?;
    if wish.role.is_some() || wish.streams.is_some() || wish.disabled.is_some() {
        let streams = match wish.streams {
            Some(named) => streams(Some(named))?,
            None => user.streams.clone(),
        };
        let change = Change::SetUser {
            user: user.id,
            role: wish.role.map_or_else(|| user.role.clone(), Into::into),
            streams,
            disabled: wish.disabled.unwrap_or(user.disabled),
        };
        done(&shared, change).await?;
    }
    if let Some(hash) = hash {
        let change = Change::SetPassword {
            user: user.id,
            hash,
            but: None,
        };
        done(&shared, change).await?;
    }
    tracing::info!(user = %user.name, by = caller.who.name(), "a user was changed");
    let people = shared.auth.everybody();
    let user = people.user(user.id).ok_or_else(Problem::bug)?;
    Ok(json(&shown(&shared, user)))
}

/// `DELETE /api/v1/users/NAME`.
pub(super) fn remove(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let user = match user(&call) {
            Ok(user) => user,
            Err(problem) => return problem.into_response(),
        };
        let removed = done(&call.shared, Change::RemoveUser(user.id)).await;
        if removed.is_ok() {
            tracing::info!(user = %user.name, by = caller.who.name(), "a user was removed");
        }
        answered(removed)
    })
}

/// `POST /api/v1/users/NAME/tokens`.
pub(super) fn add_token(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let user = match user(&call) {
            Ok(user) => user.id,
            Err(problem) => return problem.into_response(),
        };
        let example = "{\"name\":\"doorbell\",\"rights\":\"view door\",\"days\":90}";
        match read_as::<NewToken>(call, &caller.who, ADMINISTER, example).await {
            Ok(asked) => make_token(&asked.shared, user, asked.wish).await,
            Err(problem) => problem.into_response(),
        }
    })
}

/// `GET /api/v1/roles`.
pub(super) fn roles(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let people = call.shared.auth.everybody();
        let fixed = Role::ALL.into_iter().map(|role| (role.name(), role.rights(), true));
        let made = people.roles().map(|(name, rights)| (name, rights, false));
        let shown: Vec<ShownRole> = fixed
            .chain(made)
            .map(|(name, rights, fixed)| shown_role(&call.shared, name, rights, fixed))
            .collect();
        json(&shown)
    })
}

fn shown_role(shared: &Shared, name: &str, rights: &Rights, fixed: bool) -> ShownRole {
    let people = shared.auth.everybody();
    ShownRole {
        name: name.to_owned(),
        rights: rights.to_string(),
        may: told(rights),
        fixed,
        users: people.users().filter(|user| &*user.role == name).count(),
    }
}

/// `PUT /api/v1/roles/NAME`.
pub(super) fn set_role(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let set = async {
            let name = call.params.get("role").to_owned();
            let example = "{\"rights\":\"view,replay door\"}";
            let Asked { shared, wish, .. } = read_as::<NewRole>(call, &caller.who, ADMINISTER, example).await?;
            let rights: Rights = wish.rights.parse().map_err(|error: crate::auth::InvalidRights| {
                bad(
                    error.to_string(),
                    "write rights such as \"view,replay door ; operate ~^yard/\"",
                )
            })?;
            let change = Change::SetRole {
                name: name.as_str().into(),
                rights: rights.clone(),
            };
            done(&shared, change).await?;
            tracing::info!(role = %name, by = caller.who.name(), "a role was set");
            Ok::<_, Problem>(json(&shown_role(&shared, &name, &rights, false)))
        };
        set.await.unwrap_or_else(Problem::into_response)
    })
}

/// `DELETE /api/v1/roles/NAME`.
pub(super) fn remove_role(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let name = call.params.get("role").into();
        answered(done(&call.shared, Change::RemoveRole(name)).await)
    })
}

/// `GET /api/v1/sessions`.
pub(super) fn sessions(call: Call, caller: Caller) -> Answer {
    Box::pin(async move {
        let people = call.shared.auth.everybody();
        let current = caller.who.grant().map(|grant| grant.id);
        let mut shown: Vec<_> = people
            .sessions()
            .map(|session| ShownSession::new(&people, session, current))
            .collect();
        shown.sort_unstable_by(|one, other| other.seen.cmp(&one.seen).then(one.id.cmp(&other.id)));
        json(&shown)
    })
}

/// `DELETE /api/v1/sessions/ID`.
pub(super) fn end_session(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let id = read_id(call.params.get("key"));
        let people = call.shared.auth.everybody();
        let Some(session) = people.sessions().find(|session| Some(session.id()) == id) else {
            return not_there("session", "GET /api/v1/sessions lists them").into_response();
        };
        answered(done(&call.shared, Change::End(session.sum)).await)
    })
}

/// `GET /api/v1/tokens`.
pub(super) fn tokens(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let people = call.shared.auth.everybody();
        let mut shown: Vec<_> = people.tokens().map(|token| ShownToken::new(&people, token)).collect();
        shown.sort_unstable_by(|one, other| one.since.cmp(&other.since).then(one.id.cmp(&other.id)));
        json(&shown)
    })
}

/// `DELETE /api/v1/tokens/ID`.
pub(super) fn revoke(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let id = read_id(call.params.get("key"));
        let people = call.shared.auth.everybody();
        let Some(token) = people.tokens().find(|token| Some(token.id()) == id) else {
            return not_there("token", "GET /api/v1/tokens lists them").into_response();
        };
        answered(done(&call.shared, Change::Revoke(token.sum)).await)
    })
}

const ADMINISTER: Option<Action> = Some(Action::Administer);
