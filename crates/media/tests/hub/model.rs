//! Random interleavings of everything that can happen to a stream, against what every reader may rely on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::hub::{Entry, Event, Limits, Position, PublishError, Publisher};
use media::stats::SessionStats;
use media::{Kind, MediaTime, Timescale, Track, TrackIndex};
use proptest::prelude::*;
use testkit::stream::{Audio, Settings, Video};

use crate::world::{Seen, Terms, Viewer, World, push_seen};

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in milliseconds.
    Wait(u64),
    /// The publisher that came last publishes a picture.
    Picture { keyframe: bool, bytes: usize },
    /// The publisher that came last publishes sound, if it has any.
    Sound,
    /// Another publisher comes; with or without sound, its clock starting anywhere.
    Publisher { sound: bool, clock_ms: i64 },
    /// The publisher that came last goes.
    Close,
    /// Its clock jumps.
    ClockJump { ms: i64 },
    /// A reader joins that reads when it is told to.
    Join,
    /// A position is read without a waker.
    Start,
    /// One of those reads so often.
    Read { who: usize, times: usize },
    /// One of those leaves.
    Leave { who: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u64..120).prop_map(Step::Wait),
        1 => (500_u64..7_000).prop_map(Step::Wait),
        20 => (prop::bool::weighted(0.2), 1_usize..4_000).prop_map(|(keyframe, bytes)| Step::Picture { keyframe, bytes }),
        6 => Just(Step::Sound),
        1 => (any::<bool>(), -50_000_i64..50_000).prop_map(|(sound, clock_ms)| Step::Publisher { sound, clock_ms }),
        1 => Just(Step::Close),
        1 => (-100_000_i64..100_000).prop_map(|ms| Step::ClockJump { ms }),
        1 => Just(Step::Join),
        1 => Just(Step::Start),
        6 => (0_usize..8, 1_usize..4).prop_map(|(who, times)| Step::Read { who, times }),
        1 => (0_usize..8).prop_map(|who| Step::Leave { who }),
    ]
}

const LIMITS: Limits = Limits {
    streams: 1_000,
    viewers_per_stream: 8,
    readers_per_stream: 8,
    waiting_publishers: 2,
    frame_bytes: 3_500,
    ring_bytes: 60_000,
    ring_frames: 64,
    ring_time: Duration::from_secs(3),
    total_bytes: None,
    lag: Duration::from_millis(700),
    whole_gop: Duration::from_millis(900),
    burst_bytes: 40_000,
    burst_time: Duration::from_secs(2),
    hold: Duration::from_secs(5),
    remembered: 4,
    told_apart: 200,
};

/// A publisher and its clocks.
struct Source {
    publisher: Option<Publisher>,
    stats: Arc<SessionStats>,
    video: Video,
    sound: Option<Audio>,
    /// Added to the time that passed.
    clock_ms: i64,
    /// Times never stand still.
    sent: i64,
}

/// Where a reader is in what it was told.
#[derive(Default)]
struct Transcript {
    events: Vec<Seen>,
    /// Events that were checked.
    checked: usize,
    /// Id and lineup of the last frame, and frames that it was told it lost since.
    last: Option<(u64, u32)>,
    owed: Option<u64>,
    tracks_changed: bool,
    newest_us: BTreeMap<(u32, TrackIndex), i64>,
    jumps: usize,
    ended: bool,
}

/// A reader that reads when told to.
enum Slow {
    Viewer(Box<Viewer>),
    Position(Arc<media::hub::Stream>, Position),
}

struct Run {
    world: World,
    /// Data of every frame that was taken, by id, for each stream of the name in turn.
    taken: Vec<Bytes>,
    sources: Vec<Source>,
    prompt: Viewer,
    prompt_saw: Transcript,
    slow: Vec<(Slow, Transcript)>,
    counter: u64,
}

/// The first track of every publisher here is video.
fn starts(entry: &Entry) -> bool {
    entry.frame.keyframe && entry.frame.track == TrackIndex(0)
}

