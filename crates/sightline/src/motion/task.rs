//! The task of one stream that is looked at.
//!
//! Belongs here: who looks at the moment, reading the stream where this server does, turning what is seen into what is told. Does not belong here: how a picture is looked at
//! ([`super::look`]).

use std::borrow::Cow;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use device::motion::{Event, Now, Seen};
use media::hub::{Entry as Come, Event as Read, Reader};
use media::{Codec, Track, WallTime};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::look::{BEGINS_WITHIN, Counts, Looker};
use super::tell::Teller;
use super::{By, Detector, Entry, Report, State, Wish, lock};
use crate::camera::{Camera, Watched};
use crate::source::lower::video;

/// How often it is looked who is to look, and those are told whom motion concerns that goes on.
const TICK: Duration = Duration::from_secs(1);
/// Frames are read so long after those before: one job for some of them costs less than one for each.
const TOGETHER: Duration = Duration::from_millis(200);
/// When a publisher said last that something moves, and so long ago, it has ended.
const SAID_LASTS: Duration = Duration::from_secs(3);
/// So long after frames were left out it is said that this machine is too slow.
const BEHIND_LASTS: Duration = Duration::from_secs(10);
/// What the protocol of cameras of this machine is called.
const CAMERA: &str = "camera";

/// What comes from elsewhere.
pub(super) enum Fed {
    /// A camera of this machine looked.
    Seen(Seen),
    /// The publisher says how it is.
    Said(Now),
}

pub(super) struct Task {
    entry: Arc<Entry>,
    detector: Arc<Detector>,
    wish: watch::Receiver<Wish>,
    fed: mpsc::Receiver<Fed>,
    current: Wish,
    teller: Teller,
    eye: Eye,
    /// When the publisher said last that something moves.
    said: Option<(Instant, WallTime)>,
    now: Now,
    /// Of decoders before this one.
    before: Counts,
    late_at: Option<Instant>,
}

/// Who looks.
enum Eye {
    /// Nobody, and why.
    Closed(State, Option<Cow<'static, str>>),
    /// The camera, until this is dropped.
    Camera { _watched: Watched },
    /// The publisher.
    Publisher,
    /// This server.
    Server(Box<Decoding>),
}

/// A stream that is decoded.
struct Decoding {
    reader: Reader,
    frames: Vec<Arc<Come>>,
    looker: Option<Box<Looker>>,
    /// What the looker said of itself when it was here last.
    counts: Counts,
    job: Option<oneshot::Receiver<Looked>>,
    next_read: Instant,
    joined: Instant,
    codec: Codec,
    /// Why nothing comes of it.
    trouble: Option<String>,
    _permits: Permits,
}

/// To decode, and for an FFmpeg.
type Permits = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// Who looked, and what was seen.
type Looked = (Box<Looker>, Vec<Seen>);

/// What comes next.
enum Next {
    Wish,
    Fed(Option<Fed>),
    Read(Read),
    /// A job is done; `None`: it panicked.
    Done(Option<Looked>),
    Tick,
}

impl Task {
    pub(super) fn new(
        entry: Arc<Entry>,
        detector: Arc<Detector>,
        wish: watch::Receiver<Wish>,
        fed: mpsc::Receiver<Fed>,
    ) -> Self {
        let current = wish.borrow().clone();
        Self {
            teller: Teller::new(entry.stream.clone()),
            current,
            entry,
            detector,
            wish,
            fed,
            eye: Eye::Closed(State::Waiting, None),
            said: None,
            now: Now::default(),
            before: Counts::default(),
            late_at: None,
        }
    }

