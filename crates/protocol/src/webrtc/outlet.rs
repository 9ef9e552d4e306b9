//! One track on its way to one viewer: headers, numbers, sender reports.
//!
//! Belongs here: what a packet says besides its payload, written straight into the buffer that is sent. Does not belong here: payloads
//! ([`super::form`]), which packets are sent again ([`super::repeats`]), when anything is sent ([`super::viewer`]).

use std::time::{Duration, Instant};

use media::{Timescale, TrackIndex, WallTime, time};

use super::Outbox;
use super::answer::{ABS_CAPTURE_TIME, ABS_SEND_TIME, PLAYOUT_DELAY, TRANSPORT_CC};
use super::channel::{Srtp, Way};
use super::flight::Flight;
use super::form::{Form, Payload};
use super::rendition::Rendition;
use super::repeats::Repeats;
use super::viewer::Sent;
use crate::rtp::rtcp::SenderInfo;
use crate::rtp::{HEADER_BYTES, Header};

/// Between two frames of different renditions no more time passes than this.
const MOST_PASSED_US: i64 = 10_000_000;
/// A frame that is sent late follows the one before by this, at least.
const LEAST_PASSED: Duration = Duration::from_millis(1);
/// What marks header extensions of the one-byte form (RFC 8285 §4.2).
const ONE_BYTE_PROFILE: [u8; 2] = [0xbe, 0xde];
/// Bytes of the extensions there are, with the bytes that tell them apart.
const PLAYOUT_BYTES: usize = 4;
const CAPTURE_BYTES: usize = 9;
const NUMBER_BYTES: usize = 3;
const SENT_BYTES: usize = 4;
/// All that are ever sent together, which end at a multiple of four bytes: of the last two there is one.
const MOST_BYTES: usize = PLAYOUT_BYTES + CAPTURE_BYTES + SENT_BYTES;
pub(super) const MAX_EXTENSION_BYTES: usize = 4 + MOST_BYTES.next_multiple_of(4);
const MAX_HEAD_BYTES: usize = HEADER_BYTES + MAX_EXTENSION_BYTES;
const _: () = assert!(NUMBER_BYTES <= SENT_BYTES);

/// See the module.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) track: TrackIndex,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) clock: Timescale,
    /// Of the next packet, extended, so that the encryption's number goes on when the 16 bits come round.
    pub(super) sequence: u64,
    pub(super) extensions: Extensions,
    /// When packets are sent again on request.
    pub(super) repeats: Option<Repeats>,
    sent: Total,
    /// Number of the first packet of the newest keyframe.
    keyframe_from: u64,
    /// Timestamp of the newest frame, and when it was captured by that.
    newest: Option<(u32, WallTime)>,
    /// That frame said to be later than it is.
    was_late: bool,
    /// Of which rendition that was, and what is added to the timestamps of its frames, so that the viewer sees one stream.
    rendition: Rendition,
    shift: u32,
}

/// What was sent so far, as sender reports count it.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    packets: u32,
    bytes: u32,
}

/// Identifiers of the header extensions that were agreed on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extensions {
    playout: Option<u8>,
    capture: Option<u8>,
    /// The number by which the peer tells when it came.
    number: Option<u8>,
    /// When it was sent.
    sent: Option<u8>,
}

impl Extensions {
    /// From what the answer says.
    pub(super) fn new(agreed: &[(u8, &'static str)]) -> Self {
        let id = |wanted| agreed.iter().find(|(_, uri)| *uri == wanted).map(|(id, _)| *id);
        Self {
            playout: id(PLAYOUT_DELAY),
            capture: id(ABS_CAPTURE_TIME),
            number: id(TRANSPORT_CC),
            sent: id(ABS_SEND_TIME),
        }
    }

    /// Whether the peer tells of each packet when it came.
    pub(super) fn are_numbered(&self) -> bool {
        self.number.is_some()
    }

    fn is_empty(&self) -> bool {
        [self.playout, self.capture, self.number, self.sent]
            .iter()
            .all(Option::is_none)
    }
}

/// The header of a frame's packets. It is of the same size for all of a session, so that packets of equal payloads are equal in size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    bytes: [u8; MAX_HEAD_BYTES],
    used: usize,
    /// Where the packet's number among all of the session is.
    number_at: Option<usize>,
}

impl Head {
    /// `captured` and `least` to `most`, hundredths of a second that it may wait, are what the extensions say. It is sent now, `sent_us` after the session
    /// began.
    fn new(extensions: Extensions, captured: WallTime, (least, most): (u16, u16), sent_us: i64) -> Self {
        let mut head = Self {
            bytes: [0; MAX_HEAD_BYTES],
            used: HEADER_BYTES,
            number_at: None,
        };
        if extensions.is_empty() {
            return head;
        }
        head.append(&ONE_BYTE_PROFILE);
        head.append(&[0, 0]);
        let begin = head.used;
        if let Some(id) = extensions.playout {
            // Twelve bits each.
            let (least, most) = (u32::from(least.min(0xfff)), u32::from(most.min(0xfff)));
            let [_, a, b, c] = ((least << 12) | most).to_be_bytes();
            head.append(&[id << 4 | 2, a, b, c]);
        }
        if let Some(id) = extensions.capture {
            head.append(&[id << 4 | 7]);
            head.append(&captured.to_ntp().to_be_bytes());
        }
        if let Some(id) = extensions.number {
            head.append(&[id << 4 | 1]);
            head.number_at = Some(head.used);
            head.append(&[0, 0]);
        }
        if let Some(id) = extensions.sent {
            // Seconds with 18 binary digits behind the point; 64 of them come round.
            let [.., a, b, c] = ((i128::from(sent_us) << 18) / 1_000_000).to_be_bytes();
            head.append(&[id << 4 | 2, a, b, c]);
        }
        // Padding is zeros, which are there.
        let words = (head.used - begin).div_ceil(4);
        head.used = begin + words * 4;
        if let Some(length) = head.bytes.get_mut(begin - 1) {
            *length = words as u8;
        }
        head
    }

