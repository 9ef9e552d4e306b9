//! The task of one stream that is recorded: a reader of the hub like any viewer's, which waits for nobody but the next frame.

use std::future::pending;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use media::WallTime;
use media::hub::{Entry as Come, Event, Reader};
use tokio::sync::{mpsc, watch};

use super::plan::Plan;
use super::{Entry, Order, Recordings, Report, State, Wish};
use crate::events::{Recording, Step, What};
use crate::record::camera::{Camera, Happened, Pause, Which};
use crate::record::clock::Now;
use crate::record::index::Ended;
use crate::record::name::Clip;
use crate::record::recorder::Recorder;
use crate::record::trigger::Input;

/// How often the report of a stream that is recorded is renewed.
const REPORT_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Task {
    entry: Arc<Entry>,
    service: Arc<Recordings>,
    recorder: Recorder,
    plan: Plan,
    wish: watch::Receiver<Wish>,
    orders: mpsc::Receiver<Order>,
    camera: Camera,
    clip: Option<Clip>,
    reader: Option<Reader>,
    /// Whose frames those of the reader are ([`media::hub::Entry::publisher`]).
    publisher: Option<u64>,
    /// The stream is there, and as many read it as may.
    finds_no_room: bool,
    frames: Vec<Arc<Come>>,
    since: Option<WallTime>,
}

/// What comes next.
enum Next {
    Wish,
    Order(Option<Order>),
    Read(Event),
    Time,
}

impl Task {
    pub(super) fn new(
        entry: Arc<Entry>,
        service: Arc<Recordings>,
        recorder: Recorder,
        wish: watch::Receiver<Wish>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let plan = wish.borrow().plan.clone();
        let camera = Camera::new(plan.camera(), recorder.sink(&entry.stream));
        Self {
            entry,
            service,
            recorder,
            plan,
            wish,
            orders,
            camera,
            clip: None,
            reader: None,
            publisher: None,
            finds_no_room: false,
            frames: Vec::new(),
            since: None,
        }
    }

    /// Until it is told to end.
    pub(super) async fn run(mut self) {
        self.input(Input::Nothing);
        loop {
            self.read_if_needed();
            self.tell();
            let goes_on = match self.next().await {
                Next::Wish => self.follow(),
                Next::Order(Some(order)) => {
                    self.obey(order);
                    true
                }
                Next::Order(None) => false,
                Next::Read(event) => {
                    self.take(&event);
                    true
                }
                Next::Time => {
                    self.input(Input::Nothing);
                    true
                }
            };
            if !goes_on {
                break;
            }
        }
        // What was published before it was told to end is recorded.
        self.read_what_is_there();
        self.camera.end();
        self.tell();
    }

    async fn next(&mut self) -> Next {
        let wakes = self.camera.wakes_in(self.now());
        let wakes = match self.camera.is_on() {
            true => Some(wakes.map_or(REPORT_EVERY, |wakes| wakes.min(REPORT_EVERY))),
            false => wakes,
        };
        let (reader, frames) = (&mut self.reader, &mut self.frames);
        let read = async {
            match reader {
                Some(reader) => reader.next(frames).await,
                None => pending().await,
            }
        };
        let time = async {
            match wakes {
                Some(wakes) => tokio::time::sleep(wakes).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            // Its sender is in the entry that is held here.
            _ = self.wish.changed() => Next::Wish,
            order = self.orders.recv() => Next::Order(order),
            event = read => Next::Read(event),
            () = time => Next::Time,
        }
    }

    /// What is to be from now on. Says whether it goes on.
    fn follow(&mut self) -> bool {
        let Wish { plan, ends } = self.wish.borrow_and_update().clone();
        if !ends && self.plan != plan {
            self.camera.set(plan.camera());
            self.plan = plan;
            self.input(Input::Nothing);
        }
        !ends
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Look => {}
            Order::Start(clip, answer) => {
                // What there is since the last keyframe is wanted too.
                self.read();
                let done = match clip {
                    None => {
                        self.input(Input::Start);
                        Ok(())
                    }
                    Some(clip) => {
                        let sink = self.recorder.sink(&self.entry.stream);
                        let now = self.now();
                        let done = self
                            .camera
                            .start_clip(clip.clone(), sink, now, &(self.service.world.zone)());
                        if done.is_ok() {
                            self.clip = Some(clip);
                        }
                        done
                    }
                };
                self.tell();
                // Whoever asked may have gone.
                let _ = answer.send(done);
            }
            Order::Happens(range) => self.input(Input::Event {
                began: range.start,
                until: range.end,
            }),
            Order::Stop(answer) => {
                self.read_what_is_there();
                let was_started = self.camera.is_started(Which::Main);
                self.input(Input::Stop);
                let had_clip = self.camera.stop_clip();
                self.tell();
                self.clip = None;
                self.tell();
                let _ = answer.send(was_started || had_clip);
            }
        }
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        self.camera.input(input, now, &(self.service.world.zone)());
    }

    /// Begins to read where frames are of use, and ends where they are not.
    fn read_if_needed(&mut self) {
        if self.camera.needs_frames() {
            self.read();
            return;
        }
        self.finds_no_room = false;
        if self.reader.take().is_some() {
            self.camera.interrupt();
        }
    }

