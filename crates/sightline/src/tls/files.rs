//! A certificate in files, as certbot and other programs keep it: read at the start, and again whenever it was renewed.
//!
//! Belongs here: reading both files, noticing that they changed, keeping what was good where the new ones are not. Does not belong here: who
//! renews them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::Shown;
use crate::files::Stamp;
use crate::shutdown::Shutdown;

/// How often they are looked at.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// So many looks in a row must find the same files before those that do not fit are told of: whoever renews them writes one after the other.
const PATIENCE_LOOKS: u32 = 5;
/// No certificate chain is longer. It bounds what is read where the wrong file is named.
const MAX_BYTES: u64 = 1 << 20;

/// Where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// PEM: our certificate first, then those between it and the root.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, SEC 1 or PKCS #1.
    pub key: PathBuf,
}

/// Why they cannot be used. Nothing of a key is quoted.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// One cannot be read.
    #[error("{path} cannot be read: {error}; {hint}", hint = hint(error))]
    Read {
        /// Which.
        path: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// One is not what it should be.
    #[error("{path} {why}")]
    Content {
        /// Which.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// They do not belong together, or the kind of key is not known.
    #[error("{certificate} and {key} cannot be used together: {error}; the key must be that of the first certificate")]
    Pair {
        /// The certificate.
        certificate: String,
        /// The key.
        key: String,
        /// What TLS says.
        error: rustls::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "let the user of this program read it (certbot's are for root alone: copy them in a deploy hook)"
        }
        _ => "tls.certificate, tls.key and acme.root name such files",
    }
}

/// Files that are read again when they change.
pub(super) struct Watched {
    files: Files,
    /// How they were when they were read the last time.
    known: Mutex<Stamps>,
}

type Stamps = [Option<Stamp>; 2];

impl Watched {
    /// Reads them for the first time.
    pub(super) fn load(files: Files) -> Result<(Self, CertifiedKey), Unusable> {
        let known = files.stamps();
        let key = files.read()?;
        let known = Mutex::new(known);
        Ok((Self { files, known }, key))
    }

    /// Shows what is in them from each change on, until the program ends.
    pub(super) async fn run(&self, shown: &Shown, shutdown: Shutdown) {
        let mut failing = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.requested() => return,
            }
            // Two small files: not worth a thread.
            failing = self.look(shown, failing);
        }
    }

    /// Looks once. `failing`: how they were when they could not be used, and for how many looks.
    fn look(&self, shown: &Shown, failing: Option<(Stamps, u32)>) -> Option<(Stamps, u32)> {
        let found = self.files.stamps();
        if *self.known.lock().unwrap_or_else(PoisonError::into_inner) == found {
            return None;
        }
        match self.files.read() {
            Ok(key) => {
                shown.set(key);
                tracing::info!(certificate = %self.files.certificate.display(), "the certificate was renewed; connections that begin now are shown it");
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = found;
                None
            }
            Err(error) => {
                let looks = match failing {
                    Some((before, looks)) if before == found => looks.saturating_add(1),
                    _ => 1,
                };
                if looks == PATIENCE_LOOKS {
                    tracing::error!(reason = %error, "the renewed certificate cannot be used; the one before is shown further on");
                }
                Some((found, looks))
            }
        }
    }
}

impl Files {
    /// Whether a server could use them.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn check(&self) -> Result<(), Unusable> {
        self.read().map(drop)
    }

    fn stamps(&self) -> Stamps {
        [&self.certificate, &self.key].map(|path| Stamp::of(path))
    }

    fn read(&self) -> Result<CertifiedKey, Unusable> {
        let chain = certificates_of(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?);
        let key = key.map_err(|error| content(&self.key, "private key", &error))?;
        CertifiedKey::from_der(chain, key, &super::provider()).map_err(|error| Unusable::Pair {
            certificate: self.certificate.display().to_string(),
            key: self.key.display().to_string(),
            error,
        })
    }
}

/// All certificates of a file, of which there is one at least.
///
/// # Errors
/// [`Unusable`].
pub fn certificates_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let found = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| content(path, "certificate", &error))?;
    if found.is_empty() {
        return Err(content(path, "certificate", &pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, Unusable> {
    let metadata = fs::metadata(path);
    let bytes = match metadata {
        Ok(metadata) if metadata.len() > MAX_BYTES => Err(io::ErrorKind::FileTooLarge.into()),
        Ok(_) => fs::read(path),
        Err(error) => Err(error),
    };
    bytes.map_err(|error| Unusable::Read {
        path: path.display().to_string(),
        error,
    })
}

fn content(path: &Path, what: &str, error: &pem::Error) -> Unusable {
    // What exactly is wrong is not told: it may be a line of a key.
    let why = match error {
        pem::Error::NoItemsFound => format!("holds no {what} as PEM (`-----BEGIN …-----`)"),
        _ => format!("holds a {what} that is damaged"),
    };
    Unusable::Content {
        path: path.display().to_string(),
        why,
    }
}
