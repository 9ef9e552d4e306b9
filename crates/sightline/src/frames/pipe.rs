//! A pipe that pictures are written into, or whatever else an output is.
//!
//! Belongs here: that as little as possible waits in it, as what waits there grows old; that it is noticed when nobody reads it any more.

#[cfg(unix)]
use std::fs::File;
use std::io::{self, Write as _};
use std::time::Duration;

/// See the module.
#[cfg(unix)]
pub(super) struct Pipe(File);
/// See the module; nothing is known of it here.
#[cfg(not(unix))]
pub(super) struct Pipe(Box<dyn io::Write + Send>);

/// What the smallest pipe holds: a page.
#[cfg(target_os = "linux")]
const SMALLEST_BYTES: usize = 4_096;

#[cfg(unix)]
mod unix {
    use std::os::fd::{AsFd, OwnedFd};
    use std::process::ChildStdin;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::{Duration, File, Pipe, io};

    impl Pipe {
        /// Our standard output.
        pub(in crate::frames) fn stdout() -> io::Result<Self> {
            Ok(Self(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
        }

        /// The standard input of a program.
        pub(in crate::frames) fn of(input: ChildStdin) -> Self {
            Self(File::from(OwnedFd::from(input)))
        }

        /// Makes it as small as it can be, for pictures of which several would wait in it.
        pub(in crate::frames) fn shrink(&self) {
            // What is no pipe has no size, and holds what it holds.
            #[cfg(target_os = "linux")]
            let _ = rustix::pipe::fcntl_setpipe_size(&self.0, super::SMALLEST_BYTES);
        }

        /// Waits until there is room. `false`: not yet.
        ///
        /// # Errors
        /// `BrokenPipe` where nobody reads it any more.
        pub(in crate::frames) fn wait(&self, patience: Duration) -> io::Result<bool> {
            let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
            let mut polled = [PollFd::new(&self.0, PollFlags::OUT)];
            match poll(&mut polled, Some(&patience)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let [found] = polled;
            match found.revents().contains(PollFlags::ERR) {
                true => Err(io::ErrorKind::BrokenPipe.into()),
                false => Ok(true),
            }
        }
    }
}

#[cfg(not(unix))]
impl Pipe {
    /// Our standard output.
    pub(super) fn stdout() -> io::Result<Self> {
        Ok(Self(Box::new(io::stdout())))
    }

    /// The standard input of a program.
    pub(super) fn of(input: std::process::ChildStdin) -> Self {
        Self(Box::new(input))
    }

    /// It is as large as it is.
    pub(super) fn shrink(&self) {}

    /// Whether there is room is seen by writing.
    pub(super) fn wait(&self, _: Duration) -> io::Result<bool> {
        Ok(true)
    }
}

impl Pipe {
    /// Writes a line and a picture, however long nobody reads.
    pub(super) fn write(&mut self, line: &[u8], picture: &[u8]) -> io::Result<()> {
        self.0.write_all(line)?;
        self.0.write_all(picture)?;
        self.0.flush()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn little_waits_in_it_and_its_end_is_noticed() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = Pipe::of(child.stdin.take().unwrap());
        pipe.shrink();
        assert!(pipe.wait(Duration::ZERO).unwrap());
        pipe.write(b"a", &[0; 4_000]).unwrap();
        #[cfg(target_os = "linux")]
        assert!(!pipe.wait(Duration::ZERO).unwrap(), "more than one would wait");
        child.kill().unwrap();
        child.wait().unwrap();
        let error = pipe.wait(Duration::from_secs(10)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
