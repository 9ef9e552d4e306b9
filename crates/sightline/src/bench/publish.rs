//! A test stream for the server that is measured, by RTSP: every server takes that.

use std::sync::Arc;

use media::StreamName;
use media::stats::{Role, SessionInfo, SessionStats};

use super::crowd::SETTLE;
use super::source::{self, Generator, Load};
use crate::rtsp::client::{self, Sender, Url};

/// Where to, and what.
#[derive(Clone)]
pub struct Publish {
    /// Where the server takes it.
    pub url: Url,
    /// What it is like.
    pub load: Load,
    /// How to connect.
    pub settings: client::Settings,
}

/// Why there is no stream to measure with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The generator has none.
    #[error("cannot make the test stream: {0}")]
    Generate(#[from] source::Error),
    /// The server does not take it.
    #[error("cannot publish the test stream: {0}")]
    Publish(#[from] client::Error),
}

/// The generator and the task that sends it to the server; dropping ends both.
pub(super) struct Published {
    _generator: Generator,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Published {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Publish {
    /// Publishes, and waits until the server has its first keyframe.
    pub(super) async fn start(self) -> Result<Published, Error> {
        let clock = Arc::clone(&self.settings.clock);
        let generator = Generator::start(self.load, Arc::clone(&clock))?;
        let settings = client::Settings {
            transport: client::Transport::Tcp,
            ..self.settings
        };
        let mut sender = Sender::connect(self.url, "bench", generator.tracks(), None, settings).await?;
        let stats = SessionStats::new(SessionInfo {
            stream: StreamName::default_stream(),
            role: Role::Publisher,
            protocol: "bench",
            remote: None,
            agent: None,
            since: clock.wall(),
        });
        let reader = generator.reader(clock.now());
        let task = tokio::spawn(async move {
            let Some(mut reader) = reader else { return };
            if let Err(error) = sender.run(&mut reader, &stats).await {
                tracing::warn!(%error, "the test stream ended");
            }
        });
        tokio::time::sleep(SETTLE).await;
        Ok(Published {
            _generator: generator,
            task,
        })
    }
}
