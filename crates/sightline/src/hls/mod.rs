//! LL-HLS: the streams that somebody plays by it.
//!
//! Belongs here: when a stream is made into parts and when no longer ([`Hls`]), feeding its muxer from the hub and waking those who wait
//! ([`Channel`]), who is counted as a viewer. Does not belong here: what is in the lists ([`protocol::hls`]), HTTP ([`crate::http`]).
//!
//! Nothing is done for a stream until somebody asks for it. Then the frames that the hub still has, some two seconds, become a list at once;
//! from then on one task feeds the muxer, until nobody has asked for a while.

mod channel;
mod clients;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::hub::{Full, Hub, NotFound, Stream};
use media::{Clock, StreamName, WallTime};
use protocol::hls::{Config, NothingToPlay, Variant};

use crate::config::live::Adjustable;
use crate::source::lower::{lower, upper};
pub(crate) use channel::LOW_OF_FULL;
pub use channel::{Channel, Unavailable};
pub use clients::Client;

/// Why a stream is not played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// It is in codecs that players do not take.
    #[error(transparent)]
    NothingToPlay(#[from] NothingToPlay),
    /// Too many read it already.
    #[error(transparent)]
    Full(#[from] Full),
}

/// The streams that are played. One for the program.
pub struct Hls {
    hub: Hub,
    clock: Arc<dyn Clock>,
    config: Adjustable<Config>,
    times: Times,
    /// What media times of variants are counted from.
    base: WallTime,
    channels: Mutex<HashMap<StreamName, Arc<Channel>>>,
    /// Another process goes on with all of them.
    moves_on: AtomicBool,
}

/// How long things go on when nobody asks for them.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// A stream that nobody asks for. Longer than any request is kept waiting (three target durations of ten seconds), so that nobody waits
    /// for a channel that is gone.
    silence: Duration,
    /// The list of a stream that ended: those who were there ask for it at most some target durations later.
    linger: Duration,
    /// How often it is looked whether anybody still asks.
    look: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(45),
            linger: Duration::from_secs(60),
            look: Duration::from_secs(5),
        }
    }
}

impl Hls {
    /// Without any. `config` is for those that somebody begins to play.
    pub fn new(hub: Hub, clock: Arc<dyn Clock>, config: Adjustable<Config>) -> Arc<Self> {
        Self::with_times(hub, clock, config, Times::default())
    }

    fn with_times(hub: Hub, clock: Arc<dyn Clock>, config: Adjustable<Config>, times: Times) -> Arc<Self> {
        Arc::new(Self {
            hub,
            base: clock.wall(),
            clock,
            config,
            times,
            channels: Mutex::default(),
            moves_on: AtomicBool::new(false),
        })
    }

    /// Another process takes the place of this one. From now on a list does not say that a stream has ended: players ask for it again, and find it there.
    pub fn move_on(&self) {
        self.moves_on.store(true, Relaxed);
    }

    /// The channel of a stream for somebody who begins to play it. `has_low`: it has a lower rendition, if not at this moment.
    ///
    /// # Errors
    /// [`Error`].
    pub fn begin(self: &Arc<Self>, name: &StreamName, has_low: bool) -> Result<Arc<Channel>, Error> {
        let now = self.clock.now();
        let stream = self.hub.stream(name, now)?;
        let mut channels = self.lock();
        self.channel_of(&mut channels, stream, has_low, now)
    }

    /// The channel of a stream for somebody who knows its list. The list of one that ended is still there for a while, and says so.
    ///
    /// # Errors
    /// [`Error`].
    pub fn follow(self: &Arc<Self>, name: &StreamName) -> Result<Arc<Channel>, Error> {
        let now = self.clock.now();
        let mut channels = self.lock();
        let there = channels.get(name);
        if let Some(live) = there.filter(|channel| !channel.has_ended()) {
            live.asked(now);
            return Ok(Arc::clone(live));
        }
        match (self.hub.stream(name, now), there) {
            (Ok(stream), _) => self.channel_of(&mut channels, stream, false, now),
            (Err(_), Some(ended)) => Ok(Arc::clone(ended)),
            (Err(missing), None) => Err(missing.into()),
        }
    }

    /// The channel of a stream that is played, or was until a moment ago, for somebody who asks for a piece of it.
    pub fn existing(&self, name: &StreamName) -> Option<Arc<Channel>> {
        let channels = self.lock();
        let channel = channels.get(name)?;
        channel.asked(self.clock.now());
        Some(Arc::clone(channel))
    }

    /// What the multivariant list says of a stream, where it is played. It is not asked for by that.
    pub fn played_variant(&self, name: &StreamName) -> Option<Variant> {
        let channel = self.lock().get(name).filter(|channel| !channel.has_ended()).cloned()?;
        channel.known_variant()
    }

    /// All that are played, by name.
    pub fn played(&self) -> Vec<Arc<Channel>> {
        let mut channels: Vec<_> = self.lock().values().cloned().collect();
        channels.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        channels
    }

    fn channel_of(
        self: &Arc<Self>,
        channels: &mut HashMap<StreamName, Arc<Channel>>,
        stream: Arc<Stream>,
        has_low: bool,
        now: Instant,
    ) -> Result<Arc<Channel>, Error> {
        let there = channels.get(stream.name());
        if let Some(channel) = there.filter(|channel| channel.is_of(&stream) && !channel.has_ended()) {
            channel.asked(now);
            return Ok(Arc::clone(channel));
        }
        let name = stream.name().clone();
        let (low, full) = (lower(&name), upper(&name));
        let is_there = |name: &Option<StreamName>| {
            let there = name.as_ref().map(|name| self.hub.stream(name, now));
            there.is_some_and(|there| there.is_ok())
        };
        let is_variant = has_low || is_there(&low) || is_there(&full);
        let base = is_variant.then_some(self.base);
        let (channel, feed) = channel::start(stream, &*self.clock, self.config.get(), base)?;
        tokio::spawn(feed.run(Arc::clone(self)));
        channels.insert(name, Arc::clone(&channel));
        let played = |name: Option<StreamName>| channels.get(&name?).filter(|channel| !channel.has_ended());
        if let Some(low) = played(low) {
            Channel::pair(&channel, low);
        } else if let Some(full) = played(full) {
            Channel::pair(full, &channel);
        }
        Ok(channel)
    }

    /// Lets go of a channel that nobody asks any more. Says whether it did: asking and leaving exclude each other.
    fn leave(&self, channel: &Arc<Channel>) -> bool {
        let mut channels = self.lock();
        if channel.silent_for(self.clock.now()) < self.times.silence {
            return false;
        }
        remove(&mut channels, channel);
        true
    }

    /// Forgets a channel, whoever asks.
    fn forget(&self, channel: &Arc<Channel>) {
        remove(&mut self.lock(), channel);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamName, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another one may have taken its place.
fn remove(channels: &mut HashMap<StreamName, Arc<Channel>>, channel: &Arc<Channel>) {
    let name = channel.name();
    channel.part();
    if channels.get(name).is_some_and(|there| Arc::ptr_eq(there, channel)) {
        channels.remove(name);
    }
}
