//! What a certificate authority finds at our ports, as long as it looks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use instant_acme::{ChallengeType, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

/// What is agreed on by who looks by TLS (RFC 8737 §6.2).
pub(in crate::tls) const PROTOCOL: &[u8] = b"acme-tls/1";

/// Answers that are ready. There are as many as names in the settings, of which there is a limit.
#[derive(Default)]
pub(in crate::tls) struct Challenges(Mutex<Ready>);

#[derive(Default)]
struct Ready {
    /// By token, for HTTP.
    texts: HashMap<String, String>,
    /// By name, for TLS.
    certificates: HashMap<String, Arc<CertifiedKey>>,
}

/// One answer, which is taken away again when this is dropped.
pub(super) struct Answer {
    challenges: Arc<Challenges>,
    token: String,
    domain: String,
}

impl Drop for Answer {
    fn drop(&mut self) {
        let mut ready = self.challenges.lock();
        ready.texts.remove(&self.token);
        ready.certificates.remove(&self.domain);
    }
}

impl Challenges {
    /// Makes an answer ready.
    pub(super) fn answer(
        self: &Arc<Self>,
        kind: &ChallengeType,
        domain: &str,
        token: &str,
        says: &KeyAuthorization,
    ) -> Result<Answer, String> {
        let answer = Answer {
            challenges: Arc::clone(self),
            token: token.to_owned(),
            domain: domain.to_owned(),
        };
        if *kind == ChallengeType::TlsAlpn01 {
            let certificate = certificate(domain, says.digest().as_ref())?;
            let ready = Arc::new(certificate);
            self.lock().certificates.insert(domain.to_owned(), ready);
        } else {
            self.lock().texts.insert(token.to_owned(), says.as_str().to_owned());
        }
        Ok(answer)
    }

    /// For who asks by HTTP.
    pub(in crate::tls) fn text(&self, token: &str) -> Option<String> {
        self.lock().texts.get(token).cloned()
    }

    /// For who asks by TLS. The outer `None`: this is somebody else, who is shown our certificate.
    pub(in crate::tls) fn resolve(&self, hello: &ClientHello<'_>) -> Option<Option<Arc<CertifiedKey>>> {
        let mut offers = hello.alpn()?;
        // Nothing else beside it (RFC 8737 §3).
        let looks = offers.next() == Some(PROTOCOL) && offers.next().is_none();
        let found = || self.lock().certificates.get(hello.server_name()?).cloned();
        looks.then(found)
    }

    fn lock(&self) -> MutexGuard<'_, Ready> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// RFC 8737 §3: for that one name, with what the authority wants to see.
fn certificate(domain: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    let failed = |error: rcgen::Error| format!("the certificate for its challenge cannot be made: {error}");
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(vec![domain.to_owned()]).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = crate::tls::provider().key_provider.load_private_key(key);
    let key = key.map_err(|error| format!("the key for its challenge cannot be used: {error}"))?;
    // Without the look at whether both belong together, which does not know the extension.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}
