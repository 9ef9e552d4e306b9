//! Making of the index what the files say.
//!
//! Nothing that was recorded is removed: files are taken into the index, rows are corrected or go. What a start does is done by the machine of the disk itself ([`Disk`]), but for deleting.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use super::super::disk::completed;
use super::super::disk::{Disk, Found, Looking as Adopting, Shared};
use super::super::index::{self, Change, Index, Opened, SegmentId, State, TakenOver, put_aside};
use super::super::lock::{Lock, Refused};
use super::super::queue::Queue;
use super::super::recorder::{Clocks, StartError};
use super::super::report::{Notice, State as DiskState};
use super::super::segment::Looking;
use super::super::storage::{Claim, Place as _, Root, System, Volume as _, open_below};
use super::{Error, Finding, Kind, Listener, Progress, Summary, What, check_alone};

/// What is to be mended, as a check found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Rows that go: of files that are gone or are others, of paths that lead nowhere, and the second of two.
    pub gone: Vec<SegmentId>,
    /// Rows that are told anew from their files.
    pub told_anew: Vec<SegmentId>,
    /// Days whose ranges are made anew.
    pub days: Vec<index::CameraDay>,
    /// What cameras take is summed up anew.
    pub sums: bool,
    /// Files that are taken into the index, or completed.
    pub files: u64,
    /// Beginnings of files that are removed: nothing is in them.
    pub leftovers: u64,
    /// What this does not mend: what cannot be read, and what is beyond a million rows, which another time does.
    pub left: u64,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let rows = self.gone.len() + self.told_anew.len() + self.days.len();
        rows == 0 && !self.sums && self.files == 0 && self.leftovers == 0
    }

    fn takes(&mut self, finding: &Finding) {
        if self.gone.len() + self.told_anew.len() + self.days.len() >= MAX_MENDED {
            self.left += 1;
            return;
        }
        match finding.kind {
            Kind::RowBroken | Kind::PathBroken | Kind::RowTwice | Kind::FileMissing | Kind::OtherFile => {
                self.gone.extend(finding.id);
            }
            Kind::Length | Kind::FileDamaged | Kind::Checksum | Kind::Table => self.told_anew.extend(finding.id),
            Kind::Ranges => self.days.extend(finding.day),
            Kind::Sums => self.sums = true,
            Kind::FileUnknown | Kind::Unfinished => self.files += 1,
            Kind::Leftover => self.leftovers += 1,
            Kind::IndexDamaged | Kind::Unreadable => self.left += 1,
            Kind::KnownDamage | Kind::ToRemove | Kind::Misplaced | Kind::OtherStorage => {}
        }
    }
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows that went.
    pub gone: u64,
    /// Rows that were told anew.
    pub told_anew: u64,
    /// Files that were looked at to be taken into the index.
    pub adopted: u64,
    /// What could not be done, in words.
    pub failed: Vec<String>,
    /// How much more of that there was.
    pub failed_more: u64,
}

impl Done {
    /// What could not be read.
    fn hear(&mut self, notices: &mut broadcast::Receiver<Notice>) {
        let notices = std::iter::from_fn(|| notices.try_recv().ok());
        let failed = notices.filter_map(|notice| match notice {
            Notice::Failed { why, .. } => Some(why),
            _ => None,
        });
        for why in failed {
            match self.failed.len() {
                ..MAX_FAILED => self.failed.push(why),
                _ => self.failed_more += 1,
            }
        }
    }
}

/// What an index that was made anew holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Where the one before lies now. `None`: there was none, or a rebuild that was interrupted went on.
    pub aside: Option<PathBuf>,
    /// One that was interrupted went on.
    pub went_on: bool,
    /// What people had told, and was taken over.
    pub taken_over: Option<TakenOver>,
    /// See [`Opened::has_all_told`].
    pub has_all_told: bool,
    /// Files.
    pub done: Done,
}

