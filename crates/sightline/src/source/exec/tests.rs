//! Programs as sources, good ones and bad.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::annexb;
use media::hub::{Hub, Limits};
use testkit::stream::{Settings as VideoSettings, Video};

use crate::clock::SystemClock;
use crate::events::Events;
use crate::random;
use crate::shutdown::{self, Trigger};
use crate::source::tests::{clock, name, until};
use crate::source::{State, Supervisor, Trouble, Why, World};
use media::Clock as _;

/// A folder with a script, and who runs it as the source of `door`.
struct Running {
    folder: tempfile::TempDir,
    supervisor: Arc<Supervisor>,
    hub: Hub,
    stop: Trigger,
}

impl Running {
    /// `script` is for `sh`; `$0` there is a folder with `clip.h264`.
    fn start(script: &str, on_demand: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_clip(&folder.path().join("clip.h264"));
        let file = folder.path().join("script");
        std::fs::write(&file, format!("F={}\n{script}", folder.path().display())).unwrap();
        Self::of(folder, &format!("sh {}", file.display()), on_demand)
    }

    fn of(folder: tempfile::TempDir, command: &str, on_demand: bool) -> Self {
        let hub = Hub::new(Limits::default());
        let world = World {
            hub: hub.clone(),
            clock: clock(),
            random: random::bits,
            soon: Vec::new(),
            lowers: Arc::default(),
            events: Events::new(&hub, clock()),
        };
        let (stop, stopped) = shutdown::channel();
        let supervisor = Supervisor::new(world, stopped);
        let table = format!("source = {:?}\non_demand = {on_demand}", format!("exec:{command}"));
        supervisor.set(&BTreeMap::from([(
            "door".parse().unwrap(),
            toml::from_str(&table).unwrap(),
        )]));
        Self {
            folder,
            supervisor,
            hub,
            stop,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn state(&self) -> State {
        self.supervisor.reports()[0].state.clone()
    }

    fn frames(&self) -> u64 {
        let stream = self.hub.stream(&name("door"), SystemClock.now()).ok();
        let publisher = stream.and_then(|stream| stream.publisher());
        publisher.map_or(0, |stats| stats.frames.get())
    }

    async fn why(&self) -> Why {
        let mut found = None;
        until("it fails", || {
            if let State::Waiting { why, .. } | State::Failed(why) = self.state() {
                found = Some(why);
            }
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Processes whose number the script wrote to a file of that name.
    fn pid(&self, name: &str) -> Option<u32> {
        std::fs::read_to_string(self.file(name)).ok()?.trim().parse().ok()
    }
}

/// A second of pictures as a byte stream.
fn write_clip(path: &Path) {
    let mut video = Video::new(VideoSettings {
        gop_frames: 10,
        ..VideoSettings::default()
    });
    let mut bytes = Vec::new();
    for _ in 0..30 {
        annexb::frame_to_annex_b(&video.next_frame(SystemClock.wall()), &mut bytes);
    }
    std::fs::write(path, bytes).unwrap();
}

/// Neither there nor a zombie.
fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
}

const FILM: &str = "while cat $F/clip.h264; do sleep 0.2; done";

#[tokio::test]
async fn what_it_writes_is_the_stream() {
    let running = Running::start(FILM, false);
    running.supervisor.find(&name("door")).await.unwrap();
    until("frames", || running.frames() > 50).await;
    assert!(matches!(running.state(), State::Running { .. }));
    let report = &running.supervisor.reports()[0];
    assert_eq!(report.places, ["exec:sh …"]);
}

#[tokio::test]
async fn on_demand_it_runs_only_while_somebody_wants_it_and_ends_with_all_it_started() {
    let script = format!("echo $$ >$F/sh; sleep 1000 & echo $! >$F/child; {FILM}");
    let running = Running::start(&script, true);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(running.pid("sh").is_none(), "not before somebody wants it");
    running.supervisor.find(&name("door")).await.unwrap();
    let (sh, child) = (running.pid("sh").unwrap(), running.pid("child").unwrap());
    assert!(!is_gone(sh) && !is_gone(child));
    until("idle", || running.state() == State::Idle).await;
    until("gone", || is_gone(sh) && is_gone(child)).await;
    running.supervisor.find(&name("door")).await.unwrap();
    assert_ne!(running.pid("sh"), Some(sh), "another one");
}

#[tokio::test]
async fn it_is_told_the_query_of_who_was_the_first_to_want_it() {
    let running = Running::start(&format!("echo $MTX_PATH $MTX_QUERY >$F/told; {FILM}"), true);
    let told = || std::fs::read_to_string(running.file("told")).unwrap_or_default();
    let door = name("door");
    let find = |query| running.supervisor.find_for(&door, query);
    find(Some("cut=1&token=canary&to=a b")).await.unwrap();
    assert_eq!(told(), "door cut%3D1%26to%3Da%20b\n");
    find(Some("cut=2")).await.unwrap();
    until("idle", || running.state() == State::Idle).await;
    assert_eq!(told(), "door cut%3D1%26to%3Da%20b\n", "it ran already");
    find(None).await.unwrap();
    assert_eq!(told(), "door\n");
}

#[tokio::test]
async fn one_that_is_killed_comes_back() {
    let running = Running::start(&format!("echo $$ >$F/sh; {FILM}"), false);
    running.supervisor.find(&name("door")).await.unwrap();
    let pid = running.pid("sh").unwrap();
    std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()
        .unwrap();
    let why = running.why().await;
    assert_eq!(
        (why.trouble, &*why.detail),
        (Trouble::Ended, "sh ended, killed by signal 9")
    );
    until("back", || {
        matches!(running.state(), State::Running { .. }) && running.pid("sh") != Some(pid)
    })
    .await;
}

#[tokio::test]
async fn one_that_heeds_no_signal_is_killed_within_two_seconds_and_a_half() {
    let script = "trap '' INT TERM; echo $$ >$F/sh; while :; do cat $F/clip.h264; sleep 0.2; done";
    let running = Running::start(script, false);
    running.supervisor.find(&name("door")).await.unwrap();
    let pid = running.pid("sh").unwrap();
    let begun = Instant::now();
    running.supervisor.set(&BTreeMap::new());
    until("gone", || is_gone(pid)).await;
    assert!(
        (1_900..4_000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn when_we_end_it_is_not_waited_for_long() {
    let script = "trap '' INT TERM; echo $$ >$F/sh; while :; do cat $F/clip.h264; sleep 0.2; done";
    let running = Running::start(script, false);
    running.supervisor.find(&name("door")).await.unwrap();
    let pid = running.pid("sh").unwrap();
    let begun = Instant::now();
    running.stop.request();
    Arc::clone(&running.supervisor).run().await;
    // Else two seconds and more.
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    until("gone", || is_gone(pid)).await;
}

#[tokio::test]
async fn its_last_words_are_the_reason_without_passwords() {
    let script =
        "yes 'a line of a flood' | head -n 200000 >&2; echo 'Error opening rtsp://u:canary@h/x: refused' >&2; exit 3";
    let running = Running::start(script, false);
    let why = running.why().await;
    assert_eq!(
        &*why.detail,
        "sh ended, exit code 3: Error opening rtsp://***@h/x: refused"
    );
    assert_eq!(why.trouble, Trouble::Ended);
}

#[tokio::test]
async fn one_that_floods_its_messages_is_heard_all_the_same() {
    let script = format!("yes 'a line of a flood' >&2 & {FILM}");
    let running = Running::start(&script, false);
    running.supervisor.find(&name("door")).await.unwrap();
    until("frames", || running.frames() > 50).await;
}

#[tokio::test]
async fn what_is_no_video_is_refused() {
    let running = Running::start("head -c 100000 /dev/zero; sleep 1000", false);
    let why = running.why().await;
    assert_eq!(why.trouble, Trouble::Unusable);
    assert!(why.detail.contains("not H.264 or H.265 as a byte stream"), "{why:?}");
    let running = Running::start("printf '\\0\\0\\0\\040ftypisom'; sleep 1000", false);
    let why = running.why().await;
    assert!(why.detail.contains("an MP4 file, not H.264"), "{why:?}");
}

#[tokio::test]
async fn one_that_is_not_there_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::of(folder, "no-such-program-at-all --secret canary", false);
    let why = running.why().await;
    assert_eq!(
        (why.trouble, &*why.detail),
        (
            Trouble::Program,
            "there is no program no-such-program-at-all; install it, or write its whole path"
        )
    );
    let State::Waiting { until, .. } = running.state() else {
        panic!("{:?}", running.state())
    };
    assert!(
        until > SystemClock.now() + Duration::from_secs(15),
        "a person has to mend it"
    );
}

#[test]
fn h264_and_h265_are_told_apart() {
    use super::annexb::Cutter;
    let mut video = Video::new(VideoSettings::default());
    let mut bytes = Vec::new();
    for _ in 0..3 {
        annexb::frame_to_annex_b(&video.next_frame(SystemClock.wall()), &mut bytes);
    }
    // In any pieces, and the last picture by the silence behind it.
    for size in [1, 7, bytes.len()] {
        let mut cutter = Cutter::default();
        let now = Instant::now();
        for piece in bytes.chunks(size) {
            cutter.push(piece, now).unwrap();
        }
        cutter.pause(now);
        let units: Vec<_> = std::iter::from_fn(|| cutter.pop()).collect();
        assert_eq!(units.len(), 3, "in pieces of {size}");
        assert!(units[0].0.keyframe && units[0].0.format.codec() == media::track::Codec::H264);
    }
    let mut cutter = Cutter::default();
    assert!(cutter.push(&[0x5A; 5_000], Instant::now()).is_err());
}
