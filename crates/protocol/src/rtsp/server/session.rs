//! The session's state machine.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::{Announced, CloseReason, Config, Denied, Description, Event, Refusal, RtpInfo, ServerPorts};

/// The server's side of one RTSP connection. See the module for how it is driven.
#[derive(Debug)]
pub struct Session {
    config: Config,
    input: BytesMut,
    output: BytesMut,
    events: VecDeque<Event>,
    deadline: Option<Instant>,
    agent: Option<String>,
}

impl Session {
    /// A session for a connection just accepted. `seed` must be random and secret: session ids and nonces come from it.
    pub fn new(config: Config, _seed: u64, now: Instant) -> Self {
        let deadline = now.checked_add(config.request_timeout);
        Self {
            config,
            input: BytesMut::new(),
            output: BytesMut::new(),
            events: VecDeque::new(),
            deadline,
            agent: None,
        }
    }

    /// Takes bytes from the connection, cut anywhere. They are copied once; see [`Session::receive_buffer`].
    pub fn receive(&mut self, bytes: &[u8], _now: Instant) {
        self.input.extend_from_slice(bytes);
    }

    /// As [`Session::receive`] without copying, where the session holds no unfinished message or the buffer continues it in
    /// memory (as `BytesMut::split` after reading into the same `BytesMut` gives). For publishers.
    pub fn receive_buffer(&mut self, bytes: BytesMut, _now: Instant) {
        self.input.unsplit(bytes);
    }

    /// The next event. After `None`, write [`Session::take_output`] and wait for bytes, an answer or the timeout.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Responses to write, in order; empty when there are none.
    pub fn take_output(&mut self) -> Bytes {
        self.output.split().freeze()
    }

    /// When [`Session::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// To be called at or after [`Session::poll_timeout`]; then poll.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            let reason = CloseReason::NoRequest(self.config.request_timeout);
            self.events.push_back(Event::Close { reason });
        }
    }

    /// A sign of life outside the connection: RTCP, or media of a publisher, over UDP.
    pub fn keep_alive(&mut self, _now: Instant) {}

    /// Answers [`Event::Authorize`].
    pub fn authorized(&mut self, _answer: Result<(), Denied>, _now: Instant) {}

    /// Answers [`Event::Describe`].
    pub fn describe(&mut self, _answer: Result<Description, Refusal>, _now: Instant) {}

    /// Answers [`Event::Announce`].
    pub fn announce(&mut self, _answer: Result<Announced, Refusal>, _now: Instant) {}

    /// Answers [`Event::SetUp`].
    pub fn set_up(&mut self, _answer: Result<ServerPorts, Refusal>, _now: Instant) {}

    /// Answers [`Event::Play`].
    pub fn play(&mut self, _answer: Result<&[RtpInfo], Refusal>, _now: Instant) {}

    /// Answers [`Event::Record`].
    pub fn record(&mut self, _answer: Result<(), Refusal>, _now: Instant) {}

    /// What the peer calls itself (`User-Agent`), at most 128 bytes of printable ASCII.
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }
}
