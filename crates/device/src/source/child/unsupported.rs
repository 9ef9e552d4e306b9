//! Where child processes are not read yet.

use std::io;
use std::process::Command;
use std::time::Instant;

use media::Clock;

use super::{Heard, Read};
use crate::source::Error;

/// Cannot be made here.
#[derive(Debug)]
pub(in crate::source) enum Child {}

impl Child {
    /// Always an error.
    pub(in crate::source) fn spawn(_: &str, _: Command) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "programs as sources exist on Unix only",
        ))
    }

    pub(in crate::source) fn listen(&mut self, _: fn(&str) -> Heard) {
        match *self {}
    }

    pub(in crate::source) fn note(&mut self, _: &dyn Clock, _: Instant) -> Option<i64> {
        match *self {}
    }

    pub(in crate::source) fn read(&mut self, _: &dyn Clock, _: Instant, _: impl FnOnce(&[u8])) -> io::Result<Read> {
        match *self {}
    }

    pub(in crate::source) fn ended(&mut self, _: impl Into<String>) -> Error {
        match *self {}
    }

    pub(in crate::source) fn last_words(&mut self) -> Option<String> {
        match *self {}
    }
}
