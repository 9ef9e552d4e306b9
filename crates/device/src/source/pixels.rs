//! From the pixel layouts that cameras deliver to planar 4:2:0.
//!
//! Belongs here: one conversion per layout, bounds checks on what a driver claims, odd sizes, full range to limited range.
//! Does not belong here: compressed pictures ([`super::jpeg`]), talking to a driver.

use yuv::{BufferStoreMut, YuvConversionMode, YuvPackedImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix};

use crate::picture::{Picture, Pool};

/// How a camera arranges its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Layout {
    /// 4:2:2 packed, `Y U Y V`. What almost every USB camera has.
    Yuyv,
    /// 4:2:2 packed, `Y V Y U`.
    Yvyu,
    /// 4:2:2 packed, `U Y V Y`.
    Uyvy,
    /// 4:2:0, Y plane, then interleaved U and V.
    Nv12,
    /// 4:2:0, Y plane, then interleaved V and U.
    Nv21,
    /// 4:2:0, planes Y, U, V (`YU12`).
    I420,
    /// 4:2:0, planes Y, V, U (`YV12`).
    Yv12,
    /// Luma alone: infrared cameras.
    Grey,
    /// 8 bits each of red, green, blue.
    Rgb24,
    /// 8 bits each of blue, green, red.
    Bgr24,
}

/// A picture as it lies in a driver's buffer.
#[derive(Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub layout: Layout,
    /// Pixels per row; may be odd.
    pub width: u32,
    /// Rows; may be odd.
    pub height: u32,
    /// Bytes from row to row of the first plane; of the second and third: the same for NV12 and NV21, half for the others.
    pub stride: u32,
    /// Luma and chroma use all of 0–255.
    pub full_range: bool,
    pub bytes: &'a [u8],
}

/// Why a picture cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// Smaller than 16×16 or larger than [`crate::picture::MAX_DIMENSION`].
    #[error("a picture of {0}×{1} is outside 16×16 to 8192×8192")]
    Size(u32, u32),
    /// Rows overlap.
    #[error("rows of {width} pixels do not fit into the {stride} bytes claimed for them")]
    Stride { width: u32, stride: u32 },
    /// The buffer ends before the picture does.
    #[error("the picture has {got} bytes, {needed} belong to it")]
    Short { got: usize, needed: usize },
}

impl Layout {
    /// Bits a pixel takes on the wire.
    pub(crate) fn bits_per_pixel(self) -> u32 {
        match self {
            Self::Yuyv | Self::Yvyu | Self::Uyvy => 16,
            Self::Nv12 | Self::Nv21 | Self::I420 | Self::Yv12 => 12,
            Self::Grey => 8,
            Self::Rgb24 | Self::Bgr24 => 24,
        }
    }

    /// Shortest row of the first plane in bytes.
    pub(crate) fn row_bytes(self, width: u32) -> u32 {
        match self {
            Self::Yuyv | Self::Yvyu | Self::Uyvy => width.next_multiple_of(2).saturating_mul(2),
            // Chroma rows take half of the stride, so the stride of an odd width has room for the last pair.
            Self::Nv12 | Self::Nv21 | Self::I420 | Self::Yv12 => width.next_multiple_of(2),
            Self::Grey => width,
            Self::Rgb24 | Self::Bgr24 => width.saturating_mul(3),
        }
    }
}

/// Converts into a picture of the pool. Of an odd width or height the last column or row is left out: 4:2:0 has none.
pub(crate) fn convert(raw: &Raw<'_>, pool: &Pool) -> Result<Picture, Unusable> {
    let (width, height) = (raw.width & !1, raw.height & !1);
    let size = Unusable::Size(raw.width, raw.height);
    // Before any arithmetic: with both below 8,193 nothing that follows overflows.
    let Some(mut picture) = pool.take(width, height) else {
        return Err(size);
    };
    let result = fill(raw, &mut picture);
    if let Err(error) = result {
        pool.give(picture);
        return Err(error);
    }
    // Luma alone is a sensor's count, 0 to 255, whatever the driver says of quantisation: the other way none would.
    let full_range = raw.full_range || raw.layout == Layout::Grey;
    if full_range && !matches!(raw.layout, Layout::Rgb24 | Layout::Bgr24) {
        let [y, u, v] = picture.planes_mut();
        y.iter_mut().for_each(|y| *y = limited_luma(*y));
        u.iter_mut().for_each(|u| *u = limited_chroma(*u));
        v.iter_mut().for_each(|v| *v = limited_chroma(*v));
    }
    Ok(picture)
}

