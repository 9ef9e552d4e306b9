//! Pictures on a window of X11.
//!
//! By a connection of its own and without libX11, which the usual way (softbuffer's) loads at every start of the program, whatever it does then.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use x11rb::connection::{Connection as _, RequestConnection as _};
use x11rb::cookie::Cookie;
use x11rb::protocol::shm::{self, ConnectionExt as _, Seg};
use x11rb::protocol::xproto::{ConnectionExt as _, CreateGCAux, Gcontext, GetInputFocusReply, ImageFormat, ImageOrder};
use x11rb::rust_connection::RustConnection;

/// A window that is drawn to.
pub(super) struct Painter {
    connection: RustConnection,
    window: u32,
    context: Gcontext,
    depth: u8,
    /// What the display reads pictures from; `None`: each is sent to it.
    memory: Option<Memory>,
    bytes: Vec<u8>,
}

/// Memory that the display has mapped.
struct Memory {
    file: File,
    segment: Seg,
    /// The request behind that of the last picture: answered when the display has read it.
    read: Option<u64>,
}

impl Painter {
    /// Connects to the display that `DISPLAY` names, where the window is.
    pub(super) fn new(window: u32) -> Result<Self, String> {
        let (connection, _) = x11rb::connect(None).map_err(text)?;
        let depth = connection
            .get_geometry(window)
            .map_err(text)?
            .reply()
            .map_err(text)?
            .depth;
        let attributes = connection.get_window_attributes(window).map_err(text)?;
        let visual = attributes.reply().map_err(text)?.visual;
        if !has_our_pixels(&connection, visual) {
            return Err("the display's pixels are not of 32 bits with 8 for each colour".to_owned());
        }
        let context = connection.generate_id().map_err(text)?;
        let aux = CreateGCAux::new().graphics_exposures(0);
        let created = connection.create_gc(context, window, &aux).map_err(text)?;
        created.check().map_err(text)?;
        Ok(Self {
            // Where it has none, or is another machine's, pictures are sent.
            memory: Memory::new(&connection).ok(),
            connection,
            window,
            context,
            depth,
            bytes: Vec::new(),
        })
    }

    /// Shows pixels (0RGB) in all of the window, which is so wide and high.
    pub(super) fn paint(&mut self, pixels: &[u32], width: u32, height: u32) -> Result<(), String> {
        let size = u16::try_from(width).ok().zip(u16::try_from(height).ok());
        let Some((width, height)) = size.filter(|(width, height)| *width > 0 && *height > 0) else {
            return Err(format!("a window of {width}x{height} is too large for X11"));
        };
        self.bytes.clear();
        let to_bytes = match self.connection.setup().image_byte_order {
            ImageOrder::MSB_FIRST => u32::to_be_bytes,
            _ => u32::to_le_bytes,
        };
        self.bytes.extend(pixels.iter().copied().flat_map(to_bytes));
        match &mut self.memory {
            Some(memory) => {
                memory.write(&self.connection, &self.bytes)?;
                self.show(width, height)
            }
            None => self.send(width, height),
        }
    }

    fn show(&mut self, width: u16, height: u16) -> Result<(), String> {
        let Some(memory) = &mut self.memory else { return Ok(()) };
        let (window, context, format) = (self.window, self.context, u8::from(ImageFormat::Z_PIXMAP));
        self.connection
            .shm_put_image(
                window,
                context,
                width,
                height,
                0,
                0,
                width,
                height,
                0,
                0,
                self.depth,
                format,
                false,
                memory.segment,
                0,
            )
            .map_err(text)?;
        // Answered after it, since the display does one thing after the other.
        let read = self.connection.get_input_focus().map_err(text)?;
        memory.read = Some(read.sequence_number());
        // Dropped, its answer would be thrown away.
        std::mem::forget(read);
        self.connection.flush().map_err(text)
    }

    fn send(&self, width: u16, height: u16) -> Result<(), String> {
        let line = usize::from(width) * 4;
        let lines = (self.connection.maximum_request_bytes().saturating_sub(REQUEST_BYTES) / line).max(1);
        for (at, part) in self.bytes.chunks(line * lines).enumerate() {
            let (top, part_height) = (at * lines, part.len() / line);
            let (Ok(top), Ok(part_height)) = (i16::try_from(top), u16::try_from(part_height)) else {
                return Err(format!("a window of {width}x{height} is too large for X11"));
            };
            self.connection
                .put_image(
                    ImageFormat::Z_PIXMAP,
                    self.window,
                    self.context,
                    width,
                    part_height,
                    0,
                    top,
                    0,
                    self.depth,
                    part,
                )
                .map_err(text)?;
        }
        self.connection.flush().map_err(text)
    }
}

impl Memory {
    fn new(connection: &RustConnection) -> Result<Self, String> {
        let version = connection.shm_query_version().map_err(text)?.reply().map_err(text)?;
        if (version.major_version, version.minor_version) < (1, 2) {
            return Err("the display takes no files as memory".to_owned());
        }
        let file = rustix::fs::memfd_create("picture", rustix::fs::MemfdFlags::CLOEXEC).map_err(text)?;
        let file = File::from(file);
        file.set_len(MEMORY_BYTES).map_err(text)?;
        let segment = connection.generate_id().map_err(text)?;
        let given = OwnedFd::from(file.try_clone().map_err(text)?);
        let attached = shm::attach_fd(connection, segment, given, true).map_err(text)?;
        attached.check().map_err(text)?;
        Ok(Self {
            file,
            segment,
            read: None,
        })
    }

    /// Puts a picture there as soon as the display has read the one before.
    fn write(&mut self, connection: &RustConnection, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() as u64 > MEMORY_BYTES {
            return Err("a window of more than 64 million pixels is too large".to_owned());
        }
        if let Some(before) = self.read.take() {
            Cookie::<_, GetInputFocusReply>::new(connection, before)
                .reply()
                .map_err(text)?;
        }
        self.file.write_all_at(bytes, 0).map_err(text)
    }
}

fn has_our_pixels(connection: &RustConnection, visual: u32) -> bool {
    let setup = connection.setup();
    let depths = setup.roots.iter().flat_map(|screen| &screen.allowed_depths);
    depths
        .filter(|depth| {
            let format = setup.pixmap_formats.iter().find(|format| format.depth == depth.depth);
            format.is_some_and(|format| format.bits_per_pixel == 32)
        })
        .flat_map(|depth| &depth.visuals)
        .any(|known| {
            known.visual_id == visual
                && (known.red_mask, known.green_mask, known.blue_mask) == (0xff_0000, 0xff00, 0xff)
        })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What a request has besides the pixels, large ones included.
const REQUEST_BYTES: usize = 32;
/// A window of 64 million pixels, more than any display has. Taken as it is written to.
const MEMORY_BYTES: u64 = 256 << 20;
