//! One of each kind.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use media::WallTime;
use media::stats::GrantId;
use sha2::{Digest as _, Sha256};

use crate::auth::argon2::Hash;
use crate::auth::rights::{Action, Rights, Streams};
use crate::auth::{Network, Object};
use crate::secret::Secret;

/// SHA-256 of a credential that nobody can guess: what is kept in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sum(pub [u8; 32]);

/// A user. None is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub i64);

/// Somebody with an account that was made in the page.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Which.
    pub id: UserId,
    /// What it is called, and signs in by.
    pub name: Box<str>,
    /// What its password is compared with; `None`: it has none, and others say who it is.
    pub hash: Option<Arc<Hash>>,
    /// `admin`, `operator`, `publisher`, `viewer`, or one that was made.
    pub role: Box<str>,
    /// For which streams.
    pub streams: Vec<Streams>,
    /// What it may do by that.
    pub rights: Rights,
    /// When it was made.
    pub made_at: WallTime,
    /// It is not let in.
    pub disabled: bool,
}

impl User {
    /// Whether it is let in and may change settings.
    pub fn administers(&self) -> bool {
        !self.disabled && self.rights.may(Action::Administer, Object::Program)
    }
}

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A user's.
    User(UserId),
    /// It began with a credential of the settings or the state folder, and ends when that is replaced: a mark of it.
    Credential(Box<str>),
}

impl Owner {
    /// Whether both are sessions of the same. A mark ends with what is of one session alone.
    pub fn is_same(&self, other: &Self) -> bool {
        let named = |mark: &str| mark.rsplit_once(':').map(|(name, _)| name.to_owned());
        match (self, other) {
            (Self::Credential(one), Self::Credential(other)) => match one.starts_with("grant:") {
                true => one == other,
                false => named(one) == named(other),
            },
            (one, other) => one == other,
        }
    }
}

/// A browser that signed in.
#[derive(Debug)]
pub struct Session {
    /// Of what its cookie holds.
    pub sum: Sum,
    /// Whose.
    pub owner: Owner,
    /// When it began.
    pub made_at: WallTime,
    /// When it was used last, in microseconds since 1970.
    pub seen_us: AtomicI64,
    /// When it ends.
    pub ends_at: WallTime,
    /// From where it began.
    pub remote: IpAddr,
    /// What the browser called itself.
    pub agent: Box<str>,
    /// Whether it outlives the program: not where the disk was full when it began.
    pub kept: bool,
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        let fixed = |it: &Self| (it.sum, it.made_at, it.ends_at, it.remote, it.kept);
        fixed(self) == fixed(other) && self.owner == other.owner && self.agent == other.agent
    }
}

impl Session {
    /// What it is called where nobody may learn what it is shown by.
    pub fn id(&self) -> GrantId {
        self.sum.id()
    }

    /// When it was used last.
    pub fn seen_at(&self) -> WallTime {
        WallTime::from_unix_micros(self.seen_us.load(Relaxed))
    }

    /// When it is over, if nobody uses it any more.
    pub fn over_at(&self) -> WallTime {
        self.ends_at.min(self.seen_at().offset_micros(super::IDLE_US))
    }

    /// It is used now.
    pub fn see(&self, now: WallTime) {
        self.seen_us.fetch_max(now.unix_micros(), Relaxed);
    }
}

/// What a program shows.
#[derive(Debug)]
pub struct Token {
    /// Of the token.
    pub sum: Sum,
    /// Whose.
    pub user: UserId,
    /// What it is for, in its owner's words.
    pub name: Box<str>,
    /// What it may do, as far as its owner may.
    pub rights: Rights,
    /// From where it counts; empty: from everywhere.
    pub networks: Vec<Network>,
    /// When it was made.
    pub made_at: WallTime,
    /// When it ends.
    pub ends_at: WallTime,
    /// When it was used last, in microseconds since 1970; 0: never.
    pub used_us: AtomicI64,
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        let fixed = |it: &Self| (it.sum, it.user, it.made_at, it.ends_at);
        fixed(self) == fixed(other)
            && self.name == other.name
            && self.rights == other.rights
            && self.networks == other.networks
    }
}

impl Token {
    /// Whether it counts from there.
    pub fn is_here(&self, remote: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(remote))
    }

    /// What it is called where nobody may learn what it is shown by.
    pub fn id(&self) -> GrantId {
        self.sum.id()
    }
}

/// The password of a user's players.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Player {
    /// In the clear: Digest is computed from the password itself.
    pub secret: Secret,
}

impl Player {
    /// What it is called where nobody may learn it.
    pub fn id(&self) -> GrantId {
        Sum::of(self.secret.expose().as_bytes()).id()
    }
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// The first admin is made by it.
    FirstRun,
    /// Somebody makes themselves an account with it.
    Invitation,
    /// It shows streams to whoever has it.
    Share,
}

impl LinkKind {
    /// All.
    pub const ALL: [Self; 3] = [Self::FirstRun, Self::Invitation, Self::Share];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstRun => "first-run",
            Self::Invitation => "invitation",
            Self::Share => "share",
        }
    }

    /// The page of it, which takes the code out of the fragment behind its path.
    pub fn page(self) -> &'static str {
        match self {
            Self::FirstRun => "first-run",
            Self::Invitation => "join",
            Self::Share => "shared",
        }
    }
}

/// A link: whoever knows its code is let in to what it is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Of its code.
    pub sum: Sum,
    /// What for.
    pub kind: LinkKind,
    /// Of an invitation: the role. Of a share: what it may do, as rights.
    pub role: Box<str>,
    /// For which streams.
    pub streams: Vec<Streams>,
    /// Who made it; `None`: the machine's owner.
    pub by: Option<UserId>,
    /// When it ends.
    pub ends_at: WallTime,
    /// How often it can be used yet; of a share how many may be let in by it at a time.
    pub uses_left: u32,
    /// A password that is asked for besides.
    pub hash: Option<Arc<Hash>>,
}

impl Link {
    /// What it is called where nobody may learn its code.
    pub fn id(&self) -> GrantId {
        self.sum.id()
    }
}

impl std::str::FromStr for Sum {
    type Err = std::num::ParseIntError;

    /// Of 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut sum = [0; 32];
        for (index, byte) in sum.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2).unwrap_or_default(), 16)?;
        }
        Ok(Self(sum))
    }
}

impl Sum {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A number for it that tells nothing of it.
    pub fn id(self) -> GrantId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        GrantId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}
