//! `session`: signing in and out for programs of the page.

use axum_core::response::{IntoResponse as _, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Asked, read, with_cookies};
use crate::auth::{Identity, Principal};
use crate::http::answer::json;
use crate::http::api::me::Me;
use crate::http::openapi::{Content, Operation};
use crate::http::problem::Problem;
use crate::http::routes::{Answer, Call};
use crate::http::signing::{self, Shows, SignedIn};
use crate::secret::Secret;

pub(super) const BEGIN: Operation = Operation {
    body: Some(Content::json::<Shown>()),
    problems: &[400, 401, 403, 408, 413, 415, 429, 503],
    ..Operation::reads::<Me>("Sign in: the answer sets the cookie of a session")
};
pub(super) const END: Operation = Operation {
    problems: &[403],
    ..Operation::does("Sign out: end the session of the cookie", 204)
};

/// A name and a password, or a token alone.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SignIn")]
struct Shown {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    token: String,
}

/// `POST /api/v1/session`.
pub(super) fn begin(call: Call) -> Answer {
    Box::pin(async move { sign_in(call).await.unwrap_or_else(Problem::into_response) })
}

async fn sign_in(call: Call) -> Result<Response, Problem> {
    let trail = call.trail.clone();
    let Asked {
        shared,
        peer,
        parts,
        wish,
    } = read::<Shown>(call, "{\"name\":\"anna\",\"password\":\"…\"}").await?;
    let secret = match wish.name.is_empty() && wish.password.is_empty() {
        true => Secret::new(wish.token),
        false => Secret::new(wish.password),
    };
    let shows = Shows {
        name: wish.name,
        secret,
    };
    let SignedIn { identity, cookies } = signing::sign_in(&shared, peer, &parts.headers, &shows, &trail).await?;
    let who = who(&shared, &identity);
    Ok(with_cookies(json(&Me::new(&who)), cookies))
}

/// Whoever signed in, for telling.
pub(super) fn who(shared: &crate::http::Shared, identity: &Identity) -> Principal {
    match identity {
        Identity::Role(role) => Principal::Known(*role),
        Identity::Account(account) => Principal::Account(std::sync::Arc::clone(account)),
        Identity::Granted(grant) => Principal::Granted(std::sync::Arc::clone(grant)),
        Identity::User(user) => match shared.auth.everybody().of_user(*user) {
            Some(grant) => Principal::Granted(std::sync::Arc::new(grant)),
            None => Principal::Near { replays: false },
        },
        Identity::Free => Principal::Near { replays: false },
    }
}

/// `DELETE /api/v1/session`.
pub(super) fn end(call: Call) -> Answer {
    Box::pin(async move {
        let Call {
            shared,
            peer,
            request,
            trail,
            ..
        } = call;
        let headers = request.into_parts().0.headers;
        if crate::http::peer::is_from_another_site(&headers) {
            return Problem::another_site().into_response();
        }
        let cookie = signing::end(&shared, peer, &headers, &trail).await;
        with_cookies(StatusCode::NO_CONTENT.into_response(), cookie.into_iter().collect())
    })
}
