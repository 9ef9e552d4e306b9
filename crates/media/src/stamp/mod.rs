//! The clock drawn into the picture for machines: a strip of black and white blocks that says when the picture was captured.
//!
//! Belongs here: the layout, drawing it into a luma plane, finding and reading it. Does not belong here: text for people, chroma
//! (the caller makes it neutral under [`Layout::rectangle`]), whose clock the time is. The format is described for others in
//! `docs/reference/stamp.md`; a change here is a change there.
//!
//! Sixteen bits a row, highest first, and structure around them:
//!
//! ```text
//! row 0   W B W B W B W B W B W B W B W B W B    the start mark: pitch and position come from its 17 edges
//! row 1   B [ bits 47 to 32 of the time     ] W
//! row 2   W [ bits 31 to 16                 ] B
//! row 3   B [ bits 15 to 0                  ] W
//! row 4   W [ CRC-16 of the six bytes above ] B
//! ```

mod read;

pub use read::{Reader, Reading, read};

use crate::time::WallTime;

/// Blocks in a row.
pub const COLUMNS: u32 = 18;
/// Rows of blocks.
pub const ROWS: u32 = 5;

/// Luma of a white block: white of limited range.
const WHITE: u8 = 235;
/// Luma of a black block.
const BLACK: u8 = 16;
/// Bits of time that are carried: they repeat every 8.9 years.
const TIME_BITS: u32 = 48;
/// Block sizes in pixels. Six survive everything up to halving; four still survive encoding.
const USUAL_BLOCK: std::ops::RangeInclusive<u32> = 6..=128;
const SMALLEST_BLOCK: u32 = 4;

/// Where in the picture the stamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Corner {
    /// Top left. The overlay for people is there by default.
    TopLeft,
    /// Top right.
    #[default]
    TopRight,
    /// Bottom left.
    BottomLeft,
    /// Bottom right.
    BottomRight,
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rectangle {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// Position and size of the stamp in pixels. All three are even, so that subsampled chroma covers it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    x: u32,
    y: u32,
    block: u32,
}

impl Layout {
    /// The layout of a picture of `width` × `height` pixels: blocks of an eightieth of the width (8 pixels at 640, so that they coincide
    /// with transform blocks), at least 6, two blocks away from the edges. `None` where it would take more than half the height or
    /// does not fit: a picture narrower than 88 pixels.
    pub fn new(width: u32, height: u32, corner: Corner) -> Option<Self> {
        let usual = ((width / 80) & !1).clamp(*USUAL_BLOCK.start(), *USUAL_BLOCK.end());
        [usual, SMALLEST_BLOCK]
            .into_iter()
            .find_map(|block| Self::with_block(width, height, corner, block))
    }

    /// The same with blocks of another size, rounded down to an even number of at least 4 pixels.
    pub fn with_block(width: u32, height: u32, corner: Corner, block: u32) -> Option<Self> {
        let block = (block & !1).max(SMALLEST_BLOCK);
        let margin = block.checked_mul(2)?;
        let right = width.checked_sub(COLUMNS.checked_mul(block)?.checked_add(margin)?)?;
        let bottom = height.checked_sub(ROWS.checked_mul(block)?.checked_add(margin)?)?;
        if right < margin || bottom < height / 2 {
            return None;
        }
        let (x, y) = match corner {
            Corner::TopLeft => (margin, margin),
            Corner::TopRight => (right, margin),
            Corner::BottomLeft => (margin, bottom),
            Corner::BottomRight => (right, bottom),
        };
        Some(Self {
            x: x & !1,
            y: y & !1,
            block,
        })
    }

    /// What it covers. Chroma under it has to be neutral, or colours leak into the luma of converted pictures.
    pub fn rectangle(&self) -> Rectangle {
        Rectangle {
            x: self.x,
            y: self.y,
            width: COLUMNS * self.block,
            height: ROWS * self.block,
        }
    }

    /// Side of a block in pixels.
    pub fn block(&self) -> u32 {
        self.block
    }
}

/// Draws `time` into the luma plane of a picture; `stride` is the distance of two rows in bytes. What lies outside the plane is left out,
/// so a layout for another size does no harm.
pub fn draw(luma: &mut [u8], stride: usize, layout: &Layout, time: WallTime) {
    let rectangle = layout.rectangle();
    let (left, width, block) = (rectangle.x as usize, rectangle.width as usize, layout.block as usize);
    let rows = luma.chunks_mut(stride.max(1)).skip(rectangle.y as usize);
    for (line, pixels) in rows.take(rectangle.height as usize).enumerate() {
        let Some(pixels) = pixels.get_mut(left..left + width) else {
            continue;
        };
        let row = row(time, (line / block) as u32);
        for (column, pixels) in pixels.chunks_mut(block).enumerate() {
            pixels.fill(if row & (1 << (17 - column)) != 0 { WHITE } else { BLACK });
        }
    }
}

/// The blocks of a row, the leftmost in bit 17; a set bit is white.
fn row(time: WallTime, row: u32) -> u32 {
    let bits = low_bits(time);
    let word = match row {
        1..=3 => (bits >> (48 - 16 * row)) as u32 & 0xffff,
        4 => u32::from(checksum(bits)),
        _ => return START_MARK,
    };
    frame_of_row(row) | word << 1
}

/// Row 0.
const START_MARK: u32 = 0b10_1010_1010_1010_1010;

/// The first and the last block of a row, which go on in the columns what the start mark begins.
fn frame_of_row(row: u32) -> u32 {
    if row.is_multiple_of(2) { 1 << 17 } else { 1 }
}

fn low_bits(time: WallTime) -> u64 {
    time.unix_micros().cast_unsigned() & ((1 << TIME_BITS) - 1)
}

/// CRC-16/CCITT-FALSE (polynomial 0x1021, initial value 0xffff) of the six bytes of the time, highest first.
fn checksum(bits: u64) -> u16 {
    let mut crc = 0xffff_u16;
    for bit in (0..TIME_BITS).rev() {
        let feedback = (crc >> 15 != 0) != (bits >> bit & 1 != 0);
        crc = crc << 1 ^ if feedback { 0x1021 } else { 0 };
    }
    crc
}

#[cfg(test)]
mod tests;
