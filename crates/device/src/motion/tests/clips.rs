//! Made clips with known truth: what a camera might see, drawn with a seed, when something really moves in it, and how right somebody is about that.
//!
//! Belongs here: pictures, truth, counting. Does not belong here: anything of `device`, so that `tests/long` can use the same clips.

use std::f32::consts::TAU;
use std::fmt;

/// Pixels of a row, and rows.
pub(crate) const SIZE: (usize, usize) = (160, 120);
/// Pictures of a second, and seconds of a clip.
pub(crate) const PICTURES: usize = 5;
pub(crate) const SECONDS: usize = 60;

/// What is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Empty,
    EmptyNight,
    Walker,
    WalkerAtNight,
    WalkerInRain,
    WalkerBesideTree,
    WalkerWhileExposureChanges,
    WalkerWhileItShakes,
    SmallAnimal,
    CarParksAndLeaves,
    FaintWalker,
    Crawler,
    Rain,
    Snow,
    ExposureJumps,
    NightSwitch,
    Shake,
    MaskedTree,
    CloudShadow,
    Flicker,
    Knock,
    Lamp,
    TreeWithoutMask,
}

pub(crate) const KINDS: [Kind; 23] = [
    Kind::Empty,
    Kind::EmptyNight,
    Kind::Walker,
    Kind::WalkerAtNight,
    Kind::WalkerInRain,
    Kind::WalkerBesideTree,
    Kind::WalkerWhileExposureChanges,
    Kind::WalkerWhileItShakes,
    Kind::SmallAnimal,
    Kind::CarParksAndLeaves,
    Kind::FaintWalker,
    Kind::Crawler,
    Kind::Rain,
    Kind::Snow,
    Kind::ExposureJumps,
    Kind::NightSwitch,
    Kind::Shake,
    Kind::MaskedTree,
    Kind::CloudShadow,
    Kind::Flicker,
    Kind::Knock,
    Kind::Lamp,
    Kind::TreeWithoutMask,
];

/// The tree of [`Kind::MaskedTree`] and [`Kind::WalkerBesideTree`] moves within this: left, top, right, bottom as parts of the picture.
pub(crate) const TREE: [f64; 4] = [0.6, 0.0, 1.0, 0.65];

pub(crate) struct Clip {
    kind: Kind,
    random: Random,
    day: Vec<f32>,
    night: Vec<f32>,
    things: Vec<Thing>,
    /// Where the picture is, against where it was mounted.
    shaken: (f32, f32),
}

/// Something that crosses the picture on a straight line, and may stand for a while.
struct Thing {
    texture: Vec<f32>,
    size: (usize, usize),
    from: (f32, f32),
    /// Pixels a second.
    speed: (f32, f32),
    /// Seconds.
    begins: f32,
    /// When it stops, and when it goes on.
    rests: Option<(f32, f32)>,
}

