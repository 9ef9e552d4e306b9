//! Motion JPEG as cameras send it, decoded to planar 4:2:0.
//!
//! Belongs here: mending what cameras leave out (Huffman tables, end marker), telling a whole picture from a cut one,
//! decoding, full range to limited range. Does not belong here: talking to a camera, deciding what to do about a broken
//! picture.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::pixels::{limited_chroma, limited_luma};
use crate::picture::{MAX_DIMENSION, Picture, Pool};

/// Decodes one camera's pictures; keeps its buffers from one to the next.
#[derive(Default)]
pub(crate) struct Decoder {
    /// Y, Cb, Cr of each pixel in turn, which is all that the decoder can write.
    samples: Vec<u8>,
    /// A picture with the missing tables put in.
    mended: Vec<u8>,
    /// This camera ends its pictures with an end marker, so that one without it was cut.
    ends_pictures: bool,
}

/// Why a picture cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// No start marker: not a JPEG at all.
    #[error("not a JPEG picture: it begins with {0:02x?}")]
    NotJpeg(Vec<u8>),
    /// A header segment reaches past the end, or there is no scan.
    #[error("the JPEG picture ends within its headers, after {0} bytes")]
    Headers(usize),
    /// The end marker is missing, which other pictures of this camera have.
    #[error("the JPEG picture was cut off after {0} bytes")]
    Cut(usize),
    /// Smaller than 16×16 or larger than [`MAX_DIMENSION`].
    #[error("a picture of {0}×{1} is outside 16×16 to 8192×8192")]
    Size(u32, u32),
    /// Not Y'CbCr or greyscale, which is all that JFIF allows.
    #[error("the JPEG picture is neither Y'CbCr nor greyscale")]
    Colours,
    /// What the decoder found.
    #[error("the JPEG picture is damaged: {0}")]
    Damaged(String),
}

impl Decoder {
    /// Decodes a picture, whatever its size.
    pub(crate) fn decode(&mut self, jpeg: &[u8], pool: &Pool) -> Result<Picture, Broken> {
        let headers = Headers::scan(jpeg)?;
        let end = end_marker(jpeg, headers.scan);
        match end {
            Some(_) => self.ends_pictures = true,
            None if self.ends_pictures => return Err(Broken::Cut(jpeg.len())),
            None => {}
        }
        let whole = jpeg.get(..end.unwrap_or(jpeg.len())).unwrap_or(jpeg);
        let bytes = if headers.huffman_tables {
            whole
        } else {
            let (before, scan) = whole.split_at(headers.scan.min(whole.len()));
            self.mended.clear();
            self.mended.extend_from_slice(before);
            self.mended.extend(standard_huffman_tables());
            self.mended.extend_from_slice(scan);
            &self.mended
        };
        let options = DecoderOptions::default()
            .set_strict_mode(false)
            .set_max_width(MAX_DIMENSION as usize)
            .set_max_height(MAX_DIMENSION as usize)
            .jpeg_set_out_colorspace(ColorSpace::YCbCr);
        let damaged = |error| Broken::Damaged(format!("{error:?}"));
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        decoder.decode_headers().map_err(damaged)?;
        let (width, height) = decoder.dimensions().unwrap_or_default();
        let size = Broken::Size(width as u32, height as u32);
        let grey = match decoder.input_colorspace() {
            Some(ColorSpace::YCbCr) => false,
            Some(ColorSpace::Luma) => true,
            _ => return Err(Broken::Colours),
        };
        if grey {
            decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
        }
        let Some(mut picture) = pool.take(width as u32 & !1, height as u32 & !1) else {
            return Err(size);
        };
        self.samples.resize(width * height * if grey { 1 } else { 3 }, 0);
        if let Err(error) = decoder.decode_into(&mut self.samples) {
            pool.give(picture);
            return Err(damaged(error));
        }
        if grey {
            fold_grey(&self.samples, width, &mut picture);
        } else {
            fold(&self.samples, width, &mut picture);
        }
        Ok(picture)
    }
}

/// What has to be known before decoding.
#[derive(Debug, PartialEq, Eq)]
struct Headers {
    /// Where the marker of the first scan begins.
    scan: usize,
    /// There are Huffman tables before it.
    huffman_tables: bool,
}

