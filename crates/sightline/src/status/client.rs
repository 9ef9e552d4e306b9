//! To the socket of another server: what our publisher says of its camera, and what it is told.
//!
//! Belongs here: connecting again and again, the queue in front of the connection, commands for the camera. Does not belong here: making
//! statuses ([`super::report`]). Whatever happens here, publishing goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use protocol::status::{CameraCommand, CameraStatus};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error as SocketError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::control;
use crate::camera::Camera;
use crate::config::socket_url::SocketUrl;
use crate::net;
use crate::publish::Backoff;
use crate::secret::Secret;

/// Where to report, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// The socket.
    pub url: SocketUrl,
    /// What is shown there.
    pub token: Option<Secret>,
    /// It was named by somebody, and not guessed: that it cannot be reached is worth a word.
    pub named: bool,
    /// Statuses a second.
    pub per_second: u32,
}

/// Statuses that wait for the connection.
const QUEUE: usize = 60;
/// For the connection and its handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// For one status to be taken by the kernel, and for the server to give the sign of life that it was asked for.
const STUCK: Duration = Duration::from_secs(5);
/// Asked for a sign of life after so long without one.
const ASK: Duration = Duration::from_secs(5);

/// Statuses on their way: the newest 60, and how many were lost.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    statuses: VecDeque<CameraStatus>,
    dropped: u64,
}

impl Queue {
    /// One more; the oldest goes where there are too many.
    pub(crate) fn push(&self, status: CameraStatus) {
        self.with(|waiting| {
            if waiting.statuses.len() >= QUEUE {
                waiting.statuses.pop_front();
                waiting.dropped += 1;
            }
            waiting.statuses.push_back(status);
        });
        self.news.notify_one();
    }

    /// What was true while nobody could be told is of no use to anybody now: the newest stays.
    fn keep_newest(&self) {
        self.with(|waiting| {
            let old = waiting.statuses.len().saturating_sub(1);
            waiting.statuses.drain(..old);
            waiting.dropped += old as u64;
        });
    }

    async fn next(&self) -> CameraStatus {
        loop {
            if let Some(status) = self.with(|waiting| waiting.statuses.pop_front()) {
                return status;
            }
            self.news.notified().await;
        }
    }

