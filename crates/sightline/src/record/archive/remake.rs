//! The catalogue made anew of what lies in the bucket: where it was lost or cannot be read, and for what an older version wrote into it.
//!
//! Belongs here: which objects are recordings, what of each is read. Does not belong here: the catalogue ([`super::catalogue`]).
//!
//! Names are read a thousand at a time, and the beginning of each object that has the name of a recording: by its head a recording says what it is. Its table of fragments stands in its
//! index, or beside it as it was sent; else all of it is read. How far this has come is in the catalogue, every few objects, so a restart goes on.
//!
//! It goes on by names that are greater alone, so it ends in any bucket. What is wrong with one object passes that over; a right, a key or a network that is missing waits.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use media::recording::{Found, Fragments, Head, Header, MAX_HEAD_BYTES, Scanner, indexed};

use super::catalogue::{Catalogue, Contents, Discovered, Known};
use super::reading::{AHEAD_BYTES, Door};
use super::{Archive, STORAGE};
use crate::config::upload::S3Place;
use crate::record::clock::unix_90k;
use crate::record::index::{MAX_SEGMENT_90K, MAX_TIME_90K, Segment, SegmentId, State};
use crate::s3::{Failed, Kind, Object, Pace};

/// What a recording's table of fragments is called beside it.
pub(super) const TABLE: &str = "sightline-fragments";
/// A longer one is not sent along: all that stands beside an object has 2 KB at the most.
const MAX_TABLE_TEXT_BYTES: usize = 1_500;
/// Names that are read at a time.
const PAGE: usize = 1_000;
/// Objects that are looked at at a time.
const AT_A_TIME: usize = 4;
/// Objects behind which it is kept how far this has come: each costs the disk a write, and what a network breaks off is read again.
const KEPT_EVERY: usize = 16;
/// What is read of each: most heads have 6 KB.
const FIRST_BYTES: u64 = 16 << 10;
/// How soon it is looked whether it has to be done again.
const AGAIN: Duration = Duration::from_secs(60);

pub(super) struct Remake {
    archive: Arc<Archive>,
    place: S3Place,
    door: Arc<Door>,
}

/// What a step has done.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There may be more.
    More,
    /// All of it is known.
    Done,
}

/// A table as it is sent along.
pub(super) fn told(table: &Fragments) -> Option<String> {
    let text = STANDARD_NO_PAD.encode(table.as_bytes());
    (!table.is_empty() && text.len() <= MAX_TABLE_TEXT_BYTES).then_some(text)
}

impl Remake {
    pub(super) fn new(archive: Arc<Archive>, place: S3Place, door: Arc<Door>) -> Self {
        Self { archive, place, door }
    }

