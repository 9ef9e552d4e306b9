//! Which session somebody means: by its URL, by the name in a STUN request, by the address that was heard before.
//!
//! Belongs here: the table and its limits. Does not belong here: what a session does.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::StreamName;
use media::stats::SessionStats;
use protocol::webrtc::{Credentials, Transport, is_rtcp, stun_username};
use tokio::sync::{mpsc, oneshot};

use super::service::Which;
use super::tcp::Connection;
use super::viewer::Seated;
use crate::config::live::Adjustable;

/// Messages that wait for a task, datagrams nearly all: half a second of 300 viewers' reports, or of one publisher's 8 Mb/s. What comes beyond is
/// dropped, as the network would.
pub(super) const QUEUE: usize = 1_024;
/// Addresses that one session may be heard from; the oldest gives way. A browser tries a few and stays with one.
const MAX_ADDRESSES: usize = 8;
/// An address is somebody else's again when its session was not heard there for this long. Peers ask for consent every six seconds at the latest
/// (RFC 7675 §5.1), and whoever begins at an address that was just left gives up after some fifteen.
const ADDRESS_LIFE: Duration = Duration::from_secs(7);

/// What a task is told.
pub(super) enum Message {
    /// A viewer takes its place.
    Join(Box<Seated>),
    /// Something came for a session.
    Datagram(Arrived),
    /// Its peer starts ICE anew; our new credentials are the answer.
    Restart {
        id: u64,
        theirs: Credentials,
        ours: oneshot::Sender<Credentials>,
    },
    /// Its peer, or the program, ends it.
    Close { id: u64 },
    /// A viewer of the stream needs a keyframe of the publisher.
    KeyframeWanted,
}

/// A datagram on its way to its session.
pub(super) struct Arrived {
    pub(super) id: u64,
    pub(super) transport: Transport,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Bytes,
    /// By TCP: where answers go.
    pub(super) connection: Option<Arc<Connection>>,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// It is for none of the sessions.
    Nobodys,
    /// It can wait for some milliseconds: reports and requests of somebody who is connected, and his checks.
    Patient,
    /// It cannot: media, steps of a handshake, checks of somebody who is new here.
    Urgent,
}

/// One session, as others see it.
pub(super) struct Session {
    /// The last part of its URL. Whoever knows it may steer the session.
    pub(super) secret: String,
    pub(super) which: Which,
    pub(super) stream: StreamName,
    pub(super) id: u64,
    pub(super) inbox: mpsc::Sender<Message>,
    ice: Mutex<Ice>,
}

/// What changes when ICE starts anew.
struct Ice {
    ours: String,
    theirs: String,
    /// Which start it is.
    generation: u32,
    addresses: Vec<(Transport, SocketAddr)>,
}

impl Session {
    /// `ETag`: the session's ICE, so that fragments meant for one that was replaced are noticed.
    pub(super) fn etag(&self) -> String {
        format!("\"{:x}-{}\"", self.id, lock(&self.ice).generation)
    }

    /// Lets the session be ended by whoever sees its counters.
    pub(super) fn tie(self: &Arc<Self>, stats: &SessionStats) {
        let session = Arc::clone(self);
        stats
            .leash
            .tie(move || session.inbox.try_send(Message::Close { id: session.id }).is_ok());
    }

    /// The peer's name in ICE.
    pub(super) fn theirs(&self) -> String {
        lock(&self.ice).theirs.clone()
    }
}

/// All sessions of the program.
pub(super) struct Sessions {
    limit: Adjustable<usize>,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    by_secret: HashMap<String, Arc<Session>>,
    by_ufrag: HashMap<String, Arc<Session>>,
    by_address: HashMap<(Transport, SocketAddr), Heard>,
}

struct Heard {
    session: Arc<Session>,
    at: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As many sessions as there may be are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) limit: usize,
}

