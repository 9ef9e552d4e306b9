//! What each request does, and what the driver's answers make of it.
//!
//! Belongs here: one method of the protocol after the other, from the request to its response. Does not belong here: rights (`login`), the
//! choice of a transport (`transports`), bytes and deadlines (`session`).

use std::time::Instant;

use media::StreamName;

use super::super::header::{self, SessionHeader};
use super::super::message::{Method, Request, Response, Status};
use super::super::url::{Target, Track};
use super::session::{Media, Phase, Session, SetTrack, Step, Waiting};
use super::{Action, Announced, Description, Event, Refusal, RtpInfo, ServerPorts};

/// Methods served, for `Public` and `Allow`.
const PUBLIC: &str = "OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, PAUSE, RECORD, GET_PARAMETER, SET_PARAMETER, TEARDOWN";

/// What comes of a request.
pub(super) enum Next {
    Respond(Response),
    /// The driver is asked; the request goes on with its answer.
    Ask(Box<(Step, Event)>),
}

impl Next {
    pub(super) fn ask(step: Step, event: Event) -> Self {
        Self::Ask(Box::new((step, event)))
    }
}

/// The error is the refusal.
type Outcome = Result<Next, Response>;

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let mut response = Self::new(refusal.status);
        if !refusal.why.is_empty() {
            response.reason = refusal.why;
        }
        if let Some(location) = refusal.location {
            response.headers.push("Location", location);
        }
        response
    }
}

fn refuse<T>(status: Status, why: &str) -> Result<T, Response> {
    Err(Refusal::because(status, why).into())
}

fn ok() -> Response {
    Response::new(Status::OK)
}

impl Session {
    /// Looks at a request from its beginning; again after the driver authorised it or described its stream.
    pub(super) fn dispatch(&mut self, request: Request) {
        let outcome = self.check(&request).and_then(|()| match &request.method {
            Method::Options => Ok(Next::Respond(ok().with("Public", PUBLIC))),
            Method::GetParameter => Ok(Next::Respond(ok())),
            Method::SetParameter if request.body.is_empty() => Ok(Next::Respond(ok())),
            Method::SetParameter => Err(Response::new(Status::PARAMETER_NOT_UNDERSTOOD)),
            Method::Describe => self.on_describe(&request),
            Method::Announce => self.on_announce(&request),
            Method::Setup => self.on_set_up(&request),
            Method::Play => self.on_start(&request, Action::View),
            Method::Record => self.on_start(&request, Action::Publish),
            Method::Pause => self.on_pause(&request),
            Method::Teardown => self.on_teardown(&request),
            Method::Redirect => Err(Response::new(Status::METHOD_NOT_ALLOWED).with("Allow", PUBLIC)),
            Method::Other(_) => Err(Response::new(Status::NOT_IMPLEMENTED).with("Allow", PUBLIC)),
        });
        match outcome {
            Ok(Next::Respond(response)) | Err(response) => self.respond(&request, response),
            Ok(Next::Ask(question)) => {
                let (step, event) = *question;
                self.waiting = Some(Waiting { request, step });
                self.events.push_back(event);
            }
        }
    }

    /// What holds for every request.
    fn check(&self, request: &Request) -> Result<(), Response> {
        match request.version {
            Some((1, 0)) => {}
            Some(_) => return Err(Response::new(Status::VERSION_NOT_SUPPORTED)),
            None => return refuse(Status::BAD_REQUEST, "The request line has no RTSP version"),
        }
        if request.headers.get("CSeq").is_none_or(str::is_empty) {
            return refuse(Status::BAD_REQUEST, "The request has no CSeq");
        }
        let required = ["Require", "Proxy-Require"]
            .iter()
            .find_map(|name| request.headers.get(name));
        if let Some(required) = required {
            return Err(Response::new(Status::OPTION_NOT_SUPPORTED).with("Unsupported", required));
        }
        let session = request.headers.get("Session");
        if let Some(session) = session {
            let claimed = SessionHeader::parse(session).map(|session| session.id);
            let ours = self.media.as_ref().filter(|media| !media.tracks.is_empty());
            if claimed.is_none() || claimed.as_ref() != ours.map(|media| &media.id) {
                return Err(Response::new(Status::SESSION_NOT_FOUND));
            }
        }
        let concerns_session = session.is_some()
            || matches!(
                request.method,
                Method::Setup | Method::Play | Method::Record | Method::Pause | Method::Teardown
            );
        if concerns_session && self.is_foreign(request) {
            return Err(Response::new(Status::SESSION_NOT_FOUND));
        }
        Ok(())
    }

