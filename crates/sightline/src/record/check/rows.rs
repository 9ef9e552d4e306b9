//! Each row held against its file.

use std::fs::File;
use std::io;

use super::super::index::{self, Row, Segment, State};
use super::super::segment::{Looked, Looking};
use super::super::storage::open_below;
use super::{Check, Finding, Kind, digits};

/// What a row says that its file does not.
type Difference = Option<(Kind, String)>;

impl Check<'_> {
    pub(super) fn rows(&mut self) -> Result<(), index::Error> {
        let total = self.reader.count()?;
        let mut behind = i64::MIN;
        loop {
            let page = self.reader.rows(behind)?;
            for row in page.items {
                self.summary.rows += 1;
                match row {
                    Row::Sound(row) => self.row(&row)?,
                    Row::Broken { id, why } => self.found(&Finding::new(Kind::RowBroken, Some(id), "", why)),
                }
                let done = self.summary.rows;
                self.progress("comparing rows with files", done, Some(total.max(done)));
            }
            match page.next {
                Some(next) => behind = next,
                None => return self.tell_away(),
            }
        }
    }

    /// What lies on disks that are away.
    fn tell_away(&mut self) -> Result<(), index::Error> {
        let away = self
            .summary
            .storages
            .iter()
            .filter(|storage| storage.away.is_some() && storage.rows > 0);
        let texts: Vec<String> = away
            .map(|storage| {
                format!(
                    "{} rows of files on {}, which is away: {}",
                    storage.rows,
                    storage.path,
                    storage.away.as_deref().unwrap_or_default()
                )
            })
            .collect();
        self.summary.not_compared.extend(texts);
        Ok(())
    }

    fn row(&mut self, row: &Segment) -> Result<(), index::Error> {
        let number = digits(&row.storage);
        if let Some(storage) = self
            .summary
            .storages
            .iter_mut()
            .find(|storage| storage.number == number)
        {
            storage.rows += 1;
        }
        let Some(root) = self
            .here
            .iter()
            .find(|here| here.uuid == row.storage)
            .map(|here| here.path.clone())
        else {
            return Ok(());
        };
        let difference = match row.state {
            State::Garbage => Some((Kind::ToRemove, "it is no longer shown, and its file goes".to_owned())),
            State::Open if self.is_beside_server() => {
                self.summary.being_written += 1;
                return Ok(());
            }
            State::Open => Some((
                Kind::Unfinished,
                "the program ended while it was written; the next start cuts it to what is whole".to_owned(),
            )),
            State::Whole | State::Damaged => match open_below(&root, &row.path) {
                Ok(file) => {
                    self.summary.files += 1;
                    self.kept(row, file)?
                }
                Err(error) => Some(unopened(&error)),
            },
        };
        let Some((kind, why)) = difference else { return Ok(()) };
        // A server may have changed it since the page was read, and be gone again.
        let now = self.reader.segment(row.id)?;
        if now.as_ref() != Some(row) {
            return Ok(());
        }
        self.found(&Finding::new(kind, Some(row.id), row.path.as_str(), why));
        Ok(())
    }

    fn kept(&mut self, row: &Segment, file: File) -> Result<Difference, index::Error> {
        let read =
            || -> io::Result<(u64, Option<Looking<File>>)> { Ok((file.metadata()?.len(), Looking::begin(file)?)) };
        let (bytes, looking) = match read() {
            Ok(read) => read,
            Err(error) => return Ok(Some((Kind::Unreadable, error.to_string()))),
        };
        let Some(mut looking) = looking else {
            return Ok(Some((Kind::OtherFile, "it has no head of ours".to_owned())));
        };
        if let Some(why) = other_head(row, &looking) {
            return Ok(Some((Kind::OtherFile, why)));
        }
        let is_copied = looking.head().storage != row.storage;
        if bytes != row.bytes {
            let why = format!("it has {bytes} bytes, and its row says {}", row.bytes);
            return Ok(Some((Kind::Length, why)));
        }
        if self.what.deep {
            let looked = loop {
                match looking.step(STEP_BYTES) {
                    Ok(None) => {}
                    Ok(Some(looked)) => break looked,
                    Err(error) => return Ok(Some((Kind::Unreadable, error.to_string()))),
                }
                self.progress("reading files", self.summary.rows, None);
            };
            self.summary.bytes_read += bytes;
            let table = self.reader.fragments(row.id)?;
            if let Some(difference) = deep(row, &looked, &table) {
                return Ok(Some(difference));
            }
        }
        if row.state == State::Damaged {
            let why = "what is whole of it plays; all of it can be downloaded".to_owned();
            return Ok(Some((Kind::KnownDamage, why)));
        }
        let copied = || (Kind::OtherStorage, "its head names another storage".to_owned());
        Ok(is_copied.then(copied))
    }
}

fn unopened(error: &io::Error) -> (Kind, String) {
    match error.kind() {
        io::ErrorKind::NotFound => (Kind::FileMissing, "there is no such file".to_owned()),
        io::ErrorKind::InvalidInput => (Kind::PathBroken, error.to_string()),
        _ => (Kind::Unreadable, error.to_string()),
    }
}

/// What its head says of itself that its row does not.
fn other_head(row: &Segment, looking: &Looking<File>) -> Option<String> {
    let head = looking.head();
    if head.camera != row.camera {
        return Some(format!("its head says {}, and its row {}", head.camera, row.camera));
    }
    if head.run != row.run {
        return Some(format!("its head says run {}, and its row {}", head.run, row.run));
    }
    let bytes = looking.at();
    (bytes != u64::from(row.head_bytes))
        .then(|| format!("its head has {bytes} bytes, and its row says {}", row.head_bytes))
}

/// What the bytes of a file say that its row does not.
fn deep(row: &Segment, looked: &Looked, table: &[u8]) -> Difference {
    let whole = &looked.whole;
    if (looked.is_damaged || looked.behind_bytes > 0) && whole.crc != row.crc {
        let why = format!(
            "at byte {}, behind {} whole fragments ({}): {}",
            looked.whole_end(),
            whole.fragments,
            at(whole.told.map_or(0, |told| told.end_90k)),
            match looked.is_damaged {
                true => "what follows is not what was sealed",
                false => "it is cut off there",
            }
        );
        return Some((Kind::FileDamaged, why));
    }
    if whole.crc != row.crc {
        let why = format!("its checksum is {:08x}, and its row says {:08x}", whole.crc, row.crc);
        return Some((Kind::Checksum, why));
    }
    let own = looked.table.as_ref().map(|own| own.as_bytes()).unwrap_or_default();
    let is_listed = own.len() <= index::MAX_FRAGMENTS_BYTES;
    (is_listed && own != table).then(|| {
        let why = format!(
            "{} fragments are whole, and their table says otherwise",
            whole.fragments
        );
        (Kind::Table, why)
    })
}

/// A time within a file.
fn at(end_90k: i64) -> String {
    format!("{:.1} s from its beginning", end_90k as f64 / 90_000.0)
}

/// Read between two words about how far it has come.
const STEP_BYTES: usize = 4 << 20;
