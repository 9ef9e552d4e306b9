//! The thread that makes exports, one after the other, behind everything else.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::plan::{self, Plan, Wanted};
use super::write::{self, Stop};
use super::{Archive, Error, Export, Exports, Job, Kind, Known, State, footage, limit_bytes, root_of, state};
use crate::events::{self, What};
use crate::record::library::view::View;
use crate::record::recorder::Recorder;
use crate::record::storage::{Place as _, Root, Volume as _};

/// Makes exports until nobody holds them any more.
pub(super) fn run(exports: &Weak<Exports>) {
    yield_to_others();
    while let Some(exports) = exports.upgrade() {
        let Some(taken) = exports.next() else { continue };
        exports.make(&taken);
    }
}

/// Behind all threads of the program where there is less processor than they want.
#[cfg(target_os = "linux")]
fn yield_to_others() {
    // To Linux that is this thread alone (setpriority(2), "C library/kernel differences"). Where it is refused, all the rest holds as well.
    let _ = rustix::process::setpriority_process(None, 19);
}

#[cfg(not(target_os = "linux"))]
fn yield_to_others() {}

/// An export whose turn it is.
struct Taken {
    export: Export,
    job: Arc<Job>,
    recorder: Recorder,
}

impl Exports {
    /// The next, or none for a while.
    fn next(&self) -> Option<Taken> {
        let recorder = (self.recorder)().filter(|recorder| recorder.index().is_some());
        let mut known = self.lock();
        let found = known.as_mut().filter(|_| recorder.is_some()).and_then(|known| {
            let mut entries = known.exports.values_mut();
            let entry = entries.find(|entry| entry.export.state.is_open())?;
            entry.export.state = State::Running;
            let taken = (entry.export.clone(), Arc::clone(&entry.job));
            // After a kill it is known that something of it may be there.
            state::write(&known.folder, &taken.0)
                .inspect_err(|error| tracing::warn!(reason = %error, "an export cannot be begun"))
                .ok()?;
            Some(taken)
        });
        match (found, recorder) {
            (Some((export, job)), Some(recorder)) => Some(Taken { export, job, recorder }),
            _ => {
                let _ = self
                    .news
                    .wait_timeout(known, LOOK_EVERY)
                    .unwrap_or_else(PoisonError::into_inner);
                None
            }
        }
    }

    fn make(self: &Arc<Self>, taken: &Taken) {
        let export = &taken.export;
        self.tell(export, events::ExportStep::Started, None);
        let begun = Instant::now();
        let mut made = self.attempt(taken);
        for _ in 1..ATTEMPTS {
            // What was recorded may be deleted meanwhile: then there is less of it.
            match &made {
                Err(Stop::Disk(error)) if error.kind() == std::io::ErrorKind::NotFound => made = self.attempt(taken),
                _ => break,
            }
        }
        let done = match made {
            Ok(done) => done,
            // The program ends: it is begun anew after the next start.
            Err(_) if taken.recorder.index().is_none() => return,
            Err(Stop::NotWanted) => {
                // Deleted: what was kept for it went with it.
                tracing::info!(id = export.id(), "an export is ended before it was done");
                self.tell(export, events::ExportStep::Ended, Some("it was deleted".to_owned()));
                return;
            }
            Err(stop) => Export {
                state: State::Failed,
                reason: Some(stop.to_string()),
                ..export.clone()
            },
        };
        tracing::info!(
            id = done.id(),
            state = done.state.word(),
            bytes = done.bytes,
            seconds = begun.elapsed().as_secs(),
            reason = done.reason,
            "an export is over"
        );
        self.keep(&done);
        self.tell(&done, events::ExportStep::Ended, done.reason.clone());
    }

