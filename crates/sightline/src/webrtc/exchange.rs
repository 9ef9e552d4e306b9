//! How another server is asked for a WebRTC session by HTTP, and told of its end (WHIP, WHEP).
//!
//! Belongs here: the requests. Does not belong here: what is offered and what a refusal means, which differ for who takes and who gives
//! ([`crate::source`], [`crate::forward`]); media ([`super::asking`]).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use protocol::webrtc::Identity;
use url::Url;

use crate::fetch::{self, Client, FetchError, Policy, Request, Response};
use crate::trust::Trust;

/// Longest wait for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long the server is told goodbye, when the program may be ending.
const LEAVE_WITHIN: Duration = Duration::from_millis(300);
/// An answer is smaller.
const MAX_ANSWER_BYTES: usize = 128 << 10;
/// What a server says that refuses, as far as it is repeated.
const MAX_REASON_CHARS: usize = 200;
/// MediaMTX sends nobody elsewhere, others to their region.
const MAX_REDIRECTS: u8 = 3;

/// Who we are to all servers: made once, since it takes longer than all the rest.
static IDENTITY: LazyLock<Option<Arc<Identity>>> = LazyLock::new(|| Identity::generate().ok().map(Arc::new));

/// Who we are to all servers; `None` when the cryptographic library makes no certificate.
pub(crate) fn identity() -> Option<Arc<Identity>> {
    IDENTITY.clone()
}

/// Asks one server, at one URL.
pub(crate) struct Exchange {
    url: Url,
    /// What an address in the query calls a token is shown as one too.
    bearer: Option<HeaderValue>,
    http: Client,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) sdp: Bytes,
    /// Where it was asked.
    pub(crate) server: SocketAddr,
    /// Where the session is ended.
    pub(crate) place: Option<Url>,
}

/// Why there is no answer.
pub(crate) enum NoAnswer {
    /// Something went wrong on the way.
    Fetch(FetchError),
    /// The server says no.
    Refused(Refusal),
}

/// What a server says instead of an answer.
pub(crate) struct Refusal {
    pub(crate) host: String,
    pub(crate) status: StatusCode,
    said: String,
}

impl Refusal {
    async fn of(response: Response) -> Self {
        let (status, host) = (response.status, response.url.host_str().unwrap_or_default().to_owned());
        let said = response.bytes(MAX_ANSWER_BYTES).await.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let said: String = (said.trim().chars())
            .filter(|c| !c.is_control())
            .take(MAX_REASON_CHARS)
            .collect();
        Self { host, status, said }
    }

    /// For people, after what it means.
    pub(crate) fn in_words(&self, what: &str) -> String {
        let Self { host, status, said } = self;
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(": {said}")
        };
        format!("{host} {what} ({status}{said})")
    }
}

impl Exchange {
    pub(crate) fn new(url: Url, trust: Trust) -> Self {
        let http = Client::new(Policy {
            trust,
            may_connect: fetch::anywhere,
            redirects: MAX_REDIRECTS,
            timeout: ANSWER_WITHIN,
        });
        Self {
            bearer: bearer(&url),
            url,
            http,
        }
    }

    /// At which of our addresses the server is reached.
    pub(crate) async fn local(&self) -> Result<IpAddr, FetchError> {
        self.http.connect_to(&self.url).await
    }

    /// Asks with an offer, and these headers besides those that are always there.
    pub(crate) async fn offer(&self, sdp: String, headers: HeaderMap) -> Result<Answer, NoAnswer> {
        let mut request = self.request(Method::POST, self.url.clone());
        let sdp_type = HeaderValue::from_static("application/sdp");
        request.headers.insert(CONTENT_TYPE, sdp_type.clone());
        request.headers.insert(ACCEPT, sdp_type);
        request.headers.extend(headers);
        request.body = Bytes::from(sdp);
        let response = self.http.send(request).await.map_err(NoAnswer::Fetch)?;
        if response.status != StatusCode::CREATED {
            return Err(NoAnswer::Refused(Refusal::of(response).await));
        }
        let place = response.headers.get(LOCATION).and_then(|place| place.to_str().ok());
        let place = place.and_then(|place| response.url.join(place).ok());
        let server = response.remote;
        let sdp = response.bytes(MAX_ANSWER_BYTES).await.map_err(NoAnswer::Fetch)?;
        Ok(Answer { sdp, server, place })
    }

    fn request(&self, method: Method, url: Url) -> Request {
        let mut headers = HeaderMap::new();
        if let Some(bearer) = &self.bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        Request {
            method,
            headers,
            ..Request::get(url)
        }
    }

    /// Ends the session by HTTP, so that the server need not find out by itself. It is not waited for for long.
    pub(crate) async fn leave(&self, place: Option<Url>) {
        let Some(mut place) = place else { return };
        let same_server = place.origin() == self.url.origin();
        if same_server && place.username().is_empty() && place.password().is_none() {
            let _ = place.set_username(self.url.username());
            let _ = place.set_password(self.url.password());
        }
        let mut request = self.request(Method::DELETE, place);
        if !same_server {
            request.headers.remove(AUTHORIZATION);
        }
        let _ = tokio::time::timeout(LEAVE_WITHIN, self.http.send(request)).await;
    }
}

/// `?token=` as a header. MediaMTX and others read it there, ours from either.
fn bearer(url: &Url) -> Option<HeaderValue> {
    let (_, token) = url.query_pairs().find(|(name, _)| name == "token")?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    bearer.set_sensitive(true);
    Some(bearer)
}
