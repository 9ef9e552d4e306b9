//! Who one is, and what one may do.

use schemars::JsonSchema;
use serde::Serialize;

use crate::auth::{Action, Object, Principal, Streams, may};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::Operation;
use crate::http::routes::{Answer, Call};

pub(super) const ME: Operation = Operation::reads::<Me>("Who one is, and what one may do");

/// Whoever asks.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Me {
    name: String,
    /// `admin`, `operator`, `publisher`, `viewer`; null where the rights are somebody's own.
    role: Option<&'static str>,
    rights: Vec<Right>,
    /// Somebody with an account, not a token or a place.
    account: bool,
}

/// What one may do to what.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Right {
    /// Of `view`, `publish`, `operate`, `administer`.
    actions: Vec<&'static str>,
    /// Names of streams, expressions for such that begin with `~`, or `all`.
    streams: Vec<String>,
}

/// An action in a word, as settings and API have it.
pub(crate) fn word(action: Action) -> &'static str {
    match action {
        Action::View => "view",
        Action::Publish => "publish",
        Action::Operate => "operate",
        Action::Administer => "administer",
    }
}

impl Me {
    /// What is told of a principal, here and in the first word of the feed.
    pub(crate) fn new(who: &Principal) -> Self {
        let all = |actions: &[Action]| Right {
            actions: actions.iter().copied().map(word).collect(),
            streams: vec!["all".to_owned()],
        };
        let everywhere = || {
            let may = |action: &Action| may(who, *action, Object::Program).is_allowed();
            all(&Action::ALL.into_iter().filter(may).collect::<Vec<_>>())
        };
        let (role, rights) = match who {
            Principal::Known(role) => (Some(role.name()), vec![all(role.actions())]),
            Principal::Near | Principal::Anyone => (None, vec![everywhere()]),
            Principal::Program(stream) => {
                let streams = vec![stream.to_string()];
                (
                    None,
                    vec![Right {
                        actions: vec![word(Action::Publish)],
                        streams,
                    }],
                )
            }
            Principal::Account(account) => {
                let of = |action: Action, streams: &[Streams]| Right {
                    actions: vec![word(action)],
                    streams: streams.iter().map(ToString::to_string).collect(),
                };
                let mut rights = vec![of(Action::View, &account.view), of(Action::Publish, &account.publish)];
                rights.retain(|right| !right.streams.is_empty());
                if account.administer {
                    rights.push(all(&[Action::Operate, Action::Administer]));
                }
                (None, rights)
            }
        };
        Self {
            name: who.name().to_owned(),
            role,
            rights,
            account: matches!(who, Principal::Account(_)) && !who.is_nobody(),
        }
    }

    /// As JSON.
    pub(crate) fn text(who: &Principal) -> String {
        // Texts alone: nothing that could fail.
        serde_json::to_string(&Self::new(who)).unwrap_or_default()
    }
}

/// `GET /api/v1/me`.
pub(super) fn me(_: Call, caller: Caller) -> Answer {
    Box::pin(async move { json(&Me::new(&caller.who)) })
}
