//! A network of the test's own: a server, a viewer on a clean way to it, and one on a poor way, each in a namespace.
//!
//! Belongs here: namespaces, the interfaces in them, how bad the poor way is. Does not belong here: what is tested on it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde_json::{Value, json};

use super::support::{Process, Server, not_taken_by, tool, with_settings_of_its_own};

/// The server's address on the clean way.
const CLEAN: &str = "10.77.1.1";
/// Its address on the poor one.
const POOR: &str = "10.77.2.1";

/// Nothing is skipped: whoever cannot run it is told what it takes.
const NEEDS: &str = "this test makes network namespaces and a network of its own, for which it needs /dev/net/tun and root (CAP_NET_ADMIN, CAP_SYS_ADMIN): run the tests as root, or in a container that has these";

/// Who is where.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Server,
    Clean,
    Poor,
}

/// Ends, with everything in it, with its value.
pub(crate) struct Network {
    name: String,
    link: Link,
}

impl Network {
    /// Needs root.
    pub(crate) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        // The longest name of an interface is 15 bytes.
        let name = format!("sl{}n{}", std::process::id(), MADE.fetch_add(1, Relaxed));
        remove_left_behind();
        let (near, far) = (format!("{name}a"), format!("{name}b"));
        let network = Self {
            link: Link::start(&near, &far),
            name,
        };
        for place in [Place::Server, Place::Clean, Place::Poor] {
            ip(&["netns", "add", &network.namespace(place)]);
        }
        let [server, clean, poor] = [Place::Server, Place::Clean, Place::Poor].map(|place| network.namespace(place));
        let veth = format!("link add clean netns {server} type veth peer name clean netns {clean}");
        ip(&veth.split(' ').collect::<Vec<_>>());
        ip(&["link", "set", &near, "netns", &server]);
        ip(&["link", "set", &far, "netns", &poor]);
        for (namespace, interface, address) in [
            (&server, "clean", format!("{CLEAN}/24")),
            (&clean, "clean", "10.77.1.2/24".to_owned()),
            (&server, near.as_str(), format!("{POOR}/24")),
            (&poor, far.as_str(), "10.77.2.2/24".to_owned()),
        ] {
            ip(&["-n", namespace, "address", "add", &address, "dev", interface]);
            ip(&["-n", namespace, "link", "set", interface, "up"]);
        }
        // A viewer's first burst waits in front of the path, not in it.
        ip(&["-n", &server, "link", "set", &near, "txqueuelen", "10000"]);
        for namespace in [&server, &clean, &poor] {
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        network
    }

    /// A command that runs there, before whatever else this machine does: half a second without the processor would be half a second
    /// without a picture.
    pub(crate) fn command(&self, place: Place, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = tool("ip");
        command.args(["netns", "exec", &self.namespace(place), "nice", "--adjustment=-15"]);
        command.arg(program);
        command
    }

    /// The program under test, there.
    pub(crate) fn sightline(&self, place: Place) -> Command {
        with_settings_of_its_own(self.command(place, env!("CARGO_BIN_EXE_sightline")))
    }

    /// `sightline serve` in the server's place.
    pub(crate) fn server(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
        Server::start_by(self.sightline(Place::Server), arguments, variables)
    }

    /// A URL of the server as it is reached from there.
    pub(crate) fn url(&self, place: Place, scheme: &str, port: u16, path: &str) -> String {
        let host = match place {
            Place::Server => "127.0.0.1",
            Place::Clean => CLEAN,
            Place::Poor => POOR,
        };
        format!("{scheme}://{host}:{port}/{path}")
    }

    /// Viewers of ours that measure for so long. What they saw is the last line that they say.
    pub(crate) fn bench(&self, place: Place, url: &str, seconds: u32) -> Process {
        let mut command = self.sightline(place);
        command.args(["bench", "whep", url, "--viewers", "1", "--json", "--seconds"]);
        let mut process = Process::start(command.arg(seconds.to_string()));
        process.collect_stdout();
        process
    }

    /// How bad the poor way is from now on, as `tests/clients/link.py` has it. Gives the counts of the time before.
    pub(crate) fn set(&mut self, quality: &Value) -> Value {
        self.link.say(quality)
    }

    /// Datagrams that came there and that nobody took in time: they are not lost on the way.
    pub(crate) fn not_taken(&self, place: Place) -> u64 {
        let mut command = tool("ip");
        command.args(["netns", "exec", &self.namespace(place), "cat", "/proc/net/snmp"]);
        not_taken_by(&String::from_utf8(command.output().unwrap().stdout).unwrap())
    }

    fn namespace(&self, place: Place) -> String {
        format!("{}-{place:?}", self.name).to_lowercase()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for place in [Place::Server, Place::Clean, Place::Poor] {
            remove(&self.namespace(place));
        }
    }
}

/// Runs `ip`; the test cannot go on without it.
fn ip(arguments: &[&str]) {
    let output = tool("ip").args(arguments).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "`ip {}` failed: {complaint}{NEEDS}",
        arguments.join(" ")
    );
}

/// It may be gone already; the kernel takes its interfaces with it.
fn remove(namespace: &str) {
    let _ = tool("ip").args(["netns", "delete", namespace]).output();
}

/// Namespaces of tests that were killed before they could remove them.
fn remove_left_behind() {
    let Ok(listed) = tool("ip").args(["netns", "list"]).output() else {
        return;
    };
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let process = name.strip_prefix("sl").and_then(|rest| rest.split_once('n'));
        if let Some((process, _)) = process
            && process.parse::<u32>().is_ok()
            && !Path::new("/proc").join(process).exists()
        {
            remove(name);
        }
    }
}

/// The poor way: `tests/clients/link.py`.
struct Link {
    child: Child,
    says: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Link {
    fn start(near: &str, far: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/link.py");
        let mut command = tool("nice");
        command.args(["--adjustment=-15", "/usr/bin/python3"]);
        command.arg(script).args([near, far]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (says, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut link = Self {
            child,
            says,
            answers: BufReader::new(answers),
        };
        assert_eq!(link.answer(), json!({"event": "ready"}));
        link
    }

    fn say(&mut self, quality: &Value) -> Value {
        writeln!(self.says, "{quality}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer = serde_json::from_str(&line);
        answer.unwrap_or_else(|error| panic!("the poor way is gone ({error}), for the reason above; {NEEDS}"))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
