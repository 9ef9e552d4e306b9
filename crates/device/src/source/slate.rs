//! The picture that stands in for a camera that gives none, or for a publisher that is not there: which stream, what is wrong, why, what to
//! do, when it is tried again.
//!
//! Belongs here: laying that out as text. Does not belong here: deciding when a slate is shown and how often it is sent
//! ([`crate::camera`], [`super::vacancy`]), the clock in its corner ([`crate::overlay`]).

use std::time::Duration;

use super::Error;
use crate::overlay::{Atlas, Color, font_px};
use crate::picture::Picture;

/// What a slate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The source is being opened and has given no picture yet.
    Starting {
        /// What is being opened.
        source: String,
    },
    /// It failed.
    Failed(Error),
    /// Nobody publishes. There is nothing to be tried again.
    Vacant(Error),
}

/// Draws slates for one camera. What stays the same from picture to picture is drawn once.
pub struct Slate {
    camera: String,
    still: Option<Still>,
}

/// A slate without its countdown.
struct Still {
    message: Message,
    picture: Picture,
    small: Atlas,
    /// Where the countdown goes.
    below: i64,
    left: i64,
}

/// Background: dark, a little above black, so that it is not taken for no signal.
const BACKGROUND: u8 = 32;
/// Most lines that one part of the message may take.
const MAX_LINES: usize = 4;

impl Slate {
    /// For the camera of that name.
    pub fn new(camera: impl Into<String>) -> Self {
        Self {
            camera: camera.into(),
            still: None,
        }
    }

    /// Draws over all of `picture`. `retry_in`: time until the source is tried again; `None` while that is being done.
    pub fn draw(&mut self, picture: &mut Picture, message: &Message, retry_in: Option<Duration>) {
        let fresh = |still: &Still| {
            still.message == *message
                && (still.picture.width(), still.picture.height()) == (picture.width(), picture.height())
        };
        if !self.still.as_ref().is_some_and(fresh) {
            self.still = self.lay_out(picture, message);
        }
        let Some(still) = &self.still else { return };
        picture.clone_from(&still.picture);
        let text = match (message, retry_in) {
            (Message::Starting { .. } | Message::Vacant(_), _) => String::new(),
            (Message::Failed(_), None) => "Trying again now".to_owned(),
            (Message::Failed(_), Some(left)) => format!("Trying again in {} s", left.as_secs_f64().ceil()),
        };
        still.small.draw(picture, still.left, still.below, &text);
    }

    fn lay_out(&self, picture: &Picture, message: &Message) -> Option<Still> {
        let mut still = picture.clone();
        let [luma, u, v] = still.planes_mut();
        luma.fill(BACKGROUND);
        u.fill(128);
        v.fill(128);
        let parts: Vec<(bool, Color, &str)> = match message {
            Message::Starting { source } => vec![(false, Color::WHITE, "Starting"), (false, Color::WHITE, source)],
            Message::Failed(error) | Message::Vacant(error) => vec![
                (true, Color::AMBER, &error.what),
                (false, Color::WHITE, &error.why),
                (false, Color::WHITE, &error.hint),
            ],
        };
        let mut parts = parts;
        parts.insert(0, (true, Color::WHITE, &self.camera));

        let (width, height) = (i64::from(picture.width()), i64::from(picture.height()));
        let small_px = font_px(picture.height());
        // The overlay's three lines keep the top, whether they are on or not.
        let mut top = (height / 5).max(i64::from(small_px) * 4);
        let left = width / 20;
        let mut small = None;
        for (large, color, text) in parts {
            let px = if large { small_px * 3 / 2 } else { small_px };
            let text = capitalised(text);
            let atlas = Atlas::new(px, text.chars().chain("?".chars()), color)?;
            let (cell_width, cell_height) = atlas.cell();
            let columns = usize::try_from((width - 2 * left) / cell_width).unwrap_or(0).max(1);
            for line in wrapped(&text, columns).into_iter().take(MAX_LINES) {
                atlas.draw(&mut still, left, top, &line);
                top += cell_height;
            }
            top += cell_height / 3;
            if !large {
                small = Some(cell_height);
            }
        }
        let row = small.unwrap_or(i64::from(small_px));
        Some(Still {
            message: message.clone(),
            picture: still,
            small: Atlas::new(small_px, ' '..='~', Color([150, 128, 128]))?,
            // In view however long the message is.
            below: (top + row / 2).min(height - row - height / 20),
            left,
        })
    }
}

