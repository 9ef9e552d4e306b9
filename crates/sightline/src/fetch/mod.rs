//! HTTP as its client: the one place of the program from which other servers are asked by it.
//!
//! Belongs here: requests and answers ([`Client`]), which addresses may be connected to ([`Policy`], [`public`]), the limits that hold whatever the
//! other side does: time, redirects, size of heads and bodies; what exactly it did wrong ([`FetchError`]). Does not belong here: what is asked
//! for and why (sources, hooks), trying again later (their policy), the load of benchmarks ([`crate::bench`]), which wants no limits.
//!
//! On hyper's connections by themselves, one dialect (HTTP/1.1), not on one of the clients over them: each address is looked at between
//! resolving and connecting, also of redirects and where a URL has a number for a name, and an error says which of both sides did what.
//! A connection is kept for the next request to the same origin. Proxies of the environment are not asked.

mod addresses;
mod connect;
mod outgoing;
mod response;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{Method, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use url::{Position, Url};

pub use addresses::public;
use connect::Connection;
use outgoing::Outgoing;
pub use response::Response;

use crate::secret::redacted_url;
use crate::trust::{Fingerprint, Trust, Verifier};

/// Longest wait for a TCP connection to one of a name's addresses: others may follow within the time of the request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that are kept: a list, its renditions, and where its segments are.
const MAX_KEPT: usize = 4;

/// What holds for all requests of a client.
#[derive(Clone)]
pub struct Policy {
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Whether an address may be connected to. Asked for each address of each name, numbers and redirects included.
    pub may_connect: fn(IpAddr) -> bool,
    /// How many redirects one request may follow. With none they are answers like others, with more they are errors.
    pub redirects: u8,
    /// Longest wait for the head of an answer, redirects included; then for each piece of its body, and for all of it in [`Response::bytes`].
    pub timeout: Duration,
}

/// For what an administrator set: servers in the house are what most of it is about.
pub fn anywhere(_: IpAddr) -> bool {
    true
}

/// Asks servers.
pub struct Client {
    policy: Policy,
    kept: Arc<Kept>,
    verifier: OnceLock<Result<Verifier, String>>,
    bytes_per_second: Option<NonZeroU64>,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be done.
    pub method: Method,
    /// With what. User and password are shown as `Authorization: Basic`, unless `headers` have one already.
    pub url: Url,
    /// Besides those that every request has.
    pub headers: HeaderMap,
    /// What is sent.
    pub body: Bytes,
    /// In place of [`Policy::timeout`], for the head of the answer: some servers are asked to wait.
    pub timeout: Option<Duration>,
    /// It does no harm twice, whatever its method: where a server closes a connection just as it is used again, it is sent once more.
    pub repeatable: bool,
}

impl Request {
    /// Asks for what is there.
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: None,
            repeatable: false,
        }
    }
}

