//! Wrong settings, and the commands about settings.

use crate::{run, stderr, stdout};

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("sightline.toml"),
        "[rtsp]\nprot = 1\n[camera.door]\nbitrate = \"fast\"\n",
    )
    .unwrap();
    for command in [
        &["up"][..],
        &["serve"],
        &["publish"],
        &["receive"],
        &["config", "check"],
    ] {
        let output = run(folder.path(), command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let said = stderr(&output);
        for expected in [
            "sightline.toml:2:1: rtsp.prot: there is no such key; did you mean rtsp.port?",
            "sightline.toml:4:11: camera.door.bitrate: ",
        ] {
            assert!(said.contains(expected), "{command:?}: {said}");
        }
    }
}

#[test]
fn flags_and_variables_are_named_too() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["serve", "--rtsp-port", "99999"][..], "--rtsp-port: rtsp.port: "),
        (&["up", "--source", "webcam"], "--source: camera.zerolatency.source: "),
        (
            &["receive", "--display-mode", "cinema"],
            "--display-mode: receive.display_mode: ",
        ),
        (&["receive", "http://host/a"], "URL: receive.url: "),
        (
            &["serve", "--config", "nothing.toml"],
            "nothing.toml: there is no such file",
        ),
        (&["serve", "mediamtx.yml"], "mediamtx.yml is YAML"),
        (&["up", "--log", "xml"], "--log: log.format: "),
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_file_can_be_made_checked_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["config", "init", "sightline.toml"]);
    assert_eq!(output.status.code(), Some(0));
    let text = std::fs::read_to_string(folder.path().join("sightline.toml")).unwrap();
    assert_eq!(text, stdout(&run(folder.path(), &["config", "init"])));

    let again = run(folder.path(), &["config", "init", "sightline.toml"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("left as it is"), "{}", stderr(&again));

    std::fs::write(
        folder.path().join("sightline.toml"),
        text.replace("#port = 8554", "port = 9554"),
    )
    .unwrap();
    let output = run(folder.path(), &["config", "check"]);
    let said = stdout(&output);
    assert!(
        said.contains("sightline.toml is fine") && said.contains("rtsp.port is set by sightline.toml:"),
        "{said}"
    );

    let schema: serde_json::Value = serde_json::from_str(&stdout(&run(folder.path(), &["config", "schema"]))).unwrap();
    assert_eq!(schema["properties"]["rtsp"]["properties"]["port"]["default"], 8_554);
}