impl Sessions {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: Adjustable::new(limit),
            tables: Mutex::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.tables).by_secret.len()
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.set(limit);
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.get()
    }

    /// Makes a session known. It is forgotten when what is returned is dropped.
    pub(super) fn add(self: &Arc<Self>, new: New<'_>) -> Result<Registered, Full> {
        let session = Arc::new(Session {
            secret: format!("{:016x}{:016x}", (new.random)(), (new.random)()),
            which: new.which,
            stream: new.stream.clone(),
            id: new.id,
            inbox: new.inbox,
            ice: Mutex::new(Ice {
                ours: new.ours.to_owned(),
                theirs: new.theirs.to_owned(),
                generation: 0,
                addresses: Vec::new(),
            }),
        });
        let mut tables = lock(&self.tables);
        let limit = self.limit.get();
        if tables.by_secret.len() >= limit {
            return Err(Full { limit });
        }
        tables.by_secret.insert(session.secret.clone(), Arc::clone(&session));
        tables.by_ufrag.insert(new.ours.to_owned(), Arc::clone(&session));
        drop(tables);
        Ok(Registered {
            sessions: Arc::clone(self),
            session,
        })
    }

    /// The session with this URL.
    pub(super) fn by_secret(&self, which: Which, stream: &str, secret: &str) -> Option<Arc<Session>> {
        let session = lock(&self.tables).by_secret.get(secret).cloned()?;
        (session.which == which && session.stream.as_str() == stream).then_some(session)
    }

    /// The session that a datagram is for: a request names it, anything else comes from where it was heard before. And whether it was heard there.
    pub(super) fn of(
        &self,
        transport: Transport,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Option<(Arc<Session>, bool)> {
        let mut tables = lock(&self.tables);
        let named = stun_username(datagram).map(|name| tables.by_ufrag.get(name).cloned());
        let heard = tables.by_address.get_mut(&(transport, from));
        let Some(named) = named else {
            let heard = heard?;
            if !is_dtls(datagram) {
                heard.at = now;
            }
            return Some((Arc::clone(&heard.session), true));
        };
        let named = named?;
        let known = heard.filter(|heard| Arc::ptr_eq(&heard.session, &named));
        let is_known = known.is_some();
        if let Some(heard) = known {
            heard.at = now;
        }
        Some((named, is_known))
    }

    /// Hands a datagram to its session, if it is anybody's.
    pub(super) fn hand_over(
        &self,
        (transport, from, to): (Transport, SocketAddr, SocketAddr),
        datagram: &[u8],
        connection: Option<&Arc<Connection>>,
        now: Instant,
    ) -> Handed {
        let Some((session, is_known)) = self.of(transport, from, datagram, now) else {
            return Handed::Nobodys;
        };
        // Full is loss, which ICE, DTLS and RTP are made for.
        let _ = session.inbox.try_send(Message::Datagram(Arrived {
            id: session.id,
            transport,
            from,
            to,
            bytes: Bytes::copy_from_slice(datagram),
            connection: connection.cloned(),
        }));
        if is_known && (is_rtcp(datagram) || is_stun(datagram)) {
            Handed::Patient
        } else {
            Handed::Urgent
        }
    }

    /// Tells all sessions to end.
    pub(super) fn end_all(&self) {
        let sessions: Vec<_> = lock(&self.tables).by_secret.values().cloned().collect();
        for session in sessions {
            let _ = session.inbox.try_send(Message::Close { id: session.id });
        }
    }
}

/// Records of DTLS (RFC 7983 §7). Who is connected sends none, so they may be of somebody who begins where another session's peer went without a word, and
/// do not keep that one alive: they are sent again and again until they are answered.
fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// Checks of ICE and their answers (RFC 7983 §7).
fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(0..=3))
}

/// What a session is made known with.
pub(super) struct New<'a> {
    pub(super) which: Which,
    pub(super) stream: &'a StreamName,
    pub(super) id: u64,
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) ours: &'a str,
    pub(super) theirs: &'a str,
    pub(super) random: fn() -> u64,
}

