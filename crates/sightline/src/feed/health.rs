//! What is wrong, in words and codes: one list for tiles, bell and status bar, so that they cannot disagree.
//!
//! Belongs here: when something is wrong. Pure. Does not belong here: who is told ([`super::board`]), how it is measured ([`super::sampler`]).

use std::collections::BTreeMap;
use std::time::Duration;

use media::{StreamName, WallTime};

use super::sample::Sample;

/// More than this part of the pictures of a minute that did not come through.
const DROPPED: f64 = 0.01;
/// Less than this part of the pictures a second that an hour had.
const SLOW: f64 = 0.8;
/// Keyframes that are further apart make newcomers wait.
const KEYFRAMES: Duration = Duration::from_secs(10);
/// A minute with fewer pictures says nothing about parts of a hundred.
const ENOUGH_PICTURES: f64 = 100.0;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// Nothing comes, or is recorded.
    Bad,
    /// Less than there should be.
    Poor,
}

impl Grade {
    /// In a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Poor => "poor",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// With which stream; `None`: with the machine.
    pub(crate) of: Option<StreamName>,
    /// How bad.
    pub(crate) grade: Grade,
    /// In a word that stays the same.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) text: String,
    /// Since when.
    pub(crate) since: WallTime,
}

/// What is known of a stream besides the second that just was.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Known {
    /// It has a publisher; `None`: it was never here.
    pub(crate) is_live: Option<bool>,
    /// Of a source that waits or failed: which, and what is wrong, for viewers.
    pub(crate) source: Option<(&'static str, String)>,
    /// Why its recording is paused.
    pub(crate) paused: Option<String>,
    /// Of the last minute: pictures, and those that were left out.
    pub(crate) minute: Option<(f64, f64)>,
    /// Pictures a second over the last hour, or as much of it as it was looked at, at least some minutes.
    pub(crate) hour_fps: Option<f64>,
    /// The longest of its last distances between keyframes.
    pub(crate) keyframes: Option<Duration>,
}

/// What is known of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Why nothing is recorded there.
    pub(crate) trouble: Option<(&'static str, String)>,
}

/// All that is wrong now, the worst first, then by name. What was wrong before keeps its time.
pub(crate) fn health(
    sample: &Sample,
    streams: &BTreeMap<StreamName, Known>,
    disks: &[Disk],
    before: &[Reason],
) -> Vec<Reason> {
    let mut found = Vec::new();
    let mut tell = |of: Option<&StreamName>, grade, code, text: String| {
        let held = before.iter().find(|held| held.of.as_ref() == of && held.code == code);
        found.push(Reason {
            of: of.cloned(),
            grade,
            code,
            text,
            since: held.map_or(sample.at, |held| held.since),
        });
    };
    for (name, known) in streams {
        let fps = sample.cameras.get(name).map(|figures| figures[0]);
        of_stream(known, fps, |grade, code, text| tell(Some(name), grade, code, text));
    }
    for (code, why) in disks.iter().filter_map(|disk| disk.trouble.clone()) {
        tell(None, Grade::Bad, code, why);
    }
    if sample.system[5] > 0.0 {
        let text = "the machine is throttled: it is too hot, or its power supply too weak".to_owned();
        tell(None, Grade::Poor, "throttled", text);
    }
    found.sort_by(|a, b| (a.grade, &a.of, a.code).cmp(&(b.grade, &b.of, b.code)));
    found
}

