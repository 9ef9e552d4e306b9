//! What happens in the program, as one stream of events that API, commands and webhooks read.
//!
//! Belongs here: what an event is ([`What`]), the newest of them ([`Events`]), and reading them ([`Listener`]). Does not belong here: where things
//! happen (the hub, [`crate::source`], [`crate::config::live`] tell them here), what is done about them.
//!
//! Telling takes a note and waits for nobody: the newest events are kept in a ring, and who listens has a position in it, as viewers have in that of
//! a stream. Who falls behind is told how many events are missed.

mod form;
mod kind;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use media::hub::{EndReason, Hub, News};
use media::stats::{Role, SessionStats, Totals};
use media::{Clock, StreamName, WallTime};
use tokio::sync::watch;

use device::motion::Area;

use crate::config::live::{Diff, Refused};
use crate::source::Why;
pub use form::{Form, Sight};
pub use kind::{Kind, Unknown};

/// How many events are kept for who comes again, those of connections aside. Some 300 bytes each.
pub const KEPT: usize = 1_000;
/// How many of connections are kept besides: these cost a stranger nothing, and are not to push out the others.
pub const KEPT_OF_CONNECTIONS: usize = 200;
/// How many keys of settings, or problems with them, an event names.
const MOST_NAMED: usize = 50;
/// Of each problem, in bytes.
const MOST_OF_PROBLEM: usize = 300;

/// The kinds of events of connections.
pub const OF_CONNECTIONS: [Kind; 2] = [Kind::ConnectionOpened, Kind::ConnectionClosed];

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// Greater than those of all events before it, also of those before the program was started anew.
    pub id: u64,
    /// When.
    pub at: WallTime,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// The first keyframe of a stream is there.
    StreamAvailable(StreamName),
    /// A stream is gone, its hold included.
    StreamUnavailable(StreamName, EndReason),
    /// Somebody has begun to publish or to view.
    Joined(Peer),
    /// Somebody has ended it.
    Left(Box<Parting>),
    /// The source of a stream is in another state.
    Source(Box<Source>),
    /// Other settings hold.
    SettingsChanged {
        /// Which, at most [`MOST_NAMED`] of them.
        keys: Vec<String>,
        /// How many there are in all.
        count: usize,
        /// Who changed them.
        by: String,
    },
    /// A change was not made.
    SettingsRefused {
        /// What is wrong, at most [`MOST_NAMED`] of it.
        problems: Vec<String>,
        /// Who wanted it.
        by: String,
    },
    /// Everything listens.
    ProgramStarted,
    /// The program is told to end.
    ProgramEnding,
    /// Wrong credentials, or such as do not suffice: at most once a second for each protocol.
    LoginRefused(Box<Login>),
    /// A recording begins, waits or ends.
    Recording(Box<Recording>),
    /// An export begins, gets on or ends.
    Export(Box<Export>),
    /// Something moves in front of a camera, or does not any more.
    Motion(Box<Motion>),
    /// An RTSP connection is there; nothing is known of it yet. Not all are told ([`crate::rtsp`] says how many).
    Opened(Connection),
    /// One that was told is over.
    Closed(Box<Closed>),
}

/// Something that moves, or moved.
#[derive(Clone, Debug)]
pub struct Motion {
    /// In front of which stream.
    pub stream: StreamName,
    /// Since when.
    pub began: WallTime,
    /// Until when, where it is over.
    pub ended: Option<WallTime>,
    /// Where, where that is known.
    pub area: Option<Area>,
    /// How far it stood out, 1 to 100, where that is known.
    pub score: Option<u8>,
    /// Who saw it: `server`, `camera` or `publisher`.
    pub by: &'static str,
}

/// What became of a recording.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Of which stream; `None`: of all that are recorded to one place.
    pub stream: Option<StreamName>,
    /// What.
    pub step: Step,
    /// The name that somebody gave to it.
    pub file: Option<String>,
    /// Why it waits or ended, in words that do not say where recordings are.
    pub reason: Option<String>,
}

/// What becomes of recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It begins, or goes on after it had waited.
    Started,
    /// It is to go on, and cannot for now.
    Paused,
    /// It ended.
    Ended,
}

/// What became of an export ([`crate::record::export`]).
#[derive(Clone, Debug)]
pub struct Export {
    /// Of which stream's recordings.
    pub stream: StreamName,
    /// By what it is asked for.
    pub id: String,
    /// What.
    pub step: ExportStep,
    /// `running`, `done` or `failed`.
    pub state: &'static str,
    /// The name of its file.
    pub file: String,
    /// Why it failed.
    pub reason: Option<String>,
}

/// What becomes of exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportStep {
    /// It is being made.
    Started,
    /// So many hundredths of it are.
    Progress(u8),
    /// It is there, failed, or was deleted.
    Ended,
}

