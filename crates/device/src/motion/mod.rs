//! Whether something moves in front of a camera, from small grey pictures.
//!
//! Belongs here: the model of the background, what differs from it, which of that moves, and when motion begins and ends. Does not belong here: where pictures
//! come from, what is done about motion (recordings, events of the program), what it is that moves.
//!
//! ```text
//! Picture ─▶ Grey ─▶ model: gain, background, difference ─▶ blobs ─▶ tracks ─▶ Event
//!                                     ▲                       │
//!                                     └── what is learned ────┘
//! ```
//!
//! Integers throughout, so that the same pictures give the same events on every machine. A picture of 160×120 pixels is looked at five times a second; what
//! that costs and how often it is right is in `docs/design/recorder.md`, *Motion*.

mod blobs;
mod grey;
mod mask;
mod model;
mod tracks;

use std::time::Duration;

use media::{MediaTime, WallTime};

pub use self::grey::{Grey, Shrinker};
pub use self::mask::{BadMask, Mask};
use self::model::{Limits, Model};
use self::tracks::Tracks;

/// What is taken for motion.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// 1 (only what differs much) to 100 (whatever the noise of the camera allows). Others are taken for the nearest.
    pub sensitivity: u8,
    /// What moves and is smaller than this is passed over: in thousandths of what is looked at. 1,000 at the most.
    pub min_size_permille: u16,
    /// What is there for less than this is passed over.
    pub min_duration: Duration,
    /// Where nobody looks.
    pub mask: Mask,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sensitivity: 50,
            min_size_permille: 2,
            min_duration: Duration::from_millis(500),
            mask: Mask::default(),
        }
    }
}

/// Part of a picture, in thousandths of its width and height; 0 is left and top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Where it begins, from the left.
    pub left_permille: u16,
    /// Where it begins, from the top.
    pub top_permille: u16,
    /// Where it ends, from the left.
    pub right_permille: u16,
    /// Where it ends, from the top.
    pub bottom_permille: u16,
}

/// What is told of motion. Events follow each other; those of one motion are one [`Event::Began`], any number of [`Event::Second`], one [`Event::Ended`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something moves, and has for as long as was asked.
    Began {
        /// When it was seen first, which is earlier than now.
        at: MediaTime,
        /// Where it is.
        area: Area,
        /// How far it stands out, 1–100; see [`Event::Ended`].
        score: u8,
    },
    /// A second of it in which something moved: for the timeline.
    Second {
        /// When the second began.
        at: MediaTime,
        /// How much moved at the most: thousandths of what is looked at.
        intensity_permille: u16,
    },
    /// Nothing has moved for two seconds, or there are no more pictures.
    Ended {
        /// As in [`Event::Began`].
        began: MediaTime,
        /// When something moved last.
        at: MediaTime,
        /// All of where it was.
        area: Area,
        /// How far it stood out at the most: 25 is what is just enough to be seen, 100 four times that or more.
        score: u8,
    },
}

/// What came of a look, and when that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What is told, in order.
    pub events: Vec<Event>,
    /// How it is now.
    pub now: Now,
    /// When the picture was, on the clock of the events.
    pub at: MediaTime,
    /// The same by the clock on the wall.
    pub wall: WallTime,
}

impl Seen {
    /// When a time of an event was, by the clock on the wall.
    pub fn wall_of(&self, at: MediaTime) -> WallTime {
        self.wall.offset_micros(at.micros_since(self.at))
    }
}

/// How it is at the newest picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Between [`Event::Began`] and [`Event::Ended`].
    pub is_moving: bool,
    /// How much moves: thousandths of what is looked at.
    pub intensity_permille: u16,
}

/// Looks at the pictures of one camera, one after the other.
pub struct Motion {
    settings: Settings,
    limits: Limits,
    model: Option<Model>,
    tracks: Tracks,
    last: Option<MediaTime>,
    intensity_permille: u16,
}

/// Pictures that come sooner after another are not wanted: 5 a second, and what sources are off by.
const INTERVAL_MICROS: i64 = 180_000;
/// Keyframes alone come more seldom than this.
const SOON_MICROS: i64 = 500_000;
/// What moved before such a gap has nothing to do with what moves after it.
const GAP_MICROS: i64 = 10_000_000;

impl Motion {
    /// Has seen nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            limits: Limits::of(settings.sensitivity),
            tracks: Tracks::new(settings.min_duration),
            settings,
            model: None,
            last: None,
            intensity_permille: 0,
        }
    }

    /// Whether a picture of that time is worth making grey.
    pub fn wants(&self, at: MediaTime) -> bool {
        self.last
            .is_none_or(|last| !(0..INTERVAL_MICROS).contains(&at.micros_since(last)))
    }

    /// Takes a picture in, whose time is on one clock with those before. Puts what it makes of it behind what is in `events`.
    ///
    /// The first ten pictures, and ten after the whole scene changed (another lens, night), are learned and tell of nothing new.
    pub fn look(&mut self, grey: &Grey, at: MediaTime, events: &mut Vec<Event>) {
        let mut interval_micros = self.last.map_or(INTERVAL_MICROS, |last| at.micros_since(last));
        if !(0..GAP_MICROS).contains(&interval_micros) {
            self.interrupt(events);
            interval_micros = INTERVAL_MICROS;
        }
        self.last = Some(at);
        let model = match self.model.take() {
            Some(model) if model.size() == grey.size() => model,
            _ => Model::new(grey, &self.settings.mask),
        };
        let model = self.model.insert(model);
        let is_soon = interval_micros <= SOON_MICROS;
        let blobs = match model.look(grey, self.limits, self.settings.min_size_permille, is_soon) {
            model::Seen::Learning => &[][..],
            model::Seen::Blobs(blobs) => blobs,
        };
        self.intensity_permille = (self.tracks).look(blobs, grey.size(), at, interval_micros, events);
    }

    /// There are no more pictures for now: what moves has ended.
    pub fn interrupt(&mut self, events: &mut Vec<Event>) {
        self.tracks.interrupt(events);
        self.intensity_permille = 0;
    }

    /// How it is at the newest picture.
    pub fn now(&self) -> Now {
        Now {
            is_moving: self.tracks.is_moving(),
            intensity_permille: self.intensity_permille,
        }
    }
}

#[cfg(test)]
mod tests;
