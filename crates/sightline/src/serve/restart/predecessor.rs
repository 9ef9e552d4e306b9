//! The process whose place we take.

use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::message::{self, Said};
use crate::net::{self, Named};
use crate::shutdown::Shutdown;

/// How long it may take to end, which it does within a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// Descriptors below are standard input and outputs.
const FIRST_FREE: i32 = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Predecessor {
    channel: OwnedFd,
    sockets: Vec<Named>,
}

/// Runs what serves. Where this process takes the place of another, that one is told why nothing comes of it.
pub(crate) fn in_turn<E: Display>(
    run: impl FnOnce(Option<Predecessor>) -> Result<(), E>,
    refused: impl FnOnce(String) -> E,
) -> Result<(), E> {
    let predecessor = Predecessor::of_process().map_err(refused)?;
    let again = predecessor
        .as_ref()
        .and_then(|predecessor| predecessor.channel.try_clone().ok());
    let done = run(predecessor);
    if let (Err(error), Some(channel)) = (&done, again) {
        // It may be gone, and where we did serve it is.
        let _ = message::say(&channel, &Said::Failed(error.to_string()));
    }
    done
}

impl Predecessor {
    /// The one that started this process, if it was to take its place: its sockets wait in our standard input, which is `/dev/null` from then on.
    fn of_process() -> Result<Option<Self>, String> {
        if !message::is_channel(rustix::stdio::stdin()) {
            return Ok(None);
        }
        net::raise_descriptor_limit();
        let sockets = match message::take_sockets(rustix::stdio::stdin()) {
            Ok(None) => return Ok(None),
            Ok(Some(sockets)) => sockets,
            Err(error) => {
                let _ = message::say(rustix::stdio::stdin(), &Said::Failed(error.to_string()));
                return Err(error.to_string());
            }
        };
        let channel = keep_channel().map_err(|error| crate::shutdown::refused("take over sockets", &error))?;
        Ok(Some(Self { channel, sockets }))
    }

    /// What it has listened on.
    pub(in crate::serve) fn take_sockets(&mut self) -> Vec<Named> {
        std::mem::take(&mut self.sockets)
    }

    /// Tells it that everything is there, and waits until it has ended. `false`: this process ends instead.
    pub(in crate::serve) async fn turn(self, shutdown: &Shutdown) -> io::Result<bool> {
        let channel = message::listening(self.channel)?;
        if message::say(&channel, &Said::Prepared).is_err() {
            tracing::warn!("the process before has ended without a word; this one takes its place");
            return Ok(true);
        }
        let heard = tokio::select! {
            heard = tokio::time::timeout(PATIENCE, message::hear(&channel)) => heard,
            () = shutdown.requested() => return Ok(false),
        };
        match heard {
            Ok(Said::Go) => {}
            Ok(Said::Nothing) => {
                tracing::warn!("the process before has ended without a word; this one takes its place");
            }
            Ok(_) => return Err(io::Error::other("the process before says what is not understood")),
            Err(_) => return Err(io::Error::other("the process before does not end")),
        }
        Ok(true)
    }
}

/// A descriptor of standard input that programs of ours do not get; nothing comes from there any more.
fn keep_channel() -> io::Result<OwnedFd> {
    let channel = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), FIRST_FREE)?;
    let nothing = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&nothing)?;
    Ok(channel)
}