    /// One attempt at it: planned, written, named.
    fn attempt(self: &Arc<Self>, taken: &Taken) -> Result<Export, Stop> {
        let (export, recorder) = (&taken.export, &taken.recorder);
        let root = root_of(recorder).ok_or(Stop::NotWanted)?;
        let folder = root.join(super::FOLDER);
        let mut progress = Progress::new(self, taken);
        wait_until_known(recorder, &mut progress)?;
        let mut plan = planned(export, recorder, self.archive.as_ref(), &mut progress)?;
        self.check(export, recorder, plan.bytes)?;
        let part = folder.join(state::part(export.number, crate::random::bits()));
        let (head, pieces, bytes) = (
            std::mem::take(&mut plan.head),
            std::mem::take(&mut plan.pieces),
            plan.bytes,
        );
        let written = write::write(&part, &head, &pieces, &mut plan.files, &mut |so_far| {
            let percent = PLANNED + (LAST - PLANNED) * so_far.min(bytes) / bytes.max(1);
            progress.at(percent)?;
            wait_for_room(&root, recorder, &mut progress, percent)
        });
        let named = written.and_then(|bytes| {
            progress.at(LAST)?;
            std::fs::rename(&part, folder.join(&export.file))?;
            crate::files::sync_folder(&part)?;
            Ok(bytes)
        });
        let bytes = named.inspect_err(|_| {
            // There may be none.
            let _ = state::remove_file(&part);
        })?;
        Ok(told(export, plan, bytes))
    }

    /// Whether there may be so much more.
    fn check(self: &Arc<Self>, export: &Export, recorder: &Recorder, bytes: u64) -> Result<(), Stop> {
        let limit = limit_bytes(recorder).map_err(|error| Stop::Because(error.to_string()))?;
        let used = self.known(|known| {
            Ok(known
                .bytes()
                .saturating_sub(known.exports.get(&export.number).map_or(0, |it| it.export.bytes)))
        });
        let used = used.unwrap_or(0);
        match used.saturating_add(bytes) > limit {
            true => Err(Stop::Because(format!(
                "it would have {bytes} bytes, and exports take {used} of the {limit} that they may, a tenth of the disk; delete some, or ask for less"
            ))),
            false => Ok(()),
        }
    }

    /// What became of it, durably.
    fn keep(self: &Arc<Self>, export: &Export) {
        let kept = self.known(|known: &mut Known| {
            let entry = known.exports.get_mut(&export.number).ok_or(Error::Nothing)?;
            state::write(&known.folder, export)?;
            entry.export = export.clone();
            Ok(())
        });
        // Where that could not be kept, it is made once more after the next start, which keeps what it needs.
        self.release(export);
        if let Err(Error::Nothing) = kept {
            // Deleted since it got its name.
            let removed = self.known(|known| Ok(state::remove(&known.folder, export)?));
            drop(removed);
        } else if let Err(error) = kept {
            tracing::warn!(id = export.id(), reason = %error, "what became of an export cannot be kept");
        }
    }

    fn tell(&self, export: &Export, step: events::ExportStep, reason: Option<String>) {
        self.events.tell(What::Export(Box::new(events::Export {
            stream: export.camera.clone(),
            id: export.id(),
            step,
            state: export.state.word(),
            file: export.file.clone(),
            reason,
        })));
    }
}

