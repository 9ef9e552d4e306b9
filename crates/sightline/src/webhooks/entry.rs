//! One server that is told what happens.
//!
//! Belongs here: its task, attempts, and how it is. Does not belong here: what waits for it ([`super::queue`]).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use media::{Clock, WallTime};
use tokio::sync::{Notify, watch};

use super::queue::{Message, Next, Queue};
use super::{Pace, World, sign};
use crate::clock::wall_at;
use crate::config::settings::Webhook;
use crate::config::units::{InvalidWord, Name};
use crate::config::webhook::{HookUrl, SigningSecret};
use crate::events::{Heard, Kind, Listener, OF_CONNECTIONS};
use crate::fetch::{self, Client, FetchError, Policy, Request};
use crate::publish::{Backoff, shortened};
use crate::shutdown::{Shutdown, Trigger};
use crate::trust::Trust;

/// Of an answer's body, which says nothing to us; what is longer costs the connection.
const MOST_OF_ANSWER: usize = 16 << 10;
/// How long the body of an answer may take: what was said counts already.
const BODY_WITHIN: Duration = Duration::from_secs(1);
/// Waits double so often at the most.
const MOST_DOUBLINGS: u32 = 32;
/// Of a file with a secret.
const MOST_OF_SECRET: u64 = 1_024;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// One server, its queue, and how it is.
pub(super) struct Entry {
    name: Name,
    settings: Webhook,
    clock: Arc<dyn Clock>,
    random: fn() -> u64,
    pace: Pace,
    client: Client,
    queue: Mutex<Queue>,
    /// Something is to be told, or nothing follows.
    woken: Notify,
    standing: Mutex<Standing>,
    /// The newest event that it was told, and the newest that was heard for it.
    told: AtomicU64,
    heard: AtomicU64,
    retire: Trigger,
    over: watch::Sender<bool>,
}

/// How it is.
struct Standing {
    state: State,
    told: u64,
    failures: u64,
    last_success: Option<WallTime>,
    last_failure: Option<(WallTime, Arc<str>)>,
}

/// What it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is nothing to tell.
    Idle,
    /// It is being told something.
    Sending,
    /// It could not be told, and will be asked again then.
    Waiting {
        /// Attempts so far.
        attempts: u32,
        /// When.
        until: WallTime,
    },
    /// It wants to hear no more, until its settings are others.
    Stopped,
}

impl State {
    /// All words for it.
    pub const WORDS: [&str; 4] = ["idle", "sending", "waiting", "stopped"];

    /// The word for it.
    pub fn word(&self) -> &'static str {
        let [idle, sending, waiting, stopped] = Self::WORDS;
        match self {
            Self::Idle => idle,
            Self::Sending => sending,
            Self::Waiting { .. } => waiting,
            Self::Stopped => stopped,
        }
    }
}

/// How one of them is, for people and programs.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name in the settings.
    pub name: String,
    /// Where it is, without what may be a credential.
    pub url: String,
    /// Whether messages to it are signed.
    pub signed: bool,
    /// What it is about.
    pub state: State,
    /// Events that wait.
    pub waiting: usize,
    /// Events that it was told since it was set.
    pub told: u64,
    /// Events that it will never be told.
    pub lost: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// When it last answered that it heard.
    pub last_success: Option<WallTime>,
    /// When it last did not, and why.
    pub last_failure: Option<(WallTime, Arc<str>)>,
}

/// Why an attempt came to nothing.
enum Failure {
    /// It wants to hear no more.
    Gone,
    /// Another may come to something, but not before that.
    Again { why: String, after: Option<Duration> },
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let why = match error {
            FetchError::Forbidden { .. } => {
                format!("{error}; where it is meant, set allow_private = true in the settings file")
            }
            error => error.to_string(),
        };
        Self::Again { why, after: None }
    }
}

impl Entry {
    pub(super) fn new(name: Name, settings: Webhook, world: &World, position: u64, retire: Trigger) -> Arc<Self> {
        let policy = Policy {
            trust: settings.fingerprint.map_or(Trust::System, Trust::Fingerprint),
            may_connect: if settings.allow_private {
                fetch::anywhere
            } else {
                fetch::public
            },
            redirects: 0,
            timeout: world.pace.answer,
        };
        Arc::new(Self {
            name,
            settings,
            clock: Arc::clone(&world.clock),
            random: world.random,
            pace: world.pace,
            client: Client::new(policy),
            queue: Mutex::new(Queue::new(world.pace.most_waiting)),
            woken: Notify::new(),
            standing: Mutex::new(Standing {
                state: State::Idle,
                told: 0,
                failures: 0,
                last_success: None,
                last_failure: None,
            }),
            told: AtomicU64::new(position),
            heard: AtomicU64::new(position),
            retire,
            over: watch::Sender::new(false),
        })
    }

