//! `object_store` asks by our own client.
//!
//! An answer that refuses is read here, since its code says what a person has to do; behind `object_store` it would be a text among others.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use http::header::RANGE;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use url::Url;

use super::{Failed, Kind, short};
use crate::fetch::{self, Client, FetchError, Policy};
use crate::trust::Trust;

/// Until a server answers when nothing is on the way any more.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Slower than this nothing is sent: the request is given up.
const LEAST_BYTES_PER_SECOND: u64 = 8 << 10;
/// A list of a thousand names, each of a thousand bytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// An answer that refuses.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// Makes the client.
#[derive(Debug)]
pub(super) struct Connector {
    asking: Arc<Asking>,
}

/// The client.
struct Asking {
    client: Client,
    bytes_per_second: Option<NonZeroU64>,
}

impl std::fmt::Debug for Asking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asking")
    }
}

impl Connector {
    pub(super) fn new(trust: Trust, bytes_per_second: Option<NonZeroU64>) -> Self {
        let policy = Policy {
            trust,
            may_connect: fetch::anywhere,
            // A signature holds for one place alone.
            redirects: 0,
            timeout: TIMEOUT,
        };
        let client = Client::new(policy).paced(bytes_per_second);
        Self {
            asking: Arc::new(Asking {
                client,
                bytes_per_second,
            }),
        }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Shared(Arc::clone(&self.asking))))
    }
}

#[derive(Debug)]
struct Shared(Arc<Asking>);

#[async_trait]
impl HttpService for Shared {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let url = Url::parse(&parts.uri.to_string()).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let rate = self.0.bytes_per_second.map_or(LEAST_BYTES_PER_SECOND, |set| {
            // Half of what is allowed: it is on purpose that it takes so long.
            set.get().div_ceil(2).min(LEAST_BYTES_PER_SECOND)
        });
        let sending = Duration::from_secs(body.len() as u64 / rate.max(1));
        // Who wants a part of an object has room for that, and a server that sends all of it is refused.
        let wanted = parts
            .headers
            .get(RANGE)
            .and_then(|range| range_bytes(range.to_str().ok()?));
        let request = fetch::Request {
            method: parts.method,
            url,
            headers: parts.headers,
            body,
            timeout: Some(TIMEOUT + sending),
            // What it does twice is the same: an upload that was begun twice is forgotten once by the server.
            repeatable: true,
        };
        let response = self.0.client.send(request).await.map_err(failed)?;
        let (status, headers) = (response.status, response.headers.clone());
        let limit = match status.is_success() {
            true => wanted.unwrap_or(MAX_ANSWER_BYTES),
            false => MAX_REFUSAL_BYTES,
        };
        let body = response.bytes(limit).await.map_err(failed)?;
        if !status.is_success() {
            return Err(HttpError::new(HttpErrorKind::Unknown, Refused::new(status, &body)));
        }
        let body = Full::new(body).map_err(|never| match never {});
        let mut answer = HttpResponse::new(HttpResponseBody::new(body));
        *answer.status_mut() = status;
        *answer.headers_mut() = readable(&headers);
        Ok(answer)
    }
}

/// What somebody wrote beside an object need be no text; of an answer with such a header `object_store` takes nothing.
fn readable(headers: &HeaderMap) -> HeaderMap {
    let readable = headers.iter().filter(|(_, value)| value.to_str().is_ok());
    readable.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// How many bytes `bytes=FIRST-LAST` are.
fn range_bytes(range: &str) -> Option<usize> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let bytes = last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)?;
    usize::try_from(bytes.saturating_add(1))
        .ok()
        .map(|bytes| bytes.min(MAX_ANSWER_BYTES))
}

fn failed(error: FetchError) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}

/// An answer that is none of success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("answered {status} {code}")]
pub(super) struct Refused {
    status: u16,
    /// As S3 names it; empty: it does not.
    code: String,
    message: String,
}

impl Refused {
    pub(super) fn new(status: http::StatusCode, body: &Bytes) -> Self {
        let text = String::from_utf8_lossy(body);
        let of = |name: &str| {
            let document = roxmltree::Document::parse(&text).ok()?;
            let mut found = document.descendants().filter(|node| node.tag_name().name() == name);
            found.next()?.text().map(short)
        };
        Self {
            status: status.as_u16(),
            code: of("Code").unwrap_or_default(),
            message: of("Message").unwrap_or_default(),
        }
    }

    /// What it means, and what to do.
    pub(super) fn in_words(&self, bucket: &str) -> Failed {
        let lasting = |detail: String| Failed {
            kind: Kind::Lasting,
            detail,
        };
        // What stands in an answer could be a credential: of these codes it is not shown.
        match (self.code.as_str(), self.status) {
            ("InvalidAccessKeyId", _) => lasting(format!(
                "S3 does not know the access key for the bucket {bucket}; check AWS_ACCESS_KEY_ID"
            )),
            ("SignatureDoesNotMatch", _) => lasting(format!(
                "S3 refuses the secret key for the bucket {bucket}; check AWS_SECRET_ACCESS_KEY"
            )),
            ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => lasting(format!(
                "S3 takes the session token for the bucket {bucket} no longer; set a new AWS_SESSION_TOKEN"
            )),
            ("RequestTimeTooSkewed", _) => lasting(format!(
                "S3 refuses requests for the bucket {bucket} because the clock of this machine is wrong; set it"
            )),
            ("NoSuchBucket", _) => lasting(format!(
                "S3 has no bucket {bucket}; create it, or check its name and region"
            )),
            ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
            | (_, 301 | 307 | 308) => lasting(format!("the bucket {bucket} is in another region; check AWS_REGION")),
            ("NoSuchKey" | "NoSuchUpload", _) | (_, 404) => Failed {
                kind: Kind::Missing,
                detail: format!("what was asked for is not in the bucket {bucket}"),
            },
            ("InvalidObjectState", _) => Failed {
                kind: Kind::Unfit,
                detail: format!(
                    "it lies in a class of storage of the bucket {bucket} from which it has to be restored first"
                ),
            },
            (_, 401 | 403) => lasting(format!(
                "S3 refuses access to the bucket {bucket}{}; check the rights of the access key",
                self.shown()
            )),
            ("SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestTimeout", _) | (_, 408 | 429 | 500..) => {
                Failed {
                    kind: Kind::Passing,
                    detail: format!(
                        "S3 is busy: it answered {} for the bucket {bucket}{}",
                        self.status,
                        self.shown()
                    ),
                }
            }
            _ => lasting(format!(
                "S3 answered {} for the bucket {bucket}{}",
                self.status,
                self.shown()
            )),
        }
    }

    fn shown(&self) -> String {
        match (self.code.is_empty(), self.message.is_empty()) {
            (true, _) => String::new(),
            (false, true) => format!(" ({})", self.code),
            (false, false) => format!(" ({}: {})", self.code, self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_takes_no_more_room_than_was_asked_for() {
        assert_eq!(range_bytes("bytes=0-0"), Some(1));
        assert_eq!(range_bytes("bytes=100-1048675"), Some(1 << 20));
        assert_eq!(range_bytes(&format!("bytes=0-{}", u64::MAX)), Some(MAX_ANSWER_BYTES));
        for odd in ["bytes=5-4", "bytes=-5", "bytes=5-", "items=0-1", "bytes=0-1,3-4", ""] {
            assert_eq!(range_bytes(odd), None, "{odd}");
        }
    }
}
