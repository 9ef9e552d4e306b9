//! Commands that really run.

use std::path::Path;
use std::sync::Arc;

use media::hub::{Limits, Origin, Publisher, Publishing};
use media::stats::{SessionInfo, SessionStats};
use testkit::stream::Video;

use super::*;
use crate::clock::SystemClock;
use crate::config::{Wanted, load};
use crate::events::Events;
use crate::http;

const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    folder: tempfile::TempDir,
    hub: Hub,
    events: Arc<Events>,
    hooks: tokio::task::JoinHandle<()>,
    live: Arc<Live>,
}

impl World {
    /// With this in the table of `table`; `DIR` is a folder for what commands write.
    fn new(table: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sightline.toml");
        let text = text.replace("DIR", folder.path().to_str().unwrap());
        std::fs::write(&file, format!("[stream.\"{table}\"]\n{text}\n")).unwrap();
        let loaded = load(&Wanted {
            file: Some(file),
            ..Wanted::default()
        });
        let live = Live::new(loaded.unwrap());
        let (hub, clock) = (Hub::new(Limits::default()), Arc::new(SystemClock));
        let events = Events::new(&hub, clock.clone());
        let hooks = Hooks::new(Arc::clone(&live), hub.clone(), clock, 8_554);
        let hooks = tokio::spawn(hooks.run(events.listen(None)));
        Self {
            folder,
            hub,
            events,
            hooks,
            live,
        }
    }

    fn stats(name: &StreamName, role: Role) -> Arc<SessionStats> {
        let stats = SessionStats::new(SessionInfo {
            stream: name.clone(),
            role,
            protocol: "RTSP/TCP",
            remote: None,
            agent: None,
            since: SystemClock.wall(),
        });
        let _ = stats.query.set("cut=1&to=~/".into());
        stats.leash.tie(|| true);
        Arc::new(stats)
    }

    fn publish(&self, name: &str) -> Publisher {
        let name: StreamName = name.parse().unwrap();
        let mut video = Video::new(testkit::stream::Settings::default());
        let publishing = Publishing {
            stats: Self::stats(&name, Role::Publisher),
            origin: Origin::Remote,
            keyframe_requests: None,
        };
        let now = SystemClock.now();
        let mut publisher = self.hub.publish(&name, vec![video.track()], publishing, now).unwrap();
        publisher.publish(video.next_frame(SystemClock.wall()), now).unwrap();
        publisher
    }

    fn publisher_id(&self, name: &str) -> u64 {
        let stream = self.hub.stream(&name.parse().unwrap(), SystemClock.now()).unwrap();
        stream.publisher().unwrap().id.get()
    }

