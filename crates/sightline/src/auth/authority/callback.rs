//! Another server that is asked about each of them: MediaMTX's `authMethod: http`.
//!
//! Belongs here: the question as it is POSTed, what its answers mean, how many are asked at a time, how long an answer holds. Does not belong here: which peer is
//! asked about ([`super::super::Auth`]).
//!
//! A status of 2xx is yes. One of 500 and above is no answer, as is none: nobody is let in by it, and nobody is told that their password is wrong. Everything else
//! is no. Redirects are not followed: the password would go where nobody sent it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use media::Clock;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::memory::Memory;
use super::token::WhyNot;
use super::{Allowed, Answer, IsAway, Permission, Question, Verb, Vouched, name, trust};
use crate::auth::{Streams, peer};
use crate::config::settings::AuthHttp;
use crate::config::stream_key::StreamKey;
use crate::fetch::{self, Client, Policy, Request, Response};
use crate::log::notice::Notice;

/// Questions at a time.
const AT_A_TIME: usize = 64;
/// Those that wait for their turn.
const WAITING: usize = 256;
/// Questions about one address at a time, so that a stranger who shows nothing, and is not braked, leaves places to others.
const OF_ONE: usize = AT_A_TIME / 4;
/// Those that wait. A house has one address, and so has everybody behind a proxy that is not trusted.
const WAITING_OF_ONE: usize = 48;
/// How long an answer holds for what comes again with each request.
const HOLDS: Duration = Duration::from_secs(10);
/// Such answers.
const MOST: usize = 10_000;
/// Of the body of an answer, which says nothing to us; what is longer costs the connection.
const MOST_OF_ANSWER: usize = 4 << 10;
/// How long that may take: what was said counts already.
const BODY_WITHIN: Duration = Duration::from_millis(100);

/// Asks a server by HTTP.
pub struct Authority {
    url: Option<Url>,
    client: Client,
    seats: Semaphore,
    waiting: AtomicUsize,
    shares: Shares,
    known: Mutex<Memory<[u8; 32], bool>>,
    /// Under which answers are kept: passwords are in what they are kept for.
    key: Option<hmac::Key>,
    clock: Arc<dyn Clock>,
    /// For one answer; and how long a turn is waited for.
    patience: Duration,
    away: Notice<IsAway>,
}

/// The question, with MediaMTX's names.
#[derive(Serialize)]
struct Asked<'a> {
    ip: String,
    user: &'a str,
    password: &'a str,
    token: &'a str,
    action: &'static str,
    path: &'a str,
    protocol: &'static str,
    /// There is no session before it is answered.
    id: Option<&'a str>,
    query: &'a str,
    #[serde(rename = "userAgent")]
    agent: &'a str,
}

