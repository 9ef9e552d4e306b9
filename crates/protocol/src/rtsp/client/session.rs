//! The session's in- and output, deadlines, and the requests it sends.
//!
//! Belongs here: the state of a session, what the driver calls, the order of the SETUPs, what a request is sent with. Does not belong
//! here: what a response means (`answers`), when a sign of life is due (`keepalive`), how messages are written (`super::super::wire`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::super::auth::{Answer, hex};
use super::super::message::{Method, Request, Response, Status};
use super::super::transport::{Lower, Transport as TransportHeader};
use super::super::url::{Url, resolve_control};
use super::super::wire::{Decoder, Item};
use super::keepalive::KeepAlive;
use super::{ChannelKind, Choice, Config, Error, Event, Login, Mode, Negotiated, Step, Transport};

/// The client's side of one RTSP stream. See the module for how it is driven.
#[derive(Debug)]
pub struct Session {
    pub(super) config: Config,
    pub(super) url: Url,
    pub(super) login: Option<Login>,
    pub(super) mode: Mode,
    decoder: Decoder,
    output: BytesMut,
    pub(super) events: VecDeque<Event>,
    pub(super) state: State,
    /// The newest time we were told.
    pub(super) now: Option<Instant>,

    seed: u64,
    made: u64,
    cseq: u32,
    pub(super) answer: Option<Answer>,
    /// A request with credentials was granted: a later 401 means a new nonce, not a wrong password.
    pub(super) login_proven: bool,
    /// The challenge was made on an earlier connection.
    pub(super) answer_is_old: bool,
    pub(super) reconnects: u32,
    pub(super) redirects: u32,

    /// The methods that the server says it has.
    pub(super) public: Option<String>,
    /// What the tracks' controls are relative to.
    pub(super) base: String,
    /// The URL of all tracks together.
    pub(super) aggregate: String,
    pub(super) id: Option<String>,
    pub(super) timeout: Duration,
    pub(super) tracks: Vec<TrackState>,
    /// The track that is set up next.
    pub(super) cursor: usize,
    pub(super) over: Over,
    /// The other transport was tried and refused.
    pub(super) switched: bool,
    pub(super) alive: Option<KeepAlive>,
    pub(super) last_received: Option<Instant>,
}

/// What the session waits for.
#[derive(Debug)]
pub(super) enum State {
    /// [`Session::connected`].
    Connection,
    /// A response.
    Response(Box<Pending>),
    /// [`Session::choose`].
    Choice,
    /// [`Session::bound`].
    Ports,
    /// Nothing: media flows.
    Flowing,
    /// The response to TEARDOWN, until then.
    Leaving(Instant),
    /// Over.
    Done,
}

/// A request that was sent.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) step: Step,
    /// Without `CSeq` and `Authorization`, which are new each time.
    pub(super) request: Request,
    cseq: u32,
    deadline: Option<Instant>,
    /// How it was authorised the last time.
    pub(super) authorised: Option<Answer>,
    /// Times it was sent with credentials.
    pub(super) tries: u32,
}

#[derive(Debug)]
pub(super) struct TrackState {
    pub(super) track: usize,
    pub(super) url: String,
    pub(super) ports: Option<(u16, u16)>,
    pub(super) transport: Option<Negotiated>,
}

/// What media is asked to travel over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Tcp,
    Udp,
}

impl Session {
    /// A session for a stream. `seed` must be random: client nonces come from it. Nothing is put out before
    /// [`Session::connected`].
    pub fn new(config: Config, url: Url, mode: Mode, seed: u64) -> Self {
        let login = config.login.clone().or_else(|| Login::of(&url));
        let over = match config.transport {
            Transport::Auto | Transport::Tcp => Over::Tcp,
            Transport::AutoUdpFirst | Transport::Udp => Over::Udp,
        };
        Self {
            decoder: Decoder::new(config.wire.clone()),
            config,
            url: Url {
                user: None,
                password: None,
                ..url
            },
            login,
            mode,
            output: BytesMut::new(),
            events: VecDeque::new(),
            state: State::Connection,
            now: None,
            seed,
            made: 0,
            cseq: 0,
            answer: None,
            login_proven: false,
            answer_is_old: false,
            reconnects: 0,
            redirects: 0,
            public: None,
            base: String::new(),
            aggregate: String::new(),
            id: None,
            timeout: DEFAULT_TIMEOUT,
            tracks: Vec::new(),
            cursor: 0,
            over,
            switched: false,
            alive: None,
            last_received: None,
        }
    }