/// Keeps a session known.
pub(super) struct Registered {
    sessions: Arc<Sessions>,
    pub(super) session: Arc<Session>,
}

impl Registered {
    /// The session's peer proved to be at this address. An address of another session that is alive stays that one's: nobody takes somebody else's
    /// packets by writing his address on a request.
    pub(super) fn heard(&self, transport: Transport, from: SocketAddr, now: Instant) {
        let key = (transport, from);
        let mut ice = lock(&self.session.ice);
        if ice.addresses.contains(&key) {
            return;
        }
        let mut tables = lock(&self.sessions.tables);
        let taken = tables.by_address.get(&key);
        if taken.is_some_and(|heard| now.saturating_duration_since(heard.at) < ADDRESS_LIFE) {
            return;
        }
        if ice.addresses.len() >= MAX_ADDRESSES {
            let oldest = ice.addresses.remove(0);
            forget(&mut tables, &self.session, oldest);
        }
        ice.addresses.push(key);
        tables.by_address.insert(
            key,
            Heard {
                session: Arc::clone(&self.session),
                at: now,
            },
        );
    }

    /// ICE started anew.
    pub(super) fn restarted(&self, ours: &str, theirs: &str) {
        let mut ice = lock(&self.session.ice);
        let mut tables = lock(&self.sessions.tables);
        tables.by_ufrag.remove(&ice.ours);
        tables.by_ufrag.insert(ours.to_owned(), Arc::clone(&self.session));
        (ice.ours, ice.theirs) = (ours.to_owned(), theirs.to_owned());
        ice.generation = ice.generation.wrapping_add(1);
    }
}

