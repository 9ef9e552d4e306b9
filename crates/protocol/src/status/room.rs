//! Everybody who is connected: who hears what when somebody says something.
//!
//! Belongs here: clients and their queues, the cameras that are known, rights asked at every word, limits on how much one may say. Does not
//! belong here: how words look ([`super::text`]), sockets. A driver passes on what sockets say, polls each client for what it is told,
//! and calls [`Room::poll`] when that asks for it.
//!
//! Words are encoded once, and every queue holds the same bytes. A client that reads slowly loses its oldest words, which are counted, and
//! holds up nobody. Clients are woken together, and not more often than once in [`Config::beat`]: 2,000 dashboards and 30 statuses a
//! second would else be 60,000 writes.

mod bucket;
mod client;

use std::collections::BTreeMap;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{StreamName, WallTime};

use super::text::{self, Asked, Echo, Recording, Request};
use super::{CameraCommand, CameraStatus, Command};
pub use bucket::Bucket;
use client::Client;
pub use client::{Member, Right};

/// Limits and times.
#[derive(Clone, Debug)]
pub struct Config {
    /// Clients at a time.
    pub clients: usize,
    /// Words that wait for one client.
    pub queue: usize,
    /// Cameras that are known at a time.
    pub cameras: usize,
    /// Cameras that one socket speaks for.
    pub cameras_of_one: usize,
    /// Statuses that are heard of one socket: so many a second, and three times as many at once.
    pub statuses_per_second: u32,
    /// The same for texts.
    pub texts_per_second: u32,
    /// Between two times when everybody is woken.
    pub beat: Duration,
    /// How long a camera whose socket is gone counts as connected: so long its publisher may take to return. Counted from its last word.
    pub lost_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clients: 5_000,
            queue: 60,
            cameras: 256,
            cameras_of_one: 16,
            statuses_per_second: 100,
            texts_per_second: 20,
            beat: Duration::from_millis(100),
            lost_after: Duration::from_secs(2),
        }
    }
}

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

/// What a client is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// A text message; UTF-8.
    Text(Bytes),
    /// A binary message: a [`CameraCommand`].
    Command(Bytes),
    /// The answer to a ping, for which [`super::pong`] makes the text when it is about to be written.
    Pong(Echo),
}

/// What has to be done here.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Somebody who may wants something of a camera of this program. What came of it is told by [`Room::answer`].
    Command {
        /// Who.
        asker: ClientId,
        /// Which camera.
        camera: StreamName,
        /// What.
        command: Command,
    },
    /// Somebody who may wants a stream to be recorded, or no longer. What came of it is told by [`Room::answer`], or, where the stream is not here,
    /// by [`Room::command`].
    Recording {
        /// Who.
        asker: ClientId,
        /// Which stream.
        camera: StreamName,
        /// What.
        wish: Recording,
    },
    /// A publisher that may speak for a camera looks for motion in front of it.
    Motion {
        /// Which camera.
        camera: StreamName,
        /// Something moves.
        is_moving: bool,
        /// How much, 0 to 1 as it should be.
        intensity: f32,
    },
}

/// There are as many clients as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} clients are connected; there may not be more")]
pub struct Full(pub usize);

/// Figures of a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Clients.
    pub clients: usize,
    /// Cameras known.
    pub cameras: usize,
    /// Words lost because clients did not read, since the start.
    pub dropped: u64,
    /// Words of clients that said more than they may, since the start.
    pub unheard: u64,
}

/// Where a command for a camera went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// To the client that speaks for it.
    On,
    /// Nowhere: it is a camera of this program, which does it itself.
    Back,
}

/// Who speaks for a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    Client(ClientId),
    /// A camera of this program.
    Local,
    /// Its socket is gone. It counts as lost at this time.
    Gone {
        lost_at: Option<Instant>,
    },
}

/// A camera that somebody spoke for.
#[derive(Debug)]
struct Camera {
    speaker: Speaker,
    connected: bool,
    heard: Instant,
    /// The newest words about it, for who comes later.
    connection: Bytes,
    metrics: Option<Bytes>,
    /// The newest that says more than whether it is connected; that as it is now.
    status: Option<CameraStatus>,
}

/// Everybody who is connected.
#[derive(Debug)]
pub struct Room {
    config: Config,
    clients: BTreeMap<ClientId, Client>,
    cameras: BTreeMap<StreamName, Camera>,
    joined: u64,
    last_beat: Option<Instant>,
    /// Somebody has words waiting and was not woken.
    beat_wanted: bool,
    dropped: u64,
    unheard: u64,
}

