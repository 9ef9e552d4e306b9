//! Where the packets of a rendered buffer begin and end.

use std::ops::Range;

/// Most packets that one call of segmentation offload takes (Linux `UDP_MAX_SEGMENTS` before 6.9).
const MAX_RUN_PACKETS: usize = 64;
/// Most bytes that one such call takes: the largest payload of a UDP datagram over IPv4.
const MAX_RUN_BYTES: usize = 65_507;

/// Where the packets of one rendering are in its buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketRanges {
    runs: Vec<Run>,
    packets: u16,
    last_start: usize,
    framing_bytes: usize,
}

/// Consecutive packets of equal size, but for the last, which may be shorter: what one `sendmsg` with `UDP_SEGMENT`
/// takes. At most 64 packets and 65,507 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    start: usize,
    end: usize,
    packet_bytes: usize,
}

impl PacketRanges {
    pub(crate) fn new(framing_bytes: usize) -> Self {
        Self {
            framing_bytes,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, start: usize, end: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.last_start = start;
        let bytes = end.saturating_sub(start);
        if let Some(run) = self.runs.last_mut()
            && run.takes(bytes)
        {
            run.end = end;
            return;
        }
        self.runs.push(Run {
            start,
            end,
            packet_bytes: bytes,
        });
    }

    /// Forgets the packets, and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        (self.packets, self.last_start) = (0, 0);
    }

    pub(super) fn last_start(&self) -> Option<usize> {
        (!self.runs.is_empty()).then_some(self.last_start)
    }

    pub(super) fn start(&self) -> usize {
        self.runs.first().map_or(0, |run| run.start)
    }

    /// How many packets there are.
    pub fn len(&self) -> u16 {
        self.packets
    }

    /// The frame made no packet.
    pub fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Bytes of framing in front of each packet, inside its range: 4 when interleaved, else 0.
    pub fn framing_bytes(&self) -> usize {
        self.framing_bytes
    }

    /// Runs of packets of equal size, in order.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Each packet's range in the buffer, framing included, in order.
    pub fn packets(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.runs.iter().flat_map(|run| run.packets())
    }

    /// All packets as one range.
    pub fn range(&self) -> Range<usize> {
        self.start()..self.runs.last().map_or(0, |run| run.end)
    }
}

impl Run {
    fn takes(&self, bytes: usize) -> bool {
        let so_far = self.end.saturating_sub(self.start);
        // The last packet is a whole one, so another may follow.
        let open = self.packet_bytes != 0 && so_far.is_multiple_of(self.packet_bytes);
        open && bytes <= self.packet_bytes
            && so_far + bytes <= MAX_RUN_BYTES
            && so_far / self.packet_bytes < MAX_RUN_PACKETS
    }

    /// The run's bytes in the buffer.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Size of each packet but the last, framing included: the segment size for `UDP_SEGMENT`.
    pub fn packet_bytes(&self) -> usize {
        self.packet_bytes
    }

    /// Each packet's range in the buffer.
    pub fn packets(&self) -> Packets {
        Packets { rest: *self }
    }

    /// How many packets.
    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.start).div_ceil(self.packet_bytes.max(1))
    }

    /// Never true for a run that a rendering made.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// Iterator over the packets of a [`Run`].
#[derive(Clone, Debug)]
pub struct Packets {
    rest: Run,
}

impl Iterator for Packets {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        if self.rest.is_empty() {
            return None;
        }
        let start = self.rest.start;
        let end = start.saturating_add(self.rest.packet_bytes).min(self.rest.end);
        self.rest.start = end;
        Some(start..end)
    }
}
