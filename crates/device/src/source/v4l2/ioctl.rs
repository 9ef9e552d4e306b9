//! The kernel's video devices, wrapped as thinly as is safe.
//!
//! Belongs here: one safe method per request to a device (V4L2, kernel documentation "Video for Linux API" §8). Does not belong
//! here: its buffers ([`super::buffers`]), what to choose ([`super::modes`]), words for people.
//!
//! `moq-v4l` gives the structures and request codes. Its own device and stream types are not used: they open without
//! `O_CLOEXEC`, so that every child process would hold the camera, panic when a driver refuses to stop, and hand out pictures
//! one behind the other with no way to pass over stale ones.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use moq_v4l::sys;
use moq_v4l::v4l2::vidioc;
use rustix::fs::{FileType, Mode as FileMode, OFlags};

use crate::picture::FrameRate;

/// Four characters that name a pixel or stream format.
pub(super) type FourCc = [u8; 4];

/// Most answers taken from one enumeration: a driver that never says "no more" must not keep us.
const MAX_ENUMERATED: u32 = 256;

/// `VIDEO_MAX_PLANES` of videodev2.h.
const MAX_PLANES: usize = 8;

/// An open video device.
#[derive(Debug)]
pub(super) struct Device {
    fd: OwnedFd,
    /// Single-planar or multi-planar capture; decides how formats and buffers are described.
    pub(super) capture: Capture,
}

/// Which of the two capture interfaces a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    /// The common one.
    Single,
    /// That of camera interfaces in phones and boards. Formats with more than one memory plane are not used.
    Multi,
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Capability {
    /// Such as `uvcvideo`.
    pub driver: String,
    /// Name of the camera: `HD Pro Webcam C920`.
    pub card: String,
    /// Where it is connected: `usb-0000:00:14.0-1`, `platform:vivid-000`.
    pub bus: String,
    /// `V4L2_CAP_…` of this device node.
    pub flags: u32,
}

/// A format as the driver settled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub fourcc: FourCc,
    pub width: u32,
    pub height: u32,
    /// Bytes from row to row of the first plane; 0 for compressed formats.
    pub stride: u32,
    pub full_range: bool,
}

/// The range of a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub minimum: i32,
    pub maximum: i32,
    pub default: i32,
}

/// Sizes a format comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sizes {
    Discrete(Vec<(u32, u32)>),
    /// Any size between these two, by steps.
    Stepwise {
        least: (u32, u32),
        most: (u32, u32),
        step: (u32, u32),
    },
}

/// Frame intervals of one size, in seconds as (numerator, denominator).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Intervals {
    Discrete(Vec<(u32, u32)>),
    /// Any interval between these two: shortest, longest.
    Stepwise((u32, u32), (u32, u32)),
}

/// A request code together with the structure it takes.
struct Request<T>(vidioc::_IOC_TYPE, PhantomData<T>);

impl<T> Request<T> {
    const fn new(code: vidioc::_IOC_TYPE) -> Self {
        // Bits 16 to 29 of a code hold the size of its structure (asm-generic/ioctl.h).
        assert!((code >> 16) & 0x3FFF == mem::size_of::<T>() as vidioc::_IOC_TYPE);
        Self(code, PhantomData)
    }
}

const QUERYCAP: Request<sys::v4l2_capability> = Request::new(vidioc::VIDIOC_QUERYCAP);
const ENUM_FMT: Request<sys::v4l2_fmtdesc> = Request::new(vidioc::VIDIOC_ENUM_FMT);
const ENUM_FRAMESIZES: Request<sys::v4l2_frmsizeenum> = Request::new(vidioc::VIDIOC_ENUM_FRAMESIZES);
const ENUM_FRAMEINTERVALS: Request<sys::v4l2_frmivalenum> = Request::new(vidioc::VIDIOC_ENUM_FRAMEINTERVALS);
const S_FMT: Request<sys::v4l2_format> = Request::new(vidioc::VIDIOC_S_FMT);
const S_PARM: Request<sys::v4l2_streamparm> = Request::new(vidioc::VIDIOC_S_PARM);
const G_PARM: Request<sys::v4l2_streamparm> = Request::new(vidioc::VIDIOC_G_PARM);
const QUERYCTRL: Request<sys::v4l2_queryctrl> = Request::new(vidioc::VIDIOC_QUERYCTRL);
const S_CTRL: Request<sys::v4l2_control> = Request::new(vidioc::VIDIOC_S_CTRL);
const REQBUFS: Request<sys::v4l2_requestbuffers> = Request::new(vidioc::VIDIOC_REQBUFS);
const STREAMON: Request<c_int> = Request::new(vidioc::VIDIOC_STREAMON);
const STREAMOFF: Request<c_int> = Request::new(vidioc::VIDIOC_STREAMOFF);
const QUERYBUF: Request<sys::v4l2_buffer> = Request::new(vidioc::VIDIOC_QUERYBUF);
const QBUF: Request<sys::v4l2_buffer> = Request::new(vidioc::VIDIOC_QBUF);
const DQBUF: Request<sys::v4l2_buffer> = Request::new(vidioc::VIDIOC_DQBUF);

