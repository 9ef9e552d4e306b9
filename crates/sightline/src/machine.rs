//! How the machine is: processor, memory, network, temperature; and what the program takes of it.
//!
//! Belongs here: reading what Linux tells in `/proc` and `/sys`, and making figures of it when somebody asks. Does not belong here: who is
//! told, in what form.
//!
//! Nothing runs while nobody asks. Read directly, not through a crate: it is five small files, and a crate that knows every
//! system keeps lists of all processes. On other systems the figures are `None`.

mod process;
mod share;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use media::Clock;

pub use process::{Process, Usage, process, usage};
pub use share::memory_share;

use crate::net;

/// What is known. `None`: the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Share of all processors that was busy, 0 to 100.
    pub cpu_percent: Option<f64>,
    /// Memory.
    pub memory: Option<Memory>,
    /// What went over the network, without this machine's own.
    pub network: Option<Network>,
    /// The hottest sensor, in degrees Celsius.
    pub temperature_celsius: Option<f64>,
    /// How long the machine has been running.
    pub uptime: Option<Duration>,
}

/// Memory of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What programs and the system need, in bytes: what could not be given to another program.
    pub used_bytes: u64,
    /// All there is, in bytes.
    pub total_bytes: u64,
}

/// Bits a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// In.
    pub received_bits: f64,
    /// Out.
    pub sent_bits: f64,
}

/// Reads figures. Those that are rates need two looks: the last is remembered.
#[derive(Debug, Default)]
pub struct Machine(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Look>,
    rates: Option<(Instant, Rates)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rates {
    cpu_percent: Option<f64>,
    network: Option<Network>,
}

/// The counters at one time.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    cpu: Option<Ticks>,
    traffic: Option<Traffic>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    idle: u64,
    all: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Traffic {
    received_bytes: u64,
    sent_bytes: u64,
}

/// What [`Machine::step`] came to.
enum Step {
    Known(Rates),
    /// Ask again after this long.
    Wait(Duration),
}

impl Machine {
    /// The figures now. When nobody has asked for a while, it takes a fifth of a second to see how fast the counters move.
    pub async fn figures(&self, clock: &dyn Clock) -> Figures {
        let rates = loop {
            match self.step(clock.now(), Look::now) {
                Step::Known(rates) => break rates,
                Step::Wait(wait) => tokio::time::sleep(wait).await,
            }
        };
        Figures {
            cpu_percent: rates.cpu_percent,
            network: rates.network,
            memory: read("/proc/meminfo").and_then(|text| memory(&text)),
            temperature_celsius: temperature(Path::new("/sys/class/thermal")),
            uptime: read("/proc/uptime").and_then(|text| uptime(&text)),
        }
    }

    fn step(&self, now: Instant, look: impl FnOnce(Instant) -> Look) -> Step {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, rates)) = state.rates
            && now.saturating_duration_since(at) < SHORTEST
        {
            return Step::Known(rates);
        }
        let since = state.last.map(|last| now.saturating_duration_since(last.at));
        match (state.last, since) {
            (Some(_), Some(since)) if since < SHORTEST => Step::Wait(SHORTEST - since),
            (Some(last), Some(since)) if since <= LONGEST => {
                let look = look(now);
                let rates = Rates::between(&last, &look);
                (state.last, state.rates) = (Some(look), Some((now, rates)));
                Step::Known(rates)
            }
            _ => {
                state.last = Some(look(now));
                Step::Wait(SHORTEST)
            }
        }
    }
}

impl Look {
    fn now(at: Instant) -> Self {
        Self {
            at,
            cpu: read("/proc/stat").and_then(|text| ticks(&text)),
            traffic: read("/proc/net/dev").map(|text| traffic(&text)),
        }
    }
}

impl Rates {
    fn between(earlier: &Look, later: &Look) -> Self {
        let seconds = later.at.saturating_duration_since(earlier.at).as_secs_f64();
        let cpu = earlier.cpu.zip(later.cpu).and_then(|(earlier, later)| {
            let all = later.all.checked_sub(earlier.all).filter(|all| *all > 0)?;
            let idle = later.idle.saturating_sub(earlier.idle).min(all);
            Some(100.0 * (all - idle) as f64 / all as f64)
        });
        // An interface that went away took its counters with it.
        let bits = |earlier: u64, later: u64| later.saturating_sub(earlier) as f64 * 8.0 / seconds;
        let network = earlier.traffic.zip(later.traffic).filter(|_| seconds > 0.0);
        Self {
            cpu_percent: cpu,
            network: network.map(|(earlier, later)| Network {
                received_bits: bits(earlier.received_bytes, later.received_bytes),
                sent_bits: bits(earlier.sent_bytes, later.sent_bytes),
            }),
        }
    }
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)). What guests take is in user already.
fn ticks(stat: &str) -> Option<Ticks> {
    let counts: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .take(8)
        .map_while(|count| count.parse().ok())
        .collect();
    let idle = counts.get(3)?.saturating_add(counts.get(4).copied().unwrap_or(0));
    let all = counts.iter().fold(0_u64, |all, count| all.saturating_add(*count));
    Some(Ticks { idle, all })
}

