use bytes::Bytes;
use media::WallTime;
use media::recording::Told;

use super::*;

const SECOND_90K: i64 = 90_000;

fn door() -> StreamName {
    "house/door".parse().unwrap()
}

fn row(id: i64, start_s: i64, state: State) -> Segment {
    Segment {
        id: SegmentId(id),
        camera: door(),
        storage: [1; 16],
        path: format!("house+door/2026-11-22/{id}.mp4"),
        run: 1,
        start_90k: start_s * SECOND_90K,
        duration_90k: 0,
        bytes: 500,
        head_bytes: 500,
        crc: 0,
        drift_90k: 0,
        state,
        ended: None,
        age_end_90k: 0,
        is_age_sure: true,
    }
}

fn piece() -> Piece {
    Piece {
        bytes: Bytes::from_static(&[0; 100]),
        duration_90k: 90_000,
        keyframe: true,
        told: Told {
            end_90k: 0,
            wall: WallTime::from_unix_micros(0),
        },
    }
}

fn begin(growing: &Growing, id: i64, start_s: i64) {
    growing.tell(
        &Change::Segment(row(id, start_s, State::Open), Vec::new()),
        Instant::now(),
    );
}

fn ids(found: &[(Segment, Fragments)]) -> Vec<i64> {
    found.iter().map(|(segment, _)| segment.id.0).collect()
}

#[test]
fn a_file_is_found_as_far_as_it_is_written() {
    let growing = Growing::default();
    let all = 0..i64::MAX;
    begin(&growing, 1, 100);
    assert_eq!(growing.of(&door(), &all), [], "nothing of it can be shown");
    growing.fragment(SegmentId(1), &piece(), 700);
    growing.fragment(SegmentId(1), &piece(), 900);
    // Of no file.
    growing.fragment(SegmentId(2), &piece(), 900);
    let found = growing.of(&door(), &all);
    assert_eq!(ids(&found), [1]);
    let (segment, fragments) = &found[0];
    assert_eq!((segment.state, segment.bytes), (State::Open, 900));
    assert_eq!((segment.duration_90k, fragments.len()), (2 * SECOND_90K, 2));
    let within = |from_s: i64, until_s: i64| growing.of(&door(), &(from_s * SECOND_90K..until_s * SECOND_90K)).len();
    assert_eq!(
        [within(0, 100), within(0, 101), within(101, 200), within(102, 200)],
        [0, 1, 1, 0]
    );
    assert_eq!(growing.of(&"other".parse().unwrap(), &all), []);
    assert_eq!(growing.all().len(), 1);
}

#[test]
fn it_stays_until_its_row_is_written_and_no_longer() {
    let growing = Growing::default();
    let all = 0..i64::MAX;
    for (id, start_s) in [(1, 100), (2, 160), (3, 220)] {
        begin(&growing, id, start_s);
        growing.fragment(SegmentId(id), &piece(), 700);
    }
    let mut table = Fragments::new();
    table.push(100, 90_000, true).unwrap();
    let told = Instant::now();
    let whole = Segment {
        duration_90k: SECOND_90K + 7,
        ..row(1, 100, State::Whole)
    };
    let change = Change::Segment(whole.clone(), table.as_bytes().to_vec());
    growing.tell(&change, told);
    assert_eq!(growing.of(&door(), &all)[0], (whole, table), "as the index has it");
    // Told once more: why nothing followed.
    growing.tell(&change, told + UNTIL_WRITTEN / 2);
    growing.tell(&Change::Gone(SegmentId(2)), told);
    growing.look(told + UNTIL_WRITTEN - Duration::from_millis(1));
    assert_eq!(ids(&growing.of(&door(), &all)), [1, 3]);
    growing.look(told + UNTIL_WRITTEN);
    assert_eq!(ids(&growing.of(&door(), &all)), [3], "what is being written stays");
}

#[test]
fn what_is_found_on_a_disk_is_the_indexs_alone() {
    let growing = Growing::default();
    for id in 0..10_000 {
        growing.tell(&Change::Segment(row(id, id, State::Whole), Vec::new()), Instant::now());
        growing.tell(
            &Change::Segment(row(id, id, State::Garbage), Vec::new()),
            Instant::now(),
        );
    }
    assert_eq!(growing.all(), []);
}
