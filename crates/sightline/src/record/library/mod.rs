//! What is asked of recordings while they are made: which there are, and their bytes.
//!
//! Belongs here: a few who read the index, on threads that may wait; files, found by the index alone and opened below the folder of their storage. Does not belong
//! here: HTTP, which bytes a clip is made of ([`super::play`]), who may see what.
//!
//! - A file that is being sent is open: whoever deletes it ends no download. Of a long clip that are the next [`MAX_OPEN`]; the rest are opened when it is their turn.
//! - Everything has a limit: questions at a time, answers that are sent at a time, files of a clip, its length.

#[cfg(test)]
pub(crate) mod made;
pub(super) mod opening;
mod sending;
mod stills;
pub(super) mod view;

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use media::StreamName;
use media::recording::{Fragments, Header};
use protocol::hls::vod;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::archive::{self, Archive, Archived};
use super::index::{
    self, CameraTimes, Change, Event, EventId, Index, Page, Protected, ProtectedId, Reader, Runs, Segment, SegmentId,
    State,
};
use super::play::{self, Plan};
use super::recorder::{AskError, Recorder};
use opening::Slot;
pub(in crate::record) use opening::{Opened, Places};
pub use sending::{Mark, Media, Sending};
pub use stills::{AskedStrip, MAX_STRIP_90K, Shown, ShownStrip};
use view::View;

/// Why something was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The index cannot be asked.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// Nothing is recorded there.
    #[error("nothing is recorded there")]
    Nothing,
    /// The index knows a file that cannot be opened.
    #[error("the file {path} of a recording cannot be opened: {error}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// More is wanted at a time than there is room for.
    #[error("{what} at a time are {limit} at the most")]
    Busy {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
    /// A clip or list of too much.
    #[error("{what} of {asked}; at most {limit} are told at once")]
    TooLong {
        /// What was asked for.
        what: &'static str,
        /// How much of it.
        asked: String,
        /// How much there may be.
        limit: &'static str,
    },
    /// It is being recorded, and not deleted before it is whole.
    #[error("it is being recorded")]
    Growing,
    /// A segment that is protected is not deleted.
    #[error("it is protected")]
    Protected,
    /// What is recorded there gives no picture.
    #[error("{0}")]
    NoPicture(String),
    /// What is archived cannot be asked for.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// What is archived cannot be read.
    #[error("{}", archive::AWAY)]
    Away(crate::s3::Failed),
    /// The program ends.
    #[error("the program ends")]
    Ending,
}

impl From<AskError> for Error {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Index(error) => Self::Index(error),
            AskError::Stopped => Self::Ending,
        }
    }
}