/// `/proc/net/dev`: bytes in are the first number of a line, bytes out the ninth. What goes through a bridge to containers was counted
/// on its way in.
fn traffic(dev: &str) -> Traffic {
    let interfaces = dev.lines().filter_map(|line| {
        let (name, counts) = line.split_once(':')?;
        let name = name.trim();
        let mut counts = counts.split_ascii_whitespace();
        let received: u64 = counts.next()?.parse().ok()?;
        let sent: u64 = counts.nth(7)?.parse().ok()?;
        (name != "lo" && !net::is_virtual(name)).then_some((received, sent))
    });
    interfaces.fold(
        Traffic {
            received_bytes: 0,
            sent_bytes: 0,
        },
        |sum, (received, sent)| Traffic {
            received_bytes: sum.received_bytes.saturating_add(received),
            sent_bytes: sum.sent_bytes.saturating_add(sent),
        },
    )
}

/// `/proc/meminfo`, which counts in KiB.
fn memory(meminfo: &str) -> Option<Memory> {
    let (total, available) = (kib(meminfo, "MemTotal")?, kib(meminfo, "MemAvailable")?);
    Some(Memory {
        used_bytes: total.saturating_sub(available),
        total_bytes: total,
    })
}

/// The bytes of a line `NAME: 123 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1_024))
}

