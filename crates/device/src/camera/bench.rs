//! Measures what a camera costs: from capture to the encoded frame, with the test scene, overlay and stamp.
//!
//! Belongs here: the two ways of measuring that `sightline bench encode` shows. Does not belong here: printing.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use media::{CaptureSource, Clock};

use super::{Camera, Drawing, Output, RETRY, Settings, Status};
use crate::encode::{self, Chosen, Preference};
use crate::overlay::{Color, Corner, Lines, Measured, Overlay, draw_stamp};
use crate::picture::Picture;
use crate::source::Taken;
use crate::source::test_pattern::{Pattern, Scene};

/// What is drawn while measuring: all there is.
const DRAWING: Drawing = Drawing {
    lines: Some(Corner::TopLeft),
    stamp: Some(Corner::TopRight),
};
/// Left out at the beginning: the encoder's first pictures and the rate control's settling.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long something took, over many pictures, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Mean.
    pub mean_us: u64,
    /// Median.
    pub p50_us: u64,
    /// 95th percentile.
    pub p95_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// What a camera running in real time showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Paced {
    /// The encoder, and why it.
    pub encoder: String,
    /// Frames measured.
    pub frames: u64,
    /// Pictures given up since the camera started.
    pub dropped: u64,
    /// Frames per second that came out.
    pub fps: f64,
    /// Bitrate that came out, in kb/s.
    pub kbps: f64,
    /// From the moment a picture is taken to having its frame: drawing the scene, the hand-over between the threads, overlay, stamp,
    /// encoder, SEI.
    pub capture_to_encoded: Spread,
}

/// What one picture costs when they follow each other without a pause.
#[derive(Clone, Debug, PartialEq)]
pub struct Unpaced {
    /// Pictures measured.
    pub pictures: u64,
    /// Drawing the test scene: what a camera's driver does otherwise.
    pub scene: Spread,
    /// Overlay and stamp.
    pub overlay: Spread,
    /// The encoder.
    pub encode: Spread,
    /// Bitrate that came out, in kb/s.
    pub kbps: f64,
}

/// Runs a camera for `duration` after a second of warming up.
pub fn paced(
    settings: encode::Settings,
    encoder: Preference,
    clock: &Arc<dyn Clock>,
    duration: Duration,
) -> std::io::Result<Paced> {
    let (to, output) = mpsc::channel();
    let at_sink = Arc::clone(clock);
    let name = Arc::new(Mutex::new(String::new()));
    let named = Arc::clone(&name);
    let sink = Box::new(move |output| match output {
        Output::Frame(frame) => {
            let _ = to.send((at_sink.wall().micros_since(frame.capture.at), frame.data.len()));
        }
        Output::Status(Status::Running { encoder, .. }) => {
            *named.lock().unwrap_or_else(PoisonError::into_inner) = encoder;
        }
        Output::Status(_) | Output::Track(_) => {}
    });
    let camera = Camera::start(
        Settings {
            name: "bench".to_owned(),
            source: Box::new(Pattern::Moving),
            encode: settings,
            encoder,
            drawing: DRAWING,
            zone: Arc::new(|_| 0),
            retry: RETRY,
            seed: 0,
            low: false,
        },
        Arc::clone(clock),
        sink,
    )?;
    thread::sleep(WARM_UP);
    output.try_iter().for_each(drop);
    let begun = clock.now();
    thread::sleep(duration);
    let frames: Vec<(i64, usize)> = output.try_iter().collect();
    let seconds = clock.now().saturating_duration_since(begun).as_secs_f64();
    let dropped = camera.handle().stats().dropped;
    camera.stop();
    let bytes: usize = frames.iter().map(|(_, bytes)| bytes).sum();
    let latencies = frames.iter().map(|(us, _)| u64::try_from(*us).unwrap_or(0));
    let encoder = name.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Paced {
        encoder,
        frames: frames.len() as u64,
        dropped,
        fps: frames.len() as f64 / seconds,
        kbps: bytes as f64 * 8.0 / 1_000.0 / seconds,
        capture_to_encoded: Spread::of(latencies.collect()),
    })
}

