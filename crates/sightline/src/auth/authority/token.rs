//! JSON web tokens (RFC 7519) and the keys that they are signed with (RFC 7517).
//!
//! Belongs here: what of a JWK set is used, which key a token means, its signature, its claims. Does not belong here: where keys come from (`super::jwks`), what
//! claims allow (`super::permission`). No I/O, and the time is handed in.
//!
//! The method of a signature is the key's to say, never the token's alone: each key takes those of its kind, and the one that it names where it names one. Shared
//! secrets and `none` are in no list.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use media::WallTime;
use serde_json::{Map, Value};

/// Longest token that is looked at.
pub const MAX_BYTES: usize = 4_096;
/// Most keys of a set that are looked at.
const MOST_KEYS: usize = 100;
/// How much the clocks of who signs and of this machine may differ.
const LEEWAY_US: i64 = 30 * 1_000_000;

/// Why a token is not believed. What it says stands in none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    /// There is none.
    #[error("no token was shown")]
    Missing,
    /// It is longer than tokens are.
    #[error("the token has more than {MAX_BYTES} bytes")]
    TooLong,
    /// It is none, or one by a method that is not known here.
    #[error("this is no signed JSON web token")]
    Malformed,
    /// It asks for something that is not known here (`crit`, RFC 7515 §4.1.11).
    #[error("the token holds an extension (crit) that is not known here")]
    Critical,
    /// No key has its number.
    #[error("no key of the authority has the number that the token names (kid)")]
    NoSuchKey,
    /// It names none of several keys.
    #[error("the token names no key (kid), and the authority has several")]
    WhichKey,
    /// Its method is not that of its key.
    #[error("the token is not signed by the method of its key (alg)")]
    Method,
    /// Its signature is of somebody else.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It ended.
    #[error("the token has ended (exp)")]
    Ended,
    /// It has not begun.
    #[error("the token is not valid yet (nbf)")]
    NotYet,
    /// A time in it is none.
    #[error("a time of the token is no number (exp, nbf)")]
    Times,
    /// It is of another authority.
    #[error("the token is of another issuer (iss)")]
    Issuer,
    /// It is for somebody else.
    #[error("the token is for another audience (aud)")]
    Audience,
    /// What it allows is not said, or cannot be read.
    #[error("the token holds no list of permissions")]
    Permissions,
    /// Who was asked says no.
    #[error("the authority says no")]
    Refused,
    /// Nobody looked at what was shown.
    #[error("the authority is not asked about this")]
    Unasked,
}

impl WhyNot {
    /// Whether what was shown may have been a guess at a secret of the authority's. What somebody signed is none, and what nobody looked at.
    pub fn is_guess(self) -> bool {
        !(self.is_signed() || self == Self::Unasked)
    }

    /// Whether it is signed as it must be, and wrong for what it says.
    pub fn is_signed(self) -> bool {
        matches!(
            self,
            Self::Ended | Self::NotYet | Self::Times | Self::Issuer | Self::Audience | Self::Permissions
        )
    }
}

/// What a token has to say of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its `iss`; `None`: whatever it says.
    pub issuer: Option<Box<str>>,
    /// What is among its `aud`; `None`: whatever it says.
    pub audience: Option<Box<str>>,
}

/// What a token says that is believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// Who it is (`sub`).
    pub subject: Option<Box<str>>,
    /// When it ends, if it does.
    pub ends: Option<WallTime>,
    /// All of them.
    pub all: Map<String, Value>,
}

/// Keys of an authority.
pub struct Keys(Vec<Key>);

struct Key {
    number: Option<Box<str>>,
    methods: Vec<Algorithm>,
    key: DecodingKey,
}

/// Why something is no set of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// It is something else.
    #[error("it is no set of keys (RFC 7517 §5)")]
    Malformed,
    /// It has none that can be used.
    #[error("it holds no public key for signatures by RSA, by P-256 or P-384, or by Ed25519")]
    None,
}

impl Keys {
    /// Those of a JWK set that can be used; others are passed over, as RFC 7517 §5 has it.
    ///
    /// # Errors
    /// [`NoKeys`].
    pub fn read(text: &[u8]) -> Result<Self, NoKeys> {
        let set: Value = serde_json::from_slice(text).map_err(|_| NoKeys::Malformed)?;
        let list = set.get("keys").and_then(Value::as_array).ok_or(NoKeys::Malformed)?;
        let keys: Vec<Key> = list.iter().take(MOST_KEYS).filter_map(Key::read).collect();
        match keys.is_empty() {
            true => Err(NoKeys::None),
            false => Ok(Self(keys)),
        }
    }

    /// Believes a token, if there is reason to.
    ///
    /// # Errors
    /// [`WhyNot`].
    pub fn verify(&self, token: &str, expected: &Expected, now: WallTime) -> Result<Claims, WhyNot> {
        let header = header(token)?;
        let key = self.find(&header)?;
        let mut validation = Validation::new(header.alg);
        // Times are compared below, with the time that is handed in; the rest as well, so that what is missing is as good as wrong.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = decode::<Map<String, Value>>(token, &key.key, &validation);
        let all = decoded.map_err(|error| why_not(&error))?.claims;
        check(all, expected, now)
    }

    /// Whether a key has this number.
    pub fn has(&self, number: &str) -> bool {
        self.0.iter().any(|key| key.number.as_deref() == Some(number))
    }

