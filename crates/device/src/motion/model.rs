//! What a camera sees when nothing moves: for each pixel a mean and how far it is off by noise, and what differs from that.

use super::blobs::{Blob, Finder};
use super::grey::Grey;
use super::mask::Mask;

/// Brightness is kept in parts of a grey level: 64 leave room for what is four times as bright as white, where an exposure was raised and is lowered again.
const ONE: i32 = 64;
/// Black of limited range.
const BLACK: i32 = 16;
/// No background is brighter than this.
const MOST: i32 = 1_020 * ONE;
/// From here on pixels may be clipped, and tell no more.
const WHITE: i32 = 235;
/// Pictures that are learned before anything is told.
const LEARNED: u32 = 10;
/// Of a difference, what the background takes over with a picture: six seconds at five pictures a second.
const RATE: i32 = 32;
/// The same where something moves, in parts of a grey level: a minute and a half for 60 levels.
const CREEP: i32 = 8;
/// How slowly the deviation follows where something moves: a tree that nobody masked is known after a minute.
const SLOW_RATE: i32 = 128;
/// The deviation follows no difference beyond this many grey levels.
const MOST_DIFFERENCE: i32 = 64;
/// Of a new pixel, in grey levels.
const FIRST_DEVIATION: i32 = 2;
/// A gain of one.
const UNITY: i32 = 512;
/// Every so many pixels are asked for the gain: its median is good to a tenth of a percent with 6,000 of them.
const STRIDE: usize = 3;
/// Fewer pixels than this say nothing about it.
const LEAST_SAMPLES: u32 = 64;
/// Pixels of each three by three that differ, that one is believed: noise stands alone.
const SUPPORT: u8 = 4;
/// How far apart pixels are that are compared for edges.
const REACH: usize = 4;
/// When more than one pixel in so many of what is looked at differs, the whole scene is another one.
const CHANGED: usize = 2;
/// Or so many more than in the picture before, where that was just now: nothing comes as fast but another light. A thing would be 50 pixels wide and high.
const CHANGED_AT_ONCE: usize = 8;

/// How much a pixel has to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// In parts of a grey level.
    floor: i32,
    /// How many deviations, in quarters.
    quarters: i32,
}

impl Limits {
    /// 50 is 13 grey levels and five and a half deviations.
    pub(super) fn of(sensitivity: u8) -> Self {
        let dull = 100 - i32::from(sensitivity.clamp(1, 100));
        Self {
            floor: ONE * 4 + ONE * 36 * dull * dull / 10_000,
            quarters: 12 + 20 * dull / 100,
        }
    }

    fn of_pixel(self, deviation: u16) -> i32 {
        self.floor.max(i32::from(deviation) * self.quarters / 4)
    }
}

/// What a picture shows.
pub(super) enum Seen<'a> {
    /// Not known: what is there is still being learned.
    Learning,
    /// What moves.
    Blobs(&'a [Blob]),
}

/// One camera's background.
pub(super) struct Model {
    width: usize,
    height: usize,
    looked_at: Vec<bool>,
    /// How many of them.
    looked: usize,
    /// Pictures that it is made of, up to [`RATE`].
    seen: u32,
    /// Pixels that differed in the newest picture.
    differing: usize,
    /// Parts of a grey level, each.
    mean: Vec<u16>,
    deviation: Vec<u16>,
    /// The mean of the last pictures, which tells what moves from what merely differs.
    recent: Vec<u16>,
    work: Work,
    finder: Finder,
}

/// What is computed anew with each picture.
struct Work {
    /// Parts of a grey level by which a pixel is off what it and its neighbours usually are.
    off: Vec<u16>,
    /// The least it must be off by.
    limit: Vec<u16>,
    differs: Vec<u8>,
    /// How many of a pixel and its two neighbours in the row differ.
    in_row: Vec<u8>,
    /// The least and the most of a pixel and its neighbours, in the row first.
    range: Vec<(u16, u16)>,
    row_range: Vec<(u16, u16)>,
}

