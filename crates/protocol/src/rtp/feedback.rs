//! What a receiver says of packets by their transport-wide numbers, and of the bitrate that it can take.
//!
//! Belongs here: reading transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1) and REMB (draft-alvestrand-rmcat-remb-03 §2.2).
//! Does not belong here: what follows from it (`webrtc`).

/// Most packets that one feedback is read of; the rest is ignored. A receiver reports ten times a second and more.
pub const MAX_REPORTED: usize = 1_024;

/// Reference times are counted in these, arrivals in those.
const REFERENCE_US: i64 = 64_000;
const TICK_US: i64 = 250;
/// Bytes in front of the chunks.
const HEAD_BYTES: usize = 20;
/// Symbols of a packet: it came, and its time takes one byte or two.
const SMALL: u16 = 1;
const LARGE: u16 = 2;

/// Which packets came when, from one number on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// Number of the first.
    pub first: u16,
    /// When each came, in microseconds of the receiver's clock, which begins anew after 2^24 × 64 ms; `None`: it did not. At most [`MAX_REPORTED`].
    pub times_us: Vec<Option<i64>>,
}

impl Arrivals {
    /// How long the receiver's clock runs until it begins anew.
    pub const CLOCK_US: i64 = (1 << 24) * REFERENCE_US;

    /// `packet` is a whole packet of RTCP. `None` when it contradicts itself.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let (head, rest) = packet.split_first_chunk::<HEAD_BYTES>()?;
        let &[.., a, b, c, d, e, f, g, _] = head;
        let first = u16::from_be_bytes([a, b]);
        let count = usize::from(u16::from_be_bytes([c, d])).min(MAX_REPORTED);
        let mut at_us = i64::from(u32::from_be_bytes([0, e, f, g])) * REFERENCE_US;
        let mut symbols = Vec::with_capacity(count);
        let mut chunks = rest.chunks_exact(2);
        let mut chunk_bytes = 0;
        let whole = usize::from(u16::from_be_bytes([c, d]));
        let mut seen = 0;
        while seen < whole {
            let &[high, low] = chunks.next()? else { return None };
            let chunk = u16::from_be_bytes([high, low]);
            chunk_bytes += 2;
            let before = seen;
            seen += read_chunk(chunk, |symbol, at| {
                if before + at < count {
                    symbols.push(symbol);
                }
            });
        }
        let mut deltas = rest.get(chunk_bytes..)?;
        let mut times_us = Vec::with_capacity(count);
        for symbol in symbols {
            let ticks = match symbol {
                SMALL => {
                    let (&ticks, rest) = deltas.split_first()?;
                    deltas = rest;
                    i64::from(ticks)
                }
                LARGE => {
                    let (&ticks, rest) = deltas.split_first_chunk::<2>()?;
                    deltas = rest;
                    i64::from(i16::from_be_bytes(ticks))
                }
                _ => {
                    times_us.push(None);
                    continue;
                }
            };
            at_us += ticks * TICK_US;
            times_us.push(Some(at_us));
        }
        Some(Self { first, times_us })
    }

    /// Appends it as one packet of RTCP, for who plays a receiver. Times that are more than 8 s apart are cut to that.
    pub fn write(&self, sender: u32, count: u8, out: &mut Vec<u8>) {
        let start = out.len();
        let reference = self
            .times_us
            .iter()
            .flatten()
            .next()
            .map_or(0, |at| at.div_euclid(REFERENCE_US));
        out.extend_from_slice(&[0x8f, 205, 0, 0]);
        out.extend_from_slice(&sender.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&(self.times_us.len() as u16).to_be_bytes());
        out.extend_from_slice(&(reference as u32).to_be_bytes()[1..]);
        out.push(count);
        let mut deltas = Vec::new();
        let mut before_us = reference * REFERENCE_US;
        let symbols = self.times_us.iter().map(|time| {
            let Some(at) = time else { return 0 };
            let ticks = (at - before_us).div_euclid(TICK_US);
            let ticks = ticks.clamp(i64::from(i16::MIN), i64::from(i16::MAX));
            before_us += ticks * TICK_US;
            if let Ok(small) = u8::try_from(ticks) {
                deltas.push(small);
                return SMALL;
            }
            deltas.extend_from_slice(&(ticks as i16).to_be_bytes());
            LARGE
        });
        let symbols: Vec<u16> = symbols.collect();
        for seven in symbols.chunks(7) {
            let bits = (0..7).fold(3_u16 << 14, |chunk, at| {
                chunk | seven.get(at).copied().unwrap_or(0) << (12 - 2 * at)
            });
            out.extend_from_slice(&bits.to_be_bytes());
        }
        out.extend_from_slice(&deltas);
        while !(out.len() - start).is_multiple_of(4) {
            out.push(0);
        }
        let words = ((out.len() - start) / 4 - 1) as u16;
        if let Some(length) = out.get_mut(start + 2..start + 4) {
            length.copy_from_slice(&words.to_be_bytes());
        }
    }
}