    /// Until it is told to end.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let next = tokio::select! {
                biased;
                // Its sender is in the entry that is held here.
                _ = self.wish.changed() => Next::Wish,
                _ = ticks.tick() => Next::Tick,
                fed = self.fed.recv() => Next::Fed(fed),
                next = next_of(&mut self.eye, &self.detector) => next,
            };
            match next {
                Next::Wish => {
                    let wish = self.wish.borrow_and_update().clone();
                    if wish.ends {
                        break;
                    }
                    if wish != self.current {
                        self.current = wish;
                        // With other settings somebody begins anew.
                        self.close(State::Waiting, None).await;
                        self.choose().await;
                    }
                }
                Next::Tick => {
                    self.choose().await;
                    self.listen().await;
                    self.teller.goes_on(&self.detector.world).await;
                }
                Next::Fed(Some(Fed::Seen(seen))) if matches!(self.eye, Eye::Camera { .. }) => {
                    self.seen(seen, By::Camera).await;
                }
                Next::Fed(Some(Fed::Said(now))) => self.hear(now).await,
                Next::Fed(_) => {}
                Next::Read(event) => self.take(event).await,
                Next::Done(done) => self.done(done).await,
            }
            self.report();
        }
        self.close(State::Waiting, None).await;
        self.report();
    }

    /// Who is to look from now on.
    async fn choose(&mut self) {
        let now = self.detector.world.clock.now();
        if self.entry.says(now) {
            if !matches!(self.eye, Eye::Publisher) {
                self.open(Eye::Publisher).await;
            }
            return;
        }
        if !self.current.plan.is_watched {
            return self.close(State::Waiting, None).await;
        }
        match self.camera(now) {
            Found::Here(camera) => {
                if !matches!(self.eye, Eye::Camera { .. }) {
                    let fed = self.entry.fed.clone();
                    // One look of five that is lost is none that counts.
                    let tell = move |seen: &Seen| drop(fed.try_send(Fed::Seen(seen.clone())));
                    let watched = camera.watch(self.current.plan.settings.clone(), tell);
                    self.open(Eye::Camera { _watched: watched }).await;
                }
            }
            Found::Soon => self.close(State::Waiting, None).await,
            Found::Elsewhere => {
                if !matches!(self.eye, Eye::Server(_)) {
                    self.decode(now).await;
                }
            }
        }
    }

    /// The camera of this machine whose stream it is, where it has pictures to look at.
    fn camera(&self, now: Instant) -> Found {
        let detector = &self.detector;
        let Some(cameras) = detector.cameras.get() else {
            // Which cameras there are is known soon.
            let stream = detector.world.hub.stream(&self.entry.stream, now).ok();
            let publisher = stream.and_then(|stream| stream.publisher());
            return match publisher.is_some_and(|publisher| publisher.info.protocol == CAMERA) {
                true => Found::Soon,
                false => Found::Elsewhere,
            };
        };
        let camera = cameras.get(&self.entry.stream);
        match camera.and_then(std::sync::Weak::upgrade) {
            Some(camera) if !camera.is_passing() => Found::Here(camera),
            // Its own H.264 passes, of which there are no pictures but those that are decoded.
            _ => Found::Elsewhere,
        }
    }

    /// Begins to decode, where that can be.
    async fn decode(&mut self, now: Instant) {
        let hub = &self.detector.world.hub;
        let Ok(stream) = hub.stream(&self.entry.stream, now) else {
            return self.close(State::Waiting, None).await;
        };
        let detector = &self.detector;
        let begun = codec(&stream.tracks()).and_then(|codec| {
            let ffmpeg = match codec {
                Codec::H265 => Some((detector.world.ffmpeg)().ok_or(NO_FFMPEG)?),
                _ => None,
            };
            let permit = Arc::clone(&detector.decoders).try_acquire_owned();
            let permit = permit.map_err(|_| TOO_MANY)?;
            let one_more = ffmpeg
                .as_ref()
                .map(|_| Arc::clone(&detector.ffmpegs).try_acquire_owned());
            Ok((
                codec,
                ffmpeg,
                (permit, one_more.transpose().map_err(|_| TOO_MANY_FFMPEG)?),
            ))
        });
        let (codec, ffmpeg, permits) = match begun {
            Ok(begun) => begun,
            Err(why) => return self.close(State::Unable, Some(why)).await,
        };
        match stream.join(now) {
            Ok(reader) => {
                let plan = &self.current.plan;
                let looker = Looker::new(plan.mode, plan.settings.clone(), now, ffmpeg);
                let decoding = Decoding {
                    reader,
                    frames: Vec::new(),
                    counts: looker.counts(),
                    looker: Some(Box::new(looker)),
                    job: None,
                    next_read: now,
                    joined: now,
                    codec,
                    trouble: None,
                    _permits: permits,
                };
                self.open(Eye::Server(Box::new(decoding))).await;
            }
            Err(_) => self.close(State::Unable, Some(NO_READERS)).await,
        }
    }

    async fn close(&mut self, state: State, why: Option<&'static str>) {
        self.open(Eye::Closed(state, why.map(Cow::Borrowed))).await;
    }

    /// Somebody else looks, or nobody: what moved before has ended.
    async fn open(&mut self, eye: Eye) {
        if let Eye::Server(decoding) = std::mem::replace(&mut self.eye, eye) {
            self.before = self.before.plus(decoding.counts);
        }
        self.said = None;
        self.now = Now::default();
        if self.teller.is_open() {
            let at = self.detector.world.clock.wall();
            self.teller.ended(&self.detector.world, at, (None, None)).await;
        }
    }

    /// What the hub says.
    async fn take(&mut self, event: Read) {
        let Eye::Server(decoding) = &mut self.eye else { return };
        let frames = std::mem::take(&mut decoding.frames);
        let mut seen = None;
        match event {
            Read::Frames(_) => {
                decoding.submit(frames, &self.detector);
            }
            Read::Jumped { frames_skipped } => {
                let now = self.detector.world.clock.now();
                // While it works through what the stream begins with, it is not behind yet.
                let begins = now.saturating_duration_since(decoding.joined) < BEGINS_WITHIN;
                if let Some(looker) = &mut decoding.looker {
                    looker.skip(if begins { 0 } else { frames_skipped });
                }
                if !begins {
                    self.late_at = Some(now);
                }
            }
            Read::Tracks(tracks) => {
                seen = decoding.looker.as_mut().and_then(|looker| looker.interrupt());
                let is_other = codec(&tracks) != Ok(decoding.codec);
                if is_other {
                    // What can be done about it is seen at the next tick.
                    return self.close(State::Waiting, None).await;
                }
            }
            Read::Ended(_) => return self.close(State::Waiting, None).await,
        }
        if let Some(seen) = seen {
            self.seen(seen, By::Server).await;
        }
    }

    /// A job is done.
    async fn done(&mut self, done: Option<Looked>) {
        let Eye::Server(decoding) = &mut self.eye else { return };
        let now = self.detector.world.clock.now();
        let lag = self.detector.world.hub.limits().lag;
        decoding.next_read = now + TOGETHER.min(lag / 4);
        let Some((looker, all)) = done else {
            // A bug of ours, which was reported: it begins anew.
            return self.close(State::Waiting, None).await;
        };
        let counts = looker.counts();
        if counts.late > decoding.counts.late {
            if self.late_at.is_none() {
                tracing::warn!(stream = %self.entry.stream, "this machine is too slow to look for motion as often as is wanted; motion.mode = \"thrifty\" takes a tenth of the work");
            }
            self.late_at = Some(now);
        }
        decoding.counts = counts;
        if looker.trouble() != decoding.trouble.as_deref() {
            decoding.trouble = looker.trouble().map(str::to_owned);
            if let Some(reason) = &decoding.trouble {
                // Seldom: each time it is waited for longer.
                tracing::warn!(stream = %self.entry.stream, reason, "no motion is seen in a stream of H.265");
            }
        }
        decoding.looker = Some(looker);
        for seen in all {
            self.seen(seen, By::Server).await;
        }
    }

    /// What came of a look.
    async fn seen(&mut self, seen: Seen, by: By) {
        let world = &self.detector.world;
        for event in &seen.events {
            match event {
                Event::Began { at, area, score } => {
                    let of = (Some(*area), Some(*score));
                    self.teller.began(world, seen.wall_of(*at), of, by).await;
                }
                Event::Second { at, intensity_permille } => {
                    self.teller.second(world, seen.wall_of(*at), *intensity_permille);
                }
                Event::Ended { at, area, score, .. } => {
                    let of = (Some(*area), Some(*score));
                    self.teller.ended(world, seen.wall_of(*at), of).await;
                }
            }
        }
        // One that was left out, or of a watch before this one, may have said that it ended.
        if !seen.now.is_moving && self.teller.is_open() {
            self.teller.ended(world, seen.wall, (None, None)).await;
        }
        self.now = seen.now;
    }

    /// What the publisher says of itself.
    async fn hear(&mut self, now: Now) {
        if !matches!(self.eye, Eye::Publisher) {
            self.open(Eye::Publisher).await;
        }
        let world = &self.detector.world;
        let at = (world.clock.now(), world.clock.wall());
        self.now = now;
        if now.is_moving {
            self.said = Some(at);
            if !self.teller.is_open() {
                self.teller.began(world, at.1, (None, None), By::Publisher).await;
            }
            self.teller.second(world, at.1, now.intensity_permille);
        }
    }

    /// Who has not said for a while that something moves has no motion: however often somebody changes its mind, that is an event in three seconds.
    async fn listen(&mut self) {
        let world = &self.detector.world;
        let now = world.clock.now();
        if let Some((at, wall)) = self.said
            && now.saturating_duration_since(at) >= SAID_LASTS
        {
            self.said = None;
            self.now = Now::default();
            self.teller.ended(world, wall, (None, None)).await;
        }
    }

    fn report(&self) {
        let now = self.detector.world.clock.now();
        let is_late = self
            .late_at
            .is_some_and(|at| now.saturating_duration_since(at) < BEHIND_LASTS);
        let (state, by, why, counts) = match &self.eye {
            Eye::Closed(state, why) => (*state, None, why.clone(), Counts::default()),
            Eye::Camera { .. } => (State::Looking, Some(By::Camera), None, Counts::default()),
            Eye::Publisher => (State::Looking, Some(By::Publisher), None, Counts::default()),
            Eye::Server(decoding) => {
                let (state, why) = match (&decoding.trouble, is_late, decoding.counts.looks) {
                    (Some(trouble), ..) => (State::Unable, Some(Cow::Owned(trouble.clone()))),
                    (None, true, _) => (State::Behind, Some(Cow::Borrowed(BEHIND))),
                    (None, false, 0) => (State::Waiting, None),
                    (None, false, _) => (State::Looking, None),
                };
                (state, Some(By::Server), why, decoding.counts)
            }
        };
        *lock(&self.entry.report) = Report {
            stream: self.entry.stream.clone(),
            state,
            by,
            mode: self.current.plan.mode,
            now: self.now,
            counts: self.before.plus(counts),
            why,
        };
    }
}

