//! Who somebody is and what they may do.
//!
//! Belongs here: principals, rights, the one question [`may`], turning what a peer presents into a principal
//! ([`Auth::rtsp`], [`Auth::http_from`]), who else decides about those whom we do not know ([`authority`]), who signs in and what of it lasts ([`Identity`]), the people that were made in the page ([`people`]), and the brakes on guessing. Does
//! not belong here: how credentials look on the wire (`protocol::rtsp::auth`, [`crate::http`]), where tokens are kept
//! ([`crate::state`]), which answer a protocol gives to a refusal.
//!
//! Every route and every object asks [`may`]; nothing decides by itself.

mod account;
mod argon2;
pub mod authority;
mod brake;
mod entry;
mod guard;
mod network;
mod pass;
pub mod people;
mod policy;
mod proxied;
mod rights;
pub mod secrets;
mod sign_in;

pub use account::{Account, Password};
pub use argon2::Hash;
pub use brake::Brake;
pub(crate) use brake::peer;
pub use entry::Verdict;
pub use guard::Device;
pub use network::{InvalidNetwork, Network};
pub use pass::Pass;
pub use policy::{Auth, Mode, Presented, Refusal, Replay, Rules, Tokens};
pub use proxied::{GroupRole, Groups, NoGroupRole, Proxied};
pub use rights::{Action, Actions, InvalidRights, NoRole, Rights, Role, Share, Streams};
pub use sign_in::Identity;

use std::sync::{Arc, LazyLock};

use media::stats::GrantId;
use media::{StreamName, WallTime};

use crate::config::stream_key::StreamKey;
use authority::Vouched;
use people::Grant;

/// Somebody whose right to be here was established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Showed a credential that belongs to this role.
    Known(Role),
    /// Showed none, and comes from where none is needed: a trusted network or, for RTSP, this machine.
    Near {
        /// Whether recordings are free there, too.
        replays: bool,
    },
    /// Showed none, and everything is open.
    Anyone {
        /// Whether recordings are.
        replays: bool,
    },
    /// Showed a right one where none is needed, and may do what either may.
    Beside {
        /// Who it is.
        known: Arc<Principal>,
        /// Whether recordings are free there.
        replays: bool,
    },
    /// A program that we run to publish this stream.
    Program(StreamName),
    /// Somebody with an account, or whoever shows nothing where that is one.
    Account(Arc<Account>),
    /// Let in by something that can end: a session, a token, a player's password, a share.
    Granted(Arc<Grant>),
    /// Vouched for by an authority of elsewhere, or come for what that need not be asked about.
    Vouched(Arc<Vouched>),
    /// Signed in at the proxy in front of us.
    Proxied(Arc<Proxied>),
}

