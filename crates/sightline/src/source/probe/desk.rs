//! How many probes go on at a time, and their pictures for a while.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Probes at a time.
pub const AT_ONCE: usize = 2;
/// Pictures that are kept, of [`super::PICTURE_BYTES`] at the most each.
pub const PICTURES: usize = 8;
/// So long is one kept.
const KEEP: Duration = Duration::from_secs(60);

/// One for the program.
pub struct Desk {
    /// Who looks for cameras.
    looking: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    pictures: Arc<Mutex<Pictures>>,
}

type Pictures = VecDeque<(String, Bytes)>;

impl Default for Desk {
    fn default() -> Self {
        Self {
            looking: Arc::new(Semaphore::new(1)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            pictures: Arc::default(),
        }
    }
}

impl Desk {
    /// A turn; `None` where as many are taken as there are.
    pub fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).try_acquire_owned().ok()
    }

    /// The turn of who looks for cameras; `None` where somebody else does.
    pub fn look(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.looking).try_acquire_owned().ok()
    }

    /// Keeps a picture for a minute, or until there are newer ones. To be called within the runtime.
    pub fn keep(&self, id: String, picture: Bytes) {
        self.keep_for(KEEP, id, picture);
    }

    fn keep_for(&self, time: Duration, id: String, picture: Bytes) {
        let mut pictures = lock(&self.pictures);
        if pictures.len() >= PICTURES {
            pictures.pop_front();
        }
        pictures.push_back((id.clone(), picture));
        drop(pictures);
        let kept = Arc::downgrade(&self.pictures);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            if let Some(kept) = kept.upgrade() {
                lock(&kept).retain(|(known, _)| *known != id);
            }
        });
    }

    /// One that is kept still.
    pub fn picture(&self, id: &str) -> Option<Bytes> {
        let pictures = lock(&self.pictures);
        let found = pictures.iter().find(|(known, _)| known == id);
        found.map(|(_, picture)| picture.clone())
    }
}

fn lock(pictures: &Mutex<Pictures>) -> MutexGuard<'_, Pictures> {
    // What it holds is put in and taken out whole.
    pictures.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn eight_pictures_are_kept_for_a_while() {
        let desk = Desk::default();
        for number in 0..=PICTURES {
            desk.keep(number.to_string(), Bytes::from(vec![0; number]));
        }
        assert_eq!(desk.picture("0"), None);
        assert_eq!(desk.picture("8").unwrap().len(), 8);
        desk.keep_for(Duration::from_millis(1), "last".to_owned(), Bytes::from_static(b"x"));
        while desk.picture("last").is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(desk.picture("8").is_some(), "each has its own time");
    }

    #[test]
    fn two_at_a_time() {
        let desk = Desk::default();
        let turns: Vec<_> = (0..AT_ONCE).map(|_| desk.turn().unwrap()).collect();
        assert!(desk.turn().is_none());
        drop(turns);
        assert!(desk.turn().is_some());
    }
}
