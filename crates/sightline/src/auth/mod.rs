//! Who somebody is and what they may do.
//!
//! Belongs here: principals, rights, the one question [`may`], turning what a peer presents into a principal
//! ([`Auth::rtsp`], [`Auth::http`]), what a browser shows after it signed in ([`Session`]), and the brake on guessing ([`Brake`]). Does
//! not belong here: how credentials look on the wire (`protocol::rtsp::auth`, [`crate::http`]), where tokens are kept
//! ([`crate::state`]), which answer a protocol gives to a refusal.
//!
//! Every route and every object asks [`may`]; nothing decides by itself.

mod account;
mod argon2;
mod brake;
mod network;
mod pass;
mod policy;
mod session;

pub use account::{Account, Password, Streams};
pub use argon2::Hash;
pub use brake::Brake;
pub use network::{InvalidNetwork, Network};
pub use pass::Pass;
pub use policy::{Auth, Mode, Presented, Refusal, Rules, Tokens};
pub use session::Session;

use std::sync::Arc;

use media::StreamName;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Take a stream's pictures, and see how it and the machine are.
    View,
    /// Give a stream pictures.
    Publish,
    /// Steer a stream: keyframes, bitrate, recording; see who views it.
    Operate,
    /// Change settings, users and tokens.
    Administer,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 4] = [Self::View, Self::Publish, Self::Operate, Self::Administer];

    fn verb(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Publish => "publish",
            Self::Operate => "steer",
            Self::Administer => "administer",
        }
    }
}

/// What a user or token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// May do everything.
    Admin,
    /// May view, publish and steer.
    Operator,
    /// May publish.
    Publisher,
    /// May view.
    Viewer,
}

impl Role {
    /// All roles, most powerful first.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Publisher, Self::Viewer];

    /// The word for it in settings, and the user name of its generated token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Publisher => "publisher",
            Self::Viewer => "viewer",
        }
    }

    /// What it may do.
    pub fn actions(self) -> &'static [Action] {
        match self {
            Self::Admin => &Action::ALL,
            Self::Operator => &[Action::View, Action::Publish, Action::Operate],
            Self::Publisher => &[Action::Publish],
            Self::Viewer => &[Action::View],
        }
    }
}

/// Somebody whose right to be here was established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Showed a credential that belongs to this role.
    Known(Role),
    /// Showed none, and comes from where none is needed: a trusted network or, for RTSP, this machine.
    Near,
    /// Showed none, and everything is open.
    Anyone,
    /// A program that we run to publish this stream.
    Program(StreamName),
    /// Somebody with an account, or whoever shows nothing where that is one.
    Account(Arc<Account>),
}

impl Principal {
    /// What the log calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Account(account) => &account.name,
            Self::Known(role) => role.name(),
            Self::Near => "nearby",
            Self::Anyone => "anyone",
            Self::Program(_) => "program",
        }
    }

    /// Whether it showed nothing, and may do more if it does.
    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::Account(account) if account.password.is_none())
    }

    fn may(&self, action: Action, object: Object<'_>) -> bool {
        match self {
            Self::Known(role) => role.actions().contains(&action),
            Self::Near | Self::Anyone => [Action::View, Action::Publish].contains(&action),
            Self::Program(own) => action == Action::Publish && object == Object::Stream(own),
            Self::Account(account) => account.may(action, object),
        }
    }

    /// Whether it may do everywhere what the other may.
    fn covers(&self, other: &Self) -> bool {
        let all = Action::ALL.into_iter();
        all.filter(|action| other.may(*action, Object::Program))
            .all(|action| self.may(action, Object::Program))
    }
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
    /// The program as a whole: its list of streams, the machine it runs on, its settings.
    Program,
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
    let needs = match action {
        Action::View => Role::Viewer,
        Action::Publish => Role::Publisher,
        Action::Operate => Role::Operator,
        Action::Administer => Role::Admin,
    };
    Decision::Deny { action, needs }
}

#[cfg(test)]
mod tests;
