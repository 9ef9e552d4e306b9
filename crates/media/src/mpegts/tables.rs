//! The two tables that say what the packets are (§2.4.4): PAT and PMT.

use super::packet::Pid;
use super::{Elementary, FIRST_PID};
use crate::track::Codec;

/// PID of the program association table.
const PROGRAMS_PID: u16 = 0;
/// PID of our program's map.
const MAP_PID: u16 = 0x1000;
/// The number of our program.
const PROGRAM: u16 = 1;
/// table_id (Table 2-31).
const PROGRAMS_ID: u8 = 0x00;
const MAP_ID: u8 = 0x02;

/// A table: one section, which fits into one packet, and the packets it was in.
#[derive(Debug)]
pub(super) struct Section {
    pid: Pid,
    version: u8,
    /// pointer_field, section, and its filling: what a packet holds.
    payload: Vec<u8>,
}

impl Section {
    fn new(pid: u16, table: u8, extension: u16, version: u8, body: &[u8]) -> Self {
        let mut payload = vec![0, table];
        // section_syntax_indicator, two reserved bits; from here to the end: five bytes, body, checksum.
        payload.extend_from_slice(&(0xb000 | (body.len() as u16 + 9)).to_be_bytes());
        payload.extend_from_slice(&extension.to_be_bytes());
        // current_next_indicator; section 0 of 0.
        payload.extend_from_slice(&[0xc1 | (version & 0x1f) << 1, 0, 0]);
        payload.extend_from_slice(body);
        let checksum = crc32(payload.get(1..).unwrap_or_default());
        payload.extend_from_slice(&checksum.to_be_bytes());
        // What follows a section is 0xff (§2.4.4), and no adaptation field: readers differ in what they make of one there.
        payload.resize(payload.len().max(184), 0xff);
        Self {
            pid: Pid::new(pid),
            version: version & 0x1f,
            payload,
        }
    }

    pub(super) fn version(&self) -> u8 {
        self.version
    }

    /// Says something else from here on, and goes on counting.
    pub(super) fn replace(&mut self, other: Self) {
        (self.version, self.payload) = (other.version, other.payload);
    }

    pub(super) fn write(&mut self, out: &mut Vec<u8>) {
        self.pid.packet(true, super::Field::default(), &self.payload, out);
    }
}

/// Which programs there are (§2.4.4.3).
pub(super) fn programs() -> Section {
    let [high, low] = PROGRAM.to_be_bytes();
    let [pid_high, pid_low] = (0xe000 | MAP_PID).to_be_bytes();
    Section::new(PROGRAMS_PID, PROGRAMS_ID, 1, 0, &[high, low, pid_high, pid_low])
}

/// What our program is made of (§2.4.4.8).
pub(super) fn map(tracks: &[Elementary], clock: usize, version: u8) -> Section {
    let clock = tracks.get(clock).map_or(FIRST_PID, |stream| stream.pid.number());
    let mut body = Vec::with_capacity(4 + 5 * tracks.len());
    body.extend_from_slice(&(0xe000 | clock).to_be_bytes());
    // No descriptors, neither of the program nor of its tracks: the types say it all.
    body.extend_from_slice(&[0xf0, 0]);
    for stream in tracks {
        body.push(stream_type(stream.track.format.codec()));
        body.extend_from_slice(&(0xe000 | stream.pid.number()).to_be_bytes());
        body.extend_from_slice(&[0xf0, 0]);
    }
    Section::new(MAP_PID, MAP_ID, PROGRAM, version, &body)
}

/// Table 2-34.
fn stream_type(codec: Codec) -> u8 {
    match codec {
        Codec::H264 => 0x1b,
        Codec::H265 => 0x24,
        Codec::Aac => 0x0f,
        // Private data; nothing of it gets here.
        Codec::Opus | Codec::G711 => 0x06,
    }
}

/// Annex A: polynomial 0x04c11db7, all ones at the beginning, bits as they come.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000_0000 == 0 {
                shifted
            } else {
                shifted ^ 0x04c1_1db7
            }
        })
    })
}
