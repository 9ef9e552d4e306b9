use std::str::FromStr as _;

use proptest::prelude::*;

use super::*;
use crate::StreamName;
use crate::time::WallTime;

fn head() -> Head {
    Head {
        storage: *b"0123456789abcdef",
        camera: StreamName::from_str("house/front-door").unwrap(),
        run: 0x0102_0304_0506_0708,
        number: 59,
        start: WallTime::from_unix_micros(1_763_719_485_123_456),
    }
}

/// `ftyp` and a `moov` that has nothing in it.
const INIT: &[u8] = b"\0\0\0\x10ftypiso5\0\0\0\0\0\0\0\x0cmoov1234";

/// A box of this content.
fn mp4_box(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(8 + content.len() as u32).to_be_bytes()[..], name, content].concat()
}

fn fragment(content: &[u8]) -> Vec<u8> {
    [mp4_box(b"moof", b"samples"), mp4_box(b"mdat", content)].concat()
}

fn told(number: usize) -> Told {
    Told {
        end_90k: 90_000 * (number as i64 + 1),
        wall: WallTime::from_unix_micros(1_763_719_486_000_000 + 1_000_000 * number as i64),
    }
}

/// What stands behind the head, and what was whole after each fragment.
fn sealed(fragments: &[Vec<u8>]) -> (Vec<u8>, Vec<Whole>) {
    let mut sealer = Sealer::new();
    let (mut bytes, mut wholes) = (Vec::new(), vec![Whole::default()]);
    for (number, fragment) in fragments.iter().enumerate() {
        let seal = sealer.seal(fragment, &told(number));
        bytes.extend_from_slice(fragment);
        bytes.extend_from_slice(&seal);
        wholes.push(*sealer.whole());
    }
    (bytes, wholes)
}

fn scanned(bytes: &[u8], piece: usize) -> Scanner {
    let mut scanner = Scanner::new();
    for piece in bytes.chunks(piece) {
        if !scanner.push(piece) {
            break;
        }
    }
    scanner
}

/// Whether a seal is found behind so many whole fragments.
fn searched(bytes: &[u8], fragments: u32, piece: usize) -> bool {
    let mut search = Search::new(fragments);
    bytes.chunks(piece).any(|piece| search.push(piece))
}

#[test]
fn a_head_is_read_as_it_was_written() {
    let bytes = head().write(INIT).unwrap();
    assert_eq!(Head::read(&bytes), Found::Whole(head(), bytes.len()));
    // What is behind it, what is made of the room, and a duration that was filled in, change nothing.
    let mut later = [&bytes[..], b"fragments"].concat();
    let room = bytes.len() - ROOM_BYTES;
    later[room + 4..room + 8].copy_from_slice(b"sidx");
    later[room - 4..room].copy_from_slice(b"5678");
    assert_eq!(Head::read(&later), Found::Whole(head(), bytes.len()));
    for length in 0..bytes.len() {
        assert_eq!(Head::read(&bytes[..length]), Found::Short, "{length}");
    }
    insta::assert_snapshot!(hex(&bytes[..bytes.len() - ROOM_BYTES + 8]));
}

/// However long the name is: words of eight bytes in the room, and in front of it, are divided by no page of a disk.
#[test]
fn the_room_is_aligned() {
    for length in 1..=255 {
        let Ok(camera) = StreamName::from_str(&"n".repeat(length)) else {
            continue;
        };
        let head = Head { camera, ..head() };
        let bytes = head.write(INIT).unwrap();
        assert_eq!(bytes.len() % 8, 0, "{length}");
        assert_eq!(Head::read(&bytes), Found::Whole(head, bytes.len()));
    }
}

fn hex(bytes: &[u8]) -> String {
    let lines = bytes.chunks(16).map(|line| {
        let hex: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
        let text: String = line
            .iter()
            .map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '.' })
            .collect();
        format!("{hex:48} {text}\n")
    });
    lines.collect()
}

