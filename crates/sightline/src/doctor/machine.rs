//! The machine: its limits, its clock, its power, its network.

use std::process::{Command, Stdio};

use super::{Findings, Patient};
use crate::config::settings::Settings;
use crate::net::{self, Reach};

/// Where the kernel gives less to a socket, a keyframe that many send at once does not fit (the usual value is 208 KiB).
const BUFFER_BYTES: u64 = 1 << 20;
/// What a viewer, a log and some files need besides.
const SPARE_DESCRIPTORS: u64 = 200;
/// Where a Raspberry Pi begins to slow down.
const HOT_CELSIUS: f64 = 80.0;

pub(super) fn look(patient: &Patient<'_>, settings: &Settings, found: &mut Findings<'_>) {
    descriptors(settings, found);
    buffers(patient, settings, found);
    clock(found);
    power(patient, found);
    network(found);
}

#[cfg(unix)]
fn descriptors(settings: &Settings, found: &mut Findings<'_>) {
    use rustix::process::{Resource, getrlimit};
    const ABOUT: &str = "descriptors";
    let limits = &settings.limits;
    let wanted = [limits.connections, limits.http_connections].map(|limit| limit as u64);
    let wanted = wanted.iter().sum::<u64>().saturating_add(SPARE_DESCRIPTORS);
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < wanted => found.note(
            ABOUT,
            format!("{most} at the most, so that about {} clients can be connected at a time", most.saturating_sub(SPARE_DESCRIPTORS)),
            format!("for all that the limits allow: LimitNOFILE={wanted} in the unit, or `ulimit -Hn {wanted}` before the start"),
        ),
        _ => found.fine(ABOUT, "as many clients can be connected as the limits allow"),
    }
}

#[cfg(not(unix))]
fn descriptors(_: &Settings, _: &mut Findings<'_>) {}

fn buffers(patient: &Patient<'_>, settings: &Settings, found: &mut Findings<'_>) {
    const ABOUT: &str = "UDP buffers";
    if !settings.rtsp.udp {
        return;
    }
    let small: Vec<_> = ["rmem_max", "wmem_max"]
        .into_iter()
        .filter_map(|name| {
            let bytes = patient
                .read(&format!("/proc/sys/net/core/{name}"))?
                .parse::<u64>()
                .ok()?;
            (bytes < BUFFER_BYTES).then_some((name, bytes))
        })
        .collect();
    if small.is_empty() {
        return found.fine(ABOUT, "large enough");
    }
    let what = small
        .iter()
        .map(|(name, bytes)| format!("net.core.{name} is {} KiB", bytes >> 10));
    let next = small.iter().map(|(name, _)| format!("net.core.{name}=4194304"));
    found.note(
        ABOUT,
        format!(
            "{}: keyframes of many megabits over UDP may lose packets",
            what.collect::<Vec<_>>().join(", ")
        ),
        format!(
            "`sudo sysctl -w {}`; to keep it, a file in /etc/sysctl.d",
            next.collect::<Vec<_>>().join(" ")
        ),
    );
}

/// Whether the clock is right: latency between machines is told from both clocks.
fn clock(found: &mut Findings<'_>) {
    const ABOUT: &str = "clock";
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let said = output.ok().filter(|output| output.status.success());
    match said.as_ref().map(|output| output.stdout.trim_ascii()) {
        Some(b"yes") => found.fine(ABOUT, "set by the network"),
        Some(b"no") => found.note(
            ABOUT,
            "not set by the network: latency that is measured from one machine to another is wrong by as much as their clocks differ",
            "`sudo timedatectl set-ntp true`, or install chrony; the page of a browser asks for the server's clock itself",
        ),
        _ => found.note(
            ABOUT,
            "whether the network sets it could not be found out (no timedatectl)",
            "see that it is right where latency between machines matters",
        ),
    }
}

fn power(patient: &Patient<'_>, found: &mut Findings<'_>) {
    const ABOUT: &str = "power";
    // Of the Raspberry Pi's firmware: bits 0 to 3 are now, 16 to 19 since the start.
    let throttled = patient.read("/sys/devices/platform/soc/soc:firmware/get_throttled");
    let throttled = throttled.and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    match throttled {
        Some(bits) if bits & 0x1_0001 != 0 => found.wrong(
            ABOUT,
            "the voltage is, or was, too low: the processor slows down and USB cameras vanish",
            "use the power supply made for this board, and a short cable",
        ),
        Some(bits) if bits & 0xE_000E != 0 => found.wrong(
            ABOUT,
            "the processor is, or was, slowed down because it was too hot",
            "give it a heat sink or a fan",
        ),
        Some(_) => found.fine(ABOUT, "enough"),
        None => {}
    }
    let hottest = crate::machine::temperature(&patient.root.join("sys/class/thermal"));
    if let Some(celsius) = hottest.filter(|celsius| *celsius >= HOT_CELSIUS) {
        found.wrong(
            ABOUT,
            format!("a sensor says {celsius:.0} °C"),
            "give it air: the processor slows down when it is hot",
        );
    }
    let governor = patient.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    if governor.as_deref() == Some("powersave") {
        found.note(
            ABOUT,
            "the processor saves power: pictures take longer to encode",
            "`echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`",
        );
    }
}

fn network(found: &mut Findings<'_>) {
    const ABOUT: &str = "network";
    let addresses = net::interface_addresses();
    let mut others = addresses.iter().filter(|(_, reach)| *reach != Reach::Loopback);
    match others.next() {
        Some((address, reach)) => found.fine(ABOUT, format!("{address} ({})", reach.label())),
        None => found.note(
            ABOUT,
            "no address but that of this machine itself: nobody else can watch",
            "connect it to a network",
        ),
    }
}
