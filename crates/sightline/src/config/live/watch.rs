//! Noticing that the settings file is another.
//!
//! The file is looked at once a second, by what the file system says of it. Notifications of the operating system would be sooner, but they follow a file, not its
//! name: editors that put a new one in its place, files mounted by themselves into containers, links that are turned to another folder and
//! network shares all need a case of their own there, and none here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use media::Clock;
use tokio::task;

use super::{Live, Who};
use crate::config::file;
use crate::files::Stamp;
use crate::shutdown::Shutdown;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How long it must have stayed the same before it is read: whoever writes it in place may not be done.
const SETTLED: Duration = Duration::from_millis(100);
/// Clocks of file systems are coarse: a file that was changed so shortly before it was read may have been changed again within the same instant.
const COARSE: Duration = Duration::from_secs(2);

/// Looks after the file until the end of the program, and applies what changes in it.
pub async fn watch(live: Arc<Live>, clock: Arc<dyn Clock>, shutdown: Shutdown) {
    // What it said at the start is not known, so that it is read once more.
    let mut known = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.requested() => return,
        }
        let found = stamp(&live).await;
        if found == known && !found.as_ref().is_some_and(|found| is_fresh(found, &*clock)) {
            continue;
        }
        known = reread_found(&live, &Who::File, found).await;
    }
}

/// Reads it again, once it is written.
pub async fn reread(live: &Arc<Live>, by: Who) {
    let found = stamp(live).await;
    reread_found(live, &by, found).await;
}

/// What was found when it was read. Whoever writes it in place empties it first: settings that were read then would all be gone for a second.
async fn reread_found(live: &Arc<Live>, by: &Who, mut found: Found) -> Found {
    loop {
        found = settled(live, found).await;
        let (live, by, expected) = (Arc::clone(live), by.clone(), found.clone());
        let read = task::spawn_blocking(move || {
            live.reread_if(&by, |path| {
                Stamp::of(path).as_ref() == expected.as_ref().map(|(_, stamp)| stamp)
            })
        });
        // A panic in it was reported already.
        if read.await.unwrap_or(true) {
            return found;
        }
    }
}

type Found = Option<(PathBuf, Stamp)>;

async fn settled(live: &Arc<Live>, mut found: Found) -> Found {
    loop {
        tokio::time::sleep(SETTLED).await;
        let again = stamp(live).await;
        if again == found {
            return again;
        }
        found = again;
    }
}

async fn stamp(live: &Arc<Live>) -> Found {
    let live = Arc::clone(live);
    let stamp = task::spawn_blocking(move || {
        let path = live.file()?;
        let stamp = Stamp::of(&path)?;
        Some((path, stamp))
    });
    stamp.await.ok().flatten()
}

fn is_fresh((_, stamp): &(PathBuf, Stamp), clock: &dyn Clock) -> bool {
    let now = clock.wall().unix_micros();
    let modified = stamp.modified_micros();
    modified.is_some_and(|modified| now.abs_diff(modified) < media::time::micros(COARSE).unsigned_abs())
}

impl Live {
    /// The file in use, or one that could be by now.
    fn file(&self) -> Option<PathBuf> {
        let current = self.lock();
        let (file, wanted) = (current.loaded.file.clone(), current.loaded.wanted().clone());
        drop(current);
        file.or_else(|| file::find(&wanted))
    }
}
