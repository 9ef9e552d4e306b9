//! Somebody with certain rights who came by a certain name of ours: what may be told is asked once for all pages of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use media::StreamName;

use crate::auth::{Action, Object, Principal, may};
use crate::http::forms::Place;

/// Names whose rights are remembered.
const MOST_KNOWN: usize = 4_096;

/// What somebody may do to something: a bit for each of [`Action::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sight(u8);

impl Sight {
    fn of(who: &Principal, object: Object<'_>) -> Self {
        let bits = Action::ALL.iter().enumerate();
        Self(bits.fold(0, |bits, (at, action)| {
            bits | u8::from(may(who, *action, object).is_allowed()) << at
        }))
    }

    /// Whether it may do that.
    pub(crate) fn may(self, action: Action) -> bool {
        let at = Action::ALL.iter().position(|known| *known == action);
        at.is_some_and(|at| self.0 & (1 << at) != 0)
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Class {
    who: Principal,
    place: Place,
    /// Of the program, and of what it may do to some streams.
    program: Sight,
    some: Sight,
    /// Its own words for who it is, as JSON.
    me: Arc<str>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    streams: HashMap<StreamName, Sight>,
    /// Those of one sample.
    figures: Option<(u64, Arc<[Bytes]>)>,
}

impl Class {
    /// `me`: what it is told of itself, as JSON.
    pub(crate) fn new(who: Principal, place: Place, me: Arc<str>) -> Self {
        Self {
            program: Sight::of(&who, Object::Program),
            some: Sight::of(&who, Object::Some),
            who,
            place,
            me,
            known: Mutex::default(),
        }
    }

    /// Whether it is the one of this principal and place.
    pub(super) fn is(&self, who: &Principal, place: &Place) -> bool {
        self.who == *who && self.place == *place
    }

    /// Who it is.
    pub(crate) fn who(&self) -> &Principal {
        &self.who
    }

    /// Where URLs lead.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn me(&self) -> &str {
        &self.me
    }

    /// What it may do to the program.
    pub(crate) fn program(&self) -> Sight {
        self.program
    }

    /// What it may do to at least one stream.
    pub(crate) fn some(&self) -> Sight {
        self.some
    }

    /// What it may do to a stream.
    pub(crate) fn stream(&self, name: &StreamName) -> Sight {
        let mut known = self.lock();
        if let Some(sight) = known.streams.get(name) {
            return *sight;
        }
        let sight = Sight::of(&self.who, Object::Stream(name));
        if known.streams.len() >= MOST_KNOWN {
            known.streams.clear();
        }
        known.streams.insert(name.clone(), sight);
        sight
    }

    /// The figures of a sample that were made before.
    pub(super) fn figures(&self, sample: u64) -> Option<Arc<[Bytes]>> {
        let known = self.lock();
        let (of, texts) = known.figures.as_ref()?;
        (*of == sample).then(|| Arc::clone(texts))
    }

    pub(super) fn keep_figures(&self, sample: u64, texts: &Arc<[Bytes]>) {
        self.lock().figures = Some((sample, Arc::clone(texts)));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Each change of it leaves it whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Account, Role};

    #[test]
    fn rights_are_those_that_auth_gives() {
        let class = |who| Class::new(who, Place::direct("pi"), "{}".into());
        let (door, yard): (StreamName, StreamName) = ("door".parse().unwrap(), "yard".parse().unwrap());
        let operator = class(Principal::Known(Role::Operator));
        for action in Action::ALL {
            let expected = Role::Operator.actions().contain(action);
            assert_eq!(operator.stream(&door).may(action), expected, "{action:?}");
            assert_eq!(operator.program().may(action), expected, "{action:?}");
        }
        let account = class(Principal::Account(Arc::new(Account {
            name: "anna".into(),
            password: None,
            networks: Vec::new(),
            rights: "view door".parse().unwrap(),
        })));
        assert!(account.stream(&door).may(Action::View) && !account.stream(&yard).may(Action::View));
        assert!(!account.program().may(Action::View) && account.some().may(Action::View));
        // What is remembered is limited, and right all the same.
        for number in 0..MOST_KNOWN + 10 {
            let name: StreamName = format!("c{number}").parse().unwrap();
            assert!(!account.stream(&name).may(Action::View));
        }
        assert!(account.lock().streams.len() <= MOST_KNOWN && account.stream(&door).may(Action::View));
    }
}
