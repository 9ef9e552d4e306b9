//! Whatever is told in whatever order: the answers are those of a list that is looked through.

use proptest::prelude::*;

use super::*;

/// What is done.
#[derive(Clone, Debug)]
enum Step {
    /// A segment behind the newest of its camera, after so much of nothing. Negative: the clock was set back.
    Record {
        camera: usize,
        storage: u8,
        gap_90k: i64,
        duration_90k: i64,
        how: How,
    },
    /// One of those that are there, or are not, is told anew, whole or damaged.
    Again {
        which: usize,
        is_damaged: bool,
    },
    Discard {
        which: usize,
    },
    Gone {
        which: usize,
    },
    Protect {
        camera: usize,
        which: usize,
        more_90k: i64,
    },
    Release {
        which: usize,
    },
    Move {
        which: usize,
        by_90k: i64,
    },
    /// So long, from so long behind the beginning of a segment on.
    Happen {
        which: usize,
        at_90k: i64,
        duration_90k: i64,
    },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Whole,
    Open,
    /// Found and told at the end.
    Late,
}

fn step() -> impl Strategy<Value = Step> {
    let gap = prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(30 * MINUTE_90K), 1 => Just(-45 * MINUTE_90K), 1 => Just(DAY_90K)];
    let duration =
        prop_oneof![4 => Just(MINUTE_90K), 1 => Just(1), 1 => Just(6 * 60 * MINUTE_90K), 1 => Just(MAX_SEGMENT_90K)];
    let how = prop_oneof![6 => Just(How::Whole), 1 => Just(How::Open), 1 => Just(How::Late)];
    let storage = prop_oneof![5 => Just(0_u8), 1 => Just(1_u8)];
    let record = (0..2_usize, storage, gap, duration, how);
    prop_oneof![
        12 => record.prop_map(|(camera, storage, gap_90k, duration_90k, how)| Step::Record { camera, storage, gap_90k, duration_90k, how }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, is_damaged)| Step::Again { which, is_damaged }),
        3 => any::<usize>().prop_map(|which| Step::Discard { which }),
        1 => any::<usize>().prop_map(|which| Step::Gone { which }),
        1 => (0..2_usize, any::<usize>(), 0..2 * DAY_90K).prop_map(|(camera, which, more_90k)| Step::Protect { camera, which, more_90k }),
        1 => any::<usize>().prop_map(|which| Step::Release { which }),
        2 => (any::<usize>(), -MINUTE_90K..5 * MINUTE_90K, 0..3 * MINUTE_90K).prop_map(|(which, at_90k, duration_90k)| Step::Happen { which, at_90k, duration_90k }),
        1 => (any::<usize>(), prop_oneof![Just(MINUTE_90K), Just(-DAY_90K), Just(3 * DAY_90K + 1)]).prop_map(|(which, by_90k)| Step::Move { which, by_90k }),
    ]
}

/// The same, as a list.
#[derive(Debug, Default)]
struct Model {
    segments: BTreeMap<i64, Segment>,
    protected: Vec<(ProtectedId, Protected)>,
    events: Vec<Event>,
    /// The number of the newest event.
    told: i64,
    /// Segments in which something happened.
    eventful: BTreeSet<i64>,
    /// Where each camera is, and in which run.
    at: [(i64, u64); 2],
    late: Vec<Segment>,
    next: i64,
}

/// What is recorded without a gap on one day, into one storage.
#[derive(Clone, Debug)]
struct Piece {
    run: u64,
    storage: StorageId,
    start_90k: i64,
    end_90k: i64,
    segments: Vec<Segment>,
}

impl Piece {
    /// Its place in the order of recording.
    fn first(&self) -> SegmentId {
        self.segments.iter().map(|segment| segment.id).min().unwrap()
    }
}

impl Model {
    /// A segment as it is told.
    fn put(&mut self, segment: Segment) {
        self.eventful.remove(&segment.id.0);
        if self.events.iter().any(|event| happened_in(event, &segment)) {
            self.eventful.insert(segment.id.0);
        }
        self.segments.insert(segment.id.0, segment);
    }

    fn kept(&self) -> impl Iterator<Item = &Segment> {
        self.segments.values().filter(|segment| segment.state.is_kept())
    }