    /// Where to connect: host, port, TLS or not. Changes with redirects; user and password are taken out.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A connection to [`Session::url`] was made.
    pub fn connected(&mut self, now: Instant) {
        self.now = Some(now);
        if !matches!(self.state, State::Connection) {
            return;
        }
        self.decoder = Decoder::new(self.config.wire.clone());
        self.output.clear();
        self.last_received = Some(now);
        self.id = None;
        self.alive = None;
        self.tracks.clear();
        self.cursor = 0;
        self.aggregate = self.url.to_string();
        self.base.clone_from(&self.aggregate);
        self.ask(Step::Options, Request::new(Method::Options, self.aggregate.as_str()));
    }

    /// The connection was closed by the peer or broke. Poll: it may be made anew.
    pub fn disconnected(&mut self, now: Instant) {
        self.now = Some(now);
        match &self.state {
            State::Connection | State::Done => {}
            State::Leaving(_) => self.end(Event::Closed),
            // Some cameras close after each 401 and want the answer on the next connection.
            State::Response(pending) if pending.tries > 0 && !self.login_proven && self.reconnects < MAX_RECONNECTS => {
                self.reconnects += 1;
                self.reconnect();
            }
            _ => {
                let error = self.unintelligible().unwrap_or_else(|| Error::Disconnected {
                    host: self.host(),
                    step: self.step(),
                });
                self.fail(error);
            }
        }
    }

