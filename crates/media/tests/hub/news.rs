//! What the hub tells of streams and of those at them.

use std::sync::{Arc, Mutex};

use media::hub::{EndReason, Limits, News};
use media::stats::Role;
use testkit::stream::Settings;

use crate::world::{Terms, World};

/// Notes all that is told, in a line each.
fn listening(world: &World) -> impl Fn() -> Vec<String> + use<> {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&heard);
    world.hub.tell(move |news| {
        let port = |stats: &media::stats::SessionStats| stats.info.remote.unwrap().port();
        notes.lock().unwrap().push(match news {
            News::Available(stream) => format!("{stream} available"),
            News::Unavailable(stream, why) => format!("{stream} unavailable {why:?}"),
            News::Began(stats) => format!("{} began", port(stats)),
            News::Left(stats, None) => format!("{} left", port(stats)),
            News::Left(stats, Some(by)) => format!("{} left for {}", port(stats), by.remote.unwrap().port()),
            News::ViewerJoined(stats) => format!("viewer {} #{}", port(stats), stats.id.get()),
            News::ViewerLeft(stats) => format!("viewer {} left, {} bytes", port(stats), stats.bytes.get()),
        });
    });
    move || std::mem::take(&mut *heard.lock().unwrap())
}

#[test]
fn a_stream_is_there_with_its_first_keyframe_and_gone_after_its_hold() {
    let world = World::new();
    let heard = listening(&world);
    let mut feed = world.feed(Settings::default(), Terms::remote().with_audio());
    assert!(heard().is_empty(), "nobody has sent anything");
    feed.sound().unwrap();
    assert_eq!(heard(), ["5000 began"], "there is no picture yet");
    feed.pictures(30);
    assert_eq!(heard(), ["zerolatency available"], "once");
    feed.publisher.close(world.now());
    assert_eq!(heard(), ["5000 left"]);
    let mut again = world.feed(Settings::default(), Terms::remote().on_port(5_001));
    again.pictures(1);
    assert_eq!(heard(), ["5001 began"], "it was held");
    drop(again);
    world.clock.advance(world.hub.limits().hold);
    let _ = world.hub.poll(world.now());
    let _ = world.hub.poll(world.now());
    assert_eq!(heard(), ["5001 left", "zerolatency unavailable PublisherGone"]);
}

#[test]
fn who_takes_over_begins_when_the_other_has_left() {
    let world = World::new();
    let heard = listening(&world);
    let mut first = world.video();
    first.pictures(1);
    let mut second = world.feed(Settings::default(), Terms::remote().on_port(5_001));
    second.pictures(1);
    assert_eq!(
        heard(),
        [
            "5000 began",
            "zerolatency available",
            "5000 left for 5001",
            "5001 began"
        ]
    );
    drop(first);
    assert!(heard().is_empty(), "it had left");
    world.hub.end_all();
    drop(second);
    assert_eq!(
        heard(),
        [
            format!("zerolatency unavailable {:?}", EndReason::Stopped),
            "5001 left".to_owned()
        ]
    );
}

#[test]
fn who_sent_nothing_is_not_told_of() {
    let world = World::new();
    let heard = listening(&world);
    drop(world.video());
    world.clock.advance(world.hub.limits().hold);
    let _ = world.hub.poll(world.now());
    assert!(heard().is_empty());
}

#[test]
fn a_viewer_is_told_of_with_what_it_was_given() {
    let world = World::with(Limits {
        viewers_per_stream: 1,
        ..Limits::default()
    });
    let heard = listening(&world);
    let _feed = world.video();
    let stream = world.stream();
    let stats = Arc::new(world.stats(Role::Viewer, 7));
    let viewing = stream.add_viewer(Arc::clone(&stats)).unwrap();
    stream.add_viewer(Arc::new(world.stats(Role::Viewer, 8))).unwrap_err();
    stats.bytes.add(9);
    drop(viewing);
    assert_eq!(heard(), ["viewer 7 #2", "viewer 7 left, 9 bytes"]);
}
