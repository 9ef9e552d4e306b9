//! One file after the other, to the archive.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::recording::{Fragments, Header, MAX_HEAD_BYTES, Scanner, Whole};

use super::catalogue::{Begun, Catalogue, Contents, Discovered, Error, Known};
use super::choose::{Choosing, Next};
use super::{Archive, Plan, remake};
use crate::record::clock::unix_90k;
use crate::record::index::Segment;
use crate::record::library::Opened;
use crate::record::recorder::Recorder;
use crate::s3::{About, Bucket, Failed, Kind, LEAST_PART_BYTES, Object, Pace};

/// How long it is waited where nothing is old enough.
const LOOK: Duration = Duration::from_secs(10);
/// And where what was looked at stays: the disk has others to serve.
const LOOK_ON: Duration = Duration::from_millis(20);
/// What is sent at a time, and what a kill can have sent for nothing. All parts have this length but the last, which some servers want.
const PART_BYTES: usize = 8 << 20;
const _: () = assert!(PART_BYTES >= LEAST_PART_BYTES);
/// More parts no server takes.
const MAX_PARTS: usize = 10_000;
/// How soon the same trouble is told again.
const TELL_AGAIN: Duration = Duration::from_secs(3_600);
/// Bytes that are read at a time when a file is looked through.
const READ_BYTES: usize = 256 << 10;
const MP4: &str = "video/mp4";

pub(super) struct Work {
    archive: Arc<Archive>,
    plan: Plan,
    bucket: Bucket,
    choosing: Choosing,
    told: Option<(String, Instant)>,
}

/// What a step has done.
enum Step {
    /// A file went.
    Went,
    /// Something stays.
    Passed,
    /// There is nothing to do.
    Idle,
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
    pub(super) fn new(archive: Arc<Archive>, plan: Plan, bucket: Bucket) -> Self {
        Self {
            archive,
            plan,
            bucket,
            choosing: Choosing::default(),
            told: None,
        }
    }

