//! Files on disk that may be recordings, or what a crash left of one.
#![no_main]

use input::Input;
use libfuzzer_sys::fuzz_target;
use media::recording::{Found, Head, ROOM_BYTES, Scanner, Search};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let piece = usize::from(input.byte()) + 1;
    // The room in a head is as long as the longest inputs that are tried: it is put in here.
    let head = [input.piece(), &[0; ROOM_BYTES]].concat();
    let file = [&head, input.rest()].concat();
    let media_at = match Head::read(&file) {
        Found::Whole(_, media_at) => media_at,
        Found::Short | Found::Other => head.len(),
    };
    let media = file.get(media_at..).expect("a head is as long as the file at the most");
    let mut at_once = Scanner::new();
    at_once.push(media);
    let mut in_pieces = Scanner::new();
    for piece in media.chunks(piece) {
        if !in_pieces.push(piece) {
            break;
        }
    }
    assert_eq!(at_once.whole(), in_pieces.whole());
    assert_eq!(at_once.fault(), in_pieces.fault());
    // What is called whole is there, and is whole without what is behind it.
    let whole = usize::try_from(at_once.whole().bytes).expect("it was in memory");
    let (whole, behind) = media.split_at_checked(whole).expect("no more than there was");
    let mut again = Scanner::new();
    assert!(again.push(whole));
    assert_eq!(again.whole(), at_once.whole());
    let fragments = at_once.whole().fragments;
    let is_sealed = Search::new(fragments).push(behind);
    let mut search = Search::new(fragments);
    assert_eq!(behind.chunks(piece).any(|piece| search.push(piece)), is_sealed);
    // Whatever is whole would not be cut off if it were not.
    assert_eq!(Search::new(0).push(whole), fragments > 0);
});
