//! What a camera costs on this machine: `cargo run --release -p sightline-device --example bench_encode [SECONDS]`.
//!
//! The same figures as `sightline bench encode`, without the rest of the program.
#![allow(clippy::disallowed_methods)] // The program that hands the clock down.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use device::camera::bench::{paced, unpaced};
use device::encode::{Chosen, Codec, Preference, Settings};
use media::{Clock, WallTime};

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> WallTime {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime::from_unix_micros(media::time::micros(since_epoch))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    for (width, height, bitrate_kbps) in [(640, 480, 800), (1_280, 720, 2_000), (1_920, 1_080, 4_000)] {
        let settings = Settings {
            width,
            height,
            bitrate_kbps,
            ..Settings::default()
        };
        println!("{settings}");
        println!("  {:?}", unpaced(settings, Chosen::OpenH264, &*clock, 300)?);
        println!(
            "  {:?}",
            paced(settings, Preference::OpenH264, &clock, Duration::from_secs(seconds))?
        );
    }
    let x264 = Preference::Ffmpeg(Codec::X264);
    println!(
        "{:?}",
        paced(Settings::default(), x264, &clock, Duration::from_secs(seconds))?
    );
    Ok(())
}
