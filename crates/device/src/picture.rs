//! Raw pictures in planar 4:2:0, the one format between capture, overlay, encoder and decoder.
//!
//! Belongs here: the picture type and its planes, smaller ones ([`scale`]), how many come a second, and where used ones wait for their next use. Does not belong here: conversions from what a camera delivers (those are
//! with their source) and drawing ([`crate::overlay`]).

pub(crate) mod scale;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A picture in planar YUV 4:2:0 (I420), 8 bits, BT.601 limited range. Planes are tightly packed (stride = plane width); sizes
/// are even.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

/// Largest picture we handle: 8K. A peer's or camera's claim beyond it is refused before memory is taken.
pub const MAX_DIMENSION: u32 = 8192;

impl Clone for Picture {
    fn clone(&self) -> Self {
        Self {
            data: self.data.clone(),
            ..*self
        }
    }

    /// Without allocating, where the sizes are the same.
    fn clone_from(&mut self, source: &Self) {
        (self.width, self.height) = (source.width, source.height);
        self.data.clone_from(&source.data);
    }
}

impl Picture {
    /// A black picture. `None` unless both sizes are even and between 16 and [`MAX_DIMENSION`].
    pub fn black(width: u32, height: u32) -> Option<Self> {
        let valid = |n: u32| (16..=MAX_DIMENSION).contains(&n) && n.is_multiple_of(2);
        if !valid(width) || !valid(height) {
            return None;
        }
        let luma = width as usize * height as usize;
        let mut data = vec![16; luma + luma / 2];
        data[luma..].fill(128);
        Some(Self { width, height, data })
    }

    /// Copies three tightly packed planes. `None` for sizes that [`Picture::black`] refuses and planes of another length.
    pub fn from_planes(width: u32, height: u32, planes: [&[u8]; 3]) -> Option<Self> {
        let mut picture = Self::black(width, height)?;
        for (to, from) in picture.planes_mut().into_iter().zip(planes) {
            if to.len() != from.len() {
                return None;
            }
            to.copy_from_slice(from);
        }
        Some(picture)
    }

    /// Pixels per row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// All three planes in order, as raw I420 files hold them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.data
    }

    /// The planes Y, U, V.
    pub fn planes(&self) -> [&[u8]; 3] {
        let luma = self.width as usize * self.height as usize;
        let (y, chroma) = self.data.split_at(luma);
        let (u, v) = chroma.split_at(luma / 4);
        [y, u, v]
    }

    /// Puts another picture onto this one, its corner at these pixels from the left and the top. What does not fit is left out; odd places are the even ones in front of them.
    pub fn put(&mut self, (x, y): (u32, u32), other: &Self) {
        self.copy((x, y), other, (0, 0), (other.width, other.height));
    }

    /// The part of this picture that begins there and has this size. `None` where it reaches out of the picture, and for sizes that [`Picture::black`] refuses.
    pub fn part(&self, (x, y): (u32, u32), (width, height): (u32, u32)) -> Option<Self> {
        let is_within = |begin: u32, length: u32, of: u32| begin.checked_add(length).is_some_and(|end| end <= of);
        if !is_within(x, width, self.width) || !is_within(y, height, self.height) {
            return None;
        }
        let mut part = Self::black(width, height)?;
        part.copy((0, 0), self, (x, y), (width, height));
        Some(part)
    }

    /// Copies as much of a part of another picture as there is room for.
    fn copy(&mut self, to: (u32, u32), other: &Self, from: (u32, u32), size: (u32, u32)) {
        let widths = (self.width as usize, other.width as usize);
        for ((plane, source), scale) in self.planes_mut().into_iter().zip(other.planes()).zip([1, 2, 2]) {
            let scaled = |n: u32| n as usize / 2 * 2 / scale;
            let rows = plane.chunks_exact_mut(widths.0 / scale).skip(scaled(to.1));
            let sources = source.chunks_exact(widths.1 / scale).skip(scaled(from.1));
            for (row, source) in rows.zip(sources).take(scaled(size.1)) {
                let row = row.get_mut(scaled(to.0)..).unwrap_or_default();
                let source = source.get(scaled(from.0)..).unwrap_or_default();
                let length = scaled(size.0).min(row.len()).min(source.len());
                if let (Some(row), Some(source)) = (row.get_mut(..length), source.get(..length)) {
                    row.copy_from_slice(source);
                }
            }
        }
    }

    /// The same picture in another size: smaller, each pixel is the mean of what it covers; larger, pixels are repeated. `None` for sizes that
    /// [`Picture::black`] refuses.
    pub fn scaled(&self, width: u32, height: u32) -> Option<Self> {
        let mut scaled = Self::black(width, height)?;
        scale::Scaler::default().scale(self, &mut scaled);
        Some(scaled)
    }

    /// The planes Y, U, V, to draw into.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let luma = self.width as usize * self.height as usize;
        let (y, chroma) = self.data.split_at_mut(luma);
        let (u, v) = chroma.split_at_mut(luma / 4);
        [y, u, v]
    }
}

/// Pictures per second, as a fraction: 30/1, 30000/1001.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRate {
    frames: u32,
    seconds: u32,
}

