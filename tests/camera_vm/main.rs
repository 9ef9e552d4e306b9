//! Cameras that are real to the program: the kernel's own drivers in a virtual machine.
//!
//! This program is both sides of the test. On the host it starts scripts/camera-vm/boot with itself as the program to run; in the
//! machine it goes through the scenarios and prints a line for each, which the host passes on. `cargo test --test camera_vm -- unplug`
//! runs the scenarios whose names hold that word.
//!
//! The host also is the USB camera of some scenarios. The machine has it plugged in and pulled by printing lines that begin with
//! [`ORDER`].

#![expect(
    clippy::disallowed_methods,
    reason = "a test stands where the program does and reads the clock"
)]

mod guest;
mod pictures;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use testkit::usb_camera::UsbCamera;

/// Begins a line that is meant for the host: `plug` or `unplug`.
const ORDER: &str = "camera-vm-host: ";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "guest" => guest::run(rest),
        _ => host(&arguments),
    }
}

fn host(arguments: &[String]) -> ExitCode {
    // What cargo and people pass to a test harness has no meaning in the machine, but for the names to look for.
    let names: Vec<String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .cloned()
        .collect();
    let chosen = guest::chosen(&names);
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        println!("\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n");
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("usb");
    let usb = UsbCamera::listen(&socket, pictures::pictures()).expect("a socket for the USB camera");
    let devices = format!(
        "-device qemu-xhci -chardev socket,id=usb,path={} -device usb-redir,chardev=usb",
        socket.display()
    );
    let boot = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/camera-vm/boot");
    let program = std::env::current_exe().expect("the path of this program");
    let mut boot = Command::new(boot);
    boot.arg(program)
        .arg("guest")
        .args(names)
        .env("CAMERA_VM_QEMU", devices)
        // All of it takes some 45 s on two free cores, and several times that beside other work.
        .env("CAMERA_VM_SECONDS", "400")
        .stdout(Stdio::piped());
    let mut machine = boot.spawn().expect("scripts/camera-vm/boot runs");
    let output = machine.stdout.take().expect("its output");
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        match line.strip_prefix(ORDER) {
            Some(order) => usb.plug(order.trim() == "plug"),
            None => println!("{line}"),
        }
    }
    let status = machine.wait().expect("its end");
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
