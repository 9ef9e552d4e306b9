use super::*;

#[test]
fn sizes_are_clamped() {
    let config = PacketizerConfig {
        payload_type: 96,
        ssrc: 1,
        first_sequence: 0,
        timestamp_offset: 0,
        max_packet_bytes: 1,
    };
    let format = Format::H264(media::h264::Format::default());
    assert_eq!(
        Packetizer::new(&format, config).config().max_packet_bytes,
        MIN_PACKET_BYTES
    );
}
