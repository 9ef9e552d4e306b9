//! nginx as a cache, with the configuration of the guide: however many view, each resource is asked for once.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::origin::{self, camera};
use crate::support::{PATIENCE, Process, Server, free_port, sightline, test_tool};

/// What nginx writes of each answer: where it came from, what the origin said if it was asked, for what.
const LOG_FORMAT: &str = "$upstream_cache_status $upstream_status $status $request_uri";

pub(crate) struct Cache {
    pub(crate) port: u16,
    process: Process,
    folder: tempfile::TempDir,
}

/// An answer by the cache.
pub(crate) struct Answered {
    by: String,
    /// The origin was asked.
    pub(crate) asked: bool,
    status: String,
    pub(crate) uri: String,
}

impl Cache {
    pub(crate) fn start(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let configuration = folder.path().join("nginx.conf");
        std::fs::write(&configuration, configured(folder.path(), port, origin::port(server))).unwrap();
        let mut command = Command::new(test_tool("nginx"));
        command.arg("-c").arg(&configuration);
        let process = Process::start(command.args(["-g", "daemon off;"]));
        let mut cache = Self { port, process, folder };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(
                cache.process.is_running() && begun.elapsed() < PATIENCE,
                "nginx does not listen: {:?} {}",
                cache.process.said(),
                cache.errors()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        cache
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    /// Everything it has answered.
    pub(crate) fn answered(&self) -> Vec<Answered> {
        let log = std::fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        let read = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut next = || words.next().unwrap();
            let (by, origin, status, uri) = (next(), next(), next(), next());
            Answered {
                by,
                asked: origin != "-",
                status,
                uri,
            }
        };
        log.lines().map(read).collect()
    }
}

impl Drop for Cache {
    /// So that its workers end with it.
    fn drop(&mut self) {
        self.process.signal(Signal::TERM);
        let begun = Instant::now();
        while self.process.is_running() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The configuration of the guide between these ports, with all files in a folder of its own.
fn configured(folder: &Path, port: u16, origin: u16) -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/nginx.conf");
    let mut guide = std::fs::read_to_string(guide).unwrap();
    let folder = folder.display();
    // Who waits for so long that the machine must have been busy with other tests would ask for itself.
    for (theirs, ours) in [
        ("/var/cache/nginx/sightline", format!("{folder}/cache")),
        ("127.0.0.1:8888", format!("127.0.0.1:{origin}")),
        ("listen 8080", format!("listen 127.0.0.1:{port}")),
        (
            "proxy_cache_lock_timeout 250ms",
            "proxy_cache_lock_timeout 20s".to_owned(),
        ),
        (
            "proxy_cache_lock_timeout 30ms",
            "proxy_cache_lock_timeout 20s".to_owned(),
        ),
    ] {
        assert!(guide.contains(theirs), "the guide's nginx.conf has no {theirs}");
        guide = guide.replace(theirs, &ours);
    }
    // Started by root, nginx would give its workers to somebody who cannot write here.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "{user}\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log warn;\nevents {{ worker_connections 4096; }}\nhttp {{\n\
         {temporary}log_format cache '{LOG_FORMAT}';\naccess_log {folder}/access.log cache;\n{guide}}}\n"
    )
}

/// So many viewers for so long, all of whom play, while our server sees one.
pub(crate) fn many_viewers(viewers: u32, duration: Duration) {
    let server = camera(&[]);
    let cache = Cache::start(&server);
    let begun = Instant::now();
    let mut command = sightline();
    command.args(["bench", "hls", "--json", "--viewers", &viewers.to_string()]);
    command.args(["--seconds", &duration.as_secs().to_string()]);
    let mut load = Process::start(command.arg(format!("http://127.0.0.1:{}/zerolatency/index.m3u8", cache.port)));
    load.collect_stdout();
    let (status, said) = load.finish();
    let elapsed = begun.elapsed();
    assert!(status.success(), "{said:?} {}", cache.errors());
    let report: Value = said.iter().find_map(|line| serde_json::from_str(line).ok()).unwrap();
    println!("{report}");
    assert_eq!(
        (&report["viewers"], &report["failed"], &report["lost"]),
        (&viewers.into(), &0.into(), &0.into()),
        "{report}"
    );
    // A part is a tenth of a second; a machine that is busy with other tests drops pictures.
    let parts = report["parts"].as_u64().unwrap();
    assert!(parts > u64::from(viewers) * duration.as_secs() * 3, "{report}");

    let answered = cache.answered();
    let mut asked = BTreeMap::<&str, usize>::new();
    for answer in &answered {
        // 499: the viewers leave while they wait.
        let fine = ["200", "499"].contains(&answer.status.as_str());
        assert!(fine, "{} for {}", answer.status, answer.uri);
        if answer.asked {
            *asked.entry(&answer.uri).or_default() += 1;
        }
    }
    let hits = answered.iter().filter(|answer| answer.by == "HIT").count();
    println!(
        "{} answers, {hits} from the cache, {} questions to the server",
        answered.len(),
        asked.values().sum::<usize>()
    );
    let waited_for = asked.keys().filter(|uri| uri.contains("_HLS_part=")).count();
    assert!(waited_for > 10, "{waited_for} lists were waited for: {asked:?}");
    for (uri, times) in asked {
        // The newest list is another one after a second.
        let most = if uri.ends_with(".m3u8") {
            elapsed.as_secs() + 2
        } else {
            1
        };
        assert!(times as u64 <= most, "{uri} was asked for {times} times");
    }
}
