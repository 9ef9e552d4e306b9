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
        part: Part::Camera { takeover: false },
        passing: Arc::default(),
        track: None,
        publisher: None,
        over: Arc::default(),
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

#[test]
fn nobody_waits_for_a_keyframe_of_a_camera_whose_own_h264_passes() {
    let (hub, clock) = (Hub::new(Limits::default()), SimClock::new());
    let mut sink = publication(&hub, &clock).sink();
    let mut video = Video::new(Settings {
        gop_frames: 0,
        ..Settings::default()
    });
    let running = |passing| Status::Running {
        source: "film".to_owned(),
        encoder: String::new(),
        passing,
    };
    sink(Output::Status(running(true)));
    sink(Output::Track(video.track()));
    for _ in 0..90 {
        clock.advance_ms(33);
        sink(Output::Frame(video.next_frame(clock.wall())));
    }
    let burst = || {
        let stream = hub.stream(&StreamName::default_stream(), clock.now()).unwrap();
        stream.start(clock.now()).burst_frames
    };
    assert_eq!((burst(), burst()), (90, 90), "everything since the last keyframe");
    // Its slate and its drawn pictures come from an encoder of ours.
    sink(Output::Status(running(false)));
    assert_eq!(burst(), 0, "a new keyframe, which is asked for");
    sink(Output::Status(running(true)));
    assert_eq!(burst(), 90);
}
