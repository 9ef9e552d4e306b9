//! Cameras that can make a lower stream of themselves, and how one is had.
//!
//! Belongs here: which cameras are set to, and those of them that run. Does not belong here: making it ([`device::camera`]), when somebody needs it
//! ([`crate::source`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use device::camera::{Handle, Low, Lower, Sink};
use media::StreamName;

use super::Wanted;
use crate::config::settings;
use crate::config::units::Bitrate;

/// The cameras of a program whose lower streams may be asked for.
#[derive(Default)]
pub struct Lowers {
    set: BTreeMap<StreamName, Low>,
    running: Mutex<BTreeMap<StreamName, Maker>>,
}

/// A camera that runs.
pub(super) struct Maker {
    pub(super) handle: Handle,
    pub(super) passing: Arc<AtomicBool>,
}

/// Why there is no lower stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLower {
    #[error("the camera has not started yet")]
    NotYet,
    #[error("the camera's own H.264 passes; smaller pictures are made of raw ones alone")]
    Passing,
    #[error("the operating system gives no thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl Lowers {
    /// Those that are set to, of the cameras that are wanted.
    pub fn new(wanted: &[Wanted]) -> Self {
        let set = wanted.iter().filter(|(_, camera)| camera.low);
        Self {
            set: set.map(|(name, camera)| (name.clone(), low(camera))).collect(),
            running: Mutex::default(),
        }
    }

    /// Whether this camera can be asked.
    pub(crate) fn has(&self, camera: &StreamName) -> bool {
        self.set.contains_key(camera)
    }

    /// A camera runs.
    pub(super) fn runs(&self, camera: &StreamName, maker: Maker) {
        if self.has(camera) {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.insert(camera.clone(), maker);
        }
    }

    /// Whether there is anything to make smaller pictures of.
    pub(crate) fn check(&self, camera: &StreamName) -> Result<(), NoLower> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.get(camera) {
            None => Err(NoLower::NotYet),
            Some(maker) if maker.passing.load(Relaxed) => Err(NoLower::Passing),
            Some(_) => Ok(()),
        }
    }

    /// Starts it: into `sink`, as long as what this returns lives.
    pub(crate) fn start(&self, camera: &StreamName, sink: Sink) -> Result<Lower, NoLower> {
        self.check(camera)?;
        let low = self.set.get(camera).copied().unwrap_or_default();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = running.get(camera).map(|maker| maker.handle.clone());
        drop(running);
        Ok(handle.ok_or(NoLower::NotYet)?.start_low(low, sink)?)
    }
}

fn low(settings: &settings::Camera) -> Low {
    Low {
        size: settings.low_size.map(|size| (size.width, size.height)),
        bitrate_kbps: settings.low_bitrate.map(Bitrate::kbps),
        fps: settings.low_fps.map(|fps| fps.0),
    }
}