/// Where the camera of a stream is.
enum Found {
    /// On this machine, with pictures.
    Here(Arc<Camera>),
    /// On this machine; it starts.
    Soon,
    /// Not here, or it has no pictures.
    Elsewhere,
}

/// What comes of decoding; nothing where nobody decodes. Cancel-safe.
async fn next_of(eye: &mut Eye, detector: &Detector) -> Next {
    let Eye::Server(decoding) = eye else {
        return pending().await;
    };
    if let Some(job) = &mut decoding.job {
        let done = job.await.ok();
        decoding.job = None;
        return Next::Done(done);
    }
    let wait = decoding.next_read.saturating_duration_since(detector.world.clock.now());
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    Next::Read(decoding.reader.next(&mut decoding.frames).await)
}

impl Decoding {
    fn submit(&mut self, frames: Vec<Arc<Come>>, detector: &Detector) {
        let Some(mut looker) = self.looker.take() else { return };
        let (answer, answered) = oneshot::channel();
        let clock = Arc::clone(&detector.world.clock);
        self.job = Some(answered);
        detector.pool().submit(move || {
            let come = frames.iter().map(|come| (&come.frame, come.published));
            let seen = looker.look(come, &*clock);
            // Whoever waited may have gone.
            let _ = answer.send((looker, seen));
        });
    }
}

/// What the pictures of a stream are coded in, where there is a decoder for that.
fn codec(tracks: &[Track]) -> Result<Codec, &'static str> {
    match video(tracks).map(|track| track.format.codec()) {
        Some(codec @ (Codec::H264 | Codec::H265)) => Ok(codec),
        Some(_) | None => Err(NO_PICTURES),
    }
}

const NO_FFMPEG: &str = "it is H.265, which FFmpeg decodes, and there is none: install it (Debian, Ubuntu: apt install ffmpeg), take H.264 of the camera, or let its publisher look";
const TOO_MANY_FFMPEG: &str = "16 streams of H.265 are decoded already to look for motion, which is the limit";
const NO_PICTURES: &str = "it has no pictures";
const NO_READERS: &str = "the stream is read as often as it may be; it is looked at when somebody else goes";
const TOO_MANY: &str = "64 streams are decoded already to look for motion, which is the limit";
const BEHIND: &str = "this machine is too slow; motion.mode = \"thrifty\" takes a tenth of the work";
