//! Who may try a password now.
//!
//! Belongs here: brakes by account and by device, devices that were let in before, whose hashes are computed first. Does not belong here: whether a password is
//! right. Deterministic: `now` is an argument.
//!
//! A name waits *for whoever was never let in by it*. Who was has a device cookie with a brake of its own, so a stranger who guesses locks out nobody, wherever
//! it comes from.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::argon2::Budget;
use super::brake::{Brake, Failed, Pace, peer};
use crate::secret::Secret;

/// Ten wrong passwords of one name, then a second that doubles. A device has the same.
const NAME: Pace = Pace {
    free: 10,
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
};
/// An address from which somebody was let in is known for so long.
const KNOWN_FOR: Duration = Duration::from_secs(86_400);
/// Such addresses that are remembered.
const MAX_KNOWN: usize = 4_096;
const NUMBER_BYTES: usize = 16;
const SEAL_BYTES: usize = 16;

/// A browser from which a name was let in before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device([u8; NUMBER_BYTES]);

/// Brakes and budgets of all who show a password or a token.
#[derive(Debug)]
pub(super) struct Guard {
    state: Mutex<State>,
    /// Of hashes: for whoever was let in lately, and for strangers. Each is half of what may be computed.
    budgets: [Budget; 2],
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct State {
    addresses: Brake,
    names: Failed<u64>,
    devices: Failed<Device>,
    known: HashMap<IpAddr, Instant>,
}

/// One try.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    guard: &'a Guard,
    name: u64,
    device: Option<Device>,
    remote: IpAddr,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            budgets: [Budget::half(), Budget::half()],
            hasher: RandomState::new(),
        }
    }
}

