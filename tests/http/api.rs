//! The API and the sign-in page, by curl.

use serde_json::Value;

use crate::support::{PATIENCE, sightline};
use crate::{Server, curl, jar};

#[test]
fn streams_and_system_are_told_to_who_shows_a_token() {
    let server = Server::start(&[]);
    let (status, text) = curl(&[&server.url("/api/v1/streams")]);
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, problem["code"].as_str()),
        (401, Some("credential-missing")),
        "{text}"
    );

    let token = server.token("viewer");
    let bearer = format!("Authorization: Bearer {token}");
    let begun = std::time::Instant::now();
    // Two seconds of pictures make a rate.
    let stream = loop {
        let (status, text) = curl(&["--header", &bearer, &server.url("/api/v1/streams/zerolatency")]);
        let stream: Value = serde_json::from_str(&text).unwrap();
        // Before the camera's first picture there is no stream.
        assert!([200, 404].contains(&status), "{status} {text}");
        if stream["fps"].as_f64() > Some(25.0) && stream["bitrate_kbps"].as_f64() > Some(100.0) {
            break stream;
        }
        assert!(begun.elapsed() < PATIENCE, "{text}");
    };
    assert_eq!(stream["publisher"]["protocol"], "camera");
    assert_eq!((&stream["width"], &stream["height"]), (&640.into(), &480.into()));
    assert_eq!(stream["latency"]["since"], "capture");
    assert_eq!(
        stream["urls"]["rtsp"],
        format!("rtsp://127.0.0.1:{}/zerolatency", server.port("rtsp"))
    );

    for credential in [
        ["--user", &format!("viewer:{token}")],
        ["--header", &format!("Authorization: Token {token}")],
    ] {
        let (status, text) = curl(&[credential[0], credential[1], &server.url("/api/v1/system")]);
        let system: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status, 200, "{text}");
        assert!(
            system["cpu_percent"].is_number() && system["program"]["streams"] == 1,
            "{text}"
        );
    }
    let publisher = format!("Authorization: Bearer {}", server.token("publisher"));
    assert_eq!(curl(&["--header", &publisher, &server.url("/api/v1/streams")]).0, 403);
    // Tokens stay out of the log, also those that were part of a URL.
    curl(&[&server.url(&format!("/api/v1/streams?token={token}"))]);
    let log = server.process.said().join("\n");
    assert!(!log.contains(&token), "{log}");
}

#[test]
fn every_port_answers() {
    let server = Server::start(&[]);
    for name in ["http", "hls", "webrtc"] {
        let url = |path: &str| format!("http://127.0.0.1:{}{path}", server.port(name));
        assert_eq!(
            curl(&[&url("/healthz")]),
            (200, "{\"status\":\"ok\"}".to_owned()),
            "{name}"
        );
        let (status, page) = curl(&[&url("/")]);
        assert!(status == 200 && page.contains("action=\"./sign-in\""), "{name}: {page}");
    }
}

#[test]
fn a_session_outlives_a_restart() {
    let server = Server::start(&[]);
    let (jar, token) = (jar(server.folder.path()), format!("token={}", server.token("viewer")));
    let form = ["--cookie-jar", &jar, "--location", "--data-urlencode", &token];
    let (status, home) = curl(&[&form[..], &[&server.url("/sign-in")]].concat());
    assert!(status == 200 && home.contains("\"signed_in\":true"), "{home}");
    let Server { process, folder, .. } = server;
    drop(process);
    let server = Server::start_in(folder, &[]);
    let (status, _) = curl(&["--cookie", &jar, &server.url("/api/v1/streams")]);
    assert_eq!(status, 200);
}

