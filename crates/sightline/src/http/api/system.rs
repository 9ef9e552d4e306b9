//! `GET /api/v1/system`: how the machine and the program are.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::rounded;
use crate::auth::{Action, Object, may};
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::Operation;
use crate::http::routes::{Answer, Call, Seen};
use crate::machine::Figures;

pub(super) const SYSTEM: Operation = Operation::reads::<System>("How the machine and the program are");

#[derive(Debug, Serialize, JsonSchema)]
struct System {
    #[serde(flatten)]
    machine: Machine,
    /// For whoever may view all streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<Program>,
}

/// The machine. `null` where the operating system does not tell.
#[derive(Debug, Serialize, JsonSchema)]
struct Machine {
    cpu_percent: Option<f64>,
    memory_percent: Option<f64>,
    /// MiB, as the camera status counts them.
    memory_used_mb: Option<u64>,
    memory_total_mb: Option<u64>,
    network: Option<Network>,
    temperature_celsius: Option<f64>,
    uptime_seconds: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Network {
    received_mbps: f64,
    sent_mbps: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Program {
    version: &'static str,
    uptime_seconds: u64,
    streams: usize,
    viewers: usize,
    /// Bytes of the newest pictures, kept for viewers.
    kept_bytes: usize,
    http_connections: usize,
    /// HTTP requests that a bug of ours ended.
    http_panics: u64,
    status: Status,
}

/// The status socket.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StatusSocket")]
struct Status {
    clients: usize,
    cameras: usize,
    /// Words lost because clients did not read them.
    dropped: u64,
    /// Words of clients that say more than they may.
    unheard: u64,
}

pub(super) fn system(call: Call, caller: Caller, _: Seen) -> Answer {
    Box::pin(async move {
        let shared = call.shared;
        let figures = shared.machine.figures(&*shared.clock).await;
        let streams = shared.hub.list();
        let status = shared.settings.status.totals();
        let up = shared.clock.now().saturating_duration_since(shared.began);
        let sees_all = may(&caller.who, Action::View, Object::Program).is_allowed();
        let program = || Program {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: up.as_secs(),
            streams: streams.len(),
            viewers: streams.iter().map(|stream| stream.viewers()).sum(),
            kept_bytes: shared.hub.ring_bytes(),
            http_connections: shared.open.load(Relaxed),
            http_panics: shared.panics.load(Relaxed),
            status: Status {
                clients: status.clients,
                cameras: status.cameras,
                dropped: status.dropped,
                unheard: status.unheard,
            },
        };
        json(&System {
            machine: Machine::new(figures),
            program: sees_all.then(program),
        })
    })
}

impl Machine {
    fn new(figures: Figures) -> Self {
        let memory = figures.memory;
        let percent = |used: u64, total: u64| rounded(100.0 * used as f64 / total.max(1) as f64, 1);
        Self {
            cpu_percent: figures.cpu_percent.map(|percent| rounded(percent, 1)),
            memory_percent: memory.map(|memory| percent(memory.used_bytes, memory.total_bytes)),
            memory_used_mb: memory.map(|memory| memory.used_bytes >> 20),
            memory_total_mb: memory.map(|memory| memory.total_bytes >> 20),
            network: figures.network.map(|network| Network {
                received_mbps: rounded(network.received_bits / 1e6, 3),
                sent_mbps: rounded(network.sent_bits / 1e6, 3),
            }),
            temperature_celsius: figures.temperature_celsius.map(|celsius| rounded(celsius, 1)),
            uptime_seconds: figures.uptime.as_ref().map(Duration::as_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine;

    #[test]
    fn figures_are_rounded_and_what_is_not_known_is_null() {
        let machine = Machine::new(Figures {
            cpu_percent: Some(12.345),
            memory: Some(machine::Memory {
                used_bytes: 1_500 << 20,
                total_bytes: 4_000 << 20,
            }),
            network: Some(machine::Network {
                received_bits: 1_234_567.0,
                sent_bits: 0.0,
            }),
            temperature_celsius: None,
            uptime: Some(Duration::from_millis(61_900)),
        });
        insta::assert_snapshot!(serde_json::to_string_pretty(&machine).unwrap(), @r#"
        {
          "cpu_percent": 12.3,
          "memory_percent": 37.5,
          "memory_used_mb": 1500,
          "memory_total_mb": 4000,
          "network": {
            "received_mbps": 1.235,
            "sent_mbps": 0.0
          },
          "temperature_celsius": null,
          "uptime_seconds": 61
        }
        "#);
        let unknown = serde_json::to_value(Machine::new(Figures::default())).unwrap();
        assert!(
            unknown.as_object().unwrap().values().all(serde_json::Value::is_null),
            "{unknown}"
        );
    }
}
