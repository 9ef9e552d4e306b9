//! End to end: the status socket of the real program, with our own publisher, and with Python scripts as people have them.
//!
//! Does not belong here: who hears what (`protocol::status`), sockets that misbehave and who is let in (`sightline::status`,
//! `sightline::http`, beside the code).

#[path = "../rtsp/support.rs"]
#[allow(dead_code, reason = "the other tests' support is larger than what is needed here")]
mod support;

mod publish;
mod python;
mod up;

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use support::{PATIENCE, Process, sightline};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// The credential of all servers here. Its role is admin.
const TOKEN: &str = "status-token";

/// `sightline up` or `serve` on free ports.
struct Server {
    process: Process,
    listening: Value,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = sightline();
        command
            .args(arguments)
            .args(["--log", "json", "--token", TOKEN, "--state-dir"]);
        command.arg(folder.path().join("state")).current_dir(folder.path());
        for port in ["RTSP_PORT", "RTSP_RTP_PORT", "RTSP_RTCP_PORT"] {
            command.env(format!("SIGHTLINE_{port}"), "0");
        }
        command.envs(variables.iter().copied());
        let mut process = Process::start(&mut command);
        process.collect_stdout();
        let listening = wait_for_event(&mut process, "listening");
        Self {
            process,
            listening,
            folder,
        }
    }

    fn port(&self, name: &str) -> u16 {
        let port = self.listening[format!("{name}_port")].as_u64();
        u16::try_from(port.unwrap_or_else(|| panic!("{name}: {}", self.listening))).unwrap()
    }

    fn url(&self, query: &str) -> String {
        format!("ws://127.0.0.1:{}/ws/camera/?token={TOKEN}{query}", self.port("http"))
    }
}

fn wait_for_event(process: &mut Process, text: &str) -> Value {
    process.wait_for(text, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event.get("event")?.as_str()? == text).then_some(event)
    })
}

/// A dashboard.
struct Dashboard(WebSocketStream<TcpStream>);

impl Dashboard {
    async fn open(url: &str) -> Self {
        let host = url.split('/').nth(2).unwrap();
        let socket = TcpStream::connect(host).await.unwrap();
        let (socket, _) = client_async(url, socket).await.unwrap();
        Self(socket)
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::Text(text.into())).await.unwrap();
    }

    /// The next text that `wanted` makes something of.
    async fn hear<T>(&mut self, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        let mut heard = Vec::new();
        let reading = async {
            while let Some(Ok(message)) = self.0.next().await {
                let Message::Text(text) = message else { continue };
                let value: Value = serde_json::from_str(&text).unwrap();
                if let Some(found) = wanted(&value) {
                    return Some(found);
                }
                heard.push(text.to_string());
            }
            None
        };
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Some(found)) => found,
            ended => panic!(
                "nobody said: {what} (ended: {}). Heard:\n{}",
                ended.is_ok(),
                heard.join("\n")
            ),
        }
    }

    /// The answer to what was said.
    async fn answer(&mut self, text: &str) -> Value {
        self.say(text).await;
        let asked: Value = serde_json::from_str(text).unwrap();
        let kind = asked["type"].clone();
        self.hear("an answer", |value| (value["of"] == kind).then(|| value.clone()))
            .await
    }

    /// How many texts of this kind come within a time.
    async fn count(&mut self, kind: &str, time: Duration) -> usize {
        let mut count = 0;
        let counting = async {
            while let Some(Ok(message)) = self.0.next().await {
                let Message::Text(text) = message else { continue };
                let value: Value = serde_json::from_str(&text).unwrap();
                count += usize::from(value["type"] == kind);
            }
        };
        let _ = tokio::time::timeout(time, counting).await;
        count
    }
}

fn is(value: &Value, kind: &str) -> bool {
    value["type"] == kind
}
