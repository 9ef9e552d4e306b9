use media::hub::{Event, Limits, Publisher};
use testkit::clock::SimClock;
use testkit::publishing::publish;
use testkit::stream::{Audio, Settings, Video};

use super::*;
use device::camera::{Output, Sink};

struct World {
    clock: SimClock,
    hub: Hub,
    watch: Watch,
}

impl World {
    fn new() -> Self {
        let (clock, hub) = (SimClock::new(), Hub::new(Limits::default()));
        let watch = Watch {
            name: StreamName::default_stream(),
            hub: hub.clone(),
            began: clock.wall(),
        };
        Self { clock, hub, watch }
    }

    fn look(&self, shown: bool) -> Step {
        self.hub.poll(self.clock.now());
        self.watch.look(self.clock.now(), self.clock.wall(), shown)
    }

    fn vacant(&self) -> Vacant {
        match self.look(false) {
            Step::Show(vacant) => vacant,
            other => panic!("{other:?}"),
        }
    }

    fn publisher(&self, tracks: Vec<Track>) -> Publisher {
        publish(&self.hub, &self.watch.name, tracks, &self.clock)
    }

    /// What a slate's camera hands its pictures to, and whether it has given way.
    fn slate(&self, vacant: &Vacant) -> (Sink, Arc<AtomicBool>) {
        let over = Arc::new(AtomicBool::new(false));
        let publication = Publication {
            name: self.watch.name.clone(),
            hub: self.hub.clone(),
            clock: Arc::new(self.clock.clone()),
            handle: Arc::default(),
            part: Part::Slate {
                tracks: Arc::clone(&vacant.tracks),
            },
            passing: Arc::default(),
            track: None,
            publisher: None,
            over: Arc::clone(&over),
            status: Arc::default(),
        };
        (publication.sink(), over)
    }
}

fn large() -> Video {
    Video::new(Settings {
        width: 1_280,
        height: 720,
        ..Settings::default()
    })
}

#[test]
fn from_the_beginning_there_is_a_slate() {
    let world = World::new();
    world.clock.advance_ms(70);
    let vacant = world.vacant();
    assert_eq!((vacant.size, vacant.fps), ((640, 480), FrameRate::whole(5)));
    assert_eq!(
        vacant.says(&jiff::tz::TimeZone::UTC).to_string(),
        "nobody publishes this stream: since 2025-10-06 00:00:00, when the server began to offer it; \
         the picture comes by itself as soon as there is one"
    );
    assert!(matches!(world.look(true), Step::Stay));
}

#[test]
fn a_publisher_that_comes_before_the_first_picture_keeps_the_stream() {
    let world = World::new();
    let (mut sink, over) = world.slate(&world.vacant());
    let mut video = large();
    let mut publisher = world.publisher(vec![video.track()]);
    publisher
        .publish(video.next_frame(world.clock.wall()), world.clock.now())
        .unwrap();
    let mut still = Video::new(Settings::default());
    sink(Output::Track(still.track()));
    sink(Output::Frame(still.next_frame(world.clock.wall())));
    assert!(matches!(world.look(true), Step::Hide));
    assert!(matches!(world.look(false), Step::Stay));
    publisher
        .publish(video.next_frame(world.clock.wall()), world.clock.now())
        .unwrap();
    assert!(!over.load(Relaxed));
}

