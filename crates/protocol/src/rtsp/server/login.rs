//! Who may do what: asking the driver once, and what a 401 looks like.

use std::time::Instant;

use media::StreamName;

use super::super::auth::{Challenge, Credentials};
use super::super::message::{Request, Response, Status};
use super::super::url::Target;
use super::requests::Next;
use super::session::{Grant, Session, Step, Waiting};
use super::{Action, CloseReason, Denied, Event};

/// Grants kept per connection: a player opens one stream, a matrix of pictures a few.
const MAX_GRANTS: usize = 8;

impl Session {
    /// `None` if the driver allowed this on this connection already, else the question.
    pub(super) fn authorise(
        &mut self,
        request: &Request,
        target: &Target,
        action: Action,
        stream: &StreamName,
    ) -> Option<Next> {
        let mut credentials = shown(request, target);
        let claimant = credentials.claimant().map(str::to_owned);
        // Players send their credentials with every request, some (VLC) with the first alone.
        let granted = self.grants.iter().any(|grant| {
            grant.action == action && grant.stream == *stream && (claimant.is_none() || grant.claimant == claimant)
        });
        if granted {
            return None;
        }
        let presented = credentials != Credentials::None;
        let mut stale = false;
        if let Credentials::Digest(digest) = &credentials {
            stale = !self.nonces.is_fresh(digest, self.now);
            let means_this = digest.uri == request.uri
                || Target::parse(&digest.uri).is_some_and(|uri| uri.below(stream.as_str()).is_some());
            if stale || !means_this {
                credentials = Credentials::None;
            }
        }
        let grant = Grant {
            action,
            stream: stream.clone(),
            claimant,
        };
        let step = Step::Authorize {
            grant,
            presented,
            stale,
        };
        let event = Event::Authorize {
            action,
            stream: stream.clone(),
            credentials,
        };
        Some(Next::ask(step, event))
    }

    /// What stands behind the `?` of the URL that [`Event::Authorize`] is about, as it came; empty at other times.
    pub fn query_to_authorize(&self) -> String {
        let waiting = self.waiting.as_ref();
        let asked = waiting.filter(|waiting| matches!(waiting.step, Step::Authorize { .. }));
        let target = asked.and_then(|waiting| Target::parse(&waiting.request.uri));
        target.map(|target| target.query).unwrap_or_default()
    }

    /// Answers [`Event::Authorize`].
    pub fn authorized(&mut self, answer: Result<(), Denied>, now: Instant) {
        self.now = now;
        let Some(Waiting {
            request,
            step:
                Step::Authorize {
                    grant,
                    presented,
                    stale,
                },
        }) = self.take_waiting(|step| matches!(step, Step::Authorize { .. }))
        else {
            return;
        };
        match answer {
            Ok(()) => {
                self.grants
                    .retain(|old| (old.action, &old.stream) != (grant.action, &grant.stream));
                if self.grants.len() >= MAX_GRANTS {
                    self.grants.pop_front();
                }
                self.grants.push_back(grant);
                self.dispatch(request);
            }
            Err(Denied::Refused(refusal)) => self.respond(&request, refusal.into()),
            Err(Denied::Challenge(challenge)) => {
                self.challenge(&request, &challenge, stale);
                if presented && !stale {
                    self.failed_logins += 1;
                    if self.failed_logins >= self.config.max_failed_logins {
                        self.close(CloseReason::TooManyFailedLogins(self.failed_logins));
                    }
                }
            }
        }
    }

    fn challenge(&mut self, request: &Request, challenge: &Challenge, stale: bool) {
        let nonce = self.nonces.issue(challenge.realm(), self.now);
        let mut response = Response::new(Status::UNAUTHORIZED);
        for header in challenge.headers(&nonce, stale, self.config.digest_qop) {
            response.headers.push("WWW-Authenticate", header);
        }
        self.respond(request, response);
    }

    /// Takes what waits if it waits for this.
    pub(super) fn take_waiting(&mut self, is_asked: impl Fn(&Step) -> bool) -> Option<Waiting> {
        self.waiting.take_if(|waiting| is_asked(&waiting.step))
    }

    /// A session belongs to the claimant that began it: another one on the same connection (a proxy's) does not see it.
    pub(super) fn is_foreign(&self, request: &Request) -> bool {
        let owner = self.media.as_ref().and_then(|media| media.claimant.as_deref());
        let target = Target::parse(&request.uri);
        let credentials = match &target {
            Some(target) => shown(request, target),
            None => from_header(request),
        };
        match (owner, credentials.claimant()) {
            (Some(owner), Some(claimed)) => owner != claimed,
            _ => false,
        }
    }
}

/// The `Authorization` header, else the URL's token.
fn shown(request: &Request, target: &Target) -> Credentials {
    match from_header(request) {
        Credentials::None => target.token().map_or(Credentials::None, Credentials::Token),
        credentials => credentials,
    }
}

fn from_header(request: &Request) -> Credentials {
    let header = request.headers.get("Authorization");
    header.map_or(Credentials::None, |header| {
        Credentials::parse(header, request.method.as_str())
    })
}
