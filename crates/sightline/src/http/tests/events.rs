//! Events as listeners read them.

use super::*;
use crate::config::live::{Edit, Step, Who};
use crate::events::{KEPT_OF_CONNECTIONS, What};

/// A connection on which events come.
struct Listening {
    socket: TcpStream,
    said: String,
}

impl Listening {
    async fn start(world: &World, query: &str, fields: &str) -> Self {
        let mut socket = world.connect().await;
        let request = format!("GET /api/v1/events{query} HTTP/1.1\r\nhost: pi.local\r\n{fields}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut listening = Self {
            socket,
            said: String::new(),
        };
        listening.until("retry: 2000\nid: ").await;
        listening
    }

    async fn as_admin(world: &World, query: &str) -> Self {
        Self::start(world, query, "authorization: Bearer a-token").await
    }

    /// Reads until this was said, and gives all that was.
    async fn until(&mut self, word: &str) -> String {
        let mut buffer = [0; 4_096];
        while !self.said.contains(word) {
            let reading = tokio::time::timeout(PATIENCE, self.socket.read(&mut buffer));
            let count = reading
                .await
                .unwrap_or_else(|_| panic!("{word} is not in {}", self.said))
                .unwrap();
            assert!(count > 0, "it ended: {}", self.said);
            self.said.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        self.said.clone()
    }

    /// The kinds of all events so far.
    fn kinds(&self) -> Vec<String> {
        self.events()
            .iter()
            .map(|event| event["kind"].as_str().unwrap().to_owned())
            .collect()
    }

    fn events(&self) -> Vec<Value> {
        let data = self.said.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

#[tokio::test]
async fn an_admin_hears_all_and_a_viewer_no_peers() {
    let world = World::new();
    let mut admin = Listening::as_admin(&world, "").await;
    assert!(
        admin.said.contains("content-type: text/event-stream\r\n"),
        "{}",
        admin.said
    );
    let mut viewer = Listening::start(&world, "", "authorization: Bearer v-token").await;
    let publisher = world.publish("door", None);
    let _ = world.get("/api/v1/streams", &[("authorization", "Bearer wrong")]).await;
    world.shared.streams.events().tell(What::ProgramEnding);
    admin.until("program.ending").await;
    viewer.until("program.ending").await;
    let mine = ["publisher.joined", "stream.available", "viewer.joined"];
    assert_eq!(
        admin.kinds(),
        [&mine[..], &["login.refused", "program.ending"]].concat()
    );
    assert_eq!(viewer.kinds(), [&mine[..], &["program.ending"]].concat());
    let joined = |listening: &Listening| listening.events()[0].clone();
    assert_eq!(joined(&admin)["remote"], "192.0.2.9:6000");
    assert_eq!(joined(&viewer)["protocol"], "RTSP/TCP");
    assert!(
        !viewer.said.contains("192.0.2.9") && !viewer.said.contains("Lavf"),
        "{}",
        viewer.said
    );
    let refused = &admin.events()[3];
    assert_eq!(
        (refused["protocol"].as_str(), refused["remote"].as_str()),
        (Some("HTTP"), Some("192.0.2.7"))
    );
    drop(publisher);
    admin.until("publisher.left").await;
    let left = admin.events().pop().unwrap();
    assert_eq!(left["bytes"], 123_456);
    assert_eq!(left["frames"], 31);
}

#[tokio::test]
async fn filters_choose_streams_and_kinds() {
    let world = World::new();
    let mut door = Listening::as_admin(
        &world,
        "?stream=door&kind=stream&kind=viewer.joined&kind=program.ending",
    )
    .await;
    let mut viewers = Listening::as_admin(&world, "?kind=viewer&kind=program").await;
    let _publishers = [world.publish("door", None), world.publish("hall", None)];
    world.shared.streams.events().tell(What::ProgramEnding);
    door.until("viewer.joined").await;
    viewers.until("program.ending").await;
    assert_eq!(
        door.kinds(),
        ["stream.available", "viewer.joined"],
        "the end is no stream's"
    );
    assert_eq!(viewers.kinds(), ["viewer.joined", "viewer.joined", "program.ending"]);
    for wrong in ["?kind=weather", "?stream=%20", "?stream=../x"] {
        let [authorization] = bearer("a-token");
        let reply = world
            .get(
                &format!("/api/v1/events{wrong}"),
                &[(authorization.0, &authorization.1)],
            )
            .await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::BAD_REQUEST, "bad-filter")
        );
    }
}

#[tokio::test]
async fn who_comes_again_hears_what_happened_meanwhile() {
    let world = World::new();
    let mut first = Listening::as_admin(&world, "").await;
    let _publisher = world.publish("door", None);
    first.until("viewer.joined").await;
    let id = first.events()[0]["id"].as_u64().unwrap();
    let again = format!("authorization: Bearer a-token\r\nlast-event-id: {id}");
    let mut again = Listening::start(&world, "", &again).await;
    again.until("viewer.joined").await;
    assert_eq!(again.kinds(), ["stream.available", "viewer.joined"]);
}

/// A stranger who connects often is no reason for others to look anew at what there is.
#[tokio::test]
async fn missed_connections_are_told_only_to_who_would_have_heard_them() {
    let world = World::new();
    let mut first = Listening::as_admin(&world, "").await;
    let events = world.shared.streams.events();
    events.tell(What::ProgramStarted);
    first.until("program.started").await;
    let id = first.events()[0]["id"].as_u64().unwrap();
    let connection = crate::events::Connection {
        id: 1,
        protocol: "RTSP",
        remote: ([192, 0, 2, 1], 5_000).into(),
        alive: std::sync::Weak::new(),
    };
    for _ in 0..KEPT_OF_CONNECTIONS + 7 {
        events.tell(What::Opened(connection.clone()));
    }
    events.tell(What::ProgramEnding);
    for (query, token, is_told) in [
        ("", "a-token", true),
        ("?kind=connection.closed", "a-token", true),
        ("?kind=program", "a-token", false),
        ("?stream=door", "a-token", false),
        ("", "v-token", false),
    ] {
        let fields = format!("authorization: Bearer {token}\r\nlast-event-id: {id}");
        let mut again = Listening::start(&world, query, &fields).await;
        if query.contains("stream") {
            world
                .shared
                .streams
                .events()
                .tell(What::StreamAvailable("door".parse().unwrap()));
            again.until("stream.available").await;
        } else if query.contains("connection") {
            again.until("{\"missed\":7}").await;
        } else {
            again.until("program.ending").await;
        }
        assert_eq!(again.said.contains("{\"missed\":7}"), is_told, "{query} {}", again.said);
    }
}

#[tokio::test]
async fn changes_of_settings_are_told_made_and_refused() {
    let world = World::new();
    let live = &world.shared.settings.live;
    live.tell_to(Arc::clone(world.shared.streams.events()));
    let mut listening = Listening::as_admin(&world, "?kind=settings").await;
    let set = |key: &str, value: toml::Value| {
        let path = vec!["limits".to_owned(), key.to_owned()];
        let _ = live.apply(
            &Edit::Steps(vec![Step::Set { path, value }]),
            &Who::Caller("admin at 192.0.2.7".to_owned()),
        );
    };
    set("streams", toml::Value::Integer(0));
    set("streams", toml::Value::Integer(7));
    listening.until("settings.changed").await;
    let events = listening.events();
    assert_eq!(listening.kinds(), ["settings.refused", "settings.changed"]);
    assert!(
        events[0]["problems"][0].as_str().unwrap().contains("limits.streams"),
        "{events:?}"
    );
    assert_eq!(
        (&events[1]["keys"][0], &events[1]["changed"]),
        (&"limits.streams".into(), &1.into())
    );
    assert_eq!(events[1]["by"], "admin at 192.0.2.7, by HTTP");
}

#[tokio::test]
async fn listeners_are_limited_and_leave_room_when_they_go() {
    let world = World::new();
    let limit = world.shared.settings.live.now().limits.event_listeners;
    let mut listening = Vec::new();
    for _ in 0..limit {
        listening.push(Listening::as_admin(&world, "").await);
    }
    let [authorization] = bearer("a-token");
    let fields = [(authorization.0, authorization.1.as_str())];
    let ask = || world.get("/api/v1/events", &fields);
    let reply = ask().await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "too-many-listeners")
    );
    assert_eq!(reply.header("retry-after"), "5");
    listening.clear();
    let room = async {
        while ask().await.status != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, room).await.unwrap();
}

#[tokio::test]
async fn it_ends_with_the_program() {
    let world = World::new();
    let mut listening = Listening::as_admin(&world, "").await;
    world.shared.streams.events().tell(What::ProgramEnding);
    world.shared.streams.events().end();
    let rest = until_closed(&mut listening.socket);
    world.trigger.request();
    let rest = rest.await;
    assert!(rest.contains("program.ending") && rest.ends_with("0\r\n\r\n"), "{rest}");
}

#[tokio::test]
async fn whoever_is_not_let_in_any_more_hears_nothing_more() {
    let world = World::new();
    let anna = world.user("anna", "viewer", "*");
    let (cookie, sum) = world.cookie_of(&Identity::User(anna));
    let fields = format!("cookie: {cookie}\r\nconnection: close");
    let mut listening = Listening::start(&world, "", &fields).await;
    world.change(Change::End(sum));
    until_closed(&mut listening.socket).await;
}
