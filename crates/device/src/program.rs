//! A program of somebody else that runs for us, and ends with us.
//!
//! Belongs here: starting it in a process group of its own, telling the group to end, making it. Does not belong here: what it says and gives, and how
//! long it is waited for, which are its owner's to decide; the sources of cameras, which wait on threads of theirs (`source::child`).

use std::io;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};

/// A running program. Dropping it kills all that is in its process group, and leaves no zombie behind.
///
/// On Linux the kernel kills it when the thread that started it ends, and with that when our process does, however that comes about.
#[derive(Debug)]
pub struct Program {
    #[cfg(unix)]
    process: std::process::Child,
    /// Set when it was reaped: from then on its number may mean another process.
    #[cfg(unix)]
    status: Option<ExitStatus>,
    #[cfg(not(unix))]
    never: std::convert::Infallible,
}

/// How to ask a program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// SIGINT: what Ctrl-C does, at which FFmpeg takes leave of its server.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

#[cfg(unix)]
mod unix {
    #![allow(unsafe_code)]

    use std::os::unix::process::CommandExt as _;
    use std::process::Stdio;

    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};

    use super::{Ask, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Program, io};

    impl Program {
        /// Starts it, without input, its messages for us.
        ///
        /// # Errors
        /// When there is no such program, or it may not be started.
        pub fn start(mut command: Command) -> io::Result<Self> {
            command.stdin(Stdio::null());
            Self::spawn(command)
        }

        /// Starts it, its input and its messages for us.
        ///
        /// # Errors
        /// When there is no such program, or it may not be started.
        pub fn start_with_input(mut command: Command) -> io::Result<Self> {
            command.stdin(Stdio::piped());
            Self::spawn(command)
        }

        fn spawn(mut command: Command) -> io::Result<Self> {
            command.stderr(Stdio::piped());
            Self::start_as_told(command)
        }

        /// Starts it with the inputs and outputs that the command says.
        ///
        /// # Errors
        /// When there is no such program, or it may not be started.
        pub fn start_as_told(mut command: Command) -> io::Result<Self> {
            command.process_group(0);
            #[cfg(target_os = "linux")]
            {
                let us = rustix::process::getpid();
                let end_with_us = move || {
                    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                    // We may have ended before that was said.
                    match rustix::process::getppid() == Some(us) {
                        true => Ok(()),
                        false => Err(rustix::io::Errno::SRCH.into()),
                    }
                };
                // SAFETY: between fork and exec it does no more than two system calls, both async-signal-safe: it allocates nothing and takes no lock.
                unsafe { command.pre_exec(end_with_us) };
            }
            let process = command.spawn()?;
            Ok(Self { process, status: None })
        }

        /// Its standard input, if it was started with one and that was not taken yet.
        pub fn take_input(&mut self) -> Option<ChildStdin> {
            self.process.stdin.take()
        }

        /// Its standard output, if that was piped and not taken yet.
        pub fn take_output(&mut self) -> Option<ChildStdout> {
            self.process.stdout.take()
        }

        /// Its standard error, if not taken yet.
        pub fn take_errors(&mut self) -> Option<ChildStderr> {
            self.process.stderr.take()
        }

        /// Whether it has ended. Others of its group may go on.
        pub fn has_exited(&self) -> bool {
            // It stays a zombie, which keeps its number from being used again.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            self.status.is_some() || !matches!(rustix::process::waitid(WaitId::Pid(self.pid()), options), Ok(None))
        }

        /// Asks all of its group to end.
        pub fn ask(&self, ask: Ask) {
            let signal = match ask {
                Ask::Interrupt => Signal::INT,
                Ask::Terminate => Signal::TERM,
            };
            if self.status.is_none() {
                let _ = rustix::process::kill_process_group(self.pid(), signal);
            }
        }

        /// Ends all of its group that is left. How the program itself ended, if it has by now.
        pub fn kill(&mut self) -> Option<ExitStatus> {
            if self.status.is_none() {
                // Not reaped yet, so the number still means this group; also for those of it that live longer than its leader.
                let _ = rustix::process::kill_process_group(self.pid(), Signal::KILL);
                self.status = self.process.try_wait().ok().flatten();
            }
            self.status
        }

        fn pid(&self) -> Pid {
            Pid::from_child(&self.process)
        }
    }

    impl Drop for Program {
        fn drop(&mut self) {
            if self.kill().is_none() {
                reap(self.pid());
            }
        }
    }

    /// Waits for one that was killed, which takes a moment or, where it is stuck in a disk, as long as that is. Nobody else waits for it.
    fn reap(pid: Pid) {
        let wait = move || {
            let wait = || rustix::process::waitpid(Some(pid), WaitOptions::empty());
            while matches!(wait(), Err(rustix::io::Errno::INTR)) {}
        };
        // Without a thread it stays until we end, as a line in the system's table.
        let _ = std::thread::Builder::new().name("reaper".to_owned()).spawn(wait);
    }
}

#[cfg(not(unix))]
impl Program {
    /// Always an error.
    pub fn start(_: Command) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "programs as sources exist on Unix only",
        ))
    }

    /// Always an error.
    pub fn start_with_input(command: Command) -> io::Result<Self> {
        Self::start(command)
    }

    /// Always an error.
    pub fn start_as_told(command: Command) -> io::Result<Self> {
        Self::start(command)
    }

    /// Cannot be called.
    pub fn take_input(&mut self) -> Option<ChildStdin> {
        match self.never {}
    }

    /// Cannot be called.
    pub fn take_output(&mut self) -> Option<ChildStdout> {
        match self.never {}
    }

    /// Cannot be called.
    pub fn take_errors(&mut self) -> Option<ChildStderr> {
        match self.never {}
    }

    /// Cannot be called.
    pub fn has_exited(&self) -> bool {
        match self.never {}
    }

    /// Cannot be called.
    pub fn ask(&self, _: Ask) {
        match self.never {}
    }

    /// Cannot be called.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        match self.never {}
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Stdio;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_that_is_killed_leaves_no_zombie() {
        for _ in 0..20 {
            let mut command = Command::new("sleep");
            command.arg("1000").stdout(Stdio::null());
            let program = Program::start(command).unwrap();
            let entry = format!("/proc/{}", program.process.id());
            assert!(std::path::Path::new(&entry).exists());
            drop(program);
            let mut looks = 0;
            while std::path::Path::new(&entry).exists() {
                looks += 1;
                assert!(
                    looks < 1_000,
                    "{}",
                    std::fs::read_to_string(format!("{entry}/stat")).unwrap()
                );
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
