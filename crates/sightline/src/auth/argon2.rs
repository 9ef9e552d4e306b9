//! Passwords that are stored as Argon2 (RFC 9106): reading the hash, comparing within limits.
//!
//! Belongs here: what a hash may cost, when one is computed ([`Budget`]), that a right password is not computed again. Does not belong here: whose
//! it is ([`super::account`]).

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::random;

/// Most memory times passes, in KiB: what OWASP recommends is below it, and takes some 30 ms.
const MAX_COST: u32 = 65_536;
/// Most lanes. They are computed one after the other.
const MAX_LANES: u32 = 16;
/// Bytes of salt and of hash.
const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
const HASH_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
/// Longest password that is computed.
const MAX_PASSWORD_BYTES: usize = 1_024;
/// What new passwords are hashed with: below [`MAX_COST`], 10 to 40 ms of a core.
const MADE_KIB: u32 = 19_456;
const MADE_PASSES: u32 = 2;
const MADE_BYTES: usize = 32;
/// Hashes that are computed at once, and then each …
const BURST: u32 = 8;
/// … whenever so much time has passed. What was right once is not computed again, so this is about strangers and about the first minute.
const EACH: Duration = Duration::from_millis(250);

/// What is stored of a password.
pub struct Hash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Box<[u8]>,
    hash: Box<[u8]>,
    /// The password that was right, under a key of this process.
    right: Mutex<Option<[u8; 32]>>,
    key: [u8; 16],
}

/// Whether it is the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// Too many were computed just now.
    Later(Duration),
}

/// How many hashes are computed: strangers must not take the processor from viewers, from however many addresses they come.
#[derive(Debug)]
pub(super) struct Budget {
    paid: Mutex<Option<Instant>>,
    each: Duration,
    burst: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            paid: Mutex::new(None),
            each: EACH,
            burst: BURST,
        }
    }
}

impl Budget {
    /// Half of all: for those who were let in lately, or for strangers.
    pub(super) fn half() -> Self {
        Self {
            each: EACH * 2,
            burst: BURST / 2,
            ..Self::default()
        }
    }

    /// Takes one, or says how long to wait for it.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        // Until when all that was computed is paid for.
        let until = paid.filter(|until| *until > now).unwrap_or(now);
        let next = until + self.each;
        let most = now + self.each * self.burst;
        match next.checked_duration_since(most).filter(|wait| !wait.is_zero()) {
            Some(wait) => Err(wait),
            None => {
                *paid = Some(next);
                Ok(())
            }
        }
    }
}