/// Why nothing was mended.
#[derive(Debug, thiserror::Error)]
pub enum Unmendable {
    /// A server has the index, or its lock cannot be had.
    #[error("{0}")]
    InUse(#[from] StartError),
    /// What was to be mended could not be found out.
    #[error("{0}")]
    Check(#[from] Error),
    /// The index.
    #[error("{0}")]
    Index(#[from] index::Error),
    /// The folder of recordings is away: what is not there cannot be told from what is gone.
    #[error("{0}")]
    Away(String),
    /// The index is damaged.
    #[error("the index is damaged, which cannot be mended in place: --rebuild puts it aside and makes it anew")]
    Damaged,
}

impl From<Refused> for Unmendable {
    fn from(refused: Refused) -> Self {
        Self::InUse(refused.into())
    }
}

/// Finds out what is to be mended. No server may have the index, from now on until the guard is dropped.
///
/// # Errors
/// [`Unmendable`].
pub fn plan(what: &What, listener: &mut dyn Listener) -> Result<(Held, Plan, Summary), Unmendable> {
    let held = Held::take(&what.index)?;
    // Another server may have it, with an index of its own. What cannot be looked at is said below.
    if let Ok((volume, _)) = Root(what.root.clone()).look(None) {
        drop(claim(&volume)?);
    }
    let mut planning = Planning {
        listener,
        plan: Plan::default(),
    };
    let summary = check_alone(what, &mut planning)?;
    if summary.found.contains_key(&Kind::IndexDamaged) {
        return Err(Unmendable::Damaged);
    }
    if let Err(absent) = Root(what.root.clone()).look(None) {
        return Err(Unmendable::Away(absent.to_string()));
    }
    Ok((held, planning.plan, summary))
}

/// Nobody else records into the folder.
fn claim(volume: &System) -> Result<Claim, Unmendable> {
    let claimed = volume.claim(Duration::ZERO);
    claimed.map_err(|absent| Unmendable::Away(absent.to_string()))
}

/// Nobody else has the index.
#[derive(Debug)]
pub struct Held(Lock);

impl Held {
    fn take(index: &Path) -> Result<Self, Unmendable> {
        Ok(Self(Lock::take(index, Duration::ZERO)?))
    }
}

struct Planning<'a> {
    listener: &'a mut dyn Listener,
    plan: Plan,
}

impl Listener for Planning<'_> {
    fn finding(&mut self, finding: &Finding) {
        self.plan.takes(finding);
        self.listener.finding(finding);
    }

    fn progress(&mut self, progress: &Progress) {
        self.listener.progress(progress);
    }
}

/// Does what was planned, and looks through all once more.
///
/// # Errors
/// [`Unmendable`]; what was done until then is done.
pub fn repair(
    what: &What,
    held: Held,
    plan: &Plan,
    clocks: &Clocks,
    listener: &mut dyn Listener,
) -> Result<(Done, Summary), Unmendable> {
    let mut opened = Index::open(&what.index, EVERY)?;
    if opened.aside.is_some() {
        return Err(Unmendable::Damaged);
    }
    opened.index.hold(held.0);
    let index = Arc::new(opened.index);
    let mut done = Done::default();
    for id in &plan.gone {
        tell(&index, Change::Gone(*id))?;
        done.gone += 1;
    }
    index.flush()?;
    let total = plan.told_anew.len() as u64;
    for (number, id) in (0..).zip(&plan.told_anew) {
        listener.progress(&Progress {
            step: "reading files that differ",
            done: number,
            total: Some(total),
            bytes: 0,
        });
        match tell_anew(what, &index, *id)? {
            Ok(()) => done.told_anew += 1,
            Err(_) if done.failed.len() >= MAX_FAILED => done.failed_more += 1,
            Err(why) => done.failed.push(why),
        }
    }
    index.flush()?;
    if plan.files > 0 || plan.leftovers > 0 || !plan.gone.is_empty() {
        adopt(what, &index, clocks, &mut done, listener)?;
    }
    index.mend(&plan.days, plan.sums)?;
    let held = close(index, &what.index)?;
    let summary = check_alone(what, listener)?;
    drop(held);
    Ok((done, summary))
}

/// Puts the index aside and makes it anew from the files, or goes on where that was interrupted.
///
/// # Errors
/// [`Unmendable`]; called again, it goes on.
pub fn rebuild(what: &What, clocks: &Clocks, listener: &mut dyn Listener) -> Result<(Rebuilt, Summary), Unmendable> {
    let (volume, uuid) = Root(what.root.clone())
        .look(None)
        .map_err(|absent| Unmendable::Away(absent.to_string()))?;
    let held = Held::take(&what.index)?;
    drop(claim(&volume)?);
    let went_on = index::was_put_aside(&what.index)?
        && index::Reader::of_file(&what.index).is_ok_and(|reader| matches!(reader.adopting(&uuid), Ok(Some(_))));
    let aside = match !went_on && what.index.exists() {
        true => Some(put_aside(&what.index)?),
        false => None,
    };
    let Opened {
        mut index,
        taken_over,
        has_all_told,
        ..
    } = Index::open(&what.index, EVERY)?;
    index.hold(held.0);
    let index = Arc::new(index);
    let mut done = Done::default();
    adopt(what, &index, clocks, &mut done, listener)?;
    let held = close(index, &what.index)?;
    let summary = check_alone(what, listener)?;
    drop(held);
    let rebuilt = Rebuilt {
        aside,
        went_on,
        taken_over,
        has_all_told,
        done,
    };
    Ok((rebuilt, summary))
}

/// Closes an index, and takes its lock again: a server that waits for it may have it first, and then nothing is looked through once more.
fn close(index: Arc<Index>, path: &Path) -> Result<Lock, Unmendable> {
    if let Some(index) = Arc::into_inner(index) {
        index.close()?;
    }
    Ok(Lock::take(path, Duration::ZERO)?)
}

/// Looks through all folders as a start does that knows nothing of them, and removes nothing.
fn adopt(
    what: &What,
    index: &Arc<Index>,
    clocks: &Clocks,
    done: &mut Done,
    listener: &mut dyn Listener,
) -> Result<(), Unmendable> {
    let queue = Queue::new(Arc::clone(&clocks.clock));
    let shared = Arc::new(Shared::new(&what.root));
    shared.set_keeps_all(true);
    let found = Found {
        is_new: true,
        was_clean: false,
        create: None,
        sync: EVERY,
        removes: false,
        random: crate::random::bits,
        claim_within: Duration::ZERO,
    };
    let mut notices = shared.notices();
    let place = Root(what.root.clone());
    let mut disk = Disk::new(place, found, clocks.clone(), queue, Arc::clone(index), shared)?;
    is_there(&disk)?;
    let folders = disk.looking().map_or(0, |looking| looking.folders);
    let mut last = Adopting::default();
    while let Some(looking) = disk.looking() {
        last = looking;
        listener.progress(&Progress {
            step: "taking files into the index",
            done: folders.saturating_sub(looking.folders),
            total: Some(folders),
            bytes: looking.bytes,
        });
        // The index has as much to write as it takes.
        if !disk.has_more() {
            std::thread::sleep(PAUSE);
            index.flush()?;
        }
        disk.tick();
        done.hear(&mut notices);
    }
    is_there(&disk)?;
    done.hear(&mut notices);
    if last.has_failed {
        // What cannot be read was said. It is looked for again by who wants to know, and not at each start.
        let (_, storage) = Root(what.root.clone())
            .look(None)
            .map_err(|absent| Unmendable::Away(absent.to_string()))?;
        tell(index, Change::Adopting { storage, first: None })?;
    }
    done.adopted += last.files;
    disk.stop();
    index.flush()?;
    Ok(())
}

/// Whether its folder can be used.
fn is_there(disk: &Disk<Root>) -> Result<(), Unmendable> {
    match disk.state() {
        DiskState::Away { why } | DiskState::InUse { why } => Err(Unmendable::Away(why.clone())),
        _ => Ok(()),
    }
}

/// Makes a row say what its file is.
fn tell_anew(what: &What, index: &Index, id: SegmentId) -> Result<Result<(), String>, Unmendable> {
    let reader = index.reader()?;
    let Some(row) = reader.segment(id)?.filter(|row| row.state.is_kept()) else {
        return Ok(Ok(()));
    };
    let places = reader.storages()?.into_iter().filter(|(uuid, _)| *uuid == row.storage);
    let places = places.map(|(_, path)| PathBuf::from(path)).chain([what.root.clone()]);
    let root = places.into_iter().find(|place| {
        let found = Root(place.clone()).look(None);
        found.is_ok_and(|(_, uuid)| uuid == row.storage)
    });
    let Some(root) = root else {
        return Ok(Err(format!("{}: its storage is away", row.path)));
    };
    let looked = open_below(&root, &row.path).and_then(|file| {
        let Some(mut looking) = Looking::begin(file)? else {
            return Ok(None);
        };
        loop {
            if let Some(looked) = looking.step(usize::MAX)? {
                return Ok(Some(looked));
            }
        }
    });
    let looked = match looked {
        Ok(Some(looked)) => looked,
        Ok(None) => return Ok(Err(format!("{}: it has no head of ours", row.path))),
        Err(error) => return Ok(Err(format!("{}: {error}", row.path))),
    };
    let is_whole = !looked.is_damaged && looked.whole.fragments > 0;
    let row = index::Segment {
        head_bytes: u32::try_from(looked.head_bytes).unwrap_or(u32::MAX),
        ..row
    };
    let (row, table) = completed(row, &looked.table.unwrap_or_default(), &looked.whole, None);
    let row = index::Segment {
        state: if is_whole { State::Whole } else { State::Damaged },
        // All of it can be downloaded.
        bytes: row.bytes.saturating_add(looked.behind_bytes),
        ..row
    };
    tell(index, Change::Segment(row, table))?;
    Ok(Ok(()))
}

/// Tells the index something, and waits where it has as much to write as it takes.
fn tell(index: &Index, change: Change) -> Result<(), index::Error> {
    if index.write(change.clone()).is_err() {
        index.flush()?;
        // It has room for one now.
        index.write(change).map_err(|_| index::Error::Closed)?;
    }
    Ok(())
}

/// Things that could not be done and are told.
const MAX_FAILED: usize = 100;
/// Rows and days that one repair mends: eight to sixteen bytes each.
pub(super) const MAX_MENDED: usize = 1 << 20;
/// How often the index is written, and files are made durable.
const EVERY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);
