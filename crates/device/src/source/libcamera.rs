//! `libcamera`: a Raspberry Pi's camera, through the program that comes with it (`rpicam-vid`, before 2024 `libcamera-vid`).
//!
//! Belongs here: finding the program, what it is told, reading what it delivers. Does not belong here: libcamera itself, which is C++ and changes
//! with every release; the camera's USB cousins ([`super::v4l2`]).
//!
//! With overlay or stamp it delivers raw pictures for our own encoder, else H.264 from the Pi's encoder (Pi 5: from x264 inside the program).
//! Options that the installed version does not know would end it, so its `--help` is asked first.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use media::Clock;

use super::exec::CodedChild;
use super::{Description, Error, Kind, Open, Opening, Source, Wanted, child};

mod raw;

use raw::RawChild;

/// The program under its two names, the present one first.
const PROGRAMS: [&str; 2] = ["rpicam-vid", "libcamera-vid"];
/// Options that every version we can use has in its help.
const NEEDED: [&str; 2] = ["--codec", "--inline"];
/// How long it may take to tell about itself. On a Pi Zero 2 asking for the cameras takes some two seconds.
const PATIENCE: Duration = Duration::from_secs(6);
/// Rows of raw pictures begin at multiples of 32 bytes (Pi 4) or 64 (Pi 5), chroma rows at half of that, and the program writes the gaps
/// without telling. A width that is a multiple has none.
const WIDTH_STEP: u32 = 64;
const HINT: &str =
    "check the cable, that the camera shows in \"rpicam-vid --list-cameras\", and that no other program uses it";

/// How the camera is set up. The defaults are those of the setups this replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The program; `None` looks for `rpicam-vid`, then `libcamera-vid`.
    pub program: Option<PathBuf>,
    /// Upside down, for cameras mounted that way.
    pub vflip: bool,
    /// Left for right.
    pub hflip: bool,
    /// Bitrate of its H.264, in kb/s. Below 100 the firmware's encoder hangs.
    pub bitrate_kbps: u32,
    /// Frames from keyframe to keyframe of its H.264.
    pub intra: u32,
    /// Pictures under way between sensor and program; each can be a frame of delay, too few cost pictures.
    pub buffer_count: u32,
    /// Further options for the program, such as `--autofocus-mode` `continuous`.
    pub arguments: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            program: None,
            vflip: true,
            hflip: false,
            bitrate_kbps: 2_000,
            intra: 15,
            buffer_count: 4,
            arguments: Vec::new(),
        }
    }
}

/// A camera that the program lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its number there.
    pub index: u8,
    /// The sensor: `imx708`.
    pub name: String,
}

/// A Raspberry Pi's camera, to be opened and reopened.
#[derive(Debug)]
pub struct Camera {
    index: u8,
    settings: Settings,
    /// Asked for its options once; it does not change while we run.
    program: Option<Program>,
}

/// The program and what its version knows.
#[derive(Clone, Debug)]
struct Program {
    path: PathBuf,
    help: String,
}

impl Camera {
    /// The camera of that number.
    pub fn new(index: u8, settings: Settings) -> Self {
        Self {
            index,
            settings,
            program: None,
        }
    }
}

impl Open for Camera {
    fn name(&self) -> String {
        format!("Raspberry Pi camera {}", self.index)
    }

    fn open(&mut self, with: &Opening) -> Result<Box<dyn Source>, Error> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => self
                .program
                .insert(Program::find(&self.settings, &*with.clock, &|| false)?)
                .clone(),
        };
        let wanted = &with.wanted;
        let (width, height) = size(wanted);
        let mut command = Command::new(&program.path);
        command.args(program.arguments(self.index, &self.settings, wanted));
        let name = program.name();
        let form = if wanted.raw { "raw" } else { "H.264" };
        let description = Description {
            text: format!("{} through {name}, {form} {width}×{height}@{}", self.name(), wanted.fps),
            kind: if wanted.raw { Kind::Raw } else { Kind::Coded },
            width,
            height,
            fps: wanted.fps,
        };
        if wanted.raw {
            let stamped = program.knows("--metadata-format");
            RawChild::start(&name, command, description, stamped, with)
                .map(|source| Box::new(source) as Box<dyn Source>)
        } else {
            CodedChild::start(&name, command, description, HINT, with).map(|source| Box::new(source) as Box<dyn Source>)
        }
    }
}

/// The cameras it lists; empty when there is none, or once `give_up` says yes. An error when the program is not there or does not answer.
pub fn list(settings: &Settings, clock: &dyn Clock, give_up: &dyn Fn() -> bool) -> Result<Vec<Info>, Error> {
    let program = Program::find(settings, clock, give_up)?;
    let arguments = ["--list-cameras"];
    let text = child::run(&program.name(), &program.path, &arguments, clock, PATIENCE, give_up)
        .map_err(|error| cannot_start(&program.path, &error))?;
    Ok(cameras(&text))
}

