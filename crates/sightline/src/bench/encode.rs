//! `sightline bench encode`: what a camera of a size costs on this machine.
//!
//! Belongs here: the figures as people and programs read them. Does not belong here: how they are taken (`device::camera::bench`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use device::camera::bench::{Paced, Spread, Unpaced, paced, unpaced};
use device::encode::{self, Chosen, Preference};
use media::Clock;
use serde::Serialize;

/// Pictures measured one after the other without a pause.
const UNPACED_PICTURES: u64 = 300;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Size, rate and bitrate asked for.
    pub settings: String,
    /// The encoder of the real-time run, and why it.
    pub encoder: String,
    /// Frames of that run.
    pub frames: u64,
    /// Pictures given up in it.
    pub dropped: u64,
    /// Frames per second that came out.
    pub fps: f64,
    /// Bitrate that came out.
    pub kbps: f64,
    /// In real time: from the moment a picture is taken to its encoded frame.
    pub capture_to_encoded: Milliseconds,
    /// As fast as possible, with the built-in encoder: lines and stamp.
    pub overlay: Milliseconds,
    /// As fast as possible: the built-in encoder alone.
    pub encode: Milliseconds,
}

/// A spread in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Milliseconds {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl From<Spread> for Milliseconds {
    fn from(spread: Spread) -> Self {
        let ms = |micros: u64| micros as f64 / 1_000.0;
        Self {
            p50: ms(spread.p50_us),
            p95: ms(spread.p95_us),
            p99: ms(spread.p99_us),
            max: ms(spread.max_us),
        }
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No thread, or no pictures.
    #[error("cannot run a camera: {0}")]
    Camera(#[from] std::io::Error),
    /// The encoder does not take the settings.
    #[error(transparent)]
    Encode(#[from] encode::Error),
}

/// Measures for `duration` in real time, after some seconds as fast as possible. Blocks.
///
/// # Errors
/// [`Error`].
pub fn run(
    settings: encode::Settings,
    encoder: Preference,
    duration: Duration,
    clock: &Arc<dyn Clock>,
) -> Result<Report, Error> {
    let Unpaced { overlay, encode, .. } = unpaced(settings, Chosen::OpenH264, clock.as_ref(), UNPACED_PICTURES)?;
    let Paced {
        encoder,
        frames,
        dropped,
        fps,
        kbps,
        capture_to_encoded,
    } = paced(settings, encoder, clock, duration)?;
    Ok(Report {
        settings: settings.to_string(),
        encoder,
        frames,
        dropped,
        fps,
        kbps,
        capture_to_encoded: capture_to_encoded.into(),
        overlay: overlay.into(),
        encode: encode.into(),
    })
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p95, p99, max } = self;
        write!(f, "p50 {p50:.2}  p95 {p95:.2}  p99 {p99:.2}  max {max:.2} ms")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "camera              {}, encoder {}", self.settings, self.encoder)?;
        let Self {
            frames,
            dropped,
            fps,
            kbps,
            ..
        } = self;
        writeln!(
            f,
            "in real time        {frames} frames, {fps:.1} fps, {kbps:.0} kb/s, {dropped} pictures dropped"
        )?;
        writeln!(f, "capture to encoded  {}", self.capture_to_encoded)?;
        writeln!(f, "overlay and stamp   {}", self.overlay)?;
        write!(f, "built-in encoder    {}", self.encode)
    }
}
