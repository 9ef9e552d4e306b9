//! Streams of a hub, and a recorder on a disk.

use std::path::{Path, PathBuf};

use media::hub::{Limits, Publisher};
use testkit::publishing::publish;
use testkit::stream::{Settings as Pattern, Video};

use super::*;
use crate::clock::SystemClock;
use crate::events::{Heard, Listener};
use crate::record::recorder::{Clocks, Settings};
use crate::record::storage::{Place as _, Root, Volume as _};
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
        Self::with(toml, Limits::default())
    }

    fn with(toml: &str, limits: Limits) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let hub = Hub::new(limits);
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
        set(&recordings, toml);
        tokio::spawn(Arc::clone(&recordings).run());
        Self {
            recordings,
            hub,
            folder,
            listener,
            trigger,
        }
    }

    fn entry(&self, stream: &str) -> Arc<Entry> {
        Arc::clone(&self.recordings.entries().by_stream[&name(stream)])
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

fn set(recordings: &Arc<Recordings>, toml: &str) {
    let settings: settings::Settings = toml::from_str(toml).unwrap();
    recordings.set(&settings.record, &settings.stream);
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

/// The stream's clock bridges the time between two publishers, and a picture of the first would last for as long.
#[tokio::test(flavor = "multi_thread")]
async fn another_publisher_begins_another_run() {
    let mut world = World::new("[record]\nenabled = true");
    let (mut first, mut video) = world.publish("door");
    feed(&mut first, &mut video, 45);
    assert_eq!(world.hears().await.0, "recording.started");
    first.close(SystemClock.now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (mut second, mut video) = world.publish("door");
    feed(&mut second, &mut video, 45);
    assert_eq!(world.hears().await.0, "recording.ended");
    assert_eq!(world.hears().await.0, "recording.started");
    let files = world.ends().await;
    assert_eq!(files.len(), 2, "{files:?}");
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
    set(
        &world.recordings,
        "[record]\nenabled = true\n[stream.door.record]\nenabled = false",
    );
    assert_eq!(world.hears().await.0, "recording.ended");
    assert_eq!(world.recordings.report(&name("door")), None);
    let report = world.recordings.report(&name("yard")).unwrap();
    assert_eq!(report.state, State::Recording);
    assert_eq!(world.ends().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_before_an_event_is_recorded_with_it() {
    let mut world = World::new("[record]\nenabled = true\nmode = \"events\"\npost_roll = \"0s\"");
    let (mut door, mut video) = world.publish("door");
    let (mut yard, mut other) = world.publish("yard");
    let recordings = Arc::clone(&world.recordings);
    for stream in ["door", "yard"] {
        while recordings.report(&name(stream)).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    feed(&mut door, &mut video, 45);
    feed(&mut yard, &mut other, 45);
    let now = SystemClock.wall();
    recordings.happens(&name("cellar"), now..now).await;
    recordings.happens(&name("door"), now..now).await;
    assert_eq!(world.hears().await.0, "recording.started");
    assert_eq!(recordings.report(&name("yard")).unwrap().state, State::Waiting);
    assert_eq!(world.hears().await.0, "recording.ended");
    let files = world.ends().await;
    let [file] = &files[..] else { panic!("{files:?}") };
    assert!(file.to_string_lossy().contains("/door/"), "{file:?}");
    // What was published before it was told.
    assert!(std::fs::metadata(file).unwrap().len() > 45 * 2_400);
}

/// As many orders as may wait. On one thread the task comes to none of them before the test waits for something.
fn crowd(entry: &Entry) {
    while entry.orders.try_send(Order::Look).is_ok() {}
}

#[tokio::test]
async fn other_settings_hold_however_many_orders_wait() {
    let mut world = World::new("[record]\nenabled = true");
    let (mut door, mut video) = world.publish("door");
    feed(&mut door, &mut video, 45);
    assert_eq!(world.hears().await.0, "recording.started");
    crowd(&world.entry("door"));
    set(&world.recordings, "[record]\nenabled = true\nmode = \"manual\"");
    assert_eq!(world.hears().await.0, "recording.ended");
    let report = world.recordings.report(&name("door")).unwrap();
    assert_eq!(report.mode, crate::record::trigger::Mode::Manual);
}

#[tokio::test]
async fn a_task_that_nobody_needs_ends_however_many_orders_wait() {
    let mut world = World::new("[record]\nenabled = true\nmode = \"manual\"");
    let (mut door, mut video) = world.publish("door");
    feed(&mut door, &mut video, 45);
    world.recordings.start(&name("door"), None).await.unwrap();
    feed(&mut door, &mut video, 45);
    assert_eq!(world.hears().await.0, "recording.started");
    world.recordings.stop(&name("door")).await.unwrap();
    assert_eq!(world.hears().await.0, "recording.ended");
    let entry = world.entry("door");
    let task = entry.task().take().unwrap();
    crowd(&entry);
    drop(entry);
    set(&world.recordings, "");
    world.recordings.look().await;
    assert!(world.recordings.entries().by_stream.is_empty());
    let ended = tokio::time::timeout(Duration::from_secs(20), task).await;
    ended.expect("it ends").unwrap();
}

#[tokio::test]
async fn what_the_recorder_was_too_slow_for_is_counted() {
    let limits = Limits {
        ring_frames: 60,
        ..Limits::default()
    };
    let mut world = World::with("[record]\nenabled = true", limits);
    let (mut door, mut video) = world.publish("door");
    feed(&mut door, &mut video, 45);
    assert_eq!(world.hears().await.0, "recording.started");
    // At once, five times what is kept.
    feed(&mut door, &mut video, 300);
    assert_eq!(world.hears().await.0, "recording.ended");
    while world.recordings.totals().counts.missed_frames == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let report = world.recordings.report(&name("door")).unwrap();
    assert_eq!(report.counts, world.recordings.totals().counts);
    assert!((100..300).contains(&report.counts.missed_frames), "{:?}", report.counts);
}

#[tokio::test]
async fn the_end_of_a_stream_is_seen_while_somebody_stops_what_he_started() {
    let mut world = World::new("[record]\nenabled = true");
    let (mut door, mut video) = world.publish("door");
    feed(&mut door, &mut video, 45);
    assert_eq!(world.hears().await.0, "recording.started");
    world.hub.end(&name("door"));
    let stopped = world.recordings.stop(&name("door")).await;
    assert!(matches!(stopped, Err(Refused::NotStarted { .. })), "{stopped:?}");
    // Not by silence, ten seconds later.
    let report = world.recordings.report(&name("door"));
    assert!(report.is_none_or(|report| report.state != State::Recording));
    assert_eq!(world.hears().await.0, "recording.ended");
}

#[tokio::test]
async fn a_stream_that_is_read_as_often_as_it_may_be_says_so_once() {
    let limits = Limits {
        readers_per_stream: 1,
        ..Limits::default()
    };
    let mut world = World::with("[record]\nenabled = true", limits);
    let (mut door, mut video) = world.publish("door");
    feed(&mut door, &mut video, 45);
    let stream = world.hub.stream(&name("door"), SystemClock.now()).unwrap();
    let reader = stream.join(SystemClock.now()).unwrap();
    assert_eq!(world.hears().await.0, "recording.paused");
    let report = world.recordings.report(&name("door")).unwrap();
    assert_eq!(
        (report.state, report.paused),
        (State::Paused, Some(crate::record::camera::Pause::Readers))
    );
    // It is tried again with each of these.
    for _ in 0..3 {
        world.recordings.look().await;
        tokio::task::yield_now().await;
    }
    drop(reader);
    assert_eq!(world.hears().await.0, "recording.started");
    let report = world.recordings.report(&name("door")).unwrap();
    assert_eq!((report.state, report.paused), (State::Recording, None));
}

/// A folder that something else lies in is not written into: the stream that waits for it says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_has_no_room_says_how_the_disk_is() {
    let mut world = World::new("[record]\nenabled = true");
    let root = world.folder.path().join("recordings");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("of somebody else"), "").unwrap();
    let (mut door, mut video) = world.publish("door");
    feed(&mut door, &mut video, 45);
    assert_eq!(world.hears().await.0, "recording.paused");
    let report = world.recordings.report(&name("door")).unwrap();
    assert_eq!(
        (report.state, report.reason),
        (State::Paused, Some("the folder of recordings is not there"))
    );
}

/// It is told as well as what becomes of it later.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_is_told_from_the_start() {
    let mut world = World::new("[record]\nenabled = true");
    let root = world.folder.path().join("recordings");
    let (volume, _) = Root(root).look(Some([7; 16])).unwrap();
    let claim = volume.claim(Duration::ZERO).unwrap();
    let (mut door, mut video) = world.publish("door");
    feed(&mut door, &mut video, 45);
    let reason = loop {
        let told = tokio::time::timeout(Duration::from_secs(30), world.listener.next()).await;
        let Ok(Heard::Event(event)) = told else {
            panic!("nobody is told")
        };
        if let crate::events::What::Recording(recording) = &event.what
            && recording.stream.is_none()
        {
            break recording.reason.clone();
        }
    };
    assert_eq!(
        reason.as_deref(),
        Some("another server records into the folder of recordings")
    );
    drop(claim);
}

/// What is kept of a stream that is away may be what an expression says.
#[tokio::test(flavor = "multi_thread")]
async fn how_much_is_kept_is_not_said_without_knowing_what_there_is() {
    let mut world = World::new("[record]\nenabled = true\nkeep = \"1d\"");
    let (mut door, mut video) = world.publish("floor3");
    feed(&mut door, &mut video, 45);
    assert_eq!(world.hears().await.0, "recording.started");
    drop(door);
    world.hub.end(&name("floor3"));
    set(
        &world.recordings,
        "[record]\nkeep = \"1d\"\n[stream.\"~^floor\".record]\nkeep = \"30d\"",
    );
    assert_eq!(world.hears().await.0, "recording.ended");
    while !world.recordings.entries().by_stream.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let recorder = world.recordings.recorder().unwrap();
    let keep = loop {
        // What waits for the index is written.
        let index = recorder.index().unwrap();
        tokio::task::spawn_blocking(move || index.flush())
            .await
            .unwrap()
            .unwrap();
        let keep = world.recordings.keep_of(&recorder).unwrap();
        if !keep.cameras.is_empty() {
            break keep;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let days = Duration::from_secs(30 * 86_400);
    assert_eq!(keep.cameras[&name("floor3")].keep, Some(days));
    // Nobody else reads it, and gives a place free.
    let _alone = world.recordings.keeping.lock().unwrap();
    let mut readers = Vec::new();
    while let Ok(reader) = recorder.reader() {
        readers.push(reader);
    }
    let refused = world.recordings.keep_of(&recorder);
    assert!(matches!(refused, Err(AskError::Index(_))), "{refused:?}");
}