fn of_stream(known: &Known, fps: Option<f64>, mut tell: impl FnMut(Grade, &'static str, String)) {
    match &known.source {
        Some(("failed", why)) => tell(Grade::Bad, "source-failed", why.clone()),
        Some((_, why)) => tell(Grade::Bad, "source-waits", why.clone()),
        None if known.is_live == Some(false) => tell(Grade::Bad, "offline", "nobody publishes it".to_owned()),
        None => {}
    }
    if let Some(why) = &known.paused {
        tell(
            Grade::Bad,
            "recording-paused",
            format!("its recording is paused: {why}"),
        );
    }
    if known.is_live != Some(true) {
        return;
    }
    if let Some((pictures, dropped)) = known.minute
        && pictures + dropped >= ENOUGH_PICTURES
        && dropped > DROPPED * (pictures + dropped)
    {
        let percent = 100.0 * dropped / (pictures + dropped);
        tell(
            Grade::Poor,
            "dropped",
            format!("{percent:.1} % of its pictures were lost within a minute"),
        );
    }
    match (fps, known.hour_fps) {
        (Some(0.0), Some(usual)) if usual > 1.0 => {
            tell(Grade::Bad, "no-pictures", "no picture has come for a second".to_owned());
        }
        (Some(fps), Some(usual)) if fps < SLOW * usual => {
            let text = format!("{fps:.1} pictures a second come, where {usual:.1} are usual");
            tell(Grade::Poor, "slow", text);
        }
        _ => {}
    }
    if let Some(distance) = known.keyframes.filter(|distance| *distance > KEYFRAMES) {
        let text = format!(
            "its keyframes are {} s apart: whoever comes waits for one",
            distance.as_secs()
        );
        tell(Grade::Poor, "keyframes", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::sample::UNKNOWN;

    fn door() -> StreamName {
        "door".parse().unwrap()
    }

    fn codes(fps: f64, known: Known) -> Vec<(&'static str, Grade)> {
        let mut sample = Sample::empty(WallTime::from_unix_micros(0));
        let mut figures = UNKNOWN;
        figures[0] = fps;
        sample.cameras.insert(door(), figures);
        let streams = BTreeMap::from([(door(), known)]);
        let found = health(&sample, &streams, &[], &[]);
        found.iter().map(|reason| (reason.code, reason.grade)).collect()
    }

    fn live() -> Known {
        Known {
            is_live: Some(true),
            minute: Some((1_800.0, 0.0)),
            hour_fps: Some(30.0),
            keyframes: Some(Duration::from_secs(2)),
            ..Known::default()
        }
    }

    #[test]
    fn each_reason_begins_where_it_is_said_to() {
        assert_eq!(codes(30.0, live()), []);
        assert_eq!(codes(f64::NAN, Known::default()), [], "what is not known is no reason");
        let with = |change: fn(&mut Known)| {
            let mut known = live();
            change(&mut known);
            codes(30.0, known)
        };
        assert_eq!(with(|known| known.minute = Some((990.0, 10.0))), []);
        assert_eq!(
            with(|known| known.minute = Some((989.0, 11.0))),
            [("dropped", Grade::Poor)]
        );
        assert_eq!(with(|known| known.minute = Some((60.0, 30.0))), [], "too few to tell");
        assert_eq!(codes(24.0, live()), []);
        assert_eq!(codes(23.9, live()), [("slow", Grade::Poor)]);
        assert_eq!(codes(0.0, live()), [("no-pictures", Grade::Bad)]);
        assert_eq!(with(|known| known.keyframes = Some(Duration::from_secs(10))), []);
        assert_eq!(
            with(|known| known.keyframes = Some(Duration::from_millis(10_001))),
            [("keyframes", Grade::Poor)]
        );
        assert_eq!(
            with(|known| known.paused = Some("full".to_owned())),
            [("recording-paused", Grade::Bad)]
        );
        assert_eq!(with(|known| known.is_live = Some(false)), [("offline", Grade::Bad)]);
        assert_eq!(
            with(|known| known.source = Some(("waiting", "away".to_owned()))),
            [("source-waits", Grade::Bad)]
        );
        assert_eq!(
            with(|known| known.source = Some(("failed", "login".to_owned()))),
            [("source-failed", Grade::Bad)]
        );
    }

    #[test]
    fn the_worst_is_first_and_what_holds_on_keeps_its_time() {
        let at = |s: i64| WallTime::from_unix_micros(s * 1_000_000);
        let mut sample = Sample::empty(at(10));
        sample.system[5] = 1.0;
        let disks = [Disk {
            trouble: Some(("disk-away", "the disk is away".to_owned())),
        }];
        let first = health(&sample, &BTreeMap::new(), &disks, &[]);
        assert_eq!(
            first.iter().map(|reason| reason.code).collect::<Vec<_>>(),
            ["disk-away", "throttled"]
        );
        sample.at = at(20);
        let later = health(&sample, &BTreeMap::new(), &disks, &first);
        assert!(later.iter().all(|reason| reason.since == at(10)));
        let gone = health(&sample, &BTreeMap::new(), &[], &later[..1]);
        assert_eq!((gone[0].code, gone[0].since), ("throttled", at(20)));
    }
}
