//! One task per stream and shard that gives each frame to all its viewers.
//!
//! Belongs here: whose turn it is: viewers in step get a frame as it is handed out, those behind read for themselves when
//! their connection takes more. Does not belong here: how a frame is sent ([`super::viewer`]), what RTSP says
//! ([`super::connection`]).
//!
//! A task for all instead of one per viewer: publishing wakes one task per shard, and a frame goes to a thousand viewers in one
//! loop without a switch of tasks in between.

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::hub::{Entry, Event, Full, Position, Reader, Stream};
use media::{Clock, TrackIndex, WallTime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use super::forms::Forms;
use super::viewer::{End, Place, Sent, Transport, Viewer};

/// Frames that a viewer which is behind is sent in one turn, so that one with a fast connection and a long way to go does
/// not hold up the others.
const FRAMES_PER_TURN: usize = 16;
/// Viewers that are served between two looks at the clock: some 100 µs, by which their delays are too short.
const VIEWERS_PER_LOOK: usize = 32;
/// A connection that takes nothing for this long is ended.
const STALL_LIMIT: Duration = Duration::from_secs(10);
/// Time between sender reports (RFC 3550 §6.2 recommends five seconds as a minimum).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How often stalls and reports are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Longest wait of the shard for its turn when bursts over UDP are paced.
const PACING_STEP: Duration = Duration::from_millis(2);

/// The RTSP viewers of one stream. Lives as an extension of the stream.
pub(crate) struct Fanout {
    forms: Mutex<Arc<Forms>>,
    shards: Vec<Shard>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Shard {
    viewers: Arc<AtomicUsize>,
    /// Closed while the shard has no task.
    inbox: Mutex<Option<mpsc::UnboundedSender<Message>>>,
}

/// Counts a viewer in its shard for as long as the shard has it, however that ends: a panic drops it like everything else.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(viewers: &Arc<AtomicUsize>) -> Self {
        viewers.fetch_add(1, Relaxed);
        Self(Arc::clone(viewers))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What a connection tells the fan-out. Not bounded by itself: a connection sends at most one join, one leave, and as many
/// answers as its session lets requests wait.
enum Message {
    Join(Seated),
    Answer(u64, Bytes),
    Leave(u64, oneshot::Sender<Option<Box<Viewer>>>),
}

/// A viewer in a shard.
struct Seated {
    id: u64,
    viewer: Box<Viewer>,
    _counted: Counted,
}

/// A viewer's place in a shard. Dropping it makes the viewer leave.
pub(crate) struct Seat {
    id: u64,
    inbox: mpsc::UnboundedSender<Message>,
}

impl Seat {
    /// Sends an answer to a request between two frames.
    pub(crate) fn answer(&self, answer: Bytes) {
        // A shard that is gone has told the connection why.
        let _ = self.inbox.send(Message::Answer(self.id, answer));
    }

    /// Leaves, and gives the viewer back with what it did not get rid of; `None` when the shard let it go before.
    pub(crate) async fn leave(self) -> Option<Box<Viewer>> {
        let (back, viewer) = oneshot::channel();
        self.inbox.send(Message::Leave(self.id, back)).ok()?;
        viewer.await.ok().flatten()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.inbox.send(Message::Leave(self.id, oneshot::channel().0));
    }
}

impl Fanout {
    /// `shards`: as many as threads that run tasks.
    pub(crate) fn new(forms: Forms, shards: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            forms: Mutex::new(Arc::new(forms)),
            shards: (0..shards.max(1)).map(|_| Shard::default()).collect(),
            clock,
        }
    }

    /// The shared forms, made anew when the stream has other tracks than they were made for.
    pub(crate) fn forms(&self, stream: &Arc<Stream>, random: fn() -> u64) -> Arc<Forms> {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        if !forms.fit(&stream.tracks()) {
            *forms = Arc::new(Forms::new(stream, random));
        }
        forms.clone()
    }

    /// Seats a viewer in the shard with the fewest.
    ///
    /// # Errors
    /// [`Full`] when the stream takes no more readers.
    pub(crate) fn join(
        &self,
        stream: &Arc<Stream>,
        forms: &Arc<Forms>,
        id: u64,
        viewer: Box<Viewer>,
    ) -> Result<Seat, Full> {
        let Some(shard) = self.shards.iter().min_by_key(|shard| shard.viewers.load(Relaxed)) else {
            return Err(Full {
                what: "shards",
                limit: 0,
            });
        };
        let mut inbox = shard.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match inbox.as_ref().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender.clone(),
            None => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let reader = stream.join(self.clock.now())?;
                tokio::spawn(Task::new(reader, forms.clone(), receiver, self.clock.clone()).run());
                *inbox = Some(sender.clone());
                sender
            }
        };
        let _counted = Counted::new(&shard.viewers);
        // One whose task has just ended is dropped, which tells its connection.
        let _ = sender.send(Message::Join(Seated { id, viewer, _counted }));
        Ok(Seat { id, inbox: sender })
    }
}

