//! The server's side of a WebSocket, for whoever has something to say on one ([`Talk`]).
//!
//! Belongs here: reading and writing in turns, signs of life, the goodbye. Does not belong here: which request becomes a socket
//! ([`crate::http`]), what is said on it ([`crate::status`], [`crate::feed`]).
//!
//! Reading never waits for writing: a publisher that reads nothing is heard all the same. What is said next is asked for when the socket takes it, so nothing
//! waits here. Each socket has a task of its own, so that nobody waits for another.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes, error::CapacityError};

use crate::shutdown::Shutdown;

/// What is said on a socket.
pub(crate) trait Talk {
    /// Where the time comes from.
    fn now(&self) -> Instant;
    /// How long the peer may be silent: then it is asked for a sign of life, and after the second of these it is gone. It may change with what was heard.
    fn patience(&self) -> [Duration; 2];
    /// For the last words when it is over.
    fn goodbye(&self) -> Duration;
    /// A text came.
    fn heard_text(&mut self, text: &str);
    /// A binary message came.
    fn heard_binary(&mut self, bytes: &[u8]);
    /// What is said next. Pending, the context is woken when there is something.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next>;
}

/// What is said next.
pub(crate) enum Next {
    /// This.
    Say(Message),
    /// Nothing any more.
    End(CloseCode, &'static str),
    /// Nothing any more, and no goodbye.
    Gone,
}

/// Largest sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Of a message from the peer, in bytes.
    pub(crate) heard_bytes: usize,
    /// Of a message to it.
    pub(crate) said_bytes: usize,
}

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

/// Serves a peer until either side ends it, or the program.
pub(crate) async fn serve<S, T>(io: S, mut talk: T, sizes: Sizes, stop: Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Talk,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(WRITE_BYTES + 2 * sizes.said_bytes)
        .max_message_size(Some(sizes.heard_bytes))
        .max_frame_size(Some(sizes.heard_bytes));
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let (now, goodbye) = (talk.now(), talk.goodbye());
    let mut socket = Socket {
        socket,
        heard: now,
        asked: false,
        timer: Box::pin(tokio::time::sleep(talk.patience()[0])),
        flushed: true,
        talk: &mut talk,
    };
    let end = tokio::select! {
        end = poll_fn(|context| socket.poll(context)) => end,
        () = stop.requested() => End::Close(CloseCode::Away, "the server ends"),
    };
    if let End::Close(code, reason) = end {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let _ = tokio::time::timeout(goodbye, socket.socket.close(Some(frame))).await;
    }
}

struct Socket<'a, S, T> {
    socket: WebSocketStream<S>,
    talk: &'a mut T,
    /// When the last message came.
    heard: Instant,
    /// It was asked for a sign of life since.
    asked: bool,
    timer: Pin<Box<Sleep>>,
    flushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin, T: Talk> Socket<'_, S, T> {
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
            self.heard = self.talk.now();
            self.asked = false;
            // The answer to its ping, or its close, is written with the next flush.
            self.flushed = false;
            match message {
                Message::Binary(bytes) => self.heard(|talk| talk.heard_binary(&bytes)),
                Message::Text(text) => self.heard(|talk| talk.heard_text(&text)),
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// What was said may make it more urgent whether the peer is there.
    fn heard(&mut self, hear: impl FnOnce(&mut T)) {
        let before = self.talk.patience();
        hear(self.talk);
        let after = self.talk.patience();
        if before != after {
            self.timer.as_mut().reset(tokio::time::Instant::now() + after[0]);
        }
    }

    /// Whether it is still there.
    fn poll_time(&mut self, context: &mut Context<'_>) -> Poll<End> {
        while self.timer.as_mut().poll(context).is_ready() {
            let [ask, gone] = self.talk.patience();
            let silent = self.talk.now().saturating_duration_since(self.heard);
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
            match self.talk.poll_next(context) {
                Poll::Ready(Next::Gone) => return Poll::Ready(End::Gone),
                Poll::Ready(Next::End(code, reason)) => return Poll::Ready(End::Close(code, reason)),
                Poll::Pending => break,
                Poll::Ready(Next::Say(message)) => {
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
}

/// A text that we made, and so is UTF-8; looking again costs less than copying it.
pub(crate) fn text(text: Bytes) -> Message {
    Message::Text(Utf8Bytes::try_from(text).unwrap_or_default())
}

fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => End::Close(CloseCode::Size, "the message is too long"),
        Error::Protocol(_) => End::Close(CloseCode::Protocol, "not as RFC 6455 has it"),
        Error::Utf8(_) => End::Close(CloseCode::Invalid, "not UTF-8"),
        _ => End::Gone,
    }
}