    fn find(&self, header: &Header) -> Result<&Key, WhyNot> {
        let fits = |key: &&Key| key.methods.contains(&header.alg);
        if let Some(number) = &header.kid {
            if !self.has(number) {
                return Err(WhyNot::NoSuchKey);
            }
            let mut named = self.0.iter().filter(|key| key.number.as_deref() == Some(number));
            return named.find(fits).ok_or(WhyNot::Method);
        }
        let mut meant = self.0.iter().filter(fits);
        match (meant.next(), meant.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(WhyNot::WhichKey),
            (None, _) => Err(WhyNot::Method),
        }
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let common = &jwk.common;
        let is_for_signatures = match (&common.public_key_use, &common.key_operations) {
            (Some(used), _) if *used != PublicKeyUse::Signature => false,
            (_, Some(operations)) => operations.contains(&KeyOperations::Verify),
            _ => true,
        };
        let methods = methods(&jwk.algorithm).filter(|_| is_for_signatures)?;
        let methods = match common.key_algorithm {
            None => methods.to_vec(),
            Some(named) => (methods.iter().copied())
                .filter(|method| named_so(*method) == Some(named))
                .collect(),
        };
        Some(Self {
            number: common.key_id.as_deref().map(Into::into),
            methods,
            key: DecodingKey::from_jwk(&jwk).ok()?,
        })
        .filter(|key| !key.methods.is_empty())
    }
}

/// By what keys of this kind may sign; `None` of those that are not used.
fn methods(parameters: &AlgorithmParameters) -> Option<&'static [Algorithm]> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match parameters {
        AlgorithmParameters::RSA(_) => Some(&[RS256, RS384, RS512, PS256, PS384, PS512]),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Some(&[ES256]),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => Some(&[ES384]),
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Some(&[EdDSA]),
        _ => None,
    }
}

fn named_so(method: Algorithm) -> Option<KeyAlgorithm> {
    match method {
        Algorithm::RS256 => Some(KeyAlgorithm::RS256),
        Algorithm::RS384 => Some(KeyAlgorithm::RS384),
        Algorithm::RS512 => Some(KeyAlgorithm::RS512),
        Algorithm::PS256 => Some(KeyAlgorithm::PS256),
        Algorithm::PS384 => Some(KeyAlgorithm::PS384),
        Algorithm::PS512 => Some(KeyAlgorithm::PS512),
        Algorithm::ES256 => Some(KeyAlgorithm::ES256),
        Algorithm::ES384 => Some(KeyAlgorithm::ES384),
        Algorithm::EdDSA => Some(KeyAlgorithm::EdDSA),
        _ => None,
    }
}

/// What a token says in front of its claims, which nobody vouches for yet.
///
/// # Errors
/// [`WhyNot`], where it cannot be one that is believed.
pub fn header(token: &str) -> Result<Header, WhyNot> {
    if token.is_empty() {
        return Err(WhyNot::Missing);
    }
    if token.len() > MAX_BYTES {
        return Err(WhyNot::TooLong);
    }
    if token.split('.').count() != 3 {
        return Err(WhyNot::Malformed);
    }
    let header = decode_header(token).map_err(|_| WhyNot::Malformed)?;
    match &header.crit {
        Some(_) => Err(WhyNot::Critical),
        None => Ok(header),
    }
}

fn why_not(error: &jsonwebtoken::errors::Error) -> WhyNot {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidAlgorithm => WhyNot::Method,
        ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidToken => WhyNot::Malformed,
        _ => WhyNot::Signature,
    }
}

fn check(all: Map<String, Value>, expected: &Expected, now: WallTime) -> Result<Claims, WhyNot> {
    let now_us = now.unix_micros();
    let [ends, begins] = ["exp", "nbf"].map(|name| time(all.get(name)));
    let ends = ends?;
    if ends.is_some_and(|ends| now_us >= ends.unix_micros().saturating_add(LEEWAY_US)) {
        return Err(WhyNot::Ended);
    }
    if begins?.is_some_and(|begins| now_us < begins.unix_micros().saturating_sub(LEEWAY_US)) {
        return Err(WhyNot::NotYet);
    }
    let text = |name: &str| all.get(name).and_then(Value::as_str);
    if expected
        .issuer
        .as_deref()
        .is_some_and(|issuer| text("iss") != Some(issuer))
    {
        return Err(WhyNot::Issuer);
    }
    let is_for = |audience: &str| match all.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    };
    if expected.audience.as_deref().is_some_and(|audience| !is_for(audience)) {
        return Err(WhyNot::Audience);
    }
    Ok(Claims {
        subject: text("sub").filter(|subject| !subject.is_empty()).map(Into::into),
        ends,
        all,
    })
}

/// Seconds since 1970 (RFC 7519 §2), whole or not. What is beyond all years is the last of them.
fn time(claim: Option<&Value>) -> Result<Option<WallTime>, WhyNot> {
    /// The year 2262, to which microseconds go without losing any.
    const LAST_S: f64 = 9_200_000_000.0;
    match claim {
        None | Some(Value::Null) => Ok(None),
        Some(claim) => {
            let seconds = claim
                .as_f64()
                .filter(|seconds| seconds.is_finite())
                .ok_or(WhyNot::Times)?;
            let micros = (seconds.clamp(-LAST_S, LAST_S) * 1e6) as i64;
            Ok(Some(WallTime::from_unix_micros(micros)))
        }
    }
}
