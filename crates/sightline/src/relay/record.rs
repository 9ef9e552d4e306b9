//! Recordings: `segment_YYYYMMDD_HHMMSS.mp4` in one folder.
//!
//! Belongs here: fragments into files with names, what is done after a failure and after a kill, what goes when it is old. Does not belong here: where files
//! and fragments begin ([`media::recording::Cutter`]), one file ([`crate::record::segment`]).

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use media::hub::Entry;
use media::recording::{Cutter, Fragment, Fragments, Head, Limits, Start, Told};
use media::{Clock, StreamName, Track};

use super::age;
use super::brake::Brake;
use super::plan::Output;
use super::writer::{Figures, Writer};
use crate::clock::{captured, zone};
use crate::record::name;
use crate::record::segment::{self, Failed, Finished, Recovered, Segment, Step};
use crate::record::storage::{Storage, System};

/// Where others put what they are done with. Made, and never touched.
const PROCESSED: &str = "processed";
/// How often what is written is made durable.
const SYNC: Duration = Duration::from_secs(5);
/// How often it is looked for what is old.
const LOOK_FOR_OLD: Duration = Duration::from_secs(60);
/// Files that are looked through at the start, newest first, of each clock that told when they were written: each kill leaves one that is not finished.
const LOOKED_THROUGH: usize = 3;
/// Files of which it is known for sure how old they are, at the most: a month of those of a minute, in five megabytes.
const MOST_KNOWN: usize = 50_000;
/// A keyframe that comes a little early begins a file: cameras are not exact.
const EARLY: Duration = Duration::from_millis(250);

/// Records one camera.
pub(super) struct Recorder {
    camera: StreamName,
    output: Output,
    /// `None`: it is to be opened, as at the start and after an error.
    storage: Option<System>,
    /// The disk beneath the one that the folder lies on, where it lies on another: what is there when that is unmounted.
    beneath: Option<u64>,
    clock: Arc<dyn Clock>,
    figures: Arc<Figures>,
    cutter: Option<Cutter>,
    fragments: Vec<Fragment>,
    file: Option<Open>,
    run: u64,
    number: u32,
    brake: Brake,
    synced: Instant,
    looked: Instant,
    /// Files that were finished here and when, in that order, where old ones are removed: no clock that is set changes that.
    finished: VecDeque<(Instant, PathBuf)>,
    /// None of the other files was written since.
    others_ended: Instant,
}

/// The file that is being written, and what completes it.
struct Open {
    segment: Segment<<System as Storage>::File>,
    table: Fragments,
    first_shown_90k: u32,
}

impl Open {
    fn finish(self, storage: &System) -> Finished {
        self.segment.finish(storage, Some((&self.table, self.first_shown_90k)))
    }
}

impl Recorder {
    pub(super) fn new(camera: StreamName, output: Output, clock: Arc<dyn Clock>, figures: Arc<Figures>) -> Self {
        let now = clock.now();
        Self {
            camera,
            storage: None,
            beneath: disk_beneath(&output.folder),
            output,
            clock,
            figures,
            cutter: None,
            fragments: Vec::new(),
            file: None,
            run: 0,
            number: 0,
            brake: Brake::default(),
            synced: now,
            looked: now,
            finished: VecDeque::new(),
            others_ended: now,
        }
    }

    fn limits(&self) -> Limits {
        let segment = self.output.segment;
        Limits {
            file: segment - EARLY.min(segment / 10),
            ..Limits::default()
        }
    }

    /// Writes the fragments that are complete.
    fn write(&mut self) {
        let mut fragments = std::mem::take(&mut self.fragments);
        for fragment in fragments.drain(..) {
            if let Some(start) = &fragment.start {
                self.finish();
                self.begin(start);
            }
            self.append(&fragment);
        }
        self.fragments = fragments;
    }

