//! A grey picture, small enough to be looked at all the time.

use crate::picture::Picture;
use crate::picture::scale::Luma;

/// Brightness alone, 8 bits, no side longer than [`Grey::MAX_SIDE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grey {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Grey {
    /// Pixels of the longer side, at the most.
    pub const MAX_SIDE: u32 = 160;
    /// Pixels of the shorter side, at the least.
    pub const MIN_SIDE: u32 = 16;

    /// Rows of pixels from the top. `None` for sides that are too long or too short, and for another number of pixels.
    pub fn from_pixels(width: u32, height: u32, pixels: Vec<u8>) -> Option<Self> {
        let sides = Self::MIN_SIDE..=Self::MAX_SIDE;
        let (width, height) = (sides.contains(&width) && sides.contains(&height)).then_some((width, height))?;
        let (width, height) = (width as usize, height as usize);
        (pixels.len() == width * height).then_some(Self { width, height, pixels })
    }

    /// Pixels of a row, and rows.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// How large a picture of that size becomes: of the same shape, or as near to it as the shorter side allows.
    fn size_of(width: u32, height: u32) -> (u32, u32) {
        let longer = width.max(height).max(1);
        let side = |side: u32| {
            let side = if longer <= Self::MAX_SIDE {
                side
            } else {
                (side * Self::MAX_SIDE + longer / 2) / longer
            };
            side.clamp(Self::MIN_SIDE, Self::MAX_SIDE)
        };
        (side(width), side(height))
    }
}

/// Makes grey pictures. Keeps what it computes of the sizes.
#[derive(Default)]
pub struct Shrinker {
    luma: Luma,
}

impl Shrinker {
    /// The brightness of a picture, where each pixel is the mean of what it covers.
    pub fn shrink(&mut self, picture: &Picture) -> Grey {
        let (width, height) = Grey::size_of(picture.width(), picture.height());
        let mut pixels = vec![0; width as usize * height as usize];
        self.luma.scale(picture, (width, height), &mut pixels);
        Grey {
            width: width as usize,
            height: height as usize,
            pixels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_side_is_too_long_or_too_short() {
        for (size, expected) in [
            ((640, 480), (160, 120)),
            ((1_920, 1_080), (160, 90)),
            ((1_080, 1_920), (90, 160)),
            ((160, 120), (160, 120)),
            ((64, 48), (64, 48)),
            ((8_192, 16), (160, 16)),
            ((16, 16), (16, 16)),
        ] {
            assert_eq!(Grey::size_of(size.0, size.1), expected, "{size:?}");
            let picture = Picture::black(size.0, size.1).unwrap();
            let grey = Shrinker::default().shrink(&picture);
            assert_eq!(grey.size(), (expected.0 as usize, expected.1 as usize));
            assert!(grey.pixels().iter().all(|pixel| *pixel == 16));
        }
    }

    #[test]
    fn pixels_have_to_fit() {
        assert!(Grey::from_pixels(16, 160, vec![0; 2_560]).is_some());
        for (width, height, pixels) in [(15, 16, 240), (161, 16, 2_576), (16, 16, 255)] {
            assert!(Grey::from_pixels(width, height, vec![0; pixels]).is_none());
        }
    }
}
