use proptest::prelude::*;
use testkit::clock::SimClock;

use super::*;

/// One second of 30 pictures from x264, in slices, as the program would write it.
fn stream(arguments: &[&str]) -> Vec<u8> {
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    ffmpeg.args([
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x240:rate=30",
        "-t",
        "1",
    ]);
    ffmpeg.args([
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-pix_fmt",
        "yuv420p",
        "-g",
        "15",
    ]);
    ffmpeg.args(arguments).args(["-f", "h264", "-"]);
    let output = ffmpeg.output().expect("ffmpeg runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The stream cut into its access units, by what FFmpeg puts in front of each.
fn access_units(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = stream
        .windows(5)
        .enumerate()
        .filter(|(_, bytes)| bytes[..4] == [0, 0, 0, 1] && bytes[4] & 0x1F == 9)
        .map(|(at, _)| at)
        .collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| &stream[start..end])
        .collect()
}

const DELIMITED: [&str; 2] = ["-x264-params", "aud=1:slices=2:sliced-threads=0"];

fn taken(captured: &Captured) -> Taken {
    match captured {
        Captured::AccessUnit { taken, .. } => *taken,
        Captured::Picture { .. } => panic!("a picture"),
    }
}

fn cutter() -> Cutter {
    Cutter::new(FrameRate::whole(30))
}

#[test]
fn a_picture_is_whole_when_its_writer_falls_silent() {
    let stream = stream(&DELIMITED);
    let units = access_units(&stream);
    assert_eq!(units.len(), 30);
    let clock = SimClock::new();
    let mut cutter = cutter();
    for unit in units {
        // A large write arrives in several reads; the first bytes tell when the picture came.
        let (head, tail) = unit.split_at(unit.len() / 3);
        let came = clock.now();
        cutter.push(head, &clock).unwrap();
        clock.advance_ms(2);
        cutter.push(tail, &clock).unwrap();
        assert!(cutter.is_empty(), "nothing tells yet that it is whole");
        let patience = cutter.patience().unwrap() - clock.now();
        assert!(patience <= Duration::from_micros(8_334), "{patience:?}");
        clock.advance(patience);
        cutter.silence(&clock);
        let whole = cutter.pop().unwrap();
        assert_eq!((taken(&whole).at, taken(&whole).source), (came, CaptureSource::Arrival));
        assert!(cutter.is_empty() && cutter.patience().is_none());
        clock.advance_ms(20);
    }
}

#[test]
fn a_stream_that_cannot_be_shown_is_given_up_with_its_reason() {
    let clock = SimClock::new();
    let mut cutter = cutter();
    // A sequence parameter set with chroma_format_idc 4, a picture parameter set, and IDR pictures.
    let sets = [
        &[0, 0, 0, 1, 0x67, 100, 0, 40, 0b1010_0101, 0x40][..],
        &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80],
    ];
    let picture = [&[0, 0, 0, 1, 0x65, 0x88][..], &[0xab; 60_000]].concat();
    cutter.push(&sets.concat(), &clock).unwrap();
    let why = (0..100).find_map(|_| cutter.push(&picture, &clock).err()).unwrap();
    assert!(
        why.starts_with("nothing of its output can be shown: unusable parameter set: sequence parameter set: "),
        "{why}"
    );
}

#[test]
fn the_next_picture_ends_the_one_before_without_any_silence() {
    let stream = stream(&DELIMITED);
    let units = access_units(&stream);
    let clock = SimClock::new();
    let mut cutter = cutter();
    let mut came = None;
    for unit in &units {
        let now = clock.now();
        cutter.push(unit, &clock).unwrap();
        assert_eq!(cutter.pop().map(|whole| taken(&whole).at), came);
        came = Some(now);
        clock.advance_ms(5);
    }
    cutter.silence(&clock);
    assert_eq!(cutter.pop().map(|whole| taken(&whole).at), came);
}

