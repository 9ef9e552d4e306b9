//! End to end: `sightline frames` and `process` between cameras and the programs that look at their pictures.
//!
//! Does not belong here: which pictures are chosen, places in words, names of files (`sightline::{frames, process}`, beside the code).

#[path = "../rtsp/support.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the other tests' support is larger than what is needed here"
)]
mod support;

mod live;
mod recorded;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::sightline;

/// `sightline` with these arguments, in a folder, until it ends.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = sightline();
    command.args(arguments).current_dir(folder);
    command.env("TMPDIR", folder);
    command
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A script that people copy from the guide.
pub(crate) fn example(name: &str) -> PathBuf {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide");
    let script = guide.join(name);
    let text = std::fs::read_to_string(&script).unwrap();
    let page = std::fs::read_to_string(guide.join("frames.md")).unwrap();
    assert!(text.lines().count() <= 20, "{name} is no short example any more");
    assert!(
        page.contains(text.trim_end()),
        "docs/guide/frames.md shows another {name}"
    );
    script
}

/// The names of what is in a folder, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort_unstable();
    names
}
