//! The history against a plain list of what was.

mod kills;

use std::collections::BTreeMap;

use media::WallTime;
use tempfile::TempDir;

use super::*;
use crate::feed::sample::UNKNOWN;

const LIMITS: Limits = Limits {
    series: 64,
    minutes: Duration::from_secs(31 * 86_400),
    hours: Duration::from_secs(3_650 * 86_400),
    max_bytes: 256 << 20,
};
/// 2026-11-23, at the beginning of an hour.
const NOON: i64 = 1_795_431_600;

fn keeper(folder: &TempDir, limits: Limits) -> Keeper {
    Keeper::new(Store::open(&folder.path().join("history.db")).unwrap(), limits)
}

fn sample(second: i64, values: &[(&str, f64)]) -> Sample {
    let figures = |value: f64| {
        let mut figures = UNKNOWN;
        figures[0] = value;
        figures
    };
    Sample {
        at: WallTime::from_unix_micros(second * 1_000_000 + 123_456),
        system: figures((second % 100) as f64),
        cameras: (values.iter())
            .map(|(name, value)| (name.parse().unwrap(), figures(*value)))
            .collect(),
    }
}

fn ask(keeper: &Keeper, camera: Option<&str>, range: std::ops::Range<i64>, step: i64) -> Answer {
    let query = Query {
        camera: camera.map(str::to_owned),
        metrics: vec![0],
        from: range.start,
        to: range.end,
        step,
    };
    keeper.answer(&query).unwrap()
}

/// What a step is to be by a plain list.
fn expected(list: &BTreeMap<i64, f64>, at: i64, step: i64, unit: i64) -> Option<[f64; 3]> {
    let mut of_units = (at..at + step).step_by(unit as usize).filter_map(|at| {
        let known: Vec<f64> = list.range(at..at + unit).map(|(_, value)| *value).collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        let least = known.iter().copied().reduce(f64::min)?;
        Some([least, mean, known.iter().copied().reduce(f64::max)?])
    });
    let first = of_units.next()?;
    let (sum, count) = of_units.fold((first, 1.0), |(sum, count), unit| {
        (
            [sum[0].min(unit[0]), sum[1] + unit[1], sum[2].max(unit[2])],
            count + 1.0,
        )
    });
    Some([sum[0], sum[1] / count, sum[2]])
}

fn assert_same(answer: &Answer, list: &BTreeMap<i64, f64>, unit: i64) {
    for (at, three) in answer.values[0].iter().enumerate() {
        let at = answer.from + at as i64 * answer.step;
        match (three, expected(list, at, answer.step, unit)) {
            (None, None) => {}
            (Some(three), Some(expected)) => {
                for (known, expected) in three.0.iter().zip(expected) {
                    assert!(
                        (known - expected).abs() <= expected.abs() / 500.0 + 0.001,
                        "{at}: {three:?} {expected}"
                    );
                }
            }
            (three, expected) => panic!("{at}: {three:?} is not {expected:?}"),
        }
    }
}

/// Three hours with holes, over two ends of the program, at each level.
#[test]
fn what_was_is_told_at_each_level() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = keeper(&folder, LIMITS);
    let mut list = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(7);
    for second in NOON..NOON + 3 * HOUR + 600 {
        let is_hole = second % 1_000 < 70;
        // Killed: the last minute is lost, and nothing else.
        if second == NOON + HOUR + 10 * MINUTE || second == NOON + 2 * HOUR {
            history = keeper(&folder, LIMITS);
            list.retain(|at, _| *at < second - MINUTE);
        }
        let value = random.f64() * 100.0;
        if is_hole {
            history.second(&sample(second, &[]));
        } else {
            history.second(&sample(second, &[("door", value)]));
            list.insert(second, value);
        }
    }
    let now = NOON + 3 * HOUR + 600;
    let seconds = ask(&history, Some("door"), now - 1_000..now, 1);
    assert_eq!((seconds.step, seconds.values[0].len()), (1, 1_000));
    assert_same(&seconds, &list, 1);
    let minutes = ask(&history, Some("door"), NOON..now, 60);
    assert_eq!((minutes.step, minutes.values[0].len()), (60, 190));
    assert_same(&minutes, &list, MINUTE);
    assert_same(&ask(&history, Some("door"), NOON..now, 300), &list, MINUTE);
    let hours = ask(&history, Some("door"), NOON..now, HOUR);
    assert_eq!(hours.values[0].len(), 4);
    // A step is made coarser until the points are few enough.
    let long = ask(&history, None, now - 86_400 * 365..now, 1);
    assert!(
        long.step >= HOUR && long.values[0].len() as i64 <= MOST_POINTS,
        "{}",
        long.step
    );
    assert!(
        ask(&history, Some("nobody"), NOON..now, 60).values[0]
            .iter()
            .all(Option::is_none)
    );
}