fn forget(tables: &mut Tables, session: &Arc<Session>, key: (Transport, SocketAddr)) {
    if tables
        .by_address
        .get(&key)
        .is_some_and(|heard| Arc::ptr_eq(&heard.session, session))
    {
        tables.by_address.remove(&key);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let ice = lock(&self.session.ice);
        let mut tables = lock(&self.sessions.tables);
        tables.by_secret.remove(&self.session.secret);
        tables.by_ufrag.remove(&ice.ours);
        for &key in &ice.addresses {
            forget(&mut tables, &self.session, key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(limit: usize) -> Arc<Sessions> {
        Arc::new(Sessions::new(limit))
    }

    fn add(sessions: &Arc<Sessions>, id: u64, ours: &str) -> Result<Registered, Full> {
        let (inbox, _) = mpsc::channel(1);
        sessions.add(New {
            which: Which::Viewer,
            stream: &"cam".parse().unwrap(),
            id,
            inbox,
            ours,
            theirs: "them",
            random: crate::random::bits,
        })
    }

    fn request(name: &str) -> Vec<u8> {
        let name = format!("{name}:them");
        let mut datagram = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        datagram.extend([0; 12]);
        datagram.extend([0, 6, 0, name.len() as u8]);
        datagram.extend(name.as_bytes());
        datagram.resize(datagram.len().next_multiple_of(4), 0);
        datagram
    }

    const HANDSHAKE: &[u8] = &[22, 254, 253, 0];
    const MEDIA: &[u8] = &[0x80; 30];
    const HERE: &str = "192.0.2.1:1000";

    #[test]
    fn found_by_name_then_by_address_then_not_at_all() {
        let (sessions, now, here) = (sessions(10), Instant::now(), HERE.parse().unwrap());
        let one = add(&sessions, 1, "one").unwrap();
        let find = |datagram: &[u8]| {
            sessions
                .of(Transport::Udp, here, datagram, now)
                .map(|(session, _)| session.id)
        };
        assert_eq!(
            (find(&request("one")), find(&request("two")), find(MEDIA)),
            (Some(1), None, None)
        );
        one.heard(Transport::Udp, here, now);
        assert_eq!(find(MEDIA), Some(1));
        one.restarted("other", "them");
        assert_eq!((find(&request("one")), find(&request("other"))), (None, Some(1)));
        assert!(sessions.by_secret(Which::Viewer, "cam", &one.session.secret).is_some());
        assert!(
            sessions
                .by_secret(Which::Publisher, "cam", &one.session.secret)
                .is_none()
        );
        assert!(
            sessions
                .by_secret(Which::Viewer, "other", &one.session.secret)
                .is_none()
        );
        drop(one);
        assert_eq!((find(&request("other")), find(MEDIA), sessions.len()), (None, None, 0));
        let tables = lock(&sessions.tables);
        assert!(tables.by_ufrag.is_empty() && tables.by_address.is_empty());
    }

    #[test]
    fn what_those_who_are_connected_say_can_wait() {
        const REPORT: &[u8] = &[0x81, 201, 0, 7, 0, 0, 0, 1];
        let (sessions, now, here) = (sessions(10), Instant::now(), HERE.parse().unwrap());
        let one = add(&sessions, 1, "one").unwrap();
        let hand = |datagram: &[u8]| sessions.hand_over((Transport::Udp, here, here), datagram, None, now);
        assert_eq!(
            (hand(REPORT), hand(&request("two")), hand(&request("one"))),
            (Handed::Nobodys, Handed::Nobodys, Handed::Urgent)
        );
        one.heard(Transport::Udp, here, now);
        assert_eq!(
            (hand(REPORT), hand(&request("one"))),
            (Handed::Patient, Handed::Patient)
        );
        assert_eq!((hand(MEDIA), hand(HANDSHAKE)), (Handed::Urgent, Handed::Urgent));
    }

    #[test]
    fn nobody_takes_the_address_of_a_session_that_is_heard() {
        let (sessions, start, here) = (sessions(10), Instant::now(), HERE.parse().unwrap());
        let (one, two) = (add(&sessions, 1, "one").unwrap(), add(&sessions, 2, "two").unwrap());
        one.heard(Transport::Udp, here, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let of = |datagram: &[u8], now| {
            sessions
                .of(Transport::Udp, here, datagram, now)
                .map(|(session, _)| session.id)
        };
        let find = |now| of(MEDIA, now);
        two.heard(Transport::Udp, here, at(6));
        assert_eq!(find(at(6)), Some(1));
        two.heard(Transport::Udp, here, at(12));
        assert_eq!(of(&request("one"), at(12)), Some(1), "its media was heard at six");
        two.heard(Transport::Udp, here, at(18));
        assert_eq!(find(at(18)), Some(1), "it asked for consent at twelve");
        // Somebody else begins there, and is named by its requests alone.
        for second in 19..25 {
            assert_eq!(of(HANDSHAKE, at(second)), Some(1));
            assert_eq!(of(&request("two"), at(second)), Some(2));
            two.heard(Transport::Udp, here, at(second));
        }
        two.heard(Transport::Udp, here, at(26));
        assert_eq!(find(at(26)), Some(2));
        // The one that lost it does not take it along.
        drop(one);
        assert_eq!(find(at(27)), Some(2));
    }

    #[test]
    fn sessions_and_their_addresses_are_limited() {
        let (sessions, now) = (sessions(2), Instant::now());
        let one = add(&sessions, 1, "one").unwrap();
        let two = add(&sessions, 2, "two").unwrap();
        assert_eq!(add(&sessions, 3, "three").err(), Some(Full { limit: 2 }));
        sessions.set_limit(3);
        assert!(add(&sessions, 3, "three").is_ok());
        sessions.set_limit(1);
        assert_eq!(add(&sessions, 4, "four").err(), Some(Full { limit: 1 }));
        sessions.set_limit(2);
        drop(two);
        assert!(add(&sessions, 3, "three").is_ok());
        for port in 1..1_000 {
            one.heard(Transport::Udp, SocketAddr::from(([192, 0, 2, 1], port)), now);
        }
        assert_eq!(lock(&sessions.tables).by_address.len(), MAX_ADDRESSES);
    }
}
