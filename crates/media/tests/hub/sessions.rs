//! Who is listed at a stream, and what protocols keep there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use media::hub::{Books, Limits, Origin};
use media::stats::Role;

use crate::world::{Terms, World};

#[test]
fn publisher_and_viewers_are_listed_as_long_as_they_are_there() {
    let world = World::new();
    let feed = world.video();
    let stream = world.stream();
    let viewings: Vec<_> = (1..=3)
        .map(|port| stream.add_viewer(Arc::new(world.stats(Role::Viewer, port))).unwrap())
        .collect();
    let listed = || {
        let sessions = stream.sessions();
        let ports = sessions
            .iter()
            .map(|stats| (stats.info.role, stats.info.remote.unwrap().port()));
        ports.collect::<Vec<_>>()
    };
    let viewer = |port| (Role::Viewer, port);
    assert_eq!(listed(), [(Role::Publisher, 5_000), viewer(1), viewer(2), viewer(3)]);
    assert_eq!(stream.viewers(), 3);
    let mut viewings = viewings.into_iter();
    drop(viewings.next());
    feed.publisher.close(world.now());
    assert_eq!(listed(), [viewer(2), viewer(3)]);
    drop(viewings);
    assert!(listed().is_empty());
}

#[test]
fn viewers_are_limited() {
    let world = World::with(Limits {
        viewers_per_stream: 2,
        ..Limits::default()
    });
    let _feed = world.video();
    let stream = world.stream();
    let add = || stream.add_viewer(Arc::new(world.stats(Role::Viewer, 1)));
    let first = add().unwrap();
    let _second = add().unwrap();
    let full = add().unwrap_err();
    assert_eq!(full.to_string(), "the stream has 2 viewers already, which is the limit");
    drop(first);
    add().unwrap();
}

struct Numbered(usize);
struct Nested(Arc<Numbered>);

#[test]
fn an_extension_is_made_once_and_goes_with_its_stream() {
    let made = AtomicUsize::new(0);
    let world = World::new();
    let feed = world.video();
    let make = || Numbered(made.fetch_add(1, SeqCst));
    let stream = world.stream();
    let first = stream.extension(make);
    let nested = stream.extension(|| Nested(stream.extension(make)));
    assert!(
        Arc::ptr_eq(&first, &nested.0),
        "one may ask for another while it is made"
    );
    assert_eq!((first.0, made.load(SeqCst)), (0, 1));
    world.hub.end_all();
    drop((feed, nested));
    assert_eq!(
        Arc::strong_count(&first),
        3,
        "ours, the stream's, the other extension's"
    );
    drop(stream);
    assert_eq!(Arc::strong_count(&first), 1);
}

#[test]
fn the_pace_is_that_of_the_last_seconds() {
    let world = World::new();
    let mut feed = world.video();
    let stream = world.stream();
    assert!(stream.pace(world.now()).newest_picture.is_none());
    feed.pictures(90);
    let pace = stream.pace(world.now());
    assert!((pace.pictures_per_second - 30.0).abs() < 0.1, "{pace:?}");
    let newest = pace.newest_picture.unwrap();
    assert_eq!(newest.id, 89);
    let bits = newest.frame.data.len() as f64 * 8.0 * 30.0;
    assert!(
        (0.3..3.0).contains(&(pace.bits_per_second / bits)),
        "{} {bits}",
        pace.bits_per_second
    );
    world.clock.advance(std::time::Duration::from_millis(1_100));
    let pace = stream.pace(world.now());
    assert!(
        pace.pictures_per_second == 0.0 && pace.newest_picture.is_some(),
        "silence is no pace: {pace:?}"
    );
}

/// Bytes of a role, and how many of it are there.
fn sum(books: &Books, role: Role) -> (u64, usize) {
    let of_role = books.accounts().iter().filter(|account| account.role == role);
    of_role.fold((0, 0), |(bytes, sessions), account| {
        (bytes + account.totals.bytes, sessions + account.sessions)
    })
}

#[test]
fn the_books_keep_what_those_moved_who_are_gone() {
    let world = World::new();
    let feed = world.video();
    let stream = world.stream();
    let viewers = [1, 2].map(|port| Arc::new(world.stats(Role::Viewer, port)));
    let [first, second] = viewers
        .each_ref()
        .map(|stats| stream.add_viewer(Arc::clone(stats)).unwrap());
    viewers[0].bytes.add(100);
    viewers[1].bytes.add(1);
    feed.stats.bytes.add(7);
    assert_eq!(sum(&stream.books(), Role::Viewer), (101, 2));
    assert_eq!(sum(&stream.books(), Role::Publisher), (7, 1));
    drop(first);
    assert_eq!(sum(&stream.books(), Role::Viewer), (101, 1));
    feed.publisher.close(world.now());
    assert_eq!(sum(&stream.books(), Role::Publisher), (7, 0));
    world.hub.end_all();
    let ledger = world.hub.ledger();
    assert!(
        ledger.streams.is_empty() && ledger.ended_others.accounts().is_empty(),
        "{ledger:?}"
    );
    assert_eq!(sum(&ledger.ended, Role::Viewer), (101, 0));
    assert_eq!(sum(&ledger.ended, Role::Publisher), (7, 0));
    drop(second);
}

#[test]
fn a_publisher_that_takes_over_again_is_not_counted_twice() {
    let world = World::new();
    let mut feed = world.video();
    feed.pictures(1);
    feed.stats.bytes.add(10);
    let mut slate = world.feed(
        testkit::stream::Settings::default(),
        Terms {
            origin: Origin::StandIn,
            ..Terms::remote()
        },
    );
    slate.pictures(1);
    slate.stats.bytes.add(100);
    let stream = world.stream();
    assert_eq!(sum(&stream.books(), Role::Publisher), (110, 1));
    // Its next keyframe.
    feed.pictures(20);
    feed.stats.bytes.add(1);
    assert!(Arc::ptr_eq(&stream.publisher().unwrap(), &feed.stats));
    assert_eq!(sum(&stream.books(), Role::Publisher), (111, 1));
}
