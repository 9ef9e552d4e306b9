//! `GET /api/v1/latency`: how long frames took, by stage and protocol, since the program began.

use media::hub::Account;
use media::stats::{Delays, Role};
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::Operation;
use crate::http::routes::{Answer, Call};

pub(super) const GET: Operation =
    Operation::reads::<Latencies>("How long frames took, by stage and protocol, since the program began");

#[derive(Debug, Serialize, JsonSchema)]
struct Latencies {
    /// The longest delay of each class but the last, which is for all that took longer. Milliseconds.
    bounds_ms: Vec<f64>,
    stages: Vec<Stage>,
}

/// The frames of one stage and protocol.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LatencyOfStage")]
struct Stage {
    /// `capture_to_server`, or `server_to_socket`: from there to the socket of a viewer.
    stage: &'static str,
    protocol: &'static str,
    /// Frames in each class: one more than there are bounds.
    counts: Vec<u64>,
    /// What all of them took together, milliseconds.
    sum_ms: f64,
}

/// Those of no stream alone: sums of the program.
pub(super) fn get(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let ledger = call.shared.hub.ledger();
        let mut all = ledger.ended.clone();
        ledger.streams.iter().for_each(|stream| all.add(&stream.books()));
        let mut stages: Vec<Stage> = all.accounts().iter().map(Stage::new).collect();
        stages.retain(|stage| stage.counts.iter().any(|count| *count > 0));
        stages.sort_unstable_by_key(|stage| (stage.stage, stage.protocol));
        json(&Latencies {
            bounds_ms: Delays::BOUNDS_US.map(|bound| bound as f64 / 1_000.0).to_vec(),
            stages,
        })
    })
}

impl Stage {
    fn new(account: &Account) -> Self {
        Self {
            stage: match account.role {
                Role::Publisher => "capture_to_server",
                Role::Viewer => "server_to_socket",
            },
            protocol: account.protocol,
            counts: account.totals.delays.to_vec(),
            sum_ms: account.totals.delays_sum_us as f64 / 1_000.0,
        }
    }
}