    /// What a command has written, once it is this many lines.
    async fn lines(&self, file: &str, count: usize) -> Vec<String> {
        let path = self.folder.path().join(file);
        let reading = async {
            loop {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<String> = text.lines().map(str::to_owned).collect();
                if lines.len() >= count {
                    return lines;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        read.unwrap_or_else(|_| panic!("{file} has not {count} lines: {:?}", std::fs::read_to_string(&path)))
    }

    async fn end(self) -> tempfile::TempDir {
        self.events.end();
        tokio::time::timeout(PATIENCE, self.hooks).await.unwrap().unwrap();
        self.folder
    }
}

fn is_running(pid: &str) -> bool {
    // A zombie is not: nobody may have asked yet how it ended.
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn gone(pid: &str) {
    let waiting = async {
        while is_running(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("{pid} still runs"));
}

#[tokio::test]
async fn a_command_lasts_as_long_as_the_stream_and_takes_its_children_along() {
    let world = World::new(
        "~^floor(.)/(.+)$",
        "run_on_available = \"sh -c 'sleep 1000 & echo $! >> DIR/child; echo $MTX_PATH $1 $2 $MTX_SOURCE_TYPE $RTSP_PORT >> DIR/up; wait' x $G1 $2\"
run_on_unavailable = \"sh -c 'echo gone $MTX_PATH $EVENT_KIND $MTX_SOURCE_TYPE $MTX_QUERY >> DIR/down'\"",
    );
    let publisher = world.publish("floor3/cam");
    assert_eq!(world.lines("up", 1).await, ["floor3/cam 3 cam rtspSession 8554"]);
    let child = world.lines("child", 1).await.remove(0);
    assert!(is_running(&child));
    let other = world.publish("elsewhere");
    drop((publisher, other));
    world.hub.end_all();
    assert_eq!(
        world.lines("down", 1).await,
        ["gone floor3/cam stream.unavailable rtspSession cut%3D1%26to%3D~%2F"]
    );
    gone(&child).await;
    world.end().await;
}

/// All of it before the commands' task has looked: there is one thread.
#[tokio::test]
async fn the_end_of_a_stream_is_told_with_who_gave_it_and_not_with_who_came_next() {
    let world = World::new(
        "door",
        "run_on_unavailable = \"sh -c 'echo $MTX_SOURCE_TYPE $MTX_SOURCE_ID >> DIR/down'\"",
    );
    let mut ids = Vec::new();
    for round in 1..=2 {
        let first = world.publish("door");
        ids.push(world.publisher_id("door"));
        drop(first);
        world.hub.end_all();
        let second = world.publish("door");
        ids.push(world.publisher_id("door"));
        drop(second);
        world.hub.end_all();
        let down = world.lines("down", 2 * round).await;
        assert_eq!(down.len(), 2 * round);
    }
    let mut down = world.lines("down", 4).await;
    down.sort();
    let mut expected: Vec<_> = ids
        .iter()
        .map(|id| format!("rtspSession {}", http::uuid(*id)))
        .collect();
    expected.sort();
    assert_eq!(down, expected);
    world.end().await;
}

#[tokio::test]
async fn each_viewer_has_its_commands_and_the_end_of_the_program_ends_them() {
    let world = World::new(
        "door",
        "run_on_read = \"sh -c 'echo $MTX_READER_TYPE $MTX_READER_ID $$ $MTX_QUERY >> DIR/read; exec sleep 1000'\"
run_on_unread = \"sh -c 'echo $EVENT_JSON >> DIR/unread'\"",
    );
    let _publisher = world.publish("door");
    let stream = world.hub.stream(&"door".parse().unwrap(), SystemClock.now()).unwrap();
    let viewing = [1, 2].map(|_| stream.add_viewer(World::stats(stream.name(), Role::Viewer)).unwrap());
    let lines = world.lines("read", 2).await;
    let pids: Vec<String> = lines
        .iter()
        .map(|line| line.split(' ').nth(2).unwrap().to_owned())
        .collect();
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("rtspSession 00000000-0000-4000-8000-00000000000")),
        "{lines:?}"
    );
    let [first, second] = viewing;
    drop(first);
    let unread = world.lines("unread", 1).await;
    assert!(unread[0].contains("viewer.left"), "{unread:?}");
    let one_left = async {
        while pids.iter().filter(|pid| is_running(pid)).count() != 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, one_left)
        .await
        .expect("the other's goes on");
    world.end().await;
    for pid in &pids {
        gone(pid).await;
    }
    drop(second);
}

/// What peers say stays inside of the argument it was put into.
#[tokio::test]
async fn one_argument_stays_one() {
    let world = World::new(
        "~^(.+)$",
        "run_on_available = \"sh -c 'echo $# >> DIR/count' x a=$MTX_PATH $EVENT_JSON $NOT_SET\"",
    );
    let _publisher = world.publish("a-b.c~d");
    assert_eq!(world.lines("count", 1).await, ["3"]);
    world.end().await;
}

#[tokio::test]
async fn commands_are_limited() {
    let world = World::new(
        "~^(.+)$",
        "run_on_available = \"sh -c 'echo $MTX_PATH >> DIR/up; exec sleep 1000'\"",
    );
    let publishers: Vec<_> = (0..MOST + 5)
        .map(|number| world.publish(&format!("s{number}")))
        .collect();
    world.lines("up", MOST).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.lines("up", MOST).await.len(), MOST);
    drop(publishers);
    world.end().await;
}

/// Whether the stream is there or not; another command takes the place of the one before.
#[tokio::test]
async fn a_command_lasts_as_long_as_its_table() {
    let world = World::new(
        "door",
        "run_on_start = \"sh -c 'echo $MTX_PATH $RTSP_PORT $$ >> DIR/up; exec sleep 1000'\"",
    );
    let first = world.lines("up", 1).await.remove(0);
    let pid = first.strip_prefix("door 8554 ").unwrap();
    assert!(is_running(pid));
    let file = world.folder.path().join("sightline.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}always_available = true\n")).unwrap();
    world.live.reread(&crate::config::live::Who::File);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(is_running(pid), "another key is no reason to start it again");
    std::fs::write(&file, text.replace("echo", "echo again")).unwrap();
    world.live.reread(&crate::config::live::Who::File);
    let second = world.lines("up", 2).await.remove(1);
    let other = second.strip_prefix("again door 8554 ").unwrap();
    gone(pid).await;
    assert!(is_running(other));
    std::fs::write(&file, "").unwrap();
    world.live.reread(&crate::config::live::Who::File);
    gone(other).await;
    world.end().await;
}

#[tokio::test]
async fn a_command_is_run_when_a_source_is_not_needed_any_more() {
    let world = World::new(
        "door",
        "run_on_undemand = \"sh -c 'echo $MTX_PATH $EVENT_KIND $MTX_QUERY >> DIR/over'\"",
    );
    let source = |state| {
        What::Source(Box::new(crate::events::Source {
            stream: "door".parse().unwrap(),
            state,
            url: String::new(),
            why: None,
            query: Some("a=1".into()),
        }))
    };
    for state in ["connecting", "running", "waiting", "idle"] {
        world.events.tell(source(state));
    }
    assert_eq!(world.lines("over", 1).await, ["door source.changed a%3D1"]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.lines("over", 1).await.len(), 1);
    world.end().await;
}

fn connection(world: &World, id: u64) -> (crate::events::Connection, Arc<()>) {
    let alive = Arc::new(());
    let connection = crate::events::Connection {
        id,
        protocol: "RTSPS",
        remote: ([192, 0, 2, 1], 5_000).into(),
        alive: Arc::downgrade(&alive),
    };
    world.events.tell(What::Opened(connection.clone()));
    (connection, alive)
}

fn over(world: &World, connection: crate::events::Connection) {
    world.events.tell(What::Closed(Box::new(crate::events::Closed {
        connection,
        since: SystemClock.wall(),
        reason: Some("the peer closed the connection".to_owned()),
    })));
}

#[tokio::test]
async fn a_command_lasts_as_long_as_a_connection() {
    let world = World::new(
        "door",
        "[server]
run_on_connect = \"sh -c 'echo $MTX_CONN_TYPE $MTX_CONN_ID $RTSP_PORT $$ >> DIR/up; exec sleep 1000'\"
run_on_disconnect = \"sh -c 'echo $MTX_CONN_TYPE $MTX_CONN_ID $EVENT_KIND >> DIR/down'\"",
    );
    let (first, _alive) = connection(&world, 7);
    let up = world.lines("up", 1).await.remove(0);
    let pid = up
        .strip_prefix("rtspsConn 00000000-0000-4000-8000-000000000007 8554 ")
        .unwrap_or_else(|| panic!("{up}"));
    assert!(is_running(pid));
    over(&world, first);
    let down = world.lines("down", 1).await;
    assert_eq!(
        down,
        ["rtspsConn 00000000-0000-4000-8000-000000000007 connection.closed"]
    );
    gone(pid).await;
    world.end().await;
}

/// Who only connects is not known, and does not keep commands of streams from being run.
#[tokio::test]
async fn commands_of_connections_leave_room_for_those_of_streams() {
    let world = World::new(
        "door",
        "run_on_available = \"sh -c 'echo $MTX_PATH >> DIR/door'\"
[server]
run_on_connect = \"sh -c 'echo $MTX_CONN_ID >> DIR/up; exec sleep 1000'\"",
    );
    let open: Vec<_> = (0..2 * MOST as u64).map(|id| connection(&world, id)).collect();
    world.lines("up", connections::MOST).await;
    let _publisher = world.publish("door");
    assert_eq!(world.lines("door", 1).await, ["door"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.lines("up", connections::MOST).await.len(), connections::MOST);
    drop(open);
    world.end().await;
}

/// As many lasting commands as may be: the end of a connection is told all the same, just then.
#[tokio::test]
async fn the_end_of_a_connection_is_told_while_commands_of_others_last() {
    let world = World::new(
        "door",
        "[server]
run_on_connect = \"sh -c 'echo $MTX_CONN_ID >> DIR/up; exec sleep 1000'\"
run_on_disconnect = \"sh -c 'echo $MTX_CONN_ID >> DIR/down; exec sleep 1000'\"",
    );
    let mut open: Vec<_> = (1..=2 * connections::MOST as u64)
        .map(|id| connection(&world, id))
        .collect();
    world.lines("up", connections::MOST).await;
    let (first, _) = open.remove(0);
    over(&world, first);
    assert_eq!(world.lines("down", 1).await, ["00000000-0000-4000-8000-000000000001"]);
    for (connection, _) in open {
        over(&world, connection);
    }
    world.lines("down", connections::MOST).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        world.lines("down", 1).await.len(),
        connections::MOST,
        "they have a limit, too"
    );
    world.end().await;
}

/// More happened than is kept: the end of a connection may have been among it.
#[tokio::test]
async fn a_connection_whose_end_is_missed_keeps_no_command() {
    let world = World::new(
        "door",
        "[server]\nrun_on_connect = \"sh -c 'echo $$ >> DIR/up; exec sleep 1000'\"",
    );
    let (first, first_alive) = connection(&world, 1);
    let (_second, _alive) = connection(&world, 2);
    let pids = world.lines("up", 2).await;
    over(&world, first.clone());
    drop(first_alive);
    // Nobody else runs meanwhile: there is one thread.
    let other = crate::events::Connection { id: 3, ..first };
    for _ in 0..=crate::events::KEPT_OF_CONNECTIONS {
        over(&world, other.clone());
    }
    let one_left = async {
        while pids.iter().filter(|pid| is_running(pid)).count() != 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, one_left).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(pids.iter().filter(|pid| is_running(pid)).count(), 1);
    world.end().await;
}
