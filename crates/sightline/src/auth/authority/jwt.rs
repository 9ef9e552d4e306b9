//! Permissions in a signed token: MediaMTX's `authMethod: jwt`.
//!
//! Belongs here: from a token to what it allows, and remembering that. Does not belong here: whether it is believed (`super::token`), its keys (`super::jwks`).

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::Clock;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::jwks::{Jwks, Unverified};
use super::memory::Memory;
use super::token::{Claims, Expected, WhyNot};
use super::{Allowed, Answer, Question, Verb, Vouched, name, permission, trust};
use crate::config::settings::AuthJwt;

/// A token that was believed is, for so long, without looking at its signature again.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Such tokens.
const MOST: usize = 4_096;

/// Believes tokens that somebody else signed.
pub struct Authority {
    keys: Option<Jwks>,
    expected: Expected,
    claim: Box<str>,
    gives_api: bool,
    clock: Arc<dyn Clock>,
    believed: Mutex<Memory<[u8; 32], Vouched>>,
}

impl Authority {
    /// As it is set. `patience` is for the keys.
    pub fn new(settings: &AuthJwt, clock: Arc<dyn Clock>, patience: Duration) -> Self {
        let keys = settings.jwks.as_ref().map(|url| {
            let trust = trust(settings.fingerprint);
            Jwks::new(url.expose().clone(), trust, Arc::clone(&clock), patience)
        });
        let said = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Into::into);
        Self {
            keys,
            expected: Expected {
                issuer: said(&settings.issuer),
                audience: said(&settings.audience),
            },
            claim: settings.claim.as_str().into(),
            gives_api: !settings.exclude.iter().any(|permission| permission.verb == Verb::Api),
            clock,
            believed: Mutex::new(Memory::new(MOST)),
        }
    }

    async fn answer(&self, question: Question) -> Answer {
        let token = question.token.expose();
        if token.is_empty() {
            return Answer::No(WhyNot::Missing);
        }
        let sum: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(vouched) = self.lock().get(sum, self.clock.now()) {
            // The clock of the wall may have been set.
            if vouched.until.is_none_or(|until| self.clock.wall() < until) {
                return Answer::Yes(vouched);
            }
        }
        // Settings without keys are refused where they are read.
        let Some(keys) = &self.keys else { return Answer::Away };
        let claims = match keys.verify(token, &self.expected).await {
            Ok(claims) => claims,
            Err(Unverified::Wrong(why)) => return Answer::No(why),
            Err(Unverified::Away) => return Answer::Away,
        };
        match self.vouched(&claims) {
            Some(vouched) => {
                let left = vouched.until.map(|until| {
                    let left = until.unix_micros().saturating_sub(self.clock.wall().unix_micros());
                    Duration::from_micros(u64::try_from(left).unwrap_or_default())
                });
                let until = self.clock.now() + left.unwrap_or(REMEMBERED).min(REMEMBERED);
                self.lock().put(sum, vouched.clone(), until);
                Answer::Yes(vouched)
            }
            None => Answer::No(WhyNot::Permissions),
        }
    }

    fn vouched(&self, claims: &Claims) -> Option<Vouched> {
        let claim: &Value = claims.all.get(&*self.claim)?;
        let permissions = permission::read(claim)?;
        let allowed = match self.gives_api {
            true => Allowed::by(&permissions),
            false => Allowed::without_api(&permissions),
        };
        Some(Vouched {
            name: name(claims.subject.as_deref().unwrap_or_default()),
            allowed,
            until: claims.ends,
            has_shown: true,
            // Whoever asks for somebody knows it.
            by: 0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Memory<[u8; 32], Vouched>> {
        // Nothing panics while it is held.
        self.believed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl super::Authority for Authority {
    fn ask(&self, question: Question) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(self.answer(question))
    }

    fn proves(&self) -> bool {
        true
    }
}
