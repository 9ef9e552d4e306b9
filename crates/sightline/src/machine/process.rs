//! What the program itself takes of the machine.

use std::time::Duration;

use super::{kib, read};

/// What is known. `None`: the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Processor time of all threads since the start.
    pub processor_time: Option<Duration>,
    /// Memory in use, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space in use, in bytes.
    pub virtual_bytes: Option<u64>,
    /// File descriptors that are open.
    pub open_files: Option<u64>,
    /// As many as may be.
    pub most_open_files: Option<u64>,
}

/// The figures now.
pub fn process() -> Process {
    let status = read("/proc/self/status").unwrap_or_default();
    // The one that reads the folder is not the program's.
    let open = std::fs::read_dir("/proc/self/fd").map(|files| files.count().saturating_sub(1));
    Process {
        processor_time: processor_time(),
        resident_bytes: kib(&status, "VmRSS"),
        virtual_bytes: kib(&status, "VmSize"),
        open_files: open.ok().and_then(|open| u64::try_from(open).ok()),
        most_open_files: most_open_files(),
    }
}

/// What is asked once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all threads since the start.
    pub processor_time: Option<Duration>,
    /// Memory in use, in bytes.
    pub resident_bytes: Option<u64>,
}

/// The same now, without a look at each open file.
pub fn usage() -> Usage {
    let status = read("/proc/self/status").unwrap_or_default();
    Usage {
        processor_time: processor_time(),
        resident_bytes: kib(&status, "VmRSS"),
    }
}

#[cfg(target_os = "linux")]
fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(
        u64::try_from(time.tv_sec).ok()?,
        u32::try_from(time.tv_nsec).ok()?,
    ))
}

#[cfg(target_os = "linux")]
fn most_open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(target_os = "linux"))]
fn processor_time() -> Option<Duration> {
    None
}

#[cfg(not(target_os = "linux"))]
fn most_open_files() -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_program_has_figures() {
        let before = process();
        let files: Vec<_> = (0..10)
            .map(|_| std::fs::File::open("/proc/self/status").unwrap())
            .collect();
        let text: Vec<_> = (0..100).map(|_| read("/proc/self/status").unwrap()).collect();
        let after = process();
        assert!(
            after.processor_time.unwrap() > before.processor_time.unwrap(),
            "{before:?} {after:?}"
        );
        assert!(
            after.resident_bytes.unwrap() > 1 << 20 && after.resident_bytes < after.virtual_bytes,
            "{after:?}"
        );
        assert!(
            after.open_files.unwrap() >= 13 && after.open_files <= after.most_open_files,
            "{after:?}"
        );
        drop((files, text));
    }
}
