//! The URLs under which a stream can be reached.

use std::net::IpAddr;

use crate::auth::{Auth, Role};
use crate::config::Environment;
use crate::config::settings::Server;
use crate::net::{self, Reach};

/// A place under which this machine can be named in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Host name or address, IPv6 in brackets.
    pub(super) host: String,
    /// Who reaches it there.
    pub(super) label: &'static str,
    /// It means this machine alone.
    pub(super) is_loopback: bool,
}

/// Where this machine can be reached, best first: what the settings say, else what `PI_VPN_IP` and `WINDOWS_VPN_IP` say, else the
/// addresses of the interfaces.
pub(super) fn places(server: &Server, environment: &Environment) -> Vec<Place> {
    if !server.advertise.is_empty() {
        let named = server.advertise.iter();
        return named.map(|host| place(host, "as set in server.advertise")).collect();
    }
    let interfaces = net::interface_addresses();
    let by_variables = vpn_addresses(environment, &interfaces);
    if !by_variables.is_empty() {
        return by_variables;
    }
    let listening_on = server
        .host
        .map(|address| address.0)
        .filter(|address| !address.is_unspecified());
    let reachable = |address: &IpAddr| listening_on.is_none_or(|only| only == *address);
    let mut places: Vec<Place> = interfaces
        .iter()
        .filter(|(address, _)| reachable(address))
        .map(|(address, reach)| Place {
            host: if *reach == Reach::Loopback {
                "localhost".to_owned()
            } else {
                host(*address)
            },
            label: reach.label(),
            is_loopback: *reach == Reach::Loopback,
        })
        .collect();
    if places.is_empty()
        && let Some(only) = listening_on
    {
        places.push(place(&only.to_string(), "as set in server.host"));
    }
    places
}

/// The host that URLs name whoever asks: what the settings or the two variables say.
pub(super) fn named_host(server: &Server, environment: &Environment) -> Option<String> {
    if let Some(named) = server.advertise.first() {
        return Some(place(named, "").host);
    }
    // Without them the interfaces need not be looked at.
    let is_set = VPN_VARIABLES.iter().any(|name| environment.get(name).is_some());
    let places = is_set.then(|| vpn_addresses(environment, &net::interface_addresses()))?;
    places.into_iter().next().map(|place| place.host)
}

/// The two variables name both ends of a tunnel. The one that is ours counts; if neither is (a container, NAT), the camera's, which is where the
/// server ran when they were written.
fn vpn_addresses(environment: &Environment, interfaces: &[(IpAddr, Reach)]) -> Vec<Place> {
    let given: Vec<&str> = VPN_VARIABLES
        .into_iter()
        .filter_map(|name| environment.get(name))
        .collect();
    let is_ours = |host: &str| {
        let address = host.parse::<IpAddr>().ok();
        address.is_some_and(|address| address.is_loopback() || interfaces.iter().any(|(ours, _)| *ours == address))
    };
    let mut ours: Vec<&str> = given.iter().copied().filter(|host| is_ours(host)).collect();
    ours.dedup();
    if ours.is_empty() {
        ours = given.first().copied().into_iter().collect();
    }
    ours.into_iter().map(|host| place(host, "VPN")).collect()
}

fn place(text: &str, label: &'static str) -> Place {
    let address = text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    Place {
        host: address.map_or_else(|| text.to_owned(), host),
        label,
        is_loopback: net::is_loopback(text),
    }
}

fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// `rtsp://viewer:TOKEN@host:port/NAME`, with the credential that `role` needs there.
pub(super) fn rtsp(place: &Place, port: u16, name: &str, auth: &Auth, role: Role) -> String {
    let free = place.is_loopback && auth.rtsp_is_free_for(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    let credential = auth.credential(role).filter(|_| !free);
    let login = credential.map(|(user, token)| format!("{user}:{}@", percent_encoded(token.expose())));
    format!("rtsp://{}{}:{port}/{name}", login.unwrap_or_default(), place.host)
}

/// `http://host:port/PATH?token=TOKEN`: over HTTP this machine needs the credential too. Of a page it signs in, in a list it goes on in every URI.
pub(super) fn http(place: &Place, port: u16, path: &str, auth: &Auth) -> String {
    let credential = auth.credential(Role::Viewer);
    let query = credential.map(|(_, token)| format!("?token={}", percent_encoded(token.expose())));
    format!("http://{}:{port}/{path}{}", place.host, query.unwrap_or_default())
}

/// For the password in a URL: all but the unreserved characters of RFC 3986 §2.3.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Addresses of the two ends of a tunnel, the camera's and the viewer's.
const VPN_VARIABLES: [&str; 2] = ["PI_VPN_IP", "WINDOWS_VPN_IP"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Mode, Tokens};
    use crate::secret::Secret;
    use rstest::rstest;

    const OURS: [(&str, Reach); 2] = [("192.168.1.5", Reach::Lan), ("10.9.0.2", Reach::Vpn)];

    #[rstest]
    #[case(&[], &[])]
    #[case(&[("PI_VPN_IP", "10.9.0.2"), ("WINDOWS_VPN_IP", "10.9.0.1")], &["10.9.0.2"])]
    #[case(&[("PI_VPN_IP", "10.9.0.1"), ("WINDOWS_VPN_IP", "10.9.0.2")], &["10.9.0.2"])]
    #[case(&[("PI_VPN_IP", "10.8.0.7"), ("WINDOWS_VPN_IP", "10.8.0.8")], &["10.8.0.7"])]
    #[case(&[("WINDOWS_VPN_IP", "pc.example")], &["pc.example"])]
    #[case(&[("PI_VPN_IP", "127.0.0.1"), ("WINDOWS_VPN_IP", "127.0.0.1")], &["127.0.0.1"])]
    fn vpn_variables(#[case] variables: &[(&str, &str)], #[case] expected: &[&str]) {
        let interfaces = OURS.map(|(address, reach)| (address.parse().unwrap(), reach));
        let places = vpn_addresses(&Environment::of(variables.iter().copied()), &interfaces);
        let hosts: Vec<&str> = places.iter().map(|place| place.host.as_str()).collect();
        assert_eq!(hosts, expected);
    }

    #[test]
    fn a_host_is_named_by_settings_then_by_variables() {
        let host = |advertise: &[&str], variables: &[(&str, &str)]| {
            let server = Server {
                advertise: advertise.iter().map(|host| (*host).to_owned()).collect(),
                ..Server::default()
            };
            named_host(&server, &Environment::of(variables.iter().copied()))
        };
        let variables = [("PI_VPN_IP", "10.8.0.7")];
        assert_eq!(
            host(&["cams.example", "b"], &variables).as_deref(),
            Some("cams.example")
        );
        assert_eq!(host(&["fd00::1"], &[]).as_deref(), Some("[fd00::1]"));
        assert_eq!(host(&[], &variables).as_deref(), Some("10.8.0.7"));
        assert_eq!(host(&[], &[]), None);
    }

    #[test]
    fn the_dashboard_needs_the_token_here_too() {
        let single = Auth::new(Mode::Single(Secret::new("p@ss")), Vec::new());
        assert_eq!(
            http(&place("localhost", ""), 8_000, "a/", &single),
            "http://localhost:8000/a/?token=p%40ss"
        );
        let open = Auth::new(Mode::Open, Vec::new());
        assert_eq!(http(&place("fd00::1", ""), 8_000, "", &open), "http://[fd00::1]:8000/");
    }

    #[test]
    fn credentials_only_where_needed() {
        let tokens = Tokens {
            viewer: Secret::new("v-token"),
            publisher: Secret::new("p-token"),
            admin: Secret::new("a-token"),
        };
        let url =
            |mode: Mode, host: &str, role| rtsp(&place(host, ""), 8_554, "a/b", &Auth::new(mode, Vec::new()), role);
        let standard = Mode::Tokens(tokens);
        assert_eq!(
            url(standard.clone(), "localhost", Role::Viewer),
            "rtsp://localhost:8554/a/b"
        );
        assert_eq!(
            url(standard.clone(), "fd00::1", Role::Viewer),
            "rtsp://viewer:v-token@[fd00::1]:8554/a/b"
        );
        assert_eq!(
            url(standard, "pi.local", Role::Publisher),
            "rtsp://publisher:p-token@pi.local:8554/a/b"
        );
        assert_eq!(url(Mode::Open, "10.0.0.1", Role::Viewer), "rtsp://10.0.0.1:8554/a/b");
        let single = Mode::Single(Secret::new("p@ss/ wörd"));
        assert_eq!(
            url(single, "127.0.0.1", Role::Viewer),
            "rtsp://viewer:p%40ss%2F%20w%C3%B6rd@127.0.0.1:8554/a/b"
        );
    }
}
