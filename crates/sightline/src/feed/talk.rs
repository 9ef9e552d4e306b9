//! A page on its socket: its seat, and its place in the room where people chat.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use protocol::status::Bucket;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::board::{Key, may_have};
use super::class::Class;
use super::facts::json;
use super::seat::Seat;
use super::words::{self, MAX_BYTES, Of, Topics, Word};
use super::{Feed, Full, NEWEST, Wanting};
use crate::auth::Action;
use crate::shutdown::Shutdown;
use crate::status::Joined;
use crate::websocket::{self, Next, Sizes, Talk};

/// What a page may say in a second; three times as much at once.
const WORDS_PER_SECOND: u32 = 20;
/// Between two answers that not everything was heard.
const WARN_AGAIN: Duration = Duration::from_secs(1);
/// Whether a credential still holds is asked so often, whatever happens, and when the time of one is over.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// A page that says nothing is asked for a sign of life, and is gone after the second of these.
const PATIENCE: [Duration; 2] = [Duration::from_secs(25), Duration::from_secs(60)];
/// For the last words.
const GOODBYE: Duration = Duration::from_millis(200);
/// The credential has ended.
const SIGNED_OUT: CloseCode = CloseCode::Library(4_401);

pub(crate) const SIZES: Sizes = Sizes {
    // One that is too long is told so, up to this.
    heard_bytes: 2 * MAX_BYTES,
    said_bytes: super::board::MESSAGE_BYTES,
};

/// Asks once more who somebody is.
pub(crate) type Again = Box<dyn Fn() -> Answer + Send>;

/// Who it is.
pub(crate) enum Answer {
    /// This one, who may see something, with a place in the room.
    Still(Arc<Class>),
    /// Nobody any more.
    Ended,
    /// It cannot be said now.
    Later,
}

/// See the module.
pub(crate) struct Page {
    feed: Arc<Feed>,
    _place: Place,
    number: u64,
    seat: Seat,
    joined: Joined,
    again: Again,
    /// The rules by which it was let in.
    rules: u64,
    asked: Instant,
    words: Bucket,
    warned: Option<Instant>,
}

impl Feed {
    /// A page looks. `after`: the newest event that it knows. `limit`: of pages.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn open(
        self: &Arc<Self>,
        class: Arc<Class>,
        after: Option<u64>,
        again: Again,
        limit: usize,
    ) -> Result<Page, Full> {
        let place = Place(Arc::clone(self));
        if self.seats.fetch_add(1, Relaxed) >= limit {
            return Err(Full::Pages(limit));
        }
        let may_view = class.some().may(Action::View);
        let joined = self
            .world
            .status
            .join_chat(class.who().name().to_owned(), may_view)
            .map_err(|full| Full::Room(full.0))?;
        let events = self.world.streams.events();
        let listener = match after {
            Some(after) => events.listen(Some(after)),
            None => events.listen_newest(NEWEST),
        };
        let now = self.world.clock.now();
        self.sooner.notify_one();
        Ok(Page {
            feed: Arc::clone(self),
            _place: place,
            number: self.numbers.fetch_add(1, Relaxed),
            seat: Seat::new(class, self.hello.clone(), listener),
            joined,
            again,
            rules: self.rules.load(Relaxed),
            asked: now,
            words: Bucket::new(WORDS_PER_SECOND, now),
            warned: None,
        })
    }
}

impl Page {
    /// When the program ends.
    pub(crate) fn stop(&self) -> Shutdown {
        self.joined.stop()
    }

    fn answer(&mut self, kind: &str, of: &str, message: &str) {
        let text = json(&serde_json::json!({ "type": kind, "of": of, "message": message }));
        self.seat.answer(text.into());
    }

