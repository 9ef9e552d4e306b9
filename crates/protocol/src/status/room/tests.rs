//! A room over simulated time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};

use media::Clock as _;
use proptest::prelude::*;
use serde_json::Value;
use testkit::clock::SimClock;

use super::*;

struct World {
    room: Room,
    start: Instant,
    now_ms: u64,
}

/// Counts how often it was woken.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn member(name: &str, rights: &'static [Right]) -> Member {
    Member {
        name: name.to_owned(),
        camera: None,
        hears_cameras: true,
        permit: Box::new(|right, _| rights.contains(&right)),
    }
}

const ALL: &[Right] = &[Right::View, Right::Publish, Right::Operate];

impl World {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self {
            room: Room::new(config),
            start: SimClock::new().now(),
            now_ms: 0,
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.now_ms)
    }

    fn join(&mut self, rights: &'static [Right]) -> ClientId {
        self.room.join(member("viewer", rights), self.now()).unwrap()
    }

    fn text(&mut self, id: ClientId, text: &str) -> Option<Effect> {
        let wall = WallTime::from_unix_micros(1_704_067_200_000_000);
        self.room.said_text(id, text, self.now(), wall)
    }

    fn status(&mut self, id: ClientId, status: &CameraStatus) {
        let bytes = status.write();
        self.room.said_binary(id, &bytes, self.now());
    }

    fn next(&mut self, id: ClientId) -> Option<Out> {
        match self.room.poll_next(id, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(out) => out,
            Poll::Pending => None,
        }
    }

    /// Everything that waits for a client: types of texts with what tells them apart.
    fn heard(&mut self, id: ClientId) -> Vec<String> {
        let mut heard = Vec::new();
        while let Some(out) = self.next(id) {
            heard.push(match out {
                Out::Text(text) => {
                    let value: Value = serde_json::from_slice(&text).unwrap();
                    let says = |name: &str| {
                        value
                            .get(name)
                            .map(|value| format!(" {value}").replace('"', ""))
                            .unwrap_or_default()
                    };
                    let kind = value["type"].as_str().unwrap().to_owned();
                    ["camera", "isConnected", "fps", "of", "text", "from"]
                        .iter()
                        .fold(kind, |text, name| text + &says(name))
                }
                Out::Command(bytes) => format!("{:?}", CameraCommand::read(&bytes).unwrap().command.unwrap()),
                Out::Pong(echo) => super::super::pong(&echo, WallTime::from_unix_micros(5)),
            });
        }
        heard
    }
}

fn connected(camera: &str) -> CameraStatus {
    CameraStatus {
        is_connected: true,
        camera_name: camera.to_owned(),
        ..CameraStatus::default()
    }
}

fn with_fps(fps: f32) -> CameraStatus {
    CameraStatus {
        is_connected: true,
        fps,
        ..CameraStatus::default()
    }
}

#[test]
fn a_status_reaches_everybody_but_who_said_it() {
    let mut world = World::new();
    let [publisher, one, two] = [0; 3].map(|_| world.join(ALL));
    world.room.said_binary(publisher, b"\x08\x01", world.now());
    assert_eq!(world.heard(publisher), [""; 0]);
    for id in [one, two] {
        assert_eq!(world.heard(id), ["connection_status zerolatency true"]);
    }
    world.status(publisher, &with_fps(29.5));
    let expected = [
        "connection_status zerolatency true",
        "camera_metrics zerolatency true 29.5",
    ];
    assert_eq!(world.heard(one), expected);
    world.room.said_binary(publisher, b"", world.now());
    assert_eq!(world.heard(one), ["connection_status zerolatency false"]);
}

#[test]
fn who_comes_later_is_told_of_each_camera() {
    let mut world = World::new();
    let publisher = world.join(ALL);
    world.status(publisher, &connected("a/b"));
    world.status(publisher, &with_fps(25.0));
    world.room.said_binary(publisher, b"\x08\x01", world.now());
    let late = world.join(ALL);
    // The last metrics stay, whatever came after them.
    let expected = [
        "connection_status a/b true",
        "camera_metrics a/b true 0.0",
        "connection_status zerolatency true",
        "camera_metrics zerolatency true 25.0",
    ];
    assert_eq!(world.heard(late), expected);
}

