use super::*;
use proptest::prelude::*;

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
    }
}