    fn append(&mut self, fragment: &Fragment) {
        let told = Told {
            end_90k: fragment.end_90k,
            wall: self.clock.wall(),
        };
        let Some(file) = &mut self.file else {
            self.figures.left_out.add(1);
            return self.begin_later();
        };
        if let Err(failed) = file.segment.append(&fragment.bytes, &told) {
            self.figures.left_out.add(1);
            return self.fails(&failed);
        }
        let listed = file
            .table
            .push(fragment.bytes.len(), fragment.duration_90k, fragment.keyframe);
        if let Err(error) = listed {
            // The file is whole without it; players seek by reading it.
            tracing::debug!(camera = %self.camera, %error, "a fragment has no place in the table of its file");
        }
    }

    /// With the next keyframe.
    fn begin_later(&mut self) {
        if let Some(cutter) = &mut self.cutter {
            cutter.end_file();
        }
    }

    fn begin(&mut self, start: &Start) {
        if !self.brake.lets_begin(self.clock.now()) {
            return;
        }
        let wall = start.capture.at;
        if start.continues && self.run != 0 {
            self.number = self.number.saturating_add(1);
        } else {
            self.run = wall.unix_micros().unsigned_abs();
            self.number = 0;
        }
        let head = Head {
            // It is no storage of an index: nobody looks for it by a number.
            storage: [0; 16],
            camera: self.camera.clone(),
            run: self.run,
            number: self.number,
            start: wall,
        };
        for path in name::flat(wall, &zone()) {
            let created = self
                .storage()
                .map_err(|error| Failed {
                    step: Step::Create,
                    path: path.clone(),
                    error,
                })
                .and_then(|storage| Segment::create(storage, &path, &head, &start.init_segment));
            match created {
                Ok(segment) => {
                    self.file = Some(Open {
                        segment,
                        table: Fragments::new(),
                        first_shown_90k: start.first_shown_90k,
                    });
                    return;
                }
                Err(Failed {
                    step: Step::Create,
                    error,
                    ..
                }) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(failed) => return self.fails(&failed),
            }
        }
    }

    fn finish(&mut self) {
        let (Some(file), Some(storage)) = (self.file.take(), &self.storage) else {
            return;
        };
        let (path, bytes) = (file.segment.path().to_owned(), file.segment.bytes());
        let finished = file.finish(storage);
        self.remember(&path);
        self.figures.left_out.add(u64::from(finished.lost_fragments));
        if let Some(failed) = finished.failed {
            return self.fails(&failed);
        }
        if self.brake.succeeded() {
            self.figures.failing(false);
            tracing::info!(camera = %self.camera, "recordings are written again");
        }
        if finished.kept.is_some() {
            tracing::debug!(camera = %self.camera, file = %path.display(), bytes, "recorded");
            self.figures.finished(path, bytes);
        }
    }

    /// Notes that a file was finished now.
    fn remember(&mut self, path: &Path) {
        if self.output.retention.is_none() {
            return;
        }
        // One of that name was moved away, and a clock was set back.
        self.finished.retain(|(_, other)| other != path);
        if self.finished.len() >= MOST_KNOWN {
            self.forget_first();
        }
        self.finished.push_back((self.clock.now(), path.to_owned()));
    }

    /// The first of those that are known is one of the others from now on.
    fn forget_first(&mut self) -> Option<PathBuf> {
        let (at, path) = self.finished.pop_front()?;
        self.others_ended = self.others_ended.max(at);
        Some(path)
    }

    /// The file is given up, and none is begun for a while.
    fn fails(&mut self, failed: &Failed) {
        self.figures.failing(true);
        if let Some(wait) = self.brake.failed(self.clock.now()) {
            let retry_ms = wait.as_millis() as u64;
            let folder = self.output.folder.display();
            tracing::error!(camera = %self.camera, %folder, reason = %failed, retry_ms, "cannot record; what comes meanwhile is lost");
        }
        let storage = self.storage.take();
        if let (Some(file), Some(storage)) = (self.file.take(), &storage) {
            self.remember(file.segment.path());
            // What it says was said.
            let lost = file.finish(storage).lost_fragments;
            self.figures.left_out.add(u64::from(lost));
        }
        self.begin_later();
    }