impl Authority {
    /// As it is set. `patience` is for one answer, and once more for a turn.
    pub fn new(settings: &AuthHttp, clock: Arc<dyn Clock>, patience: Duration) -> Self {
        let policy = Policy {
            trust: trust(settings.fingerprint),
            may_connect: fetch::anywhere,
            redirects: 0,
            timeout: patience,
        };
        Self {
            url: settings.url.as_ref().map(|url| url.expose().clone()),
            client: Client::new(policy),
            seats: Semaphore::new(AT_A_TIME),
            waiting: AtomicUsize::new(0),
            shares: Shares::default(),
            known: Mutex::new(Memory::new(MOST)),
            // Without one nothing is remembered.
            key: hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new()).ok(),
            clock,
            patience,
            away: Notice::default(),
        }
    }

    async fn answer(&self, question: Question) -> Answer {
        let Some((verb, stream)) = &question.wants else {
            return Answer::No(WhyNot::Unasked);
        };
        let verb = *verb;
        let query = without_directives(&question.query);
        let asked = Asked {
            ip: question.remote.to_string(),
            user: &question.user,
            password: question.password.expose(),
            token: question.token.expose(),
            action: verb.name(),
            path: stream.as_ref().map(media::StreamName::as_str).unwrap_or_default(),
            protocol: match verb {
                Verb::Read | Verb::Publish => question.protocol.name(),
                _ => "",
            },
            id: None,
            query: &query,
            agent: &question.agent,
        };
        // Texts alone: nothing that could fail.
        let text = serde_json::to_vec(&asked).unwrap_or_default();
        let sum = self.key.as_ref().filter(|_| question.repeats).map(|key| {
            let mut sum = [0; 32];
            sum.copy_from_slice(hmac::sign(key, &text).as_ref());
            sum
        });
        let remembered = sum.and_then(|sum| self.lock().get(sum, self.clock.now()));
        let says_yes = match remembered {
            Some(says_yes) => says_yes,
            None => {
                let Some(says_yes) = self.ask_it(question.remote, text.into()).await else {
                    return Answer::Away;
                };
                if let Some(sum) = sum {
                    self.lock().put(sum, says_yes, self.clock.now() + HOLDS);
                }
                says_yes
            }
        };
        match says_yes {
            false => Answer::No(WhyNot::Refused),
            true => Answer::Yes(Vouched {
                name: match &*question.user {
                    "" => "anyone".into(),
                    user => name(user),
                },
                allowed: Allowed::by(&[Permission {
                    verb,
                    streams: match stream {
                        Some(name) => Streams::Of(StreamKey::Name(name.clone())),
                        None => Streams::All,
                    },
                }]),
                until: None,
                has_shown: true,
                // Whoever asks for somebody knows it.
                by: 0,
            }),
        }
    }

    /// Whether it says yes; `None`: it says nothing.
    async fn ask_it(&self, remote: IpAddr, text: Bytes) -> Option<bool> {
        let away = |why: String| self.away.happened(IsAway(why), self.clock.now());
        let share = self.shares.of(remote);
        let Some(_seat) = self.seat(share.as_ref()).await else {
            away(format!(
                "{AT_A_TIME} questions are unanswered and {WAITING} wait, or {OF_ONE} and {WAITING_OF_ONE} of one address (auth.http.url)"
            ));
            return None;
        };
        // Settings without it are refused where they are read.
        let mut request = Request::get(self.url.clone()?);
        request.method = Method::POST;
        request.headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ACCEPT, HeaderValue::from_static("*/*")),
        ]);
        request.body = text;
        // A question asked twice does no harm.
        request.repeatable = true;
        match self.client.send(request).await {
            Ok(response) => {
                let status = response.status;
                read_to_its_end(response).await;
                if status.is_server_error() {
                    away(format!("auth.http.url answers with status {}", status.as_u16()));
                    return None;
                }
                if status.is_redirection() {
                    away(format!(
                        "auth.http.url answers with status {}, and redirects are not followed",
                        status.as_u16()
                    ));
                }
                Some(status.is_success())
            }
            Err(error) => {
                away(error.to_string());
                None
            }
        }
    }

    /// A turn; `None`: too many wait for one, or it takes too long.
    async fn seat<'a>(&'a self, share: Option<&'a Share<'a>>) -> Option<[SemaphorePermit<'a>; 2]> {
        let own = &share?.seats;
        if let Ok(own) = own.try_acquire()
            && let Ok(seat) = self.seats.try_acquire()
        {
            return Some([own, seat]);
        }
        let _counted = Counted::one_more(&self.waiting)?;
        let turn = async { Some([own.acquire().await.ok()?, self.seats.acquire().await.ok()?]) };
        tokio::time::timeout(self.patience, turn).await.ok()?
    }

    fn lock(&self) -> MutexGuard<'_, Memory<[u8; 32], bool>> {
        // Nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl super::Authority for Authority {
    fn ask(&self, question: Question) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(self.answer(question))
    }
}

/// What is asked about each address, as long as anything is.
#[derive(Default)]
struct Shares(Mutex<HashMap<IpAddr, (usize, Arc<Semaphore>)>>);

impl Shares {
    /// For one question more; `None`: there are too many about this one.
    fn of(&self, remote: IpAddr) -> Option<Share<'_>> {
        let remote = peer(remote);
        let mut shares = self.lock();
        let (count, seats) = shares
            .entry(remote)
            .or_insert_with(|| (0, Arc::new(Semaphore::new(OF_ONE))));
        if *count >= OF_ONE + WAITING_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Share {
            shares: self,
            remote,
            seats: Arc::clone(seats),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, (usize, Arc<Semaphore>)>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them, until it is dropped.
struct Share<'a> {
    shares: &'a Shares,
    remote: IpAddr,
    seats: Arc<Semaphore>,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut shares = self.shares.lock();
        if let Some((count, _)) = shares.get_mut(&self.remote) {
            *count -= 1;
            if *count == 0 {
                shares.remove(&self.remote);
            }
        }
    }
}

/// One of those who wait, until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one_more(count: &'a AtomicUsize) -> Option<Self> {
        let counted = Self(count);
        (count.fetch_add(1, Relaxed) < WAITING).then_some(counted)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// So that its connection can be used again.
async fn read_to_its_end(response: Response) {
    let _ = tokio::time::timeout(BODY_WITHIN, response.bytes(MOST_OF_ANSWER)).await;
}

/// A query without what LL-HLS adds to each request of one player (draft-pantos-hls-rfc8216bis §6.2.5), so that one answer holds for all of them.
fn without_directives(query: &str) -> String {
    let others: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("_HLS_")).collect();
    others.join("&")
}