#[test]
fn a_camera_is_named_by_field_11_or_by_the_address_or_is_the_default() {
    let mut world = World::new();
    let viewer = world.join(ALL);
    let mut garden = member("publisher", ALL);
    garden.camera = Some("garden".parse().unwrap());
    let publisher = world.room.join(garden, world.now()).unwrap();
    world.status(publisher, &CameraStatus::default());
    world.status(publisher, &connected("door"));
    let heard = world.heard(viewer);
    assert_eq!(
        heard[..2],
        ["connection_status garden false", "connection_status door true"]
    );
    world.status(publisher, &connected("../etc"));
    assert_eq!(world.heard(viewer), [""; 0]);
    assert_eq!(world.heard(publisher), ["error status"]);
}

#[test]
fn a_camera_whose_socket_is_gone_is_lost_within_five_seconds() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(ALL), world.join(ALL));
    world.status(publisher, &connected(""));
    world.heard(viewer);
    world.now_ms = 500;
    world.room.leave(publisher, world.now());
    let next = world.room.poll(world.now()).unwrap();
    assert_eq!(
        next,
        world.start + Duration::from_secs(2),
        "two seconds after its last word"
    );
    world.now_ms = 1_999;
    world.room.poll(world.now());
    assert_eq!(world.heard(viewer), [""; 0]);
    world.now_ms = 2_000;
    assert_eq!(world.room.poll(world.now()), None);
    assert_eq!(world.heard(viewer), ["connection_status zerolatency false"]);
    let late = world.join(ALL);
    assert_eq!(world.heard(late)[0], "connection_status zerolatency false");
}

#[test]
fn a_publisher_that_is_back_in_time_was_never_gone() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(ALL), world.join(ALL));
    world.status(publisher, &connected(""));
    world.room.leave(publisher, world.now());
    world.now_ms = 1_000;
    let again = world.join(ALL);
    world.status(again, &connected(""));
    world.now_ms = 10_000;
    world.room.poll(world.now());
    assert!(
        !world
            .heard(viewer)
            .contains(&"connection_status zerolatency false".to_owned())
    );
    assert!(world.room.is_speaker(again));
}

#[test]
fn one_that_said_it_is_not_connected_is_not_lost_again() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(ALL), world.join(ALL));
    world.status(publisher, &CameraStatus::default());
    world.heard(viewer);
    world.room.leave(publisher, world.now());
    assert_eq!(world.room.poll(world.now()), None);
}

#[test]
fn a_slow_reader_keeps_the_newest_and_the_others_everything() {
    let mut world = World::new();
    let (publisher, slow, quick) = (world.join(ALL), world.join(ALL), world.join(ALL));
    let mut heard = 0;
    for number in 1..=200 {
        world.now_ms += 33;
        world.status(publisher, &with_fps(number as f32));
        heard += world.heard(quick).len();
    }
    assert_eq!(heard, 400);
    let kept = world.heard(slow);
    assert_eq!(kept.len(), 60);
    assert_eq!(kept[59], "camera_metrics zerolatency true 200.0");
    assert_eq!(world.room.totals().dropped, 340);
    world.room.leave(slow, world.now());
    assert_eq!(world.room.totals().dropped, 340, "counted for ever");
}

#[test]
fn clients_are_woken_together_and_not_for_every_word() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(ALL), world.join(ALL));
    let counting = Arc::new(Counting::default());
    let waker = Waker::from(Arc::clone(&counting));
    let read = |world: &mut World| {
        while world
            .room
            .poll_next(viewer, &mut Context::from_waker(&waker))
            .is_ready()
        {}
    };
    read(&mut world);
    let mut wakes = Vec::new();
    for _ in 0..60 {
        world.now_ms += 33;
        world.status(publisher, &with_fps(30.0));
        world.room.poll(world.now());
        let woken = counting.0.swap(0, Relaxed);
        if woken > 0 {
            read(&mut world);
        }
        wakes.push(woken);
    }
    assert_eq!(wakes[0], 1, "the first at once");
    assert!(wakes.iter().all(|woken| *woken <= 1));
    let all: usize = wakes.iter().sum();
    assert!(
        (15..=21).contains(&all),
        "60 statuses in two seconds, {all} times woken"
    );
}

