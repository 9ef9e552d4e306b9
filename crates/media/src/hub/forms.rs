//! Forms of frames: what a protocol makes of them, made once and shared by all viewers.
//!
//! Belongs here: numbering that covers every frame in the ring, and the last few rendered outputs. Does not belong here:
//! any protocol's rendering ([`Render`] is theirs).
//!
//! **Marks.** Packets of a frame carry sequence numbers that depend on all frames before it. So each form gives every
//! frame a *mark*, the number at which it starts, in order of id and exactly once, whether anybody asked for that frame or
//! not; the mark is kept as long as the frame is in the ring. Frame and mark determine the bytes, so a viewer that lags
//! by any number of frames is given the same bytes later by rendering again, and a newcomer's burst from an old keyframe
//! ends exactly where the shared numbering is. Frames that left the ring before anybody asked for a form of them have no
//! mark, and the numbering goes on without them: whoever was to get them jumps.
//!
//! **Outputs.** Only the last few frames' are kept. For an older frame a viewer takes its mark and renders for itself,
//! outside the lock that the others pass through.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};

use super::ring::Entry;
use super::stream::Stream;
use super::sync::{Mutex, lock};

/// How a protocol renders frames.
pub trait Render: Send {
    /// What becomes of a frame: all its packets and where each begins, or, where viewers want different ones, room for those
    /// that the first who asks makes.
    type Output;

    /// Numbers `entry`: returns the mark at which it starts and moves past it. Called exactly once per frame, in order of
    /// id. Runs under the lock of the form, and should only count.
    fn mark(&mut self, entry: &Entry) -> u64;

    /// Renders `entry`: a pure function of frame and mark, but for buffers it uses again.
    fn render(&mut self, entry: &Entry, mark: u64) -> Self::Output;
}

/// One form of a stream's frames. Shared; usually part of a stream's [`Stream::extension`].
pub struct Forms<R: Render> {
    /// Weak, so that a form may be kept by its stream.
    stream: Weak<Stream>,
    keep: usize,
    inner: Mutex<Inner<R>>,
}

struct Inner<R: Render> {
    render: R,
    marks: Marks,
    /// By id, ascending.
    outputs: VecDeque<(u64, Arc<R::Output>)>,
    between: Vec<Arc<Entry>>,
}

/// Marks of consecutive ids.
#[derive(Default)]
struct Marks {
    first: u64,
    marks: VecDeque<u64>,
}

impl Marks {
    fn get(&self, id: u64) -> Option<u64> {
        let index = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.marks.get(index).copied()
    }

    /// The id after the last marked one; `None` when there is none yet.
    fn next(&self) -> Option<u64> {
        (!self.marks.is_empty()).then(|| self.first.saturating_add(self.marks.len() as u64))
    }

    fn push(&mut self, id: u64, mark: u64) {
        if self.next() != Some(id) {
            self.marks.clear();
            self.first = id;
        }
        self.marks.push_back(mark);
    }

    fn forget_before(&mut self, oldest: u64) {
        while self.first < oldest && self.marks.len() > 1 {
            self.marks.pop_front();
            self.first += 1;
        }
    }
}

impl<R: Render> Forms<R> {
    /// A form of `stream`'s frames that keeps the outputs of the last `keep` of them, at least one.
    pub fn new(stream: &Arc<Stream>, keep: usize, render: R) -> Self {
        Self {
            stream: Arc::downgrade(stream),
            keep: keep.max(1),
            inner: Mutex::new(Inner {
                render,
                marks: Marks::default(),
                outputs: VecDeque::new(),
                between: Vec::new(),
            }),
        }
    }

    /// The form of `entry`: rendered now if nobody asked before, else shared.
    ///
    /// `None` when `entry` is older than the frames that are kept: take [`Forms::mark`] and render apart.
    pub fn get(&self, entry: &Entry) -> Option<Arc<R::Output>> {
        let mut inner = lock(&self.inner);
        let place = inner.outputs.partition_point(|(id, _)| *id < entry.id);
        if let Some((id, output)) = inner.outputs.get(place)
            && *id == entry.id
        {
            return Some(Arc::clone(output));
        }
        let newest = inner.outputs.back().map_or(0, |(id, _)| *id);
        if newest.saturating_sub(entry.id) >= self.keep as u64 {
            return None;
        }
        let mark = inner.mark(&self.stream, entry)?;
        let output = Arc::new(inner.render.render(entry, mark));
        inner.outputs.insert(place, (entry.id, Arc::clone(&output)));
        let oldest = entry.id.max(newest).saturating_sub(self.keep as u64 - 1);
        while inner.outputs.front().is_some_and(|(id, _)| *id < oldest) {
            inner.outputs.pop_front();
        }
        Some(output)
    }

    /// The mark at which `entry` starts. `None` when it left the ring before anybody asked for it or a later one.
    pub fn mark(&self, entry: &Entry) -> Option<u64> {
        lock(&self.inner).mark(&self.stream, entry)
    }

    /// Lets go of all outputs, when the last viewer left. Marks stay.
    pub fn clear(&self) {
        let outputs = std::mem::take(&mut lock(&self.inner).outputs);
        drop(outputs);
    }
}

impl<R: Render> Inner<R> {
    fn mark(&mut self, stream: &Weak<Stream>, entry: &Entry) -> Option<u64> {
        if let Some(mark) = self.marks.get(entry.id) {
            return Some(mark);
        }
        let next = self.marks.next().unwrap_or(0);
        if entry.id < next {
            return None;
        }
        if let Some(stream) = stream.upgrade() {
            let oldest = stream.range(next, entry.id, &mut self.between);
            self.marks.forget_before(oldest);
        }
        for between in self.between.drain(..) {
            let mark = self.render.mark(&between);
            self.marks.push(between.id, mark);
        }
        if self.marks.get(entry.id).is_none() {
            // Out of the ring, but still in the caller's hands.
            let mark = self.render.mark(entry);
            self.marks.push(entry.id, mark);
        }
        self.marks.get(entry.id)
    }
}

impl<R: Render> fmt::Debug for Forms<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forms")
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}
