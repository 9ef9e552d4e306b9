//! A folder of HLS, played through somebody else's web server.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use super::support::{Process, free_port, tool};
use super::{Camera, assert_gapless, events, files, pictures, relay, wait_until};

/// What a list says.
#[derive(Debug)]
struct List {
    target_s: f64,
    first: usize,
    /// Each with its length and whether a discontinuity is in front of it.
    segments: Vec<(String, f64, bool)>,
}

fn list(folder: &Path) -> List {
    let text = fs::read_to_string(folder.join("stream.m3u8")).unwrap_or_default();
    let tag = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let mut list = List {
        target_s: tag("#EXT-X-TARGETDURATION:").map_or(0.0, |target| target.parse().unwrap()),
        first: tag("#EXT-X-MEDIA-SEQUENCE:").map_or(0, |first| first.parse().unwrap()),
        segments: Vec::new(),
    };
    let (mut length, mut discontinuity) = (0.0, false);
    for line in text.lines() {
        if let Some(seconds) = line.strip_prefix("#EXTINF:") {
            length = seconds.trim_end_matches(',').parse().unwrap();
        } else if line == "#EXT-X-DISCONTINUITY" {
            discontinuity = true;
        } else if !line.starts_with('#') {
            list.segments
                .push((line.to_owned(), length, std::mem::take(&mut discontinuity)));
        }
    }
    list
}

impl List {
    /// By RFC 8216 §4.3.3.1 and §6.2.1, and all that is named is there.
    fn check(&self, folder: &Path) {
        for (at, (name, length, _)) in self.segments.iter().enumerate() {
            assert!(length.round() <= self.target_s, "{self:#?}");
            let number: usize = name
                .trim_end_matches(".ts")
                .rsplit('_')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(number, self.first + at, "{self:#?}");
            assert!(folder.join(name).is_file(), "{name}");
        }
    }
}

/// Any static web server.
fn web_server(folder: &Path) -> (Process, String) {
    let port = free_port();
    let mut command = tool("python3");
    command.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory"]);
    let mut server = Process::start(command.arg(folder).arg(port.to_string()));
    server.collect_stdout();
    server.wait_for("serving", |line| line.contains("Serving HTTP").then_some(()));
    (server, format!("http://127.0.0.1:{port}/stream.m3u8"))
}

/// FFmpeg plays so many pictures from the beginning of the list on.
fn play(url: &str, pictures: usize) {
    let mut command = tool("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-live_start_index", "0", "-i", url]);
    command.args([
        "-frames:v",
        &pictures.to_string(),
        "-progress",
        "pipe:1",
        "-f",
        "null",
        "-",
    ]);
    let mut player = Process::start(&mut command);
    player.collect_stdout();
    let (status, said) = player.finish();
    let shown = said
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("frame=")?.trim().parse::<usize>().ok());
    assert!(status.success() && shown == Some(pictures), "{said:#?}");
}

#[test]
fn a_static_web_server_hands_it_out_and_it_goes_on_after_a_kill() {
    let camera = Camera::start(None, "320x240");
    let folder = tempfile::tempdir().unwrap();
    let words = format!(
        "{}STREAM_MODE=hls\nOUTPUT_DIR=www\nSEGMENT_TIME=1  # seconds\n",
        camera.words()
    );
    let mut first = relay(folder.path(), &words);
    let www = folder.path().join("www");
    wait_until("segments", &first, || list(&www).segments.len() >= 4);
    let before = list(&www);
    before.check(&www);
    assert_eq!((before.first, before.target_s), (0, 1.0));

    // All pictures, from one segment to the next; each begins with a keyframe.
    let mut whole = Vec::new();
    for (name, ..) in &before.segments {
        assert!(pictures(&www.join(name))[0].1, "{name}");
        whole.extend(fs::read(www.join(name)).unwrap());
    }
    let all = folder.path().join("all.ts");
    fs::write(&all, whole).unwrap();
    let all = pictures(&all);
    assert!(all.len() >= 4 * 29, "{}", all.len());
    assert_gapless(&all);
    let (_server, url) = web_server(&www);
    play(&url, 60);

    first.kill();
    let left = list(&www).segments.len();
    let second = relay(folder.path(), &words);
    wait_until("more segments", &second, || list(&www).segments.len() >= left + 3);
    let after = list(&www);
    after.check(&www);
    assert_eq!((after.first, after.target_s), (0, before.target_s));
    let marks: Vec<usize> = (0..after.segments.len()).filter(|&at| after.segments[at].2).collect();
    assert_eq!(marks, [left], "{after:#?}");
    // Across the kill.
    play(&url, (left + 2) * 29);

    let said = second.said().join("\n");
    assert!(!said.contains("p@ss") && !said.contains("p%40ss"), "{said}");
    second.signal(Signal::TERM);
    let (status, said) = second.finish();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    let ended = list(&www);
    ended.check(&www);
    assert_eq!(
        files(&www, ".ts").len(),
        ended.segments.len(),
        "nothing is lost, nothing is left over"
    );
}

#[test]
fn a_camera_that_restarts_with_another_picture_is_a_discontinuity_and_another_file() {
    let mut camera = Camera::start(None, "320x240");
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("relay.toml");
    let (www, disk) = (folder.path().join("www"), folder.path().join("disk"));
    let text = format!(
        "[relay.door]\nsource = {:?}\nhls_dir = {www:?}\nrecord_dir = {disk:?}\nsegment = 1\n",
        camera.url()
    );
    fs::write(&settings, text).unwrap();
    let process = super::start(folder.path(), &["relay", "--config", settings.to_str().unwrap()]);
    wait_until("segments", &process, || {
        list(&www).segments.len() >= 2 && files(&disk, ".mp4").len() >= 2
    });
    // Other parameter sets in the same session.
    camera.film("640x480");
    wait_until("a discontinuity", &process, || {
        list(&www).segments.iter().filter(|(.., mark)| *mark).count() == 1
    });
    // And the whole camera, which takes its time.
    let port = camera.server.port;
    drop(camera);
    wait_until("that it is gone", &process, || {
        !events(&process, "source failed").is_empty()
    });
    let _camera = Camera::start(Some(port), "320x240");
    wait_until("it goes on", &process, || {
        list(&www).segments.iter().filter(|(.., mark)| *mark).count() >= 2
    });
    wait_until("it runs", &process, || events(&process, "source runs").len() >= 2);
    list(&www).check(&www);
    process.signal(Signal::TERM);
    let (status, said) = process.finish();
    assert_eq!(status.code(), Some(0), "{said:#?}");
    let sizes: std::collections::BTreeSet<String> = files(&disk, ".mp4").iter().map(|file| size(file)).collect();
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), ["320,240", "640,480"]);
    for file in files(&disk, ".mp4") {
        assert_gapless(&pictures(&file));
    }
    for (name, ..) in &list(&www).segments {
        assert_gapless(&pictures(&www.join(name)));
    }
}

fn size(file: &Path) -> String {
    let mut command = tool("ffprobe");
    command.args("-v error -select_streams v -show_entries stream=width,height -of csv=p=0".split(' '));
    let output = command.arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
