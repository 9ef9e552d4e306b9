//! What the API says of settings, and how it changes them.

use super::*;

const PATH: &str = "/api/v1/config";

impl World {
    async fn settings(&self, method: Method, path: &str, body: &str) -> Reply {
        let headers = [
            ("authorization", "Bearer a-token"),
            ("content-type", "application/json; charset=utf-8"),
        ];
        ask(&self.dashboard, ELSEWHERE, method, path, &headers, body).await
    }

    fn file(&self) -> std::path::PathBuf {
        self.state.path().join("sightline.toml")
    }
}

#[tokio::test]
async fn a_change_is_proposed_made_and_shown() {
    let world = World::new();
    let body = "{\"log\":{\"level\":\"debug\"},\"stream\":{\"house/door\":{\"always_available\":true},\"yard\":{}},\"http\":{\"port\":1}}";
    let mut expected = serde_json::json!({
        "changed": [
            {"key": "http.port", "from": 8_000, "to": 1, "takes": "restart"},
            {"key": "log.level", "from": "info", "to": "debug", "takes": "now"},
            {"key": "stream.house/door", "from": null, "to": {}, "takes": "now"},
            {"key": "stream.house/door.always_available", "from": false, "to": true, "takes": "now"},
            {"key": "stream.yard", "from": null, "to": {}, "takes": "now"},
        ],
        "dry_run": true,
        "file": null,
    });
    let proposed = world.settings(Method::PATCH, &format!("{PATH}?dry_run=1"), body).await;
    assert_eq!((proposed.status, proposed.json()), (StatusCode::OK, expected.clone()));
    assert!(!world.file().exists());

    let made = world.settings(Method::PATCH, PATH, body).await;
    expected["dry_run"] = false.into();
    expected["file"] = world.file().display().to_string().into();
    assert_eq!((made.status, made.json()), (StatusCode::OK, expected));
    assert_eq!(world.shared.settings.live.now().log.level.to_string(), "debug");

    let shown = world.settings(Method::GET, PATH, "").await.json();
    assert_eq!(shown["settings"]["stream"]["house/door"]["always_available"], true);
    assert_eq!(shown["settings"]["rtsp"]["port"], 9_554);
    assert_eq!(shown["origins"]["rtsp.port"], "SIGHTLINE_RTSP_PORT (environment)");
    assert_eq!(shown["waiting"]["changed"][0]["key"], "http.port");

    let again = world
        .settings(
            Method::PATCH,
            PATH,
            "{\"log\":{\"level\":null},\"stream\":{\"yard\":null}}",
        )
        .await;
    assert_eq!(again.json()["changed"].as_array().unwrap().len(), 2, "{again:?}");
    let text = std::fs::read_to_string(world.file()).unwrap();
    assert!(!text.contains("level") && !text.contains("yard"), "{text}");
}

#[tokio::test]
async fn the_table_of_a_stream_is_put_and_deleted() {
    let world = World::new();
    let path = "/api/v1/config/streams/house%2Fdoor";
    let put = world.settings(Method::PUT, path, "{\"always_available\":true}").await;
    assert_eq!(put.json()["changed"].as_array().unwrap().len(), 2, "{put:?}");
    let put = world.settings(Method::PUT, path, "{}").await;
    assert_eq!(put.json()["changed"][0]["to"], false, "{put:?}");
    let expression = "/api/v1/config/streams/~%5Efloor%2F(.+)$";
    let put = world
        .settings(Method::PUT, expression, "{\"source\":\"rtsp://10.0.0.1/$1\"}")
        .await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    let table = &world.settings(Method::GET, PATH, "").await.json()["settings"]["stream"]["~^floor/(.+)$"];
    assert_eq!(table["source"], "rtsp://10.0.0.1/$1");
    assert_eq!(world.settings(Method::DELETE, path, "").await.status, StatusCode::OK);
    assert_eq!(world.settings(Method::DELETE, path, "").await.code(), "no-such-table");
}

#[tokio::test]
async fn what_is_refused_says_all_reasons() {
    let world = World::new();
    std::fs::write(world.file(), "# mine\n").unwrap();
    let wrong = "{\"log\":{\"level\":\"loud\",\"colour\":1}}";
    let wrong = world.settings(Method::PATCH, PATH, wrong).await;
    assert_eq!(
        (wrong.status, wrong.code().as_str()),
        (StatusCode::BAD_REQUEST, "bad-settings")
    );
    let problems = &wrong.json()["problems"];
    assert_eq!(
        (&problems[0]["key"], &problems[0]["line"]),
        (&"log.level".into(), &4.into()),
        "{problems}"
    );
    assert_eq!(problems[1]["key"], "log.colour", "{problems}");

    let held = world.settings(Method::PATCH, PATH, "{\"rtsp\":{\"port\":1}}").await;
    assert_eq!(
        (held.status, held.code().as_str()),
        (StatusCode::CONFLICT, "held-elsewhere")
    );
    assert_eq!(
        held.json()["problems"][0]["origin"],
        "SIGHTLINE_RTSP_PORT (environment)",
        "{held:?}"
    );

    std::fs::write(world.file(), "[log\n").unwrap();
    let unusable = world
        .settings(Method::PATCH, PATH, "{\"log\":{\"level\":\"debug\"}}")
        .await;
    assert_eq!(
        (unusable.status, unusable.code().as_str()),
        (StatusCode::CONFLICT, "file-unusable")
    );
    assert_eq!(std::fs::read_to_string(world.file()).unwrap(), "[log\n");
}

