//! Finding the stamp in a picture of any scale, and reading it.
//!
//! Lines are searched for the start mark: 17 edges at equal distances. Natural pictures hardly ever have that; where one has, the columns at the
//! sides, 26 blocks of known colour and the checksum decide.

use super::{COLUMNS, ROWS, START_MARK, TIME_BITS, checksum, frame_of_row};
use crate::time::WallTime;

/// Edges inside the start mark.
const EDGES: usize = COLUMNS as usize - 1;
/// Between the luma of black (16) and white (235).
const MIDDLE: u8 = 125;
/// Smallest pitch that is looked for, in pixels.
const MIN_PITCH: usize = 2;
/// Least difference of luma between the white and the black blocks.
const MIN_CONTRAST: f32 = 40.0;
/// Furthest that an edge of the mark may lie from where it should, in pitches.
const MAX_DEVIATION: f32 = 0.35;
/// Marks that are looked at in a picture: one of stripes has one at every edge. Each costs some 0.2 µs.
const MAX_MARKS: u32 = 4096;
/// Grids that are read in a picture: a chequered one has a grid at every mark. Each costs some 2 µs.
const MAX_GRIDS: u32 = 64;
/// Lines that are searched are so many to the width of a picture: four to eight through a block of the usual size, two through one of half
/// that.
const LINES_PER_WIDTH: usize = 320;

/// A stamp that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The time it says: the one nearest to what the reader believed to be now.
    pub time: WallTime,
    /// Where it was found.
    pub grid: Grid,
}

/// Position and size of a stamp in a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Left edge in pixels.
    pub x: f32,
    /// Top edge in pixels.
    pub y: f32,
    /// Width of a block in pixels.
    pub pitch_x: f32,
    /// Height of a block in pixels.
    pub pitch_y: f32,
}

/// What a search has looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effort {
    pub(super) marks: u32,
    pub(super) grids: u32,
}

/// A luma plane whose size was checked.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a> {
    luma: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
}

/// Reads the stamp in a picture, wherever it is and whatever the picture's scale, down to blocks of three pixels. `None` when there is none,
/// or when `luma` is shorter than `height` rows of `stride` bytes. `near` is the reader's own time: the stamp carries the low 48
/// bits, and the nearest time that has them is taken.
pub fn read(luma: &[u8], stride: usize, width: u32, height: u32, near: WallTime) -> Option<Reading> {
    let plane = Plane::new(luma, stride, width, height)?;
    plane.search(near, &mut Effort::default())
}

/// Reads the stamps of a stream: looks first where the last one was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    last: Option<Grid>,
}

impl Reader {
    /// See [`read`].
    pub fn read(&mut self, luma: &[u8], stride: usize, width: u32, height: u32, near: WallTime) -> Option<Reading> {
        let plane = Plane::new(luma, stride, width, height)?;
        let at_last = self.last.and_then(|grid| plane.read_grid(grid, near));
        let reading = at_last.or_else(|| plane.search(near, &mut Effort::default()));
        if let Some(reading) = reading {
            self.last = Some(reading.grid);
        }
        reading
    }
}

impl<'a> Plane<'a> {
    pub(super) fn new(luma: &'a [u8], stride: usize, width: u32, height: u32) -> Option<Self> {
        let (width, height) = (usize::try_from(width).ok()?, usize::try_from(height).ok()?);
        let needed = stride.checked_mul(height.checked_sub(1)?)?.checked_add(width)?;
        (width > 0 && width <= stride && needed <= luma.len()).then_some(Self {
            luma,
            stride,
            width,
            height,
        })
    }