impl Clip {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ((kind as u64 + 1) << 32) | 1);
        for _ in 0..8 {
            random.next();
        }
        let day = scene(&mut random);
        let night = in_infrared(&day, &mut random);
        let things = things(kind, &mut random, &day);
        Self {
            kind,
            random,
            day,
            night,
            things,
            shaken: (0.0, 0.0),
        }
    }

    /// When something moves: seconds from and to.
    pub(crate) fn truth(&self) -> Vec<(f32, f32)> {
        let mut truth = Vec::new();
        for thing in &self.things {
            let seen: Vec<f32> = (0..SECONDS * PICTURES)
                .map(|n| n as f32 / PICTURES as f32)
                .filter(|at| thing.is_moving(*at))
                .collect();
            let mut begun: Option<(f32, f32)> = None;
            for at in seen {
                match &mut begun {
                    Some((_, to)) if at - *to < 0.5 => *to = at,
                    other => truth.extend(other.replace((at, at))),
                }
            }
            truth.extend(begun);
        }
        truth.sort_by(|one, other| one.0.total_cmp(&other.0));
        truth
    }

    /// The picture of that number, to be asked for one after the other from 0.
    pub(crate) fn picture(&mut self, number: usize) -> Vec<u8> {
        let at = number as f32 / PICTURES as f32;
        let is_night = match self.kind {
            Kind::EmptyNight | Kind::WalkerAtNight => true,
            Kind::NightSwitch => (20.0..40.0).contains(&at),
            _ => false,
        };
        let mut canvas = if is_night { self.night.clone() } else { self.day.clone() };
        self.weather(&mut canvas, at);
        for thing in &self.things {
            thing.draw(&mut canvas, at);
        }
        if matches!(self.kind, Kind::Shake | Kind::WalkerWhileItShakes) {
            canvas = self.shake(&canvas, at);
        }
        if self.kind == Kind::Knock && at >= 20.0 {
            // It swings for a second and stays turned.
            let swing = 6.0 * (1.0 - (at - 20.0)).max(0.0) * ((at - 20.0) * 20.0).cos();
            self.shaken = (5.0 + swing, 2.0 - swing);
            canvas = self.turned(&canvas);
        }
        let gain = self.gain(at);
        let noise = match self.kind {
            Kind::Rain | Kind::WalkerInRain => 4.0,
            _ if is_night => 6.0,
            _ => 2.0,
        };
        let level = |level: &f32| (16.0 + (level - 16.0) * gain + noise * self.random.normal()).clamp(0.0, 255.0) as u8;
        canvas.iter().map(level).collect()
    }

    /// What is between the lens and the scene, or in it, and is no motion.
    fn weather(&mut self, canvas: &mut [f32], at: f32) {
        let random = &mut self.random;
        match self.kind {
            Kind::Rain | Kind::WalkerInRain => {
                for _ in 0..60 {
                    let (x, y) = (random.below(SIZE.0), random.below(SIZE.1));
                    let (length, bright) = (4 + random.below(8), 20.0 + 30.0 * random.part());
                    (y..(y + length).min(SIZE.1)).for_each(|y| canvas[y * SIZE.0 + x] += bright);
                }
            }
            Kind::Snow => {
                for _ in 0..80 {
                    let (x, y) = (random.below(SIZE.0 - 2), random.below(SIZE.1 - 2));
                    let side = 1 + random.below(3);
                    for pixel in (0..side * side).map(|n| (y + n / side) * SIZE.0 + x + n % side) {
                        canvas[pixel] = canvas[pixel].max(200.0);
                    }
                }
            }
            Kind::MaskedTree | Kind::WalkerBesideTree | Kind::TreeWithoutMask => tree(canvas, at),
            // A window that is lit, with hard edges.
            Kind::Lamp if (20.0..40.0).contains(&at) => {
                for y in 30..60 {
                    canvas[y * SIZE.0 + 50..][..40]
                        .iter_mut()
                        .for_each(|level| *level = (*level * 1.5).min(230.0));
                }
            }
            Kind::CloudShadow => {
                // Three pictures wide, so that it takes some ten seconds to come and to go.
                for (pixel, level) in canvas.iter_mut().enumerate() {
                    let across = (pixel % SIZE.0) as f32 + 0.3 * (pixel / SIZE.0) as f32;
                    let into = (at - 10.0) * 16.0 - across;
                    let shade = smooth(into / 40.0) - smooth((into - 300.0) / 40.0);
                    *level = 16.0 + (*level - 16.0) * (1.0 - 0.4 * shade);
                }
            }
            _ => {}
        }
    }

    fn gain(&self, at: f32) -> f32 {
        match self.kind {
            Kind::ExposureJumps if (15.0..30.0).contains(&at) => 1.7,
            Kind::ExposureJumps if (30.0..45.0).contains(&at) => 0.6,
            // Falls within a second, returns at once.
            Kind::WalkerWhileExposureChanges => {
                1.0 - 0.4 * (at - 22.0).clamp(0.0, 1.0) + if at > 40.0 { 0.4 } else { 0.0 }
            }
            // Mains light that beats with the shutter.
            Kind::Flicker => 1.0 + 0.12 * (at * TAU * 0.7).sin(),
            Kind::NightSwitch if (20.0..22.0).contains(&at) => 1.0 + 0.4 * (22.0 - at),
            _ => 1.0,
        }
    }

    /// Wind at the pole: one and a half pixels each way, in gusts.
    fn shake(&mut self, canvas: &[f32], at: f32) -> Vec<f32> {
        let gust = (at * TAU / 17.0).sin().max(0.0);
        let mut next = |before: f32| (0.5 * before + gust * 0.9 * self.random.normal()).clamp(-1.5, 1.5);
        self.shaken = (next(self.shaken.0), next(self.shaken.1));
        self.turned(canvas)
    }

    fn turned(&self, canvas: &[f32]) -> Vec<f32> {
        let at = |pixel: usize| {
            let (x, y) = (
                (pixel % SIZE.0) as f32 + self.shaken.0,
                (pixel / SIZE.0) as f32 + self.shaken.1,
            );
            between(canvas, x, y)
        };
        (0..canvas.len()).map(at).collect()
    }
}

