//! The source that is always there: `test` (a moving, textured, noisy scene) and `test:bars` (colour bars).
//!
//! Belongs here: drawing those two scenes. Does not belong here: delivering them ([`super::drawn`]), clock, frame rate and
//! latency as text, the stamp ([`crate::overlay`]).
//!
//! The scene is made to cost an encoder what a camera costs it: a texture that moves past, discs that move against it, and
//! sensor noise of about 2 grey levels (standard deviation), which no motion search finds again. Drawing a 640×480 picture
//! takes 0.07 ms (release build), because texture and noise are computed once and only added per frame.

mod scene;

use std::time::Duration;

use self::scene::{Bars, Moving};
use super::drawn::Drawn;
use super::{Error, Open, Opening, Source};
use crate::picture::Picture;

/// Which test picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `test`: texture, motion, noise.
    Moving,
    /// `test:bars`: colour bars with a line that sweeps once a second. Costs an encoder next to nothing.
    Bars,
}

impl Open for Pattern {
    fn name(&self) -> String {
        match self {
            Self::Moving => "test pattern".to_owned(),
            Self::Bars => "test pattern (colour bars)".to_owned(),
        }
    }

    fn open(&mut self, with: &Opening) -> Result<Box<dyn Source>, Error> {
        let wanted = with.wanted;
        let mut scene = Scene::new(*self, wanted.width, wanted.height).ok_or_else(|| {
            Error::lasting(
                format!("no {} of {}×{}", self.name(), wanted.width, wanted.height),
                "both sizes must be even, and between 16 and 8192",
                "choose another size, for example 640x480",
            )
        })?;
        let draw = move |picture: &mut Picture, at| scene.draw(picture, at);
        Ok(Box::new(Drawn::new(&self.name(), with, draw)))
    }
}

/// Draws the pictures without delivering them: for measuring and testing encoders at any pace.
pub struct Scene(Drawing);

enum Drawing {
    Moving(Box<Moving>),
    Bars(Bars),
}

impl Scene {
    /// `None` for sizes that [`Picture::black`] refuses.
    pub fn new(pattern: Pattern, width: u32, height: u32) -> Option<Self> {
        let blank = Picture::black(width, height)?;
        Some(Self(match pattern {
            Pattern::Moving => Drawing::Moving(Box::new(Moving::new())),
            Pattern::Bars => Drawing::Bars(Bars::new(blank)),
        }))
    }

    /// Draws the scene as it is `at` after its beginning. The noise differs from call to call, in an order that is the same
    /// for every new scene. The picture is of the size given to [`Scene::new`].
    pub fn draw(&mut self, picture: &mut Picture, at: Duration) {
        match &mut self.0 {
            Drawing::Moving(scene) => scene.draw(picture, at),
            Drawing::Bars(scene) => scene.draw(picture, at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_scenes_move_and_fill_every_size() {
        for pattern in [Pattern::Moving, Pattern::Bars] {
            for (width, height) in [(16, 16), (18, 250), (640, 480), (1922, 1082)] {
                let mut scene = Scene::new(pattern, width, height).unwrap();
                let mut first = Picture::black(width, height).unwrap();
                let mut second = first.clone();
                scene.draw(&mut first, Duration::ZERO);
                scene.draw(&mut second, Duration::from_millis(1_500));
                assert_ne!(first, second, "{pattern:?} {width}×{height} stands still");
                let lit = first.planes()[0].iter().filter(|&&luma| luma > 24).count();
                assert!(
                    lit * 2 > first.planes()[0].len(),
                    "{pattern:?} {width}×{height} is mostly black"
                );
            }
        }
        assert!(Scene::new(Pattern::Moving, 15, 16).is_none());
    }

    #[test]
    fn the_noise_is_a_sensors() {
        let mut scene = Scene::new(Pattern::Moving, 640, 480).unwrap();
        let mut one = Picture::black(640, 480).unwrap();
        let mut other = one.clone();
        scene.draw(&mut one, Duration::ZERO);
        scene.draw(&mut other, Duration::ZERO);
        let differences = one.planes()[0].iter().zip(other.planes()[0]);
        let squares: f64 = differences.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
        // Two independent samples differ by √2 times the standard deviation of one.
        let deviation = (squares / 2.0 / (640.0 * 480.0)).sqrt();
        assert!((1.5..2.5).contains(&deviation), "standard deviation {deviation}");
    }
}