    pub(super) async fn run(mut self) {
        let mut pace = Pace::default();
        loop {
            let wait = match self.step().await {
                Ok(Step::Went) => {
                    pace = Pace::default();
                    continue;
                }
                Ok(Step::Passed) => LOOK_ON,
                Ok(Step::Idle) => LOOK,
                Err(failed) => {
                    let wait = pace.wait(failed.kind, (self.archive.world.random)());
                    self.failed(&failed, wait);
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Archives the next file, if there is one.
    async fn step(&mut self) -> Result<Step, Failed> {
        let Some(recorder) = (self.archive.world.recorder)() else {
            return Ok(Step::Idle);
        };
        keeps_nothing_back(&recorder)?;
        let (segment, file) = match self.choose(&recorder).await? {
            Next::File(chosen) => *chosen,
            Next::More => return Ok(Step::Passed),
            Next::Nothing => return Ok(Step::Idle),
        };
        *self.archive.sending() = Some((segment.id, false));
        match self.send(&recorder, &segment, Arc::new(file)).await {
            Ok(()) => {}
            Err(Why::Failed(failed)) => return Err(failed),
            Err(Why::Unreadable(why)) => {
                self.choosing.pass(&segment, &why, self.archive.world.clock.now());
                return Ok(Step::Passed);
            }
            Err(Why::Unfit(why)) => {
                tracing::error!(stream = %segment.camera, path = segment.path, "a recording is not archived and stays here: {why}");
                self.choosing.never(&segment);
                return Ok(Step::Passed);
            }
        }
        // Taken when the catalogue has it: whoever deletes it from now on deletes it there.
        let sent = self.archive.sending().take();
        if sent.is_some_and(|(_, is_deleted)| is_deleted) {
            self.take_back(&segment).await?;
            return Ok(Step::Passed);
        }
        keeps_nothing_back(&recorder)?;
        if self.discard(recorder, &segment).await? == 0 {
            let now = self.archive.world.clock.now();
            self.choosing.pass(&segment, "it was protected while it was sent", now);
            return Ok(Step::Passed);
        }
        self.goes_on(&segment);
        Ok(Step::Went)
    }

    async fn choose(&mut self, recorder: &Recorder) -> Result<Next, Failed> {
        let clock = &self.archive.world.clock;
        let after_us = media::time::micros(self.plan.after);
        let until_90k = unix_90k(clock.wall().offset_micros(after_us.saturating_neg()));
        let (recorder, now) = (recorder.clone(), clock.now());
        let mut choosing = std::mem::take(&mut self.choosing);
        let looked = tokio::task::spawn_blocking(move || {
            let next = choosing.look(&recorder, until_90k, now);
            (next, choosing)
        });
        let (next, choosing) = looked.await.map_err(|error| passing(error.to_string()))?;
        self.choosing = choosing;
        next.map_err(passing)
    }

    /// Until the server has it and the catalogue knows.
    async fn send(&self, recorder: &Recorder, segment: &Segment, file: Arc<Opened>) -> Result<(), Why> {
        let asked = segment.clone();
        let known = self.archive.asked(move |catalogue| catalogue.known(&asked)).await?;
        // A protection or a kill kept it here when it went, and who knows what became of it there: this may be the last copy.
        if let Some(known) = &known
            && self.still_has(known, segment).await?
        {
            return Ok(());
        }
        let key = self.plan.place.key(&name(segment));
        let header = self.check(segment, &file).await?;
        let fragments = table(recorder.clone(), segment).await?;
        let about = About {
            content_type: MP4,
            told: remake::told(&fragments).map(|told| (remake::TABLE, told)),
        };
        let etag = match usize::try_from(segment.bytes) {
            Ok(bytes) if bytes <= PART_BYTES => {
                let all = read(&file, 0, bytes).await?;
                self.bucket.put(&key, all, about).await?;
                None
            }
            _ => match self.in_parts(segment, &file, (&key, about)).await? {
                // What lies there may be the other that was found just now: of the same length, it would pass for ours.
                None if known.is_some() => {
                    let detail = format!(
                        "the server forgot the parts of {key}, and what lies there is not known to be it; it is sent anew"
                    );
                    return Err(Why::Failed(passing(detail)));
                }
                etag => etag,
            },
        };
        let object = self.verify(segment, &key, etag.as_deref()).await?;
        let found = Discovered {
            segment: segment.clone(),
            known: Known { key, etag: object.etag },
            contents: Contents { header, fragments },
        };
        self.archive.asked(move |catalogue| catalogue.done(&found)).await?;
        Ok(())
    }

    /// Whether the bucket has what the catalogue says.
    async fn still_has(&self, known: &Known, segment: &Segment) -> Result<bool, Failed> {
        let object = match self.bucket.head(&known.key).await {
            Ok(object) => object,
            // To a key that may not list, AWS says of what is missing that it may not see it. Sent once more it is there for sure.
            Err(failed) if failed.kind == Kind::Lasting => return Ok(false),
            Err(failed) => return Err(failed),
        };
        // By a tag that was seen when it was compared with the file.
        let is_it = object
            .is_some_and(|object| object.bytes == segment.bytes && known.etag.is_some() && known.etag == object.etag);
        if !is_it {
            tracing::warn!(stream = %segment.camera, key = known.key, "a recording that was archived is not known to be in the bucket as it was sent; it is sent again");
        }
        Ok(is_it)
    }

    /// What was recorded, and nothing else, is worth being sent.
    async fn check(&self, segment: &Segment, file: &Arc<Opened>) -> Result<Header, Why> {
        let (file, head_bytes) = (Arc::clone(file), u64::from(segment.head_bytes));
        let looked = tokio::task::spawn_blocking(move || {
            Ok::<_, io::Error>((head(&file, head_bytes)?, whole(&file, head_bytes)?))
        });
        let (header, whole) = looked
            .await
            .map_err(|error| Why::Failed(passing(error.to_string())))??;
        let bytes = head_bytes + whole.bytes;
        match bytes == segment.bytes && whole.crc == segment.crc {
            true => Ok(header),
            false => Err(Why::Unfit(format!(
                "{bytes} of its {} bytes are as they were written",
                segment.bytes
            ))),
        }
    }

    /// Goes on where the server has parts of it. The tag of the object; `None`: the server does not know the upload any more, since it was completed before a kill, or was forgotten.
    async fn in_parts(
        &self,
        segment: &Segment,
        file: &Arc<Opened>,
        (key, about): (&str, About),
    ) -> Result<Option<String>, Why> {
        let count = usize::try_from(segment.bytes.div_ceil(PART_BYTES as u64)).unwrap_or(usize::MAX);
        if count > MAX_PARTS {
            return Err(Why::Unfit(format!("it has more than {MAX_PARTS} parts")));
        }
        let is_it = |begun: &Begun| {
            (begun.segment, begun.start_90k, begun.bytes) == (segment.id, segment.start_90k, segment.bytes)
                && begun.key == key
        };
        let mut begun = match self.archive.asked(Catalogue::begun).await? {
            Some(begun) if is_it(&begun) => begun,
            other => {
                if let Some(other) = other {
                    // Its file went otherwise. What cannot be told to the server now is its owner's to clean up.
                    let _ = self.bucket.abort(&other.key, &other.id).await;
                    self.archive.asked(Catalogue::forget).await?;
                }
                let begun = Begun {
                    segment: segment.id,
                    start_90k: segment.start_90k,
                    bytes: segment.bytes,
                    key: key.to_owned(),
                    id: self.bucket.begin(key, about).await?,
                    parts: Vec::new(),
                };
                let begins = begun.clone();
                self.archive.asked(move |catalogue| catalogue.begin(&begins)).await?;
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
                    self.archive.asked(Catalogue::forget).await?;
                    let detail = format!("the server forgot the parts of {key}; they are sent anew");
                    return Err(Why::Failed(passing(detail)));
                }
                sent => sent?,
            };
            begun.parts.push(part.clone());
            self.archive
                .asked(move |catalogue| catalogue.part(number, &part))
                .await?;
        }
        match self.bucket.complete(key, &begun.id, &begun.parts).await {
            Ok(etag) => Ok(etag),
            // A kill came between its completion and our knowing of it; or it was forgotten, which shows when the object is looked at.
            Err(Failed {
                kind: Kind::Missing, ..
            }) => {
                self.archive.asked(Catalogue::forget).await?;
                Ok(None)
            }
            Err(failed) => Err(failed.into()),
        }
    }

    async fn verify(&self, segment: &Segment, key: &str, etag: Option<&str>) -> Result<Object, Failed> {
        let object = self.bucket.head(key).await?;
        let object = object.ok_or_else(|| {
            passing(format!(
                "{key} is not in the bucket though it was sent; it is sent again"
            ))
        })?;
        let differs = matches!((etag, &object.etag), (Some(told), Some(shown)) if told != shown);
        match object.bytes == segment.bytes && !differs {
            true => Ok(object),
            false => Err(passing(format!(
                "{key} in the bucket is another than was sent: {} bytes of {}; it is sent again",
                object.bytes, segment.bytes
            ))),
        }
    }

    /// The disk's thread removes it; how many it does. What was protected meanwhile stays here too.
    async fn discard(&self, recorder: Recorder, segment: &Segment) -> Result<usize, Failed> {
        let id = segment.id;
        let discarded = tokio::task::spawn_blocking(move || recorder.discard(vec![id]));
        let discarded = discarded.await.map_err(|error| passing(error.to_string()))?;
        discarded.map_err(|error| passing(error.to_string()))
    }

    /// It was deleted on request while it was sent.
    async fn take_back(&self, segment: &Segment) -> Result<(), Failed> {
        let (camera, file) = (segment.camera.clone(), (segment.id, segment.start_90k));
        let removed = self.archive.asked(move |catalogue| catalogue.remove(&camera, &[file]));
        removed.await.map_err(|error| passing(error.to_string()))?;
        let key = self.plan.place.key(&name(segment));
        // A right for that is not asked of the key.
        if let Err(failed) = self.bucket.delete(&key).await {
            tracing::warn!(stream = %segment.camera, key, "a recording was deleted while it was archived, and stays in the bucket until somebody deletes it there: {failed}");
        }
        Ok(())
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
        change(&mut self.archive.change_report());
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

/// The table of its fragments, as the index has it; an empty one where that cannot be believed.
async fn table(recorder: Recorder, segment: &Segment) -> Result<Fragments, Failed> {
    let id = segment.id;
    let asked = tokio::task::spawn_blocking(move || {
        let reader = recorder.reader().map_err(|error| error.to_string())?;
        reader.fragments(id).map_err(|error| error.to_string())
    });
    let table = asked.await.map_err(|error| passing(error.to_string()))?;
    Ok(Fragments::read(&table.map_err(passing)?).unwrap_or_default())
}

async fn read(file: &Arc<Opened>, from: u64, bytes: usize) -> io::Result<Bytes> {
    let file = Arc::clone(file);
    let read = tokio::task::spawn_blocking(move || {
        let mut all = vec![0; bytes];
        read_exactly(&file, from, &mut all)?;
        Ok(Bytes::from(all))
    });
    read.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn read_exactly(file: &Opened, from: u64, into: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(from + filled as u64, rest)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(())
}

fn head(file: &Opened, head_bytes: u64) -> io::Result<Header> {
    let mut head = vec![0; usize::try_from(head_bytes).unwrap_or(0).min(MAX_HEAD_BYTES)];
    read_exactly(file, 0, &mut head)?;
    Header::read(&head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// What of a file is whole behind its head: every seal is looked at.
fn whole(file: &Opened, head_bytes: u64) -> io::Result<Whole> {
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

#[cfg(test)]
mod tests;
