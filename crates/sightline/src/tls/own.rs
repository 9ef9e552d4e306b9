//! A certificate of our own: made at the first start, kept in the state folder.
//!
//! Belongs here: making, keeping and loading it. Does not belong here: certificates that somebody else signed ([`super::files`]).
//!
//! Nobody vouches for it, so browsers warn once.

use std::sync::Arc;

use jiff::tz::TimeZone;
use media::WallTime;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

use crate::state::{self, Folder};

/// Opens the state folder.
pub type OpenFolder = Arc<dyn Fn() -> Result<Folder, state::Error> + Send + Sync>;

const FILE: &str = "certificate.json";
/// How long it is valid: Apple's systems take no longer ones, even of somebody they were told to trust.
const LIFE_S: i64 = 820 * DAY_S;
/// It is replaced at a start when it has been used for so long.
const USE_S: i64 = 730 * DAY_S;
const DAY_S: i64 = 86_400;

/// Certificate and key, as text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    /// Seconds since 1970.
    made_s: i64,
    certificate: String,
    key: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error("the certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("TLS does not take the certificate: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the certificate is no PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
}

/// Where it is kept, and for whom it is.
#[derive(Clone)]
pub(super) struct Own {
    pub(super) folder: OpenFolder,
    /// Names and addresses of this machine beside `localhost`.
    pub(super) names: fn() -> Vec<String>,
}

impl Own {
    /// Makes it at the first start, or when the old one has had its time.
    pub(super) fn make_if_missing(&self, now: WallTime) -> Result<(), Error> {
        load_or_make(&(self.folder)()?, self.names, now).map(drop)
    }

    /// What is kept; where that cannot be, one for this run, which is better than none.
    pub(super) fn load(&self, now: WallTime) -> Result<CertifiedKey, Error> {
        let kept = || {
            let folder = (self.folder)()?;
            let stored = load_or_make(&folder, self.names, now)?;
            certified(&stored).map_err(|_| damaged(&folder))
        };
        kept().or_else(|error| {
            tracing::warn!(reason = %error, "TLS uses a certificate for this run alone: browsers will ask again after the next start");
            certified(&make((self.names)(), now)?)
        })
    }
}

fn load_or_make(folder: &Folder, names: fn() -> Vec<String>, now: WallTime) -> Result<Stored, Error> {
    let is_good = |stored: &Stored| {
        let age_s = seconds(now).saturating_sub(stored.made_s);
        // A clock that went back says nothing about the certificate.
        age_s < USE_S
    };
    if let Some(stored) = load(folder)?.filter(is_good) {
        return Ok(stored);
    }
    let _lock = folder.lock()?;
    // Somebody else may have made it while we waited.
    if let Some(stored) = load(folder)?.filter(is_good) {
        return Ok(stored);
    }
    let stored = make(names(), now)?;
    let mut text = serde_json::to_string_pretty(&stored).unwrap_or_default();
    text.push('\n');
    folder.write(FILE, text.as_bytes())?;
    Ok(stored)
}

fn load(folder: &Folder) -> Result<Option<Stored>, Error> {
    let Some(bytes) = folder.read(FILE)? else {
        return Ok(None);
    };
    let stored: Option<Stored> = serde_json::from_slice(&bytes).ok();
    let stored = stored.filter(|stored| stored.version == 1);
    stored.map(Some).ok_or_else(|| damaged(folder))
}

/// It is a key: nothing of it is quoted.
fn damaged(folder: &Folder) -> Error {
    Error::State(state::Error::Damaged {
        path: folder.path().join(FILE),
        why: "it holds no certificate and key that belong together".to_owned(),
        remedy: "restore it, or delete it to get a new one (browsers will ask again whether to trust it)",
    })
}

fn make(names: Vec<String>, now: WallTime) -> Result<Stored, Error> {
    let key = KeyPair::generate()?;
    let mut all = vec!["localhost".to_owned()];
    all.extend(names);
    let mut params = CertificateParams::new(all)?;
    params.distinguished_name.push(DnType::CommonName, "Sightline");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // A day early, for clocks that are behind.
    let [(year, month, day), (last_year, last_month, last_day)] =
        [seconds(now).saturating_sub(DAY_S), seconds(now).saturating_add(LIFE_S)].map(date);
    params.not_before = date_time_ymd(year, month, day);
    params.not_after = date_time_ymd(last_year, last_month, last_day);
    let certificate = params.self_signed(&key)?;
    Ok(Stored {
        version: 1,
        made_s: seconds(now),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// Year, month and day.
fn date(at_s: i64) -> (i32, u8, u8) {
    let at = jiff::Timestamp::from_second(at_s).unwrap_or_default();
    let date = at.to_zoned(TimeZone::UTC).date();
    let number = |number: i8| u8::try_from(number).unwrap_or(1);
    (date.year().into(), number(date.month()), number(date.day()))
}

fn certified(stored: &Stored) -> Result<CertifiedKey, Error> {
    let certificate = CertificateDer::from_pem_slice(stored.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(stored.key.as_bytes())?;
    Ok(CertifiedKey::from_der(vec![certificate], key, &super::provider())?)
}

fn seconds(at: WallTime) -> i64 {
    at.unix_micros().div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> WallTime {
        WallTime::from_unix_micros(1_800_000_000_000_000)
    }

    fn after_days(days: i64) -> WallTime {
        noon().offset_micros(days * DAY_S * 1_000_000)
    }

    fn names() -> Vec<String> {
        vec!["pi".to_owned(), "192.168.1.5".to_owned(), "fd00::1".to_owned()]
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::open(base.path().join("state")).unwrap();
        (base, folder)
    }

    #[test]
    fn it_is_made_once_kept_and_replaced_after_two_years() {
        let (_base, folder) = folder();
        let first = load_or_make(&folder, names, noon()).unwrap();
        for days in [-400, 0, 729] {
            let again = load_or_make(&folder, names, after_days(days)).unwrap();
            assert_eq!(again.certificate, first.certificate, "after {days} days");
        }
        let later = load_or_make(&folder, names, after_days(730)).unwrap();
        assert!(later.certificate != first.certificate && later.key != first.key);
        let kept = load_or_make(&folder, names, after_days(731)).unwrap();
        assert_eq!(kept.certificate, later.certificate);
    }

    #[test]
    fn a_damaged_one_is_reported_and_left_alone() {
        let (base, folder) = folder();
        let good = load_or_make(&folder, names, noon()).unwrap();
        let other = Stored {
            key: make(names(), noon()).unwrap().key,
            ..good
        };
        let mixed = serde_json::to_string(&other).unwrap();
        let open: OpenFolder = Arc::new(move || Folder::open(base.path().join("state")));
        for text in ["", "{\"version\":1,\"key\":\"canary", &mixed] {
            folder.write(FILE, text.as_bytes()).unwrap();
            let loaded = load_or_make(&folder, names, noon());
            if let Err(error) = loaded.map(drop) {
                let error = error.to_string();
                assert!(
                    error.contains("delete it to get a new one") && !error.contains("canary"),
                    "{error}"
                );
            } else {
                assert_eq!(
                    text, mixed,
                    "only a key that is another's is not noticed before it is used"
                );
            }
            let own = Own {
                folder: Arc::clone(&open),
                names,
            };
            assert!(own.load(noon()).is_ok(), "there is one for this run");
            assert_eq!(folder.read(FILE).unwrap().unwrap(), text.as_bytes());
        }
    }
}
