//! The HTTP that loads speak: one connection, kept.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, LOCATION};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use crate::secret::Secret;

/// A part of several seconds at 100 Mb/s is smaller.
const MAX_BODY_BYTES: usize = 64 << 20;
/// MediaMTX sends everybody once.
const MAX_REDIRECTS: usize = 3;

/// What viewers by HTTP are given.
#[derive(Clone, Debug)]
pub struct Target {
    /// The list of renditions, or of media; or where offers are posted.
    pub url: Url,
    /// Shown in the header `Authorization`.
    pub token: Option<Secret>,
}

/// One connection.
pub(super) struct Client {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
    authorization: Option<String>,
    local: SocketAddr,
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Client {
    /// The token is shown with every request.
    pub(super) async fn connect(Target { url, token }: &Target) -> Result<Self, String> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        let failed = |error: &dyn fmt::Display| format!("cannot connect to {host}:{port}: {error}");
        // The host of a URL has its brackets.
        let address = (host.trim_matches(['[', ']']), port);
        let socket = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
        socket.set_nodelay(true).map_err(|error| failed(&error))?;
        let local = socket.local_addr().map_err(|error| failed(&error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| failed(&error))?;
        // It ends with its sender.
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: format!("{host}:{port}"),
            authorization: token.as_ref().map(|token| format!("Bearer {}", token.expose())),
            local,
        })
    }

    /// Our end.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// `None` where it is not there, or not any more. Goes where it is sent, on the same server.
    pub(super) async fn get(&mut self, url: &Url) -> Result<Option<Bytes>, String> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.ask(Method::GET, &url, "", Bytes::new()).await?;
            match (answer.status, answer.place()) {
                (StatusCode::OK, _) => return Ok(Some(answer.body)),
                (StatusCode::NOT_FOUND, _) => return Ok(None),
                (status, Some(place)) if status.is_redirection() => url = joined(&url, place)?,
                _ => return Err(answer.complaint(&url)),
            }
        }
        Err(format!("{} is sent from place to place", url.path()))
    }

    /// Sends a body of that type, or none.
    pub(super) async fn ask(&mut self, method: Method, url: &Url, kind: &str, body: Bytes) -> Result<Answer, String> {
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if !kind.is_empty() {
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await;
        let (parts, body) = response.map_err(|error| error.to_string())?.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.map_err(|error| error.to_string())?.to_bytes(),
        })
    }
}

impl Answer {
    /// `Location`.
    pub(super) fn place(&self) -> Option<&str> {
        self.headers.get(LOCATION)?.to_str().ok()
    }

    /// What a server says that does not do what was asked.
    pub(super) fn complaint(&self, url: &Url) -> String {
        let said: String = String::from_utf8_lossy(&self.body).chars().take(200).collect();
        format!("{} answers {}: {said}", url.path(), self.status)
    }
}

/// What a URI means in a document at `base`.
pub(super) fn joined(base: &Url, uri: &str) -> Result<Url, String> {
    base.join(uri).map_err(|error| format!("{uri} is no URI: {error}"))
}
