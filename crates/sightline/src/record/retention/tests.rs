use std::cell::Cell;
use std::convert::Infallible;
use std::time::Instant;

use proptest::prelude::*;

use super::super::clock::{Carried, Now};
use super::*;

/// An index in memory.
#[derive(Clone, Debug, Default)]
struct Rows(Vec<Segment>);

impl Segments for Rows {
    type Error = Infallible;

    fn oldest(&self, scope: Scope<'_>, visit: &mut dyn FnMut(&Segment) -> ControlFlow<()>) -> Result<(), Infallible> {
        let mut rows: Vec<&Segment> = self.0.iter().filter(|row| is_in(scope, row)).collect();
        rows.sort_by_key(|row| row.id);
        let _ = rows.into_iter().try_for_each(visit);
        Ok(())
    }
}

fn is_in(scope: Scope<'_>, row: &Segment) -> bool {
    scope.camera.is_none_or(|camera| camera == row.camera)
        && scope.storages.contains(&row.storage)
        && !(scope.without_events && row.has_event)
}

/// Everything, there or away.
const ALL: Scope<'_> = Scope {
    camera: None,
    storages: &[1, 2, 3],
    without_events: false,
};

fn of_camera(camera: i64) -> Scope<'static> {
    Scope {
        camera: Some(camera),
        ..ALL
    }
}

impl Rows {
    fn bytes(&self, scope: Scope<'_>) -> u64 {
        let rows = self.0.iter().filter(|row| is_in(scope, row));
        rows.map(|row| row.bytes).sum()
    }

    fn plan(&self, usage: &Usage<'_>, now: WallTime) -> Plan {
        let Ok(plan) = plan(self, usage, now);
        plan
    }

    /// Carries it out.
    fn without(&self, plan: &Plan) -> Self {
        let goes = |row: &&Segment| !plan.delete.iter().any(|(gone, _)| gone.id == row.id);
        Self(self.0.iter().filter(goes).copied().collect())
    }
}

const HOUR: Duration = Duration::from_secs(3_600);
const NOW: WallTime = WallTime::from_unix_micros(1_795_374_900_000_000);

fn aged(hours: u64) -> WallTime {
    NOW.offset_micros(-media::time::micros(HOUR * hours as u32))
}

fn segment(id: i64, hours: u64) -> Segment {
    Segment {
        id,
        camera: 1,
        storage: 1,
        bytes: 10,
        ended: aged(hours),
        has_event: false,
        is_protected: false,
    }
}

fn camera(id: i64, bytes: u64) -> Camera {
    Camera {
        id,
        bytes,
        keep: None,
        keep_events: None,
        quota_bytes: None,
    }
}

const ROOM: Storage = Storage {
    id: 1,
    free_bytes: 1_000,
    floor_bytes: 1_000,
};

fn ids(plan: &Plan) -> Vec<(i64, Why)> {
    plan.delete.iter().map(|(row, why)| (row.id, *why)).collect()
}

#[test]
fn what_is_too_old_goes() {
    let event = |id, hours| Segment {
        has_event: true,
        ..segment(id, hours)
    };
    let rows = Rows(vec![
        event(1, 30),
        event(2, 9),
        segment(3, 9),
        segment(4, 6),
        segment(5, 5),
    ]);
    let with = |keep, keep_events| {
        let camera = Camera {
            keep,
            keep_events,
            ..camera(1, 50)
        };
        let usage = Usage {
            cameras: &[camera],
            storages: &[ROOM],
            quota_bytes: None,
        };
        let plan = rows.plan(&usage, NOW);
        plan.delete.iter().map(|(row, _)| row.id).collect::<Vec<i64>>()
    };
    assert_eq!(with(Some(HOUR * 5), Some(HOUR * 24)), [1, 3, 4]);
    assert_eq!(with(Some(HOUR * 5), None), [3, 4], "events for ever");
    assert_eq!(with(None, Some(HOUR)), [0; 0], "for ever is longer");
    assert_eq!(with(Some(HOUR * 5), Some(HOUR)), [1, 2, 3, 4], "five hours are longer");
}

