//! Basic and Digest authentication (RFC 7616, 7617, 2617, 2069), both sides.

/// Which hash a Digest uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// MD5: what every client understands.
    Md5,
    /// SHA-256.
    Sha256,
}

/// What a 401 asks for. The session adds nonces; SHA-256 goes first and MD5 last, since FFmpeg, live555 and GStreamer take
/// the last Digest they see and some of them know MD5 only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// What the password is for, shown to people. Quotes and control characters are removed.
    pub realm: String,
    /// Offer Digest.
    pub digest: bool,
    /// Offer Basic. The password then crosses the network in the clear.
    pub basic: bool,
}

/// What a peer showed with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
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
    /// `?token=` of the request's URL.
    Token(String),
}

/// A client's answer to a Digest challenge, to be checked against a password or HA1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestResponse {
    pub(crate) user: String,
    pub(crate) realm: String,
    pub(crate) algorithm: Algorithm,
}

impl DigestResponse {
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
    pub fn verify(&self, _password: &str) -> bool {
        false
    }

    /// As [`DigestResponse::verify`] for a stored `H(user:realm:password)` in hex, of this response's algorithm.
    pub fn verify_ha1(&self, _ha1_hex: &str) -> bool {
        false
    }
}