impl Principal {
    /// What the log calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Account(account) => &account.name,
            Self::Granted(grant) => &grant.name,
            Self::Vouched(vouched) => &vouched.name,
            Self::Proxied(user) => &user.name,
            Self::Known(role) => role.name(),
            Self::Near { .. } => "nearby",
            Self::Anyone { .. } => "anyone",
            Self::Beside { known, .. } => known.name(),
            Self::Program(_) => "program",
        }
    }

    /// Whether it showed nothing, and may do more if it does.
    pub fn is_nobody(&self) -> bool {
        match self {
            Self::Account(account) => account.password.is_none(),
            Self::Vouched(vouched) => !vouched.has_shown,
            _ => false,
        }
    }

    /// Whose credential it is, wherever it was shown.
    pub fn known(&self) -> &Self {
        match self {
            Self::Beside { known, .. } => known,
            other => other,
        }
    }

    /// By what it was let in, where that can end.
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        match self {
            Self::Granted(grant) => Some(grant),
            Self::Beside { known, .. } => known.grant(),
            _ => None,
        }
    }

    /// What ends what it does when it ends itself: nothing, where it may do that without.
    pub fn leash(&self, action: Action, stream: &StreamName) -> Option<GrantId> {
        match self {
            Self::Granted(grant) => Some(grant.id),
            Self::Beside { replays, .. } if free(*replays).may(action, Object::Stream(stream)) => None,
            Self::Beside { known, .. } => known.leash(action, stream),
            _ => None,
        }
    }

    /// When its credential is over by itself.
    pub fn ends(&self) -> Option<WallTime> {
        match self {
            Self::Granted(grant) => grant.ends,
            Self::Vouched(vouched) => vouched.until,
            Self::Beside { known, .. } => known.ends(),
            _ => None,
        }
    }

    /// Whether everything is open to it without a credential.
    pub fn is_anyone(&self) -> bool {
        matches!(self, Self::Anyone { .. })
    }

    /// What it may do.
    pub fn rights(&self) -> Rights {
        match self {
            Self::Known(role) => role.rights().clone(),
            Self::Near { replays } | Self::Anyone { replays } => free(*replays).clone(),
            Self::Beside { known, replays } => known.rights().or(free(*replays)),
            Self::Program(own) => Rights::any([Share {
                actions: Actions::of(&[Action::Publish]),
                streams: vec![Streams::Of(StreamKey::Name(own.clone()))],
            }]),
            Self::Account(account) => account.rights.clone(),
            Self::Granted(grant) => grant.rights.clone(),
            Self::Vouched(vouched) => vouched.allowed.rights.clone(),
            Self::Proxied(user) => user.rights.clone(),
        }
    }

    /// Whether there is anything that it may do.
    pub fn may_something(&self) -> bool {
        Action::ALL.into_iter().any(|action| self.may(action, Object::Some))
    }

    /// Whether it was let in for the address alone from which it came.
    pub fn is_by_address(&self) -> bool {
        matches!(self, Self::Near { .. } | Self::Anyone { .. }) || self.is_nobody()
    }

    fn may(&self, action: Action, object: Object<'_>) -> bool {
        match self {
            Self::Known(role) => role.rights().may(action, object),
            Self::Near { replays } | Self::Anyone { replays } => free(*replays).may(action, object),
            Self::Beside { known, replays } => known.may(action, object) || free(*replays).may(action, object),
            Self::Program(own) => action == Action::Publish && object == Object::Stream(own),
            Self::Account(account) => account.rights.may(action, object),
            Self::Granted(grant) => grant.rights.may(action, object),
            Self::Vouched(vouched) => {
                let reads_figures = object == Object::Metrics && action == Action::View;
                vouched.allowed.rights.may(action, object) || (reads_figures && vouched.allowed.metrics)
            }
            Self::Proxied(user) => user.rights.may(action, object),
        }
    }

    /// Whether it may do everywhere what the other may.
    fn covers(&self, other: &Self) -> bool {
        let all = Action::ALL.into_iter();
        all.filter(|action| other.may(*action, Object::Program))
            .all(|action| self.may(action, Object::Program))
    }
}

/// Of those who are asked for nothing.
fn free(replays: bool) -> &'static Rights {
    static BOTH: LazyLock<[Rights; 2]> = LazyLock::new(|| {
        let rights = |actions| {
            Rights::any([Share {
                actions: Actions::of(actions),
                streams: vec![Streams::All],
            }])
        };
        [
            rights(&[Action::View, Action::Publish]),
            rights(&[Action::View, Action::Replay, Action::Publish]),
        ]
    });
    &BOTH[usize::from(replays)]
}

/// The answer of [`may`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Go ahead.
    Allow,
    /// Known, but not for this.
    Deny {
        /// Which action was refused.
        action: Action,
        /// A role that would be enough, to say what to use instead.
        needs: Role,
    },
}

impl Decision {
    /// Whether it is [`Decision::Allow`].
    pub fn is_allowed(self) -> bool {
        self == Self::Allow
    }
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allow => f.write_str("allowed"),
            Self::Deny { action, needs } => write!(
                f,
                "this credential may not {}; use that of \"{}\"",
                action.verb(),
                needs.name()
            ),
        }
    }
}

/// To what somebody wants to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// A stream.
    Stream(&'a StreamName),
    /// At least one stream: who may do something to any is let in, and told of those alone.
    Some,
    /// The program as a whole: all streams, the machine it runs on, its settings.
    Program,
    /// Its figures for Prometheus: whoever views the program, and whom an authority of elsewhere gives them alone.
    Metrics,
}

impl<'a> From<&'a StreamName> for Object<'a> {
    fn from(stream: &'a StreamName) -> Self {
        Self::Stream(stream)
    }
}

/// Whether `who` may do `action` to an object. The one place where rights are decided.
pub fn may<'a>(who: &Principal, action: Action, to: impl Into<Object<'a>>) -> Decision {
    if who.may(action, to.into()) {
        return Decision::Allow;
    }
    let needs = action.least_role();
    Decision::Deny { action, needs }
}

#[cfg(test)]
mod tests;