    fn dropped(&self) -> u64 {
        self.with(|waiting| waiting.dropped)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Waiting) -> T) -> T {
        work(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Why there is no connection, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Connect(String),
    #[error("the server wants a credential (status {0}); give --token, or SIGHTLINE_TOKEN")]
    Credential(u16),
    #[error("the server has no status socket there (status {0})")]
    Refused(u16),
    #[error("the connection ended: {0}")]
    Ended(String),
}

/// Passes on what the queue holds, for ever. `camera` does what the server asks for.
pub(crate) async fn run(target: &Target, queue: &Queue, camera: Option<&Arc<Camera>>) {
    let mut backoff = Backoff::default();
    let mut told: Option<Failure> = None;
    loop {
        let began = Instant::now();
        let failure = match connect(target).await {
            Ok(mut socket) => {
                tracing::info!(url = %target.url, "the camera's status is reported");
                told = None;
                queue.keep_newest();
                talk(&mut socket, queue, camera).await
            }
            Err(failure) => failure,
        };
        let wait = backoff.next(began.elapsed());
        if told.as_ref() != Some(&failure) {
            let dropped = queue.dropped();
            macro_rules! tell {
                ($level:ident) => {
                    tracing::$level!(url = %target.url, reason = %failure, dropped, "the camera's status is not reported; trying again")
                };
            }
            match &failure {
                _ if target.named => tell!(warn),
                Failure::Credential(_) => tell!(info),
                // There need not be one.
                _ => tell!(debug),
            }
            told = Some(failure);
        }
        tokio::time::sleep(wait).await;
    }
}

/// Once.
pub(crate) async fn connect(target: &Target) -> Result<WebSocketStream<TcpStream>, Failure> {
    let connecting = async {
        let url = &target.url;
        let connect = TcpStream::connect((url.host(), url.port())).await;
        let socket = connect.map_err(|error| Failure::Connect(error.to_string()))?;
        // What fails here fails on the next write.
        let _ = net::send_without_delay(&socket);
        net::bound_unsent_time(&socket, STUCK);
        let request = url.address().into_client_request();
        let mut request = request.map_err(|error| Failure::Connect(error.to_string()))?;
        let bearer = target.token.as_ref().map(|token| format!("Bearer {}", token.expose()));
        if let Some(mut value) = bearer.and_then(|bearer| HeaderValue::from_str(&bearer).ok()) {
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0)
            .max_message_size(Some(64 << 10))
            .max_frame_size(Some(64 << 10));
        let (socket, _) = client_async_with_config(request, socket, Some(config))
            .await
            .map_err(|error| failure(&error))?;
        Ok(socket)
    };
    let done = tokio::time::timeout(CONNECT, connecting).await;
    done.unwrap_or_else(|_| Err(Failure::Connect("no answer within five seconds".to_owned())))
}

fn failure(error: &SocketError) -> Failure {
    match error {
        SocketError::Http(response) => match response.status().as_u16() {
            status @ (401 | 403 | 429) => Failure::Credential(status),
            status => Failure::Refused(status),
        },
        error => Failure::Connect(error.to_string()),
    }
}

/// Until the connection ends.
async fn talk(socket: &mut WebSocketStream<TcpStream>, queue: &Queue, camera: Option<&Arc<Camera>>) -> Failure {
    let ended = |error: &dyn std::fmt::Display| Failure::Ended(error.to_string());
    let mut asked = false;
    let mut heard = Instant::now();
    loop {
        let patience = if asked { ASK + STUCK } else { ASK };
        let send = tokio::select! {
            status = queue.next() => Message::Binary(status.write().into()),
            said = socket.next() => match said {
                None => return ended(&"closed by the server"),
                Some(Err(error)) => return ended(&error),
                Some(Ok(message)) => {
                    (asked, heard) = (false, Instant::now());
                    if let (Message::Binary(bytes), Some(camera)) = (&message, camera) {
                        obey(bytes, camera);
                    }
                    continue;
                }
            },
            () = tokio::time::sleep_until(heard + patience) => {
                if asked {
                    return ended(&"no sign of life from the server");
                }
                asked = true;
                Message::Ping(Bytes::new())
            }
        };
        match tokio::time::timeout(STUCK, socket.send(send)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return ended(&error),
            Err(_) => return ended(&"the server takes nothing"),
        }
    }
}

/// Does what the server asks for, and says so in the log: whoever asked was told that it was passed on.
fn obey(bytes: &[u8], camera: &Camera) {
    let command = match CameraCommand::read(bytes) {
        Ok(CameraCommand { command: Some(command) }) => command,
        Ok(CameraCommand { command: None }) => return,
        Err(error) => {
            tracing::debug!(error, "a command that is none");
            return;
        }
    };
    match control::perform(camera, &command) {
        Ok(done) => tracing::info!(command = command.name(), done, "done as the server asked"),
        Err(why) => tracing::warn!(
            command = command.name(),
            reason = why,
            "not done, though the server asked"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(frames_sent: i32) -> CameraStatus {
        CameraStatus {
            frames_sent,
            ..CameraStatus::default()
        }
    }

    #[tokio::test]
    async fn the_queue_keeps_the_newest_sixty_and_counts_the_rest() {
        let queue = Queue::default();
        (0..100).for_each(|number| queue.push(status(number)));
        assert_eq!(queue.dropped(), 40);
        assert_eq!(queue.next().await.frames_sent, 40);
        queue.keep_newest();
        assert_eq!((queue.next().await.frames_sent, queue.dropped()), (99, 98));
    }
}