/// The newest capture time and RTP timestamp of a track, for sender reports.
#[derive(Clone, Copy)]
struct Mapping {
    captured: WallTime,
    timestamp: u32,
    hz: u32,
}

struct Task {
    reader: Reader,
    forms: Arc<Forms>,
    inbox: mpsc::UnboundedReceiver<Message>,
    clock: Arc<dyn Clock>,
    /// Dense, so that the loop over all of them stays in order and in cache.
    viewers: Vec<Seated>,
    index: HashMap<u64, usize>,
    /// How many are not [`Place::InStep`].
    behind: usize,
    /// Behind the last frame handed out.
    live: Position,
    entries: Vec<Arc<Entry>>,
    catch_up: Vec<Arc<Entry>>,
    scratch: Vec<u8>,
    mappings: Vec<Option<Mapping>>,
    tick: Pin<Box<Sleep>>,
    pacing: Option<Pin<Box<Sleep>>>,
}

impl Task {
    fn new(reader: Reader, forms: Arc<Forms>, inbox: mpsc::UnboundedReceiver<Message>, clock: Arc<dyn Clock>) -> Self {
        let mut reader = reader;
        let live = reader.stream().live();
        reader.seek(live);
        Self {
            reader,
            forms,
            inbox,
            clock,
            viewers: Vec::new(),
            index: HashMap::new(),
            behind: 0,
            live,
            entries: Vec::new(),
            catch_up: Vec::new(),
            scratch: Vec::new(),
            mappings: Vec::new(),
            tick: Box::pin(tokio::time::sleep(TICK)),
            pacing: None,
        }
    }