/// A connection, before and after anybody does anything with it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its number, of all connections since the program was started.
    pub id: u64,
    /// `RTSP` or `RTSPS`.
    pub protocol: &'static str,
    /// From where.
    pub remote: SocketAddr,
    /// Dead when the connection is, for who has missed its end.
    pub alive: Weak<()>,
}

/// A connection that is over.
#[derive(Clone, Debug)]
pub struct Closed {
    /// Which.
    pub connection: Connection,
    /// When it was opened.
    pub since: WallTime,
    /// Why it ended, where that is known.
    pub reason: Option<String>,
}

/// Somebody at a stream.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Number of the session.
    pub session: u64,
    /// The stream.
    pub stream: StreamName,
    /// Publisher or viewer.
    pub role: Role,
    /// As in [`media::stats::SessionInfo::protocol`].
    pub protocol: &'static str,
    /// Whether it is a session that can be ended, and not a source of the server's own.
    pub is_steered: bool,
    /// Where it is.
    pub remote: Option<SocketAddr>,
    /// What it calls itself.
    pub agent: Option<Arc<str>>,
    /// The query of the URL by which it came, without credentials.
    pub query: Option<Box<str>>,
    /// When it came.
    pub since: WallTime,
}

/// Somebody who left, and what it was given or gave.
#[derive(Clone, Debug)]
pub struct Parting {
    /// Who.
    pub peer: Peer,
    /// Why, where that is known.
    pub reason: Option<Arc<str>>,
    /// What it counted.
    pub totals: Totals,
}

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Of which stream.
    pub stream: StreamName,
    /// `idle`, `connecting`, `running`, `waiting` or `failed`.
    pub state: &'static str,
    /// Where it is asked, without credentials.
    pub url: String,
    /// What is wrong.
    pub why: Option<Why>,
    /// The query of who wanted it first, without credentials, where it is fetched on demand.
    pub query: Option<Arc<str>>,
}

/// A login that was refused.
#[derive(Clone, Debug)]
pub struct Login {
    /// `HTTP` or `RTSP`.
    pub protocol: &'static str,
    /// From where.
    pub remote: std::net::IpAddr,
    /// To which stream, where it was for one.
    pub stream: Option<StreamName>,
    /// Why.
    pub reason: String,
    /// How many since the event before; the newest of them is told.
    pub times: u64,
}

/// All events of a program, the newest of them kept.
pub struct Events {
    clock: Arc<dyn Clock>,
    ring: Mutex<Ring>,
    /// The id that the next event will have: who listens waits for another.
    next: watch::Sender<u64>,
}

struct Ring {
    connections: Kept,
    others: Kept,
    first: u64,
    next: u64,
    ended: bool,
}

/// Those of one sort that are kept, by id.
#[derive(Default)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    /// The newest that is not kept any more.
    lost: Option<u64>,
}

/// What a listener hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// An event.
    Event(Arc<Event>),
    /// So many are not kept any more that it had not heard.
    Missed(u64),
    /// The same, and all of them are of connections.
    MissedConnections(u64),
    /// Nothing follows.
    Ended,
}

/// Somebody who reads events: a position in the ring.
pub struct Listener {
    events: Arc<Events>,
    changes: watch::Receiver<u64>,
    next: u64,
}

impl Events {
    /// Hears what the hub tells.
    pub fn new(hub: &Hub, clock: Arc<dyn Clock>) -> Arc<Self> {
        // So many microseconds as have passed since 1970 are more than events were told before.
        let first = u64::try_from(clock.wall().unix_micros()).unwrap_or(0).max(1);
        let events = Arc::new(Self {
            clock,
            ring: Mutex::new(Ring {
                connections: Kept::default(),
                others: Kept::default(),
                first,
                next: first,
                ended: false,
            }),
            next: watch::Sender::new(first),
        });
        let heard = Arc::clone(&events);
        hub.tell(move |news| heard.tell(of(news)));
        events
    }

    /// Something happened.
    pub fn tell(&self, what: What) {
        let at = self.clock.wall();
        let (next, oldest) = {
            let mut ring = self.lock();
            if ring.ended {
                return;
            }
            let id = ring.next;
            ring.next = id.saturating_add(1);
            let (kept, most) = match what.is_of_connection() {
                true => (&mut ring.connections, KEPT_OF_CONNECTIONS),
                false => (&mut ring.others, KEPT),
            };
            let oldest = kept.push(Arc::new(Event { id, at, what }), most);
            (ring.next, oldest)
        };
        drop(oldest);
        // Two that tell at a time may come here in either order.
        self.next.send_modify(|newest| *newest = next.max(*newest));
    }

    /// Nothing more will be told: who listens is told so.
    pub fn end(&self) {
        self.lock().ended = true;
        self.next.send_modify(|_| {});
    }

    /// Hears what happens from now on; or what happened since the event `after`, as far as that is kept.
    pub fn listen(self: &Arc<Self>, after: Option<u64>) -> Listener {
        let changes = self.next.subscribe();
        let ring = self.lock();
        let next = match after {
            // One of a run before this one, or of a clock that went back.
            Some(after) => after.saturating_add(1).clamp(ring.first, ring.next),
            None => ring.next,
        };
        drop(ring);
        Listener {
            events: Arc::clone(self),
            changes,
            next,
        }
    }

