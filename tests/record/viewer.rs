//! Somebody who watches by RTSP, and knows how old each picture is when it is there.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use media::Clock as _;
use sightline::clock::SystemClock;
use sightline::rtsp::client::{Player, Url};

use super::publisher::connect;
use super::support::PATIENCE;

/// Watches until this is dropped.
pub(crate) struct Viewer {
    ages: Arc<Mutex<Vec<Duration>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Viewer {
    /// Returns with its first picture.
    pub(crate) fn start(rtsp_port: u64, name: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let url: Url = format!("rtsp://127.0.0.1:{rtsp_port}/{name}").parse().unwrap();
        let mut player = runtime.block_on(Player::connect(url, connect())).unwrap();
        let ages: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let to = Arc::clone(&ages);
        runtime.spawn(async move {
            // It ends with the stream.
            while let Ok(received) = player.next().await {
                let age_us = SystemClock.wall().micros_since(received.frame.capture.at);
                let age = Duration::from_micros(u64::try_from(age_us).unwrap_or(0));
                to.lock().unwrap().push(age);
            }
        });
        let viewer = Self {
            ages,
            _runtime: runtime,
        };
        let begun = Instant::now();
        while viewer.seen() == 0 {
            assert!(begun.elapsed() < PATIENCE, "no picture of {name}");
            std::thread::sleep(Duration::from_millis(5));
        }
        viewer
    }

    /// Pictures so far.
    pub(crate) fn seen(&self) -> usize {
        self.ages.lock().unwrap().len()
    }

    /// The ages of the pictures that came since there were so many, from the youngest to the oldest.
    pub(crate) fn ages_since(&self, seen: usize) -> Vec<Duration> {
        let mut ages = self.ages.lock().unwrap()[seen..].to_vec();
        ages.sort_unstable();
        ages
    }
}
