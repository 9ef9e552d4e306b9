//! Who somebody is and what they may do.
//!
//! Belongs here: principals, rights, the one question [`may`], turning what a peer presents into a principal
//! ([`Auth::rtsp`]), and the brake on guessing ([`Brake`]). Does not belong here: how credentials look on the wire
//! (`protocol::rtsp::auth`), where tokens are kept ([`crate::state`]), which answer a protocol gives to a refusal.
//!
//! Every route and every object asks [`may`]; nothing decides by itself.

mod brake;
mod network;
mod policy;

pub use brake::Brake;
pub use network::{InvalidNetwork, Network};
pub use policy::{Auth, Mode, Presented, Refusal, Tokens};

use media::StreamName;

/// What somebody wants to do to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Take its pictures.
    View,
    /// Give it pictures.
    Publish,
    /// Steer it: keyframes, bitrate, recording.
    Operate,
    /// Change settings, users and tokens.
    Administer,
}

impl Action {
    const ALL: [Self; 4] = [Self::View, Self::Publish, Self::Operate, Self::Administer];

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
    /// Showed none, and comes from where RTSP is free: this machine, or a trusted network.
    Near,
    /// Showed none, and everything is open.
    Anyone,
}

impl Principal {
    /// What the log calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Known(role) => role.name(),
            Self::Near => "nearby",
            Self::Anyone => "anyone",
        }
    }

    fn actions(&self) -> &'static [Action] {
        match self {
            Self::Known(role) => role.actions(),
            Self::Near | Self::Anyone => &[Action::View, Action::Publish],
        }
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

/// Whether `who` may do `action` to `stream`. The one place where rights are decided.
pub fn may(who: &Principal, action: Action, stream: &StreamName) -> Decision {
    // Rights do not differ between streams yet; the name is asked for so that no caller has to change when they do.
    let _ = stream;
    if who.actions().contains(&action) {
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
