//! Through which servers a stream came, so that none is sent around in a circle.
//!
//! Belongs here: the marks that servers of ours leave in `Via` of RTSP (RFC 2326 §12.43) and HTTP (RFC 9110 §7.6.3), what they mean for who is asked to take a
//! stream. Does not belong here: the requests.
//!
//! A mark stands for one stream of one server, and tells nobody which: it is a keyed hash, under a key that each process draws. Who finds its own mark for the
//! name under which it is to take a stream has sent that stream out itself. Under another name it may come back: that makes a copy, and no circle.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use http::header::{HeaderMap, HeaderValue, VIA};
use media::StreamName;
use media::stats::SessionStats;

/// A stream that came through so many is not taken: each may give it another name, without end.
const MOST: usize = 16;
/// Hexadecimal digits of a mark: nobody meets another's by chance.
const MARK_DIGITS: usize = 24;
/// What a mark stands behind, so that it is told from what others write there.
const NAME: &str = "sightline-";

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
    let random: Vec<u8> = (0..4).flat_map(|_| crate::random::bits().to_be_bytes()).collect();
    hmac::Key::new(hmac::HMAC_SHA256, &random)
});

/// Why a stream is not taken. The text is for who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Circle {
    /// It was sent out from here.
    #[error(
        "the stream comes from here: it would go around in a circle; look at what forwards it back under this name"
    )]
    Closed,
    /// It never ends.
    #[error(
        "the stream came through {MOST} servers; look whether it goes around in a circle, under other and other names"
    )]
    Long,
}

/// The marks in what a `Via` says, as far as they are ours.
pub(crate) fn read(via: &str) -> Vec<Box<str>> {
    let words = via.split([',', ' ', '\t']);
    let marks = words.filter_map(|word| word.strip_prefix(NAME)).filter(|mark| {
        mark.len() == MARK_DIGITS
            && mark
                .bytes()
                .all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase())
    });
    marks.take(MOST).map(Box::from).collect()
}

/// All that the `Via` lines of a request by HTTP say.
pub(crate) fn of_headers(headers: &HeaderMap) -> Vec<Box<str>> {
    let lines = headers.get_all(VIA).iter().filter_map(|line| line.to_str().ok());
    read(&lines.collect::<Vec<_>>().join(","))
}

/// Whether a stream that came through these may be taken under this name.
pub(crate) fn check(marks: &[Box<str>], name: &StreamName) -> Result<(), Circle> {
    check_with(&KEY, marks, name)
}

fn check_with(key: &hmac::Key, marks: &[Box<str>], name: &StreamName) -> Result<(), Circle> {
    let own = mark(key, name);
    if marks.iter().any(|mark| **mark == *own) {
        return Err(Circle::Closed);
    }
    if marks.len() >= MOST {
        return Err(Circle::Long);
    }
    Ok(())
}

/// What `Via` says when a stream that this publisher gives is sent on, each entry behind this protocol.
pub(super) fn written(protocol: &str, publisher: Option<&SessionStats>, name: &StreamName) -> String {
    let own = mark(&KEY, name);
    let before = publisher.and_then(|stats| stats.came_through.get());
    let marks = before.into_iter().flatten().map(|mark| &**mark).chain([own.as_str()]);
    let entries: Vec<String> = marks.map(|mark| format!("{protocol} {NAME}{mark}")).collect();
    entries.join(", ")
}

/// The same as headers of a request by HTTP.
pub(super) fn headers(publisher: Option<&SessionStats>, name: &StreamName) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&written("1.1", publisher, name)) {
        headers.insert(VIA, value);
    }
    headers
}

fn mark(key: &hmac::Key, name: &StreamName) -> String {
    let tag = hmac::sign(key, name.as_str().as_bytes());
    let digits = tag
        .as_ref()
        .iter()
        .take(MARK_DIGITS / 2)
        .map(|byte| format!("{byte:02x}"));
    digits.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[seed; 32])
    }

    fn name(text: &str) -> StreamName {
        text.parse().unwrap()
    }

    #[test]
    fn a_circle_is_one_server_and_one_name() {
        let (a, b) = (key(1), key(2));
        let through: Vec<Box<str>> = [mark(&a, &name("garden")), mark(&b, &name("copy"))]
            .map(Box::from)
            .into();
        assert_eq!(check_with(&a, &through, &name("garden")), Err(Circle::Closed));
        assert_eq!(check_with(&b, &through, &name("copy")), Err(Circle::Closed));
        assert_eq!(
            check_with(&a, &through, &name("copy")),
            Ok(()),
            "another name is a copy"
        );
        assert_eq!(check_with(&key(3), &through, &name("garden")), Ok(()), "another server");
    }

    #[test]
    fn other_and_other_names_come_to_an_end() {
        let a = key(1);
        let mut through: Vec<Box<str>> = Vec::new();
        let refused = (0..100).find(|number| {
            let name = name(&format!("x{number}"));
            let refused = check_with(&a, &through, &name) == Err(Circle::Long);
            through.push(mark(&a, &name).into());
            refused
        });
        assert_eq!(refused, Some(MOST));
    }

    #[test]
    fn what_is_written_is_read_among_what_others_write() {
        let written = written("RTSP/1.0", None, &name("garden"));
        let marks = read(&format!(
            "RTSP/1.0 proxy.example (sightline-none), {written}, 1.1 sightline-XYZ"
        ));
        assert_eq!(marks.len(), 1);
        assert_eq!(check(&marks, &name("garden")), Err(Circle::Closed));
        assert_eq!(check(&marks, &name("yard")), Ok(()));
        let headers = headers(None, &name("garden"));
        assert_eq!(of_headers(&headers), marks);
        assert!(!written.contains("garden"));
    }

    proptest! {
        #[test]
        fn no_text_means_more_than_it_may(text in ".{0,400}") {
            prop_assert!(read(&text).len() <= MOST);
        }
    }
}
