use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use media::Clock as _;
use testkit::clock::SystemClock;

use super::{Child, Read, run};

fn shell(script: &str) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Child::spawn("the script", command).unwrap()
}

fn soon() -> Instant {
    SystemClock.now() + Duration::from_secs(5)
}

/// Everything until the end of its output.
fn all(child: &mut Child) -> Vec<u8> {
    let mut bytes = Vec::new();
    while child
        .read(&SystemClock, soon(), |piece| bytes.extend_from_slice(piece))
        .unwrap()
        != Read::Ended
    {}
    bytes
}

/// The process that a script writes the number of.
fn alive(pid: &str) -> bool {
    // A zombie that its new parent has not reaped yet is dead all the same.
    fs::read_to_string(Path::new("/proc").join(pid).join("stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let until = soon();
    while !done() {
        assert!(SystemClock.now() < until, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn reads_all_of_a_large_output_while_it_talks() {
    let mut child = shell("i=0; while [ $i -lt 200 ]; do echo noise $i >&2; head -c 10000 /dev/zero; i=$((i+1)); done");
    assert_eq!(all(&mut child).len(), 2_000_000);
}

#[test]
fn a_program_that_is_no_longer_wanted_is_not_waited_for() {
    let asked = SystemClock.now();
    let wanted = || SystemClock.now() - asked < Duration::from_millis(100);
    let sleep = Path::new("sleep");
    run("sleep", sleep, &["60"], &SystemClock, Duration::from_secs(10), &|| {
        !wanted()
    })
    .unwrap();
    let took = SystemClock.now() - asked;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn says_how_it_ended_and_quotes_it() {
    let ended = |script: &str| {
        let mut child = shell(script);
        all(&mut child);
        child.ended("start it again").to_string()
    };
    assert_eq!(
        ended("echo ERROR: no cameras available >&2; exit 255"),
        "the script ended: exit code 255: ERROR: no cameras available; start it again"
    );
    assert_eq!(ended("exit 0"), "the script ended: it ended by itself; start it again");
    assert_eq!(
        ended("kill -9 $$"),
        "the script ended: killed by signal 9; start it again"
    );
    let unknown = ended("no-such-program-here --flag");
    assert!(
        unknown.contains("exit code 127") && unknown.contains("no-such-program-here: not found"),
        "{unknown}"
    );
    assert_eq!(
        ended("exec >&-; sleep 60"),
        "the script ended: it closed its output; start it again"
    );
}

#[test]
fn waiting_ends_in_time() {
    let mut child = shell("sleep 60");
    let began = SystemClock.now();
    let until = began + Duration::from_millis(150);
    assert_eq!(child.read(&SystemClock, until, |_| {}).unwrap(), Read::Nothing);
    let waited = SystemClock.now() - began;
    assert!(
        waited >= Duration::from_millis(150) && waited < Duration::from_secs(2),
        "{waited:?}"
    );
}

#[test]
fn ends_with_everything_it_started() {
    for script in [
        // A pipeline, a background job, one that takes no notice of being asked, and one whose leader is gone.
        "sleep 1000 | cat & echo $! $$; wait",
        "(trap '' TERM; sleep 1000 & sleep 1000) & echo $! $$; wait",
        "trap '' TERM; echo $$; while :; do sleep 1000; done",
        "(trap '' TERM HUP; sleep 1000) & echo $!; exec >&-; exit",
    ] {
        let mut child = shell(script);
        let mut line = Vec::new();
        while !line.contains(&b'\n') {
            child
                .read(&SystemClock, soon(), |piece| line.extend_from_slice(piece))
                .unwrap();
        }
        let line = String::from_utf8(line).unwrap();
        let pids: Vec<&str> = line.split_whitespace().collect();
        let began = SystemClock.now();
        drop(child);
        let took = SystemClock.now() - began;
        // They would live for a quarter of an hour.
        assert!(took < Duration::from_secs(2), "{script}: {took:?}");
        for pid in pids {
            wait_until(&format!("{pid} of {script} lives on"), || !alive(pid));
        }
    }
}

#[test]
fn what_escaped_from_the_group_does_not_keep_us() {
    let mut child = shell("setsid sh -c 'sleep 3; echo late' & echo; exit 3");
    let began = SystemClock.now();
    let until = began + Duration::from_millis(200);
    while child.read(&SystemClock, until, |_| {}).unwrap() == Read::Bytes {}
    drop(child);
    assert!((SystemClock.now() - began) < Duration::from_secs(1));
}

#[test]
fn ten_children_leave_nothing() {
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    // Other tests of this process open and close files beside this one, so many rounds and the least of them count.
    let least = |rounds: usize| {
        (0..rounds)
            .map(|_| {
                let mut child = shell("echo $$; sleep 1000");
                let mut said = Vec::new();
                while !said.ends_with(b"\n") {
                    child
                        .read(&SystemClock, soon(), |bytes| said.extend_from_slice(bytes))
                        .unwrap();
                }
                drop(child);
                let process = Path::new("/proc").join(String::from_utf8(said).unwrap().trim());
                assert!(!process.exists(), "it was not reaped");
                open()
            })
            .min()
            .unwrap()
    };
    let before = least(10);
    let after = least(10);
    // A file that each of ten leaves makes ten; what others hold open just then is fewer.
    assert!(after < before + 10, "{before} {after}");
}