impl Thing {
    /// How far it has come, in seconds of going; `None`: it is not there yet.
    fn way(&self, at: f32) -> Option<f32> {
        let rested = self.rests.map_or(0.0, |(from, to)| at.min(to).max(from) - from);
        (at >= self.begins).then_some(at - self.begins - rested)
    }

    fn place(&self, at: f32) -> Option<(f32, f32)> {
        let way = self.way(at)?;
        Some((self.from.0 + self.speed.0 * way, self.from.1 + self.speed.1 * way))
    }

    /// Most of it is in the picture and it does not rest.
    fn is_moving(&self, at: f32) -> bool {
        let rests = self.rests.is_some_and(|(from, to)| (from..to).contains(&at));
        let is_in = |at: f32, size: usize, of: usize| at > -0.5 * size as f32 && at < of as f32 - 0.5 * size as f32;
        let there = self.place(at);
        !rests && there.is_some_and(|(x, y)| is_in(x, self.size.0, SIZE.0) && is_in(y, self.size.1, SIZE.1))
    }

    fn draw(&self, canvas: &mut [f32], at: f32) {
        let Some((left, top)) = self.place(at) else { return };
        for (pixel, level) in canvas.iter_mut().enumerate() {
            let (x, y) = ((pixel % SIZE.0) as f32 - left, (pixel / SIZE.0) as f32 - top);
            if x < 0.0 || y < 0.0 || x >= self.size.0 as f32 || y >= self.size.1 as f32 {
                continue;
            }
            // Rounder than a box.
            let (across, down) = (2.0 * x / self.size.0 as f32 - 1.0, 2.0 * y / self.size.1 as f32 - 1.0);
            if across.powi(4) + down.powi(4) < 1.0 {
                *level = self.texture[y as usize * self.size.0 + x as usize];
            }
        }
    }
}

