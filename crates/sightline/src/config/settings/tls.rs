//! The certificate of HTTPS and RTSPS: from files, or from a certificate authority.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::authority::{Directory, Domain};

/// The certificate that HTTPS and RTSPS show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// File with the certificate and those between it and the root, as PEM: certbot's fullchain.pem. When it is renewed there, connections
    /// that begin from then on are shown the new one.
    #[schemars(example = "/etc/sightline/fullchain.pem")]
    pub certificate: Option<PathBuf>,
    /// File with its key, as PEM: certbot's privkey.pem.
    #[schemars(example = "/etc/sightline/privkey.pem")]
    pub key: Option<PathBuf>,
}

/// A certificate that browsers believe, asked of a certificate authority by ACME.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    /// Names by which others reach this machine, such as ["cam.example.org"]: one certificate for all of them, renewed when a third of its time
    /// is left. Until the first is there, our own is shown. Empty: nobody is asked for anything.
    pub domains: Vec<Domain>,
    /// You have read the terms of the certificate authority and agree to them (those of Let's Encrypt: https://letsencrypt.org/repository/). It is
    /// not asked before.
    pub agree_to_terms: bool,
    /// Where it may write to about certificates. Let's Encrypt does not need it.
    #[schemars(example = "me@example.org")]
    pub email: Option<String>,
    /// How it finds out that the names are ours: "tls-alpn-01" connects to port 443 of each of them, which must lead to http.https_port;
    /// "http-01" to port 80, which must lead to http.port. "auto" tries one, and the other after a failure.
    pub challenge: AcmeChallenge,
    /// Where the certificate authority is asked: Let's Encrypt, or one of your own such as step-ca.
    pub directory: Directory,
    /// File with the root certificate of an authority that the operating system does not believe, as PEM.
    #[schemars(example = "/etc/sightline/root_ca.crt")]
    pub root: Option<PathBuf>,
}

/// See [`Acme::challenge`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum AcmeChallenge {
    /// One after the other.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// By TLS (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// By HTTP (RFC 8555 §8.3).
    #[serde(rename = "http-01")]
    Http01,
}
