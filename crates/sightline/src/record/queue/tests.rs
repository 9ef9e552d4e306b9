use bytes::Bytes;
use media::WallTime;
use media::recording::Told;
use testkit::clock::SimClock;

use super::super::clock::Span;
use super::*;

fn queue() -> (SimClock, Queue) {
    let clock = SimClock::new();
    (clock.clone(), Queue::new(Arc::new(clock)))
}

fn name(number: usize) -> StreamName {
    format!("camera-{number}").parse().unwrap()
}

fn begin() -> Begin {
    Begin {
        init_segment: Bytes::from_static(b"header"),
        start: WallTime::from_unix_micros(1_763_719_485_000_000),
        first_shown_90k: 0,
        continues: false,
        clip: None,
    }
}

fn piece(bytes: usize) -> Piece {
    Piece {
        bytes: Bytes::from(vec![0; bytes]),
        duration_90k: 90_000,
        keyframe: true,
        told: Told {
            end_90k: 90_000,
            wall: WallTime::from_unix_micros(1_763_719_486_000_000),
        },
    }
}

fn end() -> End {
    End {
        span: Span {
            start_90k: 0,
            end_90k: 90_000,
            drift_90k: 0,
        },
        ended: None,
    }
}

/// All that waits, in words.
fn drain(queue: &Queue) -> Vec<(u64, &'static str)> {
    let mut seen = Vec::new();
    while let Popped::Job(job) = queue.pop(Duration::ZERO) {
        let what = match job.what {
            What::Begin(_) => "begin",
            What::Piece(_) => "piece",
            What::End(Some(_), None) => "end",
            What::End(Some(_), Some(_)) => "short end",
            What::End(None, _) => "end by nobody",
            What::Missed(_) => "missed",
            What::Left => "left",
        };
        seen.push((job.file, what));
    }
    seen
}

#[test]
fn files_come_out_as_they_went_in() {
    let (_, queue) = queue();
    let mut sink = queue.sink(&name(1));
    // Without a file that was begun it is nothing.
    sink.end(end());
    for _ in 0..2 {
        sink.begin(begin()).unwrap();
        sink.fragment(piece(9)).unwrap();
        sink.end(end());
        sink.end(end());
    }
    let file = |number| [(number, "begin"), (number, "piece"), (number, "end")];
    assert_eq!(drain(&queue), [file(1), file(2)].concat());
    assert_eq!(queue.bytes(), 0);
}

#[test]
fn a_camera_has_a_limit_and_takes_no_room_from_others() {
    let (_, queue) = queue();
    let (mut one, mut other) = (queue.sink(&name(1)), queue.sink(&name(2)));
    one.begin(begin()).unwrap();
    let mut taken = 0;
    while one.fragment(piece(1 << 20)).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 7, "with what each takes beside its bytes");
    assert!(queue.bytes() <= MAX_SINK_BYTES);
    // All that comes behind it is left out, however small; the file after that is taken where there is room.
    assert!(one.fragment(piece(1)).is_err());
    other.begin(begin()).unwrap();
    other.fragment(piece(1 << 20)).unwrap();
    one.end(end());
    assert_eq!(queue.take_left_out(), [(name(1), LeftOut::Slow, 2)]);
    assert_eq!(queue.take_left_out(), []);
    let seen = drain(&queue);
    assert_eq!(seen.last(), Some(&(1, "short end")));
    assert_eq!(seen.iter().filter(|(_, what)| *what == "piece").count(), 8);
    one.begin(begin()).unwrap();
    one.fragment(piece(1 << 20)).unwrap();
    // One that is larger than all of its room is taken where nothing else waits.
    drain(&queue);
    one.fragment(piece(MAX_SINK_BYTES)).unwrap();
}

#[test]
fn all_cameras_have_a_limit() {
    let (_, queue) = queue();
    let mut sinks: Vec<QueueSink> = (0..20).map(|number| queue.sink(&name(number))).collect();
    let mut taken = 0;
    for sink in &mut sinks {
        sink.begin(begin()).unwrap();
        taken += usize::from(sink.fragment(piece(2 << 20)).is_ok());
    }
    assert_eq!(taken, 15);
    assert!(queue.bytes() <= MAX_BYTES);
    // What is being done counts until it is.
    assert!(matches!(queue.pop(Duration::ZERO), Popped::Job(_)));
    let before = queue.bytes();
    assert!(matches!(queue.pop(Duration::ZERO), Popped::Job(_)));
    assert!(queue.bytes() < before);
    for sink in &mut sinks {
        sink.end(end());
    }
    let ends = drain(&queue).iter().filter(|(_, what)| what.ends_with("end")).count();
    assert_eq!(ends, 20, "an end is always taken");
}

