//! From what a peer presents to a principal.
//!
//! Belongs here: which credentials exist, and where none is needed. Does not belong here: what a principal may do
//! ([`super::may`]), who else is asked (`super::entry`).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use media::{Clock, StreamName};
use tokio::sync::watch;

use super::account::{Account, merged};
use super::argon2::{Answer, Budget};
use super::authority::{Elsewhere, WhyNot};
use super::entry::{beside, with_free};
use super::guard::Guard;
use super::pass::{Pass, Passes};
use super::people::{Grant, People, folded};
use super::{Decision, Network, Principal, Role};
use crate::secret::Secret;

/// The generated tokens, one per user of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// User `viewer`.
    pub viewer: Secret,
    /// User `publisher`.
    pub publisher: Secret,
    /// User `admin`.
    pub admin: Secret,
}

impl Tokens {
    fn all(&self) -> Vec<(Role, &Secret)> {
        vec![
            (Role::Admin, &self.admin),
            (Role::Publisher, &self.publisher),
            (Role::Viewer, &self.viewer),
        ]
    }
}

/// Which rule is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Generated tokens; trusted networks are free, and RTSP on this machine.
    Tokens(Tokens),
    /// Nobody is asked for anything, but may show something, and do more.
    Open,
    /// One token, chosen by a person, is asked for everywhere, on this machine and in trusted networks too. Any user name
    /// goes with it; it may do everything.
    Single(Secret),
}

/// What a peer showed, whatever the protocol.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// Nothing.
    Nothing,
    /// User and password (RFC 7617).
    Basic {
        /// User name.
        user: &'a str,
        /// Password.
        password: &'a str,
    },
    /// A response computed from the password (RFC 7616).
    Digest {
        /// User name.
        user: &'a str,
        /// Whether the response was computed from this password.
        verify: &'a dyn Fn(&str) -> bool,
    },
    /// A token alone: a query parameter or a bearer header.
    Token(&'a str),
}

/// Why a peer was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It showed nothing where a credential is needed: ask for one.
    #[error("a credential is needed")]
    Missing,
    /// It showed a wrong one.
    #[error("wrong user or password")]
    Wrong,
    /// It showed wrong ones too often; what it shows now was not looked at.
    #[error("too many wrong credentials from this address; wait {} ms", wait.as_millis())]
    Braked {
        /// How long it has to wait.
        wait: Duration,
    },
    /// What it showed was not looked at, since too many passwords are computed just now.
    #[error("too many logins at a time; wait {} ms", wait.as_millis())]
    Busy {
        /// How long it has to wait.
        wait: Duration,
    },
    /// It is known but has no right to this.
    #[error("{0}")]
    Forbidden(Decision),
    /// It showed a token of elsewhere that is not believed.
    #[error("{0}")]
    Token(WhyNot),
    /// Whoever decides cannot be asked now.
    #[error("who decides about this cannot be asked now")]
    Away,
}

/// What decides who a peer is, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The rule in force.
    pub mode: Mode,
    /// Networks from which no credential is needed (without effect in [`Mode::Single`]).
    pub trusted_networks: Vec<Network>,
    /// Accounts of people (without effect in [`Mode::Single`]).
    pub accounts: Vec<Account>,
    /// Credentials that are heeded in [`Mode::Open`], for what is not open to everybody.
    pub beside: Option<Tokens>,
    /// What those who are asked for no credential may see of what was.
    pub replay: Replay,
    /// Who decides about those who show no credential of ours.
    pub elsewhere: Option<Elsewhere>,
}

/// To whom recordings are free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    /// To everybody in [`Mode::Open`], to nobody else: who opened a network for a live picture has not given away a month of it.
    #[default]
    WhereOpen,
    /// To trusted networks, too.
    Trusted,
    /// To nobody, not in [`Mode::Open`] either.
    Accounts,
}

impl Replay {
    const ALL: [Self; 3] = [Self::WhereOpen, Self::Trusted, Self::Accounts];

