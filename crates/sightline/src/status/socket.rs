//! One client's socket.
//!
//! Reading never waits for writing: a publisher that reads nothing is heard all the same, and what it does not read is lost in its queue. Each
//! socket has a task of its own, so that nobody waits for another.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::{Sink as _, Stream as _};
use protocol::status::{MAX_TEXT_BYTES, Out, pong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes, error::CapacityError};

use super::Joined;

/// How long a socket may be silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Of a camera's publisher: then it is asked for a sign of life, and after the second of these it is gone.
    pub(crate) speaker: [Duration; 2],
    /// Of anybody else. Browsers in the background answer late.
    pub(crate) listener: [Duration; 2],
    /// For the last words when it is over.
    pub(crate) goodbye: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // A camera whose socket is lost is reported within five seconds.
            speaker: [Duration::from_millis(1_500), Duration::from_secs(4)],
            listener: [Duration::from_secs(20), Duration::from_secs(60)],
            goodbye: Duration::from_millis(200),
        }
    }
}

/// Largest message. A full status is 200 bytes.
const MAX_MESSAGE_BYTES: usize = 4 * MAX_TEXT_BYTES;
/// For reading. What we are sent is small, and there are thousands of us.
const READ_BYTES: usize = 1 << 10;
/// Words that are gathered before they are given to the kernel.
const WRITE_BYTES: usize = 8 << 10;
/// Messages that are read before others get their turn.
const MAX_IN_A_ROW: usize = 32;

/// Why it is over.
enum End {
    /// The peer went away, or said goodbye.
    Gone,
    /// We say so.
    Close(CloseCode, &'static str),
}

/// Serves a client until either side ends it.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(io: S, joined: Joined) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(WRITE_BYTES + 2 * MAX_MESSAGE_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let now = joined.server.clock.now();
    let mut socket = Socket {
        socket,
        joined: &joined,
        heard: now,
        spoke: false,
        asked: false,
        timer: Box::pin(tokio::time::sleep(joined.server.patience.listener[0])),
        flushed: true,
    };
    let end = tokio::select! {
        end = poll_fn(|context| socket.poll(context)) => end,
        () = joined.stop.shutdown.requested() => End::Close(CloseCode::Away, "the server ends"),
    };
    if let End::Close(code, reason) = end {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let goodbye = joined.server.patience.goodbye;
        let _ = tokio::time::timeout(goodbye, socket.socket.close(Some(frame))).await;
    }
}

struct Socket<'a, S> {
    socket: WebSocketStream<S>,
    joined: &'a Joined,
    /// When the last message came.
    heard: Instant,
    /// It speaks for a camera.
    spoke: bool,
    /// It was asked for a sign of life since.
    asked: bool,
    timer: Pin<Box<Sleep>>,
    flushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<'_, S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        if let Poll::Ready(end) = self.poll_read(context) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(end) = self.poll_time(context) {
            return Poll::Ready(end);
        }
        self.poll_write(context)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<End> {
        for _ in 0..MAX_IN_A_ROW {
            let message = match Pin::new(&mut self.socket).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(End::Gone),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(end_of(&error)),
                Poll::Ready(Some(Ok(message))) => message,
            };
            self.heard = self.joined.server.clock.now();
            self.asked = false;
            // The answer to its ping, or its close, is written with the next flush.
            self.flushed = false;
            match message {
                Message::Binary(bytes) => {
                    self.joined.said_binary(&bytes);
                    if !self.spoke && self.joined.is_speaker() {
                        self.spoke = true;
                        let first = self.joined.server.patience.speaker[0];
                        self.timer.as_mut().reset(tokio::time::Instant::now() + first);
                    }
                }
                Message::Text(text) => self.joined.said_text(&text),
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether it is still there.
    fn poll_time(&mut self, context: &mut Context<'_>) -> Poll<End> {
        while self.timer.as_mut().poll(context).is_ready() {
            let patience = &self.joined.server.patience;
            let [ask, gone] = if self.spoke {
                patience.speaker
            } else {
                patience.listener
            };
            let silent = self.joined.server.clock.now().saturating_duration_since(self.heard);
            let wait = if silent >= gone {
                return Poll::Ready(End::Close(CloseCode::Away, "no sign of life"));
            } else if silent >= ask {
                if !self.asked && self.ready(context) {
                    self.asked = true;
                    let ping = Message::Ping(Bytes::new());
                    if Pin::new(&mut self.socket).start_send(ping).is_err() {
                        return Poll::Ready(End::Gone);
                    }
                    self.flushed = false;
                }
                (gone - silent).min(ask)
            } else {
                ask - silent
            };
            self.timer.as_mut().reset(tokio::time::Instant::now() + wait);
        }
        Poll::Pending
    }

    /// Whether a message can be written now.
    fn ready(&mut self, context: &mut Context<'_>) -> bool {
        matches!(Pin::new(&mut self.socket).poll_ready(context), Poll::Ready(Ok(())))
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<End> {
        loop {
            match Pin::new(&mut self.socket).poll_ready(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Gone),
                Poll::Ready(Ok(())) => {}
            }
            match self.joined.poll_next(context) {
                Poll::Ready(None) => return Poll::Ready(End::Gone),
                Poll::Pending => break,
                Poll::Ready(Some(out)) => {
                    let message = self.message(out);
                    self.flushed = false;
                    if Pin::new(&mut self.socket).start_send(message).is_err() {
                        return Poll::Ready(End::Gone);
                    }
                }
            }
        }
        if !self.flushed {
            match Pin::new(&mut self.socket).poll_flush(context) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Gone),
            }
        }
        Poll::Pending
    }

    fn message(&self, out: Out) -> Message {
        match out {
            // What we made is UTF-8; looking again costs less than copying it.
            Out::Text(text) => Message::Text(Utf8Bytes::try_from(text).unwrap_or_default()),
            Out::Command(bytes) => Message::Binary(bytes),
            Out::Pong(echo) => Message::Text(pong(&echo, self.joined.server.clock.wall()).into()),
        }
    }
}

fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => End::Close(CloseCode::Size, "the message is too long"),
        Error::Protocol(_) => End::Close(CloseCode::Protocol, "not as RFC 6455 has it"),
        Error::Utf8(_) => End::Close(CloseCode::Invalid, "not UTF-8"),
        _ => End::Gone,
    }
}