/// Asks and opens.
pub struct Library {
    recorder: Box<dyn Fn() -> Option<Recorder> + Send + Sync>,
    readers: Mutex<Vec<Reader>>,
    questions: Semaphore,
    sending: Arc<Semaphore>,
    stills: stills::Turns,
    archive: Option<Arc<Archive>>,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

/// Files with their tables.
pub type Files = Vec<(Segment, Fragments)>;

/// What is recorded of a camera in a range, for a list.
#[derive(Debug)]
pub struct Listed {
    /// The files that have a part in it, in order, and from when on each is to be shown.
    pub files: Vec<(Segment, Fragments, i64)>,
    /// More of the range may come: it is being recorded.
    pub grows: bool,
}

impl Library {
    /// Of what a recorder has, for as long as there is one, and of what it archived.
    pub fn new(
        recorder: impl Fn() -> Option<Recorder> + Send + Sync + 'static,
        archive: Option<Arc<Archive>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            recorder: Box::new(recorder),
            readers: Mutex::default(),
            questions: Semaphore::new(MAX_QUESTIONS),
            sending: Arc::new(Semaphore::new(MAX_SENDING)),
            stills: stills::Turns::default(),
            archive,
        })
    }

    /// How archiving goes.
    pub fn archive_report(&self) -> archive::Report {
        self.archive
            .as_ref()
            .map(|archive| archive.report())
            .unwrap_or_default()
    }

    /// What of a range is archived, as [`Archive::ranges`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn archived(
        self: &Arc<Self>,
        camera: StreamName,
        range_90k: Range<i64>,
        resolution_90k: i64,
    ) -> Result<(Vec<Archived>, Option<i64>), Error> {
        let Some(archive) = self.archive.clone() else {
            return Ok((Vec::new(), None));
        };
        self.ask(move |_| Ok(archive.ranges(&camera, &range_90k, resolution_90k)?))
            .await
    }

    /// Whether there is an index: something is recorded, or was.
    pub fn is_there(&self) -> bool {
        self.index().is_ok()
    }

    /// When each camera that has recordings has them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn cameras(self: &Arc<Self>) -> Result<Vec<CameraTimes>, Error> {
        self.ask(|view| view.cameras()).await
    }

    /// As [`Reader::runs`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn runs(
        self: &Arc<Self>,
        camera: StreamName,
        range_90k: Range<i64>,
        resolution_90k: i64,
    ) -> Result<Runs, Error> {
        self.ask(move |view| view.runs(&camera, range_90k, resolution_90k))
            .await
    }

    /// As [`Reader::events`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn events(
        self: &Arc<Self>,
        camera: StreamName,
        range_90k: Range<i64>,
        kind: Option<String>,
        behind: Option<(i64, EventId)>,
    ) -> Result<Page<Event, (i64, EventId)>, Error> {
        self.ask(move |reader| Ok(reader.events(&camera, range_90k, kind.as_deref(), behind)?))
            .await
    }

    /// As [`Reader::search`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn search(
        self: &Arc<Self>,
        cameras: Vec<(StreamName, Vec<String>)>,
        most: usize,
    ) -> Result<Vec<Event>, Error> {
        self.ask(move |reader| Ok(reader.search(&cameras, most)?)).await
    }

    /// As [`Reader::intensity`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn intensity(
        self: &Arc<Self>,
        camera: StreamName,
        range_90k: Range<i64>,
        step_90k: i64,
    ) -> Result<Vec<u8>, Error> {
        self.ask(move |reader| Ok(reader.intensity(&camera, range_90k, step_90k)?))
            .await
    }

    /// Tells an event.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tell(self: &Arc<Self>, event: Event) -> Result<EventId, Error> {
        self.change(move |recorder| {
            let index = recorder.index().ok_or(Error::Ending)?;
            let id = index.next_event();
            // It waits for the index, so that whoever asks then is told.
            match index.write(Change::Event(Event { id, ..event })) {
                Ok(()) => Ok(index.flush().map(|()| id)?),
                Err(_) => Err(Error::Busy {
                    what: "bytes that wait for the index",
                    limit: index::MAX_QUEUED_BYTES,
                }),
            }
        })
        .await
    }

    /// The ranges of a camera that are protected, [`index::MAX_PROTECTED`] at the most.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn protected(self: &Arc<Self>, camera: StreamName) -> Result<Vec<(ProtectedId, Protected)>, Error> {
        self.ask(move |reader| all_protected(reader, &camera)).await
    }

    /// Protects a range, once.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn protect(self: &Arc<Self>, wanted: Protected) -> Result<(), Error> {
        let known = self.protected(wanted.camera.clone()).await?;
        if known.iter().any(|(_, known)| known.range_90k == wanted.range_90k) {
            return Ok(());
        }
        self.change(move |recorder| Ok(recorder.protect(wanted).map(drop)?))
            .await
    }

    /// Ends the protection of exactly this range. Whether there was one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn release(self: &Arc<Self>, camera: StreamName, range_90k: Range<i64>) -> Result<bool, Error> {
        let known = self.protected(camera).await?;
        let known = known.into_iter().filter(move |(_, known)| known.range_90k == range_90k);
        let known: Vec<ProtectedId> = known.map(|(id, _)| id).collect();
        self.change(move |recorder| {
            let released = known.into_iter().map(|id| recorder.release(id));
            Ok(released.collect::<Result<Vec<bool>, _>>()?.contains(&true))
        })
        .await
    }

    /// Marks the files that lie in a range with all that they have to be deleted, [`index::MAX_PAGE`] of them at the most, and says how many it did. None of them is found any more;
    /// whoever writes on their disk removes them, when it is there. Nor are they played from the archive; what lies there alone is not deleted.
    ///
    /// # Errors
    /// [`Error::Protected`]: some are protected, and none was deleted. [`Error::Nothing`]: there is none. [`Error::Growing`]: there is one that is not whole yet.
    pub async fn delete(self: &Arc<Self>, camera: StreamName, range_90k: Range<i64>) -> Result<usize, Error> {
        // What was told to it last is deleted, too.
        self.change(|recorder| Ok(recorder.index().ok_or(Error::Ending)?.flush()?))
            .await?;
        let found = self.ask(move |reader| {
            let page = reader.page(&camera, &range_90k, None)?;
            let whole = |segment: &Segment| segment.start_90k >= range_90k.start && segment.end_90k() <= range_90k.end;
            let segments = page.items.into_iter().filter(whole);
            let (growing, segments): (Vec<Segment>, Vec<_>) =
                segments.partition(|segment| segment.state == State::Open);
            if segments.is_empty() && !growing.is_empty() {
                return Err(Error::Growing);
            }
            let protected = all_protected(reader, &camera)?;
            let touches = |segment: &Segment| {
                let touch = |range: &Range<i64>| range.start < segment.end_90k() && range.end > segment.start_90k;
                protected.iter().any(|(_, protected)| touch(&protected.range_90k))
            };
            match segments.iter().any(touches) {
                true => Err(Error::Protected),
                false => Ok((camera, segments)),
            }
        });
        let (camera, found) = found.await?;
        if found.is_empty() {
            return Err(Error::Nothing);
        }
        let ids = found.iter().map(|segment| segment.id).collect();
        let marked = self.change(move |recorder| Ok(recorder.discard(ids)?)).await?;
        // Protected in between.
        if marked == 0 {
            return Err(Error::Protected);
        }
        if let Some(archive) = self.archive.clone() {
            let forgotten = self.ask(move |view| {
                let mut gone = Vec::new();
                for file in found {
                    if view.segment(file.id)?.is_none_or(|row| !row.state.is_kept()) {
                        gone.push((file.id, file.start_90k));
                    }
                }
                Ok(archive.forget(&camera, &gone)?)
            });
            forgotten.await?;
        }
        Ok(marked)
    }

    /// A segment of a camera.
    ///
    /// # Errors
    /// [`Error::Nothing`]: it has none of this number.
    pub async fn segment(self: &Arc<Self>, camera: StreamName, id: SegmentId) -> Result<Segment, Error> {
        self.ask(move |view| view.segment_of(&camera, id)).await
    }

    /// The segments that have a part in a range, a page of them, as [`Reader::segments`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn segments(
        self: &Arc<Self>,
        camera: StreamName,
        range_90k: Range<i64>,
        behind: Option<(i64, SegmentId)>,
    ) -> Result<Page<Segment, (i64, SegmentId)>, Error> {
        self.ask(move |view| view.page(&camera, &range_90k, behind)).await
    }

    /// The files that have a part in a range, up to [`MAX_FILES`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn listed(self: &Arc<Self>, camera: StreamName, range_90k: Range<i64>) -> Result<Listed, Error> {
        self.ask(move |view| {
            let (files, _) = view.all_files(&camera, &range_90k)?;
            let grows = files.iter().any(|(segment, _)| segment.state == State::Open);
            let shown = play::once(files.iter().map(|(segment, _)| segment), range_90k.start);
            let mut files: Vec<Option<(Segment, Fragments)>> = files.into_iter().map(Some).collect();
            let files = shown.into_iter().filter_map(|once| {
                let (segment, fragments) = files.get_mut(once.file)?.take()?;
                Some((segment, fragments, once.from_90k))
            });
            Ok(Listed {
                files: files.collect(),
                grows,
            })
        })
        .await
    }

    /// A clip of a range, as [`play`] makes it; at the most [`MAX_CLIP_90K`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn clip(self: &Arc<Self>, camera: StreamName, range_90k: Range<i64>) -> Result<Media, Error> {
        if range_90k.end.saturating_sub(range_90k.start) > MAX_CLIP_90K {
            return Err(Error::TooLong {
                what: "a clip",
                asked: format!("{} hours", (range_90k.end - range_90k.start) / 90_000 / 3_600),
                limit: "24 hours",
            });
        }
        let permit = self.may_send()?;
        let found = self.ask(move |view| {
            let (mut files, is_all_known) = view.all_files(&camera, &range_90k)?;
            let shown = play::once(files.iter().map(|(segment, _)| segment), range_90k.start);
            let shown: Vec<u64> = shown
                .into_iter()
                .filter_map(|once| files.get(once.file).map(|(segment, _)| segment.run))
                .collect();
            // Where a time came twice, the run of that which was recorded last.
            let begins = |segment: &Segment| (segment.start_90k..segment.end_90k()).contains(&range_90k.start);
            let at = files.iter().map(|(segment, _)| segment);
            let run = at
                .filter(|segment| shown.contains(&segment.run) && begins(segment))
                .map(|segment| segment.run)
                .max();
            files.retain(|(segment, _)| run.map_or(shown.contains(&segment.run), |run| segment.run == run));
            let chosen = play::choose(&files, range_90k);
            let places = view.places()?;
            let (mut opened, mut headers, mut gone) = (Vec::new(), Vec::new(), None);
            let mut missing = 0;
            for chosen in &chosen {
                let Some((segment, _)) = files.get(chosen.file) else {
                    continue;
                };
                let (file, header) = match places.open(segment) {
                    Ok(opened) => opened,
                    // A gap, as if it had not been recorded: a clip begins behind it, or ends in front of it.
                    Err(error @ Error::File { .. }) => {
                        tracing::warn!(reason = %error, "a clip goes without a file");
                        if !headers.is_empty() {
                            break;
                        }
                        gone.get_or_insert(error);
                        missing += 1;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                if headers.first().is_some_and(|first: &Header| !first.covers(&header)) {
                    break;
                }
                headers.push(header);
                opened.push((chosen.file, (opened.len() < MAX_OPEN).then_some(file)));
            }
            let found = Plan::clip(&files, chosen.get(missing..).unwrap_or_default(), &headers);
            let (plan, range_90k) = found.ok_or_else(|| gone.unwrap_or(Error::Nothing))?;
            let mut slots: Vec<Slot> = files
                .iter()
                .map(|(segment, _)| places.slot(segment))
                .collect::<Result<_, _>>()?;
            for (number, file) in opened {
                if let Some(slot) = slots.get_mut(number) {
                    slot.file = file;
                }
            }
            let mark = Mark::of(files.iter().map(|(segment, _)| segment), &range_90k, plan.len());
            let grows = files.iter().any(|(segment, _)| segment.state == State::Open);
            let media = Media::new(plan, slots, mark, range_90k, permit);
            Ok(media.growing(grows).knowing_all(is_all_known))
        });
        found.await?.looked_at().await
    }

    /// A file as it is, with its fragments so much later where that is asked for.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn file(self: &Arc<Self>, camera: StreamName, id: SegmentId, by_90k: i64) -> Result<Media, Error> {
        let permit = self.may_send()?;
        let found = self.ask(move |view| {
            let (segment, fragments) = view.file(&camera, id, by_90k != 0)?;
            let places = view.places()?;
            let (file, header) = places.open(&segment)?;
            let mut slot = places.slot(&segment)?;
            slot.file = Some(file);
            let plan = Plan::file(&segment, &fragments, header, by_90k);
            let range_90k = segment.start_90k..segment.end_90k();
            let mark = Mark::of([&segment].into_iter(), &(by_90k..by_90k), plan.len());
            let grows = segment.state == State::Open;
            Ok(Media::new(plan, vec![slot], mark, range_90k, permit).growing(grows))
        });
        found.await?.looked_at().await
    }

    /// How many bytes of a file its header has: what stands in front of its index.
    pub fn header_bytes(segment: &Segment) -> u32 {
        segment.head_bytes.saturating_sub(media::recording::ROOM_BYTES as u32)
    }

    /// To send something: for as long as it is held.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub fn may_send(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.sending).try_acquire_owned().map_err(|_| Error::Busy {
            what: "recordings that are sent",
            limit: MAX_SENDING,
        })
    }

    fn recorder(&self) -> Result<Recorder, Error> {
        (self.recorder)().ok_or(Error::Ending)
    }

    fn index(&self) -> Result<Arc<Index>, Error> {
        self.recorder()?.index().ok_or(Error::Ending)
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Error> {
        // Whoever waits is a connection, of which there are only so many.
        self.questions.acquire().await.map_err(|_| Error::Ending)
    }

    /// Asks on a thread that may wait, with a reader that others have when it is done.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&View<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _turn = self.turn().await?;
        let library = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || {
            let recorder = library.recorder()?;
            let known = library.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = match known {
                Some(reader) => reader,
                None => recorder.reader()?,
            };
            let answer = ask(&View::new(&reader, &recorder).and_archive(library.archive.as_ref()));
            // One that failed may be of a file that was put aside.
            if !matches!(answer, Err(Error::Index(_))) {
                let mut readers = library.readers.lock().unwrap_or_else(PoisonError::into_inner);
                readers.push(reader);
            }
            answer
        });
        asked.await.unwrap_or(Err(Error::Ending))
    }

    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&Recorder) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _turn = self.turn().await?;
        let recorder = self.recorder()?;
        let changed = tokio::task::spawn_blocking(move || change(&recorder));
        changed.await.unwrap_or(Err(Error::Ending))
    }
}

pub(in crate::record) fn all_protected(
    reader: &Reader,
    camera: &StreamName,
) -> Result<Vec<(ProtectedId, Protected)>, Error> {
    let (mut all, mut behind) = (Vec::new(), None);
    loop {
        let page = reader.protected(Some(camera), behind)?;
        all.extend(page.items);
        behind = page.next;
        if behind.is_none() {
            return Ok(all);
        }
    }
}

/// Questions at a time, each on a thread and with a connection to the index.
pub const MAX_QUESTIONS: usize = 4;
/// Recordings that are sent at a time, each on a thread while it reads.
pub const MAX_SENDING: usize = 64;
/// The longest clip: a day.
pub const MAX_CLIP_90K: i64 = 24 * 3_600 * 90_000;
/// Files of a clip or a list: a day of minutes, and some. Four hours of files of ten seconds.
pub const MAX_FILES: usize = 2_000;
/// Files of a clip that are open from the beginning on: a quarter of an hour of minutes, and with all that may be sent 1,024 descriptors.
pub const MAX_OPEN: usize = 16;
/// What is read at a time.
pub const CHUNK_BYTES: u64 = 256 << 10;
/// The longest list.
pub const MAX_LIST_90K: i64 = vod::MAX_90K;