#[tokio::test]
async fn what_is_no_settings_is_refused() {
    let world = World::new();
    let many: serde_json::Map<_, _> = (0..300).map(|n| (format!("k{n}"), 1.into())).collect();
    let many = serde_json::json!({ "log": many }).to_string();
    let long = format!("{{\"log\":{{\"level\":\"{}\"}}}}", "x".repeat(70_000));
    for (body, code) in [
        ("", "bad-settings"),
        ("[]", "bad-settings"),
        ("{\"log\":null}", "bad-settings"),
        ("{\"stream\":{\"door\":1}}", "bad-settings"),
        ("{\"stream\":{\"a b\":{}}}", "bad-settings"),
        ("{\"auth\":{\"trusted_networks\":[null]}}", "bad-settings"),
        ("{\"auth\":{\"token\":\"[redacted]\"}}", "bad-settings"),
        ("{\"log\":{\"level\":{\"x\":1}}}", "bad-settings"),
        (&many, "bad-settings"),
        (&long, "too-large"),
    ] {
        let reply = world.settings(Method::PATCH, PATH, body).await;
        assert_eq!(reply.code(), code, "{body:.80} {reply:?}");
        assert!(!world.file().exists(), "{body:.80}");
    }
}

/// A page of another site must not change anything in the name of an admin who looks at it.
#[tokio::test]
async fn a_cookie_changes_nothing_for_pages_of_other_sites() {
    let world = World::new();
    let cookie = world.cookie(AuthRole::Admin);
    let headers = |site| {
        [
            ("cookie", cookie.clone()),
            ("content-type", "application/json".to_owned()),
            ("sec-fetch-site", site),
        ]
    };
    for (site, status) in [("cross-site", StatusCode::FORBIDDEN), ("same-origin", StatusCode::OK)] {
        let headers = headers(site.to_owned());
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = "{\"log\":{\"level\":\"debug\"}}";
        let reply = ask(&world.dashboard, ELSEWHERE, Method::PATCH, PATH, &headers, body).await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
}

/// Whoever has the admin's token changes settings, and runs no programs.
#[tokio::test]
async fn commands_are_not_taken() {
    let world = World::new();
    std::fs::write(world.file(), "[stream.door]\nrun_on_read = \"logger canary\"\n").unwrap();
    world.shared.settings.live.reread(&crate::config::live::Who::Signal);
    for body in [
        "{\"stream\":{\"yard\":{\"run_on_available\":\"logger x\"}}}",
        "{\"stream\":{\"door\":{\"run_on_read\":\"logger x\"}}}",
        "{\"stream\":{\"~^y\":{\"run_on_unread\":\"logger x\"}}}",
    ] {
        let reply = world.settings(Method::PATCH, PATH, body).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::FORBIDDEN, "programs-refused"),
            "{body}"
        );
        assert!(reply.text.contains("are not taken by HTTP"), "{reply:?}");
    }
    let shown = world.settings(Method::GET, PATH, "").await;
    assert!(!shown.text.contains("canary"), "{shown:?}");
    let body = "{\"stream\":{\"door\":{\"always_available\":true}}}";
    assert_eq!(
        world.settings(Method::PATCH, PATH, body).await.status,
        StatusCode::OK,
        "what is there may stay"
    );
    let body = "{\"stream\":{\"door\":{\"run_on_read\":null}}}";
    assert_eq!(
        world.settings(Method::PATCH, PATH, body).await.status,
        StatusCode::OK,
        "and be taken away"
    );
}

const FILE: &str = "/api/v1/config/file";
const SECRETS: &str = "# mine\n[auth]\ntoken = \"canary-token\" # why\n\n[stream.door]\nsource = \"rtsp://me:canary-password@10.0.0.4/a\"\n";

impl World {
    /// With this file, as it was read at the start.
    fn with_file(text: &str) -> Self {
        let world = Self::new();
        std::fs::write(world.file(), text).unwrap();
        world.shared.settings.live.reread(&crate::config::live::Who::Signal);
        world
    }

    async fn put_file(&self, path: &str, text: &str, version: &Value) -> Reply {
        let body = serde_json::json!({ "text": text, "version": version }).to_string();
        self.settings(Method::PUT, path, &body).await
    }
}

