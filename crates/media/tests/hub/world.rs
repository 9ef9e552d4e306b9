//! A hub with a clock, publishers that make frames, viewers that note what they get.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use media::hub::{
    EndReason, Entry, Event, Hub, Limits, Origin, PublishError, Publisher, Publishing, Reader, Refused, Stream,
};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{Clock, Frame, StreamName, Track, TrackIndex, WallTime};
use testkit::clock::SimClock;
use testkit::stream::{Audio, Settings, Video};

pub(crate) struct World {
    pub(crate) clock: SimClock,
    pub(crate) hub: Hub,
    pub(crate) name: StreamName,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self {
            clock: SimClock::new(),
            hub: Hub::new(limits),
            name: StreamName::default_stream(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn now_wall(&self) -> WallTime {
        self.clock.wall()
    }

    pub(crate) fn stream(&self) -> Arc<Stream> {
        self.hub.stream(&self.name, self.now()).expect("the stream is there")
    }

    pub(crate) fn join(&self) -> Viewer {
        Viewer::new(self.stream().join(self.now()).expect("there is room"))
    }

    /// A remote publisher of video, GOP of ten frames of 30 a second.
    pub(crate) fn video(&self) -> Feed {
        self.feed(Settings::default(), Terms::remote())
    }

    #[allow(clippy::needless_pass_by_value, reason = "terms are made on the spot")]
    pub(crate) fn feed(&self, settings: Settings, terms: Terms) -> Feed {
        self.try_feed(settings, &terms).expect("may publish")
    }

    pub(crate) fn try_feed(&self, settings: Settings, terms: &Terms) -> Result<Feed, PublishError> {
        let video = Video::new(settings);
        let audio = terms.audio.then(|| Audio::new(TrackIndex(1), terms.audio_ticks));
        let mut tracks = vec![video.track()];
        tracks.extend(audio.as_ref().map(Audio::track));
        let (publisher, stats) = self.publisher(tracks, terms)?;
        Ok(Feed {
            clock: self.clock.clone(),
            video,
            audio,
            publisher,
            stats,
        })
    }

    pub(crate) fn publisher(
        &self,
        tracks: Vec<Track>,
        terms: &Terms,
    ) -> Result<(Publisher, Arc<SessionStats>), PublishError> {
        let stats = Arc::new(self.stats(Role::Publisher, terms.port));
        let publishing = Publishing {
            stats: Arc::clone(&stats),
            origin: terms.origin,
            keyframe_requests: terms.requests.clone().map(|requests| {
                Arc::new(move || {
                    requests.fetch_add(1, SeqCst);
                }) as Arc<dyn Fn() + Send + Sync>
            }),
        };
        let publisher = self.hub.publish(&self.name, tracks, publishing, self.now())?;
        Ok((publisher, stats))
    }

    pub(crate) fn stats(&self, role: Role, port: u16) -> SessionStats {
        SessionStats::new(SessionInfo {
            stream: self.name.clone(),
            role,
            protocol: "test",
            remote: Some(([192, 0, 2, 1], port).into()),
            agent: None,
            since: self.clock.wall(),
        })
    }
}

/// On what terms somebody publishes.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) origin: Origin,
    pub(crate) port: u16,
    pub(crate) audio: bool,
    pub(crate) audio_ticks: i64,
    /// Counts requests for keyframes; `None`: it takes none.
    pub(crate) requests: Option<Arc<AtomicUsize>>,
}

impl Terms {
    pub(crate) fn remote() -> Self {
        Self {
            origin: Origin::Remote,
            port: 5_000,
            audio: false,
            audio_ticks: 0,
            requests: None,
        }
    }

    pub(crate) fn local(takeover: bool) -> Self {
        Self {
            origin: Origin::Local { takeover },
            ..Self::remote()
        }
    }

    pub(crate) fn stand_in() -> Self {
        Self {
            origin: Origin::StandIn,
            ..Self::remote()
        }
    }

    pub(crate) fn with_audio(self) -> Self {
        Self { audio: true, ..self }
    }