impl Room {
    /// An empty one.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            clients: BTreeMap::new(),
            cameras: BTreeMap::new(),
            joined: 0,
            last_beat: None,
            beat_wanted: false,
            dropped: 0,
            unheard: 0,
        }
    }

    /// So many clients from now on. Those that are there stay.
    pub fn set_clients(&mut self, clients: usize) {
        self.config.clients = clients;
    }

    /// Somebody comes in, and is told of every camera that it may see.
    ///
    /// # Errors
    /// [`Full`].
    pub fn join(&mut self, member: Member, now: Instant) -> Result<ClientId, Full> {
        if self.clients.len() >= self.config.clients {
            return Err(Full(self.clients.len()));
        }
        self.joined += 1;
        let id = ClientId(self.joined);
        let mut client = Client::new(member, &self.config, now);
        for (name, camera) in &self.cameras {
            if client.hears(Some(name)) {
                client.welcome(camera.connection.clone());
                camera.metrics.iter().for_each(|text| client.welcome(text.clone()));
            }
        }
        self.clients.insert(id, client);
        Ok(id)
    }

    /// Somebody is called otherwise from now on, and may other things. What was said before and it may not hear any more is not told.
    pub fn now_is(&mut self, id: ClientId, member: Member) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.now_is(member);
        }
    }

    /// Somebody is gone. Cameras it spoke for are reported as lost unless somebody else speaks for them soon.
    pub fn leave(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.remove(&id) else { return };
        self.dropped += client.dropped();
        for camera in self.cameras.values_mut() {
            if camera.speaker == Speaker::Client(id) {
                let lost_at = camera.connected.then(|| now.max(camera.heard + self.config.lost_after));
                camera.speaker = Speaker::Gone { lost_at };
            }
        }
    }

    /// Whether a client speaks for a camera: whether it is still there has to be looked at more often.
    pub fn is_speaker(&self, id: ClientId) -> bool {
        self.cameras
            .values()
            .any(|camera| camera.speaker == Speaker::Client(id))
    }

    /// A client sent a binary message.
    pub fn said_binary(&mut self, id: ClientId, bytes: &[u8], now: Instant) -> Option<Effect> {
        let client = self.clients.get_mut(&id)?;
        if !client.statuses.take(now) {
            self.unheard += 1;
            return None;
        }
        match self.heard_status(id, bytes, now) {
            Ok(motion) => motion,
            Err(why) => {
                self.answer(id, "status", Err(&why));
                None
            }
        }
    }

    fn heard_status(&mut self, id: ClientId, bytes: &[u8], now: Instant) -> Result<Option<Effect>, String> {
        let status = CameraStatus::read(bytes).map_err(|error| format!("not a CameraStatus: {error}"))?;
        let client = self.clients.get_mut(&id).ok_or_else(String::new)?;
        let name = match status.camera_name.as_str() {
            "" => client.camera(),
            name => name.parse().map_err(|error| format!("cameraName: {error}"))?,
        };
        if !client.may(Right::Publish, Some(&name)) {
            return Err(format!(
                "this credential may not speak for {name}; show one that may publish"
            ));
        }
        let speaker = Speaker::Client(id);
        let others = |camera: &(&StreamName, &Camera)| camera.1.speaker == speaker && *camera.0 != name;
        if self.cameras.iter().filter(others).count() >= self.config.cameras_of_one {
            let most = self.config.cameras_of_one;
            return Err(format!("one socket may speak for {most} cameras; open another"));
        }
        let motion = status.motion_detected.map(|is_moving| Effect::Motion {
            camera: name.clone(),
            is_moving,
            intensity: status.motion_intensity,
        });
        self.update(name, &status, speaker, now)?;
        Ok(motion)
    }

    /// How a camera of this program is.
    ///
    /// # Errors
    /// When more cameras are known than may be.
    pub fn said_local(&mut self, camera: StreamName, status: &CameraStatus, now: Instant) -> Result<(), String> {
        self.update(camera, status, Speaker::Local, now)
    }

    fn update(
        &mut self,
        name: StreamName,
        status: &CameraStatus,
        speaker: Speaker,
        now: Instant,
    ) -> Result<(), String> {
        if !self.cameras.contains_key(&name) {
            self.make_place()?;
        }
        let connection = text::connection(&name, status.is_connected);
        let metrics = (!status.is_bare()).then(|| text::metrics(&name, status));
        let from = match speaker {
            Speaker::Client(id) => Some(id),
            Speaker::Local | Speaker::Gone { .. } => None,
        };
        self.tell_others(from, Some(&name), &connection);
        if let Some(metrics) = &metrics {
            self.tell_others(from, Some(&name), metrics);
        }
        let before = self.cameras.remove(&name);
        let (before, status_before) = before.map_or((None, None), |camera| (camera.metrics, camera.status));
        let known = match status.is_bare() {
            false => Some(status.clone()),
            true => status_before.map(|before| CameraStatus {
                is_connected: status.is_connected,
                ..before
            }),
        };
        let camera = Camera {
            speaker,
            connected: status.is_connected,
            heard: now,
            connection,
            metrics: metrics.or(before),
            status: known,
        };
        self.cameras.insert(name, camera);
        self.beat(now);
        Ok(())
    }

    /// Where there are too many cameras, the one that is gone for longest is forgotten.
    fn make_place(&mut self) -> Result<(), String> {
        if self.cameras.len() < self.config.cameras {
            return Ok(());
        }
        let gone = self
            .cameras
            .iter()
            .filter(|(_, camera)| !camera.connected && matches!(camera.speaker, Speaker::Gone { .. }));
        let oldest = gone
            .min_by_key(|(_, camera)| camera.heard)
            .map(|(name, _)| name.clone());
        let Some(oldest) = oldest else {
            return Err(format!(
                "{} cameras are known; there may not be more",
                self.cameras.len()
            ));
        };
        self.cameras.remove(&oldest);
        Ok(())
    }

    /// A client sent a text.
    #[must_use]
    pub fn said_text(&mut self, id: ClientId, text: &str, now: Instant, wall: WallTime) -> Option<Effect> {
        let client = self.clients.get_mut(&id)?;
        if !client.texts.take(now) {
            self.unheard += 1;
            if client.may_be_warned(now) {
                self.answer(id, "text", Err("too many messages; some were not heard"));
            }
            return None;
        }
        match Request::read(text) {
            Err(malformed) => self.answer(id, &malformed.of, Err(&malformed.why)),
            Ok(Request::Answer) => {}
            Ok(Request::Ping(echo)) => self.reply(id, Out::Pong(echo)),
            Ok(Request::Chat(line)) => self.chat(id, &line, now, wall),
            Ok(Request::Camera { camera, asked }) => return self.asked(id, camera, asked),
        }
        None
    }

    fn chat(&mut self, id: ClientId, line: &str, now: Instant, wall: WallTime) {
        let Some(client) = self.clients.get(&id) else { return };
        if !client.may(Right::View, None) {
            return self.answer(id, "chat", Err("this credential may not chat; show one that may view"));
        }
        let from = format!("{} {}", client.name(), id.0);
        let words = text::chat(line, &from, wall);
        self.tell_others(Some(id), None, &words);
        self.answer(id, "chat", Ok("passed on"));
        self.beat(now);
    }

    /// Something for a camera.
    fn asked(&mut self, id: ClientId, camera: Option<StreamName>, asked: Asked) -> Option<Effect> {
        let client = self.clients.get(&id)?;
        let camera = camera.unwrap_or_else(|| client.camera());
        let of = asked.name();
        if !client.may(Right::Operate, Some(&camera)) {
            let why = format!("this credential may not steer {camera}; show that of an operator or \"admin\"");
            self.answer(id, of, Err(&why));
            return None;
        }
        let command = match asked {
            Asked::Command(command) => command,
            Asked::Recording(wish) => {
                return Some(Effect::Recording {
                    asker: id,
                    camera,
                    wish,
                });
            }
        };
        self.command(id, camera, command)
    }

    /// Passes a command on to whoever speaks for a camera. What is for one of this program comes back.
    pub fn command(&mut self, id: ClientId, camera: StreamName, command: Command) -> Option<Effect> {
        let of = command.name();
        match self.pass_on(&camera, &command) {
            Some(Passed::Back) => {
                return Some(Effect::Command {
                    asker: id,
                    camera,
                    command,
                });
            }
            Some(Passed::On) => self.answer(id, of, Ok(&format!("passed on to the publisher of {camera}"))),
            None => self.answer(id, of, Err(&format!("no publisher of {camera} is connected here"))),
        }
        None
    }

    /// The same, for who asks elsewhere and is not a client. `None`: nobody speaks for this camera.
    pub fn pass_on(&mut self, camera: &StreamName, command: &Command) -> Option<Passed> {
        match self.cameras.get(camera)?.speaker {
            Speaker::Local => Some(Passed::Back),
            Speaker::Client(speaker) => {
                let command = CameraCommand {
                    command: Some(command.clone()),
                };
                self.reply(speaker, Out::Command(command.write().into()));
                Some(Passed::On)
            }
            Speaker::Gone { .. } => None,
        }
    }

    /// Who speaks for a camera, as [`Room::pass_on`] would have it.
    pub fn speaker(&self, camera: &StreamName) -> Option<Passed> {
        match self.cameras.get(camera)?.speaker {
            Speaker::Local => Some(Passed::Back),
            Speaker::Client(_) => Some(Passed::On),
            Speaker::Gone { .. } => None,
        }
    }

    /// Tells a client what came of what it asked for.
    pub fn answer(&mut self, id: ClientId, of: &str, result: Result<&str, &str>) {
        self.reply(id, Out::Text(text::answer(of, result)));
    }

    fn reply(&mut self, id: ClientId, out: Out) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.reply(out);
            client.wake();
        }
    }

    /// Puts a word into the queues of all but one.
    fn tell_others(&mut self, from: Option<ClientId>, camera: Option<&StreamName>, word: &Bytes) {
        for (id, client) in &mut self.clients {
            if Some(*id) == from || !client.hears(camera) {
                continue;
            }
            client.tell(word.clone());
            // One that would lose words before the next beat.
            if client.is_half_full() {
                client.wake();
            }
        }
        self.beat_wanted = true;
    }

    /// Wakes everybody who has words waiting, if it is time.
    fn beat(&mut self, now: Instant) {
        if !self.beat_wanted || self.next_beat().is_some_and(|next| now < next) {
            return;
        }
        self.beat_wanted = false;
        self.last_beat = Some(now);
        for client in self.clients.values_mut() {
            if client.has_words() {
                client.wake();
            }
        }
    }

    fn next_beat(&self) -> Option<Instant> {
        self.last_beat.map(|last| last + self.config.beat)
    }

    /// What time brings: words that waited for the beat, cameras that are lost. Returns when to ask again.
    pub fn poll(&mut self, now: Instant) -> Option<Instant> {
        let due = |speaker: Speaker| match speaker {
            Speaker::Gone { lost_at } => lost_at,
            _ => None,
        };
        let lost = self
            .cameras
            .iter()
            .filter(|(_, camera)| due(camera.speaker).is_some_and(|at| at <= now));
        let lost: Vec<StreamName> = lost.map(|(name, _)| name.clone()).collect();
        for name in lost {
            let word = text::connection(&name, false);
            self.tell_others(None, Some(&name), &word);
            if let Some(camera) = self.cameras.get_mut(&name) {
                camera.connected = false;
                if let Some(status) = &mut camera.status {
                    status.is_connected = false;
                }
                camera.connection = word;
                camera.speaker = Speaker::Gone { lost_at: None };
            }
        }
        self.beat(now);
        let beat = self.next_beat().filter(|_| self.beat_wanted);
        let cameras = self.cameras.values().filter_map(|camera| due(camera.speaker));
        cameras.chain(beat).min()
    }

    /// What a client is to be told next. `Ready(None)`: it is not here. Pending, it is woken when there is something.
    pub fn poll_next(&mut self, id: ClientId, context: &mut Context<'_>) -> Poll<Option<Out>> {
        match self.clients.get_mut(&id) {
            None => Poll::Ready(None),
            Some(client) => client.poll_next(context).map(Some),
        }
    }

    /// The cameras that said how they are: the newest that they said, and when they were heard last.
    pub fn known(&self) -> impl Iterator<Item = (&StreamName, &CameraStatus, Instant)> {
        let cameras = self.cameras.iter();
        cameras.filter_map(|(name, camera)| Some((name, camera.status.as_ref()?, camera.heard)))
    }

    /// One of them.
    pub fn known_camera(&self, name: &StreamName) -> Option<(&CameraStatus, Instant)> {
        let camera = self.cameras.get(name)?;
        Some((camera.status.as_ref()?, camera.heard))
    }

    /// Figures.
    pub fn totals(&self) -> Totals {
        Totals {
            clients: self.clients.len(),
            cameras: self.cameras.len(),
            dropped: self.dropped + self.clients.values().map(Client::dropped).sum::<u64>(),
            unheard: self.unheard,
        }
    }
}

#[cfg(test)]
mod tests;
