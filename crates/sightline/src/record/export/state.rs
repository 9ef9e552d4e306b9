//! What is known of an export, and the file that keeps it: JSON, written whole or not at all.
//!
//! ```text
//! ROOT/.exports/front door.mp4         an export
//! ROOT/.exports/.3.json                what is known of number 3
//! ROOT/.exports/.3.8f21….part          it, while it is written
//! ```

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use media::{StreamName, WallTime};
use serde::{Deserialize, Serialize};

use super::{MAX_EXPORTS, Wish};
use crate::files;
use crate::record::clock::from_unix_90k;
use crate::record::name;

/// What an export shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What was recorded, as it was.
    Clip,
    /// Its keyframes alone, so much faster, without sound.
    Timelapse {
        /// How much faster: [`super::SPEEDS`].
        speed: u32,
        /// Pictures a second at the most: [`super::RATES`].
        fps: u32,
    },
}

/// How far an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its turn will come.
    Queued,
    /// It is being made.
    Running,
    /// It is there.
    Done,
    /// It could not be made; [`Export::reason`] says why.
    Failed,
}

impl State {
    /// As programs read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Whether something is still to be done.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// Where an export ended before the end that was asked for, though more is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// Where it goes on, in ticks of 90 kHz of Unix time: another export can begin there.
    pub from_90k: i64,
    /// Why it is not in this file.
    pub why: String,
}

/// An export, made or to be made. Times are in ticks of 90 kHz of Unix time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Of this form: 1.
    pub(super) version: u32,
    /// Of all exports of a folder. None is given twice while the newest is there.
    pub number: u64,
    /// Whose recordings.
    #[serde(with = "by_name")]
    pub camera: StreamName,
    /// Its name in the folder, with `.mp4`.
    pub file: String,
    /// What was asked for.
    pub asked_90k: Range<i64>,
    /// How.
    pub kind: Kind,
    /// To the frame.
    pub is_exact: bool,
    /// Who asked.
    pub by: String,
    /// When, in microseconds of Unix time.
    pub made_us: i64,
    /// How far it is.
    pub state: State,
    /// While it is made: how much of it is.
    #[serde(skip)]
    pub percent: u8,
    /// Why it failed.
    pub reason: Option<String>,
    /// Its bytes, when it is done.
    pub bytes: u64,
    /// How long it plays.
    pub plays_90k: u64,
    /// From the first to the last that it shows.
    pub covers_90k: Option<Range<i64>>,
    /// What in between is missing: not recorded, or not there any more. The longest, where there are more than [`MAX_GAPS`].
    pub gaps_90k: Vec<Range<i64>>,
    /// Where many are told at once: gaps that are left out.
    #[serde(skip)]
    pub more_gaps: usize,
    /// What it does not hold though it was asked for and is recorded.
    pub rest: Option<Rest>,
    /// What is not as it was asked for, and why.
    pub note: Option<String>,
}

/// Gaps that are told of an export.
pub(super) const MAX_GAPS: usize = 1_000;

impl Export {
    pub(super) fn new(number: u64, file: String, wish: Wish, now: WallTime) -> Self {
        Self {
            version: VERSION,
            number,
            camera: wish.camera,
            file,
            asked_90k: wish.range_90k,
            kind: wish.kind,
            is_exact: wish.is_exact,
            by: wish.by,
            made_us: now.unix_micros(),
            state: State::Queued,
            percent: 0,
            reason: None,
            bytes: 0,
            plays_90k: 0,
            covers_90k: None,
            gaps_90k: Vec::new(),
            more_gaps: 0,
            rest: None,
            note: None,
        }
    }

    /// How programs name it.
    pub fn id(&self) -> String {
        format!("{}@{}", self.camera, self.number)
    }
}

