//! AAC frames out of RTP payloads: RFC 3640 with AU headers, and LATM (RFC 6416) with its configuration out of band.
//!
//! Belongs here: where frames begin and end in payloads. Does not belong here: what an AudioSpecificConfig says
//! ([`media::audio::AudioSpecificConfig`]).

use std::sync::Arc;

use bytes::Bytes;
use media::audio::AudioSpecificConfig;
use media::{Format, Timescale};

use super::{Fault, Output, Position};
use crate::rtp::payload::AuHeader;

/// Samples in a frame of AAC (ISO/IEC 14496-3 §4.5.2.1.1) whose configuration cannot be read.
const USUAL_FRAME_SAMPLES: u32 = 1024;
/// Most frames in one packet. At 8 kHz that is 8 s of sound.
const MAX_FRAMES: u32 = 64;

#[derive(Clone, Copy, Debug)]
enum Packing {
    Headers(AuHeader),
    Latm,
}

/// Takes packets apart and puts fragments together.
#[derive(Debug)]
pub(super) struct AacFrames {
    packing: Packing,
    /// How far apart the frames of one packet are.
    frame_ticks: u32,
    /// What came of a frame in several packets; empty when none is open.
    partial: Vec<u8>,
    /// The timestamp of its packets.
    timestamp: u32,
    /// A packet is missing: nothing tells a frame's beginning from its middle before the next marker (LATM).
    await_marker: bool,
    /// No marker came yet, so that the first packet may be from the middle of an element (LATM).
    joining: bool,
}

impl AacFrames {
    pub(super) fn with_headers(header: AuHeader, format: &Format, clock: Timescale) -> Self {
        Self::new(Packing::Headers(header), format, clock)
    }

    pub(super) fn latm(format: &Format, clock: Timescale) -> Self {
        Self::new(Packing::Latm, format, clock)
    }

    fn new(packing: Packing, format: &Format, clock: Timescale) -> Self {
        // With SBR the clock may be that of the core or of what a decoder makes of it.
        let config = match format {
            Format::Aac(aac) => AudioSpecificConfig::parse(&aac.config).ok(),
            _ => None,
        };
        let ticks = config.and_then(|config| {
            (u64::from(config.frame_samples()) * u64::from(clock.hz())).checked_div(u64::from(config.sample_rate_hz()))
        });
        Self {
            packing,
            frame_ticks: ticks
                .and_then(|ticks| u32::try_from(ticks).ok())
                .unwrap_or(USUAL_FRAME_SAMPLES),
            partial: Vec::new(),
            timestamp: 0,
            await_marker: false,
            joining: true,
        }
    }

    /// Another source sends from here on, or the same begins anew.
    pub(super) fn reset(&mut self, out: &mut Output) {
        self.drop_partial(out);
        (self.await_marker, self.joining) = (false, true);
    }

    fn drop_partial(&mut self, out: &mut Output) {
        if !self.partial.is_empty() {
            self.partial.clear();
            out.drop_unit();
        }
    }

    pub(super) fn push(
        &mut self,
        payload: &[u8],
        at: Position,
        limit_bytes: usize,
        format: &Arc<Format>,
        out: &mut Output,
    ) -> Result<(), Fault> {
        if at.gap || self.timestamp != at.timestamp {
            self.drop_partial(out);
        }
        self.timestamp = at.timestamp;
        if payload.is_empty() {
            return Ok(());
        }
        let outcome = match self.packing {
            Packing::Headers(header) => self.headers(payload, at, limit_bytes, header, format, out),
            Packing::Latm => self.latm_element(payload, at, limit_bytes, format, out),
        };
        if outcome.is_err() {
            self.partial.clear();
            out.drop_unit();
        }
        outcome
    }

