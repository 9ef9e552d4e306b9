//! Streams of a hub whose publishers say what moves in front of them.

use media::hub::{Limits, Publisher};
use testkit::publishing::publish;
use testkit::stream::{Settings as Pattern, Video};

use super::*;
use crate::clock::SystemClock;
use crate::events::{Heard, Listener, What};
use crate::record::service;
use crate::shutdown::{self, Trigger};
use crate::source::Supervisor;

struct Stage {
    detector: Arc<Detector>,
    hub: Hub,
    listener: Listener,
    _trigger: Trigger,
}

impl Stage {
    fn new(toml: &str) -> Self {
        Self::with(toml, || None)
    }

    fn with(toml: &str, ffmpeg: fn() -> Option<PathBuf>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let hub = Hub::new(Limits::default());
        let streams = Supervisor::without_sources(&hub, &clock);
        let events = Arc::clone(streams.events());
        let listener = events.listen(None);
        let (trigger, stop) = shutdown::channel();
        let settings: settings::Settings = toml::from_str(toml).unwrap();
        streams.set(&settings.stream);
        let world = service::World {
            hub: hub.clone(),
            streams: Arc::clone(&streams),
            events: Arc::clone(&events),
            clock: Arc::clone(&clock),
            zone: || jiff::tz::TimeZone::UTC,
        };
        let start = || Err("nothing is recorded here".to_owned());
        let world = World {
            hub: hub.clone(),
            streams,
            recordings: Recordings::new(world, Arc::new(start), stop.clone()),
            events,
            clock,
            ffmpeg,
        };
        let detector = Detector::new(world, stop);
        detector.set(&settings.motion, &settings.stream);
        tokio::spawn(Arc::clone(&detector).run());
        Self {
            detector,
            hub,
            listener,
            _trigger: trigger,
        }
    }

    fn publish(&self, stream: &str) -> Publisher {
        let mut video = Video::new(Pattern::default());
        let mut publisher = publish(&self.hub, &name(stream), vec![video.track()], &SystemClock);
        let frame = video.next_frame(SystemClock.wall());
        publisher.publish(frame, SystemClock.now()).unwrap();
        publisher
    }

    /// The next that is told of motion.
    async fn hears(&mut self) -> (String, Option<bool>) {
        loop {
            let heard = tokio::time::timeout(Duration::from_secs(20), self.listener.next()).await;
            let Heard::Event(event) = heard.expect("motion is told") else {
                panic!("events are kept")
            };
            if let What::Motion(motion) = &event.what {
                assert_eq!((motion.by, motion.area), ("publisher", None));
                return (event.what.kind().to_string(), motion.ended.map(|at| at >= motion.began));
            }
        }
    }
}