#[test]
fn what_is_too_much_goes_in_order() {
    let other = |id| Segment {
        camera: 2,
        ..segment(id, 1)
    };
    let rows = Rows(vec![segment(1, 1), other(2), segment(3, 1), other(4), other(5)]);
    let cameras = [
        Camera {
            quota_bytes: Some(15),
            ..camera(1, 20)
        },
        camera(2, 30),
    ];
    let storage = Storage {
        free_bytes: 980,
        ..ROOM
    };
    let usage = Usage {
        cameras: &cameras,
        storages: &[storage],
        quota_bytes: Some(35),
    };
    let plan = rows.plan(&usage, NOW);
    assert_eq!(ids(&plan), [(1, Why::CameraQuota), (2, Why::Quota)]);
    let fuller = Storage {
        free_bytes: 979,
        ..ROOM
    };
    let usage = Usage {
        storages: &[fuller],
        ..usage
    };
    let plan = rows.plan(&usage, NOW);
    assert_eq!(ids(&plan), [(1, Why::CameraQuota), (2, Why::Quota), (3, Why::Room)]);
}

#[test]
fn what_is_protected_or_away_stays_and_what_is_over_is_told() {
    let protected = Segment {
        is_protected: true,
        ..segment(1, 99)
    };
    let away = Segment {
        storage: 2,
        ..segment(2, 99)
    };
    let rows = Rows(vec![protected, away]);
    let camera = Camera {
        keep: Some(HOUR),
        keep_events: Some(HOUR),
        quota_bytes: Some(3),
        ..camera(1, 20)
    };
    let storage = Storage {
        free_bytes: 100,
        ..ROOM
    };
    let usage = Usage {
        cameras: &[camera],
        storages: &[storage],
        quota_bytes: Some(1),
    };
    let expected = Plan {
        delete: Vec::new(),
        cameras_over_bytes: vec![(1, 17)],
        over_bytes: 19,
        storages_lack_bytes: vec![(1, 900)],
    };
    assert_eq!(rows.plan(&usage, NOW), expected);
}

#[test]
fn a_plan_is_no_longer_than_there_is_time_for() {
    let rows = Rows((0..1_200).map(|id| segment(id, 9)).collect());
    let camera = Camera {
        keep: Some(HOUR),
        keep_events: Some(HOUR),
        ..camera(1, 12_000)
    };
    let usage = Usage {
        cameras: &[camera],
        storages: &[ROOM],
        quota_bytes: Some(0),
    };
    let first = rows.plan(&usage, NOW);
    assert_eq!(first.delete.len(), MAX_DELETED);
    assert_eq!(first.delete.last().map(|(row, _)| row.id), Some(MAX_DELETED as i64 - 1));
    assert_eq!(first.over_bytes, 12_000 - 10 * MAX_DELETED as u64);
    let rest = rows.without(&first);
    let second = rest.plan(&usage, NOW);
    assert_eq!(second.delete.first().map(|(row, _)| row.id), Some(MAX_DELETED as i64));
    assert_eq!(rest.without(&second).plan(&usage, NOW).delete.len(), 200);
}

/// Of millions of rows a look reads those that go, and one more of each scope; and nothing for a limit that holds.
#[test]
fn no_more_rows_are_read_than_are_needed() {
    struct Counted(Rows, Cell<usize>);
    impl Segments for Counted {
        type Error = Infallible;

        fn oldest(
            &self,
            scope: Scope<'_>,
            visit: &mut dyn FnMut(&Segment) -> ControlFlow<()>,
        ) -> Result<(), Infallible> {
            self.0.oldest(scope, &mut |row| {
                self.1.set(self.1.get() + 1);
                visit(row)
            })
        }
    }
    let rows = Counted(Rows((0..2_000).map(|id| segment(id, 9)).collect()), Cell::new(0));
    let camera = Camera {
        keep: Some(HOUR * 10),
        keep_events: Some(HOUR * 10),
        quota_bytes: Some(20_000 - 30),
        ..camera(1, 20_000)
    };
    let usage = Usage {
        cameras: &[camera],
        storages: &[ROOM],
        quota_bytes: None,
    };
    let Ok(plan) = plan(&rows, &usage, NOW);
    assert_eq!(plan.delete.len(), 3);
    // One for the age of all and one for that of those without events, four for the camera.
    assert_eq!(rows.1.get(), 1 + 1 + 4);
}

