//! Telling and hearing, without I/O.

use std::time::Duration;

use media::hub::Limits;
use media::stats::SessionInfo;
use testkit::clock::SimClock;

use super::*;

fn world() -> (Hub, Arc<Events>, SimClock) {
    let (hub, clock) = (Hub::new(Limits::default()), SimClock::new());
    let events = Events::new(&hub, Arc::new(clock.clone()));
    (hub, events, clock)
}

/// What there is to hear now.
async fn heard(listener: &mut Listener) -> Vec<Heard> {
    let mut all = Vec::new();
    while let Ok(heard) = tokio::time::timeout(Duration::from_millis(20), listener.next()).await {
        let ended = matches!(heard, Heard::Ended);
        all.push(heard);
        if ended {
            break;
        }
    }
    all
}

fn ids(heard: &[Heard]) -> Vec<u64> {
    let id = |heard: &Heard| match heard {
        Heard::Event(event) => Some(event.id),
        _ => None,
    };
    heard.iter().filter_map(id).collect()
}

#[tokio::test]
async fn everybody_hears_what_happens_from_when_they_listen() {
    let (_hub, events, _) = world();
    let mut first = events.listen(None);
    events.tell(What::ProgramStarted);
    let mut second = events.listen(None);
    events.tell(What::ProgramEnding);
    let (first, second) = (heard(&mut first).await, heard(&mut second).await);
    assert_eq!((first.len(), second.len()), (2, 1));
    assert_eq!(ids(&first)[1], ids(&second)[0]);
    assert_eq!(ids(&first)[0] + 1, ids(&first)[1]);
}

#[tokio::test]
async fn who_comes_again_hears_what_it_missed() {
    let (_hub, events, _) = world();
    let mut listener = events.listen(None);
    for _ in 0..3 {
        events.tell(What::ProgramStarted);
    }
    let known = ids(&heard(&mut listener).await);
    assert_eq!(ids(&heard(&mut events.listen(Some(known[0]))).await), known[1..]);
    assert!(heard(&mut events.listen(Some(known[2]))).await.is_empty());
    assert_eq!(
        ids(&heard(&mut events.listen(Some(5))).await),
        known,
        "heard in a run before"
    );
    assert!(
        heard(&mut events.listen(Some(u64::MAX))).await.is_empty(),
        "of a clock that went back"
    );
}

/// The limit of what is kept, and what those are told who are too slow for it.
#[tokio::test]
async fn the_oldest_make_room_and_who_is_slow_is_told() {
    let (_hub, events, _) = world();
    let mut slow = events.listen(None);
    for _ in 0..KEPT + 7 {
        events.tell(What::ProgramStarted);
    }
    assert_eq!(events.lock().others.events.len(), KEPT);
    let heard = heard(&mut slow).await;
    assert!(matches!(heard[0], Heard::Missed(7)), "{:?}", heard[0]);
    assert_eq!(ids(&heard).len(), KEPT);
}

fn opened(id: u64) -> What {
    What::Opened(Connection {
        id,
        protocol: "RTSP",
        remote: ([192, 0, 2, 1], 5_000).into(),
        alive: Weak::new(),
    })
}

/// A stranger who knocks at all ports pushes out nothing of what a page begins with.
#[tokio::test]
async fn the_newest_are_counted_without_connections() {
    let (_hub, events, _) = world();
    for _ in 0..5 {
        events.tell(What::ProgramStarted);
    }
    (0..KEPT_OF_CONNECTIONS as u64 + 100).for_each(|id| events.tell(opened(id)));
    let is_other = |heard: &&Heard| matches!(heard, Heard::Event(event) if matches!(event.what, What::ProgramStarted));
    for (count, expected) in [(0, 0), (3, 3), (100, 5)] {
        let heard = heard(&mut events.listen_newest(count)).await;
        assert_eq!(heard.iter().filter(is_other).count(), expected, "{count}");
    }
}

/// What is missed is told where it is missed, and whether it was more than connections.
#[tokio::test]
async fn missed_connections_are_told_as_such() {
    let (_hub, events, _) = world();
    let most = KEPT_OF_CONNECTIONS as u64;
    let mut slow = events.listen(None);
    events.tell(What::ProgramStarted);
    for id in 0..most + 7 {
        events.tell(opened(id));
    }
    let mut late = events.listen(None);
    for _ in 0..KEPT + 3 {
        events.tell(What::ProgramEnding);
    }
    for id in 0..5 {
        events.tell(opened(id));
    }
    assert_eq!(events.lock().connections.events.len(), KEPT_OF_CONNECTIONS);
    let gaps = |heard: &[Heard]| {
        let gap = |heard: &Heard| match heard {
            Heard::Missed(count) => Some((true, *count)),
            Heard::MissedConnections(count) => Some((false, *count)),
            _ => None,
        };
        heard.iter().filter_map(gap).collect::<Vec<_>>()
    };
    let slow = heard(&mut slow).await;
    assert_eq!(gaps(&slow), [(true, 1 + 7 + 5), (true, 3)]);
    assert_eq!(ids(&slow).len(), KEPT + KEPT_OF_CONNECTIONS);
    assert_eq!(gaps(&heard(&mut late).await), [(true, 3)]);
    let mut behind = events.listen(None);
    for id in 0..most + 2 {
        events.tell(opened(id));
    }
    assert_eq!(gaps(&heard(&mut behind).await), [(false, 2)]);
}