    fn append(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.used..end) {
            room.copy_from_slice(bytes);
            self.used = end;
        }
    }

    /// What differs from packet to packet.
    fn set(&mut self, header: Header) {
        let extended = if self.used > HEADER_BYTES { 0x10 } else { 0 };
        if let Some(fixed) = self.bytes.first_chunk_mut::<HEADER_BYTES>() {
            *fixed = header.to_bytes();
            fixed[0] |= extended;
        }
    }

    fn set_number(&mut self, number: u16) {
        let place = self.number_at.and_then(|at| self.bytes.get_mut(at..at + 2));
        if let Some(place) = place {
            place.copy_from_slice(&number.to_be_bytes());
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

/// With what a viewer's packets are sent.
pub(super) struct Sending<'a> {
    pub(super) srtp: &'a Srtp,
    pub(super) way: Way,
    pub(super) playout: (u16, u16),
    pub(super) now: Instant,
    pub(super) flight: &'a mut Flight,
    pub(super) out: &'a mut Outbox,
}

impl Sending<'_> {
    fn head(&self, extensions: Extensions, captured: WallTime) -> Head {
        Head::new(extensions, captured, self.playout, self.flight.micros(self.now))
    }

    /// Appends a packet: its header, `front` and the payload, sealed. `false` when the cryptographic library refuses.
    fn packet(&mut self, head: &mut Head, front: &[u8], payload: &[u8], ssrc: u32, index: u64) -> bool {
        if head.number_at.is_some() {
            // Payloads are what bitrates of streams are counted in.
            head.set_number(self.flight.send(payload.len(), self.now));
        }
        let (srtp, head) = (self.srtp, head.bytes());
        let written = self.out.write(self.way, |bytes, start| {
            bytes.extend_from_slice(head);
            bytes.extend_from_slice(front);
            bytes.extend_from_slice(payload);
            srtp.seal_rtp(bytes, start, head.len(), ssrc, index)
        });
        written.is_ok()
    }
}

impl Outlet {
    pub(super) fn new(
        track: TrackIndex,
        ssrc: u32,
        payload_type: u8,
        clock: Timescale,
        extensions: Extensions,
        sequence: u64,
        repeats: Option<Repeats>,
    ) -> Self {
        Self {
            track,
            ssrc,
            payload_type,
            clock,
            sequence,
            extensions,
            repeats,
            sent: Total::default(),
            keyframe_from: sequence,
            newest: None,
            was_late: false,
            rendition: Rendition::Full,
            shift: 0,
        }
    }

    /// The next frame is of this rendition. Each has timestamps of its own, and what tells when the pictures of both were captured joins them.
    fn turn_to(&mut self, rendition: Rendition, form: &Form) {
        let is_low = |rendition| rendition == Rendition::Low;
        let turned = is_low(rendition) != is_low(self.rendition);
        self.rendition = rendition;
        let first = form.payloads().next().map(|payload| payload.timestamp);
        let (Some((newest, captured)), Some(first)) = (self.newest.filter(|_| turned), first) else {
            return;
        };
        // Clocks that disagree neither turn time back nor make it jump.
        let passed_us = form.capture().at.micros_since(captured).clamp(0, MOST_PASSED_US);
        let passed = (i128::from(passed_us) * i128::from(self.clock.hz()) / 1_000_000).max(1);
        self.shift = newest.wrapping_add(passed as u32).wrapping_sub(first);
    }

