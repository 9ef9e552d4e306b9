//! What commands that connect to a server share.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use media::{Clock, StreamName};

use super::Failure;
use super::flags::{Flag, flag};
use crate::config::Environment;
use crate::config::units::StreamUrl;
use crate::random;
use crate::rtsp::client::{Login, Settings, Transport, Url};
use crate::shutdown;

/// The token that is shown.
pub(super) const TOKEN_FLAG: Flag = flag("--token", "auth.token", "TOKEN").documented(
    "What the server asks for, as it prints it in its URLs. A user and password in the URL win over it. Also SIGHTLINE_TOKEN.",
);

/// Longest wait for a TCP connection: three SYNs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How to connect. User and password of the URL win over the token: they were given for this server.
pub(super) fn settings(
    url: &Url,
    token: Option<&str>,
    user: &str,
    transport: Transport,
    clock: Arc<dyn Clock>,
) -> Settings {
    let token = token.filter(|_| url.user.is_none());
    Settings {
        transport,
        login: token.map(|token| Login {
            user: user.to_owned(),
            password: token.to_owned(),
        }),
        connect_timeout: CONNECT_TIMEOUT,
        clock,
        random: random::bits,
    }
}

/// The URL with `name` as its path where it has none: streams without a name there are none.
pub(super) fn named(mut url: Url, name: &StreamName) -> Url {
    let (path, query) = match url.path.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (url.path.as_str(), String::new()),
    };
    if path.trim_matches('/').is_empty() {
        url.path = format!("/{name}{query}");
    }
    url
}

/// Where the stream is: as given, else `name` (the default stream) on the server at `PI_VPN_IP`, else on this machine.
pub(super) fn url(
    given: Option<&StreamUrl>,
    name: Option<&StreamName>,
    environment: &Environment,
) -> Result<Url, Failure> {
    if let Some(url) = given {
        return Ok(url.0.clone());
    }
    let host = environment.get("PI_VPN_IP").unwrap_or("localhost");
    let host = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    };
    let name = name.cloned().unwrap_or_else(StreamName::default_stream);
    let url = format!("rtsp://{host}:8554/{name}").parse();
    url.map_err(|error| Failure::Usage(format!("PI_VPN_IP: {error}")))
}

/// As many threads as the machine has cores.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.thread_name("io").enable_all().build();
    runtime.map_err(|error| Failure::running(shutdown::refused("start threads", &error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn the_stream_is_found_where_the_seeds_had_it() {
        let url = |variables: &[(&str, &str)]| {
            let url = url(None, None, &Environment::of(variables.iter().copied()));
            url.unwrap().to_string()
        };
        assert_eq!(url(&[]), "rtsp://localhost:8554/zerolatency");
        assert_eq!(url(&[("PI_VPN_IP", "10.9.0.2")]), "rtsp://10.9.0.2:8554/zerolatency");
        assert_eq!(url(&[("PI_VPN_IP", "fd00::2")]), "rtsp://[fd00::2]:8554/zerolatency");
    }

    #[test]
    fn a_url_without_a_path_gets_the_name() {
        let named = |url: &str| named(url.parse().unwrap(), &"garden".parse().unwrap()).to_string();
        assert_eq!(named("rtsp://host:1"), "rtsp://host:1/garden");
        assert_eq!(named("rtsp://host:1/"), "rtsp://host:1/garden");
        assert_eq!(named("rtsp://host:1/?token=x"), "rtsp://host:1/garden?token=x");
        assert_eq!(named("rtsp://host:1/house/door?a=b"), "rtsp://host:1/house/door?a=b");
    }

    #[test]
    fn the_url_wins_over_the_token() {
        let login = |url: &str| {
            let url: Url = url.parse().unwrap();
            let settings = settings(&url, Some("token"), "viewer", Transport::Tcp, Arc::new(SystemClock));
            settings.login.map(|login| (login.user, login.password))
        };
        assert_eq!(login("rtsp://host/a"), Some(("viewer".to_owned(), "token".to_owned())));
        assert_eq!(login("rtsp://me:secret@host/a"), None);
    }
}
