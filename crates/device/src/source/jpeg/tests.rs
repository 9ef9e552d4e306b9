use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::*;

use super::*;

/// Smooth colours, so that what JPEG loses stays small.
fn rgb(width: u16, height: u16) -> Vec<u8> {
    let wave = |n: u32| (n % 510).min(510 - n % 510) as u8;
    (0..u32::from(height))
        .flat_map(|y| (0..u32::from(width)).flat_map(move |x| [wave(x), wave(y), wave((x + y) / 2)]))
        .collect()
}

fn encode(width: u16, height: u16, sampling: SamplingFactor, progressive: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, 95);
    encoder.set_sampling_factor(sampling);
    encoder.set_progressive(progressive);
    encoder
        .encode(&rgb(width, height), width, height, ColorType::Rgb)
        .unwrap();
    out
}

/// Start of each segment with that marker before the scan, with its length including the marker.
fn segments(jpeg: &[u8], marker: u8) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = 2;
    while jpeg[at + 1] != 0xDA {
        let length = 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        if jpeg[at + 1] == marker {
            found.push(at..at + length);
        }
        at += length;
    }
    found
}

/// As UVC cameras send it.
fn without_huffman_tables(jpeg: &[u8]) -> Vec<u8> {
    let mut out = jpeg.to_vec();
    for range in segments(jpeg, 0xC4).into_iter().rev() {
        out.drain(range);
    }
    assert!(segments(&out, 0xC4).is_empty());
    out
}

/// Largest difference of luma from what the picture was made of, and of chroma.
fn errors(picture: &Picture, full_width: u16) -> (f64, f64) {
    let [y, u, v] = picture.planes();
    let (width, rgb) = (picture.width() as usize, rgb(full_width, picture.height() as u16));
    let mut worst = (0.0_f64, 0.0_f64);
    for row in 0..picture.height() as usize {
        for x in 0..width {
            let at = 3 * (row * usize::from(full_width) + x);
            let [r, g, b] = [rgb[at], rgb[at + 1], rgb[at + 2]].map(|c| f64::from(c) / 255.0);
            let luma = 0.299 * r + 0.587 * g + 0.114 * b;
            worst.0 = worst
                .0
                .max((f64::from(y[row * width + x]) - (16.0 + 219.0 * luma)).abs());
            let chroma = row / 2 * (width / 2) + x / 2;
            let (cb, cr) = ((b - luma) / 1.772, (r - luma) / 1.402);
            worst.1 = worst.1.max((f64::from(u[chroma]) - (128.0 + 224.0 * cb)).abs());
            worst.1 = worst.1.max((f64::from(v[chroma]) - (128.0 + 224.0 * cr)).abs());
        }
    }
    worst
}

#[test]
fn decodes_every_subsampling_to_limited_range() {
    let pool = Pool::default();
    for sampling in [
        SamplingFactor::F_1_1,
        SamplingFactor::F_2_1,
        SamplingFactor::F_2_2,
        SamplingFactor::F_1_2,
    ] {
        for progressive in [false, true] {
            let picture = Decoder::default()
                .decode(&encode(160, 120, sampling, progressive), &pool)
                .unwrap();
            assert_eq!((picture.width(), picture.height()), (160, 120));
            let (luma, chroma) = errors(&picture, 160);
            assert!(
                luma < 8.0 && chroma < 8.0,
                "{sampling:?} {progressive}: {luma} {chroma}"
            );
        }
    }
}

#[test]
fn odd_sizes_lose_their_last_column_and_row() {
    for (width, height) in [(17, 17), (161, 121), (160, 121), (161, 120), (639, 479)] {
        for sampling in [SamplingFactor::F_2_1, SamplingFactor::F_2_2] {
            let jpeg = encode(width, height, sampling, false);
            let picture = Decoder::default().decode(&jpeg, &Pool::default()).unwrap();
            assert_eq!(
                (picture.width(), picture.height()),
                (u32::from(width) & !1, u32::from(height) & !1)
            );
            let (luma, chroma) = errors(&picture, width);
            assert!(
                luma < 12.0 && chroma < 12.0,
                "{width}×{height} {sampling:?}: {luma} {chroma}"
            );
        }
    }
}

#[test]
fn missing_huffman_tables_make_no_difference() {
    for sampling in [SamplingFactor::F_2_1, SamplingFactor::F_2_2] {
        let jpeg = encode(320, 240, sampling, false);
        let mut decoder = Decoder::default();
        let with = decoder.decode(&jpeg, &Pool::default()).unwrap();
        let without = decoder
            .decode(&without_huffman_tables(&jpeg), &Pool::default())
            .unwrap();
        assert!(with == without);
    }
}

