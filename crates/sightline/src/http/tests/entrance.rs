//! What the ports make of requests that no player sends: odd paths, odd forms, several at a time. Over loopback, as they come.

use super::hls::{Live, open, parts};
use super::*;

/// Sends these bytes and reads until the other end closes.
async fn said(port: u16, request: &str) -> String {
    exchange(&mut connect(port).await, request.as_bytes()).await
}

async fn get(port: u16, path: &str) -> String {
    said(
        port,
        &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    )
    .await
}

/// Status and, of a problem, its code.
fn outcome(said: &str) -> (u16, String) {
    let status = said
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    let (_, body) = said.split_once("\r\n\r\n").unwrap_or_default();
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

fn is_list(said: &str) -> bool {
    said.starts_with("HTTP/1.") && said.contains(" 200 OK\r\n") && said.contains("\r\n\r\n#EXTM3U\n")
}

#[tokio::test]
async fn odd_paths_lead_where_their_names_do() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let (dashboard, players) = (world.shared.ports.http, world.shared.ports.hls);
    for (port, path) in [
        (players, "/cam/stream.m3u8"),
        (players, "/c%61m/stream.m3u8"),
        (players, "/cam/stream.m3u8?"),
        (players, "/cam/stream.m3u8?a=/../b&%zz"),
        (dashboard, "/live/cam/stream.m3u8"),
        (dashboard, "/live/%63am/stream.m3u8"),
    ] {
        let said = get(port, path).await;
        assert!(is_list(&said), "{path} on {port}: {said}");
    }
    for (port, path, status, code) in [
        (players, "//cam/stream.m3u8", 400, "bad-name"),
        (players, "/cam//stream.m3u8", 400, "bad-name"),
        (players, "/./cam/stream.m3u8", 400, "bad-name"),
        (players, "/cam/../cam/stream.m3u8", 400, "bad-name"),
        (players, "/cam/%2e%2e/stream.m3u8", 400, "bad-name"),
        (players, "/cam%00/stream.m3u8", 400, "bad-name"),
        (players, "/cam%2F/stream.m3u8", 400, "bad-name"),
        (players, "/%63am%2500/stream.m3u8", 400, "bad-name"),
        (players, "/live/cam/stream.m3u8", 400, "bad-name"),
        (players, "/api/stream.m3u8", 400, "bad-name"),
        (players, "/healthz/index.m3u8", 400, "bad-name"),
        (players, "/%FF/stream.m3u8", 404, "no-such-path"),
        (players, "/stream.m3u8%00", 404, "no-such-path"),
        (players, "/cam/stream.m3u8;x=1", 404, "no-such-path"),
        (players, "/cam/.mp4", 404, "no-such-path"),
        (players, "/cam/..%2fcam.mp4", 404, "no-such-media"),
        (players, "/CAM/stream.m3u8", 404, "no-such-stream"),
        (players, "/api/v1/streams/stream.m3u8", 404, "no-such-stream"),
        (dashboard, "/cam/stream.m3u8", 404, "no-such-path"),
        (dashboard, "/LIVE/cam/stream.m3u8", 404, "no-such-path"),
        (dashboard, "/live%2Fcam/stream.m3u8", 404, "no-such-path"),
        (dashboard, "/live/", 404, "no-such-path"),
        (dashboard, "/live//cam/stream.m3u8", 400, "bad-name"),
        (dashboard, "/live/live/cam/stream.m3u8", 400, "bad-name"),
    ] {
        let said = get(port, path).await;
        assert_eq!(outcome(&said), (status, code.to_owned()), "{path} on {port}: {said}");
    }
    // What is no list by its letters is the name of a stream, whose page is a folder.
    for (path, location) in [
        ("/cam/STREAM.m3u8", "./STREAM.m3u8/"),
        ("/cam%2Fstream.m3u8", "./cam%2Fstream.m3u8/"),
    ] {
        let said = get(players, path).await;
        assert!(said.starts_with("HTTP/1.1 307 "), "{path}: {said}");
        assert!(
            said.contains(&format!("\r\nlocation: {location}\r\n")),
            "{path}: {said}"
        );
    }
}

