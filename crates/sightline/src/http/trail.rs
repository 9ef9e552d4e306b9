//! What the audit log says of a request.
//!
//! Belongs here: who asked, to what, how it ended; which of it has a line of its own. Does not belong here: who may ask (`super::routes`), how lines are kept
//! ([`crate::state::control`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use super::Shared;
use super::paths::Params;
use super::peer::Peer;
use super::routes::Route;
use crate::auth::Principal;
use crate::state::control::{Entry, Outcome};

/// What is known of a request by now.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    who: Option<String>,
    /// It showed something, and did not come by its address alone.
    has_shown: bool,
    object: String,
    /// Names of keys, never a value.
    detail: String,
}

impl Trail {
    /// Of a request with this path.
    pub(super) fn of(params: &Params) -> Self {
        let named = ["name", "user", "role", "key", "id", "recording", "export"].map(|name| params.get(name));
        let object = named.into_iter().find(|text| !text.is_empty());
        Self(Arc::new(Mutex::new(Known {
            object: object.unwrap_or_default().to_owned(),
            ..Known::default()
        })))
    }

    /// Who asks.
    pub(super) fn saw(&self, who: &Principal) {
        let by_place = matches!(who, Principal::Near { .. } | Principal::Anyone { .. });
        let mut known = self.lock();
        known.who = Some(who.name().to_owned());
        known.has_shown = !by_place && !who.is_nobody();
    }

    /// Who it is that signed in, or out.
    pub(super) fn is(&self, name: &str) {
        let mut known = self.lock();
        known.who = Some(name.to_owned());
        known.has_shown = true;
    }

    /// What it is about, where the path does not say so.
    pub(super) fn about(&self, object: &str) {
        self.lock().object = object.to_owned();
    }

    /// Which keys it sets.
    pub(super) fn sets(&self, keys: &[&str]) {
        self.lock().detail = keys.join(",");
    }

    /// Writes it down, before it is answered. What is refused has some lines a second and no more, and nobody waits for them: whoever may nothing can ask as
    /// often as they like.
    pub(super) async fn write(&self, route: &'static Route, shared: &Shared, peer: Peer, status: StatusCode) {
        let result = match status.as_u16() {
            401 | 403 | 410 | 429 => Outcome::Refused,
            status if status < 400 => Outcome::Done,
            _ => Outcome::Failed,
        };
        let (entry, is_of_strangers) = {
            let mut known = self.lock();
            let is_of_strangers = known.who.is_none() || (!known.has_shown && result != Outcome::Done);
            let entry = Entry {
                at: shared.clock.wall(),
                who: known.who.take().unwrap_or_else(|| "nobody".to_owned()),
                remote: peer.remote.to_string(),
                action: format!("{} {}", route.verb.method(), route.path),
                object: std::mem::take(&mut known.object),
                detail: std::mem::take(&mut known.detail),
                result,
                times: 1,
            };
            (entry, is_of_strangers)
        };
        let written = match is_of_strangers || result == Outcome::Refused {
            true if !shared.notices.tries.has_line(shared.clock.now()) => return,
            true if is_of_strangers => shared.settings.control.note(Entry {
                // Names that strangers make up would be as many lines.
                object: String::new(),
                ..entry
            }),
            true => shared.settings.control.note(entry),
            false => shared.settings.control.audit(entry).await,
        };
        if let Err(error) = written {
            tracing::warn!("a line of the audit log is lost: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere while it was held leaves what was known before.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
