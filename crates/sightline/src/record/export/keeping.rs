//! What is to be exported is kept from retention until its export is over.
//!
//! Belongs here: when a range is protected for an export, and when no longer. Does not belong here: what a protection does ([`crate::record::index`]).
//!
//! By protections that say for which export they are: so they outlast a kill with it, and a start ends those of exports that are over. They are a tick narrower than what was asked for, so
//! that none is taken for that of a person who protects the same.
//!
//! No more than half of what a camera has is kept so. What is protected is never deleted, and where a month was wanted of a disk that holds a month, recording would stop until it is
//! made: then what is deleted meanwhile is missing in the export, which says so.

use std::ops::Range;

use media::StreamName;

use super::Export;
use crate::record::index::{Protected, ProtectedId, Reader};
use crate::record::recorder::{AskError, Recorder};

/// What is kept for exports of a camera: at most one of so many parts of what it has.
const SHARE: u64 = 2;
const WHY: &str = "it is being exported: ";

/// Keeps what one is made of, where that is not too much. Waits for the index.
pub(super) fn keep(recorder: &Recorder, export: &Export) {
    if let Err(error) = try_keep(recorder, export) {
        tracing::warn!(id = export.id(), reason = %error, "what is to be exported is not kept until then");
    }
}

/// It is over. Waits for the index.
pub(super) fn release(recorder: &Recorder, export: &Export) {
    let released = of(recorder, Some(&export.camera)).and_then(|kept| {
        let kept = kept.into_iter().filter(|(_, protected)| protected.why == why(export));
        kept.map(|(id, _)| recorder.release(id))
            .collect::<Result<Vec<bool>, _>>()
    });
    if let Err(error) = released {
        // The next start does it.
        tracing::warn!(id = export.id(), reason = %error, "what was kept to be exported cannot be released");
    }
}

/// At a start: what a kill left is released, and what waits is kept. Waits for the index.
pub(super) fn settle<'a>(recorder: &Recorder, exports: impl Iterator<Item = &'a Export>) {
    let open: Vec<&Export> = exports.filter(|export| export.state.is_open()).collect();
    let kept = match of(recorder, None) {
        Ok(kept) => kept,
        Err(error) => return tracing::warn!(reason = %error, "what is kept to be exported cannot be looked at"),
    };
    for (id, protected) in &kept {
        if !open.iter().any(|export| why(export) == protected.why)
            && let Err(error) = recorder.release(*id)
        {
            tracing::warn!(why = protected.why, reason = %error, "what was kept to be exported cannot be released");
        }
    }
    for export in open {
        if !kept.iter().any(|(_, protected)| protected.why == why(export)) {
            keep(recorder, export);
        }
    }
}

fn try_keep(recorder: &Recorder, export: &Export) -> Result<(), AskError> {
    let reader = recorder.reader()?;
    let usage = reader.usage()?;
    let has_bytes: u64 = usage
        .iter()
        .filter(|usage| usage.camera == export.camera)
        .map(|usage| usage.bytes)
        .sum();
    let wanted_bytes = bytes(&reader, &export.camera, &export.asked_90k)?;
    let mut kept_bytes = wanted_bytes;
    for (_, protected) in of(recorder, Some(&export.camera))? {
        kept_bytes = kept_bytes.saturating_add(bytes(&reader, &export.camera, &protected.range_90k)?);
    }
    if wanted_bytes == 0 || kept_bytes > has_bytes / SHARE {
        tracing::debug!(
            id = export.id(),
            kept_bytes,
            has_bytes,
            "what is to be exported is too much to be kept until then"
        );
        return Ok(());
    }
    let (start_90k, end_90k) = (export.asked_90k.start, export.asked_90k.end);
    recorder.protect(Protected {
        camera: export.camera.clone(),
        range_90k: start_90k..end_90k.saturating_sub(1).max(start_90k.saturating_add(1)),
        why: why(export),
    })?;
    Ok(())
}

/// How much is recorded in a range; all there can be, where that is too much to be counted.
fn bytes(reader: &Reader, camera: &StreamName, range_90k: &Range<i64>) -> Result<u64, AskError> {
    // Gaps do not matter, and make no difference to what is counted.
    let runs = reader.runs(camera, range_90k.clone(), range_90k.end.saturating_sub(range_90k.start))?;
    Ok(match runs.next_90k {
        Some(_) => u64::MAX,
        None => runs.runs.iter().map(|run| run.bytes).sum(),
    })
}

