use super::*;

/// Segments 7 and 8 with three parts each, and two parts of 9.
fn list() -> Media {
    let segment = |sequence| Segment {
        sequence,
        ..Segment::default()
    };
    let part = |sequence, index| playlist::Part {
        index,
        independent: index == 0,
        piece: segment(sequence),
    };
    Media {
        segments: vec![segment(7), segment(8)],
        parts: [(7, 0), (7, 1), (7, 2), (8, 0), (8, 1), (8, 2), (9, 0), (9, 1)]
            .map(|(sequence, index)| part(sequence, index))
            .to_vec(),
        ..Media::default()
    }
}

const fn at(sequence: u64, part: Option<u64>) -> Place {
    Place { sequence, part }
}

#[test]
fn what_follows_is_the_next_part_or_the_next_segment() {
    let list = list();
    assert_eq!(behind(&list, at(9, Some(1))), at(9, Some(2)));
    assert_eq!(behind(&list, at(8, Some(2))), at(9, Some(0)));
    assert_eq!(behind(&list, at(8, None)), at(9, None));
}

#[test]
fn it_goes_on_where_it_was_or_begins_anew() {
    let list = list();
    let (parts, segments) = (pieces(&list, true), pieces(&list, false));
    assert_eq!((parts.len(), segments.len()), (8, 2));
    for (pieces, next, goes_on) in [
        (&parts, None, false),
        (&parts, Some(at(7, Some(0))), true),
        (&parts, Some(at(9, Some(2))), true),
        (&parts, Some(at(10, Some(0))), true),
        (&parts, Some(at(6, Some(2))), false),
        (&parts, Some(at(11, Some(0))), false),
        (&segments, Some(at(9, None)), true),
        (&segments, Some(at(10, None)), false),
        (&segments, Some(at(6, None)), false),
    ] {
        assert_eq!(begin(pieces, next), next.filter(|_| goes_on), "{next:?}");
    }
    assert_eq!(begin(&[], Some(at(1, None))), None);
    let newest = parts.iter().rev().find(|piece| piece.starts);
    assert_eq!(newest.map(|piece| piece.place), Some(at(9, Some(0))));
}
