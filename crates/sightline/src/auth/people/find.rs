//! Whose a credential is.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use media::WallTime;
use media::stats::GrantId;

use super::{Owner, People, Session, Sum, Token, User, UserId};
use crate::auth::policy::Presented;
use crate::auth::rights::{Action, Actions, Rights, Share};

/// Somebody who was let in by one credential, and what they may do by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its number: what it let in is ended by it.
    pub id: GrantId,
    /// What it was.
    pub kind: GrantKind,
    /// Whose; `None`: nobody's who has an account in the page.
    pub user: Option<UserId>,
    /// The account of the page behind it, also of a session that began with a token of that account.
    pub of: Option<UserId>,
    /// What they are called.
    pub name: Box<str>,
    /// The word for what they may do: a role, or what kind of credential it is.
    pub role: Box<str>,
    /// What they may do.
    pub rights: Rights,
    /// It is an account of the settings: nothing of it is changed here.
    pub in_file: bool,
    /// When it ends, if not before.
    pub ends: Option<WallTime>,
    /// Of the credential.
    pub(crate) sum: Sum,
}

impl Grant {
    /// Whether it is somebody's who has an account, here or in the settings, and signed in: a token or a share is none.
    pub fn has_account(&self) -> bool {
        self.kind == GrantKind::Session && (self.in_file || self.user.is_some())
    }
}

/// What somebody was let in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantKind {
    /// A cookie.
    Session,
    /// A token for programs.
    Token,
    /// A player's password.
    Player,
    /// A share.
    Share,
}

/// What API tokens begin with.
pub(crate) const TOKEN_PREFIX: &str = "slt_";

impl People {
    /// The session of this sum, where it is not over; using it keeps it.
    pub fn session(&self, sum: Sum, now: WallTime) -> Option<&Arc<Session>> {
        let session = self.sessions.get(&sum)?;
        (now < session.over_at()).then_some(session)
    }

    /// Who a session of a user is.
    pub fn grant_of(&self, session: &Session) -> Option<Grant> {
        match &session.owner {
            Owner::User(user) => Some(Grant {
                id: session.id(),
                sum: session.sum,
                ends: Some(session.ends_at),
                ..self.of_user(*user)?
            }),
            Owner::Credential(_) => None,
        }
    }

    /// Whose token or player's password it is that somebody shows from there. Takes as long for a wrong one as for a right one.
    pub fn find(&self, presented: Presented<'_>, remote: IpAddr, now: WallTime) -> Option<Grant> {
        let secret = match presented {
            Presented::Token(token) => Some(token),
            // Players have no other place for it; the name in front of it is for people.
            Presented::Basic { password, .. } => Some(password),
            Presented::Nothing | Presented::Digest { .. } => None,
        };
        if let Some(secret) = secret.filter(|secret| secret.starts_with(TOKEN_PREFIX)) {
            return self.of_token(self.tokens.get(&Sum::of(secret.as_bytes()))?, remote, now);
        }
        self.of_player(presented)
    }

    fn of_token(&self, token: &Token, remote: IpAddr, now: WallTime) -> Option<Grant> {
        let grant = self.of_token_now(token, now).filter(|_| token.is_here(remote))?;
        token.used_us.fetch_max(now.unix_micros(), Relaxed);
        Some(grant)
    }

    fn of_token_now(&self, token: &Token, now: WallTime) -> Option<Grant> {
        let owner = self.of_user(token.user).filter(|_| now < token.ends_at)?;
        Some(Grant {
            id: token.id(),
            sum: token.sum,
            kind: GrantKind::Token,
            name: format!("{} ({})", owner.name, token.name).into(),
            rights: token.rights.within(&owner.rights),
            ends: Some(token.ends_at),
            ..owner
        })
    }

