//! Which encoder to use, and why.
//!
//! Belongs here: trying encoders out with real pictures, and the rule that compares what was measured. Nothing is believed by its
//! name: that FFmpeg lists an encoder, or that a device is there, only makes it worth trying.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use media::h264::{self, nal};
use media::{CaptureSource, Clock};

use super::ffmpeg::{self, Codec, Ffmpeg, UnknownCodec};
use super::{Encoder, Error, OpenH264, Output, Settings};
use crate::picture::Picture;
use crate::source::Taken;
use crate::source::test_pattern::{Pattern, Scene};

/// What somebody wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Preference {
    /// Hardware where it is there, works and is better; else openh264.
    #[default]
    Auto,
    /// The linked encoder.
    OpenH264,
    /// One of FFmpeg's; openh264 where it does not work.
    Ffmpeg(Codec),
}

/// An encoder that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The linked encoder.
    OpenH264,
    /// One of FFmpeg's.
    Ffmpeg(Codec),
}

/// What came of a trial.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Measured {
    /// From handing over a picture to having it encoded, median, while pictures come at their rate ([`SLOWEST`] at the least).
    latency: Duration,
}

/// Pictures of a trial: the first few only warm up.
const TRIAL_PICTURES: u64 = 12;
const WARM_UP: usize = 4;
/// They come at the stream's rate, since hardware that rests between pictures answers later than hardware that is kept busy; but not more
/// seldom than this.
const SLOWEST: Duration = Duration::from_millis(50);
/// How long FFmpeg and its hundred libraries may take to come from a slow card the first time.
const COLD_START: Duration = Duration::from_secs(15);
/// How long the first picture of a trial may take: hardware has to be set up.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// And each one after it.
const NEXT_WITHIN: Duration = Duration::from_secs(2);
/// An encoder that needs more of the time between two pictures cannot keep up when the machine has other things to do.
const SUSTAINABLE: f64 = 0.6;
/// How long something is waited for before looking whether the trial is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Chosen {
    /// Makes it.
    pub fn make(self, settings: Settings, output: Output) -> Result<Box<dyn Encoder>, Error> {
        Ok(match self {
            Self::OpenH264 => Box::new(OpenH264::new(settings, output)?),
            Self::Ffmpeg(codec) => Box::new(Ffmpeg::new(codec, settings, output)?),
        })
    }
}

/// Chooses an encoder for pictures like `settings`, and says why in a sentence for people. Takes as long as trying out what is
/// there: no time where nothing is, up to some seconds for hardware that hangs. `give_up` is asked now and then; once it says yes, the
/// answer is openh264.
pub fn choose(
    preference: Preference,
    settings: &Settings,
    clock: &dyn Clock,
    give_up: &dyn Fn() -> bool,
) -> (Chosen, String) {
    let candidates = candidates(preference);
    if candidates.is_empty() {
        let why = match preference {
            Preference::OpenH264 => "as set",
            _ => "no hardware encoder found",
        };
        return (Chosen::OpenH264, why.to_owned());
    }
    wake(clock, give_up);
    let trials: Vec<(Codec, Result<Measured, String>)> = candidates
        .into_iter()
        .map(|codec| (codec, try_out(Chosen::Ffmpeg(codec), settings, clock, give_up)))
        .collect();
    if give_up() {
        return (Chosen::OpenH264, "the trial of others was given up".to_owned());
    }
    if let (Preference::Ffmpeg(_), [(codec, trial)]) = (preference, &trials[..]) {
        return match trial {
            Ok(measured) => (Chosen::Ffmpeg(*codec), format!("as set; {measured} a picture")),
            Err(why) => (Chosen::OpenH264, format!("{codec} does not work here: {why}")),
        };
    }
    let linked = try_out(Chosen::OpenH264, settings, clock, give_up);
    decide(linked, &trials, settings.fps.interval())
}

/// Whether [`choose`] has anything to try: whether it may take its time.
pub fn has_choice(preference: Preference) -> bool {
    !candidates(preference).is_empty()
}

/// What is worth trying.
fn candidates(preference: Preference) -> Vec<Codec> {
    match preference {
        Preference::OpenH264 => Vec::new(),
        Preference::Ffmpeg(codec) => vec![codec],
        Preference::Auto => Codec::ALL.into_iter().filter(|codec| may_be_there(*codec)).collect(),
    }
}

/// Whether there is a device that such an encoder needs. Trying without one would only cost time.
fn may_be_there(codec: Codec) -> bool {
    let exists = |path: &str| Path::new(path).exists();
    match codec {
        Codec::V4l2M2m => (10..32).any(|number| exists(&format!("/dev/video{number}"))),
        Codec::Nvenc => exists("/dev/nvidia0"),
        Codec::Qsv | Codec::Vaapi => exists("/dev/dri/renderD128"),
        // Software has to be asked for: it gains nothing over openh264 but quality.
        Codec::X264 => false,
    }
}

