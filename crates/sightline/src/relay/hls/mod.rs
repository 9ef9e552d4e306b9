//! HLS of old for any web server: `stream.m3u8` and its segments in one folder.
//!
//! Belongs here: what goes into which segment, files that are there whole or not at all, what is gone on with after a restart, what goes when it is old. Does
//! not belong here: the text of the list ([`list`]), packets ([`media::mpegts`]).
//!
//! - A segment ends before the first keyframe that comes its length or more after its beginning. Where that would make it longer than the target duration,
//!   it ends in the middle of a group of pictures, and the next one at the next keyframe.
//! - A segment is written as `.NAME.part` and gets its name when it is durable; then it is listed.
//! - Where frames are missing, or the picture is of another format, a segment ends and the next is marked as a discontinuity.

mod list;
mod mux;

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::hub::Entry;
use media::{Clock, MediaTime, StreamName, Track, WallTime};

use super::age;
use super::brake::Brake;
use super::plan::Output;
use super::record::changed_us;
use super::writer::{Figures, Writer};
use crate::clock::{wall_at, zone};
use crate::files;
use crate::record::name;
use list::{LEAST_TARGETS, List};
use mux::{Mux, Placed};

/// The list.
const LIST: &str = "stream.m3u8";
/// What is collected before it is written.
const BUFFER_BYTES: usize = 64 << 10;
/// A keyframe that comes a little early ends a segment: cameras are not exact.
const EARLY: Duration = Duration::from_millis(250);
/// How often it is looked for what is old, at the least.
const LOOK_FOR_OLD: Duration = Duration::from_secs(60);

/// Writes one camera as HLS.
pub(super) struct Hls {
    camera: StreamName,
    output: Output,
    clock: Arc<dyn Clock>,
    figures: Arc<Figures>,
    list: List,
    /// It is known what an earlier process left: nothing is written before, since numbers would be used twice.
    is_recovered: bool,
    mux: Mux,
    open: Option<Open>,
    /// What comes next does not go on from what is listed.
    is_discontinuous: bool,
    brake: Brake,
    looked: Instant,
    written: Instant,
    /// Old segments that could not be removed when it was last tried.
    stuck: usize,
}

/// A segment that is being written.
struct Open {
    file: fs::File,
    name: String,
    begins: MediaTime,
    start: WallTime,
    discontinuity: bool,
    /// It begins in the middle of a group of pictures.
    is_cut: bool,
    buffer: Vec<u8>,
    bytes: u64,
}

/// Why a segment ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It is long enough.
    Full,
    /// Frames are missing behind it.
    Gap,
}

impl Hls {
    pub(super) fn new(camera: StreamName, output: Output, clock: Arc<dyn Clock>, figures: Arc<Figures>) -> Self {
        let now = clock.now();
        Self {
            mux: Mux::new(camera.clone()),
            camera,
            output,
            clock,
            figures,
            list: List::default(),
            is_recovered: false,
            open: None,
            is_discontinuous: false,
            brake: Brake::default(),
            looked: now,
            written: now,
            stuck: 0,
        }
    }

    /// The longest that a segment may be, in microseconds.
    fn longest_us(&self) -> i64 {
        match self.list.target_s {
            // Rounded it is to be no more than the target (RFC 8216 §4.3.3.1).
            1.. => (self.list.target_s as i64)
                .saturating_mul(1_000_000)
                .saturating_add(400_000),
            0 => media::time::micros(2 * self.output.segment),
        }
    }

    /// Begins, ends or goes on with a segment for a frame of the leading track.
    fn place(&mut self, placed: &Placed, arrived: WallTime) -> io::Result<()> {
        let segment = self.output.segment;
        let due_us = media::time::micros(segment - EARLY.min(segment / 10));
        let age_us = self.open.as_ref().map(|open| placed.at.micros_since(open.begins));
        let is_cut = self.open.as_ref().is_some_and(|open| open.is_cut);
        let is_full = match age_us {
            None => true,
            // Players begin at segments: each begins with a keyframe again as soon as it can.
            Some(age_us) if placed.keyframe && (is_cut || age_us >= due_us) => true,
            Some(age_us) => age_us.saturating_add(placed.step_us) > self.longest_us(),
        };
        if !is_full {
            return Ok(());
        }
        let goes_on = self.open.is_some();
        self.end(placed.at, Ending::Full)?;
        if !goes_on && !self.brake.lets_begin(self.clock.now()) {
            return Ok(());
        }
        if !self.is_recovered {
            self.recover()?;
        }
        let is_cut = goes_on && !placed.keyframe;
        self.begin(placed.at, arrived, is_cut)?;
        if is_cut && let Some(open) = &mut self.open {
            self.mux.tables(&mut open.buffer);
        }
        Ok(())
    }

