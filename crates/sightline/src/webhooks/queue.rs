//! What one server is yet to be told. Without I/O, time an argument.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::events::{Event, Sight};

/// Events in their order, and how many are missing.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    most: usize,
    /// All that were ever lost, and those of them that it was not told of.
    lost: u64,
    untold: u64,
    ended: bool,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    event: Arc<Event>,
    since: Instant,
}

/// What is told by one request.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// That events are missing before this one.
    Missed {
        count: u64,
        /// All that were lost until then, which makes it another message than the one before.
        lost: u64,
        next: Waiting,
    },
    /// What happened.
    Event(Waiting),
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Message(Message),
    /// Nothing yet.
    Wait,
    /// Nothing any more.
    End,
}

impl Queue {
    /// Of at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            most,
            lost: 0,
            untold: 0,
            ended: false,
        }
    }

    /// One more. Whether the oldest was lost by it.
    pub(super) fn push(&mut self, event: Arc<Event>, now: Instant) -> bool {
        self.waiting.push_back(Waiting { event, since: now });
        let is_too_much = self.waiting.len() > self.most;
        if is_too_much {
            self.waiting.pop_front();
            self.lose(1);
        }
        is_too_much
    }

    /// So many were never heard.
    pub(super) fn lose(&mut self, count: u64) {
        self.lost = self.lost.saturating_add(count);
        self.untold = self.untold.saturating_add(count);
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes the next message out: it is whoever takes it that knows what became of it.
    pub(super) fn next(&mut self) -> Next {
        match self.waiting.front() {
            None if self.ended => Next::End,
            None => Next::Wait,
            Some(next) if self.untold > 0 => Next::Message(Message::Missed {
                count: self.untold,
                lost: self.lost,
                next: next.clone(),
            }),
            Some(_) => match self.waiting.pop_front() {
                Some(next) => Next::Message(Message::Event(next)),
                None => Next::Wait,
            },
        }
    }

    /// It was told so.
    pub(super) fn told(&mut self, message: &Message) {
        if let Message::Missed { count, .. } = message {
            self.untold = self.untold.saturating_sub(*count);
        }
    }

    /// Gives up what waits for longer than `most`, this message too if it does. Whether it does.
    pub(super) fn give_up(&mut self, message: &Message, now: Instant, most: Duration) -> bool {
        let is_old = |waiting: &Waiting| now.saturating_duration_since(waiting.since) >= most;
        // Those behind it are no older.
        let (Message::Event(taken) | Message::Missed { next: taken, .. }) = message;
        if !is_old(taken) {
            return false;
        }
        if matches!(message, Message::Event(_)) {
            self.lose(1);
        }
        while self.waiting.front().is_some_and(is_old) {
            self.waiting.pop_front();
            self.lose(1);
        }
        true
    }

    /// How many wait, and how many were lost.
    pub(super) fn figures(&self) -> (usize, u64) {
        (self.waiting.len(), self.lost)
    }
}

impl Message {
    /// The same for each attempt, and for no other message.
    pub(super) fn id(&self) -> String {
        match self {
            Self::Event(waiting) => format!("event_{}", waiting.event.id),
            Self::Missed { lost, next, .. } => format!("missed_{lost}_{}", next.event.id),
        }
    }

    /// What is sent.
    pub(super) fn body(&self) -> String {
        match self {
            Self::Event(waiting) => serde_json::to_string(&waiting.event.form(Sight::Whole)).unwrap_or_default(),
            Self::Missed { count, .. } => format!("{{\"kind\":\"missed\",\"missed\":{count}}}"),
        }
    }

    /// The event that it tells.
    pub(super) fn event(&self) -> Option<u64> {
        match self {
            Self::Event(waiting) => Some(waiting.event.id),
            Self::Missed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::What;
    use media::WallTime;

    fn event(id: u64) -> Arc<Event> {
        let at = WallTime::from_unix_micros(0);
        let what = What::ProgramStarted;
        Arc::new(Event { id, at, what })
    }

    fn next(queue: &mut Queue) -> (String, String) {
        match queue.next() {
            Next::Message(message) => {
                queue.told(&message);
                (message.id(), message.body())
            }
            other => (format!("{other:?}"), String::new()),
        }
    }

    #[test]
    fn the_oldest_are_lost_and_told() {
        let (mut queue, now) = (Queue::new(3), Instant::now());
        let lost: Vec<bool> = (1..=5).map(|id| queue.push(event(id), now)).collect();
        assert_eq!(lost, [false, false, false, true, true]);
        assert_eq!(queue.figures(), (3, 2));
        let told = next(&mut queue);
        assert_eq!(
            told,
            ("missed_2_3".to_owned(), "{\"kind\":\"missed\",\"missed\":2}".to_owned())
        );
        assert_eq!([(); 3].map(|()| next(&mut queue).0), ["event_3", "event_4", "event_5"]);
        assert_eq!(next(&mut queue).0, "Wait");
        queue.end();
        assert_eq!(next(&mut queue).0, "End");
    }

    /// What is lost while it is told how many were is told the next time, under another id.
    #[test]
    fn what_is_lost_meanwhile_is_told_too() {
        let (mut queue, now) = (Queue::new(1), Instant::now());
        queue.push(event(1), now);
        queue.push(event(2), now);
        let Next::Message(first) = queue.next() else { panic!() };
        queue.push(event(3), now);
        queue.told(&first);
        assert_eq!(first.id(), "missed_1_2");
        assert_eq!(next(&mut queue).0, "missed_2_3");
        assert_eq!(next(&mut queue).0, "event_3");
    }

    #[test]
    fn what_is_too_old_is_given_up() {
        let (mut queue, start) = (Queue::new(9), Instant::now());
        let hour = Duration::from_secs(3_600);
        for (id, minutes) in [(1, 0), (2, 1), (3, 30)] {
            queue.push(event(id), start + Duration::from_secs(minutes * 60));
        }
        let Next::Message(first) = queue.next() else { panic!() };
        assert!(!queue.give_up(&first, start + hour - Duration::from_secs(1), hour));
        assert_eq!(queue.figures(), (2, 0));
        assert!(queue.give_up(&first, start + hour + Duration::from_secs(60), hour));
        assert_eq!(queue.figures(), (1, 2));
        assert_eq!(next(&mut queue).0, "missed_2_3");
        assert_eq!(next(&mut queue).0, "event_3");
    }
}
