//! Wrong settings, and the commands about settings.

use crate::{run, sightline, stderr, stdout};

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
        (&["serve", "mediamtx.yml"], "mediamtx.yml: there is no such file"),
        (&["up", "--log", "xml"], "--log: log.format: "),
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
}

/// Mistakes of somebody who has never seen the program: each is answered with what to do instead.
#[test]
fn what_to_do_next_is_said() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::write(folder.path().join("binary.toml"), [0xff, 0xfe]).unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for (arguments, code, expected) in [
        (
            &["up", "/dev/video0"][..],
            2,
            "tip: cameras, files and test pictures are named with --source",
        ),
        (&["relay"], 2, "there is nothing to relay: set CAMERA_IP"),
        (
            &["up", "--bitrate", "0"],
            2,
            "more is needed for a picture, 800k is usual",
        ),
        (
            &["up", "--config", "folder"],
            2,
            "this is a folder; name the settings file in it",
        ),
        (&["serve", "binary.toml"], 2, "not text in UTF-8; save it as such"),
        (
            &["up", "--state-dir", "file", "--rtsp-port", "0"],
            1,
            "there is a file in its place; name a folder with --state-dir",
        ),
        (
            &["config", "init", "nowhere/a.toml"],
            1,
            "choose a place that is there and writable",
        ),
        (
            &["receive", "rtsp://a/b", "--rtsp-url", "rtsp://c/d"],
            2,
            "cannot be used with",
        ),
        (
            &[
                "receive",
                "rtsp://127.0.0.1:9/a",
                "--display-mode",
                "save",
                "--output",
                "",
            ],
            2,
            "receive.output is empty; name a file, or leave it out",
        ),
        (
            &[
                "receive",
                "rtsp://127.0.0.1:9/a",
                "--output",
                "a.mp4",
                "--seconds",
                "0.2",
            ],
            1,
            "nothing is written to a.mp4: that takes --display-mode save",
        ),
        (
            &["bench", "rtsp", "rtsp://a/b", "--viewers", "100001"],
            2,
            "write a whole number from 0 to 100000",
        ),
        (
            // The kernel's numbers end far below.
            &["bench", "rtsp", "rtsp://127.0.0.1:9/b", "--pid", "2147483647"],
            1,
            "there is no such process: 2147483647",
        ),
        (
            &["up", "--source", "foo"],
            2,
            "\"foo\" is not a source; there are test, test:bars, v4l2:/dev/videoN, libcamera, exec:COMMAND, file:PATH, and auto",
        ),
        (
            &["bench", "encode", "--fps", "many"],
            2,
            "write a whole number from 1 to 240",
        ),
        (
            &["bench", "encode", "--seconds", "long"],
            2,
            "write seconds, from 0.1 to 86400",
        ),
    ] {
        let output = run(folder.path(), arguments);
        let said = stderr(&output);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    }
}

/// Which of the places wins, and with what value; credentials are nobody's business.
#[test]
fn the_check_says_values_and_who_wins() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[rtsp]\nport = 9001\n[auth]\ntoken = \"canary\"\n[camera.door]\nsource = \"exec:pull rtsp://me:canary@host/a\"\n";
    std::fs::write(folder.path().join("sightline.toml"), file).unwrap();
    std::fs::write(folder.path().join(".env"), "bad line\nSIGHTLINE_RTSP_PORT=9554\n").unwrap();
    let said = stdout(&run(folder.path(), &["config", "check"]));
    for expected in [
        "Notice: .env:1: not of the form NAME=value",
        "rtsp.port is set to 9554 by .env:2: SIGHTLINE_RTSP_PORT, over what was set to 9001 by sightline.toml:2:8\n",
        "auth.token is set to [redacted] by sightline.toml:4:9\n",
        "camera.door is set by sightline.toml:5:9\n",
        "camera.door.source is set to \"exec:pull rtsp://***@host/a\" by sightline.toml:6:10\n",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert!(!said.contains("canary"), "{said}");

    let mut command = sightline();
    let command = command.args(["config", "check"]).current_dir(folder.path());
    let said = stdout(&command.env("SIGHTLINE_RTSP_PORT", "9777").output().unwrap());
    let expected = "rtsp.port is set to 9777 by SIGHTLINE_RTSP_PORT (environment), \
        over what was set to 9554 by .env:2: SIGHTLINE_RTSP_PORT and to 9001 by sightline.toml:2:8\n";
    assert!(said.contains(expected), "{said}");
}

/// A line of `.env` that is not understood may be why the rest does not fit.
#[test]
fn an_odd_line_is_told_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "bad line\nSIGHTLINE_RTSP_PORT=x\n").unwrap();
    for command in [&["config", "check"][..], &["up"]] {
        let output = run(folder.path(), command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let said = stderr(&output);
        for expected in [
            ".env:2: SIGHTLINE_RTSP_PORT: rtsp.port: ",
            "notice: .env:1: not of the form NAME=value",
        ] {
            assert!(said.contains(expected), "{command:?}: {said}");
        }
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
        said.contains("sightline.toml is fine") && said.contains("rtsp.port is set to 9554 by sightline.toml:"),
        "{said}"
    );

    let schema: serde_json::Value = serde_json::from_str(&stdout(&run(folder.path(), &["config", "schema"]))).unwrap();
    assert_eq!(schema["properties"]["rtsp"]["properties"]["port"]["default"], 8_554);
}