fn things(kind: Kind, random: &mut Random, day: &[f32]) -> Vec<Thing> {
    let rightwards = random.below(2) == 0;
    let mut thing = |size: (usize, usize), speed: f32, begins: f32, contrast: f32| {
        let top = 20.0 + random.part() * (SIZE.1 as f32 - 25.0 - size.1 as f32);
        let (from, speed) = if rightwards {
            ((-(size.0 as f32), top), (speed, 2.0 * random.part() - 1.0))
        } else {
            ((SIZE.0 as f32, top), (-speed, 2.0 * random.part() - 1.0))
        };
        // Darker or brighter than what it goes past, on the whole; parts of it are like that.
        let row = &day[top as usize * SIZE.0..][..SIZE.0];
        let mean = row.iter().sum::<f32>() / SIZE.0 as f32;
        let sign = if mean > 125.0 { -1.0 } else { 1.0 };
        let texture = (0..size.0 * size.1).map(|_| mean + sign * contrast + 12.0 * random.normal());
        Thing {
            texture: texture.collect(),
            size,
            from,
            speed,
            begins,
            rests: None,
        }
    };
    match kind {
        Kind::Walker | Kind::WalkerInRain | Kind::WalkerWhileExposureChanges | Kind::WalkerWhileItShakes => {
            vec![thing((10, 28), 14.0, 15.0, 50.0), thing((9, 25), 10.0, 35.0, 40.0)]
        }
        Kind::WalkerAtNight => vec![thing((10, 28), 14.0, 15.0, 55.0)],
        Kind::WalkerBesideTree => {
            let mut walker = thing((10, 26), 12.0, 20.0, 50.0);
            // Below the tree.
            walker.from.1 = 86.0;
            walker.speed.1 = 0.0;
            vec![walker]
        }
        Kind::FaintWalker => vec![thing((10, 28), 12.0, 20.0, 18.0)],
        Kind::Crawler => vec![thing((28, 10), 3.0, 12.0, 40.0)],
        Kind::SmallAnimal => vec![thing((9, 6), 12.0, 15.0, 45.0), thing((9, 6), 20.0, 38.0, 45.0)],
        Kind::CarParksAndLeaves => {
            let mut car = thing((40, 20), 20.0, 12.0, 50.0);
            car.speed.1 = 0.0;
            car.rests = Some((16.0, 42.0));
            vec![car]
        }
        _ => Vec::new(),
    }
}

/// Something like a yard: large and small patches of light, some walls and posts.
fn scene(random: &mut Random) -> Vec<f32> {
    let mut levels = vec![115.0; SIZE.0 * SIZE.1];
    for (cell, strength) in [(48.0, 35.0), (20.0, 20.0), (7.0, 12.0)] {
        let (columns, rows) = ((SIZE.0 as f32 / cell) as usize + 3, (SIZE.1 as f32 / cell) as usize + 3);
        let grid: Vec<f32> = (0..columns * rows).map(|_| 2.0 * random.part() - 1.0).collect();
        for (pixel, level) in levels.iter_mut().enumerate() {
            let (x, y) = ((pixel % SIZE.0) as f32 / cell, (pixel / SIZE.0) as f32 / cell);
            let corner = |dx: usize, dy: usize| grid[(y as usize + dy) * columns + x as usize + dx];
            let (across, down) = (smooth(x.fract()), smooth(y.fract()));
            let mix = |one: f32, other: f32, part: f32| one + (other - one) * part;
            let top = mix(corner(0, 0), corner(1, 0), across);
            *level += strength * mix(top, mix(corner(0, 1), corner(1, 1), across), down);
        }
    }
    for _ in 0..7 {
        let (left, top) = (random.below(SIZE.0), random.below(SIZE.1));
        let (width, height) = (3 + random.below(40), 3 + random.below(40));
        let by = 100.0 * random.part() - 50.0;
        for y in top..(top + height).min(SIZE.1) {
            levels[y * SIZE.0..][left..(left + width).min(SIZE.0)]
                .iter_mut()
                .for_each(|level| *level += by);
        }
    }
    levels.iter().map(|level| level.clamp(20.0, 230.0)).collect()
}

/// The same place without colours, lit by the camera: bright in the middle, leaves as bright as walls.
fn in_infrared(day: &[f32], random: &mut Random) -> Vec<f32> {
    let other = scene(random);
    let lit = |(pixel, (day, other)): (usize, (&f32, &f32))| {
        let (x, y) = (
            (pixel % SIZE.0) as f32 / 160.0 - 0.5,
            (pixel / SIZE.0) as f32 / 120.0 - 0.5,
        );
        let light = 0.9 - (x * x + y * y);
        (20.0 + light * (0.5 * day + 0.3 * other)).clamp(18.0, 230.0)
    };
    day.iter().zip(&other).enumerate().map(lit).collect()
}

