//! The rules of the house, as tests.
//!
//! Belongs here: what can be checked by reading the repository — which crate reaches which, how long files and
//! functions are, what a file may say. Each rule is a function from what was read to a list of complaints, and has a
//! test that feeds it a bad sample, so that a rule which stopped working is noticed.
//!
//! Does not belong here: behaviour of the program.

mod budget;
mod graph;
mod map;
mod source;
mod text;

use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the repository's root is there")
}

/// A text file of the repository: its path from the root, with forward slashes, and what it says.
struct File {
    path: String,
    text: String,
}

/// All text files of the repository, without what is built or fetched.
fn files() -> Vec<File> {
    fn walk(root: &Path, folder: &Path, into: &mut Vec<File>) {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
            .expect("folder is readable")
            .map(|entry| entry.expect("entry").path())
            .collect();
        entries.sort();
        for path in entries {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("names are UTF-8");
            if name == ".git" {
                continue;
            }
            if path.is_dir() {
                let hidden = name.starts_with('.') && !matches!(name, ".ci" | ".config");
                if !hidden && !matches!(name, "target" | "node_modules" | "dist" | "corpus" | "artifacts") {
                    walk(root, &path, into);
                }
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let path = path
                    .strip_prefix(root)
                    .expect("inside the root")
                    .to_string_lossy()
                    .replace('\\', "/");
                into.push(File { path, text });
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found
}

/// The Rust files of the repository.
fn rust_files() -> Vec<File> {
    files().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

/// Fails with every complaint on a line of its own.
fn assert_clean(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
