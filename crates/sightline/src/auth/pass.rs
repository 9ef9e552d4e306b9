//! Credentials of programs that we run: for one stream, and for as long as the program runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media::StreamName;

use super::Presented;
use crate::secret::Secret;

/// The user name that goes with every one of them.
const USER: &str = "program";

/// A credential to publish one stream, which is void when this is dropped.
#[derive(Debug)]
pub struct Pass {
    passes: Passes,
    issued: Issued,
}

/// Those that are good.
#[derive(Clone, Debug, Default)]
pub(super) struct Passes(Arc<Mutex<Vec<Issued>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Issued {
    stream: StreamName,
    secret: Secret,
}

impl Pass {
    /// User and password.
    pub fn credential(&self) -> (&'static str, &Secret) {
        (USER, &self.issued.secret)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.passes.lock().retain(|issued| *issued != self.issued);
    }
}

impl Passes {
    pub(super) fn issue(&self, stream: &StreamName, random: fn() -> u64) -> Pass {
        let issued = Issued {
            stream: stream.clone(),
            secret: Secret::new(format!("{:016x}{:016x}", random(), random())),
        };
        self.lock().push(issued.clone());
        Pass {
            passes: self.clone(),
            issued,
        }
    }

    /// The stream whose pass this is.
    pub(super) fn stream(&self, presented: Presented<'_>) -> Option<StreamName> {
        let is_right = |secret: &Secret| match presented {
            Presented::Nothing | Presented::Token(_) => false,
            Presented::Basic { user, password } => secret.matches(password) & (user == USER),
            Presented::Digest { user, verify } => user == USER && verify(secret.expose()),
        };
        let issued = self.lock();
        issued
            .iter()
            .find(|issued| is_right(&issued.secret))
            .map(|issued| issued.stream.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Issued>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
