//! Programs of other people whose standard output is a stream.
//!
//! Belongs here: starting one in a process group of its own, reading it without ever blocking for longer than asked, keeping the last
//! it said, ending it with everything it started. Does not belong here: what is in its output ([`super::annexb`]), which program it is.

mod last_words;
#[cfg(unix)]
mod unix;
#[cfg(not(unix))]
mod unsupported;

#[cfg(unix)]
pub(super) use unix::Child;
#[cfg(not(unix))]
pub(super) use unsupported::Child;

/// What came of waiting for output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Bytes were appended.
    Bytes,
    /// Nothing came in time.
    Nothing,
    /// There will be no more: it closed its output.
    Ended,
}

#[cfg(all(test, unix))]
mod tests;