#[tokio::test]
async fn odd_forms_of_requests_are_answered() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let port = world.shared.ports.hls;
    for request in [
        // RFC 9112 §3.2.2: the host of the target counts.
        "GET http://elsewhere.example/cam/stream.m3u8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /cam/stream.m3u8 HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /cam/stream.m3u8 HTTP/1.0\r\n\r\n",
        "GET /cam/stream.m3u8 HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
        // A body that nobody wants.
        "GET /cam/stream.m3u8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        "GET /cam/stream.m3u8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        // One that is not sent before it is asked for, which it never is.
        "GET /cam/stream.m3u8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    ] {
        let said = said(port, request).await;
        assert!(is_list(&said), "{request}: {said}");
        assert_eq!(said.matches("HTTP/1.").count(), 1, "{request}: {said}");
    }
    for (request, status, code) in [
        (
            "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            404,
            "no-such-path",
        ),
        (
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            404,
            "no-such-path",
        ),
        (
            "POST /cam/stream.m3u8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            405,
            "wrong-method",
        ),
        (
            "get /cam/stream.m3u8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            405,
            "wrong-method",
        ),
        (
            "OPTIONS /cam/stream.m3u8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            405,
            "wrong-method",
        ),
    ] {
        let said = said(port, request).await;
        assert_eq!(outcome(&said), (status, code.to_owned()), "{request}: {said}");
        if status == 405 {
            assert!(said.contains("\r\nallow: GET, HEAD\r\n"), "{said}");
        }
    }
}

/// Each in its turn, and what one brings is never taken for the next.
#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let port = world.shared.ports.hls;
    let head = "Host: a\r\n";
    let row = format!(
        "GET /cam/stream.m3u8 HTTP/1.1\r\n{head}\r\n\
         HEAD /cam/stream.m3u8 HTTP/1.1\r\n{head}\r\n\
         GET /healthz HTTP/1.1\r\n{head}Content-Length: 38\r\n\r\nGET /cam/index.m3u8 HTTP/1.1\r\nHost: a\r\n\
         GET /nothing/index.m3u8 HTTP/1.1\r\n{head}\r\n\
         GET /cam/index.m3u8 HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
    );
    let said = said(port, &row).await;
    let statuses: Vec<_> = said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "200", "200", "404", "200"], "{said}");
    assert_eq!(said.matches("#EXT-X-STREAM-INF").count(), 1, "{said}");
    assert_eq!(said.matches("#EXT-X-MEDIA-SEQUENCE").count(), 1, "{said}");
}

#[tokio::test]
async fn a_head_of_a_range_is_that_range_without_its_bytes() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let port = world.shared.ports.hls;
    let list = get(port, "/cam/stream.m3u8").await;
    let part = &parts(&list)[0];
    let ask = async |range: &str| {
        let request = format!("HEAD /cam/{part} HTTP/1.1\r\nHost: a\r\nRange: {range}\r\nConnection: close\r\n\r\n");
        said(port, &request).await
    };
    let said = ask("bytes=10-19").await;
    assert!(said.starts_with("HTTP/1.1 206 "), "{said}");
    assert!(said.contains("\r\ncontent-range: bytes 10-19/"), "{said}");
    assert!(said.contains("\r\ncontent-length: 10\r\n"), "{said}");
    assert!(said.ends_with("\r\n\r\n"), "{said}");
    let said = ask("bytes=99999999-").await;
    assert!(
        said.starts_with("HTTP/1.1 416 ") && said.ends_with("\r\n\r\n"),
        "{said}"
    );
}

