//! Seeking into a year by HTTP: the program as it is, over an index that others made.
//!
//! Belongs here: a recording that rows can point at, the server on it, and how long it takes to the first byte. Does not belong here: the index alone
//! (`index.rs`).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use media::recording::{Cutter, Fragments, Head, Limits, Sealer, Told};
use media::{Clock as _, StreamName, WallTime};
use sightline::clock::SystemClock;
use sightline::record::storage::{Place as _, Root};
use testkit::stream::{Settings, Video};

use super::server::Server;
use super::support::PATIENCE;

/// What is promised for any seek.
const MOST: Duration = Duration::from_millis(50);
const SEEKS: usize = 100;
const FPS: u32 = 30;

/// A minute of 2 Mb/s as a recorder writes it, which many rows may have.
pub(crate) struct Minute {
    storage: [u8; 16],
    init_segment: Bytes,
    /// Behind the head.
    fragments: Vec<u8>,
    pub(crate) head_bytes: u32,
    pub(crate) crc: u32,
    pub(crate) table: Vec<u8>,
}

impl Minute {
    /// `camera`: as long a name as those of the rows.
    pub(crate) fn new(storage: [u8; 16], camera: StreamName) -> Self {
        let mut video = Video::new(Settings {
            fps: FPS,
            gop_frames: u64::from(FPS),
            idr_bytes: 40_000,
            frame_bytes: 7_200,
            ..Settings::default()
        });
        let mut cutter = Cutter::new(&[video.track()], Limits::default()).unwrap();
        let mut cut = Vec::new();
        for _ in 0..60 * FPS {
            cutter.frame(video.next_frame(SystemClock.wall()), &mut cut).unwrap();
        }
        cutter.interrupt(&mut cut);
        let (mut sealer, mut table, mut fragments) = (Sealer::new(), Fragments::new(), Vec::new());
        for fragment in &cut {
            let told = Told {
                end_90k: fragment.end_90k,
                wall: WallTime::from_unix_micros(0),
            };
            fragments.extend_from_slice(&fragment.bytes);
            fragments.extend_from_slice(&sealer.seal(&fragment.bytes, &told));
            table
                .push(fragment.bytes.len(), fragment.duration_90k, fragment.keyframe)
                .unwrap();
        }
        let mut minute = Self {
            storage,
            init_segment: cut[0].start.as_ref().unwrap().init_segment.clone(),
            fragments,
            head_bytes: 0,
            crc: sealer.whole().crc,
            table: table.as_bytes().to_vec(),
        };
        minute.head_bytes = minute.head(camera).len() as u32;
        minute
    }

    fn head(&self, camera: StreamName) -> Bytes {
        let head = Head {
            storage: self.storage,
            camera,
            run: 1,
            number: 0,
            start: WallTime::from_unix_micros(0),
        };
        head.write(&self.init_segment).unwrap()
    }

    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.head_bytes) + self.fragments.len() as u64
    }

    /// A file that a row tells of. Durable, so that the system can forget it.
    fn write(&self, path: &Path, camera: StreamName) {
        let head = self.head(camera);
        assert_eq!(head.len(), self.head_bytes as usize);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, [&head[..], &self.fragments].concat()).unwrap();
        std::fs::File::open(path).unwrap().sync_all().unwrap();
    }
}

/// A camera, when a minute of it begins in milliseconds of Unix time, and its file.
pub(crate) struct Place {
    pub(crate) camera: StreamName,
    pub(crate) begin_ms: i64,
    pub(crate) path: String,
}

/// Starts a server on the index in this folder, `recordings.sqlite`, and asks it for what lies anywhere in it. `any`: a minute of it, by chance.
pub(crate) fn by_http(state: &Path, storage: [u8; 16], minute: &Minute, mut any: impl FnMut(&mut Rng) -> Place) {
    let root = state.join("recordings");
    Root(root.clone()).look(Some(storage)).unwrap();
    let mut random = Rng::with_seed(7);
    let places: Vec<_> = (0..SEEKS).map(|_| any(&mut random)).collect();
    for place in &places {
        minute.write(&root.join(&place.path), place.camera.clone());
    }
    let settings = [
        ("SIGHTLINE_RECORD_ENABLED", "true"),
        // Whatever the day is, and however full the disk: none of it is too old.
        ("SIGHTLINE_RECORD_KEEP", "0s"),
        ("SIGHTLINE_RECORD_KEEP_EVENTS", "0s"),
        ("SIGHTLINE_RECORD_FREE", "0B"),
    ];
    let begun = Instant::now();
    let server = Server::start(state, &settings);
    while server.ask("GET", "/recordings/cameras", "").0 != 200 {
        assert!(begun.elapsed() < PATIENCE);
    }
    println!("by HTTP: {:.1?} after its start it is answered", begun.elapsed());
    let ranges = |place: &Place| format!("/recordings?camera={}&resolution_ms=60000", encoded(&place.camera));
    measure("by HTTP: ranges of the whole time", &server, &places, |place| {
        first_byte(&server, &ranges(place))
    });
    let clip = |place: &Place| {
        let start = place.begin_ms + 20_000;
        format!(
            "/recordings/{}/clip.mp4?start={start}&duration=20",
            encoded(&place.camera)
        )
    };
    measure(
        "by HTTP: the first byte of a clip, files not in memory",
        &server,
        &places,
        |place| {
            forget(&root.join(&place.path));
            first_byte(&server, &clip(place))
        },
    );
    measure("by HTTP: the first byte of a clip", &server, &places, |place| {
        first_byte(&server, &clip(place))
    });
    server.end();
}

/// By the clock it is told; what it took of the processor, and the median, are held to the limit: a busy machine takes the processor from a server for longer.
fn measure(what: &str, server: &Server, places: &[Place], mut ask: impl FnMut(&Place) -> Duration) {
    let (mut taken, mut worked) = (Vec::new(), Vec::new());
    for place in places {
        let before = processor_time(server.process.pid());
        taken.push(ask(place));
        worked.push(processor_time(server.process.pid()).saturating_sub(before));
    }
    taken.sort_unstable();
    worked.sort_unstable();
    let (median, late, longest) = (taken[SEEKS / 2], taken[SEEKS * 99 / 100], taken[SEEKS - 1]);
    let work = worked[SEEKS * 99 / 100];
    println!("{what}: p50 {median:.1?}, p99 {late:.1?} ({work:.1?} of the processor), longest {longest:.1?}");
    assert!(median <= MOST && work <= MOST, "{what}: {median:?}, {work:?}");
}

/// What all threads of a process took of a processor so far: the first number of each (Documentation/scheduler/sched-stats.rst).
fn processor_time(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let taken = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    });
    taken.sum()
}

/// Until the first byte of the body is there, by a connection of its own.
fn first_byte(server: &Server, path: &str) -> Duration {
    let begun = Instant::now();
    let mut connection = TcpStream::connect(("127.0.0.1", server.http_port as u16)).unwrap();
    let token = &server.token;
    write!(
        connection,
        "GET /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 16 << 10];
        let read = connection.read(&mut piece).unwrap();
        assert!(read > 0, "{path}: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
        let head = answer.windows(4).position(|word| word == b"\r\n\r\n");
        if head.is_some_and(|at| answer.len() > at + 4) {
            break;
        }
    }
    let taken = begun.elapsed();
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{path}: {}",
        String::from_utf8_lossy(&answer)
    );
    taken
}

/// The system reads it from its disk the next time.
fn forget(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

fn encoded(camera: &StreamName) -> String {
    camera.as_str().replace('/', "%2F")
}