#[test]
fn the_floor_of_small_and_large_disks() {
    const GIB: u64 = 1 << 30;
    assert_eq!(floor_bytes(64 << 20), 16 << 20);
    assert_eq!(floor_bytes(8 * GIB), GIB);
    assert_eq!(floor_bytes(100 * GIB), 5 * GIB);
    assert_eq!(floor_bytes(0), 0);
}

/// What happens to a machine that records.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// It runs for so many times five minutes, a segment in each.
    Runs { times: u32, is_synchronised: bool },
    /// Its clock is set wrong by so much.
    Set { wrong_by_us: i64 },
    /// It says that a wrong clock is synchronised, but not for ten minutes.
    Errs,
    /// The process is killed, and the time that it kept was that of so many seconds before. The machine may have been off.
    Starts { off_s: u32, kept_ago_s: u8 },
}

const YEAR_US: i64 = 365 * 86_400 * 1_000_000;
const STEP: Duration = Duration::from_secs(300);

fn event() -> impl Strategy<Value = Event> {
    let wrong_by_us = prop_oneof![
        Just(0),
        -5_000_000..5_000_000_i64,
        -2 * YEAR_US..2 * YEAR_US,
        // 1970.
        Just(-NOW.unix_micros()),
    ];
    let off_s = prop_oneof![Just(0), 0..10_000_u32, 0..20_000_000_u32];
    prop_oneof![
        4 => (1..30_u32, any::<bool>()).prop_map(|(times, is_synchronised)| Event::Runs { times, is_synchronised }),
        2 => wrong_by_us.prop_map(|wrong_by_us| Event::Set { wrong_by_us }),
        1 => Just(Event::Errs),
        1 => (off_s, 0..=10_u8).prop_map(|(off_s, kept_ago_s)| Event::Starts { off_s, kept_ago_s }),
    ]
}

/// A machine that records, its index, and what is true, which it does not know.
struct Recorder {
    monotonic: Instant,
    truth: WallTime,
    wrong_by_us: i64,
    carried: Carried,
    rows: Rows,
    /// Rows that are not sure of their time.
    unsure: BTreeSet<i64>,
    /// When what is recorded truly ended.
    ends: BTreeMap<i64, WallTime>,
}

impl Recorder {
    fn new(wrong_by_us: i64) -> Self {
        let monotonic = Instant::now();
        let now = Now {
            monotonic,
            wall: NOW.offset_micros(wrong_by_us),
        };
        Self {
            monotonic,
            truth: NOW,
            wrong_by_us,
            carried: Carried::new(None, now),
            rows: Rows::default(),
            unsure: BTreeSet::new(),
            ends: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.monotonic,
            wall: self.truth.offset_micros(self.wrong_by_us),
        }
    }

    fn look(&mut self, is_synchronised: bool) {
        let Some(moved) = self.carried.look(self.now(), is_synchronised) else {
            return;
        };
        let unsure = std::mem::take(&mut self.unsure);
        for row in self.rows.0.iter_mut().filter(|row| unsure.contains(&row.id)) {
            row.ended = row.ended.offset_micros(moved.by_us);
        }
    }

    fn happens(&mut self, event: Event, keep: Duration) {
        match event {
            Event::Set { wrong_by_us } => self.wrong_by_us = wrong_by_us,
            Event::Errs => {
                self.look(false);
                self.passes(STEP);
                self.look(true);
                self.passes(STEP);
                self.look(true);
                self.look(false);
            }
            Event::Starts { off_s, kept_ago_s } => {
                let kept = self.carried.at(self.monotonic);
                let kept = kept.offset_micros(-i64::from(kept_ago_s) * 1_000_000);
                self.truth = self.truth.offset_micros(i64::from(off_s) * 1_000_000);
                self.carried = Carried::new(Some(kept), self.now());
            }
            Event::Runs { times, is_synchronised } => {
                for _ in 0..times {
                    self.passes(STEP);
                    if is_synchronised {
                        self.wrong_by_us = 0;
                    }
                    self.look(is_synchronised);
                    self.record();
                    self.retain(keep);
                }
            }
        }
    }