impl Headers {
    /// Walks the marker segments (ITU-T T.81 §B.1.1.4) up to the first scan.
    fn scan(jpeg: &[u8]) -> Result<Self, Broken> {
        if jpeg.get(..2) != Some(&[0xFF, 0xD8]) {
            return Err(Broken::NotJpeg(jpeg.iter().take(4).copied().collect()));
        }
        let cut = Broken::Headers(jpeg.len());
        let mut huffman_tables = false;
        let mut at = 2;
        while let Some(&[first, marker]) = jpeg.get(at..at + 2) {
            match (first, marker) {
                (0xFF, 0xDA) => {
                    return Ok(Self {
                        scan: at,
                        huffman_tables,
                    });
                }
                // Markers without a segment; a fill byte before a marker is another 0xFF (§B.1.1.2).
                (0xFF, 0x01 | 0xD0..=0xD8) => at += 2,
                (0xFF, 0xFF) => at += 1,
                (0xFF, _) => {
                    huffman_tables |= marker == 0xC4;
                    let Some(&[high, low]) = jpeg.get(at + 2..at + 4) else {
                        break;
                    };
                    at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
                }
                _ => at += 1,
            }
        }
        Err(cut)
    }
}

/// Where the picture ends, behind its end marker. Within a scan 0xFF 0xD9 can be nothing else (§B.1.1.2).
fn end_marker(jpeg: &[u8], scan: usize) -> Option<usize> {
    let last = jpeg.get(scan..)?.windows(2).rposition(|pair| pair == [0xFF, 0xD9])?;
    Some(scan + last + 2)
}

/// 4:4:4 interleaved, full range → 4:2:0 planar, limited range. 1080p: about a millisecond; the decoder knows no other output.
fn fold(samples: &[u8], width: usize, picture: &mut Picture) {
    let (even, half) = (picture.width() as usize, picture.width() as usize / 2);
    let [luma, u, v] = picture.planes_mut();
    let planes = luma
        .chunks_exact_mut(2 * even)
        .zip(u.chunks_exact_mut(half))
        .zip(v.chunks_exact_mut(half));
    for (((luma, u), v), rows) in planes.zip(samples.chunks_exact(6 * width)) {
        let (upper_luma, lower_luma) = luma.split_at_mut(even);
        let (upper, lower) = rows.split_at(3 * width);
        for (y, pixel) in upper_luma.iter_mut().zip(upper.chunks_exact(3)) {
            *y = limited_luma(pixel[0]);
        }
        for (y, pixel) in lower_luma.iter_mut().zip(lower.chunks_exact(3)) {
            *y = limited_luma(pixel[0]);
        }
        let pairs = upper.chunks_exact(6).zip(lower.chunks_exact(6));
        for ((u, v), (upper, lower)) in u.iter_mut().zip(v).zip(pairs) {
            let mean = |i: usize| {
                let sum = u16::from(upper[i]) + u16::from(upper[i + 3]) + u16::from(lower[i]) + u16::from(lower[i + 3]);
                limited_chroma(((sum + 2) >> 2) as u8)
            };
            *u = mean(1);
            *v = mean(2);
        }
    }
}

fn fold_grey(samples: &[u8], width: usize, picture: &mut Picture) {
    let even = picture.width() as usize;
    let [luma, u, v] = picture.planes_mut();
    for (to, from) in luma.chunks_exact_mut(even).zip(samples.chunks_exact(width)) {
        to.iter_mut().zip(from).for_each(|(y, &full)| *y = limited_luma(full));
    }
    u.fill(128);
    v.fill(128);
}

/// The tables of ITU-T T.81 Annex K.3 as a DHT segment. Motion JPEG cameras leave them out because they are always the same.
fn standard_huffman_tables() -> impl Iterator<Item = u8> {
    let tables: [(u8, &[u8; 16], &[u8]); 4] = [
        (0x00, &DC_LUMA_LENGTHS, &DC_VALUES),
        (0x10, &AC_LUMA_LENGTHS, &AC_LUMA_VALUES),
        (0x01, &DC_CHROMA_LENGTHS, &DC_VALUES),
        (0x11, &AC_CHROMA_LENGTHS, &AC_CHROMA_VALUES),
    ];
    let length = 2 + tables.iter().map(|(_, _, values)| 17 + values.len()).sum::<usize>();
    let head = [0xFF, 0xC4, (length >> 8) as u8, length as u8];
    let body = tables.into_iter().flat_map(|(class, lengths, values)| {
        let lengths = lengths.iter().copied();
        std::iter::once(class).chain(lengths).chain(values.iter().copied())
    });
    head.into_iter().chain(body)
}

// How many codes there are of 1 to 16 bits, and what they stand for (ITU-T T.81 tables K.3 to K.6).
const DC_LUMA_LENGTHS: [u8; 16] = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
const DC_CHROMA_LENGTHS: [u8; 16] = [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0];
const DC_VALUES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
const AC_LUMA_LENGTHS: [u8; 16] = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D];
const AC_CHROMA_LENGTHS: [u8; 16] = [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77];
#[rustfmt::skip]
const AC_LUMA_VALUES: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
    0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];
#[rustfmt::skip]
const AC_CHROMA_VALUES: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
    0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
    0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
    0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

#[cfg(test)]
mod tests;