#[test]
fn words_that_wait_for_the_beat_are_not_forgotten() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(ALL), world.join(ALL));
    let counting = Arc::new(Counting::default());
    let waker = Waker::from(Arc::clone(&counting));
    world.status(publisher, &with_fps(1.0));
    while world
        .room
        .poll_next(viewer, &mut Context::from_waker(&waker))
        .is_ready()
    {}
    world.now_ms = 20;
    world.status(publisher, &with_fps(2.0));
    assert_eq!(counting.0.load(Relaxed), 0);
    let next = world.room.poll(world.now()).unwrap();
    assert_eq!(next, world.start + Duration::from_millis(100));
    world.now_ms = 100;
    assert_eq!(world.room.poll(world.now()), None);
    assert_eq!(counting.0.load(Relaxed), 1);
    // Answers do not wait.
    while world
        .room
        .poll_next(viewer, &mut Context::from_waker(&waker))
        .is_ready()
    {}
    world.now_ms = 101;
    let _ = world.text(viewer, r#"{"type":"ping"}"#);
    assert_eq!(counting.0.load(Relaxed), 2);
    assert_eq!(world.heard(viewer), [r#"{"type":"pong","client":null,"server_us":5}"#]);
}

#[test]
fn many_cameras_at_once_do_not_fill_a_queue_between_two_beats() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(ALL), world.join(ALL));
    let counting = Arc::new(Counting::default());
    let waker = Waker::from(Arc::clone(&counting));
    for number in 0..100 {
        world.status(publisher, &with_fps(number as f32));
        if counting.0.swap(0, Relaxed) > 0 || number == 0 {
            while world
                .room
                .poll_next(viewer, &mut Context::from_waker(&waker))
                .is_ready()
            {}
        }
    }
    assert_eq!(world.room.totals().dropped, 0);
}