impl Model {
    pub(super) fn new(grey: &Grey, mask: &Mask) -> Self {
        let (width, height) = grey.size();
        let looked_at = mask.looked_at((width, height));
        let pixels = width * height;
        let level = |pixel: &u8| u16::from(*pixel) * ONE as u16;
        let mean: Vec<u16> = grey.pixels().iter().map(level).collect();
        Self {
            width,
            height,
            looked: looked_at.iter().filter(|looked| **looked).count(),
            looked_at,
            seen: 0,
            differing: 0,
            deviation: vec![(FIRST_DEVIATION * ONE) as u16; pixels],
            recent: mean.clone(),
            mean,
            work: Work {
                off: vec![0; pixels],
                limit: vec![0; pixels],
                differs: vec![0; pixels],
                in_row: vec![0; pixels],
                range: vec![(0, 0); pixels],
                row_range: vec![(0, 0); pixels],
            },
            finder: Finder::new(width, height),
        }
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Takes in the next picture, of the same size. `is_soon`: it is of the same half second as the one before.
    pub(super) fn look(&mut self, grey: &Grey, limits: Limits, min_size_permille: u16, is_soon: bool) -> Seen<'_> {
        let pixels = grey.pixels();
        let gain = self.gain(pixels);
        self.scale(gain);
        if self.seen < LEARNED {
            self.learn(pixels);
            return Seen::Learning;
        }
        self.compare(pixels, limits);
        let differing = self.keep_supported();
        let at_once = differing.saturating_sub(self.differing);
        self.differing = differing;
        if differing * CHANGED > self.looked || is_soon && at_once * CHANGED_AT_ONCE > self.looked {
            self.begin_anew(pixels);
            return Seen::Learning;
        }
        let min_pixels = (self.looked * usize::from(min_size_permille.min(1_000))).div_ceil(1_000);
        self.find(pixels, min_pixels.max(1));
        self.follow(pixels);
        Seen::Blobs(self.finder.blobs())
    }

    /// How much brighter the picture is than the background, in parts of [`UNITY`]: the median over its pixels, so that less than half of it may be anything.
    fn gain(&self, pixels: &[u8]) -> i32 {
        let mut counts = [0_u32; 4 * UNITY as usize];
        let mut samples = 0;
        let asked = self.mean.iter().zip(pixels).zip(&self.looked_at).step_by(STRIDE);
        for ((mean, pixel), looked) in asked {
            let (mean, pixel) = (i32::from(*mean) - BLACK * ONE, i32::from(*pixel) - BLACK);
            // What is dark is noise for the most part.
            if !looked || mean < 8 * ONE || !(2..WHITE - BLACK).contains(&pixel) {
                continue;
            }
            let ratio = (pixel * ONE * UNITY / mean) as usize;
            if let Some(count) = counts.get_mut(ratio) {
                *count += 1;
                samples += 1;
            }
        }
        if samples < LEAST_SAMPLES {
            return UNITY;
        }
        let mut below = 0;
        let median = counts.iter().position(|count| {
            below += count;
            below * 2 >= samples
        });
        median.map_or(UNITY, |median| (median as i32).max(UNITY / 4))
    }

    /// Makes the background as bright as the picture.
    fn scale(&mut self, gain: i32) {
        if (UNITY - 1..=UNITY + 1).contains(&gain) {
            return;
        }
        let brighter = |level: u16| {
            let above = i32::from(level) - BLACK * ONE;
            let scaled = BLACK * ONE + above * gain / UNITY;
            if above <= 0 { level } else { scaled.min(MOST) as u16 }
        };
        for level in self.mean.iter_mut().chain(&mut self.recent) {
            *level = brighter(*level);
        }
        // Noise grows with it, and is not less for being darker.
        if gain > UNITY {
            for deviation in &mut self.deviation {
                let more = i32::from(*deviation) * gain / UNITY;
                *deviation = more.min(MOST_DIFFERENCE * ONE) as u16;
            }
        }
    }