    /// What is added to the timestamps of a frame that is sent so `late`. They say when it is sent and not when it would have been: browsers take pictures
    /// that come ever later for a clock that runs slow, and hold the first that is in time again back. What is behind it in time again stays behind it.
    fn shift_of(&mut self, form: &Form, late: Duration) -> u32 {
        let shift = self.shift.wrapping_add(self.ticks(late));
        let was_late = std::mem::replace(&mut self.was_late, !late.is_zero());
        let first = form.payloads().next().map(|payload| payload.timestamp);
        let (Some((newest, _)), Some(first)) = (self.newest.filter(|_| was_late), first) else {
            return shift;
        };
        let least = newest.wrapping_add(self.ticks(LEAST_PASSED)).wrapping_sub(first);
        // Of two the later one, by numbers that come round.
        let is_later = (least.wrapping_sub(shift) as i32) > 0;
        self.was_late |= is_later;
        if is_later { least } else { shift }
    }

    fn ticks(&self, time: Duration) -> u32 {
        (time.as_micros() * u128::from(self.clock.hz()) / 1_000_000) as u32
    }

    /// Sends the packets of a frame, so late.
    pub(super) fn send(
        &mut self,
        form: &Form,
        rendition: Rendition,
        late: Duration,
        sending: &mut Sending<'_>,
    ) -> Sent {
        self.turn_to(rendition, form);
        let shift = self.shift_of(form, late);
        let captured = form.capture().at;
        let said = captured.offset_micros(time::micros(late));
        let mut head = sending.head(self.extensions, captured);
        let mut sent = Sent::default();
        let first = self.sequence;
        if form.is_keyframe() {
            self.keyframe_from = first;
        }
        for payload in form.payloads() {
            let payload = payload.later(shift);
            let index = self.sequence;
            // A number is used once, also when the packet then is not sent.
            self.sequence += 1;
            head.set(header(self.payload_type, self.ssrc, index, &payload));
            if sending.packet(&mut head, &[], payload.bytes, self.ssrc, index) {
                sent.packets += 1;
                sent.bytes += payload.bytes.len();
            }
            self.newest = Some((payload.timestamp, said));
        }
        self.sent.packets = self.sent.packets.wrapping_add(sent.packets as u32);
        self.sent.bytes = self.sent.bytes.wrapping_add(sent.bytes as u32);
        if let Some(repeats) = &mut self.repeats {
            repeats.note(first, form, shift, sent.bytes, sending.now);
        }
        sent
    }

    /// Sends again what of these numbers is still there and may be. Whether some since the newest keyframe is not: the viewer cannot go on then, and
    /// browsers ask for a keyframe only after three seconds of asking for packets.
    pub(super) fn repeat(
        &mut self,
        sequences: &[u16],
        round_trip: Option<Duration>,
        sending: &mut Sending<'_>,
    ) -> bool {
        let (next, extensions) = (self.sequence, self.extensions);
        let Some(repeats) = &mut self.repeats else {
            return false;
        };
        let mut gone = false;
        for &sequence in sequences {
            let Some((form, shift, position)) = repeats.take(sequence, next, round_trip, sending.now) else {
                gone |= repeats.is_gone(sequence, self.keyframe_from, next);
                continue;
            };
            let Some(payload) = form.payload(position) else {
                continue;
            };
            let payload = payload.later(shift);
            // RFC 4588 §4: numbers of its own, and the original one in front of the payload.
            let index = repeats.next_index();
            let mut head = sending.head(extensions, form.capture().at);
            head.set(header(repeats.payload_type, repeats.ssrc, index, &payload));
            sending.packet(&mut head, &sequence.to_be_bytes(), payload.bytes, repeats.ssrc, index);
        }
        gone
    }

    /// What a sender report says at `wall`; `None` while nothing was sent.
    pub(super) fn report(&self, wall: WallTime) -> Option<SenderInfo> {
        let (timestamp, captured) = self.newest?;
        // The timestamp that a frame captured now would have.
        let elapsed = i128::from(wall.micros_since(captured)) * i128::from(self.clock.hz()) / 1_000_000;
        Some(SenderInfo {
            ssrc: self.ssrc,
            ntp: wall.to_ntp(),
            rtp_timestamp: timestamp.wrapping_add(elapsed as u32),
            packets: self.sent.packets,
            bytes: self.sent.bytes,
        })
    }
}

fn header(payload_type: u8, ssrc: u32, index: u64, payload: &Payload<'_>) -> Header {
    Header {
        marker: payload.marker,
        payload_type,
        sequence: index as u16,
        timestamp: payload.timestamp,
        ssrc,
    }
}