#[test]
fn nothing_waits_longer_than_half_a_minute() {
    let (clock, queue) = queue();
    let mut sink = queue.sink(&name(1));
    sink.begin(begin()).unwrap();
    clock.advance(MAX_WAIT);
    sink.fragment(piece(1)).unwrap();
    // The disk took the first, and is at it since.
    let Popped::Job(_) = queue.pop(Duration::ZERO) else {
        panic!()
    };
    clock.advance(Duration::from_millis(1));
    assert!(sink.fragment(piece(1)).is_err());
    sink.end(end());
    assert!(sink.begin(begin()).is_err(), "for files too");
    assert!(sink.begin(begin()).is_err());
    assert_eq!(
        drain(&queue),
        [(1, "piece"), (1, "short end"), (2, "missed")],
        "told once"
    );
    sink.begin(begin()).unwrap();
}

#[test]
fn what_the_disk_refuses() {
    let (clock, queue) = queue();
    let mut sink = queue.sink(&name(1));
    sink.begin(begin()).unwrap();
    let Popped::Job(job) = queue.pop(Duration::ZERO) else {
        panic!()
    };
    // Another file is meant.
    queue.refuse(job.sink, job.file + 1, LeftOut::Failed);
    sink.fragment(piece(1)).unwrap();
    queue.refuse(job.sink, job.file, LeftOut::Failed);
    assert!(sink.fragment(piece(1)).is_err());
    sink.end(end());
    let until = clock.now() + Duration::from_secs(1);
    queue.hold(job.sink, Some((until, LeftOut::Failed)));
    assert!(sink.begin(begin()).is_err());
    clock.advance_ms(1_000);
    sink.begin(begin()).unwrap();
    queue.hold_all(Some(LeftOut::Away));
    sink.fragment(piece(1)).unwrap();
    sink.end(end());
    assert!(sink.begin(begin()).is_err());
    queue.hold_all(None);
    sink.begin(begin()).unwrap();
    assert_eq!(queue.take_left_out(), [(name(1), LeftOut::Failed, 1)]);
}

#[test]
fn a_queue_that_is_closed_takes_ends_and_hands_out_what_it_has() {
    let (_, queue) = queue();
    let mut sink = queue.sink(&name(1));
    sink.begin(begin()).unwrap();
    sink.fragment(piece(1)).unwrap();
    queue.close();
    queue.hold_all(None);
    assert!(sink.fragment(piece(1)).is_err());
    assert!(queue.sink(&name(2)).begin(begin()).is_err());
    sink.end(end());
    let seen = drain(&queue);
    assert!(
        seen.contains(&(1, "piece")) && seen.contains(&(1, "short end")),
        "{seen:?}"
    );
    assert!(matches!(queue.pop(Duration::from_secs(9)), Popped::Closed));
}

#[test]
fn a_sink_that_is_dropped_ends_its_file() {
    let (_, queue) = queue();
    let mut sink = queue.sink(&name(1));
    sink.begin(begin()).unwrap();
    drop(sink);
    assert_eq!(drain(&queue), [(1, "begin"), (1, "end by nobody"), (1, "left")]);
}

#[test]
fn sinks_have_a_limit() {
    let (_, queue) = queue();
    let mut sinks: Vec<QueueSink> = (0..=MAX_SINKS).map(|number| queue.sink(&name(number))).collect();
    assert!(sinks.last_mut().unwrap().begin(begin()).is_err());
    assert!(sinks.first_mut().unwrap().begin(begin()).is_ok());
    let first = sinks.remove(0).id;
    drain(&queue);
    queue.forget(first);
    assert!(queue.sink(&name(9)).begin(begin()).is_ok());
}

/// Whoever waits is woken by what comes.
#[test]
fn who_waits_is_woken() {
    let queue = Queue::new(Arc::new(testkit::clock::SystemClock));
    let mut sink = queue.sink(&name(1));
    let thread = std::thread::spawn(move || matches!(queue.pop(Duration::from_secs(60)), Popped::Job(_)));
    sink.begin(begin()).unwrap();
    assert!(thread.join().unwrap());
    let queue = Queue::new(Arc::new(testkit::clock::SystemClock));
    let waiting = queue.clone();
    let thread = std::thread::spawn(move || matches!(waiting.pop(Duration::from_secs(60)), Popped::Nothing));
    queue.tell_garbage();
    assert!(thread.join().unwrap());
    assert!(queue.take_garbage() && !queue.take_garbage());
}