/// The folder is new when the server starts: `link` asks that server all the same, and does not write beside it.
#[test]
fn a_link_is_good_at_the_first_start() {
    let server = Server::start(&[]);
    let mut command = sightline();
    let state = server.state();
    command.args(["link", "--state-dir"]).arg(&state);
    command.env("SIGHTLINE_HTTP_PORT", server.port("http").to_string());
    let said = command.output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    let code = text.lines().next().and_then(|link| link.split_once("/first-run#"));
    let code = code
        .unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&said.stderr)))
        .1;
    let body = format!("{{\"code\":\"{code}\",\"name\":\"anna\",\"password\":\"four plain words of hers\"}}");
    let json = "Content-Type: application/json";
    let (status, text) = curl(&["--header", json, "--data", &body, &server.url("/api/v1/first-run")]);
    assert!(status == 200 && text.contains("anna"), "{status} {text}");
}

#[test]
fn with_open_nothing_is_asked() {
    let server = Server::start(&["--open"]);
    let begun = std::time::Instant::now();
    // Its first picture is still being encoded.
    while curl(&[&server.url("/readyz")]).0 != 200 {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(curl(&[&server.url("/api/v1/streams")]).0, 200);
    assert!(curl(&[&server.url("/")]).1.contains("\"signed_in\":false"));
    let list = format!("http://127.0.0.1:{}/", server.port("webrtc"));
    assert!(
        curl(&[&list])
            .1
            .contains("<a href=\"zerolatency/\">zerolatency</a> <span>live</span>")
    );
}

/// The page, and what it is made of, as a browser gets it.
#[test]
fn the_page_of_a_stream_is_in_the_program() {
    let server = Server::start(&["--open"]);
    let base = format!("http://127.0.0.1:{}", server.port("webrtc"));
    let (status, page) = curl(&["--location", &format!("{base}/zerolatency")]);
    assert!(status == 200 && page.contains("\"name\":\"zerolatency\""), "{page}");
    let named = page.split("\"../").skip(1).filter_map(|rest| rest.split_once('"'));
    let scripts = named.map(|(name, _)| name).filter(|name| name.ends_with(".js"));
    let read = scripts.map(|script| {
        let (status, script) = curl(&["--compressed", &format!("{base}/{script}")]);
        assert_eq!(status, 200);
        script
    });
    // What is read first: what the server wrote into the page.
    assert!(
        read.filter(|script| script.contains("page-config")).count() == 1,
        "{page}"
    );
}

/// The counters move with the pictures, under the names that dashboards are made of.
#[test]
fn prometheus_is_told_how_pictures_go() {
    let server = Server::start(&[]);
    let begun = std::time::Instant::now();
    // Ready is not before the camera's first picture; until then the answer says what is waited for.
    loop {
        let (status, text) = curl(&[&server.url("/readyz")]);
        if status == 200 {
            assert_eq!(text, "{\"status\":\"ready\"}");
            break;
        }
        assert!(
            status == 503 && text.contains("\\\"zerolatency\\\" of this machine has no picture yet"),
            "{status} {text}"
        );
        assert!(begun.elapsed() < PATIENCE, "{text}");
    }
    let (status, _) = curl(&[&server.url("/metrics")]);
    assert_eq!(status, 401);
    let viewer = format!("viewer:{}", server.token("viewer"));
    loop {
        let (status, text) = curl(&["--user", &viewer, &server.url("/metrics")]);
        assert_eq!(status, 200, "{text}");
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
            line.map_or(-1.0, |value| value.parse::<f64>().unwrap())
        };
        let frames = value("sightline_frames_total{role=\"publisher\",protocol=\"camera\"}");
        let delays = value("sightline_latency_seconds_count{stage=\"capture_to_server\",protocol=\"camera\"}");
        let sum = value("sightline_latency_seconds_sum{stage=\"capture_to_server\",protocol=\"camera\"}");
        if frames > 20.0 {
            assert!(delays > 0.0 && sum > 0.0 && sum < delays, "{text}");
            assert_eq!(
                value("sightline_stream_sessions{stream=\"zerolatency\",role=\"publisher\"}"),
                1.0
            );
            assert!(value("process_cpu_seconds_total") > 0.0 && value("process_start_time_seconds") > 1.6e9);
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{text}");
    }
}

/// A camera of the server: what is asked of it is done, and what it has not is refused with the reason.
#[test]
fn a_camera_is_steered() {
    let server = Server::start(&[]);
    let url = server.url("/api/v1/streams/zerolatency/controls");
    let admin = format!("Authorization: Bearer {}", server.token("admin"));
    let get = || -> Value {
        let (status, text) = curl(&["--header", &admin, &url]);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let put = |body: &str| -> (u16, Value) {
        let kind = "Content-Type: application/json";
        let (status, text) = curl(&[
            "--header",
            &admin,
            "--header",
            kind,
            "--request",
            "PUT",
            "--data",
            body,
            &url,
        ]);
        (status, serde_json::from_str(&text).unwrap())
    };
    let begun = std::time::Instant::now();
    // Until it encodes, nobody knows what it can.
    let first = loop {
        let (status, text) = curl(&["--header", &admin, &url]);
        if status == 200 && text.contains("\"kbps\"") {
            break get();
        }
        assert!(begun.elapsed() < PATIENCE, "{text}");
    };
    assert_eq!((&first["by"], &first["running"]), (&"server".into(), &true.into()));
    assert_eq!(
        first["can"],
        serde_json::json!(["running", "keyframe", "kbps", "overlay"])
    );
    let (status, done) = put(r#"{"kbps":400,"overlay":false,"keyframe":true}"#);
    assert_eq!(status, 200, "{done}");
    let all: Vec<bool> = (done["results"].as_array().unwrap().iter())
        .map(|result| result["done"] == true)
        .collect();
    assert_eq!(all, [true, true, true], "{done}");
    let set = get();
    assert_eq!((&set["kbps"], &set["overlay"]), (&400.into(), &false.into()));

    let (status, closed) = put(r#"{"running":false}"#);
    assert_eq!(status, 200, "{closed}");
    assert_eq!(get()["running"], false);
    let (status, opened) = put(r#"{"running":true}"#);
    assert_eq!((status, &get()["running"]), (200, &true.into()), "{opened}");

    for (body, status, code) in [
        (r#"{"brightness":50}"#, 409, "cannot-steer"),
        (r#"{"kbps":-1}"#, 409, "cannot-steer"),
        ("{}", 400, "bad-controls"),
        (r#"{"zoom":1}"#, 400, "bad-controls"),
    ] {
        let (given, problem) = put(body);
        assert_eq!((given, &problem["code"]), (status, &code.into()), "{body}: {problem}");
    }
    // Of several wishes, each has its own answer.
    let (status, both) = put(r#"{"kbps":800,"brightness":50}"#);
    assert_eq!(status, 200, "{both}");
    assert_eq!(
        (&both["results"][0]["done"], &both["results"][1]["done"]),
        (&true.into(), &false.into()),
        "{both}"
    );
    let (status, text) = curl(&["--header", &admin, &server.url("/api/v1/streams/garden/controls")]);
    assert!(status == 404 && text.contains("no-such-camera"), "{text}");
    let viewer = format!("Authorization: Bearer {}", server.token("viewer"));
    assert_eq!(curl(&["--header", &viewer, &url]).0, 403);
}

#[test]
fn the_log_is_read_by_the_api() {
    let server = Server::start(&[]);
    let admin = format!("Authorization: Bearer {}", server.token("admin"));
    let read = |query: &str| -> Value {
        let (status, text) = curl(&["--header", &admin, &server.url(&format!("/api/v1/log{query}"))]);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let newest = read("");
    let lines = newest["lines"].as_array().unwrap();
    assert!(lines.iter().any(|line| line["event"] == "listening"), "{newest}");
    let first = read("?from=0&limit=1");
    assert_eq!((&first["lines"][0], &first["next"]), (&lines[0], &1.into()), "{first}");
    assert_eq!(curl(&["--header", &admin, &server.url("/api/v1/log?from=x")]).0, 400);
    // What was shown is not in it.
    let token = server.token("viewer");
    curl(&[&server.url(&format!("/api/v1/log?token={token}"))]);
    assert!(!read("?limit=1000").to_string().contains(&token));
}
