//! Snapshots: to S3 and into a folder, while the server is away, with a wrong key, on a schedule, old ones deleted.

use std::fs;

use rustix::process::Signal;

use super::s3::KEYS;
use super::{S3, events, files, server, upload, wait_until};

#[test]
fn snapshots_reach_a_bucket_and_wait_while_it_is_away() {
    let camera = server("", &[]);
    let mut s3 = S3::start(None);
    let endpoint = s3.endpoint();
    let folder = tempfile::tempdir().unwrap();
    let words = format!(
        "CAMERA_RTSP_URL={}\nSTORAGE_BACKEND=s3\nS3_BUCKET=bucket\nS3_PREFIX=cameras   # below it\nINTERVAL=1\nAWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}   # of the test\nAWS_ENDPOINT_URL={endpoint}\n",
        camera.url("cam"),
        KEYS[0].1,
        KEYS[1].1
    );
    fs::write(folder.path().join(".env"), words).unwrap();
    let mut process = upload(folder.path(), &[], &[]);
    wait_until("snapshots", &process, || s3.keys().len() >= 3);
    let key = s3.keys().remove(0);
    let parts: Vec<&str> = key.split('/').collect();
    assert_eq!((parts.len(), parts[0], parts[1]), (4, "cameras", "camera"), "{key}");
    assert!(
        parts[3].starts_with("snapshot_") && parts[3].ends_with("Z.jpg"),
        "{key}"
    );
    let (head, jpeg) = s3.object(&key);
    assert!(head.to_ascii_lowercase().contains("content-type: image/jpeg"), "{head}");
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]) && jpeg.len() > 2_000);
    // The server goes; what is taken meanwhile waits on the disk, over a kill too.
    let mut before = s3.keys();
    s3.kill();
    let spool = folder.path().join("state/uploads/camera");
    wait_until("what waits", &process, || files(&spool).len() >= 3);
    assert_eq!(events(&process, "cannot connect to 127.0.0.1").len(), 1, "said once");
    process.kill();
    let waited = files(&spool);
    // What arrived, while its answer did not, is sent again.
    before.retain(|key| !waited.iter().any(|file| key.ends_with(file)));
    let s3 = S3::start(Some(s3.port));
    let process = upload(folder.path(), &[], &[]);
    wait_until("what waited", &process, || {
        let keys = s3.keys();
        waited.iter().all(|file| keys.iter().any(|key| key.ends_with(file)))
    });
    wait_until("what comes", &process, || s3.keys().len() > waited.len() + 1);
    assert!(
        before.iter().all(|key| !s3.keys().contains(key)),
        "nothing is sent twice"
    );
    process.signal(Signal::TERM);
    let (status, said) = process.finish();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    assert!(
        !said.join("\n").contains(KEYS[1].1) && !said.join("\n").contains(KEYS[0].1),
        "{said:#?}"
    );
}

#[test]
fn a_wrong_key_is_told_in_words_and_shown_seldom() {
    let camera = server("", &[]);
    let s3 = S3::start(None);
    let (key, secret) = s3.check_accounts();
    let (endpoint, url) = (s3.endpoint(), camera.url("cam"));
    let arguments = ["--rtsp-url", &url, "--to", "s3://bucket", "--every", "1s"];
    let start = |key: &str, secret: &str| {
        let folder = tempfile::tempdir().unwrap();
        let variables = [
            ("AWS_ACCESS_KEY_ID", key),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ];
        (upload(folder.path(), &arguments, &variables), folder)
    };
    for (attempts, key, wrong, word) in [
        (1, key.as_str(), "wr0ng/secret+of=the test", "AWS_SECRET_ACCESS_KEY"),
        (2, "AKIAUNKNOWN", "wr0ng/secret+of=the test", "AWS_ACCESS_KEY_ID"),
    ] {
        let (process, _folder) = start(key, wrong);
        wait_until("its words", &process, || !events(&process, word).is_empty());
        let told = &events(&process, word)[0];
        assert!(told["event"].as_str().unwrap().contains("check AWS_"), "{told}");
        // moto writes its log when it has answered.
        let asked = || s3.asked("PUT /bucket/camera/");
        wait_until("its log", &process, || asked() >= attempts);
        std::thread::sleep(std::time::Duration::from_secs(3));
        assert_eq!(asked(), attempts, "snapshots wait for a minute");
        let said = process.said().join("\n");
        assert!(!said.contains("wr0ng") && !said.contains(key), "{said}");
    }
    let (process, _folder) = start(&key, &secret);
    wait_until("uploads", &process, || s3.taken("PUT /bucket/camera/") > 1);
}