impl Hash {
    /// Reads `$argon2id$v=19$m=4096,t=3,p=1$SALT$HASH`.
    ///
    /// # Errors
    /// What is wrong, without the hash.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "behind argon2: stands $argon2id$v=19$m=4096,t=3,p=1$SALT$HASH, as `printf %s PASSWORD | argon2 SALT -id -e` prints it";
        let mut parts = text.split('$').skip(1);
        let mut next = || parts.next().ok_or(FORM);
        let algorithm = match next()? {
            "argon2id" => Algorithm::Argon2id,
            "argon2i" => Algorithm::Argon2i,
            _ => return Err(FORM),
        };
        let version = match next()? {
            "v=19" => Version::V0x13,
            "v=16" => Version::V0x10,
            _ => return Err(FORM),
        };
        let mut numbers = [0_u32; 3];
        let given: Vec<&str> = next()?.split(',').collect();
        if given.len() != numbers.len() {
            return Err(FORM);
        }
        for ((number, given), name) in numbers.iter_mut().zip(given).zip(["m=", "t=", "p="]) {
            *number = given
                .strip_prefix(name)
                .and_then(|given| given.parse().ok())
                .ok_or(FORM)?;
        }
        let bytes = |text: &str| STANDARD_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| FORM);
        let (salt, hash) = (bytes(next()?)?, bytes(next()?)?);
        if next().is_ok() || !SALT_BYTES.contains(&salt.len()) || !HASH_BYTES.contains(&hash.len()) {
            return Err(FORM);
        }
        let [memory_kib, passes, lanes] = numbers;
        if memory_kib.checked_mul(passes).is_none_or(|cost| cost > MAX_COST) || lanes > MAX_LANES {
            return Err(
                "memory (m) times passes (t) is more than 65536, or lanes (p) more than 16: whoever guesses would slow down this server; use \
                 `argon2 SALT -id -m 14 -t 2 -e`",
            );
        }
        let params = Params::new(memory_kib, passes, lanes, Some(hash.len())).map_err(|_| FORM)?;
        Ok(Self {
            algorithm,
            version,
            params,
            salt: salt.into(),
            hash: hash.into(),
            right: Mutex::new(None),
            key: (u128::from(random::bits()) << 64 | u128::from(random::bits())).to_be_bytes(),
        })
    }

    /// That of a password, as OWASP recommends: argon2id, 19 MiB, two passes, one lane.
    pub(super) fn make(password: &str, salt: &[u8]) -> Self {
        // Constants within the limits of the algorithm.
        let params = Params::new(MADE_KIB, MADE_PASSES, 1, Some(MADE_BYTES)).unwrap_or_default();
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let mut hash = vec![0; MADE_BYTES];
        let argon2 = Argon2::new(algorithm, version, params.clone());
        // It fails of lengths alone, which are ours; then no password is right.
        let made = apart(|| argon2.hash_password_into(password.as_bytes(), salt, &mut hash));
        if made.is_err() {
            hash.clear();
        }
        Self {
            algorithm,
            version,
            params,
            salt: salt.into(),
            hash: hash.into(),
            right: Mutex::new(None),
            key: (u128::from(random::bits()) << 64 | u128::from(random::bits())).to_be_bytes(),
        }
    }

    /// As [`Hash::read`] reads it.
    pub(crate) fn text(&self) -> String {
        let algorithm = self.algorithm.as_str();
        let version = u32::from(self.version);
        let (memory, passes, lanes) = (self.params.m_cost(), self.params.t_cost(), self.params.p_cost());
        let [salt, hash] = [&self.salt, &self.hash].map(|bytes| STANDARD_NO_PAD.encode(bytes));
        format!("${algorithm}$v={version}$m={memory},t={passes},p={lanes}${salt}${hash}")
    }

    /// Whether this is the password: from memory, or computed where the budget allows it.
    pub(super) fn matches(&self, candidate: &str, budget: &Budget, now: Instant) -> Answer {
        let mark = self.mark(candidate);
        let known = *self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some_and(|known| bool::from(known.ct_eq(&mark))) {
            return Answer::Yes;
        }
        if candidate.len() > MAX_PASSWORD_BYTES {
            return Answer::No;
        }
        if let Err(wait) = budget.take(now) {
            return Answer::Later(wait);
        }
        match apart(|| self.computes(candidate)) {
            true => {
                *self.right.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
                Answer::Yes
            }
            false => Answer::No,
        }
    }

    fn computes(&self, candidate: &str) -> bool {
        let mut computed = vec![0; self.hash.len()];
        let argon2 = Argon2::new(self.algorithm, self.version, self.params.clone());
        let done = argon2.hash_password_into(candidate.as_bytes(), &self.salt, &mut computed);
        done.is_ok() && bool::from(computed.ct_eq(&self.hash))
    }

    fn mark(&self, candidate: &str) -> [u8; 32] {
        let mut sum = Sha256::new();
        sum.update(self.key);
        sum.update(candidate.as_bytes());
        sum.finalize().into()
    }
}

/// Work of milliseconds, which must not hold up what else the thread has to do.
fn apart<T>(work: impl FnOnce() -> T) -> T {
    let several = |handle: Handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread;
    match Handle::try_current().is_ok_and(several) {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        let same = |one: &Self| {
            (
                one.algorithm,
                one.version,
                one.params.m_cost(),
                one.params.t_cost(),
                one.params.p_cost(),
            )
        };
        same(self) == same(other) && self.salt == other.salt && self.hash == other.hash
    }
}