    /// The mean of the first pictures, and of the first after a change.
    fn learn(&mut self, pixels: &[u8]) {
        self.seen += 1;
        let rate = self.seen as i32 + 1;
        let levels = self.mean.iter_mut().zip(&mut self.deviation).zip(&mut self.recent);
        for (((mean, deviation), recent), pixel) in levels.zip(pixels) {
            let level = i32::from(*pixel) * ONE;
            let off = level - i32::from(*mean);
            *mean = (i32::from(*mean) + off / rate) as u16;
            let off = off.abs().min(MOST_DIFFERENCE * ONE);
            *deviation = (i32::from(*deviation) + (off - i32::from(*deviation)) / (rate + 4)) as u16;
            *recent = level as u16;
        }
    }

    fn begin_anew(&mut self, pixels: &[u8]) {
        self.seen = 0;
        for ((mean, recent), pixel) in self.mean.iter_mut().zip(&mut self.recent).zip(pixels) {
            *mean = u16::from(*pixel) * ONE as u16;
            *recent = *mean;
        }
        self.deviation.fill((FIRST_DEVIATION * ONE) as u16);
    }

    /// By how much each pixel is off, and whether that is enough.
    fn compare(&mut self, pixels: &[u8], limits: Limits) {
        self.find_ranges();
        let Work {
            off,
            limit,
            differs,
            range,
            ..
        } = &mut self.work;
        let results = off.iter_mut().zip(limit).zip(differs);
        let known = self.deviation.iter().zip(&self.looked_at).zip(range);
        for ((((off, limit), differs), ((deviation, looked), (least, most))), pixel) in results.zip(known).zip(pixels) {
            // Where a camera shakes or a leaf trembles, a pixel shows what its neighbour did.
            let (least, most) = (i32::from(*least).min(WHITE * ONE), i32::from(*most).min(WHITE * ONE));
            let level = i32::from(*pixel).min(WHITE) * ONE;
            let by = (level - most).max(least - level).max(0);
            let needed = limits.of_pixel(*deviation);
            *off = by as u16;
            *limit = needed as u16;
            *differs = u8::from(*looked && by > needed);
        }
    }

    /// The least and the most of each pixel and its eight neighbours in the background.
    fn find_ranges(&mut self) {
        let (width, mean) = (self.width, &self.mean);
        let Work { range, row_range, .. } = &mut self.work;
        for (row, ranges) in mean.chunks_exact(width).zip(row_range.chunks_exact_mut(width)) {
            around(row, ranges, |level| (*level, *level), widened);
        }
        let rows = |y: usize| {
            row_range
                .chunks_exact(width)
                .skip(y.saturating_sub(1))
                .take(if y == 0 { 2 } else { 3 })
        };
        for (y, ranges) in range.chunks_exact_mut(width).enumerate() {
            ranges.fill((u16::MAX, 0));
            for near in rows(y) {
                for (range, near) in ranges.iter_mut().zip(near) {
                    *range = widened(*range, *near);
                }
            }
        }
    }

    /// Of pixels that differ, those that have others around them stay. Says how many.
    fn keep_supported(&mut self) -> usize {
        let width = self.width;
        let Work { differs, in_row, .. } = &mut self.work;
        for (row, sums) in differs.chunks_exact(width).zip(in_row.chunks_exact_mut(width)) {
            around(row, sums, |differs| *differs, |one, other| one + other);
        }
        let mut kept = 0;
        for (y, row) in differs.chunks_exact_mut(width).enumerate() {
            let near = || {
                in_row
                    .chunks_exact(width)
                    .skip(y.saturating_sub(1))
                    .take(if y == 0 { 2 } else { 3 })
            };
            for (x, differs) in row.iter_mut().enumerate() {
                if *differs == 0 {
                    continue;
                }
                let sum: u8 = near().filter_map(|row| row.get(x)).sum();
                *differs = u8::from(sum >= SUPPORT);
                kept += usize::from(*differs);
            }
        }
        kept
    }