/// Luma from 0–255 to 16–235, within one step of the exact value. Written without a table so that it vectorises.
pub(crate) fn limited_luma(full: u8) -> u8 {
    (16 + ((u16::from(full) * 220 + 128) >> 8)) as u8
}

/// Chroma from 0–255 to 16–240, within one step of the exact value.
pub(crate) fn limited_chroma(full: u8) -> u8 {
    ((u16::from(full) * 225 + 4096) >> 8) as u8
}

fn fill(raw: &Raw<'_>, picture: &mut Picture) -> Result<(), Unusable> {
    if raw.stride < raw.layout.row_bytes(raw.width) || raw.stride > 1 << 20 {
        return Err(Unusable::Stride {
            width: raw.width,
            stride: raw.stride,
        });
    }
    let stride = raw.stride as usize;
    let rows = raw.height as usize;
    let chroma_rows = rows.div_ceil(2);
    let luma_bytes = stride * rows;
    match raw.layout {
        Layout::Yuyv | Layout::Yvyu | Layout::Uyvy | Layout::Rgb24 | Layout::Bgr24 => {
            packed(raw, exactly(raw.bytes, luma_bytes)?, picture)
        }
        Layout::Grey => {
            copy_plane(exactly(raw.bytes, luma_bytes)?, stride, picture, 0);
            let [_, u, v] = picture.planes_mut();
            u.fill(128);
            v.fill(128);
            Ok(())
        }
        Layout::Nv12 | Layout::Nv21 => {
            let bytes = exactly(raw.bytes, luma_bytes + stride * chroma_rows)?;
            let (luma, chroma) = bytes.split_at(luma_bytes);
            copy_plane(luma, stride, picture, 0);
            deinterleave(chroma, stride, raw.layout == Layout::Nv21, picture);
            Ok(())
        }
        Layout::I420 | Layout::Yv12 => {
            let chroma_stride = stride / 2;
            let chroma_bytes = chroma_stride * chroma_rows;
            let bytes = exactly(raw.bytes, luma_bytes + 2 * chroma_bytes)?;
            let (luma, chroma) = bytes.split_at(luma_bytes);
            let (first, second) = chroma.split_at(chroma_bytes);
            let (u, v) = if raw.layout == Layout::I420 {
                (first, second)
            } else {
                (second, first)
            };
            copy_plane(luma, stride, picture, 0);
            copy_plane(u, chroma_stride, picture, 1);
            copy_plane(v, chroma_stride, picture, 2);
            Ok(())
        }
    }
}

/// The first `needed` bytes.
fn exactly(bytes: &[u8], needed: usize) -> Result<&[u8], Unusable> {
    bytes.get(..needed).ok_or(Unusable::Short {
        got: bytes.len(),
        needed,
    })
}

/// Copies rows of `stride` bytes into a plane, leaving out what lies beyond its width and height.
fn copy_plane(from: &[u8], stride: usize, picture: &mut Picture, plane: usize) {
    let width = (picture.width() as usize) >> usize::from(plane > 0);
    let to = &mut picture.planes_mut()[plane];
    for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(stride)) {
        to.copy_from_slice(&from[..width]);
    }
}

fn deinterleave(from: &[u8], stride: usize, v_first: bool, picture: &mut Picture) {
    let width = picture.width() as usize / 2;
    let [_, u, v] = picture.planes_mut();
    let (first, second) = if v_first { (v, u) } else { (u, v) };
    let rows = first.chunks_exact_mut(width).zip(second.chunks_exact_mut(width));
    for ((first, second), from) in rows.zip(from.chunks_exact(stride)) {
        for ((first, second), pair) in first.iter_mut().zip(second).zip(from.chunks_exact(2)) {
            *first = pair[0];
            *second = pair[1];
        }
    }
}

