//! One file after the other, to the archive.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::StreamName;
use media::recording::{Scanner, Whole};

use super::catalogue::{Begun, Error};
use super::{Archive, Plan};
use crate::record::clock::unix_90k;
use crate::record::index::{Reader, Segment, SegmentId, State};
use crate::record::library::{Places, all_protected};
use crate::record::recorder::Recorder;
use crate::record::storage::File as _;
use crate::s3::{Bucket, Failed, Kind, LEAST_PART_BYTES, Pace};

/// How long it is waited where nothing is old enough.
const LOOK: Duration = Duration::from_secs(10);
/// What is sent at a time, and what a kill can have sent for nothing. All parts have this length but the last, which some servers want.
const PART_BYTES: usize = 8 << 20;
const _: () = assert!(PART_BYTES >= LEAST_PART_BYTES);
/// More parts no server takes.
const MAX_PARTS: usize = 10_000;
/// Files of a camera that are read at a look.
const PAGE: usize = 100;
/// Looks at files that stay, before the next camera has its turn.
const MAX_PAGES: usize = 10;
/// How soon what stayed is looked at again: a protection may have ended.
const AGAIN: Duration = Duration::from_secs(600);
/// How soon the same trouble is told again.
const TELL_AGAIN: Duration = Duration::from_secs(3_600);
/// Bytes that are read at a time when a file is looked through.
const READ_BYTES: usize = 256 << 10;
const MP4: &str = "video/mp4";

pub(super) struct Work {
    pub(super) archive: Arc<Archive>,
    pub(super) plan: Plan,
    pub(super) bucket: Bucket,
    /// Up to where the files of a camera stay.
    pub(super) passed: HashMap<StreamName, (i64, SegmentId)>,
    /// Files whose bytes are not those that were recorded.
    pub(super) unfit: HashSet<SegmentId>,
    pub(super) told: Option<(String, Instant)>,
}

/// A file that is to go.
struct Chosen {
    segment: Segment,
    file: File,
}

/// Why a file did not go.
enum Why {
    Failed(Failed),
    /// The disk does not give it.
    Unreadable(String),
    /// It is not what was recorded.
    Unfit(String),
}

impl From<Failed> for Why {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Self::Failed(passing(error.to_string()))
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(format!("a recording cannot be read: {error}"))
    }
}

/// Where it is not known what was protected, nothing goes until a person has looked.
fn keeps_nothing_back(recorder: &Recorder) -> Result<(), Failed> {
    match recorder.report().keeps_all {
        true => Err(passing(
            "not all that was protected is known, so nothing is deleted until a person has looked".to_owned(),
        )),
        false => Ok(()),
    }
}

fn passing(detail: String) -> Failed {
    Failed {
        kind: Kind::Passing,
        detail,
    }
}

