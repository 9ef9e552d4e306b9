//! The byte stream of an RTSP connection cut into messages and `$` frames (RFC 2326 §4, §10.12).
//!
//! Belongs here: framing, its limits, and what happens to bytes that are neither. Does not belong here: what a header's
//! value means.

/// Limits of what a peer may send. Passing one ends the connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest request or status line, in bytes.
    pub line_bytes: usize,
    /// Most headers of a message.
    pub headers: usize,
    /// Most bytes of all header lines of a message together.
    pub header_bytes: usize,
    /// Longest body (an SDP, a parameter list), in bytes.
    pub body_bytes: usize,
    /// Longest payload of a `$` frame, in bytes.
    pub frame_bytes: usize,
    /// Bytes between messages that belong to none, skipped in the life of a connection.
    pub garbage_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes: 4096,
            headers: 64,
            header_bytes: 16 * 1024,
            body_bytes: 64 * 1024,
            frame_bytes: 65_535,
            garbage_bytes: 4096,
        }
    }
}

/// Why a byte stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not RTSP at all.
    #[error("this is not RTSP, it begins with \"{0}\"")]
    NotRtsp(String),
    /// A limit of [`Limits`].
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// Which part of a message.
        what: &'static str,
        /// The limit it passed.
        limit: usize,
    },
    /// Too many headers.
    #[error("a message with more than {0} headers")]
    TooManyHeaders(usize),
    /// Too much between messages.
    #[error("more than {limit} bytes between messages that belong to none, the first of them \"{first}\"")]
    Garbage {
        /// The limit it passed.
        limit: usize,
        /// Where it began, for people.
        first: String,
    },
}
