//! Pictures as JPEG files: snapshots, previews, the tiles of a filmstrip.
//!
//! Belongs here: making a picture smaller and writing it, reading what was written so. Does not belong here: JPEG as cameras deliver it ([`crate::source`]); where pictures come from
//! ([`crate::decode`]); a clock, files.
//!
//! A JPEG (JFIF) holds YCbCr of full range, a [`Picture`] that of limited range: planes are stretched and written as they are, without a detour by RGB, and colour keeps
//! its halves (4:2:0).

use jpeg_encoder::{EncodingError, ImageBuffer, JpegColorType, SamplingFactor};

use crate::picture::{Picture, Pool};
use crate::source::jpeg::Decoder;

/// How a JPEG is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Pixels of a row at the most. A picture is never made larger than it is; its shape is kept, to an even number of pixels and at least 16.
    pub max_width: Option<u16>,
    /// 1 (smallest) to 100 (best); taken as the nearer of them where it is beyond.
    pub quality: u8,
}

impl Default for Shape {
    /// As large as it is, of quality 80.
    fn default() -> Self {
        Self {
            max_width: None,
            quality: 80,
        }
    }
}

impl Shape {
    /// Width and height in pixels of what is made of a picture of that size.
    pub fn size_of(self, width: u32, height: u32) -> (u32, u32) {
        let widest = self.max_width.map_or(width, u32::from);
        if widest >= width {
            return (width, height);
        }
        let even = |side: u32| (side & !1).max(SMALLEST);
        let made = even(widest);
        // Rounded to the nearest even number.
        let rows = (u64::from(height) * u64::from(made) + u64::from(width)) / (2 * u64::from(width)).max(1) * 2;
        let rows = u32::try_from(rows).unwrap_or(height);
        (made.min(width), even(rows).min(height))
    }
}

/// Why there is no JPEG.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the encoder found wrong.
    #[error("the picture cannot be written as JPEG: {0}")]
    Encoder(#[from] EncodingError),
    /// What is to be read is no JPEG, or a damaged one.
    #[error("{0}")]
    Broken(String),
}

/// A picture as JPEG, made smaller where the shape says so: each pixel is the mean of what it covers.
///
/// # Errors
/// Where the encoder refuses it, which no picture of ours is known to make it do.
pub fn encode(picture: &Picture, shape: Shape) -> Result<Vec<u8>, Error> {
    let size = shape.size_of(picture.width(), picture.height());
    let is_smaller = size != (picture.width(), picture.height());
    let smaller = is_smaller.then(|| picture.scaled(size.0, size.1)).flatten();
    write(smaller.as_ref().unwrap_or(picture), shape.quality)
}

/// A JPEG as a picture.
///
/// # Errors
/// [`Error::Broken`]. Whatever the bytes are, nothing worse comes of them.
pub fn decode(jpeg: &[u8]) -> Result<Picture, Error> {
    let decoded = Decoder::default().decode(jpeg, &Pool::default());
    decoded.map_err(|broken| Error::Broken(broken.to_string()))
}

fn write(picture: &Picture, quality: u8) -> Result<Vec<u8>, Error> {
    // Half a byte to a pixel: what quality 80 takes of a busy picture.
    let mut jpeg = Vec::with_capacity(picture.as_bytes().len() / 3);
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, quality.clamp(1, 100));
    // Of 90 and more it would keep all of the colour, of which there is a quarter.
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode_image(Rows(picture))?;
    Ok(jpeg)
}

/// A picture as the encoder asks for it: row by row, with the colour of each pixel. Of those it takes the first of two, in every other row, which are those that there are.
struct Rows<'a>(&'a Picture);

impl<'a> ImageBuffer for Rows<'a> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        // At most `picture::MAX_DIMENSION`.
        u16::try_from(self.0.width()).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(self.0.height()).unwrap_or(u16::MAX)
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let [luma, blue, red] = self.0.planes();
        let [to_luma, to_blue, to_red, _] = buffers;
        let (width, y) = (self.0.width() as usize, usize::from(y));
        let row = |plane: &'a [u8], width: usize, y: usize| plane.chunks_exact(width).nth(y).unwrap_or_default();
        to_luma.extend(row(luma, width, y).iter().map(|pixel| full_luma(*pixel)));
        for (plane, to) in [(blue, to_blue), (red, to_red)] {
            let row = row(plane, width / 2, y / 2);
            to.extend(row.iter().flat_map(|pixel| [full_chroma(*pixel); 2]));
        }
    }
}

/// 16 to 235 as 0 to 255.
pub(crate) fn full_luma(pixel: u8) -> u8 {
    // 255 / 219 in 256ths. At most 65,390.
    let above = u16::from(pixel.saturating_sub(16).min(219));
    ((above * 298 + 128) >> 8) as u8
}

/// 16 to 240 as 0 to 255, around 128.
fn full_chroma(pixel: u8) -> u8 {
    // 255 / 224 in 256ths. From −32,464 to 32,720.
    let away = i16::from(pixel.clamp(16, 240)) - 128;
    (((away * 291 + 128) >> 8) + 128).clamp(0, 255) as u8
}

/// Pixels of a side of the smallest picture there is.
const SMALLEST: u32 = 16;

#[cfg(test)]
mod tests;
