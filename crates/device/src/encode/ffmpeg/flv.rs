//! The stream that FFmpeg writes: FLV, for its framing alone.
//!
//! Why not a plain H.264 byte stream: its access units end where the next one begins, so that every picture would come out a frame
//! interval late (33 ms at 30 pictures a second). A tag of FLV says how long it is. Of the formats that do, FLV is the one
//! that every version and every H.264 encoder of FFmpeg is used with (RTMP).
//!
//! Adobe Flash Video File Format Specification 10.1, annex E.

use media::annexb;

/// Largest tag that is taken, in bytes: the largest access unit we carry, and some.
const MAX_TAG_BYTES: usize = media::annexb::MAX_ACCESS_UNIT_BYTES + 64;
/// Signature, version, flags, size of the header, size of the tag before the first.
const HEADER_BYTES: usize = 9 + 4;
const TAG_HEADER_BYTES: usize = 11;
/// Behind every tag: its size.
const TRAILER_BYTES: usize = 4;
const VIDEO_TAG: u8 = 9;
const AVC: u8 = 7;

/// Something that FFmpeg encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// NAL units that come before all pictures: SPS and PPS.
    ParameterSets(Vec<Vec<u8>>),
    /// The NAL units of one picture, and its time in milliseconds.
    Picture { at_ms: u32, nals: Vec<Vec<u8>> },
}

/// Why a stream cannot be FLV with H.264.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("its output does not begin like FLV")]
    Header,
    #[error("its output holds a tag of {0} bytes")]
    TooLarge(usize),
}

/// Takes the stream in any pieces.
#[derive(Default)]
pub(super) struct Parser {
    bytes: Vec<u8>,
    began: bool,
}

impl Parser {
    /// Takes what was read next, and calls `tag` for each complete tag.
    pub(super) fn push(&mut self, bytes: &[u8], mut tag: impl FnMut(Tag)) -> Result<(), Malformed> {
        self.bytes.extend_from_slice(bytes);
        let mut rest = &self.bytes[..];
        if !self.began {
            if rest.len() < HEADER_BYTES {
                return Ok(());
            }
            if !rest.starts_with(b"FLV\x01") {
                return Err(Malformed::Header);
            }
            self.began = true;
            rest = &rest[HEADER_BYTES..];
        }
        while let Some(header) = rest.first_chunk::<TAG_HEADER_BYTES>() {
            let [kind, size_1, size_2, size_3, time_1, time_2, time_3, time_0, ..] = *header;
            let size = u32::from_be_bytes([0, size_1, size_2, size_3]) as usize;
            if size > MAX_TAG_BYTES {
                return Err(Malformed::TooLarge(size));
            }
            let whole = TAG_HEADER_BYTES + size + TRAILER_BYTES;
            let Some((complete, after)) = rest.split_at_checked(whole) else {
                break;
            };
            let body = &complete[TAG_HEADER_BYTES..TAG_HEADER_BYTES + size];
            let at_ms = u32::from_be_bytes([time_0, time_1, time_2, time_3]);
            if kind == VIDEO_TAG
                && let Some(parsed) = video(body, at_ms)
            {
                tag(parsed);
            }
            rest = after;
        }
        let left = rest.len();
        self.bytes.drain(..self.bytes.len() - left);
        Ok(())
    }
}

/// A video tag: frame type and codec, kind of packet, composition time, data.
fn video(body: &[u8], at_ms: u32) -> Option<Tag> {
    let (head, data) = body.split_first_chunk::<5>()?;
    let [kind, packet, ..] = *head;
    match (kind & 0x0f, packet) {
        (AVC, 0) => Some(Tag::ParameterSets(parameter_sets(data)?)),
        (AVC, 1) => Some(Tag::Picture {
            at_ms,
            nals: nal_units(data),
        }),
        _ => None,
    }
}

/// NAL units behind their lengths, or, from encoders that gave FFmpeg no parameter sets in time, behind start codes. The bytes of a
/// length of 256 to 511 look like a start code: it is the lengths that must add up.
fn nal_units(data: &[u8]) -> Vec<Vec<u8>> {
    let mut behind_lengths = annexb::nal_units(data);
    let units: Vec<Vec<u8>> = behind_lengths.by_ref().map(<[u8]>::to_vec).collect();
    if behind_lengths.rest().is_empty() {
        units
    } else {
        annexb::units(data).map(<[u8]>::to_vec).collect()
    }
}

