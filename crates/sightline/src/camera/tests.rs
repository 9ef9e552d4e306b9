use media::hub::Limits;
use testkit::clock::SimClock;
use testkit::stream::{Settings, Video};

use super::*;

fn publication(hub: &Hub, clock: &SimClock) -> Publication {
    Publication {
        name: StreamName::default_stream(),
        hub: hub.clone(),
        clock: Arc::new(clock.clone()),
        handle: Arc::default(),
        takeover: false,
        track: None,
        publisher: None,
        over: false,
        status: Arc::default(),
    }
}

#[test]
fn a_hub_that_was_ended_is_left_alone() {
    let (hub, clock) = (Hub::new(Limits::default()), SimClock::new());
    let mut sink = publication(&hub, &clock).sink();
    let mut video = Video::new(Settings::default());
    sink(Output::Track(video.track()));
    sink(Output::Frame(video.next_frame(clock.wall())));
    assert_eq!(hub.list().len(), 1);
    hub.end_all();
    // Past the next keyframe.
    for _ in 0..30 {
        clock.advance_ms(33);
        sink(Output::Frame(video.next_frame(clock.wall())));
    }
    assert!(hub.list().is_empty(), "published again");
}
