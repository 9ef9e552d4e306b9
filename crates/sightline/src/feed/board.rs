//! What is known, under keys, and its texts.
//!
//! Belongs here: which key changed when, the text of each for a set of rights, made once. Does not belong here: where it comes from
//! ([`super::facts`], [`super::sampler`]), who has been told ([`super::seat`]).
//!
//! Every change has a number. A key has that of its newest change alone, so whoever knows up to which number it was told knows all that is new to it, and nothing
//! is kept for anybody: a page that does not read costs a number.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use media::StreamName;

use super::class::Class;
use super::facts::{Places, Value};
use super::sample::Sample;
use crate::auth::Action;
use crate::events::{Event, Sight};

/// Keys that are gone and remembered, for whoever has not been told.
const MOST_GONE: usize = 4_096;
/// Texts of one key, for different rights and hosts, that are kept.
const MOST_TEXTS: usize = 8;
/// Texts of events that are kept: whoever listens is mostly at the newest.
const MOST_EVENTS: usize = 64;
/// Sets of streams for which the figures of a second are kept.
const MOST_FIGURES: usize = 64;
/// Longest message, in bytes.
pub(crate) const MESSAGE_BYTES: usize = 64 << 10;

/// What something is known under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// What is wrong.
    Health,
    /// The machine.
    System,
    /// A stream.
    Stream(StreamName),
    /// An export, by its name in the API.
    Export(String),
    /// How a camera says it is; told to who wants it.
    Camera(StreamName),
    /// Who is at a stream; told to who wants it.
    Sessions(StreamName),
}

impl Key {
    /// Whether it is told to those alone who want it.
    pub(crate) fn is_detail(&self) -> bool {
        matches!(self, Self::Camera(_) | Self::Sessions(_))
    }

    /// On the wire.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Health => "health".to_owned(),
            Self::System => "system".to_owned(),
            Self::Stream(name) => format!("stream/{name}"),
            Self::Export(id) => format!("export/{id}"),
            Self::Camera(name) => format!("camera/{name}"),
            Self::Sessions(name) => format!("sessions/{name}"),
        }
    }
}

#[derive(Debug)]
struct Entry {
    /// The number of its newest change.
    change: u64,
    /// `None`: it is gone.
    value: Option<Value>,
    /// Whom it concerns, or concerned: who may do that to this camera.
    demands: Option<(StreamName, Action)>,
    texts: VecDeque<(Box<[u8]>, Bytes)>,
}

/// What somebody is told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// This.
    Text(Bytes),
    /// Nothing: it may not see it.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    places: Places,
    changes: u64,
    keys: BTreeMap<Key, Entry>,
    /// All but details, by their newest change.
    order: BTreeMap<u64, Key>,
    gone: VecDeque<u64>,
    /// The newest change that is not known any more.
    forgotten: u64,
    sample: Arc<Sample>,
    samples: u64,
    figures: VecDeque<(Vec<bool>, Arc<[Bytes]>)>,
    events: VecDeque<(u64, Sight, Bytes)>,
}

