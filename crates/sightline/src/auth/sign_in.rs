//! Signing in, and whose a session is that began so.
//!
//! Belongs here: from a name and a password, or a token alone, to an [`Identity`]; what a session remembers of a credential that is not an account of the page
//! ([`Auth::owner`]), and whether that is still good ([`Auth::granted`]). Does not belong here: cookies ([`crate::http`]), where sessions are kept
//! ([`crate::state::control`]).

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use media::WallTime;
use media::stats::GrantId;
use sha2::{Digest as _, Sha256};

use super::argon2::{Answer, Hash};
use super::guard::Device;
use super::people::{Grant, GrantKind, Owner, Session, Sum, UserId};
use super::policy::{Auth, Mode, Presented, Refusal, Rules};
use super::{Account, Password, Principal, Rights, Role};

/// Who signed in, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By a generated token, or the one that was chosen.
    Role(Role),
    /// By an account of the settings.
    Account(Arc<Account>),
    /// By an account of the page.
    User(UserId),
    /// By an API token or a share, with which the session ends.
    Granted(Arc<Grant>),
    /// Nobody need sign in here.
    Free,
}

impl Identity {
    /// What a session of somebody begins with.
    pub fn of(principal: &Principal) -> Self {
        match principal {
            Principal::Known(role) => Self::Role(*role),
            Principal::Account(account) if account.password.is_some() => Self::Account(Arc::clone(account)),
            Principal::Granted(grant) => Self::Granted(Arc::clone(grant)),
            Principal::Beside { known, .. } => Self::of(known),
            Principal::Account(_)
            | Principal::Near { .. }
            | Principal::Anyone { .. }
            | Principal::Program(_)
            | Principal::Vouched(_)
            | Principal::Proxied(_) => Self::Free,
        }
    }
}

impl Auth {
    /// Who it is that gives this name and password. Without a name it is a token.
    ///
    /// # Errors
    /// [`Refusal`]. An unknown name is answered as a wrong password; that it takes as long is the caller's to see to.
    pub fn sign_in(
        &self,
        name: &str,
        password: &str,
        remote: IpAddr,
        device: Option<Device>,
        now: Instant,
    ) -> Result<Identity, Refusal> {
        if name.is_empty() {
            let principal = self.http(remote, Presented::Token(password), None, now)?;
            return Ok(Identity::of(&principal));
        }
        let turn = self.guard.ask(name, remote, device, now);
        let turn = turn.map_err(|wait| Refusal::Braked { wait })?;
        match self.by_password(name, password, remote, device, now) {
            Ok(Some(identity)) => {
                turn.succeeded(now);
                Ok(identity)
            }
            Ok(None) => {
                turn.failed(now);
                Err(Refusal::Wrong)
            }
            Err(busy) => Err(busy),
        }
    }

    fn by_password(
        &self,
        name: &str,
        password: &str,
        remote: IpAddr,
        device: Option<Device>,
        now: Instant,
    ) -> Result<Option<Identity>, Refusal> {
        let (rules, budget) = (self.rules(), self.guard.budget(remote, device, now));
        // A name that nobody has, and one whose password needs no hash, are to be answered like one whose password does: also when too many are computed.
        let unhashed = || match budget.take(now) {
            Ok(()) => Ok(None),
            Err(wait) => Err(Refusal::Busy { wait }),
        };
        // A name that is in both is the file's, where accounts of the file count.
        let counts = !matches!(rules.mode, Mode::Single(_));
        let in_file = rules.accounts.iter().filter(|account| &*account.name == name);
        let passwords: Vec<&Password> = in_file.filter_map(|account| account.password.as_ref()).collect();
        if counts && !passwords.is_empty() {
            let shown = Presented::Basic { user: name, password };
            let found = rules.account(remote, shown, budget, now);
            let found = found.map_err(|wait| Refusal::Busy { wait })?;
            let is_hashed = |own: &&Password| matches!(own, Password::Argon2(_));
            return match found {
                Some(found) => Ok(Some(Identity::of(&found))),
                None if passwords.iter().any(is_hashed) => Ok(None),
                None => unhashed(),
            };
        }
        let people = self.everybody();
        let user = people.named(name).and_then(|user| Some((user, user.hash.as_ref()?)));
        let Some((user, hash)) = user else {
            return unhashed();
        };
        match hash.matches(password, budget, now) {
            Answer::Yes => Ok((!user.disabled).then_some(Identity::User(user.id))),
            Answer::No => Ok(None),
            Answer::Later(wait) => Err(Refusal::Busy { wait }),
        }
    }

    /// Whether an address may show a code of a link now.
    ///
    /// # Errors
    /// [`Refusal::Braked`].
    pub fn may_try(&self, remote: IpAddr, now: Instant) -> Result<(), Refusal> {
        match self.guard.wait(remote, now) {
            Some(wait) => Err(Refusal::Braked { wait }),
            None => Ok(()),
        }
    }

    /// It showed a code that leads nowhere.
    pub fn failed_to_show(&self, remote: IpAddr, now: Instant) {
        self.guard.failed(remote, now);
    }

    /// Whether somebody may have the hash of a new password computed now: each takes 19 MiB and some 20 ms of a core, whoever wants it.
    ///
    /// # Errors
    /// [`Refusal::Busy`].
    pub fn may_hash(&self, remote: IpAddr, now: Instant) -> Result<(), Refusal> {
        let taken = self.guard.budget(remote, None, now).take(now);
        taken.map_err(|wait| Refusal::Busy { wait })
    }

