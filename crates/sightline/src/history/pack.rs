//! Figures in two bytes each, and columns of them as a blob. Pure.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

/// What is not known.
pub const UNKNOWN: u16 = 0x7E00;
/// The largest that half precision has.
const MOST: f32 = 65_504.0;

/// A blob that we did not write, or that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {0} figures")]
pub struct BadBlob(usize);

/// To half precision (IEEE 754 binary16), to the nearest: three digits. What is larger than the largest is the largest; what is no number is not known.
pub fn half(value: f64) -> u16 {
    let value = value as f32;
    if value.is_nan() {
        return UNKNOWN;
    }
    let bits = value.clamp(-MOST, MOST).to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let exponent = ((bits >> 23) & 0xFF) as i32 - 112;
    let fraction = bits & 0x7F_FFFF;
    if exponent <= 0 {
        // Below the normal ones: shifted to where they are.
        let shift = 14 - exponent;
        if shift > 24 {
            return sign;
        }
        let whole = fraction | 0x80_0000;
        return sign | ((whole + (1 << (shift - 1))) >> shift) as u16;
    }
    // A carry of the fraction is one of the exponent, as it should be.
    let rounded = (((exponent as u32) << 23) | fraction) + 0x1000;
    sign | ((rounded >> 13) as u16).min(0x7BFF)
}

/// From half precision; NaN where it is not known.
pub fn full(half: u16) -> f64 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(half >> 10 & 0x1F), f64::from(half & 0x3FF));
    match exponent {
        0x1F => f64::NAN,
        0 => sign * fraction * 2_f64.powi(-24),
        _ => sign * (1.0 + fraction / 1_024.0) * 2_f64.powi(exponent - 15),
    }
}

/// Rows of so many figures, deflated: column by column, each as how far it is from the row before, high bytes first. Figures wander, so these are mostly zeros.
pub fn pack(figures: &[u16], columns: usize) -> Vec<u8> {
    let mut steps = Vec::with_capacity(figures.len());
    for at in by_column(figures.len(), columns) {
        let before = at.checked_sub(columns).map_or(0, |at| figures[at]);
        let step = figures[at].wrapping_sub(before);
        // Small ones are small whichever way they go.
        steps.push((step << 1) ^ if step & 0x8000 == 0 { 0 } else { 0xFFFF });
    }
    let high = steps.iter().map(|step| (step >> 8) as u8);
    let bytes: Vec<u8> = high.chain(steps.iter().map(|step| *step as u8)).collect();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    // Into memory, which does not fail.
    let _ = encoder.write_all(&bytes);
    encoder.finish().unwrap_or_default()
}

/// The places of so many figures in rows, column by column.
fn by_column(count: usize, columns: usize) -> impl Iterator<Item = usize> {
    (0..columns).flat_map(move |column| (column..count).step_by(columns))
}

/// So many figures of a blob, in rows of as many as they were packed in.
///
/// # Errors
/// [`BadBlob`].
pub fn unpack(blob: &[u8], count: usize, columns: usize) -> Result<Vec<u16>, BadBlob> {
    let mut bytes = Vec::with_capacity(2 * count + 1);
    let read = DeflateDecoder::new(blob)
        .take(2 * count as u64 + 1)
        .read_to_end(&mut bytes);
    if read.is_err() || bytes.len() != 2 * count {
        return Err(BadBlob(count));
    }
    let (high, low) = bytes.split_at(count);
    let mut figures = vec![0; count];
    for (at, (high, low)) in by_column(count, columns).zip(high.iter().zip(low)) {
        let step = u16::from_be_bytes([*high, *low]);
        let step = (step >> 1) ^ if step & 1 == 0 { 0 } else { 0xFFFF };
        let before = at.checked_sub(columns).map_or(0, |at| figures[at]);
        figures[at] = step.wrapping_add(before);
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_that_people_see_are_kept_to_three_digits() {
        for value in [0.0, 1.0, 29.97, 0.5, 100.0, 2_011.0, 60_000.0, 0.001, -12.5, 1e-7] {
            let kept = full(half(value));
            assert!((kept - value).abs() <= value.abs() / 2_000.0 + 1e-7, "{value} {kept}");
        }
        assert_eq!(full(half(1e9)), 65_504.0);
        assert_eq!(full(half(f64::INFINITY)), 65_504.0);
        assert!(full(half(f64::NAN)).is_nan() && full(UNKNOWN).is_nan());
    }

    proptest! {
        #[test]
        fn each_half_is_itself(bits in any::<u16>()) {
            let value = full(bits);
            prop_assert!(value.is_nan() || half(value) == bits || value == 0.0);
        }

        #[test]
        fn what_is_packed_is_unpacked(figures in prop::collection::vec(any::<u16>(), 0..800), columns in 1..50_usize) {
            let blob = pack(&figures, columns);
            prop_assert_eq!(unpack(&blob, figures.len(), columns), Ok(figures.clone()));
            prop_assert!(unpack(&blob, figures.len() + 1, columns).is_err());
        }

        #[test]
        fn any_bytes_unpack_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = unpack(&bytes, 720, 12);
        }
    }
}
