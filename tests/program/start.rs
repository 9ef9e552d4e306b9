//! What is said at the start.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::support::{Process, sightline, tool, with_settings_of_its_own};
use crate::{port, run, start, stderr, stdout};

#[test]
fn tells_people_where_to_watch() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), &["up", "--source", "test"], &[]);
    process.wait_for("how to stop", |line| {
        line.contains("Press Ctrl-C to stop").then_some(())
    });
    let said = process.said().join("\n");
    for expected in [
        "Camera    zerolatency: ",
        "Access    RTSP is free on this machine",
        "Open      http://",
        "/?token=",
        "/zerolatency/?token=",
        "/zerolatency/index.m3u8?token=",
        "rtsp://localhost:",
        "this machine",
    ] {
        assert!(said.contains(expected), "{expected:?} is missing in\n{said}");
    }
    // No terminal: no colours, no status line, no QR code.
    assert!(!said.contains(['\u{1b}', '█']), "{said}");
}

#[test]
fn openness_is_said_at_every_start() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut process = start(
            folder.path(),
            &["serve"],
            &[("SIGHTLINE_OPEN", "1"), ("SIGHTLINE_LOG", "json")],
        );
        process.wait_for("a warning", |line| line.contains("everything is open").then_some(()));
        port(&mut process);
    }
    let arguments = ["serve", "--log", "json"];
    let mut process = start(
        folder.path(),
        &arguments,
        &[("SIGHTLINE_AUTH_TRUSTED_NETWORKS", "10.9.0.0/24")],
    );
    process.wait_for("a warning", |line| line.contains("10.9.0.0/24").then_some(()));
}

#[test]
fn the_addresses_of_the_tunnel_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join(".env"),
        "PI_VPN_IP=10.9.0.2 # the Pi\nSIGHTLINE_OPEN='1'\n",
    )
    .unwrap();
    let mut process = start(folder.path(), &["up", "--source", "test"], &[]);
    process.wait_for("the URL", |line| line.contains("rtsp://10.9.0.2:").then_some(()));
    drop(process);
    let mut process = start(folder.path(), &["up", "--source", "test"], &[("PI_VPN_IP", "10.9.0.7")]);
    process.wait_for("the process's own", |line| {
        line.contains("rtsp://10.9.0.7:").then_some(())
    });
}

#[test]
fn a_port_in_use_names_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let us = format!("(pid {})", std::process::id());
    for flag in [
        "--rtsp-port",
        "--rtsps-port",
        "--http-port",
        "--https-port",
        "--hls-port",
        "--webrtc-port",
    ] {
        let mut arguments = vec!["serve", "--rtsp-port", "0"];
        let port_text = port.to_string();
        match flag {
            "--rtsp-port" => arguments[2] = &port_text,
            flag => arguments.extend([flag, &port_text]),
        }
        let output = run(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(1), "{flag}");
        let said = stderr(&output);
        assert!(
            said.contains(&format!("TCP port {port} is in use by ")) && said.contains(&us),
            "{said}"
        );
        assert!(said.contains(&format!("choose another port with {flag}")), "{said}");
    }
}

#[test]
fn other_ports_do_for_rtp_where_none_was_chosen() {
    let folder = tempfile::tempdir().unwrap();
    // Another program that has it for good is as good. This test at work in another run would let it go in between.
    let deadline = Instant::now() + Duration::from_secs(15);
    let mut taken = UdpSocket::bind("0.0.0.0:8000");
    while taken.is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        taken = UdpSocket::bind("0.0.0.0:8000");
    }
    let mut command = sightline();
    command
        .args(["serve", "--rtsp-port", "0", "--log", "json"])
        .env("HOME", folder.path())
        .current_dir(folder.path());
    let mut process = crate::support::Process::start(&mut command);
    let warning = crate::wait_for_event(&mut process, "RTP over UDP uses other ports");
    assert!(
        warning["reason"]
            .as_str()
            .unwrap()
            .starts_with("UDP port 8000 is in use by "),
        "{warning}"
    );
    port(&mut process);
    let mut command = sightline();
    command
        .args(["serve", "--rtsp-port", "0", "--log", "json"])
        .env("SIGHTLINE_RTSP_RTP_PORT", "8000")
        .env("HOME", folder.path())
        .current_dir(folder.path());
    let output = command.output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "a port that was asked for is not replaced"
    );
    // What it advises does.
    let advice = "SIGHTLINE_RTSP_RTP_PORT=0 SIGHTLINE_RTSP_RTCP_PORT=0";
    assert!(stderr(&output).contains(advice), "{}", stderr(&output));
    command.envs(advice.split(' ').filter_map(|setting| setting.split_once('=')));
    port(&mut crate::support::Process::start(&mut command));
}

#[test]
fn help_and_version_are_answers() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["--version"], &["up", "--help"], &["help", "bench"]] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!stdout(&output).is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
    let help = stdout(&run(folder.path(), &["publish", "--help"]));
    for expected in ["--rtsp-url", "SIGHTLINE_PUBLISH_URL", "Examples:"] {
        assert!(help.contains(expected), "{help}");
    }
    let output = sightline().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// Each shared library costs every start, and has to be on every machine that the binary is copied to.
#[test]
#[cfg(target_os = "linux")]
fn needs_only_the_c_library() {
    let said = std::process::Command::new("readelf")
        .args(["--dynamic", "--wide", env!("CARGO_BIN_EXE_sightline")])
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let needed: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split_once('[')?.1.strip_suffix(']'))
        .collect();
    assert!(needed.contains(&"libc.so.6"), "{said}");
    for library in needed {
        let ours = ["libc.so", "libm.so", "libgcc_s.so", "ld-linux"];
        assert!(ours.iter().any(|name| library.starts_with(name)), "{library}");
    }
}

/// In a network of its own, where the system has sixteen numbers to choose from and the one that is asked for is among them.
#[test]
fn a_port_that_is_asked_for_is_not_given_to_another_use() {
    let folder = tempfile::tempdir().unwrap();
    let few = "ip link set lo up && echo '40000 40015' > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";
    // Of starts that bind it last, some two in five fail.
    for _ in 0..10 {
        let mut command = with_settings_of_its_own(tool("unshare"));
        command.args(["--net", "sh", "-c", few, "sh", env!("CARGO_BIN_EXE_sightline")]);
        command.args([
            "serve",
            "--open",
            "--log",
            "json",
            "--rtsp-port",
            "0",
            "--ice-port",
            "40004",
        ]);
        command.current_dir(folder.path()).env("HOME", folder.path());
        command.env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
        command
            .env("SIGHTLINE_RTSP_RTP_PORT", "0")
            .env("SIGHTLINE_RTSP_RTCP_PORT", "0");
        let mut process = Process::start(&mut command);
        process.collect_stdout();
        port(&mut process);
    }
}