/// Reads the answer to `--list-cameras`: `0 : imx219 [3280x2464 10-bit RGGB] (/base/soc/…)`.
fn cameras(text: &str) -> Vec<Info> {
    let camera = |line: &str| {
        let (index, rest) = line.split_once(" : ")?;
        Some(Info {
            index: index.trim().parse().ok()?,
            name: rest.split_whitespace().next()?.chars().take(40).collect(),
        })
    };
    // Lines of modes hold that separator as well, but begin with a quoted format.
    text.lines().filter_map(camera).collect()
}

/// What is asked of it: an even size, and raw a width whose rows have no gaps.
fn size(wanted: &Wanted) -> (u32, u32) {
    let width = if wanted.raw {
        (wanted.width.saturating_add(WIDTH_STEP / 2) / WIDTH_STEP * WIDTH_STEP).max(WIDTH_STEP)
    } else {
        wanted.width & !1
    };
    (width, wanted.height & !1)
}

impl Program {
    fn find(settings: &Settings, clock: &dyn Clock, give_up: &dyn Fn() -> bool) -> Result<Self, Error> {
        let candidates: Vec<PathBuf> = match &settings.program {
            Some(path) => vec![path.clone()],
            None => PROGRAMS.iter().map(PathBuf::from).collect(),
        };
        let mut lacks = Vec::new();
        for path in &candidates {
            let help = child::run(&name_of(path), path, &["--help"], clock, PATIENCE, give_up)
                .map_err(|error| cannot_start(path, &error))?;
            let missing: Vec<&str> = NEEDED.into_iter().filter(|option| !help.contains(option)).collect();
            if missing.is_empty() {
                let path = path.clone();
                return Ok(Self { path, help });
            }
            // The shell's own words, where there is no such program, are no help text.
            if help.contains("--") {
                lacks.push(format!("{} lacks {}", path.display(), missing.join(" and ")));
            }
        }
        if !lacks.is_empty() {
            return Err(Error::lasting(
                "no Raspberry Pi camera",
                format!("{} in its --help", lacks.join(", ")),
                "update it: sudo apt install rpicam-apps; or choose another source",
            ));
        }
        let names: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
        Err(Error::lasting(
            "no Raspberry Pi camera",
            format!("{} does not run here", names.join(" or ")),
            "on a Raspberry Pi: sudo apt install rpicam-apps; elsewhere choose another source",
        ))
    }

    fn name(&self) -> String {
        name_of(&self.path)
    }

    /// Whether its help lists the option.
    fn knows(&self, option: &str) -> bool {
        let boundary = |c: char| c.is_whitespace() || matches!(c, '[' | ']' | ',');
        self.help.split(boundary).any(|word| word == option)
    }

    fn arguments(&self, index: u8, settings: &Settings, wanted: &Wanted) -> Vec<String> {
        let (width, height) = size(wanted);
        let mut list: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| list.extend(words.iter().map(|&word| word.to_owned()));
        add(&[
            "-t",
            "0",
            "-n",
            "--width",
            &width.to_string(),
            "--height",
            &height.to_string(),
        ]);
        let rate = format!("{:.3}", wanted.fps.as_f64());
        add(&["--framerate", rate.trim_end_matches('0').trim_end_matches('.')]);
        if index > 0 {
            add(&["--camera", &index.to_string()]);
        }
        if settings.vflip {
            add(&["--vflip"]);
        }
        if settings.hflip {
            add(&["--hflip"]);
        }
        if wanted.raw {
            add(&["--codec", "yuv420"]);
        } else {
            let bitrate = u64::from(settings.bitrate_kbps.max(100)) * 1_000;
            add(&[
                "--codec",
                "h264",
                "--bitrate",
                &bitrate.to_string(),
                "--profile",
                "baseline",
                "--level",
                "4.2",
            ]);
            add(&["--intra", &settings.intra.to_string(), "--inline"]);
        }
        // Not in every version, so only where the help has them.
        let buffers = settings.buffer_count.clamp(2, 16).to_string();
        let optional: [(&[&str], bool); 6] = [
            (&["--flush"], true),
            (&["--denoise", "cdn_off"], true),
            (&["--buffer-count", &buffers], true),
            (&["--no-raw"], true),
            // For x264 inside the program: without it several frames of delay and a B-frame.
            (&["--low-latency"], !wanted.raw),
            // Where x264 writes, it cannot tell the format from "-".
            (&["--libav-format", "h264"], !wanted.raw),
        ];
        for (words, applies) in optional {
            if applies && words.first().is_some_and(|option| self.knows(option)) {
                add(words);
            }
        }
        // One block of text a picture on its standard error, with the time of the sensor. Not with H.264: where x264 writes,
        // the program only ever collects them and grows.
        if wanted.raw && self.knows("--metadata-format") {
            add(&["--metadata", "/dev/stderr", "--metadata-format", "txt"]);
        }
        list.extend(settings.arguments.iter().cloned());
        list.extend(["-o", "-"].map(str::to_owned));
        list
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn cannot_start(path: &Path, error: &std::io::Error) -> Error {
    Error::retryable(format!("cannot run {}", path.display()), error.to_string(), HINT)
}

#[cfg(all(test, unix))]
mod tests;
