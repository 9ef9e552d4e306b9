//! Finding and playing recordings: made ones, asked by hand, by curl and by FFmpeg over real sockets.

use std::process::Command;
use std::time::Instant;

use super::*;
use crate::record::index::{Change, MAX_TIME_90K, Segment, SegmentId};
use crate::record::library::made::{Made, NOON_90K, NOON_US, pictures, ran};

const SECOND_90K: i64 = 90_000;
const VIEWER: (&str, &str) = ("authorization", "Bearer v-token");
const ADMIN: (&str, &str) = ("authorization", "Bearer a-token");

/// Eight seconds from noon on in files of three, ten seconds of nothing, four seconds more: of a keyframe each second.
fn made() -> Made {
    let made = Made::new();
    let (track, all) = pictures(8, 25, "160x120");
    let file = Duration::from_secs(3);
    made.record("house/door", NOON_90K, std::slice::from_ref(&track), all.clone(), file);
    let short = all.into_iter().take(100);
    made.record("house/door", NOON_90K + 18 * SECOND_90K, &[track], short, file);
    made
}

fn world(made: &Made) -> World {
    World::with(Wishes {
        library: Some(made.library()),
        // A day later: all that there will be is there.
        clock: Arc::new(SimClock::at(WallTime::from_unix_micros(NOON_US + 86_400_000_000))),
        ..Wishes::default()
    })
}

fn url(world: &World, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", world.shared.ports.http)
}

/// What curl says of an answer, and its body.
async fn curl(arguments: Vec<String>) -> (String, Vec<u8>) {
    let asked = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let (head, body) = (folder.path().join("head"), folder.path().join("body"));
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--oauth2-bearer",
            "v-token",
            "--dump-header",
        ]);
        let output = command
            .arg(&head)
            .arg("--output")
            .arg(&body)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let head = std::fs::read_to_string(head).unwrap().to_ascii_lowercase();
        (head, std::fs::read(body).unwrap_or_default())
    });
    asked.await.unwrap()
}

async fn program(program: &'static str, arguments: String) -> String {
    let said = tokio::task::spawn_blocking(move || ran(program, &arguments))
        .await
        .unwrap();
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn where_nothing_is_recorded_it_says_so() {
    let world = World::new();
    for path in [
        "/api/v1/recordings?camera=door",
        "/api/v1/recordings/cameras",
        "/api/v1/recordings/door@1/media",
        "/api/v1/recordings/door/index.m3u8?start=0",
        "/api/v1/recordings/door/clip.mp4?start=0&duration=1",
        "/api/v1/recordings/events?camera=door",
        "/list?path=door",
        "/get?path=door&start=0&duration=1",
    ] {
        let reply = world.get(path, &[VIEWER]).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::NOT_FOUND, "recording-off"),
            "{path}"
        );
        assert!(reply.json()["next"].as_str().unwrap().contains("record.enabled"));
    }
}

#[tokio::test]
async fn where_it_could_be_recorded_it_says_why_nothing_is_there() {
    let world = World::new();
    let recordings = &world.shared.settings.recordings;
    let answer = async |status: u16, code: &str| {
        for path in ["/api/v1/recordings?camera=door", "/list?path=door"] {
            let reply = world.get(path, &[VIEWER]).await;
            assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{path}");
            assert_eq!(reply.headers.contains_key("retry-after"), status == 503);
        }
    };
    answer(404, "recording-off").await;
    let set = |toml: &str| {
        let settings: crate::config::settings::Settings = toml::from_str(toml).unwrap();
        recordings.set(&settings.record, &settings.stream);
    };
    set("[stream.yard.record]\nenabled = true");
    answer(503, "recording-not-begun").await;
    set("");
    answer(404, "recording-off").await;
    // What was there once is there, whatever is set; here it cannot be opened: its folder is gone, with files in it that others write.
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(world.state.path(), elsewhere.path().join("state")).unwrap();
    assert!(recordings.open().await.is_none());
    answer(503, "recording-failed").await;
}

