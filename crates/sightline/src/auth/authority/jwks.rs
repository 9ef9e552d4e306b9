//! The keys of an authority, fetched when they are wanted.
//!
//! Belongs here: when they are fetched anew, and how long they count. Does not belong here: what they are for (`super::token`).
//!
//! Keys are fetched once an hour. One that nobody knows is looked for at once, but not more than once a minute, whatever strangers show. While the authority is
//! away those that are there go on counting, for a day at the most. A request that is given up does not take the fetching with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::Clock;
use url::Url;

use super::IsAway;
use super::token::{Claims, Expected, Keys, WhyNot, header};
use crate::fetch::{self, Client, Policy, Request};
use crate::log::notice::Notice;
use crate::trust::Trust;

/// Keys are as good as new for so long.
const FRESH: Duration = Duration::from_secs(3_600);
/// They count for so long while no newer ones can be had.
const USABLE: Duration = Duration::from_secs(86_400);
/// Between two times that they are fetched while there are some.
const PAUSE: Duration = Duration::from_secs(60);
/// The same while there are none.
const PAUSE_WITHOUT: Duration = Duration::from_secs(5);
/// Largest set.
pub(super) const MAX_BYTES: usize = 64 << 10;
const MAX_REDIRECTS: u8 = 3;

/// Keys of one authority.
pub struct Jwks(Arc<Inner>);

struct Inner {
    url: Url,
    client: Client,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    fetching: tokio::sync::Mutex<()>,
    away: Notice<IsAway>,
}

#[derive(Default)]
struct State {
    keys: Option<(Arc<Keys>, Instant)>,
    tried_at: Option<Instant>,
}

/// Why a token is not believed, or cannot be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// It is wrong.
    Wrong(WhyNot),
    /// There are no keys to look at it with.
    Away,
}

impl From<WhyNot> for Unverified {
    fn from(why: WhyNot) -> Self {
        Self::Wrong(why)
    }
}

/// What is known for a token now.
enum Known {
    /// All that can be.
    Enough(Arc<Keys>),
    /// Something, and newer keys would be better.
    Rather(Arc<Keys>),
    /// Too little.
    Fetch,
    /// Nothing, and it was tried just now.
    Nothing,
}

impl Jwks {
    /// Those at a URL. `patience` is for the head of the answer, and then for its body.
    pub fn new(url: Url, trust: Trust, clock: Arc<dyn Clock>, patience: Duration) -> Self {
        let policy = Policy {
            trust,
            may_connect: fetch::anywhere,
            redirects: MAX_REDIRECTS,
            timeout: patience,
        };
        Self(Arc::new(Inner {
            url,
            client: Client::new(policy),
            clock,
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            away: Notice::default(),
        }))
    }

    /// Believes a token, if there is reason to.
    ///
    /// # Errors
    /// [`Unverified`]. What cannot be a token asks nobody.
    pub async fn verify(&self, token: &str, expected: &Expected) -> Result<Claims, Unverified> {
        let number = header(token)?.kid;
        let keys = self.keys(number.as_deref()).await.ok_or(Unverified::Away)?;
        Ok(keys.verify(token, expected, self.0.clock.wall())?)
    }

    async fn keys(&self, number: Option<&str>) -> Option<Arc<Keys>> {
        let is_fetching = || self.0.fetching.try_lock().is_err();
        match self.0.known(number) {
            Known::Enough(keys) if number.is_none_or(|number| keys.has(number)) || !is_fetching() => return Some(keys),
            Known::Nothing if !is_fetching() => return None,
            Known::Rather(keys) if is_fetching() => return Some(keys),
            // They are fetched, or somebody else fetches them already, who may bring what is wanted here.
            Known::Enough(_) | Known::Nothing | Known::Rather(_) | Known::Fetch => {}
        }
        let (inner, number) = (Arc::clone(&self.0), number.map(str::to_owned));
        let fetched = tokio::spawn(async move {
            let _turn = inner.fetching.lock().await;
            // Whoever was before may have brought it.
            if let Known::Rather(_) | Known::Fetch = inner.known(number.as_deref()) {
                inner.fetch().await;
            }
            inner.usable()
        });
        // A panic in it was reported already.
        fetched.await.ok().flatten()
    }
}

impl Inner {
    fn known(&self, number: Option<&str>) -> Known {
        let now = self.clock.now();
        let state = self.lock();
        let age = |at: Instant| now.saturating_duration_since(at);
        let rested = |pause| state.tried_at.is_none_or(|at| age(at) >= pause);
        match &state.keys {
            Some((keys, at)) if age(*at) < USABLE => {
                let lacks = number.is_some_and(|number| !keys.has(number));
                match (lacks, age(*at) < FRESH) {
                    _ if !rested(PAUSE) => Known::Enough(Arc::clone(keys)),
                    (true, _) => Known::Fetch,
                    (false, false) => Known::Rather(Arc::clone(keys)),
                    (false, true) => Known::Enough(Arc::clone(keys)),
                }
            }
            _ if rested(PAUSE_WITHOUT) => Known::Fetch,
            _ => Known::Nothing,
        }
    }

    fn usable(&self) -> Option<Arc<Keys>> {
        let now = self.clock.now();
        let state = self.lock();
        let (keys, at) = state.keys.as_ref()?;
        (now.saturating_duration_since(*at) < USABLE).then(|| Arc::clone(keys))
    }

    async fn fetch(&self) {
        self.lock().tried_at = Some(self.clock.now());
        match self.fetched().await {
            Ok(keys) => self.lock().keys = Some((Arc::new(keys), self.clock.now())),
            Err(why) => self.away.happened(IsAway(why), self.clock.now()),
        }
    }

    async fn fetched(&self) -> Result<Keys, String> {
        let response = self.client.send(Request::get(self.url.clone())).await;
        let response = response.map_err(|error| error.to_string())?;
        if !response.status.is_success() {
            return Err(format!(
                "the keys (auth.jwt.jwks) are answered with status {}",
                response.status.as_u16()
            ));
        }
        let body = response.bytes(MAX_BYTES).await.map_err(|error| error.to_string())?;
        Keys::read(&body).map_err(|error| format!("what stands at auth.jwt.jwks cannot be used: {error}"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