#[test]
fn heads_have_limits() {
    let refused = |init: &[u8]| head().write(init).unwrap_err();
    assert_eq!(refused(b""), NoHead::NoFileType);
    assert_eq!(refused(b"\0\0\0\x08moov"), NoHead::NoFileType);
    assert_eq!(refused(b"\0\0\0\x18ftyp"), NoHead::NoFileType);
    let large = [INIT, &vec![0; MAX_HEAD_BYTES]].concat();
    assert!(matches!(refused(&large), NoHead::TooLarge(_)));
}

#[test]
fn the_files_of_others_are_not_ours() {
    for other in [
        &b"RIFF and so on"[..],
        b"\0\0\0\x10ftypiso5\0\0\0\0\0\0\0\x0cmoov1234 and many more bytes than the longest head of ours could have",
        &[0; 600],
    ] {
        assert_eq!(Head::read(other), Found::Other);
    }
    let bytes = head().write(INIT).unwrap();
    // Any byte of our box that is another. The first four are its length: with another it is still not known to be ours.
    for at in 16..16 + UUID_BOX_BYTES + 61 {
        let mut broken = bytes.to_vec();
        broken[at] ^= 1;
        assert!(!matches!(Head::read(&broken), Found::Whole(..)), "byte {at}");
    }
}

#[test]
fn what_is_whole_is_found() {
    let fragments = [fragment(b"one"), fragment(&[7; 3_000]), fragment(b"")];
    let (bytes, wholes) = sealed(&fragments);
    let scanner = scanned(&bytes, bytes.len());
    assert_eq!((scanner.whole(), scanner.fault()), (&wholes[3], None));
    assert_eq!(wholes[3].told, Some(told(2)));
    assert_eq!(wholes[3].bytes, bytes.len() as u64);
    // Zeros behind it, as ext4 leaves them.
    let scanner = scanned(&[&bytes[..], &[0; 700]].concat(), 100);
    assert_eq!((scanner.whole(), scanner.fault()), (&wholes[3], Some(Fault::Box(0))));
}

#[test]
fn a_seal_belongs_to_its_place() {
    let (bytes, wholes) = sealed(&[fragment(b"same"), fragment(b"same"), fragment(b"same")]);
    let one = bytes.len() / 3;
    // The second left out, or the first twice.
    let without = [&bytes[..one], &bytes[2 * one..]].concat();
    let twice = [&bytes[..one], &bytes[..one]].concat();
    for wrong in [without, twice] {
        let scanner = scanned(&wrong, wrong.len());
        assert_eq!((scanner.whole(), scanner.fault()), (&wholes[1], Some(Fault::Seal)));
    }
}

#[test]
fn a_fragment_without_end_is_not_followed() {
    let mut scanner = Scanner::new();
    let long = (MAX_FRAGMENT_BYTES as u32 / 2).to_be_bytes();
    let mut head = [&long[..], b"mdat"].concat();
    head.resize(64 << 10, 1);
    assert!(scanner.push(&head));
    let (mut taken, rest) = (head.len(), vec![1; 1 << 20]);
    while scanner.push(&rest) {
        taken += rest.len();
        assert!(taken < 2 * MAX_FRAGMENT_BYTES, "it would go on for ever");
    }
    assert!(matches!(scanner.fault(), Some(Fault::Box(_))));
}

/// Whichever bit of the seal that is due turns, it is known to be one: all of it but for the checksum tells it twice. Those of other files are not.
#[test]
fn a_damaged_seal_is_found() {
    let (bytes, wholes) = sealed(&[fragment(b"one"), fragment(b"two"), fragment(b"three")]);
    let behind = |whole: &Whole| bytes[whole.bytes as usize..].to_vec();
    for at in 0..SEAL_BYTES {
        for bit in 0..8 {
            let mut last = behind(&wholes[2]);
            let seal = last.len() - SEAL_BYTES;
            last[seal + at] ^= 1 << bit;
            assert!(searched(&last, 2, 9), "bit {bit} of byte {at}");
            // A place that is another, and a number that was there before.
            last[seal + at] ^= 1 << bit;
            assert!(!searched(&[&[0; 3], &last[..]].concat(), 3, 9));
        }
    }
    assert!(searched(&behind(&wholes[1])[20..], 1, 9), "a later one");
    assert!(
        !searched(&bytes[..wholes[1].bytes as usize + 20][20..], 1, 9),
        "an earlier one"
    );
    assert!(!searched(&[0; 4 * SEAL_BYTES], 0, 9), "zeros");
}