    fn pick(&self, which: usize) -> Option<Segment> {
        let count = self.segments.len();
        (count > 0).then(|| self.segments.values().nth(which % count).unwrap().clone())
    }

    fn is_protected(&self, segment: &Segment) -> bool {
        let touches = |protected: &Protected| {
            protected.camera == segment.camera
                && protected.range_90k.start < segment.end_90k()
                && segment.start_90k < protected.range_90k.end
        };
        self.protected.iter().any(|(_, protected)| touches(protected))
    }

    fn pieces(&self, camera: &StreamName) -> Vec<Piece> {
        let mut sorted: Vec<&Segment> = self.kept().filter(|segment| segment.camera == *camera).collect();
        sorted.sort_by_key(|segment| (segment.start_90k, segment.id));
        let mut pieces: Vec<Piece> = Vec::new();
        for segment in sorted {
            let continues = |piece: &&mut Piece| {
                piece.run == segment.run
                    && piece.storage == segment.storage
                    && day(piece.start_90k) == day(segment.start_90k)
                    && segment.start_90k <= piece.end_90k
            };
            if let Some(piece) = pieces.iter_mut().find(continues) {
                piece.end_90k = piece.end_90k.max(segment.end_90k());
                piece.segments.push(segment.clone());
                continue;
            }
            pieces.push(Piece {
                run: segment.run,
                storage: segment.storage,
                start_90k: segment.start_90k,
                end_90k: segment.end_90k(),
                segments: vec![segment.clone()],
            });
        }
        pieces
    }

    fn at(&self, camera: &StreamName, at_90k: i64) -> Option<Segment> {
        let covers = |piece: &Piece| piece.start_90k <= at_90k && at_90k < piece.end_90k;
        let pieces = self.pieces(camera).into_iter().filter(covers);
        let piece = pieces.max_by_key(Piece::first)?;
        let covers = |segment: &Segment| segment.start_90k <= at_90k && at_90k < segment.end_90k();
        piece.segments.into_iter().rfind(covers)
    }

    fn oldest(&self, storages: &[StorageId], camera: Option<usize>, limit: usize, without_events: bool) -> Vec<i64> {
        let mut walks = Vec::new();
        for number in (0..2).filter(|number| camera.is_none_or(|camera| camera == *number)) {
            for storage in storages {
                let mut pieces = self.pieces(&name(number));
                pieces.retain(|piece| piece.storage == *storage);
                pieces.sort_by_key(Piece::first);
                let segments = pieces.into_iter().flat_map(|piece| piece.segments);
                walks.push(
                    segments
                        .filter(|segment| !self.is_protected(segment))
                        .filter(|segment| !(without_events && self.eventful.contains(&segment.id.0)))
                        .map(|segment| segment.id.0)
                        .collect::<Vec<i64>>(),
                );
            }
        }
        let mut found = Vec::new();
        while let Some(first) = walks
            .iter_mut()
            .filter(|walk| !walk.is_empty())
            .min_by_key(|walk| walk[0])
        {
            found.push(first.remove(0));
        }
        found.truncate(limit);
        found
    }

    /// Start, end, how much of it is recorded, whether something else lies over it.
    fn runs(&self, camera: &StreamName, range: &Range<i64>, resolution_90k: i64) -> Vec<(i64, i64, i64, bool)> {
        let mut pieces = self.pieces(camera);
        pieces.retain(|piece| piece.start_90k < range.end && piece.end_90k > range.start);
        let mut groups: Vec<Vec<(i64, i64)>> = Vec::new();
        let mut owners: Vec<u64> = Vec::new();
        for piece in &pieces {
            let (start, end) = (piece.start_90k.max(range.start), piece.end_90k.min(range.end));
            let ends = |group: &Vec<(i64, i64)>| group.iter().map(|(_, end)| *end).max().unwrap();
            let known = (0..groups.len()).find(|at| match resolution_90k {
                0 => owners[*at] == piece.run && ends(&groups[*at]) == start,
                resolution => start - ends(&groups[*at]) < resolution,
            });
            match known {
                Some(at) => groups[at].push((start, end)),
                None => {
                    groups.push(vec![(start, end)]);
                    owners.push(piece.run);
                }
            }
        }
        let intersect = |a: &(i64, i64), b: &(i64, i64)| a.0 < b.1 && b.0 < a.1;
        let mut told: Vec<(i64, i64, i64, bool)> = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            let (start, end) = (group[0].0, group.iter().map(|(_, end)| *end).max().unwrap());
            let mut covered = 0;
            let mut until = start;
            for (from, to) in group {
                covered += (to - until.max(*from)).max(0);
                until = until.max(*to);
            }
            let with_others = groups.iter().enumerate().any(|(other, others)| {
                other != at && others.iter().any(|piece| group.iter().any(|own| intersect(own, piece)))
            });
            let within = group
                .iter()
                .enumerate()
                .any(|(at, piece)| group[at + 1..].iter().any(|other| intersect(piece, other)));
            told.push((start, end, covered, with_others || within));
        }
        told.sort_unstable();
        told
    }
}