#[test]
fn a_server_uploads_its_streams_and_deletes_what_is_its_own_alone() {
    let s3 = S3::start(None);
    let endpoint = s3.endpoint();
    let root = tempfile::tempdir().unwrap();
    let settings = format!(
        "[upload.yard]\nstream = \"cam\"\nto = {:?}\nevery = 1\nkeep_count = 3\nmax_width = 160\n\
         [upload.door]\nstream = \"cam\"\nto = \"s3://bucket/a b\"\nevery = 1\nkeep = \"1h\"\n\
         [upload.never]\nstream = \"cam\"\nto = {:?}\nevery = 1\nschedule = {:?}\n",
        root.path().display().to_string(),
        root.path().display().to_string(),
        another_day()
    );
    let old = "a%20b/door/2020-01-01/snapshot_20200101T000000Z.jpg";
    let foreign = [
        "a%20b/door/2020-01-01/holiday.jpg",
        "a%20b/door/snapshot_20200101T000000Z.jpg",
        "a%20b/yard/2020-01-01/snapshot_20200101T000000Z.jpg",
        "2020-01-01/snapshot_20200101T000000Z.jpg",
    ];
    for key in foreign.iter().chain([&old]) {
        s3.put(key, "mine");
    }
    let folder = root.path().join("yard");
    fs::create_dir_all(folder.join("2020-01-01")).unwrap();
    for name in ["2020-01-01/snapshot_20200101T000000Z.jpg", "2020-01-01/mine.jpg"] {
        fs::write(folder.join(name), "mine").unwrap();
    }
    let server = server(&settings, &s3.variables(&endpoint));
    let process = &server.process;
    let old = old.replace("%20", " ");
    wait_until("old ones go", process, || {
        let keys = s3.keys();
        keys.iter().filter(|key| key.starts_with("a b/door/2")).count() > 5 && !keys.contains(&old)
    });
    let keys = s3.keys();
    for key in foreign {
        assert!(keys.contains(&key.replace("%20", " ")), "{key}: {keys:?}");
    }
    // One is being written now and then.
    let mut there = Vec::new();
    wait_until("a few stay", process, || {
        there = files(&folder);
        there.retain(|file| !file.ends_with(".new"));
        there.len() == 4
    });
    assert_eq!(there[0], "2020-01-01/mine.jpg", "{there:?}");
    assert!(
        there[1].ends_with("Z.jpg") && !there[1].starts_with("2020-"),
        "{there:?}"
    );
    let jpeg = fs::read(folder.join(&there[3])).unwrap();
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]));
    assert!(!root.path().join("never").exists(), "it is not the day for it");
}

/// A day of the week that is neither today nor near it, anywhere on Earth.
fn another_day() -> &'static str {
    const DAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    DAYS[((now.as_secs() / 86_400 + 3) % 7) as usize]
}

#[test]
fn wrong_use_is_told_with_the_word() {
    for (arguments, words, expected) in [
        (&[][..], "", "there is nothing to upload"),
        (
            &[],
            "S3_BUCKET=bucket\nCAMERA_IP=10.0.0.4\n",
            "AWS_ACCESS_KEY_ID: not set",
        ),
        (&["--to", "s3://u:pa55@b"], "", "keys do not stand in it"),
        (&["--to", "/tmp/x"], "", "--rtsp-url (CAMERA_IP): not set"),
        (
            &["--rtsp-url", "rtsp://10.0.0.4/1", "--every", "0.5"],
            "",
            "is not between 1s and 1d",
        ),
        (&["--env-file", "none.env"], "", "--env-file: there is no file none.env"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".env"), words).unwrap();
        let (status, said) = upload(folder.path(), arguments, &[]).finish();
        let said = said.join("\n");
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(expected) && !said.contains("pa55"), "{expected}: {said}");
    }
}
