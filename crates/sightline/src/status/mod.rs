//! The status socket: cameras and dashboards over WebSockets.
//!
//! Belongs here: the one [`Room`] of the program and what moves it (time, sockets, our own cameras), what is said on its clients' sockets, what is reported of our own cameras ([`report`]) and done to them ([`control`]), the way to the socket of another server
//! ([`client`]). Does not belong here: who hears what (`protocol::status`), which request becomes a socket ([`crate::http`]).

pub mod client;
mod control;
pub(crate) mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use media::{Clock, StreamName};
use protocol::status::{
    CameraStatus, ClientId, Command, Config, Effect, Full, MAX_TEXT_BYTES, Member, Out, Passed, Recording, Right, Room,
    Totals, pong,
};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Message;

use crate::auth::{Action, Object, Principal, may};
use crate::camera::Camera;
use crate::motion::Detector;
use crate::record::service::{Recordings, Refused};
use crate::shutdown::Shutdown;
use crate::websocket::{self, Next, Sizes, Talk};
pub(crate) use control::Controls;

/// Everybody who is connected, and our own cameras.
pub struct Server {
    room: Mutex<Room>,
    /// Not kept alive: they end before the sockets do.
    cameras: Mutex<BTreeMap<StreamName, Weak<Camera>>>,
    clock: Arc<dyn Clock>,
    /// The room wants to be polled earlier than it said.
    sooner: Notify,
    stop: Mutex<Option<Stop>>,
    patience: Patience,
    /// What records; nothing before it is said.
    recordings: OnceLock<Arc<Recordings>>,
    /// Who is told what publishers say of motion; nobody before it is said.
    motion: OnceLock<Arc<Detector>>,
}

/// How sockets learn that it is over, and how it is known that they have.
#[derive(Clone)]
struct Stop {
    shutdown: Shutdown,
    /// Held by each of them until its end. Nothing is ever sent.
    _open: mpsc::Sender<std::convert::Infallible>,
}

/// How long a socket may be silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Of a camera's publisher: then it is asked for a sign of life, and after the second of these it is gone.
    pub(crate) speaker: [Duration; 2],
    /// Of anybody else. Browsers in the background answer late.
    pub(crate) listener: [Duration; 2],
    /// For the last words when it is over.
    pub(crate) goodbye: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // A camera whose socket is lost is reported within five seconds.
            speaker: [Duration::from_millis(1_500), Duration::from_secs(4)],
            listener: [Duration::from_secs(20), Duration::from_secs(60)],
            goodbye: Duration::from_millis(200),
        }
    }
}

/// Largest message. A full status is 200 bytes.
pub(crate) const SIZES: Sizes = Sizes {
    heard_bytes: 4 * MAX_TEXT_BYTES,
    said_bytes: 4 * MAX_TEXT_BYTES,
};

/// Wait for sockets that say goodbye.
const GOODBYE: Duration = Duration::from_millis(300);

impl Server {
    /// For so many clients at a time.
    pub fn new(clients: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        let config = Config {
            clients,
            ..Config::default()
        };
        Self::with(config, Patience::default(), clock)
    }

    /// Says what starts and stops recordings.
    pub fn record_with(&self, recordings: Arc<Recordings>) {
        // It is said once.
        let _ = self.recordings.set(recordings);
    }

    /// Says who is told what publishers say of motion.
    pub fn tell_motion(&self, motion: Arc<Detector>) {
        // It is said once.
        let _ = self.motion.set(motion);
    }

    /// So many clients from now on. Those that are there stay.
    pub fn set_clients(&self, clients: usize) {
        self.room().set_clients(clients);
    }

