//! What is under a drawing, so that it can be taken away again.

use std::ops::Range;

use crate::picture::Picture;

/// Rows of a picture as they were, in memory that is used again.
#[derive(Default)]
pub struct Under {
    rows: Vec<Range<u32>>,
    saved: Vec<u8>,
}

impl Under {
    /// Keeps these rows; bounds are made even, outwards, and those beyond the picture left out.
    pub fn keep(&mut self, picture: &Picture, rows: impl IntoIterator<Item = Range<u32>>) {
        self.rows.clear();
        self.saved.clear();
        for rows in rows {
            let rows = (rows.start & !1)..rows.end.next_multiple_of(2).min(picture.height());
            for (plane, range) in picture.planes().into_iter().zip(places(&rows, picture.width())) {
                self.saved.extend_from_slice(plane.get(range).unwrap_or_default());
            }
            self.rows.push(rows);
        }
    }

    /// Puts them back into the picture that they are of.
    pub fn restore(&self, picture: &mut Picture) {
        let width = picture.width();
        let mut saved = self.saved.as_slice();
        for rows in &self.rows {
            for (plane, range) in picture.planes_mut().into_iter().zip(places(rows, width)) {
                let Some(to) = plane.get_mut(range) else { continue };
                if let Some((from, rest)) = saved.split_at_checked(to.len()) {
                    to.copy_from_slice(from);
                    saved = rest;
                }
            }
        }
    }
}

/// Where rows are in the planes of a picture of this width.
fn places(rows: &Range<u32>, width: u32) -> [Range<usize>; 3] {
    let place = |divisor: u32| {
        let at = |row: u32| (row / divisor) as usize * (width / divisor) as usize;
        at(rows.start)..at(rows.end)
    };
    [place(1), place(2), place(2)]
}
