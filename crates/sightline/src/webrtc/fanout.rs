//! One task per stream and shard that owns its sessions and gives each frame to all its viewers.
//!
//! Belongs here: whose turn it is: viewers in step get a frame as it is handed out, those behind read for themselves; datagrams and timeouts of each
//! session. Does not belong here: what a viewer does in its turn ([`super::viewer`]).
//!
//! As RTSP's (`crate::rtsp::fanout`): a frame goes to all viewers of a shard in one loop. What differs is that nothing is sent for a viewer but by its
//! session, which belongs to this task alone, so that datagrams come here as well.

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use media::hub::{Entry, Event, Full, Position, Reader, Stream};
use protocol::webrtc::{Credentials, Outbox};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use super::Service;
use super::forms::Forms;
use super::sessions::{Arrived, Message, QUEUE};
use super::thinning::Thinning;
use super::viewer::{End, Place, Progress, Seated, Turn};

/// Messages that are taken before frames are looked at again.
const MESSAGES_PER_TURN: usize = 64;
/// Looks at frames and messages before those behind and timeouts have their turn.
const ROUNDS_PER_TURN: usize = 8;
/// Shortest wait for a timeout: sessions give theirs to the microsecond, and a thousand of them shall not wake the task as often.
const LEAST_WAIT: Duration = Duration::from_millis(2);

/// The WebRTC viewers of one stream. Lives as an extension of the stream.
pub(super) struct Fanout {
    forms: Mutex<Arc<Forms>>,
    shards: Vec<Shard>,
}

#[derive(Default)]
struct Shard {
    viewers: Arc<AtomicUsize>,
    inbox: Mutex<Option<mpsc::Sender<Message>>>,
}

/// Counts a viewer in its shard for as long as the shard has it, however that ends.
pub(super) struct Counted(Arc<AtomicUsize>);

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

impl Fanout {
    /// Of this stream.
    pub(super) fn of(stream: &Arc<Stream>, service: &Service) -> Arc<Self> {
        stream.extension(|| Self {
            forms: Mutex::new(Arc::new(Forms::new(stream, service.random))),
            shards: (0..service.settings.shards.max(1)).map(|_| Shard::default()).collect(),
        })
    }

    /// The shard with the fewest viewers: where its task takes messages, and a place in it.
    ///
    /// # Errors
    /// [`Full`] when the stream takes no more readers.
    pub(super) fn seat(
        &self,
        stream: &Arc<Stream>,
        service: &Arc<Service>,
    ) -> Result<(mpsc::Sender<Message>, Counted), Full> {
        let least = self.shards.iter().min_by_key(|shard| shard.viewers.load(Relaxed));
        let Some(shard) = least else {
            return Err(Full {
                what: "shards",
                limit: 0,
            });
        };
        let counted = Counted::new(&shard.viewers);
        let mut inbox = shard.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = inbox.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((sender.clone(), counted));
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let reader = stream.join(service.clock.now())?;
        let forms = self.forms(stream, service);
        tokio::spawn(Task::new(reader, forms, receiver, Arc::clone(service)).run());
        *inbox = Some(sender.clone());
        Ok((sender, counted))
    }

    /// The shared payloads, made anew when the stream has other tracks than they were made for.
    pub(super) fn forms(&self, stream: &Arc<Stream>, service: &Service) -> Arc<Forms> {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        if !forms.fit(&stream.tracks()) {
            *forms = Arc::new(Forms::new(stream, service.random));
        }
        Arc::clone(&forms)
    }
}

struct Task {
    reader: Reader,
    stream: Arc<Stream>,
    forms: Arc<Forms>,
    inbox: mpsc::Receiver<Message>,
    service: Arc<Service>,
    /// Dense, so that the loop over all of them stays in order and in cache.
    viewers: Vec<Seated>,
    index: HashMap<u64, usize>,
    /// Behind the last frame handed out.
    live: Position,
    entries: Vec<Arc<Entry>>,
    low_entries: Vec<Arc<Entry>>,
    catch_up: Vec<Arc<Entry>>,
    thinning: Thinning,
    out: Outbox,
    watch: Watch,
    timer: Pin<Box<Sleep>>,
    /// For when the timer is set.
    set_for: Option<Instant>,
}

