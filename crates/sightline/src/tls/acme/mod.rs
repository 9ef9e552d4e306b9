//! A certificate that a certificate authority issues to us by ACME (RFC 8555): asked for, kept, renewed.
//!
//! Belongs here: when it is asked for ([`schedule`]), how ([`order`], by [`asking`]), the answers to its challenges ([`challenges`]), what is
//! kept in the state folder ([`kept`]). Does not belong here: who is shown the certificate ([`super`]), where challenges come in
//! ([`crate::http`]).
//!
//! Nothing is sent to anybody before [`Acme::run`], and that is not called unless there are names in the settings.

mod asking;
mod challenges;
mod kept;
mod order;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{Account, AccountCredentials, NewAccount};
use media::{Clock, WallTime};
use rustls::sign::CertifiedKey;
use url::Url;

use super::{OpenFolder, Shown};
use crate::config::settings::AcmeChallenge;
use crate::shutdown::Shutdown;
use crate::state::Folder;
use crate::trust::Trust;
use asking::Asking;
pub(super) use challenges::{Challenges, PROTOCOL};
pub(crate) use kept::{Certificate, Kept, validity};
use order::Issuing;
use schedule::{Failure, Schedule};

/// What is asked for, and of whom.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The names.
    pub domains: Vec<String>,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// Where it is asked.
    pub directory: Url,
    /// Whether it is believed to be itself.
    pub trust: Trust,
    /// How it finds out that the names are ours.
    pub challenge: AcmeChallenge,
}

/// Asks for certificates.
pub(super) struct Acme {
    pub(super) wish: Wish,
    pub(super) folder: OpenFolder,
    pub(super) challenges: Arc<Challenges>,
    pub(super) clock: Arc<dyn Clock>,
    /// Any number, each time another.
    pub(super) chance: fn() -> u64,
}

/// Clocks are set and machines sleep: how long is left is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

impl Acme {
    /// What was kept by the run before, as it can be shown.
    pub(super) fn kept(&self) -> Option<CertifiedKey> {
        let certificate = self.read().ok()??.certificate?;
        certificate.certified().ok()
    }

    /// Sees to it that there is a certificate, and a newer one in time, until the program ends.
    pub(super) async fn run(&self, shown: &Shown, shutdown: Shutdown) {
        tokio::select! {
            () = self.keep(shown) => {}
            () = shutdown.requested() => {}
        }
    }

    async fn keep(&self, shown: &Shown) {
        let mut schedule = Schedule::default();
        let mut current = self.read().ok().flatten().and_then(|kept| self.usable(kept));
        loop {
            while let Some(wait) = current.as_ref().and_then(|current| current.due_in(self.clock.wall())) {
                tokio::time::sleep(wait.min(LOOK_AGAIN)).await;
            }
            match self.renew(&schedule).await {
                Ok(certificate) => {
                    schedule = Schedule::default();
                    self.show(&certificate, shown);
                    current = Some(certificate);
                }
                Err(failure) => {
                    let wait = schedule.failed(&failure, (self.chance)());
                    let again_in_s = wait.as_secs();
                    let left = current.as_ref().map(|current| current.left(self.clock.wall()));
                    match left {
                        // What is shown is good for a while.
                        Some(left) if left > wait * 2 => {
                            tracing::warn!(reason = %failure, again_in_s, "the certificate could not be renewed");
                        }
                        _ => {
                            tracing::error!(reason = %failure, again_in_s, "there is no certificate that browsers believe");
                        }
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn show(&self, certificate: &Certificate, shown: &Shown) {
        match certificate.certified() {
            Ok(key) => shown.set(key),
            // It was looked at when it came.
            Err(error) => return tracing::error!(reason = %error, "the new certificate cannot be used"),
        }
        let ends = certificate.ends().to_rfc3339();
        let domains = self.wish.domains.join(", ");
        tracing::info!(
            domains,
            ends,
            "a certificate was issued; connections that begin now are shown it"
        );
    }

    /// The certificate that is kept, where it is what is wished for.
    fn usable(&self, kept: Kept) -> Option<Certificate> {
        let of_this_one = kept.directory == self.wish.directory.as_str();
        let certificate = kept.certificate.filter(|_| of_this_one)?;
        (certificate.is_for(&self.wish.domains) && certificate.certified().is_ok()).then_some(certificate)
    }

    /// Asks once.
    async fn renew(&self, schedule: &Schedule) -> Result<Certificate, Failure> {
        // First of all: a key that cannot be kept would be another account at each start.
        let mut kept = self.read().map_err(|error| Failure::Ours(error.to_string()))?;
        let asking = Asking::new(self.wish.trust.clone());
        let (account, kept) = self.account(&asking, kept.take()).await?;
        let issuing = Issuing {
            account: &account,
            asking: &asking,
            challenges: &self.challenges,
            wish: &self.wish,
            kind: schedule.challenge(self.wish.challenge),
        };
        let issued = issuing.issue().await;
        if let Err(Failure::NoAccount(_)) = &issued {
            // Test servers forget them. The next time there is a new one.
            self.write(&Kept {
                account: None,
                ..kept.clone()
            })?;
        }
        let certificate = issued?;
        let kept = Kept {
            certificate: Some(certificate.clone()),
            ..kept
        };
        if let Err(failure) = self.write(&kept) {
            tracing::error!(reason = %failure, "the certificate cannot be kept: the next start asks for another");
        }
        Ok(certificate)
    }

    /// The account of the key that is kept, or a new one.
    async fn account(&self, asking: &Asking, kept: Option<Kept>) -> Result<(Account, Kept), Failure> {
        let directory = self.wish.directory.to_string();
        let kept = kept.filter(|kept| kept.directory == directory);
        let builder = Account::builder_with_http(Box::new(asking.clone()));
        let credentials = kept.as_ref().and_then(|kept| kept.account.clone());
        let credentials = credentials.and_then(|account| serde_json::from_value::<AccountCredentials>(account).ok());
        if let (Some(credentials), Some(kept)) = (credentials, kept.clone()) {
            let account = builder.from_credentials(credentials).await;
            return Ok((account.map_err(|error| asking.failure(error))?, kept));
        }
        let contact = self.wish.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            // Checked where the settings are read.
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let made = builder.create(&new, directory.clone(), None).await;
        let (account, credentials) = made.map_err(|error| asking.failure(error))?;
        let kept = Kept {
            version: kept::VERSION,
            directory,
            account: serde_json::to_value(&credentials).ok(),
            certificate: kept.and_then(|kept| kept.certificate),
        };
        self.write(&kept)?;
        tracing::info!(
            authority = self.wish.directory.host_str(),
            "an account was made at the certificate authority"
        );
        Ok((account, kept))
    }

    // Small files, hours apart: not worth a thread.
    fn read(&self) -> Result<Option<Kept>, crate::state::Error> {
        Kept::read(&(self.folder)()?)
    }

    fn write(&self, kept: &Kept) -> Result<(), Failure> {
        let written = (self.folder)().and_then(|folder: Folder| kept.write(&folder));
        written.map_err(|error| Failure::Ours(error.to_string()))
    }
}

/// Whether a handshake was nothing but a look at a challenge: nothing is said after it (RFC 8737 §3).
pub fn is_challenge(protocol: Option<&[u8]>) -> bool {
    protocol == Some(PROTOCOL)
}

/// Seconds since 1970.
fn seconds(at: WallTime) -> i64 {
    at.unix_micros().div_euclid(1_000_000)
}
