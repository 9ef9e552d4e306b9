//! The buffers a driver fills, mapped into our memory.
//!
//! Belongs here: mapping, queueing, dequeuing, and giving all of it back. Does not belong here: what is in them.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::slice;

use rustix::mm::{MapFlags, ProtFlags};

use super::ioctl::{Device, Filled};

/// Buffers of a device that streams. Dropping it stops the device.
#[derive(Debug)]
pub(super) struct Buffers {
    device: Device,
    mapped: Vec<Mapping>,
}

/// One buffer of the driver in our memory.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is ours until it is unmapped, is not bound to a thread, and is only read through `&Buffers`.
unsafe impl Send for Mapping {}

impl Buffers {
    /// Gets `count` buffers (the driver may give more or fewer), queues them and starts the device.
    pub(super) fn start(device: Device, count: u32) -> io::Result<Self> {
        let count = device.request_buffers(count)?;
        let mut buffers = Self {
            device,
            mapped: Vec::new(),
        };
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "the driver gave no buffers"));
        }
        for index in 0..count {
            let (offset, length) = buffers.device.locate_buffer(index)?;
            buffers.mapped.push(Mapping::new(&buffers.device, offset, length)?);
            buffers.device.queue_buffer(index)?;
        }
        buffers.device.stream(true)?;
        Ok(buffers)
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.mapped.len()
    }

    /// The oldest filled buffer, until it is given back with [`Buffers::give_back`]. `None` when there is none.
    pub(super) fn take(&mut self) -> io::Result<Option<Filled>> {
        match self.device.dequeue_buffer() {
            Ok(filled) if (filled.index as usize) < self.mapped.len() => Ok(Some(filled)),
            Ok(filled) => Err(io::Error::other(format!(
                "the driver filled buffer {}, which we do not have",
                filled.index
            ))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is in a taken buffer: never more than the buffer, whatever the driver claims.
    pub(super) fn bytes(&self, filled: &Filled) -> &[u8] {
        let Some(mapping) = self.mapped.get(filled.index as usize) else {
            return &[];
        };
        // SAFETY: the mapping is `length` bytes of readable memory for as long as `self` lives. The driver does not write into a
        // buffer between dequeuing and queueing it, and `give_back` needs `&mut self`, which ends this borrow.
        let whole = unsafe { slice::from_raw_parts(mapping.start.as_ptr(), mapping.length) };
        let end = filled.end.min(whole.len());
        whole.get(filled.start.min(end)..end).unwrap_or_default()
    }

    /// Lets the driver fill it again.
    pub(super) fn give_back(&mut self, filled: &Filled) -> io::Result<()> {
        self.device.queue_buffer(filled.index)
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // Errors mean that the device is gone, and then there is nothing to stop or to give back.
        let _ = self.device.stream(false);
        // Unmapped first: a driver refuses to free buffers that are mapped.
        self.mapped.clear();
        let _ = self.device.request_buffers(0);
    }
}

impl Mapping {
    fn new(device: &Device, offset: u64, length: usize) -> io::Result<Self> {
        if length == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the driver's buffer has no bytes",
            ));
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                device,
                offset,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Self { start, length })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `mmap` returned, unmapped once; slices into it borrow from `Buffers`, which owns this.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
