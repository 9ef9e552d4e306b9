//! When a certificate authority is asked, and what happens when it does not give any.
//!
//! Without I/O, time and chance of its own.

use std::time::Duration;

use instant_acme::ChallengeType;

use crate::config::settings::AcmeChallenge;
use crate::publish::shortened;

/// Why there is no certificate. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody answers, or not as one should.
    #[error("{0}")]
    Unreachable(String),
    /// It does not want to.
    #[error("{0}")]
    Refused(String),
    /// It wants to be asked later.
    #[error("{why}")]
    Later { why: String, after: Duration },
    /// It does not know our key.
    #[error("{0}")]
    NoAccount(String),
    /// It did not find that a name is ours.
    #[error("{0}")]
    Challenge(String),
    /// Something on this machine.
    #[error("{0}")]
    Ours(String),
}

/// Who restarts is back within seconds, and asking costs nothing where nobody answers.
const UNREACHABLE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(3_600)];
/// Let's Encrypt takes five failed challenges an hour for a name, and one each twelve minutes after that.
const REFUSED: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(6 * 3_600)];
/// Whatever it says, one look a day.
const LATEST: Duration = Duration::from_secs(86_400);

/// What happened since the last certificate.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// In a row, of one kind.
    failures: u32,
    unreachable: bool,
    challenges: u32,
}

impl Schedule {
    /// How long to wait after a failure. `chance` is any number.
    pub(super) fn failed(&mut self, failure: &Failure, chance: u64) -> Duration {
        let unreachable = matches!(failure, Failure::Unreachable(_) | Failure::NoAccount(_));
        if unreachable != self.unreachable {
            self.failures = 0;
        }
        self.unreachable = unreachable;
        if let Failure::Challenge(_) = failure {
            self.challenges = self.challenges.wrapping_add(1);
        }
        let [first, longest] = if unreachable { UNREACHABLE } else { REFUSED };
        let factor = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let wait = shortened(first.saturating_mul(factor).min(longest), chance);
        match failure {
            Failure::Later { after, .. } => wait.max((*after).min(LATEST)),
            _ => wait,
        }
    }

    /// Which challenge is next: the other one after each that failed, where both will do.
    pub(super) fn challenge(&self, wish: AcmeChallenge) -> ChallengeType {
        match wish {
            AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
            AcmeChallenge::Http01 => ChallengeType::Http01,
            AcmeChallenge::Auto if self.challenges.is_multiple_of(2) => ChallengeType::TlsAlpn01,
            AcmeChallenge::Auto => ChallengeType::Http01,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_differ_by_who_is_at_fault() {
        let mut schedule = Schedule::default();
        let unreachable = Failure::Unreachable(String::new());
        let waits: Vec<u64> = (0..12).map(|_| schedule.failed(&unreachable, 0).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600]);
        // It is there now, and finds nothing at the name: at most five times in the first hour.
        let challenge = Failure::Challenge(String::new());
        let waits: Vec<u64> = (0..9).map(|_| schedule.failed(&challenge, 0).as_secs()).collect();
        assert_eq!(waits, [120, 240, 480, 960, 1_920, 3_840, 7_680, 15_360, 21_600]);
        let in_first_hour = (0..waits.len())
            .filter(|n| waits[..*n].iter().sum::<u64>() < 3_600)
            .count();
        assert_eq!(in_first_hour, 5);
        let after = Duration::from_secs(90_000);
        let later = Failure::Later {
            why: String::new(),
            after,
        };
        assert_eq!(schedule.failed(&later, 0), LATEST);
        for _ in 0..100 {
            assert!(schedule.failed(&unreachable, u64::MAX) <= UNREACHABLE[1]);
        }
    }

    #[test]
    fn the_other_challenge_is_tried_after_one_that_failed() {
        let mut schedule = Schedule::default();
        let mut next = |failure: Failure| {
            schedule.failed(&failure, 0);
            schedule.challenge(AcmeChallenge::Auto)
        };
        assert_eq!(next(Failure::Unreachable(String::new())), ChallengeType::TlsAlpn01);
        assert_eq!(next(Failure::Challenge(String::new())), ChallengeType::Http01);
        assert_eq!(next(Failure::Unreachable(String::new())), ChallengeType::Http01);
        assert_eq!(next(Failure::Challenge(String::new())), ChallengeType::TlsAlpn01);
        assert_eq!(schedule.challenge(AcmeChallenge::Http01), ChallengeType::Http01);
    }
}
