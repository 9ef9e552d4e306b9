//! Pictures of recordings.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use super::support::{PATIENCE, Process, Server, tool};
use super::{command, example, names, run, said};

/// Files of FFmpeg, of four seconds and 30 pictures a second each.
fn film(folder: &Path, name: &str, options: &str) {
    let mut command = tool("ffmpeg");
    command.args("-nostdin -v error -f lavfi -i testsrc=size=320x240:rate=30:duration=4 -pix_fmt yuv420p".split(' '));
    let output = command
        .args(options.split(' '))
        .arg(folder.join(name))
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", said(&output));
}

const H264: &str = "-c:v libx264 -preset ultrafast -g 30";

/// As if it had not changed for so long.
fn grow_old(path: &Path, age: Duration) {
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

/// `sightline process` that writes a line a picture into a list: segment, index, time, how that is known, width.
fn listed(folder: &Path, more: &[&str]) -> (Option<i32>, Vec<Vec<String>>, String) {
    listed_with(folder, more, None)
}

/// The same, with the programs of one folder alone.
fn listed_with(folder: &Path, more: &[&str], programs: Option<&Path>) -> (Option<i32>, Vec<Vec<String>>, String) {
    let mut arguments = vec!["process", "r", "--settled", "0s"];
    arguments.extend_from_slice(more);
    let look = "echo $(basename \"$1\") $2 $3 $FRAME_CLOCK $FRAME_WIDTH >> list";
    arguments.extend(["--", "sh", "-c", look, "sh", "{segment}", "{index}", "{time}"]);
    let mut command = command(folder, &arguments);
    command.envs(programs.map(|programs| ("PATH", programs)));
    let output = command.output().unwrap();
    let list = fs::read_to_string(folder.join("list")).unwrap_or_default();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    (output.status.code(), list.lines().map(words).collect(), said(&output))
}

fn recordings() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let recordings = folder.path().join("r");
    fs::create_dir(&recordings).unwrap();
    (folder, recordings)
}

#[test]
fn recordings_of_all_kinds_give_a_picture_a_second() {
    let (folder, recordings) = recordings();
    let h265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error";
    for (name, options) in [
        ("a_20261123_040506.mp4", H264),
        (
            "b_20261123_040506.mp4",
            &format!("{H264} -bf 2 -movflags frag_keyframe+empty_moov"),
        ),
        ("c_20261123_040506.ts", H264),
        ("d_20261123_040506.mp4", h265),
        ("e_20261123_040506.ts", h265),
        ("f_20261123_040506.mkv", H264),
        // Of this profile our decoder knows nothing.
        ("g_20261123_040506.mp4", "-c:v libx264 -pix_fmt yuv444p"),
    ] {
        film(&recordings, name, options);
    }
    let (code, list, said) = listed(folder.path(), &[]);
    assert_eq!(code, Some(0), "{said}");
    for kind in ["a", "b", "c", "d", "e", "f", "g"] {
        let of_kind: Vec<_> = list.iter().filter(|words| words[0].starts_with(kind)).collect();
        assert_eq!(of_kind.len(), 4, "{kind}: {of_kind:?} {said}");
        for (n, words) in of_kind.iter().enumerate() {
            assert_eq!(
                (&words[1], &words[3], &words[4]),
                (&n.to_string(), &"name".to_owned(), &"320".to_owned())
            );
            let seconds =
                |time: &str| time[17..19].parse::<i64>().unwrap() * 1_000 + time[20..23].parse::<i64>().unwrap();
            let behind_ms = (seconds(&words[2]) - seconds(&of_kind[0][2])).rem_euclid(60_000);
            // A picture lasts 33 ms.
            assert!((behind_ms - 1_000 * n as i64).abs() <= 34, "{kind}: {words:?}");
        }
    }
    assert_eq!(names(&recordings), ["processed"]);
    assert_eq!(names(&recordings.join("processed")).len(), 7);
    // There is nothing to do any more.
    let (code, again, said) = listed(folder.path(), &[]);
    assert_eq!((code, again.len()), (Some(0), list.len()), "{said}");
}

#[test]
fn what_is_broken_is_put_aside_and_the_rest_goes_on() {
    for has_ffmpeg in [true, false] {
        put_aside(has_ffmpeg);
    }
}