/// Structures that are all right when every byte is zero.
///
/// # Safety
/// Only for plain C structures of integers, unions and raw pointers.
unsafe trait Plain: Sized {
    fn zeroed() -> Self {
        // SAFETY: the implementor is a C structure of integers, unions of those and raw pointers, for all of which zero bytes are a
        // valid value.
        unsafe { mem::zeroed() }
    }
}

macro_rules! plain {
    ($($name:ident)*) => { $(
        // SAFETY: generated from videodev2.h; holds integers, unions of integers and raw pointers alone.
        unsafe impl Plain for sys::$name {}
    )* };
}

plain! {
    v4l2_capability v4l2_fmtdesc v4l2_frmsizeenum v4l2_frmivalenum v4l2_format v4l2_streamparm v4l2_queryctrl v4l2_control
    v4l2_requestbuffers v4l2_buffer v4l2_plane v4l2_pix_format v4l2_pix_format_mplane
}

impl Device {
    /// Opens a device node. `InvalidInput` when it is something else than a character device.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let kind = FileType::from_raw_mode(rustix::fs::stat(path)?.st_mode);
        if kind != FileType::CharacterDevice {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a device"));
        }
        let fd = rustix::fs::open(path, flags, FileMode::empty())?;
        let mut device = Self {
            fd,
            capture: Capture::Single,
        };
        let flags = device.capability()?.flags;
        if flags & sys::V4L2_CAP_VIDEO_CAPTURE == 0 && flags & sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE != 0 {
            device.capture = Capture::Multi;
        }
        Ok(device)
    }

    pub(super) fn capability(&self) -> io::Result<Capability> {
        let mut raw = sys::v4l2_capability::zeroed();
        self.request(&QUERYCAP, &mut raw)?;
        let flags = if raw.capabilities & sys::V4L2_CAP_DEVICE_CAPS == 0 {
            raw.capabilities
        } else {
            raw.device_caps
        };
        Ok(Capability {
            driver: text(&raw.driver),
            card: text(&raw.card),
            bus: text(&raw.bus_info),
            flags,
        })
    }

    /// Formats in the order of the driver, with its description.
    pub(super) fn formats(&self) -> Vec<(FourCc, String)> {
        self.enumerate(|index| {
            let mut raw = sys::v4l2_fmtdesc::zeroed();
            raw.index = index;
            raw.type_ = self.buffer_type();
            self.request(&ENUM_FMT, &mut raw)?;
            Ok((raw.pixelformat.to_le_bytes(), text(&raw.description)))
        })
    }

    /// `None` when the driver cannot tell.
    pub(super) fn sizes(&self, fourcc: FourCc) -> Option<Sizes> {
        let raw = self.enumerate(|index| {
            let mut raw = sys::v4l2_frmsizeenum::zeroed();
            raw.index = index;
            raw.pixel_format = u32::from_le_bytes(fourcc);
            self.request(&ENUM_FRAMESIZES, &mut raw)?;
            Ok(raw)
        });
        let first = raw.first()?;
        if first.type_ == sys::v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE {
            let size = |raw: &sys::v4l2_frmsizeenum| {
                // SAFETY: both sides of the union are integers, so any bytes are a valid value; `type_` says it is this side.
                let size = unsafe { raw.__bindgen_anon_1.discrete };
                (size.width, size.height)
            };
            return Some(Sizes::Discrete(raw.iter().map(size).collect()));
        }
        // SAFETY: as above, the other side.
        let range = unsafe { first.__bindgen_anon_1.stepwise };
        Some(Sizes::Stepwise {
            least: (range.min_width, range.min_height),
            most: (range.max_width, range.max_height),
            step: (range.step_width.max(1), range.step_height.max(1)),
        })
    }

    /// `None` when the driver cannot tell.
    pub(super) fn intervals(&self, fourcc: FourCc, width: u32, height: u32) -> Option<Intervals> {
        let raw = self.enumerate(|index| {
            let mut raw = sys::v4l2_frmivalenum::zeroed();
            raw.index = index;
            raw.pixel_format = u32::from_le_bytes(fourcc);
            (raw.width, raw.height) = (width, height);
            self.request(&ENUM_FRAMEINTERVALS, &mut raw)?;
            Ok(raw)
        });
        let first = raw.first()?;
        let fraction = |f: sys::v4l2_fract| (f.numerator, f.denominator);
        if first.type_ == sys::v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE {
            // SAFETY: both sides of the union are integers, so any bytes are a valid value; `type_` says it is this side.
            let interval = |raw: &sys::v4l2_frmivalenum| fraction(unsafe { raw.__bindgen_anon_1.discrete });
            return Some(Intervals::Discrete(raw.iter().map(interval).collect()));
        }
        // SAFETY: as above, the other side.
        let range = unsafe { first.__bindgen_anon_1.stepwise };
        Some(Intervals::Stepwise(fraction(range.min), fraction(range.max)))
    }

    /// Asks for a format; the driver answers with what it made of it.
    pub(super) fn set_format(&self, fourcc: FourCc, width: u32, height: u32) -> io::Result<Settled> {
        let mut raw = sys::v4l2_format::zeroed();
        raw.type_ = self.buffer_type();
        match self.capture {
            Capture::Single => {
                let mut pix = sys::v4l2_pix_format::zeroed();
                (pix.width, pix.height) = (width, height);
                pix.pixelformat = u32::from_le_bytes(fourcc);
                pix.field = sys::v4l2_field_V4L2_FIELD_ANY;
                raw.fmt.pix = pix;
                self.request(&S_FMT, &mut raw)?;
                // SAFETY: every member of the union is integers; `type_` says it is this one.
                let pix = unsafe { raw.fmt.pix };
                Ok(Settled {
                    fourcc: pix.pixelformat.to_le_bytes(),
                    width: pix.width,
                    height: pix.height,
                    stride: pix.bytesperline,
                    full_range: full_range(pix.quantization, pix.colorspace),
                })
            }
            Capture::Multi => {
                let mut pix = sys::v4l2_pix_format_mplane::zeroed();
                (pix.width, pix.height) = (width, height);
                pix.pixelformat = u32::from_le_bytes(fourcc);
                pix.num_planes = 1;
                raw.fmt.pix_mp = pix;
                self.request(&S_FMT, &mut raw)?;
                // SAFETY: every member of the union is integers; `type_` says it is this one.
                let pix = unsafe { raw.fmt.pix_mp };
                if pix.num_planes != 1 {
                    return Err(io::Error::new(
                        io::ErrorKind::Unsupported,
                        "a format of several memory planes",
                    ));
                }
                let [plane, ..] = pix.plane_fmt;
                Ok(Settled {
                    fourcc: pix.pixelformat.to_le_bytes(),
                    width: pix.width,
                    height: pix.height,
                    stride: plane.bytesperline,
                    full_range: full_range(u32::from(pix.quantization), pix.colorspace),
                })
            }
        }
    }

    /// Asks for a frame rate and returns what the driver made of it; `None` when it cannot be set or told.
    pub(super) fn set_rate(&self, rate: FrameRate) -> io::Result<Option<FrameRate>> {
        let mut raw = sys::v4l2_streamparm::zeroed();
        raw.type_ = self.buffer_type();
        match self.request(&G_PARM, &mut raw) {
            Err(error) if not_supported(&error) => return Ok(None),
            other => other?,
        }
        // SAFETY: every member of the union is integers; `type_` says it is this one.
        let mut capture = unsafe { raw.parm.capture };
        if capture.capability & sys::V4L2_CAP_TIMEPERFRAME == 0 {
            return Ok(rate_of(capture.timeperframe));
        }
        capture.timeperframe = sys::v4l2_fract {
            numerator: rate.seconds(),
            denominator: rate.frames(),
        };
        raw.parm.capture = capture;
        self.request(&S_PARM, &mut raw)?;
        // SAFETY: as above.
        Ok(rate_of(unsafe { raw.parm.capture.timeperframe }))
    }

    /// The range of a control; `None` when the camera has no such control or it cannot be written now.
    pub(super) fn control_range(&self, id: u32) -> Option<Range> {
        let mut raw = sys::v4l2_queryctrl::zeroed();
        raw.id = id;
        self.request(&QUERYCTRL, &mut raw).ok()?;
        if raw.flags & (sys::V4L2_CTRL_FLAG_DISABLED | sys::V4L2_CTRL_FLAG_READ_ONLY) != 0 {
            return None;
        }
        Some(Range {
            minimum: raw.minimum,
            maximum: raw.maximum,
            default: raw.default_value,
        })
    }

    pub(super) fn set_control(&self, id: u32, value: i32) -> io::Result<()> {
        self.request(&S_CTRL, &mut sys::v4l2_control { id, value })
    }

    /// Asks for `count` buffers, 0 to give them back; returns how many there are.
    pub(super) fn request_buffers(&self, count: u32) -> io::Result<u32> {
        let mut raw = sys::v4l2_requestbuffers::zeroed();
        raw.count = count;
        raw.type_ = self.buffer_type();
        raw.memory = sys::v4l2_memory_V4L2_MEMORY_MMAP;
        self.request(&REQBUFS, &mut raw)?;
        Ok(raw.count)
    }

    pub(super) fn stream(&self, on: bool) -> io::Result<()> {
        let mut buffer_type = self.buffer_type() as c_int;
        self.request(if on { &STREAMON } else { &STREAMOFF }, &mut buffer_type)
    }

    /// Where a buffer lies in the device's memory: offset and length in bytes.
    pub(super) fn locate_buffer(&self, index: u32) -> io::Result<(u64, usize)> {
        let (raw, plane) = self.buffer_request(&QUERYBUF, index)?;
        Ok(match self.capture {
            // SAFETY: the union holds integers and a pointer we do not follow; with MMAP memory the offset is the valid side.
            Capture::Single => (u64::from(unsafe { raw.m.offset }), raw.length as usize),
            // SAFETY: as above.
            Capture::Multi => (u64::from(unsafe { plane.m.mem_offset }), plane.length as usize),
        })
    }

    pub(super) fn queue_buffer(&self, index: u32) -> io::Result<()> {
        self.buffer_request(&QBUF, index).map(drop)
    }

    /// The oldest filled buffer. `WouldBlock` when there is none.
    pub(super) fn dequeue_buffer(&self) -> io::Result<Filled> {
        let (raw, plane) = self.buffer_request(&DQBUF, 0)?;
        let (start, end) = match self.capture {
            Capture::Single => (0, raw.bytesused),
            Capture::Multi => (plane.data_offset, plane.bytesused),
        };
        Ok(Filled {
            index: raw.index,
            start: start as usize,
            end: end as usize,
            flags: raw.flags,
            sequence: raw.sequence,
            seconds: raw.timestamp.tv_sec,
            micros: raw.timestamp.tv_usec,
        })
    }

    fn buffer_request(
        &self,
        request: &Request<sys::v4l2_buffer>,
        index: u32,
    ) -> io::Result<(sys::v4l2_buffer, sys::v4l2_plane)> {
        let mut planes = [sys::v4l2_plane::zeroed(); MAX_PLANES];
        let mut raw = sys::v4l2_buffer::zeroed();
        raw.index = index;
        raw.type_ = self.buffer_type();
        raw.memory = sys::v4l2_memory_V4L2_MEMORY_MMAP;
        if self.capture == Capture::Multi {
            raw.m.planes = planes.as_mut_ptr();
            raw.length = MAX_PLANES as u32;
        }
        self.request(request, &mut raw)?;
        // The pointer must not outlive the array.
        if self.capture == Capture::Multi {
            raw.m.offset = 0;
        }
        let [plane, ..] = planes;
        Ok((raw, plane))
    }

    fn buffer_type(&self) -> u32 {
        match self.capture {
            Capture::Single => sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE,
            Capture::Multi => sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
        }
    }

    fn enumerate<T>(&self, one: impl Fn(u32) -> io::Result<T>) -> Vec<T> {
        (0..MAX_ENUMERATED).map_while(|index| one(index).ok()).collect()
    }

    fn request<T>(&self, request: &Request<T>, argument: &mut T) -> io::Result<()> {
        loop {
            // SAFETY: `argument` is a live, exclusive reference to the structure whose size the request code states (checked when
            // the constant is made), so the kernel reads and writes within it. Pointers inside are set by `buffer_request` alone,
            // to an array of the length it states, which lives through the call.
            let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), request.0, std::ptr::from_mut(argument)) };
            if result != -1 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A buffer that the driver has filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    pub index: u32,
    /// Where the picture begins in the buffer.
    pub start: usize,
    /// Where it ends, as the driver claims.
    pub end: usize,
    /// `V4L2_BUF_FLAG_…`
    pub flags: u32,
    /// Counts the camera's pictures, those included that found no buffer.
    pub sequence: u32,
    pub seconds: i64,
    pub micros: i64,
}

/// The driver does not know this request for this device.
fn not_supported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL | libc::EPERM))
}

fn rate_of(interval: sys::v4l2_fract) -> Option<FrameRate> {
    FrameRate::new(interval.denominator, interval.numerator)
}

/// Y'CbCr is limited range unless the driver says otherwise, or says JPEG, whose default is full range
/// (`V4L2_MAP_QUANTIZATION_DEFAULT` of videodev2.h).
fn full_range(quantization: u32, colorspace: u32) -> bool {
    match quantization {
        sys::v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE => true,
        sys::v4l2_quantization_V4L2_QUANTIZATION_DEFAULT => colorspace == sys::v4l2_colorspace_V4L2_COLORSPACE_JPEG,
        _ => false,
    }
}

/// A text of a driver: up to the first NUL, whatever its bytes.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
    text.chars()
        .filter(|c| !c.is_control())
        .collect::<String>()
        .trim()
        .to_owned()
}