/// Why there is no answer, or not all of it. The text names the peer's fault, and neither credentials nor what stands behind a `?`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It is no URL of a server.
    #[error("{0} cannot be asked by HTTP: http:// or https:// and a host are needed")]
    Url(String),
    /// The host's name means nothing.
    #[error("cannot find the host {host}: {error}; check the name, or use its address")]
    Resolve {
        /// The name.
        host: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The policy does not allow its address.
    #[error("{host} is {address}, which may not be connected to from here")]
    Forbidden {
        /// The name.
        host: String,
        /// Where it is.
        address: IpAddr,
    },
    /// Nobody answers.
    #[error("cannot connect to {address}: {error}; check that the server runs and that no firewall is between")]
    Connect {
        /// Host and port.
        address: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// There is no TLS with who answers there.
    #[error("{address} cannot be asked by TLS: {why}; check that it is its port for https://")]
    Tls {
        /// Host and port.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// It shows a certificate that is not believed.
    #[error("the certificate of {address} is not believed: {why}; its fingerprint is {fingerprint}")]
    Certificate {
        /// Host and port.
        address: String,
        /// Why not.
        why: String,
        /// What it shows.
        fingerprint: Fingerprint,
    },
    /// What it answers is not HTTP, or the connection broke.
    #[error("{address} does not answer as a server should: {why}")]
    Http {
        /// Host and port.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// It takes longer than it may.
    #[error("{address} took longer than {after:?} to {what}")]
    Slow {
        /// Host and port.
        address: String,
        /// The limit.
        after: Duration,
        /// What was waited for.
        what: &'static str,
    },
    /// It sends from place to place.
    #[error("{address} redirects more than {limit} times")]
    Redirects {
        /// Host and port of the last.
        address: String,
        /// The limit.
        limit: u8,
    },
    /// It sends to where nobody may be sent.
    #[error("{address} redirects to {to}, which is not followed: {why}")]
    Redirect {
        /// Host and port.
        address: String,
        /// Where to.
        to: String,
        /// Why not.
        why: &'static str,
    },
    /// The body is larger than it may be.
    #[error("{address} sends more than {limit_bytes} bytes")]
    TooLarge {
        /// Host and port.
        address: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// The body is compressed in a way that was not asked for, or wrongly.
    #[error("{address} sends a body that cannot be unpacked: {why}")]
    Encoding {
        /// Host and port.
        address: String,
        /// What is wrong.
        why: String,
    },
}

impl Client {
    /// One that holds to a policy.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            kept: Arc::default(),
            verifier: OnceLock::new(),
            bytes_per_second: None,
        }
    }

    /// The same, which sends the body of a request no faster than this.
    #[must_use]
    pub fn paced(self, bytes_per_second: Option<NonZeroU64>) -> Self {
        Self {
            bytes_per_second,
            ..self
        }
    }

    /// Asks, goes where it is sent, and gives the head of the answer, whatever its status.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn send(&self, mut request: Request) -> Result<Response, FetchError> {
        let after = request.timeout.unwrap_or(self.policy.timeout);
        let mut address = address(&request.url);
        let answering = async {
            for _ in 0..=self.policy.redirects {
                address = self::address(&request.url);
                let response = self.ask(&request).await?;
                let Some(to) = place(&response) else {
                    return Ok(response);
                };
                if self.policy.redirects == 0 {
                    return Ok(response);
                }
                request = redirected(request, &to, response.status)?;
            }
            Err(FetchError::Redirects {
                address: address.clone(),
                limit: self.policy.redirects,
            })
        };
        let answered = tokio::time::timeout(after, answering).await;
        answered.unwrap_or(Err(FetchError::Slow {
            address,
            after,
            what: "answer",
        }))
    }

    /// Connects to a server, for the next request to it, and says at which of our addresses.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn connect_to(&self, url: &Url) -> Result<IpAddr, FetchError> {
        let after = self.policy.timeout;
        let connecting = tokio::time::timeout(after, self.connect(Origin::of(url)?));
        let connection = connecting.await.unwrap_or_else(|_| {
            Err(FetchError::Slow {
                address: address(url),
                after,
                what: "let us connect",
            })
        })?;
        let local = connection.local.ip();
        self.kept.put(connection);
        Ok(local)
    }

    /// One question to one server.
    async fn ask(&self, request: &Request) -> Result<Response, FetchError> {
        let origin = Origin::of(&request.url)?;
        let may_repeat = request.repeatable || request.method.is_idempotent();
        // A server may close a connection just when it is used again. What was perhaps done already is not asked for twice.
        while let Some(mut connection) = self.kept.take(&origin) {
            if connection.is_used && !may_repeat {
                continue;
            }
            if connection.sender.ready().await.is_err() {
                continue;
            }
            match connection.ask(self.written(request)?).await {
                Ok(answer) => return Ok(self.response(request, connection, answer)),
                Err(_) if may_repeat => break,
                Err(error) => return Err(error),
            }
        }
        let mut connection = self.connect(origin).await?;
        let answer = connection.ask(self.written(request)?).await?;
        Ok(self.response(request, connection, answer))
    }

    async fn connect(&self, origin: Origin) -> Result<Connection, FetchError> {
        let verifier = match origin.tls {
            false => None,
            true => Some(self.verifier.get_or_init(|| Verifier::new(self.policy.trust.clone()))),
        };
        let verifier = verifier.map(|made| match made {
            Ok(verifier) => Ok(verifier.again()),
            Err(why) => Err(FetchError::Tls {
                address: origin.address(),
                why: why.clone(),
            }),
        });
        Connection::open(origin, self.policy.may_connect, verifier.transpose()?).await
    }

    fn response(&self, request: &Request, connection: Connection, answer: http::Response<Incoming>) -> Response {
        Response::new(
            request.url.clone(),
            self.policy.timeout,
            answer,
            connection,
            Arc::clone(&self.kept),
        )
    }

    /// A request as hyper has it.
    fn written(&self, request: &Request) -> Result<http::Request<Outgoing>, FetchError> {
        let url = &request.url;
        let unusable = || FetchError::Url(shown(url));
        let mut written = http::Request::new(Outgoing::new(request.body.clone(), self.bytes_per_second));
        *written.method_mut() = request.method.clone();
        *written.uri_mut() = (url[Position::BeforePath..Position::AfterQuery].parse()).map_err(|_| unusable())?;
        let headers = written.headers_mut();
        let host = &url[Position::BeforeHost..Position::AfterPort];
        headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| unusable())?);
        headers.insert(USER_AGENT, HeaderValue::from_static("sightline"));
        if !url.username().is_empty() || url.password().is_some() {
            let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
            let pair = [
                decoded(url.username()),
                b":".to_vec(),
                decoded(url.password().unwrap_or_default()),
            ];
            let basic = format!("Basic {}", STANDARD.encode(pair.concat()));
            let mut basic = HeaderValue::from_str(&basic).map_err(|_| unusable())?;
            basic.set_sensitive(true);
            headers.insert(AUTHORIZATION, basic);
        }
        for (name, value) in &request.headers {
            headers.insert(name, value.clone());
        }
        Ok(written)
    }
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    tls: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

