//! From a peer to who it is: what is ours first, then whoever else decides.
//!
//! Belongs here: who is asked, in which order, what an answer of elsewhere comes to beside what is free. Does not belong here: credentials of ours
//! (`super::policy`), asking ([`super::authority`]), what somebody may do ([`super::may`]).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use media::{StreamName, WallTime};

use super::authority::{Answer, Authority, Elsewhere, Question, Vouched, Wants, Way, WhyNot};
use super::people::Grant;
use super::{Action, Auth, Decision, Mode, Object, Presented, Principal, Refusal, may};
use crate::secret::Secret;

/// Who a peer is, or somebody who knows it.
#[must_use]
pub enum Verdict<'a> {
    /// That is known here.
    Known(Result<Principal, Refusal>),
    /// Somebody else decides.
    Ask(Box<Asking<'a>>),
}

/// A question that is to be asked.
pub struct Asking<'a> {
    auth: &'a Auth,
    authority: Arc<dyn Authority>,
    question: Question,
    /// Who it is if the answer is no.
    else_is: Option<Principal>,
    /// Who it is if there is none.
    while_away: Option<Principal>,
    /// Who it is besides what is vouched for.
    free: Option<Principal>,
    exempt: Vouched,
    /// By RTSP one thing is asked for.
    does: Option<(Action, StreamName)>,
    now: Instant,
}

impl Verdict<'_> {
    /// Waits for the answer of elsewhere, where one is needed.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn settled(self) -> Result<Principal, Refusal> {
        match self {
            Self::Known(known) => known,
            Self::Ask(asking) => asking.ask().await,
        }
    }

    /// Without asking anybody else, who then is as good as away.
    #[cfg(test)]
    pub(super) fn at_once(self) -> Result<Principal, Refusal> {
        match self {
            Self::Known(known) => known,
            Self::Ask(asking) => asking.take(&Answer::Away),
        }
    }
}

impl Asking<'_> {
    async fn ask(self: Box<Self>) -> Result<Principal, Refusal> {
        let authority = Arc::clone(&self.authority);
        let answer = authority.ask(self.question.clone()).await;
        self.take(&answer)
    }

    /// What an answer comes to.
    fn take(self: Box<Self>, answer: &Answer) -> Result<Principal, Refusal> {
        let (shows, remote) = (self.question.shows_something(), self.question.remote);
        let found = match answer {
            Answer::Yes(vouched) => {
                if shows && self.authority.proves() {
                    self.auth.guard.succeeded(remote, self.now);
                }
                let vouched = Vouched {
                    allowed: vouched.allowed.or(&self.exempt.allowed),
                    by: self.exempt.by,
                    ..vouched.clone()
                };
                beside(self.free, Ok(Principal::Vouched(Arc::new(vouched))))
            }
            Answer::No(why) => {
                let is_guess =
                    || why.is_guess() || (!why.is_signed() && self.auth.may_be_meant_for_us(&self.question.user));
                if shows && is_guess() {
                    self.auth.guard.failed(remote, self.now);
                }
                self.else_is.ok_or(match (shows, why) {
                    (false, _) => Refusal::Missing,
                    (true, WhyNot::Refused | WhyNot::Missing | WhyNot::Unasked) => Refusal::Wrong,
                    (true, why) => Refusal::Token(*why),
                })
            }
            Answer::Away => {
                if shows && self.auth.may_be_meant_for_us(&self.question.user) {
                    self.auth.guard.failed(remote, self.now);
                }
                self.while_away.ok_or(Refusal::Away)
            }
        };
        match self.does {
            Some((action, stream)) => allowed(found?, action, &stream),
            None => found,
        }
    }
}

