//! Files on disk that may be recordings, or what a crash left of one.
#![no_main]

use input::Input;
use libfuzzer_sys::fuzz_target;
use media::recording::{Found, Head, Scanner};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let piece = usize::from(input.byte()) + 1;
    let file = input.rest();
    let media_at = match Head::read(file) {
        Found::Whole(_, media_at) => media_at,
        Found::Short | Found::Other => 0,
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
    let mut again = Scanner::new();
    assert!(again.push(media.get(..whole).expect("no more than there was")));
    assert_eq!(again.whole(), at_once.whole());
});
