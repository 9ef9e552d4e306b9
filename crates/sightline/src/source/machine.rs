//! When a source is asked, and when no longer: decisions without time, chance or I/O of their own.
//!
//! Belongs here: the state of one stream's source, waits between attempts, which of several places is next, who needs it. Does not belong
//! here: asking ([`super::rtsp`]), carrying the decisions out ([`super::entry`]).

use std::time::{Duration, Instant};

use super::{Trouble, Why};
use crate::publish::shortened;

/// A camera that restarts is back within some seconds.
const FIRST: Duration = Duration::from_secs(1);
/// One that is off is looked for twice a minute.
const LONGEST: Duration = Duration::from_secs(30);
/// After a login that was refused, once, twice, … in a row. Cameras lock an account after five to ten wrong logins, for half an hour mostly: here none has
/// more than four in half an hour.
const AFTER_LOGIN: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(30 * 60),
];
/// A source that ran for so long was a good one.
const GOOD: Duration = Duration::from_secs(60);
/// How long an on-demand source goes on for nobody: somebody who changes channels may come back, and a viewer needs a moment between asking and joining.
const LINGER: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody still publishes in the source's place, …
const OCCUPIED_LOOK: Duration = Duration::from_secs(2);
/// … and whether anybody still watches.
const VIEWERS_LOOK: Duration = Duration::from_millis(500);

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody needs it.
    Idle,
    /// It is asked, for the how manieth time since it last ran.
    Connecting {
        /// From 1.
        attempt: u32,
        /// Since when.
        since: Instant,
    },
    /// Frames come.
    Running {
        /// Since when.
        since: Instant,
    },
    /// It is asked again later.
    Waiting {
        /// When.
        until: Instant,
        /// What was wrong.
        why: Why,
    },
    /// It failed, and is not asked again before somebody needs it.
    Failed(Why),
}

impl State {
    /// In a word, for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting { .. } => "connecting",
            Self::Running { .. } => "running",
            Self::Waiting { .. } => "waiting",
            Self::Failed(_) => "failed",
        }
    }

    /// What is wrong.
    pub fn why(&self) -> Option<&Why> {
        match self {
            Self::Waiting { why, .. } | Self::Failed(why) => Some(why),
            Self::Idle | Self::Connecting { .. } | Self::Running { .. } => None,
        }
    }
}

/// What is set for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Its places, at least one.
    pub(super) places: usize,
    /// Which of them ask the same machine: the first of those, for each. Who is refused there once is not asked there again by another path.
    pub(super) hosts: [u8; MOST_PLACES],
    pub(super) on_demand: bool,
}

/// Places of one source at the most.
pub(super) const MOST_PLACES: usize = crate::config::stream_source::MOST;

/// What goes on around it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) viewers: usize,
    /// Who publishes the stream in its place.
    pub(super) occupied: Option<Why>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask this one of its places. The answer is [`Machine::ended`].
    Start { place: usize },
    /// Nothing, but look again then.
    Stay { until: Option<Instant> },
    /// End the attempt. The answer is [`Machine::ended`].
    Stop,
}

/// Decides for one stream.
#[derive(Debug)]
pub(super) struct Machine {
    rules: Rules,
    state: State,
    /// Attempts since it last ran.
    attempts: u32,
    /// The place that is asked, or is next.
    place: usize,
    /// Whether all places of this round failed in a way that lasts.
    lasting: bool,
    /// Rounds that failed, for the wait.
    rounds: u32,
    /// Hosts that refused the login in this round, as bits.
    refused: u32,
    /// Rounds in a row in which one did.
    refusals: usize,
    /// What one of them said of a login in this round: it is what a person can mend, whatever is wrong with the others.
    login: Option<Why>,
    /// When somebody last needed it.
    needed: Option<Instant>,
    /// Asked no earlier, whoever needs it.
    not_before: Option<Instant>,
}