fn happened_in(event: &Event, segment: &Segment) -> bool {
    event.camera == segment.camera && event.start_90k < segment.end_90k() && event.end_90k >= segment.start_90k
}

fn do_step(model: &mut Model, store: &mut Store, step: &Step) {
    let mut tell = |change: Change| {
        let done = store.commit(&[change]).unwrap();
        assert_eq!(done.refused, 0, "{:?}", done.why);
    };
    match *step {
        Step::Record {
            camera,
            storage: into,
            gap_90k,
            duration_90k,
            how,
        } => {
            let (at_90k, run) = &mut model.at[camera];
            if gap_90k != 0 {
                *run += 2;
            }
            let start_90k = *at_90k + gap_90k;
            *at_90k = start_90k + duration_90k;
            model.next += 1;
            let new = Segment {
                camera: name(camera),
                storage: storage(into),
                run: *run,
                start_90k,
                duration_90k,
                state: if matches!(how, How::Open) {
                    State::Open
                } else {
                    State::Whole
                },
                ..segment(model.next)
            };
            if matches!(how, How::Late) {
                model.late.push(new);
            } else {
                tell(Change::Segment(new.clone(), vec![1]));
                model.put(new);
            }
        }
        Step::Again { which, is_damaged } => {
            if let Some(mut again) = model.pick(which).filter(|segment| segment.state != State::Garbage) {
                again.state = if is_damaged { State::Damaged } else { State::Whole };
                again.bytes += 1;
                tell(Change::Segment(again.clone(), Vec::new()));
                model.put(again);
            }
        }
        Step::Discard { which } => {
            let Some(picked) = model.pick(which) else { return };
            let garbage = store.discard(&[picked.id, picked.id]).unwrap();
            let may = picked.state.is_kept() && !model.is_protected(&picked);
            assert_eq!(garbage.len(), usize::from(may));
            if may {
                model.segments.get_mut(&picked.id.0).unwrap().state = State::Garbage;
            }
        }
        Step::Gone { which } => {
            if let Some(picked) = model.pick(which) {
                tell(Change::Gone(picked.id));
                model.segments.remove(&picked.id.0);
            }
        }
        Step::Protect {
            camera,
            which,
            more_90k,
        } => {
            let Some(picked) = model.pick(which) else { return };
            let protected = Protected {
                camera: name(camera),
                range_90k: picked.start_90k..picked.end_90k() + more_90k,
                why: String::new(),
            };
            let id = store.protect(&protected).unwrap().unwrap();
            model.protected.push((id, protected));
        }
        Step::Release { which } => {
            if !model.protected.is_empty() {
                let (id, _) = model.protected[which % model.protected.len()];
                // At all times that it came to.
                model.protected.retain(|(other, _)| *other != id);
                assert!(store.release(id).unwrap());
            }
        }
        Step::Happen {
            which,
            at_90k,
            duration_90k,
        } => {
            let Some(picked) = model.pick(which) else { return };
            let start_90k = picked.start_90k + at_90k;
            // Copies of others have numbers as well.
            model.told += 1_000;
            let event = Event {
                camera: picked.camera,
                start_90k,
                end_90k: start_90k + duration_90k,
                ..event(model.told)
            };
            tell(Change::Event(event.clone()));
            let marked = model.kept().filter(|segment| happened_in(&event, segment));
            let marked: Vec<i64> = marked.map(|segment| segment.id.0).collect();
            model.eventful.extend(marked);
            model.events.push(event);
        }
        Step::Move { which, by_90k } => {
            let Some(Segment { camera, run, .. }) = model.pick(which) else {
                return;
            };
            move_run(model, &camera, run, by_90k, &mut tell);
        }
    }
}

