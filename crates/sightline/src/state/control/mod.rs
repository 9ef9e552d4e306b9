//! `control.db`: the people that were made in the page, kept.
//!
//! Belongs here: the file with its tables (`schema`), reading all of it (`read`), writing a change (`write`), the thread `store` that does both ([`Control`]), copies
//! once a day. Does not belong here: what may change, and whose a credential is ([`crate::auth::people`]), the accounts of the settings.
//!
//! - All of it is in memory but the audit log, and nobody waits for the disk to be let in. A change is in force when it is durable, and answered then.
//! - It is never put aside by itself: a new file would be one without any admin. While it cannot be read nobody of it is let in; all else goes on.
//! - Where the disk is full, signing in works: the session is in memory alone, and says so.

mod audit;
mod read;
mod schema;
mod thread;
mod write;

pub use audit::{Entry, Outcome, Query, Row};
pub use schema::{COPY, FILE, Unreadable, copy_to};
pub use thread::{Control, NotDone};

/// 256 bits that nobody can guess.
fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    for part in key.chunks_exact_mut(8) {
        part.copy_from_slice(&crate::random::bits().to_be_bytes());
    }
    key
}

#[cfg(test)]
mod tests;
