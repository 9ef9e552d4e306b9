//! Who one is, and what one may do.

use schemars::JsonSchema;
use serde::Serialize;

use crate::auth::{Action, Actions, Principal, Rights, Role, Share, Streams};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::Operation;
use crate::http::routes::{Answer, Call};

pub(super) const ME: Operation = Operation::reads::<Me>("Who one is, and what one may do");

/// Whoever asks.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Me {
    name: String,
    /// `admin`, `operator`, `publisher`, `viewer`, the name of a role that was made, `share`; null where the rights are somebody's own.
    role: Option<String>,
    rights: Vec<Right>,
    /// Somebody with an account, not a token or a place.
    account: bool,
    /// The account is one of the settings: its password is changed there.
    in_file: bool,
}

/// What one may do to what.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Right {
    /// Of `view`, `replay`, `publish`, `operate`, `erase`, `administer`.
    actions: Vec<&'static str>,
    /// Names of streams, expressions for such that begin with `~`, or `all`.
    streams: Vec<String>,
}

impl Me {
    /// What is told of a principal, here and in the first word of the feed.
    pub(crate) fn new(who: &Principal) -> Self {
        let rights = who.rights();
        let grant = who.grant();
        let role = match (grant, who.known()) {
            (Some(grant), _) => Some(grant.role.to_string()).filter(|role| role != "custom"),
            (None, Principal::Proxied(user)) => user.role.as_deref().map(str::to_owned),
            (None, _) => Role::ALL
                .into_iter()
                .find(|role| *role.rights() == rights)
                .map(|role| role.name().to_owned()),
        };
        let of_settings = matches!(who, Principal::Account(_)) && !who.is_nobody();
        let in_file = of_settings || grant.is_some_and(|grant| grant.in_file);
        Self {
            name: who.name().to_owned(),
            role,
            rights: told(&rights),
            account: in_file || grant.is_some_and(|grant| grant.has_account()),
            in_file,
        }
    }

    /// As JSON.
    pub(crate) fn text(who: &Principal) -> String {
        // Texts alone: nothing that could fail.
        serde_json::to_string(&Self::new(who)).unwrap_or_default()
    }
}

/// What rights allow, as a list of which any suffices. Of what has to allow together, what both name alike: never more than there is.
pub(super) fn told(rights: &Rights) -> Vec<Right> {
    let mut groups = rights.all_of();
    let first: Vec<Share> = groups.next().unwrap_or_default().to_vec();
    let shares = groups.fold(first, |all, more| {
        let pairs = all
            .iter()
            .flat_map(|one| more.iter().map(move |other| both(one, other)));
        let mut told: Vec<Share> = Vec::new();
        for share in pairs {
            let is_something = share.actions != Actions::default() && !share.streams.is_empty();
            if is_something && !told.contains(&share) {
                told.push(share);
            }
            if told.len() == MAX_TOLD {
                break;
            }
        }
        told
    });
    let told = shares.iter().map(|share| Right {
        actions: share.actions.iter().map(Action::name).collect(),
        streams: share.streams.iter().map(stream).collect(),
    });
    told.filter(|right| !right.actions.is_empty() && !right.streams.is_empty())
        .collect()
}

fn both(one: &Share, other: &Share) -> Share {
    let actions: Vec<Action> = one
        .actions
        .iter()
        .filter(|action| other.actions.contain(*action))
        .collect();
    let streams = match (
        one.streams.contains(&Streams::All),
        other.streams.contains(&Streams::All),
    ) {
        (true, _) => other.streams.clone(),
        (_, true) => one.streams.clone(),
        _ => {
            let named = one.streams.iter().filter(|streams| other.streams.contains(streams));
            named.cloned().collect()
        }
    };
    Share {
        actions: Actions::of(&actions),
        streams,
    }
}

fn stream(streams: &Streams) -> String {
    match streams {
        Streams::All => "all".to_owned(),
        streams => streams.to_string(),
    }
}

/// Of rights that were narrowed: multiplied out they could be any number.
const MAX_TOLD: usize = 256;

/// `GET /api/v1/me`.
pub(super) fn me(_: Call, caller: Caller) -> Answer {
    Box::pin(async move { json(&Me::new(&caller.who)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowed_rights_are_told_as_what_both_name() {
        let rights = |text: &str| text.parse::<Rights>().unwrap();
        let of = |one: &str, other: &str| serde_json::to_string(&told(&rights(one).within(&rights(other)))).unwrap();
        assert_eq!(
            of("viewer", "viewer"),
            r#"[{"actions":["view","replay"],"streams":["all"]}]"#
        );
        assert_eq!(
            of("view,operate door", "operator"),
            r#"[{"actions":["view","operate"],"streams":["door"]}]"#
        );
        assert_eq!(of("view door", "view yard"), "[]");
        assert_eq!(of("view door", "nothing"), "[]");
    }

    #[test]
    fn however_often_rights_were_narrowed_a_few_are_told() {
        let same = ["view"; 25].join(" ; ");
        let rights: Rights = vec![same; 4].join(" & ").parse().unwrap();
        assert_eq!(told(&rights).len(), 1, "all say the same");
        let some = (0..25).map(|number| format!("view a{number}"));
        let all: Vec<String> = some.chain((0..25).map(|_| "view".to_owned())).collect();
        let rights: Rights = [all.join(" ; "), all.join(" ; ")].join(" & ").parse().unwrap();
        assert!((26..=MAX_TOLD).contains(&told(&rights).len()));
    }
}
