//! ONVIF: finding cameras in the network and the URLs of their streams.
//!
//! Belongs here: the messages of WS-Discovery ([`discovery`]), envelopes of SOAP with a login and what answers say ([`soap`]), the few requests that lead
//! to a stream ([`device`], [`media`]). Does not belong here: sockets, HTTP, in which order a camera is asked.
//!
//! What cameras say is read as a tree with resolved namespaces, since each names its prefixes as it likes, and with limits: bytes, elements, depth,
//! attributes. There are no document types and so no entities, neither such that make a large text of a small one nor such that name files.

pub mod device;
pub mod discovery;
pub mod media;
pub mod soap;
#[cfg(test)]
mod tests;

/// Why something that came is of no use. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Beyond a limit.
    #[error("the message has {actual} {what}, more than {limit}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        actual: usize,
        /// How many are read.
        limit: usize,
    },
    /// It is no XML, or one with a document type, or with more elements than are read.
    #[error("the message is no XML that can be read: {0}")]
    NotXml(String),
    /// Another message than was waited for.
    #[error("the message has no {0}")]
    Missing(&'static str),
    /// The camera refuses.
    #[error("{0}")]
    Fault(Fault),
}

/// A refusal (SOAP 1.2 part 1 §5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The login is wrong, or one is needed.
    pub is_about_login: bool,
    /// What the camera says.
    pub reason: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_about_login {
            write!(f, "it wants another user or password ({})", self.reason)
        } else {
            write!(f, "it refuses: {}", self.reason)
        }
    }
}

/// Most bytes of an answer that are read.
pub const MAX_ANSWER_BYTES: usize = 512 << 10;
/// Most bytes of a message of discovery.
pub const MAX_DATAGRAM_BYTES: usize = 64 << 10;