/// Errors are phrases in the middle of a sentence elsewhere.
fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).collect()
}

/// Breaks `text` into lines of at most `columns` characters, at spaces where there are any.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + word.len() > columns {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        // A word longer than a line: a path, an address.
        while length + word.len() > columns {
            let rest = word.split_off(columns - length);
            line.extend(word);
            lines.push(std::mem::take(&mut line));
            (word, length) = (rest, 0);
        }
        length += word.len();
        line.extend(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn busy() -> Message {
        Message::Failed(Error::retryable(
            "The camera /dev/video0 is busy",
            "it is used by guvcview (process 4711)",
            "close that program, or choose another camera with --source",
        ))
    }

    fn lit_rows(picture: &Picture) -> Vec<usize> {
        let rows = picture.planes()[0].chunks_exact(picture.width() as usize).enumerate();
        rows.filter(|(_, row)| row.iter().any(|&luma| luma > 100))
            .map(|(y, _)| y)
            .collect()
    }

    #[test]
    fn says_it_all_and_leaves_the_overlays_place_free() {
        for (width, height) in [(320, 240), (640, 480), (1_920, 1_080)] {
            let mut picture = Picture::black(width, height).unwrap();
            let mut slate = Slate::new("Front door");
            slate.draw(&mut picture, &busy(), Some(Duration::from_millis(2_500)));
            let rows = lit_rows(&picture);
            assert!(*rows.first().unwrap() > font_px(height) as usize * 3);
            assert!(*rows.last().unwrap() < height as usize - 4);
            let lit = picture.planes()[0].iter().filter(|&&luma| luma > 100).count();
            assert!(
                lit > 150 * font_px(height) as usize,
                "{width}×{height}: {lit} pixels of text"
            );
        }
    }

    #[test]
    fn counts_down_and_changes_with_the_message() {
        let mut slate = Slate::new("Front door");
        let mut picture = Picture::black(640, 480).unwrap();
        let mut seen = Vec::new();
        let starting = Message::Starting {
            source: "test pattern".to_owned(),
        };
        for (message, retry_in) in [
            (&busy(), Some(Duration::from_millis(2_500))),
            (&busy(), Some(Duration::from_millis(1_500))),
            (&busy(), None),
            (&starting, None),
        ] {
            slate.draw(&mut picture, message, retry_in);
            assert!(!seen.contains(&picture));
            seen.push(picture.clone());
        }
        slate.draw(&mut picture, &busy(), Some(Duration::from_millis(2_100)));
        assert!(picture == seen[0], "the same second gives the same picture");
    }

    #[test]
    fn words_are_kept_whole_where_they_fit() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("/dev/v4l/by-id/usb x", 8), ["/dev/v4l", "/by-id/u", "sb x"]);
        assert_eq!(wrapped("  ", 5), Vec::<String>::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_text_fits_any_picture(what in ".{0,300}", why in ".{0,80}", width in 8_u32..400, height in 8_u32..300) {
            let Some(mut picture) = Picture::black(width * 2, height * 2) else { return Ok(()) };
            let message = Message::Failed(Error::lasting(what.clone(), why, ""));
            Slate::new(what).draw(&mut picture, &message, None);
        }

        #[test]
        fn wrapping_loses_nothing(text in "[a-zäß ]{0,200}", columns in 1_usize..40) {
            let lines = wrapped(&text, columns);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= columns));
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