/// Leaves that swing by many pixels.
fn tree(canvas: &mut [f32], at: f32) {
    let [left, top, right, bottom] = TREE;
    let (from, to) = ((left * 160.0) as usize + 8, (right * 160.0) as usize);
    for y in (top * 120.0) as usize..(bottom * 120.0) as usize - 6 {
        let swing = 7.0 * (at * TAU * 0.4 + y as f32 * 0.05).sin();
        for x in from..to {
            let leaf = ((x as f32 + swing) * 0.9).sin() * (y as f32 * 0.7 + x as f32 * 0.2).sin();
            canvas[y * SIZE.0 + x] = 70.0 + 45.0 * leaf;
        }
    }
}

/// 0 before 0, 1 behind 1, without a corner.
fn smooth(part: f32) -> f32 {
    let part = part.clamp(0.0, 1.0);
    part * part * (3.0 - 2.0 * part)
}

fn between(canvas: &[f32], x: f32, y: f32) -> f32 {
    let (x, y) = (x.clamp(0.0, SIZE.0 as f32 - 1.001), y.clamp(0.0, SIZE.1 as f32 - 1.001));
    let (column, row) = (x as usize, y as usize);
    let at = |dx: usize, dy: usize| canvas[(row + dy) * SIZE.0 + column + dx];
    let top = at(0, 0) + (at(1, 0) - at(0, 0)) * x.fract();
    let bottom = at(0, 1) + (at(1, 1) - at(0, 1)) * x.fract();
    top + (bottom - top) * y.fract()
}

/// Counts of motions, and of seconds.
#[derive(Default)]
pub(crate) struct Score {
    right: usize,
    wrong: usize,
    missed: usize,
    right_seconds: usize,
    wrong_seconds: usize,
    missed_seconds: usize,
}

/// An event may begin before most of a thing is in the picture, and end after that.
const SLACK: f32 = 2.0;

impl Score {
    /// What was told of a clip, and what is true.
    pub(crate) fn add(&mut self, truth: &[(f32, f32)], told: &[(f32, f32)]) {
        let meets = |one: (f32, f32), other: (f32, f32)| one.0 <= other.1 && other.0 <= one.1;
        for told in told {
            let is_right = truth.iter().any(|(from, to)| meets(*told, (from - SLACK, to + SLACK)));
            *(if is_right { &mut self.right } else { &mut self.wrong }) += 1;
        }
        self.missed += truth
            .iter()
            .filter(|truth| !told.iter().any(|told| meets(**truth, *told)))
            .count();
        for second in 0..SECONDS {
            let span = (second as f32, second as f32 + 1.0);
            let all_of = |motions: &[(f32, f32)]| motions.iter().any(|(from, to)| *from <= span.0 && span.1 <= *to);
            let any_of = |motions: &[(f32, f32)], slack: f32| {
                motions.iter().any(|(from, to)| meets(span, (from - slack, to + slack)))
            };
            match (all_of(truth), any_of(told, 0.0)) {
                (true, true) => self.right_seconds += 1,
                (true, false) => self.missed_seconds += 1,
                (false, true) if !any_of(truth, SLACK) => self.wrong_seconds += 1,
                _ => {}
            }
        }
    }

    /// The same of other clips.
    pub(crate) fn take(&mut self, other: &Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.missed += other.missed;
        self.right_seconds += other.right_seconds;
        self.wrong_seconds += other.wrong_seconds;
        self.missed_seconds += other.missed_seconds;
    }

    /// Of what was told, the share that is true.
    pub(crate) fn precision(&self) -> f64 {
        1.0 - self.wrong as f64 / (self.right + self.wrong).max(1) as f64
    }

    /// Of what is true, the share that was told.
    pub(crate) fn recall(&self) -> f64 {
        1.0 - self.missed as f64 / (self.right + self.missed).max(1) as f64
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} right, {} wrong, {} missed (precision {:.3}, recall {:.3}); seconds: {} right, {} wrong, {} missed",
            self.right,
            self.wrong,
            self.missed,
            self.precision(),
            self.recall(),
            self.right_seconds,
            self.wrong_seconds,
            self.missed_seconds
        )
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn part(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    /// Of a bell curve with deviation 1: the sum of four.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|n| (bits >> (16 * n)) & 0xffff).sum();
        (sum as f32 / 65_536.0 - 2.0) * 1.732
    }
}
