//! Text and the machine-readable clock, drawn into a picture.
//!
//! Belongs here: glyphs, the lines of publisher and receiver, where they go and in which colour, the stamp's pixels, what was under them. Does not
//! belong here: measuring what the lines say, the stamp's layout ([`media::stamp`]), reading a clock or a time zone.
//!
//! Glyphs are rasterised once per size of picture, with outline and colour worked in; drawing a character is then one
//! multiplication and one addition a pixel. Three lines cost a 640×480 picture 0.014 ms.

mod atlas;
mod lines;
mod stamp;
mod under;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

pub(crate) use self::atlas::Atlas;
pub use self::lines::{COUNT as LINES, Lines, Measured};
pub use self::stamp::{draw_stamp, stamp_rows};
pub use self::under::Under;
use crate::picture::Picture;

/// Colour of text: Y, U, V in BT.601 limited range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(pub [u8; 3]);

impl Color {
    /// Pure green, hue 60 of 180: what receivers look for to know a publisher's lines.
    pub const GREEN: Self = Self([145, 54, 34]);
    /// Pure red: a receiver's lines.
    pub const RED: Self = Self([82, 90, 240]);
    /// White.
    pub const WHITE: Self = Self([235, 128, 128]);
    /// Amber, for what needs attention.
    pub const AMBER: Self = Self([178, 48, 165]);
}

/// Where something is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Corner {
    /// Where receivers look for a publisher's lines.
    #[default]
    TopLeft,
    /// Upper right.
    TopRight,
    /// Lower left.
    BottomLeft,
    /// Lower right.
    BottomRight,
}

impl FromStr for Corner {
    type Err = UnknownCorner;

    fn from_str(text: &str) -> Result<Self, UnknownCorner> {
        match text {
            "top-left" => Ok(Self::TopLeft),
            "top-right" => Ok(Self::TopRight),
            "bottom-left" => Ok(Self::BottomLeft),
            "bottom-right" => Ok(Self::BottomRight),
            _ => Err(UnknownCorner),
        }
    }
}

impl fmt::Display for Corner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TopLeft => "top-left",
            Self::TopRight => "top-right",
            Self::BottomLeft => "bottom-left",
            Self::BottomRight => "bottom-right",
        })
    }
}

/// Not one of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a corner; write top-left, top-right, bottom-left or bottom-right")]
pub struct UnknownCorner;

/// Draws lines of text into pictures of changing size.
pub struct Overlay {
    color: Color,
    corner: Corner,
    /// Lines that are left free for somebody else's.
    free: usize,
    /// For the size of picture it was last used with.
    atlas: Option<(u32, Atlas)>,
}

/// Distance of text from the picture's edges, in pixels, whatever its size: receivers look for green in rows 5 to 25 of a picture
/// of any size.
const MARGIN: i64 = 6;

impl Overlay {
    /// Lines in `color` at `corner`.
    pub fn new(color: Color, corner: Corner) -> Self {
        Self {
            color,
            corner,
            free: 0,
            atlas: None,
        }
    }

    /// Leaves room for the publisher's lines between its own and the edge: both can be read.
    #[must_use]
    pub fn beside_the_publishers(mut self) -> Self {
        self.free = lines::COUNT;
        self
    }

    /// Moves the text.
    pub fn set_corner(&mut self, corner: Corner) {
        self.corner = corner;
    }

    /// Draws `lines` one below the other. ASCII alone; other characters become `?`. What does not fit is cut off.
    pub fn draw<L: AsRef<str>>(&mut self, picture: &mut Picture, lines: &[L]) {
        let Some(atlas) = self.atlas(picture.height()) else {
            return;
        };
        let (cell_width, cell_height) = atlas.cell();
        let (corner, top) = (self.corner, self.top(picture.height(), cell_height, lines.len()));
        let Some((_, atlas)) = &self.atlas else { return };
        for (row, line) in (0..).zip(lines) {
            let line = line.as_ref();
            let length = cell_width * line.chars().count() as i64;
            let x = match corner {
                Corner::TopLeft | Corner::BottomLeft => MARGIN,
                Corner::TopRight | Corner::BottomRight => i64::from(picture.width()) - length - MARGIN,
            };
            atlas.draw(picture, x, top + row * cell_height, line);
        }
    }

    /// The rows of a picture that so many lines are drawn over.
    pub fn rows(&mut self, height: u32, lines: usize) -> Range<u32> {
        let Some(atlas) = self.atlas(height) else { return 0..0 };
        let (_, cell_height) = atlas.cell();
        let top = self.top(height, cell_height, lines);
        let within = |row: i64| u32::try_from(row).unwrap_or(0).min(height);
        // Begins at an even row.
        within(top & !1)..within(top + cell_height * lines as i64)
    }

    /// Where the first of so many lines is.
    fn top(&self, height: u32, cell_height: i64, lines: usize) -> i64 {
        let edge = MARGIN + self.free as i64 * cell_height;
        match self.corner {
            Corner::TopLeft | Corner::TopRight => edge,
            Corner::BottomLeft | Corner::BottomRight => i64::from(height) - cell_height * lines as i64 - edge,
        }
    }

    /// The glyphs for a picture of this height.
    fn atlas(&mut self, height: u32) -> Option<&Atlas> {
        let font_px = font_px(height);
        if self.atlas.as_ref().is_none_or(|(px, _)| *px != font_px) {
            let printable = ' '..='~';
            self.atlas = Atlas::new(font_px, printable, self.color).map(|atlas| (font_px, atlas));
        }
        self.atlas.as_ref().map(|(_, atlas)| atlas)
    }
}

/// Size of the font for a picture of `height` rows, in pixels: 20 at 480 rows, and no less than can be read.
pub(crate) fn font_px(height: u32) -> u32 {
    (height / 24).max(12)
}

#[cfg(test)]
mod tests;
