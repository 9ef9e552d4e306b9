//! The two test scenes, drawn by adding up what was computed once.

use std::time::Duration;

use crate::picture::Picture;

/// Side of the square texture in luma pixels. It repeats; 512 keeps it, with its chroma, at 384 KiB whatever the picture's size.
const TILE: usize = 512;
/// Noise values kept. Rows take theirs from a random place, so that no two pictures show the same noise.
const NOISE: usize = 1 << 16;
/// What is added to every noise value, so that it can be stored unsigned.
const BIAS: u8 = 16;

/// `test`.
pub(super) struct Moving {
    luma: Vec<u8>,
    chroma: [Vec<u8>; 2],
    noise: Vec<u8>,
    random: Random,
}

impl Moving {
    pub(super) fn new() -> Self {
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        let luma = texture(TILE, &mut random, 56, 190);
        let chroma = [
            texture(TILE / 2, &mut random, 108, 150),
            texture(TILE / 2, &mut random, 108, 150),
        ];
        // Sum of four uniform values: near enough to normal, standard deviation 2.2, never beyond ±8.
        let noise = (0..NOISE + TILE)
            .map(|_| {
                let sum: u32 = (0..4).map(|_| random.below(4)).sum();
                BIAS - 6 + sum as u8
            })
            .collect();
        Self {
            luma,
            chroma,
            noise,
            random,
        }
    }

    pub(super) fn draw(&mut self, picture: &mut Picture, at: Duration) {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let seconds = at.as_secs_f64();
        // A pan of 45 pixels a second to the side and a slow sway: whole pixels, even, so that chroma moves along.
        let pan_x = ((seconds * 45.0) as usize & !1) % TILE;
        let pan_y = ((128.0 + 60.0 * (seconds * 0.7).sin()) as usize & !1) % TILE;
        let [luma, u, v] = picture.planes_mut();
        for (y, row) in luma.chunks_exact_mut(width).enumerate() {
            copy_wrapped(row, &self.luma, TILE, pan_x, (y + pan_y) % TILE);
        }
        for (plane, texture) in [u, v].into_iter().zip(&self.chroma) {
            for (y, row) in plane.chunks_exact_mut(width / 2).enumerate() {
                copy_wrapped(row, texture, TILE / 2, pan_x / 2, (y + pan_y / 2) % (TILE / 2));
            }
        }
        draw_disc(
            picture,
            bounce(seconds, width, 0.23),
            bounce(seconds, height, 0.31),
            [210, 90, 150],
        );
        draw_disc(
            picture,
            bounce(seconds, width, 0.17),
            bounce(seconds, height, 0.41),
            [90, 170, 110],
        );
        draw_sweep(picture, seconds);
        self.add_noise(picture, height);
    }

    fn add_noise(&mut self, picture: &mut Picture, height: usize) {
        let [luma, ..] = picture.planes_mut();
        let width = luma.len() / height;
        for row in luma.chunks_exact_mut(width) {
            for part in row.chunks_mut(TILE) {
                let from = self.random.below(NOISE as u32) as usize;
                for (pixel, noise) in part.iter_mut().zip(&self.noise[from..]) {
                    *pixel = pixel.saturating_add(*noise).saturating_sub(BIAS);
                }
            }
        }
    }
}

/// `test:bars`.
pub(super) struct Bars {
    still: Picture,
}

impl Bars {
    /// Paints the bars into a picture of the size wanted.
    pub(super) fn new(mut still: Picture) -> Self {
        // 75 % bars in BT.601: white, yellow, cyan, green, magenta, red, blue (SMPTE EG 1 order), then black.
        const BARS: [[u8; 3]; 8] = [
            [180, 128, 128],
            [162, 44, 142],
            [131, 156, 44],
            [112, 72, 58],
            [84, 184, 198],
            [65, 100, 212],
            [35, 212, 114],
            [16, 128, 128],
        ];
        let width = still.width() as usize;
        for (index, plane) in still.planes_mut().into_iter().enumerate() {
            let width = if index == 0 { width } else { width / 2 };
            for row in plane.chunks_exact_mut(width) {
                for (x, pixel) in row.iter_mut().enumerate() {
                    *pixel = BARS[(x * BARS.len() / width).min(BARS.len() - 1)][index];
                }
            }
        }
        Self { still }
    }

