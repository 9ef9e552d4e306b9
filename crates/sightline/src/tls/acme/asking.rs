//! How a certificate authority is asked: by our own client of HTTP, with its limits and errors.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};

use super::schedule::Failure;
use crate::fetch::{self, Client, FetchError, Policy, Request};
use crate::trust::Trust;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A chain of certificates is the largest that is asked for.
const MAX_BYTES: usize = 1 << 20;

/// See the module.
#[derive(Clone)]
pub(super) struct Asking {
    client: Arc<Client>,
    /// What it said the last time about when to come again.
    later: Arc<Mutex<Option<Duration>>>,
}

impl Asking {
    pub(super) fn new(trust: Trust) -> Self {
        let policy = Policy {
            trust,
            may_connect: fetch::anywhere,
            redirects: 3,
            timeout: TIMEOUT,
        };
        Self {
            client: Arc::new(Client::new(policy)),
            later: Arc::default(),
        }
    }

    /// What went wrong, and what follows from it.
    pub(super) fn failure(&self, error: Error) -> Failure {
        match error {
            Error::Api(problem) => self.refusal(&problem),
            Error::Timeout(_) => Failure::Unreachable(
                "the certificate authority did not come to an end in time; it is asked again by itself".to_owned(),
            ),
            Error::Json(error) => Failure::Unreachable(format!(
                "what answers at acme.directory is no certificate authority ({error}); check the URL"
            )),
            other => Failure::Unreachable(other.to_string()),
        }
    }

    /// RFC 8555 §6.7.
    fn refusal(&self, problem: &Problem) -> Failure {
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let kind = kind.rsplit(':').next().unwrap_or_default();
        let detail = said(problem);
        let why = |next: &str| format!("the certificate authority refuses: {detail}; {next}");
        match kind {
            "accountDoesNotExist" => Failure::NoAccount(why("a new account is made")),
            "rateLimited" => Failure::Later {
                why: why("wait, and try settings with its server for tests until they work (acme.directory)"),
                after: self.take_later().unwrap_or_default(),
            },
            "externalAccountRequired" => Failure::Refused(why(
                "it wants an account made elsewhere, which this program cannot show; choose another in acme.directory",
            )),
            "userActionRequired" => Failure::Refused(why("its terms have changed: see what it says, and agree there")),
            "rejectedIdentifier" | "malformed" | "unsupportedIdentifier" => {
                Failure::Refused(why("it issues no certificate for these names; check acme.domains"))
            }
            "caa" => Failure::Refused(why(
                "a CAA record of the name forbids it; change that record in the DNS",
            )),
            "invalidContact" | "unsupportedContact" => Failure::Refused(why("check acme.email")),
            _ => Failure::Refused(why("mend that; it is asked again by itself")),
        }
    }

    fn take_later(&self) -> Option<Duration> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What an authority says went wrong, short enough for a line of the log.
pub(super) fn said(problem: &Problem) -> String {
    const MOST_CHARS: usize = 400;
    let mut text = problem.detail.clone().unwrap_or_default();
    for part in &problem.subproblems {
        text.push_str(&format!(" ({part})"));
    }
    if text.is_empty() {
        text = problem
            .r#type
            .clone()
            .unwrap_or_else(|| "it does not say why".to_owned());
    }
    text.chars().filter(|c| !c.is_control()).take(MOST_CHARS).collect()
}

impl HttpClient for Asking {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asking = self.clone();
        Box::pin(async move { asking.ask(request).await.map_err(|error| Error::Other(Box::new(error))) })
    }
}

impl Asking {
    async fn ask(&self, request: http::Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, FetchError> {
        let (mut parts, body) = request.into_parts();
        // Who asks is us.
        parts.headers.remove(USER_AGENT);
        let Ok(body) = body.collect().await;
        let address = parts.uri.to_string();
        let request = Request {
            method: parts.method,
            url: address.parse().map_err(|_| FetchError::Url(address))?,
            headers: parts.headers,
            body: body.to_bytes(),
            timeout: None,
            // What it signs is good once.
            repeatable: false,
        };
        let response = self.client.send(request).await?;
        let (status, headers, url) = (response.status, response.headers.clone(), response.url.clone());
        let says = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // A proxy or a page in its place says nothing that could be read below.
        if !status.is_success() && !says.is_some_and(|says| says.contains("json")) {
            let address = url.host_str().unwrap_or_default().to_owned();
            let why = format!("it answers {status}; check acme.directory, and that it runs");
            return Err(FetchError::Http { address, why });
        }
        let later = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        *self.later.lock().unwrap_or_else(PoisonError::into_inner) = later.map(Duration::from_secs);
        let body = response.bytes(MAX_BYTES).await?;
        let mut answer = http::Response::new(Full::new(body));
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(BytesResponse::from(answer))
    }
}
