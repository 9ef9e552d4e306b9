//! What may change, and what it changes.

use std::sync::Arc;

use media::WallTime;

use super::{
    Link, MAX_LINKS, MAX_NAME_CHARS, MAX_PREFERENCES_BYTES, MAX_ROLES, MAX_SESSIONS, MAX_SESSIONS_EACH, MAX_STREAMS,
    MAX_TOKENS, MAX_TOKENS_EACH, MAX_USERS, Owner, People, Player, Session, Sum, Token, User, UserId, folded,
};
use crate::auth::Object;
use crate::auth::argon2::Hash;
use crate::auth::rights::{Action, Rights, Role, Streams};

/// Something that is to be otherwise.
#[derive(Clone, Debug)]
pub enum Change {
    /// A user more. Its number is the next one.
    AddUser {
        /// What it is called.
        name: Box<str>,
        /// Its password.
        hash: Option<Arc<Hash>>,
        /// What it is for.
        role: Box<str>,
        /// For which streams.
        streams: Vec<Streams>,
        /// When.
        at: WallTime,
    },
    /// Another role or other streams, or it is let in no longer.
    SetUser {
        /// Which.
        user: UserId,
        /// What it is for.
        role: Box<str>,
        /// For which streams.
        streams: Vec<Streams>,
        /// Whether it is not let in.
        disabled: bool,
    },
    /// Another password. What was let in by the one before is ended, but for one session.
    SetPassword {
        /// Whose.
        user: UserId,
        /// The new one.
        hash: Arc<Hash>,
        /// Which session goes on.
        but: Option<Sum>,
    },
    /// With all that is theirs.
    RemoveUser(UserId),
    /// A role, new or otherwise.
    SetRole {
        /// What it is called.
        name: Box<str>,
        /// What it may do.
        rights: Rights,
    },
    /// Where nobody has it.
    RemoveRole(Box<str>),
    /// Somebody signed in.
    Begin(Arc<Session>),
    /// One session ends.
    End(Sum),
    /// All sessions of this owner, but for one.
    EndAll {
        /// Whose.
        owner: Owner,
        /// Which goes on.
        but: Option<Sum>,
    },
    /// A token more.
    AddToken(Arc<Token>),
    /// One less.
    Revoke(Sum),
    /// Another password for the players of a user; `None`: none any more.
    SetPlayer(UserId, Option<Player>),
    /// A link more.
    AddLink(Arc<Link>),
    /// One less.
    RemoveLink(Sum),
    /// Somebody makes themselves an account by a link, of which one use is gone then.
    UseLink {
        /// Which.
        link: Sum,
        /// What they want to be called.
        name: Box<str>,
        /// Their password.
        hash: Arc<Hash>,
        /// When.
        at: WallTime,
    },
    /// What a user wants of the page.
    SetPreferences(UserId, Arc<str>),
    /// When sessions and tokens were used is written as well as known.
    Seen,
    /// Forgets what is over.
    Expire(WallTime),
}

/// Why something stays as it is. The texts say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Somebody is called so.
    #[error("there is somebody called {0:?} already; choose another name")]
    NameTaken(Box<str>),
    /// Nobody can be called so.
    #[error("{0:?} is no name: it has 1 to 64 characters, no colon, no slash, and no space at its ends")]
    NameWrong(Box<str>),
    /// There is no such user, or not any more.
    #[error("there is no such user; list users to see those there are")]
    NoSuchUser,
    /// There is no such role.
    #[error("there is no role {0:?}; there are admin, operator, publisher, viewer, and those that were made")]
    NoSuchRole(Box<str>),
    /// It is one of the four that there always are.
    #[error("{0:?} is a role that there always is; choose another name")]
    RoleFixed(Box<str>),
    /// Somebody has that role, or a link gives it.
    #[error("the role {0:?} is in use; give those who have it another before")]
    RoleInUse(Box<str>),
    /// Nobody in the page could change anything any more.
    #[error("{0:?} is the last admin; make another one before")]
    LastAdmin(Box<str>),
    /// Settings know no streams.
    #[error("an admin has all streams; leave out `streams`, or choose another role")]
    AdminOfSome,
    /// No such session, token or link.
    #[error("it is not there any more")]
    Gone,
    /// As many as may are watching.
    #[error("{0} are watching this share already, which is its limit; ask whoever shared it for another")]
    ShareFull(u32),
    /// A link that was used up or is over, or there is an admin already.
    #[error("this link was used already or is over; ask whoever gave it to you for a new one")]
    LinkSpent,
    /// A stream that cannot be written down.
    #[error("{0:?} cannot be a stream of an account: expressions hold no white space there; write \\s")]
    StreamsWrong(Box<str>),
    /// As many as there may be.
    #[error("{limit} {what} are the most that there may be; remove some that are no longer needed")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many may be.
        limit: usize,
    },
}

