//! Webhooks against a small server that does what it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use media::hub::{Hub, Limits};

use super::*;
use crate::clock::SystemClock;
use crate::config::{Wanted, load};
use crate::events::What;

/// Longest wait for anything, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    head: String,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next()
    }

    fn kind(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        json["kind"].as_str().unwrap().to_owned()
    }
}

/// Answers requests with these, one after the other, and with `200` afterwards; an empty one is never sent.
struct Server {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    answers: Arc<Mutex<VecDeque<&'static str>>>,
}

impl Server {
    async fn new(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let answers: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let given = Arc::clone(&answers);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, sender.clone(), Arc::clone(&given)));
            }
        });
        Self { address, seen, answers }
    }

    async fn next(&mut self) -> Seen {
        let seen = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
        seen.expect("nobody was told anything").unwrap()
    }

    fn url(&self) -> String {
        format!("http://{}/canary?canary", self.address)
    }
}

async fn serve(mut socket: TcpStream, seen: mpsc::UnboundedSender<Seen>, answers: Arc<Mutex<VecDeque<&'static str>>>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match socket.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let mut request = Seen {
            head: String::from_utf8(head).unwrap(),
            body: String::new(),
        };
        let length = request.header("content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.unwrap();
        request.body = String::from_utf8(body).unwrap();
        let answer = answers.lock().unwrap().pop_front().unwrap_or("200 OK");
        let _ = seen.send(request);
        if answer.is_empty() {
            return std::future::pending().await;
        }
        let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// HMAC-SHA256 (RFC 2104), of another make than what signs.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let padded = |pad: u8| block.map(|byte| byte ^ pad).to_vec();
    let inner = Sha256::digest([padded(0x36), text.to_vec()].concat());
    Sha256::digest([padded(0x5c), inner.to_vec()].concat()).to_vec()
}

/// Whether a request was signed with the secret as the specification says.
fn is_signed(seen: &Seen, key: &str) -> bool {
    let (id, at) = (
        seen.header("webhook-id").unwrap(),
        seen.header("webhook-timestamp").unwrap(),
    );
    let signed = hmac(
        &STANDARD.decode(key).unwrap(),
        format!("{id}.{at}.{}", seen.body).as_bytes(),
    );
    seen.header("webhook-signature") == Some(&format!("v1,{}", STANDARD.encode(signed)))
}

struct Fixture {
    events: Arc<Events>,
    webhooks: Arc<Webhooks>,
    trigger: shutdown::Trigger,
    running: tokio::task::JoinHandle<()>,
}

impl Fixture {
    fn new(tables: &str) -> Self {
        Self::with(tables, Pace::default())
    }