impl Auth {
    /// Who an RTSP peer is, if it may do `action` to `stream`.
    ///
    /// The refusal says what to answer: a challenge for all but [`Refusal::Forbidden`], and those who have to wait.
    pub fn rtsp(
        &self,
        way: &Way<'_>,
        presented: Presented<'_>,
        action: Action,
        stream: &StreamName,
        now: Instant,
    ) -> Verdict<'_> {
        let rules = self.rules();
        let known = if rules.mode == Mode::Open {
            Some(rules.anyone())
        } else if rules.rtsp_is_free_for(way.remote) {
            // RTSP has no recordings.
            Some(Principal::Near { replays: false })
        } else {
            self.passes.stream(presented).map(Principal::Program)
        };
        let object = Object::Stream(stream);
        let verdict = match known {
            Some(known) => Verdict::Known(Ok(known)),
            None => self.known_or_asked(None, way, presented, Wants::Do(action, object), now),
        };
        match verdict {
            Verdict::Known(known) => Verdict::Known(known.and_then(|who| allowed(who, action, stream))),
            Verdict::Ask(mut asking) => {
                asking.does = Some((action, stream.clone()));
                Verdict::Ask(asking)
            }
        }
    }

    /// Who an HTTP peer is. `session` is the one that its cookie proves; what it presents beside it counts more. Where no credential is
    /// needed, a right one is heeded all the same, and adds to what may be done; a wrong one is no reason to turn somebody away.
    ///
    /// It is never refused with [`Refusal::Forbidden`]: what a principal may do, [`may`] says.
    pub fn http_from(
        &self,
        way: &Way<'_>,
        presented: Presented<'_>,
        session: Option<Arc<Grant>>,
        wants: Wants<'_>,
        now: Instant,
    ) -> Verdict<'_> {
        let free = self.rules().http_is_free_for(way.remote);
        match (presented, session) {
            (Presented::Nothing, Some(session)) => Verdict::Known(beside(free, Ok(Principal::Granted(session)))),
            _ => self.known_or_asked(free, way, presented, wants, now),
        }
    }

    /// Who somebody is now whom an authority vouched for, or whoever came for what it need not be asked about. It is not asked again: what it said holds until
    /// that ends or another is in force; what is free is looked at anew. `None`: nobody vouched.
    pub fn still_vouched(
        &self,
        who: &Principal,
        remote: IpAddr,
        now: Instant,
        wall: WallTime,
    ) -> Option<Result<Principal, Refusal>> {
        let Principal::Vouched(vouched) = who.known() else {
            return None;
        };
        let rules = self.rules();
        let free = rules.http_is_free_for(remote);
        let in_force = rules.elsewhere.as_ref().filter(|it| it.number == vouched.by);
        let Some(elsewhere) = in_force else {
            return Some(Err(Refusal::Wrong));
        };
        if !vouched.has_shown {
            let nobody = self.own(&rules, remote, Presented::Nothing, now).ok().flatten();
            let unasked = elsewhere.unasked(nobody.as_ref());
            let is = free.or_else(|| Some(unasked).filter(Principal::may_something));
            return Some(is.ok_or(Refusal::Missing));
        }
        if vouched.until.is_some_and(|until| wall >= until) {
            return Some(Err(Refusal::Wrong));
        }
        Some(beside(free, Ok(who.known().clone())))
    }

    /// Whether what was shown with this name, and is no secret of ours, may have been a guess at one that people choose. Tokens that we make have 128 bits.
    fn may_be_meant_for_us(&self, user: &str) -> bool {
        let rules = self.rules();
        let is_ours = || rules.has_account_of(user) || self.everybody().named(user).is_some();
        matches!(rules.mode, Mode::Single(_)) || (!user.is_empty() && is_ours())
    }

    fn known_or_asked(
        &self,
        free: Option<Principal>,
        way: &Way<'_>,
        presented: Presented<'_>,
        wants: Wants<'_>,
        now: Instant,
    ) -> Verdict<'_> {
        let rules = self.rules();
        let own = self.own(&rules, way.remote, presented, now);
        let Some(elsewhere) = &rules.elsewhere else {
            return Verdict::Known(beside(free, self.judged(own, presented, way.remote, now)));
        };
        match own {
            Ok(Some(who)) if !who.is_nobody() => Verdict::Known(beside(free, Ok(who))),
            Err(refusal) => Verdict::Known(beside(free, Err(refusal))),
            Ok(nobody) => self.elsewhere(elsewhere, free, nobody.as_ref(), way, presented, wants, now),
        }
    }

    /// Of somebody who shows nothing of ours. `nobody` is whoever shows nothing, by accounts of ours.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of one question, each from elsewhere"
    )]
    fn elsewhere(
        &self,
        elsewhere: &Elsewhere,
        free: Option<Principal>,
        nobody: Option<&Principal>,
        way: &Way<'_>,
        presented: Presented<'_>,
        wants: Wants<'_>,
        now: Instant,
    ) -> Verdict<'_> {
        let unasked = elsewhere.unasked(nobody);
        let is_shown = !matches!(presented, Presented::Nothing);
        let mut of_some = None;
        if let Wants::Do(action, object) = wants
            && let Some(who) = (free.iter().chain([&unasked])).find(|who| may(who, action, object).is_allowed())
        {
            // Of several streams whoever shows something may see more than whoever comes.
            if object != Object::Some || !is_shown {
                return Verdict::Known(Ok(who.clone()));
            }
            of_some = Some(who.clone());
        }
        let shown = shown(presented);
        let asked = wants
            .asked()
            .filter(|(verb, _)| elsewhere.decides_api || *verb != super::authority::Verb::Api);
        let while_away = of_some.or_else(|| free.clone());
        let else_is = while_away.clone().or_else(|| (!is_shown).then_some(unasked));
        // Who may nothing at all is asked for a credential.
        let else_is = else_is.filter(Principal::may_something);
        Verdict::Ask(Box::new(Asking {
            auth: self,
            authority: Arc::clone(&elsewhere.authority),
            question: Question {
                user: shown.user,
                password: shown.password,
                token: shown.token,
                remote: way.remote,
                wants: asked,
                protocol: way.protocol,
                query: way.query.into(),
                agent: way.agent.into(),
                repeats: way.repeats,
            },
            else_is,
            while_away,
            free,
            exempt: elsewhere.exempt(),
            does: None,
            now,
        }))
    }
}

