//! The address of a status socket, as settings hold it.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::secret::redacted_url;

/// Where a status socket is. `Debug` and `Display` leave a token out.
#[derive(Clone, PartialEq, Eq)]
pub struct SocketUrl {
    url: Url,
    host: String,
}

/// Why it is none, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSocketUrl {
    /// By TLS.
    #[error("wss:// is not spoken by this version; begin the URL with ws://")]
    Tls,
    /// User and password stand in it.
    #[error("a user in the URL of a status socket is sent to nobody; give the token as --token or SIGHTLINE_TOKEN")]
    User,
    /// Anything else.
    #[error("{0:?} is no address of a status socket; write it like ws://192.168.1.5:8000/ws/camera/")]
    Other(String),
}

/// Where the socket is on a server.
const PATH: &str = "/ws/camera/";

impl SocketUrl {
    /// The usual path on this server; `host` is a name or an address.
    ///
    /// # Errors
    /// When the host is none.
    pub fn on(host: &str, port: u16) -> Result<Self, InvalidSocketUrl> {
        let host = match host.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => host.to_owned(),
        };
        format!("ws://{host}:{port}{PATH}").parse()
    }

    /// Name or address, as sockets take it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// As requests take it, a token included.
    pub fn address(&self) -> &str {
        self.url.as_str()
    }
}

impl FromStr for SocketUrl {
    type Err = InvalidSocketUrl;

    fn from_str(text: &str) -> Result<Self, InvalidSocketUrl> {
        let other = || InvalidSocketUrl::Other(redacted_url(text));
        let mut url = Url::parse(text).map_err(|_| other())?;
        match url.scheme() {
            "ws" => {}
            "wss" => return Err(InvalidSocketUrl::Tls),
            _ => return Err(other()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidSocketUrl::User);
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(other()),
        };
        if matches!(url.path(), "" | "/") {
            url.set_path(PATH);
        }
        url.set_fragment(None);
        Ok(Self { url, host })
    }
}

impl fmt::Display for SocketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted_url(self.url.as_str()))
    }
}

impl fmt::Debug for SocketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("ws://pi.local:8000", "pi.local", 8_000, "ws://pi.local:8000/ws/camera/")]
    #[case("ws://10.9.0.2:9000/", "10.9.0.2", 9_000, "ws://10.9.0.2:9000/ws/camera/")]
    #[case("ws://pi/ws/camera/?camera=door#x", "pi", 80, "ws://pi/ws/camera/?camera=door")]
    #[case("ws://[fd00::2]:8000/other", "fd00::2", 8_000, "ws://[fd00::2]:8000/other")]
    fn addresses(#[case] text: &str, #[case] host: &str, #[case] port: u16, #[case] address: &str) {
        let url: SocketUrl = text.parse().unwrap();
        assert_eq!((url.host(), url.port(), url.address()), (host, port, address));
    }

    #[rstest]
    #[case("wss://pi:8443", "wss:// is not spoken by this version; begin the URL with ws://")]
    #[case(
        "ws://a:secret@pi",
        "a user in the URL of a status socket is sent to nobody; give the token as --token or SIGHTLINE_TOKEN"
    )]
    #[case(
        "http://pi:8000/?token=x",
        "\"http://pi:8000/?token=***\" is no address of a status socket; write it like ws://192.168.1.5:8000/ws/camera/"
    )]
    #[case(
        "pi:8000",
        "\"pi:8000\" is no address of a status socket; write it like ws://192.168.1.5:8000/ws/camera/"
    )]
    fn what_is_none(#[case] text: &str, #[case] why: &str) {
        assert_eq!(text.parse::<SocketUrl>().unwrap_err().to_string(), why);
    }

    #[test]
    fn tokens_are_not_shown() {
        let url: SocketUrl = "ws://pi:8000/ws/camera/?token=secret".parse().unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "ws://pi:8000/ws/camera/?token=*** ws://pi:8000/ws/camera/?token=***"
        );
        assert_eq!(
            SocketUrl::on("fd00::2", 8_000).unwrap().address(),
            "ws://[fd00::2]:8000/ws/camera/"
        );
        assert!(SocketUrl::on("a b", 1).is_err());
    }
}
