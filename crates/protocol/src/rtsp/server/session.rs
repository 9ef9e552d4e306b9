//! The session's in- and output, deadlines, and what waits for the driver.
//!
//! Belongs here: the state of a connection, what the driver calls at any time, which message comes next, when the peer is given up. Does
//! not belong here: what a request does (`requests`), who may do it (`login`).

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use media::StreamName;

use super::super::message::{Method, Request, Response, Status, printable};
use super::super::transport::Transport;
use super::super::url::Target;
use super::super::wire::{Decoder, Fault, Item, Part};
use super::nonces::Nonces;
use super::{Action, ChannelKind, CloseReason, Config, Event, Refused, SetUpTransport};

/// The server's side of one RTSP connection. See the module for how it is driven. An answer that no event asked for is
/// ignored.
#[derive(Debug)]
pub struct Session {
    pub(super) config: Config,
    pub(super) nonces: Nonces,
    decoder: Decoder,
    output: BytesMut,
    pub(super) events: VecDeque<Event>,
    /// Requests behind `waiting`.
    queue: VecDeque<Request>,
    pub(super) waiting: Option<Waiting>,
    closed: bool,

    /// The newest time we were told.
    pub(super) now: Instant,
    connected: Instant,
    /// Since when something unfinished is in the decoder.
    begun: Option<Instant>,
    heard: bool,
    last_sign: Instant,

    agent: Option<String>,
    /// With the stream that it was asked for.
    pub(super) query: Option<(StreamName, Box<str>)>,
    pub(super) grants: VecDeque<Grant>,
    pub(super) failed_logins: u32,
    /// The stream described last, and its controls.
    pub(super) described: Option<(StreamName, Vec<String>)>,
    pub(super) media: Option<Media>,
    refused: Option<Refused>,
}

/// A request that the driver must answer before the next is looked at.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) request: Request,
    pub(super) step: Step,
}

#[derive(Debug)]
pub(super) enum Step {
    Authorize {
        grant: Grant,
        /// Credentials came with the request.
        presented: bool,
        /// They were not looked at because their nonce is not valid.
        stale: bool,
    },
    Describe {
        stream: StreamName,
    },
    Announce {
        stream: StreamName,
    },
    SetUp {
        stream: StreamName,
        track: SetTrack,
        answer: Box<Transport>,
    },
    Play,
    Record,
}

/// The driver said yes to this on this connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) action: Action,
    pub(super) stream: StreamName,
    /// Who the peer claimed to be.
    pub(super) claimant: Option<String>,
}

/// What ANNOUNCE or the first SETUP begins and TEARDOWN ends. It lives in its connection alone, so its id means nothing on any
/// other.
#[derive(Debug)]
pub(super) struct Media {
    pub(super) id: String,
    pub(super) action: Action,
    pub(super) stream: StreamName,
    pub(super) controls: Vec<String>,
    pub(super) tracks: Vec<SetTrack>,
    pub(super) phase: Phase,
    pub(super) claimant: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Ready,
    Playing,
    Recording,
}

#[derive(Clone, Debug)]
pub(super) struct SetTrack {
    pub(super) index: usize,
    pub(super) transport: SetUpTransport,
    /// As the client wrote it: `RTP-Info` must name it in the same words, GStreamer compares them.
    pub(super) uri: String,
}

