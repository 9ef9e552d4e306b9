//! Who is at the other end, and under which name it reached us.
//!
//! Does not belong here: whose word about that is believed (`super::forwarded`).

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderMap};
use http::uri::Authority;
use http::{Uri, header};

use super::forwarded::{Forwarded, PREFIX, ProxyUser};
use super::routes::LIVE;

/// The two ends of a connection; where a proxy is in between that is trusted, its client is one of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// The other end.
    pub(super) remote: IpAddr,
    /// Our end.
    local: IpAddr,
    /// By TLS.
    secure: bool,
    via: Via,
    /// `Host` has a name that is not known to be ours, as it came from a proxy.
    is_by_another_name: bool,
    /// Where streams are on the port of ours that was asked.
    streams_at: &'static str,
}

/// By which way somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    /// By its own connection. What it says of proxies is not looked at: anybody may say it.
    Direct,
    /// By a proxy that is trusted.
    Proxy,
    /// The same, which names a user and does not show that it may.
    Unproven,
    /// The same, and the user that it names is one.
    Vouched,
}

/// Where cookies of ours are good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jar<'a> {
    pub(super) secure: bool,
    /// In front of our paths.
    pub(super) prefix: &'a str,
}

impl Peer {
    pub(super) fn new(remote: SocketAddr, local: SocketAddr, secure: bool) -> Self {
        Self {
            // A socket for both families shows IPv4 as IPv6.
            remote: remote.ip().to_canonical(),
            local: local.ip().to_canonical(),
            secure,
            via: Via::Direct,
            is_by_another_name: false,
            streams_at: LIVE,
        }
    }

    /// On a port that has streams there.
    pub(super) fn at(self, streams_at: &'static str) -> Self {
        Self { streams_at, ..self }
    }

    /// Where streams are on the port that was asked.
    pub(super) fn streams_at(&self) -> &'static str {
        self.streams_at
    }

    /// The client of a proxy that is connected from here, and came by a name of ours or not. Its header fields are settled.
    pub(super) fn behind(self, said: &Forwarded, is_ours: bool) -> Self {
        Self {
            remote: said.client,
            local: self.local,
            streams_at: self.streams_at,
            is_by_another_name: !is_ours,
            secure: said.secure.unwrap_or(self.secure),
            via: match (&said.user, said.does_not_vouch) {
                (Some(_), _) => Via::Vouched,
                (None, true) => Via::Unproven,
                (None, false) => Via::Proxy,
            },
        }
    }

    /// Whether there is a proxy in between.
    fn is_behind_proxy(&self) -> bool {
        self.via != Via::Direct
    }

    /// Whether `Host` had a name, as it came from a proxy, that is not known to be ours. What the client named, [`Peer::named_host`] says.
    pub(super) fn is_by_another_name(&self) -> bool {
        self.is_by_another_name
    }

    /// A proxy named a user, and is not believed.
    pub(super) fn is_unproven(&self) -> bool {
        self.via == Via::Unproven
    }

    /// Who signed in at the proxy.
    pub(super) fn user(&self, headers: &HeaderMap) -> Option<ProxyUser> {
        (self.via == Via::Vouched)
            .then(|| ProxyUser::settled(headers))
            .flatten()
    }

    /// The path below which the proxy has us, without a slash at its end.
    pub(super) fn prefix<'a>(&self, headers: &'a HeaderMap) -> &'a str {
        let prefix = headers.get(PREFIX).filter(|_| self.is_behind_proxy());
        prefix.and_then(|prefix| prefix.to_str().ok()).unwrap_or_default()
    }

    /// Where cookies are good that it is given.
    pub(super) fn jar<'a>(&self, headers: &'a HeaderMap) -> Jar<'a> {
        Jar {
            secure: self.secure,
            prefix: self.prefix(headers),
        }
    }

    /// Where everything is behind the proxy, as its client names it: scheme, host, port and path. `None` where there is no proxy.
    pub(super) fn base(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let authority = self.authority(uri, headers).filter(|_| self.is_behind_proxy())?;
        let scheme = if self.secure { "https" } else { "http" };
        let port = authority.port().map_or_else(String::new, |port| format!(":{port}"));
        let host = Some(authority.host()).filter(|host| is_plain(host))?;
        Some(format!("{scheme}://{host}{port}{}", self.prefix(headers)))
    }

    fn authority(&self, uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
        let by_header = || headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
        match self.is_behind_proxy() {
            // By HTTP/2 the URI has the name by which the proxy knows us.
            true => by_header().or_else(|| uri.authority().cloned()),
            false => uri.authority().cloned().or_else(by_header),
        }
    }

    /// The host that the client named, if it named one.
    pub(super) fn named_host(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        Some(self.authority(uri, headers)?.host().to_owned())
    }

    /// The host that the client named, as a URL takes it; else our own address.
    pub(super) fn host(&self, uri: &Uri, headers: &HeaderMap) -> String {
        let named = self.named_host(uri, headers).filter(|host| is_plain(host));
        named.unwrap_or_else(|| match self.local {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        })
    }

    /// Whether the browser talks TLS: to us, or to the proxy.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
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
