//! Which file goes next: the oldest of those that have their age, are whole, and are not protected.
//!
//! Belongs here: what is passed over, and for how long. Does not belong here: sending ([`super::work`]).
//!
//! What stays is passed over without a wait between: a disk that is away, a year that is protected and a file that cannot be read keep nobody else waiting.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use media::StreamName;

use crate::record::index::{Reader, Segment, SegmentId, State, StorageId};
use crate::record::library::{Opened, Places, all_protected};
use crate::record::recorder::Recorder;

/// Files of a camera that are read at a time, and files that are opened at a look.
const PAGE: usize = 100;
/// How many times so many are read of a camera, before the others have their turn.
const MAX_PAGES: usize = 10;
/// How soon what stayed is looked at again: a protection may have ended.
pub(super) const AGAIN: Duration = Duration::from_secs(600);
/// How soon the same is told again.
const TELL_AGAIN: Duration = Duration::from_secs(3_600);
/// Files that are known to be unfit. Those that are too many are looked at again.
const MAX_UNFIT: usize = 10_000;

/// What is known from look to look.
#[derive(Default)]
pub(super) struct Choosing {
    /// Up to where the files of a camera stay.
    passed: HashMap<StreamName, (i64, SegmentId)>,
    /// Files whose bytes are not those that were recorded.
    unfit: HashSet<SegmentId>,
    /// Folders of recordings that are away.
    away: HashSet<StorageId>,
    forgotten: Option<Instant>,
    told: Option<Instant>,
}

/// What comes next.
pub(super) enum Next {
    /// This one; it is open, so that it may be deleted while it is sent.
    File(Box<(Segment, Opened)>),
    /// There may be more behind what was looked at.
    More,
    /// Nothing is old enough.
    Nothing,
}

/// The first of a camera, or of all.
enum First {
    File(Segment),
    More,
    Nothing,
}

impl Choosing {
    /// The oldest that is older than that. Waits for the disk.
    pub(super) fn look(&mut self, recorder: &Recorder, until_90k: i64, now: Instant) -> Result<Next, String> {
        let forgotten = *self.forgotten.get_or_insert(now);
        if now.saturating_duration_since(forgotten) >= AGAIN {
            self.forgotten = Some(now);
            self.passed.clear();
        }
        let reader = recorder.reader().map_err(|error| error.to_string())?;
        let places = Places::of(recorder, &reader).map_err(|error| error.to_string())?;
        self.find_away(&places);
        for _ in 0..PAGE {
            let segment = match self.oldest(&reader, until_90k)? {
                First::File(segment) => segment,
                First::More => return Ok(Next::More),
                First::Nothing => return Ok(Next::Nothing),
            };
            match places.open(&segment) {
                Ok((file, _)) => return Ok(Next::File(Box::new((segment, file)))),
                Err(error) => self.pass(&segment, &error.to_string(), now),
            }
        }
        Ok(Next::More)
    }

    /// Of all cameras.
    fn oldest(&mut self, reader: &Reader, until_90k: i64) -> Result<First, String> {
        let (mut oldest, mut is_cut) = (None::<Segment>, false);
        for camera in reader.cameras().map_err(|error| error.to_string())? {
            match self.first(reader, &camera.camera, until_90k)? {
                First::File(first) if oldest.as_ref().is_none_or(|oldest| first.start_90k < oldest.start_90k) => {
                    oldest = Some(first);
                }
                First::File(_) | First::Nothing => {}
                First::More => is_cut = true,
            }
        }
        Ok(match oldest {
            Some(oldest) => First::File(oldest),
            None if is_cut => First::More,
            None => First::Nothing,
        })
    }

    /// It stays for now, and is tried again later.
    pub(super) fn pass(&mut self, segment: &Segment, why: &str, now: Instant) {
        let is_known = |told: &Instant| now.saturating_duration_since(*told) < TELL_AGAIN;
        if !self.told.as_ref().is_some_and(is_known) {
            self.told = Some(now);
            tracing::warn!(stream = %segment.camera, path = segment.path, "a recording is not archived for now, and others go: {why}");
        }
        self.passed
            .insert(segment.camera.clone(), (segment.start_90k, segment.id));
    }

    /// It is not what was recorded, and stays.
    pub(super) fn never(&mut self, segment: &Segment) {
        if self.unfit.len() == MAX_UNFIT {
            self.unfit.clear();
        }
        self.unfit.insert(segment.id);
    }

    fn find_away(&mut self, places: &Places) {
        let away = places.away();
        if !away.is_superset(&self.away) {
            // What is there again has waited.
            self.passed.clear();
        }
        if !away.is_subset(&self.away) {
            tracing::warn!("a folder of recordings is away: what lies in it is archived when it is there again");
        }
        self.away = away;
    }

    /// The first of a camera that may go.
    fn first(&mut self, reader: &Reader, camera: &StreamName, until_90k: i64) -> Result<First, String> {
        let protected = all_protected(reader, camera).map_err(|error| error.to_string())?;
        let is_protected = |segment: &Segment| {
            let touches = |range: &Range<i64>| range.start < segment.end_90k() && range.end > segment.start_90k;
            protected.iter().any(|(_, protected)| touches(&protected.range_90k))
        };
        for _ in 0..MAX_PAGES {
            let behind = self.passed.get(camera).copied();
            let page = reader.segments(camera, 0..until_90k.max(1), behind, PAGE);
            let page = page.map_err(|error| error.to_string())?;
            for segment in page.items {
                if segment.end_90k() > until_90k {
                    continue;
                }
                let may_go = segment.state == State::Whole
                    && !self.away.contains(&segment.storage)
                    && !self.unfit.contains(&segment.id)
                    && !is_protected(&segment);
                if may_go {
                    return Ok(First::File(segment));
                }
                self.passed.insert(camera.clone(), (segment.start_90k, segment.id));
            }
            if page.next.is_none() {
                return Ok(First::Nothing);
            }
        }
        Ok(First::More)
    }
}
