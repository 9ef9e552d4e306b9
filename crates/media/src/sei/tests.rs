use super::*;
use proptest::prelude::*;

const TIME: WallTime = WallTime::from_unix_micros(1_700_000_000_123_456);

/// The message of [`TIME`] without NAL header and stop bit, with `change` made to it.
fn message_with(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = h264(TIME)[1..H264_BYTES - 1].to_vec();
    change(&mut message);
    message
}

fn read(messages: &[Vec<u8>]) -> Option<WallTime> {
    let unit = [&[6], &messages.concat()[..], &[0x80]].concat();
    read_h264(&unit)
}

#[test]
fn it_is_found_behind_other_messages() {
    // Longer than 255, with a type above 255, empty, and with zeros that call for emulation prevention.
    let long = [&[5, 0xff, 45][..], &[9; 300]].concat();
    let high = [0xff, 0xff, 0xff, 7, 2, 1, 1].to_vec();
    let empty = vec![4, 0];
    let escaped = vec![1, 4, 0, 0, 3, 1, 7];
    assert_eq!(read(&[long, high, empty, escaped, message_with(|_| {})]), Some(TIME));
}

#[test]
fn other_uuids_and_cut_messages_are_not_ours() {
    assert_eq!(read(&[message_with(|message| message[2] ^= 1)]), None);
    for length in 0..H264_BYTES - 2 {
        assert_eq!(read_h264(&h264(TIME)[..length]), None);
    }
    assert_eq!(read_h265(&h264(TIME)), None);
    assert_eq!(read_h264(&h265(TIME)), None);
}

#[test]
fn later_versions_may_append() {
    let later = message_with(|message| {
        message[1] += 2;
        message[18] = 2;
        message.extend([1, 2]);
    });
    assert_eq!(read(&[later]), Some(TIME));
    assert_eq!(read(&[message_with(|message| message[18] = 0)]), None);
}

#[test]
fn the_limit_of_messages_is_exact() {
    let mut messages = vec![vec![4, 0]; MAX_MESSAGES - 1];
    messages.push(message_with(|_| {}));
    assert_eq!(read(&messages), Some(TIME));
    messages.insert(0, vec![4, 0]);
    assert_eq!(read(&messages), None);
}

#[test]
fn it_is_found_in_frame_data() {
    let mut data = Vec::new();
    for unit in [&[0x09, 0xf0][..], &h264(TIME), &[0x65, 0x88]] {
        annexb::push_length_prefixed(unit, &mut data);
    }
    assert_eq!(find(&data, Codec::H264), Some(TIME));
    assert_eq!(find(&data, Codec::H265), None);
    assert_eq!(find(&data, Codec::Opus), None);
}

#[test]
fn the_last_of_many_pictures_is_found_in_any_framing() {
    let later = TIME.offset_micros(33_000);
    let bytes = |first: &[u8], second: &[u8]| [&[1, 2, 3][..], first, &[0x65; 90], second, &[0x41; 40]].concat();
    assert_eq!(find_last(&bytes(&h264(TIME), &h264(later)), Codec::H264), Some(later));
    assert_eq!(find_last(&bytes(&h265(TIME), &h265(later)), Codec::H265), Some(later));
    assert_eq!(find_last(&bytes(&h264(TIME), &h264(later)), Codec::Opus), None);
    // One that is cut off, or has something else in front, is passed over.
    let cut = h264(later);
    assert_eq!(
        find_last(&[&h264(TIME)[..], &[9; 8], &cut[..cut.len() - 2]].concat(), Codec::H264),
        Some(TIME)
    );
    assert_eq!(find_last(&[&h264(TIME)[..], &UUID].concat(), Codec::H264), Some(TIME));
    for bytes in [&[][..], &UUID[..15], &UUID[..], &h264(TIME)[1..]] {
        assert_eq!(find_last(bytes, Codec::H264), None);
    }
}

#[test]
fn it_goes_behind_the_messages_that_are_there() {
    let framed = |units: &[&[u8]]| {
        let mut data = Vec::new();
        units
            .iter()
            .for_each(|unit| annexb::push_length_prefixed(unit, &mut data));
        Bytes::from(data)
    };
    let (buffering, idr) = (&[0x06, 0, 1, 0x80, 0x80][..], &[0x65, 0x88][..]);
    let stamped = insert(&framed(&[buffering, idr, idr]), Codec::H264, TIME);
    assert_eq!(stamped, framed(&[buffering, &h264(TIME), idr, idr]));
    assert_eq!(insert(&stamped, Codec::H264, TIME.offset_micros(1)), stamped);
    let idr = &[19 << 1, 1, 0x80][..];
    assert_eq!(insert(&framed(&[idr]), Codec::H265, TIME), framed(&[&h265(TIME), idr]));
    assert_eq!(insert(&framed(&[idr]), Codec::G711, TIME), framed(&[idr]));
    assert_eq!(insert(&Bytes::new(), Codec::H264, TIME), framed(&[&h264(TIME)]));
}

proptest! {
    #[test]
    fn round_trip_without_emulation_prevention(unix_micros: i64) {
        let time = WallTime::from_unix_micros(unix_micros);
        prop_assert_eq!(read_h264(&h264(time)), Some(time));
        prop_assert_eq!(read_h265(&h265(time)), Some(time));
        prop_assert!(!h264(time).contains(&0));
        prop_assert!(!h265(time)[2..].contains(&0));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (read_h264(&bytes), read_h265(&bytes), find(&bytes, Codec::H264), find(&bytes, Codec::H265));
        insert(&Bytes::from(bytes), Codec::H264, TIME);
    }
}
