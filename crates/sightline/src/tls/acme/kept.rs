//! What is kept of a certificate authority: the key of our account there, and the certificate that it issued.

use std::time::Duration;

use media::WallTime;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_cert::der::Decode as _;

use super::seconds;
use crate::state::{Error, Folder};

const FILE: &str = "acme.json";
pub(super) const VERSION: u32 = 1;

/// The file. It holds keys: nothing of it is quoted.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    pub(super) version: u32,
    /// Where the authority is asked that both are of.
    pub(super) directory: String,
    pub(super) account: Option<serde_json::Value>,
    pub(crate) certificate: Option<Certificate>,
}

/// One that was issued.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    /// In order.
    domains: Vec<String>,
    /// Seconds since 1970, as it says itself.
    begins_s: i64,
    ends_s: i64,
    /// PEM: ours first, then those between it and the root.
    chain: String,
    /// PEM.
    key: String,
}

impl Kept {
    /// # Errors
    /// When the file is there and cannot be read.
    pub(crate) fn read(folder: &Folder) -> Result<Option<Self>, Error> {
        let Some(bytes) = folder.read(FILE)? else {
            return Ok(None);
        };
        let kept: Option<Self> = serde_json::from_slice(&bytes).ok();
        let kept = kept.filter(|kept| kept.version == VERSION);
        kept.map(Some).ok_or_else(|| Error::Damaged {
            path: folder.path().join(FILE),
            why: "it holds no account and certificate of a certificate authority".to_owned(),
            remedy: "restore it, or delete it: a new account is made then and a new certificate asked for",
        })
    }

    pub(super) fn write(&self, folder: &Folder) -> Result<(), Error> {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        folder.write(FILE, text.as_bytes())
    }
}

impl Certificate {
    /// From what an authority gave; or why it cannot be used.
    pub(super) fn issued(domains: &[String], chain: String, key: String) -> Result<Self, String> {
        let (begins_s, ends_s) = validity(chain.as_bytes()).ok_or("it holds no certificate")?;
        let mut domains = domains.to_vec();
        domains.sort_unstable();
        domains.dedup();
        let certificate = Self {
            domains,
            begins_s,
            ends_s,
            chain,
            key,
        };
        certificate.certified().map_err(|error| error.to_string())?;
        Ok(certificate)
    }

    pub(super) fn is_for(&self, domains: &[String]) -> bool {
        let mut domains = domains.to_vec();
        domains.sort_unstable();
        domains.dedup();
        domains == self.domains
    }

    /// As TLS takes it.
    pub(super) fn certified(&self) -> Result<CertifiedKey, rustls::Error> {
        let damaged = |error: rustls::pki_types::pem::Error| rustls::Error::General(error.to_string());
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(damaged)?;
        CertifiedKey::from_der(chain.map_err(damaged)?, key, &crate::tls::provider())
    }

    /// How long until a newer one is asked for: when a third of its time is left. `None`: now.
    pub(super) fn due_in(&self, now: WallTime) -> Option<Duration> {
        let life_s = self.ends_s.saturating_sub(self.begins_s);
        let due_s = self.ends_s.saturating_sub(life_s / 3);
        let wait_s = u64::try_from(due_s.saturating_sub(seconds(now))).ok()?;
        (wait_s > 0).then(|| Duration::from_secs(wait_s))
    }

    /// How long it is valid yet.
    pub(super) fn left(&self, now: WallTime) -> Duration {
        let left_s = self.ends_s.saturating_sub(seconds(now));
        Duration::from_secs(u64::try_from(left_s).unwrap_or(0))
    }

    pub(super) fn ends(&self) -> WallTime {
        WallTime::from_unix_micros(self.ends_s.saturating_mul(1_000_000))
    }

    /// For `sightline doctor`: seconds that are left, and whether a newer one should have been there already.
    pub(crate) fn state(&self, now: WallTime) -> (i64, bool) {
        let left_s = self.ends_s.saturating_sub(seconds(now));
        let life_s = self.ends_s.saturating_sub(self.begins_s);
        (left_s, left_s < life_s / 6)
    }
}

/// From when to when the first certificate of a file is valid, in seconds since 1970 (RFC 5280 §4.1.2.5).
pub(crate) fn validity(pem: &[u8]) -> Option<(i64, i64)> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let certificate = x509_cert::Certificate::from_der(&der).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let [begins, ends] = [validity.not_before, validity.not_after].map(|at| at.to_unix_duration().as_secs());
    Some((i64::try_from(begins).ok()?, i64::try_from(ends).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 86_400;

    fn certificate(domains: &[&str]) -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["cam.example.org".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let chain = params.self_signed(&key).unwrap().pem();
        let domains: Vec<String> = domains.iter().map(ToString::to_string).collect();
        Certificate::issued(&domains, chain, key.serialize_pem()).unwrap()
    }

    /// Of the 90 days of that certificate.
    fn day(days: i64) -> WallTime {
        let begins: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        WallTime::from_unix_micros(begins.as_microsecond() + days * DAY_S * 1_000_000)
    }

    #[test]
    fn it_is_due_when_a_third_is_left_and_late_at_a_sixth() {
        let certificate = certificate(&["cam.example.org"]);
        let due = |days: i64| certificate.due_in(day(days)).map(|wait| wait.as_secs() as i64 / DAY_S);
        assert_eq!(
            [-10, 0, 59, 60, 89, 200].map(due),
            [Some(70), Some(60), Some(1), None, None, None]
        );
        let states = [0, 74, 76, 91].map(|days| certificate.state(day(days)));
        assert_eq!(
            states,
            [
                (90 * DAY_S, false),
                (16 * DAY_S, false),
                (14 * DAY_S, true),
                (-DAY_S, true)
            ]
        );
        assert_eq!(certificate.left(day(100)), Duration::ZERO);
    }

    #[test]
    fn it_is_for_the_same_names_in_any_order() {
        let certificate = certificate(&["b.example", "a.example", "b.example"]);
        let is_for =
            |domains: &[&str]| certificate.is_for(&domains.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(is_for(&["a.example", "b.example"]) && is_for(&["b.example", "a.example"]));
        assert!(!is_for(&["a.example"]) && !is_for(&["a.example", "b.example", "c.example"]));
    }

    #[test]
    fn a_damaged_file_is_reported_and_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::open(base.path().join("state")).unwrap();
        assert!(Kept::read(&folder).unwrap().is_none());
        let kept = Kept {
            version: VERSION,
            directory: "https://ca.example/".to_owned(),
            account: None,
            certificate: Some(certificate(&["cam.example.org"])),
        };
        kept.write(&folder).unwrap();
        let read = Kept::read(&folder).unwrap().unwrap();
        assert!(read.certificate.unwrap().certified().is_ok());
        for damaged in [
            "",
            "{\"version\":1,\"key\":\"canary\"}",
            "{\"version\":2,\"directory\":\"x\"}",
        ] {
            folder.write(FILE, damaged.as_bytes()).unwrap();
            let error = Kept::read(&folder).err().unwrap().to_string();
            assert!(error.contains("delete it") && !error.contains("canary"), "{error}");
        }
        assert!(Certificate::issued(&[], String::new(), String::new()).is_err());
    }
}
