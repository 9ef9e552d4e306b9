//! Filmstrips that are made beforehand, where somebody wants that (`record.filmstrip`): one beside each file as it is finished.
//!
//! Belongs here: a thread of the lowest priority, what it takes on, the file that it writes. Does not belong here: what a strip is ([`super::strip`]), removing it, which goes with its
//! segment ([`super::disk`]).
//!
//! - Recording waits for nothing of it: it hears of files that are finished, and of what it is too slow for it does not hear. What has no strip gets its tiles when somebody asks.
//! - It takes a hundredth of a core a camera: what a keyframe takes says how far tiles are apart. So H.265, for which an FFmpeg is started for each file, has fewer where files are short.
//! - The strip of a file that is deleted meanwhile: who deletes removes the file first and then the strip, and here the strip gets its name first and then it is looked whether the file
//!   is there. So one of both sees the other, and no strip stays behind.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use device::decode::Keyframes;
use media::recording::{Fragments, Row};
use media::{Clock, StreamName};
use tokio::sync::broadcast::error::RecvError;

use super::recorder::Recorder;
use super::report::Notice;
use super::storage::{File as _, Place as _, Root, Storage};
use super::strip::{self, Reading, Strip, Tile};
use crate::stills::ffmpeg;

/// Begins to make strips of what the recorder finishes, where `wants` says so of its camera. It ends with the recorder.
///
/// # Errors
/// There is no thread for it.
pub fn start(
    recorder: &Recorder,
    clock: Arc<dyn Clock>,
    wants: impl Fn(&StreamName) -> bool + Send + 'static,
) -> io::Result<()> {
    let mut notices = recorder.notices();
    // Whoever stops the recorder holds it, not we.
    let root = recorder
        .report()
        .storages
        .into_iter()
        .next()
        .map(|storage| storage.path);
    let Some(root) = root else { return Ok(()) };
    let run = move || {
        lowest_priority();
        loop {
            match notices.blocking_recv() {
                Ok(Notice::Finished {
                    camera,
                    path,
                    head_bytes,
                    bytes,
                    fragments,
                    ..
                }) if wants(&camera) => {
                    let segment = Finished {
                        path: &path,
                        head_bytes,
                        bytes,
                        fragments: &fragments,
                    };
                    if let Err(error) = keep(&root, &segment, &*clock) {
                        tracing::debug!(stream = %camera, path = %path.display(), reason = %error, "a filmstrip was not made");
                    }
                }
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "filmstrips are made too slowly: some are left out");
                }
                Err(RecvError::Closed) => return,
            }
        }
    };
    std::thread::Builder::new().name("filmstrip".to_owned()).spawn(run)?;
    Ok(())
}

/// A file of a recording that is complete.
pub(super) struct Finished<'a> {
    /// From the folder of recordings on.
    pub(super) path: &'a Path,
    pub(super) head_bytes: u32,
    pub(super) bytes: u64,
    pub(super) fragments: &'a Fragments,
}

/// Makes the strip of a file, and puts it beside. Whether there is one.
pub(super) fn keep(root: &Path, segment: &Finished<'_>, clock: &dyn Clock) -> io::Result<bool> {
    let Some(beside) = strip::beside(segment.path) else {
        return Ok(false);
    };
    let (storage, _) = Root(root.to_owned())
        .look(None)
        .map_err(|absent| io::Error::other(absent.to_string()))?;
    let file = storage.open(segment.path)?;
    let mut head = vec![0; segment.head_bytes as usize];
    strip::read_exactly(&file, 0, &mut head)?;
    let mut reading = Reading {
        file: &file,
        head: &head,
        width: strip::KEPT_WIDTH,
        keyframes: Keyframes::new(ffmpeg()),
    };
    let mut tiles = tiles(&mut reading, segment.fragments, clock)?;
    while let Some(strip) = Strip::of(&tiles, strip::QUALITY).map_err(io::Error::other)? {
        let bytes = strip.write();
        if bytes.len() as u64 <= strip::may_have(segment.bytes) {
            put(&storage, segment.path, &beside, &bytes)?;
            return Ok(true);
        }
        // A stream of so few bytes has room for fewer.
        tiles = tiles.into_iter().step_by(2).collect();
        if tiles.len() < LEAST_TILES {
            return Ok(false);
        }
    }
    Ok(false)
}

/// Of keyframes as far apart as what they take allows.
fn tiles(
    reading: &mut Reading<'_, impl super::storage::File>,
    fragments: &Fragments,
    clock: &dyn Clock,
) -> io::Result<Vec<Tile>> {
    let mut tiles: Vec<Tile> = Vec::new();
    let (mut taken, mut made) = (Duration::ZERO, 0_u32);
    let keyframes: Vec<Row> = fragments.iter().filter(|row| row.keyframe).collect();
    // So many that a long file has them to its end.
    let least_90k = fragments.duration_90k() / strip::MAX_TILES as u64;
    let mut next_90k = 0;
    for row in &keyframes {
        if row.begins_90k < next_90k || tiles.len() == strip::MAX_TILES {
            continue;
        }
        let begun = clock.now();
        let tile = reading.tile(row, begun)?;
        let took = clock.now().saturating_duration_since(begun);
        // A damaged one is waited for, which is no work.
        if tile.is_ok() {
            taken += took;
            made += 1;
        }
        let step = strip::step(taken.checked_div(made).unwrap_or(took.min(AT_FIRST)));
        let step_90k = (step.as_millis() as u64).saturating_mul(90).max(least_90k);
        // A keyframe that comes a little early is as good.
        next_90k = row.begins_90k.saturating_add(step_90k).saturating_sub(NEAR_90K);
        let at = u32::try_from(row.begins_90k).unwrap_or(u32::MAX);
        tiles.extend(tile.ok().map(|tile| (at, tile)));
    }
    Ok(tiles)
}

fn put(storage: &impl Storage, segment: &Path, beside: &Path, bytes: &[u8]) -> io::Result<()> {
    let unnamed = unnamed(beside);
    match storage.remove(&unnamed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = storage
        .create(&unnamed)
        .and_then(|mut file| file.append([bytes, &[]]))
        .and_then(|()| storage.rename(&unnamed, beside));
    if let Err(error) = written {
        let _ = storage.remove(&unnamed);
        return match error.kind() {
            // It was made before.
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        };
    }
    if !storage.exists(segment)? {
        storage.remove(beside)?;
    }
    Ok(())
}

/// As other files that have no name yet: swept at the start.
fn unnamed(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// On Linux a priority is that of a thread.
fn lowest_priority() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(19);
}

/// What one takes, where none was made yet: that much is the start of an FFmpeg.
const AT_FIRST: Duration = Duration::from_millis(100);
/// A strip of fewer shows nothing that a picture of an instant would not.
const LEAST_TILES: usize = 2;
/// 50 ms.
const NEAR_90K: u64 = 4_500;

#[cfg(test)]
pub(crate) mod tests;