    /// By user and password; the user is the account's.
    fn of_player(&self, presented: Presented<'_>) -> Option<Grant> {
        let name = match presented {
            Presented::Basic { user, .. } | Presented::Digest { user, .. } => user,
            Presented::Nothing | Presented::Token(_) => return None,
        };
        let user = self.named(name)?;
        let player = self.players.get(&user.id)?;
        let is_right = match presented {
            Presented::Basic { password, .. } => player.secret.matches(password),
            // As it is spelled in what was computed from it.
            Presented::Digest { verify, .. } => verify(player.secret.expose()),
            Presented::Nothing | Presented::Token(_) => false,
        };
        is_right.then(|| self.player_grant(user.id, player)).flatten()
    }

    /// What a user may do, by whatever it is let in.
    pub(crate) fn of_user(&self, user: UserId) -> Option<Grant> {
        let User {
            id,
            name,
            role,
            rights,
            disabled: false,
            ..
        } = &**self.user(user)?
        else {
            return None;
        };
        Some(Grant {
            id: GrantId(0),
            kind: GrantKind::Session,
            user: Some(*id),
            of: Some(*id),
            name: name.clone(),
            role: role.clone(),
            rights: rights.clone(),
            in_file: false,
            ends: None,
            sum: Sum([0; 32]),
        })
    }

    /// What an API token or a share may do, by its sum. A token counts from its networks alone, where it is known from where it is used.
    pub fn by_sum(&self, sum: Sum, remote: Option<IpAddr>, now: WallTime) -> Option<Grant> {
        if let Some(token) = self.tokens.get(&sum) {
            let here = remote.is_none_or(|remote| token.is_here(remote));
            return here.then(|| self.of_token_now(token, now)).flatten();
        }
        let link = self.share(sum, now)?;
        Some(Grant {
            id: link.id(),
            kind: GrantKind::Share,
            user: None,
            of: None,
            name: "share".into(),
            role: "share".into(),
            rights: self.rights_of_share(link)?,
            in_file: false,
            ends: Some(link.ends_at),
            sum,
        })
    }

    /// Never more than who made it may do now.
    fn rights_of_share(&self, link: &super::Link) -> Option<Rights> {
        let shared = Rights::any([Share {
            actions: Actions::of(&Action::ALL),
            streams: link.streams.clone(),
        }]);
        let own = link.role.parse::<Rights>().ok()?.within(&shared);
        Some(match link.by {
            Some(by) => own.within(&self.of_user(by)?.rights),
            None => own,
        })
    }

    /// Grants of these that are no sessions, as far as they are good.
    pub(crate) fn others(&self, used: &HashSet<GrantId>, now: WallTime) -> Vec<Grant> {
        let tokens = self.tokens.values().map(|token| (token.id(), token.sum));
        let links = self.links.values().map(|link| (link.id(), link.sum));
        let by_sum = tokens.chain(links).filter(|(id, _)| used.contains(id));
        let by_sum = by_sum.filter_map(|(_, sum)| self.by_sum(sum, None, now));
        let players = self.players.iter().filter(|(_, player)| used.contains(&player.id()));
        let players = players.filter_map(|(user, player)| self.player_grant(*user, player));
        by_sum.chain(players).collect()
    }

    fn player_grant(&self, user: UserId, player: &super::Player) -> Option<Grant> {
        Some(Grant {
            id: player.id(),
            kind: GrantKind::Player,
            ..self.of_user(user)?
        })
    }

    /// What a grant has become: with the rights that its owner has now. `None`: it ended.
    pub fn renewed(&self, grant: &Grant, now: WallTime) -> Option<Grant> {
        if grant.ends.is_some_and(|ends| now >= ends) {
            return None;
        }
        match grant.kind {
            GrantKind::Session => self.grant_of(self.session(grant.sum, now)?),
            GrantKind::Token | GrantKind::Share => self.by_sum(grant.sum, None, now),
            GrantKind::Player => {
                let player = self.players.get(&grant.user?)?;
                let owner = self.of_user(grant.user?)?;
                (player.id() == grant.id).then(|| Grant {
                    rights: owner.rights,
                    ..grant.clone()
                })
            }
        }
    }
}