/// What a kill took from the index is looked for after a start, beside all else: it is waited for, but not for years of it.
fn wait_until_known(recorder: &Recorder, progress: &mut Progress<'_>) -> Result<(), Stop> {
    let because = |error: &dyn std::fmt::Display| Stop::Because(error.to_string());
    let begun = Instant::now();
    while begun.elapsed() < KNOWN_WITHIN {
        let index = recorder.index().ok_or(Stop::NotWanted)?;
        index.flush().map_err(|error| because(&error))?;
        let reader = recorder.reader().map_err(|error| because(&error))?;
        let mut is_known = true;
        for (storage, _) in reader.storages().map_err(|error| because(&error))? {
            is_known &= reader.adopting(&storage).map_err(|error| because(&error))?.is_none();
        }
        if is_known {
            break;
        }
        drop((index, reader));
        progress.at(0)?;
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// How long what is looked through after a start is waited for: a day of a camera takes 15 s on a hard disk.
const KNOWN_WITHIN: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

fn planned(
    export: &Export,
    recorder: &Recorder,
    archive: Option<&Arc<Archive>>,
    progress: &mut Progress<'_>,
) -> Result<Plan, Stop> {
    let because = |error: &dyn std::fmt::Display| Stop::Because(error.to_string());
    let reader = recorder.reader().map_err(|error| because(&error))?;
    // A time-lapse reads all there is to show a little of it: what is archived is too far away for that.
    let archive = archive.filter(|_| export.kind == Kind::Clip);
    let view = View::new(&reader, recorder).and_archive(archive);
    let found = footage::find(&view, &export.camera, export.asked_90k.clone()).map_err(|error| because(&error))?;
    let places = view.places().map_err(|error| because(&error))?;
    let fragments: u64 = found.iter().map(|footage| footage.rows.len() as u64).sum();
    let wanted = Wanted {
        range_90k: export.asked_90k.clone(),
        kind: export.kind,
        is_exact: export.is_exact,
    };
    plan::make(&wanted, &found, &places, &mut |looked| {
        progress.at(PLANNED * looked.min(fragments) / fragments.max(1))
    })
}

fn told(export: &Export, plan: Plan, bytes: u64) -> Export {
    Export {
        state: State::Done,
        reason: None,
        bytes,
        plays_90k: plan.plays_90k,
        covers_90k: Some(plan.covers_90k),
        gaps_90k: plan.gaps_90k,
        rest: plan.rest,
        note: plan.note,
        ..export.clone()
    }
}

/// An export never takes the last of a disk: below half of what is to be free it waits for the recorder to make room, which that does of its own accord.
fn wait_for_room(root: &Path, recorder: &Recorder, progress: &mut Progress<'_>, percent: u64) -> Result<(), Stop> {
    let begun = Instant::now();
    loop {
        let found = Root(root.to_owned()).look(None);
        let (volume, _) =
            found.map_err(|_| Stop::Because("the folder of recordings is not there any more".to_owned()))?;
        let room = volume.room()?;
        let least = recorder.floor_bytes(room) / 2;
        if room.free_bytes >= least.saturating_add(SPARE_BYTES.min(room.total_bytes / 100)) {
            return Ok(());
        }
        if begun.elapsed() >= WAIT_FOR_ROOM {
            return Err(Stop::Because(format!(
                "the disk is full: {} bytes are free, and {least} are left for recording",
                room.free_bytes
            )));
        }
        std::thread::sleep(LOOK_FOR_ROOM);
        progress.at(percent)?;
    }
}

/// How far it is, for who asks and who listens.
struct Progress<'a> {
    exports: &'a Exports,
    taken: &'a Taken,
    told: u64,
}

impl<'a> Progress<'a> {
    fn new(exports: &'a Exports, taken: &'a Taken) -> Self {
        Self {
            exports,
            taken,
            told: 0,
        }
    }

    fn at(&mut self, percent: u64) -> Result<(), Stop> {
        let Taken { export, job, recorder } = self.taken;
        if job.is_cancelled.load(Ordering::Relaxed) || recorder.index().is_none() {
            return Err(Stop::NotWanted);
        }
        job.percent.store(percent.min(LAST) as u8, Ordering::Relaxed);
        if percent >= self.told + TELL_EVERY {
            self.told = percent;
            self.exports
                .tell(export, events::ExportStep::Progress(percent as u8), None);
        }
        Ok(())
    }
}

/// Looking through what was recorded is so many hundredths of the work.
const PLANNED: u64 = 20;
/// It is 100 when it is there.
const LAST: u64 = 99;
/// Hundredths between two events.
const TELL_EVERY: u64 = 10;
/// How often it is tried, where files go meanwhile.
const ATTEMPTS: usize = 3;
/// How often it is looked whether anybody holds the exports.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Kept free beside what recording needs.
const SPARE_BYTES: u64 = 64 << 20;
const LOOK_FOR_ROOM: Duration = Duration::from_millis(500);
/// The recorder looks every five seconds, and deletes then.
const WAIT_FOR_ROOM: Duration = Duration::from_secs(60);
