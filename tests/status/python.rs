//! Publishers and dashboards in Python, with the libraries that people's scripts use.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Process, tool};
use crate::{Dashboard, Server, is};

fn python(arguments: &[&str]) -> Process {
    let mut command = tool("/usr/bin/python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/status.py"));
    let mut process = Process::start(command.args(arguments));
    process.collect_stdout();
    process
}

fn texts(process: &Process, kind: &str) -> Vec<Value> {
    let said = process.said();
    let texts = said.iter().filter_map(|line| serde_json::from_str(line).ok());
    texts.filter(|value: &Value| is(value, kind)).collect()
}

/// What the seeds' publisher does for each picture: `isConnected` alone, 30 times a second.
#[test]
fn a_publisher_of_old_is_counted_by_a_dashboard_of_old() {
    let server = Server::start(&["serve"], &[]);
    let mut dashboard = python(&["watch", &server.url("")]);
    dashboard.wait_for("connected", |line| line.contains("connected").then_some(()));
    let mut publisher = python(&["publish", &server.url(""), "--bare", "--count", "90"]);
    publisher.wait_for("sent", |line| line.contains("\"sent\": 90").then_some(()));
    let all = |line: &str| line.contains("connection_status").then_some(());
    dashboard.wait_for("a status", all);
    let begun = Instant::now();
    while texts(&dashboard, "connection_status").len() < 90 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", dashboard.said());
        std::thread::sleep(Duration::from_millis(10));
    }
    let first = r#"{"type":"connection_status","camera":"zerolatency","isConnected":true}"#;
    assert!(dashboard.said().contains(&first.to_owned()), "{:?}", dashboard.said());
    assert_eq!(texts(&dashboard, "camera_metrics").len(), 0);
    assert_eq!(
        texts(&publisher, "connection_status").len(),
        0,
        "nothing is told to who said it"
    );
    // Its connection breaks.
    let killed = Instant::now();
    publisher.kill();
    dashboard.wait_for("the loss", |line| line.contains("\"isConnected\":false").then_some(()));
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_and_commands_go_both_ways() {
    let server = Server::start(&["serve"], &[]);
    let mut dashboard = Dashboard::open(&server.url("")).await;
    let mut publisher = python(&["publish", &server.url("&camera=garden"), "--rate", "10"]);
    let metrics = dashboard
        .hear("figures", |value| is(value, "camera_metrics").then(|| value.clone()))
        .await;
    assert_eq!(
        (metrics["camera"].as_str(), metrics["fps"].as_f64()),
        (Some("garden"), Some(29.5))
    );
    assert_eq!(
        (metrics["cpu_percent"].as_f64(), metrics["memory_total_mb"].as_u64()),
        (Some(12.5), Some(3_800))
    );
    let answer = dashboard
        .answer(r#"{"type":"set_brightness","camera":"garden","brightness":70}"#)
        .await;
    assert_eq!(answer["type"], "ack");
    publisher.wait_for("the command", |line| {
        line.contains("{\"command\": {\"brightness\": 70}}").then_some(())
    });
}

/// The test of the messages beside the code holds the same bytes.
#[test]
fn their_library_writes_the_bytes_that_we_read() {
    let mut process = python(&["hex"]);
    let expected = "0801150000ec41180320042d0000a040350000c040380740084d00001041500a5a0363616d60f4ffffffffffffffff01680d700e7a036572728001018d0100008841900112";
    process.wait_for("the bytes", |line| (line == expected).then_some(()));
}
