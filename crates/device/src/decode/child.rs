//! FFmpeg as a child that decodes one picture and ends.
//!
//! Belongs here: its command line, its pipes, its end. Nothing of a stranger's stream is in the command line; what it may take of time and bytes is set here.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::last_words::LastWords;
use crate::picture::Picture;
use crate::program::Program;

/// Why it made no picture.
#[derive(Debug)]
pub(super) struct Failed(pub(super) String);

/// The picture behind so many of a stream of that format (as FFmpeg calls it) in Annex B, of that size.
pub(super) fn picture(
    ffmpeg: &Path,
    format: &str,
    stream: &[u8],
    size: (u32, u32),
    behind: usize,
) -> Result<Picture, Failed> {
    let mut picture = Picture::black(size.0, size.1).ok_or_else(|| Failed("not a size of a picture".to_owned()))?;
    let mut command = Command::new(ffmpeg);
    command.args(arguments(format, size, behind)).stdout(Stdio::piped());
    let raw = run(command, stream, picture.as_bytes().len())?;
    let mut rest = &raw[..];
    for plane in picture.planes_mut() {
        let (bytes, behind) = rest
            .split_at_checked(plane.len())
            .ok_or_else(|| Failed(short(raw.len())))?;
        plane.copy_from_slice(bytes);
        rest = behind;
    }
    Ok(picture)
}

/// Its output is what a [`Picture`] is, whatever depth, sampling, range and colours the stream has.
fn arguments(format: &str, (width, height): (u32, u32), behind: usize) -> Vec<OsString> {
    let scale =
        format!("select=gte(n\\,{behind}),scale={width}:{height}:flags=area:out_color_matrix=bt601:out_range=tv");
    // One thread: a frame alone is not decoded sooner by more, and this is to be out of the way of those who watch.
    let words = [
        "-hide_banner",
        "-v",
        "error",
        "-threads",
        "1",
        "-f",
        format,
        "-i",
        "pipe:0",
        "-frames:v",
        "1",
        "-vf",
        &scale,
        "-pix_fmt",
        "yuv420p",
        "-threads",
        "1",
        "-f",
        "rawvideo",
        "pipe:1",
    ];
    words.map(OsString::from).to_vec()
}

/// What a program writes that is given `input`, if it is exactly so many bytes.
fn run(command: Command, input: &[u8], bytes: usize) -> Result<Vec<u8>, Failed> {
    let name = command.get_program().to_string_lossy().into_owned();
    let cannot = |error: std::io::Error| Failed(format!("{name} cannot be started: {error}"));
    let mut program = Program::start_with_input(command).map_err(cannot)?;
    let (Some(mut stdin), Some(stdout), Some(mut stderr)) =
        (program.take_input(), program.take_output(), program.take_errors())
    else {
        return Err(Failed("its pipes are missing".to_owned()));
    };
    thread::scope(|scope| {
        let (done, output) = mpsc::channel();
        let spawned = [
            // One that ends before it has read all says why by the other pipe.
            thread::Builder::new().spawn_scoped(scope, move || drop(stdin.write_all(input))),
            thread::Builder::new().spawn_scoped(scope, {
                let done = done.clone();
                move || {
                    let mut raw = Vec::with_capacity(bytes);
                    // A byte more than is wanted tells that it is too much.
                    let read = stdout.take(bytes as u64 + 1).read_to_end(&mut raw);
                    let _ = done.send(Told::Picture(read.map(|_| raw)));
                }
            }),
            thread::Builder::new().spawn_scoped(scope, move || {
                let mut said = LastWords::default();
                let mut buffer = [0; 1_024];
                while let Ok(length @ 1..) = stderr.read(&mut buffer) {
                    said.push(buffer.get(..length).unwrap_or_default(), |_| true);
                }
                let _ = done.send(Told::Words(said.quote()));
            }),
        ];
        let result = match spawned.iter().find_map(|thread| thread.as_ref().err()) {
            Some(error) => Err(Failed(format!("no thread for it: {error}"))),
            None => wait(&output, bytes),
        };
        // Its ends of the pipes close with it, and the threads end.
        program.kill();
        result
    })
}

enum Told {
    Picture(std::io::Result<Vec<u8>>),
    Words(Option<String>),
}

fn wait(output: &mpsc::Receiver<Told>, bytes: usize) -> Result<Vec<u8>, Failed> {
    let mut words = None;
    let mut raw = None;
    // The first of both ends soon after the other.
    for within in [WITHIN, WORDS_WITHIN] {
        match output.recv_timeout(within) {
            Ok(Told::Picture(Ok(picture))) if picture.len() == bytes => return Ok(picture),
            Ok(Told::Picture(Ok(picture))) => raw = Some(short(picture.len())),
            Ok(Told::Picture(Err(error))) => raw = Some(format!("its output cannot be read: {error}")),
            Ok(Told::Words(said)) => words = said,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) if within == WITHIN => {
                return Err(Failed(format!("it took longer than {} s", WITHIN.as_secs())));
            }
            Err(_) => {}
        }
    }
    let why = words.or(raw).unwrap_or_else(|| "it said nothing".to_owned());
    Err(Failed(why))
}

fn short(bytes: usize) -> String {
    match bytes {
        0 => "nothing came out of it".to_owned(),
        bytes => format!("{bytes} bytes came out of it, which is no picture"),
    }
}

/// How long it may take: coming from a slow card the first time, and decoding.
const WITHIN: Duration = Duration::from_secs(5);
/// How long its words, or its picture, may take once the other is there.
const WORDS_WITHIN: Duration = Duration::from_secs(2);

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        command
    }

    #[test]
    fn exactly_the_bytes_are_taken() {
        assert_eq!(run(shell("cat"), b"abcd", 4).unwrap(), b"abcd");
        let why = |script: &str| run(shell(script), b"abcd", 4).unwrap_err().0;
        assert_eq!(why("printf abc"), "3 bytes came out of it, which is no picture");
        assert_eq!(why("true"), "nothing came out of it");
        assert!(why("echo 'Error: broken' >&2; printf abc").contains("broken"));
        // However much it writes: a byte more than wanted is read, and no other.
        assert_eq!(why("cat /dev/zero"), "5 bytes came out of it, which is no picture");
        assert!(
            run(Command::new("/nowhere/ffmpeg"), b"", 4)
                .unwrap_err()
                .0
                .contains("/nowhere/ffmpeg")
        );
    }

    /// More than the pipes hold, both ways, and one that does not read.
    #[test]
    fn no_pipe_makes_it_wait_for_ever() {
        let input = vec![7; 4 << 20];
        assert_eq!(run(shell("cat"), &input, input.len()).unwrap(), input);
        assert!(run(shell("exit 1"), &input, input.len()).is_err());
    }

    #[test]
    fn one_that_hangs_is_killed_with_all_it_started() {
        let why = run(shell("sleep 1000 & sleep 1000"), b"", 4).unwrap_err().0;
        assert_eq!(why, "it took longer than 5 s");
    }
}
