//! When a recording begins: by its own head, by its name, by the file system.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use media::WallTime;
use media::recording::{Found, Head, MAX_HEAD_BYTES, is_complete};

use crate::clock::zone;
use crate::frames::form::ClockWord;

/// When the first picture was captured, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) at: WallTime,
    pub(super) clock: ClockWord,
}

/// Of one file.
pub(super) fn of(path: &Path) -> io::Result<Start> {
    if let Some((head, _)) = head(path)? {
        return Ok(Start {
            at: head.start,
            clock: ClockWord::Recording,
        });
    }
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if let Some(at) = by_name(stem, &zone()) {
        return Ok(Start {
            at,
            clock: ClockWord::Name,
        });
    }
    // It is made when it begins. A copy that kept when it was changed is younger than that.
    let metadata = fs::metadata(path)?;
    let changed = metadata.modified()?;
    let made = metadata.created().map_or(changed, |made| made.min(changed));
    Ok(Start {
        at: wall(made),
        clock: ClockWord::File,
    })
}

/// The head of a recording of ours, and whether it says that the file was finished. `None`: it is somebody else's.
pub(super) fn head(path: &Path) -> io::Result<Option<(Head, bool)>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    // Heads have some six kilobytes.
    for limit in [16 << 10, MAX_HEAD_BYTES] {
        let more = limit - bytes.len();
        file.by_ref().take(more as u64).read_to_end(&mut bytes)?;
        match Head::read(&bytes) {
            Found::Whole(head, media_at) => {
                let is_complete = bytes.get(..media_at).is_some_and(is_complete);
                return Ok(Some((head, is_complete)));
            }
            Found::Other => return Ok(None),
            Found::Short => {}
        }
    }
    Ok(None)
}

fn wall(at: SystemTime) -> WallTime {
    let micros = match at.duration_since(UNIX_EPOCH) {
        Ok(since) => media::time::micros(since),
        Err(before) => media::time::micros(before.duration()).saturating_neg(),
    };
    WallTime::from_unix_micros(micros)
}

/// A date and a time of day in local time: `segment_20261123_040506`, `2026-11-23_04-05-06-123456`, `cam1-20261123T040506`.
fn by_name(name: &str, zone: &TimeZone) -> Option<WallTime> {
    let bytes = name.as_bytes();
    let begins = (0..bytes.len()).filter(|&at| at == 0 || !bytes[at - 1].is_ascii_digit());
    begins.filter_map(|at| date_at(bytes.get(at..)?)).find_map(|date| {
        let at = zone.to_ambiguous_timestamp(date).compatible().ok()?;
        Some(WallTime::from_unix_micros(at.as_microsecond()))
    })
}

/// The fields of a date, one behind the other or with one character between them.
fn date_at(mut rest: &[u8]) -> Option<DateTime> {
    let mut fields = [0_i16; 6];
    for (n, field) in fields.iter_mut().enumerate() {
        if let (1.., Some((byte, behind))) = (n, rest.split_first())
            && b"-_T.: ".contains(byte)
        {
            rest = behind;
        }
        let (digits, behind) = rest.split_at_checked(if n == 0 { 4 } else { 2 })?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        *field = digits
            .iter()
            .fold(0, |value, digit| value * 10 + i16::from(digit - b'0'));
        rest = behind;
    }
    let [year, month, day, hour, minute, second] = fields;
    let small = |field: i16| i8::try_from(field).ok();
    DateTime::new(
        year,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        0,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("segment_20261123_040506", Some("2026-11-23T04:05:06.000Z"))]
    #[case("segment_20261123_040506_2", Some("2026-11-23T04:05:06.000Z"))]
    #[case("2026-11-23_04-05-06-123456", Some("2026-11-23T04:05:06.000Z"))]
    #[case("cam1-20261123T040506", Some("2026-11-23T04:05:06.000Z"))]
    #[case("20261123040506", Some("2026-11-23T04:05:06.000Z"))]
    #[case("20261323_040506", None)]
    #[case("out001", None)]
    #[case("1795406706", None)]
    #[case("", None)]
    fn names_tell_when_they_begin(#[case] name: &str, #[case] expected: Option<&str>) {
        let told = by_name(name, &TimeZone::UTC).map(WallTime::to_rfc3339);
        assert_eq!(told.as_deref(), expected);
    }

    #[test]
    fn a_file_that_tells_nothing_begins_when_it_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.mp4");
        fs::write(&path, b"x").unwrap();
        let year_2001 = UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(year_2001)
            .unwrap();
        let start = of(&path).unwrap();
        assert_eq!((start.at, start.clock), (wall(year_2001), ClockWord::File));
    }

    proptest! {
        #[test]
        fn any_name_is_taken(name: String, digits in "[0-9_T-]{0,20}") {
            let _ = (by_name(&name, &TimeZone::UTC), by_name(&digits, &TimeZone::UTC));
        }
    }
}
