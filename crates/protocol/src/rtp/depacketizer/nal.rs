//! NAL units out of RTP payloads (RFC 6184 §5.6–5.8, RFC 7798 §4.4).

use media::annexb;

/// Interleaved mode of H.264 (RFC 6184 §5.5) and H.265's PACI packets (RFC 7798 §4.4.4) are refused in SDP.
const NOT_NEGOTIATED: &str = "packet type that was not negotiated (RFC 6184 §5.4, RFC 7798 §4.4)";

/// A fragmented NAL unit grew beyond what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// What a payload is, once its header was read.
enum Kind<'a> {
    Single,
    /// NAL units behind two bytes of length each.
    Aggregation(&'a [u8]),
    /// Part of one; the header it stands for, and how much of it counts.
    Fragment {
        start: bool,
        end: bool,
        header: [u8; 2],
        body: &'a [u8],
    },
    Refused,
}

/// Takes payloads apart and puts fragments together.
#[derive(Debug)]
pub(super) struct NalUnits {
    header_bytes: usize,
    fragment: Vec<u8>,
    in_fragment: bool,
}

impl NalUnits {
    pub(super) fn h264() -> Self {
        Self::new(1)
    }

    pub(super) fn h265() -> Self {
        Self::new(2)
    }

    fn new(header_bytes: usize) -> Self {
        Self {
            header_bytes,
            fragment: Vec::new(),
            in_fragment: false,
        }
    }

    /// The next packet does not continue what came so far. Says whether a NAL unit was torn by that.
    pub(super) fn interrupt(&mut self) -> bool {
        // A buffer that one huge picture left behind is not kept for the life of the session.
        if self.fragment.capacity() > 1 << 20 {
            self.fragment = Vec::new();
        }
        self.fragment.clear();
        std::mem::take(&mut self.in_fragment)
    }

    /// Calls `unit` for each NAL unit that the payload completes. Both faults leave the access unit damaged: `Err` when
    /// fragments pass `limit_bytes`, `Ok(Err)` with what is wrong.
    pub(super) fn push(
        &mut self,
        payload: &[u8],
        limit_bytes: usize,
        mut unit: impl FnMut(&[u8]),
    ) -> Result<Result<(), &'static str>, TooLarge> {
        if payload.is_empty() {
            return Ok(Ok(()));
        }
        let kind = if self.header_bytes == 1 {
            kind_h264(payload)
        } else {
            kind_h265(payload)
        };
        let kind = match kind {
            Ok(kind) => kind,
            Err(what) => return Ok(Err(what)),
        };
        if !matches!(kind, Kind::Fragment { start: false, .. }) && self.interrupt() {
            return Ok(Err(
                "fragmented NAL unit without an end (RFC 6184 §5.8, RFC 7798 §4.4.3)",
            ));
        }
        match kind {
            Kind::Refused => Ok(Err(NOT_NEGOTIATED)),
            Kind::Aggregation(body) => Ok(aggregated(body, unit)),
            // Start codes do not belong here, but cameras that put whole byte streams into packets exist.
            Kind::Single if payload.starts_with(&[0, 0, 1]) || payload.starts_with(&[0, 0, 0, 1]) => {
                annexb::units(payload).for_each(unit);
                Ok(Ok(()))
            }
            Kind::Single => {
                unit(payload);
                Ok(Ok(()))
            }
            Kind::Fragment { start: false, .. } if !self.in_fragment => {
                Ok(Err("fragment without a beginning (RFC 6184 §5.8, RFC 7798 §4.4.3)"))
            }
            Kind::Fragment {
                start,
                end,
                header,
                body,
            } => {
                if start {
                    self.in_fragment = true;
                    self.fragment.extend(header.iter().take(self.header_bytes));
                }
                if self.fragment.len() + body.len() > limit_bytes {
                    self.interrupt();
                    return Err(TooLarge);
                }
                self.fragment.extend_from_slice(body);
                if end {
                    unit(&self.fragment);
                    self.interrupt();
                }
                Ok(Ok(()))
            }
        }
    }
}

fn kind_h264(payload: &[u8]) -> Result<Kind<'_>, &'static str> {
    let (&indicator, rest) = payload.split_first().ok_or("empty")?;
    Ok(match indicator & 0x1f {
        24 => Kind::Aggregation(rest),
        28 => {
            let (&header, body) = rest.split_first().ok_or("FU-A without a header (RFC 6184 §5.8)")?;
            Kind::Fragment {
                start: header & 0x80 != 0,
                end: header & 0x40 != 0,
                header: [(indicator & 0xe0) | (header & 0x1f), 0],
                body,
            }
        }
        25..=27 | 29..=31 => Kind::Refused,
        _ => Kind::Single,
    })
}

fn kind_h265(payload: &[u8]) -> Result<Kind<'_>, &'static str> {
    let (&[first, second], rest) = payload
        .split_first_chunk::<2>()
        .ok_or("payload of one byte (RFC 7798 §4.2)")?;
    Ok(match (first >> 1) & 0x3f {
        48 => Kind::Aggregation(rest),
        49 => {
            let (&header, body) = rest.split_first().ok_or("FU without a header (RFC 7798 §4.4.3)")?;
            Kind::Fragment {
                start: header & 0x80 != 0,
                end: header & 0x40 != 0,
                header: [(first & 0x81) | ((header & 0x3f) << 1), second],
                body,
            }
        }
        50..=63 => Kind::Refused,
        _ => Kind::Single,
    })
}

/// What precedes a length that does not fit is used, if only for its parameter sets. A single byte at the end is padding
/// that some senders forget to declare.
fn aggregated(body: &[u8], mut unit: impl FnMut(&[u8])) -> Result<(), &'static str> {
    let mut rest = body;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((data, tail)) = tail.split_at_checked(length) else {
            return Err("NAL unit reaches beyond its aggregation packet (RFC 6184 §5.7.1, RFC 7798 §4.4.2)");
        };
        rest = tail;
        if !data.is_empty() {
            unit(data);
        }
    }
    Ok(())
}
