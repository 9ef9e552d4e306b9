//! Decoded pictures as the pixels of a screen, and as programs that look at them want them.

use yuv::{YuvError, YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_bgr, yuv420_to_bgra};

use crate::jpeg::full_luma;
use crate::picture::Picture;

/// Replaces `out` by the picture's pixels, four bytes each: blue, green, red, 255; rows without gaps.
pub fn to_bgra(picture: &Picture, out: &mut Vec<u8>) {
    convert(picture, 4, yuv420_to_bgra, out);
}

/// The same without the fourth byte: what OpenCV calls BGR.
pub fn to_bgr(picture: &Picture, out: &mut Vec<u8>) {
    convert(picture, 3, yuv420_to_bgr, out);
}

/// How the library converts: into these bytes, of rows so long.
type Convert = fn(&YuvPlanarImage<'_, u8>, &mut [u8], u32, YuvRange, YuvStandardMatrix) -> Result<(), YuvError>;

fn convert(picture: &Picture, pixel_bytes: u32, convert: Convert, out: &mut Vec<u8>) {
    let row_bytes = picture.width() * pixel_bytes;
    out.resize(row_bytes as usize * picture.height() as usize, 0);
    let converted = convert(
        &planar(picture),
        out,
        row_bytes,
        YuvRange::Limited,
        YuvStandardMatrix::Bt601,
    );
    // It refuses planes that do not fit the sizes, which a `Picture` cannot have.
    debug_assert!(converted.is_ok(), "{converted:?}");
}

/// Replaces `out` by the picture's brightness, a byte a pixel from 0 (black) to 255 (white).
pub fn to_grey(picture: &Picture, out: &mut Vec<u8>) {
    let [luma, ..] = picture.planes();
    out.clear();
    out.extend(luma.iter().map(|pixel| full_luma(*pixel)));
}

fn planar(picture: &Picture) -> YuvPlanarImage<'_, u8> {
    let (width, height) = (picture.width(), picture.height());
    let [y_plane, u_plane, v_plane] = picture.planes();
    YuvPlanarImage {
        y_plane,
        y_stride: width,
        u_plane,
        u_stride: width / 2,
        v_plane,
        v_stride: width / 2,
        width,
        height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_keep_their_places() {
        let mut picture = Picture::black(32, 16).unwrap();
        // Pure red of limited range in the left half.
        let [luma, u, v] = picture.planes_mut();
        for row in luma.chunks_mut(32) {
            row[..16].fill(82);
        }
        for row in u.chunks_mut(16) {
            row[..8].fill(90);
        }
        for row in v.chunks_mut(16) {
            row[..8].fill(240);
        }
        let mut pixels = Vec::new();
        to_bgra(&picture, &mut pixels);
        assert_eq!(pixels.len(), 32 * 16 * 4);
        let at = |x: usize, y: usize| <[u8; 4]>::try_from(&pixels[(y * 32 + x) * 4..][..4]).unwrap();
        let [blue, green, red, alpha] = at(4, 8);
        assert!(red > 245 && green < 12 && blue < 12, "{:?}", at(4, 8));
        assert_eq!((at(28, 8), alpha), ([0, 0, 0, 255], 255));
        let mut three = Vec::new();
        to_bgr(&picture, &mut three);
        let without_alpha: Vec<u8> = pixels.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
        assert!(three == without_alpha);
    }

    #[test]
    fn grey_is_of_full_range() {
        let mut picture = Picture::black(16, 16).unwrap();
        picture.planes_mut()[0][..5].copy_from_slice(&[0, 16, 126, 235, 255]);
        let mut grey = vec![7; 3];
        to_grey(&picture, &mut grey);
        assert_eq!(grey.len(), 256);
        assert_eq!(grey[..6], [0, 0, 128, 255, 255, 0]);
    }
}
