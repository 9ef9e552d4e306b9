//! Staying alive while media flows.

use std::time::{Duration, Instant};

use super::super::auth::choose;
use super::super::header::lists_method;
use super::super::message::{Method, Request, Response, Status};
use super::session::{Session, State};
use super::{Mode, Negotiated, Step};

#[derive(Debug)]
pub(super) struct KeepAlive {
    method: Method,
    pub(super) next: Option<Instant>,
    unanswered: bool,
    /// Sent again with a new nonce already.
    retried: bool,
}

impl Session {
    /// Media flows: begins with keepalives.
    pub(super) fn flow(&mut self) {
        self.state = State::Flowing;
        let has_get = |public: &String| lists_method(public, &Method::GetParameter);
        let method = if self.public.as_ref().is_some_and(has_get) {
            Method::GetParameter
        } else {
            Method::Options
        };
        self.alive = Some(KeepAlive {
            method,
            next: self.after(self.interval()),
            unanswered: false,
            retried: false,
        });
    }

    fn interval(&self) -> Duration {
        (self.timeout / 2).clamp(MIN_INTERVAL, MAX_INTERVAL)
    }

    /// Sends a keepalive. Not every camera answers them while media flows, so an answer is missed only where nothing at all
    /// came since, and over UDP not even then: there the driver sees the media.
    pub(super) fn keep_alive(&mut self) {
        let over_udp = self
            .tracks
            .iter()
            .any(|track| matches!(track.transport, Some(Negotiated::Udp { .. })));
        let interval = self.interval();
        let heard = self
            .last_received
            .and_then(|heard| Some(self.now?.saturating_duration_since(heard)));
        let silent = heard.is_none_or(|heard| heard >= interval);
        let receives_udp = over_udp && matches!(self.mode, Mode::Play);
        let missed = self.alive.as_ref().is_some_and(|alive| alive.unanswered);
        if missed && silent && !receives_udp {
            return self.time_out(Step::KeepAlive, interval);
        }
        self.send_keep_alive();
        let next = self.after(interval);
        if let Some(alive) = &mut self.alive {
            alive.next = next;
            alive.retried = false;
        }
    }

    fn send_keep_alive(&mut self) {
        let alive = self.alive.as_ref();
        let method = alive.map_or(Method::Options, |alive| alive.method.clone());
        self.send(&Request::new(method, self.aggregate.as_str()));
        if let Some(alive) = &mut self.alive {
            alive.unanswered = true;
        }
    }

    /// What came of a keepalive. The error is a status that means the session is gone.
    pub(super) fn on_kept_alive(&mut self, response: &Response) -> Result<(), Status> {
        let Some(alive) = &mut self.alive else {
            return Ok(());
        };
        alive.unanswered = false;
        match response.status {
            Status::SESSION_NOT_FOUND => return Err(response.status),
            Status(200..=299) => {}
            // The nonce grew old: once more with the new one, at once.
            Status::UNAUTHORIZED if !alive.retried && self.login.is_some() => {
                alive.retried = true;
                if let Ok(answer) = choose(response.headers.all("WWW-Authenticate")) {
                    self.answer = Some(answer);
                    self.send_keep_alive();
                }
            }
            // Not known there, or not in the form we have: OPTIONS is known everywhere.
            _ => alive.method = Method::Options,
        }
        Ok(())
    }
}

const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Routers forget idle connections and UDP bindings sooner than servers forget sessions.
const MAX_INTERVAL: Duration = Duration::from_secs(30);