/// The protections for exports, of one camera or of all.
fn of(recorder: &Recorder, camera: Option<&StreamName>) -> Result<Vec<(ProtectedId, Protected)>, AskError> {
    let reader = recorder.reader()?;
    let (mut all, mut behind) = (Vec::new(), None);
    loop {
        let page = reader.protected(camera, behind)?;
        all.extend(
            page.items
                .into_iter()
                .filter(|(_, protected)| protected.why.starts_with(WHY)),
        );
        behind = page.next;
        if behind.is_none() {
            return Ok(all);
        }
    }
}

fn why(export: &Export) -> String {
    format!("{WHY}{}", export.id())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use media::WallTime;

    use super::*;
    use crate::record::export::{Kind, State, Wish};
    use crate::record::index::Segment;
    use crate::record::library::made::{Made, NOON_90K, pictures};

    const SECOND_90K: i64 = 90_000;

    /// Half a minute in files of three seconds.
    fn made() -> (Made, Vec<Segment>) {
        let made = Made::new();
        let (track, frames) = pictures(30, 25, "160x120");
        let segments = made.record("door", NOON_90K, &[track], frames, Duration::from_secs(3));
        (made, segments)
    }

    fn export(number: u64, range_s: Range<i64>) -> Export {
        let at = |seconds: i64| NOON_90K + seconds * SECOND_90K;
        let wish = Wish {
            camera: "door".parse().unwrap(),
            range_90k: at(range_s.start)..at(range_s.end),
            name: None,
            kind: Kind::Clip,
            is_exact: false,
            by: String::new(),
        };
        Export::new(number, format!("{number}.mp4"), wish, WallTime::from_unix_micros(0))
    }

    fn kept(made: &Made) -> Vec<String> {
        let kept = of(&made.recorder, None).unwrap().into_iter();
        kept.map(|(_, protected)| protected.why).collect()
    }

    #[test]
    fn what_is_to_be_exported_is_not_deleted_until_it_is() {
        let (made, segments) = made();
        let (one, two) = (export(1, 3..9), export(2, 7..12));
        keep(&made.recorder, &one);
        let ids = |range: Range<usize>| segments[range].iter().map(|segment| segment.id).collect::<Vec<_>>();
        assert_eq!(made.recorder.discard(ids(0..3)).unwrap(), 1, "the one in front alone");
        keep(&made.recorder, &two);
        release(&made.recorder, &one);
        assert_eq!(made.recorder.discard(ids(1..4)).unwrap(), 1);
        release(&made.recorder, &two);
        assert_eq!(kept(&made), [""; 0]);
        assert_eq!(made.recorder.discard(ids(2..4)).unwrap(), 2);
    }

    /// Recording needs something that it may delete.
    #[test]
    fn no_more_than_half_of_what_there_is_is_kept() {
        let (made, _) = made();
        keep(&made.recorder, &export(1, 0..30));
        keep(&made.recorder, &export(2, 0..18));
        assert_eq!(kept(&made), [""; 0]);
        keep(&made.recorder, &export(3, 0..9));
        keep(&made.recorder, &export(4, 15..27));
        assert_eq!(kept(&made), ["it is being exported: door@3"], "all of them count");
        keep(&made.recorder, &export(5, 100..200));
        assert_eq!(kept(&made).len(), 1, "nothing is recorded there");
    }

    #[test]
    fn what_a_kill_left_is_settled() {
        let (made, _) = made();
        let (done, waits, new) = (
            Export {
                state: State::Done,
                ..export(1, 0..3)
            },
            export(2, 3..6),
            export(3, 6..9),
        );
        keep(&made.recorder, &done);
        keep(&made.recorder, &waits);
        // Nobody knows of that one any more; and this is a person's.
        keep(&made.recorder, &export(4, 9..12));
        let mine = Protected {
            camera: "door".parse().unwrap(),
            range_90k: waits.asked_90k.clone(),
            why: "mine".to_owned(),
        };
        made.recorder.protect(mine).unwrap();
        settle(&made.recorder, [&done, &waits, &new].into_iter());
        settle(&made.recorder, [&done, &waits, &new].into_iter());
        let mut kept = kept(&made);
        kept.sort();
        assert_eq!(kept, ["it is being exported: door@2", "it is being exported: door@3"]);
        settle(&made.recorder, [].into_iter());
        let reader = made.recorder.reader().unwrap();
        let left = reader.protected(None, None).unwrap().items;
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].1.why, "mine");
    }
}
