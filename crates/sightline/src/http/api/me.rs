//! Who one is, and what one may do.

use schemars::JsonSchema;
use serde::Serialize;

use crate::auth::{Action, Principal, Share};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::Operation;
use crate::http::routes::{Answer, Call, Seen};

pub(super) const ME: Operation = Operation::reads::<Me>("Who one is, and what one may do");

/// Whoever asks.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Me {
    name: String,
    /// `admin`, `operator`, `publisher`, `viewer`; null where the rights are somebody's own.
    role: Option<&'static str>,
    /// Any of them suffices. Where they are narrowed by those of somebody else, such as an owner's of a token: at most these.
    rights: Vec<Right>,
    /// Somebody with an account, not a token or a place.
    account: bool,
}

/// What one may do to what.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Right {
    /// Of `view`, `replay`, `publish`, `operate`, `erase`, `administer`.
    actions: Vec<&'static str>,
    /// Names of streams, expressions for such that begin with `~`, or `all`.
    streams: Vec<String>,
}

impl Me {
    /// What is told of a principal, here and in the first word of the feed.
    pub(crate) fn new(who: &Principal) -> Self {
        let role = match who.known() {
            Principal::Known(role) => Some(role.name()),
            _ => None,
        };
        let rights = who.rights();
        let mut lists = rights.all_of();
        let shares = lists.next().unwrap_or_default();
        let others: Vec<_> = lists.collect();
        let is_left = |action: &Action| {
            let allowed = |shares: &&[Share]| shares.iter().any(|share| share.actions.contain(*action));
            others.iter().all(allowed)
        };
        let right = |share: &Share| Right {
            actions: share.actions.iter().filter(is_left).map(Action::name).collect(),
            streams: share.streams.iter().map(ToString::to_string).collect(),
        };
        let mut rights: Vec<Right> = shares.iter().map(right).collect();
        rights.retain(|right| !right.actions.is_empty() && !right.streams.is_empty());
        Self {
            name: who.name().to_owned(),
            role,
            rights,
            account: matches!(who.known(), Principal::Account(_)) && !who.is_nobody(),
        }
    }

    /// As JSON.
    pub(crate) fn text(who: &Principal) -> String {
        // Texts alone: nothing that could fail.
        serde_json::to_string(&Self::new(who)).unwrap_or_default()
    }
}

/// `GET /api/v1/me`.
pub(super) fn me(_: Call, caller: Caller, _: Seen) -> Answer {
    Box::pin(async move { json(&Me::new(&caller.who)) })
}
