//! What one has oneself: password, sessions, tokens, the password of one's players, preferences.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Asked, DAY_US, ShownSession, ShownToken, bad, hashed, not_done, not_there, read_as, read_id};
use crate::auth::people::{Change, Grant, LONGEST_TOKEN_US, Player, Session, TOKEN_US, Token, User, UserId};
use crate::auth::{Network, Rights, secrets};
use crate::http::Shared;
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::{Anything, Content, Operation};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};
use crate::secret::Secret;

pub(super) const PASSWORD: Operation = Operation {
    body: Some(Content::json::<NewPassword>()),
    problems: &[400, 408, 409, 413, 415, 503],
    ..Operation::does("Change one's password; one's other sessions end", 204)
};
pub(super) const SESSIONS: Operation = Operation::reads::<Vec<ShownSession>>("One's sessions");
pub(super) const END_SESSION: Operation = Operation {
    problems: &[404, 503],
    ..Operation::does("End one of one's sessions", 204)
};
pub(super) const END_OTHERS: Operation = Operation {
    problems: &[503],
    ..Operation::does("End all of one's sessions but this one", 204)
};
pub(super) const TOKENS: Operation = Operation::reads::<Vec<ShownToken>>("One's API tokens");
pub(super) const ADD_TOKEN: Operation = Operation {
    body: Some(Content::json::<NewToken>()),
    status: 201,
    problems: &[400, 408, 409, 413, 415, 503],
    ..Operation::reads::<MadeToken>("Make an API token; it is shown once")
};
pub(super) const REVOKE: Operation = Operation {
    problems: &[404, 503],
    ..Operation::does("Revoke one of one's API tokens; what it let in ends", 204)
};
pub(super) const PLAYER: Operation = Operation {
    problems: &[409],
    ..Operation::reads::<ShownPlayer>("The user and password that one's players show by RTSP")
};
pub(super) const NEW_PLAYER: Operation = Operation {
    problems: &[409, 503],
    ..Operation::reads::<ShownPlayer>("Make another password for one's players; the one before ends")
};
pub(super) const PREFERENCES: Operation = Operation {
    problems: &[409],
    ..Operation::reads::<Anything>("What one wants of the page")
};
pub(super) const SET_PREFERENCES: Operation = Operation {
    body: Some(Content::json::<Anything>()),
    problems: &[400, 408, 409, 413, 415, 503],
    ..Operation::does("Keep what one wants of the page: an object of 16 KiB at most", 204)
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    current: String,
    /// 10 to 128 characters.
    new: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// What it is for.
    pub(super) name: String,
    /// Such as `viewer`, `view,replay door`, `publish ~^yard/`; never more than one's own. Left out: all of one's own.
    #[serde(default)]
    pub(super) rights: Option<String>,
    /// How long it is good: 90 days, unless said otherwise, 3650 at most.
    #[serde(default)]
    pub(super) days: Option<u32>,
    /// From where it counts, such as `10.0.0.0/8`. Left out: from everywhere.
    #[serde(default)]
    pub(super) networks: Vec<String>,
}

/// A token that was made.
#[derive(Serialize, JsonSchema)]
pub(super) struct MadeToken {
    /// Itself: it is not kept, and never shown again.
    token: String,
    #[serde(flatten)]
    about: ShownToken,
}

/// What players show.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlayerPassword")]
struct ShownPlayer {
    user: String,
    /// Null: none was made.
    password: Option<String>,
}

/// `PUT /api/v1/me/password`.
pub(super) fn password(call: Call, caller: Caller, grant: Arc<Grant>) -> Answer {
    Box::pin(async move {
        set_password(call, &caller, &grant)
            .await
            .unwrap_or_else(Problem::into_response)
    })
}

