//! Motion in a camera's own pictures: five of them a second are looked at, by the thread that encodes them.
//!
//! Belongs here: which pictures, and who is told. Does not belong here: what motion is ([`crate::motion`]).
//!
//! A picture is made grey before the clock is drawn into it, which would move, and looked at when it is encoded and published: viewers do not wait for that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use media::{MediaTime, Timescale, WallTime};

use super::mailbox::Order;
use super::{Handle, Mailbox};
use crate::motion::{Grey, Motion, Seen, Settings, Shrinker};
use crate::picture::Picture;

/// Who is told of what was seen. Called from the camera's thread after each look, and when there are no more pictures; must not block.
pub type Tell = Box<dyn FnMut(Seen) + Send>;

/// A watch over a camera. Ends when dropped; nothing is told afterwards.
pub struct Watching {
    watch: Arc<Watch>,
    mailbox: Arc<Mailbox>,
}

/// What the encoding thread has of it.
pub(super) struct Watch {
    state: Mutex<State>,
}

struct State {
    motion: Motion,
    shrinker: Shrinker,
    /// Where media time is zero here.
    zero: Option<Instant>,
    /// When the last picture was taken.
    last: Option<(MediaTime, WallTime)>,
    tell: Tell,
    is_over: bool,
}

impl Handle {
    /// Looks for motion in the camera's pictures, for as long as what this returns lives; a watch before it ends. Nothing is seen while the source's own H.264
    /// passes, of which there are no pictures here, and on slates.
    pub fn watch(&self, settings: Settings, tell: Tell) -> Watching {
        let watch = Arc::new(Watch {
            state: Mutex::new(State {
                motion: Motion::new(settings),
                shrinker: Shrinker::default(),
                zero: None,
                last: None,
                tell,
                is_over: false,
            }),
        });
        self.mailbox.order(Order::Watch(Arc::clone(&watch)));
        Watching {
            watch,
            mailbox: Arc::clone(&self.mailbox),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watch.lock().is_over = true;
        self.mailbox.order(Order::EndWatch(Arc::clone(&self.watch)));
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A picture that was taken then, made grey, where one is wanted.
    pub(super) fn shrink(&self, picture: &Picture, taken: Instant) -> Option<Grey> {
        let mut state = self.lock();
        let at = state.media(taken);
        (!state.is_over && state.motion.wants(at)).then(|| state.shrinker.shrink(picture))
    }

    /// Looks at it.
    pub(super) fn look(&self, grey: &Grey, taken: Instant, wall: WallTime) {
        let mut state = self.lock();
        let at = state.media(taken);
        state.last = Some((at, wall));
        let mut events = Vec::new();
        state.motion.look(grey, at, &mut events);
        state.told(events);
    }

    /// There are no pictures for now.
    pub(super) fn interrupt(&self) {
        let mut state = self.lock();
        let mut events = Vec::new();
        state.motion.interrupt(&mut events);
        if !events.is_empty() {
            state.told(events);
        }
    }
}

impl State {
    /// Instants as a clock of microseconds.
    fn media(&mut self, taken: Instant) -> MediaTime {
        let zero = *self.zero.get_or_insert(taken);
        let since = taken.saturating_duration_since(zero);
        MediaTime::new(media::time::micros(since), MICROS)
    }

    fn told(&mut self, events: Vec<crate::motion::Event>) {
        let Some((at, wall)) = self.last else { return };
        let now = self.motion.now();
        if !self.is_over {
            (self.tell)(Seen { events, now, at, wall });
        }
    }
}

/// A clock of microseconds.
const MICROS: Timescale = match Timescale::new(1_000_000) {
    Some(micros) => micros,
    None => Timescale::VIDEO,
};
