//! One stream that is played by HLS: its muxer, who waits for it, and the task that feeds it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::hub::{Entry, Event, Position, Reader, Stream};
use media::{Clock, StreamName, WallTime};
use protocol::hls::{Config, Identity, List, Muxer, Query, Report, Resource, Text, Variant};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::clients::Clients;
use super::{Error, Hls};

/// The list of a stream as that of its lower rendition names it, and the other way round.
const FULL_OF_LOW: &str = "../stream.m3u8";
pub(crate) const LOW_OF_FULL: &str = "low/stream.m3u8";
/// How often the source of the other variant is told that it is wanted: sources on demand go on for ten seconds.
const WANTED_EVERY: Duration = Duration::from_secs(1);
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
    /// It comes from another process in a moment.
    Moved,
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
    /// Another process goes on with it.
    moved: AtomicBool,
    /// The other variant of it.
    sibling: Mutex<Option<Sibling>>,
    /// When that one was wanted last, counted likewise; zero: never.
    sibling_wanted_ms: AtomicU64,
}

/// The other variant of a stream that is played.
struct Sibling {
    channel: Weak<Channel>,
    /// How its list names ours.
    uri: &'static str,
}

impl Channel {
    /// The stream's name.
    pub fn name(&self) -> &StreamName {
        self.stream.name()
    }

    /// The stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// When it began, and when somebody asked for something last.
    pub fn times(&self) -> (Instant, Instant) {
        let asked = Duration::from_millis(self.asked_ms.load(Relaxed));
        (self.began, self.began.checked_add(asked).unwrap_or(self.began))
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

    /// What the multivariant list says of it. Waits for what is played first.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn variant(&self) -> Result<Variant, Unavailable> {
        self.when_there(|muxer| muxer.variant().map_or(Found::Later, Found::Ready))
            .await
    }

    /// What the multivariant list says of it, if it is there.
    pub fn known_variant(&self) -> Option<Variant> {
        self.lock().variant()
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
                    Found::Later if self.moved.load(Relaxed) => return Err(Unavailable::Moved),
                    Found::Later => muxer.patience(),
                }
            };
            let deadline = *deadline.get_or_insert_with(|| tokio::time::Instant::now() + patience);
            if tokio::time::timeout_at(deadline, news).await.is_err() {
                return Err(Unavailable::TooLate);
            }
        }
    }

    /// Somebody asks for something. Who plays one variant may change to the other at any time, at what it plays then, which may be some segments ago: so
    /// both have them.
    pub(super) fn asked(&self, now: Instant) {
        self.asked_ms.store(self.ms(now), Relaxed);
        let sibling = self.sibling().as_ref().and_then(|sibling| sibling.channel.upgrade());
        if let Some(sibling) = sibling {
            sibling.asked_ms.store(sibling.ms(now), Relaxed);
        }
    }

    /// The other variant, whose source is to go on while this one is played. Once in a while.
    pub fn wants(&self, now: Instant) -> Option<StreamName> {
        let (ms, every) = (self.ms(now).max(1), WANTED_EVERY.as_millis() as u64);
        let last = self.sibling_wanted_ms.load(Relaxed);
        if last != 0 && ms.saturating_sub(last) < every {
            return None;
        }
        self.sibling_wanted_ms.store(ms, Relaxed);
        let sibling = self.sibling().as_ref().and_then(|sibling| sibling.channel.upgrade());
        sibling.map(|sibling| sibling.name().clone())
    }

    fn ms(&self, now: Instant) -> u64 {
        let ms = now.saturating_duration_since(self.began).as_millis();
        u64::try_from(ms).unwrap_or(u64::MAX)
    }

    /// These are variants of one stream from now on: their lists tell how far the other is.
    pub(super) fn pair(full: &Arc<Self>, low: &Arc<Self>) {
        for (channel, other, uri) in [(full, low, FULL_OF_LOW), (low, full, LOW_OF_FULL)] {
            *channel.sibling() = Some(Sibling {
                channel: Arc::downgrade(other),
                uri,
            });
            channel.tell_sibling();
        }
    }

    /// It is no longer a variant of what it was.
    pub(super) fn part(&self) {
        let sibling = self.sibling().take().and_then(|sibling| sibling.channel.upgrade());
        if let Some(sibling) = sibling {
            sibling.lock().report(None);
        }
    }

    fn tell_sibling(&self) {
        let last = self.lock().last_part();
        let sibling = self.sibling();
        let Some((Sibling { channel, uri }, last)) = sibling.as_ref().zip(last) else {
            return;
        };
        if let Some(channel) = channel.upgrade() {
            channel.lock().report(Some(Report { uri, last }));
        }
    }

    fn sibling(&self) -> MutexGuard<'_, Option<Sibling>> {
        self.sibling.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// `moves_on`: it goes on elsewhere, and its list does not say that it has ended.
    fn end(&self, moves_on: bool) {
        self.part();
        if moves_on {
            self.moved.store(true, Relaxed);
        } else {
            self.lock().end();
        }
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
            self.tell_sibling();
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
/// `base`: what media times are counted from, where there is another variant.
pub(super) fn start(
    stream: Arc<Stream>,
    clock: &dyn Clock,
    config: Config,
    base: Option<WallTime>,
) -> Result<(Arc<Channel>, Feed), Error> {
    let now = clock.now();
    let identity = Identity::at(clock.wall(), &config);
    let mut muxer = Muxer::new(&stream.tracks(), stream.keyframe_distance(), identity, config)?;
    if let Some(base) = base {
        muxer.count_from(base);
    }
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
        moved: AtomicBool::new(false),
        sibling: Mutex::default(),
        sibling_wanted_ms: AtomicU64::new(0),
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
        self.channel.end(hls.moves_on.load(Relaxed));
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
        self.channel.end(self.hls.moves_on.load(Relaxed));
        self.hls.forget(self.channel);
    }
}