#[tokio::test]
async fn ranges_with_gaps_and_files() {
    let made = made();
    let world = world(&made);
    let reply = world.get("/api/v1/recordings?camera=house%2Fdoor", &[VIEWER]).await;
    let told = reply.json();
    assert_eq!(told["next"], Value::Null);
    let recordings = told["recordings"].as_array().unwrap();
    let short: Vec<_> = (recordings.iter())
        .map(|it| {
            (
                it["start"].as_str().unwrap(),
                it["end"].as_str().unwrap(),
                it["duration_ms"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            ("2026-11-22T12:00:00Z", "2026-11-22T12:00:08Z", 8_000),
            ("2026-11-22T12:00:18Z", "2026-11-22T12:00:22Z", 4_000)
        ]
    );
    assert_eq!(recordings[0]["id"], "house/door@1795348800000000-1795348808000000");
    assert_eq!(
        recordings[0]["url"],
        "/api/v1/recordings/house%2Fdoor@1795348800000000-1795348808000000/media"
    );
    assert!(recordings[0]["size_bytes"].as_u64() > Some(5_000), "{told}");
    // A second of it, and as a timeline of which a pixel is a minute.
    let some = "/api/v1/recordings?camera=house/door&start=2026-11-22T12:00:07.5Z&end=1795348819000";
    let told = world.get(some, &[VIEWER]).await.json();
    let durations = |told: &Value| -> Vec<i64> {
        let all = told["recordings"].as_array().unwrap().iter();
        all.map(|it| it["duration_ms"].as_i64().unwrap()).collect()
    };
    assert_eq!(durations(&told), [500, 1_000]);
    let told = world
        .get("/api/v1/recordings?camera=house/door&resolution_ms=60000", &[VIEWER])
        .await
        .json();
    assert_eq!(
        (durations(&told), &told["recordings"][0]["recorded_ms"]),
        (vec![22_000], &12_000.into())
    );
    let told = world
        .get("/api/v1/recordings?camera=house/door&files=1", &[VIEWER])
        .await
        .json();
    assert_eq!(durations(&told), [3_000, 3_000, 2_000, 3_000, 1_000]);
    assert_eq!(told["recordings"][0]["id"], "house/door@1");
    let told = world.get("/api/v1/recordings/cameras", &[VIEWER]).await.json();
    assert_eq!(told["cameras"][0]["camera"], "house/door");
    let told = world.get("/list?path=house%2Fdoor", &[VIEWER]).await.json();
    assert_eq!(
        (&told[0]["start"], &told[0]["duration"]),
        (&"2026-11-22T12:00:00Z".into(), &8.0.into())
    );
    let expected = format!(
        "http://pi.local:{}/get?duration=8&path=house%2Fdoor&start=2026-11-22T12%3A00%3A00Z",
        world.shared.ports.http
    );
    assert_eq!(told[0]["url"], expected);
}

/// Who records by hand what is recorded anyway sees nothing twice, and no clip ends where that one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_twice_is_played_once() {
    let made = Made::new();
    let (track, all) = pictures(8, 25, "160x120");
    let file = Duration::from_secs(3);
    let tracks = std::slice::from_ref(&track);
    made.record("house/door", NOON_90K, tracks, all.clone(), file);
    let by_hand = all.into_iter().skip(50).take(75);
    made.record("house/door", NOON_90K + 2 * SECOND_90K, tracks, by_hand, file);
    let world = world(&made);
    let list =
        "/api/v1/recordings/house%2Fdoor/index.m3u8?start=2026-11-22T12:00:00Z&end=2026-11-22T13:00:00Z&token=v-token";
    assert_eq!(shown(&world, list).await, 200);
    let clip = "/api/v1/recordings/house%2Fdoor/clip.mp4?start=2026-11-22T12:00:03Z&duration=100&token=v-token";
    assert_eq!(shown(&world, clip).await, 125);
}

/// How many pictures FFmpeg finds there.
async fn shown(world: &World, path: &str) -> usize {
    let arguments = format!(
        "-v error -nostdin -i {} -map 0:v -c copy -f framehash -",
        url(world, path)
    );
    let said = program("ffmpeg", arguments).await;
    said.lines().filter(|line| !line.starts_with('#')).count()
}

/// The last minute is found and played while it is written, and stays so until the index has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_recorded_is_played() {
    let made = made();
    let world = world(&made);
    let sink = made.begin("house/door", NOON_90K + 30 * SECOND_90K, 8);
    let told = world
        .get("/api/v1/recordings?camera=house%2Fdoor", &[VIEWER])
        .await
        .json();
    let last = &told["recordings"][2];
    assert_eq!(
        (&last["start"], &last["duration_ms"]),
        (&"2026-11-22T12:00:30Z".into(), &8_000.into()),
        "{told}"
    );
    let told = world
        .get("/api/v1/recordings?camera=house%2Fdoor&files=1", &[VIEWER])
        .await
        .json();
    let file = &told["recordings"][5];
    assert_eq!(
        (&file["growing"], &file["duration_ms"]),
        (&true.into(), &8_000.into()),
        "{told}"
    );
    let path = format!(
        "/api/v1/recordings/{}",
        file["id"].as_str().unwrap().replace('/', "%2F")
    );
    let reply = world.ask("127.0.0.1:5000", Method::DELETE, &path, &[ADMIN]).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (409, "being-recorded"));
    let media = format!("{path}/media");
    let reply = world.ask("127.0.0.1:5000", Method::HEAD, &media, &[VIEWER]).await;
    assert!(
        !reply.header("cache-control").contains("max-age"),
        "there is more of it soon"
    );
    // As far as it is written, and of a list whole pieces alone.
    let clip = "/api/v1/recordings/house%2Fdoor/clip.mp4?start=2026-11-22T12:00:30Z&duration=100&token=v-token";
    assert_eq!(shown(&world, clip).await, 200);
    let list =
        "/api/v1/recordings/house%2Fdoor/index.m3u8?start=2026-11-22T12:00:30Z&end=2026-11-22T13:00:00Z&token=v-token";
    let text = world.get(list, &[]).await.text;
    assert!(text.contains("EVENT") && !text.contains("ENDLIST"), "{text}");
    assert_eq!(text.matches("#EXTINF").count(), 1, "{text}");
    drop(sink);
    while made.recorder.report().counters.segments == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let whole = world.get(list, &[]).await.text;
    assert!(whole.starts_with(&text.replace("EVENT", "VOD")), "{text}{whole}");
    assert_eq!(whole.matches("#EXTINF").count(), 2, "{whole}");
    assert!(whole.contains("ENDLIST"), "{whole}");
    assert_eq!(shown(&world, list).await, 200);
    let reply = world.ask("127.0.0.1:5000", Method::DELETE, &path, &[ADMIN]).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let told = world
        .get("/api/v1/recordings?camera=house%2Fdoor", &[VIEWER])
        .await
        .json();
    assert_eq!(told["recordings"].as_array().unwrap().len(), 2, "{told}");
}

