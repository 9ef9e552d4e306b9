//! What passes between a camera's two threads and those who steer it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::annexb::AccessUnit;

use super::low::Slot;
use super::watch::Watch;
use super::{Asked, Drawing};
use crate::encode;
use crate::overlay::Corner;
use crate::picture::{FrameRate, Picture};
use crate::source::{self, Description, Taken, Wanted};

/// Access units that may wait for the encode thread. It takes each in microseconds; if so many wait, it hangs in the sink.
const MOST_UNITS: usize = 64;

/// A lock, and who waits at it.
pub(super) struct Mailbox {
    state: Mutex<State>,
    /// Wakes the encode thread.
    delivered: Condvar,
    /// Wakes the capture thread out of its wait before a retry.
    ordered: Condvar,
    /// Wakes who waits for the threads to leave.
    left: Condvar,
}

struct State {
    stopping: bool,
    /// Nothing is to be captured.
    off: bool,
    threads: u32,
    picture: Option<(Picture, Taken)>,
    units: VecDeque<(AccessUnit, Taken)>,
    /// Access units are given up until the next keyframe.
    units_broken: bool,
    feed: Feed,
    /// The encode thread has not seen it.
    feed_is_new: bool,
    wanted: Wanted,
    /// The source must be opened anew for `wanted`.
    reopen: bool,
    /// What was asked for last: a source that is opened anew knows nothing of it.
    brightness: Option<i32>,
    /// The source has not been told.
    brightness_is_new: bool,
    keyframe: bool,
    bitrate_kbps: u32,
    /// The encoder takes no more than this, whatever bitrate is set.
    ceiling_kbps: Option<u32>,
    drawing: Drawing,
    /// Where lines were drawn last.
    lines_corner: Corner,
    /// Who is given each picture when it has been encoded.
    low: Option<Arc<Slot>>,
    /// Who looks for motion in them.
    watch: Option<Arc<Watch>>,
    /// A lower stream may be wanted, which is made of raw pictures.
    low_is_possible: bool,
}

/// What the source is doing.
#[derive(Clone)]
pub(super) enum Feed {
    /// It is being opened; no failure yet since the camera started or was told to reopen.
    Starting { source: Arc<str>, since: Instant },
    /// It delivers.
    Running { description: Arc<Description> },
    /// It is closed, since it is not wanted.
    Off,
    /// It failed. `retry_at` is `None` while it is being tried again.
    Failed {
        error: Arc<source::Error>,
        retry_at: Option<Instant>,
    },
}

/// What a [`super::Handle`] can ask for.
pub(super) enum Order {
    Keyframe,
    BitrateKbps(u32),
    CeilingKbps(Option<u32>),
    Fps(FrameRate),
    Overlay(bool),
    Drawing(Drawing),
    Brightness(i32),
    /// Whether anything is captured.
    Capture(bool),
    /// Pictures go here too.
    Low(Arc<Slot>),
    /// They do not any more.
    EndLow(Arc<Slot>),
    /// They are looked at for motion.
    Watch(Arc<Watch>),
    /// They are not any more.
    EndWatch(Arc<Watch>),
}

/// What the encode thread has to do next.
pub(super) struct Turn {
    pub(super) item: Option<Item>,
    pub(super) feed: Feed,
    pub(super) keyframe: bool,
    pub(super) bitrate_kbps: u32,
    pub(super) ceiling_kbps: Option<u32>,
    pub(super) drawing: Drawing,
    pub(super) low: Option<Arc<Slot>>,
    pub(super) watch: Option<Arc<Watch>>,
}

pub(super) enum Item {
    Picture(Picture, Taken),
    Unit(AccessUnit, Taken),
}

/// What the capture thread has to do next.
pub(super) enum Errand {
    /// With another brightness, if one was asked for.
    Continue {
        brightness: Option<i32>,
    },
    Reopen,
    /// The source is closed until it is wanted again.
    Off,
    Stop,
}

/// A thread of the camera: counts it out when dropped, also in a panic.
pub(super) struct Entered(Arc<Mailbox>);