    /// The stream that a URL means: one whose controls are known, else the whole path is its name.
    fn stream(&self, target: &Target) -> Result<StreamName, Response> {
        let set_up = self.media.as_ref().map(|media| (&media.stream, &media.controls));
        let described = self.described.as_ref().map(|(stream, controls)| (stream, controls));
        let known = [set_up, described].into_iter().flatten().find(|(stream, controls)| {
            target.below(stream.as_str()).is_some_and(str::is_empty)
                || matches!(target.track(stream.as_str(), controls), Track::Index(_))
        });
        if let Some((stream, _)) = known {
            return Ok(stream.clone());
        }
        if target.path.is_empty() {
            return refuse(
                Status::NOT_FOUND,
                "The URL names no stream; write it like rtsp://HOST/NAME",
            );
        }
        target
            .path
            .parse()
            .map_err(|why| Refusal::because(Status::BAD_REQUEST, format!("{why}")).into())
    }

    /// What was asked for before is forgotten, also where there is no query now.
    fn note_query(&mut self, target: &Target, stream: &StreamName) {
        let query = Some(target.query.as_str()).filter(|query| !query.is_empty() && query.len() <= MAX_QUERY_BYTES);
        self.query = query.map(|query| (stream.clone(), Box::from(query)));
    }

    /// Clients leave out of SETUP what they described or announced the same stream with.
    fn note_query_of_set_up(&mut self, target: &Target, stream: &StreamName) {
        if !target.query.is_empty() {
            self.note_query(target, stream);
        } else {
            self.forget_query_of_other(stream);
        }
    }

    fn forget_query_of_other(&mut self, stream: &StreamName) {
        self.query = self.query.take().filter(|(asked, _)| asked == stream);
    }

    fn on_describe(&mut self, request: &Request) -> Outcome {
        let target = target(request)?;
        let stream = self.stream(&target)?;
        let accepts = |list: &str| {
            let list = list.to_ascii_lowercase();
            ["application/sdp", "application/*", "*/*"]
                .iter()
                .any(|kind| list.contains(kind))
        };
        if !request.headers.get("Accept").is_none_or(accepts) {
            return refuse(Status::NOT_ACCEPTABLE, "Descriptions are application/sdp");
        }
        if let Some(ask) = self.authorise(request, &target, Action::View, &stream) {
            return Ok(ask);
        }
        self.note_query(&target, &stream);
        let event = Event::Describe { stream: stream.clone() };
        Ok(Next::ask(Step::Describe { stream }, event))
    }

    /// Answers [`Event::Describe`].
    pub fn describe(&mut self, answer: Result<Description, Refusal>, now: Instant) {
        self.now = now;
        let Some(Waiting {
            request,
            step: Step::Describe { stream },
        }) = self.take_waiting(|step| matches!(step, Step::Describe { .. }))
        else {
            return;
        };
        let description = match answer {
            Ok(description) => description,
            Err(refusal) => return self.respond(&request, refusal.into()),
        };
        let base = Target::parse(&request.uri).map(|target| target.base(stream.as_str()));
        self.described = Some((stream, description.controls));
        if request.method == Method::Setup {
            return self.dispatch(request);
        }
        let mut response = ok();
        if let Some(base) = base {
            response.headers.push("Content-Base", base);
        }
        response.headers.push("Content-Type", "application/sdp");
        response.body = description.sdp.into();
        self.respond(&request, response);
    }

    fn on_announce(&mut self, request: &Request) -> Outcome {
        let target = target(request)?;
        let stream = self.stream(&target)?;
        if self.media.as_ref().is_some_and(|media| !media.tracks.is_empty()) {
            return refuse(
                Status::NOT_VALID_IN_THIS_STATE,
                "This connection has a session already; TEARDOWN ends it",
            );
        }
        let is_sdp = |kind: &str| kind.to_ascii_lowercase().contains("application/sdp");
        if !request.headers.get("Content-Type").is_none_or(is_sdp) {
            return refuse(Status::UNSUPPORTED_MEDIA_TYPE, "ANNOUNCE takes application/sdp");
        }
        if request.body.is_empty() {
            return refuse(Status::BAD_REQUEST, "ANNOUNCE without an SDP");
        }
        if let Some(ask) = self.authorise(request, &target, Action::Publish, &stream) {
            return Ok(ask);
        }
        self.note_query(&target, &stream);
        let event = Event::Announce {
            stream: stream.clone(),
            sdp: request.body.clone(),
            via: request.headers.all("Via").collect::<Vec<_>>().join(","),
        };
        Ok(Next::ask(Step::Announce { stream }, event))
    }