    fn heard(&mut self, text: &str) {
        let now = self.feed.world.clock.now();
        if !self.words.take(now) {
            let may_be_warned = (self.warned).is_none_or(|at| now.saturating_duration_since(at) >= WARN_AGAIN);
            if may_be_warned {
                self.warned = Some(now);
                self.answer("error", "text", "too many messages; some were not heard");
            }
            return;
        }
        match words::read(text) {
            Ok(Word::Want(topics)) => self.want(topics),
            Ok(Word::ForRoom(Of::Chat)) if !self.seat.class().some().may(Action::View) => {
                self.answer("error", "chat", "this credential may not chat; show one that may view");
            }
            Ok(Word::ForRoom(_)) => self.joined.said_text(text),
            Ok(Word::Answer) => {}
            Err(malformed) => self.answer("error", &malformed.of, &malformed.why),
        }
    }

    fn want(&mut self, topics: Topics) {
        self.count(false);
        self.seat.want(topics);
        self.count(true);
    }

    /// What it wants and may have is made, or no longer for it.
    fn count(&self, is_wanted: bool) {
        let mut wanted = self.feed.wanted();
        let class = self.seat.class();
        for key in self.seat.details().filter(|key| may_have(key, class)) {
            match (is_wanted, wanted.get_mut(key)) {
                (true, Some(wanted)) => wanted.pages += 1,
                (true, None) => {
                    let key: Key = key.clone();
                    wanted.insert(key, Wanting::default());
                }
                (false, Some(wanted)) if wanted.pages > 1 => wanted.pages -= 1,
                (false, _) => {
                    wanted.remove(key);
                }
            }
        }
    }

    /// Whether it still may what it may. Says whether it has to go.
    fn has_ended(&mut self) -> bool {
        let (now, rules) = (self.feed.world.clock.now(), self.feed.rules.load(Relaxed));
        let (ends, wall) = (self.seat.class().who().ends(), self.feed.world.clock.wall());
        let is_over = ends.is_some_and(|ends| ends <= wall);
        if rules == self.rules && !is_over && now.saturating_duration_since(self.asked) < ASK_AGAIN {
            return false;
        }
        match (self.again)() {
            Answer::Ended => true,
            // With the next word, a second from now at the latest.
            Answer::Later => false,
            Answer::Still(class) => {
                (self.rules, self.asked) = (rules, now);
                if !Arc::ptr_eq(&class, self.seat.class()) {
                    let may_view = class.some().may(Action::View);
                    // In its place: another may not be free.
                    self.joined.now_chats(class.who().name().to_owned(), may_view);
                    self.count(false);
                    self.seat.now_is(class);
                    self.count(true);
                }
                false
            }
        }
    }
}

impl Talk for Page {
    fn now(&self) -> Instant {
        self.feed.world.clock.now()
    }

    fn patience(&self) -> [Duration; 2] {
        PATIENCE
    }

    fn goodbye(&self) -> Duration {
        GOODBYE
    }

    fn heard_text(&mut self, text: &str) {
        self.heard(text);
    }

    fn heard_binary(&mut self, _: &[u8]) {
        self.answer(
            "error",
            "binary",
            "texts alone are understood here; statuses go to /ws/camera/",
        );
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        // First, so that nothing that changes from here on is missed.
        self.feed.waiting().insert(self.number, context.waker().clone());
        if self.has_ended() {
            return Poll::Ready(Next::End(SIGNED_OUT, "the credential has ended"));
        }
        if self.seat.is_greeted() {
            match self.joined.poll_message(context) {
                Poll::Ready(Some(message)) => return Poll::Ready(Next::Say(message)),
                Poll::Ready(None) => return Poll::Ready(Next::Gone),
                Poll::Pending => {}
            }
        }
        let said = self.seat.next(&mut self.feed.board());
        match said {
            Some(text) => Poll::Ready(Next::Say(websocket::text(text))),
            None => Poll::Pending,
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.count(false);
        self.feed.waiting().remove(&self.number);
    }
}

/// One of those that there may be; counted when it is made.
pub(crate) struct Place(Arc<Feed>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.seats.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
impl Feed {
    /// As one page more.
    pub(crate) fn hold_a_place(self: &Arc<Self>) -> Place {
        self.seats.fetch_add(1, Relaxed);
        Place(Arc::clone(self))
    }
}