impl Session {
    /// A session for a connection just accepted. `seed` must be random and secret: session ids and nonces come from it.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        Self {
            nonces: Nonces::new(seed, config.nonce_lifetime),
            decoder: Decoder::new(config.wire.clone()),
            config,
            output: BytesMut::new(),
            events: VecDeque::new(),
            queue: VecDeque::new(),
            waiting: None,
            closed: false,
            now,
            connected: now,
            begun: None,
            heard: false,
            last_sign: now,
            agent: None,
            query: None,
            grants: VecDeque::new(),
            failed_logins: 0,
            described: None,
            media: None,
            refused: None,
        }
    }

    /// Takes bytes from the connection, cut anywhere.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        self.now = now;
        if self.closed {
            return;
        }
        if !bytes.is_empty() {
            self.begun.get_or_insert(now);
        }
        self.decoder.push(bytes);
    }

    /// The next event. After `None`, write [`Session::take_output`] and wait for bytes, an answer or the timeout.
    pub fn poll(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.closed {
                return None;
            }
            if self.waiting.is_none()
                && let Some(request) = self.queue.pop_front()
            {
                self.handle(request);
                continue;
            }
            match self.decoder.next_item() {
                Ok(Some(item)) => {
                    self.begun = self.decoder.is_mid_item().then_some(self.now);
                    if let Some(event) = self.take(item) {
                        return Some(event);
                    }
                }
                Ok(None) => {
                    if !self.decoder.is_mid_item() {
                        self.begun = None;
                    }
                    // A player asks when it comes and then no more: room for four events would be a kilobyte for as long as it stays.
                    self.events = VecDeque::new();
                    return None;
                }
                Err(fault) => self.give_up(fault),
            }
        }
    }

    fn take(&mut self, item: Item) -> Option<Event> {
        match item {
            Item::Frame { channel, payload } => {
                let (track, kind) = self.channel(channel)?;
                self.last_sign = self.now;
                return Some(Event::Data {
                    track,
                    kind,
                    bytes: payload,
                });
            }
            Item::Request(request) if self.waiting.is_none() => self.handle(request),
            Item::Request(_) if self.queue.len() >= self.config.max_pending => {
                self.close(CloseReason::TooManyPending(self.config.max_pending));
            }
            Item::Request(request) => self.queue.push_back(request),
            // We ask nothing, so there is nothing to be answered.
            Item::Response(_) => {}
        }
        None
    }

    fn channel(&self, channel: u8) -> Option<(usize, ChannelKind)> {
        self.media
            .as_ref()?
            .tracks
            .iter()
            .find_map(|track| match track.transport {
                SetUpTransport::Interleaved { rtp, .. } if rtp == channel => Some((track.index, ChannelKind::Rtp)),
                SetUpTransport::Interleaved { rtcp, .. } if rtcp == channel => Some((track.index, ChannelKind::Rtcp)),
                _ => None,
            })
    }

    fn handle(&mut self, request: Request) {
        self.heard = true;
        self.last_sign = self.now;
        if self.agent.is_none() {
            let agent = request.headers.get("User-Agent");
            self.agent = agent.map(|agent| printable(agent, MAX_AGENT_BYTES));
        }
        self.dispatch(request);
    }

    /// Responses to write, in order; empty when there are none.
    pub fn take_output(&mut self) -> Bytes {
        // A new buffer each time: an idle session keeps none.
        std::mem::take(&mut self.output).freeze()
    }

    /// When [`Session::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines().into_iter().flatten().map(|(at, _)| at).min()
    }

    /// To be called at or after [`Session::poll_timeout`]; then poll.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        let due = self.deadlines().into_iter().flatten().find(|(at, _)| *at <= now);
        if let Some((_, reason)) = due {
            self.close(reason);
        }
    }

    fn deadlines(&self) -> [Option<(Instant, CloseReason)>; 3] {
        if self.closed {
            return [None, None, None];
        }
        let request = self.config.request_timeout;
        let idle = self.config.session_timeout;
        let first = (!self.heard).then_some((self.connected, request, CloseReason::NoRequest(request)));
        let begun = self
            .begun
            .map(|begun| (begun, request, CloseReason::SlowRequest(request)));
        let quiet = (!self.may_be_quiet()).then_some((self.last_sign, idle, CloseReason::Idle(idle)));
        [first, begun, quiet].map(|deadline| {
            let (since, after, reason) = deadline?;
            Some((since.checked_add(after)?, reason))
        })
    }

    /// A viewer who is served in the connection itself needs no sign of life: when it is gone, writing fails. Nor is a peer late
    /// while the answer is ours to give.
    fn may_be_quiet(&self) -> bool {
        let served = self.media.as_ref().is_some_and(|media| {
            media.phase == Phase::Playing && media.tracks.iter().all(|track| track.transport.is_interleaved())
        });
        served || self.waiting.is_some()
    }

    /// A sign of life outside the connection: RTCP, or media of a publisher, over UDP.
    pub fn keep_alive(&mut self, now: Instant) {
        self.now = now;
        self.last_sign = now;
    }

    /// What the peer calls itself (`User-Agent`), at most 128 bytes of printable ASCII.
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// The query of the URL that was last asked for or announced with leave, as it was, credentials included; at PLAY and RECORD only one
    /// that was for the stream they start. `None` where there was none or one of more than 1,024 bytes.
    pub fn query(&self) -> Option<&str> {
        self.query.as_ref().map(|(_, query)| &**query)
    }

    /// Writes a response to `request`, with what every response has.
    pub(super) fn respond(&mut self, request: &Request, response: Response) {
        let mut whole = Response {
            status: response.status,
            reason: response.reason,
            headers: super::super::message::Headers::default(),
            body: response.body,
        };
        if let Some(cseq) = request.headers.get("CSeq") {
            whole.headers.push("CSeq", printable(cseq, MAX_CSEQ_BYTES));
        }
        whole.headers.push("Server", self.config.server.as_str());
        if let Some(media) = self.media.as_ref().filter(|media| !media.tracks.is_empty()) {
            let timeout = self.config.session_timeout.as_secs();
            whole.headers.push("Session", format!("{};timeout={timeout}", media.id));
        }
        for (name, value) in response.headers.iter() {
            whole.headers.push(name, value);
        }
        whole.write(&mut self.output);
        self.note_refusal(request, whole.status, whole.reason);
    }

    fn note_refusal(&mut self, request: &Request, status: Status, reason: String) {
        let begins = matches!(request.method, Method::Describe | Method::Announce);
        // Who refused a login knows it.
        let is_login = matches!(status, Status::UNAUTHORIZED | Status::FORBIDDEN | Status::UNAVAILABLE);
        if !begins || is_login || status < Status::BAD_REQUEST {
            return;
        }
        let path = Target::parse(&request.uri).map(|target| target.path);
        self.refused = Some(Refused {
            announces: request.method == Method::Announce,
            path: printable(&path.unwrap_or_default(), MAX_NOTED_PATH),
            status,
            reason,
        });
    }

    /// The newest DESCRIBE or ANNOUNCE that was refused for another reason than missing rights, for the log. Once.
    pub fn take_refused(&mut self) -> Option<Refused> {
        self.refused.take()
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        self.closed = true;
        self.queue.clear();
        self.waiting = None;
        self.events.push_back(Event::Close { reason });
    }

    fn give_up(&mut self, fault: Fault) {
        let status = match &fault {
            Fault::TooLong {
                what: Part::StartLine, ..
            } => Some(Status::URI_TOO_LONG),
            Fault::TooLong { what: Part::Body, .. } => Some(Status::ENTITY_TOO_LARGE),
            Fault::TooLong { what: Part::Frame, .. } | Fault::Garbage { .. } | Fault::NotRtsp { .. } => None,
            Fault::TooLong {
                what: Part::Headers, ..
            }
            | Fault::TooManyHeaders(_)
            | Fault::BadLength(_) => Some(Status::BAD_REQUEST),
        };
        if let Some(status) = status {
            let mut response = Response::new(status).with("Server", self.config.server.as_str());
            response.reason = fault.to_string();
            response.write(&mut self.output);
        }
        self.close(CloseReason::Wire(fault));
    }
}

impl SetUpTransport {
    /// In the RTSP connection.
    pub fn is_interleaved(&self) -> bool {
        matches!(self, Self::Interleaved { .. })
    }
}

const MAX_AGENT_BYTES: usize = 128;
/// Bytes of a refused path that are kept for the log: the longest name and more.
const MAX_NOTED_PATH: usize = 220;
const MAX_CSEQ_BYTES: usize = 32;