#[test]
fn a_writer_that_pauses_within_pictures_is_not_hurried() {
    let stream = stream(&DELIMITED);
    let clock = SimClock::new();
    let mut cutter = cutter();
    let mut whole = 0;
    for unit in access_units(&stream) {
        // Between its slices: guessed wrong until that is known.
        let second = unit.windows(4).rposition(|bytes| bytes[..3] == [0, 0, 1]).unwrap();
        for part in [&unit[..second], &unit[second..]] {
            cutter.push(part, &clock).unwrap();
            clock.advance_ms(16);
            if cutter.patience().is_some_and(|due| clock.now() >= due) {
                cutter.silence(&clock);
            }
        }
        while let Some(unit) = cutter.pop() {
            let Captured::AccessUnit { unit, .. } = unit else {
                panic!("a picture")
            };
            whole += u32::from(
                media::annexb::nal_units(&unit.data)
                    .filter_map(h264::slice_header)
                    .count()
                    == 2,
            );
        }
    }
    assert!(cutter.patience().is_none());
    // One is still waiting for the next; two were torn.
    assert!(whole >= 27, "{whole}");
}

#[test]
fn the_time_in_the_stream_is_believed_when_it_can_be() {
    let stream = stream(&DELIMITED);
    let unit = access_units(&stream)[0];
    let clock = SimClock::new();
    clock.advance_ms(60_000);
    let deliver = |age_micros: i64| {
        let sei = media::sei::h264(clock.wall().offset_micros(-age_micros));
        // Behind delimiter and parameter sets, in front of the first slice.
        let slice = unit
            .windows(5)
            .position(|bytes| bytes[..3] == [0, 0, 1] && bytes[3] & 0x1F == 5)
            .unwrap()
            - 1;
        let stamped = [&unit[..slice], &[0, 0, 0, 1], &sei, &unit[slice..]].concat();
        let mut cutter = cutter();
        cutter.push(&stamped, &clock).unwrap();
        cutter.silence(&clock);
        taken(&cutter.pop().unwrap())
    };
    let now = clock.now();
    assert_eq!(
        deliver(40_000),
        Taken {
            at: now - Duration::from_millis(40),
            source: CaptureSource::Sei
        }
    );
    // A clock slightly ahead: now, for no picture is from the future.
    assert_eq!(
        deliver(-50_000),
        Taken {
            at: now,
            source: CaptureSource::Sei
        }
    );
    for age in [-50_001, 10_000_001, i64::MAX / 2] {
        assert_eq!(
            deliver(age),
            Taken {
                at: now,
                source: CaptureSource::Arrival
            }
        );
    }
}

#[test]
fn other_streams_are_named() {
    let name = |head: &[u8]| cutter().push(head, &SimClock::new()).err().unwrap_or_default();
    assert!(name(&[&[0x47, 0x40][..], &[0; 186], &[0x47]].concat()).contains("MPEG transport stream"));
    assert!(name(b"\0\0\0\x20ftypisom").contains("MP4"));
    assert!(name(&[0xFF, 0xD8, 0xFF, 0xE0]).contains("Motion JPEG"));
    assert!(name(&[0, 0, 0, 1, 0x40, 1]).contains("H.265"));
    assert!(name(&[0x1A, 0x45, 0xDF, 0xA3]).contains("Matroska"));
    assert!(name(b"FLV\x01").contains("FLV") && name(b"RIFF").contains("AVI") && name(b"YUV4MPEG2 ").contains("raw"));
    assert_eq!(name(&[0, 0, 0, 1, 0x67, 0x42, 0xC0]), "");
}

#[test]
fn four_megabytes_without_a_picture_are_enough() {
    let clock = SimClock::new();
    let mut cutter = cutter();
    let mut bytes = b"hello world".to_vec();
    bytes.resize(MAX_BYTES_BEFORE_FIRST, 0xAA);
    assert_eq!(cutter.push(&bytes, &clock), Ok(()));
    let error = cutter.push(&[0xAA], &clock).err().unwrap();
    assert_eq!(
        error,
        "its output is not H.264; it begins with [68, 65, 6c, 6c, 6f, 20, 77, 6f]"
    );
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(
        pieces in prop::collection::vec((prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..40), 0..30_u64), 0..15),
    ) {
        let clock = SimClock::new();
        let mut cutter = cutter();
        for (piece, wait) in pieces {
            let _ = cutter.push(&piece, &clock);
            clock.advance_ms(wait);
            if cutter.patience().is_some_and(|due| clock.now() >= due) {
                cutter.silence(&clock);
            }
            while let Some(whole) = cutter.pop() {
                prop_assert!(taken(&whole).at <= clock.now());
            }
        }
    }
}