/// What is known of all viewers without looking at each: 150 of them are 280 KB, and a datagram is of one. It may say too much, and is put right by
/// whoever looks.
#[derive(Debug, Default)]
struct Watch {
    /// No timeout is due earlier.
    due: Option<Instant>,
    /// Some may be behind.
    behind: bool,
    /// Some may have use of the lower rendition.
    low: bool,
}

impl Watch {
    /// This viewer had a turn.
    fn note(&mut self, viewer: &Seated) {
        let due = viewer.poll_timeout();
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
        self.behind |= matches!(viewer.place, Place::Behind(_));
        self.low |= viewer.given.has_use_of_low();
    }
}

impl Task {
    fn new(mut reader: Reader, forms: Arc<Forms>, inbox: mpsc::Receiver<Message>, service: Arc<Service>) -> Self {
        let stream = Arc::clone(reader.stream());
        let live = stream.live();
        reader.seek(live);
        Self {
            thinning: Thinning::new(&stream),
            reader,
            stream,
            forms,
            inbox,
            service,
            viewers: Vec::new(),
            index: HashMap::new(),
            live,
            entries: Vec::new(),
            low_entries: Vec::new(),
            catch_up: Vec::new(),
            out: Outbox::new(),
            watch: Watch::default(),
            timer: Box::pin(tokio::time::sleep(LEAST_WAIT)),
            set_for: None,
        }
    }