    fn passes(&mut self, time: Duration) {
        self.monotonic += time;
        self.truth = self.truth.offset_micros(media::time::micros(time));
    }

    fn record(&mut self) {
        let id = self.ends.len() as i64;
        self.ends.insert(id, self.truth);
        if !self.carried.is_sure() {
            self.unsure.insert(id);
        }
        self.rows.0.push(Segment {
            ended: self.carried.at(self.monotonic),
            ..segment(id, 0)
        });
    }

    /// Deletes what is too old, and holds that it is.
    fn retain(&mut self, keep: Duration) {
        let camera = Camera {
            keep: Some(keep),
            keep_events: Some(keep),
            ..camera(1, self.rows.bytes(ALL))
        };
        let usage = Usage {
            cameras: &[camera],
            storages: &[ROOM],
            quota_bytes: None,
        };
        let plan = self.rows.plan(&usage, self.carried.at(self.monotonic));
        for (row, _) in &plan.delete {
            let age_us = self.truth.micros_since(self.ends[&row.id]);
            assert!(age_us > media::time::micros(keep), "{row:?} is {age_us} µs old");
        }
        self.rows = self.rows.without(&plan);
    }
}

fn row() -> impl Strategy<Value = Segment> {
    (1..=3_i64, 1..=3_i64, 1..100_u64, 0..100_u64, any::<bool>(), 0..4).prop_map(
        |(camera, storage, bytes, hours, has_event, protected)| Segment {
            camera,
            storage,
            bytes,
            has_event,
            is_protected: protected == 0,
            ..segment(0, hours)
        },
    )
}

/// Rows in the order of recording, so that what is recorded later ended later.
fn rows() -> impl Strategy<Value = Rows> {
    prop::collection::vec(row(), 0..60).prop_map(|mut rows| {
        rows.sort_by_key(|row| row.ended);
        for (id, row) in rows.iter_mut().enumerate() {
            row.id = 7 + 3 * id as i64;
        }
        // The index may hand over what it likes; the trait sorts.
        rows.reverse();
        Rows(rows)
    })
}

#[derive(Clone, Debug)]
struct Limits {
    keep: [Option<u64>; 3],
    keep_events: [Option<u64>; 3],
    quotas: [Option<u64>; 3],
    quota: Option<u64>,
    free: [u64; 2],
}

fn limits() -> impl Strategy<Value = Limits> {
    let hours = || prop::array::uniform3(prop::option::of(0..120_u64));
    let quotas = prop::array::uniform3(prop::option::of(0..1_000_u64));
    let free = prop::array::uniform2(0..3_000_u64);
    (hours(), hours(), quotas, prop::option::of(0..3_000_u64), free).prop_map(
        |(keep, keep_events, quotas, quota, free)| Limits {
            keep,
            keep_events,
            quotas,
            quota,
            free,
        },
    )
}

impl Limits {
    fn cameras(&self, rows: &Rows) -> Vec<Camera> {
        let hours = |hours: Option<u64>| hours.map(|hours| HOUR * hours as u32);
        let camera = |at: usize| Camera {
            keep: hours(self.keep[at]),
            keep_events: hours(self.keep_events[at]),
            quota_bytes: self.quotas[at],
            ..camera(at as i64 + 1, rows.bytes(of_camera(at as i64 + 1)))
        };
        (0..3).map(camera).collect()
    }