/// A stream's name as text.
mod by_name {
    use media::StreamName;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(name: &StreamName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StreamName, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// What a file may be called, the first that nobody has: the name that was given, or camera and local time.
pub(super) fn names(wish: &Wish, zone: &jiff::tz::TimeZone) -> impl Iterator<Item = String> + use<> {
    let stem = match &wish.name {
        Some(name) => name.stem().to_owned(),
        None => {
            let camera = wish.camera.as_str().replace(['/', '~'], "_");
            let local = name::stem_of(from_unix_90k(wish.range_90k.start), zone);
            let local = local.trim_start_matches("segment_").to_owned();
            let kind = match wish.kind {
                Kind::Clip => String::new(),
                Kind::Timelapse { speed, .. } => format!("_x{speed}"),
            };
            format!("{camera}_{local}{kind}")
        }
    };
    (1..=MAX_NAMES).map(move |number| match number {
        1 => format!("{stem}.mp4"),
        _ => format!("{stem}_{number}.mp4"),
    })
}

/// Keeps what is known of an export: durable when this returns.
pub(super) fn write(folder: &Path, export: &Export) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => files::sync_folder(folder)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let text = serde_json::to_vec_pretty(export).map_err(io::Error::other)?;
    files::replace(&folder.join(told(export.number)), &text, |_| Ok(()))
}

/// Removes an export and what is known of it. What is not there is removed already.
pub(super) fn remove(folder: &Path, export: &Export) -> io::Result<()> {
    // What tells of it last: a file that nothing tells of would stay for ever.
    for name in [export.file.clone(), told(export.number)] {
        remove_file(&folder.join(name))?;
    }
    files::sync_folder(&folder.join("."))
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// All exports of a folder, as they are after a start: what was being made is to be made again, and what of it is there is swept. What is known of an export and cannot be
/// read stays where it is, and is passed over.
pub(super) fn read(folder: &Path) -> io::Result<Vec<Export>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut exports = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // What [`files::replace`] had not renamed yet is called by what it replaces, with a dot in front.
        let is_half_told = name.starts_with("..") && name.contains(".json.");
        if is_half_told || (name.starts_with('.') && name.ends_with(PART)) {
            remove_file(&path)?;
            continue;
        }
        let number = name.strip_prefix('.').and_then(|name| name.strip_suffix(".json"));
        let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else {
            continue;
        };
        match known(&path, number) {
            Ok(export) => exports.push(export),
            Err(why) => {
                tracing::warn!(path = %path.display(), reason = why, "what is known of an export cannot be read; it is left as it is");
            }
        }
    }
    for export in &mut exports {
        begin_anew(folder, export)?;
    }
    exports.sort_by_key(|export| export.number);
    exports.truncate(MAX_EXPORTS);
    Ok(exports)
}

/// Where it was broken off.
fn begin_anew(folder: &Path, export: &mut Export) -> io::Result<()> {
    match export.state {
        State::Running => {
            // Its last name may have been given already, but not told yet.
            remove_file(&folder.join(&export.file))?;
            export.state = State::Queued;
        }
        State::Done if !folder.join(&export.file).is_file() => {
            export.state = State::Failed;
            export.bytes = 0;
            export.reason = Some("its file was removed from the folder".to_owned());
        }
        State::Queued | State::Done | State::Failed => {}
    }
    Ok(())
}

fn known(path: &Path, number: u64) -> Result<Export, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MAX_BYTES {
        return Err(format!("it has {length} bytes, at most {MAX_BYTES} are written"));
    }
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let export: Export = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if export.version != VERSION || export.number != number {
        return Err(format!(
            "it is of version {} and number {}",
            export.version, export.number
        ));
    }
    match is_name(&export.file) {
        true => Ok(export),
        false => Err("it names another file than one of its folder".to_owned()),
    }
}

/// Whether it is a file of the folder, and none that tells of others. Longer than what may be given as a name: a number may stand behind that, and a stream's name and a time may make one up.
fn is_name(file: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\');
    file.ends_with(EXTENSION) && !file.starts_with('.') && file.len() <= MAX_NAME_BYTES && file.chars().all(is_plain)
}

pub(super) fn told(number: u64) -> String {
    format!(".{number}.json")
}

/// What an export is called while it is written; by another number each time, so that no process renames what another writes.
pub(super) fn part(number: u64, random: u64) -> String {
    format!(".{number}.{random:016x}{PART}")
}