#[tokio::test]
async fn the_end_is_heard_after_what_was_told() {
    let (_hub, events, _) = world();
    let mut listener = events.listen(None);
    events.tell(What::ProgramEnding);
    events.end();
    events.tell(What::ProgramStarted);
    let heard = heard(&mut listener).await;
    assert!(matches!(heard[..], [Heard::Event(_), Heard::Ended]), "{heard:?}");
}

/// 40,000 who come and go leave nothing behind but the newest events.
#[tokio::test]
async fn churn_does_not_grow() {
    let (hub, events, clock) = world();
    let mut video = testkit::stream::Video::new(testkit::stream::Settings::default());
    let name = StreamName::default_stream();
    let stats = |role| {
        Arc::new(SessionStats::new(SessionInfo {
            stream: name.clone(),
            role,
            protocol: "test",
            remote: Some(([192, 0, 2, 1], 5_000).into()),
            agent: Some("agent".into()),
            since: clock.wall(),
        }))
    };
    let publishing = media::hub::Publishing {
        stats: stats(Role::Publisher),
        origin: media::hub::Origin::Remote,
        keyframe_requests: None,
    };
    let mut publisher = hub
        .publish(&name, vec![video.track()], publishing, clock.now())
        .unwrap();
    publisher.publish(video.next_frame(clock.wall()), clock.now()).unwrap();
    let stream = hub.stream(&name, clock.now()).unwrap();
    let viewer = stats(Role::Viewer);
    let mut slow = events.listen(None);
    for _ in 0..40_000 {
        drop(stream.add_viewer(Arc::clone(&viewer)).unwrap());
    }
    let kept = events.lock().others.events.len();
    let room = events.lock().others.events.capacity();
    assert!(kept == KEPT && room <= 2 * KEPT, "{room}");
    // Of a session nothing is held: its name, address and agent are shared or copied.
    assert_eq!(Arc::strong_count(&viewer), 1);
    let Heard::Missed(missed) = slow.next().await else {
        panic!("it is told how many it missed");
    };
    assert_eq!(missed, 80_000 - KEPT as u64);
}

#[test]
fn a_word_means_one_kind_or_all_that_are_about_the_same() {
    assert_eq!(Kind::meant("viewer.left").unwrap(), [Kind::ViewerLeft]);
    assert_eq!(Kind::meant("viewer").unwrap(), [Kind::ViewerJoined, Kind::ViewerLeft]);
    let unknown = Kind::meant("view").unwrap_err().to_string();
    assert!(
        unknown.starts_with("\"view\" is no kind of event; there are stream.available, "),
        "{unknown}"
    );
}

#[test]
fn what_a_viewer_is_told_names_no_peer() {
    let parting = Parting {
        peer: Peer {
            session: 7,
            stream: StreamName::default_stream(),
            role: Role::Publisher,
            protocol: "RTSP/TCP",
            is_steered: true,
            remote: Some(([192, 0, 2, 1], 5_000).into()),
            agent: Some("Lavf".into()),
            query: Some("cut=1".into()),
            since: WallTime::from_unix_micros(1_000_000),
        },
        reason: Some("192.0.2.2:6000 (RTSP/TCP) took over".into()),
        totals: Totals {
            bytes: 9,
            ..Totals::default()
        },
    };
    let event = Event {
        id: 5,
        at: WallTime::from_unix_micros(3_500_000),
        what: What::Left(Box::new(parting)),
    };
    let text = |sight| serde_json::to_string(&event.form(sight)).unwrap();
    insta::assert_snapshot!(text(Sight::Whole), @r#"{"id":5,"at":"1970-01-01T00:00:03.500Z","kind":"publisher.left","stream":"zerolatency","session":7,"protocol":"RTSP/TCP","remote":"192.0.2.1:5000","agent":"Lavf","query":"cut=1","duration_ms":2500,"bytes":9,"packets":0,"frames":0,"keyframes":0,"frames_dropped":0,"jumps":0,"packets_lost":0,"reason":"192.0.2.2:6000 (RTSP/TCP) took over"}"#);
    insta::assert_snapshot!(text(Sight::NoPeers), @r#"{"id":5,"at":"1970-01-01T00:00:03.500Z","kind":"publisher.left","stream":"zerolatency","session":7,"protocol":"RTSP/TCP","duration_ms":2500,"bytes":9,"packets":0,"frames":0,"keyframes":0,"frames_dropped":0,"jumps":0,"packets_lost":0}"#);
}
