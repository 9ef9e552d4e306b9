//! What commands that connect to a server share.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use media::{Clock, StreamName};

use super::Failure;
use super::flags::{Flag, flag};
use crate::auth::Role;
use crate::config::socket_url::SocketUrl;
use crate::config::units::StreamUrl;
use crate::config::{self, Environment};
use crate::net;
use crate::random;
use crate::rtsp::client::{Fingerprint, Login, Settings, Transport, Trust, Url};
use crate::secret::Secret;
use crate::shutdown;
use crate::state;
use crate::status::client::Target;

/// The token that is shown.
pub(super) const TOKEN_FLAG: Flag = flag("--token", "auth.token", "TOKEN").documented(
    "What the server asks for, as it prints it in its URLs. A user and password in the URL win over it. Also SIGHTLINE_TOKEN.",
);

/// The certificate that is believed, for a setting of this command.
pub(super) const fn fingerprint_flag(key: &'static str) -> Flag {
    flag("--fingerprint", key, "SHA256")
}

/// Longest wait for a TCP connection: three SYNs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the status socket is unless something else is said.
const SOCKET_PORT: u16 = 8_000;

/// A certificate to be believed, if one is named.
pub(super) struct Named {
    pub(super) fingerprint: Option<Fingerprint>,
    /// The setting that names it.
    pub(super) setting: &'static str,
}

