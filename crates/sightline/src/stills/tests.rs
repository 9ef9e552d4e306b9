use std::task::Poll;

use bytes::Bytes;
use media::hub::{Hub, Limits, Publisher};
use media::{Frame, StreamName, Track, TrackIndex};
use testkit::clock::SimClock;
use testkit::publishing::publish;
use testkit::stream::Audio;

use super::*;
use crate::record::library::made::{NOON_US, pictures};

/// A stream of two seconds with a keyframe each second, of which nothing is published yet.
struct World {
    clock: SimClock,
    stills: Stills,
    publisher: Publisher,
    frames: std::vec::IntoIter<Frame>,
}

impl World {
    fn new() -> Self {
        Self::waiting(Duration::from_secs(30), Duration::from_secs(60))
    }

    fn waiting(first: Duration, still: Duration) -> Self {
        let (track, frames) = pictures(3, 25, "320x180");
        let (clock, hub) = (SimClock::new(), Hub::new(Limits::default()));
        let publisher = publish(&hub, &name("door"), vec![track], &clock);
        Self {
            stills: Stills::with(Arc::new(clock.clone()), Patience { first, still }),
            clock,
            publisher,
            frames: frames.into_iter(),
        }
    }

    /// Publishes so many frames at 25 a second.
    fn publish(&mut self, frames: usize) {
        for frame in self.frames.by_ref().take(frames) {
            let now = self.clock.advance_ms(40);
            self.publisher.publish(frame, now).unwrap();
        }
    }

    async fn live(&self, max_width: Option<u16>) -> Result<Still, NoStill> {
        let shape = Shape { max_width, quality: 80 };
        self.stills.live(self.publisher.stream(), shape).await
    }

    fn decoded(&self) -> u64 {
        self.stills.totals().decoded
    }
}

fn name(text: &str) -> StreamName {
    text.parse().unwrap()
}

fn wall_ms(still: &Still) -> i64 {
    (still.wall.unix_micros() - NOON_US) / 1_000
}

#[tokio::test]
async fn a_keyframe_is_decoded_once_for_all_who_ask() {
    let mut world = World::new();
    world.publish(30);
    let asked = (0..40).map(|n| world.live(Some(if n % 2 == 0 { 160 } else { 320 })));
    for (n, still) in futures_util::future::join_all(asked).await.into_iter().enumerate() {
        let still = still.unwrap();
        assert_eq!(still.size, if n % 2 == 0 { (160, 90) } else { (320, 180) });
        assert!(still.jpeg.starts_with(&[0xff, 0xd8]) && still.jpeg.ends_with(&[0xff, 0xd9]));
        // The one of the second second.
        assert_eq!(wall_ms(&still), 1_000);
    }
    assert_eq!((world.decoded(), world.stills.totals().asked), (1, 40));
}

#[tokio::test]
async fn it_serves_for_two_seconds_and_while_there_is_none_newer() {
    let mut world = World::new();
    world.publish(1);
    assert_eq!(wall_ms(&world.live(None).await.unwrap()), 0);
    // A newer one is there, but this one is new enough.
    world.publish(26);
    assert_eq!(wall_ms(&world.live(None).await.unwrap()), 0);
    world.clock.advance_ms(1_000);
    assert_eq!((wall_ms(&world.live(None).await.unwrap()), world.decoded()), (1_000, 2));
    // None newer comes: what is there serves on, in every size.
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(wall_ms(&world.live(None).await.unwrap()), 1_000);
    assert_eq!(
        (wall_ms(&world.live(Some(64)).await.unwrap()), world.decoded()),
        (1_000, 2)
    );
}

/// Pictures of the stream, not of another: FFmpeg sees in the JPEG what it sees in the frame.
#[tokio::test]
async fn it_is_the_picture_of_the_keyframe() {
    let mut world = World::new();
    world.publish(26);
    let still = world.live(None).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (jpeg, raw) = (folder.path().join("a.jpg"), folder.path().join("a.png"));
    std::fs::write(&jpeg, &still.jpeg).unwrap();
    let (jpeg, raw) = (jpeg.to_str().unwrap(), raw.to_str().unwrap());
    let run = crate::record::library::made::ran;
    // As the test made the stream: its second keyframe is picture 25.
    run(
        "ffmpeg",
        &format!("-v error -f lavfi -i testsrc2=size=320x180:rate=25 -vf select=eq(n\\,25) -frames:v 1 {raw}"),
    );
    let told = std::process::Command::new("ffmpeg")
        .args([
            "-i",
            jpeg,
            "-i",
            raw,
            "-lavfi",
            "[0]format=yuv420p[a];[1]format=yuv420p[b];[a][b]psnr",
            "-f",
            "null",
            "-",
        ])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let average = told
        .split("average:")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let psnr: f64 = average.unwrap_or_else(|| panic!("{told}")).parse().unwrap();
    assert!(psnr > 25.0, "{psnr} dB");
}

