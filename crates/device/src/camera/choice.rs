//! Which encoder a camera uses, and what happens when that changes.
//!
//! openh264 begins at once. What else there may be is tried out beside it, and takes over where it is better.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use media::Clock;

use super::mailbox::Mailbox;
use crate::encode::{self, Chosen, Encoder, Error, Output, Preference, Settings, choose, has_choice};

/// A child that fails twice within this time is given up for openh264.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

pub(super) struct Choice {
    clock: Arc<dyn Clock>,
    mailbox: Arc<Mailbox>,
    preference: Preference,
    chosen: Chosen,
    why: String,
    trial: Trial,
    last_failure: Option<Instant>,
}

enum Trial {
    /// Begins with the first pictures, whose size it needs.
    Due,
    Running(Receiver<(Chosen, String)>),
    Done,
}

impl Choice {
    pub(super) fn new(preference: Preference, clock: &Arc<dyn Clock>, mailbox: &Arc<Mailbox>) -> Self {
        let (trial, why) = if has_choice(preference) {
            (Trial::Due, "until others have been tried".to_owned())
        } else {
            let settings = Settings::default();
            let (_, why) = choose(preference, &settings, &**clock, &|| true);
            (Trial::Done, why)
        };
        Self {
            clock: Arc::clone(clock),
            mailbox: Arc::clone(mailbox),
            preference,
            chosen: Chosen::OpenH264,
            why,
            trial,
            last_failure: None,
        }
    }

    /// Why this encoder, for people.
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// Whether another encoder has been chosen since the last call: the one in use has to be made anew.
    pub(super) fn changed(&mut self) -> bool {
        let Trial::Running(result) = &self.trial else {
            return false;
        };
        let before = self.chosen;
        match result.try_recv() {
            Ok((chosen, why)) => (self.chosen, self.why) = (chosen, why),
            Err(mpsc::TryRecvError::Empty) => return false,
            Err(mpsc::TryRecvError::Disconnected) => "the trial of others failed".clone_into(&mut self.why),
        }
        self.trial = Trial::Done;
        self.chosen != before
    }

    /// Makes the encoder. The first time, this also begins the trial.
    pub(super) fn make(&mut self, settings: Settings, output: Output) -> Result<Box<dyn Encoder>, Error> {
        let made = self.chosen.make(settings, output)?;
        if matches!(self.trial, Trial::Due) {
            self.trial = self.begin_trial(settings);
        }
        Ok(made)
    }

    /// The encoder failed. `true`: another can be made at once.
    pub(super) fn failed(&mut self, error: &encode::Error) -> bool {
        if self.chosen == Chosen::OpenH264 {
            return false;
        }
        let now = self.clock.now();
        let again = self
            .last_failure
            .is_some_and(|last| now.saturating_duration_since(last) < FORGIVEN_AFTER);
        self.last_failure = Some(now);
        if again || matches!(error, Error::Refused { .. }) {
            self.chosen = Chosen::OpenH264;
            self.why = error.to_string();
        }
        true
    }

    fn begin_trial(&self, settings: Settings) -> Trial {
        let (to, result) = mpsc::channel();
        let (preference, clock, mailbox) = (self.preference, Arc::clone(&self.clock), Arc::clone(&self.mailbox));
        let entered = self.mailbox.enter();
        let thread = thread::Builder::new().name("camera-trial".to_owned()).spawn(move || {
            let give_up = || mailbox.is_stopping();
            // Nobody listens once the camera has ended.
            let _ = to.send(choose(preference, &settings, &*clock, &give_up));
            drop(entered);
        });
        match thread {
            Ok(_) => Trial::Running(result),
            Err(_) => Trial::Done,
        }
    }
}