#[test]
fn a_clock_that_is_set_ends_the_minute_and_the_later_second_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = keeper(&folder, LIMITS);
    for second in NOON..NOON + 130 {
        history.second(&sample(second, &[("door", 1.0)]));
    }
    // An hour back, and on again past where it was.
    for second in NOON - HOUR..NOON - HOUR + 30 {
        history.second(&sample(second, &[("door", 2.0)]));
    }
    for second in NOON + 100..NOON + 200 {
        history.second(&sample(second, &[("door", 3.0)]));
    }
    history.end_minute();
    let value = |history: &Keeper, second: i64| {
        ask(history, Some("door"), second..second + 1, 1).values[0][0].map(|three| three.0[1])
    };
    assert_eq!(
        (value(&history, NOON + 50), value(&history, NOON + 120)),
        (Some(1.0), Some(3.0))
    );
    let again = keeper(&folder, LIMITS);
    drop(history);
    let mut again = again;
    again.second(&sample(NOON + 2 * HOUR, &[("door", 4.0)]));
    let minutes = ask(&again, Some("door"), NOON - HOUR..NOON + HOUR, MINUTE);
    let means: Vec<_> = minutes.values[0]
        .iter()
        .map(|three| three.map(|three| three.0[1]))
        .collect();
    for (place, expected) in [(0, 2.0), (60, 1.0), (61, 100.0 / 60.0), (62, 3.0)] {
        let mean = means[place].unwrap();
        assert!((mean - expected).abs() < 0.01, "{place}: {mean}");
    }
}

#[test]
fn nothing_is_written_before_the_clock_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = keeper(&folder, LIMITS);
    for second in 0..200 {
        history.second(&sample(second, &[("door", 1.0)]));
    }
    assert_eq!(history.ring.series().count(), 0);
}

#[test]
fn series_and_bytes_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        series: 3,
        max_bytes: 200 << 10,
        ..LIMITS
    };
    let mut history = keeper(&folder, limits);
    for hour in 0..30 {
        for second in (0..HOUR).step_by(2) {
            let at = NOON + hour * HOUR + second;
            let noise = |n: u64| ((at as u64 * 7_919 + n) % 9_973) as f64;
            let values: Vec<(&str, f64)> = vec![("a", noise(1)), ("b", noise(2)), ("c", noise(3)), ("d", noise(4))];
            let mut sample = sample(at, &values);
            for figures in sample.cameras.values_mut() {
                let first = figures[0];
                for (place, figure) in figures.iter_mut().enumerate() {
                    *figure = first * (place + 1) as f64 % 997.0;
                }
            }
            history.second(&sample);
        }
    }
    assert_eq!(history.ring.series().count(), 3);
    let bytes = std::fs::metadata(folder.path().join("history.db")).unwrap().len();
    assert!(bytes <= 500 << 10, "{bytes}");
    let newest = NOON + 30 * HOUR - 2;
    let kept = ask(&history, Some("a"), newest - 2 * HOUR..newest, MINUTE);
    assert!(kept.values[0].iter().any(Option::is_some), "the newest stay");
    let oldest = ask(&history, Some("a"), NOON..NOON + HOUR, MINUTE);
    assert!(oldest.values[0].iter().all(Option::is_none), "the oldest go");
    assert!(
        ask(&history, Some("d"), newest - 60..newest, 1).values[0]
            .iter()
            .all(Option::is_none)
    );
}

#[test]
fn a_file_that_cannot_be_read_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    std::fs::write(
        &path,
        "not a database, but long enough to be looked at as one".repeat(100),
    )
    .unwrap();
    let mut history = keeper(&folder, LIMITS);
    history.second(&sample(NOON, &[("door", 1.0)]));
    history.end_minute();
    assert!(folder.path().join("history.db.unreadable").exists());
    assert!(ask(&history, Some("door"), NOON..NOON + 1, 1).values[0][0].is_some());
}

