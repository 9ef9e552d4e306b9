//! The usbredir protocol, as far as a camera on a bulk endpoint needs it.
//!
//! Belongs here: packets to and from QEMU (spice-space.org, "USB network redirection protocol" 0.7). Does not belong here: what the
//! camera answers.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

// Packet types.
const HELLO: u32 = 0;
const DEVICE_CONNECT: u32 = 1;
const DEVICE_DISCONNECT: u32 = 2;
const RESET: u32 = 3;
const INTERFACE_INFO: u32 = 4;
const EP_INFO: u32 = 5;
const SET_CONFIGURATION: u32 = 6;
const CONFIGURATION_STATUS: u32 = 8;
const SET_ALT_SETTING: u32 = 9;
const ALT_SETTING_STATUS: u32 = 11;
const CANCEL_DATA_PACKET: u32 = 21;
const CONTROL_PACKET: u32 = 100;
const BULK_PACKET: u32 = 101;

// Capabilities we announce: maximum packet sizes are told, ids have 64 bits, lengths of bulk transfers 32.
const CAPABILITIES: u32 = 1 << 4 | 1 << 5 | 1 << 6;

const STATUS_CANCELLED: u8 = 1;
const STATUS_STALL: u8 = 4;
/// Largest packet taken from the machine.
const MAX_PACKET_BYTES: usize = 1 << 20;

/// A packet from the machine.
#[derive(Debug)]
pub(super) enum Packet {
    Hello,
    Reset,
    SetConfiguration { id: u64, configuration: u8 },
    SetAlternate { id: u64, interface: u8, alternate: u8 },
    Control { id: u64, request: Request, data: Vec<u8> },
    Bulk { id: u64, endpoint: u8 },
    Cancel { id: u64 },
    Other,
}

/// A request on the control endpoint (USB 2.0 §9.3).
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub request: u8,
    pub kind: u8,
    pub value: u16,
    pub index: u16,
    pub length: u16,
}

/// A connection to QEMU.
pub(super) struct Redir<S> {
    stream: S,
    received: Vec<u8>,
    /// Ids have 64 bits once both sides have said hello.
    greeted: bool,
}

