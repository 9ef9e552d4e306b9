//! Which packets viewers share, and with which numbers.

use media::StreamName;
use media::hub::{Event, Hub, Limits, Publisher};
use protocol::rtp::Packet;
use testkit::clock::SimClock;
use testkit::publishing::publish;
use testkit::stream::{Settings, Video};

use super::*;

/// A stream of two tracks of pictures and its forms.
struct World {
    clock: SimClock,
    publisher: Publisher,
    videos: [Video; 2],
    stream: Arc<Stream>,
    forms: Forms,
    _hub: Hub,
}

impl World {
    fn new() -> Self {
        use media::Clock as _;
        let clock = SimClock::new();
        let hub = Hub::new(Limits::default());
        let videos = [0, 1].map(|index| {
            Video::new(Settings {
                track: TrackIndex(index),
                ..Settings::default()
            })
        });
        let name = StreamName::default_stream();
        let tracks = videos.iter().map(Video::track).collect();
        let publisher = publish(&hub, &name, tracks, &clock);
        let stream = hub.stream(&name, clock.now()).unwrap();
        // Sequence numbers begin near their end.
        let forms = Forms::new(&stream, || 0xfffe);
        Self {
            clock,
            publisher,
            videos,
            stream,
            forms,
            _hub: hub,
        }
    }

    /// One picture of each track, as the hub has them.
    fn publish(&mut self) -> [Arc<Entry>; 2] {
        use media::Clock as _;
        let mut live = self.stream.live();
        for video in &mut self.videos {
            let frame = video.next_frame(self.clock.wall());
            self.publisher.publish(frame, self.clock.advance_ms(16)).unwrap();
        }
        let mut entries = Vec::new();
        assert!(matches!(
            self.stream.read(&mut live, 2, &mut entries),
            Some(Event::Frames(2))
        ));
        entries.try_into().unwrap()
    }
}

fn numbers(rendering: &Rendering) -> Vec<u16> {
    let packet = |range| &rendering.bytes[range];
    let packets = rendering.ranges.packets().map(packet);
    let skip = rendering.ranges.framing_bytes();
    packets
        .map(|bytes| Packet::parse(&bytes[skip..]).unwrap().header.sequence)
        .collect()
}

const CHANNEL: Framing = Framing::Interleaved { channel: 0 };

#[test]
fn each_track_is_numbered_for_itself_whichever_frames_are_asked_for() {
    let mut world = World::new();
    let entries: Vec<_> = (0..5).flat_map(|_| world.publish()).collect();
    // The newest first, as for a viewer who is live.
    assert!(world.forms.packets(&entries[9]).is_some());
    let mut next = [0xfffe_u16; 2];
    let mut shared = 0;
    for entry in &entries {
        let track = usize::from(entry.frame.track.0);
        let packetizer = world.forms.packetizer(entry.frame.track).unwrap();
        assert_eq!(world.forms.sequence(entry), Some(next[track]));
        if let Some(packets) = world.forms.packets(entry) {
            let rendering = packets.rendering(packetizer, &entry.frame, CHANNEL).unwrap();
            let expected: Vec<_> = (0..rendering.ranges.len())
                .map(|n| next[track].wrapping_add(n))
                .collect();
            assert_eq!(numbers(rendering), expected);
            shared += 1;
        }
        next[track] = next[track].wrapping_add(packetizer.packet_count(&entry.frame));
    }
    assert_eq!(shared, KEPT_FRAMES);
}

#[test]
fn a_framing_is_rendered_once_and_only_a_few_are_kept() {
    let mut world = World::new();
    let [entry, _] = world.publish();
    let packetizer = world.forms.packetizer(entry.frame.track).unwrap();
    let packets = world.forms.packets(&entry).unwrap();
    let rendering = |framing| packets.rendering(packetizer, &entry.frame, framing);
    let first = rendering(CHANNEL).unwrap();
    let again = world.forms.packets(&entry).unwrap();
    let again = again.rendering(packetizer, &entry.frame, CHANNEL).unwrap();
    assert!(std::ptr::eq(first, again));
    assert_eq!(numbers(first), numbers(rendering(Framing::Datagram).unwrap()));
    let channels = (1..=u8::MAX).map(|channel| Framing::Interleaved { channel });
    let kept: Vec<_> = channels.filter(|&framing| rendering(framing).is_some()).collect();
    assert_eq!(kept.len(), OTHER_FRAMINGS);
}

#[test]
fn odd_channels_take_no_room_from_usual_framings() {
    let mut world = World::new();
    for entry in world.publish() {
        let packetizer = world.forms.packetizer(entry.frame.track).unwrap();
        let packets = world.forms.packets(&entry).unwrap();
        let rendering = |framing| packets.rendering(packetizer, &entry.frame, framing);
        for channel in (1..=u8::MAX).step_by(2) {
            rendering(Framing::Interleaved { channel });
        }
        let own = Framing::Interleaved {
            channel: 2 * entry.frame.track.0,
        };
        for framing in [Framing::Datagram, CHANNEL, own] {
            let first = rendering(framing).expect("there is room");
            assert_eq!(first.framing, framing);
            assert!(std::ptr::eq(first, rendering(framing).unwrap()), "{framing:?}");
        }
    }
}

#[test]
fn numbers_go_on_while_nobody_watches() {
    let mut world = World::new();
    let [first, _] = world.publish();
    let begin = world.forms.sequence(&first).unwrap();
    assert!(world.forms.packets(&first).is_some());
    world.forms.clear();
    for _ in 0..3 {
        world.publish();
    }
    let [last, _] = world.publish();
    let packetizer = world.forms.packetizer(TrackIndex(0)).unwrap();
    let between = packetizer.packet_count(&first.frame) + 3 * packetizer.packet_count(&last.frame);
    assert_eq!(world.forms.sequence(&last), Some(begin.wrapping_add(between)));
}