    fn with(config: Config, patience: Patience, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            room: Mutex::new(Room::new(config)),
            cameras: Mutex::default(),
            clock,
            sooner: Notify::new(),
            stop: Mutex::default(),
            patience,
            recordings: OnceLock::new(),
            motion: OnceLock::new(),
        })
    }

    /// Lets time pass in the room until it is time to end, and then until all sockets are closed, but not for long. Before this, and
    /// after, nobody is let in.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let (open, mut closed) = mpsc::channel(1);
        let stop = Stop {
            shutdown: shutdown.clone(),
            _open: open,
        };
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
        tokio::select! {
            () = self.keep_time() => {}
            () = shutdown.requested() => {}
        }
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = tokio::time::timeout(GOODBYE, closed.recv()).await;
    }

    async fn keep_time(&self) {
        loop {
            // Before the room is asked, so that no word in between is missed.
            let mut sooner = pin!(self.sooner.notified());
            sooner.as_mut().enable();
            let now = self.clock.now();
            let next = self.room().poll(now);
            match next {
                None => sooner.await,
                Some(next) => tokio::select! {
                    () = tokio::time::sleep(next.saturating_duration_since(now)) => {}
                    () = sooner => {}
                },
            }
        }
    }

    /// Lets somebody in.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn join(self: &Arc<Self>, who: Principal, camera: Option<StreamName>) -> Result<Joined, Full> {
        self.enter(Member {
            name: who.name().to_owned(),
            camera,
            hears_cameras: true,
            permit: Box::new(permit(who, Arc::clone(&self.clock))),
        })
    }

    /// Lets somebody in who has come for the chat, which is for those who may view, and hears of cameras elsewhere.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn join_chat(self: &Arc<Self>, name: String, may_view: bool) -> Result<Joined, Full> {
        self.enter(chatting(name, may_view))
    }

    fn enter(self: &Arc<Self>, member: Member) -> Result<Joined, Full> {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The program ends, or has not begun.
        let stop = stop.ok_or(Full(0))?;
        let id = self.room().join(member, self.clock.now())?;
        Ok(Joined {
            server: Arc::clone(self),
            id,
            stop,
            spoke: false,
        })
    }

    /// Does what somebody wants of a camera, or passes it on to its publisher, and says what comes of it.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) fn steer(&self, camera: &StreamName, command: &Command) -> Result<String, String> {
        let passed = self.room().pass_on(camera, command);
        match passed {
            Some(Passed::On) => Ok(format!("passed on to the publisher of {camera}")),
            Some(Passed::Back) => self.own(camera, command),
            None => Err(format!(
                "no publisher of {camera} is connected here, or it takes no commands"
            )),
        }
    }

    fn own(&self, camera: &StreamName, command: &Command) -> Result<String, String> {
        let found = self.own_camera(camera);
        let found = found.ok_or("this camera has ended")?;
        control::perform(&found, command)
    }

    /// Who does what is asked of a camera, and how that is set now; `None`: nobody.
    pub(crate) fn controls(&self, camera: &StreamName) -> Option<Controls> {
        match self.room().speaker(camera)? {
            Passed::On => Some(Controls::OfPublisher),
            Passed::Back => {
                let found = self.own_camera(camera)?;
                Some(control::controls(&found))
            }
        }
    }

    /// How the cameras are that somebody spoke for, and when that was.
    pub(crate) fn known_cameras(&self) -> Vec<(StreamName, CameraStatus, Instant)> {
        let room = self.room();
        room.known()
            .map(|(name, status, at)| (name.clone(), status.clone(), at))
            .collect()
    }

    /// One of them.
    pub(crate) fn known_camera(&self, name: &StreamName) -> Option<(CameraStatus, Instant)> {
        let room = self.room();
        room.known_camera(name).map(|(status, at)| (status.clone(), at))
    }

    /// A camera of this program.
    pub(crate) fn own_camera(&self, name: &StreamName) -> Option<Arc<Camera>> {
        self.cameras().get(name).and_then(Weak::upgrade)
    }

    /// Figures for whoever watches the program.
    pub(crate) fn totals(&self) -> Totals {
        self.room().totals()
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        // A panic while it was held is a bug of ours; what it left is a table that is whole.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cameras(&self) -> MutexGuard<'_, BTreeMap<StreamName, Weak<Camera>>> {
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::Command { asker, camera, command } => {
                let done = self.own(&camera, &command);
                self.answer(asker, command.name(), &done);
            }
            Effect::Recording { asker, camera, wish } => {
                // A source on demand takes a while to begin.
                tokio::spawn(Arc::clone(self).record(asker, camera, wish));
            }
            Effect::Motion {
                camera,
                is_moving,
                intensity,
            } => {
                if let Some(motion) = self.motion.get() {
                    motion.told(&camera, is_moving, intensity);
                }
            }
        }
    }

    /// Records a stream, or no longer. One that is not here is recorded by its publisher, if it can.
    async fn record(self: Arc<Self>, asker: ClientId, camera: StreamName, wish: Recording) {
        let of = match wish {
            Recording::Start { .. } => "start_recording",
            Recording::Stop => "stop_recording",
        };
        let Some(recordings) = self.recordings.get() else {
            return self.answer(asker, of, &Err("nothing is recorded here".to_owned()));
        };
        let done = match &wish {
            Recording::Start { file } => recordings.start(&camera, file.as_deref()).await,
            Recording::Stop => recordings.stop(&camera).await,
        };
        match (done, wish) {
            (Ok(report), Recording::Start { .. }) => {
                let what = report
                    .file
                    .map_or_else(|| "recording".to_owned(), |file| format!("recording {file}"));
                self.answer(asker, of, &Ok(what));
            }
            (Ok(_), Recording::Stop) => self.answer(asker, of, &Ok("the recording is complete".to_owned())),
            (Err(Refused::Missing(_)), Recording::Start { file }) if self.speaks_elsewhere(&camera) => {
                let command = Command::StartRecording(file.unwrap_or_default());
                self.room().command(asker, camera, command);
            }
            (Err(Refused::NotStarted { .. }), Recording::Stop)
                if recordings.is_away(&camera) && self.speaks_elsewhere(&camera) =>
            {
                self.room().command(asker, camera, Command::StopRecording(true));
            }
            (Err(refused), _) => self.answer(asker, of, &Err(refused.to_string())),
        }
    }

    /// Whether a camera is one of another program.
    fn speaks_elsewhere(&self, camera: &StreamName) -> bool {
        !self.cameras().contains_key(camera)
    }

    fn answer(&self, asker: ClientId, of: &str, done: &Result<String, String>) {
        let answer = done.as_ref().map(String::as_str).map_err(String::as_str);
        self.room().answer(asker, of, answer);
    }
}

