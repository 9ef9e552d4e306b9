//! A tar archive (POSIX.1-1988 ustar, as every `tar` reads it) of plain files, written and listed.
//!
//! Belongs here: its blocks. Does not belong here: which files, and whether their names are to be believed. No crate: what those do besides (links, owners, devices, sparse files)
//! is what must not come out of a backup.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek as _, SeekFrom, Write as _};

use media::WallTime;

const BLOCK: usize = 512;
/// The longest that eleven octal digits say; beyond it a number stands there in binary, as GNU tar has it.
const MAX_OCTAL: u64 = 0o777_7777_7777;

/// Writes one.
pub(super) struct Writer {
    out: BufWriter<File>,
    seconds: u64,
    bytes: u64,
}

impl Writer {
    pub(super) fn new(out: File, now: WallTime) -> Self {
        Self {
            out: BufWriter::new(out),
            seconds: u64::try_from(now.unix_micros() / 1_000_000).unwrap_or(0),
            bytes: 0,
        }
    }

    /// Adds a file of this length.
    pub(super) fn entry(&mut self, name: &str, bytes: u64, from: &mut dyn Read) -> io::Result<()> {
        let header = header(name, bytes, self.seconds)?;
        self.out.write_all(&header)?;
        let copied = io::copy(&mut from.take(bytes), &mut self.out)?;
        if copied != bytes {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        let rest = padding(bytes);
        self.out.write_all([0; BLOCK].get(..rest).unwrap_or_default())?;
        self.bytes += BLOCK as u64 + bytes + rest as u64;
        Ok(())
    }

    /// Makes it durable, and says how long it is.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        Ok(self.bytes + 2 * BLOCK as u64)
    }
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Where its content begins.
    pub(super) at: u64,
}

/// Why one cannot be read.
#[derive(Debug)]
pub(super) enum Bad {
    System(io::Error),
    Content(String),
}

/// The files of an archive that has its end; contents are passed over.
pub(super) fn list(file: &mut File, most: usize) -> Result<Vec<Entry>, Bad> {
    let length = file.metadata().map_err(Bad::System)?.len();
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        file.seek(SeekFrom::Start(at)).map_err(Bad::System)?;
        let mut block = [0; BLOCK];
        match file.read_exact(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Bad::Content("it ends in the middle".to_owned()));
            }
            read => read.map_err(Bad::System)?,
        }
        if block == [0; BLOCK] {
            return Ok(entries);
        }
        let (name, bytes) = read_header(&block).map_err(|why| Bad::Content(why.to_owned()))?;
        at += BLOCK as u64;
        let end = at.checked_add(bytes).filter(|end| *end <= length);
        let Some(end) = end else {
            return Err(Bad::Content(format!("it ends in the middle of {name:?}")));
        };
        if entries.len() >= most {
            return Err(Bad::Content(format!("it holds more than {most} files")));
        }
        entries.push(Entry { name, bytes, at });
        at = end + padding(bytes) as u64;
    }
}

fn padding(bytes: u64) -> usize {
    let rest = (bytes % BLOCK as u64) as usize;
    (BLOCK - rest) % BLOCK
}

fn header(name: &str, bytes: u64, seconds: u64) -> io::Result<[u8; BLOCK]> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidFilename, format!("{name:?} is too long"));
    // `prefix`, a slash, `name`: at a slash, the latest that will do.
    let (prefix, base) = match name.len() {
        ..=NAME_BYTES => ("", name),
        _ => {
            let splits = name.match_indices('/').map(|(at, _)| name.split_at(at));
            let splits = splits.map(|(prefix, base)| (prefix, base.trim_start_matches('/')));
            let mut fitting = splits.filter(|(prefix, base)| prefix.len() <= PREFIX_BYTES && base.len() <= NAME_BYTES);
            fitting.next().ok_or_else(too_long)?
        }
    };
    let mut block = [0; BLOCK];
    put(&mut block, 0, base.as_bytes());
    put(&mut block, 100, b"0000600\0");
    put(&mut block, 108, b"0000000\0");
    put(&mut block, 116, b"0000000\0");
    match bytes {
        ..=MAX_OCTAL => put(&mut block, 124, format!("{bytes:011o}\0").as_bytes()),
        _ => {
            put(&mut block, 124, &[0x80, 0, 0, 0]);
            put(&mut block, 128, &bytes.to_be_bytes());
        }
    }
    put(&mut block, 136, format!("{:011o}\0", seconds.min(MAX_OCTAL)).as_bytes());
    put(&mut block, 156, b"0");
    put(&mut block, 257, b"ustar\x0000");
    put(&mut block, 345, prefix.as_bytes());
    let sum = sum(&block);
    put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    let to = block.iter_mut().skip(at);
    to.zip(bytes).for_each(|(to, byte)| *to = *byte);
}

/// Of all bytes, those of the sum itself taken for spaces.
fn sum(block: &[u8; BLOCK]) -> u32 {
    let byte = |(at, byte): (usize, &u8)| {
        if (148..156).contains(&at) {
            u32::from(b' ')
        } else {
            u32::from(*byte)
        }
    };
    block.iter().enumerate().map(byte).sum()
}

fn read_header(block: &[u8; BLOCK]) -> Result<(String, u64), &'static str> {
    let field = |at: usize, bytes: usize| block.get(at..at + bytes).unwrap_or_default();
    if !field(257, 6).starts_with(b"ustar") || octal(field(148, 8)) != Some(u64::from(sum(block))) {
        return Err("it is no archive, or damaged");
    }
    if !matches!(block.get(156), Some(b'0' | 0)) {
        return Err("it holds something that is no file");
    }
    let bytes = match field(124, 12) {
        [0x80, 0, 0, 0, binary @ ..] => binary.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)),
        digits => octal(digits),
    };
    let bytes = bytes
        .filter(|bytes| *bytes <= i64::MAX as u64)
        .ok_or("a length in it cannot be read")?;
    let text = |bytes: &[u8]| {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8(text.to_vec()).map_err(|_| "a name in it is no text")
    };
    let (prefix, name) = (text(field(345, PREFIX_BYTES))?, text(field(0, NAME_BYTES))?);
    match prefix.is_empty() {
        true => Ok((name, bytes)),
        false => Ok((format!("{prefix}/{name}"), bytes)),
    }
}

fn octal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_and_long_files_are_said() {
        let long = format!("state/{}/{}", "a".repeat(90), "b".repeat(90));
        for (name, bytes) in [
            ("state/x", 0),
            (long.as_str(), MAX_OCTAL),
            ("y", MAX_OCTAL + 1),
            ("z", 1 << 60),
        ] {
            let block = header(name, bytes, 1_795_374_900).unwrap();
            assert_eq!(read_header(&block), Ok((name.to_owned(), bytes)));
        }
        assert!(header(&"a".repeat(300), 0, 0).is_err());
    }

    #[test]
    fn a_bit_that_turned_in_a_header_is_seen() {
        let sound = header("state/x", 5, 0).unwrap();
        for at in 0..BLOCK {
            let mut block = sound;
            block[at] ^= 1;
            assert_ne!(read_header(&block), Ok(("state/x".to_owned(), 5)), "{at}");
        }
    }
}
