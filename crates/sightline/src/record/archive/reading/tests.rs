use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{Environment, settings};
use crate::s3::Access;

const KEY: &str = "rec/door/2026-11-23/segment_20261123_120000-7.mp4";
const BYTES: u64 = 5 << 20;

/// What a file of [`BYTES`] has at a place.
fn byte(at: u64) -> u8 {
    (at / 251 % 256) as u8
}

fn object(answer: impl Fn(Range<u64>, &mut TcpStream) + Send + 'static) -> (Object, tokio::runtime::Runtime) {
    patient(WITHIN, answer)
}

/// A server that is asked for ranges of one object and does with each what it is told to. Real ones are asked by `tests/upload`; none of them lies.
fn patient(
    within: Duration,
    answer: impl Fn(Range<u64>, &mut TcpStream) + Send + 'static,
) -> (Object, tokio::runtime::Runtime) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            while let Some(range) = asked(&mut stream) {
                answer(range, &mut stream);
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let s3 = settings::S3 {
        endpoint: Some(endpoint),
        ..settings::S3::default()
    };
    let keys = [("AWS_ACCESS_KEY_ID", "AKIA1"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let access = Access::of(&s3, &Environment::of(keys)).unwrap();
    let door = runtime.block_on(async { Door::patient(Bucket::new(&access, "bucket", None).unwrap(), within) });
    (Object::new(door, KEY, BYTES), runtime)
}

/// The range of the next request; none: that was all.
fn asked(stream: &mut TcpStream) -> Option<Range<u64>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="))?;
    let (first, last) = range.split_once('-')?;
    Some(first.parse().unwrap()..last.parse::<u64>().unwrap() + 1)
}

fn send(stream: &mut TcpStream, status: &str, range: Range<u64>, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {}-{}/{BYTES}\r\nETag: \"a\"\r\nLast-Modified: Mon, 23 Nov 2026 07:00:00 GMT\r\n\r\n",
        body.len(),
        range.start,
        range.end - 1
    );
    // Whoever has enough hangs up.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// As it should be.
fn well(range: Range<u64>, stream: &mut TcpStream) {
    let body: Vec<u8> = range.clone().map(byte).collect();
    send(stream, "206 Partial Content", range, &body);
}

/// What the log says of an error, of which viewers see nothing.
fn why(error: &io::Error) -> &str {
    let told = error.to_string();
    assert!(told == AWAY, "{told}");
    &error.get_ref().unwrap().downcast_ref::<Away>().unwrap().0.detail
}

/// As plans read: on from a place, and the beginning of a fragment again and again.
#[test]
fn what_is_read_is_read_once_and_ahead() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asking = Arc::clone(&asked);
    let (object, _runtime) = object(move |range, stream| {
        asking.lock().unwrap().push(range.clone());
        well(range, stream);
    });
    let mut into = vec![0; 256 << 10];
    let mut at = 1_000;
    while at < BYTES {
        // The fragment that goes on here began at 1,000.
        let mut begin = [0; 8];
        assert_eq!(object.read_at(1_000, &mut begin).unwrap(), 8);
        assert!(begin.iter().zip(1_000..).all(|(have, at)| *have == byte(at)));
        let count = object.read_at(at, &mut into).unwrap();
        assert!(
            into[..count].iter().zip(at..).all(|(have, at)| *have == byte(at)),
            "at {at}"
        );
        at += count as u64;
        let kept: usize = object
            .read
            .lock()
            .unwrap()
            .pieces
            .iter()
            .map(|(_, piece)| piece.len())
            .sum();
        assert!(kept <= 2 * AHEAD_BYTES as usize, "{kept}");
    }
    assert_eq!(object.read_at(BYTES, &mut into).unwrap(), 0);
    let asked = asked.lock().unwrap();
    let all: u64 = asked.iter().map(|range| range.end - range.start).sum();
    assert!(asked.len() <= 10 && all < BYTES + 5 * BEHIND_BYTES, "{asked:?}");
}

#[test]
fn a_server_that_sends_something_else_is_refused() {
    let begun = std::time::Instant::now();
    let mut into = [0; 100];
    // All of the object, without an end in sight.
    let (all, _runtime) = object(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = [b"10000\r\n".to_vec(), vec![7; 1 << 16], b"\r\n".to_vec()].concat();
        while stream.write_all(&chunk).is_ok() {}
    });
    let error = all.read_at(0, &mut into).unwrap_err();
    assert!(why(&error).contains("sends more than"), "{error:?}");
    let (other, _runtime) = object(|range, stream| well(range.start + 1..range.end, stream));
    other.read_at(0, &mut into).unwrap_err();
    let (short, _runtime) = object(|range, stream| send(stream, "206 Partial Content", range, b"short"));
    short.read_at(0, &mut into).unwrap_err();
    let (gone, _runtime) = object(|range, stream| {
        send(stream, "404 Not Found", range, b"<Error><Code>NoSuchKey</Code></Error>");
    });
    let error = gone.read_at(0, &mut into).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(why(&error).contains(KEY), "{error:?}");
    assert!(begun.elapsed() < WITHIN, "nobody waits for it");
}

#[test]
fn so_many_send_at_a_time_and_no_more() {
    let within = Duration::from_secs(2);
    let (object, runtime) = patient(within, well);
    let mut places: Vec<_> = (0..MAX_SENDING).map(|_| object.place().unwrap()).collect();
    assert!(object.place().is_none());
    places.pop();
    assert!(object.place().is_some());
    // Who waits for its turn waits no longer than for an answer.
    let taken = runtime
        .block_on(object.door.gets.acquire_many(MAX_GETS as u32))
        .unwrap();
    let begun = std::time::Instant::now();
    let error = object.read_at(0, &mut [0]).unwrap_err();
    assert!(
        why(&error).contains("no answer within 2 s") && begun.elapsed() >= within,
        "{error:?}"
    );
    drop(taken);
    // The program ends.
    runtime.shutdown_background();
    object.read_at(BYTES - 1, &mut [0]).unwrap_err();
}

#[test]
fn who_waits_for_a_turn_has_the_next_one() {
    let (object, runtime) = object(well);
    let taken = runtime
        .block_on(object.door.gets.acquire_many(MAX_GETS as u32))
        .unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| object.read_at(0, &mut [0]).unwrap());
        drop(taken);
        assert_eq!(waiting.join().unwrap(), 1);
    });
}
