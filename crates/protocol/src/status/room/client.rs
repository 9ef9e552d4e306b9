//! One client: what waits for it, what it may.

use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::StreamName;

use super::bucket::Bucket;
use super::{Config, Out};

/// Between two warnings that not everything was heard.
const WARN_AGAIN: Duration = Duration::from_secs(1);

/// What a client may want to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Hear of a camera; without one, of the others.
    View,
    /// Speak for a camera.
    Publish,
    /// Tell a camera what to do.
    Operate,
}

/// Says what a client may do, to a camera or at all.
type Permit = Box<dyn Fn(Right, Option<&StreamName>) -> bool + Send>;

/// Somebody who comes in.
pub struct Member {
    /// What others see of it, with a number behind it.
    pub name: String,
    /// The camera it means when it names none; `None`: the default.
    pub camera: Option<StreamName>,
    /// Whether it is told of cameras, as far as it may see them, or hears the chat alone.
    pub hears_cameras: bool,
    /// What it may do, to a camera or at all.
    pub permit: Permit,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.name, self.camera)
    }
}

#[derive(Debug)]
pub(super) struct Client {
    member: Member,
    /// What it is told of cameras when it comes in: at most two words a camera, and no word is lost.
    welcome: VecDeque<Bytes>,
    /// What others said.
    words: VecDeque<Bytes>,
    /// Answers to it, and commands.
    replies: VecDeque<Out>,
    queue: usize,
    dropped: u64,
    waker: Option<Waker>,
    pub(super) statuses: Bucket,
    pub(super) texts: Bucket,
    warned_at: Option<Instant>,
}

impl Client {
    pub(super) fn new(member: Member, config: &Config, now: Instant) -> Self {
        Self {
            member,
            welcome: VecDeque::new(),
            words: VecDeque::new(),
            replies: VecDeque::new(),
            queue: config.queue,
            dropped: 0,
            waker: None,
            statuses: Bucket::new(config.statuses_per_second, now),
            texts: Bucket::new(config.texts_per_second, now),
            warned_at: None,
        }
    }

    pub(super) fn now_is(&mut self, member: Member) {
        self.member = member;
        if !self.hears(None) {
            self.welcome.clear();
            self.words.clear();
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.member.name
    }

    /// The camera it means when it names none.
    pub(super) fn camera(&self) -> StreamName {
        self.member.camera.clone().unwrap_or_else(StreamName::default_stream)
    }

    pub(super) fn may(&self, right: Right, camera: Option<&StreamName>) -> bool {
        (self.member.permit)(right, camera)
    }

    /// Whether it is told of a camera; without one, what others say.
    pub(super) fn hears(&self, camera: Option<&StreamName>) -> bool {
        (self.member.hears_cameras || camera.is_none()) && self.may(Right::View, camera)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn welcome(&mut self, word: Bytes) {
        self.welcome.push_back(word);
    }

    pub(super) fn tell(&mut self, word: Bytes) {
        self.dropped += u64::from(push(&mut self.words, word, self.queue));
    }

    pub(super) fn reply(&mut self, out: Out) {
        self.dropped += u64::from(push(&mut self.replies, out, self.queue));
    }

    pub(super) fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    pub(super) fn is_half_full(&self) -> bool {
        self.words.len() * 2 >= self.queue
    }

    pub(super) fn may_be_warned(&mut self, now: Instant) -> bool {
        let warned = self
            .warned_at
            .is_some_and(|at| now.saturating_duration_since(at) < WARN_AGAIN);
        if !warned {
            self.warned_at = Some(now);
        }
        !warned
    }

    /// Once, until it has looked again.
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Answers come first: a ping measures how long it takes.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Out> {
        if let Some(reply) = self.replies.pop_front() {
            return Poll::Ready(reply);
        }
        if let Some(word) = self.welcome.pop_front().or_else(|| self.words.pop_front()) {
            return Poll::Ready(Out::Text(word));
        }
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

/// Whether the oldest had to go.
fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) -> bool {
    let full = queue.len() >= most;
    if full {
        queue.pop_front();
    }
    queue.push_back(item);
    full
}