/// The rule. Lower latency wins; where openh264 cannot keep up, any hardware that can.
fn decide(
    linked: Result<Measured, String>,
    trials: &[(Codec, Result<Measured, String>)],
    interval: Duration,
) -> (Chosen, String) {
    let worked = trials
        .iter()
        .filter_map(|(codec, trial)| Some((*codec, (*trial.as_ref().ok()?))));
    let best = worked.min_by_key(|(_, measured)| measured.latency);
    let keeps_up = |measured: Measured| measured.latency.as_secs_f64() < interval.as_secs_f64() * SUSTAINABLE;
    match (linked, best) {
        (_, None) => {
            let reasons: Vec<String> = trials
                .iter()
                .filter_map(|(codec, trial)| Some(format!("{codec}: {}", trial.as_ref().err()?)))
                .collect();
            (
                Chosen::OpenH264,
                format!("no hardware encoder works ({})", reasons.join("; ")),
            )
        }
        (Err(why), Some((codec, measured))) => (
            Chosen::Ffmpeg(codec),
            format!("{measured} a picture; openh264 does not do: {why}"),
        ),
        (Ok(linked), Some((codec, measured))) if measured.latency < linked.latency => (
            Chosen::Ffmpeg(codec),
            format!("{measured} a picture, openh264 takes {linked}"),
        ),
        (Ok(linked), Some((codec, measured))) if !keeps_up(linked) && measured.latency < interval * 2 => (
            Chosen::Ffmpeg(codec),
            format!("{measured} a picture; openh264 takes {linked} and cannot keep up"),
        ),
        (Ok(linked), Some((codec, measured))) => (
            Chosen::OpenH264,
            format!("{linked} a picture, {codec} takes {measured}"),
        ),
    }
}

/// Has FFmpeg's files read before trials that go by time. What is wrong with it, they will say.
fn wake(clock: &dyn Clock, give_up: &dyn Fn() -> bool) {
    let Ok(mut program) = ffmpeg::wake() else { return };
    let until = clock.now() + COLD_START;
    while clock.now() < until && !give_up() && matches!(program.try_wait(), Ok(None)) {
        thread::sleep(LOOK_EVERY);
    }
    // Where it has ended, neither does anything.
    let _ = program.kill();
    let _ = program.wait();
}

/// Encodes some pictures at their rate and measures how long each takes to come out.
fn try_out(
    chosen: Chosen,
    settings: &Settings,
    clock: &dyn Clock,
    give_up: &dyn Fn() -> bool,
) -> Result<Measured, String> {
    let mut scene = Scene::new(Pattern::Moving, settings.width, settings.height).ok_or("impossible size")?;
    let mut picture = Picture::black(settings.width, settings.height).ok_or("impossible size")?;
    let (to, encoded) = mpsc::channel();
    let output = Box::new(move |unit: super::AccessUnit<'_>| {
        let has = |wanted| unit.nals.iter().any(|nal| h264::unit_type(nal) == wanted);
        let starts = unit.keyframe && has(nal::SPS) && has(nal::PPS);
        let _ = to.send((unit.taken.at, starts));
    });
    let mut encoder = chosen.make(*settings, output).map_err(|error| error.to_string())?;
    let mut latencies = Vec::new();
    let interval = settings.fps.interval().min(SLOWEST);
    let mut due = clock.now();
    for number in 0..TRIAL_PICTURES {
        rest(clock, due, give_up)?;
        scene.draw(&mut picture, settings.fps.due(number));
        let (at, source) = (clock.now(), CaptureSource::Camera);
        encoder
            .encode(&picture, Taken { at, source })
            .map_err(|error| error.to_string())?;
        let patience = if number == 0 { FIRST_WITHIN } else { NEXT_WITHIN };
        let (out, starts) = wait(&encoded, clock, at + patience, give_up)?;
        if out != at {
            return Err("it holds pictures back".to_owned());
        }
        if number == 0 && !starts {
            return Err("its first picture is no keyframe with parameter sets".to_owned());
        }
        latencies.push(clock.now().saturating_duration_since(at));
        due = at + interval;
    }
    let mut steady = latencies.split_off(WARM_UP);
    steady.sort_unstable();
    let latency = steady.get(steady.len() / 2).copied().unwrap_or_default();
    Ok(Measured { latency })
}

/// Waits until the next picture is due.
fn rest(clock: &dyn Clock, due: Instant, give_up: &dyn Fn() -> bool) -> Result<(), String> {
    loop {
        let left = due.saturating_duration_since(clock.now());
        if left.is_zero() {
            return Ok(());
        }
        if give_up() {
            return Err("given up".to_owned());
        }
        thread::sleep(left.min(LOOK_EVERY));
    }
}