/// `/proc/uptime`: seconds since the start, then what is of no interest.
fn uptime(text: &str) -> Option<Duration> {
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The hottest zone. Some report nonsense when they have no sensor.
pub(crate) fn temperature(thermal: &Path) -> Option<f64> {
    let zones = std::fs::read_dir(thermal).ok()?.filter_map(|zone| {
        let text = read(zone.ok()?.path().join("temp"))?;
        let millidegrees: i32 = text.trim().parse().ok()?;
        let celsius = f64::from(millidegrees) / 1_000.0;
        (-50.0..150.0).contains(&celsius).then_some(celsius)
    });
    zones.reduce(f64::max)
}

/// Whether the machine is too hot now, or has too little power: a Raspberry Pi says so, in the bits 0 to 3 of what its firmware counts. `None`: it does not tell.
pub fn is_throttled() -> Option<bool> {
    throttled(&read("/sys/devices/platform/soc/soc:firmware/get_throttled")?)
}

fn throttled(text: &str) -> Option<bool> {
    let bits = u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()?;
    Some(bits & 0xf != 0)
}

/// What the machine calls itself: a board its name, another what its processor says.
pub fn model() -> Option<String> {
    let board = read("/proc/device-tree/model").map(|text| text.trim_end_matches('\0').to_owned());
    board.or_else(|| processor(&read("/proc/cpuinfo")?))
}

fn processor(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"))?;
    let name: String = line.split_once(':')?.1.trim().chars().take(100).collect();
    Some(name).filter(|name| !name.is_empty())
}

/// Between two looks. The kernel counts processor time in hundredths of a second.
const SHORTEST: Duration = Duration::from_millis(200);
/// A look that is older says nothing about now.
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    const STAT: &str = "cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 1 2 3 4\n";
    const DEV: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9999999    10    0    0    0     0          0         0  9999999    10    0    0    0     0       0          0
  eth0:    1000    10    0    0    0     0          0         0     2000    20    0    0    0     0       0          0
docker0:   5000    10    0    0    0     0          0         0     5000    20    0    0    0     0       0          0
 wlan0:      10     1    0    0    0     0          0         0       20     1    0    0    0     0       0          0
broken: x
";

    fn look(at: Instant, busy: u64, idle: u64, bytes: u64) -> Look {
        Look {
            at,
            cpu: Some(Ticks { idle, all: busy + idle }),
            traffic: Some(Traffic {
                received_bytes: bytes,
                sent_bytes: 2 * bytes,
            }),
        }
    }

    #[test]
    fn what_linux_writes_is_read() {
        assert_eq!(ticks(STAT), Some(Ticks { idle: 850, all: 1_000 }));
        let traffic = traffic(DEV);
        assert_eq!((traffic.received_bytes, traffic.sent_bytes), (1_010, 2_020));
        let meminfo = "MemTotal:        8000 kB\nMemFree: 1 kB\nMemAvailable:    3000 kB\n";
        let memory = memory(meminfo).unwrap();
        assert_eq!((memory.used_bytes, memory.total_bytes), (5_000 << 10, 8_000 << 10));
        assert_eq!(
            uptime("350735.47 234388.90\n"),
            Some(Duration::from_millis(350_735_470))
        );
    }

    #[test]
    fn what_is_missing_or_odd_is_not_known() {
        for odd in ["", "cpu", "cpu  1 2", "cpux", "MemTotal: x kB", "-1 5", "\u{0}"] {
            assert!(
                ticks(odd).is_none() && memory(odd).is_none() && uptime(odd).is_none(),
                "{odd:?}"
            );
        }
        assert_eq!(temperature(Path::new("/nonexistent")), None);
    }

    #[test]
    fn a_board_says_whether_it_is_throttled_now() {
        assert_eq!(throttled("0\n"), Some(false));
        assert_eq!(throttled("50005\n"), Some(true));
        assert_eq!(throttled("0x50000"), Some(false), "it was, and is no more");
        assert_eq!(throttled("x"), None);
        assert_eq!(
            processor("processor: 0\nmodel name\t: A 5 @ 2 GHz\n").as_deref(),
            Some("A 5 @ 2 GHz")
        );
        assert_eq!(processor("processor: 0\n"), None);
    }

    #[test]
    fn the_hottest_sensor_that_makes_sense_counts() {
        let folder = tempfile::tempdir().unwrap();
        for (zone, text) in [
            ("zone0", "48312\n"),
            ("zone1", "61000\n"),
            ("zone2", "-274000\n"),
            ("zone3", "hot\n"),
        ] {
            std::fs::create_dir(folder.path().join(zone)).unwrap();
            std::fs::write(folder.path().join(zone).join("temp"), text).unwrap();
        }
        assert_eq!(temperature(folder.path()), Some(61.0));
    }

    #[test]
    fn rates_are_those_between_two_looks() {
        let start = Instant::now();
        let earlier = look(start, 100, 900, 1_000);
        let later = look(start + Duration::from_secs(2), 125, 975, 251_000);
        let rates = Rates::between(&earlier, &later);
        let network = rates.network.unwrap();
        assert_eq!(rates.cpu_percent, Some(25.0));
        assert_eq!((network.received_bits, network.sent_bits), (1_000_000.0, 2_000_000.0));
        // Counters that went back, and no time between.
        let rates = Rates::between(&later, &earlier);
        assert_eq!((rates.cpu_percent, rates.network), (None, None));
    }

    #[test]
    fn whoever_asks_often_gets_the_last_answer_and_whoever_asks_seldom_a_new_one() {
        let machine = Machine::default();
        let start = Instant::now();
        let ms = |ms: u64| start + Duration::from_millis(ms);
        let wait = |at: u64| match machine.step(ms(at), |at| look(at, 0, 0, 0)) {
            Step::Wait(wait) => wait.as_millis(),
            Step::Known(rates) => panic!("{rates:?} after {at} ms"),
        };
        let busy = |at: u64, busy: u64| match machine.step(ms(at), |at| look(at, busy, 100 - busy, 0)) {
            Step::Known(rates) => rates.cpu_percent.unwrap(),
            Step::Wait(wait) => panic!("{wait:?} after {at} ms"),
        };
        assert_eq!((wait(0), wait(150)), (200, 50));
        assert_eq!(busy(200, 30).round(), 30.0);
        assert_eq!(busy(399, 90).round(), 30.0, "not looked at again");
        assert_eq!(wait(15_000), 200, "too long ago");
    }

    #[tokio::test]
    async fn this_machine_has_figures() {
        let machine = Machine::default();
        let figures = machine.figures(&SystemClock).await;
        if cfg!(target_os = "linux") {
            let memory = figures.memory.unwrap();
            assert!(
                memory.used_bytes > 0 && memory.used_bytes < memory.total_bytes,
                "{memory:?}"
            );
            assert!((0.0..=100.0).contains(&figures.cpu_percent.unwrap()), "{figures:?}");
            assert!(figures.network.is_some() && figures.uptime.is_some(), "{figures:?}");
        }
    }
}