    /// RFC 3640 §3.2: AU headers, then the AUs; or one header and a piece of its AU.
    fn headers(
        &mut self,
        payload: &[u8],
        at: Position,
        limit_bytes: usize,
        header: AuHeader,
        format: &Arc<Format>,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let malformed = |what| at.malformed(what);
        let no_length = || malformed("no AU-headers-length (RFC 3640 §3.2.1)");
        let (length, rest) = payload.split_first_chunk::<2>().ok_or_else(no_length)?;
        let header_bits = usize::from(u16::from_be_bytes(*length));
        let too_long = || malformed("AU headers reach beyond the packet (RFC 3640 §3.2.1)");
        let (headers, mut data) = rest.split_at_checked(header_bits.div_ceil(8)).ok_or_else(too_long)?;
        let mut bits = Bits {
            bytes: headers,
            at: 0,
            end: header_bits,
        };
        let mut count = 0;
        while bits.at < bits.end {
            let index_bits = if count == 0 {
                header.index_bits
            } else {
                header.index_delta_bits
            };
            let fields = bits.read(header.size_bits).zip(bits.read(index_bits));
            let (size, index) = fields.ok_or_else(|| malformed("AU header cut off (RFC 3640 §3.2.1)"))?;
            if index != 0 {
                return Err(malformed(
                    "interleaved AUs, which were not negotiated (RFC 3640 §3.2.3.2)",
                ));
            }
            if count >= MAX_FRAMES {
                return Err(malformed("more than 64 AUs in one packet"));
            }
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let only = count == 0 && bits.at >= bits.end;
            if only && (size > data.len() || !self.partial.is_empty()) {
                return self.piece(data, size, at, limit_bytes, format, out);
            }
            let beyond = || malformed("AU reaches beyond its packet, which has several (RFC 3640 §3.2.3)");
            let (frame, tail) = data.split_at_checked(size).ok_or_else(beyond)?;
            data = tail;
            if !frame.is_empty() {
                let timestamp = at.timestamp.wrapping_add(count.wrapping_mul(self.frame_ticks));
                out.audio(timestamp, Bytes::copy_from_slice(frame), format);
            }
            count += 1;
        }
        Ok(())
    }

    /// Every piece states the size of the whole AU (RFC 3640 §3.2.3.1), so a missing one shows.
    fn piece(
        &mut self,
        data: &[u8],
        size: usize,
        at: Position,
        limit_bytes: usize,
        format: &Arc<Format>,
        out: &mut Output,
    ) -> Result<(), Fault> {
        self.append(data, at, limit_bytes)?;
        if self.partial.len() < size && !at.marker {
            return Ok(());
        }
        if self.partial.len() != size {
            return Err(at.malformed("pieces of an AU do not add up to its size (RFC 3640 §3.2.3.1)"));
        }
        out.audio(at.timestamp, std::mem::take(&mut self.partial).into(), format);
        Ok(())
    }

    /// RFC 6416 §6.1: one AudioMuxElement, over one or more packets, the marker on the last.
    fn latm_element(
        &mut self,
        payload: &[u8],
        at: Position,
        limit_bytes: usize,
        format: &Arc<Format>,
        out: &mut Output,
    ) -> Result<(), Fault> {
        self.await_marker |= at.gap;
        if self.await_marker {
            self.await_marker = !at.marker;
            if at.marker {
                out.drop_unit();
            }
            return Ok(());
        }
        self.append(payload, at, limit_bytes)?;
        if !at.marker {
            return Ok(());
        }
        let element = std::mem::take(&mut self.partial);
        // PayloadLengthInfo (ISO/IEC 14496-3 §1.7.3): bytes of 255 and one that is less, added up.
        let wide = element.iter().take_while(|&&byte| byte == 0xff).count();
        let last = element.get(wide).map(|&byte| usize::from(byte));
        let size = last.map(|last| wide * 255 + last);
        let frame = size.and_then(|size| element.get(wide + 1..)?.get(..size));
        // Of the first element the end alone may have come. Then its length is a byte of sound, which seldom happens to be right.
        let whole = frame.is_some_and(|frame| wide + 1 + frame.len() == element.len());
        if std::mem::take(&mut self.joining) && !whole {
            out.drop_unit();
            return Ok(());
        }
        match frame {
            None => Err(at.malformed("frame reaches beyond its AudioMuxElement (RFC 6416 §6.1)")),
            Some([]) => Ok(()),
            Some(frame) => {
                out.audio(at.timestamp, Bytes::copy_from_slice(frame), format);
                Ok(())
            }
        }
    }

    fn append(&mut self, data: &[u8], at: Position, limit_bytes: usize) -> Result<(), Fault> {
        if self.partial.len().saturating_add(data.len()) > limit_bytes {
            return Err(Fault::TooLarge {
                sequence: at.sequence,
                limit_bytes,
            });
        }
        self.partial.extend_from_slice(data);
        Ok(())
    }
}

/// Bits of the AU headers, most significant first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl Bits<'_> {
    /// The next `count` bits, at most 32; `None` when there are not so many.
    fn read(&mut self, count: u8) -> Option<u32> {
        let end = self.at.checked_add(usize::from(count)).filter(|&end| end <= self.end)?;
        let mut value = 0_u32;
        for at in self.at..end {
            let byte = self.bytes.get(at / 8)?;
            value = (value << 1) | u32::from((byte >> (7 - at % 8)) & 1);
        }
        self.at = end;
        Some(value)
    }
}