/// The next encoded picture: when it was taken, whether a stream can start with it.
fn wait(
    encoded: &mpsc::Receiver<(Instant, bool)>,
    clock: &dyn Clock,
    until: Instant,
    give_up: &dyn Fn() -> bool,
) -> Result<(Instant, bool), String> {
    loop {
        match encoded.recv_timeout(LOOK_EVERY) {
            Ok(picture) => return Ok(picture),
            Err(RecvTimeoutError::Disconnected) => return Err("it ended".to_owned()),
            Err(RecvTimeoutError::Timeout) if give_up() => return Err("given up".to_owned()),
            Err(RecvTimeoutError::Timeout) if clock.now() >= until => {
                return Err("no picture came out in time".to_owned());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.latency.as_secs_f64() * 1_000.0)
    }
}

impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::OpenH264 => f.write_str("openh264"),
            Self::Ffmpeg(codec) => codec.fmt(f),
        }
    }
}

impl FromStr for Preference {
    type Err = UnknownCodec;

    fn from_str(text: &str) -> Result<Self, UnknownCodec> {
        match text {
            "auto" => Ok(Self::Auto),
            "openh264" => Ok(Self::OpenH264),
            other => other.parse().map(Self::Ffmpeg),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::clock::SystemClock;

    fn ms(ms: u64) -> Measured {
        Measured {
            latency: Duration::from_millis(ms),
        }
    }

    fn decided(linked: Result<Measured, String>, trials: &[(Codec, Result<Measured, String>)]) -> (Chosen, String) {
        decide(linked, trials, Duration::from_millis(33))
    }

    #[test]
    fn the_faster_one_wins_and_says_why() {
        let hardware = [
            (Codec::Vaapi, Ok(ms(6))),
            (Codec::Nvenc, Ok(ms(4))),
            (Codec::Qsv, Err("no".to_owned())),
        ];
        assert_eq!(
            decided(Ok(ms(1)), &hardware),
            (Chosen::OpenH264, "1.0 ms a picture, h264_nvenc takes 4.0 ms".to_owned())
        );
        assert_eq!(
            decided(Ok(ms(9)), &hardware),
            (
                Chosen::Ffmpeg(Codec::Nvenc),
                "4.0 ms a picture, openh264 takes 9.0 ms".to_owned()
            )
        );
    }

    #[test]
    fn hardware_helps_where_software_cannot_keep_up() {
        let slow = [(Codec::V4l2M2m, Ok(ms(40)))];
        assert_eq!(
            decided(Ok(ms(25)), &slow).1,
            "40.0 ms a picture; openh264 takes 25.0 ms and cannot keep up"
        );
        assert_eq!(decided(Ok(ms(15)), &slow).0, Chosen::OpenH264);
        assert_eq!(
            decided(Err("too large".to_owned()), &slow).0,
            Chosen::Ffmpeg(Codec::V4l2M2m)
        );
    }

    #[test]
    fn what_does_not_work_is_named() {
        let broken = [
            (Codec::Vaapi, Err("no such device".to_owned())),
            (Codec::Qsv, Err("it ended".to_owned())),
        ];
        assert_eq!(
            decided(Ok(ms(25)), &broken),
            (
                Chosen::OpenH264,
                "no hardware encoder works (h264_vaapi: no such device; h264_qsv: it ended)".to_owned()
            )
        );
    }

    #[test]
    fn x264_is_tried_for_real() {
        let settings = Settings::default();
        let (chosen, why) = choose(Preference::Ffmpeg(Codec::X264), &settings, &SystemClock, &|| false);
        assert_eq!(chosen, Chosen::Ffmpeg(Codec::X264), "{why}; is ffmpeg installed?");
        println!("libx264: {why}");
        assert!(why.starts_with("as set; ") && why.ends_with(" ms a picture"), "{why}");
    }

    #[test]
    fn an_encoder_without_its_device_does_not_pass() {
        if may_be_there(Codec::Nvenc) {
            return;
        }
        let settings = Settings::default();
        let (chosen, why) = choose(Preference::Ffmpeg(Codec::Nvenc), &settings, &SystemClock, &|| false);
        assert_eq!(chosen, Chosen::OpenH264);
        assert!(why.starts_with("h264_nvenc does not work here: "), "{why}");
    }

    #[test]
    fn a_trial_can_be_given_up() {
        let settings = Settings::default();
        let (chosen, why) = choose(Preference::Ffmpeg(Codec::X264), &settings, &SystemClock, &|| true);
        assert_eq!(
            (chosen, why.as_str()),
            (Chosen::OpenH264, "the trial of others was given up")
        );
    }

    #[test]
    fn preferences_are_written_as_they_are_read() {
        for text in ["auto", "openh264", "h264_vaapi", "libx264"] {
            assert_eq!(text.parse::<Preference>().unwrap().to_string(), text);
        }
        assert!("x265".parse::<Preference>().is_err());
    }
}
