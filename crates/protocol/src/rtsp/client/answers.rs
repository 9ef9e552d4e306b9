//! What each response means, and what is asked next.
//!
//! Belongs here: success, refusal, challenge and redirect of every step, and the error that people read. Does not belong here: sending
//! and deadlines (`session`), what the header of a login holds (`super::super::auth`).

use bytes::Bytes;

use super::super::auth::choose;
use super::super::header::{self, SessionHeader};
use super::super::message::{Method, Request, Response, Status, printable};
use super::super::transport::{Lower, Transport as TransportHeader};
use super::super::url::{Url, control_base, resolve_control};
use super::session::{MAX_RECONNECTS, Over, Pending, Session, State, TrackState};
use super::{Error, Event, Login, Mode, Negotiated, RtpInfo, Step, Transport};

impl Session {
    pub(super) fn on_response(&mut self, response: &Response) {
        if matches!(response.status, Status(..200)) || self.is_late(response) {
            return;
        }
        match std::mem::replace(&mut self.state, State::Flowing) {
            State::Response(pending) => self.on_answer(*pending, response),
            State::Leaving(_) => self.end(Event::Closed),
            State::Flowing => self.on_keep_alive_answer(response),
            // An answer to nothing.
            other => self.state = other,
        }
    }

    fn on_keep_alive_answer(&mut self, response: &Response) {
        if let Err(status) = self.on_kept_alive(response) {
            let error = self.refused(Step::KeepAlive, status, &response.reason);
            self.fail(error);
        }
    }

    fn on_answer(&mut self, pending: Pending, response: &Response) {
        if let Some(session) = response.headers.get("Session").and_then(SessionHeader::parse) {
            self.id = Some(session.id);
            self.timeout = session.timeout.unwrap_or(self.timeout);
        }
        let step = pending.step;
        match response.status {
            Status(200..=299) => {
                // Many servers let anyone ask for OPTIONS.
                self.login_proven |= pending.authorised.is_some() && step != Step::Options;
                self.answer_is_old = false;
                self.on_success(step, response);
            }
            Status(301 | 302 | 303 | 305 | 307 | 308) => self.on_redirect(response),
            Status::UNAUTHORIZED => self.on_unauthorized(pending, response),
            _ if step == Step::Options => self.after_options(),
            Status::UNSUPPORTED_TRANSPORT if step == Step::SetUp => {
                self.switch_transport(&response.reason, self.cursor > 0);
            }
            status => {
                let error = self.refused(step, status, &response.reason);
                self.fail(error);
            }
        }
    }

    fn refused(&self, step: Step, status: Status, reason: &str) -> Error {
        let host = self.host();
        let reason = printable(reason, SHOWN);
        match (status, step) {
            (Status::FORBIDDEN, _) => Error::Forbidden { host, reason },
            (Status::NOT_FOUND, Step::Describe) => Error::NotFound {
                host,
                path: self.url.path.split('?').next().unwrap_or_default().to_owned(),
                reason,
            },
            _ => Error::Refused {
                host,
                step,
                status,
                reason,
            },
        }
    }

    fn on_success(&mut self, step: Step, response: &Response) {
        match step {
            Step::Options => {
                self.public = response.headers.get("Public").map(str::to_owned);
                self.after_options();
            }
            Step::Describe => self.on_described(response),
            Step::Announce => {
                if let Mode::Publish { controls, .. } = &self.mode {
                    let tracks = controls.iter().enumerate().map(|(track, control)| TrackState {
                        track,
                        url: resolve_control(&self.base, Some(control)),
                        ports: None,
                        transport: None,
                    });
                    self.tracks = tracks.collect();
                }
                self.set_up_tracks();
            }
            Step::SetUp => self.on_set_up(response),
            Step::Play => {
                let header = response.headers.get("RTP-Info").unwrap_or_default();
                let rtp_info = self.rtp_info(header);
                self.flow();
                self.events.push_back(Event::Playing { rtp_info });
            }
            Step::Record => {
                self.flow();
                self.events.push_back(Event::Recording);
            }
            Step::KeepAlive | Step::TearDown => {}
        }
    }

    fn after_options(&mut self) {
        let url = self.url.to_string();
        match &self.mode {
            Mode::Play => {
                let request = Request::new(Method::Describe, url).with("Accept", "application/sdp");
                self.ask(Step::Describe, request);
            }
            Mode::Publish { sdp, via, .. } => {
                let mut request = Request::new(Method::Announce, url).with("Content-Type", "application/sdp");
                if let Some(via) = via {
                    request = request.with("Via", via.as_str());
                }
                request.body = Bytes::from(sdp.clone());
                self.ask(Step::Announce, request);
            }
        }
    }

