//! The RTP packet header (RFC 3550 §5.1) and its extensions (RFC 8285).
//!
//! Belongs here: reading and writing the header and stepping through header extensions. Does not belong here: what a
//! payload or an extension means.

/// Bytes of a header without contributing sources and extension.
pub const HEADER_BYTES: usize = 12;

/// Profile of the one-byte form of header extensions (RFC 8285 §4.2).
const ONE_BYTE_PROFILE: u16 = 0xbede;
/// Profile of the two-byte form; the low four bits are for the application (RFC 8285 §4.3).
const TWO_BYTE_PROFILE: u16 = 0x1000;

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Shorter than its own header says.
    #[error("RTP packet of {actual} bytes is too short: {what} needs {needed}")]
    Truncated {
        /// The part that does not fit.
        what: &'static str,
        /// Bytes needed up to the end of that part.
        needed: usize,
        /// Bytes there are.
        actual: usize,
    },
    /// Version is not 2 (RFC 3550 §5.1).
    #[error("RTP version {0} instead of 2")]
    Version(u8),
    /// The padding count is zero or reaches into the header (RFC 3550 §5.1).
    #[error("RTP padding of {padding} bytes in a payload of {payload_bytes}")]
    Padding {
        /// What the last byte says.
        padding: u8,
        /// Bytes behind the header.
        payload_bytes: usize,
    },
}

/// The fixed part of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Marker bit: for video the last packet of an access unit.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in ticks of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

impl Header {
    /// The header's twelve bytes: no padding, no contributing sources, no extension.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [sequence_high, sequence_low] = self.sequence.to_be_bytes();
        let timestamp = self.timestamp.to_be_bytes();
        let ssrc = self.ssrc.to_be_bytes();
        [
            2 << 6,
            (u8::from(self.marker) << 7) | (self.payload_type & 0x7f),
            sequence_high,
            sequence_low,
            timestamp[0],
            timestamp[1],
            timestamp[2],
            timestamp[3],
            ssrc[0],
            ssrc[1],
            ssrc[2],
            ssrc[3],
        ]
    }
}

/// A packet read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed part of the header.
    pub header: Header,
    /// Header extensions; empty when there are none.
    pub extensions: Extensions<'a>,
    /// Payload without padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads one packet, which must be all of `bytes`.
    ///
    /// # Errors
    /// [`Error`] when version, lengths or padding contradict the bytes that are there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let actual = bytes.len();
        let truncated = |what, needed| Error::Truncated { what, needed, actual };
        let (fixed, mut rest) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(truncated("header", HEADER_BYTES))?;
        let version = fixed[0] >> 6;
        if version != 2 {
            return Err(Error::Version(version));
        }
        let sources_bytes = usize::from(fixed[0] & 0x0f) * 4;
        rest = rest
            .get(sources_bytes..)
            .ok_or(truncated("contributing sources", HEADER_BYTES + sources_bytes))?;
        let mut extensions = Extensions::default();
        if fixed[0] & 0x10 != 0 {
            let here = actual - rest.len();
            let (head, tail) = rest
                .split_first_chunk::<4>()
                .ok_or(truncated("extension header", here + 4))?;
            let profile = u16::from_be_bytes([head[0], head[1]]);
            let bytes = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
            let (body, tail) = tail
                .split_at_checked(bytes)
                .ok_or(truncated("extension", here + 4 + bytes))?;
            extensions = Extensions { profile, body };
            rest = tail;
        }
        if fixed[0] & 0x20 != 0 {
            let padding = rest.last().copied().unwrap_or(0);
            let kept = rest.len().checked_sub(usize::from(padding));
            rest = match kept.and_then(|kept| rest.get(..kept)) {
                Some(payload) if padding != 0 => payload,
                _ => {
                    return Err(Error::Padding {
                        padding,
                        payload_bytes: rest.len(),
                    });
                }
            };
        }
        Ok(Self {
            header: Header {
                marker: fixed[1] & 0x80 != 0,
                payload_type: fixed[1] & 0x7f,
                sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
                timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
                ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            },
            extensions,
            payload: rest,
        })
    }
}

/// The header extensions of one packet, in the one-byte or the two-byte form; those of an unknown profile are skipped.
/// Iterating yields the elements in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    profile: u16,
    body: &'a [u8],
}

