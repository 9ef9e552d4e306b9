//! Servers that are told what happens, and how that goes.

use schemars::JsonSchema;
use serde::Serialize;

use super::streams::rfc3339;
use crate::http::access::Caller;
use crate::http::answer::json;
use crate::http::openapi::Operation;
use crate::http::routes::{Answer, Call};
use crate::webhooks::{Report, State};

pub(super) const LIST: Operation = Operation::reads::<Webhooks>("Servers that are told what happens");

#[derive(Serialize, JsonSchema)]
struct Webhooks {
    webhooks: Vec<Description>,
}

/// `GET /api/v1/webhooks`.
pub(super) fn list(call: Call, _: Caller) -> Answer {
    Box::pin(async move {
        let reports = call.shared.settings.webhooks.reports();
        json(&Webhooks {
            webhooks: reports.iter().map(Description::new).collect(),
        })
    })
}

/// One of them. Its figures count from when its settings were last changed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Webhook")]
struct Description {
    /// Its name in the settings.
    name: String,
    /// The server, without what may be a credential.
    url: String,
    /// Whether messages to it are signed.
    signed: bool,
    /// `idle`, `sending`, `waiting` (it could not be told, and is asked again) or `stopped` (it answered 410).
    state: &'static str,
    /// Attempts in a row that failed, where it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    /// When it is asked again, where it waits. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// Events that it is yet to be told.
    waiting: usize,
    /// Events that it was told.
    delivered: u64,
    /// Events that it will never be told.
    lost: u64,
    /// Attempts that failed.
    failures: u64,
    /// When it last answered that it heard. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<String>,
    /// When an attempt last failed. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<String>,
    /// Why it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Description {
    fn new(report: &Report) -> Self {
        let (attempts, until) = match &report.state {
            State::Waiting { attempts, until } => (Some(*attempts), Some(rfc3339(*until))),
            State::Idle | State::Sending | State::Stopped => (None, None),
        };
        let (last_failure, why) = report.last_failure.clone().unzip();
        Self {
            name: report.name.clone(),
            url: report.url.clone(),
            signed: report.signed,
            state: report.state.word(),
            attempts,
            until,
            waiting: report.waiting,
            delivered: report.told,
            lost: report.lost,
            failures: report.failures,
            last_success: report.last_success.map(rfc3339),
            last_failure: last_failure.map(rfc3339),
            why: why.map(|why| why.to_string()),
        }
    }
}
