//! The archive: recordings that have their age go to S3, and then from this disk.
//!
//! Belongs here: which files go, and when what was sent counts as there ([`work`]), what is known of those that went ([`catalogue`]). Does not belong here: how S3 is
//! spoken ([`crate::s3`]), deleting files, which the thread of their disk does as for retention ([`super::disk`]).
//!
//! - One file at a time, the oldest first, in parts, no faster than is set: who watches live does not notice it.
//! - A file is deleted here when three things agree: its bytes have the checksum of the index; the server took each part by its SHA-256; and the object that it shows has
//!   the length of the file. Then the catalogue says that it is archived, durably, and only then the index is told to discard the file.
//! - What is protected stays here and is not sent. What is damaged stays until retention takes it.
//! - A kill at any of these steps loses nothing: parts that the server has are not sent again, and a file that is complete there is not begun anew.

mod catalogue;
mod work;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use media::Clock;

pub use catalogue::{Archived, Catalogue, Error, MAX_RANGES};

use super::recorder::Recorder;
use crate::config::upload::S3Place;
use crate::s3::{Access, Bucket, Failed};
use crate::shutdown::Shutdown;

/// What is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where it is.
    pub place: S3Place,
    /// By whose leave.
    pub access: Access,
    /// How old a file is when it goes.
    pub after: Duration,
    /// How fast at the most.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// What the archive needs.
pub struct World {
    /// Where recordings are, once there are any.
    pub recorder: Box<dyn Fn() -> Option<Recorder> + Send + Sync>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable numbers.
    pub random: fn() -> u64,
    /// Where the catalogue is.
    pub catalogue: PathBuf,
}

/// The archive of a server.
pub struct Archive {
    world: World,
    catalogue: OnceLock<Catalogue>,
    report: Mutex<Report>,
}

/// How it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files that went since the start.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why nothing goes.
    pub trouble: Option<String>,
}

impl Archive {
    /// Without a plan: what went before can be asked for.
    pub fn new(world: World) -> Arc<Self> {
        Arc::new(Self {
            world,
            catalogue: OnceLock::new(),
            report: Mutex::default(),
        })
    }

    /// What is archived; `None`: nothing ever was. Waits for the disk.
    ///
    /// # Errors
    /// [`Error`].
    pub fn catalogue(&self) -> Result<Option<&Catalogue>, Error> {
        if self.catalogue.get().is_none() && !self.world.catalogue.exists() {
            return Ok(None);
        }
        self.open().map(Some)
    }

    fn open(&self) -> Result<&Catalogue, Error> {
        if let Some(catalogue) = self.catalogue.get() {
            return Ok(catalogue);
        }
        let opened = Catalogue::open(&self.world.catalogue)?;
        Ok(self.catalogue.get_or_init(|| opened))
    }

    /// How it goes.
    pub fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Archives by this plan until it is told to stop.
    pub async fn run(self: Arc<Self>, plan: Plan, shutdown: Shutdown) {
        let bucket = match Bucket::new(&plan.access, &plan.place.bucket, plan.bytes_per_second) {
            Ok(bucket) => bucket,
            Err(Failed { detail, .. }) => return tracing::error!("nothing is archived: {detail}"),
        };
        tracing::info!(to = %plan.place, after_s = plan.after.as_secs(), "recordings are archived");
        let work = work::Work {
            archive: Arc::clone(&self),
            plan,
            bucket,
            passed: HashMap::new(),
            unfit: HashSet::new(),
            told: None,
        };
        tokio::select! {
            () = work.run() => {}
            // What is under way goes on from its last part at the next start.
            () = shutdown.requested() => {}
        }
    }
}
