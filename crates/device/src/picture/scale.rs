//! Pictures made smaller: each pixel is the mean of what it covers, so that fine patterns do not flicker.
//!
//! For half of 640×480 this takes 0.1 ms; no crate of ours scales planes, and one that does brings every other format with it.

use super::Picture;

/// Makes pictures of one size smaller. Keeps what it computes of the sizes.
#[derive(Default)]
pub(crate) struct Scaler {
    sizes: [(u32, u32); 2],
    luma: Plane,
    chroma: Plane,
}

/// How a plane is made smaller.
#[derive(Default)]
struct Plane {
    columns: Vec<Span>,
    rows: Vec<Span>,
    /// How far rows are apart that are read.
    row_step: usize,
    /// One row of the larger plane's width: the mean of the rows that a row of the smaller one covers, 16 bits to a pixel.
    row: Vec<u32>,
}

/// What one pixel covers of a row or column.
struct Span {
    first: usize,
    /// The share of each, together [`ONE`].
    shares: Vec<u32>,
}

/// All of a pixel.
const ONE: u32 = 1 << 8;

impl Scaler {
    /// Fills `to` with `from`. Larger pictures than that are made by repeating pixels.
    pub(crate) fn scale(&mut self, from: &Picture, to: &mut Picture) {
        let sizes = [(from.width, from.height), (to.width, to.height)];
        if self.sizes != sizes {
            let half = sizes.map(|(width, height)| (width / 2, height / 2));
            (self.luma, self.chroma) = (Plane::new(sizes), Plane::new(half));
            self.sizes = sizes;
        }
        let [y, u, v] = from.planes();
        let [to_y, to_u, to_v] = to.planes_mut();
        self.luma.scale(y, to_y);
        self.chroma.scale(u, to_u);
        self.chroma.scale(v, to_v);
    }
}

/// The same for the brightness alone, of which not all rows are read where that makes no difference: reading is what it costs.
#[derive(Default)]
pub(crate) struct Luma {
    sizes: [(u32, u32); 2],
    plane: Plane,
}

impl Luma {
    /// Fills `to`, of that width and height, with the brightness of `from`.
    pub(crate) fn scale(&mut self, from: &Picture, size: (u32, u32), to: &mut [u8]) {
        let sizes = [(from.width, from.height), size];
        if self.sizes != sizes {
            self.plane = Plane::new(sizes);
            self.plane.thin_rows();
            self.sizes = sizes;
        }
        let [y, ..] = from.planes();
        self.plane.scale(y, to);
    }
}

impl Plane {
    fn new([from, to]: [(u32, u32); 2]) -> Self {
        Self {
            columns: spans(from.0, to.0),
            rows: spans(from.1, to.1),
            row_step: 1,
            row: vec![0; from.0 as usize],
        }
    }

    /// Reads a quarter of the rows where a row of the smaller plane covers eight or more.
    fn thin_rows(&mut self) {
        const STEP: usize = 4;
        if self.rows.iter().any(|span| span.shares.len() < 2 * STEP) {
            return;
        }
        self.row_step = STEP;
        for span in &mut self.rows {
            // From the middle of the first four on.
            span.first += STEP / 2;
            let count = (span.shares.len() - STEP / 2).div_ceil(STEP) as u32;
            let told = |row: u32| ONE * row / count;
            span.shares = (0..count).map(|row| told(row + 1) - told(row)).collect();
        }
    }

    fn scale(&mut self, from: &[u8], to: &mut [u8]) {
        let width = self.row.len().max(1);
        for (span, row) in self.rows.iter().zip(to.chunks_exact_mut(self.columns.len().max(1))) {
            self.row.fill(0);
            let covered = from.chunks_exact(width).skip(span.first).step_by(self.row_step.max(1));
            for (share, pixels) in span.shares.iter().zip(covered) {
                for (sum, pixel) in self.row.iter_mut().zip(pixels) {
                    *sum += u32::from(*pixel) * share;
                }
            }
            for (span, pixel) in self.columns.iter().zip(row) {
                let covered = self.row.get(span.first..).unwrap_or_default();
                let sum: u32 = (span.shares.iter().zip(covered))
                    .map(|(share, pixel)| share * pixel)
                    .sum();
                // Rounded: a picture that was made smaller again and again would grow darker.
                *pixel = ((sum + ONE * ONE / 2) / (ONE * ONE)) as u8;
            }
        }
    }
}