fn move_run(model: &mut Model, camera: &StreamName, run: u64, by_90k: i64, tell: &mut impl FnMut(Change)) {
    tell(Change::Moved {
        camera: camera.clone(),
        run,
        by_90k,
    });
    let of_run = |segment: &&mut Segment| segment.camera == *camera && segment.run == run;
    let all = model.segments.values();
    let all = all.filter(|segment| segment.state != State::Garbage && segment.camera == *camera && segment.run == run);
    let all: Vec<Range<i64>> = all.map(|segment| segment.start_90k..segment.end_90k()).collect();
    let from_90k = all.iter().map(|range| range.start).min();
    let to_90k = all.iter().map(|range| range.end).max();
    let is_in = |at_90k: i64| from_90k.is_some_and(|from| at_90k >= from) && to_90k.is_some_and(|to| at_90k < to);
    // What is garbage in front or behind is of no use to anybody.
    for segment in model
        .segments
        .values_mut()
        .filter(of_run)
        .filter(|segment| is_in(segment.start_90k))
    {
        segment.start_90k += by_90k;
    }
    let late = model.late.iter_mut().filter(of_run);
    late.for_each(|late| late.start_90k += by_90k);
    let at = model.at.iter_mut().filter(|(_, current)| *current == run);
    at.for_each(|(at_90k, _)| *at_90k += by_90k);
    let (Some(from_90k), Some(to_90k)) = (from_90k, to_90k) else {
        return;
    };
    let mut copies = Vec::new();
    for event in model.events.iter_mut().filter(|event| event.camera == *camera) {
        if event.start_90k >= from_90k && event.start_90k < to_90k && event.end_90k <= to_90k {
            event.start_90k += by_90k;
            event.end_90k += by_90k;
        } else if event.start_90k < to_90k && event.end_90k >= from_90k {
            copies.push(Event {
                start_90k: event.start_90k.max(from_90k) + by_90k,
                end_90k: event.end_90k.min(to_90k) + by_90k,
                ..event.clone()
            });
        }
    }
    model.events.extend(copies);
    let mut copies = Vec::new();
    for (id, protected) in model
        .protected
        .iter_mut()
        .filter(|(_, protected)| protected.camera == *camera)
    {
        let range = &mut protected.range_90k;
        if range.start >= from_90k && range.end <= to_90k {
            *range = range.start + by_90k..range.end + by_90k;
        } else if range.start < to_90k && range.end > from_90k {
            let range_90k = range.start.max(from_90k) + by_90k..range.end.min(to_90k) + by_90k;
            copies.push((
                *id,
                Protected {
                    range_90k,
                    ..protected.clone()
                },
            ));
        }
    }
    model.protected.extend(copies);
    let marked = model
        .kept()
        .filter(|segment| model.events.iter().any(|event| happened_in(event, segment)));
    let marked: Vec<i64> = marked.map(|segment| segment.id.0).collect();
    model.eventful.extend(marked);
}

