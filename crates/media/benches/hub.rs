//! What a frame costs on its way through the hub: publishing, waking, reading, the shared form.
//!
//! The figures of the design (docs/design/first-light.md §3) are from here: `cargo bench -p sightline-media --bench hub`.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use media::hub::{Entry, Forms, Hub, Limits, Position, Publisher, Reader, Render, Stream};
use media::{Clock, Frame, MediaTime, StreamName, Timescale};
use testkit::clock::SimClock;
use testkit::publishing;
use testkit::stream::{Settings, Video};

/// A stream in its steady state: two seconds of 30 frames a second, GOP of ten, in the ring.
struct Live {
    clock: SimClock,
    publisher: Publisher,
    stream: Arc<Stream>,
    gop: Vec<Frame>,
    number: i64,
}

impl Live {
    fn new() -> Self {
        let (hub, clock, name) = (
            Hub::new(Limits::default()),
            SimClock::new(),
            StreamName::default_stream(),
        );
        let mut video = Video::new(Settings::default());
        let publisher = publishing::publish(&hub, &name, vec![video.track()], &clock);
        let mut live = Self {
            stream: Arc::clone(publisher.stream()),
            gop: (0..10).map(|_| video.next_frame(clock.wall())).collect(),
            clock,
            publisher,
            number: 0,
        };
        (0..300).for_each(|_| live.publish());
        live
    }

    fn publish(&mut self) {
        self.number += 1;
        let index = usize::try_from(self.number).unwrap_or(0) % self.gop.len();
        let frame = Frame {
            time: MediaTime::new(self.number * 3_000, Timescale::VIDEO),
            ..self.gop[index].clone()
        };
        let now = self.clock.advance(Duration::from_micros(33_333));
        self.publisher.publish(frame, now).expect("is the publisher");
    }

    fn readers(&self, count: usize) -> Vec<Reader> {
        let readers = (0..count).map(|_| self.stream.join(self.clock.now()).expect("there is room"));
        readers.collect()
    }
}

/// As many outputs as bytes are cheap to make: what is measured is the sharing.
struct Plain(u64);

impl Render for Plain {
    type Output = u64;

    fn mark(&mut self, _: &Entry) -> u64 {
        self.0 += 1;
        self.0
    }

    fn render(&mut self, _: &Entry, mark: u64) -> u64 {
        mark
    }
}

/// Polls until there is nothing new, so that the waker is armed.
fn drain(reader: &mut Reader, frames: &mut Vec<Arc<Entry>>) {
    frames.clear();
    while reader
        .poll_next(&mut Context::from_waker(Waker::noop()), frames)
        .is_ready()
    {}
}

fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish");
    for count in [0, 1, 100] {
        group.bench_function(BenchmarkId::new("readers asleep, each woken", count), |b| {
            let mut live = Live::new();
            let (mut readers, mut frames) = (live.readers(count), Vec::new());
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                let clock = criterion::measurement::WallTime;
                for _ in 0..rounds {
                    readers.iter_mut().for_each(|reader| drain(reader, &mut frames));
                    let begin = criterion::measurement::Measurement::start(&clock);
                    live.publish();
                    spent += criterion::measurement::Measurement::end(&clock, begin);
                }
                spent
            });
        });
    }
    group.bench_function("100 readers that do not wait", |b| {
        let mut live = Live::new();
        let _readers = live.readers(100);
        b.iter(|| live.publish());
    });
    group.finish();
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    group.bench_function("publish, then one reader takes the frame and waits", |b| {
        let mut live = Live::new();
        let (mut readers, mut frames) = (live.readers(1), Vec::new());
        b.iter(|| {
            live.publish();
            drain(&mut readers[0], &mut frames);
        });
    });
    group.bench_function("one frame by position", |b| {
        let live = Live::new();
        let first = live.stream.newest_keyframe().expect("there is one");
        let mut frames = Vec::new();
        b.iter(|| {
            frames.clear();
            let mut position = Position::at(&first);
            black_box(live.stream.read(&mut position, 1, &mut frames))
        });
    });
    group.bench_function("nothing new", |b| {
        let live = Live::new();
        let (mut readers, mut frames) = (live.readers(1), Vec::new());
        drain(&mut readers[0], &mut frames);
        b.iter(|| drain(&mut readers[0], &mut frames));
    });
    group.bench_function("join and leave", |b| {
        let live = Live::new();
        b.iter(|| black_box(live.stream.join(live.clock.now())));
    });
    group.finish();
}

fn forms(c: &mut Criterion) {
    let mut group = c.benchmark_group("forms");
    group.bench_function("publish, read, render", |b| {
        let mut live = Live::new();
        let forms = Forms::new(&live.stream, 8, Plain(0));
        let (mut readers, mut frames) = (live.readers(1), Vec::new());
        b.iter(|| {
            live.publish();
            drain(&mut readers[0], &mut frames);
            frames.iter().for_each(|entry| drop(black_box(forms.get(entry))));
        });
    });
    group.bench_function("one that is there", |b| {
        let live = Live::new();
        let forms = Forms::new(&live.stream, 8, Plain(0));
        let entry = live.stream.newest_keyframe().expect("there is one");
        b.iter(|| black_box(forms.get(&entry)));
    });
    group.finish();
}

criterion_group!(benches, publish, read, forms);
criterion_main!(benches);
