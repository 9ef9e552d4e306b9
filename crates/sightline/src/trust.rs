//! Whose certificates are believed, by everything here that asks by TLS.
//!
//! Belongs here: [`Trust`] as it is set, the verifier that holds to it and remembers what it refused, the settings of TLS that follow. Does not
//! belong here: our own certificate ([`crate::http`]), connections ([`crate::rtsp::client`], [`crate::fetch`]).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

/// Whose certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those that the operating system believes.
    #[default]
    System,
    /// This one alone, whatever is in it: cameras sign theirs themselves.
    Fingerprint(Fingerprint),
    /// Those that one of these signed, and nobody else's.
    Roots(Arc<[CertificateDer<'static>]>),
}

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHY: &str =
            "it is not the SHA-256 of a certificate: 64 hexadecimal digits, with or without colons between";
        let digits: Option<Vec<u8>> = (text.trim().chars().filter(|&c| c != ':'))
            .map(|c| c.to_digit(16).map(|digit| digit as u8))
            .collect();
        let bytes: Vec<u8> = (digits.ok_or(WHY)?.chunks(2))
            .filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)?))
            .collect();
        let long_enough = text.chars().filter(char::is_ascii_hexdigit).count() == 64;
        bytes.try_into().ok().filter(|_| long_enough).map(Self).ok_or(WHY)
    }
}

/// Believes what [`Trust`] says, and remembers what it did not believe.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    by_roots: Option<Arc<WebPkiServerVerifier>>,
    refused: Mutex<Option<Fingerprint>>,
}

impl Verifier {
    /// Reads what the operating system believes, where that is to be believed.
    ///
    /// # Errors
    /// Text for people, when what it believes cannot be used.
    pub(crate) fn new(trust: Trust) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        match &trust {
            Trust::Fingerprint(_) => {}
            Trust::System => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Trust::Roots(certificates) => {
                roots.add_parsable_certificates(certificates.iter().cloned());
            }
        }
        // Without any, nobody is believed, and the fingerprint is told.
        let roots = Some(roots).filter(|roots| !roots.is_empty());
        let by_roots = roots
            .map(|roots| WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build());
        let by_roots = by_roots.transpose().map_err(|error| error.to_string())?;
        Ok(Self {
            trust,
            provider,
            by_roots,
            refused: Mutex::default(),
        })
    }

    /// For another connection.
    pub(crate) fn again(&self) -> Self {
        Self {
            trust: self.trust.clone(),
            provider: Arc::clone(&self.provider),
            by_roots: self.by_roots.clone(),
            refused: Mutex::default(),
        }
    }

    /// What TLS is spoken with.
    ///
    /// # Errors
    /// Text for people.
    pub(crate) fn config(self: &Arc<Self>) -> Result<Arc<ClientConfig>, String> {
        let config =
            ClientConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?;
        let config = config.dangerous().with_custom_certificate_verifier(self.clone());
        Ok(Arc::new(config.with_no_client_auth()))
    }

    /// The certificate that was shown and not believed.
    pub(crate) fn refused(&self) -> Option<Fingerprint> {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint::of(certificate);
        let unknown = || rustls::CertificateError::UnknownIssuer.into();
        let verified = match (&self.trust, &self.by_roots) {
            (Trust::Fingerprint(trusted), _) if *trusted == shown => Ok(ServerCertVerified::assertion()),
            (Trust::Fingerprint(_), _) => Err(rustls::CertificateError::ApplicationVerificationFailure.into()),
            (Trust::System | Trust::Roots(_), Some(roots)) => {
                roots.verify_server_cert(certificate, others, name, ocsp, now)
            }
            (Trust::System | Trust::Roots(_), None) => Err(unknown()),
        };
        if verified.is_err() {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_people_copy_them() {
        let plain = "00ff".repeat(16);
        let fingerprint: Fingerprint = plain.parse().unwrap();
        assert_eq!(fingerprint.to_string(), plain);
        let with_colons = ["00:FF"; 16].join(":");
        assert_eq!(with_colons.parse(), Ok(fingerprint));
        for wrong in ["", "00ff", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64)] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