/// What the `yuv` crate converts with SIMD (1080p YUYV: 0.29 ms).
fn packed(raw: &Raw<'_>, bytes: &[u8], picture: &mut Picture) -> Result<(), Unusable> {
    let (width, height) = (picture.width(), picture.height());
    // That crate wants the rows it is told of and no more.
    let bytes = exactly(bytes, raw.stride as usize * height as usize)?;
    let [y, u, v] = picture.planes_mut();
    let mut planes = YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride: width,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: width / 2,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: width / 2,
        width,
        height,
    };
    let pixels = YuvPackedImage {
        yuy: bytes,
        yuy_stride: raw.stride,
        width,
        height,
    };
    let (range, matrix, mode) = (YuvRange::Limited, YuvStandardMatrix::Bt601, YuvConversionMode::Balanced);
    let done = match raw.layout {
        Layout::Yuyv => yuv::yuyv422_to_yuv420(&mut planes, &pixels),
        Layout::Yvyu => yuv::yvyu422_to_yuv420(&mut planes, &pixels),
        Layout::Uyvy => yuv::uyvy422_to_yuv420(&mut planes, &pixels),
        Layout::Bgr24 => yuv::bgr_to_yuv420(&mut planes, bytes, raw.stride, range, matrix, mode),
        _ => yuv::rgb_to_yuv420(&mut planes, bytes, raw.stride, range, matrix, mode),
    };
    // The sizes were checked above, so this is about a rule of that crate we do not know of.
    done.map_err(|_| Unusable::Stride {
        width: raw.width,
        stride: raw.stride,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Layout; 10] = [
        Layout::Yuyv,
        Layout::Yvyu,
        Layout::Uyvy,
        Layout::Nv12,
        Layout::Nv21,
        Layout::I420,
        Layout::Yv12,
        Layout::Grey,
        Layout::Rgb24,
        Layout::Bgr24,
    ];

    /// Y, U and V of a test picture, by position; chroma per pair of columns and rows.
    fn y(x: u32, row: u32) -> u8 {
        (16 + (x * 3 + row * 7) % 200) as u8
    }
    fn u(x: u32, row: u32) -> u8 {
        (20 + (x * 5 + row * 11) % 200) as u8
    }
    fn v(x: u32, row: u32) -> u8 {
        (30 + (x * 13 + row * 3) % 200) as u8
    }

    /// A picture in that layout, with `pad` bytes behind each row.
    fn render(layout: Layout, width: u32, height: u32, stride: u32) -> Vec<u8> {
        let (pairs, chroma_rows) = (width.div_ceil(2), height.div_ceil(2));
        let mut out = Vec::new();
        let pad_to = |out: &mut Vec<u8>, start: usize, stride: u32| out.resize(start + stride as usize, 0xEE);
        for row in 0..height {
            let start = out.len();
            match layout {
                Layout::Yuyv | Layout::Yvyu | Layout::Uyvy => {
                    for pair in 0..pairs {
                        let (y0, y1) = (y(2 * pair, row), y(2 * pair + 1, row));
                        let (u, v) = (u(pair, row / 2), v(pair, row / 2));
                        out.extend(match layout {
                            Layout::Yuyv => [y0, u, y1, v],
                            Layout::Yvyu => [y0, v, y1, u],
                            _ => [u, y0, v, y1],
                        });
                    }
                }
                Layout::Rgb24 | Layout::Bgr24 => out.extend((0..width).flat_map(|x| [y(x, row); 3])),
                _ => out.extend((0..width).map(|x| y(x, row))),
            }
            pad_to(&mut out, start, stride);
        }
        let planes: &[fn(u32, u32) -> u8] = match layout {
            Layout::I420 => &[u, v],
            Layout::Yv12 => &[v, u],
            _ => &[],
        };
        for plane in planes {
            for row in 0..chroma_rows {
                let start = out.len();
                out.extend((0..pairs).map(|x| plane(x, row)));
                pad_to(&mut out, start, stride / 2);
            }
        }
        if matches!(layout, Layout::Nv12 | Layout::Nv21) {
            for row in 0..chroma_rows {
                let start = out.len();
                for x in 0..pairs {
                    let (u, v) = (u(x, row), v(x, row));
                    out.extend(if layout == Layout::Nv12 { [u, v] } else { [v, u] });
                }
                pad_to(&mut out, start, stride);
            }
        }
        out
    }

    fn check(layout: Layout, width: u32, height: u32, pad: u32) {
        let stride = (layout.row_bytes(width) + pad).next_multiple_of(2);
        let bytes = render(layout, width, height, stride);
        let raw = Raw {
            layout,
            width,
            height,
            stride,
            full_range: false,
            bytes: &bytes,
        };
        let picture = convert(&raw, &Pool::default()).unwrap();
        assert_eq!((picture.width(), picture.height()), (width & !1, height & !1));
        let [luma, first, second] = picture.planes();
        let (w, half) = (picture.width(), picture.width() / 2);
        for row in 0..picture.height() {
            for x in 0..w {
                let got = luma[(row * w + x) as usize];
                match layout {
                    Layout::Rgb24 | Layout::Bgr24 => {
                        let exact = 16.0 + f64::from(y(x, row)) * 219.0 / 255.0;
                        assert!((f64::from(got) - exact).abs() <= 1.5, "{layout:?} {got} {exact}");
                    }
                    Layout::Grey => assert_eq!(got, limited_luma(y(x, row))),
                    _ => assert_eq!(got, y(x, row), "{layout:?} luma {x},{row}"),
                }
            }
        }
        for row in 0..picture.height() / 2 {
            for x in 0..half {
                let at = (row * half + x) as usize;
                match layout {
                    Layout::Grey | Layout::Rgb24 | Layout::Bgr24 => {
                        assert!(first[at].abs_diff(128) <= 1 && second[at].abs_diff(128) <= 1);
                    }
                    _ => assert_eq!(
                        (first[at], second[at]),
                        (u(x, row), v(x, row)),
                        "{layout:?} chroma {x},{row}"
                    ),
                }
            }
        }
    }

    #[test]
    fn every_layout_at_even_and_odd_sizes_and_strides() {
        for layout in ALL {
            for (width, height) in [(16, 16), (64, 48), (66, 34), (101, 57), (17, 19), (176, 144)] {
                check(layout, width, height, 0);
                check(layout, width, height, 30);
            }
        }
    }

    #[test]
    fn full_range_becomes_limited() {
        for full in 0..=255_u8 {
            let luma = 16.0 + f64::from(full) * 219.0 / 255.0;
            let chroma = 128.0 + (f64::from(full) - 128.0) * 224.0 / 255.0;
            assert!((f64::from(limited_luma(full)) - luma).abs() <= 1.0, "{full}");
            assert!((f64::from(limited_chroma(full)) - chroma).abs() <= 1.0, "{full}");
        }
        assert_eq!(limited_chroma(128), 128);
        let bytes = [255, 128, 0, 128].repeat(8 * 16);
        let raw = Raw {
            layout: Layout::Yuyv,
            width: 16,
            height: 16,
            stride: 32,
            full_range: true,
            bytes: &bytes,
        };
        let picture = convert(&raw, &Pool::default()).unwrap();
        assert_eq!(&picture.planes()[0][..2], &[235, 16]);
    }

    #[test]
    fn a_short_buffer_is_refused_to_the_byte() {
        for layout in ALL {
            let stride = layout.row_bytes(64);
            let bytes = render(layout, 64, 48, stride);
            let raw = |bytes| Raw {
                layout,
                width: 64,
                height: 48,
                stride,
                full_range: false,
                bytes,
            };
            let pool = Pool::default();
            assert!(convert(&raw(&bytes), &pool).is_ok());
            let short = convert(&raw(&bytes[..bytes.len() - 1]), &pool);
            assert!(matches!(short, Err(Unusable::Short { .. })), "{layout:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_driver_claims_never_panics(
            layout in 0..ALL.len(),
            width in prop_oneof![0..70_u32, any::<u32>()],
            height in prop_oneof![0..70_u32, any::<u32>()],
            stride in prop_oneof![0..300_u32, any::<u32>()],
            full_range: bool,
            length in 0..20_000_usize,
        ) {
            let bytes = vec![7; length];
            let raw = Raw { layout: ALL[layout], width, height, stride, full_range, bytes: &bytes };
            // What is refused must not have cost 8K of memory per attempt, so only small claims go through the pool here.
            if width <= 4096 && height <= 4096 {
                let _ = convert(&raw, &Pool::default());
            } else if width > 8193 || height > 8193 {
                prop_assert!(convert(&raw, &Pool::default()).is_err());
            }
        }
    }
}