    /// Answers [`Event::Announce`].
    pub fn announce(&mut self, answer: Result<Announced, Refusal>, now: Instant) {
        self.now = now;
        let Some(Waiting {
            request,
            step: Step::Announce { stream },
        }) = self.take_waiting(|step| matches!(step, Step::Announce { .. }))
        else {
            return;
        };
        self.media = None;
        let max = self.config.max_tracks;
        match answer {
            Err(refusal) => self.respond(&request, refusal.into()),
            Ok(announced) if announced.controls.is_empty() || announced.controls.len() > max => {
                self.events.push_back(Event::TearDown);
                let why = format!(
                    "The SDP has {} tracks; 1 to {max} can be sent",
                    announced.controls.len()
                );
                self.respond(&request, Refusal::because(Status::BAD_REQUEST, why).into());
            }
            Ok(announced) => {
                self.media = Some(self.new_media(Action::Publish, stream, announced.controls));
                self.respond(&request, ok());
            }
        }
    }

    fn new_media(&mut self, action: Action, stream: StreamName, controls: Vec<String>) -> Media {
        let mut grants = self.grants.iter();
        let grant = grants.find(|grant| grant.action == action && grant.stream == stream);
        Media {
            claimant: grant.and_then(|grant| grant.claimant.clone()),
            id: self.nonces.unguessable("session"),
            action,
            stream,
            controls,
            tracks: Vec::new(),
            phase: Phase::Ready,
        }
    }

    fn on_set_up(&mut self, request: &Request) -> Outcome {
        let target = target(request)?;
        let stream = self.stream(&target)?;
        if let Some(media) = &self.media {
            if media.phase != Phase::Ready {
                return refuse(
                    Status::NOT_VALID_IN_THIS_STATE,
                    "Tracks cannot be set up while media flows",
                );
            }
            if media.stream != stream {
                return refuse(
                    Status::AGGREGATE_NOT_ALLOWED,
                    "This session is of another stream; TEARDOWN ends it",
                );
            }
        }
        let action = self.media.as_ref().map_or(Action::View, |media| media.action);
        if let Some(ask) = self.authorise(request, &target, action, &stream) {
            return Ok(ask);
        }
        self.note_query_of_set_up(&target, &stream);
        let controls = match (&self.media, &self.described) {
            (Some(media), _) => &media.controls,
            (None, Some((described, controls))) if *described == stream => controls,
            _ => {
                let event = Event::Describe { stream: stream.clone() };
                return Ok(Next::ask(Step::Describe { stream }, event));
            }
        };
        let index = match target.track(stream.as_str(), controls) {
            Track::Index(index) => index,
            Track::Aggregate if controls.len() == 1 => 0,
            Track::Aggregate => return refuse(Status::AGGREGATE_NOT_ALLOWED, "Name one track in the URL of SETUP"),
            Track::Unknown(control) => {
                return refuse(Status::NOT_FOUND, &format!("The stream has no track {control}"));
            }
        };
        let tracks = self.media.as_ref().map_or(&[][..], |media| &media.tracks);
        if tracks.len() >= self.config.max_tracks && tracks.iter().all(|track| track.index != index) {
            return refuse(Status::FORBIDDEN, "That is more tracks than a session may have");
        }
        let (transport, answer) = self.choose_transport(request, action, index)?;
        let event = Event::SetUp {
            track: index,
            action,
            stream: stream.clone(),
            transport,
        };
        let track = SetTrack {
            index,
            transport,
            uri: request.uri.clone(),
        };
        let answer = Box::new(answer);
        Ok(Next::ask(Step::SetUp { stream, track, answer }, event))
    }

    /// Answers [`Event::SetUp`].
    pub fn set_up(&mut self, answer: Result<ServerPorts, Refusal>, now: Instant) {
        self.now = now;
        let Some(Waiting {
            request,
            step:
                Step::SetUp {
                    stream,
                    track,
                    answer: mut transport,
                },
        }) = self.take_waiting(|step| matches!(step, Step::SetUp { .. }))
        else {
            return;
        };
        let ports = match answer {
            Ok(ports) => ports,
            Err(refusal) => return self.respond(&request, refusal.into()),
        };
        if !track.transport.is_interleaved() {
            transport.server_port = ports.rtp_rtcp;
            transport.source = ports.source;
        }
        transport.ssrc = ports.ssrc;
        let mut media = match self.media.take() {
            Some(media) => media,
            None => {
                let described = self.described.as_ref();
                let controls = described.map(|(_, controls)| controls.clone()).unwrap_or_default();
                self.new_media(Action::View, stream, controls)
            }
        };
        media.tracks.retain(|earlier| earlier.index != track.index);
        media.tracks.push(track);
        media.tracks.sort_by_key(|track| track.index);
        self.media = Some(media);
        self.respond(&request, ok().with("Transport", transport.to_string()));
    }