/// Nothing is told of a camera that one may not see, whatever is asked.
#[tokio::test]
async fn another_camera_is_nobodys_business() {
    let made = made();
    let world = world(&made);
    world.with_account("anna", "of-one", "garage");
    let anna = [("authorization", "Bearer anna:of-one")];
    for (method, path) in [
        (Method::GET, "/api/v1/recordings?camera=house/door"),
        (Method::GET, "/api/v1/recordings/house%2Fdoor@1/media"),
        (
            Method::GET,
            "/api/v1/recordings/house%2Fdoor@1795348800000000-1795348808000000/media",
        ),
        (Method::GET, "/api/v1/recordings/house%2Fdoor/index.m3u8?start=0"),
        (
            Method::GET,
            "/api/v1/recordings/house%2Fdoor/clip.mp4?start=0&duration=1",
        ),
        (Method::GET, "/api/v1/recordings/events?camera=house/door"),
        (Method::GET, "/api/v1/recordings/protected?camera=house/door"),
        (Method::GET, "/list?path=house/door"),
        (Method::GET, "/get?path=house/door&start=0&duration=1"),
        (Method::DELETE, "/api/v1/recordings/house%2Fdoor@1"),
        (Method::PUT, "/api/v1/recordings/protected/house%2Fdoor@1"),
    ] {
        let reply = world.ask(ELSEWHERE, method.clone(), path, &anna).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{method} {path}");
    }
    // Under the name of her own she finds no file of another.
    for path in [
        "/api/v1/recordings/garage@1/media",
        "/api/v1/recordings/garage@1795348800000000-1795348808000000/media",
    ] {
        assert_eq!(world.get(path, &anna).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // Who may watch may not delete.
    let reply = world
        .ask(
            ELSEWHERE,
            Method::DELETE,
            "/api/v1/recordings/house%2Fdoor@1",
            &[VIEWER],
        )
        .await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_is_protected_is_not_deleted() {
    let made = made();
    let world = world(&made);
    let file = "/api/v1/recordings/house%2Fdoor@2";
    let protected = "/api/v1/recordings/protected/house%2Fdoor@2";
    let ask = |method, path: &'static str| world.ask(ELSEWHERE, method, path, &[ADMIN]);
    for _ in 0..2 {
        let reply = ask(
            Method::PUT,
            "/api/v1/recordings/protected/house%2Fdoor@2?why=who%20rang",
        )
        .await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
    }
    let told = ask(Method::GET, "/api/v1/recordings/protected?camera=house/door")
        .await
        .json();
    let kept = told["protected"].as_array().unwrap();
    assert_eq!((kept.len(), &kept[0]["why"]), (1, &"who rang".into()));
    assert_eq!(kept[0]["id"], "house/door@1795348803000000-1795348806000000");
    for path in [
        file,
        "/api/v1/recordings/house%2Fdoor@1795348800000000-1795348808000000",
    ] {
        let reply = ask(Method::DELETE, path).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::CONFLICT, "protected"),
            "{path}"
        );
    }
    let at = |path: &str| made.root().join(path);
    let reader = made.index.reader().unwrap();
    let path = reader.segment(SegmentId(2)).unwrap().unwrap().path;
    assert!(at(&path).exists());
    assert_eq!(ask(Method::DELETE, protected).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(Method::DELETE, protected).await.code(), "not-protected");
    let reply = ask(
        Method::DELETE,
        "/api/v1/recordings/house%2Fdoor@1795348800000000-1795348808000000",
    )
    .await;
    assert_eq!((reply.status, &reply.json()["marked"]), (StatusCode::OK, &3.into()));
    assert_eq!(ask(Method::DELETE, file).await.status, StatusCode::NOT_FOUND);
    // The thread of the disk does it, and says so.
    let begun = Instant::now();
    while reader.segment(SegmentId(2)).unwrap().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(30), "its row stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
        made.index.flush().unwrap();
    }
    assert!(!at(&path).exists());
}