/// Names that are tried for a file: more than there are exports.
pub(super) const MAX_NAMES: usize = 2 * MAX_EXPORTS;
const EXTENSION: &str = ".mp4";
/// What common file systems take.
const MAX_NAME_BYTES: usize = 255;
const PART: &str = ".part";
const VERSION: u32 = 1;
/// 1,000 gaps take 60 KB.
const MAX_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn export(number: u64, file: &str, state: State) -> Export {
        let wish = Wish {
            camera: "house/door".parse().unwrap(),
            range_90k: 90_000..180_000,
            name: None,
            kind: Kind::Clip,
            is_exact: true,
            by: "anna".to_owned(),
        };
        let made = Export::new(number, file.to_owned(), wish, WallTime::from_unix_micros(5));
        Export { state, ..made }
    }

    #[test]
    fn what_is_known_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join(".exports");
        assert_eq!(read(&folder).unwrap(), []);
        let (one, two) = (
            export(1, "a.mp4", State::Queued),
            Export {
                covers_90k: Some(5..7),
                gaps_90k: vec![6..7, 8..9],
                rest: Some(Rest {
                    from_90k: 9,
                    why: "so".to_owned(),
                }),
                ..export(2, "b.mp4", State::Failed)
            },
        );
        write(&folder, &two).unwrap();
        write(&folder, &one).unwrap();
        assert_eq!(read(&folder).unwrap(), [one.clone(), two.clone()]);
        remove(&folder, &one).unwrap();
        remove(&folder, &one).unwrap();
        assert_eq!(read(&folder).unwrap(), [two]);
    }

    #[test]
    fn what_a_kill_left_is_swept_and_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, &export(1, "a.mp4", State::Running)).unwrap();
        write(folder, &export(2, "b.mp4", State::Done)).unwrap();
        write(folder, &export(3, "c.mp4", State::Done)).unwrap();
        for name in [
            "a.mp4",
            "b.mp4",
            "somebody's.txt",
            "..2.json.4711",
            &part(1, 7),
            &part(9, 1),
        ] {
            fs::write(folder.join(name), "x").unwrap();
        }
        let states: Vec<State> = read(folder).unwrap().iter().map(|export| export.state).collect();
        assert_eq!(states, [State::Queued, State::Done, State::Failed]);
        let mut left: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [".1.json", ".2.json", ".3.json", "b.mp4", "somebody's.txt"]);
    }

    /// A name may have 200 bytes, and a number behind that.
    #[test]
    fn the_longest_names_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let wish = |name: Option<String>| Wish {
            camera: "c".repeat(100).parse().unwrap(),
            range_90k: 90_000..180_000,
            name: name.map(|name| name.parse().unwrap()),
            kind: Kind::Timelapse { speed: 10_000, fps: 60 },
            is_exact: true,
            by: "anna".to_owned(),
        };
        let zone = jiff::tz::TimeZone::UTC;
        let mut number = 0;
        for wish in [wish(Some("n".repeat(200))), wish(Some("ä".repeat(100))), wish(None)] {
            let files: Vec<String> = names(&wish, &zone).collect();
            for file in [&files[0], &files[1], &files[MAX_NAMES - 1]] {
                number += 1;
                let export = Export::new(number, file.clone(), wish.clone(), WallTime::from_unix_micros(5));
                fs::write(folder.join(file), "x").unwrap();
                let done = Export {
                    state: State::Done,
                    ..export
                };
                write(folder, &done).unwrap();
            }
        }
        let read = read(folder).unwrap();
        assert_eq!(read.len(), 9);
        assert!(read.iter().all(|export| export.state == State::Done), "{read:?}");
    }

    /// No file of these leads out of the folder, or keeps a start from what else there is.
    #[test]
    fn what_cannot_be_believed_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, &export(1, "a.mp4", State::Queued)).unwrap();
        let good = fs::read_to_string(folder.join(".1.json")).unwrap();
        for (number, text) in [
            (2, good.clone()),
            (
                3,
                good.replace("\"number\": 1", "\"number\": 3")
                    .replace("a.mp4", "../a.mp4"),
            ),
            (
                4,
                good.replace("\"number\": 1", "\"number\": 4")
                    .replace("\"version\": 1", "\"version\": 2"),
            ),
            (
                5,
                good.replace("\"number\": 1", "\"number\": 5")
                    .replace("house/door", "../door"),
            ),
            (6, "{".to_owned()),
            (7, " ".repeat(2 << 20)),
        ] {
            fs::write(folder.join(told(number)), text).unwrap();
        }
        let read: Vec<u64> = read(folder).unwrap().iter().map(|export| export.number).collect();
        assert_eq!(read, [1]);
    }

    #[test]
    fn names_are_of_camera_and_time_or_given() {
        let made = export(1, "", State::Queued);
        let wish = |name: Option<&str>, kind| Wish {
            camera: made.camera.clone(),
            range_90k: 1_795_348_800 * 90_000..1_795_348_810 * 90_000,
            name: name.map(|name| name.parse().unwrap()),
            kind,
            is_exact: false,
            by: String::new(),
        };
        let first = |wish: &Wish| names(wish, &jiff::tz::TimeZone::UTC).take(2).collect::<Vec<_>>();
        assert_eq!(
            first(&wish(None, Kind::Clip)),
            ["house_door_20261122_120000.mp4", "house_door_20261122_120000_2.mp4"]
        );
        assert_eq!(
            first(&wish(None, Kind::Timelapse { speed: 60, fps: 30 }))[0],
            "house_door_20261122_120000_x60.mp4"
        );
        assert_eq!(
            first(&wish(Some("who rang.MP4"), Kind::Clip)),
            ["who rang.mp4", "who rang_2.mp4"]
        );
    }
}