    /// Finds what moves.
    fn find(&mut self, pixels: &[u8], min_pixels: usize) {
        let Self {
            width,
            mean,
            recent,
            work,
            finder,
            ..
        } = self;
        finder.label(&work.differs);
        for (at, _) in work.differs.iter().enumerate().filter(|(_, differs)| **differs != 0) {
            let (Some(pixel), Some(mean_here), Some(recent)) = (pixels.get(at), mean.get(at), recent.get(at)) else {
                return;
            };
            let (off, limit) = (work.off.get(at), work.limit.get(at));
            let (off, limit) = (
                off.map_or(0, |off| i32::from(*off)),
                limit.map_or(0, |limit| i32::from(*limit)),
            );
            let level = i32::from(*pixel) * ONE;
            let moves = (level - i32::from(*recent)).abs() * 4 > limit * 3;
            let here = (level, i32::from(*mean_here));
            let before = |by: usize| {
                let at = at.checked_sub(by)?;
                Some((i32::from(*pixels.get(at)?) * ONE, i32::from(*mean.get(at)?)))
            };
            let left = (at % *width >= REACH).then(|| before(REACH)).flatten();
            let is_edge = [left, before(REACH * *width)]
                .into_iter()
                .flatten()
                .any(|there| is_edge(here, there, limit));
            finder.count(at, moves, is_edge, (off, limit));
        }
        finder.choose(min_pixels);
    }

    /// Lets the background follow the picture: at its usual rate where nothing moves, and hardly where something does.
    fn follow(&mut self, pixels: &[u8]) {
        self.seen = (self.seen + 1).min(RATE as u32);
        let rate = self.seen as i32;
        let levels = self.mean.iter_mut().zip(&mut self.deviation).zip(&mut self.recent);
        for (at, ((((mean, deviation), recent), pixel), off)) in levels.zip(pixels).zip(&self.work.off).enumerate() {
            let level = i32::from(*pixel) * ONE;
            let before = i32::from(*mean);
            *recent = (i32::from(*recent) + (level - i32::from(*recent)) / 2) as u16;
            let off = i32::from(*off).min(MOST_DIFFERENCE * ONE) - i32::from(*deviation);
            let is_clipped = i32::from(*pixel) >= WHITE && before >= WHITE * ONE;
            let (step, spread) = if self.finder.is_chosen(at) {
                ((level - before).clamp(-CREEP, CREEP), off / SLOW_RATE)
            } else {
                ((level - before) / rate, rounded_up(off, RATE))
            };
            if !is_clipped {
                *mean = (before + step) as u16;
            }
            *deviation = (i32::from(*deviation) + spread) as u16;
        }
    }
}

/// Whether the picture changed between two pixels that are near each other, in a way that light does not: a shadow makes both darker by the same share.
fn is_edge((here, mean_here): (i32, i32), (there, mean_there): (i32, i32), limit: i32) -> bool {
    let bright = |mean: i32| i64::from((mean - BLACK * ONE).max(ONE));
    let off = |level: i32, mean: i32| i64::from(level.min(WHITE * ONE) - mean.min(WHITE * ONE));
    let (bright_here, bright_there) = (bright(mean_here), bright(mean_there));
    let apart = off(here, mean_here) * bright_there - off(there, mean_there) * bright_here;
    apart.abs() > i64::from(limit) * bright_here.max(bright_there)
}

fn widened(one: (u16, u16), other: (u16, u16)) -> (u16, u16) {
    (one.0.min(other.0), one.1.max(other.1))
}

/// Of each place in a row, what comes of it and the places beside it.
fn around<T, R: Copy>(row: &[T], results: &mut [R], of: impl Fn(&T) -> R, with: impl Fn(R, R) -> R) {
    for (x, result) in results.iter_mut().enumerate() {
        let near = row.get(x.saturating_sub(1)..(x + 2).min(row.len())).unwrap_or_default();
        if let Some(all) = near.iter().map(&of).reduce(&with) {
            *result = all;
        }
    }
}

/// Divided, away from zero: small differences count as well.
fn rounded_up(value: i32, by: i32) -> i32 {
    (value.abs() + by - 1) / by * value.signum()
}
