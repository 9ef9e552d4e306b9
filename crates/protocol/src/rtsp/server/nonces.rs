//! Nonces and ids of one connection.
//!
//! Belongs here: making them, and telling a fresh nonce from an old, foreign or replayed one. Does not belong here: checking
//! passwords.
//!
//! A nonce is valid on the connection that was given it and nowhere else, so an `Authorization` header read off another
//! connection is stale by construction. There is no table shared by connections.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::super::auth::{DigestResponse, hex};

#[derive(Debug)]
pub(super) struct Nonces {
    seed: u64,
    made: u64,
    lifetime: Duration,
    issued: VecDeque<Nonce>,
}

#[derive(Debug)]
struct Nonce {
    text: String,
    realm: String,
    at: Instant,
    /// Highest `nc` seen.
    count: u32,
}

impl Nonces {
    pub(super) fn new(seed: u64, lifetime: Duration) -> Self {
        Self {
            seed,
            made: 0,
            lifetime,
            issued: VecDeque::new(),
        }
    }

    /// 24 hexadecimal digits that nobody can guess who does not know the seed.
    pub(super) fn unguessable(&mut self, purpose: &str) -> String {
        self.made = self.made.wrapping_add(1);
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(self.made.to_be_bytes());
        hash.update(purpose);
        hash.finalize().iter().take(12).map(|byte| hex(&[*byte])).collect()
    }

    /// A nonce for a challenge of this realm. The [`KEPT`] newest stay valid.
    pub(super) fn issue(&mut self, realm: String, now: Instant) -> String {
        let text = self.unguessable("nonce");
        if self.issued.len() >= KEPT {
            self.issued.pop_front();
        }
        self.issued.push_back(Nonce {
            text: text.clone(),
            realm,
            at: now,
            count: 0,
        });
        text
    }

    /// Whether the response answers a challenge of this connection, in time, and, where it counts (`nc`), for the first time.
    pub(super) fn is_fresh(&mut self, response: &DigestResponse, now: Instant) -> bool {
        let lifetime = self.lifetime;
        let Some(nonce) = self.issued.iter_mut().find(|nonce| nonce.text == response.nonce) else {
            return false;
        };
        if nonce.realm != response.realm() || now.saturating_duration_since(nonce.at) > lifetime {
            return false;
        }
        match &response.auth {
            Some(auth) if auth.count <= nonce.count => false,
            Some(auth) => {
                nonce.count = auth.count;
                true
            }
            None => true,
        }
    }
}

const KEPT: usize = 4;
