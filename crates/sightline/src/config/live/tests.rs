//! Changes by the API and by hand, right and wrong.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::config::{Environment, Flag, Wanted, load};

struct Given {
    folder: tempfile::TempDir,
    wanted: Wanted,
}

/// A file with this text; `None`: none is there yet.
fn given(text: Option<&str>) -> Given {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/sightline.toml");
    let given = Given {
        wanted: Wanted {
            search_path: Some(vec![folder.path().join("elsewhere.toml"), path]),
            ..Wanted::default()
        },
        folder,
    };
    if let Some(text) = text {
        std::fs::create_dir(given.folder.path().join("state")).unwrap();
        given.write(text);
    }
    given
}

impl Given {
    fn path(&self) -> PathBuf {
        self.folder.path().join("state/sightline.toml")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    fn live(&self) -> Arc<Live> {
        Live::new(load(&self.wanted).unwrap())
    }

    /// As the next start would have them.
    fn loaded(&self) -> Settings {
        load(&self.wanted).unwrap().settings
    }
}

fn path(dotted: &str) -> Vec<String> {
    dotted.split('.').map(str::to_owned).collect()
}

fn set(key: &str, value: impl Into<toml::Value>) -> Edit {
    Edit::Steps(vec![Step::Set {
        path: path(key),
        value: value.into(),
    }])
}

fn remove(key: &str) -> Edit {
    Edit::Steps(vec![Step::Remove { path: path(key) }])
}

/// All of the file, where it was this before.
fn whole(text: &str, before: &str) -> Edit {
    Edit::File {
        text: text.to_owned(),
        version: version_of(before),
    }
}

const TEXT: &str = "# mine\n[log]\nlevel = \"warn\"\n";

fn somebody() -> Who {
    Who::Caller("admin at 127.0.0.1".to_owned())
}

/// As people read it: `key: from → to (when)`.
fn told(diff: &Diff) -> Vec<String> {
    let text = |value: &Option<serde_json::Value>| value.as_ref().map_or("-".to_owned(), ToString::to_string);
    let line = |change: &Change| {
        format!(
            "{}: {} → {} ({})",
            change.key,
            text(&change.from),
            text(&change.to),
            change.takes
        )
    };
    diff.changed.iter().map(line).collect()
}

#[test]
fn a_change_is_in_the_file_and_told() {
    let given = given(Some("# mine\n[log]\nlevel = \"info\" # quiet\n"));
    let live = given.live();
    let changes = live.changes();
    let edit = set("log.level", "debug");
    let expected = ["log.level: \"info\" → \"debug\" (now)"];
    assert_eq!(told(&live.propose(&edit).unwrap()), expected);
    assert!(!changes.has_changed().unwrap(), "nothing is applied by asking");
    assert_eq!(told(&live.apply(&edit, &somebody()).unwrap()), expected);
    assert_eq!(given.text(), "# mine\n[log]\nlevel = \"debug\" # quiet\n");
    assert!(changes.has_changed().unwrap());
    assert_eq!(live.now().log.level.to_string(), "debug");
    assert_eq!(*live.now(), given.loaded());
}

#[test]
fn the_first_change_makes_a_file_that_the_next_start_finds() {
    let given = given(None);
    let live = given.live();
    live.apply(&set("log.level", "debug"), &somebody()).unwrap();
    assert_eq!(given.text(), format!("{NEW_FILE}\n[log]\nlevel = \"debug\"\n"));
    assert_eq!(given.loaded().log.level.to_string(), "debug");
    assert_eq!(live.view().file, Some(given.path().display().to_string()));
    live.apply(&remove("log.level"), &somebody()).unwrap();
    assert_eq!(*live.now(), Settings::default());
}

/// Found by a test of streams that failed: who writes the file in place empties it first, and that was taken for settings.
#[test]
fn a_file_that_is_being_written_is_left_for_later() {
    let given = given(Some("[rtsp]\ntimeout = \"9s\"\n"));
    let live = given.live();
    std::fs::write(given.path(), "").unwrap();
    let found = crate::files::Stamp::of(&given.path());
    let written = |path: &Path| {
        std::fs::write(path, "[rtsp]\ntimeout = \"8s\"\n").unwrap();
        crate::files::Stamp::of(path) == found
    };
    assert!(!live.reread_if(&Who::File, written), "it is another than was found");
    assert_eq!(live.now().rtsp.timeout.to_string(), "9s");
    live.reread(&Who::File);
    assert_eq!(live.now().rtsp.timeout.to_string(), "8s");
}

#[test]
fn a_file_that_appears_is_taken() {
    let given = given(None);
    let live = given.live();
    live.reread(&Who::File);
    std::fs::write(given.folder.path().join("elsewhere.toml"), "[rtsp]\ntimeout = \"9s\"\n").unwrap();
    live.reread(&Who::File);
    assert_eq!(live.now().rtsp.timeout.to_string(), "9s");
}

#[rstest]
#[case(
    set("log.level", "loud"),
    "state/sightline.toml:3:9: log.level: \"loud\" is not a log level"
)]
#[case(set("rtsp.port", 70_000), "rtsp.port: expected a whole number from 0 to 65535")]
#[case(set("rtsp.prot", 1), "there is no such key; did you mean rtsp.port?")]
#[case(set("stream.a b.always_available", true), "stream.a b: ")]
#[case(set("rtsp.rtcp_port", 8_000), "8000 is rtsp.rtp_port already")]
#[case(whole("[rtsp]\nport = ", TEXT), "state/sightline.toml:2:")]
#[case(Edit::Steps(vec![Step::Set { path: path("log.level"), value: "debug".into() }, Step::Set { path: path("http.port"), value: "x".into() }]), "http.port: ")]
fn an_invalid_change_is_refused_whole(#[case] edit: Edit, #[case] expected: &str) {
    let given = given(Some(TEXT));
    let live = given.live();
    let changes = live.changes();
    let refused = live.apply(&edit, &somebody()).unwrap_err();
    assert_eq!(refused.why, Why::Invalid);
    assert!(refused.to_string().contains(expected), "{refused}");
    assert_eq!(live.propose(&edit), Err(refused));
    assert_eq!(given.text(), TEXT);
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn what_variables_and_flags_hold_is_not_changed() {
    let mut given = given(Some("[camera.door]\n[stream.yard]\n"));
    let variables = [
        ("SIGHTLINE_RTSP_TIMEOUT", "9s"),
        ("SIGHTLINE_STREAM_YARD_ALWAYS_AVAILABLE", "1"),
    ];
    given.wanted.environment = Environment::of(variables);
    given.wanted.flags.push(Flag {
        flag: "--log-level",
        key: "log.level",
        value: "warn".to_owned(),
    });
    let live = given.live();
    for (edit, holder) in [
        (
            set("rtsp.timeout", "8s"),
            "SIGHTLINE_RTSP_TIMEOUT (environment): rtsp.timeout: ",
        ),
        (remove("rtsp.timeout"), "SIGHTLINE_RTSP_TIMEOUT (environment): "),
        (
            set("log.level", "debug"),
            "--log-level: log.level: this wins over the settings file",
        ),
        (remove("stream.yard"), "stream.yard.always_available: "),
    ] {
        let refused = live.apply(&edit, &somebody()).unwrap_err();
        assert_eq!(refused.why, Why::Held, "{refused}");
        assert!(refused.to_string().contains(holder), "{refused}");
    }
    // By hand nobody can be told; it has no effect.
    given.write("[log]\nlevel = \"debug\"\n[camera.door]\n");
    live.reread(&Who::File);
    assert_eq!(live.now().log.level.to_string(), "warn");
    assert_eq!(*live.now(), given.loaded());
}

#[test]
fn an_error_by_hand_changes_nothing_and_stands_in_the_way_of_changes() {
    let given = given(Some("[log]\nlevel = \"warn\"\n"));
    let live = given.live();
    for broken in ["[log]\nlevel = \"loud\"\n", "[log\n", ""] {
        given.write(broken);
        live.reread(&Who::File);
        if !broken.is_empty() {
            assert_eq!(live.now().log.level.to_string(), "warn");
            let refused = live.apply(&set("rtsp.timeout", "9s"), &somebody()).unwrap_err();
            assert_eq!(refused.why, Why::File, "{refused}");
            assert_eq!(given.text(), broken);
        }
    }
    assert_eq!(*live.now(), Settings::default(), "an empty file is a whole one");
    std::fs::remove_file(given.path()).unwrap();
    live.reread(&Who::File);
    live.apply(&set("log.level", "debug"), &somebody()).unwrap();
    assert_eq!(given.loaded().log.level.to_string(), "debug");
}

#[test]
fn a_change_by_hand_that_was_not_seen_yet_is_kept() {
    let given = given(Some("[log]\nlevel = \"warn\"\n"));
    let live = given.live();
    given.write("[log]\nlevel = \"warn\"\n[rtsp]\ntimeout = \"9s\"\n");
    let diff = live.apply(&set("log.level", "debug"), &somebody()).unwrap();
    assert_eq!(diff.changed.len(), 2, "{diff:?}");
    assert_eq!(*live.now(), given.loaded());
    let changes = live.changes();
    live.reread(&Who::File);
    assert!(!changes.has_changed().unwrap(), "the own writing is no news");
}

#[test]
fn secrets_are_masked_and_masks_are_no_secrets() {
    let given = given(Some("[auth]\ntoken = \"canary-1\"\n"));
    let live = given.live();
    let diff = live.apply(&set("auth.token", "canary-2"), &somebody()).unwrap();
    assert_eq!(told(&diff), ["auth.token: \"[redacted]\" → \"[redacted]\" (now)"]);
    assert!(!format!("{diff:?}{:?}", live.lock().loaded).contains("canary"));
    let refused = live.apply(&set("auth.token", "[redacted]"), &somebody()).unwrap_err();
    assert!(refused.to_string().contains("shown in place of a secret"), "{refused}");
    let masked = set("publish.url", "rtsp://***@host/a");
    assert_eq!(live.propose(&masked).unwrap_err().why, Why::Invalid);
    let masked = set("stream.door.source", "rtsp://host/a?password=***");
    assert_eq!(live.propose(&masked).unwrap_err().why, Why::Invalid);
    let url = set("publish.url", "rtsp://viewer:canary-3@host/a");
    assert!(!format!("{:?}", live.propose(&url).unwrap()).contains("canary"));
}

#[test]
fn what_means_the_same_is_no_change() {
    let given = given(Some("[rtsp]\ntimeout = \"60s\"\n[stream.door]\n"));
    let live = given.live();
    let changes = live.changes();
    for edit in [
        set("rtsp.timeout", "1min"),
        remove("rtsp.timeout"),
        set("stream.door.always_available", false),
    ] {
        assert!(live.apply(&edit, &somebody()).unwrap().is_empty());
        assert!(!changes.has_changed().unwrap());
    }
    assert_eq!(
        given.text(),
        "[stream.door]\nalways_available = false\n".replacen("[stream", "[rtsp]\n[stream", 1)
    );
}

#[test]
fn what_waits_for_the_next_start_is_known() {
    let given = given(Some(""));
    let live = given.live();
    live.apply(&set("rtsp.port", 9_554), &somebody()).unwrap();
    live.apply(&set("log.level", "debug"), &somebody()).unwrap();
    assert_eq!(
        told(&live.view().waiting),
        ["rtsp.port: 8554 → 9554 (at the next start)"]
    );
    live.apply(&remove("rtsp.port"), &somebody()).unwrap();
    assert!(live.view().waiting.is_empty());
}

#[test]
fn the_view_has_all_that_holds_and_no_secrets() {
    let mut given = given(Some("[auth]\ntoken = \"canary\"\n[stream.\"a/b\"]\n"));
    given.wanted.environment = Environment::of([("SIGHTLINE_RTSP_TIMEOUT", "9s")]);
    let view = serde_json::to_value(given.live().view()).unwrap();
    let settings = &view["settings"];
    assert_eq!(settings["auth"]["token"], "[redacted]");
    assert_eq!(settings["rtsp"]["timeout"], "9s");
    assert_eq!(settings["rtsp"]["port"], 8_554);
    assert_eq!(settings["stream"]["a/b"]["always_available"], false);
    assert_eq!(settings["limits"]["memory"], serde_json::Value::Null);
    assert_eq!(view["origins"]["rtsp.timeout"], "SIGHTLINE_RTSP_TIMEOUT (environment)");
    assert_eq!(view["waiting"]["changed"], serde_json::json!([]));
    assert!(!view.to_string().contains("canary"));
}

#[tokio::test]
async fn who_keeps_a_part_hears_of_that_part_alone() {
    let given = given(Some(""));
    let live = given.live();
    let mut level = live.part(|settings| settings.log.level.to_string());
    assert_eq!(level.now(), "info");
    live.apply(&set("stream.door.always_available", true), &somebody())
        .unwrap();
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(20), level.changed()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    live.apply(&set("log.level", "debug"), &somebody()).unwrap();
    live.apply(&set("log.level", "trace"), &somebody()).unwrap();
    assert_eq!(level.changed().await, "trace");
    assert_eq!(level.now(), "trace");
}

/// Files as people write them.
const TEXTS: [&str; 5] = [
    "",
    "# 0\n[log] # 1\n# 2\nlevel = \"info\" # 3\n\n# 4\n[stream.door]\nalways_available = true\n# 5\n[stream.\"a/b\"]\n# 6",
    "log.level = \"info\" # 0\n# 1\nrtsp.timeout = \"9s\"\nstream.door.always_available = true\n# 2\n",
    "# 0\nlog = { level = \"info\", format = \"json\" } # 1\nstream = { door = { always_available = true }, yard = {} }\n# 2\n",
    "# 0\n[stream]\ndoor = {}\nyard.always_available = true\n# 1\n[auth]\n# 2\ntrusted_networks = [\n  \"10.0.0.0/8\",\n] # 3\n# 4\n",
];

fn any_step() -> impl Strategy<Value = Step> {
    let key = prop::sample::select(vec![
        ("log.level", vec!["info".into(), "debug".into(), "loud".into()]),
        ("log.format", vec!["json".into(), "human".into()]),
        (
            "rtsp.timeout",
            vec!["9s".into(), "1min".into(), toml::Value::Integer(7)],
        ),
        ("rtsp.port", vec![1.into(), 8_554.into(), 70_000.into()]),
        (
            "auth.trusted_networks",
            vec![vec!["10.0.0.0/8"].into(), Vec::<String>::new().into()],
        ),
        ("stream.door.always_available", vec![true.into(), false.into()]),
        ("stream.yard.always_available", vec![true.into(), false.into()]),
        ("stream.a/b.always_available", vec![true.into(), "x".into()]),
    ]);
    let key = key.prop_flat_map(|(key, values)| (Just(key), prop::sample::select(values)));
    prop_oneof![
        4 => key.clone().prop_map(|(key, value)| Step::Set { path: path(key), value }),
        2 => key.prop_map(|(key, _)| Step::Remove { path: path(key) }),
        1 => name().prop_map(|name| Step::Remove { path: vec!["stream".to_owned(), name] }),
        1 => name().prop_map(|name| Step::Add { path: vec!["stream".to_owned(), name] }),
        1 => (name(), any::<Option<bool>>()).prop_map(|(name, value)| Step::Table {
            path: vec!["stream".to_owned(), name],
            values: value.map(|value| ("always_available".to_owned(), value.into())).into_iter().collect(),
        }),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["door", "yard", "a/b", "new"]).prop_map(str::to_owned)
}

fn comments(text: &str) -> BTreeMap<&str, usize> {
    let lines = text
        .lines()
        .filter_map(|line| line.find('#').map(|at| line.get(at..).unwrap_or_default()));
    lines.fold(BTreeMap::new(), |mut all, comment| {
        *all.entry(comment).or_default() += 1;
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever is changed, the file says what was announced, and comments stay but those within what was removed.
    #[test]
    fn the_file_says_what_was_announced(
        text in prop::sample::select(TEXTS.to_vec()),
        edits in prop::collection::vec(prop::collection::vec(any_step(), 1..4), 1..8),
    ) {
        let given = given(Some(text));
        let live = given.live();
        let mut announced = live.changes();
        for steps in edits {
            let before = (given.text(), live.now());
            let only_sets = steps.iter().all(|step| matches!(step, Step::Set { .. }));
            let edit = Edit::Steps(steps);
            let proposed = live.propose(&edit);
            prop_assert_eq!(&proposed, &live.apply(&edit, &somebody()));
            match proposed {
                Ok(diff) => {
                    let changed = announced.has_changed().unwrap();
                    prop_assert_eq!(changed, !diff.is_empty());
                    prop_assert_eq!(&**announced.borrow_and_update(), &given.loaded());
                    if only_sets {
                        let after = given.text();
                        prop_assert_eq!(comments(&before.0), comments(&after));
                    }
                }
                Err(refused) => {
                    prop_assert!(refused.why == Why::Invalid, "{}\n{}", refused, before.0);
                    prop_assert_eq!(&before, &(given.text(), live.now()));
                }
            }
        }
        // What stands in lines of its own in front of all is never lost.
        if text.starts_with("# 0") {
            prop_assert!(given.text().starts_with("# 0\n"), "{}", given.text());
        }
    }
}

/// Whoever may change settings by HTTP shall not run programs by that.
#[test]
fn programs_are_not_taken_from_callers() {
    let text = "[stream.door]\nsource = \"EXEC:play a\"\n[camera.yard]\nsource = \"exec:film\"\n";
    let given = given(Some(text));
    let live = given.live();
    for edit in [
        set("stream.door.source", "exec:play b"),
        set("stream.gate.source", " Exec:play a"),
        set("camera.yard.source", "exec:film | tee x"),
        set("camera.gate.source", "exec:film"),
        Edit::Steps(vec![Step::Set {
            path: path("stream.gate.source"),
            value: toml::Value::Array(vec!["rtsp://a/b".into(), "exec:play a".into()]),
        }]),
    ] {
        let refused = live.apply(&edit, &somebody()).unwrap_err();
        assert_eq!(refused.why, Why::Program, "{edit:?}");
        assert_eq!(live.propose(&edit).unwrap_err().why, Why::Program, "{edit:?}");
    }
    assert_eq!(given.text(), text);
    // What runs may stay, and go; its arguments are not shown.
    live.apply(&set("stream.door.on_demand", true), &somebody()).unwrap();
    assert_eq!(live.view().settings["stream"]["door"]["source"], "exec:play …");
    let diff = live
        .apply(&set("stream.door.source", "rtsp://a/b"), &somebody())
        .unwrap();
    assert_eq!(
        told(&diff),
        ["stream.door.source: \"exec:play …\" → \"rtsp://a/b\" (now)"]
    );
    live.apply(&remove("camera.yard"), &somebody()).unwrap();
    // Who has the file may do everything.
    given.write(text);
    live.reread(&Who::File);
    assert!(live.now().stream.values().any(|stream| stream.source.is_some()));
}

/// Whoever may change settings by HTTP shall not have our own networks asked by that.
#[test]
fn private_addresses_are_not_taken_from_callers() {
    let text = "[webhook.own]\nurl = \"http://10.0.0.5/canary\"\nallow_private = true\n[webhook.far]\nurl = \"https://example.com/canary\"\n";
    let given = given(Some(text));
    let live = given.live();
    let table = |name: &str, values: &[(&str, toml::Value)]| {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let path = path(&format!("webhook.{name}"));
        Edit::Steps(vec![Step::Table {
            path,
            values: values.collect(),
        }])
    };
    let private = ("allow_private", toml::Value::Boolean(true));
    for (edit, key) in [
        (set("webhook.far.allow_private", true), "webhook.far.allow_private"),
        (set("webhook.own.url", "http://10.0.0.6/"), "webhook.own.url"),
        (set("webhook.far.secret_file", "/etc/shadow"), "webhook.far.secret_file"),
        (
            table("new", &[("url", "http://10.0.0.5/canary".into()), private]),
            "webhook.new.allow_private",
        ),
    ] {
        let refused = live.apply(&edit, &somebody()).unwrap_err();
        assert_eq!(
            (refused.why, refused.problems[0].key.as_str()),
            (Why::Reach, key),
            "{edit:?}"
        );
    }
    let refused = live.apply(&table("new", &[("url", "http://127.0.0.1/".into())]), &somebody());
    assert_eq!(refused.unwrap_err().why, Why::Invalid);
    assert_eq!(given.text(), text);
    // What is there may stay, and go. Of its URL the server alone is shown, which is no URL to be set.
    assert_eq!(live.view().settings["webhook"]["own"]["url"], "http://10.0.0.5/***");
    let masked = live.apply(&set("webhook.far.url", "https://example.com/***"), &somebody());
    assert!(masked.unwrap_err().to_string().contains("not the secret"));
    let words = toml::Value::Array(vec!["stream.*".into()]);
    live.apply(&set("webhook.own.events", words), &somebody()).unwrap();
    live.apply(&set("webhook.far.url", "https://example.com/other"), &somebody())
        .unwrap();
    live.apply(&set("webhook.own.allow_private", false), &somebody())
        .unwrap_err();
    live.apply(&remove("webhook.own"), &somebody()).unwrap();
    assert_eq!(live.now().webhook.len(), 1);
}

/// Whoever may change settings by HTTP shall not choose what the next relay asks, and into which folders it writes.
#[test]
fn what_a_relay_does_is_not_taken_from_callers() {
    let text = "[relay.door]\nsource = \"rtsp://10.0.0.4/1\"\nrecord_dir = \"/mnt/door\"\n";
    let given = given(Some(text));
    let live = given.live();
    for edit in [
        set("relay.door.record_dir", "/etc"),
        set("relay.door.source", "rtsp://10.0.0.5/1"),
    ] {
        let refused = live.apply(&edit, &somebody()).unwrap_err();
        assert_eq!(
            (refused.why, refused.problems[0].key.as_str()),
            (Why::Reach, "relay.door")
        );
    }
    assert_eq!(given.text(), text);
    live.apply(&remove("relay.door"), &somebody()).unwrap();
}

/// Whoever may change settings by HTTP shall not have the passwords of others sent to themselves.
#[test]
fn who_decides_is_not_taken_from_callers() {
    let text = "[auth]\nmethod = \"http\"\nhttp.url = \"https://me:canary@auth.example/\"\n";
    let given = given(Some(text));
    let live = given.live();
    for (edit, key) in [
        (set("auth.method", "own"), "auth.method"),
        (set("auth.http.url", "https://evil.example/"), "auth.http"),
        (set("auth.jwt.jwks", "https://evil.example/"), "auth.jwt"),
    ] {
        let refused = live.apply(&edit, &somebody()).unwrap_err();
        assert_eq!(
            (refused.why, refused.problems[0].key.as_str()),
            (Why::Reach, key),
            "{edit:?}"
        );
    }
    assert_eq!(given.text(), text);
    assert!(!serde_json::to_string(&live.view()).unwrap().contains("canary"));
    live.apply(&set("auth.replay", "trusted"), &somebody()).unwrap();
}

/// Whoever may change settings by HTTP shall not be able to let themselves in by a header from then on.
#[test]
fn who_is_believed_as_a_proxy_is_not_taken_from_callers() {
    let text = "[proxy]\ntrusted = [\"10.0.0.1\"]\n";
    let given = given(Some(text));
    let live = given.live();
    for edit in [
        set("proxy.trusted", toml::Value::Array(vec!["0.0.0.0/0".into()])),
        set("proxy.default_role", "admin"),
        set("proxy.secret_file", "/etc/hostname"),
        remove("proxy.trusted"),
    ] {
        let refused = live.apply(&edit, &somebody()).unwrap_err();
        assert_eq!((refused.why, refused.problems[0].key.as_str()), (Why::Reach, "proxy"));
    }
    assert_eq!(given.text(), text);
    live.apply(
        &set("http.hosts", toml::Value::Array(vec!["cams.example".into()])),
        &somebody(),
    )
    .unwrap();
}