    /// The folder as it is now. One that was opened stays the same whatever is done to its path, so it is opened anew after each error. It is not made: a
    /// disk that is away would be filled beneath its mount point.
    fn storage(&mut self) -> io::Result<&System> {
        let opened = match self.storage.take() {
            Some(storage) => storage,
            None => self.opened()?,
        };
        Ok(self.storage.insert(opened))
    }

    fn opened(&self) -> io::Result<System> {
        let folder = &self.output.folder;
        let opened = System::plain(folder)?;
        if self.beneath.is_some() && disk_of(folder) == self.beneath {
            return Err(io::Error::other("its disk is not mounted any more"));
        }
        match fs::create_dir(folder.join(PROCESSED)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(opened),
        }
    }

    /// What a process that was killed left.
    fn recover(&mut self) -> io::Result<()> {
        let leftovers = segment::sweep(self.storage()?, Path::new(""))?;
        if leftovers > 0 {
            tracing::info!(camera = %self.camera, files = leftovers, "files without a beginning, of a process that was killed, are removed");
        }
        let files = self.others()?;
        let now = self.clock.wall();
        let newest = age::by_clock(&files, now).flat_map(|files| files.iter().rev().take(LOOKED_THROUGH));
        for (_, path) in newest {
            let file = path.display();
            match segment::recover(self.storage()?, path) {
                Ok(Recovered::Whole {
                    cut_bytes: 1.., whole, ..
                }) => {
                    tracing::info!(camera = %self.camera, %file, fragments = whole.fragments, "the recording of a process that was killed is mended");
                }
                Ok(Recovered::Damaged { behind_bytes, .. }) => {
                    tracing::warn!(camera = %self.camera, %file, behind_bytes, "a recording is damaged in its middle; it is left as it is");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(camera = %self.camera, %file, %error, "cannot look through a recording"),
            }
        }
        Ok(())
    }

    /// Recordings that were not finished here, by their last change in microseconds, oldest first. Not the one that is being written.
    fn others(&mut self) -> io::Result<Vec<(i64, PathBuf)>> {
        let paths = self.storage()?.list(Path::new(""))?.into_iter();
        let known: HashSet<&Path> = self.finished.iter().map(|(_, path)| path.as_path()).collect();
        let open = self.file.as_ref().map(|file| file.segment.path());
        let mut files: Vec<_> = paths
            .filter(|path| is_recording(path) && !known.contains(path.as_path()) && open != Some(path.as_path()))
            .filter_map(|path| Some((changed_us(&self.output.folder.join(&path))?, path)))
            .collect();
        files.sort_unstable();
        Ok(files)
    }

    fn remove_old(&mut self, now: Instant, keep: Duration) {
        let mut old = Vec::new();
        while let Some((at, _)) = self.finished.front()
            && now.saturating_duration_since(*at) > keep
        {
            old.extend(self.forget_first());
        }
        match self.others() {
            Ok(others) => old.extend(self.old_of(&others, now, keep)),
            Err(error) => {
                tracing::debug!(camera = %self.camera, %error, "cannot look for old recordings");
            }
        }
        let open = self.file.as_ref().map(|file| file.segment.path().to_owned());
        old.sort_unstable();
        old.dedup();
        for path in old.into_iter().filter(|path| Some(path) != open.as_ref()) {
            let removed = self.storage().and_then(|storage| storage.remove(&path));
            if let Err(error) = removed
                // Somebody moved it away.
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(camera = %self.camera, file = %path.display(), %error, "cannot remove an old recording");
            }
        }
    }