    /// Makes it anew where it has to be, now and later.
    pub(super) async fn run(self) {
        let (mut pace, mut found, mut told) = (Pace::default(), 0, None);
        loop {
            let before = found;
            let wait = match self.step(&mut found).await {
                Ok(Step::More) => {
                    pace = Pace::default();
                    continue;
                }
                Ok(Step::Done) => {
                    if found > 0 {
                        tracing::info!(from = %self.place, recordings = found, "what lies in the archive is known again");
                    }
                    (found, told) = (0, None);
                    AGAIN
                }
                Err(failed) => {
                    if found > before {
                        pace = Pace::default();
                    }
                    let wait = pace.wait(failed.kind, (self.archive.world.random)());
                    if told.as_ref() != Some(&failed.detail) {
                        tracing::warn!(from = %self.place, again_s = wait.as_secs(), "what lies in the archive cannot be listed: {failed}");
                        told = Some(failed.detail);
                    }
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// `found`: how many recordings there were.
    async fn step(&self, found: &mut usize) -> Result<Step, Failed> {
        let behind = self
            .archive
            .asked(Catalogue::remaking)
            .await
            .map_err(|error| of_disk(&error))?;
        let Some(mut behind) = behind else {
            return Ok(Step::Done);
        };
        let from = Some(behind.as_str()).filter(|behind| !behind.is_empty());
        let mut page = self.door.bucket.page(&self.place.prefix, from, PAGE).await?;
        page.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        if page.is_empty() {
            self.keep(Vec::new(), behind, None).await?;
            return Ok(Step::More);
        }
        for objects in page.chunks(KEPT_EVERY) {
            let Some(last) = objects.last() else { continue };
            let looks = stream::iter(objects.to_vec())
                .map(|object| self.look(object))
                .buffer_unordered(AT_A_TIME);
            let known: Vec<Option<Discovered>> = looks.try_collect().await?;
            let known: Vec<Discovered> = known.into_iter().flatten().collect();
            *found += known.len();
            self.keep(known, behind, Some(last.key.clone())).await?;
            behind = last.key.clone();
        }
        Ok(Step::More)
    }

    /// That it has come from a name to another; `None`: to the end.
    async fn keep(&self, found: Vec<Discovered>, from: String, to: Option<String>) -> Result<(), Failed> {
        let written = self
            .archive
            .asked(move |catalogue| catalogue.discovered(&found, &from, to.as_deref()));
        written.await.map_err(|error| of_disk(&error))
    }

    /// What an object is; `None`: no recording, or one that cannot be read by anybody.
    async fn look(&self, object: Object) -> Result<Option<Discovered>, Failed> {
        let Some(id) = number_of(&object.key) else {
            return Ok(None);
        };
        match self.read(id, &object).await {
            Err(failed) if matches!(failed.kind, Kind::Missing | Kind::Unfit) => {
                tracing::warn!(
                    key = object.key,
                    "a recording in the archive cannot be read, and is not listed: {failed}"
                );
                Ok(None)
            }
            // A token that ran out, or a right that is missing: it is listed when a person has mended that, or taken the object away.
            Err(failed) if failed.kind == Kind::Lasting => Err(Failed {
                detail: format!("{} cannot be read: {}", object.key, failed.detail),
                ..failed
            }),
            read => read,
        }
    }

    async fn read(&self, id: SegmentId, object: &Object) -> Result<Option<Discovered>, Failed> {
        let mut wanted = FIRST_BYTES.min(object.bytes);
        let (begin, head, media_at, told) = loop {
            if wanted == 0 {
                return Ok(None);
            }
            let reading = self.door.bucket.read_with(&object.key, 0..wanted, TABLE);
            let (begin, told) = self.door.within(reading).await?;
            match Head::read(&begin) {
                Found::Whole(head, media_at) => break (begin, head, media_at, told),
                Found::Short if wanted < object.bytes.min(MAX_HEAD_BYTES as u64) => {
                    wanted = object.bytes.min(MAX_HEAD_BYTES as u64);
                }
                Found::Short | Found::Other => return Ok(None),
            }
        };
        let begin = begin.get(..media_at).unwrap_or_default();
        let Ok(header) = Header::read(begin) else {
            return Ok(None);
        };
        let fragments = match indexed(begin).or_else(|| read_told(&told?)) {
            Some(fragments) => fragments,
            None => self.scanned(object, media_at as u64).await?,
        };
        let (start_90k, duration_90k) = (unix_90k(head.start), fragments.duration_90k().cast_signed());
        if !(0..=MAX_TIME_90K).contains(&start_90k) || !(1..=MAX_SEGMENT_90K).contains(&duration_90k) {
            return Ok(None);
        }
        Ok(Some(Discovered {
            segment: Segment {
                id,
                camera: head.camera,
                storage: STORAGE,
                path: object.key.clone(),
                run: head.run,
                start_90k,
                duration_90k,
                bytes: object.bytes,
                head_bytes: media_at as u32,
                crc: 0,
                drift_90k: 0,
                state: State::Whole,
                ended: None,
                age_end_90k: start_90k.saturating_add(duration_90k),
                is_age_sure: true,
            },
            known: Known {
                key: object.key.clone(),
                // Nobody compared it with what was recorded: where that is still here, it is sent once more before it goes.
                etag: None,
            },
            contents: Contents { header, fragments },
        }))
    }

    /// All of it, a piece at a time.
    async fn scanned(&self, object: &Object, media_at: u64) -> Result<Fragments, Failed> {
        let (mut scanner, mut at) = (Scanner::new(), media_at);
        while at < object.bytes {
            let until = object.bytes.min(at + AHEAD_BYTES);
            let piece = self.door.within(self.door.bucket.read(&object.key, at..until)).await?;
            if piece.is_empty() || !scanner.push(&piece) {
                break;
            }
            at += piece.len() as u64;
        }
        Ok(scanner.table().cloned().unwrap_or_default())
    }
}

fn of_disk(error: &super::Error) -> Failed {
    Failed {
        kind: Kind::Passing,
        detail: error.to_string(),
    }
}

fn read_told(text: &str) -> Option<Fragments> {
    let table = Fragments::read(&STANDARD_NO_PAD.decode(text).ok()?).ok()?;
    (!table.is_empty()).then_some(table)
}

/// The number that stands behind the name of a recording ([`super::work`]).
fn number_of(key: &str) -> Option<SegmentId> {
    let (_, number) = key.strip_suffix(".mp4")?.rsplit_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number.parse().ok().map(SegmentId))?
}

#[cfg(test)]
mod tests;
