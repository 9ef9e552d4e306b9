//! When channels begin and end.

use media::Clock;
use media::hub::{Limits, Publisher};
use protocol::hls::Query;
use testkit::publishing::publish;
use testkit::stream::{Settings, Video};

use super::*;
use crate::clock::SystemClock;

const PATIENCE: Duration = Duration::from_secs(20);

/// A stream of two seconds, and who gives it.
struct World {
    hub: Hub,
    hls: Arc<Hls>,
    name: StreamName,
    publisher: Publisher,
}

fn world(times: Times) -> World {
    let (hub, name) = (Hub::new(Limits::default()), "cam".parse().unwrap());
    let mut video = Video::new(Settings::default());
    let mut publisher = publish(&hub, &name, vec![video.track()], &SystemClock);
    for _ in 0..60 {
        publisher
            .publish(video.next_frame(SystemClock.wall()), SystemClock.now())
            .unwrap();
    }
    World {
        hls: Hls::with_times(hub.clone(), Arc::new(SystemClock), Adjustable::default(), times),
        hub,
        name,
        publisher,
    }
}

fn quick() -> Times {
    Times {
        silence: Duration::from_millis(200),
        linger: Duration::from_millis(200),
        look: Duration::from_millis(20),
    }
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect(what);
}

#[tokio::test]
async fn a_channel_that_nobody_asks_is_gone() {
    let World {
        hls, name, publisher, ..
    } = world(quick());
    assert_eq!(publisher.stream().readers(), 0, "nothing is done for who does not ask");
    let channel = hls.begin(&name, false).unwrap();
    assert_eq!(publisher.stream().readers(), 1);
    assert!(Arc::ptr_eq(&channel, &hls.begin(&name, false).unwrap()), "one for all");
    // Asking keeps it.
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(Arc::ptr_eq(&channel, &hls.follow(&name).unwrap()));
    }
    until("nobody reads", || publisher.stream().readers() == 0).await;
    assert!(hls.existing(&name).is_none());
    assert_eq!(Arc::strong_count(&channel), 1, "nothing of it is left");
    assert!(
        !Arc::ptr_eq(&channel, &hls.begin(&name, false).unwrap()),
        "and another can begin"
    );
}

#[tokio::test]
async fn an_ended_channel_says_so_for_a_while() {
    let World {
        hub,
        hls,
        name,
        publisher,
    } = world(quick());
    let channel = hls.begin(&name, false).unwrap();
    hub.end(&name);
    until("it ends", || channel.has_ended()).await;
    assert!(matches!(hls.begin(&name, false), Err(Error::NotFound(_))));
    assert!(Arc::ptr_eq(&channel, &hls.follow(&name).unwrap()));
    until("it is forgotten", || {
        matches!(hls.follow(&name), Err(Error::NotFound(_)))
    })
    .await;
    assert_eq!(publisher.stream().readers(), 0);
}

#[tokio::test]
async fn one_that_goes_on_elsewhere_does_not_say_that_it_ended() {
    let World {
        hub,
        hls,
        name,
        publisher: _publishes,
    } = world(Times::default());
    let channel = hls.begin(&name, false).unwrap();
    let next = next_part(&channel).await;
    let waiter = tokio::spawn({
        let channel = Arc::clone(&channel);
        async move { channel.list(&next, None).await.map(|_| ()) }
    });
    hls.move_on();
    hub.end(&name);
    let waited = tokio::time::timeout(PATIENCE, waiter).await.unwrap().unwrap();
    assert_eq!(waited, Err(Unavailable::Moved));
    let list = channel.list(&Query::default(), None).await.unwrap();
    let list = String::from_utf8(list.plain().to_vec()).unwrap();
    assert!(list.contains("#EXTINF") && !list.contains("ENDLIST"), "{list}");
}

/// Asks for the list with the part that is not there yet.
async fn next_part(channel: &Channel) -> Query {
    let list = channel.list(&Query::default(), None).await.unwrap();
    let list = String::from_utf8(list.plain().to_vec()).unwrap();
    let hint = list.rsplit_once('_').unwrap().1;
    let (msn, part) = hint.split_once(".mp4").unwrap().0.split_once('.').unwrap();
    Query::parse(&format!("_HLS_msn={msn}&_HLS_part={part}")).unwrap()
}

/// A viewer that is gone while it waited leaves nothing behind.
#[tokio::test]
async fn abandoned_waiters_cost_nothing() {
    let World {
        hls,
        name,
        publisher: _publishes,
        ..
    } = world(Times::default());
    let channel = hls.begin(&name, false).unwrap();
    let query = next_part(&channel).await;
    let before = Arc::strong_count(&channel);
    let waiters: Vec<_> = (0..1_000)
        .map(|_| {
            let channel = Arc::clone(&channel);
            tokio::spawn(async move { channel.list(&query, None).await.map(|_| ()) })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    waiters.iter().for_each(tokio::task::JoinHandle::abort);
    until("they are gone", || Arc::strong_count(&channel) == before).await;
}
