//! Running `ffmpeg` and `ffprobe` with bytes in and bytes out.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Standard output of `ffmpeg -v error ARGUMENTS` fed with `input`.
pub(crate) fn ffmpeg(arguments: &str, input: &[u8]) -> Vec<u8> {
    run("ffmpeg", &format!("-v error -nostdin {arguments}"), input)
}

/// Standard output of `ffprobe -v error ARGUMENTS -i pipe:0` as text.
pub(crate) fn ffprobe(arguments: &str, input: &[u8]) -> String {
    String::from_utf8(run("ffprobe", &format!("-v error {arguments} -i pipe:0"), input)).expect("ffprobe writes text")
}

/// What `ffprobe` says of a file that it can seek in.
pub(crate) fn ffprobe_file(arguments: &str, path: &Path) -> String {
    let path = path.to_str().expect("temporary files have names of ASCII");
    let said = run("ffprobe", &format!("-v error {arguments} -i {path}"), &[]);
    String::from_utf8(said).expect("ffprobe writes text")
}

/// The test pattern of FFmpeg, encoded.
pub(crate) fn encoded(size: &str, frames: u32, encoder: &str) -> Vec<u8> {
    ffmpeg(
        &format!("-f lavfi -i testsrc2=size={size}:rate=25 -frames:v {frames} -pix_fmt yuv420p {encoder} pipe:1"),
        &[],
    )
}

/// A hash of every decoded picture.
pub(crate) fn picture_hashes(format: &str, stream: &[u8]) -> Vec<String> {
    hashes(&format!("-f {format} -i pipe:0"), stream)
}

/// A hash of every picture that is decoded from this input.
pub(crate) fn hashes(input: &str, stream: &[u8]) -> Vec<String> {
    let arguments = format!("{input} -map 0:v -fps_mode passthrough -f framemd5 pipe:1");
    let text = ffmpeg(&arguments, stream);
    let text = String::from_utf8(text).expect("framemd5 is text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit(',').next())
        .map(|hash| hash.trim().to_owned())
        .collect()
}

fn run(program: &str, arguments: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs {program} (Debian: apt-get install ffmpeg): {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let output = std::thread::scope(|scope| {
        // A program that has read enough closes its end: not our fault.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("it was started")
    });
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {complaint}");
    assert!(complaint.is_empty(), "{program} {arguments} complains: {complaint}");
    output.stdout
}