/// The disk is full when an hour ends, and is not a minute later.
#[test]
fn an_hour_that_could_not_be_made_is_made_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = keeper(&folder, LIMITS);
    let sql = |history: &Keeper, sql: &str| history.store.connection.execute_batch(sql).unwrap();
    for second in NOON..NOON + HOUR {
        history.second(&sample(second, &[("door", 1.0)]));
    }
    sql(
        &history,
        "CREATE TRIGGER full BEFORE INSERT ON minute BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    for second in NOON + HOUR..NOON + HOUR + 90 {
        history.second(&sample(second, &[("door", 2.0)]));
    }
    let known = |history: &Keeper| {
        let minutes = ask(history, Some("door"), NOON..NOON + HOUR, MINUTE);
        minutes.values[0].iter().flatten().count()
    };
    // Those whose seconds are not overwritten yet.
    assert!(known(&history) >= 58, "{}", known(&history));
    sql(&history, "DROP TRIGGER full");
    for second in NOON + HOUR + 90..NOON + HOUR + 121 {
        history.second(&sample(second, &[("door", 2.0)]));
    }
    assert!(history.unmade.is_empty());
    assert!(known(&history) >= 58, "{}", known(&history));
}

/// One second of a clock that is a year ahead is no reason to delete all that is older.
#[test]
fn a_clock_that_jumps_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = keeper(&folder, LIMITS);
    for second in NOON..NOON + HOUR {
        history.second(&sample(second, &[("door", 1.0)]));
    }
    history.second(&sample(NOON + 11 * 365 * 86_400, &[("door", 1.0)]));
    for second in NOON + HOUR..NOON + HOUR + 2 {
        history.second(&sample(second, &[("door", 1.0)]));
    }
    let minutes = ask(&history, Some("door"), NOON..NOON + HOUR, MINUTE);
    assert_eq!(minutes.values[0].iter().flatten().count(), 60);
}

#[test]
fn a_file_that_somebody_else_holds_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    drop(Store::open(&path).unwrap());
    let holder = rusqlite::Connection::open(&path).unwrap();
    holder
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; INSERT INTO series VALUES (7, 'yard')")
        .unwrap();
    assert!(Store::open(&path).is_err());
    drop(holder);
    assert!(!folder.path().join("history.db.unreadable").exists());
    assert_eq!(Store::open(&path).unwrap().known("yard"), Some(7));
}

/// Its head is whole, so that it opens; what it is for is not.
#[test]
fn a_file_that_turns_out_to_be_damaged_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let mut history = keeper(&folder, LIMITS);
    for second in NOON..NOON + HOUR + 1 {
        history.second(&sample(second, &[("door", 1.0)]));
    }
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'minute'";
    let page: i64 = history.store.connection.query_row(sql, [], |row| row.get(0)).unwrap();
    // Closed, so that nothing of it stands in the log.
    drop(history);
    let mut bytes = std::fs::read(&path).unwrap();
    let begin = (page as usize - 1) * 4_096;
    bytes[begin..begin + 4_096].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let mut history = keeper(&folder, LIMITS);
    assert!(!folder.path().join("history.db.unreadable").exists(), "it opens");
    for second in NOON + HOUR + 1..NOON + 3 * HOUR + 1 {
        history.second(&sample(second, &[("door", 2.0)]));
    }
    assert!(folder.path().join("history.db.unreadable").exists());
    let minutes = ask(&history, Some("door"), NOON + 2 * HOUR..NOON + 3 * HOUR, MINUTE);
    assert_eq!(minutes.values[0].iter().flatten().count(), 60);
    // And it is in the file.
    drop(history);
    assert_eq!(Store::open(&path).unwrap().known("door"), Some(1));
}

#[cfg(unix)]
#[test]
fn nobody_else_reads_who_was_watched_when() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let mut history = keeper(&folder, LIMITS);
    history.second(&sample(NOON, &[("door", 1.0)]));
    history.end_minute();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}