    async fn run(mut self) {
        let end = poll_fn(|cx| self.turn(cx)).await;
        if let Some(end) = end {
            // Those who join between the stream's end and this one's end are told too.
            self.inbox.close();
            while let Ok(message) = self.inbox.try_recv() {
                self.handle(message);
            }
            while let Some(last) = self.viewers.len().checked_sub(1) {
                self.remove(last, Some(end));
            }
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        loop {
            while let Poll::Ready(message) = self.inbox.poll_recv(cx) {
                match message {
                    Some(message) => self.handle(message),
                    None => return Poll::Ready(None),
                }
            }
            self.entries.clear();
            let mut entries = std::mem::take(&mut self.entries);
            let event = self.reader.poll_next(cx, &mut entries);
            if let Poll::Ready(Event::Frames(_)) = &event {
                for entry in &entries {
                    self.serve(entry);
                }
            }
            entries.clear();
            self.entries = entries;
            match event {
                Poll::Ready(Event::Frames(_)) => continue,
                // The task itself was late: all its viewers are behind now and jump for themselves.
                Poll::Ready(Event::Jumped { .. }) => {
                    self.all_behind();
                    continue;
                }
                Poll::Ready(Event::Tracks(_)) => return Poll::Ready(Some(End::TracksChanged)),
                Poll::Ready(Event::Ended(reason)) => return Poll::Ready(Some(End::Stream(reason))),
                Poll::Pending => {}
            }
            // First what may leave a viewer behind, then those behind: they register for when their connection takes more.
            self.poll_tick(cx);
            self.serve_those_behind(cx);
            return Poll::Pending;
        }
    }

    fn handle(&mut self, message: Message) {
        let now = self.clock.now();
        match message {
            Message::Join(seated) => {
                self.index.insert(seated.id, self.viewers.len());
                self.behind += usize::from(matches!(seated.viewer.place, Place::Behind(_)));
                self.viewers.push(seated);
            }
            Message::Answer(id, answer) => {
                let Some(&at) = self.index.get(&id) else { return };
                let Some(Seated { viewer, .. }) = self.viewers.get_mut(at) else {
                    return;
                };
                let result = turn_of(viewer, |viewer| viewer.answer(answer, now));
                self.after(at, result);
            }
            Message::Leave(id, back) => {
                let viewer = self.index.get(&id).copied().and_then(|at| self.remove(at, None));
                let _ = back.send(viewer);
            }
        }
    }

    /// Gives a frame to all who are in step.
    fn serve(&mut self, entry: &Arc<Entry>) {
        self.live = Position::after(entry);
        self.note_time(entry);
        if self.viewers.len() == self.behind {
            return;
        }
        let shared = self.forms.packets(entry);
        let mut now = self.clock.now();
        // From the back: one that is removed is replaced by one that had its turn.
        for at in (0..self.viewers.len()).rev() {
            let Some(Seated { viewer, .. }) = self.viewers.get_mut(at) else {
                continue;
            };
            if !matches!(viewer.place, Place::InStep) {
                continue;
            }
            if at % VIEWERS_PER_LOOK == 0 {
                now = self.clock.now();
            }
            let (forms, scratch) = (&self.forms, &mut self.scratch);
            let result = turn_of(viewer, |viewer| {
                viewer.send(forms, entry, shared.as_deref(), scratch, now)
            });
            self.after(at, result);
        }
    }

    /// What follows from an attempt to send to a viewer: nothing, or it is behind from here on, or gone.
    fn after(&mut self, at: usize, result: Result<Sent, End>) {
        match result {
            Ok(Sent::Done) => {}
            Ok(Sent::Blocked) => {
                if let Some(Seated { viewer, .. }) = self.viewers.get_mut(at)
                    && matches!(viewer.place, Place::InStep)
                {
                    viewer.place = Place::Behind(self.live);
                    self.behind += 1;
                }
            }
            Err(end) => drop(self.remove(at, Some(end))),
        }
    }

    fn all_behind(&mut self) {
        for Seated { viewer, .. } in &mut self.viewers {
            if matches!(viewer.place, Place::InStep) {
                viewer.place = Place::Behind(self.live);
                self.behind += 1;
            }
        }
    }

    fn serve_those_behind(&mut self, cx: &mut Context<'_>) {
        if self.behind == 0 {
            return;
        }
        let now = self.clock.now();
        let mut wait_until: Option<Instant> = None;
        for at in (0..self.viewers.len()).rev() {
            let Some(Seated { viewer, .. }) = self.viewers.get_mut(at) else {
                continue;
            };
            if matches!(viewer.place, Place::InStep) {
                continue;
            }
            if viewer.is_blocked() && viewer.poll_writable(cx).is_pending() {
                continue;
            }
            let (stream, forms, live) = (self.reader.stream(), &self.forms, self.live.next_id());
            let (entries, scratch) = (&mut self.catch_up, &mut self.scratch);
            match turn_of(viewer, |viewer| {
                catch_up(viewer, stream, forms, live, entries, scratch, now)
            }) {
                Ok(Progress::Level) => {
                    viewer.place = Place::InStep;
                    self.behind -= 1;
                }
                Ok(Progress::More) => cx.waker().wake_by_ref(),
                Ok(Progress::Blocked) => {
                    if viewer.poll_writable(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                }
                Ok(Progress::Until(at)) => wait_until = Some(wait_until.map_or(at, |other| other.min(at))),
                Ok(Progress::Waiting) => {}
                Err(end) => drop(self.remove(at, Some(end))),
            }
        }
        if let Some(at) = wait_until {
            let mut sleep = Box::pin(tokio::time::sleep(at.saturating_duration_since(now).max(PACING_STEP)));
            if sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.pacing = Some(sleep);
        }
    }

    /// Reports and stalls.
    fn poll_tick(&mut self, cx: &mut Context<'_>) {
        let mut due = false;
        while self.tick.as_mut().poll(cx).is_ready() {
            due = true;
            self.tick.as_mut().reset(tokio::time::Instant::now() + TICK);
        }
        if due {
            self.tick();
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        let wall = self.clock.wall();
        for at in (0..self.viewers.len()).rev() {
            let Some(Seated { viewer, .. }) = self.viewers.get_mut(at) else {
                continue;
            };
            if viewer
                .blocked_since
                .is_some_and(|since| now.saturating_duration_since(since) > STALL_LIMIT)
            {
                self.remove(at, Some(End::Stalled));
                continue;
            }
            if viewer.next_report <= now && !viewer.is_blocked() {
                viewer.next_report = now + REPORT_INTERVAL;
                let (forms, mappings) = (&self.forms, &self.mappings);
                let result = turn_of(viewer, |viewer| {
                    viewer.report(forms, |track| timestamp_at(mappings, track, wall), wall, now)
                });
                self.after(at, result);
            }
        }
    }

    fn note_time(&mut self, entry: &Entry) {
        let track = usize::from(entry.frame.track.0);
        let Some(packetizer) = self.forms.packetizer(entry.frame.track) else {
            return;
        };
        if self.mappings.len() <= track {
            self.mappings.resize(track + 1, None);
        }
        let mapping = Mapping {
            captured: entry.frame.capture.at,
            timestamp: packetizer.timestamp(entry.frame.time),
            hz: packetizer.clock().hz(),
        };
        if let Some(slot) = self.mappings.get_mut(track) {
            *slot = Some(mapping);
        }
    }

    fn remove(&mut self, at: usize, end: Option<End>) -> Option<Box<Viewer>> {
        if at >= self.viewers.len() {
            return None;
        }
        let Seated { id, mut viewer, .. } = self.viewers.swap_remove(at);
        self.index.remove(&id);
        if let Some(moved) = self.viewers.get(at) {
            self.index.insert(moved.id, at);
        }
        self.behind -= usize::from(matches!(viewer.place, Place::Behind(_)));
        if self.viewers.is_empty() {
            // Another shard may still want them; it renders them again.
            self.forms.clear();
        }
        if let (Some(end), Some(tell)) = (end, viewer.end.take()) {
            let _ = tell.send(end);
        }
        Some(viewer)
    }
}

/// One viewer's turn. A panic in it is a bug of ours and ends this viewer, not those it shares the task with.
fn turn_of<T>(viewer: &mut Viewer, turn: impl FnOnce(&mut Viewer) -> Result<T, End>) -> Result<T, End> {
    // What a turn that broke off leaves in the lists it was lent is cleared before their next use.
    catch_unwind(AssertUnwindSafe(|| turn(viewer))).unwrap_or_else(|_| {
        tracing::error!(remote = ?viewer.stats.info.remote, "the turn of an RTSP viewer panicked, which ends it; please report the text above");
        Err(End::Panicked)
    })
}

/// How far a viewer that is behind came.
enum Progress {
    /// It has everything that was handed out.
    Level,
    /// It could take more at once; others are served first.
    More,
    /// Its connection takes no more.
    Blocked,
    /// Its burst is paced: not before then.
    Until(Instant),
    /// It waits for a keyframe.
    Waiting,
}

fn catch_up(
    viewer: &mut Viewer,
    stream: &Stream,
    forms: &Forms,
    live: u64,
    entries: &mut Vec<Arc<Entry>>,
    scratch: &mut Vec<u8>,
    now: Instant,
) -> Result<Progress, End> {
    if viewer.flush(now)? == Sent::Blocked {
        return Ok(Progress::Blocked);
    }
    for _ in 0..FRAMES_PER_TURN {
        if let Transport::Udp(udp) = &viewer.transport
            && let Some(at) = udp.not_before.filter(|&at| at > now)
        {
            return Ok(Progress::Until(at));
        }
        let Place::Behind(mut position) = viewer.place else {
            return Ok(Progress::Level);
        };
        if position.next_id() >= live && !position.is_waiting() {
            return Ok(Progress::Level);
        }
        entries.clear();
        let event = stream.read(&mut position, 1, entries);
        viewer.place = Place::Behind(position);
        match event {
            Some(Event::Frames(_)) => {}
            Some(Event::Jumped { frames_skipped }) => {
                viewer.burst = None;
                viewer.stats.jumps.add(1);
                viewer.stats.frames_dropped.add(frames_skipped);
                continue;
            }
            Some(Event::Tracks(_)) => return Err(End::TracksChanged),
            Some(Event::Ended(reason)) => return Err(End::Stream(reason)),
            None => return Ok(Progress::Waiting),
        }
        for entry in entries.drain(..) {
            let shared = forms.packets(&entry);
            let sent = viewer.send(forms, &entry, shared.as_deref(), scratch, now)?;
            if let Transport::Udp(udp) = &mut viewer.transport {
                let from = udp.not_before.unwrap_or(now).max(now);
                udp.not_before = Some(from + udp.burst_pause(entry.frame.data.len()));
            }
            if sent == Sent::Blocked {
                return Ok(Progress::Blocked);
            }
        }
    }
    Ok(Progress::More)
}

/// The RTP timestamp that belongs to a wall time, from the newest frame of the track.
fn timestamp_at(mappings: &[Option<Mapping>], track: TrackIndex, wall: WallTime) -> Option<u32> {
    let mapping = mappings.get(usize::from(track.0)).copied().flatten()?;
    let ticks = i128::from(wall.micros_since(mapping.captured)) * i128::from(mapping.hz) / 1_000_000;
    Some(mapping.timestamp.wrapping_add(ticks as u32))
}

#[cfg(test)]
mod tests;