    /// Begins to read: from the oldest keyframe on that the hub has.
    fn read(&mut self) {
        if self.reader.is_some() {
            return;
        }
        let world = &self.service.world;
        let now = world.clock.now();
        let Ok(stream) = world.hub.stream(&self.entry.stream, now) else {
            self.finds_no_room = false;
            return;
        };
        let mut frames = Vec::new();
        match stream.replay(now, &mut frames) {
            Ok(reader) => {
                self.finds_no_room = false;
                self.camera.tracks(&stream.tracks());
                self.reader = Some(reader);
                self.publisher = None;
                self.give(&frames);
            }
            // It is tried again with each look, and told once.
            Err(_) => {
                if !std::mem::replace(&mut self.finds_no_room, true) {
                    self.tell();
                    self.tell_one(Which::Main, &Happened::Paused(Pause::Readers));
                }
            }
        }
    }

    /// What can be read without waiting.
    fn read_what_is_there(&mut self) {
        let Some(mut reader) = self.reader.take() else { return };
        let mut position = reader.position();
        while let Some(event) = reader.stream().read(&mut position, 64, &mut self.frames) {
            self.take(&event);
            if matches!(event, Event::Ended(_)) {
                return;
            }
        }
        reader.seek(position);
        self.reader = Some(reader);
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Frames(_) => {
                let frames = std::mem::take(&mut self.frames);
                self.give(&frames);
                self.frames = frames;
                self.frames.clear();
            }
            Event::Jumped { frames_skipped } => self.camera.missed(*frames_skipped),
            Event::Tracks(tracks) => self.camera.tracks(tracks),
            Event::Ended(_) => {
                self.reader = None;
                self.camera.interrupt();
            }
        }
        if let Some(reader) = &self.reader
            && self.camera.takes_keyframe()
        {
            reader.stream().request_keyframe(self.service.world.clock.now());
        }
    }

    fn give(&mut self, frames: &[Arc<Come>]) {
        let clock = &self.service.world.clock;
        for come in frames {
            // The stream's clock goes on while one publisher is gone and the next is not there yet; nothing was recorded of that time.
            if self
                .publisher
                .replace(come.publisher)
                .is_some_and(|last| last != come.publisher)
            {
                self.camera.interrupt();
            }
            let came = Now {
                monotonic: come.published,
                wall: clock.wall_at(come.published),
            };
            self.camera.frame(come.frame.clone(), came);
        }
    }

    fn now(&self) -> Now {
        let clock = &self.service.world.clock;
        Now {
            monotonic: clock.now(),
            wall: clock.wall(),
        }
    }

    /// To people, programs, and whoever asks.
    fn tell(&mut self) {
        let happened: Vec<(Which, Happened)> = self.camera.happened().collect();
        for (_, happened) in happened.iter().filter(|(which, _)| *which == Which::Main) {
            match happened {
                Happened::Began => self.since = Some(self.service.world.clock.wall()),
                Happened::Ended(_) | Happened::Paused(_) => self.since = None,
            }
        }
        // Whoever hears of it and asks is told the same.
        let report = self.report();
        *self.entry.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
        for (which, happened) in happened {
            self.tell_one(which, &happened);
        }
    }

    fn tell_one(&self, which: Which, happened: &Happened) {
        let stream = &self.entry.stream;
        let file = self
            .clip
            .as_ref()
            .filter(|_| which == Which::Clip)
            .map(ToString::to_string);
        let (step, reason) = match happened {
            Happened::Began => {
                tracing::info!(%stream, file, "recording begins");
                (Step::Started, None)
            }
            Happened::Paused(why) => {
                tracing::warn!(%stream, file, reason = why.text(), "recording waits");
                (Step::Paused, Some(why.text()))
            }
            Happened::Ended(why) => {
                tracing::info!(%stream, file, reason = text(*why), "recording ends");
                (Step::Ended, Some(text(*why)))
            }
        };
        self.service.world.events.tell(What::Recording(Box::new(Recording {
            stream: Some(stream.clone()),
            step,
            file,
            reason: reason.map(str::to_owned),
        })));
    }

    fn report(&self) -> Report {
        let camera = &self.camera;
        let paused = self.finds_no_room.then_some(Pause::Readers).or(camera.paused());
        let is_writing = camera.is_writing(Which::Main) || camera.is_writing(Which::Clip);
        let state = match (is_writing, camera.is_on(), paused) {
            (true, _, _) => State::Recording,
            (false, true, Some(_)) => State::Paused,
            (false, true, None) => State::Waiting,
            (false, false, _) if self.plan.is_recorded => State::Waiting,
            (false, false, _) => State::Off,
        };
        Report {
            stream: self.entry.stream.clone(),
            state,
            mode: self.plan.camera().trigger.mode,
            is_by_hand: camera.is_started(Which::Main) || self.clip.is_some(),
            file: self.clip.as_ref().map(ToString::to_string),
            since: self.since,
            paused,
            reason: paused.map(Pause::text),
            counts: camera.counts(),
        }
    }
}

/// Why a run ended, for people.
pub(super) const fn text(ended: Ended) -> &'static str {
    match ended {
        Ended::Stopped => "it was to end",
        Ended::StreamGone => "the stream is gone, silent or of another kind",
        Ended::Clock => "the clock of the machine was set, or that of the stream is wrong; it goes on as another",
        Ended::DiskSlow => "the disk was too slow",
        Ended::DiskFailed => "the disk failed",
        Ended::DiskFull => "the disk is full",
        Ended::Killed => "the program was killed",
    }
}
