//! Who else decides: another server that is asked, or one whose signature is believed (MediaMTX's `authMethod`).
//!
//! Belongs here: what is asked and answered ([`Question`], [`Answer`]), JSON web tokens ([`jwt`]), asking by HTTP ([`callback`]), which of what is done somebody
//! need not be asked about ([`Elsewhere`]). Does not belong here: our own accounts and tokens, which are looked at first ([`super::Auth`]).
//!
//! No answer is no: where an authority is away, nobody is let in by it.

pub mod callback;
pub mod jwks;
pub mod jwt;
mod memory;
pub mod permission;
pub mod token;

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use media::{Clock, StreamName, WallTime};

use super::{Action, Object, Principal};
use crate::config::settings::{AuthHttp, AuthJwt, AuthMethod, Settings};
use crate::log::notice::Tell;
use crate::rtsp::client::Fingerprint;
use crate::secret::Secret;
use crate::trust::Trust;
pub use permission::{Allowed, Permission, Verb};
pub use token::WhyNot;

/// Somebody who decides about those whom we do not know.
pub trait Authority: Send + Sync {
    /// Asks. It answers within a time of its own, whatever is at the other end.
    fn ask(&self, question: Question) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>>;

    /// Whether a yes proves that what was shown is right. Else it may be yes to everybody.
    fn proves(&self) -> bool {
        false
    }
}

/// What an authority is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The user name that was shown; empty: none.
    pub user: Box<str>,
    /// The password.
    pub password: Secret,
    /// The token: shown as one, as the password, or in the URL.
    pub token: Secret,
    /// From where.
    pub remote: IpAddr,
    /// To do what; `None`: nothing that it is asked about, but to know who it is.
    pub wants: Option<(Verb, Option<StreamName>)>,
    /// By which protocol.
    pub protocol: Protocol,
    /// What stands behind the `?` of the URL.
    pub query: Box<str>,
    /// What the client calls itself.
    pub agent: Box<str>,
    /// It is asked for again with each request of the same player.
    pub repeats: bool,
}

impl Question {
    /// Whether any credential was shown.
    pub fn shows_something(&self) -> bool {
        [self.password.expose(), self.token.expose(), &*self.user]
            .iter()
            .any(|text| !text.is_empty())
    }
}

/// By which protocol somebody comes, in MediaMTX's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RTSP and RTSPS.
    Rtsp,
    /// WHEP and WHIP.
    Webrtc,
    /// Everything else by HTTP.
    Hls,
}

impl Protocol {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rtsp => "rtsp",
            Self::Webrtc => "webrtc",
            Self::Hls => "hls",
        }
    }
}

/// How a peer comes.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// From where.
    pub remote: IpAddr,
    /// By which protocol.
    pub protocol: Protocol,
    /// What stands behind the `?` of the URL.
    pub query: &'a str,
    /// What the client calls itself.
    pub agent: &'a str,
    /// It comes again with each request.
    pub repeats: bool,
}

impl Way<'_> {
    /// From there, and no more is known.
    pub fn of(remote: IpAddr) -> Self {
        Way {
            remote,
            protocol: Protocol::Rtsp,
            query: "",
            agent: "",
            repeats: false,
        }
    }
}

/// What somebody comes for.
#[derive(Clone, Copy, Debug)]
pub enum Wants<'a> {
    /// To do this.
    Do(Action, Object<'a>),
    /// What it is, only who it is decides.
    Who,
}

impl Wants<'_> {
    /// The same as an authority is asked about it.
    pub(super) fn asked(self) -> Option<(Verb, Option<StreamName>)> {
        let Self::Do(action, object) = self else { return None };
        let of = |verb, name: &StreamName| Some((verb, Some(name.clone())));
        match (action, object) {
            (Action::Operate | Action::Erase | Action::Administer, _) | (Action::View, Object::Program) => {
                Some((Verb::Api, None))
            }
            (Action::View, Object::Metrics) => Some((Verb::Metrics, None)),
            (Action::View, Object::Stream(name)) => of(Verb::Read, name),
            (Action::Replay, Object::Stream(name)) => of(Verb::Playback, name),
            (Action::Publish, Object::Stream(name)) => of(Verb::Publish, name),
            _ => None,
        }
    }
}

/// What an authority answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// That is somebody who may do this.
    Yes(Vouched),
    /// No.
    No(WhyNot),
    /// It cannot be asked now.
    Away,
}

