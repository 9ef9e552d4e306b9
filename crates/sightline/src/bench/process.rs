//! What another process of this machine costs while it is measured: processor time and memory, by its id.
//!
//! Linux only; elsewhere nothing is reported.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

/// The server to be measured does not run.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no such process: {0}; `pidof sightline` says which there are, and without --pid only the load itself measures"
)]
pub struct NoProcess(pub u32);

/// What the server cost while measuring.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServerCost {
    /// Processor time for each of what is counted, in microseconds.
    #[serde(flatten)]
    pub cpu_us: CostPerUnit,
    /// Share of one core, in percent.
    pub cpu_percent: f64,
    /// Resident memory with all viewers, in KiB.
    pub resident_kib: u64,
    /// What a viewer adds to it, in KiB.
    pub kib_per_viewer: f64,
}

/// By what a server's cost is told.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum CostPerUnit {
    /// RTP.
    #[serde(rename = "cpu_us_per_packet")]
    Packet(f64),
    /// HTTP.
    #[serde(rename = "cpu_us_per_request")]
    Request(f64),
    /// A status that a dashboard heard.
    #[serde(rename = "cpu_us_per_heard")]
    Heard(f64),
}

/// Measures one process, or none.
pub(super) struct Meter {
    pid: Option<u32>,
    empty_bytes: Option<u64>,
    full_bytes: Option<u64>,
    cpu_before: Option<Duration>,
    cpu_used: Option<Duration>,
}

impl Meter {
    /// # Errors
    /// [`NoProcess`].
    pub(super) fn new(pid: Option<u32>) -> Result<Self, NoProcess> {
        match pid.filter(|pid| !is_there(*pid)) {
            Some(pid) => Err(NoProcess(pid)),
            None => Ok(Self {
                pid,
                empty_bytes: None,
                full_bytes: None,
                cpu_before: None,
                cpu_used: None,
            }),
        }
    }

    /// Nobody has joined yet.
    pub(super) fn empty(&mut self) {
        self.empty_bytes = self.pid.and_then(resident_bytes);
    }

    /// All have joined, and measuring begins.
    pub(super) fn start(&mut self) {
        self.full_bytes = self.pid.and_then(resident_bytes);
        self.cpu_before = self.pid.and_then(cpu_time);
    }

    /// Measuring is over.
    pub(super) fn stop(&mut self) {
        let now = self.pid.and_then(cpu_time);
        self.cpu_used = now.zip(self.cpu_before).map(|(now, before)| now.saturating_sub(before));
    }

    /// For so many viewers in so much time, and so many `units`. `None`: there is no process to be measured, or no longer.
    pub(super) fn cost(
        &self,
        viewers: usize,
        elapsed: Duration,
        units: u64,
        unit: fn(f64) -> CostPerUnit,
    ) -> Option<ServerCost> {
        let used = self.cpu_used?.as_secs_f64();
        let full_bytes = self.full_bytes?;
        let added_bytes = full_bytes.saturating_sub(self.empty_bytes?);
        Some(ServerCost {
            cpu_us: unit(used * 1e6 / units.max(1) as f64),
            cpu_percent: used * 100.0 / elapsed.as_secs_f64(),
            resident_kib: full_bytes / 1_024,
            kib_per_viewer: added_bytes as f64 / 1_024.0 / viewers.max(1) as f64,
        })
    }
}

impl fmt::Display for ServerCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (micros, unit) = match self.cpu_us {
            CostPerUnit::Packet(micros) => (micros, "packet"),
            CostPerUnit::Request(micros) => (micros, "request"),
            CostPerUnit::Heard(micros) => (micros, "status heard"),
        };
        write!(
            f,
            "server         {micros:.2} µs a {unit}, {:.1} % of a core, {} KiB resident, {:.1} KiB a viewer",
            self.cpu_percent, self.resident_kib, self.kib_per_viewer
        )
    }
}

/// Whether there is such a process. Where that cannot be known, there is.
fn is_there(pid: u32) -> bool {
    !cfg!(target_os = "linux") || Path::new(&format!("/proc/{pid}")).exists()
}

/// Processor time that all threads of a process have used. `None` when it cannot be seen.
///
/// From `schedstat`, which counts nanoseconds; `stat` counts ticks of 10 ms.
fn cpu_time(pid: u32) -> Option<Duration> {
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
fn resident_bytes(pid: u32) -> Option<u64> {
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
        let mut meter = Meter::new(Some(pid)).unwrap();
        meter.empty();
        meter.start();
        let before = cpu_time(pid).unwrap();
        while cpu_time(pid).unwrap() - before < Duration::from_millis(5) {
            std::thread::yield_now();
        }
        meter.stop();
        let cost = meter.cost(1, Duration::from_secs(1), 1_000, CostPerUnit::Request);
        let cost = cost.unwrap();
        assert!(cost.cpu_percent >= 0.5 && cost.resident_kib > 100, "{cost}");
        assert!(cost.to_string().contains("µs a request"), "{cost}");
        assert!(is_there(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_there(pid) && !is_there(u32::MAX));
        assert!(Meter::new(Some(pid)).is_err() && Meter::new(None).is_ok());
    }
}