impl Machine {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Idle,
            attempts: 0,
            place: 0,
            lasting: true,
            rounds: 0,
            refused: 0,
            refusals: 0,
            login: None,
            needed: None,
            not_before: None,
        }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The place that is asked, or is next.
    pub(super) fn place(&self) -> usize {
        self.place
    }

    /// Somebody looks for the stream.
    pub(super) fn wanted(&mut self, now: Instant) {
        self.needed = Some(now);
        if let State::Failed(why) = &self.state {
            let why = why.clone();
            let until = self.not_before.unwrap_or(now).max(now);
            self.state = State::Waiting { until, why };
        }
    }

    /// What is to be done now.
    pub(super) fn look(&mut self, seen: &Seen, now: Instant) -> Step {
        if seen.viewers > 0 {
            self.needed = Some(now);
        }
        let is_needed = self.is_needed(now);
        match &self.state {
            State::Connecting { .. } | State::Running { .. } if !is_needed => Step::Stop,
            State::Connecting { .. } | State::Running { .. } => Step::Stay {
                until: self.rules.on_demand.then_some(now + VIEWERS_LOOK),
            },
            State::Waiting { why, .. } if !is_needed => {
                self.state = State::Failed(why.clone());
                Step::Stay { until: None }
            }
            State::Waiting { until, .. } if now < *until => Step::Stay {
                until: Some(self.needed_until().map_or(*until, |end| end.min(*until))),
            },
            State::Idle | State::Failed(_) if !is_needed => Step::Stay { until: None },
            State::Idle | State::Failed(_) | State::Waiting { .. } => self.start(seen, now),
        }
    }

    /// Its first frame is there.
    pub(super) fn runs(&mut self, now: Instant) {
        self.state = State::Running { since: now };
        self.attempts = 0;
        self.refused = 0;
        self.refusals = 0;
        self.login = None;
    }

    /// Until when it is to be remembered, though nobody needs it: its login was refused, and would be shown too early if it were wanted anew.
    pub(super) fn remembered_until(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.refusals > 0)
    }

    /// An attempt ended: `None` when it was stopped. `chance` is any number.
    pub(super) fn ended(&mut self, why: Option<Why>, now: Instant, chance: u64) {
        let ran = match &self.state {
            State::Running { since } => Some(now.saturating_duration_since(*since)),
            _ => None,
        };
        let Some(why) = why else {
            *self = Self {
                needed: self.needed,
                // It may not have come to the login.
                refusals: self.refusals,
                ..Self::new(self.rules)
            };
            return;
        };
        if why.trouble == Trouble::Occupied {
            self.begin_anew(now + OCCUPIED_LOOK, why);
            return;
        }
        self.lasting &= why.trouble.is_lasting() && ran.is_none();
        if why.trouble == Trouble::Login {
            self.refused |= self.host(self.place);
        }
        if matches!(why.trouble, Trouble::Login | Trouble::LoginNeeded) && self.login.is_none() {
            self.login = Some(why.clone());
        }
        let next = (self.place + 1..self.rules.places).find(|&next| self.refused & self.host(next) == 0);
        if let Some(next) = next.filter(|_| ran.is_none()) {
            self.place = next;
            self.wait(now, why);
            return;
        }
        if ran.is_some_and(|ran| ran >= GOOD) {
            self.rounds = 0;
        }
        let wait = if self.lasting { LONGEST } else { backoff(self.rounds) };
        self.rounds = self.rounds.saturating_add(1);
        // Whatever else is wrong: the account is asked for again in the next round.
        let after_login = match self.refused {
            0 => Duration::ZERO,
            _ => self.after_login(),
        };
        let why = self.login.take().unwrap_or(why);
        self.begin_anew(now + shortened(wait, chance).max(after_login), why);
    }

    fn after_login(&mut self) -> Duration {
        let [.., longest] = AFTER_LOGIN;
        let wait = AFTER_LOGIN.get(self.refusals).copied().unwrap_or(longest);
        self.refusals = self.refusals.saturating_add(1);
        wait
    }

    /// The machine of a place, as a bit.
    fn host(&self, place: usize) -> u32 {
        let first = self.rules.hosts.get(place).copied().unwrap_or_default();
        1_u32.checked_shl(u32::from(first)).unwrap_or_default()
    }

    fn start(&mut self, seen: &Seen, now: Instant) -> Step {
        if let Some(why) = &seen.occupied {
            let until = now + OCCUPIED_LOOK;
            self.begin_anew(until, why.clone());
            return Step::Stay { until: Some(until) };
        }
        self.attempts = self.attempts.saturating_add(1);
        self.state = State::Connecting {
            attempt: self.attempts,
            since: now,
        };
        Step::Start { place: self.place }
    }

    /// The first URL is next.
    fn begin_anew(&mut self, at: Instant, why: Why) {
        self.place = 0;
        self.lasting = true;
        self.refused = 0;
        self.login = None;
        self.wait(at, why);
    }

    fn wait(&mut self, until: Instant, why: Why) {
        self.not_before = Some(until);
        self.state = State::Waiting { until, why };
    }

    fn is_needed(&self, now: Instant) -> bool {
        !self.rules.on_demand || self.needed_until().is_some_and(|end| now < end)
    }

    /// `None` for one that is always needed, and for one that never was.
    fn needed_until(&self) -> Option<Instant> {
        self.needed
            .filter(|_| self.rules.on_demand)
            .map(|needed| needed + LINGER)
    }
}

/// The wait after so many rounds before it.
fn backoff(rounds: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(rounds)).min(LONGEST)
}

#[cfg(test)]
mod tests;