    fn with(tables: &str, pace: Pace) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let hub = Hub::new(Limits::default());
        let events = Events::new(&hub, Arc::clone(&clock));
        let (trigger, stop) = shutdown::channel();
        let pace = Pace {
            first_wait: Duration::from_millis(20),
            longest_wait: Duration::from_millis(100),
            ..pace
        };
        let world = World {
            events: Arc::clone(&events),
            clock,
            random: crate::random::bits,
            pace,
        };
        let webhooks = Webhooks::new(world, stop);
        webhooks.set(&settings(tables));
        let running = tokio::spawn(Arc::clone(&webhooks).run());
        Self {
            events,
            webhooks,
            trigger,
            running,
        }
    }

    async fn until(&self, is: impl Fn(&Report) -> bool) -> Report {
        let waiting = async {
            loop {
                let report = self.webhooks.reports().remove(0);
                if is(&report) {
                    return report;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{:?}", self.webhooks.reports()))
    }
}

fn settings(tables: &str) -> BTreeMap<Name, Webhook> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sightline.toml");
    std::fs::write(&file, tables).unwrap();
    let wanted = Wanted {
        file: Some(file),
        ..Wanted::default()
    };
    load(&wanted).unwrap().settings.webhook
}

/// A table for a server on this machine.
fn table(server: &Server, more: &str) -> String {
    format!(
        "[webhook.one]\nurl = \"{}\"\nallow_private = true\n{more}",
        server.url()
    )
}

#[tokio::test]
async fn events_are_told_in_order_and_signed() {
    let mut server = Server::new(&[]).await;
    let fixture = Fixture::new(&table(
        &server,
        &format!("secret = \"{SECRET}\"\nevents = [\"program.*\"]\n"),
    ));
    fixture.events.tell(What::ProgramStarted);
    fixture.events.settings_refused(&refused(), &"somebody");
    fixture.events.tell(What::ProgramEnding);
    let (first, second) = (server.next().await, server.next().await);
    assert_eq!([first.kind(), second.kind()], ["program.started", "program.ending"]);
    assert!(
        first.head.starts_with("POST /canary?canary HTTP/1.1\r\n"),
        "{}",
        first.head
    );
    assert_eq!(first.header("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!(first.header("webhook-id"), Some(&*format!("event_{}", json["id"])));
    let at: i64 = first.header("webhook-timestamp").unwrap().parse().unwrap();
    assert!((SystemClock.wall().unix_micros() / 1_000_000 - at).abs() < 30);
    for seen in [&first, &second] {
        assert!(is_signed(seen, &SECRET[6..]), "{}", seen.head);
        assert!(!is_signed(seen, &STANDARD.encode([7; 24])));
    }
    let report = fixture.until(|report| report.told == 2).await;
    assert_eq!(
        (report.state, report.lost, report.failures, report.signed),
        (State::Idle, 0, 0, true)
    );
    assert!(report.last_success.is_some() && report.last_failure.is_none());
    assert_eq!(report.url, format!("http://{}/***", server.address));
}

fn refused() -> crate::config::live::Refused {
    crate::config::live::Refused {
        why: crate::config::live::Why::Invalid,
        problems: Vec::new(),
    }
}

#[tokio::test]
async fn one_that_fails_is_told_again_with_the_same_id() {
    let mut server = Server::new(&[
        "500 No",
        "302 Found\r\nLocation: /canary-elsewhere",
        "429 Later\r\nRetry-After: 1",
    ])
    .await;
    let fixture = Fixture::new(&table(&server, ""));
    fixture.events.tell(What::ProgramStarted);
    fixture.events.tell(What::ProgramEnding);
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(server.next().await);
    }
    let kinds: Vec<String> = seen.iter().map(Seen::kind).collect();
    assert_eq!(kinds, [vec!["program.started"; 4], vec!["program.ending"]].concat());
    let ids: Vec<_> = seen.iter().map(|seen| seen.header("webhook-id").unwrap()).collect();
    assert!(ids[..4].iter().all(|id| *id == ids[0]) && ids[4] != ids[0], "{ids:?}");
    assert!(
        seen.iter().all(|seen| seen.head.starts_with("POST /canary?canary ")),
        "a redirect was followed"
    );
    assert!(seen.iter().all(|seen| seen.header("webhook-signature").is_none()));
    let report = fixture.until(|report| report.told == 2).await;
    assert_eq!((report.failures, report.lost, report.signed), (3, 0, false));
    let (_, why) = report.last_failure.unwrap();
    assert_eq!(&*why, "it answers 429 Too Many Requests");
}

#[tokio::test]
async fn one_that_is_silent_delays_no_other_and_loses_the_oldest() {
    let (mut silent, mut other) = (Server::new(&[""]).await, Server::new(&[]).await);
    let tables = format!(
        "{}[webhook.two]\nurl = \"{}\"\nallow_private = true\n",
        table(&silent, ""),
        other.url()
    );
    let pace = Pace {
        answer: Duration::from_secs(1),
        most_waiting: 2,
        ..Pace::default()
    };
    let fixture = Fixture::with(&tables, pace);
    fixture.events.tell(What::ProgramStarted);
    let first = silent.next().await;
    assert_eq!(other.next().await.kind(), "program.started");
    for _ in 0..4 {
        fixture.events.tell(What::ProgramEnding);
        assert_eq!(other.next().await.kind(), "program.ending");
    }
    let again = silent.next().await;
    assert_eq!(first.header("webhook-id"), again.header("webhook-id"));
    let missed = silent.next().await;
    assert_eq!(missed.body, "{\"kind\":\"missed\",\"missed\":2}");
    assert_eq!(
        [silent.next().await.kind(), silent.next().await.kind()],
        ["program.ending"; 2]
    );
    let report = fixture.until(|report| report.told == 3).await;
    assert_eq!((report.lost, report.failures, report.waiting), (2, 1, 0));
    assert!(report.last_failure.unwrap().1.contains("took longer than 1s to answer"));
    assert_eq!(
        fixture.webhooks.totals(),
        Totals {
            told: 8,
            lost: 2,
            failures: 1
        }
    );
}

#[tokio::test]
async fn what_is_too_old_is_given_up_and_the_rest_is_told() {
    let mut server = Server::new(&["503 Busy", "503 Busy", "503 Busy"]).await;
    let pace = Pace {
        give_up: Duration::from_millis(1),
        ..Pace::default()
    };
    let fixture = Fixture::with(&table(&server, ""), pace);
    fixture.events.tell(What::ProgramStarted);
    fixture
        .until(|report| report.lost == 1 && report.state == State::Idle)
        .await;
    assert_eq!(server.next().await.kind(), "program.started");
    server.answers.lock().unwrap().clear();
    fixture.events.tell(What::ProgramEnding);
    assert_eq!(server.next().await.kind(), "missed");
    assert_eq!(server.next().await.kind(), "program.ending");
}

#[tokio::test]
async fn one_that_is_gone_is_told_nothing_until_its_settings_change() {
    let mut server = Server::new(&["410 Gone"]).await;
    let fixture = Fixture::new(&table(&server, ""));
    fixture.events.tell(What::ProgramStarted);
    fixture.until(|report| report.state == State::Stopped).await;
    fixture.events.tell(What::ProgramStarted);
    fixture.webhooks.set(&settings(&table(&server, "")));
    assert_eq!(
        fixture.until(|_| true).await.state,
        State::Stopped,
        "the same settings change nothing"
    );
    fixture
        .webhooks
        .set(&settings(&table(&server, "events = [\"program\"]\n")));
    fixture.events.tell(What::ProgramEnding);
    assert_eq!(
        [server.next().await.kind(), server.next().await.kind()],
        ["program.started", "program.ending"]
    );
    fixture.until(|report| report.told == 1).await;
    assert_eq!(
        fixture.webhooks.totals(),
        Totals {
            told: 1,
            lost: 0,
            failures: 1
        }
    );
}

/// Whoever chose its name: what it means is looked at where it is connected to.
#[tokio::test]
async fn no_private_address_is_asked_unless_it_is_meant() {
    let mut server = Server::new(&[]).await;
    let url = |host: &str| format!("[webhook.one]\nurl = \"http://{host}:{}/\"\n", server.address.port());
    let fixture = Fixture::new(&url("localhost"));
    fixture.events.tell(What::ProgramStarted);
    let report = fixture.until(|report| report.failures > 0).await;
    let (_, why) = report.last_failure.unwrap();
    assert!(
        why.contains("may not be connected to") && why.contains("allow_private"),
        "{why}"
    );
    assert!(server.seen.try_recv().is_err());
    // What was not told is told where it may be.
    let meant = format!("{}allow_private = true\n", url("127.0.0.1"));
    fixture.webhooks.set(&settings(&meant));
    assert_eq!(server.next().await.kind(), "program.started");
}

#[tokio::test]
async fn a_change_neither_repeats_nor_forgets() {
    let mut server = Server::new(&["200 OK", "500 No"]).await;
    let fixture = Fixture::new(&table(&server, ""));
    fixture.events.tell(What::ProgramStarted);
    fixture.until(|report| report.told == 1).await;
    fixture.events.tell(What::ProgramEnding);
    fixture.until(|report| report.failures == 1).await;
    fixture.webhooks.set(&settings(&table(&server, "events = [\"*\"]\n")));
    let mut kinds = Vec::new();
    for _ in 0..3 {
        kinds.push(server.next().await.kind());
    }
    assert_eq!(kinds, ["program.started", "program.ending", "program.ending"]);
    fixture.until(|report| report.told == 1).await;
    // What it did not want to hear it is not told when it wants to hear more.
    fixture
        .webhooks
        .set(&settings(&table(&server, "events = [\"viewer\"]\n")));
    fixture.events.tell(What::ProgramStarted);
    tokio::time::sleep(Duration::from_millis(50)).await;
    fixture.webhooks.set(&settings(&table(&server, "")));
    fixture.events.tell(What::ProgramEnding);
    assert_eq!(server.next().await.kind(), "program.ending");
    fixture.until(|report| report.told == 1).await;
    fixture.webhooks.set(&BTreeMap::new());
    assert!(fixture.webhooks.reports().is_empty());
    assert_eq!(fixture.webhooks.totals().told, 3);
}

#[tokio::test]
async fn a_secret_in_a_file_is_read_each_time_and_nothing_is_sent_without_it() {
    let mut server = Server::new(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let fixture = Fixture::new(&table(&server, &format!("secret_file = \"{}\"\n", file.display())));
    fixture.events.tell(What::ProgramStarted);
    let missing = fixture
        .until(|report| report.failures > 0)
        .await
        .last_failure
        .unwrap()
        .1;
    assert!(missing.contains("secret_file"), "{missing}");
    std::fs::write(&file, "canary").unwrap();
    let wrong = fixture
        .until(|report| {
            report
                .last_failure
                .as_ref()
                .is_some_and(|(_, why)| why.contains("it holds"))
        })
        .await;
    assert!(!wrong.last_failure.unwrap().1.contains("canary"));
    assert!(server.seen.try_recv().is_err());
    for key in [[1_u8; 24], [2; 24]].map(|key| STANDARD.encode(key)) {
        std::fs::write(&file, format!("whsec_{key}\n")).unwrap();
        fixture.events.tell(What::ProgramStarted);
        // The one that waited was told with this secret too, once that was there.
        while !is_signed(&server.next().await, &key) {}
    }
}

#[tokio::test]
async fn what_is_left_is_told_when_the_program_ends() {
    let mut server = Server::new(&[]).await;
    let fixture = Fixture::new(&table(&server, ""));
    fixture.events.tell(What::ProgramEnding);
    fixture.trigger.request();
    fixture.events.end();
    assert_eq!(server.next().await.kind(), "program.ending");
    tokio::time::timeout(PATIENCE, fixture.running).await.unwrap().unwrap();
}

/// The end of the program waits for none that does not answer.
#[tokio::test]
async fn one_that_does_not_answer_does_not_hold_up_the_end() {
    let mut server = Server::new(&[""]).await;
    let fixture = Fixture::new(&table(&server, ""));
    fixture.events.tell(What::ProgramEnding);
    server.next().await;
    let began = std::time::Instant::now();
    fixture.trigger.request();
    fixture.events.end();
    tokio::time::timeout(PATIENCE, fixture.running).await.unwrap().unwrap();
    assert!(
        began.elapsed() < LEAVE_WITHIN + Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}
