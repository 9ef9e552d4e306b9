//! What all sessions moved together, also those that are gone: sums that never fall.
//!
//! Belongs here: adding up by role and protocol. Does not belong here: whose sums are kept where ([`super::stream`], [`super::Hub`]), what is made of them.

use crate::stats::{Role, SessionStats, Totals};

/// The sums of one role and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Of publishers or viewers.
    pub role: Role,
    /// As in [`crate::stats::SessionInfo::protocol`].
    pub protocol: &'static str,
    /// Sessions that are there.
    pub sessions: usize,
    /// What they and those before them counted.
    pub totals: Totals,
}

/// The sums of a stream, or of several. As many as there are roles and protocols: their names are words of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books(Vec<Account>);

impl Books {
    /// What each role and protocol comes to, in no particular order.
    pub fn accounts(&self) -> &[Account] {
        &self.0
    }

    /// Adds everything that `other` has.
    pub fn add(&mut self, other: &Self) {
        for account in &other.0 {
            self.enter(account.role, account.protocol, account.sessions, &account.totals);
        }
    }

    /// Adds what a session that is there counted.
    pub(super) fn add_here(&mut self, stats: &SessionStats, since: &Totals) {
        self.enter(stats.info.role, stats.info.protocol, 1, &Totals::of(stats).since(since));
    }

    /// Adds what a session that is gone counted.
    pub(super) fn add_gone(&mut self, stats: &SessionStats, since: &Totals) {
        self.enter(stats.info.role, stats.info.protocol, 0, &Totals::of(stats).since(since));
    }

    /// The same without any session that is there: for when their stream has ended.
    pub(super) fn closed(mut self) -> Self {
        for account in &mut self.0 {
            account.sessions = 0;
        }
        self
    }

    fn enter(&mut self, role: Role, protocol: &'static str, sessions: usize, totals: &Totals) {
        let same = |account: &&mut Account| account.role == role && account.protocol == protocol;
        match self.0.iter_mut().find(same) {
            Some(account) => {
                account.sessions = account.sessions.saturating_add(sessions);
                account.totals = account.totals.plus(totals);
            }
            None => self.0.push(Account {
                role,
                protocol,
                sessions,
                totals: *totals,
            }),
        }
    }
}

/// The sums of a whole hub: [`super::Hub::ledger`].
#[derive(Debug)]
pub struct Ledger {
    /// Of all streams that have ended.
    pub ended: Books,
    /// Of those among them that were not told apart ([`super::Stream::is_told_apart`]).
    pub ended_others: Books,
    /// The streams that are there, live and held; each has its [`super::Stream::books`].
    pub streams: Vec<std::sync::Arc<super::Stream>>,
}