    pub(crate) fn on_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    pub(crate) fn asked_through(self, requests: &Arc<AtomicUsize>) -> Self {
        Self {
            requests: Some(Arc::clone(requests)),
            ..self
        }
    }
}

/// A publisher and what it sends.
pub(crate) struct Feed {
    pub(crate) clock: SimClock,
    pub(crate) video: Video,
    pub(crate) audio: Option<Audio>,
    pub(crate) publisher: Publisher,
    pub(crate) stats: Arc<SessionStats>,
}

impl Feed {
    /// A frame interval passes, then a picture is published.
    pub(crate) fn picture(&mut self) -> Result<(), Refused> {
        self.clock.advance(Duration::from_micros(self.video.interval_us()));
        let frame = self.video.next_frame(self.clock.wall());
        self.publisher.publish(frame, self.clock.now())
    }

    /// `count` pictures, a frame interval apart.
    pub(crate) fn pictures(&mut self, count: usize) {
        for _ in 0..count {
            self.picture().expect("is the publisher");
        }
    }

    pub(crate) fn keyframe(&mut self) -> Result<(), Refused> {
        self.video.request_keyframe();
        self.picture()
    }

    /// 20 ms of sound, now.
    pub(crate) fn sound(&mut self) -> Result<(), Refused> {
        let frame = self.audio.as_mut().expect("has sound").next_frame(self.clock.wall());
        self.publisher.publish(frame, self.clock.now())
    }

    /// Publishes a frame as it is, now.
    pub(crate) fn publish(&mut self, frame: Frame) -> Result<(), Refused> {
        self.publisher.publish(frame, self.clock.now())
    }
}

/// What a viewer was told, with batches of frames taken apart.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Frame(Arc<Entry>),
    Jumped(u64),
    Tracks(usize),
    Ended(EndReason),
}

impl Seen {
    pub(crate) fn frame(&self) -> &Arc<Entry> {
        match self {
            Self::Frame(entry) => entry,
            other => panic!("{other:?} is no frame"),
        }
    }
}

pub(crate) fn push_seen(seen: &mut Vec<Seen>, event: Event, frames: &mut Vec<Arc<Entry>>) {
    match event {
        Event::Frames(count) => {
            assert!(
                count == frames.len() && count > 0,
                "{count} announced, {} there",
                frames.len()
            );
            seen.extend(frames.drain(..).map(Seen::Frame));
        }
        Event::Jumped { frames_skipped } => seen.push(Seen::Jumped(frames_skipped)),
        Event::Tracks(tracks) => seen.push(Seen::Tracks(tracks.len())),
        Event::Ended(reason) => seen.push(Seen::Ended(reason)),
    }
    assert!(frames.is_empty(), "frames come with `Frames` alone");
}

/// A waker that counts.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A reader with a task of its own.
pub(crate) struct Viewer {
    pub(crate) reader: Reader,
    pub(crate) wakes: Arc<Wakes>,
    frames: Vec<Arc<Entry>>,
}

impl Viewer {
    pub(crate) fn new(reader: Reader) -> Self {
        Self {
            reader,
            wakes: Arc::default(),
            frames: Vec::new(),
        }
    }

    pub(crate) fn poll(&mut self) -> Poll<Event> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.frames.clear();
        self.reader
            .poll_next(&mut Context::from_waker(&waker), &mut self.frames)
    }

    /// Everything there is, until it would wait or the stream has ended.
    pub(crate) fn drain(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Poll::Ready(event) = self.poll() {
            push_seen(&mut seen, event, &mut self.frames);
            if matches!(seen.last(), Some(Seen::Ended(_))) {
                break;
            }
        }
        seen
    }

    /// One poll; an end is noted once.
    pub(crate) fn step(&mut self, seen: &mut Vec<Seen>) {
        if !matches!(seen.last(), Some(Seen::Ended(_)))
            && let Poll::Ready(event) = self.poll()
        {
            push_seen(seen, event, &mut self.frames);
        }
    }

    pub(crate) fn drain_unless_ended(&mut self, ended: bool) -> Vec<Seen> {
        if ended { Vec::new() } else { self.drain() }
    }

    /// [`Viewer::drain`] when nothing but frames is expected.
    pub(crate) fn frames(&mut self) -> Vec<Arc<Entry>> {
        self.drain().iter().map(|seen| Arc::clone(seen.frame())).collect()
    }

    pub(crate) fn ids(&mut self) -> Vec<u64> {
        self.frames().iter().map(|entry| entry.id).collect()
    }
}