impl Work {
    pub(super) async fn run(mut self) {
        let clock = Arc::clone(&self.archive.world.clock);
        let (mut pace, mut forgotten) = (Pace::default(), clock.now());
        loop {
            if clock.now().saturating_duration_since(forgotten) >= AGAIN {
                forgotten = clock.now();
                self.passed.clear();
            }
            let wait = match self.step().await {
                Ok(true) => {
                    pace = Pace::default();
                    continue;
                }
                Ok(false) => LOOK,
                Err(failed) => {
                    let wait = pace.wait(failed.kind, (self.archive.world.random)());
                    self.failed(&failed, wait);
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Archives the next file. Whether there was one.
    async fn step(&mut self) -> Result<bool, Failed> {
        let Some(recorder) = (self.archive.world.recorder)() else {
            return Ok(false);
        };
        keeps_nothing_back(&recorder)?;
        let Some(Chosen { segment, file }) = self.choose(&recorder).await? else {
            return Ok(false);
        };
        match self.send(&segment, Arc::new(file)).await {
            Ok(()) => {}
            Err(Why::Failed(failed)) => return Err(failed),
            Err(Why::Unreadable(why)) => {
                // It is tried again, and others go meanwhile.
                self.passed
                    .insert(segment.camera.clone(), (segment.start_90k, segment.id));
                return Err(passing(why));
            }
            Err(Why::Unfit(why)) => {
                tracing::error!(stream = %segment.camera, path = segment.path, "a recording is not archived and stays here: {why}");
                self.unfit.insert(segment.id);
                return Ok(true);
            }
        }
        keeps_nothing_back(&recorder)?;
        self.discard(recorder, &segment).await?;
        self.goes_on(&segment);
        Ok(true)
    }

    /// The oldest of those that are old enough; its file is open, so that it may be deleted while it is sent.
    async fn choose(&mut self, recorder: &Recorder) -> Result<Option<Chosen>, Failed> {
        let now = self.archive.world.clock.wall();
        let after_us = media::time::micros(self.plan.after);
        let until_90k = unix_90k(now.offset_micros(after_us.saturating_neg()));
        let recorder = recorder.clone();
        let (mut passed, unfit) = (std::mem::take(&mut self.passed), self.unfit.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let chosen = look(&recorder, until_90k, &mut passed, &unfit);
            (chosen, passed)
        });
        let (chosen, passed) = looked.await.map_err(|error| passing(error.to_string()))?;
        self.passed = passed;
        chosen.map_err(passing)
    }

    /// Until the server has it and the catalogue knows.
    async fn send(&self, segment: &Segment, file: Arc<File>) -> Result<(), Why> {
        let key = self.plan.place.key(&name(segment));
        if !self.archive.open()?.has(segment)? {
            self.check(segment, &file).await?;
            let etag = match usize::try_from(segment.bytes) {
                Ok(bytes) if bytes <= PART_BYTES => {
                    let all = read(&file, 0, bytes).await?;
                    self.bucket.put(&key, all, MP4).await?;
                    None
                }
                _ => self.in_parts(segment, &file, &key).await?,
            };
            self.verify(segment, &key, etag.as_deref()).await?;
            self.archive.open()?.done(segment, &key)?;
        }
        Ok(())
    }

    /// What was recorded, and nothing else, is worth being sent.
    async fn check(&self, segment: &Segment, file: &Arc<File>) -> Result<(), Why> {
        let (file, head_bytes) = (Arc::clone(file), u64::from(segment.head_bytes));
        let looked = tokio::task::spawn_blocking(move || whole(&file, head_bytes));
        let whole = looked
            .await
            .map_err(|error| Why::Failed(passing(error.to_string())))??;
        let bytes = head_bytes + whole.bytes;
        match bytes == segment.bytes && whole.crc == segment.crc {
            true => Ok(()),
            false => Err(Why::Unfit(format!(
                "{bytes} of its {} bytes are as they were written",
                segment.bytes
            ))),
        }
    }

    /// Goes on where the server has parts of it. The tag of the object, where the server tells it.
    async fn in_parts(&self, segment: &Segment, file: &Arc<File>, key: &str) -> Result<Option<String>, Why> {
        let catalogue = self.archive.open()?;
        let count = usize::try_from(segment.bytes.div_ceil(PART_BYTES as u64)).unwrap_or(usize::MAX);
        if count > MAX_PARTS {
            return Err(Why::Unfit(format!("it has more than {MAX_PARTS} parts")));
        }
        let is_it = |begun: &Begun| {
            (begun.segment, begun.start_90k, begun.bytes) == (segment.id, segment.start_90k, segment.bytes)
                && begun.key == key
        };
        let mut begun = match catalogue.begun()? {
            Some(begun) if is_it(&begun) => begun,
            other => {
                if let Some(other) = other {
                    // Its file went otherwise. What cannot be told to the server now is its owner's to clean up.
                    let _ = self.bucket.abort(&other.key, &other.id).await;
                    catalogue.forget()?;
                }
                let begun = Begun {
                    segment: segment.id,
                    start_90k: segment.start_90k,
                    bytes: segment.bytes,
                    key: key.to_owned(),
                    id: self.bucket.begin(key, MP4).await?,
                    parts: Vec::new(),
                };
                catalogue.begin(&begun)?;
                begun
            }
        };
        begun.parts.truncate(count);
        for number in begun.parts.len()..count {
            let from = number as u64 * PART_BYTES as u64;
            let bytes = (segment.bytes - from).min(PART_BYTES as u64) as usize;
            let sent = self
                .bucket
                .part(key, &begun.id, number, read(file, from, bytes).await?)
                .await;
            let part = match sent {
                Err(Failed {
                    kind: Kind::Missing, ..
                }) => {
                    catalogue.forget()?;
                    let detail = format!("the server forgot the parts of {key}; they are sent anew");
                    return Err(Why::Failed(passing(detail)));
                }
                sent => sent?,
            };
            catalogue.part(number, &part)?;
            begun.parts.push(part);
        }
        match self.bucket.complete(key, &begun.id, &begun.parts).await {
            Ok(etag) => Ok(etag),
            // A kill came between its completion and our knowing of it; or it was forgotten, which shows when the object is looked at.
            Err(Failed {
                kind: Kind::Missing, ..
            }) => {
                catalogue.forget()?;
                Ok(None)
            }
            Err(failed) => Err(failed.into()),
        }
    }

    async fn verify(&self, segment: &Segment, key: &str, etag: Option<&str>) -> Result<(), Failed> {
        let object = self.bucket.head(key).await?;
        let object = object.ok_or_else(|| {
            passing(format!(
                "{key} is not in the bucket though it was sent; it is sent again"
            ))
        })?;
        let differs = matches!((etag, &object.etag), (Some(told), Some(shown)) if told != shown);
        match object.bytes == segment.bytes && !differs {
            true => Ok(()),
            false => Err(passing(format!(
                "{key} in the bucket is another than was sent: {} bytes of {}; it is sent again",
                object.bytes, segment.bytes
            ))),
        }
    }

    /// The disk's thread removes it. What was protected meanwhile stays here too.
    async fn discard(&self, recorder: Recorder, segment: &Segment) -> Result<(), Failed> {
        let id = segment.id;
        let discarded = tokio::task::spawn_blocking(move || recorder.discard(vec![id]));
        let discarded = discarded.await.map_err(|error| passing(error.to_string()))?;
        discarded.map(|_| ()).map_err(|error| passing(error.to_string()))
    }

    fn failed(&mut self, failed: &Failed, wait: Duration) {
        let now = self.archive.world.clock.now();
        let is_known =
            |(told, at): &(String, Instant)| *told == failed.detail && now.saturating_duration_since(*at) < TELL_AGAIN;
        if !self.told.as_ref().is_some_and(is_known) {
            tracing::warn!(to = %self.plan.place, again_s = wait.as_secs(), "recordings cannot be archived, and stay here: {failed}");
            self.told = Some((failed.detail.clone(), now));
        }
        self.change(|report| report.trouble = Some(failed.detail.clone()));
    }

    fn goes_on(&mut self, segment: &Segment) {
        if self.told.take().is_some() {
            tracing::info!("recordings are archived again");
        }
        tracing::debug!(stream = %segment.camera, path = segment.path, bytes = segment.bytes, "a recording is archived");
        self.change(|report| {
            report.files += 1;
            report.bytes += segment.bytes;
            report.trouble = None;
        });
    }

    fn change(&self, change: impl FnOnce(&mut super::Report)) {
        change(
            &mut self
                .archive
                .report
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
    }
}

/// What it is called in the archive: as here, with its number, since a name is given again when its file is gone.
fn name(segment: &Segment) -> String {
    let path = segment.path.replace(std::path::MAIN_SEPARATOR, "/");
    match path.rsplit_once('.') {
        Some((stem, ending)) => format!("{stem}-{}.{ending}", segment.id.0),
        None => format!("{path}-{}", segment.id.0),
    }
}

/// Waits for the disk.
fn look(
    recorder: &Recorder,
    until_90k: i64,
    passed: &mut HashMap<StreamName, (i64, SegmentId)>,
    unfit: &HashSet<SegmentId>,
) -> Result<Option<Chosen>, String> {
    let reader = recorder.reader().map_err(|error| error.to_string())?;
    let mut oldest: Option<Segment> = None;
    for camera in reader.cameras().map_err(|error| error.to_string())? {
        let first = first(&reader, &camera.camera, until_90k, passed, unfit)?;
        let first = first.filter(|first| oldest.as_ref().is_none_or(|oldest| first.start_90k < oldest.start_90k));
        oldest = first.or(oldest);
    }
    let Some(segment) = oldest else { return Ok(None) };
    let places = Places::of(recorder, &reader).map_err(|error| error.to_string())?;
    // What is on a disk that is away is looked for again, and keeps nobody else waiting.
    match places.open(&segment) {
        Ok((file, _)) => Ok(Some(Chosen { segment, file })),
        Err(error) => {
            passed.insert(segment.camera.clone(), (segment.start_90k, segment.id));
            Err(error.to_string())
        }
    }
}

/// The first of a camera that may go.
fn first(
    reader: &Reader,
    camera: &StreamName,
    until_90k: i64,
    passed: &mut HashMap<StreamName, (i64, SegmentId)>,
    unfit: &HashSet<SegmentId>,
) -> Result<Option<Segment>, String> {
    let protected = all_protected(reader, camera).map_err(|error| error.to_string())?;
    let is_protected = |segment: &Segment| {
        let touches = |range: &std::ops::Range<i64>| range.start < segment.end_90k() && range.end > segment.start_90k;
        protected.iter().any(|(_, protected)| touches(&protected.range_90k))
    };
    for _ in 0..MAX_PAGES {
        let behind = passed.get(camera).copied();
        let page = reader.segments(camera, 0..until_90k.max(1), behind, PAGE);
        let page = page.map_err(|error| error.to_string())?;
        for segment in page.items {
            if segment.end_90k() > until_90k {
                continue;
            }
            if segment.state == State::Whole && !unfit.contains(&segment.id) && !is_protected(&segment) {
                return Ok(Some(segment));
            }
            passed.insert(camera.clone(), (segment.start_90k, segment.id));
        }
        if page.next.is_none() {
            break;
        }
    }
    Ok(None)
}

async fn read(file: &Arc<File>, from: u64, bytes: usize) -> io::Result<Bytes> {
    let file = Arc::clone(file);
    let read = tokio::task::spawn_blocking(move || {
        let mut all = vec![0; bytes];
        let mut filled = 0;
        while let Some(rest) = all.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(from + filled as u64, rest)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(Bytes::from(all))
    });
    read.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// What of a file is whole behind its head: every seal is looked at.
fn whole(file: &File, head_bytes: u64) -> io::Result<Whole> {
    let mut scanner = Scanner::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut at = head_bytes;
    loop {
        let count = file.read_at(at, &mut buffer)?;
        if count == 0 {
            return Ok(*scanner.whole());
        }
        scanner.push(buffer.get(..count).unwrap_or_default());
        at += count as u64;
    }
}