    /// PLAY and RECORD.
    fn on_start(&mut self, request: &Request, action: Action) -> Outcome {
        let media = self.whole_session(request)?;
        if media.action != action {
            return Err(Response::new(Status::NOT_VALID_IN_THIS_STATE));
        }
        let tracks = media.tracks.iter().map(|track| track.index).collect();
        let (phase, stream) = (media.phase, media.stream.clone());
        // Another stream may have been described since.
        self.forget_query_of_other(&stream);
        Ok(match (phase, action) {
            (Phase::Ready, Action::View) => Next::ask(Step::Play, Event::Play { tracks }),
            (Phase::Ready, Action::Publish) => Next::ask(Step::Record, Event::Record { tracks }),
            // Live: there is nowhere to seek to, and some players keep alive this way.
            (Phase::Playing, _) => Next::Respond(ok().with("Range", LIVE)),
            (Phase::Recording, _) => Next::Respond(ok()),
        })
    }

    /// Answers [`Event::Play`].
    pub fn play(&mut self, answer: Result<&[RtpInfo], Refusal>, now: Instant) {
        self.now = now;
        let Some(Waiting { request, .. }) = self.take_waiting(|step| matches!(step, Step::Play)) else {
            return;
        };
        let infos = match answer {
            Ok(infos) => infos,
            Err(refusal) => return self.respond(&request, refusal.into()),
        };
        let mut response = ok().with("Range", LIVE);
        if let Some(media) = &mut self.media {
            media.phase = Phase::Playing;
            let entries = media.tracks.iter().filter_map(|track| {
                let info = infos.iter().find(|info| info.track == track.index)?;
                let entry = header::RtpInfo {
                    url: track.uri.clone(),
                    sequence: Some(info.sequence),
                    rtp_time: Some(info.rtp_time),
                };
                Some(entry.to_string())
            });
            let entries: Vec<String> = entries.collect();
            if !entries.is_empty() {
                response.headers.push("RTP-Info", entries.join(","));
            }
        }
        self.respond(&request, response);
    }

    /// Answers [`Event::Record`].
    pub fn record(&mut self, answer: Result<(), Refusal>, now: Instant) {
        self.now = now;
        let Some(Waiting { request, .. }) = self.take_waiting(|step| matches!(step, Step::Record)) else {
            return;
        };
        if let Err(refusal) = answer {
            return self.respond(&request, refusal.into());
        }
        if let Some(media) = &mut self.media {
            media.phase = Phase::Recording;
        }
        self.respond(&request, ok());
    }

    fn on_pause(&mut self, request: &Request) -> Outcome {
        let media = self.whole_session(request)?;
        if media.phase != Phase::Ready {
            media.phase = Phase::Ready;
            self.events.push_back(Event::Pause);
        }
        Ok(Next::Respond(ok()))
    }

    fn on_teardown(&mut self, request: &Request) -> Outcome {
        if self.media.is_none() {
            return Err(Response::new(Status::SESSION_NOT_FOUND));
        }
        if self.media.as_ref().is_some_and(|media| !media.tracks.is_empty()) {
            self.whole_session(request)?;
        }
        self.media = None;
        self.events.push_back(Event::TearDown);
        Ok(Next::Respond(ok()))
    }

    /// The session with its tracks, if the URL means all of them.
    fn whole_session(&mut self, request: &Request) -> Result<&mut Media, Response> {
        let Some(media) = self.media.as_mut().filter(|media| !media.tracks.is_empty()) else {
            return refuse(Status::NOT_VALID_IN_THIS_STATE, "Nothing is set up");
        };
        let Some(target) = Target::parse(&request.uri).filter(|target| !target.path.is_empty()) else {
            return Ok(media);
        };
        match target.track(media.stream.as_str(), &media.controls) {
            Track::Aggregate => Ok(media),
            Track::Index(index) => match &*media.tracks {
                [only] if only.index == index => Ok(media),
                _ => Err(Response::new(Status::ONLY_AGGREGATE_ALLOWED)),
            },
            Track::Unknown(_) => refuse(Status::NOT_FOUND, "The URL is not of this session's stream"),
        }
    }
}

/// Of queries that are kept.
const MAX_QUERY_BYTES: usize = 1_024;

fn target(request: &Request) -> Result<Target, Response> {
    Target::parse(&request.uri).map_or_else(
        || refuse(Status::BAD_REQUEST, "The request line has no rtsp:// URL"),
        Ok,
    )
}

/// What of the stream is played: what comes from now on.
const LIVE: &str = "npt=now-";
