//! What another process of this machine costs: processor time and memory, by its id.
//!
//! Linux only; elsewhere nothing is reported.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Whether there is such a process. Where that cannot be known, there is.
pub(super) fn is_there(pid: u32) -> bool {
    !cfg!(target_os = "linux") || Path::new(&format!("/proc/{pid}")).exists()
}

/// Processor time that all threads of a process have used. `None` when it cannot be seen.
///
/// From `schedstat`, which counts nanoseconds; `stat` counts ticks of 10 ms.
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end while its siblings are read.
        let Ok(schedstat) = fs::read_to_string(thread.ok()?.path().join("schedstat")) else {
            continue;
        };
        total += Duration::from_nanos(schedstat.split_whitespace().next()?.parse().ok()?);
    }
    Some(total)
}

/// Resident memory in bytes.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1_024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn sees_another_process() {
        // Not this process: threads of other tests end meanwhile, and take their time with them.
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let pid = child.id();
        let before = cpu_time(pid).unwrap();
        while cpu_time(pid).unwrap() - before < Duration::from_millis(5) {
            std::thread::yield_now();
        }
        assert!(resident_bytes(pid).unwrap() > 100_000);
        assert_eq!(cpu_time(u32::MAX), None);
        assert!(is_there(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_there(pid) && !is_there(u32::MAX));
    }
}
