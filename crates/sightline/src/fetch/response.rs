//! An answer, and its body with limits.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, HeaderMap};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use url::Url;

use super::connect::{Connection, broken};
use super::{FetchError, Kept};

/// What a server answered. Its connection is kept for the next request once the body was read to its end, and closed when it was not.
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Who answers: the last of redirects.
    pub url: Url,
    /// Our end of the connection.
    pub local: SocketAddr,
    /// Its end.
    pub remote: SocketAddr,
    address: String,
    timeout: Duration,
    body: Incoming,
    connection: Option<Connection>,
    kept: Arc<Kept>,
}

impl Response {
    pub(super) fn new(
        url: Url,
        timeout: Duration,
        answer: http::Response<Incoming>,
        connection: Connection,
        kept: Arc<Kept>,
    ) -> Self {
        let (parts, body) = answer.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            url,
            local: connection.local,
            remote: connection.remote,
            address: connection.origin.address(),
            timeout,
            body,
            connection: Some(connection),
            kept,
        }
    }

    /// The next piece of the body as it came, however it is packed; `None` at its end. How many there may be is the caller's to limit.
    ///
    /// # Errors
    /// [`FetchError`], also when the peer is silent for longer than [`super::Policy::timeout`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let frame = tokio::time::timeout(self.timeout, self.body.frame()).await;
            let frame = frame.map_err(|_| self.slow("send more of its answer"))?;
            match frame {
                None => {
                    if let Some(connection) = self.connection.take() {
                        self.kept.put(connection);
                    }
                    return Ok(None);
                }
                Some(Err(error)) => return Err(broken(&self.address, &error)),
                // Trailers say nothing to us.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => {}
                },
            }
        }
    }

    /// All of the body, unpacked where it is gzip; `limit_bytes` holds before and after that.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn bytes(mut self, limit_bytes: usize) -> Result<Bytes, FetchError> {
        let reading = tokio::time::timeout(self.timeout, self.collect(limit_bytes)).await;
        let body = reading.unwrap_or_else(|_| Err(self.slow("send its answer")))?;
        let encoding = self
            .headers
            .get(CONTENT_ENCODING)
            .map(|value| value.as_bytes().to_ascii_lowercase());
        match encoding.as_deref() {
            None | Some(b"identity") => Ok(body),
            Some(b"gzip" | b"x-gzip") => self.unpacked(&body, limit_bytes),
            Some(other) => Err(FetchError::Encoding {
                address: self.address,
                why: format!("it is packed by {}", String::from_utf8_lossy(other)),
            }),
        }
    }

    async fn collect(&mut self, limit_bytes: usize) -> Result<Bytes, FetchError> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if chunk.len() > limit_bytes.saturating_sub(all.len()) {
                return Err(self.too_large(limit_bytes));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    fn unpacked(&self, body: &[u8], limit_bytes: usize) -> Result<Bytes, FetchError> {
        let mut plain = Vec::new();
        let mut decoder = MultiGzDecoder::new(body).take(limit_bytes as u64 + 1);
        let unpacked = decoder.read_to_end(&mut plain);
        unpacked.map_err(|error| FetchError::Encoding {
            address: self.address.clone(),
            why: error.to_string(),
        })?;
        if plain.len() > limit_bytes {
            return Err(self.too_large(limit_bytes));
        }
        Ok(plain.into())
    }

    fn too_large(&self, limit_bytes: usize) -> FetchError {
        FetchError::TooLarge {
            address: self.address.clone(),
            limit_bytes,
        }
    }

    fn slow(&self, what: &'static str) -> FetchError {
        FetchError::Slow {
            address: self.address.clone(),
            after: self.timeout,
            what,
        }
    }
}