impl Redir<UnixStream> {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            received: Vec::new(),
            greeted: false,
        }
    }

    /// The next packet, waited for at most so long.
    pub(super) fn receive(&mut self, patience: Duration) -> io::Result<Option<Packet>> {
        if let Some(packet) = self.parse()? {
            return Ok(Some(packet));
        }
        self.stream.set_read_timeout(Some(patience))?;
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.received.extend_from_slice(&piece[..read]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        self.parse()
    }

    fn parse(&mut self) -> io::Result<Option<Packet>> {
        let header = if self.greeted { 16 } else { 12 };
        let Some(head) = self.received.get(..header) else {
            return Ok(None);
        };
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (kind, length) = (word(0), word(4) as usize);
        let id = if self.greeted {
            u64::from(word(8)) | u64::from(word(12)) << 32
        } else {
            u64::from(word(8))
        };
        if length > MAX_PACKET_BYTES {
            return Err(io::Error::other(format!("a packet of {length} bytes")));
        }
        let Some(body) = self.received.get(header..header + length) else {
            return Ok(None);
        };
        let half = |at: usize| u16::from_le_bytes([body[at], body[at + 1]]);
        let packet = match (kind, length) {
            (HELLO, _) => {
                self.greeted = true;
                Packet::Hello
            }
            (RESET, _) => Packet::Reset,
            (SET_CONFIGURATION, 1..) => Packet::SetConfiguration {
                id,
                configuration: body[0],
            },
            (SET_ALT_SETTING, 2..) => Packet::SetAlternate {
                id,
                interface: body[0],
                alternate: body[1],
            },
            (CANCEL_DATA_PACKET, _) => Packet::Cancel { id },
            (CONTROL_PACKET, 10..) => Packet::Control {
                id,
                request: Request {
                    request: body[1],
                    kind: body[2],
                    value: half(4),
                    index: half(6),
                    length: half(8),
                },
                data: body[10..].to_vec(),
            },
            (BULK_PACKET, 10..) => Packet::Bulk { id, endpoint: body[0] },
            _ => Packet::Other,
        };
        self.received.drain(..header + length);
        Ok(Some(packet))
    }

    fn send(&mut self, kind: u32, id: u64, parts: &[&[u8]]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut packet = Vec::with_capacity(16 + length);
        packet.extend(kind.to_le_bytes());
        packet.extend((length as u32).to_le_bytes());
        packet.extend((id as u32).to_le_bytes());
        if self.greeted {
            packet.extend(((id >> 32) as u32).to_le_bytes());
        }
        parts.iter().for_each(|part| packet.extend_from_slice(part));
        self.stream.write_all(&packet)
    }

    pub(super) fn hello(&mut self) -> io::Result<()> {
        let mut version = [0; 64];
        version[..8].copy_from_slice(b"testkit\0");
        self.send(HELLO, 0, &[&version, &CAPABILITIES.to_le_bytes()])
    }

    /// Tells of interfaces and endpoints, and that the device is there: at high speed (480 Mb/s).
    pub(super) fn connect(&mut self) -> io::Result<()> {
        let table = |entries: &[(usize, u8)], rest: u8| {
            let mut table = [rest; 32];
            entries.iter().for_each(|&(at, value)| table[at] = value);
            table
        };
        // Two interfaces, of the video class, for control and streaming.
        let interfaces = [
            table(&[(1, 1)], 0),
            table(&[(0, 14), (1, 14)], 0),
            table(&[(0, 1), (1, 2)], 0),
            [0; 32],
        ];
        self.send(INTERFACE_INFO, 0, &[&2_u32.to_le_bytes(), interfaces.as_flattened()])?;
        // Endpoints 0 in both directions for control, 0x81 for bulk, which is number 17 here.
        let kinds = table(&[(0, 0), (16, 0), (17, 2)], 255);
        let mut sizes = [0_u8; 64];
        for (endpoint, size) in [(0, 64_u16), (16, 64), (17, 512)] {
            sizes[2 * endpoint..2 * endpoint + 2].copy_from_slice(&size.to_le_bytes());
        }
        self.send(EP_INFO, 0, &[&kinds, &[0; 32], &table(&[(17, 1)], 0), &sizes])?;
        let [vendor, product] = super::descriptors::IDS.map(u16::to_le_bytes);
        self.send(DEVICE_CONNECT, 0, &[&[2, 0xEF, 2, 1], &vendor, &product])
    }

    pub(super) fn disconnect(&mut self) -> io::Result<()> {
        self.send(DEVICE_DISCONNECT, 0, &[])
    }

    pub(super) fn configured(&mut self, id: u64, configuration: u8) -> io::Result<()> {
        self.send(CONFIGURATION_STATUS, id, &[&[0, configuration]])
    }

    pub(super) fn alternate(&mut self, id: u64, interface: u8, alternate: u8) -> io::Result<()> {
        self.send(ALT_SETTING_STATUS, id, &[&[0, interface, alternate]])
    }

    /// Answers a control request; `None` refuses it.
    pub(super) fn control(&mut self, id: u64, request: Request, answer: Option<&[u8]>) -> io::Result<()> {
        let incoming = request.kind & 0x80 != 0;
        let status = if answer.is_some() { 0 } else { STATUS_STALL };
        let data = answer.unwrap_or_default();
        let data = data.get(..usize::from(request.length)).unwrap_or(data);
        let length = match (answer.is_some(), incoming) {
            (false, _) => 0,
            (true, true) => data.len() as u16,
            (true, false) => request.length,
        };
        let endpoint = if incoming { 0x80 } else { 0 };
        let head = [endpoint, request.request, request.kind, status];
        let words = [request.value, request.index, length].map(u16::to_le_bytes);
        self.send(
            CONTROL_PACKET,
            id,
            &[&head, words.as_flattened(), if incoming { data } else { &[] }],
        )
    }

    /// Answers a transfer on the bulk endpoint.
    pub(super) fn bulk(&mut self, id: u64, endpoint: u8, data: &[u8]) -> io::Result<()> {
        let [a, b, c, d] = (data.len() as u32).to_le_bytes();
        self.send(BULK_PACKET, id, &[&[endpoint, 0, a, b, 0, 0, 0, 0, c, d], data])
    }

    /// Ends a transfer that the machine has given up.
    pub(super) fn cancelled(&mut self, id: u64) -> io::Result<()> {
        self.send(BULK_PACKET, id, &[&[0x81, STATUS_CANCELLED, 0, 0, 0, 0, 0, 0, 0, 0]])
    }
}
