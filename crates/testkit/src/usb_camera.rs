//! A USB camera that a virtual machine sees as real: QEMU's `usb-redir` device carries its packets to this program.
//!
//! Belongs here: a UVC 1.1 camera with Motion JPEG, YUYV and H.264, controls for exposure and brightness, plugged in and pulled at will.
//! Does not belong here: what its pictures show (the test gives them), the machine.
//!
//! The kernel's own `uvcvideo` driver talks to it, so what it does with a camera's mistakes is what happens with a real one. It uses a bulk
//! endpoint, which the class allows and which needs no exact timing.

mod descriptors;
mod redir;

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redir::{Packet, Redir};

/// Pixels per row of every format.
pub const WIDTH: u16 = 320;
/// Rows of every format.
pub const HEIGHT: u16 = 240;
/// Pictures per second of every format.
pub const FPS: u32 = 15;
/// Largest payload of a transfer in bytes, header included.
const PAYLOAD_BYTES: usize = 16 << 10;

/// A format the camera offers; the numbers are those of its descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JPEG picture each.
    Mjpeg = 1,
    /// 4:2:2, packed.
    Yuyv = 2,
    /// An access unit each, Annex B.
    H264 = 3,
}

/// Gives the picture of that number in a format, as the camera sends it.
pub type Pictures = Box<dyn FnMut(Format, u64) -> Vec<u8> + Send>;

/// What was last set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controls {
    /// Bitmap of the class: 1 manual, 8 aperture priority.
    pub exposure_mode: u8,
    /// 1: the frame rate may drop in the dark.
    pub exposure_priority: u8,
    /// In units of 100 µs.
    pub exposure: u32,
    /// −64 to 64.
    pub brightness: i16,
}

/// A camera that is not plugged in yet.
pub struct UsbCamera {
    orders: Sender<Order>,
    controls: Arc<Mutex<Controls>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Plug(bool),
    End,
}

impl UsbCamera {
    /// Listens on a Unix socket for QEMU (`-chardev socket,id=ID,path=PATH -device usb-redir,chardev=ID`).
    pub fn listen(socket: &Path, pictures: Pictures) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        listener.set_nonblocking(true)?;
        let (orders, receive) = mpsc::channel();
        let controls = Arc::new(Mutex::new(Controls {
            exposure_mode: 1,
            exposure_priority: 1,
            exposure: 100,
            brightness: 7,
        }));
        let shared = Arc::clone(&controls);
        let thread = thread::spawn(move || serve(&listener, &receive, pictures, &shared));
        Ok(Self {
            orders,
            controls,
            thread: Some(thread),
        })
    }

    /// Pulls it, or plugs it in again.
    pub fn plug(&self, plugged: bool) {
        let _ = self.orders.send(Order::Plug(plugged));
    }

    /// What the driver has set.
    pub fn controls(&self) -> Controls {
        *self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UsbCamera {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &UnixListener, orders: &Receiver<Order>, pictures: Pictures, controls: &Mutex<Controls>) {
    let mut wanted = false;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match orders.try_recv() {
                Ok(Order::End) | Err(TryRecvError::Disconnected) => return,
                Ok(Order::Plug(plugged)) => wanted = plugged,
                Err(TryRecvError::Empty) => thread::sleep(Duration::from_millis(10)),
            },
            Err(_) => return,
        }
    };
    let mut camera = Device {
        redir: Redir::new(stream),
        pictures,
        controls,
        wanted,
        greeted: false,
        plugged: false,
        probe: Probe::new(),
        streaming: None,
        waiting: VecDeque::new(),
        payloads: VecDeque::new(),
        odd: false,
        count: 0,
    };
    // The machine going away is the normal end.
    let _ = camera.run(orders);
}

/// `VS_PROBE_CONTROL`, as far as it matters (UVC 1.1 §4.3.1.1).
#[derive(Clone, Copy)]
struct Probe {
    format: u8,
}

impl Probe {
    fn new() -> Self {
        Self { format: 1 }
    }

