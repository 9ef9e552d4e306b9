//! Cameras of this machine: which there are, and why one that is there cannot be used.

use device::source::v4l2::{self, Unfit};
use device::source::{Word, libcamera};

use super::{Findings, Patient};
use crate::config::settings::Settings;
use crate::config::units::Source;

const ABOUT: &str = "cameras";

pub(super) fn look(patient: &Patient<'_>, settings: &Settings, found: &mut Findings<'_>) {
    let devices = v4l2::list();
    let mut usable = 0_usize;
    for device in &devices {
        let path = device.path.display();
        match &device.unfit {
            None => {
                usable += 1;
                found.fine(ABOUT, format!("{} at {path}", device.name));
            }
            // Codecs and metadata beside cameras interest nobody.
            Some(Unfit::NoCapture(_)) => {}
            Some(Unfit::Permission) => found.wrong(
                ABOUT,
                format!("{path} may not be opened by this user"),
                "add the user to the group video (`sudo usermod -aG video $USER`), then log in anew",
            ),
            Some(Unfit::Busy(by)) => found.note(
                ABOUT,
                format!("{} at {path}: {by}", device.name),
                "its picture comes when that program ends",
            ),
            Some(reason) => found.note(
                ABOUT,
                format!("{path}: {reason}"),
                "`source = \"exec:COMMAND\"` takes H.264 from any program that can read it",
            ),
        }
    }
    if is_raspberry_pi(patient) {
        match libcamera::list(&libcamera::Settings::default(), patient.clock, &|| false) {
            Ok(cameras) if cameras.is_empty() => found.note(
                ABOUT,
                "the Raspberry Pi's program lists no camera",
                "check the ribbon cable with the power off, then `rpicam-hello --list-cameras`",
            ),
            Ok(cameras) => {
                usable += cameras.len();
                for camera in cameras {
                    found.fine(ABOUT, format!("{} (libcamera:{})", camera.name, camera.index));
                }
            }
            Err(error) => found.wrong(ABOUT, error.to_string(), "`sudo apt install rpicam-apps` brings it"),
        }
    }
    wanted(settings, &devices, found);
    if usable == 0 && devices.is_empty() {
        found.fine(
            ABOUT,
            "none on this machine; others publish, or [stream.NAME] fetches them",
        );
    }
}

/// Cameras that the settings name and that are not there.
fn wanted(settings: &Settings, devices: &[v4l2::Info], found: &mut Findings<'_>) {
    for (name, camera) in &settings.camera {
        let Source::Word(Word::V4l2(path)) = &camera.source else {
            continue;
        };
        let is_there = devices
            .iter()
            .any(|device| device.path == *path || device.by_id.as_ref() == Some(path));
        if !is_there && !path.exists() {
            found.wrong(
                ABOUT,
                format!("{}, the camera of \"{}\", is not there", path.display(), name.0),
                "plug it in, or name another in the settings; until then its stream shows a slate",
            );
        }
    }
}

fn is_raspberry_pi(patient: &Patient<'_>) -> bool {
    let model = patient.read("/proc/device-tree/model");
    model.is_some_and(|model| model.contains("Raspberry Pi"))
}
