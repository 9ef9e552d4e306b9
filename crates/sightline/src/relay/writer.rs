//! The thread of one folder: takes what waits, and writes it.
//!
//! Belongs here: that it runs until its queue is closed, what a writer is told and when, what it tells of itself. Does not belong here: files of HLS
//! ([`super::hls`]) and recordings ([`super::record`]).
//!
//! Each folder has a thread: one that lies on a disk which hangs holds up no other.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use media::hub::Entry;
use media::stats::Counter;
use media::{Clock, Track};

use super::queue::{Item, Queue, Taken};

/// How often it is looked at what is due, at least.
const LOOK: Duration = Duration::from_secs(1);

/// Writes one stream into one folder.
pub(super) trait Writer: Send {
    /// Before anything else: what another process left there.
    fn open(&mut self);
    /// The tracks of what follows.
    fn tracks(&mut self, tracks: &Arc<[Track]>);
    /// The next frame.
    fn frame(&mut self, entry: &Entry);
    /// Frames are missing here, or none follow: what is there is finished.
    fn gap(&mut self);
    /// Once a second.
    fn look(&mut self, now: Instant);
}

/// What a writer tells of itself.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Files that were finished.
    pub(super) files: Counter,
    /// Bytes of them.
    pub(super) bytes: Counter,
    /// Frames or fragments that could not be written.
    pub(super) left_out: Counter,
    /// The last one failed.
    pub(super) is_failing: AtomicBool,
    newest: Mutex<PathBuf>,
}

impl Figures {
    /// A file was finished.
    pub(super) fn finished(&self, path: PathBuf, bytes: u64) {
        self.files.add(1);
        self.bytes.add(bytes);
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }

    /// The newest file that was finished.
    pub(super) fn newest(&self) -> PathBuf {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn failing(&self, is_failing: bool) {
        self.is_failing.store(is_failing, Relaxed);
    }
}

/// A thread that writes.
pub(super) struct Working {
    /// What it is to write.
    pub(super) queue: Arc<Queue>,
    /// What it tells.
    pub(super) figures: Arc<Figures>,
    /// What it writes, in a word.
    pub(super) what: &'static str,
    thread: JoinHandle<()>,
}

impl Working {
    /// Starts it.
    ///
    /// # Errors
    /// Of the system, which has no thread to give.
    pub(super) fn start(
        what: &'static str,
        writer: impl Writer + 'static,
        figures: Arc<Figures>,
        queue: Arc<Queue>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let its = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name(what.to_owned());
        let thread = thread.spawn(move || work(writer, &its, &*clock))?;
        Ok(Self {
            queue,
            figures,
            what,
            thread,
        })
    }

    /// Whether it ended, which it does by a bug of ours alone before its queue is closed.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Closes the queue, and waits until all is written.
    pub(super) fn finish(self) {
        self.queue.close();
        // A panic in it was reported already.
        let _ = self.thread.join();
    }
}

fn work(mut writer: impl Writer, queue: &Queue, clock: &dyn Clock) {
    writer.open();
    let mut publisher = None;
    let mut look_at = clock.now() + LOOK;
    loop {
        match queue.take(LOOK) {
            Taken::Item(Item::Frame(entry)) => {
                // The camera was away.
                if publisher
                    .replace(entry.publisher)
                    .is_some_and(|before| before != entry.publisher)
                {
                    writer.gap();
                }
                writer.frame(&entry);
            }
            Taken::Item(Item::Tracks(tracks)) => {
                publisher = None;
                writer.gap();
                writer.tracks(&tracks);
            }
            Taken::Item(Item::Gap) => writer.gap(),
            Taken::Nothing => {}
            Taken::Closed => break,
        }
        let now = clock.now();
        if now >= look_at {
            look_at = now + LOOK;
            writer.look(now);
        }
    }
    writer.gap();
}
