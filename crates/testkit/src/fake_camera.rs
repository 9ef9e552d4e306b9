//! A stand-in for `rpicam-vid` and `libcamera-vid` on machines without a Raspberry Pi's camera.
//!
//! Belongs here: installing that program with a version and a way to behave. It takes the options its version has and ends at any
//! other, writes real H.264 or raw pictures (made by FFmpeg) at the rate asked for, with gaps behind the rows where libcamera would
//! leave them, and tells the sensor's time as the real one does. Needs python3 and ffmpeg. Does not belong here: what a caller should
//! make of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Which release it behaves like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `libcamera-vid` of early 2022: no `--no-raw`, `--low-latency`, metadata.
    Bullseye,
    /// `rpicam-vid` of 2025.
    Bookworm,
}

/// What it does when it is to film.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Delivers.
    Works,
    /// No camera is connected: says so and ends with code 255.
    NoCamera,
    /// Ends with a signal after so many pictures.
    Dies(u32),
    /// Starts, says something and then nothing more.
    Hangs,
}

/// Age of a picture when it tells its time, in milliseconds: readout and image processing of a real camera take about as long.
pub const AGE_MS: u64 = 40;

/// Puts the program into a folder, under the name of its version, and returns its path.
pub fn install(folder: &Path, version: Version, behaviour: Behaviour) -> PathBuf {
    let name = match version {
        Version::Bullseye => "libcamera-vid",
        Version::Bookworm => "rpicam-vid",
    };
    let (behaviour, count) = match behaviour {
        Behaviour::Works => ("works", 0),
        Behaviour::NoCamera => ("no camera", 0),
        Behaviour::Dies(after) => ("dies", after),
        Behaviour::Hangs => ("hangs", 0),
    };
    let script = include_str!("fake_camera.py")
        .replace(
            "@VERSION@",
            if version == Version::Bullseye {
                "bullseye"
            } else {
                "bookworm"
            },
        )
        .replace("@BEHAVIOUR@", behaviour)
        .replace("@COUNT@", &count.to_string())
        .replace("@AGE_MS@", &AGE_MS.to_string());
    let path = folder.join(name);
    fs::write(&path, script).expect("the stand-in is written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the stand-in is made to run");
    path
}

/// The options of its newest run that was to film, one after the other.
pub fn arguments(program: &Path) -> Vec<String> {
    let text = fs::read_to_string(program.with_extension("arguments")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
