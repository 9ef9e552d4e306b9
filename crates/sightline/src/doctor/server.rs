//! A server of ours that runs on this machine: whether it answers, and what it says is wrong.

use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use url::Url;

use super::{Findings, PATIENCE, Patient};
use crate::config::settings::Settings;
use crate::fetch::{Client, FetchError, Policy, Request, anywhere};
use crate::state::{self, Place};
use crate::trust::Trust;

const ABOUT: &str = "server";
/// Of one answer.
const MOST_BYTES: usize = 4 << 20;

/// `port`: where it serves HTTP, if one does.
pub(super) fn look(patient: &Patient<'_>, settings: &Settings, port: Option<u16>, found: &mut Findings<'_>) {
    let Some(port) = port else { return };
    let host = settings.server.host.map_or_else(
        || "127.0.0.1".to_owned(),
        |address| match address.0 {
            std::net::IpAddr::V6(address) => format!("[{address}]"),
            address => address.to_string(),
        },
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtime), Ok(base)) = (runtime, format!("http://{host}:{port}/").parse::<Url>()) else {
        return;
    };
    let place = Place::of_process(settings.server.state_dir.clone());
    let folder = state::default_place(&place, patient.environment()).ok();
    let admin = folder.and_then(|folder| state::of_this_machine(&folder));
    let asked = Asked {
        client: Client::new(Policy {
            trust: Trust::System,
            may_connect: anywhere,
            redirects: 0,
            timeout: PATIENCE,
        }),
        base,
        token: admin.map(|tokens| tokens.admin.expose().to_owned()),
    };
    runtime.block_on(asked.look(found));
}

struct Asked {
    client: Client,
    base: Url,
    token: Option<String>,
}

impl Asked {
    async fn look(&self, found: &mut Findings<'_>) {
        match self.get("readyz").await {
            Ok((StatusCode::OK, _)) => found.fine(ABOUT, format!("it answers at {}", self.base)),
            Ok((_, answer)) => {
                let why = answer["detail"].as_str().unwrap_or("it does not say why").to_owned();
                found.note(ABOUT, format!("it is not ready: {why}"), "its log says more");
            }
            Err(error) => {
                return found.wrong(
                    ABOUT,
                    format!("it does not answer: {error}"),
                    "see its log, and start it again",
                );
            }
        }
        if self.token.is_none() {
            return found.note(
                ABOUT,
                "its token cannot be read by this user, so that it was not asked how its streams are",
                "run `sightline doctor` as the user that the server runs as",
            );
        }
        for (what, list) in [("sources", "source"), ("forwards", "forward")] {
            self.list(what, list, found).await;
        }
    }

    /// What is wrong with each of a list.
    async fn list(&self, what: &str, one: &str, found: &mut Findings<'_>) {
        let answer = match self.get(&format!("api/v1/{what}")).await {
            Ok((StatusCode::OK, answer)) => answer,
            Ok((status, _)) => {
                let next = "the token of the state folder is another than that of the server: name its folder in server.state_dir";
                return found.note(ABOUT, format!("it does not tell its {what} ({status})"), next);
            }
            Err(error) => return found.wrong(ABOUT, error.to_string(), "see its log"),
        };
        for item in answer[what].as_array().into_iter().flatten() {
            let text = |key: &str| item[key].as_str().unwrap_or_default();
            if let Some(why) = item["why"].as_str() {
                let what = format!("the {one} of \"{}\", {}: {why}", text("stream"), text("url"));
                found.wrong(ABOUT, what, "correct it in [stream] of the settings, or mend it there");
            }
        }
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Value), FetchError> {
        let url = self.base.join(path).unwrap_or_else(|_| self.base.clone());
        let mut request = Request::get(url);
        let token = self
            .token
            .as_deref()
            .map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        if let Some(Ok(mut token)) = token {
            token.set_sensitive(true);
            request.headers.insert(AUTHORIZATION, token);
        }
        let response = self.client.send(request).await?;
        let status = response.status;
        let bytes = response.bytes(MOST_BYTES).await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}
