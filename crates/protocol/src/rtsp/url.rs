//! RTSP URLs, and how the control URLs of tracks are resolved against them.

/// `rtsp://user:password@host:port/path?query`, read tolerantly: passwords may hold any character, percent-encoded or not.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// `rtsps`: TLS below.
    pub tls: bool,
    /// Percent-decoded.
    pub user: Option<String>,
    /// Percent-decoded.
    pub password: Option<String>,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// 554, or 322 with TLS, where the URL gives none.
    pub port: u16,
    /// Path and query as they were, starting with `/` or empty.
    pub path: String,
}

/// Why a text is no RTSP URL. For people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Not `rtsp://` or `rtsps://`.
    #[error("the URL must begin with rtsp:// or rtsps://, such as rtsp://192.168.1.20:554/stream1")]
    Scheme,
    /// No host.
    #[error("the URL has no host; write it like rtsp://192.168.1.20:554/stream1")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("{0:?} in the URL is no port; ports are numbers from 1 to 65535")]
    Port(String),
    /// A space or control character.
    #[error("the URL holds {0:?}; write it percent-encoded (a space is %20)")]
    Character(char),
    /// Longer than 2,000 bytes.
    #[error("the URL is {0} bytes long, at most 2000 are allowed")]
    TooLong(usize),
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}{}", self.host, self.port, self.path)
    }
}