#[test]
fn commands_reach_who_speaks_for_the_camera() {
    let mut world = World::new();
    let (publisher, operator) = (world.join(&[Right::Publish]), world.join(ALL));
    world.status(publisher, &connected("door"));
    world.heard(operator);
    let brightness = r#"{"type":"set_brightness","camera":"door","brightness":70}"#;
    assert_eq!(world.text(operator, brightness), None);
    assert_eq!(world.heard(publisher), ["Brightness(70)"]);
    assert_eq!(world.heard(operator), ["ack set_brightness"]);
    let _ = world.text(operator, r#"{"type":"stop_stream"}"#);
    assert_eq!(
        world.heard(operator),
        ["error stop_stream"],
        "nobody speaks for the default camera"
    );
    world.room.leave(publisher, world.now());
    let _ = world.text(operator, brightness);
    assert_eq!(world.heard(operator), ["error set_brightness"]);
}

#[test]
fn commands_for_a_camera_of_this_program_are_handed_out() {
    let mut world = World::new();
    let operator = world.join(ALL);
    let name = StreamName::default_stream();
    world
        .room
        .said_local(name.clone(), &with_fps(30.0), world.now())
        .unwrap();
    assert_eq!(world.heard(operator).len(), 2);
    let effect = world.text(operator, r#"{"type":"request_keyframe"}"#);
    let expected = Effect::Command {
        asker: operator,
        camera: name,
        command: Command::RequestKeyframe(true),
    };
    assert_eq!(effect, Some(expected));
    world.room.answer(operator, "request_keyframe", Ok("done"));
    assert_eq!(world.heard(operator), ["ack request_keyframe"]);
}

#[test]
fn rights_are_asked_at_every_word() {
    let mut world = World::new();
    let (publisher, viewer, other) = (
        world.join(&[Right::Publish]),
        world.join(&[Right::View]),
        world.join(&[Right::Publish]),
    );
    world.status(viewer, &connected(""));
    assert_eq!(world.heard(viewer), ["error status"]);
    world.status(publisher, &connected(""));
    assert_eq!(world.heard(viewer), ["connection_status zerolatency true"]);
    assert_eq!(world.heard(other), [""; 0], "one that may not view hears nothing");
    for (text, of) in [
        (r#"{"type":"stop_stream"}"#, "error stop_stream"),
        (
            r#"{"type":"start_recording","filename":"x.mp4"}"#,
            "error start_recording",
        ),
    ] {
        assert_eq!(world.text(viewer, text), None);
        assert_eq!(world.heard(viewer), [of]);
    }
    let _ = world.text(publisher, r#"{"type":"chat","text":"hello"}"#);
    assert_eq!(world.heard(publisher), ["error chat"]);
    let late = world.join(&[Right::Publish]);
    assert_eq!(world.heard(late), [""; 0]);
}

/// The server does it, whoever speaks for the camera; if it cannot, it passes it on.
#[test]
fn recording_is_handed_out() {
    let mut world = World::new();
    let (operator, publisher) = (world.join(ALL), world.join(&[Right::Publish]));
    world.status(publisher, &connected(""));
    let camera = StreamName::default_stream();
    let effect = |wish| {
        Some(Effect::Recording {
            asker: operator,
            camera: camera.clone(),
            wish,
        })
    };
    let file = Some("a.mp4".to_owned());
    assert_eq!(
        world.text(operator, r#"{"type":"start_recording","filename":"a.mp4"}"#),
        effect(Recording::Start { file })
    );
    assert_eq!(
        world.text(operator, r#"{"type":"stop_recording"}"#),
        effect(Recording::Stop)
    );
    let _ = world.heard(operator);
    let command = Command::StartRecording("a.mp4".to_owned());
    assert_eq!(world.room.command(operator, camera.clone(), command.clone()), None);
    assert_eq!(world.heard(operator), ["ack start_recording"]);
    let sent = CameraCommand { command: Some(command) };
    assert_eq!(world.next(publisher), Some(Out::Command(sent.write().into())));
}

#[test]
fn a_chat_reaches_the_others() {
    let mut world = World::new();
    let (one, two) = (world.join(ALL), world.join(ALL));
    let _ = world.text(one, r#"{"type":"chat","text":"hello"}"#);
    assert_eq!(world.heard(one), ["ack chat"]);
    assert_eq!(world.heard(two), ["chat hello viewer 1"]);
}

#[test]
fn rubbish_is_answered_to_who_sent_it_alone() {
    let mut world = World::new();
    let (bad, good) = (world.join(ALL), world.join(ALL));
    for rubbish in ["", "{", "\u{0}", r#"{"type":"reboot"}"#] {
        let _ = world.text(bad, rubbish);
    }
    world.room.said_binary(bad, b"\xff\xff", world.now());
    assert_eq!(world.heard(bad).len(), 5);
    assert_eq!(world.heard(good), [""; 0]);
    // Answers are answered by nobody.
    let _ = world.text(bad, r#"{"type":"error","of":"x","message":"y"}"#);
    assert_eq!(world.heard(bad), [""; 0]);
}

#[test]
fn limits_hold() {
    let config = Config {
        clients: 2,
        cameras: 3,
        cameras_of_one: 2,
        ..Config::default()
    };
    let mut world = World::with(config);
    let (one, two) = (world.join(ALL), world.join(ALL));
    assert_eq!(world.room.join(member("x", ALL), world.now()), Err(Full(2)));
    world.room.set_clients(3);
    assert!(world.room.join(member("x", ALL), world.now()).is_ok());
    for name in ["a", "b", "c"] {
        world.status(one, &connected(name));
    }
    assert_eq!(world.heard(one), ["error status"], "of the third");
    for name in ["c", "d"] {
        world.status(two, &connected(name));
    }
    assert_eq!(world.heard(two)[0], "error status", "of the fourth known");
    assert_eq!(world.room.totals().cameras, 3);
    // One that is gone makes place.
    world.room.leave(one, world.now());
    world.now_ms = 5_000;
    world.room.poll(world.now());
    world.status(two, &connected("d"));
    assert_eq!(world.room.totals().cameras, 3);
    let one = world.join(ALL);
    let cameras = world.heard(one);
    assert!(cameras.contains(&"connection_status d true".to_owned()), "{cameras:?}");
}

#[test]
fn a_flood_is_not_passed_on() {
    let mut world = World::new();
    let (flood, viewer) = (world.join(ALL), world.join(ALL));
    let mut heard = 0;
    for _ in 0..10_000 {
        world.room.said_binary(flood, b"\x08\x01", world.now());
        heard += world.heard(viewer).len();
    }
    assert_eq!(heard, 300, "three seconds' worth");
    for _ in 0..10_000 {
        let _ = world.text(flood, r#"{"type":"chat","text":"x"}"#);
        heard += world.heard(viewer).len();
    }
    assert_eq!(heard, 360);
    assert_eq!(world.room.totals().unheard, 9_700 + 9_940);
    assert!(world.heard(flood).len() <= 60);
    assert_eq!(world.heard(viewer), [""; 0]);
}

/// What can happen.
#[derive(Clone, Debug)]
enum Step {
    Join,
    Leave(usize),
    Status(usize, bool, u8),
    Text(usize, String),
    Read(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Join),
        1 => (0..6_usize).prop_map(Step::Leave),
        8 => (0..6_usize, any::<bool>(), 0..3_u8).prop_map(|(who, on, camera)| Step::Status(who, on, camera)),
        1 => (0..6_usize, ".{0,9}").prop_map(|(who, text)| Step::Text(who, text)),
        4 => (0..6_usize).prop_map(Step::Read),
        3 => (0..3_000_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..120)
}

/// Who comes later is told what it said last, and that it is not there any more.
#[test]
fn a_camera_that_is_gone_is_not_known_as_connected() {
    let full = CameraStatus {
        is_connected: true,
        cpu_percent: 12.5,
        ..CameraStatus::default()
    };
    let known = |world: &World| {
        let (name, status, heard) = world.room.known().next().unwrap();
        assert_eq!(world.room.known_camera(name), Some((status, heard)));
        (status.is_connected, status.cpu_percent)
    };
    let mut world = World::new();
    let speaker = world.join(ALL);
    world.status(speaker, &full);
    assert_eq!(known(&world), (true, 12.5));
    let bare = |is_connected| CameraStatus {
        is_connected,
        ..CameraStatus::default()
    };
    world.status(speaker, &bare(false));
    assert_eq!(known(&world), (false, 12.5), "it said so");
    world.status(speaker, &bare(true));
    assert_eq!(known(&world), (true, 12.5));
    world.room.leave(speaker, world.now());
    assert_eq!(known(&world), (true, 12.5), "it may come back");
    world.now_ms += 2_000;
    world.room.poll(world.now());
    assert_eq!(known(&world), (false, 12.5));
}

proptest! {
    /// A reader that keeps up hears, of each camera, exactly what the others said of it, in order, and in the end what is true.
    #[test]
    fn what_is_said_is_heard(steps in steps()) {
        let mut world = World::new();
        let watcher = world.join(ALL);
        let mut clients: VecDeque<ClientId> = VecDeque::new();
        let mut said: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        let mut heard: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        for step in steps {
            let pick = |who: usize| clients.get(who % clients.len().max(1)).copied();
            match step {
                Step::Join => clients.push_back(world.join(ALL)),
                Step::Leave(who) => if let Some(id) = pick(who) {
                    world.room.leave(id, world.now());
                    clients.retain(|other| *other != id);
                },
                Step::Status(who, on, camera) => if let Some(id) = pick(who) {
                    let name = format!("cam{camera}");
                    world.status(id, &CameraStatus { is_connected: on, camera_name: name.clone(), ..CameraStatus::default() });
                    said.entry(name).or_default().push(on);
                },
                Step::Text(who, text) => if let Some(id) = pick(who) { let _ = world.text(id, &text); },
                Step::Read(who) => if let Some(id) = pick(who) { let _ = world.heard(id); },
                Step::Wait(ms) => world.now_ms += ms,
            }
            let next = world.room.poll(world.now());
            prop_assert!(next.is_none_or(|next| next > world.now()));
            for word in world.heard(watcher) {
                let words: Vec<&str> = word.split(' ').collect();
                if let ["connection_status", camera, on] = words.as_slice() {
                    heard.entry((*camera).to_owned()).or_default().push(*on == "true");
                }
            }
        }
        for id in clients {
            world.room.leave(id, world.now());
        }
        world.now_ms += 2_000;
        prop_assert_eq!(world.room.poll(world.now()), None);
        for word in world.heard(watcher) {
            let words: Vec<&str> = word.split(' ').collect();
            if let ["connection_status", camera, on] = words.as_slice() {
                heard.entry((*camera).to_owned()).or_default().push(*on == "true");
            }
        }
        for (camera, said) in said {
            let heard = heard.remove(&camera).unwrap_or_default();
            prop_assert_eq!(heard.last(), Some(&false), "all are gone");
            // Between what was said, nothing but losses was heard.
            let mut rest = heard.iter().peekable();
            for word in said {
                while rest.peek() == Some(&&false) && word { rest.next(); }
                prop_assert_eq!(rest.next(), Some(&word));
            }
            prop_assert!(rest.all(|on| !on));
        }
    }
}