impl People {
    /// Whether that may be.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check(&self, change: &Change) -> Result<(), Refused> {
        match change {
            Change::AddUser {
                name, role, streams, ..
            } => self.check_new_user(name, role, streams),
            Change::SetUser {
                user,
                role,
                streams,
                disabled,
            } => {
                let user = self.user(*user).ok_or(Refused::NoSuchUser)?;
                let rights = self.check_role(role, streams)?;
                let administers = !disabled && rights.may(Action::Administer, Object::Program);
                self.check_last_admin(user, administers)
            }
            Change::SetPassword { user, .. } | Change::SetPlayer(user, _) => self.known(*user).map(drop),
            Change::RemoveUser(user) => self.check_last_admin(self.known(*user)?, false),
            Change::SetRole { name, .. } => {
                self.check_set_role(name)?;
                let mut after = self.clone();
                after.apply(change);
                match self.has_admin() && !after.has_admin() {
                    true => Err(Refused::LastAdmin(name.clone())),
                    false => Ok(()),
                }
            }
            Change::RemoveRole(name) => self.check_remove_role(name),
            Change::Begin(session) => self.check_begin(session),
            Change::EndAll { .. } | Change::Seen | Change::Expire(_) => Ok(()),
            Change::End(sum) => self.sessions.contains_key(sum).then_some(()).ok_or(Refused::Gone),
            Change::AddToken(token) => self.check_token(token),
            Change::Revoke(sum) => self.tokens.contains_key(sum).then_some(()).ok_or(Refused::Gone),
            Change::AddLink(link) => self.check_link(link),
            Change::RemoveLink(sum) => self.links.contains_key(sum).then_some(()).ok_or(Refused::Gone),
            Change::UseLink { link, name, at, .. } => self.check_use(*link, name, *at),
            Change::SetPreferences(user, data) => {
                self.known(*user)?;
                limit("bytes of preferences", data.len(), MAX_PREFERENCES_BYTES + 1)
            }
        }
    }

    /// Whether somebody may make themselves an account of this name by a link.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check_use(&self, link: Sum, name: &str, now: WallTime) -> Result<(), Refused> {
        let link = self.usable(link, now).ok_or(Refused::LinkSpent)?;
        self.check_new_user(name, &link.role, &link.streams)
    }

    /// The account that a link makes, while it can be used.
    pub fn usable(&self, link: Sum, now: WallTime) -> Option<&Arc<Link>> {
        use super::LinkKind::{FirstRun, Invitation, Share};
        let link = self.links.get(&link)?;
        // Whoever made it may give nothing any more once they no longer administer.
        let administers = |by: UserId| self.user(by).is_some_and(|user| user.administers());
        let is_for_account = match link.kind {
            FirstRun => !self.has_admin(),
            Invitation => link.by.is_none_or(administers),
            Share => false,
        };
        (is_for_account && link.uses_left > 0 && now < link.ends_at).then_some(link)
    }

    /// A share of this sum, while it is good.
    pub fn share(&self, link: Sum, now: WallTime) -> Option<&Arc<Link>> {
        let link = self.links.get(&link)?;
        (link.kind == super::LinkKind::Share && now < link.ends_at).then_some(link)
    }

    /// Makes it so. Nothing is where it was not there: the caller has asked [`People::check`].
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::AddUser {
                name,
                hash,
                role,
                streams,
                at,
            } => {
                self.add_user(name, hash.clone(), role, streams, *at);
            }
            Change::SetUser {
                user,
                role,
                streams,
                disabled,
            } => {
                self.alter(*user, |user| {
                    user.role = role.clone();
                    user.streams.clone_from(streams);
                    user.disabled = *disabled;
                });
                if *disabled {
                    self.end_all(&Owner::User(*user), None);
                }
            }
            Change::SetPassword { user, hash, but } => {
                self.alter(*user, |user| user.hash = Some(Arc::clone(hash)));
                self.end_all(&Owner::User(*user), *but);
            }
            Change::RemoveUser(user) => self.remove_user(*user),
            Change::SetRole { name, rights } => {
                Arc::make_mut(&mut self.roles).insert(name.clone(), rights.clone());
                self.resolve();
            }
            Change::RemoveRole(name) => {
                Arc::make_mut(&mut self.roles).remove(name);
            }
            Change::Begin(session) => self.begin(session),
            Change::End(sum) => drop(Arc::make_mut(&mut self.sessions).remove(sum)),
            Change::EndAll { owner, but } => self.end_all(owner, *but),
            Change::AddToken(token) => drop(Arc::make_mut(&mut self.tokens).insert(token.sum, Arc::clone(token))),
            Change::Revoke(sum) => drop(Arc::make_mut(&mut self.tokens).remove(sum)),
            Change::SetPlayer(user, player) => {
                let players = Arc::make_mut(&mut self.players);
                match player {
                    Some(player) => players.insert(*user, player.clone()),
                    None => players.remove(user),
                };
            }
            Change::AddLink(link) => drop(Arc::make_mut(&mut self.links).insert(link.sum, Arc::clone(link))),
            Change::RemoveLink(sum) => drop(Arc::make_mut(&mut self.links).remove(sum)),
            Change::UseLink { link, name, hash, at } => self.use_link(*link, name, hash, *at),
            Change::SetPreferences(user, data) => {
                Arc::make_mut(&mut self.preferences).insert(*user, Arc::clone(data));
            }
            Change::Seen => {}
            Change::Expire(now) => self.expire(*now),
        }
    }

    /// Which sessions go when this one comes: of its user's and of all the one that was used longest ago, where there are as many as may be.
    pub fn displaced_by(&self, new: &Session) -> Vec<Sum> {
        let oldest = |all: &mut dyn Iterator<Item = &Arc<Session>>| {
            all.min_by_key(|session| (session.seen_at(), session.sum))
                .map(|session| session.sum)
        };
        let own = || {
            self.sessions
                .values()
                .filter(|session| session.owner.is_same(&new.owner))
        };
        let mut gone = Vec::new();
        if own().count() >= self.most_sessions(&new.owner) {
            gone.extend(oldest(&mut own()));
        } else if self.sessions.len() >= MAX_SESSIONS {
            gone.extend(oldest(&mut self.sessions.values()));
        }
        gone
    }

    /// Whether something is over at this time.
    pub fn holds_over(&self, now: WallTime) -> bool {
        self.sessions.values().any(|it| now >= it.over_at())
            || self.tokens.values().any(|it| now >= it.ends_at)
            || self.links.values().any(|it| now >= it.ends_at)
    }

    /// Whoever signed in may be gone, or not let in any more, by the time that their session begins.
    fn check_begin(&self, session: &Session) -> Result<(), Refused> {
        match session.owner {
            Owner::User(user) if self.user(user).is_none_or(|user| user.disabled) => return Err(Refused::Gone),
            Owner::User(_) | Owner::Credential(_) => {}
        }
        let Some(link) = self.share_of(&session.owner) else {
            return Ok(());
        };
        // Whoever closed the page is not watching any more.
        let since = session.made_at.offset_micros(-WATCHING_US);
        let own = self.sessions.values().filter(|other| other.owner == session.owner);
        match own.filter(|other| other.seen_at() > since).count() < link.uses_left as usize {
            true => Ok(()),
            false => Err(Refused::ShareFull(link.uses_left)),
        }
    }

    /// The share that sessions of this owner began with.
    fn share_of(&self, owner: &Owner) -> Option<&Arc<Link>> {
        let Owner::Credential(mark) = owner else {
            return None;
        };
        let link = self.links.get(&mark.strip_prefix("grant:")?.parse::<Sum>().ok()?)?;
        (link.kind == super::LinkKind::Share).then_some(link)
    }

    /// How many sessions this owner may have. Those of a generated token are of everybody who has it, and may not end each other.
    fn most_sessions(&self, owner: &Owner) -> usize {
        match (self.share_of(owner), owner) {
            (Some(link), _) => link.uses_left as usize,
            (None, Owner::Credential(mark)) if mark.starts_with("role:") => MAX_SESSIONS / 4,
            (None, _) => MAX_SESSIONS_EACH,
        }
    }

    fn known(&self, user: UserId) -> Result<&Arc<User>, Refused> {
        self.user(user).ok_or(Refused::NoSuchUser)
    }

    fn check_new_user(&self, name: &str, role: &str, streams: &[Streams]) -> Result<(), Refused> {
        check_name(name)?;
        // As the log calls others: a token is `anna (doorbell)` there.
        if NOT_OF_USERS.contains(&&*folded(name)) || name.contains(['(', ')']) {
            return Err(Refused::NameTaken(name.into()));
        }
        if self.names.contains_key(&folded(name)) {
            return Err(Refused::NameTaken(name.into()));
        }
        self.check_role(role, streams)?;
        limit("users", self.users.len(), MAX_USERS)
    }

    fn check_role(&self, role: &str, streams: &[Streams]) -> Result<Rights, Refused> {
        let rights = self.rights_of(role, streams);
        let rights = rights.ok_or_else(|| Refused::NoSuchRole(role.into()))?;
        limit("streams of one account", streams.len(), MAX_STREAMS + 1)?;
        let texts = streams.iter().map(Streams::to_string);
        if let Some(odd) = texts.into_iter().find(|text| text.contains(char::is_whitespace)) {
            return Err(Refused::StreamsWrong(odd.into()));
        }
        let all = self.rights_of(role, &[Streams::All]).unwrap_or_else(Rights::none);
        let administer = |rights: &Rights| rights.may(Action::Administer, Object::Program);
        match administer(&all) && !administer(&rights) {
            true => Err(Refused::AdminOfSome),
            false => Ok(rights),
        }
    }

    fn check_last_admin(&self, user: &User, administers: bool) -> Result<(), Refused> {
        let another = || self.users().any(|other| other.id != user.id && other.administers());
        match administers || !user.administers() || another() {
            true => Ok(()),
            false => Err(Refused::LastAdmin(user.name.clone())),
        }
    }

    fn check_set_role(&self, name: &str) -> Result<(), Refused> {
        check_name(name)?;
        if name.parse::<Role>().is_ok() {
            return Err(Refused::RoleFixed(name.into()));
        }
        match self.roles.contains_key(name) {
            true => Ok(()),
            false => limit("roles", self.roles.len(), MAX_ROLES),
        }
    }

    fn check_remove_role(&self, name: &str) -> Result<(), Refused> {
        if !self.roles.contains_key(name) {
            return Err(Refused::NoSuchRole(name.into()));
        }
        // Of a share it is rights.
        let gives = |link: &Arc<Link>| link.kind != super::LinkKind::Share && &*link.role == name;
        let in_use = self.users().any(|user| &*user.role == name) || self.links().any(gives);
        match in_use {
            true => Err(Refused::RoleInUse(name.into())),
            false => Ok(()),
        }
    }

    fn check_token(&self, token: &Token) -> Result<(), Refused> {
        self.known(token.user)?;
        check_name(&token.name)?;
        let own = self.tokens.values().filter(|other| other.user == token.user).count();
        limit("tokens of one user", own, MAX_TOKENS_EACH)?;
        limit("tokens", self.tokens.len(), MAX_TOKENS)
    }

    fn check_link(&self, link: &Link) -> Result<(), Refused> {
        if link.kind != super::LinkKind::Share {
            self.check_role(&link.role, &link.streams)?;
        }
        limit("links", self.links.len(), MAX_LINKS)
    }

    fn add_user(
        &mut self,
        name: &str,
        hash: Option<Arc<Hash>>,
        role: &str,
        streams: &[Streams],
        at: WallTime,
    ) -> UserId {
        let id = UserId(self.next_user);
        self.next_user = self.next_user.saturating_add(1);
        let user = User {
            id,
            name: name.into(),
            hash,
            role: role.into(),
            streams: streams.to_vec(),
            rights: self.rights_of(role, streams).unwrap_or_else(Rights::none),
            made_at: at,
            disabled: false,
        };
        Arc::make_mut(&mut self.users).insert(id, Arc::new(user));
        Arc::make_mut(&mut self.names).insert(folded(name), id);
        id
    }

    /// The number that the next user will have.
    pub fn next_user(&self) -> UserId {
        UserId(self.next_user)
    }

    fn alter(&mut self, user: UserId, change: impl FnOnce(&mut User)) {
        if let Some(user) = Arc::make_mut(&mut self.users).get_mut(&user) {
            change(Arc::make_mut(user));
        }
        self.resolve();
    }

    fn remove_user(&mut self, id: UserId) {
        let Some(user) = Arc::make_mut(&mut self.users).remove(&id) else {
            return;
        };
        Arc::make_mut(&mut self.names).remove(&folded(&user.name));
        self.end_all(&Owner::User(id), None);
        Arc::make_mut(&mut self.tokens).retain(|_, token| token.user != id);
        Arc::make_mut(&mut self.players).remove(&id);
        Arc::make_mut(&mut self.links).retain(|_, link| link.by != Some(id));
        Arc::make_mut(&mut self.preferences).remove(&id);
    }

    fn begin(&mut self, session: &Arc<Session>) {
        let gone = self.displaced_by(session);
        let sessions = Arc::make_mut(&mut self.sessions);
        sessions.retain(|sum, _| !gone.contains(sum));
        sessions.insert(session.sum, Arc::clone(session));
    }

    fn end_all(&mut self, owner: &Owner, but: Option<Sum>) {
        Arc::make_mut(&mut self.sessions).retain(|sum, session| session.owner != *owner || but == Some(*sum));
    }

    fn use_link(&mut self, sum: Sum, name: &str, hash: &Arc<Hash>, at: WallTime) {
        let links = Arc::make_mut(&mut self.links);
        let Some(link) = links.remove(&sum) else {
            return;
        };
        if link.uses_left > 1 {
            let left = Link {
                uses_left: link.uses_left - 1,
                ..Link::clone(&link)
            };
            links.insert(sum, Arc::new(left));
        }
        self.add_user(name, Some(Arc::clone(hash)), &link.role, &link.streams, at);
    }

    fn expire(&mut self, now: WallTime) {
        Arc::make_mut(&mut self.sessions).retain(|_, it| now < it.over_at());
        Arc::make_mut(&mut self.tokens).retain(|_, it| now < it.ends_at);
        Arc::make_mut(&mut self.links).retain(|_, it| now < it.ends_at);
    }
}

/// Whether one may be called so.
fn check_name(name: &str) -> Result<(), Refused> {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, ':' | '/' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let count = name.chars().count();
    match (1..=MAX_NAME_CHARS).contains(&count) && name.trim() == name && !name.contains(odd) {
        true => Ok(()),
        false => Err(Refused::NameWrong(name.chars().take(MAX_NAME_CHARS).collect())),
    }
}

/// Whoever has a share open is heard of more often.
const WATCHING_US: i64 = 300_000_000;
/// What log and audit log call those who are no user.
const NOT_OF_USERS: [&str; 6] = ["nobody", "anyone", "nearby", "program", "share", "others"];

/// Whether there may be one more.
fn limit(what: &'static str, count: usize, limit: usize) -> Result<(), Refused> {
    match count < limit {
        true => Ok(()),
        false => Err(Refused::Limit { what, limit }),
    }
}