/// One element of the header extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Local identifier as negotiated by `a=extmap`: 1 to 14 in the one-byte form, 1 to 255 in the two-byte form.
    pub id: u8,
    /// Its value.
    pub data: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// The value of the first element with this identifier.
    pub fn get(self, id: u8) -> Option<&'a [u8]> {
        let mut elements = self;
        elements.find(|element| element.id == id).map(|element| element.data)
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        loop {
            let (&first, rest) = self.body.split_first()?;
            let (id, data_bytes, rest) = if self.profile == ONE_BYTE_PROFILE {
                (first >> 4, usize::from(first & 0x0f) + 1, rest)
            } else if self.profile & 0xfff0 == TWO_BYTE_PROFILE {
                match rest.split_first() {
                    _ if first == 0 => (0, 0, rest),
                    Some((&length, rest)) => (first, usize::from(length), rest),
                    None => return None,
                }
            } else {
                return None;
            };
            // A zero byte is padding; identifier 15 of the one-byte form ends everything (RFC 8285 §4.2).
            if id == 0 {
                self.body = rest;
                continue;
            }
            let elements = rest.split_at_checked(data_bytes);
            let ends = self.profile == ONE_BYTE_PROFILE && id == 15;
            self.body = elements.filter(|_| !ends).map_or(&[], |(_, tail)| tail);
            return elements.filter(|_| !ends).map(|(data, _)| Extension { id, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_extension(profile: u16, body: &[u8]) -> Vec<u8> {
        let header = Header {
            marker: false,
            payload_type: 96,
            sequence: 1,
            timestamp: 2,
            ssrc: 3,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes[0] |= 0x10;
        bytes.extend_from_slice(&profile.to_be_bytes());
        bytes.extend_from_slice(&((body.len() / 4) as u16).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes.push(0xaa);
        bytes
    }

    #[test]
    fn one_byte_extensions() {
        // RFC 8285 §4.2: padding between elements; 15 ends.
        let bytes = with_extension(0xbede, &[0x10, 0xff, 0x00, 0x00, 0x32, 1, 2, 3, 0xf0, 9, 0x10, 7]);
        let packet = Packet::parse(&bytes).unwrap();
        let elements: Vec<_> = packet.extensions.map(|element| (element.id, element.data)).collect();
        assert_eq!(elements, [(1, &[0xff][..]), (3, &[1, 2, 3])]);
        assert_eq!(packet.extensions.get(3), Some(&[1, 2, 3][..]));
        assert_eq!(packet.extensions.get(2), None);
        assert_eq!(packet.payload, [0xaa]);
    }

    #[test]
    fn two_byte_extensions() {
        let bytes = with_extension(0x1005, &[1, 0, 0, 200, 2, 8, 9, 0]);
        let packet = Packet::parse(&bytes).unwrap();
        let elements: Vec<_> = packet.extensions.map(|element| (element.id, element.data)).collect();
        assert_eq!(elements, [(1, &[][..]), (200, &[8, 9])]);
    }

    #[test]
    fn an_element_that_reaches_beyond_ends_the_list() {
        let bytes = with_extension(0xbede, &[0x10, 1, 0x3f, 1]);
        assert_eq!(Packet::parse(&bytes).unwrap().extensions.count(), 1);
        let bytes = with_extension(0x4321, &[0x10, 1, 0x3f, 1]);
        assert_eq!(Packet::parse(&bytes).unwrap().extensions.count(), 0);
    }

    #[test]
    fn padding_and_sources_are_taken_off() {
        let mut bytes = vec![0xa2, 0xe0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&[7, 7, 0, 0, 3]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.payload, packet.header.marker), (&[7, 7][..], true));
        *bytes.last_mut().unwrap() = 6;
        assert_eq!(
            Packet::parse(&bytes),
            Err(Error::Padding {
                padding: 6,
                payload_bytes: 5
            })
        );
        *bytes.last_mut().unwrap() = 0;
        assert!(matches!(Packet::parse(&bytes), Err(Error::Padding { .. })));
    }

    #[test]
    fn what_is_cut_off_is_named() {
        assert_eq!(Packet::parse(&[0x40; 12]), Err(Error::Version(1)));
        assert!(matches!(
            Packet::parse(&[0x80; 11]),
            Err(Error::Truncated { what: "header", .. })
        ));
        let sources = Packet::parse(&[0x8f; 12]);
        assert!(
            matches!(
                sources,
                Err(Error::Truncated {
                    needed: 72,
                    actual: 12,
                    ..
                })
            ),
            "{sources:?}"
        );
        let extension = Packet::parse(&[0x90; 16]);
        assert!(
            matches!(extension, Err(Error::Truncated { what: "extension", .. })),
            "{extension:?}"
        );
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), first in 0x80_u8..=0xbf) {
            let mut bytes = bytes;
            if let Some(byte) = bytes.first_mut() { *byte = first; }
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.extensions.map(|element| element.data.len()).sum::<usize>() <= bytes.len());
            }
        }

        #[test]
        fn written_headers_read_back(marker: bool, payload_type in 0_u8..128, sequence: u16, timestamp: u32, ssrc: u32) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            let bytes = header.to_bytes();
            let packet = Packet::parse(&bytes).unwrap();
            prop_assert_eq!((packet.header, packet.payload), (header, &[][..]));
        }
    }
}