    /// Of those that were not finished here, by what they tell of each other.
    fn old_of(&self, others: &[(i64, PathBuf)], now: Instant, keep: Duration) -> Vec<PathBuf> {
        let idle = now.saturating_duration_since(self.others_ended);
        let of_clock = |files: &[(i64, PathBuf)]| {
            let changed: Vec<i64> = files.iter().map(|(changed, _)| *changed).collect();
            let expired = age::expired(&changed, idle, 2 * self.output.segment, keep);
            files
                .iter()
                .take(expired)
                .map(|(_, path)| path.clone())
                .collect::<Vec<_>>()
        };
        age::by_clock(others, self.clock.wall()).flat_map(of_clock).collect()
    }
}

impl Writer for Recorder {
    fn open(&mut self) {
        if let Err(error) = self.recover() {
            let folder = self.output.folder.display();
            tracing::warn!(camera = %self.camera, %folder, %error, "cannot look for what an earlier process left");
        }
    }

    fn tracks(&mut self, tracks: &Arc<[Track]>) {
        match Cutter::new(tracks, self.limits()) {
            Ok(cutter) => self.cutter = Some(cutter),
            Err(error) => {
                self.cutter = None;
                tracing::error!(camera = %self.camera, reason = %error, "the stream cannot be recorded");
            }
        }
    }

    fn frame(&mut self, entry: &Entry) {
        let mut frame = entry.frame.clone();
        frame.capture = captured(&*self.clock, frame.capture, entry.published);
        let Some(cutter) = &mut self.cutter else { return };
        if let Err(error) = cutter.frame(frame, &mut self.fragments) {
            self.figures.left_out.add(1);
            tracing::debug!(camera = %self.camera, reason = %error, "a frame is not recorded");
        }
        self.write();
    }

    fn gap(&mut self) {
        if let Some(cutter) = &mut self.cutter {
            cutter.interrupt(&mut self.fragments);
        }
        self.write();
        self.finish();
    }

    fn look(&mut self, now: Instant) {
        if now.saturating_duration_since(self.synced) >= SYNC {
            self.synced = now;
            if let Some(Err(failed)) = self.file.as_mut().map(|file| file.segment.sync()) {
                self.fails(&failed);
            }
        }
        let every = LOOK_FOR_OLD.min(self.output.segment);
        if let Some(keep) = self.output.retention
            && now.saturating_duration_since(self.looked) >= every
        {
            self.looked = now;
            self.remove_old(now, keep);
        }
    }
}

/// `segment_YYYYMMDD_HHMMSS.mp4`, with a number behind it or without: other files are not ours.
fn is_recording(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.strip_prefix("segment_").and_then(|rest| rest.strip_suffix(".mp4"));
    let mut parts = stem.into_iter().flat_map(|stem| stem.split('_'));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut long = |digits: usize| parts.next().is_some_and(|part| part.len() == digits && is_number(part));
    long(8) && long(6) && parts.next().is_none_or(is_number) && parts.next().is_none()
}

/// The disk that a folder lies on, by its number.
#[cfg(unix)]
fn disk_of(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(folder).ok().map(|folder| folder.dev())
}

#[cfg(not(unix))]
fn disk_of(_: &Path) -> Option<u64> {
    None
}

/// The disk that is seen in the folder's place when its own is unmounted; `None` where it lies on that of the root. The same disk may have another number when
/// it is plugged in again, so that it is this one which is told apart.
fn disk_beneath(folder: &Path) -> Option<u64> {
    let folder = fs::canonicalize(folder).ok()?;
    let own = disk_of(&folder)?;
    folder.ancestors().skip(1).filter_map(disk_of).find(|disk| *disk != own)
}

/// When a file was changed last, in microseconds since 1970; 0 where that is not known.
pub(super) fn changed_us(path: &Path) -> Option<i64> {
    let changed = fs::metadata(path).ok()?.modified().ok()?;
    let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(media::time::micros(since))
}

#[cfg(test)]
mod tests;