/// That no FFmpeg is there to look at it too is no reason to keep what is broken.
fn put_aside(has_ffmpeg: bool) {
    let (folder, recordings) = recordings();
    film(&recordings, "good.mp4", H264);
    film(&recordings, "cut.ts", H264);
    let whole = fs::read(recordings.join("cut.ts")).unwrap();
    fs::write(recordings.join("cut.ts"), &whole[..whole.len() / 2]).unwrap();
    let good = fs::read(recordings.join("good.mp4")).unwrap();
    for (name, bytes) in [
        ("garbage.mp4", &b"this is no recording"[..]),
        ("empty.ts", b""),
        ("no index.mp4", &good[..good.len() / 2]),
        // Lists of other files are not followed.
        ("list.ts", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
        ("$(touch x) ';.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"),
    ] {
        fs::write(recordings.join(name), bytes).unwrap();
        grow_old(&recordings.join(name), Duration::from_secs(3_600));
    }
    // This one may be written still.
    fs::write(recordings.join("young.mp4"), &good[..good.len() / 2]).unwrap();
    symlink("/etc/passwd", recordings.join("link.mp4")).unwrap();
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    symlink("/bin/sh", programs.join("sh")).unwrap();
    symlink("/usr/bin/basename", programs.join("basename")).unwrap();
    let (code, list, said) = listed_with(folder.path(), &[], (!has_ffmpeg).then_some(&programs));
    assert_eq!(code, Some(1), "{said}");
    let of = |name: &str| list.iter().filter(|words| words[0] == name).count();
    assert_eq!((of("good.mp4"), list.len()), (4, 4 + of("cut.ts")), "{list:?}");
    assert!((1..=3).contains(&of("cut.ts")), "{list:?}");
    assert_eq!(names(&recordings.join("processed")), ["cut.ts", "good.mp4"]);
    assert_eq!(
        names(&recordings.join("failed")),
        [
            "$(touch x) ';.mp4",
            "empty.ts",
            "garbage.mp4",
            "list.ts",
            "no index.mp4"
        ]
    );
    assert_eq!(names(&recordings), ["failed", "link.mp4", "processed", "young.mp4"]);
    assert!(said.contains("5 of the recordings failed"), "{said}");
}

/// A machine without FFmpeg is no fault of the recordings: those that need it stay, and the others are processed.
#[test]
fn what_this_machine_cannot_read_stays_where_it_is() {
    let (folder, recordings) = recordings();
    let h265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error";
    for (name, options) in [("a.mp4", h265), ("b.mp4", H264), ("c.mp4", h265)] {
        film(&recordings, name, options);
        grow_old(&recordings.join(name), Duration::from_secs(3_600));
    }
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let process = ["process", "r", "--settled", "0s", "--", "/bin/true", "{}"];
    let output = command(folder.path(), &process)
        .env("PATH", &programs)
        .output()
        .unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("2 of the recordings were left where they are"), "{told}");
    assert_eq!(told.matches("recordings stay where they are").count(), 1, "{told}");
    assert!(told.contains("apt install ffmpeg"), "{told}");
    assert_eq!(names(&recordings), ["a.mp4", "c.mp4", "processed"]);
    assert_eq!(names(&recordings.join("processed")), ["b.mp4"]);
    // With one they are as others.
    let output = run(folder.path(), &process);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(names(&recordings), ["processed"]);
}

/// What could not be read and was taken away meanwhile is nothing that is left.
#[test]
fn what_is_gone_is_not_counted_when_it_ends() {
    let (folder, recordings) = recordings();
    let h265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error";
    film(&recordings, "a.mp4", h265);
    film(folder.path(), "b.mp4", H264);
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let watch = ["process", "r", "--watch", "--settled", "0s", "--", "/bin/true", "{}"];
    let process = Process::start(command(folder.path(), &watch).env("PATH", &programs));
    let wait_for = |is_so: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "{:#?}", process.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let stays = |line: &String| line.contains("recordings stay where they are");
    wait_for(&|| process.said().iter().any(stays));
    fs::remove_file(recordings.join("a.mp4")).unwrap();
    fs::rename(folder.path().join("b.mp4"), recordings.join("b.mp4")).unwrap();
    wait_for(&|| !names(&recordings.join("processed")).is_empty());
    process.signal(Signal::TERM);
    let (status, told) = process.finish();
    assert!(status.success(), "{told:#?}");
}