impl Mailbox {
    /// `low`: a lower stream may be wanted.
    pub(super) fn new(source: String, encode: encode::Settings, drawing: Drawing, low: bool, now: Instant) -> Self {
        Self {
            state: Mutex::new(State {
                stopping: false,
                off: false,
                threads: 0,
                picture: None,
                units: VecDeque::new(),
                units_broken: false,
                feed: Feed::Starting {
                    source: Arc::from(source),
                    since: now,
                },
                feed_is_new: true,
                wanted: Wanted {
                    width: encode.width,
                    height: encode.height,
                    fps: encode.fps,
                    raw: needs_raw(drawing) || low,
                },
                reopen: false,
                brightness: None,
                brightness_is_new: false,
                keyframe: false,
                bitrate_kbps: encode.bitrate_kbps,
                ceiling_kbps: None,
                lines_corner: drawing.lines.unwrap_or_default(),
                drawing,
                low: None,
                watch: None,
                low_is_possible: low,
            }),
            delivered: Condvar::new(),
            ordered: Condvar::new(),
            left: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(self: &Arc<Self>) -> Entered {
        self.lock().threads += 1;
        Entered(Arc::clone(self))
    }

    /// Waits until no thread is left, at most `timeout`. Says whether that came to be.
    pub(super) fn wait_until_left(&self, timeout: Duration) -> bool {
        let left = self
            .left
            .wait_timeout_while(self.lock(), timeout, |state| state.threads > 0);
        let (state, _) = left.unwrap_or_else(PoisonError::into_inner);
        state.threads == 0
    }

    pub(super) fn stop(&self) {
        let low = {
            let mut state = self.lock();
            state.stopping = true;
            state.low.take()
        };
        if let Some(low) = low {
            low.stop();
        }
        self.delivered.notify_all();
        self.ordered.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    pub(super) fn order(&self, order: Order) {
        let mut state = self.lock();
        match order {
            Order::Keyframe => state.keyframe = true,
            Order::BitrateKbps(kbps) => state.bitrate_kbps = kbps.clamp(encode::MIN_KBPS, encode::MAX_KBPS),
            Order::CeilingKbps(kbps) => {
                state.ceiling_kbps = kbps.map(|kbps| kbps.clamp(encode::MIN_KBPS, encode::MAX_KBPS));
            }
            Order::Fps(fps) => {
                state.reopen |= fps != state.wanted.fps;
                state.wanted.fps = fps;
            }
            Order::Overlay(on) => {
                let drawing = Drawing {
                    lines: on.then_some(state.lines_corner),
                    ..state.drawing
                };
                state.draw(drawing);
            }
            Order::Drawing(drawing) => state.draw(drawing),
            Order::Brightness(value) => {
                state.brightness = Some(value);
                state.brightness_is_new = true;
            }
            Order::Capture(on) => state.capture(on),
            Order::Low(slot) if state.stopping => slot.stop(),
            Order::Low(slot) => {
                if let Some(before) = state.low.replace(slot) {
                    before.stop();
                }
            }
            Order::EndLow(slot) => {
                if state.low.as_ref().is_some_and(|there| Arc::ptr_eq(there, &slot)) {
                    state.low = None;
                }
            }
            Order::Watch(watch) => state.watch = Some(watch),
            Order::EndWatch(watch) => {
                if state.watch.as_ref().is_some_and(|there| Arc::ptr_eq(there, &watch)) {
                    state.watch = None;
                }
            }
        }
        drop(state);
        self.ordered.notify_all();
        self.delivered.notify_all();
    }

    /// Puts a picture into the mailbox. Gives back the one that was still in it, which the new one replaces.
    pub(super) fn put_picture(&self, picture: Picture, taken: Taken) -> Option<Picture> {
        let mut state = self.lock();
        if state.off {
            return Some(picture);
        }
        let old = state.picture.replace((picture, taken));
        drop(state);
        self.delivered.notify_all();
        old.map(|(picture, _)| picture)
    }

    /// Puts an access unit behind those that wait. Gives how many were given up: the encode thread hangs, and going on from anything but
    /// a keyframe would show garbage.
    pub(super) fn put_unit(&self, unit: AccessUnit, taken: Taken) -> u64 {
        let mut state = self.lock();
        if state.off {
            return 0;
        }
        let mut dropped = 0;
        if state.units.len() >= MOST_UNITS {
            dropped = state.units.len() as u64;
            state.units.clear();
            state.units_broken = true;
        }
        state.units_broken &= !unit.keyframe;
        if state.units_broken {
            return dropped + 1;
        }
        state.units.push_back((unit, taken));
        drop(state);
        self.delivered.notify_all();
        dropped
    }

    /// Says what the source is doing.
    pub(super) fn set_feed(&self, feed: Feed) {
        let mut state = self.lock();
        if matches!(feed, Feed::Running { .. }) {
            // A source's access units begin at a keyframe, wherever it began to deliver.
            state.units_broken = true;
            state.brightness_is_new = state.brightness.is_some();
        }
        // One that was switched off while it began to deliver is closed in a moment.
        if !state.off || matches!(feed, Feed::Off) {
            state.feed = feed;
        }
        state.feed_is_new = true;
        drop(state);
        self.delivered.notify_all();
    }

    /// The source is about to be opened as it is wanted.
    ///
    /// # Errors
    /// What is to be done instead.
    pub(super) fn opening(&self) -> Result<Wanted, Errand> {
        let mut state = self.lock();
        state.reopen = false;
        match (state.stopping, state.off) {
            (true, _) => Err(Errand::Stop),
            (false, true) => Err(Errand::Off),
            (false, false) => Ok(state.wanted),
        }
    }

    /// What the capture thread should do between two pictures.
    pub(super) fn errand(&self) -> Errand {
        let mut state = self.lock();
        if state.stopping {
            Errand::Stop
        } else if state.off {
            Errand::Off
        } else if std::mem::take(&mut state.reopen) {
            Errand::Reopen
        } else {
            let is_new = std::mem::take(&mut state.brightness_is_new);
            Errand::Continue {
                brightness: state.brightness.filter(|_| is_new),
            }
        }
    }

    /// Waits before the source is tried again; ends early when it should stop or reopen.
    pub(super) fn rest(&self, rest: Duration) {
        let state = self.lock();
        let waited = self
            .ordered
            .wait_timeout_while(state, rest, |state| !state.stopping && !state.reopen && !state.off);
        drop(waited);
    }

    /// What was asked for last.
    pub(super) fn asked(&self) -> Asked {
        let state = self.lock();
        Asked {
            captures: !state.off,
            bitrate_kbps: state.bitrate_kbps,
            lines: state.drawing.lines.is_some(),
        }
    }

    /// Waits until the source is wanted again, or all is to end.
    pub(super) fn wait_while_off(&self) {
        let waited = self
            .ordered
            .wait_while(self.lock(), |state| state.off && !state.stopping);
        drop(waited);
    }

    /// Waits at most `timeout` for something to do. `None`: stop.
    pub(super) fn turn(&self, timeout: Duration) -> Option<Turn> {
        let idle = |state: &mut State| {
            let told = state.stopping || state.keyframe || state.feed_is_new;
            !told && state.picture.is_none() && state.units.is_empty()
        };
        let waited = self.delivered.wait_timeout_while(self.lock(), timeout, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.stopping {
            return None;
        }
        state.feed_is_new = false;
        let unit = state.units.pop_front();
        let item = match unit {
            Some((unit, taken)) => Some(Item::Unit(unit, taken)),
            None => state
                .picture
                .take()
                .map(|(picture, taken)| Item::Picture(picture, taken)),
        };
        Some(Turn {
            item,
            feed: state.feed.clone(),
            keyframe: std::mem::take(&mut state.keyframe),
            bitrate_kbps: state.bitrate_kbps,
            ceiling_kbps: state.ceiling_kbps,
            drawing: state.drawing,
            low: state.low.clone(),
            watch: state.watch.clone(),
        })
    }
}

impl State {
    fn capture(&mut self, on: bool) {
        // The capture thread may not have seen yet that it was off, and would not say again that it runs.
        self.reopen |= self.off && on;
        self.off = !on;
        if self.off {
            // What was captured and not shown yet never is.
            self.picture = None;
            self.units.clear();
            self.units_broken = true;
            self.feed = Feed::Off;
            self.feed_is_new = true;
        }
    }

    fn draw(&mut self, drawing: Drawing) {
        self.lines_corner = drawing.lines.unwrap_or(self.lines_corner);
        self.drawing = drawing;
        let raw = needs_raw(drawing) || self.low_is_possible;
        // A source that delivers raw pictures goes on when they are no longer needed: opening it anew would cost viewers a gap.
        let coded = matches!(&self.feed, Feed::Running { description } if description.kind == source::Kind::Coded);
        self.reopen |= raw && !self.wanted.raw && coded;
        self.wanted.raw = raw;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.threads -= 1;
        drop(state);
        self.0.left.notify_all();
    }
}

fn needs_raw(drawing: Drawing) -> bool {
    drawing.lines.is_some() || drawing.stamp.is_some()
}