/// The SPS and PPS of an `avcC` record (ISO/IEC 14496-15 §5.3.3.1), or behind start codes.
fn parameter_sets(data: &[u8]) -> Option<Vec<Vec<u8>>> {
    if data.first() != Some(&1) {
        return Some(nal_units(data));
    }
    let mut sets = Vec::new();
    let (count, mut rest) = data.get(5..)?.split_first()?;
    rest = take_sets(rest, usize::from(count & 0x1f), &mut sets)?;
    let (count, rest) = rest.split_first()?;
    take_sets(rest, usize::from(*count), &mut sets)?;
    Some(sets)
}

fn take_sets<'a>(mut rest: &'a [u8], count: usize, sets: &mut Vec<Vec<u8>>) -> Option<&'a [u8]> {
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let (set, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        sets.push(set.to_vec());
        rest = behind;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(kind: u8, at_ms: u32, body: &[u8]) -> Vec<u8> {
        let [time_0, time_1, time_2, time_3] = at_ms.to_be_bytes();
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
        bytes.extend_from_slice(&[time_1, time_2, time_3, time_0, 0, 0, 0]);
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&(body.len() as u32 + 11).to_be_bytes());
        bytes
    }

    fn stream() -> Vec<u8> {
        let mut stream = b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec();
        stream.extend(tag(18, 0, b"onMetaData"));
        stream.extend(tag(
            9,
            0,
            &[
                0x17, 0, 0, 0, 0, 1, 66, 0, 30, 0xff, 0xe1, 0, 2, 0x67, 66, 1, 0, 1, 0x68,
            ],
        ));
        stream.extend(tag(9, 33, &[0x17, 1, 0, 0, 0, 0, 0, 0, 2, 0x65, 9, 0, 0, 0, 1, 0x65]));
        stream.extend(tag(
            9,
            0x0123_4567,
            &[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x41, 7, 0, 0, 1, 0x41],
        ));
        stream.extend(tag(9, 100, &[0x17, 2, 0, 0, 0]));
        stream
    }

    fn expected() -> Vec<Tag> {
        vec![
            Tag::ParameterSets(vec![vec![0x67, 66], vec![0x68]]),
            Tag::Picture {
                at_ms: 33,
                nals: vec![vec![0x65, 9], vec![0x65]],
            },
            Tag::Picture {
                at_ms: 0x0123_4567,
                nals: vec![vec![0x41, 7], vec![0x41]],
            },
        ]
    }

    #[test]
    fn only_flv_of_bearable_size_is_taken() {
        let mut parser = Parser::default();
        assert_eq!(parser.push(b"ffmpeg: not found", |_| {}), Err(Malformed::Header));
        let mut parser = Parser::default();
        let mut stream = stream();
        stream.extend([9, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parser.push(&stream, |_| {}), Err(Malformed::TooLarge(0xff_ffff)));
    }

    #[test]
    fn a_length_that_looks_like_a_start_code_is_a_length() {
        for length in [1_usize, 0x165, 0x10000] {
            let mut data = (length as u32).to_be_bytes().to_vec();
            data.resize(4 + length, 0x41);
            assert_eq!(nal_units(&data), [data[4..].to_vec()]);
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_tags(cuts in prop::collection::vec(1_usize..40, 1..60)) {
            let stream = stream();
            let (mut parser, mut tags, mut at) = (Parser::default(), Vec::new(), 0);
            for cut in cuts.into_iter().chain([stream.len()]) {
                let end = (at + cut).min(stream.len());
                parser.push(&stream[at..end], |tag| tags.push(tag)).unwrap();
                at = end;
            }
            prop_assert_eq!(tags, expected());
        }

        #[test]
        fn garbage_is_no_danger(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut parser = Parser::default();
            let mut stream = b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec();
            stream.extend(tag(9, 0, &bytes));
            stream.extend(&bytes);
            let _ = parser.push(&stream, |_| {});
        }
    }
}
