//! What is known while something is asked: what the index has, and what it does not have yet.
//!
//! Belongs here: joining the two. Does not belong here: either of them ([`Reader`], [`super::super::growing`]).

use std::collections::HashSet;
use std::ops::{Deref, Range};
use std::sync::Arc;

use media::StreamName;
use media::recording::Fragments;

use super::opening::Places;
use super::{Error, Files, MAX_FILES};
use crate::record::archive::{self, Archive};
use crate::record::index::{self, CameraTimes, Page, Reader, Runs, Segment, SegmentId, State};
use crate::record::recorder::Recorder;

/// One who reads the index, and asks the recorder before.
pub(in crate::record) struct View<'a> {
    reader: &'a Reader,
    recorder: &'a Recorder,
    archive: Option<&'a Arc<Archive>>,
}

impl Deref for View<'_> {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        self.reader
    }
}

impl<'a> View<'a> {
    pub(in crate::record) fn new(reader: &'a Reader, recorder: &'a Recorder) -> Self {
        Self {
            reader,
            recorder,
            archive: None,
        }
    }

    /// And what is archived.
    pub(in crate::record) fn and_archive(self, archive: Option<&'a Arc<Archive>>) -> Self {
        Self { archive, ..self }
    }

    /// Where storages are.
    pub(in crate::record) fn places(&self) -> Result<Places, Error> {
        Ok(Places::of(self.recorder, self.reader)?.and_archive(self.archive.cloned()))
    }

    /// When each camera that has recordings has them.
    pub(super) fn cameras(&self) -> Result<Vec<CameraTimes>, Error> {
        let growing = self.recorder.all_growing();
        let mut cameras = self.reader.cameras()?;
        for file in growing {
            match cameras.binary_search_by(|known| known.camera.cmp(&file.camera)) {
                Ok(at) => {
                    let Some(known) = cameras.get_mut(at) else { continue };
                    known.oldest_90k = known.oldest_90k.min(file.start_90k);
                    known.newest_90k = known.newest_90k.max(file.end_90k());
                }
                Err(at) => {
                    let times = CameraTimes {
                        oldest_90k: file.start_90k,
                        newest_90k: file.end_90k(),
                        camera: file.camera,
                    };
                    cameras.insert(at, times);
                }
            }
        }
        Ok(cameras)
    }

    /// As [`Reader::runs`].
    pub(super) fn runs(&self, camera: &StreamName, range_90k: Range<i64>, resolution_90k: i64) -> Result<Runs, Error> {
        let growing = self.recorder.growing(camera, &range_90k);
        let files: Vec<Segment> = growing.into_iter().map(|(file, _)| file).collect();
        Ok(self.reader.runs_with(camera, range_90k, resolution_90k, &files)?)
    }

    /// A segment of a camera that is here.
    pub(super) fn segment_of(&self, camera: &StreamName, id: SegmentId) -> Result<Segment, Error> {
        match self.file(camera, id, false)? {
            (segment, _) if segment.storage == archive::STORAGE => Err(Error::Nothing),
            (segment, _) => Ok(segment),
        }
    }

    /// A segment of a camera, with its fragments where they are wanted.
    pub(super) fn file(
        &self,
        camera: &StreamName,
        id: SegmentId,
        with_fragments: bool,
    ) -> Result<(Segment, Fragments), Error> {
        // Asked before the index, in which it may be a moment later.
        let growing = self.recorder.growing_file(camera, id);
        match self.reader.segment(id)? {
            Some(segment) if segment.state.is_kept() && segment.camera == *camera => {
                let fragments = match with_fragments {
                    true => self.table(&segment)?,
                    false => Fragments::new(),
                };
                Ok((segment, fragments))
            }
            Some(segment) if segment.state != State::Open => self.archived(camera, id),
            _ => growing.map_or_else(|| self.archived(camera, id), Ok),
        }
    }

    /// A file of a camera that is archived.
    fn archived(&self, camera: &StreamName, id: SegmentId) -> Result<(Segment, Fragments), Error> {
        let archive = self.archive.ok_or(Error::Nothing)?;
        archive.file(camera, id)?.ok_or(Error::Nothing)
    }

    /// The table of a segment; an empty one where it has none that can be believed.
    fn table(&self, segment: &Segment) -> Result<Fragments, index::Error> {
        let table = self.reader.fragments(segment.id)?;
        Ok(Fragments::read(&table).unwrap_or_default())
    }

    /// As [`Reader::segments`]; what the index does not know yet stands where it belongs by its beginning.
    pub(super) fn page(
        &self,
        camera: &StreamName,
        range_90k: &Range<i64>,
        behind: Option<(i64, SegmentId)>,
    ) -> Result<Page<Segment, (i64, SegmentId)>, Error> {
        let growing = self.recorder.growing(camera, range_90k);
        let mut page = self
            .reader
            .segments(camera, range_90k.clone(), behind, index::MAX_PAGE)?;
        let place = |file: &Segment| (file.start_90k, file.id);
        for (file, _) in growing {
            let is_behind = behind.is_none_or(|behind| place(&file) > behind);
            // Else it stands on a later page.
            let is_here = page.next.is_none_or(|next| place(&file) < next);
            if is_behind && is_here && self.is_new(&file, page.items.iter())? {
                page.items.push(file);
            }
        }
        page.items.sort_by_key(place);
        if page.items.len() > index::MAX_PAGE {
            page.items.truncate(index::MAX_PAGE);
            page.next = page.items.last().map(place);
        }
        Ok(page)
    }

