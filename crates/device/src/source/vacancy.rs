//! The slate as a source of its own: what a stream shows while nobody publishes it.
//!
//! Belongs here: that a stream nobody publishes is a source. Does not belong here: its looks ([`super::slate`]), who has to publish and since
//! when nobody does (the error that is handed in says it).

use super::drawn::Drawn;
use super::slate::{Message, Slate};
use super::{Error, Open, Opening, Source};
use crate::picture::Picture;

/// A slate for a stream, in the size and at the rate that are wanted.
#[derive(Clone, Debug)]
pub struct Vacancy {
    stream: String,
    message: Message,
}

impl Vacancy {
    /// Says `what` is missing, why and what to do about it, under the stream's name.
    pub fn new(stream: impl Into<String>, what: Error) -> Self {
        Self {
            stream: stream.into(),
            message: Message::Vacant(what),
        }
    }
}

impl Open for Vacancy {
    fn name(&self) -> String {
        "slate".to_owned()
    }

    fn open(&mut self, with: &Opening) -> Result<Box<dyn Source>, Error> {
        let wanted = with.wanted;
        if Picture::black(wanted.width, wanted.height).is_none() {
            return Err(Error::lasting(
                format!("no slate of {}×{}", wanted.width, wanted.height),
                "both sizes must be even, and between 16 and 8192",
                "publish pictures of another size",
            ));
        }
        let (mut slate, message) = (Slate::new(self.stream.as_str()), self.message.clone());
        let draw = move |picture: &mut Picture, _| slate.draw(picture, &message, None);
        Ok(Box::new(Drawn::new(&self.name(), with, draw)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use media::Clock as _;
    use testkit::clock::SystemClock;

    use super::*;
    use crate::picture::{FrameRate, Pool};
    use crate::source::{Captured, Wanted};

    fn open(width: u32, height: u32) -> Result<Box<dyn Source>, Error> {
        let what = Error::lasting("nobody publishes this stream", "since 12:00", "publish to it");
        let opening = Opening {
            wanted: Wanted {
                width,
                height,
                fps: FrameRate::whole(20),
                raw: false,
            },
            clock: Arc::new(SystemClock),
            pool: Pool::default(),
        };
        Vacancy::new("door", what).open(&opening)
    }

    #[test]
    fn shows_the_same_text_at_its_rate() {
        let mut source = open(320, 240).unwrap();
        let begun = SystemClock.now();
        let mut pictures = Vec::new();
        while pictures.len() < 5 {
            if let Some(Captured::Picture { picture, .. }) = source.next(Duration::from_millis(10)).unwrap() {
                pictures.push(picture);
            }
        }
        assert!(SystemClock.now() - begun >= Duration::from_millis(200));
        assert!(pictures.iter().all(|picture| *picture == pictures[0]), "it moves");
        let [luma, ..] = pictures[0].planes();
        assert!(luma.iter().any(|&luma| luma > 150), "it says nothing");
        // Where a failed camera's slate counts down there is nothing.
        let mut failed = Picture::black(320, 240).unwrap();
        let Message::Vacant(error) = Vacancy::new(
            "",
            Error::lasting("nobody publishes this stream", "since 12:00", "publish to it"),
        )
        .message
        else {
            panic!("another message");
        };
        Slate::new("door").draw(&mut failed, &Message::Failed(error), None);
        assert_ne!(failed, pictures[0]);
    }

    #[test]
    fn a_size_that_cannot_be_is_refused() {
        assert!(open(15, 240).is_err());
    }
}