    pub(super) fn settings(&self) -> &Webhook {
        &self.settings
    }

    /// The newest event that another in its place need not tell; `None` when it is to begin with what happens then.
    pub(super) fn position(&self) -> Option<u64> {
        let heard = self.heard.load(Relaxed);
        let (waiting, _) = self.queue().figures();
        match self.standing().state {
            State::Stopped => None,
            // What came since the last that it was told was not for it.
            State::Idle if waiting == 0 => Some(heard),
            _ => Some(self.told.load(Relaxed)),
        }
    }

    /// Ends it at once.
    pub(super) fn retire(&self) {
        self.retire.request();
    }

    /// Waits until it is over.
    pub(super) async fn done(&self) {
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    pub(super) fn report(&self) -> Report {
        let (waiting, lost) = self.queue().figures();
        let standing = self.standing();
        let sending = matches!(standing.state, State::Sending | State::Waiting { .. });
        Report {
            name: self.name.0.to_string(),
            url: self.settings.url.as_ref().map(HookUrl::to_string).unwrap_or_default(),
            signed: self.settings.secret.is_some() || self.settings.secret_file.is_some(),
            state: standing.state.clone(),
            waiting: waiting.saturating_add(sending.into()),
            told: standing.told,
            lost,
            failures: standing.failures,
            last_success: standing.last_success,
            last_failure: standing.last_failure.clone(),
        }
    }

    /// Tells it what is heard, until it is retired, wants to hear no more, or nothing follows.
    pub(super) async fn run(self: Arc<Self>, listener: Listener, stop: Shutdown) {
        let hearing = async {
            self.hear(listener).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.tell() => {}
            () = hearing => {}
            () = stop.requested() => {}
        }
        self.over.send_replace(true);
    }

    fn wants(&self, kind: Kind) -> bool {
        let words = &self.settings.events;
        words.is_empty() || words.iter().any(|word| word.means(kind))
    }

    /// Puts into the queue what it is to be told. Never waits for it.
    async fn hear(&self, mut listener: Listener) {
        loop {
            match listener.next().await {
                Heard::Event(event) => {
                    if self.wants(event.what.kind()) {
                        self.queue().push(event, self.clock.now());
                    }
                }
                Heard::MissedConnections(_) if !OF_CONNECTIONS.iter().any(|&kind| self.wants(kind)) => {}
                Heard::Missed(count) | Heard::MissedConnections(count) => self.queue().lose(count),
                Heard::Ended => {
                    self.queue().end();
                    return self.woken.notify_one();
                }
            }
            self.heard.store(listener.position(), Relaxed);
            self.woken.notify_one();
        }
    }

    /// Tells what is in the queue, one message after the other.
    async fn tell(&self) {
        let mut failed = 0;
        loop {
            let next = self.queue().next();
            let message = match next {
                Next::Message(message) => message,
                Next::End => return,
                Next::Wait => {
                    self.woken.notified().await;
                    continue;
                }
            };
            if !self.tell_one(&message, &mut failed).await {
                return;
            }
        }
    }

    /// Until it was told, or is given up. Whether there is more to tell.
    async fn tell_one(&self, message: &Message, failed: &mut u32) -> bool {
        let mut backoff = Backoff::new(self.pace.first_wait, self.pace.longest_wait, Duration::MAX);
        // One that has not answered for long is not asked more often because there is another event.
        for _ in 0..(*failed).min(MOST_DOUBLINGS) {
            backoff.next(Duration::ZERO);
        }
        loop {
            self.standing().state = State::Sending;
            match self.attempt(message).await {
                Ok(()) => {
                    self.succeeded(message, std::mem::take(failed));
                    return true;
                }
                Err(Failure::Gone) => {
                    tracing::warn!(webhook = %self.name, to = %self.shown(), "it answers 410: it is told nothing more until its settings change");
                    self.failed("it answers 410 Gone: it wants to hear no more");
                    self.standing().state = State::Stopped;
                    return false;
                }
                Err(Failure::Again { why, after }) => {
                    if *failed == 0 {
                        tracing::warn!(webhook = %self.name, to = %self.shown(), reason = why, "a webhook is not heard; it is tried again");
                    }
                    *failed = failed.saturating_add(1);
                    self.failed(&why);
                    if !self.rest(&mut backoff, after, *failed).await {
                        return false;
                    }
                    let now = self.clock.now();
                    if self.queue().give_up(message, now, self.pace.give_up) {
                        self.passed(message);
                        self.standing().state = State::Idle;
                        return true;
                    }
                }
            }
        }
    }

    /// Waits for the next attempt. Whether there is to be one.
    async fn rest(&self, backoff: &mut Backoff, after: Option<Duration>, attempts: u32) -> bool {
        let wait = shortened(backoff.next(Duration::ZERO), (self.random)());
        let wait = after.map_or(wait, |after| wait.max(after.min(self.pace.longest_wait)));
        let until = self.clock.now() + wait;
        self.standing().state = State::Waiting {
            attempts,
            until: wall_at(&*self.clock, until),
        };
        let sleep = tokio::time::sleep(wait);
        tokio::pin!(sleep);
        // What comes meanwhile wakes it, too; there is no time left once nothing follows.
        loop {
            if self.queue().has_ended() {
                return false;
            }
            tokio::select! {
                () = &mut sleep => return true,
                () = self.woken.notified() => {}
            }
        }
    }

    async fn attempt(&self, message: &Message) -> Result<(), Failure> {
        let again = |why: &str| Failure::Again {
            why: why.to_owned(),
            after: None,
        };
        let url = self.settings.url.as_ref().ok_or_else(|| again("it has no url"))?;
        let (id, body) = (message.id(), message.body());
        let timestamp_s = self.clock.wall().unix_micros().div_euclid(1_000_000);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(TIMESTAMP, timestamp_s.into());
        let written = |text: &str| HeaderValue::from_str(text).map_err(|_| again("its id is no header"));
        headers.insert(ID, written(&id)?);
        if let Some(secret) = self.secret().await? {
            let signature = sign::signature(&secret.key(), &id, timestamp_s, &body);
            headers.insert(SIGNATURE, written(&signature)?);
        }
        let request = Request {
            method: Method::POST,
            headers,
            body: Bytes::from(body),
            // The id says to the server that it has it already.
            repeatable: true,
            ..Request::get(url.expose().clone())
        };
        let response = self.client.send(request).await?;
        let (status, after) = (response.status, retry_after(&response.headers));
        // Read for the sake of the connection.
        let _ = tokio::time::timeout(BODY_WITHIN, response.bytes(MOST_OF_ANSWER)).await;
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(Failure::Gone),
            status if status.is_redirection() => Err(again(&format!(
                "it answers {status}: redirects are not followed; set the url that it leads to"
            ))),
            status => Err(Failure::Again {
                why: format!("it answers {status}"),
                after,
            }),
        }
    }

