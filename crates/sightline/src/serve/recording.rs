//! Recording as the program does it: where to, what it asks of the machine, what says that something moves; and what is kept of figures.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::history::{self, History};
use crate::motion::{self, Detector};
use crate::record::archive::Archive;
use crate::record::export::Exports;
use crate::record::recorder::{self, Recorder};
use crate::record::service::{self, Recordings};
use crate::record::trigger::Mode;
use crate::record::{FOLDER, INDEX};
use crate::shutdown::Shutdown;
use crate::source::Supervisor;
use crate::state::{self, Folder};

use super::{Program, state_place, uploading};

/// For people: what is recorded, where to and for how long.
pub(super) fn line(program: &Program) -> String {
    let settings = &program.loaded.settings;
    let record = &settings.record;
    let says = |wanted: bool| -> Vec<String> {
        let streams = settings.stream.iter();
        let streams = streams.filter(|(_, stream)| stream.record.enabled == Some(wanted));
        streams.map(|(key, _)| key.to_string()).collect()
    };
    let what = match (record.enabled, &says(true)[..], &says(false)[..]) {
        (true, _, []) => "all streams".to_owned(),
        (true, _, but) => format!("all streams but {}", but.join(", ")),
        (false, [], _) => return "nothing; `--record` keeps a week of all streams".to_owned(),
        (false, named, _) => named.join(", "),
    };
    let mode = match record.mode {
        Mode::Continuous => String::new(),
        mode => format!(", mode {mode}"),
    };
    let keep = match record.keep.0.is_zero() {
        true => "for ever".to_owned(),
        false => record.keep.to_string(),
    };
    let folder = record.path.clone().map_or_else(
        || state::default_place(&state_place(program), &program.environment).map(|state| state.join(FOLDER)),
        Ok,
    );
    let folder = folder.map_or_else(
        |_| PathBuf::from(FOLDER),
        |folder| std::path::absolute(&folder).unwrap_or(folder),
    );
    let folder = folder.display();
    format!("{what}{mode}, kept {keep}, in {folder}")
}

/// What records streams, and what makes exports of that.
pub(super) fn recordings(
    program: &Program,
    streams: &Arc<Supervisor>,
    shutdown: &Shutdown,
) -> (Arc<Recordings>, Arc<Archive>, Arc<Exports>) {
    let world = service::World {
        hub: streams.hub().clone(),
        streams: Arc::clone(streams),
        events: Arc::clone(streams.events()),
        clock: Arc::clone(&program.clock),
        zone: crate::clock::zone,
    };
    let (place, environment) = (state_place(program), program.environment.clone());
    let record = program.loaded.settings.record.clone();
    let clocks = recorder::Clocks {
        clock: Arc::clone(&program.clock),
        zone: crate::clock::zone,
        is_synchronised: crate::clock::is_synchronised,
    };
    let start = move || {
        let folder = state::default_place(&place, &environment).and_then(Folder::open);
        let folder = folder.map_err(|error| error.to_string())?;
        let root = record.path.clone().unwrap_or_else(|| folder.path().join(FOLDER));
        let settings = recorder::Settings {
            sync: record.sync_interval.0,
            ..recorder::Settings::new(root, folder.path().join(INDEX))
        };
        Recorder::start(settings, clocks.clone()).map_err(|error| error.to_string())
    };
    let recordings = Recordings::new(world, Arc::new(start), shutdown.clone());
    let archive = uploading::archive(program, &recordings);
    let exports = exports(program, streams, &recordings, &archive);
    (recordings, archive, exports)
}

/// What is kept of figures. Where there is no state folder, which nothing here makes, it is kept in memory.
pub(super) fn history(program: &Program) -> Option<History> {
    let settings = &program.loaded.settings.history;
    if !settings.enabled {
        return None;
    }
    let limits = history::Limits {
        series: settings.series,
        minutes: settings.minutes.0,
        hours: settings.hours.0,
        max_bytes: settings.max.0,
    };
    let (place, environment) = (state_place(program), program.environment.clone());
    let path = move || {
        let place = state::default_place(&place, &environment).ok()?;
        Some(Folder::existing(&place)?.path().join(HISTORY))
    };
    let history = History::start(path, limits);
    history
        .inspect_err(
            |error| tracing::warn!(reason = %error, "no history of figures is kept: there is no thread for it"),
        )
        .ok()
}

/// In the state folder.
const HISTORY: &str = "history.db";

/// What looks for motion.
pub(super) fn motion(
    program: &Program,
    streams: &Arc<Supervisor>,
    recordings: &Arc<Recordings>,
    shutdown: &Shutdown,
) -> Arc<Detector> {
    let world = motion::World {
        hub: streams.hub().clone(),
        streams: Arc::clone(streams),
        recordings: Arc::clone(recordings),
        events: Arc::clone(streams.events()),
        clock: Arc::clone(&program.clock),
        ffmpeg: crate::stills::ffmpeg,
    };
    Detector::new(world, shutdown.clone())
}

/// What is made of recordings to be kept.
fn exports(
    program: &Program,
    streams: &Arc<Supervisor>,
    recordings: &Arc<Recordings>,
    archive: &Arc<Archive>,
) -> Arc<Exports> {
    let (recordings, archive) = (Arc::clone(recordings), Some(Arc::clone(archive)));
    let events = Arc::clone(streams.events());
    let clock = Arc::clone(&program.clock);
    Exports::new(
        move || recordings.recorder(),
        archive,
        events,
        clock,
        crate::clock::zone,
    )
}

/// What was recorded once can be played, whether anything is recorded now or not; and exports that were not finished go on.
pub(super) fn open_what_is_there(program: &Program, recordings: &Arc<Recordings>, exports: Arc<Exports>) {
    let folder = state::default_place(&state_place(program), &program.environment);
    let index = folder.map(|folder: PathBuf| folder.join(INDEX));
    if index.is_ok_and(|index| index.exists()) {
        let recordings = Arc::clone(recordings);
        tokio::spawn(async move {
            loop {
                recordings.open().await;
                let resuming = Arc::clone(&exports);
                let resumed = tokio::task::spawn_blocking(move || resuming.resume().is_ok());
                if resumed.await.unwrap_or(true) {
                    return;
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
}

/// How soon it is looked again whether a disk with exports is there.
const AGAIN: Duration = Duration::from_secs(10);