    pub(super) fn search(&self, near: WallTime, effort: &mut Effort) -> Option<Reading> {
        let step = (self.width / LINES_PER_WIDTH).max(1);
        for y in (0..self.height).step_by(step) {
            let line = self.line(y);
            let found = marks(line, |edges| {
                if effort.marks >= MAX_MARKS || effort.grids >= MAX_GRIDS {
                    return None;
                }
                effort.marks += 1;
                let (x, pitch) = fit(line, edges)?;
                let grid = self.grid_below(y, x, pitch)?;
                effort.grids += 1;
                self.read_grid(grid, near)
            });
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn line(&self, y: usize) -> &'a [u8] {
        let start = y.saturating_mul(self.stride);
        self.luma
            .get(start..start.saturating_add(self.width))
            .unwrap_or_default()
    }

    /// The grid whose start mark has its left edge at `x` and lies across the line `y`: the columns at its sides tell the rest.
    fn grid_below(&self, y: usize, x: f32, pitch: f32) -> Option<Grid> {
        let left = self.column_edges(y, x + 0.5 * pitch, pitch, true)?;
        let right = self.column_edges(y, x + (COLUMNS as f32 - 0.5) * pitch, pitch, false)?;
        let mut edges = [0.0; ROWS as usize - 1];
        for (edge, (left, right)) in edges.iter_mut().zip(left.into_iter().zip(right)) {
            *edge = 0.5 * (left + right);
        }
        let (first, pitch_y) = regression(&edges)?;
        if !(0.4..=2.5).contains(&(pitch_y / pitch)) {
            return None;
        }
        Some(Grid {
            x,
            y: first - pitch_y,
            pitch_x: pitch,
            pitch_y,
        })
    }

    /// The edges below the line `y` in one of the outer columns, whose colours alternate, beginning with white or black.
    fn column_edges(&self, y: usize, x: f32, pitch: f32, mut white: bool) -> Option<[f32; ROWS as usize - 1]> {
        let longest = 3.0 * pitch + 1.0;
        let mut edges = [0.0; ROWS as usize - 1];
        let mut at = y;
        let mut value = self.across(x, at, pitch)?;
        for edge in &mut edges {
            let start = at;
            loop {
                at += 1;
                if (at - start) as f32 > longest {
                    return None;
                }
                let next = self.across(x, at, pitch)?;
                let crossed = (next > f32::from(MIDDLE)) != white;
                if crossed {
                    *edge = crossing(at, value, next);
                    value = next;
                    break;
                }
                value = next;
            }
            white = !white;
        }
        Some(edges)
    }

    /// Mean luma of three points around (`x`, `y`).
    fn across(&self, x: f32, y: usize, pitch: f32) -> Option<f32> {
        let line = self.line(y);
        let mut sum = 0.0;
        for offset in [-0.2, 0.0, 0.2] {
            sum += f32::from(*line.get((x + offset * pitch) as usize)?);
        }
        Some(sum / 3.0)
    }

    /// Mean luma of nine points around the middle of a block.
    fn block(&self, grid: Grid, column: u32, row: u32) -> Option<f32> {
        let mut sum = 0.0;
        for offset in [-0.2, 0.0, 0.2] {
            let y = grid.y + (row as f32 + 0.5 + offset) * grid.pitch_y;
            if y < 0.0 || grid.x < 0.0 {
                return None;
            }
            sum += self.across(grid.x + (column as f32 + 0.5) * grid.pitch_x, y as usize, grid.pitch_x)?;
        }
        Some(sum / 3.0)
    }

    /// Reads all blocks, and believes them when structure and checksum are right.
    fn read_grid(&self, grid: Grid, near: WallTime) -> Option<Reading> {
        let mut values = [[0.0; COLUMNS as usize]; ROWS as usize];
        for (row, values) in (0..).zip(&mut values) {
            for (column, value) in (0..).zip(values) {
                *value = self.block(grid, column, row)?;
            }
        }
        let mark = values.first()?;
        let mean = |first: usize| mark.iter().skip(first).step_by(2).sum::<f32>() / (COLUMNS / 2) as f32;
        let (white, black) = (mean(0), mean(1));
        if white - black < MIN_CONTRAST {
            return None;
        }
        let middle = 0.5 * (white + black);
        let mut rows = values.iter().map(|values| {
            values
                .iter()
                .fold(0_u32, |row, &value| row << 1 | u32::from(value > middle))
        });
        if rows.next()? != START_MARK {
            return None;
        }
        let mut data = 0_u64;
        for (index, row) in (1..).zip(rows) {
            if row & (1 << 17 | 1) != frame_of_row(index) {
                return None;
            }
            data = data << 16 | u64::from(row >> 1 & 0xffff);
        }
        let bits = data >> 16;
        (checksum(bits) == data as u16).then(|| Reading {
            time: nearest(bits, near),
            grid,
        })
    }
}

/// Calls `candidate` with the positions of every 17 edges in a line that could be those of the mark: the first pixels behind each edge.
/// Ends with the first answer.
fn marks<T>(line: &[u8], mut candidate: impl FnMut(&[usize; EDGES]) -> Option<T>) -> Option<T> {
    let longest = (line.len() / EDGES).max(MIN_PITCH);
    let mut edges = [0; EDGES];
    let mut last = 0;
    let mut distance = 0_usize;
    // Distances like the one before, the newest included.
    let mut alike = 0;
    let mut white = line.first().is_some_and(|&value| value > MIDDLE);
    for (x, &value) in line.iter().enumerate() {
        if (value > MIDDLE) == white {
            continue;
        }
        white = !white;
        edges.rotate_left(1);
        if let Some(newest) = edges.last_mut() {
            *newest = x;
        }
        let new = x - last;
        last = x;
        alike = match new {
            _ if !(MIN_PITCH..=longest).contains(&new) => 0,
            _ if alike > 0 && new.abs_diff(distance) <= 1 + distance / 3 => alike + 1,
            _ => 1,
        };
        distance = new;
        // The mark begins with white, so its last edge is one to black.
        if alike >= EDGES - 1
            && !white
            && let Some(found) = candidate(&edges)
        {
            return Some(found);
        }
    }
    None
}

/// Left edge and pitch of the mark with these edges, exact to fractions of a pixel.
fn fit(line: &[u8], edges: &[usize; EDGES]) -> Option<(f32, f32)> {
    let mut exact = [0.0; EDGES];
    for (exact, &edge) in exact.iter_mut().zip(edges) {
        let before = f32::from(*line.get(edge.checked_sub(1)?)?);
        *exact = crossing(edge, before, f32::from(*line.get(edge)?));
    }
    let (first, pitch) = regression(&exact)?;
    let x = first - pitch;
    (x >= -0.5).then_some((x.max(0.0), pitch))
}

/// Where between two pixels the luma crosses the middle: `edge` is the second one.
fn crossing(edge: usize, before: f32, behind: f32) -> f32 {
    let part = (f32::from(MIDDLE) + 0.5 - before) / (behind - before);
    edge as f32 - 0.5 + if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.5 }
}

/// First value and step of the straight line through values at equal distances; `None` when one deviates too much.
fn regression(values: &[f32]) -> Option<(f32, f32)> {
    let count = values.len() as f32;
    let middle = 0.5 * (count - 1.0);
    let mean = values.iter().sum::<f32>() / count;
    let (mut products, mut squares) = (0.0, 0.0);
    for (index, value) in values.iter().enumerate() {
        let distance = index as f32 - middle;
        products += distance * (value - mean);
        squares += distance * distance;
    }
    let step = products / squares;
    let first = mean - middle * step;
    let fits = |(index, value): (usize, &f32)| (first + index as f32 * step - value).abs() <= MAX_DEVIATION * step;
    values.iter().enumerate().all(fits).then_some((first, step))
}

/// The time nearest to `near` with these low bits.
fn nearest(bits: u64, near: WallTime) -> WallTime {
    const UNUSED: u32 = 64 - TIME_BITS;
    let difference = bits.wrapping_sub(near.unix_micros().cast_unsigned()) << UNUSED;
    near.offset_micros(difference.cast_signed() >> UNUSED)
}