    /// The third is away. What was deleted of the others is free.
    fn storages(&self, before: &Rows, rows: &Rows) -> Vec<Storage> {
        let storage = |at: usize| {
            let scope = Scope {
                storages: &[at as i64 + 1],
                ..ALL
            };
            Storage {
                id: at as i64 + 1,
                free_bytes: self.free[at] + before.bytes(scope) - rows.bytes(scope),
                floor_bytes: 2_000,
            }
        };
        (0..2).map(storage).collect()
    }

    fn is_too_old(&self, row: &Segment) -> bool {
        let at = row.camera as usize - 1;
        let keep = match (self.keep[at], self.keep_events[at]) {
            (Some(keep), Some(events)) if row.has_event => keep.max(events),
            (Some(keep), _) if !row.has_event => keep,
            _ => return false,
        };
        row.ended < aged(keep)
    }

    /// Whether it would have to go for this, and is the first that would.
    fn asks_for(&self, why: Why, row: &Segment, before: &Rows, rows: &Rows) -> bool {
        let at = row.camera as usize - 1;
        let may_go = |other: &Segment| !other.is_protected && other.storage != 3;
        let is_first = |scope: Scope<'_>| {
            let others = rows.0.iter().filter(|other| is_in(scope, other) && may_go(other));
            others.map(|other| other.id).min() == Some(row.id)
        };
        may_go(row)
            && match why {
                Why::Age => self.is_too_old(row),
                Why::CameraQuota => {
                    let scope = of_camera(row.camera);
                    self.quotas[at].is_some_and(|quota| rows.bytes(scope) > quota) && is_first(scope)
                }
                Why::Quota => self.quota.is_some_and(|quota| rows.bytes(ALL) > quota) && is_first(ALL),
                Why::Room => {
                    let storage = self.storages(before, rows)[row.storage as usize - 1];
                    let scope = Scope {
                        storages: &[row.storage],
                        ..ALL
                    };
                    storage.free_bytes < storage.floor_bytes && is_first(scope)
                }
            }
    }
}

proptest! {
    #[test]
    fn what_goes_for_its_age_is_old_whatever_the_clock_does(
        wrong_by_us in prop_oneof![Just(0), Just(-NOW.unix_micros()), -YEAR_US..YEAR_US],
        events in prop::collection::vec(event(), 1..20),
        keep_hours in 1..5_u32,
    ) {
        let keep = HOUR * keep_hours;
        let mut recorder = Recorder::new(wrong_by_us);
        for event in events {
            recorder.happens(event, keep);
        }
        // And once the clock is right for longer than that, nothing older is left.
        let until_now = recorder.ends.len() as i64;
        let times = keep_hours * 12 + 4;
        recorder.happens(Event::Runs { times, is_synchronised: true }, keep);
        let is_left = recorder.rows.0.iter().any(|row| row.id < until_now);
        prop_assert!(!is_left);
    }

    /// Each that goes had to at its turn: so nothing goes without need, out of order, protected, or from a disk that is away.
    #[test]
    fn a_plan_deletes_what_it_must_and_no_more(rows in rows(), limits in limits()) {
        let usage = |before: &Rows, rows: &Rows| (limits.cameras(rows), limits.storages(before, rows));
        let (cameras, storages) = usage(&rows, &rows);
        let plan = rows.plan(&Usage { cameras: &cameras, storages: &storages, quota_bytes: limits.quota }, NOW);
        let mut left = rows.clone();
        for (row, why) in &plan.delete {
            prop_assert!(left.0.contains(row), "{row:?} twice");
            prop_assert!(limits.asks_for(*why, row, &rows, &left), "{why:?} {row:?}");
            left.0.retain(|other| other.id != row.id);
        }
        for row in &left.0 {
            for why in [Why::Age, Why::CameraQuota, Why::Quota, Why::Room] {
                prop_assert!(!limits.asks_for(why, row, &rows, &left), "{why:?} {row:?} is left");
            }
        }
        // Carried out, there is nothing more to do, and what is over is what was said.
        let (cameras, storages) = usage(&rows, &left);
        let after = left.plan(&Usage { cameras: &cameras, storages: &storages, quota_bytes: limits.quota }, NOW);
        prop_assert_eq!(after, Plan { delete: Vec::new(), ..plan });
    }
}
