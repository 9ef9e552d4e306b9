//! What is drawn into a camera's pictures: lines and stamp, in its own size for each size of picture.

use std::ops::Range;

use media::WallTime;

use super::{Drawing, Zone};
use crate::overlay::{Color, LINES, Lines, Measured, Overlay, draw_stamp, stamp_rows};
use crate::picture::Picture;

pub(super) struct Pen {
    drawing: Drawing,
    zone: Zone,
    overlay: Overlay,
    lines: Lines,
}

impl Pen {
    pub(super) fn new(drawing: Drawing, zone: Zone) -> Self {
        Self {
            overlay: Overlay::new(Color::GREEN, drawing.lines.unwrap_or_default()),
            lines: Lines::default(),
            drawing,
            zone,
        }
    }

    pub(super) fn drawing(&self) -> Drawing {
        self.drawing
    }

    pub(super) fn set(&mut self, drawing: Drawing) {
        if drawing != self.drawing {
            self.drawing = drawing;
            self.overlay.set_corner(drawing.lines.unwrap_or_default());
        }
    }

    /// The rows of a picture of this size that it draws over.
    pub(super) fn rows(&mut self, width: u32, height: u32) -> [Range<u32>; 2] {
        let lines = self.drawing.lines.map(|_| self.overlay.rows(height, LINES));
        let stamp = self.drawing.stamp.map(|corner| stamp_rows(width, height, corner));
        [lines, stamp].map(Option::unwrap_or_default)
    }

    pub(super) fn draw(&mut self, picture: &mut Picture, at: WallTime, measured: Measured) {
        if self.drawing.lines.is_some() {
            let lines = self.lines.publisher(at, (self.zone)(at), measured);
            self.overlay.draw(picture, lines);
        }
        if let Some(corner) = self.drawing.stamp {
            draw_stamp(picture, corner, at);
        }
    }
}