#[test]
fn the_standard_tables_are_those_an_encoder_writes() {
    let jpeg = encode(64, 64, SamplingFactor::F_2_1, false);
    let written: Vec<&[u8]> = segments(&jpeg, 0xC4)
        .into_iter()
        .map(|range| &jpeg[range.start + 4..range.end])
        .collect();
    let ours: Vec<u8> = standard_huffman_tables().collect();
    assert_eq!(ours[..4], [0xFF, 0xC4, 0x01, 0xA2]);
    for table in &written {
        assert!(
            ours[4..].windows(table.len()).any(|part| part == *table),
            "{:02x?}",
            &table[..17]
        );
    }
    assert_eq!(ours.len() - 4, written.iter().map(|table| table.len()).sum::<usize>());
}

#[test]
fn grey_pictures_have_no_colour() {
    let mut jpeg = Vec::new();
    let samples: Vec<u8> = (0..64 * 48).map(|i| (i % 64 * 4) as u8).collect();
    Encoder::new(&mut jpeg, 95)
        .encode(&samples, 64, 48, ColorType::Luma)
        .unwrap();
    let picture = Decoder::default().decode(&jpeg, &Pool::default()).unwrap();
    let [y, u, v] = picture.planes();
    assert!(u.iter().chain(v).all(|&c| c == 128));
    assert!(y[0].abs_diff(16) <= 3 && y[63].abs_diff(limited_luma(252)) <= 3);
}

#[test]
fn a_cut_picture_is_refused_unless_the_camera_never_ends_them() {
    let jpeg = encode(320, 240, SamplingFactor::F_2_1, false);
    let cut = &jpeg[..jpeg.len() / 2];
    let mut decoder = Decoder::default();
    assert!(decoder.decode(&jpeg[..jpeg.len() - 2], &Pool::default()).is_ok());
    assert!(decoder.decode(&jpeg, &Pool::default()).is_ok());
    assert_eq!(decoder.decode(cut, &Pool::default()), Err(Broken::Cut(cut.len())));
    // What follows the end marker (padding of the transfer) does not matter.
    let padded = [&jpeg[..], &[0; 700]].concat();
    assert!(decoder.decode(&padded, &Pool::default()).is_ok());
}

#[test]
fn says_what_is_wrong() {
    let mut decoder = Decoder::default();
    let pool = Pool::default();
    assert_eq!(decoder.decode(b"", &pool), Err(Broken::NotJpeg(vec![])));
    assert_eq!(
        decoder.decode(&[0, 0, 0, 1, 0x67], &pool),
        Err(Broken::NotJpeg(vec![0, 0, 0, 1]))
    );
    let jpeg = encode(320, 240, SamplingFactor::F_2_1, false);
    assert_eq!(decoder.decode(&jpeg[..30], &pool), Err(Broken::Headers(30)));
    assert_eq!(
        decoder.decode(&encode(8, 8, SamplingFactor::F_2_1, false), &pool),
        Err(Broken::Size(8, 8))
    );
    let mut cmyk = Vec::new();
    Encoder::new(&mut cmyk, 90)
        .encode(&[0; 64 * 64 * 4], 64, 64, ColorType::Cmyk)
        .unwrap();
    assert_eq!(decoder.decode(&cmyk, &pool), Err(Broken::Colours));
}

#[test]
fn a_claim_of_65535_by_65535_takes_no_memory() {
    let mut jpeg = encode(64, 64, SamplingFactor::F_2_1, false);
    let frame = segments(&jpeg, 0xC0)[0].start;
    jpeg[frame + 5..frame + 9].fill(0xFF);
    let mut decoder = Decoder::default();
    assert!(decoder.decode(&jpeg, &Pool::default()).is_err());
    assert_eq!(decoder.samples.capacity(), 0);
}

proptest! {
    #[test]
    fn flipped_bytes_never_panic(
        sampling in 0..2,
        progressive: bool,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
        do_cut: bool,
    ) {
        let sampling = if sampling == 0 { SamplingFactor::F_2_1 } else { SamplingFactor::F_2_2 };
        let mut jpeg = encode(48, 32, sampling, progressive);
        for (at, value) in flips {
            let at = at.index(jpeg.len());
            jpeg[at] = value;
        }
        if do_cut {
            jpeg.truncate(cut.index(jpeg.len()));
        }
        let _ = Decoder::default().decode(&jpeg, &Pool::default());
        let _ = Decoder::default().decode(&without_tables_if_walkable(&jpeg), &Pool::default());
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Decoder::default().decode(&noise, &Pool::default());
        let _ = Decoder::default().decode(&[&[0xFF, 0xD8, 0xFF], &noise[..]].concat(), &Pool::default());
    }
}

/// Drops the first table segment wherever it is, without trusting lengths.
fn without_tables_if_walkable(jpeg: &[u8]) -> Vec<u8> {
    let Some(at) = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC4]) else {
        return jpeg.to_vec();
    };
    let mut out = jpeg.to_vec();
    out[at + 1] = 0xFE;
    out
}