/// What somebody writes on while it is processed is not moved, and is done again.
#[test]
fn what_is_written_on_meanwhile_is_done_again() {
    let (folder, recordings) = recordings();
    film(&recordings, "a.ts", H264);
    let more = fs::read(recordings.join("a.ts")).unwrap();
    fs::write(folder.path().join("more"), &more).unwrap();
    let write_on = "cat > /dev/null; [ -e written ] || { cat more >> \"$1\"; touch written; }; echo x >> runs";
    let process = [
        "process",
        "r",
        "--settled",
        "0s",
        "--",
        "sh",
        "-c",
        write_on,
        "sh",
        "{segment}",
    ];
    let output = run(folder.path(), &process);
    assert!(
        output.status.success() && said(&output).contains("it was written on while it was processed"),
        "{}",
        said(&output)
    );
    assert_eq!(names(&recordings), ["a.ts", "processed"]);
    let output = run(folder.path(), &process);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(names(&recordings.join("processed")), ["a.ts"]);
    assert_eq!(
        fs::metadata(recordings.join("processed/a.ts")).unwrap().len(),
        2 * more.len() as u64
    );
    // One whose command writes it each time is not done for ever.
    film(&recordings, "b.ts", H264);
    let each = [
        "process",
        "r",
        "--watch",
        "--settled",
        "0s",
        "--",
        "sh",
        "-c",
        "cat > /dev/null; echo >> \"$1\"",
        "sh",
        "{segment}",
    ];
    let process = Process::start(&mut command(folder.path(), &each));
    let begun = Instant::now();
    while names(&recordings.join("processed")).len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", process.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    process.signal(Signal::TERM);
    let (status, told) = process.finish();
    assert!(
        status.success() && told.iter().any(|line| line.contains("it is taken as it is")),
        "{told:#?}"
    );
}