#[tokio::test]
async fn the_file_is_shown_without_secrets_and_they_return() {
    let world = World::with_file(SECRETS);
    let shown = world.settings(Method::GET, FILE, "").await;
    assert!(!shown.text.contains("canary"), "{shown:?}");
    let shown = shown.json();
    assert_eq!((&shown["exists"], &shown["read_only"]), (&true.into(), &Value::Null));
    let text = shown["text"].as_str().unwrap();
    assert!(
        text.contains("token = \"[redacted]\" # why") && text.contains("rtsp://***@10.0.0.4/a"),
        "{text}"
    );
    let changed = format!("{text}on_demand = true\n\n[log]\nlevel = \"debug\"\n").replace("10.0.0.4/a", "10.0.0.4/b");

    let proposed = world
        .put_file(&format!("{FILE}?dry_run=1"), &changed, &shown["version"])
        .await;
    assert_eq!(proposed.status, StatusCode::OK, "{proposed:?}");
    assert_eq!(std::fs::read_to_string(world.file()).unwrap(), SECRETS);
    let keys = |reply: &Reply| -> Vec<String> {
        let json = reply.json();
        let changed = json["changed"].as_array().unwrap().iter();
        changed
            .map(|change| change["key"].as_str().unwrap().to_owned())
            .collect()
    };
    let expected = ["log.level", "stream.door.on_demand", "stream.door.source"];
    assert_eq!(keys(&proposed), expected);

    let made = world.put_file(FILE, &changed, &shown["version"]).await;
    assert_eq!(
        (made.status, keys(&made)),
        (StatusCode::OK, expected.map(str::to_owned).to_vec())
    );
    assert!(!made.text.contains("canary"), "{made:?}");
    let written = std::fs::read_to_string(world.file()).unwrap();
    assert!(
        written.contains("token = \"canary-token\" # why") && written.contains("me:canary-password@10.0.0.4/b"),
        "{written}"
    );
    assert_eq!(world.shared.settings.live.now().log.level.to_string(), "debug");

    // What was shown is another by now.
    let late = world.put_file(FILE, text, &shown["version"]).await;
    assert_eq!(
        (late.status, late.code().as_str()),
        (StatusCode::CONFLICT, "file-changed")
    );
}

#[tokio::test]
async fn what_is_wrong_in_the_file_is_refused_by_its_line() {
    let world = World::with_file(SECRETS);
    let shown = world.settings(Method::GET, FILE, "").await.json();
    let text = shown["text"].as_str().unwrap();
    for (changed, line, code, status) in [
        (format!("{text}[log\n"), 7, "bad-settings", StatusCode::BAD_REQUEST),
        (
            format!("{text}[log]\nlevel = \"loud\"\n"),
            8,
            "bad-settings",
            StatusCode::BAD_REQUEST,
        ),
        (
            text.replace("@10.0.0.4", "@10.6.6.6"),
            6,
            "bad-settings",
            StatusCode::BAD_REQUEST,
        ),
        (
            text.replace("[stream.door]", "[stream.yard]"),
            6,
            "bad-settings",
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let refused = world.put_file(FILE, &changed, &shown["version"]).await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{changed}");
        assert_eq!(refused.json()["problems"][0]["line"], line, "{refused:?}");
        assert!(!refused.text.contains("canary"), "{refused:?}");
    }
    for (added, code) in [
        ("run_on_read = \"logger x\"\n", "programs-refused"),
        ("[record]\npath = \"/etc\"\n", "reach-refused"),
    ] {
        let refused = world.put_file(FILE, &format!("{text}{added}"), &shown["version"]).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, code));
    }
    let bare = world.settings(Method::PUT, FILE, "{\"text\":\"\"}").await;
    assert_eq!(bare.code(), "bad-settings");
    let long = world.put_file(FILE, &"#".repeat(3 << 20), &shown["version"]).await;
    assert_eq!(long.code(), "too-large");
    assert_eq!(std::fs::read_to_string(world.file()).unwrap(), SECRETS);
}

/// Nobody knows where the secrets are of what is no TOML.
#[tokio::test]
async fn a_broken_file_is_not_shown() {
    let world = World::with_file(SECRETS);
    std::fs::write(world.file(), "[auth\ntoken = \"canary\"\n").unwrap();
    let reply = world.settings(Method::GET, FILE, "").await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (StatusCode::CONFLICT, "file-unusable")
    );
    assert!(!reply.text.contains("canary"), "{reply:?}");
}

#[tokio::test]
async fn where_there_is_no_file_one_is_begun() {
    let world = World::new();
    let shown = world.settings(Method::GET, FILE, "").await.json();
    assert_eq!(shown["exists"], false);
    let made = world
        .put_file(FILE, "[log]\nlevel = \"debug\"\n", &shown["version"])
        .await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    assert_eq!(
        std::fs::read_to_string(world.file()).unwrap(),
        "[log]\nlevel = \"debug\"\n"
    );
}

#[tokio::test]
async fn the_schema_has_what_forms_need() {
    let world = World::new();
    let schema = world.settings(Method::GET, "/api/v1/config/schema", "").await.json();
    let level = &schema["properties"]["log"]["properties"]["level"];
    assert_eq!((&level["x-takes"], &level["default"]), (&"now".into(), &"info".into()));
}