    /// What messages are signed with now.
    async fn secret(&self) -> Result<Option<SigningSecret>, Failure> {
        let Some(path) = &self.settings.secret_file else {
            return Ok(self.settings.secret.clone());
        };
        let unusable = |why: String| Failure::Again {
            why: format!("secret_file {}: {why}", path.display()),
            after: None,
        };
        // Of a disk, or of a network that is away.
        let reading = tokio::task::spawn_blocking({
            let path = path.clone();
            move || read(&path)
        });
        let text = reading.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let text = text.map_err(|error| unusable(error.to_string()))?;
        let secret = text
            .parse()
            .map_err(|error: InvalidWord| unusable(format!("it holds {error}")))?;
        Ok(Some(secret))
    }

    fn succeeded(&self, message: &Message, failed: u32) {
        self.queue().told(message);
        self.passed(message);
        if failed > 0 {
            let (_, lost) = self.queue().figures();
            tracing::info!(webhook = %self.name, to = %self.shown(), attempts = failed, lost, "a webhook is heard again");
        }
        let now = self.clock.wall();
        let mut standing = self.standing();
        standing.state = State::Idle;
        standing.told = standing.told.saturating_add(message.event().is_some().into());
        standing.last_success = Some(now);
    }

    fn failed(&self, why: &str) {
        let now = self.clock.wall();
        let mut standing = self.standing();
        standing.failures = standing.failures.saturating_add(1);
        standing.last_failure = Some((now, why.into()));
    }

    fn passed(&self, message: &Message) {
        if let Some(id) = message.event() {
            self.told.store(id, Relaxed);
        }
    }

    fn shown(&self) -> String {
        self.settings.url.as_ref().map(HookUrl::to_string).unwrap_or_default()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST_OF_SECRET).read_to_string(&mut text)?;
    Ok(text)
}

/// How long an answer asks to be left alone (RFC 9110 §10.2.3). A date is not heeded.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}
