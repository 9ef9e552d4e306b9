//! Stills: the newest picture of a stream as JPEG.
//!
//! Belongs here: which keyframe is shown, that it is decoded once for all who ask, how much of that goes on at a time. Does not belong here: decoding and JPEG
//! themselves ([`device::decode`], [`device::jpeg`]), who may ask (`http`).
//!
//! **Cost.** A keyframe is decoded where somebody asks for it, on a thread that may wait, one at a time for all streams: whoever watches is not disturbed by more than one core. What
//! was decoded serves all who ask within two seconds, in any size, and for as long as there is no newer keyframe.

mod cache;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use device::decode::StillError;
use device::jpeg::Shape;
use device::picture::Picture;
use device::{decode, jpeg};
use media::hub::{Entry, Stream};
use media::{Clock, Kind, WallTime};
use tokio::sync::Semaphore;

use cache::Cache;

/// Pictures of streams for all who ask. Cheap to clone; clones share what is decoded.
#[derive(Clone)]
pub struct Stills {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    cache: Mutex<Cache>,
    /// Who decodes.
    turn: Arc<Semaphore>,
    /// Who waits.
    places: Semaphore,
    patience: Patience,
    counts: Counts,
}

/// How long is waited.
#[derive(Clone, Copy)]
struct Patience {
    /// For the first keyframe of a stream.
    first: Duration,
    /// For all of it.
    still: Duration,
}

/// What became of the questions.
#[derive(Debug, Default)]
struct Counts {
    asked: AtomicU64,
    decoded: AtomicU64,
    failed: AtomicU64,
}

/// What became of the questions since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Stills that were asked for.
    pub asked: u64,
    /// Keyframes that were decoded for them.
    pub decoded: u64,
    /// Keyframes that could not be.
    pub failed: u64,
}

/// A picture of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Still {
    /// The file.
    pub jpeg: Bytes,
    /// When it was captured.
    pub wall: WallTime,
    /// Pixels of a row, and rows.
    pub size: (u32, u32),
}

/// Why there is none. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStill {
    /// Sound alone.
    #[error("the stream has no pictures")]
    NoPictures,
    /// No keyframe came while it was waited for.
    #[error("no keyframe of the stream came within {} s", FIRST_WITHIN.as_secs())]
    NoKeyframe,
    /// The keyframe could not be decoded.
    #[error(transparent)]
    Decode(#[from] StillError),
    /// Nor written.
    #[error("{0}")]
    Jpeg(Arc<str>),
    /// Too many ask at once.
    #[error("{MAX_WAITING} stills are waited for; more are not taken on")]
    Busy,
    /// The machine has too much to do.
    #[error("it was not decoded within {} s: the machine has too much to do", WITHIN.as_secs())]
    Late,
}

/// Keeps those who ask for the same stream behind each other.
#[derive(Default)]
struct Turn(tokio::sync::Mutex<()>);