#[test]
fn a_command_that_fails_is_tried_again_and_what_hangs_is_ended() {
    let (folder, recordings) = recordings();
    film(&recordings, "a.mp4", H264);
    film(&recordings, "b.mp4", H264);
    fs::create_dir(recordings.join("processed")).unwrap();
    fs::write(recordings.join("processed/a.mp4"), b"another").unwrap();
    // `a` fails the first time at its second picture, `b` hangs.
    let look = "echo $(basename $1) $2 >> list; case $1.$2 in *a.mp4.1) [ -e once ] || { touch once; exit 1; };; *b.mp4.*) sleep 60;; esac";
    let output = run(
        folder.path(),
        &[
            "process",
            "r",
            "--settled",
            "0s",
            "--timeout",
            "5s",
            "--attempts",
            "2",
            "--every",
            "2s",
            "--",
            "sh",
            "-c",
            look,
            "sh",
            "{segment}",
            "{index}",
        ],
    );
    let list = fs::read_to_string(folder.path().join("list")).unwrap();
    let of = |name: &str| {
        list.lines()
            .filter(|line| line.starts_with(name))
            .map(|line| &line[6..])
            .collect::<String>()
    };
    assert_eq!(
        (of("a.mp4").as_str(), of("b.mp4").as_str()),
        ("0101", "00"),
        "{}",
        said(&output)
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(names(&recordings.join("processed")), ["a.mp4", "a_2.mp4"]);
    assert_eq!(fs::read(recordings.join("processed/a.mp4")).unwrap(), b"another");
    assert_eq!(names(&recordings.join("failed")), ["b.mp4"]);
}

/// Whatever ends it, nothing is lost and nothing is done by halves.
#[test]
fn after_a_kill_a_recording_is_done_again() {
    let (folder, recordings) = recordings();
    film(&recordings, "a.mp4", H264);
    let slow = [
        "process",
        "r",
        "--settled",
        "0s",
        "--",
        "sh",
        "-c",
        "echo $$ > pid; sleep 60",
        "sh",
        "{}",
    ];
    let started = || {
        let process = Process::start(&mut command(folder.path(), &slow));
        let begun = Instant::now();
        loop {
            let pid = fs::read_to_string(folder.path().join("pid")).unwrap_or_default();
            if let Ok(pid) = pid.trim().parse::<u32>() {
                return (process, pid);
            }
            assert!(begun.elapsed() < PATIENCE, "{:#?}", process.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let gone = |pid: u32| {
        let begun = Instant::now();
        // A zombie that nobody waits for has no command line.
        while fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            assert!(begun.elapsed() < PATIENCE, "the command goes on without us");
            std::thread::sleep(Duration::from_millis(10));
        }
        fs::remove_file(folder.path().join("pid")).unwrap();
    };
    let (mut process, pid) = started();
    // Two at once would do everything twice.
    let second = run(folder.path(), &["process", "r", "--", "true"]);
    assert!(
        second.status.code() == Some(1) && said(&second).contains("another `sightline process`"),
        "{}",
        said(&second)
    );
    process.kill();
    gone(pid);
    assert_eq!(names(&recordings), ["a.mp4", "processed"]);
    let (process, pid) = started();
    process.signal(Signal::TERM);
    let (status, said) = process.finish();
    assert!(status.success(), "{status:?} {said:#?}");
    gone(pid);
    assert_eq!(names(&recordings), ["a.mp4", "processed"]);
    let (code, list, said) = listed(folder.path(), &[]);
    assert_eq!((code, list.len()), (Some(0), 4), "{said}");
}

/// Recordings of `sightline record` while it records: what is finished is taken at once, what is written is left alone.
#[test]
fn finished_recordings_are_taken_while_others_are_written() {
    let server = Server::start(&["--source", "test"]);
    let (folder, recordings) = recordings();
    let url = server.url("zerolatency");
    let record = ["record", "--rtsp-url", &url, "--output-dir", "r", "--segment-time", "3"];
    let mut recorder = Process::start(&mut command(folder.path(), &record));
    recorder.collect_stdout();
    let look = "echo $(basename $1) $2 $FRAME_TIME_US $FRAME_CLOCK $(date +%s%N) >> list";
    let watch = [
        "process",
        "r",
        "--watch",
        "--settled",
        "1h",
        "--",
        "sh",
        "-c",
        look,
        "sh",
        "{segment}",
        "{index}",
    ];
    let process = Process::start(&mut command(folder.path(), &watch));
    let processed = recordings.join("processed");
    let begun = Instant::now();
    while names(&processed).len() < 3 {
        assert!(
            begun.elapsed() < 2 * PATIENCE,
            "{:#?} {:#?}",
            process.said(),
            recorder.said()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let written = names(&recordings);
    assert!(written.iter().any(|name| name.starts_with("segment_")), "{written:?}");
    process.signal(Signal::INT);
    let (status, said) = process.finish();
    assert!(status.success(), "{said:#?}");
    let list = fs::read_to_string(folder.path().join("list")).unwrap();
    for line in list.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        // Its capture time is in the bitstream. It was looked at within seconds of its file's end.
        assert_eq!(words[3], "camera", "{line}");
        let age_us = words[4].parse::<i64>().unwrap() / 1_000 - words[2].parse::<i64>().unwrap();
        assert!((0..30_000_000).contains(&age_us), "{line}");
    }
    // A file of three seconds and the pictures of its first, second and third.
    let first = list.lines().next().unwrap().split(' ').next().unwrap();
    let pictures = list.lines().filter(|line| line.starts_with(first)).count();
    assert!((2..=4).contains(&pictures), "{list}");
}

#[test]
fn the_example_writes_its_list() {
    let (folder, recordings) = recordings();
    film(&recordings, "a_20261123_040506.mp4", H264);
    let script = example("process_opencv.py");
    let script = script.to_str().unwrap();
    let output = run(
        folder.path(),
        &[
            "process",
            "r",
            "--settled",
            "0s",
            "--every",
            "1s",
            "--header",
            "--",
            "/usr/bin/python3",
            script,
            "list.csv",
        ],
    );
    let list = fs::read_to_string(folder.path().join("list.csv")).unwrap();
    assert!(
        output.status.success() && list.lines().count() == 4,
        "{list}{}",
        said(&output)
    );
    for line in list.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        assert!(
            fields[0].ends_with("/r/a_20261123_040506.mp4") && fields[1].starts_with("2026-11-2"),
            "{line}"
        );
        assert!(
            fields[2].parse::<f64>().unwrap() > 50.0 && fields[3].parse::<f64>().unwrap() > 100.0,
            "{line}"
        );
    }
    assert_eq!(names(&recordings.join("processed")), ["a_20261123_040506.mp4"]);
}

#[test]
fn what_cannot_be_is_said() {
    let (folder, recordings) = recordings();
    fs::create_dir_all(folder.path().join("server/door")).unwrap();
    fs::write(folder.path().join("server/.sightline-storage"), b"x").unwrap();
    film(&recordings, "a.mp4", H264);
    for (arguments, code, hint) in [
        (&["process", "nowhere", "--", "true"][..], 2, "cannot work in nowhere"),
        (&["process", "server/door", "--", "true"], 2, "belong to a server"),
        (&["process", "r"], 2, "<COMMAND>"),
        (&["process", "r", "--attempts", "0", "--", "true"], 2, "--attempts"),
        (
            &["process", "r", "--timeout", "0s", "--", "true"],
            2,
            "--timeout is no time",
        ),
        (
            &["process", "r", "--header", "--", "true", "{}"],
            2,
            "--header is for a command",
        ),
        (&["process", "r", "--every", "1", "--", "true"], 2, "has no unit"),
        (
            &["process", "r", "--settled", "0s", "--", "/no/such"],
            1,
            "such cannot be started",
        ),
    ] {
        let output = run(folder.path(), arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }
    // Where the command cannot be started, no recording is to blame.
    assert_eq!(names(&recordings), ["a.mp4", "processed"]);
}
