//! What another process of this machine costs: processor time and memory, by its id.
//!
//! Linux only; elsewhere nothing is reported.

use std::fs;
use std::time::Duration;

/// Processor time that all threads of a process have used. `None` when it cannot be seen.
///
/// From `schedstat`, which counts nanoseconds; `stat` counts ticks of 10 ms.
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
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
    use super::*;

    #[test]
    fn sees_this_process() {
        let pid = std::process::id();
        let before = cpu_time(pid).unwrap();
        let mut sum = 0_u64;
        while cpu_time(pid).unwrap() - before < Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(resident_bytes(pid).unwrap() > 100_000);
        assert_eq!(cpu_time(u32::MAX), None);
    }
}