#[tokio::test]
async fn a_stream_without_a_keyframe_is_waited_for() {
    let mut world = World::new();
    let (stills, stream) = (world.stills.clone(), Arc::clone(world.publisher.stream()));
    let asked = tokio::spawn(async move { stills.live(&stream, Shape::default()).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.publish(1);
    assert_eq!(wall_ms(&asked.await.unwrap().unwrap()), 0);
}

#[tokio::test]
async fn it_is_not_waited_for_ever() {
    let world = World::waiting(Duration::from_millis(50), WITHIN);
    assert_eq!(world.live(None).await, Err(NoStill::NoKeyframe));
    let mut world = World::waiting(FIRST_WITHIN, Duration::from_millis(50));
    world.publish(1);
    let _busy = world.stills.inner.turn.clone().acquire_owned().await.unwrap();
    assert_eq!(world.live(None).await, Err(NoStill::Late));
    assert_eq!(world.stills.inner.places.available_permits(), MAX_WAITING);
}

#[tokio::test]
async fn sound_has_no_pictures() {
    let (clock, hub) = (SimClock::new(), Hub::new(Limits::default()));
    let mut audio = Audio::new(TrackIndex(0), 0);
    let mut publisher = publish(&hub, &name("radio"), vec![audio.track()], &clock);
    publisher.publish(audio.next_frame(clock.wall()), clock.now()).unwrap();
    let stills = Stills::new(Arc::new(clock));
    let still = stills.live(publisher.stream(), Shape::default()).await;
    assert_eq!(still, Err(NoStill::NoPictures));
}

/// A stream that cannot be decoded costs what one does that can.
#[tokio::test]
async fn a_broken_keyframe_is_tried_once() {
    let mut world = World::new();
    let mut broken = world.frames.next().unwrap();
    broken.data = Bytes::from_static(&[0, 0, 0, 2, 0x65, 0xff]);
    world.publisher.publish(broken, world.clock.advance_ms(40)).unwrap();
    let first = world.live(None).await.unwrap_err();
    assert!(matches!(first, NoStill::Decode(_)), "{first}");
    assert_eq!(world.live(Some(64)).await, Err(first));
    let totals = world.stills.totals();
    assert_eq!((totals.asked, totals.decoded, totals.failed), (2, 1, 1));
}

/// What was decoded for somebody who left meanwhile goes as all else does.
#[tokio::test]
async fn who_leaves_leaves_nothing_behind() {
    let mut world = World::new();
    world.publish(1);
    let cache = || world.stills.inner.cache();
    // It is looked at once, which begins it, and not again: most often it is not done by then.
    let mut asked = Box::pin(world.live(None));
    std::future::poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_ready())).await;
    drop(asked);
    while cache().bytes() == 0 || world.stills.inner.turn.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!cache().begins_to_be_swept(), "nobody sweeps");
}

#[tokio::test]
async fn so_many_wait_and_no_more() {
    let mut world = World::new();
    world.publish(1);
    let busy = world.stills.inner.turn.clone().acquire_owned().await.unwrap();
    let asked: Vec<_> = (0..MAX_WAITING)
        .map(|_| {
            let (stills, stream) = (world.stills.clone(), Arc::clone(world.publisher.stream()));
            tokio::spawn(async move { stills.live(&stream, Shape::default()).await })
        })
        .collect();
    while world.stills.inner.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.live(None).await, Err(NoStill::Busy));
    drop(busy);
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    assert_eq!((world.live(None).await.is_ok(), world.decoded()), (true, 1));
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_goes() {
    let (clock, hub) = (SimClock::new(), Hub::new(Limits::default()));
    let (track, frames): (Track, Vec<Frame>) = pictures(1, 25, "320x180");
    let mut cache = Cache::default();
    // 3 MB each.
    let picture = Arc::new(Picture::black(1_920, 1_080).unwrap());
    let publishers: Vec<Publisher> = (0..20)
        .map(|n| {
            let mut publisher = publish(&hub, &name(&format!("door{n}")), vec![track.clone()], &clock);
            publisher.publish(frames[0].clone(), clock.advance_ms(1)).unwrap();
            publisher
        })
        .collect();
    for publisher in &publishers {
        let stream = publisher.stream();
        let keyframe = stream.newest_keyframe().unwrap();
        cache.put(stream, &keyframe, Ok(Arc::clone(&picture)), clock.advance_ms(1));
        assert!(cache.bytes() <= cache::MAX_BYTES);
    }
    let is_there = |cache: &mut Cache, n: usize| cache.picture(publishers[n].stream(), clock.now()).is_some();
    assert!(!is_there(&mut cache, 0) && is_there(&mut cache, 19));
    // Whoever asks in each size there is.
    let shape = |quality| Shape {
        max_width: None,
        quality,
    };
    for quality in 1..=100 {
        let still = Still {
            jpeg: Bytes::from(vec![0; 1_000]),
            wall: clock.wall(),
            size: (1_920, 1_080),
        };
        cache.put_still(&picture, shape(quality), &still);
    }
    let stream = publishers[19].stream();
    let kept = (1..=100).filter(|quality| cache.still(stream, shape(*quality), clock.now()).is_some());
    assert!(kept.count() <= cache::MAX_SHAPES);
    assert!(cache.begins_to_be_swept() && !cache.begins_to_be_swept());
    clock.advance(cache::KEEP - Duration::from_millis(1));
    assert!(cache.sweep(clock.now()) && is_there(&mut cache, 19));
    clock.advance(cache::KEEP);
    assert!(!cache.sweep(clock.now()) && cache.bytes() == 0);
    assert!(cache.begins_to_be_swept());
}

#[cfg(unix)]
#[test]
fn ffmpeg_is_found_by_path() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str, mode: u32| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let program = folder.join("ffmpeg");
        std::fs::write(&program, "").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
        folder
    };
    let (no_program, program) = (place("a", 0o644), place("b", 0o755));
    let path = |folders: &[&Path]| ffmpeg_in(Some(&std::env::join_paths(folders).unwrap()));
    assert_eq!(path(&[&no_program, &program]), Some(program.join("ffmpeg")));
    assert_eq!(path(&[&no_program, Path::new("."), Path::new("/nowhere")]), None);
    assert_eq!(ffmpeg_in(None), None);
}