    /// Takes bytes from the connection, cut anywhere.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        self.now = Some(now);
        self.last_received = Some(now);
        if !matches!(self.state, State::Done | State::Connection) {
            self.decoder.push(bytes);
        }
    }

    /// The next event. After `None`, write [`Session::take_output`] and wait for bytes, an answer or the timeout.
    pub fn poll(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if matches!(self.state, State::Done | State::Connection) {
                return None;
            }
            match self.decoder.next_item() {
                Ok(None) => return None,
                Ok(Some(Item::Frame { channel, payload })) => {
                    if let Some((track, kind)) = self.channel(channel) {
                        return Some(Event::Data {
                            track,
                            kind,
                            bytes: payload,
                        });
                    }
                }
                Ok(Some(Item::Response(response))) => self.on_response(&response),
                Ok(Some(Item::Request(request))) => self.on_request(&request),
                Err(fault) => {
                    let error = Error::Protocol {
                        host: self.host(),
                        fault,
                    };
                    self.fail(error);
                }
            }
        }
    }

    fn channel(&self, channel: u8) -> Option<(usize, ChannelKind)> {
        self.tracks.iter().find_map(|track| match track.transport {
            Some(Negotiated::Interleaved { rtp, .. }) if rtp == channel => Some((track.track, ChannelKind::Rtp)),
            Some(Negotiated::Interleaved { rtcp, .. }) if rtcp == channel => Some((track.track, ChannelKind::Rtcp)),
            _ => None,
        })
    }

    /// Requests to write, in order; empty when there are none.
    pub fn take_output(&mut self) -> Bytes {
        std::mem::take(&mut self.output).freeze()
    }

    /// When [`Session::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Response(pending) => pending.deadline,
            State::Leaving(until) => Some(*until),
            State::Flowing => self.alive.as_ref()?.next,
            State::Connection | State::Choice | State::Ports | State::Done => None,
        }
    }

    /// To be called at or after [`Session::poll_timeout`]; then poll.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        match &self.state {
            State::Leaving(_) => self.end(Event::Closed),
            State::Flowing => self.keep_alive(),
            _ => self.time_out(self.step(), self.config.step_timeout),
        }
    }

    pub(super) fn time_out(&mut self, step: Step, after: Duration) {
        let error = self.unintelligible().unwrap_or_else(|| Error::Timeout {
            host: self.host(),
            step,
            after,
        });
        self.fail(error);
    }

    /// Bytes came and none of them were RTSP: that says more than that an answer is missing.
    fn unintelligible(&self) -> Option<Error> {
        let fault = self.decoder.only_garbage()?;
        Some(Error::Protocol {
            host: self.host(),
            fault,
        })
    }

    /// Ends the session: TEARDOWN goes out, [`Event::Closed`] follows its answer, or comes a second later without one.
    pub fn tear_down(&mut self, now: Instant) {
        self.now = Some(now);
        match self.state {
            State::Done | State::Leaving(_) => {}
            State::Connection => self.end(Event::Closed),
            _ if self.id.is_none() => self.end(Event::Closed),
            _ => {
                self.send(&Request::new(Method::Teardown, self.aggregate.as_str()));
                self.state = now.checked_add(FAREWELL).map_or(State::Done, State::Leaving);
            }
        }
    }

    /// Answers [`Event::Described`]: the tracks to set up, in this order.
    pub fn choose(&mut self, tracks: &[Choice], now: Instant) {
        self.now = Some(now);
        if !matches!(self.state, State::Choice) {
            return;
        }
        let chosen = tracks.iter().map(|choice| TrackState {
            track: choice.track,
            url: resolve_control(&self.base, choice.control.as_deref()),
            ports: None,
            transport: None,
        });
        self.tracks = chosen.collect();
        self.set_up_tracks();
    }

    /// Begins with SETUP, if the number of tracks is one we take.
    pub(super) fn set_up_tracks(&mut self) {
        if self.tracks.is_empty() || self.tracks.len() > self.config.max_tracks {
            let host = self.host();
            return self.fail(Error::NoTracks { host });
        }
        self.set_up_next();
    }

    /// SETUP of the next track; behind the last, PLAY or RECORD.
    pub(super) fn set_up_next(&mut self) {
        let Some(track) = self.tracks.get(self.cursor) else {
            let (step, method) = match self.mode {
                Mode::Play => (Step::Play, Method::Play),
                Mode::Publish { .. } => (Step::Record, Method::Record),
            };
            return self.ask(
                step,
                Request::new(method, self.aggregate.as_str()).with("Range", "npt=0.000-"),
            );
        };
        let mut transport = match (self.over, track.ports) {
            (Over::Tcp, _) => {
                let rtp = (self.cursor * 2).min(254) as u8;
                let mut transport = TransportHeader::new(Lower::Tcp);
                transport.interleaved = Some((rtp, rtp | 1));
                transport
            }
            (Over::Udp, Some(ports)) => {
                let mut transport = TransportHeader::new(Lower::Udp { explicit: true });
                transport.client_port = Some(ports);
                transport
            }
            (Over::Udp, None) => {
                let track = track.track;
                self.state = State::Ports;
                return self.events.push_back(Event::Bind { track });
            }
        };
        transport.record = matches!(self.mode, Mode::Publish { .. });
        let request = Request::new(Method::Setup, track.url.as_str()).with("Transport", transport.to_string());
        self.ask(Step::SetUp, request);
    }

    /// Answers [`Event::Bind`]: the local ports for RTP and RTCP, or `None` when UDP cannot be used.
    pub fn bound(&mut self, ports: Option<(u16, u16)>, now: Instant) {
        self.now = Some(now);
        if !matches!(self.state, State::Ports) {
            return;
        }
        match (ports, self.tracks.get_mut(self.cursor)) {
            (Some(ports), Some(track)) => {
                track.ports = Some(ports);
                self.set_up_next();
            }
            _ => self.switch_transport("no local ports are free", self.cursor > 0),
        }
    }

    /// Sends a request and waits for its response.
    pub(super) fn ask(&mut self, step: Step, request: Request) {
        self.resend(Pending {
            step,
            request,
            cseq: 0,
            deadline: None,
            authorised: None,
            tries: 0,
        });
    }

    pub(super) fn resend(&mut self, mut pending: Pending) {
        pending.cseq = self.send(&pending.request);
        pending.deadline = self.after(self.config.step_timeout);
        pending.authorised.clone_from(&self.answer);
        pending.tries += u32::from(self.answer.is_some());
        self.state = State::Response(Box::new(pending));
    }

    /// Writes a request with what every request has; returns its number.
    pub(super) fn send(&mut self, request: &Request) -> u32 {
        self.cseq = self.cseq.wrapping_add(1);
        let mut whole = Request::new(request.method.clone(), request.uri.as_str());
        whole.headers.push("CSeq", self.cseq.to_string());
        whole.headers.push("User-Agent", self.config.user_agent.as_str());
        if let Some(id) = &self.id {
            whole.headers.push("Session", id.as_str());
        }
        self.made = self.made.wrapping_add(1);
        if let (Some(login), Some(answer)) = (&self.login, &mut self.answer) {
            let cnonce = Sha256::new().chain_update(self.seed.to_be_bytes());
            let cnonce: String = hex(&cnonce.chain_update(self.made.to_be_bytes()).finalize())
                .chars()
                .take(16)
                .collect();
            let method = request.method.as_str();
            let header = answer.header(&login.user, &login.password, method, &request.uri, &cnonce);
            whole.headers.push("Authorization", header);
        }
        for (name, value) in request.headers.iter() {
            whole.headers.push(name, value);
        }
        whole.body = request.body.clone();
        whole.write(&mut self.output);
        self.cseq
    }

    /// Whether a response answers the pending request. Peers that count wrongly are believed, late answers are not.
    pub(super) fn is_late(&self, response: &Response) -> bool {
        let number = response
            .headers
            .get("CSeq")
            .and_then(|cseq| cseq.trim().parse::<u32>().ok());
        match (&self.state, number) {
            (State::Response(pending), Some(number)) => number < pending.cseq && number > 0,
            _ => false,
        }
    }

    pub(super) fn after(&self, duration: Duration) -> Option<Instant> {
        self.now?.checked_add(duration)
    }

    /// Answers what a server asks of its own.
    fn on_request(&mut self, request: &Request) {
        let status = match request.method {
            Method::Options | Method::GetParameter | Method::SetParameter | Method::Announce | Method::Teardown => {
                Status::OK
            }
            _ => Status::NOT_IMPLEMENTED,
        };
        let mut response = Response::new(status);
        for name in ["CSeq", "Session"] {
            if let Some(value) = request.headers.get(name) {
                response.headers.push(name, value);
            }
        }
        if request.method == Method::Options {
            response
                .headers
                .push("Public", "OPTIONS, GET_PARAMETER, SET_PARAMETER, ANNOUNCE, TEARDOWN");
        }
        response.write(&mut self.output);
        if request.method == Method::Teardown {
            let host = self.host();
            self.fail(Error::Ended { host });
        }
    }

    /// Asks for a new connection and begins again on it.
    pub(super) fn reconnect(&mut self) {
        self.answer_is_old = true;
        self.output.clear();
        self.state = State::Connection;
        self.events.push_back(Event::Reconnect);
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.end(Event::Failed(error));
    }

    pub(super) fn end(&mut self, event: Event) {
        self.state = State::Done;
        self.events.push_back(event);
    }

    /// The host as errors name it.
    pub(super) fn host(&self) -> String {
        self.url.authority()
    }

    fn step(&self) -> Step {
        match (&self.state, &self.mode) {
            (State::Response(pending), _) => pending.step,
            (State::Leaving(_), _) => Step::TearDown,
            (State::Choice, _) => Step::Describe,
            (State::Ports, _) => Step::SetUp,
            (_, Mode::Play) => Step::Play,
            (_, Mode::Publish { .. }) => Step::Record,
        }
    }
}

/// Life of a session whose server names none (RFC 2326 §12.37).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the answer to TEARDOWN is waited for.
const FAREWELL: Duration = Duration::from_secs(1);
/// New connections made because the server closed one on us, or because a transport was refused half-way.
pub(super) const MAX_RECONNECTS: u32 = 2;
