//! What a server has recorded: its files, read, and the rows of its index.
//!
//! Belongs here: holding one against the other. Does not belong here: what ought to be there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use media::recording::{Found, Head, Scanner};
use rusqlite::{Connection, OpenFlags};
use sightline::record::clock::unix_90k;

use super::server::Server;
use super::support::PATIENCE;

/// A file of a recording, read.
pub(crate) struct Recording {
    pub(crate) head: Head,
    pub(crate) head_bytes: u64,
    pub(crate) bytes: u64,
    pub(crate) crc: u32,
    pub(crate) duration_90k: u64,
    pub(crate) table: Vec<u8>,
    /// What its pictures are, one behind the other.
    pub(crate) pictures: Vec<u8>,
}

impl Recording {
    /// Every file that has a name begins with a head, and is whole to its last byte.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let content = std::fs::read(path).map_err(|error| error.to_string())?;
        let Found::Whole(head, head_bytes) = Head::read(&content) else {
            return Err("it has no head".to_owned());
        };
        let mut scanner = Scanner::new();
        scanner.push(&content[head_bytes..]);
        let (whole, table) = (*scanner.whole(), scanner.table().ok_or("it has no table")?);
        let behind = content.len() as u64 - head_bytes as u64 - whole.bytes;
        if behind > 0 || whole.fragments == 0 {
            return Err(format!("{} fragments, and {behind} bytes behind them", whole.fragments));
        }
        Ok(Self {
            head_bytes: head_bytes as u64,
            bytes: content.len() as u64,
            crc: whole.crc,
            duration_90k: table.duration_90k(),
            table: table.as_bytes().to_vec(),
            pictures: media_of(&content[head_bytes..]),
            head,
        })
    }
}

/// The content of each `mdat`.
fn media_of(mut boxes: &[u8]) -> Vec<u8> {
    let mut media = Vec::new();
    while let Some(length) = boxes.first_chunk() {
        let (this, behind) = boxes.split_at(u32::from_be_bytes(*length) as usize);
        if &this[4..8] == b"mdat" {
            media.extend_from_slice(&this[8..]);
        }
        boxes = behind;
    }
    media
}

/// A row of the index.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) camera: String,
    pub(crate) run: u64,
    pub(crate) bytes: u64,
    pub(crate) head_bytes: u64,
    pub(crate) crc: u32,
    pub(crate) duration_90k: u64,
    pub(crate) start_90k: i64,
    pub(crate) state: i64,
    pub(crate) table: Vec<u8>,
}

/// The rows by the paths of their files.
pub(crate) fn rows(state: &Path, root: &Path) -> rusqlite::Result<BTreeMap<PathBuf, Row>> {
    let index = Connection::open_with_flags(state.join("recordings.sqlite"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    index.busy_timeout(PATIENCE)?;
    let mut all = index.prepare(
        "SELECT path, name, bytes, head_bytes, crc, duration_90k, start_90k, state, data, run
         FROM segment JOIN camera ON camera.id = segment.camera LEFT JOIN fragments ON fragments.segment = segment.id",
    )?;
    let found = all.query_map([], |row| {
        let of_row = Row {
            camera: row.get(1)?,
            bytes: row.get::<_, i64>(2)? as u64,
            head_bytes: row.get::<_, i64>(3)? as u64,
            crc: row.get::<_, i64>(4)? as u32,
            duration_90k: row.get::<_, i64>(5)? as u64,
            start_90k: row.get(6)?,
            state: row.get(7)?,
            run: row.get::<_, i64>(9)? as u64,
            table: row.get::<_, Option<Vec<u8>>>(8)?.unwrap_or_default(),
        };
        Ok((root.join(row.get::<_, String>(0)?), of_row))
    })?;
    let mut rows = BTreeMap::new();
    for row in found {
        let (path, row) = row?;
        assert!(!rows.contains_key(&path), "two rows of {}", path.display());
        rows.insert(path, row);
    }
    Ok(rows)
}

/// All that lies in the folders of cameras, whatever it is called.
pub(crate) fn everything(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders: Vec<_> = listed(root).filter(|path| path.is_dir()).collect();
    while let Some(folder) = folders.pop() {
        for path in listed(&folder) {
            if path.is_dir() { &mut folders } else { &mut all }.push(path);
        }
    }
    all.sort();
    all
}

fn listed(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path())
}

/// Waits until each file has its row, each row its file, and neither is under way: what a start makes of what a kill left. `tell_index`: whether the server is done with starting.
pub(crate) fn settled(state: &Path, root: &Path, tell_index: impl Fn() -> bool) -> BTreeMap<PathBuf, Row> {
    let begun = Instant::now();
    loop {
        let has_started = tell_index();
        let rows = rows(state, root);
        let there = everything(root);
        if has_started
            && let Ok(rows) = &rows
            && rows.values().all(|row| row.state == WHOLE)
            && rows.keys().eq(&there)
        {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "orphans:\nfiles {there:#?}\nrows {rows:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    rows(state, root).unwrap()
}

/// What waits to be written to the index, ten seconds at the most, is written before somebody is answered that a range is protected. Not where the server is still starting.
pub(crate) fn tell_index(server: &Server) -> bool {
    let path = "/recordings/protected/house%2Fnobody@1000000-2000000";
    let (status, answer) = server.ask("PUT", path, "");
    if answer["code"] == "recording-starting" {
        return false;
    }
    assert!((200..300).contains(&status), "{answer}");
    let (status, answer) = server.ask("DELETE", path, "");
    assert!((200..300).contains(&status), "{answer}");
    true
}

/// What was found of files that were looked at once: they do not change any more.
pub(crate) type Known = BTreeMap<PathBuf, Recording>;

/// Holds rows against files, and puts the new ones among those that are known. Theirs alone are handed back.
pub(crate) fn look(known: &mut Known, rows: &BTreeMap<PathBuf, Row>) -> Vec<PathBuf> {
    assert!(known.keys().all(|path| rows.contains_key(path)), "a file is gone");
    let mut new = Vec::new();
    for (path, row) in rows {
        if !known.contains_key(path) {
            let read = Recording::read(path).unwrap_or_else(|why| panic!("{}: {why}\n{row:?}", path.display()));
            known.insert(path.clone(), read);
            new.push(path.clone());
        }
        let file = &known[path];
        let by_file = (file.bytes, file.head_bytes, file.crc, &file.table);
        let by_row = (row.bytes, row.head_bytes, row.crc, &row.table);
        assert_eq!(by_row, by_file, "{}", path.display());
        // A file that was finished lasts until the next began, by the clock on the wall: 500 ppm more or less.
        let apart_90k = row.duration_90k.abs_diff(file.duration_90k);
        assert!(apart_90k <= file.duration_90k / 2_000, "{}: {row:?}", path.display());
        assert_eq!(row.camera, file.head.camera.as_str());
        // A file tells it in microseconds.
        assert!(row.start_90k.abs_diff(unix_90k(file.head.start)) <= 1, "{row:?}");
    }
    new
}

/// `record::index::State::Whole`.
const WHOLE: i64 = 1;