    pub(super) fn draw(&mut self, picture: &mut Picture, at: Duration) {
        for (to, from) in picture.planes_mut().into_iter().zip(self.still.planes()) {
            let length = to.len().min(from.len());
            to[..length].copy_from_slice(&from[..length]);
        }
        draw_sweep(picture, at.as_secs_f64());
    }
}

/// A line along the lowest eighth that crosses the picture once a second: frozen or uneven video shows at once.
fn draw_sweep(picture: &mut Picture, seconds: f64) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let thickness = (width / 80).max(2);
    let x = ((seconds.fract() * width as f64) as usize).min(width - thickness);
    let [luma, ..] = picture.planes_mut();
    for row in luma.chunks_exact_mut(width).skip(height - height / 8) {
        row[x..x + thickness].fill(235);
    }
}

/// A filled disc of an eighth of the height, with an edge of one pixel.
fn draw_disc(picture: &mut Picture, center_x: usize, center_y: usize, color: [u8; 3]) {
    let radius = (picture.height() / 8).max(4) as usize;
    let width = picture.width() as usize;
    for (index, plane) in picture.planes_mut().into_iter().enumerate() {
        let scale = if index == 0 { 1 } else { 2 };
        let (width, radius) = (width / scale, radius / scale);
        let (center_x, center_y) = (center_x / scale, center_y / scale);
        let top = center_y.saturating_sub(radius);
        let rows = plane.chunks_exact_mut(width).enumerate().skip(top);
        for (y, row) in rows.take_while(|(y, _)| *y <= center_y + radius) {
            let half = ((radius * radius).saturating_sub(y.abs_diff(center_y).pow(2))).isqrt();
            let from = center_x.saturating_sub(half).min(width);
            let to = (center_x + half).min(width);
            row[from..to].fill(color[index]);
        }
    }
}

/// A position that goes to and fro between 0 and `length`, `rate` times a second.
fn bounce(seconds: f64, length: usize, rate: f64) -> usize {
    let phase = (seconds * rate).fract() * 2.0;
    let along = if phase < 1.0 { phase } else { 2.0 - phase };
    ((along * length as f64) as usize).min(length)
}

/// Fills `row` with row `y` of a square, repeating texture, from column `x` on.
fn copy_wrapped(row: &mut [u8], texture: &[u8], side: usize, x: usize, y: usize) {
    let line = &texture[y * side..(y + 1) * side];
    let (head, rest) = row.split_at_mut((side - x).min(row.len()));
    head.copy_from_slice(&line[x..x + head.len()]);
    for part in rest.chunks_mut(side) {
        part.copy_from_slice(&line[..part.len()]);
    }
}

/// A square of smooth bumps at four scales that repeats without a seam, between `low` and `high`.
fn texture(side: usize, random: &mut Random, low: u8, high: u8) -> Vec<u8> {
    let mut sum = vec![0_f32; side * side];
    let mut total = 0.0;
    for (cell, weight) in [(128, 1.0_f32), (32, 0.55), (8, 0.35), (4, 0.2)] {
        let cells = (side / cell).max(1);
        let lattice: Vec<f32> = (0..cells * cells)
            .map(|_| random.below(1_024) as f32 / 1_023.0)
            .collect();
        total += weight;
        for y in 0..side {
            let (row, down) = (y / cell % cells, smooth(y % cell, cell));
            for x in 0..side {
                let (column, right) = (x / cell % cells, smooth(x % cell, cell));
                let corner = |dy: usize, dx: usize| lattice[(row + dy) % cells * cells + (column + dx) % cells];
                let upper = corner(0, 0) * (1.0 - right) + corner(0, 1) * right;
                let lower = corner(1, 0) * (1.0 - right) + corner(1, 1) * right;
                sum[y * side + x] += weight * (upper * (1.0 - down) + lower * down);
            }
        }
    }
    let range = f32::from(high - low);
    sum.into_iter()
        .map(|value| low + (value / total * range) as u8)
        .collect()
}

/// Smoothstep of `part` in `whole`.
fn smooth(part: usize, whole: usize) -> f32 {
    let t = part as f32 / whole as f32;
    t * t * (3.0 - 2.0 * t)
}

/// xorshift64*: the same scene in every run.
struct Random(u64);

impl Random {
    /// Below `limit`, which is small against 2³².
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * u64::from(limit)) >> 32) as u32
    }
}
