//! Decoded pictures as the pixels of a screen.

use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_bgra};

use crate::picture::Picture;

/// Replaces `out` by the picture's pixels, four bytes each: blue, green, red, 255; rows without gaps.
pub fn to_bgra(picture: &Picture, out: &mut Vec<u8>) {
    let (width, height) = (picture.width(), picture.height());
    let row_bytes = width * 4;
    out.resize(row_bytes as usize * height as usize, 255);
    let [y_plane, u_plane, v_plane] = picture.planes();
    let image = YuvPlanarImage {
        y_plane,
        y_stride: width,
        u_plane,
        u_stride: width / 2,
        v_plane,
        v_stride: width / 2,
        width,
        height,
    };
    // It refuses planes that do not fit the sizes, which a `Picture` cannot have.
    let converted = yuv420_to_bgra(&image, out, row_bytes, YuvRange::Limited, YuvStandardMatrix::Bt601);
    debug_assert!(converted.is_ok(), "{converted:?}");
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
    }
}
