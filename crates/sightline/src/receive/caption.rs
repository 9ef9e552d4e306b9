//! The receiver's lines in a picture that is shown or saved.

use device::overlay::{Color, Corner, Lines, Measured as Figures, Overlay};
use device::picture::Picture;

use super::worker::Measured;

/// Draws them.
pub(super) struct Caption {
    overlay: Overlay,
    lines: Lines,
    utc_offset_seconds: i32,
}

impl Caption {
    pub(super) fn new(utc_offset_seconds: i32) -> Self {
        Self {
            overlay: Overlay::new(Color::RED, Corner::TopLeft).beside_the_publishers(),
            lines: Lines::default(),
            utc_offset_seconds,
        }
    }

    /// The picture with time, rate and latency in it.
    pub(super) fn draw(&mut self, measured: Measured) -> Picture {
        let mut picture = measured.decoded.picture;
        let figures = Figures {
            fps: measured.fps,
            latency_ms: Some(measured.age_us as f64 / 1_000.0),
        };
        let lines = self.lines.receiver(measured.ready, self.utc_offset_seconds, figures);
        self.overlay.draw(&mut picture, lines);
        picture
    }
}