impl Board {
    /// Nothing is known.
    pub(crate) fn new(places: Places, sample: Arc<Sample>) -> Self {
        Self {
            places,
            changes: 0,
            keys: BTreeMap::new(),
            order: BTreeMap::new(),
            gone: VecDeque::new(),
            forgotten: 0,
            sample,
            samples: 0,
            figures: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// This holds from now on. Says whether it is new.
    pub(crate) fn set(&mut self, key: Key, value: Value) -> bool {
        let before = self.keys.get(&key);
        if before.is_some_and(|entry| entry.value.as_ref() == Some(&value)) {
            return false;
        }
        let demands = value.demands().map(|(camera, action)| (camera.clone(), action));
        let before = before.map(|entry| entry.change);
        self.put(key, before, Some(value), demands);
        true
    }

    /// It holds no more. Says whether it did.
    pub(crate) fn remove(&mut self, key: &Key) -> bool {
        let Some(entry) = self.keys.get(key).filter(|entry| entry.value.is_some()) else {
            return false;
        };
        let (before, demands) = (entry.change, entry.demands.clone());
        if key.is_detail() {
            self.changes += 1;
            self.keys.remove(key);
            return true;
        }
        self.put(key.clone(), Some(before), None, demands);
        self.gone.push_back(self.changes);
        while self.gone.len() > MOST_GONE {
            let Some(oldest) = self.gone.pop_front() else { break };
            // One that came back has another number.
            if let Some(key) = self.order.remove(&oldest) {
                self.keys.remove(&key);
                self.forgotten = oldest;
            }
        }
        true
    }

    fn put(&mut self, key: Key, before: Option<u64>, value: Option<Value>, demands: Option<(StreamName, Action)>) {
        self.changes += 1;
        if let Some(before) = before
            && self.order.remove(&before).is_some()
            && let Ok(at) = self.gone.binary_search(&before)
        {
            self.gone.remove(at);
        }
        if !key.is_detail() {
            self.order.insert(self.changes, key.clone());
        }
        let entry = Entry {
            change: self.changes,
            value,
            demands,
            texts: VecDeque::new(),
        };
        self.keys.insert(key, entry);
    }

    /// The number of the newest change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether all that changed after this number is known.
    pub(crate) fn knows_since(&self, change: u64) -> bool {
        change >= self.forgotten
    }

    /// The next that changed after this number.
    pub(crate) fn changed_after(&self, change: u64) -> Option<(u64, &Key)> {
        self.order
            .range(change.saturating_add(1)..)
            .next()
            .map(|(change, key)| (*change, key))
    }

    /// The next key that holds, by name.
    pub(crate) fn key_after(&self, key: Option<&Key>) -> Option<&Key> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = key.map_or(Unbounded, Excluded);
        let mut rest = self.keys.range((after, Unbounded));
        rest.find(|(key, entry)| entry.value.is_some() && !key.is_detail())
            .map(|(key, _)| key)
    }

    /// The newest change of a key that holds.
    pub(crate) fn change_of(&self, key: &Key) -> Option<u64> {
        let entry = self.keys.get(key).filter(|entry| entry.value.is_some())?;
        Some(entry.change)
    }

    /// All keys that hold and match.
    pub(crate) fn keys(&self, is_wanted: impl Fn(&Key) -> bool) -> Vec<Key> {
        let held = self
            .keys
            .iter()
            .filter(|(key, entry)| entry.value.is_some() && is_wanted(key));
        held.map(|(key, _)| key.clone()).collect()
    }

    /// What somebody is told of a key: that it is this, or gone.
    pub(crate) fn told(&mut self, key: &Key, class: &Class) -> Told {
        let Some(entry) = self.keys.get_mut(key) else {
            return match may_have(key, class) {
                true => Told::Text(gone(key)),
                false => Told::Nothing,
            };
        };
        let Some(value) = &entry.value else {
            let demands = entry.demands.as_ref();
            let sees = demands.is_none_or(|(name, action)| class.stream(name).may(*action));
            return if sees { Told::Text(gone(key)) } else { Told::Nothing };
        };
        let Some(variant) = value.variant(class) else {
            return Told::Nothing;
        };
        if let Some((_, text)) = entry.texts.iter().find(|(known, _)| *known == variant) {
            return Told::Text(text.clone());
        }
        let text = value.text(key, class, &self.places);
        if entry.texts.len() >= MOST_TEXTS {
            entry.texts.pop_front();
        }
        entry.texts.push_back((variant, text.clone()));
        Told::Text(text)
    }

    /// A second is over.
    pub(crate) fn sampled(&mut self, sample: Arc<Sample>) {
        self.sample = sample;
        self.samples += 1;
        self.figures.clear();
    }

    /// How many seconds were sampled.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// The newest figures for somebody.
    pub(crate) fn figures(&mut self, class: &Class) -> Arc<[Bytes]> {
        if let Some(texts) = class.figures(self.samples) {
            return texts;
        }
        let mut told: Vec<bool> = (self.sample.cameras.keys())
            .map(|name| class.stream(name).may(Action::View))
            .collect();
        let counts = class.program().may(Action::View);
        told.push(counts);
        let found = self.figures.iter().find(|(known, _)| *known == told);
        let texts = match found {
            Some((_, texts)) => Arc::clone(texts),
            None => {
                let texts: Arc<[Bytes]> = self.sample.messages(&told, counts, MESSAGE_BYTES).into();
                if self.figures.len() < MOST_FIGURES {
                    self.figures.push_back((told, Arc::clone(&texts)));
                }
                texts
            }
        };
        class.keep_figures(self.samples, &texts);
        texts
    }

    /// An event.
    pub(crate) fn event(&mut self, event: &Event, sight: Sight) -> Bytes {
        let known = self
            .events
            .iter()
            .rev()
            .find(|(id, of, _)| (*id, *of) == (event.id, sight));
        if let Some((_, _, text)) = known {
            return text.clone();
        }
        // Texts and numbers alone: nothing that could fail.
        let form = serde_json::to_string(&event.form(sight)).unwrap_or_default();
        let text = Bytes::from(format!(r#"{{"type":"event","event":{form}}}"#));
        if self.events.len() >= MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((event.id, sight, text.clone()));
        text
    }
}

/// Whether somebody may have a detail at all.
pub(super) fn may_have(key: &Key, class: &Class) -> bool {
    match key {
        Key::Camera(name) => class.stream(name).may(Action::View),
        Key::Sessions(name) => class.stream(name).may(Action::Operate),
        Key::Health | Key::System | Key::Stream(_) | Key::Export(_) => true,
    }
}

fn gone(key: &Key) -> Bytes {
    let name = serde_json::to_string(&key.name()).unwrap_or_default();
    Bytes::from(format!(r#"{{"type":"gone","key":{name}}}"#))
}
