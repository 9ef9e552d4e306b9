//! A restart that refuses nobody: on SIGUSR2 the program at our place is started beside us, is given our sockets, and begins when we have ended.
//!
//! Belongs here: the process that goes ([`Restart`], [`Successor`]), the one that comes ([`Predecessor`]), what they say to each other
//! ([`message`]). Does not belong here: which socket is for what ([`crate::net::Listeners`]), how everything is ended ([`super`]).
//!
//! One end of a Unix socket that keeps messages apart (`SOCK_SEQPACKET`) is the new one's standard input. In its order: the old one writes all
//! sockets into it before the new one is started; the new one says `prepared`, or `failed` and why; the old one says `go`, when nothing of it
//! runs any more. A new one that finds the other end closed begins at once: the old one kills it before giving it up, so it must be dead.

#[cfg(target_os = "linux")]
mod message;
#[cfg(target_os = "linux")]
mod predecessor;
#[cfg(target_os = "linux")]
mod successor;

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::Restart;
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{Predecessor, in_turn};
#[cfg(target_os = "linux")]
pub(crate) use predecessor::{Predecessor, in_turn};
#[cfg(target_os = "linux")]
pub(super) use successor::Restart;
