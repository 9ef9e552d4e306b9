//! The hub as its drivers use it.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::hub::{Event, Hub, Limits, Origin, Publishing};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{
    Capture, CaptureSource, Format, Frame, MediaTime, StreamName, Timescale, Track, TrackIndex, WallTime, h264,
};

#[test]
fn a_frame_goes_from_publisher_to_reader() {
    #[allow(clippy::disallowed_methods)]
    let now = Instant::now();
    let hub = Hub::new(Limits::default());
    let name = StreamName::default_stream();
    let format = Arc::new(Format::H264(h264::Format::default()));
    let track = Track {
        index: TrackIndex(0),
        format: Arc::clone(&format),
        timescale: Timescale::VIDEO,
    };
    let info = SessionInfo {
        stream: name.clone(),
        role: Role::Publisher,
        protocol: "test",
        remote: None,
        agent: None,
        since: WallTime::from_unix_micros(0),
    };
    let publishing = Publishing {
        stats: Arc::new(SessionStats::new(info)),
        origin: Origin::Remote,
        keyframe_requests: None,
    };
    let mut publisher = hub.publish(&name, vec![track], publishing, now).unwrap();
    let mut reader = hub.stream(&name, now).unwrap().join(now).unwrap();
    let mut frames = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(reader.poll_next(&mut cx, &mut frames).is_pending());
    let frame = Frame {
        track: TrackIndex(0),
        time: MediaTime::new(90, Timescale::VIDEO),
        capture: Capture {
            at: WallTime::from_unix_micros(1),
            source: CaptureSource::Camera,
        },
        keyframe: true,
        format,
        data: Bytes::from_static(&[0, 0, 0, 1, 0x65]),
    };
    publisher.publish(frame, now + Duration::from_millis(1)).unwrap();
    assert!(matches!(
        reader.poll_next(&mut cx, &mut frames),
        Poll::Ready(Event::Frames(1))
    ));
    assert_eq!(frames[0].frame.time, MediaTime::new(90, Timescale::VIDEO));
}
