//! Where nobody looks: polygons, made once into a bit for each pixel.

/// Parts of a picture in which nothing is motion, such as a street or a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// Corners in parts of [`ONE`] of the picture's width and height.
    polygons: Vec<Vec<(i64, i64)>>,
}

/// All of a side.
const ONE: i64 = 1 << 16;

impl Mask {
    /// Polygons of a mask, at the most.
    pub const MAX_POLYGONS: usize = 32;
    /// Corners of all polygons together, at the most: each pixel is asked for each of them when the first picture comes.
    pub const MAX_CORNERS: usize = 256;

    /// Of polygons whose corners are parts of the picture's width and height, from 0 (left, top) to 1. What lies inside an odd number of a polygon's turns
    /// lies inside of it.
    ///
    /// # Errors
    /// When there are too many, or one is no polygon within the picture.
    pub fn new(polygons: &[Vec<[f64; 2]>]) -> Result<Self, BadMask> {
        if polygons.len() > Self::MAX_POLYGONS {
            return Err(BadMask::Polygons(polygons.len()));
        }
        let corners = polygons.iter().map(Vec::len).sum();
        if corners > Self::MAX_CORNERS {
            return Err(BadMask::Corners(corners));
        }
        let of = |(number, polygon): (usize, &Vec<[f64; 2]>)| {
            let number = number + 1;
            if polygon.len() < 3 {
                return Err(BadMask::NoPolygon(number));
            }
            let corner = |at: &[f64; 2]| {
                let inside = at.iter().all(|part| (0.0..=1.0).contains(part));
                let [x, y] = at.map(|part| (part * ONE as f64).round() as i64);
                inside.then_some((x, y)).ok_or(BadMask::Outside(number, *at))
            };
            polygon.iter().map(corner).collect()
        };
        let polygons = polygons.iter().enumerate().map(of).collect::<Result<_, _>>()?;
        Ok(Self { polygons })
    }

    /// For each pixel of a picture of that size, row by row, whether its middle is looked at.
    pub(super) fn looked_at(&self, (width, height): (usize, usize)) -> Vec<bool> {
        let middle = |n: usize, of: usize| (2 * n as i64 + 1) * ONE / (2 * of as i64);
        let rows = (0..height).map(|y| middle(y, height));
        rows.flat_map(|y| (0..width).map(move |x| (middle(x, width), y)))
            .map(|at| !self.polygons.iter().any(|polygon| is_inside(polygon, at)))
            .collect()
    }
}

/// By how many sides lie to the right.
fn is_inside(polygon: &[(i64, i64)], (x, y): (i64, i64)) -> bool {
    let next = polygon.iter().cycle().skip(1);
    let sides = polygon.iter().zip(next).filter(|((from_x, from_y), (to_x, to_y))| {
        let crosses = (*from_y > y) != (*to_y > y);
        // Where the side is at this height, without the division.
        let (left, right) = ((x - from_x) * (to_y - from_y), (y - from_y) * (to_x - from_x));
        crosses && if to_y > from_y { left < right } else { left > right }
    });
    sides.count() % 2 == 1
}

/// Why polygons are no mask. Polygons are counted from 1.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadMask {
    /// So many polygons.
    #[error("{0} polygons; {most} at the most", most = Mask::MAX_POLYGONS)]
    Polygons(usize),
    /// So many corners together.
    #[error("{0} corners together; {most} at the most", most = Mask::MAX_CORNERS)]
    Corners(usize),
    /// This one has fewer than three corners.
    #[error("polygon {0} has fewer than three corners")]
    NoPolygon(usize),
    /// This one has a corner that is not in the picture.
    #[error("polygon {0} has a corner at {at}; corners are parts of the picture's width and height, from 0 to 1", at = format_args!("{}, {}", .1[0], .1[1]))]
    Outside(usize, [f64; 2]),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drawn(polygons: &[Vec<[f64; 2]>], size: (usize, usize)) -> Vec<String> {
        let looked_at = Mask::new(polygons).unwrap().looked_at(size);
        let row = |row: &[bool]| row.iter().map(|looked| if *looked { '.' } else { '#' }).collect();
        looked_at.chunks(size.0).map(row).collect()
    }

    #[test]
    fn what_is_inside_is_not_looked_at() {
        let left_half = vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]];
        assert_eq!(drawn(std::slice::from_ref(&left_half), (4, 2)), ["##..", "##.."]);
        let triangle = vec![[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        assert_eq!(drawn(&[triangle], (4, 4)), ["....", "#...", "##..", "###."]);
        // The other way around, and two of them.
        let corner = vec![[1.0, 1.0], [1.0, 0.5], [0.75, 0.5], [0.75, 1.0]];
        assert_eq!(drawn(&[left_half, corner], (4, 2)), ["##..", "##.#"]);
        assert_eq!(drawn(&[], (2, 1)), [".."]);
    }

    #[test]
    fn limits_are_exact() {
        let many = |polygons, corners| Mask::new(&vec![vec![[0.5, 0.5]; corners]; polygons]);
        assert!(many(Mask::MAX_POLYGONS, 8).is_ok());
        assert_eq!(many(33, 3), Err(BadMask::Polygons(33)));
        assert_eq!(many(1, 257), Err(BadMask::Corners(257)));
        assert_eq!(many(1, 2), Err(BadMask::NoPolygon(1)));
        for outside in [-0.01, 1.01, f64::INFINITY] {
            let bad = Mask::new(&[vec![[0.0, 0.0], [1.0, 1.0], [outside, 0.5]]]).unwrap_err();
            assert_eq!(bad, BadMask::Outside(1, [outside, 0.5]));
            assert!(bad.to_string().starts_with("polygon 1 has a corner at "), "{bad}");
        }
        assert!(Mask::new(&[vec![[f64::NAN; 2]; 3]]).is_err());
    }

    proptest! {
        #[test]
        fn any_polygons_make_a_bit_for_each_pixel(
            polygons in proptest::collection::vec(proptest::collection::vec([0.0..=1.0, 0.0..=1.0], 3..8), 0..5),
            size in (1_usize..40, 1_usize..40),
        ) {
            prop_assert_eq!(Mask::new(&polygons).unwrap().looked_at(size).len(), size.0 * size.1);
        }
    }
}