/// What was shown, as it is asked about.
struct Parts {
    user: Box<str>,
    password: Secret,
    token: Secret,
}

/// `user:password` as a token is both, as MediaMTX has it for clients that have no place for them; a password stands for a token, too. Of a Digest nobody knows
/// the password.
fn shown(presented: Presented<'_>) -> Parts {
    let (user, password, token) = match presented {
        Presented::Nothing => ("", "", ""),
        Presented::Basic { user, password } => (user, password, password),
        Presented::Digest { user, .. } => (user, "", ""),
        Presented::Token(token) => match token.split_once(':') {
            Some((user, password)) if !password.contains(':') => (user, password, password),
            _ => ("", "", token),
        },
    };
    Parts {
        user: user.into(),
        password: Secret::new(password),
        token: Secret::new(token),
    }
}

/// Somebody who is known, where something is free for whoever comes.
pub(super) fn beside(free: Option<Principal>, known: Result<Principal, Refusal>) -> Result<Principal, Refusal> {
    match (free, known) {
        (None, known) => known,
        (Some(free), Err(_)) => Ok(free),
        (Some(free), Ok(known)) => Ok(with_free(free, known)),
    }
}

/// The same of somebody who is known in any case.
pub(super) fn with_free(free: Principal, known: Principal) -> Principal {
    let replays = matches!(
        free,
        Principal::Near { replays: true } | Principal::Anyone { replays: true }
    );
    match known {
        known if known.is_nobody() => free,
        known if known.covers(&free) => known,
        known => Principal::Beside {
            known: Arc::new(known),
            replays,
        },
    }
}

/// Somebody who may do this.
fn allowed(who: Principal, action: Action, stream: &StreamName) -> Result<Principal, Refusal> {
    match may(&who, action, stream) {
        Decision::Allow => Ok(who),
        Decision::Deny { .. } if who.is_nobody() => Err(Refusal::Missing),
        denied => Err(Refusal::Forbidden(denied)),
    }
}