/// What each of `to` pixels covers of `from`.
fn spans(from: u32, to: u32) -> Vec<Span> {
    let (from, to) = (u64::from(from.max(1)), u64::from(to.max(1)));
    let one = u64::from(ONE);
    let span = |n: u64| {
        // In parts of a pixel: `to` to each of the larger picture.
        let (begin, end) = (n * from, (n + 1) * from);
        let first = begin / to;
        let last = (end - 1) / to;
        // Rounded as a running sum, so that they are `ONE` together.
        let told = |at: u64| (at.clamp(begin, end) - begin) * one / (end - begin);
        let share = |pixel: u64| (told((pixel + 1) * to) - told(pixel * to)) as u32;
        Span {
            first: first as usize,
            shares: (first..=last).map(share).collect(),
        }
    };
    (0..to).map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(width: u32, height: u32, pixel: impl Fn(u32, u32) -> u8) -> Picture {
        let mut picture = Picture::black(width, height).unwrap();
        for (plane, divisor) in picture.planes_mut().into_iter().zip([1, 2, 2]) {
            let width = (width / divisor) as usize;
            for (y, row) in plane.chunks_exact_mut(width).enumerate() {
                for (x, to) in row.iter_mut().enumerate() {
                    *to = pixel(x as u32, y as u32);
                }
            }
        }
        picture
    }

    #[test]
    fn half_of_a_picture_is_the_mean_of_four() {
        let from = filled(64, 32, |x, y| if (x + y) % 2 == 0 { 200 } else { 100 });
        let mut to = Picture::black(32, 16).unwrap();
        Scaler::default().scale(&from, &mut to);
        assert!(to.planes().concat().iter().all(|pixel| *pixel == 150));
    }

    #[test]
    fn a_slope_stays_a_slope() {
        let from = filled(150, 100, |x, y| (x + y / 2) as u8);
        let mut to = Picture::black(52, 46).unwrap();
        Scaler::default().scale(&from, &mut to);
        for (y, row) in to.planes()[0].chunks_exact(52).enumerate() {
            for (x, pixel) in row.iter().enumerate() {
                let place = |n: usize, from: f64, to: f64| (n as f64 + 0.5) * from / to - 0.5;
                let expected = place(x, 150.0, 52.0) + place(y, 100.0, 46.0) / 2.0;
                assert!(
                    (f64::from(*pixel) - expected).abs() < 1.5,
                    "{x},{y}: {pixel} for {expected}"
                );
            }
        }
    }

    #[test]
    fn a_quarter_of_the_rows_is_the_same_picture() {
        let from = filled(960, 720, |x, y| (x / 6 + y / 8) as u8);
        let mut thinned = vec![0; 160 * 80];
        Luma::default().scale(&from, (160, 80), &mut thinned);
        let mut plane = Plane::new([(960, 720), (160, 80)]);
        let mut whole = thinned.clone();
        plane.scale(from.planes()[0], &mut whole);
        let apart = thinned.iter().zip(&whole).map(|(one, other)| one.abs_diff(*other));
        assert!(apart.max().unwrap() <= 1);
        // Small ones are read whole.
        let mut luma = Luma::default();
        luma.scale(&filled(64, 64, |_, _| 9), (16, 16), &mut [0; 256]);
        assert_eq!(luma.plane.row_step, 1);
    }

    proptest! {
        /// Any sizes, also larger ones: nothing gets brighter or darker than it was.
        #[test]
        fn one_colour_stays_that_colour(sizes in [(8_u32..80, 8_u32..80), (8_u32..80, 8_u32..80)], colour: u8) {
            let [from, to] = sizes.map(|(width, height)| (width * 2, height * 2));
            let from = filled(from.0, from.1, |_, _| colour);
            let mut to = Picture::black(to.0, to.1).unwrap();
            Scaler::default().scale(&from, &mut to);
            prop_assert!(to.planes().concat().iter().all(|pixel| *pixel == colour));
        }
    }
}