fn compare(model: &Model, reader: &Reader) {
    for number in 0..2 {
        let camera = name(number);
        let mut instants = vec![0, MAX_TIME_90K];
        for segment in model.kept() {
            instants.extend([
                segment.start_90k - 1,
                segment.start_90k,
                segment.start_90k + 7,
                segment.end_90k() - 1,
                segment.end_90k(),
            ]);
        }
        for at_90k in &instants {
            let found = reader.at(&camera, *at_90k).unwrap().map(|(segment, _)| segment);
            assert_eq!(found, model.at(&camera, *at_90k), "{camera} at {at_90k}");
        }
        let (first, last) = (instants.iter().min().unwrap(), instants.iter().max().unwrap());
        let some = instants[instants.len() / 2];
        for range in [
            *first..*last,
            some..*last,
            *first..some,
            some - 40 * MINUTE_90K..some + 40 * MINUTE_90K,
        ] {
            for resolution_90k in [0, 2, 31 * MINUTE_90K, 3 * DAY_90K] {
                let runs = reader.runs(&camera, range.clone(), resolution_90k).unwrap();
                let mut told: Vec<_> = runs
                    .runs
                    .iter()
                    .map(|run| (run.start_90k, run.end_90k, run.recorded_90k, run.overlaps))
                    .collect();
                told.sort_unstable();
                assert_eq!(
                    told,
                    model.runs(&camera, &range, resolution_90k),
                    "{camera} {range:?} by {resolution_90k}"
                );
            }
            let mut expected: Vec<&Segment> = model.kept().filter(|segment| segment.camera == camera).collect();
            expected.retain(|segment| segment.start_90k < range.end && segment.end_90k() > range.start);
            expected.sort_by_key(|segment| (segment.start_90k, segment.id));
            let (mut found, mut behind) = (Vec::new(), None);
            loop {
                let page = reader.segments(&camera, range.clone(), behind, 3).unwrap();
                found.extend(page.items);
                behind = page.next;
                if behind.is_none() {
                    break;
                }
            }
            assert!(found.iter().eq(expected), "{camera} {range:?}: {found:?}");
        }
        let bytes: u64 = reader
            .runs(&camera, 0..MAX_TIME_90K, 0)
            .unwrap()
            .runs
            .iter()
            .map(|run| run.bytes)
            .sum();
        let kept = model.kept().filter(|segment| segment.camera == camera);
        assert_eq!(bytes, kept.map(|segment| segment.bytes).sum::<u64>());
    }
    for usage in reader.usage().unwrap() {
        let own = || {
            model
                .kept()
                .filter(|segment| segment.camera == usage.camera && segment.storage == usage.storage)
        };
        assert_eq!(
            (usage.segments, usage.bytes),
            (own().count() as u64, own().map(|segment| segment.bytes).sum())
        );
    }
    let (first, second) = (storage(0), storage(1));
    for (storages, camera, limit) in [
        (&[first][..], None, 4),
        (&[second, first][..], None, 100),
        (&[first][..], Some(1), 3),
        (&[second][..], Some(0), 100),
    ] {
        let found = oldest(reader, storages, camera.map(name).as_ref(), limit);
        let expected = model.oldest(storages, camera, limit, false);
        assert_eq!(found, expected, "{storages:?} {camera:?} {limit}");
        let plain = walked(reader, storages, camera.map(name).as_ref(), true);
        let plain: Vec<i64> = plain.iter().map(|segment| segment.id).collect();
        let expected = model.oldest(storages, camera, usize::MAX, true);
        assert_eq!(plain, expected, "{storages:?} {camera:?} without events");
    }
    let open: Vec<Segment> = reader.open_segments(None).unwrap().items;
    assert!(
        open.iter()
            .eq(model.segments.values().filter(|segment| segment.state == State::Open))
    );
    let garbage: Vec<Segment> = reader.garbage(None).unwrap().items;
    assert!(
        garbage.iter().eq(model
            .segments
            .values()
            .filter(|segment| segment.state == State::Garbage))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn answers_are_those_of_a_list(steps in proptest::collection::vec(step(), 1..60)) {
        let (_folder, path) = folder();
        let mut store = store(&path);
        store.commit(&storages()).unwrap();
        let mut model = Model {
            at: [(BEGIN_90K, 1), (BEGIN_90K, 2)],
            ..Model::default()
        };
        let index = open(&path);
        let reader = index.reader().unwrap();
        for (number, step) in steps.iter().enumerate() {
            do_step(&mut model, &mut store, step);
            if number % 20 == 19 {
                compare(&model, &reader);
            }
        }
        for late in std::mem::take(&mut model.late).into_iter().rev() {
            let done = store.commit(&[Change::Segment(late.clone(), Vec::new())]).unwrap();
            assert_eq!(done.refused, 0);
            model.put(late);
        }
        compare(&model, &reader);
    }
}
