//! Sees to it that the page (`web/`) is built before the program that carries it, and tells the linker which functions run at every start.
//!
//! `web/dist` holds what was built and, in `.built-from`, of which sources. Where that is the sources that are here, nothing is done and Node is
//! not needed; else the page is built with Node and npm; where they are missing, the build ends and says how to get them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

fn main() {
    let crates = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo tells where the crate is"));
    let web = crates.join("../../web");
    // The page itself as well: should somebody remove it, it is built again.
    for input in INPUTS.iter().chain(&["dist/index.html"]) {
        println!("cargo::rerun-if-changed={}", web.join(input).display());
    }
    println!("cargo::rerun-if-env-changed=PATH");
    if let Err(error) = link(&crates) {
        println!("cargo::error=the order of functions cannot be written: {error}");
    }
    if let Err(why) = page(&web) {
        why.lines().for_each(|line| println!("cargo::error={line}"));
    }
}

/// Puts what runs at every start into one place of a release, so that a program that does nothing has little of itself in memory: functions lie by crates
/// otherwise, and each that is touched brings the 64 KiB around it. Names that are not there any more do nothing. `bench/order` renews the list.
fn link(crates: &Path) -> io::Result<()> {
    const LIST: &str = "start.order";
    println!("cargo::rerun-if-changed={LIST}");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|known| known == value);
    let measured =
        is("PROFILE", "release") && is("TARGET", "x86_64-unknown-linux-gnu") && is("HOST", "x86_64-unknown-linux-gnu");
    if !measured {
        return Ok(());
    }
    let list = fs::read_to_string(crates.join(LIST))?;
    // A name with a hash at its end is followed by nothing, or by what the optimiser added; so is one of C, after a dot.
    let section = |name: &str| match name.starts_with('_') {
        true if name.ends_with('*') => format!("      .text.{name}\n"),
        true => format!("      .text.{name}*\n"),
        false => format!("      .text.{name} .text.{name}.*\n"),
    };
    // What one pair of brackets holds lies as the linker meets it; so each part of the list, below a line of its own, has one.
    let parts = list
        .split('#')
        .map(|part| part.lines().skip(1).map(section).collect::<String>());
    let parts: String = parts
        .filter(|sections| !sections.is_empty())
        .map(|sections| format!("    *(\n{sections}    )\n"))
        .collect();
    let script = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("start.ld");
    fs::write(
        &script,
        format!("SECTIONS {{\n  .text.start : {{\n{parts}  }}\n}}\nINSERT BEFORE .text;\n"),
    )?;
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    if glibc().is_some_and(|version| version >= RELATIVE_RELOCATIONS) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    Ok(())
}

/// The C library that the program is built for, and runs with.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What the page is made of, below `web/`.
const INPUTS: &[&str] = &[
    "index.html",
    "package-lock.json",
    "package.json",
    "src",
    "svelte.config.js",
    "tsconfig.json",
    "vite.config.ts",
];

/// Builds the page unless it is.
fn page(web: &Path) -> Result<(), String> {
    let sources = Sources::read(web).map_err(|error| format!("the page's sources in web/ cannot be read: {error}"))?;
    let is_built = || fs::read_to_string(web.join("dist/.built-from")).is_ok_and(|text| text == sources.fingerprint);
    if is_built() {
        return Ok(());
    }
    // Another build in another target folder may be at it.
    let lock = File::create(web.join("dist.lock"));
    let locked = lock.and_then(|lock| lock.lock().map(|()| lock));
    let _lock = locked.map_err(|error| format!("cannot lock web/dist.lock: {error}"))?;
    if !is_built() {
        find_node(web)?;
        install(web)?;
        build(web, &sources)?;
    }
    Ok(())
}

struct Sources {
    fingerprint: String,
    newest: SystemTime,
}

