//! What the encoder in C++ needs of the build. Belongs here: its assembler, its standard library. Does not belong here: building it
//! (openh264-sys2 does).
//!
//! Stops a build that would give a slow encoder: openh264-sys2 goes on without nasm and then has no SIMD code on x86: measured 3.6 instead of 1.3 ms for a 640×480 picture,
//! without a word. Other architectures assemble with the C compiler and need nothing.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=NASM");
    println!("cargo:rerun-if-env-changed=OPENH264_NO_ASM");
    link_the_cxx_library_statically();
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

/// Where GCC has its C++ library as an archive, that one is linked: 0.4 MB more of binary, but the shared one costs each start of the
/// program 1.1 ms (a `main` that does nothing: 0.70 against 1.83 ms of CPU) and has to be there, in the right version, on
/// every machine the binary is copied to.
///
/// openh264-sys2 asks for it by name, and linkers take the first folder that has any form of it: so one that has the archive alone comes first.
fn link_the_cxx_library_statically() {
    println!("cargo:rerun-if-env-changed=CXX");
    if env::var_os("CARGO_CFG_TARGET_OS").is_none_or(|system| system != "linux") {
        return;
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("cxx");
    if archive().is_some_and(|archive| link(&archive, &folder.join("libstdc++.a"))) {
        println!("cargo:rustc-link-search=native={}", folder.display());
    }
}

/// The archive of the C++ compiler that openh264-sys2 uses too.
fn archive() -> Option<PathBuf> {
    let compiler = cc::Build::new().cpp(true).try_get_compiler().ok()?;
    let said = compiler
        .to_command()
        .arg("-print-file-name=libstdc++.a")
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim());
    // Without one it repeats the bare name.
    (path.is_absolute() && path.is_file()).then_some(path)
}

#[cfg(unix)]
fn link(archive: &Path, place: &Path) -> bool {
    let _ = std::fs::remove_file(place);
    place
        .parent()
        .is_some_and(|folder| std::fs::create_dir_all(folder).is_ok())
        && std::os::unix::fs::symlink(archive, place).is_ok()
}

#[cfg(not(unix))]
fn link(archive: &Path, place: &Path) -> bool {
    place
        .parent()
        .is_some_and(|folder| std::fs::create_dir_all(folder).is_ok())
        && std::fs::copy(archive, place).is_ok()
}

fn fail(why: &str) -> ExitCode {
    eprintln!("The video encoder would be 2.5 times slower: {why}");
    // What was built without it is not built again by itself.
    eprintln!("Then: cargo clean -p openh264-sys2 && cargo clean --release -p openh264-sys2");
    ExitCode::FAILURE
}