impl Origin {
    fn of(url: &Url) -> Result<Self, FetchError> {
        let tls = match url.scheme() {
            "http" => Some(false),
            "https" => Some(true),
            _ => None,
        };
        let host = url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
        match (tls, host, url.port_or_known_default()) {
            (Some(tls), Some(host), Some(port)) => Ok(Self { tls, host, port }),
            _ => Err(FetchError::Url(shown(url))),
        }
    }

    fn address(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

/// Connections for the next request.
#[derive(Default)]
struct Kept(Mutex<VecDeque<Connection>>);

impl Kept {
    fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut kept = self.lock();
        kept.retain(|connection| !connection.sender.is_closed());
        let at = kept.iter().position(|connection| connection.origin == *origin)?;
        kept.remove(at)
    }

    fn put(&self, connection: Connection) {
        let mut kept = self.lock();
        kept.push_back(connection);
        if kept.len() > MAX_KEPT {
            kept.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Host and port, for people.
fn address(url: &Url) -> String {
    Origin::of(url).map_or_else(|_| shown(url), |origin| origin.address())
}

/// A URL without what may be a credential.
fn shown(url: &Url) -> String {
    redacted_url(&url[..Position::AfterPath])
}

/// Where an answer sends us.
fn place(response: &Response) -> Option<String> {
    let is_redirect = matches!(
        response.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let to = response.headers.get(LOCATION).filter(|_| is_redirect)?;
    Some(String::from_utf8_lossy(to.as_bytes()).into_owned())
}

/// The request to where it is sent.
fn redirected(mut request: Request, to: &str, status: StatusCode) -> Result<Request, FetchError> {
    let refused = |why| FetchError::Redirect {
        address: address(&request.url),
        to: redacted_url(to.split(['?', '#']).next().unwrap_or_default())
            .chars()
            .take(200)
            .collect(),
        why,
    };
    let mut url = request.url.join(to).map_err(|_| refused("it is no URL"))?;
    let before = Origin::of(&request.url)?;
    let origin = Origin::of(&url).map_err(|_| refused("it is no place of HTTP"))?;
    if before.tls && !origin.tls {
        return Err(refused("it would not be encrypted any more"));
    }
    if before == origin {
        // As browsers do: what is known of a server stays known to it.
        if url.username().is_empty() && url.password().is_none() {
            let _ = url.set_username(request.url.username());
            let _ = url.set_password(request.url.password());
        }
    } else {
        // Neither what the first was shown, nor what it wants shown to another.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        for name in CREDENTIALS {
            request.headers.remove(name);
        }
    }
    let keeps = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if !keeps && request.method != Method::GET {
        request.method = Method::GET;
        request.body = Bytes::new();
        request.headers.remove(http::header::CONTENT_TYPE);
    }
    request.url = url;
    Ok(request)
}

/// What is for one server alone.
const CREDENTIALS: [HeaderName; 2] = [AUTHORIZATION, COOKIE];
