//! What a snapshot is called: `NAME/2026-11-23/snapshot_20261123T030500Z.jpg`.
//!
//! In UTC: an hour of every autumn would have its names twice otherwise, and the order of names is that of time everywhere. Only what is called exactly so is ever
//! deleted, see [`super::lifecycle`].

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use media::StreamName;

const DAY: &str = "%Y-%m-%d";
const FILE: &str = "snapshot_%Y%m%dT%H%M%SZ.jpg";
/// The last second that has a year of four digits anywhere on Earth.
const LAST_S: i64 = 253_402_207_200;

/// The folder of an upload: one for each name, however many slashes that has.
pub(super) fn folder(name: &StreamName) -> String {
    name.as_str().replace('/', "+")
}

/// The folder of a day and the file in it. `second`: of Unix time; what is before 1970 is taken as its first.
pub(super) fn of(second: i64) -> (String, String) {
    let at = Timestamp::from_second(second.clamp(0, LAST_S)).unwrap_or(Timestamp::UNIX_EPOCH);
    let at = TimeZone::UTC.to_datetime(at);
    let format = |format: &str| strtime::format(format, at).unwrap_or_default();
    (format(DAY), format(FILE))
}

/// The name below the folder of the upload.
pub(super) fn path(second: i64) -> String {
    let (day, file) = of(second);
    format!("{day}/{file}")
}

/// The second of a file's name; `None`: it is none of ours.
pub(super) fn read_file(file: &str) -> Option<i64> {
    let at = DateTime::strptime(FILE, file).ok()?;
    let second = TimeZone::UTC.to_timestamp(at).ok()?.as_second();
    (of(second).1 == file).then_some(second)
}

/// The second of a name below the folder of the upload, likewise.
pub(super) fn read_path(path: &str) -> Option<i64> {
    let (_, file) = path.split_once('/')?;
    let second = read_file(file)?;
    (self::path(second) == path).then_some(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_the_second() {
        assert_eq!(path(1_795_403_100), "2026-11-23/snapshot_20261123T030500Z.jpg");
        assert_eq!(
            read_path("2026-11-23/snapshot_20261123T030500Z.jpg"),
            Some(1_795_403_100)
        );
        assert_eq!(path(-5), path(0));
        assert!(path(i64::MAX).starts_with("9999-12-30/"));
        assert_eq!(folder(&"house/door".parse().unwrap()), "house+door");
    }

    #[test]
    fn what_is_not_called_exactly_so_is_none_of_ours() {
        for path in [
            "",
            "snapshot_20261123T030500Z.jpg",
            "2026-11-24/snapshot_20261123T030500Z.jpg",
            "2026-11-23/snapshot_20261123T030500Z.jpeg",
            "2026-11-23/Snapshot_20261123T030500Z.jpg",
            "2026-11-23/snapshot_20261123T030560Z.jpg",
            "2026-11-23/snapshot_20261323T030500Z.jpg",
            "2026-11-23/snapshot_2026112T0305000Z.jpg",
            "2026-11-23/x/snapshot_20261123T030500Z.jpg",
            "/2026-11-23/snapshot_20261123T030500Z.jpg",
            "2026-11-23/snapshot_20261123T030500Z.jpg ",
            "2026-11-23/snapshot_+2026112T030500Z.jpg",
        ] {
            assert_eq!(read_path(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn each_second_has_its_own_name(second in 0..=LAST_S, other in 0..=LAST_S) {
            prop_assert_eq!(read_path(&path(second)), Some(second));
            prop_assert_eq!(path(second).cmp(&path(other)), second.cmp(&other));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            if let Some(second) = read_path(&text) {
                prop_assert_eq!(path(second), text);
            }
        }
    }
}