    fn name(self) -> &'static str {
        match self {
            Self::WhereOpen => "open",
            Self::Trusted => "trusted",
            Self::Accounts => "accounts",
        }
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that does not say to whom recordings are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write \"open\", \"trusted\" or \"accounts\"")]
pub struct NoReplay;

impl FromStr for Replay {
    type Err = NoReplay;

    fn from_str(text: &str) -> Result<Self, NoReplay> {
        Self::ALL
            .into_iter()
            .find(|replay| replay.name() == text)
            .ok_or(NoReplay)
    }
}

impl Rules {
    /// Whether an account of the settings is called so, however it is spelled: two that look like one would be two people.
    pub fn has_account_of(&self, name: &str) -> bool {
        self.accounts
            .iter()
            .any(|account| folded(&account.name) == folded(name))
    }

    fn trusts(&self, remote: IpAddr) -> bool {
        self.trusted_networks.iter().any(|network| network.contains(remote))
    }

    /// Whether RTSP from `remote` goes without a credential. Where somebody else decides, this machine is as good as others: so it is with MediaMTX.
    pub(super) fn rtsp_is_free_for(&self, remote: IpAddr) -> bool {
        let is_here = || self.elsewhere.is_none() && remote.to_canonical().is_loopback();
        match self.mode {
            Mode::Single(_) => false,
            Mode::Open => true,
            Mode::Tokens(_) => is_here() || self.trusts(remote),
        }
    }

    /// Who somebody without a credential is over HTTP; `None` where one is needed. This machine's own address means nothing here: a
    /// proxy in front of us makes the whole Internet look like it.
    pub(super) fn http_is_free_for(&self, remote: IpAddr) -> Option<Principal> {
        match self.mode {
            Mode::Single(_) => None,
            Mode::Open => Some(self.anyone()),
            Mode::Tokens(_) => self.trusts(remote).then(|| Principal::Near {
                replays: self.replay == Replay::Trusted,
            }),
        }
    }

    pub(super) fn anyone(&self) -> Principal {
        Principal::Anyone {
            replays: self.replay != Replay::Accounts,
        }
    }

    /// Every credential there is.
    pub(super) fn secrets(&self) -> Vec<(Role, &Secret)> {
        match &self.mode {
            Mode::Open => self.beside.as_ref().map(Tokens::all).unwrap_or_default(),
            Mode::Single(token) => vec![(Role::Admin, token)],
            Mode::Tokens(tokens) => tokens.all(),
        }
    }

    /// Whoever has an account that shows itself so, with the rights of all that are meant. Every one is compared. The error is how long to wait until that
    /// can be said.
    pub(super) fn account(
        &self,
        remote: IpAddr,
        presented: Presented<'_>,
        budget: &Budget,
        now: Instant,
    ) -> Result<Option<Principal>, Duration> {
        if matches!(self.mode, Mode::Single(_)) {
            return Ok(None);
        }
        let (mut meant, mut later): (Vec<&Account>, _) = (Vec::new(), None);
        for account in &self.accounts {
            match account.is(remote, presented, budget, now) {
                Answer::Yes => meant.push(account),
                Answer::No => {}
                Answer::Later(wait) => later = later.max(Some(wait)),
            }
        }
        match (merged(meant), later) {
            (None, Some(wait)) => Err(wait),
            (account, _) => Ok(account.map(|account| Principal::Account(Arc::new(account)))),
        }
    }

    /// The role whose credential this is. Every candidate is compared, so that the time says nothing about which is near.
    fn role(&self, presented: Presented<'_>) -> Option<Role> {
        let all = self.secrets();
        // The token says which role it is; the name in front of it only has to be one of ours, so that names stay free for people.
        let any_user = matches!(self.mode, Mode::Single(_));
        let named = |user: &str| any_user || Role::ALL.iter().any(|role| role.name() == user);
        all.into_iter().fold(None, |found, (role, secret)| {
            let right = match presented {
                Presented::Nothing => false,
                Presented::Basic { user, password } => secret.matches(password) & named(user),
                Presented::Digest { user, verify } => named(user) && verify(secret.expose()),
                Presented::Token(token) => secret.matches(token),
            };
            found.or(right.then_some(role))
        })
    }
}