impl Guard {
    /// Whether a password of this name may be tried now. The error is how long to wait.
    pub(super) fn ask(
        &self,
        name: &str,
        remote: IpAddr,
        device: Option<Device>,
        now: Instant,
    ) -> Result<Turn<'_>, Duration> {
        let name = self.hasher.hash_one(name.to_lowercase());
        let state = self.lock();
        let wait = match device {
            Some(device) => state.devices.wait(device, NAME, now),
            None => state.names.wait(name, NAME, now).max(state.addresses.wait(remote, now)),
        };
        match wait {
            Some(wait) => Err(wait),
            None => Ok(Turn {
                guard: self,
                name,
                device,
                remote,
            }),
        }
    }

    /// How long an address still has to wait that shows no name.
    pub(super) fn wait(&self, remote: IpAddr, now: Instant) -> Option<Duration> {
        self.lock().addresses.wait(remote, now)
    }

    /// It showed a wrong credential.
    pub(super) fn failed(&self, remote: IpAddr, now: Instant) {
        self.lock().addresses.failed(remote, now);
    }

    /// It showed a right one.
    pub(super) fn succeeded(&self, remote: IpAddr, now: Instant) {
        let mut state = self.lock();
        state.addresses.succeeded(remote);
        state.know(remote, now);
    }

    /// Out of which hashes of somebody are computed.
    pub(super) fn budget(&self, remote: IpAddr, device: Option<Device>, now: Instant) -> &Budget {
        let is_known = || {
            let known = self.lock().known.get(&peer(remote)).copied();
            known.is_some_and(|at| now.saturating_duration_since(at) < KNOWN_FOR)
        };
        let [known, strangers] = &self.budgets;
        match device.is_some() || is_known() {
            true => known,
            false => strangers,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere while it was held leaves tables that are whole: each change is one insertion or removal.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn know(&mut self, remote: IpAddr, now: Instant) {
        let remote = peer(remote);
        if !self.known.contains_key(&remote) && self.known.len() >= MAX_KNOWN {
            let oldest = self.known.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(remote, now);
    }
}

impl Turn<'_> {
    /// The password was wrong.
    pub(super) fn failed(self, now: Instant) {
        let mut state = self.guard.lock();
        match self.device {
            Some(device) => state.devices.failed(device, now),
            None => {
                state.names.failed(self.name, now);
                state.addresses.failed(self.remote, now);
            }
        }
    }

    /// It was right.
    pub(super) fn succeeded(self, now: Instant) {
        let mut state = self.guard.lock();
        match self.device {
            // The guesses of others go on counting.
            Some(device) => state.devices.succeeded(device),
            None => state.names.succeeded(self.name),
        }
        state.addresses.succeeded(self.remote);
        state.know(self.remote, now);
    }
}

impl Device {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut number = [0; NUMBER_BYTES];
        getrandom::fill(&mut number)?;
        Ok(Self(number))
    }

    /// What its cookie holds: good for this name alone.
    pub fn seal(self, name: &str, key: &[u8; 32]) -> Secret {
        let mut bytes = self.0.to_vec();
        bytes.extend_from_slice(&self.sealed(name, key).as_ref()[..SEAL_BYTES]);
        Secret::new(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The one of a cookie, where that name was let in by it.
    pub fn unseal(value: &str, name: &str, key: &[u8; 32]) -> Option<Self> {
        if value.len() > 2 * (NUMBER_BYTES + SEAL_BYTES) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (number, seal) = bytes.split_at_checked(NUMBER_BYTES)?;
        let device = Self(number.try_into().ok()?);
        let ours = device.sealed(name, key);
        let is_ours: bool = subtle::ConstantTimeEq::ct_eq(ours.as_ref().get(..SEAL_BYTES)?, seal).into();
        is_ours.then_some(device)
    }

    fn sealed(self, name: &str, key: &[u8; 32]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        context.update(&self.0);
        context.update(name.to_lowercase().as_bytes());
        context.sign()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWNER: &str = "192.0.2.1";

    fn address(number: u32) -> IpAddr {
        IpAddr::from([10, 0, (number >> 8) as u8, number as u8])
    }

    fn owner() -> IpAddr {
        OWNER.parse().unwrap()
    }

    #[test]
    fn a_name_waits_for_strangers_and_not_for_its_owner() {
        let (guard, now) = (Guard::default(), Instant::now());
        let device = Device::new().unwrap();
        for guesser in 0..10 {
            guard.ask("anna", address(guesser), None, now).unwrap().failed(now);
        }
        guard.ask("Anna", address(77), None, now).unwrap().failed(now);
        assert_eq!(
            guard.ask("anna", address(78), None, now).unwrap_err(),
            Duration::from_secs(1)
        );
        assert!(guard.ask("ben", address(78), None, now).is_ok(), "another name");
        let turn = guard.ask("anna", owner(), Some(device), now).unwrap();
        turn.succeeded(now);
        assert!(
            guard.ask("anna", address(78), None, now).is_err(),
            "the guesses of others count on"
        );
        let later = now + Duration::from_secs(1);
        assert!(guard.ask("anna", address(78), None, later).is_ok());
    }

    #[test]
    fn a_device_has_a_brake_of_its_own() {
        let (guard, now) = (Guard::default(), Instant::now());
        let [device, other] = [(); 2].map(|()| Device::new().unwrap());
        for _ in 0..11 {
            guard.ask("anna", owner(), Some(device), now).unwrap().failed(now);
        }
        assert!(guard.ask("anna", owner(), Some(device), now).is_err());
        assert!(guard.ask("anna", owner(), Some(other), now).is_ok());
        assert!(
            guard.ask("anna", address(1), None, now).is_ok(),
            "it is no guess of a stranger"
        );
    }

    #[test]
    fn known_addresses_have_hashes_of_their_own() {
        let (guard, now) = (Guard::default(), Instant::now());
        guard.ask("anna", owner(), None, now).unwrap().succeeded(now);
        while guard.budget(address(1), None, now).take(now).is_ok() {}
        assert!(
            guard.budget(address(2), None, now).take(now).is_err(),
            "strangers share theirs"
        );
        assert!(guard.budget(owner(), None, now).take(now).is_ok());
        let device = Device::new().unwrap();
        assert!(guard.budget(address(3), Some(device), now).take(now).is_ok());
        let tomorrow = now + KNOWN_FOR;
        assert!(std::ptr::eq(
            guard.budget(owner(), None, tomorrow),
            guard.budget(address(1), None, tomorrow)
        ));
    }

    #[test]
    fn known_addresses_are_limited() {
        let (guard, now) = (Guard::default(), Instant::now());
        for number in 0..=MAX_KNOWN as u32 {
            guard.succeeded(address(number), now + Duration::from_millis(u64::from(number)));
        }
        assert_eq!(guard.lock().known.len(), MAX_KNOWN);
    }

    #[test]
    fn a_device_is_good_for_its_name_alone() {
        let (device, key) = (Device::new().unwrap(), [7; 32]);
        let cookie = device.seal("anna", &key);
        let unseal = |name, key| Device::unseal(cookie.expose(), name, key);
        assert_eq!(unseal("anna", &key), Some(device));
        assert_eq!(unseal("ANNA", &key), Some(device));
        assert_eq!((unseal("ben", &key), unseal("anna", &[8; 32])), (None, None));
        for wrong in ["", "AAAA", &"A".repeat(43), &"A".repeat(10_000), "ậ"] {
            assert_eq!(Device::unseal(wrong, "anna", &key), None);
        }
    }

    proptest! {
        /// Whoever guesses, however they take turns: the owner with a device waits for nothing, without one a minute at most.
        #[test]
        fn the_owner_is_never_locked_out(guesses in prop::collection::vec((0_u32..1_000, 0_u64..5_000), 1..400)) {
            let (guard, begin) = (Guard::default(), Instant::now());
            let device = Device::new().unwrap();
            let mut now = begin;
            for (guesser, pause_ms) in guesses {
                now += Duration::from_millis(pause_ms);
                if let Ok(turn) = guard.ask("anna", address(guesser), None, now) {
                    turn.failed(now);
                }
                prop_assert!(guard.ask("anna", owner(), Some(device), now).is_ok());
                let wait = guard.ask("anna", owner(), None, now).err().unwrap_or_default();
                prop_assert!(wait <= Duration::from_secs(60));
            }
        }
    }
}
