//! The people that were made in the page, and what they are let in with: users, roles, sessions, tokens, players' passwords, links.
//!
//! Belongs here: what of them is in memory ([`People`]), what may change and what not ([`Change`]), whose a credential is. Does not belong here: where they are kept
//! ([`crate::state::control`]), passwords ([`super::secrets`]), the accounts of the settings ([`super::account`]).
//!
//! A pure function of its changes: no clock, no disk. Whoever looks holds an [`Arc`] of it, and whoever changes it replaces that as a whole.

mod change;
mod find;
mod records;

pub use change::{Change, Refused};
pub(crate) use find::TOKEN_PREFIX;
pub use find::{Grant, GrantKind};
pub use records::{Link, LinkKind, Owner, Player, Session, Sum, Token, User, UserId};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::rights::{Action, Actions, Rights, Role, Share, Streams};

/// Everybody, at one time. Cheap to clone: tables are shared until they change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct People {
    users: Arc<BTreeMap<UserId, Arc<User>>>,
    /// By name in small letters: a phone writes the first one large.
    names: Arc<BTreeMap<Box<str>, UserId>>,
    roles: Arc<BTreeMap<Box<str>, Rights>>,
    sessions: Arc<HashMap<Sum, Arc<Session>>>,
    tokens: Arc<HashMap<Sum, Arc<Token>>>,
    players: Arc<BTreeMap<UserId, Player>>,
    links: Arc<HashMap<Sum, Arc<Link>>>,
    preferences: Arc<BTreeMap<UserId, Arc<str>>>,
    /// The number of the next user: none is given twice, or a token of somebody who is gone would be another's.
    next_user: i64,
}

/// Users.
pub const MAX_USERS: usize = 1_000;
/// Roles besides the four that there are.
pub const MAX_ROLES: usize = 50;
/// Sessions of one user: of one more the one that was used longest ago goes.
pub const MAX_SESSIONS_EACH: usize = 20;
/// Sessions of all.
pub const MAX_SESSIONS: usize = 10_000;
/// Tokens of one user.
pub const MAX_TOKENS_EACH: usize = 50;
/// Tokens of all.
pub const MAX_TOKENS: usize = 2_000;
/// Links that were not used up.
pub const MAX_LINKS: usize = 500;
/// Names and expressions of streams of one user; an expression means many.
pub const MAX_STREAMS: usize = 100;
/// Of the preferences of one user.
pub const MAX_PREFERENCES_BYTES: usize = 16 << 10;
/// Of the name of a user, a role, a token, in characters.
pub const MAX_NAME_CHARS: usize = 64;
/// A session that nobody used for so long is over.
pub const IDLE_US: i64 = 7 * DAY_US;
/// A session is over after so long.
pub const SESSION_US: i64 = 30 * DAY_US;
/// A token ends after so long, unless said otherwise …
pub const TOKEN_US: i64 = 90 * DAY_US;
/// … and after so long whatever is said.
pub const LONGEST_TOKEN_US: i64 = 3_650 * DAY_US;
pub(crate) const DAY_US: i64 = 86_400_000_000;

impl People {
    /// By what was kept. `next_user` is beyond all users that there ever were.
    pub fn of(kept: Kept) -> Self {
        let names = kept.users.iter().map(|user| (folded(&user.name), user.id)).collect();
        let mut people = Self {
            users: Arc::new(kept.users.into_iter().map(|user| (user.id, Arc::new(user))).collect()),
            names: Arc::new(names),
            roles: Arc::new(kept.roles.into_iter().collect()),
            sessions: Arc::new(kept.sessions.into_iter().map(|it| (it.sum, Arc::new(it))).collect()),
            tokens: Arc::new(kept.tokens.into_iter().map(|it| (it.sum, Arc::new(it))).collect()),
            players: Arc::new(kept.players.into_iter().collect()),
            links: Arc::new(kept.links.into_iter().map(|it| (it.sum, Arc::new(it))).collect()),
            preferences: Arc::new(kept.preferences.into_iter().collect()),
            next_user: kept.next_user,
        };
        people.resolve();
        people
    }

    /// All users, by number.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// The user of this name, however it is spelled.
    pub fn named(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(self.names.get(folded(name).as_ref())?)
    }

    /// The user of this number.
    pub fn user(&self, id: UserId) -> Option<&Arc<User>> {
        self.users.get(&id)
    }

    /// The roles that were made, with what they may do.
    pub fn roles(&self) -> impl Iterator<Item = (&str, &Rights)> {
        self.roles.iter().map(|(name, rights)| (&**name, rights))
    }

    /// Every session that is not over.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.sessions.values()
    }

    /// Every token that is not over.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens.values()
    }

    /// Every link that is not used up.
    pub fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.values()
    }

    /// The password that players of this user show by RTSP.
    pub fn player(&self, user: UserId) -> Option<&Player> {
        self.players.get(&user)
    }

    /// What this user wants of the page, as text of JSON.
    pub fn preferences(&self, user: UserId) -> Option<&Arc<str>> {
        self.preferences.get(&user)
    }

    /// Whether anybody who is let in may change settings.
    pub fn has_admin(&self) -> bool {
        self.users.values().any(|user| user.administers())
    }

    /// What a role may do on these streams. `None`: there is no such role.
    pub fn rights_of(&self, role: &str, streams: &[Streams]) -> Option<Rights> {
        let actions = |actions| {
            Rights::any([Share {
                actions,
                streams: streams.to_vec(),
            }])
        };
        if let Ok(role) = role.parse::<Role>() {
            return Some(actions(role.actions()));
        }
        let own = self.roles.get(role)?;
        Some(match streams.contains(&Streams::All) {
            true => own.clone(),
            false => own.within(&actions(Actions::of(&Action::ALL))),
        })
    }

    /// Gives each user the rights that its role has now.
    fn resolve(&mut self) {
        let resolved: Vec<Arc<User>> = (self.users.values())
            .filter_map(|user| {
                let rights = self.rights_of(&user.role, &user.streams).unwrap_or_else(Rights::none);
                (rights != user.rights).then(|| {
                    Arc::new(User {
                        rights,
                        ..User::clone(user)
                    })
                })
            })
            .collect();
        if !resolved.is_empty() {
            let users = Arc::make_mut(&mut self.users);
            users.extend(resolved.into_iter().map(|user| (user.id, user)));
        }
    }
}

/// What is kept, as it was read.
#[derive(Debug, Default)]
pub struct Kept {
    /// Users; their rights follow from their roles.
    pub users: Vec<User>,
    /// Roles.
    pub roles: Vec<(Box<str>, Rights)>,
    /// Sessions.
    pub sessions: Vec<Session>,
    /// Tokens.
    pub tokens: Vec<Token>,
    /// Players' passwords.
    pub players: Vec<(UserId, Player)>,
    /// Links.
    pub links: Vec<Link>,
    /// Preferences.
    pub preferences: Vec<(UserId, Arc<str>)>,
    /// The number of the next user.
    pub next_user: i64,
}

/// As names are compared.
pub(crate) fn folded(name: &str) -> Box<str> {
    name.to_lowercase().into()
}

#[cfg(test)]
mod tests;