    fn bytes(self) -> [u8; 34] {
        let mut bytes = [0; 34];
        let size = u32::from(WIDTH) * u32::from(HEIGHT) * 2;
        (bytes[2], bytes[3]) = (self.format, 1);
        bytes[4..8].copy_from_slice(&(10_000_000 / FPS).to_le_bytes());
        bytes[18..22].copy_from_slice(&size.to_le_bytes());
        bytes[22..26].copy_from_slice(&(PAYLOAD_BYTES as u32).to_le_bytes());
        bytes[26..30].copy_from_slice(&48_000_000_u32.to_le_bytes());
        bytes
    }
}

/// The connected camera.
struct Device<'a> {
    redir: Redir<UnixStream>,
    pictures: Pictures,
    controls: &'a Mutex<Controls>,
    /// Whether it is to be plugged in; it can be once the machine has said hello.
    wanted: bool,
    greeted: bool,
    plugged: bool,
    probe: Probe,
    /// The format that is streamed, and when its next picture is due.
    streaming: Option<(Format, Instant)>,
    /// Transfers that the machine waits for.
    waiting: VecDeque<(u64, u8)>,
    /// Payloads to answer them with.
    payloads: VecDeque<Vec<u8>>,
    /// The frame identifier bit of the payload header.
    odd: bool,
    count: u64,
}