    /// Whether this is the password of a link.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn opens(&self, hash: &Hash, password: &str, remote: IpAddr, now: Instant) -> Result<(), Refusal> {
        self.may_try(remote, now)?;
        match hash.matches(password, self.guard.budget(remote, None, now), now) {
            Answer::Yes => Ok(()),
            Answer::No => {
                self.guard.failed(remote, now);
                Err(Refusal::Wrong)
            }
            Answer::Later(wait) => Err(Refusal::Busy { wait }),
        }
    }

    /// Whose a session of this sum is that begins so; `None` where none is needed.
    pub fn owner(&self, identity: &Identity, sum: Sum) -> Option<Owner> {
        let mark = match identity {
            Identity::Free => return None,
            Identity::User(user) => return Some(Owner::User(*user)),
            Identity::Role(role) => {
                let rules = self.rules();
                let secret = own_secret(&rules, *role)?;
                format!("role:{role}:{}", digest(sum, secret.as_bytes()))
            }
            Identity::Account(account) => {
                let own = own_bytes(account.password.as_ref()?);
                format!("user:{}:{}", account.name, digest(sum, &own))
            }
            Identity::Granted(grant) => format!("grant:{}", hexadecimal(&grant.sum.0)),
        };
        Some(Owner::Credential(mark.into()))
    }

    /// Who a session is that is used from there, as long as what it began with is good there.
    pub fn granted(&self, session: &Session, remote: IpAddr, now: WallTime) -> Option<Grant> {
        let people = self.everybody();
        let Owner::Credential(mark) = &session.owner else {
            return people.grant_of(session);
        };
        let (kind, rest) = mark.split_once(':')?;
        let grant = |name: &str, role: &str, rights: Rights| Grant {
            id: session.id(),
            kind: GrantKind::Session,
            user: None,
            of: None,
            name: name.into(),
            role: role.into(),
            rights,
            in_file: kind == "user",
            ends: Some(session.ends_at),
            sum: session.sum,
        };
        if kind == "grant" {
            let began = people.by_sum(rest.parse().ok()?, Some(remote), now)?;
            let ends = began.ends.min(Some(session.ends_at));
            return Some(Grant {
                ends,
                in_file: false,
                of: began.of,
                ..grant(&began.name, &began.role, began.rights)
            });
        }
        let (name, shown) = rest.rsplit_once(':')?;
        let rules = self.rules();
        if kind == "role" {
            let role: Role = name.parse().ok()?;
            let own = digest(session.sum, own_secret(&rules, role)?.as_bytes());
            return (own == shown).then(|| grant(role.name(), role.name(), role.rights().clone()));
        }
        if matches!(rules.mode, Mode::Single(_)) {
            return None;
        }
        let is_meant = |account: &&Account| {
            let own = account.password.as_ref().map(own_bytes);
            &*account.name == name
                && account.is_here(remote)
                && own.is_some_and(|own| digest(session.sum, &own) == shown)
        };
        // Several of one name mean all of what they may.
        let all = super::account::merged(rules.accounts.iter().filter(is_meant))?;
        let role = Role::ALL.into_iter().find(|role| *role.rights() == all.rights);
        Some(grant(&all.name, role.map_or("custom", Role::name), all.rights))
    }

    /// What those of these grants may do now that have not ended.
    pub fn rights_of(&self, used: &HashSet<GrantId>, now: WallTime) -> HashMap<GrantId, Rights> {
        let people = self.everybody();
        let sessions = people
            .sessions()
            .filter(|session| used.contains(&session.id()) && now < session.over_at())
            .filter_map(|session| self.granted(session, session.remote, now));
        let others = people.others(used, now);
        let grants = sessions.chain(others);
        grants.map(|grant| (grant.id, grant.rights)).collect()
    }

    /// What somebody has become who was let in before: with the rights that they have now. `None`: it ended.
    pub fn renewed(&self, who: &Principal, now: WallTime) -> Option<Principal> {
        match who {
            Principal::Granted(grant) => {
                let people = self.everybody();
                let renewed = match grant.kind {
                    GrantKind::Session => {
                        let session = people.session(grant.sum, now)?;
                        self.granted(session, session.remote, now)
                    }
                    _ => people.renewed(grant, now),
                };
                Some(Principal::Granted(Arc::new(renewed?)))
            }
            Principal::Beside { known, replays } => Some(Principal::Beside {
                known: Arc::new(self.renewed(known, now)?),
                replays: *replays,
            }),
            // A credential of the settings is asked for again with the next question.
            other => Some(other.clone()),
        }
    }
}

fn own_secret(rules: &Rules, role: Role) -> Option<&str> {
    let mut all = rules.secrets().into_iter();
    all.find_map(|(own, secret)| (own == role).then(|| secret.expose()))
}

fn own_bytes(password: &Password) -> Vec<u8> {
    match password {
        Password::Plain(own) => own.expose().as_bytes().to_vec(),
        Password::Sha256(own) => own.to_vec(),
        Password::Argon2(own) => own.text().into_bytes(),
    }
}

/// Of a credential, for one session alone.
fn digest(sum: Sum, credential: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(b"sightline session 2");
    digest.update(sum.0);
    digest.update(credential);
    hexadecimal(&digest.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
