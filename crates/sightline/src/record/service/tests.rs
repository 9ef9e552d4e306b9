//! Streams of a hub, and a recorder on a disk.

use std::path::{Path, PathBuf};

use media::hub::{Limits, Publisher};
use testkit::publishing::publish;
use testkit::stream::{Settings as Pattern, Video};

use super::*;
use crate::clock::SystemClock;
use crate::events::{Heard, Listener};
use crate::record::recorder::{Clocks, Settings};
use crate::shutdown::{self, Trigger};

struct World {
    recordings: Arc<Recordings>,
    hub: Hub,
    folder: tempfile::TempDir,
    listener: Listener,
    trigger: Trigger,
}

impl World {
    fn new(toml: &str) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let hub = Hub::new(Limits::default());
        let streams = Supervisor::without_sources(&hub, &clock);
        let events = Arc::clone(streams.events());
        let listener = events.listen(None);
        let folder = tempfile::tempdir().unwrap();
        let (trigger, stop) = shutdown::channel();
        let world = super::World {
            hub: hub.clone(),
            streams,
            events,
            clock: Arc::clone(&clock),
            zone: || TimeZone::UTC,
        };
        let root = folder.path().to_owned();
        let clocks = Clocks {
            clock,
            zone: || TimeZone::UTC,
            is_synchronised: || false,
        };
        let start = move || {
            let settings = Settings::new(root.join("recordings"), root.join("index"));
            Recorder::start(settings, clocks.clone()).map_err(|error| error.to_string())
        };
        let recordings = Recordings::new(world, Arc::new(start), stop);
        let settings: settings::Settings = toml::from_str(toml).unwrap();
        recordings.set(&settings.record, &settings.stream);
        tokio::spawn(Arc::clone(&recordings).run());
        Self {
            recordings,
            hub,
            folder,
            listener,
            trigger,
        }
    }

    fn publish(&self, stream: &str) -> (Publisher, Video) {
        let video = Video::new(Pattern::default());
        let publisher = publish(&self.hub, &name(stream), vec![video.track()], &SystemClock);
        (publisher, video)
    }

    /// The next event of a recording: its kind, and what was told with it.
    async fn hears(&mut self) -> (String, Option<String>) {
        loop {
            let Heard::Event(event) = self.listener.next().await else {
                panic!("events are kept")
            };
            if let crate::events::What::Recording(recording) = &event.what
                && recording.stream.is_some()
            {
                return (event.what.kind().to_string(), recording.file.clone());
            }
        }
    }

    async fn ends(&self) -> Vec<PathBuf> {
        self.trigger.request();
        self.recordings.end_files().await;
        self.recordings.close(Duration::from_secs(5)).await;
        let mut files = Vec::new();
        find(&self.folder.path().join("recordings"), &mut files);
        files.sort();
        files
    }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "mp4") {
            files.push(path);
        }
    }
}

/// At once, and so little that it does not count as a clock that is wrong.
fn feed(publisher: &mut Publisher, video: &mut Video, frames: usize) {
    for _ in 0..frames {
        let frame = video.next_frame(SystemClock.wall());
        publisher.publish(frame, SystemClock.now()).unwrap();
    }
}

fn name(text: &str) -> StreamName {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_is_recorded_and_complete_at_the_end() {
    let mut world = World::new("[record]\nenabled = true\n[stream.yard.record]\nenabled = false");
    let (mut door, mut video) = world.publish("house/door");
    let (mut yard, mut other) = world.publish("yard");
    let (mut low, mut lower) = world.publish("house/door/low");
    feed(&mut yard, &mut other, 45);
    feed(&mut low, &mut lower, 45);
    feed(&mut door, &mut video, 45);
    assert_eq!(world.hears().await.0, "recording.started");
    let report = world.recordings.report(&name("house/door")).unwrap();
    assert_eq!((report.state, report.is_by_hand), (State::Recording, false));
    assert_eq!(world.recordings.report(&name("yard")), None);
    let files = world.ends().await;
    let [file] = &files[..] else { panic!("{files:?}") };
    assert!(file.to_string_lossy().contains("/house+door/"), "{file:?}");
    // All pictures, with what stands around them.
    assert!(std::fs::metadata(file).unwrap().len() > 45 * 2_400);
    assert_eq!(world.hears().await.0, "recording.ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_with_a_name_and_without() {
    let mut world = World::new("");
    let (mut door, mut video) = world.publish("door");
    feed(&mut door, &mut video, 30);
    let door_name = name("door");
    let recordings = Arc::clone(&world.recordings);
    assert!(recordings.recorder().is_none(), "nothing is made before it is needed");
    for bad in ["../x", "a/b", ".hidden", "con.mp4", "a\u{202e}b", ""] {
        let refused = recordings.start(&door_name, Some(bad)).await;
        assert!(matches!(refused, Err(Refused::Name(_))), "{bad:?}: {refused:?}");
    }
    let missing = recordings.start(&name("cellar"), None).await;
    assert!(matches!(missing, Err(Refused::Missing(_))), "{missing:?}");
    let not_started = recordings.stop(&door_name).await;
    assert!(matches!(
        not_started,
        Err(Refused::NotStarted { by_settings: false, .. })
    ));
    let report = recordings.start(&door_name, Some("who rang.mp4")).await.unwrap();
    assert!(report.is_by_hand);
    assert_eq!(report.file.as_deref(), Some("who rang.mp4"));
    let again = recordings.start(&door_name, Some("other.mp4")).await;
    assert_eq!(again, Err(Refused::ClipIsOpen(ClipIsOpen)));
    recordings.start(&door_name, None).await.unwrap();
    feed(&mut door, &mut video, 45);
    for _ in 0..2 {
        assert_eq!(world.hears().await.0, "recording.started");
    }
    let report = recordings.stop(&door_name).await.unwrap();
    assert_eq!((report.is_by_hand, report.file), (false, None));
    for _ in 0..2 {
        assert_eq!(world.hears().await.0, "recording.ended");
    }
    let files = world.ends().await;
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().any(|file| file.ends_with("who rang.mp4")), "{files:?}");
    let refused = recordings.start(&door_name, None).await;
    assert_eq!(refused, Err(Refused::Ending));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_change_concern_what_they_say() {
    let mut world = World::new("[record]\nenabled = true");
    let (mut door, mut video) = world.publish("door");
    let (mut yard, mut other) = world.publish("yard");
    feed(&mut door, &mut video, 45);
    feed(&mut yard, &mut other, 45);
    for _ in 0..2 {
        assert_eq!(world.hears().await.0, "recording.started");
    }
    let settings: settings::Settings =
        toml::from_str("[record]\nenabled = true\n[stream.door.record]\nenabled = false").unwrap();
    world.recordings.set(&settings.record, &settings.stream);
    assert_eq!(world.hears().await.0, "recording.ended");
    assert_eq!(world.recordings.report(&name("door")), None);
    let report = world.recordings.report(&name("yard")).unwrap();
    assert_eq!(report.state, State::Recording);
    assert_eq!(world.ends().await.len(), 2);
}
