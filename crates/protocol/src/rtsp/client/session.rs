//! The session's state machine.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::super::url::Url;
use super::{Choice, Config, Event, Mode};

/// The client's side of one RTSP stream. See the module for how it is driven.
#[derive(Debug)]
pub struct Session {
    #[expect(dead_code)]
    config: Config,
    url: Url,
    #[expect(dead_code)]
    mode: Mode,
    input: BytesMut,
    output: BytesMut,
    events: VecDeque<Event>,
}

impl Session {
    /// A session for a stream. `seed` must be random: client nonces come from it. Nothing is put out before
    /// [`Session::connected`].
    pub fn new(config: Config, url: Url, mode: Mode, _seed: u64) -> Self {
        Self {
            config,
            url,
            mode,
            input: BytesMut::new(),
            output: BytesMut::new(),
            events: VecDeque::new(),
        }
    }

    /// Where to connect: host, port, TLS or not. Changes with redirects; user and password are taken out.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A connection to [`Session::url`] was made.
    pub fn connected(&mut self, _now: Instant) {}

    /// The connection was closed by the peer or broke. Poll: it may be made anew.
    pub fn disconnected(&mut self, _now: Instant) {}

    /// Takes bytes from the connection, cut anywhere. They are copied once; see [`Session::receive_buffer`].
    pub fn receive(&mut self, bytes: &[u8], _now: Instant) {
        self.input.extend_from_slice(bytes);
    }

    /// As [`Session::receive`] without copying, where the session holds no unfinished message or the buffer continues it in
    /// memory (as `BytesMut::split` after reading into the same `BytesMut` gives).
    pub fn receive_buffer(&mut self, bytes: BytesMut, _now: Instant) {
        self.input.unsplit(bytes);
    }

    /// The next event. After `None`, write [`Session::take_output`] and wait for bytes, an answer or the timeout.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Requests to write, in order; empty when there are none.
    pub fn take_output(&mut self) -> Bytes {
        self.output.split().freeze()
    }

    /// When [`Session::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// To be called at or after [`Session::poll_timeout`]; then poll.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// Answers [`Event::Described`]: the tracks to set up, in this order.
    pub fn choose(&mut self, _tracks: &[Choice], _now: Instant) {}

    /// Answers [`Event::Bind`]: the local ports for RTP and RTCP, or `None` when UDP cannot be used.
    pub fn bound(&mut self, _ports: Option<(u16, u16)>, _now: Instant) {}

    /// Ends the session: TEARDOWN goes out, [`Event::Closed`] follows its answer, or comes a second later without one.
    pub fn tear_down(&mut self, _now: Instant) {}
}
