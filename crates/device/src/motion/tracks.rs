//! What moves from picture to picture, and when motion begins and ends.

use std::time::Duration;

use media::{MediaTime, time};

use super::blobs::{Blob, MAX_BLOBS};
use super::{Area, Event};

/// Nothing has moved for so long: it is over.
const OVER_MICROS: i64 = 2_000_000;
/// Or for so many pictures, where those are seldom: keyframes alone.
const OVER_PICTURES: i64 = 3;
/// Something that is not there in so many pictures is gone.
const LOST_PICTURES: i64 = 3;
/// Pixels that something may be away from where it was in the picture before: some, and more with time.
const NEAR: usize = 4;
const NEAR_A_SECOND: i64 = 40;
/// Pictures in which something is seen before it is believed.
const PICTURES: u32 = 2;
/// Pixels by which one of its sides has to have moved: where a lamp is lit or a window reflects, none does.
const TRAVEL: usize = 3;

/// Something that moves.
struct Track {
    blob: Blob,
    /// As it was in its first picture.
    first: Blob,
    has_moved: bool,
    since: MediaTime,
    last: MediaTime,
    pictures: u32,
}

/// What is told of, until it is over.
struct Ongoing {
    began: MediaTime,
    last: MediaTime,
    area: Area,
    score: u8,
    /// The second that is not told yet, and the most of it.
    second: i64,
    intensity_permille: Option<u16>,
}

pub(super) struct Tracks {
    min_duration_micros: i64,
    /// No more than [`MAX_BLOBS`].
    tracks: Vec<Track>,
    motion: Option<Ongoing>,
}

impl Tracks {
    pub(super) fn new(min_duration: Duration) -> Self {
        Self {
            min_duration_micros: time::micros(min_duration),
            tracks: Vec::new(),
            motion: None,
        }
    }

    pub(super) fn is_moving(&self) -> bool {
        self.motion.is_some()
    }

    /// Takes in what moves in the next picture, the largest first; says how much that is, in thousandths of it.
    pub(super) fn look(
        &mut self,
        blobs: &[Blob],
        size: (usize, usize),
        at: MediaTime,
        interval_micros: i64,
        events: &mut Vec<Event>,
    ) -> u16 {
        self.tracks
            .retain(|track| at.micros_since(track.last) <= LOST_PICTURES * interval_micros.max(100_000));
        for blob in blobs {
            self.take(blob, at, interval_micros);
        }
        let min_duration_micros = self.min_duration_micros;
        let believed = |track: &&Track| {
            let lasts = track.last.micros_since(track.since) >= min_duration_micros;
            track.last == at && track.pictures >= PICTURES && track.has_moved && lasts
        };
        let mut pixels = 0;
        for track in self.tracks.iter().filter(believed) {
            pixels += track.blob.pixels;
            let (area, score) = (area(&track.blob, size), track.blob.score());
            let motion = self.motion.get_or_insert_with(|| {
                let began = track.since;
                events.push(Event::Began { at: began, area, score });
                Ongoing {
                    began,
                    last: at,
                    area,
                    score,
                    second: at.micros_since(began) / 1_000_000,
                    intensity_permille: None,
                }
            });
            motion.last = at;
            motion.area = together(motion.area, area);
            motion.score = motion.score.max(score);
        }
        let intensity_permille = (pixels * 1_000).div_ceil((size.0 * size.1).max(1)).min(1_000) as u16;
        let over_micros = OVER_MICROS.max(OVER_PICTURES * interval_micros);
        let is_over = |motion: &Ongoing| at.micros_since(motion.last) > over_micros;
        if self.motion.as_ref().is_some_and(is_over) {
            self.interrupt(events);
        } else if let Some(motion) = &mut self.motion
            && intensity_permille > 0
        {
            motion.second(at, intensity_permille, events);
        }
        intensity_permille
    }

    /// A blob is what was near it in the picture before, or something new.
    fn take(&mut self, blob: &Blob, at: MediaTime, interval_micros: i64) {
        let near = NEAR + usize::try_from(NEAR_A_SECOND * interval_micros / 1_000_000).unwrap_or(0);
        let has_room = self.tracks.len() < MAX_BLOBS;
        match self.tracks.iter_mut().find(|track| touches(&track.blob, blob, near)) {
            // Several parts of what was one: the largest came first.
            Some(track) if track.last == at => {
                track.blob = track.blob.with(blob);
                if track.since == at {
                    track.first = track.blob;
                }
            }
            Some(track) => {
                track.has_moved |= has_moved(&track.first, blob);
                track.blob = *blob;
                track.last = at;
                track.pictures = track.pictures.saturating_add(1);
            }
            None if has_room => self.tracks.push(Track {
                blob: *blob,
                first: *blob,
                has_moved: false,
                since: at,
                last: at,
                pictures: 1,
            }),
            None => {}
        }
    }

    /// What is not over ends with the picture in which it moved last.
    pub(super) fn interrupt(&mut self, events: &mut Vec<Event>) {
        self.tracks.clear();
        let Some(mut motion) = self.motion.take() else { return };
        motion.tell_second(events);
        events.push(Event::Ended {
            began: motion.began,
            at: motion.last,
            area: motion.area,
            score: motion.score,
        });
    }
}

impl Ongoing {
    fn second(&mut self, at: MediaTime, intensity_permille: u16, events: &mut Vec<Event>) {
        let second = at.micros_since(self.began) / 1_000_000;
        if second != self.second {
            self.tell_second(events);
            self.second = second;
        }
        self.intensity_permille = self.intensity_permille.max(Some(intensity_permille));
    }

    fn tell_second(&mut self, events: &mut Vec<Event>) {
        if let Some(intensity_permille) = self.intensity_permille.take() {
            let at = self.began.offset_micros(self.second.saturating_mul(1_000_000));
            events.push(Event::Second { at, intensity_permille });
        }
    }
}

fn has_moved(one: &Blob, other: &Blob) -> bool {
    let sides = |blob: &Blob| [blob.left, blob.top, blob.right, blob.bottom];
    let mut moved = sides(one).into_iter().zip(sides(other));
    moved.any(|(one, other)| one.abs_diff(other) >= TRAVEL)
}

fn touches(one: &Blob, other: &Blob, near: usize) -> bool {
    let across = one.left <= other.right + near && other.left <= one.right + near;
    across && one.top <= other.bottom + near && other.top <= one.bottom + near
}

fn area(blob: &Blob, (width, height): (usize, usize)) -> Area {
    let permille = |at: usize, of: usize| (at * 1_000 / of.max(1)).min(1_000) as u16;
    Area {
        left_permille: permille(blob.left, width),
        top_permille: permille(blob.top, height),
        right_permille: permille(blob.right, width),
        bottom_permille: permille(blob.bottom, height),
    }
}

fn together(one: Area, other: Area) -> Area {
    Area {
        left_permille: one.left_permille.min(other.left_permille),
        top_permille: one.top_permille.min(other.top_permille),
        right_permille: one.right_permille.max(other.right_permille),
        bottom_permille: one.bottom_permille.max(other.bottom_permille),
    }
}