/// Lists and media are asked for with every right that there is, and carry what every answer carries.
#[tokio::test]
async fn each_request_shows_who_asks() {
    let world = World::new();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    world.with_account("anna", "of-one", "other");
    let cookie = world.cookie(AuthRole::Viewer);
    let list = ask(&world.players, TRUSTED, Method::GET, "/cam/stream.m3u8", &[], "").await;
    let part = format!("/cam/{}", parts(&list.text)[0]);
    for path in ["/cam/index.m3u8", "/cam/stream.m3u8", &part] {
        let with = |query: &str| format!("{path}{query}");
        for (remote, path, header, status) in [
            (ELSEWHERE, with(""), ("accept", "*/*"), 401),
            (ELSEWHERE, with("?tokens=v-token&_HLS_x=token"), ("accept", "*/*"), 401),
            (ELSEWHERE, with("?token=v-token"), ("accept", "*/*"), 200),
            (ELSEWHERE, with("?%74oken=v%2Dtoken"), ("accept", "*/*"), 200),
            (ELSEWHERE, with(""), ("cookie", &*cookie), 200),
            (ELSEWHERE, with(""), ("authorization", "Bearer v-token"), 200),
            (
                ELSEWHERE,
                with("?token=v-token"),
                ("authorization", "Bearer p-token"),
                403,
            ),
            (ELSEWHERE, with("?token=of-one"), ("accept", "*/*"), 401),
            (ELSEWHERE, with(""), ("authorization", "Basic YW5uYTpvZi1vbmU="), 403),
            (TRUSTED, with(""), ("accept", "*/*"), 200),
            ("127.0.0.1:5", with(""), ("x-forwarded-for", "10.9.0.2"), 401),
        ] {
            world.shared.auth.set_rules((*world.shared.auth.rules()).clone());
            let remote_of_its_own = remote.replace("192.0.2.7", &format!("192.0.2.{}", 10 + path.len() % 100));
            let asked = (remote_of_its_own.as_str(), Method::GET, path.as_str());
            let response = answered(&world.players, asked, header).await;
            assert_eq!(response.status().as_u16(), status, "{path} {header:?}");
            let says = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap());
            assert_eq!(says("access-control-allow-origin"), "*", "{path}");
            assert_eq!(says("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(says("x-frame-options"), "DENY", "{path}");
            assert_eq!(says("referrer-policy"), "no-referrer", "{path}");
            assert!(
                says("content-security-policy").starts_with("default-src 'none'"),
                "{path}"
            );
        }
    }
}

async fn answered(
    entrance: &Entrance,
    (remote, method, path): (&str, Method, &str),
    header: (&str, &str),
) -> axum_core::response::Response {
    let request = Request::builder().method(method).uri(path).header(header.0, header.1);
    let peer = Peer::new(remote.parse().unwrap(), "192.0.2.1:8888".parse().unwrap(), false);
    entrance.answer(peer, request.body(Body::empty()).unwrap()).await
}

/// Guesses count wherever they are made.
#[tokio::test]
async fn guessing_at_lists_is_braked_too() {
    let world = World::new();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let mut last = StatusCode::OK;
    for guess in 0..20 {
        let path = format!("/cam/stream.m3u8?token={guess}");
        last = ask(&world.players, ELSEWHERE, Method::GET, &path, &[], "").await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
}

/// By HTTP/2 as by HTTP/1.1, on the port that has it.
#[tokio::test]
async fn lists_over_tls_are_the_same() {
    let world = open();
    let mut live = Live::new(&world, "cam");
    live.play(70);
    let plain = get(world.shared.ports.http, "/live/cam/stream.m3u8").await;
    let mut socket = super::limits::connect_tls(&world, "http/1.1").await;
    let request = b"GET /live/cam/stream.m3u8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut secure = Vec::new();
    let reading = socket.read_to_end(&mut secure);
    tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
    let secure = String::from_utf8(secure).unwrap();
    let without_date = |said: &str| -> Vec<String> {
        let lines = said.lines().filter(|line| !line.starts_with("date: "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(without_date(&secure), without_date(&plain));
}