    fn begin(&mut self, begins: MediaTime, start: WallTime, is_cut: bool) -> io::Result<()> {
        let name = format!("{}_{}.ts", name::stem_of(start, &zone()), self.list.next());
        let file = fs::File::create(self.part(&name))?;
        readable(&file)?;
        self.open = Some(Open {
            file,
            name,
            begins,
            start,
            discontinuity: std::mem::take(&mut self.is_discontinuous),
            is_cut,
            buffer: Vec::with_capacity(2 * BUFFER_BYTES),
            bytes: 0,
        });
        Ok(())
    }

    /// The segment is complete: it gets its name, and is listed.
    fn end(&mut self, at: MediaTime, ending: Ending) -> io::Result<()> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        self.mux.flush(&mut open.buffer);
        open.write()?;
        open.file.sync_data()?;
        fs::rename(self.part(&open.name), self.output.folder.join(&open.name))?;
        let duration_us = at.micros_since(open.begins).clamp(1, self.longest_us());
        let target_s = self.target_s(duration_us, ending);
        let path = PathBuf::from(&open.name);
        let entry = list::Entry {
            name: open.name,
            duration_us,
            start: open.start,
            discontinuity: open.discontinuity,
        };
        self.list.push(entry, target_s);
        let window = self
            .output
            .retention
            .map_or(i64::MAX, |keep| media::time::micros(keep / 2));
        self.list.trim(window);
        self.write_list()?;
        self.written = self.clock.now();
        self.figures.finished(path, open.bytes);
        if self.brake.succeeded() {
            self.figures.failing(false);
            tracing::info!(camera = %self.camera, "segments are written again");
        }
        Ok(())
    }

    /// For a list whose first segment is this long.
    fn target_s(&self, duration_us: i64, ending: Ending) -> u64 {
        let set_us = media::time::micros(self.output.segment);
        // One that was broken off says nothing of how long the camera's groups of pictures are.
        let least_us = if ending == Ending::Gap {
            set_us + set_us / 2
        } else {
            set_us
        };
        let rounded = (duration_us + 500_000) / 1_000_000;
        let least = (least_us + 999_999) / 1_000_000;
        rounded.max(least).unsigned_abs().max(1)
    }

    fn write_list(&self) -> io::Result<()> {
        let path = self.output.folder.join(LIST);
        files::replace(&path, self.list.text().as_bytes(), readable)
    }

    /// What is there is left, and nothing is written for a while.
    fn fails(&mut self, error: &io::Error) {
        self.figures.failing(true);
        self.figures.left_out.add(1);
        if let Some(wait) = self.brake.failed(self.clock.now()) {
            let retry_ms = wait.as_millis() as u64;
            let folder = self.output.folder.display();
            tracing::error!(camera = %self.camera, %folder, reason = %error, retry_ms, "cannot write segments; what comes meanwhile is lost");
        }
        if let Some(open) = self.open.take() {
            // It may be what failed.
            let _ = fs::remove_file(self.part(&open.name));
        }
        self.mux.restart();
        self.is_discontinuous = self.list.next() > 0;
    }

    fn part(&self, name: &str) -> PathBuf {
        self.output.folder.join(format!(".{name}.part"))
    }

    /// What an earlier process left: its list is gone on with, what it did not finish is removed.
    fn recover(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.output.folder)? {
            let name = entry?.file_name();
            let name = name.to_str().unwrap_or_default();
            let segment = name.strip_prefix('.').and_then(|name| name.strip_suffix(".part"));
            let list = name.strip_prefix(".stream.m3u8.");
            let is_leftover = segment.is_some_and(|name| number_of(name).is_some())
                || list.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
            // It is in nobody's way: the next start tries again.
            if is_leftover && let Err(error) = fs::remove_file(self.output.folder.join(name)) {
                tracing::debug!(camera = %self.camera, file = name, %error, "cannot remove what an earlier process left");
            }
        }
        let segments = self.segments()?;
        let after_files = segments.last().map_or(0, |(number, _)| number.saturating_add(1));
        let text = match fs::read_to_string(self.output.folder.join(LIST)) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let before = text.as_deref().and_then(List::read);
        if let (Some(_), None) = (&text, &before) {
            tracing::warn!(camera = %self.camera, "{LIST} was not written by a relay, or was changed; another is begun");
        }
        self.list = self.gone_on_with(before.clone(), &segments, after_files);
        self.is_discontinuous = self.list.next() > 0;
        if before.is_some_and(|before| before != self.list && !self.list.entries.is_empty()) {
            self.write_list()?;
        }
        self.is_recovered = true;
        Ok(())
    }

    fn gone_on_with(&self, before: Option<List>, segments: &[(u64, PathBuf)], after_files: u64) -> List {
        let Some(mut list) = before else {
            return List::begin(after_files, None);
        };
        let is_there = |entry: &list::Entry| segments.iter().any(|(_, path)| path.as_os_str() == entry.name.as_str());
        // From the last on that is missing.
        if let Some(missing) = list.entries.iter().rposition(|entry| !is_there(entry)) {
            list.drop_below(list.first.saturating_add(missing as u64 + 1));
        }
        let set_s = self.output.segment.as_secs().max(1);
        let is_same = (set_s..=2 * set_s + 1).contains(&list.target_s);
        if is_same && list.next() >= after_files {
            return list;
        }
        List::begin(list.next().max(after_files), Some(&list))
    }

    /// Our segments and their numbers, in their order.
    fn segments(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.output.folder)? {
            let name = entry?.file_name();
            if let Some(number) = name.to_str().and_then(number_of) {
                found.push((number, PathBuf::from(name)));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn remove_old(&mut self, now: Instant, keep: Duration) -> io::Result<()> {
        // So long that players can load what was listed when they looked (RFC 8216 §6.2.2).
        let least = Duration::from_secs(self.list.target_s.saturating_mul(2 * LEAST_TARGETS));
        let segments = self.segments()?;
        let changed = segments
            .iter()
            .map(|(_, path)| changed_us(&self.output.folder.join(path)).unwrap_or_default());
        let changed: Vec<i64> = changed.collect();
        let idle = now.saturating_duration_since(self.written);
        let expired = age::expired(&changed, idle, 2 * self.output.segment, keep.max(least));
        let Some((last, _)) = expired.checked_sub(1).and_then(|last| segments.get(last)) else {
            return Ok(());
        };
        if self.list.first <= *last && !self.list.entries.is_empty() {
            self.list.drop_below(last.saturating_add(1));
            self.write_list()?;
        }
        let mut stuck: Vec<(&PathBuf, io::Error)> = Vec::new();
        for (_, path) in segments.iter().take(expired) {
            match fs::remove_file(self.output.folder.join(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => stuck.push((path, error)),
                _ => {}
            }
        }
        let before = std::mem::replace(&mut self.stuck, stuck.len());
        if let Some((path, error)) = stuck.first().filter(|_| stuck.len() > before) {
            tracing::warn!(camera = %self.camera, file = %path.display(), files = stuck.len(), %error, "cannot remove old segments");
        }
        Ok(())
    }

    fn take(&mut self, entry: &Entry) -> io::Result<()> {
        let Some(placed) = self.mux.look(&entry.frame) else {
            self.figures.left_out.add(1);
            return Ok(());
        };
        if placed.is_leading {
            let arrived = wall_at(&*self.clock, entry.published);
            self.place(&placed, arrived)?;
        }
        let Some(open) = &mut self.open else {
            self.figures.left_out.add(1);
            self.mux.restart();
            return Ok(());
        };
        self.mux.write(placed, &mut open.buffer);
        if open.buffer.len() >= BUFFER_BYTES {
            open.write()?;
        }
        Ok(())
    }
}

impl Open {
    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Writer for Hls {
    fn open(&mut self) {
        if let Err(error) = self.recover() {
            let folder = self.output.folder.display();
            tracing::warn!(camera = %self.camera, %folder, %error, "cannot look for what an earlier process left; nothing is written before that");
            self.figures.failing(true);
            // It was said.
            let _ = self.brake.failed(self.clock.now());
        }
    }

    fn tracks(&mut self, tracks: &Arc<[Track]>) {
        self.mux.tracks(tracks);
    }

    fn frame(&mut self, entry: &Entry) {
        if self.mux.breaks_off(&entry.frame) {
            self.gap();
        }
        if let Err(error) = self.take(entry) {
            self.fails(&error);
        }
    }

    fn gap(&mut self) {
        if let Some(at) = self.mux.expected_next()
            && let Err(error) = self.end(at, Ending::Gap)
        {
            self.fails(&error);
        }
        self.mux.restart();
        self.is_discontinuous = self.is_discontinuous || self.list.next() > 0;
    }

    fn look(&mut self, now: Instant) {
        let Some(keep) = self.output.retention.filter(|_| self.is_recovered) else {
            return;
        };
        let every = LOOK_FOR_OLD.min(self.output.segment);
        if now.saturating_duration_since(self.looked) < every {
            return;
        }
        self.looked = now;
        if let Err(error) = self.remove_old(now, keep) {
            tracing::warn!(camera = %self.camera, %error, "cannot remove old segments");
        }
    }
}

/// A web server runs as somebody else.
#[cfg(unix)]
fn readable(file: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &fs::File) -> io::Result<()> {
    Ok(())
}

/// The number of a segment of ours, by the name of its file: `segment_YYYYMMDD_HHMMSS_NUMBER.ts`.
fn number_of(name: &str) -> Option<u64> {
    let stem = name.strip_prefix("segment_")?.strip_suffix(".ts")?;
    let mut parts = stem.split('_');
    let mut digits = |long: Option<usize>| {
        let part = parts.next()?;
        let fits = long.map_or(!part.is_empty() && part.len() < 20, |long| part.len() == long);
        (fits && part.bytes().all(|byte| byte.is_ascii_digit())).then_some(part)
    };
    digits(Some(8))?;
    digits(Some(6))?;
    let number = digits(None)?.parse().ok()?;
    parts.next().is_none().then_some(number)
}

#[cfg(test)]
mod tests;