/// Decides who a peer is. Shared by all protocols.
pub struct Auth {
    rules: RwLock<Arc<Rules>>,
    pub(super) guard: Guard,
    people: OnceLock<Kept>,
    pub(super) passes: Passes,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// The people of the page, and the clock by which what they have ends.
struct Kept {
    people: watch::Receiver<Arc<People>>,
    clock: Arc<dyn Clock>,
}

impl Auth {
    /// The rule in force and the networks in which RTSP is free (without effect in [`Mode::Single`]).
    pub fn new(mode: Mode, trusted_networks: Vec<Network>) -> Self {
        Self::of(Rules {
            mode,
            trusted_networks,
            accounts: Vec::new(),
            beside: None,
            replay: Replay::default(),
            elsewhere: None,
        })
    }

    /// With these rules.
    pub fn of(rules: Rules) -> Self {
        Self {
            rules: RwLock::new(Arc::new(rules)),
            guard: Guard::default(),
            people: OnceLock::new(),
            passes: Passes::default(),
        }
    }

    /// The people that were made in the page are let in, too. Once.
    pub fn heed(&self, people: watch::Receiver<Arc<People>>, clock: Arc<dyn Clock>) {
        // Whoever comes second means the same.
        let _ = self.people.set(Kept { people, clock });
    }

    /// Those people, now.
    pub fn everybody(&self) -> Arc<People> {
        let people = self.people.get().map(|kept| Arc::clone(&kept.people.borrow()));
        people.unwrap_or_default()
    }

