//! What one page has been told, and what it is told next.
//!
//! Sans I/O: the socket asks for the next message when it takes one, and what holds *then* is said. So a page that does not read costs what is in here and
//! nothing more, and loses nothing that still holds.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::board::{Board, Key, Told};
use super::class::Class;
use super::words::{Detail, Topics};
use crate::auth::Action;
use crate::events::{Heard, Listener};
use crate::http::sight;

/// Answers that wait for a page that says much and reads nothing.
const MOST_ANSWERS: usize = 16;
/// What is told in turns, so that much of one does not hold up the others.
const TURNS: u8 = 4;

/// See the module.
pub(crate) struct Seat {
    class: Arc<Class>,
    hello: Hello,
    walk: Option<Walk>,
    /// Of what is known it was told up to this change.
    position: u64,
    keys: bool,
    figures: bool,
    /// Each with the change that it was told; 0: none.
    details: Vec<(Key, u64)>,
    /// The newest sample that it was told of.
    sample: u64,
    /// Messages of a sample that belong together, and how many of them it was told.
    parts: Option<(Arc<[Bytes]>, usize)>,
    events: Listener,
    answers: VecDeque<Bytes>,
    turn: u8,
}

/// What a page is greeted with, besides who it is: from the program.
#[derive(Clone, Debug)]
pub(crate) struct Hello(pub(crate) Arc<str>);

/// All that holds is told, key by key.
struct Walk {
    /// It was told who it is.
    greeted: bool,
    last: Option<Key>,
}

impl Seat {
    /// Of somebody who has been told nothing yet.
    pub(crate) fn new(class: Arc<Class>, hello: Hello, events: Listener) -> Self {
        let Topics { keys, figures, .. } = Topics::FIRST;
        Self {
            class,
            hello,
            walk: Some(Walk {
                greeted: false,
                last: None,
            }),
            position: 0,
            keys,
            figures,
            details: Vec::new(),
            sample: 0,
            parts: None,
            events,
            answers: VecDeque::new(),
            turn: 0,
        }
    }

    /// Who sits there.
    pub(crate) fn class(&self) -> &Arc<Class> {
        &self.class
    }

    /// It has other rights from now on: all is told anew.
    pub(crate) fn now_is(&mut self, class: Arc<Class>) {
        self.class = class;
        self.walk = Some(Walk {
            greeted: false,
            last: None,
        });
        self.parts = None;
        for (_, told) in &mut self.details {
            *told = 0;
        }
    }

    /// It shows this from now on.
    pub(crate) fn want(&mut self, topics: Topics) {
        (self.keys, self.figures) = (topics.keys, topics.figures);
        let before = std::mem::take(&mut self.details);
        let wanted = topics.details.into_iter().map(Key::from);
        self.details = wanted
            .map(|key| {
                let told = before.iter().find(|(known, _)| *known == key);
                let told = told.map_or(0, |(_, told)| *told);
                (key, told)
            })
            .collect();
    }

    /// The details that it wants, whether it may have them or not.
    pub(crate) fn details(&self) -> impl Iterator<Item = &Key> {
        self.details.iter().map(|(key, _)| key)
    }

    /// It is answered this. Where too many answers wait, the oldest goes.
    pub(crate) fn answer(&mut self, text: Bytes) {
        if self.answers.len() >= MOST_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(text);
    }

    /// Whether it was told who it is: before that nothing else is said.
    pub(crate) fn is_greeted(&self) -> bool {
        self.walk.as_ref().is_none_or(|walk| walk.greeted)
    }

    /// What it is told next; `None`: nothing for now.
    pub(crate) fn next(&mut self, board: &mut Board) -> Option<Bytes> {
        if let Some(walk) = self.walk.as_mut().filter(|walk| !walk.greeted) {
            walk.greeted = true;
            // What changes from here on comes behind what is told now.
            self.position = board.changes();
            let (program, me) = (&self.hello.0, self.class.me());
            return Some(Bytes::from(format!(r#"{{"type":"hello",{program},"me":{me}}}"#)));
        }
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        for _ in 0..TURNS {
            let said = match self.turn {
                0 => self.next_key(board),
                1 => self.next_detail(board),
                2 => self.next_event(board),
                _ => self.next_figures(board),
            };
            self.turn = (self.turn + 1) % TURNS;
            if said.is_some() {
                return said;
            }
        }
        None
    }

    fn next_key(&mut self, board: &mut Board) -> Option<Bytes> {
        if !self.keys {
            return None;
        }
        if !board.knows_since(self.position) {
            // More went than is remembered.
            self.now_is(Arc::clone(&self.class));
            return self.next(board);
        }
        while let Some(walk) = &mut self.walk {
            let Some(key) = board.key_after(walk.last.as_ref()).cloned() else {
                self.walk = None;
                return Some(Bytes::from_static(br#"{"type":"known"}"#));
            };
            let told = board.told(&key, &self.class);
            walk.last = Some(key);
            if let Told::Text(text) = told {
                return Some(text);
            }
        }
        while let Some((change, key)) = board.changed_after(self.position) {
            let key = key.clone();
            self.position = change;
            if let Told::Text(text) = board.told(&key, &self.class) {
                return Some(text);
            }
        }
        None
    }

    fn next_detail(&mut self, board: &mut Board) -> Option<Bytes> {
        for (key, told) in &mut self.details {
            match board.change_of(key) {
                None if *told == 0 => {}
                Some(change) if change == *told => {}
                change => {
                    *told = change.unwrap_or(0);
                    if let Told::Text(text) = board.told(key, &self.class) {
                        return Some(text);
                    }
                }
            }
        }
        None
    }

    fn next_event(&mut self, board: &mut Board) -> Option<Bytes> {
        loop {
            match self.events.take()? {
                Heard::Ended => return None,
                Heard::MissedConnections(_) if !self.class.program().may(Action::Administer) => {}
                Heard::Missed(count) | Heard::MissedConnections(count) => {
                    return Some(Bytes::from(format!(r#"{{"type":"missed","events":{count}}}"#)));
                }
                Heard::Event(event) => {
                    if let Some(sight) = sight(self.class.who(), &event) {
                        return Some(board.event(&event, sight));
                    }
                }
            }
        }
    }

    fn next_figures(&mut self, board: &mut Board) -> Option<Bytes> {
        if let Some((texts, told)) = &mut self.parts {
            *told += 1;
            if let Some(text) = texts.get(*told) {
                return Some(text.clone());
            }
            self.parts = None;
        }
        if !self.figures || self.sample == board.samples() || !self.class.some().may(Action::View) {
            return None;
        }
        self.sample = board.samples();
        let texts = board.figures(&self.class);
        let first = texts.first().cloned();
        self.parts = (texts.len() > 1).then_some((texts, 0));
        first
    }
}

impl From<Detail> for Key {
    fn from(detail: Detail) -> Self {
        match detail {
            Detail::Camera(name) => Self::Camera(name),
            Detail::Sessions(name) => Self::Sessions(name),
        }
    }
}
