//! Cameras that are real to the program: the kernel's own drivers in a virtual machine.
//!
//! This program is both sides of the test. On the host it starts scripts/camera-vm/boot with itself as the program to run; in the
//! machine it goes through the scenarios and prints a line for each, which the host passes on. `cargo test --test camera_vm -- unplug`
//! runs the scenarios whose names hold that word.

#![expect(
    clippy::disallowed_methods,
    reason = "a test stands where the program does and reads the clock"
)]

mod guest;

use std::path::Path;
use std::process::{Command, ExitCode};

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
    let boot = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/camera-vm/boot");
    let program = std::env::current_exe().expect("the path of this program");
    let status = Command::new(boot)
        .arg(program)
        .arg("guest")
        .args(names)
        .status()
        .expect("scripts/camera-vm/boot runs");
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
