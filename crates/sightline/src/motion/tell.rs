//! What is done about motion: events of the program, rows in the index of recordings, recording.
//!
//! Belongs here: who is told what and when, also while motion goes on. Does not belong here: what is motion ([`super::look`]).
//!
//! A row is written when motion begins, renewed while it lasts and completed at its end, so that a kill costs seconds of it. Where nothing is recorded, and nothing was, there is
//! no index: then it is told to those who listen, and nothing is kept.

use std::time::Duration;

use device::motion::Area;
use media::{StreamName, WallTime};

use super::{By, World};
use crate::events::{Motion, What};
use crate::record::clock::unix_90k;
use crate::record::index::{Change, Event, EventId, Minute};

/// What is recorded beyond the last that is known, while motion goes on; it is told again within that time.
const AHEAD: Duration = Duration::from_secs(3);
/// How often the row of motion that goes on is renewed.
const WRITE_EVERY_MICROS: i64 = 5_000_000;
/// What lasts longer is told in several rows.
const LONGEST_MICROS: i64 = 3_600_000_000;
/// The kind of its events in the index.
pub(super) const KIND: &str = "motion";

/// Tells of motion in one stream.
pub(super) struct Teller {
    stream: StreamName,
    open: Option<Open>,
    /// What moved in the newest minute, which is not complete.
    minute: Option<(i64, Minute)>,
}

/// Motion that goes on.
struct Open {
    /// Its row, once there is an index.
    id: Option<EventId>,
    began: WallTime,
    row_began: WallTime,
    written: WallTime,
    area: Option<Area>,
    score: Option<u8>,
    by: By,
}

impl Teller {
    pub(super) fn new(stream: StreamName) -> Self {
        Self {
            stream,
            open: None,
            minute: None,
        }
    }

    /// Motion is told of that has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) async fn began(&mut self, world: &World, at: WallTime, (area, score): Seen, by: By) {
        if self.open.is_some() {
            self.ended(world, at, (None, None)).await;
        }
        tracing::debug!(stream = %self.stream, by = by.word(), "motion begins");
        let open = self.open.insert(Open {
            id: None,
            began: at,
            row_began: at,
            written: at,
            area,
            score,
            by,
        });
        world.events.tell(What::Motion(Box::new(Motion {
            stream: self.stream.clone(),
            began: at,
            ended: None,
            area,
            score,
            by: by.word(),
        })));
        let now = world.clock.wall();
        // First what cannot be had later: memory does not go back for ever.
        world.recordings.happens(&self.stream, at..ahead(now)).await;
        open.write(world, &self.stream, now);
    }

    /// It has not ended; to be called once a second.
    pub(super) async fn goes_on(&mut self, world: &World) {
        let Some(open) = &mut self.open else { return };
        let now = world.clock.wall();
        world.recordings.happens(&self.stream, now..ahead(now)).await;
        // Both ways: the clock may be set.
        if now.micros_since(open.written).saturating_abs() >= WRITE_EVERY_MICROS {
            open.write(world, &self.stream, now);
            if now.micros_since(open.row_began) > LONGEST_MICROS {
                (open.id, open.row_began) = (None, now);
            }
            self.write_minute(world);
        }
    }

    pub(super) async fn ended(&mut self, world: &World, at: WallTime, (area, score): Seen) {
        let Some(mut open) = self.open.take() else { return };
        (open.area, open.score) = (area.or(open.area), score.or(open.score));
        open.write(world, &self.stream, at);
        self.write_minute(world);
        tracing::debug!(stream = %self.stream, "motion ends");
        world.events.tell(What::Motion(Box::new(Motion {
            stream: self.stream.clone(),
            began: open.began,
            ended: Some(at),
            area: open.area,
            score: open.score,
            by: open.by.word(),
        })));
    }

    /// So much moved in the second that began then.
    pub(super) fn second(&mut self, world: &World, at: WallTime, intensity_permille: u16) {
        let second = at.unix_micros().div_euclid(1_000_000);
        let (minute, second) = (second.div_euclid(60), second.rem_euclid(60) as usize);
        if self.minute.is_some_and(|(known, _)| known != minute) {
            self.write_minute(world);
        }
        let (_, seconds) = self.minute.get_or_insert((minute, [0; 60]));
        if let Some(known) = seconds.get_mut(second) {
            *known = (*known).max(byte(intensity_permille));
        }
    }

    fn write_minute(&mut self, world: &World) {
        let Some((minute, seconds)) = self.minute.take() else {
            return;
        };
        // What follows in this minute is told again, and the most of both is kept.
        write(
            world,
            Change::Intensity {
                camera: self.stream.clone(),
                minute,
                seconds,
            },
        );
    }
}

/// Where it is and how far it stands out, where that is known.
pub(super) type Seen = (Option<Area>, Option<u8>);

impl Open {
    fn write(&mut self, world: &World, stream: &StreamName, until: WallTime) {
        self.written = until;
        let Some(index) = world.recordings.recorder().and_then(|recorder| recorder.index()) else {
            return;
        };
        let id = *self.id.get_or_insert_with(|| index.next_event());
        let start_90k = unix_90k(self.row_began);
        let event = Event {
            id,
            camera: stream.clone(),
            kind: KIND.to_owned(),
            start_90k,
            end_90k: unix_90k(until).max(start_90k),
            score: self.score.map(f64::from),
            data: data(self.area, self.by),
        };
        if let Err(error) = index.write(Change::Event(event)) {
            tracing::warn!(%stream, %error, "motion is not kept");
        }
    }
}

fn write(world: &World, change: Change) {
    let index = world.recordings.recorder().and_then(|recorder| recorder.index());
    if let Some(Err(error)) = index.map(|index| index.write(change)) {
        tracing::warn!(%error, "how much moved is not kept");
    }
}

fn ahead(now: WallTime) -> WallTime {
    now.offset_micros(media::time::micros(AHEAD))
}

/// What the index keeps of it besides.
fn data(area: Option<Area>, by: By) -> String {
    let area = area.map(|area| {
        let part = |permille: u16| f64::from(permille) / 1_000.0;
        serde_json::json!({
            "left": part(area.left_permille),
            "top": part(area.top_permille),
            "right": part(area.right_permille),
            "bottom": part(area.bottom_permille),
        })
    });
    serde_json::json!({ "area": area, "by": by.word() }).to_string()
}

/// As a byte, in which little is told apart from less: its square root, of 255 for all of the picture.
pub(super) fn byte(intensity_permille: u16) -> u8 {
    let part = (f64::from(intensity_permille) / 1_000.0).clamp(0.0, 1.0);
    let byte = (part.sqrt() * 255.0).round() as u8;
    byte.max(u8::from(intensity_permille > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_zero_for_nothing_alone() {
        assert_eq!(
            [0, 1, 2, 50, 250, 1_000, u16::MAX].map(byte),
            [0, 8, 11, 57, 128, 255, 255]
        );
    }

    #[test]
    fn what_is_kept_of_it_is_json() {
        let area = Area {
            left_permille: 100,
            top_permille: 0,
            right_permille: 505,
            bottom_permille: 1_000,
        };
        assert_eq!(
            data(Some(area), By::Server),
            "{\"area\":{\"left\":0.1,\"top\":0.0,\"right\":0.505,\"bottom\":1.0},\"by\":\"server\"}"
        );
        assert_eq!(data(None, By::Publisher), "{\"area\":null,\"by\":\"publisher\"}");
    }
}
