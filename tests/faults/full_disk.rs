//! The disk is full: pictures go on, a change of settings is refused whole, and works when there is room again.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::killing::{frames, viewer, wait_for_frames};
use super::support::{Server, publish_with_ffmpeg, tool};
use super::system;

/// A small disk, unmounted with its value.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        system(
            "mount",
            &format!("-t tmpfs -o size=64k tmpfs {}", folder.path().display()),
        );
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Until nothing more fits.
    fn fill(&self) -> PathBuf {
        let path = self.path("filler");
        assert!(std::fs::write(&path, vec![1; 1 << 20]).is_err(), "it is not full");
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A server that has not ended yet may still use it.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

/// The status of a change of the log level, and the answer.
fn change(server: &Server, http_port: u16, level: &str) -> (String, String) {
    let output = tool("curl")
        .args(["--silent", "--write-out", "\n%{http_code}", "--request", "PATCH"])
        .args(["--header", "Content-Type: application/json"])
        .args(["--user", &format!("admin:{}", server.token("admin"))])
        .args(["--data", &format!("{{\"log\":{{\"level\":\"{level}\"}}}}")])
        .arg(format!("http://127.0.0.1:{http_port}/api/v1/config"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (text, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), text.to_owned())
}

#[test]
fn pictures_go_on_and_settings_stay_what_they_were() {
    let disk = Disk::new();
    let file = disk.path("sightline.toml");
    let comment = "# kept\n";
    std::fs::write(&file, comment).unwrap();
    let mut server = Server::start(&["--config", file.to_str().unwrap()]);
    let _publisher = publish_with_ffmpeg(&mut server, "cam", "tcp", 15);
    let mut viewer = viewer(&server, "tcp");
    wait_for_frames(&mut viewer, 10);
    let http_port = server.port_of("http_port");

    let filler = disk.fill();
    let (status, answer) = change(&server, http_port, "warn");
    assert!(status == "409" && answer.contains("file-unusable"), "{status} {answer}");
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        comment,
        "the file is as it was"
    );
    assert_eq!(left_behind(disk.folder.path()), 0);
    let seen = frames(&viewer);
    wait_for_frames(&mut viewer, seen + 30);

    std::fs::remove_file(filler).unwrap();
    let (status, answer) = change(&server, http_port, "warn");
    assert_eq!(status, "200", "{answer}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("# kept") && text.contains("level = \"warn\""), "{text}");
}

/// Temporary files.
fn left_behind(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with('.')).count()
}
