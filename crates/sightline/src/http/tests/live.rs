//! The feed as a page hears it.

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::COOKIE;
use http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;
use crate::auth::{Principal, Role};
use crate::events::What;

/// Much more than two looks, and much less than the half minute after which it is asked anyhow.
const SOON: Duration = Duration::from_secs(10);

struct Page(WebSocketStream<TcpStream>);

async fn open(port: u16, query: &str, headers: &[(HeaderName, &str)]) -> Result<Page, u16> {
    let address = format!("ws://localhost:{port}/api/v1/live{query}");
    let mut request = address.into_client_request().unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert(name, value);
    }
    match client_async(request, connect(port).await).await {
        Ok((socket, _)) => Ok(Page(socket)),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

impl Page {
    async fn say(&mut self, what: Value) {
        self.0.send(Message::Text(what.to_string().into())).await.unwrap();
    }

    /// The next message; a close as its code.
    async fn next(&mut self) -> Value {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next());
            match next.await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(frame))) => {
                    return serde_json::json!({ "closed": frame.map(|frame| u16::from(frame.code)) });
                }
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next that is so; others are passed over.
    async fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let said = self.next().await;
            assert!(said.get("closed").is_none() || is(&said), "{said}");
            if is(&said) {
                return said;
            }
        }
    }

    async fn is_signed_out(&mut self) {
        let closed = tokio::time::timeout(SOON, self.until(|said| said.get("closed").is_some()));
        assert_eq!(closed.await.expect("it goes on")["closed"], 4_401);
    }

    async fn of(&mut self, kind: &str) -> Value {
        self.until(|said| said["type"] == kind).await
    }

    async fn key(&mut self, key: &str) -> Value {
        self.until(|said| said["key"] == key).await
    }
}