    fn on_described(&mut self, response: &Response) {
        if response.body.is_empty() {
            return self.fail_with(Step::Describe, "there is no description in it");
        }
        let header = |name| response.headers.get(name);
        self.base = control_base(&self.url, header("Content-Base"), header("Content-Location"));
        // The session's own control, where there is one, is what the tracks' are relative to: FFmpeg and live555 see it so.
        self.base = resolve_control(&self.base, session_control(&response.body).as_deref());
        self.aggregate.clone_from(&self.base);
        self.state = State::Choice;
        self.events.push_back(Event::Described {
            sdp: response.body.clone(),
        });
    }

    fn on_set_up(&mut self, response: &Response) {
        let header = response.headers.get("Transport").unwrap_or_default();
        let answer = TransportHeader::parse_list(header).into_iter().next();
        let negotiated = match (&answer, self.over) {
            (Some(answer), _) if answer.multicast => None,
            // What the server says, whatever was asked: some have their own mind about channels.
            (Some(answer), _) if answer.interleaved.is_some() => answer.interleaved.map(interleaved),
            (Some(answer), Over::Tcp) if answer.lower != Lower::Tcp => None,
            (_, Over::Tcp) => {
                let rtp = (self.cursor * 2).min(254) as u8;
                Some(interleaved((rtp, rtp | 1)))
            }
            (Some(answer), Over::Udp) if answer.lower == Lower::Tcp => None,
            (answer, Over::Udp) => Some(Negotiated::Udp {
                server_ports: answer.as_ref().and_then(|answer| answer.server_port),
                source: answer.as_ref().and_then(|answer| answer.source),
            }),
        };
        // Who sends must know where to.
        let is_nowhere = matches!(negotiated, Some(Negotiated::Udp { server_ports: None, .. }))
            && matches!(self.mode, Mode::Publish { .. });
        let Some(negotiated) = negotiated.filter(|_| !is_nowhere) else {
            let what = if is_nowhere {
                "it names no port to send to".to_owned()
            } else {
                format!("it answered with {}", printable(header, SHOWN))
            };
            return self.switch_transport(&what, true);
        };
        let others = self.tracks.iter().filter_map(|track| track.transport.as_ref());
        if others.into_iter().any(|other| collide(other, &negotiated)) {
            return self.fail_with(Step::SetUp, "two tracks have the same interleaved channels");
        }
        let Some(track) = self.tracks.get_mut(self.cursor) else {
            return;
        };
        track.transport = Some(negotiated);
        self.events.push_back(Event::SetUp {
            track: track.track,
            transport: negotiated,
            ssrc: answer.and_then(|answer| answer.ssrc),
        });
        self.cursor += 1;
        self.set_up_next();
    }

    /// Tries the other transport where that is allowed. With something set up already, on a new connection.
    pub(super) fn switch_transport(&mut self, why: &str, begun: bool) {
        let may_switch = !self.switched && matches!(self.config.transport, Transport::Auto | Transport::AutoUdpFirst);
        if !may_switch || begun && self.reconnects >= MAX_RECONNECTS {
            let tried = match (self.switched, self.over) {
                (true, _) => "TCP and UDP",
                (false, Over::Tcp) => "TCP",
                (false, Over::Udp) => "UDP",
            };
            let error = Error::UnsupportedTransport {
                host: self.host(),
                tried,
                reason: printable(why, SHOWN),
            };
            return self.fail(error);
        }
        self.switched = true;
        self.over = match self.over {
            Over::Tcp => Over::Udp,
            Over::Udp => Over::Tcp,
        };
        if begun {
            self.reconnects += 1;
            self.reconnect();
        } else {
            self.set_up_next();
        }
    }

    fn rtp_info(&self, header: &str) -> Vec<RtpInfo> {
        let entries = header::RtpInfo::parse_list(header);
        let same_number = entries.len() == self.tracks.len();
        let info = |(position, entry): (usize, header::RtpInfo)| {
            let url = resolve_control(&self.base, Some(&entry.url));
            let last = |url: &str| url.trim_end_matches('/').rsplit('/').next().map(str::to_owned);
            let mut tracks = self.tracks.iter();
            let by_url = tracks.find(|track| track.url == url || track.url == entry.url);
            let mut alike = self.tracks.iter().filter(|track| last(&track.url) == last(&entry.url));
            let by_end = match (alike.next(), alike.next()) {
                (Some(only), None) => Some(only),
                _ => None,
            };
            let by_position = self.tracks.get(position).filter(|_| same_number);
            Some(RtpInfo {
                track: by_url.or(by_end).or(by_position)?.track,
                sequence: entry.sequence,
                rtp_time: entry.rtp_time,
            })
        };
        entries.into_iter().enumerate().filter_map(info).collect()
    }

