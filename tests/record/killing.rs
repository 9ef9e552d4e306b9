//! Eight cameras that are recorded by a server that is killed again and again, at any moment.
//!
//! Belongs here: the rounds, for the test of every change (twenty) and for the long one (hundreds). After each: what was sent is there but for a
//! fragment a camera, and files, index and answers are of one mind.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fastrand::Rng;
use media::StreamName;
use testkit::stream::{Settings, Video};

use super::holdings::{Known, Recording, Row, look, settled, tell_index};
use super::publisher::Cameras;
use super::server::{Server, files};
use super::support::Machine;

const CAMERAS: u64 = 8;
const FPS: u32 = 30;
/// A fragment ends before each keyframe: half a second.
const FRAGMENT_FRAMES: usize = 15;
const FRAME_90K: u64 = 90_000 / FPS as u64;
/// From a picture's being sent to its being with the kernel as part of a file, on top of what the machine keeps from the programs.
const ON_THE_WAY: Duration = Duration::from_millis(250);
/// When it is killed, in milliseconds after the first picture; and, in every third round, after its start.
const KILLED_AFTER_MS: Range<u64> = 50..2_500;
const KILLED_STARTING_MS: Range<u64> = 0..500;

fn camera(number: u64) -> StreamName {
    format!("house/camera-{number}").parse().unwrap()
}

/// No two rounds and no two cameras have a picture in common.
fn pictures(round: usize, number: u64) -> Settings {
    Settings {
        fps: FPS,
        gop_frames: FRAGMENT_FRAMES as u64,
        idr_bytes: 6_000,
        frame_bytes: 700,
        seed: (round as u64 * CAMERAS + number) << 32,
        ..Settings::default()
    }
}

/// Which of a camera's pictures these are: from a keyframe on, none left out, none twice.
fn found(mut recorded: &[u8], settings: Settings) -> Range<usize> {
    let mut video = Video::new(settings);
    let mut first = None;
    for number in 0.. {
        if recorded.is_empty() {
            return first.unwrap_or(number)..number;
        }
        let frame = video.next_frame(media::WallTime::from_unix_micros(0));
        match recorded.strip_prefix(&frame.data[..]) {
            Some(rest) => {
                assert!(first.is_some() || frame.keyframe);
                (recorded, first) = (rest, Some(first.unwrap_or(number)));
            }
            None => assert!(
                first.is_none() && number < 1_000,
                "behind picture {number} comes another than the next"
            ),
        }
    }
    0..0
}

/// What the API tells of one camera is what its files hold.
fn ask(server: &Server, rows: &BTreeMap<PathBuf, Row>, name: &StreamName) {
    let mut of_camera: Vec<_> = rows.values().filter(|row| row.camera == name.as_str()).collect();
    of_camera.sort_by_key(|row| row.start_90k);
    let meets = |pair: &&[&Row]| {
        pair[0].run == pair[1].run && pair[0].start_90k + pair[0].duration_90k.cast_signed() == pair[1].start_90k
    };
    let meeting = of_camera.windows(2).filter(meets).count();
    let bytes: u64 = of_camera.iter().map(|row| row.bytes).sum();
    let ms: u64 = of_camera.iter().map(|row| row.duration_90k).sum::<u64>() / 90;
    let (status, answer) = server.ask("GET", &format!("/recordings?camera={name}"), "");
    assert_eq!(status, 200, "{answer}");
    let ranges = answer["recordings"].as_array().unwrap();
    let sum = |key: &str| ranges.iter().map(|range| range[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(
        (ranges.len() + meeting, sum("size_bytes")),
        (of_camera.len(), bytes),
        "{answer}"
    );
    // Each is rounded.
    assert!(
        sum("recorded_ms").abs_diff(ms) <= ranges.len() as u64,
        "{ms} ms: {answer}"
    );
    let (_, answer) = server.ask("GET", &format!("/recordings?camera={name}&files=1"), "");
    let told = answer["recordings"].as_array().unwrap().len();
    assert_eq!(told, of_camera.len().min(1_000), "{answer}");
}

/// Kills the server `rounds` times while it records, and in every third round while it starts as well.
pub(crate) fn rounds(rounds: usize) {
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let state = tempfile::tempdir().unwrap();
    let root = state.path().join("recordings");
    let settings = [("SIGHTLINE_RECORD_ENABLED", "true"), ("SIGHTLINE_RECORD_SEGMENT", "2s")];
    let mut known = Known::new();
    let mut lost = BTreeMap::<usize, usize>::new();
    let mut server = Server::start(state.path(), &settings);
    for round in 0..rounds {
        let cameras: Vec<_> = (0..CAMERAS)
            .map(|number| (camera(number), pictures(round, number)))
            .collect();
        let machine = Machine::watch();
        let publishing = Cameras::start(server.rtsp_port, &cameras);
        std::thread::sleep(Duration::from_millis(random.u64(KILLED_AFTER_MS)));
        let killed = Instant::now();
        server.process.kill();
        let sent = publishing.sent();
        let kept = machine.kept();
        drop((publishing, machine));
        if round % 3 == 0 {
            let mut begun = Server::begin(state.path(), &settings);
            std::thread::sleep(Duration::from_millis(random.u64(KILLED_STARTING_MS)));
            begun.kill();
        }
        server = Server::start(state.path(), &settings);
        let rows = settled(state.path(), &root, || tell_index(&server));
        let before: BTreeSet<u64> = known.values().map(|file| file.head.run).collect();
        let new = look(&mut known, &rows);
        let is_other = |path: &PathBuf| !before.contains(&known[path].head.run);
        assert!(
            new.iter().all(is_other),
            "round {round}: a run has the number of one before"
        );
        for (name, settings) in &cameras {
            let mut of_camera: Vec<_> = new.iter().map(|path| &known[path]).collect();
            of_camera.retain(|file| file.head.camera == *name);
            of_camera.sort_by_key(|file| file.head.start);
            let recorded: Vec<u8> = of_camera.iter().flat_map(|file| &file.pictures).copied().collect();
            let pictures = found(&recorded, *settings);
            let duration_90k: u64 = of_camera.iter().map(|file| file.duration_90k).sum();
            assert_eq!(duration_90k, pictures.len() as u64 * FRAME_90K, "round {round}, {name}");
            // A fragment is whole when the picture behind it is there.
            let whole = |by: Instant| sent.partition_point(|at| *at < by).saturating_sub(1) / FRAGMENT_FRAMES;
            let fragments = pictures.end / FRAGMENT_FRAMES;
            *lost.entry(whole(killed).saturating_sub(fragments)).or_default() += 1;
            // The first that a recorder sees is that of the newest keyframe.
            let is_in_time = pictures.is_empty() || sent[pictures.start] <= sent[0] + ON_THE_WAY + kept;
            assert!(
                is_in_time && fragments >= whole(killed - ON_THE_WAY - kept) && pictures.end <= sent.len(),
                "round {round}, {name}: {pictures:?} are recorded of {} that were sent; the machine kept {kept:?}",
                sent.len()
            );
        }
        // Of one: who asks is a program that is started for it.
        ask(&server, &rows, &camera(round as u64 % CAMERAS));
    }
    println!("whole fragments that were sent and are not there, and of how many: {lost:?}");
    server.end();
    let rows = settled(state.path(), &root, || true);
    for path in rows.keys() {
        let again = Recording::read(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        assert_eq!((again.crc, again.bytes), (known[path].crc, known[path].bytes));
    }
    assert_eq!(rows.len(), known.len());
    assert_eq!(files(&root).len(), known.len());
    println!("{} files, each as it was when it was found", known.len());
}
