//! What tests of the pieces share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use media::Track;
use media::hub::{Entry, Event, Hub, Limits, Publisher};
use media::{Clock as _, StreamName};
use testkit::clock::SimClock;
use testkit::stream::{Settings, Video};

use super::plan::Output;

/// The tracks of [`entries`].
pub(super) fn tracks() -> Arc<[Track]> {
    Arc::new([Video::new(Settings::default()).track()])
}

/// So many pictures as a hub gives them, 30 a second, a keyframe every ten.
pub(crate) fn entries(count: usize) -> Vec<Arc<Entry>> {
    Camera::new(Settings::default()).frames(count)
}

/// A camera, its hub and its clock.
pub(super) struct Camera {
    pub(super) clock: Arc<SimClock>,
    pub(super) video: Video,
    publisher: Publisher,
    _hub: Hub,
}

impl Camera {
    pub(super) fn new(settings: Settings) -> Self {
        let clock = Arc::new(SimClock::new());
        let video = Video::new(settings);
        let hub = Hub::new(Limits::default());
        let publisher = testkit::publishing::publish(&hub, &name(), vec![video.track()], &*clock);
        Self {
            clock,
            video,
            publisher,
            _hub: hub,
        }
    }

    pub(super) fn tracks(&self) -> Arc<[Track]> {
        Arc::new([self.video.track()])
    }

    /// The next of its frames, each at its time.
    pub(super) fn frames(&mut self, count: usize) -> Vec<Arc<Entry>> {
        let mut position = self.publisher.stream().live();
        let mut entries = Vec::new();
        for _ in 0..count {
            self.clock.advance(Duration::from_micros(self.video.interval_us()));
            let frame = self.video.next_frame(self.clock.wall());
            self.publisher.publish(frame, self.clock.now()).unwrap();
            while let Some(Event::Frames(_)) = self.publisher.stream().read(&mut position, 64, &mut entries) {}
        }
        assert_eq!(entries.len(), count);
        entries
    }
}

pub(super) fn name() -> StreamName {
    "door".parse().unwrap()
}

pub(super) fn output(folder: &Path, segment: Duration, retention: Option<Duration>) -> Output {
    Output {
        folder: folder.to_owned(),
        setting: "OUTPUT_DIR".to_owned(),
        segment,
        retention,
    }
}

/// The names of the files there, in order.
pub(super) fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut names: Vec<String> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Sets when it was changed last, in seconds of some time.
pub(super) fn changed_at(path: PathBuf, second: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(second))
        .unwrap();
}