#[test]
fn viewers_stay_from_publisher_to_slate_to_publisher() {
    let world = World::new();
    let (mut video, mut audio) = (large(), Audio::new(media::TrackIndex(1), 0));
    let frame = |video: &mut Video| video.next_frame(world.clock.wall());
    let mut first = world.publisher(vec![video.track(), audio.track()]);
    first.publish(frame(&mut video), world.clock.now()).unwrap();
    first
        .publish(audio.next_frame(world.clock.wall()), world.clock.now())
        .unwrap();
    let stream = world.hub.stream(&world.watch.name, world.clock.now()).unwrap();
    let mut position = stream.start(world.clock.now()).position;
    let mut seen = Vec::new();
    let mut see = |seen: &mut Vec<_>| match stream.read(&mut position, 64, seen) {
        None | Some(Event::Frames(_)) => seen
            .last()
            .map(|entry: &Arc<media::hub::Entry>| entry.frame.format.dimensions()),
        other => panic!("a viewer was told {other:?}"),
    };
    see(&mut seen);
    world.clock.advance_ms(5_000);
    first.close(world.clock.now());
    world.clock.advance_ms(300);

    let vacant = world.vacant();
    assert_eq!((vacant.size, vacant.tracks.len()), ((1_280, 720), 2));
    assert_eq!(world.clock.wall().micros_since(vacant.since), 300_000);
    assert!(
        vacant
            .says(&jiff::tz::TimeZone::UTC)
            .why
            .ends_with("00:00:05, when its publisher left")
    );
    let (mut sink, over) = world.slate(&vacant);
    let mut still = Video::new(Settings {
        fps: 5,
        ..Settings::default()
    });
    sink(Output::Track(still.track()));
    // Far longer than a stream is held for its publisher.
    for _ in 0..100 {
        world.clock.advance_ms(200);
        sink(Output::Frame(still.next_frame(world.clock.wall())));
        assert!(matches!(world.look(true), Step::Stay));
        assert_eq!(see(&mut seen), Some(Some((640, 480))));
    }

    let mut video = large();
    let mut second = world.publisher(vec![video.track(), audio.track()]);
    assert!(second.is_waiting());
    sink(Output::Frame(still.next_frame(world.clock.wall())));
    assert!(!over.load(Relaxed), "it gives way before there is a picture");
    second.publish(frame(&mut video), world.clock.now()).unwrap();
    for _ in 0..11 {
        sink(Output::Frame(still.next_frame(world.clock.wall())));
    }
    assert!(over.load(Relaxed));
    assert_eq!(see(&mut seen), Some(Some((1_280, 720))));
    assert!(matches!(world.look(false), Step::Stay));
}

#[test]
fn viewers_who_could_not_follow_are_let_go_first() {
    let world = World::new();
    let mut audio = Audio::new(media::TrackIndex(0), 0);
    let mut publisher = world.publisher(vec![audio.track()]);
    world.clock.advance_ms(1_000);
    publisher
        .publish(audio.next_frame(world.clock.wall()), world.clock.now())
        .unwrap();
    drop(publisher);
    world.clock.advance_ms(4_000);
    assert!(matches!(world.look(false), Step::Stay));
    world.clock.advance_ms(2_000);
    let vacant = world.vacant();
    assert!(vacant.cause == Cause::Left && vacant.tracks.is_empty());
    assert_eq!(world.clock.wall().micros_since(vacant.since), 6_000_000);
}

#[test]
fn a_publisher_that_is_silent_for_long_has_a_slate_in_its_place() {
    let world = World::new();
    let mut video = large();
    let mut publisher = world.publisher(vec![video.track()]);
    let frame = |video: &mut Video| video.next_frame(world.clock.wall());
    publisher.publish(frame(&mut video), world.clock.now()).unwrap();
    world.clock.advance_ms(4_900);
    assert!(matches!(world.look(false), Step::Stay), "it is waited for");
    world.clock.advance_ms(100);
    let vacant = world.vacant();
    assert_eq!((vacant.cause, vacant.size), (Cause::Silent, (1_280, 720)));
    assert_eq!(world.clock.wall().micros_since(vacant.since), 5_000_000);
    let (mut sink, over) = world.slate(&vacant);
    assert!(
        matches!(world.look(true), Step::Stay),
        "its first picture is yet to come"
    );
    let mut still = Video::new(Settings::default());
    sink(Output::Track(still.track()));
    sink(Output::Frame(frame(&mut still)));
    let stream = world.hub.stream(&world.watch.name, world.clock.now()).unwrap();
    assert!(is_ours(&stream));
    assert!(matches!(world.look(true), Step::Stay));
    // Not refused: it goes on as if nothing had been.
    publisher.publish(frame(&mut video), world.clock.now()).unwrap();
    assert!(is_ours(&stream), "before its next keyframe");
    video.request_keyframe();
    publisher.publish(frame(&mut video), world.clock.now()).unwrap();
    sink(Output::Frame(frame(&mut still)));
    assert!(over.load(Relaxed) && !is_ours(&stream));
}