/// `hello`, and the keys that are told before `known`.
async fn welcomed(page: &mut Page) -> (Value, Vec<Value>) {
    let hello = page.next().await;
    assert_eq!(hello["type"], "hello");
    let mut told = Vec::new();
    loop {
        let said = page.next().await;
        match said["type"].as_str().unwrap() {
            "known" => return (hello, told),
            "set" => told.push(said),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_page_is_told_what_holds_and_then_what_changes() {
    let world = World::new();
    let _door = world.publish("door", None);
    let mut first = open(world.shared.ports.http, "?token=a-token", &[]).await.unwrap();
    first.key("stream/door").await;
    // What is known by now is told to the next before `known`.
    let mut page = open(world.shared.ports.hls, "?token=a-token", &[]).await.unwrap();
    let (hello, told) = welcomed(&mut page).await;
    assert_eq!(hello["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(hello["me"]["role"], "admin");
    assert_eq!(hello["of"]["stream"][0], "fps");
    let door = &told.iter().find(|set| set["key"] == "stream/door").unwrap()["value"];
    assert_eq!(
        (
            &door["state"],
            &door["publisher"]["protocol"],
            &door["tracks"][0]["codec"]
        ),
        (&"live".into(), &"RTSP/TCP".into(), &"H.264".into()),
        "{door}"
    );
    assert_eq!(door["publisher"]["remote"], "192.0.2.9:6000");
    assert!(door["urls"]["whep"].as_str().unwrap().starts_with("http://localhost:"));
    assert!(told.iter().any(|set| set["key"] == "system"));
    let _yard = world.publish("yard", None);
    assert_eq!(page.key("stream/yard").await["value"]["state"], "live");
    page.say(serde_json::json!({"type": "want", "topics": ["keys", "figures"]}))
        .await;
    let figures = page.until(|said| said["v"]["yard"].is_array()).await;
    assert_eq!(figures["v"]["door"].as_array().unwrap().len(), 14);
    assert_eq!(figures["system"].as_array().unwrap().len(), 14);
    assert_eq!(figures["v"]["door"][3], 1, "viewers: {figures}");
    world.end().await;
}

/// Until all was looked at that is so by now. The machine's rates are differences over a while, which passes meanwhile.
async fn looked(world: &World, clock: &SimClock) {
    let mut samples = world.shared.feed.samples();
    samples.mark_unchanged();
    let twice = async {
        for _ in 0..2 {
            samples.changed().await.unwrap();
        }
    };
    let passing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            clock.advance(Duration::from_millis(50));
        }
    };
    tokio::select! {
        looked = tokio::time::timeout(PATIENCE, twice) => looked.unwrap(),
        () = passing => {}
    }
}

/// Somebody keeps what figures were, and nobody looks.
#[tokio::test]
async fn since_is_when_it_was_and_not_when_somebody_looked() {
    let clock = SimClock::new();
    let world = World::with(Wishes {
        clock: Arc::new(clock.clone()),
        ..Wishes::default()
    });
    let _kept = world.shared.feed.want_samples();
    let door = world.publish("door", Some(&clock));
    let began = clock.wall().to_rfc3339();
    let _yard = world.publish("yard", Some(&clock));
    clock.advance(Duration::from_secs(60));
    looked(&world, &clock).await;
    drop(door);
    clock.advance(Duration::from_secs(10));
    world.hub.poll(clock.now());
    let ended = clock.wall().to_rfc3339();
    looked(&world, &clock).await;
    let noticed = clock.wall().to_rfc3339();
    clock.advance(Duration::from_secs(300));
    looked(&world, &clock).await;
    let mut page = open(world.shared.ports.http, "?token=v-token", &[]).await.unwrap();
    let (_, told) = welcomed(&mut page).await;
    let of = |key: &str| &told.iter().find(|set| set["key"] == key).unwrap()["value"];
    let (door, yard) = (of("stream/door"), of("stream/yard"));
    assert_eq!(door["state"], "ended");
    // It is looked once a second where only the figures are kept: noticed with the first look, and not with the page's.
    let since = door["since"].as_str().unwrap();
    assert!(*ended <= *since && *since < *noticed, "{ended} {since} {noticed}");
    assert_eq!(
        (yard["state"].as_str(), yard["since"].as_str()),
        (Some("live"), Some(&*began))
    );
    // Tile and bell say the same, as long as it is told.
    let offline = |reason: &Value| reason["of"] == "door" && reason["code"] == "offline";
    assert!(of("health").as_array().unwrap().iter().any(offline), "{told:?}");
    world.end().await;
}

#[tokio::test]
async fn details_come_to_who_wants_and_may() {
    let world = World::new();
    let _door = world.publish("door", None);
    let port = world.shared.ports.http;
    let mut admin = open(port, "?token=a-token", &[]).await.unwrap();
    let wanted = serde_json::json!({"type": "want", "topics": ["sessions/door", "sessions/away", "camera/door"]});
    admin.say(wanted.clone()).await;
    let told = admin.key("sessions/door").await;
    assert_eq!(told["value"]["sessions"][0]["remote"], "192.0.2.9:6001");
    assert_eq!(told["value"]["more"], 0);
    let mut viewer = open(port, "?token=v-token", &[]).await.unwrap();
    viewer.say(wanted).await;
    viewer.say(serde_json::json!({"type": "ping", "client": 7})).await;
    let room = crate::status::Server::join;
    let speaker = room(&world.shared.settings.status, Principal::Known(Role::Publisher), None).unwrap();
    let status = protocol::status::CameraStatus {
        is_connected: true,
        camera_name: "door".to_owned(),
        cpu_percent: 12.5,
        fps: 30.0,
        ..protocol::status::CameraStatus::default()
    };
    let mut speaker = speaker;
    crate::websocket::Talk::heard_binary(&mut speaker, &status.write());
    let camera = viewer.until(|said| {
        assert!(
            said["key"] != "sessions/door",
            "who views is not told to viewers: {said}"
        );
        said["key"] == "camera/door"
    });
    let camera = camera.await;
    assert_eq!(
        (&camera["value"]["cpu_percent"], &camera["value"]["isConnected"]),
        (&12.5.into(), &true.into())
    );
    assert!(camera["value"]["at"].is_string(), "{camera}");
    world.end().await;
}

/// What is made of details in a second is limited: what somebody asks for and may not see is no part of it.
#[tokio::test]
async fn who_may_not_see_details_pushes_out_none() {
    let world = World::new();
    let _door = world.publish("door", None);
    world.with_account("anna", "pass-of-anna", "door");
    let port = world.shared.ports.http;
    let mut guests = Vec::new();
    for guest in 0..17 {
        let mut page = open(port, "?token=anna:pass-of-anna", &[]).await.unwrap();
        let topics: Vec<String> = (0..64).map(|at| format!("camera/a{guest}x{at}")).collect();
        page.say(serde_json::json!({"type": "want", "topics": topics})).await;
        // When it is answered that was heard, too.
        page.say(serde_json::json!({"type": "ping", "client": 1})).await;
        page.of("pong").await;
        guests.push(page);
    }
    let mut admin = open(port, "?token=a-token", &[]).await.unwrap();
    admin
        .say(serde_json::json!({"type": "want", "topics": ["sessions/door"]}))
        .await;
    assert_eq!(admin.key("sessions/door").await["value"]["more"], 0);
    world.end().await;
}

#[tokio::test]
async fn time_chat_and_events() {
    let world = World::new();
    let port = world.shared.ports.http;
    world.shared.streams.events().tell(What::ProgramStarted);
    let mut one = open(port, "?token=a-token", &[]).await.unwrap();
    let mut other = open(port, "?token=v-token", &[]).await.unwrap();
    one.say(serde_json::json!({"type": "ping", "client": 5})).await;
    let pong = one.of("pong").await;
    assert!(pong["client"] == 5 && pong["server_us"].is_i64(), "{pong}");
    let event = other.until(|said| said["event"]["kind"] == "program.started").await;
    one.say(serde_json::json!({"type": "chat", "text": "who rang?"})).await;
    assert_eq!(one.of("ack").await["of"], "chat");
    let line = other.of("chat").await;
    assert_eq!(
        (&line["text"], line["from"].as_str().unwrap().starts_with("admin ")),
        (&"who rang?".into(), true)
    );
    // Who knows an event is told what came behind it.
    let id = event["event"]["id"].as_u64().unwrap();
    world.shared.streams.events().tell(What::ProgramEnding);
    let mut again = open(port, &format!("?token=v-token&after={id}"), &[]).await.unwrap();
    assert_eq!(again.of("event").await["event"]["kind"], "program.ending");
    world.end().await;
}

#[tokio::test]
async fn who_may_see_one_camera_hears_of_that_alone() {
    let world = World::new();
    let (_door, _yard) = (world.publish("door", None), world.publish("yard", None));
    let mut rules = (*world.shared.auth.rules()).clone();
    rules.accounts = vec![crate::auth::Account {
        name: "anna".into(),
        password: Some("pass-of-anna".parse().unwrap()),
        networks: Vec::new(),
        rights: "view".parse().unwrap(),
    }];
    world.shared.auth.set_rules(rules.clone());
    let mut page = open(world.shared.ports.http, "?token=anna:pass-of-anna", &[])
        .await
        .unwrap();
    page.key("stream/door").await;
    page.key("stream/yard").await;
    // Rights that change are heard of without asking.
    rules.accounts[0].rights = "view door".parse().unwrap();
    world.shared.auth.set_rules(rules.clone());
    let hello = page.of("hello").await;
    assert_eq!(hello["me"]["rights"][0]["streams"][0], "door");
    page.until(|said| {
        assert!(!said.to_string().contains("yard"), "{said}");
        said["type"] == "known"
    })
    .await;
    page.say(serde_json::json!({"type": "want", "topics": ["figures", "keys"]}))
        .await;
    let figures = page.of("figures").await;
    assert!(
        figures["v"]["door"].is_array() && figures["v"]["yard"].is_null(),
        "{figures}"
    );
    assert!(
        figures["system"][8].is_null(),
        "counts of the program are for who may view all"
    );
    rules.accounts[0].rights = "publish".parse().unwrap();
    world.shared.auth.set_rules(rules.clone());
    page.of("hello").await;
    page.until(|said| {
        assert!(said["type"] != "set", "who publishes alone is told of nothing: {said}");
        said["type"] == "known"
    })
    .await;
    page.say(serde_json::json!({"type": "chat", "text": "x"})).await;
    assert_eq!(page.of("error").await["of"], "chat");
    rules.accounts.clear();
    world.shared.auth.set_rules(rules);
    let closed = page.until(|said| said.get("closed").is_some()).await;
    assert_eq!(closed["closed"], 4_401);
    world.end().await;
}

/// Of what ends nothing is heard any more within two looks, and not when it is asked anyhow, half a minute later.
#[tokio::test]
async fn a_page_goes_with_the_session_it_came_by() {
    let world = World::new();
    let _door = world.publish("door", None);
    let port = world.shared.ports.http;
    let anna = world.user("anna", "viewer", "*");
    let (cookie, sum) = world.cookie_of(&Identity::User(anna));
    let mut page = open(port, "", &[(COOKIE, &cookie)]).await.unwrap();
    page.key("stream/door").await;
    world.change(Change::End(sum));
    page.is_signed_out().await;
    let (cookie, _) = world.cookie_of(&Identity::User(anna));
    let mut page = open(port, "", &[(COOKIE, &cookie)]).await.unwrap();
    page.key("stream/door").await;
    world.change(Change::RemoveUser(anna));
    page.is_signed_out().await;
    world.end().await;
}

#[tokio::test]
async fn who_is_not_let_in() {
    let world = World::new();
    let port = world.shared.ports.http;
    assert_eq!(open(port, "", &[]).await.err(), Some(401));
    assert_eq!(open(port, "?token=wrong", &[]).await.err(), Some(401));
    let cookie = world.cookie(Role::Viewer);
    let origin = http::header::ORIGIN;
    let foreign = [(COOKIE, cookie.as_str()), (origin.clone(), "https://evil.example")];
    assert_eq!(open(port, "", &foreign).await.err(), Some(403));
    let own = format!("http://localhost:{port}");
    assert!(
        open(port, "", &[(COOKIE, cookie.as_str()), (origin, own.as_str())])
            .await
            .is_ok()
    );
    world.end().await;
}

/// As many as there may be: who comes is told which limit that is, and who is there stays, whatever becomes of their rights.
#[tokio::test]
async fn a_full_room_signs_nobody_out() {
    let world = World::with(Wishes {
        status_clients: 1,
        ..Wishes::default()
    });
    let port = world.shared.ports.http;
    world.with_account("anna", "pass-of-anna", "door");
    let mut page = open(port, "?token=anna:pass-of-anna", &[]).await.unwrap();
    welcomed(&mut page).await;
    let mut socket = world.connect().await;
    let request =
        b"GET /api/v1/live?token=a-token HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut said = String::new();
    let mut buffer = [0; 4_096];
    while !said.contains("limits.status_clients") {
        let read = tokio::time::timeout(PATIENCE, socket.read(&mut buffer));
        let count = read.await.expect("nothing came").unwrap();
        assert!(count > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(said.starts_with("HTTP/1.1 503"), "{said}");
    world.with_account("anna", "pass-of-anna", "yard");
    let hello = page.of("hello").await;
    assert_eq!(hello["me"]["rights"][0]["streams"][0], "yard");
    page.say(serde_json::json!({"type": "chat", "text": "still here"}))
        .await;
    assert_eq!(page.of("ack").await["of"], "chat");
    world.end().await;
}

#[tokio::test]
async fn pages_and_words_are_limited() {
    let world = World::new();
    let port = world.shared.ports.http;
    let limit = world.shared.settings.live.now().limits.live_clients;
    let mut page = open(port, "?token=v-token", &[]).await.unwrap();
    for _ in 0..100 {
        page.say(serde_json::json!({"type": "pong"})).await;
    }
    let error = page.of("error").await;
    assert_eq!(error["message"], "too many messages; some were not heard");
    page.0.send(Message::Text("x".repeat(20 << 10).into())).await.unwrap();
    let closed = page.until(|said| said.get("closed").is_some()).await;
    assert_eq!(closed["closed"], 1_009);
    let held: Vec<_> = (world.shared.feed.pages()..limit)
        .map(|_| world.shared.feed.hold_a_place())
        .collect();
    let full = open(port, "?token=v-token", &[]).await.err();
    assert_eq!(full, Some(503));
    drop(held);
    let again = async {
        while open(port, "?token=v-token", &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again)
        .await
        .expect("there is room again");
    world.end().await;
}