fn name(stream: &str) -> StreamName {
    stream.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_publisher_says_of_its_camera_is_told() {
    let mut stage = Stage::new("[stream.yard.motion]\nenabled = false\n");
    let _publishers = [stage.publish("door"), stage.publish("yard")];
    let (door, yard) = (name("door"), name("yard"));
    // Streams that are not there, and those of which nobody wants to hear.
    stage.detector.told(&name("cellar"), true, 1.0);
    stage.detector.told(&yard, true, 1.0);
    stage.detector.told(&door, false, 0.0);
    stage.detector.told(&door, true, f32::NAN);
    stage.detector.told(&door, true, 0.25);
    assert_eq!(stage.hears().await, ("motion.began".to_owned(), None));
    // It is told before it is reported.
    let report = loop {
        match stage.detector.report(&door) {
            Some(report) if report.now.is_moving => break report,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert_eq!((report.by, report.state), (Some(By::Publisher), State::Looking));
    stage.detector.told(&door, false, 0.0);
    assert_eq!(stage.hears().await, ("motion.ended".to_owned(), Some(true)));
    stage.detector.told(&door, false, 0.0);
    assert!(stage.detector.report(&yard).is_none() && stage.detector.reports().len() == 1);
    // One that says nothing any more has ended it, too.
    stage.detector.told(&door, true, 0.5);
    assert_eq!(stage.hears().await.0, "motion.began");
    assert_eq!(stage.hears().await, ("motion.ended".to_owned(), Some(true)));
}

/// Whoever may publish some streams could else keep a camera that is fetched from being looked at.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_a_stream_that_is_fetched() {
    let stage = Stage::new("[stream.yard]\nsource = \"rtsp://127.0.0.1:9/yard\"\n");
    let _publishers = [stage.publish("door"), stage.publish("yard")];
    for stream in ["door", "yard"] {
        stage.detector.told(&name(stream), true, 1.0);
    }
    let reports = stage.detector.reports();
    assert!(
        matches!(&reports[..], [report] if report.stream == name("door")),
        "{reports:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn h265_without_an_ffmpeg_is_said_until_there_is_one() {
    let stage = Stage::new("[motion]\nenabled = true\n");
    let format = Arc::new(media::Format::H265(media::h265::Format::default()));
    let track = media::Track {
        format,
        ..Video::new(Pattern::default()).track()
    };
    let _publisher = publish(&stage.hub, &name("door"), vec![track], &SystemClock);
    let begun = SystemClock.now();
    let report = loop {
        match stage.detector.report(&name("door")) {
            Some(report) if report.state == State::Unable => break report,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(SystemClock.now() - begun < Duration::from_secs(20));
    };
    assert!(
        report
            .why
            .as_deref()
            .is_some_and(|why| why.contains("apt install ffmpeg")),
        "{report:?}"
    );
}

/// Each is a process: so many, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_streams_of_h265_are_decoded_than_may_be() {
    let stage = Stage::with("[motion]\nenabled = true\n", || Some(PathBuf::from("/nowhere/ffmpeg")));
    let format = Arc::new(media::Format::H265(media::h265::Format::default()));
    let track = media::Track {
        format,
        ..Video::new(Pattern::default()).track()
    };
    let publishers = (0..=MAX_FFMPEG).map(|number| {
        let name = name(&format!("door{number}"));
        publish(&stage.hub, &name, vec![track.clone()], &SystemClock)
    });
    let _publishers: Vec<Publisher> = publishers.collect();
    let begun = SystemClock.now();
    loop {
        let reports = stage.detector.reports();
        let decoded = reports.iter().filter(|report| report.by == Some(By::Server)).count();
        let unable = reports.iter().filter(|report| report.state == State::Unable).count();
        assert!(decoded <= MAX_FFMPEG);
        if (decoded, unable) == (MAX_FFMPEG, 1) {
            break;
        }
        assert!(
            SystemClock.now() - begun < Duration::from_secs(20),
            "{decoded} and {unable}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn motion_that_goes_on_has_ended_with_the_program() {
    let mut stage = Stage::new("");
    let _publisher = stage.publish("door");
    stage.detector.told(&name("door"), true, 0.5);
    assert_eq!(stage.hears().await.0, "motion.began");
    stage.detector.end().await;
    assert_eq!(stage.hears().await.0, "motion.ended");
    stage.detector.told(&name("door"), true, 0.5);
    assert!(stage.detector.reports().is_empty());
}

/// What cannot be decoded is no reason to end: it is looked at again at its next keyframe.
#[tokio::test(flavor = "multi_thread")]
async fn noise_is_looked_at_and_nothing_is_seen() {
    let stage = Stage::new("[motion]\nenabled = true\n");
    let _publisher = stage.publish("door");
    let begun = SystemClock.now();
    loop {
        let report = stage.detector.report(&name("door"));
        if report.is_some_and(|report| report.counts.failures + report.counts.decoded > 0) {
            break;
        }
        assert!(SystemClock.now() - begun < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!stage.detector.report(&name("door")).unwrap().now.is_moving);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_streams_are_decoded_than_may_be() {
    let stage = Stage::new("[motion]\nenabled = true\n");
    let _publishers: Vec<Publisher> = (0..MAX_DECODED + 2)
        .map(|number| stage.publish(&format!("door{number}")))
        .collect();
    let begun = SystemClock.now();
    loop {
        let reports = stage.detector.reports();
        let decoded = reports.iter().filter(|report| report.by == Some(By::Server)).count();
        let unable = reports.iter().filter(|report| report.state == State::Unable).count();
        assert!(decoded <= MAX_DECODED);
        if (decoded, unable) == (MAX_DECODED, 2) {
            break;
        }
        assert!(
            SystemClock.now() - begun < Duration::from_secs(20),
            "{decoded} and {unable}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