/// Somebody whom an authority vouched for, or whoever comes for what it need not be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// What the log calls it.
    pub name: Box<str>,
    /// What it may do.
    pub allowed: Allowed,
    /// Until when, where that was said.
    pub until: Option<WallTime>,
    /// It is somebody, and not whoever comes.
    pub has_shown: bool,
    /// The number of the authority that was in force.
    pub by: u64,
}

impl Vouched {
    /// Whoever may do this without being asked.
    fn anyone(allowed: Allowed, by: u64) -> Self {
        Self {
            name: "anyone".into(),
            allowed,
            until: None,
            has_shown: false,
            by,
        }
    }
}

/// How long an authority is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest name that the log is told, in characters.
const MAX_NAME: usize = 64;

/// A name that others made up, as logs and pages may hold it.
fn name(text: &str) -> Box<str> {
    let plain = text.chars().filter(|c| !c.is_control()).take(MAX_NAME);
    let name: String = plain.collect();
    match name.is_empty() {
        true => "token".into(),
        false => name.into(),
    }
}

/// The authority in force, and what it is not asked about.
#[derive(Clone)]
pub struct Elsewhere {
    wish: Wish,
    /// No other one that was in force since the program started has it.
    pub(super) number: u64,
    pub(super) authority: Arc<dyn Authority>,
    /// What everybody may do, without being asked.
    exempt: Allowed,
    /// It is asked about the API, too.
    pub(super) decides_api: bool,
}

fn next_number() -> u64 {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    NUMBERS.fetch_add(1, Relaxed)
}

/// As it is set.
#[derive(Clone, Debug, PartialEq)]
enum Wish {
    Jwt(AuthJwt),
    Http(AuthHttp),
}

impl PartialEq for Elsewhere {
    fn eq(&self, other: &Self) -> bool {
        self.wish == other.wish
    }
}

impl Eq for Elsewhere {}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wish.fmt(f)
    }
}

impl Elsewhere {
    /// What settings have, with what the one before knew where it is the same; `None`: our own accounts and tokens alone.
    pub fn of(settings: &Settings, before: Option<&Self>, clock: &Arc<dyn Clock>) -> Option<Self> {
        let auth = &settings.auth;
        let wish = match auth.method {
            AuthMethod::Own => return None,
            AuthMethod::Jwt => Wish::Jwt(auth.jwt.clone()),
            AuthMethod::Http => Wish::Http(auth.http.clone()),
        };
        if let Some(before) = before.filter(|before| before.wish == wish) {
            return Some(before.clone());
        }
        let (exclude, authority): (_, Arc<dyn Authority>) = match &wish {
            Wish::Jwt(jwt) => (
                &jwt.exclude,
                Arc::new(jwt::Authority::new(jwt, Arc::clone(clock), PATIENCE)),
            ),
            Wish::Http(http) => (
                &http.exclude,
                Arc::new(callback::Authority::new(http, Arc::clone(clock), PATIENCE)),
            ),
        };
        Some(Self {
            exempt: Allowed::without_api(exclude),
            decides_api: !exclude.iter().any(|permission| permission.verb == Verb::Api),
            number: next_number(),
            authority,
            wish,
        })
    }

    /// What whoever comes may do by it alone.
    pub(super) fn exempt(&self) -> Vouched {
        Vouched::anyone(self.exempt.clone(), self.number)
    }

    /// Whoever shows nothing, before it is asked. `nobody` is the same by accounts of ours.
    pub(super) fn unasked(&self, nobody: Option<&Principal>) -> Principal {
        let mut exempt = self.exempt();
        if let Some(nobody) = nobody {
            exempt.allowed.rights = exempt.allowed.rights.or(&nobody.rights());
        }
        Principal::Vouched(Arc::new(exempt))
    }

    /// With an authority of a test's own.
    #[cfg(test)]
    pub(crate) fn scripted(authority: Arc<dyn Authority>, exclude: &[Permission]) -> Self {
        let http = AuthHttp {
            exclude: exclude.to_vec(),
            ..AuthHttp::default()
        };
        Self {
            exempt: Allowed::without_api(exclude),
            decides_api: !exclude.iter().any(|permission| permission.verb == Verb::Api),
            number: next_number(),
            authority,
            wish: Wish::Http(http),
        }
    }
}

/// Whose certificate is believed.
fn trust(fingerprint: Option<Fingerprint>) -> Trust {
    fingerprint.map_or(Trust::System, Trust::Fingerprint)
}

/// An authority cannot be asked. The text holds no credential.
#[derive(Debug)]
struct IsAway(String);

impl Tell for IsAway {
    fn tell(&self, times: u64) {
        tracing::warn!(reason = %self.0, times, "who decides about media cannot be asked: nobody is let in by it until then");
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
