//! Seats: whatever the pace at which a page reads, it ends with what holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use media::hub::{Hub, Limits};
use media::{StreamName, WallTime};
use proptest::prelude::*;
use testkit::clock::SimClock;

use super::board::{Board, Key, Told};
use super::class::Class;
use super::facts::{Places, Stream, Tracks, Value};
use super::sample::Sample;
use super::seat::{Hello, Seat};
use super::words::{Detail, Topics};
use crate::auth::{Account, Principal, Role};
use crate::events::Events;

fn board() -> Board {
    let places = Places {
        rtsp: 8_554,
        hls: 8_888,
        webrtc: 8_889,
    };
    Board::new(places, Arc::new(Sample::empty(WallTime::from_unix_micros(0))))
}

fn class(who: Principal) -> Arc<Class> {
    Arc::new(Class::new(who, crate::http::forms::Place::direct("pi"), "{}".into()))
}

fn seat(class: &Arc<Class>) -> Seat {
    let events = Events::new(&Hub::new(Limits::default()), Arc::new(SimClock::new()));
    Seat::new(Arc::clone(class), Hello(r#""version":"1""#.into()), events.listen(None))
}

fn anna(rights: &str) -> Principal {
    Principal::Account(Arc::new(Account {
        name: "anna".into(),
        password: None,
        networks: Vec::new(),
        rights: rights.parse().unwrap(),
    }))
}

fn name(number: usize) -> StreamName {
    format!("c{number}").parse().unwrap()
}

fn stream(number: usize, version: u64) -> Value {
    Value::Stream(Box::new(Stream {
        name: name(number),
        state: "live",
        since: version.to_string().into(),
        publisher: None,
        tracks: Tracks(Arc::from([])),
        recording: None,
        source: None,
        latency_since: None,
        low: None,
    }))
}

/// What a page knows after it was told this.
#[derive(Default)]
struct Page {
    keys: BTreeMap<String, serde_json::Value>,
    stale: Vec<String>,
    known: bool,
}

impl Page {
    fn told(&mut self, text: &Bytes) {
        let said: serde_json::Value = serde_json::from_slice(text).unwrap();
        let key = said["key"].as_str().unwrap_or_default().to_owned();
        match said["type"].as_str().unwrap() {
            "hello" => {
                self.stale = self.keys.keys().cloned().collect();
                self.known = false;
            }
            "known" => {
                for key in self.stale.drain(..) {
                    self.keys.remove(&key);
                }
                self.known = true;
            }
            "set" => {
                self.stale.retain(|stale| *stale != key);
                self.keys.insert(key, said["value"]["since"].clone());
            }
            "gone" => {
                self.keys.remove(&key);
            }
            _ => {}
        }
    }

    fn read(&mut self, seat: &mut Seat, board: &mut Board, most: usize) -> usize {
        for read in 0..most {
            match seat.next(board) {
                Some(text) => self.told(&text),
                None => return read,
            }
        }
        most
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize),
    Remove(usize),
    Read(usize),
    Hide(bool),
    Rights(bool),
    Detail(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6_usize).prop_map(Step::Set),
        2 => (0..6_usize).prop_map(Step::Remove),
        3 => (0..5_usize).prop_map(Step::Read),
        1 => any::<bool>().prop_map(Step::Hide),
        1 => any::<bool>().prop_map(Step::Rights),
        1 => (0..6_usize).prop_map(Step::Detail),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #[test]
    fn each_pace_of_reading_ends_with_what_holds(steps in steps()) {
        let (mut board, mut page) = (board(), Page::default());
        let (all, some) = (class(Principal::Known(Role::Viewer)), class(anna("view c0 c1 c2")));
        let mut seat = seat(&all);
        let mut holds: BTreeMap<usize, u64> = BTreeMap::new();
        let (mut sees_all, mut version) = (true, 0);
        for step in steps {
            version += 1;
            match step {
                Step::Set(number) => {
                    board.set(Key::Stream(name(number)), stream(number, version));
                    holds.insert(number, version);
                }
                Step::Remove(number) => {
                    board.remove(&Key::Stream(name(number)));
                    holds.remove(&number);
                }
                Step::Read(most) => {
                    page.read(&mut seat, &mut board, most);
                }
                Step::Hide(hidden) => seat.want(Topics { keys: !hidden, ..Topics::FIRST }),
                Step::Rights(all_of_them) => {
                    if all_of_them != sees_all {
                        sees_all = all_of_them;
                        seat.now_is(Arc::clone(if sees_all { &all } else { &some }));
                    }
                }
                Step::Detail(number) => {
                    let details = vec![Detail::Camera(name(number))];
                    seat.want(Topics { details, ..Topics::FIRST });
                }
            }
        }
        seat.want(Topics::FIRST);
        page.read(&mut seat, &mut board, usize::MAX);
        let expected: BTreeMap<String, serde_json::Value> = holds
            .iter()
            .filter(|(number, _)| sees_all || **number < 3)
            .map(|(number, version)| (format!("stream/c{number}"), version.to_string().into()))
            .collect();
        prop_assert!(page.known);
        prop_assert_eq!(page.keys, expected);
    }
}

/// A page that reads nothing while much happens is told each key once.
#[test]
fn a_seat_that_never_reads_costs_nothing_and_is_told_what_holds() {
    let (mut board, mut page) = (board(), Page::default());
    let mut slow = seat(&class(Principal::Known(Role::Viewer)));
    page.read(&mut slow, &mut board, usize::MAX);
    for version in 0..20_000 {
        board.set(Key::Stream(name(version % 50)), stream(version % 50, version as u64));
    }
    assert_eq!(page.read(&mut slow, &mut board, usize::MAX), 50);
    assert_eq!(page.keys["stream/c7"], "19957");
    // More names went than are remembered: all is told anew, and what went is not known any more.
    board.remove(&Key::Stream(name(7)));
    for number in 100..10_000 {
        board.set(Key::Stream(name(number)), stream(number, 0));
        board.remove(&Key::Stream(name(number)));
    }
    let told = page.read(&mut slow, &mut board, usize::MAX);
    assert!(told <= 49 + 2 + 4_096, "{told}");
    assert!(page.known && page.keys.len() == 49 && !page.keys.contains_key("stream/c7"));
}

/// What a thousand pages are told is made once for each set of rights, and each stays small.
#[test]
fn a_thousand_seats_share_their_texts() {
    let mut board = board();
    for number in 0..50 {
        board.set(Key::Stream(name(number)), stream(number, 1));
    }
    let class = class(Principal::Known(Role::Admin));
    let mut seats: Vec<Seat> = (0..1_000).map(|_| seat(&class)).collect();
    let mut first: Vec<Bytes> = Vec::new();
    for (at, seat) in seats.iter_mut().enumerate() {
        let told: Vec<Bytes> = std::iter::from_fn(|| seat.next(&mut board)).collect();
        assert_eq!(told.len(), 52);
        if at == 0 {
            first = told;
            continue;
        }
        let is_shared = |(one, other): (&Bytes, &Bytes)| one.as_ptr() == other.as_ptr();
        // All but the greeting.
        assert!(told.iter().zip(&first).skip(1).all(is_shared));
    }
    assert!(size_of::<Seat>() <= 512, "{}", size_of::<Seat>());
}

#[test]
fn figures_are_made_once_for_each_set_of_streams() {
    let mut board = board();
    let mut sample = Sample::empty(WallTime::from_unix_micros(0));
    for number in 0..2_000 {
        sample.cameras.insert(name(number), [0.5; 14]);
    }
    board.sampled(Arc::new(sample));
    let wanted = Topics {
        figures: true,
        ..Topics::FIRST
    };
    let read = |who: Principal, board: &mut Board| {
        let mut seat = seat(&class(who));
        seat.want(wanted.clone());
        let told: Vec<Bytes> = std::iter::from_fn(|| seat.next(board)).collect();
        let figures = told
            .into_iter()
            .filter(|text| text.starts_with(br#"{"type":"figures""#));
        figures.collect::<Vec<_>>()
    };
    let all = read(Principal::Known(Role::Admin), &mut board);
    assert!(all.len() > 1 && all.iter().all(|text| text.len() <= super::board::MESSAGE_BYTES));
    let others = read(Principal::Known(Role::Viewer), &mut board);
    assert!(
        all.iter()
            .zip(&others)
            .all(|(one, other)| one.as_ptr() == other.as_ptr())
    );
    assert_eq!(read(anna("view c1"), &mut board).len(), 1);
    assert_eq!(read(anna("publish"), &mut board).len(), 0);
}

/// Of 50 cameras each of 500 pages is told what changed of five, and one message of figures a second.
#[test]
fn five_hundred_pages_are_told_what_changed_and_nothing_else() {
    let mut board = board();
    let class = class(Principal::Known(Role::Admin));
    let wanted = Topics {
        figures: true,
        ..Topics::FIRST
    };
    let mut seats: Vec<Seat> = (0..500).map(|_| seat(&class)).collect();
    for seat in &mut seats {
        seat.want(wanted.clone());
        while seat.next(&mut board).is_some() {}
    }
    let mut told = 0;
    for second in 0..10_u64 {
        let mut sample = Sample::empty(WallTime::from_unix_micros(0));
        for number in 0..50 {
            sample.cameras.insert(name(number), [29.97; 14]);
            if number % 10 == 0 {
                board.set(Key::Stream(name(number)), stream(number, second));
            }
        }
        board.sampled(Arc::new(sample));
        for seat in &mut seats {
            while seat.next(&mut board).is_some() {
                told += 1;
            }
        }
    }
    assert_eq!(told, 500 * 6 * 10);
}

/// Not even that there was one.
#[test]
fn exports_that_go_are_told_to_who_may_replay() {
    let mut board = board();
    let key = Key::Export("c1-1".to_owned());
    let (viewer, replayer) = (class(anna("view")), class(anna("view,replay")));
    board.set(key.clone(), Value::Export(name(1), "{}".into()));
    let is_told = |board: &mut Board, class: &Class| matches!(board.told(&key, class), Told::Text(_));
    assert!(!is_told(&mut board, &viewer) && is_told(&mut board, &replayer));
    board.remove(&key);
    assert!(!is_told(&mut board, &viewer) && is_told(&mut board, &replayer));
}