    /// The files that have a part in a range, up to [`MAX_FILES`], by where they begin.
    pub(super) fn files(&self, camera: &StreamName, range_90k: &Range<i64>) -> Result<Files, Error> {
        self.files_up_to(camera, range_90k, MAX_FILES)?.ok_or_else(too_long)
    }

    /// With those that are archived and not here any more; and whether those are known. What is here is played where they are not.
    pub(super) fn all_files(&self, camera: &StreamName, range_90k: &Range<i64>) -> Result<(Files, bool), Error> {
        let files = self.files(camera, range_90k)?;
        match self.only_archived(camera, range_90k, &files, MAX_FILES) {
            Ok(archived) => Ok((joined(files, archived, MAX_FILES).ok_or_else(too_long)?, true)),
            // It is in the log.
            Err(_) if !files.is_empty() => Ok((files, false)),
            Err(error) => Err(error.into()),
        }
    }

    /// The like of files that were found. `None`: there are more than the limit.
    pub(in crate::record) fn with_archived(
        &self,
        camera: &StreamName,
        range_90k: &Range<i64>,
        files: Files,
        limit: usize,
    ) -> Result<Option<Files>, archive::Error> {
        let archived = self.only_archived(camera, range_90k, &files, limit)?;
        Ok(joined(files, archived, limit))
    }

    /// Those that are archived and not among these, one more than the limit at the most.
    fn only_archived(
        &self,
        camera: &StreamName,
        range_90k: &Range<i64>,
        files: &[(Segment, Fragments)],
        limit: usize,
    ) -> Result<Files, archive::Error> {
        let Some(archive) = self.archive else {
            return Ok(Files::new());
        };
        let here: HashSet<SegmentId> = files.iter().map(|(file, _)| file.id).collect();
        // Those that are here, too, count for both.
        let mut archived = archive.files(camera, range_90k, limit.saturating_add(here.len()).saturating_add(1))?;
        archived.retain(|(file, _)| !here.contains(&file.id));
        Ok(archived)
    }

    /// The same of another number. `None`: there are more.
    pub(in crate::record) fn files_up_to(
        &self,
        camera: &StreamName,
        range_90k: &Range<i64>,
        limit: usize,
    ) -> Result<Option<Files>, index::Error> {
        let growing = self.recorder.growing(camera, range_90k);
        let (mut files, mut behind) = (Files::new(), None);
        loop {
            let page = self
                .reader
                .segments(camera, range_90k.clone(), behind, index::MAX_PAGE)?;
            for segment in page.items {
                if files.len() == limit {
                    return Ok(None);
                }
                let fragments = self.table(&segment)?;
                files.push((segment, fragments));
            }
            behind = page.next;
            if behind.is_none() {
                break;
            }
        }
        for (file, fragments) in growing {
            if self.is_new(&file, files.iter().map(|(known, _)| known))? {
                files.push((file, fragments));
            }
        }
        files.sort_by_key(|(file, _)| (file.start_90k, file.id));
        Ok(Some(files))
    }

    /// Whether a file is not among these, and was not deleted meanwhile.
    fn is_new<'b>(&self, file: &Segment, mut known: impl Iterator<Item = &'b Segment>) -> Result<bool, index::Error> {
        if known.any(|known| known.id == file.id) {
            return Ok(false);
        }
        let row = self.reader.segment(file.id)?;
        Ok(row.is_none_or(|row| row.state != State::Garbage))
    }
}

/// In order. `None`: they are more than the limit.
fn joined(mut files: Files, more: Files, limit: usize) -> Option<Files> {
    files.extend(more);
    files.sort_by_key(|(file, _)| (file.start_90k, file.id));
    (files.len() <= limit).then_some(files)
}

fn too_long() -> Error {
    Error::TooLong {
        what: "a range",
        asked: format!("more than {MAX_FILES} files"),
        limit: "so many files",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::record::index::{Change, MAX_PAGE, SegmentId, State};
    use crate::record::library::made::{Made, NOON_90K, row};

    const MINUTE_90K: i64 = 60 * 90_000;

    /// Whole files of a minute each, which need not be there to be listed.
    fn minutes(made: &Made, count: i64) {
        for number in 0..count {
            let start_90k = NOON_90K + number * MINUTE_90K;
            let segment = row(made.index.next_segment(), "door", start_90k..start_90k + MINUTE_90K);
            made.index.write(Change::Segment(segment, Vec::new())).unwrap();
        }
        made.index.flush().unwrap();
    }

    /// Wherever it begins among thousands, and where a page is full without it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_being_recorded_stands_on_the_page_where_it_belongs() {
        let made = Made::new();
        minutes(&made, 2_300);
        let begins = [-1, 500, 999, 1_000, 2_299, 2_400].map(|number| NOON_90K + number * MINUTE_90K + MINUTE_90K / 2);
        let sinks = begins.map(|start_90k| made.begin("door", start_90k, 2));
        let (mut found, mut behind) = (Vec::new(), None);
        loop {
            let library = made.library();
            let page = library
                .segments("door".parse().unwrap(), 0..i64::MAX, behind)
                .await
                .unwrap();
            assert!(page.items.len() <= MAX_PAGE, "{}", page.items.len());
            found.extend(page.items);
            behind = page.next;
            if behind.is_none() {
                break;
            }
        }
        let ids: BTreeSet<SegmentId> = found.iter().map(|file| file.id).collect();
        assert_eq!((found.len(), ids.len()), (2_306, 2_306));
        assert!(found.is_sorted_by_key(|file| (file.start_90k, file.id)));
        let grow = found.iter().filter(|file| file.state == State::Open);
        assert!(grow.map(|file| file.start_90k).eq(begins));
        drop(sinks);
    }
}