/// How to connect. User and password of the URL win over the token: they were given for this server.
pub(super) fn settings(
    url: &Url,
    token: Option<&str>,
    user: &str,
    transport: Transport,
    certificate: &Named,
    clock: Arc<dyn Clock>,
) -> Settings {
    let token = token.filter(|_| url.user.is_none());
    Settings {
        transport,
        login: token.map(|token| Login {
            user: user.to_owned(),
            password: token.to_owned(),
        }),
        trust: certificate.fingerprint.map_or(Trust::System, Trust::Fingerprint),
        fingerprint_setting: certificate.setting,
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

/// What `WEBSOCKET_PORT` says: where publishers of old find the status socket.
pub(super) fn websocket_port(environment: &Environment) -> Result<Option<u16>, Failure> {
    let Some(text) = environment.get("WEBSOCKET_PORT") else {
        return Ok(None);
    };
    match text.trim().parse() {
        Ok(port @ 1..) => Ok(Some(port)),
        _ => Err(Failure::Usage(format!(
            "WEBSOCKET_PORT: {text:?} is not a port; write a number from 1 to 65535"
        ))),
    }
}

/// The status socket to report to: as given, else on the server at `WINDOWS_VPN_IP`, else at `PI_VPN_IP`, else where the stream goes.
/// `of_this_machine` is the token of a server here, which wants one for the socket although RTSP is free.
pub(super) fn status_target(
    settings: &config::Settings,
    stream: &Url,
    environment: &Environment,
    of_this_machine: impl FnOnce() -> Option<Secret>,
) -> Result<Target, Failure> {
    let given = settings.publish.ws_url.as_ref();
    let by_variable = ["WINDOWS_VPN_IP", "PI_VPN_IP"]
        .into_iter()
        .find_map(|name| environment.get(name));
    let port = websocket_port(environment)?;
    let url = match given {
        Some(url) => Ok(url.clone()),
        None => SocketUrl::on(by_variable.unwrap_or(&stream.host), port.unwrap_or(SOCKET_PORT)),
    };
    // The password of a URL was given for that server, and Digest does not show it to anybody. It is one of our tokens if its user is one of
    // our roles.
    let is_ours = |user: &str| Role::ALL.iter().any(|role| role.name() == user);
    let password = stream
        .user
        .as_deref()
        .filter(|user| is_ours(user))
        .and(stream.password.as_deref());
    let password = password
        .filter(|_| given.is_none() && by_variable.is_none())
        .map(Secret::new);
    let url = url.map_err(|error| Failure::Usage(error.to_string()))?;
    let given_token = password.or_else(|| settings.auth.token.clone());
    let token = given_token.or_else(|| net::is_loopback(url.host()).then(of_this_machine)?);
    Ok(Target {
        url,
        token,
        named: given.is_some() || by_variable.is_some() || port.is_some(),
        per_second: settings.status.rate,
    })
}

/// The publisher's token of a server that runs on this machine for the same user.
pub(super) fn local_token(settings: &config::Settings, environment: &Environment) -> Option<Secret> {
    let place = state::Place::of_process(settings.server.state_dir.clone());
    let folder = state::default_place(&place, environment).ok()?;
    state::of_this_machine(&folder).map(|tokens| tokens.publisher)
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
    fn the_status_goes_where_the_seeds_had_it() {
        let target = |stream: &str, set: &[(&str, &str)], ws_url: Option<&str>| {
            let mut settings = config::Settings::default();
            settings.publish.ws_url = ws_url.map(|url| url.parse().unwrap());
            settings.auth.token = Some(Secret::new("t"));
            let environment = Environment::of(set.iter().copied());
            let target = status_target(&settings, &stream.parse().unwrap(), &environment, || None);
            let target = target.map_err(|failure| failure.to_string())?;
            Ok::<_, String>(format!(
                "{} {} {}",
                target.url,
                target.token.unwrap().expose(),
                target.named
            ))
        };
        let vpn = [("PI_VPN_IP", "10.9.0.2"), ("WEBSOCKET_PORT", "9000")];
        let both = [("PI_VPN_IP", "10.9.0.2"), ("WINDOWS_VPN_IP", "10.9.0.1")];
        let stream = "rtsp://publisher:secret@cam.local:9554/a";
        for (stream, set, given, expected) in [
            (stream, &[][..], None, "ws://cam.local:8000/ws/camera/ secret false"),
            (
                "rtsp://me:secret@[fd00::2]/a",
                &[],
                None,
                "ws://[fd00::2]:8000/ws/camera/ t false",
            ),
            (stream, &vpn, None, "ws://10.9.0.2:9000/ws/camera/ t true"),
            (stream, &both, None, "ws://10.9.0.1:8000/ws/camera/ t true"),
            (stream, &vpn, Some("ws://other:1/x"), "ws://other:1/x t true"),
        ] {
            assert_eq!(target(stream, set, given).unwrap(), expected);
        }
        let wrong = target(stream, &[("WEBSOCKET_PORT", "http")], None).unwrap_err();
        assert_eq!(
            wrong,
            "WEBSOCKET_PORT: \"http\" is not a port; write a number from 1 to 65535"
        );
    }

    #[test]
    fn a_server_of_this_machine_is_known_by_its_token() {
        let token = |stream: &str, given: Option<&str>| {
            let mut settings = config::Settings::default();
            settings.auth.token = given.map(Secret::new);
            let environment = Environment::of([]);
            let local = || Some(Secret::new("local"));
            let target = status_target(&settings, &stream.parse().unwrap(), &environment, local).unwrap();
            target.token.map(|token| token.expose().to_owned())
        };
        for here in ["localhost", "127.0.0.1", "[::1]"] {
            assert_eq!(
                token(&format!("rtsp://{here}:1/a"), None).as_deref(),
                Some("local"),
                "{here}"
            );
        }
        assert_eq!(token("rtsp://localhost:1/a", Some("t")).as_deref(), Some("t"));
        assert_eq!(token("rtsp://publisher:p@localhost:1/a", None).as_deref(), Some("p"));
        assert_eq!(
            token("rtsp://cam.local:1/a", None),
            None,
            "it is nobody else's business"
        );
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
            let certificate = Named {
                fingerprint: None,
                setting: "receive.fingerprint",
            };
            let settings = settings(
                &url,
                Some("token"),
                "viewer",
                Transport::Tcp,
                &certificate,
                Arc::new(SystemClock),
            );
            settings.login.map(|login| (login.user, login.password))
        };
        assert_eq!(login("rtsp://host/a"), Some(("viewer".to_owned(), "token".to_owned())));
        assert_eq!(login("rtsp://me:secret@host/a"), None);
    }
}
