//! Connections as events, before anybody has said who they are.
//!
//! Belongs here: which of them are told, and when one is over. Does not belong here: viewers and publishers, whom the hub tells.
//!
//! Anybody who reaches the port can open connections, so that these are the one kind of event that costs a stranger nothing. Told without a limit they
//! would start a program each where settings have one for them. Even those that are told have a place of their own among the events that are kept
//! ([`crate::events::KEPT_OF_CONNECTIONS`]), since many a day come at less than the limit.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use media::{Clock, WallTime};

use crate::events::{Closed, Connection, Events, What};
use crate::log::notice::{Notice, Tell};

/// Connections that are told though they come at once.
const AT_ONCE: u32 = 100;
/// And how many more each second.
const PER_SECOND: u32 = 20;

/// Which connections are told.
#[derive(Debug, Default)]
pub(super) struct Openings {
    last_id: AtomicU64,
    /// Connections that were told of late, each counted until its share of a second has passed. `None`: none yet.
    of_late: Mutex<Option<(f64, Instant)>>,
    pub(super) untold: Notice<Untold>,
}

/// A connection that was told, until it is over.
pub(super) struct Told {
    events: Arc<Events>,
    /// What `connection` knows it by.
    _alive: Arc<()>,
    connection: Connection,
    since: WallTime,
    reason: Option<String>,
}

/// Connections that came too fast.
#[derive(Debug)]
pub(super) struct Untold;

impl Tell for Untold {
    fn tell(&self, times: u64) {
        tracing::info!(
            times,
            "RTSP connections came faster than {PER_SECOND} a second: of these no event tells, and no command is run for them"
        );
    }
}

impl Openings {
    /// A connection is there. `None`: it is one too many to be told.
    pub(super) fn opened(
        &self,
        events: &Arc<Events>,
        protocol: &'static str,
        remote: SocketAddr,
        clock: &dyn Clock,
    ) -> Option<Box<Told>> {
        let id = self.last_id.fetch_add(1, Relaxed).saturating_add(1);
        let now = clock.now();
        if !self.has_room(now) {
            self.untold.happened(Untold, now);
            return None;
        }
        let alive = Arc::new(());
        let connection = Connection {
            id,
            protocol,
            remote: SocketAddr::new(remote.ip().to_canonical(), remote.port()),
            alive: Arc::downgrade(&alive),
        };
        events.tell(What::Opened(connection.clone()));
        Some(Box::new(Told {
            events: Arc::clone(events),
            _alive: alive,
            connection,
            since: clock.wall(),
            reason: None,
        }))
    }

    fn has_room(&self, now: Instant) -> bool {
        let mut of_late = self.of_late.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, at) = of_late.unwrap_or((0.0, now));
        let passed = now.saturating_duration_since(at).as_secs_f64() * f64::from(PER_SECOND);
        let count = (count - passed).max(0.0);
        let has_room = count + 1.0 <= f64::from(AT_ONCE);
        *of_late = Some((if has_room { count + 1.0 } else { count }, now));
        has_room
    }
}

