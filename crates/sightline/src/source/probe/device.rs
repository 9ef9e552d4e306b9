//! Trying a camera of this machine out: it is opened for some seconds as it would be for good.

use std::sync::Arc;
use std::time::Duration;

use device::camera::Status;
use device::source::Word;
use device::source::v4l2::{self, Unfit};
use tokio::time::Instant;

use super::{Limits, Meter, Probed, Tools, hub, name, watch, with_picture};
use crate::camera::Camera;
use crate::config::settings;
use crate::config::units::Source;
use crate::source::{Cause, Trouble, Why};

/// How often its state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks a camera of this machine. Whoever drops it ends it, within a second.
///
/// # Errors
/// [`Why`].
pub async fn probe(word: Word, tools: &Tools, limits: Limits) -> Result<Probed, Why> {
    let hub = hub();
    let name = name()?;
    let (to, clock, called) = (hub.clone(), Arc::clone(&tools.clock), name.clone());
    let opening = tokio::task::spawn_blocking(move || {
        fit(&word)?;
        let settings = settings::Camera {
            source: Source::Word(word),
            ..settings::Camera::default()
        };
        let zone = crate::clock::zone();
        let started = Camera::start(called, &settings, to, clock, zone, &|| false);
        started.map_err(|error| Why::new(Trouble::Program, error.to_string()).because(Cause::DeviceUnusable))
    });
    let camera = opening
        .await
        .unwrap_or_else(|_| Err(Why::new(Trouble::Bug, "a bug of ours ended it")));
    let camera = Closing(Some(camera?));
    let mut meter = Meter::default();
    let failed = tokio::select! {
        why = camera.fails() => Some(why),
        () = async {
            camera.runs().await;
            watch(&hub, &name, tools, limits, &mut meter).await;
        } => None,
        () = tokio::time::sleep_until(Instant::now() + limits.within) => None,
    };
    let stream = hub.stream(&name, tools.clock.now()).ok();
    drop(camera);
    if let Some(why) = failed {
        return Err(why);
    }
    match meter.probed(stream.as_deref(), None) {
        Some(probed) => Ok(with_picture(probed, stream.as_ref(), tools).await),
        None => {
            let detail = format!("no picture came within {} s", limits.within.as_secs());
            Err(Why::new(Trouble::Unusable, detail).because(Cause::DeviceUnusable))
        }
    }
}

/// Why it cannot be opened, where that is known without trying.
fn fit(word: &Word) -> Result<(), Why> {
    let Word::V4l2(path) = word else { return Ok(()) };
    let devices = v4l2::list();
    let there = devices
        .iter()
        .find(|device| device.path == *path || device.by_id.as_ref() == Some(path));
    match there {
        None if !path.exists() => {
            let detail = format!("{} is not there", path.display());
            Err(Why::new(Trouble::NotThere, detail).because(Cause::DeviceMissing))
        }
        None => Ok(()),
        Some(device) => match &device.unfit {
            None => Ok(()),
            Some(unfit) => {
                let detail = format!("{}: {unfit}", device.path.display());
                Err(Why::new(Trouble::Unusable, detail).because(cause(unfit)))
            }
        },
    }
}

/// Which cause it is that a device is no camera of ours.
pub(crate) fn cause(unfit: &Unfit) -> Cause {
    match unfit {
        Unfit::Busy(_) => Cause::DeviceHeld,
        Unfit::Permission => Cause::DeviceRights,
        Unfit::NoCapture(_) | Unfit::Formats(_) | Unfit::Other(_) => Cause::DeviceUnusable,
    }
}

/// A camera that is not waited for when it ends, which takes most of a second.
struct Closing(Option<Camera>);

impl Closing {
    fn status(&self) -> Option<Status> {
        self.0.as_ref().and_then(Camera::status)
    }

    async fn runs(&self) {
        while !matches!(self.status(), Some(Status::Running { .. })) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn fails(&self) -> Why {
        loop {
            match self.status() {
                Some(Status::Slate { error, .. }) => {
                    return Why::new(Trouble::Unusable, error.to_string()).because(Cause::DeviceUnusable);
                }
                Some(Status::Ended { why }) => return Why::new(Trouble::Bug, why),
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let camera = self.0.take();
        tokio::task::spawn_blocking(move || drop(camera));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_device_has_its_own_cause() {
        for (unfit, expected) in [
            (
                Unfit::Busy("used by cheese (process 4711)".to_owned()),
                Cause::DeviceHeld,
            ),
            (Unfit::Permission, Cause::DeviceRights),
            (Unfit::Formats("Y10".to_owned()), Cause::DeviceUnusable),
        ] {
            assert_eq!(cause(&unfit), expected);
        }
        let missing = Word::V4l2("/dev/video-that-is-not-there".into());
        assert_eq!(fit(&missing).unwrap_err().cause, Cause::DeviceMissing);
    }
}
