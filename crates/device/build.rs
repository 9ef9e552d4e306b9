//! Stops a build that would give a slow encoder.
//!
//! openh264-sys2 goes on without nasm and then has no SIMD code on x86: measured 3.6 instead of 1.3 ms for a 640×480 picture,
//! without a word. Other architectures assemble with the C compiler and need nothing.

use std::env;
use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=NASM");
    println!("cargo:rerun-if-env-changed=OPENH264_NO_ASM");
    let target = env::var_os("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    if target != "x86_64" && target != "x86" {
        return ExitCode::SUCCESS;
    }
    if env::var_os("OPENH264_NO_ASM").is_some() {
        return fail("OPENH264_NO_ASM is set, which leaves the SIMD code out. Unset it.");
    }
    let nasm = env::var_os("NASM").unwrap_or_else(|| OsString::from("nasm"));
    let runs = Command::new(&nasm)
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if runs.is_ok_and(|status| status.success()) {
        return ExitCode::SUCCESS;
    }
    fail(&format!(
        "{} was not found. Install it: apt-get install nasm (Debian, Ubuntu), dnf install nasm, brew install nasm.",
        nasm.display()
    ))
}

fn fail(why: &str) -> ExitCode {
    eprintln!("The video encoder would be 2.5 times slower: {why}");
    // What was built without it is not built again by itself.
    eprintln!("Then: cargo clean -p openh264-sys2 && cargo clean --release -p openh264-sys2");
    ExitCode::FAILURE
}