/// Gives the symbols of a chunk with their places in it; says how many.
fn read_chunk(chunk: u16, mut symbol: impl FnMut(u16, usize)) -> usize {
    match chunk >> 14 {
        0 | 1 => {
            let run = usize::from(chunk & 0x1fff);
            // A run may be of 8,191; no more are kept than are wanted.
            (0..run.min(MAX_REPORTED)).for_each(|at| symbol(chunk >> 13 & 3, at));
            // None at all would never end.
            run.max(1)
        }
        2 => {
            (0..14).for_each(|at| symbol(chunk >> (13 - at) & 1, at));
            14
        }
        _ => {
            (0..7).for_each(|at| symbol(chunk >> (12 - 2 * at) & 3, at));
            7
        }
    }
}

/// Bits per second that a REMB names. `packet` is a whole packet of RTCP.
pub(super) fn max_bitrate(packet: &[u8]) -> Option<u64> {
    let (head, _) = packet.split_first_chunk::<20>()?;
    let &[.., r, e, m, b, _, high, middle, low] = head;
    if [r, e, m, b] != *b"REMB" {
        return None;
    }
    // Six bits of exponent, eighteen of mantissa.
    let mantissa = u64::from(u32::from_be_bytes([0, high & 3, middle, low]));
    Some(
        mantissa
            .checked_shl(u32::from(high >> 2))
            .filter(|bits| bits >> (high >> 2) == mantissa)
            .unwrap_or(u64::MAX),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::rtcp::{Packet, parse};

    #[test]
    fn runs_and_vectors_are_read() {
        // A run of two that came soon, then a vector of one bit each, whose first and third came; of its fourteen two are beyond the count.
        let mut packet = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xfe, 0, 14, 0, 0, 10, 3];
        packet.extend_from_slice(&[0x20, 2]);
        packet.extend_from_slice(&[0b1010_0000, 0]);
        packet.extend_from_slice(&[4, 8, 12]);
        packet.push(0);
        let words = (packet.len() / 4 - 1) as u8;
        packet[3] = words;
        let read = parse(&packet).unwrap();
        let [Packet::Arrivals(arrivals)] = read.as_slice() else {
            panic!("{read:?}")
        };
        assert_eq!(arrivals.first, 0xfffe);
        assert_eq!(arrivals.times_us.len(), 14);
        assert_eq!(arrivals.times_us[..3], [Some(641_000), Some(643_000), Some(646_000)]);
        assert!(arrivals.times_us[3..].iter().all(Option::is_none));
    }

    #[test]
    fn a_bitrate_is_read_and_one_beyond_all_numbers_is_the_largest() {
        let remb = |exponent: u8, mantissa: u32| {
            let [_, high, middle, low] = mantissa.to_be_bytes();
            let mut packet = vec![0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0];
            packet.extend_from_slice(b"REMB");
            packet.extend_from_slice(&[1, exponent << 2 | high, middle, low, 0, 0, 0, 7]);
            parse(&packet).unwrap()
        };
        assert_eq!(
            remb(3, 125_000),
            [Packet::MaxBitrate {
                bits_per_second: 1_000_000
            }]
        );
        assert_eq!(
            remb(63, 0x3_ffff),
            [Packet::MaxBitrate {
                bits_per_second: u64::MAX
            }]
        );
    }

    #[test]
    fn what_claims_more_than_it_has_is_left_out() {
        // 65,535 packets in runs of 8,191 that all came, and no times.
        let mut packet = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0, 0, 1, 0];
        (0..9).for_each(|_| packet.extend_from_slice(&[0x3f, 0xff]));
        packet.extend_from_slice(&[0, 0]);
        packet[3] = (packet.len() / 4 - 1) as u8;
        assert_eq!(parse(&packet), Ok(Vec::new()));
        // The same of which none came is true, and cut.
        for chunk in packet[20..38].chunks_mut(2) {
            chunk[0] = 0x1f;
        }
        let read = parse(&packet).unwrap();
        assert!(matches!(&read[..], [Packet::Arrivals(all)] if all.times_us.len() == MAX_REPORTED));
        // Runs of nothing end as well.
        for chunk in packet[20..38].chunks_mut(2) {
            chunk.fill(0);
        }
        assert_eq!(parse(&packet), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            first: u16,
            start in 0..1_000_000_i64,
            steps in proptest::collection::vec(proptest::option::weighted(0.8, -20_i64..32_000), 1..300),
        ) {
            let mut at_us = start * REFERENCE_US;
            let times_us: Vec<_> = steps.iter().map(|step| step.map(|ticks| { at_us += ticks * TICK_US; at_us })).collect();
            // A first time that lies before its reference is none.
            prop_assume!(times_us.iter().flatten().all(|at| *at >= 0));
            let arrivals = Arrivals { first, times_us };
            let mut bytes = Vec::new();
            arrivals.write(7, 3, &mut bytes);
            prop_assert_eq!(parse(&bytes).unwrap(), vec![Packet::Arrivals(arrivals)]);
        }

        #[test]
        fn anything_may_come(mut bytes in proptest::collection::vec(any::<u8>(), 4..200)) {
            bytes[0] = 0x8f;
            bytes[1] = 205;
            bytes.truncate(bytes.len() / 4 * 4);
            let words = (bytes.len() / 4 - 1) as u16;
            bytes[2..4].copy_from_slice(&words.to_be_bytes());
            for packet in parse(&bytes).unwrap() {
                prop_assert!(matches!(packet, Packet::Arrivals(arrivals) if arrivals.times_us.len() <= MAX_REPORTED));
            }
        }
    }
}