/// Encodes `pictures` one after the other as fast as it goes, on this thread, after a tenth as many to warm up.
pub fn unpaced(
    settings: encode::Settings,
    chosen: Chosen,
    clock: &dyn Clock,
    pictures: u64,
) -> Result<Unpaced, encode::Error> {
    let settings = settings.clamped();
    let impossible = || encode::Error::Refused {
        encoder: "the test scene".to_owned(),
        settings: settings.to_string(),
        why: "impossible size".to_owned(),
    };
    let mut scene = Scene::new(Pattern::Moving, settings.width, settings.height).ok_or_else(impossible)?;
    let mut picture = Picture::black(settings.width, settings.height).ok_or_else(impossible)?;
    let (to, encoded) = mpsc::channel();
    let output = Box::new(move |unit: encode::AccessUnit<'_>| {
        let _ = to.send(unit.nals.iter().map(|unit| unit.len() + 4).sum::<usize>());
    });
    let mut encoder = chosen.make(settings, output)?;
    let mut overlay = Overlay::new(Color::GREEN, Corner::TopLeft);
    let mut lines = Lines::default();
    let measured = Measured {
        fps: Some(settings.fps.as_f64()),
        latency_ms: Some(1.5),
    };
    let warm_up = pictures / 10;
    let mut times: [Vec<u64>; 3] = Default::default();
    let mut bytes = 0;
    for number in 0..warm_up + pictures {
        let begun = clock.now();
        scene.draw(&mut picture, settings.fps.due(number));
        let drawn = clock.now();
        let at = clock.wall();
        overlay.draw(&mut picture, lines.publisher(at, 0, measured));
        draw_stamp(&mut picture, Corner::TopRight, at);
        let stamped = clock.now();
        let source = CaptureSource::Camera;
        encoder.encode(&picture, Taken { at: stamped, source })?;
        // A child's picture is measured until it is out, too.
        let size = encoded.recv_timeout(Duration::from_secs(3)).unwrap_or(0);
        let done = clock.now();
        if number >= warm_up {
            bytes += size;
            for (times, spent) in times.iter_mut().zip([drawn - begun, stamped - drawn, done - stamped]) {
                times.push(u64::try_from(spent.as_micros()).unwrap_or(u64::MAX));
            }
        }
    }
    let [scene, overlay, encode] = times.map(Spread::of);
    let seconds = settings.fps.due(pictures).as_secs_f64();
    Ok(Unpaced {
        pictures,
        scene,
        overlay,
        encode,
        kbps: bytes as f64 * 8.0 / 1_000.0 / seconds,
    })
}

impl Spread {
    fn of(mut us: Vec<u64>) -> Self {
        us.sort_unstable();
        let Some(max_us) = us.last().copied() else {
            return Self::default();
        };
        let percentile = |part: usize| us.get(us.len() * part / 100).copied().unwrap_or(max_us);
        Self {
            mean_us: us.iter().sum::<u64>() / us.len() as u64,
            p50_us: percentile(50),
            p95_us: percentile(95),
            p99_us: percentile(99),
            max_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::clock::SystemClock;

    #[test]
    fn both_ways_measure_the_same_encoder() {
        let settings = encode::Settings::default();
        let unpaced = unpaced(settings, Chosen::OpenH264, &SystemClock, 30).unwrap();
        assert_eq!(unpaced.pictures, 30);
        assert!(unpaced.encode.p50_us > 100 && unpaced.encode.p50_us <= unpaced.encode.p95_us);
        assert!((200.0..2_000.0).contains(&unpaced.kbps), "{unpaced:?}");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let paced = paced(settings, Preference::OpenH264, &clock, Duration::from_secs(1)).unwrap();
        assert_eq!(paced.encoder, "openh264: as set");
        assert!((5..=32).contains(&paced.frames), "{paced:?}");
        assert!(paced.capture_to_encoded.p50_us > 100, "{paced:?}");
    }

    #[test]
    fn a_spread_of_nothing_is_zero() {
        assert_eq!(Spread::of(Vec::new()), Spread::default());
        let spread = Spread::of((1..=100).rev().collect());
        assert_eq!(
            (spread.mean_us, spread.p50_us, spread.p95_us, spread.max_us),
            (50, 51, 96, 100)
        );
    }
}
