//! Who is at the other end, and under which name it reached us.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderMap};
use http::uri::Authority;
use http::{Uri, header};

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// The other end. What a proxy says in headers is not believed: anybody may say it.
    pub(super) remote: IpAddr,
    /// Our end.
    local: IpAddr,
    /// By TLS.
    secure: bool,
}

impl Peer {
    pub(super) fn new(remote: SocketAddr, local: SocketAddr, secure: bool) -> Self {
        Self {
            // A socket for both families shows IPv4 as IPv6.
            remote: remote.ip().to_canonical(),
            local: local.ip().to_canonical(),
            secure,
        }
    }

    /// The host that the client named, as a URL takes it; else our own address.
    pub(super) fn host(&self, uri: &Uri, headers: &HeaderMap) -> String {
        let by_header = || headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
        let named = uri.authority().cloned().or_else(by_header);
        let named = named
            .map(|authority| authority.host().to_owned())
            .filter(|host| is_plain(host));
        named.unwrap_or_else(|| match self.local {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        })
    }

    /// Whether the browser talks TLS: to us, or to a proxy that says so. Whoever lies here gets a cookie that is no use to it.
    pub(super) fn is_secure(&self, headers: &HeaderMap) -> bool {
        let forwarded = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
        self.secure || forwarded
    }
}

/// Whether a browser says that a page of another site makes this request. Programs say nothing, which is no.
pub(super) fn is_from_another_site(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| Some(origin.split_once("://")?.1));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    !origin
        .zip(host)
        .is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

fn is_plain(host: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    !host.is_empty() && host.len() <= 255 && host.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use rstest::rstest;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[rstest]
    #[case("/", "pi.local:8000", "pi.local")]
    #[case("/", "192.168.1.5", "192.168.1.5")]
    #[case("/", "[fd00::1]:8000", "[fd00::1]")]
    #[case("https://cams.example/x", "other", "cams.example")]
    #[case("/", "user:pass@pi.local:80", "pi.local")]
    #[case("/", "a<script>", "192.0.2.1")]
    #[case("/", "a b", "192.0.2.1")]
    #[case("/", "", "192.0.2.1")]
    fn the_host_is_the_one_the_client_used(#[case] uri: Uri, #[case] host: &'static str, #[case] expected: &str) {
        let local = "[::ffff:192.0.2.1]:8000".parse().unwrap();
        let peer = Peer::new("[::ffff:10.0.0.1]:5".parse().unwrap(), local, false);
        assert_eq!(peer.host(&uri, &headers(&[("host", host)])), expected);
        assert_eq!(peer.remote.to_string(), "10.0.0.1");
    }

    #[rstest]
    #[case(&[], false)]
    #[case(&[("sec-fetch-site", "same-origin")], false)]
    #[case(&[("sec-fetch-site", "none")], false)]
    #[case(&[("sec-fetch-site", "same-site")], true)]
    #[case(&[("sec-fetch-site", "cross-site")], true)]
    #[case(&[("host", "pi:8000"), ("origin", "http://pi:8000")], false)]
    #[case(&[("host", "Pi:8000"), ("origin", "http://pi:8000")], false)]
    #[case(&[("host", "pi:8000"), ("origin", "http://pi:3000")], true)]
    #[case(&[("host", "pi:8000"), ("origin", "https://evil.example")], true)]
    #[case(&[("host", "pi:8000"), ("origin", "null")], true)]
    #[case(&[("origin", "http://pi:8000")], true)]
    fn other_sites_are_told_by_the_browser(#[case] pairs: &[(&'static str, &'static str)], #[case] other: bool) {
        assert_eq!(is_from_another_site(&headers(pairs)), other);
    }
}
