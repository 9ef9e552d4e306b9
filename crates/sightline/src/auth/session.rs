//! What a browser shows after it signed in: a cookie that proves a role for a while.
//!
//! Belongs here: making and checking its value. Does not belong here: the cookie's name and attributes ([`crate::http`]).
//!
//! The value says role and end, and is sealed with the credential that was shown. So the server keeps nothing that could grow or be lost:
//! sessions survive its restart, and end when the credential is replaced.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use media::WallTime;

use super::{Auth, Role, Rules};
use crate::secret::Secret;

/// Somebody who signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose credential was shown.
    pub role: Role,
    /// When it ends, in seconds since 1970.
    pub ends_s: i64,
}

impl Session {
    /// How long a session lasts, in seconds: 30 days.
    pub const LIFE_S: i64 = 30 * 24 * 3_600;

    /// One that begins now.
    pub fn new(role: Role, now: WallTime) -> Self {
        let ends_s = seconds(now).saturating_add(Self::LIFE_S);
        Self { role, ends_s }
    }

    /// Whether it is so old that whoever still comes should be given a new one.
    pub fn is_stale(&self, now: WallTime) -> bool {
        self.ends_s.saturating_sub(seconds(now)) < Self::LIFE_S / 2
    }
}

impl Auth {
    /// The cookie's value: unreserved characters alone. `None` where the role has no credential of its own, and nobody needs one.
    pub fn seal(&self, session: Session) -> Option<Secret> {
        let rules = self.rules();
        let secret = own_secret(&rules, session.role)?;
        let text = format!("1.{}.{}", session.role.name(), session.ends_s);
        let seal = hmac::sign(&key(secret), text.as_bytes());
        Some(Secret::new(format!("{text}.{}", URL_SAFE_NO_PAD.encode(seal))))
    }

    /// The session that a cookie's value proves; `None` for one that is not ours, is over, or was sealed with a credential that is gone.
    pub fn unseal(&self, value: &str, now: WallTime) -> Option<Session> {
        if value.len() > MAX_BYTES {
            return None;
        }
        let (text, seal) = value.rsplit_once('.')?;
        let (role, ends_s) = text.strip_prefix("1.")?.split_once('.')?;
        let role = Role::ALL.into_iter().find(|known| known.name() == role)?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
        hmac::verify(&key(own_secret(&self.rules(), role)?), text.as_bytes(), &seal).ok()?;
        let ends_s = ends_s.parse().ok()?;
        (seconds(now) < ends_s).then_some(Session { role, ends_s })
    }
}

fn own_secret(rules: &Rules, role: Role) -> Option<&Secret> {
    rules
        .secrets()
        .into_iter()
        .find_map(|(own, secret)| (own == role).then_some(secret))
}

/// Not the credential itself, so that a seal is good for nothing else that might ever be computed from it.
fn key(secret: &Secret) -> hmac::Key {
    let credential = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let derived = hmac::sign(&credential, b"sightline session 1");
    hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
}

fn seconds(at: WallTime) -> i64 {
    at.unix_micros().div_euclid(1_000_000)
}

/// Longest value that is looked at. Ours have some 75 bytes.
const MAX_BYTES: usize = 128;
