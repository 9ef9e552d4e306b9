//! Accounts that a person made: a name, a password, from where, and what for.
//!
//! Belongs here: whether it is somebody ([`Account::is`]), several that are meant at once ([`merged`]). Does not belong
//! here: what rights are ([`super::Rights`]), how they are written ([`crate::config::account`]), when they are asked ([`super::Rules`]).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::argon2::{Answer, Budget, Hash};
use super::{Network, Presented, Rights};
use crate::secret::Secret;

/// Somebody with rights of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user name.
    pub name: Box<str>,
    /// `None`: it stands for all who show nothing.
    pub password: Option<Password>,
    /// From where it counts; empty: from everywhere.
    pub networks: Vec<Network>,
    /// What it may do.
    pub rights: Rights,
}

/// What a password is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// Itself.
    Plain(Secret),
    /// Its SHA-256.
    Sha256([u8; 32]),
    /// Its Argon2. Clones remember together what was right.
    Argon2(Arc<Hash>),
}

impl Account {
    /// Whether it is this one that shows itself from there. Takes as long for a wrong password as for a right one, but for Argon2, which is computed only
    /// where everything else is right.
    pub(super) fn is(&self, remote: IpAddr, presented: Presented<'_>, budget: &Budget, now: Instant) -> Answer {
        let here = self.is_here(remote);
        let pair = match presented {
            Presented::Basic { user, password } => Some((user, password)),
            // As MediaMTX has it, for clients that have no place for a user.
            Presented::Token(token) => Some(token.split_once(':').unwrap_or_default()),
            Presented::Nothing | Presented::Digest { .. } => None,
        };
        let shown = match (presented, &self.password, pair) {
            (Presented::Nothing, password, _) => password.is_none(),
            (_, None, _) => false,
            (_, Some(Password::Argon2(own)), Some((user, password))) => {
                return match (user == &*self.name, here) {
                    (true, true) => own.matches(password, budget, now),
                    // As where it counts: whether it would is not to be seen.
                    (true, false) => budget.take(now).map_or_else(Answer::Later, |()| Answer::No),
                    (false, _) => Answer::No,
                };
            }
            (_, Some(Password::Plain(own)), Some((user, password))) => own.matches(password) & (user == &*self.name),
            (_, Some(Password::Sha256(own)), Some((user, password))) => {
                let is_own: bool = own.ct_eq(&Sha256::digest(password.as_bytes())).into();
                is_own & (user == &*self.name)
            }
            (Presented::Digest { user, verify }, Some(Password::Plain(own)), _) => {
                user == &*self.name && verify(own.expose())
            }
            (_, Some(_), None) => false,
        };
        match here & shown {
            true => Answer::Yes,
            false => Answer::No,
        }
    }

    /// Whether it counts from there.
    pub(super) fn is_here(&self, remote: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(remote))
    }

    /// Whether Digest can be computed for it.
    pub(super) fn knows_password(&self) -> bool {
        !matches!(self.password, Some(Password::Sha256(_) | Password::Argon2(_)))
    }
}

/// One that may do what any of them may; `None` of none.
pub(super) fn merged<'a>(accounts: impl IntoIterator<Item = &'a Account>) -> Option<Account> {
    accounts.into_iter().fold(None, |sum: Option<Account>, account| {
        Some(match sum {
            None => account.clone(),
            Some(mut sum) => {
                sum.rights = sum.rights.or(&account.rights);
                sum
            }
        })
    })
}