impl Told {
    /// Why it is over.
    pub(super) fn because(&mut self, reason: &impl ToString) {
        self.reason = Some(reason.to_string());
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.events.tell(What::Closed(Box::new(Closed {
            connection: self.connection.clone(),
            since: self.since,
            reason: self.reason.take(),
        })));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use media::hub::{Hub, Limits};
    use testkit::clock::SimClock;

    use super::*;
    use crate::events::{Heard, Kind, Listener, Sight};

    /// Counts an event that is there.
    fn heard(listener: &mut Listener, [opened, closed]: &mut [u32; 2]) -> bool {
        match listener.next().now_or_never() {
            Some(Heard::Event(event)) => match event.what.kind() {
                Kind::ConnectionOpened => *opened += 1,
                Kind::ConnectionClosed => *closed += 1,
                other => panic!("{other}"),
            },
            Some(other) => panic!("{other:?}"),
            None => return false,
        }
        true
    }

    #[tokio::test]
    async fn a_flood_is_told_in_part_and_each_that_is_told_has_its_end() {
        let clock = SimClock::new();
        let events = Events::new(&Hub::new(Limits::default()), Arc::new(clock.clone()));
        let openings = Openings::default();
        let mut listener = events.listen(None);
        let open = |port| openings.opened(&events, "RTSP", ([192, 0, 2, 1], port).into(), &clock);
        let mut counted = [0, 0];
        // Each time: more of them than are kept would come together.
        let mut count = |told: Vec<_>, expected: u32| {
            assert_eq!(told.len(), expected as usize);
            for _ in 0..expected {
                heard(&mut listener, &mut counted);
            }
            drop(told);
            while heard(&mut listener, &mut counted) {}
        };
        count((0..5_000).filter_map(open).collect(), AT_ONCE);
        clock.advance(Duration::from_millis(500));
        count((0..5_000).filter_map(open).collect(), PER_SECOND / 2);
        clock.advance(Duration::from_secs(3_600));
        count((0..5_000).filter_map(open).collect(), AT_ONCE);
        assert_eq!(counted, [210, 210]);
    }

    /// A minute of a stranger who opens as many connections as are told, and closes them.
    #[tokio::test]
    async fn a_flood_pushes_no_other_event_out_of_those_that_are_kept() {
        let clock = SimClock::new();
        let events = Events::new(&Hub::new(Limits::default()), Arc::new(clock.clone()));
        let mut listener = events.listen(None);
        events.tell(What::ProgramStarted);
        let Heard::Event(before) = listener.next().await else {
            panic!("it is told");
        };
        let openings = Openings::default();
        for tick in 0..60 * PER_SECOND {
            let opened = openings.opened(&events, "RTSP", ([192, 0, 2, 1], 5_000).into(), &clock);
            drop(opened.expect("so many are told"));
            clock.advance(Duration::from_secs(1) / PER_SECOND);
            if tick % 10 == 0 {
                events.tell(What::StreamAvailable(media::StreamName::default_stream()));
            }
        }
        events.end();
        let (mut ids, mut of_streams, mut of_connections) = (Vec::new(), 0, 0);
        let mut again = events.listen(Some(before.id));
        loop {
            match again.next().await {
                Heard::Event(event) => {
                    ids.push(event.id);
                    match event.what.stream() {
                        Some(_) => of_streams += 1,
                        None => of_connections += 1,
                    }
                }
                Heard::Ended => break,
                _ => {}
            }
        }
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!((of_streams, of_connections), (120, 200));
    }

    #[tokio::test]
    async fn what_is_told_of_a_connection() {
        let clock = SimClock::new();
        let events = Events::new(&Hub::new(Limits::default()), Arc::new(clock.clone()));
        let mut listener = events.listen(None);
        let openings = Openings::default();
        let remote = "[::ffff:192.0.2.1]:5000".parse().unwrap();
        let mut told = openings.opened(&events, "RTSPS", remote, &clock).unwrap();
        clock.advance(Duration::from_millis(1_500));
        told.because(&"the peer closed the connection");
        drop(told);
        let mut text = async || match listener.next().await {
            Heard::Event(event) => {
                let mut form = serde_json::to_value(event.form(Sight::Whole)).unwrap();
                form["id"].take();
                form["at"].take();
                form.to_string()
            }
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!(text().await, @r#"{"id":null,"at":null,"kind":"connection.opened","connection":1,"protocol":"RTSPS","remote":"192.0.2.1:5000"}"#);
        insta::assert_snapshot!(text().await, @r#"{"id":null,"at":null,"kind":"connection.closed","connection":1,"protocol":"RTSPS","remote":"192.0.2.1:5000","duration_ms":1500,"reason":"the peer closed the connection"}"#);
    }
}