    /// Tells when they change. `None`: there are none.
    pub fn changes(&self) -> Option<watch::Receiver<Arc<People>>> {
        self.people.get().map(|kept| kept.people.clone())
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        // A panic elsewhere while it was held leaves the old or the new ones.
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other rules from now on. Who was let in stays until they ask for something again; guesses that were counted still count.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Whether RTSP from `remote` goes without a credential.
    pub fn rtsp_is_free_for(&self, remote: IpAddr) -> bool {
        self.rules().rtsp_is_free_for(remote)
    }

    /// Whether everybody's Digest could be checked: not with passwords that are hashed, nor with those that somebody else knows.
    pub fn knows_all_passwords(&self) -> bool {
        let rules = self.rules();
        rules.elsewhere.is_none() && rules.accounts.iter().all(Account::knows_password)
    }

    /// User and token that a URL for `role` must carry; `None` when everything is open.
    pub fn credential(&self, role: Role) -> Option<(&'static str, Secret)> {
        match &self.rules().mode {
            Mode::Open => None,
            Mode::Single(token) => Some((role.name(), token.clone())),
            Mode::Tokens(tokens) => match role {
                Role::Viewer => Some((role.name(), tokens.viewer.clone())),
                Role::Publisher => Some((role.name(), tokens.publisher.clone())),
                Role::Admin | Role::Operator => Some((Role::Admin.name(), tokens.admin.clone())),
            },
        }
    }

    /// A credential for a program that publishes this stream by RTSP. It is good until the pass is dropped.
    pub fn pass(&self, stream: &StreamName, random: fn() -> u64) -> Pass {
        self.passes.issue(stream, random)
    }

    /// Who an HTTP peer is by what is ours alone, whoever else decides. As [`Auth::http_from`].
    ///
    /// # Errors
    /// [`Refusal`], but never [`Refusal::Forbidden`]: what a principal may do, [`super::may`] says.
    pub fn http(
        &self,
        remote: IpAddr,
        presented: Presented<'_>,
        session: Option<Arc<Grant>>,
        now: Instant,
    ) -> Result<Principal, Refusal> {
        self.http_by(remote, presented, session, |rules| {
            self.judged(self.own(rules, remote, presented, now), presented, remote, now)
        })
    }

    /// The same of somebody who was let in and is still here. It is no guess: the brake neither holds it up nor counts it.
    ///
    /// # Errors
    /// As [`Auth::http`].
    pub fn http_still(
        &self,
        remote: IpAddr,
        presented: Presented<'_>,
        session: Option<Arc<Grant>>,
        now: Instant,
    ) -> Result<Principal, Refusal> {
        self.http_by(remote, presented, session, |rules| {
            if matches!(presented, Presented::Nothing) {
                return self.own(rules, remote, presented, now)?.ok_or(Refusal::Missing);
            }
            self.found(rules, remote, presented, now)?.ok_or(Refusal::Wrong)
        })
    }

    fn http_by(
        &self,
        remote: IpAddr,
        presented: Presented<'_>,
        session: Option<Arc<Grant>>,
        known: impl FnOnce(&Rules) -> Result<Principal, Refusal>,
    ) -> Result<Principal, Refusal> {
        let rules = self.rules();
        let known = match (presented, session) {
            (Presented::Nothing, Some(session)) => Ok(Principal::Granted(session)),
            _ => known(&rules),
        };
        beside(rules.http_is_free_for(remote), known)
    }

    /// Somebody whom another knows, with what is free there as well.
    pub fn known_elsewhere(&self, who: Principal, remote: IpAddr) -> Principal {
        match self.rules().http_is_free_for(remote) {
            Some(free) => with_free(free, who),
            None => who,
        }
    }

    /// Whose credential of ours this is, unless the address is braked; a wrong one is not counted yet. Of nothing: whoever shows nothing, if that is somebody.
    pub(super) fn own(
        &self,
        rules: &Rules,
        remote: IpAddr,
        presented: Presented<'_>,
        now: Instant,
    ) -> Result<Option<Principal>, Refusal> {
        if matches!(presented, Presented::Nothing) {
            let budget = self.guard.budget(remote, None, now);
            return Ok(rules.account(remote, presented, budget, now).ok().flatten());
        }
        if let Some(wait) = self.guard.wait(remote, now) {
            return Err(Refusal::Braked { wait });
        }
        // Not braked meanwhile: others log in while a password is computed.
        let found = self.found(rules, remote, presented, now)?;
        if found.is_some() {
            self.guard.succeeded(remote, now);
        }
        Ok(found)
    }

    /// What that comes to where nobody else is asked.
    pub(super) fn judged(
        &self,
        own: Result<Option<Principal>, Refusal>,
        presented: Presented<'_>,
        remote: IpAddr,
        now: Instant,
    ) -> Result<Principal, Refusal> {
        match (own?, presented) {
            (Some(who), _) => Ok(who),
            (None, Presented::Nothing) => Err(Refusal::Missing),
            (None, _) => {
                self.guard.failed(remote, now);
                Err(Refusal::Wrong)
            }
        }
    }

    /// Whose credential this is, without the brake.
    fn found(
        &self,
        rules: &Rules,
        remote: IpAddr,
        presented: Presented<'_>,
        now: Instant,
    ) -> Result<Option<Principal>, Refusal> {
        match (rules.role(presented), self.granted_to(presented, remote)) {
            (Some(role), _) => Ok(Some(Principal::Known(role))),
            (None, Some(grant)) => Ok(Some(Principal::Granted(Arc::new(grant)))),
            (None, None) => {
                let budget = self.guard.budget(remote, None, now);
                let account = rules.account(remote, presented, budget, now);
                account.map_err(|wait| Refusal::Busy { wait })
            }
        }
    }

    /// By a token or a player's password of somebody of the page.
    fn granted_to(&self, presented: Presented<'_>, remote: IpAddr) -> Option<Grant> {
        let kept = self.people.get()?;
        kept.people.borrow().find(presented, remote, kept.clock.wall())
    }
}