impl Eq for Hash {}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::secret::REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf %s testpass | argon2 saltsalt -id -m 12 -t 3 -p 1 -e`.
    const HASH: &str = "$argon2id$v=19$m=4096,t=3,p=1$c2FsdHNhbHQ$6DlZ2SZ8wgr78bIgqStn1a2pGrFKUu3GocrmkBm/dHQ";

    #[test]
    fn what_the_reference_program_makes_is_understood() {
        let (hash, budget, now) = (Hash::read(HASH).unwrap(), Budget::default(), Instant::now());
        assert_eq!(hash.matches("testpass", &budget, now), Answer::Yes);
        assert_eq!(hash.matches("testpasS", &budget, now), Answer::No);
        assert_eq!(hash.matches("", &budget, now), Answer::No);
        assert_eq!(format!("{hash:?}"), "[redacted]");
        assert!(hash == Hash::read(HASH).unwrap() && hash != Hash::read(&HASH.replace("t=3", "t=2")).unwrap());
        let i = Hash::read(&HASH.replace("argon2id", "argon2i")).unwrap();
        assert_eq!(i.matches("testpass", &budget, now), Answer::No, "another algorithm");
    }

    #[test]
    fn hashes_that_are_none_or_cost_too_much_are_refused() {
        let start = HASH.rsplit_once('$').unwrap().0;
        for wrong in [
            "",
            "$",
            "testpass",
            start,
            &format!("{start}$"),
            &format!("{start}$AAAA"),
            &format!("{HASH}$x"),
            &HASH.replace("argon2id", "argon2x"),
            &HASH.replace("v=19", "v=20"),
            &HASH.replace("m=4096,t=3,p=1", "m=4096,t=3"),
            &HASH.replace("m=4096,t=3,p=1", "t=3,m=4096,p=1"),
            &HASH.replace("t=3", "t=0"),
            &HASH.replace("p=1", "p=0"),
            &HASH.replace("m=4096", "m=1"),
        ] {
            let error = Hash::read(wrong).unwrap_err();
            assert!(error.contains("$argon2id$v=19$"), "{wrong}: {error}");
        }
        for costly in [
            "m=65536,t=2,p=1",
            "m=4294967295,t=4294967295,p=1",
            "m=4096,t=17,p=1",
            "m=4096,t=3,p=17",
        ] {
            let error = Hash::read(&HASH.replace("m=4096,t=3,p=1", costly)).unwrap_err();
            assert!(error.contains("65536"), "{costly}: {error}");
        }
    }

    #[test]
    fn strangers_have_a_budget_and_who_was_right_needs_none() {
        let (hash, budget, now) = (Hash::read(HASH).unwrap(), Budget::default(), Instant::now());
        assert_eq!(hash.matches("testpass", &budget, now), Answer::Yes);
        let guesses: Vec<Answer> = (0..20)
            .map(|n| hash.matches(&format!("guess {n}"), &budget, now))
            .collect();
        let computed = guesses.iter().filter(|answer| **answer == Answer::No).count();
        assert_eq!(computed, BURST as usize - 1);
        assert_eq!(guesses.last(), Some(&Answer::Later(EACH)));
        assert_eq!(hash.matches("testpass", &budget, now), Answer::Yes, "from memory");
        assert_eq!(hash.matches("guess", &budget, now + EACH), Answer::No);
        assert_eq!(hash.matches("guess", &budget, now + EACH), Answer::Later(EACH));
        let later = now + EACH * 100;
        let computed = (0..20)
            .filter(|n| hash.matches(&format!("{n}"), &budget, later) == Answer::No)
            .count();
        assert_eq!(computed, BURST as usize, "time that nobody used is not saved up");
        let long = "x".repeat(MAX_PASSWORD_BYTES + 1);
        assert_eq!(hash.matches(&long, &budget, later), Answer::No, "without computing");
    }
}