#[tokio::test]
async fn events_are_told_and_found() {
    let made = made();
    let world = world(&made);
    let json = ("content-type", "application/json");
    let headers = [ADMIN, json];
    let tell = |body: &'static str| {
        let path = "/api/v1/recordings/events";
        ask(&world.dashboard, ELSEWHERE, Method::POST, path, &headers, body)
    };
    let told =
        tell(r#"{"camera":"house/door","kind":"bell","start":1795348801000,"score":0.5,"data":{"who":"post"}}"#).await;
    assert_eq!(told.status, StatusCode::CREATED, "{told:?}");
    // Whoever steers another camera alone tells nothing of this one.
    let mut rules = (*world.shared.auth.rules()).clone();
    world.with_account("anna", "of-one", "garage");
    let mut account = world.shared.auth.rules().accounts[0].clone();
    account.rights = "operator garage".parse().unwrap();
    rules.accounts = vec![account];
    world.shared.auth.set_rules(rules);
    let anna = [("authorization", "Bearer anna:of-one"), json];
    let path = "/api/v1/recordings/events";
    for (body, status) in [
        (r#"{"camera":"house/door","kind":"bell"}"#, StatusCode::FORBIDDEN),
        (
            r#"{"camera":"garage","kind":"bell","start":1795348801000}"#,
            StatusCode::CREATED,
        ),
    ] {
        let reply = ask(&world.dashboard, ELSEWHERE, Method::POST, path, &anna, body).await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
    let found = world
        .get("/api/v1/recordings/events?camera=house/door&kind=bell", &[VIEWER])
        .await
        .json();
    assert_eq!(found["events"][0], told.json());
    assert_eq!(found["events"][0]["start"], "2026-11-22T12:00:01Z");
    assert_eq!(found["events"][0]["data"]["who"], "post");
    let none = world
        .get("/api/v1/recordings/events?camera=house/door&kind=motion", &[VIEWER])
        .await
        .json();
    assert_eq!(none["events"], serde_json::json!([]));
    for body in [
        r#"{"camera":"house/door","kind":""}"#,
        r#"{"camera":"house/door","kind":"a b"}"#,
        r#"{"camera":"../door","kind":"bell"}"#,
        r#"{"camera":"house/door","kind":"bell","start":"yesterday"}"#,
        r#"{"camera":"house/door","kind":"bell","start":5,"end":4}"#,
        r#"{"camera":"house/door","kind":"bell","start":0,"end":86400001}"#,
        r#"{"camera":"house/door","kind":"bell","colour":1}"#,
        "[]",
    ] {
        assert_eq!(tell(body).await.status, StatusCode::BAD_REQUEST, "{body}");
    }
}

/// Words are of the camera's name or of what happened; nobody is told of what they may not see.
#[tokio::test]
async fn cameras_and_events_are_found_by_words() {
    let made = made();
    let world = world(&made);
    let _yard = world.publish("yard", None);
    let path = "/api/v1/recordings/events";
    let headers = [ADMIN, ("content-type", "application/json")];
    for body in [
        r#"{"camera":"house/door","kind":"bell","start":1795348801000,"data":{"who":"Post"}}"#,
        r#"{"camera":"house/door","kind":"motion","start":1795348802000}"#,
    ] {
        let told = ask(&world.dashboard, ELSEWHERE, Method::POST, path, &headers, body).await;
        assert_eq!(told.status, StatusCode::CREATED, "{told:?}");
    }
    let found = async |words: &str, who: (&'static str, &str)| {
        let reply = world.get(&format!("/api/v1/search?q={words}"), &[who]).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let told = reply.json();
        let texts = |list: &str, of: fn(&Value) -> &Value| -> Vec<String> {
            let items = told[list].as_array().unwrap().iter();
            items.map(|item| of(item).as_str().unwrap().to_owned()).collect()
        };
        (texts("cameras", |name| name), texts("events", |event| &event["kind"]))
    };
    let none: [&str; 0] = [];
    for (words, cameras, events) in [
        ("DOOR", &["house/door"][..], &none[..]),
        ("a", &["yard"], &none),
        ("o", &["house/door"], &none),
        ("post", &none, &["bell"]),
        ("door%20motion", &none, &["motion"]),
        ("yard%20motion", &none, &none),
    ] {
        let (found_cameras, found_events) = found(words, VIEWER).await;
        assert_eq!(
            (&*found_cameras, &*found_events),
            (
                &cameras.iter().map(ToString::to_string).collect::<Vec<_>>()[..],
                &events.iter().map(ToString::to_string).collect::<Vec<_>>()[..]
            ),
            "{words}"
        );
    }
    world.with_account("anna", "of-one", "yard");
    let anna = ("authorization", "Bearer anna:of-one");
    assert_eq!(found("o", anna).await, (vec![], vec![]));
    assert_eq!(found("motion", anna).await, (vec![], vec![]));
    for words in ["", "%20", &"a".repeat(65)] {
        let reply = world.get(&format!("/api/v1/search?q={words}"), &[VIEWER]).await;
        assert_eq!(
            (reply.status, &*reply.code()),
            (StatusCode::BAD_REQUEST, "bad-query"),
            "{words:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_said() {
    let made = made();
    let world = world(&made);
    for (path, status, code) in [
        ("/api/v1/recordings", 400, "bad-name"),
        ("/api/v1/recordings?camera=house/door&start=tomorrow", 400, "bad-query"),
        ("/api/v1/recordings?camera=house/door&start=5&end=4", 400, "bad-query"),
        (
            "/api/v1/recordings?camera=house/door&resolution_ms=-1",
            400,
            "bad-query",
        ),
        ("/api/v1/recordings/..%2F..%2Fetc/media", 400, "bad-recording"),
        ("/api/v1/recordings/house%2Fdoor@99/media", 404, "no-such-recording"),
        ("/api/v1/recordings/house%2Fdoor@1/media?begins=-5", 400, "bad-query"),
        ("/api/v1/recordings/house%2Fdoor@0-86400000100/media", 400, "too-long"),
        (
            "/api/v1/recordings/house%2Fdoor@0-86400000000/media",
            404,
            "no-such-recording",
        ),
        ("/api/v1/recordings/house%2Fdoor/clip.mp4?start=0", 400, "bad-query"),
        ("/api/v1/recordings/house%2Fdoor/clip.mp4?duration=1", 400, "bad-query"),
        ("/api/v1/recordings/house%2Fdoor/index.m3u8", 400, "bad-query"),
        (
            "/api/v1/recordings/house%2Fdoor/index.m3u8?start=0",
            404,
            "no-such-recording",
        ),
        ("/list?path=garage", 404, "no-such-recording"),
        (
            "/get?path=house/door&start=2026-11-22T12:00:00Z&duration=1&format=ts",
            400,
            "bad-query",
        ),
    ] {
        let reply = world.get(path, &[VIEWER]).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{path}");
    }
    // A file that was taken away by hand.
    let path = made
        .index
        .reader()
        .unwrap()
        .segment(SegmentId(1))
        .unwrap()
        .unwrap()
        .path;
    std::fs::remove_file(made.root().join(&path)).unwrap();
    let reply = world.get("/api/v1/recordings/house%2Fdoor@1/media", &[VIEWER]).await;
    assert_eq!(reply.code(), "recording-unreadable");
    assert!(!reply.text.contains("segment_"), "where it lies is told: {reply:?}");
}

/// A list says what is asked for with the credential that it was asked with.
#[tokio::test]
async fn a_list_crosses_the_gap() {
    let made = made();
    let world = world(&made);
    let path = "/api/v1/recordings/house%2Fdoor/index.m3u8?start=2026-11-22T12:00:01.5Z&end=2026-11-22T12:01:00Z&token=v-token";
    let reply = world.get(path, &[]).await;
    assert_eq!(
        reply.header("content-type"),
        "application/vnd.apple.mpegurl",
        "{reply:?}"
    );
    // How long pictures are is for the encoder to say.
    let places = regex::Regex::new(r"\d+@\d+").unwrap();
    insta::assert_snapshot!(places.replace_all(&reply.text, "BYTES@FROM"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_gets_any_range_and_nothing_twice() {
    let made = made();
    let world = world(&made);
    let clip = url(
        &world,
        "/api/v1/recordings/house%2Fdoor/clip.mp4?start=2026-11-22T12:00:01.2Z&duration=5.5",
    );
    let (head, whole) = curl(vec![clip.clone()]).await;
    assert!(
        head.starts_with("http/1.1 200") && head.contains("accept-ranges: bytes"),
        "{head}"
    );
    assert!(head.contains(&format!("content-length: {}\r\n", whole.len())), "{head}");
    assert!(
        head.contains("content-disposition: inline; filename=\"house_door_"),
        "{head}"
    );
    let etag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap()
        .to_owned();
    let (first, _) = curl(vec!["--head".into(), clip.clone()]).await;
    assert!(
        first.contains(&format!("content-length: {}\r\n", whole.len())) && first.contains(&etag),
        "{first}"
    );
    for (from, to) in [
        (0, 0),
        (0, 99),
        (700, 2_000),
        (whole.len() - 5, whole.len() - 1),
        (1, whole.len() - 1),
    ] {
        let (head, part) = curl(vec!["--range".into(), format!("{from}-{to}"), clip.clone()]).await;
        assert!(head.starts_with("http/1.1 206"), "{head}");
        assert!(
            head.contains(&format!("content-range: bytes {from}-{to}/{}\r\n", whole.len())),
            "{head}"
        );
        assert!(part == whole[from..=to], "{from}-{to}");
    }
    let (head, _) = curl(vec!["--range".into(), format!("{}-", whole.len()), clip.clone()]).await;
    assert!(head.starts_with("http/1.1 416"), "{head}");
    let (head, body) = curl(vec!["--header".into(), format!("If-None-Match: {etag}"), clip.clone()]).await;
    assert!(head.starts_with("http/1.1 304") && body.is_empty(), "{head}");
    let conditional = |etag: &str| {
        vec![
            "--range".into(),
            "5-9".into(),
            "--header".into(),
            format!("If-Range: {etag}"),
            clip.clone(),
        ]
    };
    assert_eq!(curl(conditional(&etag)).await.1.len(), 5);
    assert_eq!(curl(conditional("\"another\"")).await.1, whole);
    // A file is what lies on the disk.
    let segment = made.index.reader().unwrap().segment(SegmentId(2)).unwrap().unwrap();
    let (_, file) = curl(vec![url(&world, "/api/v1/recordings/house%2Fdoor@2/media")]).await;
    assert_eq!(file, std::fs::read(made.root().join(segment.path)).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_plays_clips_and_lists() {
    let made = made();
    let world = world(&made);
    let count = |url: String| async move {
        let arguments =
            format!("-v error -count_frames -select_streams v -show_entries stream=nb_read_frames -of csv=p=0 {url}");
        program("ffprobe", arguments)
            .await
            .trim()
            .trim_end_matches(',')
            .to_owned()
    };
    // From the keyframe in front of 1.2 s up to the fragment that holds 6.7 s: six seconds of two files and a part of the third.
    let clip = url(
        &world,
        "/api/v1/recordings/house%2Fdoor/clip.mp4?start=2026-11-22T12:00:01.2Z&duration=5.5&token=v-token",
    );
    assert_eq!(count(clip.clone()).await, "150");
    let arguments = format!("-v error -show_entries format=duration,start_time -of csv=p=0 {clip}");
    assert_eq!(program("ffprobe", arguments).await.trim(), "0.000000,6.000000");
    // As long as asked for, and no longer than there is.
    let get = url(
        &world,
        "/get?path=house/door&start=2026-11-22T12:00:00Z&duration=3600&format=mp4&token=v-token",
    );
    assert_eq!(count(get).await, "200");
    // Sought in, by its index.
    let arguments = format!("-v error -nostdin -ss 4 -i {clip} -map 0:v -f framemd5 -");
    let pictures = program("ffmpeg", arguments).await;
    assert_eq!(pictures.lines().filter(|line| !line.starts_with('#')).count(), 50);
    let list = url(
        &world,
        "/api/v1/recordings/house%2Fdoor/index.m3u8?start=2026-11-22T12:00:00Z&end=2026-11-22T12:00:30Z&token=v-token",
    );
    let arguments = format!("-v error -nostdin -i {list} -map 0:v -f framemd5 -");
    let decoded = program("ffmpeg", arguments).await;
    let pictures: Vec<&str> = decoded.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(pictures.len(), 300);
}

/// The first byte of a seek into a year of minutes of a camera; what it took is printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "what was measured")]
async fn a_seek_into_a_large_index() {
    let made = Made::new();
    let (track, all) = pictures(2, 25, "160x120");
    let segment = made
        .record("garage", 0, &[track], all, Duration::from_secs(60))
        .remove(0);
    let table = made.index.reader().unwrap().fragments(segment.id).unwrap();
    // Each is the same file, 40 days of them.
    let minutes = 40 * 24 * 60;
    for minute in 0..minutes {
        let row = Segment {
            id: made.index.next_segment(),
            run: 1,
            start_90k: NOON_90K + minute * 60 * SECOND_90K,
            duration_90k: 60 * SECOND_90K,
            ..segment.clone()
        };
        assert!(row.end_90k() < MAX_TIME_90K);
        while made.index.write(Change::Segment(row.clone(), table.clone())).is_err() {
            made.index.flush().unwrap();
        }
    }
    made.index.flush().unwrap();
    let world = world(&made);
    let mut taken = Vec::new();
    for number in 0..100 {
        let at = 1_795_348_800_000 + (number * 7_919 % minutes) * 60_000 + 1_000;
        let begun = Instant::now();
        let path = format!("/api/v1/recordings?camera=garage&start={at}&end={}", at + 3_600_000);
        let reply = world.get(&path, &[VIEWER]).await;
        assert_eq!(reply.json()["recordings"].as_array().unwrap().len(), 1);
        taken.push(begun.elapsed());
    }
    taken.sort_unstable();
    println!("a range of an hour: p50 {:.1?}, longest {:.1?}", taken[50], taken[99]);
    let mut taken = Vec::new();
    for number in 0..100 {
        let at = 1_795_348_800_000 + (number * 7_919 % minutes) * 60_000 + 500;
        let begun = Instant::now();
        let path = format!("/api/v1/recordings/garage/clip.mp4?start={at}&duration=1");
        let reply = world.get(&path, &[VIEWER, ("range", "bytes=0-0")]).await;
        assert_eq!((reply.status, reply.text.as_str()), (StatusCode::PARTIAL_CONTENT, "\0"));
        taken.push(begun.elapsed());
    }
    taken.sort_unstable();
    println!(
        "the first byte of a clip: p50 {:.1?}, longest {:.1?}",
        taken[50], taken[99]
    );
    let mut taken = Vec::new();
    for number in 0..10 {
        let at = 1_795_348_800_000 + (number * 7_919 % (minutes - 240)) * 60_000 + 500;
        let begun = Instant::now();
        let path = format!("/api/v1/recordings/garage/index.m3u8?start={at}");
        let reply = world.get(&path, &[VIEWER]).await;
        assert!(reply.text.matches("#EXT-X-MAP").count() >= 240);
        taken.push(begun.elapsed());
    }
    taken.sort_unstable();
    println!("a list of four hours: p50 {:.1?}, longest {:.1?}", taken[5], taken[9]);
}

/// All of a list is found by what each answer says comes next, also where no end was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_followed_to_its_end() {
    let made = Made::new();
    let (track, all) = pictures(2, 25, "160x120");
    let segment = made
        .record("garage", NOON_90K, &[track], all, Duration::from_secs(60))
        .remove(0);
    let rows = 1_001_i64;
    for number in 1..rows {
        // A run each.
        let row = Segment {
            id: made.index.next_segment(),
            run: segment.run + number.unsigned_abs(),
            start_90k: segment.start_90k + number * 5 * SECOND_90K,
            ..segment.clone()
        };
        made.index.write(Change::Segment(row, Vec::new())).unwrap();
    }
    made.index.flush().unwrap();
    let world = world(&made);
    let mut next = Some("/api/v1/recordings?camera=garage&files=1".to_owned());
    let (mut found, mut asked) = (0, 0);
    while let Some(path) = next {
        let reply = world.get(&path, &[VIEWER]).await.json();
        found += reply["recordings"]
            .as_array()
            .unwrap_or_else(|| panic!("{reply}"))
            .len();
        next = reply["next"].as_str().map(str::to_owned);
        asked += 1;
    }
    assert_eq!((found, asked), (1_001, 2));
}