/// Who has come for the chat alone.
fn chatting(name: String, may_view: bool) -> Member {
    Member {
        name,
        camera: None,
        hears_cameras: false,
        permit: Box::new(move |right, camera| may_view && right == Right::View && camera.is_none()),
    }
}

/// As [`crate::auth`] calls it.
fn action(right: Right) -> Action {
    match right {
        Right::View => Action::View,
        Right::Publish => Action::Publish,
        Right::Operate => Action::Operate,
    }
}

/// What somebody may, as long as its credential is one.
fn permit(who: Principal, clock: Arc<dyn Clock>) -> impl Fn(Right, Option<&StreamName>) -> bool + Send {
    let ends = who.ends();
    move |right, camera| {
        // Chat is one room, for all who may view something.
        let object = camera.map_or(Object::Some, Object::Stream);
        ends.is_none_or(|ends| clock.wall() < ends) && may(&who, action(right), object).is_allowed()
    }
}

/// Somebody who is in the room, until it is dropped.
pub(crate) struct Joined {
    server: Arc<Server>,
    id: ClientId,
    stop: Stop,
    /// It speaks for a camera.
    spoke: bool,
}

impl Joined {
    /// It said this.
    pub(crate) fn said_text(&self, text: &str) {
        let clock = &self.server.clock;
        let effect = self.server.room().said_text(self.id, text, clock.now(), clock.wall());
        if let Some(effect) = effect {
            self.server.perform(effect);
        }
        self.server.sooner.notify_one();
    }

    /// What it is told next. A pong is made when it is.
    pub(crate) fn poll_message(&self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let out = std::task::ready!(self.server.room().poll_next(self.id, context));
        Poll::Ready(out.map(|out| match out {
            Out::Text(text) => websocket::text(text),
            Out::Command(bytes) => Message::Binary(bytes),
            Out::Pong(echo) => Message::Text(pong(&echo, self.server.clock.wall()).into()),
        }))
    }

    /// Who has come for the chat is called this from now on, and may this.
    pub(crate) fn now_chats(&self, name: String, may_view: bool) {
        self.server.room().now_is(self.id, chatting(name, may_view));
    }

    /// When the program ends.
    pub(crate) fn stop(&self) -> Shutdown {
        self.stop.shutdown.clone()
    }
}

impl Talk for Joined {
    fn now(&self) -> Instant {
        self.server.clock.now()
    }

    fn patience(&self) -> [Duration; 2] {
        let patience = &self.server.patience;
        if self.spoke {
            patience.speaker
        } else {
            patience.listener
        }
    }

    fn goodbye(&self) -> Duration {
        self.server.patience.goodbye
    }

    fn heard_text(&mut self, text: &str) {
        self.said_text(text);
    }

    fn heard_binary(&mut self, bytes: &[u8]) {
        let effect = self.server.room().said_binary(self.id, bytes, self.server.clock.now());
        if let Some(effect) = effect {
            self.server.perform(effect);
        }
        self.server.sooner.notify_one();
        self.spoke = self.spoke || self.server.room().is_speaker(self.id);
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        self.poll_message(context)
            .map(|said| said.map_or(Next::Gone, Next::Say))
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.server.room().leave(self.id, self.server.clock.now());
        self.server.sooner.notify_one();
    }
}