/// However much is looked through, no more of it is kept than a seal.
#[test]
fn a_search_has_a_limit() {
    let mut search = Search::new(0);
    for _ in 0..50 {
        assert!(!search.push(&[0x5a; 4_000]));
        assert!(search.pending.len() < SEAL_BYTES);
    }
}

proptest! {
    /// Wherever it is cut and however it comes: exactly the fragments that are there with their seals.
    #[test]
    fn a_file_that_is_cut(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..6),
        cut: proptest::sample::Index,
        piece in 1_usize..400,
    ) {
        let fragments: Vec<_> = contents.iter().map(|content| fragment(content)).collect();
        let (bytes, wholes) = sealed(&fragments);
        let cut = cut.index(bytes.len() + 1);
        let scanner = scanned(&bytes[..cut], piece);
        let expected = wholes.iter().rev().find(|whole| whole.bytes <= cut as u64).unwrap();
        prop_assert_eq!(scanner.whole(), expected);
        prop_assert_eq!(scanner.fault(), None);
    }

    /// Whichever bit turns, what is in front of it is found, and it is not.
    #[test]
    fn a_file_that_rots(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..6),
        at: proptest::sample::Index,
        bit in 0_u8..8,
        piece in 1_usize..400,
    ) {
        let fragments: Vec<_> = contents.iter().map(|content| fragment(content)).collect();
        let (mut bytes, wholes) = sealed(&fragments);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let scanner = scanned(&bytes, piece);
        let expected = wholes.iter().rev().find(|whole| whole.bytes <= at as u64).unwrap();
        prop_assert_eq!(scanner.whole(), expected);
    }

    /// A hole of any length: as long as a seal behind it is left, it is found; and none where only the beginning of a fragment is.
    #[test]
    fn seals_behind_damage(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..6),
        hole: (proptest::sample::Index, proptest::sample::Index),
        byte in any::<u8>(),
        piece in 1_usize..400,
    ) {
        let fragments: Vec<_> = contents.iter().map(|content| fragment(content)).collect();
        let (mut bytes, wholes) = sealed(&fragments);
        let from = hole.0.index(bytes.len());
        let until = from + hole.1.index(bytes.len() - from + 1);
        bytes[from..until].fill(byte);
        let whole = *scanned(&bytes, piece).whole();
        let behind = &bytes[whole.bytes as usize..];
        // Those of the fragments in front of the hole, and those it did not reach.
        let is_intact = |end: &Whole| end.bytes > whole.bytes && end.bytes - SEAL_BYTES as u64 >= until as u64;
        if wholes.iter().any(is_intact) {
            prop_assert!(searched(behind, whole.fragments, piece));
        }
        if whole.fragments as usize == fragments.len() {
            prop_assert!(!searched(behind, whole.fragments, piece));
        }
        // What a kill leaves of a fragment, and what a power cut makes of it.
        let (bytes, wholes) = sealed(&fragments);
        let cut = from.min(bytes.len() - SEAL_BYTES);
        let whole = wholes.iter().rev().find(|whole| whole.bytes <= cut as u64).unwrap();
        let seal = wholes[whole.fragments as usize + 1].bytes as usize - SEAL_BYTES;
        let torn = [&bytes[whole.bytes as usize..cut.min(seal)], &vec![0; until - from]].concat();
        prop_assert!(!searched(&torn, whole.fragments, piece));
    }

    #[test]
    fn no_bytes_panic(noise in proptest::collection::vec(any::<u8>(), 0..600), at: proptest::sample::Index) {
        Head::read(&noise);
        scanned(&noise, 7);
        let mut broken = [head().write(INIT).unwrap().to_vec(), noise].concat();
        let at = at.index(200);
        broken[at] = !broken[at];
        Head::read(&broken);
    }
}
