//! What commands that connect to a server share.

use std::sync::Arc;
use std::time::Duration;

use media::Clock;

use super::Failure;
use crate::random;
use crate::rtsp::client::{Login, Settings, Transport, Url};

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

/// As many threads as the machine has cores.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.thread_name("io").enable_all().build();
    runtime.map_err(|error| Failure::running(format!("cannot start threads: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

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