impl Transcript {
    /// What every reader may rely on, whatever others do.
    fn check(&mut self, taken: &[Bytes]) {
        for event in &self.events[self.checked..] {
            assert!(!self.ended, "{event:?} after the end");
            match event {
                Seen::Frame(entry) => {
                    let first_or_moved = self.last.is_none() || self.owed.is_some() || self.tracks_changed;
                    if let Some((last, _)) = self.last {
                        let next = last + 1 + self.owed.unwrap_or(0);
                        let passed_over = entry.id > next && self.tracks_changed;
                        assert!(
                            entry.id == next || passed_over,
                            "{} after {last}, {:?} lost",
                            entry.id,
                            self.owed
                        );
                    }
                    if let Some((_, lineup)) = self.last.filter(|_| !self.tracks_changed) {
                        assert_eq!(
                            entry.lineup(),
                            lineup,
                            "frames of other tracks come after they were told"
                        );
                    }
                    if first_or_moved && entry.frame.format.codec().kind() == Kind::Video {
                        assert!(entry.frame.keyframe, "{} cannot be decoded", entry.id);
                    }
                    if first_or_moved && !self.tracks_changed {
                        assert!(starts(entry));
                    }
                    let data = &taken[usize::try_from(entry.id).unwrap()];
                    assert_eq!(
                        data.as_ptr(),
                        entry.frame.data.as_ptr(),
                        "{} is another frame",
                        entry.id
                    );
                    let us = entry.frame.time.as_micros();
                    let newest = self.newest_us.entry((entry.lineup(), entry.frame.track)).or_insert(us);
                    // A second back is believed: B-frames are sent so. Keyframes and further steps are put right.
                    let back = if starts(entry) { 0 } else { 1_000_000 };
                    assert!(us >= *newest - back, "the clock went from {newest} to {us}");
                    *newest = us.max(*newest);
                    (self.last, self.owed, self.tracks_changed) = (Some((entry.id, entry.lineup())), None, false);
                }
                Seen::Jumped(skipped) => {
                    assert!(*skipped > 0);
                    self.owed = Some(self.owed.unwrap_or(0) + skipped);
                    self.jumps += 1;
                }
                Seen::Tracks(_) => {
                    // What came of tracks that changed again before they were read is passed over, so ids may leave a gap.
                    (self.tracks_changed, self.owed) = (true, None);
                }
                Seen::Ended(_) => self.ended = true,
            }
        }
        self.checked = self.events.len();
    }
}

impl Run {
    fn new() -> Self {
        let world = World::with(LIMITS);
        let mut sources = Vec::new();
        come(&world, &mut sources, false, 0);
        let prompt = world.join();
        Self {
            world,
            taken: Vec::new(),
            sources,
            prompt,
            prompt_saw: Transcript::default(),
            slow: Vec::new(),
            counter: 0,
        }
    }

    fn step(&mut self, step: &Step, with_slow: bool) {
        match *step {
            Step::Wait(ms) => {
                self.world.clock.advance_ms(ms);
                self.world.hub.poll(self.world.now());
            }
            Step::Picture { keyframe, bytes } => self.publish(Some((keyframe, bytes))),
            Step::Sound => self.publish(None),
            Step::Publisher { sound, clock_ms } => come(&self.world, &mut self.sources, sound, clock_ms),
            Step::Close => {
                if let Some(publisher) = self.sources.last_mut().and_then(|source| source.publisher.take()) {
                    publisher.close(self.world.now());
                }
            }
            Step::ClockJump { ms } => {
                if let Some(source) = self.sources.last_mut() {
                    source.clock_ms += ms;
                }
            }
            Step::Join | Step::Start | Step::Read { .. } | Step::Leave { .. } if !with_slow => {}
            Step::Join => {
                if let Ok(reader) = self.prompt.reader.stream().join(self.world.now()) {
                    self.slow
                        .push((Slow::Viewer(Box::new(Viewer::new(reader))), Transcript::default()));
                }
            }
            Step::Start => {
                let stream = Arc::clone(self.prompt.reader.stream());
                let position = stream.start(self.world.now()).position;
                self.slow
                    .push((Slow::Position(stream, position), Transcript::default()));
            }
            Step::Read { who, times } => {
                if let Some((slow, saw)) = self.slow.get_mut(who) {
                    for _ in 0..times {
                        read(slow, &mut saw.events);
                    }
                    saw.check(&self.taken);
                }
            }
            Step::Leave { who } => {
                if who < self.slow.len() {
                    self.slow.swap_remove(who);
                }
            }
        }
        self.prompt_saw
            .events
            .extend(self.prompt.drain_unless_ended(self.prompt_saw.ended));
        self.prompt_saw.check(&self.taken);
        let bytes = self.prompt.reader.stream().ring_bytes();
        assert!(bytes <= LIMITS.ring_bytes, "{bytes} bytes in the ring");
    }