    async fn run(mut self) {
        let end = poll_fn(|cx| self.turn(cx)).await;
        let Some(end) = end else { return };
        // Those who join between the stream's end and this one's end are told too.
        self.inbox.close();
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Join(seated) = message {
                self.take_in(*seated);
            }
        }
        while let Some(last) = self.viewers.len().checked_sub(1) {
            self.remove(last, &end);
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let mut busy = true;
        for _ in 0..ROUNDS_PER_TURN {
            // Frames first: what a session says can wait for the length of a loop, a picture should not.
            let mut entries = std::mem::take(&mut self.entries);
            entries.clear();
            let event = self.reader.poll_next(cx, &mut entries);
            if let Poll::Ready(Event::Frames(_)) = &event {
                entries.iter().for_each(|entry| self.serve(entry));
            }
            entries.clear();
            self.entries = entries;
            match event {
                Poll::Ready(Event::Frames(_)) => {}
                // The task itself was late: all its viewers are behind now and jump for themselves.
                Poll::Ready(Event::Jumped { .. }) => self.all_behind(),
                Poll::Ready(Event::Tracks(_)) => return Poll::Ready(Some(End::TracksChanged)),
                Poll::Ready(Event::Ended(reason)) => return Poll::Ready(Some(End::Stream(reason))),
                Poll::Pending => {}
            }
            busy = event.is_ready();
            for _ in 0..MESSAGES_PER_TURN {
                match self.inbox.poll_recv(cx) {
                    Poll::Ready(Some(message)) => {
                        self.handle(message);
                        busy = true;
                    }
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => break,
                }
            }
            if !busy {
                break;
            }
        }
        if busy {
            // A flood does not keep the others from their turn.
            cx.waker().wake_by_ref();
        }
        self.serve_low(cx);
        let soon = self.serve_those_behind(cx);
        self.handle_timeouts(cx, soon);
        Poll::Pending
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Join(seated) => self.take_in(*seated),
            Message::Datagram(arrived) => self.receive(&arrived),
            Message::Restart { id, theirs, ours } => self.restart(id, &theirs, ours),
            Message::Close { id } => {
                if let Some(&at) = self.index.get(&id) {
                    self.remove(at, &End::Closed);
                }
            }
            // Publishers' tasks are told that.
            Message::KeyframeWanted => {}
        }
    }

    fn take_in(&mut self, seated: Seated) {
        self.index.insert(seated.id, self.viewers.len());
        self.watch.note(&seated);
        self.viewers.push(seated);
    }

    fn receive(&mut self, arrived: &Arrived) {
        if let Some(&at) = self.index.get(&arrived.id) {
            self.turn_of(at, |viewer, turn| viewer.receive(arrived, turn));
        }
    }

    fn restart(&mut self, id: u64, theirs: &Credentials, answer: oneshot::Sender<Credentials>) {
        let Some(&at) = self.index.get(&id) else { return };
        let mut random = self.service.random;
        self.turn_of(at, |viewer, turn| {
            let ours = viewer.session.restart(theirs, &mut random);
            viewer.registered.restarted(&ours.ufrag, &theirs.ufrag);
            // Whoever asked may be gone.
            let _ = answer.send(ours);
            viewer.settle(turn)
        });
    }

    /// Gives a frame to all who are in step.
    fn serve(&mut self, entry: &Arc<Entry>) {
        self.live = Position::after(entry);
        let viewers = &self.viewers;
        let short = |needs| viewers.iter().any(|viewer| viewer.given.is_short(needs));
        self.thinning
            .look(&self.stream, &self.service, self.service.clock.now(), short);
        let in_step = |viewer: &Seated| matches!(viewer.place, Place::InStep);
        if !self.viewers.iter().any(in_step) {
            return;
        }
        let Some(form) = self.forms.of(entry) else { return };
        let Some(form) = &*form else { return };
        let live = self.live;
        // From the back: one that is removed is replaced by one that had its turn.
        for at in (0..self.viewers.len()).rev() {
            if !self.viewers.get(at).is_some_and(in_step) {
                continue;
            }
            self.turn_of(at, |viewer, turn| {
                if viewer.is_blocked() {
                    viewer.place = Place::Behind(Position::at(entry));
                    return Ok(());
                }
                viewer.send(entry, form, turn)?;
                if viewer.is_blocked() {
                    viewer.place = Place::Behind(live);
                }
                Ok(())
            });
        }
    }

    /// Gives frames of the lower rendition to those who have use of it.
    fn serve_low(&mut self, cx: &mut Context<'_>) {
        let wanted = self.watch.low && self.viewers.iter().any(|viewer| viewer.given.has_use_of_low());
        self.watch.low = wanted;
        let now = self.service.clock.now();
        let mut entries = std::mem::take(&mut self.low_entries);
        entries.clear();
        if !self.thinning.poll(wanted, now, cx, &mut entries) {
            let needs = self.thinning.needs();
            self.viewers
                .iter_mut()
                .for_each(|viewer| viewer.given.lose_low(needs, now));
        }
        if let Some(forms) = self.thinning.forms().filter(|_| !entries.is_empty()) {
            for entry in &entries {
                let Some(form) = forms.of(entry) else { continue };
                let Some(form) = &*form else { continue };
                for at in (0..self.viewers.len()).rev() {
                    if self.viewers.get(at).is_some_and(|viewer| viewer.given.has_use_of_low()) {
                        self.turn_of(at, |viewer, turn| viewer.send_low(form, turn));
                    }
                }
            }
        }
        entries.clear();
        self.low_entries = entries;
    }

    fn all_behind(&mut self) {
        self.watch.behind = true;
        for viewer in &mut self.viewers {
            if matches!(viewer.place, Place::InStep) {
                viewer.place = Place::Behind(self.live);
            }
        }
    }

    /// When the next of those whose burst is paced may go on.
    fn serve_those_behind(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let mut soon: Option<Instant> = None;
        if !std::mem::take(&mut self.watch.behind) {
            return soon;
        }
        for at in (0..self.viewers.len()).rev() {
            let Some(viewer) = self.viewers.get(at) else { continue };
            if !matches!(viewer.place, Place::Behind(_)) {
                continue;
            }
            if viewer.is_blocked() && viewer.poll_writable(cx).is_pending() {
                self.watch.behind = true;
                continue;
            }
            let live = self.live.next_id();
            let mut entries = std::mem::take(&mut self.catch_up);
            let mut progress = Progress::Waiting;
            self.turn_of(at, |viewer, turn| {
                progress = viewer.catch_up(live, &mut entries, turn)?;
                if matches!(progress, Progress::Level) {
                    viewer.place = Place::InStep;
                }
                Ok(())
            });
            entries.clear();
            self.catch_up = entries;
            match progress {
                Progress::Level | Progress::Waiting => {}
                Progress::More => cx.waker().wake_by_ref(),
                Progress::Blocked => {
                    let writable = self.viewers.get(at).map(|viewer| viewer.poll_writable(cx));
                    if writable.is_some_and(|writable| writable.is_ready()) {
                        cx.waker().wake_by_ref();
                    }
                }
                Progress::Until(at) => soon = Some(soon.map_or(at, |other| other.min(at))),
            }
        }
        soon
    }

    /// Lets the sessions whose time has come go on, and waits for the next.
    fn handle_timeouts(&mut self, cx: &mut Context<'_>, soon: Option<Instant>) {
        let now = self.service.clock.now();
        if self.watch.due.is_some_and(|due| due <= now) {
            self.watch.due = None;
            for at in (0..self.viewers.len()).rev() {
                let Some(viewer) = self.viewers.get(at) else { continue };
                if viewer.poll_timeout() <= now {
                    self.turn_of(at, Seated::handle_timeout);
                } else {
                    self.watch.note(viewer);
                }
            }
        }
        let next = self.watch.due.into_iter().chain(soon).min();
        let Some(next) = next else { return };
        if self.set_for != Some(next) {
            let wait = next.saturating_duration_since(now).max(LEAST_WAIT);
            self.timer.as_mut().reset(tokio::time::Instant::now() + wait);
            self.set_for = Some(next);
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            self.set_for = None;
            cx.waker().wake_by_ref();
        }
    }

    /// One viewer's turn. A panic in it is a bug of ours or of a library and ends this viewer, not those it shares the task with.
    fn turn_of(&mut self, at: usize, act: impl FnOnce(&mut Seated, &mut Turn<'_>) -> Result<(), End>) {
        let Some(viewer) = self.viewers.get_mut(at) else { return };
        let mut turn = Turn {
            service: &self.service,
            stream: &self.stream,
            forms: &self.forms,
            thinning: &self.thinning,
            out: &mut self.out,
            now: self.service.now(),
        };
        let ended = catch_unwind(AssertUnwindSafe(|| act(viewer, &mut turn))).unwrap_or_else(|_| {
            tracing::error!(stream = %viewer.stream, "the turn of a WebRTC viewer panicked, which ends it; please report the text above");
            Err(End::Panicked)
        });
        // What a turn that broke off left behind is nobody else's.
        turn.out.clear();
        match ended {
            Ok(()) => self.watch.note(viewer),
            Err(end) => self.remove(at, &end),
        }
    }

    fn remove(&mut self, at: usize, end: &End) {
        if at >= self.viewers.len() {
            return;
        }
        let mut viewer = self.viewers.swap_remove(at);
        self.index.remove(&viewer.id);
        if let Some(moved) = self.viewers.get(at) {
            self.index.insert(moved.id, at);
        }
        viewer.tell_left(end);
        if *end != End::Panicked {
            let mut turn = Turn {
                service: &self.service,
                stream: &self.stream,
                forms: &self.forms,
                thinning: &self.thinning,
                out: &mut self.out,
                now: self.service.now(),
            };
            let goodbye = catch_unwind(AssertUnwindSafe(|| viewer.close(&mut turn)));
            if goodbye.is_err() {
                tracing::error!(stream = %viewer.stream, "the end of a WebRTC viewer panicked; please report the text above");
            }
            turn.out.clear();
        }
        if self.viewers.is_empty() {
            // Another shard may still want them; it makes them again.
            self.forms.clear();
            self.out = Outbox::new();
        }
    }
}
