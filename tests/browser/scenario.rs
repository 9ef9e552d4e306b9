//! Runs what stands in the `.mjs` files beside this one.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// One at a time: what is measured in one browser would suffer from the next.
static ALONE: Mutex<()> = Mutex::new(());

/// The function `name` of `file`, which is told `variables`.
pub(crate) fn play(file: &str, name: &str, variables: &[(&str, &str)]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser");
    let missing = |what: &str| format!("{what} is missing; `scripts/setup test` installs it");
    assert!(
        folder.join("node_modules/playwright-core").exists(),
        "{}",
        missing("playwright-core")
    );
    let ended = Command::new("node")
        .args(["run.mjs", file, name])
        .current_dir(&folder)
        .env("SIGHTLINE", env!("CARGO_BIN_EXE_sightline"))
        .envs(variables.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", missing("node")));
    let said = String::from_utf8_lossy(&ended.stdout);
    let complained = String::from_utf8_lossy(&ended.stderr);
    print!("{said}");
    assert!(ended.status.success(), "{said}\n{complained}");
}
