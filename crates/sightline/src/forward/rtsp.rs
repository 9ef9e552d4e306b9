//! A stream to another RTSP server.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use media::Clock;
use protocol::rtsp::url::Url;

use super::plan::Plan;
use super::via;
use super::{Ended, Feed, Target, Why};
use crate::publish;
use crate::rtsp::client::{Error, Settings, Transport};
use crate::secret::redacted_url;
use crate::shutdown::Shutdown;

/// Longest wait for a TCP connection, and for TLS on it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes one stream at one server.
pub(super) struct Push {
    url: Url,
    settings: Settings,
}

impl Push {
    pub(super) fn new(url: Url, plan: &Plan, clock: Arc<dyn Clock>, random: fn() -> u64) -> Self {
        let settings = Settings {
            transport: Transport::Auto,
            trust: plan.trust.clone(),
            fingerprint_setting: "forward_fingerprint",
            login: None,
            connect_timeout: CONNECT_TIMEOUT,
            clock,
            random,
        };
        Self { url, settings }
    }

    async fn push(&self, feed: &Feed, stop: &Shutdown) -> Ended {
        let stream = feed.stream();
        let plan = publish::Plan {
            stream: stream.name().clone(),
            url: self.url.clone(),
            settings: self.settings.clone(),
            via: Some(via::written("RTSP/1.0", stream.publisher().as_deref(), stream.name())),
        };
        match publish::session(&plan, stream, feed.stats(), || feed.runs(), stop).await {
            Ok(()) => Ended::Stopped,
            Err(Error::SourceEnded) => Ended::StreamEnded,
            Err(error) => Ended::Failed(Why {
                lasting: publish::is_final(&error),
                detail: self.in_words(&error).into(),
            }),
        }
    }

    /// What went wrong; the password of a server that has it in the path left out.
    fn in_words(&self, error: &Error) -> String {
        let path = self.url.path.split('?').next().unwrap_or_default();
        match path.len() > 1 {
            true => error.to_string().replace(path, &redacted_url(path)),
            false => error.to_string(),
        }
    }
}

impl Target for Push {
    fn run<'a>(&'a mut self, feed: &'a Feed, stop: Shutdown) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>> {
        Box::pin(async move { self.push(feed, &stop).await })
    }
}