async fn set_password(call: Call, caller: &Caller, grant: &Grant) -> Result<Response, Problem> {
    let user = user_of(&call.shared, grant)?;
    let example = "{\"current\":\"…\",\"new\":\"…\"}";
    let Asked {
        shared,
        peer,
        parts,
        wish,
    } = read_as::<NewPassword>(call, &caller.who, None, example).await?;
    // The same brakes as of signing in: a session that was left open is no way to guess.
    let device = crate::http::access::device(&shared, peer, &parts.headers, &user.name);
    let now = shared.clock.now();
    let known = shared.auth.sign_in(&user.name, &wish.current, peer.remote, device, now);
    known.map_err(|refusal| match refusal {
        crate::auth::Refusal::Wrong => Problem::new(
            StatusCode::FORBIDDEN,
            "password-wrong",
            "The password is wrong",
            "what was given as `current` is not the password",
            "give the password that holds now; an admin can set another",
        ),
        refusal => Problem::refused(refusal, &parts.headers),
    })?;
    let hash = hashed(&shared, peer, &parts.headers, &Secret::new(wish.new), &user.name)?;
    let change = Change::SetPassword {
        user: user.id,
        hash,
        but: Some(grant.sum),
    };
    done(&shared, change).await?;
    tracing::info!(user = caller.who.name(), "a password was changed");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /api/v1/me/sessions`.
pub(super) fn sessions(call: Call, _: Caller, grant: Arc<Grant>) -> Answer {
    Box::pin(async move {
        let people = call.shared.auth.everybody();
        let own = own_sessions(&call.shared, &grant);
        let shown: Vec<_> = own
            .iter()
            .map(|session| ShownSession::new(&people, session, Some(grant.id)))
            .collect();
        json(&shown)
    })
}

/// Of the same user as this one, the newest first.
fn own_sessions(shared: &Shared, grant: &Grant) -> Vec<Arc<Session>> {
    let people = shared.auth.everybody();
    let own = people
        .session(grant.sum, shared.clock.wall())
        .map(|own| own.owner.clone());
    let is_own = |session: &&Arc<Session>| own.as_ref().is_some_and(|own| own.is_same(&session.owner));
    let mut own: Vec<_> = people.sessions().filter(is_own).cloned().collect();
    own.sort_unstable_by_key(|session| (std::cmp::Reverse(session.made_at), session.sum));
    own
}

/// `DELETE /api/v1/me/sessions/ID`.
pub(super) fn end_session(call: Call, _: Caller, grant: Arc<Grant>) -> Answer {
    Box::pin(async move {
        let id = read_id(call.params.get("key"));
        let own = own_sessions(&call.shared, &grant);
        let Some(session) = own.iter().find(|session| Some(session.id()) == id) else {
            return not_there("session of yours", "GET /api/v1/me/sessions lists them").into_response();
        };
        answered(done(&call.shared, Change::End(session.sum)).await)
    })
}

/// `DELETE /api/v1/me/sessions`.
pub(super) fn end_others(call: Call, _: Caller, grant: Arc<Grant>) -> Answer {
    Box::pin(async move {
        let own = own_sessions(&call.shared, &grant);
        for session in own.iter().filter(|session| session.sum != grant.sum) {
            if let Err(problem) = done(&call.shared, Change::End(session.sum)).await {
                return problem.into_response();
            }
        }
        StatusCode::NO_CONTENT.into_response()
    })
}

/// `GET /api/v1/me/tokens`.
pub(super) fn tokens(call: Call, _: Caller, grant: Arc<Grant>) -> Answer {
    Box::pin(async move {
        let people = call.shared.auth.everybody();
        let own = people.tokens().filter(|token| Some(token.user) == grant.user);
        let mut shown: Vec<_> = own.map(|token| ShownToken::new(&people, token)).collect();
        shown.sort_unstable_by(|one, other| one.since.cmp(&other.since).then(one.id.cmp(&other.id)));
        json(&shown)
    })
}

/// `POST /api/v1/me/tokens`.
pub(super) fn add_token(call: Call, caller: Caller, grant: Arc<Grant>) -> Answer {
    Box::pin(async move {
        let user = match user_of(&call.shared, &grant) {
            Ok(user) => user.id,
            Err(problem) => return problem.into_response(),
        };
        let example = "{\"name\":\"doorbell\",\"rights\":\"view door\",\"days\":90}";
        match read_as::<NewToken>(call, &caller.who, None, example).await {
            Ok(asked) => make_token(&asked.shared, user, asked.wish).await,
            Err(problem) => problem.into_response(),
        }
    })
}

/// Makes a token for a user.
pub(super) async fn make_token(shared: &Arc<Shared>, user: UserId, wish: NewToken) -> Response {
    let made = async {
        let (secret, token) = new_token(shared, user, wish)?;
        done(shared, Change::AddToken(Arc::clone(&token))).await?;
        let about = ShownToken::new(&shared.auth.everybody(), &token);
        let made = MadeToken {
            token: secret.expose().to_owned(),
            about,
        };
        Ok::<_, Problem>((StatusCode::CREATED, json(&made)).into_response())
    };
    made.await.unwrap_or_else(Problem::into_response)
}

fn new_token(shared: &Shared, user: UserId, wish: NewToken) -> Result<(Secret, Arc<Token>), Problem> {
    let rights = match wish.rights {
        Some(text) => text.parse::<Rights>().map_err(|error| {
            bad(
                error.to_string(),
                "write rights such as \"viewer\" or \"view,replay door\"",
            )
        })?,
        None => Rights::of(crate::auth::Role::Admin),
    };
    if wish.networks.len() > MAX_NETWORKS {
        return Err(bad("more than 20 networks are named", "name larger ones"));
    }
    let networks = wish.networks.iter().map(|text| text.parse::<Network>());
    let networks = networks
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string(), "name networks such as 10.0.0.0/8"))?;
    let life = wish
        .days
        .map_or(TOKEN_US, |days| i64::from(days).saturating_mul(DAY_US));
    if !(DAY_US..=LONGEST_TOKEN_US).contains(&life) {
        return Err(bad("`days` is not from 1 to 3650", "leave it out for 90 days"));
    }
    let (secret, sum) = secrets::token().map_err(|_| Problem::bug())?;
    let now = shared.clock.wall();
    let token = Token {
        sum,
        user,
        name: wish.name.trim().into(),
        rights,
        networks,
        made_at: now,
        ends_at: now.offset_micros(life),
        used_us: AtomicI64::new(0),
    };
    Ok((secret, Arc::new(token)))
}

/// `DELETE /api/v1/me/tokens/ID`.
pub(super) fn revoke(call: Call, _: Caller, grant: Arc<Grant>) -> Answer {
    Box::pin(async move {
        let id = read_id(call.params.get("key"));
        let people = call.shared.auth.everybody();
        let mut own = people.tokens().filter(|token| Some(token.user) == grant.user);
        let Some(token) = own.find(|token| Some(token.id()) == id) else {
            return not_there("token of yours", "GET /api/v1/me/tokens lists them").into_response();
        };
        answered(done(&call.shared, Change::Revoke(token.sum)).await)
    })
}

/// `GET /api/v1/me/player`.
pub(super) fn player(call: Call, _: Caller, grant: Arc<Grant>) -> Answer {
    Box::pin(async move {
        match user_of(&call.shared, &grant) {
            Ok(user) => {
                let people = call.shared.auth.everybody();
                let player = people.player(user.id);
                json(&ShownPlayer {
                    user: user.name.to_string(),
                    password: player.map(|player| player.secret.expose().to_owned()),
                })
            }
            Err(problem) => problem.into_response(),
        }
    })
}

/// `POST /api/v1/me/player`.
pub(super) fn new_player(call: Call, _: Caller, grant: Arc<Grant>) -> Answer {
    Box::pin(async move {
        let made = async {
            let user = user_of(&call.shared, &grant)?;
            let (secret, _) = secrets::code().map_err(|_| Problem::bug())?;
            let player = Player { secret: secret.clone() };
            done(&call.shared, Change::SetPlayer(user.id, Some(player))).await?;
            Ok::<_, Problem>(json(&ShownPlayer {
                user: user.name.to_string(),
                password: Some(secret.expose().to_owned()),
            }))
        };
        made.await.unwrap_or_else(Problem::into_response)
    })
}

/// `GET /api/v1/me/preferences`.
pub(super) fn preferences(call: Call, _: Caller, grant: Arc<Grant>) -> Answer {
    Box::pin(async move {
        match user_of(&call.shared, &grant) {
            Ok(user) => {
                let people = call.shared.auth.everybody();
                let kept = people.preferences(user.id);
                let kept = kept.and_then(|text| serde_json::from_str(text).ok());
                json(&Value::Object(kept.unwrap_or_default()))
            }
            Err(problem) => problem.into_response(),
        }
    })
}

/// `PUT /api/v1/me/preferences`.
pub(super) fn set_preferences(call: Call, caller: Caller, grant: Arc<Grant>) -> Answer {
    Box::pin(async move {
        let set = async {
            let user = user_of(&call.shared, &grant)?;
            let asked = read_as::<Map<String, Value>>(call, &caller.who, None, "{\"theme\":\"dark\"}").await?;
            let text = Value::Object(asked.wish).to_string();
            done(&asked.shared, Change::SetPreferences(user.id, text.into())).await
        };
        answered(set.await)
    })
}

/// The account of the page whose session this is.
pub(super) fn user_of(shared: &Shared, grant: &Grant) -> Result<Arc<User>, Problem> {
    let people = shared.auth.everybody();
    let user = grant.user.and_then(|user| people.user(user).cloned());
    user.ok_or_else(|| {
        Problem::new(
            StatusCode::CONFLICT,
            "in-the-file",
            "The account is in the settings",
            "accounts of the settings have neither tokens nor preferences, and their passwords stand there",
            "change it in the settings, or make an account in the page",
        )
    })
}

pub(super) async fn done(shared: &Arc<Shared>, change: Change) -> Result<(), Problem> {
    let changed = shared.settings.control.change(change).await;
    changed.map_err(|error| not_done(&error))
}

pub(super) fn answered(done: Result<(), Problem>) -> Response {
    match done {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Of a token.
const MAX_NETWORKS: usize = 20;
