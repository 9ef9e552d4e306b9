//! Basic and Digest authentication (RFC 7617, 7616, 2617, 2069), both sides.
//!
//! Belongs here: what stands in `WWW-Authenticate` and `Authorization`, and the sums. Does not belong here: who may do what,
//! where passwords are kept, which nonces a server gave out ([`super::server`]).

use std::fmt;
use std::hint::black_box;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::Digest as _;

use super::wire::strip_prefix_ignoring_case;

mod answer;
mod parameters;

pub use answer::digest;
pub(crate) use answer::{Answer, choose};
use parameters::{get, parse_challenges, quote};

/// Which hash a Digest uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// MD5: what every client understands.
    Md5,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// As it stands in a header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// None given means MD5. The `-sess` variants, which no camera is known to ask for, are unknown ones.
    fn parse(name: Option<&str>) -> Option<Self> {
        match name.unwrap_or("MD5").to_ascii_uppercase().as_str() {
            "MD5" => Some(Self::Md5),
            "SHA-256" => Some(Self::Sha256),
            _ => None,
        }
    }

    /// The hash of `parts` joined by colons, in lower-case hex.
    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Md5 => hex(&md5::Md5::digest(text)),
            Self::Sha256 => hex(&sha2::Sha256::digest(text)),
        }
    }

    /// `H(user:realm:password)` in hex: what may be stored in place of a password that Digest must work with.
    pub fn ha1(self, user: &str, realm: &str, password: &str) -> String {
        self.hash(&[user, realm, password])
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a 401 asks for. The session adds nonces; SHA-256 goes first and MD5 last, since FFmpeg, live555 and GStreamer take
/// the last Digest they see and some of them know MD5 only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// What the password is for, shown to people. Quotes, backslashes and what is not printable ASCII become `_`.
    pub realm: String,
    /// Offer Digest.
    pub digest: bool,
    /// Offer Basic. The password then crosses the network in the clear.
    pub basic: bool,
}

impl Challenge {
    /// The realm as it goes out: the one to store an HA1 with.
    pub fn realm(&self) -> String {
        let plain = |c: char| (c == ' ' || c.is_ascii_graphic()) && !matches!(c, '"' | '\\');
        self.realm
            .chars()
            .map(|c| if plain(c) { c } else { '_' })
            .take(128)
            .collect()
    }

    /// Values of the `WWW-Authenticate` headers. Realm and nonce come first, then `stale`: live555 (VLC) reads no other order.
    pub(crate) fn headers(&self, nonce: &str, stale: bool, qop: bool) -> Vec<String> {
        let realm = self.realm();
        let stale = if stale { ", stale=TRUE" } else { "" };
        let qop = if qop { ", qop=\"auth\"" } else { "" };
        let mut headers = Vec::new();
        if self.basic {
            headers.push(format!("Basic realm=\"{realm}\""));
        }
        if self.digest {
            headers.extend([Algorithm::Sha256, Algorithm::Md5].map(|algorithm| {
                let name = algorithm.name();
                format!("Digest realm=\"{realm}\", nonce=\"{nonce}\"{stale}, algorithm={name}{qop}")
            }));
        }
        headers
    }
}

/// What a peer showed with a request. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing, or nothing that can be used.
    None,
    /// User and password in the clear.
    Basic {
        /// Before the first colon.
        user: String,
        /// After it.
        password: String,
    },
    /// Proof of a password that is not sent.
    Digest(DigestResponse),
    /// `?token=` of the request's URL, or `Authorization: Bearer`.
    Token(String),
}

impl Credentials {
    /// Reads an `Authorization` header of a request with this method. What cannot be read is [`Credentials::None`].
    pub(crate) fn parse(header: &str, method: &str) -> Self {
        let header = header.trim();
        if let Some(encoded) = strip_prefix_ignoring_case(header, "Basic ") {
            let encoded = encoded.trim().trim_end_matches('=');
            let padding = "=".repeat((4 - encoded.len() % 4) % 4);
            let Ok(decoded) = BASE64_STANDARD.decode(format!("{encoded}{padding}")) else {
                return Self::None;
            };
            let decoded = String::from_utf8_lossy(&decoded);
            return match decoded.split_once(':') {
                Some((user, password)) => Self::Basic {
                    user: user.to_owned(),
                    password: password.to_owned(),
                },
                None => Self::None,
            };
        }
        if let Some(token) = strip_prefix_ignoring_case(header, "Bearer ") {
            return Self::Token(token.trim().to_owned());
        }
        DigestResponse::parse(header, method).map_or(Self::None, Self::Digest)
    }

    /// Who it claims to be: tells two peers apart on one connection, proves nothing.
    pub(crate) fn claimant(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Basic { user, .. } => Some(user),
            Self::Digest(digest) => Some(&digest.user),
            Self::Token(token) => Some(token),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Basic { user, .. } => write!(f, "Basic({user:?})"),
            Self::Digest(digest) => digest.fmt(f),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

/// A client's answer to a Digest challenge, to be checked against a password or HA1.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestResponse {
    method: String,
    user: String,
    realm: String,
    pub(crate) nonce: String,
    pub(crate) uri: String,
    response: String,
    algorithm: Algorithm,
    /// Absent in the old form of RFC 2069, which most RTSP clients send.
    pub(crate) auth: Option<Counted>,
}

/// `qop=auth`: the nonce count and the client's nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) count: u32,
    count_text: String,
    cnonce: String,
}

impl DigestResponse {
    fn parse(header: &str, method: &str) -> Option<Self> {
        let challenge = parse_challenges(header).into_iter().next()?;
        if !challenge.scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let of = |name| get(&challenge.parameters, name);
        let algorithm = Algorithm::parse(of("algorithm"))?;
        let auth = match of("qop") {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                let count_text = of("nc")?.to_owned();
                Some(Counted {
                    count: u32::from_str_radix(&count_text, 16).ok()?,
                    count_text,
                    cnonce: of("cnonce")?.to_owned(),
                })
            }
            Some(_) => return None,
        };
        Some(Self {
            method: method.to_owned(),
            user: of("username")?.to_owned(),
            realm: of("realm")?.to_owned(),
            nonce: of("nonce")?.to_owned(),
            uri: of("uri")?.to_owned(),
            response: of("response")?.to_ascii_lowercase(),
            algorithm,
            auth,
        })
    }

    /// The user it claims to be.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The realm of the challenge it answers.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The hash it used.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether this password made it. Takes the same time wherever the difference is.
    pub fn verify(&self, password: &str) -> bool {
        self.verify_ha1(&self.algorithm.ha1(&self.user, &self.realm, password))
    }

    /// As [`DigestResponse::verify`] for a stored [`Algorithm::ha1`] of this response's algorithm, user and realm.
    pub fn verify_ha1(&self, ha1_hex: &str) -> bool {
        let expected = self.expected(&ha1_hex.to_ascii_lowercase());
        is_same(expected.as_bytes(), self.response.as_bytes())
    }

    fn expected(&self, ha1: &str) -> String {
        let algorithm = self.algorithm;
        let ha2 = algorithm.hash(&[&self.method, &self.uri]);
        match &self.auth {
            Some(auth) => algorithm.hash(&[ha1, &self.nonce, &auth.count_text, &auth.cnonce, "auth", &ha2]),
            None => algorithm.hash(&[ha1, &self.nonce, &ha2]),
        }
    }
}

impl fmt::Debug for DigestResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:?}, {})", self.user, self.algorithm.name())
    }
}

/// Compares without stopping at the first difference, so that the time taken tells nothing of where it is.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    one.len() == other.len() && difference == 0
}

#[cfg(test)]
mod tests;