impl FrameRate {
    /// `frames` in `seconds`. `None` outside 1 frame in 60 seconds to 480 frames a second, or when a part is zero.
    pub const fn new(frames: u32, seconds: u32) -> Option<Self> {
        if frames == 0 || seconds == 0 || frames as u64 > 480 * seconds as u64 || frames as u64 * 60 < seconds as u64 {
            return None;
        }
        Some(Self { frames, seconds })
    }

    /// A whole number of frames per second, clamped to 1–480.
    pub const fn whole(fps: u32) -> Self {
        let frames = if fps == 0 {
            1
        } else if fps > 480 {
            480
        } else {
            fps
        };
        Self { frames, seconds: 1 }
    }

    /// Numerator: frames.
    pub const fn frames(self) -> u32 {
        self.frames
    }

    /// Denominator: the seconds those frames take.
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// Frames per second.
    pub fn as_f64(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }

    /// When frame `n` is due after frame 0. Exact to the nanosecond for any `n`, so that adding up does not drift.
    pub fn due(self, n: u64) -> Duration {
        let nanos = u128::from(n) * u128::from(self.seconds) * 1_000_000_000 / u128::from(self.frames);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// From one frame to the next.
    pub fn interval(self) -> Duration {
        self.due(1)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.frames.is_multiple_of(self.seconds) {
            write!(f, "{}", self.frames / self.seconds)
        } else {
            write!(f, "{:.2}", self.as_f64())
        }
    }
}

/// Pictures that can be used again. A 640×480 picture is 450 KiB: allocated afresh it costs over a hundred page faults a frame.
///
/// Cheap to clone; clones share the pictures.
#[derive(Clone, Default)]
pub struct Pool {
    spare: Arc<Mutex<Vec<Picture>>>,
}

impl Pool {
    /// Most pictures kept: one being captured, one in the mailbox, one being encoded, one to spare.
    const KEPT: usize = 4;

    /// A picture of that size whose content is anything. `None` for sizes that [`Picture::black`] refuses.
    pub fn take(&self, width: u32, height: u32) -> Option<Picture> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        // After a change of size the old ones only hold memory.
        spare.retain(|picture| picture.width == width && picture.height == height);
        spare.pop().or_else(|| Picture::black(width, height))
    }

    /// Gives a picture back.
    pub fn give(&self, picture: Picture) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < Self::KEPT {
            spare.push(picture);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_rate_does_not_drift() {
        let ntsc = FrameRate::new(30_000, 1_001).unwrap();
        assert_eq!(ntsc.due(30_000), Duration::from_secs(1_001));
        assert_eq!(
            FrameRate::whole(30).due(30 * 86_400 * 365),
            Duration::from_secs(86_400 * 365)
        );
    }

    #[test]
    fn frame_rate_limits_are_exact() {
        assert!(FrameRate::new(480, 1).is_some() && FrameRate::new(481, 1).is_none());
        assert!(FrameRate::new(1, 60).is_some() && FrameRate::new(1, 61).is_none());
        assert!(FrameRate::new(0, 1).is_none() && FrameRate::new(1, 0).is_none());
        assert_eq!((FrameRate::whole(0).frames(), FrameRate::whole(999).frames()), (1, 480));
    }

    #[test]
    fn a_pool_keeps_few_and_only_one_size() {
        let pool = Pool::default();
        for _ in 0..2 * Pool::KEPT {
            pool.give(Picture::black(32, 32).unwrap());
        }
        assert_eq!(pool.spare.lock().unwrap().len(), Pool::KEPT);
        assert_eq!(pool.take(64, 32).unwrap().width(), 64);
        assert_eq!(pool.spare.lock().unwrap().len(), 0);
        assert!(pool.take(33, 32).is_none());
    }

    proptest! {
        /// What is put somewhere is found there, and nothing else changes; wherever that is.
        #[test]
        fn parts_are_what_was_put_there(at in (0_u32..80, 0_u32..80), size in (8_u32..30, 8_u32..30)) {
            let (at, size) = ((at.0 * 2, at.1 * 2), (size.0 * 2, size.1 * 2));
            let mut small = Picture::black(size.0, size.1).unwrap();
            for (plane, value) in small.planes_mut().into_iter().zip(1_u8..) {
                plane.iter_mut().zip(0_u8..=255).for_each(|(pixel, n)| *pixel = n.wrapping_mul(7) | value);
            }
            let mut large = Picture::black(100, 100).unwrap();
            large.put(at, &small);
            let is_within = at.0 + size.0 <= 100 && at.1 + size.1 <= 100;
            prop_assert_eq!(large.part(at, size), is_within.then(|| small.clone()));
            if is_within {
                large.put(at, &Picture::black(size.0, size.1).unwrap());
                prop_assert_eq!(large, Picture::black(100, 100).unwrap());
            }
        }

        #[test]
        fn no_place_panics(at: (u32, u32), from: (u32, u32), size: (u32, u32)) {
            let mut picture = Picture::black(32, 16).unwrap();
            let other = Picture::black(64, 64).unwrap();
            picture.put(at, &other);
            let _ = other.part(from, size);
            let _ = other.part((from.0 % 80, from.1 % 80), (size.0 % 80, size.1 % 80));
        }

        #[test]
        fn frame_rates_never_panic(frames: u32, seconds: u32, n: u64) {
            if let Some(rate) = FrameRate::new(frames, seconds) {
                let _ = (rate.due(n), rate.to_string(), rate.interval());
            }
        }
    }
}