    fn on_unauthorized(&mut self, pending: Pending, response: &Response) {
        let host = self.host();
        if self.login.is_none() {
            return self.fail(Error::LoginNeeded { host });
        }
        let answer = match choose(response.headers.all("WWW-Authenticate")) {
            Ok(answer) => answer,
            // gortsplib refuses wrong credentials without another challenge.
            Err(offered) if offered.is_empty() && pending.authorised.is_some() => {
                return self.fail(Error::WrongLogin { host });
            }
            Err(offered) if offered.is_empty() => {
                let offered = "nothing".to_owned();
                return self.fail(Error::UnknownLogin { host, offered });
            }
            Err(offered) => return self.fail(Error::UnknownLogin { host, offered }),
        };
        if let Some(tried) = &pending.authorised {
            // Cameras lock accounts after a few wrong passwords: a second try only where the first cannot have been wrong.
            let excused = answer.is_stale() || self.login_proven || self.answer_is_old;
            if !excused || tried.is_same_nonce(&answer) || pending.tries >= MAX_TRIES {
                return self.fail(Error::WrongLogin { host });
            }
        }
        self.answer = Some(answer);
        self.answer_is_old = false;
        let closes = response
            .headers
            .get("Connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if closes && self.reconnects < MAX_RECONNECTS {
            self.reconnects += 1;
            self.reconnect();
        } else {
            self.resend(pending);
        }
    }

    fn on_redirect(&mut self, response: &Response) {
        let location = response.headers.get("Location").unwrap_or_default().trim();
        let target = if location.starts_with('/') {
            Ok(Url {
                path: location.to_owned(),
                ..self.url.clone()
            })
        } else {
            location.parse::<Url>()
        };
        let refuse = |what: String| Error::Redirect {
            host: self.host(),
            what,
        };
        let target = match target {
            Ok(target) => target,
            Err(why) => {
                // Neither a token nor a login of the server's making belongs into an error.
                let shown = location
                    .split('?')
                    .next()
                    .and_then(|text| text.rsplit('@').next())
                    .unwrap_or_default();
                let what = format!(
                    "to \"{}\", which is no use ({why}); ask for the stream's present address",
                    printable(shown, SHOWN)
                );
                return self.fail(refuse(what));
            }
        };
        if target.tls != self.url.tls {
            let what = format!("to {target:?}, which is another scheme; give that URL if you trust it");
            return self.fail(refuse(what));
        }
        if self.redirects >= self.config.max_redirects {
            let what = format!(
                "again after {} times, now to {target:?}; ask for the stream's present address",
                self.redirects
            );
            return self.fail(refuse(what));
        }
        self.redirects += 1;
        if !target.is_same_server(&self.url) || target.user.is_some() {
            // Our password is not for another server; one that the redirect brings is.
            self.login = Login::of(&target);
            self.answer = None;
            self.login_proven = false;
        }
        self.url = Url {
            user: None,
            password: None,
            ..target
        };
        self.reconnect();
    }

    fn fail_with(&mut self, step: Step, what: &str) {
        let error = Error::BadAnswer {
            host: self.host(),
            step,
            what: what.to_owned(),
        };
        self.fail(error);
    }
}

impl Login {
    /// User and password of a URL.
    pub fn of(url: &Url) -> Option<Self> {
        Some(Self {
            user: url.user.clone()?,
            password: url.password.clone().unwrap_or_default(),
        })
    }
}

fn interleaved((rtp, rtcp): (u8, u8)) -> Negotiated {
    Negotiated::Interleaved { rtp, rtcp }
}

fn collide(one: &Negotiated, other: &Negotiated) -> bool {
    match (one, other) {
        (Negotiated::Interleaved { rtp: a, rtcp: b }, Negotiated::Interleaved { rtp: c, rtcp: d }) => {
            a == c || a == d || b == c || b == d
        }
        _ => false,
    }
}

/// The `a=control` of the session, before the first media section.
fn session_control(sdp: &[u8]) -> Option<String> {
    let lines = sdp.split(|byte| matches!(byte, b'\n' | b'\r'));
    let mut head = lines.take_while(|line| !line.starts_with(b"m=")).take(MAX_SDP_HEAD);
    let control = head.find_map(|line| line.strip_prefix(b"a=control:"))?;
    Some(String::from_utf8_lossy(control).trim().to_owned())
}

/// Bytes of a server's words that are shown.
const SHOWN: usize = 200;
/// Times one request is sent with credentials: the first, and again with a nonce that is not old.
const MAX_TRIES: u32 = 3;
/// Lines of an SDP before its first media section that are looked at.
const MAX_SDP_HEAD: usize = 256;