/// Test streams of thirty hours are no burden of the next start, and take no place from who is there.
#[test]
fn streams_that_are_gone_leave_nothing_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = keeper(&folder, LIMITS);
    for hour in 0..30 {
        let name = format!("test{hour}");
        for second in (0..HOUR).step_by(2) {
            history.second(&sample(NOON + hour * HOUR + second, &[(name.as_str(), 1.0)]));
        }
    }
    let now = NOON + 30 * HOUR;
    history.second(&sample(now, &[("door", 1.0)]));
    drop(history);
    let mut history = keeper(&folder, Limits { series: 3, ..LIMITS });
    history.second(&sample(now + 1, &[("door", 1.0), ("yard", 1.0)]));
    // The machine, the stream of the last hour, and one that came.
    assert_eq!(history.ring.series().count(), 3);
    let sql = "SELECT count(DISTINCT minute / 60), count(DISTINCT id % 1024) FROM second";
    let rows = history
        .store
        .connection
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(rows, Ok((1, 2)));
}

/// What is looked for is what can be there, once for all metrics.
#[test]
fn a_question_of_a_hundred_years_is_answered_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = keeper(&folder, LIMITS);
    for second in (NOON..NOON + 3 * HOUR + 1).step_by(2) {
        history.second(&sample(second, &[("door", 1.0)]));
    }
    let steps = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&steps);
    let count = move || {
        counted.fetch_add(1, Relaxed);
        false
    };
    history.store.connection.progress_handler(1, Some(count)).unwrap();
    let century = 100 * 366 * 86_400;
    let query = Query {
        camera: Some("door".to_owned()),
        metrics: (0..MOST_METRICS).collect(),
        from: NOON - century / 2,
        to: NOON + century / 2,
        step: 1,
    };
    let answer = history.answer(&query).unwrap();
    assert_eq!(answer.values.len(), MOST_METRICS);
    assert!(answer.values[0].iter().any(Option::is_some));
    // Three hours that are in the file, and where the oldest is.
    assert!(steps.load(Relaxed) < 200, "{steps:?} instructions of SQLite");
}

#[tokio::test]
async fn questions_leave_room_for_seconds_and_the_last_minute_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let (held, hold) = std::sync::mpsc::channel::<()>();
    let opened = path.clone();
    // It waits with its first word, as for a slow disk.
    let history = History::start(
        move || {
            let _ = hold.recv();
            Some(opened)
        },
        LIMITS,
    )
    .unwrap();
    let query = Query {
        camera: Some("door".to_owned()),
        metrics: vec![0],
        from: NOON,
        to: NOON + 10,
        step: 1,
    };
    let asking: Vec<_> = (0..MOST_ASKED)
        .map(|_| {
            let (history, query) = (history.clone(), query.clone());
            tokio::spawn(async move { history.ask(query).await })
        })
        .collect();
    while history.asked.load(Relaxed) < MOST_ASKED {
        tokio::task::yield_now().await;
    }
    assert_eq!(history.ask(query.clone()).await, Err(Error::Busy));
    for second in 0..10 {
        history.second(Arc::new(sample(NOON + second, &[("door", 1.0)])));
    }
    drop(held);
    for asked in asking {
        assert!(asked.await.unwrap().is_ok());
    }
    let answer = history.ask(query.clone()).await.unwrap();
    assert!(answer.values[0].iter().all(Option::is_some), "{answer:?}");
    // The thread may take longer than is worth waiting for: what counts is that it writes.
    history.end().await;
    while history.ask(query.clone()).await != Err(Error::Unreadable) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut again = keeper(&folder, LIMITS);
    again.second(&sample(NOON + 10, &[]));
    let seconds = ask(&again, Some("door"), NOON..NOON + 10, 1);
    assert!(seconds.values[0].iter().all(Option::is_some));
}

/// What is given to the system to write in an hour by eight cameras whose figures wander.
#[test]
fn little_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = keeper(&folder, LIMITS);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut random = fastrand::Rng::with_seed(1);
    let mut walk = vec![[50.0_f64; 14]; 8];
    let written = || -> u64 {
        let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
        line.parse().unwrap()
    };
    let before = written();
    for second in NOON..NOON + HOUR + 1 {
        let mut sample = sample(second, &[]);
        for (name, figures) in names.iter().zip(&mut walk) {
            for figure in figures.iter_mut() {
                *figure = (*figure + random.f64() - 0.5).clamp(0.0, 100.0);
            }
            sample.cameras.insert(name.parse().unwrap(), *figures);
        }
        history.second(&sample);
    }
    let bytes = written() - before;
    let a_day = bytes * 24;
    assert!(a_day < 30_000_000, "eight cameras: {a_day} bytes a day");
}