impl Device<'_> {
    fn run(&mut self, orders: &Receiver<Order>) -> io::Result<()> {
        self.redir.hello()?;
        loop {
            match orders.try_recv() {
                Ok(Order::Plug(plugged)) => self.wanted = plugged,
                Ok(Order::End) | Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {}
            }
            if let Some(packet) = self.redir.receive(Duration::from_millis(2))? {
                self.handle(packet)?;
            }
            if self.greeted && self.wanted != self.plugged {
                self.plug(self.wanted)?;
            }
            self.stream()?;
        }
    }

    fn plug(&mut self, plugged: bool) -> io::Result<()> {
        self.plugged = plugged;
        self.streaming = None;
        self.waiting.clear();
        self.payloads.clear();
        if plugged {
            self.redir.connect()
        } else {
            self.redir.disconnect()
        }
    }

    fn handle(&mut self, packet: Packet) -> io::Result<()> {
        match packet {
            Packet::Hello => {
                self.greeted = true;
                Ok(())
            }
            Packet::Reset => {
                self.streaming = None;
                self.waiting.clear();
                Ok(())
            }
            Packet::SetConfiguration { id, configuration } => self.redir.configured(id, configuration),
            Packet::SetAlternate {
                id,
                interface,
                alternate,
            } => self.redir.alternate(id, interface, alternate),
            Packet::Control { id, request, data } => {
                let answer = self.control(request, &data);
                self.redir.control(id, request, answer.as_deref())
            }
            Packet::Bulk { id, endpoint } => {
                self.waiting.push_back((id, endpoint));
                Ok(())
            }
            Packet::Cancel { id } => {
                let before = self.waiting.len();
                self.waiting.retain(|(waiting, _)| *waiting != id);
                // Else its answer is on the way already.
                if self.waiting.len() < before {
                    self.redir.cancelled(id)?;
                }
                Ok(())
            }
            Packet::Other => Ok(()),
        }
    }

    /// Makes the picture that is due and answers transfers with what there is of it.
    fn stream(&mut self) -> io::Result<()> {
        if let Some((format, due)) = &mut self.streaming
            && self.payloads.is_empty()
            && Instant::now() >= *due
        {
            *due += Duration::from_secs(1) / FPS;
            let picture = (self.pictures)(*format, self.count);
            self.count += 1;
            self.odd = !self.odd;
            let last = picture.len().div_ceil(PAYLOAD_BYTES - 2).saturating_sub(1);
            for (n, part) in picture.chunks(PAYLOAD_BYTES - 2).enumerate() {
                // Header of two bytes: its length; end of header, end of frame, frame identifier (§2.4.3.3).
                let flags = 0x80 | u8::from(n == last) << 1 | u8::from(self.odd);
                self.payloads.push_back([&[2, flags], part].concat());
            }
        }
        while let (Some(_), Some((id, endpoint))) = (self.payloads.front(), self.waiting.front().copied()) {
            self.waiting.pop_front();
            let payload = self.payloads.pop_front().unwrap_or_default();
            self.redir.bulk(id, endpoint, &payload)?;
        }
        Ok(())
    }

    /// Answers a request on the control endpoint; `None` refuses it.
    fn control(&mut self, request: redir::Request, data: &[u8]) -> Option<Vec<u8>> {
        let [entity, interface] = request.index.to_be_bytes();
        let selector = (request.value >> 8) as u8;
        match (request.kind, request.request) {
            (0x80, 6) => descriptors::descriptor(request.value),
            // Get status; clear feature: the driver does so when it stops streaming.
            (0x80..=0x82, 0) => Some(vec![0, 0]),
            (0x02, 1) => {
                self.streaming = None;
                self.payloads.clear();
                Some(Vec::new())
            }
            (0xA1 | 0x21, _) if interface == 1 && entity == 0 && (1..=2).contains(&selector) => {
                self.negotiate(request.request, selector, data)
            }
            (0xA1 | 0x21, _) if interface == 0 => self.setting(request.request, entity, selector, data),
            _ => None,
        }
    }

    fn negotiate(&mut self, request: u8, selector: u8, data: &[u8]) -> Option<Vec<u8>> {
        const COMMIT: u8 = 2;
        match request {
            SET_CUR => {
                let format = *data.get(2)?;
                self.probe.format = if (1..=3).contains(&format) { format } else { 1 };
                if selector == COMMIT {
                    let format = [Format::Mjpeg, Format::Yuyv, Format::H264][usize::from(self.probe.format) - 1];
                    self.streaming = Some((format, Instant::now()));
                    self.payloads.clear();
                    self.count = 0;
                }
                Some(Vec::new())
            }
            GET_LEN => Some(vec![34, 0]),
            GET_INFO => Some(vec![3]),
            _ => Some(self.probe.bytes().to_vec()),
        }
    }

    /// The camera terminal's (entity 1) and the processing unit's (entity 2) controls.
    fn setting(&mut self, request: u8, entity: u8, selector: u8, data: &[u8]) -> Option<Vec<u8>> {
        let mut controls = self.controls.lock().unwrap_or_else(PoisonError::into_inner);
        let byte = |now: u8, most: u8, resolution: u8| (vec![now], vec![0], vec![most], vec![resolution], vec![now]);
        let (now, least, most, resolution, default) = match (entity, selector) {
            // The resolution of the mode is the bitmap of what there is.
            (1, 2) => byte(controls.exposure_mode, 9, 9),
            (1, 3) => byte(controls.exposure_priority, 1, 1),
            (1, 4) => {
                let n = |n: u32| n.to_le_bytes().to_vec();
                (n(controls.exposure), n(1), n(5_000), n(1), n(100))
            }
            (2, 2) => {
                let n = |n: i16| n.to_le_bytes().to_vec();
                (n(controls.brightness), n(-64), n(64), n(1), n(0))
            }
            _ => return None,
        };
        match request {
            SET_CUR => {
                match (entity, selector) {
                    (1, 2) => controls.exposure_mode = *data.first()?,
                    (1, 3) => controls.exposure_priority = *data.first()?,
                    (1, 4) => controls.exposure = u32::from_le_bytes(data.get(..4)?.try_into().ok()?),
                    _ => controls.brightness = i16::from_le_bytes(data.get(..2)?.try_into().ok()?),
                }
                Some(Vec::new())
            }
            GET_CUR => Some(now),
            GET_MIN => Some(least),
            GET_MAX => Some(most),
            GET_RES => Some(resolution),
            GET_LEN => Some((now.len() as u16).to_le_bytes().to_vec()),
            GET_INFO => Some(vec![3]),
            GET_DEF => Some(default),
            _ => None,
        }
    }
}

// Requests of the class (UVC 1.1 table A-8).
const SET_CUR: u8 = 0x01;
const GET_CUR: u8 = 0x81;
const GET_MIN: u8 = 0x82;
const GET_MAX: u8 = 0x83;
const GET_RES: u8 = 0x84;
const GET_LEN: u8 = 0x85;
const GET_INFO: u8 = 0x86;
const GET_DEF: u8 = 0x87;
