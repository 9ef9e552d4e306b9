//! The pixels of the stamp: the clock for machines.

use std::ops::Range;

use media::{WallTime, stamp};

use super::Corner;
use crate::picture::Picture;

impl From<Corner> for stamp::Corner {
    fn from(corner: Corner) -> Self {
        match corner {
            Corner::TopLeft => Self::TopLeft,
            Corner::TopRight => Self::TopRight,
            Corner::BottomLeft => Self::BottomLeft,
            Corner::BottomRight => Self::BottomRight,
        }
    }
}

/// Draws `time` as a stamp, over whatever is there. `false` for pictures too small for one (narrower than 88 pixels).
pub fn draw_stamp(picture: &mut Picture, corner: Corner, time: WallTime) -> bool {
    let Some(layout) = stamp::Layout::new(picture.width(), picture.height(), corner.into()) else {
        return false;
    };
    let width = picture.width() as usize;
    let [luma, u, v] = picture.planes_mut();
    stamp::draw(luma, width, &layout, time);
    // Chroma under it would leak into the luma of whoever converts the picture.
    let under = layout.rectangle();
    let [x, y, columns, rows] = [under.x, under.y, under.width, under.height].map(|length| length as usize / 2);
    for plane in [u, v] {
        for row in plane.chunks_exact_mut(width / 2).skip(y).take(rows) {
            if let Some(pixels) = row.get_mut(x..x + columns) {
                pixels.fill(128);
            }
        }
    }
    true
}

/// The rows of a picture of this size that a stamp is drawn over.
pub fn stamp_rows(width: u32, height: u32, corner: Corner) -> Range<u32> {
    stamp::Layout::new(width, height, corner.into()).map_or(0..0, |layout| {
        let under = layout.rectangle();
        under.y..under.y + under.height
    })
}
