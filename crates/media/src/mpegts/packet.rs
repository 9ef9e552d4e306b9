//! Transport packets (§2.4.3): header, continuity counter, adaptation field.

/// Bytes of a transport packet (§2.4.3.2).
pub const PACKET_BYTES: usize = 188;

/// Bytes behind the header of a packet.
const ROOM_BYTES: usize = PACKET_BYTES - 4;

/// One PID and what it counts.
#[derive(Clone, Debug)]
pub(super) struct Pid {
    number: u16,
    /// Of the next packet with a payload.
    counter: u8,
}

/// What an adaptation field may say (§2.4.3.4).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Field {
    pub(super) discontinuity: bool,
    pub(super) random_access: bool,
    /// The clock in ticks of 90 kHz since the origin.
    pub(super) pcr: Option<i64>,
}

impl Pid {
    pub(super) fn new(number: u16) -> Self {
        Self { number, counter: 0 }
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Appends a packet with as much of `payload` as goes in, and returns the rest.
    pub(super) fn packet<'a>(&mut self, begins: bool, field: Field, payload: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let said = field.bytes();
        let (now, rest) = payload.split_at(payload.len().min(ROOM_BYTES - said));
        // An adaptation field fills up what the payload leaves free: in a PES packet nothing else can (§2.4.3.5).
        let field_bytes = ROOM_BYTES - now.len();
        self.header(begins, field_bytes > 0, true, out);
        self.counter = (self.counter + 1) & 0x0f;
        field.write(field_bytes, out);
        out.extend_from_slice(now);
        rest
    }

    /// Appends a packet that holds a field alone. It does not count (§2.4.3.3).
    pub(super) fn without_payload(&self, field: Field, out: &mut Vec<u8>) {
        self.header(false, true, false, out);
        field.write(ROOM_BYTES, out);
    }

    fn header(&self, begins: bool, has_field: bool, has_payload: bool, out: &mut Vec<u8>) {
        let [high, low] = self.number.to_be_bytes();
        let counter = if has_payload {
            self.counter
        } else {
            self.counter.wrapping_sub(1) & 0x0f
        };
        out.extend_from_slice(&[
            0x47,
            u8::from(begins) << 6 | high,
            low,
            u8::from(has_field) << 5 | u8::from(has_payload) << 4 | counter,
        ]);
    }
}

impl Field {
    /// The clock alone; `anew`: it is another than before.
    pub(super) fn clock(pcr: i64, anew: bool) -> Self {
        Self {
            discontinuity: anew,
            random_access: false,
            pcr: Some(pcr),
        }
    }

    /// What it takes at the least.
    fn bytes(self) -> usize {
        match self.pcr {
            Some(_) => 8,
            None if self.discontinuity || self.random_access => 2,
            None => 0,
        }
    }

    /// The field with its length, filled up to `bytes`: none, or at least as many as it takes.
    fn write(self, bytes: usize, out: &mut Vec<u8>) {
        let Some(length) = bytes.checked_sub(1) else { return };
        let end = out.len() + bytes;
        out.push(length as u8);
        if length == 0 {
            return;
        }
        let flags = [
            (self.discontinuity, 0x80),
            (self.random_access, 0x40),
            (self.pcr.is_some(), 0x10),
        ];
        out.push(flags.iter().filter(|(is, _)| *is).fold(0, |all, (_, flag)| all | flag));
        if let Some(pcr) = self.pcr {
            // 33 bits of 90 kHz, six reserved ones, nine bits of 27 MHz, which our times do not have.
            let [_, _, bytes @ ..] = ((pcr & 0x1_ffff_ffff) << 15 | 0x7e00).to_be_bytes();
            out.extend_from_slice(&bytes);
        }
        out.resize(end, 0xff);
    }
}