impl Stills {
    /// None decoded yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with(
            clock,
            Patience {
                first: FIRST_WITHIN,
                still: WITHIN,
            },
        )
    }

    fn with(clock: Arc<dyn Clock>, patience: Patience) -> Self {
        let inner = Inner {
            clock,
            cache: Mutex::default(),
            turn: Arc::new(Semaphore::new(AT_A_TIME)),
            places: Semaphore::new(MAX_WAITING),
            patience,
            counts: Counts::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The newest keyframe of a stream, or one that was decoded for somebody else at most two seconds ago. Where the stream has none yet, its first one is waited for.
    ///
    /// # Errors
    /// See [`NoStill`]. One that comes from the keyframe itself is told to all who ask within those seconds, too.
    pub async fn live(&self, stream: &Arc<Stream>, shape: Shape) -> Result<Still, NoStill> {
        self.inner.counts.asked.fetch_add(1, Ordering::Relaxed);
        if let Some(known) = self.known(stream, shape) {
            return known;
        }
        let _place = self.inner.places.try_acquire().map_err(|_| NoStill::Busy)?;
        let made = tokio::time::timeout(self.inner.patience.still, self.make(stream, shape));
        made.await.unwrap_or(Err(NoStill::Late))
    }

    /// What became of the questions.
    pub fn totals(&self) -> Totals {
        let counts = &self.inner.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            asked: read(&counts.asked),
            decoded: read(&counts.decoded),
            failed: read(&counts.failed),
        }
    }

    /// What is there already.
    fn known(&self, stream: &Arc<Stream>, shape: Shape) -> Option<Result<Still, NoStill>> {
        self.inner.cache().still(stream, shape, self.inner.clock.now())
    }

    async fn make(&self, stream: &Arc<Stream>, shape: Shape) -> Result<Still, NoStill> {
        let first = tokio::time::timeout(self.inner.patience.first, self.keyframe(stream)).await;
        first.unwrap_or(Err(NoStill::NoKeyframe))?;
        let turn = stream.extension(Turn::default);
        let _turn = turn.0.lock().await;
        // Somebody who was in front of us may have made it.
        if let Some(known) = self.known(stream, shape) {
            return known;
        }
        let permit = Arc::clone(&self.inner.turn).acquire_owned().await;
        let permit = permit.map_err(|_| NoStill::Late)?;
        let known = self.inner.cache().picture(stream, self.inner.clock.now());
        let keyframe = stream.newest_keyframe();
        let (inner, stream) = (Arc::clone(&self.inner), Arc::clone(stream));
        // Whoever asked may be gone before it is done: it is there for the next, and goes when nobody asks.
        let made = tokio::task::spawn_blocking(move || {
            let still = inner.make(&stream, keyframe.as_ref(), known, shape);
            inner.sweep_later();
            drop(permit);
            still
        });
        made.await.unwrap_or(Err(NoStill::Late))
    }

    /// Waits for a keyframe where there is none yet.
    async fn keyframe(&self, stream: &Arc<Stream>) -> Result<(), NoStill> {
        while stream.newest_keyframe().is_none() {
            let tracks = stream.tracks();
            if !tracks.is_empty() && tracks.iter().all(|track| track.kind() != Kind::Video) {
                return Err(NoStill::NoPictures);
            }
            stream.request_keyframe(self.inner.clock.now());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

impl Inner {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(
        &self,
        stream: &Arc<Stream>,
        keyframe: Option<&Arc<Entry>>,
        known: Option<(Arc<Picture>, WallTime)>,
        shape: Shape,
    ) -> Result<Still, NoStill> {
        let (picture, wall) = match (known, keyframe) {
            (Some(known), _) => known,
            (None, None) => return Err(NoStill::NoKeyframe),
            (None, Some(entry)) => {
                self.counts.decoded.fetch_add(1, Ordering::Relaxed);
                let decoded = decode::keyframe(&entry.frame, ffmpeg().as_deref()).map(Arc::new);
                let decoded = decoded.map_err(|error| {
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    NoStill::Decode(error)
                });
                self.cache().put(stream, entry, decoded.clone(), self.clock.now());
                (decoded?, entry.frame.capture.at)
            }
        };
        let written = jpeg::encode(&picture, shape);
        let still = Still {
            jpeg: written.map_err(|error| NoStill::Jpeg(error.to_string().into()))?.into(),
            wall,
            size: shape.size_of(picture.width(), picture.height()),
        };
        self.cache().put_still(&picture, shape, &still);
        Ok(still)
    }

    /// Gives memory back some time after the last question.
    fn sweep_later(self: &Arc<Self>) {
        if !self.cache().begins_to_be_swept() {
            return;
        }
        let inner = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(cache::KEEP).await;
                let Some(inner) = inner.upgrade() else { return };
                let now = inner.clock.now();
                if !inner.cache().sweep(now) {
                    return;
                }
            }
        });
    }
}

/// Where FFmpeg is, by `PATH`: looked for each time, since it may be installed while the program runs.
pub fn ffmpeg() -> Option<PathBuf> {
    ffmpeg_in(std::env::var_os("PATH").as_deref())
}

fn ffmpeg_in(path: Option<&OsStr>) -> Option<PathBuf> {
    let name = format!("ffmpeg{}", std::env::consts::EXE_SUFFIX);
    let candidates = std::env::split_paths(path?).map(|folder| folder.join(&name));
    // Relative ones would mean another program in another folder.
    candidates
        .filter(|candidate| candidate.is_absolute())
        .find(|candidate| is_program(candidate))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// Keyframes that are decoded at a time.
const AT_A_TIME: usize = 1;
/// Questions that wait at a time: a wall of 36 tiles, and some.
const MAX_WAITING: usize = 64;
/// How long a question waits for its answer.
const WITHIN: Duration = Duration::from_secs(8);
/// How long the first keyframe of a stream is waited for.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