impl Sources {
    fn read(web: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for input in INPUTS {
            collect(&web.join(input), &mut files)?;
        }
        files.sort();
        let mut newest = SystemTime::UNIX_EPOCH;
        let mut hash = Fnv::default();
        for file in &files {
            newest = newest.max(fs::metadata(file)?.modified()?);
            let name = file.strip_prefix(web).unwrap_or(file);
            hash.add(name.to_string_lossy().replace('\\', "/").as_bytes());
            hash.add(&fs::read(file)?);
        }
        let fingerprint = format!("{:016x}", hash.0);
        Ok(Self { fingerprint, newest })
    }
}

fn collect(path: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        into.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), into)?;
    }
    Ok(())
}

/// FNV-1a: tells one state of the sources from another, whatever compiles this script.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn find_node(web: &Path) -> Result<(), String> {
    let says = |program: &str| {
        let output = Command::new(program).arg("--version").current_dir(web).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let node = says("node");
    let major = |version: &str| version.trim_start_matches('v').split('.').next()?.parse::<u32>().ok();
    let lacks = match (&node, says("npm")) {
        (None, _) => "`node` is not on the PATH".to_owned(),
        (Some(version), _) if major(version).is_none_or(|major| major < NODE) => {
            format!("Node.js {version} is too old")
        }
        (_, None) => "`npm` is not on the PATH".to_owned(),
        (Some(_), Some(_)) => return Ok(()),
    };
    Err(format!(
        "the page that the program shows in browsers (web/) is not built, and Node.js {NODE} or newer with npm builds it: {lacks}.\n\
         `make run` installs what is missing on Debian, Ubuntu and Raspberry Pi OS, then builds everything.\n\
         By hand: `sudo apt-get install nodejs npm`, or Node.js from https://nodejs.org; then run the same command again.\n\
         Without Node.js: copy the folder web/dist here from a machine that has built the same sources."
    ))
}

/// The packages that the lock file names, unless they are there.
fn install(web: &Path) -> Result<(), String> {
    let mut lock = Fnv::default();
    lock.add(&fs::read(web.join("package-lock.json")).map_err(|error| error.to_string())?);
    let (installed, lock) = (web.join("node_modules/.installed-from"), format!("{:016x}", lock.0));
    if fs::read_to_string(&installed).is_ok_and(|text| text == lock) {
        return Ok(());
    }
    npm(web, &["ci"], None)?;
    fs::write(installed, lock).map_err(|error| error.to_string())
}

/// Beside the old one first, so that an interrupted build leaves that.
fn build(web: &Path, sources: &Sources) -> Result<(), String> {
    let (fresh, dist) = (web.join("dist.new"), web.join("dist"));
    npm(web, &["run", "build"], Some(&fresh))?;
    let finish = || -> io::Result<()> {
        fs::write(fresh.join(".built-from"), &sources.fingerprint)?;
        // As old as its sources: cargo would take what this script itself wrote for a change, and run it once more.
        let page = File::options().write(true).open(fresh.join("index.html"))?;
        page.set_modified(sources.newest)?;
        if dist.exists() {
            fs::remove_dir_all(&dist)?;
        }
        fs::rename(&fresh, &dist)
    };
    finish().map_err(|error| format!("the page was built, but cannot be put into web/dist: {error}"))
}

fn npm(web: &Path, arguments: &[&str], out: Option<&Path>) -> Result<(), String> {
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(web);
    if let Some(out) = out {
        command.env("SIGHTLINE_WEB_OUT", out);
    }
    let output = command
        .output()
        .map_err(|error| format!("npm cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // npm says what is wrong first, and how to use it then; a compiler does it the other way round.
    let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let (first, rest) = lines.split_at(lines.len().min(QUOTED));
    let last = &rest[rest.len().saturating_sub(QUOTED)..];
    let quoted = [first, last].concat().join("\n");
    Err(format!(
        "building the page: `npm {}` in web/ failed:\n{quoted}",
        arguments.join(" ")
    ))
}

/// Since when it reads packed relocations: a megabyte less of the program is touched at each start.
const RELATIVE_RELOCATIONS: (u32, u32) = (2, 36);
/// What Debian 12 and Ubuntu 24.04 have.
const NODE: u32 = 18;
/// Lines that are quoted of a program that failed, from the start and from the end of what it said.
const QUOTED: usize = 10;