    /// Hears the newest that are kept and what happens from then on: so many that are not of connections, which strangers make as many of as they like.
    pub fn listen_newest(self: &Arc<Self>, count: usize) -> Listener {
        let changes = self.next.subscribe();
        let ring = self.lock();
        let others = &ring.others.events;
        let first = others.get(others.len().saturating_sub(count));
        let next = first.map_or(ring.next, |event| event.id);
        drop(ring);
        Listener {
            events: Arc::clone(self),
            changes,
            next,
        }
    }

    /// Settings hold that did not, or were said to change by who may.
    pub fn settings_changed(&self, diff: &Diff, by: &impl ToString) {
        let keys = diff.changed.iter().map(|change| change.key.clone());
        self.tell(What::SettingsChanged {
            keys: keys.take(MOST_NAMED).collect(),
            count: diff.changed.len(),
            by: by.to_string(),
        });
    }

    /// Settings were to change, and do not.
    pub fn settings_refused(&self, refused: &Refused, by: &impl ToString) {
        let problems = refused.problems.iter().take(MOST_NAMED).map(|problem| {
            let mut text = problem.to_string();
            text.truncate(text.floor_char_boundary(MOST_OF_PROBLEM));
            text
        });
        self.tell(What::SettingsRefused {
            problems: problems.collect(),
            by: by.to_string(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // What it holds is changed in steps that leave it whole.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Events({})", *self.next.borrow())
    }
}

impl Listener {
    /// What comes next. Cancel-safe.
    pub async fn next(&mut self) -> Heard {
        loop {
            self.changes.mark_unchanged();
            if let Some(heard) = self.take() {
                return heard;
            }
            // The sender lives as long as the events that are held here.
            let _ = self.changes.changed().await;
        }
    }

    /// The id of the newest event that it heard or passed over.
    pub fn position(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// What comes next, if it is there already.
    pub fn take(&mut self) -> Option<Heard> {
        let ring = self.events.lock();
        let of_each = [ring.connections.from(self.next), ring.others.from(self.next)];
        let Some(event) = of_each.into_iter().flatten().min_by_key(|event| event.id).cloned() else {
            return ring.ended.then_some(Heard::Ended);
        };
        if self.next < event.id {
            let missed = event.id - self.next;
            let others = ring.others.lost.is_some_and(|lost| lost >= self.next);
            self.next = event.id;
            return Some(match others {
                true => Heard::Missed(missed),
                false => Heard::MissedConnections(missed),
            });
        }
        drop(ring);
        self.next = event.id.saturating_add(1);
        Some(Heard::Event(event))
    }
}

impl Kept {
    /// The oldest makes room. It is given back, to be dropped where nobody waits.
    #[must_use]
    fn push(&mut self, event: Arc<Event>, most: usize) -> Option<Arc<Event>> {
        let oldest = (self.events.len() >= most).then(|| self.events.pop_front()).flatten();
        if let Some(oldest) = &oldest {
            self.lost = Some(oldest.id);
        }
        self.events.push_back(event);
        oldest
    }

    /// The first that is kept with this id or a greater one.
    fn from(&self, id: u64) -> Option<&Arc<Event>> {
        // Who listens is mostly at the newest.
        match self.events.back() {
            Some(newest) if newest.id >= id => self.events.get(self.events.partition_point(|event| event.id < id)),
            _ => None,
        }
    }
}

impl What {
    fn is_of_connection(&self) -> bool {
        OF_CONNECTIONS.contains(&self.kind())
    }
}

impl Peer {
    fn of(stats: &SessionStats) -> Self {
        let info = &stats.info;
        Self {
            session: stats.id.get(),
            stream: info.stream.clone(),
            role: info.role,
            protocol: info.protocol,
            is_steered: stats.leash.is_tied(),
            remote: info.remote,
            agent: info.agent.clone(),
            query: stats.query.get().cloned(),
            since: info.since,
        }
    }
}

fn of(news: News<'_>) -> What {
    let left = |stats: &SessionStats, reason: Option<Arc<str>>| {
        What::Left(Box::new(Parting {
            peer: Peer::of(stats),
            reason: reason.or_else(|| stats.farewell.get().map(Arc::from)),
            totals: Totals::of(stats),
        }))
    };
    match news {
        News::Available(stream) => What::StreamAvailable(stream.clone()),
        News::Unavailable(stream, why) => What::StreamUnavailable(stream.clone(), why),
        News::Began(stats) | News::ViewerJoined(stats) => What::Joined(Peer::of(stats)),
        News::Left(stats, by) => left(stats, by.map(|by| format!("{by} took over").into())),
        News::ViewerLeft(stats) => left(stats, None),
    }
}