    fn publish(&mut self, picture: Option<(bool, usize)>) {
        let Some(source) = self.sources.last_mut() else { return };
        let Some(publisher) = source.publisher.as_mut() else {
            return;
        };
        let wall = self.world.now_wall();
        let mut frame = match (picture, source.sound.as_mut()) {
            (Some((keyframe, bytes)), _) => {
                let mut frame = source.video.next_frame(wall);
                (frame.keyframe, frame.data) = (keyframe, Bytes::from(vec![7; bytes]));
                frame
            }
            (None, Some(sound)) => sound.next_frame(wall),
            (None, None) => return,
        };
        frame.data = Bytes::copy_from_slice(&frame.data);
        source.sent += 1;
        let us = i64::try_from(self.world.clock.elapsed().as_micros()).unwrap()
            + source.clock_ms * 1_000
            + source.sent * 2_000;
        frame.time = MediaTime::new(us, Timescale::new(1_000_000).unwrap());
        let data = frame.data.clone();
        let before = source.stats.frames.get();
        let same_stream = Arc::ptr_eq(publisher.stream(), self.prompt.reader.stream());
        let result = publisher.publish(frame, self.world.now());
        self.counter += 1;
        if result.is_ok() && source.stats.frames.get() > before && same_stream {
            self.taken.push(data);
        }
    }
}

/// Another publisher comes.
fn come(world: &World, sources: &mut Vec<Source>, sound: bool, clock_ms: i64) {
    let video = Video::new(Settings::default());
    let sound = sound.then(|| Audio::new(TrackIndex(1), 0));
    let micros = |track: Track| Track {
        timescale: Timescale::new(1_000_000).unwrap(),
        ..track
    };
    let tracks = std::iter::once(video.track())
        .chain(sound.as_ref().map(Audio::track))
        .map(micros);
    match world.publisher(tracks.collect(), &Terms::remote()) {
        Ok((publisher, stats)) => sources.push(Source {
            publisher: Some(publisher),
            stats,
            video,
            sound,
            clock_ms,
            sent: 0,
        }),
        Err(PublishError::Flapping { .. } | PublishError::TooManyPublishers { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

fn read(slow: &mut Slow, events: &mut Vec<Seen>) {
    match slow {
        Slow::Viewer(viewer) => viewer.step(events),
        Slow::Position(stream, position) => {
            let mut frames: Vec<Arc<Entry>> = Vec::new();
            if let Some(event) = stream.read(position, 5, &mut frames)
                && !(matches!(event, Event::Ended(_)) && matches!(events.last(), Some(Seen::Ended(_))))
            {
                push_seen(events, event, &mut frames);
            }
        }
    }
}

proptest! {
    #[test]
    fn every_reader_gets_what_it_may_rely_on(steps in prop::collection::vec(step(), 1..300)) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step, true);
        }
        for (slow, saw) in &mut run.slow {
            for _ in 0..40 {
                read(slow, &mut saw.events);
            }
            saw.check(&run.taken);
        }
        prop_assert_eq!(run.prompt_saw.jumps, 0, "who keeps up is never moved");

        // What the others do, or whether they are there at all, changes nothing for one of them.
        let mut alone = Run::new();
        for step in &steps {
            alone.step(step, false);
        }
        let told = |run: &Run| -> Vec<String> {
            let say = |seen: &Seen| match seen {
                Seen::Frame(entry) => format!("{} at {} of {} bytes", entry.id, entry.frame.time.as_micros(), entry.frame.data.len()),
                other => format!("{other:?}"),
            };
            run.prompt_saw.events.iter().map(say).collect()
        };
        prop_assert_eq!(told(&run), told(&alone));
        prop_assert!(run.counter == alone.counter);
    }
}
