//! One stream that is played by HLS: its muxer, who waits for it, and the task that feeds it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::hub::{Entry, Event, Position, Reader, Stream};
use media::{Clock, StreamName};
use protocol::hls::{Config, Identity, List, Muxer, Query, Resource, Text};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::clients::Clients;
use super::{Error, Hls};

/// Frames taken from the hub at once.
const BATCH_FRAMES: usize = 64;

/// Why a request got nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// It is a bad one, and why.
    Refused(&'static str),
    /// What it waited for did not come in time.
    TooLate,
    /// There is no such file, or no longer.
    Gone,
}

/// See the module.
pub struct Channel {
    stream: Arc<Stream>,
    muxer: Mutex<Muxer>,
    /// There is something new in the muxer.
    news: Notify,
    clients: Clients,
    began: Instant,
    /// When somebody asked for something last, in milliseconds since it began.
    asked_ms: AtomicU64,
    ended: AtomicBool,
}

impl Channel {
    /// The stream's name.
    pub fn name(&self) -> &StreamName {
        self.stream.name()
    }

    /// Who plays it.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// EXT-X-TARGETDURATION, once there is a list.
    pub fn target_duration(&self) -> Option<Duration> {
        self.lock().target_duration()
    }

    /// The media list that answers `query`. Waits for it where that is asked for.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn list(&self, query: &Query, token: Option<&str>) -> Result<Arc<Text>, Unavailable> {
        self.when_there(|muxer| muxer.list(query, token).into()).await
    }

    /// The multivariant list, which names the media list `uri`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn multivariant(&self, uri: &str, token: Option<&str>) -> Result<Arc<Text>, Unavailable> {
        self.when_there(|muxer| muxer.multivariant(uri, token).into()).await
    }

    /// A header, part or segment. Waits for a part that the list hints at.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn media(&self, name: &str) -> Result<Vec<Bytes>, Unavailable> {
        self.when_there(|muxer| muxer.resource(name).into()).await
    }

    /// Asks again at each news, until there is an answer.
    async fn when_there<T>(&self, ask: impl Fn(&mut Muxer) -> Found<T>) -> Result<T, Unavailable> {
        let mut deadline = None;
        loop {
            // Before asking: what is new from here on is not missed.
            let news = self.news.notified();
            let patience = {
                let mut muxer = self.lock();
                match ask(&mut muxer) {
                    Found::Ready(found) => return Ok(found),
                    Found::Not(why) => return Err(why),
                    Found::Later => muxer.patience(),
                }
            };
            let deadline = *deadline.get_or_insert_with(|| tokio::time::Instant::now() + patience);
            if tokio::time::timeout_at(deadline, news).await.is_err() {
                return Err(Unavailable::TooLate);
            }
        }
    }

    /// Somebody asks for something.
    pub(super) fn asked(&self, now: Instant) {
        let ms = now.saturating_duration_since(self.began).as_millis();
        self.asked_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        let asked = Duration::from_millis(self.asked_ms.load(Relaxed));
        now.saturating_duration_since(self.began).saturating_sub(asked)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    pub(super) fn is_of(&self, stream: &Arc<Stream>) -> bool {
        Arc::ptr_eq(&self.stream, stream)
    }

    fn lock(&self) -> MutexGuard<'_, Muxer> {
        self.muxer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.lock().end();
        self.ended.store(true, Relaxed);
        self.news.notify_waiters();
    }

    /// What became of reading. Says whether it goes on.
    fn take(&self, event: &Event, frames: &[Arc<Entry>]) -> bool {
        let mut muxer = self.lock();
        let is_new = match event {
            Event::Frames(_) => frames
                .iter()
                .fold(false, |new, entry| muxer.push(&entry.frame, entry.publisher) | new),
            Event::Jumped { .. } => muxer.gap(),
            Event::Tracks(tracks) => match muxer.restart(tracks) {
                Ok(is_new) => is_new,
                Err(error) => {
                    tracing::warn!(stream = %self.name(), reason = %error, "HLS ends");
                    return false;
                }
            },
            Event::Ended(_) => return false,
        };
        drop(muxer);
        if is_new {
            self.news.notify_waiters();
        }
        true
    }
}

/// What an attempt gave.
enum Found<T> {
    Ready(T),
    Later,
    Not(Unavailable),
}

impl From<List> for Found<Arc<Text>> {
    fn from(list: List) -> Self {
        match list {
            List::Ready(text) => Self::Ready(text),
            List::Wait => Self::Later,
            List::Refused(why) => Self::Not(Unavailable::Refused(why)),
        }
    }
}

impl From<Resource> for Found<Vec<Bytes>> {
    fn from(resource: Resource) -> Self {
        match resource {
            Resource::Ready(bytes) => Self::Ready(bytes),
            Resource::Wait => Self::Later,
            Resource::Gone => Self::Not(Unavailable::Gone),
        }
    }
}

/// Feeds a channel.
pub(super) struct Feed {
    channel: Arc<Channel>,
    reader: Reader,
}

/// A channel with all that the hub still has in it, and what feeds it from then on.
pub(super) fn start(stream: Arc<Stream>, clock: &dyn Clock, config: Config) -> Result<(Arc<Channel>, Feed), Error> {
    let now = clock.now();
    let identity = Identity::at(clock.wall(), &config);
    let muxer = Muxer::new(&stream.tracks(), stream.keyframe_distance(), identity, config)?;
    for track in muxer.left_out() {
        tracing::info!(stream = %stream.name(), "{track}");
    }
    let mut frames = Vec::new();
    let mut reader = stream.replay(now, &mut frames)?;
    let channel = Arc::new(Channel {
        clients: Clients::new(Arc::clone(&stream)),
        muxer: Mutex::new(muxer),
        news: Notify::new(),
        began: now,
        asked_ms: AtomicU64::new(0),
        ended: AtomicBool::new(false),
        stream,
    });
    channel.take(&Event::Frames(frames.len()), &frames);
    frames.clear();
    let mut position: Position = reader.position();
    while let Some(event) = channel.stream.read(&mut position, BATCH_FRAMES, &mut frames) {
        if !channel.take(&event, &frames) {
            break;
        }
        frames.clear();
    }
    reader.seek(position);
    let feed = Feed {
        channel: Arc::clone(&channel),
        reader,
    };
    Ok((channel, feed))
}

impl Feed {
    /// Until the stream ends, or nobody has asked for a while.
    pub(super) async fn run(mut self, hls: Arc<Hls>) {
        let guard = Guard {
            hls: &hls,
            channel: &self.channel,
        };
        let mut look = tokio::time::interval(hls.times.look);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut frames = Vec::new();
        loop {
            tokio::select! {
                event = self.reader.next(&mut frames) => {
                    if !self.channel.take(&event, &frames) {
                        break;
                    }
                    frames.clear();
                }
                _ = look.tick() => {
                    let now = hls.clock.now();
                    self.channel.clients.forget_silent(now, self.channel.target_duration());
                    if hls.leave(&self.channel) {
                        return;
                    }
                }
            }
        }
        self.channel.end();
        drop(self.reader);
        tokio::time::sleep(hls.times.linger).await;
        drop(guard);
    }
}

/// However feeding ends, by a panic too, nobody waits for what does not come.
struct Guard<'a> {
    hls: &'a Hls,
    channel: &'a Arc<Channel>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.channel.end();
        self.hls.forget(self.channel);
    }
}
